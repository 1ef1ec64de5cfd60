"""What other trainers learn of a conversation by default: their documented rules, as a table.

The rules are those of a release that is named with each; a setting may change every one of them. They are applied to the
model's own chat template, so that what differs is what is learned and how long a row may be. (Some of these tools bring
templates of their own, whose text may differ too.) All of them hand the rendered text to the tokenizer as a whole, so a
control string that stands in the data becomes a control token.
"""

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate

from formtune.errors import unknown
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
        cuts: True where a longer row loses its end; else it is left out.
        notes: what to know, a sentence each.
        reference: where that is documented.
    """

    title: str
    learns_all: bool
    reads_weights: bool
    capacity: int | None
    cuts: bool
    notes: tuple[str, ...]
    reference: str


PEER_RULES: dict[str, PeerRule] = {
    "trl": PeerRule(
        title="TRL 1.16",
        learns_all=True,
        reads_weights=False,
        capacity=1024,
        cuts=True,
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
        title="LLaMA-Factory 0.9",
        learns_all=False,
        reads_weights=False,
        capacity=2048,
        cuts=True,
        notes=(
            "The assistant's turns are learned with their end tokens (train_on_prompt and mask_history are off).",
            (
                "Beyond 2048 tokens (cutoff_len) question and answer of a turn are cut in proportion, and later turns are "
                "dropped without a count; here the end is cut."
            ),
            "Loss weights in the data are not read.",
            (
                "Its named template, not the model's, lays the turns out; those for models that reason learn an empty block "
                "of reasoning where a row has none."
            ),
        ),
        reference="LLaMA-Factory: src/llamafactory/data/processor/supervised.py, hparams/data_args.py",
    ),
    "axolotl": PeerRule(
        title="axolotl 0.19",
        learns_all=False,
        reads_weights=True,
        capacity=None,
        cuts=False,
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
        cuts=False,
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
        DataError: where the chat template refuses it.
    """
    turns = tuple(_weighed(turn, rule) for turn in example.turns)
    segments = [s for s in tokenizer.chat_template.segments(turns, example.tools) if s.text]
    ends = list(accumulate(len(segment.text) for segment in segments))
    encoded = tokenizer.full.encode("".join(segment.text for segment in segments), add_special_tokens=False)
    tokens = []
    for id_, (start, _) in zip(encoded.ids, encoded.offsets, strict=True):
        segment = segments[min(bisect_right(ends, start), len(segments) - 1)]
        weight = 1.0 if rule.learns_all else segment.weight
        is_typed = id_ in tokenizer.control_ids and segment.control is None
        tokens.append(PeerToken(id_, weight, _why(rule, segment, is_typed=is_typed), segment))
    return tokens


def _weighed(turn: Turn, rule: PeerRule) -> Turn:
    if turn.role != "assistant" or rule.reads_weights:
        return turn
    return replace(turn, weight=1.0, spans=())


def _why(rule: PeerRule, segment: Segment, *, is_typed: bool) -> str:
    if is_typed:
        return "typed in the data, and taken for a control token"
    if segment.weight > 0:
        return "ends the assistant's turn" if segment.control else "the assistant's turn"
    if rule.learns_all:
        return "not the assistant's, and learned all the same"
    return "not the assistant's" if segment.part != "target" else "the data says not to learn it"
