"""A data set as it is described to others: files with their digests, counts, labels, languages; nothing that was not measured."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formtune.checks import Audit
from formtune.checks.languages import language_of
from formtune.dialects import Reading
from formtune.inspection import inspect
from formtune.model_files import file_digest
from formtune.records import input_text
from formtune.sources import Row, expand, read_rows, stem_and_suffix

ENOUGH = 0.05  # of the texts; a language of fewer is a stray one
N_SAMPLED = 2000
N_ROWS = 100
UNKNOWN = ("license", "url", "creator", "datePublished")
_TYPES: Mapping[type, str] = {str: "sc:Text", bool: "sc:Boolean", int: "sc:Integer", float: "sc:Float"}


@dataclass(frozen=True, slots=True)
class File:
    """One file: its path as it was named, the part it belongs to, its digest (SHA-256), its size, its columns.

    ``columns`` gives the type of each column of plain values, in the words of Croissant; ``nested`` names the others.
    """

    path: str
    part: str
    sha256: str
    size_bytes: int
    columns: Mapping[str, str]
    nested: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """A data set.

    Attributes:
        name: that of its file, or of the folder of several.
        files: those that are local.
        facts: of each part, what ``formtune inspect`` says.
        languages: those that at least a twentieth of the texts are in, the most frequent first.
        audit: what the checks found.
    """

    name: str
    files: Sequence[File]
    facts: Mapping[str, Mapping[str, Any]]
    languages: Sequence[str]
    audit: Audit

    @property
    def n_records(self) -> int:
        """How many records there are in all parts."""
        return sum(facts["records"] for facts in self.facts.values())

    @property
    def kinds(self) -> list[str]:
        """The kinds of record, the most frequent first."""
        return [kind for kind, _ in self._total("kinds").most_common()]

    @property
    def labels(self) -> Mapping[str, int]:
        """Labels with how often each stands, the most frequent first."""
        return dict(self._total("labels").most_common())

    def _total(self, name: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for facts in self.facts.values():
            total.update(facts[name])
        return total


def described(readings: Mapping[str, Reading], paths: Mapping[str, Sequence[str]], audit: Audit) -> Described:
    """Measure what can be measured of the parts of a data set."""
    files = [_file(path, part) for part, named in paths.items() for path in expand(named) if Path(path).is_file()]
    texts = [input_text(record) for reading in readings.values() for record in reading.records]
    return Described(
        name=_name([file.path for file in files]),
        files=files,
        facts={part: inspect(reading) for part, reading in readings.items()},
        languages=_languages(texts[:: -(-len(texts) // N_SAMPLED) or 1]),
        audit=audit,
    )


def relative(path: str, folder: Path) -> str:
    """Give a path as it is seen from a folder, as the readers of a card or a description expect it."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _name(paths: Sequence[str]) -> str:
    if not paths:
        return "data"
    if len(paths) == 1:
        return Path(stem_and_suffix(paths[0])[0]).name
    return Path(paths[0]).absolute().parent.name


def _languages(texts: Iterable[str]) -> list[str]:
    counts = Counter(filter(None, map(language_of, texts)))
    return [language for language, n in counts.most_common() if n >= ENOUGH * counts.total()]


def _file(path: str, part: str) -> File:
    columns: dict[str, str] = {}
    nested: dict[str, None] = {}
    for n, row in enumerate(read_rows(path)):
        if n == N_ROWS:
            break
        values = row.value if isinstance(row, Row) and isinstance(row.value, dict) else {}
        for name, value in values.items():
            if isinstance(value, dict | list):
                nested[name] = None
            elif value is not None:
                columns[name] = _wider(columns.get(name), _TYPES.get(type(value), "sc:Text"))
    # Numbers for names say that the table has none.
    plain = {name: kind for name, kind in columns.items() if name not in nested and not name.isdecimal()}
    return File(path, part, file_digest(Path(path)), Path(path).stat().st_size, plain, tuple(nested))


def _wider(before: str | None, now: str) -> str:
    """Give the type that holds both."""
    if before in (None, now):
        return now
    return "sc:Float" if {before, now} == {"sc:Float", "sc:Integer"} else "sc:Text"
