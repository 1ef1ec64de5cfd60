"""Conversations: messages, instructions, prompts and completions."""

import json
from pathlib import Path

import pytest

from formtune.dialects import DIALECTS, Reading, read
from formtune.records import Conversation, Message, Preference, kind_of

HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}


def rows(folder: Path, *found: object, **options: object) -> Reading:
    """Write JSON lines and read them."""
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return read([str(folder / "a.jsonl")], **options)


def conversations(reading: Reading) -> list[Conversation]:
    return [record for record in reading.records if isinstance(record, Conversation)]


def said(record: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in record.messages]


# --- messages --------------------------------------------------------------------------------------------------------


def test_messages_keep_weights_names_and_calls(tmp_path: Path) -> None:
    """Tools and tool calls are JSON text, in the order of the file."""
    call = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": 2}'}}]
    answer = {"role": "assistant", "content": None, "tool_calls": call, "weight": 0}
    row = {"messages": [{**HI, "name": "Ann"}, answer], "tools": [{"z": 1, "a": {}}], "parallel_tool_calls": False}
    record = conversations(rows(tmp_path, row))[0]
    assert record.messages[0] == Message("user", "Hi", name="Ann")
    assert record.messages[1].weight == 0.0
    assert json.loads(record.messages[1].tool_calls or "") == call
    assert record.tools == '[{"z":1,"a":{}}]'
    assert record.extra == '{"parallel_tool_calls":false}'


def test_content_in_parts_is_joined(tmp_path: Path) -> None:
    """Parts of text make one text, under either name of the key."""
    parts = [{"type": "text", "text": "a "}, {"type": "text", "value": "b"}]
    assert said(conversations(rows(tmp_path, {"messages": [{"role": "user", "content": parts}, HELLO]}))[0])[0] == (
        "user",
        "a b",
    )


def test_unknown_keys_of_messages_come_back(tmp_path: Path) -> None:
    """They go aside message by message, and are written again."""
    row = {"id": 1, "messages": [HI, {**HELLO, "refusal": None, "reasoning_content": "Hm."}]}
    record = conversations(rows(tmp_path, row))[0]
    assert record.extra == '{"id":1}'
    assert record.messages[1] == Message("assistant", "Hello", thinking="Hm.", extra='{"refusal":null}')
    assert DIALECTS["messages"].write(record) == row


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "narrator", "content": "x"}, "a message with an unknown role"),
        (
            {"role": "user", "content": [{"image_url": {}}]},
            "a message with content that is neither text nor parts of a type",
        ),
        ({"role": "user", "content": "x", "weight": 1, "train": False}, "a message with two weights"),
        (
            {"role": "user", "content": "x", "train_detail": [{"begin_offset": 0, "end_offset": 1, "train": True}]},
            "stretches of text that are not in the content, in order and apart",
        ),
        ({"role": "user", "content": "x", "weight": "big"}, "a message weight that is not a number"),
        ({"role": "assistant", "content": "", "tool_calls": "{"}, "tool calls that are not JSON"),
    ],
)
def test_a_faulty_message_leaves_its_row_out(tmp_path: Path, message: dict[str, object], reason: str) -> None:
    """The row is told with its reason; the others go on."""
    found = rows(
        tmp_path, {"messages": [HI, HELLO]}, {"messages": [HI, message]}, {"messages": []}, {"messages": [HI, HELLO]}
    )
    assert len(found.records) == 2
    assert [(item.reason, item.at.line if item.at else 0) for item in found.left_out] == [
        (reason, 2),
        ("no messages", 3),
    ]


def test_newer_and_older_roles_are_known(tmp_path: Path) -> None:
    """A developer message is a system message, a function's a tool's."""
    found = rows(
        tmp_path, {"messages": [{"role": "developer", "content": "a"}, HI, {"role": "function", "content": "1"}]}
    )
    assert [role for role, _ in said(conversations(found)[0])] == ["system", "user", "tool"]


def test_judged_conversations_are_not_learned_from(tmp_path: Path) -> None:
    """Rows with a truth value (KTO) hold bad answers too: they are preferences, with an answer that is rejected."""
    for row in ({"messages": [HI, HELLO], "label": False}, {"prompt": "Hi", "completion": "Hello", "label": False}):
        (record,) = rows(tmp_path, row).records
        assert isinstance(record, Preference)
        assert (record.chosen, [message.content for message in record.rejected]) == ((), ["Hello"])


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": "a", "rejected": "b"},
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"question": "a", "response_j": "b", "response_k": "c"},
        {
            "conversations": [{"from": "human", "value": "a"}],
            "chosen": {"from": "gpt", "value": "b"},
            "rejected": {"from": "gpt", "value": "c"},
        },
    ],
)
def test_preferences_are_not_taken_for_answers(tmp_path: Path, row: dict[str, object]) -> None:
    """None of the dialects that are learned from reaches for one side of a preference."""
    assert [kind_of(record) for record in rows(tmp_path, row).records] == ["preference"]


def test_real_conversations_are_read_whole(shared: Path) -> None:
    """Dolly as messages, and the cookbook's toy rows."""
    counts = {}
    for name in ("dolly_3k_messages/train.jsonl", "dialects_misc/openai_toy_chat_fine_tuning.jsonl"):
        reading = read([str(shared / "instruct" / name)])
        counts[name] = (reading.dialect, len(reading.records), len(reading.left_out))
    assert list(counts.values()) == [("messages", 2496, 0), ("messages", 5, 0)]


# --- instructions ----------------------------------------------------------------------------------------------------


def test_instruction_and_input_make_one_message(tmp_path: Path) -> None:
    """The system text stands first, then the history, then the question; an empty input adds nothing."""
    row = {"instruction": "Add.", "input": "1 + 1", "output": "2", "system": "Be brief.", "history": [["Hi", "Hello"]]}
    found = conversations(rows(tmp_path, row, {"instruction": "Sing.", "input": "", "output": "La."}))
    assert said(found[0]) == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Add.\n1 + 1"),
        ("assistant", "2"),
    ]
    assert said(found[1]) == [("user", "Sing."), ("assistant", "La.")]


def test_dolly_and_self_instruct_have_their_own_names(tmp_path: Path) -> None:
    """context and response; instances of input and output, each a record."""
    dolly = conversations(
        rows(tmp_path, {"instruction": "Sum up.", "context": "Long.", "response": "Short.", "category": "qa"})
    )
    assert said(dolly[0]) == [("user", "Sum up.\nLong."), ("assistant", "Short.")]
    instances = [{"input": "a", "output": "b"}, {"input": "", "output": "c"}]
    selves = conversations(rows(tmp_path, {"id": "s", "instruction": "Do.", "instances": instances}))
    assert [said(record)[0][1] for record in selves] == ["Do.\na", "Do."]


def test_a_row_without_an_instruction_is_left_out(tmp_path: Path) -> None:
    """So is one whose history is no list of pairs."""
    good = {"instruction": "Do.", "output": "Done."}
    found = rows(tmp_path, good, {"instruction": " ", "output": "x"}, {**good, "history": ["Hi"]}, good)
    assert [item.reason for item in found.left_out] == [
        "no text in column 'instruction'",
        "a history that is not a list of pairs of texts",
    ]


@pytest.mark.parametrize(
    ("name", "n_records"),
    [
        ("llamafactory_demo/alpaca_en_demo.json", 999),
        ("llamafactory_demo/alpaca_zh_demo.json", 1000),
        ("llamafactory_demo/identity.json", 91),
        ("dialects_misc/torchtune_instruct_tiny.json", 2),
        ("self_instruct/seed_tasks.jsonl", 175),
        ("self_instruct/user_oriented_instructions.jsonl", 252),
    ],
)
def test_real_instructions_are_read_whole(shared: Path, name: str, n_records: int) -> None:
    """As many as their documentation counts."""
    reading = read([str(shared / "instruct" / name)])
    assert (reading.dialect, len(reading.records), reading.left_out) == ("alpaca", n_records, [])


def test_rows_may_have_different_names_for_input_and_output(tmp_path: Path) -> None:
    """Alpaca's and Dolly's rows in one file: no answer is put aside because other rows call it otherwise."""
    found = rows(
        tmp_path,
        {"instruction": "a", "input": "", "output": "b"},
        {"instruction": "a", "input": "", "output": "b"},
        {"instruction": "a", "context": "c", "response": "d"},
        {"instruction": "a", "answer": "e", "output": "b"},
    )
    assert [[message.content for message in one.messages] for one in conversations(found)] == [
        ["a", "b"],
        ["a", "b"],
        ["a\nc", "d"],
        ["a", "b"],
    ]
    assert [one.extra for one in found.records] == [None, None, None, '{"answer":"e"}']
    found = rows(tmp_path, *[{"prompt": "a", "completion": "b"}] * 2, {"prompt": "a", "response": "b"})
    assert [[message.content for message in one.messages] for one in conversations(found)] == [["a", "b"]] * 3


# --- prompts ---------------------------------------------------------------------------------------------------------


def test_only_the_completion_is_learned(tmp_path: Path) -> None:
    """What the assistant says inside the prompt has the weight 0."""
    record = conversations(rows(tmp_path, {"prompt": [HI, HELLO, HI], "completion": [HELLO]}))[0]
    assert [message.weight for message in record.messages] == [None, 0.0, None, None]


def test_a_conversation_with_earlier_learned_turns_has_no_prompt() -> None:
    """A prompt cannot say that a part of it is learned, so such a conversation is not written."""
    record = Conversation(
        messages=(Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d"))
    )
    assert DIALECTS["prompt-completion"].write(record) is None


def test_a_prompt_that_is_a_number_is_left_out(tmp_path: Path) -> None:
    """It is neither a text nor messages."""
    found = rows(
        tmp_path,
        {"prompt": "a", "completion": "b"},
        {"prompt": 3, "completion": "b"},
        {"prompt": "", "completion": "b"},
    )
    assert [item.reason for item in found.left_out] == [
        "a prompt or completion that is neither a text nor messages",
        "no prompt",
    ]
