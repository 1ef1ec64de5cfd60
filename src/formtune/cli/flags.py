"""The flags that commands share, each declared once: a group per section of the recipe.

Every flag but those of ``Common`` stands for one setting; ``PLACES`` says which. A flag that is not given is None, and
then the recipe's file or the default speaks.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from formtune.errors import SettingError

if TYPE_CHECKING:
    from formtune.recipe import Recipe

DATA = Parameter(name="DATA", help="Files, globs, hf:// names, or - for standard input.")
Data = Annotated[str, DATA]
GROUPS = {
    name: Group(name, sort_key=order)
    for order, name in enumerate(
        (
            *(
                "Data",
                "Checks",
                "Split",
                "Format and model",
                "Preparation",
                "Mixing",
                "Training",
                "Search",
                "Comparison",
            ),
            "Recipe and output",
        )
    )
}


@Parameter(name="*", group=GROUPS["Data"])
@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFlags:
    """How files are read."""

    dialect: str | None = None
    """How the file is laid out, where it is not recognized."""
    encoding: str | None = None
    """Text encoding of the files, where it is not recognized."""
    header: Annotated[bool | None, Parameter(negative="--no-header")] = None
    """Whether the first line of a table names its columns, where it is not recognized."""
    text: str | None = None
    """Column of the labelled text; two of a pair with a comma."""
    label: str | None = None
    """Column of its label."""
    question: str | None = None
    """Column of the question."""
    context: str | None = None
    """Column of the passage that the question is about."""
    answer: str | None = None
    """Column of the answer."""
    source: str | None = None
    """Column of the text to be turned into another."""
    target: str | None = None
    """Column of the text that it is to become."""
    group: str | None = None
    """Column of what must not be split between training and test."""


@Parameter(name="*", group=GROUPS["Split"])
@dataclass(frozen=True, slots=True, kw_only=True)
class FileFlags:
    """The files of data that come split."""

    train: tuple[str, ...] | None = None
    """File of training records, instead of DATA."""
    dev: tuple[str, ...] | None = None
    """File of records on which settings and the best step are chosen."""
    test: tuple[str, ...] | None = None
    """File of records that are read once, at the end."""


@Parameter(name="*", group=GROUPS["Split"])
@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFlags(FileFlags):
    """Which records are trained on, chosen on and tested on."""

    n_train: int | None = None
    """How many records to draw for training."""
    n_dev: int | None = None
    """How many records to draw for choosing."""
    n_test: int | None = None
    """How many records to draw for the test."""
    seed: int | None = None
    """Where all chance comes from."""


@Parameter(name="*", group=GROUPS["Split"])
@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFlags:
    """Training records that are tokens already."""

    prepared: str | None = None
    """Folder that prepare wrote, instead of DATA."""


@Parameter(name="*", group=GROUPS["Format and model"])
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFlags:
    """What the records are meant for, in a command whose ``--format`` is how it talks."""

    formats: Annotated[tuple[str, ...] | None, Parameter(name="--formats")] = None
    """Name of a format, or path of a template; several with commas."""
    models: Annotated[tuple[str, ...] | None, Parameter(name="--model")] = None
    """Short name, folder, GGUF file or hub name."""
    max_length: int | None = None
    """Longest input in tokens."""
    template_options: Annotated[tuple[str, ...] | None, Parameter(name="--template-option")] = None
    """What the model's chat template is told, as NAME=VALUE: enable_thinking=true; one flag for each."""
    template_date: str | None = None
    """Day that the chat template writes as today's: YYYY-MM-DD, or today."""


@Parameter(name="*", group=GROUPS["Format and model"])
@dataclass(frozen=True, slots=True, kw_only=True)
class FormatFlags:
    """What the records become, and for which model."""

    formats: Annotated[tuple[str, ...] | None, Parameter(name=("--format", "--formats"))] = None
    """Name of a format, or path of a template; several with commas."""
    models: Annotated[tuple[str, ...] | None, Parameter(name=("--model", "--models"))] = None
    """Short name, folder, GGUF file or hub name; several with commas."""
    max_length: int | None = None
    """Longest input in tokens."""
    template_options: Annotated[tuple[str, ...] | None, Parameter(name="--template-option")] = None
    """What the model's chat template is told, as NAME=VALUE: enable_thinking=true; one flag for each."""
    template_date: str | None = None
    """Day that the chat template writes as today's: YYYY-MM-DD, or today."""


@Parameter(name="*", group=GROUPS["Preparation"])
@dataclass(frozen=True, slots=True, kw_only=True)
class PackFlags:
    """How sequences share rows."""

    packing: str | None = None
    """Which sequences share a row: best-fit (unless said otherwise), in-order, similar-length or none."""
    pack_tokens: int | None = None
    """The most tokens of a row; else as many as the model reads, or as the rows of a mixture's sources have."""


@Parameter(name="*", group=GROUPS["Preparation"])
@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareFlags(PackFlags):
    """How records become token shards."""

    prepare_engine: Annotated[str | None, Parameter(name="--engine")] = None
    """Who does it: local (unless said otherwise), or ray."""
    prepare_workers: Annotated[int | None, Parameter(name="--workers")] = None
    """Slices of the data that are prepared at the same time; else 1, or all processors of a Ray cluster."""
    address: str | None = None
    """Address of the Ray cluster: host:port, or auto; else one is started for the command."""


@Parameter(name="*", group=GROUPS["Mixing"])
@dataclass(frozen=True, slots=True, kw_only=True)
class MixFlags:
    """How much of each folder is met."""

    weights: str | None = None
    """A factor for each folder, with commas: 2,1,1; else 1 for all."""
    by: str | None = None
    """What is counted: tokens (unless said otherwise), learned (tokens) or rows (sequences)."""
    temperature: float | None = None
    """1, unless said otherwise, takes folders as they are large; the larger it is, the more the small ones count."""
    cap: str | None = None
    """The most that a folder counts as; one number, or one for each with commas; else all of it."""
    total: int | None = None
    """How much is drawn of all together; else as much as they hold, up to their caps."""


@Parameter(name="*", group=GROUPS["Mixing"])
@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFlags:
    """Chance, in a command that splits nothing."""

    seed: int | None = None
    """Where all chance comes from."""


@Parameter(name="*", group=GROUPS["Training"])
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainFlags:
    """What of the model is trained, and how."""

    freeze: str | None = None
    """What is not trained: none, all-but-top-4, all-but-biases, embeddings, encoder, body, or a pattern."""
    lora: Annotated[int | None, Parameter(name="--lora")] = None
    """Train low-rank adapters of this rank instead of the weights."""
    epochs: float | None = None
    """Passes over the training records."""
    steps: int | None = None
    """Number of updates, instead of epochs."""
    learning_rate: float | None = None
    """Step size."""
    batch_size: int | None = None
    """Examples in an update."""


@Parameter(name="*", group=GROUPS["Training"])
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFlags:
    """Where training runs."""

    engine: str | None = None
    """Where training runs: local, or ray."""
    workers: int | None = None
    """Workers of the Ray cluster that train together."""


@Parameter(name="*", group=GROUPS["Search"])
@dataclass(frozen=True, slots=True, kw_only=True)
class TuneFlags:
    """What is searched, and how long."""

    search: tuple[str, ...] | None = None
    """A setting by its place: PLACE=LOW..HIGH (with ,log or ,step=STEP), or PLACE=A,B,C; one flag for each."""
    trials: int | None = None
    """How many settings are tried."""
    hours: float | None = None
    """Hours of trials after which no other begins."""
    pruner: str | None = None
    """When a trial is cut short: median, halving or none."""


@Parameter(name="*", group=GROUPS["Comparison"])
@dataclass(frozen=True, slots=True, kw_only=True)
class CompareFlags:
    """How arms are compared."""

    seeds: int | None = None
    """Runs of every arm."""
    metric: str | None = None
    """What is compared."""
    margin: float | None = None
    """Difference in the metric, in its unit, that makes no difference to you."""
    arms_at_once: int | None = None
    """Arms that are trained at the same time."""


@Parameter(name="*", group=GROUPS["Recipe and output"])
@dataclass(frozen=True, slots=True, kw_only=True)
class OutFlags:
    """Where the results go."""

    out: Annotated[str | None, Parameter(name=("--out", "-o"))] = None
    """Folder that the results go to."""


@Parameter(name="*", group=GROUPS["Recipe and output"])
@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFlags:
    """Settings that have no flag of their own."""

    recipe: Annotated[str | None, Parameter(name=("--recipe", "-c"))] = None
    """YAML file of settings; flags stand above it."""
    set: tuple[str, ...] = ()
    """Any setting by its place, as in: --set training.clip=0.5."""


@Parameter(name="*", group=GROUPS["Recipe and output"])
@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """How a command talks."""

    json: bool = False
    """Print one JSON object and nothing else."""
    quiet: bool = False
    """Print only errors."""
    strict: bool = False
    """End with exit code 2 where anything was left out."""


Flags = (
    ReadFlags
    | FileFlags
    | SplitFlags
    | ModelFlags
    | FormatFlags
    | PackFlags
    | PrepareFlags
    | PreparedFlags
    | MixFlags
    | SeedFlags
    | TrainFlags
    | EngineFlags
    | TuneFlags
    | CompareFlags
    | OutFlags
)
PLACES: Mapping[str, str] = {
    **{
        name: f"data.{name}"
        for name in ("dialect", "encoding", "header", "prepared", "train", "dev", "test", "n_train", "n_dev", "n_test")
    },
    **{
        name: f"data.columns.{name}"
        for name in ("text", "label", "question", "context", "answer", "source", "target", "group")
    },
    **{name: name for name in ("seed", "formats", "models", "out")},
    **{name: f"model.{name}" for name in ("max_length", "freeze", "template_options", "template_date")},
    "lora": "model.lora.rank",
    "prepare_engine": "preparation.engine",
    "prepare_workers": "preparation.workers",
    **{name: f"preparation.{name}" for name in ("address", "packing", "pack_tokens")},
    **{name: f"mixing.{name}" for name in ("weights", "by", "temperature", "cap", "total")},
    **{name: f"training.{name}" for name in ("epochs", "steps", "learning_rate", "batch_size", "engine", "workers")},
    **{name: f"tuning.{name}" for name in ("search", "trials", "hours", "pruner")},
    **{name: f"comparison.{name}" for name in ("seeds", "metric", "margin", "arms_at_once")},
}
_LISTS = frozenset({"formats", "models"})
STDIN = "/dev/stdin"  # another name of standard input, which a user may type as well as "-"


def recipe_of(data: tuple[str, ...], settings: RecipeFlags, *groups: Flags) -> "Recipe":
    """Bring a recipe's file, ``--set``, DATA and flags together; what stands later in this list counts."""
    from formtune.recipe import load_recipe, make_recipe, placed

    values: dict[str, object] = dict(_pairs(settings.set))
    if data:
        values["data.paths"] = _files(data)
    for group in groups:
        for name, value in asdict(group).items():
            if value is not None:
                values |= _at(PLACES[name], name, value)
    if settings.recipe is None:
        return make_recipe(placed(values, onto={}))
    return load_recipe(settings.recipe, over=values)


def named(texts: tuple[str, ...]) -> list[str]:
    """Part names that stand with commas between them."""
    return [name for text in texts for part in text.split(",") if (name := part.strip())]


def _at(place: str, name: str, value: object) -> dict[str, object]:
    """Give what a flag says by place: each option of a chat template has one, and stands above the file's of its name."""
    if name == "template_options" and isinstance(value, tuple):
        pairs = _pairs(value, at="--template-option", example="NAME=VALUE, as enable_thinking=true")
        return {f"{place}.{option}": given for option, given in pairs}
    return {place: _plain(name, value)}


def _plain(name: str, value: object) -> object:
    if name == "search" and isinstance(value, tuple):
        return _searches(value)
    if isinstance(value, tuple):
        return ",".join(value) if name in _LISTS else _files(value)
    return value


def _files(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("-" if path == STDIN else path for path in paths)


def _searches(texts: tuple[str, ...]) -> dict[str, str]:
    """Part places from what is searched there."""
    found: dict[str, str] = {}
    for text in texts:
        place, equals, written = (part.strip() for part in text.partition("="))
        if not equals or not written:
            example = "training.learning_rate=1e-6..1e-3,log or training.batch_size=8,16"
            raise SettingError(f"{text!r} searches nothing.", f"Write PLACE=RANGE, as {example}.", at="--search")
        if place in found:
            raise SettingError(f"{place} is searched twice.", "Give one --search for each setting.", at="--search")
        found[place] = written
    return found


def _pairs(
    texts: tuple[str, ...], *, at: str = "--set", example: str = "PLACE=VALUE, as training.clip=0.5"
) -> list[tuple[str, object]]:
    """Part names from values, which are read as in a file."""
    from formtune.recipe import files

    for text in texts:
        if "=" not in text:
            raise SettingError(f"{text!r} sets nothing.", f"Write {example}.", at=at)
    return [(place.strip(), files.value(value)) for place, value in (text.split("=", 1) for text in texts)]
