"""What a comparison may say: from intervals and tests to one sentence, a recommendation, and advice.

The rules, in order, over arms ranked by their mean:

1. The best arm is not shown to beat the constant answer of the commonest label: nobody is recommended.
2. The best arm is better than every other (after correction), and by more than what counts as equal: it wins.
3. The best arm and all those not shown to be worse, or shown to be equally good, are equivalent to one another: take
   the cheapest. (Equivalence of *all* pairs is claimed only if each is shown, so it needs no correction.)
4. Otherwise it is not decided among them.

Nothing that varies from run to run by itself, such as a time in milliseconds, enters a sentence or a choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from formtune.metrics import Metric


@dataclass(frozen=True, slots=True)
class Cost:
    """What an arm costs to train and to use; 0 is unknown.

    Attributes:
        parameters_trained: parameters that were changed.
        tokens_laid: tokens laid out in one training, replayed ones among them, on average over seeds.
        training_s: seconds of one training, likewise.
        tokens_per_answer: tokens in and out, on average.
        ms_per_answer: milliseconds, on average, on the machine of the comparison.
        parameters: parameters of the whole model; needed to weigh the tokens of models of different size.
    """

    parameters_trained: int = 0
    tokens_laid: int = 0
    training_s: float = 0.0
    tokens_per_answer: float = 0.0
    ms_per_answer: float = 0.0
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm: its mean over seeds with interval, its value by seed, and whether it is no better than chance.

    ``invalid`` is the share of invalid answers, from 0 to 1, or None where an answer cannot be invalid; ``written``
    the metric of freely written answers, where label words were scored as well. ``at_chance`` is True where the
    interval reaches down to what always answering the commonest label scores.
    """

    mean: float
    low: float
    high: float
    by_seed: Mapping[int, float]
    invalid: float | None
    cost: Cost
    at_chance: bool
    written: float | None = None


@dataclass(frozen=True, slots=True)
class PairResult:
    """Two arms: by how much ``a`` is better than ``b`` (negative: worse), and what may be concluded.

    Attributes:
        a: the first arm.
        b: the second arm.
        difference: the advantage of ``a``, in the metric's unit.
        low: lower end of its interval, over records and seeds.
        high: upper end.
        p: two-sided, over records and seeds; agrees with the interval.
        p_holm: corrected for the number of pairs.
        p_records: two-sided, for these very models on other records.
        test: how ``p_records`` was found: ``mcnemar`` or ``swap``.
        different: ``p_holm`` is below 1 - confidence.
        equivalent: shown to differ by less than the margin.
        minimum_detectable: the true difference that would be found with a power of 0.8.
        more_records: about so many more test records would decide; None where decided, or where no number would.
        more_seeds: likewise.
        more_of_both: likewise, records and seeds together.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    p_records: float
    test: str
    different: bool
    equivalent: bool
    minimum_detectable: float
    more_records: int | None
    more_seeds: int | None
    more_of_both: tuple[int, int] | None

    def mirrored(self) -> "PairResult":
        """Give the same finding seen from ``b``."""
        return replace(self, a=self.b, b=self.a, difference=-self.difference, low=-self.high, high=-self.low)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said and recommended.

    Attributes:
        sentence: one sentence with the numbers.
        winner: the arm that is better than every other, if there is one.
        recommended: the winner, or the cheapest of equivalent arms, or None.
        leading: the arms that may be the best one, best mean first.
        equivalent: the leading arms (two or more) are equivalent.
        minimum_detectable: the largest of the pairs that the sentence rests on.
    """

    sentence: str
    winner: str | None
    recommended: str | None
    leading: tuple[str, ...]
    equivalent: bool
    minimum_detectable: float


@dataclass(frozen=True, slots=True)
class Terms:
    """What the numbers are measured in and judged by."""

    metric: Metric
    margin: float
    confidence: float
    baseline: float | None
    n_records: int
    n_seeds: int
    n_units: int | None = None
    """Groups of records that count as one observation each; None where every record stands alone."""


def decide(arms: Mapping[str, ArmResult], pairs: Sequence[PairResult], *, terms: Terms) -> Verdict:
    """Apply the rules of this module to at least two arms and all their pairs."""
    ranked = ranking(arms, terms.metric)
    best = ranked[0]
    seen = _seen_from(best, pairs)
    leading = tuple(name for name in ranked if name == best or not seen[name].different or seen[name].equivalent)
    among = [pair for pair in pairs if pair.a in leading and pair.b in leading]
    detectable = max((pair.minimum_detectable for pair in among), default=seen[ranked[1]].minimum_detectable)
    if arms[best].at_chance:
        return Verdict(_at_chance(best, arms[best], terms), None, None, leading, False, detectable)
    if not among:
        return Verdict(_better(ranked, seen, terms), best, best, leading, False, detectable)
    if all(pair.equivalent for pair in among):
        chosen = cheapest(leading, arms)
        return Verdict(_equal(leading, chosen, arms=arms, terms=terms), None, chosen, leading, True, detectable)
    sentence = _undecided(leading, seen, n_pairs=len(pairs), terms=terms)
    return Verdict(sentence, None, None, leading, False, detectable)


def ranking(arms: Mapping[str, ArmResult], metric: Metric) -> list[str]:
    """Name the arms from best to worst mean; equal ones by name."""
    sign = -1 if metric.higher_is_better else 1
    return sorted(arms, key=lambda name: (sign * arms[name].mean, name))


def cheapest(names: Sequence[str], arms: Mapping[str, ArmResult]) -> str:
    """Name the arm that costs least: work per answer, then work of training, then the order of the names given.

    Work is tokens times parameters of the model; tokens alone where the size of any is unknown. Times do not count:
    they would make the same comparison recommend now one arm, now the other.
    """
    costs = {name: arms[name].cost for name in names}
    sizes = {name: cost.parameters for name, cost in costs.items()}
    if not all(sizes.values()):
        sizes = dict.fromkeys(names, 1)
    return min(names, key=lambda n: (costs[n].tokens_per_answer * sizes[n], costs[n].tokens_laid * sizes[n]))


def advice(
    verdict: Verdict, arms: Mapping[str, ArmResult], pairs: Sequence[PairResult], *, terms: Terms, optimism: float
) -> tuple[str, ...]:
    """Give what a user should know beside the verdict, each point a sentence."""
    return (
        _on_power(verdict, terms),
        *_on_seeds(terms),
        *_on_curse(verdict, arms, terms, optimism=optimism),
        *_on_small_differences(pairs, terms),
        *_on_chance(arms, terms),
        *(
            f"{name}, answering freely, gave no valid answer to {100 * arm.invalid:.1f} % of the records."
            for name, arm in arms.items()
            if arm.invalid is not None and arm.invalid >= 0.01
        ),
    )


def _better(ranked: Sequence[str], seen: Mapping[str, PairResult], terms: Terms) -> str:
    best, runner_up = ranked[:2]
    others = len(ranked) - 2
    rest = f", and than the other {others} arms" if others > 1 else f", and than {ranked[2]}" if others else ""
    name = f"the runner-up {runner_up}" if others else runner_up
    return f"{best} is better than {name} by {_found(seen[runner_up], terms)}{rest}."


def _equal(leading: Sequence[str], chosen: str, *, arms: Mapping[str, ArmResult], terms: Terms) -> str:
    costs = {name: arms[name].cost for name in leading}
    several_sizes = len({cost.parameters for cost in costs.values()}) > 1
    words = {name: _cost(cost, with_size=several_sizes) for name, cost in costs.items()}
    if len(set(words.values())) == 1:
        reason = f"{chosen}, as an answer costs the same from each"
    else:
        others = ", ".join(f"{name}: {words[name]}" for name in leading if name != chosen)
        reason = f"{chosen}, the cheapest ({words[chosen]} per answer; {others})"
    worse = [name for name in ranking(arms, terms.metric) if name not in leading]
    rest = f"; {listed(worse)} {'is' if len(worse) == 1 else 'are'} worse" if worse else ""
    return f"{listed(leading)} are equivalent within ±{amount(terms.margin, terms.metric)}: take {reason}{rest}."


def _undecided(leading: Sequence[str], seen: Mapping[str, PairResult], *, n_pairs: int, terms: Terms) -> str:
    best, runner_up = leading[:2]
    pair = next((seen[name] for name in leading[1:] if not seen[name].equivalent), seen[runner_up])
    between = f"between {best} and {runner_up}" if len(leading) == 2 else f"among {listed(leading)}"
    gap = "difference" if len(leading) == 2 else f"{best} is ahead of {pair.b} by"
    corrected = f", p = {pair.p_holm:.2g} after correction for {n_pairs} pairs" if pair.low > 0 else ""
    return f"Not decided {between}: {gap} {_found(pair, terms)}{corrected}; {_more(pair, terms)}."


def _at_chance(best: str, arm: ArmResult, terms: Terms) -> str:
    low, high = number(arm.low, terms.metric), number(arm.high, terms.metric)
    return (
        f"No arm is shown to beat always answering the commonest label ({amount(terms.baseline or 0.0, terms.metric)}): "
        f"the best, {best}, has {number(arm.mean, terms.metric)} ({_percent(terms)} interval {low} to {high})."
    )


def _more(pair: PairResult, terms: Terms) -> str:
    ways = [
        f"{pair.more_records} more test records" if pair.more_records else "",
        f"{pair.more_seeds} more seed{'s' * (pair.more_seeds > 1)}" if pair.more_seeds else "",
    ]
    if any(ways):
        return f"about {' or '.join(filter(None, ways))} would be needed"
    if pair.more_of_both:
        records, seeds = pair.more_of_both
        return f"about {records} more test records and {seeds} more seeds would be needed, both together"
    if terms.n_seeds == 1:
        return "a hundred times as many test records would not be sure to decide"
    return "a hundred times as many test records and seeds would not be sure to decide"


def _on_power(verdict: Verdict, terms: Terms) -> str:
    seeds = "1 seed" if terms.n_seeds == 1 else f"{terms.n_seeds} seeds"
    groups = f" in {terms.n_units} groups" if terms.n_units not in (None, terms.n_records) else ""
    return (
        f"With {terms.n_records} test records{groups} and {seeds}, a true difference of "
        f"{amount(verdict.minimum_detectable, terms.metric)} is found four times in five; smaller ones less often."
    )


def _on_seeds(terms: Terms) -> list[str]:
    if terms.n_seeds == 1:
        return [
            "One seed says nothing about the luck of training: the intervals cover the choice of test records only."
        ]
    if terms.n_seeds == 2:
        return ["Two seeds say little about the luck of training, so that intervals are wide: use at least three."]
    return []


def _on_curse(verdict: Verdict, arms: Mapping[str, ArmResult], terms: Terms, *, optimism: float) -> list[str]:
    if (len(arms) < 3 and verdict.winner) or optimism < 0.1 * terms.margin:
        return []
    worse = "lower" if terms.metric.higher_is_better else "higher"
    size = amount(optimism, terms.metric)
    return [f"The best of {len(arms)} means is partly luck: expect it about {size} {worse} on new records and seeds."]


def _on_small_differences(pairs: Sequence[PairResult], terms: Terms) -> list[str]:
    both = [pair if pair.difference > 0 else pair.mirrored() for pair in pairs if pair.different and pair.equivalent]
    return [
        f"{pair.a} is better than {pair.b} by {_found(pair, terms)}, which is less than what you asked for "
        f"({amount(terms.margin, terms.metric)})."
        for pair in both
    ]


def _on_chance(arms: Mapping[str, ArmResult], terms: Terms) -> list[str]:
    names = [name for name, arm in arms.items() if arm.at_chance]
    if not names or terms.baseline is None:
        return []
    verb = "is" if len(names) == 1 else "are"
    baseline = amount(terms.baseline, terms.metric)
    return [f"{listed(names)} {verb} not shown to beat always answering the commonest label ({baseline})."]


def _seen_from(best: str, pairs: Sequence[PairResult]) -> dict[str, PairResult]:
    """Give the best arm's pairs by the other's name, each seen from the best."""
    ahead = {pair.b: pair for pair in pairs if pair.a == best}
    return ahead | {pair.a: pair.mirrored() for pair in pairs if pair.b == best}


def _found(pair: PairResult, terms: Terms) -> str:
    low, high = number(pair.low, terms.metric), number(pair.high, terms.metric)
    return f"{amount(pair.difference, terms.metric)} ({_percent(terms)} interval {low} to {high})"


def _percent(terms: Terms) -> str:
    return f"{100 * terms.confidence:g} %"


def _cost(cost: Cost, *, with_size: bool) -> str:
    size = f" through {cost.parameters / 1e6:.0f}M parameters" if with_size and cost.parameters else ""
    return f"{cost.tokens_per_answer:.0f} tokens{size}"


def amount(value: float, metric: Metric) -> str:
    """Write a value with its unit: ``4.1 points``, ``0.02 nats``."""
    unit = "point" if metric.unit == "points" and number(value, metric) == "1.0" else metric.unit
    return f"{'1' if unit == 'point' else number(value, metric)} {unit}"


def number(value: float, metric: Metric) -> str:
    """Write a value as it is shown: points with one decimal, everything else with three significant digits."""
    if metric.unit == "points":
        return f"{round(value, 1) + 0.0:.1f}"
    return f"{value:.3g}"


def listed(names: Sequence[str]) -> str:
    """Write names as a list in words: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def rounded_up(count: float) -> int:
    """Round a count up to two significant digits: an estimate should not look exact."""
    if count <= 0:
        return 0
    step = int(10.0 ** max(0, math.floor(math.log10(count)) - 1))
    return math.ceil(count / step) * step
