"""The layouts of vendors: Gemini, Bedrock, Anthropic, Cohere, Mistral."""

import json
from pathlib import Path

import pytest

from formtune.dialects import DIALECTS, Columns, read
from formtune.records import Conversation, Message, Origin, Record
from formtune.sources import Row, text_of

WEATHER = '[{"type":"function","function":{"name":"weather","arguments":"{\\"at\\": \\"Bern\\"}"}}]'
TALK = (Message("user", "Hi"), Message("assistant", "Hello"))


def again(name: str, record: Record) -> Conversation:
    """Write a record, and read the row again."""
    piece = json.loads(json.dumps(DIALECTS[name].write(record), default=lambda raw: json.loads(bytes(raw))))
    (found,) = DIALECTS[name].read(Row(piece, Origin("a.jsonl", 1)), Columns())
    assert isinstance(found, Conversation)
    return found


def rows(folder: Path, *found: object) -> list[Record]:
    """Write JSON lines and read them."""
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    reading = read([str(folder / "a.jsonl")])
    assert reading.left_out == []
    return reading.records


# --- Gemini ----------------------------------------------------------------------------------------------------------


def test_answers_of_tools_that_follow_one_another_are_one_content() -> None:
    """Gemini wants the responses to parallel calls side by side; read, each is a message."""
    answers = (Message("tool", "Sun", name="weather"), Message("tool", '{"t":9}', name="heat"))
    record = Conversation(messages=(*TALK, *answers))
    row = DIALECTS["gemini"].write(record)
    assert isinstance(row, dict)
    assert row["contents"][-1]["parts"] == [
        {"functionResponse": {"name": "weather", "response": {"output": "Sun"}}},
        {"functionResponse": {"name": "heat", "response": {"t": 9}}},
    ]
    assert again("gemini", record) == Conversation(messages=record.messages, origin=Origin("a.jsonl", 1))


def test_an_answer_that_only_looks_like_a_response_stays_a_text() -> None:
    """A tool's text that is an object with a lone 'output', or is not compact, comes back byte for byte."""
    for text in ('{"output":"Sun"}', '{"t": 9}', "[1]", "9"):
        assert again("gemini", Conversation(messages=(Message("tool", text, name="f"),))).messages[0].content == text


def test_arguments_for_gemini_keep_their_numbers() -> None:
    """However long; what is no JSON object has no place there."""
    for arguments, is_held in (('{"a":0.1000000000000000055511151231257827}', True), ("[1]", False), ("x", False)):
        call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
        record = Conversation(messages=(Message("assistant", "", tool_calls=json.dumps([call])),))
        row = DIALECTS["gemini"].write(record)
        assert (row is not None) == is_held
        assert row is None or arguments in text_of(row)


def test_the_older_form_of_gemini_is_read(tmp_path: Path) -> None:
    """Its model is called so among the messages."""
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "model", "content": "Hello"}], "n": 1}
    (record,) = rows(tmp_path, row)
    assert isinstance(record, Conversation)
    assert (record.messages, record.extra) == (TALK, '{"n":1}')


def test_a_file_in_a_prompt_to_gemini_comes_back() -> None:
    """What is not text stays a part, in its place."""
    row = {"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": "gs://a"}}, {"text": "What?"}]}]}
    (record,) = DIALECTS["gemini"].read(Row(row, Origin("a.jsonl", 1)), Columns())
    assert isinstance(record, Conversation)
    assert record.messages[0].content == "What?"
    assert DIALECTS["gemini"].write(record) == row


def test_what_stands_beside_calls_and_responses_comes_back() -> None:
    """A signature beside a call, and keys of a system instruction or a response that have no place here, are kept."""
    row = {
        "systemInstruction": {"parts": [{"text": "Be brief."}], "note": 1},
        "contents": [
            {
                "role": "model",
                "parts": [{"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": "x"}],
            },
            {
                "role": "user",
                "parts": [{"functionResponse": {"id": "1", "name": "f", "response": {}, "willContinue": False}}],
            },
        ],
        "generationConfig": {"temperature": 0},
    }
    (record,) = DIALECTS["gemini"].read(Row(row, Origin("a.jsonl", 1)), Columns())
    assert DIALECTS["gemini"].write(record) == row


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            {"role": "user", "parts": [{"executableCode": {}}]},
            "a part that is no text, function call, response or file",
        ),
        ({"role": "judge", "parts": [{"text": "x"}]}, "a content with an unknown role"),
        ({"role": "user"}, "a content without parts"),
        ({"role": "model", "parts": [{"functionCall": {"args": {}}}]}, "a function call without a name"),
        (
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": "x"}}]},
            "a function response without a name and an object 'response'",
        ),
    ],
)
def test_a_content_that_cannot_be_read_is_left_out(tmp_path: Path, content: object, reason: str) -> None:
    """Its row is told, with the reason."""
    good = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (good, good, {"contents": [content]})))
    reading = read([str(tmp_path / "a.jsonl")], dialect="gemini")
    assert [(item.reason, str(item.at)) for item in reading.left_out] == [(reason, f"{tmp_path}/a.jsonl:3")]


def test_functions_are_declared_to_gemini_and_wrapped_for_others() -> None:
    """Bare and wrapped schemas are declared together; a tool that is no function stays as it is."""
    tools = '[{"type":"function","function":{"name":"a"}},{"name":"b"},{"googleSearch":{}}]'
    row = DIALECTS["gemini"].write(Conversation(messages=TALK, tools=tools))
    assert isinstance(row, dict)
    assert row["tools"] == [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}, {"googleSearch": {}}]
    assert again("gemini", Conversation(messages=TALK, tools=tools)).tools == (
        '[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}},{"googleSearch":{}}]'
    )


# --- Bedrock and Anthropic -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bedrock", "anthropic"])
@pytest.mark.parametrize(
    "messages",
    [
        (Message("user", "Hi"),),
        (Message("assistant", "Hello"), Message("user", "Hi")),
        (*TALK, Message("assistant", "More")),
        (*TALK, Message("system", "Be brief."), *TALK),
        (Message("user", "Hi"), Message("assistant", "", tool_calls=WEATHER)),
        (),
    ],
)
def test_bedrock_takes_only_turns(name: str, messages: tuple[Message, ...]) -> None:
    """What its validation refuses is not written: the user begins, the assistant ends, and they alternate."""
    assert DIALECTS[name].write(Conversation(messages=messages)) is None


def test_bedrock_gets_no_other_keys() -> None:
    """A key beside its own makes Bedrock refuse the whole file; reading the row again shows what is gone."""
    said = (Message("user", "Hi", name="Ann"), Message("assistant", "Hello", weight=0.0, extra='{"id":1}'))
    record = Conversation(messages=said, extra='{"id":7}')
    assert DIALECTS["anthropic"].write(record) == {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    }
    assert again("bedrock", record) == Conversation(messages=TALK, origin=Origin("a.jsonl", 1))


def test_messages_without_a_system_text_are_openai_s(tmp_path: Path) -> None:
    """Nothing but the system text tells Anthropic's rows from others; one row with it settles the file."""
    talk = [{"role": message.role, "content": message.content} for message in TALK]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": talk}) + "\n")
    assert read([str(tmp_path / "a.jsonl")]).dialect == "messages"
    first, second = rows(tmp_path, {"messages": talk}, {"messages": talk, "system": "Be brief."})
    assert isinstance(first, Conversation)
    assert isinstance(second, Conversation)
    assert (first.messages, second.messages) == (TALK, (Message("system", "Be brief."), *TALK))


def test_another_version_of_bedrock_is_not_guessed_at(tmp_path: Path) -> None:
    """A row that names another schema is left out, not read as if it were this one."""
    row = {"schemaVersion": "bedrock-conversation-2024", "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    newer = {**row, "schemaVersion": "bedrock-conversation-2031"}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (row, row, newer)))
    reading = read([str(tmp_path / "a.jsonl")])
    assert (reading.dialect, [item.reason for item in reading.left_out]) == (
        "bedrock",
        ["a schemaVersion that is not 'bedrock-conversation-2024'"],
    )


# --- Cohere ----------------------------------------------------------------------------------------------------------


def test_roles_of_cohere_count_without_their_capitals(tmp_path: Path) -> None:
    """Files in lower case are seen too; they are written as Cohere's guide has them."""
    (record,) = rows(
        tmp_path, {"messages": [{"role": "user", "content": "Hi"}, {"role": "chatbot", "content": "Hello"}]}
    )
    assert isinstance(record, Conversation)
    assert record.messages == TALK
    row = DIALECTS["cohere"].write(record)
    assert isinstance(row, dict)
    assert [message["role"] for message in row["messages"]] == ["User", "Chatbot"]


# --- Mistral ---------------------------------------------------------------------------------------------------------


def test_calls_get_ids_that_mistral_takes() -> None:
    """Nine letters and digits, the same for a call and its answer; calls without ids get some."""
    named = WEATHER.replace('{"type"', '{"id":"call_abc123","type"')
    for calls, call_id in ((named, "call_abc123"), (WEATHER, None)):
        said = (Message("assistant", "", tool_calls=calls), Message("tool", "Sun", tool_call_id=call_id))
        record = again("mistral", Conversation(messages=(TALK[0], *said, TALK[1])))
        (call,) = json.loads(record.messages[1].tool_calls or "")
        assert len(call["id"]) == 9
        assert call["id"].isalnum()
        assert call["id"] == record.messages[2].tool_call_id
        assert call["function"]["arguments"] == '{"at": "Bern"}'


def test_ids_of_nine_characters_keep_their_bytes() -> None:
    """What Mistral takes as it is stays as it is."""
    calls = '[{"function": {"arguments": "{}", "name": "f"}, "id": "VvvODy9mT", "type": "function"}]'
    row = DIALECTS["mistral"].write(Conversation(messages=(Message("assistant", "", tool_calls=calls),)))
    assert isinstance(row, dict)
    assert bytes(row["messages"][0]["tool_calls"]).decode() == calls


def test_mistral_has_no_developer(tmp_path: Path) -> None:
    """OpenAI's newer name of the system is not written."""
    row = {"messages": [{"role": "developer", "content": "s"}, {"role": "assistant", "content": "a"}]}
    (record,) = rows(tmp_path, row)
    written = DIALECTS["mistral"].write(record)
    assert isinstance(written, dict)
    assert [message["role"] for message in written["messages"]] == ["system", "assistant"]


@pytest.mark.parametrize(
    "messages",
    [
        (Message("user", "Hi"),),
        (Message("user", "Hi"), Message("assistant", "Hello", weight=0.5)),
        (Message("tool", "Sun"), Message("assistant", "Hello")),
        (Message("system", "a"), Message("system", "b"), *TALK),
    ],
)
def test_what_mistral_refuses_is_not_written(messages: tuple[Message, ...]) -> None:
    """The assistant ends, weights are 0 or 1, an answer follows a call, and there is one system text."""
    assert DIALECTS["mistral"].write(Conversation(messages=messages)) is None


def test_calls_with_other_ids_are_not_mistral_s(tmp_path: Path) -> None:
    """OpenAI's ids are longer."""
    calls = json.loads(WEATHER.replace('{"type"', '{"id":"call_abc123","type"'))
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "", "tool_calls": calls}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    assert read([str(tmp_path / "a.jsonl")]).dialect == "messages"


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gemini", "bedrock", "anthropic", "cohere", "mistral"])
def test_a_vendor_s_row_says_what_the_record_says(name: str, shared: Path) -> None:
    """Real conversations come back with their roles and texts, or are not written: in one the assistant speaks first."""
    files = ("dialects_misc/openai_toy_chat_fine_tuning.jsonl", "dolly_3k_messages/valid.jsonl")
    reading = read([str(shared / "instruct" / file) for file in files])
    n_written = 0
    for record in reading.records:
        assert isinstance(record, Conversation)
        if DIALECTS[name].write(record) is not None:
            n_written += 1
            found = [(message.role, message.content) for message in again(name, record).messages]
            assert found == [(message.role, message.content) for message in record.messages]
    assert n_written == len(reading.records) - (name in ("bedrock", "anthropic"))
