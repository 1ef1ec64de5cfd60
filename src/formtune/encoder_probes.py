"""Texts that tell apart two encoders of one vocabulary: what libraries that were written anew get wrong.

Words are parted by rules over classes of characters (letter, digit, space, mark), which fast libraries write out by
hand; so every character of the planes that are in use stands between neighbors of each class. Merges are tried by pieces
of the vocabulary side by side, control tokens by their text, the rest by runs, by scripts, and by chance.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

import tokenizers
from tokenizers import decoders, pre_tokenizers

VERSION = 1  # of the set: another one means that all is to be proved anew

_BLOCK = 256
_USED = (*range(0xD800), *range(0xE000, 0x20000))  # planes 0 and 1 without surrogates
_FAR = (0x20000, 0x2A6C0, 0x2F800, 0x30000, 0x31340, 0xE0000, 0xE0100, 0xF0000, 0x10FF00)  # a block of each
# A word's letter, a digit, a sign, spaces, and marks that stand in the order which normalizers turn around.
_NEIGHBORS = ("", " ", "a", "1", ".", "\n", "\u0301\u0323")
_N_PIECES = 3_000
_N_CHANCE = 4_000
_LONG = 1_000_000
_SPACES = (" ", "\n", "\t", "\r", "\r\n", "\u00a0", "\u3000", "\u2028", "\u200b", "\v", " \n", "\n ")
_LENGTHS = (*range(1, 20), 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1_000)

_SCRIPTS = (
    "The quick brown fox doesn't jump; it's 3.14 times (or 1,234,567) lazier than I'LL ever be. We'Ve said: \"No!\"",
    "I’m sure they’ll say it isn’t so… – don''t — 'tis 'Twas o'clock rock'n'roll 'sub 'll 're 'em",
    "HTMLParser parseURLFast XMLHttpRequest2 snake_case_name kebab-case iPhone15Pro McDonald's ABCdef aBC ABCDE",
    "def f(x: int) -> str:\n\tif x != 0x1F:\n\t\treturn f'{x:>10.2f}'  # done\n\n\n    else:\r\n        pass\n",
    "SELECT * FROM `t` WHERE a<=b AND c<>'d'; -- no\n{\"k\": [1, 2.5e-10, null, \"\\u00e9\\n\"]}\n<p class='x'>&amp;</p>",
    "http://user:pw@example.com:8080/a/b?q=1&r=%20#top me@example.org C:\\Users\\x ~/.config $HOME ${x} @user #tag",
    "0 00 000 0000 00000 12345678901234567890 1.000,00 1/2 ½ ² ₃ Ⅷ ٠١٢٣ १२३ ๑๒๓ 𝟘𝟙𝟚 ①② 1st 2nd 3rd 4x4 x86_64 007",
    "我们在北京大学学习中文，今天天气很好。「你好」《书》２０２６年１１月２６日，３．１４％！㍻㌔",
    "東京はどこですか？ カタカナ ｶﾀｶﾅ ﾊﾞﾊﾟ がぎぐ か\u3099き\u3099 ゝゞ 々〆〤 ー〜～",
    "한국어 문장입니다. 안녕하세요? ㄱㄴㄷ \u1112\u1161\u11ab\u1100\u116e\u11a8",
    "Привет, мир! Ёлка и йод. Ça va? Où est l'été? Größe, Straße, ẞ. Đặng Thị Hồng. Ñandú. İstanbul ıI. Ǆ ǅ ǆ ﬁ ﬀ ŉ",
    "e\u0301 o\u0308\u0304 a\u0328\u0301 A\u030a\u0327 \u0301\u0302 x\u20dd q\u0307\u0323 \u1e9b\u0323 \u212b \u2126 \u0344",
    "Ελληνικά ὁ ὕπνος ΟΔΥΣΣΕΥΣ σς. Հայերեն. ქართული ᲥᲐᲠᲗᲣᲚᲘ. አማርኛ፡ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ. ᠮᠣᠩᠭᠣᠯ. ⵣ ꦱꦗ 𐍈 𓀀 𝔘𝔫𝔦 𝒜𝐁",
    "مرحبا بالعالم! اللُّغَةُ العَرَبِيَّةُ ـــ ﷺ ﻻ. שָׁלוֹם עוֹלָם״. \u202eabc\u202c \u200fאב\u200e \u2067x\u2069 فارسی می\u200cخواهم اردو ہے؟",
    "हिन्दी में क्षत्रिय ज्ञान कि की। বাংলা ক্ষ। தமிழ் கொ. తెలుగు. ಕನ್ನಡ. മലയാളം ന്‍. සිංහල ක්‍ෂ. ไทย น้ำ. ລາວ. ខ្មែរ. မြန်မာ. བོད་ཡིག",
    "🎉🙂👍🏽👩‍👩‍👧‍👦🏳️‍🌈🇩🇪🇯🇵🇺🇸1️⃣#️⃣©️™️❤️☺︎🏴󠁧󠁢󠁥󠁮󠁧󠁿👩🏾‍🚀 🫠🪿 a🎉b 1🎉2 🎉🎉🎉",
    "\0 a\0b \x01\x02\x03\x04\x1b[0m \x7f \x80\x85\x9f \ufeffBOM \ufffd \ufffe \uffff \ue000\uf8ff \U000f0000 \U0010ffff",
    "∑∫√∞≠≤ x²+y²=z² €100 £5 ¥ ₿ ½cup 20°C 5′ 6″ «a» „b“ ‚c‘ ‹d› a/b a|b a\\b ^ ~ ` ´ ¨ ¸ ¯ § ¶ † • … ‰ № ℃",
    "ＡＢＣ ａｂｃ １２３ ！＂＃ ㎏ ㏒ ﹏ ︽ ｢｣ ￥ ａ\u3099",
    "▁ ▁▁a ▁the Ġthe ĠĠ Ċ ## ##ing a##b <0x41> <0xE4><0xB8><0xAD> <unk> [UNK] Ä¡ Ã© â\x96\x81",
)
_ATOMS = (
    *("a", "B", "the", "ing", "Zürich", "x", "I", "don", "HTTP", "É", "ß", "e\u0301", "\u0301", "\u200d", "\ufe0f", "ı"),
    *("0", "7", "12", "345", "6789", "²", "٣", "Ⅷ", "½", "1,000", "3.14", "_", "-", "--", "...", "…", "!", "?!", "(", ")"),
    *("'", "''", "'s", "'S", "'ll", "'RE", "’s", "'d", '"', "`", "/", "//", "\\", "#", "##", "@", "$", "€", "<", "</", ">"),
    *(" ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", " \n", "\n ", "\u00a0", "\u3000", "\u200b", "\u2028", "\v"),
    *("中", "文字", "。", "，", "カ", "ひら", "ー", "한", "글", "я", "Ё", "ω", "ع", "\u064e", "ש", "\u05b8", "क", "\u094d", "ิ", "น"),
    *("🎉", "👍", "🏽", "🇩", "🇪", "\U000e0067", "\0", "\x01", "\x1b", "\x7f", "\x85", "\ufeff", "\ufffd", "\ue000", "\uffff"),
)  # fmt: skip


def characters() -> list[str]:
    """Give every character that is in use, in blocks that follow one another in Unicode; of the far planes some blocks."""
    used = ["".join(map(chr, _USED[n : n + _BLOCK])) for n in range(0, len(_USED), _BLOCK)]
    return [*used, *("".join(map(chr, range(first, first + _BLOCK))) for first in _FAR)]


def between(block: str) -> list[str]:
    """Put every character of a block between neighbors of each class: a text for each class."""
    return [neighbor.join(block) for neighbor in _NEIGHBORS]


def alone(character: str) -> str:
    """Put one character between neighbors of each class."""
    return " ".join(f"{neighbor}{character}{neighbor}{character}{neighbor}" for neighbor in _NEIGHBORS)


def probes(encoder: tokenizers.Tokenizer, controls: Collection[str], *, seed: int = 0) -> list[str]:
    """Make the other texts for one encoder; a few megabytes.

    Args:
        encoder: whose vocabulary they are for.
        controls: texts of control tokens, which are plain text to the encoder.
        seed: of what is left to chance.
    """
    chance = random.Random(seed)
    named = [*controls, *(token.content for token in encoder.get_added_tokens_decoder().values())]
    pieces = _pieces(encoder, chance)
    return [
        "",
        *_SCRIPTS,
        *_runs(),
        *(text for name in dict.fromkeys(named) for text in _around(name)),
        *(text for first, second in pairwise(pieces) for text in (first, first + second)),
        *(f" {one} {one.title()}{one.upper()} {one}" for one in pieces[: _N_PIECES // 2]),
        *_long_words(),
        *_by_chance([*_ATOMS, *named[:50], *pieces[:50]], chance),
        _very_long([*_ATOMS, *pieces[:1_000]], chance),
    ]


def _runs() -> Iterator[str]:
    """Give runs of each kind of space, and of a few characters, alone and at, before and behind words."""
    for one in (*_SPACES, "a", "0", "-", "=", "中", "🎉", "é", "\0"):
        for length in _LENGTHS:
            run = one * length
            yield from (run, f"a{run}b", f"{run}b", f"a{run}", f"1{run}2", f".{run}\n{run}'s", f"{run} {run}")


def _around(name: str) -> Iterator[str]:
    """Give the text of a token alone, inside words, twice, in part, and in other letters."""
    yield from (name, name + name, f" {name}", f"{name} ", f"a{name}b", f"1 {name}\n{name}.", f"  {name}  ")
    yield from (
        name[:-1],
        name[1:],
        f"a{name[:-1]} {name[1:]}",
        name.upper(),
        name.lower(),
        f"({name[:-1]}\u0301{name})",
    )


def _pieces(encoder: tokenizers.Tokenizer, chance: random.Random) -> list[str]:
    """Draw pieces of the vocabulary, as the text that they stand for and as they are spelled."""
    spelled = sorted(encoder.get_vocab(with_added_tokens=True))
    odd = [piece for piece in spelled if "\uffff" in piece][:500]  # no text yields them: text_encoders gave them names
    drawn = chance.sample(spelled, min(len(spelled), _N_PIECES))
    texts = [*odd, *(_text_of(piece) for piece in drawn), *drawn[: _N_PIECES // 10]]
    chance.shuffle(texts)
    return texts


def _text_of(piece: str) -> str:
    """Give the text that a piece stands for, in a byte-level vocabulary or another."""
    text = str(decoders.ByteLevel().decode([piece])) if set(piece) <= set(pre_tokenizers.ByteLevel.alphabet()) else ""
    return (text if text and "\ufffd" not in text else piece.replace("▁", " ")).removeprefix("##")


def _long_words() -> Iterator[str]:
    """Give words about as long as what libraries treat in another way: 100 characters, 10 kB, and many times that."""
    for length in (15, 16, 17, 99, 100, 101, 9_999, 10_000, 10_001, 70_000):
        for word in ("x", "ab", "aB1", "é", "中", "1", "-"):
            yield (word * length)[:length]
    yield " ".join(f"{'word ' * n}{'  ' * (n % 3)}" for n in range(200))


def _by_chance(parts: Sequence[str], chance: random.Random) -> Iterator[str]:
    for _ in range(_N_CHANCE):
        yield "".join(chance.choices(parts, k=chance.randrange(1, 24)))


def _very_long(parts: Sequence[str], chance: random.Random) -> str:
    """Make one text of a megabyte, most of it as words are parted."""
    made: list[str] = []
    n_characters = 0
    while n_characters < _LONG:
        made.append(chance.choice(parts) + chance.choice(("", " ", " ", " ", "\n")))
        n_characters += len(made[-1])
    return "".join(made)
