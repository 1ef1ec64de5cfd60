"""The settings themselves: what each is for, what it may be, and its default."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from formtune.recipe import files
from formtune.recipe.values import (
    Count,
    CountOrNone,
    Counts,
    Day,
    Factors,
    Freeze,
    Names,
    Paths,
    Positive,
    Share,
    Variables,
)
from formtune.template_options import DATE

_STDIN = ("-", "/dev/stdin")


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
    header: bool | None = None
    """Whether the first line of a table names its columns; decided from what stands under it where it is not given."""
    columns: ColumnSettings = ColumnSettings()
    """Which column holds what, where it is not recognized by its name."""
    prepared: str | None = None
    """Folder of training records that ``prepare`` has turned into tokens, instead of files of them."""
    train: Paths = ()
    """Files of the training records, where the data come split."""
    dev: Paths = ()
    """Files of the records on which settings and the best step are chosen."""
    test: Paths = ()
    """Files of the records that are read once, at the end."""
    n_train: Count | None = None
    """How many records to draw for training; 80 % where no size is given."""
    n_dev: CountOrNone | None = None
    """How many records to draw for choosing; 10 % where no size is given, none where tokens are prepared."""
    n_test: CountOrNone | None = None
    """How many records to draw for the test; 10 % where no size is given, none where tokens are prepared."""

    @property
    def named(self) -> tuple[str, ...]:
        """Everything that is named as a file, split or not; aligned files stand where columns do."""
        aligned = (self.columns.source, self.columns.target)
        return (*self.paths, *self.train, *self.dev, *self.test, *(name for name in aligned if name))

    @model_validator(mode="after")
    def _one_way_of_splitting(self) -> "DataSettings":
        files = self.train + self.dev + self.test
        if self.paths and files:
            problem = "There are both data to split and files that are split already."
            raise PydanticCustomError("setting", problem, {"remedy": "Give DATA, or --train, --dev and --test."})
        if self.prepared is not None and (self.paths or self.train):
            problem = "There are both prepared and other training records."
            raise PydanticCustomError("setting", problem, {"remedy": "Give one of the two."})
        if files and not self.train and self.prepared is None:
            problem = "There are files to choose or test on, and none to train on."
            raise PydanticCustomError("setting", problem, {"remedy": "Give the training records with --train."})
        if sum(path in _STDIN for path in self.paths + files) > 1:
            problem = "Standard input is named twice, and can be read only once."
            raise PydanticCustomError("setting", problem, {"remedy": "Name files for the other parts."})
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

    kind: Literal["lora", "dora"] = "lora"
    """``dora`` also learns the length of what makes each output of a layer, apart from its direction."""
    rank: Count = 8
    """Width of the product."""
    alpha: Positive = 16.0
    """Its scale: the product counts alpha / rank."""
    rank_stabilized: bool = False
    """Whether the product counts alpha / the root of the rank instead, so that a large rank learns as well (rsLoRA)."""
    dropout: Share = 0.0
    """Share of its inputs that is dropped while training."""
    targets: Names = ()
    """Names of the layers that get one; every linear layer of the blocks where none is named."""


class ModelSettings(_Section):
    """How a model is taken up: what of it is trained, in which precision, how long its input may be."""

    freeze: Freeze = "none"
    """What is not trained: ``none``; ``all-but-top-4`` (or ``4``): all but the 4 topmost blocks and the head;
    ``all-but-biases`` (and new heads), where the model has biases; ``all-but-norms``; a part: ``embeddings``,
    ``encoder``, ``body`` (all but the head); a glob over parameter names; or ``re:`` and a regular expression. Several
    with commas."""
    lora: LoraSettings | None = None
    """Low-rank adapters instead of the weights themselves."""
    max_length: Count | None = None
    """Longest input in tokens; what the model can take where it is not given."""
    template_options: Variables = {}
    """What the model's chat template is told besides conversations, by the names that it looks at: ``enable_thinking: true``,
    ``reasoning_effort: low``, ``date_string: 26 Jul 2024``, lists and mappings (``documents``) as well. Runs, and what was
    prepared, keep them."""
    template_date: Day = DATE
    """The day that a chat template writes as today's, the same on every day that the recipe is used; ``today`` is the day on
    which it is read, and the recipe that results are kept with has that day."""
    pooling: Literal["mean", "first", "last"] | None = None
    """Which positions the class head reads; what suits the model where it is not given."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the model calculates in; ``auto`` measures for a second and takes bfloat16 where it is clearly faster here.
    What is learned stays in float32."""
    cache_trunk: bool = True
    """Whether what frozen blocks at the bottom give is computed once and kept on disk: for later epochs, seeds, learning
    rates, formats, and runs of another day."""
    cache_gb: Positive = 10.0
    """The most that is kept, in GB, of all models together; what was not used for longest makes room. ``formtune cache``
    shows and empties it."""


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
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the step size from each block to the one below it; embeddings have the smallest, heads their own.
    0.8 to 0.95 are usual."""
    unfreeze_every: Positive | None = None
    """Epochs after which one more block is trained, from the top down to what ``model.freeze`` leaves free, then the
    embeddings; at first the head and the topmost block. Blocks whose turn does not come are not trained. Everything
    from the beginning where it is not given."""
    schedule: Literal["linear", "cosine", "constant", "inverse_sqrt", "wsd"] = "linear"
    """How the step size falls after the warm-up; ``wsd`` stays, and falls to zero over the last fifth of the updates."""
    warmup: Share = 0.1
    """Share of the updates over which the step size rises from zero."""
    epochs: Positive | None = 3.0
    """Passes over the training records."""
    steps: Count | None = None
    """Number of updates, instead of epochs."""
    batch_size: Count = 16
    """Examples in an update."""
    memory_gb: Positive | None = None
    """The most memory that training may take beside the loaded model; 80 % of what is free where it is not given."""
    micro_batch_tokens: Count | None = None
    """Tokens that are computed at once; an update adds up as many such batches as it needs. As many as fit in memory
    and are of use where it is not given."""
    checkpoint_activations: bool | None = None
    """Whether blocks keep their input alone and are computed again in the backward pass: less memory, a third more work.
    Where it is not given, only if not even one example fits otherwise."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """How much the weights are drawn to zero, apart from biases and norms."""
    clip: Positive | None = 1.0
    """Longest gradient that is taken as it is."""
    label_smoothing: Share = 0.0
    """Share of the probability that is spread over all answers."""
    prompt_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    """What a token of the prompt counts beside one of the answer, in a decoder that learns text or label words; 0.01 to
    0.1 can help where answers are short."""
    class_weights: Literal["none", "balanced"] = "none"
    """``balanced`` weighs rare classes up to the weight of the others."""
    order: Literal["random", "families"] = "random"
    """In which order examples come: each on its own, or those that begin alike together (the questions of a paragraph),
    which computes what they share once and makes updates less mixed."""
    share_prefixes: bool = True
    """Whether what examples of an update share at the beginning is computed once; changes nothing but rounding."""
    average: Literal["example", "token"] = "example"
    """What counts equally in the loss: every example, or every learned token."""
    validate_every: Count | None = None
    """Updates between two looks at the dev records; once an epoch where it is not given."""
    patience: Count | None = None
    """Looks without a better dev metric after which training stops; never where it is not given."""
    metric: str | None = None
    """What is best on the dev records; the loss where it is not given."""
    trackers: Names = ()
    """Experiment trackers that are told of every update: ``tensorboard``, ``wandb``, ``mlflow``, ``trackio``, ``aim``,
    ``clearml``, ``comet_ml``, ``dvclive``, ``swanlab``. Nothing is sent over the network unless the tracker's own
    environment variables say so."""
    engine: Literal["local", "ray"] = "local"
    """Where training runs: in this process and those that a launcher started with it, or as workers of a Ray
    cluster."""
    workers: Count | None = None
    """Workers of the Ray cluster that train together; one where it is not given."""
    save_every: Count | None = None
    """Updates between two checkpoints of ``train``; where it is not given, one in five minutes, or fewer if writing them
    would take more than a twentieth of the time. A comparison keeps whole arms, a search whole trials."""
    keep: Count = 2
    """How many of the newest checkpoints of ``train`` stay until the run is whole; the best weights are kept besides. A
    comparison keeps whole arms, a search whole trials."""

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
    margin: Positive | None = None
    """Difference in the metric, in its own unit, that makes no difference to you; the metric's usual one (1 point)
    where it is not given."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Probability that an interval holds the true value."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Draws of the bootstrap."""
    metric: str | None = None
    """What is compared; the task's usual one where it is not given."""
    label_prior: bool = False
    """Whether what a model answers to a record that says nothing is taken off its scores of the label words."""
    generate: bool = False
    """Whether free generation is scored beside the label words."""
    max_new_tokens: Count = 64
    """The most tokens that a free answer is long."""
    arms_at_once: Count | None = None
    """Arms that are trained at the same time, each in a process with its part of the threads and of the memory (or a GPU
    of its own); as many as are done soonest where it is not given."""


class TuningSettings(_Section):
    """How good settings are searched for."""

    search: dict[str, Any] = {}
    """What is searched, by its place: ``LOW..HIGH``, ``LOW..HIGH,log``, ``LOW..HIGH,step=STEP``, or choices with commas,
    as in ``training.learning_rate: 1e-6..1e-3,log``; also written as ``{low: 1e-6, high: 1e-3, log: true}`` and
    ``[8, 16, 32]``. Learning rate, batch size and epochs around their own values where nothing is named."""
    trials: Count = 20
    """How many settings are tried, those of a search that is taken up again counted."""
    hours: Positive | None = None
    """Hours of trials after which no other begins; never where it is not given."""
    pruner: Literal["median", "halving", "none"] = "median"
    """When a trial stops early: at a look where its best is below the ``median`` of the trials before it, or not in the
    best third of those that came as far (successive ``halving``)."""
    own_first: bool = True
    """Whether the first trial has the recipe's own values, or what is searched that lies nearest to them."""


class PreparationSettings(_Section):
    """How records become token shards on disk."""

    engine: Literal["local", "ray"] = "local"
    """Who does it: processes of this machine, or a Ray cluster."""
    workers: Count | None = None
    """Slices of the data that are prepared at the same time; one on this machine, as many as there are processors on a
    cluster."""
    address: str | None = None
    """Of the Ray cluster (``auto``, ``ray://host:10001``); one of this machine's own where none is given."""
    packing: Literal["best-fit", "in-order", "similar-length", "none"] = "best-fit"
    """Which sequences share a row: ``best-fit`` over the whole set; ``in-order`` keeps neighbors together;
    ``similar-length`` makes batches for models that pad, as encoder-decoders always get; ``none`` lets each stand alone."""
    pack_tokens: Count | None = None
    """The most tokens of a row, and so of a sequence; what the model can take where it is not given."""


class MixingSettings(_Section):
    """How prepared folders are mixed: of each a share in proportion to weight × min(size, cap) ^ (1 / temperature)."""

    weights: Factors = ()
    """A factor for each folder, in their order; 1 where none is given."""
    by: Literal["tokens", "learned", "rows"] = "tokens"
    """What sizes, caps, total and shares count: all tokens, those that are learned, or sequences."""
    temperature: Positive = 1.0
    """1 takes folders as they are large; the larger it is, the more the small ones count. At a million only weights
    do."""
    cap: Counts = ()
    """The most that a folder counts as, however large it is: one number for all, or one for each."""
    total: Count | None = None
    """How much is drawn of all together; as much as the folders hold, up to their caps, where it is not given."""


class Recipe(_Section):
    """Every setting of a piece of work."""

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
    tuning: TuningSettings = TuningSettings()
    """How good settings are searched for."""
    preparation: PreparationSettings = PreparationSettings()
    """How records become token shards."""
    mixing: MixingSettings = MixingSettings()
    """How prepared folders are mixed."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Where all chance comes from."""
    out: str | None = None
    """Folder that the results go to."""

    def to_dict(self) -> dict[str, Any]:
        """Give every setting, defaults as well, as plain values that JSON can hold."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Write every setting as YAML; :func:`formtune.recipe.load_recipe` reads it back to an equal recipe."""
        return files.write(self.to_dict())


def section_of(annotation: object) -> type[BaseModel] | None:
    """Give the section that a setting's type stands for; None where it is a plain value."""
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), None)


def places(section: type[BaseModel] = Recipe, *, under: str = "") -> Iterator[str]:
    """Give the dotted place of every setting, in order; a section that may be absent is a place as well.

    >>> list(places())[:3]
    ['data.paths', 'data.dialect', 'data.encoding']
    """
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None or field.default is None:
            yield under + name
        if inner is not None:
            yield from places(inner, under=f"{under}{name}.")
