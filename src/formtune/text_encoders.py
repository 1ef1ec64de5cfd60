"""Encoders of text that know no control token: the model's own vocabulary and rules, without its added tokens.

Shape letters: T tokens, V the vocabulary.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
import tokenizers
from tokenizers import AddedToken, pre_tokenizers

Follows = Literal["nothing", "control", "text"]
Json = dict[str, Any]
NORMAL_FORM: Literal["NFC"] = "NFC"  # of Unicode; what many byte-level vocabularies ask for, and nearly all text has

# Runs of white space and HTML tags are ordinary text that some vocabularies list among their added tokens.
_ORDINARY = re.compile(
    r"[\s▁]+|</?(?:a|b|blockquote|body|caption|code|div|em|footer|h[1-6]|html|i|iframe|li|span|strong|sub|sup"
    r"|table|tbody|td|tfoot|th|thead|tr|u|ul)>"
)


def is_ordinary(token: AddedToken) -> bool:
    """Tell whether an added token is ordinary text, which a user may type."""
    return not token.special and _ORDINARY.fullmatch(token.content) is not None


class TextEncoders:
    """Encoders of text that know no control token; one for each thing that can stand before the text."""

    def __init__(self, full: tokenizers.Tokenizer, parts: Json, controls: Mapping[str, AddedToken]) -> None:
        self._parts = parts
        self._model = _text_model(full, parts, controls)
        added = sorted(full.get_added_tokens_decoder().items())
        self._kept = [token for _, token in added if token.content not in controls and is_ordinary(token)]
        self._true_ids = {token.content: i for i, token in added}
        self._built: dict[str, tokenizers.Tokenizer] = {}
        self._remap_V = self._find_remap(self.get("nothing"))

    def _find_remap(self, encoder: tokenizers.Tokenizer) -> np.ndarray | None:
        # An ordinary added token outside the model's vocabulary gets the next free id, which may not be its own.
        pairs = [(encoder.token_to_id(t.content), self._true_ids[t.content]) for t in self._kept]
        if all(got == true for got, true in pairs):
            return None
        remap_V = np.arange(encoder.get_vocab_size(), dtype=np.int32)
        for got, true in pairs:
            remap_V[got] = true
        return remap_V

    def true_ids(self, ids_T: np.ndarray) -> np.ndarray:
        """Translate the encoders' ids into the model's."""
        return ids_T if self._remap_V is None else self._remap_V[ids_T]

    def byte_lengths(self, n_vocabulary: int) -> np.ndarray | None:
        """Count the UTF-8 bytes of text that each id stands for, so that places follow without the encoder's offsets.

        Where those of a text's ids add up to its bytes, their running sum says which bytes each token covers. They do
        not where a space was written before the text, bytes were dropped that the vocabulary lacks, or the text was not
        in the :meth:`normal_form`.

        Args:
            n_vocabulary: one more than the highest id.

        Returns:
            int32, by id, 0 for control tokens; None where ids do not stand for bytes: the vocabulary is not
            byte-level, a normalizer changes texts in another way, or what is added to them could make up for what is dropped.
        """
        if not _counts_bytes(self._parts, leaves_whole=not self._kept):
            return None
        model, alphabet = self._parts["model"], set(pre_tokenizers.ByteLevel.alphabet())
        lengths_V = np.zeros(n_vocabulary, dtype=np.int32)
        for piece, i in model["vocab"].items():
            lengths_V[i] = len(piece) if alphabet.issuperset(piece) else 0
        none = [*self._true_ids.values(), *filter(None, [model["vocab"].get(model.get("unk_token"))])]
        lengths_V[none] = 0  # control tokens are no text, and the unknown word is any
        for token in self._kept:
            lengths_V[self._true_ids[token.content]] = len(token.content.encode())
        return lengths_V

    @property
    def normal_form(self) -> Literal["NFC"] | None:
        """The form that texts are brought into before they are encoded, where nothing else is done to them."""
        stages = [stage.get("type") for stage in _stages(self._parts.get("normalizer"))]
        return NORMAL_FORM if stages and set(stages) == {NORMAL_FORM} else None

    def get(self, follows: Follows) -> tokenizers.Tokenizer:
        """Build, once, the encoder of texts that follow nothing, a control token, or text."""
        sides = {key: _unprefixed(self._parts.get(key), follows) for key in ("normalizer", "pre_tokenizer")}
        key = json.dumps(sides, sort_keys=True)
        if key not in self._built:
            shell = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
            encoder = tokenizers.Tokenizer.from_str(json.dumps(shell | sides))
            encoder.model = self._model
            encoder.add_tokens(self._kept)
            self._built[key] = encoder
        return self._built[key]


def _counts_bytes(parts: Json, *, leaves_whole: bool) -> bool:
    """Tell whether ids stand for bytes, and bytes that are added cannot hide others that are dropped."""
    model, stages = parts["model"], list(_stages(parts.get("pre_tokenizer")))
    kinds = [stage.get("type") for stage in stages]
    other_marks = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if model["type"] != "BPE" or any(model.get(key) for key in other_marks):
        return False
    if any(stage.get("type") != NORMAL_FORM for stage in _stages(parts.get("normalizer"))):
        return False
    if kinds.count("ByteLevel") != 1 or not set(kinds) <= {"ByteLevel", "Split", "Digits", "Punctuation"}:
        return False
    adds = any(stage.get("add_prefix_space", True) for stage in stages if stage["type"] == "ByteLevel")
    lacks = bool(set(pre_tokenizers.ByteLevel.alphabet()) - model["vocab"].keys())
    return not adds or (len(stages) == 1 and leaves_whole and not lacks)


def _stages(side: Any) -> Iterator[Json]:
    """List the steps of a normalizer or pre-tokenizer."""
    inner = (side or {}).get("normalizers") or (side or {}).get("pretokenizers")
    if inner is not None or not side:
        for one in inner or ():
            yield from _stages(one)
    elif side.get("type") != "Sequence":
        yield side


def _unprefixed(side: Any, follows: Follows) -> Any:
    """Copy a normalizer or pre-tokenizer without the space that it would write before the text."""
    if follows == "nothing" or side is None:
        return side
    if isinstance(side, list):
        return [_unprefixed(one, follows) for one in side]
    if not isinstance(side, dict):
        return side
    if side.get("type") == "Metaspace" and (follows == "text" or side.get("prepend_scheme") == "first"):
        return {k: v for k, v in side.items() if k != "add_prefix_space"} | {"prepend_scheme": "never"}
    if follows == "text" and side.get("type") == "Prepend":
        return {"type": "Sequence", "normalizers": []}
    if follows == "text" and side.get("type") == "ByteLevel":
        return side | {"add_prefix_space": False}
    return {key: _unprefixed(value, follows) for key, value in side.items()}


def _text_model(full: tokenizers.Tokenizer, parts: Json, controls: Mapping[str, AddedToken]) -> Any:
    """Give the model without pieces that spell a control token (``</s>`` is a piece of many Unigram vocabularies)."""
    model = dict(parts["model"])
    vocabulary = model.get("vocab") or {}
    if isinstance(vocabulary, list):
        spelled = {n: piece for n, (piece, _) in enumerate(vocabulary) if piece in controls}
        model["vocab"] = [[_unspeakable(n), s] if n in spelled else [p, s] for n, (p, s) in enumerate(vocabulary)]
    else:
        spelled = {vocabulary[piece]: piece for piece in controls if piece in vocabulary}
        model["vocab"] = {_unspeakable(i) if i in spelled else piece: i for piece, i in vocabulary.items()}
    if not spelled:
        return full.model
    if "merges" in model:
        names = set(spelled.values())
        pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
        model["merges"] = [m for m in pairs if m[0] + m[1] not in names and m[0] not in names and m[1] not in names]
    whole = {"version": "1.0", "added_tokens": [], "model": model}
    return tokenizers.Tokenizer.from_buffer(msgspec.json.encode(whole)).model


def _unspeakable(n: int) -> str:
    # Noncharacters, which no normalizer produces; encode() checks that none of these ids comes out.
    return f"\uffff\ufffe{n}\ufffe\uffff"
