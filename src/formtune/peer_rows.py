"""A row as tokens as another trainer has them: a conversation, or what stands in rows that it takes without turns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from formtune.errors import SettingError
from formtune.examples import Example, Segment
from formtune.peer_rules import PEER_RULES, PeerRule, Reading
from formtune.peer_tokens import TYPED, PeerToken, end_of_text, peer_tokens
from formtune.records import Conversation, Message, Plain, Record
from formtune.tokens import Tokenizer

_GIVEN, _LEARNED = Segment("", "content"), Segment("", "target", 1.0)
_ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)


@dataclass(frozen=True, slots=True)
class PeerRow:
    """The rule as it is for a row, and the row's tokens before anything is cut."""

    rule: PeerRule
    tokens: list[PeerToken]


def peer_row(
    rule: PeerRule,
    record: Record,
    tokenizer: Tokenizer,
    *,
    dialect: str | None,
    conversation: Callable[[], Example],
) -> PeerRow:
    """Turn a row into tokens as another trainer would; where that is not held, the same words as messages.

    Args:
        rule: the trainer's.
        record: as it was read from the row.
        tokenizer: of the model, with its chat template.
        dialect: of the row.
        conversation: gives the record as an example with turns.

    Raises:
        DataError: where the chat template, or the trainer, refuses the conversation.
        SettingError: where it must be a conversation and cannot be one.
    """
    layout = rule.layout(dialect)
    read = _READERS.get(layout.reading) if layout else None
    if layout and read and (tokens := read(record, tokenizer)) is not None:
        return PeerRow(rule.taking(layout), tokens)
    if isinstance(record, Plain):
        raise SettingError(
            f"What {rule.title} learns of plain text is not held against it, and not shown.",
            f"Leave --as out, or choose from {', '.join(_readers_of_text())}.",
            at="--as",
        )
    example = conversation()
    tokens = peer_tokens(rule, example, tokenizer, dialect=dialect)
    if layout and layout.reading == "completion" and any(turn.is_learned for turn in example.turns):
        return PeerRow(rule.taking(layout), _without_prompt(tokens, example, tokenizer))
    is_held = layout is not None and layout.reading == "turns"
    return PeerRow(rule.taking(layout) if layout and is_held else rule.unheld(dialect), tokens)


def _readers_of_text() -> list[str]:
    return [name for name, rule in PEER_RULES.items() if rule.layout("plain")]


def _without_prompt(tokens: Sequence[PeerToken], example: Example, tokenizer: Tokenizer) -> list[PeerToken]:
    """Unlearn the prompt, which ends before the first answer that is learned: as far as its own tokens are the same."""
    n_asked = next(place for place, turn in enumerate(example.turns) if turn.is_learned)
    text = tokenizer.chat_template.render(example.turns[:n_asked], example.tools, add_generation_prompt=True)
    n_given = _n_same(_ids(text, tokenizer), [token.id for token in tokens])
    return [*(replace(token, weight=0.0, why="the prompt") for token in tokens[:n_given]), *tokens[n_given:]]


def _texts(record: Record, tokenizer: Tokenizer) -> list[PeerToken] | None:
    """Learn a completion behind a prompt, both texts that are encoded together; None where they are messages."""
    if not isinstance(record, Conversation) or [one.role for one in record.messages] != ["user", "assistant"]:
        return None
    prompt, completion = (message.content for message in record.messages)
    end = _missing_end(completion, tokenizer)
    ids = _ids(prompt + completion + end, tokenizer)
    n_given = _n_same([*_ids(prompt, tokenizer), *tokenizer.suffix_ids], ids)
    given = _tokens(ids[:n_given], tokenizer, segment=_GIVEN, why="the prompt")
    learned = _tokens(ids[n_given:], tokenizer, segment=_LEARNED, why="the completion")
    if end:
        learned[-1] = replace(learned[-1], why="ends the completion")
    return [*_around(tokenizer.prefix_ids, _GIVEN), *given, *learned, *_around(tokenizer.suffix_ids, _LEARNED)]


def _text(record: Record, tokenizer: Tokenizer) -> list[PeerToken] | None:
    """Learn a text whole; its end is written behind it where it does not stand there."""
    if not isinstance(record, Plain):
        return None
    end = _missing_end(record.text, tokenizer)
    learned = _tokens(_ids(record.text + end, tokenizer), tokenizer, segment=_LEARNED, why="the text")
    if end:
        learned[-1] = replace(learned[-1], why="ends the text")
    return [*_around(tokenizer.prefix_ids, _LEARNED), *learned, *_around(tokenizer.suffix_ids, _LEARNED)]


def _closed(record: Record, tokenizer: Tokenizer) -> list[PeerToken] | None:
    """Learn a text whole; the id of its end is put behind it where it does not stand there."""
    if not isinstance(record, Plain):
        return None
    learned = _tokens(_ids(record.text, tokenizer), tokenizer, segment=_LEARNED, why="the text")
    return [*_around(tokenizer.prefix_ids, _LEARNED), *_with_end(learned, tokenizer, why="ends the text")]


def _segments(record: Record, tokenizer: Tokenizer) -> list[PeerToken] | None:
    """Learn segments of a text or not, each turned into tokens apart."""
    if not isinstance(record, Conversation) or len(record.messages) != 1:
        return None
    [message] = record.messages
    return [
        token
        for span in message.spans
        for token in _tokens(
            _ids(message.content[span.start : span.end], tokenizer),
            tokenizer,
            segment=_LEARNED if span.weight > 0 else _GIVEN,
            why="a segment that is learned" if span.weight > 0 else "a segment that is not learned",
        )
    ]


def _alpaca(record: Record, tokenizer: Tokenizer) -> list[PeerToken] | None:
    """Learn an output behind an instruction in Alpaca's wording, each turned into tokens apart.

    None where the question has several lines: a record does not say where its instruction ends and its input begins, and the
    wording with an input is another.
    """
    match record:
        case Conversation(
            messages=(*_, Message(role="user", content=asked), Message(role="assistant", content=answer))
        ):
            pass
        case _:
            return None
    if "\n" in asked:
        return None
    prompt = _tokens(_ids(_ALPACA.format(instruction=asked), tokenizer), tokenizer, segment=_GIVEN, why="the prompt")
    output = _tokens(_ids(answer, tokenizer), tokenizer, segment=_LEARNED, why="the output")
    before = [*_around(tokenizer.prefix_ids, _GIVEN), *prompt, *_around(tokenizer.suffix_ids, _GIVEN)]
    return [*before, *_with_end(output, tokenizer, why="ends the output")]


_READERS: Mapping[Reading, Callable[[Record, Tokenizer], list[PeerToken] | None]] = {
    "texts": _texts,
    "text": _text,
    "closed": _closed,
    "segments": _segments,
    "alpaca": _alpaca,
}


def _missing_end(text: str, tokenizer: Tokenizer) -> str:
    """Give what ends a text, where that does not stand there."""
    end = end_of_text(tokenizer) or ""
    return "" if text.endswith(end) else end


def _with_end(tokens: Sequence[PeerToken], tokenizer: Tokenizer, *, why: str) -> list[PeerToken]:
    """Put behind learned tokens what the tokenizer does, and its end of text unless they end with it."""
    found = [*tokens, *_around(tokenizer.suffix_ids, _LEARNED)]
    if tokenizer.eos_id is None or (found and found[-1].id == tokenizer.eos_id):
        return found
    return [*found, PeerToken(tokenizer.eos_id, 1.0, why, _LEARNED)]


def _ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """Encode a text, control strings in it as control tokens, and nothing around it."""
    ids: list[int] = tokenizer.full.encode(text, add_special_tokens=False).ids
    return ids


def _tokens(ids: Iterable[int], tokenizer: Tokenizer, *, segment: Segment, why: str) -> list[PeerToken]:
    return [PeerToken(id_, segment.weight, TYPED if id_ in tokenizer.control_ids else why, segment) for id_ in ids]


def _around(ids: Iterable[int], segment: Segment) -> list[PeerToken]:
    return [PeerToken(id_, segment.weight, "put around a text by the tokenizer", segment) for id_ in ids]


def _n_same(ids: Sequence[int], others: Sequence[int]) -> int:
    """Count the ids at the beginning in which two lists agree."""
    pairs = enumerate(zip(ids, others, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(ids), len(others)))
