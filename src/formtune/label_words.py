"""Label words as token ids: what must be computed to score them, and how a written answer is read back as one.

Shape letters: N tokens to be scored, of all candidates of one record in a row.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from formtune.errors import SettingError


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is run behind a prompt so that each token of each candidate is asked for once.

    The last token of a candidate is asked for, never read, so a candidate of one token needs nothing but the prompt.
    What one candidate reads is not run again where another one reads the same and more.

    Attributes:
        bodies: ids that are read behind the prompt, each on its own; none where the prompt is enough.
        body_N: index of the body after which the token is asked for; 0 where nothing of it has been read.
        depth_N: how many tokens of that body have been read by then.
        ids_N: the token that is asked for.
        candidate_N: the candidate it belongs to.
        n_candidates: how many candidates there are.
    """

    bodies: tuple[np.ndarray, ...]
    body_N: np.ndarray
    depth_N: np.ndarray
    ids_N: np.ndarray
    candidate_N: np.ndarray
    n_candidates: int

    @property
    def n_read(self) -> int:
        """Tokens that are read behind the prompt, all bodies together."""
        return sum(map(len, self.bodies))

    def totals(self, values_N: np.ndarray) -> np.ndarray:
        """Add up one value per token to one per candidate: ``[N]`` → ``[K]``."""
        return np.bincount(self.candidate_N, weights=values_N, minlength=self.n_candidates)


def plan_words(candidates: Sequence[np.ndarray], names: Sequence[str], *, stop_id: int | None) -> Plan:
    """Say what must be run to score every candidate behind a prompt.

    Args:
        candidates: ids of each candidate.
        names: their texts, for error messages.
        stop_id: what ends an answer. Where one candidate is the beginning of another (good, good enough), it is
            scored behind all of them: without it the shorter one would count everything that goes on from it.

    Raises:
        SettingError: where two candidates are the same tokens, one has none, or a stop is needed and there is none.
    """
    check_distinct(candidates, names)
    if _prefix_pair(candidates) is not None:
        candidates = _stopped(candidates, names, stop_id)
    bodies = _maximal([ids[:-1] for ids in candidates])
    body: list[int] = []
    depth: list[int] = []
    for ids in candidates:
        home = next((b for b, other in enumerate(bodies) if _begins(other, ids[:-1])), 0)
        body += [home] * len(ids)
        depth += range(len(ids))
    return Plan(
        bodies=bodies,
        body_N=np.array(body, dtype=np.int64),
        depth_N=np.array(depth, dtype=np.int64),
        ids_N=np.concatenate(candidates).astype(np.int64),
        candidate_N=np.repeat(np.arange(len(candidates)), [len(ids) for ids in candidates]),
        n_candidates=len(candidates),
    )


def check_distinct(candidates: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """Refuse label words that the model cannot tell apart, or cannot see.

    Raises:
        SettingError: naming the label words.
    """
    seen: dict[tuple[int, ...], str] = {}
    for ids, name in zip(candidates, names, strict=True):
        key = tuple(ids.tolist())
        if not key:
            raise SettingError(f"The label word {name!r} has no tokens.", "Give it another word.", at="task.words")
        if key in seen:
            raise SettingError(
                f"The label words {seen[key]!r} and {name!r} are the same tokens to this model.",
                "Give one of them another word.",
                at="task.words",
            )
        seen[key] = name


def _prefix_pair(candidates: Sequence[np.ndarray]) -> tuple[int, int] | None:
    order = sorted(range(len(candidates)), key=lambda k: candidates[k].tolist())
    # In lexical order everything that begins with a candidate follows it at once.
    pairs = pairwise(order)
    return next((pair for pair in pairs if _begins(candidates[pair[1]], candidates[pair[0]])), None)


def _stopped(candidates: Sequence[np.ndarray], names: Sequence[str], stop_id: int | None) -> list[np.ndarray]:
    if stop_id is None:
        short, long = (names[k] for k in _prefix_pair(candidates) or (0, 0))
        raise SettingError(
            f"The label word {short!r} is the beginning of {long!r}, and this model has no token that ends an answer.",
            "Give one of them another word.",
            at="task.words",
        )
    return [np.append(ids, stop_id) for ids in candidates]


def _maximal(bodies: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Keep those that are not the beginning of another one, each once, in order."""
    kept: list[np.ndarray] = []
    for index, body in enumerate(bodies):
        covered = any(_begins(other, body) and (len(other) > len(body) or j < index) for j, other in enumerate(bodies))
        if len(body) and not covered:
            kept.append(body)
    return tuple(kept)


def _begins(whole: np.ndarray, start: np.ndarray) -> bool:
    return len(start) <= len(whole) and bool(np.array_equal(whole[: len(start)], start))


def read_back(text: str, words: Sequence[str]) -> int | None:
    """Find the word that a written answer is: case, outer white space and outer punctuation do not count.

    Nothing else is forgiven: an answer that goes on after the word is not the word.

    Returns:
        The word's index; None where it is none of them, or several.

    >>> read_back(" Positive.", ["negative", "positive"])
    1
    >>> read_back("positive and negative", ["negative", "positive"]) is None
    True
    """
    exact = [index for index, word in enumerate(words) if word.strip() == text.strip()]
    wanted = normalized(text)
    found = exact or [index for index, word in enumerate(words) if normalized(word) == wanted]
    return found[0] if len(found) == 1 else None


def normalized(text: str) -> str:
    """Bring a short answer to the form in which it is compared: NFKC, case folded, outer punctuation gone.

    >>> normalized(" „Sci/Tech“。")
    'sci/tech'
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    inner = [i for i, character in enumerate(folded) if not _is_edge(character)]
    return folded[inner[0] : inner[-1] + 1] if inner else folded  # a label such as "-" stays itself


def _is_edge(character: str) -> bool:
    return character.isspace() or unicodedata.category(character).startswith("P")
