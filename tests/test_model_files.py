"""What a model's configuration alone tells: its shape, its length, what its decoder begins with."""

import json
from pathlib import Path
from typing import Any

import pytest

from formtune.errors import SettingError
from formtune.model_files import DEFAULT_LENGTH, decoder_start_in, max_length_in, shape_in


def folder_with(tmp_path: Path, **config: Any) -> Path:
    """Write a model folder that holds a configuration and nothing else."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, "encoder"),
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, "encoder"),
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True}, "decoder"),
        ({"model_type": "eurobert", "architectures": ["EuroBertForMaskedLM"]}, "encoder"),
        ({"model_type": "newllama", "architectures": ["NewLlamaForCausalLM"]}, "decoder"),
        ({"model_type": "xlnet"}, "decoder"),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "decoder"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "encoder-decoder"),
    ],
)
def test_the_shape_is_that_of_the_pretraining(config: dict[str, Any], shape: str, tmp_path: Path) -> None:
    """By the head it was saved with, else by its type."""
    assert shape_in(folder_with(tmp_path, **config)) == shape


def test_a_shape_that_cannot_be_told_is_not_guessed(tmp_path: Path) -> None:
    """A wrong guess would train a model on what it never saw."""
    with pytest.raises(SettingError, match=r"config\.json: The configuration does not say .* 'riddle'"):
        shape_in(folder_with(tmp_path, model_type="riddle", architectures=["RiddleModel"]))


def test_the_shortest_limit_counts(tmp_path: Path) -> None:
    """Some tokenizers write a huge number for none."""
    folder = folder_with(tmp_path, max_position_embeddings=512)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 256}))
    assert max_length_in(folder) == 256
    assert max_length_in(folder, 100) == 100
    with pytest.raises(SettingError, match="at most 256 tokens, not 300"):
        max_length_in(folder, 300)

    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    assert max_length_in(folder) == 512
    assert max_length_in(folder_with(tmp_path, model_type="xlnet"), 5000) == 5000
    assert max_length_in(folder) == DEFAULT_LENGTH


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert", "mpnet"])
def test_positions_behind_the_padding_are_not_for_tokens(family: str, tmp_path: Path) -> None:
    """514 entries are 512 tokens where padding is 1, which it also is where it is not told."""
    assert max_length_in(folder_with(tmp_path, model_type=family, max_position_embeddings=514, pad_token_id=1)) == 512
    assert max_length_in(folder_with(tmp_path, model_type=family, max_position_embeddings=514)) == 512
    assert max_length_in(folder_with(tmp_path, model_type="bert", max_position_embeddings=512, pad_token_id=0)) == 512


def test_a_limit_that_is_no_number_does_not_count(tmp_path: Path) -> None:
    """The others do."""
    assert max_length_in(folder_with(tmp_path, max_position_embeddings="many", n_positions=64)) == 64


def test_a_decoder_begins_with_its_start_or_its_padding(tmp_path: Path) -> None:
    """T5 writes both, others one."""
    assert decoder_start_in(folder_with(tmp_path, decoder_start_token_id=3, pad_token_id=0)) == 3
    assert decoder_start_in(folder_with(tmp_path, pad_token_id=0)) == 0
