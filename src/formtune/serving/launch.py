"""Runs the application on a socket until it is told to stop, and stops it gently."""

import logging
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from formtune.errors import SettingError
from formtune.serving.app import create_app
from formtune.serving.engine import Engine
from formtune.serving.engine_thread import EngineThread
from formtune.serving.guard import LOOPBACK_HOSTS, PUBLIC
from formtune.serving.settings import Key, Limits, Notice, check_host, is_loopback

LAST_WORDS_S = 5  # for what is already written to reach its clients, after the work has ended


class NotHealth(logging.Filter):
    """Keeps the log free of probes, which ask every few seconds."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Take all but the lines of health routes; uvicorn gives (client, method, path, version, status)."""
        return not (isinstance(record.args, tuple) and len(record.args) > 2 and record.args[2] in PUBLIC)


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"not_health": {"()": NotHealth}},
    "formatters": {"line": {"format": "%(asctime)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
    "loggers": {
        "uvicorn.error": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "uvicorn.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False, "filters": ["not_health"]},
    },
}


class Server(uvicorn.Server):
    """A uvicorn server that drains on the first signal and breaks off on the second.

    uvicorn itself closes its door at once, so that new clients see a refused connection; here they are told 503 until
    the running answers have ended or ``drain_s`` is over. The process then ends with code 0, not with the signal.

    Args:
        config: uvicorn's.
        thread: owns the engine; it is also an attribute.
        drain_s: seconds that running answers get.
        quiet: not to say that it is ready.
    """

    def __init__(self, config: uvicorn.Config, thread: EngineThread, *, drain_s: float, quiet: bool = False) -> None:
        super().__init__(config)
        self.thread = thread
        self._drain_s = drain_s
        self._told_ready = quiet

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # as a signal handler is called
        """Begin to drain; on a second signal, give running answers no more time."""
        if self.thread.drain_since is not None:
            self._drain_s = 0.0
        else:
            self.thread.drain()

    async def on_tick(self, counter: int) -> bool:
        """Look, ten times a second, whether it is time to stop."""
        self._tell_ready()
        since = self.thread.drain_since
        overdue = since is not None and time.monotonic() - since >= self._drain_s
        if overdue:
            self.thread.abort()
        if overdue or self.thread.failure or (since is not None and not self.thread.n_jobs):
            self.should_exit = True
        return await super().on_tick(counter)

    def _tell_ready(self) -> None:
        if not self._told_ready and self.thread.state == "ready":
            self._told_ready = True
            sys.stderr.write(f"Ready: {self.thread.engine.about.id}. Ctrl-C stops gently, twice: at once.\n")


def open_socket(host: str, port: int) -> socket.socket:
    """Take the address; port 0 takes any free one.

    Raises:
        SettingError: when it is taken, or not this machine's.
    """
    found = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(found, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise SettingError(
            f"The address {host}:{port} cannot be used: {str(error).rstrip('.')}.",
            "Choose another --port or --host.",
            at="--port",
        ) from error
    return listener


def make_server(
    load: Callable[[], Engine],
    *,
    limits: Limits,
    key: Key | None = None,
    check_names: bool = True,
    quiet: bool = False,
) -> Server:
    """Put the server together; it takes its socket when it is run.

    Args:
        load: makes the engine, on the engine's thread, while the server already answers "not ready".
        limits: how much one client may ask for.
        key: what clients must send.
        check_names: answer only requests that call the server by a name of this machine.
        quiet: write errors only.
    """
    thread = EngineThread(load, queue_size=limits.queue_size, timeout_s=limits.timeout_s)
    app = create_app(thread, limits=limits, key=key, hosts=LOOPBACK_HOSTS if check_names else None)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=LOGGING,
        access_log=not quiet,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LAST_WORDS_S,
    )
    return Server(config, thread, drain_s=limits.drain_s, quiet=quiet)


def run(
    load: Callable[[], Engine], *, host: str, port: int, limits: Limits, key: Key | None, notice: Notice = Notice()
) -> None:
    """Serve until a signal ends it.

    Raises:
        SettingError: when the host is open to others and there is no key, or the address cannot be used.
        FormtuneError: what loading the engine raised.
    """
    check_host(host, key)
    check_names = key is None and is_loopback(host)
    server = make_server(load, limits=limits, key=key, check_names=check_names, quiet=notice.quiet)
    with open_socket(host, port) as listener:
        name, number = listener.getsockname()[:2]
        shown = f"[{name}]" if ":" in name else name
        url = f"http://{shown}:{number}"
        if notice.listening:
            notice.listening(url)
        if not notice.quiet:
            sys.stderr.write(f"Listening on {url}. The model is being loaded.\n")
        server.run(sockets=[listener])
    if server.thread.failure:
        raise server.thread.failure
