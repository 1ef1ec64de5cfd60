"""Answers written token by token: many at once, or one as a stream."""

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from formtune.batches import forest

if TYPE_CHECKING:  # models imports this module inside its methods
    from formtune.models import Model


Steps = Generator[Tensor, int, None]  # gives the next scores [V], takes the token that was chosen


def generate_greedily(
    model: "Model", prompts: Sequence[Sequence[int]], *, max_new_tokens: int, stop_ids: Sequence[int]
) -> list[list[int]]:
    """Continue every prompt with the likeliest token at each step (see :meth:`Model.generate`)."""
    if not prompts:
        return []
    if model.family == "xlnet":  # its two streams have no key-value cache worth the name
        return [list(stream_tokens(model, p, max_new_tokens=max_new_tokens, stop_ids=stop_ids)) for p in prompts]
    side = "right" if model.shape == "encoder-decoder" else "left"
    ids_BL, mask_BL = _padded(prompts, model.tokenizer.pad_id or 0, side=side, device=model.device)
    with model.attending("sdpa"):
        out_BL = model.module.generate(
            input_ids=ids_BL,
            attention_mask=mask_BL,
            generation_config=_settings(model, max_new_tokens, stop_ids),
        )
    start = 1 if model.shape == "encoder-decoder" else ids_BL.shape[1]
    return [_until(row[start:].tolist(), stop_ids) for row in out_BL]


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
    steps = _steps(model, list(prompt))
    scores_V = next(steps)
    for _ in range(max_new_tokens):
        token = _choose(scores_V, temperature=temperature, top_p=top_p, chance=chance)
        if token in stop_ids:
            return
        yield token
        scores_V = steps.send(token)


def _steps(model: "Model", prompt: list[int]) -> Steps:
    """Make the loop that gives the next scores ``[V]`` and takes the token that was chosen."""
    if model.shape == "encoder-decoder":
        return _steps_encoder_decoder(model, prompt)
    if model.family == "xlnet":
        return _steps_anew(model, prompt)
    return _steps_cached(model, prompt)


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
        source = model.module.get_encoder()(input_ids=torch.tensor([prompt], device=model.device))
    past, fresh = None, [model.decoder_start_id]
    while True:
        with model.inference():
            ids = torch.tensor([fresh], device=model.device)
            out = model.module(encoder_outputs=source, decoder_input_ids=ids, past_key_values=past, use_cache=True)
        past = out.past_key_values
        fresh = [(yield out.logits[0, -1].float())]


def _steps_anew(model: "Model", prompt: list[int]) -> Steps:
    ids = list(prompt)
    while True:
        with model.inference():
            hidden_TD = model.hidden(forest([np.array(ids)], [[]]))
            scores_V = model.logits(hidden_TD[-1:])[0]
        ids.append((yield scores_V))


def _choose(scores_V: Tensor, *, temperature: float, top_p: float, chance: torch.Generator) -> int:
    """Take the likeliest token, or draw from the smallest set that holds ``top_p`` of the mass (Holtzman 2020)."""
    if temperature <= 0:
        return int(scores_V.argmax())
    mass_V, order_V = torch.softmax(scores_V.cpu() / temperature, 0).sort(descending=True)
    mass_V[mass_V.cumsum(0) - mass_V >= top_p] = 0
    return int(order_V[torch.multinomial(mass_V, 1, generator=chance)])
