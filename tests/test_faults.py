"""Faults: each reason with which a row is left out has a code that stays the same."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import formtune
from formtune.dialects import read
from formtune.dialects.columns import RowFault, all_of
from formtune.faults import FAULTS, fault_of, shape_of
from formtune.records import LeftOut, Origin
from formtune.tallies import tally

SOURCES = sorted(Path(formtune.__file__).parent.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def texts_of(node: ast.expr, names: dict[str, list[ast.expr]]) -> Iterator[str]:
    """Give the texts that an expression may be, with ``{}`` for what is only known later.

    What is handed on (``fault.reason``, ``error.problem``, an argument) was a reason, or a sentence, where it was made.
    """
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.IfExp(body=one, orelse=other):
            yield from texts_of(one, names)
            yield from texts_of(other, names)
        case ast.Name(id=name):
            for value in names.get(name, ()):
                yield from texts_of(value, names)


def assigned(tree: ast.Module) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def reasons() -> dict[str, str]:
    """Find every reason that the package gives, and the first place where it does."""
    constants = {
        name: values
        for tree in TREES.values()
        for name, values in assigned(tree).items()
        if name.isupper() and not name.startswith("_")
    }
    found: dict[str, str] = {}
    for path, tree in TREES.items():
        names = {**constants, **assigned(tree)}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("RowFault", "LeftOut", "JsonFault")
            ):
                given = node.args[:1] or [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
                for text in texts_of(given[0], names) if given else ():
                    found.setdefault(text, f"{path.name}:{node.lineno}")
    return found


def test_every_reason_has_a_code() -> None:
    """A line in FAULTS is all that a new one needs."""
    known = {shape_of(fault.reason) for fault in FAULTS}
    found = reasons()
    assert len(found) > 40
    missing = [f"{place}: {text}" for text, place in found.items() if text not in known]
    assert missing == [], "give each a line in formtune.faults.FAULTS, with a code that is free in its group"


def test_every_fault_is_given_somewhere() -> None:
    """A line whose reason nothing gives any more says so in this test; its code is not used again."""
    given = set(reasons())
    handed_on = {"{}."}  # a format's own sentence
    assert {shape_of(fault.reason) for fault in FAULTS} - given == handed_on


def test_codes_are_unique_and_in_order() -> None:
    """A code means one thing."""
    codes = [fault.code for fault in FAULTS]
    assert [code for code, count in Counter(codes).items() if count > 1] == []
    assert all(re.fullmatch(r"FT[1-9]\d\d", code) for code in codes)
    assert [fault for fault in FAULTS if not fault.remedy.endswith(".")] == []


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("not valid JSON", "FT111"),
        ("no text in column 'a\nb'", "FT131"),
        ("no text", "FT133"),
        ("tools that are not JSON", "FT151"),
        ("its group also stands in test", "FT182"),
        ("The record has several labels, and formats learn one.", "FT190"),
        ("something that nobody says", None),
    ],
)
def test_a_reason_tells_its_code(reason: str, code: str | None) -> None:
    """With whatever name stands in it."""
    assert LeftOut(reason).code == code
    assert (fault_of(reason) is None) is (code is None)


def test_all_faults_of_a_conversation_are_told(tmp_path: Path) -> None:
    """With path, what was found and the nearest name; the row counts once."""
    path = tmp_path / "a.jsonl"
    good = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
    bad = '{"messages": [{"role": "usr", "content": "q"}, 3, {"role": "assistant", "content": 7}]}\n'
    path.write_text(good * 2 + bad)
    told = (
        "messages[0].role: 'usr'; the nearest is 'user'; also a message that is not an object (messages[1]: int);"
        " also a message with content that is neither text nor parts of a type (messages[2].content: 7)"
    )

    (left_out,) = read([str(path)]).left_out

    assert (left_out.code, left_out.path, left_out.found, left_out.near) == (
        *("FT141", "messages[0].role", '"usr"', "user"),
    )
    assert [(one.code, one.path, one.found) for one in left_out.further] == [
        ("FT142", "messages[1]", "3"),
        ("FT143", "messages[2].content", "7"),
    ]
    assert tally([left_out]) == [
        {
            "code": "FT141",
            "reason": "a message with an unknown role",
            "rows": 1,
            "places": [f"{path}:3 ({told})"],
        }
    ]


@pytest.mark.parametrize(
    ("row", "near"), [('{"mesages": [], "id": 1}', "mesages"), ('{"messages": [], "mesages": 1}', None)]
)
def test_the_nearest_key_is_told(tmp_path: Path, row: str, near: str | None) -> None:
    """Where the key itself is missing."""
    path = tmp_path / "a.jsonl"
    good = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
    path.write_text(good * 2 + row)

    assert [(one.code, one.near) for one in read([str(path)]).left_out] == [("FT140", near)]


def test_paths_are_joined() -> None:
    """A fault is told from the row's top."""
    fault = RowFault("no text", path="[0].text", found=None).inside("content").inside("messages[3]")
    assert (fault.path, fault.found) == ("messages[3].content[0].text", "null")
    assert all_of([fault, RowFault("no prompt")]).left_out(Origin("a", 1)).further == (
        LeftOut("no prompt", Origin("a", 1)),
    )


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n{"txt": "c", "label": "x"}\n', ("FT131", None, "txt")),
        ('{"prompt": "a", "completion": "x"}\n' * 2 + '{"promt": "a", "completion": "x"}\n', ("FT145", None, "promt")),
        (
            '{"question": "a?", "choices": ["x", "y"], "answer": "x"}\n' * 2
            + '{"question": "a?", "choices": ["x", "y"], "answer": "z"}\n',
            ("FT169", "answer", None),
        ),
        (
            '{"messages": [{"role": "user", "content": "q"}], "tools": []}\n' * 2
            + '{"messages": [{"role": "user", "content": "q", "tool_calls": "["}], "tools": []}\n',
            ("FT151", "messages[0].tool_calls", None),
        ),
    ],
)  # fmt: skip
def test_what_is_known_of_a_fault_is_told(tmp_path: Path, rows: str, told: tuple[str, str | None, str | None]) -> None:
    """The place inside the row, and the key that was meant."""
    path = tmp_path / "a.jsonl"
    path.write_text(rows)
    assert [(one.code, one.path, one.near) for one in read([str(path)]).left_out] == [told]
