"""What a check finds, and what it is told about the data beside the records themselves."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from formtune.checks.measures import Measured, measured
from formtune.examples import Format, Task
from formtune.records import LeftOut, Record
from formtune.splits import duplicate_key
from formtune.template_options import NO_OPTIONS, TemplateOptions

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # the gravest first


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a check looks for.

    Attributes:
        code: its stable name, ``FT2`` and two digits.
        severity: how grave it is: an ``error`` makes training or its test wrong, a ``warning`` probably does harm, a
            ``note`` is for people to judge.
        summary: what is wrong with the data, as a full sentence.
        remedy: what to do about it, as a full sentence.
    """

    code: str
    severity: Severity
    summary: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says of some records.

    Attributes:
        rule: which.
        problem: what is wrong here, with numbers, as a full sentence.
        places: where each of the records stands.
        details: evidence, a line each; the first of it where there is much.
    """

    rule: Rule
    problem: str
    places: tuple[str, ...]
    details: tuple[str, ...] = ()

    def to_dict(self, check: str) -> dict[str, Any]:
        """Give plain values, under the keys that other programs may rely on."""
        return {
            "code": self.rule.code,
            "severity": self.rule.severity,
            "check": check,
            "place": self.places[0] if self.places else "",
            "problem": self.problem,
            "remedy": self.rule.remedy,
            "rows": len(self.places),
            "places": list(self.places),
            "details": list(self.details),
        }


class NotChecked(Exception):
    """A check has nothing to look at here, or a package that it needs is missing; the message says which."""


@dataclass(frozen=True)
class Context:
    """What the checks are told.

    Attributes:
        parts: the records that are checked, by part: ``data`` alone, or ``train``, ``dev`` and ``test``.
        left_out: rows that could not be read as records.
        against: records that must not stand among them, by file: a test set, a benchmark.
        model: name of the model that they are meant for.
        formats: the formats that they are meant for.
        task: what those formats are told.
        max_length: the most tokens of an example; None for the model's own limit.
        template_options: what the model's chat template is told besides conversations.
        seed: where chance comes from.
    """

    parts: Mapping[str, Sequence[Record]]
    left_out: Sequence[LeftOut] = ()
    against: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    model: str | None = None
    formats: Sequence[Format] = ()
    task: Task | None = None
    max_length: int | None = None
    template_options: TemplateOptions = NO_OPTIONS
    seed: int = 0

    @cached_property
    def records(self) -> list[Record]:
        """All that is checked, part by part."""
        return [record for part in self.parts.values() for record in part]

    @cached_property
    def measured(self) -> list[Measured]:
        """How long they are, in each of the formats that they are meant for; counted once."""
        return measured(
            self.records,
            model=self.model,
            formats=self.formats,
            task=self.task,
            max_length=self.max_length,
            template_options=self.template_options,
        )

    @cached_property
    def keys(self) -> list[str]:
        """For each of the records its input in the form in which duplicates are equal."""
        return [duplicate_key(record) for record in self.records]


class Check(Protocol):
    """A module that looks for something; its docstring says what, how, and what it cannot find."""

    @property
    def RULES(self) -> Sequence[Rule]:  # noqa: N802 (a constant of each module)
        """What it looks for."""

    def find(self, records: Sequence[Record], context: Context, /) -> Iterable[Finding]:
        """Look at the records.

        Raises:
            NotChecked: where there is nothing to look at.
        """


def place_of(record: Record) -> str:
    """Say where a record stands, or which it is where it was not read from a file."""
    return str(record.origin or record.id)


def finding(rule: Rule, records: Iterable[Record], problem: str, *, details: Iterable[str] = ()) -> Finding:
    """Report records under a rule."""
    return Finding(rule, problem, tuple(map(place_of, records)), tuple(details))


def found(rule: Rule, records: Sequence[Record], problem: str, *, details: Iterable[str] = ()) -> Iterator[Finding]:
    """Report records under a rule, where there are some."""
    if records:
        yield finding(rule, records, problem, details=details)


def counted(n: int, noun: str, verb: str = "") -> str:
    """Say how many there are, with the noun and the verb in the right number.

    >>> counted(1, "record", "repeats"), counted(1200, "record", "repeats")
    ('1 record repeats', '1,200 records repeat')
    """
    words = f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
    if not verb:
        return words
    plural = {"is": "are", "has": "have", "was": "were", "does": "do"}.get(verb, verb.removesuffix("s"))
    return f"{words} {verb if n == 1 else plural}"


def shortened(text: str, n_characters: int = 60) -> str:
    """Show the beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= n_characters else line[: n_characters - 1] + "…"
