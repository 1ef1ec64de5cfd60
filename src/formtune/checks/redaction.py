"""Records with placeholders in the place of personal data and secrets.

One value has one placeholder all over the data (``<EMAIL_3>``), so that who speaks with whom can still be learned.
Answers that stand in a passage still do: their starts move with it, and an answer that is part of a placeholder
becomes all of it. Labels, roles and names of fields stay as they are.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

import msgspec

from formtune.checks.recognizers import PERSONAL, SECRETS, Hit, apart, hits_in
from formtune.checks.texts import texts_of
from formtune.records import (
    Conversation,
    Labelled,
    Message,
    Pair,
    Plain,
    Preference,
    Question,
    Record,
    Span,
    content_digest,
    identified,
)
from formtune.sources import text_of, value_of
from formtune.sources.json_values import FAULTS

_PLACEHOLDER = re.compile(r"<[A-Z_]+_\d+>")


@dataclass(frozen=True, slots=True)
class _Cut:
    """A stretch of the old text and what stands for it in the new one."""

    start: int
    end: int
    new_start: int
    new_end: int


@dataclass(slots=True)
class Redactor:
    """Puts placeholders in, and remembers which value has which."""

    placeholders: dict[tuple[str, str], str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _numbers: Counter[str] = field(default_factory=Counter)
    _taken: set[str] = field(default_factory=set)

    def redacted(self, records: Sequence[Record]) -> list[Record]:
        """Give the records with placeholders; those that change get the id of what they now say.

        A placeholder that stands in the data already is given to nobody else.
        """
        for text in chain.from_iterable(map(texts_of, records)):
            self._taken.update(_PLACEHOLDER.findall(text))
        return identified([self._record(record) for record in records])

    def text(self, text: str) -> str:
        """Put placeholders into a text."""
        return self._cut(text)[0]

    def _cut(self, text: str, alone: Sequence[tuple[int, int]] = ()) -> tuple[str, list[list[_Cut]]]:
        """Cut until nothing is found any more: what stood close to another value may be seen only once that is gone.

        Args:
            text: what is cut.
            alone: stretches of it, from start to before end, in which nothing may be found by itself either.
        """
        rounds: list[list[_Cut]] = []
        while hits := _found(text) or _found_alone(text, [_moved(start, end, rounds) for start, end in alone]):
            text, cuts = self._replaced(text, hits)
            rounds.append(cuts)
        return text, rounds

    def _replaced(self, text: str, hits: Sequence[Hit]) -> tuple[str, list[_Cut]]:
        parts: list[str] = []
        cuts: list[_Cut] = []
        at = length = 0
        for hit in hits:
            placeholder = self._placeholder(hit.kind, hit.value)
            length += hit.start - at
            cuts.append(_Cut(hit.start, hit.end, length, length + len(placeholder)))
            parts += (text[at : hit.start], placeholder)
            length += len(placeholder)
            at = hit.end
        return "".join((*parts, text[at:])), cuts

    def _placeholder(self, kind: str, value: str) -> str:
        self.counts[kind] += 1
        if (kind, value) not in self.placeholders:
            self._numbers[kind] = next(n for n in count(self._numbers[kind] + 1) if f"<{kind}_{n}>" not in self._taken)
            self.placeholders[kind, value] = f"<{kind}_{self._numbers[kind]}>"
        return self.placeholders[kind, value]

    def _record(self, record: Record) -> Record:
        changed = self._changed(record)
        group = None if record.group is None else self.text(record.group)
        changed = msgspec.structs.replace(changed, extra=self._json(record.extra), group=group)
        digest = content_digest(record)
        own_id = record.id != digest and not record.id.startswith(f"{digest}-")
        return msgspec.structs.replace(changed, id=self.text(record.id) if own_id else "")

    def _changed(self, record: Record) -> Record:
        match record:
            case Labelled():
                inputs = {name: self.text(text) for name, text in record.inputs.items()}
                return msgspec.structs.replace(record, inputs=inputs)
            case Question():
                return self._question(record)
            case Pair():
                targets = tuple(map(self.text, record.targets))
                return msgspec.structs.replace(record, source=self.text(record.source), targets=targets)
            case Conversation():
                messages = tuple(map(self._message, record.messages))
                return msgspec.structs.replace(record, messages=messages, tools=self._json(record.tools))
            case Plain():
                return msgspec.structs.replace(record, text=self.text(record.text))
            case Preference():
                sides = {name: getattr(record, name) for name in ("prompt", "chosen", "rejected")}
                return msgspec.structs.replace(
                    record, **{name: tuple(map(self._message, messages)) for name, messages in sides.items()}
                )

    def _question(self, record: Question) -> Question:
        question, choices = self.text(record.question), tuple(map(self.text, record.choices))
        whole = record.context or ""
        answered = list(zip(record.answers, record.starts, strict=False))
        stretches = [(start, start + len(answer)) for answer, start in answered]
        stands = [start >= 0 and whole.startswith(answer, start) for answer, start in answered]
        context, rounds = self._cut(whole, [one for one, there in zip(stretches, stands, strict=True) if there])
        answers, starts = list(map(self.text, record.answers)), list(record.starts)
        for n, (start, end) in enumerate(stretches):
            first, last = _moved(start, end, rounds)
            starts[n] = first
            if stands[n]:
                answers[n] = context[first:last]
        return msgspec.structs.replace(
            record,
            question=question,
            context=None if record.context is None else context,
            choices=choices,
            answers=tuple(answers),
            starts=tuple(starts),
        )

    def _message(self, message: Message) -> Message:
        content, rounds = self._cut(message.content)
        spans = tuple(Span(*_moved(span.start, span.end, rounds), span.weight) for span in message.spans)
        return msgspec.structs.replace(
            message,
            content=content,
            spans=spans,
            name=message.name and self.text(message.name),
            thinking=message.thinking and self.text(message.thinking),
            tool_calls=self._json(message.tool_calls),
            parts=self._json(message.parts),
            extra=self._json(message.extra),
        )

    def _json(self, text: str | None) -> str | None:
        """Put placeholders into the strings and numbers of JSON text; without any it stays byte for byte."""
        if text is None:
            return None
        try:
            value = value_of(text)
        except FAULTS:
            return self.text(text)
        changed = self._value(value)
        return text if changed == value else text_of(changed)

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(key): self._value(inner) for key, inner in value.items()}
            case list():
                return [self._value(inner) for inner in value]
            case int() if not isinstance(value, bool):
                shown = self.text(str(value))
                return value if shown == str(value) else shown
        return value


def _found(text: str) -> list[Hit]:
    return hits_in(text, (*SECRETS, *PERSONAL))


def _found_alone(text: str, stretches: Sequence[tuple[int, int]]) -> list[Hit]:
    """Find what shows in stretches of a text that are read by themselves."""
    return apart(
        hit._replace(start=start + hit.start, end=start + hit.end)
        for start, end in stretches
        for hit in _found(text[start:end])
    )


def _moved(start: int, end: int, rounds: Sequence[Sequence[_Cut]]) -> tuple[int, int]:
    """Say where a stretch of the old text stands in the new one; what it touches in part it now holds whole."""
    for cuts in rounds:
        start, end = _place(start, cuts, at_end=False), _place(end, cuts, at_end=True)
    return start, end


def _place(at: int, cuts: Sequence[_Cut], *, at_end: bool) -> int:
    before = bisect_right(cuts, at - at_end, key=lambda cut: cut.start) - 1
    if before < 0:
        return at
    cut = cuts[before]
    if at >= cut.end:
        return at - cut.end + cut.new_end
    return cut.new_end if at_end else cut.new_start
