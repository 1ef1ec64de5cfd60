"""Control tokens of models in the text of records.

Looks for the control tokens of the known families, and where a model is named for those of its own tokenizer. formtune
reads them as plain text, in training and in serving; other tools take them for the end of a turn or of the text. A
token that a template would write may be there on purpose, where the data hold conversations that were rendered
already. Tokens of families that are not listed are found only with the model named.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from formtune.checks.finding import Context, Finding, Rule, counted, finding, place_of
from formtune.model_files import resolve
from formtune.records import Conversation, Labelled, Record, fields_of
from formtune.tokens import load_tokenizer

CONTROL = Rule(
    "FT212",
    "warning",
    "The text of a record holds a control token of a model.",
    "Take it out, or give conversations as messages; formtune reads it as plain text, other tools may not.",
)
RULES = (CONTROL,)
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "ChatML (Qwen, SmolLM, Yi)": ("<|im_start|>", "<|im_end|>", "<|im_sep|>"),
    "GPT-2 and Qwen": ("<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    "Llama 2 and Mistral": ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>"),
    "Mistral": ("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
                "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    "Llama 3": ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
                "<|eom_id|>", "<|python_tag|>", "<|finetune_right_pad_id|>"),
    "Llama 4": ("<|header_start|>", "<|header_end|>", "<|eot|>", "<|eom|>"),
    "Gemma": ("<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>"),
    "Phi and Zephyr": ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    "gpt-oss": ("<|start|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>"),
    "DeepSeek": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜tool▁calls▁begin｜>"),
    "GLM": ("[gMASK]", "<sop>", "<eop>", "<|observation|>"),
    "Command R": ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"),
    "BERT": ("[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]"),
    "T5, BART and RoBERTa": ("<pad>", "<unk>", "<mask>", "<extra_id_0>", "<extra_id_1>"),
}  # fmt: skip
N_DETAILS = 5


def find(records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Search every text for every token at once, the longest first."""
    names = {token: family for family, tokens in FAMILIES.items() for token in tokens}
    if context.model is not None:
        own = load_tokenizer(resolve(context.model), template_options=context.template_options).controls
        names |= {token: f"a control token of {context.model}" for token in own if token.strip()}
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
    holding: dict[str, dict[str, tuple[Record, str]]] = {}
    for record in records:
        for name, text in _texts(record):
            if "<" in text or "[" in text or context.model is not None:
                for token in dict.fromkeys(pattern.findall(text)):
                    holding.setdefault(token, {}).setdefault(place_of(record) + record.id, (record, name))
    for token, by_record in sorted(holding.items(), key=lambda entry: -len(entry[1])):
        where = list(by_record.values())
        yield finding(
            CONTROL,
            [record for record, _ in where],
            f"{token!r} ({names[token]}) stands in the text of {counted(len(where), 'record')}.",
            details=[f"{place_of(record)}: in {name}" for record, name in where[:N_DETAILS]],
        )


def _texts(record: Record) -> Iterator[tuple[str, str]]:
    """Give what may hold text of a user or an answer; labels are names, not text."""
    if isinstance(record, Labelled):
        yield from record.inputs.items()
        return
    yield from fields_of(record)
    if isinstance(record, Conversation):
        yield from ((f"thinking of {m.role}", m.thinking) for m in record.messages if m.thinking)
