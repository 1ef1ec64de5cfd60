"""What long work tells of itself as it goes on; the command line draws it, a program may listen."""

from collections.abc import Callable
from dataclasses import dataclass


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
    """

    stage: str
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    n_learned: int = 0
    seconds: float = 0.0
    shown: dict[str, float] | None = None


Progress = Callable[[Event], None]


def silent(_event: Event) -> None:
    """Listen to nothing."""
