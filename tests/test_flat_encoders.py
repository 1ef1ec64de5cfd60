"""Ids of many texts in one array, by whichever library: what the reference gives, or the words of the reference."""

import hashlib
import json
import os
import re
from functools import cache
from unicodedata import is_normalized

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_folders import of
from tokenizers import Tokenizer as Raw
from tokenizers import models
from trained_tokenizers import TOKENIZERS, TRAINED, byte_level, few_probes, unigram, word_piece

from formtune import flat_encoders
from formtune.encoder_proofs import admitted
from formtune.errors import DataError
from formtune.flat_encoders import LIBRARIES, Fast, Flat, FlatEncoder, Library, Reference, fastest_first
from formtune.text_encoders import Follows
from formtune.tokens import Tokenizer, byte_tokenizer

ANY = st.text(st.characters(exclude_categories=()), max_size=12)  # with surrogates, which are no text
WORDS = st.lists(
    st.sampled_from(
        [
            "the",
            " fox",
            "doesn't",
            "'LL",
            "  ",
            "\n",
            "\t\t",
            "12",
            "3",
            "文字",
            "é",
            "e\u0301",
            "🎉",
            "\0",
            "\x04",
            "</s>",
        ]
    ),
    max_size=8,
).map("".join)
FOLLOWS: tuple[Follows, ...] = ("nothing", "control", "text")


def flat(*lists: list[int]) -> Flat:
    ends = np.cumsum([len(one) for one in lists], dtype=np.int64)
    return Flat(np.array([i for one in lists for i in one], dtype=np.int32), ends)


def lists(found: Flat) -> list[list[int]]:
    return [found.of(n).tolist() for n in range(len(found.ends_N))]


def installed(package: str) -> Library:
    library = next(one for one in LIBRARIES if one.package == package)
    if library.version is None:
        pytest.skip(f"{package} is not installed")
    return library


@pytest.fixture(params=[one.package for one in LIBRARIES])
def library(request: pytest.FixtureRequest) -> Library:
    return installed(request.param)


def test_the_order_of_libraries_is_that_of_their_speed() -> None:
    """Which depends on the kind of vocabulary."""
    plain, fallback = Raw(models.BPE()), Raw(models.BPE(byte_fallback=True))
    assert [one.package for one in fastest_first(plain)] == ["gigatoken", "splintr-rs"]
    assert [one.package for one in fastest_first(fallback)] == ["splintr-rs", "gigatoken"]
    assert fastest_first(word_piece()._encoders.get("text")) == LIBRARIES


def test_some_texts_can_be_taken_and_replaced() -> None:
    """By their numbers; empty ones too."""
    found = flat([1, 2], [], [3], [4, 5, 6])
    assert lists(found.between(1, 3)) == [[], [3]]
    assert lists(found.between(0, 0)) == []
    assert found.owners(np.array([0, 1, 2, 5])).tolist() == [0, 0, 2, 3]
    assert lists(found.replaced(np.array([0, 1, 3]), flat([], [7, 8], [9]))) == [[], [7, 8], [3], [9]]


@given(st.lists(st.one_of(WORDS, ANY.filter(lambda text: text.isprintable())), max_size=4), st.sampled_from(FOLLOWS))
def test_flat_ids_are_those_of_encode(texts: list[str], follows: Follows) -> None:
    """Of the reference, which is what encodes where nothing else was chosen."""
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    for tokenizer in (byte_level(prefix=True, spaces=True), word_piece(), unigram()):
        found = tokenizer.encode_flat(texts, follows)
        assert (found.ids_T.dtype, found.ends_N.dtype) == (np.int32, np.int64)
        assert lists(found) == [ids_T.tolist() for ids_T, _ in tokenizer.encode(texts, follows, offsets=False)]


def test_a_text_that_yields_a_control_token_is_named() -> None:
    """As in encode, whichever of the texts it is."""
    tokenizer = of(byte_tokenizer().full, eos_token="</s>")
    tokenizer._is_control_V[tokenizer.encode(["q"])[0][0]] = True
    with pytest.raises(DataError, match=r"The text 'aqa' yields the control token 'q'"):
        tokenizer.encode_flat(["a", "", "aqa", "q"])


# Of which kinds each library is known to be right; of another kind it must say why it is not taken.
BYTE_LEVEL = (*(name for name in TOKENIZERS if name.startswith("byte-level")), "smollm2-135m")
RIGHT = {"gigatoken": BYTE_LEVEL, "splintr-rs": (*BYTE_LEVEL, "WordPiece", "Unigram", "minilm-l6")}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_library_gives_the_ids_of_the_reference_on_all_probes(library: Library, name: str) -> None:
    """Or is refused, with the reason; as of these versions it is right for these kinds."""
    tokenizer = TOKENIZERS[name]()
    encoder = tokenizer._encoders.get("text")
    _, choice = admitted(encoder, controls=tokenizer.controls, libraries=[library])
    assert (choice.name == library.package) == (name in RIGHT[library.package]), choice.others
    assert (choice.name == library.package) != bool(choice.others.get(library.package))


@pytest.mark.parametrize("name", TRAINED)
def test_a_library_that_is_taken_gives_the_ids_of_the_reference(
    library: Library, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands before the text."""
    few_probes(monkeypatch)
    tokenizer = TRAINED[name]()
    texts = ["", "The fox doesn't  jump.\n", "a   b\t\t12345 文字 e\u0301🎉", "</s> a<|hole|>b", "\0\x04\x05"]
    for follows in FOLLOWS:
        encoder = tokenizer._encoders.get(follows)
        engine, _ = admitted(encoder, controls=tokenizer.controls, sample=texts, libraries=[library])
        assert lists(engine.encode(texts)) == lists(Reference(encoder).encode(texts))
        assert lists(engine.encode([])) == []


@given(st.lists(st.one_of(WORDS, ANY), max_size=5))
def test_any_texts_give_what_the_reference_gives(texts: list[str]) -> None:
    """Ids or the error for what is no text, of every library that is installed, for each vocabulary it holds for."""
    for tokenizer, follows, engine in held():
        reference = Reference(tokenizer._encoders.get(follows))
        if all(is_text(text) for text in texts):
            assert lists(engine.encode(texts)) == lists(reference.encode(texts))
            continue
        with pytest.raises(TypeError) as expected:
            reference.encode(texts)
        with pytest.raises(TypeError, match=f"^{re.escape(str(expected.value))}$"):
            engine.encode(texts)


def is_text(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


@cache
def held() -> list[tuple[Tokenizer, Follows, FlatEncoder]]:
    """Give every library with every small vocabulary that it is right for."""
    return [
        (TRAINED[name](), "text", Fast(library, TRAINED[name]()._encoders.get("text")))
        for library in LIBRARIES
        if library.version is not None
        for name in RIGHT[library.package]
        if name in TRAINED
    ]


def test_bytes_that_a_vocabulary_lacks_get_no_ids_of_their_own() -> None:
    """Dummies stand for them inside; the texts that hold one are the reference's, which drops the bytes."""
    tokenizer = byte_level(lacks="Ā\u0105ÀÁ")
    encoder = tokenizer._encoders.get("text")
    specs: list[str] = []
    library = Library("numpy", lambda spec: specs.append(spec) or Reference(Raw.from_str(spec)).encode)
    engine = Fast(library, encoder)
    assert len(json.loads(specs[0])["model"]["vocab"]) == len(encoder.get_vocab()) + 4
    texts = ["a", "\x00", "fox\x00fox", "", "b\x00", "c"]
    found = engine.encode(texts)
    assert found.ids_T.max() < tokenizer.n_vocabulary
    assert [tokenizer.decode(ids) for ids in lists(found)] == ["a", "", "foxfox", "", "b", "c"]


def test_a_chosen_library_keeps_the_ids_of_added_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of white space outside the model's vocabulary have ids of their own, whoever encodes."""
    few_probes(monkeypatch)
    tokenizer = of(byte_level(spaces=True).full, bos_token="<s>", eos_token="</s>")
    before = tokenizer.encode_flat(["a  b", "   c"])
    tokenizer.engines.choose(["a  b"])
    after = tokenizer.encode_flat(["a  b", "   c"])
    assert lists(after) == lists(before)
    assert tokenizer.full.token_to_id("  ") in after.ids_T


def test_a_library_that_forgets_no_word_is_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so much text, and encodes as before."""
    engine = Fast(installed("gigatoken"), byte_level()._encoders.get("text"))
    monkeypatch.setattr(flat_encoders, "FORGET_CHARACTERS", 3)
    assert len({str(lists(engine.encode(["a fox", "b"]))) for _ in range(3)}) == 1


@pytest.mark.parametrize("text", ["a\ud800", "\udfff"])
def test_surrogates_are_refused_in_the_words_of_the_reference(library: Library, text: str) -> None:
    """They are no text, and no library encodes them."""
    engine = Fast(library, byte_level()._encoders.get("text"))
    with pytest.raises(TypeError, match="TextEncodeInput must be"):
        engine.encode(["a", text])


def test_a_forked_process_encodes(library: Library) -> None:
    """Although the threads of the library are not there."""
    engine = Fast(library, byte_level()._encoders.get("text"))
    texts = ["The fox doesn't jump. "] * 10_000
    right = engine.encode(texts)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, hashlib.sha256(engine.encode(texts).ids_T.tobytes()).digest())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32) == hashlib.sha256(right.ids_T.tobytes()).digest()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("byte-level", True),
        ("byte-level with prefix space", True),
        ("byte-level with runs of spaces", True),
        ("byte-level without some bytes", True),
        ("byte-level in NFC", True),
        ("smollm2-135m", True),
        ("WordPiece", False),
        ("Unigram", False),
        ("minilm-l6", False),
    ],
)
def test_ids_stand_for_bytes_in_byte_level_vocabularies(name: str, counts: bool) -> None:
    """And in no other."""
    tokenizer = TOKENIZERS[name]()
    lengths_V = tokenizer.byte_lengths
    assert (lengths_V is not None) == counts
    if lengths_V is not None:
        assert len(lengths_V) == tokenizer.n_vocabulary
        assert not lengths_V[sorted(tokenizer.control_ids)].any()


def test_what_is_added_must_not_make_up_for_what_is_dropped() -> None:
    """A space that is written before the text, and a byte that the vocabulary lacks."""
    assert byte_level(prefix=True, lacks="Ā").byte_lengths is None
    assert byte_level(prefix=True, spaces=True).byte_lengths is None


@given(st.one_of(WORDS, st.text(max_size=12)), st.sampled_from(FOLLOWS))
def test_running_sums_of_bytes_are_the_offsets(text: str, follows: Follows) -> None:
    """Wherever the sum is the text's bytes; a token inside a character covers the whole character."""
    data = text.encode()
    characters = np.repeat(np.arange(len(text)), [len(c.encode()) for c in text])  # of each byte, its character
    names = ("byte-level", "byte-level with runs of spaces", "byte-level without some bytes", "byte-level in NFC")
    for name in (*names, "smollm2-135m"):
        tokenizer = TOKENIZERS[name]()
        if tokenizer.normal_form and not is_normalized(tokenizer.normal_form, text):
            continue
        ids_T, offsets_T2 = tokenizer.encode([text], follows)[0]
        assert tokenizer.byte_lengths is not None
        ends_T = np.cumsum(tokenizer.byte_lengths[ids_T])
        if len(ids_T) and ends_T[-1] == len(data):
            firsts_T = ends_T - tokenizer.byte_lengths[ids_T]
            assert characters[firsts_T].tolist() == offsets_T2[:, 0].tolist()
            assert (characters[ends_T - 1] + 1).tolist() == offsets_T2[:, 1].tolist()
        else:
            assert not data or tokenizer.lost(text)


@given(st.lists(st.one_of(WORDS, st.text(max_size=12)), max_size=6))
@pytest.mark.parametrize("lacks", ["", "Ā\u0105ÀÁ"])
def test_a_library_tells_whether_bytes_are_lost(lacks: str, texts: list[str]) -> None:
    """What it says is what looking at the bytes says, and the reference says nothing."""
    tokenizer = byte_level(lacks=lacks)
    encoder = tokenizer.engines._encoders.get("nothing")
    library = next(one for one in LIBRARIES if one.version)
    assert Fast(library, encoder).encode(texts).is_whole == (bool(texts) and not any(map(tokenizer.lost, texts)))
    assert not Reference(encoder).encode(texts).is_whole
