"""Metrics against hand-worked values and against other people's implementations."""

import math

import numpy as np
import pytest

from formtune import metrics, text_metrics
from formtune.errors import SettingError
from formtune.label_metrics import CalibrationBin, ClassScore
from formtune.metrics import METRICS, Outcome
from formtune.outcomes import golds, labels, probabilities

ENGLISH = [
    ("The cat sat on the mat.", ("The cat is sitting on the mat.", "A cat sat on a mat.")),
    ("He reads a book", ("He is reading a book", "He reads one book.")),
    ("completely unrelated", ("nothing in common here", "no")),
    ("", ("an empty answer", "")),
    ("Ein Hund läuft über die Straße.", ("Ein Hund rennt über die Straße.", "Der Hund läuft.")),
]
CHINESE = [
    ("他在北京大学读书。", ("他在清华大学读书。",)),
    ("今天天气很好", ("今天天气真的很好",)),
    ("2024年GDP增长5%", ("2024年GDP增长了5%",)),
]


def texts(pairs, language="en"):
    return [Outcome(answer=answer, references=references, language=language) for answer, references in pairs]


def classes(*answers, n=None):
    return [Outcome(gold=gold, label=label) for gold, label in answers]


@pytest.fixture
def random_outcomes():
    rng = np.random.default_rng(7)
    distributions = rng.dirichlet([0.5] * 4, 300)
    right = rng.integers(0, 4, 300)
    return [
        Outcome(gold=int(g), label=int(p.argmax()), probabilities=p) for g, p in zip(right, distributions, strict=True)
    ]


# Classes


def test_accuracy_counts_right_answers_in_points():
    assert METRICS["accuracy"].score(classes((0, 0), (1, 1), (1, 0), (2, 2))) == 75.0


def test_an_invalid_answer_is_wrong_whatever_its_label():
    answers = [Outcome(gold=0, label=0, valid=False), Outcome(gold=0, label=None), Outcome(gold=0, label=0)]
    assert METRICS["accuracy"].score(answers) == pytest.approx(100 / 3)


def test_macro_f1_by_hand():
    """Class 0: 2·1/(2+1) = 2/3; class 1: 2·1/(1+2) = 2/3; class 2 is never asked nor answered and does not count."""
    assert METRICS["macro_f1"].score(classes((0, 0), (0, 1), (1, 1))) == pytest.approx(200 / 3)


def test_confusion_has_rows_of_right_classes_and_a_last_column_for_invalid_answers():
    counts = metrics.confusion(classes((0, 0), (0, 1), (1, 1), (1, None)), 2)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 1]]


def test_class_scores_by_hand():
    scores = metrics.class_scores(classes((0, 0), (0, 1), (1, 1), (1, None)), 3)
    assert scores == [
        ClassScore(precision=100.0, recall=50.0, f1=pytest.approx(200 / 3), n_gold=2, n_predicted=1),
        ClassScore(precision=50.0, recall=50.0, f1=50.0, n_gold=2, n_predicted=2),
        ClassScore(precision=0.0, recall=0.0, f1=0.0, n_gold=0, n_predicted=0),
    ]


def test_class_metrics_equal_scikit_learns(random_outcomes):
    oracle = pytest.importorskip("sklearn.metrics")
    right, answered, distributions = golds(random_outcomes), labels(random_outcomes), probabilities(random_outcomes)
    brier = ((distributions - np.eye(4)[right]) ** 2).sum(axis=1).mean()
    table = metrics.class_scores(random_outcomes, 4)
    precision, recall, f1, support = oracle.precision_recall_fscore_support(right, answered)

    assert METRICS["accuracy"].score(random_outcomes) == pytest.approx(100 * oracle.accuracy_score(right, answered))
    assert METRICS["macro_f1"].score(random_outcomes) == pytest.approx(
        100 * oracle.f1_score(right, answered, average="macro")
    )
    assert METRICS["log_loss"].score(random_outcomes) == pytest.approx(oracle.log_loss(right, distributions), abs=1e-12)
    assert METRICS["brier"].score(random_outcomes) == pytest.approx(brier, abs=1e-12)
    assert metrics.confusion(random_outcomes, 4)[:, :4].tolist() == oracle.confusion_matrix(right, answered).tolist()
    assert [row.precision for row in table] == pytest.approx(100 * precision)
    assert [row.recall for row in table] == pytest.approx(100 * recall)
    assert [row.f1 for row in table] == pytest.approx(100 * f1)
    assert [row.n_gold for row in table] == support.tolist()


def test_brier_of_two_classes_is_twice_scikit_learns_binary_score():
    oracle = pytest.importorskip("sklearn.metrics")
    answers = [Outcome(gold=g, label=g, probabilities=np.array([1 - p, p])) for g, p in [(0, 0.2), (1, 0.7), (1, 0.4)]]
    assert METRICS["brier"].score(answers) == pytest.approx(2 * oracle.brier_score_loss([0, 1, 1], [0.2, 0.7, 0.4]))


def test_macro_f1_with_invalid_answers_equals_scikit_learns_over_the_real_labels():
    oracle = pytest.importorskip("sklearn.metrics")
    answers = classes((0, 0), (0, None), (1, 1), (1, 0), (2, None), (2, 2))
    expected = oracle.f1_score(golds(answers), labels(answers), labels=[0, 1, 2], average="macro")
    assert METRICS["macro_f1"].score(answers) == pytest.approx(100 * expected)


def test_log_loss_of_an_impossible_right_answer_is_finite():
    certain = [Outcome(gold=0, label=1, probabilities=np.array([0.0, 1.0]))]
    assert METRICS["log_loss"].score(certain) == pytest.approx(-math.log(np.finfo(float).eps))


def test_ece_by_hand():
    """All bins full: each record of confidence 0.9 is right half the time, each of 0.6 always: |0.5-0.9|, |1-0.6|."""
    sure = [Outcome(gold=g, label=0, probabilities=np.array([0.9, 0.1])) for g in (0, 1)]
    unsure = [Outcome(gold=0, label=0, probabilities=np.array([0.6, 0.4])) for _ in range(2)]
    assert METRICS["ece"].score(sure + unsure) == pytest.approx(40.0)


def test_calibration_table_holds_the_bins_of_ece(random_outcomes):
    table = metrics.calibration_table(random_outcomes)
    from_table = sum(b.n * abs(b.accuracy - b.confidence) for b in table) / 300
    assert [row.n for row in table] == [30] * 10
    assert METRICS["ece"].score(random_outcomes) == pytest.approx(from_table)


def test_the_bins_of_ece_stay_as_they_are_when_records_are_resampled():
    """Two bins by confidence; the second is drawn three times, the first not at all: only its gap of 0.5 counts."""
    sure = Outcome(gold=1, label=0, probabilities=np.array([1.0, 0.0]))
    unsure = Outcome(gold=0, label=0, probabilities=np.array([0.5, 0.5]))
    sums = np.array([0.0, 3.0]) @ METRICS["ece"].stats([sure, unsure])
    assert METRICS["ece"].reduce(sums) == 50.0


def test_equal_confidences_share_one_bin():
    answers = [Outcome(gold=g, label=0, probabilities=np.array([0.75, 0.25])) for g in (0, 0, 0, 1)]
    assert metrics.calibration_table(answers) == [
        CalibrationBin(low=75.0, high=75.0, n=4, confidence=75.0, accuracy=75.0)
    ]


def test_majority_baselines_by_hand():
    """Three of four are class 1: accuracy 75; F1 of class 1 is 6/7 and of class 0 is 0; log-loss is the entropy."""
    right = [1, 1, 1, 0]
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert metrics.majority_baseline(METRICS["accuracy"], right) == 75.0
    assert metrics.majority_baseline(METRICS["macro_f1"], right) == pytest.approx(100 * 3 / 7)
    assert metrics.majority_baseline(METRICS["log_loss"], right) == pytest.approx(entropy)
    assert metrics.majority_baseline(METRICS["brier"], right) == pytest.approx(2 * 0.75 * 0.25)
    assert metrics.majority_baseline(METRICS["ece"], right) is None
    assert metrics.majority_baseline(METRICS["chrf"], right) is None


# Answers to questions


@pytest.mark.parametrize(
    ("answer", "references", "exact", "f1"),
    [
        ("The Eiffel Tower", ("Eiffel Tower.",), 1.0, 1.0),
        ("in the north of France", ("north France",), 0.0, 2 * 2 / (4 + 2)),
        ("Denver Broncos beat", ("Denver Broncos", "Broncos"), 0.0, 2 * 2 / (3 + 2)),
        ("to to be", ("to be to be",), 0.0, 2 * 3 / (3 + 4)),
        ("Saint-Denis", ("Saint Denis",), 0.0, 0.0),
        ("", (), 1.0, 1.0),
        ("the.", (), 1.0, 1.0),
        ("Paris", (), 0.0, 0.0),
        ("", ("Paris",), 0.0, 0.0),
        ("a", ("the", "Paris"), 0.0, 0.0),
    ],
    ids=["articles", "part", "best", "bag", "hyphen", "no-answer", "only-article", "invented", "missed", "empty-gold"],
)
def test_english_answers_are_scored_as_squad_does(answer, references, exact, f1):
    assert text_metrics.exact_match(answer, references) == exact
    assert text_metrics.token_f1(answer, references) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "references", "exact", "f1"),
    [
        ("《战国无双3》。", ("战国无双3",), 1.0, 1.0),
        ("北京大学", ("北京师范大学",), 0.0, 2 * 2 / (4 + 6)),
        ("光荣和ω-force", ("光荣和ω-force开发",), 0.0, 2 * 4 / (4 + 6)),
        ("2018年5月", ("2018 年 5 月",), 0.0, 1.0),
        ("上海", ("北京",), 0.0, 0.0),
        ("上海", ("北京", "上海市"), 0.0, 2 * 2 / (2 + 3)),
        ("", (), 1.0, 1.0),
    ],
    ids=["punctuation", "longest-run", "mixed", "spaces", "nothing", "best", "no-answer"],
)
def test_chinese_answers_are_scored_as_cmrc_does(answer, references, exact, f1):
    """The common run must have no gap: 北京大学 shares only two characters in a row with 北京师范大学."""
    assert text_metrics.exact_match(answer, references, language="zh-CN") == exact
    assert text_metrics.token_f1(answer, references, language="zh") == pytest.approx(f1)


def test_an_invalid_answer_has_no_token_f1():
    assert METRICS["token_f1"].score([Outcome(answer="Paris", references=("Paris",), valid=False)]) == 0.0


def test_each_record_is_scored_in_its_own_language():
    both = texts([("the Paris", ("Paris",))]) + texts([("《巴黎》", ("巴黎",))], language="zh")
    assert METRICS["exact_match"].score(both) == 100.0


# Texts


@pytest.mark.parametrize("pairs", [ENGLISH, ENGLISH[:1], ENGLISH[2:3], ENGLISH[2:4], [("a b", ("a b", "a"))]])
def test_corpus_bleu_and_chrf_equal_sacrebleus(pairs):
    sacrebleu = pytest.importorskip("sacrebleu")
    answers, references = [a for a, _ in pairs], [list(column) for column in zip(*(r for _, r in pairs), strict=True)]
    assert METRICS["bleu"].score(texts(pairs)) == pytest.approx(
        sacrebleu.BLEU().corpus_score(answers, references).score, abs=1e-9
    )
    assert METRICS["chrf"].score(texts(pairs)) == pytest.approx(
        sacrebleu.CHRF().corpus_score(answers, references).score, abs=1e-9
    )


def test_chinese_bleu_uses_sacrebleus_chinese_tokenizer():
    sacrebleu = pytest.importorskip("sacrebleu")
    expected = sacrebleu.BLEU(tokenize="zh").corpus_score([a for a, _ in CHINESE], [[r[0] for _, r in CHINESE]]).score
    assert METRICS["bleu"].score(texts(CHINESE, language="zh")) == pytest.approx(expected, abs=1e-9)
    assert expected > 20


def test_an_invalid_answer_counts_as_an_empty_text():
    pytest.importorskip("sacrebleu")
    invalid = [Outcome(answer="a good answer", references=("a good answer",), valid=False)]
    assert METRICS["chrf"].score(invalid) == METRICS["bleu"].score(invalid) == METRICS["rougeL"].score(invalid) == 0.0


@pytest.mark.parametrize(
    ("variant", "answer", "references", "expected"),
    [
        ("rouge1", "the cat sat", ("the cat sat down",), 2 * 3 / (3 + 4)),
        ("rouge2", "the cat sat", ("the cat sat down",), 2 * 2 / (2 + 3)),
        ("rougeL", "police kill the gunman", ("police killed the gunman",), 0.75),
        ("rougeL", "the gunman police killed", ("police killed the gunman",), 0.5),
        ("rouge1", "Don't_stop", ("don t stop",), 1.0),
        ("rouge2", "one", ("one",), 0.0),
        ("rouge1", "", ("",), 0.0),
        ("rougeL", "我爱北京", ("我很爱北京",), 2 * 4 / (4 + 5)),
        ("rouge1", "a b", ("c d", "b a"), 1.0),
    ],
)
def test_rouge_by_hand(variant, answer, references, expected):
    """The third and fourth are Lin's own examples (2004, section 3.1)."""
    assert text_metrics.rouge(answer, references, variant=variant) == pytest.approx(expected)


def test_rouge_equals_googles_rouge_score():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    for answer, references in ENGLISH[:4]:
        for variant in ("rouge1", "rouge2", "rougeL"):
            expected = max(scorer.score(reference, answer)[variant].fmeasure for reference in references)
            assert text_metrics.rouge(answer, references, variant=variant) == pytest.approx(expected)


def test_the_longest_common_subsequence_may_have_gaps():
    assert text_metrics.longest_common_subsequence("AGCAT", "GAC") == 2
    assert text_metrics.longest_common_subsequence("abcdefgh" * 20, "aceg" * 20) == 80
    assert text_metrics.longest_common_subsequence("", "abc") == 0


def test_perplexity_and_bits_per_byte_are_of_the_whole_corpus():
    """16 tokens at 2 bits each and 8 at 1 bit are 40 bits over 24 tokens and 20 bytes."""
    corpus = [
        Outcome(nll=32 * math.log(2), n_tokens=16, n_bytes=12),
        Outcome(nll=8 * math.log(2), n_tokens=8, n_bytes=8),
    ]
    assert METRICS["perplexity"].score(corpus) == pytest.approx(2 ** (40 / 24))
    assert METRICS["bits_per_byte"].score(corpus) == pytest.approx(2.0)


# The table


def test_each_kind_has_a_default_metric_that_fits_it():
    for kind, name in metrics.DEFAULT_METRICS.items():
        assert metrics.choose_metric(None, kind).name == name
        assert name in metrics.metrics_for(kind)


def test_a_metric_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(SettingError, match="no metric 'acuracy'; the nearest is 'accuracy'"):
        metrics.choose_metric("acuracy", "labelled")


def test_a_metric_of_another_kind_is_refused_with_those_that_fit():
    with pytest.raises(
        SettingError, match=r"'bleu' does not fit records of kind 'labelled'\. Choose from: accuracy, macro"
    ):
        metrics.choose_metric("bleu", "labelled")


def test_a_kind_without_metrics_is_refused():
    with pytest.raises(SettingError, match="'preference' are not scored"):
        metrics.choose_metric(None, "preference")


def test_what_can_be_scored_depends_on_what_outcomes_hold():
    free, sure = [Outcome(gold=0, label=0)], [Outcome(gold=0, label=0, probabilities=np.array([1.0, 0.0]))]
    assert metrics.is_scorable(METRICS["accuracy"], free)
    assert not metrics.is_scorable(METRICS["ece"], free)
    assert metrics.is_scorable(METRICS["ece"], sure)
    assert not metrics.is_scorable(METRICS["accuracy"], [Outcome(answer="text")])
    assert not metrics.is_scorable(METRICS["perplexity"], free)


@pytest.mark.parametrize(
    ("name", "outcome", "problem"),
    [
        ("accuracy", Outcome(label=0), "no gold class"),
        ("brier", Outcome(gold=0), "no probabilities"),
        ("perplexity", Outcome(gold=0), "no negative log-likelihood"),
    ],
)
def test_an_outcome_that_lacks_something_is_named(name, outcome, problem):
    with pytest.raises(ValueError, match=f"Outcome 0 has {problem}"):
        METRICS[name].score([outcome])


def test_no_outcomes_have_no_score():
    with pytest.raises(ValueError, match="there are no outcomes"):
        METRICS["accuracy"].score([])


def test_macro_f1_has_a_column_for_every_class_of_the_task():
    """Two arms of which one answers a class that the test set lacks can still be compared."""
    thirds = np.array([0.4, 0.3, 0.3])
    one = METRICS["macro_f1"].stats([Outcome(gold=0, label=0, probabilities=thirds)])
    other = METRICS["macro_f1"].stats([Outcome(gold=0, label=2, probabilities=thirds)])
    assert one.shape == other.shape
