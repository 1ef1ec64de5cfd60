"""The web half: routes, and how their failures are told. It knows no torch."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from formtune.serving.bodies import (
    ChatCompletion,
    ChatRequest,
    Classification,
    ClassifiedInput,
    ClassifyRequest,
    Completion,
    CompletionRequest,
    ErrorBody,
    Generating,
    Health,
    ServedModel,
    ServedModels,
    Usage,
)
from formtune.serving.completions import (
    CHAT,
    TEXT,
    Started,
    Wire,
    answer,
    check_generating,
    events,
    head,
    usage,
)
from formtune.serving.engine import About, ChatTurn, Classified, Engine, Input, Piece, Prompt
from formtune.serving.engine_thread import EngineThread, Job, refusal
from formtune.serving.guard import Guard
from formtune.serving.problems import Problem, from_validation, invalid
from formtune.serving.settings import Key, Limits

REFUSED: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Whole, or as events."}
}


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes work with."""

    thread: EngineThread
    limits: Limits

    def about(self, model: str | None) -> About:
        """Say what is served, if it is the model that was asked for.

        Raises:
            Problem: 404 for another model, 503 while none is loaded.
        """
        about = self.thread.engine.about
        if model not in (None, about.id, about.name):
            raise Problem(404, f"There is no model {model!r} here. Ask for {about.id!r}.", "model_not_found", "model")
        return about


def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Served = Annotated[Service, Depends(_service)]
health = APIRouter(tags=["health"])
api = APIRouter(prefix="/v1", tags=["models"], responses=REFUSED)


@health.get("/livez")
async def livez() -> Health:
    """Tell that the process answers."""
    return Health(status="alive")


@health.get("/health", responses=REFUSED)
@health.get("/readyz", responses=REFUSED)
async def readyz(service: Served) -> Health:
    """Tell whether the next request would be taken."""
    state = service.thread.state
    if state != "ready":
        raise Problem(503, refusal(state).message, f"server_{state}", retry_after_s=refusal(state).retry_after_s)
    return Health(status="ready")


@api.get("/models")
async def models(service: Served) -> ServedModels:
    """List the one model that is served."""
    return ServedModels(data=[_described(service.about(None))])


@api.get("/models/{model}")
async def model(model: str, service: Served) -> ServedModel:
    """Describe the model, by its id or its run's name."""
    return _described(service.about(model))


@api.post("/chat/completions", response_model=ChatCompletion, responses=STREAMED)
async def chat_completions(body: ChatRequest, request: Request, service: Served) -> Response:
    """Answer a conversation, or the one text of a run that was not trained on conversations."""
    if None not in (body.max_tokens, body.max_completion_tokens) and body.max_tokens != body.max_completion_tokens:
        raise invalid("max_tokens: It contradicts max_completion_tokens. Send one of them.", "max_tokens")
    turns = [ChatTurn(message.role, message.text()) for message in body.messages]
    reasons = body.chat_template_kwargs.enable_thinking if body.chat_template_kwargs else None
    return await _generate(
        body,
        request,
        service=service,
        wire=CHAT,
        prompt=lambda engine: engine.chat_prompt(turns, reasons),
        n_asked=body.max_completion_tokens or body.max_tokens,
    )


@api.post("/completions", response_model=Completion, responses=STREAMED)
async def completions(body: CompletionRequest, request: Request, service: Served) -> Response:
    """Continue a text, or a sequence of token ids, as it stands."""
    return await _generate(
        body, request, service=service, wire=TEXT, prompt=partial(_prompt, asked=body.prompt), n_asked=body.max_tokens
    )


@api.post("/classify")
async def classify(body: ClassifyRequest, request: Request, service: Served) -> Classification:
    """Choose a label for each input, presented as in training."""
    about = service.about(body.model)
    inputs: list[Input] = [*body.input] if isinstance(body.input, list) else [body.input]
    if len(inputs) > service.limits.n_inputs:
        raise invalid(f"input: At most {service.limits.n_inputs} inputs in one request. Send several.", "input")
    job = service.thread.submit(partial(_classify, inputs=inputs))
    with ExitStack() as stack:
        stack.callback(job.leave)
        async with _watching(request, job):
            found = await anext(job)
    start = head(about, TEXT)
    n_read = sum(item.n_tokens for item in found)
    return Classification(
        id=start.id.replace(TEXT.prefix, "classify-"),
        created=start.created,
        model=start.model,
        data=[_classified(index, item) for index, item in enumerate(found)],
        usage=Usage(prompt_tokens=n_read, completion_tokens=0, total_tokens=n_read),
    )


def _described(about: About) -> ServedModel:
    return ServedModel(
        id=about.id,
        created=about.created,
        format=about.format,
        kind=about.kind,
        labels=list(about.labels),
        max_model_len=about.context,
        answers=list(about.answers),
    )


def _classified(index: int, item: Classified) -> ClassifiedInput:
    return ClassifiedInput(
        index=index, label=item.label, confidence=item.confidence, probabilities=dict(item.probabilities)
    )


def _classify(engine: Engine, inputs: list[Input]) -> Generator[list[Classified], None, None]:
    yield engine.classify(inputs)


def _prompt(engine: Engine, asked: str | list[int]) -> Prompt:
    return engine.text_prompt(asked) if isinstance(asked, str) else engine.ids_prompt(asked)


async def _generate(
    asked: Generating,
    request: Request,
    *,
    service: Service,
    wire: Wire,
    prompt: Callable[[Engine], Prompt],
    n_asked: int | None,
) -> Response:
    """Answer a request that writes text, whole or as a stream."""
    start = head(service.about(asked.model), wire)
    check_generating(asked, n_asked, limits=service.limits)
    job = service.thread.submit(
        lambda engine: answer(engine, prompt, asked=asked, n_asked=n_asked, limits=service.limits)
    )
    with ExitStack() as stack:
        stack.callback(job.leave)
        async with _watching(request, job):
            first = await anext(job)
            steps = [] if asked.stream else [step async for step in job]
        assert isinstance(first, Started)
        if asked.stream:
            with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
            told = events(job, wire, head=start, n_prompt=first.n_prompt, include_usage=with_usage)
            return EventStream(told, at_end=stack.pop_all())
    pieces = [step for step in steps if isinstance(step, Piece)]
    return _json(wire.whole(start, pieces, usage(first.n_prompt, pieces)))


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")


@asynccontextmanager
async def _watching(request: Request, job: Job[Any]) -> AsyncIterator[None]:
    """Stop the job when the client goes away before its answer begins."""
    watcher = asyncio.create_task(_abort_with_client(request, job))
    try:
        yield
    finally:
        watcher.cancel()


async def _abort_with_client(request: Request, job: Job[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.abort(Problem(499, "The client has gone.", "client_gone"))  # 499: nginx's word for it, only seen in the log


class EventStream(StreamingResponse):
    """Server-sent events that end their work when they end, however they end.

    Args:
        told: the events.
        at_end: closed when the stream is over: sent, failed, or left by the client.
    """

    def __init__(self, told: AsyncIterator[bytes], *, at_end: ExitStack) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(told, media_type="text/event-stream", headers=headers)
        self._at_end = at_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        with self._at_end:
            await super().__call__(scope, receive, send)


def create_app(
    thread: EngineThread, *, limits: Limits, key: Key | None = None, hosts: Collection[str] | None = None
) -> FastAPI:
    """Put the application together.

    Args:
        thread: owns the model; started and ended with the application.
        limits: how much one client may ask for.
        key: what clients must send; None asks for none.
        hosts: the names a request may call the server by; None for any.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        thread.start()
        yield
        await thread.close()

    # The pages that FastAPI makes of the schema load scripts from elsewhere, so only the schema itself is served.
    app = FastAPI(
        title="formtune",
        version=version("formtune"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = Service(thread, limits)
    app.include_router(health)
    app.include_router(api)
    app.add_exception_handler(Problem, _tell_problem)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(HTTPException, _tell_http)
    app.add_exception_handler(Exception, _tell_bug)
    app.add_middleware(Guard, key=key, hosts=hosts, body_size_bytes=limits.body_size_bytes)
    return app


def _told(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(problem.body(), problem.status, {**problem.headers(), **(headers or {})})


async def _tell_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return _told(error)


async def _tell_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _told(from_validation(error.errors()))


async def _tell_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    message = f"{request.method} {request.scope['path']}: {error.detail}. See /openapi.json for what there is."
    return _told(Problem(error.status_code, message, code), error.headers)


async def _tell_bug(_request: Request, _error: Exception) -> JSONResponse:
    """Tell the client nothing but that it failed; Starlette raises the error again, and uvicorn logs it.

    uvicorn then drops the connection, so the client is told not to use it again.
    """
    problem = Problem(500, "The server failed on this request. Its log says why.", "internal_error")
    return _told(problem, {"Connection": "close"})
