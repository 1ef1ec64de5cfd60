"""Personal data that can be told by their form.

E-mail addresses (but those of example domains), telephone numbers (international, North American, Chinese mobile, and
with the 0 of a trunk call), IBANs, payment cards and Chinese resident numbers by their checksums, public IP addresses,
and US Social Security numbers. Names, postal addresses, dates of birth and whatever else needs understanding are not
found: that nothing is found does not mean that nobody can be recognized. ``--redact OUT`` writes the data with
placeholders.
"""

from collections.abc import Iterator, Sequence

from formtune.checks.finding import Context, Finding, Rule, counted, found, place_of
from formtune.checks.recognizers import PERSONAL, Hit, Recognizer, hits_in
from formtune.checks.texts import texts_of
from formtune.records import Record

_REMEDY = "Take it out (--redact OUT writes the data with placeholders), unless you may publish it."
EMAIL = Rule("FT241", "warning", "A record holds an e-mail address.", _REMEDY)
PHONE = Rule("FT242", "warning", "A record holds a telephone number.", _REMEDY)
IBAN = Rule("FT243", "warning", "A record holds a bank account number.", _REMEDY)
CARD = Rule("FT244", "warning", "A record holds the number of a payment card.", _REMEDY)
RESIDENT_ID = Rule("FT245", "warning", "A record holds a Chinese resident identity number.", _REMEDY)
ADDRESS = Rule("FT246", "note", "A record holds a public IP address.", _REMEDY)
SSN = Rule("FT247", "warning", "A record holds a US Social Security number.", _REMEDY)
RULES = (EMAIL, PHONE, IBAN, CARD, RESIDENT_ID, ADDRESS, SSN)
N_DETAILS = 10


def find(records: Sequence[Record], _context: Context) -> Iterator[Finding]:
    """Go through every text."""
    rules = {recognizer.kind: rule for recognizer, rule in zip(PERSONAL, RULES, strict=True)}
    yield from recognized(records, PERSONAL, rules)


def recognized(
    records: Sequence[Record], recognizers: Sequence[Recognizer], rules: dict[str, Rule]
) -> Iterator[Finding]:
    """Report what recognizers find, a finding for each kind; values are shown in part only."""
    holding: dict[str, list[tuple[Record, Hit]]] = {kind: [] for kind in rules}
    n_hits = dict.fromkeys(rules, 0)
    for record in records:
        first: dict[str, Hit] = {}
        for text in texts_of(record):
            for hit in hits_in(text, recognizers):
                first.setdefault(hit.kind, hit)
                n_hits[hit.kind] += 1
        for kind, hit in first.items():
            holding[kind].append((record, hit))
    for kind, rule in rules.items():
        entries = holding[kind]
        what = rule.summary.removeprefix("A record holds ").removesuffix(".")
        yield from found(
            rule,
            [record for record, _ in entries],
            f"{counted(len(entries), 'record', 'holds')} {what}, {n_hits[kind]:,} in all.",
            details=[f"{place_of(record)}: {hidden(hit.value)}" for record, hit in entries[:N_DETAILS]],
        )


def hidden(value: str) -> str:
    """Show enough of a value to find it, and too little to use it.

    >>> hidden("jane.doe@mail.org"), hidden("+44 20 7946 0958")
    ('ja…rg', '+4…58')
    """
    line = " ".join(value.split())
    return f"{line[:2]}…{line[-2:]}"
