"""JSON as it is found: nothing of a value is lost, and what is no value is told with line and column."""

import ast
import json
import math
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from formtune import dialects
from formtune.dialects import read, write
from formtune.errors import DataError
from formtune.records import LeftOut
from formtune.sources import Row, json_arrays, lines, read_rows, text_of, value_of
from formtune.sources.json_arrays import objects_in
from formtune.sources.json_values import repeated_keys

LONG = (
    '{"big":123456789012345678901234567890,"small":-18446744073709551617,"share":0.1000000000000000055511151231257827}'
)


def rows_of(path: Path, content: str | bytes) -> list[Row | LeftOut]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(str(path)))


def values(found: list[Row | LeftOut]) -> list[object]:
    return [item.value for item in found if isinstance(item, Row)]


# --- numbers ---------------------------------------------------------------------------------------------------------


@given(
    st.decimals(allow_nan=False, allow_infinity=False)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
def test_no_number_changes_its_value(number: object) -> None:
    """Of any length, read and written; a short one may be written another way (1e5 as 100000.0)."""
    text = str(number)
    assume(math.isfinite(float(text)))
    value = value_of(f"[{text}]")
    again = json.loads(text_of(value), parse_float=str, parse_int=str)[0]
    assert again == text or (float(again) == float(text) and len(text) <= 24)


def test_long_numbers_go_through_files_as_they_are_written(tmp_path: Path) -> None:
    """Whole numbers beyond 2^64 and long decimals, in a row and in a message, to JSON lines, JSON and a table."""
    message = '{{"role":"{}","content":"x","meta":{}}}'
    row = f'{{"messages":[{message.format("user", LONG)},{message.format("assistant", LONG)}],"extra":{LONG}}}'
    (tmp_path / "a.jsonl").write_text(row)
    records = read([str(tmp_path / "a.jsonl")]).records
    assert write(records, "messages", str(tmp_path / "b.jsonl")) == []
    assert write(records, "messages", str(tmp_path / "b.json")) == []
    assert (tmp_path / "b.jsonl").read_text().count(LONG) == 3
    assert (tmp_path / "b.json").read_text().count("0.1000000000000000055511151231257827") == 3
    (tmp_path / "c.jsonl").write_text(f'{{"text":"a","label":"x","meta":{LONG}}}')
    assert write(read([str(tmp_path / "c.jsonl")]).records, "labelled", str(tmp_path / "c.csv")) == []
    assert LONG.replace('"', '""') in (tmp_path / "c.csv").read_text()


def test_a_long_number_may_be_a_label(tmp_path: Path) -> None:
    """It is the text that stands in the file."""
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 0.1000000000000000055511151231257827}\n' * 2)
    assert read([str(tmp_path / "a.jsonl")]).records[0].labels == ("0.1000000000000000055511151231257827",)


def test_dialects_read_and_write_json_in_the_way_that_keeps_numbers() -> None:
    """Another one would refuse a long decimal, or shorten it. (What is decoded to a type holds raw texts.)"""
    folder = Path(dialects.__file__).parent
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "encode":
                assert ast.unparse(node) != "msgspec.json.encode", f"{path.name}:{node.lineno}: use sources.text_of"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "msgspec.json.decode":
                assert node.keywords, f"{path.name}:{node.lineno}: use sources.value_of"


# --- keys that stand twice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('{"text": "a", "text": "b"}', [("text", '"a" was lost, "b" was kept')]),
        ('{"text" : "b", "m": [{"k": 1, "k": {"x": 1}}]}', [("m[0].k", '1 was lost, {"x": 1} was kept')]),
        (
            r'{"text": "b", "\u0061": 1, "a": 2, "m": {"b": 1, "b": 2, "b": 3}}',
            [("a", "1 was lost, 2 was kept"), ("m.b", "2 was lost, 3 was kept"), ("m.b", "1 was lost, 3 was kept")],
        ),
        (r'{"text": "b", "a": 1, "a": "\"\u003a"}', [("a", r'1 was lost, "\":" was kept')]),
        (r'{"text": "b", "a": 1, "a": "\u0022:"}', [("a", r'1 was lost, "\":" was kept')]),
        (r'{"text": "b", "code": "{\"a\": 1, \"a\": 2}"}', []),
        ('{"text": "b", "a" : [{"b" :1}], "c": {}}', []),
    ],
)
def test_a_key_that_stands_twice_is_told(tmp_path: Path, row: str, told: list[tuple[str, str]]) -> None:
    """With its path, what was lost and what was kept; the row goes on, in JSON lines, an array and a document."""
    for name, content in (("a.jsonl", row), ("a.json", f"[{row}]"), ("b.json", row)):
        found = rows_of(tmp_path / name, content)
        assert [value["text"] for value in values(found)] == ["b"]
        left_out = [item for item in found if isinstance(item, LeftOut)]
        assert [(one.path, one.detail) for item in left_out for one in (item, *item.further)] == sorted(
            told, key=lambda pair: ["text", "m[0].k", "m.b", "a"].index(pair[0])
        )
        assert all(item.code == "FT116" and item.kept for item in left_out)


def test_a_row_that_went_on_counts_once(tmp_path: Path) -> None:
    """It is a record, and a loss is told beside it."""
    (tmp_path / "a.jsonl").write_text('{"text": "a", "text": "b", "label": "x"}\n{"text": "c", "label": "y"}\n{}\n')
    reading = read([str(tmp_path / "a.jsonl")])
    assert (len(reading.records), len(reading.left_out), reading.n_rows) == (2, 2, 3)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a":{}[],\\\n é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a":{', max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(value=json_values, spaced=st.booleans())
def test_no_key_is_told_where_none_stands_twice(value: object, spaced: bool) -> None:
    """Whatever stands in the texts."""
    text = json.dumps(value, separators=(" , ", " : ") if spaced else None).encode()
    assert repeated_keys(text, value_of(text)) == []


# --- arrays ----------------------------------------------------------------------------------------------------------


@given(
    rows=st.lists(json_values.filter(lambda value: isinstance(value, (dict, str))), max_size=12),
    indent=st.sampled_from([None, 0, 2]),
    n_bytes=st.integers(4, 90),
)
def test_an_array_gives_the_same_in_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, rows: list[object], indent: int | None, n_bytes: int
) -> None:
    """Its elements, in order, each with its line."""
    text = json.dumps(rows, indent=indent, ensure_ascii=False)
    path = tmp_path_factory.getbasetemp() / "pieces.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", n_bytes)
        patch.setattr(json_arrays, "BLOCK_BYTES", n_bytes)
        found = rows_of(path, text)
    whole = rows_of(path, text)
    assert values(found) == values(whole) == rows
    assert [item.origin.line for item in found] == [item.origin.line for item in whole]


@given(
    rows=st.lists(st.dictionaries(st.text("ab", max_size=2), st.text("x,]}{", max_size=3), max_size=2), min_size=1),
    n_bytes=st.integers(4, 60),
    data=st.data(),
)
def test_a_fault_in_an_array_is_told_with_the_same_place_in_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, rows: list[object], n_bytes: int, data: st.DataObject
) -> None:
    """Line and column of the file, not of the piece; whether the element is left out or the file is refused."""
    text = json.dumps(rows, indent=1)
    place = data.draw(st.sampled_from([n for n, mark in enumerate(text) if mark in ":,"] or [0]))
    path = tmp_path_factory.getbasetemp() / "faulty.json"
    faulty = text[:place] + "%" + text[place + 1 :]
    assert pieces_told(path, faulty, n_bytes) == pieces_told(path, faulty, 1 << 22)


def pieces_told(path: Path, text: str, n_bytes: int) -> list[object]:
    """Read an array in pieces of a size; give its items, with the place of the error at the end, if there is one."""
    path.write_text(text)
    told: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", n_bytes)
        patch.setattr(json_arrays, "BLOCK_BYTES", n_bytes)
        try:
            told.extend(read_rows(str(path)))
        except DataError as error:
            return [f"{error.at}: {error.problem.rpartition('(')[2]}"]
    return told


@given(
    before=st.lists(st.dictionaries(st.sampled_from("ab"), st.text('x,]}{"', max_size=3)), max_size=3),
    after=st.lists(st.dictionaries(st.sampled_from("ab"), st.text("x,]}{", max_size=3)), max_size=3),
    faulty=st.sampled_from(
        [
            '{"id": 1,}',
            '{"id": 1 "b": 2}',
            '{"id": NaN}',
            '{"id" 1}',
            '{"id": [1, {"a": 2}}]}',
            '{"id": "a"b", "c": ""d"}',
        ]
    ),
    n_bytes=st.integers(4, 60),
)
def test_a_faulty_element_of_an_array_is_left_out(
    tmp_path_factory: pytest.TempPathFactory, before: list[object], after: list[object], faulty: str, n_bytes: int
) -> None:
    """The others are rows, in pieces of any size; but not where brackets cross one another."""
    path = tmp_path_factory.getbasetemp() / "around.json"
    rows = [
        {"id": 0},
        *({"id": n, **row} for n, row in enumerate(before)),
        None,
        *({"id": n, **row} for n, row in enumerate(after)),
    ]
    text = ",\n".join(faulty if row is None else json.dumps(row) for row in rows)
    found = pieces_told(path, f"[{text}]", n_bytes)
    assert found == pieces_told(path, f"[{text}]", 1 << 22)
    if "}}]" in faulty:
        assert str(found[0]).startswith(f"{path}:{len(before) + 2}: ")
        return
    assert values(found) == [row for row in rows if row is not None]  # type: ignore[arg-type]
    (left_out,) = [item for item in found if isinstance(item, LeftOut)]
    assert (left_out.at.line, left_out.code in ("FT111", "FT113")) == (len(before) + 2, True)


@pytest.mark.parametrize(
    "text",
    [
        '[{"id": 1}, {"id": "a"b"}, {"id": 2}]',  # a quote too many, to the end
        '[{"id": 1}, {"id": "a"b"}, {"id": 2}, {"id": "c"d"}, {"id": 3}]',  # and another, with a row between
        '[{"id": 1}, {"id": 2,}, ]',
        '[{"id": 1}, {"id": 2,}, , {"id": 3}]',
        '[{"id": 1}, {"id": 2,}',
        '[{"id": 1}, {"id": 2,}], {"id": 3}]',
        '[{"id": 1}, {"id": 2,} 3]',
        '[{"id": 1}, {"other": 2,}]',
        '["a", {"id": 2,}]',
        '[{"id": 1}, {"id": 2,}}]',
    ],
)
def test_an_array_is_refused_where_it_is_not_certain_what_a_fault_is_part_of(tmp_path: Path, text: str) -> None:
    """Rows might be lost with it that nobody is told of."""
    with pytest.raises(DataError, match=r"a\.json:1: This is not valid JSON"):
        rows_of(tmp_path / "a.json", text)


def test_an_array_with_faults_is_read_in_constant_memory(tmp_path: Path) -> None:
    """What is faulty is looked at by itself, and what comes behind it goes on in pieces."""
    path = tmp_path / "a.json"
    good = json.dumps({"text": "x" * 3000, "tags": [{"a": 1}, {"b": "},{"}]})
    path.write_text("[" + ",\n".join(good if n % 1000 else good[:-1] + ",}" for n in range(1, 30_000)) + "]")
    tracemalloc.start()
    n_rows = Counter(type(item) for item in read_rows(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_rows == {Row: 29_970, LeftOut: 29}
    assert peak < 50_000_000 < path.stat().st_size / 1.7


def test_an_array_is_read_in_constant_memory(tmp_path: Path) -> None:
    """A few pieces of it are held at a time, whether the elements stand on lines of their own or not."""
    path = tmp_path / "a.json"
    row = json.dumps({"text": "x" * 3000, "tags": [{"a": 1}, {"b": "},{"}]})
    for between in (",\n", ","):
        path.write_text("[" + between.join([row] * 30_000) + "]")
        tracemalloc.start()
        n_rows = sum(1 for _ in read_rows(str(path)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n_rows == 30_000
        assert peak < 40_000_000 < path.stat().st_size / 2


@pytest.mark.slow
def test_a_line_of_100_megabytes_is_read(tmp_path: Path) -> None:
    """As JSON, and as the field of a table."""
    text = "x" * 100_000_000
    assert len(values(rows_of(tmp_path / "a.jsonl", f'{{"text": "{text}"}}\n{{"text": "b"}}\n'))[0]["text"]) == 10**8
    (tmp_path / "a.csv").write_text(f'text,label\n"{text}",x\nb,y\n')
    assert [len(row.value["text"]) for row in read_rows(str(tmp_path / "a.csv"))] == [10**8, 1]


# --- other layouts ---------------------------------------------------------------------------------------------------


def test_objects_without_line_breaks_between_are_rows(tmp_path: Path) -> None:
    """Of a line, of objects over several lines, of files that were joined each with its byte order mark."""
    for name in ("a.jsonl", "a.json"):
        found = rows_of(tmp_path / name, '{"text": "a"}{"text": "}{"}\n{"text": "c"} {"text": "d"}\n')
        assert [value["text"] for value in values(found)] == ["a", "}{", "c", "d"]
        assert [item.origin.line for item in found] == [1, 1, 2, 2]
        found = rows_of(tmp_path / name, '{\n "text": "a"\n}\n{\n "text": "b"\n}{\n "text": "c"}\n')
        assert [(item.value["text"], item.origin.line) for item in found] == [("a", 1), ("b", 4), ("c", 6)]
    found = rows_of(tmp_path / "b.jsonl", b'\xef\xbb\xbf{"text": "a"}\n\xef\xbb\xbf{"text": "b"}\n')
    assert values(found) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("line", ['{"text": "a"}{"text": }', '{"text": "a"} "b"', '{"text": "a"}}', '{"text": "a"} x'])
def test_a_line_that_is_not_objects_alone_is_left_out(tmp_path: Path, line: str) -> None:
    """A part of it may be less than what stood there before it was damaged."""
    (found,) = rows_of(tmp_path / "a.jsonl", line)
    assert (found.code, found.at.line) == ("FT111", 1)


@given(st.lists(st.dictionaries(st.text('a"}{', max_size=3), json_values, max_size=2), max_size=4), st.booleans())
def test_objects_are_parted_where_they_end(objects: list[object], spaced: bool) -> None:
    """Whatever stands in their texts."""
    parts = [json.dumps(one) for one in objects]
    assert objects_in((" \n" if spaced else "").join(parts).encode()) == [part.encode() for part in parts]


def test_rows_of_several_schemas_are_read_as_one_file(tmp_path: Path) -> None:
    """No key is asked of every row, and none is filled in where it is missing."""
    found = rows_of(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": 1, "meta": {}}\n{"meta": [1], "text": null}\n')
    assert values(found) == [{"text": "a"}, {"text": 1, "meta": {}}, {"meta": [1], "text": None}]


@pytest.mark.parametrize(("name", "places"), [("a.jsonl", [3]), ("a.txt", [3])])
def test_zero_bytes_are_told_by_their_line(tmp_path: Path, name: str, places: list[int]) -> None:
    """As a crash leaves them; the other lines go on."""
    found = rows_of(tmp_path / name, b'{"text": "a"}\n{"text": "b"}\n\0\0\0\0\n{"text": "c"}\n')
    assert [(item.code, item.at.line, item.column) for item in found if isinstance(item, LeftOut)] == [
        ("FT102", place, 1) for place in places
    ]
    assert len(values(found)) == 3


def test_zero_bytes_in_a_table_are_an_error(tmp_path: Path) -> None:
    """Its rows cannot be told apart any more."""
    with pytest.raises(DataError, match=r"a.csv:3: There is a zero byte in this line\. Take the zero bytes out"):
        rows_of(tmp_path / "a.csv", b"text,label\na,x\nb,\0\nc,y\n")


def test_nesting_has_a_limit(tmp_path: Path) -> None:
    """It is told with the number of levels; what is less deep is read and written."""
    deep = '{"text": "a", "label": "x", "in": ' + "[" * 100_000 + "]" * 100_000 + "}\n"
    fine = '{"text": "a", "label": "x", "in": ' + "[" * 300 + "]" * 300 + "}\n"
    (tmp_path / "a.jsonl").write_text(fine + deep + fine)
    reading = read([str(tmp_path / "a.jsonl")])
    assert [(one.code, one.detail) for one in reading.left_out] == [
        ("FT115", "column 1: 100001 levels of lists and objects")
    ]
    assert write(reading.records, "labelled", str(tmp_path / "b.jsonl")) == []
    assert json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0]) == json.loads(fine)


# --- the suites ------------------------------------------------------------------------------------------------------


def test_every_document_of_the_json_test_suite_is_read_or_told(shared: Path) -> None:
    """What must be accepted is, and what must be rejected is told with file, line and column (an empty file as one).

    A lone number, say, is accepted as JSON, and is no row: that is told another way than a fault of the JSON.
    """
    accepted, rejected = Counter(), []
    for path in sorted((shared / "messy" / "json_test_suite").glob("[yn]_*.json")):
        try:
            found = list(read_rows(str(path)))
        except DataError as error:
            is_value = "not rows" in error.problem
            if path.name[0] == "n":
                placed = error.at.startswith(f"{path}:") and (
                    "column " in error.problem or " of the line, 0x" in error.problem
                )
                rejected.append(placed or error.problem == "The file is empty.")
            accepted[path.name[0], is_value] += 1
            continue
        left_out = [item for item in found if isinstance(item, LeftOut)]
        if path.name[0] == "n":
            rejected.append(not values(found) and all(item.at.line and item.column for item in left_out))
        accepted[path.name[0], {item.code for item in left_out} <= {"FT112", "FT116"}] += 1
    assert accepted["y", False] == accepted["n", True] == 0
    assert accepted["y", True] == 95
    assert rejected == [True] * 186


def test_every_messy_table_is_read_or_refused_with_what_to_do(shared: Path) -> None:
    """Each row is read or left out; a file in another encoding is refused with its line and the flag, and read with it."""
    paths = [*(shared / "messy" / "tables").iterdir(), *(shared / "messy" / "mixed_schema").iterdir()]
    name_it = "Save the file as UTF-8, or name its encoding, for instance --encoding latin-1."
    assert {path.name: table_outcome(path, None) for path in paths} == {
        "begrotingsanalyse-2011.csv": "43 rows, 0 left out",
        "boolq_mixed_200.jsonl": "200 rows, 0 left out",
        "characters.csv": f":1 {name_it}",
        "complex.csv": "2 rows, 1 left out",
        "example.tsv": "140 rows, 0 left out",
        "excel_pasting.csv": "21 rows, 0 left out",
        "labelled_transactions.csv": "101 rows, 0 left out",
        "long.csv": "4000 rows, 0 left out",
        "mixedGLB.csv": "137 rows, 0 left out",
        "null.csv": "10 rows, 0 left out",
        "simple.csv": "6 rows, 0 left out",
        "skip_initials.csv": "3 rows, 0 left out",
        "small.csv": "1 rows, 0 left out",
        "spanish_chars.csv": f":1 {name_it}",
        "sparse_with_column_errors.csv": f":2 {name_it}",
        "utf-16le_encoded.csv": "327 rows, 0 left out",
        "utf8bom.csv": "1 rows, 0 left out",
        "weird_head_padding.csv": "23 rows, 63 left out",
    }
    tables = shared / "messy" / "tables"
    assert table_outcome(tables / "characters.csv", "big5") == "73 rows, 0 left out"
    assert table_outcome(tables / "spanish_chars.csv", "latin-1") == "116 rows, 0 left out"
    assert table_outcome(tables / "sparse_with_column_errors.csv", "latin-1") == "2237 rows, 0 left out"
    assert table_outcome(tables / "spanish_chars.csv", "big5") == " Name the file's own encoding with --encoding."


def table_outcome(path: Path, encoding: str | None) -> str:
    try:
        found = list(read_rows(str(path), encoding=encoding))
    except DataError as error:
        return f"{str(error.at).removeprefix(str(path))} {error.remedy}"
    return f"{len(values(found))} rows, {len(found) - len(values(found))} left out"
