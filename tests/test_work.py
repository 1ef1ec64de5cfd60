"""What updates computed is counted beside what padding computes, and the parts add up to it."""

import pytest
from token_examples import answering, tokens

from formtune.loading import Options, tiny
from formtune.training import train
from formtune.updates import TrainSettings
from formtune.work import Work, padded_places, padding_work

PREAMBLE = list(range(20, 40))
ALIKE = [tokens([*PREAMBLE, 50 + i], [60 + i] * (1 + i), id=str(i)) for i in range(3)]


def test_padding_makes_every_row_as_long_as_the_longest_on_each_side() -> None:
    """Two sources of 3 and 1 tokens, two targets of 2 and 5, each with its start: 2 × 3 + 2 × 6."""
    update = [answering([7, 8, 9], [10, 11]), answering([7], [10] * 5)]
    assert padded_places(update) == 18
    assert padding_work(update, scores=True) == Work(padded=18, padded_scored=12)
    assert padding_work(update, scores=False) == Work(padded=18)


def test_what_is_saved_and_what_is_computed_are_all_that_padding_computes() -> None:
    """Three rows of 22, 23 and 24 tokens that share 20 of them; of the vocabulary only what is learned is scored."""
    model = tiny("llama")
    done = train(model, ALIKE, settings=TrainSettings(steps=2, batch_size=3)).work
    assert done == Work(padded=144, apart=138, laid=58, scored=12, padded_scored=144)
    saved = done.saved
    assert done.computed_share + sum(saved[part] or 0.0 for part in ("packing", "prefixes", "trunk")) == pytest.approx(
        1
    )
    assert saved["logits"] == pytest.approx(1 - 12 / 144)


def test_a_cached_trunk_is_spared_by_its_share_of_the_blocks() -> None:
    """Two of three blocks are frozen; the second epoch skips them."""
    model = tiny("llama", options=Options(freeze="all-but-top-1"))
    done = train(model, ALIKE, settings=TrainSettings(steps=2, batch_size=3)).work
    assert done.spared == pytest.approx(29 * 2 / 3)
    assert done.computed == pytest.approx(58 - 29 * 2 / 3)


def test_a_model_that_pads_computes_the_rows_of_its_micro_batches() -> None:
    """Rows of 6 and 3 tokens apart: nothing is saved but the padding between them. A class head scores no vocabulary."""
    model = tiny("xlnet", output="head", n_classes=2)
    update = [tokens([7] * 6, id="a", gold=0), tokens([7] * 3, id="b", gold=1)]
    together = train(model, update, settings=TrainSettings(steps=1, batch_size=2)).work
    apart = train(model, update, settings=TrainSettings(steps=1, batch_size=2, micro_batch_tokens=6)).work
    assert (together.padded, together.laid, apart.laid) == (12, 12, 9)
    assert apart.saved == {"packing": 0.25, "prefixes": 0.0, "trunk": 0.0, "logits": None}
