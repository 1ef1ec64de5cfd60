"""Fields that hold nothing, answers that are missing, and text that was damaged on its way.

A field is empty where nothing is left of it without white space, control characters and characters of no width. Damage
shows in replacement characters (U+FFFD), NUL characters, and UTF-8 that was read as Latin-1 ("Ã©", "â€™"). Text that
is damaged in another way, or cut in the middle, is not found.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

import msgspec

from formtune.checks.finding import Context, Finding, NotChecked, Rule, counted, found, place_of, shortened
from formtune.checks.texts import texts_of
from formtune.records import Conversation, Labelled, Pair, Plain, Preference, Question, Record, fields_of
from formtune.splits import has_answer

EMPTY = Rule("FT205", "warning", "A field of a record holds no text.", "Fill it in, or remove the record.")
UNANSWERED = Rule(
    "FT206",
    "warning",
    "A record has no answer to learn.",
    "Add the answer; without it the record is left out of training and tests.",
)
DAMAGED = Rule(
    "FT207",
    "warning",
    "A text holds signs of a wrong encoding.",
    "Read the source again in its own encoding (--encoding), or remove the record.",
)
RULES = (EMPTY, UNANSWERED, DAMAGED)
N_DETAILS = 10
# What the first two bytes of a UTF-8 sequence become in Latin-1 or Windows-1252; a lone "Ã" is Portuguese.
_DAMAGE = re.compile("\ufffd|\x00|Ã[\u0080-\u00bf]|â€[\u0080-\u00bf™œ\u009d¦“”]|Â[\u00a0-\u00bf]|ï»¿")


def find(records: Sequence[Record], _context: Context) -> Iterator[Finding]:
    """Look into every field."""
    empty = [(record, names) for record in records if (names := _empty_fields(record))]
    yield from found(
        EMPTY,
        [record for record, _ in empty],
        f"{counted(len(empty), 'record', 'has')} a field without text.",
        details=[f"{place_of(record)}: {', '.join(names)}" for record, names in empty[:N_DETAILS]],
    )
    unanswered = [record for record in records if not has_answer(record)]
    if len(unanswered) < len(records):  # where none has an answer, they are there to be predicted
        yield from found(UNANSWERED, unanswered, f"{counted(len(unanswered), 'record', 'has')} no answer.")
    damaged = [(record, match) for record in records if (match := _damage(record))]
    yield from found(
        DAMAGED,
        [record for record, _ in damaged],
        f"{counted(len(damaged), 'record', 'holds')} signs of a wrong encoding.",
        details=[f"{place_of(record)}: {text!r}" for record, text in damaged[:N_DETAILS]],
    )
    if not records:
        raise NotChecked("there are no records")


def is_blank(text: str) -> bool:
    r"""Say whether nothing is left of a text that can be seen.

    >>> is_blank(" \u200b\t"), is_blank("0")
    (True, False)
    """
    return not text.strip() or all(c.isspace() or unicodedata.category(c) in {"Cf", "Cc"} for c in text)


def says_nothing(record: Record) -> bool:
    """Say whether no text of a record can be seen, wherever it stands; labels and unknown keys do not count."""
    return all(map(is_blank, texts_of(msgspec.structs.replace(record, extra=None))))


def _empty_fields(record: Record) -> list[str]:
    """Name the fields without text; an assistant's turn is the business of the check ``turns``."""
    match record:
        case Labelled():
            named = [*record.inputs.items(), *(("label", label) for label in record.labels)]
        case Question():
            named = [("question", record.question), *(("answer", answer) for answer in record.answers)]
            named += [("choice", choice) for choice in record.choices]
        case Pair():
            named = [("source", record.source), *(("target", target) for target in record.targets)]
        case Conversation():
            named = [("user", m.content) for m in record.messages if m.role == "user" and not m.parts]
        case Plain():
            named = [("text", record.text)]
        case Preference():
            sides = {"prompt": record.prompt, "chosen": record.chosen, "rejected": record.rejected}
            # A side that is not there is none: of an answer that is judged alone, or where nothing is asked.
            named = [(side, "".join(m.content for m in messages)) for side, messages in sides.items() if messages]
    return list(dict.fromkeys(name for name, text in named if is_blank(text)))


def _damage(record: Record) -> str | None:
    for _, text in fields_of(record):
        if not text.isascii() or "\x00" in text:
            match = _DAMAGE.search(text)
            if match:
                return shortened(text[max(0, match.start() - 20) : match.end() + 20])
    return None
