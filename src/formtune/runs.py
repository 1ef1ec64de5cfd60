"""A fine-tuning on disk: what was trained, what it stands on, and how to answer with it again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from formtune.adapters import Lora
from formtune.answers import Prediction
from formtune.checkpoints import write_tensors
from formtune.errors import DataError
from formtune.examples import Example, Format, Output, Task
from formtune.formats import cell, custom_format, named
from formtune.freezing import trained
from formtune.loading import Options, load_model
from formtune.models import Model
from formtune.prediction import in_labels, predict, too_long
from formtune.records import LeftOut, Record
from formtune.shards import MANIFEST, read_manifest, staged
from formtune.template_options import TemplateOptions

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What must be known to answer with a run.

    Attributes:
        name: the arm's name.
        format: name of the format.
        template: text of the user's own presentation, where the format is one.
        model: name of the pretrained model.
        base_digest: digest of its folder.
        output: where answers are read off.
        task: labels, words and wordings, as the training records gave them.
        options: freezing, adapters, length, precision, what the chat template is told.
        prior: log-probabilities of the labels that are taken off its scores; empty where none are.
        max_new_tokens: the most that a free answer is long.
    """

    name: str
    format: str
    template: str | None
    model: str
    base_digest: str
    output: Output
    task: Task
    options: Options
    prior: tuple[float, ...] = ()
    max_new_tokens: int = 64


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that answers.

    Attributes:
        name: its arm's name.
        digest: what names these very weights.
        format: how records become prompts: the same object that built the training text.
        task: labels and wordings.
        model: with the trained weights.
        output: where answers are read off.
        prior: log-probabilities of the labels that are taken off its scores, or None.
        manifest: everything that was written down about it.
        max_new_tokens: the most that a free answer is long.
    """

    name: str
    digest: str
    format: Format
    task: Task
    model: Model
    output: Output
    prior: np.ndarray | None
    manifest: Mapping[str, Any]
    max_new_tokens: int = 64

    def present(self, records: Sequence[Record]) -> list[Example]:
        """Put records into the run's own format."""
        found = cell(self.format, self.task, self.model.shape)
        return [found.present(record, self.task, self.model.shape) for record in records]

    def answerable(self, records: Sequence[Record], *, generate: bool = False) -> tuple[list[Record], list[LeftOut]]:
        """Part records into those that the format takes and the model has room for, and the others, with the reason.

        Raises:
            DataError: where none is left.
        """
        examples: list[Example] = []
        lost: dict[str, str] = {}
        for record in records:
            try:
                examples += self.present([record])
            except DataError as error:
                lost[record.id] = error.problem
        unfit = too_long(self.model, examples, generate=generate, max_new_tokens=self.max_new_tokens)
        lost |= {str(one.id): one.reason for one in unfit}
        kept = [r for r in records if r.id not in lost]
        left_out = [LeftOut(lost[r.id], at=r.origin, id=r.id) for r in records if r.id in lost]
        if left_out and not kept:
            raise DataError(
                f"No record can be answered: {left_out[0].reason}.",
                "Give records like those of the training.",
                at=left_out[0].at or left_out[0].id or "TEXT",
            )
        return kept, left_out

    def predict(self, records: Sequence[Record], *, generate: bool = False) -> list[Prediction]:
        """Answer records, answered ones or not; one prediction each, in order."""
        examples = self.present(records)
        found = predict(self.model, examples, generate=generate, max_new_tokens=self.max_new_tokens, prior=self.prior)
        return in_labels(found, self.task)


def save_run(
    folder: str | Path,
    spec: RunSpec,
    weights: Mapping[str, Tensor],
    *,
    facts: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
) -> None:
    """Write a run: its trained weights (safetensors), its specification and facts, small text files.

    Args:
        folder: where.
        spec: what is needed to open it again.
        weights: what was trained, by name.
        facts: further entries of the manifest (settings, scores, counts, left out).
        files: name → text of what stands beside (trace, picture).
    """
    with staged(folder, {"kind": "run", **facts, "spec": asdict(spec)}) as staging:
        write_tensors(staging / WEIGHTS, weights)
        for name, text in (files or {}).items():
            (staging / name).write_text(text, encoding="utf-8")


def open_run(folder: str | Path) -> OpenRun:
    """Load a run: its pretrained model, and over it what was trained.

    Raises:
        DataError: where the folder is no whole run, or its pretrained model is not the one it was trained from.
    """
    from safetensors.torch import load_file

    manifest = read_manifest(folder, kind="run")
    try:
        spec, digest = read_spec(manifest["spec"]), manifest["files"][WEIGHTS][:12]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"The run's specification is not whole ({error}).", "Train it again.", at=Path(folder) / MANIFEST
        ) from error
    n_classes = len(spec.task.labels) if spec.output == "head" else 0
    # Whoever answers strangers keeps nothing of what they asked.
    options = replace(spec.options, cache_trunk=False)
    model = load_model(spec.model, output=spec.output, n_classes=n_classes, options=options)
    if model.base_digest != spec.base_digest:
        raise DataError(
            f"The model {spec.model!r} is not the one that this run was trained from (its files differ).",
            "Give the run the model that it was made with.",
            at=Path(folder) / MANIFEST,
        )
    _put(load_file(Path(folder) / WEIGHTS), model, at=Path(folder) / WEIGHTS)
    format_ = custom_format(spec.template, spec.format) if spec.template else named(spec.format)
    prior = np.array(spec.prior) if spec.prior else None
    return OpenRun(spec.name, digest, format_, spec.task, model, spec.output, prior, manifest, spec.max_new_tokens)


def _put(weights: Mapping[str, Tensor], model: Model, *, at: Path) -> None:
    """Put trained weights over a model's own."""
    parameters = trained(model)
    if weights.keys() != parameters.keys() or any(weights[n].shape != p.shape for n, p in parameters.items()):
        raise DataError(
            "These are not the weights that this model trains under the run's settings.", "Train it again.", at=at
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def read_spec(values: Mapping[str, Any]) -> RunSpec:
    """Read what :func:`save_run` wrote of a specification."""
    task: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["task"].items()}
    options = dict(values["options"])
    if options["lora"] is not None:
        options["lora"] = Lora(**{**options["lora"], "targets": tuple(options["lora"]["targets"])})
    options["template_options"] = TemplateOptions(**options.get("template_options", {}))
    return RunSpec(
        **{**values, "task": Task(**task), "options": Options(**options), "prior": tuple(values.get("prior", ()))}
    )
