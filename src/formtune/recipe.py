"""Every setting of a piece of work, with its default: a recipe, to and from YAML, flags and JSON Schema.

Only the pipeline and the command line know the recipe; the stages take plain arguments. A setting has a dotted place
(``training.learning_rate``), which is its name in YAML, in ``--set`` and in every error.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from formtune.errors import DataError, SettingError, unknown

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _names(value: object) -> object:
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


def _freeze(value: object) -> object:
    """Bring the ways of saying it to one: a count is ``all-but-top-COUNT``, names with commas are several."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"all-but-top-{value}"
    if isinstance(value, str) and value.startswith("all-but") and not re.fullmatch(r"all-but-top-\d+", value):
        raise PydanticCustomError("setting", "This says no number of blocks.", {"remedy": "Write all-but-top-4."})
    return _names(value) if isinstance(value, str) and "," in value else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )


class ColumnSettings(_Section):
    """Which column holds what, where it is not recognized by its name."""

    text: str | None = None
    """The text that is labelled; two columns of a pair stand with a comma between them."""
    label: str | None = None
    """The right answer of a labelled text."""
    question: str | None = None
    """What is asked."""
    context: str | None = None
    """The passage that a question is about."""
    answer: str | None = None
    """The answer to a question."""
    source: str | None = None
    """The text that is to be turned into another."""
    target: str | None = None
    """The text that it is to become."""
    group: str | None = None
    """What must not be split between training and test: a film, a thread, a patient."""


class DataSettings(_Section):
    """Which records there are and how they are split."""

    paths: Paths = ()
    """Files, globs, ``hf://`` names or ``-``, to be split; several are read one after the other."""
    dialect: str | None = None
    """How the file is laid out; recognized where it is not given."""
    encoding: str | None = None
    """The text encoding of the files; recognized where it is not given."""
    columns: ColumnSettings = ColumnSettings()
    """Which column holds what, where it is not recognized by its name."""
    train: Paths = ()
    """Files of the training records, where the data come split."""
    dev: Paths = ()
    """Files of the records on which settings and the best step are chosen."""
    test: Paths = ()
    """Files of the records that are read once, at the end."""
    n_train: Count | None = None
    """How many records to draw for training; 80 % where no size is given."""
    n_dev: Count | None = None
    """How many records to draw for choosing; 10 % where no size is given."""
    n_test: Count | None = None
    """How many records to draw for the test; 10 % where no size is given."""

    @model_validator(mode="after")
    def _one_way_of_splitting(self) -> "DataSettings":
        if self.paths and self.train:
            raise PydanticCustomError(
                "setting",
                "There are both data to split and files that are split already.",
                {"remedy": "Give either DATA, or --train with --dev and --test."},
            )
        return self


class TaskSettings(_Section):
    """What the formats say about the task, where their own wording is not right."""

    words: dict[str, str] = {}
    """For a label, the word or phrase that stands for it in text."""
    instruction: str | None = None
    """What is to be done, as an imperative sentence."""
    question: str | None = None
    """What is to be done, as a question."""


class LoraSettings(_Section):
    """Low-rank adapters: the weights stay as they are, a small product of two matrices is learned beside them."""

    rank: Count = 8
    """Width of the product."""
    alpha: Positive = 16.0
    """Its scale: the product counts alpha / rank."""
    dropout: Share = 0.0
    """Share of its inputs that is dropped while training."""
    targets: Names = ()
    """Names of the layers that get one; every linear layer of the blocks where none is named."""


class ModelSettings(_Section):
    """How a model is taken up: what of it is trained, in which precision, how long its input may be."""

    freeze: Annotated[str | tuple[str, ...], BeforeValidator(_freeze)] = "none"
    """What is not trained: ``none``; ``all-but-top-4`` (or ``4``): all but the 4 topmost blocks and the head; parts
    (``embeddings``, ``encoder``); or patterns of parameter names."""
    lora: LoraSettings | None = None
    """Low-rank adapters instead of the weights themselves."""
    max_length: Count | None = None
    """Longest input in tokens; what the model can take where it is not given."""
    pooling: Literal["cls", "mean", "last"] | None = None
    """Which positions the class head reads; what suits the model where it is not given."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the model calculates in."""
    cache_trunk: bool = True
    """Whether the output of frozen bottom blocks is computed once and kept."""


class TrainingSettings(_Section):
    """How a model is fine-tuned."""

    optimizer: Literal["adamw", "adam", "sgd", "adafactor"] = "adamw"
    """The rule of an update."""
    learning_rate: Positive = 5e-5
    """Step size of the pretrained weights."""
    learning_rates: tuple[Positive, ...] = ()
    """Step sizes to try, for every format the same; the one best on the dev records is kept."""
    head_learning_rate: Positive | None = None
    """Step size of a new head; that of the pretrained weights where it is not given."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the step size falls after the warm-up."""
    warmup: Share = 0.1
    """Share of the updates over which the step size rises from zero."""
    epochs: Positive | None = 3.0
    """Passes over the training records."""
    steps: Count | None = None
    """Number of updates, instead of epochs."""
    batch_size: Count = 16
    """Examples in an update."""
    micro_batch_tokens: Count = 4096
    """Tokens that are computed at once; an update adds up as many such batches as it needs."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """How much the weights are drawn to zero, apart from biases and norms."""
    clip: Positive | None = 1.0
    """Longest gradient that is taken as it is."""
    label_smoothing: Share = 0.0
    """Share of the probability that is spread over all answers."""
    class_weights: Literal["none", "balanced"] = "none"
    """``balanced`` weighs rare classes up to the weight of the others."""
    average: Literal["example", "token"] = "example"
    """What counts equally in the loss: every example, or every learned token."""
    validate_every: Count | None = None
    """Updates between two looks at the dev records; once an epoch where it is not given."""
    patience: Count | None = None
    """Looks without a better dev metric after which training stops; never where it is not given."""
    metric: str | None = None
    """What is best on the dev records; the loss where it is not given."""

    @model_validator(mode="before")
    @classmethod
    def _epochs_or_steps(cls, settings: object) -> object:
        if not isinstance(settings, dict) or settings.get("steps") is None:
            return settings
        if settings.get("epochs") is not None:
            raise PydanticCustomError(
                "setting", "Both epochs and steps are given.", {"remedy": "Give training.epochs or training.steps."}
            )
        return {**settings, "epochs": None}


class ComparisonSettings(_Section):
    """How arms are compared."""

    seeds: Count = 5
    """Runs of every arm, with the seeds seed, seed + 1 and so on."""
    margin: Positive = 0.01
    """Difference in the metric that makes no difference to you."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Probability that an interval holds the true value."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Draws of the bootstrap."""
    metric: str | None = None
    """What is compared; the task's usual one where it is not given."""
    generate: bool = False
    """Whether free generation is scored beside the label words."""


class Recipe(_Section):
    """Every setting of a piece of work.

    >>> make_recipe({"formats": "seq2seq, classification", "training": {"steps": 100}}).formats
    ('seq2seq', 'classification')
    """

    data: DataSettings = DataSettings()
    """Which records there are and how they are split."""
    task: TaskSettings = TaskSettings()
    """What the formats say about the task."""
    formats: Names = ()
    """Names of formats, or paths of templates (``.jinja``)."""
    models: Names = ()
    """Short names, folders, GGUF files or hub names of pretrained models."""
    model: ModelSettings = ModelSettings()
    """How a model is taken up."""
    training: TrainingSettings = TrainingSettings()
    """How it is fine-tuned."""
    comparison: ComparisonSettings = ComparisonSettings()
    """How arms are compared."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Where all chance comes from."""
    out: str | None = None
    """Folder that the results go to."""

    def to_dict(self) -> dict[str, Any]:
        """Give every setting, defaults as well, as plain values that JSON can hold."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Write every setting as YAML; :func:`load_recipe` reads it back to an equal recipe."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=120)


class SettingErrors(SettingError):
    """Several settings cannot be used as they are: all of a recipe are told at once, a line each."""

    def __init__(self, errors: Sequence[SettingError]) -> None:
        super().__init__(errors[0].problem, errors[0].remedy, at=errors[0].at)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def make_recipe(settings: Mapping[str, object]) -> Recipe:
    """Check settings, nested as in YAML, and fill in the defaults.

    Raises:
        SettingError: where a setting is unknown or cannot be used; all of them are told.
    """
    try:
        return Recipe.model_validate(dict(settings))
    except ValidationError as error:
        # A union tells a finding for each of its members; the first at a place is enough.
        errors = list({str(found.at): found for found in map(_explained, reversed(error.errors()))}.values())[::-1]
    raise errors[0] if len(errors) == 1 else SettingErrors(errors)


def load_recipe(path: str | Path, *, over: Mapping[str, object] | None = None) -> Recipe:
    """Read a YAML recipe; ``over`` holds settings by dotted place that stand above those of the file.

    Raises:
        DataError: where the file cannot be read as YAML.
        SettingError: where a setting is unknown or cannot be used.
    """
    return make_recipe(placed(over or {}, onto=read_settings(path)))


def read_settings(path: str | Path) -> dict[str, object]:
    """Read the settings of a YAML file as they stand there, unchecked."""
    try:
        settings = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise DataError(f"The recipe cannot be read: {error.strerror}.", "Check the path.", at=path) from error
    except UnicodeDecodeError as error:
        raise DataError("The recipe is not UTF-8 text.", "Save it as UTF-8.", at=path) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        remedy = "Write settings as `key: value`, indented by spaces."
        raise DataError(f"This is not YAML: {error.problem}.", remedy, at=f"{path}:{line}") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise DataError("A recipe is a mapping of settings.", "Begin with `data:`.", at=path)
    return settings


def placed(values: Mapping[str, object], *, onto: Mapping[str, object]) -> dict[str, object]:
    """Put values by dotted place over nested settings; a value that excludes another takes the other away.

    >>> placed({"training.steps": 9}, onto={"training": {"epochs": 2, "clip": 1}})
    {'training': {'clip': 1, 'steps': 9}}
    """
    settings: dict[str, Any] = _copied(onto)
    for place, value in values.items():
        *sections, name = place.split(".")
        inner = settings
        for section in sections:
            if not isinstance(inner.get(section), dict):
                inner[section] = {}
            inner = inner[section]
        for other in _EXCLUDES.get(place, ()):
            inner.pop(other, None)
        inner[name] = value
    return settings


def parse_value(text: str) -> object:
    """Read the value of ``--set PLACE=VALUE`` as YAML would: ``3``, ``true``, ``[a, b]``, ``null``."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return text


def schema() -> dict[str, Any]:
    """Describe a recipe as JSON Schema, for editors that complete and check YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


# A flag or --set that is given over a file takes what it excludes out of the file.
_EXCLUDES: Mapping[str, tuple[str, ...]] = {
    "training.steps": ("epochs",),
    "training.epochs": ("steps",),
    "data.paths": ("train", "dev", "test"),
    "data.train": ("paths",),
}


def _copied(settings: Mapping[str, object]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in settings.items()}


class _Loader(yaml.SafeLoader):
    """YAML without the traps of version 1.1: ``no`` and ``2020-01-01`` stay text, a key may stand once."""

    yaml_implicit_resolvers: ClassVar = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if not tag.endswith(":timestamp") and (not tag.endswith(":bool") or first in "tTfF")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice; YAML itself would take the last in silence."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _explained(detail: ErrorDetails) -> SettingError:
    """Turn one finding of pydantic into place, problem and remedy."""
    place, section = _walked(detail["loc"])
    if detail["type"] == "extra_forbidden":
        return _unknown_setting(str(detail["loc"][-1]), section, at=place)
    if detail["type"] == "literal_error":
        expected = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
        return unknown("value", str(detail["input"]), expected, at=place)
    if detail["type"] == "setting":
        return SettingError(detail["msg"], str(detail["ctx"]["remedy"]), at=place)
    if detail["type"] in ("model_type", "dict_type"):
        return SettingError("This holds settings, not a value.", "Write `key: value` lines under it.", at=place)
    if detail["type"] == "string_type":
        return SettingError(f"{detail['input']!r} is not text.", "Write it in quotes.", at=place)
    wanted = detail["msg"].removeprefix("Input should be ").split(",")[0]
    article = "" if wanted.startswith(("a ", "an ")) else "a value "
    return SettingError(f"{detail['input']!r} cannot be used here.", f"Give {article}{wanted}.", at=place)


def _walked(location: tuple[int | str, ...]) -> tuple[str, type[BaseModel]]:
    """Follow a location through the sections: its dotted place and the section that holds its last name."""
    section: type[BaseModel] = Recipe
    names: list[str] = []
    for name in location:
        names.append(str(name))
        inner = section.model_fields.get(str(name))
        below = _section_of(inner.annotation) if inner else None
        if below is None:
            break
        section = below if name != location[-1] else section
    return ".".join(names), section


def _section_of(annotation: object) -> type[BaseModel] | None:
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _unknown_setting(name: str, section: type[BaseModel], *, at: str) -> SettingError:
    """Name the nearest setting of the same section, or else the place where another section has that name."""
    elsewhere = [place for place in places() if place.split(".")[-1] == name]
    near_here = difflib.get_close_matches(name, list(section.model_fields), n=1, cutoff=0.6)
    if elsewhere and not near_here:
        return SettingError(f"There is no setting {name!r} here.", f"Write it as {elsewhere[0]}.", at=at)
    return unknown("setting", name, list(section.model_fields), at=at)


def places(section: type[BaseModel] = Recipe, *, under: str = "") -> Iterator[str]:
    """Give the dotted place of every setting, in order.

    >>> list(places())[:3]
    ['data.paths', 'data.dialect', 'data.encoding']
    """
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is None:
            yield under + name
        else:
            yield from places(inner, under=f"{under}{name}.")
