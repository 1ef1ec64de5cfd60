"""Predictions to scores: invalid answers count, confidence can be put right, and open records are refused."""

import math

import msgspec
import numpy as np
import pytest

from formtune.answers import Prediction
from formtune.errors import DataError
from formtune.evaluation import answer_language, evaluate, fit_temperature, invalid_share, outcomes, tempered
from formtune.examples import Example, Task

LABELS = Task(kind="labelled", labels=("bad", "good"), words=("bad", "good"))
LETTERS = Task(kind="question", labels=("A", "B", "C"), words=("A", "B", "C"), letters=True)
READING = Task(kind="question")
PAIRS = Task(kind="pair")


def chosen(record: str, *probabilities: float, generated: str | None = None, label: int | None = None) -> Prediction:
    best = int(np.argmax(probabilities))
    return Prediction(
        id=record,
        answer=("bad", "good", "C")[best],
        confidence=max(probabilities),
        label=best,
        probabilities=probabilities,
        generated=generated,
        generated_label=label,
        valid=generated is None or label is not None,
    )


def written(record: str, answer: str, **likelihood: float) -> Prediction:
    return Prediction(id=record, answer=answer, generated=answer, valid=bool(answer), **likelihood)


def asked(record: str, gold: int | None) -> Example:
    return Example(record, "words", candidates=(" bad", " good"), gold=gold)


def referred(record: str, *references: str) -> Example:
    return Example(record, "text", references=references)


FOUR = [chosen("0", 0.9, 0.1), chosen("1", 0.2, 0.8), chosen("2", 0.6, 0.4), chosen("3", 0.3, 0.7)]
FOUR_ASKED = [asked("0", 0), asked("1", 1), asked("2", 1), asked("3", 1)]


def test_three_of_four_right_are_75_points():
    scores = evaluate(FOUR, FOUR_ASKED, LABELS)

    assert scores["n"] == 4
    assert scores["metrics"]["accuracy"] == 75.0
    assert scores["metrics"]["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7]).mean())
    assert scores["confusion"] == {"labels": ["bad", "good"], "counts": [[1, 0], [1, 2]], "invalid": [0, 0]}
    assert [row["label"] for row in scores["classes"]] == ["bad", "good"]
    assert scores["classes"][1]["recall"] == pytest.approx(200 / 3)
    assert scores["majority"]["accuracy"] == 75.0


def test_scores_are_plain_values_that_json_can_hold():
    scores = evaluate(FOUR, FOUR_ASKED, LABELS, dev=(FOUR, FOUR_ASKED))

    assert msgspec.json.decode(msgspec.json.encode(scores)) == scores


def test_calibration_bins_hold_every_record_once():
    assert sum(b["n"] for b in evaluate(FOUR, FOUR_ASKED, LABELS)["calibration"]) == 4


def test_a_choice_by_scores_counts_even_where_what_was_written_beside_it_is_no_word():
    """The choice is the answer; what was written is scored beside it, and there an invalid answer is wrong."""
    predictions = [chosen("0", 0.9, 0.1, generated="dunno"), chosen("1", 0.9, 0.1, generated="good", label=1)]
    scores = evaluate(predictions, [asked("0", 0), asked("1", 1)], LABELS)

    assert scores["metrics"]["accuracy"] == 50.0
    assert scores["invalid"] == 0.5
    assert scores["written"]["accuracy"] == 50.0
    assert [o.valid for o in outcomes(predictions, [asked("0", 0), asked("1", 1)], LABELS)] == [True, True]
    free = outcomes(predictions, [asked("0", 0), asked("1", 1)], LABELS, written=True)
    assert [(o.label, o.valid) for o in free] == [(None, False), (1, True)]


def test_where_nothing_was_written_there_is_no_invalid_share():
    assert invalid_share(FOUR) is None
    assert evaluate(FOUR, FOUR_ASKED, LABELS)["written"] == {}


def test_an_empty_text_is_invalid():
    assert invalid_share([written("0", ""), written("1", "Paris")]) == 0.5


def test_a_question_with_fewer_choices_gives_the_others_no_probability():
    example = Example("0", "words", candidates=(" A", " B"), gold=1)
    outcome = outcomes([chosen("0", 0.25, 0.75)], [example], LETTERS)[0]

    assert outcome.probabilities.tolist() == [0.25, 0.75, 0.0]


def test_choices_of_any_number_are_scored_together():
    examples = [Example("0", "words", gold=1), Example("1", "words", gold=2)]
    predictions = [chosen("0", 0.25, 0.75), chosen("1", 0.2, 0.2, 0.6)]
    scores = evaluate(predictions, examples, LETTERS, dev=(predictions, examples))

    assert scores["metrics"]["accuracy"] == 100.0
    assert all(map(math.isfinite, scores["calibrated"]["metrics"].values()))


def test_the_word_for_no_answer_is_no_answer():
    """SQuAD v2: unanswerable questions want an empty answer, and a wrong refusal is wrong."""
    examples = [referred("0", "unanswerable"), referred("1", "Paris"), referred("2", "unanswerable")]
    predictions = [written("0", "Unanswerable."), written("1", "unanswerable"), written("2", "Paris")]
    found = outcomes(predictions, examples, READING)

    assert [(o.answer, o.references) for o in found] == [("", ()), ("", ("Paris",)), ("Paris", ())]
    assert evaluate(predictions, examples, READING)["metrics"]["exact_match"] == pytest.approx(100 / 3)


def test_nothing_written_is_not_the_answer_that_there_is_none():
    """A model that stops at once has not said that the question cannot be answered."""
    scores = evaluate([written("0", "")], [referred("0", "unanswerable")], READING)

    assert scores["metrics"]["exact_match"] == 0.0


def test_free_answers_have_no_classes():
    scores = evaluate([written("0", "Paris")], [referred("0", "Paris")], READING)

    assert scores["metrics"] == {"token_f1": 100.0, "exact_match": 100.0}
    assert (scores["classes"], scores["confusion"], scores["calibration"], scores["calibrated"]) == ([], {}, [], None)


def test_pairs_have_likelihoods_and_text_scores():
    prediction = written("0", "der Hund", nll=8 * math.log(2), n_target_tokens=4, n_target_bytes=8)
    metrics = evaluate([prediction], [referred("0", "der Hund")], PAIRS)["metrics"]

    assert metrics["bits_per_byte"] == pytest.approx(1.0)
    assert metrics["perplexity"] == pytest.approx(4.0)
    assert metrics["chrf"] == pytest.approx(100.0)


def test_the_language_of_a_translation_is_that_of_its_references():
    assert answer_language([referred("0", "你好，Alice。")], PAIRS) == "zh"
    assert answer_language([referred("0", "これは本です")], PAIRS) == "ja"
    assert answer_language([referred("0", "Guten Morgen")], PAIRS) == "en"
    assert answer_language([], PAIRS) == "en"
    assert answer_language([referred("0", "3.5")], Task(kind="question", language="zh")) == "zh"


def test_a_record_without_an_answer_is_refused_by_name():
    with pytest.raises(DataError, match="1 of 2 records have no answer to compare with, the first of them '1'"):
        evaluate(FOUR[:2], [asked("0", 0), asked("1", None)], LABELS)
    with pytest.raises(DataError, match="have no answer"):
        evaluate([written("0", "x")], [referred("0")], PAIRS)


def test_no_records_are_refused():
    with pytest.raises(DataError, match="no records to evaluate"):
        evaluate([], [], LABELS)


def test_a_prediction_of_another_record_is_a_wrong_call():
    with pytest.raises(ValueError, match="'1' does not stand beside its example"):
        outcomes(FOUR[1:2], FOUR_ASKED[:1], LABELS)


def test_a_model_that_is_too_sure_of_itself_gets_a_temperature_above_one():
    """Right in 75 of 100 cases and sure to 99 %: the temperature brings the confidence down to 75 %."""
    probabilities = np.tile([0.99, 0.01], (100, 1))
    golds = np.array([0] * 75 + [1] * 25)
    temperature = fit_temperature(probabilities, golds)

    assert temperature == pytest.approx(math.log(99) / math.log(3), rel=1e-3)


def test_a_temperature_changes_confidence_and_no_answer():
    found = outcomes(FOUR, FOUR_ASKED, LABELS)
    softer = tempered(found, 2.0)

    assert softer[0].probabilities.tolist() == pytest.approx([3 / 4, 1 / 4])  # the root of 9 to 1
    assert [o.label for o in softer] == [o.label for o in found]
    np.testing.assert_allclose([o.probabilities for o in tempered(found, 1.0)], [o.probabilities for o in found])


def test_the_calibrated_scores_stand_beside_the_raw_ones():
    sure = [chosen(str(n), 0.99, 0.01) for n in range(8)]
    examples = [asked(str(n), int(n >= 6)) for n in range(8)]
    scores = evaluate(sure, examples, LABELS, dev=(sure, examples))

    assert scores["calibrated"]["n"] == 8
    assert scores["calibrated"]["temperature"] > 1
    assert scores["calibrated"]["metrics"]["ece"] == pytest.approx(0.0, abs=0.1)
    assert scores["metrics"]["ece"] == pytest.approx(24.0)
    assert set(scores["calibrated"]["metrics"]) == {"log_loss", "brier", "ece"}


def test_the_temperature_stays_within_bounds_where_no_record_is_wrong():
    assert fit_temperature(np.array([[0.6, 0.4]] * 3), np.zeros(3, dtype=int)) == pytest.approx(0.05, rel=1e-2)
