"""What other trainers learn of a conversation by default: their rules, as a table.

The rules are those of a release that is named with each; a setting may change every one of them. They are applied to the
model's own chat template, so that what differs is what is learned and how long a row may be. (Some of these tools bring
templates of their own, whose text may differ too.) All of them hand rendered text to the tokenizer, whole or turn by turn,
so a control string that stands in the data becomes a control token. ``benchmarks/peer_rules.py`` holds the rules against
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


def peer_rule(name: str) -> PeerRule:
    """Find a rule by its name.

    Raises:
        SettingError: where there is none.
    """
    if name not in PEER_RULES:
        raise unknown("trainer", name, PEER_RULES, at="--as")
    return PEER_RULES[name]
