"""Shards: whole or absent, read back as they were, and mapped rather than copied."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_columnar import KINDS, Lacking, check_same, preparer
from tokenizer_folders import smollm2

from formtune.columnar import Prepared
from formtune.errors import DataError
from formtune.examples import SHAPES, Shape
from formtune.formats import FORMATS
from formtune.leaves import Leaf
from formtune.model_files import file_digest
from formtune.shard_files import read_shard, shard_facts, shard_lengths, write_shard
from formtune.tokens import byte_tokenizer

TEXTS = ["a fine film", "  so <s> it is ", "überall 😀", "x"]


def prepared(name: str, kind: str, shape: Shape, texts: Sequence[str] = TEXTS) -> Prepared | None:
    """Prepare records of a kind in a format; None where it does not serve them."""
    records, task = KINDS[kind](list(texts))
    made = preparer(name, task, shape, tokenizer=byte_tokenizer())
    try:
        return None if made is None else check_same(made, records)
    except Lacking:
        return None


def written(path: Path, leaf: Leaf, facts: dict[str, object] | None = None) -> Path:
    """Write a shard of records that stand on lines 1, 2, ... of file 0."""
    lines_N = leaf.numbers_N + 1
    write_shard(path, leaf, files_N=np.zeros(len(leaf), dtype=np.int32), lines_N=lines_N, facts=facts or {})
    return path


def test_what_was_written_is_digested_on_the_way(tmp_path: Path) -> None:
    """As a reading of the file does it."""
    made = prepared("instruction", "talk", "decoder")
    assert made is not None
    zeros_N = np.zeros(len(made.leaf), dtype=np.int32)
    digest = write_shard(tmp_path / "a.arrow", made.leaf, files_N=zeros_N, lines_N=zeros_N, facts={})
    assert digest == file_digest(tmp_path / "a.arrow")


def same(one: Leaf, other: Leaf) -> bool:
    """Tell whether two leaves hold the same sequences with the same about them."""
    names = ("ids_T", "labels_T", "weights_T", "parts_T", "types_T", "cuts_T")
    for place in range(len(one)):
        a, b = one.tokens(place), other.tokens(place)
        sides = [(a, b)] if a.decoder is None or b.decoder is None else [(a, b), (a.decoder, b.decoder)]
        if not all(np.array_equal(getattr(x, name), getattr(y, name)) for x, y in sides for name in names):
            return False
        if (a.gold, a.corrupt, len(a.candidates)) != (b.gold, b.corrupt, len(b.candidates)):
            return False
        if not all(np.array_equal(x, y) for x, y in zip(a.candidates, b.candidates, strict=True)):
            return False
    return len(one) == len(other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_read_is_what_was_written(name: str, shape: Shape, kind: str, tmp_path: Path) -> None:
    """Of every format, kind and shape: both sides, labels, classes, candidates, corruption."""
    found = prepared(name, kind, shape)
    if found is None:
        return
    shard = read_shard(written(tmp_path / "a.arrow", found.leaf, {"records": len(found.leaf)}))

    assert same(shard.leaf, found.leaf)
    assert shard.lines_N.tolist() == (found.leaf.numbers_N + 1).tolist()
    assert shard.facts == {"records": len(found.leaf)} == shard_facts(tmp_path / "a.arrow")
    lengths = shard_lengths(tmp_path / "a.arrow")
    assert lengths[:, 0].tolist() == found.leaf.sheet.lengths.tolist()
    assert lengths.shape[1] == (1 if found.leaf.decoder is None else 2)


def test_a_shard_without_sequences_can_be_written(tmp_path: Path) -> None:
    """Where every record of a slice is left out, the counts are kept all the same."""
    found = prepared("chat", "talk", "decoder", ["a", "b"])
    assert found is not None
    empty = found.leaf.taken(np.zeros(0, dtype=np.int64))
    shard = read_shard(written(tmp_path / "a.arrow", empty, {"rows": 2}))

    assert len(shard.leaf) == 0
    assert shard_lengths(tmp_path / "a.arrow").shape == (0, 1)
    assert shard_facts(tmp_path / "a.arrow") == {"rows": 2}


def test_the_same_sequences_make_the_same_bytes(tmp_path: Path) -> None:
    """So that shards can be told by a digest."""
    paths = []
    for name in ("a", "b"):
        found = prepared("chat", "talk", "decoder")
        assert found is not None
        paths.append(written(tmp_path / f"{name}.arrow", found.leaf, {"z": 1, "a": 2}))

    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.arrow", "b.arrow"]


def test_a_token_takes_little_more_than_its_id(tmp_path: Path) -> None:
    """Four bytes for the id, and for what it carries a few a run."""
    texts = [f"Why does number {n} follow {n - 1}? " * 20 for n in range(200)]
    records, task = KINDS["talk"](texts)
    made = preparer("chat", task, "decoder", tokenizer=smollm2(), capacity=2048)
    assert made is not None
    leaf = made.prepare(records).leaf
    path = written(tmp_path / "a.arrow", leaf)

    assert path.stat().st_size / len(leaf.sheet.ids_T) < 5


def test_arrays_are_parts_of_the_file(tmp_path: Path) -> None:
    """Nothing is copied when a shard is opened, and nothing can be written to."""
    found = prepared("chat", "talk", "decoder")
    assert found is not None
    before = pa.total_allocated_bytes()
    shard = read_shard(written(tmp_path / "a.arrow", found.leaf))

    assert pa.total_allocated_bytes() - before < 1000
    with pytest.raises(ValueError, match="read-only"):
        shard.leaf.sheet.ids_T[0] = 1


@pytest.mark.parametrize("content", [b"", b"ARROW1 but no more", b"{}"])
def test_what_is_no_shard_is_refused(content: bytes, tmp_path: Path) -> None:
    """With the file's name."""
    path = tmp_path / "a.arrow"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a\.arrow: This is no shard"):
        read_shard(path)


def test_an_arrow_file_of_another_program_is_refused(tmp_path: Path) -> None:
    """It has no metadata of ours."""
    path = tmp_path / "a.arrow"
    table = pa.table({"ids": [[1, 2]]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)

    with pytest.raises(DataError, match="no shard of formtune's"):
        shard_facts(path)
