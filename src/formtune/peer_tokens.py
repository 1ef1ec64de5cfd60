"""A conversation as tokens as another trainer has them, by its rule (see :mod:`formtune.peer_rules`)."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise

from formtune.errors import DataError
from formtune.examples import Example, Segment, Turn
from formtune.peer_rules import PeerRule
from formtune.tokens import Tokenizer


@dataclass(frozen=True, slots=True)
class PeerToken:
    """A token as another trainer has it: its id, what it would weigh, which rule says so, and where it comes from."""

    id: int
    weight: float
    why: str
    segment: Segment


def peer_tokens(rule: PeerRule, example: Example, tokenizer: Tokenizer) -> list[PeerToken]:
    """Turn a conversation into tokens as another trainer would, all that it has before anything is cut.

    Raises:
        DataError: where the chat template, or the trainer, refuses it.
    """
    if rule.alternates and not _alternates(example.turns):
        raise DataError(
            f"{rule.title} leaves out a conversation in which user and assistant do not speak in turn.",
            "Put turns of one speaker together, or preview it as another trainer does.",
        )
    turns = tuple(_weighed(turn, rule) for turn in example.turns)
    segments = [s for s in tokenizer.chat_template.segments(turns, example.tools) if s.text]
    if not rule.apart:
        return list(_encoded(rule, segments, tokenizer))
    whole = list(_with_what_closes(segments))
    groups = (list(group) for _, group in groupby(whole, key=lambda segment: segment.weight > 0))
    return [token for group in groups for token in _encoded(rule, group, tokenizer)]


def kept(rule: PeerRule, tokens: Sequence[PeerToken]) -> list[PeerToken]:
    """Cut tokens as another trainer would."""
    if rule.capacity is None or len(tokens) <= rule.capacity:
        return list(tokens)
    match rule.loses:
        case "end":
            return list(tokens[: rule.capacity])
        case "turns":
            return _cut_turns(tokens, rule.capacity)
    return []


def _encoded(rule: PeerRule, segments: Sequence[Segment], tokenizer: Tokenizer) -> Iterator[PeerToken]:
    """Turn the joined text of segments into tokens, each with the segment that it begins in."""
    ends = list(accumulate(len(segment.text) for segment in segments))
    encoded = tokenizer.full.encode("".join(segment.text for segment in segments), add_special_tokens=False)
    for id_, (start, _) in zip(encoded.ids, encoded.offsets, strict=True):
        segment = segments[min(bisect_right(ends, start), len(segments) - 1)]
        weight = 1.0 if rule.learns_all else segment.weight
        is_typed = id_ in tokenizer.control_ids and segment.control is None
        yield PeerToken(id_, weight, _why(rule, segment, is_typed=is_typed), segment)


def _with_what_closes(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Count white space behind an answer's end token to the answer."""
    yield from segments[:1]
    for before, segment in pairwise(segments):
        bare = segment.text.lstrip()
        n_blank = len(segment.text) - len(bare)
        closes = before.weight > 0 and before.control in ("stop", "token") and segment.control is None
        if not closes or segment.weight > 0 or not n_blank:
            yield segment
            continue
        yield replace(segment, text=segment.text[:n_blank], weight=before.weight)
        if bare:
            yield replace(segment, text=bare)


def _cut_turns(tokens: Sequence[PeerToken], capacity: int) -> list[PeerToken]:
    """Cut a question and its answer, one exchange after the other, until there is no room."""
    found: list[PeerToken] = []
    for asked, answer in _exchanges(tokens):
        room = capacity - len(found)
        if 2 * len(answer) < room:  # a short answer stays whole, and so does a short question
            n_answer = len(answer)
        elif 2 * len(asked) < room:
            n_answer = min(len(answer), room - len(asked))
        else:
            n_answer = min(len(answer), int(room * len(answer) / (len(asked) + len(answer))))
        found += [*asked[: room - n_answer], *answer[:n_answer]]
        if len(found) >= capacity:
            break
    return found


def _exchanges(tokens: Sequence[PeerToken]) -> Iterator[tuple[list[PeerToken], list[PeerToken]]]:
    """Part tokens into what is not learned, and what is learned behind it."""
    runs = [list(run) for _, run in groupby(tokens, key=lambda token: token.weight > 0)]
    runs = runs if not runs or runs[0][0].weight <= 0 else [[], *runs]
    yield from zip(runs[::2], [*runs[1::2], []], strict=False)


def _alternates(turns: Sequence[Turn]) -> bool:
    said = [turn.role for turn in turns if turn.role != "system"]
    return all((role == "assistant") == bool(place % 2) for place, role in enumerate(said)) and len(said) % 2 == 0


def _weighed(turn: Turn, rule: PeerRule) -> Turn:
    if turn.role != "assistant" or rule.reads_weights:
        return turn
    return replace(turn, weight=1.0, spans=())


def _why(rule: PeerRule, segment: Segment, *, is_typed: bool) -> str:
    if is_typed:
        return "typed in the data, and taken for a control token"
    if segment.weight > 0:
        if segment.part == "scaffold":
            return "stands behind the assistant's turn, and counts to it"
        return "ends the assistant's turn" if segment.control else "the assistant's turn"
    if rule.learns_all:
        return "not the assistant's, and learned all the same"
    return "not the assistant's" if segment.part != "target" else "the data says not to learn it"
