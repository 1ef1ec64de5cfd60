"""Splits: sizes, labels, groups, duplicates, and nothing that leaks."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune.dialects import Columns, read
from formtune.errors import DataError, SettingError
from formtune.records import Conversation, Labelled, Message, Origin, Pair, Plain, Preference, Question, Record
from formtune.splits import Splits, check_labels_seen, duplicate_key, from_files, has_answer, normalized, split


def labelled(labels: Iterable[str], *, file: str = "a.csv", words: str = "text", **more: object) -> list[Record]:
    """Make a record for each label, all with different texts."""
    return [
        Labelled(inputs={"text": f"{words} number {n}"}, labels=(label,), origin=Origin(file, n + 1), **more)
        for n, label in enumerate(labels)
    ]


def texts(records: Iterable[Record]) -> set[str]:
    return {duplicate_key(record) for record in records}


def counts(records: Iterable[Record]) -> dict[str, int]:
    return Counter(label for record in records if isinstance(record, Labelled) for label in record.labels)


def sizes(parts: Splits) -> tuple[int, int, int]:
    return len(parts.train), len(parts.dev), len(parts.test)


def reasons(parts: Splits) -> dict[str, int]:
    return Counter(item.reason for item in parts.left_out)


# --- sizes and labels ------------------------------------------------------------------------------------------------


def test_without_sizes_the_shares_are_80_10_10() -> None:
    """A tenth to choose by, a tenth to judge by, the rest to train on."""
    parts = split(labelled("ab" * 50))
    assert sizes(parts) == (80, 10, 10)
    assert [counts(part) for part in (parts.train, parts.dev, parts.test)] == [
        {"a": 40, "b": 40},
        {"a": 5, "b": 5},
        {"a": 5, "b": 5},
    ]
    assert parts.left_out == []


def test_labels_keep_their_proportions() -> None:
    """In every split, to within one record."""
    parts = split(labelled("aaaaaaabbc" * 20), n_train=50, n_dev=20, n_test=33)
    assert counts(parts.train) == {"a": 35, "b": 10, "c": 5}
    assert counts(parts.dev) == {"a": 14, "b": 4, "c": 2}
    assert counts(parts.test) == {"a": 23, "b": 7, "c": 3}
    assert reasons(parts) == {"not drawn: fewer records are asked for": 97}


def test_training_records_can_be_balanced() -> None:
    """As many of each label, as few-shot learning has them; test keeps the data's proportions."""
    parts = split(labelled("aaaaaaaaab" * 20), n_train=16, n_dev=10, n_test=20, balanced=True)
    assert counts(parts.train) == {"a": 8, "b": 8}
    assert counts(parts.test) == {"a": 18, "b": 2}


@given(
    labels=st.lists(st.sampled_from("abcd"), min_size=12, max_size=60).filter(lambda found: len(set(found)) > 1),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_sizes_are_exact_where_nothing_belongs_together(labels: list[str], seed: int, data: st.DataObject) -> None:
    """Whatever the labels: every split has its size, and training has every label."""
    n_test, n_dev = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    n_train = data.draw(st.integers(len(set(labels)), len(labels) - n_test - n_dev))
    if len(labels) - len(set(labels)) < n_test + n_dev:
        return
    parts = split(labelled(labels), n_train=n_train, n_dev=n_dev, n_test=n_test, seed=seed)
    assert sizes(parts) == (n_train, n_dev, n_test)
    assert set(counts(parts.train)) == set(labels)
    assert len(texts([*parts.train, *parts.dev, *parts.test])) == n_train + n_dev + n_test


def test_yes_and_no_are_shared_out_as_labels_are() -> None:
    """Answers are stratified where all questions have the same two choices."""
    records = [
        Question(question=f"q {n}?", choices=("yes", "no"), answers=("yes" if n % 4 else "no",)) for n in range(80)
    ]
    parts = split(records, n_train=40, n_test=20)
    assert Counter(record.answers for record in parts.test if isinstance(record, Question)) == {
        ("yes",): 15,
        ("no",): 5,
    }


def test_a_label_that_no_group_brings_is_missed() -> None:
    """The only records of a label stand in a group that is too large for the training list."""
    records = [*labelled("a" * 30), *labelled("b" * 20, words="other", group="g")]
    with pytest.raises(SettingError, match="The label 'b' would be missing in training"):
        split(records, n_train=10, n_dev=2, n_test=2)


def test_a_rare_label_stays_in_training() -> None:
    """A label with one record is learned, though nothing then judges it."""
    parts = split(labelled("ab" * 30 + "c"), n_train=30, n_dev=10, n_test=20)
    assert counts(parts.train)["c"] == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"n_train": 90, "n_dev": 10, "n_test": 10}, "110 records are needed for .* but there are 100"),
        ({"n_train": 1}, "1 training records cannot hold all 2 labels"),
        ({"n_train": 0}, "A size is below its least"),
        ({"n_test": -1}, "A size is below its least"),
    ],
)
def test_sizes_that_cannot_be_met_are_refused(options: dict[str, int], problem: str) -> None:
    """The message says what there is."""
    with pytest.raises(SettingError, match=problem):
        split(labelled("ab" * 50), **options)


def test_too_few_records_are_refused() -> None:
    """Two records cannot make three splits."""
    with pytest.raises(SettingError, match="3 records are needed"):
        split(labelled("ab"))


def test_no_test_is_made_of_the_last_of_each_label() -> None:
    """Ten labels with one record each leave nothing to judge by."""
    with pytest.raises(SettingError, match=r"--n-test: 2 records are asked for, and only 0 can be drawn"):
        split(labelled("abcdefghij"), n_dev=0, n_test=2)


def test_one_label_only_is_refused() -> None:
    """There is nothing to tell apart."""
    with pytest.raises(DataError, match=r"a.csv: All 10 records have the label 'a'"):
        split(labelled("a" * 10))


# --- chance ----------------------------------------------------------------------------------------------------------


def test_the_order_of_the_file_does_not_matter() -> None:
    """What is drawn follows from ids and seed alone."""
    records = labelled("aabc" * 20)
    mixed = random.Random(7).sample(records, len(records))
    assert split(records, n_train=20, seed=3) == split(records, n_train=20, seed=3)
    one, other = split(records, n_train=20, seed=3), split(mixed, n_train=20, seed=3)
    assert (texts(one.train), texts(one.dev), texts(one.test)) == (
        texts(other.train),
        texts(other.dev),
        texts(other.test),
    )


def test_another_seed_draws_other_records() -> None:
    """And only the seed does."""
    records = labelled("ab" * 100)
    assert texts(split(records, n_test=20, seed=0).test) != texts(split(records, n_test=20, seed=1).test)


def test_test_stays_when_other_sizes_change() -> None:
    """It is drawn first, then dev; a longer training list begins with the shorter one's records."""
    records = labelled("ab" * 100)
    small, large = split(records, n_train=20, n_test=30), split(records, n_train=40, n_test=30)
    assert small.test == large.test
    assert small.dev == large.dev
    assert texts(small.train) <= texts(large.train)


# --- groups and duplicates -------------------------------------------------------------------------------------------


def test_a_group_is_never_parted() -> None:
    """All of a group stands in one split, or in none."""
    records = [record for film in range(12) for record in labelled("abab", words=f"film {film}", group=f"film {film}")]
    parts = split(records, n_train=20, n_dev=8, n_test=12)
    groups = [{record.group for record in part} for part in (parts.train, parts.dev, parts.test)]
    assert sizes(parts) == (20, 8, 12)
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_sizes_are_met_as_near_as_groups_allow() -> None:
    """Groups of five cannot make seven; five is nearer than ten."""
    records = [record for film in range(20) for record in labelled("ababa", words=f"film {film}", group=f"film {film}")]
    assert sizes(split(records, n_train=23, n_dev=7, n_test=18)) == (25, 5, 20)


def test_groups_that_are_too_large_are_told() -> None:
    """Two groups of ten cannot give a test of two."""
    records = [record for film in "xy" for record in labelled("ababababab", words=film, group=film)]
    with pytest.raises(SettingError, match="in groups that are too large"):
        split(records, n_dev=0, n_test=2)


def test_duplicates_but_for_trifles_stand_in_one_split() -> None:
    """Case, width, white space and punctuation make no other text."""
    forms = ("Great film!", "great  film", "GREAT FILM ...", "ｇｒｅａｔ film")
    twins = [Labelled(inputs={"text": form}, labels=(label,)) for form, label in zip(forms, "abab", strict=True)]
    for seed in range(5):
        parts = split([*labelled("ab" * 20), *twins], seed=seed, n_dev=10, n_test=10)
        found = [
            sum(duplicate_key(record) == "great film" for record in part)
            for part in (parts.train, parts.dev, parts.test)
        ]
        assert sorted(found) == [0, 0, 4]


def test_records_that_ask_nothing_are_compared_by_their_answers() -> None:
    """Minimal pairs are not all one record; those that repeat each other are."""
    said = [(Message("assistant", text),) for text in ("Ann has left.", "ann has left", "Bo left.")]
    first, again, other = (Preference(prompt=(), chosen=one, rejected=said[2]) for one in said)
    assert duplicate_key(first) == duplicate_key(again) != duplicate_key(other)


def test_texts_of_signs_alone_are_no_duplicates() -> None:
    """Where nothing but punctuation stands, it is compared as it is."""
    assert duplicate_key(Plain(text="?")) != duplicate_key(Plain(text="!"))


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_text_is_normalized_like_any_other(text: str) -> None:
    """By the quick way as by the way through Unicode, which a letter beyond ASCII makes it take."""
    assert normalized(f"{text} \u00e9").removesuffix("\u00e9").strip() == (
        normalized(f"{text} e").removesuffix("e").strip()
    )


def test_what_hangs_together_by_way_of_others_stays_together() -> None:
    """One shares a group with two, two a text with three."""
    chain: list[Record] = [
        Labelled(inputs={"text": "one"}, labels=("a",), group="g"),
        Labelled(inputs={"text": "two"}, labels=("b",), group="g"),
        Labelled(inputs={"text": "Two."}, labels=("a",), group="h"),
        Labelled(inputs={"text": "three"}, labels=("b",), group="h"),
    ]
    parts = split([*labelled("ab" * 20), *chain], n_dev=10, n_test=10)
    whole = {"one", "two", "three"}
    assert sorted(len(texts(part) & whole) for part in (parts.train, parts.dev, parts.test)) == [0, 0, 3]


# --- files -----------------------------------------------------------------------------------------------------------


def test_leaks_are_removed_from_training_never_from_test() -> None:
    """Training loses what stands in dev or test, dev what stands in test; each is counted."""
    shared = Labelled(inputs={"text": "In both."}, labels=("a",), origin=Origin("train.csv", 9))
    train = [*labelled("abab", file="train.csv"), shared, Labelled(inputs={"text": "in dev"}, labels=("b",))]
    dev: list[Record] = [
        Labelled(inputs={"text": "In dev"}, labels=("a",)),
        Labelled(inputs={"text": "in BOTH"}, labels=("a",)),
    ]
    test: list[Record] = [Labelled(inputs={"text": "in both"}, labels=("b",))] * 2
    parts = from_files(train, dev, test)
    assert sizes(parts) == (4, 1, 2)
    assert reasons(parts) == {"its input also stands in test": 2, "its input also stands in dev": 1}
    assert str(parts.left_out[1].at) == "train.csv:9"


def test_a_shared_group_is_a_leak() -> None:
    """A paragraph, a film or a patient in two files."""
    train = [*labelled("ab"), *labelled("ab", words="leak", group="g")]
    parts = from_files(train, labelled("ab", words="dev"), labelled("ab", words="test", group="g"))
    assert reasons(parts) == {"its group also stands in test": 2}


def test_what_no_file_gives_is_drawn_from_training() -> None:
    """A tenth each, or as many as asked for."""
    parts = from_files(labelled("ab" * 50), [], labelled("ab" * 5, words="test"))
    assert sizes(parts) == (90, 10, 10)
    assert sizes(from_files(labelled("ab" * 50), [], [], n_dev=6, n_test=8)) == (86, 6, 8)


def test_files_can_be_drawn_from() -> None:
    """Fewer records of each, in the labels' proportions."""
    parts = from_files(
        labelled("aab" * 30),
        labelled("aab" * 9, words="dev"),
        labelled("aab" * 9, words="test"),
        n_train=30,
        n_dev=9,
        n_test=6,
    )
    assert sizes(parts) == (30, 9, 6)
    assert counts(parts.test) == {"a": 4, "b": 2}
    assert reasons(parts) == {"not drawn: fewer records are asked for": 21 + 18 + 60}


def test_more_than_a_file_holds_is_refused() -> None:
    """The message says how many there are."""
    with pytest.raises(SettingError, match="20 records are needed for test, but there are 10"):
        from_files(labelled("ab" * 20), [], labelled("ab" * 5, words="test"), n_test=20)


def test_labels_unseen_in_training_are_refused() -> None:
    """Each with its rows."""
    test = labelled("abcdc", words="test", file="test.csv")
    with pytest.raises(DataError) as told:
        from_files(labelled("ab" * 10), [], test)
    assert str(told.value) == (
        "test.csv:3: Labels that never stand in training: 'c' in test.csv:3, test.csv:5; 'd' in test.csv:4."
        " Add training records for them, or correct them (training has 'a', 'b')."
    )
    check_labels_seen(test, test)


def test_a_training_file_that_is_the_test_file_is_refused() -> None:
    """Nothing would be left to learn from."""
    with pytest.raises(DataError, match="Every training record also stands in dev or test"):
        from_files(labelled("ab" * 10), [], labelled("ab" * 10))


def test_files_of_two_kinds_are_refused() -> None:
    """A test file that was read as plain text has no labels to judge by."""
    with pytest.raises(DataError, match=r"labelled in a.csv:1; plain in b.txt:1. Name the dialect"):
        from_files(labelled("ab"), [], [Plain(text="x", origin=Origin("b.txt", 1))])


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        (Labelled(inputs={"text": "a"}), False),
        (Labelled(inputs={"text": "a"}, labels=("x",)), True),
        (Question(question="q?"), False),
        (Question(question="q?", answerable=False), True),
        (Pair(source="a"), False),
        (Conversation(messages=(Message("user", "a"),)), False),
        (Conversation(messages=(Message("user", "a"), Message("assistant", "b"))), True),
        (Plain(text="a"), True),
    ],
)
def test_what_has_an_answer_can_be_learned(record: Record, answer: bool) -> None:
    """An unanswerable question has one: that there is none."""
    assert has_answer(record) is answer


def test_records_without_an_answer_are_left_out() -> None:
    """They are counted; without any answer there is nothing to do."""
    open_ones: Sequence[Record] = [Labelled(inputs={"text": f"open {n}"}, origin=Origin("a.csv", n)) for n in range(4)]
    assert reasons(split([*labelled("ab" * 20), *open_ones])) == {"no answer": 4}
    with pytest.raises(DataError, match=r"a.csv: None of the 4 records has an answer"):
        split(open_ones)


def test_free_answers_are_split_without_labels() -> None:
    """Pairs, questions and texts have sizes and groups, and nothing to be stratified by."""
    assert sizes(split([Pair(source=f"s {n}", targets=("t",)) for n in range(40)])) == (32, 4, 4)


# --- the real files --------------------------------------------------------------------------------------------------


def test_known_leaks_are_found(shared: Path) -> None:
    """43, 48 and 7 texts stand in two of citation intent's files as they are; more but for trifles."""
    records = [read([str(shared / f"cls_en/citation_intent/{name}.txt")]).records for name in ("train", "dev", "test")]
    parts = from_files(*records)
    assert len(parts.test) == 139
    assert not texts(parts.train) & texts([*parts.dev, *parts.test])
    assert sum(reasons(parts).values()) == 1688 + 114 - len(parts.train) - len(parts.dev) >= 43 + 48 + 7


def test_paragraphs_stay_whole(shared: Path) -> None:
    """No paragraph of XQuAD has questions in two splits."""
    records = read([str(shared / "qa/xquad/en.train.json")]).records
    parts = split(records, n_train=300, n_dev=60, n_test=100)
    groups = [{record.group for record in part} for part in (parts.train, parts.dev, parts.test)]
    assert sizes(parts) == (300, 60, 100)
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_a_few_of_many_labels_are_drawn(shared: Path) -> None:
    """All 77 intents of Banking77 stand among 200 training records."""
    records = read([str(shared / "cls_en/banking77/train.csv")], columns=Columns(label="category")).records
    parts = split(records, n_train=200, n_dev=100, n_test=300, seed=5)
    assert sizes(parts) == (200, 100, 300)
    assert len(counts(parts.train)) == 77
