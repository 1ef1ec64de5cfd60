"""Instances inside of one object that is a whole file: on which lines they stand."""

import msgspec

from formtune.sources import Row, raw_lines


def lines_of(row: Row, key: str, n_instances: int) -> list[int | None]:
    """Give the line of each instance, where the row is a whole file; else that of the row."""
    if not row.raw:
        return [row.origin.line] * n_instances
    instances = msgspec.json.decode(row.raw, type=dict[str, msgspec.Raw])[key]
    inside = row.raw[row.raw.index(bytes(instances)) :]
    first = row.raw.count(b"\n", 0, len(row.raw) - len(inside)) + 1
    return list(raw_lines(msgspec.json.decode(instances, type=list[msgspec.Raw]), inside, first_line=first))
