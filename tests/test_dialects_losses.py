"""What a dialect of conversations has no place for is left away or the record is refused: nothing turns into another thing."""

from collections.abc import Iterator, Sequence

import msgspec
import pytest
from conversation_samples import FILES, MORE, words
from hypothesis import given
from hypothesis import strategies as st

from formtune.dialects import DIALECTS, Columns
from formtune.records import Conversation, LeftOut, Message, Origin, Record, Span
from formtune.sources import Row

CONVERSATIONS = sorted({*FILES, "messages", "alpaca", "prompt-completion", "trl-prompt-completion"})

weights = st.sampled_from([None, 0.0, 0.25, 1.0])
# Keys that some dialect has a use for, and names of roles.
aside = st.none() | st.dictionaries(
    st.sampled_from(["from", "value", "label", "note", "function_call", "eot", "output", "observation", "name"]),
    words | st.none() | st.just({"name": "f"}),
    min_size=1,
).map(
    lambda value: msgspec.json.encode({key: one for key, one in value.items() if key != "name" or one is None}).decode()
)
names = st.sampled_from(["gpt", "tool_call", "function_call", "human", "Commands", "developer", "ipython", "tool"])
extras = aside | names.map(lambda name: msgspec.json.encode({"role": name}).decode())
arguments = st.sampled_from(['{"a": 1}', "", "no JSON", '"text"', "7", "{}"]) | st.just({"a": [1.5, None]})
calls = st.fixed_dictionaries(
    {
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": words}, optional={"arguments": arguments}),
    },
    optional={"id": words},
)
tool_calls = st.none() | st.lists(calls, min_size=1, max_size=2).map(lambda found: msgspec.json.encode(found).decode())
spans = st.sampled_from(
    [(), (Span(0, 1, 0.0),), (Span(0, 1, 0.5), Span(1, 2, 1.0)), (Span(0, 1, 1.0), Span(2, 3, 0.0))]
)
parts = st.sampled_from(
    [None, None, None, '[{"type":"text","text":"abc"},{"type":"image"}]', '[{"type":"reasoning","value":"x"}]']
)
row_extras = st.sampled_from(
    [
        None,
        '{"system":"x"}',
        '{"tools":[1],"functions":[1]}',
        '{"history":[["a","b"]]}',
        '{"mask":"Assistant","kind":"k"}',
    ]
)


@st.composite
def messages(draw: st.DrawFn, role: str) -> Message:
    """A message that uses all that a message has."""
    plain = Message(role, draw(st.sampled_from(["", "abc", "a\nb", "None", " x "])))
    if draw(st.booleans()):
        return plain
    shown = draw(parts)
    return Message(
        role,
        "abc" if shown is None else "abc" * ("abc" in shown),
        weight=draw(weights),
        name=draw(st.none() | words),
        tool_calls=draw(tool_calls) if role == "assistant" else None,
        tool_call_id=draw(st.none() | words),
        thinking=draw(st.sampled_from([None, None, "", "hm"])),
        spans=draw(spans) if shown is None else (),
        parts=shown,
        extra=draw(extras),
    )


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Messages in turn or in any order."""
    in_turn = ["user", "assistant", "user", "assistant"][: draw(st.integers(1, 4))]
    any_order = st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, max_size=5)
    roles = draw(st.sampled_from([in_turn, ["system", *in_turn]]) | any_order)
    said = tuple(draw(messages(role)) for role in roles)
    return Conversation(
        messages=said, tools=draw(st.sampled_from([None, None, '[{"type":"function"}]'])), extra=draw(row_extras)
    )


OTHERS: dict[str, list[dict[str, object]]] = {
    "alpaca": [{"instruction": "a", "input": "", "output": "b", "system": "s", "history": [["c", "d"]], "id": 1}],
    "prompt-completion": [{"prompt": "a", "completion": "b", "tools": [{"name": "f"}], "id": 1}],
    "trl-prompt-completion": [
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}], "id": 1}
    ],
    "messages": [{"messages": [{"role": "user", "content": "a"}, {"role": "developer", "content": "b", "weight": 0}]}],
}


def written_and_read(name: str, record: Record) -> list[Record] | None:
    """Write a record and read the row by way of JSON text; None where it is refused."""
    piece = DIALECTS[name].write(record)
    if piece is None:
        return None
    row = Row(msgspec.json.decode(msgspec.json.encode(piece)), Origin("a.jsonl", 1))
    evidence = DIALECTS[name].recognize([row], Columns())
    assert evidence is not None
    return list(DIALECTS[name].read(row, evidence.columns))


def is_less(found: str | None, given_: str | None) -> bool:
    """Say whether an extra holds nothing but what another holds."""
    left, right = (msgspec.json.decode(text) if text else {} for text in (found, given_))
    return (
        left.items() <= right.items()
        if all(map(is_flat, (left, right)))
        else all(right.get(k) == v for k, v in left.items())
    )


def is_flat(value: dict[str, object]) -> bool:
    return all(isinstance(one, str | int | None) for one in value.values())


def functions(text: str | None) -> list[object]:
    """Give what is called, arguments as values, without ids."""
    found = [call["function"] for call in msgspec.json.decode(text or "[]")]
    return [{key: as_value(one) if key == "arguments" else one for key, one in call.items()} for call in found]


def as_value(arguments_: object) -> object:
    try:
        return msgspec.json.decode(arguments_) if isinstance(arguments_, str) else arguments_
    except msgspec.DecodeError:
        return arguments_


def check(found: Message, message: Message) -> None:
    """Check that a message of the same text says the same, and that what else it has is what it had, or is gone."""
    assert (found.thinking or "", found.parts) == (message.thinking or "", message.parts)
    assert functions(found.tool_calls) == functions(message.tool_calls)
    assert found.weight in (message.weight, None)
    assert found.name in (message.name, None)
    assert found.tool_call_id in (message.tool_call_id, None)
    assert set(found.spans) <= set(message.spans)
    assert is_less(found.extra, message.extra)


def shorter(said: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Give what may be left of messages: all, or those with text, since an empty one may be none, or yet to be given."""
    for roles in ((), ("system",), ("system", "user")):
        kept = [one for one in said if one.content or one.role not in roles]
        yield kept
        if kept and kept[-1].role == "assistant" and not kept[-1].content:
            yield kept[:-1]


def told(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_what_has_no_place_is_left_away_not_changed(name: str) -> None:
    """Every message that is read again says what was written; weights, names, ids and unknown keys are the same or gone."""

    @given(conversations())
    def law(record: Conversation) -> None:
        again = written_and_read(name, record)
        if again is None:
            return
        [found] = again
        assert isinstance(found, Conversation)
        said = next(kept for kept in shorter(record.messages) if told(kept) == told(found.messages))
        for one, other in zip(found.messages, said, strict=True):
            check(one, other)
        assert found.tools == record.tools
        assert is_less(found.extra, record.extra)

    law()


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_row_that_was_read_and_written_is_read_the_same(name: str) -> None:
    """Every row of the examples: nothing of it is lost on the way through a record."""
    for place, value in enumerate(example_rows(name)):
        row = Row(value, Origin("a.jsonl", place))
        evidence = DIALECTS[name].recognize([row], Columns())
        assert evidence is not None
        for record in DIALECTS[name].read(row, evidence.columns):
            assert not isinstance(record, LeftOut)
            [again] = written_and_read(name, record) or []
            assert bare(again) == bare(record)


def bare(record: Record) -> Record:
    return msgspec.structs.replace(record, origin=None)


def example_rows(name: str) -> list[dict[str, object]]:
    """Give the rows of a dialect's example, and of its other layouts."""
    found: list[dict[str, object]] = [value for value in MORE.get(name, []) if isinstance(value, dict)]
    for file, content in FILES.get(name, {}).items():
        lines = content.splitlines() if file.endswith(".jsonl") else []
        found += [msgspec.json.decode(line) for line in lines] or msgspec.json.decode(content)
    return found or OTHERS[name]
