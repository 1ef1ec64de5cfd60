"""What is read off the training records before any of them is put to a model."""

import pytest

from formtune.errors import DataError, SettingError
from formtune.examples import Task
from formtune.formats import infer_task, with_languages
from formtune.records import Conversation, Labelled, Message, Origin, Pair, Plain, Preference, Question


def labelled(*labels: str, text: str = "a text") -> list[Labelled]:
    return [Labelled(inputs={"text": text}, labels=(label,)) for label in labels]


class TestLabels:
    def test_labels_are_sorted_and_stand_once(self) -> None:
        """The order of classes depends on their names, not on the order of the file."""
        assert infer_task(labelled("sports", "art", "sports")).labels == ("art", "sports")

    def test_numbers_are_sorted_as_numbers(self) -> None:
        """10 comes after 2."""
        assert infer_task(labelled("10", "2", "1")).labels == ("1", "2", "10")

    def test_records_without_a_label_are_let_pass(self) -> None:
        """Unlabelled records among the training records give no label."""
        records = [*labelled("a", "b"), Labelled(inputs={"text": "x"})]
        assert infer_task(records).labels == ("a", "b")

    def test_words_are_tidied_names(self) -> None:
        """Underscores are no words of a language."""
        assert infer_task(labelled("not_entailment", "entailment")).words == ("entailment", "not entailment")

    def test_given_words_replace_some_names(self) -> None:
        """Labels that are numbers get words; labels that are not named keep theirs."""
        task = infer_task(labelled("0", "1", "2"), words={"0": "negative", "1": " positive "})
        assert task.words == ("negative", "positive", "2")

    def test_inputs_are_named(self) -> None:
        """Whoever asks the model later must know which texts it was trained on."""
        pair = {"premise": "It rains.", "hypothesis": "It is wet."}
        records = [Labelled(inputs=pair, labels=(label,)) for label in ("yes", "no")]
        assert infer_task(records).inputs == ("premise", "hypothesis")

    def test_one_label_is_no_task(self) -> None:
        """With a single label there is nothing to tell apart."""
        with pytest.raises(DataError, match="There is only one label, 'good', so there is nothing to tell apart"):
            infer_task(labelled("good", "good"))

    def test_no_label_at_all_names_the_flag(self) -> None:
        """Training records without labels most often mean a column that was not recognised."""
        record = Labelled(inputs={"text": "x"}, origin=Origin("a.csv", 2))
        with pytest.raises(DataError, match=r"^a\.csv: None of the training records has a label.*--label"):
            infer_task([record])

    def test_several_labels_on_one_record_are_refused_with_their_place(self) -> None:
        """Several labels at once are another task, and the first such record is named."""
        many = Labelled(inputs={"text": "x"}, labels=("a", "b"), origin=Origin("a.jsonl", 7))
        with pytest.raises(DataError, match=r"^a\.jsonl:7: 1 of 3 records have several labels, the first of them a, b"):
            infer_task([*labelled("a", "b"), many])

    @pytest.mark.parametrize(("first", "second"), [("A", "a "), ("news_item", "news item"), ("Ａ", "A")])
    def test_labels_that_read_the_same_are_refused(self, first: str, second: str) -> None:
        """Words that differ by case, width or blanks alone could not be told apart in an answer."""
        with pytest.raises(SettingError, match="which read the same"):
            infer_task(labelled(first, second, "c"))

    def test_a_collision_names_the_two_labels(self) -> None:
        """The error says which two labels, and what each would stand as."""
        with pytest.raises(SettingError) as caught:
            infer_task(labelled("0", "1", "2"), words={"0": "yes", "2": "Yes"})
        assert caught.value.problem == "The labels '0' and '2' would stand as 'yes' and 'Yes', which read the same."

    def test_words_can_settle_a_collision(self) -> None:
        """Two labels that read the same are fine once each has a word of its own."""
        assert infer_task(labelled("a b", "a_b"), words={"a_b": "other"}).words == ("a b", "other")

    def test_a_word_for_an_unknown_label_gets_the_nearest(self) -> None:
        """A mistyped label in words is an error, not a word that is never used."""
        with pytest.raises(SettingError, match="words: There is no label 'positive_'; the nearest is 'positive'"):
            infer_task(labelled("positive", "negative"), words={"positive_": "good"})

    def test_an_empty_word_is_refused(self) -> None:
        """A label has to stand as something."""
        with pytest.raises(SettingError, match="The word for the label '0' is empty"):
            infer_task(labelled("0", "1"), words={"0": " "})


class TestQuestions:
    def test_the_same_choices_everywhere_are_the_labels(self) -> None:
        """Yes/no questions are a classification, in whatever order the choices are written."""
        one = Question(question="?", choices=("yes", "no"), answers=("yes",))
        two = Question(question="?", choices=("no", "yes"), answers=("no",))
        task = infer_task([one, two])
        assert (task.labels, task.words, task.letters) == (("no", "yes"), ("no", "yes"), False)

    def test_choices_that_differ_become_letters(self) -> None:
        """Where every question has its own choices the classes are places."""
        one = Question(question="?", choices=("tea", "rye"), answers=("tea",))
        two = Question(question="?", choices=("red", "sea", "sun"), answers=("sun",))
        task = infer_task([one, two])
        assert (task.labels, task.words, task.letters) == (("A", "B", "C"), ("A", "B", "C"), True)

    def test_free_answers_have_no_labels(self) -> None:
        """Reading comprehension has nothing to choose from."""
        task = infer_task([Question(question="?", context="x", answers=("x",))])
        assert task.labels == ()
        assert task.instruction == "Answer the question from the text."

    def test_unanswerable_questions_are_announced(self) -> None:
        """A model that may decline is told the word for it."""
        task = infer_task([Question(question="?", context="x", answerable=False)])
        assert task.instruction.endswith("If the text does not hold the answer, say 'unanswerable'.")

    def test_choices_on_some_questions_only_are_refused(self) -> None:
        """Half a multiple-choice test is most likely a broken file."""
        bare = Question(question="?", answers=("x",), origin=Origin("q.jsonl", 4))
        with pytest.raises(DataError, match=r"^q\.jsonl:4: 1 of 2 questions have choices and the others have none"):
            infer_task([Question(question="?", choices=("a", "b"), answers=("a",)), bare])

    def test_more_choices_than_letters_are_refused(self) -> None:
        """The alphabet ends."""
        long = Question(question="?", choices=tuple(f"c{i}" for i in range(27)), answers=("c1",))
        with pytest.raises(DataError, match="This question has 27 choices, and letters go up to 26"):
            infer_task([long, Question(question="?", choices=("a", "b"), answers=("a",))])

    def test_letters_take_no_words(self) -> None:
        """A word for 'A' would mean another thing in each record."""
        one = Question(question="?", choices=("tea", "rye"), answers=("tea",))
        two = Question(question="?", choices=("red", "sea"), answers=("sea",))
        with pytest.raises(SettingError, match="no labels that are the same for all of them"):
            infer_task([one, two], words={"A": "first"})


class TestAsks:
    @pytest.mark.parametrize(
        ("labels", "instruction"),
        [
            (("negative", "positive"), "Judge the sentiment of the text."),
            (("fresh", "rotten"), "Judge the sentiment of the text."),
            (("entailment", "neutral", "contradiction"), "Judge how the second text relates to the first."),
            (("ham", "spam"), "Choose the label that fits the text."),
        ],
    )
    def test_well_known_label_sets_get_an_ask_of_their_own(self, labels: tuple[str, ...], instruction: str) -> None:
        """Sentiment and entailment are asked for by name, everything else as a label."""
        assert infer_task(labelled(*labels)).instruction == instruction

    def test_given_words_decide_what_is_asked(self) -> None:
        """Labels 0 and 1 say nothing; the words given for them do."""
        task = infer_task(labelled("0", "1"), words={"0": "negative", "1": "positive"})
        assert task.question == "What is the sentiment of the text?"

    def test_what_the_user_says_comes_first(self) -> None:
        """A given instruction and question replace the defaults."""
        task = infer_task(labelled("ham", "spam"), instruction="Find spam.", question="Is it spam?")
        assert (task.instruction, task.question) == ("Find spam.", "Is it spam?")

    def test_one_language_pair_is_named(self) -> None:
        """A translation task is asked for as one."""
        pair = Pair(source="a", targets=("b",), source_language="en", target_language="de")
        assert infer_task([pair]).instruction == "Translate English to German."

    def test_mixed_language_pairs_are_asked_for_record_by_record(self) -> None:
        """No instruction fits both directions, so none is fixed for the set."""
        to_german = Pair(source="a", targets=("b",), source_language="en", target_language="de")
        to_english = Pair(source="b", targets=("a",), source_language="de", target_language="en")
        assert infer_task([to_german, to_english]).instruction == ""

    def test_other_pairs_have_inputs_and_outputs(self) -> None:
        """Without languages we do not guess what the pair is."""
        assert (
            infer_task([Pair(source="a", targets=("b",))]).instruction == "Write the output that belongs to the input."
        )


class TestLanguage:
    @pytest.mark.parametrize(
        ("text", "language"),
        [
            ("房间很大，早餐也不错。", "zh"),
            ("\U0003134b", "zh"),
            ("iPhone 手机的电池很好，值得购买", "zh"),
            ("A fine room, 大.", "en"),
            ("この部屋はとても広いです", "en"),
            ("123 !?", "en"),
        ],
    )
    def test_language_is_told_by_the_share_of_chinese_characters(self, text: str, language: str) -> None:
        """Half of the letters decide; Japanese is not taken for Chinese."""
        assert infer_task(labelled("a", "b", text=text)).language == language


class TestKinds:
    def test_kinds_are_not_mixed(self) -> None:
        """The error counts what was found."""
        records = [*labelled("a", "b"), Plain(text="x")]
        with pytest.raises(DataError, match=r"The records are of several kinds \(2 labelled, 1 plain\)"):
            infer_task(records)

    def test_no_records_is_an_error_of_the_data(self) -> None:
        """An empty training set is told as such."""
        with pytest.raises(DataError, match="There are no records to train on"):
            infer_task([])

    def test_kinds_without_an_answer_to_choose_have_a_bare_task(self) -> None:
        """Conversations and preferences carry their own requests."""
        messages = (Message("user", "hi"), Message("assistant", "ho"))
        assert infer_task([Conversation(messages=messages)]) == Task(kind="conversation")
        preference = Preference(prompt=messages[:1], chosen=messages[1:], rejected=messages[1:])
        assert infer_task([preference]) == Task(kind="preference")

    @pytest.mark.parametrize(
        ("answers", "reasons"),
        [
            ([Message("assistant", "4.", thinking="Two and two.")], True),
            ([Message("assistant", "4."), Message("assistant", "4.", thinking="Two and two.")], False),
            ([Message("assistant", ""), Message("assistant", "", thinking="Two and two.")], True),
            ([Message("user", "Well?"), Message("assistant", "4.", thinking="")], False),
        ],
    )
    def test_what_is_asked_reasons_where_most_answers_do(self, answers: list[Message], reasons: bool) -> None:
        """An answer that is yet to be given, or none, does not count."""
        records = [Conversation(messages=(Message("user", "2+2?"), answer)) for answer in answers]
        assert infer_task(records).reasons is reasons


def test_pairs_of_the_same_two_languages_say_them_to_a_bare_source():
    """What a user types is put as the training pairs were."""
    pairs = [Pair(source=s, targets=("x",), source_language="en", target_language="de", id=s) for s in "ab"]
    task = infer_task(pairs)
    assert task.languages == ("en", "de")
    assert with_languages(Pair(source="c"), task) == Pair(source="c", source_language="en", target_language="de")
    other = Pair(source="c", source_language="fr", target_language="de")
    assert with_languages(other, task) == other

    mixed = infer_task([*pairs, other])
    assert mixed.languages == ()
    assert with_languages(Pair(source="c"), mixed) == Pair(source="c")
