"""The quarantine: rows that were left out, with their faults and their bytes."""

import base64
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from formtune.cli import run
from formtune.dialects import read
from formtune.errors import SettingError
from formtune.quarantine import write_quarantine
from formtune.records import LeftOut, Origin

GOOD = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'


def quarantined(path: Path, *, encoding: str | None = None) -> list[dict[str, object]]:
    reading = read([str(path)], encoding=encoding)
    out = path.with_name("quarantine.jsonl")
    assert write_quarantine(reading.left_out, str(out), encoding=encoding) == len(reading.left_out)
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_each_row_stands_with_its_faults_and_its_line(tmp_path: Path) -> None:
    """In the order of the file."""
    bad = '{"messages": [{"role": "usr", "content": "q"}, 3]} \n'
    cut = '{"messages": [{"role": "user"\r\n'
    path = tmp_path / "a.jsonl"
    path.write_bytes((GOOD * 2 + bad + GOOD + cut).encode())
    assert quarantined(path) == [
        {
            "code": "FT141",
            "reason": "a message with an unknown role",
            "expected": "system, developer, user, assistant, tool or function; or the layout's names for them, as human and gpt",
            "remedy": "Write one of the known roles; the nearest is told.",
            "place": f"{path}:3",
            "path": "messages[0].role",
            "found": '"usr"',
            "near": "user",
            "detail": "'usr'",
            "further": [
                {
                    "code": "FT142",
                    "reason": "a message that is not an object",
                    "expected": "an object with 'role' and 'content'",
                    "remedy": "Write it as an object.",
                    "place": f"{path}:3",
                    "path": "messages[1]",
                    "found": "3",
                    "detail": "int",
                }
            ],
            "raw": bad.removesuffix("\n"),
        },
        {
            "code": "FT111",
            "reason": "not valid JSON",
            "expected": "one JSON value in a line",
            "remedy": "Correct the line at the column that is told.",
            "place": f"{path}:5",
            "column": 30,
            "detail": "column 30: the text ends too early",
            "raw": cut.removesuffix("\r\n"),
        },
    ]


def test_a_part_that_was_lost_says_that_the_row_went_on(tmp_path: Path) -> None:
    """A key that stands twice."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y", "label": "z"}\n')
    (row,) = quarantined(path)
    assert (row["code"], row["kept"], row["path"]) == ("FT116", True, "label")
    assert row["raw"] == '{"text": "b", "label": "y", "label": "z"}'


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        ("latin-1", {"raw_base64": base64.b64encode("naïve".encode("latin-1")).decode()}),
        ("utf-16", {"raw_base64": base64.b64encode("naïve".encode("utf-16-le")).decode()}),
        ("utf-8", {"raw": "naïve"}),
        ("utf-16-be", {"raw_base64": base64.b64encode("naïve".encode("utf-16-be")).decode()}),
    ],
)
def test_a_line_stands_there_as_its_bytes(tmp_path: Path, encoding: str, raw: dict[str, str]) -> None:
    """In base64 where they are not UTF-8, and the key says so."""
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\na,x\nnaïve\nb,y\n".encode(encoding))
    (row,) = quarantined(path, encoding=encoding)
    assert row["place"] == f"{path}:3"
    assert {key: value for key, value in row.items() if key.startswith("raw")} == raw


def test_the_lines_of_an_archive_are_unpacked(tmp_path: Path) -> None:
    """Up to where it breaks off."""
    lines = "".join(f'{{"text": "{n * 7919 % 10007}", "label": "{"ab"[n % 2]}"}}\n' for n in range(5000))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(('{"text": 1e999}\n' + lines).encode())[:-2000])
    first, last = quarantined(path)
    assert (first["code"], first["raw"]) == ("FT118", '{"text": 1e999}')
    assert last["code"] == "FT101"
    assert "raw" not in last


def test_rows_of_parquet_have_no_line(tmp_path: Path) -> None:
    """Their number is told."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", None, "b"], "label": ["x", "y", "y"]}), path)
    (row,) = quarantined(path)
    assert (row["code"], row["place"]) == ("FT131", f"{path}:2")
    assert "raw" not in row


def test_the_data_are_not_written_over(tmp_path: Path) -> None:
    """Nor is a file begun where there is no folder."""
    path = tmp_path / "a.jsonl"
    path.write_text("{}")
    one = LeftOut("not valid JSON", Origin(str(path), 1))
    with pytest.raises(SettingError, match=r"a.jsonl: This file is read or written already\. Name another one"):
        write_quarantine([one], str(tmp_path / "." / "a.jsonl"))
    with pytest.raises(SettingError, match="The file cannot be written"):
        write_quarantine([one], str(tmp_path / "no" / "q.jsonl"))


def test_inspect_writes_the_quarantine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And shows the codes."""
    path, out = tmp_path / "a.jsonl", tmp_path / "q.jsonl"
    path.write_text(GOOD * 2 + '{"messages": []}\n')
    assert run(["inspect", str(path), "--quarantine", str(out)]) == 0
    assert f"left out: 1 × FT140 no messages ({path}:3 (messages))" in capsys.readouterr().out
    assert [json.loads(line)["raw"] for line in out.read_text().splitlines()] == ['{"messages": []}']
