"""What other trainers would learn of a conversation, by the rules that they document."""

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizer_folders import byte_with, smollm2

from formtune.errors import DataError, SettingError
from formtune.examples import Example, Segment, Turn
from formtune.formats import infer_task, named
from formtune.peer_rules import PEER_RULES, peer_rule
from formtune.peer_tokens import PeerToken, kept, peer_tokens
from formtune.records import Conversation, Labelled, Message, Span
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


def seen(name: str, turns: tuple[Turn, ...] = TURNS) -> list[PeerToken]:
    return peer_tokens(PEER_RULES[name], Example("x", "text", turns=turns), byte_with(CHATML))


def learned(name: str) -> str:
    return byte_with(CHATML).decode([token.id for token in seen(name) if token.weight > 0], skip_control=False)


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


def test_an_answer_apart_shares_no_token_with_what_stands_before_it() -> None:
    """A blank at its beginning goes with the line break of the template where the whole text is encoded."""
    example = Example("x", "text", turns=(Turn("user", "Hi"), Turn("assistant", "  Hello", weight=1.0)))
    texts = {
        name: [smollm2().token_text(t.id) for t in peer_tokens(PEER_RULES[name], example, smollm2())]
        for name in ("axolotl", "llamafactory")
    }
    assert ("\n " in texts["axolotl"], "\n " in texts["llamafactory"]) == (True, False)
    assert "".join(texts["axolotl"]) == "".join(texts["llamafactory"])


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
    turns = (Turn("user", "Hi"), Turn("user", "Well?"), Turn("assistant", "Yes.", weight=1.0))
    with pytest.raises(DataError, match=r"^LLaMA-Factory 0\.9\.5 leaves out a conversation in which"):
        seen("llamafactory", turns)
    assert seen("trl", turns)


@pytest.mark.parametrize("name", ["axolotl", "swift"])
def test_some_read_weights(name: str) -> None:
    """Of turns and of stretches."""
    assert learned(name) == "42</s>"


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
    made = previewed(talk, [named("chat")], infer_task([talk]), model=None, out=str(page), peer="trl")
    ours, theirs = made.to_dict()["examples"]
    assert (ours["format"], theirs["format"]) == ("chat", "as TRL 1.16 does")
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


def test_only_what_can_be_a_conversation_is_shown_as_a_trainer_has_it() -> None:
    """A labelled record becomes one by the format chat; plain text does not."""
    film = Labelled(id="1", inputs={"text": "Dull."}, labels=("rotten",))
    other = Labelled(id="2", inputs={"text": "Bright."}, labels=("fresh",))
    made = previewed(film, [named("seq2seq")], infer_task([film, other]), model=None, out=None, peer="swift")
    assert [one["format"] for one in made.to_dict()["examples"]] == ["seq2seq", "as ms-swift 4.6 does"]
    odd = Conversation((Message("user", "Hi"), Message("user", "Hi")), id="3")
    with pytest.raises(DataError, match="nothing to learn"):
        previewed(odd, [named("chat")], infer_task([talk_of("Hi")]), model=None, out=None, peer="swift")


def talk_of(said: str) -> Conversation:
    return Conversation((Message("user", said), Message("assistant", said)), id=said)
