"""A conversation as tokens as another trainer has them, by its rule (see :mod:`formtune.peer_rules`)."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, groupby, pairwise

from formtune.errors import DataError
from formtune.examples import Example, Segment, Turn
from formtune.peer_rules import PeerRule
from formtune.records import Span
from formtune.tokens import Tokenizer

TYPED = "typed in the data, and taken for a control token"
_Answers = list[list[Segment]]  # what stands around answers, and those, by turns: the odd ones are answers


@dataclass(frozen=True, slots=True)
class PeerToken:
    """A token as another trainer has it: its id, what it would weigh, which rule says so, and where it comes from."""

    id: int
    weight: float
    why: str
    segment: Segment


def peer_tokens(
    rule: PeerRule, example: Example, tokenizer: Tokenizer, *, dialect: str | None = None
) -> list[PeerToken]:
    """Turn a conversation into tokens as another trainer would, all that it has before anything is cut.

    Args:
        rule: the trainer's.
        example: with turns.
        tokenizer: of the model, with its chat template.
        dialect: of the row that it was read from, whose loss weights a trainer reads or not.

    Raises:
        DataError: where the chat template, or the trainer, refuses it.
    """
    turns = _heard(rule, example.turns, heeds=dialect in rule.weights_of)
    parts = _parted(tokenizer.chat_template.segments(turns, example.tools))
    segments = list(chain.from_iterable(_ended(rule, parts, turns, eos=end_of_text(tokenizer))))
    if not rule.apart:
        return list(_encoded(rule, segments, tokenizer))
    whole = list(_with_what_closes(segments))
    groups = (list(group) for _, group in groupby(whole, key=lambda segment: segment.weight > 0))
    return [token for group in groups for token in _encoded(rule, group, tokenizer)]


def kept(rule: PeerRule, tokens: Sequence[PeerToken], *, readable: int | None = None) -> list[PeerToken]:
    """Cut tokens as another trainer would; ``readable`` is what the model reads, where the rule names no capacity."""
    left = _cut(rule, tokens, rule.capacity or readable)
    is_dropped = rule.drops_unlearned and not any(token.weight > 0 for token in left)
    return [] if is_dropped else left


def _cut(rule: PeerRule, tokens: Sequence[PeerToken], capacity: int | None) -> list[PeerToken]:
    if capacity is None or len(tokens) <= capacity:
        return list(tokens)
    match rule.loses:
        case "end":
            return list(tokens[:capacity])
        case "turns":
            return _cut_turns(tokens, capacity)
    return []


def _heard(rule: PeerRule, turns: Sequence[Turn], *, heeds: bool) -> list[Turn]:
    """Give turns as a trainer takes them from a row: in its order, with what it reads of each.

    Raises:
        DataError: where it leaves out a row with such turns.
    """
    heard = [_read(rule, turn, heeds=heeds) for turn in turns]
    if rule.turns == "as they are":
        return heard
    taken = list(_joined(heard)) if rule.turns == "joined" else heard
    if not _alternate(rule, taken):
        raise DataError(
            f"{rule.title} leaves out a conversation in which user and assistant do not speak in turn.",
            "Put a system text first and turns of one speaker together, or preview it as another trainer does.",
        )
    return taken


def _alternate(rule: PeerRule, turns: Sequence[Turn]) -> bool:
    """Say whether user and assistant speak in turn, behind a system text; where turns are joined, results of tools are one."""
    said = turns[1:] if turns and turns[0].role == "system" else turns
    roles = [turn.role for turn in said]
    if rule.turns == "joined":
        roles = [role for role, _ in groupby(roles)]
    elif len(roles) % 2:
        return False
    return all(role != "system" and (role == "assistant") == bool(place % 2) for place, role in enumerate(roles))


def _read(rule: PeerRule, turn: Turn, *, heeds: bool) -> Turn:
    """Take from a turn what a trainer reads: of weights whether there is one, and none for stretches of a text."""
    if turn.role != "assistant":
        return turn
    is_learned = turn.weight > 0 or not heeds
    if rule.skips_empty and not (turn.content or turn.tool_calls):
        is_learned = False
    thinking = turn.thinking if rule.reads_thinking else None
    return replace(turn, weight=float(is_learned), spans=(), thinking=thinking)


def _joined(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Join what one speaker says in turns that follow each other; an assistant that speaks first answers an empty question."""
    first = next((turn for turn in turns if turn.role != "system"), None)
    for role, group in groupby(turns, key=lambda turn: turn.role):
        said = list(group)
        if said[0] is first and role == "assistant":
            yield Turn("user", "")
        if len(said) == 1 or role not in ("user", "assistant"):
            yield from said
        else:
            yield _one(said)


def _one(turns: Sequence[Turn]) -> Turn:
    """Make one turn of several, of which some may not be learned."""
    ends = list(accumulate(len(turn.content) for turn in turns))
    spans = [Span(end - len(turn.content), end, 1.0) for turn, end in zip(turns, ends, strict=True) if turn.is_learned]
    is_mixed = 0 < len(spans) < len(turns)
    return replace(
        next((turn for turn in turns if turn.tool_calls), turns[0]),
        content="".join(turn.content for turn in turns),
        weight=float(bool(spans)),
        spans=tuple(spans) if is_mixed else (),
    )


def _parted(segments: Sequence[Segment]) -> _Answers:
    """Part segments at the borders of answers."""
    parts: _Answers = [[]]
    for segment in segments:
        if segment.control == "boundary":
            parts.append([])
        elif segment.text:
            parts[-1].append(segment)
    return parts


def end_of_text(tokenizer: Tokenizer) -> str | None:
    """Give the text of the tokenizer's end of text; None where it has none."""
    return None if tokenizer.eos_id is None else str(tokenizer.full.id_to_token(tokenizer.eos_id))


def _ended(rule: PeerRule, parts: _Answers, turns: Sequence[Turn], *, eos: str | None) -> _Answers:
    """Weigh the tokens that end answers as a trainer does; with their turns where the template borders not every answer."""
    answers = [turn for turn in turns if turn.role == "assistant"]
    if len(parts) != 2 * len(answers) + 1:
        return parts
    for part, turn in zip(parts[1::2], answers, strict=True):
        part[:] = [replace(segment, part="target") for segment in part]
        if not part or not part[-1].control or rule.ends == "turn":
            continue
        end = part.pop()
        is_last = turn is turns[-1]
        if rule.ends == "eos":
            part.append(end if end.text == eos else replace(end, weight=0.0))
        elif is_last and turn.content.endswith(end.text):
            parts[-1].clear()
        else:
            part.append(replace(end, weight=float(is_last or _is_learned_to_its_end(turn))))
    return parts


def _is_learned_to_its_end(turn: Turn) -> bool:
    return turn.is_learned and (not turn.spans or turn.spans[-1].end == len(turn.content))


def _encoded(rule: PeerRule, segments: Sequence[Segment], tokenizer: Tokenizer) -> Iterator[PeerToken]:
    """Turn the joined text of segments into tokens, each with the segment that it counts to."""
    ends = list(accumulate(len(segment.text) for segment in segments))
    encoded = tokenizer.full.encode("".join(segment.text for segment in segments), add_special_tokens=False)
    for id_, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
        first = min(bisect_right(ends, start), len(segments) - 1)
        touched = segments[first : bisect_left(ends, end) + 1] if rule.learns_borders else ()
        segment = max(touched, key=lambda one: one.weight, default=segments[first])
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


def _why(rule: PeerRule, segment: Segment, *, is_typed: bool) -> str:
    if is_typed:
        return TYPED
    if segment.weight > 0:
        if segment.part == "scaffold":
            return "stands behind the assistant's turn, and counts to it"
        return "ends the assistant's turn" if segment.control else "the assistant's turn"
    if rule.learns_all:
        return "not the assistant's, and learned all the same"
    return "the assistant's, and not learned" if segment.part == "target" else "not the assistant's"
