"""Which keys stand again, counted on disk."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from formtune import repeats
from formtune.repeats import Repeats

KEYS = st.lists(st.sampled_from([0, 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1), max_size=60)


@pytest.mark.parametrize("lot", [1, 7, 1 << 16])
def test_each_thing_whose_key_stood_before_is_numbered(lot: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of things, however many are sorted at once; things without a key may stand between."""
    monkeypatch.setattr(repeats, "_LOT", lot)

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(KEYS, st.integers(1, 3))
    def law(keys: list[int], step: int) -> None:
        seen: Counter[int] = Counter()
        expected = []
        with Repeats() as counted:
            for place, key in enumerate(keys):
                counted.append(key, place * step)
                seen[key] += 1
                if seen[key] > 1:
                    expected.append((place * step, seen[key]))
            assert list(counted.again()) == list(counted.again()) == expected
            assert counted.n_distinct() == len(seen)

    law()
