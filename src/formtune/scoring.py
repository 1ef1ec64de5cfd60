"""Log-likelihoods: how probable a model finds classes, label words, fillings of a blank, and whole answers.

Every function takes a list of records, computes them in batches of a token budget, and answers in their order. Nothing
here knows what a label is called; nothing here trains.

Shape letters: T tokens of a flat row, S segments, N places that are asked for something, K candidates, D width.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from formtune.batches import Batch, branched, by_budget, collate, rooted
from formtune.label_words import Plan
from formtune.models import Model
from formtune.tokens import TARGET, Tokens
from formtune.weaving import SHORTEST, Trie, common_length, in_order, places_of

N_ROWS = 256  # rows of vocabulary scores held at once: 50 MB of float32 at 49 152 entries


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The candidates of one record.

    Attributes:
        scores_K: float64, log-likelihoods up to a constant.
        n_read: tokens of the prompt and of what is read behind it, whether they were shared or not.
    """

    scores_K: np.ndarray
    n_read: int


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable a model finds one answer: its negative log-likelihood in nats, over how many tokens."""

    nll: float
    n_tokens: int


def score_classes(model: Model, prompts: Sequence[Tokens], *, tokens_per_batch: int) -> list[Scored]:
    """Score the classes of a head: log-softmax of its outputs."""
    found: dict[int, Scored] = {}
    for group in _groups([len(p.ids_T) for p in prompts], tokens_per_batch, model):
        batch = collate([prompts[i] for i in group], causal=False)
        scores_SK = torch.log_softmax(model.classes(batch), dim=1)
        for index, scores_K in zip(group, scores_SK.double().cpu().numpy(), strict=True):
            found[index] = Scored(scores_K, len(prompts[index].ids_T))
    return [found[i] for i in range(len(prompts))]


def score_words(
    model: Model, prompts: Sequence[np.ndarray], plans: Sequence[Plan], *, tokens_per_batch: int
) -> list[Scored]:
    """Score label words as continuations: log p(word | prompt), the sum over the word's tokens.

    The prompt is computed once, what prompts share at the beginning too, and the words behind it as a trie (see
    :class:`formtune.label_words.Plan`), except where a model cannot share it: an encoder-decoder, and models whose rows
    are padded, compute it anew per word of more than one token.

    Args:
        model: a decoder or an encoder-decoder.
        prompts: ids of each prompt, at least one; for an encoder-decoder, of the source.
        plans: the label words of each record.
        tokens_per_batch: the budget of one batch; a costlier record stands alone.
    """
    alone = {(prompt.tobytes(), id(plan)): i for i, (prompt, plan) in enumerate(zip(prompts, plans, strict=True))}
    order = list(alone.values())  # what is asked twice is computed once
    if model.weaves:
        order = [order[n] for n in in_order([prompts[i] for i in order])]
    behind = {id(plan): _Behind(plan) for plan in plans}
    found: dict[int, Scored] = {}
    texts, tries = [prompts[i] for i in order], [behind[id(plans[i])] for i in order]
    for numbers in _batches(model, texts, tries, tokens_per_batch=tokens_per_batch):
        group = [order[n] for n in numbers]
        batch, places = _word_batch(model, [prompts[i] for i in group], [behind[id(plans[i])] for i in group])
        ids_N = np.concatenate([plans[i].ids_N for i in group])
        logs_N = _log_probabilities(model, model.hidden(batch), places_N=np.concatenate(places), ids_N=ids_N)
        for index, own_N in zip(group, np.split(logs_N, _bounds(places)), strict=True):
            found[index] = Scored(plans[index].totals(own_N), len(prompts[index]) + plans[index].n_read)
    return [found[alone[prompt.tobytes(), id(plan)]] for prompt, plan in zip(prompts, plans, strict=True)]


class _Behind:
    """What is read behind a prompt: the bodies of a plan, and the same as a trie, where each of their tokens stands once.

    Attributes:
        plan: the label words.
        trie: its bodies.
        places_N: where in the trie each token of the plan is asked for; -1 for the last place of the prompt.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.trie = Trie(plan.bodies, shortest=1)
        self.places_N = np.full(len(plan.ids_N), -1, dtype=np.int64)
        if plan.bodies:
            laid = rooted(self.trie.pieces, self.trie.parents, self.trie.offsets)
            paths = [places_of(laid, leaf) for leaf in self.trie.leaves]
            for n in np.flatnonzero(plan.depth_N):
                self.places_N[n] = paths[plan.body_N[n]][plan.depth_N[n] - 1]


def _batches(
    model: Model, prompts: Sequence[np.ndarray], behind: Sequence[_Behind], *, tokens_per_batch: int
) -> list[list[int]]:
    """Group prompts, with what is read behind them, into batches of a token budget."""
    if model.weaves:
        return _woven_batches(prompts, behind, tokens_per_batch)
    costs = [_cost(model, len(prompt), one.plan) for prompt, one in zip(prompts, behind, strict=True)]
    return by_budget(costs, tokens_per_batch, sort=True, padded=model.pads)


def _woven_batches(prompts: Sequence[np.ndarray], behind: Sequence[_Behind], tokens_per_batch: int) -> list[list[int]]:
    """Group prompts, of which those that begin alike are neighbors; each batch computes anew what its own share."""
    n_behind_N = np.array([sum(map(len, one.trie.pieces)) for one in behind])
    whole_N = n_behind_N + [len(prompt) for prompt in prompts]
    alike_N = np.array([0, *itertools.starmap(common_length, itertools.pairwise(prompts))])
    up_to_N = np.cumsum(whole_N - np.where(alike_N >= SHORTEST, alike_N, 0))  # at least: short pieces are not shared
    batches: list[list[int]] = []
    first = 0
    while first < len(prompts):
        most = tokens_per_batch - whole_N[first] + up_to_N[first]
        end = max(first + 1, int(np.searchsorted(up_to_N, most, side="right")))
        while end > first + 1 and _n_woven(prompts[first:end]) + n_behind_N[first:end].sum() > tokens_per_batch:
            end -= 1
        batches.append(list(range(first, end)))
        first = end
    return batches


def _n_woven(prompts: Sequence[np.ndarray]) -> int:
    return sum(map(len, Trie(prompts).pieces))


def _cost(model: Model, n_prompt: int, plan: Plan) -> int:
    if model.shape == "encoder-decoder":
        return max(1, len(plan.bodies)) * (n_prompt + 1) + plan.n_read
    return (1 + len(plan.bodies)) * n_prompt + plan.n_read


def _word_batch(
    model: Model, prompts: Sequence[np.ndarray], behind: Sequence[_Behind]
) -> tuple[Batch, list[np.ndarray]]:
    """Lay out one batch and say, for every token that is scored, which place is asked for it."""
    if model.weaves:
        return _woven_batch(prompts, behind)
    plans = [one.plan for one in behind]
    if model.shape == "encoder-decoder":
        return _answering_batch(model, prompts, plans)
    batch = branched(prompts, [plan.bodies for plan in plans])
    roots = np.flatnonzero(batch.parents_S < 0)
    places = []
    for root, plan in zip(roots, plans, strict=True):
        behind_N = batch.starts_S[root : root + 1 + len(plan.bodies)][1:]
        starts_N = behind_N[plan.body_N] if len(behind_N) else np.zeros(len(plan.body_N), dtype=np.int64)
        places.append(np.where(plan.depth_N == 0, batch.ends_S[root] - 1, starts_N + plan.depth_N - 1))
    return batch, places


def _woven_batch(prompts: Sequence[np.ndarray], behind: Sequence[_Behind]) -> tuple[Batch, list[np.ndarray]]:
    """Lay the prompts, what they share at the beginning once, and behind each of them its label words."""
    trie = Trie(prompts)
    pieces, parents, offsets = list(trie.pieces), list(trie.parents), list(trie.offsets)
    firsts = []
    for leaf, prompt, one in zip(trie.leaves, prompts, behind, strict=True):
        firsts.append(len(pieces))
        parents += [len(pieces) + parent if parent >= 0 else leaf for parent in one.trie.parents]
        offsets += [len(prompt) + offset for offset in one.trie.offsets]
        pieces += one.trie.pieces
    batch = rooted(pieces, parents, offsets)
    starts_S = np.append(batch.starts_S, 0)  # where the last prompt has nothing behind it
    return batch, [
        np.where(one.places_N < 0, batch.ends_S[leaf] - 1, starts_S[first] + one.places_N)
        for leaf, first, one in zip(trie.leaves, firsts, behind, strict=True)
    ]


def _answering_batch(
    model: Model, prompts: Sequence[np.ndarray], plans: Sequence[Plan]
) -> tuple[Batch, list[np.ndarray]]:
    start = np.array([model.decoder_start_id])
    sources: list[np.ndarray] = []
    answers: list[np.ndarray] = []
    firsts: list[int] = []
    for prompt, plan in zip(prompts, plans, strict=True):
        firsts.append(len(answers))
        for body in plan.bodies or (np.array([], dtype=np.int64),):
            sources.append(prompt)
            answers.append(np.concatenate([start, body]))
    decoder = branched(answers, [()] * len(answers))
    places = [decoder.starts_S[first + plan.body_N] + plan.depth_N for first, plan in zip(firsts, plans, strict=True)]
    return replace(branched(sources, [()] * len(sources)), decoder=decoder), places


def score_fillings(model: Model, blanks: Sequence[Tokens], *, tokens_per_batch: int) -> list[Scored]:
    """Score what may fill a blank: the log-probabilities of its tokens, each at its mask, all masked at once.

    The blank has as many masks as the longest candidate; a shorter one is read off the first of them, as it was
    trained. Where lengths differ, the sum is divided by the length, since sums over more tokens are lower whatever
    they say. Schick and Schütze 2021 ("It's not just size that matters", section 3.1) instead fill in one token at a
    time, the surest first, and take the sum: as many passes as tokens. We depart from them for the cost, and because
    their score favors short words.

    Args:
        model: an encoder with a masked-LM head.
        blanks: examples with one blank, as long as the longest of their candidates.
        tokens_per_batch: the budget of one batch.

    Raises:
        ValueError: where an example has no blank, or one that is too short.
    """
    scores: list[Scored | None] = [None] * len(blanks)
    for group in _groups([len(t.ids_T) for t in blanks], tokens_per_batch, model):
        batch = collate([blanks[i] for i in group], causal=False)
        places = [start + _asked(blanks[i]) for start, i in zip(batch.starts_S, group, strict=True)]
        ids_N = np.concatenate([np.concatenate(blanks[i].candidates) for i in group])
        logs = _log_probabilities(model, model.hidden(batch), places_N=np.concatenate(places), ids_N=ids_N)
        for i, logs_N in zip(group, np.split(logs, _bounds(places)), strict=True):
            sums_K = np.array([part.sum() for part in np.split(logs_N, _bounds(blanks[i].candidates))])
            scores[i] = Scored(_comparable(sums_K, blanks[i]), len(blanks[i].ids_T))
    return [one for one in scores if one is not None]


def _asked(blank: Tokens) -> np.ndarray:
    """List the places that are asked for each token of each candidate, one candidate behind the other."""
    slot = np.flatnonzero(blank.parts_T == TARGET)
    longest = max(map(len, blank.candidates))
    if len(slot) < longest or slot[-1] - slot[0] + 1 != len(slot):
        raise ValueError(f"The example {blank.id!r} has no single blank of {longest} masks.")
    return np.concatenate([slot[: len(ids)] for ids in blank.candidates])


def _comparable(scores_K: np.ndarray, blank: Tokens) -> np.ndarray:
    lengths_K = np.array([len(ids) for ids in blank.candidates])
    return scores_K / lengths_K if len(set(lengths_K)) > 1 else scores_K


def likelihoods(model: Model, examples: Sequence[Tokens], *, tokens_per_batch: int) -> list[Likelihood]:
    """Find how probable the model finds what each example asks for: the places with a loss weight, each once."""
    found: dict[int, Likelihood] = {}
    lengths = [len(t.ids_T) + (len(t.decoder.ids_T) if t.decoder else 0) for t in examples]
    for group in _groups(lengths, tokens_per_batch, model):
        batch = collate([examples[i] for i in group], causal=model.causal)
        side = batch.decoder or batch
        places_N = np.flatnonzero(side.weights_T)
        ids_N = side.labels_T[places_N]
        logs_N = _log_probabilities(model, model.hidden(batch), places_N=places_N, ids_N=ids_N)
        owners_N = np.searchsorted(side.ends_S, places_N, side="right")
        sums_S = np.bincount(owners_N, weights=logs_N, minlength=len(group))
        counts_S = np.bincount(owners_N, minlength=len(group))
        for segment, index in enumerate(group):
            found[index] = Likelihood(-float(sums_S[segment]), int(counts_S[segment]))
    return [found[i] for i in range(len(examples))]


def _groups(costs: Sequence[int], tokens_per_batch: int, model: Model) -> Iterator[list[int]]:
    """Sort by length, so that padded models pad little."""
    yield from by_budget(costs, tokens_per_batch, sort=True, padded=model.pads)


def _bounds(pieces: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum([len(p) for p in pieces])[:-1]


def _log_probabilities(model: Model, hidden_TD: Tensor, *, places_N: np.ndarray, ids_N: np.ndarray) -> np.ndarray:
    """Give log p(id) at each place, float64 ``[N]``; places that are asked for several ids are computed once."""
    rows_M, row_N = np.unique(places_N, return_inverse=True)
    logs_N = np.zeros(len(places_N))
    for start in range(0, len(rows_M), N_ROWS):
        rows = torch.from_numpy(rows_M[start : start + N_ROWS]).to(hidden_TD.device)
        logs_MV = torch.log_softmax(model.logits(hidden_TD[rows]), dim=1)
        chosen = np.flatnonzero((row_N >= start) & (row_N < start + N_ROWS))
        at = torch.from_numpy(row_N[chosen] - start).to(hidden_TD.device)
        ids = torch.from_numpy(ids_N[chosen].astype(np.int64)).to(hidden_TD.device)
        logs_N[chosen] = logs_MV[at, ids].double().cpu().numpy()
    return logs_N
