"""Every real file there is: which dialect it is taken for, how many rows are kept, and whether it comes back the same.

    python benchmarks/real_files.py [--markdown]

Each file is read without a word of help (but for one in latin-1), two of them with the file of answers that belongs to
them, written in its own dialect, and read again. Printed are rows, records, what was left out with its reasons, and what
did not come back. It ends with 1 where a file is taken for no dialect, or a record that
was kept does not come back whole.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from data_folder import data_folder

from formtune.conversion import convert
from formtune.dialects import DIALECTS, read
from formtune.errors import FormtuneError

FOLDERS = ("instruct", "qa", "seq2seq", "cls_en", "cls_zh", "pair_en", "pair_zh", "probes")
ENDINGS = {"squad": ".json", "aligned": "", "labelled-lines": ".txt"}
# Files whose rows are of use only beside others.
BESIDE = {
    "instruct/bfcl_simple/BFCL_v4_simple_python.json": "instruct/bfcl_simple/possible_answer.BFCL_v4_simple_python.json",
    "probes/piqa/valid_500.jsonl": "probes/piqa/valid_500-labels.lst",
}
# Files that belong together line by line; each is tried as text alone, too.
ALIGNED = (
    *(
        tuple(f"seq2seq/jfleg/{part}.{end}" for end in ("src", "ref0", "ref1", "ref2", "ref3"))
        for part in ("dev", "test")
    ),
    *(tuple(f"seq2seq/multi30k_en_de/{part}.{end}.gz" for end in ("en", "de")) for part in ("train", "val")),
)
HELPED = {"cls_en/trec/TREC.train": {"encoding": "latin-1"}}  # as the message of the refusal says
NO_DATA = ("README", "LICENSE", "MANIFEST", "SOURCE", "NOTICE", "dataset_info")


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a file.

    Attributes:
        name: its path in the folder of real data.
        dialect: what it was taken for; empty where it was refused.
        n_rows: records and rows left out.
        n_kept: records.
        told: why it was refused, or rows were left out, or what did not come back.
        same: whether every record came back whole.
    """

    name: str
    dialect: str
    n_rows: int
    n_kept: int
    told: str
    same: bool


def files_in(root: Path) -> Iterator[Path]:
    """Give the data files, but for those that are read beside another."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            is_beside = str(path.relative_to(root)) in BESIDE.values()
            if path.is_file() and not path.name.startswith(NO_DATA) and not is_beside:
                yield path


def tried(path: Path, root: Path, beside: Sequence[str] = ()) -> Tried:
    """Read a file, with what belongs beside it, write it and read it again."""
    name = str(path.relative_to(root))
    beside = beside or ([BESIDE[name]] if name in BESIDE else [])
    try:
        reading = read([str(path), *(str(root / one) for one in beside)], **HELPED.get(name, {}))  # type: ignore[arg-type]
    except FormtuneError as error:
        return Tried(name, "", 0, 0, error.problem, same=True)
    reasons = Counter(one.reason for one in reading.left_out)
    told = "; ".join(f"{n} × {reason}" for reason, n in reasons.most_common())
    with TemporaryDirectory() as folder:
        try:
            written = convert(
                reading.records, reading.dialect, Path(folder) / f"out{ENDINGS.get(reading.dialect, '.jsonl')}"
            )
        except FormtuneError as error:
            return Tried(
                name, reading.dialect, reading.n_rows, len(reading.records), f"{told} {error.problem}", same=False
            )
        lost = [f"{entry['rows']} × {entry['key']}" for entry in written.cannot_carry]
        lost += [f"{len(written.left_out)} records"] if written.left_out else []
    with_others = f"with {', '.join(Path(one).name for one in beside)}" if beside else ""
    told = "; ".join(filter(None, [with_others, told, f"not back: {', '.join(lost)}" if lost else ""]))
    return Tried(name, reading.dialect, reading.n_rows, len(reading.records), told, same=not lost)


def lines_of(found: Sequence[Tried], *, markdown: bool) -> Iterator[str]:
    """Lay the results out, a line for each file."""
    if markdown:
        yield "| file | dialect | rows | kept | comes back | |"
        yield "| --- | --- | --- | --- | --- | --- |"
    for one in found:
        same = ("yes" if one.same else "**no**") if one.dialect else ""
        cells = (one.name, one.dialect or "refused", f"{one.n_rows:,}", f"{one.n_kept:,}", same, one.told)
        yield f"| {' | '.join(cells)} |" if markdown else "  ".join(cells)


def dialect_lines(found: Sequence[Tried]) -> Iterator[str]:
    """Add up the results of each dialect as a table, and name those for which there is no real file."""
    yield "| dialect | files | rows | kept | left out | come back |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in DIALECTS:
        own = [one for one in found if one.dialect == name]
        if own:
            n_rows, n_kept = sum(one.n_rows for one in own), sum(one.n_kept for one in own)
            same = "all" if all(one.same for one in own) else f"**{sum(not one.same for one in own)} files do not**"
            yield f"| `{name}` | {len(own)} | {n_rows:,} | {n_kept:,} | {n_rows - n_kept:,} | {same} |"
    missing = [f"`{name}`" for name in DIALECTS if not any(one.dialect == name for one in found)]
    yield ""
    yield f"Without a real file at hand, tried on made examples and by laws alone: {', '.join(missing)}."
    yield ""


def main() -> int:
    """Try every file, and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="print a table for the docs")
    asked = parser.parse_args()
    root = data_folder()
    found = [tried(path, root) for path in files_in(root)]
    found += [tried(root / first, root, beside) for first, *beside in ALIGNED]
    lines = lines_of(found, markdown=asked.markdown)
    for line in (*dialect_lines(found), *lines) if asked.markdown else lines:
        print(line)
    wrong = [one for one in found if not one.dialect or not one.same]
    print(
        f"{len(found)} files, {sum(one.n_rows for one in found):,} rows, {sum(one.n_kept for one in found):,} kept; ",
        end="",
    )
    print(f"refused or changed: {len(wrong)}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
