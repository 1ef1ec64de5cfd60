"""Records on disk, for a while."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_every_dialect import HELD

from formtune.records import Record
from formtune.spool import Spool


@pytest.mark.parametrize("name", HELD)
def test_records_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    """Of every kind, in their order, as often as one likes; the folder shows nothing of it."""

    @settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(HELD[name], max_size=4))
    def law(records: list[Record]) -> None:
        with Spool(tmp_path) as spool:
            assert list(spool.through(records)) == records
            assert spool.n_records == len(records)
            assert list(spool) == list(spool) == records
            assert list(tmp_path.iterdir()) == []

    law()
