"""Rows that were left out, written to a file beside their bytes, so that they can be looked at and mended."""

import base64
import codecs
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

import msgspec

from formtune.dialects.writing import check_apart, save
from formtune.faults import fault_of
from formtune.records import LeftOut
from formtune.sources import STDIN, open_bytes
from formtune.sources.lines import Opened, lines_of
from formtune.sources.streams import BUFFER_BYTES, ArchiveCut, bom_encoding

# How lines are written in the encodings whose line break is more than one byte.
_WIDE = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}


def write_quarantine(left_out: Sequence[LeftOut], path: str, *, encoding: str | None = None) -> int:
    """Write rows that were left out as JSON lines, in their order; the file is written whole or not at all.

    Each line has ``code``, ``reason``, ``expected`` and ``remedy``; ``place``, ``column``, ``path`` inside the row,
    ``found``, ``near`` and ``detail``, where they are known; ``kept`` where the row went on without this part;
    ``further`` faults of the row; and ``raw``, the line as it stands in the file. A line that is not UTF-8 stands under
    ``raw_base64`` instead. There is neither for standard input and Parquet, which have no lines to go back to.

    Args:
        left_out: the rows.
        path: of the file to write.
        encoding: with which the rows were read, where one was named.

    Returns:
        How many rows were written.

    Raises:
        SettingError: when the file is one of those that were read, or cannot be written.
    """
    numbers: dict[str, set[int]] = {}
    for one in left_out:
        if one.at is not None and one.at.line is not None:
            numbers.setdefault(one.at.file, set()).add(one.at.line)
    check_apart(numbers, path, at=path)
    raw = {
        (file, number): line for file, asked in numbers.items() for number, line in _raw_lines(file, asked, encoding)
    }
    rows = [_facts(one) | _raw(raw.get((one.at.file, one.at.line or 0)) if one.at else None) for one in left_out]
    save(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), path)
    return len(rows)


def _facts(one: LeftOut) -> dict[str, object]:
    fault = fault_of(one.reason)
    facts: dict[str, object] = {
        "code": one.code,
        "reason": one.reason,
        "expected": fault.expected if fault else None,
        "remedy": fault.remedy if fault else None,
        "place": str(one.at or one.id or "") or None,
        "column": one.column,
        "path": one.path,
        "found": one.found,
        "near": one.near,
        "detail": one.detail,
        "kept": one.kept or None,
        "further": [_facts(other) for other in one.further] or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _raw(line: bytes | None) -> dict[str, object]:
    if line is None:
        return {}
    try:
        return {"raw": line.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(line).decode()}


def _raw_lines(file: str, numbers: Collection[int], encoding: str | None) -> Iterator[tuple[int, bytes]]:
    """Read some lines of a file again, without their line breaks."""
    if file == STDIN:
        return
    opened = Opened(open_bytes(file), file)
    head = opened.stream.peek(BUFFER_BYTES)
    wide = _WIDE.get(bom_encoding(head) or "") or (codecs.lookup(encoding).name if encoding else "")
    if head.startswith(b"PAR1"):
        opened.stream.close()
        return
    with suppress(ArchiveCut):  # which is among what was left out
        lines = _wide_lines(opened, wide) if wide.startswith(("utf-16", "utf-32")) else lines_of(opened)
        yield from ((number, line) for number, line in lines if number in numbers)


def _wide_lines(opened: Opened, encoding: str) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a text whose line breaks are more than one byte, each as its bytes stand in the file."""
    with opened.stream as stream:
        data = stream.read()
    as_marked = bom_encoding(data)
    text = data.decode(as_marked or encoding)
    is_big = data.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) or encoding.endswith("be")
    bare = f"{(as_marked or encoding)[:6]}-{'be' if is_big else 'le'}"
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line.removesuffix("\r").encode(bare)
