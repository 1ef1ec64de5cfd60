"""Random masking of content, anew each epoch: BERT's masked words and T5's cut-out spans.

Shape letters: T tokens of an example, N its content tokens, W its words, K spans, V the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from formtune.errors import SettingError
from formtune.tokenizers import Tokenizer
from formtune.tokens import CONTENT, CONTROL, TARGET, Tokens

SHARE = 0.15
MEAN_SPAN = 3.0
_MASKED, _RANDOM = 0.8, 0.1  # of the chosen tokens; the rest stay as they are


def corrupted(tokens: Tokens, tokenizer: Tokenizer, seed: int | Sequence[int]) -> Tokens:
    """Corrupt an example as its format asks for; one that asks for nothing comes back as it is.

    Raises:
        SettingError: where the model lacks the tokens for it.
    """
    match tokens.corrupt:
        case "tokens":
            return corrupt_tokens(tokens, tokenizer, seed)
        case "spans":
            return corrupt_spans(tokens, tokenizer, seed)
    return tokens


def corrupt_tokens(tokens: Tokens, tokenizer: Tokenizer, seed: int | Sequence[int]) -> Tokens:
    """Mask whole words of the content and ask for them.

    Devlin et al. 2019 (BERT), section 3.1 and appendix A.1, with the whole-word masks of their later models: words
    are drawn until 15 % of the tokens are chosen; of these 80 % become the mask token, 10 % a random token that is
    no control token, and 10 % stay. Words that would exceed the share are passed over.

    Args:
        tokens: an example; only tokens with the part CONTENT are chosen.
        tokenizer: the model's.
        seed: the same seed chooses the same tokens.

    Returns:
        A copy whose ``weights_T`` is 1 at the chosen places; without content the example itself.

    Raises:
        SettingError: where the model has no mask token.
    """
    if tokenizer.mask_id is None:
        raise SettingError(
            "The model has no mask token.", "Use a masked-language model, or another format.", at="--model"
        )
    # What the vocabulary does not know cannot be asked for.
    unknown = -1 if tokenizer.unk_id is None else tokenizer.unk_id
    places_N = np.flatnonzero((tokens.parts_T == CONTENT) & (tokens.ids_T != unknown))
    if not len(places_N):
        return tokens
    chance = np.random.default_rng(seed)
    chosen_T = _choose_words(tokens, places_N, tokenizer, chance=chance)
    ids_T = tokens.ids_T.copy()
    fate = chance.random(len(chosen_T))
    ids_T[chosen_T[fate < _MASKED]] = tokenizer.mask_id
    swapped_T = chosen_T[(fate >= _MASKED) & (fate < _MASKED + _RANDOM)]
    ids_T[swapped_T] = chance.choice(tokenizer.text_ids, len(swapped_T))
    weights_T = np.zeros(len(ids_T), dtype=np.float32)
    weights_T[chosen_T] = 1.0
    return replace(tokens, ids_T=ids_T, labels_T=tokens.ids_T, weights_T=weights_T, corrupt=None)


def _choose_words(
    tokens: Tokens, places_N: np.ndarray, tokenizer: Tokenizer, *, chance: np.random.Generator
) -> np.ndarray:
    """Draw words until the share of tokens is reached; where even one word is too long, a part of it."""
    n_wanted = max(1, round(len(places_N) * SHARE))
    begins_N = ~tokenizer.continuations[tokens.ids_T[places_N]] | (np.diff(places_N, prepend=-2) > 1)
    begins_N[0] = True
    words = np.split(places_N, np.flatnonzero(begins_N)[1:])
    chosen: list[np.ndarray] = []
    n_chosen = 0
    for w in chance.permutation(len(words)):
        if n_chosen + len(words[w]) <= n_wanted:
            chosen.append(words[w])
            n_chosen += len(words[w])
    if not chosen:
        return words[int(chance.integers(len(words)))][:n_wanted]
    return np.sort(np.concatenate(chosen))


def corrupt_spans(tokens: Tokens, tokenizer: Tokenizer, seed: int | Sequence[int]) -> Tokens:
    """Cut spans out of the content and ask the decoder for them.

    Raffel et al. 2020 (T5), section 3.1.4, as in their code: 15 % of the tokens, in spans of 3 on average; each span
    is replaced by a sentinel of its own, and the decoder writes sentinel and span, span after span, then the end of
    text.

    Args:
        tokens: an example for an encoder-decoder; only tokens with the part CONTENT are cut out.
        tokenizer: the model's.
        seed: the same seed chooses the same spans.

    Returns:
        A copy with a shorter source and the decoder's side; without content the example itself.

    Raises:
        SettingError: where the model has no sentinels.
        ValueError: where the example has no decoder's side.
    """
    if not tokenizer.sentinel_ids:
        raise SettingError("The model has no sentinels (<extra_id_0> ...).", "Use a T5 model.", at="--model")
    if tokens.decoder is None:
        raise ValueError("Spans are cut out for encoder-decoder models only.")
    places_N = np.flatnonzero(tokens.parts_T == CONTENT)
    if not len(places_N):
        return tokens
    spans = _choose_spans(len(places_N), len(tokenizer.sentinel_ids), np.random.default_rng(seed))
    ids_T, keep_T = tokens.ids_T.copy(), np.ones(len(tokens.ids_T), dtype=bool)
    answer: list[np.ndarray] = []
    for sentinel, (start, end) in zip(tokenizer.sentinel_ids, spans, strict=False):
        cut_N = places_N[start:end]
        answer += [np.array([sentinel]), tokens.ids_T[cut_N]]
        ids_T[cut_N[0]] = sentinel
        keep_T[cut_N[1:]] = False
    ending = [] if tokenizer.eos_id is None else [np.array([tokenizer.eos_id])]
    return replace(
        _take(tokens, ids_T, keep_T),
        decoder=_answering(tokens.decoder, np.concatenate([*answer, *ending])),
        corrupt=None,
    )


def _choose_spans(n_tokens: int, most: int, chance: np.random.Generator) -> list[tuple[int, int]]:
    """Draw spans as T5 does: noise and the rest are parted at random into equally many runs, which alternate."""
    n_noise = max(1, min(round(n_tokens * SHARE), n_tokens - 1))
    n_rest = n_tokens - n_noise
    n_spans = max(1, min(round(n_noise / MEAN_SPAN), n_rest, most))
    noise_K = _part(n_noise, n_spans, chance)
    rest_K = _part(n_rest, n_spans, chance) if n_rest else np.zeros(1, dtype=np.int64)
    ends_K = np.cumsum(noise_K + rest_K)
    return [(int(end - n), int(end)) for end, n in zip(ends_K, noise_K, strict=True)]


def _part(n: int, n_parts: int, chance: np.random.Generator) -> np.ndarray:
    """Part n things into non-empty runs, every way equally likely."""
    cuts = np.sort(chance.choice(n - 1, n_parts - 1, replace=False)) + 1 if n_parts > 1 else np.zeros(0, dtype=np.int64)
    return np.diff(cuts, prepend=0, append=n)


def _take(tokens: Tokens, ids_T: np.ndarray, keep_T: np.ndarray) -> Tokens:
    parts_T = np.where(ids_T == tokens.ids_T, tokens.parts_T, CONTROL).astype(np.uint8)
    cuts_T = np.where(parts_T == CONTROL, 0, tokens.cuts_T).astype(np.uint8)
    return replace(
        tokens,
        ids_T=ids_T[keep_T],
        labels_T=ids_T[keep_T],
        weights_T=np.zeros(int(keep_T.sum()), dtype=np.float32),
        parts_T=parts_T[keep_T],
        types_T=tokens.types_T[keep_T],
        cuts_T=cuts_T[keep_T],
    )


def _answering(start: Tokens, answer_T: np.ndarray) -> Tokens:
    """Put the answer behind the token that the decoder starts with."""
    ids_T = np.concatenate([start.ids_T[:1], answer_T]).astype(np.int32)
    asked_T = np.arange(len(ids_T)) > 0
    return replace(
        start,
        ids_T=ids_T,
        labels_T=ids_T,
        weights_T=asked_T.astype(np.float32),
        parts_T=np.where(asked_T, TARGET, CONTROL).astype(np.uint8),
        types_T=np.zeros(len(ids_T), dtype=np.uint8),
        cuts_T=np.zeros(len(ids_T), dtype=np.uint8),
    )
