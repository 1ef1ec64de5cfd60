"""Examples to tokens: ids with, for each, what stands there, how much it is learned and whether it may be cut.

Text between two control tokens is encoded as one string, however many segments it is made of, so that its ids are
those of the whole text; the characters that each token covers say which segment it belongs to. Where a prompt ends and
a target begins, a token ends too: the ids of a prompt are the beginning of those it was trained with.

Shape letters: T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from formtune.assembly import (
    CONTENT,
    CONTROL,
    SCAFFOLD,
    TARGET,
    Bearing,
    Columns,
    Encoded,
    Fixed,
    Item,
    Planner,
    Requests,
    assemble,
    check_targets,
    encode,
    requests,
)
from formtune.errors import DataError
from formtune.examples import Example, Segment, Shape, Turn
from formtune.records import LeftOut
from formtune.text_encoders import Follows
from formtune.tokenizers import Tokenizer, byte_tokenizer, load_tokenizer

__all__ = [
    "CONTENT",
    "CONTROL",
    "SCAFFOLD",
    "TARGET",
    "Tokenized",
    "Tokenizer",
    "Tokens",
    "byte_tokenizer",
    "load_tokenizer",
    "prompt",
    "prompts",
    "tokenize",
    "tokenize_each",
]


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """One example as arrays of equal length.

    Attributes:
        id: the record's id.
        ids_T: int32, what the model sees.
        labels_T: int32, what stands at that place: the same as ``ids_T`` except in mask slots.
        weights_T: float32, loss weight of ``labels_T`` at that place.
        parts_T: uint8: SCAFFOLD, CONTENT, TARGET, or CONTROL (scaffold that is a control token).
        types_T: uint8 token type: 0, then what the model gives the second text after the first separator.
        cuts_T: uint8: 0 never cut, 1 cut from the end, 2 cut from the start.
        gold: index of the right candidate; None where unknown or free.
        candidates: ids of each candidate, as they follow the prompt (``words``) or fill the slot (``mask``).
        decoder: for encoder-decoder models the target side, beginning with the decoder's start token.
        corrupt: ``"tokens"`` or ``"spans"``: the batch stage corrupts the content anew each epoch.
    """

    id: str
    ids_T: np.ndarray
    labels_T: np.ndarray
    weights_T: np.ndarray
    parts_T: np.ndarray
    types_T: np.ndarray
    cuts_T: np.ndarray
    gold: int | None = None
    candidates: tuple[np.ndarray, ...] = ()
    decoder: "Tokens | None" = None
    corrupt: str | None = None

    @property
    def n_prompt(self) -> int:
        """Tokens before the first target token; all of them where there is none."""
        targets = np.flatnonzero(self.parts_T == TARGET)
        return int(targets[0]) if len(targets) else len(self.ids_T)


@dataclass(frozen=True, slots=True, eq=False)
class Tokenized:
    """What became of examples.

    Attributes:
        tokens: those that could be tokenized, in order.
        left_out: the others, with the reason.
        lossy: ids of the records whose content (not answer) lost characters that the vocabulary lacks.
    """

    tokens: list[Tokens]
    left_out: list[LeftOut]
    lossy: tuple[str, ...]


_Known = dict[object, tuple[tuple[Item, ...], ...]]


@dataclass(frozen=True, slots=True)
class Planned:
    """One example, planned: its sequence, the decoder's side of it, and its candidates.

    Attributes:
        example: which.
        items: its sequence; for an encoder-decoder what the encoder sees.
        decoder: what an encoder-decoder's decoder sees, else None.
        candidates: what is scored, as it stands behind the prompt or in the slot.
    """

    example: Example
    items: list[Item]
    decoder: list[Item] | None
    candidates: tuple[tuple[Item, ...], ...]

    def all_items(self) -> list[Item]:
        """List every item that needs encoding."""
        return [*self.items, *(self.decoder or ()), *(item for one in self.candidates for item in one)]


def tokenize(
    examples: Sequence[Example], tokenizer: Tokenizer, *, shape: Shape, decoder_start_id: int | None = None
) -> list[Tokens]:
    """Turn examples into tokens, with what is learned.

    Args:
        examples: of any format.
        tokenizer: the model's.
        shape: the model's. An encoder gets what its tokenizer puts around a text (``[CLS]``, ``[SEP]``), a decoder
            only what it puts before; a chat template of the model's own brings everything with it.
        decoder_start_id: what an encoder-decoder's decoder starts with.

    Raises:
        DataError: where an example cannot be tokenized; :func:`tokenize_each` leaves it out instead.
        SettingError: where the model lacks a token that the format needs.
        ValueError: where an encoder-decoder comes without ``decoder_start_id``.
    """
    start = _start(shape, decoder_start_id)
    known: _Known = {}
    planned = [plan(e, tokenizer, shape=shape, start=start, known=known) for e in examples]
    encoded = _encoded(planned, tokenizer)
    for one in planned:
        check_targets([*one.items, *(one.decoder or ())], encoded, tokenizer)
    return _built(planned, encoded, tokenizer)


def tokenize_each(
    examples: Sequence[Example], tokenizer: Tokenizer, *, shape: Shape, decoder_start_id: int | None = None
) -> Tokenized:
    """Turn examples into tokens as :func:`tokenize` does, and leave out those that cannot be.

    Raises:
        SettingError: where the model lacks a token that the format needs.
        ValueError: where an encoder-decoder comes without ``decoder_start_id``.
    """
    start = _start(shape, decoder_start_id)
    planned: list[Planned] = []
    left_out: list[LeftOut] = []
    known: _Known = {}
    for example in examples:
        try:
            planned.append(plan(example, tokenizer, shape=shape, start=start, known=known))
        except DataError as error:
            left_out.append(LeftOut(error.problem, id=example.id))
    encoded = _encoded(planned, tokenizer)
    kept: list[Planned] = []
    lossy: list[str] = []
    for one in planned:
        try:
            loses = check_targets([*one.items, *(one.decoder or ())], encoded, tokenizer)
        except DataError as error:
            left_out.append(LeftOut(error.problem, id=one.example.id))
            continue
        kept.append(one)
        lossy += [one.example.id] if loses else []
    return Tokenized(_built(kept, encoded, tokenizer), left_out, tuple(lossy))


def prompts(
    examples: Sequence[Example], tokenizer: Tokenizer, *, shape: Shape, decoder_start_id: int | None = None
) -> list[Tokens]:
    """Turn examples without their answers into tokens: for prediction and serving.

    The ids are the beginning of those that :func:`tokenize` gives. A blank stays, empty and as long as the longest
    candidate; its place has the part TARGET. Nothing has a loss weight.

    Args:
        examples: their answers, where they have one, are not looked at.
        tokenizer: the model's.
        shape: the model's.
        decoder_start_id: for an encoder-decoder, to get the decoder's side too.

    Raises:
        DataError: where an example cannot be tokenized.
        SettingError: where the model lacks a token that the format needs.
    """
    known: _Known = {}
    planned = [
        plan(unanswered(e), tokenizer, shape=shape, start=decoder_start_id, known=known, asking=True) for e in examples
    ]
    return _built(planned, _encoded(planned, tokenizer), tokenizer)


def prompt(example: Example, tokenizer: Tokenizer, *, shape: Shape, decoder_start_id: int | None = None) -> Tokens:
    """Turn one example without its answer into tokens (see :func:`prompts`)."""
    return prompts([example], tokenizer, shape=shape, decoder_start_id=decoder_start_id)[0]


def unanswered(example: Example) -> Example:
    """Take the answer off an example, and every loss weight."""
    turns = example.turns[:-1] if example.turns and example.turns[-1].role == "assistant" else example.turns
    ends = [n for n, segment in enumerate(example.segments) if _is_answer(segment)]
    segments = example.segments[: ends[0]] if ends else example.segments
    return replace(
        example,
        turns=tuple(replace(turn, weight=0.0) for turn in turns),
        segments=tuple(replace(s, weight=0.0, text="" if s.control == "mask" else s.text) for s in segments),
    )


def _is_answer(segment: Segment) -> bool:
    return segment.part == "target" and segment.control != "mask"


def _start(shape: Shape, decoder_start_id: int | None) -> int | None:
    if shape == "encoder-decoder" and decoder_start_id is None:
        raise ValueError("An encoder-decoder needs decoder_start_id.")
    return decoder_start_id


def plan(
    example: Example,
    tokenizer: Tokenizer,
    *,
    shape: Shape,
    start: int | None,
    known: _Known | None = None,
    asking: bool = False,
) -> Planned:
    """Plan one example: what is encoded together, what stands fixed, and what each part carries.

    Args:
        example: of any format.
        tokenizer: the model's.
        shape: the model's.
        start: what an encoder-decoder's decoder starts with; None plans its encoder's side alone.
        known: candidates that were planned already; what is planned is added.
        asking: whether its answer is still to come.

    Raises:
        DataError: where the model's chat template refuses the conversation.
        SettingError: where the model lacks a token that the format needs.
    """
    segments = example.segments
    if example.turns:
        template = tokenizer.chat_template
        segments = template.segments(
            example.turns, example.tools, add_generation_prompt=asking, reasons=example.reasons
        )
    n_asked = next((n for n, segment in enumerate(segments) if _is_answer(segment)), len(segments))
    planner = Planner(tokenizer, shape, candidates=example.candidates)
    planner.extend(segments[:n_asked])
    follows = planner.pause()
    decoder: list[Item] | None = None
    if shape == "encoder-decoder":
        answer, follows = Planner(tokenizer, shape), "nothing"
        answer.extend(segments[n_asked:])
        answer.pause()
        decoder = None if start is None else [Fixed((start,), Bearing()), *answer.items]
    else:
        planner.extend(segments[n_asked:])
        planner.pause()
    known = {} if known is None else known
    candidates = _candidates(example, tokenizer, shape=shape, follows=follows, known=known)
    return Planned(example, _surrounded(planner, example, tokenizer, shape=shape), decoder, candidates)


def _surrounded(planner: Planner, example: Example, tokenizer: Tokenizer, *, shape: Shape) -> list[Item]:
    """Put around a sequence what the model expects there; a chat template of its own brings all of it."""
    if example.turns and not tokenizer.chat_template.is_default:
        return planner.items
    suffix = () if shape == "decoder" else tokenizer.suffix_ids
    return [Fixed(tokenizer.prefix_ids, Bearing()), *planner.items, Fixed(suffix, Bearing(type=planner.type))]


def _candidates(
    example: Example,
    tokenizer: Tokenizer,
    *,
    shape: Shape,
    follows: Follows,
    known: _Known,
) -> tuple[tuple[Item, ...], ...]:
    """Plan what is scored, as it stands behind the prompt or in the slot; ``known`` keeps what comes up again."""
    if example.output not in ("words", "mask"):
        return ()
    place: Follows = "text" if example.output == "mask" else follows
    key = (example.candidates, place, example.tools, tuple(turn.role for turn in example.turns))
    if key not in known:
        planned = []
        for text in example.candidates:
            planner = Planner(tokenizer, shape, follows=place)
            planner.extend(_answer_of(example, text, tokenizer))
            planner.pause()
            planned.append(tuple(planner.items))
        known[key] = tuple(planned)
    return known[key]


def _answer_of(example: Example, text: str, tokenizer: Tokenizer) -> list[Segment]:
    """Lay a candidate out as an answer, without the token that ends it."""
    if not example.turns:
        return [Segment(text, "target")]
    turns = (*unanswered(example).turns, Turn("assistant", text, weight=1.0))
    answer = [s for s in tokenizer.chat_template.segments(turns, example.tools) if s.part == "target"]
    return answer[:-1] if answer and answer[-1].control else answer


def _encoded(planned: Sequence[Planned], tokenizer: Tokenizer) -> dict[tuple[Follows, str], Encoded]:
    wanted: Requests = {}
    for one in planned:
        for key, offsets in requests(one.all_items()).items():
            wanted[key] = wanted.get(key, False) or offsets
    return encode(wanted, tokenizer)


def _built(
    planned: Sequence[Planned], encoded: dict[tuple[Follows, str], Encoded], tokenizer: Tokenizer
) -> list[Tokens]:
    """Assemble all sequences, then the decoders' sides; candidates that several examples share are built once."""
    columns = assemble([one.items for one in planned], encoded, tokenizer)
    decoders = iter(assemble([one.decoder for one in planned if one.decoder is not None], encoded, tokenizer))
    candidates: dict[int, tuple[np.ndarray, ...]] = {}
    out = []
    for one, column in zip(planned, columns, strict=True):
        example = one.example
        if id(one.candidates) not in candidates:
            built = assemble(one.candidates, encoded, tokenizer)
            candidates[id(one.candidates)] = tuple(c.ids_T for c in built)
        decoder = None if one.decoder is None else _tokens(example, next(decoders))
        out.append(
            replace(
                _tokens(example, column),
                gold=example.gold,
                candidates=candidates[id(one.candidates)],
                decoder=decoder,
                corrupt=example.corrupt,
            )
        )
    return out


def _tokens(example: Example, column: Columns) -> Tokens:
    return Tokens(example.id, **{f.name: getattr(column, f.name) for f in fields(column)})
