"""What a model sees: examples as lists of tokens, each with its text, its part and what is learned of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from formtune.corruption import corrupted
from formtune.errors import DataError, SettingError
from formtune.examples import Example, Format, Output, Shape, Task
from formtune.fitting import TOO_LONG, fit
from formtune.formats import cell, named
from formtune.model_files import decoder_start_in, max_length_in, resolve, shape_in
from formtune.peer_rows import PeerRow, peer_row
from formtune.peer_rules import peer_rule
from formtune.peer_tokens import kept
from formtune.records import Record, answer_text, fields_of
from formtune.reports import Shown, ShownExample, ShownToken, preview_html
from formtune.reports.data import TokenPart
from formtune.results import Result
from formtune.template_options import NO_OPTIONS, TemplateOptions, check_used
from formtune.tokens import Tokenizer, Tokens, byte_tokenizer, load_tokenizer, tokenize

PARTS: tuple[TokenPart, ...] = ("scaffold", "content", "target", "control")  # by the numbers in Tokens.parts_T
READ_OFF: dict[Output, str] = {
    "head": "read off a class head over {n} labels",
    "words": "read off the likelihood of {n} label words",
    "mask": "read off what fills the mask, out of {n} label words",
    "text": "written freely",
}
CORRUPTED = "read off places that are drawn anew each epoch"
SHOWN_CORRUPTION = 0  # seed of the draw that is shown


def previewed(  # noqa: PLR0913 - what the command asks for
    record: Record,
    formats: Sequence[Format],
    task: Task,
    *,
    model: str | None,
    max_length: int | None = None,
    template_options: TemplateOptions = NO_OPTIONS,
    out: str | None,
    peers: Sequence[str] = (),
    dialect: str | None = None,
) -> Result:
    """Show one record in some formats, with the model's own tokenizer or, without a model, byte by byte.

    Args:
        record: which.
        formats: one or several.
        task: what the formats are told.
        model: name of a model; its weights are not loaded.
        max_length: the most tokens of an example; None for the model's own limit.
        template_options: what its chat template is told besides conversations.
        out: path of an HTML page to write.
        peers: other trainers, to show beside them what each would learn (see :mod:`formtune.peer_rules`).
        dialect: that the record was read from; a trainer reads the loss weights of its own.

    Raises:
        DataError: where the record does not fit.
        SettingError: where the model cannot be used, or the page cannot be written.
    """
    folder = resolve(model) if model else None
    tokenizer = load_tokenizer(folder, template_options=template_options) if folder else byte_tokenizer()
    shape: Shape = shape_in(folder) if folder else "decoder"
    start = decoder_start_in(folder) if folder else None
    capacity = max_length_in(folder, max_length) if folder else max_length
    with _placed(record):
        examples = [cell(format_, task, shape).present(record, task, shape) for format_ in formats]
        check_used(template_options, is_rendered=folder is not None and any(one.turns for one in examples))
        shown = [
            shown_example(format_.name, example, tokenizer, shape=shape, decoder_start_id=start, capacity=capacity)
            for format_, example in zip(formats, examples, strict=True)
        ]
        talk = partial(_conversation, record, task, shape)
        for peer in peers:
            row = peer_row(peer_rule(peer), record, tokenizer, dialect=dialect, conversation=talk)
            shown.append(shown_peer(row, tokenizer, readable=capacity))
    if out:
        _write(
            out,
            preview_html(Shown(place=str(record.origin or record.id), fields=fields_of(record), examples=shown)),
        )
    values = _values(record, shown, tokenizer)
    return Result({**values, "out": out} if out else values, shown=tuple(shown))


def _conversation(record: Record, task: Task, shape: Shape) -> Example:
    return cell(named("chat"), task, shape).present(record, task, shape)


@contextmanager
def _placed(record: Record) -> Iterator[None]:
    """Give a refusal that knows no place the record's: a chat template sees a conversation and not its line."""
    try:
        yield
    except DataError as error:
        if error.at is not None:
            raise
        raise DataError(error.problem, error.remedy, at=record.origin or record.id) from error


def _values(record: Record, shown: Sequence[ShownExample], tokenizer: Tokenizer) -> dict[str, object]:
    """Give what ``--json`` prints: every example, and beside the record's own values those of the first once more."""
    examples = [_example(one, tokenizer) for one in shown]
    return {
        "record": record.id,
        "place": str(record.origin or ""),
        **examples[0],
        "answer": answer_text(record),
        "examples": examples,
    }


def _example(shown: ShownExample, tokenizer: Tokenizer) -> dict[str, object]:
    """Give one example as plain values."""
    tokens = (*shown.tokens, *shown.decoder)
    return {
        "format": shown.arm,
        "text": tokenizer.decode([t.id for t in tokens], skip_control=False),
        "tokens": [token_values(t) for t in tokens],
        "cut": shown.n_cut,
        **({"notes": list(shown.notes)} if shown.notes else {}),
    }


def token_values(shown: ShownToken) -> dict[str, object]:
    """Give a token as plain values; ``asks`` is what a mask slot, or a place that was changed, asks for."""
    asks = {"asks": shown.asks} if shown.asks else {}
    return {"id": shown.id, "text": shown.text, "part": shown.part, "weight": shown.weight, "why": shown.why, **asks}


def _write(out: str, text: str) -> None:
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingError(
            f"{out!r} cannot be written ({error.strerror}).", "Give a file that you may write.", at="--out"
        ) from error


def shown_example(
    name: str,
    example: Example,
    tokenizer: Tokenizer,
    *,
    shape: Shape,
    decoder_start_id: int | None = None,
    capacity: int | None = None,
) -> ShownExample:
    """Show an example as the tokens that a model with room for so many sees; masked places as one draw gives them.

    Raises:
        DataError: where it does not fit, even without content.
    """
    start = tokenizer.pad_id or 0 if decoder_start_id is None else decoder_start_id
    whole = tokenize([example], tokenizer, shape=shape, decoder_start_id=start)[0]
    fitting, too_long, _ = fit([whole], capacity) if capacity else ([whole], [], 0)
    if too_long:
        raise DataError(f"This record is {TOO_LONG}.", "Raise --max-length, or take a model that reads more.", at=name)
    tokens = corrupted(fitting[0], tokenizer, SHOWN_CORRUPTION)
    answer = example.candidates[example.gold] if example.output == "head" and example.gold is not None else ""
    return ShownExample(
        arm=name,
        tokens=shown_tokens(tokens, tokenizer),
        decoder=shown_tokens(tokens.decoder, tokenizer) if tokens.decoder else (),
        read_off=CORRUPTED if example.corrupt else READ_OFF[example.output].format(n=len(example.candidates)),
        answer=answer,
        n_cut=len(whole.ids_T) - len(tokens.ids_T),
    )


def shown_tokens(tokens: Tokens, tokenizer: Tokenizer) -> tuple[ShownToken, ...]:
    """Show each token with its text, part and weight, and what a mask slot asks for."""
    return tuple(
        ShownToken(
            text=tokenizer.token_text(int(id_)),
            id=int(id_),
            part=PARTS[part],
            weight=float(weight),
            asks=tokenizer.token_text(int(label)) if label != id_ else "",
            why=_why(PARTS[part], float(weight), is_control=label == id_ and int(id_) in tokenizer.control_ids),
        )
        for id_, label, weight, part in zip(
            tokens.ids_T, tokens.labels_T, tokens.weights_T, tokens.parts_T, strict=True
        )
    )


def _why(part: TokenPart, weight: float, *, is_control: bool) -> str:
    """Say which rule of the format made a token learned, or not."""
    if weight > 0:
        return "ends what the model produces" if is_control and part == "target" else "what the model has to produce"
    reasons: dict[TokenPart, str] = {
        "scaffold": "the format's wording",
        "content": "given to the model",
        "target": "the data says not to learn it",
        "control": "the model's own token, given to it",
    }
    return reasons[part]


def shown_peer(row: PeerRow, tokenizer: Tokenizer, *, readable: int | None) -> ShownExample:
    """Show what another trainer would learn of a row by its default rules; ``readable`` tokens fit in the model."""
    rule, tokens = row.rule, row.tokens
    left = kept(rule, tokens, readable=readable)
    return ShownExample(
        arm=f"as {rule.title} does",
        tokens=tuple(
            ShownToken(
                text=tokenizer.token_text(token.id),
                id=token.id,
                part="control" if token.id in tokenizer.control_ids else token.segment.part,
                weight=token.weight,
                why=token.why,
            )
            for token in left
        ),
        n_cut=len(tokens) - len(left),
        notes=(*rule.notes, f"See {rule.reference}."),
    )
