"""Conversations as MOSS lays them out: numbered turns whose texts stand between marks, with thoughts, commands, results."""

import re
from collections.abc import Iterator, Mapping, Sequence

from formtune.dialects.call_turns import role_name
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, text_in, with_rest
from formtune.dialects.exchanges import is_text
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "moss"
SUMMARY = "Numbered turns of 'Human' and 'MOSS' with thoughts, commands and tool responses in 'chat' (MOSS 003)."
NEEDS = "a column 'chat' that holds an object of turns 'turn_1', 'turn_2' ..."
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"chat", "meta_instruction", "num_turns"})

# What a turn holds, in order, with the marks around each text.
_MARKS = {
    "Human": ("<|Human|>:", "<eoh>"),
    "Inner Thoughts": ("<|Inner Thoughts|>:", "<eot>"),
    "Commands": ("<|Commands|>:", "<eoc>"),
    "Tool Responses": ("<|Results|>:", "<eor>"),
    "MOSS": ("<|MOSS|>:", "<eom>"),
}
_NOTHING = "None"
_COMMANDS = '{"role":"Commands"}'


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for numbered turns."""
    table = objects(rows)
    fitting = sum(_is_chat(value.get("chat")) for value in table)
    if fitting * 2 <= len(table):
        return None
    return Evidence(
        0.98 * fitting / len(table), f"'chat' with numbered turns in {fitting} of {len(table)} rows", columns
    )


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the turns after the meta instruction; what MOSS commands is a message of its own, before the results."""
    value = as_object(row)
    chat = value.get("chat")
    if not isinstance(chat, dict) or not _is_chat(chat):
        raise RowFault("no turns")
    system = text_in(value, "meta_instruction")
    turns = [_messages(chat[f"turn_{number}"]) for number in range(1, len(chat) + 1)]
    counted = ["num_turns"] if value.get("num_turns") == len(chat) else []
    yield Conversation(
        messages=(*([Message("system", system)] if system else []), *(one for turn in turns for one in turn)),
        origin=row.origin,
        extra=rest(value, ("chat", "meta_instruction", *counted)),
    )


def write(record: Record) -> Object | None:
    """Write the turns; None where messages come in another order, or a text would be read as none."""
    if not isinstance(record, Conversation) or record.tools or not record.messages:
        return None
    is_system = record.messages[0].role == "system" and is_text(record.messages[0])
    turns: list[dict[str, str]] = []
    for message in record.messages[is_system:]:
        texts = _texts(message)
        if message.role == "user":
            turns.append({})
        if texts is None or not turns or not _fits(texts, turns[-1]):
            return None
        turns[-1] |= texts
    if not turns:
        return None
    chat = {f"turn_{number}": _marked(turn) for number, turn in enumerate(turns, 1)}
    system = record.messages[0].content if is_system else ""
    return with_rest({"meta_instruction": system, "num_turns": len(chat), "chat": chat}, record.extra)


def _is_chat(value: object) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return set(value) == {f"turn_{number}" for number in range(1, len(value) + 1)}


def _messages(turn: object) -> list[Message]:
    """Read a turn.

    Raises:
        RowFault: when it is no object of texts, or nothing is asked.
    """
    if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str | None) for key in _MARKS):
        raise RowFault("a turn that is not an object of texts")
    texts = {key: _unmarked(key, turn[key]) for key in _MARKS if turn.get(key) is not None}
    asked = texts.pop("Human", None)
    said = {key: text for key, text in texts.items() if key == "MOSS" or text not in ("", _NOTHING)}
    if asked is None:
        raise RowFault("a turn without 'Human'")
    thoughts = said.get("Inner Thoughts")
    commands = (
        [Message("assistant", said["Commands"], thinking=thoughts, extra=_COMMANDS)] if "Commands" in said else []
    )
    results = [Message("tool", said["Tool Responses"])] if "Tool Responses" in said else []
    late = None if commands else thoughts
    answer = [Message("assistant", said.get("MOSS", ""), thinking=late)] if "MOSS" in said or late else []
    return [Message("user", asked), *commands, *results, *answer]


def _texts(message: Message) -> dict[str, str] | None:
    """Name what a message says as MOSS does; None where it cannot."""
    if message.tool_calls or message.parts or message.thinking in ("", _NOTHING):
        return None
    thoughts = {} if message.thinking is None else {"Inner Thoughts": message.thinking}
    is_command = role_name(message) == "Commands"
    match message.role:
        case "user" if not thoughts:
            return {"Human": message.content}
        case "tool" if not thoughts and message.content not in ("", _NOTHING):
            return {"Tool Responses": message.content}
        case "assistant" if not is_command:
            return {**thoughts, "MOSS": message.content}
        case "assistant" if message.content not in ("", _NOTHING):
            return {**thoughts, "Commands": message.content}
    return None


def _fits(texts: Mapping[str, str], turn: Mapping[str, str]) -> bool:
    """Say whether texts can follow those that a turn has: none twice, in their order, thoughts with the first answer."""
    order = list(_MARKS)
    last = max((order.index(key) for key in turn), default=-1)
    return all(order.index(key) > last for key in texts)


def _marked(turn: Mapping[str, str]) -> Object:
    return {
        key: f"{before} {turn.get(key, _NOTHING)}{after}\n"
        for key, (before, after) in _MARKS.items()
        if key in turn or key != "MOSS"
    }


def _unmarked(key: str, text: str) -> str:
    before, after = map(re.escape, _MARKS[key])
    found = re.fullmatch(rf"\s*{before} ?(.*){after}\s*", text, re.DOTALL)
    return found[1] if found else text
