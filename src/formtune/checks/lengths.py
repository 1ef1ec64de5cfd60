"""Records that are longer than a model takes, or far longer than their neighbors.

With a model and formats (``--model``, ``--formats``) every record is presented and tokenized as for training: counted
are those whose content is cut, and those whose answer does not fit. With a model alone, the plain text of input and
answer is counted in its tokens. Without a model only outliers in characters are noted: beyond eight times the 95th
percentile.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from formtune.checks.finding import Context, Finding, Rule, counted, finding, found, place_of
from formtune.checks.measures import Measured, whole_text
from formtune.records import Record, answer_text

CUT = Rule(
    "FT228",
    "warning",
    "A record is longer than the model takes, and will be cut.",
    "Raise --max-length, take a model that reads more, or split the text.",
)
LOST = Rule(
    "FT229",
    "error",
    "The answer of a record does not fit, so the record is left out.",
    "Raise --max-length, take a model that reads more, or shorten the answer.",
)
OUTLIER = Rule(
    "FT230",
    "note",
    "A record is far longer than the others.",
    "Look at it: rows that ran together and pasted documents look like this.",
)
RULES = (CUT, LOST, OUTLIER)
BEYOND = 8
AT_LEAST = 2000  # characters; below that no outlier matters


def find(records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Measure every record, as exactly as the context allows."""
    in_characters = context.measured[0].lengths if context.model is None else [len(whole_text(one)) for one in records]
    yield from _outliers(records, np.array(in_characters))
    for one in context.measured:
        if one.window is not None:
            yield from _beyond(one, context.model)


def _outliers(records: Sequence[Record], lengths: NDArray[np.int64]) -> Iterator[Finding]:
    if len(lengths) < 20:
        return
    median, most = (int(x) for x in np.quantile(lengths, (0.5, 0.95)))
    far = [r for r, n in zip(records, lengths.tolist(), strict=True) if n > max(BEYOND * most, AT_LEAST)]
    problem = f"{counted(len(far), 'record', 'is')} more than {BEYOND} times as long as 95 % of the records are."
    details = [f"median {median:,} characters, 95 % up to {most:,}, longest {int(lengths.max()):,}"]
    yield from found(OUTLIER, far, problem, details=details)


def _beyond(one: Measured, model: str | None) -> Iterator[Finding]:
    """Report what is cut, and what is lost, because the model's window is shorter."""
    window = f"{one.window:,} tokens that {model} takes"
    details = [_spread(one.lengths)]
    if not one.format:
        problem = f"{counted(len(one.cut), 'record', 'is')} longer than the {window}."
        yield from found(CUT, one.cut, problem, details=details)
        return
    problem = f"As {one.format}, {counted(len(one.cut), 'record')} of {len(one.lengths):,} must be cut to the {window}."
    yield from found(CUT, one.cut, problem, details=details)
    if one.lost:
        details = [
            f"{place_of(record)}: an answer of {len(answer_text(record)):,} characters" for record in one.lost[:10]
        ]
        problem = f"As {one.format}, the answers of {counted(len(one.lost), 'record')} do not fit into the {window}."
        yield finding(LOST, one.lost, problem, details=details)


def _spread(lengths: Sequence[int]) -> str:
    if not lengths:
        return "no record can be presented"
    median, most, longest = (int(x) for x in np.quantile(np.array(lengths), (0.5, 0.95, 1.0)))
    return f"median {median:,} tokens, 95 % up to {most:,}, longest {longest:,}"
