"""The one thread that owns the model, and the bounded queue before it.

Requests are answered one after another. Whatever runs on the thread is an iterator, so that it can be left between any
two of its steps: when the client has gone, when its time is up, or when the server stops.
"""

import asyncio
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Generic, Literal, TypeVar

from formtune.serving.engine import Engine
from formtune.serving.problems import Problem

Step = TypeVar("Step")
State = Literal["loading", "ready", "full", "draining", "failed"]
REASONS: dict[State, str] = {
    "loading": "The model is still being loaded. Try again in a few seconds.",
    "full": "Too many requests are waiting. Try again in a moment.",
    "draining": "The server is stopping. Send the request to another one.",
    "failed": "The model could not be loaded. See the server's own output.",
}


class Job(Generic[Step]):
    """One request on the engine's thread; iterate over it to get its steps as they come.

    Args:
        timeout_s: seconds until the iteration raises a 504.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._steps: asyncio.Queue[Step | Problem | None] = asyncio.Queue()
        self._deadline = self._loop.time() + timeout_s
        self._left = Event()
        self._future: Future[None] | None = None

    def begin(self, executor: ThreadPoolExecutor, work: Callable[[], Generator[Step, None, None]]) -> "Future[None]":
        """Queue the work for the thread."""
        self._future = executor.submit(self._run, work)
        self._future.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._steps.put_nowait, None))
        return self._future

    def _run(self, work: Callable[[], Generator[Step, None, None]]) -> None:
        with closing(work()) as steps:
            for step in steps:
                if self._left.is_set():
                    return
                self._loop.call_soon_threadsafe(self._steps.put_nowait, step)

    def leave(self) -> None:
        """Stop the work within one step: nobody waits for it any more."""
        self._left.set()
        if self._future is not None:
            self._future.cancel()

    def abort(self, problem: Problem) -> None:
        """Stop the work within one step and raise the problem where it is waited for."""
        self._steps.put_nowait(problem)
        self.leave()

    def __aiter__(self) -> "Job[Step]":
        return self

    async def __anext__(self) -> Step:
        try:
            async with asyncio.timeout_at(self._deadline):
                step = await self._steps.get()
        except TimeoutError:
            self.leave()
            raise Problem(504, "The answer took too long. Ask for fewer tokens.", "timeout") from None
        if isinstance(step, Problem):
            raise step
        if step is not None:
            return step
        assert self._future is not None
        if not self._future.cancelled():
            self._future.result()  # raises what the work raised
        raise StopAsyncIteration


class EngineThread:
    """Owns the engine: loads it, queues work for it, lets it run dry.

    Everything but the work itself is called on the event loop.

    Args:
        load: makes the engine; runs on the thread, so that the server can already say "not ready".
        queue_size: jobs that wait or run at the same time.
        timeout_s: seconds that one job may take, waiting included.
    """

    def __init__(self, load: Callable[[], Engine], *, queue_size: int, timeout_s: float) -> None:
        self._load = load
        self._queue_size = queue_size
        self._timeout_s = timeout_s
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._loaded: Future[Engine] | None = None
        self._aborts: dict[Future[None], Callable[[Problem], None]] = {}
        self.drain_since: float | None = None

    def start(self) -> None:
        """Begin to load the engine."""
        self._loaded = self._executor.submit(self._load)

    @property
    def failure(self) -> BaseException | None:
        """What went wrong in loading, or None."""
        done = self._loaded is not None and self._loaded.done() and not self._loaded.cancelled()
        return self._loaded.exception() if done and self._loaded else None

    @property
    def state(self) -> State:
        """Whether the next request would be taken, and if not, why."""
        if self.drain_since is not None:
            return "draining"
        if self._loaded is None or not self._loaded.done():
            return "loading"
        if self.failure is not None:
            return "failed"
        return "full" if self.n_jobs >= self._queue_size else "ready"

    @property
    def n_jobs(self) -> int:
        """Requests that wait or run."""
        return len(self._aborts)

    @property
    def engine(self) -> Engine:
        """The engine, for reading what it is about.

        Raises:
            Problem: 503, as long as it is not loaded.
        """
        if self._loaded is None or not self._loaded.done() or self.failure is not None:
            raise refusal(self.state)
        return self._loaded.result()

    def submit(self, work: Callable[[Engine], Generator[Step, None, None]]) -> Job[Step]:
        """Queue work.

        Raises:
            Problem: 503 while loading or draining, 429 when the queue is full.
        """
        state = self.state
        if state != "ready":
            raise refusal(state)
        engine = self.engine
        job: Job[Step] = Job(timeout_s=self._timeout_s)
        loop = asyncio.get_running_loop()
        future = job.begin(self._executor, lambda: work(engine))
        self._aborts[future] = job.abort
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._aborts.pop, done, None))
        return job

    def drain(self) -> None:
        """Take no new work; only sets a mark, so that a signal handler may call it."""
        self.drain_since = time.monotonic()

    def abort(self) -> None:
        """Stop every job within one step."""
        for abort in list(self._aborts.values()):
            abort(refusal("draining"))

    async def close(self) -> None:
        """End the thread; waits for the step that runs."""
        self.abort()
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)


def refusal(state: State) -> Problem:
    """Say why a request is not taken now."""
    if state == "full":
        return Problem(429, REASONS["full"], "queue_full", retry_after_s=1)
    return Problem(503, REASONS[state], f"server_{state}", retry_after_s=5)
