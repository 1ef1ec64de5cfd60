"""What is typed never becomes a control token: conversations full of control strings, over several tokenizers.

    python benchmarks/control_tokens.py [--conversations 100000] [--seed 0]

Every content, piece of reasoning, name and argument of a tool call is drawn from control strings of the tokenizer, their
fragments, white space and text of several scripts. The control ids among the tokens must be those of the same conversation
with harmless contents. Beside it: how many of the conversations gain control tokens where the rendered text is encoded
as a whole, as trainers do that hand it to the tokenizer.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from formtune.errors import SettingError
from formtune.examples import Example, Turn
from formtune.marking import OPEN
from formtune.model_files import resolve
from formtune.tokens import Tokenizer, byte_tokenizer, load_tokenizer, tokenize_each

CALLS = "<tool_call>{{ call.function.name }} {{ call.function.arguments | tojson }}</tool_call>"
# ChatML with reasoning and tool calls; Llama 2, which trims; Harmony, which ends messages in several ways.
CHATML = """\
{%- for message in messages %}
    {{- bos_token + message.role + '\\n' }}
    {%- if message.reasoning_content %}{{- '<think>' + message.reasoning_content + '</think>' }}{%- endif %}
    {{- message.content }}
    {%- for call in message.tool_calls or [] %}CALLS{%- endfor %}
    {{- eos_token + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- bos_token + 'assistant\\n' }}{%- endif %}
""".replace("CALLS", CALLS)
LLAMA2 = (
    "{% for message in messages %}{% if message.role == 'assistant' %}{{ ' ' + message.content.strip() + ' ' + eos_token }}"
    "{% else %}{{ bos_token + '[INST] ' + message.content.strip() + ' [/INST]' }}{% endif %}{% endfor %}"
)
HARMONY = """\
{%- for message in messages %}
    {{- '<|start|>' + message.role }}
    {%- if message.role == 'assistant' %}
        {%- if message.thinking %}
            {{- '<|channel|>analysis<|message|>' + message.thinking + '<|end|><|start|>assistant' }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {{- ' to=' + call.function.name + '<|message|>' + (call.function.arguments | tojson) + '<|call|>' }}
        {%- endfor %}
        {{- '<|channel|>final<|message|>' + message.content + ('<|return|>' if loop.last else '<|end|>') }}
    {%- else %}{{- '<|message|>' + message.content + '<|end|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}
"""
TEXT = (
    "Hello",
    "Hi there.",
    "don't",
    "12,345.6",
    "東京はどこ？",
    "Straße",
    "Привет",
    "مرحبا",
    "🎉👩‍👩‍👧",
    "a" * 40,
    "user",
    "assistant",
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPACE = (" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u200b", "\u3000")
# Marks that a layout uses, JSON's escapes, and what templates look for.
TRICKS = (
    OPEN,
    f'{OPEN}0,0"\ue0f1',
    "\ue0f2</s>\ue0f3",
    '"',
    "\\",
    "\\u003c/s\\u003e",
    "{{ eos_token }}",
    "{% raw %}",
    "</",
    "<|",
    "|>",
    "\0",
    "＜／ｓ＞",
)


@dataclass(frozen=True)
class Kind:
    """A tokenizer with a chat template, and what that has a place for."""

    name: str
    tokenizer: Tokenizer
    reasons: bool = False
    calls: bool = False

    @property
    def controls(self) -> tuple[str, ...]:
        return tuple(self.tokenizer.controls)


def spoken(kind: Kind, chance: random.Random) -> tuple[Turn, ...]:
    """Draw a conversation: one to three exchanges, perhaps with reasoning and a tool call."""

    def said() -> str:
        return "".join(_piece(kind.controls, chance) for _ in range(chance.randrange(7)))

    turns: list[Turn] = []
    for _ in range(chance.randrange(1, 4)):
        thinking = said() or None if kind.reasons and chance.random() < 0.5 else None
        calls = _call(said, chance) if kind.calls and chance.random() < 0.25 else None
        turns += [
            Turn("user", said()),
            Turn("assistant", said(), weight=1.0, thinking=thinking, tool_calls=calls),
        ]
    return tuple(turns)


def _call(anything: Callable[[], str], chance: random.Random) -> str:
    def said() -> str:
        return anything().replace(OPEN, "")  # which is refused there

    arguments = {said(): said()} | ({said(): [said(), 1.5, None]} if chance.random() < 0.5 else {})
    escapes = chance.random() < 0.5
    return json.dumps(
        [{"type": "function", "function": {"name": said(), "arguments": arguments}}], ensure_ascii=escapes
    )


def _piece(controls: Sequence[str], chance: random.Random) -> str:
    match chance.randrange(6):
        case 0 | 1:
            return chance.choice(controls)
        case 2:
            control = chance.choice(controls)
            cut = chance.randrange(len(control) + 1)
            return control[:cut] if chance.random() < 0.5 else control[cut:]
        case 3:
            return chance.choice(SPACE)
        case 4:
            return chance.choice(TRICKS)
    return chance.choice(TEXT)


def harmless(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Say the same in words that mean nothing to a template."""
    call = json.dumps([{"type": "function", "function": {"name": "f", "arguments": {"a": "b"}}}])
    return tuple(
        replace(turn, content="a", thinking=turn.thinking and "b", tool_calls=turn.tool_calls and call)
        for turn in turns
    )


@dataclass
class Counts:
    """What came of some conversations."""

    conversations: int = 0
    tokens: int = 0
    typed: int = 0
    refused: int = 0
    wrong: int = 0
    parsed: int = 0


def counted(kind: Kind, conversations: int, *, seed: int, slice_size: int = 500) -> Counts:
    """Tokenize so many drawn conversations, and hold their control ids against those of harmless ones."""
    chance = random.Random(f"{seed} {kind.name}")
    counts = Counts()
    while counts.conversations < conversations:
        size = min(slice_size, conversations - counts.conversations)
        _count(kind, [spoken(kind, chance) for _ in range(size)], counts)
    return counts


def _count(kind: Kind, drawn: Sequence[tuple[Turn, ...]], counts: Counts) -> None:
    right, found = _control_ids(kind, list(map(harmless, drawn))), _control_ids(kind, drawn)
    texts = [kind.tokenizer.chat_template.render(turns) for turns in drawn]
    whole = kind.tokenizer.full.encode_batch_fast(texts, add_special_tokens=False)
    counts.conversations += len(drawn)
    counts.refused += len(drawn) - len(found)
    counts.tokens += sum(n_tokens for _, n_tokens in found.values())
    counts.typed += sum(turn.content.count(control) for turns in drawn for turn in turns for control in kind.controls)
    counts.wrong += sum(ids != right[n][0] for n, (ids, _) in found.items())
    n_around = len(kind.tokenizer.prefix_ids) if kind.tokenizer.chat_template.is_default else 0
    for n, encoded in enumerate(whole):
        n_parsed = sum(i in kind.tokenizer.control_ids for i in encoded.ids)
        counts.parsed += n_parsed > len(right[n][0]) - n_around


def _control_ids(kind: Kind, drawn: Sequence[tuple[Turn, ...]]) -> dict[int, tuple[list[int], int]]:
    """Give the control ids of each conversation that is not refused, and how many tokens it has."""
    examples = [Example(str(n), "text", turns=turns) for n, turns in enumerate(drawn)]
    done = tokenize_each(examples, kind.tokenizer, shape="decoder").tokens
    ids = {int(tokens.id): tokens.ids_T.tolist() for tokens in done}
    return {n: ([i for i in one if i in kind.tokenizer.control_ids], len(one)) for n, one in ids.items()}


def kinds() -> list[Kind]:
    """Give the tokenizers: those of installed packages, the byte tokenizer, and three that are trained on the spot."""
    found = [Kind("bytes, ChatML", _with(byte_tokenizer().full, CHATML, "<s>", "</s>"), reasons=True, calls=True)]
    for name, template, words in (
        ("smollm2-135m", CHATML, ("<|im_start|>", "<|im_end|>")),
        ("smollm2-135m", HARMONY, ("<|start|>", "<|return|>")),
        ("minilm-l6", None, ("[CLS]", "[SEP]")),
    ):
        try:
            raw = load_tokenizer(resolve(name)).full
        except SettingError as error:
            print(f"left out: {error}")
            continue
        layout = {CHATML: "ChatML", HARMONY: "Harmony", None: "plain template"}[template]
        tokenizer = _with(raw, template, *words)
        found.append(Kind(f"{name}, {layout}", tokenizer, reasons=bool(template), calls=bool(template)))
    sample = ["Hello, hi there: don't say 12,345.6 times to a user or an assistant.", *TEXT] * 40
    return [
        *found,
        Kind("Unigram with control pieces, Llama 2", _with(_unigram(sample), LLAMA2, "<s>", "</s>")),
        Kind("BPE with byte fallback, ChatML", _with(_bpe(sample), CHATML, "<s>", "</s>"), reasons=True, calls=True),
        Kind(
            "bytes in lower case, Harmony",
            _with(_lower(sample), HARMONY, "<s>", "<|return|>"),
            reasons=True,
            calls=True,
        ),
    ]


def _with(raw: tokenizers.Tokenizer, template: str | None, *ends: str) -> Tokenizer:
    """Give a tokenizer the control tokens that the templates here write."""
    raw = tokenizers.Tokenizer.from_str(raw.to_str())
    own = ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|call|>", "<|return|>", "[INST]", "[/INST]")
    raw.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in (*ends, *own)])
    others = ("<think>", "</think>", "<tool_call>", "</tool_call>")
    raw.add_tokens([AddedToken(text, special=False, normalized=False) for text in others])
    roles = dict(zip(("bos_token", "eos_token"), ends, strict=True))
    return Tokenizer(raw.to_str().encode(), roles, template=template)


def _unigram(sample: list[str]) -> tokenizers.Tokenizer:
    """Train a SentencePiece-like model, in whose vocabulary the control tokens are pieces like any other (T5, Llama 2)."""
    raw = tokenizers.Tokenizer(models.Unigram())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.UnigramTrainer(vocab_size=400, unk_token="<unk>", special_tokens=special, show_progress=False)
    raw.train_from_iterator(sample, trainer)
    spec = json.loads(raw.to_str())
    spec["model"]["vocab"] += [[piece, -20.0] for piece in BYTES]
    spec["model"]["byte_fallback"] = True
    return tokenizers.Tokenizer.from_str(json.dumps(spec))


def _bpe(sample: list[str]) -> tokenizers.Tokenizer:
    """Train a model like Gemma's: merges over characters, bytes for what it does not know."""
    raw = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>"]
    raw.train_from_iterator(sample, trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    spec = json.loads(raw.to_str())
    vocabulary = spec["model"]["vocab"]
    spec["model"]["vocab"] = vocabulary | {piece: len(vocabulary) + n for n, piece in enumerate(BYTES)}
    return tokenizers.Tokenizer.from_str(json.dumps(spec))


def _lower(sample: list[str]) -> tokenizers.Tokenizer:
    """Train a model over bytes that reads no capitals and writes compatible characters alike, so that strings arise."""
    raw = tokenizers.Tokenizer(models.BPE())
    raw.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(sample, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False))
    return raw


def main() -> None:
    """Count over every tokenizer; fail where one conversation is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = kinds()
    wrong = 0
    print(f"{'':40}conversations      tokens  typed strings  refused   wrong  parsed by others  seconds")
    for kind in found:
        begun = time.perf_counter()
        counts = counted(kind, -(-asked.conversations // len(found)), seed=asked.seed)
        seconds = time.perf_counter() - begun
        wrong += counts.wrong
        print(
            f"{kind.name:40}{counts.conversations:>13,}{counts.tokens:>12,}{counts.typed:>15,}"
            f"{counts.refused:>9,}{counts.wrong:>8,}"
            f"{counts.parsed:>18,}{seconds:>9.1f}",
            flush=True,
        )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
