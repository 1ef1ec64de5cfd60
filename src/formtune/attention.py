"""Attention over a flat row of examples, none of which sees another: who sees whom is a :class:`~formtune.forests.Forest`.

On a CPU each group of segments attends in a call of its own; on a GPU one kernel for sequences of different lengths takes
the whole row. What else was tried, and the figures behind the constants here: ``benchmarks/attention_backends.py`` and
decision 0012.

Shape letters: H heads, G heads of keys and values, T places of the row, Q queries, K keys, D width of a head.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn

from formtune.dropout import dropped
from formtune.forests import Forest, Sight

NAME = "formtune_segments"
LONG = 512  # keys a place meets on average from which bfloat16 is worth its backward pass on a CPU
BOTH_WAYS = 256  # keys up to which plain products are faster on a CPU than its fused kernel, where no half is left out
HALVES = (torch.bfloat16, torch.float16)  # what FlashAttention's kernels take, in heads whose width 8 divides
# Torch 2.12 asks to be told that several heads share a key; torch 2.11 takes them untold.
GROUPED = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}
CHANGES = ("softcap", "s_aux", "position_bias")  # what would change the scores, and is not computed here


def install() -> None:
    """Make the attention known to ``transformers`` under :data:`NAME`; doing it twice changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, forest_attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def _no_mask(*_args: Any, **_kwargs: Any) -> None:
    return None  # the forest says who sees whom; a dense mask over the row would cost T² for nothing


def forest_attention(  # noqa: PLR0913, PLR0917 (the signature is that of transformers' attention interface)
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _attention_mask: Tensor | None,
    *,
    segments: Forest,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend within each segment and to its ancestors.

    Args:
        module: the attention layer; its ``is_causal`` holds where the argument is None.
        query: ``[1, H, T, D]``; keys and values may have fewer heads (grouped queries).
        key: as the query.
        value: as the query.
        _attention_mask: ignored; the forest is the mask.
        segments: who sees whom.
        scaling: factor on the scores.
        dropout: probability, while training.
        is_causal: whether a place sees only what stands before it.
        sliding_window: how many places back a place may look at most.
        others: what a family hands on besides.

    Returns:
        ``[1, T, H, D]``, and None for the weights.

    Raises:
        TypeError: where a family asks for something that changes the scores and is not computed here (Gemma 2's
            soft cap, GPT-OSS's sinks); such a model is padded instead.
    """
    refused = [name for name in CHANGES if others.get(name) is not None]
    if refused:
        raise TypeError(f"This attention does not know {', '.join(refused)}.")
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    sight = Sight(causal, sliding_window)
    with torch.autocast(query.device.type, enabled=False):
        if query.is_cuda and value.dtype in HALVES and not dropout and query.shape[-1] % 8 == 0:
            states = by_lengths(query, key, value, forest=segments, sight=sight, scale=scaling)
        else:
            states = by_groups(query, key, value, forest=segments, sight=sight, scale=scaling, dropout=dropout)
    return states.transpose(1, 2).contiguous().to(value.dtype), None


def by_groups(  # noqa: PLR0913 (what attention takes)
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    forest: Forest,
    sight: Sight,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attend group by group: ``[1, H, T, D]`` and keys and values ``[1, G, T, D]`` → ``[1, H, T, D]``.

    On a CPU in float32, whatever comes in, unless texts are long: in bfloat16 the backward pass of short ones takes twice
    as long.
    """
    on_cpu, long = query.device.type == "cpu", forest.n_keys_mean >= LONG
    kind = torch.float32 if on_cpu and (dropout or not long) else value.dtype
    query, key, value = query.to(kind), key.to(kind), value.to(kind)
    if long or not on_cpu:  # for short texts copying the heads costs more than grouping them
        key, value = _repeated(key, query), _repeated(value, query)
    queries, keys, values = (_pieces(states, forest) for states in (query, key, value))
    found = []
    for group in forest.groups:
        plain = on_cpu and (dropout > 0 or not (sight.causal or group.n_keys > BOTH_WAYS))
        states = (queries[group.own], _joined(keys, group.seen), _joined(values, group.seen))
        attend = _plain if plain else _fused
        found.append(attend(*states, mask=forest.mask(group, sight), sight=sight, scale=scale, dropout=dropout))
    return torch.cat(found, 2)


def _pieces(states: Tensor, forest: Forest) -> dict[tuple[int, int], Tensor]:
    """Part a row ``[1, H, T, D]`` into what groups and ancestors hold, by place.

    Parted once, since each slice would get a gradient as long as the row.
    """
    own = dict(
        zip((g.own for g in forest.groups), torch.split(states, [g.n_queries for g in forest.groups], 2), strict=True)
    )
    ancestors = {span for g in forest.groups for span in g.before} - own.keys()
    return own | {(start, end): states[:, :, start:end] for start, end in sorted(ancestors)}


def _joined(pieces: dict[tuple[int, int], Tensor], spans: tuple[tuple[int, int], ...]) -> Tensor:
    return torch.cat([pieces[span] for span in spans], 2) if len(spans) > 1 else pieces[spans[0]]


def _repeated(states: Tensor, query: Tensor) -> Tensor:
    """Give keys or values as many heads as the queries have."""
    times = query.shape[1] // states.shape[1]
    return states.repeat_interleave(times, 1) if times > 1 else states


def _fused(  # noqa: PLR0913 (what attention takes)
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None,
    sight: Sight,
    scale: float | None,
    dropout: float,
) -> Tensor:
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=sight.causal and mask is None,
        scale=scale,
        enable_gqa=key.shape[1] != query.shape[1],
    )


def _plain(  # noqa: PLR0913 (what attention takes)
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None,
    sight: Sight,
    scale: float | None,
    dropout: float,
) -> Tensor:
    """Attend in two products, which torch does anyway where there is dropout, with its own slow draws."""
    if mask is None and sight.causal:
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores_QK = (query * scale) @ _repeated(key, query).transpose(2, 3)
    if mask is not None:
        scores_QK = scores_QK.masked_fill(~mask, -torch.inf)
    shares_QK = dropped(scores_QK.softmax(-1), dropout)
    return shares_QK @ _repeated(value, query)


def by_lengths(  # noqa: PLR0913 (what attention takes)
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    forest: Forest,
    sight: Sight,
    scale: float | None = None,
    attend: Callable[..., Any] = varlen_attn,
) -> Tensor:
    """Attend in one kernel over sequences of different lengths; shapes as in :func:`by_groups`.

    A segment's keys are those of its whole path, so that ancestors' keys are copied for each child: little beside what
    is multiplied. A causal kernel aligns the last query with the last key (Dao 2023, FlashAttention-2), which is where
    they belong.

    Args:
        query: in bfloat16 or float16 on a GPU; the kernel knows no other.
        key: as the query.
        value: as the query.
        forest: who sees whom.
        sight: how far.
        scale: factor on the scores.
        attend: the kernel.
    """
    lengths = forest.lengths
    query_THD, key_KGD, value_KGD = (states[0].transpose(0, 1).to(value.dtype) for states in (query, key, value))
    if lengths.seen_K is not None:
        key_KGD, value_KGD = key_KGD[lengths.seen_K], value_KGD[lengths.seen_K]
    back = -1 if sight.window is None else sight.window - 1
    states_THD: Tensor = attend(
        query_THD,
        key_KGD,
        value_KGD,
        lengths.bounds_own,
        lengths.bounds_seen,
        lengths.longest_own,
        lengths.longest_seen,
        scale=scale,
        window_size=(back, 0 if sight.causal else back),
        **GROUPED,
    )
    return states_THD.transpose(0, 1)[None]
