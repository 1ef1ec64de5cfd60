"""Being asked to stop: the first Ctrl-C or SIGTERM waits for the piece of work at hand, a second ends the process at once.

Work that can stop takes a function such as :func:`heeded`, enters what it gives, and asks now and then.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

Asked = Callable[[], int | None]
Heed = Callable[[], AbstractContextManager[Asked]]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def unheeded() -> Iterator[Asked]:
    """Leave signals to do what they do; nobody asks to stop."""
    yield lambda: None


@contextmanager
def heeded(tell: Callable[[], object] = lambda: None) -> Iterator[Asked]:
    """Remember, while a block runs, that the process was asked to stop.

    What was ignored before (as under ``nohup``) stays ignored, and outside of the main thread, where no handler can be
    set, signals are left to do what they do.

    Args:
        tell: called at the first signal.

    Returns:
        A function that gives the number of the signal that asked to stop, or None.
    """
    before = {one: signal.getsignal(one) for one in SIGNALS}
    ours = [one for one, handler in before.items() if handler not in (None, signal.SIG_IGN)]
    if threading.current_thread() is not threading.main_thread():
        ours = []
    caught: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        for one in ours:  # the kernel's own way: a second signal need not wait for Python
            signal.signal(one, signal.SIG_DFL)
        tell()

    try:
        for one in ours:
            signal.signal(one, remember)
        yield lambda: caught[0] if caught else None
    finally:
        for one in ours:
            signal.signal(one, before[one])
