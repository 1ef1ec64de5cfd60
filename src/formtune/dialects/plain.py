"""Plain text: lines or paragraphs of a text file, or a text column without a label."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from formtune.dialects.columns import (
    TEXTS,
    Columns,
    Evidence,
    Object,
    RowFault,
    filled_in,
    find,
    join_names,
    names_of,
    objects,
    rest,
    settle,
    share,
    split_names,
    with_rest,
)
from formtune.records import Plain, Record
from formtune.sources import Row, normalize

NAME = "plain"
SUMMARY = "Text without labels: the lines or paragraphs of a text file, or a text column."
NEEDS = "a text file, or a text column (--text)"
ROLES = frozenset({"text"})
_MORE_TEXTS = ("paragraphs", "lines", "raw_content", "正文")
# Columns that may stand beside a text without being an overlooked label.
_ABOUT = frozenset(
    {
        *("id", "idx", "index", "uid", "guid", "url", "link", "title", "author", "date", "time", "timestamp", "meta"),
        *(
            "metadata",
            "lang",
            "language",
            "keywords",
            "length",
            "n_tokens",
            "token_count",
            "dump",
            "file_path",
            "fname",
            "tags",
        ),
    }
)
NAMES = frozenset({*_MORE_TEXTS, "text"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Take lines of text, and tables with a text column beside which nothing could be a label."""
    table = objects(rows)
    if not table:
        return Evidence(0.3, "texts, not rows with columns", columns) if not columns.text else None
    names = names_of(table)
    given = settle(columns, "text", names)
    name = given[0] if given else find(names, ("text", *_MORE_TEXTS, *TEXTS))
    if name is None or share(table, [name]) < 0.5:
        return None
    unexplained = [other for other in names if other != name and normalize(other) not in _ABOUT and other != "column 1"]
    score = 0.3 if given or not unexplained else 0.05
    return Evidence(score, f"text in {name!r}, no label column", replace(columns, text=join_names([name])))


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the text."""
    if isinstance(row.value, str):
        if not row.value.strip():
            raise RowFault("no text")
        yield Plain(text=row.value, origin=row.origin)
        return
    name = (split_names(columns.text) or ["text"])[0]
    yield Plain(text=filled_in(row.value, name), origin=row.origin, extra=rest(row.value, {name}))


def write(record: Record) -> Object | None:
    """Write the text as ``text``."""
    return with_rest({"text": record.text}, record.extra) if isinstance(record, Plain) else None
