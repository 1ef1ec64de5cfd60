"""Log-likelihoods equal those of one plain forward pass per candidate, in every family, whatever the batches."""

import numpy as np
import pytest
import torch

from formtune.label_words import plan_words
from formtune.loading import tiny
from formtune.models import Model
from formtune.scoring import likelihoods, score_classes, score_fillings, score_words
from formtune.tokens import CONTENT, SCAFFOLD, TARGET, Tokens

WRITERS = ("gpt2", "llama", "xlnet", "t5")
PROMPTS = ("A fine film. It was", "Dull =>", "One word")
WORDS = (" good", " good enough", " bad")


def ids_of(model: Model, text: str) -> np.ndarray:
    return model.tokenizer.encode([text], "text")[0][0]


def tokens_of(text_parts: list[tuple[list[int], int]], candidates: tuple[np.ndarray, ...] = ()) -> Tokens:
    ids_T = np.array([i for ids, _ in text_parts for i in ids], dtype=np.int32)
    parts_T = np.array([part for ids, part in text_parts for _ in ids], dtype=np.uint8)
    return Tokens(
        id="r",
        ids_T=ids_T,
        labels_T=ids_T,
        weights_T=(parts_T == TARGET).astype(np.float32),
        parts_T=parts_T,
        types_T=np.zeros(len(ids_T), dtype=np.uint8),
        cuts_T=(parts_T == CONTENT).astype(np.uint8),
        candidates=candidates,
    )


@torch.no_grad()
def naive_log_likelihood(model: Model, prompt: np.ndarray, answer: np.ndarray) -> float:
    """Run the transformers model itself over one prompt and one answer, with nothing of ours between."""
    ids = torch.tensor([[*prompt.tolist(), *answer.tolist()]])
    if model.shape == "encoder-decoder":
        given = torch.tensor([[model.decoder_start_id, *answer.tolist()[:-1]]])
        logits = model.module(input_ids=torch.tensor([prompt.tolist()]), decoder_input_ids=given).logits[0]
    elif model.family == "xlnet":
        logits = torch.stack([xlnet_next(model, ids[0, :n]) for n in range(len(prompt), ids.shape[1])])
    else:
        with model.attending("eager"):
            logits = model.module(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    logs = torch.log_softmax(logits.double(), -1)
    return float(sum(logs[n, token] for n, token in enumerate(answer.tolist())))


def xlnet_next(model: Model, ids_T: torch.Tensor) -> torch.Tensor:
    """Ask XLNet for the token after these, as its own documentation does: the last place is seen by none."""
    row = torch.cat([ids_T, torch.zeros(1, dtype=torch.long)])[None]
    n = row.shape[1]
    hidden = torch.triu(torch.ones(n, n))[None]
    wanted = torch.zeros(1, 1, n)
    wanted[0, 0, -1] = 1
    return model.module(input_ids=row, perm_mask=hidden, target_mapping=wanted).logits[0, 0]


@pytest.mark.parametrize("family", WRITERS)
def test_word_scores_are_those_of_one_pass_per_word(family):
    """Words of several tokens, one the beginning of another, so that the stop counts."""
    model = tiny(family, output="words")
    stop = model.tokenizer.eos_id
    words = [ids_of(model, word) for word in WORDS]
    plan = plan_words(words, WORDS, stop_id=stop)
    prompts = [ids_of(model, text) for text in PROMPTS]
    with model.inference():
        scored = score_words(model, prompts, [plan] * 3, tokens_per_batch=1000)

    naive = [[naive_log_likelihood(model, p, np.append(w, stop)) for w in words] for p in prompts]
    np.testing.assert_allclose([s.scores_K for s in scored], naive, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("family", WRITERS)
def test_word_scores_do_not_depend_on_the_batches(family):
    model = tiny(family, output="words")
    words = [ids_of(model, word) for word in WORDS]
    plan = plan_words(words, WORDS, stop_id=model.tokenizer.eos_id)
    prompts = [ids_of(model, text) for text in PROMPTS]
    with model.inference():
        alone = score_words(model, prompts, [plan] * 3, tokens_per_batch=1)
        together = score_words(model, prompts, [plan] * 3, tokens_per_batch=10_000)

    np.testing.assert_allclose([s.scores_K for s in alone], [s.scores_K for s in together], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_every_record_may_have_words_of_its_own(family):
    model = tiny(family, output="words")
    few, many = ("A", "B"), ("A", "B", "C is long", "D")
    plans = [plan_words([ids_of(model, w) for w in ws], ws, stop_id=1) for ws in (many, few)]
    prompts = [ids_of(model, text) for text in PROMPTS[:2]]
    with model.inference():
        scored = score_words(model, prompts, plans, tokens_per_batch=1000)

    assert [len(s.scores_K) for s in scored] == [4, 2]
    for one, prompt, words in zip(scored, prompts, (many, few), strict=True):
        naive = [naive_log_likelihood(model, prompt, ids_of(model, w)) for w in words]
        np.testing.assert_allclose(one.scores_K, naive, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("family", WRITERS)
def test_prompts_that_begin_alike_are_scored_as_if_alone(family):
    """Beginnings long enough to be shared, one prompt inside another, and one twice."""
    model = tiny(family, output="words")
    words = [ids_of(model, word) for word in WORDS]
    plan = plan_words(words, WORDS, stop_id=1)
    texts = ("What is it that you say? Good", "What is it that you say? Bad", "What is it that you say?", "Oh", "Oh")
    prompts = [ids_of(model, text) for text in texts]
    with model.inference():
        scored = score_words(model, prompts, [plan] * 5, tokens_per_batch=1000)

    naive = [[naive_log_likelihood(model, p, np.append(w, 1)) for w in words] for p in prompts]
    np.testing.assert_allclose([s.scores_K for s in scored], naive, rtol=1e-5, atol=1e-4)


def test_what_prompts_and_words_share_is_computed_once(monkeypatch):
    """17 shared places, two ends of one place each, and behind each of them "ab" of abc and abd; one prompt comes twice."""
    model = tiny("llama", output="words")
    computed = []
    hidden = model.hidden
    monkeypatch.setattr(model, "hidden", lambda batch: computed.append(batch.n_tokens) or hidden(batch))
    plan = plan_words([ids_of(model, w) for w in ("abc", "abd")], ("abc", "abd"), stop_id=1)
    prompts = [ids_of(model, text) for text in ("x" * 17 + "y", "x" * 17 + "z", "x" * 17 + "y")]
    with model.inference():
        score_words(model, prompts, [plan] * 3, tokens_per_batch=1000)

    assert computed == [17 + 2 + 2 * 2]


@pytest.mark.parametrize("budget", [40, 60, 100])
def test_no_batch_is_larger_than_its_budget(budget, monkeypatch):
    """Where a batch begins its first prompt is computed whole, and beginnings that go on for a little are not shared."""
    model = tiny("llama", output="words")
    computed = []
    hidden = model.hidden
    monkeypatch.setattr(model, "hidden", lambda batch: computed.append(batch.n_tokens) or hidden(batch))
    plan = plan_words([ids_of(model, w) for w in ("abc", "abd")], ("abc", "abd"), stop_id=1)
    endings = ("", "abcdefghijkl", "abcdefghijklm", "b" * 10, "c", "cc")
    prompts = [ids_of(model, one * 20 + ending) for one in "xyz" for ending in endings]
    with model.inference():
        score_words(model, prompts, [plan] * len(prompts), tokens_per_batch=budget)

    assert max(computed) <= budget
    assert len(computed) < len(prompts)


def test_a_shared_prompt_is_read_once():
    model = tiny("llama", output="words")
    plan = plan_words([ids_of(model, w) for w in (" ab", " ac")], (" ab", " ac"), stop_id=1)
    with model.inference():
        scored = score_words(model, [ids_of(model, "12345")], [plan], tokens_per_batch=100)

    assert scored[0].n_read == len("12345") + len(" a")


def test_a_blank_is_filled_by_the_sum_of_its_tokens_log_probabilities():
    model = tiny("bert", output="mask")
    mask = model.tokenizer.mask_id
    candidates = tuple(ids_of(model, w) for w in ("xy", "ab"))
    blank = tokens_of([([20, 21], CONTENT), ([mask, mask], TARGET), ([30], SCAFFOLD)], candidates)
    with model.inference():
        scored = score_fillings(model, [blank], tokens_per_batch=100)[0]
        with model.attending("eager"):
            logits = model.module(input_ids=torch.tensor([[20, 21, mask, mask, 30]])).logits[0]

    logs = torch.log_softmax(logits.double(), -1)
    naive = [sum(float(logs[2 + n, i]) for n, i in enumerate(c)) for c in candidates]
    np.testing.assert_allclose(scored.scores_K, naive, rtol=1e-5)
    assert scored.n_read == 5


def test_fillings_of_several_lengths_share_one_blank_and_are_compared_by_the_mean_of_their_tokens():
    model = tiny("bert", output="mask")
    mask = model.tokenizer.mask_id
    candidates = tuple(ids_of(model, w) for w in ("x", "abc"))
    blank = tokens_of([([20, 21], CONTENT), ([mask] * 3, TARGET)], candidates)
    with model.inference():
        scored = score_fillings(model, [blank], tokens_per_batch=100)[0]
        with model.attending("eager"):
            logits = model.module(input_ids=torch.tensor([[20, 21, mask, mask, mask]])).logits[0]

    logs = torch.log_softmax(logits.double(), -1)
    mean = sum(float(logs[2 + n, i]) for n, i in enumerate(candidates[1])) / 3
    np.testing.assert_allclose(scored.scores_K, [float(logs[2, candidates[0][0]]), mean], rtol=1e-5)
    assert scored.n_read == 5


@pytest.mark.parametrize("blank", [[([20], CONTENT)], [([20], CONTENT), ([3], TARGET)]])
def test_an_example_without_a_blank_that_is_long_enough_cannot_be_filled(blank):
    model = tiny("bert", output="mask")
    with pytest.raises(ValueError, match="no single blank of 2 masks"):
        score_fillings(model, [tokens_of(blank, (ids_of(model, "ab"),))], tokens_per_batch=100)


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_class_scores_are_log_probabilities_and_do_not_depend_on_the_batches(family):
    model = tiny(family, output="head", n_classes=3)
    prompts = [tokens_of([(ids_of(model, text).tolist(), CONTENT)]) for text in PROMPTS]
    with model.inference():
        alone = np.stack([s.scores_K for s in score_classes(model, prompts, tokens_per_batch=1)])
        together = np.stack([s.scores_K for s in score_classes(model, prompts, tokens_per_batch=1000)])

    np.testing.assert_allclose(np.exp(alone).sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama", "xlnet"])
def test_the_likelihood_of_an_answer_is_that_of_its_tokens_behind_the_prompt(family):
    model = tiny(family, output="text")
    prompts = [ids_of(model, text) for text in PROMPTS]
    answers = [ids_of(model, text) for text in (" yes", " a longer answer", "!")]
    wholes = [tokens_of([(p.tolist(), SCAFFOLD), (a.tolist(), TARGET)]) for p, a in zip(prompts, answers, strict=True)]
    with model.inference():
        found = likelihoods(model, wholes, tokens_per_batch=40)

    naive = [-naive_log_likelihood(model, p, a) for p, a in zip(prompts, answers, strict=True)]
    np.testing.assert_allclose([one.nll for one in found], naive, rtol=1e-5, atol=1e-4)
    assert [one.n_tokens for one in found] == [4, 16, 1]
