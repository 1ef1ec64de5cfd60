"""Text to ids and back, for any model folder, so that what a user types can never become a control token.

A *control token* is an entry of the tokenizer's added tokens, special or not (``<|im_end|>``, ``[SEP]``,
``<tool_call>``). Runs of white space and HTML tags, which some vocabularies (Gemma, GPT-NeoX) also list there, are
ordinary text. Control ids come from the caller alone: text is encoded by a second tokenizer that does not know them.

Shape letters: T tokens.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
from tokenizers import AddedToken

from formtune.encoder_proofs import Engines
from formtune.errors import DataError, SettingError
from formtune.flat_encoders import Flat
from formtune.model_files import file_digest, read_json
from formtune.template_options import NO_OPTIONS, TemplateOptions
from formtune.templates import DEFAULT_TEMPLATE, ChatTemplate
from formtune.text_encoders import Follows, Json, TextEncoders
from formtune.tokenizer_parts import (
    BYTE_OF,
    add_declared,
    control_tokens,
    declared_tokens,
    holds,
    honored,
    missing_bytes,
    parsed,
    role_texts,
    unknown_id,
)

_SENTINEL = re.compile(r"<extra_id_(\d+)>")
_FIRST_CJK = "\u2e80"
# Letters and digits of ASCII, and whatever begins or goes on with a character up to U+1FFF.
_LETTER_BYTES = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") | frozenset(
    range(0x80, 0xE2)
)


class Tokenizer:
    """A model's tokenizer: text to ids and back, its control tokens, its chat template.

    Attributes:
        controls: text → its entry, for every control token (the unknown-word token is not one: text yields it).
        control_ids: their ids.
        ids: the ids of the roles (``bos``, ``eos`` ...) that the model has.
        bos_id, eos_id, unk_id, sep_id, pad_id, mask_id: ids by role; None where the model has none.
        prefix_ids, suffix_ids: what the model puts around a single text (``[CLS]`` and ``[SEP]``; Llama's BOS).
        separator_ids, second_type: what it puts between a pair of texts, and the second one's token type.
        sentinel_ids: T5's ``<extra_id_0>``, ``<extra_id_1>``, ... in this order.
        n_vocabulary: one more than the highest id.
        missing_bytes: bytes that a byte-level vocabulary lacks and would drop without a word.
        chat_template: the model's own, or formtune's plain one (``chat_template.is_default``).
        digest: SHA-256 of everything that decides ids.
        engines: what :meth:`encode_flat` encodes with; ``choose(sample)`` takes the fastest, ``choices`` says which.
    """

    def __init__(
        self,
        spec: bytes,
        config: Mapping[str, Any],
        *,
        template: str | None = None,
        template_options: TemplateOptions = NO_OPTIONS,
        at: object = None,
    ) -> None:
        """Build from the content of ``tokenizer.json`` and ``tokenizer_config.json``.

        Raises:
            DataError: where the content is not a tokenizer.
            SettingError: where the chat template does not look at an option.
        """
        self.at = at
        self.full, parts = parsed(spec, at)
        roles = role_texts(config)
        add_declared(self.full, declared_tokens(config, at), roles)
        self.unk_id = unknown_id(parts["model"])
        self.controls = control_tokens(self.full, roles, self.unk_id)
        found = {role: self.full.token_to_id(text) for role, text in roles.items()}
        self.ids = {role: i for role, i in found.items() if i is not None}
        self.control_ids = frozenset(i for i in map(self.full.token_to_id, self.controls) if i is not None)
        self._strips = {self.full.token_to_id(text): (t.lstrip, t.rstrip) for text, t in self.controls.items()}
        self.n_vocabulary = 1 + max(self.full.get_vocab(with_added_tokens=True).values(), default=-1)
        self._is_control_V = np.zeros(self.n_vocabulary, dtype=bool)
        self._is_control_V[list(self.control_ids)] = True
        self._encoders = TextEncoders(self.full, parts, self.controls)
        self.engines = Engines(self._encoders, self.controls)
        self._read_surroundings(config)
        self.missing_bytes = missing_bytes(parts)
        self._continuing = parts["model"].get("continuing_subword_prefix") or ""
        self._is_byte_level = holds(parts, "ByteLevel")
        sentinels = sorted((int(m[1]), text) for text in self.controls if (m := _SENTINEL.fullmatch(text)))
        self.sentinel_ids = tuple(self.full.token_to_id(text) for _, text in sentinels)
        self.chat_template = ChatTemplate(
            template if template is not None else DEFAULT_TEMPLATE,
            special_tokens={f"{role}_token": text for role, text in roles.items()},
            controls=self.controls,
            is_default=template is None,
            options=template_options,
        )
        template_told = (self.chat_template.source, *self.chat_template.told)
        settings = json.dumps([roles, self.prefix_ids, self.suffix_ids, *template_told], sort_keys=True)
        self.digest = hashlib.sha256(spec + settings.encode()).hexdigest()

    def _read_surroundings(self, config: Mapping[str, Any]) -> None:
        single = self.full.encode("a")
        texts = [n for n, of in enumerate(single.sequence_ids) if of is not None] or [0]
        prefix, suffix = single.ids[: texts[0]], single.ids[texts[-1] + 1 :]
        self.prefix_ids = honored(prefix, config.get("add_bos_token"), self.bos_id)
        self.suffix_ids = honored(suffix, config.get("add_eos_token"), self.eos_id)
        pair = self.full.encode("a", "a")
        first = [n for n, of in enumerate(pair.sequence_ids) if of == 0] or [0]
        second = [n for n, of in enumerate(pair.sequence_ids) if of == 1] or [first[-1]]
        self.separator_ids = tuple(pair.ids[first[-1] + 1 : second[0]])
        self.second_type = pair.type_ids[second[0]]

    @property
    def bos_id(self) -> int | None:
        """The id that begins a text, or None."""
        return self.ids.get("bos")

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text, or None."""
        return self.ids.get("eos")

    @property
    def pad_id(self) -> int | None:
        """The id that fills a batch, or None."""
        return self.ids.get("pad")

    @property
    def mask_id(self) -> int | None:
        """The id of a masked place, or None."""
        return self.ids.get("mask")

    @property
    def sep_id(self) -> int | None:
        """The id between two texts, or None."""
        return self.ids.get("sep")

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The ids at which a generated answer ends: end of text, and whatever ends an assistant's turn."""
        ends = {self.eos_id, *map(self.full.token_to_id, self.chat_template.stops)}
        return frozenset(i for i in ends if i is not None)

    def encode(
        self, texts: Sequence[str], follows: Follows = "nothing", *, offsets: bool = True
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Encode texts, none of which can yield a control token.

        Args:
            texts: any text; ``<|im_end|>`` in it stays a handful of harmless tokens.
            follows: what stands before each text. SentencePiece models write a space before the first word of a text,
                and mostly not where it goes on.
            offsets: False skips them (they are then zeros), which is faster.

        Returns:
            For each text its ids (int32, T) and the characters each token covers (int32, T x 2).

        Raises:
            DataError: where a text yields a control token all the same; that is a defect of the vocabulary.
        """
        encoder = self._encoders.get(follows)
        batch = (encoder.encode_batch if offsets else encoder.encode_batch_fast)(list(texts))
        out = []
        for text, one in zip(texts, batch, strict=True):
            ids_T = self._encoders.true_ids(np.array(one.ids, dtype=np.int32))
            if self._is_control_V[ids_T].any():
                raise self._forged(text, ids_T)
            out.append((ids_T, np.array(one.offsets, dtype=np.int32).reshape(-1, 2)))
        return out

    def encode_flat(self, texts: Sequence[str], follows: Follows = "nothing") -> Flat:
        """Encode texts as :meth:`encode` does, into one array, without the characters that tokens cover.

        Raises:
            DataError: as there.
        """
        flat = self.engines.encode(texts, follows)
        if (places_T := np.flatnonzero(self._is_control_V[flat.ids_T])).size:
            n = int(flat.owners(places_T[:1])[0])
            raise self._forged(texts[n], flat.of(n))
        return flat

    def _forged(self, text: str, ids_T: np.ndarray) -> DataError:
        token = self.full.id_to_token(int(ids_T[self._is_control_V[ids_T]][0]))
        return DataError(
            f"The text {text[:40]!r} yields the control token {token!r}.",
            "Remove that string from the data, or use another model.",
            at=self.at,
        )

    def id_of(self, token: str) -> int | None:
        """Give the id of a control token by its text, or None."""
        return self.full.token_to_id(token) if token in self.controls else None

    def strips(self, token_id: int) -> tuple[bool, bool]:
        """Tell whether a control token takes away the white space before it, and behind it."""
        return self._strips.get(token_id, (False, False))

    def lost(self, text: str) -> str:
        """Name the characters of a text that the vocabulary lacks and would drop; empty nearly always."""
        raw = text.encode("utf-8", "surrogatepass")
        if not self.missing_bytes or len(raw.translate(None, self.missing_bytes)) == len(raw):
            return ""
        missing = set(self.missing_bytes)
        return "".join(dict.fromkeys(c for c in text if missing & set(c.encode("utf-8", "surrogatepass"))))

    def decode(self, ids: Iterable[int], *, skip_control: bool = True) -> str:
        """Turn ids back into text, without control tokens unless they are asked for."""
        kept = [int(i) for i in ids if not (skip_control and int(i) in self.control_ids)]
        return str(self.full.decode(kept, skip_special_tokens=False))

    @cached_property
    def byte_lengths(self) -> np.ndarray | None:
        """The UTF-8 bytes that each id stands for, or None: see :meth:`TextEncoders.byte_lengths`."""
        return self._encoders.byte_lengths(self.n_vocabulary)

    @property
    def normal_form(self) -> Literal["NFC"] | None:
        """The form that texts are brought into, or None: see :meth:`TextEncoders.normal_form`."""
        return self._encoders.normal_form

    @cached_property
    def text_ids(self) -> np.ndarray:
        """The ids that are text: all but control tokens and the unknown word, ascending."""
        none = [i for i in (*self.control_ids, self.unk_id) if i is not None]
        return np.setdiff1d(np.array(sorted(self.full.get_vocab().values()), dtype=np.int32), none)

    @cached_property
    def continuations(self) -> np.ndarray:
        """For every id, whether it goes on with the word of the token before it.

        WordPiece marks such tokens. Elsewhere they are those that begin with a letter or digit, or inside a
        character; Chinese, Japanese and Korean characters are words of their own.
        """
        continues_V = np.zeros(self.n_vocabulary, dtype=bool)
        for raw, i in self.full.get_vocab().items():
            continues_V[i] = i not in self.control_ids and self._continues(raw)
        return continues_V

    def _continues(self, raw: str) -> bool:
        if self._continuing:
            return raw.startswith(self._continuing)
        if self._is_byte_level and raw[:1] in BYTE_OF:
            return BYTE_OF[raw[0]] in _LETTER_BYTES
        return raw[:1].isalnum() and raw[0] < _FIRST_CJK

    def token_text(self, token_id: int) -> str:
        """Give one token as a person should see it: its text, or ``<0xE4>`` for a byte that is not a character."""
        raw = self.full.id_to_token(int(token_id))
        if raw is None:
            return f"<{token_id}>"
        if int(token_id) in self.control_ids or not self._is_byte_level:
            return str(raw).replace("▁", " ")
        if any(c not in BYTE_OF for c in raw):
            return str(raw)
        data = bytes(BYTE_OF[c] for c in raw)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in data)


def load_tokenizer(folder: str | Path, *, template_options: TemplateOptions = NO_OPTIONS) -> Tokenizer:
    """Load the tokenizer of a Hugging Face model folder, with its chat template where it has one.

    Args:
        folder: holds ``tokenizer.json``, mostly ``tokenizer_config.json``, perhaps ``special_tokens_map.json`` and
            ``chat_template.jinja``.
        template_options: what the chat template is told; see :class:`formtune.templates.ChatTemplate`.

    Raises:
        SettingError: where there is no such folder, no ``tokenizer.json`` in it, or an option that the chat template does
            not look at.
        DataError: where a file cannot be read as what it should be.
    """
    place = Path(folder)
    file = place / "tokenizer.json"
    if not place.is_dir():
        raise SettingError("There is no such model folder.", "Give the folder that holds the model's files.", at=place)
    if not file.is_file():
        raise SettingError(
            "This model folder has no 'tokenizer.json'.",
            "Make one with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER).",
            at=place,
        )
    told = [place / name for name in ("special_tokens_map.json", "tokenizer_config.json", "chat_template.jinja")]
    digests = tuple((path, file_digest(path)) for path in (file, *told) if path.is_file())
    return _made(digests, template_options)


@lru_cache(maxsize=8)  # several arms have the same, and nothing changes one
def _made(digests: tuple[tuple[Path, str], ...], template_options: TemplateOptions) -> Tokenizer:
    """Make a tokenizer from the files of a folder, ``tokenizer.json`` first."""
    file, *told = (path for path, _ in digests)
    config: Json = {key: value for path in told if path.suffix == ".json" for key, value in read_json(path).items()}
    source = _template_source(file.parent, config)
    return Tokenizer(file.read_bytes(), config, template=source, template_options=template_options, at=file)


def _template_source(folder: Path, config: Json) -> str | None:
    own = folder / "chat_template.jinja"
    if own.is_file():
        try:
            return own.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"This is not UTF-8 ({error}).", "Copy the file again.", at=own) from error
    value = config.get("chat_template")
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) and value.strip() else None


_BYTE_TEMPLATE = (
    "{% for message in messages %}{{ bos_token + message['role'] + '\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ bos_token + 'assistant\\n' }}{% endif %}"
)


def byte_tokenizer() -> Tokenizer:
    """Make a tokenizer with one token a byte: for tests, and for looking at data without a model.

    Ids 0 to 5 are ``<s> </s> <pad> <mask> <sep> <cls>``, byte b is b + 6, and 16 T5 sentinels follow. It puts nothing
    around a text, and its chat template is ChatML with ``<s>`` and ``</s>`` around the turns.
    """
    controls = ("<s>", "</s>", "<pad>", "<mask>", "<sep>", "<cls>")
    sentinels = tuple(f"<extra_id_{n}>" for n in range(16))
    in_order = sorted(BYTE_OF, key=lambda char: BYTE_OF[char])
    vocabulary = {text: i for i, text in enumerate((*controls, *in_order, *sentinels))}
    full = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    full.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    full.decoder = tokenizers.decoders.ByteLevel()
    full.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in (*controls, *sentinels)])
    config = {f"{text[1:-1]}_token": text for text in controls[2:]} | {"bos_token": "<s>", "eos_token": "</s>"}
    return Tokenizer(full.to_str().encode(), config, template=_BYTE_TEMPLATE)
