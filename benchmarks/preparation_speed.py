"""Preparing files for training: seconds here against the peers, and against the least that has to be done.

    python benchmarks/preparation_speed.py [--rows 50000] [--jobs chat texts] [--peers trl llamafactory datasets] [--alone]

Conversations in SmolLM2's chat template, of which the assistant's turns are learned, in packs of 2,048 tokens, against TRL's
SFTTrainer (one process, and two) and LLaMA-Factory; labelled texts for MiniLM against `datasets.map` with its fast
tokenizer. The rows are real, and each stands once. Every run is cold: a process of its own, with as many cores as
processes. Reading the file and writing what comes out count, imports and loading the model's files do not. Ours and the
floor are the median of three runs; each peer runs once. The floor is reading, decoding JSON, encoding all texts in one
call, and writing their ids.

The ids of every row, and what is learned of them, are held against those of transformers. It ends with 1 where they differ
or a promise is missed: 40 times sooner than TRL with as many processes each, 25 times than LLaMA-Factory, 30 times than
`datasets.map`, and at most twice the floor. ``--alone`` leaves the peers out.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import real_rows
from peer_environment import Bound, judged, llamafactory, told_by, trl

from formtune.engines import ENGINES
from formtune.model_files import resolve
from formtune.preparation import prepared
from formtune.prepared import PreparedTokens, open_prepared
from formtune.preparing import SLICE_BYTES, code_digest
from formtune.progress import silent
from formtune.recipe import Recipe, make_recipe
from formtune.tokens import load_tokenizer

CAPACITY = 2048
ROUNDS = 3
MOST_OF_FLOOR = 2.0
PEERS = Path(__file__).parent / "peers"
FIRST_ROWS = 20
FIRST_BYTES = 8 * SLICE_BYTES  # prepared before time counts: as many slices as each of two workers surely gets some of


@dataclass(frozen=True, slots=True)
class Job:
    """What is prepared, in which format and for which model."""

    rows: Callable[[int], list[dict[str, object]]]
    format: str
    model: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Another tool.

    Attributes:
        name: in the table.
        tool: what ``--peers`` calls it.
        job: a key of :data:`JOBS`.
        environment: gives the Python of its environment.
        script: under ``peers/``.
        n_processes: as many as we have.
        least: how many times sooner we promise to be.
    """

    name: str
    tool: str
    job: str
    environment: Callable[[], Path]
    script: str
    n_processes: int
    least: float


JOBS = {
    "chat": Job(real_rows.conversations, "chat", "smollm2-135m"),
    "texts": Job(real_rows.labelled_texts, "classification", "minilm-l6"),
}
RIVALS = (
    Peer("TRL", "trl", "chat", trl, "trl_prepare.py", n_processes=1, least=40),
    Peer("TRL, two processes", "trl", "chat", trl, "trl_prepare.py", n_processes=2, least=40),
    Peer("LLaMA-Factory", "llamafactory", "chat", llamafactory, "llamafactory_prepare.py", n_processes=1, least=25),
    Peer("datasets.map", "datasets", "texts", trl, "datasets_tokenize.py", n_processes=1, least=30),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run.

    Attributes:
        seconds: what counts of it.
        n_tokens: tokens that came out.
        n_learned: those that are learned; None where nothing is.
        n_packs: rows that they were packed into; None where they were not.
    """

    seconds: float
    n_tokens: int
    n_learned: int | None = None
    n_packs: int | None = None


def ours(job: Job, rows_path: str, out: str, *, n_workers: int) -> Measured:
    """Prepare with formtune: how it is called and what it says stands here, what it wrote in :func:`sequences`.

    The engine is started, and some rows are prepared many times over, before time counts: then everything is imported and
    loaded, and hardly a word of the other rows was met.
    """
    code_digest()
    with ENGINES["local"](n_workers, None) as run:
        first = Path(f"{out}.first.jsonl")
        rows = b"".join(Path(rows_path).read_bytes().splitlines(keepends=True)[:FIRST_ROWS])
        first.write_bytes(rows * (1 + FIRST_BYTES // len(rows)))
        prepared(_recipe(job, str(first), f"{out}.first"), Path(f"{out}.first"), fresh=True, progress=silent, run=run)
        recipe = _recipe(job, rows_path, out)
        start = time.perf_counter()
        told = prepared(recipe, Path(out), fresh=True, progress=silent, run=run)
        seconds = time.perf_counter() - start
    return Measured(seconds, told["tokens"], told["learned_tokens"], told["packs"])


def _recipe(job: Job, rows_path: str, out: str) -> Recipe:
    settings = {"data": {"paths": rows_path}, "formats": job.format, "models": job.model, "out": out}
    return make_recipe({**settings, "preparation": {"pack_tokens": CAPACITY if job.format == "chat" else None}})


def sequences(out: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read back ids and weights of every row that was prepared."""
    for one in PreparedTokens(open_prepared(out)).values():
        yield one.ids_T, one.weights_T


def floor(job: Job, rows_path: str, out: str, *, n_workers: int) -> Measured:
    """Do the least that has to be done, in one process."""
    assert n_workers == 1
    tokenizer = load_tokenizer(resolve(job.model))
    tokenizer.engines.choose([Path(rows_path).read_text().split("\n", 1)[0]])
    start = time.perf_counter()
    rows = [msgspec.json.decode(line) for line in Path(rows_path).read_bytes().splitlines()]
    texts = [one["content"] for row in rows for one in row.get("messages", ())] or [row["text"] for row in rows]
    flat = tokenizer.encode_flat(texts, "text")
    bounds = np.concatenate([[0], flat.ends_N]).astype(np.int32)
    table = pa.table({"ids": pa.ListArray.from_arrays(bounds, flat.ids_T)})
    with pa.OSFile(out, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return Measured(time.perf_counter() - start, int(bounds[-1]))


OWN = {"formtune": ours, "the floor": floor}


def n_unlike(job: Job, rows_path: Path, out: Path) -> int:
    """Count the rows whose ids, or what is learned of them, are not what transformers gives.

    Rows that are longer than a pack are cut here, and count only where they do not stand at all.
    """
    reference = rows_path.with_suffix(".npz")
    told_by([sys.executable, PEERS / "transformers_ids.py", resolve(job.model), rows_path, reference])
    with np.load(reference) as file:
        ids, learned = (np.split(file[name], file["ends"][:-1]) for name in ("ids", "learned"))
    expected = Counter(map(_key, ids, learned))
    found = Counter(_key(ids_T, weights_T == 1) for ids_T, weights_T in sequences(out))
    n_cut = sum(len(one) > CAPACITY for one in ids) if job.format == "chat" else 0
    return max((expected - found).total(), (found - expected).total()) - n_cut


def _key(ids_T: np.ndarray, learned_T: np.ndarray) -> bytes:
    return ids_T.astype(np.int32).tobytes() + learned_T.tobytes()


def told(name: str, command: Sequence[object], place: Path, *, n_processes: int, rounds: int = 1) -> Measured:
    """Run something in cold processes, each of which writes to ``PLACE-N``, and print the line of the median."""
    runs = []
    for n in range(rounds):
        out = f"{place}-{n}"
        cached = {"HF_DATASETS_CACHE": f"{out}.cache"}
        runs.append(Measured(**told_by([*command, out], n_cores=n_processes, variables=cached)))
    one = sorted(runs, key=lambda run: run.seconds)[rounds // 2]
    learned = "" if one.n_learned is None else f", {one.n_learned:,} learned"
    filled = f", {one.n_tokens / one.n_packs / CAPACITY:.1%} filled" if one.n_packs else ""
    print(f"  {name:<24} {one.seconds:7.2f} s  {one.n_tokens:,} tokens{learned}{filled}", flush=True)
    return one


def compared(name: str, n_rows: int, folder: Path, *, rivals: Sequence[Peer]) -> list[Bound]:
    """Measure one job every way, print its table, and say what is promised."""
    job, rows_path = JOBS[name], folder / f"{name}.jsonl"
    real_rows.write(job.rows(n_rows), rows_path)
    print(f"{name}: {n_rows:,} rows, {rows_path.stat().st_size / 1e6:.1f} MB, for {job.model}")
    own = [sys.executable, __file__, "--own"]
    mine = {
        n: told(
            f"formtune{', two processes' * (n > 1)}",
            [*own, "formtune", name, rows_path, n],
            folder / f"{name}-ours-{n}",
            n_processes=n,
            rounds=ROUNDS,
        )
        for n in sorted({1, *(rival.n_processes for rival in rivals)})
    }
    least = told(
        "the floor", [*own, "the floor", name, rows_path, 1], folder / f"{name}-floor", n_processes=1, rounds=ROUNDS
    )
    bounds = [
        Bound(f"{name}: times the floor", mine[1].seconds / least.seconds, most=MOST_OF_FLOOR),
        Bound(f"{name}: rows that differ", n_unlike(job, rows_path, folder / f"{name}-ours-1-0"), most=0),
    ]
    for rival in rivals:
        command = [rival.environment(), PEERS / rival.script, resolve(job.model), rows_path]
        place = folder / f"{rival.script}-{rival.n_processes}"
        theirs = told(rival.name, [*command, rival.n_processes], place, n_processes=rival.n_processes)
        sooner = theirs.seconds / mine[rival.n_processes].seconds
        bounds.append(Bound(f"{name}: times sooner than {rival.name}", sooner, least=rival.least))
    return bounds


def main() -> int:
    """Measure what is asked for; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tools = list(dict.fromkeys(rival.tool for rival in RIVALS))
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--peers", nargs="+", choices=tools, default=tools)
    parser.add_argument("--alone", action="store_true", help="measure formtune alone")
    parser.add_argument("--own", nargs=5, metavar=("WHAT", "JOB", "ROWS", "N", "OUT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.own:
        what, name, rows_path, n_workers, out = asked.own
        print(json.dumps(asdict(OWN[what](JOBS[name], rows_path, out, n_workers=int(n_workers)))))
        return 0
    rivals = [] if asked.alone else [rival for rival in RIVALS if rival.tool in asked.peers]
    with tempfile.TemporaryDirectory() as folder:
        bounds = [
            bound
            for name in asked.jobs
            for bound in compared(name, asked.rows, Path(folder), rivals=[one for one in rivals if one.job == name])
        ]
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
