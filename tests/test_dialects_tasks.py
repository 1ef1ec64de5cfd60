"""Tasks as text: Super-NaturalInstructions, FLAN, T5 and P3; the tables of GLUE, several labels, Self-Instruct, CMRC."""

import json
from pathlib import Path

import msgspec
import pytest

from formtune.dialects import DIALECTS, read, write
from formtune.errors import DataError
from formtune.records import Conversation, Labelled, Message, Pair, Question

TASK = """{
 "Contributors": ["A"],
 "Definition": ["Name the color."],
 "Positive Examples": [{"input": "sea", "output": "blue"}],
 "Instances": [
  {"id": "1-a", "input": "sky",
   "output": ["blue", "azure"]},
  {"id": "1-b", "input": "grass", "output": ["green"]},
  {"id": "1-c", "input": "", "output": ["?"]}
 ]
}
"""


def test_each_instance_of_a_task_keeps_its_line(tmp_path: Path) -> None:
    """The definition is the system text of all; an instance without an input is told, and the others go on."""
    path = tmp_path / "task.json"
    path.write_text(TASK)
    reading = read([str(path)])
    assert reading.dialect == "natural-instructions"
    records = [record for record in reading.records if isinstance(record, Conversation)]
    assert [(record.messages, record.origin and record.origin.line) for record in records] == [
        ((Message("system", "Name the color."), Message("user", said), Message("assistant", answer)), line)
        for said, answer, line in (("sky", "blue", 6), ("grass", "green", 8))
    ]
    assert [(item.reason, item.at and item.at.line) for item in reading.left_out] == [
        ("an instance without an input", 9)
    ]


def test_a_task_comes_back_as_one_document(tmp_path: Path) -> None:
    """Its other keys, ids and further outputs stand where they stood."""
    (tmp_path / "task.json").write_text(TASK)
    records = read([str(tmp_path / "task.json")]).records
    assert write(records, "natural-instructions", str(tmp_path / "again.json")) == []
    expected = json.loads(TASK)
    del expected["Instances"][2]
    assert json.loads((tmp_path / "again.json").read_text()) == expected


def test_instances_of_several_tasks_are_several_documents(tmp_path: Path) -> None:
    """What has another definition is another task."""
    said = [(Message("system", task), Message("user", "x"), Message("assistant", "y")) for task in "aba"]
    write([Conversation(messages=one) for one in said], "natural-instructions", str(tmp_path / "a.json"))
    found = json.loads((tmp_path / "a.json").read_text())
    assert [(one["Definition"], len(one["Instances"])) for one in found] == [(["a"], 2), (["b"], 1)]


def test_token_ids_beside_the_texts_of_p3_go_aside(tmp_path: Path) -> None:
    """The texts are read, not the numbers that are called inputs and targets."""
    row = {
        "inputs": [1],
        "inputs_pretokenized": "q",
        "targets": [2],
        "targets_pretokenized": "a",
        "answer_choices": ["a"],
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    reading = read([str(tmp_path / "a.jsonl")])
    (record,) = reading.records
    assert isinstance(record, Pair)
    assert (reading.dialect, record.source, record.targets) == ("p3", "q", ("a",))
    assert DIALECTS["p3"].write(record) == row


def test_a_table_of_tasks_without_names_is_text_to_text(tmp_path: Path) -> None:
    """Two columns are source and target where the first begins with one of a few tasks."""
    lines = [f"translate English to German: It is {n}.\tEs ist {n}.\n" for n in range(30)]
    (tmp_path / "a.tsv").write_text("".join(lines))
    reading = read([str(tmp_path / "a.tsv")])
    assert (reading.dialect, len(reading.records)) == ("flan", 30)
    assert isinstance(reading.records[3], Pair)
    assert reading.records[3].targets == ("Es ist 3.",)


def test_several_targets_or_languages_have_no_place_in_text_to_text() -> None:
    """They would be lost."""
    for record in (Pair(source="a", targets=("b", "c")), Pair(source="a", targets=("b",), target_language="de")):
        assert DIALECTS["flan"].write(record) is None
        assert DIALECTS["p3"].write(record) is None


GLUE: dict[str, tuple[str, dict[str, str], str]] = {
    "SST-2": ("sentence\tlabel\n{n} great\t{label}\n", {"sentence": "1 great"}, "1"),
    "MRPC": (
        "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n{label}\t7{n}\t8{n}\tOne {n}.\tTwo {n}.\n",
        {"#1 String": "One 1.", "#2 String": "Two 1."},
        "1",
    ),
    "QQP": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n{n}\t1{n}\t2{n}\tWho {n}?\tHow {n}?\t{label}\n",
        {"question1": "Who 1?", "question2": "How 1?"},
        "1",
    ),
    "MNLI": (
        "index\tgenre\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label\n{n}\tf\t(R)\tA {n}.\tB {n}.\tx\tc{label}\n",
        {"sentence1": "A 1.", "sentence2": "B 1."},
        "c1",
    ),
    "QNLI": (
        "index\tquestion\tsentence\tlabel\n{n}\tWhen {n}?\tThen {n}.\te{label}\n",
        {"question": "When 1?", "sentence": "Then 1."},
        "e1",
    ),
    "RTE": (
        "index\tsentence1\tsentence2\tlabel\n{n}\tA {n}.\tB {n}.\te{label}\n",
        {"sentence1": "A 1.", "sentence2": "B 1."},
        "e1",
    ),
    "CoLA": ("gj04\t{label}\t*\tOur friends buy {n}.\n", {"text": "Our friends buy 1."}, "1"),
}


@pytest.mark.parametrize("name", GLUE)
def test_the_tables_of_glue_are_labelled(name: str, tmp_path: Path) -> None:
    """Each is recognized as it is handed out, by its own names of columns, CoLA without any."""
    layout, inputs, label = GLUE[name]
    head, row = layout.split("\n")[:2] if name != "CoLA" else ("", layout.rstrip("\n"))
    lines = [head] if head else []
    lines += [row.format(n=n, label=n % 2) for n in range(40)]
    (tmp_path / "train.tsv").write_text("\n".join(lines) + "\n")
    reading = read([str(tmp_path / "train.tsv")])
    record = reading.records[1]
    assert isinstance(record, Labelled)
    assert (reading.dialect, record.inputs, record.labels) == ("labelled", inputs, (label,))


def test_several_labels_are_read_as_a_list_or_as_marks(tmp_path: Path) -> None:
    """A list in a column, and fastText's marks before the text, are the same labels."""
    rows = [{"text": f"text {n}", "labels": ["x", "y"][: n % 3]} for n in range(30)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [
        "".join(f"__label__{label} " for label in row["labels"]) + str(row["text"]) for row in rows if row["labels"]
    ]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    table, marked = read([str(tmp_path / "a.jsonl")]), read([str(tmp_path / "a.txt")])
    assert (table.dialect, marked.dialect) == ("labelled", "labelled-lines")
    labels = [record.labels for record in table.records if isinstance(record, Labelled) and record.labels]
    assert labels == [record.labels for record in marked.records if isinstance(record, Labelled)]
    assert set(labels) == {("x",), ("x", "y")}


def test_palm_s_texts_are_a_pair(tmp_path: Path) -> None:
    """The oldest layout of Google's tuning has two texts."""
    (tmp_path / "a.jsonl").write_text('{"input_text": "classify: fun", "output_text": "good"}\n')
    assert [
        msgspec.structs.replace(record, id="", origin=None) for record in read([str(tmp_path / "a.jsonl")]).records
    ] == [Pair(source="classify: fun", targets=("good",))]


def test_self_instruct_and_cmrc_are_read_whole(shared: Path) -> None:
    """Seed tasks are instructions, an instance each; CMRC's two layouts are questions over paragraphs."""
    seeds = read([str(shared / "instruct/self_instruct/seed_tasks.jsonl")])
    assert (seeds.dialect, seeds.left_out) == ("alpaca", [])
    n_questions = {"train.json": 2240, "native_dialect_trial.json": None}
    for file, n_records in n_questions.items():
        reading = read([str(shared / "qa/cmrc2018" / file)])
        assert (reading.dialect, reading.left_out) == ("squad", [])
        assert all(isinstance(record, Question) and record.context for record in reading.records)
        assert n_records in (None, len(reading.records))


def test_a_file_of_instances_keeps_their_lines_and_comes_back_whole(tmp_path: Path) -> None:
    """LMFlow's files are one object; an instance without an answer is told with its place, and the others go on."""
    found = {
        "type": "text2text",
        "instances": [{"input": "a", "output": "b"}, {"input": "c"}, {"input": "d", "output": "e"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(found, indent=1))
    reading = read([str(tmp_path / "a.json")])
    assert [record.origin and record.origin.line for record in reading.records] == [4, 11]
    assert [(item.reason, item.path, item.at and item.at.line) for item in reading.left_out] == [
        ("no text in column 'output'", "instances[1]", 8)
    ]
    assert write(reading.records, "lmflow", str(tmp_path / "b.json")) == []
    assert json.loads((tmp_path / "b.json").read_text()) == {
        "type": "text2text",
        "instances": [{"input": "a", "output": "b"}, {"input": "d", "output": "e"}],
    }


def test_numbers_beside_a_message_are_labels_and_stay_numbers(tmp_path: Path) -> None:
    """As ms-swift reads classes, several of them, and values; a name has no place there."""
    said = [{"role": "user", "content": "Fun."}]
    found = [{"messages": said, "label": label} for label in (1, [0, 2], 0.25, -3)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    reading = read([str(tmp_path / "a.jsonl")])
    records = [record for record in reading.records if isinstance(record, Labelled)]
    assert [record.labels for record in records] == [("1",), ("0", "2"), ("0.25",), ("-3",)]
    assert [DIALECTS["swift-classification"].write(record) for record in records] == found
    named = msgspec.structs.replace(records[0], labels=("good",))
    assert DIALECTS["swift-classification"].write(named) is None


def test_steps_that_end_in_a_mark_are_judged_by_what_stands_in_its_place(tmp_path: Path) -> None:
    """Math-Shepherd's two texts differ there alone; where they differ otherwise the row is told."""
    good = {"input": "1+1+1? Step 1: 1+1=2 ки\nStep 2: so 4 ки", "label": "1+1+1? Step 1: 1+1=2 +\nStep 2: so 4 -"}
    (tmp_path / "a.jsonl").write_text(json.dumps(good) + "\n" + json.dumps(good | {"label": "other +"}) + "\n")
    reading = read([str(tmp_path / "a.jsonl")])
    assert [DIALECTS["stepwise"].write(record) for record in reading.records] == [
        {"prompt": "1+1+1?", "completions": ["Step 1: 1+1=2", "Step 2: so 4"], "labels": [True, False]}
    ]
    assert [item.reason for item in reading.left_out] == ["labels that are not a truth value for each step"]


@pytest.mark.parametrize(
    ("row", "problem", "remedy"),
    [
        ({"input_ids": [1, 2], "labels": [-100, 2]}, "token ids", "Give the texts"),
        ({"tokens": ["EU"], "ner_tags": [3]}, "tags of single tokens", "write a source and a target column"),
        (
            {"text": "EU rejects", "spans": [{"start": 0, "end": 2, "label": "ORG"}]},
            "labels of stretches of text",
            "a source",
        ),
    ],
)
def test_what_no_record_can_be_made_of_says_what_it_is(
    row: dict[str, object], problem: str, remedy: str, tmp_path: Path
) -> None:
    """Token ids and named entities are known, and refused with what to do instead."""
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError) as refused:
        read([str(tmp_path / "a.jsonl")])
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy


def test_a_layout_that_is_nearly_known_is_told_with_what_it_needs(tmp_path: Path) -> None:
    """Rather than a list of all names."""
    (tmp_path / "a.jsonl").write_text('{"system_prompt": "s", "chosen_response": "a", "instruction": "q"}\n')
    with pytest.raises(DataError) as refused:
        read([str(tmp_path / "a.jsonl")])
    assert "The nearest: argilla needs columns 'instruction', 'chosen_response' and 'rejected_response'." in str(
        refused.value
    )


def test_labels_that_are_called_like_columns_make_no_header(tmp_path: Path) -> None:
    """A first row that ends in 'positive' is a row."""
    (tmp_path / "a.tsv").write_text(
        "loud fun for all\tpositive\nvery dull indeed\tnegative\nso so, I say\tpositive\nno\tnegative\n"
    )
    assert len(read([str(tmp_path / "a.tsv")]).records) == 4


def test_lines_of_tokens_with_tags_are_no_text(tmp_path: Path) -> None:
    """Read as text they would be learned with their tags; whoever wants that can say so."""
    (tmp_path / "a.txt").write_text(
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n"
    )
    with pytest.raises(DataError, match=r"tags of single tokens \(CoNLL\).*--dialect plain"):
        read([str(tmp_path / "a.txt")])
    assert read([str(tmp_path / "a.txt")], dialect="plain").records
