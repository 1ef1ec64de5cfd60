"""What ``train --dry-run`` foretells, against what then happens: five trainings, each foretold in a process of its own.

    python benchmarks/forecast.py [--only full head]

Printed are tokens, memory and times, foretold and real, with their ratio; and for the first updates the operations,
against those that torch counts. Tokens must be equal, everything else within a quarter, else it ends with 1. Times are
of this machine: nothing else should run on it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from data_folder import data_folder

WITHIN = 0.25
COUNTED_UPDATES = 3
ALPACA, BANKING = "instruct/llamafactory_demo/alpaca_en_demo.json", "cls_en/banking77/train.csv"
SMOLLM = (ALPACA, "--format", "instruction", "--model", "smollm2-135m", "--batch-size", "8", "--n-dev", "16")
MINILM = (BANKING, "--format", "classification", "--model", "minilm-l6", "--n-dev", "300", "--n-test", "300")
SETTINGS = {
    "full": (*SMOLLM, "--n-test", "0", "--n-train", "64", "--epochs", "1"),
    "frozen": (*SMOLLM, "--n-test", "0", "--n-train", "64", "--epochs", "6", "--freeze", "all-but-top-4"),
    "lora": (*SMOLLM, "--n-test", "0", "--n-train", "64", "--epochs", "1", "--lora", "8"),
    "classes": (*MINILM, "--n-train", "1200", "--epochs", "4"),
    "head": (*MINILM, "--n-train", "3000", "--epochs", "20", "--freeze", "body"),
}
EXACT = ("learned_tokens", "computed_tokens")
NEAR = ("peak_mb", "seconds", "total_seconds")


def command(setting: str, *more: str, few: bool = False) -> list[str]:
    """Give the arguments of ``train`` for a setting; for a few updates without looks and tests, if asked."""
    data, *rest = SETTINGS[setting]
    given = dict(zip(rest[::2], rest[1::2], strict=True))
    if few:
        given |= {"--steps": str(COUNTED_UPDATES), "--n-dev": "0", "--n-test": "0"}
        del given["--epochs"]
    flags = [word for pair in given.items() for word in pair]
    return ["train", str(data_folder() / data), *flags, "--set", "model.precision=float32", "--json", "--quiet", *more]


def told(arguments: list[str]) -> dict[str, object]:
    """Run formtune in a process of its own, and read what it prints."""
    done = subprocess.run([sys.executable, "-m", "formtune", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def counted_flops(setting: str) -> float:
    """Let torch count the operations of the first updates; its counter knows no fused attention on a CPU."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from formtune.cli import run

    with tempfile.TemporaryDirectory() as folder, FlopCounterMode(display=False) as counter:
        with sdpa_kernel(SDPBackend.MATH):
            run(command(setting, "--out", f"{folder}/run", few=True))
        return float(counter.get_total_flops())


def own_process(setting: str) -> float:
    """Count in a process of its own."""
    asked = [sys.executable, __file__, "--count", setting]
    return float(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def compared(setting: str) -> bool:
    """Foretell, train and print both; tell whether the forecast was near enough."""
    forecast = told(command(setting, "--dry-run"))
    with tempfile.TemporaryDirectory() as folder:
        real = told(command(setting, "--out", str(Path(folder) / "run")))
    rows = {name: (float(forecast[name]), float(real[name])) for name in (*EXACT, *NEAR)}  # type: ignore[arg-type]
    few_told = told(command(setting, "--dry-run", few=True))
    rows["flops"] = (float(few_told["flops"]), own_process(setting))  # type: ignore[arg-type]
    print(f"{setting}: {' '.join(SETTINGS[setting])}", flush=True)
    fine = True
    for name, (expected, happened) in rows.items():
        ratio = expected / happened
        near = abs(ratio - 1.0) <= (1e-6 if name in EXACT else WITHIN)
        fine = fine and near
        print(f"  {name:<16} {expected:16,.1f} foretold  {happened:16,.1f} real  {ratio:6.3f}{'' if near else '  !'}")
    return fine


def main() -> None:
    """Compare every setting, or some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--count", choices=SETTINGS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.count:
        print(counted_flops(asked.count))
        return
    found = [compared(setting) for setting in asked.only]
    sys.exit(not all(found))


if __name__ == "__main__":
    main()
