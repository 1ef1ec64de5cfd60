"""From one dialect to another, with an account of what the other cannot carry, and of what it had to be given.

What a dialect can hold is not declared but found out: the file that was written is read again, and each record is
compared with what it was. So the account holds for the file as it is on disk, the limits of its layout included (a table
knows no numbers), and what a round trip changes cannot go unnoticed. Some layouts need what a record does not say (a
name in every answer of a tool): what was put in comes back too, and is told apart from what is lost.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from formtune import dialects
from formtune.errors import DataError, FormtuneError, SettingError
from formtune.inspection import tally
from formtune.records import Labelled, LeftOut, Pair, Record, answer_text, content_digest, input_text, kind_of
from formtune.sources import text_of, value_of

LOST = ".lost.jsonl"  # ending of the file beside, of everything that was not carried
N_PLACES = 5
_JSON_TEXTS = ("tool_calls", "parts", "extra")
_BESIDE = ("id", "origin", "extra", "kind")  # compared in ways of their own
_NAMING = (".name", ".tool_call_id")  # to say who answered, where nothing was said, takes nothing away


@dataclass(frozen=True, slots=True)
class Loss:
    """What a file cannot carry of one record: by its place in the record, the value that was."""

    record: Record
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gain:
    """What a file says of one record beyond what the record does: the keys."""

    record: Record
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and what was not.

    Attributes:
        paths: the files, in the order of their names.
        n_kept: records in them.
        left_out: records that the dialect has no place for.
        losses: what of the others it cannot carry.
        gains: what it needs that they do not say, and was given.
    """

    paths: Sequence[Path]
    n_kept: int
    left_out: Sequence[LeftOut]
    losses: Sequence[Loss]
    gains: Sequence[Gain]

    def cannot_carry(self) -> list[dict[str, Any]]:
        """Count what is lost by its key, the most frequent first, each with the first places."""
        return _counted((loss.record, loss.values) for loss in self.losses)

    def added(self) -> list[dict[str, Any]]:
        """Count what was added by its key, likewise."""
        return _counted((gain.record, gain.keys) for gain in self.gains)


def _counted(found: Iterable[tuple[Record, Iterable[str]]]) -> list[dict[str, Any]]:
    places: dict[str, list[str]] = defaultdict(list)
    for record, keys in found:
        for key in keys:
            places[key].append(str(record.origin or record.id))
    ordered = sorted(places.items(), key=lambda entry: -len(entry[1]))
    return [{"key": key, "rows": len(rows), "places": rows[:N_PLACES]} for key, rows in ordered]


def convert(records: Sequence[Record], dialect: str, out: Path, *, strict: bool = False) -> Written:
    """Write records in a dialect, and beside them, in ``OUT.lost.jsonl``, everything that it cannot carry.

    Nothing is replaced before it is known what is lost. Where nothing is, an older file of losses is removed.

    Args:
        records: of any kinds.
        dialect: a key of :data:`formtune.dialects.DIALECTS`.
        out: the file; its ending says how (see :func:`formtune.dialects.write`).
        strict: write nothing where anything would be lost.

    Raises:
        SettingError: where the dialect, the ending or the place cannot be used; where no record can be written; with
            ``strict``, where one cannot be carried whole.
    """
    if not out.parent.is_dir():
        raise SettingError("There is no such folder.", "Make it, or name another.", at=out.parent)
    if out.is_dir():
        raise SettingError("This is a folder.", "Name the file to write.", at=out)
    with _folder_beside(out) as folder:
        staged = Path(folder) / out.name
        left_out = dialects.write(records, dialect, str(staged))
        missing = {(one.id, str(one.at)) for one in left_out}
        kept = [one for one in records if _place(one) not in missing]
        if not kept:
            kinds = ", ".join(sorted({kind_of(one) for one in records}))
            able = holding(records[0])
            where, remedy = "", f"Choose a dialect that holds it: {', '.join(able)}."
            if dialect in able:
                where, remedy = " to such a file", "Choose another ending: .jsonl holds everything."
            raise SettingError(
                f"No record can be written as {dialect}{where}; they are of the kind {kinds}.", remedy, at="--to"
            )
        pairs = _read_again(kept, dialect, folder, out=out)
        written = Written(sorted(Path(folder).iterdir()), len(kept), left_out, _losses(pairs), _gains(pairs))
        if strict and (left_out or written.losses):
            raise _refused(written, dialect)
        if lines := _lost_lines(records, written, missing):
            (Path(folder) / f"{out.name}{LOST}").write_bytes(b"".join(lines))
        (out.parent / f"{out.name}{LOST}").unlink(missing_ok=True)
        final = [path.replace(out.parent / path.name) for path in sorted(Path(folder).iterdir())]
    return replace(written, paths=final)


@contextmanager
def _folder_beside(out: Path) -> Iterator[str]:
    """Give a folder that lasts for a while, on the disk that the file goes to."""
    try:
        made = TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise SettingError(
            f"Nothing can be written there ({error.strerror}).", "Name a folder that is yours.", at=out.parent
        ) from error
    with made as folder:
        yield folder


def holding(record: Record) -> list[str]:
    """List the dialects that have a place for a record."""
    return [name for name, module in dialects.DIALECTS.items() if module.write(record) is not None]


def _refused(written: Written, dialect: str) -> SettingError:
    told = [f"{entry['key']} ({entry['rows']} rows)" for entry in written.cannot_carry()]
    told += [f"{entry['reason']} ({entry['rows']} rows)" for entry in tally(written.left_out)]
    return SettingError(
        f"{dialect} cannot carry everything: {'; '.join(told)}. Nothing was written.",
        "Choose another dialect, or go on without --strict: what is lost is then kept in a file beside.",
        at="--strict",
    )


def _lost_lines(records: Sequence[Record], written: Written, missing: set[tuple[str | None, str]]) -> list[bytes]:
    """Give a line of JSON for each record of which something is lost: where it stands, and what it held."""
    by_place: dict[tuple[str | None, str], object] = {_place(loss.record): loss.values for loss in written.losses}
    by_place |= {_place(record): record for record in records if _place(record) in missing}
    return [
        text_of({"at": str(record.origin or ""), "id": record.id, "lost": by_place[_place(record)]}).encode() + b"\n"
        for record in records
        if _place(record) in by_place
    ]


def _place(record: Record) -> tuple[str | None, str]:
    return record.id or None, str(record.origin)


def _read_again(kept: Sequence[Record], dialect: str, folder: str, *, out: Path) -> list[tuple[Record, Record | None]]:
    """Bring each record together with what its file gives back."""
    try:
        found = dialects.read(_in_order(folder, kept[0]), dialect=dialect).records
    except FormtuneError as error:
        raise DataError(
            f"{dialect} cannot be read again from such a file: {error.problem}",
            "Choose another ending (.jsonl holds everything), or another dialect.",
            at=out,
        ) from error
    return list(_paired(kept, found))


def _losses(pairs: Sequence[tuple[Record, Record | None]]) -> list[Loss]:
    losses = (Loss(record, _lost(record, again)) for record, again in pairs)
    return [loss for loss in losses if loss.values]


def _gains(pairs: Sequence[tuple[Record, Record | None]]) -> list[Gain]:
    gains = (Gain(record, _gained(record, again)) for record, again in pairs if again is not None)
    return [gain for gain in gains if gain.keys]


def _in_order(folder: str, first: Record) -> list[str]:
    """List the written files; of aligned ones the source's comes first, then targets by their numbers."""
    language = first.source_language if isinstance(first, Pair) and len(first.targets) == 1 else None
    paths = sorted(Path(folder).iterdir(), key=lambda path: (len(path.name), path.name))
    return [str(path) for path in sorted(paths, key=lambda path: path.suffix not in (f".{language}", ".src"))]


def _paired(kept: Sequence[Record], found: Sequence[Record]) -> Iterator[tuple[Record, Record | None]]:
    """Bring each record together with what came back of it: by what it says, since a layout may group rows anew.

    Those that say nothing that was written are brought together in their order, if they are equally many.
    """
    if len(kept) == len(found) and all(_says(one) == _says(other) for one, other in zip(kept, found, strict=True)):
        yield from zip(kept, found, strict=True)
        return
    waiting: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in reversed(found):
        waiting[_says(record)].append(record)
    pairs = [(record, again.pop() if (again := waiting[_says(record)]) else None) for record in kept]
    left = [record for again in waiting.values() for record in reversed(again)]
    lonely = sum(again is None for _, again in pairs)
    rest = iter(left if len(left) == lonely else [None] * lonely)
    yield from ((record, next(rest) if again is None else again) for record, again in pairs)


def _says(record: Record) -> tuple[str, str]:
    asked = "\n".join(sorted(record.inputs.values())) if isinstance(record, Labelled) else input_text(record)
    return asked, answer_text(record)  # a table has one order of columns for all rows


def _lost(record: Record, again: Record | None) -> dict[str, Any]:
    """Give what of a record did not come back, by its key; a key within a list stands behind ``[]``."""
    if again is None:
        return {"record": msgspec.to_builtins(record)}
    before, after = _flat(record), _flat(again)
    lost = {
        key: value
        for key, value in before.items()
        if after.get(key) != value and not (key.endswith(_NAMING) and _is_more(value, after.get(key)))
    }
    if again.group is not None:  # what belongs together does, under whatever name
        lost.pop("group", None)
    if kind_of(record) != kind_of(again):
        lost["kind"] = kind_of(record)
    given = record.id and record.id.split("-")[0] != content_digest(record)
    if given and record.id not in (again.id, value_of(again.extra or "{}").get("id")):
        lost["id"] = record.id
    return lost


def _gained(record: Record, again: Record) -> list[str]:
    """List the keys under which more came back than there was, and nothing else."""
    if msgspec.structs.replace(again, id=record.id, origin=record.origin) == record:  # as most are, and soon seen
        return []
    before, after = _flat(record), _flat(again)
    return [key for key, value in after.items() if value != before.get(key) and _is_more(before.get(key), value)]


def _is_more(before: Any, after: Any) -> bool:
    """Say whether what came back holds what there was: all of it, where there was nothing; in a column, place by place."""
    if before is None or not isinstance(before, list) or not isinstance(after, list):
        return before is None
    return len(before) == len(after) and all(old in (None, new) for old, new in zip(before, after, strict=True))


def _flat(record: Record) -> dict[str, Any]:
    """Lay a record out as keys and what they hold; keys that the kind has no place for stand as they are."""
    plain: dict[str, Any] = msgspec.to_builtins(record)
    flat = {name: value for name, value in plain.items() if name not in _BESIDE and value not in (None, [], ())}
    if record.extra:
        flat |= {f"extra.{name}": value for name, value in value_of(record.extra).items()}
    if isinstance(flat.get("tools"), str):
        flat["tools"] = value_of(flat["tools"])
    for name in ("messages", "prompt", "chosen", "rejected"):
        if isinstance(flat.get(name), (list, tuple)):
            flat |= _columns(name, flat.pop(name))
    return flat


def _columns(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn messages into a list for each of their keys, so that a key which is lost has a name."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {f"{name}[].{key}": [_value(key, row.get(key)) for row in rows] for key in keys}


def _value(key: str, found: Any) -> Any:
    """Read what is kept as JSON text: white space in it says nothing."""
    return value_of(found) if key in _JSON_TEXTS and isinstance(found, str) else found
