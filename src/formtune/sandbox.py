"""Where chat templates run: as in transformers, but they can neither change anything nor use up the machine.

Jinja's sandbox keeps a template from Python's inside. It does not keep it from looping for ever or from writing
gigabytes, which a model folder from anywhere may try. So each rendering has an *allowance* of steps (an iteration, a call),
of characters that it makes, on the way too, and of seconds; what grows a text asks first.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from datetime import date, datetime
from functools import partial, wraps
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

from formtune.errors import DataError
from formtune.template_options import DATE

MOST_STEPS = 5_000_000
MOST_CHARACTERS = 1 << 28
MOST_S = 20.0
_WIDEST = 1_000  # what a filter or method may indent by, or fill up to
_SHORT = 1_024  # a text that is no longer is not accounted for: that would take longer than making it
_LOOK_EVERY = 256
_HIGHEST_BITS = 4_096  # of an integer that a power may give
_FILLS = frozenset(
    (
        *("batch", "center", "indent", "slice", "tojson", "wordwrap"),
        *("expandtabs", "ljust", "rjust", "to_bytes", "zfill"),
    )
)
_GROWS = _FILLS | {"format", "format_map", "join", "replace", "translate"}
_WIDE_PERCENT = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(?:\*|\d{4})|%(?:\([^)]*\))?[-+ #0]*\d*\.(?:\*|\d{4})")
_WIDE_BRACES = re.compile(r"\{[^{}]*:[^{}]*(?:\d{4}|\{)")


class Endless(DataError):
    """A template used up its allowance."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The chat template {what} on one conversation, which no template needs.",
            "Correct the template in the model folder, use another model, or shorten the conversation.",
        )


class _Allowance:
    """What is left to one rendering."""

    __slots__ = ("characters", "deadline_s", "steps")

    def __init__(self) -> None:
        self.steps = MOST_STEPS
        self.characters = MOST_CHARACTERS
        self.deadline_s = time.monotonic() + MOST_S

    def step(self) -> None:
        """Take a step; now and then look whether there is one left, and time.

        Raises:
            Endless: where there is not.
        """
        self.steps -= 1
        if self.steps % _LOOK_EVERY:
            return
        if self.steps < 0:
            raise Endless(f"takes more than {MOST_STEPS:,} steps")
        if time.monotonic() > self.deadline_s:
            raise Endless(f"runs for more than {MOST_S:g} s")

    def spend(self, n_characters: int) -> None:
        """Make so many characters, or items of lists.

        Raises:
            Endless: where there are too many.
        """
        self.characters -= n_characters
        if self.characters < 0:
            raise Endless(f"writes more than {MOST_CHARACTERS:,} characters")


_allowance: ContextVar[_Allowance] = ContextVar("_allowance")


def rendered(template: jinja2.Template, variables: dict[str, object]) -> str:
    """Render a template of :func:`environment`, with an allowance of its own.

    Raises:
        Endless: where that does not do.
    """
    token = _allowance.set(_Allowance())
    try:
        return template.render(variables)
    finally:
        _allowance.reset(token)


def _left() -> _Allowance:
    """Give what is left to this rendering; while a template is compiled, its constants have an allowance each."""
    return _allowance.get(None) or _Allowance()


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, in which every loop, call and growing text is accounted for."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        accounted = _Accounted().visit(source)
        return super()._generate(accounted, *args, **kwargs)

    def concat(self, parts: Iterable[str]) -> str:
        """Join what a block, a macro or the template has written."""
        made, n_characters = [], 0
        allowance = _left()
        for part in parts:
            n_characters += len(part)
            if n_characters > allowance.characters:
                break
            made.append(part)
        allowance.spend(n_characters)
        return "".join(made)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, a method or a macro."""
        _left().step()
        method = getattr(called, "__wrapped__", called) if type(called) is FunctionType else called  # str.format
        if type(method) is BuiltinMethodType and method.__name__ in _GROWS:
            args = _asked(method.__name__, method.__self__, args, kwargs)
        return _measured(super().call(context, called, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: PLR0917 - Jinja's way
        """Calculate what may grow, once it is sure that it does not grow too much."""
        if operator == "+" and type(left) is str and type(right) is str and len(left) + len(right) <= _SHORT:
            return left + right
        match operator:
            case "+":
                _left().spend(sum(len(one) for one in (left, right) if isinstance(one, (str, list, tuple))))
            case "*":
                _left().spend(max(_repeated(left, right), _repeated(right, left)))
            case "**" if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _HIGHEST_BITS:
                raise Endless("calculates a number that is too big")
            case "%" if isinstance(left, str):
                values = right.values() if isinstance(right, dict) else right if isinstance(right, tuple) else (right,)
                _format(left.replace("%%", ""), values, wide=_WIDE_PERCENT)
        return super().call_binop(context, operator, left, right)


def _repeated(sized: Any, times: Any) -> int:
    return len(sized) * max(times, 0) if isinstance(sized, (str, list, tuple)) and isinstance(times, int) else 0


class _Accounted(NodeTransformer):
    """Puts the account of iterations, joined texts and slices into a syntax tree."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja's way
        self.generic_visit(node)
        node.iter = _through("formtune.counted", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja's way
        self.generic_visit(node)
        return _through("formtune.joined", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - Jinja's way
        self.generic_visit(node)
        return _through("formtune.sliced", node) if isinstance(node.arg, nodes.Slice) else node


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


# With the context as an argument Jinja does not calculate them while it compiles.
@pass_context
def _counted(_context: Context, items: Iterable[Any]) -> Iterator[Any]:
    allowance = _left()
    for item in items:
        allowance.step()
        yield item


@pass_context
def _joined(_context: Context, parts: list[Any]) -> str:
    texts = list(map(str, parts))
    _left().spend(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def _sliced(_context: Context, made: Any) -> Any:
    return _measured(made)


def _measured(made: Any) -> Any:
    """Account for a long text or list that was made."""
    if isinstance(made, (str, list)) and len(made) > _SHORT:
        _left().spend(len(made))
    return made


def _accounted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a filter ask before it grows a text, and account for what it has made."""
    n_leading = 1 if hasattr(function, "jinja_pass_arg") else 0
    grows = name in _GROWS

    @wraps(function)
    def accounted(*args: Any, **kwargs: Any) -> Any:
        if grows:
            leading, subject, others = args[:n_leading], args[n_leading], args[n_leading + 1 :]
            if name == "join":
                between = others[0] if others else kwargs.get("d", "")
                (subject,) = _asked(name, str(between), (subject,), {})
            elif name == "format":  # the filter is the operator %, the method of that name is not
                _format(str(subject).replace("%%", ""), [*others, *kwargs.values()], wide=_WIDE_PERCENT)
            else:
                _asked(name, subject, others, kwargs)
            args = (*leading, subject, *others)
        return _measured(function(*args, **kwargs))

    return accounted


def _asked(  # noqa: PLR0917 - a call: what is called, on what, with what
    name: str, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    """Say whether a method or filter may be called, before it makes what nobody could hold; give its arguments.

    Raises:
        Endless: where it may not.
    """
    given = [*args, *kwargs.values()]
    if name in _FILLS:
        lines = str(subject).count("\n") + str(subject).count("\t") + 1 if isinstance(subject, str) else 1
        widest = max((abs(one) for one in given if isinstance(one, int)), default=0)
        if widest > _WIDEST:
            raise Endless(f"fills a text up by {widest:,} characters")
        _left().spend(widest * lines)
    elif name == "replace" and isinstance(subject, str) and len(args) > 1:
        _left().spend(len(subject) + subject.count(str(args[0])) * len(str(args[1])))
    elif name == "join" and args:
        args = ([*args[0]], *args[1:])
        _left().spend(sum(len(part) + len(subject) for part in args[0] if isinstance(part, str)))
    elif name in ("format", "format_map", "translate") and isinstance(subject, str):
        _format(subject, given, wide=_WIDE_BRACES)
    return args


def _format(text: str, values: Iterable[Any], *, wide: re.Pattern[str]) -> None:
    """Refuse what formatting could make out of a short text: wide fields, and one long value many times over."""
    if wide.search(text):
        raise Endless("fills a field of a text up to thousands of characters")
    longest = max((len(str(value)) for value in values), default=0)
    _left().spend(len(text) + (text.count("%") + text.count("{")) * longest)


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


def _refuse_underscore(name: str) -> None:
    if name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace cannot hold {name!r}")


def environment(today: date = date.fromisoformat(DATE)) -> jinja2.Environment:
    """Make the environment that chat templates are compiled and run in.

    Args:
        today: the day that they write as today's, always the same: a recipe makes the same tokens on any day.
    """
    made = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    made.filters["tojson"] = _to_json
    made.filters = {name: _accounted(name, function) for name, function in made.filters.items()}
    made.filters |= {"formtune.counted": _counted, "formtune.joined": _joined, "formtune.sliced": _sliced}
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
