"""Long work as it is seen on standard error: a bar on a terminal, a line per stage elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from formtune.cli.flags import Common
from formtune.interrupts import Heed, heeded
from formtune.progress import Event, Progress, silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


@contextmanager
def drawn(common: Common) -> Iterator[Progress]:
    """Give something that long work can tell its events to; with ``--quiet`` it says nothing."""
    if common.quiet:
        yield silent
    elif not sys.stderr.isatty():
        yield Lines(sys.stderr.write)
    else:
        with _bars() as bars:
            yield Drawing(bars)


def stoppable(common: Common) -> Heed:
    """Give what heeds Ctrl-C and SIGTERM, and says so unless it is to be quiet."""
    told = "stops after this update, and keeps it; a second time ends at once\n"
    return partial(heeded, (lambda: None) if common.quiet else partial(sys.stderr.write, told))


class Lines:
    """Writes a line when a stage begins and for every look at the dev records."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._stage = ""

    def __call__(self, event: Event) -> None:
        """Write what is new in an event."""
        if event.stage != self._stage:
            self._stage = event.stage
            self._write(f"{event.stage}\n")
        if event.shown:
            self._write(f"  step {event.step}/{event.steps}: {_spoken(event)}\n")


class Drawing:
    """Draws a bar for each stage that has steps: loss, learned tokens per second, time left, the last look."""

    def __init__(self, bars: "Bars") -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._looks: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Move the stage's bar on, or begin it."""
        if event.stage not in self._tasks:
            self._finish()
            self._tasks[event.stage] = self._bars.add_task(event.stage, total=event.steps, told="")
        if event.shown:
            self._looks[event.stage] = _spoken(event)
        speed = f"{event.n_learned / event.seconds:.0f}/s" if event.seconds and event.n_learned else ""
        loss = "" if event.loss is None else f"loss {event.loss:.3f}"
        told = "  ".join(filter(None, (loss, speed, self._looks.get(event.stage))))
        self._bars.update(self._tasks[event.stage], total=event.steps, completed=event.step or 0, told=told)

    def _finish(self) -> None:
        """Stop the clock of the stage before: patience may have ended it early, or it had no steps."""
        for task in self._bars.tasks:
            if not task.finished:
                self._bars.update(task.id, total=max(task.completed, 1), completed=max(task.completed, 1))


def _spoken(event: Event) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in (event.shown or {}).items())


def _bars() -> "Bars":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[told]}", style="dim", markup=False),
    )
    return Bars(*columns, console=Console(stderr=True))
