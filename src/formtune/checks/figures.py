"""What an audit shows in pictures, as plain values: how long records are, which labels they have, which languages."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from formtune.checks.finding import Context
from formtune.checks.languages import language_of
from formtune.checks.measures import Measured
from formtune.records import Record, input_text
from formtune.splits import labels_of

N_BINS = 40
N_SHARES = 20
N_SPOKEN = 2000  # texts of each part whose language is told
_WHOLE = 0.99  # of the records; what is longer shares the last bin, or one outlier would leave nothing to see


def figures(context: Context, ran: Collection[str]) -> list[dict[str, Any]]:
    """Measure what the checks looked at.

    Args:
        context: as for the checks.
        ran: the names of the checks that were run; what none of them looked at has no figure.

    Returns:
        Of lengths ``title``, ``unit``, ``bins`` (each from, to before, records), ``n_beyond`` (records in the last bin that
        are longer than its end) and ``window``; of labels and languages ``title`` and ``rows``, each with its ``name``
        and its ``counts`` by part, the most frequent first, and ``n_more`` rows that are not listed.
    """
    found = [_lengths(one) for one in context.measured if one.lengths] if "lengths" in ran else []
    for check, title, name_all in (("balance", "Labels", _labels), ("languages", "Languages", _languages)):
        if check in ran and (rows := _shares(title, context.parts, name_all)):
            found.append(rows)
    return found


def _lengths(one: Measured) -> dict[str, Any]:
    lengths = np.array(one.lengths)
    end = int(np.quantile(lengths, _WHOLE)) + 1
    if one.window is not None and one.window < 2 * end:
        end = max(end, one.window + 1)  # so that what is cut is seen to be
    width = -(-end // N_BINS)
    n_bins = -(-end // width)
    counts = np.bincount(np.minimum(lengths // width, n_bins - 1), minlength=n_bins)
    title = f"{one.unit.capitalize()} of a record{f', as {one.format}' if one.format else ''}"
    return {
        "title": title,
        "unit": one.unit,
        "bins": [[place * width, (place + 1) * width, n] for place, n in enumerate(counts.tolist())],
        "n_beyond": int((lengths >= n_bins * width).sum()),
        "window": one.window,
        "n_cut": len(one.cut),
        "n_lost": len(one.lost),
    }


def _shares(
    title: str, parts: Mapping[str, Sequence[Record]], name_all: Callable[[Sequence[Record]], Counter[str]]
) -> dict[str, Any] | None:
    """Count names in each part; None where there are none."""
    counts = {part: name_all(records) for part, records in parts.items()}
    total: Counter[str] = sum(counts.values(), Counter())
    rows = [
        {"name": name, "counts": {part: found[name] for part, found in counts.items()}}
        for name, _ in total.most_common(N_SHARES)
    ]
    return {"title": title, "rows": rows, "n_more": len(total) - len(rows)} if rows else None


def _labels(records: Sequence[Record]) -> Counter[str]:
    return Counter(label for record in records for label in labels_of(record))


def _languages(records: Sequence[Record]) -> Counter[str]:
    sample = records[:: -(-len(records) // N_SPOKEN) or 1]
    return Counter(language_of(input_text(record)) or "too short to tell" for record in sample)
