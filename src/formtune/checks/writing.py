"""What an audit writes beside its findings: the data without personal data, a card, a description in Croissant."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from formtune import dialects
from formtune.checks import Asked, Audit
from formtune.checks.croissant import croissant_of
from formtune.checks.dataset_card import card_of
from formtune.checks.described import UNKNOWN, described
from formtune.checks.fixing import Fixed
from formtune.checks.layouts import write_text
from formtune.checks.redaction import Redactor
from formtune.dialects import Reading
from formtune.tallies import tally


def written(
    audit: Audit,
    asked: Asked,
    readings: Mapping[str, Reading],
    *,
    paths: Mapping[str, Sequence[str]],
    fix: Fixed | None = None,
) -> Audit:
    """Write what is asked for, and say so in the audit.

    Args:
        audit: what was found.
        asked: what is to be written, and where.
        readings: the records of each part.
        paths: the files of each part, as they were named.
        fix: the data as they were fixed, where that was asked for.

    Raises:
        SettingError: where a place cannot be written to.
    """
    more: dict[str, Any] = {}
    if asked.quarantine:
        more["quarantine"] = asked.quarantine
    if asked.fix and fix:
        more["fixed"] = fix.write(asked.fix, audit.outcomes)
    if asked.redact:
        (reading,) = readings.values()
        more["redacted"] = _redacted(reading, asked.redact)
    if asked.card or asked.croissant:
        data = described(readings, paths, audit)
        if asked.card:
            write_text(card_of(data, Path(asked.card).parent), asked.card, at="--card")
            more["card"] = {"out": asked.card, "unknown": ["license", "source", "consent"]}
        if asked.croissant:
            text = msgspec.json.format(
                msgspec.json.encode(croissant_of(data, Path(asked.croissant).parent)), indent=2
            ).decode()
            write_text(text + "\n", asked.croissant, at="--croissant")
            more["croissant"] = {"out": asked.croissant, "unknown": list(UNKNOWN)}
    return replace(audit, more=more)


def _redacted(reading: Reading, out: str) -> dict[str, Any]:
    redactor = Redactor()
    left_out = dialects.write(redactor.redacted(reading.records), reading.dialect, out)
    return {"out": out, "replaced": dict(redactor.counts), "left_out": tally(left_out)}
