"""Records to files, in any dialect that can be written."""

import bz2
import csv
import gzip
import io
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import zstandard

from formtune.dialects import aligned, natural_instructions, oasst, squad
from formtune.dialects.columns import Dialect, Object
from formtune.dialects.parquet import parquet
from formtune.dialects.table import DIALECTS
from formtune.errors import SettingError, unknown
from formtune.records import LeftOut, Record
from formtune.sources import stem_and_suffix, text_of

Piece = Object | str


def write(records: Sequence[Record], dialect: str, path: str) -> list[LeftOut]:
    """Write records in a dialect; see :func:`write_file`.

    Raises:
        SettingError: when there is no such dialect, or the file cannot be written.
    """
    if dialect not in DIALECTS:
        raise unknown("dialect", dialect, list(DIALECTS), at="--to")
    return write_file(records, DIALECTS[dialect], path)


def write_file(records: Sequence[Record], dialect: Dialect, path: str) -> list[LeftOut]:
    """Write records; the name's ending says how: jsonl, json, csv, tsv or txt, each also gz, bz2 or zst; or parquet.

    Aligned lines go to several files: ``PATH.src`` and ``PATH.tgt`` (or ``.ref0``, ``.ref1`` ...), or with the
    languages as endings.

    Returns:
        The records that the dialect or the layout cannot hold.

    Raises:
        SettingError: when the ending is none of these, or the folder does not exist or cannot be written.
    """
    pieces: Sequence[Piece | None] = [dialect.write(record) for record in records]
    if dialect.NAME == aligned.NAME:
        pieces = _one_number_of_targets(pieces)
        texts: dict[str, str] | dict[str, bytes] = _aligned_texts([p for p in pieces if isinstance(p, dict)], path)
    elif stem_and_suffix(path)[1] in (".parquet", ".pq"):
        rows = [piece for piece in pieces if isinstance(piece, dict)]
        texts = {path: parquet(_joined(rows, dialect.NAME))}
        pieces = [piece if isinstance(piece, dict) else None for piece in pieces]
    else:
        texts, pieces = _one_text(pieces, path, dialect.NAME)
    for name, text in texts.items():
        save(text if isinstance(text, bytes) else text.encode(), name)
    reason = f"cannot be written as {dialect.NAME}"
    both = zip(records, pieces, strict=True)
    return [LeftOut(reason, record.origin, record.id or None) for record, piece in both if piece is None]


def _one_text(
    pieces: Sequence[Piece | None], path: str, dialect_name: str
) -> tuple[dict[str, str], Sequence[Piece | None]]:
    ending = stem_and_suffix(path)[1]
    if ending in (".csv", ".tsv", ".tab", ".txt"):
        pieces = [piece if piece is not None and _fits(piece, ending) else None for piece in pieces]
    kept = [piece for piece in pieces if piece is not None]
    if dialect_name == oasst.NAME:
        kept = list(_joined([piece for piece in kept if isinstance(piece, dict)], dialect_name))
    match ending:
        case ".jsonl" | ".ndjson":
            text = "".join(f"{text_of(piece)}\n" for piece in kept)
        case ".json":
            whole = _document([piece for piece in kept if isinstance(piece, dict)], dialect_name) or kept
            text = msgspec.json.format(text_of(whole), indent=1) + "\n"
        case ".csv":
            text = _table([piece for piece in kept if isinstance(piece, dict)])
        case ".tsv" | ".tab":
            text = _tabs([piece for piece in kept if isinstance(piece, dict)])
        case ".txt":
            text = "".join(f"{_line(piece)}\n" for piece in kept)
        case _:
            raise SettingError(
                f"There is no way to write a file that ends in {ending!r}.",
                "End its name in .jsonl, .json, .csv, .tsv or .txt (and .gz, .bz2 or .zst), or in .parquet.",
                at=path,
            )
    return {path: text}, pieces


def _document(rows: list[Object], dialect_name: str) -> object:
    """Join rows into what their dialect keeps in one document; None where that is a list of them."""
    joining = {squad.NAME: squad.document, natural_instructions.NAME: natural_instructions.joined}
    return joining[dialect_name](rows) if dialect_name in joining else None


def _joined(rows: Sequence[Object], dialect_name: str) -> Sequence[Object]:
    """Bring the conversations of one tree together again."""
    return list(oasst.joined(rows)) if dialect_name == oasst.NAME else rows


def _fits(piece: Piece, ending: str) -> bool:
    """Say whether a row can stand in a table or a text file."""
    if ending == ".txt":
        line = _line(piece)
        return line is not None and not any(mark in line for mark in "\r\n")
    if not isinstance(piece, dict):
        return False
    return ending == ".csv" or not any(mark in _cell(value) for value in piece.values() for mark in "\t\r\n")


def _line(piece: Piece) -> str | None:
    if isinstance(piece, str):
        return piece
    return str(piece["text"]) if set(piece) == {"text"} else None


def _cell(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else text_of(value)


def _table(rows: Sequence[Object]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return out.getvalue()


def _tabs(rows: Sequence[Object]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return "".join("\t".join(cells) + "\n" for cells in [names, *([_cell(row.get(n)) for n in names] for row in rows)])


def _one_number_of_targets(pieces: Sequence[Piece | None]) -> list[Piece | None]:
    """Leave out what has another number of targets, or other languages, than most: files have one line for each."""
    shapes = [_shape(piece) if isinstance(piece, dict) else None for piece in pieces]
    usual = Counter(shape for shape in shapes if shape is not None).most_common(1)
    return [piece if usual and shape == usual[0][0] else None for piece, shape in zip(pieces, shapes, strict=True)]


def _shape(piece: Object) -> tuple[int, tuple[str, ...]]:
    targets, languages = piece["targets"], piece["languages"]
    assert isinstance(targets, tuple)
    assert isinstance(languages, list)
    return len(targets), tuple(languages)


def _aligned_texts(pieces: Sequence[Object], path: str) -> dict[str, str]:
    if not pieces:
        return {}
    n_targets, languages = _shape(pieces[0])
    endings = languages or ("src", *(["tgt"] if n_targets == 1 else [f"ref{n}" for n in range(n_targets)]))
    columns = zip(*((piece["source"], *_targets(piece)) for piece in pieces), strict=True)
    return {
        f"{path}.{ending}": "".join(f"{line}\n" for line in lines)
        for ending, lines in zip(endings, columns, strict=True)
    }


def _targets(piece: Object) -> tuple[str, ...]:
    targets = piece["targets"]
    assert isinstance(targets, tuple)
    return targets


def save(data: bytes, path: str) -> None:
    """Write a file whole or not at all."""
    packed = {".gz": _gzip, ".bz2": bz2.compress, ".zst": zstandard.ZstdCompressor().compress}
    pack = packed.get(Path(path).suffix.lower())
    part = Path(f"{path}.part")
    try:
        part.write_bytes(pack(data) if pack else data)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise SettingError(
            f"The file cannot be written ({error.strerror}).", "Name a folder that exists and is yours.", at=path
        ) from error


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
