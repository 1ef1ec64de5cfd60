"""What a report shows, as plain values: the pipeline fills these in, the pages only lay them out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from formtune.examples import Part

Outcome = Literal["better", "equivalent", "undecided"]
TokenPart = Literal[Part, "control"]
Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Scale:
    """How the values of a metric are written.

    Attributes:
        name: the metric's name, as in the metrics table.
        higher_is_better: False for losses and errors.
        unit: ``points`` runs up to a hundred and is shown with one decimal; ``plain`` has no such scale (log-loss,
            perplexity) and is shown with three digits.
    """

    name: str
    higher_is_better: bool = True
    unit: Literal["points", "plain"] = "points"


@dataclass(frozen=True, slots=True)
class ArmRow:
    """One arm of the comparison: how well it did and what it cost.

    ``invalid`` is the share (0 to 1) of free answers that were no allowed answer; None where nothing is generated.
    ``written`` is the metric of what was written freely beside scored label words.
    Costs that were not measured are None.
    """

    name: str
    mean: float
    low: float | None = None
    high: float | None = None
    by_seed: Mapping[int, float] | None = None
    invalid: float | None = None
    parameters_trained: int | None = None
    tokens_laid: int | None = None
    training_s: float | None = None
    tokens_per_answer: float | None = None
    ms_per_answer: float | None = None
    note: str = ""
    written: float | None = None

    @property
    def has_cost(self) -> bool:
        """Tell whether any cost was measured."""
        costs = (
            self.parameters_trained,
            self.tokens_laid,
            self.training_s,
            self.tokens_per_answer,
            self.ms_per_answer,
        )
        return any(cost is not None for cost in costs)


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two arms held against each other, over the same records and seeds.

    ``difference`` is by how much ``a`` is better than ``b``, in the metric's own unit: negative where it is worse,
    also where lower values are better. ``significant`` says whether the test (corrected for the number of pairs) tells
    them apart, ``equivalent`` whether the difference surely lies within the margin.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float | None = None
    significant: bool = False
    equivalent: bool = False


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What was seen at one update of a training: its loss, or the metric on the dev records, or both."""

    step: int
    loss: float | None = None
    metric: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """The trace of one training; ``best_step`` is the update whose weights were kept."""

    arm: str
    seed: int
    points: Sequence[CurvePoint]
    best_step: int | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers given with a confidence between ``low`` and ``high``.

    ``confidence`` and ``accuracy`` are their means, ignored where ``n`` is 0. All in points, from 0 to 100.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How an arm's confidence compares with how often it is right.

    ``ece`` is the expected calibration error, in points.
    """

    arm: str
    bins: Sequence[Bin]
    ece: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each right label (row) was answered with each label (column), on average over seeds.

    ``invalid`` counts, for each right label, the answers that were no label at all; empty where there are none.
    """

    arm: str
    labels: Sequence[str]
    counts: Sequence[Sequence[float]]
    invalid: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class ShownToken:
    """One token as the model sees it.

    ``asks`` is the text that the loss asks for at this place where it is not the token itself (a mask slot); ``why`` says
    in a few words why it is learned, or not.
    """

    text: str
    id: int
    part: TokenPart
    weight: float = 0.0
    asks: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class ShownExample:
    """One record in one format, as tokens.

    Attributes:
        arm: the format or arm.
        tokens: what the model reads, in order.
        decoder: for encoder-decoder models the tokens of the target side.
        read_off: how the answer is read off, in a few words ("class head over 6 labels").
        answer: the right answer in this format; empty where it stands among the tokens.
        n_cut: content tokens that were cut so that it fits.
        notes: what else to know of it, a sentence each.
    """

    arm: str
    tokens: Sequence[ShownToken]
    decoder: Sequence[ShownToken] = ()
    read_off: str = ""
    answer: str = ""
    n_cut: int = 0
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """One record in every format; ``fields`` are the record's own, by name, before any format."""

    place: str
    fields: Facts
    examples: Sequence[ShownExample]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one arm answered to one record."""

    arm: str
    text: str
    right: bool
    confidence: float | None = None
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A test record to which the arms gave different answers."""

    place: str
    text: str
    gold: str
    answers: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    """Rows that did not go on for one reason, with the first places where that happened."""

    reason: str
    rows: int
    places: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Repeat:
    """What somebody else needs to get the same numbers."""

    command: str
    recipe_yaml: str = ""
    seeds: Sequence[int] = ()
    versions: Facts = ()
    digests: Facts = ()


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything that a report of a comparison shows; a part that is empty or None has no section.

    Attributes:
        title: what was compared on what, in a few words.
        verdict: the finding in one sentence, with its numbers.
        outcome: whether one arm is better, several are equivalent, or nothing is decided.
        scale: the metric that decides.
        arms: best first.
        pairs: in any order.
        advice: further sentences: what to do, what more records or seeds would show.
        facts: what stands under the verdict: data, model, sizes, budget.
        margin: differences up to this size (in the metric's own unit) do not matter to the user.
        confidence: of every interval, 0 to 1.
        minimum_detectable: the smallest difference that this comparison was likely to see.
        baseline: what answering always the same label gets, where that has a meaning.
        dev_metric: what the curves show of the dev records; the metric that decides where it is None.
        n_disagreements: how many there are in all; ``disagreements`` may hold the first only.
    """

    title: str
    verdict: str
    outcome: Outcome
    scale: Scale
    arms: Sequence[ArmRow]
    pairs: Sequence[PairRow] = ()
    advice: Sequence[str] = ()
    facts: Facts = ()
    margin: float | None = None
    confidence: float = 0.95
    minimum_detectable: float | None = None
    baseline: float | None = None
    curves: Sequence[Curve] = ()
    dev_metric: Scale | None = None
    confusions: Sequence[Confusion] = ()
    calibrations: Sequence[Calibration] = ()
    shown: Shown | None = None
    disagreements: Sequence[Disagreement] = ()
    n_disagreements: int | None = None
    left_out: Sequence[LeftOutRow] = ()
    repeat: Repeat | None = None
