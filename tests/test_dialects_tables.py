"""Labelled tables and text pairs: which column holds what."""

import json
from collections import Counter
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from formtune.conversion import convert
from formtune.dialects import DIALECTS, Columns, Reading, read
from formtune.errors import DataError, SettingError
from formtune.records import Labelled, Pair


def table(folder: Path, content: str | list[dict[str, object]], name: str = "a.csv", **options: object) -> Reading:
    """Write a table, or objects as JSON lines, and read it."""
    if isinstance(content, list):
        name, content = "a.jsonl", "".join(json.dumps(row) + "\n" for row in content)
    (folder / name).write_text(content, encoding="utf-8")
    return read([str(folder / name)], **options)


def labelled(reading: Reading) -> list[tuple[dict[str, str], tuple[str, ...]]]:
    return [(record.inputs, record.labels) for record in reading.records if isinstance(record, Labelled)]


def pairs(reading: Reading) -> list[tuple[str, tuple[str, ...]]]:
    return [(record.source, record.targets) for record in reading.records if isinstance(record, Pair)]


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        ("label,review", "review", "label"),
        ("Text,Category", "Text", "Category"),
        ("id,sentence,gold_label", "sentence", "gold_label"),
        ("Content,Sentiment,user", "Content", "Sentiment"),
        ("utterance,intent,split", "utterance", "intent"),
        ("内容,标签", "内容", "标签"),
    ],
)
def test_columns_are_known_by_the_names_that_the_field_uses(tmp_path: Path, header: str, text: str, label: str) -> None:
    """Case, language and further columns do not matter."""
    names = header.split(",")
    rows = [
        ",".join({text: f"some text {n}", label: "ab"[n % 2]}.get(name, f"x{n}") for name in names) for n in range(4)
    ]
    found = labelled(table(tmp_path, "\n".join([header, *rows])))
    assert found == [({text: f"some text {n}"}, ("ab"[n % 2],)) for n in range(4)]


@pytest.mark.parametrize("pair", [("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2")])
def test_pairs_of_texts_are_known(tmp_path: Path, pair: tuple[str, str]) -> None:
    """Both texts become inputs, in order."""
    found = table(tmp_path, [{pair[1]: "b", "label": 1, pair[0]: "a"}, {pair[1]: "d", "label": 0, pair[0]: "c"}])
    assert labelled(found)[0] == ({pair[0]: "a", pair[1]: "b"}, ("1",))
    assert list(labelled(found)[0][0]) == list(pair)


def test_a_title_belongs_to_its_text(tmp_path: Path) -> None:
    """A title column beside the text is an input too, and may be empty."""
    found = table(tmp_path, "label,title,content\nx,Short,Long text\ny,,Only text\n")
    assert labelled(found)[1] == ({"title": "", "content": "Only text"}, ("y",))


def test_a_table_without_a_header_is_told_by_its_content(tmp_path: Path) -> None:
    """The label has few short values; what is longer and differs is text, wherever it stands."""
    first = table(tmp_path, "".join(f'"{n % 3}","Title no {n}","A text of number {n}"\n' for n in range(9)))
    assert labelled(first)[1] == ({"text_1": "Title no 1", "text_2": "A text of number 1"}, ("1",))
    last = table(tmp_path, "".join(f"a film of kind {n}\t{n % 2}\n" for n in range(9)), "a.tsv")
    assert labelled(last)[1] == ({"text": "a film of kind 1"}, ("1",))
    assert last.evidence == "text in '1', label in '2' (2 different in 9 rows)"


def test_columns_of_a_table_without_a_header_are_numbered(tmp_path: Path) -> None:
    """--text 3 --label 1 says it where the content does not."""
    found = table(tmp_path, "x,1,one\ny,2,two\n", columns=Columns(text="3", label="1"))
    assert labelled(found) == [({"text": "one"}, ("x",)), ({"text": "two"}, ("y",))]


def test_named_columns_win_over_known_ones(tmp_path: Path) -> None:
    """What the user says is taken; several texts stand with commas between them."""
    content = "text,label,remark,verdict\na,x,first,yes\nb,y,second,no\n"
    found = table(tmp_path, content, columns=Columns(text="remark, text", label="Verdict"))
    assert labelled(found)[0] == ({"remark": "first", "text": "a"}, ("yes",))


def test_numbers_and_truth_values_become_their_text(tmp_path: Path) -> None:
    """1, 1.0 and true are labels like any other."""
    rows = [{"text": str(label), "label": label} for label in (1, 1.0, 0.5, True, "1")]
    assert [label for _, label in labelled(table(tmp_path, rows))] == [("1",), ("1",), ("0.5",), ("true",), ("1",)]


def test_several_labels_stay_several(tmp_path: Path) -> None:
    """A list of labels is read as such, each once."""
    found = table(tmp_path, [{"text": "a", "labels": ["x", "y", "x"]}, {"text": "b", "labels": []}])
    assert [labels for _, labels in labelled(found)] == [("x", "y"), ()]


def test_a_row_without_a_label_is_to_be_predicted(tmp_path: Path) -> None:
    """It is kept; so are pairs in a file without any label, and hidden labels (-1)."""
    mixed = table(tmp_path, "text,label\na,x\nb,\nc,y\n")
    assert [labels for _, labels in labelled(mixed)] == [("x",), (), ("y",)]
    hidden = table(tmp_path, [{"premise": "a", "hypothesis": "b", "label": -1}] * 2)
    assert labelled(hidden) == [({"premise": "a", "hypothesis": "b"}, ())] * 2
    assert (
        table(tmp_path, [{"premise": "a", "hypothesis": "b"}]).evidence == "text in 'premise', 'hypothesis'; no labels"
    )


def test_texts_to_be_predicted_can_be_asked_for(tmp_path: Path) -> None:
    """A lone text column is plain text, unless the dialect is named."""
    assert table(tmp_path, "text\nhello there\n").dialect == "plain"
    assert labelled(table(tmp_path, "text\nhello there\n", dialect="labelled")) == [({"text": "hello there"}, ())]
    assert labelled(table(tmp_path, "hello there\n", "a.txt", dialect="labelled")) == [({"text": "hello there"}, ())]


def test_no_agreement_is_no_label(tmp_path: Path) -> None:
    """SNLI writes a dash where its annotators did not agree."""
    rows = [{"sentence1": "a", "sentence2": "b", "gold_label": label} for label in ("neutral", "-", "entailment")]
    assert [labels for _, labels in labelled(table(tmp_path, rows))] == [("neutral",), (), ("entailment",)]


def test_names_of_classes_are_preferred_to_their_numbers(tmp_path: Path) -> None:
    """Where a column gives each number its name, one for one, the name is the label, and the number goes aside."""
    rows = [{"label": n % 2, "label_desc": ["no", "yes"][n % 2], "sentence": f"s {n}"} for n in range(4)]
    found = table(tmp_path, rows)
    assert labelled(found)[1] == ({"sentence": "s 1"}, ("yes",))
    assert found.records[1].extra == '{"label":1}'


def test_a_row_without_text_is_left_out(tmp_path: Path) -> None:
    """With its place and its reason."""
    found = table(
        tmp_path, [{"text": "a", "label": 1}, {"text": " ", "label": 0}, {"label": 1}, {"text": {}, "label": 1}]
    )
    assert [(item.reason, item.at.line if item.at else None) for item in found.left_out] == [
        ("no text in column 'text'", 2),
        ("no text in column 'text'", 3),
        ("no text in column 'text'", 4),
    ]
    assert found.n_rows == 4


def test_rows_that_are_none_are_counted_among_what_is_left_out(tmp_path: Path) -> None:
    """A line that is not JSON, and a label that is an object, with line and column."""
    content = (
        '{"text": "a", "label": 1}\n{"text": "b", label}\n{"text": "c", "label": [{}]}\n{"text": "d", "label": 0}\n'
    )
    found = table(tmp_path, content, "a.jsonl")
    assert (len(found.records), found.n_rows) == (2, 4)
    assert [(item.reason, item.at.line if item.at else 0, item.detail) for item in found.left_out] == [
        ("not valid JSON", 2, "column 15: object keys must be strings"),
        ("a label that is not a text or a number", 3, "dict"),
    ]


def test_what_is_not_known_goes_aside(tmp_path: Path) -> None:
    """Nothing of a row is lost."""
    found = table(tmp_path, [{"text": "a", "label": 1, "id": 7, "meta": {"by": ["x"]}}])
    assert found.records[0].extra == '{"id":7,"meta":{"by":["x"]},"label":1}'


def test_a_group_column_says_what_belongs_together(tmp_path: Path) -> None:
    """--group names it; the value stays aside too, so that a round trip loses nothing."""
    found = table(tmp_path, "text,label,film\na,x,Alien\nb,y,\n", columns=Columns(group="film"))
    assert [record.group for record in found.records] == ["Alien", None]
    assert found.records[0].extra == '{"film":"Alien"}'


def test_records_have_stable_ids(tmp_path: Path) -> None:
    """An id follows from the content, with a number where a row stands again."""
    ids = [record.id for record in table(tmp_path, "text,label\na,x\na,x\nb,x\n").records]
    assert ids[1] == f"{ids[0]}-2"
    assert ids == [record.id for record in table(tmp_path, "text,label\na,x\na,x\nb,x\n", "b.csv").records]


# --- pairs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target"),
    [("source", "target"), ("article", "highlights"), ("document", "summary"), ("mr", "ref"), ("input", "output")],
)
def test_sources_and_targets_are_known(tmp_path: Path, source: str, target: str) -> None:
    """Summaries, data-to-text and the like."""
    rows = [{source: f"A long text {n}", target: f"A short one {n}", "id": n} for n in range(3)]
    assert pairs(table(tmp_path, rows))[2] == ("A long text 2", ("A short one 2",))


def test_a_row_without_a_translation_may_come_first(tmp_path: Path) -> None:
    """It is left out; the others say what the data are."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1}\n' + '{"translation": {"en": "a b", "de": "c d"}}\n' * 3)
    reading = read([str(path)])
    assert (reading.dialect, len(reading.records), len(reading.left_out)) == ("pairs", 3, 1)


def test_translations_come_by_language(tmp_path: Path) -> None:
    """As an object, or as two columns that are called like languages; an id is no Indonesian."""
    nested = table(tmp_path, [{"translation": {"en": "dog", "de": "Hund"}}]).records[0]
    flat = table(tmp_path, [{"id": 4, "en": "a dog", "zh": "狗"}]).records[0]
    assert isinstance(nested, Pair)
    assert isinstance(flat, Pair)
    assert (nested.source, nested.targets, nested.source_language, nested.target_language) == (
        "dog",
        ("Hund",),
        "en",
        "de",
    )
    assert (flat.source, flat.targets, flat.source_language, flat.target_language) == ("a dog", ("狗",), "en", "zh")


def test_several_targets_are_several_answers(tmp_path: Path) -> None:
    """As a list, or as numbered columns."""
    listed = table(tmp_path, [{"source": "a", "references": ["b", "c"]}])
    numbered = table(tmp_path, [{"dialogue": "a", "summary1": "b", "topic1": "t", "summary2": "c"}])
    assert pairs(listed) == pairs(numbered) == [("a", ("b", "c"))]


def test_a_text_with_few_targets_is_labelled(tmp_path: Path) -> None:
    """ "text" and "target" are a classification set where the targets are few, and a pair where they differ."""
    few = table(tmp_path, [{"text": f"t {n}", "target": n % 2} for n in range(6)])
    many = table(tmp_path, [{"text": f"t {n}", "target": f"another text {n}"} for n in range(6)])
    assert (few.dialect, many.dialect) == ("labelled", "pairs")


def test_a_pair_without_a_target_is_to_be_predicted(tmp_path: Path) -> None:
    """It is kept, without targets."""
    assert pairs(table(tmp_path, "source,target\na,b\nc,\n")) == [("a", ("b",)), ("c", ())]


# --- what cannot be recognized ---------------------------------------------------------------------------------------


def test_unknown_columns_are_listed_with_the_flag_that_settles_it(tmp_path: Path) -> None:
    """The message shows what was found."""
    with pytest.raises(DataError, match=r"The columns 'text', 'verdict' do not tell .* --text COLUMN --label COLUMN"):
        table(tmp_path, "text,verdict\na,x\nb,y\n")


def test_a_table_of_numbers_is_not_data(tmp_path: Path) -> None:
    """Without a header the message says so."""
    with pytest.raises(DataError, match=r"The columns '1', '2', '3' \(the first line names none\) do not tell"):
        table(tmp_path, "1,0,3\n2,0,4\n3,1,3\n")


def test_a_mistyped_column_gets_the_nearest_name(tmp_path: Path) -> None:
    """The flag, the nearest name and the list."""
    with pytest.raises(SettingError) as told:
        table(tmp_path, "text,category\na,x\n", columns=Columns(label="catgory"))  # typos: ignore
    assert (
        str(told.value)
        == (
            "--label: There is no column 'catgory'; the nearest is 'category'. Choose from: text, category."  # typos: ignore
        )
    )


def test_a_missing_group_column_is_told(tmp_path: Path) -> None:
    """The group is looked up as the others are."""
    with pytest.raises(SettingError, match="--group: There is no column 'film'"):
        table(tmp_path, "text,label\na,x\n", columns=Columns(group="film"))


def test_a_dialect_that_does_not_fit_says_what_it_needs(tmp_path: Path) -> None:
    """A dialect that is named is not replaced by another."""
    with pytest.raises(DataError, match=r"pairs needs a source column \(--source\) and a target column \(--target\)"):
        table(tmp_path, "text,label\na,x\nb,y\nc,y\nd,y\n", dialect="pairs")


def test_a_mistyped_dialect_gets_the_nearest_name(tmp_path: Path) -> None:
    """As everywhere."""
    with pytest.raises(SettingError, match="--dialect: There is no dialect 'alpacca'; the nearest is 'alpaca'"):
        table(tmp_path, "a,b\n", dialect="alpacca")


def test_columns_of_two_kinds_are_refused(tmp_path: Path) -> None:
    """A label and a source do not meet in one kind of record."""
    with pytest.raises(SettingError, match="No dialect has a use for --label and --source together"):
        table(tmp_path, "a,b\nx,y\n", columns=Columns(label="a", source="b"))


def test_a_file_of_which_no_row_can_be_read_is_an_error(tmp_path: Path) -> None:
    """The most frequent reason stands in the message, with the first place."""
    with pytest.raises(
        DataError,
        match=r"a.jsonl:1: None of the 2 rows can be read; 2 of them: not valid JSON \(column 6: the text ends",
    ):
        table(tmp_path, '{"a":\n{"b":\n', "a.jsonl")


def test_no_data_is_an_error() -> None:
    """An empty list of files is told."""
    with pytest.raises(SettingError, match=r"DATA: No data is given"):
        read([])


# --- the real files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "n_records", "labels"),
    [
        ("cls_en/ag_news/test.csv", 1200, {"1": 311, "2": 288, "3": 313, "4": 288}),
        ("cls_en/sst2/test.tsv", 1821, {"0": 912, "1": 909}),
        ("cls_en/sms_spam/test.tsv", 900, {"ham": 783, "spam": 117}),
        (
            "cls_en/citation_intent/test.txt",
            139,
            {"Background": 71, "Uses": 26, "CompareOrContrast": 25, "Motivation": 7, "Future": 5, "Extends": 5},
        ),
        ("pair_en/rte/val.jsonl", 277, {"entailment": 146, "not_entailment": 131}),
        ("pair_en/snli_2k/snli_1200.csv", 1200, {"entailment": 409, "neutral": 408, "contradiction": 380}),
        ("cls_zh/chnsenticorp_htl/test.csv", 1000, {"1": 682, "0": 318}),
        ("pair_zh/ocnli_few/test_public.json", 2520, {"neutral": 840, "entailment": 840, "contradiction": 840}),
    ],
)
def test_real_sets_are_read_whole(shared: Path, files: str, n_records: int, labels: dict[str, int]) -> None:
    """Rows and labels are those that the sets' own documentation counts."""
    reading = read([str(shared / files)])
    assert (reading.dialect, len(reading.records), reading.left_out) == ("labelled", n_records, [])
    assert Counter(label for _, found in labelled(reading) for label in found) == labels


@pytest.mark.parametrize(
    ("files", "n_labels", "n_each"),
    [("cls_en/banking77/test.csv", 77, 40), ("cls_zh/tnews_few/test_public.json", 15, 134)],
)
def test_real_sets_with_many_labels_are_read_whole(shared: Path, files: str, n_labels: int, n_each: int) -> None:
    """Every label has equally many rows in these."""
    counts = Counter(found for _, found in labelled(read([str(shared / files)])))
    assert (len(counts), set(counts.values())) == (n_labels, {n_each})


def test_the_one_review_without_text_is_left_out(shared: Path) -> None:
    """5,966 rows, one of which holds nothing but a label."""
    reading = read([str(shared / "cls_zh/chnsenticorp_htl/train.csv")])
    assert (len(reading.records), [item.reason for item in reading.left_out]) == (5965, ["no text in column 'review'"])


@pytest.mark.parametrize(
    ("files", "n_records", "n_targets"),
    [
        ("seq2seq/e2e_nlg/test.csv", 2400, {1}),
        ("seq2seq/dialogsum/dialogsum.test.jsonl", 500, {3}),
        ("seq2seq/dialogsum/dialogsum.dev.jsonl", 500, {1}),
    ],
)
def test_real_pairs_are_read_whole(shared: Path, files: str, n_records: int, n_targets: set[int]) -> None:
    """Meaning representations, and dialogues with one summary or three."""
    reading = read([str(shared / files)])
    assert (reading.dialect, len(reading.records)) == ("pairs", n_records)
    assert {len(targets) for _, targets in pairs(reading)} == n_targets


def test_odd_tables_are_read_or_refused_with_a_reason(shared: Path) -> None:
    """Of seventeen tables from the wild only one is labelled text; the others are told what is wrong."""
    told = {}
    for path in sorted((shared / "messy" / "tables").iterdir()):
        try:
            told[path.name] = read([str(path)]).dialect
        except DataError as error:
            told[path.name] = "not UTF-8" if "is not UTF-8" in error.problem else "not recognized"
    assert {name for name, what in told.items() if what == "labelled"} == {"labelled_transactions.csv"}
    assert {name for name, what in told.items() if what == "not UTF-8"} == {
        "characters.csv",
        "spanish_chars.csv",
        "sparse_with_column_errors.csv",
    }
    assert len(told) == 17


def test_a_layout_without_columns_to_name_does_not_ask_for_flags(tmp_path: Path) -> None:
    """The remedy is one that the user can take."""
    path = tmp_path / "a.csv"
    path.write_text("label,review\n1,Fine.\n0,Dull.\n")
    with pytest.raises(DataError, match=r"squad needs 'data'.* Name another with --dialect, or none at all"):
        read([str(path)], dialect="squad")
    with pytest.raises(DataError, match="Name the columns with these flags"):
        read([str(path)], dialect="pairs")


def test_questions_without_answers_say_so(tmp_path: Path) -> None:
    """They are to be answered."""
    path = tmp_path / "a.csv"
    path.write_text("id,ask\n1,Why?\n2,How?\n")
    assert read([str(path)], columns=Columns(question="ask")).evidence == "question in 'ask', no answer column"


def test_a_label_that_is_not_a_number_is_none(tmp_path: Path) -> None:
    """A table that was written with missing labels has no class "nan"."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": [1.0, float("nan"), 0.0]}), path)
    assert labelled(read([str(path)])) == [({"text": "a"}, ("1",)), ({"text": "b"}, ()), ({"text": "c"}, ("0",))]


def test_a_table_whose_last_columns_have_no_name_is_read_below_its_header(tmp_path: Path) -> None:
    """As Kaggle has the SMS messages: the header is no record."""
    content = "v1,v2,,,\nham,Go until jurong,,,\nspam,Free entry,,,\n"
    found = labelled(table(tmp_path, content, columns=Columns(text="v2", label="v1")))
    assert found == [({"v2": "Go until jurong"}, ("ham",)), ({"v2": "Free entry"}, ("spam",))]


def test_flags_that_are_given_are_not_asked_for_again(tmp_path: Path) -> None:
    """The message says what is missing beside them."""
    with pytest.raises(DataError) as told:
        table(tmp_path, "text,label\na,x\nb,y\n", columns=Columns(question="text", label="label"))
    assert told.value.problem == (
        "The columns 'text', 'label' do not make a record of --label and --question: multiple-choice needs a question"
        " (--question) with 'choices' or columns A, B, C ..., and an answer (--answer)."
    )
    assert told.value.remedy == "Add what is missing, or take back --label or --question."


def test_an_object_without_keys_is_no_line_of_text(tmp_path: Path) -> None:
    """The message says what the file holds."""
    with pytest.raises(DataError, match=r"a.json: The file holds objects without a key\. Give objects with keys\."):
        table(tmp_path, "{}", "a.json")


def test_one_column_has_one_role(tmp_path: Path) -> None:
    """A text that is its own label teaches nothing."""
    with pytest.raises(SettingError, match="--text and --label: The column 'text' is named twice"):
        table(tmp_path, "text,label\na,x\n", columns=Columns(text="text", label="text"))
    with pytest.raises(SettingError, match="--text and --label: The column 'text' is named twice"):
        table(tmp_path, "text,label\na,x\n", columns=Columns(text="label,text", label="TEXT"))
    with pytest.raises(SettingError, match="--text: The column 'text' is named twice"):
        table(tmp_path, "text,label\na,x\n", columns=Columns(text="text,text", label="label"))


def test_a_flag_that_a_dialect_has_no_use_for_is_refused(tmp_path: Path) -> None:
    """It would be passed over in silence."""
    with pytest.raises(SettingError, match=r"--question: The dialect 'labelled' has no use for it; it needs a text"):
        table(tmp_path, "text,label\na,x\n", dialect="labelled", columns=Columns(question="text", label="label"))


def test_of_rows_of_several_layouts_the_most_frequent_is_read(tmp_path: Path) -> None:
    """Whichever layout comes first; the others are left out, and the evidence says how many rows they are."""
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    found: list[object] = [{"instruction": "a", "input": "", "output": "b"}, {"prompt": "a", "completion": "b"}]
    found += [{"messages": said}] * 3 + [{"text": "x"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    reading = read([str(tmp_path / "a.jsonl")])
    assert (reading.dialect, len(reading.records), len(reading.left_out)) == ("messages", 3, 3)
    assert reading.evidence == "'messages' with roles in 3 of 3 rows; 3 of 6 rows have other columns"


@pytest.mark.parametrize("label", [0, 1.5, True, [0, 2], -3])
def test_labels_that_are_numbers_stay_numbers(label: object, tmp_path: Path) -> None:
    """Trainers of classes want numbers: what is read as a text is written as what it was, under one key."""
    found = [{"text": "a film", "label": label, "n": 1}, {"text": "a play", "label": label}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    records = read([str(tmp_path / "a.jsonl")]).records
    assert all(isinstance(record, Labelled) and all(type(one) is str for one in record.labels) for record in records)
    again = [json.loads(msgspec.json.encode(DIALECTS["labelled"].write(record))) for record in records]
    assert again == found
    renamed = msgspec.structs.replace(records[1], labels=("good",))  # by hand, or by a fix
    assert DIALECTS["labelled"].write(renamed) == {"label": label, "text": "a play", "label_name": "good"}


def test_a_number_in_a_table_is_no_loss(tmp_path: Path) -> None:
    """Its digits come back as the same label; other numbers are told, for a table has none."""
    (tmp_path / "a.jsonl").write_text('{"text": "a film", "label": 0, "n": 1}\n{"text": "a play", "label": 1}\n')
    records = read([str(tmp_path / "a.jsonl")]).records
    written = convert(records, "labelled", tmp_path / "b.csv")
    assert [entry["key"] for entry in written.cannot_carry] == ["extra.n"]
    assert (tmp_path / "b.csv").read_text() == "n,text,label\n1,a film,0\n,a play,1\n"
