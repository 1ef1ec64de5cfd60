"""Checks: audits over records, each of which finds one kind of trouble before anything is trained.

To add one, write a module like its neighbors (a docstring that says what it finds, how, and what it cannot find; its
``RULES``; a function ``find``) and give it a line in :data:`CHECKS`.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from formtune.checks import (
    balance,
    blanks,
    conflicts,
    contamination,
    control_tokens,
    credentials,
    cues,
    duplicates,
    label_errors,
    languages,
    leakage,
    lengths,
    near_duplicates,
    personal_data,
    refusals,
    rows,
    tools,
    triggers,
    turns,
)
from formtune.checks.finding import SEVERITIES, Check, Context, Finding, NotChecked, Rule
from formtune.errors import unknown
from formtune.progress import Event, Progress, silent

__all__ = [
    "CHECKS",
    "Asked",
    "Audit",
    "Check",
    "Context",
    "Finding",
    "Outcome",
    "Rule",
    "check",
    "codes_of",
    "failing",
    "rules",
]

CHECKS: dict[str, Check] = {
    "rows": rows,
    "duplicates": duplicates,
    "conflicts": conflicts,
    "blanks": blanks,
    "balance": balance,
    "control-tokens": control_tokens,
    "turns": turns,
    "tools": tools,
    "refusals": refusals,
    "lengths": lengths,
    "leakage": leakage,
    "contamination": contamination,
    "near-duplicates": near_duplicates,
    "personal-data": personal_data,
    "credentials": credentials,
    "cues": cues,
    "triggers": triggers,
    "languages": languages,
    "label-errors": label_errors,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of an audit.

    Attributes:
        against: files whose records must not stand in the data.
        only: names of checks, or codes, to run; empty: all.
        skip: names of checks, or codes, to pass over.
        fix: file to which the data are written with what can be put right without a guess.
        quarantine: file to which the rows are written that are no records.
        redact: file to which the data are written with placeholders for personal data and secrets.
        card: file to which a dataset card is written.
        croissant: file to which a description in Croissant is written.
    """

    against: Sequence[str] = ()
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    fix: str | None = None
    quarantine: str | None = None
    redact: str | None = None
    card: str | None = None
    croissant: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check.

    Attributes:
        check: a key of :data:`CHECKS`.
        findings: what it found.
        seconds: how long it took.
        not_checked: why there was nothing to look at; None where it looked.
    """

    check: str
    findings: tuple[Finding, ...]
    seconds: float
    not_checked: str | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """What all the checks found.

    Attributes:
        outcomes: of each check, in their order.
        records: how many there are, by part or file.
        figures: what there is to draw (see :func:`formtune.checks.figures.figures`).
        more: what else was done, as plain values.
    """

    outcomes: Sequence[Outcome]
    records: Mapping[str, int]
    figures: Sequence[Mapping[str, Any]] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values: ``findings``, the gravest first, ``counts`` by severity, ``checks`` with their times.

        What there is to draw stands under ``figures``.
        """
        found = [finding.to_dict(outcome.check) for outcome in self.outcomes for finding in outcome.findings]
        found.sort(key=lambda values: SEVERITIES.index(values["severity"]))
        ran = [
            {
                "check": outcome.check,
                "findings": len(outcome.findings),
                "seconds": round(outcome.seconds, 3),
                "not_checked": outcome.not_checked,
            }
            for outcome in self.outcomes
        ]
        counts = {severity: sum(one["severity"] == severity for one in found) for severity in SEVERITIES}
        figures = list(self.figures)
        return {
            "findings": found,
            "counts": counts,
            "records": dict(self.records),
            "checks": ran,
            "figures": figures,
            **self.more,
        }


def check(
    context: Context, *, only: Collection[str] = (), skip: Collection[str] = (), progress: Progress = silent
) -> list[Outcome]:
    """Run the checks, one after the other.

    Args:
        context: the records, and what is known of what they are meant for.
        only: names of checks, or codes, to which this is confined; empty: all.
        skip: names of checks, or codes, that are passed over.
        progress: told of each check before it begins.

    Raises:
        SettingError: where a name or a code is unknown.
    """
    wanted = codes_of(only, skip)
    outcomes = []
    for name, module in CHECKS.items():
        if any(rule.code in wanted for rule in module.RULES):
            progress(Event(name))
            outcomes.append(_outcome(name, module, context, wanted=wanted))
    return outcomes


def codes_of(only: Collection[str], skip: Collection[str]) -> set[str]:
    """Give the codes that are looked for: those asked for, or all, without those that are passed over.

    Raises:
        SettingError: where a name or a code is unknown.
    """
    wanted = _codes(only, at="--only") if only else {rule.code for rule in rules()}
    return wanted - _codes(skip, at="--skip")


def rules() -> Iterator[Rule]:
    """Give every rule, check by check."""
    for module in CHECKS.values():
        yield from module.RULES


def failing(outcomes: Iterable[Outcome], least: str) -> int:
    """Count the findings that are at least as grave as a severity; ``none`` lets everything pass."""
    order: tuple[str, ...] = SEVERITIES
    grave = () if least == "none" else order[: order.index(least) + 1]
    return sum(finding.rule.severity in grave for outcome in outcomes for finding in outcome.findings)


def _outcome(name: str, module: Check, context: Context, *, wanted: Collection[str]) -> Outcome:
    start = time.perf_counter()
    try:
        found = tuple(one for one in module.find(context.records, context) if one.rule.code in wanted)
    except NotChecked as reason:
        return Outcome(name, (), time.perf_counter() - start, not_checked=str(reason))
    return Outcome(name, found, time.perf_counter() - start)


def _codes(names: Collection[str], *, at: str) -> set[str]:
    """Turn names of checks and codes into codes."""
    known = {rule.code: {rule.code} for rule in rules()}
    known |= {name: {rule.code for rule in module.RULES} for name, module in CHECKS.items()}
    found: set[str] = set()
    for name in names:
        if name not in known:
            raise unknown("check", name, [*CHECKS, *(rule.code for rule in rules())], at=at)
        found |= known[name]
    return found
