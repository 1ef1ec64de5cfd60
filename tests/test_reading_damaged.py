"""Files with random damage: no record comes out that the whole file does not hold, unless the damage is told."""

import bz2
import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from formtune.dialects import Reading, read
from formtune.errors import DataError
from formtune.records import content_digest

N_DAMAGES = 1000
TEXTS = ["A warm and funny film.", 'Slow {at} best, "cold" at worst: [no].', "好看, 真的。", "naïve\tand\nlong " * 9]
ROWS = [
    {"text": f"{n} {TEXTS[n % 4]}", "label": "ab"[n % 2], "score": n / 7, "tags": ["x", f"n{n}"], "of": {"n": n}}
    for n in range(40)
]
LINES = "".join(json.dumps(row, ensure_ascii=n % 3 > 0) + "\n" for n, row in enumerate(ROWS)).encode()


def parquet(path: Path) -> bytes:
    """Write the rows with checksums of pages, as Arrow does on request."""
    pq.write_table(pa.Table.from_pylist(ROWS), path, write_page_checksum=True, compression="zstd")
    return path.read_bytes()


WHOLE: dict[str, Callable[[Path], bytes]] = {
    "a.jsonl": lambda _: LINES,
    "a.jsonl.gz": lambda _: gzip.compress(LINES, mtime=0),
    "a.jsonl.bz2": lambda _: bz2.compress(LINES),
    "a.jsonl.zst": lambda _: zstandard.ZstdCompressor(write_checksum=True).compress(LINES),
    "a.parquet": parquet,
}


def damages(whole: bytes, seed: int) -> Iterator[bytes]:
    """Cut the file at a random place, or flip a bit of a random byte, in turn."""
    chance = random.Random(seed)
    for n in range(N_DAMAGES):
        place = chance.randrange(1, len(whole))
        flipped = bytes([whole[place] ^ 1 << chance.randrange(8)])
        yield whole[:place] if n % 2 else whole[:place] + flipped + whole[place + 1 :]


def digests(reading: Reading) -> set[str]:
    return {content_digest(record) for record in reading.records}


@pytest.mark.parametrize("name", WHOLE)
def test_no_record_comes_from_damage_in_silence(tmp_path: Path, name: str) -> None:
    """A thousand cuts and flipped bits of each kind of file; every reading ends in records or in what is told.

    What can be found: in archives whatever fails a checksum or ends too early; in Parquet files that were written with
    checksums whatever happens to a page; in plain JSON lines what makes a line no JSON, or not UTF-8. What cannot be
    found: a flip inside a text, a number or a key of plain JSON that leaves valid JSON behind (another letter, another
    digit), a flip in the footer of a Parquet file, which has no checksum (another letter of a column's name), and a cut
    of plain lines right behind one of them. The readings with records of which the whole file knows nothing are held
    against that list.
    """
    path = tmp_path / name
    whole = WHOLE[name](path)
    path.write_bytes(whole)
    known = digests(read([str(path)]))
    assert len(known) == len(ROWS)
    n_told = n_same = n_unseen = 0
    for damaged in damages(whole, seed=7):
        path.write_bytes(damaged)
        reading = read_or_told(path)
        if isinstance(reading, DataError):
            assert str(reading.at).startswith(str(path))
            n_told += 1
        elif reading.left_out:
            assert all(item.code and item.at and item.at.file == str(path) for item in reading.left_out)
            n_told += 1
        elif digests(reading) <= known:
            n_same += 1
        else:
            n_unseen += 1
            assert cannot_be_found(name, whole, damaged)
    assert n_told + n_same + n_unseen == N_DAMAGES
    assert n_told > N_DAMAGES * {"a.jsonl": 0.7, "a.parquet": 0.8}.get(name, 0.95)
    assert n_unseen == 0 or name in ("a.jsonl", "a.parquet")


def read_or_told(path: Path) -> Reading | DataError:
    try:
        return read([str(path)], dialect="labelled")
    except DataError as error:
        return error


def cannot_be_found(name: str, whole: bytes, damaged: bytes) -> bool:
    """Say whether one byte differs, in the footer of a Parquet file or in a line that is JSON all the same."""
    assert len(damaged) == len(whole)
    (place,) = [n for n, pair in enumerate(zip(whole, damaged, strict=True)) if pair[0] != pair[1]]
    if name == "a.parquet":
        return place >= len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    begin, end = damaged.rfind(b"\n", 0, place) + 1, damaged.find(b"\n", place)
    return isinstance(json.loads(damaged[begin:end]), dict)
