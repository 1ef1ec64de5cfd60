"""Files that are converted row by row become what they become where all rows are held, faults and all."""

import csv
import gzip
import io
import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_every_dialect import FILES, whole

from formtune.conversion import convert
from formtune.data_pipeline import convert as convert_files
from formtune.data_pipeline import inspect as inspect_files
from formtune.dialects import DIALECTS, files, parquet, read, streaming
from formtune.errors import FormtuneError
from formtune.inspection import inspect
from formtune.mending import Mender
from formtune.quarantine import write_quarantine
from formtune.recipe import make_recipe
from formtune.records import LeftOut
from formtune.sources import lines as lines_of_files
from formtune.tallies import tally

FAULTS = [
    b'{"cut": ',
    b"[1]",
    b"{}",
    b'{"text": "a", "text": "b"}',
    b'{"text": "na\xefve"}',
    b'{"messages": [{"role": "usr", "content": "q"}]}',
    b'{"messages": [{"role": "User", "content": "q"}, {"role": "assistant", "content": "a"}],}',
    b"{'messages': [{'role': 'user', 'content': 'q'}]}",
    b"",
]


def damaged(data: st.DataObject, name: str) -> tuple[str, bytes]:
    """Draw rows of a dialect, each of which may stand several times, with faults between, in one of several layouts."""
    rows = [json.dumps(row, ensure_ascii=False).encode() for row in data.draw(st.sampled_from(whole(name)))]
    drawn = data.draw(st.lists(st.sampled_from(rows) | st.sampled_from(FAULTS), min_size=1, max_size=9))
    ending = data.draw(st.sampled_from([".jsonl", ".json", ".jsonl.gz"]))
    if ending == ".json":
        return ending, b"[" + b",\n".join(filter(None, drawn)) + b"]"
    content = b"\n".join(drawn)
    return ending, gzip.compress(content) if ending.endswith("gz") else content


def held(path: Path, to: str, out: Path, *, fix: bool) -> dict[str, object]:
    """Convert with all records in memory."""
    mender = Mender() if fix else None
    reading = read([str(path)], mend=mender)
    unwritten: list[LeftOut] = []
    written = convert(reading.records, to, out, repaired=mender.mended if mender else (), left_out=unwritten)
    write_quarantine([*reading.left_out, *unwritten], str(out.with_name("aside.jsonl")))
    gone = [*(one for one in reading.left_out if not one.kept), *unwritten]
    return {
        "dialect": reading.dialect,
        "rows_in": reading.n_rows,
        "kept": written.n_kept - written.n_repaired,
        "repaired": written.n_repaired,
        "left_out": tally(gone),
        "parts_lost": tally(one for one in reading.left_out if one.kept),
        "cannot_carry": written.cannot_carry,
        "added": written.added,
        **(mender.told() if mender else {}),
    }


def streamed(path: Path, to: str, out: Path, *, fix: bool) -> dict[str, object]:
    """Convert as the command does."""
    recipe = make_recipe({"data": {"paths": [str(path)]}, "out": str(out)})
    return dict(convert_files(recipe, to=to, fix=fix, quarantine=str(out.with_name("aside.jsonl"))).values)


def outcome(work: Callable[..., dict[str, object]], path: Path, to: str, folder: Path, **options: Any) -> object:
    """Give the account and all files, or what is told; each is made in a folder of its own."""
    folder.mkdir()
    try:
        told = work(path, to, folder / options.pop("name"), **options)
        return told, {file.name: file.read_bytes() for file in folder.iterdir()}
    except FormtuneError as error:
        return str(error).replace(str(folder), "")
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize("name", sorted(set(DIALECTS) - {"labelled-lines", "aligned", "plain"}))
def test_a_file_is_converted_as_if_its_rows_were_held(
    name: str, lane: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every dialect, to itself and to another, with any faults: the same bytes, losses, quarantine and counts."""
    monkeypatch.setattr(lines_of_files, "BLOCK_BYTES", 64)
    if lane:
        monkeypatch.setattr(streaming, "_LARGE_BYTES", 0)

    @settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def law(data: st.DataObject) -> None:
        ending, content = damaged(data, name)
        path = tmp_path / f"a{ending}"
        path.write_bytes(content)
        to = data.draw(st.sampled_from([name, "messages", "plain"]))
        options = {
            "name": data.draw(st.sampled_from(["b.jsonl", "b.csv", "b.parquet", "b.json"])),
            "fix": ending != ".json" and data.draw(st.booleans()),
        }
        expected = outcome(held, path, to, tmp_path / "to", **options)
        found = outcome(streamed, path, to, tmp_path / "to", **options)
        if isinstance(expected, str) or isinstance(found, str):
            assert isinstance(expected, str) and isinstance(found, str), (expected, found)
            assert found == expected
            return
        assert found[1] == expected[1]
        assert {key: found[0][key] for key in expected[0]} == expected[0]

    law()


@pytest.mark.parametrize("name", DIALECTS)
def test_a_file_is_inspected_as_if_its_rows_were_held(name: str, tmp_path: Path) -> None:
    """Everything that is told of it."""
    for file, content in FILES[name].items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    paths = [str(tmp_path / file) for file in FILES[name]]
    expected = inspect(read(paths))
    found = inspect_files(make_recipe({"data": {"paths": paths}})).values
    assert list(found.items()) == list(expected.items())


# --- memory ----------------------------------------------------------------------------------------------------------


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"Ask {n} {'a' * 90}"},
                {"role": "assistant", "content": f"So {n % 7}."},
            ]
        }
        for n in range(count)
    ]


def write_jsonl(path: Path, count: int) -> None:
    """Of every second row the end is missing."""
    texts = map(json.dumps, rows(count))
    path.write_text("".join(f"{text[:-9] if n % 2 else text}\n" for n, text in enumerate(texts)))


def write_csv(path: Path, count: int) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows([["messages"], *([json.dumps(row["messages"])] for row in rows(count))])
    path.write_text(out.getvalue())


def write_parquet(path: Path, count: int) -> None:
    pq.write_table(pa.Table.from_pylist(rows(count)), path, row_group_size=500)


@pytest.mark.parametrize(
    ("name", "made", "out"),
    [
        ("a.jsonl", write_jsonl, "b.jsonl"),
        ("a.jsonl", write_jsonl, "b.jsonl.gz"),
        ("a.jsonl", write_jsonl, "b.parquet"),
        ("a.parquet", write_parquet, "b.jsonl"),
        ("a.csv", write_csv, "b.jsonl"),
    ],
)
def test_memory_does_not_grow_with_the_file(
    name: str, made: Callable[[Path, int], None], out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times as many rows take no more; what is wrong with half of them stands in quarantine."""
    monkeypatch.setattr(lines_of_files, "BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr(files, "BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr(parquet, "GROUP_CHARACTERS", 1 << 15)
    peaks = []
    for count in (
        10,
        2100,
        6300,
    ):  # first to have everything imported; a sample of a thousand rows is full with the second
        made(tmp_path / name, count)
        tracemalloc.start()
        streamed(tmp_path / name, "sharegpt", tmp_path / out, fix=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]
    if name == "a.jsonl":
        assert (tmp_path / "aside.jsonl").read_bytes().count(b"\n") == 3150
