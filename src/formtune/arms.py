"""Arms: one format with one model each, their records as examples and tokens, and one fine-tuning of one of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from formtune.batches import by_budget, collate, fit
from formtune.corruption import corrupted
from formtune.errors import DataError, SettingError
from formtune.examples import Cell, Example, Format, Output, Shape, Task
from formtune.formats import cell
from formtune.freezing import renew, trained
from formtune.loading import Options, decoder_start_of, load_model, max_length_of
from formtune.model_files import resolve, shape_in
from formtune.models import Model
from formtune.records import LeftOut, Record
from formtune.splits import Splits
from formtune.tokens import Tokens, load_tokenizer, tokenize_each
from formtune.training import Look, Objective, TracePoint, Trained, TrainSettings, factors_of, train

DEV_SEED = 2**31  # beyond what users take for training seeds


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
    """

    arm: Arm
    output: Output
    train: Material
    dev: Material
    test: Material
    left_out: list[LeftOut]
    n_truncated: int


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


def ready(arm: Arm, splits: Splits, task: Task, *, options: Options) -> Readied:
    """Turn the three splits into examples and tokens of one arm."""
    tokenizer = load_tokenizer(resolve(arm.model))
    start = decoder_start_of(arm.model) if arm.shape == "encoder-decoder" else None
    capacity = max_length_of(arm.model, options.max_length)
    left_out: list[LeftOut] = []
    materials: dict[str, Material] = {}
    n_truncated = 0
    for split in ("train", "dev", "test"):
        records = getattr(splits, split)
        examples, unpresentable = present_all(arm, records, task)
        tokenized = tokenize_each(examples, tokenizer, shape=arm.shape, decoder_start_id=start)
        kept, too_long, n_cut = fit(tokenized.tokens, capacity)
        left_out += unpresentable + tokenized.left_out + too_long
        if split == "train":
            kept, empty = _learnable(kept)
            left_out += empty
        n_truncated += n_cut
        by_id = {e.id: e for e in examples}
        materials[split] = Material({t.id: by_id[t.id] for t in kept}, {t.id: t for t in kept})
    _check_kept(arm, materials["train"], left_out)
    output = next(iter(materials["train"].examples.values())).output
    return Readied(arm, output, **materials, left_out=left_out, n_truncated=n_truncated)


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
                "Leave a format out, or raise model.max_length.",
            )
    lost = {one.id or str(one.at): one for arm in arms for one in arm.left_out}
    out = [replace(a, train=a.train.only(kept[0]), dev=a.dev.only(kept[1]), test=a.test.only(kept[2])) for a in arms]
    return out, list(lost.values())


class Bench:
    """A loaded model on which an arm's runs are done one after the other, each from the same pretrained weights."""

    def __init__(self, readied: Readied, task: Task, *, options: Options) -> None:
        self.readied = readied
        self.task = task
        if any(t.corrupt for t in readied.train.tokens.values()):  # what is masked anew each epoch is never seen again
            options = replace(options, cache_trunk=False)
        self.model: Model = load_model(
            readied.arm.model,
            output=readied.output,
            n_classes=len(task.labels) if readied.output == "head" else 0,
            options=options,
        )
        self._start = {n: p.detach().clone() for n, p in trained(self.model).items()}

    def run(
        self,
        settings: TrainSettings,
        *,
        metric: Callable[[Model], tuple[float, dict[str, float]]] | None,
        progress: Callable[[TracePoint], None] | None = None,
    ) -> Trained:
        """Fine-tune from the start with one seed and one learning rate; the model keeps the best weights.

        Args:
            settings: how.
            metric: scores the model on the dev records (larger is better) and says what to show; None for the loss.
            progress: told of every update.
        """
        self.restore(self._start)
        renew(self.model, settings.seed)
        dev = list(self.readied.dev.tokens.values())
        look = (lambda: look_at(self.model, dev, settings=settings, metric=metric)) if dev else None
        return train(
            self.model, list(self.readied.train.tokens.values()), settings=settings, look=look, progress=progress
        )

    def weights(self) -> dict[str, Tensor]:
        """Copy what was trained."""
        return {n: p.detach().clone() for n, p in trained(self.model).items()}

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Put copied weights back."""
        with torch.no_grad():
            for name, parameter in trained(self.model).items():
                parameter.copy_(weights[name])


def look_at(
    model: Model,
    dev: Sequence[Tokens],
    *,
    settings: TrainSettings,
    metric: Callable[[Model], tuple[float, dict[str, float]]] | None,
) -> Look:
    """Score the model on the dev records by a metric, or by the loss it is trained on."""
    loss = dev_loss(model, dev, settings)
    if metric is None:
        return Look(score=-loss, shown={"loss": loss})
    score, shown = metric(model)
    return Look(score=score, shown={"loss": loss, **shown})


def dev_loss(model: Model, dev: Sequence[Tokens], settings: TrainSettings) -> float:
    """Compute the training objective over the dev records, as if they were one update.

    What is masked at random is masked by the record's place, so that every look asks for the same.
    """
    dev = [corrupted(tokens, model.tokenizer, (DEV_SEED, place)) for place, tokens in enumerate(dev)]
    factors = factors_of(dev, settings)
    objective = Objective(model, label_smoothing=0.0)
    total = 0.0
    with model.inference():
        for group in by_budget([len(t.ids_T) for t in dev], settings.micro_batch_tokens, sort=True):
            total += float(objective(collate([dev[i] for i in group], causal=model.causal), factors[group]))
    return total
