"""How many arms of a comparison are trained at the same time, and what each of them may take.

Small updates do not keep many threads busy: Python, and the parts of a model that are no products, take turns with
them. Two arms with a thread each are sooner than one after the other with two. With several GPUs each arm gets one.

How many it are follows from all arms of a comparison, not from those that are left to do: an arm calculates with the
same threads when a comparison goes on, and so gives the same numbers.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from formtune import processes
from formtune.arms import Readied
from formtune.footprint import SHARE
from formtune.loading import Options
from formtune.machine import available_bytes, processors
from formtune.model_files import resolve, shapes_in
from formtune.side_by_side import Crew
from formtune.trials import Plan
from formtune.updates import n_computed

SETTING = "comparison.arms_at_once"
GAIN = (
    0.6  # T threads are taken to be T^0.6 times as fast as one: benchmarks/arms_at_once.py holds this against a machine
)
THREAD_FLOPS = 3e10  # a second that one thread is taken to reach in small updates: a low guess, since it decides little
LONG_S = 30.0  # work that takes less is not worth the start of another process
BESIDES_BYTES = 2_500_000_000  # that a worker takes beside weights: libraries, activations, scores


Planned = tuple[Readied, Plan]  # an arm, and what it gets


def crew_for(arms: Sequence[Planned], *, asked: int | None) -> Crew:
    """Say how many arms are trained at the same time.

    Args:
        arms: all that there are.
        asked: what the user says; None to find out what is soonest and fits into memory.
    """
    n_threads = min(torch.get_num_threads(), processors())
    alone = Crew(n_workers=1, n_threads=n_threads, setting=SETTING)
    if processes.count() > 1:
        return alone
    if processes.device().type == "cuda":
        gpus = _gpus(os.environ, torch.cuda.device_count())
        n_workers = min(asked or len(gpus), len(arms))
        seen = tuple(gpus[lane % len(gpus)] for lane in range(n_workers))
        return replace(alone, n_workers=n_workers, n_threads=max(1, n_threads // n_workers), gpus=seen)
    n_workers = min(asked, len(arms)) if asked else _soonest(arms, n_threads=n_threads)
    return replace(alone, n_workers=n_workers, n_threads=max(1, n_threads // n_workers))


def _gpus(environment: Mapping[str, str], count: int) -> list[str]:
    """Name each GPU that this process sees.

    >>> _gpus({"CUDA_VISIBLE_DEVICES": "2,3"}, 2), _gpus({}, 2)
    (['2', '3'], ['0', '1'])
    """
    named = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] or [str(number) for number in range(count)]


def _soonest(arms: Sequence[Planned], *, n_threads: int) -> int:
    """Find the number of workers with which all arms are done first, of those that fit into memory."""
    flops = [_flops(readied, plan) for readied, plan in arms]
    if sum(flops) < LONG_S * THREAD_FLOPS * n_threads**GAIN:
        return 1
    needed = max(_needed_bytes(n_parameters_in(readied.arm.model), plan.options) for readied, plan in arms)
    fitting = int(SHARE * available_bytes() / needed)
    ways = range(1, max(1, min(len(arms), n_threads, fitting)) + 1)
    return min(ways, key=lambda n: makespan([one / (n_threads // n) ** GAIN for one in flops], n))


def makespan(costs: Sequence[float], n_workers: int) -> float:
    """Say when the last of some jobs is done, where who is free takes the longest that is left (Graham 1969).

    >>> makespan([4.0, 3.0, 3.0, 2.0], 2)
    6.0
    """
    busy = [0.0] * n_workers
    for cost in sorted(costs, reverse=True):
        busy[busy.index(min(busy))] += cost
    return max(busy)


def longest_first(arms: Sequence[Planned]) -> list[int]:
    """Give the places of arms, that first which takes longest: what is done last should be short."""
    flops = [_flops(readied, plan) for readied, plan in arms]
    return sorted(range(len(arms)), key=lambda place: -flops[place])


def n_parameters_in(model: str) -> int:
    """Count the numbers in a model's files."""
    return sum(math.prod(shape) for shape in shapes_in(resolve(model)).values())


def _flops(readied: Readied, plan: Plan) -> float:
    """Estimate the operations of an arm: two for each weight and token forward, four backward."""
    n_runs = len(plan.learning_rates) + len(plan.seeds) - 1
    train, test = (list(part.tokens.values()) for part in (readied.train, readied.test))
    length = sum(map(n_computed, train)) / len(train)
    learned = n_runs * plan.settings.steps * plan.settings.batch_size * length
    return n_parameters_in(readied.arm.model) * (6.0 * learned + 2.0 * len(plan.seeds) * sum(map(n_computed, test)))


def _needed_bytes(n_parameters: int, options: Options) -> int:
    """Estimate the memory of a worker: weights, and of those that are trained gradients and the optimizer's state."""
    is_whole = options.freeze == "none" and options.lora is None
    return n_parameters * (16 if is_whole else 8) + BESIDES_BYTES


def shared_out(plan: Plan, crew: Crew, model: str) -> Plan:
    """Give a worker its part of the memory; alone, a plan stays as it is.

    Args:
        plan: of a comparison.
        crew: who carries it out.
        model: that the worker loads; what it takes is taken off.
    """
    limits = plan.limits
    if crew.n_workers == 1:
        return plan
    if limits.memory_bytes is not None:
        own = limits.memory_bytes // crew.n_workers
    elif crew.gpus:
        if len(set(crew.gpus)) == crew.n_workers:
            return plan
        own = round(SHARE * torch.cuda.mem_get_info()[0] / math.ceil(crew.n_workers / len(set(crew.gpus))))
    else:
        own = round(SHARE * available_bytes() / crew.n_workers) - 4 * n_parameters_in(model)
    return replace(plan, limits=replace(limits, memory_bytes=max(1, own)))
