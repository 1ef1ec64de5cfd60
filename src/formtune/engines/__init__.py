"""Engines: who does the slices of a preparation. What comes out is the same whichever it is.

To add one, write a module like its neighbors and give it a line in :data:`ENGINES`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from formtune.engines.local import local
from formtune.engines.ray import on_ray
from formtune.progress import Progress
from formtune.side_by_side import Job

Run = Callable[[Sequence[Job], Progress], list[Any]]
"""Does jobs, in any order; gives what came of them in theirs. Events of the jobs are told as they come."""

ENGINES: dict[str, Callable[[int | None, str | None], AbstractContextManager[Run]]] = {"local": local, "ray": on_ray}
"""Name → what starts the engine, with so many workers, at an address."""
