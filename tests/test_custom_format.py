"""A user's own template: what it shows, what it learns, and what it can do wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune.errors import DataError, SettingError
from formtune.examples import Example, Segment, Shape, Task
from formtune.formats import FORMATS, cell, custom_format, infer_task, marked, present, unanswered
from formtune.formats.markup import BEGIN, END, compile_markup
from formtune.records import Conversation, Labelled, Message, Pair, Plain, Question, Record

GOOD = Labelled(id="1", inputs={"text": "Fine."}, labels=("1",))
BAD = Labelled(id="2", inputs={"text": "Dull."}, labels=("0",))
TASK = infer_task([GOOD, BAD], words={"0": "bad", "1": "good"})
TEMPLATE = "Review: {{ text }}\nIs it {{ words | join(' or ') }}?{% learn %} {{ word }}{% endlearn %}\n"
HOSTILE = st.text() | st.text(alphabet=f"{BEGIN}{END}0123456789{{}}%# \n«»")


def shown(template: str, record: Record = GOOD, task: Task | None = None, shape: Shape = "decoder") -> str:
    return marked(made(template, record, task, shape))


def made(template: str, record: Record = GOOD, task: Task | None = None, shape: Shape = "decoder") -> Example:
    task = task or (TASK if isinstance(record, Labelled) else infer_task([record]))
    return present(custom_format(template, "mine"), record, task=task, shape=shape)


class TestWhatItShows:
    def test_fields_are_content_and_the_rest_is_wording(self) -> None:
        """The record may be cut when it is too long, the template's own words may not."""
        assert made(TEMPLATE).segments == (
            Segment("Review: ", "scaffold"),
            Segment("Fine.", "content"),
            Segment("\nIs it bad or good?", "scaffold"),
            Segment(" good", "target", weight=1.0),
            Segment("", "target", weight=1.0, control="stop"),
        )

    def test_candidates_are_the_learned_part_for_every_label(self) -> None:
        """Each label is put where the answer stands, blanks and all."""
        example = made("{{ text }}{% learn %} -> {{ word | upper }}!{% endlearn %}")
        assert (example.output, example.candidates, example.gold) == ("words", (" -> BAD!", " -> GOOD!"), 1)

    @pytest.mark.parametrize("record", [GOOD, unanswered(GOOD)])
    def test_candidates_are_the_same_however_they_are_found(self, record: Record) -> None:
        """A learned part that needs only the label is rendered alone; any other template gives the same example."""
        assert compile_markup(TEMPLATE, "t", constant={"words"}, answers={"word"}).learned
        assert made("{% set way = 'slow' %}" + TEMPLATE, record) == made(TEMPLATE, record)

    def test_a_learned_part_may_hold_the_record(self) -> None:
        """Then the candidates differ from record to record."""
        example = made("{{ text }}{% learn %} {{ text[:2] }}: {{ word }}{% endlearn %}")
        assert example.candidates == (" Fi: bad", " Fi: good")

    def test_a_record_without_an_answer_has_the_same_prompt(self) -> None:
        """What is asked does not change when the answer is taken away."""
        whole, prompt = made(TEMPLATE), made(TEMPLATE, unanswered(GOOD))
        assert prompt.segments == whole.segments[:3]
        assert (prompt.candidates, prompt.gold) == (whole.candidates, None)

    def test_inputs_are_reached_by_name(self) -> None:
        """A pair of texts has a name for each."""
        pair = Labelled(id="3", inputs={"premise": "It rains.", "hypothesis": "It is wet."}, labels=("1",))
        template = "{{ inputs.premise }} So: {{ inputs['hypothesis'] }}?{% learn %} {{ label }}{% endlearn %}"
        assert shown(template, pair) == "It rains. So: It is wet.?« 1⟨stop⟩»"

    def test_loops_and_conditions_work(self) -> None:
        """The template is Jinja, with its tags on lines of their own if one likes."""
        template = (
            "{{ question }}\n{% for choice in choices %}\n{{ letters[loop.index0] }}) {{ choice }}\n{% endfor %}\n"
            "{% if context %}({{ context }}){% endif %}\n=>{% learn %} {{ word }}{% endlearn %}"
        )
        tea = Question(id="q", question="Q?", choices=("tea", "rye"), answers=("rye",))
        red = Question(id="r", question="R?", choices=("red", "sea", "sun"), answers=("sun",))
        task = infer_task([tea, red])
        assert shown(template, tea, task) == "Q?\nA) tea\nB) rye\n=>« B⟨stop⟩»"
        assert made(template, tea, task).candidates == (" A", " B")

    def test_own_choices_can_be_scored_as_texts(self) -> None:
        """With `answer` the candidates are the record's own choices."""
        tea = Question(id="q", question="Q?", choices=("tea", "rye"), answers=("rye",))
        red = Question(id="r", question="R?", choices=("red", "sea"), answers=("sea",))
        example = made("{{ question }}{% learn %} {{ answer }}{% endlearn %}", tea, infer_task([tea, red]))
        assert example.candidates == (" tea", " rye")

    def test_two_choices_that_read_the_same_are_the_fault_of_the_record(self) -> None:
        """Where choices are learned as texts, such a record is left out."""
        twice = Question(id="q", question="Q?", choices=("tea", "rye", "Tea"), answers=("rye",))
        red = Question(id="r", question="R?", choices=("red", "sea"), answers=("sea",))
        with pytest.raises(DataError, match="Two choices read the same"):
            made("{{ question }}{% learn %} {{ answer }}{% endlearn %}", twice, infer_task([twice, red]))

    @pytest.mark.parametrize(
        ("template", "record", "text"),
        [
            (
                "{{ source_language }}: {{ source }}\n{{ target_language }}:{% learn %} {{ target }}{% endlearn %}",
                Pair(id="p", source="Hi", targets=("Hallo", "Servus"), source_language="en", target_language="de"),
                "English: Hi\nGerman:« Hallo⟨stop⟩»",
            ),
            (
                "{{ context }}\n{{ question }}{% learn %} {{ answer }}{% endlearn %}",
                Question(id="q", question="Who?", context="Ann.", answers=("Ann", "she")),
                "Ann.\nWho?« Ann⟨stop⟩»",
            ),
            (
                "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}<me>{% learn %} {{ answer }}{% endlearn %}",
                Conversation(id="c", messages=(Message("user", "Hi"), Message("assistant", "Ho"))),
                "<user> Hi\n<me>« Ho⟨stop⟩»",
            ),
            ("Text: {% learn %}{{ text }}{% endlearn %}", Plain(id="t", text="One two."), "Text: «One two.⟨stop⟩»"),
        ],
    )
    def test_every_kind_has_its_fields(self, template: str, record: Record, text: str) -> None:
        """Free answers are learned like label words, and every acceptable one is a reference."""
        example = made(template, record)
        assert (marked(example), example.output, example.candidates) == (text, "text", ())
        assert example.references

    def test_a_mask_slot_is_for_encoders(self) -> None:
        """A blank in the middle of the text has words after it."""
        template = "{{ text }} All in all,{% mask %} {{ word }}{% endmask %} I would say."
        example = made(template, shape="encoder")
        assert marked(example) == "Fine. All in all,⟨mask:« good»⟩ I would say."
        assert (example.output, example.candidates, example.gold) == ("mask", (" bad", " good"), 1)
        with pytest.raises(SettingError, match="The template has a mask slot, and a decoder has no mask"):
            made(template)

    def test_an_open_mask_slot_is_empty(self) -> None:
        """Without an answer the slot asks for nothing."""
        example = made("{{ text }}{% mask %} {{ word }}{% endmask %}.", unanswered(GOOD), shape="encoder")
        assert example.segments[1] == Segment("", "target", control="mask")

    def test_a_head_reads_the_same_text(self) -> None:
        """The control arm of a comparison: a prompt's text under a class head."""
        example = made("{{ text }}\nIs it {{ words | join(' or ') }}?{% head %}", shape="encoder")
        assert marked(example) == "Fine.\nIs it bad or good?"
        assert (example.output, example.candidates, example.gold) == ("head", ("0", "1"), 1)

    def test_it_can_be_made_again_from_what_a_run_keeps(self) -> None:
        """A format of our own is known by its name, a user's by its text."""
        assert custom_format(TEMPLATE, "mine").template == TEMPLATE
        assert FORMATS["chat"].template is None

    def test_it_says_what_it_adds(self) -> None:
        """Formats are compared with others that tell the model as much."""
        assert custom_format(TEMPLATE, "mine").adds == ("label names", "task description")
        assert custom_format("{{ text }}{% head %}", "mine").adds == ()

    def test_weights_of_conversations_are_kept(self) -> None:
        """An answer that the data unlearns stays unlearned."""
        said = Conversation(id="c", messages=(Message("user", "Hi"), Message("assistant", "Ho", weight=0.0)))
        example = made("{{ messages[0].content }}{% learn %} {{ answer }}{% endlearn %}", said)
        assert [s.weight for s in example.segments] == [0, 0, 0]

    def test_the_same_record_is_always_shown_the_same(self) -> None:
        """The marks are random, what is shown is not."""
        assert len({made(TEMPLATE) for _ in range(5)}) == 1


class TestWhatItRefuses:
    @pytest.mark.parametrize(
        ("template", "place", "problem"),
        [
            (
                "{{ text }}\n{{ txt }}{% learn %}x{% endlearn %}",
                "mine:2",
                "There is no field 'txt'; the nearest is 'text'",
            ),
            ("{{ text }}\n{{ text", "mine:2", "The template is not valid: unexpected end of template"),
            ("{{ text }}{% learn %}x", "mine:1", "The template is not valid: Unexpected end of template"),
            (
                "a\n\n{% learnt %}x{% endlearnt %}",
                "mine:3",
                "The template is not valid: Encountered unknown tag 'learnt'",
            ),
            ("a\n{% include 'x' %}{% learn %}x{% endlearn %}", "mine:2", "The template asks for another file"),
            ("{{ text }} {{ word }}", "mine", "The template does not say what is to be learned"),
            ("{% learn %}x{% endlearn %}{% head %}", "mine", "The template has head and learn"),
            (
                "{{ text }}\n{{ label }}{% head %}",
                "mine:2",
                "The template shows the answer, 'label', to the class head",
            ),
            (f"{BEGIN}{{% head %}}", "mine", "The template holds one of the private characters"),
        ],
    )
    def test_a_faulty_template_is_told_at_once(self, template: str, place: str, problem: str) -> None:
        """Faults that any record would show are found before the first record, with their line."""
        with pytest.raises(SettingError) as caught:
            custom_format(template, "mine")
        assert caught.value.at == place
        assert caught.value.problem.startswith(problem)

    @pytest.mark.parametrize(
        ("template", "place", "problem"),
        [
            (
                "{{ text }}\n{{ inputs.tex }}{% learn %} {{ word }}{% endlearn %}",
                "mine:2",
                "The template cannot be filled in: 'dict object' has no attribute 'tex'",
            ),
            (
                "\n\n{{ text + 1 }}{% learn %} {{ word }}{% endlearn %}",
                "mine:3",
                "The template cannot be filled in: can only concatenate str",
            ),
            (
                "{{ text.__class__.__mro__ }}{% learn %} {{ word }}{% endlearn %}",
                "mine:1",
                "The template cannot be filled in: access to attribute '__class__' of 'str' object is unsafe",
            ),
            (
                "{{ words.append(1) }}{% learn %} {{ word }}{% endlearn %}",
                "mine:1",
                "The template cannot be filled in: 'tuple object' has no attribute 'append'",
            ),
            (
                "{{ text }} ({{ word }}){% learn %} {{ word }}{% endlearn %}",
                "mine",
                "What the model sees depends on the answer: one of word is used outside the learned part",
            ),
            (
                "{% set x = label %}{{ text }} {{ x }}{% learn %} {{ word }}{% endlearn %}",
                "mine",
                "What the model sees depends on the answer: one of label, word is used outside the learned part",
            ),
            (
                "{{ text }}{% learn %} yes{% endlearn %}",
                "mine",
                "Different answers would be learned as ' yes' and ' yes', which read the same",
            ),
            (
                "{{ text }}{% learn %} {{ word }}{% endlearn %} End.",
                "mine",
                "The template goes on after its learned part",
            ),
            (
                "{% learn %}{{ word }}{% endlearn %}{{ text }}{% learn %}{{ word }}{% endlearn %}",
                "mine",
                "The template marks several parts to be learned for this record",
            ),
            (
                "{% if text == '' %}{% learn %}{{ word }}{% endlearn %}{% endif %}",
                "mine",
                "The template marks nothing to be learned for this record",
            ),
            (
                "{% learn %}{% learn %}{{ word }}{% endlearn %}{% endlearn %}",
                "mine",
                "{% learn %} stands inside another learned part",
            ),
            (
                "{% filter replace('0', '1') %}{{ text }}{% endfilter %}{% learn %} {{ word }}{% endlearn %}",
                "mine",
                "A filter over a whole block cut or changed what the template marks",
            ),
            (
                "{% set kept %}{{ text }}{% endset %}{{ kept[:40] }}{% learn %} {{ word }}{% endlearn %}",
                "mine",
                "A filter over a whole block cut or changed what the template marks",
            ),
            (
                "{% filter truncate(9, true) %}{{ text }}{% endfilter %}{% learn %} {{ word }}{% endlearn %}",
                "mine",
                "A filter over a whole block cut or changed what the template marks",
            ),
        ],
    )
    def test_a_fault_of_filling_in_has_its_place(self, template: str, place: str, problem: str) -> None:
        """Faults that show with a record only are told with the line of the template."""
        with pytest.raises(SettingError) as caught:
            made(template)
        assert caught.value.at == place
        assert caught.value.problem.startswith(problem)
        assert caught.value.remedy.endswith(".")

    def test_a_free_answer_must_be_in_the_learned_part(self) -> None:
        """A template that learns the same text for every answer learns nothing."""
        pair = Pair(id="p", source="Hi", targets=("Hallo",))
        with pytest.raises(SettingError, match="Different answers would be learned as 'yes' and 'yes'"):
            made("{{ source }}{% learn %}yes{% endlearn %}", pair)

    def test_a_free_answer_must_not_be_in_the_prompt(self) -> None:
        """The answer is hidden from the prompt, however it gets there."""
        pair = Pair(id="p", source="Hi", targets=("Hallo",))
        with pytest.raises(SettingError, match="one of target is used outside the learned part"):
            made("{{ source }} ({{ target | length }}){% learn %} {{ target }}{% endlearn %}", pair)

    def test_an_answer_that_is_three_dots_is_an_answer(self) -> None:
        """Whatever stands in for an unknown answer, a record may hold the same."""
        pair = Pair(id="p", source="Hi", targets=("\u2026",))
        assert shown("{{ source }}{% learn %} {{ target }}{% endlearn %}", pair) == "Hi« \u2026⟨stop⟩»"

    def test_kinds_without_its_fields_are_empty_cells(self) -> None:
        """A template over `source` does not serve labelled records, and says which field is missing."""
        format_ = custom_format("{{ source }}{% learn %} {{ target }}{% endlearn %}", "mine")
        with pytest.raises(SettingError, match="The template asks for 'source', which a record of the kind labelled"):
            cell(format_, "labelled", "decoder")

    def test_a_head_needs_fixed_answers(self) -> None:
        """Pairs and free questions have no classes."""
        free = infer_task([Question(question="Who?", answers=("Ann",))])
        with pytest.raises(SettingError, match="The questions have free answers, and a head chooses among fixed ones"):
            cell(custom_format("{{ question }}{% head %}", "mine"), free, "encoder")

    def test_an_encoder_cannot_write(self) -> None:
        """A learned part at the end needs a model that writes."""
        with pytest.raises(SettingError, match="An encoder reads a text and cannot write one"):
            cell(custom_format(TEMPLATE, "mine"), TASK, "encoder")

    def test_a_label_unseen_in_training_is_the_fault_of_the_record(self) -> None:
        """Such a record is left out; the template is fine."""
        with pytest.raises(DataError, match="The label did not occur"):
            made(TEMPLATE, Labelled(inputs={"text": "x"}, labels=("7",)))

    def test_chance_has_no_part_in_a_presentation(self) -> None:
        """What would differ from one rendering to the next is not there."""
        with pytest.raises(SettingError, match="No filter named 'random'"):
            custom_format("{{ words | random }}{% learn %} {{ word }}{% endlearn %}", "mine")
        with pytest.raises(SettingError, match="There is no field 'lipsum'"):
            custom_format("{{ lipsum() }}{% learn %} {{ word }}{% endlearn %}", "mine")


class TestMarks:
    @given(text=HOSTILE.filter(str.strip), word=st.text(min_size=1))
    def test_content_survives_exactly(self, text: str, word: str) -> None:
        """Braces, marks, private characters: what a user writes is shown and learned as it stands."""
        record = Labelled(id="1", inputs={"text": text}, labels=("b",))
        task = Task("labelled", labels=("a", "b"), words=("\x00other", "\x01" + word))
        example = made("[{{ text }}]{% learn %}<{{ word }}>{% endlearn %}", record, task)
        assert [s.text for s in example.segments] == ["[", text, "]", f"<\x01{word}>", ""]

    @given(text=HOSTILE, other=HOSTILE)
    def test_values_are_told_from_wording_wherever_they_stand(self, text: str, other: str) -> None:
        """In loops, macros and set blocks a value stays a value."""
        template = (
            "{% macro both(a, b) %}{{ a }}{{ b }}{% endmacro %}"
            "{% set kept %}{{ b }}{% endset %}"
            "{% for x in [a, b] %}{{ x }}{% endfor %}|{{ both(b, a) }}|{{ kept }}"
        )
        pieces = compile_markup(template, "t", constant=()).render({"a": text, "b": other})
        values = "".join(p.text for p in pieces if p.origin == "value")
        assert values == text + other + other + text + other
        assert [p.text for p in pieces if p.origin == "template"] == ["|", "|"]

    @given(text=HOSTILE)
    def test_filters_see_the_value_and_not_the_marks(self, text: str) -> None:
        """A filter on a value does what it says."""
        pieces = compile_markup("{{ a | upper | length }}{{ a[::-1] }}", "t", constant=()).render({"a": text})
        assert "".join(p.text for p in pieces) == f"{len(text.upper())}{text[::-1]}"

    def test_a_constant_name_that_the_template_gives_away_is_a_value(self) -> None:
        """Who sets `words` to the text does not turn the text into wording."""
        markup = compile_markup("{% set words = a %}{{ words }}", "t", constant={"words"})
        assert [p.origin for p in markup.render({"a": "x"})] == ["value"]
