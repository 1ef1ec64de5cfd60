"""Rated answers as UltraFeedback lays them out: an instruction, and completions with a rating in each of several aspects.

A completion counts as good as the mean of its ratings; the best is preferred to each that is worse, and what comes of one
instruction is a group. Aspects that were not rated do not count. Cui et al. 2023.
"""

import math
from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, filled_in, rest
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import as_text
from formtune.dialects.questions import context_group
from formtune.records import LeftOut, Message, Preference, Record
from formtune.sources import Row, value_of

NAME = "ultrafeedback"
SUMMARY = "An instruction with rated completions; the best is preferred to each that is worse (UltraFeedback)."
NEEDS = "'instruction' and 'completions', a list of 'response' and 'annotations' with ratings"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"instruction", "completions"})

_USUAL = {1: {"preference": {"Rating": "2"}}, 2: {"preference": {"Rating": "1"}}}  # where the data has no ratings


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for completions with annotations."""
    return seen(rows, columns, _fits, why="'completions' with ratings")


def read(row: Row, _columns: Columns) -> Iterator[Record | LeftOut]:
    """Read the best completion beside each that is worse; what else is said of the two goes aside."""
    value = as_object(row)
    asked = filled_in(value, "instruction")
    found = value.get("completions")
    if not isinstance(found, list) or not all(map(_is_completion, found)):
        raise RowFault("completions without a response and annotations")
    rated = [(rating, one) for one in found if (rating := _rating(one)) is not None]
    rated.sort(key=lambda both: -both[0])
    worse = [one for rating, one in rated if rating < rated[0][0]]
    if not worse:
        raise RowFault("no answer that is worse than another")
    yield from [LeftOut("a completion without a rating", row.origin)] * (len(found) - len(rated))
    best = rated[0][1]
    others = {name: content for name, content in value.items() if name not in ("instruction", "completions")}
    for one in worse:
        beside = {"chosen": _beside(best, 1), "rejected": _beside(one, 2)}
        yield Preference(
            prompt=(Message("user", asked),),
            chosen=(Message("assistant", str(best["response"])),),
            rejected=(Message("assistant", str(one["response"])),),
            group=context_group(asked),
            origin=row.origin,
            extra=rest({**others, **{name: left for name, left in beside.items() if left}}, ()),
        )


def write(record: Record) -> Object | None:
    """Write both answers, rated 2 and 1 where no ratings stand aside; None where a side is more than a text."""
    if not isinstance(record, Preference) or record.tools:
        return None
    texts = [as_text(record.chosen), as_text(record.rejected)]
    asked = as_text(record.prompt, "user")
    if not asked or not all(texts):
        return None
    extra = value_of(record.extra) if record.extra else {}
    sides = [extra.pop(name, None) for name in ("chosen", "rejected")]
    own = [found if isinstance(found, dict) else {} for found in sides]
    if not all(_rating(one) is not None for one in own):
        own = [{**one, "annotations": usual} for one, usual in zip(own, _USUAL.values(), strict=True)]
    both = zip(own, texts, strict=True)
    return {**extra, "instruction": asked, "completions": [{**one, "response": text} for one, text in both]}


def _fits(value: Object) -> bool:
    found = value.get("completions")
    is_rated = isinstance(found, list) and bool(found) and all(map(_is_completion, found))
    return is_rated and isinstance(value.get("instruction"), str)


def _is_completion(one: object) -> bool:
    match one:
        case {"response": str(text), "annotations": dict()}:
            return bool(text.strip())
    return False


def _rating(one: Object) -> float | None:
    """Give the mean of the ratings that are numbers; None where there are none."""
    found = one.get("annotations")
    aspects = [aspect for aspect in found.values() if isinstance(aspect, dict)] if isinstance(found, dict) else []
    ratings = [number for aspect in aspects if (number := _number(aspect.get("Rating"))) is not None]
    return sum(ratings) / len(ratings) if ratings else None


def _number(found: object) -> float | None:
    try:
        number = float(found) if isinstance(found, (int, float, str)) and not isinstance(found, bool) else math.nan
    except (ValueError, OverflowError):  # "N/A", as the data has it
        return None
    return number if math.isfinite(number) else None


def _beside(one: Object, place: int) -> Object:
    """Give what stands beside a response; ratings that writing would give it anyway do not count."""
    return {
        name: found
        for name, found in one.items()
        if name != "response" and (name, found) != ("annotations", _USUAL[place])
    }
