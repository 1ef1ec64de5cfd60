"""What a result was made of: digests of the files that were read, and of the records that stand in each part."""

import glob
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from formtune.dialects.descriptors import place_of
from formtune.errors import FormtuneError
from formtune.model_files import file_digest
from formtune.shards import digest_of
from formtune.splits import Splits


def input_digests(patterns: Sequence[str]) -> dict[str, str]:
    """Digest local files, by the path that each was read from.

    What is no local file (standard input, an address on the Hub, the name of a column) has none. This is asked for when
    the work is done, so a file that has gone meanwhile is no error.

    Args:
        patterns: paths, globs, and data sets in descriptors.

    Returns:
        Path → SHA-256 in hex.
    """
    return {name: file_digest(Path(name)) for name in local_files(patterns)}


def local_files(patterns: Sequence[str]) -> Iterator[str]:
    """List the local files of paths and globs; of a data set in a descriptor, the descriptor and its file."""
    return chain.from_iterable(map(_files, patterns))


def _files(pattern: str) -> Iterator[str]:
    try:
        place, layout = place_of(pattern)
    except FormtuneError:  # the descriptor has changed meanwhile
        return
    found = [place] if Path(place).exists() else sorted(glob.glob(place, recursive=True))  # noqa: PTH207
    descriptor = [pattern.rpartition("#")[0] or pattern] if layout else []
    yield from (name for name in (*descriptor, *found) if Path(name).is_file())


def split_digests(parts: Splits) -> dict[str, str]:
    """Digest the ids of the records of each part, in their order; an id is made of what its record says.

    Returns:
        ``train``, ``dev`` and ``test`` → SHA-256 in hex.
    """
    named = {"train": parts.train, "dev": parts.dev, "test": parts.test}
    return {name: digest_of([record.id for record in records]) for name, records in named.items()}
