"""Conversations in turns with a speaker: ShareGPT, NeMo, ChatGLM, and lists of texts."""

import json
from pathlib import Path

import pytest

from formtune.dialects import DIALECTS, Columns, Reading, read
from formtune.records import Conversation, Message, kind_of

HUMAN = {"from": "human", "value": "Weather?"}
GPT = {"from": "gpt", "value": "Sunny."}
CALL = {"from": "function_call", "value": '{"name": "weather", "arguments": {"b": 1,"a": [2.50]}}'}


def rows(folder: Path, *found: object, **options: str) -> Reading:
    """Write JSON lines and read them."""
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return read([str(folder / "a.jsonl")], dialect=options.get("dialect"))


def talk(folder: Path, *turns: object, **columns: object) -> Conversation:
    """Read one conversation of turns."""
    [record] = rows(folder, {"conversations": list(turns), **columns}).records
    assert isinstance(record, Conversation)
    return record


def said(record: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in record.messages]


# --- ShareGPT --------------------------------------------------------------------------------------------------------


def test_speakers_have_many_names_which_come_back(tmp_path: Path) -> None:
    """The usual ones go without saying; another is kept beside our role, and written again."""
    names = ["human", "gpt", "user", "chatgpt", "bot", "assistant", "model", "tool", "observation", "system"]
    row = {"conversations": [{"from": name, "value": "x"} for name in names]}
    record = talk(tmp_path, *row["conversations"])
    assert [message.role for message in record.messages] == [
        *("user", "assistant", "user", "assistant", "assistant", "assistant", "assistant", "tool", "tool", "system")
    ]
    assert [message.extra for message in record.messages[:4]] == [None, None, '{"role":"user"}', '{"role":"chatgpt"}']
    assert DIALECTS["sharegpt"].write(record) == row


def test_a_name_of_one_tool_is_not_written_for_another(tmp_path: Path) -> None:
    """What ShareGPT calls chatgpt, OpenAI calls assistant."""
    record = talk(tmp_path, HUMAN, {"from": "chatgpt", "value": "x"})
    assert DIALECTS["messages"].write(record) == {
        "messages": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "x"}]
    }


def test_arguments_keep_every_character(tmp_path: Path) -> None:
    """They are text, as in OpenAI's layout; what was written is what stood in the turn."""
    record = talk(tmp_path, HUMAN, CALL, {"from": "observation", "value": "Sun"}, GPT)
    function = {"name": "weather", "arguments": '{"b": 1,"a": [2.50]}'}
    assert json.loads(record.messages[1].tool_calls or "") == [{"type": "function", "function": function}]
    assert DIALECTS["sharegpt"].write(record) == {
        "conversations": [HUMAN, CALL, {"from": "observation", "value": "Sun"}, GPT]
    }


def test_a_call_belongs_to_what_was_said_before_it(tmp_path: Path) -> None:
    """Text and call are two turns in the file and one message in the record."""
    turns = [HUMAN, {"from": "gpt", "value": "I look."}, CALL, {"from": "observation", "value": "Sun"}]
    record = talk(tmp_path, *turns)
    assert said(record) == [("user", "Weather?"), ("assistant", "I look."), ("tool", "Sun")]
    assert DIALECTS["sharegpt"].write(record) == {"conversations": turns}


def test_several_calls_are_a_list(tmp_path: Path) -> None:
    """ShareGPT holds them in one turn, ms-swift in one turn each."""
    calls = '[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {"a": 1}}]'
    record = talk(tmp_path, HUMAN, {"from": "function_call", "value": calls})
    assert len(json.loads(record.messages[1].tool_calls or "")) == 2
    assert DIALECTS["sharegpt"].write(record) == {"conversations": [HUMAN, {"from": "function_call", "value": calls}]}
    swift = DIALECTS["swift"].write(record)
    assert isinstance(swift, dict)
    assert swift["messages"] == [
        {"role": "user", "content": "Weather?"},
        {"role": "tool_call", "content": '{"name": "f", "arguments": {}}'},
        {"role": "tool_call", "content": '{"name": "g", "arguments": {"a": 1}}'},
    ]


def test_a_call_behind_an_answer_of_its_own_is_refused() -> None:
    """A call that stands behind an answer of its own would be read as part of that answer, so it is not written."""
    call = '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'
    apart = (Message("user", "a"), Message("assistant", "b"), Message("assistant", "", tool_calls=call))
    assert DIALECTS["sharegpt"].write(Conversation(messages=apart)) is None
    weighted = (*apart[:2], Message("assistant", "", tool_calls=call, weight=0.25, name="Ann"))
    assert DIALECTS["sharegpt"].write(Conversation(messages=weighted)) is None  # neither of them has a place
    unlearned = (*apart[:2], Message("assistant", "", tool_calls=call, weight=0.0))
    assert DIALECTS["sharegpt"].write(Conversation(messages=unlearned)) is not None
    together = (Message("user", "a"), Message("assistant", "b", tool_calls=call))
    assert DIALECTS["sharegpt"].write(Conversation(messages=together)) is not None


def test_system_and_tools_stand_beside_the_turns(tmp_path: Path) -> None:
    """The system text becomes the first message, the tools JSON text as it stands."""
    record = talk(tmp_path, HUMAN, GPT, system="Be brief.", tools='[{"name": "weather"}]', id="a")
    assert said(record)[0] == ("system", "Be brief.")
    assert (record.tools, record.extra) == ('[{"name": "weather"}]', '{"id":"a"}')
    assert DIALECTS["sharegpt"].write(record) == {
        "id": "a",
        "conversations": [{"from": "system", "value": "Be brief."}, HUMAN, GPT],
        "tools": '[{"name": "weather"}]',
    }


def test_slim_orcas_weights_come_back(tmp_path: Path) -> None:
    """0 and 1, as numbers."""
    turns = [{**HUMAN, "weight": 0}, {**GPT, "weight": 1}]
    record = talk(tmp_path, *turns)
    assert [message.weight for message in record.messages] == [0.0, 1.0]
    assert DIALECTS["sharegpt"].write(record) == {"conversations": turns}


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"from": "narrator", "value": "x"}, "a message with an unknown role"),
        ({"from": "gpt", "value": "x", "content": "y"}, "a message with two keys for one thing"),
        ({"from": "function_call", "value": "f(x)"}, "a tool call that is not JSON with a name"),
        ({"from": "function_call", "value": "{}"}, "a tool call that is not JSON with a name"),
        ({"from": "function_call", "value": "[]"}, "a tool call that is not JSON with a name"),
        ({"from": "gpt", "value": 3}, "a message with content that is neither text nor parts of a type"),
    ],
)
def test_a_faulty_turn_leaves_its_row_out(tmp_path: Path, turn: object, reason: str) -> None:
    """The row is told with its reason; the others go on."""
    good = {"conversations": [HUMAN, GPT]}
    found = rows(tmp_path, good, {"conversations": [HUMAN, turn]}, good)
    assert [(item.reason, item.at.line if item.at else 0) for item in found.left_out] == [(reason, 2)]
    assert len(found.records) == 2


@pytest.mark.parametrize("column", ["conversation", "messages"])
def test_turns_stand_in_columns_of_other_names_too(tmp_path: Path, column: str) -> None:
    """They are written under the usual one."""
    reading = rows(tmp_path, {column: [HUMAN, GPT], "id": 1})
    assert (reading.dialect, reading.records[0].extra) == ("sharegpt", '{"id":1}')
    assert DIALECTS["sharegpt"].write(reading.records[0]) == {"id": 1, "conversations": [HUMAN, GPT]}


def test_reasoning_has_no_place(tmp_path: Path) -> None:
    """A record whose reasoning would be lost is refused where a name or an id is only left away."""
    thought = (Message("user", "a", name="Ann"), Message("assistant", "b", thinking="Hm."))
    assert DIALECTS["sharegpt"].write(Conversation(messages=thought)) is None
    named = Conversation(messages=(thought[0], Message("assistant", "b")))
    assert DIALECTS["sharegpt"].write(named) == {
        "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    }


def test_preferences_in_turns_are_no_conversations(tmp_path: Path) -> None:
    """One side of them is an answer that should not be given."""
    found = rows(tmp_path, {"conversations": [HUMAN], "rejected": GPT, "chosen": GPT})
    assert {kind_of(record) for record in found.records} == {"preference"}


# --- NeMo and ChatGLM ------------------------------------------------------------------------------------------------


def test_nemos_mask_says_who_is_not_learned(tmp_path: Path) -> None:
    """The user is not learned anyway; when the assistant is masked, or nobody, every turn gets its weight."""
    turns = [{"from": "User", "value": "a"}, {"from": "Assistant", "value": "b"}]
    weights = {}
    for mask in ("User", "Assistant", ""):
        record = talk(tmp_path, *turns, mask=mask, system="")
        weights[mask] = [message.weight for message in record.messages]
        assert DIALECTS["nemo"].write(record) == {"system": "", "mask": mask, "conversations": turns}
    assert weights == {"User": [None, None], "Assistant": [1.0, 0.0], "": [1.0, 1.0]}


def test_nemo_has_no_other_mask(tmp_path: Path) -> None:
    """A mask that names nobody leaves its row out."""
    turns = [{"from": "User", "value": "a"}, {"from": "Assistant", "value": "b"}]
    good = {"conversations": turns, "mask": "User"}
    found = rows(tmp_path, good, {**good, "mask": "Bot"}, good)
    assert [item.reason for item in found.left_out] == ["a mask that is not the name of a speaker"]


def test_chatglm_holds_a_call_with_its_result(tmp_path: Path) -> None:
    """One turn in the file, an assistant's call and a tool's message in the record."""
    tool = {"role": "tool", "name": "weather", "parameters": {"at": "Bern"}, "observation": "Sun"}
    turns = [{"role": "user", "content": "Weather?"}, tool, {"role": "assistant", "content": "Sunny."}]
    reading = rows(tmp_path, {"conversations": turns})
    [record] = reading.records
    assert isinstance(record, Conversation)
    assert reading.dialect == "chatglm"
    assert said(record) == [("user", "Weather?"), ("assistant", ""), ("tool", "Sun"), ("assistant", "Sunny.")]
    assert DIALECTS["chatglm"].write(record) == {"conversations": turns}


def test_chatglm_needs_a_result_for_each_call() -> None:
    """A call without one, or two calls at once, have no turn."""
    call = '{"type":"function","function":{"name":"f","arguments":"{}"}}'
    user, result = Message("user", "a"), Message("tool", "b")
    for calls, results in ((f"[{call}]", ()), (f"[{call},{call}]", (result, result))):
        messages = (user, Message("assistant", "", tool_calls=calls), *results)
        assert DIALECTS["chatglm"].write(Conversation(messages=messages)) is None


@pytest.mark.parametrize(("name", "column"), [("lima", "conversations"), ("ultrachat", "data")])
def test_texts_in_turn_are_the_users_and_the_assistants(tmp_path: Path, name: str, column: str) -> None:
    """A system text has no place there."""
    reading = rows(
        tmp_path, {column: ["a", "b", "c"]}, {column: []}, {column: ["a", 3]}, {column: ["a"]}, {column: ["a"]}
    )
    record = reading.records[0]
    assert isinstance(record, Conversation)
    assert (reading.dialect, said(record)) == (name, [("user", "a"), ("assistant", "b"), ("user", "c")])
    assert [item.reason for item in reading.left_out] == ["turns that are not a list of texts"] * 2
    with_system = Conversation(messages=(Message("system", "s"), *record.messages))
    assert DIALECTS[name].write(with_system) is None


# --- real files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_records", "n_calls"),
    [
        ("llamafactory_demo/glaive_toolcall_en_demo.json", 300, 211),
        ("llamafactory_demo/glaive_toolcall_zh_demo.json", 300, None),
        ("dialects_misc/sharegpt_fastchat_dummy.json", 200, 0),
        ("dialects_misc/torchtune_chat_tiny.json", 1, 0),
    ],
)
def test_real_turns_are_read_whole_and_come_back(shared: Path, name: str, n_records: int, n_calls: int | None) -> None:
    """Every row; and what is written of it says the same, call by call and character by character."""
    path = shared / "instruct" / name
    reading = read([str(path)])
    assert (reading.dialect, len(reading.records), reading.left_out) == ("sharegpt", n_records, [])
    calls = [m for r in reading.records if isinstance(r, Conversation) for m in r.messages if m.tool_calls]
    assert n_calls is None or len(calls) == n_calls
    written = [DIALECTS["sharegpt"].write(record) for record in reading.records]
    turns = [row["conversations"] for row in written if isinstance(row, dict)]
    assert turns == [row["conversations"] for row in json.loads(path.read_text(encoding="utf-8"))]


def test_columns_are_no_business_of_turns() -> None:
    """No flag names a column of them."""
    assert all(frozenset() == DIALECTS[name].ROLES for name in ("sharegpt", "nemo", "chatglm", "lima"))
    assert DIALECTS["sharegpt"].recognize([], Columns()) is None
