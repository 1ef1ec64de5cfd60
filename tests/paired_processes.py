"""Trainings that two processes and one must do alike: run by ``test_processes.py``, in two processes and in its own."""

import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from token_examples import answering, tokens

from formtune import objective, processes
from formtune.adapters import Lora
from formtune.bench import look_at
from formtune.checkpoints import CheckpointPlan, Keeper
from formtune.errors import DataError, FormtuneError
from formtune.freezing import trained
from formtune.interrupts import Asked
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.tokens import Tokens
from formtune.training import Diverged, Trained, train
from formtune.updates import TrainSettings

FAMILIES = ("bert", "gpt2", "llama", "qwen3", "t5", "xlnet")
PLAIN = TrainSettings(
    steps=3, batch_size=5, optimizer="sgd", learning_rate=0.05, warmup=0.0, micro_batch_tokens=12, clip=0.5
)
LOOKING = replace(PLAIN, steps=12, learning_rate=2.0, clip=None, validate_every=1, patience=2)


def steady(model: Model) -> Model:
    """Switch every dropout off, since two processes draw other places than one."""
    for module in model.module.modules():
        for name, value in vars(module).items():
            if isinstance(value, float) and ("dropout" in name or name == "p"):
                setattr(module, name, 0.0)
    if model.class_head:
        model.class_head.dropout.p = 0.0
    return model


def made(family: str, *, output: str = "", options: Options = Options(), n_classes: int = 0) -> Model:
    """Make a small model whose numbers depend on its weights alone."""
    output = output or ("mask" if family == "bert" else "text")
    return steady(tiny(family, output=output, n_classes=n_classes, options=options))  # type: ignore[arg-type]


def examples(model: Model, n: int = 7, *, shared: int = 0) -> list[Tokens]:
    """Examples of lengths that no two processes share evenly, all beginning with the same tokens if asked for."""
    found = []
    for i in range(n):
        prompt, target = [40] * shared + [20 + i] * (2 + i), [30 + i] * (1 + i % 3)
        if model.shape == "encoder-decoder" and model.class_head is None:
            found.append(answering(prompt, target, id=str(i)))
        else:
            found.append(tokens(prompt, target, id=str(i), gold=i % 2 if model.class_head else None))
    return found


def fitted(model: Model, settings: TrainSettings, *, n: int = 7, shared: int = 0, looks: bool = False) -> Any:
    """Train, and give what must be equal: losses, weights, and what was decided."""
    told = examples(model, n, shared=shared)
    look = (lambda: look_at(model, told[:3], settings=settings, metric=None)) if looks else None
    done: Trained = train(model, told, settings=settings, look=look)
    counts = [len(done.trace), done.best_step, done.n_learned]
    # Each process computes for itself what its examples share, and pads its own rows.
    counts += [] if shared or model.pads else [done.n_tokens]
    return {"losses": [p.loss for p in done.trace], "counts": counts}, {
        n: p.detach() for n, p in trained(model).items()
    }


def _head() -> Model:
    return made("bert", output="head", n_classes=2)


def in_pieces(family: str) -> Any:
    """Train with so few rows of the vocabulary at a time that a micro-batch has several."""
    whole = objective.N_ROWS["cpu"]
    objective.N_ROWS["cpu"] = 2
    try:
        return fitted(made(family), PLAIN)
    finally:
        objective.N_ROWS["cpu"] = whole


CASES: dict[str, Callable[[], Any]] = {
    **{family: lambda family=family: fitted(made(family), PLAIN) for family in FAMILIES},
    "head": lambda: fitted(_head(), replace(PLAIN, class_weights=(1.0, 3.0))),
    "decoder with a head": lambda: fitted(made("llama", output="head", n_classes=2), PLAIN),
    "encoder-decoder with a head": lambda: fitted(made("t5", output="head", n_classes=2), PLAIN),
    "average over tokens": lambda: fitted(made("llama"), replace(PLAIN, average="token", label_smoothing=0.1)),
    "one example": lambda: fitted(made("llama"), replace(PLAIN, batch_size=1)),
    "one micro-batch": lambda: fitted(made("gpt2"), replace(PLAIN, micro_batch_tokens=4096, clip=None)),
    "shared beginnings": lambda: fitted(made("llama"), replace(PLAIN, micro_batch_tokens=64), shared=20),
    "adamw": lambda: fitted(made("llama"), replace(PLAIN, optimizer="adamw", learning_rate=1e-3)),
    "looks": lambda: fitted(made("llama"), LOOKING, looks=True),
    "lora": lambda: fitted(made("llama", options=Options(lora=Lora(rank=2))), PLAIN),
    "top block": lambda: fitted(made("llama", options=Options(freeze="all-but-top-1")), PLAIN),
    "in pieces": lambda: in_pieces("llama"),
    "in pieces, both sides": lambda: in_pieces("t5"),
    "computed twice": lambda: fitted(made("llama"), replace(PLAIN, checkpoint_activations=True)),
    "bfloat16": lambda: fitted(
        made("llama", options=Options(freeze="all-but-top-1", precision="bfloat16")), replace(PLAIN, steps=2)
    ),
}
COPIES_ALONE: dict[str, Callable[[], Any]] = {
    "adafactor": lambda: fitted(made("gpt2"), replace(PLAIN, optimizer="adafactor", learning_rate=1e-3)),
    "joining": lambda: fitted(made("llama"), replace(PLAIN, unfreeze_every=1, micro_batch_tokens=4096)),
}


def trained_all(folder: Path, cases: dict[str, Callable[[], Any]]) -> None:
    """Do trainings, and write what came out from the main process."""
    for name, case in cases.items():
        told, weights = case()
        if processes.is_main():
            (folder / f"{name}.json").write_text(json.dumps(told))
            np.savez(folder / f"{name}.npz", **{n: w.float().numpy() for n, w in weights.items()})


@contextmanager
def launched_with(**environment: str) -> Iterator[None]:
    """Say for a while what a launcher says in the environment."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def error_of(do: Callable[[], object]) -> str:
    """Give the kind and the text of the error that something ends with."""
    try:
        do()
    except FormtuneError as error:
        return f"{type(error).__name__} {error}"
    return ""


def _broken_in_one() -> None:
    model = made("llama")
    if processes.rank() == 1:
        scores = model.logits
        model.logits = lambda hidden, exact=True: scores(hidden, exact=exact) * math.nan  # type: ignore[method-assign]
    train(model, examples(model), settings=PLAIN)


def _wrong_in(rank: int) -> str:
    if processes.rank() == rank:
        raise DataError("This cannot be read.", "Mend it.", at="train.jsonl:3")
    return "read"


def goes_on(folder: Path, *, head: bool) -> bool:
    """Tell whether a training that the second process was asked to stop goes on as the one that went through."""
    settings = replace(PLAIN, steps=5, optimizer="adamw", learning_rate=1e-3, validate_every=2)

    def weights(keeper: Keeper | None) -> tuple[list[float], dict[str, bytes]]:
        output = "head" if head else "mask"
        model = tiny("bert", output=output, n_classes=2 if head else 0)  # type: ignore[arg-type]  # it drops out
        told = examples(model)
        look = lambda: look_at(model, told[:3], settings=settings, metric=None)  # noqa: E731
        done = train(model, told, settings=settings, look=look, keeper=keeper)
        return [p.loss for p in done.trace], {n: p.detach().numpy().tobytes() for n, p in trained(model).items()}

    @contextmanager
    def heed() -> Iterator[Asked]:
        asked = count(1)
        yield lambda: signal.SIGTERM if next(asked) == 3 and processes.rank() == 1 else None

    through = weights(None)
    stopped = error_of(lambda: weights(Keeper(CheckpointPlan(folder=folder, heed=heed))))
    kept = sorted(path.name for path in folder.iterdir())
    assert stopped.startswith("Stopped") and "step-00000003" in kept, (stopped, kept)
    return weights(Keeper(CheckpointPlan(folder=folder))) == through


def agreements() -> dict[str, Any]:
    """Say what this process got where all of them agree on something."""
    first = torch.rand(2).tolist()
    fsdp = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    found = {
        "from main": processes.from_main(lambda: processes.rank() + 7),
        "gathered": processes.gathered(processes.rank()),
        "spread": processes.spread([1, 2, 3, 4, 5], lambda part: [10 * one for one in part]),
        "alike": processes.alike(processes.rank),
        "wrong in the second": error_of(lambda: processes.alike(lambda: _wrong_in(1))),
        "wrong in the main": error_of(lambda: processes.from_main(lambda: _wrong_in(0))),
        "other records": error_of(lambda: processes.check_same(processes.rank(), what="records")),
        "diverged": error_of(_broken_in_one).split(" ")[0] == Diverged.__name__,
        "chance": [first, torch.rand(2).tolist()],
    }
    with launched_with(**fsdp):
        found["adafactor in parts"] = error_of(lambda: fitted(made("gpt2"), replace(PLAIN, optimizer="adafactor")))
        found["joining in parts"] = error_of(lambda: fitted(made("gpt2"), replace(PLAIN, unfreeze_every=1)))
    with launched_with(**{**fsdp, "FSDP_VERSION": "1"}):
        found["first version"] = error_of(processes.start)
    with launched_with(ACCELERATE_MIXED_PRECISION="bf16"):
        found["precision of the launcher"] = error_of(processes.start)
    return found


def main(folder: Path) -> None:
    """Do everything in this process and its neighbor."""
    torch.set_num_threads(1)
    processes.start()
    for name in ("copies", "parts"):
        (folder / name).mkdir(exist_ok=True)
    trained_all(folder / "copies", {**CASES, **COPIES_ALONE})
    with launched_with(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2"):
        trained_all(folder / "parts", CASES)
    found = {"copies": goes_on(folder / "kept", head=True)}
    with launched_with(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2"):
        found["parts"] = goes_on(folder / "kept-parts", head=False)
    (folder / f"goes-on-{processes.rank()}.json").write_text(json.dumps(found))
    (folder / f"agreements-{processes.rank()}.json").write_text(json.dumps(agreements()))
    processes.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
