"""Records slice by slice: the same as those that are read at once."""

import bz2
import gc
import gzip
import io
import json
import pickle
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from test_every_dialect import FILES, MORE

from formtune.dialects import DIALECTS, Columns, read, streaming, survey
from formtune.dialects.lanes import Item
from formtune.dialects.recognition import thinned
from formtune.dialects.streaming import Plan, plan, records_of
from formtune.dialects.table import TOGETHER
from formtune.errors import DataError, FormtuneError, SettingError
from formtune.records import LeftOut, Origin, Record, identified
from formtune.sources import Row, lines

TALK = {"messages": [{"role": "user", "content": "q: é"}, {"role": "assistant", "content": "a"}], "id": 1}


def items(planned: Plan) -> list[Item]:
    """Read all slices, each with a plan that went through a pickle."""
    again = pickle.loads(pickle.dumps(planned))
    return [
        item for part in pickle.loads(pickle.dumps(again.slices)) for batch in records_of(again, part) for item in batch
    ]


def streamed(planned: Plan) -> tuple[list[Record], list[LeftOut]]:
    found = items(planned)
    return [one for one in found if not isinstance(one, LeftOut)], [one for one in found if isinstance(one, LeftOut)]


def at_once(paths: list[str], **options: object) -> tuple[list[Record], list[LeftOut]]:
    reading = read(paths, **options)
    return [msgspec.structs.replace(record, id="") for record in reading.records], reading.left_out


def hold_same(paths: list[str], slice_bytes: int, **options: object) -> Plan:
    """Check that a plan gives what is read at once; or a reason where it cannot."""
    planned = plan(paths, slice_bytes=slice_bytes, **options)
    if planned.reason is None:
        assert streamed(planned) == at_once(paths, **options)
        reading = read(paths, **options)
        assert reading.dialect == planned.dialect
        assert reading.evidence.startswith(planned.evidence)
    return planned


def written(path: Path, rows: list[object]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


# --- the same as at once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIALECTS)
def test_slices_give_what_is_read_at_once(name: str, tmp_path: Path) -> None:
    """In every dialect, with every other layout, however small the slices are; but for those that need all rows."""
    files = [tmp_path / file for file in FILES[name]]
    for file, content in FILES[name].items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    for size in (1, 300):
        planned = hold_same([str(file) for file in files], size)
        assert (planned.reason is not None) == (name == "aligned" or name in TOGETHER)
    if name in MORE:
        hold_same([written(tmp_path / "more.jsonl", MORE[name])], 1, dialect=name)


def test_every_small_real_file_gives_the_same_in_slices(shared: Path) -> None:
    """Or the same error, from the plan or from a slice."""
    n_same = 0
    for path in sorted(shared.rglob("*")):
        if path.suffix not in (".json", ".jsonl", ".csv", ".tsv", ".txt", ".gz", ".parquet") or not path.is_file():
            continue
        if path.stat().st_size > 200_000:
            continue
        told = outcome(lambda path=path: at_once([str(path)]))
        found = outcome(lambda path=path: in_slices(str(path)))
        assert found in (told, None), path
        n_same += found is not None
    assert n_same > 100


def in_slices(path: str) -> tuple[list[Record], list[LeftOut]] | None:
    planned = plan([path], slice_bytes=5000)
    found = streamed(planned) if planned.reason is None else None
    if found is not None and not found[0]:
        raise DataError("No records.", "", at=path)
    return found


def outcome(work: Callable[[], object]) -> object:
    """Give what comes of it; errors are one: whole files name the first place, and slices may meet another first."""
    try:
        return work()
    except FormtuneError as error:
        return type(error)


def test_large_files_are_read_in_the_lane_and_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records, ids, what is left out and the evidence."""
    rows: list[object] = [TALK, {**TALK, "id": {"a": 1}}, {"messages": []}, TALK, 3] * 40
    path = written(tmp_path / "a.jsonl", rows)
    small = read([path])
    monkeypatch.setattr(streaming, "_LARGE_BYTES", 0)
    large = read([path])
    assert (large.records, large.left_out, large.n_rows) == (small.records, small.left_out, small.n_rows)
    assert large.dialect == small.dialect == "messages"


def test_a_large_file_without_a_lane_is_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a small one is."""
    path = written(tmp_path / "a.jsonl", [{"text": f"a {n}", "label": "xy"[n % 2]} for n in range(40)])
    small = read([path])
    monkeypatch.setattr(streaming, "_LARGE_BYTES", 0)
    assert read([path]) == small


# --- row by row ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("name", DIALECTS)
def test_a_stream_is_what_is_read(name: str, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every dialect: records, what is left out, the evidence with its doubts, and the count of rows; ids aside."""
    monkeypatch.setattr(streaming, "_LARGE_BYTES", 0 if large else 1 << 20)
    for file, content in FILES[name].items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    paths = [str(tmp_path / file) for file in FILES[name]]
    stream = survey(paths).stream()
    found = list(stream.each())
    reading = read(paths)
    assert identified(one for one in found if not isinstance(one, LeftOut)) == reading.records
    assert [one for one in found if isinstance(one, LeftOut)] == reading.left_out
    assert (stream.dialect, stream.told(), stream.n_rows) == (reading.dialect, reading.evidence, reading.n_rows)


def test_standard_input_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes once."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a", "label": "x"}\n' * 3)))
    found = survey(["-"])
    assert found.plan.reason == "Standard input, or a pipe, can be read only once."
    assert len(list(found.stream().each())) == 3


def test_a_group_may_be_named_by_a_column_that_few_rows_have(tmp_path: Path) -> None:
    """Names are those of all rows that are looked at."""
    rows: list[object] = [{"text": "a", "label": "x"}] * 3 + [{"text": "b", "label": "y", "thread": "t"}]
    path = written(tmp_path / "a.jsonl", rows)
    stream = survey([path], columns=Columns(group="Thread")).stream()
    assert [item.group for item in stream.each() if not isinstance(item, LeftOut)] == [None, None, None, "t"]


def test_where_no_row_is_a_record_the_end_tells(tmp_path: Path) -> None:
    """As where all are held."""
    path = written(tmp_path / "a.jsonl", [{"messages": [{"role": "usr", "content": "q"}]}] * 3 + [{"messages": []}])
    for work in (
        lambda: list(survey([path], dialect="messages").stream().each()),
        lambda: read([path], dialect="messages"),
    ):
        with pytest.raises(
            DataError, match=r"None of the 4 rows can be read; 3 of them: a message with an unknown role"
        ):
            work()


def test_one_row_is_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more of the file is read than what was asked for."""
    monkeypatch.setattr(lines, "BLOCK_BYTES", 100)
    path = written(tmp_path / "a.jsonl", [{"text": f"a {n}", "label": "xy"[n % 2]} for n in range(500)])
    stream = survey([path]).stream()
    next(iter(stream.each()))
    assert (stream.n_rows, stream.n_records) == (1, 1)


@pytest.mark.parametrize("n_rows", [0, 1, 999, 1000, 1001, 2000, 2001, 5000])
def test_a_sample_is_from_all_over_the_rows(n_rows: int) -> None:
    """Equally far apart, from the first on, and at least half as many as it may hold."""
    rows = [Row("", Origin("a", n)) for n in range(n_rows)]
    found = thinned(iter(rows))
    stride = next(2**power for power in range(9) if len(rows[:: 2**power]) <= 1000)
    assert found == rows[::stride]
    assert len(found) >= min(n_rows, 500)


# --- plans -----------------------------------------------------------------------------------------------------------


def test_the_dialect_of_a_large_file_is_told_from_rows_all_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from its beginning alone, and without looking at every row."""
    monkeypatch.setattr(streaming, "_LARGE_BYTES", 1000)
    monkeypatch.setattr(streaming, "_WINDOW_BYTES", 200)
    rows: list[object] = [{"text": "a", "label": "x"}] * 100 + [TALK] * 900
    planned = plan([written(tmp_path / "a.jsonl", rows)], slice_bytes=4000)
    assert planned.dialect == "messages"
    assert len(planned.slices) > 10


@pytest.mark.parametrize("ending", ["json", "jsonl.gz", "csv"])
def test_a_file_that_cannot_be_entered_in_the_middle_is_one_slice(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large or small, it gives what is read at once."""
    path = tmp_path / f"a.{ending}"
    rows = [{"instruction": f"do {n}", "output": "done"} for n in range(90)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    content = {
        "json": json.dumps(rows, indent=1).encode(),
        "jsonl.gz": gzip.compress(lines.encode()),
        "csv": b"instruction,output\n" + b"".join(f"do {n},done\n".encode() for n in range(90)),
    }[ending]
    path.write_bytes(content)
    assert len(hold_same([str(path)], 10).slices) == 1
    monkeypatch.setattr(streaming, "_LARGE_BYTES", 10)
    assert len(hold_same([str(path)], 10).slices) == 1


def test_json_lines_may_be_called_json(tmp_path: Path) -> None:
    """They are cut as others are, however the name ends."""
    assert len(hold_same([written(tmp_path / "a.json", [TALK] * 9)], 200).slices) == 5


def test_several_files_are_read_in_their_order(tmp_path: Path) -> None:
    """Also where they are of different layouts."""
    first = written(tmp_path / "a.jsonl", [TALK] * 5)
    (tmp_path / "b.json").write_text(json.dumps([TALK] * 3))
    planned = hold_same([str(tmp_path / "b.json"), first], 150)
    assert [Path(part.path).name for part in planned.slices][:2] == ["b.json", "a.jsonl"]


def test_described_files_are_renamed(tmp_path: Path) -> None:
    """Row by row, in the general way."""
    written(tmp_path / "a.jsonl", [{"q": f"do {n}", "a": "done"} for n in range(5)])
    layout = {"mine": {"file_name": "a.jsonl", "columns": {"prompt": "q", "response": "a"}}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(layout))
    planned = hold_same([f"{tmp_path}/dataset_info.json#mine"], 30)
    assert planned.dialect == "alpaca"
    assert not planned.has_lane


@pytest.mark.parametrize(
    ("columns", "group"), [(Columns(group="Thread"), ["x", "y"]), (Columns(text="body", label="of"), [None, None])]
)
def test_named_columns_are_settled_once(tmp_path: Path, columns: Columns, group: list[str | None]) -> None:
    """For all slices."""
    path = written(tmp_path / "a.jsonl", [{"body": "a b", "label": one, "of": "l", "thread": one} for one in "xy"])
    planned = hold_same([path], 10, columns=columns)
    assert [record.group for record in streamed(planned)[0]] == group


def test_standard_input_cannot_be_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at it is to have read it."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a"}')))
    assert plan(["-"]).reason == "Standard input, or a pipe, can be read only once."


def test_rows_of_which_none_can_be_read_are_left_to_read(tmp_path: Path) -> None:
    """Which tells what is wrong with all of them."""
    planned = plan([written(tmp_path / "a.jsonl", [1, 2])])
    assert planned.reason == "None of the rows that were looked at can be read."


def test_a_wrong_setting_is_told_by_the_plan(tmp_path: Path) -> None:
    """Before any slice is read."""
    path = written(tmp_path / "a.jsonl", [TALK])
    with pytest.raises(SettingError, match="There is no dialect 'chat'"):
        plan([path], dialect="chat")
    with pytest.raises(SettingError, match="There is no column 'thread'"):
        plan([path], columns=Columns(group="thread"))
    with pytest.raises(ValueError, match="size_bytes must be positive"):
        plan([path], slice_bytes=0)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_fault_at_the_end_of_an_array_is_told_when_it_is_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows before it were given by then."""
    monkeypatch.setattr(streaming, "_LARGE_BYTES", 1000)  # so that the plan does not come to the end
    path = tmp_path / "a.json"
    rows = (json.dumps({"instruction": f"do {n}", "output": "word " * 1000}) for n in range(3000))
    path.write_text("[" + ", \n".join(rows))
    planned = plan([str(path)])
    batches = records_of(planned, planned.slices[0])
    assert 0 < len(next(batches)) < 3000
    with pytest.raises(DataError, match=r"a.json:3000: This is not valid JSON: the text ends too early"):
        list(batches)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_cut_archive_of_plain_rows_gives_its_whole_rows(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """In the lane too, and then tells the loss."""
    lines = "".join(json.dumps({**TALK, "id": n * 7919}) + "\n" for n in range(40_000)).encode()
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(pack(lines)[:-9])
    planned = hold_same([str(path)], 1000)
    assert planned.has_lane
    (*_, last) = items(planned)
    assert isinstance(last, LeftOut)
    assert last.code == "FT101"


def test_another_encoding_is_told_by_whichever_slice_meets_it(tmp_path: Path) -> None:
    """By the file's first lines, wherever the slice begins."""
    path = tmp_path / "a.jsonl"
    ascii_rows = (json.dumps({"instruction": "do", "output": "done"}) + "\n").encode() * 20
    path.write_bytes(ascii_rows)
    planned = plan([str(path)], slice_bytes=200)
    path.write_bytes(ascii_rows[:-10].replace(b"do", b"d\xf6"))
    for part in planned.slices[1:3]:
        with pytest.raises(DataError, match=r"a\.jsonl:1: Byte 19 of the line, 0xf6, is not UTF-8"):
            list(records_of(planned, part))


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "txt", "parquet", "jsonl.gz"])
def test_a_slice_is_read_in_constant_memory(tmp_path: Path, ending: str) -> None:
    """A few blocks of it are held at a time, in every layout."""
    path = tmp_path / f"a.{ending}"
    n_rows = 20_000
    write_large(path, ending, n_rows)
    planned = plan([str(path)], slice_bytes=1 << 40)
    (part,) = planned.slices
    gc.collect()
    tracemalloc.start()
    found = sum(len(batch) for batch in records_of(planned, part))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found >= n_rows
    assert peak < 60_000_000 < n_rows * 5000


def write_large(path: Path, ending: str, n_rows: int) -> None:
    """Write rows of five kilobytes each."""
    rows: Iterator[dict[str, str]] = ({"instruction": f"do {n}", "output": "word " * 1000} for n in range(n_rows))
    if ending == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([("instruction", pa.string()), ("output", pa.string())])
        with pq.ParquetWriter(path, schema) as writer:
            while batch := list(islice(rows, 1000)):
                writer.write_table(pa.Table.from_pylist(batch, schema))
        return
    lines = {
        "csv": lambda row: f"{row['instruction']},{row['output']}\n",
        "txt": lambda row: f"{row['instruction']} {row['output']}\n",
        "json": lambda row: f",{json.dumps(row)}\n",
    }.get(ending, lambda row: json.dumps(row) + "\n")
    with gzip.open(path, "wt", compresslevel=1) if ending.endswith("gz") else path.open("w") as file:
        file.write(
            {"csv": "instruction,output\n", "json": f"[{json.dumps(next(rows))}" if ending == "json" else ""}.get(
                ending, ""
            )
        )
        file.writelines(map(lines, rows))
        file.write("]" if ending == "json" else "")
