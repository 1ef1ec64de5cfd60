"""The loss: what is asked of a batch, at the places that are asked, a bounded part of the vocabulary's scores at a time.

Shape letters: T tokens of a flat row, E examples, S segments, N places that are asked for something, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from formtune.batches import Batch, collate
from formtune.models import Model
from formtune.tokens import Tokens
from formtune.weaving import Asked, asked_of, woven

N_ROWS = 512  # rows of the vocabulary that are whole at a time


class Objective(nn.Module):
    """The model with its loss, as one module: what accelerate wraps for several processes."""

    def __init__(self, model: Model, *, label_smoothing: float, shares: bool = True) -> None:
        super().__init__()
        self.model = model
        self.module = model.module
        self.class_head = model.class_head
        self.label_smoothing = label_smoothing
        self.shares = shares and model.weaves

    def forward(self, tokens: Sequence[Tokens], factors_E: np.ndarray) -> tuple[Tensor, int]:
        """Add up the losses of examples.

        Args:
            tokens: the examples of a micro-batch.
            factors_E: float32, what the loss of each counts; holds the update's denominator.

        Returns:
            The loss, and how many tokens were computed.
        """
        with self.model.autocast():
            if self.class_head is not None:
                return self._of_classes(tokens, factors_E)
            batch, asked = self._laid_out(tokens, factors_E)
            hidden_TD = self.model.hidden(batch)
            return self._of_tokens(hidden_TD, asked), batch.n_tokens

    def _of_classes(self, tokens: Sequence[Tokens], factors_E: np.ndarray) -> tuple[Tensor, int]:
        batch = collate(tokens, causal=False)
        scores_SK = self.model.classes(batch)
        losses_S = F.cross_entropy(
            scores_SK.float(), self._here(batch.golds_S), reduction="none", label_smoothing=self.label_smoothing
        )
        return (losses_S * self._here(factors_E)).sum(), batch.n_tokens

    def _laid_out(self, tokens: Sequence[Tokens], factors_E: np.ndarray) -> tuple[Batch, Asked]:
        if self.shares:
            return woven(tokens, factors_E)
        batch = collate(tokens, causal=self.model.causal)
        return batch, asked_of(batch, factors_E)

    def _of_tokens(self, hidden_TD: Tensor, asked: Asked) -> Tensor:
        """Add up the losses of what is asked, a bounded number of rows of the vocabulary at a time."""
        losses = [hidden_TD.new_zeros((), dtype=torch.float32)]
        for start in range(0, len(asked.places_N), N_ROWS):
            rows = slice(start, start + N_ROWS)
            chunk = (self._here(asked.labels_N[rows]), self._here(asked.weights_N[rows]))
            states_ND = hidden_TD[self._here(asked.places_N[rows])]
            if torch.is_grad_enabled() and len(asked.places_N) > N_ROWS:
                losses.append(checkpoint(self._chunk, states_ND, *chunk, use_reentrant=False))
            else:
                losses.append(self._chunk(states_ND, *chunk))
        return torch.stack(losses).sum()

    def _chunk(self, states_ND: Tensor, labels_N: Tensor, weights_N: Tensor) -> Tensor:
        logits_NV = self.model.logits(states_ND, exact=False)
        losses_N = F.cross_entropy(logits_NV, labels_N, reduction="none", label_smoothing=self.label_smoothing)
        return (losses_N * weights_N).sum()

    def _here(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.model.device)
