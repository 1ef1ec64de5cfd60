"""Aligned text files: line N of one is the target of line N of another, as translation and correction sets have it.

Files belong together when their names differ in the ending only: ``train.en`` and ``train.de``; ``dev.src``,
``dev.ref0``, ``dev.ref1``. Several targets are several acceptable answers.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object
from formtune.errors import DataError, SettingError
from formtune.records import Origin, Pair, Record
from formtune.sources import Row, decode, open_utf8, stem_and_suffix
from formtune.sources.lines import Opened, lines_of

NAME = "aligned"
SUMMARY = "Two or more text files of which line N belongs to line N: train.en and train.de; dev.src and dev.ref0."
NEEDS = "two or more text files with equally many lines (--source FILE --target FILE)"
ROLES = frozenset({"source", "target"})
NAMES: frozenset[str] = frozenset()

_SOURCE = re.compile(r"\.(src|source)")
_TARGET = re.compile(r"\.(tgt|trg|target|ref\d*)")
_LANGUAGE = re.compile(r"\.([a-z]{2}(?:[_-][a-z]{2,4})?)")
_ROLE = ("source", "targets", "languages")


@dataclass(frozen=True, slots=True)
class Aligned:
    """Files that belong together, line by line."""

    source: str
    targets: tuple[str, ...]


def find_aligned(paths: Sequence[str], *, named: Collection[str]) -> list[Aligned]:
    """Find out which files belong together, by their names; empty where not every file has its fellow.

    Args:
        paths: the files.
        named: those whose place the user chose, rather than a glob or the Hub; see :func:`align`.
    """
    sets: dict[str, list[str]] = {}
    for path in paths:
        stem, ending = stem_and_suffix(path)
        if not any(pattern.fullmatch(ending) for pattern in (_SOURCE, _TARGET, _LANGUAGE)):
            return []
        sets.setdefault(stem, []).append(path)
    if any(len(files) < 2 for files in sets.values()):
        return []
    return [align(files, named=named) for files in sets.values()]


def align(paths: Sequence[str], *, named: Collection[str]) -> Aligned:
    """Take one file as the source and the others as its targets.

    The source is the file that is called so (``.src``), or the only one that is not called a target (``.ref0``), else
    the one that the user names first.

    Raises:
        SettingError: when neither the names nor the user say which file is the source.
    """
    sources = [path for path in paths if _SOURCE.fullmatch(stem_and_suffix(path)[1])]
    others = [path for path in paths if not _TARGET.fullmatch(stem_and_suffix(path)[1])]
    source = sources[0] if sources else others[0] if len(others) == 1 else paths[0]
    if not sources and len(others) != 1 and not set(paths) <= set(named):
        raise SettingError(
            f"Nothing says which of these files is the source: {', '.join(paths)}.",
            f"Name them with --source {paths[0]} --target {paths[1]}, or the other way round, in place of DATA;"
            " or one after the other, the source first.",
            at="DATA",
        )
    return Aligned(source, tuple(path for path in paths if path != source))


def aligned_rows(files: Aligned, *, encoding: str | None = None) -> list[Row]:
    """Read files line by line beside one another.

    Raises:
        DataError: when they have not equally many lines.
    """
    columns = [_lines(path, encoding) for path in (files.source, *files.targets)]
    for path, lines in zip(files.targets, columns[1:], strict=True):
        if len(lines) != len(columns[0]):
            raise DataError(
                f"The file has {len(lines)} lines, but {files.source} has {len(columns[0])}.",
                "Give files of which line N belongs to line N.",
                at=path,
            )
    languages = [_language(files.source), _language(files.targets[0])] if all(map(_language, files.targets)) else []
    named = languages if None not in languages and len(files.targets) == 1 else []
    return [
        Row({"source": texts[0], "targets": texts[1:], "languages": named}, Origin(files.source, number))
        for number, texts in enumerate(zip(*columns, strict=True), 1)
    ]


def describe(files: Sequence[Aligned]) -> str:
    """Say which files were taken together, as evidence."""
    names = [[PurePath(path).name for path in (part.source, *part.targets)] for part in files]
    return "; ".join(
        f"line N of {first} is the source, line N of {', '.join(rest)} its target" for first, *rest in names
    )


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Recognize rows of :func:`aligned_rows`; files are found together by their names, before any row is read."""
    fitting = [row for row in rows if isinstance(row.value, dict) and tuple(row.value) == _ROLE]
    return Evidence(1.0, "aligned lines", columns) if fitting and len(fitting) == len(rows) else None


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a source line with its target lines."""
    value = as_object(row)
    source, targets, languages = str(value["source"]), value["targets"], value["languages"] or (None, None)
    assert isinstance(targets, (list, tuple))
    assert isinstance(languages, (list, tuple))
    filled = tuple(text for text in targets if text.strip())
    if not source.strip() or not filled:
        raise RowFault("an empty line on the source's side" if filled else "an empty line on the target's side")
    yield Pair(
        source=source, targets=filled, source_language=languages[0], target_language=languages[1], origin=row.origin
    )


def write(record: Record) -> Object | None:
    """Write the lines of source and targets; None where a text has a line break, or there is no target."""
    if not isinstance(record, Pair) or not record.targets:
        return None
    texts = (record.source, *record.targets)
    if any("\n" in text or text.endswith("\r") or not text.strip() for text in texts):
        return None
    known = record.source_language and record.target_language and len(record.targets) == 1
    languages = [record.source_language, record.target_language] if known else []
    return dict(zip(_ROLE, (record.source, record.targets, languages), strict=True))


def _lines(path: str, encoding: str | None) -> list[str]:
    opened = Opened(open_utf8(path, encoding=encoding), path)
    return [decode(line, path, first_line=number) for number, line in lines_of(opened)]


def _language(path: str) -> str | None:
    match = _LANGUAGE.fullmatch(stem_and_suffix(path)[1])
    return match[1] if match else None
