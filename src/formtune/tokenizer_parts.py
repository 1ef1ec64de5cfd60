"""What the files of a tokenizer say: its parts, tokens with roles, control tokens, bytes that it lacks."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import tokenizers
from tokenizers import AddedToken

from formtune.errors import DataError
from formtune.text_encoders import Json, is_ordinary

_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
# GPT-2's byte alphabet: printable bytes stand for themselves, the others follow from U+0100 on.
BYTE_OF = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(256 + n): byte for n, byte in enumerate(byte for byte in range(256) if byte not in _PRINTABLE)
}


def parsed(spec: bytes, at: object) -> tuple[tokenizers.Tokenizer, Json]:
    """Read ``tokenizer.json``: the tokenizer, which neither cuts nor pads, and its parts.

    Raises:
        DataError: where it is none.
    """
    try:
        parts: Json = msgspec.json.decode(spec)
        full = tokenizers.Tokenizer.from_buffer(spec)
        parts["model"]["type"]
    except msgspec.DecodeError as error:
        raise DataError(f"This is not JSON ({error}).", "Copy the tokenizer file again.", at=at) from error
    except (ValueError, KeyError, TypeError) as error:
        message = f"The installed `tokenizers` cannot read this ({str(error)[:200]})."
        raise DataError(message, "Copy the file again, or run: pip install -U tokenizers.", at=at) from error
    full.no_truncation()
    full.no_padding()
    return full, parts


def role_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """Give the text of each token that has a role: what begins and ends, pads, parts, masks."""
    roles = {}
    for role in _ROLES:
        value = config.get(f"{role}_token")
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str) and text:
            roles[role] = text
    return roles


def declared_tokens(config: Mapping[str, Any], at: object) -> list[AddedToken]:
    """List the tokens that the configuration declares, in the order of their ids.

    Raises:
        DataError: where it does not name them so.
    """
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    declared = config.get("added_tokens_decoder") or {}
    try:
        entries = [entry for _, entry in sorted(declared.items(), key=lambda item: int(item[0]))]
        return [AddedToken(e["content"], **{n: bool(e.get(n, False)) for n in names}) for e in entries]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            "'added_tokens_decoder' in tokenizer_config.json does not name tokens by their ids.",
            "Copy the file again.",
            at=at,
        ) from error


def add_declared(full: tokenizers.Tokenizer, declared: Iterable[AddedToken], roles: Mapping[str, str]) -> None:
    """Add tokens that only the configuration declares, at their ids, as transformers does."""
    for token in declared:
        if full.token_to_id(token.content) is None:
            full.add_tokens([token])
    known = {token.content for token in full.get_added_tokens_decoder().values()}
    plain = [text for text in roles.values() if text not in known and full.token_to_id(text) is not None]
    full.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in plain])


def control_tokens(full: tokenizers.Tokenizer, roles: Mapping[str, str], unk_id: int | None) -> dict[str, AddedToken]:
    """Give the control tokens by their texts, in the order of their ids."""
    named = set(roles.values())
    return {
        token.content: token
        for i, token in sorted(full.get_added_tokens_decoder().items())
        if i != unk_id and (token.content in named or not is_ordinary(token))
    }


def unknown_id(model: Json) -> int | None:
    """Find the id that the model itself gives to what it does not know; an ``unk_token`` it never emits is none."""
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    vocabulary = model.get("vocab")
    return vocabulary.get(model.get("unk_token")) if isinstance(vocabulary, dict) else None


def honored(ids: Sequence[int], wanted: object, token_id: int | None) -> tuple[int, ...]:
    """Let an explicit ``add_bos_token``/``add_eos_token`` of the configuration overrule the post-processor."""
    if token_id is None or not isinstance(wanted, bool) or wanted == (token_id in ids):
        return tuple(ids)
    return (token_id,) if wanted else tuple(i for i in ids if i != token_id)


def holds(parts: Json, kind: str) -> bool:
    """Tell whether text is changed or parted by a step of a kind."""
    sides = json.dumps([parts.get("normalizer"), parts.get("pre_tokenizer")])
    return f'"type": "{kind}"' in sides


def missing_bytes(parts: Json) -> bytes:
    """Give the bytes that a vocabulary of bytes lacks; text that holds them loses them."""
    model = parts["model"]
    if model["type"] != "BPE" or not holds(parts, "ByteLevel") or model.get("unk_token"):
        return b""
    return bytes(sorted(byte for char, byte in BYTE_OF.items() if char not in model["vocab"]))
