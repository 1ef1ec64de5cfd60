"""Descriptors: ``dataset_info.json`` says where data lie and what their columns mean."""

import json
from pathlib import Path

import pytest

from formtune.dialects import Reading, read
from formtune.errors import FormtuneError
from formtune.provenance import input_digests
from formtune.records import Conversation, Plain, kind_of


def described(folder: Path, rows: list[object], entry: dict[str, object], name: str = "mine") -> Reading:
    """Describe rows and read them by the descriptor."""
    (folder / "mine.json").write_text(json.dumps(rows), encoding="utf-8")
    info = {name: {"file_name": "mine.json", **entry}, "other": {"hf_hub_url": "a/b"}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return read([f"{folder}/dataset_info.json#{name}"])


def said(reading: Reading) -> list[tuple[str, str]]:
    [record] = reading.records
    assert isinstance(record, Conversation)
    return [(message.role, message.content) for message in record.messages]


def test_columns_are_what_the_descriptor_says(tmp_path: Path) -> None:
    """A column that it does not mention means nothing, whatever it is called."""
    row = {"frage": "1 + 1?", "antwort": "2", "system": "Be brief.", "output": "no"}
    reading = described(tmp_path, [row], {"columns": {"prompt": "frage", "response": "antwort"}})
    assert reading.dialect == "alpaca"
    assert said(reading) == [("user", "1 + 1?"), ("assistant", "2")]
    assert json.loads(reading.records[0].extra or "") == {
        "system (not described)": "Be brief.",
        "output (not described)": "no",
    }


def test_without_columns_alpacas_names_hold(tmp_path: Path) -> None:
    """LLaMA-Factory takes instruction, input and output then, and no system text."""
    row = {"instruction": "Add.", "input": "1 + 1", "output": "2", "system": "x"}
    assert said(described(tmp_path, [row], {})) == [("user", "Add.\n1 + 1"), ("assistant", "2")]


def test_tags_name_the_keys_and_roles_of_turns(tmp_path: Path) -> None:
    """Calls and their results too."""
    turns = [
        {"who": "U", "what": "Weather?"},
        {"who": "F", "what": '{"name": "weather", "arguments": {}}'},
        {"who": "O", "what": "Sun"},
        {"who": "A", "what": "Sunny."},
    ]
    tags = {"role_tag": "who", "content_tag": "what", "user_tag": "U", "assistant_tag": "A"}
    entry = {
        "formatting": "sharegpt",
        "columns": {"messages": "talk", "system": "sys"},
        "tags": {**tags, "function_tag": "F", "observation_tag": "O"},
    }
    reading = described(tmp_path, [{"talk": turns, "sys": "Be brief."}], entry)
    assert reading.dialect == "sharegpt"
    assert said(reading) == [
        ("system", "Be brief."),
        ("user", "Weather?"),
        ("assistant", ""),
        ("tool", "Sun"),
        ("assistant", "Sunny."),
    ]


def test_openais_formatting_needs_no_tags(tmp_path: Path) -> None:
    """Its keys are role and content."""
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    entry = {"formatting": "openai", "columns": {"messages": "messages"}}
    assert said(described(tmp_path, [row], entry)) == [("user", "Hi"), ("assistant", "Hello")]


def test_roles_alone_can_be_renamed(tmp_path: Path) -> None:
    """The keys of turns are ShareGPT's then."""
    turns = [{"from": "USER", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    entry = {"formatting": "sharegpt", "tags": {"user_tag": "USER"}}
    assert said(described(tmp_path, [{"conversations": turns}], entry)) == [("user", "Hi"), ("assistant", "Hello")]


def test_the_header_of_a_table_is_known_by_the_description(tmp_path: Path) -> None:
    """Even one of names that no dialect knows."""
    (tmp_path / "t.csv").write_text("frage,antwort\nx,y\n", encoding="utf-8")
    entry = {"file_name": "t.csv", "columns": {"prompt": "frage", "response": "antwort"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"t": entry}), encoding="utf-8")
    assert said(read([str(tmp_path / "dataset_info.json")])) == [("user", "x"), ("assistant", "y")]


def test_a_prompt_alone_is_text(tmp_path: Path) -> None:
    """That is how texts for pretraining are described."""
    reading = described(tmp_path, [{"body": "Once.", "label": 3}], {"columns": {"prompt": "body"}})
    [record] = reading.records
    assert isinstance(record, Plain)
    assert (record.text, record.extra) == ("Once.", '{"label":3}')


def test_preferences_are_not_learned_from(tmp_path: Path) -> None:
    """Rows with a ranking or a judgment are left to the dialects that know these."""
    row = {"instruction": "a", "output": "b", "kto_tag": False}
    columns = {"prompt": "instruction", "response": "output", "kto_tag": "kto_tag"}
    assert {kind_of(record) for record in described(tmp_path, [row], {"columns": columns}).records} == {"preference"}


def test_what_is_not_applied_is_said(tmp_path: Path) -> None:
    """A number of samples is drawn by LLaMA-Factory at random; here all rows are read."""
    row = {"instruction": "a", "output": "b"}
    assert described(tmp_path, [row], {"num_samples": 5}).evidence == (
        "'instruction' with 'output' in 1 of 1 rows; described as 'mine'; all rows are read, not 5 ('num_samples')"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("dataset_info.json", "It describes 5 data sets. Name one, for instance .*dataset_info.json#here"),
        ("dataset_info.json#heer", "There is no data set 'heer'; the nearest is 'here'"),
        ("dataset_info.json#scope", "It lies at a 'ms_hub_url', where nothing is read. Download it"),
        ("dataset_info.json#part", "It is a part of 'a/b' on the Hub, by subset and split. Name its files"),
        ("dataset_info.json#gone", "There is no such file"),
        ("dataset_info.json#odd", "There is no formatting 'shargpt'; the nearest is 'sharegpt'"),
        ("broken.json#x", "The descriptor is not JSON"),
    ],
)
def test_what_cannot_be_found_is_told(tmp_path: Path, path: str, message: str) -> None:
    """Each time with what to do."""
    entries = {
        "here": {"file_name": "a.json"},
        "scope": {"ms_hub_url": "a/b"},
        "part": {"hf_hub_url": "a/b", "subset": "en", "split": "train_sft"},
        "gone": {"file_name": "gone.json"},
        "odd": {"file_name": "a.json", "formatting": "shargpt"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(FormtuneError, match=message):
        read([str(tmp_path / path)])


def test_a_file_of_that_name_that_describes_nothing_is_data(tmp_path: Path) -> None:
    """So is one whose name has a number sign in it."""
    (tmp_path / "dataset_info.json").write_text('[{"instruction": "a", "output": "b"}]', encoding="utf-8")
    (tmp_path / "a#b.json").write_text('[{"instruction": "a", "output": "b"}]', encoding="utf-8")
    assert len(read([str(tmp_path / "dataset_info.json"), str(tmp_path / "a#b.json")]).records) == 2


def test_the_descriptor_and_the_data_are_digested(tmp_path: Path) -> None:
    """A manifest names both."""
    described(tmp_path, [{"instruction": "a", "output": "b"}], {})
    found = input_digests([f"{tmp_path}/dataset_info.json#mine", f"{tmp_path}/mine.json", "no_such_column"])
    assert sorted(Path(name).name for name in found) == ["dataset_info.json", "mine.json"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("identity", ("alpaca", 91)),
        ("alpaca_zh_demo", ("alpaca", 1000)),
        ("glaive_toolcall_en_demo", ("sharegpt", 300)),
        ("wiki_demo", ("plain", 12)),
        ("c4_demo", ("plain", 100)),
    ],
)
def test_real_data_are_read_as_described(shared: Path, name: str, found: tuple[str, int]) -> None:
    """LLaMA-Factory's own data sets by LLaMA-Factory's own descriptor."""
    reading = read([f"{shared}/instruct/llamafactory_demo/dataset_info.json#{name}"])
    assert ((reading.dialect, len(reading.records)), reading.left_out) == (found, [])
