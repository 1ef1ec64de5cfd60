"""The six kinds of record: one labelled example, free of any format.

A record says what was asked, what is right and where it came from. Tool arguments and schemas are JSON *text*,
never columns, so that nothing is padded or reordered on the way.
"""

import hashlib
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from formtune.faults import fault_of


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a record stands: a file and, where the file has lines, the 1-based physical line it begins on."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


class LeftOut(msgspec.Struct, frozen=True, gc=False):
    """A record or row that does not go on, with its reason (one short phrase, the same for all of one cause).

    Attributes:
        reason: a phrase that has a line in :data:`formtune.faults.FAULTS`.
        at: where the row begins.
        id: the record's, where it has become one.
        detail: what is particular to this one: the column of a JSON fault, how many fields were found.
        path: the place inside the row, as in ``messages[3].role``.
        column: the character of the line at which the fault stands, from 1.
        found: what stands there.
        near: the known key or role that is spelled most like it.
        further: other faults of the same row.
        kept: whether the row went on all the same, without the part that is told here.
    """

    reason: str
    at: Origin | None = None
    id: str | None = None
    detail: str | None = None
    path: str | None = None
    column: int | None = None
    found: str | None = None
    near: str | None = None
    further: tuple["LeftOut", ...] = ()
    kept: bool = False

    @property
    def code(self) -> str | None:
        """The fault's code, as in ``FT141``; None for a reason that the table does not know."""
        fault = fault_of(self.reason)
        return fault.code if fault else None

    @property
    def particulars(self) -> str:
        """What tells this row from others of the same reason, in a line; empty where nothing does."""
        own = ": ".join(filter(None, (self.path, self.detail or self.found)))
        near = f"the nearest is {self.near!r}" if self.near else ""
        return "; ".join(filter(None, (own, near, *map(_also, self.further))))


def _also(other: LeftOut) -> str:
    return f"also {other.reason} ({other.particulars})" if other.particulars else f"also {other.reason}"


class Span(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A stretch of a message's text with a loss weight of its own: characters from ``start`` to before ``end``."""

    start: int
    end: int
    weight: float


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One turn of a conversation.

    ``weight`` is the loss weight the data itself gives the turn (None: the format decides), and ``spans`` those it gives
    to stretches of the content, in order and apart. ``thinking`` is what is reasoned before the content. ``tool_calls``
    is the JSON text of a list in the OpenAI layout. ``parts`` is the JSON text of a content that is a list of parts with
    more in it than text (``content`` then holds their texts). ``extra`` is the JSON text of an object with the keys that
    have no place here; a role that the data calls by another name stands there under ``role``.
    """

    role: str
    content: str
    weight: float | None = None
    name: str | None = None
    tool_calls: str | None = None
    tool_call_id: str | None = None
    thinking: str | None = None
    spans: tuple[Span, ...] = ()
    parts: str | None = None
    extra: str | None = None


class _Common(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What every kind carries.

    ``id`` is filled by :func:`identified`; ``group`` names what must not be split; ``extra`` is the JSON text of an
    object with the keys of the row that the kind has no place for.
    """

    id: str = ""
    origin: Origin | None = None
    group: str | None = None
    extra: str | None = None


class Labelled(_Common, frozen=True, gc=False, tag_field="kind", tag="labelled"):
    """Named input texts (one, or a pair) with one label or several; no label means: to be predicted."""

    inputs: dict[str, str]
    labels: tuple[str, ...] = ()


class Question(_Common, frozen=True, gc=False, tag_field="kind", tag="question"):
    """A question, perhaps over a context or with choices.

    ``answers`` are the acceptable ones, best first; empty with ``answerable`` means: to be predicted; empty without
    means the context holds no answer (SQuAD v2). ``starts`` are character offsets into the context, where known.
    """

    question: str
    context: str | None = None
    choices: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()
    answerable: bool = True


class Pair(_Common, frozen=True, gc=False, tag_field="kind", tag="pair"):
    """A source text and its acceptable targets, perhaps with the two languages."""

    source: str
    targets: tuple[str, ...] = ()
    source_language: str | None = None
    target_language: str | None = None


class Conversation(_Common, frozen=True, gc=False, tag_field="kind", tag="conversation"):
    """Messages in order; ``tools`` is the JSON text of a list of tool schemas."""

    messages: tuple[Message, ...]
    tools: str | None = None


class Plain(_Common, frozen=True, gc=False, tag_field="kind", tag="plain"):
    """Text without a label."""

    text: str


class Preference(_Common, frozen=True, gc=False, tag_field="kind", tag="preference"):
    """A prompt with a chosen and a rejected answer; read, converted and checked, not trained on.

    An answer that was judged alone is chosen where it was found good, else rejected, and the other is empty. ``tools``
    is the JSON text of a list of tool schemas.
    """

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: str | None = None


Record = Labelled | Question | Pair | Conversation | Plain | Preference
KINDS: dict[str, type[Record]] = {
    "labelled": Labelled,
    "question": Question,
    "pair": Pair,
    "conversation": Conversation,
    "plain": Plain,
    "preference": Preference,
}
AnyRecord = TypeVar("AnyRecord", Labelled, Question, Pair, Conversation, Plain, Preference)

_encoder = msgspec.json.Encoder(order="deterministic")


def kind_of(record: Record) -> str:
    """Name the record's kind: a key of :data:`KINDS`."""
    return str(type(record).__struct_config__.tag)


def content_digest(record: Record) -> str:
    """Digest what the record says (not where it stands, nor its id): 16 hex digits of SHA-256."""
    bare = msgspec.structs.replace(record, id="", origin=None, group=None)
    return hashlib.sha256(_encoder.encode(bare)).hexdigest()[:16]


def identified(records: Iterable[Record]) -> list[Record]:
    """Give every record without an id a stable one: its content digest, with ``-2``, ``-3`` where a row stands again."""
    seen: dict[str, int] = {}
    out: list[Record] = []
    for record in records:
        if not record.id:
            digest = content_digest(record)
            count = seen[digest] = seen.get(digest, 0) + 1
            record = msgspec.structs.replace(record, id=digest if count == 1 else f"{digest}-{count}")
        out.append(record)
    return out


def input_text(record: Record) -> str:
    """Join what was asked, without any answer: what two records must share to be duplicates of one another."""
    match record:
        case Labelled():
            return "\n".join(record.inputs.values())
        case Question():
            return "\n".join(filter(None, (record.context, record.question, *record.choices)))
        case Pair():
            return record.source
        case Conversation():
            return "\n".join(m.content for m in record.messages if m.role != "assistant")
        case Plain():
            return record.text
        case Preference():
            return "\n".join(m.content for m in record.prompt)


def answer_text(record: Record) -> str:
    """Give the answer that is learned, as one text; empty where there is none."""
    match record:
        case Labelled():
            return ", ".join(record.labels)
        case Question():
            return record.answers[0] if record.answers else ""
        case Pair():
            return record.targets[0] if record.targets else ""
        case Conversation():
            return "\n".join(m.content for m in record.messages if m.role == "assistant")
        case Plain():
            return record.text
        case Preference():
            return "\n".join(m.content for m in record.chosen)


def fields_of(record: Record) -> tuple[tuple[str, str], ...]:
    """Give what a record says as named texts, for people to read."""
    match record:
        case Labelled():
            return (*record.inputs.items(), ("label", ", ".join(record.labels)))
        case Question():
            named = [("question", record.question), ("context", record.context or "")]
            named += [("choices", " | ".join(record.choices)), ("answers", " | ".join(record.answers))]
        case Pair():
            named = [("source", record.source), *(("target", target) for target in record.targets)]
        case Conversation():
            named = [(message.role, message.content) for message in record.messages]
        case Plain():
            named = [("text", record.text)]
        case Preference():
            parts = {"prompt": record.prompt, "chosen": record.chosen, "rejected": record.rejected}
            named = [(name, m.content) for name, messages in parts.items() for m in messages]
    return tuple((name, text) for name, text in named if text)
