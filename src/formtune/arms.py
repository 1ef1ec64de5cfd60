"""Arms: one format with one model each, and their records as examples and tokens that fit; no weights are loaded."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from formtune.errors import DataError, SettingError
from formtune.examples import Cell, Example, Format, Output, Shape, Task
from formtune.fitting import NO_ROOM, fit, room_for, truncate
from formtune.formats import cell
from formtune.model_files import decoder_start_in, max_length_in, resolve, shape_in
from formtune.records import Labelled, LeftOut, Question, Record
from formtune.splits import Splits
from formtune.tokens import Tokenizer, Tokens, load_tokenizer, prompts, tokenize_each

BLANKS = ("N/A", "[MASK]")  # say nothing (Zhao et al. 2021, section 4); the third, an empty text, no format takes


@dataclass(frozen=True, slots=True)
class Arm:
    """One format with one model: what a comparison compares.

    Attributes:
        name: the format's name, with ``@model`` behind it where several models take part.
        format: how records become examples.
        cell: the format over this kind of record.
        model: name of the pretrained model.
        shape: its shape.
    """

    name: str
    format: Format
    cell: Cell
    model: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Material:
    """The records of a split in one arm's format, by record id, in the records' order."""

    examples: Mapping[str, Example]
    tokens: Mapping[str, Tokens]

    def only(self, ids: Iterable[str]) -> "Material":
        """Keep some records, in the order given."""
        wanted = list(ids)
        return Material({i: self.examples[i] for i in wanted}, {i: self.tokens[i] for i in wanted})


@dataclass(frozen=True, slots=True)
class Readied:
    """An arm with its three splits as tokens.

    Attributes:
        arm: which.
        output: where its answers are read off.
        train: training records.
        dev: records to choose on.
        test: records that are read once.
        left_out: records that do not go on in this format, with reasons.
        n_truncated: examples whose content was cut.
        n_lossy: examples whose content lost characters that the vocabulary lacks.
        blanks: examples of a record that says nothing, where there are labels.
    """

    arm: Arm
    output: Output
    train: Material
    dev: Material
    test: Material
    left_out: list[LeftOut]
    n_truncated: int
    n_lossy: int
    blanks: Sequence[Example] = ()


@dataclass(frozen=True, slots=True)
class Length:
    """How long examples and answers may be.

    Attributes:
        most: tokens of one example; None for the model's own limit.
        new: tokens of an answer that is written freely.
        writes: whether answers are written even where label words are scored.
    """

    most: int | None = None
    new: int = 64
    writes: bool = False


def make_arms(formats: Sequence[Format], models: Sequence[str], task: Task) -> tuple[list[Arm], dict[str, str]]:
    """Pair formats with models.

    Returns:
        The arms that make sense, and for the others the reason why not.

    Raises:
        SettingError: where none does.
    """
    arms: list[Arm] = []
    refused: dict[str, str] = {}
    for model in models:
        shape = shape_in(resolve(model))
        for format_ in formats:
            name = format_.name if len(models) == 1 else f"{format_.name}@{model.rstrip('/').rsplit('/', 1)[-1]}"
            try:
                arms.append(Arm(name, format_, cell(format_, task, shape), model, shape))
            except SettingError as error:
                refused[name] = error.problem
    if not arms:
        name, reason = next(iter(refused.items()))
        raise SettingError(
            f"No format can be used: {name}: {reason}",
            "Choose another format or model (formtune formats).",
            at="--formats",
        )
    return arms, refused


def ready(arm: Arm, splits: Splits, task: Task, *, length: Length = Length()) -> Readied:
    """Turn the three splits into examples and tokens of one arm.

    Raises:
        DataError: where no training record can be used.
        SettingError: where the model cannot be used.
    """
    folder = resolve(arm.model)
    tokenizer = load_tokenizer(folder)
    start = decoder_start_in(folder) if arm.shape == "encoder-decoder" else None
    capacity = max_length_in(folder, length.most)
    left_out: list[LeftOut] = []
    materials: dict[str, Material] = {}
    n_truncated = n_lossy = 0
    for split in ("train", "dev", "test"):
        examples, unpresentable = present_all(arm, getattr(splits, split), task)
        tokenized = tokenize_each(examples, tokenizer, shape=arm.shape, decoder_start_id=start)
        kept, too_long, n_cut = fit(tokenized.tokens, capacity)
        left_out += unpresentable + tokenized.left_out + too_long
        by_id = {e.id: e for e in examples}
        if split == "train":
            kept, unasked = _learnable(kept)
        else:
            chosen = [by_id[t.id] for t in kept]
            kept, unasked = _answerable(kept, chosen, tokenizer, shape=arm.shape, capacity=capacity, length=length)
        left_out += unasked
        n_truncated += n_cut
        n_lossy += len(tokenized.lossy)
        materials[split] = Material({t.id: by_id[t.id] for t in kept}, {t.id: t for t in kept})
    _check_kept(arm, materials["train"], left_out)
    output = next(iter(materials["train"].examples.values())).output
    return Readied(
        arm,
        output,
        **materials,
        left_out=left_out,
        n_truncated=n_truncated,
        n_lossy=n_lossy,
        blanks=_blanks(arm, splits.train, task),
    )


def _check_kept(arm: Arm, train: Material, left_out: Sequence[LeftOut]) -> None:
    """Refuse a training set of which nothing is left.

    Raises:
        DataError: with the commonest reason.
    """
    if train.tokens:
        return
    reason, count = Counter(one.reason for one in left_out).most_common(1)[0]
    first = next(one for one in left_out if one.reason == reason)
    raise DataError(
        f"No training record can be used in the format {arm.name}; {count} of them: {reason}.",
        "Mend the records, choose another format, or raise model.max_length.",
        at=first.at or first.id,
    )


def _learnable(tokens: Sequence[Tokens]) -> tuple[list[Tokens], list[LeftOut]]:
    """Keep the examples that the loss asks for something."""

    def asks(one: Tokens) -> bool:
        return one.gold is not None or one.corrupt is not None or bool((one.decoder or one).weights_T.any())

    return [t for t in tokens if asks(t)], [LeftOut("nothing in it is learned", id=t.id) for t in tokens if not asks(t)]


def _blanks(arm: Arm, records: Sequence[Record], task: Task) -> list[Example]:
    """Present records that say nothing; a content that the format does not take is passed over."""
    if not task.labels:
        return []
    pattern = max(records, key=lambda r: len(r.choices) if isinstance(r, Question) else 0)
    return present_all(arm, [_emptied(pattern, content) for content in BLANKS], task)[0]


def _emptied(record: Record, content: str) -> Record:
    """Put one content in the place of all that a labelled record or a question says."""
    if isinstance(record, Labelled):
        return msgspec.structs.replace(record, inputs=dict.fromkeys(record.inputs, content), id=f"blank {content!r}")
    assert isinstance(record, Question)
    context = None if record.context is None else content
    return msgspec.structs.replace(record, question=content, context=context, id=f"blank {content!r}")


def _answerable(
    tokens: Sequence[Tokens],
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    *,
    shape: Shape,
    capacity: int,
    length: Length,
) -> tuple[list[Tokens], list[LeftOut]]:
    """Keep the examples behind whose prompt there is room for an answer."""
    if not examples:
        return [], []
    asked = prompts(examples, tokenizer, shape=shape)
    n_written = length.new if length.writes or not examples[0].candidates else 0
    room = room_for(asked, shape=shape, output=examples[0].output, n_written=n_written)
    fits = [truncate(prompt, capacity - room) is not None for prompt in asked]
    pairs = list(zip(tokens, fits, strict=True))
    return [t for t, fit_ in pairs if fit_], [LeftOut(NO_ROOM, id=t.id) for t, fit_ in pairs if not fit_]


def present_all(arm: Arm, records: Sequence[Record], task: Task) -> tuple[list[Example], list[LeftOut]]:
    """Present every record; those that the format cannot take are left out with its reason."""
    examples: list[Example] = []
    left_out: list[LeftOut] = []
    for record in records:
        try:
            examples.append(arm.cell.present(record, task, arm.shape))
        except DataError as error:
            left_out.append(LeftOut(error.problem, at=record.origin, id=record.id))
    return examples, left_out


def shared(arms: Sequence[Readied]) -> tuple[list[Readied], list[LeftOut]]:
    """Keep the records that every arm can take, so that all are compared on the same ones."""
    kept = []
    for name in ("train", "dev", "test"):
        common = set.intersection(*(set(getattr(a, name).tokens) for a in arms))
        kept.append([i for i in getattr(arms[0], name).tokens if i in common])
    for name, ids in zip(("train", "dev", "test"), kept, strict=True):
        if not ids and any(getattr(a, name).tokens for a in arms):
            raise DataError(
                f"No {name} record can be used in all of the formats {', '.join(a.arm.name for a in arms)}.",
                "Leave a format out, raise model.max_length, or lower comparison.max_new_tokens.",
            )
    lost = {one.id or str(one.at): one for arm in arms for one in arm.left_out}
    out = [replace(a, train=a.train.only(kept[0]), dev=a.dev.only(kept[1]), test=a.test.only(kept[2])) for a in arms]
    return out, list(lost.values())
