"""Labelled texts as Mistral tunes classifiers on them: a text or messages, and an object of labels, one for each target.

A record has one target's label; where rows have several, the first is read and the others stay aside. A label that is a
list is several labels. Of messages only a lone one of the user's is read, as the text; a dialogue has no place in a
labelled record.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, filled_in, objects, rest, text_in
from formtune.dialects.conversations import is_messages, messages_in
from formtune.dialects.layouts import only_says, seen
from formtune.records import Labelled, Record
from formtune.sources import Row, value_of

NAME = "mistral-classifier"
SUMMARY = "A text or messages with an object 'labels', a label for each target (Mistral's classifiers)."
NEEDS = "'text' or 'messages', and 'labels', an object of labels"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"text", "messages", "labels"})

_TARGET = "label"  # the name of the only target where the data has none


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for an object of labels, and take the target that it names first."""
    found = seen(rows, columns, _fits, why="an object 'labels'")
    targets = [name for value in objects(rows) if _fits(value) for name in _labels(value)]
    if found is None or not targets:
        return found
    first, others = targets[0], sorted(set(targets[1:]) - {targets[0]})
    aside = f"; not read as labels: {', '.join(map(repr, others))}" if others else ""
    return Evidence(found.score, f"{found.why}, target {first!r}{aside}", replace(columns, label=first))


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the text, or what the user says, and the target's label; no label means: to be predicted."""
    value = as_object(row)
    labels = _labels(value)
    target = columns.label or _TARGET
    found = labels.get(target)
    given = [] if found is None else found if isinstance(found, list) else [found]
    texts = [text_in({target: one}, target).strip() for one in given]
    # The label's place stays empty beside the others, so that it can be put back there.
    aside: Object = {} if set(labels) <= {_TARGET} and target == _TARGET else {"labels": {**labels, target: None}}
    others = {name: content for name, content in value.items() if name not in ("text", "messages", "labels")}
    yield Labelled(
        inputs={"text": _text(value)},
        labels=tuple(dict.fromkeys(text for text in texts if text)),
        origin=row.origin,
        extra=rest({**others, **aside}, ()),
    )


def write(record: Record) -> Object | None:
    """Write the text and the labels; None where there are several texts."""
    text = next(iter(record.inputs.values()), "") if isinstance(record, Labelled) else ""
    if not isinstance(record, Labelled) or set(record.inputs) != {"text"} or not text.strip():
        return None
    extra = value_of(record.extra) if record.extra else {}
    aside = extra.pop("labels", None)
    names = [name for name, found in aside.items() if found is None] if isinstance(aside, dict) else []
    own = record.labels[0] if len(record.labels) == 1 else list(record.labels)
    return {**extra, "text": text, "labels": {**aside, names[0]: own} if names else {_TARGET: own}}


def _fits(value: Object) -> bool:
    is_said = isinstance(value.get("text"), str) or is_messages(value.get("messages"))
    return is_said and isinstance(value.get("labels"), dict) and bool(value["labels"])


def _labels(value: Object) -> Object:
    found = value.get("labels")
    if not isinstance(found, dict):
        raise RowFault("labels that are not an object of labels", type(found).__name__, path="labels", found=found)
    return found


def _text(value: Object) -> str:
    """Give the text.

    Raises:
        RowFault: when there is none, or messages in its place are not one of the user's with nothing but text.
    """
    if value.get("text") is not None or "messages" not in value:
        return filled_in(value, "text")
    found = value["messages"]
    messages = messages_in(found) if isinstance(found, list) else ()
    if len(messages) != 1 or messages[0].role != "user" or not only_says(messages[0]):
        raise RowFault("messages that are not one text of the user's", path="messages")
    return filled_in({"messages": messages[0].content}, "messages")
