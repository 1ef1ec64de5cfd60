"""Chat templates as programs: compiled as transformers compiles them, in Jinja's immutable sandbox.

A template comes with a model from anywhere, so it sees plain JSON values only and can neither change nor call anything
else. From its syntax tree we read what it may ask of a content (``'</think>' in message.content``), so that contents
of which that is not true can be rendered once for all.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from formtune.errors import DataError

# What a template may do to a content without its text changing inside (outer white space is kept apart).
_SAFE_FILTERS = frozenset(
    "count d default dictsort first indent items join last length list map reject rejectattr select selectattr string "
    "tojson trim".split()
)
_STRIPS = frozenset(("strip", "lstrip", "rstrip"))
_ASKS = frozenset(("endswith", "partition", "rpartition", "rsplit", "split", "startswith"))
_SAFE_METHODS = _STRIPS | _ASKS | frozenset(("append", "get", "index", "items", "keys", "pop", "update", "values"))
_REMEDY = "Change the conversation so that the model's template takes it, or use another model."


class CompiledTemplate:
    """A compiled chat template.

    Attributes:
        watched: strings that the template may look for in a content.
        compared: strings that it may compare a whole content with.
        is_risky: True where it may change a content in the middle (``upper``, ``replace``, slices).
    """

    def __init__(self, source: str) -> None:
        """Compile Jinja source.

        Raises:
            DataError: where it is not Jinja.
        """
        environment = _environment()
        try:
            tree = environment.parse(source)
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise DataError(
                f"The chat template is not valid Jinja ({error.message}, line {error.lineno}).",
                "Correct the template in the model folder.",
            ) from error
        self.watched = tuple(sorted(set(_watched(tree)), key=lambda text: (-len(text), text)))
        self.compared = frozenset(_compared(tree))
        self.is_risky = _is_risky(tree)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: object,
        *,
        add_generation_prompt: bool,
        variables: Mapping[str, object],
    ) -> str:
        """Render a conversation.

        Raises:
            DataError: where the template refuses it (with its own message) or fails on it.
        """
        try:
            return self._template.render(
                messages=messages,
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **variables,
            )
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise DataError(f"The chat template refuses the conversation: {error}", _REMEDY) from error


class _Generation(Extension):
    """The ``{% generation %}`` block with which some templates mark answers; here it marks nothing."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own way to declare it

    def parse(self, parser: Parser) -> nodes.Node:
        """Read the block as what stands in it, with its own scope."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


class _SafeNamespace(Namespace):
    """Jinja's ``namespace()`` without attributes that begin with an underscore, as transformers has it."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # noqa: N805 - so that namespace(self=...) works
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


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.globals["namespace"] = _SafeNamespace
    return environment


def _to_json(
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


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _strings(found: Sequence[nodes.Node]) -> Iterator[str]:
    for node in found:
        if isinstance(node, nodes.Const) and isinstance(node.value, str) and node.value:
            yield node.value


def _watched(tree: nodes.Template) -> Iterator[str]:
    for test in tree.find_all(nodes.Compare):
        if any(operand.op in ("in", "notin") for operand in test.ops):
            yield from _strings([test.expr])
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr) and call.node.attr in _STRIPS | _ASKS:
            is_strip = call.node.attr in _STRIPS
            yield from (text for text in _strings(call.args) if not (is_strip and text.isspace()))


def _compared(tree: nodes.Template) -> Iterator[str]:
    for test in tree.find_all(nodes.Compare):
        yield from _strings([test.expr, *(operand.expr for operand in test.ops)])


def _is_risky(tree: nodes.Template) -> bool:
    if any(one.name not in _SAFE_FILTERS for one in tree.find_all(nodes.Filter)):
        return True
    if any(isinstance(one.arg, nodes.Slice) and _is_content(one.node) for one in tree.find_all(nodes.Getitem)):
        return True
    called = (call.node for call in tree.find_all(nodes.Call))
    return any(isinstance(one, nodes.Getattr) and one.attr not in _SAFE_METHODS for one in called)


def _is_content(node: nodes.Node) -> bool:
    match node:
        case nodes.Name(name=name):
            return str(name) in ("content", "text")
        case nodes.Getattr(attr=attr):
            return str(attr) in ("content", "text")
        case nodes.Getitem(arg=nodes.Const(value=value)):
            return value in ("content", "text")
    return False
