"""Questions of MT-Bench: what a user says in each turn, for some with reference answers.

Without a reference for every turn these are conversations to be answered, and what references there are stay aside.
Zheng et al. 2023.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.layouts import alternates, only_says, seen
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "mt-bench"
SUMMARY = "A user's turns, for some with reference answers (MT-Bench)."
NEEDS = "'turns' as a list of texts, beside 'question_id'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"question_id", "turns", "reference"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for turns that are texts, beside the question's number: without it they could be two speakers'."""
    return seen(rows, columns, lambda value: "question_id" in value and _are_texts(value.get("turns")), why="'turns'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the turns as the user's, each with its reference as the answer where all have one."""
    value = as_object(row)
    turns, references = value.get("turns"), value.get("reference")
    if not _are_texts(turns) or not isinstance(turns, list):
        raise RowFault("turns that are not a list of texts", path="turns", found=turns)
    asked = [Message("user", text) for text in turns]
    is_answered = _are_texts(references) and isinstance(references, list) and len(references) == len(turns)
    answers = (
        [Message("assistant", text) for text in references] if is_answered and isinstance(references, list) else []
    )
    yield Conversation(
        messages=tuple(chain.from_iterable(zip(asked, answers, strict=True))) if answers else tuple(asked),
        origin=row.origin,
        extra=rest(value, {"turns", "reference"} if answers else {"turns"}),
    )


def write(record: Record) -> Object | None:
    """Write the user's turns and the assistant's as references; None where others speak, or one of the two is silent."""
    if not isinstance(record, Conversation) or record.tools or not all(map(only_says, record.messages)):
        return None
    texts = {
        role: [message.content for message in record.messages if message.role == role] for role in ("user", "assistant")
    }
    if not record.messages or not all(message.content.strip() for message in record.messages):
        return None
    if len(texts["user"]) < len(record.messages) and not alternates(record.messages):
        return None
    answers: Object = {"reference": texts["assistant"]} if texts["assistant"] else {}
    return with_rest({"turns": texts["user"], **answers}, record.extra)


def _are_texts(found: object) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(text, str) and text.strip() for text in found)
