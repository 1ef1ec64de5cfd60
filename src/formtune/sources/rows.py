"""What a file holds, row by row, before anyone asks what the rows mean."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from formtune.errors import DataError
from formtune.records import Origin


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row of a file, and where it stands.

    Attributes:
        value: an object's keys and values (strings only, where it comes from a table), or a line of text.
        origin: the file and the physical line on which the row begins; in Parquet, which has no lines, the number
            of the row.
        raw: the bytes of a whole JSON document that is one object, so that a dialect can find lines inside it.
    """

    value: dict[str, object] | str
    origin: Origin
    raw: bytes = b""


def check_names(names: Iterable[str], path: str) -> None:
    """Refuse columns of one name, of which a row could keep only one.

    Raises:
        DataError: when a name stands twice.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"The column name {twice[0]!r} stands twice.", "Rename one of the two.", at=path)
