"""Instructions as Alpaca lays them out: instruction, input, output; also Dolly's and Self-Instruct's names for them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    RowFault,
    as_object,
    column_in,
    filled_in,
    find,
    in_rows,
    names_of,
    objects,
    rest,
    share,
    text_in,
    with_rest,
)
from formtune.dialects.conversations import is_judged
from formtune.dialects.exchanges import history_in, history_of, messages_of, texts_of
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "alpaca"
SUMMARY = "Instruction, input and output, perhaps with system and history (Alpaca, Dolly, COIG, OrcaMini)."
NEEDS = "columns 'instruction' and 'output'"
ROLES: frozenset[str] = frozenset()

_INPUTS = ("input", "context")
_OUTPUTS = ("output", "response", "answer", "completion")
NAMES = frozenset({"instruction", "system", "history", "instances", *_INPUTS, *_OUTPUTS})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for an instruction with its output, or with ``instances`` of both; judgments are not for this dialect."""
    table = objects(rows)
    names = names_of(table)
    output = find(names, _OUTPUTS)
    if "instruction" not in names or not (output or "instances" in names) or is_judged(table):
        return None
    found = replace(columns, source=find(names, _INPUTS), target=output)
    why = f"'instruction' with {output or 'instances'!r} {in_rows(table, rows, 'instruction')}"
    return Evidence(0.94 * share(table, ["instruction"]), why, found)


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read a conversation: the system text, the history, then the instruction with its input, then the output."""
    value = as_object(row)
    instances = value.get("instances")
    if not isinstance(instances, list):
        yield _conversation(row, value, columns)
        return
    outer = {name: content for name, content in value.items() if name != "instances"}
    for instance in instances:
        if not isinstance(instance, dict):
            raise RowFault("an instance that is not an object")
        yield _conversation(row, {**outer, **instance}, replace(columns, source="input", target="output"))


def write(record: Record) -> Object | None:
    """Write the last user and assistant message as instruction and output, and what stands before as history."""
    found = texts_of(record)
    if found is None or not found[1][-1][0].strip():
        return None
    system, exchanges = found
    asked, answer = exchanges[-1]
    row: Object = {"instruction": asked, "input": "", "output": answer or ""}
    row |= {} if system is None else {"system": system}
    return with_rest({**row, **history_of(exchanges)}, record.extra, ("system", "history", "instances"))


def _conversation(row: Row, value: Object, columns: Columns) -> Conversation:
    columns = replace(
        columns, source=column_in(value, columns.source, _INPUTS), target=column_in(value, columns.target, _OUTPUTS)
    )
    used = {"instruction", "system", "history", columns.source or "", columns.target or ""}
    system = text_in(value, "system")
    question = [filled_in(value, "instruction"), text_in(value, columns.source or "")]
    output = text_in(value, columns.target or "")
    asked = "\n".join(filter(None, question))
    messages = messages_of(system, [*history_in(value.get("history")), (asked, output or None)])
    return Conversation(messages=messages, origin=row.origin, extra=rest(value, used))
