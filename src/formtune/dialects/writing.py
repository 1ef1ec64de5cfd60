"""Records to files, in any dialect that can be written."""

import bz2
import csv
import gzip
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, cast

import msgspec
import zstandard

from formtune.dialects import aligned, lmflow, natural_instructions, oasst, squad
from formtune.dialects.columns import Dialect, Object
from formtune.dialects.parquet import parquet
from formtune.dialects.table import DIALECTS
from formtune.errors import SettingError, unknown
from formtune.records import LeftOut, Record
from formtune.sources import STDIN, stem_and_suffix, text_of

Piece = Object | str
BLOCK_CHARACTERS = 1 << 20  # of rows that stand alone, written at once
_LINES = frozenset({".jsonl", ".ndjson"})
# Dialects whose rows are joined into what they keep in one document.
_DOCUMENTS: dict[str, Callable[[list[Object]], object]] = {
    squad.NAME: squad.document,
    natural_instructions.NAME: natural_instructions.joined,
    lmflow.NAME: lmflow.joined,
}


def write(records: Iterable[Record], dialect: str, path: str) -> list[LeftOut]:
    """Write records in a dialect; see :func:`write_file`.

    Raises:
        SettingError: when there is no such dialect, or the file cannot be written.
    """
    if dialect not in DIALECTS:
        raise unknown("dialect", dialect, list(DIALECTS), at="--to")
    return write_file(records, DIALECTS[dialect], path)


def write_file(records: Iterable[Record], dialect: Dialect, path: str) -> list[LeftOut]:
    """Write records; the name's ending says how: jsonl, json, csv, tsv or txt, each also gz, bz2 or zst; or parquet.

    Aligned lines go to several files: ``PATH.src`` and ``PATH.tgt`` (or ``.ref0``, ``.ref1`` ...), or with the
    languages as endings. Rows that stand alone (:func:`stand_alone`) are written as they come, a megabyte at a time;
    for all others the records are held together.

    Returns:
        The records that the dialect or the layout cannot hold, in their order.

    Raises:
        SettingError: when the ending is none of these, or the folder does not exist or cannot be written.
    """
    if stand_alone(dialect.NAME, path):
        return _one_by_one(records, dialect, path)
    records = list(records)
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
    both = zip(records, pieces, strict=True)
    return [_cannot_be_written(record, dialect) for record, piece in both if piece is None]


def stand_alone(dialect_name: str, path: str) -> bool:
    """Say whether each record becomes a row of its own, whatever the others are: in JSON lines, and in arrays of JSON.

    They do not in tables and Parquet, whose columns are those of all rows; in lines of text, whose file is read by
    paragraphs where it has some; in trees of messages (``oasst``), which are put together from all of their ways; in
    ``aligned`` files, which have equally many targets for each line; nor in the documents of ``squad``,
    ``natural-instructions`` and ``lmflow``, in which questions stand under their paragraph and instances under their task.
    """
    ending = stem_and_suffix(path)[1]
    if dialect_name in (oasst.NAME, aligned.NAME):
        return False
    return ending in _LINES or (ending == ".json" and dialect_name not in _DOCUMENTS)


def _one_by_one(records: Iterable[Record], dialect: Dialect, path: str) -> list[LeftOut]:
    left_out: list[LeftOut] = []
    with _blocks(path) as write:
        is_array = stem_and_suffix(path)[1] not in _LINES
        between = "[\n"
        for record in records:
            piece = dialect.write(record)
            if piece is None:
                left_out.append(_cannot_be_written(record, dialect))
            elif is_array:
                write(between + _element(piece))
                between = ",\n"
            else:
                write(f"{text_of(piece)}\n")
        if is_array:
            write("[]\n" if between == "[\n" else "\n]\n")
    return left_out


def _element(piece: Piece) -> str:
    """Lay a value out as it stands in an array of JSON, without what stands around all of them."""
    return msgspec.json.format(text_of([piece]), indent=1).removeprefix("[\n").removesuffix("\n]")


def _cannot_be_written(record: Record, dialect: Dialect) -> LeftOut:
    return LeftOut(f"cannot be written as {dialect.NAME}", record.origin, record.id or None)


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
            rows = [piece for piece in kept if isinstance(piece, dict)]
            whole = _DOCUMENTS[dialect_name](rows) if dialect_name in _DOCUMENTS else rows
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


def check_apart(paths: Iterable[str], out: str, *, at: str) -> None:
    """Refuse to write over what is read, where what did not come through would be lost, or over another result.

    Raises:
        SettingError: where ``out`` is one of the paths; ``at`` is what asks for it.
    """
    if any(path != STDIN and Path(path).resolve() == Path(out).resolve() for path in paths):
        raise SettingError("This file is read or written already.", "Name another one.", at=at)


def save(data: bytes, path: str) -> None:
    """Write a file whole or not at all."""
    with _staged(path, size=len(data)) as file, _told(path):
        file.write(data)


@contextmanager
def _blocks(path: str) -> Iterator[Callable[[str], None]]:
    """Write a file out of texts that are collected to blocks; it is whole or not there."""
    waiting = io.StringIO()

    def flush() -> None:
        with _told(path):
            file.write(waiting.getvalue().encode())
        waiting.seek(0)
        waiting.truncate()

    def write(text: str) -> None:
        waiting.write(text)
        if waiting.tell() >= BLOCK_CHARACTERS:
            flush()

    with _staged(path) as file:
        yield write
        flush()


@contextmanager
def _staged(path: str, *, size: int = -1) -> Iterator[IO[bytes]]:
    """Open a file beside the path, packed as the path's ending says, that takes its place once all is written.

    Args:
        path: of the file.
        size: bytes that will be written; -1 where nobody knows.
    """
    part = Path(f"{path}.part")
    with ExitStack() as undoing:
        with _told(path):
            raw = part.open("wb")
            undoing.callback(_tried, part.unlink)
            undoing.callback(_tried, raw.close)
            packed = _packed(raw, Path(path).suffix.lower(), size)
            undoing.callback(_tried, packed.close)
        yield packed
        with _told(path):
            packed.close()
            raw.close()
            part.replace(path)
        undoing.pop_all()


def _tried(work: Callable[[], object]) -> None:
    """Do what a full disk may refuse, where it was told already."""
    with suppress(OSError):
        work()


def _packed(raw: IO[bytes], ending: str, size: int) -> IO[bytes]:
    match ending:
        case ".gz":
            return cast(IO[bytes], gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
        case ".bz2":
            return bz2.BZ2File(raw, "wb")
        case ".zst":
            return zstandard.ZstdCompressor().stream_writer(raw, size=size, closefd=False)
    return raw


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Tell the user of what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise SettingError(
            f"The file cannot be written ({error.strerror}).", "Name a folder that exists and is yours.", at=path
        ) from error
