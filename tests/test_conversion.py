"""Any dialect to any that can hold the record: what is carried, what is told, what is kept beside."""

import csv
import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_every_dialect import FILES, HELD, bare

from formtune import data_pipeline, locks
from formtune.carrying import gained, lost, paired
from formtune.cli import run
from formtune.conversion import convert, holding
from formtune.dialects import DIALECTS, files, read, write
from formtune.dialects.row_files import stand_alone
from formtune.errors import FormtuneError, SettingError
from formtune.records import Conversation, Labelled, LeftOut, Message, Origin, Pair, Question, Record, identified
from formtune.tallies import tally

ENDINGS = {"squad": ".json", "aligned": "", "labelled-lines": ".txt"}
CHAT = Conversation(
    id="c1",
    origin=Origin("chats.jsonl", 7),
    messages=(
        Message("user", "Name a color.", name="Ann"),
        Message("assistant", "Red.", weight=0.0),
        Message("user", "Another?"),
        Message("assistant", "Blue."),
    ),
    extra='{"source":"made"}',
)


def place(tmp_path: Path, dialect: str) -> Path:
    """Name a file that a dialect is written to."""
    return tmp_path / f"out{ENDINGS.get(dialect, '.jsonl')}"


def without_id(record: Record) -> Record:
    """Take back the id that some layouts have a key for; a record has it in a place of its own.

    The order in which a call's own keys stand says nothing either.
    """
    extra = {key: value for key, value in msgspec.json.decode(record.extra or "{}").items() if key != "id"}
    record = msgspec.structs.replace(record, extra=msgspec.json.encode(extra).decode() if extra else None)
    if not isinstance(record, Conversation):
        return record
    return msgspec.structs.replace(record, messages=tuple(map(in_order, record.messages)))


def in_order(message: Message) -> Message:
    """Put the keys of a message's calls in order; their arguments are texts, and stay."""
    calls = message.tool_calls and json.dumps(json.loads(message.tool_calls), sort_keys=True)
    return msgspec.structs.replace(message, tool_calls=calls)


@pytest.mark.parametrize("source", DIALECTS)
def test_what_both_can_hold_comes_through(source: str, tmp_path: Path) -> None:
    """Over every pair: where nothing is said to be lost, reading gives the same records; else exactly that is lost."""

    @settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(HELD[source], min_size=1, max_size=3))
    def law(drawn: list[Record]) -> None:
        records = [msgspec.structs.replace(r, id=f"r{n}", origin=Origin("a", n)) for n, r in enumerate(drawn, 1)]
        for target in dict.fromkeys(name for record in records for name in holding(record)):
            check_account(records, target, tmp_path)

    law()


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file that may not be there."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def check_account(records: list[Record], target: str, tmp_path: Path) -> None:
    """Convert, and hold what is said to be lost against what comes back."""
    out = place(tmp_path, target)
    for old in tmp_path.glob("out*"):
        old.unlink()
    unwritten: list[LeftOut] = []
    try:
        written = convert(records, target, out, left_out=unwritten)
    except FormtuneError:  # a line of text cannot hold all that a row can
        if target in ("aligned", "labelled-lines"):
            return
        raise
    assert written.n_kept + len(unwritten) == len(records)
    assert written.left_out == tally(unwritten)
    files = [str(path) for path in written.paths if not path.name.endswith(".lost.jsonl")]
    files.sort(key=lambda name: not name.endswith((".en", ".src")))  # of aligned files the source comes first
    found = read(files, dialect=target).records
    lost = tmp_path / f"{out.name}.lost.jsonl"
    told = {one["id"]: set(one["lost"]) for one in map(json.loads, lines_of(lost))}
    gone = {one.id for one in unwritten}
    lossy = {id for id, keys in told.items() if keys != {"id"}}
    kept = [record for record in records if record.id not in gone]
    grown = {record.id for record, back in paired(kept, found) if gained(record, back)}
    whole = [bare(without_id(record)) for record in kept if record.id not in lossy | grown]
    again = [bare(without_id(record)) for record in found]
    assert all(record in again for record in whole), target
    assert set(told) >= gone
    assert {record.id for record in records} >= set(told)
    assert bool(written.cannot_carry) is bool(set(told) - gone)


def test_what_cannot_be_carried_is_told_by_its_key(tmp_path: Path) -> None:
    """With the rows, and kept beside: alpaca has neither names nor weights."""
    named = convert([CHAT], "alpaca", tmp_path / "named.jsonl").cannot_carry
    assert {entry["key"] for entry in named} - {"id"} == {"messages[].weight", "messages[].name"}
    bare_chat = msgspec.structs.replace(CHAT, messages=(Message("user", "Hi"), Message("assistant", "Hello")))
    table = convert([bare_chat], "alpaca", tmp_path / "out.csv")
    assert table.cannot_carry == [{"key": "id", "rows": 1, "places": ["chats.jsonl:7"]}]
    written = convert([CHAT, bare_chat], "trl-prompt-completion", tmp_path / "pc.jsonl")
    assert written.left_out == []
    labelled = Labelled(id="x", inputs={"text": "Fine."}, labels=("good",), origin=Origin("a.csv", 2), extra='{"n":5}')
    told = convert([labelled], "labelled", tmp_path / "out.tsv").cannot_carry
    assert {"key": "extra.n", "rows": 1, "places": ["a.csv:2"]} in told  # a table knows no numbers
    lost = json.loads((tmp_path / "out.tsv.lost.jsonl").read_text())
    assert lost["at"] == "a.csv:2"
    assert lost["lost"]["extra.n"] == 5


def test_a_weight_of_1_costs_no_row(tmp_path: Path) -> None:
    """Texts cannot say it, and mean it; one of a half they do not mean."""
    asked = Message("user", "Name a color.")
    records = [Conversation((asked, Message("assistant", "Red.", weight=weight))) for weight in (1.0, 0.5)]
    left_out: list[LeftOut] = []
    written = convert(records, "prompt-completion", tmp_path / "pc.jsonl", left_out=left_out)

    assert [(one["key"], one["rows"]) for one in written.cannot_carry] == [("messages[].weight", 1)]
    assert (written.n_kept, len(left_out)) == (1, 1)


def test_what_a_dialect_needs_and_was_given_is_told(tmp_path: Path) -> None:
    """Apart from what is lost: Gemini names the function in every answer, Open Assistant every message."""
    call = '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'
    record = Conversation(
        id="t1",
        origin=Origin("tools.jsonl", 3),
        messages=(Message("user", "Go."), Message("assistant", "", tool_calls=call), Message("tool", "Done.")),
    )
    written = convert([record, CHAT], "gemini", tmp_path / "out.jsonl")
    assert written.added == [{"key": "messages[].name", "rows": 1, "places": ["tools.jsonl:3"]}]
    lost = [json.loads(line) for line in (tmp_path / "out.jsonl.lost.jsonl").read_bytes().split(b"\n")[:-1]]
    assert [one["id"] for one in lost if set(one["lost"]) != {"id"}] == ["c1"]  # its weight, and its user's name
    again = convert([record], "messages", tmp_path / "again.jsonl")
    assert (again.added, again.cannot_carry) == ([], [{"key": "id", "rows": 1, "places": ["tools.jsonl:3"]}])
    assert {entry["key"] for entry in convert([CHAT], "oasst", tmp_path / "tree.jsonl").added} == {
        "group",
        "messages[].extra.message_id",
        "messages[].extra.parent_id",
    }


def test_a_name_beside_one_that_was_there_is_no_loss(tmp_path: Path) -> None:
    """What the data says itself comes back in its place."""
    calls = [{"type": "function", "function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]
    calling = Message("assistant", "", tool_calls=msgspec.json.encode(calls).decode())
    said = (calling, Message("tool", "Done."), Message("tool", "Too.", name="g"))
    written = convert([Conversation(messages=said, origin=Origin("a", 1))], "gemini", tmp_path / "out.jsonl")
    assert [entry["key"] for entry in written.added] == ["messages[].name"]
    assert written.cannot_carry == []


def test_where_nothing_can_be_written_the_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not a hidden one of ours."""

    def refused(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "hidden")

    monkeypatch.setattr(locks, "TemporaryDirectory", refused)
    told = rf"^{tmp_path}: Nothing can be written there \(Permission denied\)\. Name a folder that is yours\.$"
    with pytest.raises(SettingError, match=told):
        convert([CHAT], "messages", tmp_path / "out.jsonl")


def test_records_without_ids_are_kept_apart_too(tmp_path: Path) -> None:
    """As they are made in Python."""
    bare_chat = Conversation(messages=(Message("user", "Hi"),), origin=Origin("a", 1))
    written = convert([bare_chat, Question(question="Why?", origin=Origin("a", 2))], "messages", tmp_path / "out.jsonl")
    assert (written.n_kept, written.left_out[0]["places"]) == (1, ["a:2"])


def test_a_record_without_a_place_is_kept_beside(tmp_path: Path) -> None:
    """Whole."""
    unwritten: list[LeftOut] = []
    records = [CHAT, Question(id="q", question="Why?", answers=("So.",))]
    written = convert(records, "messages", tmp_path / "out.jsonl", left_out=unwritten)
    assert (written.n_kept, [one.id for one in unwritten]) == (1, ["q"])
    lost = [json.loads(line) for line in (tmp_path / "out.jsonl.lost.jsonl").read_text().splitlines()]
    assert lost[-1]["lost"]["question"] == "Why?"


def test_strict_writes_nothing_where_something_is_lost(tmp_path: Path) -> None:
    """And an older file stays as it is."""
    out = tmp_path / "out.jsonl"
    out.write_text("older\n")
    with pytest.raises(
        SettingError,
        match=r"^--strict: messages cannot carry everything: .*cannot be written as messages \(1 row, the first q\)",
    ):
        convert([CHAT, Question(id="q", question="Why?")], "messages", out, strict=True)
    assert out.read_text() == "older\n"
    assert list(tmp_path.iterdir()) == [out]


def test_where_no_record_fits_the_ones_that_would_are_named(tmp_path: Path) -> None:
    """A conversation is no labelled text."""
    with pytest.raises(
        SettingError, match=r"^--to: No record can be written as labelled; they are conversations\. Choose .*messages"
    ):
        convert([CHAT], "labelled", tmp_path / "out.csv")


def test_a_layout_that_groups_rows_anew_loses_nothing(tmp_path: Path) -> None:
    """SQuAD puts questions under their paragraph."""
    questions = [
        Question(question=f"{n}?", context=context, answers=("a",), starts=(0,))
        for n, context in enumerate(["a b", "a c", "a b"])
    ]
    assert convert(questions, "squad", tmp_path / "out.json").cannot_carry == []


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """A file of two conversations, one with a weight, and a row that is none."""
    path = tmp_path / "chats.jsonl"
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello", "weight": 1}]
    rows: list[dict[str, Any]] = [{"messages": said, "id": 2**64 + 1}, {"messages": said[:1]}, {"messages": []}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


STRANGER = Question(question="Who knows?", choices=("a", "b"), answers=("a",), starts=(0, 1))


def laid_out(pieces: list[Any], ending: str) -> bytes | None:
    """Lay rows out all together, as plainly as can be; None for Parquet."""
    if ending == ".jsonl":
        return b"".join(msgspec.json.encode(piece) + b"\n" for piece in pieces)
    if ending == ".json":
        return msgspec.json.format(msgspec.json.encode(pieces), indent=1) + b"\n"
    names = list(dict.fromkeys(name for piece in pieces for name in piece))
    rows = [names, *([cell(piece.get(name)) for name in names] for piece in pieces)]
    if ending == ".tsv":
        return "".join("\t".join(row) + "\n" for row in rows).encode()
    out = io.StringIO(newline="")
    for row in rows:  # a carriage return is part of a field where it is quoted
        has_return = any("\r" in str(cell) for cell in row)
        csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL).writerow(row)
    return out.getvalue().encode() if ending == ".csv" else None


def cell(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()


def has_no_place(piece: object, ending: str) -> bool:
    if piece is None or not isinstance(piece, dict):
        return piece is None or ending not in (".jsonl", ".json")
    return ending == ".tsv" and any(mark in cell(value) for value in piece.values() for mark in "\t\r\n")


def all_together(records: list[Record], dialect: str, out: Path) -> dict[str, object]:
    """Convert records that are all held, in the plainest way: the file, what is lost, and what has no place."""
    records = identified(records)
    pieces = [DIALECTS[dialect].write(record) for record in records]
    kept = [place for place, piece in enumerate(pieces) if not has_no_place(piece, out.suffix)]
    if not kept:
        return {}
    data = laid_out([pieces[place] for place in kept], out.suffix)
    if data is None:
        write(records, dialect, str(out))
    else:
        out.write_bytes(data)
    found = read([str(out)], dialect=dialect).records
    again = (
        paired([records[place] for place in kept], found) if len(found) != len(kept) else zip(kept, found, strict=True)
    )
    back = dict(zip(kept, (one for _, one in again), strict=True))
    told = [lost(record, back[place]) if place in back else record for place, record in enumerate(records)]
    lines = [
        msgspec.json.encode({"at": str(record.origin or ""), "id": record.id, "lost": gone}) + b"\n"
        for record, gone in zip(records, told, strict=True)
        if gone
    ]
    return {
        "file": out.read_bytes(),
        "lost": b"".join(lines),
        "left_out": [record.id for place, record in enumerate(records) if place not in back],
        "n_repaired": sum(record.origin == Origin("a", 2) for place, record in enumerate(records) if place in back),
    }


ALONE = [
    (dialect, ending)
    for dialect in sorted(set(DIALECTS) - {"aligned", "oasst", "labelled-lines"})
    for ending in (".jsonl", ".json", ".csv", ".tsv", ".parquet")
    if stand_alone(dialect, f"a{ending}")
]


@pytest.mark.parametrize(("dialect", "ending"), ALONE)
def test_row_by_row_is_as_all_together(
    dialect: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files and the same account as when all are held, however much is written at once."""

    def converted(records: list[Record]) -> dict[str, object]:
        unwritten: list[LeftOut] = []
        out = tmp_path / f"a{ending}"
        written = convert(iter(records), dialect, out, repaired=[Origin("a", 2)], left_out=unwritten)
        beside = tmp_path / f"a{ending}.lost.jsonl"
        return {
            "file": out.read_bytes(),
            "lost": beside.read_bytes() if beside.exists() else b"",
            "left_out": [one.id for one in unwritten],
            "n_repaired": written.n_repaired,
        }

    @settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(HELD[dialect] | HELD["messages"] | st.just(STRANGER), min_size=1, max_size=4), st.booleans())
    def law(drawn: list[Record], named: bool) -> None:
        numbered = [msgspec.structs.replace(r, id=f"r{n}", origin=Origin("a", n)) for n, r in enumerate(drawn, 1)]
        records = numbered if named else drawn
        expected = told_or_error(lambda: all_together(records, dialect, tmp_path / f"b{ending}"))
        monkeypatch.setattr(files, "BLOCK_BYTES", 1 if named else 1 << 20)
        assert told_or_error(lambda: converted(records)) == (expected or "none of them can be written")

    law()


def told_or_error(work: Callable[[], dict[str, object]]) -> object:
    """Give what comes of it; that a file cannot be read again is told in other words by whoever reads it."""
    try:
        return work()
    except SettingError:
        return "none of them can be written"
    except FormtuneError:
        return "cannot be read again"


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_carriage_returns_come_back(ending: str, tmp_path: Path) -> None:
    """Alone, at an end, and before a line break: a table quotes them, or tells that it cannot."""
    records: list[Record] = [Pair(f"{n}{text}", ("t",)) for n, text in enumerate(("\r", "\rx", "\r\n", "a"))]
    left_out: list[LeftOut] = []
    written = convert(records, "pairs", tmp_path / f"a{ending}", left_out=left_out)
    assert written.cannot_carry == []
    assert written.n_kept + len(left_out) == 4
    assert len(left_out) == (3 if ending == ".tsv" else 0)


def test_no_records_are_a_wrong_call(tmp_path: Path) -> None:
    """Nothing would say what the file holds."""
    with pytest.raises(ValueError, match="no records"):
        convert([], "messages", tmp_path / "out.jsonl")


class TestCommand:
    """formtune convert."""

    def test_the_account_adds_up(self, chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Rows in are kept, repaired or left out."""
        out = tmp_path / "out.jsonl"
        assert run(["convert", str(chats), "--to", "alpaca", "-o", str(out), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["rows_in"] == 3
        assert told["kept"] + told["repaired"] + sum(entry["rows"] for entry in told["left_out"]) == 3
        assert told["dialect"] == "messages"
        assert told["out"] == [str(out)]
        assert read([str(out)]).dialect == "alpaca"

    def test_a_person_reads_it(self, chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A line for each key that is lost."""
        reviews = tmp_path / "reviews.jsonl"
        reviews.write_text('{"text": "Good.", "label": "good", "n": 5}\n{"text": "Bad.", "label": "bad", "n": 6}\n')
        assert run(["convert", str(reviews), "--to", "labelled", "-o", str(tmp_path / "out.csv")]) == 0
        text = capsys.readouterr().out
        assert "cannot carry: 2 × extra.n" in text
        assert "lost.jsonl" in text.replace("\n", "")
        assert run(["convert", str(chats), "--to", "oasst", "-o", str(tmp_path / "tree.jsonl")]) == 0
        assert "added: 2 × messages[].extra" in capsys.readouterr().out

    def test_a_table_holds_messages_as_json_text(self, chats: Path, tmp_path: Path) -> None:
        """And they are read again; what a table cannot tell from a text is told."""
        out = tmp_path / "out.csv"
        assert run(["convert", str(chats), "--to", "messages", "-o", str(out), "--quiet"]) == 0
        reading = read([str(out)])
        assert reading.dialect == "messages"
        assert [len(one.messages) for one in reading.records if isinstance(one, Conversation)] == [2, 1]
        lost = [json.loads(line)["lost"] for line in (tmp_path / "out.csv.lost.jsonl").read_text().splitlines()]
        assert lost == [{"extra.id": 2**64 + 1}]  # a table knows no numbers

    def test_rows_are_repaired_on_the_way(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Shown, counted, and the others are in quarantine: rows in are kept, repaired and left out."""
        path, out, aside = tmp_path / "a.jsonl", tmp_path / "out.jsonl", tmp_path / "bad.jsonl"
        talk = '{"messages": [{"role": "%s", "content": "q"}, {"role": "assistant", "content": "a"}]%s}'
        lines = [
            talk % ("user", ""),
            talk % ("user", ","),
            talk % ("User", ""),
            talk % ("usr", ""),
            '{"messages": [],}',
        ]
        path.write_text("\n".join(lines) + '\n{"a": 1, "a": 2, ' + lines[0][1:] + "\n")
        ask = ["convert", str(path), "--to", "alpaca", "-o", str(out), "--fix", "--quarantine", str(aside)]
        assert run([*ask, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        n_left_out = sum(entry["rows"] for entry in told["left_out"])
        assert (told["rows_in"], told["kept"], told["repaired"], n_left_out) == (6, 2, 2, 2)
        assert [(entry["rows"], entry["code"]) for entry in told["parts_lost"]] == [(1, "FT116")]
        assert [entry["place"] for entry in told["mended"]] == [f"{path}:{line}" for line in (2, 3, 5)]
        assert len(read([str(out)], dialect="alpaca").records) == 4
        quarantined = [json.loads(line) for line in aside.read_text().splitlines()]
        assert [one["place"].rsplit(":")[-1] for one in quarantined] == ["4", "5", "6"]
        assert quarantined[0]["raw"] == lines[3]
        assert run(ask) == 0
        shown = capsys.readouterr().out
        assert "rows in     6 = 2 kept + 2 repaired + 2 left out" in shown
        assert f"mended: {path}:3: messages[0].role: 'User' became 'user'" in shown
        assert f"@@ -2 +2 @@\n-{lines[1]}\n+{lines[0]}" in shown

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["-o", "a.jsonl", "--fix"], "--out: This file is read or written already."),
            (["-o", "b.jsonl", "--quarantine", "b.jsonl"], "--quarantine: This file is read or written already."),
            (["-o", "b.jsonl", "--quarantine", "a.jsonl"], "--quarantine: This file is read or written already."),
            (["-o", "a.jsonl", "--quarantine", "b.jsonl"], "--out: This file is read or written already."),
        ],
    )
    def test_no_file_is_written_over_another(
        self,
        words: list[str],
        told: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What cannot be mended would be lost."""
        monkeypatch.chdir(tmp_path)
        rows = '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n{"text": \n'
        Path("a.jsonl").write_text(rows)
        assert run(["convert", "a.jsonl", "--to", "labelled", *words]) == 2
        assert capsys.readouterr().err.startswith(told)
        assert Path("a.jsonl").read_text() == rows

    def test_of_very_many_repairs_the_first_are_shown(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of them are counted, and all rows are repaired."""
        monkeypatch.setattr(data_pipeline, "SHOWN_CHARACTERS", 60)
        path = tmp_path / "a.jsonl"
        path.write_text('{"text": "a", "label": "x",}\n' * 3 + '{"text": "b", "label": "y"}\n')
        assert run(["convert", str(path), "--to", "labelled", "-o", str(tmp_path / "b.jsonl"), "--fix"]) == 0
        shown = capsys.readouterr().out
        assert "rows in  4 = 1 kept + 3 repaired + 0 left out" in shown
        assert shown.count("a comma behind the last element") == 1
        assert "mended: 2 more rows" in shown

    def test_a_table_has_no_rows_to_repair(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It is told, rather than that nothing was wrong."""
        path = tmp_path / "a.csv"
        path.write_text("text,label\na,x\nb,y\n")
        assert run(["convert", str(path), "--to", "labelled", "-o", str(tmp_path / "b.jsonl"), "--fix"]) == 2
        assert capsys.readouterr().err.startswith("--fix: Only JSON lines can be mended.")

    def test_a_layout_that_cannot_hold_a_dialect_is_refused(
        self, chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Lines of text have no messages; nothing is left behind."""
        assert run(["convert", str(chats), "--to", "messages", "-o", str(tmp_path / "out.txt")]) == 2
        assert "--to: No record can be written as messages" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == [chats]

    def test_the_data_are_not_written_over(
        self, chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What the dialect cannot carry would be gone from the data themselves."""
        before = chats.read_bytes()
        assert run(["convert", str(chats), "--to", "alpaca", "-o", str(chats)]) == 2
        assert capsys.readouterr().err == "--out: This file is read or written already. Name another one.\n"
        assert chats.read_bytes() == before

    def test_wrong_asks_are_told(self, chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Place, problem, remedy; exit code 2."""
        for words, told in (
            (["--to", "alpca", "-o", "x.jsonl"], "--to: There is no dialect 'alpca'; the nearest is 'alpaca'"),
            (["--to", "alpaca"], "--out: Nothing says where the records go"),
            (["-o", "x.jsonl"], "--to: Nothing says what the records become"),
            (["--to", "alpaca", "-o", "no/x.jsonl"], "no: There is no such folder"),
            (["--to", "alpaca", "-o", str(tmp_path)], f"{tmp_path}: This is a folder. Name the file to write."),
            (["--to", "messages", "-o", "x.txt"], "Choose another ending: .jsonl holds everything"),
            (["--to", "alpaca", "-o", "x.doc"], "There is no way to write a file that ends in '.doc'"),
        ):
            assert run(["convert", str(chats), *words]) == 2
            assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - {"aligned", "labelled-lines"}))
def test_every_dialect_stands_in_parquet(name: str, tmp_path: Path) -> None:
    """Whatever it holds: no key that another row has is put into a row, none is lost."""

    @settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(HELD[name], min_size=1, max_size=3))
    def law(records: list[Record]) -> None:
        written = convert(records, name, tmp_path / "out.parquet")
        assert written.left_out == []
        assert written.cannot_carry == []

    law()


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_comes_back_from_its_own_example(name: str, tmp_path: Path) -> None:
    """Nothing is lost on the way to itself."""
    for file, content in FILES[name].items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    records = read([str(tmp_path / file) for file in FILES[name]]).records
    folder = tmp_path / "to"
    folder.mkdir()
    assert convert(records, name, place(folder, name)).cannot_carry == []
