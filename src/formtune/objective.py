"""The loss: what is asked of a batch, at the places that are asked, a bounded part of the vocabulary's scores at a time.

Shape letters: T tokens of a flat row, E examples, S segments, N places that are asked for something, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from formtune.batches import Batch, collate
from formtune.machine import return_memory
from formtune.models import Model
from formtune.pieces import summed
from formtune.recomputing import blocks_to_recompute, recomputed
from formtune.tokens import Tokens
from formtune.updates import n_computed
from formtune.weaving import Asked, asked_of, woven
from formtune.work import Work, padded_places

N_ROWS = {"cpu": 512, "cuda": 4096}  # rows of the vocabulary that are whole at a time


class Objective(nn.Module):
    """The model with its loss, as one module: what FSDP takes for its root."""

    def __init__(self, model: Model, *, label_smoothing: float, shares: bool = True, recomputes: bool = False) -> None:
        super().__init__()
        self.model = model
        self.module = model.module
        self.class_head = model.class_head
        self.label_smoothing = label_smoothing
        self.shares = shares and model.weaves
        self.recomputed = blocks_to_recompute(model) if recomputes else []
        if recomputes:
            return_memory()

    def forward(self, tokens: Sequence[Tokens], factors_E: np.ndarray) -> tuple[Tensor, Work]:
        """Add up the losses of examples.

        Args:
            tokens: the examples of a micro-batch.
            factors_E: float32, what the loss of each counts; holds the update's denominator.

        Returns:
            The loss, and what was computed, but for what others would compute of the whole update.
        """
        before = _through_trunk(self.model)
        with self.model.autocast(), recomputed(self.recomputed):
            if self.class_head is not None:
                batch, n_scored = collate(tokens, causal=False), 0
                loss = self._of_classes(batch, factors_E)
            else:
                batch, asked = self._laid_out(tokens, factors_E)
                loss, n_scored = self._of_tokens(self.model.hidden(batch), asked), len(asked.places_N)
        apart = padded_places(tokens) if self.model.pads else sum(map(n_computed, tokens))
        return loss, Work(
            apart=apart,
            laid=apart if self.model.pads else batch.n_tokens,
            spared=spared(self.model, len(batch.ids_T) - (_through_trunk(self.model) - before)),
            scored=n_scored,
        )

    def _of_classes(self, batch: Batch, factors_E: np.ndarray) -> Tensor:
        scores_SK = self.model.classes(batch)
        losses_S = F.cross_entropy(
            scores_SK.float(), self._here(batch.golds_S), reduction="none", label_smoothing=self.label_smoothing
        )
        return (losses_S * self._here(factors_E)).sum()

    def _laid_out(self, tokens: Sequence[Tokens], factors_E: np.ndarray) -> tuple[Batch, Asked]:
        if self.shares:
            return woven(tokens, factors_E)
        batch = collate(tokens, causal=self.model.causal)
        return batch, asked_of(batch, factors_E)

    def _of_tokens(self, hidden_TD: Tensor, asked: Asked) -> Tensor:
        """Add up the losses of what is asked, a bounded number of rows of the vocabulary at a time."""
        states_ND = hidden_TD[self._here(asked.places_N)]
        labels_N, weights_N = self._here(asked.labels_N), self._here(asked.weights_N)

        def piece(states: Tensor, rows: slice) -> Tensor:
            logits_NV = self.model.logits(states, exact=False)
            losses_N = F.cross_entropy(
                logits_NV, labels_N[rows], reduction="none", label_smoothing=self.label_smoothing
            )
            return (losses_N * weights_N[rows]).sum()

        n_rows = N_ROWS[hidden_TD.device.type]
        pieces = [slice(start, start + n_rows) for start in range(0, len(states_ND), n_rows)]
        if torch.is_grad_enabled() and len(pieces) > 1:
            learned = [p for part in self.model.scorer for p in part.parameters() if p.requires_grad]
            if learned or states_ND.requires_grad:
                return summed(piece, states_ND, learned, pieces=pieces)
        losses = [piece(states_ND[rows], rows) for rows in pieces]
        nothing = hidden_TD[:0].float().sum()  # has a gradient: an example may ask for nothing
        return torch.stack([nothing, *losses]).sum()

    def _here(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.model.device)


def _through_trunk(model: Model) -> int:
    """Count the tokens that have passed the frozen trunk so far."""
    return model.trunk.n_computed if model.trunk else 0


def spared(model: Model, n_replayed: int) -> float:
    """Say what replaying saves: tokens, times the share of the blocks that they do not pass."""
    return n_replayed * model.trunk.share if model.trunk else 0.0
