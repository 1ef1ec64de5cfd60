"""Preparation of real rows by every engine, and killed at random moments: the same bytes each time?

    python benchmarks/preparation_digests.py [--rows 4000] [--kills 50] [--seed 0] [--engines local,ray]

Conversations of real data sets, in slices small enough that there are about a hundred, become shards and packs: by this
process alone, by 2 and by 4 workers, and on Ray clusters of 1 and of 3 simulated nodes, in one of which a node is killed
when half of the slices are done. Then a preparation by two workers is ended by SIGKILL at random moments and gone on with
until it is whole, again and again; every second one takes the place of an older result. After each kill there must be
nothing at the place of the result, or all of the older or the new one; in the end digests must be those of the run that
nobody killed, and nothing may be left beside them.

Ends with 1 where anything differs. Ray is left out where it is not installed.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import real_rows

from formtune.model_files import resolve
from formtune.progress import Event, Progress, silent
from formtune.shards import read_manifest

MODEL = "smollm2-135m"
SLICE_BYTES = 20_000
LOOK_S = 0.01
BY_SHARDS = 0.6  # of the kills come when a number of shards is there, so that not all fall into starting and ending


@dataclass(frozen=True, slots=True)
class Way:
    """How it is done.

    Attributes:
        name: in the table.
        preparation: settings of the recipe.
        n_nodes: of a simulated cluster; 0 for none.
        is_one_killed: whether one of them is killed half-way.
    """

    name: str
    preparation: dict[str, object]
    n_nodes: int = 0
    is_one_killed: bool = False


WAYS = (
    Way("local", {}),
    Way("local, 2 workers", {"workers": 2}),
    Way("local, 4 workers", {"workers": 4}),
    Way("ray, 1 node", {"engine": "ray"}, n_nodes=1),
    Way("ray, 3 nodes", {"engine": "ray"}, n_nodes=3),
    Way("ray, 3 nodes, one killed", {"engine": "ray"}, n_nodes=3, is_one_killed=True),
)


@dataclass(slots=True)
class Tally:
    """What the kills came to.

    Attributes:
        n_kills: runs that were alive when they were killed.
        n_shards: its shards that were there after each kill.
        n_whole: preparations that came to their end.
        faults: what was not as it must be.
    """

    n_kills: int = 0
    n_shards: list[int] = field(default_factory=list)
    n_whole: int = 0
    faults: list[str] = field(default_factory=list)


def prepared(settings: dict[str, Any], *, n_nodes: int, is_one_killed: bool) -> dict[str, object]:
    """Prepare in this process, and say what came out: what ``--own`` does."""
    from formtune import pipeline, preparation
    from formtune.recipe import make_recipe

    preparation.SLICE_BYTES = SLICE_BYTES
    if not n_nodes:
        return {"digest": pipeline.prepare(make_recipe(settings))["digest"]}
    with nodes(n_nodes) as (address, kill_one):
        progress = _half_way(kill_one) if is_one_killed else silent
        asked = {**settings, "preparation": {**settings["preparation"], "address": address}}
        found = pipeline.prepare(make_recipe(asked), progress=progress)
        return {"digest": found["digest"], "nodes_left": n_alive(address)}


@contextmanager
def nodes(count: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Start a cluster of simulated nodes of a processor each; give its address, and what kills one of them."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    others = [cluster.add_node(num_cpus=1) for _ in range(count - 1)]
    try:
        yield cluster.address, lambda: cluster.remove_node(others[0], allow_graceful=False)
    finally:
        cluster.shutdown()


def n_alive(address: str) -> int:
    """Count the nodes of a cluster that live."""
    import ray

    ray.init(address, log_to_driver=False)
    try:
        return sum(node["Alive"] for node in ray.nodes())
    finally:
        ray.shutdown()


def _half_way(act: Callable[[], None]) -> Progress:
    """Act once, when half of the steps are done."""
    waiting = [act]

    def tell(event: Event) -> None:
        if waiting and event.steps and event.step == event.steps // 2:
            waiting.pop()()

    return tell


def begun(settings: dict[str, Any], way: Way) -> subprocess.Popen[str]:
    """Start a process that prepares."""
    asked = {**settings, "preparation": way.preparation}
    own = json.dumps({"settings": asked, "n_nodes": way.n_nodes, "is_one_killed": way.is_one_killed})
    return subprocess.Popen(
        [sys.executable, __file__, "--own", own],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def told(settings: dict[str, Any], way: Way) -> dict[str, Any]:
    """Prepare in a process of its own, and give what it says."""
    process = begun(settings, way)
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"{way.name}: ended with {process.returncode}\n{err}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def files_of(out: Path) -> dict[str, str] | None:
    """Give the digests of a prepared folder, whose files are held against them; None where there is nothing at all.

    Raises:
        DataError: where it is not whole.
    """
    if not out.exists():
        return None
    files: dict[str, str] = read_manifest(out, kind="prepared")["files"]
    return files


def by_every_engine(settings: dict[str, Any], folder: Path, ways: Sequence[Way]) -> Iterator[str]:
    """Prepare in every way, print the table, and say what differs from the first."""
    wanted = None
    for place, way in enumerate(ways):
        out = folder / f"way-{place}"
        start = time.monotonic()
        found = told({**settings, "out": str(out)}, way)
        seconds = time.monotonic() - start
        files = files_of(out)
        wanted = files if wanted is None else wanted
        is_equal = files == wanted
        left = f", {found['nodes_left']} nodes at the end" if way.n_nodes else ""
        print(f"{way.name:26}{found['digest'][:16]:18}{'equal' if is_equal else 'DIFFERS':9}{seconds:6.1f} s{left}")
        sys.stdout.flush()
        if not is_equal:
            yield f"{way.name}: files differ"
        if way.is_one_killed and found["nodes_left"] != way.n_nodes - 1:
            yield f"{way.name}: no node was killed"
        if place:
            shutil.rmtree(out)


def killed_and_gone_on(settings: dict[str, Any], folder: Path, n_kills: int, *, seed: int) -> Tally:
    """Kill preparations so many times, and hold against the wanted one what is there after each kill and in the end."""
    way, tally, chance = Way("killed", {"workers": 2}), Tally(), random.Random(seed)
    out, beside, older = folder / "killed", folder / "killed.shards", folder / "older"
    told({**settings, "formats": "completion", "out": str(older)}, Way("older", {"packing": "none"}))
    wanted, before = files_of(folder / "way-0"), files_of(older)
    shards = [beside / f"{one['name']}.arrow" for one in read_manifest(folder / "way-0", kind="prepared")["shards"]]
    start = time.monotonic()
    told({**settings, "out": str(folder / "timed")}, way)
    whole_s = time.monotonic() - start
    while tally.n_kills < n_kills or beside.exists():
        if not beside.exists() and tally.n_whole % 2:
            shutil.copytree(older, out)
        process = begun({**settings, "out": str(out)}, way)
        is_killed = tally.n_kills < n_kills and killed(process, shards, chance, whole_s=whole_s)
        _, err = process.communicate()
        if (found := files_of(out)) not in (None, before, wanted):
            tally.faults.append(f"after kill {tally.n_kills}: another result: {found}")
        if is_killed:
            tally.n_kills += 1
            tally.n_shards.append(n_there(shards))
            continue
        tally.n_whole += 1
        if process.returncode or found != wanted or beside.exists():
            tally.faults.append(f"after kill {tally.n_kills}: the end is not as it must be: {err}")
        shutil.rmtree(out, ignore_errors=True)
    return tally


def killed(process: subprocess.Popen[str], shards: Sequence[Path], chance: random.Random, *, whole_s: float) -> bool:
    """Kill a process and its group after a while, or when there are so many shards; say whether it was still alive."""
    until_s, enough = time.monotonic() + chance.uniform(0, whole_s), math.inf
    if (now := n_there(shards)) < len(shards) and chance.random() < BY_SHARDS:
        until_s, enough = math.inf, chance.randint(now + 1, len(shards))
    while process.poll() is None and time.monotonic() < until_s and n_there(shards) < enough:
        time.sleep(LOOK_S)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def n_there(paths: Sequence[Path]) -> int:
    """Count the files that are there."""
    return sum(path.exists() for path in paths)


def main() -> int:
    """Prepare and kill, print tables; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engines", default="local,ray")
    parser.add_argument("--own", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    if asked.own:
        print(json.dumps(prepared(**json.loads(asked.own))))
        return 0
    engines = [name for name in asked.engines.split(",") if name != "ray" or find_spec("ray") is not None]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        real_rows.write(real_rows.conversations(asked.rows), folder / "rows.jsonl")
        n_slices = (folder / "rows.jsonl").stat().st_size // SLICE_BYTES + 1
        print(f"{asked.rows:,} rows, about {n_slices} slices, for {MODEL}; engines: {', '.join(engines)}")
        settings = {"data": {"paths": str(folder / "rows.jsonl")}, "formats": "chat", "models": str(resolve(MODEL))}
        ways = [way for way in WAYS if (way.n_nodes and "ray" in engines) or (not way.n_nodes and "local" in engines)]
        faults = list(by_every_engine(settings, folder, ways))
        if asked.kills:
            tally = killed_and_gone_on(settings, folder, asked.kills, seed=asked.seed)
            print(f"{tally.n_kills} kills in {tally.n_whole} preparations that came to their end; shards after each:")
            print(" ".join(map(str, tally.n_shards)))
            faults += tally.faults
    print("\n".join(faults) or "everything equal, and at no kill a half result")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
