"""How much memory a training takes, and how much of it is computed at once so that it fits.

What a forward pass keeps for the backward pass is measured on three small batches and not derived: which tensors a
layer keeps depends on the family, the precision, what is frozen and the version of every library. It grows with the
tokens of a batch and, where rows are padded and attention is dense, with tokens times the length of a row.

Where not even the longest example fits, blocks keep their input alone (:mod:`formtune.recomputing`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from formtune import processes
from formtune.batches import collate
from formtune.errors import SettingError
from formtune.freezing import blocks_of, trained
from formtune.machine import available_bytes
from formtune.models import Model, width_in
from formtune.objective import N_ROWS
from formtune.processes import local_count
from formtune.tokens import Tokens
from formtune.updates import MICRO_BATCH_TOKENS, TrainSettings, n_computed

# Computed at once: beyond that nothing is gained. Where products are fast, what each micro-batch costs is felt.
MOST_TOKENS = {
    "cpu": {"float32": MICRO_BATCH_TOKENS, "bfloat16": 4096},
    "cuda": {"float32": 16384, "bfloat16": 16384},
}
SHARE = 0.8  # of what is free is taken: others live on the machine too
SLACK = 1.3  # peaks over what is kept: gradients on their way, holes between tensors (measured: 1.1 to 1.6)
PROBES = ((1, 48), (2, 48), (1, 96))  # rows, tokens of a row
STATES = {"adamw": 2, "adam": 2, "sgd": 1, "adafactor": 0}  # numbers that an optimizer keeps for each weight
COPIES = 2  # of what is trained: its gradient, and the weights of the best look
SCORES = 4  # tensors of scores of the vocabulary that are alive together: scores, probabilities, and their gradients


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the user says of memory; None where it is to be found out.

    Attributes:
        memory_bytes: the most that may be taken beside what is taken already.
        micro_batch_tokens: tokens that are computed at once.
        checkpoint_activations: whether blocks are computed a second time in the backward pass.
    """

    memory_bytes: int | None = None
    micro_batch_tokens: int | None = None
    checkpoint_activations: bool | None = None


@dataclass(frozen=True, slots=True)
class Activations:
    """What a forward pass keeps for the backward pass.

    Attributes:
        fixed: bytes whatever the batch (casts of weights).
        per_token: bytes for each token.
        per_pair: bytes for each token and each token of the longest row.
    """

    fixed: float
    per_token: float
    per_pair: float

    def of(self, n_tokens: int, longest: int) -> int:
        """Give the bytes of a batch of so many tokens (padding counted), its longest row of so many."""
        return round(self.fixed + n_tokens * (self.per_token + self.per_pair * longest))

    def most_tokens(self, n_bytes: float, longest: int) -> int:
        """Give the most tokens that a batch may have; the opposite of :meth:`of`."""
        return max(0, int((n_bytes - self.fixed) / max(1.0, self.per_token + self.per_pair * longest)))


def within_memory(
    model: Model, examples: Sequence[Tokens], settings: TrainSettings, *, limits: Limits
) -> TrainSettings:
    """Find out how many tokens are computed at once, and whether blocks are computed twice.

    A training that is taken up again must use the same: they decide which dropout falls on which token. What the user
    has said of both is not looked into.

    Args:
        model: loaded, and not yet trained.
        examples: what it is trained on.
        settings: how, apart from these two.
        limits: what the user says.

    Raises:
        SettingError: where not even the longest example fits, or blocks cannot be computed twice.
    """
    asked, twice = limits.micro_batch_tokens, limits.checkpoint_activations
    if asked is not None and twice is not None:
        return replace(settings, micro_batch_tokens=asked, checkpoint_activations=twice)
    free = limits.memory_bytes if limits.memory_bytes is not None else round(SHARE * _free_bytes(model))
    left = (free - standing_bytes(model, settings)) / SLACK
    pattern = max(examples, key=n_computed)
    longest, kept = n_computed(pattern), activations(model, [pattern])
    ways = [False, True] if twice is None else [twice]
    for way in ways if blocks_of(model) else ways[:1]:
        one = _checkpointed(model, kept) if way else kept
        room, most = one.most_tokens(left, longest), MOST_TOKENS[model.device.type][model.precision]
        if room >= max(longest, asked or 1):  # an example is never cut in two, however long
            return replace(settings, micro_batch_tokens=asked or min(room, most), checkpoint_activations=way)
    raise SettingError(
        f"Training takes about {_gigabytes(free - SLACK * (left - one.of(longest, longest)))} GB, and "
        f"{_gigabytes(free)} GB may be taken.",
        "Freeze more, train adapters (model.lora), shorten model.max_length, or raise training.memory_gb.",
        at="training.memory_gb",
    )


def activations(model: Model, examples: Sequence[Tokens]) -> Activations:
    """Measure what a forward pass keeps, on rows made of the longest example; costs as much as 200 tokens.

    Args:
        model: as it is trained.
        examples: what it is trained on.
    """
    pattern = max(examples, key=n_computed)
    one, two, long = (_kept_bytes(model, [_resized(pattern, length)] * rows) for rows, length in PROBES)
    short = PROBES[0][1]
    per_pair = max(0.0, (long - two) / (2 * short * short))
    per_token = max(0.0, (two - one) / short - short * per_pair)
    return Activations(max(0.0, one - short * (per_token + short * per_pair)), per_token, per_pair)


def _resized(tokens: Tokens, length: int) -> Tokens:
    """Give an example a length, both its sides together, by cutting or repeating it."""
    share = len(tokens.ids_T) / n_computed(tokens)
    own = min(max(1, round(share * length)), length - 1 if tokens.decoder else length)
    decoder = _resized(tokens.decoder, length - own) if tokens.decoder else None
    return replace(
        tokens,
        ids_T=np.resize(tokens.ids_T, own),
        labels_T=np.resize(tokens.labels_T, own),
        weights_T=np.resize(tokens.weights_T, own),
        parts_T=np.resize(tokens.parts_T, own),
        types_T=np.resize(tokens.types_T, own),
        cuts_T=np.resize(tokens.cuts_T, own),
        decoder=decoder,
    )


def _kept_bytes(model: Model, tokens: Sequence[Tokens]) -> int:
    """Add up the memory of what a forward pass keeps for the backward pass, weights not counted."""
    weights = {p.untyped_storage().data_ptr() for p in model.module.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        # A state that its own operation keeps with its history is in a circle of Python and autograd that no collector
        # sees: it would hold all weights below it for ever.
        return tensor.detach()

    trunk, model.trunk = model.trunk, None  # what is frozen keeps nothing, and these are no texts to remember
    model.train(True)
    with torch.autograd.graph.saved_tensors_hooks(note, _same), model.autocast():
        hidden_TD = model.hidden(collate(tokens, causal=model.causal and model.class_head is None))
    model.train(False)
    model.trunk = trunk
    return sum(kept.values()) + hidden_TD.untyped_storage().nbytes()


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _checkpointed(model: Model, kept: Activations) -> Activations:
    """Say what is kept where each block keeps its input alone, and one block at a time all that it computes."""
    n_blocks = sum(len(stack) for stack in blocks_of(model))
    learning = {id(p) for p in trained(model).values()}
    n_trained = sum(any(id(p) in learning for p in block.parameters()) for stack in blocks_of(model) for block in stack)
    inputs = 4.0 * n_trained * width_in(model.module.config)
    share = 1.0 / max(1, min(n_blocks, n_trained))
    return Activations(kept.fixed * share, inputs + kept.per_token * share, kept.per_pair * share)


def standing_bytes(model: Model, settings: TrainSettings) -> int:
    """Add up what a training holds beside the model and its activations, whatever is computed at once.

    Gradients, the optimizer's state, the best weights so far, and scores of the vocabulary. What a frozen trunk gives is
    on disk.
    """
    own = sum(p.numel() * p.element_size() for p in trained(model).values())
    parts = processes.count() if processes.sharded() else 1
    weights = own + (COPIES - 1 + STATES[settings.optimizer]) * own // parts  # the best weights are whole
    head = model.module.get_output_embeddings() if model.class_head is None else None
    scores = 4 * SCORES * N_ROWS[model.device.type] * head.weight.shape[0] if head is not None else 0
    return weights + scores


def _free_bytes(model: Model) -> int:
    if model.device.type == "cuda":
        return int(torch.cuda.mem_get_info(model.device)[0])
    return available_bytes() // local_count()


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f}"
