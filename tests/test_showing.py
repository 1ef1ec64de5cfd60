"""What a preview says of one record: the text, and each token with its part, its weight and what it asks for."""

from typing import Any

import pytest
from tiny_models import tiny_folder
from tokenizer_folders import minilm_folder

from formtune.errors import DataError
from formtune.formats import infer_task, named
from formtune.records import Conversation, Labelled, Message, Origin, Plain
from formtune.showing import previewed

FINE = Labelled(id="1", inputs={"text": "一部好电影。"}, labels=("fresh",))
DULL = Labelled(id="2", inputs={"text": "Dull."}, labels=("rotten",))
BRIGHT = Labelled(id="4", inputs={"text": "Bright and warm."}, labels=("fresh",))
TIDE = Plain(id="3", text="The tide comes in twice a day and leaves shells on the sand of every beach.")


def seen(record: Labelled, format_: str, *, model: str | None) -> dict[str, Any]:
    """Give what ``preview --json`` prints."""
    task = infer_task([DULL, BRIGHT])
    return previewed(record, [named(format_)], task, model=model, out=None).to_dict()


def test_the_text_reads_as_a_person_writes_it() -> None:
    """Tokens may be parts of characters or begin with marks; the text is whole."""
    assert seen(FINE, "seq2seq", model=None)["text"] == "一部好电影。 => fresh</s>"
    found = seen(DULL, "masked_lm", model=str(minilm_folder()))
    assert found["text"] == "[CLS] dull. it was [MASK]. [SEP]"


def test_a_blank_says_what_it_asks_for() -> None:
    """The input holds the mask alone."""
    found = seen(DULL, "masked_lm", model=str(minilm_folder()))
    assert [token for token in found["tokens"] if token["weight"] > 0] == [
        {
            "id": 103,
            "text": "[MASK]",
            "part": "target",
            "weight": 1.0,
            "why": "what the model has to produce",
            "asks": "rotten",
        }
    ]


def test_a_preview_is_cut_as_training_cuts() -> None:
    """The content loses tokens, the answer none, and the count is told."""
    task = infer_task([DULL, BRIGHT])
    whole, cut = (previewed(BRIGHT, [named("seq2seq")], task, model=None, max_length=n, out=None) for n in (None, 20))
    assert len(cut["tokens"]) == 20
    assert cut["cut"] == len(whole["tokens"]) - 20
    assert cut["text"].endswith(" => fresh</s>")


def test_a_record_that_does_not_fit_is_refused() -> None:
    """Even without its content."""
    with pytest.raises(DataError, match="seq2seq: This record is longer than the model"):
        previewed(BRIGHT, [named("seq2seq")], infer_task([DULL, BRIGHT]), model=None, max_length=5, out=None)


def test_plain_text_is_shown_as_it_is_masked() -> None:
    """One draw of those that come anew each epoch, and not the text as if nothing were learned."""
    made = previewed(TIDE, [named("masked_lm")], infer_task([TIDE]), model=str(minilm_folder()), out=None)
    learned = [token for token in made["tokens"] if token["weight"] > 0]
    assert len(learned) == 3  # 15 % of 17 tokens of content
    assert made.shown[0].read_off == "read off places that are drawn anew each epoch"


def test_plain_text_on_an_encoder_decoder_is_shown_with_its_spans_cut_out() -> None:
    """The decoder writes what was cut out."""
    made = previewed(TIDE, [named("masked_lm")], infer_task([TIDE]), model=tiny_folder("t5"), out=None)
    assert "<extra_id_0>" in made["text"]
    assert any(token.weight > 0 for token in made.shown[0].decoder)


def test_every_format_that_is_asked_for_is_told() -> None:
    """Other programs read each; what stands beside the record is the first."""
    chosen = [named("seq2seq"), named("classification")]
    made = previewed(DULL, chosen, infer_task([DULL, BRIGHT]), model=None, out=None).to_dict()

    assert [(one["format"], one["text"], one["cut"]) for one in made["examples"]] == [
        ("seq2seq", "Dull. => rotten</s>", 0),
        ("classification", "Dull.", 0),
    ]
    assert [len(one["tokens"]) for one in made["examples"]] == [16, 5]
    assert {name: made[name] for name in ("format", "text", "tokens", "cut")} == made["examples"][0]


def test_what_a_chat_template_refuses_is_told_with_the_records_place() -> None:
    """The template sees a conversation and not its line."""
    talk = (Message("user", "Hello."), Message("assistant", "Good day."))
    odd = Conversation(talk, tools='[{"type": "function"}]', id="5", origin=Origin("talks.jsonl", 7))
    with pytest.raises(DataError, match=r"^talks\.jsonl:7: ") as refusal:
        previewed(odd, [named("chat")], infer_task([odd]), model=None, out=None)
    assert "the tools" in refusal.value.problem
