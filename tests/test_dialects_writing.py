"""Records to files: row by row where rows stand alone, whole or not at all."""

import bz2
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from formtune.dialects import DIALECTS, files, read, row_files, write
from formtune.errors import DataError, SettingError
from formtune.records import Conversation, Message, Origin, Plain, Question, Record

TEXTS = [Plain(text=text) for text in ("one", "two\nlines", "", '"]')]


@pytest.mark.parametrize(
    ("dialect", "path", "alone"),
    [
        ("messages", "a.jsonl", True),
        ("messages", "a.ndjson.gz", True),
        ("alpaca", "a.json", True),
        ("squad", "a.jsonl", True),
        ("squad", "a.json", False),
        ("natural-instructions", "a.json.zst", False),
        ("oasst", "a.jsonl", False),
        ("aligned", "a", False),
        ("oasst", "a.parquet", False),
        ("labelled", "a.csv", True),
        ("labelled", "a.tsv.gz", True),
        ("plain", "a.txt", False),
        ("plain", "a.parquet", True),
        ("squad", "a.pq", True),
    ],
)
def test_which_rows_stand_alone(dialect: str, path: str, alone: bool) -> None:
    """By dialect and ending."""
    assert row_files.stand_alone(dialect, path) is alone


@pytest.mark.parametrize("ending", [".jsonl", ".json"])
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_a_file_is_the_same_whatever_is_written_at_once(
    ending: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line as JSON has it, or an array as a formatter lays it out; also of none."""
    monkeypatch.setattr(files, "BLOCK_BYTES", block)

    @settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.builds(Plain, text=st.text(max_size=9), extra=st.sampled_from([None, '{"a":[{"b":{}},[]]}']))))
    def law(records: list[Record]) -> None:
        path = tmp_path / f"a{ending}"
        assert write(iter(records), "plain", str(path)) == []
        pieces = [DIALECTS["plain"].write(record) for record in records]
        lines = "".join(msgspec.json.encode(piece).decode() + "\n" for piece in pieces)
        array = msgspec.json.format(msgspec.json.encode(pieces), indent=1).decode() + "\n"
        assert path.read_text(encoding="utf-8") == (lines if ending == ".jsonl" else array)

    law()


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".zst"])
def test_what_is_packed_is_the_same(ending: str, tmp_path: Path) -> None:
    """And says nothing of when it was packed."""
    one, other = tmp_path / f"a.jsonl{ending}", tmp_path / f"b.jsonl{ending}"
    for path in (one, other):
        write(TEXTS, "plain", str(path))
    assert one.read_bytes() == other.read_bytes()
    unpack = {
        "": bytes,
        ".gz": gzip.decompress,
        ".bz2": bz2.decompress,
        ".zst": lambda data: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(),
    }[ending]
    assert [json.loads(line)["text"] for line in unpack(one.read_bytes()).splitlines()] == [r.text for r in TEXTS]
    files.save(b"{}", str(one))
    assert unpack(one.read_bytes()) == b"{}"


def test_what_cannot_be_written_is_told_in_its_order(tmp_path: Path) -> None:
    """Beside rows that stand alone."""
    records = [
        Question(id="q", question="?", origin=Origin("a", 1)),
        *TEXTS[:1],
        Question(question="?", origin=Origin("a", 3)),
    ]
    left_out = write(records, "plain", str(tmp_path / "a.jsonl"))
    assert [(one.reason, str(one.at), one.id) for one in left_out] == [
        ("cannot be written as plain", "a:1", "q"),
        ("cannot be written as plain", "a:3", None),
    ]
    assert [record.text for record in read([str(tmp_path / "a.jsonl")], dialect="plain").records] == ["one"]  # type: ignore[union-attr]


class Full(io.BytesIO):
    """A disk that takes nothing."""

    def write(self, _data: object, /) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".zst"])
def test_a_full_disk_leaves_the_older_file(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing half written."""
    path = tmp_path / f"a.jsonl{ending}"
    path.write_text("older")
    really_opened = Path.open

    def opened(self: Path, *arguments: str) -> IO[bytes]:
        really_opened(self, *arguments).close()
        return Full()

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(SettingError, match=r"The file cannot be written \(No space left on device\)"):
        write(TEXTS, "plain", str(path))
    monkeypatch.undo()
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_fault_of_what_is_read_stays_its_own(tmp_path: Path) -> None:
    """Records may come from a file that is damaged."""

    def coming() -> Iterator[Record]:
        yield TEXTS[0]
        raise DataError("The archive is damaged.", "Copy it again.", at="a.gz")

    with pytest.raises(DataError, match=r"^a\.gz: The archive is damaged"):
        write(coming(), "plain", str(tmp_path / "a.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_rows_are_written_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held until all have come."""
    monkeypatch.setattr(files, "BLOCK_BYTES", 1)
    long = Conversation(messages=(Message("user", "x" * 100_000), Message("assistant", "y")))
    sizes: list[int] = []

    def coming() -> Iterator[Record]:
        for _ in range(3):
            sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
            yield long

    write(coming(), "messages", str(tmp_path / "a.jsonl"))
    assert sizes[0] == 0
    assert sizes[1] >= 100_000
    assert sizes[2] >= 200_000
