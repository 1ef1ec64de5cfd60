"""Greedy answers are those of transformers' own greedy search, one prompt at a time, whatever is written beside them."""

import pytest
import torch
import transformers

from formtune import generation
from formtune.loading import Options, prepared, tiny
from formtune.models import Model
from formtune.tokens import byte_tokenizer

PACKING = ("gpt2", "llama")
# Of many lengths, two that are equal, and two that begin alike for longer than a segment must be to be shared.
PROMPTS = [
    [7, 8, 9],
    [10, 11, 12, 13, 14],
    [7, 8, 9],
    [5],
    [*range(20, 45), 1],
    [*range(20, 45), 2, 3],
    [40, 41],
    [9, 8, 7, 6, 5, 4],
]


def naive(model: Model, prompts: list[list[int]], *, max_new_tokens: int, stop_ids: list[int]) -> list[list[int]]:
    """Let ``transformers`` answer each prompt alone, with its own attention."""
    settings = transformers.GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=stop_ids or None,
        pad_token_id=0,
        decoder_start_token_id=model.decoder_start_id,
    )
    answers = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with model.inference(), model.attending("eager"):
            out = model.module.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        new = out[0, 1 if model.shape == "encoder-decoder" else len(prompt) :].tolist()
        answers.append(new[: next((n for n, token in enumerate(new) if token in stop_ids), len(new))])
    return answers


def some_stops(model: Model) -> list[int]:
    """Choose a stop that ends answers at different lengths."""
    free = naive(model, PROMPTS, max_new_tokens=9, stop_ids=[])
    lengths = {
        token: {answer.index(token) if token in answer else 9 for answer in free} for answer in free for token in answer
    }
    return [max(lengths, key=lambda token: (len(lengths[token]), token))]


@pytest.mark.parametrize("family", [*PACKING, "t5"])
def test_answers_are_those_of_transformers_one_by_one(family: str) -> None:
    """Some are stopped at once, some later, and some not at all."""
    model = tiny(family, seed=1)
    asked = {"max_new_tokens": 9, "stop_ids": some_stops(model)}
    expected = naive(model, PROMPTS, **asked)

    assert model.generate(PROMPTS, **asked) == expected
    assert len(set(map(len, expected))) > 1


@pytest.mark.parametrize(("most_rows", "tokens_per_batch"), [(1, 1000), (2, 1), (2, 1000), (4, 10)])
@pytest.mark.parametrize("family", PACKING)
def test_answers_do_not_depend_on_how_many_are_written_at_once(family, most_rows, tokens_per_batch, monkeypatch):
    model = tiny(family, seed=1)
    asked = {"max_new_tokens": 9, "stop_ids": some_stops(model)}
    together = model.generate(PROMPTS, **asked)
    monkeypatch.setattr(generation, "MOST_ROWS", most_rows)

    assert model.generate(PROMPTS, tokens_per_batch=tokens_per_batch, **asked) == together


def test_short_prompts_behind_long_ones_are_written_in_more_rows(monkeypatch):
    """Rows and places are traded, and nothing that is kept gets lost."""
    model = tiny("llama")
    prompts = [[token] * length for token, length in enumerate((60, 50, 12, 11, 10, 9, 3, 2), 10)]
    together = model.generate(prompts, max_new_tokens=6, stop_ids=[])
    monkeypatch.setattr(generation, "MOST_PLACES", 66)

    assert [generation._n_rows(n_places) for n_places in (66, 56, 18, 9, 8)] == [1, 1, 2, 4, 8]
    assert model.generate(prompts, max_new_tokens=6, stop_ids=[]) == together


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5", "xlnet"])
def test_equal_prompts_are_answered_once(family, monkeypatch):
    """Every computed token is counted: the same prompt five times costs what it costs once."""
    model = tiny(family, seed=1)
    counted: list[int] = []
    logits = model.logits
    monkeypatch.setattr(model, "logits", lambda hidden, **how: counted.append(len(hidden)) or logits(hidden, **how))
    once = model.generate([[7, 8, 9]], max_new_tokens=3, stop_ids=[])
    n_once = sum(counted)
    counted.clear()

    assert model.generate([[7, 8, 9]] * 5, max_new_tokens=3, stop_ids=[]) == once * 5
    assert sum(counted) == n_once == 3


@pytest.mark.parametrize("family", [*PACKING, "t5"])
def test_an_answer_that_is_done_is_computed_no_longer(family, monkeypatch):
    """One long answer beside short ones costs its own tokens only."""
    model = tiny(family, seed=1)
    stops = some_stops(model)
    prompts = [*map(list, dict.fromkeys(map(tuple, PROMPTS)))]
    answers = model.generate(prompts, max_new_tokens=9, stop_ids=stops)
    counted: list[int] = []
    logits = model.logits
    monkeypatch.setattr(model, "logits", lambda hidden, **how: counted.append(len(hidden)) or logits(hidden, **how))
    model.generate(prompts, max_new_tokens=9, stop_ids=stops)

    assert sum(counted) == sum(min(len(answer) + 1, 9) for answer in answers) < 9 * len(prompts)


@pytest.mark.parametrize("family", [*PACKING, "t5"])
def test_bfloat16_writes_for_every_prompt(family: str) -> None:
    """Its tokens may differ by rounding; each prompt gets an answer of the length asked for."""
    model = tiny(family, options=Options(precision="bfloat16"))

    answers = model.generate(PROMPTS, max_new_tokens=5, stop_ids=[])

    assert [len(answer) for answer in answers] == [5] * len(PROMPTS)


@pytest.mark.parametrize("family", [*PACKING, "qwen3", "t5", "xlnet"])
def test_a_streamed_answer_is_the_written_one(family: str) -> None:
    """In bfloat16 too, where the scores of a head that calculates in it would tie."""
    for seed in range(3):
        model = tiny(family, seed=seed, options=Options(precision="bfloat16"))
        for prompt in PROMPTS:
            asked = {"max_new_tokens": 6, "stop_ids": []}
            assert list(model.stream(prompt, **asked)) == model.generate([prompt], **asked)[0]


def test_a_window_limits_what_a_written_text_sees():
    """Mistral's layers see the nearest places only, while reading and while writing."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=tokenizer.n_vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=64,
        sliding_window=4,
        initializer_range=0.2,
    )
    module = transformers.MistralForCausalLM(config)
    model = Model(module, tokenizer, name="tiny-mistral", shape="decoder", output="text", max_length=512)
    model = prepared(model, seed=0, options=Options())
    asked = {"max_new_tokens": 9, "stop_ids": []}

    assert model.packs
    assert model.generate(PROMPTS, **asked) == naive(model, PROMPTS, **asked)


def test_a_model_that_cannot_be_packed_is_left_to_transformers():
    model = tiny("llama")
    expected = model.generate(PROMPTS, max_new_tokens=5, stop_ids=[])
    model.packs = False
    model.module.set_attn_implementation("sdpa")

    assert model.generate(PROMPTS, max_new_tokens=5, stop_ids=[]) == expected


def test_nothing_asked_is_nothing_written():
    model = tiny("llama")

    assert model.generate([], max_new_tokens=5, stop_ids=[]) == []
    assert model.generate([[7]], max_new_tokens=0, stop_ids=[]) == [[]]
