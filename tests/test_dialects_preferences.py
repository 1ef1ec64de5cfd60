"""Preferences: two answers of which one is better, and answers that are judged one by one."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from formtune.dialects import DIALECTS, Columns, Reading, read
from formtune.records import Conversation, Message, Origin, Preference, Record
from formtune.sources import Row

USER = {"role": "user", "content": "Sky?"}
BLUE = {"role": "assistant", "content": "Blue."}
GREEN = {"role": "assistant", "content": "Green."}
PREFERRED = Preference(
    prompt=(Message("user", "Sky?"),),
    chosen=(Message("assistant", "Blue."),),
    rejected=(Message("assistant", "Green."),),
)
PAIRED = (
    "preference",
    "trl-preference",
    "ranking",
    "argilla",
    "orca-pairs",
    "sharegpt-ranking",
    "openai-preference",
    "swift-preference",
    "axolotl-preference",
    "chosen-messages",
    "hh-rlhf",
    "nectar",
    "shp",
)
JUDGED = ("kto", "trl-kto", "alpaca-kto", "kto-messages")


def saved(folder: Path, *rows: object, **options: object) -> Reading:
    """Write JSON lines and read them."""
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read([str(folder / "a.jsonl")], **options)


def bare(record: Record) -> Record:
    """What a record says, without where it stands."""
    return msgspec.structs.replace(record, id="", origin=None, group=None)


def reread(name: str, records: Sequence[Record]) -> list[Record]:
    """Write records, and read the rows again by way of JSON."""
    pieces = [json.loads(msgspec.json.encode(DIALECTS[name].write(record))) for record in records]
    rows = [Row(piece, Origin("a.jsonl", line)) for line, piece in enumerate(pieces, 1)]
    evidence = DIALECTS[name].recognize(rows, Columns())
    assert evidence is not None
    return [bare(record) for row in rows for record in DIALECTS[name].read(row, evidence.columns)]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("preference", {"prompt": "Sky?", "chosen": "Blue.", "rejected": "Green."}),
        ("trl-preference", {"prompt": [USER], "chosen": [BLUE], "rejected": [GREEN]}),
        ("trl-preference", {"chosen": [USER, BLUE], "rejected": [USER, GREEN]}),
        ("trl-preference", {"prompt": "Sky?", "chosen": [USER, BLUE], "rejected": [USER, GREEN]}),
        ("trl-preference", {"messages": [USER], "chosen": [BLUE], "rejected": [GREEN]}),
        ("axolotl-preference", {"messages": [USER], "chosen": BLUE, "rejected": GREEN}),
        ("ranking", {"instruction": "Sky?", "input": "", "chosen": "Blue.", "rejected": "Green."}),
        ("argilla", {"instruction": "Sky?", "chosen_response": "Blue.", "rejected_response": "Green."}),
        ("orca-pairs", {"system": "", "question": "Sky?", "chosen": "Blue.", "rejected": "Green."}),
        ("orca-pairs", {"input": "Sky?", "chosen": "Blue.", "rejected": "Green."}),
        ("orca-pairs", {"question": "Sky?", "response_j": "Blue.", "response_k": "Green."}),
        (
            "sharegpt-ranking",
            {
                "conversations": [{"from": "human", "value": "Sky?"}],
                "chosen": {"from": "gpt", "value": "Blue."},
                "rejected": {"from": "gpt", "value": "Green."},
            },
        ),
        (
            "openai-preference",
            {"input": {"messages": [USER]}, "preferred_output": [BLUE], "non_preferred_output": [GREEN]},
        ),
        ("swift-preference", {"messages": [USER, BLUE], "rejected_response": "Green."}),
        ("swift-preference", {"messages": [USER, BLUE], "rejected_messages": [USER, GREEN]}),
        ("swift-preference", {"messages": [USER, BLUE], "rejected_messages": [GREEN]}),
        ("swift-preference", {"query": "Sky?", "response": "Blue.", "rejected_response": "Green."}),
        ("chosen-messages", {"chosen_messages": [USER, BLUE], "rejected_messages": [USER, GREEN]}),
        (
            "hh-rlhf",
            {"chosen": "\n\nHuman: Sky?\n\nAssistant: Blue.", "rejected": "\n\nHuman: Sky?\n\nAssistant: Green."},
        ),
        (
            "nectar",
            {"prompt": "Sky?", "answers": [{"answer": "Green.", "rank": 2}, {"answer": "Blue.", "rank": 1}]},
        ),
    ],
)
def test_one_preference_has_many_layouts(name: str, row: dict[str, object], tmp_path: Path) -> None:
    """Each is recognized, also beside keys that it does not know, and says the same."""
    assert [bare(record) for record in saved(tmp_path, row).records] == [PREFERRED]
    reading = saved(tmp_path, {**row, "source": "x"}, {"margin": 0.5, **row})
    assert reading.dialect == name
    assert [record.extra for record in reading.records] == ['{"source":"x"}', '{"margin":0.5}']


@pytest.mark.parametrize("name", PAIRED)
def test_a_preference_is_written_in_every_layout(name: str) -> None:
    """One request with two texts has a place everywhere."""
    assert reread(name, [PREFERRED]) == [PREFERRED]


@pytest.mark.parametrize("name", PAIRED)
def test_a_judged_answer_is_no_pair(name: str) -> None:
    """A layout of two answers has no place for one."""
    assert DIALECTS[name].write(msgspec.structs.replace(PREFERRED, rejected=())) is None


@pytest.mark.parametrize("name", JUDGED)
def test_a_pair_is_no_judgment(name: str) -> None:
    """A layout of judged answers has no place for two."""
    assert DIALECTS[name].write(PREFERRED) is None


@pytest.mark.parametrize("name", sorted({*PAIRED, *JUDGED} - {"nectar", "hh-rlhf", "shp"}))
def test_what_is_said_before_stays_before(name: str) -> None:
    """A system text and an earlier turn come back, or are not written; one answer or two."""
    talk = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello"), *PREFERRED.prompt)
    record = msgspec.structs.replace(PREFERRED, prompt=talk)
    if name in JUDGED:
        record = msgspec.structs.replace(record, chosen=())
    assert (DIALECTS[name].write(record) is None) == (name in ("preference", "kto", "argilla", "orca-pairs"))
    if DIALECTS[name].write(record) is not None:
        assert reread(name, [record]) == [record]


@pytest.mark.parametrize(
    ("row", "name", "right"),
    [
        ({"prompt": "Sky?", "completion": "Blue.", "label": True}, "kto", True),
        ({"prompt": [USER], "completion": [BLUE], "label": False}, "trl-kto", False),
        ({"instruction": "Sky?", "input": "", "output": "Blue.", "kto_tag": True}, "alpaca-kto", True),
        ({"messages": [USER, BLUE], "label": False}, "kto-messages", False),
        ({"messages": [USER, BLUE], "kto_tag": True}, "kto-messages", True),
        (
            {
                "conversations": [{"from": "human", "value": "Sky?"}, {"from": "gpt", "value": "Blue."}],
                "kto_tag": False,
            },
            "kto-messages",
            False,
        ),
    ],
)
def test_a_judged_answer_is_chosen_or_rejected(row: dict[str, object], name: str, right: bool, tmp_path: Path) -> None:
    """An answer that was found bad is never one to be learned."""
    reading = saved(tmp_path, row)
    answer = PREFERRED.chosen
    expected = msgspec.structs.replace(PREFERRED, chosen=answer if right else (), rejected=() if right else answer)
    assert (reading.dialect, [bare(record) for record in reading.records]) == (name, [expected])
    assert reread(name, reading.records) == [expected]


def test_judgments_in_a_table_are_words(tmp_path: Path) -> None:
    """A table has no truth values; 'true' and 'False' are read as such."""
    (tmp_path / "a.csv").write_text("prompt,completion,label\nSky?,Blue.,true\nSky?,Green.,False\n")
    reading = read([str(tmp_path / "a.csv")])
    records = [record for record in reading.records if isinstance(record, Preference)]
    assert (reading.dialect, [bool(record.chosen) for record in records]) == ("kto", [True, False])


def test_labels_that_are_no_judgments_stay_labels(tmp_path: Path) -> None:
    """A prompt with a class beside its completion is a conversation."""
    assert saved(tmp_path, {"prompt": "Sky?", "completion": "Blue.", "label": "color"}).dialect == "prompt-completion"


def test_texts_without_a_prompt_are_parted_where_they_differ(tmp_path: Path) -> None:
    """The prompt ends with the last white space of what both begin with, never inside a word."""
    (record,) = saved(tmp_path, {"chosen": "The sky is blue.", "rejected": "The sky is blur."}).records
    assert isinstance(record, Preference)
    texts = [side[0].content for side in (record.prompt, record.chosen, record.rejected)]
    assert texts == ["The sky is ", "blue.", "blur."]


def test_answers_that_go_on_differently_keep_their_turns(shared: Path) -> None:
    """Where dialogues part at an earlier turn, each answer is all that follows; real dialogues come back whole."""
    row = {
        "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
        "rejected": "\n\nHuman: a\n\nAssistant: x",
    }
    (record,) = DIALECTS["hh-rlhf"].read(Row(row, Origin("a.jsonl", 1)), Columns())
    assert isinstance(record, Preference)
    assert [len(side) for side in (record.prompt, record.chosen, record.rejected)] == [1, 3, 1]
    assert DIALECTS["hh-rlhf"].write(record) == row
    path = shared / "instruct/hh_harmless/harmless_base_300.jsonl"
    reading = read([str(path)])
    assert (reading.dialect, len(reading.records), reading.left_out) == ("hh-rlhf", 300, [])
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [DIALECTS["hh-rlhf"].write(record) for record in reading.records] == rows


@pytest.mark.parametrize(
    ("file", "name", "n_records"),
    [
        ("llamafactory_demo/dpo_en_demo.json", "sharegpt-ranking", 100),
        ("llamafactory_demo/dpo_zh_demo.json", "sharegpt-ranking", 100),
        ("llamafactory_demo/kto_en_demo.json", "kto-messages", 120),
        ("llamafactory_demo/v1_dpo_demo.jsonl", "chosen-messages", 10),
        ("dialects_misc/torchtune_hh_rlhf_tiny.json", "trl-preference", 1),
        ("dialects_misc/torchtune_stack_exchange_paired_tiny.json", "orca-pairs", 25),
    ],
)
def test_real_preferences_are_read_whole_and_come_back(file: str, name: str, n_records: int, shared: Path) -> None:
    """No row of a real file is left out, and what was written is read the same."""
    reading = read([str(shared / "instruct" / file)])
    assert (reading.dialect, len(reading.records), reading.left_out) == (name, n_records, [])
    assert reread(name, reading.records) == [bare(record) for record in reading.records]


def test_preferences_of_one_tool_are_written_for_another(shared: Path) -> None:
    """Real pairs of one request go through every layout of two answers and back, without a change."""
    records = read([str(shared / "instruct/llamafactory_demo/dpo_en_demo.json")]).records
    expected = [bare(record) for record in records]
    for name in PAIRED:
        writable = [record for record in records if DIALECTS[name].write(record) is not None]
        assert reread(name, writable) == [bare(record) for record in writable], name
        assert name in ("preference", "hh-rlhf", "argilla", "orca-pairs", "nectar", "shp") or len(writable) == len(
            expected
        ), name


def test_the_input_of_a_preference_keeps_its_other_keys() -> None:
    """They stand beside the messages again when the row is written."""
    row = {
        "input": {"parallel_tool_calls": False, "messages": [USER], "tools": [{"type": "function"}]},
        "preferred_output": [BLUE],
        "non_preferred_output": [GREEN],
    }
    (record,) = DIALECTS["openai-preference"].read(Row(row, Origin("a.jsonl", 1)), Columns())
    assert isinstance(record, Preference)
    assert (record.tools, record.extra) == ('[{"type":"function"}]', '{"input":{"parallel_tool_calls":false}}')
    assert json.loads(msgspec.json.encode(DIALECTS["openai-preference"].write(record))) == row


def test_the_best_answer_is_preferred_to_each_that_is_worse(tmp_path: Path) -> None:
    """Answers of the best rank are not compared with one another; what comes of one prompt is a group."""
    answers = [{"answer": text, "rank": rank} for text, rank in (("c", 3), ("a", 1), ("b", 1), ("d", 3))]
    reading = saved(tmp_path, {"prompt": "q", "answers": answers}, {"prompt": "r", "answers": answers[:1]})
    found = [record for record in reading.records if isinstance(record, Preference)]
    assert [(one.chosen[0].content, one.rejected[0].content) for one in found] == [("a", "c"), ("a", "d")]
    assert found[0].group == found[1].group is not None
    assert [item.reason for item in reading.left_out] == ["no answer that is worse than another"]


def test_scores_that_go_by_letter_stay_with_their_answers() -> None:
    """Where the second answer is better, it is the second again when the row is written."""
    row = {"history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": 0, "score_A": 1, "score_B": 9}
    (record,) = DIALECTS["shp"].read(Row(row, Origin("a.jsonl", 1)), Columns())
    assert isinstance(record, Preference)
    assert (record.chosen[0].content, record.rejected[0].content) == ("b", "a")
    assert DIALECTS["shp"].write(record) == row


def test_a_prompt_of_turns_is_read_as_turns(tmp_path: Path) -> None:
    """The last turn is open: the answers fill it."""
    prompt = "\n\nHuman: a\n\nAssistant: b\n\nHuman: Sky?\n\nAssistant:"
    (record,) = saved(tmp_path, {"prompt": prompt, "chosen": "Blue.", "rejected": "Green."}).records
    assert isinstance(record, Preference)
    assert [(message.role, message.content) for message in record.prompt] == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "Sky?"),
    ]
    assert reread("trl-preference", [record]) == [bare(record)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "chosen": " ", "rejected": "b"}, "an empty answer"),
        ({"prompt": "q", "chosen": [{"x": 1}], "rejected": "b"}, "a side that is neither a text nor messages"),
        ({"chosen": "a b", "rejected": "a "}, "an empty answer"),
    ],
)
def test_a_row_without_two_answers_is_left_out(row: object, reason: str, tmp_path: Path) -> None:
    """It is told, with its reason."""
    good = {"prompt": "q", "chosen": "a", "rejected": "b"}
    assert [item.reason for item in saved(tmp_path, good, good, row).left_out] == [reason]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Sky?", "completion": "Blue."},
        {"prompt": [USER], "completion": [BLUE]},
        {"prompt": "Sky?", "chosen": "Blue.", "rejected": "Green."},
        {"prompt": [USER], "chosen": [BLUE], "rejected": [GREEN]},
        {"prompt": "Sky?", "completion": "Blue.", "label": True},
        {"prompt": [USER], "completion": [BLUE], "label": True},
    ],
)
def test_texts_stay_texts_and_messages_messages(row: dict[str, object], tmp_path: Path) -> None:
    """TRL lays messages out by the chat template and takes texts as they are: one is never written as the other."""
    reading = saved(tmp_path, row)
    (written,) = (DIALECTS[reading.dialect].write(record) for record in reading.records)
    assert json.loads(msgspec.json.encode(written)) == row


@pytest.mark.parametrize("name", ["prompt-completion", "preference", "kto"])
def test_a_text_has_no_place_for_a_system_message(name: str) -> None:
    """It is not written rather than joined to what the user says, or as messages among texts."""
    said = (Message("system", "Be brief."), *PREFERRED.prompt)
    record: Record = msgspec.structs.replace(
        PREFERRED, prompt=said, rejected=() if name == "kto" else PREFERRED.rejected
    )
    if name == "prompt-completion":
        record = Conversation(messages=(*said, *PREFERRED.chosen))
    assert DIALECTS[name].write(record) is None
    assert DIALECTS[f"trl-{name}"].write(record) is not None
