"""Lines and elements that are not UTF-8: one among many is left out, and a file of them is in another encoding."""

from collections.abc import Callable, Iterable, Iterator

from formtune.records import LeftOut, Origin
from formtune.sources.lines import Opened, beginning_of
from formtune.sources.streams import decode

_LOOK_BYTES = 1 << 24
_AT_MOST = 0.1  # of the rows that are not ASCII: a file in another encoding has hardly one that is UTF-8 by chance


def is_utf8(text: bytes) -> bool:
    """Say whether bytes are UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def not_utf8(text: bytes, origin: Origin, *, column: int = 1) -> LeftOut:
    """Leave a row out, with its first byte that is not UTF-8, and the character which that is in latin-1 or cp1252.

    Args:
        text: the row.
        origin: where it begins.
        column: the character of that line at which it begins, from 1.

    Raises:
        ValueError: when the row is UTF-8.
    """
    try:
        text.decode()
    except UnicodeDecodeError as error:
        before = text[: error.start].decode()
        n_breaks = before.count("\n")
        column = len(before) - before.rfind("\n") if n_breaks else len(before) + column
        byte = text[error.start]
        detail = f"column {column}: byte {byte:#04x}{_character(byte)}"
        at = Origin(origin.file, (origin.line or 1) + n_breaks)
        return LeftOut("bytes that are not UTF-8", at, detail=detail, column=column)
    raise ValueError("the row is UTF-8")


def lines_in(data: bytes) -> Iterator[tuple[int, int]]:
    """Say where the lines of a file's beginning stand; not the last, where it is cut."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield start, end
        start = end + 1
    if len(data) < _LOOK_BYTES:
        yield start, len(data)


class Strays:
    """Leaves out the rows of one file that are not UTF-8, once it is sure that the file is in no other encoding.

    Args:
        opened: the file.
        spans_in: says where rows begin and end in the bytes of a file's beginning.
    """

    def __init__(self, opened: Opened, spans_in: Callable[[bytes], Iterable[tuple[int, int]]] = lines_in) -> None:
        self._opened = opened
        self._spans_in = spans_in
        self._is_utf8 = False  # known once a row that is not has been seen

    def left_out(self, text: bytes, origin: Origin, *, column: int = 1) -> LeftOut:
        """Leave a row out; arguments are those of :func:`not_utf8`.

        Raises:
            DataError: when the file is in another encoding.
        """
        if not self._is_utf8:
            self._refuse_other_encoding()
            self._is_utf8 = True
        return not_utf8(text, origin, column=column)

    def _refuse_other_encoding(self) -> None:
        """Refuse a file with more faulty rows than damage explains.

        Looked at are the rows that are not ASCII, in the first megabytes of the file; so every part of it comes to the
        same.

        Raises:
            DataError: when more than a tenth of them are not UTF-8; it names the line and the byte of the first.
        """
        data = beginning_of(self._opened, _LOOK_BYTES)
        beyond_ascii = [(start, end) for start, end in self._spans_in(data) if not data[start:end].isascii()]
        faulty = [(start, end) for start, end in beyond_ascii if not is_utf8(data[start:end])]
        if len(faulty) > _AT_MOST * len(beyond_ascii):
            decode(data[: faulty[0][1]], self._opened.path)


def _character(byte: int) -> str:
    """Say which character a byte is in the encodings of Western Europe; nothing where it is none."""
    if byte >= 0xA0:
        return f", which is {chr(byte)!r} in latin-1 and cp1252"
    try:
        return f", which is {bytes([byte]).decode('cp1252')!r} in cp1252"
    except UnicodeDecodeError:
        return ""
