"""Answers: what a model says to an example, whatever format the example is in.

Where there are candidates, each gets a probability: classes from the head, label words by their log-likelihood behind
the prompt, fillings of a blank by theirs; the probabilities are renormalised over the candidates, so that formats can
be compared. Where there are none, the answer is written token by token, the likeliest first.

Every example gets one prediction, in the order given. An example that is too long for the model even without its
content is an error that names it (:func:`too_long` finds these beforehand): a score over the others would be a score
of other records than the next arm's.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from formtune.answers import Prediction, read_predictions, write_predictions
from formtune.corruption import corrupted
from formtune.errors import DataError
from formtune.examples import Example, Task
from formtune.fitting import NO_ROOM, TOO_LONG, asks, most_written, room_for, truncate
from formtune.label_words import Plan, check_distinct, plan_words, read_back
from formtune.models import Model
from formtune.records import LeftOut
from formtune.scoring import (
    Likelihood,
    Scored,
    likelihoods,
    score_classes,
    score_fillings,
    score_words,
)
from formtune.tokens import Tokens, prompts, tokenize, tokenize_each

__all__ = ["Prediction", "in_labels", "label_prior", "predict", "read_predictions", "too_long", "write_predictions"]

SHOWN_IDS = 5


def predict(
    model: Model,
    examples: Sequence[Example],
    *,
    generate: bool = False,
    tokens_per_batch: int = 4096,
    max_new_tokens: int = 64,
    prior: np.ndarray | None = None,
) -> list[Prediction]:
    """Answer examples of one format.

    Args:
        model: loaded for the examples' output.
        examples: answered or not; what is right is never shown to the model.
        generate: let a model that chooses among label words also write its answer freely (in at most 8 tokens more
            than the longest word), and say whether it is one of the words. Free text is always written.
        tokens_per_batch: how much is computed at once; changes nothing but rounding.
        max_new_tokens: the longest answer that is written. In a decoder the prompt leaves room for it.
        prior: log-probabilities of the candidates before anything is asked, from :func:`label_prior`; they are taken
            off the scores (Zhao et al. 2021, section 4).

    Returns:
        One prediction per example, in their order.

    Raises:
        DataError: where an example does not fit the model.
        SettingError: where the model cannot tell two label words apart.
        ValueError: where the examples are of several outputs, or not of the model's.
    """
    if not examples:
        return []
    _check_output(model, examples)
    asked = prompts(examples, model.tokenizer, shape=model.shape)
    n_written = max_new_tokens if generate or not examples[0].candidates else 0
    fitted = _all_fitting(model, asked, room_for(asked, shape=model.shape, output=model.output, n_written=n_written))
    with model.inference():
        if not examples[0].candidates:
            wholes = _wholes(model, examples, asked)
            return _answer_freely(
                model, examples, fitted, wholes=wholes, tokens_per_batch=tokens_per_batch, n_written=n_written
            )
        chosen = _choose(model, examples, fitted, tokens_per_batch=tokens_per_batch, prior=prior)
        if not generate or model.output != "words":
            return chosen
        written = _write(model, fitted, tokens_per_batch=tokens_per_batch, n_written=most_written(fitted, n_written))
    return [_beside(c, e, ids, model=model) for c, e, ids in zip(chosen, examples, written, strict=True)]


def in_labels(predictions: Sequence[Prediction], task: Task) -> list[Prediction]:
    """Give answers as the labels of the data, whatever words a format puts in their place.

    Where choices differ from record to record the answer stays the letter that stands for one.
    """
    if not task.labels or task.letters:
        return list(predictions)
    return [p if p.label is None else msgspec.structs.replace(p, answer=task.labels[p.label]) for p in predictions]


def too_long(
    model: Model, examples: Sequence[Example], *, generate: bool = False, max_new_tokens: int = 64
) -> list[LeftOut]:
    """Find the examples that :func:`predict` would refuse: they do not fit, even without their content."""
    if not examples:
        return []
    free = not examples[0].candidates
    asked = prompts(examples, model.tokenizer, shape=model.shape)
    n_written = max_new_tokens if generate or free else 0
    room = room_for(asked, shape=model.shape, output=model.output, n_written=n_written)
    unfit = {i: NO_ROOM for i, one in enumerate(_fitted(model, asked, room)) if one is None}
    left_out = [LeftOut(reason, id=examples[i].id) for i, reason in sorted(unfit.items())]
    if not free:
        return left_out
    start = model.decoder_start_id
    answered = tokenize_each(examples, model.tokenizer, shape=model.shape, decoder_start_id=start)
    fits = _fitted(model, answered.tokens, 0)
    whole = [LeftOut(TOO_LONG, id=t.id) for t, short in zip(answered.tokens, fits, strict=True) if short is None]
    return list({one.id: one for one in [*left_out, *whole, *answered.left_out]}.values())


def label_prior(model: Model, examples: Sequence[Example], *, tokens_per_batch: int = 4096) -> np.ndarray:
    """Find how probable a model holds each candidate when the record says nothing.

    Zhao et al. 2021 ("Calibrate before use", section 4) average over contents such as "N/A". They divide
    the probabilities by the average and put the ratio through a softmax; we renormalise it, so that it stays a
    probability.

    Args:
        model: as for :func:`predict`.
        examples: presentations of such empty records, at least one, with the same candidates.
        tokens_per_batch: as for :func:`predict`.

    Returns:
        float64 ``[K]``: log-probabilities.
    """
    predictions = predict(model, examples, tokens_per_batch=tokens_per_batch)
    mean_K = np.mean([p.probabilities for p in predictions], axis=0)
    logs_K: np.ndarray = np.log(np.maximum(mean_K, np.finfo(np.float64).tiny))
    return logs_K


def _check_output(model: Model, examples: Sequence[Example]) -> None:
    outputs = {example.output for example in examples}
    if outputs != {model.output}:
        raise ValueError(f"The model was loaded for output {model.output!r}, the examples have {sorted(outputs)}.")
    if len({bool(example.candidates) for example in examples}) > 1:
        raise ValueError("Some examples have candidates and some have none.")


def _fitted(model: Model, tokens: Sequence[Tokens], room: int) -> list[Tokens | None]:
    """Cut content so that everything fits; None where that is not enough."""
    answer_fits = [t.decoder is None or len(t.decoder.ids_T) <= model.max_length for t in tokens]
    capacity = model.max_length - room
    return [truncate(t, capacity) if fits else None for t, fits in zip(tokens, answer_fits, strict=True)]


def _all_fitting(model: Model, tokens: Sequence[Tokens], room: int) -> list[Tokens]:
    fitted = _fitted(model, tokens, room)
    unfit = [one.id for one, short in zip(tokens, fitted, strict=True) if short is None]
    if unfit:
        more = f" and {len(unfit) - SHOWN_IDS} more" if len(unfit) > SHOWN_IDS else ""
        raise DataError(
            f"{len(unfit)} of {len(tokens)} records do not fit into the {model.max_length} tokens of the model "
            f"({room} of them for the answer), even without the content that may be cut: "
            f"{', '.join(unfit[:SHOWN_IDS])}{more}.",
            "Leave them out, allow fewer new tokens, or take a model that reads more.",
            at=model.name,
        )
    return [short for short in fitted if short is not None]


def _choose(
    model: Model,
    examples: Sequence[Example],
    asked: Sequence[Tokens],
    *,
    tokens_per_batch: int,
    prior: np.ndarray | None,
) -> list[Prediction]:
    match model.output:
        case "head":
            scored = score_classes(model, asked, tokens_per_batch=tokens_per_batch)
        case "mask":
            for example, blank in zip(examples, asked, strict=True):
                check_distinct(blank.candidates, example.candidates)
            scored = score_fillings(model, asked, tokens_per_batch=tokens_per_batch)
        case _:
            plans = _plans(model, examples, asked)
            scored = score_words(model, [p.ids_T for p in asked], plans, tokens_per_batch=tokens_per_batch)
    return [_chosen(e, s, prior) for e, s in zip(examples, scored, strict=True)]


def _plans(model: Model, examples: Sequence[Example], asked: Sequence[Tokens]) -> list[Plan]:
    made: dict[tuple[bytes, ...], Plan] = {}
    plans = []
    for example, tokens in zip(examples, asked, strict=True):
        key = tuple(ids.tobytes() for ids in tokens.candidates)
        if key not in made:
            made[key] = plan_words(tokens.candidates, example.candidates, stop_id=_stop_id(model, example))
        plans.append(made[key])
    return plans


def _stop_id(model: Model, example: Example) -> int | None:
    stop = model.tokenizer.chat_template.stop if example.turns else None
    return model.tokenizer.full.token_to_id(stop) if stop is not None else model.tokenizer.eos_id


def _chosen(example: Example, scored: Scored, prior: np.ndarray | None) -> Prediction:
    scores_K = scored.scores_K if prior is None else scored.scores_K - prior[: len(scored.scores_K)]
    odds_K = np.exp(scores_K - scores_K.max())
    probabilities_K = odds_K / odds_K.sum()
    label = int(scores_K.argmax())
    return Prediction(
        id=example.id,
        answer=example.candidates[label].strip(),
        confidence=float(probabilities_K[label]),
        label=label,
        probabilities=tuple(probabilities_K.tolist()),
        n_tokens_in=scored.n_read,
    )


def _beside(chosen: Prediction, example: Example, ids: Sequence[int], *, model: Model) -> Prediction:
    """Set what was written freely beside the choice by scores, which stays the answer."""
    text = model.tokenizer.decode(ids).strip()
    label = read_back(text, example.candidates)
    return msgspec.structs.replace(
        chosen, valid=label is not None, generated=text, generated_label=label, n_tokens_out=len(ids)
    )


def _write(model: Model, asked: Sequence[Tokens], *, tokens_per_batch: int, n_written: int) -> list[list[int]]:
    """Write an answer behind every prompt."""
    return model.generate(
        [tokens.ids_T.tolist() for tokens in asked],
        max_new_tokens=n_written,
        stop_ids=sorted(model.tokenizer.stop_ids),
        tokens_per_batch=tokens_per_batch,
    )


def _answer_freely(
    model: Model,
    examples: Sequence[Example],
    asked: Sequence[Tokens],
    *,
    wholes: Mapping[int, Tokens],
    tokens_per_batch: int,
    n_written: int,
) -> list[Prediction]:
    asking = [i for i, e in enumerate(examples) if e.corrupt is None and asks(asked[i])]
    answers = _write(model, [asked[i] for i in asking], tokens_per_batch=tokens_per_batch, n_written=n_written)
    written = dict(zip(asking, answers, strict=True))
    found = likelihoods(model, list(wholes.values()), tokens_per_batch=tokens_per_batch)
    likely = {i: one for i, one in zip(wholes, found, strict=True) if one.n_tokens}
    return [
        _free(model, e, p, ids=written.get(i), whole=wholes.get(i), likelihood=likely.get(i))
        for i, (e, p) in enumerate(zip(examples, asked, strict=True))
    ]


def _free(
    model: Model,
    example: Example,
    prompt: Tokens,
    *,
    ids: Sequence[int] | None,
    whole: Tokens | None,
    likelihood: Likelihood | None,
) -> Prediction:
    text = None if ids is None else model.tokenizer.decode(ids).strip()
    return Prediction(
        id=example.id,
        answer=text or "",
        valid=text != "",
        generated=text,
        n_tokens_in=len(prompt.ids_T),
        n_tokens_out=len(ids or ()),
        nll=likelihood.nll if likelihood else None,
        n_target_tokens=likelihood.n_tokens if likelihood else 0,
        n_target_bytes=len(_target_text(model, example, whole).encode()) if whole else 0,
    )


def _target_text(model: Model, example: Example, whole: Tokens) -> str:
    if example.references and not example.corrupt:
        return example.references[0]
    side = whole.decoder or whole
    return model.tokenizer.decode(side.labels_T[side.weights_T > 0])


def _answered(model: Model, examples: Sequence[Example], asked: Sequence[Tokens]) -> dict[int, Tokens]:
    """Tokenize with their right answers those that have one; only the answer keeps its weight."""
    tokens = tokenize(examples, model.tokenizer, shape=model.shape, decoder_start_id=model.decoder_start_id)
    return {
        i: _weighing_answer(whole, len(p.ids_T))
        for i, (whole, p) in enumerate(zip(tokens, asked, strict=True))
        if whole.corrupt or ((whole.decoder or whole).weights_T > 0).any()
    }


def _weighing_answer(whole: Tokens, n_prompt: int) -> Tokens:
    """Take the weight off earlier turns and learned prompts: formats that learn them are asked for the same text."""
    if whole.corrupt or whole.decoder is not None:
        return whole
    weights_T = whole.weights_T.copy()
    weights_T[:n_prompt] = 0.0
    return replace(whole, weights_T=weights_T)


def _wholes(model: Model, examples: Sequence[Example], asked: Sequence[Tokens]) -> dict[int, Tokens]:
    answered = _answered(model, examples, asked)
    fitted = _all_fitting(model, list(answered.values()), 0)
    return {i: _corrupted(model, one) for i, one in zip(answered, fitted, strict=True)}


def _corrupted(model: Model, tokens: Tokens) -> Tokens:
    """Mask what the record's own seed says: the same places whenever, and by whatever model, it is scored."""
    return corrupted(tokens, model.tokenizer, (zlib.crc32(tokens.id.encode()),))
