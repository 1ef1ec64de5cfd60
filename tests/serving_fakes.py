"""A small real engine without a model: a token is a character, and the answer is the prompt in capitals."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from formtune.serving import launch
from formtune.serving.engine import About, ChatTurn, Classified, Engine, Input, Piece, Prompt, Sampling
from formtune.serving.problems import invalid
from formtune.serving.settings import Key, Limits
from formtune.serving.text_stream import TextStream

ABOUT = About(
    id="shouter@0123456789ab",
    name="shouter",
    created=1_700_000_000,
    format="chat",
    kind="conversation",
    labels=("loud", "quiet"),
    context=64,
    answers=("chat", "completions", "classify"),
)


@dataclass
class Shouter:
    """Answers with the last message in capitals, a character a step.

    ``gate`` holds every step back until it is open; ``n_steps`` counts the steps that were worked.
    """

    step_s: float = 0.0
    gate: threading.Event = field(default_factory=threading.Event)
    n_steps: int = 0
    about: About = ABOUT

    def __post_init__(self) -> None:
        self.gate.set()

    def chat_prompt(self, turns: Sequence[ChatTurn], reasons: bool | None = None) -> Prompt:
        return self.text_prompt(turns[-1].content)

    def text_prompt(self, text: str) -> Prompt:
        if text == "a bug":
            raise RuntimeError("this engine has a bug")
        return Prompt([ord(character) for character in text])

    def ids_prompt(self, ids: Sequence[int]) -> Prompt:
        if max(ids) > 0x10FFFF:
            raise invalid("prompt: No such token. Send others.", "prompt")
        return Prompt(list(ids))

    def room(self, n_prompt: int) -> int:
        return self.about.context - n_prompt

    def generate(self, prompt: Prompt, sampling: Sampling) -> Iterator[Piece]:
        text = TextStream(lambda ids: "".join(map(chr, ids)), sampling.stop)
        answer = "".join(map(chr, prompt.ids)).upper()[: sampling.max_tokens]
        n_tokens = 0
        for n_tokens, character in enumerate(answer, 1):
            self._step()
            settled = text.push(ord(character))
            if text.stopped:
                yield Piece(settled, n_tokens, "stop")
                return
            yield Piece(settled, n_tokens)
        yield Piece(text.finish(), n_tokens, "length" if n_tokens == sampling.max_tokens else "stop")

    def classify(self, inputs: Sequence[Input]) -> list[Classified]:
        self._step()
        found = []
        for value in inputs:
            text = value if isinstance(value, str) else str(value["text"])
            loud = sum(map(str.isupper, text)) / max(len(text), 1)
            label = "loud" if loud > 0.5 else "quiet"
            found.append(Classified(label, {"loud": loud, "quiet": 1 - loud}, max(loud, 1 - loud), len(text)))
        return found

    def _step(self) -> None:
        self.gate.wait(10)
        time.sleep(self.step_s)
        self.n_steps += 1


@contextmanager
def serving(
    load: Callable[[], Engine], *, limits: Limits = Limits(drain_s=2), key: Key | None = None, ready: bool = True
) -> Iterator[tuple[str, launch.Server]]:
    """Run a real server on a free loopback port, in a thread; gives its address."""
    server = launch.make_server(load, limits=limits, key=key)
    listener = launch.open_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    runner = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    runner.start()
    try:
        wait_for(lambda: server.started and (not ready or server.thread.state == "ready"), 60)
        yield url, server
    finally:
        server.handle_exit(signal.SIGTERM, None)
        runner.join(20)
        listener.close()
        assert not runner.is_alive()


def wait_for(fact: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.005)


if __name__ == "__main__":  # a process of its own, for real signals: python serving_fakes.py PORT
    launch.run(
        lambda: Shouter(step_s=0.05), host="127.0.0.1", port=int(sys.argv[1]), limits=Limits(drain_s=5), key=None
    )
