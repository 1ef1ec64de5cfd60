"""Arms: one format with one model each, and their records as examples and tokens that fit; no weights are loaded."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from formtune.errors import DataError, SettingError
from formtune.examples import Cell, Example, Format, Output, Shape, Task
from formtune.fitting import NO_ROOM, fit, room_for, truncate
from formtune.formats import cell, unanswered
from formtune.label_words import check_distinct
from formtune.model_files import decoder_start_in, max_length_in, resolve, shape_in
from formtune.records import Labelled, LeftOut, Question, Record
from formtune.splits import Splits
from formtune.template_options import NO_OPTIONS, TemplateOptions
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

    def in_order(self) -> Sequence[Tokens]:
        """Give the tokens in their order; those of prepared records are made one by one, as they are asked for."""
        values = self.tokens.values()
        return values if isinstance(values, Sequence) else list(values)

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
        tokenizer_digest: what names the vocabulary.
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
    tokenizer_digest: str
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


@dataclass(frozen=True, slots=True)
class PreparedPart:
    """Training records that are tokens already.

    Attributes:
        tokens: by id, in their order.
        output: where answers are read off.
    """

    tokens: Mapping[str, Tokens]
    output: Output


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
    _check_names(arms)
    if not arms:
        name, reason = next(iter(refused.items()))
        raise SettingError(
            f"No format can be used: {name}: {reason}",
            "Choose another format or model (formtune formats).",
            at="--formats",
        )
    return arms, refused


def _check_names(arms: Sequence[Arm]) -> None:
    twice = [name for name, n in Counter(arm.name for arm in arms).items() if n > 1]
    if twice:
        raise SettingError(
            f"Two arms would be called {twice[0]!r}.",
            "Name each format and model once; give folders and templates names of their own.",
            at="--formats",
        )


def ready(
    arm: Arm,
    splits: Splits,
    task: Task,
    *,
    length: Length = Length(),
    template_options: TemplateOptions = NO_OPTIONS,
    prepared: PreparedPart | None = None,
) -> Readied:
    """Turn the three splits into examples and tokens of one arm.

    Args:
        arm: which.
        splits: the records; none to train on where these are prepared.
        task: what the format knows of the whole data set.
        length: how long examples and answers may be.
        template_options: what the model's chat template is told besides conversations.
        prepared: training records that are tokens already.

    Raises:
        DataError: where no record of a split can be used.
        SettingError: where the model cannot be used, or not with these options.
    """
    folder = resolve(arm.model)
    maker = _Maker(
        arm=arm,
        task=task,
        tokenizer=load_tokenizer(folder, template_options=template_options),
        start_id=decoder_start_in(folder) if arm.shape == "encoder-decoder" else None,
        capacity=max_length_in(folder, length.most),
        length=length,
    )
    parts = {name: maker.part(name, getattr(splits, name)) for name in ("train", "dev", "test")}
    if prepared is not None:
        parts["train"] = _Part(Material({}, prepared.tokens), [], 0, 0)
    return Readied(
        arm,
        next(iter(parts["train"].material.examples.values())).output if prepared is None else prepared.output,
        **{name: part.material for name, part in parts.items()},
        left_out=[one for part in parts.values() for one in part.left_out],
        n_truncated=sum(part.n_truncated for part in parts.values()),
        n_lossy=sum(part.n_lossy for part in parts.values()),
        tokenizer_digest=maker.tokenizer.digest,
        blanks=_blanks(arm, [*splits.train[:1], *splits.dev[:1], *splits.test[:1]], task),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One split in an arm's format, what does not go on, and what was changed to fit."""

    material: Material
    left_out: list[LeftOut]
    n_truncated: int
    n_lossy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """Makes examples and tokens of one arm."""

    arm: Arm
    task: Task
    tokenizer: Tokenizer
    start_id: int | None
    capacity: int
    length: Length

    def part(self, split: str, records: Sequence[Record]) -> _Part:
        examples, unpresentable = present_all(self.arm, records, self.task)
        tokenized = tokenize_each(examples, self.tokenizer, shape=self.arm.shape, decoder_start_id=self.start_id)
        fitting, too_long, n_cut = fit(tokenized.tokens, self.capacity)
        by_id = {e.id: e for e in examples}
        kept, unasked = (
            _learnable(fitting) if split == "train" else self._answerable(fitting, [by_id[t.id] for t in fitting])
        )
        _check_words([by_id[t.id] for t in kept], kept)
        material = Material({t.id: by_id[t.id] for t in kept}, {t.id: t for t in kept})
        left_out = _placed([*unpresentable, *tokenized.left_out, *too_long, *unasked], records)
        if records and not kept:
            raise _nothing_left(self.arm, split, left_out)
        return _Part(material, left_out, n_cut, len(tokenized.lossy))

    def _answerable(self, tokens: Sequence[Tokens], examples: Sequence[Example]) -> tuple[list[Tokens], list[LeftOut]]:
        """Keep the examples behind whose prompt there is room for an answer."""
        if not examples:
            return [], []
        shape, output = self.arm.shape, examples[0].output
        asked = prompts(examples, self.tokenizer, shape=shape)
        n_written = self.length.new if self.length.writes or not examples[0].candidates else 0
        capacity = self.capacity - room_for(asked, shape=shape, output=output, n_written=n_written)
        pairs = [(t, truncate(prompt, capacity) is not None) for t, prompt in zip(tokens, asked, strict=True)]
        return [t for t, fits in pairs if fits], [LeftOut(NO_ROOM, id=t.id) for t, fits in pairs if not fits]


def _check_words(examples: Sequence[Example], tokens: Sequence[Tokens]) -> None:
    """Refuse label words that the model cannot tell apart before anything is trained.

    Raises:
        SettingError: naming the words.
    """
    seen = set()
    for example, one in zip(examples, tokens, strict=True):
        if example.output in ("words", "mask") and example.candidates not in seen:
            seen.add(example.candidates)
            check_distinct(one.candidates, example.candidates)


def _placed(left_out: Sequence[LeftOut], records: Sequence[Record]) -> list[LeftOut]:
    """Say where each record stands that was left out by its id."""
    origins = {r.id: r.origin for r in records}
    return [one if one.at else msgspec.structs.replace(one, at=origins.get(one.id or "")) for one in left_out]


def _nothing_left(arm: Arm, split: str, left_out: Sequence[LeftOut]) -> DataError:
    """Say that nothing of a split is left, with the commonest reason."""
    reason, count = Counter(one.reason for one in left_out).most_common(1)[0]
    first = next(one for one in left_out if one.reason == reason)
    return DataError(
        f"No {split} record can be used in the format {arm.name}; {count} of them: {reason}.",
        "Mend the records, choose another format, raise model.max_length, or lower comparison.max_new_tokens.",
        at=first.at or first.id,
    )


def _learnable(tokens: Sequence[Tokens]) -> tuple[list[Tokens], list[LeftOut]]:
    """Keep the examples that the loss asks for something."""

    def asks(one: Tokens) -> bool:
        return one.gold is not None or one.corrupt is not None or bool((one.decoder or one).weights_T.any())

    return [t for t in tokens if asks(t)], [LeftOut("nothing in it is learned", id=t.id) for t in tokens if not asks(t)]


def _blanks(arm: Arm, records: Sequence[Record], task: Task) -> list[Example]:
    """Present records that say nothing; a content that the format does not take is passed over.

    Where choices differ from record to record there are none: a letter stands for what the record says.
    """
    if not task.labels or task.letters or not records:
        return []
    pattern = unanswered(records[0])
    return present_all(arm, [_emptied(pattern, content) for content in BLANKS], task)[0]


def _emptied(record: Record, content: str) -> Record:
    """Put one content in the place of all that a labelled record or a question says."""
    if isinstance(record, Labelled):
        return msgspec.structs.replace(record, inputs=dict.fromkeys(record.inputs, content), id=f"blank {content!r}")
    assert isinstance(record, Question)
    context = None if record.context is None else content
    return msgspec.structs.replace(record, question=content, context=context, id=f"blank {content!r}")


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


def check_comparable(arms: Sequence[Readied], needs: str, *, metric: str) -> None:
    """Refuse to compare likelihoods of different texts, or per token of different vocabularies.

    Args:
        arms: with the same test records.
        needs: what the metric is made of.
        metric: its name.

    Raises:
        SettingError: naming two arms that cannot be compared.
    """
    if needs != "nll":
        return
    first, *others = arms
    for other in others:
        names = f"{first.arm.name} and {other.arm.name}"
        if _asked_texts(first) != _asked_texts(other):
            raise SettingError(
                f"{names} ask for different parts of a text, whose likelihoods do not compare.",
                "Compare models under one format, or formats on records that have answers.",
                at="--formats",
            )
        if metric == "perplexity" and first.tokenizer_digest != other.tokenizer_digest:
            raise SettingError(
                f"{names} count tokens of different vocabularies.",
                "Compare by bits_per_byte.",
                at="comparison.metric",
            )


def _asked_texts(readied: Readied) -> list[tuple[str, bool]]:
    """Give what each test example asks for, and whether it is drawn at random."""

    def asked(example: Example) -> str:
        if example.references and example.corrupt is None:
            return example.references[0]
        return "".join(s.text for s in example.segments if s.weight > 0).strip()

    return [(asked(example), example.corrupt is not None) for example in readied.test.examples.values()]


def shared(arms: Sequence[Readied]) -> tuple[list[Readied], list[LeftOut]]:
    """Keep the records that every arm can take, so that all are compared on the same ones."""
    kept = []
    for name in ("train", "dev", "test"):
        common = set.intersection(*(set(getattr(a, name).tokens) for a in arms))
        kept.append([i for i in getattr(arms[0], name).tokens if i in common])
    for name, ids in zip(("train", "dev", "test"), kept, strict=True):
        if not ids:
            raise DataError(
                f"No {name} record can be used in all of the formats {', '.join(a.arm.name for a in arms)}.",
                "Leave a format out, raise model.max_length, or lower comparison.max_new_tokens.",
            )
    lost = {one.id or str(one.at): one for arm in arms for one in arm.left_out}
    out = [replace(a, train=a.train.only(kept[0]), dev=a.dev.only(kept[1]), test=a.test.only(kept[2])) for a in arms]
    return out, list(lost.values())
