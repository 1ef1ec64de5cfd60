"""Answers written token by token: many at once, or one as a stream.

Many at once: prompts are read in one flat row, what they share at the beginning once; then every text gets one token a
step. A text that is done leaves and the next prompt takes its place. Encoder-decoders read each source once; decoders
that cannot be packed are left to ``transformers``. Decision 0018 has the figures.

Shape letters: B rows of a padded batch, L their length, R texts that are written, V vocabulary.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from formtune import key_values
from formtune.batches import branched, by_budget, rooted
from formtune.key_values import KeyValues, Reading
from formtune.weaving import Trie, places_of

if TYPE_CHECKING:  # models imports this module inside its methods
    from formtune.models import Model


Steps = Generator[Tensor, int, None]  # gives the next scores [V], takes the token that was chosen
Prompt = tuple[int, ...]

MOST_ROWS = 128  # texts written at once: from there on a token gets hardly cheaper
MOST_PLACES = 16_384  # places whose keys and values are kept: in small models about the memory of their weights


class _Texts:
    """Texts that are being written, each until it is stopped or as long as it may be.

    Attributes:
        written: prompt → its answer so far.
        open: the prompts whose answers are not done, in the order of the rows that compute them.
    """

    def __init__(self, *, max_new_tokens: int, stop_ids: Sequence[int]) -> None:
        self.max_new_tokens = max_new_tokens
        self.stop_ids = list(stop_ids)
        self.written: dict[Prompt, list[int]] = {}
        self.open: list[Prompt] = []

    def begin(self, prompts: Sequence[Prompt]) -> None:
        """Open an empty answer to each prompt."""
        self.open += prompts
        self.written |= {prompt: [] for prompt in prompts}

    def take(self, scores_RV: Tensor, *, first: int = 0) -> list[int]:
        """Write the likeliest token of each row from ``first`` on, and give the rows that are done, the last first."""
        done = []
        for row, token in enumerate(scores_RV.argmax(1).tolist(), first):
            answer = self.written[self.open[row]]
            if token not in self.stop_ids:
                answer.append(token)
            if token in self.stop_ids or len(answer) == self.max_new_tokens:
                done.append(row)
        return done[::-1]

    def close(self, row: int) -> None:
        """Give the row of an answer that is done to the last one."""
        self.open[row] = self.open[-1]
        self.open.pop()

    def newest(self) -> list[int]:
        """List the last token of every open answer."""
        return [self.written[prompt][-1] for prompt in self.open]


def generate_greedily(
    model: "Model",
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    tokens_per_batch: int,
) -> list[list[int]]:
    """Continue every prompt with the likeliest token at each step (see :meth:`Model.generate`)."""
    texts = _Texts(max_new_tokens=max_new_tokens, stop_ids=stop_ids)
    asked = [tuple(map(int, prompt)) for prompt in prompts]
    different = sorted(set(asked), key=lambda prompt: (-len(prompt), prompt))
    if max_new_tokens < 1 or not different:
        return [[] for _ in prompts]
    if model.shape == "encoder-decoder":
        _answer(model, different, texts, tokens_per_batch=tokens_per_batch)
    elif model.packs:
        _continue(model, different, texts, tokens_per_batch=tokens_per_batch)
    elif model.family == "xlnet":  # its two streams have no key-value cache worth the name
        for prompt in different:
            answer = stream_tokens(model, prompt, max_new_tokens=max_new_tokens, stop_ids=stop_ids)
            texts.written[prompt] = list(answer)
    else:
        _leave(model, different, texts, tokens_per_batch=tokens_per_batch)
    return [list(texts.written[prompt]) for prompt in asked]


def _continue(model: "Model", prompts: Sequence[Prompt], texts: _Texts, *, tokens_per_batch: int) -> None:
    """Write behind the prompts of a model that packs."""
    kept, waiting = KeyValues(), list(prompts)
    key_values.install()
    with model.attending(key_values.NAME):
        while texts.open or waiting:
            n_places = max(map(len, [*texts.open, *waiting[:1]])) + texts.max_new_tokens
            n_rows = _n_rows(n_places)
            first = len(texts.open)
            fresh = _next(waiting, n_free=n_rows - first, n_rows=n_rows, tokens_per_batch=tokens_per_batch)
            if fresh:
                del waiting[: len(fresh)]
                texts.begin(fresh)
                scores_RV = _read(model, kept, fresh, n_rows=n_rows, n_places=n_places)
            else:
                first = 0
                scores_RV = _step(model, kept, texts.newest())
            for row in texts.take(scores_RV, first=first):
                texts.close(row)
                kept.drop(row)


def _n_rows(n_places: int) -> int:
    """Say how many texts of so many places are written at once: a power of two, so that it seldom changes."""
    return min(MOST_ROWS, 1 << max(0, (MOST_PLACES // n_places).bit_length() - 1))


def _next(waiting: Sequence[Prompt], *, n_free: int, n_rows: int, tokens_per_batch: int) -> Sequence[Prompt]:
    """Choose what is read next: nothing before a quarter of the rows is free, since reading few is no cheaper."""
    if not waiting or n_free < max(1, n_rows // 4):
        return ()
    n = min(n_free, len(waiting))
    while n > 1 and sum(map(len, _trie(waiting[:n]).pieces)) > tokens_per_batch:
        n //= 2
    return waiting[:n]


def _trie(prompts: Sequence[Prompt]) -> Trie:
    return Trie([np.array(prompt, dtype=np.int64) for prompt in prompts])


def _read(model: "Model", kept: KeyValues, prompts: Sequence[Prompt], *, n_rows: int, n_places: int) -> Tensor:
    """Read prompts, and give the scores ``[R, V]`` of what comes behind each."""
    trie = _trie(prompts)
    batch = rooted(trie.pieces, trie.parents, trie.offsets)
    reading = Reading(batch, model.device)
    hidden_TD = model.seeing(batch, reading)
    kept.add(reading, [places_of(batch, leaf) for leaf in trie.leaves], n_rows=n_rows, n_places=n_places)
    return model.logits(hidden_TD[torch.from_numpy(batch.ends_S[trie.leaves] - 1).to(model.device)])


def _step(model: "Model", kept: KeyValues, newest: Sequence[int]) -> Tensor:
    """Let each text's last token be seen, and give the scores ``[R, V]`` of what comes behind it."""
    batch = rooted([np.array([token]) for token in newest], [-1] * len(newest), kept.lengths)
    kept.extend(model.device)
    return model.logits(model.seeing(batch, kept))


def _answer(model: "Model", sources: Sequence[Prompt], texts: _Texts, *, tokens_per_batch: int) -> None:
    """Write the target side of an encoder-decoder, each source read once."""
    costs = [len(source) + texts.max_new_tokens for source in sources]
    for group in by_budget(costs, tokens_per_batch, sort=True, padded=True):
        texts.begin([sources[i] for i in group])
        ids_BL, mask_BL = _padded(texts.open, model.tokenizer.pad_id or 0, side="right", device=model.device)
        seen_BLD = model.module.get_encoder()(input_ids=ids_BL, attention_mask=mask_BL)[0]
        past, fresh = None, [model.decoder_start_id or 0] * len(group)
        while texts.open:
            out = model.module.get_decoder()(
                input_ids=torch.tensor(fresh, device=model.device)[:, None],
                encoder_hidden_states=seen_BLD,
                encoder_attention_mask=mask_BL,
                past_key_values=past,
                use_cache=True,
            )
            rows = list(range(len(texts.open)))
            for row in texts.take(model.logits(out.last_hidden_state[:, -1])):
                texts.close(row)
                rows[row] = rows[-1]
                rows.pop()
            past = out.past_key_values
            if len(rows) < len(mask_BL):
                stay = torch.tensor(rows, dtype=torch.long, device=model.device)
                past.batch_select_indices(stay)
                seen_BLD, mask_BL = seen_BLD[stay], mask_BL[stay]
            fresh = texts.newest()


def _leave(model: "Model", prompts: Sequence[Prompt], texts: _Texts, *, tokens_per_batch: int) -> None:
    """Let ``transformers`` write, in batches padded on the left."""
    costs = [len(prompt) + texts.max_new_tokens for prompt in prompts]
    for group in by_budget(costs, tokens_per_batch, sort=True, padded=True):
        batch = [prompts[i] for i in group]
        ids_BL, mask_BL = _padded(batch, model.tokenizer.pad_id or 0, side="left", device=model.device)
        with model.attending("sdpa"):
            out_BL = model.module.generate(
                input_ids=ids_BL,
                attention_mask=mask_BL,
                generation_config=_settings(model, texts.max_new_tokens, texts.stop_ids),
            )
        rows = (_until(row[ids_BL.shape[1] :].tolist(), texts.stop_ids) for row in out_BL)
        texts.written |= dict(zip(batch, rows, strict=True))


def _settings(model: "Model", max_new_tokens: int, stop_ids: Sequence[int]) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=model.tokenizer.pad_id or 0,
        bos_token_id=model.tokenizer.bos_id,
        decoder_start_token_id=model.decoder_start_id,
    )


def _padded(prompts: Sequence[Sequence[int]], pad: int, *, side: str, device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(map(len, prompts))
    ids_BL = torch.full((len(prompts), width), pad, dtype=torch.long, device=device)
    mask_BL = torch.zeros_like(ids_BL)
    for row, prompt in enumerate(prompts):
        places = slice(width - len(prompt), width) if side == "left" else slice(0, len(prompt))
        ids_BL[row, places] = torch.tensor(list(prompt), device=device)
        mask_BL[row, places] = 1
    return ids_BL, mask_BL


def _until(ids: list[int], stop_ids: Sequence[int]) -> list[int]:
    ends = [ids.index(stop) for stop in stop_ids if stop in ids]
    return ids[: min(ends)] if ends else ids


def stream_tokens(  # noqa: PLR0913 (how an answer is drawn has that many sides)
    model: "Model",
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
) -> Iterator[int]:
    """Continue one prompt, giving each token as soon as it is known (see :meth:`Model.stream`)."""
    chance = torch.Generator(device="cpu")
    chance.manual_seed(seed) if seed is not None else chance.seed()
    steps = _steps(model, list(prompt), max_new_tokens=max_new_tokens)
    token = -1
    for n_written in range(max_new_tokens):
        scores_V = steps.send(token) if n_written else next(steps)
        token = _choose(scores_V, temperature=temperature, top_p=top_p, chance=chance)
        if token in stop_ids:
            return
        yield token


def _steps(model: "Model", prompt: list[int], *, max_new_tokens: int) -> Steps:
    """Make the loop that gives the next scores ``[V]`` and takes the token that was chosen.

    Each is computed as where many texts are written at once, so that an answer is the same however it was asked for.
    """
    if model.shape == "encoder-decoder":
        return _steps_encoder_decoder(model, prompt)
    if model.packs:
        return _steps_packed(model, prompt, n_places=len(prompt) + max_new_tokens)
    if model.family == "xlnet":
        return _steps_anew(model, prompt)
    return _steps_cached(model, prompt)


def _steps_packed(model: "Model", prompt: list[int], *, n_places: int) -> Steps:
    kept = KeyValues()
    key_values.install()
    with model.inference(), model.attending(key_values.NAME):
        scores_RV = _read(model, kept, [tuple(prompt)], n_rows=1, n_places=n_places)
    while True:
        token = yield scores_RV[0]
        with model.inference(), model.attending(key_values.NAME):
            scores_RV = _step(model, kept, [token])


def _steps_cached(model: "Model", prompt: list[int]) -> Steps:
    past, fresh = None, prompt
    while True:
        with model.inference(), model.attending("sdpa"):
            ids = torch.tensor([fresh], device=model.device)
            out = model.module(input_ids=ids, past_key_values=past, use_cache=True, logits_to_keep=1)
        past = out.past_key_values
        fresh = [(yield out.logits[0, -1].float())]


def _steps_encoder_decoder(model: "Model", prompt: list[int]) -> Steps:
    with model.inference():
        seen_BLD = model.module.get_encoder()(input_ids=torch.tensor([prompt], device=model.device))[0]
    past, fresh = None, [model.decoder_start_id or 0]
    while True:
        with model.inference():
            out = model.module.get_decoder()(
                input_ids=torch.tensor([fresh], device=model.device),
                encoder_hidden_states=seen_BLD,
                past_key_values=past,
                use_cache=True,
            )
            scores_V = model.logits(out.last_hidden_state[:, -1])[0]
        past = out.past_key_values
        fresh = [(yield scores_V)]


def _steps_anew(model: "Model", prompt: list[int]) -> Steps:
    ids = list(prompt)
    while True:
        with model.inference():
            hidden_TD = model.hidden(branched([np.array(ids)], [[]]))
            scores_V = model.logits(hidden_TD[-1:])[0]
        ids.append((yield scores_V))


def _choose(scores_V: Tensor, *, temperature: float, top_p: float, chance: torch.Generator) -> int:
    """Take the likeliest token, or draw from the smallest set that holds ``top_p`` of the mass (Holtzman 2020)."""
    if temperature <= 0:
        return int(scores_V.argmax())
    mass_V, order_V = torch.softmax(scores_V.cpu() / temperature, 0).sort(descending=True)
    mass_V[mass_V.cumsum(0) - mass_V >= top_p] = 0
    return int(order_V[torch.multinomial(mass_V, 1, generator=chance)])
