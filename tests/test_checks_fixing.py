"""What is put right without a guess: what stays says the same, and a second look finds nothing of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from formtune import pipeline
from formtune.checks import CHECKS, Asked, Audit, Context
from formtune.checks.blanks import says_nothing
from formtune.checks.redaction import Redactor
from formtune.cli import run
from formtune.dialects import read
from formtune.errors import FormtuneError
from formtune.mending import Mender
from formtune.recipe import make_recipe
from formtune.records import Conversation, Labelled, Message, Preference, Question, Record, content_digest, identified

GOOD = '{"text": "a warm film", "label": "x"}'


def checked(path: Path, **asked: Any) -> Audit:
    return pipeline.check(make_recipe({"data": {"paths": [str(path)]}}), Asked(**asked))


def codes(audit: Audit) -> dict[str, int]:
    """Count places by code."""
    return {one.rule.code: len(one.places) for outcome in audit.outcomes for one in outcome.findings}


def add_up(fixed: dict[str, Any]) -> bool:
    """Say whether rows in are rows kept, repaired, taken out and left out."""
    listed = sum(entry["rows"] for name in ("taken_out", "left_out") for entry in fixed[name])
    return bool(fixed["rows_in"] == fixed["kept"] + fixed["repaired"] + listed)


def first_of_each(records: Sequence[Record]) -> list[Record]:
    """Leave out what repeats an earlier record."""
    found: dict[str, Record] = {}
    for one in records:
        found.setdefault(content_digest(one), one)
    return list(found.values())


def said_by(record: Record) -> str:
    """Digest what a record says, but for the id that some layouts have a key for."""
    extra = {key: value for key, value in json.loads(record.extra or "{}").items() if key != "id"}
    return content_digest(msgspec.structs.replace(record, extra=json.dumps(extra)))


texts = st.sampled_from(["a film", "A film!", "a play", "", " ", "\u200b", "it's ,}"])
turns = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "User", "gpt", "assistant", "usr"]), "content": texts}),
    max_size=3,
)
talks = st.fixed_dictionaries({"messages": turns}, optional={"id": st.integers(0, 2)})
reviews = st.fixed_dictionaries(
    {"text": texts, "label": st.sampled_from(["x", "y"])}, optional={"n": st.integers(0, 2)}
)
flat = st.fixed_dictionaries(
    {
        "question": texts,
        "context": st.just("a film, a play"),
        "answers": st.sampled_from(
            [
                {"text": ["a play"], "answer_start": [8]},
                {"text": ["film"], "answer_start": [2]},
                {"text": [], "answer_start": []},
            ]
        ),
    }
)
LAYOUTS = {"messages": talks, "labelled": reviews, "squad": flat}


def written(row: object, how: str) -> str:
    text = json.dumps(row)
    return {"json": text, "comma": text[:-1] + ",}", "python": repr(row), "cut": text[:-1], "bom": "\ufeff" + text}[how]


hows = st.sampled_from(["json", "json", "json", "comma", "python", "cut", "bom"])


@pytest.mark.parametrize("dialect", LAYOUTS)
def test_a_second_look_finds_nothing_that_was_put_right(dialect: str, tmp_path: Path) -> None:
    """No row is lost on the way, each is accounted for, and those that stay say what they said."""

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.tuples(LAYOUTS[dialect], hows), min_size=1, max_size=6))
    def law(rows: list[tuple[object, str]]) -> None:
        path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
        path.write_text("".join(written(*row) + "\n" for row in rows), encoding="utf-8")
        recipe = make_recipe({"data": {"paths": [str(path)], "dialect": dialect}})
        only = ("rows", "duplicates", "blanks")
        try:
            first = pipeline.check(recipe, Asked(fix=str(out), only=only))
        except FormtuneError:  # not one row can be read, or nothing is left
            return
        fixed = first.more["fixed"]
        assert add_up(fixed)
        assert fixed["cannot_carry"] == []
        found = read([str(path)], dialect=dialect, mend=Mender()).records
        again = read([str(out)], dialect=dialect, mend=(mender := Mender()))
        assert mender.mended == {}
        assert (again.left_out, [one for one in again.records if says_nothing(one)]) == ([], [])
        said = [said_by(one) for one in again.records]
        assert said == [said_by(one) for one in first_of_each(found) if not says_nothing(one)]
        second = pipeline.check(make_recipe({"data": {"paths": [str(out)], "dialect": dialect}}), Asked(only=only))
        remaining = codes(second)
        assert {"FT200", "FT201"}.isdisjoint(remaining)
        assert remaining == {code: n for code, n in codes(first).items() if code != "FT200"}

    law()


def test_what_is_put_right_is_counted_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is found is what is left; rows in are kept, repaired, taken out and left out."""
    path, out, aside = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "bad.jsonl"
    other, blank = '{"text": "a dull play", "label": "y"}', '{"text": "\u200b", "label": "y"}'
    rows = [
        GOOD,
        other[:-1] + ",}",
        GOOD,
        blank,
        '{"text": "cut',
        "{'text': 'a warm film', 'label': 'x'}",
        GOOD.replace("a warm", "A Warm"),
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    ask = ["check", str(path), "--fix", str(out), "--quarantine", str(aside), "--only", "rows,duplicates,blanks"]
    assert run([*ask, "--json"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("--fail-on: 1 finding is an error.")
    values = json.loads(told.out)
    fixed = values["fixed"]
    assert add_up(fixed)
    assert (fixed["rows_in"], fixed["kept"], fixed["repaired"]) == (7, 2, 1)
    assert [(entry["code"], entry["places"]) for entry in fixed["taken_out"]] == [
        ("FT205", [f"{path}:4"]),
        ("FT201", [f"{path}:3", f"{path}:6"]),
    ]
    assert fixed["mended"] == [
        {"reason": "a comma behind the last element was taken out", "rows": 1, "places": [f"{path}:2"]},
        {"reason": "a Python literal was written as JSON", "rows": 1, "places": [f"{path}:6"]},
    ]
    assert [(one["code"], one["rows"]) for one in fixed["not_touched"]] == [("FT200", 1), ("FT202", 1)]
    assert [one["code"] for one in values["findings"]] == ["FT200", "FT202"]
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == [
        "a warm film",
        "a dull play",
        "A Warm film",
    ]
    assert json.loads(aside.read_text())["raw"] == rows[4]
    assert run(ask) == 2
    shown = " ".join(capsys.readouterr().out.split())
    assert "rows in 7 = 2 kept + 1 repaired + 3 taken out + 1 left out" in shown
    assert f"taken out: 2 × FT201 A record repeats an earlier one exactly. ({path}:3, {path}:6)" in shown
    assert "not touched: 1 × FT200, 1 × FT202" in shown


def test_what_is_not_looked_for_stays(tmp_path: Path) -> None:
    """Repetitions may be meant to count more than once."""
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text(f"{GOOD}\n{GOOD}\n{GOOD[:-1]},}}\n")
    assert checked(path, fix=str(out), skip=["duplicates"]).more["fixed"]["kept"] == 2
    assert out.read_text().count("warm") == 3
    fixed = checked(path, fix=str(out), only=["FT201"]).more["fixed"]
    assert (fixed["kept"], fixed["repaired"], [one["rows"] for one in fixed["taken_out"]]) == (1, 0, [1])
    assert [entry["rows"] for entry in fixed["left_out"]] == [1]  # rows are not looked at, so none is repaired


def test_tables_have_repetitions_too(tmp_path: Path) -> None:
    """Whatever the layout that is read and the one that is written."""
    path, out = tmp_path / "a.csv", tmp_path / "b.tsv"
    path.write_text("text,label\na,x\na,x\nb,y\n")
    assert checked(path, fix=str(out)).more["fixed"]["taken_out"][0]["places"] == [f"{path}:3"]
    assert out.read_text() == "text\tlabel\na\tx\nb\ty\n"


def test_what_is_redacted_is_what_was_put_right(tmp_path: Path) -> None:
    """To another file, or to the same one."""
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text("{'text': 'ask ann@mail.org', 'label': 'x'}\n" * 2)
    checked(path, fix=str(out), redact=str(out))
    assert json.loads(out.read_text()) == {"text": "ask <EMAIL_1>", "label": "x"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.jsonl", "--fix", "a.jsonl"], "--fix: This file is read or written already."),
        (["a.jsonl", "--redact", "./a.jsonl"], "--redact: This file is read or written already."),
        (
            ["a.jsonl", "--fix", "b.jsonl", "--quarantine", "b.jsonl"],
            "--quarantine: This file is read or written already.",
        ),
        (["--train", "a.jsonl", "--test", "a.jsonl", "--fix", "b.jsonl"], "--fix: One file at a time is written."),
        (["blank.jsonl", "--fix", "b.jsonl"], "--fix: No text of any record can be seen, so nothing is left."),
        (["a.jsonl", "--fix", "b.jsonl", "--only", "rws"], "--only: There is no check 'rws'"),
    ],
)
def test_what_cannot_be_put_right(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data stay as they are, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text(GOOD + "\n")
    Path("blank.jsonl").write_text('{"text": "\\u200b", "label": "x"}\n')
    assert run(["check", *words]) == 2
    assert capsys.readouterr().err.startswith(told)
    assert Path("a.jsonl").read_text() == GOOD + "\n"
    assert not Path("b.jsonl").exists()


@pytest.mark.parametrize(
    ("record", "nothing"),
    [
        (Labelled(inputs={"text": " \u200b"}, labels=("x",), extra='{"id":"a"}'), True),
        (Labelled(inputs={"premise": "", "hypothesis": "a"}), False),
        (Question(question="", answers=("yes",)), False),
        (Conversation(messages=(Message("user", ""), Message("assistant", " "))), True),
        (Conversation(messages=(Message("user", ""), Message("assistant", "", tool_calls='[{"name":"f"}]'))), False),
        (Preference(prompt=(), chosen=(Message("assistant", ""),), rejected=()), True),
    ],
)
def test_a_record_says_nothing_where_no_text_can_be_seen(record: Record, nothing: bool) -> None:
    """Labels and unknown keys do not make it worth learning; one field, an answer or a call does."""
    assert says_nothing(record) is nothing


VALUES = [
    "ann@mail.org",
    "joe@mail.org",
    "+44 20 7946 0958",
    "DE89 3704 0044 0532 0130 00",
    "8.8.4.4",
    "ghp_" + "a1B2" * 9,
]
pieces = st.lists(
    st.sampled_from([*VALUES, "Ann", "wrote to", ",", "1", "é", "@", "<EMAIL_1>", "-", "\n"]), min_size=1, max_size=6
)
passages = st.builds(lambda words, between: between.join(words), pieces, st.sampled_from([" ", ""]))


@st.composite
def asked(draw: st.DrawFn) -> Question:
    """A question whose answers are stretches of a passage with personal data in it."""
    context = draw(passages)
    cuts = [sorted(draw(st.tuples(st.integers(0, len(context)), st.integers(0, len(context))))) for _ in range(3)]
    found = [(context[start:end], start) for start, end in cuts if context[start:end].strip()]
    return Question(
        question=draw(passages),
        context=context,
        answers=tuple(text for text, _ in found),
        starts=tuple(start for _, start in found),
    )


RECORDS: dict[str, st.SearchStrategy[Record]] = {
    "question": asked(),
    "labelled": st.builds(
        Labelled, inputs=st.fixed_dictionaries({"text": passages}), labels=st.just(("ann@mail.org",))
    ),
    "conversation": st.builds(
        lambda said, extra: Conversation(
            messages=(Message("user", said), Message("assistant", said, tool_calls=json.dumps([{"to": extra}]))),
            extra=json.dumps({"by": extra, "n": 13812345678}),
        ),
        passages,
        passages,
    ),
}


def findings(records: Sequence[Record]) -> list[str]:
    context = Context(parts={"data": list(records)})
    return [one.problem for name in ("personal-data", "credentials") for one in CHECKS[name].find(records, context)]


@pytest.mark.parametrize("kind", RECORDS)
def test_nothing_is_left_of_what_was_redacted(kind: str) -> None:
    """A second look finds none, labels stay, and every answer stands in its passage where its start says."""

    @settings(max_examples=200)
    @given(st.lists(RECORDS[kind], min_size=1, max_size=3))
    def law(records: list[Record]) -> None:
        records = identified(records)
        changed = Redactor().redacted(records)
        assert findings(changed) == []
        for before, after in zip(records, changed, strict=True):
            if isinstance(before, Labelled):
                assert isinstance(after, Labelled)
                assert after.labels == before.labels
            if isinstance(before, Question):
                assert isinstance(after, Question)
                assert after.context is not None
                assert len(after.answers) == len(before.answers)
                assert all(after.context.startswith(a, s) for a, s in zip(after.answers, after.starts, strict=True))

    law()


def test_a_placeholder_that_stands_in_the_data_is_taken() -> None:
    """Two people do not become one."""
    first, second = Redactor().redacted(
        identified([Labelled(inputs={"text": "<EMAIL_1>"}), Labelled(inputs={"text": "ann@mail.org"})])
    )
    assert isinstance(first, Labelled)
    assert isinstance(second, Labelled)
    assert (first.inputs["text"], second.inputs["text"]) == ("<EMAIL_1>", "<EMAIL_2>")
