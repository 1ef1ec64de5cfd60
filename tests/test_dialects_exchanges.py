"""Questions and replies under many names: ms-swift, OpenOrca, Databricks, Firefly, XTuner, MOSS; text in stretches."""

import json
from pathlib import Path

import pytest

from formtune.dialects import DIALECTS, Reading, read
from formtune.errors import DataError
from formtune.records import Conversation, Message, Span, kind_of

TALK = Conversation(
    messages=(Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d"))
)


def rows(folder: Path, *found: object) -> Reading:
    """Write JSON lines and read them."""
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return read([str(folder / "a.jsonl")])


def talks(reading: Reading) -> list[Conversation]:
    return [record for record in reading.records if isinstance(record, Conversation)]


def said(record: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in record.messages]


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("prompt-response", {"prompt": "a", "response": "b"}, [("user", "a"), ("assistant", "b")]),
        ("prompt-response", {"prompt": "a", "response": ""}, [("user", "a")]),
        (
            "query-response",
            {"system": "s", "query": "c", "response": "d", "history": [["a", "b"]]},
            [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")],
        ),
        (
            "open-orca",
            {"system_prompt": "s", "question": "a", "response": "b", "id": "niv.1"},
            [("system", "s"), ("user", "a"), ("assistant", "b")],
        ),
        ("firefly", {"kind": "NLI", "input": "a", "target": "b"}, [("user", "a"), ("assistant", "b")]),
        (
            "human-assistant",
            {"conversation": [{"human": "a", "assistant": "b"}, {"human": "c"}], "system": "s"},
            [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")],
        ),
    ],
)
def test_a_reply_under_many_names(tmp_path: Path, name: str, row: object, expected: list[tuple[str, str]]) -> None:
    """Each row is read, and written as it was; an empty last reply is yet to be given."""
    reading = rows(tmp_path, row)
    [record] = talks(reading)
    assert (reading.dialect, said(record)) == (name, expected)
    assert DIALECTS[name].write(record) == row


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # OrcaMini, Dolly, COIG-CQIA
        ({"system": "s", "instruction": "a", "output": "b"}, [("system", "s"), ("user", "a"), ("assistant", "b")]),
        (
            {"instruction": "a", "context": "c", "response": "b", "category": "qa"},
            [("user", "a\nc"), ("assistant", "b")],
        ),
        (
            {"instruction": "a", "input": "", "output": "b", "task_type": {"major": ["问答"]}, "domain": ["医学"]},
            [("user", "a"), ("assistant", "b")],
        ),
    ],
)
def test_alpacas_kin_are_alpaca(tmp_path: Path, row: object, expected: list[tuple[str, str]]) -> None:
    """They have its columns under its names, or Dolly's."""
    reading = rows(tmp_path, row)
    assert (reading.dialect, [said(record) for record in talks(reading)]) == ("alpaca", [expected])


@pytest.mark.parametrize("name", ["prompt-response", "open-orca", "firefly"])
def test_one_exchange_is_not_two(name: str) -> None:
    """A conversation with more has no place."""
    assert DIALECTS[name].write(TALK) is None


@pytest.mark.parametrize("name", ["query-response", "alpaca"])
def test_earlier_exchanges_are_history(name: str) -> None:
    """The last one is asked and answered."""
    row = DIALECTS[name].write(TALK)
    assert isinstance(row, dict)
    assert row["history"] == [["a", "b"]]


def test_a_weight_has_no_column() -> None:
    """It is left away, as reading the row again shows."""
    weighted = Conversation(messages=(Message("user", "a", weight=0.0), Message("assistant", "b", weight=1.0)))
    assert DIALECTS["query-response"].write(weighted) == {"query": "a", "response": "b"}


def test_pairs_of_something_else_are_left_out(tmp_path: Path) -> None:
    """A missing reply in the middle, or another key beside the two."""
    good = {"conversation": [{"human": "a", "assistant": "b"}]}
    found = rows(
        tmp_path,
        good,
        {"conversation": [{"human": "a"}, {"human": "b", "assistant": "c"}]},
        {"conversation": [{"human": "a", "assistant": "b", "bot": "c"}]},
        good,
        good,
    )
    assert [item.reason for item in found.left_out] == [
        "a turn that is not a pair of texts, 'human' and 'assistant'"
    ] * 2


@pytest.mark.parametrize(
    ("row", "dialect"),
    [
        ({"query": "a", "response": "b", "rejected_response": "c"}, "swift-preference"),
        ({"prompt": "a", "response": "b", "label": True}, None),
        ({"conversation": [{"human": "a", "assistant": "b"}], "label": False}, None),
        ({"instruction": "a", "output": "b", "kto_tag": False}, "alpaca-kto"),
    ],
)
def test_judged_replies_are_not_learned_from(tmp_path: Path, row: object, dialect: str | None) -> None:
    """They hold answers that should not be given: they are judgments where the layout is known, else refused."""
    if dialect is None:
        with pytest.raises(DataError, match="do not tell what is text and what is the answer"):
            rows(tmp_path, row)
        return
    found = rows(tmp_path, row)
    assert (found.dialect, [kind_of(record) for record in found.records]) == (dialect, ["preference"])


# --- XTuner ----------------------------------------------------------------------------------------------------------


def test_xtuners_turns(tmp_path: Path) -> None:
    """A system text before a turn, a flag for each output, and text without a question."""
    given = [
        {
            "conversation": [
                {"system": "s", "input": "a", "output": "b", "output_with_loss": False},
                {"input": "c", "output": "d", "output_with_loss": True, "need_eos_token": False},
            ]
        },
        {"conversation": [{"input": "", "output": "All of it."}]},
    ]
    reading = rows(tmp_path, *given)
    first, second = talks(reading)
    assert reading.dialect == "xtuner"
    assert [(m.role, m.content, m.weight) for m in first.messages] == [
        ("system", "s", None),
        ("user", "a", None),
        ("assistant", "b", 0.0),
        ("user", "c", None),
        ("assistant", "d", 1.0),
    ]
    assert first.messages[-1].extra == '{"need_eos_token":false}'
    assert said(second) == [("assistant", "All of it.")]
    assert [DIALECTS["xtuner"].write(record) for record in (first, second)] == given


def test_xtuner_has_no_empty_question() -> None:
    """It would be read as none."""
    assert DIALECTS["xtuner"].write(Conversation(messages=(Message("user", ""), Message("assistant", "b")))) is None
    assert DIALECTS["xtuner"].write(Conversation(messages=(Message("user", "a"), Message("tool", "b")))) is None


# --- MOSS ------------------------------------------------------------------------------------------------------------


def turn(**texts: str) -> dict[str, str]:
    """Make a turn of MOSS's texts between its marks."""
    marks = {
        "Human": ("Human", "eoh"),
        "Inner Thoughts": ("Inner Thoughts", "eot"),
        "Commands": ("Commands", "eoc"),
        "Tool Responses": ("Results", "eor"),
        "MOSS": ("MOSS", "eom"),
    }
    return {
        name: f"<|{before}|>: {texts.get(name.replace(' ', '_'), 'None')}<{after}>\n"
        for name, (before, after) in marks.items()
    }


def test_what_moss_thinks_commands_and_says(tmp_path: Path) -> None:
    """Numbered turns come in their order; a command and its result are messages before the answer."""
    plain = turn(Human="a", MOSS="b")
    acting = turn(Human="c", Inner_Thoughts="hm", Commands='Search("c")', Tool_Responses="found", MOSS="d")
    row = {"conversation_id": 1, "meta_instruction": "s", "num_turns": 2, "chat": {"turn_1": plain, "turn_2": acting}}
    reading = rows(tmp_path, row)
    [record] = talks(reading)
    assert reading.dialect == "moss"
    assert said(record) == [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", 'Search("c")'),
        ("tool", "found"),
        ("assistant", "d"),
    ]
    assert [message.thinking for message in record.messages] == [None, None, None, None, "hm", None, None]
    assert record.extra == '{"conversation_id":1}'
    assert DIALECTS["moss"].write(record) == row


def test_moss_has_its_own_order() -> None:
    """An answer before the question, two answers, or a text that means none: no place."""
    user, answer = Message("user", "a"), Message("assistant", "b")
    for messages in (
        (answer, user),
        (user, answer, answer),
        (user, Message("tool", "None"), answer),
        (user, answer, Message("tool", "x")),
        (user, Message("tool", "x"), Message("assistant", "b", thinking="late")),
    ):
        assert DIALECTS["moss"].write(Conversation(messages=messages)) is None


def test_turns_of_moss_that_are_missing_leave_the_row_out(tmp_path: Path) -> None:
    """So does one in which nothing is asked."""
    good = {"chat": {"turn_1": turn(Human="a", MOSS="b")}}
    found = rows(tmp_path, good, {"chat": {"turn_2": turn(Human="a")}}, {"chat": {"turn_1": {"MOSS": "b"}}}, good, good)
    assert [item.reason for item in found.left_out] == ["no turns", "a turn without 'Human'"]


# --- stretches -------------------------------------------------------------------------------------------------------


def test_segments_are_stretches_of_one_text(tmp_path: Path) -> None:
    """What is learned of it is said by the weights, not by roles."""
    row = {"segments": [{"label": True, "text": "<s>Hello\n"}, {"label": False, "text": "Bye "}], "id": 1}
    reading = rows(tmp_path, row)
    [record] = talks(reading)
    assert reading.dialect == "input-output"
    assert record.messages == (Message("assistant", "<s>Hello\nBye ", spans=(Span(0, 9, 1.0), Span(9, 13, 0.0))),)
    assert DIALECTS["input-output"].write(record) == row


def test_only_a_divided_text_is_segments() -> None:
    """A gap, a weight between 0 and 1, or a second message: no place."""
    for messages in (
        (Message("assistant", "abc", spans=(Span(0, 1, 1.0), Span(2, 3, 0.0))),),
        (Message("assistant", "abc", spans=(Span(0, 3, 0.5),)),),
        (Message("assistant", "abc"),),
        (Message("user", "a"), Message("assistant", "abc", spans=(Span(0, 3, 1.0),))),
    ):
        assert DIALECTS["input-output"].write(Conversation(messages=messages)) is None


def test_steps_are_stretches_of_one_answer(tmp_path: Path) -> None:
    """A step that is judged wrong has the weight 0; a step may have several lines."""
    row = {"prompt": "1 + 2 + 3?", "completions": ["1 + 2\nis 3.", "3 + 3 is 7."], "labels": [True, False]}
    reading = rows(tmp_path, row)
    [record] = talks(reading)
    assert reading.dialect == "stepwise"
    assert record.messages[1] == Message(
        "assistant", "1 + 2\nis 3.\n3 + 3 is 7.", spans=(Span(0, 11, 1.0), Span(12, 23, 0.0))
    )
    assert DIALECTS["stepwise"].write(record) == row


def test_every_step_has_its_label(tmp_path: Path) -> None:
    """A truth value, no more and no fewer."""
    good = {"prompt": "a", "completions": ["b"], "labels": [True]}
    found = rows(
        tmp_path, good, {**good, "labels": []}, {**good, "labels": [1]}, {**good, "completions": []}, *[good] * 3
    )
    assert [item.reason for item in found.left_out] == [
        "labels that are not a truth value for each step",
        "labels that are not a truth value for each step",
        "no steps",
    ]


def test_an_answer_without_steps_is_not_stepwise() -> None:
    """Neither is one whose steps are not lines."""
    undivided, run_on = (
        Message("assistant", "abc"),
        Message("assistant", "ab", spans=(Span(0, 1, 1.0), Span(1, 2, 0.0))),
    )
    for answer in (undivided, run_on):
        assert DIALECTS["stepwise"].write(Conversation(messages=(Message("user", "a"), answer))) is None
