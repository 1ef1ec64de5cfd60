"""Repairs of rows: only where there is one way to read them."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune.cli import run
from formtune.dialects import read
from formtune.errors import SettingError
from formtune.mending import Mender, mend, mend_file
from formtune.records import Origin
from formtune.sources import Row, read_rows

TALK = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'


@pytest.mark.parametrize(
    ("row", "after", "notes"),
    [
        ('{"text": "a",}', '{"text": "a"}', ["a comma behind the last element was taken out"]),
        ('{"a": [1, 2 , ], "b": ",}",\t}', '{"a": [1, 2  ], "b": ",}"\t}', ["a comma behind the last element was taken out"]),
        ('\ufeff{"text": "a"}', '{"text": "a"}', ["a byte order mark was taken out"]),
        ('\ufeff{"text": "a",}', '{"text": "a"}', ["a byte order mark was taken out", "a comma behind the last element was taken out"]),
        (
            """{'text': 'it\\'s "so"', 'ok': True, 'no': None, 'n': [-1.50, 2]}""",
            '{"text":"it\'s \\"so\\"","ok":true,"no":null,"n":[-1.5,2]}',
            ["a Python literal was written as JSON"],
        ),
        (
            "{'share': 0.1000000000000000055511151231257827}",
            '{"share":0.1000000000000000055511151231257827}',
            ["a Python literal was written as JSON"],
        ),
        (
            '{"messages": "[{\\"role\\": \\"user\\", \\"content\\": \\"q\\"}]", "id": 7}',
            '{"messages":[{"role":"user","content":"q"}],"id":7}',
            ["messages: a JSON text was written as the list that it holds"],
        ),
    ],
)  # fmt: skip
def test_a_row_is_mended(row: str, after: str, notes: list[str]) -> None:
    """With a note of what was changed, and the change as a diff."""
    done = mend(row, line=3)
    assert done is not None
    assert (done.after, list(done.notes)) == (after, notes)
    assert done.diff() == f"@@ -3 +3 @@\n-{row}\n+{after}\n"
    json.loads(done.after)
    assert mend(done.after) is None


@pytest.mark.parametrize(
    "row",
    [
        '{"text": "a"}',
        TALK,
        '{"text": "a", "b": "c,]"}',
        '"a,"',
        '{"text": "a"',
        '{"text": "a", , }',
        "{,}",
        '{"a": [ , ]}',
        "{'text': '\\d'}",
        '{"text": }',
        "{text: 'a'}",
        "{'text': 'a' 'b'}",
        "{'text': 'a', 'text': 'b'}",
        "{'text': ('a',)}",
        "{'n': 0x10}",
        "{'n': 1_000}",
        "{'n': 1e999}",
        "{1: 'a'}",
        "{'t': f'a'}",
        "{'t': b'a'}",
        "{'text': open('a')}",
        "{**{'a': 'b'}}",
        "{'text': 'it's'}",
        '{"messages": [{"role": "usr", "content": "q"}]}',
        '{"messages": "[1]"}',
        '{"messages": [{"role": "User", "content": "q"}], "id": 1, "id": 2}',
        '{"messages": "hello"}',
        '{"text": "[{\\"role\\": \\"user\\"}]"}',
    ],
)
def test_what_is_right_or_in_doubt_stays_as_it_is(row: str) -> None:
    """No guess changes what a row says."""
    assert mend(row) is None


def test_a_role_in_other_writing_gets_its_name() -> None:
    """Only where the row could not be read with it."""
    done = mend('{"messages": [{"role": "User ", "content": "q"}, {"role": "ASSISTANT", "content": "a"}]}')
    assert done is not None
    assert done.after == TALK.replace('": ', '":').replace(", ", ",")
    assert done.notes == (
        "messages[0].role: 'User ' became 'user'",
        "messages[1].role: 'ASSISTANT' became 'assistant'",
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("a'\"\\,}] é\n", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a'\",", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("a'\",}", max_size=3), values, max_size=3))
def test_a_python_literal_keeps_its_value(row: dict[str, object]) -> None:
    """Whatever stands in its texts; and a comma behind the last element of JSON takes nothing with it."""
    done = mend(repr(row))
    assert json.loads(done.after if done else repr(row)) == row
    text = json.dumps(row)
    with_comma = text[:-1] + ",}" if row else text
    done = mend(with_comma)
    assert json.loads(done.after if done else with_comma) == row


def test_a_file_is_mended_and_its_other_lines_stay(tmp_path: Path) -> None:
    """Byte for byte, those that cannot be mended too; the lines keep their numbers."""
    path, out = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    path.write_bytes(gzip.compress(f'{TALK}\n\n{{"messages": [],}}\n{{"cut": \n{TALK} '.encode()))
    (done,) = mend_file(str(path), str(out)).mended.values()
    assert (done.line, done.after) == (3, '{"messages": []}')
    assert gzip.decompress(out.read_bytes()).decode() == f'{TALK}\n\n{{"messages": []}}\n{{"cut": \n{TALK} \n'
    assert [one.code for one in read([str(out)]).left_out] == ["FT140", "FT111"]


def test_only_json_lines_are_mended(tmp_path: Path) -> None:
    """And never in their own place."""
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(SettingError, match="--fix: Only JSON lines can be mended"):
        mend_file(str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))
    with pytest.raises(SettingError, match="--fix: This file is read or written already"):
        mend_file(str(tmp_path / "a.jsonl"), str(tmp_path / "a.jsonl"))


def test_rows_are_mended_on_the_way_to_the_reader(tmp_path: Path) -> None:
    """Where they stand is as before, and it is remembered what was done; a line that is not UTF-8 stays one."""
    path, mender = tmp_path / "a.jsonl", Mender()
    path.write_text('{\'text\': \'a\', \'label\': \'x\'}\n{"text": "b", "label": "y",}\n{"text": \n')
    reading = read([str(path)], mend=mender)
    assert [str(one.origin) for one in reading.records] == [f"{path}:1", f"{path}:2"]
    assert [one.code for one in reading.left_out] == ["FT111"]
    assert [(str(at), one.line) for at, one in mender.mended.items()] == [(f"{path}:1", 1), (f"{path}:2", 2)]
    assert mender.n_lines == 3
    assert Mender()("a", 1, b"{'text': '\xff'}") == b"{'text': '\xff'}"
    assert mender.told() == {
        "mended": [
            {"place": str(at), "notes": list(one.notes), "diff": one.diff()} for at, one in mender.mended.items()
        ],
        "n_mended": 2,
    }


def test_what_is_remembered_may_have_a_limit(tmp_path: Path) -> None:
    """All are counted; and of the row that was read last it is known whether it was repaired."""
    path, mender = tmp_path / "a.jsonl", Mender(most_characters=60)
    path.write_text('{"text": "a", "label": "x",}\n' * 3 + '{"text": "b", "label": "y"}\n')
    known = []
    for row in read_rows(str(path), mend=mender):
        assert isinstance(row, Row)
        known.append(row.origin in mender)
    assert known == [True, True, True, False]
    assert (len(mender.mended), mender.n_mended) == (1, 3)
    assert Origin(str(path), 1) in mender
    assert Origin(str(path), 2) not in mender


def test_inspect_mends_shows_and_reads_what_is_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of which not a row could be read, too."""
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text("{'text': 'a', 'label': 'x'}\n{'text': 'b', 'label': 'y'}\n")
    assert run(["inspect", str(path)]) == 2
    capsys.readouterr()
    assert run(["inspect", str(path), "--fix", str(out)]) == 0
    shown = capsys.readouterr().out
    assert f"mended: {path}:2: a Python literal was written as JSON" in shown
    assert """@@ -2 +2 @@\n-{'text': 'b', 'label': 'y'}\n+{"text":"b","label":"y"}\n""" in shown
    assert run(["inspect", str(path), "--fix", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["records"] == 2
    assert told["mended"][0] == {
        "place": f"{path}:1",
        "notes": ["a Python literal was written as JSON"],
        "diff": """@@ -1 +1 @@\n-{'text': 'a', 'label': 'x'}\n+{"text":"a","label":"x"}\n""",
    }


def test_one_file_is_mended_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is one to write."""
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"text": "a", "label": "x"}\n')
    assert run(["inspect", str(tmp_path / "*.jsonl"), "--fix", str(tmp_path / "c.jsonl")]) == 2
    assert "--fix: 2 files are given. Mend one at a time" in capsys.readouterr().err
