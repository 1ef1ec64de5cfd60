"""Scores of text answers: exact match, token F1 and ROUGE of one answer, BLEU and chrF of many, perplexity.

Strings in, plain values out; one answer's scores are shares from 0 to 1. English and Chinese. A function ``*_stats`` gives each record a row
of numbers [N, K]; its partner turns sums of rows [..., K] into values [...].
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Literal

import numpy as np

from formtune.errors import MissingExtra
from formtune.label_metrics import Floats, ratio

RougeVariant = Literal["rouge1", "rouge2", "rougeL"]
CorpusStats = Callable[[Sequence[str], Sequence[Sequence[str]]], list[list[float]]]

_BLEU_ORDER = 4
_BLEU_TOKENIZERS = {"zh": "zh", "ja": "char"}
_CHRF_BETA = 2
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CMRC_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CMRC_HAN = re.compile("[\u4e00-\u9fa5]")
_LATIN_TOKEN = re.compile(r"\w+(?:[.,']\w+)*|[^\w\s]")
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han: no spaces between words
_ROUGE_TOKEN = re.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")


def primary_language(tag: str) -> str:
    """Give the first part of a language tag: ``zh`` for ``zh``, ``zh-CN`` and ``zh_Hant``."""
    return tag.lower().replace("_", "-").split("-")[0]


def exact_match(answer: str, references: Sequence[str], *, language: str = "en") -> float:
    """Give 1 where the normalised answer equals a normalised reference, else 0.

    English after the SQuAD v2 script (Rajpurkar et al. 2018), which on answerable questions is that of v1.1: lower
    case, no ASCII punctuation, no articles, single spaces. Chinese after the CMRC 2018 script (Cui et al. 2019): lower
    case, its list of punctuation removed. No references means that the question has no answer: then only an answer
    that is empty after normalisation is right.

    >>> exact_match("The Eiffel Tower!", ["Eiffel tower"])
    1.0
    """
    normal = cmrc_normal if primary_language(language) == "zh" else squad_normal
    return float(normal(answer) in _answers(references, normal=normal))


def token_f1(answer: str, references: Sequence[str], *, language: str = "en") -> float:
    """Give the largest F1 of the answer's tokens over the references.

    English: bag of words after SQuAD's normalisation. Chinese: the CMRC 2018 script counts the longest run of tokens
    that both share *without a gap* (it calls it LCS, but it is the common substring), over single characters and
    words of other scripts. Where the answer or reference is empty, F1 is 1 if both are, else 0 (SQuAD v2).

    >>> token_f1("in the north of France", ["north France"])
    0.6666666666666666
    """
    if primary_language(language) == "zh":
        return max(_cmrc_f1(answer, reference) for reference in references or ("",))
    predicted = squad_normal(answer).split()
    return max(_squad_f1(predicted, gold.split()) for gold in _answers(references, normal=squad_normal))


def squad_normal(text: str) -> str:
    """Bring an English answer to SQuAD's normal form: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split())


def cmrc_normal(text: str) -> str:
    """Bring a Chinese answer to CMRC 2018's normal form: lower case, stripped, without the script's punctuation."""
    return "".join(character for character in text.lower().strip() if character not in _CMRC_PUNCTUATION)


def cmrc_tokens(text: str) -> list[str]:
    """Cut a text as CMRC 2018 does: each Chinese character alone, everything else by words, punctuation dropped.

    The script calls NLTK for the stretches between Chinese characters; a regular expression stands in for it (words
    with inner full stops, commas and apostrophes stay whole, every other sign is alone), which needs no extra data.

    >>> cmrc_tokens("他有 3.5 kg。")
    ['他', '有', '3.5', 'kg']
    """
    return _LATIN_TOKEN.findall(_CMRC_HAN.sub(r" \g<0> ", cmrc_normal(text)))


def rouge(answer: str, references: Sequence[str], *, variant: RougeVariant) -> float:
    """Give the largest ROUGE F1 of the answer over the references (Lin 2004; sentence level for ``rougeL``).

    Tokens as in Google's ``rouge_score`` without stemming (lower case, runs of letters and digits), extended to other
    alphabets, with each Chinese or Japanese character a token of its own.

    >>> round(rouge("the cat sat", ["the cat sat down"], variant="rouge2"), 2)
    0.8
    """
    tokens = rouge_tokens(answer)
    return max((_rouge_f1(tokens, rouge_tokens(reference), variant=variant) for reference in references), default=0.0)


def rouge_tokens(text: str) -> list[str]:
    """Cut a text for ROUGE: lower-case runs of letters and digits; Chinese and Japanese by characters."""
    return _ROUGE_TOKEN.findall(text.lower())


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Count the tokens of the longest common subsequence, gaps allowed.

    Bit-parallel (Hyyrö 2004): one integer of ``len(first)`` bits is updated per token of ``second``, so that the cost
    is about ``len(first) * len(second) / 30`` machine operations.
    """
    places: dict[str, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    everything = (1 << len(first)) - 1
    unmatched = everything
    for token in second:
        matches = unmatched & places.get(token, 0)
        unmatched = (unmatched + matches | unmatched - matches) & everything
    return len(first) - unmatched.bit_count()


def bleu_stats(answers: Sequence[str], references: Sequence[Sequence[str]], languages: Sequence[str]) -> Floats:
    """Give sacrebleu's sentence statistics for BLEU; Chinese is cut by its ``zh`` tokenizer, the rest by ``13a``.

    Raises:
        MissingExtra: where sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtra("sacrebleu", "train", at="metric") from error
    tokenizers = [_BLEU_TOKENIZERS.get(primary_language(language), "13a") for language in languages]
    extract = {tokenizer: BLEU(tokenize=tokenizer)._extract_corpus_statistics for tokenizer in set(tokenizers)}
    return _sentence_stats(answers, references, [extract[tokenizer] for tokenizer in tokenizers])


def bleu(sums: Floats) -> Floats:
    """Compute corpus BLEU in points from summed statistics, with sacrebleu's defaults (order 4, smoothing ``exp``)."""
    answered, wanted = sums[..., 0], sums[..., 1]
    right, total = sums[..., 2 : 2 + _BLEU_ORDER], sums[..., 2 + _BLEU_ORDER :]
    # Smoothing: the first order without a match counts as half a match, the next such order as a quarter, and so on.
    halved = 0.5 ** np.cumsum(right == 0, axis=-1)
    precisions = ratio(np.where(right == 0, halved, right), total)
    brevity = np.exp(np.minimum(0.0, 1 - ratio(wanted, answered)))
    defined = (total > 0).all(axis=-1) & (right > 0).any(axis=-1)
    logs = np.log(np.where(np.asarray(defined)[..., None], precisions, 1.0))
    return np.where(defined, 100 * brevity * np.exp(logs.mean(axis=-1)), 0.0)


def chrf_stats(answers: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """Give sacrebleu's sentence statistics for chrF (characters up to order 6, no words).

    Raises:
        MissingExtra: where sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise MissingExtra("sacrebleu", "train", at="metric") from error
    return _sentence_stats(answers, references, [CHRF(beta=_CHRF_BETA)._extract_corpus_statistics] * len(answers))


def chrf(sums: Floats) -> Floats:
    """Compute corpus chrF2 in points from summed statistics: averages over the orders that occur, recall weighted four times."""
    answered, wanted, right = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    n_orders = ((answered > 0) & (wanted > 0)).sum(axis=-1)
    precision = ratio(ratio(right, answered).sum(axis=-1), n_orders)
    recall = ratio(ratio(right, wanted).sum(axis=-1), n_orders)
    weight = _CHRF_BETA**2
    return 100 * ratio((1 + weight) * precision * recall, weight * precision + recall)


def _sentence_stats(
    answers: Sequence[str], references: Sequence[Sequence[str]], extract: Sequence[CorpusStats]
) -> Floats:
    # sacrebleu has no public name for its sentence statistics; this is what its own significance tests call, and a
    # test of ours holds the corpus scores equal.
    rows = [
        corpus_stats([answer], [[text] for text in texts or ("",)])[0]
        for answer, texts, corpus_stats in zip(answers, references, extract, strict=True)
    ]
    return np.array(rows, dtype=np.float64)


def _answers(references: Sequence[str], *, normal: Callable[[str], str]) -> list[str]:
    """Give the normal forms that are not empty, or the empty one alone: then there is no answer to be found."""
    return list(filter(None, map(normal, references))) or [""]


def _squad_f1(predicted: list[str], gold: list[str]) -> float:
    return _f1((Counter(predicted) & Counter(gold)).total(), predicted, gold)


def _cmrc_f1(answer: str, reference: str) -> float:
    predicted, gold = cmrc_tokens(answer), cmrc_tokens(reference)
    matcher = SequenceMatcher(None, predicted, gold, autojunk=False)
    return _f1(matcher.find_longest_match().size, predicted, gold)


def _rouge_f1(predicted: list[str], gold: list[str], *, variant: RougeVariant) -> float:
    if not predicted or not gold:
        return 0.0
    if variant == "rougeL":
        return _f1(longest_common_subsequence(predicted, gold), predicted, gold)
    order = int(variant[-1])
    predicted_grams, gold_grams = _grams(predicted, order), _grams(gold, order)
    if not predicted_grams or not gold_grams:
        return 0.0
    return _f1((Counter(predicted_grams) & Counter(gold_grams)).total(), predicted_grams, gold_grams)


def _grams(tokens: list[str], order: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[start:] for start in range(order)), strict=False))


def _f1(n_same: int, predicted: Sequence[object], gold: Sequence[object]) -> float:
    """Give the harmonic mean of the shares that ``n_same`` makes of both; two empty sides agree."""
    if not predicted or not gold:
        return float(len(predicted) == len(gold))
    return 2 * n_same / (len(predicted) + len(gold))
