"""Lines and elements that are not UTF-8: left out one by one, or the sign of another encoding."""

import gzip
import io
import sys
from pathlib import Path

import pytest

from formtune.dialects.streaming import plan, records_of
from formtune.errors import DataError
from formtune.records import LeftOut, Origin
from formtune.sources import Row, encodings, json_arrays, lines, read_part, read_rows, row_parts
from formtune.sources.encodings import not_utf8

GOOD = '{"text": "naïve"}\n'.encode()
BAD = '{"text": "naïve"}\n'.encode("latin-1")
ASCII = b'{"text": "plain"}\n'


def left_out(path: Path) -> list[LeftOut]:
    return [item for item in read_rows(str(path)) if isinstance(item, LeftOut)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_that_is_not_utf8_is_left_out(tmp_path: Path, packed: bool) -> None:
    """With its line, the byte, and what that would be; in an archive too."""
    content = ASCII + GOOD * 10 + BAD + GOOD
    path = tmp_path / "a.jsonl"
    path.write_bytes(gzip.compress(content) if packed else content)
    (found,) = left_out(path)
    assert (found.code, str(found.at), found.column) == ("FT103", f"{path}:12", 13)
    assert found.detail == "column 13: byte 0xef, which is 'ï' in latin-1 and cp1252"
    assert sum(isinstance(item, Row) for item in read_rows(str(path))) == 12


@pytest.mark.parametrize(("n_good", "is_refused"), [(8, True), (9, False), (0, True)])
def test_more_than_a_tenth_of_such_lines_is_another_encoding(tmp_path: Path, n_good: int, is_refused: bool) -> None:
    """Lines in ASCII say nothing: they are the same in most encodings."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(ASCII * 99 + BAD + GOOD * n_good)
    if not is_refused:
        assert len(left_out(path)) == 1
        return
    with pytest.raises(DataError) as told:
        left_out(path)
    assert str(told.value) == (
        f"{path}:100: Byte 13 of the line, 0xef, is not UTF-8."
        " Save the file as UTF-8, or name its encoding, for instance --encoding latin-1."
    )


@pytest.mark.parametrize("content", [GOOD * 10 + BAD + ASCII * 9, ASCII * 9 + BAD + GOOD * 5])
def test_slices_come_to_the_same_as_the_whole_file(tmp_path: Path, content: bytes) -> None:
    """Each asks the beginning of the file, and goes on where it was."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    told = []
    for size in (20, 1000):
        try:
            told.append([item for part in row_parts(str(path), size) for item in read_part(part)])
        except DataError as error:
            told.append([error.at, error.problem])
    assert told[0] == told[1]


def test_standard_input_is_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it can be read only once."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD * 12 + BAD)))
    assert [item.code for item in read_rows("-") if isinstance(item, LeftOut)] == ["FT103"]


@pytest.mark.parametrize(
    ("byte", "detail"),
    [
        (0x93, "column 2: byte 0x93, which is '“' in cp1252"),
        (0x81, "column 2: byte 0x81"),
        (0xE9, "column 2: byte 0xe9, which is 'é' in latin-1 and cp1252"),
    ],
)
def test_the_byte_is_told_with_the_character_that_it_would_be(byte: int, detail: str) -> None:
    """In the two encodings that are most often meant."""
    assert not_utf8(b"a" + bytes([byte]), Origin("a.jsonl", 1)).detail == detail


def test_a_row_that_is_utf8_is_not_left_out() -> None:
    """A wrong call from Python is a ValueError."""
    with pytest.raises(ValueError, match="the row is UTF-8"):
        not_utf8(b"a", Origin("a.jsonl", 1))


# --- elements of an array --------------------------------------------------------------------------------------------


def array(rows: list[bytes], between: bytes = b",") -> bytes:
    return b"[" + between.join(row.strip() for row in rows) + b"]"


@pytest.mark.parametrize("block", [8, 100, 1 << 22])
@pytest.mark.parametrize("packed", [False, True])
def test_an_element_that_is_not_utf8_is_left_out(
    tmp_path: Path, packed: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, wherever it stands, with its line and column; also where all of them stand in one line."""
    monkeypatch.setattr(lines, "BLOCK_BYTES", block)
    monkeypatch.setattr(json_arrays, "BLOCK_BYTES", block)
    for place in (0, 5, 12):
        content = [ASCII, *[GOOD] * 12]
        content[place] = BAD
        path = tmp_path / "a.json"
        for between, line, column in ((b",", 1, 0), (b",\n ", place + 1, 1 if place else 0)):
            whole = array(content, between)
            path.write_bytes(gzip.compress(whole) if packed else whole)
            before = whole[: whole.index(BAD.strip())].decode()
            (found,) = left_out(path)
            assert (found.code, str(found.at)) == ("FT103", f"{path}:{line}")
            assert found.column == (column or len(before)) + 13
            assert sum(isinstance(item, Row) for item in read_rows(str(path))) == 12


def test_the_byte_of_an_element_over_several_lines_is_told_by_its_own(tmp_path: Path) -> None:
    """And not by the line on which the element begins."""
    path = tmp_path / "a.json"
    path.write_bytes(array([GOOD] * 10 + [b'{\n "label": 1,\n "text": "na\xefve"}']))
    (found,) = left_out(path)
    assert (str(found.at), found.column) == (f"{path}:3", 13)


@pytest.mark.parametrize(("n_good", "is_refused"), [(8, True), (9, False), (0, True)])
@pytest.mark.parametrize("between", [b",", b",\n"])
def test_more_than_a_tenth_of_such_elements_is_another_encoding(
    tmp_path: Path, n_good: int, is_refused: bool, between: bytes
) -> None:
    """As of lines; whether they stand in one line or not."""
    path = tmp_path / "a.json"
    path.write_bytes(array([ASCII] * 3 + [BAD] + [GOOD] * n_good, between))
    if not is_refused:
        assert len(left_out(path)) == 1
        return
    line, place = (1, 1 + 3 * len(ASCII) + 13) if between == b"," else (4, 13)
    with pytest.raises(DataError, match=rf"^{path}:{line}: Byte {place} of the line, 0xef, is not UTF-8\."):
        left_out(path)


def test_only_the_beginning_of_an_array_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the last element that it holds whole."""
    monkeypatch.setattr(encodings, "_LOOK_BYTES", 5 * len(GOOD) + 9)
    path = tmp_path / "a.json"
    path.write_bytes(array([GOOD] * 5 + [BAD] * 9))
    assert len(left_out(path)) == 9


def test_slices_leave_such_elements_out_too(tmp_path: Path) -> None:
    """In a lane, after the array was read to its end."""
    talk = '{"messages": [{"role": "user", "content": "é"}]}'
    path = tmp_path / "a.json"
    path.write_bytes(array([talk.encode()] * 12 + [talk.encode("latin-1")]))
    planned = plan([str(path)])
    assert planned.has_lane
    items = [item for part in planned.slices for batch in records_of(planned, part) for item in batch]
    assert [item.code for item in items if isinstance(item, LeftOut)] == ["FT103"]
    assert len(items) == 13
