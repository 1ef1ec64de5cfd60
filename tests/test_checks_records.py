"""Checks that look at records as they stand: what repeats, contradicts itself, is empty, one-sided or out of order."""

import json
from pathlib import Path

import pytest

from formtune.checks import CHECKS, Context, check
from formtune.checks.finding import NotChecked
from formtune.dialects import read
from formtune.records import (
    Conversation,
    Labelled,
    LeftOut,
    Message,
    Origin,
    Pair,
    Plain,
    Preference,
    Question,
    Record,
    identified,
)

Found = dict[str, list[str]]


def found(name: str, records: list[Record], **context: object) -> Found:
    """Give the lines that each code of a check names."""
    whole = identified(records)
    findings = CHECKS[name].find(whole, Context(parts={"data": whole}, **context))
    out: Found = {}
    for one in findings:
        out.setdefault(one.rule.code, []).extend(place.rpartition(":")[2] for place in one.places)
    return out


def labelled(*rows: tuple[str, str]) -> list[Record]:
    return [
        Labelled(origin=Origin("a", n), inputs={"text": text}, labels=(label,) if label else ())
        for n, (text, label) in enumerate(rows, 1)
    ]


def talk(*turns: tuple[str, str], line: int = 1, tools: str | None = None, calls: str | None = None) -> Conversation:
    messages = tuple(Message(role, content) for role, content in turns)
    if calls is not None:
        messages += (Message("assistant", "", tool_calls=calls),)
    return Conversation(origin=Origin("a", line), messages=messages, tools=tools)


def test_repetitions_are_told_from_those_but_for_trifles() -> None:
    """The first of its kind is not reported, whichever form it has."""
    rows = labelled(("One film.", "x"), ("one  FILM", "x"), ("One film.", "x"), ("one  FILM", "x"), ("One film.", "y"))
    assert found("duplicates", rows) == {"FT201": ["3", "4"], "FT202": ["2"]}


def test_the_extra_of_a_row_counts_for_exact_repetitions() -> None:
    """Rows that differ in a key that is not used say the same in what is learned."""
    rows: list[Record] = [
        Plain(origin=Origin("a", 1), text="t", extra='{"k":1}'),
        Plain(origin=Origin("a", 2), text="t", extra='{"k":2}'),
    ]
    assert found("duplicates", rows) == {"FT202": ["2"]}


def test_two_labels_for_one_text_are_a_conflict() -> None:
    """Two translations of one sentence are a note."""
    assert found("conflicts", labelled(("a b", "x"), ("A, b!", "y"), ("c", "x"), ("c", "x"))) == {"FT203": ["1", "2"]}
    pairs: list[Record] = [Pair(origin=Origin("a", n), source="s", targets=(f"t{n}",)) for n in (1, 2)]
    assert found("conflicts", pairs) == {"FT204": ["1", "2"]}


def test_blank_fields_are_those_without_anything_to_see() -> None:
    """A zero width space is nothing; a missing answer is another matter."""
    rows = labelled(("\u200b\t", "x"), ("0", "x"), ("a", " "), ("b", ""))
    assert found("blanks", rows) == {"FT205": ["1", "3"], "FT206": ["4"]}
    question = Question(origin=Origin("a", 1), question="q?", answerable=False)
    assert found("blanks", [question]) == {}


def test_a_side_that_is_not_there_is_not_blank() -> None:
    """Of minimal pairs nothing is asked; an answer that is judged alone has no other beside it."""
    answers = [(Message("assistant", text),) for text in ("a", "b", " ")]
    pairs = [
        Preference(origin=Origin("a", 1), prompt=(), chosen=answers[0], rejected=answers[1]),
        Preference(origin=Origin("a", 2), prompt=(), chosen=answers[1], rejected=()),
        Preference(origin=Origin("a", 3), prompt=(), chosen=answers[0], rejected=answers[2]),
    ]
    assert found("blanks", pairs) == {"FT205": ["3"]}
    assert found("conflicts", pairs) == {}


def test_records_that_are_there_to_be_predicted_lack_nothing() -> None:
    """Where not one has an answer."""
    assert found("blanks", labelled(("a", ""), ("b", ""))) == {}


@pytest.mark.parametrize("text", ["cafÃ© noir", "itâ€™s", "lost \ufffd here", "a\x00b"])
def test_text_of_a_wrong_encoding_is_seen(text: str) -> None:
    """UTF-8 read as Latin-1, replacement characters, NUL."""
    assert found("blanks", labelled((text, "x"))) == {"FT207": ["1"]}


@pytest.mark.parametrize("text", ["São João Ãlvares", "«bonjour» – déjà", "naïve €5", "日本語"])
def test_sound_text_beyond_ascii_is_not_damaged(text: str) -> None:
    """Portuguese capitals, French quotes, the euro."""
    assert found("blanks", labelled((text, "x"))) == {}


def test_shares_of_labels() -> None:
    """One label alone is an error, nine tenths are a warning, fewer than five records a note."""
    assert found("balance", labelled(("a", "x"), ("b", "x"))) == {"FT208": ["1", "2"]}
    rows = labelled(*[(str(n), "x") for n in range(19)], ("z", "y"))
    assert {code: len(lines) for code, lines in found("balance", rows).items()} == {"FT209": 19, "FT210": 1}


def test_a_label_that_training_lacks() -> None:
    """It is named with its part."""
    train, test = labelled(("a", "x"), ("b", "y")), labelled(("c", "x"), ("d", "z"))
    outcomes = check(Context(parts={"train": train, "test": test}), only=["FT211"])
    (one,) = outcomes[0].findings
    assert (one.problem, one.places) == ("Labels of test that never stand in training: 'z'.", ("a:2",))


def test_control_tokens_in_text() -> None:
    """Each with its family; a label is no text, and an address in angle brackets is no token."""
    rows = labelled(("write to <a@b.c>", "<s>"), ("stop <|im_end|> now", "x"), ("[INST] do [/INST]", "x"))
    assert found("control-tokens", rows) == {"FT212": ["2", "3", "3"]}


def test_control_tokens_of_the_model_that_is_named(tmp_path: Path) -> None:
    """Whatever its tokenizer says they are."""
    from light_install import tiny_model

    folder = tmp_path / "model"
    tiny_model(folder)
    config = {"added_tokens_decoder": {"300": {"content": "@@stop@@", "special": True}}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert found("control-tokens", labelled(("ends @@stop@@", "x")), model=str(folder)) == {"FT212": ["1"]}


U, A, S = ("user", "hi"), ("assistant", "hello"), ("system", "be kind")


@pytest.mark.parametrize(
    ("turns", "code"),
    [
        ((U, U, A), "FT213"),
        ((U, A, U), "FT214"),
        ((U, S, A), "FT215"),
        ((U, ("assistant", " ")), "FT216"),
        ((S, U), "FT217"),
        ((U, ("assistent", "hello"), A), "FT218"),
        ((U, ("tool", "4"), A), "FT219"),
    ],
)
def test_turns_out_of_order(turns: tuple[tuple[str, str], ...], code: str) -> None:
    """One fault each, and each has its code."""
    assert found("turns", [talk(*turns)]) == {code: ["1"]}


def test_turns_in_order() -> None:
    """Two system messages at the beginning, and a call with its result, are as they should be."""
    call = '[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]'
    whole = Conversation(
        origin=Origin("a", 1),
        messages=(
            Message("system", "s"), Message("system", "s"), Message("user", "u"),
            Message("assistant", "", tool_calls=call), Message("tool", "4", tool_call_id="c1"), Message("assistant", "4"),
        ),
    )  # fmt: skip
    assert found("turns", [whole]) == {}


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "enum": [1, 2]}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["city"],
}  # fmt: skip
TOOLS = json.dumps([{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}])


def call(name: str, arguments: object) -> str:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return json.dumps([{"id": "1", "type": "function", "function": {"name": name, "arguments": text}}])


@pytest.mark.parametrize(
    ("calls", "tools", "codes"),
    [
        (call("weather", {"city": "Oslo", "days": 2, "tags": ["a"]}), TOOLS, []),
        (call("wether", {"city": "Oslo"}), TOOLS, ["FT220"]),
        (call("weather", {"days": 1}), TOOLS, ["FT221"]),
        (call("weather", {"city": 3}), TOOLS, ["FT222"]),
        (call("weather", {"city": "Oslo", "days": True}), TOOLS, ["FT222"]),
        (call("weather", {"city": "Oslo", "days": 9}), TOOLS, ["FT222"]),
        (call("weather", {"city": "Oslo", "tags": ["a", 1]}), TOOLS, ["FT222"]),
        (call("weather", {"city": "Oslo", "when": "now"}), TOOLS, ["FT223"]),
        (call("weather", "{city: Oslo}"), TOOLS, ["FT224"]),
        ('{"name": 3', TOOLS, ["FT224"]),
        (call("weather", {"city": "Oslo"}), None, ["FT225"]),
    ],
)
def test_calls_are_held_against_the_declarations(calls: str, tools: str | None, codes: list[str]) -> None:
    """True is no integer, though Python says so."""
    assert list(found("tools", [talk(U, calls=calls, tools=tools)])) == codes


def test_refusals_and_boilerplate() -> None:
    """In English and Chinese, at the beginning of an answer; what a user says is not an answer."""
    answers = [
        "I'm sorry, but I can't help with that.", "As an AI language model, I have no taste.", "抱歉，我无法回答这个问题。",
        "作为一个人工智能语言模型，我没有感情。", "As an aid to memory, write it down.", "Say: it is late.",
    ]  # fmt: skip
    talks: list[Record] = [
        talk(("user", "As an AI, tell me"), ("assistant", a), line=n) for n, a in enumerate(answers, 1)
    ]
    assert found("refusals", talks) == {"FT226": ["1", "3"], "FT227": ["2", "4"]}


def test_outliers_in_length_are_noted() -> None:
    """A record of 5,000 characters among twenty of ten."""
    rows = labelled(*[(f"text {n:5}", "x") for n in range(30)], ("y" * 5000, "x"))
    assert found("lengths", rows) == {"FT230": ["31"]}


def test_lengths_against_a_model(tmp_path: Path) -> None:
    """Its window has 64 bytes; in a format, what is cut is told from what is lost."""
    from light_install import tiny_model

    from formtune.formats import infer_task, named

    folder = tmp_path / "model"
    tiny_model(folder)
    rows = labelled(("short", "x"), ("w" * 100, "y"))
    assert found("lengths", rows, model=str(folder)) == {"FT228": ["2"]}
    pairs = identified([
        Pair(origin=Origin("a", 1), source="s" * 90, targets=("t",)), Pair(origin=Origin("a", 2), source="s", targets=("t" * 90,))
    ])  # fmt: skip
    given = {"model": str(folder), "formats": [named("seq2seq")], "task": infer_task(pairs)}
    assert found("lengths", pairs, **given) == {"FT228": ["1"], "FT229": ["2"]}


def test_rows_that_are_no_records_are_findings() -> None:
    """One for each reason, with every place."""
    lost = [LeftOut("no label", Origin("a", 4)), LeftOut("no label", Origin("a", 9)), LeftOut("broken", Origin("a", 5))]
    assert found("rows", labelled(("a", "x")), left_out=lost) == {"FT200": ["4", "9", "5"]}


def test_a_fault_is_told_with_its_remedy_and_rows_that_were_kept_apart() -> None:
    """A row that went on without a part is a record all the same."""
    role = LeftOut(
        "a message with an unknown role", Origin("a", 1), path="messages[0].role", found='"usr"', near="user"
    )
    twice = LeftOut("a key that stands twice in one object", Origin("a", 2), detail="k: 1 was lost", kept=True)
    context = Context(parts={"data": []}, left_out=[role, twice])
    first, second = CHECKS["rows"].find([], context)
    assert (first.rule.code, first.problem) == ("FT200", "1 row is no record: a message with an unknown role (FT141).")
    assert first.details == (
        "Write one of the known roles; the nearest is told.",
        "a:1: messages[0].role: \"usr\"; the nearest is 'user'",
    )
    assert (second.rule.code, second.rule.severity) == ("FT238", "warning")
    assert second.problem == "1 row was read in part: a key that stands twice in one object (FT116)."


@pytest.mark.parametrize("name", ["balance", "turns", "tools", "refusals"])
def test_a_check_says_why_there_is_nothing_to_look_at(name: str) -> None:
    """Plain text has neither labels nor turns."""
    with pytest.raises(NotChecked, match=r"^no record"):
        found(name, [Plain(text="t")])


def test_real_messages_have_repeated_records_and_boilerplate(shared: Path) -> None:
    """The places are lines of the file."""
    path = shared / "instruct" / "llamafactory_demo" / "v1_sft_demo.jsonl"
    records = read([str(path)]).records
    repeated = found("duplicates", records)["FT201"]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(lines.index(lines[int(n) - 1]) < int(n) - 1 for n in repeated)
    assert len(found("refusals", records)["FT227"]) > 10


def test_real_spam_is_repeated(shared: Path) -> None:
    """A known property of the SMS collection: hundreds of messages stand in it twice."""
    records = read([str(shared / "cls_en" / "sms_spam" / "train.tsv")]).records
    assert len(found("duplicates", records)["FT201"]) > 200
