"""Small randomly initialised models as folders on disk, with the byte tokenizer: what a user's own folder looks like."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import transformers

from formtune.examples import Output
from formtune.loading import tiny
from formtune.tokens import byte_tokenizer


@cache
def tiny_folder(family: str) -> str:
    """Write a tiny model of a family once a session, and give its folder."""
    folder = Path(mkdtemp(prefix=f"tiny-{family}-"))
    output: Output = "mask" if family == "bert" else "text"
    module = tiny(family, output=output).module
    transformers.utils.logging.disable_progress_bar()
    module.save_pretrained(folder)
    raw = byte_tokenizer().full
    (folder / "tokenizer.json").write_text(raw.to_str(), encoding="utf-8")
    config = {f"{name}_token": f"<{name}>" for name in ("pad", "mask", "sep", "cls")}
    config |= {"bos_token": "<s>", "eos_token": "</s>", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)
