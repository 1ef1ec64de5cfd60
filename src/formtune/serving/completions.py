"""One answer in the two shapes that OpenAI gives it: whole, or as a stream of events."""

import time
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from formtune.serving.bodies import (
    AnswerMessage,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    Completion,
    Delta,
    ErrorBody,
    FirstDelta,
    Generating,
    TextChoice,
    Usage,
)
from formtune.serving.engine import About, Engine, Piece, Prompt, Sampling
from formtune.serving.engine_thread import Job
from formtune.serving.problems import Problem, invalid, too_long
from formtune.serving.settings import Limits

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Started:
    """The first step of an answer: its prompt was built and fits."""

    n_prompt: int


@dataclass(frozen=True, slots=True)
class Head:
    """What every part of one answer repeats."""

    id: str
    created: int
    model: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Wire:
    """How an answer is written: as a chat or as plain text.

    Attributes:
        prefix: of the answer's id.
        whole: the answer at once.
        opening: the event before the first piece, or None.
        event: the event of one piece.
        closing: the event that holds only the usage.
    """

    prefix: str
    whole: Callable[[Head, Sequence[Piece], Usage], BaseModel]
    opening: Callable[[Head], BaseModel] | None
    event: Callable[[Head, Piece], BaseModel]
    closing: Callable[[Head, Usage], BaseModel]


def head(about: About, wire: Wire) -> Head:
    """Begin an answer."""
    return Head(wire.prefix + uuid.uuid4().hex, int(time.time()), about.id, about.id.rpartition("@")[2])


def answer(
    engine: Engine, prompt: Callable[[Engine], Prompt], *, asked: Generating, n_asked: int | None, limits: Limits
) -> Generator[Started | Piece, None, None]:
    """Build the prompt and answer it, step by step; runs on the engine's thread.

    Args:
        engine: the model.
        prompt: builds the prompt.
        asked: the request.
        n_asked: the most tokens, where the request says.
        limits: the server's.

    Raises:
        Problem: before the first step, when the prompt cannot be built or does not fit.
    """
    built = prompt(engine)
    n_prompt = len(built.ids)
    room = engine.room(n_prompt)
    if room < (n_asked or 1):
        param = "messages" if "messages" in type(asked).model_fields else "prompt"
        raise too_long(n_prompt, n_asked or 0, engine.about.context, param=param)
    yield Started(n_prompt)
    yield from engine.generate(built, _sampling(asked, n_asked or min(limits.default_max_tokens, room)))


def _sampling(asked: Generating, max_tokens: int) -> Sampling:
    return Sampling(
        max_tokens=max_tokens,
        stop=asked.stops(),
        temperature=asked.temperature or 0.0,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        seed=asked.seed,
    )


def check_generating(asked: Generating, n_asked: int | None, *, limits: Limits) -> None:
    """Refuse what the types cannot.

    Raises:
        Problem: when more tokens are asked for than the server gives, or a stream's option without a stream.
    """
    if n_asked is not None and n_asked > limits.max_tokens:
        raise invalid(
            f"max_tokens: This server writes at most {limits.max_tokens} tokens, not {n_asked}. Ask for fewer.",
            "max_tokens",
        )
    if asked.stream_options is not None and not asked.stream:
        raise invalid("stream_options: This belongs to a stream. Set stream to true.", "stream_options")


def usage(n_prompt: int, pieces: Sequence[Piece]) -> Usage:
    """Count the tokens of an answer."""
    n_written = pieces[-1].n_tokens if pieces else 0
    return Usage(prompt_tokens=n_prompt, completion_tokens=n_written, total_tokens=n_prompt + n_written)


async def events(
    job: Job[Started | Piece], wire: Wire, *, head: Head, n_prompt: int, include_usage: bool
) -> AsyncIterator[bytes]:
    """Write the steps of an answer as server-sent events, ended by ``[DONE]`` or by an error event."""
    last: list[Piece] = []
    hidden = set() if include_usage else {"usage"}
    if wire.opening:
        yield _event(wire.opening(head), hidden)
    try:
        async for step in job:
            assert isinstance(step, Piece)
            last = [step]
            if step.text or step.finish:
                yield _event(wire.event(head, step), hidden)
    except Problem as problem:  # the status line has gone out already, so the error is an event
        yield _event(ErrorBody.model_validate(problem.body()), set())
        return
    if include_usage:
        yield _event(wire.closing(head, usage(n_prompt, last)), hidden)
    yield DONE


def _event(body: BaseModel, hidden: set[str]) -> bytes:
    return b"data: " + body.model_dump_json(exclude=hidden).encode() + b"\n\n"


def _chat_whole(head: Head, pieces: Sequence[Piece], spent: Usage) -> ChatCompletion:
    finish = pieces[-1].finish
    assert finish is not None
    choice = ChatChoice(message=AnswerMessage(content=_joined(pieces)), finish_reason=finish)
    return ChatCompletion(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=[choice],
        usage=spent,
        system_fingerprint=head.fingerprint,
    )


def _chat_chunk(head: Head, choices: list[ChatChunkChoice], spent: Usage | None = None) -> ChatChunk:
    return ChatChunk(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=choices,
        usage=spent,
        system_fingerprint=head.fingerprint,
    )


def _chat_opening(head: Head) -> ChatChunk:
    return _chat_chunk(head, [ChatChunkChoice(delta=FirstDelta(content=""))])


def _chat_event(head: Head, piece: Piece) -> ChatChunk:
    return _chat_chunk(head, [ChatChunkChoice(delta=Delta(content=piece.text), finish_reason=piece.finish)])


def _chat_closing(head: Head, spent: Usage) -> ChatChunk:
    return _chat_chunk(head, [], spent)


def _text(head: Head, choices: list[TextChoice], spent: Usage | None = None) -> Completion:
    return Completion(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=choices,
        usage=spent,
        system_fingerprint=head.fingerprint,
    )


def _text_whole(head: Head, pieces: Sequence[Piece], spent: Usage) -> Completion:
    return _text(head, [TextChoice(text=_joined(pieces), finish_reason=pieces[-1].finish)], spent)


def _text_event(head: Head, piece: Piece) -> Completion:
    return _text(head, [TextChoice(text=piece.text, finish_reason=piece.finish)])


def _text_closing(head: Head, spent: Usage) -> Completion:
    return _text(head, [], spent)


def _joined(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


CHAT = Wire("chatcmpl-", _chat_whole, _chat_opening, event=_chat_event, closing=_chat_closing)
TEXT = Wire("cmpl-", _text_whole, None, event=_text_event, closing=_text_closing)
