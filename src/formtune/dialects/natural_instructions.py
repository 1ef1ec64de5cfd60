"""Task files of Super-NaturalInstructions: one definition, and instances with an input and acceptable outputs.

The definition is the system message of every instance, since it is the same for all. Where several outputs are
acceptable the first is the answer, and all stand aside under ``output``. Wang et al. 2022.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest
from formtune.dialects.instances import lines_of
from formtune.dialects.layouts import only_says, seen
from formtune.records import Conversation, LeftOut, Message, Origin, Record
from formtune.sources import Row, text_of, value_of

NAME = "natural-instructions"
SUMMARY = "Tasks with a definition and instances of input and outputs (Super-NaturalInstructions)."
NEEDS = "'Definition' and 'Instances'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"definition", "instances"})

_TASK = ("Definition", "Instances")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a definition with instances."""
    return seen(
        rows, columns, lambda value: all(value.get(name) for name in _TASK), why="'Definition' with 'Instances'"
    )


def read(row: Row, _columns: Columns) -> Iterator[Record | LeftOut]:
    """Read each instance, with the line on which it stands."""
    value = as_object(row)
    definition, instances = value.get("Definition"), value.get("Instances")
    texts = [definition] if isinstance(definition, str) else definition
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RowFault("a definition that is not text")
    if not isinstance(instances, list) or not instances:
        raise RowFault("no instances")
    around = {name: found for name, found in value.items() if name not in _TASK}
    task = Message("system", "\n".join(texts))
    for instance, line in zip(instances, lines_of(row, "Instances", len(instances)), strict=True):
        origin = Origin(row.origin.file, line)
        try:
            yield _instance(instance, task, around=around, origin=origin)
        except RowFault as fault:  # of this instance alone; the task goes on
            yield LeftOut(fault.reason, origin, detail=fault.detail)


def write(record: Record) -> Object | None:
    """Write a task of one instance (:func:`joined` puts those of one task together); None for any other conversation."""
    if not isinstance(record, Conversation) or record.tools or not all(map(only_says, record.messages)):
        return None
    roles = [message.role for message in record.messages]
    if roles not in (["system", "user", "assistant"], ["system", "user"]) or not record.messages[1].content.strip():
        return None
    around = value_of(record.extra) if record.extra else {}
    texts = [message.content for message in record.messages]
    known = around.pop("output", None)
    outputs = known if isinstance(known, list) and known[:1] == texts[2:] else texts[2:]
    own = {"id": around.pop("id")} if "id" in around else {}
    instance = {**own, "input": texts[1], "output": outputs}
    return {"Definition": [texts[0]], **around, "Instances": [instance]}


def joined(tasks: Sequence[Object]) -> Object | list[Object]:
    """Put the instances of each task together again; one task alone is the whole document."""
    found: dict[str, list[object]] = {}
    for task in tasks:
        around = {name: content for name, content in task.items() if name != "Instances"}
        instances = task["Instances"]
        assert isinstance(instances, list)
        found.setdefault(text_of(around), []).extend(instances)
    documents = [{**value_of(around), "Instances": instances} for around, instances in found.items()]
    return documents[0] if len(documents) == 1 else documents


def _instance(found: object, task: Message, *, around: Object, origin: Origin) -> Record:
    if not isinstance(found, dict) or not isinstance(found.get("input"), str) or not found["input"].strip():
        raise RowFault("an instance without an input")
    output = found.get("output") or []
    outputs = [output] if isinstance(output, str) else output
    if not isinstance(outputs, list) or not all(isinstance(text, str) for text in outputs):
        raise RowFault("an instance with an output that is not text", type(output).__name__)
    answer = [Message("assistant", outputs[0])] if outputs else []
    several = {"output": outputs} if len(outputs) > 1 else {}
    own = {name: content for name, content in found.items() if name not in ("input", "output")}
    extra = rest({**around, **own, **several}, ())
    return Conversation(messages=(task, Message("user", found["input"]), *answer), origin=origin, extra=extra)
