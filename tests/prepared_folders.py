"""Prepared folders for tests: a few conversations, and a model of which only what preparation needs is there."""

import json
from collections.abc import Sequence
from pathlib import Path

from formtune import pipeline
from formtune.recipe import make_recipe
from formtune.tokens import byte_tokenizer


def model_folder(folder: Path, *, kind: str = "llama", template: str | None = None) -> Path:
    """Write a configuration and the byte tokenizer, once."""
    folder.mkdir(exist_ok=True)
    both = {"is_encoder_decoder": True, "decoder_start_token_id": 0} if kind == "t5" else {}
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "max_position_embeddings": 512, **both}))
    (folder / "tokenizer.json").write_text(byte_tokenizer().full.to_str(), encoding="utf-8")
    config = {f"{name}_token": f"<{name}>" for name in ("pad", "mask", "sep", "cls")}
    config |= {"bos_token": "<s>", "eos_token": "</s>"}
    config |= {"chat_template": template} if template else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def conversations(path: Path, questions: Sequence[str], *, answer: str = "yes") -> Path:
    """Write a conversation for each question."""
    roles = [[("user", question), ("assistant", answer)] for question in questions]
    rows = [{"messages": [{"role": role, "content": text} for role, text in turns]} for turns in roles]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prepared(out: Path, data: Path, *, model: Path, format_: str = "chat", **preparation: object) -> Path:
    """Prepare a file for a model."""
    settings = {"data": {"paths": [str(data)]}, "formats": format_, "models": str(model), "preparation": preparation}
    pipeline.prepare(make_recipe({**settings, "out": str(out)}))
    return out


def three(folder: Path) -> list[Path]:
    """Prepare three files of 40, 10 and 4 conversations, whose lengths differ."""
    model = model_folder(folder / "model")
    named = {"a": 40, "b": 10, "c": 4}
    asked = {name: [f"{name}{n} " + "why " * (n * 7 % 11) for n in range(count)] for name, count in named.items()}
    files = {name: conversations(folder / f"{name}.jsonl", texts) for name, texts in asked.items()}
    return [prepared(folder / name, file, model=model) for name, file in files.items()]
