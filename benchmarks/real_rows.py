"""Real rows for benchmarks of preparation: conversations whose answers are learned, and labelled texts, each row once."""

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from data_folder import data_folder

from formtune import dialects
from formtune.errors import DataError
from formtune.examples import Example
from formtune.formats import cell, infer_task, named
from formtune.model_files import resolve
from formtune.records import Labelled
from formtune.tokens import load_tokenizer, tokenize

# Files that belong together line by line stand together.
ASKED = (
    ("instruct/llamafactory_demo/alpaca_en_demo.json",),
    ("instruct/self_instruct/user_oriented_instructions.jsonl",),
    ("instruct/dolly_3k_messages/train.jsonl",),
    ("instruct/dolly_3k_messages/test.jsonl",),
    ("qa/gsm8k/train.jsonl",),
    ("qa/gsm8k/test.jsonl",),
    ("qa/commonsense_qa/train.jsonl",),
    ("qa/commonsense_qa/dev.jsonl",),
    ("qa/xquad/en.train.json",),
    ("seq2seq/dialogsum/dialogsum.dev.jsonl",),
    ("seq2seq/dialogsum/dialogsum.test.jsonl",),
    ("seq2seq/e2e_nlg/train.csv",),
    ("seq2seq/e2e_nlg/test.csv",),
    ("cls_en/ag_news/train.csv",),
    ("cls_en/sst2/train.tsv",),
    ("pair_en/rte/train.jsonl",),
    ("seq2seq/multi30k_en_de/train.en.gz", "seq2seq/multi30k_en_de/train.de.gz"),
)
LABELLED = (
    "cls_en/banking77/train.csv",
    "cls_en/banking77/test.csv",
    "cls_en/sst2/train.tsv",
    "cls_en/sst2/test.tsv",
    "cls_en/ag_news/train.csv",
    "cls_en/ag_news/test.csv",
    "cls_en/sms_spam/train.tsv",
    "cls_en/citation_intent/train.txt",
)
ALPACA = ASKED[0]


def conversations(n_rows: int) -> list[dict[str, object]]:
    """Draw rows with ``messages``, every assistant turn of which is learned."""
    found = {json.dumps(_messages(one)): None for paths in ASKED for one in _chats(paths) if one.turns[-1].is_learned}
    return [{"messages": json.loads(text)} for text in _drawn(list(found), n_rows)]


def labelled_texts(n_rows: int) -> list[dict[str, object]]:
    """Draw rows with ``text`` and ``label``; where there are too few, further texts are two of them in a row."""
    found: dict[str, str] = {}
    for path in LABELLED:
        for record in dialects.read([str(data_folder() / path)]).records:
            if isinstance(record, Labelled):
                found.setdefault(next(iter(record.inputs.values())), record.labels[0])
    texts = list(found)
    found |= {f"{one} {other}": found[one] for one, other in itertools.pairwise(texts)}
    enough = list(found)[: max(n_rows, len(texts))]
    return [{"text": text, "label": found[text]} for text in _drawn(enough, n_rows)]


def write(rows: Sequence[dict[str, object]], path: Path) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def alpaca_lengths(n_lengths: int, *, model: str, most: int) -> np.ndarray:
    """Draw lengths like those of Alpaca's conversations in tokens: one of its rows each, a tenth longer or shorter."""
    tokens = tokenize(list(_chats(ALPACA)), load_tokenizer(resolve(model)), shape="decoder")
    draw = np.random.default_rng(0)
    lengths = draw.choice([len(one.ids_T) for one in tokens], size=n_lengths)
    return np.clip(np.rint(lengths * draw.uniform(0.9, 1.1, n_lengths)), 1, most).astype(np.int32)


def _chats(paths: Sequence[str]) -> Iterator[Example]:
    """Put the records of a set into turns, as the format `chat` asks and answers; those that it refuses are no rows."""
    records = dialects.read([str(data_folder() / path) for path in paths]).records
    task = infer_task(records)
    present = cell(named("chat"), task, "decoder").present
    for record in records:
        with suppress(DataError):
            yield present(record, task, "decoder")


def _messages(example: Example) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in example.turns]


def _drawn(rows: list[str], n_rows: int) -> list[str]:
    random.Random(0).shuffle(rows)
    if len(rows) < n_rows:
        raise SystemExit(f"There are only {len(rows)} rows.")
    return rows[:n_rows]
