"""Requests and conversations with tools: xLAM, Glaive, BFCL; and trees of messages."""

import json
from pathlib import Path

import msgspec
import pytest

from formtune.dialects import DIALECTS, Columns, Reading, read, write
from formtune.records import Conversation, Message, Origin, Preference, Record
from formtune.sources import Row
from formtune.splits import split


def saved(path: Path, *rows: object) -> Reading:
    """Write JSON lines and read them."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read([str(path)])


def conversations(reading: Reading) -> list[Conversation]:
    return [record for record in reading.records if isinstance(record, Conversation)]


def bare(record: Record) -> Record:
    """What a record says, without where it stands."""
    return msgspec.structs.replace(record, id="", origin=None)


# --- xLAM ------------------------------------------------------------------------------------------------------------


def test_arguments_and_schemas_of_xlam_keep_their_bytes() -> None:
    """Spaces, the order of keys, and how a number is written stay as the file has them."""
    answers = '[{"name": "f", "arguments": {"b": 1.50, "a":  [2]}}, {"name": "g", "arguments": {}}]'
    row = {"query": "q?", "tools": '[ {"name": "f"} ]', "answers": answers}
    (record,) = DIALECTS["xlam"].read(Row(row, Origin("a.json", 1)), Columns())
    assert isinstance(record, Conversation)
    assert record.tools == '[ {"name": "f"} ]'
    assert [call["function"]["arguments"] for call in json.loads(record.messages[1].tool_calls or "")] == [
        '{"b": 1.50, "a":  [2]}',
        "{}",
    ]
    assert DIALECTS["xlam"].write(record) == row


def test_a_request_that_no_tool_answers_is_left_to_be_predicted(tmp_path: Path) -> None:
    """An empty list of calls is no answer, and comes back."""
    (record,) = conversations(saved(tmp_path / "a.jsonl", {"query": "q?", "tools": "[]", "answers": "[]"}))
    assert (record.messages, record.tools) == ((Message("user", "q?"),), None)
    assert DIALECTS["xlam"].write(record) == {"query": "q?", "tools": "[]", "answers": "[]"}


def test_a_conversation_of_more_than_calls_is_not_xlam_s() -> None:
    """What is said beside a call, or after it, would be lost."""
    call = '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'
    asked = Message("user", "q?")
    for messages in (
        (asked, Message("assistant", "Hm.", tool_calls=call)),
        (asked, Message("assistant", "", tool_calls=call), Message("tool", "9")),
        (asked, Message("assistant", "No.")),
        (Message("system", "s"), asked),
    ):
        assert DIALECTS["xlam"].write(Conversation(messages=messages)) is None


@pytest.mark.parametrize("name", ["xlam", "glaive", "bedrock", "anthropic", "oasst", "natural-instructions", "ranking"])
def test_a_picture_is_not_dropped_for_a_text(name: str) -> None:
    """What has more than text in it has no place where there are only texts."""
    seen = Message(
        "user", "What?", parts='[{"type":"text","text":"What?"},{"type":"image_url","image_url":{"url":"x"}}]'
    )
    said = (seen, Message("assistant", "A dog."))
    assert DIALECTS[name].write(Conversation(messages=said[: 1 if name == "xlam" else 2])) is None
    assert DIALECTS[name].write(Preference(prompt=said[:1], chosen=said[1:], rejected=said[1:])) is None


def test_wrapped_schemas_are_written_bare_for_xlam() -> None:
    """Each function keeps its bytes."""
    tools = '[{"type":"function","function":{"name": "f",  "strict":true}}]'
    row = DIALECTS["xlam"].write(Conversation(messages=(Message("user", "q?"),), tools=tools))
    assert isinstance(row, dict)
    assert row["tools"] == '[{"name": "f",  "strict":true}]'


# --- Glaive ----------------------------------------------------------------------------------------------------------

SYSTEM = 'SYSTEM: You may use these -\n{\n    "name": "f",\n    "x": {}\n}\n\n{"name": "g"}\n'
CHAT = (
    'USER: It\'s {9}?\n\n\nASSISTANT: I look. <functioncall> {"name": "f", "arguments": \'{"a": "it\\\'s"}\'} '
    '<|endoftext|>\n\n\nFUNCTION RESPONSE: {"b": 1}\n\n\nA: Yes.\n\nIt is. <|endoftext|>\n\n\n'
)


def test_a_chat_of_glaive_is_taken_apart() -> None:
    """Functions are cut out of the system text as they stand; a call has its arguments without the quotes around them."""
    (record,) = DIALECTS["glaive"].read(Row({"system": SYSTEM, "chat": CHAT}, Origin("a.json", 1)), Columns())
    assert isinstance(record, Conversation)
    assert record.tools == '[{\n    "name": "f",\n    "x": {}\n},{"name": "g"}]'
    assert [(message.role, message.content) for message in record.messages] == [
        ("system", "You may use these -"),
        ("user", "It's {9}?"),
        ("assistant", "I look."),
        ("tool", '{"b": 1}'),
        ("assistant", "Yes.\n\nIt is."),
    ]
    (call,) = json.loads(record.messages[2].tool_calls or "")
    assert call["function"] == {"name": "f", "arguments": '{"a": "it\'s"}'}


def test_a_chat_of_glaive_comes_back() -> None:
    """Written and read again, it is the same conversation."""
    (record,) = DIALECTS["glaive"].read(Row({"system": SYSTEM, "chat": CHAT}, Origin("a.json", 1)), Columns())
    row = DIALECTS["glaive"].write(record)
    assert isinstance(row, dict)
    assert list(DIALECTS["glaive"].read(Row(row, Origin("a.json", 1)), Columns())) == [record]


def test_a_text_that_looks_like_a_turn_has_no_place_in_a_chat() -> None:
    """It would be read as the next turn."""
    said = (Message("user", "a\n\nASSISTANT: b"), Message("assistant", "c"))
    assert DIALECTS["glaive"].write(Conversation(messages=said)) is None


def test_braces_in_a_system_text_are_no_functions() -> None:
    """Only JSON objects that fill the rest of the text are cut out."""
    row = {"system": "SYSTEM: Write\n{name}\nhere", "chat": "USER: Hi"}
    (record,) = DIALECTS["glaive"].read(Row(row, Origin("a.json", 1)), Columns())
    assert isinstance(record, Conversation)
    assert (record.messages[0].content, record.tools) == ("Write\n{name}\nhere", None)


@pytest.mark.parametrize(
    ("chat", "reason"),
    [
        ("Hi", "a chat that does not begin with a turn"),
        ('USER: x\n\n\nASSISTANT: <functioncall> {"name": "f"}', "a function call that is not JSON"),
    ],
)
def test_a_chat_that_cannot_be_read_is_left_out(tmp_path: Path, chat: str, reason: str) -> None:
    """Its row is told, with the reason."""
    good = {"system": "", "chat": "USER: Hi"}
    reading = saved(tmp_path / "a.jsonl", good, good, {"system": "", "chat": chat})
    assert (reading.dialect, [item.reason for item in reading.left_out]) == ("glaive", [reason])


# --- BFCL ------------------------------------------------------------------------------------------------------------


def test_questions_of_the_leaderboard_are_read_and_written(shared: Path) -> None:
    """All 400 questions of a real file come back, each with its functions."""
    path = shared / "instruct/bfcl_simple/BFCL_v4_simple_python.json"
    reading = read([str(path)])
    assert (reading.dialect, len(reading.records), reading.left_out) == ("bfcl", 400, [])
    again = [json.loads(msgspec.json.encode(DIALECTS["bfcl"].write(record))) for record in reading.records]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert again == rows


# --- trees -----------------------------------------------------------------------------------------------------------


def node(name: str, parent: str | None, text: str, role: str = "prompter", **more: object) -> dict[str, object]:
    return {"message_id": name, "parent_id": parent, "text": text, "role": role, **more}


FLAT = (
    node("c", "b", "Bye"),
    node("t", None, "Hi", message_tree_id="t"),
    node("a", "t", "Hello", "assistant", rank=0),
    node("b", "t", "What?", "assistant", rank=1),
    node("u", None, "Alone"),
)


def test_single_messages_are_put_under_their_parents(tmp_path: Path) -> None:
    """They may stand in any order; a tree stands where its first message stands."""
    reading = saved(tmp_path / "a.jsonl", *FLAT)
    assert (reading.dialect, reading.left_out) == ("oasst", [])
    said = [([message.content for message in one.messages], one.group) for one in conversations(reading)]
    assert said == [(["Hi", "Hello"], "t"), (["Hi", "What?", "Bye"], "t"), (["Alone"], "u")]


def test_messages_without_a_way_to_a_root_are_told(tmp_path: Path) -> None:
    """An orphan, its replies, a circle, and a message that stands twice are left out, each with its id."""
    more = (
        node("x", "gone", "?"),
        node("y", "x", "!", "assistant"),
        node("p", "q", "1"),
        node("q", "p", "2"),
        node("a", "t", "Hello"),
    )
    reading = saved(tmp_path / "a.jsonl", *FLAT, *more)
    assert [(item.reason, item.detail, item.at and item.at.line) for item in reading.left_out] == [
        *(("a message without a way to the root of its tree", name, line) for line, name in enumerate("xypq", 6)),
        ("a message that stands twice", "a", 10),
    ]


def test_a_deep_thread_is_read(tmp_path: Path) -> None:
    """No tree is too deep: 3,000 messages, one under the other."""
    roles = ("prompter", "assistant")
    rows = [node(str(n), str(n - 1) if n else None, f"m{n}", roles[n % 2]) for n in range(3000)]
    (record,) = conversations(saved(tmp_path / "a.jsonl", *rows))
    assert (len(record.messages), record.messages[-1].content) == (3000, "m2999")


def test_real_trees_come_back_as_trees(shared: Path, tmp_path: Path) -> None:
    """The ways of 30 trees are written as 30 trees, message for message."""
    path = shared / "instruct/dialects_misc/oasst_en_100_tree.jsonl"
    reading = read([str(path)])
    assert (reading.dialect, len(reading.records), reading.left_out) == ("oasst", 167, [])
    assert write(reading.records, "oasst", str(tmp_path / "a.jsonl")) == []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    again = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(again) == len(rows) == 30
    for row, tree in zip(rows, again, strict=True):
        assert _filled(tree["prompt"]) == _filled(row["prompt"])
        assert tree["message_tree_id"] == row["message_tree_id"]


def _filled(message: dict[str, object]) -> dict[str, object]:
    """Give a message with a list of replies, which a file may leave out where there are none."""
    replies = message.get("replies") or []
    assert isinstance(replies, list)
    return {**message, "replies": [_filled(reply) for reply in replies]}


def test_both_real_files_of_trees_hold_the_same_conversations(shared: Path) -> None:
    """Trees, and messages with their replies inside, are two ways to lay out one thing."""
    folder = shared / "instruct/dialects_misc"
    both = [read([str(folder / f"oasst_en_100_{kind}.jsonl")]) for kind in ("tree", "message")]
    said = [[[message.content for message in one.messages] for one in conversations(reading)] for reading in both]
    assert said[0] == said[1]
    assert len(said[0]) == 167


def test_no_split_parts_a_tree(shared: Path) -> None:
    """The ways of a tree share their beginning, so they go to one side."""
    reading = read([str(shared / "instruct/dialects_misc/oasst_en_100_tree.jsonl")])
    parts = split(reading.records, seed=1)
    sides = [{record.group for record in part} for part in (parts.train, parts.dev, parts.test)]
    assert all(sides)
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_a_conversation_from_elsewhere_becomes_a_tree_with_ids() -> None:
    """Ids are made of the record's own; tools and a system text have no place there."""
    record = Conversation(messages=(Message("user", "Hi"), Message("assistant", "Hello")), id="7")
    assert DIALECTS["oasst"].write(record) == {
        "message_tree_id": "7",
        "prompt": {
            "message_id": "7",
            "text": "Hi",
            "role": "prompter",
            "replies": [{"message_id": "7-1", "parent_id": "7", "text": "Hello", "role": "assistant", "replies": []}],
        },
    }
    assert DIALECTS["oasst"].write(msgspec.structs.replace(record, tools='[{"name":"f"}]')) is None
    assert DIALECTS["oasst"].write(Conversation(messages=(Message("system", "s"), *record.messages))) is None
