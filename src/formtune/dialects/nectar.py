r"""Ranked answers as Nectar lays them out: a prompt, and ``answers`` with their ranks, the best first.

The best answer is preferred to each that is ranked below it, so that a row of seven gives six records, which are a
group. Zhu et al. 2023.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, filled_in, rest
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import as_text, prompt_of, prompt_text
from formtune.dialects.questions import context_group
from formtune.records import Message, Preference, Record
from formtune.sources import Row, value_of

NAME = "nectar"
SUMMARY = "A prompt with answers and their ranks; the best is preferred to each of the others (Nectar)."
NEEDS = "columns 'prompt' and 'answers', a list of 'answer' and 'rank'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"prompt", "answers"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for answers with ranks."""
    return seen(rows, columns, _fits, why="'answers' with ranks")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the best answer beside each that is worse; what else is said of the two goes aside."""
    value = as_object(row)
    text = filled_in(value, "prompt")
    found = value.get("answers")
    if not isinstance(found, list) or not all(map(_is_ranked, found)):
        raise RowFault("answers without text and rank")
    ranked = sorted(found, key=lambda one: one["rank"])
    worse = [one for one in ranked if one["rank"] > ranked[0]["rank"]]
    if not worse:
        raise RowFault("no answer that is worse than another")
    others = {name: content for name, content in value.items() if name not in ("prompt", "answers")}
    for one in worse:
        beside = {
            name: left for name, left in (("chosen", _beside(ranked[0], 1)), ("rejected", _beside(one, 2))) if left
        }
        yield Preference(
            prompt=prompt_of(text),
            chosen=(Message("assistant", ranked[0]["answer"]),),
            rejected=(Message("assistant", one["answer"]),),
            group=context_group(text),
            origin=row.origin,
            extra=rest({**others, **beside}, ()),
        )


def write(record: Record) -> Object | None:
    """Write both answers, ranked 1 and 2 where no rank stands aside; None where a side is more than a text."""
    if not isinstance(record, Preference) or record.tools:
        return None
    texts = [as_text(record.chosen), as_text(record.rejected)]
    prompt = prompt_text(record.prompt)
    if not prompt or not all(texts):
        return None
    extra = value_of(record.extra) if record.extra else {}
    both = zip(("chosen", "rejected"), texts, strict=True)
    answers = [{**_object(extra.pop(name, None)), "answer": text} for name, text in both]
    answers = [one if "rank" in one else {**one, "rank": place} for place, one in enumerate(answers, 1)]
    return {**extra, "prompt": prompt, "answers": answers}


def _fits(value: Object) -> bool:
    found = value.get("answers")
    return (
        isinstance(value.get("prompt"), str) and isinstance(found, list) and bool(found) and all(map(_is_ranked, found))
    )


def _is_ranked(one: object) -> bool:
    match one:
        case {"answer": str(text), "rank": int() | float() as rank}:
            return bool(text.strip()) and not isinstance(rank, bool)
    return False


def _beside(one: Object, usual_rank: int) -> Object:
    """Give what stands beside an answer; a rank that writing would give it anyway does not count."""
    return {name: found for name, found in one.items() if name != "answer" and (name, found) != ("rank", usual_rank)}


def _object(found: object) -> Object:
    return found if isinstance(found, dict) else {}
