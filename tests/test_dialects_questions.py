"""Questions: over paragraphs, with choices, with yes and no, with free answers."""

import json
from collections import Counter
from pathlib import Path

import pytest

from formtune.dialects import Columns, Reading, read, write
from formtune.errors import DataError
from formtune.records import Question


def rows(folder: Path, *found: dict[str, object], **options: object) -> Reading:
    """Write objects as JSON lines and read them."""
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return read([str(folder / "a.jsonl")], **options)


def questions(reading: Reading) -> list[Question]:
    return [record for record in reading.records if isinstance(record, Question)]


def document(folder: Path, paragraphs: list[dict[str, object]], **more: object) -> Reading:
    """Write a SQuAD document with one article and read it."""
    whole = {"version": "v2.0", "data": [{"title": "T", "paragraphs": paragraphs, **more}]}
    (folder / "a.json").write_text(json.dumps(whole, indent=2), encoding="utf-8")
    return read([str(folder / "a.json")])


# --- SQuAD -----------------------------------------------------------------------------------------------------------


def test_questions_over_one_paragraph_are_one_group(tmp_path: Path) -> None:
    """The group is the paragraph's digest, the same in every file."""
    qas = [{"id": str(n), "question": f"q{n}?", "answers": [{"text": "a", "answer_start": 0}]} for n in range(2)]
    found = document(tmp_path, [{"context": "a b", "qas": qas}, {"context": "a c", "qas": qas[:1]}])
    groups = [record.group for record in questions(found)]
    assert groups[0] == groups[1] != groups[2]
    assert groups[0] == rows(tmp_path, {"question": "?", "context": "a b", "answer": "a"}).records[0].group


def test_an_unanswerable_question_is_not_one_to_be_predicted(tmp_path: Path) -> None:
    """SQuAD 2.0 says so; without answers and without that word, the answer is unknown."""
    qas = [
        {
            "id": "1",
            "question": "q?",
            "answers": [],
            "is_impossible": True,
            "plausible_answers": [{"text": "b", "answer_start": 2}],
        },
        {"id": "2", "question": "r?", "answers": []},
    ]
    found = questions(document(tmp_path, [{"context": "a b", "qas": qas}]))
    assert [(record.answers, record.answerable) for record in found] == [((), False), ((), True)]
    assert json.loads(found[0].extra or "")["plausible_answers"] == [{"text": "b", "answer_start": 2}]


def test_every_question_keeps_its_line(tmp_path: Path) -> None:
    """Also inside a pretty-printed document."""
    qas = [{"id": str(n), "question": f"q{n}?", "answers": []} for n in range(2)]
    found = document(tmp_path, [{"qas": qas, "context": "a\nb"}])
    shown = (tmp_path / "a.json").read_text(encoding="utf-8").split("\n")
    assert [shown[(record.origin.line or 0) if record.origin else 0] for record in found.records] == [
        '              "id": "0",',
        '              "id": "1",',
    ]


def test_parts_of_a_document_that_hold_no_question_are_left_out(tmp_path: Path) -> None:
    """The others go on, and every part is told with its place."""
    qas = [{"id": "1", "question": "q?", "answers": []}, {"id": "2"}, {"id": "3", "question": "r?", "answers": "x"}]
    found = document(tmp_path, [{"context": "a b", "qas": qas}, {"context": "c"}, {"qas": qas[:1]}])
    assert len(found.records) == 1
    assert [item.reason for item in found.left_out] == [
        "no question",
        "answers that are not a list",
        "a paragraph or article without questions",
        "a question without a context",
    ]


def test_flat_rows_of_the_hub_are_read(tmp_path: Path) -> None:
    """Lists of texts and starts; an empty list is SQuAD 2.0's sign for unanswerable."""
    full = {
        "id": "1",
        "title": "T",
        "context": "a b",
        "question": "q?",
        "answers": {"text": ["b"], "answer_start": [2]},
    }
    empty = {**full, "answers": {"text": [], "answer_start": []}}
    found = questions(rows(tmp_path, full, empty))
    assert [(record.answers, record.starts, record.answerable) for record in found] == [
        (("b",), (2,), True),
        ((), (), False),
    ]
    assert found[0].extra == '{"id":"1","title":"T"}'


def test_a_written_document_joins_paragraphs(tmp_path: Path) -> None:
    """Questions over one paragraph stand under it again."""
    qas = [{"id": str(n), "question": f"q{n}?", "answers": [{"text": "a", "answer_start": 0}]} for n in range(2)]
    reading = document(tmp_path, [{"context": "a b", "qas": qas}])
    assert write(reading.records, "squad", str(tmp_path / "out.json")) == []
    data = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["data"]
    assert [[len(part["qas"]) for part in article["paragraphs"]] for article in data] == [[2]]
    assert data[0]["title"] == "T"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_xquad_answers_stand_where_they_are_said_to(shared: Path, language: str) -> None:
    """Offsets count characters; a byte order mark inside a paragraph is one of them."""
    found = questions(read([str(shared / f"qa/xquad/{language}.{part}.json") for part in ("train", "valid", "test")]))
    assert (len(found), len({record.group for record in found})) == (1190, 240)
    ends = [
        (r.context or "")[start : start + len(text)] == text
        for r in found
        for text, start in zip(r.answers, r.starts, strict=True)
    ]
    assert all(ends)


def test_cmrc_is_read_in_both_its_layouts(shared: Path) -> None:
    """Three answers each in the one, none with a start in the other; 200 starts are wrong in the source."""
    found = questions(read([str(shared / f"qa/cmrc2018/{part}.json") for part in ("train", "valid", "test")]))
    assert Counter(len(record.answers) for record in found) == {3: 3219}
    wrong = [
        start
        for record in found
        for text, start in zip(record.answers, record.starts, strict=True)
        if not (record.context or "").startswith(text, start)
    ]
    assert len(wrong) == 200
    native = questions(read([str(shared / "qa/cmrc2018/native_dialect_trial.json")]))
    assert (len({record.group for record in native}), {record.starts for record in native}) == (60, {()})


# --- choices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {
            "question": {"stem": "q?", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]},
            "answerKey": "B",
        },
        {"question": "q?", "choices": {"label": ["1", "2"], "text": ["x", "y"]}, "answerKey": "2"},
        {"question": "q?", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}], "answer": "b)"},
        {"question": "q?", "options": ["x", "y"], "answer": 1},
        {"question": "q?", "choices": ["x", "y"], "answer": "y"},
        {"question": "q?", "choices": ["x", "y"], "label": "B"},
        {"Question": "q?", "A": "x", "B": "y", "Answer": "B"},
    ],
)
def test_layouts_of_choices_say_the_same(tmp_path: Path, row: dict[str, object]) -> None:
    """The right choice is told by its label, its text, or its place counted from 0."""
    record = questions(rows(tmp_path, row))[0]
    assert (record.question, record.choices, record.answers) == ("q?", ("x", "y"), ("y",))


def test_answers_that_count_from_one_are_refused(tmp_path: Path) -> None:
    """Read from 0, the last would fall out and all the others be wrong in silence."""
    found = [{"question": "q?", "choices": ["x", "y"], "answer": number} for number in (1, 2)]
    with pytest.raises(DataError, match=r"a.jsonl:2: The answers count the choices from 1\. Count from 0"):
        rows(tmp_path, *found)


def test_an_answer_that_is_no_choice_is_left_out(tmp_path: Path) -> None:
    """With what it says."""
    found = rows(tmp_path, *({"question": "q?", "choices": ["x", "y"], "answer": answer} for answer in ("x", "z")))
    assert [(item.reason, item.detail) for item in found.left_out] == [("an answer that is none of the choices", "'z'")]


def test_a_question_with_one_choice_is_left_out(tmp_path: Path) -> None:
    """There is nothing to choose."""
    found = rows(
        tmp_path, *({"question": "q?", "choices": choices, "answer": 0} for choices in (["x", "y"], ["x"], ["x", ""]))
    )
    assert [item.reason for item in found.left_out] == ["fewer than two choices, or an empty one"] * 2


def test_choices_may_stand_over_a_context(tmp_path: Path) -> None:
    """Reading comprehension with choices keeps its paragraph, and is grouped by it."""
    record = questions(rows(tmp_path, {"passage": "p", "question": "q?", "options": ["x", "y"], "answer": "A"}))[0]
    assert (record.context, record.answers, record.group is None) == ("p", ("x",), False)


@pytest.mark.parametrize(("value", "answer"), [(True, "yes"), ("False", "no"), ("yes", "yes"), (None, None)])
def test_yes_and_no_are_choices(tmp_path: Path, value: object, answer: str | None) -> None:
    """BoolQ's truth values; a row without one is to be predicted."""
    found = [{"question": "q?", "passage": "p", "label": label} for label in (True, value)]
    record = questions(rows(tmp_path, *found))[1]
    assert (record.choices, record.answers) == (("yes", "no"), (answer,) if answer else ())


def test_commonsense_qa_is_read_whole(shared: Path) -> None:
    """Five choices each, and every answer among them."""
    found = questions(read([str(shared / "qa/commonsense_qa/dev.jsonl")]))
    assert (len(found), {len(record.choices) for record in found}, {len(record.answers) for record in found}) == (
        1221,
        {5},
        {1},
    )
    assert json.loads(found[0].extra or "") == {
        "question_concept": "revolving door",
        "id": "1afa02df02c908a558b4036e80242fac",
    }


def test_boolq_is_read_with_its_unlabelled_rows(shared: Path) -> None:
    """96 yes, 54 no, 50 to be predicted, in one file with two sets of keys."""
    found = questions(read([str(shared / "messy/mixed_schema/boolq_mixed_200.jsonl")]))
    assert Counter(record.answers for record in found) == {("yes",): 96, ("no",): 54, (): 50}


def test_columns_a_to_d_are_choices(shared: Path) -> None:
    """CMMLU's tables, with an index column without a name."""
    found = questions(read([str(path) for path in sorted((shared / "probes/cmmlu").glob("*.csv"))]))
    assert (len(found), {len(record.choices) for record in found}) == (500, {4})


# --- free answers ----------------------------------------------------------------------------------------------------


def test_answers_may_be_several(tmp_path: Path) -> None:
    """A list holds acceptable answers, the best first; an empty one is to be predicted."""
    found = questions(rows(tmp_path, {"question": "q?", "answers": ["a", "b"]}, {"question": "r?", "answers": []}))
    assert [record.answers for record in found] == [("a", "b"), ()]


def test_question_columns_can_be_named(tmp_path: Path) -> None:
    """--question, --answer and --context settle it."""
    columns = Columns(question="ask", answer="say", context="about")
    record = questions(rows(tmp_path, {"ask": "q?", "say": "a", "about": "c", "question": "no"}, columns=columns))[0]
    assert (record.question, record.answers, record.context) == ("q?", ("a",), "c")


def test_gsm8k_is_read_whole(shared: Path) -> None:
    """Questions with worked solutions."""
    found = questions(read([str(shared / "qa/gsm8k/test.jsonl")]))
    assert (len(found), all("#### " in record.answers[0] for record in found)) == (1319, True)
