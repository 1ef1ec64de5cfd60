"""What other trainers would learn of a conversation, by the rules that they document."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizer_folders import byte_with, smollm2

from formtune import pipeline
from formtune.errors import DataError, SettingError
from formtune.examples import Example, Segment, Turn
from formtune.formats import infer_task, named
from formtune.peer_rules import PEER_RULES, peer_rule
from formtune.peer_tokens import PeerToken, kept, peer_tokens
from formtune.recipe import make_recipe
from formtune.records import Conversation, Labelled, Message, Span
from formtune.reports import console_example
from formtune.showing import previewed

CHATML = (
    "{% for m in messages %}{{ bos_token + m.role + '\\n' + m.content + eos_token + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant\\n' }}{% endif %}"
)
TURNS = (
    Turn("user", "Hi"),
    Turn("assistant", "No.", weight=0.0),
    Turn("user", "So </s>?"),
    Turn("assistant", "so 42", weight=1.0, spans=(Span(3, 5, 1.0),)),
)


HI, NO, WELL, YES = (
    Turn("user", "Hi"),
    Turn("assistant", "No.", weight=1.0),
    Turn("user", "Well?"),
    Turn("assistant", "Yes.", weight=1.0),
)


def seen(name: str, turns: tuple[Turn, ...] = TURNS, dialect: str | None = None) -> list[PeerToken]:
    return peer_tokens(PEER_RULES[name], Example("x", "text", turns=turns), byte_with(CHATML), dialect=dialect)


def learned(name: str, turns: tuple[Turn, ...] = TURNS, dialect: str | None = None) -> str:
    tokens = seen(name, turns, dialect)
    return byte_with(CHATML).decode([token.id for token in tokens if token.weight > 0], skip_control=False)


def unlearned(turn: Turn) -> Turn:
    return replace(turn, weight=0.0)


def test_trl_learns_every_token() -> None:
    """What the user says too."""
    text = "<s>user\nHi</s>\n<s>assistant\nNo.</s>\n<s>user\nSo </s>?</s>\n<s>assistant\nso 42</s>\n"
    assert learned("trl") == text


def test_llamafactory_learns_every_turn_of_the_assistant() -> None:
    """With its end token and the line break behind that, and whatever weight the row gives it."""
    assert learned("llamafactory") == "No.</s>\nso 42</s>\n"
    assert [t.why for t in seen("llamafactory") if t.weight][
        -1
    ] == "stands behind the assistant's turn, and counts to it"


def test_a_blank_before_an_answer_goes_with_it_or_with_what_stands_before_it() -> None:
    """It merges with the line break of the template where the whole text is encoded; axolotl learns that token."""
    example = Example("x", "text", turns=(Turn("user", "Hi"), Turn("assistant", "  Hello", weight=1.0)))
    tokens = {
        name: [(smollm2().token_text(t.id), t.weight > 0) for t in peer_tokens(rule, example, smollm2())]
        for name, rule in PEER_RULES.items()
    }
    assert tokens["trl"] == [(text, True) for text, _ in tokens["axolotl"]]
    assert tokens["axolotl"][-4:] == [("\n ", True), (" Hello", True), ("<|im_end|>", True), ("\n", False)]
    assert tokens["swift"][-5:] == [("\n", False), (" ", True), (" Hello", True), ("<|im_end|>", True), ("\n", True)]
    assert tokens["llamafactory"] == tokens["swift"]


@pytest.mark.parametrize(
    ("lengths", "left"),
    [
        ([(30, 10)], (30, 10)),  # it fits
        ([(100, 10)], (40, 10)),  # a short answer stays whole
        ([(10, 100)], (10, 40)),  # so does a short question
        ([(100, 300)], (13, 37)),  # both lose in proportion
        ([(10, 10), (10, 100)], (20, 30)),  # of what is left
        ([(20, 30), (5, 5)], (20, 30)),  # later turns find no room
    ],
)
def test_a_long_row_loses_the_ends_of_its_turns(lengths: list[tuple[int, int]], left: tuple[int, int]) -> None:
    """Questions and answers that remain of 50 tokens, as LLaMA-Factory cuts them."""
    rule = replace(PEER_RULES["llamafactory"], capacity=50)
    segment = Segment("x", "content")
    tokens = [
        PeerToken(0, weight, "", segment)
        for pair in lengths
        for weight, n_tokens in zip((0.0, 1.0), pair, strict=True)
        for _ in range(n_tokens)
    ]
    found = kept(rule, tokens)
    assert (sum(not token.weight for token in found), sum(token.weight > 0 for token in found)) == left
    assert kept(replace(rule, loses="end"), tokens) == tokens[:50]
    assert kept(replace(rule, loses="row"), tokens) == (tokens if len(tokens) <= 50 else [])


def test_a_row_that_a_trainer_leaves_out_is_told() -> None:
    """LLaMA-Factory takes only turns; others render what the template renders."""
    with pytest.raises(DataError, match=r"^LLaMA-Factory 0\.9\.5 leaves out a conversation in which"):
        seen("llamafactory", (HI, WELL, YES))
    assert seen("trl", (HI, WELL, YES))


@pytest.mark.parametrize(
    ("name", "is_kept"), [("trl", True), ("llamafactory", False), ("axolotl", True), ("swift", False)]
)
def test_a_system_text_stands_first(name: str, is_kept: bool) -> None:
    """Further on, some leave its row out."""
    later = (HI, NO, Turn("system", "Be brief."), WELL, YES)
    with nullcontext() if is_kept else pytest.raises(DataError, match="leaves out a conversation"):
        assert seen(name, later)
    assert seen(name, (later[2], HI, NO, WELL, YES))


@pytest.mark.parametrize("name", ["llamafactory", "axolotl", "swift"])
@pytest.mark.parametrize("dialect", ["messages", "axolotl", "swift", None])
def test_a_weight_is_read_under_the_key_of_the_tool(name: str, dialect: str | None) -> None:
    """Swift reads its own; axolotl reads train only where its configuration says so."""
    is_read = (name, dialect) == ("swift", "swift")
    assert ("No." in learned(name, (HI, unlearned(NO), WELL, YES), dialect)) != is_read


@pytest.mark.parametrize(("key", "n_learned"), [("weight", 2), ("train", 2), ("loss", 1)])
def test_a_preview_knows_whose_key_a_row_has(tmp_path: Path, key: str, n_learned: int) -> None:
    """The command reads the row's dialect, and swift's own alone says what swift learns."""
    said = [("user", "Hi", {}), ("assistant", "No.", {key: False}), ("user", "Well?", {}), ("assistant", "Yes.", {})]
    row = {"messages": [{"role": role, "content": text, **mark} for role, text, mark in said]}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    made = pipeline.preview(make_recipe({"data": {"paths": [str(path)]}, "formats": "chat"}), peers=["swift"])
    theirs = made.to_dict()["examples"][1]["tokens"]
    assert sum(token["why"] == "ends the assistant's turn" for token in theirs) == n_learned


def test_a_factor_counts_as_whole_to_swift() -> None:
    """And a stretch of a text has no weight of its own."""
    turns = (HI, replace(NO, weight=0.5, spans=(Span(0, 1, 1.0),)))
    assert [(token.weight, token.why) for token in seen("swift", turns, "swift")][-5:] == [
        *[(1.0, "the assistant's turn")] * 3,
        (1.0, "ends the assistant's turn"),
        (1.0, "stands behind the assistant's turn, and counts to it"),
    ]


def test_swift_learns_how_the_last_turn_ends() -> None:
    """Whatever the row says of the turn; an earlier end goes with its turn."""
    assert learned("swift", (HI, NO, WELL, unlearned(YES)), "swift") == "No.</s>\n</s>\n"
    assert learned("swift", (HI, unlearned(NO), WELL, YES), "swift") == "Yes.</s>\n"


def test_swift_ends_a_row_once() -> None:
    """Where the answer has typed the end, there is no other; an earlier answer gets both."""
    typed = replace(NO, content="</s>")
    tokens = seen("swift", (HI, typed), "swift")
    assert [token.why for token in tokens if token.weight] == ["typed in the data, and taken for a control token"]
    assert tokens[-1].weight == 1.0
    assert learned("swift", (HI, typed, WELL, YES)) == "</s></s>\nYes.</s>\n"


@pytest.mark.parametrize(
    ("name", "text"), [("axolotl", "Yes.</s>"), ("swift", "Yes.</s>\n"), ("llamafactory", "</s>\nYes.</s>\n")]
)
def test_a_turn_without_text_is_learned_or_not(name: str, text: str) -> None:
    """Axolotl and swift do not find it, and learn not even its end."""
    assert learned(name, (HI, replace(NO, content=""), WELL, YES)) == text


@pytest.mark.parametrize(
    ("turns", "text", "left"),
    [
        ((HI, WELL, NO), "<s>user\nHiWell?</s>\n<s>assistant\nNo.</s>\n", "No.</s>\n"),
        ((HI, NO, YES), "<s>user\nHi</s>\n<s>assistant\nNo.Yes.</s>\n", "No.Yes.</s>\n"),
        ((HI, unlearned(NO), YES), "<s>user\nHi</s>\n<s>assistant\nNo.Yes.</s>\n", "Yes.</s>\n"),
        (
            (HI, NO, unlearned(YES), WELL, NO),
            "<s>user\nHi</s>\n<s>assistant\nNo.Yes.</s>\n<s>user\nWell?</s>\n<s>assistant\nNo.</s>\n",
            "No.No.</s>\n",
        ),
        ((NO,), "<s>user\n</s>\n<s>assistant\nNo.</s>\n", "No.</s>\n"),
    ],
)
def test_swift_joins_turns_of_one_speaker(turns: tuple[Turn, ...], text: str, left: str) -> None:
    """Each part is learned as its own turn says, and the end as the last; who answers first is asked nothing."""
    tokens = seen("swift", turns, "swift")
    assert byte_with(CHATML).decode([token.id for token in tokens], skip_control=False) == text
    assert learned("swift", turns, "swift") == left


def test_results_of_tools_follow_each_other() -> None:
    """They are no turns of one speaker that swift would join."""
    template = byte_with(CHATML.replace("m.content", "m.content + (m.tool_calls | default('') | string)"))
    call = replace(NO, tool_calls='[{"type":"function","function":{"name":"f","arguments":{}}}]')
    turns = (HI, call, Turn("tool", "1"), Turn("tool", "2"), YES)
    tokens = peer_tokens(PEER_RULES["swift"], Example("x", "text", turns=turns), template)
    assert "<s>tool\n1</s>\n<s>tool\n2</s>\n" in template.decode([token.id for token in tokens], skip_control=False)


def test_axolotl_learns_an_end_that_is_the_end_of_text() -> None:
    """Another token that ends turns is not learned, and said to be the assistant's."""
    tokens = seen("axolotl", (HI, NO))
    assert tokens[-2].weight == 1.0
    other = byte_with(CHATML.replace("eos_token", "bos_token"))
    tokens = peer_tokens(PEER_RULES["axolotl"], Example("x", "text", turns=(HI, NO)), other)
    assert [(other.token_text(t.id), t.weight, t.why) for t in tokens[-3:-1]] == [
        (".", 1.0, "the assistant's turn"),
        ("<s>", 0.0, "the assistant's, and not learned"),
    ]


@pytest.mark.parametrize(
    ("name", "is_read"), [("trl", True), ("llamafactory", False), ("axolotl", True), ("swift", False)]
)
def test_reasoning_in_a_field_of_its_own_is_read_or_not(name: str, is_read: bool) -> None:
    """By the tools that hand the whole message to the template."""
    template = CHATML.replace("m.content", "(m.reasoning_content or '') + m.content")
    turns = (HI, replace(NO, thinking="Hm."))
    tokens = peer_tokens(PEER_RULES[name], Example("x", "text", turns=turns), byte_with(template))
    text = byte_with(template).decode([token.id for token in tokens], skip_control=False)
    assert ("Hm." in text) == is_read


def test_a_row_may_be_as_long_as_the_tool_or_the_model_says() -> None:
    """Axolotl takes 512 tokens unless told otherwise, swift what the model reads."""
    token = PeerToken(0, 1.0, "", Segment("x", "content"))
    assert len(kept(PEER_RULES["axolotl"], [token] * 512, readable=100)) == 512
    assert kept(PEER_RULES["axolotl"], [token] * 513) == []
    assert len(kept(PEER_RULES["swift"], [token] * 513)) == 513
    assert len(kept(PEER_RULES["swift"], [token] * 100, readable=100)) == 100
    assert kept(PEER_RULES["swift"], [token] * 101, readable=100) == []


@pytest.mark.parametrize("name", PEER_RULES)
def test_what_is_typed_becomes_a_control_token_there(name: str) -> None:
    """And the reason says so."""
    typed = [token for token in seen(name) if token.why == "typed in the data, and taken for a control token"]
    assert [byte_with(CHATML).token_text(token.id) for token in typed] == ["</s>"]


@pytest.mark.parametrize("name", PEER_RULES)
def test_every_rule_tells_its_reasons(name: str) -> None:
    """Each token has one, and each rule where it is documented."""
    assert all(token.why for token in seen(name))
    rule = PEER_RULES[name]
    assert rule.notes
    assert all(note.endswith(".") for note in rule.notes)
    assert rule.reference


def test_a_trainer_that_is_not_known_is_told() -> None:
    """With the nearest."""
    with pytest.raises(SettingError, match=r"--as: There is no trainer 'tlr'; the nearest is 'trl'"):
        peer_rule("tlr")


def test_a_preview_shows_ours_and_theirs(tmp_path: Path) -> None:
    """Side by side, in the terminal's values and on the page, each token with its reason."""
    talk = Conversation((Message("user", "Hi " + "long " * 300), Message("assistant", "Hello.")), id="1")
    page = tmp_path / "seen.html"
    made = previewed(talk, [named("chat")], infer_task([talk]), model=None, out=str(page), peers=["trl", "axolotl"])
    ours, theirs, others = made.to_dict()["examples"]
    assert [one["format"] for one in (ours, theirs, others)] == ["chat", "as TRL 1.16 does", "as axolotl 0.19 does"]
    assert {token["why"] for token in ours["tokens"] if token["weight"]} == {
        "what the model has to produce",
        "ends what the model produces",
    }
    assert len(theirs["tokens"]) == 1024
    assert theirs["cut"] > 0
    assert "assistant_only_loss" in theirs["notes"][0]
    html = page.read_text(encoding="utf-8")
    assert "not the assistant&#39;s, and learned all the same" in html
    assert "as TRL 1.16 does" in html
    assert "as axolotl 0.19 does" in html
    assert f"dropped with all its {others['cut']:,} tokens" in html  # and the page is whole though it has none
    assert "dropped with all its" in str(console_example(made.shown[-1]).renderables[0])


def test_only_what_can_be_a_conversation_is_shown_as_a_trainer_has_it() -> None:
    """A labelled record becomes one by the format chat; plain text does not."""
    film = Labelled(id="1", inputs={"text": "Dull."}, labels=("rotten",))
    other = Labelled(id="2", inputs={"text": "Bright."}, labels=("fresh",))
    made = previewed(film, [named("seq2seq")], infer_task([film, other]), model=None, out=None, peers=["swift"])
    assert [one["format"] for one in made.to_dict()["examples"]] == ["seq2seq", "as ms-swift 4.6 does"]
    odd = Conversation((Message("user", "Hi"), Message("user", "Hi")), id="3")
    with pytest.raises(DataError, match="nothing to learn"):
        previewed(odd, [named("chat")], infer_task([talk_of("Hi")]), model=None, out=None, peers=["swift"])


def talk_of(said: str) -> Conversation:
    return Conversation((Message("user", said), Message("assistant", said)), id=said)
