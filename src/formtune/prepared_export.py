"""Prepared folders for other trainers: sequences out of the shards, in the order in which they are met, or by rows.

Shape letters: T tokens, N sequences, K sequences of one block.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from formtune.errors import DataError, SettingError
from formtune.exported_rows import Prepared
from formtune.exporting import TRAINERS, check_trainer, export_packed, export_sequences
from formtune.leaves import Leaf
from formtune.prepared import PreparedFolder, held_place, open_prepared
from formtune.sheets import take

BLOCK = 4096  # sequences that are taken out together


def exported(folder: str | Path, *, to: str | None, packed: bool, out: Path) -> dict[str, Any]:
    """Write the sequences of a prepared folder as another trainer reads them.

    Args:
        folder: the folder; of a mixture a sequence is written as often as it is met.
        to: a key of :data:`formtune.exporting.TRAINERS`.
        packed: write the rows of the folder's packs.
        out: folder to write.

    Returns:
        What ``--json`` prints.

    Raises:
        SettingError: where no such trainer is named, or it would let sequences of a row see one another.
        DataError: where the folder holds what those trainers cannot learn.
    """
    if to is None:
        raise SettingError("Nothing says for which trainer.", f"Choose from: {', '.join(TRAINERS)}.", at="--to")
    check_trainer(to, packed=packed)
    opened = open_prepared(folder)
    for leaf in opened.leaves():
        _check(leaf, at=folder)
    with held_place(out):
        if packed:
            rows, capacity = _rows(opened), opened.manifest["capacity"]
            place = partial(_place, opened, opened.packs.sequences_N)
            found = export_packed(rows, to=to, out=out, capacity=capacity, place=place)
        else:
            place = partial(_place, opened, opened.drawn_D)
            found = export_sequences(_sequences(opened, opened.drawn_D), to=to, out=out, place=place)
    return {
        "to": to,
        "rows": found.n_rows,
        "sequences": found.n_sequences,
        "tokens": found.n_tokens,
        "learned_tokens": found.n_learned,
        "unlearned_sequences": found.n_unlearned,
        "use": found.use,
        "out": str(out),
    }


def _place(opened: PreparedFolder, numbers_N: np.ndarray, place: int) -> str:
    return opened.place(int(numbers_N[place]))


def _check(leaf: Leaf, *, at: str | Path) -> None:
    """Refuse sequences that are not learned token after token: these trainers know no other loss."""
    is_class_N = (leaf.golds_N >= 0) & (leaf.words_N < 0)
    problems = {
        "Its sequences are those of an encoder-decoder": leaf.decoder is not None,
        "Its answers are read off a class head": bool(is_class_N.any()),
        "Places are drawn anew in each epoch, to be filled in": bool((leaf.corruptions_N > 0).any()),
        "Its answers fill mask slots": leaf.sheet.labels_T is not None,
    }
    for problem, is_so in problems.items():
        if is_so:
            raise DataError(
                f"{problem}, and these trainers learn texts of decoders.",
                "Prepare in a format of text for a decoder, as chat; or train with formtune.",
                at=at,
            )


def _sequences(opened: PreparedFolder, numbers_N: np.ndarray) -> Iterator[Prepared]:
    """Give sequences by their numbers, a block at a time: those of a shard are taken out together."""
    for start in range(0, len(numbers_N), BLOCK):
        numbers_K = numbers_N[start : start + BLOCK]
        shards_K = np.searchsorted(opened.ends_S, numbers_K, side="right")
        found: dict[int, Prepared] = {}
        for shard in np.unique(shards_K).tolist():
            places_K = np.flatnonzero(shards_K == shard)
            first = int(opened.ends_S[shard - 1]) if shard else 0
            taken = take(opened.shard(shard).leaf.sheet, numbers_K[places_K] - first)
            columns = (np.split(column_T, taken.ends_N[:-1]) for column_T in (taken.ids_T, *taken.carried()))
            found |= zip(places_K.tolist(), zip(*columns, strict=True), strict=True)
        yield from (found[place] for place in range(len(numbers_K)))


def _rows(opened: PreparedFolder) -> Iterator[list[Prepared]]:
    """Give the sequences of each pack."""
    sequences = _sequences(opened, opened.packs.sequences_N)
    for n_sequences in np.diff(opened.packs.ends_P, prepend=0).tolist():
        yield list(islice(sequences, n_sequences))
