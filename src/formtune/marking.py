"""Marks that show, in a rendered conversation, where contents went and which control tokens are not the template's.

Marks are private-use characters. Each *chunk* of a content (all of it, but for outer white space and for strings that
the template may look for) is replaced by ``OPEN turn,chunk " CLOSE`` (``OPEN turn!chunk " CLOSE`` in its reasoning); the quotation mark comes back with a backslash
where the template writes contents as JSON. Whether a control token in the rendered text is the template's own shows a
second rendering, of the same conversation with every control token in a content, a name or a tool wrapped in
``WRAP`` ... ``UNWRAP``: those that come out wrapped are text. One that a template takes out of its wrapping and writes
anew (Qwen3 does so with ``<think>``) is its own.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from formtune.errors import DataError

OPEN, CLOSE, WRAP, UNWRAP = "\ue0f0", "\ue0f1", "\ue0f2", "\ue0f3"


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks of a turn: those of its content and those of its reasoning."""

    content: tuple[str, ...]
    thinking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk stands: its turn, its number in the content or the reasoning, and whether it is written as JSON."""

    turn: int
    number: int
    escaped: bool
    is_thinking: bool = False

    def text(self, chunks: Sequence[Chunks]) -> str:
        """Give the characters, from the chunks of every turn."""
        own = chunks[self.turn]
        chunk = (own.thinking if self.is_thinking else own.content)[self.number]
        return json.dumps(chunk, ensure_ascii=False)[1:-1] if self.escaped else chunk


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a marked text: exactly one of the template's control token, a chunk, or plain characters.

    ``start`` and ``end`` are its place in the marked text; ``text`` is what it stands for, without marks.
    """

    start: int
    end: int
    text: str = ""
    is_control: bool = False
    chunk: Chunk | None = None


class Marker:
    """Puts marks into conversations and reads them out of what a template made of them."""

    def __init__(self, controls: Collection[str], watched: Collection[str], compared: Collection[str]) -> None:
        """Prepare for a model.

        Args:
            controls: texts of its control tokens.
            watched: strings that its template may look for in a content.
            compared: strings that its template may compare a content with.
        """
        # A regular expression takes the first alternative that fits; tokenizers take the longest.
        control = "|".join(sorted(map(re.escape, controls), key=len, reverse=True)) or "(?!)"
        self._control = re.compile(control)
        self._watched = re.compile("|".join(map(re.escape, sorted(watched, key=len, reverse=True))) or "(?!)")
        self._watches_nothing = not watched
        self._compared = frozenset(compared)
        self._n_compared = max(map(len, compared), default=-1)
        mark = f'{OPEN}(?P<turn>\\d+)(?P<field>[,!])(?P<number>\\d+)(?P<escape>\\\\?)"{CLOSE}'
        self._marks = re.compile(f"{mark}|(?P<control>{control})")
        self._wraps = re.compile(f"{mark}|{WRAP}(?P<wrapped>{control}){UNWRAP}|(?P<control>{control})")

    def has_control(self, text: str) -> bool:
        """Tell whether a text, or the JSON text of a value, may hold a control token."""
        return "\\u" in text or self._control.search(text) is not None

    def looked_into(self, columns: Iterable[Sequence[str]]) -> set[int]:
        """Say which rows of contents hold what the template may look for, or are what it compares with.

        Each column is searched at once, which mostly says that none is.

        Args:
            columns: the first content of every row, the second, and so on.
        """
        found: set[int] = set()
        for contents in columns:
            if min(map(len, contents), default=0) <= self._n_compared:
                found.update(n for n, content in enumerate(contents) if content in self._compared)
            if not self._watches_nothing and self._watched.search("\n".join(contents)):
                found.update(n for n, content in enumerate(contents) if self._watched.search(content))
        return found

    def wrap(self, value: Any) -> Any:
        """Wrap the control tokens in every string of a JSON value."""
        if isinstance(value, str):
            return self._control.sub(f"{WRAP}\\g<0>{UNWRAP}", value)
        if isinstance(value, list):
            return [self.wrap(one) for one in value]
        if isinstance(value, dict):
            return {self.wrap(key): self.wrap(one) for key, one in value.items()}
        return value

    def skeleton(self, content: str) -> tuple[str, tuple[str, ...]]:
        """Part a content into what the template may ask about it and chunks that it cannot tell apart.

        Returns:
            The content with ``OPEN`` in place of each chunk, and the chunks.
        """
        if content in self._compared:
            return content, ()
        parts = self._watched.split(content)
        found = [*self._watched.findall(content), ""]
        skeleton, chunks = "", []
        for part, watched in zip(parts, found, strict=True):
            core = part.strip()
            before, _, after = part.partition(core) if core else (part, "", "")
            skeleton += before + OPEN * bool(core) + after + watched
            chunks += [core] if core else []
        return skeleton, tuple(chunks)

    def runs(self, marked: str, wrapped: str | None = None) -> list[Run]:
        """Part a marked text into control tokens, chunks and plain text.

        Args:
            marked: the rendered text of a marked conversation.
            wrapped: that of the same conversation with its control tokens wrapped, where there are any.

        Raises:
            DataError: where the template treats the wrapped conversation otherwise.
        """
        own = iter(self._owners(marked, wrapped))
        out, cursor = [], 0
        for match in self._marks.finditer(marked):
            start, end = match.span()
            if match["control"] and not next(own):
                continue
            if cursor < start:
                out.append(Run(cursor, start, marked[cursor:start]))
            if match["turn"]:
                is_thinking = match["field"] == "!"
                chunk = Chunk(int(match["turn"]), int(match["number"]), bool(match["escape"]), is_thinking)
                out.append(Run(start, end, chunk=chunk))
            else:
                out.append(Run(start, end, match["control"], is_control=True))
            cursor = end
        return [*out, Run(cursor, len(marked), marked[cursor:])] if cursor < len(marked) else out

    def _owners(self, marked: str, wrapped: str | None) -> list[bool]:
        """Say of each control token in the text whether it is the template's own."""
        seen = [match["control"] for match in self._marks.finditer(marked) if match["control"]]
        if wrapped is None:
            return [True] * len(seen)
        matches = [match for match in self._wraps.finditer(wrapped) if not match["turn"]]
        if seen != [match["wrapped"] or match["control"] for match in matches]:
            raise DataError(
                "The conversation holds text that the chat template takes for its own.",
                "Take that text out, or use another model.",
            )
        return [match["wrapped"] is None for match in matches]


def numbered(skeleton: str, turn: int, *, is_thinking: bool = False) -> str:
    """Replace each ``OPEN`` of a skeleton by the mark of its chunk."""
    first, *others = skeleton.split(OPEN)
    field = "!" if is_thinking else ","
    return first + "".join(f'{OPEN}{turn}{field}{n}"{CLOSE}{other}' for n, other in enumerate(others))
