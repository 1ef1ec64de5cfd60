"""Conformance: what holds for every format over every kind of record on every shape of model."""

import re
from dataclasses import dataclass

import msgspec
import pytest

from formtune.errors import SettingError
from formtune.examples import SHAPES, Example, Shape, Task
from formtune.formats import FORMATS, cell, infer_task, marked, matrix, present, samples, unanswered
from formtune.records import KINDS, Conversation, Labelled, Message, Pair, Plain, Question, Record, kind_of


@dataclass(frozen=True)
class Case:
    """A record, the same record with another answer, the training records, and what the model must see of it."""

    name: str
    record: Record
    other: Record
    train: tuple[Record, ...]
    shown: tuple[str, ...]

    @property
    def task(self) -> Task:
        return infer_task(self.train)


def _case(name: str, record: Record, other: Record, *shown: str, train: tuple[Record, ...] = ()) -> Case:
    return Case(name, record, other, train or (record, other), shown)


REVIEW = "  So {{ good }} «that» I <s>slept</s>.\n\tTwice. "
YES_NO = {"question": "is it wet", "context": "Rain fell.\nAll day.", "choices": ("yes", "no")}
OWN = {"question": "What swims?", "choices": ("a fish", "a stone", "a song")}
THREE = {"question": "What flies?", "choices": ("a bird", "a wall", "a pond"), "answers": ("a bird",)}
SAID = (
    Message("system", "Be brief."),
    Message("user", "Hello?"),
    Message("assistant", "Yes."),
    Message("user", "Why?"),
)

CASES = [
    _case(
        "labelled",
        Labelled(id="1", inputs={"text": REVIEW}, labels=("bad",)),
        Labelled(id="1", inputs={"text": REVIEW}, labels=("a_good_one",)),
        REVIEW,
    ),
    _case(
        "labelled in Chinese",
        Labelled(id="1", inputs={"text": "房间很大，早餐也不错。"}, labels=("好评",)),
        Labelled(id="1", inputs={"text": "房间很大，早餐也不错。"}, labels=("差评",)),
        "房间很大，早餐也不错。",
    ),
    _case(
        "labelled pair",
        Labelled(id="2", inputs={"premise": "It rains.", "hypothesis": "It is wet."}, labels=("entailment",)),
        Labelled(id="2", inputs={"premise": "It rains.", "hypothesis": "It is wet."}, labels=("neutral",)),
        "It rains.",
        "It is wet.",
    ),
    _case(
        "fixed choices",
        Question(id="3", answers=("yes",), **YES_NO),
        Question(id="3", answers=("no",), **YES_NO),
        "is it wet",
        "Rain fell.\nAll day.",
    ),
    _case(
        "own choices",
        Question(id="4", answers=("a fish",), **OWN),
        Question(id="4", answers=("a song",), **OWN),
        "What swims?",
        "a fish",
        "a stone",
        "a song",
        train=(Question(id="4", answers=("a fish",), **OWN), Question(**THREE)),
    ),
    _case(
        "free answers",
        Question(id="5", question="Who sang?", context="Ann sang, Bo danced.", answers=("Ann", "she")),
        Question(id="5", question="Who sang?", context="Ann sang, Bo danced.", answers=("Bo",)),
        "Who sang?",
        "Ann sang, Bo danced.",
    ),
    _case(
        "pair",
        Pair(id="6", source="A cat.\nA dog.", targets=("Eine Katze.", "Katze")),
        Pair(id="6", source="A cat.\nA dog.", targets=("Kater.",)),
        "A cat.\nA dog.",
    ),
    _case(
        "translation",
        Pair(id="7", source="A cat.", targets=("Eine Katze.",), source_language="en", target_language="de"),
        Pair(id="7", source="A cat.", targets=("Kater.",), source_language="en", target_language="de"),
        "A cat.",
    ),
    _case(
        "conversation",
        Conversation(id="8", messages=(*SAID, Message("assistant", "I asked."))),
        Conversation(id="8", messages=(*SAID, Message("assistant", "Because."))),
        "Be brief.",
        "Hello?",
        "Yes.",
        "Why?",
    ),
]
PLAIN = Plain(id="9", text="The tide comes in\ntwice a day, and leaves shells.")

SERVED = [
    pytest.param(name, case, shape, id=f"{name}-{case.name}-{shape}")
    for name in FORMATS
    for case in CASES
    for shape in SHAPES
    if not isinstance(FORMATS[name].cells[kind_of(case.record)], str)
    and FORMATS[name].cells[kind_of(case.record)].shapes[shape] is None
    and (case.task.labels or case.task.kind != "question" or FORMATS[name].cells["question"].free is None)
]


def prompt_of(example: Example) -> tuple[object, ...]:
    """What the model sees before it answers."""
    if example.turns:
        return example.turns[:-1] if example.turns[-1].role == "assistant" else example.turns
    return tuple(s for s in example.segments if s.part != "target")


def text_of(example: Example) -> str:
    return "".join(s.text for s in example.segments) + "\n".join(t.content for t in example.turns)


@pytest.mark.parametrize("name", FORMATS)
class TestWhatAFormatSays:
    def test_names_a_paper_with_its_year(self, name: str) -> None:
        """Every format tells where it comes from."""
        assert re.search(r"\b(19|20)\d\d\b", FORMATS[name].source)

    def test_describes_itself(self, name: str) -> None:
        """Every format says in words what it is, what it minimises, when it wins and when it loses."""
        format_ = FORMATS[name]
        assert format_.name == name
        assert format_.formula.startswith("L = -")
        assert all(len(text) > 20 and text.endswith(".") for text in (format_.summary, format_.wins, format_.loses))
        assert set(format_.adds) <= {"label names", "task description"}

    def test_has_a_cell_or_a_reason_for_every_kind(self, name: str) -> None:
        """A kind that is not served has a sentence that says why, and so has a shape."""
        cells = FORMATS[name].cells
        assert set(cells) == set(KINDS)
        reasons = [c for c in cells.values() if isinstance(c, str)]
        for served in cells.values():
            if not isinstance(served, str):
                assert set(served.shapes) == set(SHAPES)
                reasons += [r for r in (*served.shapes.values(), served.free) if r is not None]
        assert all(len(reason.split()) > 4 and reason.endswith(".") for reason in reasons)

    def test_does_not_train_on_preferences(self, name: str) -> None:
        """Preferences are read and checked, not learned."""
        with pytest.raises(SettingError, match="learns right answers, not preferences"):
            cell(name, "preference", "decoder")


@pytest.mark.parametrize(("name", "case", "shape"), SERVED)
class TestEveryCell:
    def test_learns_the_target_and_the_stop_token(self, name: str, case: Case, shape: Shape) -> None:
        """What carries weight is the right answer, then the stop token, and nothing else."""
        example = present(name, case.record, task=case.task, shape=shape)
        if example.output == "head":
            assert all(s.weight == 0 for s in example.segments)
            return
        right = example.candidates[example.gold] if example.gold is not None else example.references[0]
        if example.turns:
            assert [(t.role, t.content) for t in example.turns][-1] == ("assistant", right)
            assert all((t.weight > 0) == (t.role == "assistant") for t in example.turns)
            return
        learned = [s for s in example.segments if s.weight > 0]
        assert learned[0].text in (right, " " + right)
        assert [s.control for s in learned] == (["mask"] if example.output == "mask" else [None, "stop"])
        assert all(s.part == "target" and s.weight == 1.0 for s in learned)

    def test_puts_no_weight_on_the_prompt(self, name: str, case: Case, shape: Shape) -> None:
        """Nothing before the answer is learned, and only the prompt holds content that may be cut."""
        example = present(name, case.record, task=case.task, shape=shape)
        assert all(s.weight == 0 for s in example.segments if s.part != "target")
        assert any(s.part == "content" for s in example.segments) or example.turns

    def test_shows_the_same_prompt_whatever_the_answer_is(self, name: str, case: Case, shape: Shape) -> None:
        """The answer is not to be guessed from the prompt; a record without one has the very same prompt."""
        records = (case.record, case.other, unanswered(case.record))
        examples = [present(name, r, task=case.task, shape=shape) for r in records]
        assert len({prompt_of(e) for e in examples}) == 1
        assert len({(e.output, e.candidates) for e in examples}) == 1

    def test_asks_for_nothing_when_there_is_no_answer(self, name: str, case: Case, shape: Shape) -> None:
        """Without an answer nothing of it is shown or learned, and the example is only a prompt."""
        example = present(name, unanswered(case.record), task=case.task, shape=shape)
        assert example.gold is None
        assert example.references == ()
        assert all(s.weight == 0 and not s.text for s in example.segments if s.part == "target")
        assert not example.turns or example.turns[-1].role == "user"

    def test_offers_the_right_answer_among_distinct_candidates(self, name: str, case: Case, shape: Shape) -> None:
        """Candidates stand as they would in the target; each is there once."""
        example = present(name, case.record, task=case.task, shape=shape)
        assert len(set(example.candidates)) == len(example.candidates)
        assert (example.gold is not None) == bool(case.task.labels)
        if example.output in ("words", "mask"):
            target = (
                next(s.text for s in example.segments if s.weight > 0)
                if example.segments
                else example.turns[-1].content
            )
            assert example.candidates[example.gold] == target
        assert bool(example.candidates) != bool(example.references)

    def test_shows_the_content_of_the_record_as_it_is(self, name: str, case: Case, shape: Shape) -> None:
        """No character of the record is changed, whatever it looks like."""
        shown = text_of(present(name, case.record, task=case.task, shape=shape))
        assert all(text in shown for text in case.shown)

    def test_keeps_the_id_and_one_way_to_lay_out(self, name: str, case: Case, shape: Shape) -> None:
        """An example is known by its record's id and has either segments or turns."""
        example = present(name, case.record, task=case.task, shape=shape)
        assert example.id == case.record.id
        assert bool(example.segments) != bool(example.turns)
        assert all(s.text or s.control for s in example.segments)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_plain_text_survives_in_every_format_that_learns_it(name: str, shape: Shape) -> None:
    """However plain text is parted or blanked, its words are all there, and something of it is learned."""
    served = FORMATS[name].cells["plain"]
    if isinstance(served, str) or served.shapes[shape] is not None:
        return
    example = present(name, PLAIN, task=infer_task([PLAIN]), shape=shape)
    words = PLAIN.text.split()
    shown = [s.text for s in example.segments if s.part != "scaffold"]
    assert sorted(" ".join(shown).split()) == sorted(words)
    assert example.corrupt or any(s.weight > 0 for s in example.segments)


def test_every_empty_cell_names_the_formats_that_would_do() -> None:
    """An error for an empty cell says why and lists what can be taken instead."""
    with pytest.raises(SettingError) as caught:
        cell("classification", "pair", "decoder")
    assert str(caught.value) == (
        "--format: classification is not for this: The target is free text, and a head can only choose among a fixed "
        "list of classes. Formats for these records on a decoder: seq2seq, generative_qa, instruction, chat, completion."
    )


def test_an_unknown_format_is_told_the_nearest() -> None:
    """A mistyped name costs one line, not a search."""
    with pytest.raises(SettingError, match="There is no format 'masked_ml'; the nearest is 'masked_lm'"):
        cell("masked_ml", "labelled", "encoder")


def test_free_answers_are_told_apart_from_choices() -> None:
    """With a task at hand, a cell that needs choices refuses questions without them; the kind alone does not tell."""
    free = Question(question="Who?", answers=("Ann",))
    assert cell("classification", "question", "encoder")
    with pytest.raises(SettingError, match="The questions have free answers"):
        cell("classification", infer_task([free]), "encoder")


def test_the_matrix_lists_every_format_over_every_kind() -> None:
    """The matrix has a row for each format and sort of data, and a verdict for each shape."""
    rows = matrix()
    assert {(row.format, row.kind) for row in rows} == {(name, kind) for name in FORMATS for kind in KINDS}
    assert all(set(row.shapes) == set(SHAPES) for row in rows)


def test_the_matrix_is_what_presenting_does() -> None:
    """Where the matrix has no reason a sample can be presented, and nowhere else."""
    by_data = {sample.data: sample for sample in samples()}
    for row in matrix():
        sample = by_data[row.data]
        for shape, reason in row.shapes.items():
            if reason is None:
                assert present(row.format, sample.record, task=sample.task, shape=shape).id == sample.record.id
            else:
                with pytest.raises(SettingError, match=re.escape(reason)):
                    present(row.format, sample.record, task=sample.task, shape=shape)


def test_presenting_changes_no_record() -> None:
    """Records are frozen: every format sees the same ones."""
    before = [msgspec.json.encode(case.record) for case in CASES]
    for name in FORMATS:
        for case in CASES:
            served = FORMATS[name].cells[case.task.kind]
            if not isinstance(served, str) and (case.task.labels or served.free is None):
                served.present(case.record, case.task, "decoder")
    assert [msgspec.json.encode(case.record) for case in CASES] == before


@pytest.mark.parametrize("name", FORMATS)
def test_formats_read_as_in_their_golden_file(name: str, golden) -> None:
    """What each format shows a model, for a person to judge."""
    format_ = FORMATS[name]
    lines = [f"{name}: {format_.summary}", f"adds: {', '.join(format_.adds) or 'nothing'}", ""]
    for sample in [*samples(), *_chinese()]:
        lines += ["", f"=== {sample.data} ===", *_shown(name, sample.record, sample.task)]
    golden(f"formats/{name}.txt", "\n".join(lines) + "\n")


def _shown(name: str, record: Record, task: Task) -> list[str]:
    pages: dict[str, list[str]] = {}
    for shape in SHAPES:
        try:
            example = present(name, record, task=task, shape=shape)
        except SettingError as error:
            page = f"(not: {error.problem.removeprefix(f'{name} is not for this: ')})"
        else:
            page = f"{marked(example).rstrip()}\n{_read_off(example)}"
        pages.setdefault(page, []).append(shape)
    return [line for page, shapes in pages.items() for line in (f"--- {', '.join(shapes)}", page)]


def _read_off(example: Example) -> str:
    corrupt = f" · corrupt: {example.corrupt}" if example.corrupt else ""
    offered = " | ".join(f"{'*' if i == example.gold else ''}{c}" for i, c in enumerate(example.candidates))
    return f"[{example.output}{corrupt}] {offered or ' | '.join(example.references)}".rstrip()


def _chinese() -> list:
    from formtune.formats.samples import Sample

    hotel = Labelled(id="10", inputs={"text": "房间很大，早餐也不错。"}, labels=("好评",))
    dull = Labelled(inputs={"text": "很差。"}, labels=("差评",))
    asked = Question(id="11", question="茶产自哪里？", context="茶产自云南的山区。", answers=("云南",))
    no_answer = Question(id="12", question="茶有多贵？", context="茶产自云南的山区。", answerable=False)
    pair = Pair(id="13", source="早上好。", targets=("Good morning.",), source_language="zh", target_language="en")
    plain = Plain(id="14", text="春眠不觉晓，处处闻啼鸟。")
    return [
        Sample("labelled text in Chinese", hotel, infer_task([hotel, dull])),
        Sample("question in Chinese, some without an answer", no_answer, infer_task([asked, no_answer])),
        Sample("source and target in Chinese", pair, infer_task([pair])),
        Sample("plain text in Chinese", plain, infer_task([plain])),
    ]
