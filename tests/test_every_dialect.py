"""What holds for every dialect: one test body, all of them."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import conversation_samples
import dialect_samples
import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from formtune.dialects import DIALECTS, Columns, Dialect, read, write
from formtune.dialects.tool_answers import with_names
from formtune.errors import FormtuneError
from formtune.inspection import inspect
from formtune.records import Conversation, Labelled, Message, Origin, Pair, Plain, Question, Record
from formtune.sources import Row

FILES: dict[str, dict[str, str]] = {
    "labelled": {"reviews.csv": 'text,label,film\n"Great, loud fun.",good,Alien\nDull.,bad,Alien 3\nUnseen.,,Alien\n'},
    "labelled-lines": {
        "questions.txt": "NUM:dist How far is it ?\nLOC:city What city is it ?\nNUM:date When was it ?\n"
    },
    "pairs": {
        "notes.jsonl": '{"dialogue": "A: Hi.\\nB: Bye.", "summary1": "They meet.", "summary2": "A greets B.", "id": 7}\n'
    },
    "aligned": {
        "train.en": "Dogs run.\nCats sleep.\n",
        "train.de": "Hunde laufen.\nKatzen schlafen.\n",
    },
    "squad": {
        "squad.json": """{"version": "v2.0", "data": [{"title": "Normans", "paragraphs": [{
  "context": "The Normans gave their name to Normandy.",
  "qas": [
    {"id": "q1", "question": "What was named after them?", "is_impossible": false,
     "answers": [{"text": "Normandy", "answer_start": 31}]},
    {"id": "q2", "question": "Who was king?", "answers": [], "is_impossible": true}
  ]}]}]}
"""
    },
    "multiple-choice": {
        "csqa.jsonl": '{"answerKey": "B", "id": "x1", "question": {"question_concept": "bank", "choices": [{"label": "A",'
        ' "text": "river"}, {"label": "B", "text": "money"}], "stem": "What is kept in a bank?"}}\n'
    },
    "question-answer": {"gsm8k.jsonl": '{"question": "2 + 2?", "answer": "It is 4.\\n#### 4"}\n'},
    "alpaca": {
        "alpaca.json": '[\n{"instruction": "Translate.", "input": "Hund", "output": "dog",\n "history": [["Hi", "Hello"]],'
        ' "system": "Be brief."}\n]\n'
    },
    "prompt-completion": {"pc.jsonl": '{"prompt": "Who sang?", "completion": "She did."}\n'},
    "trl-prompt-completion": {
        "trl.jsonl": '{"prompt": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},'
        ' {"role": "user", "content": "Bye"}], "completion": [{"role": "assistant", "content": "See you"}]}\n'
    },
    "messages": {
        "chat.jsonl": '{"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Weather?"},'
        ' {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function":'
        ' {"name": "weather", "arguments": "{\\"at\\": \\"Bern\\"}"}}]}, {"role": "tool", "content": "Sun", "tool_call_id":'
        ' "1"}, {"role": "assistant", "content": "Sunny.", "weight": 1}], "tools": [{"type": "function"}]}\n'
    },
    **dialect_samples.FILES,
    "plain": {"play.txt": "First:\nBefore we\nproceed.\n\nAll:\nSpeak.\n"},
    **conversation_samples.FILES,
}

words = st.text(min_size=1, max_size=20).filter(str.strip)
lines = words.filter(lambda text: not re.search(r"[\r\n]", text))
labels = words.map(str.strip).filter(lambda label: label != "-1")
extras = st.none() | st.dictionaries(
    st.sampled_from(["idx", "note", "meta"]), st.integers(-99, 99) | words | st.booleans() | st.lists(words), min_size=1
).map(lambda value: msgspec.json.encode(value).decode())
json_texts = st.lists(st.fixed_dictionaries({"name": words}), min_size=1, max_size=2).map(
    lambda value: msgspec.json.encode(value).decode()
)
weights = st.sampled_from([None, 0.0, 1.0])


messages = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.text(max_size=9),
    weight=weights,
    name=st.none() | words,
    tool_calls=st.none() | json_texts,
    tool_call_id=st.none() | words,
    thinking=st.none() | st.text(max_size=9),
)


@st.composite
def dialogues(draw: st.DrawFn) -> Conversation:
    """A system text or none, then user and assistant in turn."""
    n_turns = draw(st.integers(1, 6))
    roles = (("user", "assistant")[place % 2] for place in range(n_turns))
    said = [Message(role, draw(words)) for role in roles]
    system = [Message("system", draw(words))] if draw(st.booleans()) else []
    return Conversation(messages=(*system, *said), extra=draw(extras))


@st.composite
def choices(draw: st.DrawFn) -> Question:
    """A question with choices, answered by one of them or not at all."""
    texts = tuple(draw(st.lists(words, min_size=2, max_size=5, unique=True)))
    answers = draw(st.sampled_from([(), *((text,) for text in texts)]))
    return Question(
        question=draw(words), context=draw(st.none() | words), choices=texts, answers=answers, extra=draw(extras)
    )


@st.composite
def spans(draw: st.DrawFn) -> Question:
    """A question over a context, with or without answers that say where they start."""
    answers = draw(st.lists(words, max_size=3))
    starts = draw(st.lists(st.integers(0, 99), min_size=len(answers), max_size=len(answers)))
    return Question(
        question=draw(words),
        context=draw(words),
        answers=tuple(answers),
        starts=tuple(starts),
        answerable=True if answers else draw(st.booleans()),
        extra=msgspec.json.encode({"title": draw(words), "id": draw(words), "idx": 1}).decode(),
    )


inputs = st.fixed_dictionaries({"premise": words, "hypothesis": words})
HELD: dict[str, st.SearchStrategy[Record]] = {
    "labelled": st.builds(
        Labelled, inputs=inputs, labels=st.lists(labels, max_size=2, unique=True).map(tuple), extra=extras
    ),
    "labelled-lines": st.builds(
        Labelled,
        inputs=st.fixed_dictionaries({"text": lines.map(str.strip)}),
        labels=st.sampled_from([("NUM",), ("a", "b")]),
    ),
    "pairs": st.builds(
        Pair,
        source=words,
        targets=st.lists(words, max_size=3).map(tuple),
        source_language=st.none() | st.just("en"),
        target_language=st.none() | st.just("de"),
        extra=extras,
    ),
    "aligned": st.builds(Pair, source=lines, targets=st.lists(lines, min_size=1, max_size=3).map(tuple)),
    "squad": spans(),
    "multiple-choice": choices(),
    "question-answer": st.builds(
        Question,
        question=words,
        context=st.none() | words,
        answers=st.lists(words, max_size=3).map(tuple),
        extra=extras,
    ),
    "alpaca": dialogues(),
    "prompt-completion": st.builds(
        Conversation,
        messages=st.tuples(st.builds(Message, st.just("user"), words), st.builds(Message, st.just("assistant"), words)),
        tools=st.none() | json_texts,
        extra=extras,
    ),
    "trl-prompt-completion": st.builds(
        Conversation,
        messages=st.tuples(st.builds(Message, st.just("user"), words), st.builds(Message, st.just("assistant"), words)),
        tools=st.none() | json_texts,
        extra=extras,
    ),
    "messages": st.builds(
        Conversation,
        messages=st.lists(messages, min_size=1, max_size=5).map(tuple),
        tools=st.none() | json_texts,
        extra=extras,
    ),
    **dialect_samples.HELD,
    "plain": st.builds(Plain, text=words, extra=extras),
    **conversation_samples.HELD,
}


NAMING = {"gemini", "openai-functions"}  # name the function in every answer


def bare(record: Record) -> Record:
    """What a record says, without where it stands."""
    return msgspec.structs.replace(record, id="", origin=None, group=None)


def named(record: Record) -> Record:
    """A conversation in which answers of tools have the names of the functions that were called, where that is sure."""
    if not isinstance(record, Conversation):
        return record
    return msgspec.structs.replace(record, messages=tuple(with_names(record.messages)))


def reread(dialect: Dialect, pieces: Sequence[object]) -> list[Record]:
    """Read what was written, by way of JSON text."""
    decoded = [msgspec.json.decode(msgspec.json.encode(piece)) for piece in pieces]
    rows = [Row(value, Origin("a.jsonl", line)) for line, value in enumerate(decoded, 1)]
    evidence = dialect.recognize(rows, Columns())
    assert evidence is not None
    return [record for row in rows for record in dialect.read(row, evidence.columns)]


def test_every_dialect_has_an_example_and_a_law() -> None:
    """A new dialect is tested as the others are."""
    assert set(FILES) == set(HELD) == set(DIALECTS)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_says_what_it_is(name: str) -> None:
    """Its name is its key; what it is and what it needs can be told in a line."""
    dialect = DIALECTS[name]
    assert name == dialect.NAME
    assert dialect.SUMMARY.endswith(".")
    assert dialect.NEEDS
    assert all(name == "_".join(name.casefold().split()) for name in dialect.NAMES)


@pytest.mark.parametrize("name", DIALECTS)
def test_what_was_written_is_read_the_same(name: str) -> None:
    """Reading undoes writing, for every record that the dialect can hold; but for names that some need and are given."""
    given_names = named if name in NAMING else bare

    @given(st.lists(HELD[name], min_size=1, max_size=4))
    def law(records: list[Record]) -> None:
        pieces = [DIALECTS[name].write(record) for record in records]
        kept = [given_names(bare(record)) for record, piece in zip(records, pieces, strict=True) if piece is not None]
        assume(kept)
        assert [bare(record) for record in reread(DIALECTS[name], [p for p in pieces if p is not None])] == kept

    law()


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - {"labelled-lines", "aligned"}))
def test_a_dialect_writes_all_that_it_holds(name: str) -> None:
    """Nothing that a dialect has a place for is refused. (Lines cannot hold line breaks.)"""

    @given(HELD[name])
    def law(record: Record) -> None:
        assert DIALECTS[name].write(record) is not None

    law()


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - {"plain"}))
def test_what_a_dialect_writes_is_taken_for_no_other(name: str) -> None:
    """Its own evidence is the strongest, or that of a dialect which reads the same: messages without a mark are messages.

    (A text beside other columns is plain only where that is asked for.)
    """

    @settings(max_examples=30)
    @given(st.lists(HELD[name], min_size=1, max_size=3))
    def law(records: list[Record]) -> None:
        pieces = [piece for record in records if (piece := DIALECTS[name].write(record)) is not None]
        assume(pieces)
        decoded = [msgspec.json.decode(msgspec.json.encode(piece)) for piece in pieces]
        rows = [Row(value, Origin("a.jsonl", line)) for line, value in enumerate(decoded, 1)]
        found = {other: module.recognize(rows, Columns()) for other, module in DIALECTS.items()}
        scores = {other: evidence.score for other, evidence in found.items() if evidence is not None}
        best = max(scores, key=lambda other: scores[other])
        assert best == name or [bare(one) for one in reread(DIALECTS[best], pieces)] == [
            bare(one) for one in reread(DIALECTS[name], pieces)
        ]

    law()


@pytest.mark.parametrize("name", DIALECTS)
def test_an_example_is_recognized_and_read(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    """A file of the dialect is told from all the others; what is read of it is shown in full."""
    for file, content in FILES[name].items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    reading = read([str(tmp_path / file) for file in FILES[name]])
    assert (reading.dialect, reading.left_out) == (name, [])
    shown = "".join(f"--- {file}\n{content}" for file, content in FILES[name].items())
    records = b"\n".join(msgspec.json.encode(record, order="deterministic") for record in reading.records).decode()
    golden(f"dialects/{name}.txt", f"{shown}--- {reading.evidence}\n{records}\n".replace(f"{tmp_path}/", ""))


@pytest.mark.parametrize("name", DIALECTS)
def test_a_written_file_is_read_the_same(name: str, tmp_path: Path) -> None:
    """The example comes back from a file of the dialect, packed or not."""
    for file, content in FILES[name].items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    records = read([str(tmp_path / file) for file in FILES[name]]).records
    ending = {
        "labelled-lines": ".txt.gz",
        "aligned": "",
        "squad": ".json",
        "alpaca": ".json.zst",
        "natural-instructions": ".json",
        "lmflow": ".json",
    }.get(name, ".jsonl.bz2")
    out = tmp_path / f"again{ending}"
    assert write(records, name, str(out)) == []
    found = read(sorted(map(str, tmp_path.glob("again*")), reverse=name == "aligned"), dialect=name)
    assert [bare(record) for record in found.records] == [bare(record) for record in records]


@pytest.mark.parametrize("name", DIALECTS)
def test_a_record_of_another_kind_is_left_out_when_written(name: str, tmp_path: Path) -> None:
    """What a dialect has no place for is told, not lost."""
    stranger = Question(question="?", context=None, answers=("x",), starts=(0,), id="q", origin=Origin("a.json", 3))
    left_out = write([stranger], name, str(tmp_path / "a.jsonl"))
    assert [(item.reason, str(item.at), item.id) for item in left_out] == [
        (f"cannot be written as {name}", "a.json:3", "q")
    ]


# Layouts that the files above do not show.
MORE: dict[str, list[object]] = {
    "labelled": [{"text": "a b", "label": "x"}, {"text": "c d", "label": ["y"]}],
    "pairs": [{"translation": {"en": "a b", "de": "c d"}}, {"translation": {"en": "e", "de": "f"}}],
    "squad": [{"question": "q?", "context": "a b", "answers": {"text": ["a"], "answer_start": [0]}}] * 2,
    "multiple-choice": [
        {"question": "q?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answer": "B"},
        {"question": "q?", "choices": [{"text": "x"}, {"text": "y"}], "answer": 0},
    ],
    "question-answer": [
        {"question": "q?", "answer": ["a"], "context": "c"},
        {"question": "r?", "answer": "b"},
        {"article": "c", "unanswerable_question": "s?"},
    ],
    "alpaca": [{"instruction": "do", "instances": [{"input": "x", "output": "y"}]}] * 2,
    **conversation_samples.MORE,
    **dialect_samples.MORE,
}


@pytest.mark.parametrize("name", sorted(set(MORE) - {"squad"}))
def test_other_layouts_are_recognized_and_come_back(name: str, tmp_path: Path) -> None:
    """They are read too; written, they have the dialect's own layout, and say the same. (SQuAD's need ids there.)"""
    (tmp_path / "a.json").write_bytes(msgspec.json.encode(MORE[name]))
    reading = read([str(tmp_path / "a.json")])
    assert (reading.dialect, reading.left_out) == (name, [])
    pieces: list[object] = [DIALECTS[name].write(record) for record in reading.records]
    assert [bare(record) for record in reread(DIALECTS[name], pieces)] == [bare(record) for record in reading.records]


junk = st.sampled_from(
    [None, 0, 1, -1, 3.5, True, "", "x", "NaN", "\0", [], {}, ["a"], [1], [None], [[]], {"a": 1}, [{"a": 1}], 10**25]
)


def places(value: object, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """List the ways down to every value inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, part in inside for found in places(part, (*place, key)))]


def with_junk(value: object, place: tuple[str | int, ...], new: object) -> object:
    """Put something else in one place of a value."""
    if not place:
        return new
    first, *rest = place
    if isinstance(value, dict):
        return {key: with_junk(part, tuple(rest), new) if key == first else part for key, part in value.items()}
    assert isinstance(value, list)
    return [with_junk(part, tuple(rest), new) if key == first else part for key, part in enumerate(value)]


def whole(name: str) -> list[list[object]]:
    """Give what the example of a dialect holds as JSON values, and its other layouts."""
    found = [MORE[name]] if name in MORE else []
    for file, content in FILES[name].items():
        if file.endswith(".jsonl"):
            found.append([msgspec.json.decode(line) for line in content.splitlines()])
        elif file.endswith(".json"):
            value = msgspec.json.decode(content)
            found.append(value if isinstance(value, list) else [value])
    return found


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - {"labelled-lines", "aligned", "plain"}))
@pytest.mark.parametrize("named", [True, False])
def test_junk_in_a_field_is_left_out_or_refused(name: str, tmp_path: Path, named: bool) -> None:
    """Whatever stands where a text, a number, a list or an object should: never a traceback."""
    path = tmp_path / "a.json"

    @settings(max_examples=60)
    @given(st.data())
    def law(data: st.DataObject) -> None:
        value: object = data.draw(st.sampled_from(whole(name)))
        for _ in range(data.draw(st.integers(1, 2))):
            value = with_junk(value, data.draw(st.sampled_from(places(value))), data.draw(junk))
        path.write_bytes(msgspec.json.encode(value))
        with suppress(FormtuneError):
            inspect(read([str(path)], dialect=name if named else None))

    law()
