"""What a file holds, row by row, before anyone asks what the rows mean."""

import msgspec

from formtune.records import Origin


class Row(msgspec.Struct, frozen=True):
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
