"""Files that one process holds alone: the end of a process, whatever ends it, gives them free."""

import fcntl
from pathlib import Path
from typing import IO, Any

from formtune.errors import SettingError


def hold_alone(file: IO[Any], *, at: Path, busy: str, remedy: str) -> None:
    """Hold an open file until it is closed.

    Args:
        file: open for writing.
        at: the place that an error names.
        busy: the problem where another process holds it, a sentence.
        remedy: what then helps.

    Raises:
        SettingError: where another process holds it, or the file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingError(busy, remedy, at=at) from error
    except OSError as error:
        raise SettingError(
            f"Nothing can be locked here ({error.strerror}).", "Give an --out on a local disk.", at=at
        ) from error
