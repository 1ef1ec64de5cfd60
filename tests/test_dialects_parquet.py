"""Rows as Parquet: types of Arrow's own where nothing is padded, a row group at a time."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from formtune.dialects import parquet
from formtune.dialects.parquet import Shape, parquet_file
from formtune.sources import JSON_COLUMNS, Row, read_rows, text_of, value_of

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.integers(-9, 9)
    | st.floats(-9, 9)
    | st.text("aé\n", max_size=3)
)
same = st.sampled_from([st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text("aé", max_size=3)])
inner = st.dictionaries(
    st.sampled_from(["role", "content", "weight"]), st.text("ab", max_size=2) | st.integers(-9, 9), max_size=3
)
columns = st.one_of(
    st.just(scalars),
    same,
    same.map(lambda kind: st.lists(kind, max_size=2)),
    st.just(st.lists(inner, max_size=2)),
    st.just(st.lists(scalars | inner, max_size=2)),
    st.just(st.dictionaries(st.sampled_from("xy"), scalars)),
)


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of which each column has values of its own kind, and may be missing."""
    kinds = {name: draw(columns) for name in draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1))}
    return draw(st.lists(st.fixed_dictionaries({}, optional=kinds), min_size=1, max_size=6))


def inferred(rows: list[dict[str, Any]]) -> pa.Table:
    """Lay rows out all together, with the types that Arrow finds for them: what is written must be the same."""
    plain = [value_of(text_of(row)) for row in rows]
    found: dict[str, pa.Array] = {}
    as_text = []
    for name in dict.fromkeys(name for row in plain for name in row):
        there = [row[name] for row in plain if name in row]
        column = typed([row.get(name) for row in plain]) if is_plain(there) else None
        if column is None:
            column = pa.array([text_of(row[name]) if name in row else None for row in plain], pa.string())
            as_text.append(name)
        found[name] = column
    return pa.table(found).replace_schema_metadata({JSON_COLUMNS: text_of(as_text).encode()})


def typed(values: list[Any]) -> pa.Array | None:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return None


def is_plain(there: list[Any]) -> bool:
    if not all(isinstance(one, list) for one in there):
        return is_one_kind(there)
    parts = [part for one in there for part in one]
    if not (parts and all(isinstance(part, dict) for part in parts)):
        return is_one_kind(parts)
    keys = {name for part in parts for name in part}
    return bool(keys) and all(is_one_kind([part[name] for part in parts if name in part]) for name in keys)


def is_one_kind(values: list[Any]) -> bool:
    return len({type(one) for one in values}) == 1 and type(values[0]) in (str, bool, int, float)


def write(rows: list[dict[str, Any]], path: Path) -> list[int]:
    shape = Shape()
    for row in rows:
        shape.add(row)
    with parquet_file(str(path), shape) as put:
        return [put(row) for row in rows]


@pytest.mark.parametrize("group", [1, 30, 1 << 25])
def test_rows_are_laid_out_as_if_all_were_known(group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same columns, types and values as Arrow finds for all rows together, however many stand in a row group."""
    monkeypatch.setattr(parquet, "GROUP_CHARACTERS", group)
    path = tmp_path / "a.parquet"

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(tables())
    def law(rows: list[dict[str, Any]]) -> None:
        assume(any(rows))  # a file without a column has no rows
        assert write(rows, path) == list(range(1, len(rows) + 1))
        whole = io.BytesIO()
        pq.write_table(inferred(rows), whole)
        expected = pq.read_table(whole)
        found = pq.read_table(path)
        assert found.schema.equals(expected.schema, check_metadata=True)
        assert found.to_pylist() == expected.to_pylist()
        assert [row.value for row in read_rows(str(path)) if isinstance(row, Row)] == [
            value_of(text_of(r)) for r in rows
        ]

    law()


def test_row_groups_are_as_large_as_they_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends with the row that fills it."""
    monkeypatch.setattr(parquet, "GROUP_CHARACTERS", 250)
    write([{"text": "x" * 89}] * 7, tmp_path / "a.parquet")  # 100 characters each
    about = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [about.row_group(n).num_rows for n in range(about.num_row_groups)] == [3, 3, 1]


def test_objects_with_keys_beyond_number_are_text(tmp_path: Path) -> None:
    """As columns they would be as many."""
    rows = [{"of": [{f"k{n}": n}]} for n in range(1200)]
    write(rows, tmp_path / "a.parquet")
    assert pq.read_schema(tmp_path / "a.parquet").field("of").type == pa.string()
    assert [row.value for row in read_rows(str(tmp_path / "a.parquet")) if isinstance(row, Row)] == rows
