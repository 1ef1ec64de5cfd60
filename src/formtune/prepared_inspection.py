"""What a prepared folder holds, in numbers, and some of its sequences as the model sees them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from formtune.corruption import corrupted
from formtune.errors import FormtuneError, SettingError
from formtune.inspection import QUANTILES
from formtune.model_files import resolve
from formtune.prepared import PreparedFolder, open_prepared
from formtune.reports import ShownExample, ShownToken
from formtune.results import Result
from formtune.shard_files import read_shard
from formtune.showing import CORRUPTED, PARTS, SHOWN_CORRUPTION, shown_tokens, token_values
from formtune.template_options import TemplateOptions
from formtune.tokens import Tokenizer, Tokens, load_tokenizer

N_SHOWN = 3
_TOLD = (
    "dialect",
    "engine",
    "output",
    "corrupted",
    "packs",
    "packing",
    "capacity",
    "filled",
    "left_out",
    "parts_lost",
    "mixed",
)


def inspect_prepared(folder: str | Path, *, first: int = 1) -> Result:
    """Describe a prepared folder, and show some of its sequences.

    Args:
        folder: where it stands.
        first: the sequence that is shown first, from 1; a mixture's are numbered as they are met.

    Returns:
        ``kind``, ``format`` and ``model``; ``records``; ``sequences``, ``tokens`` and ``learned_tokens`` as often as they
        are met; ``learned_share``; what is said of the packs; ``rows_filled``: quantiles of the tokens in a row; ``lengths``:
        quantiles of the ``tokens`` and ``learned_tokens`` of a sequence; ``output``: where answers are read off;
        ``corrupted``: sequences that are masked anew in each epoch; ``bytes`` of the shards, and ``bytes_a_token`` that stands
        in them; ``libraries`` that encoded; ``template``: the model's own, or ours; ``mixed``: its sources; ``shown``.

    Raises:
        DataError: where there is no such folder, or a file of it is damaged.
        SettingError: where there is no sequence of that number.
    """
    opened = open_prepared(folder)
    n_met = len(opened.drawn_D)
    if not 1 <= first <= n_met:
        raise SettingError(f"There is no sequence {first}.", f"Choose from 1 to {n_met}.", at="--record")
    tokenizer, note = _tokenizer(opened.manifest)
    shown = [_shown(opened, number, tokenizer, note=note) for number in opened.drawn_D[first - 1 :][:N_SHOWN].tolist()]
    return Result({**_counted(opened), "shown": [_values(one) for one in shown]}, shown=tuple(shown))


def _counted(opened: PreparedFolder) -> dict[str, Any]:
    manifest, own = opened.manifest, opened.manifest["recipe"]
    lengths, learned = _lengths(opened)
    met, met_learned = lengths[opened.drawn_D], learned[opened.drawn_D]
    packs = opened.packs
    ends = np.cumsum(lengths[packs.sequences_N])[packs.ends_P - 1]
    n_bytes = sum((opened.folder / shard["file"]).stat().st_size for shard in manifest["shards"])
    libraries = [f"{choice['name']} {choice['version']}" for choice in manifest["tokenizer"]["libraries"].values()]
    return {
        "kind": manifest["kind"],
        "format": ", ".join(own["formats"]),
        "model": ", ".join(own["models"]),
        "records": int(np.count_nonzero(np.bincount(opened.drawn_D))),
        "sequences": len(met),
        "tokens": int(met.sum()),
        "learned_tokens": int(met_learned.sum()),
        "learned_share": round(float(met_learned.sum() / max(1, met.sum())), 4),
        **{name: manifest.get(name) for name in _TOLD},
        "rows_filled": _quantiles(np.diff(ends, prepend=0)),
        "lengths": {"tokens": _quantiles(met), "learned_tokens": _quantiles(met_learned)},
        "bytes": n_bytes,
        "bytes_a_token": round(n_bytes / max(1, int(lengths.sum())), 2),
        "libraries": list(dict.fromkeys(libraries)),
        "template": "formtune's" if manifest["template"] is None else "the model's",
    }


def _lengths(opened: PreparedFolder) -> tuple[np.ndarray, np.ndarray]:
    """Give the tokens of every sequence that stands in the shards, both sides together, and the learned ones."""
    lengths, learned = [], []
    for shard in opened.manifest["shards"]:
        leaf = read_shard(opened.folder / shard["file"]).leaf
        lengths.append(leaf.sheet.lengths + (0 if leaf.decoder is None else leaf.decoder.lengths))
        learned.append(leaf.target.n_learned())
    return np.concatenate(lengths), np.concatenate(learned)


def _quantiles(lengths_N: np.ndarray) -> dict[str, int]:
    """Give quantiles by the nearest rank, as :mod:`formtune.inspection` does."""
    ordered_N = np.sort(lengths_N)
    last = len(ordered_N) - 1
    return {name: int(ordered_N[round(share * last)]) for name, share in QUANTILES.items()}


def _tokenizer(manifest: Mapping[str, Any]) -> tuple[Tokenizer | None, str]:
    """Load the tokenizer that a folder was prepared with; where it is gone, say so."""
    name = manifest["recipe"]["models"][0]
    try:
        options = TemplateOptions(**manifest.get("template_options", {}))
        tokenizer = load_tokenizer(resolve(name), template_options=options)
    except FormtuneError as error:
        return None, f"Ids are shown, since the tokenizer cannot be loaded: {error.problem}"
    if tokenizer.digest != manifest["tokenizer"]["digest"]:
        return None, f"Ids are shown, since {name!r} has another tokenizer now."
    return tokenizer, ""


def _shown(opened: PreparedFolder, number: int, tokenizer: Tokenizer | None, *, note: str) -> ShownExample:
    tokens = opened.tokens(number)
    notes = [note] if note else []
    if tokens.gold is not None and tokens.candidates:
        notes.append(f"The right answer is number {tokens.gold + 1} of {len(tokens.candidates)} candidates.")
    seen = tokens if tokenizer is None else corrupted(tokens, tokenizer, SHOWN_CORRUPTION)
    return ShownExample(
        arm=tokens.id,
        tokens=_tokens(seen, tokenizer),
        decoder=() if seen.decoder is None else _tokens(seen.decoder, tokenizer),
        read_off=CORRUPTED if tokens.corrupt else "",
        answer="" if tokens.gold is None or tokens.candidates else _class(opened.manifest, tokens.gold),
        notes=notes,
    )


def _class(manifest: Mapping[str, Any], number: int) -> str:
    """Name a class; where choices differ from record to record it is a letter."""
    return str((manifest["task"] or manifest["tasks"][0])["labels"][number])


def _tokens(tokens: Tokens, tokenizer: Tokenizer | None) -> tuple[ShownToken, ...]:
    if tokenizer is not None:
        return shown_tokens(tokens, tokenizer)
    columns = zip(tokens.ids_T.tolist(), tokens.weights_T.tolist(), tokens.parts_T.tolist(), strict=True)
    return tuple(ShownToken(text=str(id_), id=id_, part=PARTS[part], weight=weight) for id_, weight, part in columns)


def _values(shown: ShownExample) -> dict[str, Any]:
    tokens = [token_values(token) for token in (*shown.tokens, *shown.decoder)]
    return {"place": shown.arm, "tokens": tokens, **({"notes": list(shown.notes)} if shown.notes else {})}
