"""A user's own presentation: a Jinja template over the record's fields, without code.

    {{ text }}
    Is this review positive or negative?{% learn %} {{ word }}{% endlearn %}

**What it is.** What the template writes is shown to the model; what stands in ``{% learn %}`` is learned, with the
stop token behind it. ``{% mask %}`` around the answer makes a blank for an encoder, ``{% head %}`` puts a class head
on the text instead. Values of the record (``{{ ... }}``) are content and may be cut when too long; the rest is the
format's wording. The candidates of a labelled record are found by rendering the template once per label.

What a template may ask for:

- labelled: ``text`` (all inputs), ``inputs`` (``inputs.premise``), ``label``, ``word``, ``labels``, ``words``,
  ``instruction``, ``question``;
- question: ``question``, ``context``, ``choices``, ``letters``, ``answer``, ``label``, ``word``, ``labels``,
  ``words``, ``instruction``;
- pair: ``source``, ``target``, ``source_language``, ``target_language``, ``instruction``, ``question``;
- conversation: ``messages`` before the last answer (each with ``role`` and ``content``), ``answer``; plain: ``text``.

The answer (``label``, ``word``, ``answer``, ``target``) may stand in the learned part only: that what the model sees
does not depend on it is checked for every record.

**Loss.** As in ``seq2seq`` with ``learn``, as in ``masked_lm`` with ``mask``, as in ``classification`` with ``head``.

**Wins** where you know a wording that fits the data, or want the same text with another output (the control of Le
Scao and Rush 2021: a class head on the prompt's text). **Loses** where wordings are chosen by their dev score on
few records: that picks luck (Perez et al. 2021).

**Source.** Bach et al. 2022 (PromptSource), section 3, writes presentations in Jinja; the learned part marked by a
tag is our own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from formtune.errors import DataError, SettingError, unknown
from formtune.examples import Cell, Example, Format, Segment, Shape, Task
from formtune.formats.dialogue import answer_weight, is_open, last_answer, refuse_templated
from formtune.formats.layout import (
    ALL,
    PREFERENCE,
    STOP,
    WRITES,
    choice_words,
    content,
    expect,
    gold_choice,
    gold_label,
    joined,
    scaffold,
)
from formtune.formats.markup import Markup, Piece, compile_markup
from formtune.formats.tasks import collision
from formtune.formats.wording import language_name, pair_instruction, pair_question, wording
from formtune.records import Conversation, Labelled, Pair, Plain, Question, Record

FIELDS: dict[str, tuple[str, ...]] = {
    "labelled": ("text", "inputs", "label", "word", "labels", "words", "instruction", "question"),
    "question": (
        "question",
        "context",
        "choices",
        "letters",
        "answer",
        "label",
        "word",
        "labels",
        "words",
        "instruction",
    ),
    "pair": ("source", "target", "source_language", "target_language", "instruction", "question"),
    "conversation": ("messages", "answer"),
    "plain": ("text",),
}
EVERY_FIELD = tuple(dict.fromkeys(name for names in FIELDS.values() for name in names))
ANSWERS = frozenset({"label", "word", "answer", "target"})
# The same for all records of a set, so that an expression over them alone is wording and never cut.
CONSTANT = frozenset({"labels", "words", "instruction"})
STAND_IN = "\u2026"  # any answer: a prompt must be the same whatever the answer is

FORMULAS: dict[str, str] = {
    "learn": "L = -sum_t log p(y_t | x, y_<t), over the learned part and its stop token",
    "mask": "L = -sum_{i in M} log p(w_i | x without M), over the mask slot M",
    "head": "L = -log softmax(W h(x) + b)_c, for the class c",
}
ENCODER_ONLY: dict[Shape, str | None] = {
    "encoder": None,
    "decoder": "The template has a mask slot, and a decoder has no mask. Use {% learn %} at the end of the template.",
    "encoder-decoder": "The template has a mask slot in the text. Use {% learn %} at the end of the template.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A record as a template sees it.

    Attributes:
        fields: what may stand in the prompt.
        answers: the fields that hold the answer, for each class; where the answer is free, for the right one (if it
            is known) and for a stand-in.
        gold: which of them is right; None where the record is to be answered.
        classes: the names to choose from; empty where the answer is free.
        references: acceptable free answers.
        weight: loss weight of the answer.
        twins: what to say if two of the record's own choices are learned as the same text.
    """

    fields: Mapping[str, object]
    answers: tuple[Mapping[str, object], ...]
    gold: int | None
    classes: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    weight: float = 1.0
    twins: DataError | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A template filled in: the prompt before the learned part, that part, and what follows it."""

    before: tuple[Segment, ...]
    learned: str
    after: tuple[Segment, ...]


def custom_format(template_text: str, name: str, *, path: str | None = None) -> Format:
    """Make a format of a template.

    Args:
        template_text: the Jinja template.
        name: how the format is called in reports, and in errors (``name:line``) where there is no path.
        path: of the file that it was read from.

    Raises:
        SettingError: the template is not valid, asks for a field that no record has, or marks nothing to learn.
    """
    markup = compile_markup(template_text, path or name, constant=CONSTANT, answers=ANSWERS)
    tag = _one_tag(markup)
    _check_fields(markup, tag)
    return Format(
        name=name,
        summary=f"Your own presentation, from the template {name}.",
        formula=FORMULAS[tag],
        wins="You know a wording that fits the data.",
        loses="The wording was chosen by its score on few records.",
        source="Your template; the idea of Bach et al. 2022 (PromptSource), section 3",
        adds=_adds(markup, tag),
        cells={**{kind: _cell(kind, markup, tag) for kind in FIELDS}, "preference": PREFERENCE},
        template=template_text,
    )


def _one_tag(markup: Markup) -> str:
    if not markup.tags:
        raise SettingError(
            "The template does not say what is to be learned.",
            "Put {% learn %} and {% endlearn %} around the answer, or {% head %} for a class head.",
            at=markup.name,
        )
    if len(markup.tags) > 1:
        raise SettingError(
            f"The template has {' and '.join(sorted(markup.tags))}, and an answer is read off in one place.",
            "Keep one of them.",
            at=markup.name,
        )
    return next(iter(markup.tags))


def _check_fields(markup: Markup, tag: str) -> None:
    for field, line in markup.fields.items():
        if field not in EVERY_FIELD:
            raise unknown("field", field, EVERY_FIELD, at=f"{markup.name}:{line}")
        if tag == "head" and field in ANSWERS:
            raise SettingError(
                f"The template shows the answer, {field!r}, to the class head that is to find it.",
                "Take it out, or mark it with {% learn %}.",
                at=f"{markup.name}:{line}",
            )


def _adds(markup: Markup, tag: str) -> tuple[str, ...]:
    names_labels = tag != "head" or markup.fields.keys() & {"labels", "words"}
    describes = markup.has_wording or markup.fields.keys() & {"instruction"}
    return (*(("label names",) if names_labels else ()), *(("task description",) if describes else ()))


def _cell(kind: str, markup: Markup, tag: str) -> Cell | str:
    missing = [field for field in markup.fields if field not in FIELDS[kind]]
    if missing:
        return f"The template asks for {missing[0]!r}, which a record of the kind {kind} does not have."
    if tag != "learn" and kind not in ("labelled", "question"):
        return f"A {tag} chooses among fixed answers, and records of the kind {kind} have free ones."
    shapes = {"learn": WRITES, "mask": ENCODER_ONLY, "head": ALL}[tag]

    def present(record: Record, task: Task, _shape: Shape) -> Example:
        asked = ASKED[kind](record, task)
        if tag == "head":
            return _head(record.id, asked, markup)
        # With many labels, rendering the whole template once per label is what takes the time.
        texts = _label_texts(markup.learned, task) if markup.learned and task.labels and not task.letters else ()
        return _answer(record.id, asked, markup, texts=texts)

    free = None if tag == "learn" else f"The questions have free answers, and a {tag} chooses among fixed ones."
    return Cell(present, shapes, free=free)


def _head(record_id: str, asked: Asked, markup: Markup) -> Example:
    segments = joined(_segment(piece) for piece in markup.render(asked.fields))
    return Example(id=record_id, output="head", segments=segments, candidates=asked.classes, gold=asked.gold)


@lru_cache(maxsize=16)
def _label_texts(learned: Markup, task: Task) -> tuple[str, ...]:
    """Render the learned part once per label."""
    constant = {"labels": task.labels, "words": task.words, "instruction": task.instruction}
    ways = [{**constant, **way} for way in _label_answers(task)]
    texts = tuple("".join(piece.text for piece in learned.render(way)) for way in ways)
    _check_distinct(texts, task.labels, learned)
    return texts


def _label_answers(task: Task) -> tuple[Mapping[str, object], ...]:
    pairs = zip(task.labels, task.words, strict=True)
    return tuple({"label": label, "answer": label, "word": word} for label, word in pairs)


def _answer(record_id: str, asked: Asked, markup: Markup, *, texts: tuple[str, ...]) -> Example:
    answers = asked.answers[:1] if texts else asked.answers
    renderings = [_rendered(markup, {**asked.fields, **answer}) for answer in answers]
    if not texts:
        _check_leak(renderings, markup)
        texts = tuple(rendering.learned for rendering in renderings)
        _check_distinct(texts, asked.classes, markup, twins=asked.twins)
    masked = "mask" in markup.tags
    slot: tuple[Segment, ...] = ()
    if asked.gold is not None:
        learned = Segment(texts[asked.gold], "target", asked.weight, control="mask" if masked else None)
        slot = (learned,) if masked else (learned, replace(STOP, weight=asked.weight))
    elif masked:
        slot = (Segment("", "target", control="mask"),)
    return Example(
        id=record_id,
        output="mask" if masked else "words" if asked.classes else "text",
        segments=(*renderings[0].before, *slot, *renderings[0].after),
        candidates=texts if asked.classes else (),
        gold=asked.gold if asked.classes else None,
        references=asked.references,
    )


def _rendered(markup: Markup, fields: Mapping[str, object]) -> Rendered:
    pieces = markup.render(fields)
    places = [i for i, piece in enumerate(pieces) if piece.tag]
    if not places or places[-1] - places[0] + 1 != len(places):
        raise SettingError(
            f"The template marks {'several parts' if places else 'nothing'} to be learned for this record.",
            "Let it write one learned part for every record.",
            at=markup.name,
        )
    before, after = pieces[: places[0]], pieces[places[-1] + 1 :]
    if "learn" in markup.tags:
        after = _without_blank_end(after, markup)
    return Rendered(
        before=joined(map(_segment, before)),
        learned="".join(pieces[i].text for i in places),
        after=joined(map(_segment, after)),
    )


def _without_blank_end(after: list[Piece], markup: Markup) -> list[Piece]:
    if "".join(piece.text for piece in after).strip():
        raise SettingError(
            "The template goes on after its learned part, where the model has already stopped.",
            "End the template with {% endlearn %}.",
            at=markup.name,
        )
    return []


def _segment(piece: Piece) -> Segment:
    return content(piece.text) if piece.origin == "value" else scaffold(piece.text)


def _check_leak(renderings: list[Rendered], markup: Markup) -> None:
    first = renderings[0]
    if any((r.before, r.after) != (first.before, first.after) for r in renderings[1:]):
        raise SettingError(
            "What the model sees depends on the answer: one of "
            f"{', '.join(sorted(ANSWERS & markup.fields.keys()))} is used outside the learned part.",
            "Use it inside the learned part only.",
            at=markup.name,
        )


def _check_distinct(
    texts: tuple[str, ...], classes: tuple[str, ...], markup: Markup, *, twins: DataError | None = None
) -> None:
    if not classes and len(set(texts)) == len(texts):
        return
    same = collision(texts) if classes else (texts[0], texts[0])
    if same:
        raise twins or SettingError(
            f"Different answers would be learned as {same[0]!r} and {same[1]!r}, which read the same.",
            "Write the answer ({{ word }}, {{ answer }} or {{ target }}) in the learned part.",
            at=markup.name,
        )


def _labelled(record: Record, task: Task) -> Asked:
    record = expect(record, Labelled)
    fields = {
        "text": "\n".join(record.inputs.values()),
        "inputs": record.inputs,
        "labels": task.labels,
        "words": task.words,
        "instruction": task.instruction,
        "question": task.question,
    }
    return Asked(fields, _label_answers(task), gold_label(record, task), classes=task.labels)


def _question(record: Record, task: Task) -> Asked:
    record = expect(record, Question)
    fields = {
        "question": record.question,
        "context": record.context or "",
        "choices": record.choices,
        "letters": task.words[: len(record.choices)] if task.letters else (),
        "labels": task.labels,
        "words": task.words,
        "instruction": task.instruction,
    }
    if not task.labels:
        references = record.answers if record.answerable else (wording(task).unanswerable,)
        return _free(fields, ("answer", "word", "label"), references)
    answers = _label_answers(task)
    if task.letters:
        letters = choice_words(record, task)
        pairs = zip(letters, record.choices, strict=True)
        answers = tuple({"label": letter, "word": letter, "answer": choice} for letter, choice in pairs)
    return Asked(fields, answers, gold_choice(record, task), classes=task.labels, twins=_twins(record))


def _twins(record: Question) -> DataError | None:
    same = collision(record.choices)
    if not same:
        return None
    return DataError("Two choices read the same.", f"Make {same[0]!r} and {same[1]!r} differ.", at=record.origin)


def _pair(record: Record, task: Task) -> Asked:
    record = expect(record, Pair)
    fields = {
        "source": record.source,
        "source_language": language_name(record.source_language or "", task),
        "target_language": language_name(record.target_language or "", task),
        "instruction": pair_instruction(record, task),
        "question": pair_question(record, task),
    }
    return _free(fields, ("target",), record.targets)


def _conversation(record: Record, _task: Task) -> Asked:
    record = expect(record, Conversation)
    refuse_templated(record)
    before, last = last_answer(record)
    if last.spans:
        raise DataError(
            "The answer gives loss weights to stretches of its text, and a template of one's own learns it whole.",
            "Take the format chat, or take the weights of the stretches out.",
            at=record.origin,
        )
    fields = {"messages": [{"role": m.role, "content": m.content} for m in before]}
    references = () if is_open(last) else (last.content,)
    return _free(fields, ("answer",), references, weight=answer_weight(last))


def _plain(record: Record, _task: Task) -> Asked:
    record = expect(record, Plain)
    return Asked({"text": record.text}, ({},), 0, references=(record.text,))


def _free(
    fields: Mapping[str, object], names: tuple[str, ...], references: tuple[str, ...], *, weight: float = 1.0
) -> Asked:
    right = references[0] if references else None
    # The stand-in shows whether the prompt depends on the answer; it is never learned.
    stand_in = dict.fromkeys(names, STAND_IN if right != STAND_IN else 2 * STAND_IN)
    if right is None:
        return Asked(fields, (stand_in,), None)
    return Asked(fields, (dict.fromkeys(names, right), stand_in), 0, references=references, weight=weight)


ASKED: dict[str, Callable[[Record, Task], Asked]] = {
    "labelled": _labelled,
    "question": _question,
    "pair": _pair,
    "conversation": _conversation,
    "plain": _plain,
}
