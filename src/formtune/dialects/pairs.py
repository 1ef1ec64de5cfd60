"""Text pairs: a source and its targets in two columns or more, or translations by language."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    RowFault,
    as_object,
    filled_in,
    find,
    join_names,
    names_of,
    objects,
    quoted,
    rest,
    settle,
    share,
    split_names,
    text_in,
    with_rest,
)
from formtune.records import Pair, Record
from formtune.sources import Row, normalize

NAME = "pairs"
SUMMARY = "A table with a source and one or more target texts: translation, summarization, correction, data-to-text."
NEEDS = "a source column (--source) and a target column (--target), or 'translation' by language"
ROLES = frozenset({"source", "target"})

_SOURCES = (
    *("source", "src", "article", "document", "dialogue", "dialog", "mr", "meaning_representation", "source_text"),
    *("input_text", "inputs", "input", "text", "noisy", "incorrect", "original", "body", "content", "conversation"),
)
_TARGETS = (
    *("target", "tgt", "targets", "highlights", "summary", "summaries", "ref", "reference", "references"),
    *(
        "human_reference",
        "target_text",
        "output_text",
        "output",
        "outputs",
        "clean",
        "correct",
        "corrected",
        "correction",
        "simplified",
    ),
)
_NUMBERED = re.compile(r"(summary|ref|reference|target)_?\d+")
_LANGUAGE = re.compile(
    "ar|bg|bn|ca|cs|da|de|el|en|es|et|eu|fa|fi|fr|gl|gu|he|hi|hr|hu|id|is|it|ja|ka|kk|km|kn|ko|lt|lv|mk|ml|mn|mr|ms|my"
    "|nb|ne|nl|nn|no|pa|pl|ps|pt|ro|ru|si|sk|sl|sq|sr|sv|sw|ta|te|th|tl|tr|uk|ur|uz|vi|zh"
)
_OWN = ("source_language", "target_language")
# Targets that nobody calls a label.
_TEXTS = frozenset({"highlights", "summary", "summaries", "corrected", "correction", "simplified", "output_text"})
# Columns that name a task together with a source, so that a target called "target" or "output" is no label.
_GENERAL = frozenset({"text", "input", "inputs", "content", "body", "document", "conversation"})
NAMES = frozenset({*_SOURCES, *_TARGETS, "translation", *_OWN})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Find a source with its targets, a ``translation`` object, or two columns that are called like languages."""
    table = objects(rows)
    names = names_of(table)
    sources = settle(columns, "source", names)
    targets = settle(columns, "target", names)
    said = next((value for value in table if value.get("translation")), {})
    by_language = share(table, ["translation"]) > 0.5 and _is_by_language(said.get("translation"))
    if not sources and not targets and by_language:
        return Evidence(0.9, "an object 'translation' by language", columns)
    sources = sources or _languages(table, names)[:1] or [name for name in [find(names, _SOURCES)] if name]
    targets = targets or _languages(table, names)[1:] or _named_targets(names)
    targets = [name for name in targets if name not in sources]
    if not sources or not (targets or columns.source) or _could_be_label(table, sources, targets, columns=columns):
        return None
    found = replace(columns, source=join_names(sources[:1]), target=join_names(targets))
    why = f"source in {sources[0]!r}, {f'target in {quoted(targets)}' if targets else 'no target'}"
    return Evidence(0.85 * share(table, sources[:1]), why, found)


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the source and its targets; none means: to be predicted."""
    value = as_object(row)
    translation = value.get("translation")
    if columns.source is None and isinstance(translation, dict):
        yield _translated(row, value, translation)
        return
    if columns.source is None:
        raise RowFault("no source")
    targets = split_names(columns.target)
    languages = [name for name in (columns.source, *targets) if _LANGUAGE.fullmatch(name)]
    by_name = languages if len(languages) == 2 == 1 + len(targets) else [text_in(value, name) or None for name in _OWN]
    yield Pair(
        source=filled_in(value, columns.source),
        targets=tuple(text for name in targets for text in _texts(value, name) if text.strip()),
        source_language=by_name[0],
        target_language=by_name[1],
        origin=row.origin,
        extra=rest(value, {columns.source, *targets, *_OWN}),
    )


def write(record: Record) -> Object | None:
    """Write ``source`` and ``target`` (a list where there is not exactly one), and the languages where they are known."""
    if not isinstance(record, Pair):
        return None
    target: object = record.targets[0] if len(record.targets) == 1 else list(record.targets)
    languages = {"source_language": record.source_language, "target_language": record.target_language}
    known = {name: language for name, language in languages.items() if language}
    return with_rest({"source": record.source, "target": target, **known}, record.extra)


def _translated(row: Row, value: Object, translation: Object) -> Pair:
    if not _is_by_language(translation):
        raise RowFault("a translation that has not two languages", f"{len(translation)} languages")
    source, target = translation
    return Pair(
        source=filled_in(translation, source),
        targets=(text_in(translation, target),) if text_in(translation, target).strip() else (),
        source_language=source,
        target_language=target,
        origin=row.origin,
        extra=rest(value, {"translation"}),
    )


def _is_by_language(value: object) -> bool:
    return isinstance(value, dict) and len(value) == 2


def _texts(value: Object, name: str) -> list[str]:
    found = value.get(name)
    if isinstance(found, list):
        return [text_in({name: part}, name) for part in found]
    return [text_in(value, name)]


def _languages(table: Sequence[Object], names: Sequence[str]) -> list[str]:
    """Give the two columns that are called like languages and hold sentences ("id" is mostly a number)."""
    found = [name for name in names if _LANGUAGE.fullmatch(name) and _holds_sentences(table, name)]
    return found if len(found) == 2 else []


def _holds_sentences(table: Sequence[Object], name: str) -> bool:
    texts = [str(value.get(name, "")) for value in table]
    return 2 * sum(" " in text or not text.isascii() for text in texts) > len(texts)


def _named_targets(names: Sequence[str]) -> list[str]:
    numbered = [name for name in names if _NUMBERED.fullmatch(normalize(name))]
    target = find(names, _TARGETS)
    return [target] if target else numbered


def _could_be_label(
    table: Sequence[Object], sources: Sequence[str], targets: Sequence[str], *, columns: Columns
) -> bool:
    """Say whether "text" and "target" are a text and a class: few different, short targets."""
    if columns.source or columns.target or normalize(sources[0]) not in _GENERAL or len(targets) != 1:
        return False
    if normalize(targets[0]) in _TEXTS:
        return False
    values = [str(value.get(targets[0])) for value in table]
    return len(set(values)) * 2 <= len(values) and max(map(len, values)) <= 60
