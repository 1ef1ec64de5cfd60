"""Benchmarks and rated data: answers and labels in files beside, blanks, minimal pairs, ratings, targets."""

import json
from collections import Counter
from pathlib import Path

import pytest

from formtune.conversion import convert
from formtune.dialects import DIALECTS, Reading, read
from formtune.errors import DataError
from formtune.records import Conversation, Labelled, Message, Preference, Question

GOALS = tuple({"goal": f"g{n}", "sol1": "a", "sol2": "b"} for n in range(3))
ASKED = {"id": "1", "question": [[{"role": "user", "content": "Weather?"}]], "function": [{"name": "weather"}]}


def file(folder: Path, name: str, *rows: object) -> str:
    """Write JSON lines."""
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(folder / name)


def lines(folder: Path, name: str, text: str) -> str:
    """Write a text."""
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def told(reading: Reading) -> list[tuple[str, str | None]]:
    """What was left out, and what is particular to it."""
    return [(one.reason, one.detail) for one in reading.left_out]


# --- PIQA ------------------------------------------------------------------------------------------------------------


def answers(reading: Reading) -> list[tuple[str, ...]]:
    """The answers of questions."""
    return [record.answers for record in reading.records if isinstance(record, Question)]


def test_a_label_belongs_to_the_row_of_its_line(tmp_path: Path) -> None:
    """In whatever order the files are given; without them the questions are to be answered."""
    asked, labels = file(tmp_path, "a.jsonl", *GOALS), lines(tmp_path, "a-labels.lst", "1\n0\n1\n")
    for files in ([asked, labels], [labels, asked]):
        reading = read(files)
        assert (reading.dialect, reading.n_rows, answers(reading)) == ("piqa", 3, [("b",), ("a",), ("b",)])
    assert answers(read([asked])) == [(), (), ()]


def test_a_row_that_cannot_be_read_keeps_its_label(tmp_path: Path) -> None:
    """The labels of those behind it do not move up."""
    asked = lines(tmp_path, "a.jsonl", f"{json.dumps(GOALS[0])}\n{{broken\n{json.dumps(GOALS[2])}\n")
    reading = read([asked, lines(tmp_path, "a-labels.lst", "1\n1\n0\n")])
    assert (answers(reading), len(reading.left_out)) == ([("b",), ("a",)], 1)


@pytest.mark.parametrize(
    ("rows", "labels", "problem"),
    [
        (GOALS, "1\n0\n", "There are 2 labels for 3 rows"),
        ([{**goal, "label": 1} for goal in GOALS], "1\n0\n1\n", "The rows have labels already"),
    ],
)
def test_labels_that_nobody_can_place_are_refused(
    tmp_path: Path, rows: list[dict[str, object]], labels: str, problem: str
) -> None:
    """A label would stand at another question, in silence."""
    with pytest.raises(DataError, match=rf"a-labels\.lst: {problem}"):
        read([file(tmp_path, "a.jsonl", *rows), lines(tmp_path, "a-labels.lst", labels)])


@pytest.mark.parametrize(("label", "found"), [(0, ("a",)), ("1", ("b",)), (-1, ()), ("", ())])
def test_a_label_may_stand_in_the_row(tmp_path: Path, label: object, found: tuple[str, ...]) -> None:
    """-1 stands where test sets hide it."""
    assert answers(read([file(tmp_path, "a.jsonl", {**GOALS[0], "label": label})])) == [found]


# --- the Berkeley leaderboard ----------------------------------------------------------------------------------------


def called(reading: Reading) -> list[object]:
    """The arguments of every call, with the function's name."""
    calls = [
        call["function"]
        for record in reading.records
        if isinstance(record, Conversation) and record.messages[-1].tool_calls
        for call in json.loads(record.messages[-1].tool_calls)
    ]
    return [{call["name"]: json.loads(call["arguments"])} for call in calls]


@pytest.mark.parametrize(
    ("truth", "calls"),
    [
        ([{"weather": {"at": ["Bern", "Berne"], "unit": ["", "C"]}}], [{"weather": {"at": "Bern"}}]),
        ([{"f": {"n": [1]}}, {"g": {}}], [{"f": {"n": 1}}, {"g": {}}]),
        ([{"f": {"who": [{"name": ["Ann"], "age": ["", 3]}]}}], [{"f": {"who": {"name": "Ann"}}}]),
        ([{"f": {"all": [[{"key": ["a"]}, {"key": ["b", "c"]}]]}}], [{"f": {"all": [{"key": "a"}, {"key": "b"}]}}]),
    ],
)
def test_an_answer_has_the_first_of_the_values_that_count(tmp_path: Path, truth: object, calls: object) -> None:
    """What may be left out first is left out; all values stay aside and come back."""
    asked, beside = file(tmp_path, "q.jsonl", ASKED), file(tmp_path, "a.jsonl", {"id": "1", "ground_truth": truth})
    reading = read([asked, beside])
    assert (reading.dialect, told(reading), called(reading)) == ("bfcl", [], calls)
    row = DIALECTS["bfcl"].write(reading.records[0])
    assert isinstance(row, dict)
    assert row["ground_truth"] == truth
    assert convert(reading.records, "bfcl", tmp_path / "out.jsonl").cannot_carry == []


def test_an_answer_finds_its_question_by_the_id(tmp_path: Path) -> None:
    """One without a question, or a second one, is left out."""
    truths = [{"id": name, "ground_truth": [{"weather": {"at": [name]}}]} for name in ("2", "9", "1")]
    asked = [ASKED, {**ASKED, "id": "2"}, {**ASKED, "id": "3"}]
    reading = read([file(tmp_path, "a.jsonl", *truths), file(tmp_path, "q.jsonl", *asked)])
    assert called(reading) == [{"weather": {"at": "1"}}, {"weather": {"at": "2"}}]
    assert (len(reading.records), told(reading)) == (3, [("an answer without a question of its own", "9")])


def test_answers_alone_say_what_is_missing(tmp_path: Path) -> None:
    """They are no records."""
    with pytest.raises(DataError, match=r"answers without their questions\. Give the file of the questions too\."):
        read([file(tmp_path, "a.jsonl", {"id": "1", "ground_truth": [{"f": {}}]})])


def test_answers_of_another_sort_are_left_out(tmp_path: Path) -> None:
    """Those over several turns are texts of code."""
    reading = read([file(tmp_path, "q.jsonl", ASKED, {**ASKED, "ground_truth": [["cd(folder='a')"]]})])
    assert told(reading) == [("a ground truth that is not calls with values that count", None)]


def test_calls_of_other_data_are_written_as_the_only_right_ones() -> None:
    """Each argument has one value that counts; an empty text cannot be said, since it would be left out."""
    for arguments, truth in (('{"at": "Bern"}', [{"weather": {"at": ["Bern"]}}]), ('{"at": ""}', None), ("[1]", None)):
        call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        said = (Message("user", "Weather?"), Message("assistant", "", tool_calls=json.dumps([call])))
        for extra in (None, '{"ground_truth":"Bern"}'):  # which says something else
            row = DIALECTS["bfcl"].write(Conversation(messages=said, extra=extra))
            assert (row["ground_truth"] if isinstance(row, dict) else None) == truth


# --- WinoGrande, BLiMP, MT-Bench -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beginnings", "after", "sentence", "choices"),
    [
        (["So Ann", "So Bo"], "left.", "So _ left.", ("Ann", "Bo")),
        (["the dog", "the dog house"], ".", "the _.", ("dog", "dog house")),
        (["Ann", "Bo"], "'s hat", "_'s hat", ("Ann", "Bo")),
        (["in the car", "in the cab"], "it is", "in the _ it is", ("car", "cab")),
    ],
)
def test_a_sentence_that_was_cut_at_its_blank_is_put_together(
    tmp_path: Path, beginnings: list[str], after: str, sentence: str, choices: tuple[str, str]
) -> None:
    """The options are the words in which the two beginnings differ."""
    row = {"context_options": beginnings, "continuation": after, "gold": 1}
    (found,) = read([file(tmp_path, "a.jsonl", row)]).records
    assert isinstance(found, Question)
    assert (found.question, found.choices, found.answers) == (sentence, choices, choices[1:])


@pytest.mark.parametrize("beginnings", [["a"], ["a b", "a b"], ["a b", "a "], ["a", 1], "ab"])
def test_beginnings_that_do_not_differ_are_left_out(tmp_path: Path, beginnings: object) -> None:
    """There would be nothing to choose."""
    good = {"context_options": ["a", "b"], "continuation": ".", "gold": 0}
    reading = read([file(tmp_path, "a.jsonl", good, good, {**good, "context_options": beginnings})])
    expected = "fewer than two choices, or an empty one"
    assert [one.reason for one in reading.left_out] == ([] if beginnings == ["a b", "a b"] else [expected])


def test_a_blank_without_two_options_is_not_winogrande_s() -> None:
    """Nor a question without a blank."""
    for question, choices in (("_ left.", ("a", "b", "c")), ("Who left?", ("a", "b")), ("_ and _", ("a", "b"))):
        assert DIALECTS["winogrande"].write(Question(question=question, choices=choices)) is None


def test_references_answer_where_every_turn_has_one(tmp_path: Path) -> None:
    """Else they stay aside."""
    row = {"question_id": 1, "turns": ["1 + 1?", "Doubled?"]}
    rows = [{**row, "reference": found} for found in (["2", "4"], ["2", ""], ["2"])]
    reading = read([file(tmp_path, "a.jsonl", *rows)])
    assert [len(record.messages) for record in reading.records if isinstance(record, Conversation)] == [4, 2, 2]
    assert [DIALECTS["mt-bench"].write(record) for record in reading.records] == rows


# --- ratings and targets ---------------------------------------------------------------------------------------------


def rated(text: str, *ratings: str) -> dict[str, object]:
    """A completion with a rating in each of several aspects."""
    return {"response": text, "annotations": {f"aspect{n}": {"Rating": one} for n, one in enumerate(ratings)}}


def test_the_best_mean_rating_is_preferred_to_each_that_is_worse(tmp_path: Path) -> None:
    """What has no rating is told, and compared with nothing; ties with the best are no preference."""
    completions = [
        rated("c", "2", "3"),
        rated("a", "5", "4"),
        rated("x", "N/A"),
        rated("b", "4", "N/A"),
        rated("d", "4.5"),
    ]
    reading = read([file(tmp_path, "a.jsonl", {"instruction": "q", "completions": completions})])
    assert reading.dialect == "ultrafeedback"
    pairs = [(r.chosen[0].content, r.rejected[0].content) for r in reading.records if isinstance(r, Preference)]
    assert pairs == [("a", "b"), ("a", "c")]
    assert len({record.group for record in reading.records}) == 1
    assert told(reading) == [("a completion without a rating", None)]


def test_completions_that_nobody_can_rank_are_left_out(tmp_path: Path) -> None:
    """Ratings that are all the same, or none at all."""
    good = {"instruction": "q", "completions": [rated("a", "5"), rated("b", "1")]}
    others = [
        [rated("a", "5"), rated("b", "5")],
        [rated("a", "N/A"), rated("b", "N/A")],
        [{"response": "a"}, rated("b", "1")],
    ]
    rows = [good, good, good, good, *({**good, "completions": found} for found in others)]
    assert Counter(one.reason for one in read([file(tmp_path, "a.jsonl", *rows)]).left_out) == {
        "no answer that is worse than another": 2,
        "completions without a response and annotations": 1,
    }


def test_the_first_target_is_read_and_the_others_come_back(tmp_path: Path) -> None:
    """They stand aside, and the evidence names them."""
    rows: list[dict[str, object]] = [
        {"text": "Fine.", "labels": {"mood": "good", "topics": ["film", "music"]}},
        {"text": "Dull.", "labels": {"topics": ["film"], "mood": ["bad", "sad"]}},
        {"text": "Hm.", "labels": {"topics": ["film"]}},
    ]
    reading = read([file(tmp_path, "a.jsonl", *rows)])
    assert reading.dialect == "mistral-classifier"
    assert reading.evidence.endswith("target 'mood'; not read as labels: 'topics'")
    labels = [record.labels for record in reading.records if isinstance(record, Labelled)]
    assert labels == [("good",), ("bad", "sad"), ()]
    written = [DIALECTS["mistral-classifier"].write(record) for record in reading.records]
    assert written == [*rows[:2], {"text": "Hm.", "labels": {"topics": ["film"], "mood": []}}]


def test_a_message_to_be_classified_is_a_text(tmp_path: Path) -> None:
    """A dialogue has no place in a labelled record."""
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rows = [{"messages": found, "labels": {"safe": "yes"}} for found in (said[:1], said[:1], said, said[1:])]
    reading = read([file(tmp_path, "a.jsonl", *rows)])
    assert [r.inputs for r in reading.records if isinstance(r, Labelled)] == [{"text": "Hi"}] * 2
    assert told(reading) == [("messages that are not one text of the user's", None)] * 2


# --- real files ------------------------------------------------------------------------------------------------------

REAL = {
    "bfcl": (
        "instruct/bfcl_simple/BFCL_v4_simple_python.json",
        "instruct/bfcl_simple/possible_answer.BFCL_v4_simple_python.json",
    ),
    "mt-bench": ("instruct/dialects_misc/mt_bench_question.jsonl",),
    "piqa": ("probes/piqa/valid_500.jsonl", "probes/piqa/valid_500-labels.lst"),
    "winogrande": ("probes/winogrande/winogrande_500.jsonl",),
    "blimp": ("probes/blimp/blimp_670.jsonl",),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_benchmark_is_recognized_and_comes_back(name: str, tmp_path: Path, shared: Path) -> None:
    """Every row of it."""
    reading = read([str(shared / path) for path in REAL[name]])
    assert (reading.dialect, reading.left_out) == (name, [])
    written = convert(reading.records, name, tmp_path / "out.jsonl")
    assert (written.n_kept, written.cannot_carry, written.added) == (len(reading.records), [], [])
    if name in ("bfcl", "piqa"):
        assert all(
            record.messages[-1].tool_calls if isinstance(record, Conversation) else record.answers
            for record in reading.records
            if isinstance(record, Conversation | Question)
        )
