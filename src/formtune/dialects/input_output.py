"""Text in segments, each learned or not, as axolotl's ``input_output`` lays it out: without any template."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, with_rest
from formtune.dialects.exchanges import is_text
from formtune.records import Conversation, Message, Record, Span
from formtune.sources import Row

NAME = "input-output"
SUMMARY = "Text in segments with 'text' and 'label', whether it is learned (axolotl's input_output)."
NEEDS = "a column 'segments' that holds a list of objects with 'text' and 'label'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"segments"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for lists of segments."""
    table = objects(rows)
    fitting = sum(_are_segments(value.get("segments")) for value in table)
    if fitting * 2 <= len(table):
        return None
    return Evidence(0.99 * fitting / len(table), f"'segments' with labels in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read one message of all segments, since their text is whole as it stands, with a weight for each."""
    value = as_object(row)
    found = value.get("segments")
    if not isinstance(found, list) or not found:
        raise RowFault("no segments")
    segments = [_segment(one) for one in found]
    content, spans = "", []
    for text, weight in segments:
        spans.append(Span(len(content), len(content) + len(text), weight))
        content += text
    message = Message("assistant", content, spans=tuple(spans))
    yield Conversation(messages=(message,), origin=row.origin, extra=rest(value, {"segments"}))


def write(record: Record) -> Object | None:
    """Write the segments of one message; None where its text is not divided into learned and unlearned ones."""
    if not isinstance(record, Conversation) or record.tools or len(record.messages) != 1:
        return None
    [message] = record.messages
    ends = [0, *(span.end for span in message.spans)]
    is_divided = [span.start for span in message.spans] == ends[:-1] and ends[-1] == len(message.content)
    if message.role != "assistant" or not is_text(message) or not message.spans or not is_divided:
        return None
    if not all(span.weight in (0, 1) for span in message.spans):
        return None
    texts = [{"label": span.weight > 0, "text": message.content[span.start : span.end]} for span in message.spans]
    return with_rest({"segments": texts}, record.extra)


def _are_segments(value: object) -> bool:
    is_list = isinstance(value, list) and bool(value)
    return (
        is_list
        and isinstance(value, list)
        and all(isinstance(one, dict) and {"label", "text"} <= set(one) for one in value)
    )


def _segment(found: object) -> tuple[str, float]:
    match found:
        case {"label": bool(learned), "text": str(text), **other} if not other:
            return text, float(learned)
    raise RowFault("a segment that is not 'text' and a truth value as 'label'")
