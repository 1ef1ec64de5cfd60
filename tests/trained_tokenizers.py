"""Tokenizers of each kind for tests: trained on the spot on a few sentences, and the two real ones of packages."""

from collections.abc import Callable
from functools import cache

import pytest
from tokenizer_folders import minilm, of, smollm2
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Raw

from formtune import encoder_probes
from formtune.tokens import Tokenizer

SENTENCES = [
    "The quick brown fox doesn't jump over 12,345 lazy dogs; they'll see.",
    "Straße, naïve café, Привет мир, 東京はどこ？ 文字。",
    "def f(x):\n    return x + 1  # done\n\n\n",
    "a  b   c    d\t\te\r\n",
    "🎉👩‍👩‍👧 ok",
] * 20


@cache
def byte_level(*, prefix: bool = False, spaces: bool = False, lacks: str = "", composes: bool = False) -> Tokenizer:
    """Train byte-level BPE as GPT-2's.

    Args:
        prefix: whether a space is written before each text.
        spaces: whether runs of spaces are among the added tokens, behind a control token.
        lacks: characters of the byte alphabet that the vocabulary is left without.
        composes: whether texts are brought into the form NFC, as Qwen's are.
    """
    raw = Raw(models.BPE())
    if composes:
        raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=True)
    raw.decoder = decoders.ByteLevel()
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(lacks))
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False
    )
    raw.train_from_iterator(SENTENCES, trainer)
    if spaces:
        raw.add_tokens(
            [AddedToken("<|hole|>"), AddedToken("  ", normalized=False), AddedToken("   ", normalized=False)]
        )
    return of(raw, bos_token="<s>", eos_token="</s>")


@cache
def word_piece() -> Tokenizer:
    """Train WordPiece in lower case as BERT's."""
    raw = Raw(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw.train_from_iterator(
        SENTENCES, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    roles = ("pad", "unk", "cls", "sep", "mask")
    return of(raw, **{f"{role}_token": text for role, text in zip(roles, special, strict=True)})


@cache
def unigram() -> Tokenizer:
    """Train a SentencePiece-like model as T5's."""
    raw = Raw(models.Unigram())
    raw.normalizer, raw.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=300, unk_token="<unk>", special_tokens=special, show_progress=False)
    raw.train_from_iterator(SENTENCES, trainer)
    return of(raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


TRAINED: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": byte_level,
    "byte-level with prefix space": lambda: byte_level(prefix=True),
    "byte-level with runs of spaces": lambda: byte_level(spaces=True),
    "byte-level without some bytes": lambda: byte_level(lacks="Ā\u0105ÀÁ"),
    "byte-level in NFC": lambda: byte_level(composes=True),
    "WordPiece": word_piece,
    "Unigram": unigram,
}
TOKENIZERS = TRAINED | {"smollm2-135m": smollm2, "minilm-l6": minilm}


def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a proof compare a few hundred short texts, which takes a hundredth of a second."""
    blocks = ["".join(map(chr, range(first, first + 256))) for first in (0, 0x0E00, 0x10D00)]
    texts = ["", "The fox doesn't jump.", "we rock'n'roll 文字", *map(str, range(1_500))]
    monkeypatch.setattr(encoder_probes, "characters", lambda: blocks)
    monkeypatch.setattr(encoder_probes, "probes", lambda _encoder, _controls: texts)
