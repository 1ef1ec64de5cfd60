"""Records that must not be parted: those of one group, and those whose inputs are the same but for trifles."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from formtune.records import Labelled, Question, Record, answer_text, input_text

_NOT_WORDS = re.compile(r"[\W_]+")
_ASCII_WORDS = bytes(ord(chr(code).lower()) if chr(code).isalnum() else 32 for code in range(128)) + bytes(128)


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Records that must not be parted, by id, and how often each label stands among them."""

    records: list[Record]
    labels: Counter[str]


def duplicate_key(record: Record) -> str:
    """Bring a record's input to the form in which duplicates are equal.

    Compatibility forms, case, white space and punctuation do not count (NFKC, casefold). An input that holds nothing
    else is compared as it is. Where nothing is asked the answer is compared.

    >>> duplicate_key(Labelled(inputs={"text": "Great  film!"})) == duplicate_key(Labelled(inputs={"text": "great film"}))
    True
    """
    return normalized(input_text(record) or answer_text(record))


def normalized(text: str) -> str:
    """Bring a text to the form in which it equals another but for trifles: see :func:`duplicate_key`."""
    if text.isascii():  # the same, many times as fast
        words = text.encode().translate(_ASCII_WORDS)
        while b"  " in words:
            words = words.replace(b"  ", b" ")
        return words.strip().decode() or text
    return _NOT_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip() or text


def labels_of(record: Record) -> tuple[str, ...]:
    """Give what a record is stratified by: its labels, or its answer where the choices are yes and no."""
    if isinstance(record, Labelled):
        return record.labels
    if isinstance(record, Question) and record.choices == ("yes", "no"):
        return record.answers
    return ()


def ties(record: Record) -> list[tuple[str, str]]:
    """List what ties a record to others: its group, and its input."""
    tie = [("input", duplicate_key(record))]
    return tie if record.group is None else [*tie, ("group", record.group)]


def cluster(records: Sequence[Record]) -> list[Cluster]:
    """Join records that share a group or an input, also by way of others."""
    parents = list(range(len(records)))
    first: dict[tuple[str, str], int] = {}
    for place, record in enumerate(records):
        for key in ties(record):
            parents[_root(parents, place)] = _root(parents, first.setdefault(key, place))
    joined: dict[int, list[Record]] = {}
    for place, record in enumerate(records):
        joined.setdefault(_root(parents, place), []).append(record)
    return [
        Cluster(sorted(together, key=lambda record: record.id), Counter(x for r in together for x in labels_of(r)))
        for together in joined.values()
    ]


def together(records: Sequence[Record]) -> list[int]:
    """Number the records so that those which must not be parted have one number: they are one observation."""
    number = {record.id: n for n, one in enumerate(cluster(records)) for record in one.records}
    return [number[record.id] for record in records]


def shuffled(clusters: Iterable[Cluster], seed: int) -> list[Cluster]:
    """Bring clusters into an order that depends on the seed and their ids alone."""
    return sorted(clusters, key=lambda c: hashlib.sha256(f"{seed}\n{c.records[0].id}".encode()).digest())


def flat(clusters: Iterable[Cluster]) -> list[Record]:
    """Give the records of clusters, in order."""
    return [record for cluster in clusters for record in cluster.records]


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place
