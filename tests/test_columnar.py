"""Many records at a time: the same sequences as one by one, for every format, kind, shape of model and vocabulary."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_every_format import CASES, Case
from test_sheets import same
from tokenizer_folders import minilm_folder, smollm2
from trained_tokenizers import byte_level

from formtune import columnar
from formtune.arms import Arm, present_all
from formtune.columnar import NO_ANSWER, NOT_LEARNED, Prepared, Preparer
from formtune.errors import SettingError
from formtune.examples import SHAPES, Shape, Task
from formtune.filling import spelling
from formtune.fitting import TOO_LONG, fit
from formtune.formats import FORMATS, cell, infer_task
from formtune.records import Conversation, Labelled, Message, Pair, Plain, Question, Record
from formtune.shapes import Shaped, Taker
from formtune.tokens import Tokenizer, Tokens, byte_tokenizer, load_tokenizer, tokenize_each

TEXTS = st.text(min_size=1, max_size=30) | st.sampled_from(
    [
        "<|im_end|>",
        " a",
        "b\n",
        "  ",
        "100 %s",
        "e\u0301",
        "\u0301x",
        "😀🏽",
        ".\n\n",
        "</s> [SEP]",
        "日本語。",
        "\ue0f50\ue0f6",
    ]
)
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "bytes": byte_tokenizer,
    "smollm2": smollm2,
    "nfc": lambda: byte_level(composes=True),
    "minilm": lambda: load_tokenizer(minilm_folder()),
}


def preparer(name: str, task: Task, shape: Shape, *, tokenizer: Tokenizer, capacity: int = 512) -> Preparer | None:
    """Make what prepares a format for a shape of model; None where the cell is empty."""
    try:
        arm = Arm(name, FORMATS[name], cell(FORMATS[name], task, shape), "", shape)
    except SettingError:
        return None
    start = 1 if shape == "encoder-decoder" else None
    return Preparer(arm=arm, task=task, tokenizer=tokenizer, start_id=start, capacity=capacity)


def one_by_one(made: Preparer, records: Sequence[Record]) -> dict[int, Tokens]:
    """Take the whole way for every record."""
    named = [msgspec.structs.replace(record, id=str(n)) for n, record in enumerate(records)]
    examples, _ = present_all(made.arm, named, made.task)
    tokenized = tokenize_each(examples, made.tokenizer, shape=made.arm.shape, decoder_start_id=made.start_id)
    return {int(one.id): one for one in fit(tokenized.tokens, made.capacity)[0]}


class Lacking(Exception):
    """A vocabulary has no control token that a format needs, or takes two label words for one: told both ways alike."""


def check_same(made: Preparer, records: Sequence[Record]) -> Prepared:
    """Hold what many at a time become against each alone."""
    try:
        found, alone = made.prepare(records), one_by_one(made, records)
    except SettingError as error:
        raise Lacking from error
    leaf = found.leaf
    numbers = leaf.numbers_N.tolist()
    assert len(numbers) + len(found.left_out) == len(records)
    assert numbers == sorted(set(numbers))
    for place, n in enumerate(numbers):
        own, right = leaf.tokens(place), alone[n]
        assert same(own, right), n
        assert (own.gold, own.corrupt) == (right.gold, right.corrupt)
        assert [ids.tolist() for ids in own.candidates] == [ids.tolist() for ids in right.candidates]
        assert (own.decoder is None) == (right.decoder is None)
        if own.decoder is not None and right.decoder is not None:
            assert same(own.decoder, right.decoder)
    return found


@pytest.mark.parametrize("vocabulary", TOKENIZERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_makes_the_same_of_many_as_of_one(name: str, shape: Shape, vocabulary: str) -> None:
    """Of every kind of record, with some twice, without an answer, and with white space around."""
    for case in CASES:
        try:
            made = preparer(name, case.task, shape, tokenizer=TOKENIZERS[vocabulary]())
        except SettingError:
            continue
        if made is None:
            continue
        with suppress(Lacking):
            check_same(made, [case.record, case.other, *case.train, *case.train])


def labelled(texts: Sequence[str]) -> tuple[list[Record], Task]:
    records: list[Record] = [
        Labelled(inputs={"text": text}, labels=(("good", "bad")[n % 2],)) for n, text in enumerate([*texts, "a", "b"])
    ]
    return records, infer_task(records)


def questions(texts: Sequence[str]) -> tuple[list[Record], Task]:
    records: list[Record] = [
        Question(question=text, context=texts[n - 1] if n % 3 else None, answers=(texts[n // 2],))
        for n, text in enumerate(texts)
    ]
    return records, infer_task(records)


def lettered(texts: Sequence[str]) -> tuple[list[Record], Task]:
    records: list[Record] = [
        Question(question=text, choices=("x", text, "z"), answers=((text, "z", "none")[n % 3],))
        for n, text in enumerate([*texts, "a", "b"])
    ]
    return records, infer_task(records)


def pairs(texts: Sequence[str]) -> tuple[list[Record], Task]:
    records: list[Record] = [
        Pair(source=text, targets=(texts[n - 1],), source_language="en" if n % 2 else None)
        for n, text in enumerate(texts)
    ]
    return records, infer_task(records)


def talks(texts: Sequence[str]) -> tuple[list[Record], Task]:
    records: list[Record] = []
    for n, text in enumerate(texts):
        system = [Message("system", text)] if n % 3 == 1 else []
        weight = (None, 0.0, 0.3)[n % 3]
        turns = [*system, Message("user", texts[n - 1]), Message("assistant", text, weight=weight)]
        records.append(Conversation(messages=(*turns, *turns[-2:]) if n % 2 else tuple(turns)))
    return records, infer_task(records)


def plain(texts: Sequence[str]) -> tuple[list[Record], Task]:
    records: list[Record] = [Plain(text=text) for text in texts]
    return records, infer_task(records)


KINDS = {"labelled": labelled, "question": questions, "letters": lettered, "pair": pairs, "talk": talks, "plain": plain}


@settings(max_examples=15)
@pytest.mark.parametrize("vocabulary", TOKENIZERS)
@pytest.mark.parametrize("kind", KINDS)
@given(
    texts=st.lists(TEXTS, min_size=2, max_size=8), shape=st.sampled_from(SHAPES), name=st.sampled_from(list(FORMATS))
)
def test_no_text_makes_a_difference(kind: str, vocabulary: str, texts: list[str], shape: Shape, name: str) -> None:
    """Seams that tokens cross, characters that the vocabulary lacks, control tokens and marks that a user types."""
    records, task = KINDS[kind](texts)
    made = preparer(name, task, shape, tokenizer=TOKENIZERS[vocabulary]())
    if made is None:
        return
    with suppress(Lacking):
        check_same(made, records)


def talk(question: str, answer: str) -> Conversation:
    return Conversation(messages=(Message("user", question), Message("assistant", answer)))


def chat(capacity: int = 512) -> Preparer:
    made = preparer("chat", Task("conversation"), "decoder", tokenizer=byte_tokenizer(), capacity=capacity)
    assert made is not None
    return made


def test_what_is_left_out_is_told_in_the_order_of_the_records() -> None:
    """With its place, whichever step left it out."""
    unanswered = Conversation(messages=(Message("user", "why"),))
    silent = Conversation(messages=(Message("user", "why"), Message("assistant", "so", weight=0.0)))
    found = chat(capacity=40).prepare([talk("a", "b"), silent, unanswered, talk("why", "x" * 60), talk("w" * 60, "b")])

    assert [one.reason for one in found.left_out] == [NOT_LEARNED, NO_ANSWER, TOO_LONG]
    assert (found.leaf.numbers_N.tolist(), found.n_truncated) == ([0, 4], 1)
    assert found.leaf.sheet.lengths.max() <= 40


def test_a_shape_that_an_outline_gets_wrong_goes_the_whole_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here marks are exchanged, so that question and answer change places."""
    records = [talk(f"question {n}", f"answer {n}") for n in range(5)]
    grouped = Taker.grouped

    def exchanged(self: Taker, records: Sequence[Record]) -> tuple[list[Shaped], list[int]]:
        groups, others = grouped(self, records)
        return [replace(group, fields=group.fields[::-1]) for group in groups], others

    monkeypatch.setattr(Taker, "grouped", exchanged)

    check_same(chat(), records)


def test_one_wrong_record_among_many_is_seen_where_it_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then none of its shape is taken from the outline."""
    monkeypatch.setattr(columnar, "COMPARED", 3)
    grouped = Taker.grouped

    def third(self: Taker, records: Sequence[Record]) -> tuple[list[Shaped], list[int]]:
        (group,), others = grouped(self, records)
        asked, answers = group.fields
        asked[3], answers[3] = "x", "y"
        return [group], others

    monkeypatch.setattr(Taker, "grouped", third)

    check_same(chat(), [talk(f"question {n}", f"answer {n}") for n in range(5)])


def test_texts_of_nothing_but_white_space_are_told_apart() -> None:
    """The white space is the template's to keep, and is not that of the first such record."""
    check_same(chat(), [talk(" ", "a"), talk("\n\n", "b"), talk("q", "c"), talk("", "d")])


@pytest.mark.parametrize(
    ("kind", "answered", "unanswered"),
    [
        ("pair", [Pair("a", ("b",)), Pair("d", ("e",))], Pair("c", ())),
        ("question", [Question("a", answers=("b",)), Question("d", answers=("e",))], Question("c")),
    ],
    ids=["pair", "question"],
)
def test_a_record_without_an_answer_does_not_take_the_next_ones(
    kind: str, answered: list[Record], unanswered: Record
) -> None:
    """Nor does it take the answers of others away, wherever it stands."""
    made = preparer("seq2seq", Task(kind), "encoder-decoder", tokenizer=byte_tokenizer())
    assert made is not None

    for place in range(3):
        found = check_same(made, [*answered[:place], unanswered, *answered[place:]])
        assert found.leaf.numbers_N.tolist() == [n for n in range(3) if n != place]
        assert [one.reason for one in found.left_out] == [NO_ANSWER]


def test_control_tokens_that_are_spelled_are_counted() -> None:
    """A record counts once, however many it spells."""
    spelled = talk("<s> and </s>", "the answer")
    found = chat().prepare([spelled, talk("a < b", "c"), talk("a", "</s>")])

    assert found.n_controls == 2
    assert spelling(["<", "s>", "a <s>", "b"], byte_tokenizer()).tolist() == [False, False, True, False]


def test_outlines_are_made_once_for_a_shape() -> None:
    """However many records and slices there are."""
    made = chat()
    made.prepare([talk(f"q{n}", f"a{n}") for n in range(20)])
    kept = dict(made._outlines)
    made.prepare([talk(f"p{n}", f"b{n}") for n in range(20)])

    assert len(kept) == 1
    assert all(made._outlines[shape] is outline for shape, outline in kept.items())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_marked_record_is_one_of_its_own_shape(case: Case) -> None:
    """Its texts are marks, in their order, and what is not text stays."""
    taker = Taker(case.task)
    groups, others = taker.grouped([case.record])
    if others:
        return
    (group,) = groups
    ((marked,), _) = taker.grouped([taker.marked(case.record)])

    assert marked.shape == group.shape
    texts = [text for (text,) in group.fields]
    assert [text for (text,) in marked.fields] == [f"\ue0f5{n}\ue0f6" if text else "" for n, text in enumerate(texts)]
    assert replace(case.task) == taker.task


def test_texts_that_are_not_composed_are_told_by_the_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a vocabulary composes texts: bytes are counted in those that are composed already, the others go the whole way."""
    records = [talk(text, "Well.") for text in ("“Yes”, she said.", "Cafe\u0301.", "naïve", "...")]
    tokenizer = byte_level(composes=True)
    made = preparer("instruction", infer_task(records), "decoder", tokenizer=tokenizer)
    assert made is not None
    taken: list[list[int]] = []
    whole = Preparer._whole

    def seen(self: Preparer, given: Sequence[Record], numbers: Sequence[np.ndarray]) -> object:
        taken.append(np.unique(np.concatenate(numbers)).tolist())
        return whole(self, given, numbers)

    monkeypatch.setattr(Preparer, "_whole", seen)
    check_same(made, records)

    assert [0, 1] in taken  # the first is compared
