"""The data set that LLaMA-Factory would train on, made the way its own command makes it."""

import contextlib
import sys
import time
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec

import datasets

SETTINGS = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "full",
    "dataset": "rows",
    "template": "smollm2",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
}


def made(model_folder: str, **settings: object) -> tuple[datasets.Dataset, float]:
    """Give the training set, and the seconds that it took once the tokenizer was loaded."""
    without_audio()
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    datasets.disable_progress_bars()
    with contextlib.redirect_stdout(sys.stderr):  # it shows its first row
        model, data, training, _, _ = get_train_args({**SETTINGS, **settings, "model_name_or_path": model_folder})
        loaded = load_tokenizer(model)
        template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
        start = time.perf_counter()
        parts = get_dataset(template, model, data, training, stage="sft", **loaded)
        return parts["train_dataset"], time.perf_counter() - start


def without_audio() -> None:
    """Let it be imported where torchaudio is not installed; no audio is read."""
    sys.modules["torchaudio"] = module_from_spec(ModuleSpec("torchaudio", None))
