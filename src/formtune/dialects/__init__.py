"""Dialects: how tools lay records out in files, and what a row of each means.

To add one, write a module like its neighbors and give it a line in :data:`formtune.dialects.table.DIALECTS`.
"""

from formtune.dialects.columns import Columns, Dialect, Evidence
from formtune.dialects.reading import Reading, Stream, Survey, read, read_each, survey
from formtune.dialects.table import DIALECTS
from formtune.dialects.writing import write

__all__ = [
    "DIALECTS",
    "Columns",
    "Dialect",
    "Evidence",
    "Reading",
    "Stream",
    "Survey",
    "read",
    "read_each",
    "survey",
    "write",
]
