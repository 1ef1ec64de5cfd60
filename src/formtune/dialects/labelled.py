"""Labelled tables: one text or several and a label, in csv, tsv, json, jsonl or parquet.

Columns are known by their names. In a table without a header the label is the column with few different, short
values, and the texts are what is long beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from formtune.dialects.columns import (
    TEXTS,
    Columns,
    Evidence,
    Object,
    RowFault,
    find,
    join_names,
    names_of,
    no_text,
    objects,
    quoted,
    rest,
    settle,
    share,
    split_names,
    text_in,
)
from formtune.records import Labelled, Record
from formtune.sources import Row, normalize, text_of, value_of

NAME = "labelled"
SUMMARY = "A table with one or more text columns and a label column."
NEEDS = "a text column (--text) and a label column (--label)"
ROLES = frozenset({"text", "label"})

PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("s1", "s2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("query", "passage"),
    ("query", "document"),
    ("claim", "evidence"),
    ("#1_string", "#2_string"),
)
TITLES = ("title", "headline", "subject", "review_title", "标题")
LABELS = (
    *("gold_label", "label", "labels", "category", "categories", "class", "sentiment", "intent", "polarity", "emotion"),
    *("classification", "coarse_label", "label_coarse", "topic", "stance", "is_duplicate", "标签", "类别"),
)
MAYBE_LABELS = ("target", "tag", "type", "y", "rating", "stars", "score", "output", "domain", "quality")
_NAME_ENDINGS = ("name", "text", "desc", "description", "str")
NAMES = frozenset({*TEXTS, *TITLES, *LABELS, *MAYBE_LABELS, *(name for pair in PAIRS for name in pair)})
LABEL = "label"  # what is written
_LABEL_CHARACTERS = 60
_FEW_ROWS = 20


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Find the text and label columns.

    A table of pairs without labels counts too, as one to be predicted; lines of text, and a table with one text, only
    where nothing else is asked for.
    """
    table = objects(rows)
    if not table and not columns.text and not columns.label:
        return Evidence(0.05, "lines of text; no labels", replace(columns, text="text"))
    names = names_of(table)
    labels = settle(columns, "label", names)
    texts = settle(columns, "text", names)
    if is_headerless(names):
        labels, texts = _by_content(table, names, labels=labels, texts=texts)
    else:
        labels = labels or _named_label(table, [name for name in names if name not in texts])
        texts = texts or _named_texts([name for name in names if name not in labels])
    if not texts or share(table, texts[-1:]) < 0.5:
        return None
    found = replace(columns, text=join_names(texts), label=join_names(labels[:1]))
    if not labels or _is_hidden(table, labels[0]):
        score = 0.2 if _is_pair(texts) else 0.06
        return Evidence(score, f"text in {quoted(texts)}; no labels", replace(found, label=None))
    n_labels = len({text_of(value[labels[0]]) for value in table if value.get(labels[0]) not in (None, "")})
    why = f"text in {quoted(texts)}, label in {labels[0]!r} ({n_labels} different in {len(table)} rows)"
    return Evidence(0.75 * share(table, texts[-1:]), why, found)


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the texts and the label; a row without a label is one to be predicted."""
    value: Object = {"text": row.value} if isinstance(row.value, str) else row.value
    texts = split_names(columns.text)
    contents = [text_in(value, name) for name in texts]
    empty = [name for name, text in zip(texts, contents, strict=True) if not text.strip()]
    if empty and (_is_pair(texts) or len(empty) == len(texts)):
        raise no_text(value, empty[0])
    labels = labels_of(value.get(columns.label), columns.label) if columns.label else ()
    beside: Object = {name: found for name, found in value.items() if name != columns.label and name not in texts}
    if labels and is_number(found := value.get(columns.label or "")) and LABEL not in beside:
        beside[LABEL] = found  # a record's labels are texts; written again, they are the numbers that they were
    yield Labelled(
        inputs=dict(zip(_input_names(texts), contents, strict=True)),
        labels=labels,
        origin=row.origin,
        extra=rest(beside, ()),
    )


def write(record: Record) -> Object | None:
    """Write the inputs under their names, and the label (a list where there are several) as ``label``.

    Where a number stands beside as ``label``, the label is either that number, or its name: this becomes ``label_name``.
    """
    if not isinstance(record, Labelled) or LABEL in record.inputs:
        return None
    beside = value_of(record.extra) if record.extra else {}
    label: object = record.labels[0] if len(record.labels) == 1 else list(record.labels)
    name = f"{LABEL}_name" if LABEL in beside else LABEL
    if is_number_of(beside.get(LABEL), record.labels):
        name, label = LABEL, beside.pop(LABEL)
    return {**beside, **record.inputs, **({name: label} if record.labels else {})}


def is_number_of(found: object, labels: Sequence[str]) -> bool:
    """Say whether a number, or a list of numbers, is what labels say."""
    return is_number(found) and labels_of(found, LABEL) == tuple(labels)


def is_number(found: object) -> bool:
    """Say whether a label is a number or a truth value, or a list of some."""
    listed = found if isinstance(found, list) else [found]
    return bool(listed) and all(isinstance(one, (bool, int, float)) for one in listed)


def label_text(value: object) -> str:
    """Give a label as text: numbers and truth values become their words.

    Raises:
        RowFault: when the value is a list or an object.
    """
    if isinstance(value, (dict, list)):
        raise RowFault("a label that is not a text or a number", type(value).__name__, found=value)
    return text_in({"label": value}, "label").strip()


def labels_of(value: object, column: str) -> tuple[str, ...]:
    """Give what stands in a label column as labels: one, several, or none where nobody knows.

    Raises:
        RowFault: when a label is a list or an object.
    """
    labels = [label_text(part) for part in value] if isinstance(value, list) else [label_text(value)]
    # SNLI writes "-" where its five annotators did not agree
    hidden = {"", "-"} if normalize(column) == "gold_label" else {""}
    return tuple(dict.fromkeys(label for label in labels if label not in hidden))


def _input_names(texts: Sequence[str]) -> list[str]:
    if not is_headerless(texts):
        return list(texts)
    return ["text"] if len(texts) == 1 else [f"text_{place}" for place in range(1, len(texts) + 1)]


def is_headerless(names: Sequence[str]) -> bool:
    """Say whether names are the numbers that columns without any have."""
    return bool(names) and all(name.isdecimal() for name in names)


def _is_pair(texts: Sequence[str]) -> bool:
    return tuple(map(normalize, texts)) in PAIRS


def _is_hidden(table: Sequence[Object], label: str) -> bool:
    """Say whether a column holds only -1, which public test sets have in place of their labels."""
    return {str(value.get(label)) for value in table} == {"-1"}


def _named_texts(names: Sequence[str]) -> list[str]:
    for pair in PAIRS:
        found = [name for wanted in pair if (name := find(names, [wanted]))]
        if len(found) == len(pair):
            return found
    numbered = [name for name in names if normalize(name).startswith("text_") and name[5:].isdecimal()]
    body = find(names, TEXTS)
    if numbered or not body:
        return numbered
    title = find(names, TITLES)
    return [title, body] if title and title != body else [body]


def _named_label(table: Sequence[Object], names: Sequence[str]) -> list[str]:
    usable = [name for name in names if _holds_labels(table, name)]
    label = find(usable, LABELS)
    if label is None:
        label = find(usable, MAYBE_LABELS)
        if label is None or not _has_few_values(table, label):
            return []
    return [_spelled_out(table, names, label) or label]


def _holds_labels(table: Sequence[Object], name: str) -> bool:
    found = [value[name] for value in table if value.get(name) not in (None, "")]
    return bool(found) and not any(isinstance(value, dict) for value in found)


def _spelled_out(table: Sequence[Object], names: Sequence[str], label: str) -> str | None:
    """Find the column that gives a number label its name, one for one: ``label_desc`` beside ``label``."""
    if not all(str(value.get(label)).lstrip("-").isdecimal() for value in table):
        return None
    other = find(names, [f"{normalize(label)}_{ending}" for ending in _NAME_ENDINGS])
    if other is None:
        return None
    both = {(str(value.get(label)), str(value.get(other))) for value in table}
    one_for_one = len(both) == len({a for a, _ in both}) == len({b for _, b in both})
    return other if one_for_one else None


def _has_few_values(table: Sequence[Object], name: str) -> bool:
    values = [text_of(value[name]) for value in table if value.get(name) not in (None, "")]
    n_different = len(set(values))
    few = n_different * 2 <= len(values) or (n_different > 1 and len(values) < _FEW_ROWS)
    return few and max(map(len, values), default=0) <= _LABEL_CHARACTERS


def _by_content(
    table: Sequence[Object], names: Sequence[str], *, labels: list[str], texts: list[str]
) -> tuple[list[str], list[str]]:
    """Tell the columns of a headerless table apart: the label has few short values, texts are longer and differ."""
    values = {name: [str(value.get(name, "")) for value in table] for name in names}
    kinds = {name: len(set(column)) for name, column in values.items()}
    means = {name: sum(map(len, column)) / max(len(column), 1) for name, column in values.items()}
    if not labels:
        rest_of = [name for name in names if name not in texts and share(table, [name]) > 0.9]
        few = [name for name in rest_of if 1 < kinds[name] <= len(table) / 2 and _has_few_values(table, name)]
        labels = sorted(few, key=lambda name: (kinds[name], means[name]))[:1]
    if not texts and labels:
        others = [name for name in names if name not in labels]
        texts = [name for name in others if kinds[name] > kinds[labels[0]] and means[name] > means[labels[0]]]
        texts = [name for name in texts if 2 * sum(map(_has_words, values[name])) > len(table)]
    return labels, texts


def _has_words(text: str) -> bool:
    """Say whether a value is text rather than a number, a date or a key."""
    return any(character.isalpha() for character in text) and (" " in text.strip() or not text.isascii())
