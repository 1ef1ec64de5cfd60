"""A model's chat template: conversations to segments, with what is learned and which tokens are control tokens.

The template, Jinja source that comes with the model, is the truth. It is rendered once per *shape* of conversation
(roles, tools, which turns are empty or begin with white space ...) with a mark in place of each content. The marks
show where contents go; what stands between them is fixed, and only there are control tokens recognized: what a user
types never is one. The first conversation of each shape, and a sample of the others, is rendered for real and
compared; where they differ, each conversation of that shape is laid out alone.

What an assistant has to produce for a turn goes from the end of the template's own generation prompt to the token that
ends the turn. All of it is learned and no token crosses its borders, so that a prompt's ids are those it had in
training.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import msgspec
from tokenizers import AddedToken

from formtune.errors import DataError
from formtune.examples import Control, Part, Segment, Turn
from formtune.marking import OPEN, Chunk, Marker, Run, numbered
from formtune.sandbox import CompiledTemplate

DEFAULT_TEMPLATE = """\
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {{- message.content + '\\n\\n' }}
    {%- elif message.role == 'user' %}
        {{- 'User: ' + message.content + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- 'Assistant: ' + message.content }}{{ eos_token }}{{ '\\n' }}
    {%- else %}
        {{- raise_exception('The plain template has no place for the role ' + message.role + '.') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}
"""

_SAMPLE = 32  # one conversation in so many is compared with its real rendering
_MOST_SHAPES = 1024

# How tool calls are handed to a template, in the order of trial: arguments as an object or as JSON text, and no content
# as "" or as None. Templates disagree (Llama, Qwen; DeepSeek), and a wrong choice fails or hides the calls.
_FORMS = ((False, False), (True, False), (False, True), (True, True))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of the rendered text, and the turn whose answer it belongs to; ``control`` as in :class:`Segment`."""

    text: str = ""
    control: Control | None = None
    chunk: Chunk | None = None
    answer: int | None = None


@dataclass(slots=True)
class _Layout:
    """What conversations of one shape look like.

    Attributes:
        pieces: in order.
        unlearnable: turns whose answer does not begin as their generation prompt does.
        trusted: False once a conversation of this shape turned out to be rendered otherwise.
    """

    pieces: tuple[_Piece, ...]
    unlearnable: frozenset[int]
    trusted: bool = True

    def text(self, chunks: Sequence[Sequence[str]]) -> str:
        """Write the conversation that has these chunks, without any stop token of ours."""
        return "".join(p.chunk.text(chunks) if p.chunk else p.text for p in self.pieces)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Where an answer stands in a marked text; ``stops`` tells whether a control token ends it."""

    turn: int
    start: int
    end: int
    stops: bool


class ChatTemplate:
    """A Jinja chat template and the shapes of conversation that it has met.

    Attributes:
        source: the template.
        is_default: True where the model brings none and formtune's plain one stands in.
        options: variables that every rendering gets besides the conversation.
    """

    def __init__(
        self,
        source: str,
        *,
        special_tokens: Mapping[str, str],
        controls: Mapping[str, AddedToken],
        is_default: bool = False,
        options: Mapping[str, object] | None = None,
    ) -> None:
        """Compile a template.

        Args:
            source: Jinja source.
            special_tokens: ``bos_token``, ``eos_token`` and so on, as the template's variables.
            controls: the model's control tokens by their text.
            is_default: whether this is formtune's own plain template.
            options: further variables. By default ``enable_thinking`` is False: models that reason (Qwen3) then show
                an empty reasoning block in the prompt, as data without reasoning needs it. For answers that bring
                their reasoning set it to True.

        Raises:
            DataError: where the source is not a template.
        """
        self.source, self.is_default = source, is_default
        self.options: dict[str, object] = {"enable_thinking": False} | dict(options or {})
        self._special_tokens = dict(special_tokens)
        self._compiled = CompiledTemplate(source)
        self._marker = Marker(controls, self._compiled.watched, self._compiled.compared)
        self._layouts: dict[object, _Layout] = {}
        self._stop: str | None = None
        self._knows_stop = False

    @property
    def stop(self) -> str | None:
        """The text of the control token that ends an assistant's turn; None where the template writes none."""
        if not self._knows_stop:
            self._knows_stop = True
            self._stop = self._find_stop()
        return self._stop

    def _find_stop(self) -> str | None:
        try:
            segments = self.segments((Turn("user", "q"), Turn("assistant", "a", weight=1.0)))
        except DataError:  # a template that refuses even this says so when it is used
            return None
        learned = [s.text for s in segments if s.part == "target" and s.control == "token"]
        return learned[-1] if learned else None

    def render(self, turns: Sequence[Turn], tools: str | None = None, *, add_generation_prompt: bool = False) -> str:
        """Render a conversation as the model's own template does.

        Raises:
            DataError: where the template refuses the conversation, with the template's own message.
        """
        return self._render(turns, tools, prompting=add_generation_prompt)

    def segments(
        self, turns: Sequence[Turn], tools: str | None = None, *, add_generation_prompt: bool = False
    ) -> tuple[Segment, ...]:
        """Lay a conversation out as segments whose texts, joined, are the rendered conversation.

        Turns of the assistant with a weight are learned with the token that ends them; where the template writes
        none after the last turn, the model's end of text is added. System messages are never cut, the last message
        from its end, those before it from their start.

        Raises:
            DataError: where the template refuses the conversation, leaves a message or the tools out, or begins an
                answer otherwise than its own generation prompt does.
        """
        parted = [self._marker.skeleton(turn.content) for turn in turns]
        skeletons, chunks = [skeleton for skeleton, _ in parted], [found for _, found in parted]
        key = (tuple(map(_shape, turns, skeletons)), tools, add_generation_prompt)
        layout = self._layouts.get(key)
        is_new = layout is None
        if layout is None:
            marked = [replace(t, content=numbered(s, n)) for n, (t, s) in enumerate(zip(turns, skeletons, strict=True))]
            layout = self._lay_out(marked, tools, prompting=add_generation_prompt)
            self._remember(key, layout)
        if is_new or not layout.trusted or self._compiled.is_risky or _in_sample(turns):
            real = self._render(turns, tools, prompting=add_generation_prompt)
            if real != layout.text(chunks):
                layout.trusted = False
                layout = self._lay_out_alone(turns, tools, prompting=add_generation_prompt, real=real)
        return tuple(_fill(layout, turns, chunks))

    def _remember(self, key: object, layout: _Layout) -> None:
        if len(self._layouts) >= _MOST_SHAPES:
            self._layouts.clear()
        self._layouts[key] = layout

    def _lay_out(self, marked: Sequence[Turn], tools: str | None, *, prompting: bool) -> _Layout:
        """Render a marked conversation and find in it the contents, the answers and the control tokens."""
        text = self._render(marked, tools, prompting=prompting, wrapping=True)
        runs = self._marker.runs(text)
        shown = {run.chunk.turn for run in runs if run.chunk}
        for n, turn in enumerate(marked):
            if OPEN in turn.content and n not in shown:
                raise _not_shown(f"a message from {turn.role!r}")
        if tools and text == self._render(marked, None, prompting=prompting, wrapping=True):
            raise _not_shown("the tools")
        return self._layout(text, runs, marked, tools)

    def _lay_out_alone(self, turns: Sequence[Turn], tools: str | None, *, prompting: bool, real: str) -> _Layout:
        """Lay out one conversation that its shape does not describe; its contents become scaffold."""
        wrapped = [replace(turn, content=self._marker.wrap(turn.content)) for turn in turns]
        text = self._render(wrapped, tools, prompting=prompting, wrapping=True)
        layout = self._layout(text, self._marker.runs(text), wrapped, tools)
        if layout.text(()) != real:
            raise DataError(
                "The conversation holds text that the chat template takes for its own.",
                "Take that text out, or use another model.",
            )
        return layout

    def _layout(self, text: str, runs: Sequence[Run], turns: Sequence[Turn], tools: str | None) -> _Layout:
        answers, unlearnable = [], set()
        for n, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            start = self._answer_start(text, turns[: n + 1], tools, is_final=n == len(turns) - 1)
            if start is None:
                unlearnable.add(n)
            else:
                answers.append(self._answer(text, runs, start, turns=turns, turn=n, tools=tools))
        return _Layout(tuple(_pieces(runs, answers, n_turns=len(turns))), frozenset(unlearnable))

    def _answer_start(self, text: str, turns: Sequence[Turn], tools: str | None, *, is_final: bool) -> int | None:
        """Find where the template's own prompt for a turn ends.

        The prompt of the final answer is the one that will be served. Earlier ones may leave the options out: Qwen3
        shows no reasoning block in past turns.
        """
        for with_options in (True,) if is_final else (True, False):
            try:
                prompt = self._render(turns[:-1], tools, prompting=True, wrapping=True, with_options=with_options)
            except DataError:  # a template may refuse a conversation that an assistant begins
                continue
            if text.startswith(prompt):
                return len(prompt)
        return None

    def _answer(
        self, text: str, runs: Sequence[Run], start: int, *, turns: Sequence[Turn], turn: int, tools: str | None
    ) -> _Answer:
        """Find the token that ends a turn: the first control token behind its content.

        A turn with tool calls writes control tokens of its own; there it is the template's usual stop, else the last
        control token before the next turn.
        """
        ends = [run.end for run in runs if run.chunk and run.chunk.turn == turn]
        last = max(ends, default=start)
        limit = min((run.start for run in runs if run.chunk and run.chunk.turn > turn), default=len(text))
        after = [run for run in runs if run.is_control and last <= run.start < limit]
        if turns[turn].tool_calls or not ends:
            limit = self._turn_end(text, turns[: turn + 1], tools, limit)
            usual = [run for run in after if run.text in (self.stop, self._special_tokens.get("eos_token"))]
            after = usual or [run for run in after if run.start < limit][-1:]
        return _Answer(turn, start, after[0].end if after else last, stops=bool(after))

    def _turn_end(self, text: str, turns: Sequence[Turn], tools: str | None, limit: int) -> int:
        whole = self._render(turns, tools, prompting=False, wrapping=True)
        return min(limit, len(whole)) if text.startswith(whole) else limit

    def _render(
        self,
        turns: Sequence[Turn],
        tools: str | None,
        *,
        prompting: bool,
        wrapping: bool = False,
        with_options: bool = True,
    ) -> str:
        variables = self._special_tokens | self.options if with_options else self._special_tokens
        schemas = _read(tools, "tools") if tools else None

        def render(shown: Sequence[Turn], form: tuple[bool, bool]) -> str:
            messages = [_message(turn, form) for turn in shown]
            if wrapping:
                messages = [{k: v if k == "content" else self._marker.wrap(v) for k, v in m.items()} for m in messages]
            seen = self._marker.wrap(schemas) if wrapping else schemas
            return self._compiled.render(messages, seen, add_generation_prompt=prompting, variables=variables)

        return _with_calls(turns, render) if any(turn.tool_calls for turn in turns) else render(turns, _FORMS[0])


def _with_calls(turns: Sequence[Turn], render: Callable[[Sequence[Turn], tuple[bool, bool]], str]) -> str:
    """Render a conversation with tool calls in the first form in which the template shows them."""
    bare = [replace(turn, tool_calls=None) for turn in turns]
    refusal = _not_shown("the tool calls")
    for form in _FORMS:
        try:
            text = render(turns, form)
        except DataError as error:
            refusal = error
            continue
        if text != _or_none(render, bare, form):
            return text
    raise refusal


def _or_none(
    render: Callable[[Sequence[Turn], tuple[bool, bool]], str], turns: Sequence[Turn], form: tuple[bool, bool]
) -> str | None:
    try:
        return render(turns, form)
    except DataError:
        return None


def _message(turn: Turn, form: tuple[bool, bool]) -> dict[str, Any]:
    as_text, empty_is_none = form
    is_empty = empty_is_none and turn.role == "assistant" and not turn.content
    message: dict[str, Any] = {"role": turn.role, "content": None if is_empty else turn.content}
    if turn.tool_calls:
        message["tool_calls"] = [_call(call, as_text=as_text) for call in _read(turn.tool_calls, "tool calls")]
    given = {"name": turn.name, "tool_call_id": turn.tool_call_id}
    return message | {key: value for key, value in given.items() if value is not None}


def _call(call: dict[str, Any], *, as_text: bool) -> dict[str, Any]:
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    if as_text and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    if not as_text and isinstance(arguments, str):
        arguments = _read(arguments or "{}", "tool arguments")
    function = function | {"arguments": arguments}
    return {"type": "function"} | call | {"function": function} if "function" in call else function


def _read(text: str, what: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise DataError(f"The {what} are not JSON ({error}).", "Correct them in the data.") from error


def _not_shown(what: str) -> DataError:
    return DataError(
        f"The chat template leaves out {what}.",
        "Take another model, whose template has a place for it, or take it out of the data.",
    )


def _shape(turn: Turn, skeleton: str) -> tuple[str | None, ...]:
    return turn.role, skeleton, turn.tool_calls, turn.name, turn.tool_call_id


def _in_sample(turns: Sequence[Turn]) -> bool:
    return zlib.crc32("".join(turn.content for turn in turns).encode("utf-8", "surrogatepass")) % _SAMPLE == 0


def _pieces(runs: Sequence[Run], answers: Sequence[_Answer], *, n_turns: int) -> Iterator[_Piece]:
    """Cut runs at the borders of answers, and say of each piece whose answer it is."""
    cuts = sorted({place for answer in answers for place in (answer.start, answer.end)})
    # Only the conversation's last turn gets a stop token of ours: elsewhere the template's text goes on.
    unended = {a.end: a.turn for a in answers if not a.stops and a.turn == n_turns - 1}
    at_end = [Run(runs[-1].end, runs[-1].end)] if runs else []
    for run in [part for run in runs for part in _parts(run, cuts)] + at_end:
        if run.start in unended:
            yield _Piece(control="stop", answer=unended[run.start])
        if run.start in cuts:
            yield _Piece(control="boundary")
        answer = next((a.turn for a in answers if a.start <= run.start < a.end), None)
        yield _Piece(run.text, "token" if run.is_control else None, run.chunk, answer)


def _parts(run: Run, cuts: Sequence[int]) -> Iterator[Run]:
    """Part plain text at the cuts inside it; other runs have none."""
    places = [run.start, *(cut for cut in cuts if run.start < cut < run.end), run.end]
    if len(places) == 2:
        yield run
        return
    for start, end in pairwise(places):
        yield Run(start, end, run.text[start - run.start : end - run.start])


def _fill(layout: _Layout, turns: Sequence[Turn], chunks: Sequence[Sequence[str]]) -> Iterator[Segment]:
    """Put contents and weights into a layout."""
    if any(turns[n].weight > 0 for n in layout.unlearnable):
        raise DataError(
            "The chat template begins an answer otherwise than its own generation prompt does.",
            "For answers that bring their reasoning set the template option enable_thinking to true.",
        )
    last = max((n for n, turn in enumerate(turns) if turn.role != "assistant"), default=0)
    for piece in layout.pieces:
        weight = 0.0 if piece.answer is None else turns[piece.answer].weight
        text = piece.chunk.text(chunks) if piece.chunk else piece.text
        if not text and piece.control != "boundary" and not (piece.control == "stop" and weight > 0):
            continue
        part: Part = "target" if weight > 0 else "scaffold"
        if weight <= 0 and piece.chunk and turns[piece.chunk.turn].role != "system":
            part = "content"
        is_last = piece.chunk is not None and piece.chunk.turn == last
        yield Segment(text, part, weight, piece.control, "end" if is_last else "start")
