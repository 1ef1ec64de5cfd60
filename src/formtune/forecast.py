"""What a training will compute, hold and take, told before it is done: ``formtune train --dry-run``.

Tokens and operations follow from settings, seed and examples, and are counted (:mod:`formtune.counting`). Time and
memory depend on the machine, and are measured: a few of the plan's own micro-batches are trained on, by the loop that
will train on them, with a learning rate at which nothing moves. So that whatever is frozen, adapted, cached or rounded
is measured as it is.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from formtune.arms import Material, Readied
from formtune.bench import Bench, look_at
from formtune.counting import Counted, Piece, counted
from formtune.crew import makespan
from formtune.flops import Flops, Operations
from formtune.freezing import trained
from formtune.memory import peak_bytes
from formtune.models import Model
from formtune.progress import Event, Progress
from formtune.training import TracePoint, train
from formtune.trials import Plan, answered, judge_of, taken_up
from formtune.updates import TrainSettings, n_computed, n_looks

ENOUGH_S = 8.0  # of training micro-batches; the ordinary one and the largest are measured in any case
LONG_S = 3.0  # a micro-batch that takes longer is trained on once: what the first time costs more is little beside it
SHORT_S = 0.3  # one that takes less is trained on until so much is measured, at most so many times
MOST_TIMES = 8
SHARES = (0.1, 0.9, 0.25, 0.75, 0.4, 0.6, 0.02, 0.98)  # of the micro-batches are smaller than those measured next
SAMPLE_TOKENS = 4096  # of dev and test records, as many as are computed at once
STILL = 1e-12  # a learning rate at which nothing moves, and everything is computed


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was measured on this machine.

    Attributes:
        updates: how many were trained on.
        tokens: of these.
        seconds: that they took.
        fixed_s: seconds of an update whatever it computes: the optimizer, and calls.
        per_s: operations a second, forward and backward.
    """

    updates: int
    tokens: int
    seconds: float
    fixed_s: float
    per_s: float

    def to_dict(self) -> dict[str, float]:
        """Give the values that ``--json`` prints."""
        return {
            "updates": self.updates,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "seconds_of_every_update": self.fixed_s,
            "flops_per_second": self.per_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What some trainings of an arm, one after the other, will come to.

    Attributes:
        arm: its name.
        counted: what is computed.
        flops: operations, forward and backward, looks not counted.
        peak_bytes: the most memory that the process will hold.
        seconds: wall time of the updates.
        look_s: of the looks at the dev records.
        answer_s: of the answers to the test records.
        load_s: of loading the model, and of choosing its precision.
        calibration: what the times follow from.
        machine: where that was measured: device, threads, precision.
    """

    arm: str
    counted: Counted
    flops: float
    peak_bytes: int
    seconds: float
    look_s: float
    answer_s: float
    load_s: float
    calibration: Calibration
    machine: dict[str, Any]

    @property
    def total_s(self) -> float:
        """Wall time of everything."""
        return self.load_s + self.seconds + self.look_s + self.answer_s

    def to_dict(self) -> dict[str, Any]:
        """Give the values that ``--json`` prints."""
        return {
            "arm": self.arm,
            "tokens": self.counted.n_tokens,
            "learned_tokens": self.counted.n_learned,
            "computed_tokens": self.counted.work.computed,
            "computed_share": self.counted.work.computed_share,
            "saved": self.counted.work.saved,
            "flops": self.flops,
            "peak_mb": self.peak_bytes / 2**20,
            "updates": self.counted.n_updates,
            "per_update_seconds": self.seconds / max(1, self.counted.n_updates),
            "seconds": self.seconds,
            "look_seconds": self.look_s,
            "answer_seconds": self.answer_s,
            "load_seconds": self.load_s,
            "total_seconds": self.total_s,
            "calibration": self.calibration.to_dict(),
            "machine": self.machine,
        }


def foretold_training(readied: Readied, plan: Plan, *, progress: Progress) -> Forecast:
    """Foretell what ``train`` does: one training, then answers to the test records and, for a temperature, the dev ones.

    Args:
        readied: the arm and its material.
        plan: how; its first seed and learning rate.
        progress: told of what is measured.
    """
    n_answers = len(readied.test.tokens) + (len(readied.dev.tokens) if plan.task.labels else 0)
    return foretold(readied, plan, lambda settled: [settled.settings], n_answers=n_answers, progress=progress)


def foretold_arm(readied: Readied, plan: Plan, *, progress: Progress) -> Forecast:
    """Foretell what ``compare`` does with an arm: a trial of each learning rate, then every other seed.

    Args:
        readied: the arm and its material.
        plan: how.
        progress: told of what is measured.
    """
    rates = plan.learning_rates
    judged = len(rates) > 1 and plan.metric.needs in ("label", "probabilities")
    n_answers = len(plan.seeds) * len(readied.test.tokens) * (1 + plan.generate)
    n_answers += len(rates) * len(readied.dev.tokens) if judged else 0
    return foretold(readied, plan, _runs, n_answers=n_answers, progress=progress)


def _runs(plan: Plan) -> list[TrainSettings]:
    """List the trainings of an arm; which learning rate the other seeds take changes nothing here."""
    first, *others = plan.seeds
    rates = plan.learning_rates
    trials = [replace(plan.settings, learning_rate=rate, seed=first) for rate in rates]
    return trials + [replace(plan.settings, learning_rate=rates[0], seed=seed) for seed in others]


def foretold(
    readied: Readied,
    plan: Plan,
    runs_of: Callable[[Plan], Sequence[TrainSettings]],
    *,
    n_answers: int,
    progress: Progress,
) -> Forecast:
    """Foretell trainings of an arm in one process; takes seconds, and writes nothing.

    Args:
        readied: the arm and its material.
        plan: how.
        runs_of: gives the trainings, one after the other on the same pretrained model, of the plan as it is carried out.
        n_answers: how many records are answered when training is over.
        progress: told of what is measured.
    """
    start = time.perf_counter()
    bench, plan = taken_up(readied, plan, progress=progress)
    load_s = time.perf_counter() - start
    runs = runs_of(plan)
    progress(Event(f"{readied.arm.name}: counting what is computed"))
    plan_counted = counted(bench.model, readied.train.in_order(), runs)
    progress(Event(f"{readied.arm.name}: measuring some of it"))
    samples = _Samples(bench.model, runs[0])
    looks = sum(n_looks(settings) for settings in runs) if readied.dev.tokens else 0
    with _nothing_kept(bench.model):
        gc.freeze()  # what there was before is not looked through for garbage after every measurement
        samples.measure(plan_counted.pieces)
        gc.unfreeze()
        look_s = _look_seconds(bench, plan, n_looks=looks) if looks else 0.0
        answer_s = _answer_seconds(bench, plan, n_answers=n_answers) if n_answers and readied.test.tokens else 0.0
    speed = samples.fitted()
    return Forecast(
        arm=readied.arm.name,
        counted=plan_counted,
        flops=sum(p.operations.trunk + p.operations.rest for p in plan_counted.pieces),
        peak_bytes=peak_bytes(bench.model.device) + _growing_bytes(bench, plan_counted, looks=looks),
        seconds=speed.seconds(plan_counted),
        look_s=look_s,
        answer_s=answer_s,
        load_s=load_s,
        calibration=samples.told(speed),
        machine=_machine(bench.model),
    )


@dataclass(frozen=True, slots=True)
class _Speed:
    """Seconds of an update, and of an operation in the cached trunk and in the rest of the model."""

    fixed_s: float
    rest_s: float
    trunk_s: float

    def seconds(self, plan: Counted) -> float:
        rest = sum(piece.operations.rest for piece in plan.pieces)
        trunk = sum(piece.operations.trunk for piece in plan.pieces)
        return plan.n_updates * self.fixed_s + rest * self.rest_s + trunk * self.trunk_s

    def of(self, operations: Operations) -> float:
        """Give the seconds of an update whose trunk is replayed."""
        return self.fixed_s + operations.rest * self.rest_s


def _times(seconds: float) -> int:
    """Say how often to train on a micro-batch that takes so long: at least a second time, unless it takes very long.

    >>> _times(5.0), _times(0.7), _times(0.1), _times(0.001)
    (1, 2, 4, 8)
    """
    return 1 if seconds > LONG_S else min(MOST_TIMES, max(2, 1 + round(SHORT_S / max(seconds, 1e-3))))


class _Samples:
    """Updates that were trained on: what they computed, and the seconds that they took."""

    def __init__(self, model: Model, settings: TrainSettings) -> None:
        self.model = model
        self.flops = Flops(model, recomputes=settings.checkpoint_activations)
        self.settings = replace(
            settings, learning_rate=STILL, head_learning_rate=None, warmup=0.0, unfreeze_every=None, patience=None
        )
        self.operations: list[Operations] = []
        self.seconds: list[float] = []
        self.n_tokens = 0

    def measure(self, pieces: Sequence[Piece]) -> None:
        """Train on the smallest micro-batch (to set things up), an ordinary one, the largest, and others while there is time."""
        by_size = sorted(pieces, key=lambda piece: self._whole(piece).rest)
        largest = max(pieces, key=lambda piece: sum(p.places + p.pairs / 1024 for p in piece.load.stacks))
        self._train(by_size[0], times=2)
        chosen = [by_size[len(by_size) // 2], largest]
        chosen += [by_size[int(share * (len(by_size) - 1))] for share in SHARES]
        times = _times(self.seconds[-1])
        self.operations, self.seconds, self.n_tokens = [], [], 0
        for place, piece in enumerate({id(piece): piece for piece in chosen}.values()):
            if place >= 2 and sum(self.seconds) > ENOUGH_S:
                break
            self._train(piece, times=times if place == 0 else _times(self.fitted().of(self._whole(piece))))

    def _whole(self, piece: Piece) -> Operations:
        """Count a micro-batch as if the trunk had seen none of it."""
        return self.flops.of(replace(piece.load, trunk=piece.load.stacks[0] if piece.load.trunk else None))

    def _train(self, piece: Piece, *, times: int) -> None:
        """Train on a micro-batch; from the second time on the optimizer has its state, and the trunk the texts."""
        found: list[TracePoint] = []
        settings = replace(self.settings, steps=times, batch_size=len(piece.examples), validate_every=times + 1)
        train(self.model, piece.examples, settings=settings, progress=found.append)
        gc.collect()  # the optimizer's state is in cycles, and would be held twice, as in no training
        whole = self._whole(piece)
        # The first time the optimizer makes its state; where a trunk computes what it later replays, that is little.
        for point in found if self.model.trunk else found[1:] or found:
            replayed = self._n_replayed(point) / piece.n_replayable
            self.operations.append(Operations(whole.trunk * (1 - replayed), whole.rest))
            self.seconds.append(point.seconds)
            self.n_tokens += point.n_tokens

    def _n_replayed(self, point: TracePoint) -> float:
        """Count the tokens of an update that did not pass the trunk."""
        return point.work.spared / self.model.trunk.share if self.model.trunk else 0.0

    def fitted(self) -> _Speed:
        """Explain the seconds by least squares with what takes time: an update, its operations, those of the trunk.

        None of them takes less than nothing (Lawson and Hanson 1974, chapter 23).
        """
        columns = np.array([(1.0, one.rest, one.trunk) for one in self.operations])
        scales = np.maximum(columns.max(axis=0), 1e-30)
        found, _ = nnls(columns / scales, np.array(self.seconds))
        fixed_s, rest_s, trunk_s = (found / scales).tolist()
        return _Speed(fixed_s, rest_s, trunk_s)

    def told(self, speed: _Speed) -> Calibration:
        """Say what was measured."""
        n_flops = sum(one.rest + one.trunk for one in self.operations)
        total_s = sum(self.seconds)
        busy_s = max(total_s - len(self.seconds) * speed.fixed_s, 1e-9)
        return Calibration(
            updates=len(self.seconds),
            tokens=self.n_tokens,
            seconds=total_s,
            fixed_s=speed.fixed_s,
            per_s=n_flops / busy_s,
        )


@contextmanager
def _nothing_kept(model: Model) -> Iterator[None]:
    """Let a frozen trunk keep what is measured in a folder of its own, which goes away."""
    if model.trunk is None:
        yield
        return
    with TemporaryDirectory() as folder, model.trunk.aside(Path(folder)):
        yield


def _look_seconds(bench: Bench, plan: Plan, *, n_looks: int) -> float:
    """Measure a look at some of the dev records, and a second one where the trunk then knows them."""
    dev = bench.readied.dev
    some = _some(dev)
    judge = judge_of(replace(bench.readied, dev=some), plan, plan.chosen_by) if plan.chosen_by else None
    tokens = list(some.tokens.values())

    def look() -> None:
        look_at(bench.model, tokens, settings=plan.settings, metric=judge)

    first_s = _seconds(look)
    later_s = _seconds(look) if bench.model.trunk and n_looks > 1 else first_s
    return (first_s + (n_looks - 1) * later_s) * _n_tokens(dev) / _n_tokens(some)


def _answer_seconds(bench: Bench, plan: Plan, *, n_answers: int) -> float:
    """Measure some answers; texts that a model writes before it is trained are often longer than those after."""
    some = list(_some(bench.readied.test).examples.values())
    one_s = _seconds(lambda: answered(bench, some, plan, prior=None, generate=plan.generate)) / len(some)
    return n_answers * one_s


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _some(material: Material) -> Material:
    """Take records of all lengths, evenly, as many as are computed at once."""
    ids = sorted(material.tokens, key=lambda id: n_computed(material.tokens[id]))
    n_wanted = max(1, round(len(ids) * min(1.0, SAMPLE_TOKENS / _n_tokens(material))))
    return material.only(ids[place * len(ids) // n_wanted] for place in range(n_wanted))


def _n_tokens(material: Material) -> int:
    return sum(map(n_computed, material.tokens.values()))


def _growing_bytes(bench: Bench, plan: Counted, *, looks: int) -> int:
    """Say what a training holds that the measured updates did not: best weights, gradients between micro-batches, states.

    An update of one micro-batch has no gradients yet when it has most activations; one of several has.
    """
    weights = sum(p.numel() * p.element_size() for p in trained(bench.model).values())
    copies = (looks > 0) + (plan.most_pieces > 1)
    trunk = bench.model.trunk
    if trunk is None:
        return copies * weights
    row_bytes = trunk.store_on(bench.model.device.type).row_bytes
    later = (bench.readied.dev, bench.readied.test)
    rows = sum(len(part.tokens) if trunk.boundary == "pooled" else _n_tokens(part) for part in later)
    return copies * weights + plan.trunk_bytes + rows * row_bytes  # read from disk, its pages count as held


def _machine(model: Model) -> dict[str, Any]:
    on_gpu = model.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(model.device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "precision": model.precision,
    }


@contextmanager
def with_threads(n_threads: int) -> Iterator[None]:
    """Calculate with so many threads for a while, as the processes do for which something is foretold."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def together_told(forecasts: Sequence[Forecast], *, n_workers: int) -> dict[str, Any]:
    """Add up what the arms of a comparison will come to.

    Args:
        forecasts: of each arm, made with the threads that it gets.
        n_workers: how many arms are trained at the same time; the whole takes as long as the last of them, and as much
            memory as those that take most.
    """
    arms = [one.to_dict() for one in forecasts]
    summed = (
        "tokens",
        "learned_tokens",
        "computed_tokens",
        "flops",
        "updates",
        "seconds",
        "look_seconds",
        "answer_seconds",
        "load_seconds",
    )
    whole = {name: sum(arm[name] for arm in arms) for name in summed}
    whole["total_seconds"] = makespan([arm["total_seconds"] for arm in arms], n_workers)
    whole["peak_mb"] = sum(sorted((arm["peak_mb"] for arm in arms), reverse=True)[:n_workers])
    return {**whole, "arms_at_once": n_workers, "machine": arms[0]["machine"], "arms": arms}
