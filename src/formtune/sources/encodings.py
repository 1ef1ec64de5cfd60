"""Lines that are not UTF-8: one among many is left out, and a file of them is in another encoding."""

from formtune.records import LeftOut, Origin
from formtune.sources.lines import Opened, beginning_of
from formtune.sources.streams import decode

_LOOK_BYTES = 1 << 24
_AT_MOST = 0.1  # of the lines that are not ASCII: a file in another encoding has hardly one that is UTF-8 by chance


def is_utf8(text: bytes) -> bool:
    """Say whether bytes are UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def not_utf8(line: bytes, origin: Origin) -> LeftOut:
    """Leave a line out, with its first byte that is not UTF-8, and the character which that is in latin-1 or cp1252.

    Raises:
        ValueError: when the line is UTF-8.
    """
    try:
        line.decode()
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode()) + 1
        byte = line[error.start]
        detail = f"column {column}: byte {byte:#04x}{_character(byte)}"
        return LeftOut("bytes that are not UTF-8", origin, detail=detail, column=column)
    raise ValueError("the line is UTF-8")


def refuse_other_encoding(opened: Opened) -> None:
    """Refuse a file that is in another encoding: one with more faulty lines than damage explains.

    Looked at are the lines that are not ASCII, in the first megabytes of the file; so every part of it comes to the same.

    Raises:
        DataError: when more than a tenth of them are not UTF-8; it names the line and the byte of the first.
    """
    lines = beginning_of(opened, _LOOK_BYTES).split(b"\n")
    beyond_ascii = [(number, line) for number, line in enumerate(lines, 1) if not line.isascii()]
    faulty = [(number, line) for number, line in beyond_ascii if not is_utf8(line)]
    if len(faulty) > _AT_MOST * len(beyond_ascii):
        number, line = faulty[0]
        decode(line, opened.path, first_line=number)


def _character(byte: int) -> str:
    """Say which character a byte is in the encodings of Western Europe; nothing where it is none."""
    if byte >= 0xA0:
        return f", which is {chr(byte)!r} in latin-1 and cp1252"
    try:
        return f", which is {bytes([byte]).decode('cp1252')!r} in cp1252"
    except UnicodeDecodeError:
        return ""
