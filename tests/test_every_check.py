"""What holds for every check: codes that stay, words that help, and no findings where there is nothing to find."""

import re

import pytest

from formtune.checks import CHECKS, Context, Rule, check, failing, rules
from formtune.errors import SettingError
from formtune.records import Labelled, Origin, Record


def labelled(*rows: tuple[str, str]) -> list[Record]:
    return [
        Labelled(id=f"r{n}", origin=Origin("a.csv", n + 2), inputs={"text": text}, labels=(label,))
        for n, (text, label) in enumerate(rows)
    ]


def codes(records: list[Record], *, only: str) -> list[str]:
    outcomes = check(Context(parts={"data": records}), only=[only])
    return [finding.rule.code for outcome in outcomes for finding in outcome.findings]


def test_codes_are_unique() -> None:
    """A code means one thing."""
    found = [rule.code for rule in rules()]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule.code)
def test_a_rule_says_what_is_wrong_and_what_to_do(rule: Rule) -> None:
    """In full sentences, under a code of the checks."""
    assert re.fullmatch(r"FT2\d\d", rule.code)
    for sentence in (rule.summary, rule.remedy):
        assert sentence[0].isupper()
        assert sentence.endswith(".")


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_what_it_cannot_find(name: str) -> None:
    """In its docstring, which the reference is made of."""
    text = " ".join((CHECKS[name].__doc__ or "").split())
    assert re.search(r"\b(not|cannot|nor|only)\b", text), text


@pytest.mark.parametrize("name", CHECKS)
def test_small_sound_data_have_no_findings(name: str) -> None:
    """Eight sentences with two labels, five and three."""
    texts = ["a warm film", "two dull hours", "sharp and funny", "it drags on", "lovely songs", "what a mess"]
    rows = [(f"{text} {end}", "np"[n % 2]) for n, text in enumerate(texts) for end in ("today", "again, they said")]
    assert codes(labelled(*rows), only=name) == []


def test_checks_are_chosen_by_name_and_by_code() -> None:
    """What is skipped is skipped, and of what is asked for only the code is told."""
    records = labelled(("a", "x"), ("a", "x"), ("A!", "x"))
    context = Context(parts={"data": records})
    assert [o.check for o in check(context, only=["duplicates", "balance"], skip=["balance"])] == ["duplicates"]
    (outcome,) = check(context, only=["FT202"])
    assert [finding.rule.code for finding in outcome.findings] == ["FT202"]


def test_an_unknown_check_names_the_nearest() -> None:
    """With the flag that it was given by."""
    with pytest.raises(SettingError, match=r"--skip: There is no check 'duplicate'; the nearest is 'duplicates'"):
        check(Context(parts={"data": []}), skip=["duplicate"])


def test_a_severity_lets_the_lighter_pass() -> None:
    """Errors are graver than warnings, and these than notes."""
    outcomes = check(Context(parts={"data": labelled(("a", "x"), ("a", "x"))}), only=["duplicates", "balance"])
    assert [failing(outcomes, least) for least in ("error", "warning", "note", "none")] == [1, 2, 2, 0]
