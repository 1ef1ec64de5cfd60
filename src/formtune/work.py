"""What updates computed, beside what a trainer that pads would have computed of the same.

Such a trainer lays every example of an update in a row of its own, as long as the longest of the update (each side of
an encoder-decoder for itself), runs all rows through all blocks in every epoch, and scores the vocabulary at every
place of every row. That is what the trainers people use do by default.

Everything is counted in places, each the passage of one token through all blocks of the model, so that the parts add
up: what padding computes, less what packing, shared beginnings and the frozen trunk save, is what was computed. Rows of
the vocabulary are counted for themselves, since they are another product.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from formtune.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What some updates computed; works of several add up.

    Attributes:
        padded: places that a trainer that pads computes: rows × the longest of the update, added up over updates.
        apart: places if nothing were shared or replayed: the real tokens or, of a model that pads, rows × the longest
            of each micro-batch.
        laid: places laid out: of ``apart`` those that are left once shared beginnings stand once.
        spared: of those what the trunk's cache saved: tokens that did not pass the trunk, times its share of the blocks.
        scored: places whose scores over the vocabulary were computed.
        padded_scored: places at which a trainer that pads computes them: all of a row's; 0 with a class head.
    """

    padded: int = 0
    apart: int = 0
    laid: int = 0
    spared: float = 0.0
    scored: int = 0
    padded_scored: int = 0

    def __add__(self, other: "Work") -> "Work":
        """Add the work of other updates."""
        return Work.of([a + b for a, b in zip(astuple(self), astuple(other), strict=True)])

    @classmethod
    def of(cls, counts: Sequence[float]) -> "Work":
        """Make it of its counts in the order of its attributes; all but ``spared`` are whole numbers.

        >>> Work.of([100.0, 60.0, 50.0, 20.5, 0.0, 0.0]).laid
        50
        """
        padded, apart, laid, spared, scored, padded_scored = counts
        return cls(
            padded=round(padded),
            apart=round(apart),
            laid=round(laid),
            spared=spared,
            scored=round(scored),
            padded_scored=round(padded_scored),
        )

    @property
    def computed(self) -> float:
        """Places that were computed; one that skipped the frozen half of the blocks counts one half."""
        return self.laid - self.spared

    @property
    def computed_share(self) -> float:
        """Computed places, as a share of what padding computes.

        >>> Work(padded=100, apart=60, laid=50, spared=20.0).computed_share
        0.3
        """
        return self.computed / max(1, self.padded)

    @property
    def saved(self) -> dict[str, float | None]:
        """Say where the rest went, as shares of what padding computes; with ``computed_share`` they add up to one.

        ``logits`` is a share of its own: of the rows of the vocabulary that padding scores those that were not; None
        with a class head, which has no vocabulary.

        >>> Work(padded=100, apart=60, laid=50, spared=20.0, scored=10, padded_scored=100).saved
        {'packing': 0.4, 'prefixes': 0.1, 'trunk': 0.2, 'logits': 0.9}
        """
        whole = max(1, self.padded)
        return {
            "packing": (self.padded - self.apart) / whole,
            "prefixes": (self.apart - self.laid) / whole,
            "trunk": self.spared / whole,
            "logits": 1.0 - self.scored / self.padded_scored if self.padded_scored else None,
        }


def padding_work(examples: Sequence[Tokens], *, scores: bool) -> Work:
    """Count what a trainer that pads computes of an update.

    Args:
        examples: of the update.
        scores: whether it scores the vocabulary; with a class head it does not.
    """
    last = _rectangle([one.decoder or one for one in examples])
    return Work(padded=padded_places(examples), padded_scored=last if scores else 0)


def padded_places(examples: Sequence[Tokens]) -> int:
    """Count the places of examples that are padded to their longest, both sides.

    Args:
        examples: of a batch, at least one.
    """
    targets = [one.decoder for one in examples if one.decoder is not None]
    return _rectangle(examples) + (_rectangle(targets) if targets else 0)


def _rectangle(sides: Sequence[Tokens]) -> int:
    return len(sides) * max(len(one.ids_T) for one in sides)
