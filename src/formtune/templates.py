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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from tokenizers import AddedToken

from formtune.errors import DataError
from formtune.examples import Segment, Turn
from formtune.layouts import Answer, Layout, pieces_of
from formtune.marking import CLOSE, OPEN, Chunks, Marker, Run, numbered
from formtune.rendering import CompiledTemplate, Talk, not_shown
from formtune.template_options import NO_OPTIONS, TemplateOptions, check_read

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
_OWN = frozenset(("messages", "tools", "add_generation_prompt"))  # a conversation's, not the recipe's
_ROLES = frozenset(f"{role}_token" for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
_EXCHANGE = (Turn("user", "q"), Turn("assistant", "a", weight=1.0))


class ChatTemplate:
    """A Jinja chat template and the shapes of conversation that it has met.

    Attributes:
        source: the template.
        is_default: True where the model brings none and formtune's plain one stands in.
        options: what every rendering gets besides the conversation.
    """

    def __init__(
        self,
        source: str,
        *,
        special_tokens: Mapping[str, str],
        controls: Mapping[str, AddedToken],
        is_default: bool = False,
        options: TemplateOptions = NO_OPTIONS,
    ) -> None:
        """Compile a template.

        Args:
            source: Jinja source.
            special_tokens: ``bos_token``, ``eos_token`` and so on, as the template's variables.
            controls: the model's control tokens by their text.
            is_default: whether this is formtune's own plain template.
            options: further variables, and the day that is written as today's. Where ``enable_thinking`` is none of
                them, it is True for conversations whose last answer has reasoning, and False for the others: models
                that reason (Qwen3) then show an empty reasoning block in the prompt.

        Raises:
            DataError: where the source is not a template.
            SettingError: where it does not look at one of the variables.
        """
        self.source, self.is_default = source, is_default
        self.options = options
        self._special_tokens = dict(special_tokens)
        self._compiled = CompiledTemplate(source, options.day)
        check_read(options.variables, self._compiled.variables - _OWN - _ROLES, has_template=not is_default)
        self._marker = Marker(controls, self._compiled.watched, self._compiled.compared)
        self._layouts: dict[Talk, Layout] = {}
        self._turn_ends: tuple[str | None, frozenset[str]] | None = None

    @property
    def stop(self) -> str | None:
        """The text of the control token that ends an assistant's turn; None where the template writes none."""
        return self._found_ends()[0]

    @property
    def stops(self) -> frozenset[str]:
        """The texts of all control tokens that end a turn, past or last (GLM's is the beginning of the next)."""
        return self._found_ends()[1] - self._inside()

    @property
    def told(self) -> tuple[str, ...]:
        """What of the options decides what is written, as JSON text: variables, and the day where it may be written."""
        given = self.options.variables
        day = (self.options.date,) if self._compiled.is_dated else ()
        return (*((json.dumps(given, sort_keys=True),) if given else ()), *day)

    @property
    def is_steady(self) -> bool:
        """Whether it takes contents over as they are, but for outer white space."""
        return not self._compiled.is_risky

    def looked_into(self, columns: Iterable[Sequence[str]]) -> set[int]:
        """Say which rows of contents hold something that this looks for; each other stands for any such row.

        Args:
            columns: the first content of every row, the second, and so on.
        """
        return self._marker.looked_into(columns)

    def _found_ends(self) -> tuple[str | None, frozenset[str]]:
        """Find what ends a last turn, and what ends any; to lay those turns out, neither has to be known."""
        if self._turn_ends is None:
            self._turn_ends = (None, frozenset())
            last = next(iter(self._ends(_EXCHANGE)), None)
            self._turn_ends = (last, frozenset(self._ends(_EXCHANGE + _EXCHANGE)))
        return self._turn_ends

    def _inside(self) -> set[str]:
        """Collect the control tokens that stand within an answer that reasons (Harmony ends its reasoning with one)."""
        question, answer = _EXCHANGE
        try:
            segments = self.segments((question, replace(answer, thinking="t")))
        except DataError:  # no place for reasoning
            return set()
        tokens = [s.text for s in segments if s.part == "target" and s.control == "token"]
        return set(tokens[:-1])

    def _ends(self, turns: tuple[Turn, ...]) -> list[str]:
        try:
            segments = self.segments(turns)
        except DataError:  # a template that refuses even this says so when it is used
            return []
        ends = (before for before, after in pairwise(segments) if after.control == "boundary")
        return [end.text for end in ends if end.part == "target" and end.control == "token"]

    def render(self, turns: Sequence[Turn], tools: str | None = None, *, add_generation_prompt: bool = False) -> str:
        """Render a conversation as the model's own template does.

        Raises:
            DataError: where the template refuses the conversation, with the template's own message.
        """
        return self._render(_talk(turns, tools, asking=add_generation_prompt, reasons=False))

    def segments(
        self,
        turns: Sequence[Turn],
        tools: str | None = None,
        *,
        add_generation_prompt: bool = False,
        reasons: bool = False,
    ) -> tuple[Segment, ...]:
        """Lay a conversation out as segments whose texts, joined, are the rendered conversation.

        Turns of the assistant with a weight are learned with the token that ends them; where the template writes
        none after the last turn, the model's end of text is added. System messages are never cut, the last message
        from its end, those before it from their start. Reasoning stands, and is learned, where the template shows it.

        Args:
            turns: the conversation.
            tools: JSON text of tool schemas.
            add_generation_prompt: whether it ends by asking for an answer.
            reasons: whether the answer that is asked for begins with reasoning.

        Raises:
            DataError: where the template refuses the conversation, leaves a message or the tools out, has no place for
                reasoning, or begins an answer otherwise than its own generation prompt does.
        """
        talk = _talk(turns, tools, asking=add_generation_prompt, reasons=reasons)
        _refuse_marks(talk)
        marked, chunks = zip(*(self._mark(turn, n) for n, turn in enumerate(turns)), strict=True) if turns else ((), ())
        shape = Talk(marked, tools, add_generation_prompt, talk.reasons)
        layout = self._layouts.get(shape)
        is_new = layout is None
        if layout is None:
            layout = self._lay_out(shape)
            self._remember(shape, layout)
        is_sure = layout.trusted and not (is_new or self._compiled.is_risky or _in_sample(turns))
        if not is_sure and (real := self._render(talk)) != layout.text(chunks):
            layout.trusted = False
            layout = self._layout(talk, _unmarked(real))
        return tuple(layout.fill(turns, chunks))

    def _mark(self, turn: Turn, number: int) -> tuple[Turn, Chunks]:
        """Put marks in place of what a turn says, and keep what they stand for."""
        content, chunks = self._marker.skeleton(turn.content)
        content = numbered(content, number)
        if not turn.thinking:
            return Turn(turn.role, content, 0.0, turn.tool_calls, turn.name, turn.tool_call_id), Chunks(chunks)
        thinking, thoughts = self._marker.skeleton(turn.thinking)
        marked = replace(
            turn, content=content, thinking=numbered(thinking, number, is_thinking=True), weight=0.0, spans=()
        )
        return marked, Chunks(chunks, thoughts)

    def _remember(self, shape: Talk, layout: Layout) -> None:
        if len(self._layouts) >= _MOST_SHAPES:
            self._layouts.clear()
        self._layouts[shape] = layout

    def _lay_out(self, marked: Talk) -> Layout:
        """Lay out all conversations of a shape; see that the template leaves nothing out."""
        text = self._render(marked)
        layout = self._layout(marked, text)
        shown = {piece.chunk.turn for piece in layout.pieces if piece.chunk and not piece.chunk.is_thinking}
        for n, turn in enumerate(marked.turns):
            if OPEN in turn.content and n not in shown:
                raise not_shown(f"a message from {turn.role!r}")
        if marked.tools and text == self._render(replace(marked, tools=None)):
            raise not_shown("the tools")
        return layout

    def _layout(self, talk: Talk, text: str) -> Layout:
        """Find in a rendered conversation, marked or not, the contents, the answers and the control tokens.

        Contents without marks are scaffold.
        """
        runs = self._marker.runs(text, self._render_wrapped(talk))
        answers, unlearnable = [], set()
        for n, turn in enumerate(talk.turns):
            if turn.role != "assistant":
                continue
            start = self._answer_start(talk, n, text, runs=runs)
            if start is None:
                unlearnable.add(n)
            else:
                answers.append(self._answer(talk, n, text, runs=runs, start=start))
        return Layout(tuple(pieces_of(runs, answers, n_turns=len(talk.turns))), frozenset(unlearnable))

    def _answer_start(self, talk: Talk, turn: int, text: str, *, runs: Sequence[Run]) -> int | None:
        """Find where the template's own prompt for a turn ends.

        The prompt of the final answer is the one that will be served. Templates show past turns otherwise (Qwen3
        without the reasoning block, Mistral without the tools): these may begin as far behind the message before them
        as in their prompt, else where their content does or, where it does not show, where another one would.
        """
        is_final = turn == len(talk.turns) - 1
        own_variables = self._variables(talk)
        unasked = {name: value for name, value in own_variables.items() if name != "enable_thinking"}
        for variables in (own_variables,) if is_final else (own_variables, unasked):
            try:
                prompt = self._render(talk.before(turn), variables)
            except DataError:  # a template may refuse a conversation that an assistant begins
                continue
            if text.startswith(prompt):
                return len(prompt)
            if not is_final and (place := _behind_same_mark(prompt, text)) is not None:
                return place
        if is_final:
            return None
        own = [run.start for run in runs if run.chunk and run.chunk.turn == turn]
        return min(own) if own else self._content_start(talk, turn, text)

    def _content_start(self, talk: Talk, turn: int, text: str) -> int | None:
        """Find where the content of a past turn would begin, had it one and were it followed by a question."""
        turns = (*talk.turns[:turn], Turn("assistant", numbered(OPEN, turn)), Turn("user", "q"))
        try:
            before, mark, _ = self._render(replace(talk, turns=turns, asking=False)).partition(numbered(OPEN, turn))
        except DataError:  # a template may refuse that, as it may refuse anything
            return None
        return len(before) if mark and text.startswith(before) else None

    def _answer(self, talk: Talk, turn: int, text: str, *, runs: Sequence[Run], start: int) -> Answer:
        """Find the token that ends a turn: the first control token behind its content.

        Where no content shows, that is the template's usual stop, else what ends past turns. A turn with tool calls
        writes control tokens of its own; there it is the last one before the next turn or, where turns end with the
        beginning of the next (GLM), the first there.
        """
        limit = min((run.start for run in runs if run.chunk and run.chunk.turn > turn), default=len(text))
        last = _content_end(talk.turns[turn].content, text, runs=runs, turn=turn, start=start)
        after = [run for run in runs if run.is_control and (last or start) <= run.start < limit]
        if talk.turns[turn].tool_calls or last is None:
            last = max(last or start, self._turn_end(talk, turn, text, limit=limit))
            usual = [run for run in after if run.text in (self.stop, self._special_tokens.get("eos_token"))]
            usual = usual or [
                run for run in after if run.text in self._found_ends()[1] and not talk.turns[turn].tool_calls
            ]
            own = [run for run in after if run.start < last] if self.stop else []
            after = usual or own[-1:] or [run for run in after if run.start >= last]
        return Answer(turn, start, after[0].end if after else last, stops=bool(after))

    def _turn_end(self, talk: Talk, turn: int, text: str, *, limit: int) -> int:
        whole = self._render(talk.through(turn))
        return min(limit, len(whole)) if text.startswith(whole) else limit

    def _render(self, talk: Talk, variables: Mapping[str, object] | None = None) -> str:
        return self._compiled.render(talk, self._variables(talk) if variables is None else variables)

    def _variables(self, talk: Talk) -> dict[str, object]:
        return {**self._special_tokens, "enable_thinking": talk.reasons, **self.options.variables}

    def _render_wrapped(self, talk: Talk) -> str | None:
        """Render a conversation with its own control tokens wrapped; None where it has none."""
        said = [talk.tools, *(text for turn in talk.turns for text in _texts(turn))]
        if not self._marker.has_control("\0".join(text for text in said if text)):
            return None
        return self._compiled.render(talk, self._variables(talk), change=self._marker.wrap)


def _behind_same_mark(prompt: str, text: str) -> int | None:
    """Find what a prompt writes behind its last mark, in a text that has the same mark and writes the same there."""
    start, end = prompt.rfind(OPEN), prompt.rfind(CLOSE) + 1
    mark, behind = prompt[start:end], prompt[end:]
    if not 0 <= start < end or text.count(mark + behind) != 1:
        return None
    return text.index(mark + behind) + len(mark + behind)


def _content_end(content: str, text: str, *, runs: Sequence[Run], turn: int, start: int) -> int | None:
    """Find where a content, marked or not, ends in the rendered text; None where it does not show."""
    ends = [run.end for run in runs if run.chunk and run.chunk.turn == turn and not run.chunk.is_thinking]
    bare = content.strip()
    if not ends:
        found = text.find(bare, start) if bare else -1
        return None if found < 0 else found + len(bare)
    # Behind the last chunk may stand what is not part of it: white space, and strings that the template looks for.
    rest = content.rpartition(CLOSE)[2]
    kept = next(part for part in (rest, rest.rstrip(), "") if text.startswith(part, ends[-1]))
    return ends[-1] + len(kept)


def _talk(turns: Sequence[Turn], tools: str | None, *, asking: bool, reasons: bool) -> Talk:
    """Give the template its conversation; the last answer itself tells whether it reasons, where it is there."""
    answered = bool(turns) and turns[-1].role == "assistant" and not asking
    return Talk(tuple(turns), tools, asking, bool(turns[-1].thinking) if answered else reasons)


def _texts(turn: Turn) -> tuple[str | None, ...]:
    return turn.role, turn.content, turn.thinking, turn.tool_calls, turn.name, turn.tool_call_id


def _refuse_marks(talk: Talk) -> None:
    """Refuse our marks in names and tools, where they would be taken for contents; in contents they are harmless."""
    for text in (
        talk.tools,
        *(text for turn in talk.turns for text in _texts(turn)[3:]),
        *(t.role for t in talk.turns),
    ):
        if text and (OPEN in text or ascii(OPEN)[1:-1] in text.lower()):
            _unmarked(OPEN)


def _unmarked(text: str) -> str:
    if OPEN in text:
        raise DataError(
            f"The conversation holds the private-use character {OPEN!r}, with which formtune marks contents.",
            "Take that character out.",
        )
    return text


def _in_sample(turns: Sequence[Turn]) -> bool:
    return zlib.crc32("".join(turn.content for turn in turns).encode("utf-8", "surrogatepass")) % _SAMPLE == 0
