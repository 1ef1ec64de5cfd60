"""Environments of peers: each in a folder of its own under the cache, made once."""

import subprocess
import sys
from pathlib import Path

from formtune.model_files import cache_folder


def python_of(name: str, *packages: str) -> Path:
    """Give the Python of a peer's environment; torch goes first, so that its version is settled."""
    folder = cache_folder() / "peers" / name
    python = folder / "bin" / "python"
    if (folder / "ready").is_file():
        return python
    print(f"setting up {name}: {', '.join(packages)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    for asked in (("torch==2.13.0",), packages):
        subprocess.run([str(python), "-m", "pip", "--quiet", "install", *asked], check=True)
    (folder / "ready").touch()
    return python
