"""Records to files, in any dialect that can be written."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from formtune.dialects import aligned, lmflow, natural_instructions, oasst, squad
from formtune.dialects.columns import Dialect, Object
from formtune.dialects.files import save
from formtune.dialects.obstacles import obstacles
from formtune.dialects.row_files import Piece, Told, fits, is_walked_twice, row_file, stand_alone, write_rows
from formtune.dialects.table import DIALECTS
from formtune.errors import SettingError, unknown
from formtune.records import LeftOut, Record
from formtune.sources import stem_and_suffix, text_of

# Dialects whose rows are joined into what they keep in one document.
_DOCUMENTS: dict[str, Callable[[list[Object]], object]] = {
    squad.NAME: squad.document,
    natural_instructions.NAME: natural_instructions.joined,
    lmflow.NAME: lmflow.joined,
}
_TOGETHER = frozenset({".txt", ".json", ".jsonl", ".ndjson"})  # endings of files that hold what is joined
N_EXPLAINED = 5  # as many as are told by their places


def write(records: Iterable[Record], dialect: str, path: str) -> list[LeftOut]:
    """Write records in a dialect.

    The name's ending says how: jsonl, json, csv, tsv or txt, each also gz, bz2 or zst; or parquet. Aligned lines go to several files: ``PATH.src`` and ``PATH.tgt`` (or ``.ref0``, ``.ref1`` ...), or with the
    languages as endings. JSON lines, and arrays of rows that stand alone, are written as they come, a megabyte at a time;
    for all others the records are held together.

    Returns:
        The records that the dialect or the layout cannot hold, in their order.

    Raises:
        SettingError: when there is no such dialect, the ending is none of these, or the folder does not exist or cannot be
            written.
    """
    module = dialect_for(dialect, path)
    left_out: list[LeftOut] = []

    def told(record: Record, place: int | None) -> None:
        if place is None:
            left_out.append(cannot_be_written(record, dialect, n_before=len(left_out)))

    comes_once = stand_alone(dialect, path) and not is_walked_twice(path)
    write_each(records if comes_once else list(records), module, path, told=told)
    return left_out


def dialect_for(name: str, path: str) -> Dialect:
    """Look up a dialect to write to a file.

    Raises:
        SettingError: when there is no such dialect, or no such file of it.
    """
    if name not in DIALECTS:
        raise unknown("dialect", name, list(DIALECTS), at="--to")
    ending = stem_and_suffix(path)[1]
    if not (name == aligned.NAME or stand_alone(name, path) or ending in _TOGETHER or is_walked_twice(path)):
        raise SettingError(
            f"There is no way to write a file that ends in {ending!r}.",
            "End its name in .jsonl, .json, .csv, .tsv or .txt (and .gz, .bz2 or .zst), or in .parquet.",
            at=path,
        )
    return DIALECTS[name]


def write_each(records: Iterable[Record], dialect: Dialect, path: str, *, told: Told) -> None:
    """Write records, and tell of each in its order where it stands.

    Args:
        records: they, to be gone through more than once; where rows stand alone, none is held.
        dialect: as :func:`dialect_for` gives it for this path.
        path: of the file, or the beginning of the names of several.
        told: as for :func:`formtune.dialects.row_files.write_rows`; where rows do not stand alone, a record's place is its
            number among those that were written.

    Raises:
        SettingError: when the file cannot be written.
    """
    if stand_alone(dialect.NAME, path):
        write_rows(records, dialect, path, told=told)
        return
    held = list(records)
    number = 0
    for record, is_written in zip(held, _written_together(held, dialect, path), strict=True):
        number += is_written
        told(record, number if is_written else None)


def cannot_be_written(record: Record, dialect_name: str, *, n_before: int) -> LeftOut:
    """Leave a record out that a dialect, or a file of it, has no place for; of the first also say for which of its parts.

    Finding that out takes as long as writing some dozens of records.

    Args:
        record: which.
        dialect_name: of the dialect.
        n_before: how many were left out before it.
    """
    in_the_way = obstacles(record, DIALECTS[dialect_name]) if n_before < N_EXPLAINED else []
    detail = f"it has {', '.join(in_the_way)}" if in_the_way else None
    return LeftOut(f"cannot be written as {dialect_name}", record.origin, record.id or None, detail)


def _written_together(records: Sequence[Record], dialect: Dialect, path: str) -> list[bool]:
    """Write records that are brought together, and say of each whether it was."""
    ending = stem_and_suffix(path)[1]
    pieces: Sequence[Piece | None] = [dialect.write(record) for record in records]
    if dialect.NAME == aligned.NAME:
        pieces = _one_number_of_targets(pieces)
        for name, text in _aligned_texts(_objects(pieces), path).items():
            save(text.encode(), name)
    elif ending == ".txt":
        pieces = [piece if piece is not None and _line(piece) is not None else None for piece in pieces]
        save("".join(f"{_line(piece)}\n" for piece in pieces if piece is not None).encode(), path)
    elif dialect.NAME == oasst.NAME:
        pieces = [piece if piece is not None and fits(piece, ending) else None for piece in pieces]
        trees = oasst.joined(_objects(pieces))
        with row_file(trees, path) as put:
            for tree in trees:
                put(tree)
    else:
        document = text_of(_DOCUMENTS[dialect.NAME](_objects(pieces)))
        save(f"{msgspec.json.format(document, indent=1)}\n".encode(), path)
    return [piece is not None for piece in pieces]


def _objects(pieces: Sequence[Piece | None]) -> list[Object]:
    return [piece for piece in pieces if isinstance(piece, dict)]


def _line(piece: Piece) -> str | None:
    """Give a row as a line of text; None where it is more."""
    text = piece if isinstance(piece, str) else str(piece["text"]) if set(piece) == {"text"} else None
    return None if text is None or any(mark in text for mark in "\r\n") else text


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
