"""Findings as SARIF 2.1.0, which code hosts and editors show beside the lines of a file.

The format: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, 2020. A result stands for one
place of a finding, as its readers expect; of each finding the first hundred, with the number of all in its properties.
"""

import inspect
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from formtune.checks import CHECKS, Finding, Outcome

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
N_PLACES = 100


def sarif_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Lay findings out as one run of one tool."""
    descriptors = [
        {
            "id": rule.code,
            "name": _name(check, rule.summary),
            "shortDescription": {"text": rule.summary},
            "fullDescription": {"text": inspect.cleandoc(module.__doc__ or rule.summary)},
            "help": {"text": rule.remedy},
            "defaultConfiguration": {"level": rule.severity},
            "properties": {"tags": [check]},
        }
        for check, module in CHECKS.items()
        for rule in module.RULES
    ]
    index = {descriptor["id"]: n for n, descriptor in enumerate(descriptors)}
    results = [
        result
        for outcome in outcomes
        for finding in outcome.findings
        for result in _results(finding, index[finding.rule.code])
    ]
    driver = {"name": "formtune", "version": version("formtune"), "rules": descriptors}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _results(finding: Finding, rule_index: int) -> list[dict[str, Any]]:
    message = " ".join((finding.problem, finding.rule.remedy, *finding.details[:1]))
    common = {
        "ruleId": finding.rule.code,
        "ruleIndex": rule_index,
        "level": finding.rule.severity,
        "message": {"text": message},
        "properties": {"rows": len(finding.places)},
    }
    places = finding.places[:N_PLACES]
    return [{**common, "locations": [_location(place)] if place else []} for place in places]


def _location(place: str) -> dict[str, Any]:
    """Read a place, ``file:line`` or a file, as a location; an address keeps its scheme and its revision."""
    file, colon, line = place.rpartition(":")
    has_line = bool(colon) and line.isdecimal() and int(line) > 0
    name = file if has_line else place
    is_address = "://" in name
    uri = quote(name, safe=":/@") if is_address else quote(PurePosixPath(name).as_posix())
    if not is_address and name.startswith("/"):
        uri = f"file://{uri}"
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if has_line:
        physical["region"] = {"startLine": int(line)}
    return {"physicalLocation": physical}


def _name(check: str, summary: str) -> str:
    """Make a rule's readable name: the words of its summary, joined."""
    words = "".join(word.strip(".,()'").capitalize() for word in summary.split()[:8])
    return f"{check.title().replace('-', '')}{words}"
