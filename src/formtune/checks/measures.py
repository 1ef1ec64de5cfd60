"""How long records are: in characters, or in the tokens of a model, as text or as the formats present them."""

from collections.abc import Sequence
from dataclasses import dataclass

from formtune.arms import Arm, make_arms, present_all
from formtune.examples import Example, Format, Task
from formtune.fitting import fit
from formtune.model_files import decoder_start_in, max_length_in, resolve
from formtune.records import Plain, Record, answer_text, input_text
from formtune.template_options import TemplateOptions, check_used
from formtune.tokens import Tokenizer, Tokens, load_tokenizer, tokenize_each


@dataclass(frozen=True, slots=True)
class Measured:
    """The lengths of records.

    Attributes:
        unit: ``characters`` or ``tokens``.
        lengths: of each record that can be presented.
        format: as which they are presented; empty for their text as it is.
        window: how many tokens the model takes; None where no model is named.
        cut: records that are longer, and are cut.
        lost: records whose answer does not fit, and that are left out.
    """

    unit: str
    lengths: Sequence[int]
    format: str = ""
    window: int | None = None
    cut: Sequence[Record] = ()
    lost: Sequence[Record] = ()


def measured(
    records: Sequence[Record],
    *,
    model: str | None,
    formats: Sequence[Format],
    task: Task | None,
    max_length: int | None,
    template_options: TemplateOptions,
) -> list[Measured]:
    """Measure records as exactly as is known what they are for.

    Args:
        records: of any kinds.
        model: that they are meant for; without one characters are counted.
        formats: that they are meant for; without one the text is counted as it is.
        task: what the formats are told.
        max_length: the most tokens of an example; None for the model's own limit.
        template_options: what the model's chat template is told besides conversations.

    Raises:
        SettingError: where the model cannot be used, or none of the formats goes through its chat template, which is told
            something all the same.
    """
    if model is None:
        return [Measured("characters", [len(whole_text(record)) for record in records])]
    if not formats or task is None:
        return [_as_text(records, model, max_length)]
    folder = resolve(model)
    tokenizer = load_tokenizer(folder, template_options=template_options)
    arms, _refused = make_arms(formats, [model], task)
    window = max_length_in(folder, max_length)
    start_id = decoder_start_in(folder)
    found, is_rendered = [], False
    for arm in arms:
        examples, _unfit = present_all(arm, records, task)
        is_rendered = is_rendered or any(example.turns for example in examples)
        found.append(_as_presented(arm, examples, records, tokenizer=tokenizer, start_id=start_id, window=window))
    check_used(template_options, is_rendered=is_rendered)
    return found


def whole_text(record: Record) -> str:
    """Give what a record says, input and answer."""
    return input_text(record) if isinstance(record, Plain) else f"{input_text(record)} {answer_text(record)}"


def _as_text(records: Sequence[Record], model: str, max_length: int | None) -> Measured:
    folder = resolve(model)
    window, tokenizer = max_length_in(folder, max_length), load_tokenizer(folder)
    encoded = tokenizer.encode([whole_text(record) for record in records], offsets=False)
    lengths = [len(ids_T) for ids_T, _ in encoded]
    long = [record for record, n in zip(records, lengths, strict=True) if n > window]
    return Measured("tokens", lengths, window=window, cut=long)


def _as_presented(
    arm: Arm,
    examples: Sequence[Example],
    records: Sequence[Record],
    *,
    tokenizer: Tokenizer,
    start_id: int | None,
    window: int,
) -> Measured:
    by_id = {record.id: record for record in records}
    tokens = tokenize_each(examples, tokenizer, shape=arm.shape, decoder_start_id=start_id).tokens
    fitting, too_long, _n_cut = fit([one for one in tokens if _length(one) > window], window)
    return Measured(
        "tokens",
        [_length(one) for one in tokens],
        format=arm.name,
        window=window,
        cut=[by_id[one.id] for one in fitting],
        lost=[by_id[one.id] for one in too_long if one.id in by_id],
    )


def _length(tokens: Tokens) -> int:
    return max(len(tokens.ids_T), len(tokens.decoder.ids_T) if tokens.decoder else 0)
