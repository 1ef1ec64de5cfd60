"""What other trainers learn of a conversation by default: their rules, as a table.

The rules are those of a release that is named with each, and of its source files; a setting may change every one of them. They
are applied to the model's own chat template, so that what differs is what is learned and how long a row may be. (Some of these
tools bring templates of their own, whose text may differ too.) All of them hand rendered text to the tokenizer, whole or turn by
turn, so a control string that stands in the data becomes a control token. ``benchmarks/peer_rules.py`` holds the rules against
the tools themselves.
"""

from dataclasses import dataclass
from typing import Literal

from formtune.errors import unknown


@dataclass(frozen=True, slots=True)
class PeerRule:
    """What a trainer does with a conversation unless it is told otherwise.

    Attributes:
        title: its name, with the release whose rules these are.
        learns_all: True where every token is learned, what the user says too; else the assistant's turns are.
        capacity: the most tokens of a row; None for as many as the model reads.
        loses: what is lost of a longer row: its ``end``, the ends of its ``turns``, or the whole ``row``.
        notes: what to know, a sentence each.
        reference: where that is documented.
        weights_of: the dialects whose loss weights it heeds, as whether a turn is learned; the others' keys it does not read.
        turns: what it does with turns that do not alternate between user and assistant, or a system text that does not stand
            first: takes them ``as they are``, leaves the row out (``alternate``), or makes one turn of those of one speaker,
            with nothing between them, and leaves the row out only then (``joined``).
        ends: which tokens that end a turn are learned with it: all (``turn``), those that are the tokenizer's end of text
            (``eos``), or all, and that of the last turn whether or not it is learned (``last``; an answer that ends
            with the same text gets no other then).
        skips_empty: whether nothing is learned of a turn without text, not even its end.
        reads_thinking: whether the template gets reasoning that stands in a field of its own.
        learns_borders: whether a token is learned that begins before a turn of the assistant and reaches into it.
        apart: whether every turn of the assistant is turned into tokens apart from what stands around it, and white space
            behind its end token counts to it.
    """

    title: str
    learns_all: bool
    capacity: int | None
    loses: Literal["end", "turns", "row"]
    notes: tuple[str, ...]
    reference: str
    weights_of: tuple[str, ...] = ()
    turns: Literal["as they are", "alternate", "joined"] = "as they are"
    ends: Literal["turn", "eos", "last"] = "turn"
    skips_empty: bool = False
    reads_thinking: bool = True
    learns_borders: bool = False
    apart: bool = False


PEER_RULES: dict[str, PeerRule] = {
    "trl": PeerRule(
        title="TRL 1.16",
        learns_all=True,
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
        capacity=2048,
        loses="turns",
        apart=True,
        turns="alternate",
        reads_thinking=False,
        notes=(
            (
                "The assistant's turns are learned with their end tokens, and with the line break that stands behind them "
                "(train_on_prompt and mask_history are off)."
            ),
            (
                "Beyond 2048 tokens (cutoff_len) question and answer of a turn lose their ends, in proportion where both are "
                "long, and later turns are dropped without a count."
            ),
            (
                "Loss weights in the data, and reasoning in a field of its own, are not read; a row in which user and "
                "assistant do not speak in turn is dropped."
            ),
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
        capacity=512,
        loses="row",
        ends="eos",
        skips_empty=True,
        learns_borders=True,
        notes=(
            (
                "The assistant's turns are learned (roles_to_train), and the tokens that end them (train_on_eos: turn) where "
                "those are the tokenizer's end of text; name others in eot_tokens."
            ),
            (
                "The keys train and train_detail are read only where the configuration names them (message_field_training, "
                "message_field_training_detail), weight and loss never; parts of a content with train or weight are learned "
                "as these say, which is not shown here."
            ),
            "Of a turn without text nothing is learned; white space at the beginning of another is, with what it merges with.",
            "Rows beyond sequence_len are dropped; it is 512 unless the configuration says otherwise.",
        ),
        reference="axolotl: prompt_strategies/chat_template.py, utils/data/utils.py, utils/schemas/config.py",
    ),
    "swift": PeerRule(
        title="ms-swift 4.6",
        learns_all=False,
        capacity=None,
        loses="row",
        apart=True,
        weights_of=("swift",),
        turns="joined",
        ends="last",
        skips_empty=True,
        reads_thinking=False,
        notes=(
            (
                "The assistant's turns are learned with their end tokens, and with the line break that stands behind them "
                "(loss_scale: default)."
            ),
            (
                "A turn is learned or not as its loss says; a loss_scale of 0 unlearns it, and any other counts as 1. The end "
                "of the last turn is learned all the same. Other keys of a message (weight, train, reasoning_content) are removed "
                "without a warning."
            ),
            "Turns of one speaker that follow each other become one, with nothing between them.",
            "Rows beyond max_length, or what the model reads, are deleted (truncation_strategy: delete).",
            (
                "Templates of its own lay the turns out (template), not the model's, whose text may differ. Those for models "
                "that may reason put an empty block of reasoning before answers without any, which is not learned."
            ),
        ),
        reference="ms-swift: template/base.py, loss_scale/base.py, dataset/preprocessor/core.py",
    ),
}


def peer_rule(name: str) -> PeerRule:
    """Find a rule by its name.

    Raises:
        SettingError: where there is none.
    """
    if name not in PEER_RULES:
        raise unknown("trainer", name, PEER_RULES, at="--as")
    return PEER_RULES[name]
