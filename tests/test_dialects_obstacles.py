"""What keeps a dialect from writing a record: the part without which it would."""

from pathlib import Path

import pytest
from dialect_samples import HELD
from hypothesis import given, settings
from hypothesis import strategies as st

from formtune.conversion import convert
from formtune.dialects import DIALECTS
from formtune.dialects.obstacles import obstacles
from formtune.records import Conversation, Labelled, LeftOut, Message, Question, Record

CALL = '[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]'
ASKED, ANSWERED = Message("user", "q"), Message("assistant", "a")


@pytest.mark.parametrize(
    ("messages", "dialect", "told"),
    [
        ((ASKED, Message("assistant", "", tool_calls=CALL)), "alpaca", ["messages[].tool_calls"]),
        ((Message("tool", "x"), ASKED, ANSWERED), "alpaca", ["a message of tool"]),
        ((ASKED, ANSWERED, ASKED, ANSWERED), "prompt-response", ["several exchanges"]),
        (
            (ASKED, Message("assistant", "", tool_calls=CALL), ASKED, ANSWERED),
            "prompt-response",
            ["messages[].tool_calls", "several exchanges"],
        ),
        (
            (ASKED, Message("assistant", "", tool_calls=CALL), Message("tool", "x"), ANSWERED),
            "alpaca",
            ["a message of tool", "several answers to one question"],
        ),
        ((ASKED, ANSWERED), "squad", []),
    ],
)
def test_the_parts_that_stand_in_the_way_are_named(
    messages: tuple[Message, ...], dialect: str, told: list[str]
) -> None:
    """One where one is enough, all that are needed where not, and none where it is the kind."""
    assert obstacles(Conversation(messages), DIALECTS[dialect]) == told


def test_of_many_records_the_first_are_explained(tmp_path: Path) -> None:
    """As many as are told by their places; the others are left out as fast as they are written."""
    left_out: list[LeftOut] = []
    records: list[Record] = [Conversation((ASKED, ANSWERED, ASKED, ANSWERED), id=f"r{n}") for n in range(9)]
    convert([*records, Conversation((ASKED, ANSWERED))], "prompt-response", tmp_path / "a.jsonl", left_out=left_out)
    assert [one.detail for one in left_out] == ["it has several exchanges"] * 5 + [None] * 4


def test_records_that_are_no_conversations_have_parts_too() -> None:
    """Whatever has a default can be left away."""
    question = Question("q", choices=("a", "b"), answers=("a",))
    assert obstacles(question, DIALECTS["question-answer"]) == ["choices"]
    assert obstacles(Labelled({"text": "a"}, ("x",)), DIALECTS["alpaca"]) == []


@pytest.mark.parametrize("name", HELD)
def test_any_record_can_be_asked_about(name: str) -> None:
    """Of any dialect, and nothing is named where it can be written as it is."""

    @settings(max_examples=10)
    @given(HELD[name], st.sampled_from(list(DIALECTS)))
    def law(record: Record, other: str) -> None:
        told = obstacles(record, DIALECTS[other])
        assert len(told) == len(set(told))
        assert not (told and DIALECTS[other].write(record) is not None)

    law()
