"""Plain text, labelled lines, aligned files; and what files records are written to."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from formtune.dialects import Columns, Reading, read, write
from formtune.errors import DataError, SettingError
from formtune.records import Labelled, Pair, Plain, Record


def file(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content, encoding="utf-8")
    return str(folder / name)


def texts(reading: Reading) -> list[str]:
    return [record.text for record in reading.records if isinstance(record, Plain)]


def pairs(reading: Reading) -> list[tuple[str, tuple[str, ...]]]:
    return [(record.source, record.targets) for record in reading.records if isinstance(record, Pair)]


# --- plain -----------------------------------------------------------------------------------------------------------


def test_text_columns_and_lists_of_lines_are_plain_text(tmp_path: Path) -> None:
    """Beside columns that say where a text comes from; a list of strings is joined by line breaks."""
    path = file(tmp_path, "a.json", '[{"author": "李白", "paragraphs": ["一", "二"], "title": "t", "id": "x"}]')
    assert texts(read([path])) == ["一\n二"]
    assert read([path]).records[0].extra == '{"author":"李白","title":"t","id":"x"}'


def test_json_texts_are_plain_text(tmp_path: Path) -> None:
    """A file of JSON strings."""
    assert texts(read([file(tmp_path, "a.jsonl", '"one"\n"two"\n')])) == ["one", "two"]


def test_an_unexplained_column_is_not_passed_over(tmp_path: Path) -> None:
    """It could be the label; with the dialect named, it goes aside."""
    path = file(tmp_path, "a.jsonl", '{"text": "a", "verdict": "x"}\n')
    with pytest.raises(DataError, match="'text', 'verdict' do not tell"):
        read([path])
    assert texts(read([path], dialect="plain")) == ["a"]
    assert texts(read([path], columns=Columns(text="verdict"))) == ["x"]


def test_real_texts_are_read_whole(shared: Path) -> None:
    """A paragraph a line, wrapped speeches, poems."""
    counts = {
        name: len(read([str(shared / "text" / name)]).records)
        for name in ("wikitext2/valid.txt", "tinyshakespeare/input.txt", "poet_tang_zh/poet.tang.10000.json")
    }
    assert list(counts.values()) == [2461, 7222, 1000]


# --- labelled lines --------------------------------------------------------------------------------------------------


def test_labels_before_the_text_are_read(tmp_path: Path) -> None:
    """TREC's coarse label is the label, the fine one goes aside; fastText may have several."""
    trec = read([file(tmp_path, "a.train", "NUM:dist How far ?\nLOC:city Where ?\nNUM:date When ?\n")]).records
    fast = read([file(tmp_path, "b.txt", "__label__a __label__b some text\n__label__a more\n")]).records
    assert [record.labels for record in (*trec, *fast) if isinstance(record, Labelled)] == [
        ("NUM",),
        ("LOC",),
        ("NUM",),
        ("a", "b"),
        ("a",),
    ]
    assert trec[0].extra == '{"fine_label":"dist"}'


@pytest.mark.parametrize(
    "content", ["Bob: hello there\nAnn: hi you\n", "http://a.b c\nhttp://d.e f\n", "12:30 noon\n14:00 tea\n"]
)
def test_a_colon_alone_is_no_label(tmp_path: Path, content: str) -> None:
    """Dialogues, addresses and times are plain text."""
    assert read([file(tmp_path, "a.txt", content)]).dialect == "plain"


def test_a_line_without_a_label_is_left_out(tmp_path: Path) -> None:
    """Among many that have one."""
    path = file(tmp_path, "a.txt", "NUM:dist How far ?\n" * 40 + "What ?\n")
    assert [(item.reason, str(item.at)) for item in read([path]).left_out] == [
        ("a line that does not begin with a label", f"{path}:41")
    ]


def test_trec_needs_its_encoding(shared: Path) -> None:
    """One byte of its training file is Latin-1; nothing is guessed."""
    path = str(shared / "cls_en/trec/TREC.train")
    with pytest.raises(DataError, match=r"TREC.train:66: Byte 60 of the line, 0xf0, is not UTF-8"):
        read([path])
    found = read([path], encoding="latin-1")
    assert Counter(label for record in found.records if isinstance(record, Labelled) for label in record.labels) == {
        "ENTY": 1250,  # typos: ignore
        "HUM": 1223,
        "DESC": 1162,
        "NUM": 896,
        "LOC": 835,
        "ABBR": 86,
    }


# --- aligned files ---------------------------------------------------------------------------------------------------


def test_files_that_differ_in_their_ending_are_aligned(tmp_path: Path) -> None:
    """Several sets at once; the first file of a set is its source, unless one is called so."""
    names = {"a.en": "one\ntwo\n", "a.de": "eins\nzwei\n", "b.en": "three\n", "b.de": "drei\n"}
    paths = [file(tmp_path, name, content) for name, content in names.items()]
    assert pairs(read(paths)) == [("one", ("eins",)), ("two", ("zwei",)), ("three", ("drei",))]
    called = [
        file(tmp_path, name, content) for name, content in {"c.ref0": "x\n", "c.ref1": "y\n", "c.src": "w\n"}.items()
    ]
    assert pairs(read(called)) == [("w", ("x", "y"))]


def test_files_can_be_named_as_source_and_target(tmp_path: Path) -> None:
    """Under any names; several targets stand with commas between them."""
    one, two, three = (file(tmp_path, name, name + "\n") for name in ("in", "out1", "out2"))
    assert pairs(read([], columns=Columns(source=one, target=f"{two},{three}"))) == [("in", ("out1", "out2"))]
    assert pairs(read([one, two], dialect="aligned")) == [("in", ("out1",))]


def test_files_of_unequal_length_are_refused(tmp_path: Path) -> None:
    """From the first missing line on, every pair would be wrong."""
    paths = [file(tmp_path, "a.en", "one\ntwo\n"), file(tmp_path, "a.de", "eins\n")]
    with pytest.raises(DataError, match=r"a.de: The file has 1 lines, but .*a.en has 2"):
        read(paths)


def test_an_empty_line_is_left_out_on_both_sides(tmp_path: Path) -> None:
    """The lines behind it stay aligned."""
    paths = [file(tmp_path, "a.en", "one\n\nthree\n"), file(tmp_path, "a.de", "eins\nzwei\ndrei\n")]
    found = read(paths)
    assert pairs(found) == [("one", ("eins",)), ("three", ("drei",))]
    assert [(item.reason, str(item.at)) for item in found.left_out] == [
        ("an empty line on the source's side", f"{paths[0]}:2")
    ]


def test_one_file_alone_is_not_aligned(tmp_path: Path) -> None:
    """The message says what is missing."""
    with pytest.raises(DataError, match=r"One file alone is not aligned\. Give two or more text files"):
        read([file(tmp_path, "a.en", "one\n")], dialect="aligned")


def test_real_aligned_files_are_read_whole(shared: Path) -> None:
    """Packed translations, and corrections with four references."""
    folder = shared / "seq2seq"
    flickr = read([str(folder / f"multi30k_en_de/test_2016_flickr.{language}.gz") for language in ("en", "de")])
    fluent = read([str(folder / "jfleg/dev.src"), str(folder / "jfleg/dev.ref*")])
    assert (len(flickr.records), flickr.left_out) == (1000, [])
    assert Counter(len(targets) for _, targets in pairs(fluent)) == {4: 754}


# --- writing ---------------------------------------------------------------------------------------------------------

LABELLED: list[Record] = [
    Labelled(inputs={"text": 'say "hi",\nyou'}, labels=("a",)),
    Labelled(inputs={"text": "tab\there"}, labels=("b",), extra='{"n":1}'),
]


def test_tables_quote_what_needs_it(tmp_path: Path) -> None:
    """A csv holds commas, quotes and line breaks; its columns are all that any row has."""
    assert write(LABELLED, "labelled", str(tmp_path / "a.csv")) == []
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == ('text,label,n\n"say ""hi"",\nyou",a,\ntab\there,b,1\n')


def test_what_tabs_cannot_hold_is_left_out(tmp_path: Path) -> None:
    """Line breaks and tabs have no place in a tab-separated file."""
    records = [*LABELLED, Labelled(inputs={"text": "plain"}, labels=("a",))]
    assert len(write(records, "labelled", str(tmp_path / "a.tsv"))) == 2
    assert (tmp_path / "a.tsv").read_text(encoding="utf-8") == "text\tlabel\nplain\ta\n"


def test_texts_can_be_lines(tmp_path: Path) -> None:
    """A text with a line break has no line."""
    left_out = write(
        [Plain(text="one"), Plain(text="two\nthree"), Plain(text="four")], "plain", str(tmp_path / "a.txt")
    )
    assert len(left_out) == 1
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "one\nfour\n"


def test_aligned_files_have_one_number_of_targets(tmp_path: Path) -> None:
    """What has another number of targets than most is left out; languages become endings."""
    two = [Pair(source=f"s{n}", targets=("t", "u")) for n in range(2)]
    assert len(write([*two, Pair(source="s", targets=("t",))], "aligned", str(tmp_path / "a"))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ref0", "a.ref1", "a.src"]
    write(
        [Pair(source="s", targets=("t",), source_language="en", target_language="de")], "aligned", str(tmp_path / "b")
    )
    assert (tmp_path / "b.de").read_text(encoding="utf-8") == "t\n"


def test_a_packed_file_is_the_same_each_time(tmp_path: Path) -> None:
    """No time of day in an archive."""
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write(LABELLED, "labelled", str(tmp_path / name))
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).count(b"\n") == 2


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """An unknown ending, an unknown dialect, a folder that is not there."""
    with pytest.raises(SettingError, match=r"There is no way to write a file that ends in '.xlsx'"):
        write(LABELLED, "labelled", str(tmp_path / "a.xlsx"))
    with pytest.raises(SettingError, match="--to: There is no dialect 'labeled'; the nearest is 'labelled'"):
        write(LABELLED, "labeled", str(tmp_path / "a.csv"))
    with pytest.raises(SettingError, match="The file cannot be written"):
        write(LABELLED, "labelled", str(tmp_path / "no" / "a.csv"))


def test_a_glob_does_not_say_which_file_is_the_source(tmp_path: Path) -> None:
    """Its order is the alphabet's, which would make German the source of English."""
    (tmp_path / "par.de").write_text("Hunde\n")
    (tmp_path / "par.en").write_text("Dogs\n")
    with pytest.raises(SettingError) as told:
        read([str(tmp_path / "par.*")])
    assert str(told.value).replace(f"{tmp_path}/", "") == (
        "DATA: Nothing says which of these files is the source: par.de, par.en. Name them with --source par.de"
        " --target par.en, or the other way round, in place of DATA; or one after the other, the source first."
    )
    named = read([], columns=Columns(source=str(tmp_path / "par.en"), target=str(tmp_path / "par.de")))
    assert named.evidence == "line N of par.en is the source, line N of par.de its target"
    assert named.evidence == read([str(tmp_path / "par.en"), str(tmp_path / "par.de")]).evidence


@pytest.mark.parametrize("source", ["src", "zh"])
def test_a_glob_will_do_where_the_names_say_the_source(tmp_path: Path, source: str) -> None:
    """One file is called the source, or all the others are called targets."""
    for ending in ("ref0", "ref1", source):
        (tmp_path / f"dev.{ending}").write_text("x\n")
    evidence = read([str(tmp_path / "dev.*")]).evidence
    assert evidence == f"line N of dev.{source} is the source, line N of dev.ref0, dev.ref1 its target"
