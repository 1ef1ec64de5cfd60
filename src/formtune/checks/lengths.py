"""Records that are longer than a model takes, or far longer than their neighbors.

With a model and formats (``--model``, ``--formats``) every record is presented and tokenized as for training: counted
are those whose content is cut, and those whose answer does not fit. With a model alone, the plain text of input and
answer is counted in its tokens. Without a model only outliers in characters are noted: beyond eight times the 95th
percentile.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from formtune.arms import make_arms, present_all
from formtune.checks.finding import Context, Finding, Rule, counted, finding, found, place_of
from formtune.fitting import fit
from formtune.model_files import decoder_start_in, max_length_in, resolve
from formtune.records import Plain, Record, answer_text, input_text
from formtune.tokens import Tokens, load_tokenizer, tokenize_each

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
    yield from _outliers(records)
    if context.model is not None and context.formats:
        yield from _in_formats(records, context)
    elif context.model is not None:
        yield from _in_tokens(records, context.model, context.max_length)


def _outliers(records: Sequence[Record]) -> Iterator[Finding]:
    lengths = np.array([len(_whole(record)) for record in records])
    if len(lengths) < 20:
        return
    median, most = (int(x) for x in np.quantile(lengths, (0.5, 0.95)))
    far = [r for r, n in zip(records, lengths.tolist(), strict=True) if n > max(BEYOND * most, AT_LEAST)]
    problem = f"{counted(len(far), 'record', 'is')} more than {BEYOND} times as long as 95 % of the records are."
    details = [f"median {median:,} characters, 95 % up to {most:,}, longest {int(lengths.max()):,}"]
    yield from found(OUTLIER, far, problem, details=details)


def _whole(record: Record) -> str:
    return input_text(record) if isinstance(record, Plain) else f"{input_text(record)} {answer_text(record)}"


def _in_tokens(records: Sequence[Record], model: str, max_length: int | None) -> Iterator[Finding]:
    folder = resolve(model)
    capacity, tokenizer = max_length_in(folder, max_length), load_tokenizer(folder)
    encoded = tokenizer.encode([_whole(record) for record in records], offsets=False)
    lengths = [len(ids_T) for ids_T, _ in encoded]
    long = [record for record, n in zip(records, lengths, strict=True) if n > capacity]
    problem = f"{counted(len(long), 'record', 'is')} longer than the {capacity:,} tokens that {model} takes."
    yield from found(CUT, long, problem, details=[_spread(lengths)])


def _in_formats(records: Sequence[Record], context: Context) -> Iterator[Finding]:
    assert context.model is not None
    assert context.task is not None
    folder = resolve(context.model)
    capacity = max_length_in(folder, context.max_length)
    tokenizer = load_tokenizer(folder, template_options=context.template_options)
    arms, _refused = make_arms(context.formats, [context.model], context.task)
    by_id = {record.id: record for record in records}
    for arm in arms:
        examples, _unfit = present_all(arm, records, context.task)
        tokens = tokenize_each(examples, tokenizer, shape=arm.shape, decoder_start_id=decoder_start_in(folder)).tokens
        long = [one for one in tokens if _length(one) > capacity]
        fitting, too_long, _n_cut = fit(long, capacity)
        window = f"{capacity:,} tokens that {context.model} takes"
        details = [_spread([_length(one) for one in tokens])]
        cut = [by_id[one.id] for one in fitting]
        problem = f"As {arm.name}, {counted(len(cut), 'record')} of {len(tokens):,} must be cut to the {window}."
        yield from found(CUT, cut, problem, details=details)
        lost = [by_id[one.id] for one in too_long if one.id in by_id]
        if lost:
            details = [
                f"{place_of(record)}: an answer of {len(answer_text(record)):,} characters" for record in lost[:10]
            ]
            problem = f"As {arm.name}, the answers of {counted(len(lost), 'record')} do not fit into the {window}."
            yield finding(LOST, lost, problem, details=details)


def _length(tokens: Tokens) -> int:
    return max(len(tokens.ids_T), len(tokens.decoder.ids_T) if tokens.decoder else 0)


def _spread(lengths: Sequence[int]) -> str:
    if not lengths:
        return "no record can be presented"
    median, most, longest = (int(x) for x in np.quantile(np.array(lengths), (0.5, 0.95, 1.0)))
    return f"median {median:,} tokens, 95 % up to {most:,}, longest {longest:,}"
