"""Chat templates as programs: compiled and called as transformers does it, in a sandbox.

A template comes with a model from anywhere, so it sees plain JSON values only (see :mod:`formtune.sandbox`). From its syntax tree we read what it may ask of a content (``'</think>' in message.content``), so that contents
of which that is not true can be rendered once for all.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

import jinja2
import msgspec
from jinja2 import nodes
from jinja2.meta import find_undeclared_variables

from formtune.allowances import Endless
from formtune.errors import DataError
from formtune.examples import Turn
from formtune.sandbox import environment, rendered
from formtune.template_options import DATE

# What a template may do to a content without its text changing inside (outer white space is kept apart).
_SAFE_FILTERS = frozenset(
    (
        *("count", "d", "default", "dictsort", "first", "indent", "items", "join", "last", "length", "list", "map"),
        *("reject", "rejectattr", "select", "selectattr", "string", "tojson", "trim"),
    )
)
_STRIPS = frozenset(("strip", "lstrip", "rstrip"))
_ASKS = frozenset(("endswith", "partition", "rpartition", "rsplit", "split", "startswith"))
_SAFE_METHODS = _STRIPS | _ASKS | frozenset(("append", "get", "index", "items", "keys", "pop", "update", "values"))
# What templates call the reasoning of a message (Qwen, GLM, DeepSeek; Harmony, Granite; Gemma).
_THINKING = ("reasoning_content", "thinking", "reasoning")
_CONTENTS = frozenset(("content", "text", *_THINKING))


class _Way(NamedTuple):
    """How a message is handed over: arguments of tool calls as JSON text, no content as None, the name of reasoning."""

    as_text: bool
    empty_is_none: bool
    thinking: str | None = None


# In the order of trial. Templates disagree (Llama and Qwen; DeepSeek), and the wrong way fails or hides the calls.
_WAYS = (_Way(False, False), _Way(True, False), _Way(False, True), _Way(True, True))
_PROBED_CALL = '[{"type": "function", "function": {"name": "f", "arguments": {}}}]'
_PROBED_THOUGHT = "\ue0f4"  # a private-use character, which no template writes

_STRIKES = 3  # after so many renderings without end a template is not tried again
_FAILURES = (
    *(jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError),
    *(RecursionError, MemoryError),
)
Change = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Talk:
    """What a template is given: turns, the JSON text of tools, and whether it ends by asking for an answer.

    ``reasons`` says whether the answer that is given or asked for begins with reasoning.
    """

    turns: tuple[Turn, ...]
    tools: str | None = None
    asking: bool = False
    reasons: bool = False

    def before(self, turn: int) -> "Talk":
        """Stop before a turn, asking for it."""
        return replace(self, turns=self.turns[:turn], asking=True)

    def through(self, turn: int) -> "Talk":
        """Stop behind a turn."""
        return replace(self, turns=self.turns[: turn + 1], asking=False)


class CompiledTemplate:
    """A compiled chat template.

    Attributes:
        watched: strings that the template may look for in a content.
        compared: strings that it may compare a whole content with.
        is_risky: True where it may change a content in the middle (``upper``, ``replace``, slices).
        variables: the names that it looks up, but for what every template can call.
        is_dated: whether it may write today's date.
    """

    def __init__(self, source: str, today: date = date.fromisoformat(DATE)) -> None:
        """Compile Jinja source.

        Args:
            source: it.
            today: the day that it writes as today's.

        Raises:
            DataError: where it is not Jinja, or nested too deeply.
        """
        sandbox = environment(today)
        try:
            tree = sandbox.parse(source)
            self._template = sandbox.from_string(source)
            self.variables = frozenset(find_undeclared_variables(tree))
        except jinja2.TemplateSyntaxError as error:
            raise DataError(
                f"The chat template is not valid Jinja ({error.message}, line {error.lineno}).",
                "Correct the template in the model folder.",
            ) from error
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise DataError(
                "The chat template is nested too deeply.", "Correct the template in the model folder."
            ) from error
        self.watched = frozenset(_watched(tree))
        self.compared = frozenset(_compared(tree))
        self.is_risky = _is_risky(tree)
        self.is_dated = any(name.name == "strftime_now" for name in tree.find_all(nodes.Name))
        self._thinking_name: str | None = None
        self._knows_thinking = False
        self._endless: list[Endless] = []

    def render(self, talk: Talk, variables: Mapping[str, object], *, change: Change | None = None) -> str:
        """Render a conversation.

        Args:
            talk: the conversation.
            variables: what the template sees besides it.
            change: what is done to every message and to the tools before the template sees them.

        Raises:
            DataError: where the template refuses the conversation (with its own message), fails on it, leaves its tool
                calls out or has no place for reasoning; where tools are not JSON.
        """
        if any(turn.thinking for turn in talk.turns) and self.thinking_name(variables) is None:
            raise not_shown("the reasoning of a message")
        ways = [way._replace(thinking=self._thinking_name) for way in _WAYS]
        if not any(turn.tool_calls for turn in talk.turns):
            return self._render(talk, variables, way=ways[0], change=change)
        bare = replace(talk, turns=tuple(replace(turn, tool_calls=None) for turn in talk.turns))
        refusals: list[DataError] = []
        for way in ways:
            try:
                text = self._render(talk, variables, way=way, change=change)
            except Endless:
                raise
            except DataError as error:
                refusals.append(error)
                continue
            if text != self._render_or_none(bare, variables, way=way, change=change):
                return text
            refusals.append(not_shown("the tool calls"))
        raise refusals[0]

    def thinking_name(self, variables: Mapping[str, object]) -> str | None:
        """Find out by trial what the template calls the reasoning of a message; None where it has no place for it.

        That it has one is all that is asked: many show the reasoning of some turns only, and that is theirs to say.
        """
        if not self._knows_thinking:
            self._thinking_name = next((name for name in _THINKING if self._shows_thinking(name, variables)), None)
            self._knows_thinking = True
        return self._thinking_name

    def _shows_thinking(self, name: str, variables: Mapping[str, object]) -> bool:
        answer = Turn("assistant", "a", thinking=_PROBED_THOUGHT)
        call = replace(answer, content="", tool_calls=_PROBED_CALL)
        talks = [Talk((Turn("user", "q"), turn), reasons=True) for turn in (answer, call)]
        ways = [way._replace(thinking=name) for way in _WAYS]
        shown = (self._render_or_none(talk, variables, way=way, change=None) for talk in talks for way in ways)
        return any(_PROBED_THOUGHT in text for text in shown if text)

    def _render_or_none(
        self, talk: Talk, variables: Mapping[str, object], *, way: _Way, change: Change | None
    ) -> str | None:
        try:
            return self._render(talk, variables, way=way, change=change)
        except Endless:
            raise
        except DataError:
            return None

    def _render(self, talk: Talk, variables: Mapping[str, object], *, way: _Way, change: Change | None) -> str:
        messages: Any = [_message(turn, way) for turn in talk.turns]
        tools = read_json(talk.tools, "The tools") if talk.tools else None
        if change is not None:
            messages, tools = change(messages), change(tools)
        if len(self._endless) >= _STRIKES:
            raise self._endless[0]
        try:
            own = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": talk.asking}
            return rendered(self._template, {**own, **variables})
        except Endless as error:
            self._endless.append(error)
            raise
        except _FAILURES as error:
            raise DataError(
                f"The chat template refuses the conversation: {error}",
                "Change the conversation so that the model's template takes it, or use another model.",
            ) from error


def not_shown(what: str) -> DataError:
    """Make the error for something that a template would drop without a word."""
    return DataError(
        f"The chat template leaves out {what}.",
        "Use a model whose template has a place for it, or take it out of the data.",
    )


def read_json(text: str, what: str) -> Any:
    """Read JSON text that a record carries.

    Raises:
        DataError: where it is not JSON.
    """
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise DataError(f"{what} are not JSON ({error}).", "Correct them in the data.") from error


def _message(turn: Turn, way: _Way) -> dict[str, Any]:
    is_none = way.empty_is_none and turn.role == "assistant" and not turn.content
    message: dict[str, Any] = {"role": turn.role, "content": None if is_none else turn.content}
    if turn.tool_calls:
        message["tool_calls"] = [
            _call(call, as_text=way.as_text) for call in read_json(turn.tool_calls, "The tool calls")
        ]
    given = {"name": turn.name, "tool_call_id": turn.tool_call_id}
    if turn.thinking and way.thinking:
        message[way.thinking] = turn.thinking
    return message | {key: value for key, value in given.items() if value is not None}


def _call(call: dict[str, Any], *, as_text: bool) -> dict[str, Any]:
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    if as_text and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    if not as_text and isinstance(arguments, str):
        arguments = read_json(arguments or "{}", "The arguments of a tool call")
    function = function | {"arguments": arguments}
    return {"type": "function"} | call | {"function": function} if "function" in call else function


def _strings(found: Iterable[nodes.Node]) -> Iterator[str]:
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
        case nodes.Name(name=name) | nodes.Getattr(attr=name):
            return name in _CONTENTS
        case nodes.Getitem(arg=nodes.Const(value=name)):
            return name in _CONTENTS
    return False
