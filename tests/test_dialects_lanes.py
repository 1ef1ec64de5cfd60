"""The fast lane: it gives what the general way gives, for rows of every form."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formtune.dialects.columns import Columns
from formtune.dialects.lanes import Item, lane_for
from formtune.dialects.streaming import Plan, plan, records_of
from formtune.errors import DataError
from formtune.records import Conversation, Labelled, LeftOut, Message, Origin
from formtune.sources import LineReader, Slice

TALK = [{"role": "system", "content": "s"}, {"role": "user", "content": "q: r"}, {"role": "assistant", "content": "a"}]
TURNS = [{"from": "human", "value": "q"}, {"from": "gpt", "value": 'a ": b'}]
PLAIN: dict[str, dict[str, object]] = {
    "messages": {"messages": TALK},
    "messages, with others": {"id": 7, "messages": TALK, "source": "x: y", "n": 0.5},
    "sharegpt": {"conversations": TURNS, "id": "x"},
    "sharegpt, with system": {"id": "x", "system": "s", "conversations": TURNS, "n": None, "ok": True},
    "alpaca": {"instruction": "do", "input": "this", "output": "done"},
    "alpaca, with all": {
        "instruction": "do",
        "context": "x",
        "response": "y",
        "system": "s",
        "history": [["a", "b"]],
        "k": 1,
    },
    "prompt-completion": {"prompt": "a", "completion": "b"},
    "trl-prompt-completion": {"id": 1, "prompt": TALK, "completion": TALK[2:], "tags": "x"},
    "query-response": {"query": "a", "response": "b", "history": [["c", "d"]]},
    "prompt-response": {"prompt": "a", "response": "b", "system": "s"},
    "labelled": {"text": "a b", "label": "x"},
    "labelled, with others": {"id": 1, "title": "a", "text": "b", "label": "x", "note": None},
    "labelled, of pairs": {"premise": "a", "hypothesis": "b", "gold_label": "-"},
    "labelled, by numbers": {"label": 1, "sentence": "a"},
    "labelled, by other numbers": {"idx": 1, "class": True, "sentence": "a", "note": None},
    "open-orca": {"id": "1", "system_prompt": "s", "question": "q", "response": "r"},
}


class Pairs(list[tuple[str, object]]):
    """The keys and values of an object, of which one may stand twice."""


def pairs(value: object) -> object:
    if isinstance(value, dict):
        return Pairs((key, pairs(part)) for key, part in value.items())
    return [pairs(part) for part in value] if isinstance(value, list) else value


def lists_in(value: object) -> list[list[object]]:
    """Give a value's objects and lists, so that they can be changed."""
    if not isinstance(value, list):
        return []
    inside = [part for _, part in value] if isinstance(value, Pairs) else value
    return [value, *(found for part in inside for found in lists_in(part))]


def written(value: object, spaces: str, *, is_ascii: bool) -> str:
    """Write JSON text, with white space around each colon and comma."""
    if isinstance(value, Pairs):
        inside = (
            f"{written(key, '', is_ascii=is_ascii)}{spaces}:{spaces}{written(part, spaces, is_ascii=is_ascii)}"
            for key, part in value
        )
        return f"{{{f'{spaces},{spaces}'.join(inside)}}}"
    if isinstance(value, list):
        return f"[{','.join(written(part, spaces, is_ascii=is_ascii) for part in value)}]"
    return json.dumps(value, ensure_ascii=is_ascii).replace("§", "\\u003a").replace("\\u00a7", "\\u003a")


texts = st.text('ab:§" \\\n\té{}[],', max_size=6) | st.sampled_from(
    ["", " ", "a : b", '"role":', "user", "human", "\\"]
)
values = st.none() | st.integers(-2, 10**20) | st.booleans() | st.floats(allow_nan=False) | texts
values |= st.lists(values, max_size=2) | st.dictionaries(st.sampled_from(["a", "role"]), values, max_size=2)
keys = st.sampled_from(
    ["id", "role", "content", "from", "value", "name", "weight", "tools", "system", "history", "messages", "é", ""]
)


@st.composite
def rows(draw: st.DrawFn, plain: dict[str, object]) -> bytes:
    """A row of the form, with up to three changes of any kind."""
    row = pairs(plain)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(lists_in(row)))
        if not place or draw(st.booleans()):
            one: object = draw(values.map(pairs))
            if isinstance(place, Pairs):
                again = (
                    draw(st.sampled_from([key for key, _ in place])) if place and draw(st.booleans()) else draw(keys)
                )
                one = (again, one)
            place.insert(draw(st.integers(0, len(place))), one)
            continue
        at = draw(st.integers(0, len(place) - 1))
        if draw(st.booleans()):
            place.append(place.pop(at))  # in another order
        elif isinstance(place, Pairs):
            place[at] = (place[at][0], draw(texts))
        else:
            del place[at]
    line = written(row, draw(st.sampled_from(["", " ", "\t "])), is_ascii=draw(st.booleans())).encode()
    cut = draw(st.integers(0, len(line) * 3))
    return line if cut >= len(line) else draw(st.sampled_from([line, line[:cut], line + b"\r", line[:cut] + b"\xff"]))


def planned(path: Path, plain: dict[str, object], lines: list[bytes]) -> Plan:
    """Plan as for a file of plain rows, and let other rows stand in it."""
    path.write_bytes(b"".join(json.dumps(plain).encode() + b"\n" for _ in range(3)))
    found = plan([str(path)])
    assert found.has_lane
    # Other lines that are not ASCII, so that a faulty one is not taken for a sign of another encoding.
    # The first line stays plain: a cut one may say that the file is one document.
    path.write_bytes(b"\n".join([json.dumps(plain).encode(), *lines, *['"é"'.encode()] * 80]))
    return replace(found, slices=(Slice(str(path), 0, path.stat().st_size, 1),))


def items(plan: Plan) -> list[Item]:
    return [item for part in plan.slices for batch in records_of(plan, part) for item in batch]


def test_a_number_is_kept_where_a_text_has_the_name_of_labels(tmp_path: Path) -> None:
    """As in the general way: only another column beside would stand in its place."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"label": "some words", "class": 1}\n' * 3, encoding="utf-8")
    found = plan([str(path)], columns=Columns(text="label", label="class"))

    assert found.has_lane
    assert items(found) == items(replace(found, keys=()))
    assert {item.extra for item in items(found) if isinstance(item, Labelled)} == {'{"label":1}'}


@pytest.mark.parametrize("name", PLAIN)
def test_the_lane_gives_what_the_general_way_gives(name: str, tmp_path: Path) -> None:
    """Records, and what is left out: whatever keys, values, roles, escapes and white space a row has."""

    @given(st.lists(rows(PLAIN[name]), max_size=5))
    def law(lines: list[bytes]) -> None:
        plan = planned(tmp_path / "a.jsonl", PLAIN[name], lines)
        assert items(plan) == items(replace(plan, keys=()))

    law()


@pytest.mark.parametrize("name", PLAIN)
def test_elements_of_an_array_have_the_same_lane(name: str, tmp_path: Path) -> None:
    """With the same errors, where the file is refused."""

    @settings(max_examples=50)
    @given(st.lists(rows(PLAIN[name]), max_size=5))
    def law(lines: list[bytes]) -> None:
        plan = replace(planned(tmp_path / "a.jsonl", PLAIN[name], []), slices=(Slice(f"{tmp_path}/a.json"),))
        elements = b" ,\n".join([json.dumps(PLAIN[name], indent=1).encode(), *lines])
        (tmp_path / "a.json").write_bytes(b"[" + elements + b"]")
        assert outcome(plan) == outcome(replace(plan, keys=()))

    law()


def outcome(plan: Plan) -> list[Item] | str:
    try:
        return items(plan)
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("separators", [None, (",", ":")])
def test_a_plain_row_is_read_in_the_lane(
    name: str, separators: tuple[str, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the general way is asked, and the record is right."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(PLAIN[name], separators=separators) + "\n")
    plan_of_it = plan([str(path)])
    expected = items(replace(plan_of_it, keys=()))
    monkeypatch.setattr(LineReader, "rows", refuse)
    assert items(plan_of_it) == expected
    assert not isinstance(expected[0], LeftOut)


def refuse(_reader: LineReader, line: bytes, number: int) -> list[Item]:
    raise AssertionError((line, number))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"messages":[{"role":"user","content":"a","content":"b"}]}', True),
        (b'{"messages":[{"role":"user","content":"a","content" :"b"}]}', True),
        (b'{"messages":[{"role" :"user","content":"a\\":"}]}', False),
        (b'{"messages":[{"role":"user","content":"a : b"}]}', True),
        (b'{"messages":[{"role":"user","content":"\\u0022: b"}]}', False),
        (b'{"messages":[{"role":"user","cont\\u0065nt":"a"}]}', False),
        (b'{"messages":[{"role":"user","content":"\\\\"}]}', False),
    ],
)
def test_keys_are_counted_by_their_colons(line: bytes, told: bool) -> None:
    """What might be a key that stands twice is read in the general way, and nothing else is for its colons."""
    lane = lane_for("messages", Columns(), ["messages"], group=None)
    assert lane is not None
    asked: list[bytes] = []

    def general(place: int) -> list[Item]:
        asked.append([line][place])
        return []

    read = lane.records([line], [4], path="a.jsonl", general=general)
    assert asked == ([line] if told else [])
    assert [item.origin for item in read] == ([] if told else [Origin("a.jsonl", 4)])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("dialect", "found"),
    [
        ("squad", ["question", "context", "answers"]),  # no lane
        ("messages", ["text"]),  # not its keys
        ("messages", ["messages", "tools"]),  # more than is kept aside
        ("messages", ["messages", "conversation"]),
        ("messages", ["messages", 'a"b']),
        ("alpaca", ["instruction", "output", ""]),
    ],
)
def test_there_is_no_lane_for_keys_that_may_mean_more(dialect: str, found: list[str]) -> None:
    """Such files are read in the general way altogether."""
    assert lane_for(dialect, Columns(target="output"), found, group=None) is None


def test_a_group_is_read_from_a_column_that_is_kept_aside(tmp_path: Path) -> None:
    """And from no other; an empty one is no group."""
    rows = [{"messages": TALK, "thread": thread} for thread in ("a", "", None, 7)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = plan([str(path)], columns=Columns(group="Thread"))
    assert found.has_lane
    assert [item.group for item in items(found)] == ["a", None, None, "7"]  # type: ignore[union-attr]
    assert items(found) == items(replace(found, keys=()))
    assert lane_for("messages", Columns(group="messages"), ["messages"], group="messages") is None


def test_the_order_of_keys_that_are_kept_aside_stays(tmp_path: Path) -> None:
    """As the row has it, whatever the others have."""
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"a":1,"messages":[{"role":"user","content":"x"}],"b":2}\n' * 3
        + '{"b":1,"messages":[{"role":"user","content":"x"}],"a":2}\n'
    )
    assert [item.extra for item in items(plan([str(path)]))] == ['{"a":1,"b":2}'] * 3 + ['{"b":1,"a":2}']  # type: ignore[union-attr]


def test_what_the_assistant_says_in_a_prompt_is_not_learned(tmp_path: Path) -> None:
    """In the lane as well."""
    path = tmp_path / "a.jsonl"
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    path.write_text(json.dumps({"prompt": said, "completion": said[1:]}) + "\n")
    (record,) = items(plan([str(path)]))
    assert isinstance(record, Conversation)
    assert record.messages == (Message("user", "a"), Message("assistant", "b", 0.0), Message("assistant", "b"))
