"""Every example gets one answer, in order, whatever the format, the family and the batches."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from formtune.errors import DataError, SettingError
from formtune.examples import SHAPES, Example, Segment, Shape, Task, Turn
from formtune.formats import FORMATS, cell, unanswered
from formtune.formats.samples import samples
from formtune.label_words import plan_words
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.prediction import label_prior, predict, too_long
from formtune.scoring import score_words
from formtune.tokens import prompts

FAMILIES = {"encoder": "bert", "decoder": "llama", "encoder-decoder": "t5"}
TEXTS = ("A fine film.", "Dull.", "I slept through all of it and so did everybody else.", "Wow!")
STOP = Segment("", "target", weight=1.0, control="stop")


def scaffold(text: str) -> Segment:
    return Segment(text, "scaffold")


def content(text: str) -> Segment:
    return Segment(text, "content")


def word_examples(words: tuple[str, ...] = (" bad", " good"), texts: tuple[str, ...] = TEXTS) -> list[Example]:
    return [
        Example(str(n), "words", (content(text), scaffold(" =>")), candidates=words, gold=n % len(words))
        for n, text in enumerate(texts)
    ]


def mask_examples(words: tuple[str, ...] = ("bad", "good")) -> list[Example]:
    blank = Segment("", "target", control="mask")
    return [
        Example(str(n), "mask", (content(text), scaffold(" It was "), blank, scaffold(".")), candidates=words)
        for n, text in enumerate(TEXTS)
    ]


def head_examples() -> list[Example]:
    return [
        Example(str(n), "head", (content(text),), candidates=("no", "so-so", "yes")) for n, text in enumerate(TEXTS)
    ]


def text_examples(answer: str = " yes") -> list[Example]:
    return [
        Example(
            str(n),
            "text",
            (content(text), scaffold("\nAnswer:"), Segment(answer, "target", weight=1.0), STOP),
            references=(answer.strip(),),
        )
        for n, text in enumerate(TEXTS)
    ]


def serves(name: str, task: Task, shape: Shape) -> bool:
    try:
        cell(name, task, shape)
    except SettingError:
        return False
    return True


CASES = [
    ("bert", head_examples()),
    ("bert", mask_examples()),
    ("gpt2", head_examples()),
    ("llama", word_examples()),
    ("llama", text_examples()),
    ("xlnet", word_examples()),
    ("t5", word_examples()),
    ("t5", text_examples()),
]


def model_for(family: str, examples: list[Example], options: Options = Options()) -> Model:
    output = examples[0].output
    return tiny(family, output=output, n_classes=3 if output == "head" else 0, options=options)


@pytest.mark.parametrize(("family", "examples"), CASES, ids=lambda c: c if isinstance(c, str) else c[0].output)
def test_answers_do_not_depend_on_the_batches_and_keep_their_order(family, examples):
    model = model_for(family, examples)
    alone = predict(model, examples, tokens_per_batch=1, max_new_tokens=5)
    together = predict(model, examples, tokens_per_batch=10_000, max_new_tokens=5)

    assert [p.id for p in alone] == [p.id for p in together] == ["0", "1", "2", "3"]
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(a.nll or 0.0, b.nll or 0.0, rtol=1e-5)
        assert (a.answer, a.label, a.generated) == (b.answer, b.label, b.generated)


@pytest.mark.parametrize(("family", "examples"), CASES, ids=lambda c: c if isinstance(c, str) else c[0].output)
def test_the_same_question_twice_gets_the_same_answer(family, examples):
    model = model_for(family, examples)

    assert predict(model, examples, max_new_tokens=5) == predict(model, examples, max_new_tokens=5)


@pytest.mark.parametrize(("family", "examples"), [c for c in CASES if c[1][0].candidates])
def test_the_answer_is_the_most_probable_candidate(family, examples):
    for prediction in predict(model_for(family, examples), examples):
        best = max(prediction.probabilities)
        words = [word.strip() for word in examples[0].candidates]
        assert sum(prediction.probabilities) == pytest.approx(1.0)
        assert prediction.confidence == best
        assert prediction.answer == words[prediction.probabilities.index(best)] == words[prediction.label]
        assert prediction.valid
        assert prediction.generated is None


def test_a_training_model_trains_on_after_it_has_answered():
    model = model_for("llama", word_examples())
    model.train(True)
    predict(model, word_examples())

    assert model.module.training


def test_a_right_answer_is_not_looked_at():
    """Neither the target nor the gold index changes what is predicted."""
    model = model_for("llama", word_examples())
    open_examples = word_examples()
    answered = [replace(e, segments=(*e.segments, Segment(" bad", "target", weight=1.0), STOP)) for e in open_examples]

    assert predict(model, answered) == predict(model, [replace(e, gold=None) for e in open_examples])


def test_a_filled_blank_is_not_looked_at():
    model = model_for("bert", mask_examples())
    filled = [
        replace(e, segments=tuple(replace(s, text="good", weight=1.0) if s.control else s for s in e.segments))
        for e in mask_examples()
    ]

    assert predict(model, filled) == predict(model, mask_examples())


def test_where_a_word_begins_another_the_stop_decides_between_them():
    """good, good enough: what is compared is good</s> with good enough</s>."""
    words = (" good", " good enough")
    model = model_for("llama", word_examples(words))
    asked = prompts(word_examples(words), model.tokenizer, shape="decoder")
    stopped = [np.append(ids, model.tokenizer.eos_id) for ids in asked[0].candidates]
    with model.inference():
        plan = plan_words(stopped, words, stop_id=None)
        scored = score_words(model, [p.ids_T for p in asked], [plan] * 4, tokens_per_batch=1000)

    for prediction, one in zip(predict(model, word_examples(words)), scored, strict=True):
        odds = np.exp(one.scores_K)
        np.testing.assert_allclose(prediction.probabilities, odds / odds.sum(), rtol=1e-4)


def test_label_words_of_the_same_tokens_are_refused():
    with pytest.raises(SettingError, match="' good' and ' good' are the same tokens"):
        predict(model_for("llama", word_examples()), word_examples((" good", " good")))


def test_fillings_of_the_same_tokens_are_refused():
    with pytest.raises(SettingError, match="the same tokens"):
        predict(model_for("bert", mask_examples()), mask_examples(("good", "good")))


def test_what_is_written_beside_the_choice_is_read_back():
    """A random model writes no label word; the choice by scores stays the answer."""
    model = model_for("llama", word_examples())
    scored = predict(model, word_examples())
    beside = predict(model, word_examples(), generate=True)

    assert [p.generated_label for p in beside] == [None] * 4
    assert not any(p.valid for p in beside)
    assert all(0 < p.n_tokens_out <= len(" good") + 8 for p in beside)
    assert [(p.answer, p.probabilities) for p in beside] == [(p.answer, p.probabilities) for p in scored]


def test_a_written_label_word_is_valid():
    """The model's own greedy answer, taken as a label word, is read back as that word."""
    model = tiny("llama", output="words", seed=3)
    first = predict(model, word_examples(("~~~~~~~~", "#"), TEXTS[:1]), generate=True)[0]
    words = ("~", first.generated)
    again = predict(model, word_examples(words, TEXTS[:1]), generate=True, max_new_tokens=first.n_tokens_out)[0]

    assert (again.generated_label, again.valid) == (1, True)


def test_free_text_is_written_up_to_the_limit_and_its_reference_is_weighed():
    predictions = predict(model_for("llama", text_examples()), text_examples(), max_new_tokens=3)

    for prediction in predictions:
        assert prediction.n_tokens_out <= 3
        assert prediction.generated == prediction.answer
        assert prediction.nll > 0
        assert prediction.n_target_tokens == len(" yes") + 1  # the stop token is asked for as well
        assert prediction.n_target_bytes == len("yes")
        assert prediction.label is None
        assert prediction.confidence is None


def test_only_the_last_answer_of_a_conversation_is_weighed():
    """A format that learns every turn is asked for the same text as one that learns the last."""
    turns = (Turn("user", "Hi"), Turn("assistant", "Hello", 1.0), Turn("user", "Bye"), Turn("assistant", "Ciao", 1.0))
    every = Example("0", "text", turns=turns, references=("Ciao",))
    last = replace(every, turns=(turns[0], replace(turns[1], weight=0.0), *turns[2:]))
    model = model_for("llama", [every])

    assert predict(model, [every], max_new_tokens=2) == predict(model, [last], max_new_tokens=2)
    assert predict(model, [every], max_new_tokens=2)[0].n_target_bytes == 4


def test_an_open_question_has_no_likelihood():
    model = model_for("llama", text_examples())
    prediction = predict(model, [Example("0", "text", (scaffold("Hello"),))], max_new_tokens=2)[0]

    assert (prediction.nll, prediction.n_target_tokens, prediction.n_target_bytes) == (None, 0, 0)


def test_a_text_that_is_learned_whole_is_weighed_and_nothing_is_written():
    whole = Example("0", "text", (Segment("A fine film.", "target", weight=1.0), STOP), references=("A fine film.",))
    prediction = predict(model_for("llama", [whole]), [whole])[0]

    assert (prediction.generated, prediction.n_tokens_out, prediction.valid) == (None, 0, True)
    assert prediction.n_target_bytes == 12
    assert prediction.nll > 0


def test_masked_tokens_are_the_same_whenever_and_beside_whomever_a_text_is_scored():
    texts = [Example(str(n), "mask", (content(text),), corrupt="tokens") for n, text in enumerate(TEXTS)]
    model = tiny("bert", output="mask")
    together, alone = predict(model, texts), predict(model, texts[2:3])[0]

    assert alone.nll == pytest.approx(together[2].nll, rel=1e-5)
    assert alone.n_target_tokens == together[2].n_target_tokens > 0


def test_content_is_cut_to_leave_room_for_the_longest_word():
    examples = word_examples(texts=("x" * 500, "short"))
    model = model_for("llama", examples, Options(max_length=40))
    predictions = predict(model, examples)

    assert predictions[0].n_tokens_in == 40 - len(" good") + 2 * len(" goo") - 1  # the words are read behind it


def test_a_record_that_does_not_fit_is_named():
    examples = [*word_examples(), Example("long", "words", (scaffold("x" * 50),), candidates=(" bad", " good"))]
    model = model_for("llama", examples, Options(max_length=40))

    with pytest.raises(DataError) as error:
        predict(model, examples)
    assert str(error.value) == (
        "tiny-llama: 1 of 5 records do not fit into the 40 tokens of the model (5 of them for the answer), even "
        "without the content that may be cut: long. "
        "Leave them out, allow fewer new tokens, or take a model that reads more."
    )
    assert [one.id for one in too_long(model, examples)] == ["long"]


def test_an_answer_that_does_not_fit_is_found_beforehand():
    examples = [*text_examples(), replace(text_examples("y" * 60)[0], id="long")]
    model = model_for("llama", examples, Options(max_length=40))

    assert [one.id for one in too_long(model, examples, max_new_tokens=4)] == ["long"]
    with pytest.raises(DataError, match=": long"):
        predict(model, examples, max_new_tokens=4)


def test_nothing_asked_is_nothing_answered():
    assert predict(tiny("llama", output="words"), []) == []
    assert too_long(tiny("llama", output="words"), []) == []


def test_examples_of_another_output_are_a_wrong_call():
    with pytest.raises(ValueError, match="loaded for output 'words'"):
        predict(tiny("llama", output="words"), text_examples())


def test_the_label_prior_is_taken_off_the_scores():
    """Zhao et al. 2021: what a model answers to an empty record is then undecided."""
    examples = word_examples()
    empty = word_examples(texts=("N/A",))
    model = model_for("llama", examples)
    prior = label_prior(model, empty)

    assert np.exp(prior).sum() == pytest.approx(1.0)
    assert predict(model, empty, prior=prior)[0].probabilities == pytest.approx((0.5, 0.5))
    raw, corrected = predict(model, examples)[0], predict(model, examples, prior=prior)[0]
    odds = np.array(raw.probabilities) / np.exp(prior)
    np.testing.assert_allclose(corrected.probabilities, odds / odds.sum(), rtol=1e-6)


def test_the_label_prior_is_the_mean_over_several_empty_records():
    model = model_for("llama", word_examples())
    empties = word_examples(texts=("N/A", ""))
    probabilities = [p.probabilities for p in predict(model, empties)]

    np.testing.assert_allclose(np.exp(label_prior(model, empties)), np.mean(probabilities, axis=0))


SERVED = [
    pytest.param(name, sample, shape, id=f"{name}, {sample.data}, {shape}")
    for name in FORMATS
    for sample in samples()
    for shape in SHAPES
    if serves(name, sample.task, shape)
]


@pytest.mark.parametrize(("name", "sample", "shape"), SERVED)
def test_every_format_is_answered_on_every_shape_it_serves(name, sample, shape):
    """The record of each sort of data, with its answer and without."""
    present = cell(name, sample.task, shape).present
    records = (sample.record, msgspec.structs.replace(unanswered(sample.record), id="open"))
    examples = [present(record, sample.task, shape) for record in records]
    model = tiny(FAMILIES[shape], output=examples[0].output, n_classes=len(sample.task.labels) or 2)
    predictions = predict(model, examples, generate=True, max_new_tokens=3)

    assert [p.id for p in predictions] == [sample.record.id, "open"]
    for prediction, example in zip(predictions, examples, strict=True):
        assert len(prediction.probabilities) == len(example.candidates)
        assert example.candidates or prediction.nll is not None or prediction.generated is not None
    if examples[0].candidates:
        assert predictions[0].probabilities == pytest.approx(predictions[1].probabilities, rel=1e-5)
