"""Arrow or Parquet for shards: bytes a token, and what reading sequences in random order takes.

    python benchmarks/shard_formats.py [--sequences 20000]

The sequences of a shard, ids and runs, as formtune writes them (Arrow IPC, mapped into memory), as Arrow compressed by
zstd, and as Parquet with zstd and without compression. Each is opened and read as a training reads it: all sequences in
random order, the ids of each as an array. Printed are bytes a token, milliseconds to open, microseconds a sequence, and
how many times longer than ours. It ends with 1 where another way is sooner.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from peer_environment import Bound, judged
from real_rows import conversations

from formtune import formats
from formtune.arms import Arm
from formtune.columnar import Preparer
from formtune.examples import Task
from formtune.model_files import resolve
from formtune.records import Conversation, Message
from formtune.shard_files import read_shard, write_shard
from formtune.tokens import load_tokenizer

Open = Callable[[Path], Callable[[int], np.ndarray]]


def ours(path: Path) -> Callable[[int], np.ndarray]:
    """Open a shard; give what gives the ids of a sequence."""
    sheet = read_shard(path).leaf.sheet
    ends_N = sheet.ends_N.tolist()
    return lambda n: sheet.ids_T[ends_N[n - 1] if n else 0 : ends_N[n]]


def of_table(table: pa.Table) -> Callable[[int], np.ndarray]:
    """Give what gives the ids of a sequence of a table that was read."""
    lists = table.column("ids").combine_chunks()
    values, offsets = lists.values.to_numpy(), lists.offsets.to_numpy().tolist()
    return lambda n: values[offsets[n] : offsets[n + 1]]


WAYS: dict[str, tuple[Callable[[Path, pa.Table], None], Open]] = {
    "Arrow, zstd": (
        lambda path, table: _write_arrow(path, table, "zstd"),
        lambda path: of_table(pa.ipc.open_file(pa.memory_map(str(path))).read_all()),
    ),
    "Parquet, zstd": (
        lambda path, table: pq.write_table(table, path, compression="zstd"),
        lambda path: of_table(pq.read_table(path)),
    ),
    "Parquet, not compressed": (
        lambda path, table: pq.write_table(table, path, compression="none", use_dictionary=False),
        lambda path: of_table(pq.read_table(path)),
    ),
}


def _write_arrow(path: Path, table: pa.Table, compression: str) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)


def measured(path: Path, way: Open, order: list[int]) -> tuple[float, float]:
    """Give seconds to open a file, and to read all its sequences; the best of three."""
    opened, read = [], []
    for _ in range(3):
        start = time.perf_counter()
        ids_of = way(path)
        opened.append(time.perf_counter() - start)
        start = time.perf_counter()
        for n in order:
            ids_of(n).astype(np.int64)
        read.append(time.perf_counter() - start)
    return min(opened), min(read)


def main() -> int:
    """Compare the ways; 1 where another is sooner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=20_000)
    asked = parser.parse_args()
    rows = conversations(asked.sequences)
    records = [Conversation(messages=tuple(Message(**turn) for turn in row["messages"])) for row in rows]  # type: ignore[attr-defined]
    task, chat = Task("conversation"), formats.named("chat")
    preparer = Preparer(
        arm=Arm("chat", chat, formats.cell(chat, task, "decoder"), "smollm2-135m", "decoder"),
        task=task,
        tokenizer=load_tokenizer(resolve("smollm2-135m")),
        start_id=None,
        capacity=8192,
    )
    leaf = preparer.prepare(records).leaf
    order = np.random.default_rng(0).permutation(len(leaf)).tolist()
    bounds = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ours.arrow"
        nowhere = np.zeros(len(leaf), dtype=np.int32)
        write_shard(path, leaf, files_N=nowhere, lines_N=leaf.numbers_N, facts={})
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        own = measured(path, ours, order)
        n_tokens = len(leaf.sheet.ids_T)
        print(f"{'Arrow, as it is':24} {path.stat().st_size / n_tokens:5.2f} bytes a token", end="")
        print(f"  {1e3 * own[0]:7.2f} ms to open  {1e6 * own[1] / len(order):6.2f} us a sequence")
        for name, (write, way) in WAYS.items():
            other = Path(folder) / name
            write(other, table)
            found = measured(other, way, order)
            print(f"{name:24} {other.stat().st_size / n_tokens:5.2f} bytes a token", end="")
            print(f"  {1e3 * found[0]:7.2f} ms to open  {1e6 * found[1] / len(order):6.2f} us a sequence")
            bounds.append(Bound(f"{name}: times longer to open and read", sum(found) / sum(own), least=1.0))
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
