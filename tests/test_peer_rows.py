"""What other trainers would learn of rows that are no messages, each by the layouts that it documents as its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizer_folders import byte_with, smollm2

from formtune import pipeline
from formtune.errors import SettingError
from formtune.examples import Example, Turn
from formtune.peer_rows import peer_row
from formtune.peer_rules import PEER_RULES
from formtune.peer_tokens import kept
from formtune.recipe import make_recipe
from formtune.records import Conversation, Message, Plain
from formtune.tokens import byte_tokenizer

HISTORY = [["Hi", "Hello."]]
ALPACA = {"system": "Be brief.", "instruction": "Well?", "input": "Really.", "output": "Yes.", "history": HISTORY}
QUERY = {"system": "Be brief.", "query": "Well?\nReally.", "response": "Yes.", "history": HISTORY}
SHARED = {
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hello."},
        {"from": "human", "value": "Well?\nReally."},
        {"from": "gpt", "value": "Yes."},
    ]
}
TALK = (
    "<s>system\nBe brief.</s>\n<s>user\nHi</s>\n<s>assistant\nHello.</s>\n"
    "<s>user\nWell?\nReally.</s>\n<s>assistant\nYes.</s>\n"
)
WORDING = "Below is an instruction that describes a task. Write a response that appropriately completes the request."


def taken(folder: Path, name: str, row: dict[str, object], *, format_: str = "chat") -> dict[str, Any]:
    """Preview one row as another trainer takes it, byte by byte."""
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    made = pipeline.preview(make_recipe({"data": {"paths": [str(path)]}, "formats": format_}), peers=[name])
    shown: dict[str, Any] = made.to_dict()["examples"][1]
    return shown


def texts(shown: dict[str, Any]) -> tuple[str, str]:
    """Give all that a trainer has of a row, and what is learned of that."""
    ids = [token["id"] for token in shown["tokens"]]
    learned = [token["id"] for token in shown["tokens"] if token["weight"] > 0]
    return tuple(byte_tokenizer().decode(found, skip_control=False) for found in (ids, learned))


def messages(*said: str, first: int = 0) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said, first)]


@pytest.mark.parametrize(
    ("completion", "learned", "last"),
    [
        (" Bern.", " Bern.</s>", "ends the completion"),
        ("Bern.</s>", "Bern.</s>", "typed in the data, and taken for a control token"),
    ],
)
def test_trl_learns_a_completion_alone(tmp_path: Path, completion: str, learned: str, last: str) -> None:
    """Of two texts, without a chat template; its end of text is put behind what does not end with it."""
    shown = taken(tmp_path, "trl", {"prompt": "The capital is", "completion": completion})
    assert texts(shown) == ("The capital is" + learned, learned)
    assert [shown["tokens"][place]["why"] for place in (0, -1)] == ["the prompt", last]
    assert "completion_only_loss" in shown["notes"][0]


def test_trl_learns_a_token_that_reaches_into_the_completion() -> None:
    """Prompt and completion are encoded together, and part where their ids do."""
    talk = Conversation((Message("user", "The capital is Ber"), Message("assistant", "n.")), id="1")
    row = peer_row(PEER_RULES["trl"], talk, smollm2(), dialect="prompt-completion", conversation=unasked)
    assert [(smollm2().token_text(token.id), token.weight) for token in row.tokens] == [
        ("The", 0.0),
        (" capital", 0.0),
        (" is", 0.0),
        (" Bern", 1.0),
        (".", 1.0),
        ("<|im_end|>", 1.0),
    ]


def unasked() -> Example:
    raise AssertionError("no conversation is needed")


def test_trl_learns_all_of_a_completion_of_messages(tmp_path: Path) -> None:
    """What the user says in it too, and what the template writes around it; nothing of the prompt, not its answers."""
    prompt, completion = messages("Hi", "Hello.", "Well?"), messages("Yes.", "Sure?", "No.", first=1)
    whole, learned = texts(taken(tmp_path, "trl", {"prompt": prompt, "completion": completion}))
    assert learned == "Yes.</s>\n<s>user\nSure?</s>\n<s>assistant\nNo.</s>\n"
    assert whole == "<s>user\nHi</s>\n<s>assistant\nHello.</s>\n<s>user\nWell?</s>\n<s>assistant\n" + learned


def test_trl_leaves_out_a_row_whose_prompt_is_too_long(tmp_path: Path) -> None:
    """Of which nothing is left to learn; one that is a token shorter keeps one."""
    assert taken(tmp_path, "trl", {"prompt": "x" * 1024, "completion": "y"})["tokens"] == []
    shown = taken(tmp_path, "trl", {"prompt": "x" * 1023, "completion": "y"})
    assert texts(shown)[1] == "y"
    assert shown["cut"] == 1


def test_messages_in_a_file_of_texts_are_told_not_to_be_held(tmp_path: Path) -> None:
    """TRL goes by the first row."""
    text = {"prompt": "Hi", "completion": "Hello."}
    talk = {"prompt": messages("Hi", "Hello.", "Well?"), "completion": messages("Yes.", first=1)}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (text, text, talk)), encoding="utf-8")
    recipe = make_recipe({"data": {"paths": [str(path)]}, "formats": "chat"})
    shown = pipeline.preview(recipe, record=3, peers=["trl"]).to_dict()["examples"][1]
    assert "is not held against it" in shown["notes"][0]


@pytest.mark.parametrize("name", ["trl", "axolotl"])
@pytest.mark.parametrize(("text", "end"), [("A <s> fine day.\n", "</s>"), ("So.</s>", "")])
def test_a_text_is_learned_whole(tmp_path: Path, name: str, text: str, end: str) -> None:
    """By TRL and axolotl, with an end of text unless it has one."""
    shown = taken(tmp_path, name, {"text": text}, format_="completion")
    assert texts(shown) == (text + end, text + end)


def test_axolotl_loses_nothing_of_a_text_but_what_is_very_long() -> None:
    """It is cut into rows of 512 tokens, up to 64 of them; TRL takes one row."""
    text = Plain(text="x" * 40_000, id="1")
    left = {
        name: len(kept(row.rule, row.tokens))
        for name in ("trl", "axolotl")
        for row in [peer_row(PEER_RULES[name], text, byte_tokenizer(), dialect="plain", conversation=unasked)]
    }
    assert left == {"trl": 1024, "axolotl": 32_768}


@pytest.mark.parametrize("name", ["llamafactory", "swift"])
def test_a_text_is_no_conversation(tmp_path: Path, name: str) -> None:
    """What is not held of it is not shown."""
    with pytest.raises(SettingError, match=r"^--as: What .* learns of plain text is not held.* from trl, axolotl\.$"):
        taken(tmp_path, name, {"text": "A fine day."}, format_="completion")


@pytest.mark.parametrize(
    ("name", "row"),
    [("llamafactory", ALPACA), ("llamafactory", SHARED), ("swift", ALPACA), ("swift", SHARED), ("swift", QUERY)],
)
def test_exchanges_are_learned_as_conversations_are(tmp_path: Path, name: str, row: dict[str, object]) -> None:
    """Those of Alpaca, ShareGPT and queries with responses: every answer, the history's too."""
    shown = taken(tmp_path, name, row)
    assert texts(shown) == (TALK, "Hello.</s>\nYes.</s>\n")
    assert not any("is not held against it" in note for note in shown["notes"])
    assert any("dataset_info.json" in note for note in shown["notes"]) == (name == "llamafactory")


@pytest.mark.parametrize("more", [{}, {"input": ""}, {"input": "", "system": "Be brief.", "history": HISTORY}])
def test_axolotl_words_an_instruction_as_alpaca_did(tmp_path: Path, more: dict[str, object]) -> None:
    """It reads neither system text nor history; the output is learned, with the end of text."""
    shown = taken(tmp_path, "axolotl", {"instruction": "Well?", "output": "Yes.", **more})
    assert texts(shown) == (f"{WORDING}\n\n### Instruction:\nWell?\n\n### Response:\nYes.</s>", "Yes.</s>")


def test_axolotl_is_not_guessed_where_an_instruction_may_have_an_input(tmp_path: Path) -> None:
    """Its wording is another then, and the record does not say where the input begins."""
    shown = taken(tmp_path, "axolotl", {"instruction": "Well?", "input": "Really.", "output": "Yes."})
    assert "is not held against it" in shown["notes"][0]
    assert texts(shown) == ("<s>user\nWell?\nReally.</s>\n<s>assistant\nYes.</s>\n", "Yes.</s>")


def test_axolotl_learns_segments_by_their_labels(tmp_path: Path) -> None:
    """Nothing is put around or between them."""
    parts = [(False, "Q: "), (True, "Hm.\n"), (False, "A:"), (True, " Yes.</s>")]
    row = {"segments": [{"label": label, "text": text} for label, text in parts]}
    assert texts(taken(tmp_path, "axolotl", row)) == ("Q: Hm.\nA: Yes.</s>", "Hm.\n Yes.</s>")


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("trl", ALPACA),
        ("trl", SHARED),
        ("llamafactory", QUERY),
        ("llamafactory", {"prompt": "Hi", "completion": "Hello."}),
        ("axolotl", SHARED),
        ("swift", {"prompt": messages("Hi"), "completion": messages("Hello.", first=1)}),
    ],
)
def test_a_layout_that_is_not_held_is_told(tmp_path: Path, name: str, row: dict[str, object]) -> None:
    """What is shown is what would be learned of the same words as messages."""
    note, *others = taken(tmp_path, name, row)["notes"]
    assert "is not held against it, and not shown" in note
    assert others[:-1] == list(PEER_RULES[name].notes)


def test_what_a_tokenizer_puts_around_a_text_is_shown() -> None:
    """Once, before the prompt, and not learned with a completion."""
    tokenizer = byte_with("{{ messages }}")
    tokenizer.prefix_ids = (0,)
    talk = Conversation((Message("user", "a"), Message("assistant", "b")), id="1")
    rows = {
        name: peer_row(PEER_RULES[name], talk, tokenizer, dialect=dialect, conversation=unasked).tokens
        for name, dialect in (("trl", "prompt-completion"), ("axolotl", "alpaca"))
    }
    for tokens in rows.values():
        assert [token.weight for token in tokens[-3:]] == [0.0, 1.0, 1.0]
        assert (tokens[0].id, tokens[0].weight) == (0, 0.0)
        assert sum(token.id == 0 for token in tokens) == 1
        assert tokens[0].why == "put around a text by the tokenizer"


def test_a_completion_without_a_weight_is_told_not_to_be_held() -> None:
    """TRL reads no weights, and where the completion began is not known then."""
    example = Example("x", "text", turns=(Turn("user", "Hi"), Turn("assistant", "No.")))
    talk = Conversation((Message("user", "Hi"), Message("assistant", "No.", weight=0.0)), id="1")
    asked = {"dialect": "trl-prompt-completion", "conversation": lambda: example}
    row = peer_row(PEER_RULES["trl"], talk, byte_tokenizer(), **asked)
    assert "is not held against it" in row.rule.notes[0]
