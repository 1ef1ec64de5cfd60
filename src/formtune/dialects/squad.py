"""Questions over a paragraph, in the layouts of SQuAD 1.1 and 2.0 and of CMRC 2018.

Documents (``data[].paragraphs[].qas[]``), rows that are an article or a paragraph, CMRC's own layout
(``context_text``, ``query_text``), and the flat rows of the Hub (``answers`` with lists of texts and starts).

Rajpurkar et al. 2016, 2018; Cui et al. 2019.
"""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import msgspec

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, share
from formtune.dialects.questions import context_group
from formtune.records import LeftOut, Origin, Question, Record
from formtune.sources import Row, raw_lines, text_of, value_of

NAME = "squad"
SUMMARY = "Questions whose answers are spans of a paragraph: SQuAD 1.1 and 2.0, CMRC 2018, flat rows of the Hub."
NEEDS = "'data', 'paragraphs' or 'qas', or 'context', 'question' and 'answers' with 'text' and 'answer_start'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"data", "paragraphs", "qas", "context", "question", "answers"})

_NESTED = ("data", "paragraphs", "qas")
_DETAIL_CHARACTERS = 40
_QUESTION_KEYS = frozenset({"question", "query_text", "answers", "is_impossible"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for the nested lists, or for flat rows whose answers have starts."""
    table = objects(rows)
    for key in _NESTED:
        n_fitting = sum(_holds_objects(value.get(key)) for value in table)
        if n_fitting * 2 > len(table) and (key != "data" or _has_paragraphs(table)):
            return Evidence(n_fitting / len(table), f"questions nested in {key!r}", columns)
    found = [answers for value in table if isinstance(answers := value.get("answers"), dict)]
    if sum("text" in answers for answers in found) * 2 > len(table) and share(table, ["question", "context"]) > 0.5:
        return Evidence(len(found) / len(table), "'answers' with texts and starts beside 'context'", columns)
    return None


def read(row: Row, _columns: Columns) -> Iterator[Record | LeftOut]:
    """Read every question of a document, an article, a paragraph, or a flat row; each keeps the line it stands on."""
    value = as_object(row)
    if "question" in value and "answers" in value:
        yield _flat(row, value)
        return
    data = row.raw or text_of(value).encode()
    yield from _nested(data, row.origin, {})


def write(record: Record) -> Object | None:
    """Write a question as a paragraph of its own; :func:`document` joins the paragraphs."""
    if not isinstance(record, Question) or record.choices or record.context is None:
        return None
    found = tuple(record.context.find(answer) for answer in record.answers)
    starts = record.starts or found  # what the data say is written, though they may say -1
    if (not record.starts and -1 in found) or len(starts) != len(record.answers):
        return None
    extra = value_of(record.extra) if record.extra else {}
    around = {name: extra.pop(key) for key, name in _AROUND.items() if key in extra}
    answers = [{"text": text, "answer_start": start} for text, start in zip(record.answers, starts, strict=True)]
    own = {"question": record.question, "answers": answers, "is_impossible": not record.answerable}
    return {**around, "context": record.context, "qas": [{"id": record.id, **extra, **own}]}


def misplaced(records: Sequence[Record]) -> int:
    """Count the answers that do not stand in their context where their start says."""
    return sum(
        start < 0 or not (record.context or "").startswith(text, start)
        for record in records
        if isinstance(record, Question)
        for text, start in zip(record.answers, record.starts, strict=False)
    )


def document(paragraphs: Sequence[Object]) -> Object:
    """Join what :func:`write` gave into one document: neighbors with one title and one context belong together."""
    articles: list[Object] = []
    for paragraph in paragraphs:
        inner = {key: content for key, content in paragraph.items() if key != "title"}
        title = paragraph.get("title")
        if not articles or articles[-1].get("title") != title:
            articles.append({**({"title": title} if title is not None else {}), "paragraphs": []})
        _add(articles[-1]["paragraphs"], inner)
    return {"version": "v2.0", "data": articles}


# What stands around a question, and under which key a record keeps it aside.
_AROUND = {"title": "title", "paragraph_id": "id", "context_id": "context_id"}


def _add(paragraphs: object, paragraph: Object) -> None:
    assert isinstance(paragraphs, list)
    last = paragraphs[-1] if paragraphs else None
    if last is not None and {**last, "qas": []} == {**paragraph, "qas": []}:
        last["qas"].extend(paragraph["qas"])
    else:
        paragraphs.append(paragraph)


def _nested(data: bytes, origin: Origin, around: Object) -> Iterator[Record | LeftOut]:
    """Walk down to the questions; ``around`` is what the levels above say of them."""
    try:
        parts = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        key = next(key for key in _NESTED if key in parts)
        elements = msgspec.json.decode(parts[key], type=list[msgspec.Raw])
    except (msgspec.ValidationError, StopIteration):
        yield LeftOut("a paragraph or article without questions", origin)
        return
    around = {**around, **_labels(parts, key)}
    offset = data.index(bytes(parts[key]))
    lines = raw_lines(elements, data[offset:], first_line=(origin.line or 1) + data.count(b"\n", 0, offset))
    for element, line in zip(elements, lines, strict=True):
        place = Origin(origin.file, line)
        yield from [_question(element, place, around)] if key == "qas" else _nested(bytes(element), place, around)


def _labels(parts: dict[str, msgspec.Raw], key: str) -> Object:
    """Take what an article or a paragraph says of its questions."""
    names = {"title": "title", "context": "context", "context_text": "context", "context_id": "context_id"}
    if key == "qas":
        names["id"] = "paragraph_id"
    return {name: value_of(parts[part]) for part, name in names.items() if part in parts}


def _question(element: msgspec.Raw, origin: Origin, around: Object) -> Record | LeftOut:
    value = value_of(element)
    context = around.get("context")
    if not isinstance(value, dict) or not isinstance(context, str) or not context.strip():
        return LeftOut("a question without a context", origin)
    question = value.get("question", value.get("query_text"))
    answers = value.get("answers") or []
    if not isinstance(question, str) or not question.strip():
        return LeftOut("no question", origin)
    if not isinstance(answers, list):
        return LeftOut("answers that are not a list", origin)
    impossible = value.get("is_impossible") is True
    try:
        texts, starts = _answers([] if impossible else answers)
    except RowFault as fault:  # of this question alone; the document goes on
        return fault.left_out(origin)
    aside = {name: content for name, content in around.items() if name != "context"}
    return Question(
        question=question,
        context=context,
        answers=texts,
        starts=starts,
        answerable=not impossible,
        group=context_group(context),
        origin=origin,
        extra=rest({**aside, **value}, _QUESTION_KEYS),
    )


def _answers(found: Sequence[object]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Give the answers' texts, and where they start if all of them say so.

    Raises:
        RowFault: when an answer is not a text or is empty, or a start is not a number.
    """
    pairs = [(part.get("text"), part.get("answer_start")) if isinstance(part, dict) else (part, None) for part in found]
    starts = tuple(start for start in (_start(found) for _, found in pairs) if start is not None)
    texts = tuple(_text(text) for text, _ in pairs)
    return texts, starts if len(starts) == len(texts) else ()


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise RowFault("an answer that is not a text", repr(found)[:_DETAIL_CHARACTERS])
    if not found.strip():
        raise RowFault("an empty answer")
    return found


def _start(found: object) -> int | None:
    """Give where an answer starts, as the data say it (CMRC has -1 for some); None where they do not."""
    if isinstance(found, bool) or not isinstance(found, (int, type(None))):
        raise RowFault("an answer_start that is not a whole number", repr(found)[:_DETAIL_CHARACTERS])
    return found


def _flat(row: Row, value: Object) -> Question:
    answers, context = value["answers"], value.get("context")
    question = value["question"]
    if not isinstance(context, str) or not isinstance(question, str) or not (context.strip() and question.strip()):
        raise RowFault("no question or no context")
    if not isinstance(answers, dict):
        raise RowFault("answers without texts and starts")
    texts, starts = _answers(_side_by_side(answers.get("text"), answers.get("answer_start")))
    return Question(
        question=question,
        context=context,
        answers=texts,
        starts=starts,
        # In SQuAD 2.0's flat rows an empty list is the sign for "the paragraph does not say".
        answerable=bool(texts),
        group=context_group(context),
        origin=row.origin,
        extra=rest(value, {"question", "context", "answers"}),
    )


def _side_by_side(texts: object, starts: object) -> list[Object]:
    """Bring the lists of texts and starts together; one text with its start may stand without lists."""
    listed = texts if isinstance(texts, list) else [texts]
    begin = starts if isinstance(starts, list) else [starts] * (1 if starts is not None else 0)
    if begin and len(begin) != len(listed):
        raise RowFault("not as many starts as answers", f"{len(begin)} for {len(listed)}")
    return [{"text": text, "answer_start": start} for text, start in zip_longest(listed, begin)]


def _holds_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _has_paragraphs(table: Sequence[Object]) -> bool:
    data = table[0].get("data")
    return isinstance(data, list) and any(isinstance(part, dict) and "paragraphs" in part for part in data)
