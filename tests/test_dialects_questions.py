"""Questions: over paragraphs, with choices, with yes and no, with free answers."""

import json
from collections import Counter
from collections.abc import Callable
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


def test_one_answer_may_stand_without_a_list(tmp_path: Path) -> None:
    """A text and its start are a list of one."""
    row = {"question": "q?", "context": "abc def", "answers": {"text": "abc", "answer_start": 0}}
    record = questions(rows(tmp_path, row))[0]
    assert (record.answers, record.starts, record.answerable) == (("abc",), (0,), True)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"text": None, "answer_start": 0}, "an answer that is not a text"),
        ({"text": 7, "answer_start": 0}, "an answer that is not a text"),
        ({"text": ["abc", None], "answer_start": [0, 1]}, "an answer that is not a text"),
        ({"text": [""], "answer_start": [-1]}, "an empty answer"),
        ({"text": ["abc"], "answer_start": 3.5}, "an answer_start that is not a whole number"),
        ({"text": ["abc"], "answer_start": ["0"]}, "an answer_start that is not a whole number"),
        ({"text": ["abc"], "answer_start": [0, 1]}, "not as many starts as answers"),
        ({"answer_start": [0]}, "an answer that is not a text"),
    ],
)
def test_flat_answers_that_are_none_are_left_out(tmp_path: Path, answers: object, reason: str) -> None:
    """Nothing is guessed from them; the other rows go on."""
    fine = {"question": "q?", "context": "abc def", "answers": {"text": ["abc"], "answer_start": [0]}}
    found = rows(tmp_path, fine, {**fine, "answers": answers}, fine)
    assert [(item.reason, item.at and item.at.line) for item in found.left_out] == [(reason, 2)]


def test_a_faulty_answer_leaves_out_its_question_alone(tmp_path: Path) -> None:
    """The other questions of the document go on, and none is answered with "None"."""
    answers: list[object] = [{"text": "a"}, {"answer_start": 0}, {"text": None}, 5, {"text": "a", "answer_start": "0"}]
    qas = [{"id": str(n), "question": f"q{n}?", "answers": [answer]} for n, answer in enumerate(answers)]
    found = document(tmp_path, [{"context": "a b", "qas": qas}])
    assert [record.answers for record in questions(found)] == [("a",)]
    assert Counter(item.reason for item in found.left_out) == {
        "an answer that is not a text": 3,
        "an answer_start that is not a whole number": 1,
    }


def test_answers_that_do_not_stand_where_they_start_are_told(tmp_path: Path) -> None:
    """They are kept as the data have them, and counted in the evidence."""
    row = {"question": "q?", "context": "abc def", "answers": {"text": ["def", "abc"], "answer_start": [4, 1]}}
    found = rows(tmp_path, row)
    assert found.evidence.endswith("; answers that do not stand where their start says: 1")
    assert questions(found)[0].starts == (4, 1)


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


@pytest.mark.parametrize(
    "layout",
    [
        lambda answer: {"question": "q?", "choices": ["x", "y"], "answer": answer},
        lambda answer: {"question": "q?", "choices": ["x", "y"], "answer": str(answer)},
        lambda answer: {"question": "q?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answer": answer},
        lambda answer: {"question": "q?", "options": [{"text": "x"}, {"text": "y"}], "answer": float(answer)},
        lambda answer: {"question": {"stem": "q?", "choices": [{"text": "x"}, {"text": "y"}]}, "answer": answer},
        lambda answer: {"question": "q?", "A": "x", "B": "y", "answer": str(answer)},
    ],
)
def test_answers_that_count_from_one_are_refused(tmp_path: Path, layout: Callable[[int], dict[str, object]]) -> None:
    """Read from 0, the last would fall out and all the others be wrong in silence."""
    with pytest.raises(DataError, match=r"a.jsonl:2: The answers count the choices from 1: this one is 2 of 2"):
        rows(tmp_path, layout(1), layout(2), layout(1))


def test_a_table_whose_answers_count_from_one_is_refused(tmp_path: Path) -> None:
    """There every answer is text, and the choices have columns of their own."""
    path = tmp_path / "a.csv"
    path.write_text("question,A,B,C,answer\nq1,x,y,z,1\nq2,x,y,z,3\nq3,x,y,z,2\n")
    with pytest.raises(DataError, match=r"a.csv:3: .* this one is 3 of 3, and none is 0\. Count from 0, one less"):
        read([str(path)])


def test_an_answer_behind_the_last_choice_is_left_out_where_others_are_0(tmp_path: Path) -> None:
    """These data count from 0, and one row is wrong."""
    found = rows(tmp_path, *({"question": "q?", "choices": ["x", "y"], "answer": number} for number in (0, 2, 1)))
    assert [record.answers for record in questions(found)] == [("x",), ("y",)]
    assert [item.detail for item in found.left_out] == ["2"]


def test_numbers_among_the_choices_are_no_places(tmp_path: Path) -> None:
    """An answer that is the label or the text of a choice is that choice."""
    row = {"question": "q?", "choices": ["3", "2"], "answer": "2"}
    assert questions(rows(tmp_path, row))[0].answers == ("2",)
    labelled = {"question": "q?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": 2}
    assert questions(rows(tmp_path, labelled))[0].answers == ("y",)


def test_how_answers_count_is_told_where_nothing_proves_it(tmp_path: Path) -> None:
    """Neither 0 nor the number of the choices occurs: the reader of the evidence can see what was assumed."""
    doubtful = rows(tmp_path, {"question": "q?", "choices": ["x", "y", "z"], "answer": 1})
    assert doubtful.evidence.endswith(
        "; answers count the choices from 0 (none is 0, and none the number of the choices, so nothing proves it)"
    )
    sure = rows(tmp_path, *({"question": "q?", "choices": ["x", "y", "z"], "answer": number} for number in (0, 1)))
    assert sure.evidence == "choices beside the question in 'question'"


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ([{"text": "x"}, 3], "fewer than two choices, or an empty one"),
        ({"text": 3, "label": ["A"]}, "fewer than two choices, or an empty one"),
        ([["x"], {"text": "y"}], "fewer than two choices, or an empty one"),
        ({"text": [["x"], "y"]}, "a choice that is not a text"),
    ],
)
def test_choices_that_are_none_are_left_out(tmp_path: Path, choices: object, reason: str) -> None:
    """With their place; the other rows go on."""
    fine = {"question": "q?", "choices": ["x", "y"], "answer": 0}
    found = rows(tmp_path, fine, {**fine, "choices": choices}, fine)
    assert [(item.reason, item.at and item.at.line) for item in found.left_out] == [(reason, 2)]


def test_labels_that_are_no_list_give_way_to_letters(tmp_path: Path) -> None:
    """The texts are there, and the letters name them."""
    row = {"question": "q?", "choices": {"text": ["x", "y"], "label": 3}, "answer": "B"}
    assert questions(rows(tmp_path, row))[0].answers == ("y",)


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
