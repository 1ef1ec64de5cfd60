"""How many floating-point operations a micro-batch takes, forward and backward, from the shapes of a model's weights.

A product of n places with w weights takes 2·n·w operations forward, as many again to find the gradient of its input, and
as many for that of its weights: 6 for each weight and token (Kaplan et al. 2020, section 2.1). The last are spared where
weights are frozen, the ones before below everything that is trained, and all of them where the trunk is replayed.

Attention multiplies queries with keys and shares with values: 4·p·d operations for p pairs and heads of width d
altogether, and twice as many backward (Chowdhery et al. 2022, appendix B). Pairs are those that are computed: every key
of the group that a segment attends in, whether seen or masked; of models that pad, of the row.

The scores of the vocabulary take a product for each place that is asked, the forward one twice where there are so many
that they are computed anew in the backward pass. Norms, activations, softmax and the optimizer are not counted: they are
few operations beside these, and wait for memory.

What leaves these rules a little: low-rank adapters need no gradient of what enters the lowest of them (2 % of a model of
three blocks), and XLNet's two streams share some products (15 %). Gradual unfreezing is counted as if all had joined.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from formtune.batches import Batch
from formtune.forests import grouped
from formtune.freezing import blocks_of, body_ids, trained
from formtune.models import Model, width_in


@dataclass(frozen=True, slots=True)
class Passage:
    """What runs through a stack of blocks.

    Attributes:
        places: tokens, padding included.
        pairs: queries times keys in a block.
        sources: places of the other side that keys and values of a decoder are made of.
    """

    places: int = 0
    pairs: int = 0
    sources: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """What a micro-batch asks of a model.

    Attributes:
        stacks: what runs through each stack of blocks, an encoder's first.
        trunk: what runs through the frozen trunk beside that, where its outputs are cached; else None.
        scored: places whose scores over the vocabulary are computed.
        classed: segments whose classes are scored.
    """

    stacks: tuple[Passage, ...]
    trunk: Passage | None
    scored: int
    classed: int


@dataclass(frozen=True, slots=True)
class _Block:
    """The weights of a block: how many multiply each place, how many each place of the other side, how many learn.

    Whether a gradient goes through it, and whether one goes to the other side.
    """

    here: int
    there: int
    learned: int
    learned_there: int
    backward: bool
    backward_there: bool
    again: bool


class Flops:
    """Counts operations for one model, as it is frozen and adapted now.

    Args:
        model: whose.
        recomputes: whether blocks that learn are computed a second time in the backward pass.

    Attributes:
        n_frozen: blocks of the trunk whose outputs are cached.
        n_blocks: blocks of its stack.
    """

    def __init__(self, model: Model, *, recomputes: bool = False) -> None:
        config = model.module.config
        heads = getattr(config, "num_attention_heads", None) or config.num_heads
        head = getattr(config, "head_dim", None) or getattr(config, "d_kv", None)
        self._width = int(heads * head) if head else width_in(config)
        self._streams = 2 if model.family == "xlnet" and model.causal else 1  # what is read, and what is asked
        self._products = 4 if model.family == "xlnet" else 2  # XLNet scores positions too, twice as many as keys
        self._recomputes = recomputes
        self._learns = {id(p) for p in trained(model).values()}
        self._blocks = self._stacks(model)
        self.n_blocks = len(self._blocks[0])
        self.n_frozen = round(model.trunk.share * self.n_blocks) if model.trunk else 0
        head = [] if model.class_head else model.scorer
        self._vocabulary = _numbers(head)
        self._vocabulary_learned = _numbers(head, only=self._learns)
        self._classes = _numbers([model.class_head]) if model.class_head else 0
        self._body_learns = bool(self._learns & body_ids(model))
        self._vocabulary_passed = self._vocabulary if self._body_learns else _above_learned(head, self._learns)

    def _stacks(self, model: Model) -> list[list[_Block]]:
        """Take stock of every stack that is used; a gradient goes down to the lowest thing that is trained."""
        used = {id(p) for p in model.body.parameters()}
        found = [stack for stack in blocks_of(model) if all(id(p) in used for p in stack.parameters())]
        if not found:  # blocks that share their weights
            layer = self._block(_without_embeddings(model.body), below=True, other_side=False)
            return [[layer] * int(model.module.config.num_hidden_layers)]
        below = any(id(p) in self._learns for p in model.base.get_input_embeddings().parameters())
        stacks: list[list[_Block]] = []
        for stack in found:
            stacks.append([])
            other_side = below
            for block in stack:
                below = below or any(id(p) in self._learns for p in block.parameters())
                stacks[-1].append(self._block([block], below=below, other_side=other_side))
        return stacks

    def _block(self, modules: Sequence[nn.Module], *, below: bool, other_side: bool) -> _Block:
        cross = [m for outer in modules for name, m in outer.named_modules() if _reads_source(name)]
        there, there_learned = _numbers(cross), _numbers(cross, only=self._learns)
        # Both streams of XLNet look at the keys and values of one.
        once = [p for m in modules for n, p in m.named_parameters() if n.endswith(("rel_attn.k", "rel_attn.v"))]
        spared = [p.numel() // 2 for p in once] if self._streams == 2 else []
        here = _numbers(modules) - there - sum(spared)
        learned = _numbers(modules, only=self._learns) - there_learned
        learned -= sum(n for n, p in zip(spared, once, strict=False) if id(p) in self._learns)
        return _Block(here, there, learned, there_learned, below, other_side, self._recomputes and learned > 0)

    def of(self, load: Load) -> "Operations":
        """Count the operations of a micro-batch."""
        first, *others = self._blocks
        kept = first[: self.n_frozen] if load.trunk is not None else []  # of the first stack: no decoder is replayed
        trunk = sum(self._forward(block, load.trunk or Passage()) for block in kept)
        rest = self._scores(load)
        for stack, passage in zip((first[len(kept) :], *others), load.stacks, strict=True):
            rest += sum(self._forward(block, passage) + self._backward(block, passage) for block in stack)
        return Operations(trunk, rest)

    def _forward(self, block: _Block, passage: Passage) -> float:
        weights = block.here * passage.places + block.there * passage.sources
        return 2.0 * self._streams * (weights + self._products * self._width * passage.pairs)

    def _backward(self, block: _Block, passage: Passage) -> float:
        if not block.backward:
            return 0.0
        there = block.there * block.backward_there + block.learned_there
        weights = (block.here + block.learned) * passage.places + there * passage.sources
        twice = self._forward(block, passage) if block.again else 0.0
        return twice + 2.0 * self._streams * (weights + 2 * self._products * self._width * passage.pairs)

    def _scores(self, load: Load) -> float:
        scores = 2.0 * load.scored * (self._vocabulary + self._vocabulary_passed + self._vocabulary_learned)
        return scores + 2.0 * load.classed * self._classes * (2 + self._body_learns)


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations of a micro-batch: those of the frozen trunk where its outputs are cached, and all others."""

    trunk: float
    rest: float


def _reads_source(name: str) -> bool:
    """Tell whether a module of a decoder's block multiplies the places of the encoder: T5's, BART's and their kin."""
    parts = name.split(".")
    return any(p in ("EncDecAttention", "encoder_attn") for p in parts) and parts[-1] in ("k", "v", "k_proj", "v_proj")


def _without_embeddings(module: nn.Module) -> list[nn.Module]:
    return [m for name, m in module.named_children() if "embeddings" not in name and name != "pooler"]


def _numbers(modules: Iterable[nn.Module], *, only: set[int] | None = None) -> int:
    """Count the numbers of matrices, tables that are looked up not; ``only`` those of some parameters."""
    tables = {id(p) for m in modules for e in m.modules() if isinstance(e, nn.Embedding) for p in e.parameters()}
    found = {id(p): p.numel() for m in modules for p in m.parameters() if p.dim() > 1 and id(p) not in tables}
    return sum(n for p, n in found.items() if only is None or p in only)


def _above_learned(modules: Sequence[nn.Module], learned: set[int]) -> int:
    """Count the numbers of the matrices above the first that is learned: a gradient goes down through them."""
    matrices = {id(p): p.numel() for module in modules for p in module.parameters() if p.dim() > 1}
    above = itertools.dropwhile(lambda id: id not in learned, matrices)
    next(above, None)
    return sum(matrices[id] for id in above)


def passages(model: Model, batch: Batch) -> tuple[Passage, ...]:
    """Say what a batch sends through each stack of blocks."""
    if model.packs:
        return (Passage(batch.n_tokens, sum(g.n_queries * g.n_keys for g in grouped(batch))),)
    n_rows, longest = batch.n_segments, int((batch.ends_S - batch.starts_S).max())
    longest += model.family == "xlnet" and model.causal  # a row has one place more, which asks for its last token
    own = Passage(n_rows * longest, n_rows * longest**2)
    if batch.decoder is None or model.class_head:
        return (own,)
    written = int((batch.decoder.ends_S - batch.decoder.starts_S).max())
    return own, Passage(n_rows * written, n_rows * written * (written + longest), own.places)
