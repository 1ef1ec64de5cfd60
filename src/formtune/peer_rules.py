"""What other trainers learn of a row by default: their rules, as a table.

The rules are those of a release that is named with each, and of its source files; a setting may change every one of them. They
are applied to the model's own chat template, so that what differs is what is learned and how long a row may be. (Some of these
tools bring templates of their own, whose text may differ too; and some rows they take without any.) All of them hand rendered
text to the tokenizer, whole or turn by turn, so a control string that stands in the data becomes a control token.
``benchmarks/peer_rules.py`` holds the rules against the tools themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from formtune.errors import unknown

Reading = Literal["turns", "completion", "texts", "text", "closed", "segments", "alpaca"]
Loss = Literal["end", "turns", "row"]


@dataclass(frozen=True, slots=True)
class RowLayout:
    """How a trainer takes the rows of one dialect.

    Attributes:
        reading: as the ``turns`` of a conversation, learned as any is; as a prompt and the ``completion`` that alone is learned,
            both laid out by the chat template, or both ``texts``; as a ``text`` learned whole, its end written behind it, or
            ``closed`` by its id; as ``segments`` of a text that are learned or not; in the wording of ``alpaca``.
        notes: what to know; of turns, besides the trainer's own notes.
        capacity: the most tokens of a row, where it is not the trainer's.
        loses: what is lost of a longer row, where that is not the trainer's.
    """

    reading: Reading = "turns"
    notes: tuple[str, ...] = ()
    capacity: int | None = None
    loses: Loss | None = None


MESSAGES = RowLayout()
MESSAGE_DIALECTS: tuple[str | None, ...] = (None, "messages", "axolotl", "swift")  # messages, with whatever keys


@dataclass(frozen=True, slots=True)
class PeerRule:
    """What a trainer does with a row unless it is told otherwise.

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
        drops_unlearned: whether it leaves out a row of which nothing learned is left.
        layouts: by dialect, how it takes rows that are not messages; those of other dialects are not held against it.
    """

    title: str
    learns_all: bool
    capacity: int | None
    loses: Loss
    notes: tuple[str, ...]
    reference: str
    weights_of: tuple[str, ...] = ()
    turns: Literal["as they are", "alternate", "joined"] = "as they are"
    ends: Literal["turn", "eos", "last"] = "turn"
    skips_empty: bool = False
    reads_thinking: bool = True
    learns_borders: bool = False
    apart: bool = False
    drops_unlearned: bool = False
    layouts: Mapping[str, RowLayout] = field(default_factory=dict)

    def layout(self, dialect: str | None) -> RowLayout | None:
        """Give how it takes rows of a dialect; None where that is not held against it."""
        return MESSAGES if dialect in MESSAGE_DIALECTS else self.layouts.get(dialect or "")

    def taking(self, layout: RowLayout) -> "PeerRule":
        """Give the rule as it is for rows of a layout."""
        return replace(
            self,
            notes=(*self.notes, *layout.notes) if layout.reading == "turns" else layout.notes,
            capacity=layout.capacity or self.capacity,
            loses=layout.loses or self.loses,
        )

    def unheld(self, dialect: str | None) -> "PeerRule":
        """Give the rule with a note that says of rows that it is not held for them."""
        note = (
            f"How {self.title} takes this row of the dialect {dialect!r} is not held against it, and not shown: shown is what it "
            "learns of the same words as messages (formtune convert --to messages)."
        )
        return replace(self, notes=(note, *self.notes))


_TRL_LENGTH = "Rows lose their end beyond 1024 tokens (max_length); one whose prompt leaves no room is dropped."
_AXOLOTL_LENGTH = "Rows beyond sequence_len are dropped; it is 512 unless the configuration says otherwise."
_CALLED = "Columns are taken to be called {names}."
_PAIR, _ALPACA = _CALLED.format(names="prompt and completion"), _CALLED.format(names="instruction, input and output")
_TEXT = _CALLED.format(names="text")
_NAMED = "only where columns in dataset_info.json names its column, as is taken for granted here."

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
        reference="trl/trainer/sft_config.py: assistant_only_loss, completion_only_loss, max_length, truncation_mode",
        drops_unlearned=True,
        layouts={
            "prompt-completion": RowLayout(
                "texts",
                notes=(
                    (
                        "The completion alone is learned (completion_only_loss), with the end of text that is put behind it; no "
                        "chat template is applied."
                    ),
                    "A token that begins in the prompt and reaches into the completion is learned with it.",
                    _TRL_LENGTH,
                    _PAIR,
                ),
            ),
            "trl-prompt-completion": RowLayout(
                "completion",
                notes=(
                    (
                        "The completion alone is learned (completion_only_loss), all of it: the user's turns in it too, and what "
                        "the template writes between and behind them."
                    ),
                    "It is taken to begin with the first answer that has a weight.",
                    "A token that begins in the prompt and reaches into the completion is learned with it.",
                    _TRL_LENGTH,
                    "Loss weights in the data are not read.",
                    _PAIR,
                ),
            ),
            "plain": RowLayout(
                "text",
                notes=(
                    (
                        "The whole text is learned (dataset_text_field: text), with the end of text that is put behind it; no "
                        "chat template is applied."
                    ),
                    "Rows lose their end beyond 1024 tokens (max_length).",
                    _TEXT,
                ),
            ),
        },
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
        layouts={
            "alpaca": RowLayout(notes=(f"A system text is read, and so is a history, {_NAMED}", _ALPACA)),
            "sharegpt": RowLayout(notes=(f"A system text in a column of its own is read {_NAMED}",)),
        },
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
            _AXOLOTL_LENGTH,
        ),
        reference="axolotl: prompt_strategies/, prompt_tokenizers.py, prompters.py, utils/data/utils.py, utils/schemas/config.py",
        layouts={
            "alpaca": RowLayout(
                "alpaca",
                notes=(
                    (
                        "The output is learned, with the end of text; the prompt is Alpaca's wording (type: alpaca), not the "
                        "model's chat template. System texts and histories are not read."
                    ),
                    _AXOLOTL_LENGTH,
                    _ALPACA,
                ),
            ),
            "plain": RowLayout(
                "closed",
                capacity=64 * 512,
                loses="end",
                notes=(
                    "The whole text is learned (type: completion), with the end of text; no chat template is applied.",
                    (
                        "It is cut into rows of sequence_len, which is 512 unless the configuration says otherwise; beyond 64 of "
                        "them it loses its end."
                    ),
                    _TEXT,
                ),
            ),
            "input-output": RowLayout(
                "segments",
                notes=(
                    (
                        "Segments with a true label are learned (type: input_output); each is turned into tokens apart, and "
                        "nothing is put around or between them."
                    ),
                    _AXOLOTL_LENGTH,
                ),
            ),
        },
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
        layouts={"query-response": MESSAGES, "alpaca": RowLayout(notes=(_ALPACA,)), "sharegpt": MESSAGES},
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
