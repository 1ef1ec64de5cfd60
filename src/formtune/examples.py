"""A record in one format: segments of text, each with its part and its loss weight.

What is learned is decided here, once, by the format; every later stage only carries the weight.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from formtune.records import Record, Span

Part = Literal["scaffold", "content", "target"]
Control = Literal["separator", "mask", "stop", "token", "boundary"]
Shape = Literal["encoder", "decoder", "encoder-decoder"]
Output = Literal["head", "words", "text", "mask"]
SHAPES: tuple[Shape, ...] = ("encoder", "decoder", "encoder-decoder")


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of text with one part and one loss weight.

    Attributes:
        text: the characters. Never holds a control token: one typed by a user stays plain text.
        part: ``scaffold`` is the format's own wording and is never cut; ``content`` is the record's and may be cut;
            ``target`` is what is to be produced and is never cut.
        weight: loss weight of each of its tokens; 0 is not learned.
        control: instead of text, the model's own separator, stop token, or a mask slot. A mask slot (``"mask"``)
            carries in ``text`` what fills it: the input shows mask tokens, the loss asks for the text. Chat templates
            add ``"token"``, the control token whose text is ``text``, and ``"boundary"``, a place that no token crosses.
        cut: from which side content loses tokens when the example is too long: ``"end"`` or ``"start"``.
    """

    text: str
    part: Part
    weight: float = 0.0
    control: Control | None = None
    cut: Literal["end", "start"] = "end"


@dataclass(frozen=True, slots=True)
class Turn:
    """A message for the model's own chat template.

    Attributes:
        weight: loss weight of all that the model has to produce for it: reasoning, content, tool calls and the token
            that ends it.
        thinking: what is reasoned before the content.
        spans: stretches of the content; each is learned with its own weight times that of the turn, and the content
            outside them is not learned (see :func:`shares`).
    """

    role: str
    content: str
    weight: float = 0.0
    tool_calls: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    thinking: str | None = None
    spans: tuple[Span, ...] = ()

    @property
    def is_learned(self) -> bool:
        """Whether any of it is."""
        return self.weight > 0


def shares(content: str, spans: Sequence[Span]) -> Iterator[tuple[str, float]]:
    """Part a content into stretches, each with its share of the message's weight.

    >>> list(shares("so: 42.", (Span(4, 6, 1.0),)))
    [('so: ', 0.0), ('42', 1.0), ('.', 0.0)]
    """
    done = 0
    for span in spans:
        yield content[done : span.start], 0.0
        yield content[span.start : span.end], span.weight
        done = span.end
    yield content[done:], 0.0 if spans else 1.0


@dataclass(frozen=True, slots=True)
class Example:
    """A record in one format, ready to be turned into tokens.

    Exactly one of ``segments`` and ``turns`` is filled: turns go through the model's chat template first.

    Attributes:
        id: the record's id.
        output: where the answer is read off.
        segments: in order; everything before the first target is the prompt.
        turns: for formats that use the model's chat template. The last assistant turn is the answer.
        tools: JSON text of tool schemas, for chat templates that show them.
        reasons: True where the answer begins with reasoning, so that its prompt must not promise that there is none.
        candidates: the texts that are scored (``words``, ``mask``), exactly as they would stand in the target
            segment; for ``head`` the class names. Empty for free text.
        gold: index of the right candidate; None where unknown or free.
        references: acceptable answers, for scoring free text.
        corrupt: ``"tokens"`` asks for BERT's random masking of content tokens, anew each epoch; ``"spans"`` for T5's
            span corruption.
    """

    id: str
    output: Output
    segments: tuple[Segment, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: str | None = None
    reasons: bool = False
    candidates: tuple[str, ...] = ()
    gold: int | None = None
    references: tuple[str, ...] = ()
    corrupt: Literal["tokens", "spans"] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What a format needs to know of the whole data set, fixed on the training records before any rendering.

    Attributes:
        kind: the records' kind.
        labels: class names in a fixed (sorted) order; empty where the answer is free.
        words: for each label, the word or phrase that stands for it in text.
        instruction: what is to be done, as an imperative sentence.
        question: the same as a question (for ``generative_qa``).
        language: ``"en"`` or ``"zh"``: the language of the default wordings.
        letters: True where choices differ from record to record, so that classes are positions (A, B, C ...).
        inputs: names of a labelled record's input texts, in order.
        languages: of source and target, where all pairs have the same two; else empty.
        reasons: whether most of the conversations' answers begin with reasoning, as one that is asked for then does.
    """

    kind: str
    labels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    instruction: str = ""
    question: str = ""
    language: str = "en"
    letters: bool = False
    inputs: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    reasons: bool = False


Present = Callable[[Record, Task, Shape], Example]


@dataclass(frozen=True, slots=True)
class Cell:
    """One format over one kind of record.

    Attributes:
        present: record → example. The shape of the model is given because the same idea is laid out differently:
            a mask slot in an encoder is the end of the text in a decoder.
        shapes: the model shapes that it serves; for the others the reason why not.
        free: the reason why it does not serve answers that are free text; None where it does.
    """

    present: Present
    shapes: Mapping[Shape, str | None]
    free: str | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """How a record becomes a learning problem: presentation × output × loss.

    Attributes:
        name: as on the command line.
        summary: one sentence.
        formula: its loss, in plain mathematics.
        wins: when it does well.
        loses: when it does badly.
        source: the paper it comes from.
        adds: what it tells the model beyond the record: ``"label names"``, ``"task description"`` or nothing.
        cells: kind → cell, or the reason why the cell is empty.
        template: text of the user's own template, where the format was made of one.
    """

    name: str
    summary: str
    formula: str
    wins: str
    loses: str
    source: str
    adds: tuple[str, ...]
    cells: Mapping[str, Cell | str]
    template: str | None = None
