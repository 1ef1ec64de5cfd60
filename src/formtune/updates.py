"""Which examples make an update, in which order, and what each of them counts.

Everything here is decided by the settings and a seed, before a model has seen anything.

Shape letters: E examples of an update.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from formtune.batches import by_budget
from formtune.corruption import corrupted
from formtune.tokens import Tokenizer, Tokens
from formtune.weaving import SHORTEST, alike_together, common_length, families

MICRO_BATCH_TOKENS = 1024  # on a CPU more is no faster in float32, and takes more memory


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a model is fine-tuned; the recipe's ``training`` section says what each is for.

    Attributes:
        steps: number of updates.
        batch_size: examples in an update.
        unfreeze_every: updates after which one more block joins; None for all from the beginning.
        validate_every: updates between two looks at the dev records.
        patience: looks without a better one after which training stops; None for never.
        micro_batch_tokens: tokens that are computed at once.
        checkpoint_activations: whether blocks keep their input alone and are computed again in the backward pass.
        prompt_weight: what a token of the prompt counts beside one of the answer.
        class_weights: a factor for each class, or empty.
    """

    steps: int
    batch_size: int = 16
    optimizer: Literal["adamw", "adam", "sgd", "adafactor"] = "adamw"
    learning_rate: float = 5e-5
    head_learning_rate: float | None = None
    layer_decay: float = 1.0
    unfreeze_every: int | None = None
    schedule: Literal["linear", "cosine", "constant", "inverse_sqrt", "wsd"] = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float | None = 1.0
    micro_batch_tokens: int = MICRO_BATCH_TOKENS
    checkpoint_activations: bool = False
    label_smoothing: float = 0.0
    prompt_weight: float = 0.0
    class_weights: tuple[float, ...] = ()
    average: Literal["example", "token"] = "example"
    order: Literal["random", "families"] = "random"
    share_prefixes: bool = True
    validate_every: int = 50
    patience: int | None = None
    seed: int = 0


def n_computed(tokens: Tokens) -> int:
    """Count the tokens of an example, both sides of it."""
    return len(tokens.ids_T) + (len(tokens.decoder.ids_T) if tokens.decoder else 0)


def _side(tokens: Tokens) -> Tokens:
    return tokens.decoder or tokens


def n_learned(tokens: Tokens) -> int:
    """Count the tokens of an example that are learned; a class counts as one."""
    return int(np.count_nonzero(_side(tokens).weights_T)) or int(tokens.gold is not None)


def looks_after(step: int, settings: TrainSettings) -> bool:
    """Tell whether a look at the dev records comes after an update: one every so often, and one after the last."""
    return step % settings.validate_every == 0 or step == settings.steps


def n_looks(settings: TrainSettings, *, after: int = 0) -> int:
    """Count the looks that come after an update, see :func:`looks_after`.

    >>> n_looks(TrainSettings(steps=10, validate_every=4)), n_looks(TrainSettings(steps=8, validate_every=4), after=4)
    (3, 1)
    """
    return (
        -(-settings.steps // settings.validate_every) - after // settings.validate_every
        if after < settings.steps
        else 0
    )


def factors_of(examples: Sequence[Tokens], settings: TrainSettings) -> np.ndarray:
    """Say what the loss of each example of an update counts, so that the update's loss is a weighted mean.

    Returns:
        float32 ``[S]``: to multiply the sum of an example's weighted token losses (its one loss, for a class head).
    """
    counts = np.array(
        [1.0 if not settings.class_weights or t.gold is None else settings.class_weights[t.gold] for t in examples]
    )
    weights = np.array([float(_side(t).weights_T.sum()) or 1.0 for t in examples])
    if settings.average == "token":
        return np.asarray(counts / (counts * weights).sum(), dtype=np.float32)
    return np.asarray(counts / weights / counts.sum(), dtype=np.float32)


def with_prompt(tokens: Tokens, weight: float) -> Tokens:
    """Let a causal model learn the prompt as well, each token of it with a loss weight (Huerta-Enochian and Ko 2024).

    The first token is asked of no place. Control tokens that a template puts there are part of the prompt.
    """
    weights_T = np.where(tokens.weights_T > 0, tokens.weights_T, np.float32(weight))
    weights_T[0] = tokens.weights_T[0]
    return replace(tokens, weights_T=weights_T)


def dealt(examples: Sequence[Tokens], n_processes: int, *, shares: bool) -> list[list[int]]:
    """Deal the examples of an update out to processes, so that the one with most to compute has as little as may be.

    Examples that begin alike stay together where what they share is computed once, up to a fair share. The longest
    piece first, each to the process that has least (Graham 1969: at most a third more than the best way).

    Args:
        examples: of the update.
        n_processes: how many there are; some get nothing where there are more than examples.
        shares: whether what examples share at the beginning is computed once.

    Returns:
        For each process the indices of its examples, in the order in which they are computed; each index once.
    """
    order = alike_together(examples) if shares else list(range(len(examples)))
    if n_processes == 1:
        return [order]
    groups = families(examples) if shares else [[i] for i in order]
    fair = sum(_cost(examples, group) for group in groups) / n_processes
    pieces = [piece for group in groups for piece in _cut(examples, group, fair)]
    loads = [0] * n_processes
    hands: list[list[int]] = [[] for _ in loads]
    for piece in sorted(pieces, key=lambda piece: -_cost(examples, piece)):
        least = loads.index(min(loads))
        loads[least] += _cost(examples, piece)
        hands[least] += piece
    place = {index: rank for rank, index in enumerate(order)}
    return [sorted(hand, key=place.__getitem__) for hand in hands]


def _cost(examples: Sequence[Tokens], group: Sequence[int]) -> int:
    """Count the tokens that are computed for examples that begin alike, in order."""
    pairs = itertools.pairwise(group)
    return sum(n_computed(examples[i]) for i in group) - sum(_shared(examples[a], examples[b]) for a, b in pairs)


def _shared(one: Tokens, other: Tokens) -> int:
    common = common_length(one.ids_T, other.ids_T)
    return common if common >= SHORTEST else 0


def _cut(examples: Sequence[Tokens], group: Sequence[int], most: float) -> list[list[int]]:
    """Cut a group where it would cost more than ``most``; an example that costs more stands alone."""
    pieces: list[list[int]] = []
    cost = 0
    for index in group:
        whole = n_computed(examples[index])
        more = whole - _shared(examples[pieces[-1][-1]], examples[index]) if pieces else whole
        if pieces and cost + more <= most:
            pieces[-1].append(index)
            cost += more
        else:
            pieces.append([index])
            cost = whole
    return pieces


def updates(
    examples: Sequence[Tokens], settings: TrainSettings, tokenizer: Tokenizer, *, after: int = 0
) -> Iterator[list[Tokens]]:
    """Give the examples of each update: every epoch in a new seeded order, an update never crossing two epochs.

    Args:
        examples: in the order of the records; an update's are asked for when it is due.
        settings: how many, how large, from which seed.
        tokenizer: what is masked at random takes its tokens from it.
        after: updates that are done already; those that follow are the same as without.
    """
    chance = np.random.default_rng(settings.seed)
    groups = families(examples) if settings.order == "families" else None
    done = epoch = 0
    while done < settings.steps:
        order = chance.permutation(len(examples)) if groups is None else _order(groups, chance)
        for start in range(0, len(order), settings.batch_size):
            if done == settings.steps:
                return
            if done >= after:
                picked = [examples[i] for i in order[start : start + settings.batch_size]]
                if settings.prompt_weight:
                    picked = [with_prompt(t, settings.prompt_weight) for t in picked]
                yield [corrupted(t, tokenizer, (settings.seed, epoch, i)) for i, t in enumerate(picked, start)]
            done += 1
        epoch += 1


def micro_batches(
    examples: Sequence[Tokens], hand: Sequence[int], settings: TrainSettings, *, shares: bool, pads: bool
) -> list[list[int]]:
    """Part what one process computes of an update into what is computed at once.

    Args:
        examples: of the update.
        hand: indices of those that the process computes, from :func:`dealt`.
        settings: how.
        shares: whether what neighbors share at the beginning is computed once, and counted once.
        pads: whether the model pads rows to the longest; then rows of like length come together.

    Returns:
        Indices into the update's examples, a list for each micro-batch.
    """
    if shares:
        return _cut(examples, hand, settings.micro_batch_tokens)
    lengths = [n_computed(examples[i]) for i in hand]
    batches = by_budget(lengths, settings.micro_batch_tokens, sort=pads, padded=pads)
    return [[hand[place] for place in batch] for batch in batches]


def _order(groups: Sequence[Sequence[int]], chance: np.random.Generator) -> list[int]:
    """Shuffle families, and the examples within each."""
    shuffled = [groups[g] for g in chance.permutation(len(groups))]
    return [group[i] for group in shuffled for i in (chance.permutation(len(group)) if len(group) > 1 else (0,))]
