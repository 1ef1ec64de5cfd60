"""Requests and answers of the API, typed: what stands here is what ``/openapi.json`` says.

Field names and shapes are OpenAI's where OpenAI has them. A request with any other field is refused, by name: a field
that were ignored would give an answer that was not asked for.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _whole(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it holds half of a surrogate pair, which is no character")
    return text


# JSON can write half of a surrogate pair (\\ud800); it is no text, and no tokenizer takes it.
Text = Annotated[str, AfterValidator(_whole)]
Stop = Annotated[Text, Field(min_length=1, max_length=64)]
OnlyZero = Annotated[float, Field(ge=0, le=0, allow_inf_nan=False)]
TokenId = Annotated[int, Field(ge=0)]
NamedTexts = Annotated[dict[Text, Text | list[Text]], Field(min_length=1)]
Finish = Literal["stop", "length"]


class Asked(BaseModel):
    """A part of a request: unknown fields are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(Asked):
    """A piece of a message's content; only text is taken."""

    type: Literal["text"]
    text: Text


class ChatMessage(Asked):
    """One message; only text, and only these roles."""

    role: Literal["system", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1)]

    def text(self) -> str:
        """Join the parts."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(Asked):
    """What a stream tells beside the text."""

    include_usage: bool | None = None


class Generating(Asked):
    """What chat and plain completions have in common.

    ``temperature`` is 0 where it is left out (OpenAI: 1), so that the same question gets the same answer. ``n`` and
    the penalties are known only at the value that changes nothing.
    """

    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = 0.0
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = 1
    presence_penalty: OnlyZero | None = 0
    frequency_penalty: OnlyZero | None = 0

    def stops(self) -> tuple[str, ...]:
        """Give the stop strings as a tuple."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class TemplateOptions(Asked):
    """What a chat template is told beside the conversation, as vLLM and SGLang take it.

    ``enable_thinking`` asks for an answer with reasoning or without; where it is left out the answer begins as those did
    that the run was trained on.
    """

    enable_thinking: bool | None = None


class ChatRequest(Generating):
    """The body of ``/v1/chat/completions``."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    chat_template_kwargs: TemplateOptions | None = None


class CompletionRequest(Generating):
    """The body of ``/v1/completions``: one prompt, as text or as token ids."""

    prompt: Text | Annotated[list[TokenId], Field(min_length=1)]


class ClassifyRequest(Asked):
    """The body of ``/v1/classify``: one input or a list.

    An input is the text, or an object: the named texts of a labelled record, or ``question``, ``context`` and
    ``choices`` of a question.
    """

    model: str | None = None
    input: Text | NamedTexts | Annotated[list[Text | NamedTexts], Field(min_length=1)]


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answered(BaseModel):
    """What every answer begins with."""

    id: str
    created: int
    model: str


class AnswerMessage(BaseModel):
    """The message that was written."""

    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    """The answer; there is always one."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: Finish
    logprobs: None = None


class ChatCompletion(Answered):
    """The answer of ``/v1/chat/completions``."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str


class Delta(BaseModel):
    """What a piece adds to the message."""

    content: str


class FirstDelta(Delta):
    """The beginning of the message: who speaks."""

    role: Literal["assistant"] = "assistant"


class ChatChunkChoice(BaseModel):
    """A piece of the answer."""

    index: Literal[0] = 0
    delta: FirstDelta | Delta
    finish_reason: Finish | None = None


class ChatChunk(Answered):
    """One event of a streamed chat."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChatChunkChoice]
    usage: Usage | None = None
    system_fingerprint: str


class TextChoice(BaseModel):
    """The continuation, or a piece of it."""

    index: Literal[0] = 0
    text: str
    finish_reason: Finish | None = None
    logprobs: None = None


class Completion(Answered):
    """The answer of ``/v1/completions``, and one event of its stream."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[TextChoice]
    usage: Usage | None = None
    system_fingerprint: str


class ClassifiedInput(BaseModel):
    """The label of one input, with every label's probability."""

    index: int
    label: str
    confidence: float
    probabilities: dict[str, float]


class Classification(Answered):
    """The answer of ``/v1/classify``: one item per input, in order."""

    object: Literal["list"] = "list"
    data: list[ClassifiedInput]
    usage: Usage


class ServedModel(BaseModel):
    """A model that can be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["formtune"] = "formtune"
    format: str
    kind: str
    labels: list[str]
    max_model_len: int
    answers: list[Literal["chat", "completions", "classify"]]


class ServedModels(BaseModel):
    """The answer of ``/v1/models``."""

    object: Literal["list"] = "list"
    data: list[ServedModel]


class Health(BaseModel):
    """Whether the server lives, or is ready for work."""

    status: Literal["alive", "ready"]


class ErrorDetail(BaseModel):
    """What is wrong, for a person and for a program."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail
