"""What a file holds, in numbers."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune.dialects import read
from formtune.inspection import QUANTILES, facts_of, inspect
from formtune.records import LeftOut, Origin, Plain
from formtune.tallies import tally


def inspected(path: Path, content: str) -> dict[str, object]:
    path.write_text(content, encoding="utf-8")
    return inspect(read([str(path)]))


def test_a_table_is_described(tmp_path: Path) -> None:
    """The keys that other programs rely on, and what stands behind them."""
    path = tmp_path / "a.csv"
    found = inspected(path, "text,label\none two,x\n三个字,y\nfour,x\nfive six seven,\n,x\n")
    assert found == {
        "dialect": "labelled",
        "evidence": "text in 'text', label in 'label' (2 different in 5 rows)",
        "kinds": {"labelled": 4},
        "records": 4,
        "labels": {"x": 2, "y": 1},
        "lengths": {
            "characters": {"min": 3, "q05": 3, "median": 7, "q95": 14, "max": 14},
            "words": {"min": 1, "q05": 1, "median": 3, "q95": 3, "max": 3},
            "answer_characters": {"min": 1, "q05": 1, "median": 1, "q95": 1, "max": 1},
            "answer_words": {"min": 1, "q05": 1, "median": 1, "q95": 1, "max": 1},
        },
        "unanswered": 1,
        "groups": 0,
        "left_out": [
            {
                "code": "FT131",
                "reason": "no text in column 'text'",
                "rows": 1,
                "places": [f"{path}:6"],
                "expected": "a text, a number, or a list of texts",
                "remedy": "Fill the field in, or name another column.",
            }
        ],
        "parts_lost": [],
        "samples": [
            {"at": f"{path}:2", "input": "one two", "answer": "x"},
            {"at": f"{path}:4", "input": "four", "answer": "x"},
            {"at": f"{path}:5", "input": "five six seven", "answer": ""},
        ],
    }
    assert json.loads(json.dumps(found)) == found


def test_answers_of_one_set_of_choices_are_labels(tmp_path: Path) -> None:
    """Yes and no are counted; choices that differ from question to question are not."""
    rows = [{"question": f"q{n}?", "passage": "p", "label": n > 0} for n in range(3)]
    found = inspected(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert (found["labels"], found["groups"]) == ({"yes": 2, "no": 1}, 1)
    rows = [{"question": "q?", "choices": ["x", str(n)], "answer": 0} for n in range(3)]
    assert inspected(tmp_path / "b.jsonl", "".join(json.dumps(row) + "\n" for row in rows))["labels"] == {}


def test_calls_and_rejected_answers_are_answers(tmp_path: Path) -> None:
    """A request that is answered by a call, and an answer that was found bad, wait for no prediction."""
    called = {"query": "q?", "tools": "[]", "answers": '[{"name": "f", "arguments": {}}]'}
    assert inspected(tmp_path / "a.jsonl", json.dumps(called))["unanswered"] == 0
    assert inspected(tmp_path / "a.jsonl", json.dumps({**called, "answers": "[]"}))["unanswered"] == 1
    judged = {"prompt": "q?", "completion": "a", "label": False}
    assert inspected(tmp_path / "a.jsonl", json.dumps(judged))["unanswered"] == 0


def test_an_unanswerable_question_is_not_unanswered(tmp_path: Path) -> None:
    """That there is no answer is its answer."""
    row = {"context": "c", "question": "q?", "answers": {"text": [], "answer_start": []}}
    assert inspected(tmp_path / "a.jsonl", json.dumps(row))["unanswered"] == 0


def test_long_texts_are_shown_by_their_beginning(tmp_path: Path) -> None:
    """A sample fits on a screen."""
    found = inspected(tmp_path / "a.jsonl", json.dumps({"text": "x" * 500}))
    assert found["samples"] == [{"at": f"{tmp_path}/a.jsonl:1", "input": "x" * 199 + "…", "answer": "x" * 199 + "…"}]


@pytest.mark.parametrize("n_records", [1, 2, 3, 200, 201, 1000])
def test_samples_are_from_the_beginning_the_middle_and_the_end(n_records: int) -> None:
    """Of very many records the middle is nearly that."""
    records = [Plain(text=str(n)) for n in range(n_records)]
    samples = facts_of(iter(records))["samples"]
    assert isinstance(samples, list)
    found = [int(sample["input"]) for sample in samples]
    assert found == sorted(set(found))
    assert {0, n_records - 1} <= set(found)
    if n_records > 2:
        assert abs(found[1] - (n_records - 1) / 2) <= (0.5 if n_records <= 200 else n_records / 100)


@given(st.lists(st.integers(0, 9), min_size=1))
def test_quantiles_are_those_of_all_lengths(lengths: list[int]) -> None:
    """By the nearest rank, though only how often each occurs is kept."""
    found = facts_of(Plain(text="x" * length) for length in lengths)["lengths"]
    assert isinstance(found, dict)
    ordered = sorted(lengths)
    assert found["characters"] == {
        name: ordered[round(share * (len(ordered) - 1))] for name, share in QUANTILES.items()
    }


def test_groups_are_counted_once() -> None:
    """Whatever stands between."""
    records = [Plain(text="a", group=group) for group in ("x", None, "y", "x", "", None)]
    assert facts_of(records)["groups"] == 3


def test_what_was_left_out_is_counted_by_its_reason() -> None:
    """The most frequent first, each with its first five places and what is particular to them."""
    items = [LeftOut("rare", id="r1"), *(LeftOut("often", Origin("a.csv", n), detail=f"{n} fields") for n in range(7))]
    assert tally(items) == [
        {"code": None, "reason": "often", "rows": 7, "places": [f"a.csv:{n} ({n} fields)" for n in range(5)]},
        {"code": None, "reason": "rare", "rows": 1, "places": ["r1"]},
    ]
