"""What each format does that others do not."""

import pytest

from formtune.errors import DataError, SettingError
from formtune.examples import Example, Segment, Shape, Task, Turn
from formtune.formats import cell, infer_task, marked, present, unanswered
from formtune.formats.wording import WORDINGS
from formtune.records import Conversation, Labelled, Message, Origin, Pair, Plain, Question, Record, Span

GOOD = Labelled(id="1", inputs={"text": "Fine."}, labels=("1",))
BAD = Labelled(id="2", inputs={"text": "Dull."}, labels=("0",))
WORDS = {"0": "negative", "1": "positive"}
ASKED = (Message("user", "Red or blue?"), Message("assistant", "Red."), Message("user", "Why?"))


def shown(name: str, record: Record, *, shape: Shape = "decoder", task: Task | None = None) -> str:
    return marked(present(name, record, task=task or infer_task([record]), shape=shape))


def conversation(*messages: Message, **more: object) -> Conversation:
    return Conversation(id="c", messages=messages, origin=Origin("chat.jsonl", 3), **more)


class TestLabelled:
    def test_words_stand_for_labels_and_the_head_keeps_their_names(self) -> None:
        """What the model reads are words; what it is scored on are labels."""
        task = infer_task([GOOD, BAD], words=WORDS)
        assert shown("seq2seq", GOOD, task=task) == "Fine. =>« positive⟨stop⟩»"
        head = present("classification", GOOD, task=task, shape="encoder")
        assert (head.candidates, head.gold) == (("0", "1"), 1)

    def test_a_user_instruction_and_question_are_used(self) -> None:
        """What the user says about the task reaches the formats that say it."""
        task = infer_task([GOOD, BAD], words=WORDS, instruction="Rate it.", question="Liked?")
        assert "Question: Liked?" in shown("generative_qa", GOOD, task=task)
        assert "### Instruction:\nRate it.\n" in shown("instruction", GOOD, task=task)
        assert shown("chat", GOOD, task=task).startswith("⟨user⟩\nRate it.\n")

    def test_a_label_unseen_in_training_names_its_record(self) -> None:
        """A test record with a new label cannot be scored, and says where it stands."""
        new = Labelled(id="3", inputs={"text": "Hm."}, labels=("2",), origin=Origin("test.csv", 9))
        with pytest.raises(DataError, match=r"^test\.csv:9: The label did not occur in the training records.*'2'"):
            present("classification", new, task=infer_task([GOOD, BAD]), shape="encoder")

    def test_several_labels_name_their_record(self) -> None:
        """Formats learn one label per record."""
        both = Labelled(id="3", inputs={"text": "Hm."}, labels=("0", "1"), origin=Origin("test.csv", 9))
        with pytest.raises(
            DataError, match=r"^test\.csv:9: The record has several labels, and formats learn one. Keep one of 0, 1"
        ):
            present("seq2seq", both, task=infer_task([GOOD, BAD]), shape="decoder")

    def test_text_without_a_word_is_refused(self) -> None:
        """A blank text asks for nothing."""
        with pytest.raises(DataError, match="The record has no text"):
            present("seq2seq", Labelled(inputs={"text": " \n"}), task=infer_task([GOOD, BAD]), shape="decoder")

    def test_a_record_of_another_kind_is_refused(self) -> None:
        """A test file of another kind is an error of the data, told with its place."""
        stray = Plain(text="x", origin=Origin("b.txt", 1))
        with pytest.raises(DataError, match=r"^b\.txt:1: The record is of the kind plain"):
            present("seq2seq", stray, task=infer_task([GOOD, BAD]), shape="decoder")

    def test_only_an_encoder_gets_a_mask_slot(self) -> None:
        """The cloze is the same; a decoder fills it at the end."""
        task = infer_task([GOOD, BAD], words=WORDS)
        assert shown("masked_lm", GOOD, task=task, shape="encoder") == "Fine. It was⟨mask:« positive»⟩."
        assert shown("masked_lm", GOOD, task=task, shape="decoder") == "Fine. It was« positive⟨stop⟩»"

    def test_an_open_mask_slot_does_not_tell_how_long_the_word_is(self) -> None:
        """The slot of an unanswered record is empty and unweighted, but it is there."""
        example = present("masked_lm", unanswered(GOOD), task=infer_task([GOOD, BAD]), shape="encoder")
        assert example.segments[-2:] == (Segment("", "target", control="mask"), Segment(".", "scaffold"))

    def test_a_chinese_pair_has_chinese_names(self) -> None:
        """Field names that we know are shown in the language of the wordings, others as they are."""
        pair = Labelled(id="3", inputs={"premise": "下雨了。", "extra_note": "地湿了。"}, labels=("蕴含",))
        other = Labelled(id="4", inputs={"premise": "下雨了。", "extra_note": "天晴了。"}, labels=("矛盾",))
        text = shown("generative_qa", pair, task=infer_task([pair, other]))
        assert text.startswith("前提：下雨了。\nExtra note：地湿了。\n问题：第二段文本与第一段文本是什么关系？\n选项：")


class TestQuestions:
    FIRST = Question(id="q", question="Q?", choices=("tea", "rye"), answers=("rye",))
    SECOND = Question(id="r", question="R?", choices=("red", "sea", "sun"), answers=("sun",))

    def test_a_record_offers_the_letters_of_its_own_choices(self) -> None:
        """Two choices are two candidates, although another record has three."""
        task = infer_task([self.FIRST, self.SECOND])
        example = present("generative_qa", self.FIRST, task=task, shape="decoder")
        assert (example.candidates, example.gold) == ((" A", " B"), 1)

    def test_a_head_has_a_class_for_every_letter(self) -> None:
        """The head is as wide as the longest list."""
        example = present("classification", self.FIRST, task=infer_task([self.FIRST, self.SECOND]), shape="encoder")
        assert (example.candidates, example.gold) == (("A", "B", "C"), 1)

    @pytest.mark.parametrize(
        ("record", "problem"),
        [
            (
                Question(question="Q?", choices=("a", "b"), answers=("c",)),
                "The answer is none of the choices. Correct the answer 'c' or the choices: a, b",
            ),
            (
                Question(question="Q?", answers=("c",)),
                "The question has not 2 to 3 choices as the training records have. It has 0",
            ),
            (
                Question(question="Q?", choices=tuple("abcd")),
                "The question has not 2 to 3 choices as the training records have. It has 4",
            ),
            (Question(question="Q?", choices=("a", "b", "a"), answers=("a",)), "The right answer stands twice among"),
        ],
    )
    def test_choices_that_do_not_fit_are_refused(self, record: Question, problem: str) -> None:
        """Each fault of a multiple-choice record has its own sentence."""
        with pytest.raises(DataError, match=problem):
            present("generative_qa", record, task=infer_task([self.FIRST, self.SECOND]), shape="decoder")

    def test_a_wrong_choice_may_stand_twice(self) -> None:
        """Real tests have such questions; the letters still tell the choices apart."""
        record = Question(question="Q?", choices=("a", "b", "a"), answers=("b",))
        assert present("chat", record, task=infer_task([self.FIRST, self.SECOND]), shape="decoder").gold == 1

    def test_a_second_answer_may_be_the_one_among_the_choices(self) -> None:
        """The acceptable answers are tried best first."""
        record = Question(question="Q?", choices=("tea", "rye"), answers=("grain", "rye"))
        assert present("chat", record, task=infer_task([self.FIRST, self.SECOND]), shape="decoder").gold == 1

    def test_all_acceptable_answers_are_references_and_the_first_is_learned(self) -> None:
        """One answer is learned, any of them is right."""
        record = Question(question="Who?", answers=("Ann", "she"))
        example = present("seq2seq", record, task=infer_task([record]), shape="decoder")
        assert example.references == ("Ann", "she")
        assert marked(example) == "Who? =>« Ann⟨stop⟩»"

    def test_a_question_without_an_answer_is_answered_so(self) -> None:
        """SQuAD v2: the model learns to decline."""
        record = Question(question="Who?", context="Rain.", answerable=False)
        example = present("generative_qa", record, task=infer_task([record]), shape="decoder")
        assert example.references == ("unanswerable",)
        assert marked(example).endswith("Answer:« unanswerable⟨stop⟩»")


class TestPairs:
    def test_mixed_directions_each_name_their_own(self) -> None:
        """Where languages differ by record, each record is asked for in its own."""
        one = Pair(source="a", targets=("b",), source_language="en", target_language="de")
        two = Pair(source="b", targets=("a",), source_language="de", target_language="fr")
        task = infer_task([one, two])
        assert "Translate English to German." in shown("chat", one, task=task)
        assert "Translate German to French." in shown("chat", two, task=task)

    def test_an_unknown_language_keeps_its_code(self) -> None:
        """A code that we have no name for is shown as it is."""
        pair = Pair(source="a", targets=("b",), source_language="tlh", target_language="pt-BR")
        assert shown("completion", pair) == "tlh: a\nPortuguese:« b⟨stop⟩»"

    def test_braces_in_a_language_are_only_text(self) -> None:
        """A code from the data is never read as a template."""
        pair = Pair(source="a", targets=("b",), source_language="{target}", target_language="{0.x}")
        assert "Translate {target} to {0.x}." in shown("instruction", pair)

    def test_a_pair_without_languages_has_only_an_arrow_on_a_decoder(self) -> None:
        """We do not guess what the pair is for."""
        pair = Pair(source="a", targets=("b",))
        assert shown("seq2seq", pair) == "a =>« b⟨stop⟩»"
        expected = "Write the output that belongs to the input: a«b⟨stop⟩»"
        assert shown("seq2seq", pair, shape="encoder-decoder") == expected


class TestPlain:
    TEXT = Plain(id="p", text=" One two\nthree  four five. ")

    def test_seq2seq_halves_the_words(self) -> None:
        """The first half is given, the second learned, no character is lost."""
        assert shown("seq2seq", self.TEXT) == " One two«\nthree  four five. ⟨stop⟩»"

    def test_completion_learns_every_character(self) -> None:
        """Text is learned as it stands."""
        assert shown("completion", self.TEXT) == "« One two\nthree  four five. ⟨stop⟩»"

    def test_a_decoder_fills_in_a_span_of_whole_words(self) -> None:
        """What was blanked is asked for after the text."""
        example = present("masked_lm", self.TEXT, task=infer_task([self.TEXT]), shape="decoder")
        before, blank, after, ask, missing, _ = example.segments
        assert before.text + missing.text.removeprefix(" ") + after.text == self.TEXT.text
        assert (blank.text, ask.text, before.cut, after.cut) == ("____", "\nMissing words:", "start", "end")
        assert missing.text.split()[0] in self.TEXT.text.split()

    def test_the_blank_is_chosen_by_the_id(self) -> None:
        """The same record has the same blank whenever it is presented; others have others."""
        texts = [Plain(id=str(i), text="a b c d e f g h") for i in range(100)]
        task = infer_task(texts)
        first = [shown("masked_lm", text, task=task) for text in texts]
        assert first == [shown("masked_lm", text, task=task) for text in texts]
        assert len(set(first)) == 8

    def test_encoders_are_masked_at_random_and_encoder_decoders_lose_spans(self) -> None:
        """The corruption is drawn anew each epoch, so the example only asks for it."""
        task = infer_task([self.TEXT])
        content = (Segment(self.TEXT.text, "content"),)
        assert present("masked_lm", self.TEXT, task=task, shape="encoder") == Example(
            "p", "mask", content, corrupt="tokens"
        )
        assert present("masked_lm", self.TEXT, task=task, shape="encoder-decoder") == Example(
            "p", "text", content, corrupt="spans"
        )

    @pytest.mark.parametrize("name", ["seq2seq", "masked_lm"])
    def test_a_single_word_cannot_be_parted(self, name: str) -> None:
        """There is nothing to go on from."""
        word = Plain(id="w", text="Ouch!", origin=Origin("a.txt", 5))
        with pytest.raises(DataError, match=r"^a\.txt:5: The text has a single word"):
            present(name, word, task=infer_task([word]), shape="decoder")

    def test_each_chinese_character_is_a_word(self) -> None:
        """A Chinese sentence has no blanks but can be halved."""
        assert shown("seq2seq", Plain(id="z", text="春眠不觉晓")) == "春眠«不觉晓⟨stop⟩»"


class TestConversations:
    def test_chat_learns_every_assistant_turn(self) -> None:
        """What the assistant said earlier is learned too."""
        record = conversation(*ASKED, Message("assistant", "It is warm."))
        example = present("chat", record, task=infer_task([record]), shape="decoder")
        assert [turn.weight for turn in example.turns] == [0, 1, 0, 1]

    def test_the_weight_of_the_data_wins(self) -> None:
        """A weight of 0 unlearns an assistant turn; another weight is kept."""
        record = conversation(
            Message("user", "Hm?"), Message("assistant", "No.", weight=0.0), Message("assistant", "Yes.", weight=0.5)
        )
        example = present("chat", record, task=infer_task([record]), shape="decoder")
        assert [turn.weight for turn in example.turns] == [0, 0, 0.5]

    def test_flat_formats_keep_the_weight_of_the_last_answer(self) -> None:
        """The stop token is weighted like the answer that it ends."""
        record = conversation(Message("user", "Hm?"), Message("assistant", "Yes.", weight=0.5))
        example = present("instruction", record, task=infer_task([record]), shape="decoder")
        assert [s.weight for s in example.segments if s.part == "target"] == [0.5, 0.5]

    @pytest.mark.parametrize("name", ["seq2seq", "instruction", "chat", "completion"])
    def test_a_conversation_that_ends_with_a_question_is_refused(self, name: str) -> None:
        """There is nothing to learn; the error says which line and what to do."""
        record = conversation(*ASKED)
        with pytest.raises(DataError) as caught:
            present(name, record, task=infer_task([record]), shape="decoder")
        assert str(caught.value) == (
            "chat.jsonl:3: The last message is from 'user', so there is nothing to learn. "
            "End the conversation with an assistant message."
        )

    @pytest.mark.parametrize("name", ["seq2seq", "instruction", "chat", "completion"])
    def test_an_empty_conversation_is_refused(self, name: str) -> None:
        """No messages, no example."""
        record = conversation()
        with pytest.raises(DataError, match="The conversation has no messages"):
            present(name, record, task=Task("conversation"), shape="decoder")

    def test_an_open_conversation_ends_with_its_question(self) -> None:
        """Taking the answer away leaves the turns that ask for it."""
        record = unanswered(conversation(*ASKED))
        example = present("chat", record, task=infer_task([record]), shape="decoder")
        assert example.turns[-1] == Turn("user", "Why?")

    def test_chat_passes_tools_on(self) -> None:
        """Tools, calls and their results go to the model's template untouched."""
        call = Message("assistant", "", tool_calls='[{"id": "1"}]')
        result = Message("tool", "4", tool_call_id="1", name="add")
        record = conversation(
            Message("user", "2+2?"), call, result, Message("assistant", "4."), tools='[{"name": "add"}]'
        )
        example = present("chat", record, task=infer_task([record]), shape="decoder")
        assert example.tools == '[{"name": "add"}]'
        assert example.turns[1] == Turn("assistant", "", weight=1.0, tool_calls='[{"id": "1"}]')
        assert example.turns[2] == Turn("tool", "4", name="add", tool_call_id="1")

    @pytest.mark.parametrize("name", ["seq2seq", "instruction", "completion"])
    def test_flat_formats_refuse_tools(self, name: str) -> None:
        """How a call is written is known to a chat template only."""
        record = conversation(Message("user", "2+2?"), Message("assistant", "4."), tools="[]")
        with pytest.raises(DataError, match=r"^chat\.jsonl:3: The conversation has tools.*Take the format chat"):
            present(name, record, task=infer_task([record]), shape="decoder")

    @pytest.mark.parametrize("name", ["seq2seq", "instruction", "completion"])
    def test_flat_formats_refuse_reasoning(self, name: str) -> None:
        """Left out with its reason, and not trained on without it."""
        record = conversation(Message("user", "2+2?"), Message("assistant", "4.", thinking="Two and two."))
        with pytest.raises(DataError, match=r"^chat\.jsonl:3: The conversation holds reasoning.*Take the format chat"):
            present(name, record, task=infer_task([record]), shape="decoder")

    def test_chat_passes_reasoning_on(self) -> None:
        """To the turn, and to the prompt that asks for it."""
        record = conversation(Message("user", "2+2?"), Message("assistant", "4.", thinking="Two and two."))
        example = present("chat", record, task=infer_task([record]), shape="decoder")
        assert example.turns[1] == Turn("assistant", "4.", weight=1.0, thinking="Two and two.")
        assert example.reasons

    @pytest.mark.parametrize("reasons", [True, False])
    def test_an_answer_that_is_asked_for_reasons_as_the_trained_ones_do(self, reasons: bool) -> None:
        """The task says it, since the record cannot."""
        record = unanswered(conversation(Message("user", "2+2?")))
        task = Task("conversation", reasons=reasons)
        assert present("chat", record, task=task, shape="decoder").reasons is reasons

    def test_an_answer_that_only_reasons_is_an_answer(self) -> None:
        """It is not the place of one that is yet to be given."""
        record = conversation(Message("user", "2+2?"), Message("assistant", "", thinking="Two and two."))
        assert len(present("chat", record, task=infer_task([record]), shape="decoder").turns) == 2

    @pytest.mark.parametrize("name", ["seq2seq", "instruction", "completion"])
    def test_flat_formats_learn_stretches_of_the_answer(self, name: str) -> None:
        """With their weights times the message's; the stop token keeps the message's own."""
        answer = Message("assistant", "so 42", weight=0.5, spans=(Span(3, 5, 1.0),))
        record = conversation(Message("user", "2+2?"), answer)
        example = present(name, record, task=infer_task([record]), shape="decoder")
        learned = [(s.text.strip(), s.weight) for s in example.segments if s.part == "target" and s.text != " "]
        assert learned == [("so", 0.0), ("42", 0.5), ("", 0.5)]

    def test_stretches_of_a_user_message_may_only_be_unlearned(self) -> None:
        """A weight that would be ignored is told."""
        asked = Message("user", "Hm?", spans=(Span(0, 1, 0.0), Span(1, 2, 1.0)))
        record = conversation(asked, Message("assistant", "Yes."))
        with pytest.raises(DataError, match=r"A message from 'user' has the loss weight 1\.0"):
            present("chat", record, task=infer_task([record]), shape="decoder")

    def test_a_weight_on_a_user_message_is_refused(self) -> None:
        """A weight that would be ignored is told, not dropped."""
        record = conversation(Message("user", "Hm?", weight=1.0), Message("assistant", "Yes."))
        with pytest.raises(DataError, match=r"A message from 'user' has the loss weight 1\.0"):
            present("chat", record, task=infer_task([record]), shape="decoder")

    def test_a_system_message_has_a_heading_of_its_own(self) -> None:
        """Turns are laid out under headings, and a role that we do not know keeps its name."""
        record = conversation(Message("system", "Be kind."), Message("critic", "Hm."), Message("assistant", "Yes."))
        assert shown("instruction", record) == (
            "### System:\nBe kind.\n\n### critic:\nHm.\n\n### Response:\n«Yes.⟨stop⟩»"
        )

    def test_history_is_cut_from_its_start_and_the_system_message_from_its_end(self) -> None:
        """What was said last matters most."""
        record = conversation(Message("system", "Be kind."), Message("user", "Hm."), Message("assistant", "Yes."))
        example = present("completion", record, task=infer_task([record]), shape="decoder")
        assert [s.cut for s in example.segments if s.part == "content"] == ["end", "start"]


def test_reasons_reach_the_user_with_a_remedy() -> None:
    """A cell that makes no sense says why in words and what would do."""
    with pytest.raises(SettingError) as caught:
        present("seq2seq", GOOD, task=infer_task([GOOD, BAD]), shape="encoder")
    assert str(caught.value) == (
        "--format: seq2seq is not for this: An encoder reads a text and cannot write one. "
        "Formats for these records on an encoder: classification, masked_lm."
    )


def test_both_languages_have_the_same_wordings() -> None:
    """A wording that one language lacks would fail with the first record that needs it."""
    english, chinese = WORDINGS["en"], WORDINGS["zh"]
    assert english.asks.keys() == chinese.asks.keys()
    assert english.roles.keys() == chinese.roles.keys()
    assert english.headings.keys() == chinese.headings.keys()


def test_plain_text_is_its_own_answer() -> None:
    """There is no answer to take away from plain text."""
    text = Plain(id="p", text="One two.")
    assert unanswered(text) is text


@pytest.mark.parametrize(("kind", "shape"), [("labeled", "decoder"), ("labelled", "both")])
def test_a_kind_or_shape_that_does_not_exist_is_a_wrong_call(kind: str, shape: str) -> None:
    """That is no fault of the user's data."""
    with pytest.raises(ValueError, match="There is no kind"):
        cell("seq2seq", kind, shape)
