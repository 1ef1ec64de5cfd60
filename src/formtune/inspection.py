"""What a file holds, in numbers: the data of ``formtune inspect``."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from formtune.dialects import Reading
from formtune.faults import fault_of
from formtune.records import (
    Conversation,
    Labelled,
    LeftOut,
    Preference,
    Question,
    Record,
    answer_text,
    input_text,
    kind_of,
)

# A Chinese or Japanese character counts as a word of its own.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")
QUANTILES = {"min": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1.0}
_N_PLACES = 5
_N_SAMPLES = 3
_SAMPLE_CHARACTERS = 200


def inspect(reading: Reading) -> dict[str, object]:
    """Describe what was read.

    Returns:
        ``dialect`` and ``evidence``; ``kinds`` and how many of each; ``records``; ``labels`` and how many of each, the
        most frequent first; ``lengths``: quantiles of ``characters`` and ``words`` of what is asked, and of
        ``answer_characters`` and ``answer_words``; ``unanswered`` records; ``groups``; ``left_out``, and ``parts_lost``
        of rows that went on, each fault with what was ``expected`` and its ``remedy``; ``samples`` from the beginning,
        the middle and the end.
    """
    records = reading.records
    return {
        "dialect": reading.dialect,
        "evidence": reading.evidence,
        "kinds": dict(Counter(map(kind_of, records))),
        "records": len(records),
        "labels": _labels(records),
        "lengths": _lengths(records),
        "unanswered": sum(not answer_text(record) and not _is_answered(record) for record in records),
        "groups": len({record.group for record in records if record.group is not None}),
        "left_out": _explained(one for one in reading.left_out if not one.kept),
        "parts_lost": _explained(one for one in reading.left_out if one.kept),
        "samples": [_sample(records[place]) for place in _places(len(records))],
    }


def tally(left_out: Iterable[LeftOut]) -> list[dict[str, Any]]:
    """Count what was left out by its reason, the most frequent first, each with its code and the first places."""
    by_reason: dict[str, list[LeftOut]] = {}
    for item in left_out:
        by_reason.setdefault(item.reason, []).append(item)
    ordered = sorted(by_reason.items(), key=lambda entry: -len(entry[1]))
    return [
        {
            "code": items[0].code,
            "reason": reason,
            "rows": len(items),
            "places": [_place(item) for item in items[:_N_PLACES]],
        }
        for reason, items in ordered
    ]


def _explained(left_out: Iterable[LeftOut]) -> list[dict[str, Any]]:
    """Count as :func:`tally` does, and say of each fault what was expected, and how to mend it."""
    faults = [(one, fault_of(one["reason"])) for one in tally(left_out)]
    return [one | ({"expected": fault.expected, "remedy": fault.remedy} if fault else {}) for one, fault in faults]


def merged_tallies(tallies: Iterable[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Add up what was left out of several parts, the most frequent reason first, each with the first places."""
    merged: dict[str, dict[str, Any]] = {}
    for tally in tallies:
        for one in tally:
            known = merged.setdefault(one["reason"], {**one, "rows": 0, "places": []})
            known["rows"] += one["rows"]
            known["places"] = [*known["places"], *one["places"]][:_N_PLACES]
    return sorted(merged.values(), key=lambda one: -one["rows"])


def _labels(records: Sequence[Record]) -> dict[str, int]:
    """Count labels, or the answers of questions that all have the same choices."""
    choices = {record.choices for record in records if isinstance(record, Question)}
    closed = len(choices) == 1 and choices != {()}
    counts: Counter[str] = Counter()
    for record in records:
        if isinstance(record, Labelled):
            counts.update(record.labels)
        elif isinstance(record, Question) and closed:
            counts.update(record.answers)
    return dict(counts.most_common())


def _lengths(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    asked = list(map(input_text, records))
    answers = [text for text in map(answer_text, records) if text]
    return {
        "characters": _quantiles(map(len, asked)),
        "words": _quantiles(map(_n_words, asked)),
        "answer_characters": _quantiles(map(len, answers)),
        "answer_words": _quantiles(map(_n_words, answers)),
    }


def _quantiles(lengths: Iterable[int]) -> dict[str, int]:
    """Give quantiles by the nearest rank, so that each is a length that occurs."""
    ordered = sorted(lengths)
    return {name: ordered[round(share * (len(ordered) - 1))] for name, share in QUANTILES.items()} if ordered else {}


def _n_words(text: str) -> int:
    return len(_WORD.findall(text))


def _is_answered(record: Record) -> bool:
    """Say whether a record without an answer's text has one all the same: none is there, a call, or a bad one."""
    match record:
        case Question():
            return not record.answerable
        case Conversation():
            return any(message.tool_calls for message in record.messages)
        case Preference():
            return bool(record.rejected)
        case _:
            return False


def _places(n_records: int) -> list[int]:
    last = n_records - 1
    return sorted({round(step * last / (_N_SAMPLES - 1)) for step in range(_N_SAMPLES)}) if n_records else []


def _sample(record: Record) -> dict[str, object]:
    return {
        "at": None if record.origin is None else str(record.origin),
        "input": _shortened(input_text(record)),
        "answer": _shortened(answer_text(record)),
    }


def _shortened(text: str) -> str:
    return text if len(text) <= _SAMPLE_CHARACTERS else text[: _SAMPLE_CHARACTERS - 1] + "…"


def _place(item: LeftOut) -> str:
    place = str(item.at or item.id or "")
    return f"{place} ({item.particulars})" if item.particulars else place
