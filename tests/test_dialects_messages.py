"""Lists of messages in the spellings of ms-swift, axolotl, torchtune, LLaMA-Factory v1, Hugging Face and the older OpenAI."""

import json
from pathlib import Path

import msgspec
import pytest

from formtune.dialects import DIALECTS, Reading, read
from formtune.records import Conversation, Message, Span

USER = {"role": "user", "content": "Weather?"}
ANSWER = {"role": "assistant", "content": "Sunny."}
SWIFT_CALL = {"role": "tool_call", "content": '{"name": "weather", "arguments": {"at": "Bern"}}'}


def rows(folder: Path, *found: object) -> Reading:
    """Write JSON lines and read them."""
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return read([str(folder / "a.jsonl")])


def talk(folder: Path, *messages: object, **columns: object) -> tuple[str, Conversation]:
    """Read one conversation; give the name of its dialect, too."""
    reading = rows(folder, {"messages": list(messages), **columns})
    [record] = reading.records
    assert isinstance(record, Conversation)
    return reading.dialect, record


def written(name: str, *messages: Message, tools: str | None = None) -> object:
    return DIALECTS[name].write(Conversation(messages=messages, tools=tools))


# --- loss flags ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("messages", {0.0: {"weight": 0}, 1.0: {"weight": 1}, 0.25: {}}),
        ("openai-functions", {0.0: {"weight": 0}, 1.0: {"weight": 1}, 0.25: {}}),
        ("swift", {0.0: {"loss": False}, 1.0: {"loss": True}, 0.25: {"loss_scale": 0.25}}),
        ("axolotl", {0.0: {"train": False}, 1.0: {"train": True}, 0.25: {}}),
        ("torchtune", {0.0: {"masked": True}, 1.0: {"masked": False}, 0.25: {}}),
        ("llamafactory-v1", {0.0: {"loss_weight": 0.0}, 1.0: {"loss_weight": 1.0}, 0.25: {"loss_weight": 0.25}}),
    ],
)
def test_each_tool_has_its_own_flag(name: str, flags: dict[float, dict[str, object]]) -> None:
    """A weight that it cannot say is left away, which reading the row again shows."""
    for weight, flag in flags.items():
        row = written(name, Message("assistant", "x", weight=weight))
        assert isinstance(row, dict)
        [message] = row["messages"]
        assert {key: value for key, value in message.items() if key not in ("role", "content")} == flag
        assert all(type(message[key]) is type(value) for key, value in flag.items())


@pytest.mark.parametrize(
    ("mark", "dialect"),
    [
        ({}, "messages"),
        ({"weight": 0}, "messages"),
        ({"loss": False}, "swift"),
        ({"loss_scale": 0.5}, "swift"),
        ({"train": False}, "axolotl"),
        ({"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": False}]}, "axolotl"),
        ({"masked": True}, "torchtune"),
        ({"eot": True}, "torchtune"),
        ({"loss_weight": 0.5}, "llamafactory-v1"),
        ({"content": [{"type": "text", "value": "a"}]}, "llamafactory-v1"),
        ({"content": [{"type": "text", "text": "a", "train": False}]}, "axolotl"),
        ({"content": [{"type": "text", "text": "a"}]}, "messages"),
        ({"function_call": {"name": "f", "arguments": "{}"}}, "openai-functions"),
    ],
)
def test_one_marked_message_tells_the_tool(tmp_path: Path, mark: dict[str, object], dialect: str) -> None:
    """Even far from the beginning."""
    plain = {"messages": [USER, ANSWER]}
    reading = rows(tmp_path, *[plain] * 30, {"messages": [USER, {**ANSWER, **mark}]})
    assert (reading.dialect, len(reading.records)) == (dialect, 31)


# --- ms-swift --------------------------------------------------------------------------------------------------------


def test_swifts_calls_are_turns(tmp_path: Path) -> None:
    """One for each call; the result is a tool_response."""
    messages = [USER, SWIFT_CALL, SWIFT_CALL, {"role": "tool_response", "content": "Sun"}, ANSWER]
    name, record = talk(tmp_path, *messages, tools='[{"type": "function"}]')
    assert name == "swift"
    assert [message.role for message in record.messages] == ["user", "assistant", "tool", "assistant"]
    assert len(json.loads(record.messages[1].tool_calls or "")) == 2
    assert DIALECTS["swift"].write(record) == {"messages": messages, "tools": '[{"type": "function"}]'}


def test_calls_with_different_flags_stay_apart(tmp_path: Path) -> None:
    """A message has one weight."""
    _, record = talk(tmp_path, USER, {**SWIFT_CALL, "loss": False}, {**SWIFT_CALL, "loss": True})
    assert [message.weight for message in record.messages] == [None, 0.0, 1.0]


def test_ids_of_calls_are_left_away() -> None:
    """ms-swift knows calls by their order."""
    call = '[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]'
    row = written("swift", Message("assistant", "", tool_calls=call), Message("tool", "x", tool_call_id="1"))
    assert row == {
        "messages": [
            {"role": "tool_call", "content": '{"name": "f", "arguments": {}}'},
            {"role": "tool_response", "content": "x"},
        ]
    }


# --- axolotl ---------------------------------------------------------------------------------------------------------


def test_stretches_come_from_details_and_from_parts(tmp_path: Path) -> None:
    """An end offset is the last character's own; a part's flag holds for its text."""
    detail = {**ANSWER, "train_detail": [{"begin_offset": 0, "end_offset": 2, "train": False}]}
    parts = [{"type": "text", "text": "Sun", "train": True}, {"type": "text", "text": "ny", "weight": 0}]
    name, record = talk(tmp_path, USER, detail, {"role": "assistant", "content": parts})
    assert name == "axolotl"
    assert record.messages[1].spans == (Span(0, 3, 0.0),)
    assert record.messages[2] == Message("assistant", "Sunny", spans=(Span(0, 3, 1.0), Span(3, 5, 0.0)))
    again = DIALECTS["axolotl"].write(record)
    assert isinstance(again, dict)
    assert again["messages"][1] == detail


def test_only_axolotl_holds_stretches() -> None:
    """Others leave them away; a stretch that is learned by half has no place at all."""
    message = Message("assistant", "Sunny", spans=(Span(0, 3, 0.5), Span(3, 5, 1.0)))
    rows_ = {name: written(name, message) for name in ("messages", "axolotl", "swift", "sharegpt")}
    assert rows_ == {
        "messages": {"messages": [{"role": "assistant", "content": "Sunny"}]},
        "axolotl": {
            "messages": [
                {
                    "role": "assistant",
                    "content": "Sunny",
                    "train_detail": [{"begin_offset": 3, "end_offset": 4, "train": True}],
                }
            ]
        },
        "swift": {"messages": [{"role": "assistant", "content": "Sunny"}]},
        "sharegpt": {"conversations": [{"from": "gpt", "value": "Sunny"}]},
    }


def test_stretches_cannot_be_given_twice(tmp_path: Path) -> None:
    """By details and by parts."""
    part = {"type": "text", "text": "Sunny", "train": True}
    detail = [{"begin_offset": 0, "end_offset": 1, "train": False}]
    good = {"messages": [USER, ANSWER]}
    found = rows(tmp_path, good, {"messages": [{"role": "assistant", "content": [part], "train_detail": detail}]}, good)
    assert [item.reason for item in found.left_out] == ["stretches of text that are given twice"]


# --- torchtune -------------------------------------------------------------------------------------------------------


def test_torchtunes_flags_come_back(tmp_path: Path) -> None:
    """masked is the opposite of a weight; ipython and eot go aside."""
    messages = [{**USER, "masked": True}, {**ANSWER, "masked": False, "ipython": True, "eot": False}]
    name, record = talk(tmp_path, *messages, {"role": "ipython", "content": "2", "masked": True})
    assert name == "torchtune"
    assert [(message.role, message.weight) for message in record.messages] == [
        ("user", 0.0),
        ("assistant", 1.0),
        ("tool", 0.0),
    ]
    again = DIALECTS["torchtune"].write(record)
    assert again == {"messages": [*messages, {"role": "ipython", "content": "2", "masked": True}]}


def test_torchtune_has_no_calls() -> None:
    """They would be lost, and with them what the assistant says."""
    call = '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'
    assert written("torchtune", Message("assistant", "", tool_calls=call)) is None
    assert written("torchtune", Message("assistant", "x"), tools="[{}]") is None


# --- OpenAI, older and newer; Hugging Face ---------------------------------------------------------------------------


def test_functions_become_tools_and_come_back(tmp_path: Path) -> None:
    """The arguments keep every character; a function's result is a tool's message with its name."""
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"b":  1}'}}
    result = {"role": "function", "name": "f", "content": "1"}
    name, record = talk(tmp_path, USER, call, result, functions=[{"name": "f", "parameters": {}}])
    assert name == "openai-functions"
    assert record.tools == '[{"type":"function","function":{"name":"f","parameters":{}}}]'
    assert json.loads(record.messages[1].tool_calls or "")[0]["function"] == call["function_call"]
    again = DIALECTS["openai-functions"].write(record)
    assert again == {"messages": [USER, call, result], "functions": [{"name": "f", "parameters": {}}]}
    newer = DIALECTS["messages"].write(record)
    assert isinstance(newer, dict)
    assert newer["messages"][2] == {"role": "tool", "content": "1", "name": "f"}


def test_functions_that_are_not_called_tell_the_older_layout(tmp_path: Path) -> None:
    """They are the tools of the conversation."""
    name, record = talk(tmp_path, USER, ANSWER, functions=[{"name": "f"}])
    assert (name, record.tools) == ("openai-functions", '[{"type":"function","function":{"name":"f"}}]')


def test_the_older_layout_calls_one_function_at_a_time() -> None:
    """Two calls, or a tool that is no function, have no place."""
    call = '{"type":"function","function":{"name":"f","arguments":"{}"}}'
    assert written("openai-functions", Message("assistant", "", tool_calls=f"[{call},{call}]")) is None
    assert written("openai-functions", Message("user", "x"), tools='[{"type":"web_search"}]') is None


def test_a_refusal_is_what_the_assistant_says(tmp_path: Path) -> None:
    """OpenAI keeps it beside an empty content; elsewhere it is the content."""
    refused = {"role": "assistant", "content": None, "refusal": "I will not."}
    name, record = talk(tmp_path, USER, refused)
    assert name == "messages"
    assert record.messages[1] == Message("assistant", "I will not.", extra='{"refusal":true}')
    assert DIALECTS["messages"].write(record) == {"messages": [USER, refused]}
    assert DIALECTS["sharegpt"].write(record) == {
        "conversations": [{"from": "human", "value": "Weather?"}, {"from": "gpt", "value": "I will not."}]
    }


def test_arguments_stay_an_object_or_a_text(tmp_path: Path) -> None:
    """Hugging Face has objects, OpenAI text; each comes back as it was, key by key and character by character."""
    functions = [{"name": "f", "arguments": {"b": 1, "a": None}}, {"name": "f", "arguments": '{"b":  1, "a": null}'}]
    calls = [{"type": "function", "function": function} for function in functions]
    message = {"role": "assistant", "content": "", "tool_calls": calls, "reasoning_content": "Hm."}
    row = {"messages": [USER, message], "tools": [{"z": 1, "a": 2}], "chat_template_kwargs": {"enable_thinking": False}}
    _, record = talk(tmp_path, *row["messages"], tools=row["tools"], chat_template_kwargs=row["chat_template_kwargs"])
    again = DIALECTS["messages"].write(record)
    assert msgspec.json.decode(msgspec.json.encode(again)) == row
    assert msgspec.json.encode(calls).decode() == record.messages[1].tool_calls
    assert record.extra == '{"chat_template_kwargs":{"enable_thinking":false}}'


def both(found: list[Conversation]) -> "zip[tuple[Message, Message]]":
    return zip(found[0].messages, found[1].messages, strict=True)


def test_calls_and_tools_in_text_are_the_same_as_in_values(tmp_path: Path) -> None:
    """A data set that keeps them as JSON text, so that no table fills them up, says nothing else; texts stay as they are."""
    call = [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]
    found = [
        talk(tmp_path, {**ANSWER, "tool_calls": given}, tools=tools)[1]
        for given, tools in (
            (call, [{"name": "f"}]),
            (json.dumps(call), '[ {"name": "f"} ]'),
        )
    ]
    assert found[1].tools == '[ {"name": "f"} ]'
    for one, other in ((found[0].tools, found[1].tools), *((f.tool_calls, g.tool_calls) for f, g in both(found))):
        assert json.loads(one or "null") == json.loads(other or "null")


# --- LLaMA-Factory v1 ------------------------------------------------------------------------------------------------


def test_parts_are_reasoning_text_and_calls(tmp_path: Path) -> None:
    """In this order; parts in another stay as they are."""
    call = {"type": "tool_call", "value": '{"name": "f", "arguments": {"a": 1}}'}
    text, thought = {"type": "text", "value": "I look."}, {"type": "reasoning", "value": "Hm."}
    usual = {"role": "assistant", "content": [thought, text, call], "loss_weight": 0.5}
    unusual = {"role": "assistant", "content": [text, thought]}
    name, record = talk(tmp_path, usual, unusual)
    assert name == "llamafactory-v1"
    first, second = record.messages
    assert (first.thinking, first.content, first.weight) == ("Hm.", "I look.", 0.5)
    assert json.loads(first.tool_calls or "")[0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert (second.content, json.loads(second.parts or "")) == ("I look.", [text, thought])
    assert msgspec.json.decode(msgspec.json.encode(DIALECTS["llamafactory-v1"].write(record))) == {
        "messages": [usual, unusual]
    }


@pytest.mark.parametrize(
    ("name", "n_records"),
    [("llamafactory_demo/v1_sft_demo.jsonl", 500), ("llamafactory_demo/reason_tool_use_demo_50.jsonl", 50)],
)
def test_real_parts_are_read_whole_and_come_back(shared: Path, name: str, n_records: int) -> None:
    """Every row, and again from what was written: reasoning, text, calls and weights."""
    path = shared / "instruct" / name
    reading = read([str(path)])
    assert (reading.dialect, len(reading.records), reading.left_out) == ("llamafactory-v1", n_records, [])
    again = [DIALECTS["llamafactory-v1"].write(record) for record in reading.records]
    given = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["messages"] for row in again if isinstance(row, dict)] == [row["messages"] for row in given]


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "reason", "near"),
    [
        ({"role": "user", "contents": "Weather?"}, "a message without content", "contents"),
        ({"role": "user", "text": "Weather?"}, "a message without content", "text"),
        ({"role": "user"}, "a message without content", None),
        ({"from": "user", "content": "Weather?"}, "a message without a role", "from"),
    ],
)
def test_a_message_whose_text_stands_elsewhere_is_told(
    message: object, reason: str, near: str | None, tmp_path: Path
) -> None:
    """It is not read as an empty one: the text would be lost, and nobody would know."""
    found = rows(tmp_path, *[{"messages": [USER, ANSWER]}] * 2, {"messages": [message, ANSWER]})
    [one] = found.left_out
    key = "role" if "role" in reason else "content"
    assert (one.reason, one.path, one.near) == (reason, f"messages[0].{key}", near)


def test_calls_reasoning_and_refusals_need_no_content(tmp_path: Path) -> None:
    """They are what the message says."""
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    for said in ({"tool_calls": [call]}, {"refusal": "No."}, {"reasoning_content": "Hm."}, {"content": None}):
        assert not rows(tmp_path, {"messages": [USER, {"role": "assistant", **said}]}).left_out


def test_a_place_inside_a_row_has_the_names_that_the_row_has(tmp_path: Path) -> None:
    """ShareGPT's turns stand in 'conversations', with 'from' and 'value'."""
    good = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    bad = [{"from": "humn", "value": "Hi"}, {"from": "gpt", "value": 5}, {"from": "gpt", "text": "Hello"}]
    found = rows(tmp_path, *[{"conversations": good}] * 4, {"conversations": bad}, {"conversations": []})
    [first, empty] = found.left_out
    assert [one.path for one in (first, *first.further)] == [
        "conversations[0].from",
        "conversations[1].value",
        "conversations[2].value",
    ]
    assert first.further[1].detail == "its other keys: text"
    assert empty.path == "conversations"
