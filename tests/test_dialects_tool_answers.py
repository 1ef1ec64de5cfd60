"""Whose call a tool answers: by id, in order, or not to be known."""

import json

import pytest

from formtune.dialects import DIALECTS, Columns
from formtune.dialects.tool_answers import calls_answered, with_names
from formtune.records import Conversation, Message, Origin, Record
from formtune.sources import Row


def calling(*names: str, ids: tuple[str | None, ...] = ()) -> Message:
    """A message that calls functions of these names."""
    pairs = zip(names, ids or [None] * len(names), strict=True)
    calls = [
        {**({"id": call_id} if call_id else {}), "type": "function", "function": {"name": name, "arguments": "{}"}}
        for name, call_id in pairs
    ]
    return Message("assistant", "", tool_calls=json.dumps(calls))


def answer(call_id: str | None = None, name: str | None = None) -> Message:
    """What a tool gives back."""
    return Message("tool", "Done.", name=name, tool_call_id=call_id)


def names_in(*messages: Message) -> list[str | None]:
    """The names that the answers of tools have then."""
    return [message.name for message in with_names(messages) if message.role == "tool"]


@pytest.mark.parametrize(
    ("messages", "names"),
    [
        ([calling("f"), answer()], ["f"]),
        ([calling("f", "g"), answer(), answer()], ["f", "g"]),
        ([calling("f"), answer(), calling("g"), answer()], ["f", "g"]),
        ([calling("f", "g", ids=("1", "2")), answer("2"), answer("1")], ["g", "f"]),
        ([calling("f", "g", ids=("1", "2")), answer("2"), answer()], ["g", "f"]),
        ([calling("f", ids=("1",)), calling("g", ids=("2",)), answer("1"), answer("2")], ["f", "g"]),
        ([calling("f"), answer("1")], ["f"]),  # the call has no id that says otherwise
        ([calling("f"), Message("user", "Well?"), answer()], ["f"]),
        ([calling("f", "g"), answer(name="f"), answer()], ["f", "g"]),
    ],
)
def test_an_answer_has_the_name_of_the_function_that_was_called(
    messages: list[Message], names: list[str | None]
) -> None:
    """By the call's id, else in order."""
    assert names_in(*messages) == names


@pytest.mark.parametrize(
    ("messages", "names"),
    [
        ([answer()], [None]),
        ([answer(), calling("f")], [None]),
        ([calling("f", "g"), answer()], [None]),
        ([calling("f"), answer(), answer()], [None, None]),
        ([calling("f", ids=("1",)), answer("2")], [None]),
        ([calling("f", "g"), answer(name="g"), answer()], ["g", None]),  # in another order than the calls
        ([calling("f", "g", ids=("1", "1")), answer("1"), answer("1")], [None, None]),
        ([Message("assistant", "", tool_calls='[{"custom":1}]'), answer()], [None]),
        ([calling("f", "g", ids=("1", "2")), answer("1"), answer("1")], ["f", "f"]),
    ],
)
def test_where_several_calls_may_be_meant_no_name_is_given(messages: list[Message], names: list[str | None]) -> None:
    """Too many answers or too few, an id that nobody has, names that contradict the order."""
    assert names_in(*messages) == names


def test_what_is_no_answer_answers_no_call() -> None:
    """And the calls themselves come back as they are."""
    found = calls_answered([Message("user", "Go."), calling("f", ids=("1",)), answer("1"), Message("assistant", "So.")])
    assert [call and call.id for call in found] == [None, None, "1", None]


def again(name: str, record: Record) -> Record:
    """Write a record, and read the row again."""
    piece = json.loads(json.dumps(DIALECTS[name].write(record), default=lambda raw: json.loads(bytes(raw))))
    (found,) = DIALECTS[name].read(Row(piece, Origin("a.jsonl", 1)), Columns())
    return found


@pytest.mark.parametrize("name", ["gemini", "openai-functions"])
def test_an_inferred_name_comes_back_and_nothing_else_changes(name: str) -> None:
    """The record is then what it would have been, had the data said the name."""
    record = Conversation(messages=(Message("user", "Go."), calling("f"), answer(), Message("assistant", "So.")))
    found = again(name, record)
    assert isinstance(found, Conversation)
    assert [message.name for message in found.messages] == [None, None, "f", None]
    assert [(one.role, one.content) for one in found.messages] == [(one.role, one.content) for one in record.messages]
    assert DIALECTS[name].write(found) == DIALECTS[name].write(record)


@pytest.mark.parametrize("name", ["gemini", "mistral"])
def test_a_record_in_which_nobody_can_tell_is_left_out(name: str) -> None:
    """Two calls and one answer: Gemini needs its name, Mistral its id."""
    said = (Message("user", "Go."), calling("f", "g"), answer(), Message("assistant", "So."))
    assert DIALECTS[name].write(Conversation(messages=said)) is None
    whole = (*said[:3], answer(), said[3])
    assert DIALECTS[name].write(Conversation(messages=whole)) is not None
