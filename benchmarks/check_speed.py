"""Times reading and the check for duplicates over a file of chats, and compares both with decoding the same lines alone.

    python benchmarks/check_speed.py [--megabytes 100] [--peers]

The file is made in a temporary folder: conversations of two to six turns, a hundredth of which repeat an earlier one. What is
timed: msgspec decoding every line; reading it into records with their lines; the checks ``rows`` and ``duplicates``.
``--peers`` runs two others on the same file, each in an environment of its own: ``convmerge validate``, which looks at rows
alone, is held against reading and these two checks; ``finelint inspect``, which looks for duplicates and near-duplicates as
well, against reading and all of our checks. That one takes four minutes for a hundred megabytes.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from peer_environment import Bound, judged, python_of

from formtune.checks import Context, check
from formtune.dialects import read

REPEATED = 100  # one conversation in so many
PEERS = {
    "convmerge": (("convmerge==1.6.5",), ("validate", "--input")),
    "finelint": (("finelint==0.2.0",), ("inspect",)),
}


def made(path: Path, megabytes: int) -> int:
    """Write conversations, and say how many repeat an earlier one."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    lines: list[bytes] = []
    size = n_repeated = 0
    with path.open("wb") as file:
        while size < megabytes * 1_000_000:
            if lines and draw.randrange(REPEATED) == 0:
                line = draw.choice(lines)
                n_repeated += 1
            else:
                roles = ("user", "assistant") * draw.randint(1, 3)
                turns = [
                    {"role": role, "content": " ".join(draw.choices(words, k=draw.randint(10, 80)))} for role in roles
                ]
                line = msgspec.json.encode({"messages": turns}) + b"\n"
                lines.append(line)
            size += file.write(line)
    return n_repeated


def decoded(path: Path) -> float:
    """Time what any reader has to do: decode each line."""
    start = time.perf_counter()
    with path.open("rb") as file:
        for line in file:
            msgspec.json.decode(line)
    return time.perf_counter() - start


def checked(path: Path) -> tuple[float, float, int]:
    """Time reading and checking; and count what the check finds."""
    start = time.perf_counter()
    reading = read([str(path)])
    middle = time.perf_counter()
    context = Context(parts={"data": reading.records}, left_out=reading.left_out)
    outcomes = check(context, only=["rows", "duplicates"])
    found = [one for outcome in outcomes for one in outcome.findings if one.rule.code == "FT201"]
    return middle - start, time.perf_counter() - middle, sum(len(one.places) for one in found)


def peer_seconds(name: str, path: Path) -> float:
    packages, arguments = PEERS[name]
    python = python_of(name, *packages, torch=False)
    command = [str(python.parent / name), *arguments, str(path)]
    start = time.perf_counter()
    subprocess.run(command, cwd=path.parent, capture_output=True, check=True)
    seconds = time.perf_counter() - start
    print(f"{name} {arguments[0]}: {seconds:.1f} s")
    return seconds


def all_checked(path: Path) -> float:
    """Time reading and all checks."""
    start = time.perf_counter()
    reading = read([str(path)])
    check(Context(parts={"data": reading.records}, left_out=reading.left_out))
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--peers", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.jsonl"
        n_repeated = made(path, arguments.megabytes)
        alone = decoded(path)
        reading, checking, n_found = checked(path)
        ratio = (reading + checking) / alone
        print(
            f"{arguments.megabytes} MB: decoding alone {alone:.2f} s, reading {reading:.2f} s, checking {checking:.2f} s"
        )
        print(f"{arguments.megabytes / (reading + checking):.0f} MB/s, {ratio:.1f} times decoding alone")
        bounds = [Bound("repeated conversations found, of all", n_found / n_repeated, least=1, most=1)]
        bounds.append(Bound("time over decoding alone", ratio, most=30))
        if arguments.peers:
            ours = all_checked(path)
            print(f"reading and all checks: {ours:.1f} s")
            schema = peer_seconds("convmerge", path)
            bounds.append(
                Bound("our time over convmerge's, duplicates included", (reading + checking) / schema, most=1)
            )
            bounds.append(Bound("our time over finelint's", ours / peer_seconds("finelint", path), most=1))
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
