"""Where chat templates run: as in transformers, but they can neither change anything nor use up the machine.

Every loop, call and growing value is accounted for (see :mod:`formtune.allowances`). What that costs is won back where
Jinja's sandbox takes the long way for what templates do all the time: to look up a message's field, to call a method of text.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from functools import partial, reduce, wraps
from itertools import islice
from types import BuiltinMethodType, FunctionType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from formtune.allowances import (
    CUTS,
    GROWS,
    LOOK_EVERY,
    SHORT,
    SPREADS,
    WIDE_PERCENT,
    Allowance,
    added,
    asked,
    current,
    formatted,
    left,
    measured,
    power,
    product,
    weighed,
)
from formtune.template_options import DATE

# Filters that make nothing, and those that do not look inside of what a list holds.
_MAKES_NOTHING = frozenset(("count", "d", "default", "first", "last", "length"))
_TAKES_WHOLE = frozenset(
    (
        *("attr", "batch", "items", "join", "list", "map", "random", "reject", "rejectattr", "reverse"),
        *("select", "selectattr", "slice"),
    )
)
_COMPARES = frozenset(
    ("==", "!=", "<", "<=", ">", ">=", "eq", "equalto", "ge", "greaterthan", "gt", "in", "le", "lessthan", "lt", "ne")
)
_OF_DICTS = frozenset(dir(dict))
# What a template may call of a text; none of it makes much more than there is.
_OF_TEXTS = frozenset(name for name in dir(str) if not name.startswith("_")) - GROWS - {"encode", "maketrans"}
_METHODS = _OF_TEXTS | {"rsplit", "split", "splitlines"}
_OF_SHORT = CUTS | SPREADS.keys()
_SIZED = frozenset((dict, list, range, str, tuple, type({}.items()), type({}.keys()), type({}.values())))


def rendered(template: jinja2.Template, variables: dict[str, object]) -> str:
    """Render a template of :func:`environment`, with an allowance of its own.

    Raises:
        Endless: where that does not do.
    """
    token = current.set(Allowance())
    try:
        return template.render(variables)
    finally:
        current.reset(token)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, in which every loop, call and growing text is accounted for."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        accounted = _Accounted().visit(source)
        return super()._generate(accounted, *args, **kwargs)

    def concat(self, parts: Iterable[str]) -> str:
        """Join what a block, a macro or the template has written."""
        coming, made, n_characters = iter(parts), [], 0
        allowance = left()
        while some := list(islice(coming, LOOK_EVERY)):
            made += some
            n_characters += sum(map(len, some))
            if n_characters > allowance.characters:
                break
        allowance.spend(n_characters)
        return "".join(made)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look an attribute up; a message's own, and what text can do, at once."""
        kind = type(obj)
        if kind is dict and attribute not in _OF_DICTS:
            value = obj.get(attribute, obj)
            return self.undefined(obj=obj, name=attribute) if value is obj else value
        return getattr(obj, attribute) if kind is str and attribute in _METHODS else super().getattr(obj, attribute)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, a method or a macro."""
        left().step()
        if (
            type(called) is BuiltinMethodType
            and type(text := called.__self__) is str
            and ((name := called.__name__) in _OF_TEXTS or (len(text) <= SHORT and name in _OF_SHORT))
        ):
            kwargs.pop("_block_vars", None)
            kwargs.pop("_loop_vars", None)
            return measured(called(*args, **kwargs))
        method = getattr(called, "__wrapped__", called) if type(called) is FunctionType else called  # str.format
        if type(method) is BuiltinMethodType and method.__name__ in GROWS:
            args = asked(method.__name__, method.__self__, args, kwargs)
        return measured(super().call(context, called, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, one: Any, other: Any) -> Any:  # noqa: PLR0917 - Jinja's way
        """Calculate what may grow, once it is sure that it does not grow too much."""
        match operator:
            case "*":
                product(one, other)
            case "**":
                power(one, other)
            case "%" if isinstance(one, str):
                values = other.values() if isinstance(other, dict) else other if isinstance(other, tuple) else (other,)
                formatted(one.replace("%%", ""), values, wide=WIDE_PERCENT)
        return super().call_binop(context, operator, one, other)


class _Accounted(NodeTransformer):
    """Puts the account of iterations, sums, joined texts and slices into a syntax tree."""

    def visit_Add(self, node: nodes.Add) -> nodes.Node:  # noqa: N802 - Jinja's way
        others = [self.visit(node.right)]
        while isinstance(node.left, nodes.Add):  # a + b + c is one sum
            node = node.left
            others.insert(0, self.visit(node.right))
        return nodes.Filter(self.visit(node.left), "formtune.added", others, [], None, None, lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja's way
        self.generic_visit(node)
        node.iter = _through("formtune.counted", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja's way
        self.generic_visit(node)
        return _through("formtune.joined", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - Jinja's way
        self.generic_visit(node)
        if len(node.ops) == 1 and any(isinstance(one, nodes.Const) for one in (node.expr, node.ops[0].expr)):
            return node  # with a word or a number that takes no time
        node.expr = _through("formtune.weighed", node.expr)
        for operand in node.ops:
            operand.expr = _through("formtune.weighed", operand.expr)
        return node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - Jinja's way
        self.generic_visit(node)
        is_made = node.ctx == "load" and not all(isinstance(item, nodes.Const) for item in node.items)
        return _through("formtune.weighed", node) if is_made else node  # what is looked up by it takes its digest

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - Jinja's way
        self.generic_visit(node)
        return _through("formtune.sliced", node) if isinstance(node.arg, nodes.Slice) else node


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


# With the context as an argument Jinja does not calculate them while it compiles.
@pass_context
def _counted(_context: Context, items: Iterable[Any]) -> Iterable[Any]:
    allowance = left()
    if type(items) in _SIZED and len(items) <= LOOK_EVERY:  # type: ignore[arg-type]
        allowance.step(len(items))  # type: ignore[arg-type]
        return items
    return _stepped(items, allowance)


def _stepped(items: Iterable[Any], allowance: Allowance) -> Iterator[Any]:
    for item in items:
        allowance.step()
        yield item


@pass_context
def _added(_context: Context, *terms: Any) -> Any:
    n_characters = 0
    for term in terms:
        if type(term) is not str:
            return reduce(_sum, terms)
        n_characters += len(term)
    return added(terms, n_characters)


def _sum(one: Any, other: Any) -> Any:
    left().spend(sum(len(term) for term in (one, other) if isinstance(term, (str, bytes, list, tuple))))
    return one + other


@pass_context
def _joined(_context: Context, parts: list[Any]) -> str:
    texts = [str(weighed(part)) for part in parts]
    left().spend(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def _sliced(_context: Context, made: Any) -> Any:
    return measured(made)


@pass_context
def _weighed(_context: Context, value: Any) -> Any:
    return weighed(value)


def _written(value: Any) -> Any:
    """Weigh what is no text before it becomes one."""
    return value if type(value) is str else weighed(value)


def _accounted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a filter ask before it grows a text, and account for what it has made."""
    if name in _MAKES_NOTHING:
        return function
    n_leading = 1 if hasattr(function, "jinja_pass_arg") else 0
    looks_inside = name not in _TAKES_WHOLE
    if name in GROWS:
        function = _asking(name, function, n_leading=n_leading)

    @wraps(function)
    def accounted(*args: Any, **kwargs: Any) -> Any:
        if looks_inside and len(args) > n_leading:
            weighed(args[n_leading])
        return measured(function(*args, **kwargs))

    return accounted


def _asking(name: str, function: Callable[..., Any], *, n_leading: int) -> Callable[..., Any]:
    """Let a filter ask before it makes much."""

    @wraps(function)
    def asking(*args: Any, **kwargs: Any) -> Any:
        leading, subject, others = args[:n_leading], args[n_leading], args[n_leading + 1 :]
        if name == "join":
            between = others[0] if others else kwargs.get("d", "")
            (subject,) = asked(name, str(between), (subject,), {})
        elif name == "format":  # the filter is the operator %, the method of that name is not
            formatted(str(subject).replace("%%", ""), [*others, *kwargs.values()], wide=WIDE_PERCENT)
        else:
            asked(name, subject, others, kwargs)
        return function(*leading, subject, *others, **kwargs)

    return asking


def _comparing(test: Any) -> Callable[..., Any]:
    """Let a test weigh what it compares."""

    @wraps(test)
    def comparing(*args: Any) -> Any:
        return test(*map(weighed, args))

    return comparing


class _Generation(Extension):
    """The ``{% generation %}`` block with which some templates mark answers; here it marks nothing."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own way to declare it

    def parse(self, parser: Parser) -> nodes.Node:
        """Read the block as what stands in it, with its own scope."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


class _SafeNamespace(Namespace):
    """Jinja's ``namespace()`` without attributes that begin with an underscore, as transformers has it."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that namespace(self=...) works, as in Jinja
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            _refuse_underscore(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        Namespace.__setitem__(self, name, value)

    def __repr__(self) -> str:
        return "<Namespace>"  # and not all that it holds, in which it may stand itself


def _refuse_underscore(name: str) -> None:
    if name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace cannot hold {name!r}")


def environment(today: date = date.fromisoformat(DATE)) -> jinja2.Environment:
    """Make the environment that chat templates are compiled and run in.

    Args:
        today: the day that they write as today's, always the same: a recipe makes the same tokens on any day.
    """
    made = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], finalize=_written)
    made.filters["tojson"] = _to_json
    made.filters = {name: _accounted(name, function) for name, function in made.filters.items()}
    made.tests |= {name: _comparing(made.tests[name]) for name in _COMPARES}
    made.filters |= {
        "formtune.added": _added,
        "formtune.counted": _counted,
        "formtune.joined": _joined,
        "formtune.sliced": _sliced,
        "formtune.weighed": _weighed,
    }
    del made.globals["lipsum"]
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = partial(_strftime, today)
    made.globals["namespace"] = _SafeNamespace
    return made


def _to_json(  # noqa: PLR0917 - templates may pass the arguments by place
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML and sorts keys.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime(today: date, format: str) -> str:  # noqa: A002 - as transformers calls it
    return datetime(today.year, today.month, today.day).strftime(format)  # noqa: DTZ001 - a template writes no time zone
