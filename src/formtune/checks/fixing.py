"""What of the findings is put right without a guess, and the file that it is written to.

Rows are repaired while they are read (:mod:`formtune.mending`). Of records that say exactly the same the first is kept,
and a record of which no text can be seen is taken out. All else is for people to decide: records that only resemble one
another, single fields that are empty, answers that contradict each other, turns that are out of order. Personal data are
the business of :mod:`formtune.checks.redaction`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from formtune.checks import Outcome, blanks, duplicates
from formtune.checks.finding import Rule, place_of
from formtune.conversion import LOST, convert
from formtune.dialects import Reading
from formtune.errors import DataError
from formtune.mending import Mended
from formtune.records import Origin, Record
from formtune.splits import duplicate_key
from formtune.tallies import Tally

N_PLACES = 5
_NUMBERED = re.compile(r"\[\d+\]")


def _empty(records: Sequence[Record]) -> Iterator[Record]:
    return filter(blanks.says_nothing, records)


def _repeated(records: Sequence[Record]) -> Iterator[Record]:
    pairs, _ = duplicates.repetitions(records, list(map(duplicate_key, records)))
    return (record for record, _ in pairs)


# Which records are taken out, by the rule that they break; each looks at what the one before it has left.
_TAKEN_OUT: tuple[tuple[Rule, Callable[[Sequence[Record]], Iterator[Record]]], ...] = (
    (blanks.EMPTY, _empty),
    (duplicates.EXACT, _repeated),
)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Data with what could be put right without a guess.

    Attributes:
        reading: the records that stay.
        mended: rows that were repaired, by where they stand.
        taken_out: records that do not stay, by the rule that they break.
    """

    reading: Reading
    mended: Mapping[Origin, Mended]
    taken_out: Mapping[Rule, Sequence[Record]]

    def write(self, out: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Write the data in the dialect that they came in, and give the account.

        Returns:
            ``rows_in``, which are ``kept``, ``repaired``, ``taken_out`` (by the rule) and ``left_out``; ``mended``: what
            was done to rows; ``not_touched``: by the rule, what was found in the data as they are now; ``cannot_carry``
            and ``lost`` as in a conversion.

        Raises:
            SettingError: where the place cannot be written to.
        """
        reading = self.reading
        left_out = Tally()
        for one in reading.left_out:
            if not one.kept:
                left_out.append(one)
        written = convert(reading.records, reading.dialect, Path(out), repaired=self.mended, left_out=left_out)
        lost = [str(path) for path in written.paths if path.name.endswith(LOST)]
        return {
            "out": out,
            "rows_in": reading.n_rows,
            "kept": written.n_kept - written.n_repaired,
            "repaired": written.n_repaired,
            "taken_out": [_told(rule.summary, records, code=rule.code) for rule, records in self.taken_out.items()],
            "left_out": left_out.told(),
            "mended": self._mended(),
            "not_touched": [
                {"code": finding.rule.code, "check": outcome.check, "rows": len(finding.places)}
                for outcome in outcomes
                for finding in outcome.findings
            ],
            "cannot_carry": written.cannot_carry,
            "lost": next(iter(lost), None),
        }

    def _mended(self) -> list[dict[str, Any]]:
        """Count repairs by what was done, the most frequent first, each with the first places."""
        places: dict[str, list[str]] = {}
        for place, one in self.mended.items():
            for note in dict.fromkeys(_NUMBERED.sub("[]", note) for note in one.notes):
                places.setdefault(note, []).append(str(place))
        ordered = sorted(places.items(), key=lambda entry: -len(entry[1]))
        return [{"reason": note, "rows": len(found), "places": found[:N_PLACES]} for note, found in ordered]


def fixed(reading: Reading, codes: Collection[str], *, mended: Mapping[Origin, Mended]) -> Fixed:
    """Take out the records that say nothing, and those that repeat another.

    Args:
        reading: records; rows were repaired while they were read.
        codes: of the rules that are looked for; what breaks another stays.
        mended: the rows that were repaired.

    Raises:
        DataError: where no record is left.
    """
    kept: Sequence[Record] = reading.records
    taken_out: dict[Rule, list[Record]] = {}
    for rule, chosen in _TAKEN_OUT:
        if rule.code in codes and (wrong := list(chosen(kept))):
            taken_out[rule] = wrong
            gone = set(map(id, wrong))
            kept = [record for record in kept if id(record) not in gone]
    if not kept:
        raise DataError("No text of any record can be seen, so nothing is left.", "Give other data.", at="--fix")
    return Fixed(replace(reading, records=list(kept)), mended, taken_out)


def _told(reason: str, records: Sequence[Record], *, code: str) -> dict[str, Any]:
    return {"code": code, "reason": reason, "rows": len(records), "places": list(map(place_of, records[:N_PLACES]))}
