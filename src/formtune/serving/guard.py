"""The door: who may ask, from where, and how much. It stands before every route, known or not."""

from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from formtune.serving.problems import Problem
from formtune.serving.settings import Key

PUBLIC = frozenset({"/livez", "/readyz", "/health"})
HEADER_SIZE_BYTES = 16 * 1024
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuses requests without the key, for a foreign host, or too large, before anything reads them.

    Everything is refused by default: only the exact paths of :data:`PUBLIC` go without a key. (Servers that check a
    prefix leave routes open: vLLM's key covers ``/v1`` alone.)

    Attributes:
        app: what stands behind the door.
        key: the key that a request must bear; None asks for none.
        hosts: the names a request may call this server by, or None for any. Without a key, a web page could reach a
            loopback server under a name of its own (DNS rebinding); its requests bear that name.
        body_size_bytes: the longest body.
    """

    app: ASGIApp
    key: Key | None
    hosts: Collection[str] | None
    body_size_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with the reason why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._unwelcome(scope["path"], headers) or self._unreadable(headers)
        body = b"" if problem else await self._body(receive)
        if body is None:
            return  # the client left in the middle of its request
        if len(body) > self.body_size_bytes:
            problem = self._too_large()
        if problem:
            await JSONResponse(problem.body(), problem.status, problem.headers())(scope, receive, send)
            return
        await self.app(scope, _replay(body, receive), send)

    def _unwelcome(self, path: str, headers: Headers) -> Problem | None:
        if path in PUBLIC:
            return None
        if self.hosts is not None and _host_name(headers.get("host", "")) not in self.hosts:
            return Problem(403, "This server answers to the names of this machine only. Use 127.0.0.1.", "host")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if self.key and not (scheme.lower() == "bearer" and self.key.matches(token.strip())):
            return Problem(401, "The API key is missing or wrong. Send: Authorization: Bearer KEY.", "invalid_api_key")
        return None

    def _unreadable(self, headers: Headers) -> Problem | None:
        if sum(len(name) + len(value) for name, value in headers.raw) > HEADER_SIZE_BYTES:
            return Problem(431, f"The headers are longer than {HEADER_SIZE_BYTES} bytes.", "headers_too_large")
        if headers.get("content-encoding", "identity") != "identity":
            return Problem(415, "Compressed bodies are not read. Send plain JSON.", "content_encoding")
        length = headers.get("content-length", "0")
        return self._too_large() if length.isdecimal() and int(length) > self.body_size_bytes else None

    def _too_large(self) -> Problem:
        return Problem(413, f"The body is longer than {self.body_size_bytes} bytes. Send less.", "body_too_large")

    async def _body(self, receive: Receive) -> bytes | None:
        """Read the body, but no more than one message past the limit; None when the client left."""
        body = bytearray()
        more = True
        while more and len(body) <= self.body_size_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(body)


def _host_name(header: str) -> str:
    """Take the port off a Host header: ``[::1]:8000`` → ``[::1]``."""
    name, colon, port = header.rpartition(":")
    return name if colon and port.isdigit() else header


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read already, then whatever comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
