"""The quarantine: rows that were left out, with their faults and their bytes."""

import base64
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from formtune import quarantine
from formtune.cli import run
from formtune.dialects import read
from formtune.errors import SettingError
from formtune.quarantine import Quarantine, write_quarantine
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


def test_rows_may_be_told_in_any_order(tmp_path: Path) -> None:
    """Of several files, several times; places that no file has are told without a line."""
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{name}{n}\n" for n in range(1, 10)))
    places = [("a", 3), ("a", 3), ("a", 7), ("b", 2), ("a", 1), ("b", 9), ("a", 10)]
    left_out = [LeftOut("not valid JSON", Origin(f"{tmp_path}/{name}.jsonl", line)) for name, line in places]
    out = tmp_path / "q.jsonl"
    assert write_quarantine(left_out, str(out)) == 7
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row.get("raw") for row in rows] == ["a3", "a3", "a7", "b2", "a1", "b9", None]


def test_a_file_is_read_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of its rows are left out."""
    opened: list[str] = []
    really_opened = quarantine.open_bytes
    monkeypatch.setattr(quarantine, "open_bytes", lambda path: opened.append(path) or really_opened(path))
    path = tmp_path / "a.jsonl"
    path.write_text("x\n" * 50)
    write_quarantine(
        [LeftOut("not valid JSON", Origin(str(path), line)) for line in range(1, 51)], f"{tmp_path}/q.jsonl"
    )
    assert opened == [str(path)]


def test_what_is_left_out_is_counted_as_it_comes(tmp_path: Path) -> None:
    """Kept on disk only where a file is asked for."""
    (tmp_path / "a").write_text("{}\n")
    gone, part = (
        LeftOut("no messages", Origin(f"{tmp_path}/a", 1)),
        LeftOut("a key that stands twice in one object", id="x", kept=True),
    )
    for path in (None, str(tmp_path / "q.jsonl")):
        with Quarantine(path) as aside:
            for one in (gone, part, gone):
                aside.append(one)
            assert (aside.gone.n_rows, aside.parts.n_rows) == (2, 1)
            assert aside.write() == ({"quarantine": path} if path else {})
    assert (tmp_path / "q.jsonl").read_bytes().count(b"\n") == 3
    with pytest.raises(SettingError, match="There is no such folder"):
        Quarantine(str(tmp_path / "no" / "q.jsonl"))


def test_the_data_are_not_written_over_where_no_row_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quarantine would be empty, and the data lost."""
    path = tmp_path / "a.jsonl"
    path.write_text(GOOD * 2)
    assert run(["inspect", str(path), "--quarantine", str(path)]) == 2
    assert capsys.readouterr().err.startswith("--quarantine: This file is read or written already.")
    assert path.read_text() == GOOD * 2


def test_inspect_writes_the_quarantine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And shows the codes."""
    path, out = tmp_path / "a.jsonl", tmp_path / "q.jsonl"
    path.write_text(GOOD * 2 + '{"messages": []}\n')
    assert run(["inspect", str(path), "--quarantine", str(out)]) == 0
    assert f"left out: 1 × FT140 no messages ({path}:3 (messages))" in capsys.readouterr().out
    assert [json.loads(line)["raw"] for line in out.read_text().splitlines()] == ['{"messages": []}']
