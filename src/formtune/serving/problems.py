"""What a client did wrong, or what the server cannot do now, in the shape that OpenAI clients read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KINDS = {  # status → the "type" that OpenAI gives such an error
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "server_error",
}


@dataclass(slots=True, eq=False)
class Problem(Exception):
    """A request cannot be answered; becomes an HTTP status with an OpenAI-shaped body.

    Attributes:
        status: HTTP status.
        message: ``problem. remedy.``, for a person.
        code: for a program; OpenAI's own word where it has one.
        param: dotted name of the field that is wrong, or None.
        retry_after_s: seconds after which another try makes sense, or None.
    """

    status: int
    message: str
    code: str
    param: str | None = None
    retry_after_s: int | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"

    def body(self) -> dict[str, dict[str, str | None]]:
        """Give the JSON object that OpenAI clients turn into an exception."""
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        param = None if self.param is None else _printable(self.param)
        return {"error": {"message": _printable(self.message), "type": kind, "param": param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Give the headers that belong to the status."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def _printable(text: str) -> str:
    """Escape what UTF-8 cannot hold: a field's name may have come as half of a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode()


def invalid(message: str, param: str, *, code: str = "invalid_value") -> Problem:
    """Say that a field of the request is wrong."""
    return Problem(400, message, code, param)


def too_long(n_prompt: int, n_answer: int, context: int, *, param: str) -> Problem:
    """Say that prompt and answer do not fit the model together."""
    wanted = f"{n_prompt} tokens of prompt" + (f" and {n_answer} of answer" if n_answer else "")
    return Problem(
        400,
        f"This model takes at most {context} tokens; the request asks for {wanted}. Send less.",
        "context_length_exceeded",
        param,
    )


def from_validation(errors: Sequence[Mapping[str, object]]) -> Problem:
    """Turn what pydantic found into one problem that names the first field and tells all.

    Values are left out: the message may be logged by the client, and the request is the user's own.
    """
    told = [_told(error) for error in errors]
    first = errors[0]
    unsupported = first["type"] == "extra_forbidden"
    code = "unsupported_parameter" if unsupported else "invalid_value"
    return Problem(400, " ".join(told[:5]), code, _field(first) or None)


def _told(error: Mapping[str, object]) -> str:
    field = _field(error)
    if error["type"] == "extra_forbidden":
        return f"{field}: This server does not support {field!r}. Leave it out."
    return f"{field or 'body'}: {str(error['msg']).rstrip('.')}."


def _field(error: Mapping[str, object]) -> str:
    place = error["loc"]
    assert isinstance(place, tuple)
    return ".".join(str(part) for part in place if part != "body")
