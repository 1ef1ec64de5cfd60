"""What a file holds, in numbers: the data of ``formtune inspect``."""

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from formtune.dialects import Reading
from formtune.dialects.recognition import Sample
from formtune.faults import fault_of
from formtune.records import (
    Conversation,
    Labelled,
    Preference,
    Question,
    Record,
    answer_text,
    input_text,
    kind_of,
)
from formtune.repeats import Repeats
from formtune.tallies import tally

Counted = Sequence[Mapping[str, Any]]
# A Chinese or Japanese character counts as a word of its own.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")
QUANTILES = {"min": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1.0}
_SAMPLE_CHARACTERS = 200
_N_KEPT = 200  # records from all over the data, of which one is shown


def inspect(reading: Reading) -> dict[str, object]:
    """Describe what was read; see :func:`told`."""
    return told(
        facts_of(reading.records),
        dialect=reading.dialect,
        evidence=reading.evidence,
        left_out=tally(one for one in reading.left_out if not one.kept),
        parts_lost=tally(one for one in reading.left_out if one.kept),
    )


def told(
    facts: Mapping[str, object], *, dialect: str, evidence: str, left_out: Counted, parts_lost: Counted
) -> dict[str, object]:
    """Put what was found out about records and how they were read together.

    Args:
        facts: as :func:`facts_of` gives them.
        dialect: of the data.
        evidence: what speaks for it.
        left_out: rows that are no records, counted as by :func:`formtune.tallies.tally`.
        parts_lost: likewise, parts of rows that went on without them.

    Returns:
        ``dialect`` and ``evidence``; ``kinds`` and how many of each; ``records``; ``labels`` and how many of each, the
        most frequent first; ``lengths``: quantiles of ``characters`` and ``words`` of what is asked, and of
        ``answer_characters`` and ``answer_words``; ``unanswered`` records; ``groups``; ``left_out``, and ``parts_lost``
        of rows that went on, each fault with what was ``expected`` and its ``remedy``; ``samples`` from the beginning,
        the middle and the end.
    """
    rest = {name: value for name, value in facts.items() if name != "samples"}
    faults = {"left_out": _explained(left_out), "parts_lost": _explained(parts_lost)}
    return {"dialect": dialect, "evidence": evidence, **rest, **faults, "samples": facts["samples"]}


def _explained(counted: Counted) -> list[dict[str, Any]]:
    """Say of each fault what was expected, and how to mend it."""
    faults = [(one, fault_of(one["reason"])) for one in counted]
    return [{**one, **({"expected": fault.expected, "remedy": fault.remedy} if fault else {})} for one, fault in faults]


def facts_of(records: Iterable[Record]) -> dict[str, object]:
    """Describe records, none of which is held; the keys are those of :func:`told`."""
    kinds: Counter[str] = Counter()
    labels, lengths, samples = _Labels(), _Lengths(), _Samples()
    n_unanswered = 0
    with Repeats() as groups:
        for place, record in enumerate(records):
            kinds[kind_of(record)] += 1
            labels.add(record)
            asked, answer = input_text(record), answer_text(record)
            lengths.add(asked, answer)
            n_unanswered += not answer and not _is_answered(record)
            samples.add(record)
            if record.group is not None:
                groups.append(_key(record.group), place)
        n_groups = groups.n_distinct()
    return {
        "kinds": dict(kinds),
        "records": kinds.total(),
        "labels": labels.told(),
        "lengths": lengths.told(),
        "unanswered": n_unanswered,
        "groups": n_groups,
        "samples": samples.told(),
    }


def _key(group: str) -> int:
    """Digest a group: of a billion groups two would be taken for one with a chance of 3 %."""
    return int.from_bytes(hashlib.blake2b(group.encode(errors="surrogatepass"), digest_size=8).digest())


class _Labels:
    """Counts labels, or the answers of questions that all have the same choices."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()
        self._with_answers: Counter[str] | None = Counter()
        self._choices: tuple[str, ...] | None = None

    def add(self, record: Record) -> None:
        if isinstance(record, Labelled):
            self._given.update(record.labels)
            if self._with_answers is not None:
                self._with_answers.update(record.labels)
        elif isinstance(record, Question) and self._with_answers is not None:
            if record.choices and self._choices in (None, record.choices):
                self._choices = record.choices
                self._with_answers.update(record.answers)
            else:  # choices that differ, or are none, make no labels
                self._with_answers = None

    def told(self) -> dict[str, int]:
        """Give how many of each there are, the most frequent first."""
        return dict((self._given if self._with_answers is None else self._with_answers).most_common())


class _Lengths:
    """Counts how long texts are; it grows with the lengths that occur."""

    def __init__(self) -> None:
        self._asked_characters, self._asked_words = Counter[int](), Counter[int]()
        self._answer_characters, self._answer_words = Counter[int](), Counter[int]()

    def add(self, asked: str, answer: str) -> None:
        self._asked_characters[len(asked)] += 1
        self._asked_words[_n_words(asked)] += 1
        if answer:
            self._answer_characters[len(answer)] += 1
            self._answer_words[_n_words(answer)] += 1

    def told(self) -> dict[str, dict[str, int]]:
        """Give quantiles of each."""
        return {
            "characters": _quantiles(self._asked_characters),
            "words": _quantiles(self._asked_words),
            "answer_characters": _quantiles(self._answer_characters),
            "answer_words": _quantiles(self._answer_words),
        }


def _quantiles(counts: Mapping[int, int]) -> dict[str, int]:
    """Give quantiles by the nearest rank, so that each is a length that occurs."""
    if not counts:
        return {}
    lengths = sorted(counts)
    ends = list(accumulate(counts[length] for length in lengths))
    return {name: lengths[bisect_right(ends, round(share * (ends[-1] - 1)))] for name, share in QUANTILES.items()}


class _Samples:
    """Keeps the first record, the last, and one from the middle, or as near to it as one of those kept is."""

    def __init__(self) -> None:
        self._kept = Sample[Record](most=_N_KEPT)
        self._last: Record | None = None

    def add(self, record: Record) -> None:
        self._kept.add(record)
        self._last = record

    def told(self) -> list[dict[str, object]]:
        """Give each once."""
        if self._last is None:
            return []
        last, stride = self._kept.n_added - 1, self._kept.stride
        middle = round(last / 2 / stride)
        found = {0: self._kept.rows[0], middle * stride: self._kept.rows[middle], last: self._last}
        return [_sample(record) for record in found.values()]


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


def _sample(record: Record) -> dict[str, object]:
    return {
        "at": None if record.origin is None else str(record.origin),
        "input": _shortened(input_text(record)),
        "answer": _shortened(answer_text(record)),
    }


def _shortened(text: str) -> str:
    return text if len(text) <= _SAMPLE_CHARACTERS else text[: _SAMPLE_CHARACTERS - 1] + "…"
