"""What long work tells of itself as it goes on, and how long it still takes; the command line draws it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

FADING = 0.95  # of what was seen counts for the next update: speeds are those of about the last twenty


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        stage: what is being done, in a few words.
        step: updates done in this stage; None where the stage has no steps.
        steps: updates to do.
        loss: loss of the update.
        n_learned: learned tokens (examples, for a class head) of the update.
        seconds: wall time of the update.
        shown: what a look at the dev records found.
        looks_left: looks at the dev records that are still to come in this stage.
        n_computed: places that the update computed (see :mod:`formtune.work`).
        n_padded: places that a trainer that pads would have computed.
        memory_bytes: what the process holds of the memory that it trains in; 0 where that is not known.
        lane: which of the stages that go on at the same time this is of, from 0.
        n_rows: rows that were read.
        n_bytes: of the files that they stand in.
    """

    stage: str
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    n_learned: int = 0
    seconds: float = 0.0
    shown: dict[str, float] | None = None
    looks_left: int = 0
    n_computed: float = 0.0
    n_padded: int = 0
    memory_bytes: int = 0
    lane: int = 0
    n_rows: int = 0
    n_bytes: int = 0


Progress = Callable[[Event], None]


def silent(_event: Event) -> None:
    """Listen to nothing."""


class Pace:
    """Learns from a stage's events how fast it goes, and how long it still takes.

    Recent updates count most, since the first ones are slow and a trunk that is cached makes later epochs faster. What a
    look takes is the time between two events beyond that of the update; before the first look it is not known.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_s = clock()
        self._weight = self._seconds = self._learned = self._rows = self._bytes = 0.0
        self._n_looks = self._look_s = 0.0
        self._computed, self._padded = 0.0, 0
        self._left = (0, 0)

    def see(self, event: Event) -> None:
        """Learn from an event."""
        now_s = self._clock()
        passed_s, self._last_s = now_s - self._last_s, now_s
        if not event.seconds:
            return
        self._weight = FADING * self._weight + 1.0
        self._seconds = FADING * self._seconds + event.seconds
        self._learned = FADING * self._learned + event.n_learned
        self._rows = FADING * self._rows + event.n_rows
        self._bytes = FADING * self._bytes + event.n_bytes
        if event.shown:
            self._n_looks, self._look_s = self._n_looks + 1, self._look_s + max(0.0, passed_s - event.seconds)
        self._computed += event.n_computed
        self._padded += event.n_padded
        self._left = ((event.steps or 0) - (event.step or 0), event.looks_left)

    @property
    def learned_per_s(self) -> float | None:
        """Learned tokens (examples, for a class head) a second; None before the first update."""
        return self._learned / self._seconds if self._seconds else None

    @property
    def rows_per_s(self) -> float | None:
        """Rows read a second; None where none were."""
        return self._rows / self._seconds if self._rows else None

    @property
    def bytes_per_s(self) -> float | None:
        """Bytes read a second; None where none were."""
        return self._bytes / self._seconds if self._bytes else None

    @property
    def computed_share(self) -> float | None:
        """Places computed so far, as a share of what padding computes; None where that was not told."""
        return self._computed / self._padded if self._padded else None

    @property
    def left_s(self) -> float | None:
        """Seconds that the stage still takes; None before the first update."""
        if not self._weight:
            return None
        n_updates, n_looks = self._left
        look_s = self._look_s / self._n_looks if self._n_looks else 0.0
        return n_updates * self._seconds / self._weight + n_looks * look_s


def lasting(seconds: float) -> str:
    """Say how long something takes as a clock does.

    >>> lasting(7.6), lasting(75), lasting(3 * 3600 + 62)
    ('0:08', '1:15', '3:01:02')
    """
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
