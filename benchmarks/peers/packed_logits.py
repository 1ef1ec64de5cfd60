"""A random Llama, and how far its logits of packed sequences are from those of each sequence alone."""

from collections.abc import Sequence

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def model_of(n_vocabulary: int) -> LlamaForCausalLM:
    """Make a model whose logits depend on all that is attended to."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    settings = LlamaConfig(
        **shape, num_key_value_heads=2, vocab_size=n_vocabulary, attn_implementation="sdpa", initializer_range=0.5
    )
    return LlamaForCausalLM(settings).eval()


@torch.no_grad()
def compared(model: LlamaForCausalLM, packed: torch.Tensor, sequences: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Give the largest difference of logits, and the largest logit.

    Args:
        model: which.
        packed: its logits of all sequences, one behind the other, padding left away.
        sequences: their ids.
    """
    alone = torch.cat([model(input_ids=torch.tensor([ids])).logits[0] for ids in sequences])
    return float((alone - packed).abs().max()), float(alone.abs().max())
