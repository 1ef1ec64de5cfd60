"""Prepared folders for other trainers: sequences out of the shards, in the order in which they are met, or by rows."""

from pathlib import Path
from typing import Any

from formtune.errors import DataError, SettingError
from formtune.exported_rows import Prepared
from formtune.exporting import TRAINERS, check_trainer, export_packed, export_sequences
from formtune.leaves import Leaf
from formtune.prepared import PreparedFolder, open_prepared


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
    if packed:
        rows = ([_sequence(opened, int(n)) for n in opened.packs[pack]] for pack in range(len(opened.packs)))
        found = export_packed(rows, to=to, out=out, capacity=opened.manifest["capacity"])
    else:
        found = export_sequences((_sequence(opened, n) for n in opened.drawn_D.tolist()), to=to, out=out)
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


def _sequence(opened: PreparedFolder, number: int) -> Prepared:
    shard, row = opened.locate(number)
    tokens = opened.shard(shard).leaf.sheet.tokens(row)
    return tokens.ids_T, tokens.weights_T, tokens.parts_T
