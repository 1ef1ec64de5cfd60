"""What other trainers would learn of a conversation, by the rules that they document."""

from pathlib import Path

import pytest
from tokenizer_folders import byte_with

from formtune.errors import DataError, SettingError
from formtune.examples import Example, Turn
from formtune.formats import infer_task, named
from formtune.peer_rules import PEER_RULES, PeerToken, peer_rule, peer_tokens
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
    """With its end token, and whatever weight the row gives it."""
    assert learned("llamafactory") == "No.</s>so 42</s>"


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
