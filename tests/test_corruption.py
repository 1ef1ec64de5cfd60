"""Random masking: how much, of what, and the same by the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_folders import minilm, of, smollm2
from tokenizers import Tokenizer as Raw
from tokenizers import models

from formtune.corruption import corrupt_spans, corrupt_tokens
from formtune.errors import SettingError
from formtune.examples import Example, Segment
from formtune.tokens import CONTENT, Tokenizer, Tokens, byte_tokenizer, tokenize

TEXT = "The unbelievably transformed mezzanine, in 1987, overlooked nothing whatsoever. " * 8


def masked(text: str, tokenizer: Tokenizer) -> Tokens:
    segments = (Segment("Text: ", "scaffold"), Segment(text, "content"))
    return tokenize([Example("x", "mask", segments=segments, corrupt="tokens")], tokenizer, shape="encoder")[0]


def spanned(text: str) -> Tokens:
    example = Example("x", "text", segments=(Segment(text, "content"),), corrupt="spans")
    return tokenize([example], byte_tokenizer(), shape="encoder-decoder", decoder_start_id=2)[0]


def test_an_example_says_that_it_is_to_be_corrupted() -> None:
    """The tokens themselves are whole until then, and say so no more afterwards."""
    tokens = masked("a b", minilm())
    assert tokens.corrupt == "tokens"
    assert corrupt_tokens(tokens, minilm(), 0).corrupt is None


def test_fifteen_in_a_hundred_tokens_are_asked_for() -> None:
    """Of them about 80 in 100 show the mask, 10 another token and 10 themselves."""
    tokens = masked(TEXT, minilm())
    n_content = int((tokens.parts_T == CONTENT).sum())
    shown = []
    for seed in range(200):
        out = corrupt_tokens(tokens, minilm(), seed)
        chosen_T = out.weights_T > 0
        assert chosen_T.sum() == round(0.15 * n_content)
        assert (out.parts_T[chosen_T] == CONTENT).all()
        assert (out.ids_T[~chosen_T] == tokens.ids_T[~chosen_T]).all()
        assert out.labels_T.tolist() == tokens.ids_T.tolist()
        shown += zip(out.ids_T[chosen_T].tolist(), out.labels_T[chosen_T].tolist(), strict=True)
    is_mask = np.array([seen == minilm().mask_id for seen, _ in shown])
    is_kept = np.array([seen == label for seen, label in shown])
    assert abs(is_mask.mean() - 0.8) < 0.03
    assert abs(is_kept.mean() - 0.1) < 0.03
    assert not {seen for seen, _ in shown} & (minilm().control_ids - {minilm().mask_id})


def test_words_are_masked_whole() -> None:
    """No piece of a word is asked for without the others."""
    tokens = masked(TEXT, minilm())
    goes_on_T = minilm().continuations[tokens.ids_T]
    assert goes_on_T.any()
    for seed in range(50):
        chosen_T = corrupt_tokens(tokens, minilm(), seed).weights_T > 0
        assert (chosen_T[1:] == chosen_T[:-1])[goes_on_T[1:]].all()


def test_a_word_that_is_all_of_a_text_is_masked_in_part() -> None:
    """Something is asked for however short the text is."""
    for text, n_asked in (("a", 1), ("unbelievably" * 4, None)):
        tokens = masked(text, minilm())
        out = corrupt_tokens(tokens, minilm(), 0)
        n_content = int((tokens.parts_T == CONTENT).sum())
        assert out.weights_T.sum() == (n_asked or max(1, round(0.15 * n_content)))


def test_the_same_seed_masks_the_same_and_another_another() -> None:
    """Seeds may be several numbers."""
    tokens = masked(TEXT, minilm())
    first = corrupt_tokens(tokens, minilm(), (1, 2))
    assert corrupt_tokens(tokens, minilm(), (1, 2)).ids_T.tolist() == first.ids_T.tolist()
    assert corrupt_tokens(tokens, minilm(), (1, 3)).weights_T.tolist() != first.weights_T.tolist()


def test_a_text_without_content_stays() -> None:
    """And a model without masks or sentinels is refused."""
    tokens = masked("", minilm())
    assert corrupt_tokens(tokens, minilm(), 0) is tokens
    bare = of(Raw(models.BPE({"a": 0}, [])))
    with pytest.raises(SettingError, match="no mask token"):
        corrupt_tokens(tokens, bare, 0)
    with pytest.raises(SettingError, match="no sentinels"):
        corrupt_spans(tokens, bare, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" Un believable", [" Un", " believable"]),
        ("naïve café", ["naïve", " café"]),
        ("東京 x", ["東", "京", " x"]),
        ("a, b.", ["a", ",", " b", "."]),
    ],
)
def test_words_are_told_from_the_vocabulary(text: str, words: list[str]) -> None:
    """A blank or a sign begins one; Chinese characters are words of their own."""
    tokenizer = smollm2()
    ids_T, _ = tokenizer.encode([text])[0]
    begins_T = ~tokenizer.continuations[ids_T]
    begins_T[0] = True
    parts = np.split(ids_T, np.flatnonzero(begins_T)[1:])
    assert [tokenizer.decode(part) for part in parts] == words


@given(st.integers(1, 200), st.integers(0, 5))
def test_source_and_answer_hold_the_text_together(n_words: int, seed: int) -> None:
    """Each span stands behind its sentinel; put back in its place, the text is whole again."""
    text = "abc " * n_words
    tokenizer = byte_tokenizer()
    out = corrupt_spans(spanned(text), tokenizer, seed)
    assert out.decoder is not None
    assert out.decoder.ids_T[0] == 2
    assert out.decoder.ids_T[-1] == tokenizer.eos_id
    assert out.decoder.weights_T.tolist() == [0.0] + [1.0] * (len(out.decoder.ids_T) - 1)
    spans: dict[int, list[int]] = {}
    for token in out.decoder.ids_T[1:-1].tolist():
        if token in tokenizer.sentinel_ids:
            spans[token] = []
        else:
            spans[next(reversed(spans))].append(token)
    assert list(spans) == list(tokenizer.sentinel_ids[: len(spans)])
    whole = [one for token in out.ids_T.tolist() for one in spans.get(token, [token])]
    assert tokenizer.decode(whole) == text
    assert out.weights_T.sum() == 0


def test_spans_are_fifteen_in_a_hundred_and_three_long() -> None:
    """As many tokens and spans as T5 cuts."""
    out = corrupt_spans(spanned("x" * 200), byte_tokenizer(), 0)
    assert out.decoder is not None
    n_spans = int(np.isin(out.ids_T, byte_tokenizer().sentinel_ids).sum())
    assert n_spans == 10
    assert len(out.decoder.ids_T) == 1 + n_spans + 30 + 1


def test_spans_need_a_decoder() -> None:
    """Asking for them elsewhere is a wrong call."""
    with pytest.raises(ValueError, match="encoder-decoder"):
        corrupt_spans(masked("a b", byte_tokenizer()), byte_tokenizer(), 0)
