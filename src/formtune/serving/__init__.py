"""A run behind an HTTP API that OpenAI clients can talk to.

``engine`` is the border: on this side bodies, queue, limits, keys (no torch); on the other ``run_engine``, which
builds prompts with the renderer that built the training text.
"""

import importlib.util
from functools import partial
from pathlib import Path

from formtune.errors import MissingExtra
from formtune.serving.settings import Limits, Notice, read_key

__all__ = ["Limits", "Notice", "serve"]


def serve(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key_file: str | Path | None = None,
    limits: Limits | None = None,
    notice: Notice = Notice(),
) -> None:
    """Serve a run until SIGTERM or Ctrl-C; returns when running answers have ended.

    Args:
        run: folder of the run.
        host: address to listen on; any but a loopback address needs an API key.
        port: 0 takes any free one.
        api_key_file: file with the key that clients must send; else the environment variable ``FORMTUNE_API_KEY``.
        limits: how much one client may ask for; None takes the defaults.
        notice: what is told of the server itself.

    Raises:
        DataError: when there is no whole run in the folder; told before anything listens.
        MissingExtra: when the extra ``serve`` is not installed.
        SettingError: when the host needs a key, the key is unusable, or the address is taken.
        FormtuneError: when the run cannot be loaded.
    """
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "serve")
    from formtune.shards import read_manifest

    read_manifest(run, kind="run")
    from formtune.serving import launch
    from formtune.serving.run_engine import open_engine

    key = read_key(api_key_file)
    launch.run(partial(open_engine, run), host=host, port=port, limits=limits or Limits(), key=key, notice=notice)
