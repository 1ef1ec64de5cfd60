"""A pretrained model as the rest of formtune sees it: a flat batch in, states and scores out, whatever the family.

Encoders (BERT and its kin), decoders (GPT-2, Llama, Qwen, SmolLM; XLNet through its own two streams) and
encoder-decoders (T5, BART) differ in how tokens must be laid out. They differ here and nowhere else.

Shape letters: T tokens of a flat row, S segments, N chosen places, B rows of a padded batch, L their length,
D width, V vocabulary, K classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from formtune.batches import Batch
from formtune.examples import Output, Shape
from formtune.forests import Forest
from formtune.tokens import Tokenizer
from formtune.trunk import Trunk

HEADS = {  # where a masked-LM class keeps what turns states into scores, by model type
    "bert": "cls",
    "roberta": "lm_head",
    "xlm-roberta": "lm_head",
    "camembert": "lm_head",
    "albert": "predictions",
    "modernbert": "head+decoder",
}


def width_in(config: Any) -> int:
    """Tell how many numbers the state of a token is, as a configuration of ``transformers`` says it."""
    return int(getattr(config, "hidden_size", None) or config.d_model)


class ClassHead(nn.Module):
    """A linear layer over a pooled state: K class scores."""

    def __init__(self, width: int, n_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, n_classes)

    def forward(self, pooled_SD: Tensor) -> Tensor:
        """Score the classes: ``[S, D]`` → ``[S, K]``."""
        scores: Tensor = self.linear(self.dropout(pooled_SD))
        return scores


class Model:
    """A loaded model with its tokenizer; made by :func:`formtune.loading.load_model`.

    Attributes:
        name: as the user gave it.
        module: the ``transformers`` model.
        tokenizer: ours, over the model's own vocabulary.
        shape: encoder, decoder or encoder-decoder.
        output: where answers are read off.
        max_length: most tokens of one path.
        pooling: how a segment becomes one state for the class head: ``"mean"``, ``"first"`` or ``"last"``.
        packs: whether flat rows were proved equal to separate ones, so that no padding is needed.
        training: whether dropout is on, but in what is quiet.
        position_offset: what the model adds to positions (2 in RoBERTa).
        trunk: the cache of its frozen bottom, or None.
        quiet: frozen modules at the bottom, whose dropout stays off while training (cached or not).
        precision: ``"float32"``, or ``"bfloat16"`` for autocast.
        fresh: names of parameters that do not come from the pretrained weights.
        waiting: names of parameters that are trained, but have not joined yet (gradual unfreezing).
        base_digest: digest of the folder it was loaded from.
    """

    def __init__(  # noqa: PLR0913 (what a model is takes that many words)
        self,
        module: Any,
        tokenizer: Tokenizer,
        *,
        name: str,
        shape: Shape,
        output: Output,
        max_length: int,
        class_head: ClassHead | None = None,
        pooling: str = "mean",
    ) -> None:
        self.name = name
        self.module = module
        self.tokenizer = tokenizer
        self.shape = shape
        self.output = output
        self.max_length = max_length
        self.class_head = class_head
        self.pooling = pooling
        self.packs = False
        self.training = False
        self.position_offset = 0
        self.trunk: Trunk | None = None
        self.quiet: tuple[nn.Module, ...] = ()
        self.precision = "float32"
        self.fresh: frozenset[str] = frozenset()
        self.waiting: frozenset[str] = frozenset()
        self.base_digest = ""

    @property
    def family(self) -> str:
        """The model type of its configuration: ``"llama"``, ``"bert"`` ..."""
        return str(self.module.config.model_type)

    @property
    def base(self) -> Any:
        """The part that computes states: the model without its language-model head."""
        return self.module.base_model

    @property
    def body(self) -> Any:
        """What an answer depends on besides its head: an encoder-decoder with a class head uses its encoder alone."""
        return self.module.get_encoder() if self.class_head and self.shape == "encoder-decoder" else self.base

    @property
    def scorer(self) -> list[nn.Module]:
        """What turns states into scores of the vocabulary, in order."""
        if self.shape == "encoder":
            return [getattr(self.module, part) for part in HEADS[self.family].split("+")]
        return [self.module.get_output_embeddings()]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.module.parameters()).device
        return device

    @property
    def causal(self) -> bool:
        """Whether place t is asked for its successor (else for what stands there)."""
        return self.output in ("words", "text") and self.shape != "encoder"

    @property
    def weaves(self) -> bool:
        """Whether what examples share at the beginning can be computed once."""
        return self.causal and self.packs and self.class_head is None

    @property
    def pads(self) -> bool:
        """Whether rows of a batch are padded to the longest."""
        return not self.packs

    @property
    def n_classes(self) -> int:
        """Classes of the head; 0 without one."""
        return self.class_head.linear.out_features if self.class_head else 0

    @property
    def decoder_start_id(self) -> int | None:
        """The id that a decoder side begins with; None but for encoder-decoders."""
        config = self.module.config
        found = getattr(config, "decoder_start_token_id", None)
        return found if found is not None or self.shape != "encoder-decoder" else config.pad_token_id

    def train(self, mode: bool = True) -> None:
        """Set dropout on or off; in the frozen bottom it stays off."""
        if mode and self.training:  # walking through all modules at every update would cost more than a head does
            return
        self.training = mode
        self.module.train(mode)
        if self.class_head:
            self.class_head.train(mode)
        for module in self.quiet:
            module.eval()

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Switch dropout and gradients off for a while."""
        before = self.training
        self.train(False)
        try:
            with torch.no_grad(), self.autocast():
                yield
        finally:
            self.train(before)

    def computing_anew(self) -> AbstractContextManager[None]:
        """Replay no kept states for a while, so that a timing is that of a model which meets its input for the first time."""
        return self.trunk.computing_anew() if self.trunk else nullcontext()

    def autocast(self) -> AbstractContextManager[Any]:
        """Give the context of the chosen precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def hidden(self, batch: Batch) -> Tensor:
        """Compute the last states ``[T, D]`` of a flat batch, real tokens only; gradients flow.

        For an encoder-decoder the T places are the decoder's, unless the model has a class head (then the encoder's).
        """
        if self.shape == "encoder-decoder" and batch.decoder is not None and self.class_head is None:
            return self._encoder_decoder(batch, batch.decoder)
        return self.trunk.hidden(batch, self._run, device=self.device) if self.trunk else self._run(batch)

    def _run(self, batch: Batch) -> Tensor:
        return self._packed(batch) if self.packs else self._padded(batch)

    def logits(self, hidden_ND: Tensor, *, exact: bool = True) -> Tensor:
        """Score the vocabulary at chosen places: ``[N, D]`` → ``[N, V]``, float32.

        Args:
            hidden_ND: their states.
            exact: computed in float32 whatever the precision; a loss does not need that, a choice among words does.
        """
        if not exact:
            return self._logits(hidden_ND).float()
        with torch.autocast(self.device.type, enabled=False):  # in bfloat16 scores of label words would tie
            return self._logits(hidden_ND.float())

    def _logits(self, hidden_ND: Tensor) -> Tensor:
        config, module = self.module.config, self.module
        if getattr(config, "scale_decoder_outputs", False):  # T5 with tied embeddings
            hidden_ND = hidden_ND * config.d_model**-0.5
        scores: Tensor = hidden_ND
        for part in self.scorer:
            scores = part(scores)
        bias = getattr(module, "final_logits_bias", None)  # BART
        return scores if bias is None else scores + bias[0]

    def classes(self, batch: Batch) -> Tensor:
        """Score the classes of each segment of a batch: ``[S, K]``, float32; gradients flow."""
        if self.class_head is None:
            raise TypeError(f"The model was loaded for output {self.output!r}, without a class head.")
        if self.trunk and self.trunk.boundary == "pooled":
            pooled_SD = self.trunk.states(batch, self._states_pooled, device=self.device)
        else:
            pooled_SD = self._states_pooled(batch)
        with torch.autocast(self.device.type, enabled=False):
            scores: Tensor = self.class_head(pooled_SD)
        return scores

    def _states_pooled(self, batch: Batch) -> Tensor:
        return self._pooled(self.hidden(batch).float(), batch)

    def _pooled(self, hidden_TD: Tensor, batch: Batch) -> Tensor:
        if self.pooling != "mean":
            places = batch.starts_S if self.pooling == "first" else batch.ends_S - 1
            return hidden_TD[self._long(places)]
        lengths_S = self._long(batch.ends_S - batch.starts_S)
        owner_T = torch.repeat_interleave(torch.arange(batch.n_segments, device=self.device), lengths_S)
        sums_SD = hidden_TD.new_zeros(batch.n_segments, hidden_TD.shape[1]).index_add(0, owner_T, hidden_TD)
        return sums_SD / lengths_S[:, None]

    def _long(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(self.device)

    def _packed(self, batch: Batch) -> Tensor:
        return self.seeing(batch, Forest(batch, self.device))

    def seeing(self, batch: Batch, segments: object) -> Tensor:
        """Compute the last states ``[T, D]`` of a flat batch, where the attention in use is told what is seen."""
        inputs = {
            "input_ids": self._long(batch.ids_T)[None],
            "position_ids": self._long(batch.positions_T)[None] + self.position_offset,
        }
        if self.family == "bert":
            inputs["token_type_ids"] = self._long(batch.types_T)[None]
        states: Tensor = self.base(**inputs, segments=segments).last_hidden_state[0]
        return states

    def _padded(self, batch: Batch) -> Tensor:
        """Lay each path in a row of its own, and take back the places of its last segment."""
        rows = [np.concatenate([_places(batch, a) for a in batch.path(s)]) for s in range(batch.n_segments)]
        ids_BL, mask_BL = self._rows([batch.ids_T[r] for r in rows])
        if self.family == "xlnet" and self.causal:
            states_BLD = self._xlnet(ids_BL, mask_BL)
        else:
            inputs = {"input_ids": ids_BL, "attention_mask": mask_BL}
            if self.family == "bert":
                inputs["token_type_ids"] = self._rows([batch.types_T[r] for r in rows], filler=0)[0]
            states_BLD = self.body(**inputs)[0]
        own = [len(_places(batch, s)) for s in range(batch.n_segments)]
        return torch.cat([states_BLD[i, len(r) - n : len(r)] for i, (r, n) in enumerate(zip(rows, own, strict=True))])

    def _rows(self, pieces: Sequence[np.ndarray], *, filler: int | None = None) -> tuple[Tensor, Tensor]:
        """Pad on the right: ids ``[B, L]`` and a mask that is 1 where a token stands."""
        pad = (self.tokenizer.pad_id or 0) if filler is None else filler
        ids_BL = np.full((len(pieces), max(map(len, pieces))), pad, dtype=np.int64)
        mask_BL = np.zeros_like(ids_BL)
        for row, piece in enumerate(pieces):
            ids_BL[row, : len(piece)] = piece
            mask_BL[row, : len(piece)] = 1
        return self._long(ids_BL), self._long(mask_BL)

    def _encoder_decoder(self, source: Batch, target: Batch) -> Tensor:
        seen_BLD, mask_BL = self._seen(source)
        places = [_places(target, s) for s in range(target.n_segments)]
        target_BL, _ = self._rows([target.ids_T[p] for p in places])
        # The decoder is causal, so what stands after a row's end cannot change it and needs no mask.
        states_BLD = self.module.get_decoder()(
            input_ids=target_BL, encoder_hidden_states=seen_BLD, encoder_attention_mask=mask_BL
        )[0]
        return torch.cat([states_BLD[i, : len(p)] for i, p in enumerate(places)])

    def _seen(self, source: Batch) -> tuple[Tensor, Tensor]:
        """Give what the decoder sees of each source, padded: ``[B, L, D]``, and its mask."""
        ids_BL, mask_BL = self._rows([source.ids_T[_places(source, s)] for s in range(source.n_segments)])
        if self.trunk is None or self.trunk.boundary != "source":
            return self.module.get_encoder()(input_ids=ids_BL, attention_mask=mask_BL)[0], mask_BL
        states_TD = self.trunk.states(source, self._sources, device=self.device)
        seen_BLD = states_TD.new_zeros(*ids_BL.shape, states_TD.shape[1])
        seen_BLD[mask_BL.bool()] = states_TD
        return seen_BLD, mask_BL

    def _sources(self, source: Batch) -> Tensor:
        """Compute the encoder's states ``[T, D]`` of sources side by side."""
        ids_BL, mask_BL = self._rows([source.ids_T[_places(source, s)] for s in range(source.n_segments)])
        states_BLD: Tensor = self.module.get_encoder()(input_ids=ids_BL, attention_mask=mask_BL)[0]
        return states_BLD[mask_BL.bool()]

    def _xlnet(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Ask XLNet left to right: the state at place t is the query stream of place t + 1, which sees 0 ... t."""
        n_rows, length = ids_BL.shape
        more = ids_BL.new_zeros(n_rows, 1)
        steps = torch.arange(length + 1, device=self.device)
        hidden_from = (steps[None, :] >= steps[:, None]).float().expand(n_rows, -1, -1)
        wanted = torch.eye(length + 1, device=self.device)[1:].expand(n_rows, -1, -1)
        states: Tensor = self.base(
            input_ids=torch.cat([ids_BL, more], 1),
            attention_mask=torch.cat([mask_BL, more + 1], 1).float(),
            perm_mask=hidden_from.contiguous(),
            target_mapping=wanted.contiguous(),
        )[0]
        return states

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        tokens_per_batch: int = 4096,
    ) -> list[list[int]]:
        """Continue each prompt greedily; for an encoder-decoder the prompt is the source.

        Args:
            prompts: ids of each prompt.
            max_new_tokens: the most that is added to each.
            stop_ids: ids that end an answer; not part of what is returned.
            tokens_per_batch: how much of the prompts is read at once.

        Returns:
            The new ids of each prompt, without the stop.
        """
        from formtune.generation import generate_greedily

        with self.inference():
            return generate_greedily(
                self,
                prompts,
                max_new_tokens=max_new_tokens,
                stop_ids=stop_ids,
                tokens_per_batch=tokens_per_batch,
            )

    def stream(
        self,
        prompt: Sequence[int],
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[int]:
        """Continue one prompt token by token, as soon as each is known; greedy at temperature 0.

        Closing the iterator stops the computation within one step.
        """
        from formtune.generation import stream_tokens

        return stream_tokens(
            self,
            prompt,
            max_new_tokens=max_new_tokens,
            stop_ids=stop_ids,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )

    @contextmanager
    def attending(self, name: str) -> Iterator[None]:
        """Use another attention of ``transformers`` for a while (``"sdpa"`` reads padding masks)."""
        before = self.module.config._attn_implementation
        self.module.set_attn_implementation(name)
        try:
            yield
        finally:
            self.module.set_attn_implementation(before)


def _places(batch: Batch, segment: int) -> np.ndarray:
    return np.arange(batch.starts_S[segment], batch.ends_S[segment])
