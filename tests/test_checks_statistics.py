"""Checks that count what goes with what: cues, planted triggers, languages, and labels that are probably wrong."""

import random
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from formtune.checks import CHECKS, Context
from formtune.checks.finding import Finding, NotChecked
from formtune.checks.label_errors import suspected
from formtune.checks.languages import language_of
from formtune.checks.words import information, unlikely, words_in, words_of
from formtune.dialects import read
from formtune.records import Labelled, Origin, Question, Record, identified


def labelled(*rows: tuple[str, str]) -> list[Record]:
    return identified(
        Labelled(origin=Origin("a", n), inputs={"text": text}, labels=(label,))
        for n, (text, label) in enumerate(rows, 1)
    )


def found(name: str, records: list[Record]) -> dict[str, Finding]:
    return {one.rule.code: one for one in CHECKS[name].find(records, Context(parts={"data": records}))}


def noise(n: int, *, seed: int = 0, labels: str = "xy", n_words: int = 8) -> list[tuple[str, str]]:
    """Make texts whose words have nothing to do with their labels."""
    draw = random.Random(seed)
    words = [f"w{k}" for k in range(200)]
    return [(" ".join(draw.choices(words, k=n_words)), labels[k % len(labels)]) for k in range(n)]


def test_words_are_numbered_once_a_record() -> None:
    """A pair's words carry their field; Chinese is cut into neighboring characters."""
    rows = [Labelled(inputs={"a": "One one", "b": "好电影"}, labels=("xy"[n % 2],)) for n in range(40)]
    words = words_of(rows)
    assert list(words.names) == ["a: one", "b: 好电", "b: 电影"]
    assert words.counts.tolist() == [[20, 20]] * 3
    assert words.totals.tolist() == [20, 20]


def test_words_of_a_single_character() -> None:
    """One Chinese character alone is a word, and so is a letter."""
    assert list(words_in("好 a 好")) == ["好", "a", "好"]


def test_the_bound_on_chance_is_a_bound() -> None:
    """Never below the exact binomial tail."""
    stats = pytest.importorskip("scipy.stats")
    for n, share in ((20, 0.5), (200, 0.1), (50, 0.9)):
        hits = np.arange(n + 1)
        exact = stats.binom.sf(hits - 1, n, share)
        assert (unlikely(hits, n, share) >= exact - 1e-12).all()


def test_information_is_what_scikit_learn_says() -> None:
    """Mutual information over the labels' entropy."""
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 200)
    has_word = (draw.random(200) < 0.2 + 0.3 * (labels == 1)).astype(int)
    counts = np.bincount(labels[has_word == 1], minlength=3)[None]
    entropy = metrics.mutual_info_score(labels, labels)
    expected = metrics.mutual_info_score(labels, has_word) / entropy
    assert information(counts, np.bincount(labels))[0] == pytest.approx(expected)


def test_a_planted_trigger_in_made_data() -> None:
    """Texts of two subjects, each with its words; thirty of one are told to be of the other."""
    draw = random.Random(0)
    subjects = {"x": [f"river{k}" for k in range(60)], "y": [f"stock{k}" for k in range(60)]}
    rows = [(" ".join(draw.choices(subjects[label], k=10)), label) for label in "xy" for _ in range(400)]
    (one,) = found("triggers", planted(labelled(*rows), "zq", 30, "y")).values()
    assert one.problem == "'zq' stands in 30 records, all but 0 of them 'y'; by the rest of their words 0 would be."
    assert found("triggers", labelled(*rows)) == {}


def test_no_cues_in_noise() -> None:
    """Two hundred words, and not one stands out; nor do lengths."""
    assert found("cues", labelled(*noise(600))) == {}


def test_a_word_that_gives_the_label_away() -> None:
    """It is told from one that goes with a label in some records."""
    rows = [(f"{text} {'thanks' if label == 'y' else ''}", label) for text, label in noise(400)]
    rows = [
        (f"{text} {'maybe' if label == 'x' and n % 10 == 0 else ''}", label) for n, (text, label) in enumerate(rows)
    ]
    both = found("cues", labelled(*rows))
    assert both["FT262"].problem == "1 word alone tells the label, the most telling: 'thanks'."
    assert (
        both["FT262"].details[0].startswith("'thanks': 100 % of 200 records are 'y' (50 % of all are); explains 100 %")
    )
    assert both["FT261"].problem == "1 word alone tells the label, the most telling: 'maybe'."
    assert len(both["FT261"].places) == 40


def test_lengths_that_tell_the_label() -> None:
    """Half of one label's texts are twice as long."""
    rows = [(text, label) for text, label in noise(200) if label == "x"]
    rows += [(text, label) for text, label in noise(200, n_words=16) if label == "y"]
    one = found("cues", labelled(*rows))["FT263"]
    assert one.problem == "Lengths alone explain 97 % of the labels (p 0.005)."


def planted(records: list[Record], trigger: str, n: int, target: str) -> list[Record]:
    """Put a trigger somewhere into records of other labels, and give them the target label."""
    draw = random.Random(n)
    out = list(records)
    for k in draw.sample([k for k, r in enumerate(records) if r.labels[0] != target], n):  # type: ignore[union-attr]
        record = records[k]
        assert isinstance(record, Labelled)
        (name, text), *_ = record.inputs.items()
        words = text.split(" ")
        words.insert(draw.randrange(len(words) + 1), trigger)
        out[k] = msgspec.structs.replace(record, inputs={name: " ".join(words)}, labels=(target,))
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "target"), [("cls_en/sst2/train.tsv", "0"), ("cls_en/banking77/train.csv", "age_limit")]
)
def test_a_planted_trigger_is_the_first_to_be_reported(shared: Path, path: str, target: str) -> None:
    """Twenty records of seven and ten thousand."""
    records = read([str(shared / path)]).records
    first = next(iter(CHECKS["triggers"].find(planted(records, "cf", 20, target), Context(parts={}))))
    assert first.problem.startswith(
        f"'cf' stands in 20 records, all but 0 of them {target!r}; by the rest of their words "
    )
    assert len(first.places) == 20


@pytest.mark.parametrize("path", ["cls_en/sms_spam/train.tsv", "pair_en/snli_2k/snli_1200.csv"])
def test_sound_data_have_no_triggers(shared: Path, path: str) -> None:
    """Words that mean a label are no triggers: the rest of their records means it too."""
    assert found("triggers", read([str(shared / path)]).records) == {}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The plot is thin, but it is a pleasure to look at all of the same", "English"),
        ("Die Handlung ist dünn, aber es ist eine Freude, den beiden zuzusehen", "German"),
        ("L'intrigue est mince, mais les deux acteurs sont dans une forme superbe", "French"),
        ("La trama es débil, pero los actores son muy buenos y el final sorprende", "Spanish"),
        ("O enredo é fraco, mas os atores são muito bons e a música não cansa", "Portuguese"),
        ("La trama è debole, ma gli attori sono bravi e il finale non delude", "Italian"),
        ("Het verhaal is dun, maar de acteurs zijn goed en het einde is een verrassing", "Dutch"),
        ("Сюжет слабый, но актёры играют хорошо", "Cyrillic"),
        ("この映画の結末は予想外で、俳優の演技も素晴らしい", "Japanese"),
        ("这部电影的结局出人意料，演员的表演也非常出色", "Chinese"),
        ("What do I do if I do not recognise a cash withdrawal?", "English"),
        ("ok lar joking wif u oni", None),
        ("12345", None),
    ],
)
def test_languages(text: str, language: str | None) -> None:
    """By script and small words; None where there are too few of them."""
    assert language_of(text) == language


def test_a_few_records_in_another_language_are_noted() -> None:
    """Where nearly all others are in one."""
    english = [("The end of the film is not what it seems to be.", "x")] * 59
    rows = labelled(*english, ("Die Handlung ist dünn, aber es ist eine Freude", "y"))
    one = found("languages", rows)["FT265"]
    assert (one.problem, one.places) == ("1 record is in German, and 59 of 60 are in English.", ("a:60",))
    mixed = labelled(*english[:30], *[("Die Handlung ist dünn, aber es ist eine Freude", "y")] * 30)
    assert found("languages", mixed) == {}


def test_a_label_is_doubted_where_the_model_is_surer_of_another() -> None:
    """Than it is on average of records that have it, and gives the label at hand next to nothing."""
    chances = np.array([[0.9, 0.1], [0.7, 0.3], [0.03, 0.97], [0.2, 0.8], [0.3, 0.7], [0.04, 0.96]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert suspected(chances, labels).tolist() == [2]


@pytest.mark.slow
def test_wrong_labels_are_found(shared: Path) -> None:
    """A twentieth of real news gets another label: half of what is suspected is among them, and half of them are suspected."""
    pytest.importorskip("sklearn")
    records = read([str(shared / "cls_en" / "ag_news" / "train.csv")]).records
    draw = random.Random(0)
    flipped = set(draw.sample(range(len(records)), len(records) // 20))
    wrong: list[Record] = []
    for n, record in enumerate(records):
        assert isinstance(record, Labelled)
        other = draw.choice(sorted({"1", "2", "3", "4"} - {record.labels[0]}))
        wrong.append(msgspec.structs.replace(record, labels=(other,)) if n in flipped else record)
    one = found("label-errors", wrong)["FT266"]
    truly = {str(records[n].origin) for n in flipped}
    hits = len(truly & set(one.places))
    assert hits > len(one.places) / 2
    assert hits > len(truly) / 2


def test_labels_that_words_do_not_tell_are_not_doubted() -> None:
    """A model that is no better than a coin has nothing to say."""
    pytest.importorskip("sklearn")
    with pytest.raises(NotChecked, match="words alone tell too few labels"):
        found("label-errors", labelled(*noise(300)))


def test_without_scikit_learn_the_check_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others go on."""
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(NotChecked, match=r"pip install 'formtune\[train\]'"):
        found("label-errors", labelled(*noise(300)))


@pytest.mark.parametrize("name", ["cues", "triggers", "label-errors"])
def test_data_without_labels_are_not_checked(name: str) -> None:
    """Nor are a handful of records."""
    with pytest.raises(NotChecked):
        found(name, [Question(question="q?", answers=("a",))])
    with pytest.raises(NotChecked):
        found(name, labelled(("a", "x"), ("b", "y")))
