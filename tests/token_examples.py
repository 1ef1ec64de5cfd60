"""Examples as tokens, made by hand: ids in, everything else follows."""

from collections.abc import Sequence

import numpy as np

from formtune.models import Model
from formtune.tokens import CONTENT, TARGET, Tokens


def tokens(
    prompt: Sequence[int], target: Sequence[int] = (), *, id: str = "a", gold: int | None = None, cut: int = 1
) -> Tokens:
    """Make an example whose prompt is content that may be cut, and whose target is learned."""
    ids_T = np.array([*prompt, *target], dtype=np.int32)
    parts_T = np.array([CONTENT] * len(prompt) + [TARGET] * len(target), dtype=np.uint8)
    learned_T = parts_T == TARGET
    return Tokens(
        id=id,
        ids_T=ids_T,
        labels_T=ids_T,
        weights_T=learned_T.astype(np.float32),
        parts_T=parts_T,
        types_T=np.zeros(len(ids_T), dtype=np.uint8),
        cuts_T=np.where(learned_T, 0, cut).astype(np.uint8),
        gold=gold,
    )


def answering(source: Sequence[int], target: Sequence[int], *, id: str = "a", start: int = 2) -> Tokens:
    """Make an example with a target side of its own, as encoder-decoders take it."""
    from dataclasses import replace

    decoder = tokens([start], target, id=id, cut=0)
    return replace(tokens(source, id=id), decoder=decoder)


def some_tokens(model: Model, n: int, *, length: int = 12) -> list[Tokens]:
    """Make examples for a model, all different: two thirds of each prompt, the rest learned."""
    chance = np.random.default_rng(0)
    make = answering if model.shape == "encoder-decoder" and not model.class_head else tokens
    n_target = max(1, length // 3)
    found = []
    for i in range(n):
        ids = chance.integers(8, 250, length).tolist()
        prompt, target = ids[: length - n_target - (make is answering)], ids[length - n_target :]
        found.append(make(prompt, target, id=str(i)))
    return found
