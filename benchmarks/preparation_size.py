"""Seconds and memory of preparing ever more rows, by two workers: time that grows as the rows do, and memory that does not.

    python benchmarks/preparation_size.py [--least 10000] [--most 10000000] [--workers 2] [--chart FILE.svg]

Of real conversations the 10,000 shortest are a file, and so are ten copies of them; more rows are that file under as many
names. Memory is the sum of the proportional set sizes (PSS) of all processes, looked at five times a second: what they
share counts once. Files that are mapped into memory count as far as they are there, what the kernel keeps of others does
not. Seconds are those of the call, processor seconds those of all processes. The exponent is fitted to the latter, since
others may be at work on the machine, from 100,000 rows on and less what 100 rows take, which is starting the workers.

Ends with 1 where the peak at the most rows is over 1.2 times that at a tenth of them, or over 1.5 GB, or where the
exponent is over 1.1.
"""

import argparse
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import real_rows
from peer_environment import Bound, judged

from formtune.model_files import resolve
from formtune.reports.pictures import HEIGHT, WIDTH, picture_file
from formtune.reports.svg import Span, at, line, polyline, text

MODEL = "smollm2-135m"
N_DRAWN = 30_000
N_FEW = 100
N_SHORT = 10_000
FILE_ROWS = 100_000
LOOK_S = 0.2
LEFT, RIGHT, TOP, BOTTOM = 58.0, 60.0, 44.0, 34.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One preparation.

    Attributes:
        rows: how many went in.
        seconds: of the call.
        processor_s: of all processes, from their start on.
        peak_bytes: of all processes together.
        tokens: that came out.
    """

    rows: int
    seconds: float
    processor_s: float
    peak_bytes: int
    tokens: int


def prepared(settings: dict[str, object]) -> dict[str, object]:
    """Prepare in this process: what ``--own`` does."""
    from formtune import pipeline
    from formtune.recipe import make_recipe

    start = time.perf_counter()
    found = pipeline.prepare(make_recipe(settings))
    return {"seconds": time.perf_counter() - start, "rows": found["rows"], "tokens": found["tokens"]}


def measured(n_rows: int, files: str, out: Path, *, n_workers: int) -> Measured:
    """Prepare in a process of its own, and look at the memory of all that it starts."""
    settings = {
        "data": {"paths": files},
        "formats": "chat",
        "models": str(resolve(MODEL)),
        "preparation": {"workers": n_workers, "pack_tokens": 2048},
        "out": str(out),
    }
    command = [sys.executable, __file__, "--own", json.dumps(settings)]
    peak, before = 0, os.times()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(pss_bytes, descent(process.pid))))
            time.sleep(LOOK_S)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        sys.exit(process.returncode)
    after = os.times()
    found = json.loads(said.splitlines()[-1])
    assert found["rows"] == n_rows, f"{found['rows']} rows went in, and not {n_rows}"
    seconds = sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
    return Measured(n_rows, found["seconds"], seconds, peak, found["tokens"])


def descent(pid: int) -> Iterator[int]:
    """Give a process and all that it has started."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        yield from descent(int(child))


def pss_bytes(pid: int) -> int:
    """Give what a process holds, what it shares counted in proportion; 0 where it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(one.split()[1]) << 10 for one in rollup.splitlines() if one.startswith("Pss:")), 0)


def files_with(n_rows: int, folder: Path) -> str:
    """Lay so many rows out as files, most of which are names of the same; give what stands for them all."""
    size = min(n_rows, FILE_ROWS)
    own = folder / f"files-{n_rows}"
    own.mkdir()
    for number in range(n_rows // size):
        os.link(folder / f"{size}.jsonl", own / f"part-{number:04}.jsonl")
    return str(own / "*.jsonl")


def write_files(folder: Path) -> None:
    """Write the shortest of the rows, once and ten times over."""
    texts = [json.dumps(row, ensure_ascii=False) + "\n" for row in real_rows.conversations(N_DRAWN)]
    short = "".join(sorted(texts, key=len)[:N_SHORT])
    (folder / f"{N_FEW}.jsonl").write_text("".join(texts[:N_FEW]), encoding="utf-8")
    (folder / f"{N_SHORT}.jsonl").write_text(short, encoding="utf-8")
    (folder / f"{FILE_ROWS}.jsonl").write_text(short * (FILE_ROWS // N_SHORT), encoding="utf-8")


def exponent(found: Sequence[Measured], start_s: float) -> float:
    """Fit the power of the rows that processor seconds grow with beyond the start's; 0 where there are too few to fit."""
    large = [one for one in found if one.rows >= FILE_ROWS]
    if len(large) < 2:
        return 0.0
    slope, _ = np.polyfit(
        [math.log(one.rows) for one in large], [math.log(one.processor_s - start_s) for one in large], 1
    )
    return float(slope)


def chart(found: Sequence[Measured], start: Measured, title: str) -> str:
    """Draw seconds beyond the start's against rows, both by powers of ten, as an SVG file."""
    xs = [math.log10(one.rows) for one in found]
    curves = {
        "arm-2": ("processor seconds", -8, [one.processor_s - start.processor_s for one in found]),
        "arm-1": ("seconds", 20, [one.seconds - start.seconds for one in found]),
    }
    logs = [math.log10(max(value, 0.01)) for *_, values in curves.values() for value in values]
    x = Span(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y = Span(math.floor(min(logs)), math.ceil(max(logs)), HEIGHT - BOTTOM, TOP)
    parts = [text(at(LEFT), "26", title, css="name")]
    for power in range(int(y.low), int(y.high) + 1):
        parts.append(line(at(LEFT), at(y(power)), at(WIDTH - RIGHT), y2=at(y(power)), css="grid"))
        parts.append(text(at(LEFT - 6), at(y(power)), f"{10.0**power:g} s", anchor="end", shift=".35em"))
    parts += [text(at(x(one)), at(HEIGHT - BOTTOM + 18), f"{10**one:,.0f}", anchor="middle") for one in xs]
    for css, (name, shift, values) in curves.items():
        points = [(x(one), y(math.log10(max(value, 0.01)))) for one, value in zip(xs, values, strict=True)]
        parts.append(polyline(points, f"curve {css}", title=name))
        parts += [f'<circle cx="{at(px)}" cy="{at(py)}" r="3.5" class="dot {css}"/>' for px, py in points]
        parts.append(text(at(points[-1][0]), at(points[-1][1] + shift), name, anchor="end", css="tiny"))
    return picture_file(parts, f"{title}: {[(one.rows, round(one.seconds, 1)) for one in found]}", height=HEIGHT)


def main() -> int:
    """Prepare ever more rows, print the table and draw the chart; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--least", type=int, default=10_000)
    parser.add_argument("--most", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chart", type=Path, default=Path("preparation_size.svg"))
    parser.add_argument("--own", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if asked.own:
        print(json.dumps(prepared(json.loads(asked.own))))
        return 0
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_files(folder)
        print(f"{'rows':>12}{'seconds':>10}{'processor':>11}{'rows/s':>10}{'peak':>10}{'tokens':>15}")
        powers = range(round(math.log10(asked.least)), round(math.log10(asked.most)) + 1)
        for n_rows in (N_FEW, *(10**power for power in powers)):
            one = measured(n_rows, files_with(n_rows, folder), folder / "out", n_workers=asked.workers)
            shutil.rmtree(folder / "out")
            found.append(one)
            print(
                f"{one.rows:>12,}{one.seconds:>10.1f}{one.processor_s:>11.1f}{one.rows / one.seconds:>10,.0f}"
                f"{one.peak_bytes / 1e6:>7,.0f} MB{one.tokens:>15,}",
                flush=True,
            )
    few, *found = found
    title = f"Preparing with {asked.workers} workers, by rows, less what {N_FEW} rows take"
    asked.chart.write_text(chart(found, few, title), encoding="utf-8")
    pairs = list(itertools.pairwise(found))
    return judged(
        [
            Bound("peak, GB", found[-1].peak_bytes / 1e9, most=1.5),
            *(
                Bound("peak, times that of a tenth", b.peak_bytes / a.peak_bytes, most=1.2)
                for a, b in pairs[-1:]
                if a.rows >= FILE_ROWS
            ),
            Bound("exponent", exponent(found, few.processor_s), most=1.1),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
