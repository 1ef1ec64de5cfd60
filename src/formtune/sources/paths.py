"""Which files a user means: paths, globs, standard input, the Hub."""

import difflib
import glob
from collections.abc import Sequence
from pathlib import Path

from formtune.errors import DataError
from formtune.sources.hub import hub_files, is_hub
from formtune.sources.streams import STDIN


def expand(patterns: Sequence[str]) -> list[str]:
    """List the files that paths, globs, ``-`` and ``hf://`` addresses stand for, each once, globs in sorted order.

    Raises:
        DataError: when a path does not exist or is a folder, a glob matches nothing, or the Hub does not answer.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        found.update(dict.fromkeys(_expand(pattern)))
    return list(found)


def _expand(pattern: str) -> list[str]:
    if pattern == STDIN:
        return [pattern]
    if is_hub(pattern):
        return hub_files(pattern)
    if Path(pattern).is_dir():
        raise _folder(pattern)
    if Path(pattern).exists():
        return [pattern]
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
    matches = sorted(path for path in found if Path(path).is_file())
    if not matches:
        raise _missing(pattern)
    return matches


def _folder(pattern: str) -> DataError:
    if next(Path(pattern).glob("shard-*.arrow"), None):
        remedy = "Look at it with inspect, train on it with --prepared, or hand it over with export."
        return DataError("This is a prepared folder: tokens, not rows.", remedy, at=pattern)
    return DataError("This is a folder.", f"Name its files, for instance {pattern.rstrip('/')}/*.jsonl.", at=pattern)


def _missing(pattern: str) -> DataError:
    if glob.has_magic(pattern):
        return DataError(
            "No file matches.", "Check the pattern, and quote it so that the shell leaves it alone.", at=pattern
        )
    folder = Path(pattern).parent
    if not folder.is_dir():
        return DataError(f"There is no folder {str(folder)!r}.", "Check the path.", at=pattern)
    near = difflib.get_close_matches(Path(pattern).name, [path.name for path in folder.iterdir()], n=1)
    hint = f"The nearest name in that folder is {near[0]!r}." if near else "Check the path."
    return DataError("There is no such file.", hint, at=pattern)
