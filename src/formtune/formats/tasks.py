"""What a format must know of the whole data set: label names, label words, instruction, question, language.

It is read off the training records once, before any rendering, so that every format is told the same.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import msgspec

from formtune.errors import DataError, SettingError, unknown
from formtune.examples import Task
from formtune.formats.dialogue import is_open
from formtune.formats.wording import WORDINGS, ask_for, pair_instruction, pair_question
from formtune.records import Conversation, Labelled, Pair, Question, Record, input_text, kind_of

# Japanese prose is a third to a half kanji, Chinese nearly all: half of the letters parts the two.
CHINESE_SHARE = 0.5
N_LANGUAGE_RECORDS = 1000
_CHINESE = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")


def infer_task(
    records: Sequence[Record],
    *,
    words: Mapping[str, str] | None = None,
    instruction: str | None = None,
    question: str | None = None,
) -> Task:
    """Find out what the training records ask for, and in which words it will be put to the model.

    Args:
        records: the training records, all of one kind.
        words: label → the word that stands for it in text; labels that are not named keep their own name, tidied
            (``not_entailment`` → ``not entailment``).
        instruction: what is to be done, as an order; a default by kind and language otherwise.
        question: the same as a question.

    Raises:
        DataError: no records, records of several kinds, one label only, several labels on one record, or choices
            on some questions only.
        SettingError: a word for a label that does not occur, an empty word, or two labels with one word.
    """
    if not records:
        raise DataError("There are no records to train on.", "Check the data files and what was left out of them.")
    kind = _one_kind(records)
    language = _language(records)
    task = INFER[kind](records, language) if kind in INFER else Task(kind=kind, language=language)
    task = _with_words(task, words or {})
    task = _with_asks(task, records, instruction=instruction, question=question)
    _check_words(task)
    return task


def witnesses(records: Iterable[Record]) -> list[Record]:
    """Keep the records that say something of the whole data set which none before them says.

    With the first :data:`N_LANGUAGE_RECORDS` records before them, :func:`infer_task` makes of these what it makes of all.
    """
    seen: set[Hashable] = set()
    choices: set[frozenset[str]] = set()
    kept = []
    for record in records:
        said = _said_of_all(record)
        is_new = said not in seen
        if isinstance(record, Question) and len(choices) < 2 and frozenset(record.choices) not in choices:
            choices.add(frozenset(record.choices))
            is_new = True
        if is_new:
            seen.add(said)
            kept.append(record)
    return kept


def _said_of_all(record: Record) -> Hashable:
    match record:
        case Labelled():
            return "labelled", record.labels
        case Question():
            return "question", len(record.choices), bool(record.context), record.answerable
        case Pair():
            return "pair", record.source_language, record.target_language
    return kind_of(record)


def tidy(label: str) -> str:
    """Make a label name readable: underscores become blanks.

    >>> tidy("not_entailment")
    'not entailment'
    """
    return " ".join(label.replace("_", " ").split()) or label


def tidy_words(words: Iterable[str]) -> tuple[str, ...]:
    """Tidy several label names."""
    return tuple(tidy(word) for word in words)


def collision(words: Sequence[str]) -> tuple[str, str] | None:
    """Find two words that a reader (or an uncased tokenizer) could not tell apart; None where there are none.

    >>> collision(["A", "b", "a "])
    ('A', 'a ')
    """
    folded = [" ".join(unicodedata.normalize("NFKC", word).casefold().split()) for word in words]
    if len(set(folded)) == len(folded):
        return None
    return next((words[i], words[j]) for i, j in combinations(range(len(words)), 2) if folded[i] == folded[j])


def _one_kind(records: Sequence[Record]) -> str:
    counts = Counter(kind_of(record) for record in records)
    if len(counts) > 1:
        listing = ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
        raise DataError(
            f"The records are of several kinds ({listing}), and a format presents one kind.",
            "Give files of one kind, one kind at a time.",
            at=records[0].origin and records[0].origin.file,
        )
    return next(iter(counts))


def _language(records: Sequence[Record]) -> str:
    beginnings = [input_text(record)[:1000] for record in records[:N_LANGUAGE_RECORDS]]
    chinese = sum(len(_CHINESE.findall(text)) for text in beginnings if not text.isascii())
    if not chinese:
        return "en"
    letters = sum(sum(map(str.isalpha, text)) for text in beginnings)
    return "zh" if chinese >= CHINESE_SHARE * letters else "en"  # of the newest ideographs Python knows no letter


def _labelled(records: Sequence[Record], language: str) -> Task:
    labels = _labels(records)
    inputs = next(tuple(r.inputs) for r in records if isinstance(r, Labelled))
    return Task(kind="labelled", labels=labels, words=tidy_words(labels), language=language, inputs=inputs)


def _labels(records: Sequence[Record]) -> tuple[str, ...]:
    several = [r for r in records if isinstance(r, Labelled) and len(r.labels) > 1]
    if several:
        raise DataError(
            f"{len(several)} of {len(records)} records have several labels, the first of them "
            f"{', '.join(several[0].labels)}; no format learns several labels at once yet.",
            "Keep one label per record, or make one data set per label with the labels yes and no.",
            at=several[0].origin,
        )
    found = {label for r in records if isinstance(r, Labelled) for label in r.labels}
    _check_count(found, records)
    return tuple(sorted(found, key=_label_order))


def _check_count(found: set[str], records: Sequence[Record]) -> None:
    at = records[0].origin and records[0].origin.file
    if not found:
        raise DataError(
            "None of the training records has a label, so there is nothing to learn.",
            "Name the column that holds the label with --label, or give labelled training records.",
            at=at,
        )
    if len(found) == 1:
        raise DataError(
            f"There is only one label, {next(iter(found))!r}, so there is nothing to tell apart.",
            "Add records with another label, or name the right column with --label.",
            at=at,
        )


def _label_order(label: str) -> tuple[int, str]:
    return (int(label), "") if label.isascii() and label.isdigit() else (-1, label)


def _question(records: Sequence[Record], language: str) -> Task:
    questions = [r for r in records if isinstance(r, Question)]
    with_choices = [r for r in questions if r.choices]
    if not with_choices:
        return Task(kind="question", language=language)
    if len(with_choices) < len(questions):
        bare = next(r for r in questions if not r.choices)
        raise DataError(
            f"{len(with_choices)} of {len(questions)} questions have choices and the others have none.",
            "Give all of them choices or none, or put the two into separate files.",
            at=bare.origin,
        )
    sets = {frozenset(r.choices) for r in with_choices}
    if len(sets) == 1:
        _check_count(set(next(iter(sets))), records)
        labels = tuple(sorted(next(iter(sets)), key=_label_order))
        return Task(kind="question", labels=labels, words=tidy_words(labels), language=language)
    letters = _letters(with_choices)
    return Task(kind="question", labels=letters, words=letters, language=language, letters=True)


def _letters(records: Sequence[Question]) -> tuple[str, ...]:
    longest = max(records, key=lambda r: len(r.choices))
    n_choices = len(longest.choices)
    if n_choices > len(string.ascii_uppercase):
        raise DataError(
            f"This question has {n_choices} choices, and letters go up to {len(string.ascii_uppercase)}.",
            "Take the record out, or leave away the choices so that the answer is free.",
            at=longest.origin,
        )
    return tuple(string.ascii_uppercase[:n_choices])


def _both_languages(records: Sequence[Pair]) -> set[tuple[str | None, str | None]]:
    return {(r.source_language, r.target_language) for r in records}


def _pair(records: Sequence[Record], language: str) -> Task:
    (source, target), *more = _both_languages([r for r in records if isinstance(r, Pair)])
    return Task(kind="pair", language=language, languages=() if more or not (source and target) else (source, target))


def _conversation(records: Sequence[Record], language: str) -> Task:
    """Find out whether what is asked for begins with reasoning: the chat template's prompt must say so then."""
    lasts = [r.messages[-1] for r in records if isinstance(r, Conversation) and r.messages]
    answers = [one for one in lasts if one.role == "assistant" and not is_open(one)]
    n_reasoned = sum(bool(answer.thinking) for answer in answers)
    return Task(kind="conversation", language=language, reasons=n_reasoned * 2 > len(answers))


Infer = Callable[[Sequence[Record], str], Task]
INFER: dict[str, Infer] = {"labelled": _labelled, "question": _question, "pair": _pair, "conversation": _conversation}


def _with_words(task: Task, given: Mapping[str, str]) -> Task:
    if not given:
        return task
    if not task.labels or task.letters:
        raise SettingError(
            "Words were given for labels, but these records have no labels that are the same for all of them.",
            "Leave words away.",
            at="words",
        )
    for label, word in given.items():
        if label not in task.labels:
            raise unknown("label", label, task.labels, at="words")
        if not word.strip():
            raise SettingError(f"The word for the label {label!r} is empty.", "Give it a word.", at="words")
    words = tuple(given.get(label, word).strip() for label, word in zip(task.labels, task.words, strict=True))
    return replace(task, words=words)


def _with_asks(task: Task, records: Sequence[Record], *, instruction: str | None, question: str | None) -> Task:
    default_instruction, default_question = _default_asks(task, records)
    return replace(task, instruction=instruction or default_instruction, question=question or default_question)


def _default_asks(task: Task, records: Sequence[Record]) -> tuple[str, str]:
    asks = WORDINGS[task.language].asks
    match task.kind:
        case "labelled":
            ask = asks[ask_for(task.words)]
            return ask.instruction, ask.question
        case "question":
            return _question_instruction(task, records), ""
        case "pair":
            return _pair_asks(task, records)
    return asks[task.kind].instruction, asks[task.kind].question


def _question_instruction(task: Task, records: Sequence[Record]) -> str:
    words = WORDINGS[task.language]
    questions = [r for r in records if isinstance(r, Question)]
    reading = any(r.context for r in questions)
    asked = "letters" if task.letters else "reading" if reading else "question"
    unanswered = any(not r.answerable for r in questions) and not task.labels
    return words.asks[asked].instruction + (words.if_unanswerable if unanswered else "")


def _pair_asks(task: Task, records: Sequence[Record]) -> tuple[str, str]:
    """Leave both empty where the languages differ from record to record: the presentation then asks per record."""
    pairs = [r for r in records if isinstance(r, Pair)]
    if len(_both_languages(pairs)) > 1:
        return "", ""
    return pair_instruction(pairs[0], task), pair_question(pairs[0], task)


def with_languages(record: Pair, task: Task) -> Pair:
    """Name the languages of a pair as those of the training records, where it does not and they all had the same."""
    if not task.languages or record.source_language or record.target_language:
        return record
    source, target = task.languages
    return msgspec.structs.replace(record, source_language=source, target_language=target)


def _check_words(task: Task) -> None:
    same = collision(task.words)
    if not same:
        return
    labels = [label for label, word in zip(task.labels, task.words, strict=True) if word in same]
    raise SettingError(
        f"The labels {labels[0]!r} and {labels[1]!r} would stand as {same[0]!r} and {same[1]!r}, which read the same.",
        "Give one of them another word with words, or make the two one label in the data.",
        at="words",
    )
