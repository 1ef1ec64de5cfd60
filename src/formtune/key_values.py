"""Keys and values of the texts that are written side by side, and attention to them: one new place a text at a time.

Nothing is padded while prompts are read: they stand in one flat row, what they share at the beginning once. What their
places gave as keys and values is then copied to a row for each text, from the left, with room for the answer. A text
that is done gives its row to the last one, so that what is computed are the first rows and nothing is moved but that.

Shape letters: T places of a flat row, R texts, P places of the longest, H heads, G heads of keys and values, D width of
a head.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from formtune.attention import forest_attention
from formtune.batches import Batch
from formtune.forests import Forest

NAME = "formtune_writing"


def install() -> None:
    """Make the attention known to ``transformers`` under :data:`NAME`; doing it twice changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, writing_attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def _no_mask(*_args: Any, **_kwargs: Any) -> None:
    return None  # what is seen is said by the segments


class Reading(Forest):
    """The sight of prompts while they are read; remembers what every layer made of them.

    Attributes:
        read: layer → keys and values ``[1, G, T, D]``.
    """

    def __init__(self, batch: Batch, device: torch.device) -> None:
        super().__init__(batch, device)
        self.read: dict[nn.Module, tuple[Tensor, Tensor]] = {}


def writing_attention(  # noqa: PLR0913, PLR0917 (the signature is that of transformers' attention interface)
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    segments: "Reading | KeyValues",
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Read prompts, or let each text's newest place see all that stands before it.

    Args:
        module: the attention layer.
        query: ``[1, H, T, D]``.
        key: ``[1, G, T, D]``.
        value: as the key.
        mask: ignored.
        segments: prompts, or texts of which each has one new place.
        scaling: factor on the scores.
        sliding_window: how many places back a place may look at most.
        others: what a family hands on besides.

    Returns:
        ``[1, T, H, D]``, and None for the weights.
    """
    if isinstance(segments, KeyValues):
        return segments.attend(module, query, key, value, scale=scaling, window=sliding_window), None
    segments.read[module] = (key, value)
    return forest_attention(
        module, query, key, value, mask, segments=segments, scaling=scaling, sliding_window=sliding_window, **others
    )


class KeyValues:
    """What every layer keeps of the texts that are written.

    Attributes:
        lengths: how many places each text has so far.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._layers: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._lengths_R = torch.zeros(0, dtype=torch.long)
        self._masks: dict[int | None, Tensor] = {}

    def add(self, reading: Reading, paths: Sequence[np.ndarray], *, n_rows: int, n_places: int) -> None:
        """Take in prompts that were read.

        Args:
            reading: with what the layers made of them.
            paths: the places of each prompt's tokens, in order.
            n_rows: texts that there shall be room for, all of them together.
            n_places: places that each shall have room for, its answer included.
        """
        longest = max(map(len, paths))
        places_RP = np.stack([np.pad(path, (0, longest - len(path))) for path in paths])
        rows = slice(len(self.lengths), len(self.lengths) + len(paths))
        for module, states in reading.read.items():
            places = torch.from_numpy(places_RP).to(states[1].device)
            room = self._room(module, states[1], n_rows=n_rows, n_places=n_places)
            for kept, state in zip(room, states, strict=True):
                kept[rows, :, :longest] = state[0][:, places].transpose(0, 1).to(kept.dtype)
            self._layers[module] = room
        self.lengths += [len(path) for path in paths]

    def _room(self, module: nn.Module, like: Tensor, *, n_rows: int, n_places: int) -> tuple[Tensor, Tensor]:
        """Give the room for a layer's keys and values, made anew where it has too few rows or places."""
        old = self._layers.get(module)
        if old is not None and old[0].shape[0] >= n_rows and old[0].shape[2] >= n_places:
            return old
        # Zeros, since a place that nobody sees is still multiplied, by zero.
        room = tuple(like.new_zeros(n_rows, like.shape[1], n_places, like.shape[3]) for _ in range(2))
        if old is not None and self.lengths:
            held = (slice(0, len(self.lengths)), slice(None), slice(0, max(self.lengths)))
            for new, states in zip(room, old, strict=True):
                new[held] = states[held]
        return room[0], room[1]

    def drop(self, row: int) -> None:
        """Forget a text; the last one takes its row."""
        last = len(self.lengths) - 1
        if row != last:
            held = slice(0, self.lengths[last])
            for states in (one for both in self._layers.values() for one in both):
                states[row, :, held] = states[last, :, held]
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()

    def extend(self, device: torch.device) -> None:
        """Give every text one more place, which the next pass through the layers fills."""
        self._lengths_R = torch.tensor(self.lengths, device=device)
        self._masks.clear()
        self.lengths = [length + 1 for length in self.lengths]

    def attend(  # noqa: PLR0917 (what attention takes)
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *, scale: float | None, window: int | None
    ) -> Tensor:
        """Keep the newest places' keys and values, and attend from each to its text: ``[1, H, R, D]`` → ``[1, R, H, D]``."""
        keys, values = self._layers[module]
        n_rows, n_places = len(self.lengths), max(self.lengths)
        rows_R = torch.arange(n_rows, device=query.device)
        keys[rows_R, :, self._lengths_R] = key[0].transpose(0, 1).to(keys.dtype)
        values[rows_R, :, self._lengths_R] = value[0].transpose(0, 1).to(values.dtype)
        with torch.autocast(query.device.type, enabled=False):
            states = F.scaled_dot_product_attention(
                query[0].transpose(0, 1)[:, :, None].to(keys.dtype),
                keys[:n_rows, :, :n_places],
                values[:n_rows, :, :n_places],
                attn_mask=self._mask(window),
                scale=scale,
                enable_gqa=keys.shape[1] != query.shape[1],
            )
        return states[:, :, 0][None].to(value.dtype)

    def _mask(self, window: int | None) -> Tensor:
        """Give what each text's newest place sees, bool ``[R, 1, 1, P]``."""
        if window not in self._masks:
            places_P = torch.arange(max(self.lengths), device=self._lengths_R.device)
            seen_RP = places_P[None] <= self._lengths_R[:, None]
            if window is not None:
                seen_RP &= places_P[None] > self._lengths_R[:, None] - window
            self._masks[window] = seen_RP[:, None, None]
        return self._masks[window]
