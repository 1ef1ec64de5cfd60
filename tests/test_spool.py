"""Values on disk, for a while."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_every_dialect import HELD

from formtune import repeats
from formtune.records import LeftOut, Origin, Plain, Record, identified
from formtune.spool import Numbers, RecordSpool, Spool


@pytest.mark.parametrize("name", HELD)
def test_records_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    """Of every kind, in their order, as often as one likes, with the ids of all together; the folder shows nothing of it."""

    @settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(HELD[name] | HELD["plain"].map(lambda record: msgspec.structs.replace(record, id="own")), max_size=5)
    )
    def law(records: list[Record]) -> None:
        repeated = [*records, *records[::2], *records]
        with RecordSpool(tmp_path) as spool:
            for place, record in enumerate(repeated):
                spool.append(record, is_repaired=place % 2 == 1)
            assert spool.n_records == len(repeated)
            assert list(spool) == list(spool) == identified(repeated)
            assert [kept.is_repaired for kept in spool.each()] == [place % 2 == 1 for place in range(len(repeated))]
            assert list(tmp_path.iterdir()) == []

    law()


def test_ids_are_those_of_all_however_many_are_sorted_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few keys at a time, as of very many."""
    monkeypatch.setattr(repeats, "_LOT", 3)

    @settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.sampled_from("abcde").map(lambda text: Plain(text=text)), max_size=30))
    def law(records: list[Record]) -> None:
        with RecordSpool(tmp_path) as spool:
            for record in records:
                spool.append(record)
            assert list(spool) == identified(records)

    law()


def test_what_is_left_out_comes_back_as_it_was() -> None:
    """With everything that is known of it."""
    further = (LeftOut("second", Origin("a", 2)),)
    left_out = [
        LeftOut("first", Origin("a", 2), path="b[0]", column=3, further=further, kept=True),
        LeftOut("third", id="x"),
    ]
    with Spool(None, LeftOut) as spool:
        for one in left_out:
            spool.append(one)
        assert list(spool) == list(spool) == left_out


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_numbers_come_back_as_they_were(numbers: list[int]) -> None:
    """Up to the largest."""
    with Numbers(None) as kept:
        for number in numbers:
            kept.append(number)
        assert list(kept) == list(kept) == numbers
