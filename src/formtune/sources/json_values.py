"""JSON values: decoded without a loss, written as they were, and what is wrong with a text that is none.

Whole numbers of any length stay as they are. A decimal that float64 cannot hold becomes a :class:`LongNumber`, which
counts as the nearest float and is written as it was. Of a key that stands twice in one object the last value is kept,
and the others are told (:func:`repeated_keys`).
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NOT_JSON = "not valid JSON"
TOO_DEEP = "nested too deeply"
_EXACT_CHARACTERS = 16  # so short a decimal has at most 15 digits, which float64 holds
_WITH_EXPONENT = re.compile(rb"-?\d+(?:\.\d+)?[eE]\+?\d+|-?\d{300,}\.\d+")
# Group 1 is half of a surrogate pair; whole pairs and other escapes are passed over.
_SURROGATE = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL)
_MOST_DIGITS = re.compile(rb"-?\d{4301}")  # Python's limit, against texts that take minutes to become a number
_SHOWN_CHARACTERS = 60


class LongNumber(float):
    """A decimal with more digits than float64 holds: the nearest float, with the text that stood in the data."""

    __slots__ = ("text",)
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class JsonFault:
    """What is wrong with a JSON text.

    Attributes:
        reason: the phrase that all texts with such a fault share.
        problem: what is wrong with this one.
        byte: where, from 0.
    """

    reason: str
    problem: str
    byte: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """A key that stands twice: where its object stands, and what was lost and kept, as JSON texts."""

    path: str
    lost: str
    kept: str


def number_of(text: str) -> float:
    """Give a decimal without a loss.

    Raises:
        ValueError: when it is out of range.
    """
    number = float(text)
    if math.isinf(number):
        raise ValueError("number out of range")
    if len(text) <= _EXACT_CHARACTERS or repr(number) == text:
        return number
    exact = LongNumber(number)
    exact.text = text
    return exact


def _as_written(value: object) -> msgspec.Raw:
    if isinstance(value, LongNumber):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} is no JSON value")


value_of = msgspec.json.Decoder(float_hook=number_of).decode
"""Decode a JSON text without a loss; raises one of :data:`FAULTS`."""

_encode = msgspec.json.Encoder(enc_hook=_as_written).encode


def text_of(value: object) -> str:
    """Give a value as compact JSON text; a number that was read is written as it was.

    >>> text_of(value_of('{"share": 0.1000000000000000055511151231257827}'))
    '{"share":0.1000000000000000055511151231257827}'
    """
    return _encode(value).decode()


def find_fault(data: bytes, error: Exception) -> JsonFault:
    """Say what is wrong with a JSON text, from the decoder's error."""
    if isinstance(error, RecursionError):
        return JsonFault(TOO_DEEP, f"{_depth(data)} levels of lists and objects", 0)
    message = str(error).removeprefix("JSON is malformed: ")
    place = re.search(r" \(byte (\d+)\)$", message)
    if place:
        return _placed(data, message[: place.start()], int(place.group(1)))
    if "truncated" in message:
        half = _half_pair(data)
        if half is not None and data.rstrip().endswith((b"}", b"]", b'"')):
            return JsonFault("half of a surrogate pair", "a surrogate without its partner", half)
        return JsonFault(NOT_JSON, "the text ends too early", len(data))
    if "Integer value out of range" in message:
        digits = _MOST_DIGITS.search(data)
        return JsonFault("a number out of range", "more than 4300 digits", digits.start() if digits else 0)
    if "out of range" in message:
        found = (match.start() for match in _WITH_EXPONENT.finditer(data) if math.isinf(float(match[0])))
        return JsonFault("a number out of range", "beyond what float64 holds", next(found, 0))
    return JsonFault(NOT_JSON, message.split(" - at")[0], 0)


def _placed(data: bytes, problem: str, byte: int) -> JsonFault:
    """Name the faults that have a cause of their own."""
    if re.match(rb"-?(NaN|Inf)", data[byte:]) or (data[byte - 1 : byte] == b"-" and data[byte : byte + 3] == b"Inf"):
        return JsonFault("NaN or Infinity, which JSON has not", "NaN and Infinity are not JSON", byte)
    if "surrogate" in problem:
        half = _half_pair(data)
        return JsonFault("half of a surrogate pair", "a surrogate without its partner", byte if half is None else half)
    if data[byte : byte + 1] == b"\0":
        return JsonFault("a zero byte", "a zero byte", byte)
    return JsonFault(NOT_JSON, problem, byte)


def _half_pair(data: bytes) -> int | None:
    return next((match.start() for match in _SURROGATE.finditer(data) if match[1]), None)


def _depth(data: bytes) -> int:
    """Count the levels of a JSON text."""
    depth = deepest = 0
    for match in BRACKET.finditer(data):
        depth += 1 if data[match.end() - 1] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


# Everything up to the next bracket that does not stand in a string.
BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+[\[\]{}]', re.DOTALL)


def repeated_keys(data: bytes, value: object) -> list[Repeated]:
    """Find the keys that stand twice in one object of a JSON text.

    It costs little where none does. There are at least as many colons as keys; and those in texts stand there again when
    the value is written, so that there are fewer only where a key was lost.

    Args:
        data: the text.
        value: what it was decoded to.
    """
    n_colons = data.count(b":")
    if n_colons == _n_outer_keys(value):
        return []
    if n_colons == _encode(value).count(b":") and b"\\u003" not in data:  # an escaped colon would be written as one
        return []
    return list(_repeated(json.loads(data, object_pairs_hook=_Pairs), ""))


def _n_outer_keys(value: object) -> int:
    """Count the keys of an object and of the objects in its lists: all there are in most rows, and never more."""
    if type(value) is not dict:
        return 0
    n_keys = len(value)
    for part in value.values():
        if type(part) is list:
            for inner in part:
                if type(inner) is dict:
                    n_keys += len(inner)
    return n_keys


class _Pairs(list[tuple[str, object]]):
    """The keys and values of an object, none lost."""


def _repeated(value: object, path: str) -> Iterator[Repeated]:
    if isinstance(value, _Pairs):
        last = dict(value)
        seen: set[str] = set()
        for key, part in reversed(value):
            inside = f"{path}.{key}" if path else key
            if key in seen:
                yield Repeated(inside, _shown(part), _shown(last[key]))
            else:
                seen.add(key)
                yield from _repeated(part, inside)
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _repeated(part, f"{path}[{place}]")


def _shown(value: object) -> str:
    text = json.dumps(_plain(value), ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _plain(value: object) -> object:
    if isinstance(value, _Pairs):
        return {key: _plain(part) for key, part in value}
    return [_plain(part) for part in value] if isinstance(value, list) else value
