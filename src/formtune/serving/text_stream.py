"""Token ids into text as they come: no half characters, no stop strings."""

from collections.abc import Callable, Sequence

HALF = "\ufffd"  # what a decoder writes for bytes that are not a whole character yet


class TextStream:
    """Settles the text of a growing answer.

    Text is held back while it may still change: a character whose bytes are not all there, and an end that may be the
    beginning of a stop string. The pieces joined are the decoded answer up to the first stop string.

    Args:
        decode: ids → text.
        stops: strings that end the answer.
        skips_blank: leave out white space before the answer.

    >>> stream = TextStream(lambda ids: "".join(map(chr, ids)), ("END",))
    >>> [stream.push(ord(c)) for c in "aENbENDc"], stream.stopped
    (['a', '', '', 'ENb', '', '', '', ''], True)
    """

    def __init__(
        self, decode: Callable[[Sequence[int]], str], stops: Sequence[str], *, skips_blank: bool = False
    ) -> None:
        self._decode = decode
        self._stops = tuple(stops)
        self._ids: list[int] = []
        # Decoders treat the first token apart (a leading space), so the tokens before stay in the window; two borders,
        # as in vLLM's and TGI's incremental detokenizers, keep it short.
        self._window = 0
        self._read = 0
        self._held = ""
        self._skips_blank = skips_blank
        self.stopped = False

    def push(self, token: int) -> str:
        """Take one more token and give the text that is now settled."""
        self._ids.append(token)
        fresh = self._fresh()
        if fresh.endswith(HALF):
            return ""
        self._window, self._read = self._read, len(self._ids)
        return self._settle(fresh)

    def finish(self) -> str:
        """Give what was held back; the answer has ended."""
        released = self._settle(self._fresh())
        rest = "" if self.stopped else self._held
        self._held, self._read = "", len(self._ids)
        return released + rest

    def _fresh(self) -> str:
        before = self._decode(self._ids[self._window : self._read])
        return self._decode(self._ids[self._window :])[len(before) :]

    def _settle(self, fresh: str) -> str:
        if self.stopped:
            return ""
        text = self._held + fresh
        if self._skips_blank:
            text = text.lstrip()
            self._skips_blank = not text
        found = [at for at in map(text.find, self._stops) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Count the characters at the end of the text that begin the stop string, short of all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
