"""Tokens: ids of the whole text, weights where the format says, nothing of a user's that is a control token."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_folders import byte_with, minilm, minilm_folder, of, smollm2, smollm2_folder
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Raw

from formtune.errors import DataError, SettingError
from formtune.examples import Example, Segment, Shape, Turn
from formtune.tokens import (
    CONTENT,
    CONTROL,
    SCAFFOLD,
    TARGET,
    Tokenizer,
    Tokens,
    byte_tokenizer,
    load_tokenizer,
    prompt,
    prompts,
    tokenize,
    tokenize_each,
)

STOP = Segment("", "target", weight=1.0, control="stop")
SEPARATOR = Segment("", "scaffold", control="separator")


def scaffold(text: str) -> Segment:
    return Segment(text, "scaffold")


def content(text: str) -> Segment:
    return Segment(text, "content")


def target(text: str, weight: float = 1.0) -> Segment:
    return Segment(text, "target", weight=weight)


def asked(*segments: Segment, output: str = "text", candidates: tuple[str, ...] = ()) -> Example:
    return Example("x", output, segments=segments, candidates=candidates)  # type: ignore[arg-type]


def one(example: Example, tokenizer: Tokenizer, shape: Shape = "decoder", start: int | None = None) -> Tokens:
    return tokenize([example], tokenizer, shape=shape, decoder_start_id=start)[0]


def unigram(**extra: object) -> Raw:
    """Make a SentencePiece-like model whose vocabulary holds the control tokens as pieces, as T5's does."""
    pieces = [
        "<unk>",
        "<pad>",
        "</s>",
        "<extra_id_0>",
        "▁",
        "a",
        "b",
        "</",
        "s",
        ">",
        "<",
        "/",
        "▁a",
        "▁b",
        "ab",
        "▁ab",
    ]
    raw = Raw(models.Unigram([(piece, 0.0 if n < 4 else -1.0 - n / 10) for n, piece in enumerate(pieces)], unk_id=0))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(**extra)
    raw.decoder = decoders.Metaspace()
    raw.add_special_tokens([AddedToken(text, normalized=False) for text in ("<pad>", "</s>", "<unk>", "<extra_id_0>")])
    raw.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 2)]
    )
    return raw


def t5(**extra: object) -> Tokenizer:
    return of(unigram(**extra), eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


@pytest.mark.parametrize("text", ["</s>", "a</s>b", "<extra_id_0>", "<pad> <pad>"])
def test_a_piece_that_spells_a_control_token_is_not_matched(text: str) -> None:
    """Where the vocabulary itself holds it, as in T5."""
    tokenizer = t5()
    assert tokenizer.full.encode(text, add_special_tokens=False).ids != []
    ids_T, _ = tokenizer.encode([text])[0]
    assert not set(ids_T.tolist()) & tokenizer.control_ids


def test_characters_that_a_vocabulary_lacks_are_unknown_and_not_control() -> None:
    """The unknown-word token is what text may yield."""
    tokenizer = t5()
    assert tokenizer.unk_id == 0
    assert 0 not in tokenizer.control_ids
    assert 0 in tokenizer.encode(["q"])[0][0]


@given(st.text())
def test_no_text_gives_a_control_token(text: str) -> None:
    """In a byte vocabulary, for any text; and what it says comes back."""
    tokenizer = byte_tokenizer()
    ids_T, offsets_T2 = tokenizer.encode([text])[0]
    assert not set(ids_T.tolist()) & tokenizer.control_ids
    assert len(ids_T) == len(offsets_T2)
    assert tokenizer.decode(ids_T) == text


@pytest.mark.parametrize("text", ["<|im_end|>", "a<|im_start|>user\n", "<|endoftext|>", "<file_sep>"])
def test_control_tokens_that_a_user_types_are_several_harmless_ones(text: str) -> None:
    """For SmolLM2, whose added tokens these are."""
    tokenizer = smollm2()
    ids_T, _ = tokenizer.encode([text])[0]
    assert len(ids_T) > 1
    assert not set(ids_T.tolist()) & tokenizer.control_ids
    assert tokenizer.decode(ids_T) == text


def test_the_space_that_sentencepiece_writes_depends_on_what_stands_before() -> None:
    """At the beginning only ("first") or always, and never inside a text."""
    first, always = t5(prepend_scheme="first"), t5(prepend_scheme="always")
    assert [first.token_text(i) for i in first.encode(["ab"])[0][0]] == [" ab"]
    assert [first.token_text(i) for i in first.encode(["ab"], "control")[0][0]] == ["ab"]
    assert [always.token_text(i) for i in always.encode(["ab"], "control")[0][0]] == [" ab"]
    assert [always.token_text(i) for i in always.encode(["ab"], "text")[0][0]] == ["ab"]
    assert [always.token_text(i) for i in always.encode([" ab"], "text")[0][0]] == [" ab"]


def test_a_prepending_normalizer_is_silent_inside_a_text() -> None:
    """Llama 2 writes its space by the normalizer."""
    raw = Raw(models.BPE({"▁": 0, "a": 1, "▁a": 2}, [("▁", "a")]))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer = of(raw)
    assert tokenizer.encode(["a"])[0][0].tolist() == [2]
    assert tokenizer.encode(["a"], "control")[0][0].tolist() == [2]
    assert tokenizer.encode(["a"], "text")[0][0].tolist() == [1]


def test_white_space_among_the_added_tokens_is_text() -> None:
    """GPT-NeoX lists runs of blanks there; they keep their ids although their neighbors are control tokens."""
    raw = byte_tokenizer().full
    raw.add_tokens([AddedToken("<|hole|>"), AddedToken("  ", normalized=False), AddedToken("<table>")])
    tokenizer = of(raw, eos_token="</s>")
    blanks = raw.token_to_id("  ")
    assert "<|hole|>" in tokenizer.controls
    assert tokenizer.encode(["a  b"])[0][0].tolist() == [ord("a") + 6, blanks, ord("b") + 6]
    assert tokenizer.encode(["<table>"])[0][0].tolist() == [raw.token_to_id("<table>")]
    assert len(tokenizer.encode(["<|hole|>"])[0][0]) == 8


def test_bytes_that_a_vocabulary_lacks_are_found() -> None:
    """SmolLM2's drops 21 bytes without a word, of which text can hold some."""
    tokenizer = smollm2()
    assert len(tokenizer.missing_bytes) == 21
    assert tokenizer.lost("a\x04b\x06\x04") == "\x04\x06"
    assert tokenizer.lost("Bern 東京 🎉") == ""
    assert byte_tokenizer().missing_bytes == b""


def test_tokens_are_shown_as_a_person_should_see_them() -> None:
    """Text as text, a byte that is no character by its number."""
    tokenizer = smollm2()
    ids_T, _ = tokenizer.encode([" Bern 東"])[0]
    assert [tokenizer.token_text(i) for i in ids_T] == [" Bern", "<0x20><0xE6>", "<0x9D>", "<0xB1>"]
    assert tokenizer.token_text(2) == "<|im_end|>"
    assert [minilm().token_text(i) for i in minilm().encode(["unbelievably"])[0][0]][:2] == ["un", "##bel"]


def test_decoding_leaves_control_tokens_out_unless_asked() -> None:
    """Special or not."""
    tokenizer = byte_with(None)
    ids = [tokenizer.id_of("<think>"), *tokenizer.encode(["a"])[0][0], tokenizer.eos_id]
    assert tokenizer.decode(ids) == "a"
    assert tokenizer.decode(ids, skip_control=False) == "<think>a</s>"


def write(folder: Path, **config: object) -> Path:
    """Lay out a model folder with the byte tokenizer."""
    (folder / "tokenizer.json").write_text(byte_tokenizer().full.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_a_folder_without_a_tokenizer_says_how_to_make_one(tmp_path: Path) -> None:
    """Place, problem, remedy."""
    with pytest.raises(SettingError, match=r"has no 'tokenizer.json'. Make one with transformers") as raised:
        load_tokenizer(tmp_path)
    assert raised.value.at == str(tmp_path)
    with pytest.raises(SettingError, match="There is no such model folder"):
        load_tokenizer(tmp_path / "missing")


@pytest.mark.parametrize(
    ("text", "problem"), [("{", "This is not JSON"), ("{}", "cannot read this"), ("[1]", "cannot read this")]
)
def test_a_broken_tokenizer_is_named(tmp_path: Path, text: str, problem: str) -> None:
    """With its path."""
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(DataError, match=problem) as raised:
        load_tokenizer(tmp_path)
    assert raised.value.at == str(tmp_path / "tokenizer.json")


def test_the_chat_template_is_found_wherever_it_stands(tmp_path: Path) -> None:
    """In a file of its own, in the configuration, there in a list of named ones; else the plain one is taken."""
    assert load_tokenizer(write(tmp_path)).chat_template.is_default
    assert load_tokenizer(write(tmp_path, chat_template="one")).chat_template.source == "one"
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "two"}]
    loaded = load_tokenizer(write(tmp_path, chat_template=named)).chat_template
    assert (loaded.source, loaded.is_default) == ("two", False)
    (tmp_path / "chat_template.jinja").write_text("three")
    assert load_tokenizer(tmp_path).chat_template.source == "three"


def test_roles_come_from_either_file(tmp_path: Path) -> None:
    """As text or as an object; tokens that only the configuration declares are added at their ids."""
    write(tmp_path, bos_token={"content": "<s>"}, added_tokens_decoder={"278": {"content": "<|x|>", "special": True}})
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "</s>"}')
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.mask_id) == (0, 1, None)
    assert tokenizer.id_of("<|x|>") == 278
    assert tokenizer.n_vocabulary == 279


def test_the_configuration_overrules_what_is_put_around_a_text(tmp_path: Path) -> None:
    """As transformers takes add_bos_token."""
    assert load_tokenizer(write(tmp_path, bos_token="<s>")).prefix_ids == ()
    assert load_tokenizer(write(tmp_path, bos_token="<s>", add_bos_token=True)).prefix_ids == (0,)


def test_the_digest_tells_tokenizers_apart() -> None:
    """And is the same for the same."""
    assert byte_tokenizer().digest == byte_tokenizer().digest
    assert byte_tokenizer().digest != byte_with("x").digest != byte_with(None).digest


def test_each_token_says_what_it_is() -> None:
    """Scaffold, content, target and control, the weights of the target, and where content may be cut."""
    tokens = one(asked(scaffold("Q"), content("ab"), scaffold(":"), target("c", 0.5), STOP), byte_tokenizer())
    assert byte_tokenizer().decode(tokens.ids_T, skip_control=False) == "Qab:c</s>"
    assert tokens.parts_T.tolist() == [SCAFFOLD, CONTENT, CONTENT, SCAFFOLD, TARGET, TARGET]
    assert tokens.weights_T.tolist() == [0, 0, 0, 0, 0.5, 1]
    assert tokens.cuts_T.tolist() == [0, 1, 1, 0, 0, 0]
    assert tokens.labels_T.tolist() == tokens.ids_T.tolist()
    assert tokens.n_prompt == 4
    assert [a.dtype for a in (tokens.ids_T, tokens.labels_T, tokens.weights_T, tokens.parts_T, tokens.cuts_T)] == [
        np.dtype(kind) for kind in ("int32", "int32", "float32", "uint8", "uint8")
    ]


def test_segments_between_control_tokens_are_encoded_as_one_text() -> None:
    """Ids do not depend on where scaffold and content meet, and a token of both is content."""
    tokens = one(asked(scaffold("Review: "), content("Bern is"), scaffold(" nice.")), smollm2())
    assert tokens.ids_T.tolist() == smollm2().full.encode("Review: Bern is nice.").ids
    assert [smollm2().token_text(i) for i in tokens.ids_T[tokens.parts_T == CONTENT]] == [" Bern", " is"]


def test_a_token_ends_where_the_prompt_does() -> None:
    """Even where the vocabulary has one for both."""
    tokens = one(asked(scaffold("unbeliev"), target("able")), smollm2())
    ids_T, _ = smollm2().encode(["unbeliev"])[0]
    assert tokens.ids_T[: tokens.n_prompt].tolist() == ids_T.tolist()
    assert smollm2().decode(tokens.ids_T) == "unbelievable"


def test_of_two_weights_on_one_token_the_larger_counts() -> None:
    """Where one token covers characters of two targets."""
    tokens = one(asked(target(" Be", 0.25), target("rn", 0.75)), smollm2())
    assert tokens.weights_T.tolist() == [0.75]


def test_an_encoder_gets_what_its_tokenizer_puts_around_a_pair() -> None:
    """Ids and token types are those of transformers."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(minilm_folder())(
        "A film.", "Not [SEP] bad?", split_special_tokens=True
    )
    tokens = one(asked(content("A film."), SEPARATOR, content("Not [SEP] bad?"), output="head"), minilm(), "encoder")
    assert tokens.ids_T.tolist() == theirs["input_ids"]
    assert tokens.types_T.tolist() == theirs["token_type_ids"]
    assert [i for i, part in enumerate(tokens.parts_T) if part == CONTROL] == [0, 4, len(tokens.ids_T) - 1]


def test_a_decoder_without_a_separator_gets_a_line_break() -> None:
    """And nothing around the text, unless its tokenizer puts it there."""
    tokens = one(asked(content("a"), SEPARATOR, content("b"), output="head"), smollm2())
    assert smollm2().decode(tokens.ids_T, skip_control=False) == "a\nb"


def test_a_decoder_begins_with_what_its_tokenizer_puts_before_a_text() -> None:
    """Once: a chat template that writes it itself is not given another."""
    raw = byte_tokenizer().full
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    config = {"bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = of(raw, **config)
    assert tokenizer.decode(one(asked(content("a")), tokenizer).ids_T, skip_control=False) == "<s>a"
    turns = (Turn("user", "a"), Turn("assistant", "b", weight=1.0))
    plain = one(Example("x", "text", turns=turns), tokenizer)
    assert tokenizer.decode(plain.ids_T, skip_control=False) == "<s>User: a\nAssistant: b</s>\n"
    own = Tokenizer(
        raw.to_str().encode(), config, template="{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    chat = one(Example("x", "text", turns=(Turn("user", "a"),)), own)
    assert own.decode(chat.ids_T, skip_control=False) == "<s>a"


def test_an_encoder_decoder_reads_the_prompt_and_writes_the_target() -> None:
    """The source ends as a text of its own; the decoder begins with its start token."""
    example = asked(content("a b"), target("b"), STOP, candidates=("b", "a"), output="words")
    tokens = one(example, t5(), "encoder-decoder", start=1)
    assert [t5().token_text(i) for i in tokens.ids_T] == [" a", " b", "</s>"]
    assert tokens.decoder is not None
    assert [t5().token_text(i) for i in tokens.decoder.ids_T] == ["<pad>", " b", "</s>"]
    assert tokens.decoder.weights_T.tolist() == [0, 1, 1]
    assert tokens.weights_T.tolist() == [0, 0, 0]
    assert [t5().token_text(ids[0]) for ids in tokens.candidates] == [" b", " a"]
    asking = prompt(example, t5(), shape="encoder-decoder", decoder_start_id=1)
    assert asking.ids_T.tolist() == tokens.ids_T.tolist()
    assert asking.decoder is not None
    assert asking.decoder.ids_T.tolist() == [1]
    with pytest.raises(ValueError, match="decoder_start_id"):
        one(example, t5(), "encoder-decoder")


def test_a_slot_shows_masks_and_asks_for_its_filling() -> None:
    """As many as the filling has tokens."""
    slot = Segment(" unbelievable", "target", weight=1.0, control="mask")
    tokens = one(asked(content("It was"), slot, scaffold("."), output="mask"), minilm(), "encoder")
    places = np.flatnonzero(tokens.parts_T == TARGET)
    filling = minilm().encode(["unbelievable"])[0][0].tolist()
    assert tokens.ids_T[places].tolist() == [minilm().mask_id] * len(filling)
    assert tokens.labels_T[places].tolist() == filling
    assert tokens.weights_T[places].tolist() == [1.0] * len(filling)
    assert [minilm().token_text(i) for i in tokens.ids_T] == [
        "[CLS]",
        "it",
        "was",
        *["[MASK]"] * len(filling),
        ".",
        "[SEP]",
    ]


def test_a_filled_slot_does_not_tell_how_long_the_answer_is() -> None:
    """Masks that the right word does not need are shown and ask for nothing."""
    words = ("good", "unbelievably bad")
    rows = []
    for word in words:
        slot = Segment(word, "target", weight=1.0, control="mask")
        rows.append(one(asked(content("It was"), slot, output="mask", candidates=words), minilm(), "encoder"))
    assert rows[0].ids_T.tolist() == rows[1].ids_T.tolist()
    assert [int(t.weights_T.sum()) for t in rows] == [len(ids) for ids in rows[0].candidates]


def test_an_open_slot_does_not_tell_how_long_the_answer_is() -> None:
    """It is as long as the longest candidate, whatever the right one is; it asks for nothing."""
    words = ("good", "unbelievably bad")
    asks = []
    for word in words:
        slot = Segment(word, "target", weight=1.0, control="mask")
        example = asked(content("It was"), slot, output="mask", candidates=words)
        asks.append(prompt(example, minilm(), shape="encoder"))
    assert asks[0].ids_T.tolist() == asks[1].ids_T.tolist()
    n_longest = max(len(ids) for ids in asks[0].candidates)
    assert (asks[0].ids_T == minilm().mask_id).sum() == n_longest > 1
    assert asks[0].weights_T.sum() == 0


def test_control_tokens_that_take_white_space_away_do_so() -> None:
    """Before them (RoBERTa's mask) and behind them (Phi's turns)."""
    raw = byte_tokenizer().full
    raw.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<turn>", rstrip=True)])
    template = "{% for m in messages %}<turn>\n{{ m.content }}{% endfor %}"
    tokenizer = Tokenizer(raw.to_str().encode(), {"mask_token": "<mask>"}, template=template)
    slot = Segment("x", "target", weight=1.0, control="mask")
    tokens = one(asked(content("a \n"), slot, output="mask"), tokenizer, "encoder")
    assert tokenizer.decode(tokens.ids_T, skip_control=False) == "a<mask>"
    tokens = one(Example("x", "text", turns=(Turn("user", "a"), Turn("user", "b"))), tokenizer)
    assert tokens.ids_T.tolist() == raw.encode("<turn>\na<turn>\nb").ids


@pytest.mark.parametrize("name", ["mask", "stop"])
def test_a_token_that_the_model_lacks_is_named(name: str) -> None:
    """A format that needs it cannot be used with this model."""
    bare = of(Raw(models.BPE({"a": 0}, [])))
    with pytest.raises(SettingError, match="The model has no"):
        one(asked(Segment("a", "target", control=name)), bare)  # type: ignore[arg-type]


def test_an_answer_that_the_vocabulary_cannot_write_is_left_out() -> None:
    """And content that loses characters is counted."""
    good = asked(content("a"), target("b"))
    examples = [
        replace(good, id="good"),
        replace(good, id="lossy", segments=(content("a\x04"), target("b"))),
        replace(good, id="bad", segments=(content("a"), target("b\x04"))),
        Example("turns", "text", turns=(Turn("user", "a"), Turn("tool", "b"))),
    ]
    done = tokenize_each(examples, smollm2(), shape="decoder")
    assert [t.id for t in done.tokens] == ["good", "lossy", "turns"]
    assert [(one.id, one.reason) for one in done.left_out] == [
        ("bad", "The answer holds characters that the model's vocabulary lacks.")
    ]
    assert done.lossy == ("lossy",)
    with pytest.raises(DataError, match="vocabulary lacks"):
        tokenize(examples, smollm2(), shape="decoder")


def test_a_conversation_that_the_template_refuses_is_left_out_with_its_words() -> None:
    """The others go on."""
    chat = byte_with(
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}{% endfor %}"
    )
    turns = (Turn("tool", "a"),)
    done = tokenize_each([Example("x", "text", turns=turns), asked(content("a"))], chat, shape="decoder")
    assert [t.id for t in done.tokens] == ["x"]
    assert [one.reason for one in done.left_out] == ["The chat template refuses the conversation: no tools"]


PIECES = st.sampled_from(
    ["the film", " was", "\n\n", " ", ".", "<|im_end|>", "</s>", "<|im_start|>user", "東京", "123", "\t"]
)
TEXTS = st.lists(PIECES, max_size=4).map("".join)


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_ids_are_those_of_the_whole_text(before: str, text: str, after: str, answer: str) -> None:
    """Prompt and answer each as one string, control strings in them as text."""
    tokenizer = smollm2()
    tokens = one(asked(scaffold(before), content(text), scaffold(after), target(answer)), tokenizer)
    parts = [tokenizer.encode([one])[0][0] for one in (before + text + after, answer)]
    assert tokens.ids_T.tolist() == np.concatenate(parts).tolist()
    assert not set(tokens.ids_T.tolist()) & tokenizer.control_ids


@given(TEXTS, TEXTS, st.booleans())
def test_what_is_learned_is_the_target(text: str, answer: str, is_real: bool) -> None:
    """Read back from the ids with a weight, it is the answer and the stop token."""
    tokenizer = smollm2() if is_real else byte_tokenizer()
    tokens = one(asked(content(text), target(answer), STOP), tokenizer)
    ids_T = tokens.ids_T[tokens.weights_T > 0]
    assert ids_T[-1] == tokenizer.eos_id
    assert tokenizer.decode(ids_T[:-1], skip_control=False) == answer


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3), st.booleans(), st.booleans())
def test_the_ids_of_a_prompt_begin_those_it_was_trained_with(
    exchanges: list[tuple[str, str]], learns_all: bool, is_real: bool
) -> None:
    """In chats of any length, whichever turns are learned, with a real vocabulary and with bytes."""
    tokenizer = smollm2() if is_real else byte_tokenizer()
    turns: list[Turn] = []
    for question, answer in exchanges:
        turns += [Turn("user", question), Turn("assistant", answer, weight=float(learns_all))]
    turns[-1] = replace(turns[-1], weight=1.0)
    example = Example("x", "text", turns=tuple(turns))
    trained, asking = one(example, tokenizer), prompt(example, tokenizer, shape="decoder")
    n_prompt = len(asking.ids_T)
    assert trained.ids_T[:n_prompt].tolist() == asking.ids_T.tolist()
    assert asking.weights_T.sum() == 0
    assert asking.n_prompt == n_prompt
    learned_T = trained.ids_T[n_prompt:][trained.weights_T[n_prompt:] > 0]
    assert tokenizer.decode(learned_T[:-1], skip_control=False) == exchanges[-1][1]
    assert learned_T[-1] == tokenizer.eos_id


@given(TEXTS, st.sampled_from([" good", " bad", "good"]))
def test_candidates_are_what_would_be_learned(text: str, word: str) -> None:
    """Behind a prompt of segments, and as an assistant's turn."""
    tokenizer = smollm2()
    words = (" good", " bad", "good")
    gold = words.index(word)
    plain = asked(content(text), target(word), STOP, output="words", candidates=words)
    chat = Example("x", "words", turns=(Turn("user", text), Turn("assistant", word, weight=1.0)), candidates=words)
    for example in (plain, chat):
        tokens = one(example, tokenizer)
        assert tokens.ids_T[tokens.weights_T > 0][:-1].tolist() == tokens.candidates[gold].tolist()


def test_examples_keep_their_order_and_do_not_mix() -> None:
    """Many at once are what each is alone."""
    examples = [
        replace(asked(scaffold("Q "), content("ab" * n), target(" c" * (n + 1)), STOP), id=str(n)) for n in range(5)
    ]
    together = tokenize(examples, smollm2(), shape="decoder")
    for example, tokens in zip(examples, together, strict=True):
        alone = one(example, smollm2())
        assert tokens.id == example.id
        for name in ("ids_T", "labels_T", "weights_T", "parts_T", "types_T", "cuts_T"):
            assert getattr(tokens, name).tolist() == getattr(alone, name).tolist()
    assert tokenize([], smollm2(), shape="decoder") == prompts([], smollm2(), shape="decoder") == []


def test_loading_is_what_transformers_encodes() -> None:
    """Plain text through the loaded tokenizer: ids of transformers, for a byte-level and a WordPiece vocabulary."""
    transformers = pytest.importorskip("transformers")
    text = "Don't  stop: 123 东京, naïve café \n\n\t🎉!"
    for folder in (smollm2_folder(), minilm_folder()):
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        ours = load_tokenizer(folder)
        assert ours.encode([text])[0][0].tolist() == theirs.encode(text, add_special_tokens=False)
        assert [*ours.prefix_ids, *ours.encode([text])[0][0].tolist(), *ours.suffix_ids] == theirs.encode(text)
