"""A prompt without an answer, as the dialects that hold it as a text or as a list of messages share it."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, names_of, objects, rest, with_rest
from formtune.dialects.conversations import is_judged, json_text
from formtune.dialects.layouts import tools_row
from formtune.dialects.preferences import side
from formtune.errors import nearest
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

Messages = tuple[Message, ...]
_ANSWERED = 0.3  # what is said for a prompt alone: any dialect that knows a column beside it is surer


def found_in(rows: Sequence[Row], columns: Columns, *, of_messages: bool) -> Evidence | None:
    """Look for a prompt, as a text or as messages; judgments and preferences are not for these dialects."""
    table = objects(rows)
    kind: type = list if of_messages else str
    n_fitting = sum(isinstance(found := value.get("prompt"), kind) and bool(found) for value in table)
    is_more = is_judged(table) or not {"messages", "conversations"}.isdisjoint(names_of(table))
    if is_more or n_fitting * 2 <= len(rows):
        return None
    what = "as messages" if of_messages else "as a text"
    return Evidence(
        _ANSWERED * n_fitting / len(rows), f"'prompt' alone, {what}, in {n_fitting} of {len(rows)} rows", columns
    )


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a conversation that is yet to be answered."""
    value = as_object(row)
    messages = side(value.get("prompt"), "user")
    if not messages:
        raise RowFault("no prompt", near=None if "prompt" in value else nearest("prompt", value))
    tools = json_text(value.get("tools"), "tools")
    yield Conversation(messages=messages, tools=tools, origin=row.origin, extra=rest(value, {"prompt", "tools"}))


def unanswered(record: Record) -> Messages | None:
    """Give what is asked; None where the assistant has answered already, for that must not be lost."""
    is_asked = isinstance(record, Conversation) and bool(record.messages) and record.messages[-1].role != "assistant"
    return record.messages if isinstance(record, Conversation) and is_asked else None


def row_of(record: Record, prompt: object) -> Object:
    """Put the prompt as it is written into a row, with the tools and what stands beside."""
    tools = record.tools if isinstance(record, Conversation) else None
    return with_rest({"prompt": prompt, **tools_row(tools)}, record.extra, ("tools", "messages", "conversations"))
