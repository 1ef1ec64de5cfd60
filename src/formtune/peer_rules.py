"""What other trainers learn of a conversation by default: their rules, as a table.

The rules are those of a release that is named with each; a setting may change every one of them. They are applied to the
model's own chat template, so that what differs is what is learned and how long a row may be. (Some of these tools bring
templates of their own, whose text may differ too.) All of them hand rendered text to the tokenizer, whole or turn by turn,
so a control string that stands in the data becomes a control token. ``benchmarks/peer_rules.py`` holds the rules against
the tools themselves.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from typing import Literal

from formtune.errors import DataError, unknown
from formtune.examples import Example, Segment, Turn
from formtune.tokens import Tokenizer


@dataclass(frozen=True, slots=True)
class PeerRule:
    """What a trainer does with a conversation unless it is told otherwise.

    Attributes:
        title: its name, with the release whose rules these are.
        learns_all: True where every token is learned, what the user says too; else the assistant's turns are, each with
            the token that ends it.
        reads_weights: whether it heeds loss weights that a row gives, where they stand under its own key.
        capacity: the most tokens of a row; None where the configuration or the model says.
        loses: what is lost of a longer row: its ``end``, the ends of its ``turns``, or the whole ``row``.
        apart: whether every turn of the assistant is turned into tokens apart from what stands around it, and white space
            behind its end token counts to it.
        alternates: whether a row is left out in which user and assistant do not speak in turn.
        notes: what to know, a sentence each.
        reference: where that is documented.
    """

    title: str
    learns_all: bool
    reads_weights: bool
    capacity: int | None
    loses: Literal["end", "turns", "row"]
    notes: tuple[str, ...]
    reference: str
    apart: bool = False
    alternates: bool = False


PEER_RULES: dict[str, PeerRule] = {
    "trl": PeerRule(
        title="TRL 1.16",
        learns_all=True,
        reads_weights=False,
        capacity=1024,
        loses="end",
        notes=(
            (
                "Every token of a conversation is learned, the user's too, unless assistant_only_loss is set; that needs a "
                "template with {% generation %} blocks."
            ),
            "Rows lose their end beyond 1024 tokens (max_length), so a long question can take its answer away.",
            "Loss weights in the data are not read.",
        ),
        reference="trl/trainer/sft_config.py: assistant_only_loss, max_length, truncation_mode",
    ),
    "llamafactory": PeerRule(
        title="LLaMA-Factory 0.9.5",
        learns_all=False,
        reads_weights=False,
        capacity=2048,
        loses="turns",
        apart=True,
        alternates=True,
        notes=(
            (
                "The assistant's turns are learned with their end tokens, and with the line break that stands behind them "
                "(train_on_prompt and mask_history are off)."
            ),
            (
                "Beyond 2048 tokens (cutoff_len) question and answer of a turn lose their ends, in proportion where both are "
                "long, and later turns are dropped without a count."
            ),
            "Loss weights in the data are not read; a row in which user and assistant do not speak in turn is dropped.",
            (
                "Where a template is named (template), that and not the model's lays the turns out; those for models that "
                "reason learn an empty block of reasoning where a row has none."
            ),
        ),
        reference="LLaMA-Factory: src/llamafactory/data/processor/supervised.py, data/template.py, hparams/data_args.py",
    ),
    "axolotl": PeerRule(
        title="axolotl 0.19",
        learns_all=False,
        reads_weights=True,
        capacity=None,
        loses="row",
        notes=(
            "The assistant's turns are learned (roles_to_train) with their end tokens (train_on_eos: turn).",
            (
                "A turn is learned or not as its train key says, a stretch as train_detail does; weight is another tool's key "
                "and is not read."
            ),
            "Rows beyond sequence_len, which the configuration names, are dropped.",
        ),
        reference="axolotl: docs/dataset-formats/conversation.qmd, prompt_strategies/chat_template.py",
    ),
    "swift": PeerRule(
        title="ms-swift 4.6",
        learns_all=False,
        reads_weights=True,
        capacity=None,
        loses="row",
        notes=(
            "The assistant's turns are learned with their end tokens (loss_scale: default).",
            "A turn's share is read from loss or loss_scale; weight and train are removed without a warning.",
            "Rows beyond max_length, or what the model reads, are deleted (truncation_strategy: delete).",
            "For models that may reason, an empty block of reasoning is put before answers without any.",
        ),
        reference="ms-swift: arguments/base_args/template_args.py, dataset/preprocessor/core.py",
    ),
}


@dataclass(frozen=True, slots=True)
class PeerToken:
    """A token as another trainer has it: its id, what it would weigh, which rule says so, and where it comes from."""

    id: int
    weight: float
    why: str
    segment: Segment


def peer_rule(name: str) -> PeerRule:
    """Find a rule by its name.

    Raises:
        SettingError: where there is none.
    """
    if name not in PEER_RULES:
        raise unknown("trainer", name, PEER_RULES, at="--as")
    return PEER_RULES[name]


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
