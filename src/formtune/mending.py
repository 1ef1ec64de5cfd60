"""Safe repairs of rows: what a row says is not in doubt, only how it is written.

A repair is made where there is one way to read the row, and the row cannot be read as it is. Whatever would be a guess
is left alone: a role that is spelled wrong, a quote that is missing, a line that was cut.
"""

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from formtune.dialects.columns import Object, RowFault
from formtune.dialects.conversations import messages_in
from formtune.dialects.files import blocks, check_apart
from formtune.errors import SettingError
from formtune.records import Origin
from formtune.sources import layout_of, open_utf8, text_of, value_of
from formtune.sources.json_values import repeated_keys
from formtune.sources.lines import Opened, lines_of
from formtune.sources.streams import BUFFER_BYTES

SHOWN_CHARACTERS = 1 << 22  # of rows that were repaired, shown as they were and as they are
_BOM = "\ufeff"
_LISTS = ("messages", "prompt", "completion", "chosen", "rejected")
# Other words for the same roles, as chat data sets use them.
_ROLES = {"human": "user", "gpt": "assistant", "model": "assistant"}
_KNOWN = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# A string or the beginning of a list or object (both stay), or a comma with only white space before the end of one.
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*"|[\[{]\s*,)|,(?=\s*[}\]])')


@dataclass(frozen=True, slots=True)
class Mended:
    """A row that was repaired.

    Attributes:
        before: the row as it stood there.
        after: the row as it is now.
        notes: what was changed, a phrase each.
        line: the number of its line, from 1.
    """

    before: str
    after: str
    notes: tuple[str, ...]
    line: int = 1

    def diff(self) -> str:
        """Give the change as a hunk of a unified diff, without lines around it."""
        return f"@@ -{self.line} +{self.line} @@\n-{self.before}\n+{self.after}\n"


@dataclass(slots=True)
class Mender:
    """Repairs lines of JSON lines on their way to whoever reads or writes them, and remembers which.

    Attributes:
        most_characters: of all rows that it remembers; what is repaired beyond that is only counted. None: no limit.
        mended: the rows that were repaired, by where they stand; the first ones, where there is a limit.
        n_mended: how many were repaired.
        n_lines: how many lines it has seen.
    """

    most_characters: int | None = None
    mended: dict[Origin, Mended] = field(default_factory=dict)
    n_mended: int = 0
    n_lines: int = 0
    _n_characters: int = 0
    _last: Origin | None = None

    def __call__(self, path: str, number: int, line: bytes) -> bytes:
        """Give a line as it is to be read: repaired, or as it stands."""
        self.n_lines += 1
        with suppress(UnicodeDecodeError):
            done = mend(line.decode(), line=number)
            if done is not None:
                self._remember(Origin(path, number), done)
                return done.after.encode()
        return line

    def __contains__(self, place: object) -> bool:
        """Say whether the row of a place was repaired: the last one that was read, or one that is remembered."""
        return place == self._last or place in self.mended

    def told(self) -> dict[str, object]:
        """Give each repair that is remembered as plain values: where, what was changed, and the diff.

        Returns:
            ``mended``, and ``n_mended``: how many there are in all.
        """
        repairs = [
            {"place": str(place), "notes": list(done.notes), "diff": done.diff()} for place, done in self.mended.items()
        ]
        return {"mended": repairs, "n_mended": self.n_mended}

    def _remember(self, place: Origin, done: Mended) -> None:
        self._last = place
        self.n_mended += 1
        self._n_characters += len(done.before) + len(done.after)
        if self.most_characters is None or self._n_characters <= self.most_characters:
            self.mended[place] = done


def mend(row: str, *, line: int = 1) -> Mended | None:
    """Repair a row of JSON lines: None where nothing is wrong with it, or nothing can be done without a guess.

    The repairs: a byte order mark inside the file, commas behind the last element, a row written as a Python literal
    (single quotes, ``True``, ``None``), a list of messages written as a JSON text, a role in other case or by its other
    name (``human``, ``gpt``, ``model``).

    >>> mend('{"text": "a, b",}').after
    '{"text": "a, b"}'
    """
    text, notes = row.removeprefix(_BOM), [] if row[:1] != _BOM else ["a byte order mark was taken out"]
    if not _is_json(text):
        repaired = ((repair(text), note) for repair, note in _REPAIRS)
        found = next(((done, note) for done, note in repaired if done is not None and _is_json(done)), None)
        if found is None:
            return None
        text, note = found
        notes.append(note)
    text, more = _with_messages(text)
    notes += more
    return Mended(row, text, tuple(notes), line) if notes else None


def mend_file(path: str, out: str) -> Mender:
    """Write a file of JSON lines with its rows repaired; every other line is written as it is.

    Line breaks become those of Unix, and the encoding UTF-8 without a mark. The file is read and written a few megabytes at
    a time, and what is remembered of the repairs has a limit (:data:`SHOWN_CHARACTERS`).

    Raises:
        DataError: when the file cannot be read.
        SettingError: when it is not JSON lines, ``out`` is the file itself, or ``out`` cannot be written.
    """
    check_apart([path], out, at="--fix")
    opened = Opened(open_utf8(path), path)
    if layout_of(path, opened.stream.peek(BUFFER_BYTES)) != "jsonl":
        opened.stream.close()
        raise not_lines()
    mender = Mender(most_characters=SHOWN_CHARACTERS)
    with blocks(out) as write:
        for number, line in lines_of(opened):
            write(mender(path, number, line) + b"\n")
    return mender


def not_lines() -> SettingError:
    """Make the error for files in which there are no lines to mend."""
    return SettingError("Only JSON lines can be mended.", "Give a file with one object a line.", at="--fix")


def _is_json(text: str) -> bool:
    try:
        value_of(text)
    except (ValueError, RecursionError):
        return False
    return True


def _without_trailing_commas(text: str) -> str:
    return _TRAILING.sub(lambda match: match[1] or "", text)


def _from_python(text: str) -> str | None:
    """Give a Python literal as JSON; None where it is none, or where it leaves a doubt.

    A key that stands twice is a doubt, and two strings side by side, between which a comma may be missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape that Python does not know is a doubt too
            tree = ast.parse(text.strip(), mode="eval")
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    n_strings = sum(isinstance(node, ast.Constant) and isinstance(node.value, str) for node in ast.walk(tree))
    if n_strings != sum(token.type == tokenize.STRING for token in tokens):
        return None
    with suppress(_Doubt):
        return text_of(_value(tree.body, text.strip()))
    return None


class _Doubt(Exception):
    """A Python literal has no certain meaning as JSON."""


def _value(node: ast.expr, text: str) -> object:
    match node:
        case ast.Dict(keys=keys, values=values):
            names = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
            if len(set(names)) < len(keys):
                raise _Doubt
            return {name: _value(part, text) for name, part in zip(names, values, strict=True)}
        case ast.List(elts=parts):
            return [_value(part, text) for part in parts]
        case ast.Constant(value=None | bool() | str() as value):
            return value
    written = ast.get_source_segment(text, node) or ""
    if not _is_json(written):  # numbers are taken as they are written, so that none loses a digit
        raise _Doubt
    return value_of(written)


_REPAIRS: tuple[tuple[Callable[[str], str | None], str], ...] = (
    (_without_trailing_commas, "a comma behind the last element was taken out"),
    (_from_python, "a Python literal was written as JSON"),
)


def _with_messages(text: str) -> tuple[str, list[str]]:
    """Repair the lists of messages of a row; the text stays as it is where nothing is to be done."""
    value = value_of(text)
    if not isinstance(value, dict) or repeated_keys(text.encode(), value):  # of which one would be lost on the way
        return text, []
    notes = [note for name in _LISTS if name in value for note in _repaired_messages(value, name)]
    return (text_of(value), notes) if notes else (text, [])


def _repaired_messages(row: Object, name: str) -> Iterator[str]:
    """Repair one list of messages in its place, and say what was done."""
    found = row[name]
    if isinstance(found, str) and found.lstrip().startswith("[") and _is_json(found):
        inside = value_of(found)
        if isinstance(inside, list) and inside and _are_messages(_renamed(inside)[0]):
            row[name] = found = inside
            yield f"{name}: a JSON text was written as the list that it holds"
    if isinstance(found, list) and not _are_messages(found):
        renamed, notes = _renamed(found)
        if notes and _are_messages(renamed):
            row[name] = renamed
            yield from (f"{name}{note}" for note in notes)


def _are_messages(found: list[object]) -> bool:
    try:
        messages_in(found)
    except RowFault:
        return False
    return True


def _renamed(found: list[object]) -> tuple[list[object], list[str]]:
    """Give messages with their roles as they are known, and what was changed."""
    renamed, notes = [], []
    for place, message in enumerate(found):
        said = message.get("role") if isinstance(message, dict) else None
        plain = said.strip().casefold() if isinstance(said, str) else ""
        role = plain if plain in _KNOWN else _ROLES.get(plain)
        if isinstance(message, dict) and role is not None and role != said:
            message = {**message, "role": role}
            notes.append(f"[{place}].role: {said!r} became {role!r}")
        renamed.append(message)
    return renamed, notes
