"""Training, dev and test records: stratified, grouped, and without leaks.

Splits are fixed on records before anything is rendered, so that every format sees the same ones. Records that share a
group, or whose inputs are the same up to case, width, white space and punctuation, always stay together. Whether a
record is drawn depends on its id and the seed, not on the order of the file; test is drawn first, then dev, so that
their records stay the same when another size is changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from formtune.errors import DataError, SettingError
from formtune.records import Conversation, Labelled, LeftOut, Pair, Question, Record, identified, kind_of
from formtune.splits.clusters import (
    Cluster,
    cluster,
    duplicate_key,
    flat,
    labels_of,
    normalized,
    shuffled,
    ties,
    together,
)
from formtune.splits.drawing import draw, draw_train, sample

__all__ = [
    "Splits",
    "check_labels_seen",
    "duplicate_key",
    "from_files",
    "has_answer",
    "labels_of",
    "normalized",
    "split",
    "together",
]


@dataclass(frozen=True, slots=True)
class Splits:
    """The records of each split, and those that are in none, with the reason."""

    train: list[Record]
    dev: list[Record]
    test: list[Record]
    left_out: list[LeftOut]


def split(
    records: Sequence[Record],
    *,
    n_train: int | None = None,
    n_dev: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
    balanced: bool = False,
) -> Splits:
    """Draw training, dev and test records.

    Where no two records belong together, the sizes are met exactly, and the labels are shared out by largest
    remainder. Where they do, clusters are taken as they fit, and a size is missed by less than half of the smallest
    cluster that is left. Every label keeps at least one record for training.

    Args:
        records: of one kind; those without an answer are left out.
        n_train: how many to train on; None is all that is left.
        n_dev: how many to choose by; None is a tenth.
        n_test: how many to judge by; None is a tenth.
        seed: another seed draws other records.
        balanced: draw equally many training records for each label, rather than in the data's proportions.

    Raises:
        SettingError: when there are fewer records than asked for, or a label would be missing in training.
        DataError: when no record has an answer, or all have the same label.
    """
    answered, left_out = _answered(records)
    _check_labels_differ(answered)
    train_size, dev_size, test_size = _sizes(len(answered), n_train, n_dev, n_test=n_test)
    pool = shuffled(cluster(answered), seed)
    test, pool = draw(pool, test_size, "test")
    dev, pool = draw(pool, dev_size, "dev")
    train, rest = (pool, []) if n_train is None else draw_train(pool, train_size, balanced=balanced)
    _check_no_label_missing(train, {label for record in answered for label in labels_of(record)})
    return Splits(flat(train), flat(dev), flat(test), left_out + _not_drawn(rest))


def from_files(  # noqa: PLR0913 (three files, and their three sizes)
    train: Sequence[Record],
    dev: Sequence[Record],
    test: Sequence[Record],
    *,
    n_train: int | None = None,
    n_dev: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
) -> Splits:
    """Take splits as files give them, without what leaks from one into another.

    A training record that also stands in dev or test, or a dev record that stands in test, is left out; test is
    never touched. Sharing a group counts as standing there too.

    Args:
        train: the records of the training file.
        dev: of the dev file; empty: they are drawn from the training records.
        test: of the test file; empty: the same.
        n_train: how many to draw from the training file; None is all.
        n_dev: the same for dev; where there is no dev file, None is a tenth of the training records.
        n_test: the same for test.
        seed: another seed draws other records.

    Raises:
        DataError: when a label of dev or test never stands in training, no training record is left, or the files
            hold records of different kinds.
        SettingError: when more records are asked for than there are.
    """
    _check_one_kind(train, dev, test)
    kept_test, out_test = _answered(test)
    kept_dev, out_dev = _answered(dev)
    kept_train, out_train = _answered(train)
    kept_dev, dev_in_test = _without(kept_dev, kept_test, "test")
    kept_train, train_in_test = _without(kept_train, kept_test, "test")
    kept_train, train_in_dev = _without(kept_train, kept_dev, "dev")
    if not kept_train:
        raise DataError("Every training record also stands in dev or test.", "Give other files.", at=_place(train))
    check_labels_seen(kept_train, [*kept_dev, *kept_test])
    left_out = [*out_train, *out_dev, *out_test, *dev_in_test, *train_in_test, *train_in_dev]
    drawn_test, rest_test = _sample(kept_test, n_test, seed, what="test")
    drawn_dev, rest_dev = _sample(kept_dev, n_dev, seed, what="dev")
    # What no file gives is drawn from the training records.
    parts = split(
        kept_train, n_train=n_train, n_dev=0 if kept_dev else n_dev, n_test=0 if kept_test else n_test, seed=seed
    )
    left_out += [*rest_test, *rest_dev, *parts.left_out]
    return Splits(parts.train, drawn_dev or parts.dev, drawn_test or parts.test, left_out)


def has_answer(record: Record) -> bool:
    """Say whether a record has an answer to learn or to be judged by."""
    match record:
        case Labelled():
            return bool(record.labels)
        case Question():
            return bool(record.answers) or not record.answerable
        case Pair():
            return bool(record.targets)
        case Conversation():
            return any(message.role == "assistant" for message in record.messages)
        case _:
            return True


def check_labels_seen(train: Iterable[Record], others: Iterable[Record]) -> None:
    """Check that every label of some records also stands among the training records.

    Raises:
        DataError: naming each unseen label with its rows.
    """
    seen = {label for record in train for label in labels_of(record)}
    places: dict[str, list[Record]] = {}
    for record in others:
        for label in set(labels_of(record)) - seen:
            places.setdefault(label, []).append(record)
    if not places:
        return
    told = "; ".join(f"{label!r} in {_rows(records)}" for label, records in sorted(places.items()))
    first = next(iter(places.values()))[0]
    raise DataError(
        f"Labels that never stand in training: {told}.",
        f"Add training records for them, or correct them (training has {', '.join(map(repr, sorted(seen)[:20]))}).",
        at=first.origin,
    )


def _answered(records: Sequence[Record]) -> tuple[list[Record], list[LeftOut]]:
    records = identified(records)
    kept = [record for record in records if has_answer(record)]
    left_out = [LeftOut("no answer", record.origin, record.id) for record in records if not has_answer(record)]
    if records and not kept:
        raise DataError(
            f"None of the {len(records)} records has an answer to learn or to be judged by.",
            "Name the column that holds it, for instance --label or --answer.",
            at=_place(records),
        )
    return kept, left_out


def _sizes(n_records: int, n_train: int | None, n_dev: int | None, *, n_test: int | None) -> tuple[int, int, int]:
    tenth = max(1, n_records // 10)
    dev, test = (tenth if size is None else size for size in (n_dev, n_test))
    train = max(n_records - dev - test, 1) if n_train is None else n_train
    if min(train, dev + 1, test + 1) < 1:
        raise SettingError(
            "A size is below its least (1 for training, 0 for dev and test).", "Raise it.", at="--n-train"
        )
    _check_enough(train + dev + test, n_records, f"training ({train}), dev ({dev}) and test ({test})")
    return train, dev, test


def _check_enough(wanted: int, n_records: int, what: str) -> None:
    if wanted > n_records:
        raise SettingError(
            f"{wanted} records are needed for {what}, but there are {n_records} with an answer.",
            "Lower the sizes, or give more data.",
            at="--n-train",
        )


def _sample(records: list[Record], n: int | None, seed: int, *, what: str) -> tuple[list[Record], list[LeftOut]]:
    if not records or n is None or n == len(records):
        return records, []
    _check_enough(n, len(records), what)
    chosen, rest = sample(shuffled(cluster(records), seed), n, what)
    return flat(chosen), _not_drawn(rest)


def _without(records: Sequence[Record], others: Sequence[Record], name: str) -> tuple[list[Record], list[LeftOut]]:
    """Leave out the records that share an input or a group with others."""
    taken = {key for record in others for key in ties(record)}
    kept, left_out = [], []
    for record in records:
        shared = [what for what, key in ties(record) if (what, key) in taken]
        if shared:
            left_out.append(LeftOut(f"its {shared[0]} also stands in {name}", record.origin, record.id))
        else:
            kept.append(record)
    return kept, left_out


def _not_drawn(clusters: Iterable[Cluster]) -> list[LeftOut]:
    return [LeftOut("not drawn: fewer records are asked for", record.origin, record.id) for record in flat(clusters)]


def _check_one_kind(*parts: Sequence[Record]) -> None:
    kinds = {kind_of(record): record for part in parts for record in reversed(part)}
    if len(kinds) > 1:
        found = "; ".join(f"{kind} in {record.origin}" for kind, record in sorted(kinds.items()))
        raise DataError(
            f"The files hold records of different kinds: {found}.", "Name the dialect of all of them with --dialect."
        )


def _check_labels_differ(records: Sequence[Record]) -> None:
    labels = {label for record in records for label in labels_of(record)}
    if len(labels) == 1:
        raise DataError(
            f"All {len(records)} records have the label {labels.pop()!r}, so there is nothing to tell apart.",
            "Give records with at least two labels, or name another column with --label.",
            at=_place(records),
        )


def _check_no_label_missing(train: Sequence[Cluster], wanted: Iterable[str]) -> None:
    found = {label for cluster in train for label in cluster.labels}
    missing = sorted(set(wanted) - found)
    if missing:
        raise SettingError(
            f"The label {missing[0]!r} would be missing in training ({len(missing)} of {len(missing) + len(found)} labels).",
            "Raise --n-train, lower --n-dev and --n-test, or use smaller groups.",
            at="--n-train",
        )


def _rows(records: Sequence[Record]) -> str:
    places = [str(record.origin) for record in records[:3]]
    more = f" and {len(records) - 3} more" if len(records) > 3 else ""
    return ", ".join(places) + more


def _place(records: Sequence[Record]) -> str | None:
    origin = records[0].origin if records else None
    return origin.file if origin else None
