"""Long work as it is seen on standard error: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from formtune.cli.flags import Common
from formtune.interrupts import Heed, heeded
from formtune.progress import Event, Pace, Progress, lasting, silent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LINE_EVERY_S = 30.0  # where there is no terminal, so that a log shows that work goes on


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
    """Writes a line when a stage begins, for every look at the dev records, and now and then for an update.

    Of stages that go on at the same time each says its name again where another has spoken meanwhile.
    """

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._lanes: dict[int, _Lane] = {}
        self._spoken = ""

    def __call__(self, event: Event) -> None:
        """Write what is new in an event."""
        lane = self._lanes.get(event.lane)
        if lane is None or event.stage != lane.stage:
            lane = self._lanes[event.lane] = _Lane(event.stage, Pace(self._clock), self._clock())
            self._say(event.stage)
        lane.pace.see(event)
        due = event.step is not None and self._clock() - lane.written_s >= LINE_EVERY_S
        if event.shown or due:
            lane.written_s = self._clock()
            if self._spoken != event.stage:
                self._say(event.stage)
            told = ", ".join(filter(None, [*going(event, lane.pace), left(lane.pace)]))
            self._write(f"  step {event.step}/{event.steps}: {'; '.join(filter(None, [told, found(event)]))}\n")

    def _say(self, stage: str) -> None:
        self._spoken = stage
        self._write(f"{stage}\n")


@dataclass(slots=True)
class _Lane:
    """The stage that goes on in a lane, and when something was written of it."""

    stage: str
    pace: Pace
    written_s: float


class Drawing:
    """Draws a bar for each stage that has steps, with the time left, and a line below about each that goes on."""

    def __init__(self, bars: "Bars", clock: Callable[[], float] = time.monotonic) -> None:
        self._bars = bars
        self._clock = clock
        self._lanes: dict[int, _Bar] = {}

    def __call__(self, event: Event) -> None:
        """Move the stage's bar on, or begin it; a stage without steps is a line above the bars."""
        lane = self._lanes.get(event.lane)
        if lane is None or event.stage != lane.stage:
            lane = self._begun(event)
        if lane.task is None:
            return
        lane.pace.see(event)
        if event.shown:
            self._bars.update(lane.task, look=found(event))
        told = "  ".join(going(event, lane.pace))
        self._bars.update(lane.task, total=event.steps, completed=event.step or 0, told=told, left=left(lane.pace))

    def _begun(self, event: Event) -> "_Bar":
        self._finish(event.lane)
        task: TaskID | None = None
        if event.steps is None:
            self._bars.console.print(event.stage, style="dim", markup=False, highlight=False)
        else:
            begun: dict[str, Any] = {"look": "", "told": "", "left": "", "begun_s": self._clock(), "lane": event.lane}
            task = self._bars.add_task(event.stage, total=event.steps, **begun)
        self._lanes[event.lane] = _Bar(event.stage, Pace(self._clock), task)
        return self._lanes[event.lane]

    def _finish(self, lane: int) -> None:
        """Stop the clock of the lane's stage before: patience may have ended it early."""
        for task in self._bars.tasks:
            if task.fields["lane"] == lane and (not task.finished or task.fields["told"]):
                passed = lasting(self._clock() - task.fields["begun_s"])
                done = max(task.completed, 1)
                self._bars.update(task.id, total=done, completed=done, told="", left=passed)


@dataclass(frozen=True, slots=True)
class _Bar:
    """The stage that goes on in a lane, and its bar, if it has steps."""

    stage: str
    pace: Pace
    task: "TaskID | None"


def found(event: Event) -> str:
    """Say what a look at the dev records found."""
    values = ", ".join(f"{name} {value:.3f}" for name, value in (event.shown or {}).items())
    return f"dev: {values}" if values else ""


def going(event: Event, pace: Pace) -> Iterator[str]:
    """Say how the current stage goes: loss, speed, what is spared, memory."""
    if event.loss is not None:
        yield f"loss {event.loss:.3f}"
    if pace.learned_per_s:
        yield f"{pace.learned_per_s:,.0f} learned/s"
    if pace.rows_per_s:
        yield f"{pace.rows_per_s:,.0f} rows/s"
    if pace.bytes_per_s:
        yield f"{pace.bytes_per_s / 1e6:,.1f} MB/s"
    if pace.computed_share is not None:
        yield f"computed {100 * pace.computed_share:.0f} % of the padded tokens"
    if event.memory_bytes:
        yield f"{event.memory_bytes / 2**30:.1f} GB"


def left(pace: Pace) -> str:
    """Say how long the stage still takes."""
    return "" if pace.left_s is None else f"{lasting(pace.left_s)} left"


def _bars() -> "Bars":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.table import Column

    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        # Gets what is left of the width, so that what was found never pushes the bar out.
        TextColumn(
            "{task.fields[look]}",
            style="dim",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
    )
    return _board()(*columns, console=Console(stderr=True), expand=True)


@cache
def _board() -> "type[Bars]":
    """Make the kind of bars that have lines below them about the stages that go on; rich is not imported before."""
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Board(Bars):
        def get_renderables(self) -> "Iterable[RenderableType]":
            yield from super().get_renderables()
            for told in filter(None, (task.fields["told"] for task in self.tasks)):
                yield Text(f"  {told}", style="dim", overflow="ellipsis", no_wrap=True)

    return Board
