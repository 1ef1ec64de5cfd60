"""Marks that show, in a rendered conversation, where contents went and which control tokens are not the template's.

Marks are private-use characters. Each *chunk* of a content (all of it, but for outer white space and for strings that
the template may look for) is replaced by ``OPEN turn,chunk " CLOSE``; the quotation mark comes back with a backslash
where the template writes contents as JSON. A control token that stands in a name, a tool or a content is wrapped in
``WRAP`` ... ``UNWRAP``; a template that takes it out of its wrapping (``split``) and writes it anew makes it its own.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

OPEN, CLOSE, WRAP, UNWRAP = "\ue0f0", "\ue0f1", "\ue0f2", "\ue0f3"
_ANY_MARK = re.compile(f"[{OPEN}{CLOSE}{WRAP}{UNWRAP}]")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk of a content stands: its turn, its number there, and whether it is written as JSON."""

    turn: int
    number: int
    escaped: bool

    def text(self, chunks: Sequence[Sequence[str]]) -> str:
        """Give the characters, from the chunks of every turn."""
        chunk = chunks[self.turn][self.number]
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
        self._compared = frozenset(compared)
        self._marks = re.compile(
            f'{OPEN}(?P<turn>\\d+),(?P<number>\\d+)(?P<escape>\\\\?)"{CLOSE}'
            f"|{WRAP}(?P<wrapped>{control}){UNWRAP}|(?P<lone>[{OPEN}{CLOSE}{WRAP}{UNWRAP}])|(?P<control>{control})"
        )

    def wrap(self, value: Any) -> Any:
        """Wrap the control tokens in every string of a JSON value."""
        if isinstance(value, str):
            return self._control.sub(f"{WRAP}\\g<0>{UNWRAP}", _ANY_MARK.sub("", value))
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
            return self.wrap(content), ()
        if not self._watched.search(content):
            parts = [content]
        else:
            parts = self._watched.split(content)
        found = self._watched.findall(content)
        skeleton, chunks = [], []
        for n, part in enumerate(parts):
            core = part.strip()
            if core:
                before, _, after = part.partition(core)
                part = before + OPEN + after
                chunks.append(core)
            skeleton += [part, self.wrap(found[n])] if n < len(found) else [part]
        return "".join(skeleton), tuple(chunks)

    def runs(self, marked: str) -> list[Run]:
        """Part a marked text into control tokens, chunks and plain text; marks that stand alone become nothing."""
        out, cursor = [], 0
        for match in self._marks.finditer(marked):
            start, end = match.span()
            if cursor < start:
                out.append(Run(cursor, start, marked[cursor:start]))
            if match["turn"]:
                chunk = Chunk(int(match["turn"]), int(match["number"]), bool(match["escape"]))
                out.append(Run(start, end, chunk=chunk))
            elif not match["lone"]:
                out.append(Run(start, end, match["control"] or match["wrapped"], is_control=bool(match["control"])))
            cursor = end
        return [*out, Run(cursor, len(marked), marked[cursor:])] if cursor < len(marked) else out


def numbered(skeleton: str, turn: int) -> str:
    """Replace each ``OPEN`` of a skeleton by the mark of its chunk."""
    first, *others = skeleton.split(OPEN)
    return first + "".join(f'{OPEN}{turn},{n}"{CLOSE}{other}' for n, other in enumerate(others))
