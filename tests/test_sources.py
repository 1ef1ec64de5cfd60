"""Bytes become rows: archives, encodings, layouts, and the physical line of each row."""

import bz2
import gzip
import io
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from formtune.dialects import read
from formtune.errors import DataError, SettingError
from formtune.recipe import make_recipe
from formtune.records import LeftOut
from formtune.sources import Row, Slice, expand, open_bytes, read_lines, read_rows, slices, stem_and_suffix
from formtune.sources.hub import hub_files, pick_files

LINES = b'{"text": "a"}\n{"text": "b"}\n'
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


def rows(path: Path | str, **options: object) -> list[Row]:
    return [item for item in read_rows(str(path), **options) if isinstance(item, Row)]


def values(path: Path | str, **options: object) -> list[object]:
    return [row.value for row in rows(path, **options)]


def lines(path: Path | str, **options: object) -> list[int | None]:
    return [row.origin.line for row in rows(path, **options)]


def left_out(path: Path) -> list[LeftOut]:
    return [item for item in read_rows(str(path), known_names={"text"}) if isinstance(item, LeftOut)]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- archives --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", PACK)
def test_an_archive_gives_what_was_packed(tmp_path: Path, ending: str) -> None:
    """gz, bz2 and zst are read as the file inside them."""
    path = write(tmp_path / f"data.jsonl.{ending}", PACK[ending](LINES))
    assert values(path) == [{"text": "a"}, {"text": "b"}]
    assert lines(path) == [1, 2]


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("missing", [1, 5, 9, 400])
@pytest.mark.parametrize("layout", ["jsonl", "json", "csv", "txt"])
def test_a_cut_archive_keeps_its_whole_rows_and_tells_the_loss(
    tmp_path: Path, ending: str, missing: int, layout: str
) -> None:
    """Never fewer rows in silence, and never half a row: the line behind the last whole one is named."""
    numbers = [str(n * 7919 % 10007) * 50 for n in range(9000)]
    content = {
        "jsonl": "".join(f'{{"text": "{n}"}}\n' for n in numbers),
        "json": "[\n" + ",\n".join(f' {{"text": "{n}"}}' for n in numbers) + "\n]\n",
        "csv": "text\n" + "".join(f"{n}\n" for n in numbers),
        "txt": "".join(f"{n}\n" for n in numbers),
    }[layout]
    path = write(tmp_path / f"data.{layout}.{ending}", PACK[ending](content.encode())[:-missing])

    *kept, lost = read_rows(str(path), header=True)

    assert (lost.code, lost.detail) == ("FT101", "from this line on")
    assert [row.value if layout == "txt" else row.value["text"] for row in kept] == numbers[: len(kept)]
    n_above = {"jsonl": 0, "json": 1, "csv": 1, "txt": 0}[layout]
    assert lost.at.line >= len(kept) + n_above
    assert lost.at.line <= len(kept) + n_above + 1
    assert len(kept) > 4000


@pytest.mark.parametrize("ending", PACK)
def test_an_archive_of_which_nothing_is_left_is_an_error(tmp_path: Path, ending: str) -> None:
    """Not a data set of no rows."""
    path = write(tmp_path / f"data.jsonl.{ending}", PACK[ending](LINES)[:8])
    with pytest.raises(DataError, match=rf"data.jsonl.{ending}: The archive ends too early: a part of it is missing"):
        read([str(path)])


@pytest.mark.parametrize("ending", PACK)
def test_archives_one_after_another_are_one_file(tmp_path: Path, ending: str) -> None:
    """Joined gzip members, bzip2 streams and Zstandard frames are read through."""
    path = write(tmp_path / f"data.jsonl.{ending}", PACK[ending](LINES) + PACK[ending](LINES))
    assert lines(path) == [1, 2, 3, 4]


def test_an_archive_is_known_by_its_content(tmp_path: Path) -> None:
    """A file that was unpacked on the way, or packed under a plain name, is read all the same."""
    assert len(rows(write(tmp_path / "unpacked.jsonl.gz", LINES))) == 2
    assert len(rows(write(tmp_path / "packed.jsonl", gzip.compress(LINES)))) == 2


def test_damage_inside_an_archive_is_an_error(tmp_path: Path) -> None:
    """A flipped byte is found by the archive's checksum."""
    packed = bytearray(gzip.compress(LINES * 100))
    packed[-6] ^= 0xFF
    with pytest.raises(DataError, match="The archive is damaged"):
        rows(write(tmp_path / "data.jsonl.gz", bytes(packed)))


# --- encodings -------------------------------------------------------------------------------------------------------


def test_a_byte_that_is_not_utf8_is_told_with_line_and_place(tmp_path: Path) -> None:
    """The line, the byte and the flag stand in the message."""
    path = write(tmp_path / "a.txt", b"one\nna\xefve\n")
    with pytest.raises(DataError) as told:
        rows(path)
    assert str(told.value) == (
        f"{path}:2: Byte 3 of the line, 0xef, is not UTF-8."
        " Save the file as UTF-8, or name its encoding, for instance --encoding latin-1."
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"one\n\xff\n"),
        ("a.csv", b"text,label\n\xff,x\n"),
        ("a.jsonl", b'{"text": "a"}\n\xff{"text": "b"}\n'),
        ("a.json", b'[{"text":\n\xff"a"}]'),
    ],
)
def test_every_text_layout_refuses_what_is_not_utf8(tmp_path: Path, name: str, content: bytes) -> None:
    """No layout replaces or skips a byte in silence."""
    with pytest.raises(DataError, match=rf"{name}:2: Byte 1 of the line, 0xff, is not UTF-8"):
        rows(write(tmp_path / name, content))


def test_another_encoding_can_be_named(tmp_path: Path) -> None:
    """Latin-1 is read when it is asked for, and only then."""
    path = write(tmp_path / "a.txt", b"na\xefve\n")
    assert values(path, encoding="latin-1") == ["naïve"]


def test_an_unknown_encoding_is_a_setting_error(tmp_path: Path) -> None:
    """A typing error in the encoding's name is the user's to correct."""
    with pytest.raises(SettingError, match="--encoding: There is no encoding 'latin-one'"):
        rows(write(tmp_path / "a.txt", b"a"), encoding="latin-one")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_is_not_text(tmp_path: Path, encoding: str) -> None:
    """UTF-8, UTF-16 and UTF-32 with their mark are read, the mark is not part of the first column's name."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = write(tmp_path / "a.csv", f"{mark}text,label\n好,x\n".encode(encoding))
    assert values(path, known_names={"text"}) == [{"text": "好", "label": "x"}]


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"\x89PNG\r\n\x1a\n\0\0", "an image"), (b"ab\0c", "binary data"), (b"\x01\x02ab" * 9, "binary data")],
)
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    """A picture under a text file's name is not read as text."""
    with pytest.raises(DataError, match=f"The file holds {what}, not text.*\\. Give csv, tsv"):
        rows(write(tmp_path / "a.csv", content))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.txt", "a.parquet", "a.txt.gz"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str) -> None:
    """Nothing to read is said so."""
    content = gzip.compress(b"") if name.endswith("gz") else b""
    with pytest.raises(DataError, match=r"The file is empty\. Give a file that holds records."):
        rows(write(tmp_path / name, content))


# --- lines and slices ------------------------------------------------------------------------------------------------


@given(
    content=st.lists(st.text(st.characters(exclude_categories=["C"]) | st.just("\r"), max_size=9), min_size=1),
    size_bytes=st.integers(1, 40),
    last_break=st.booleans(),
)
def test_slices_of_any_size_give_the_same_lines_and_numbers(
    tmp_path_factory: pytest.TempPathFactory, content: list[str], size_bytes: int, last_break: bool
) -> None:
    """However a file is cut, its lines and their numbers are those of the whole file."""
    data = ("x\n" + "\n".join(content) + ("\n" if last_break else "")).encode()
    path = str(write(tmp_path_factory.getbasetemp() / "sliced.txt", data))
    cut = slices(path, size_bytes)
    whole = data.split(b"\n")[: -1 if data.endswith(b"\n") else None]
    expected = [(number, line.removesuffix(b"\r")) for number, line in enumerate(whole, 1)]
    assert [pair for part in cut for pair in read_lines(part)] == list(read_lines(Slice(path))) == expected
    assert [(part.start, part.end) for part in cut[1:]] == [(a.end, b.end) for a, b in pairwise(cut)]
    assert (cut[0].start, cut[-1].end) == (0, len(data))


def test_slices_begin_at_line_breaks(tmp_path: Path) -> None:
    """A slice holds whole lines, and knows the number of its first."""
    path = str(write(tmp_path / "a.txt", b"aa\nbb\ncc\ndd\n"))
    assert slices(path, 4) == [Slice(path, 0, 6, 1), Slice(path, 6, 12, 3)]


def test_a_byte_order_mark_does_not_move_slices(tmp_path: Path) -> None:
    """The mark belongs to the first slice and is not text."""
    path = str(write(tmp_path / "a.txt", b"\xef\xbb\xbfone\ntwo\nthree"))
    assert [pair for part in slices(path, 3) for pair in read_lines(part)] == [(1, b"one"), (2, b"two"), (3, b"three")]


def test_an_archive_is_one_slice(tmp_path: Path) -> None:
    """What cannot be entered in the middle is not cut."""
    path = str(write(tmp_path / "a.jsonl.gz", gzip.compress(LINES)))
    assert slices(path, 5) == [Slice(path)]
    assert list(read_lines(Slice(path))) == [(1, b'{"text": "a"}'), (2, b'{"text": "b"}')]


def test_a_slice_size_is_positive(tmp_path: Path) -> None:
    """A wrong call from Python is a ValueError."""
    with pytest.raises(ValueError, match="size_bytes must be positive, not 0"):
        slices(str(write(tmp_path / "a.txt", b"a")), 0)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_row_with_line_breaks_is_told_by_its_first_line(tmp_path: Path) -> None:
    """A quoted field may hold line breaks; the next row's line counts them."""
    path = write(tmp_path / "a.csv", 'text,label\r\n"one\r\ntwo",x\r\nthree,y\r\n')
    assert values(path, known_names={"text"}) == [{"text": "one\r\ntwo", "label": "x"}, {"text": "three", "label": "y"}]
    assert lines(path, known_names={"text"}) == [2, 4]


def test_tab_separated_fields_are_not_quoted(tmp_path: Path) -> None:
    """A double quote in a message is a character, not the beginning of a field."""
    path = write(tmp_path / "a.tsv", 'ham\tsay "hi"\nspam\t"win now\nham\tok\n')
    assert [row["2"] for row in values(path)] == ['say "hi"', '"win now', "ok"]


def test_a_ragged_row_is_left_out_with_its_place(tmp_path: Path) -> None:
    """A row with too few or too many fields does not shift the others."""
    path = write(tmp_path / "a.csv", "text,label\na,x\nb\nc,y,z\nd,y\n")
    assert [str(item.at) for item in left_out(path)] == [f"{path}:3", f"{path}:4"]
    assert left_out(path)[0].reason == "another number of fields than the header"
    assert [item.detail for item in left_out(path)] == ["1 instead of 2", "3 instead of 2"]
    assert lines(path, known_names={"text"}) == [2, 5]


def test_title_lines_above_a_header_are_an_error(tmp_path: Path) -> None:
    """When most rows do not fit the first one, the first one is at fault."""
    with pytest.raises(DataError, match="4 of the first 5 rows have another number of fields than the first, 1"):
        rows(write(tmp_path / "a.csv", "My table\ntext,label\na,x\nb,y\nc,x\n"), header=True)


def test_a_field_that_is_never_closed_is_an_error(tmp_path: Path) -> None:
    """One missing quote would swallow the rest of the file."""
    path = write(tmp_path / "a.csv", 'text,label\na,x\n"b,y\nc,z\n')
    with pytest.raises(DataError, match=r"a.csv:3: A quoted field that begins in this row is never closed"):
        rows(path)


def test_semicolons_under_a_csv_name_are_an_error(tmp_path: Path) -> None:
    """The delimiter follows from the name alone, and the message says what to do."""
    with pytest.raises(DataError, match="The lines hold semicolons or tabs"):
        rows(write(tmp_path / "a.csv", "text;label\na;x\n"))


def test_a_column_name_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    """Two columns of one name cannot both be a key."""
    with pytest.raises(DataError, match="The column name 'text' stands twice"):
        rows(write(tmp_path / "a.csv", "text,text\na,b\n"), header=True)


@pytest.mark.parametrize(
    ("content", "has_header"),
    [
        ("text,category\nhello there,card\nhow are you,loan\n", True),
        ("3,Fears for pensions,Unions say so\n4,A new format,It is fast\n3,More,Yes\n4,Less,No\n", False),
        (
            "utterance,domain\nturn on the light please,home\nplay me a song now,music\nturn off the light,home\nstop the song,music\n",
            True,
        ),
        ("good film,1\nbad film,0\nfine,1\n", False),
        ("ham,see you\nspam,win\nham,ok\n", False),
        (",text,label\n0,a,x\n1,b,y\n", True),
        ("1,null,0,0\n2,0,0,null\n", False),
        ("v1,v2,,,\nham,Go until jurong,,,\nham,Ok lar,,,\nspam,Free entry now,,,\nham,U dun say so, then,,\n", True),
        ("ham,Go until jurong,,,\nham,Ok lar,,,\nspam,Free entry now,,,\n", False),
    ],
)
def test_a_header_is_told_by_what_stands_under_it(tmp_path: Path, content: str, has_header: bool) -> None:
    """The first line names the columns when it is unlike the lines below it."""
    found = rows(write(tmp_path / "a.csv", content), known_names={"text", "label", "category"})
    assert len(found) == content.count("\n") - has_header
    assert isinstance(found[0].value, dict)
    assert ("1" in found[0].value) is not has_header


def test_old_line_ends_are_read(tmp_path: Path) -> None:
    """A file of an old Mac, whose lines end in a carriage return alone, has lines too."""
    path = write(tmp_path / "a.csv", "text,label\ra,x\rb,y\r")
    assert lines(path, known_names={"text"}) == [2, 3]


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_elements_of_an_array_know_their_lines(tmp_path: Path) -> None:
    """Pretty-printed, compact, and with line breaks inside the elements."""
    path = write(tmp_path / "a.json", '[\n {"text": "a",\n  "n": 1},\n\n {"text": "b"}, {"text":\n"c"}\n]\n')
    assert [row["text"] for row in values(path)] == ["a", "b", "c"]
    assert lines(path) == [2, 5, 5]


def test_json_lines_are_read_under_any_name(tmp_path: Path) -> None:
    """Data sets call JSON lines .json and .txt; an array may be called .jsonl."""
    for name in ("a.json", "a.txt", "a.jsonl", "a.train"):
        assert len(rows(write(tmp_path / name, LINES))) == 2
    assert len(rows(write(tmp_path / "b.jsonl", b'[{"text": "a"}]'))) == 1


@pytest.mark.parametrize(
    ("line", "detail", "reason"),
    [
        ('{"text": "a",}', "column 14: trailing comma in object", "not valid JSON"),
        ('{"text": "é" "label"}', "column 14: expected ',' or '}'", "not valid JSON"),
        ('{"text": NaN}', "column 10: NaN and Infinity are not JSON", "NaN or Infinity, which JSON has not"),
        ('{"text": -Infinity}', "column 11: NaN and Infinity are not JSON", "NaN or Infinity, which JSON has not"),
        ('{"text": "a', "column 12: the text ends too early", "not valid JSON"),
        (r'{"text": "\ud800"}', "column 11: a surrogate without its partner", "half of a surrogate pair"),
        (r'{"text": "\udc00"}', "column 11: a surrogate without its partner", "half of a surrogate pair"),
        ('{"text": "a", "n": 1e400}', "column 20: beyond what float64 holds", "a number out of range"),
        ('{"text": "a", "n": -' + "1" * 4301 + "}", "column 20: more than 4300 digits", "a number out of range"),
        ('{"text": "a\0"}', "column 12: a zero byte", "a zero byte"),
        ("[" * 100_000, "column 1: 100000 levels of lists and objects", "nested too deeply"),
    ],
)
def test_a_faulty_line_is_left_out_with_its_column(tmp_path: Path, line: str, detail: str, reason: str) -> None:
    """Each fault of a file is told with line and column; the good lines go on."""
    path = write(tmp_path / "a.jsonl", f'{{"text": "good"}}\n\n{line}\n{{"text": "good"}}\n')
    assert lines(path) == [1, 4]
    assert [(item.reason, item.detail, str(item.at)) for item in left_out(path)] == [(reason, detail, f"{path}:3")]
    assert left_out(path)[0].column == int(detail.split(":", maxsplit=1)[0].split()[1])


@pytest.mark.parametrize(
    "content", ['[\n "a",\n {"text" "b"}\n]', '[\n {"text": "a"},\n {"text" "b"}, 3\n', '{\n\n "text" "b"}']
)
def test_a_fault_in_a_document_is_told_with_line_and_column(tmp_path: Path, content: str) -> None:
    """A document cannot be read around its fault, where nobody can say for certain what the fault is a part of."""
    path = write(tmp_path / "a.json", content)
    with pytest.raises(DataError, match=r"a.json:3: This is not valid JSON: expected ':' \(column (10|9)\)"):
        rows(path)


def test_what_is_no_object_is_no_row(tmp_path: Path) -> None:
    """Numbers and lists among JSON lines are left out; texts are rows."""
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n3\n"b"\nnull\n')
    assert values(path) == [{"text": "a"}, "b"]
    assert [item.detail for item in left_out(path)] == ["a number", "null"]


def test_a_document_that_is_no_list_of_rows_is_refused(tmp_path: Path) -> None:
    """A number is valid JSON and no data."""
    with pytest.raises(DataError, match="The file holds a number, not rows"):
        rows(write(tmp_path / "a.json", "3"))


# --- Parquet ---------------------------------------------------------------------------------------------------------


def test_parquet_rows_carry_their_numbers(tmp_path: Path) -> None:
    """Parquet has no lines; rows are counted from 1, and nested values stay."""
    table = pa.table({"text": ["a", "b"], "answers": [{"text": ["x"]}, {"text": []}]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet")[0] == {"text": "a", "answers": {"text": ["x"]}}
    assert lines(tmp_path / "a.parquet") == [1, 2]


def test_class_numbers_of_the_hub_become_their_names(tmp_path: Path) -> None:
    """The schema that the datasets library writes names the classes; -1 is a hidden label."""
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}, "text": {"_type": "Value"}}
    table = pa.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "a.parquet")
    assert [row["label"] for row in values(tmp_path / "a.parquet")] == ["pos", "neg", None]


def test_times_in_a_parquet_file_become_text(tmp_path: Path) -> None:
    """Down to the nanosecond, at whatever depth; what else the rows hold stays."""
    table = pa.table(
        {
            "text": ["a", "b"],
            "at": pa.array([1, None], pa.timestamp("ns")),
            "took": pa.array([5, 6], pa.duration("ns")),
            "seen": pa.array([[1], []], pa.list_(pa.timestamp("ns"))),
            "span": pa.array([{"from": 1}, None], pa.struct([("from", pa.time64("ns"))])),
            "vector": pa.array([[1, 2], [3, 4]], pa.list_(pa.date32(), 2)),
            "notes": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.timestamp("ns"))),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    moment = "1970-01-01 00:00:00.000000001"
    assert values(tmp_path / "a.parquet")[0] == {
        "text": "a",
        "at": moment,
        "took": "5",
        "seen": [moment],
        "span": {"from": "00:00:00.000000001"},
        "vector": ["1970-01-02", "1970-01-03"],
        "notes": [("k", moment)],
    }


def test_not_a_number_in_a_parquet_file_is_an_empty_field(tmp_path: Path) -> None:
    """So pandas writes a missing label."""
    pq.write_table(pa.table({"text": ["a", "b"], "label": [1.0, float("nan")]}), tmp_path / "a.parquet")
    assert [row["label"] for row in values(tmp_path / "a.parquet")] == [1.0, None]  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "7", '{"info": null}', '{"info": {"features": [1]}}', '{"info": {"features": {"label": 3}}}', "\udcff"],
)
def test_class_names_in_another_writing_say_nothing(tmp_path: Path, text: str) -> None:
    """The data are whole all the same."""
    table = pa.table({"label": [1]}).replace_schema_metadata({b"huggingface": text.encode(errors="surrogateescape")})
    pq.write_table(table, tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == [{"label": 1}]


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": {"names": ["neg", "pos"], "_type": "ClassLabel"}, "_type": "Sequence"},
        {"feature": {"names": ["neg", "pos"], "_type": "ClassLabel"}, "_type": "List"},
        [{"names": ["neg", "pos"], "_type": "ClassLabel"}],
    ],
)
def test_lists_of_classes_get_their_names(tmp_path: Path, feature: object) -> None:
    """As a single class does; a column that the file does not hold is not made up."""
    schema = {"info": {"features": {"labels": feature, "gone": {"names": ["x"], "_type": "ClassLabel"}}}}
    table = pa.table({"labels": [[1, 0], []]}).replace_schema_metadata({b"huggingface": json.dumps(schema).encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == [{"labels": ["pos", "neg"]}, {"labels": []}]


def test_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """As in a table of text: a row could keep only one of them."""
    pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="The column name 'text' stands twice"):
        rows(tmp_path / "a.parquet")


def test_a_cut_parquet_file_is_an_error(tmp_path: Path) -> None:
    """Its end holds what is needed to read it."""
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", (tmp_path / "a.parquet").read_bytes()[:-4])
    with pytest.raises(DataError, match="The file is not whole Parquet"):
        rows(tmp_path / "b.parquet")


# --- text ------------------------------------------------------------------------------------------------------------


def test_a_text_is_read_by_lines(tmp_path: Path) -> None:
    """Blank lines are no rows, and count as lines."""
    path = write(tmp_path / "a.txt", "one\n\n \ntwo\r\n")
    assert (values(path), lines(path)) == (["one", "two"], [1, 4])


def test_wrapped_text_is_read_by_paragraphs(tmp_path: Path) -> None:
    """Blank lines between blocks of several lines part paragraphs."""
    path = write(tmp_path / "a.txt", "First:\nBefore we\nproceed\n\nAll:\nSpeak.\n")
    assert (values(path), lines(path)) == (["First:\nBefore we\nproceed", "All:\nSpeak."], [1, 5])


def test_the_same_number_of_tabs_in_every_line_is_a_table(tmp_path: Path) -> None:
    """Some sets call their tab-separated files .txt."""
    assert values(write(tmp_path / "a.txt", "标题一\t3\n标题二\t4\n")) == [
        {"1": "标题一", "2": "3"},
        {"1": "标题二", "2": "4"},
    ]
    assert values(write(tmp_path / "b.txt", "a\tb\nplain\n")) == ["a\tb", "plain"]


@pytest.mark.parametrize(
    ("content", "n_rows"),
    [(LINES, 2), (b'[{"a": "1"}]', 1), (b"text,label\na,x\nb,y\n", 2), (b"one, two\nthree\n", 2)],
)
def test_standard_input_is_told_by_its_content(monkeypatch: pytest.MonkeyPatch, content: bytes, n_rows: int) -> None:
    """Without a name, JSON, tables and text are still told apart."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert len(rows("-", known_names={"text"})) == n_rows


# --- paths -----------------------------------------------------------------------------------------------------------


def test_globs_and_paths_stand_for_files(tmp_path: Path) -> None:
    """A glob gives its files in sorted order, and no file comes twice."""
    names = ["b.jsonl", "a.jsonl", "c.txt"]
    for name in names:
        write(tmp_path / name, LINES)
    found = expand([str(tmp_path / "c.txt"), str(tmp_path / "*.jsonl"), str(tmp_path / "a.jsonl"), "-"])
    assert [Path(path).name for path in found] == ["c.txt", "a.jsonl", "b.jsonl", "-"]


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    """A typing error in the name costs no search."""
    write(tmp_path / "reviews.csv", b"a")
    with pytest.raises(DataError, match=r"There is no such file. The nearest name in that folder is 'reviews.csv'"):
        expand([str(tmp_path / "review.csv")])


@pytest.mark.parametrize(
    ("name", "problem"),
    [("*.csv", "No file matches"), ("", "This is a folder"), ("no/a.csv", "There is no folder")],
)
def test_a_path_without_files_is_an_error(tmp_path: Path, name: str, problem: str) -> None:
    """Each says what is wrong with the path."""
    with pytest.raises(DataError, match=problem):
        expand([f"{tmp_path}/{name}"])


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """A folder in a file's place is told as the system tells it."""
    with pytest.raises(DataError, match="The file cannot be opened"):
        open_bytes(str(tmp_path))


def test_archive_endings_do_not_count() -> None:
    """The layout follows from the ending before .gz, .bz2 and .zst."""
    assert stem_and_suffix("a/train.DE.zst") == ("a/train", ".de")
    assert stem_and_suffix("a.b/train") == ("a.b/train", "")


# --- the Hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub() -> MemoryFileSystem:
    system = MemoryFileSystem()
    system.store.clear()
    for name in ("README.md", "data/train.jsonl", "data/test.jsonl", "data/picture.png"):
        system.pipe(f"datasets/me/films/{name}", LINES)
    system.pipe("datasets/me/converted@refs/convert/parquet/default/train/0000.parquet", b"PAR1")
    return system


@pytest.mark.parametrize(
    ("address", "files"),
    [
        ("hf://me/films", ["me/films/data/test.jsonl", "me/films/data/train.jsonl"]),
        ("hf://datasets/me/films/data", ["me/films/data/test.jsonl", "me/films/data/train.jsonl"]),
        ("hf://me/films/data/tr*.jsonl", ["me/films/data/train.jsonl"]),
        ("hf://me/films/data/test.jsonl", ["me/films/data/test.jsonl"]),
        ("hf://me/converted", ["me/converted@refs/convert/parquet/default/train/0000.parquet"]),
    ],
)
def test_an_address_on_the_hub_stands_for_files(hub: MemoryFileSystem, address: str, files: list[str]) -> None:
    """A data set, a folder, a glob or a file; without a readable file, the Hub's conversion to Parquet."""
    hub.root_marker = ""
    assert [file.replace("hf:///datasets/", "hf://") for file in pick_files(hub, address)] == [
        f"hf://{f}" for f in files
    ]


def test_an_address_with_nothing_to_read_is_an_error(hub: MemoryFileSystem) -> None:
    """A data set of pictures is told as one."""
    with pytest.raises(DataError, match="There is no file here that can be read"):
        pick_files(hub, "hf://me/films/data/picture*.json")


def test_an_address_has_an_owner_and_a_name() -> None:
    """The form of an address is told."""
    with pytest.raises(DataError, match=r"hf://films: This is not an address on the Hub. Write hf://owner/name"):
        hub_files("hf://films")


def test_a_hub_that_cannot_be_reached_is_told() -> None:
    """Without a network the address stays a clear error."""
    with pytest.raises(DataError, match=r"hf://me/films/a\.jsonl: The Hub cannot be reached"):
        expand(["hf://me/films/a.jsonl"])


@pytest.mark.parametrize("data", [{"train": "-", "test": "-"}, {"train": "-", "dev": "/dev/stdin"}])
def test_standard_input_is_one_part(data: dict[str, str]) -> None:
    """It can be read only once."""
    with pytest.raises(SettingError, match="data: Standard input is named twice, and can be read only once"):
        make_recipe({"data": data})
