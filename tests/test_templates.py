"""Chat templates: what is rendered is the model's own, what is learned is what it has to produce."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_folders import LLAMA2, byte_with, from_npm, smollm2, smollm2_folder

from formtune.errors import DataError
from formtune.examples import Example, Segment, Turn
from formtune.records import Span
from formtune.templates import ChatTemplate
from formtune.tokens import byte_tokenizer, load_tokenizer, prompt, tokenize

CHATML = (
    "{% for message in messages %}{{ bos_token + message['role'] + '\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ bos_token + 'assistant\n' }}{% endif %}"
)
TRIMMING = CHATML.replace("message['content']", "message['content'] | trim")
# What matters of Qwen3's: reasoning is taken out of contents, shown in the last turn only, and asked not to be.
REASONING = """\
{%- for message in messages %}
    {%- set content = message.content %}
    {%- set reasoning = '' %}
    {%- if '</think>' in message.content and message.role == 'assistant' %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
        {%- set reasoning = message.content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
    {%- endif %}
    {{- bos_token + message.role + '\n' }}
    {%- if loop.last and message.role == 'assistant' %}{{- '<think>\n' + reasoning + '\n</think>\n\n' }}{%- endif %}
    {{- content + eos_token + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- bos_token + 'assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}
"""
# What Qwen3's does with reasoning in a field of its own.
FIELDED = REASONING.replace(
    "{%- set reasoning = '' %}", "{%- set reasoning = message.reasoning_content | default('', true) %}"
)
# Harmony's order of things: reasoning is a message of its own, and only the last answer ends with the stop token.
HARMONY = """\
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- if loop.last and message.thinking %}
            {{- '<s>assistant<sep>analysis<cls>' + message.thinking + '<mask><s>assistant<sep>final<cls>' }}
        {%- else %}{{- '<s>assistant<sep>final<cls>' }}{%- endif %}
        {{- message.content + (eos_token if loop.last else '<mask>') }}
    {%- else %}{{- '<s>' + message.role + '<cls>' + message.content + '<mask>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<s>assistant' }}{%- endif %}
"""
TOOLS = json.dumps([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}])
CALL = json.dumps([{"id": "1", "function": {"name": "weather", "arguments": '{"city": "Bern </s>"}'}}])

HELLO = (Turn("user", "Hi"), Turn("assistant", "Hello.", weight=1.0))

CONTENTS = st.lists(
    st.sampled_from(["Hi", "東京", " ", "\n", "<s>", "</s>", "<think>", "</think>", "user", '"', "\\", "🎉", "\ue0f0"]),
    max_size=5,
).map("".join)


def template(source: str | None, **options: object) -> ChatTemplate:
    """Compile a template for a model whose control tokens include <s>, </s> and <think>."""
    return byte_with(source, **options).chat_template


def text(segments: tuple[Segment, ...]) -> str:
    return "".join(segment.text for segment in segments)


def learned(segments: tuple[Segment, ...]) -> str:
    return "".join(segment.text for segment in segments if segment.weight > 0)


def controls(segments: tuple[Segment, ...]) -> list[str]:
    return [segment.text for segment in segments if segment.control == "token"]


def test_a_turn_is_its_content_and_the_token_that_ends_it() -> None:
    """Scaffold, content and target are told apart, and the newline behind the stop token is not learned."""
    assert template(CHATML).segments(HELLO) == (
        Segment("<s>", "scaffold", control="token", cut="start"),
        Segment("user\n", "scaffold", cut="start"),
        Segment("Hi", "content"),
        Segment("</s>", "scaffold", control="token", cut="start"),
        Segment("\n", "scaffold", cut="start"),
        Segment("<s>", "scaffold", control="token", cut="start"),
        Segment("assistant\n", "scaffold", cut="start"),
        Segment("", "scaffold", control="boundary", cut="start"),
        Segment("Hello.", "target", weight=1.0, cut="start"),
        Segment("</s>", "target", weight=1.0, control="token", cut="start"),
        Segment("", "scaffold", control="boundary", cut="start"),
        Segment("\n", "scaffold", cut="start"),
    )


@given(st.lists(CONTENTS, min_size=2, max_size=4), st.sampled_from([CHATML, TRIMMING, LLAMA2, None]))
def test_segments_are_the_rendered_conversation(contents: list[str], source: str | None) -> None:
    """Whatever the contents, the segments' texts joined are what the template renders."""
    turns = tuple(Turn(("user", "assistant")[n % 2], content) for n, content in enumerate(contents))
    chat = template(source)
    assert text(chat.segments(turns)) == chat.render(turns)


@given(CONTENTS, CONTENTS, st.sampled_from([CHATML, TRIMMING, None]))
def test_contents_hold_no_control_token(question: str, answer: str, source: str | None) -> None:
    """As many control tokens come out as with harmless contents, whatever a user or an assistant types."""
    chat = template(source)
    harmless = controls(chat.segments((Turn("user", "a"), Turn("assistant", "b"))))
    assert controls(chat.segments((Turn("user", question), Turn("assistant", answer)))) == harmless


@given(st.lists(CONTENTS, min_size=1, max_size=3))
def test_a_template_that_rewrites_contents_is_followed_or_the_conversation_refused(contents: list[str]) -> None:
    """With a template that looks for strings in contents, nothing else than its own rendering comes out."""
    turns = tuple(Turn(("user", "assistant")[n % 2], content) for n, content in enumerate(contents))
    chat = template(REASONING)
    with suppress(DataError):
        assert text(chat.segments(turns)) == chat.render(turns)


@pytest.mark.parametrize(
    ("source", "stop"), [(CHATML, "</s>"), (TRIMMING, "</s>"), (LLAMA2, "</s>"), (REASONING, "</s>"), (None, "</s>")]
)
def test_the_token_that_ends_a_turn_is_learned(source: str | None, stop: str) -> None:
    """It is found per template, and is the last thing that is learned."""
    chat = template(source)
    assert chat.stop == stop
    assert learned(chat.segments(HELLO)).endswith("Hello." + stop) or learned(chat.segments(HELLO)).endswith(
        "Hello. " + stop
    )


def test_all_that_must_be_produced_is_learned() -> None:
    """Llama 2's template writes a blank on either side of an answer, which its prompt does not hold."""
    assert learned(template(LLAMA2).segments(HELLO)) == " Hello. </s>"


def test_a_template_without_a_stop_token_gets_the_end_of_text() -> None:
    """It stands right behind the answer and is learned with it."""
    chat = template(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    assert chat.stop is None
    segments = chat.segments(HELLO)
    assert [(s.text, s.control) for s in segments if s.weight] == [(" ", None), ("Hello.", None), ("", "stop")]
    assert segments[-1] == Segment("\n", "scaffold", cut="start")


def test_without_a_generation_prompt_the_role_is_learned_too() -> None:
    """A template that does not begin the answer leaves it all to the model."""
    chat = template("{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}")
    assert learned(chat.segments(HELLO)) == "assistant: Hello.</s>"


def test_only_turns_with_a_weight_are_learned() -> None:
    """A turn that the data gives no weight is content, and a weight is passed on as it is."""
    turns = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"), Turn("assistant", "d", weight=0.5))
    segments = template(CHATML).segments(turns)
    assert [(s.text, s.weight) for s in segments if s.part == "target"] == [("d", 0.5), ("</s>", 0.5)]
    assert [s.text for s in segments if s.part == "content"] == ["a", "b", "c"]


def test_the_last_message_is_cut_from_its_end_and_history_from_its_start() -> None:
    """And a system message is never cut."""
    turns = (Turn("system", "s"), Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
    segments = template(CHATML).segments(turns, add_generation_prompt=True)
    assert [(s.text, s.cut) for s in segments if s.part == "content"] == [("a", "start"), ("b", "start"), ("c", "end")]
    assert ("s", "scaffold") in [(s.text, s.part) for s in segments]


def test_the_generation_prompt_stands_at_the_end() -> None:
    """The same turns without the answer end where the answer begins."""
    asked = text(template(CHATML).segments(HELLO[:1], add_generation_prompt=True))
    assert asked == "<s>user\nHi</s>\n<s>assistant\n"


def test_an_empty_reasoning_block_belongs_to_the_prompt() -> None:
    """Without options a reasoning model is asked not to reason, so that only the answer is learned."""
    chat = template(REASONING)
    assert learned(chat.segments(HELLO)) == "Hello.</s>"
    assert text(chat.segments(HELLO[:1], add_generation_prompt=True)).endswith("<think>\n\n</think>\n\n")


def test_an_answer_with_reasoning_needs_the_option() -> None:
    """Its prompt would promise that there is none; with enable_thinking the reasoning is learned."""
    turns = (Turn("user", "Hi"), Turn("assistant", "<think>\nhm\n</think>\n\nHello.", weight=1.0))
    with pytest.raises(DataError, match="otherwise than its own generation prompt") as raised:
        template(REASONING).segments(turns)
    assert "enable_thinking" in raised.value.remedy
    assert "a field of its own" in raised.value.remedy
    segments = template(REASONING, enable_thinking=True).segments(turns)
    assert learned(segments) == "<think>\nhm\n</think>\n\nHello.</s>"
    assert [s.text for s in segments if s.weight and s.control] == ["<think>", "</think>", "</s>"]


THOUGHT = (Turn("user", "Hi"), Turn("assistant", "Hello.", weight=1.0, thinking="They greet </s> me."))


def test_reasoning_is_learned_with_its_turn() -> None:
    """In a field of its own it needs no option: the prompt asks for it where the answer has it, and only there."""
    chat = template(FIELDED)
    assert learned(chat.segments(THOUGHT)) == "<think>\nThey greet </s> me.\n</think>\n\nHello.</s>"
    asked = text(chat.segments(THOUGHT[:1], add_generation_prompt=True, reasons=True))
    assert asked == "<s>user\nHi</s>\n<s>assistant\n"
    assert learned(chat.segments(HELLO)) == "Hello.</s>"


def test_a_control_string_in_reasoning_stays_text() -> None:
    """As in a content."""
    assert [s.text for s in template(FIELDED).segments(THOUGHT) if s.weight and s.control] == [
        "<think>",
        "</think>",
        "</s>",
    ]


def test_reasoning_that_the_template_drops_is_not_trained_on() -> None:
    """Of earlier turns many templates show none; the turn is learned as it is shown."""
    turns = (*THOUGHT, Turn("user", "More"), Turn("assistant", "Sure.", weight=1.0, thinking="Hm."))
    assert learned(template(FIELDED).segments(turns)) == "Hello.</s><think>\nHm.\n</think>\n\nSure.</s>"


def test_reasoning_may_be_an_answer_s_only_part() -> None:
    """Without content the turn still ends with its token."""
    turns = (THOUGHT[0], replace(THOUGHT[1], content="", thinking="Hm."))
    assert learned(template(FIELDED).segments(turns)) == "<think>\nHm.\n</think>\n\n</s>"


@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_goes_by_the_name_that_the_template_reads(name: str) -> None:
    """Each of the field's three is found out by trial."""
    chat = template(FIELDED.replace("message.reasoning_content", f"message.{name}"))
    assert "They greet </s> me." in learned(chat.segments(THOUGHT))


def test_reasoning_without_a_place_is_not_lost_in_silence() -> None:
    """A template that reads none of its names refuses the conversation."""
    with pytest.raises(DataError, match="leaves out the reasoning of a message"):
        template(CHATML).segments(THOUGHT)


def test_what_ends_reasoning_does_not_end_an_answer() -> None:
    """Harmony closes a message of reasoning with the token that closes past turns: generation must not stop there."""
    chat = template(HARMONY)
    assert learned(chat.segments(THOUGHT)) == (
        "<sep>analysis<cls>They greet </s> me.<mask><s>assistant<sep>final<cls>Hello.</s>"
    )
    assert chat.stops == {"</s>"}
    turns = (*THOUGHT, Turn("user", "More"), Turn("assistant", "Sure.", weight=1.0))
    assert learned(chat.segments(turns)) == "<sep>final<cls>Hello.<mask><sep>final<cls>Sure.</s>"


@given(CONTENTS, CONTENTS, st.sampled_from([FIELDED, HARMONY]))
def test_whatever_is_reasoned_the_text_is_the_template_s(thinking: str, content: str, source: str) -> None:
    """Its own rendering, or a refusal."""
    turns = (Turn("user", "q"), Turn("assistant", content, weight=1.0, thinking=thinking or None))
    chat = template(source)
    with suppress(DataError):
        assert text(chat.segments(turns)) == chat.render(turns)


def weighed(source: str, content: str, *spans: Span, weight: float = 1.0) -> list[tuple[str, float]]:
    """Give what has to be produced for an answer, with its weights."""
    turns = (Turn("user", "Hi"), Turn("assistant", content, weight=weight, spans=spans))
    return [(s.text, s.weight) for s in template(source).segments(turns) if s.part == "target"]


def test_stretches_of_a_content_have_weights_of_their_own() -> None:
    """What lies outside them is not learned; the token that ends the turn weighs what the turn does."""
    answer = weighed(CHATML, "I say: 42, I think.", Span(7, 9, 1.0), Span(9, 19, 0.25), weight=0.5)
    assert answer == [("I say: ", 0.0), ("42", 0.5), (", I think.", 0.125), ("</s>", 0.5)]


def test_stretches_count_characters_of_the_content_as_it_was() -> None:
    """A template may trim it, or write something around it."""
    assert weighed(TRIMMING, "  so 42 \n", Span(0, 5, 0.0), Span(5, 9, 1.0)) == [
        ("so ", 0.0),
        ("42", 1.0),
        ("</s>", 1.0),
    ]
    assert weighed(LLAMA2, "so 42", Span(3, 5, 1.0)) == [
        (" ", 1.0),
        ("so ", 0.0),
        ("42", 1.0),
        (" ", 1.0),
        ("</s>", 1.0),
    ]
    kept = weighed(CHATML, " so 42\n", Span(3, 7, 1.0))
    assert "".join(said for said, weight in kept if weight == 0) == " so"
    assert "".join(said for said, weight in kept if weight == 1) == " 42\n</s>"


def test_stretches_of_a_content_that_the_template_rewrites_are_refused() -> None:
    """There is no telling what became of them."""
    with pytest.raises(DataError, match="changes a content that gives loss weights to stretches"):
        weighed(CHATML.replace("+ message['content']", "+ message['content'] | upper"), "so 42", Span(3, 5, 1.0))


@given(CONTENTS, st.data())
def test_every_character_of_a_stretch_has_its_weight(content: str, data: st.DataObject) -> None:
    """Whatever stands in the content and wherever the stretches end."""
    edges = sorted(data.draw(st.lists(st.integers(0, len(content)), min_size=4, max_size=4)))
    spans = (Span(edges[0], edges[1], 0.5), Span(edges[2], edges[3], 0.25))
    answer = weighed(CHATML, content, *spans)
    assert "".join(said for said, _ in answer) == content + "</s>"
    expected = [next((s.weight for s in spans if s.start <= n < s.end), 0.0) for n in range(len(content))]
    assert [weight for said, weight in answer[:-1] for _ in said] == expected
    assert answer[-1] == ("</s>", 1.0)


def test_stretches_change_no_token() -> None:
    """The ids are those of the whole text; a token that two stretches share weighs what the heavier does."""
    turns = (Turn("user", "Hi"), Turn("assistant", "Unbelievable heights", weight=1.0))
    parted = (turns[0], replace(turns[1], spans=(Span(0, 4, 0.5), Span(12, 20, 1.0))))
    whole, parts = (tokenize([Example("x", "text", turns=t)], smollm2(), shape="decoder")[0] for t in (turns, parted))
    assert whole.ids_T.tolist() == parts.ids_T.tolist()
    answer = parts.weights_T[whole.weights_T > 0]
    assert answer.tolist()[-1] == 1.0
    assert {0.5, 1.0} <= set(answer.tolist())


GLM = (
    "{% for m in messages %}{% set content = m.content.split('</think>')[-1] %}{{ ('<s>' if m.role == 'user' else '<sep>') }}"
    "{% if m.tool_calls %}<mask>{{ m.tool_calls[0].function.name }}<mask>{% endif %}{{ content }}"
    "{{ '/nothink' if not content.endswith('/nothink') and m.role == 'user' }}{% endfor %}"
    "{% if add_generation_prompt %}<sep>{% endif %}"
)


def test_where_turns_end_with_the_beginning_of_the_next_that_is_learned() -> None:
    """GLM writes no stop token; behind the last turn the end of text stands in, behind all of the content."""
    turns = (*HELLO, Turn("user", "More"), Turn("assistant", "Sure/nothink", weight=1.0))
    segments = template(GLM).segments(turns)
    assert [(s.text, s.control) for s in segments if s.weight] == [
        ("Hello.", None),
        ("<s>", "token"),
        ("Sure", None),
        ("/nothink", None),
        ("", "stop"),
    ]
    calls = (HELLO[0], Turn("assistant", "", weight=1.0, tool_calls=CALL), Turn("user", "More"))
    assert learned(template(GLM).segments(calls)) == "<mask>weather<mask><s>"
    assert (template(GLM).stop, template(GLM).stops) == (None, {"<s>"})
    assert byte_with(GLM).stop_ids == {0, 1}


def test_a_past_turn_that_is_asked_for_otherwise_begins_where_its_prompt_ends() -> None:
    """Mistral shows tools before the last question only; what stands behind a question is the same."""
    source = (
        "{% for m in messages %}{% if m.role == 'user' and loop.index0 >= messages | length - 2 %}{{ tools }}{% endif %}"
        "{{ bos_token + m.content + eos_token }}{% endfor %}"
    )
    turns = (*HELLO, Turn("user", "More"), Turn("assistant", "Sure.", weight=1.0))
    segments = template(source).segments(turns, TOOLS)
    assert learned(segments) == "<s>Hello.</s><s>Sure.</s>"


ALWAYS_THINKING = REASONING.replace(
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}",
    "{{- '<think>\n' if enable_thinking else '<think>\n\n</think>\n\n' }}",
)


@pytest.mark.parametrize("content", ["Hello.", "", "user"])
def test_a_past_turn_that_no_prompt_begins_begins_with_its_content(content: str) -> None:
    """Qwen 3.5 always asks with a block; a content that the template may ask about, or none, has its place too."""
    assert ALWAYS_THINKING != REASONING
    turns = (
        HELLO[0],
        Turn("assistant", content, weight=1.0),
        Turn("user", "More"),
        Turn("assistant", "Sure.", weight=1.0),
    )
    assert learned(template(ALWAYS_THINKING).segments(turns)) == content + "</s>Sure.</s>"


def test_an_empty_past_turn_ends_as_past_turns_do() -> None:
    """Where the last one ends otherwise."""
    turns = (HELLO[0], Turn("assistant", "", weight=1.0), Turn("user", "More"), Turn("assistant", "Sure.", weight=1.0))
    assert learned(template(HARMONY).segments(turns)) == "<sep>final<cls><mask><sep>final<cls>Sure.</s>"


def test_past_turns_of_a_reasoning_model_show_no_block() -> None:
    """They are learned as its template shows them."""
    turns = (*HELLO, Turn("user", "More"), Turn("assistant", "Sure.", weight=1.0))
    assert learned(template(REASONING).segments(turns)) == "Hello.</s>Sure.</s>"


def test_a_generation_prompt_that_the_text_does_not_follow_is_refused_where_it_matters() -> None:
    """An answer that begins otherwise than it will be asked for is not learned; unlearned it does no harm."""
    chat = template(CHATML.replace("bos_token + 'assistant\n' }}", "bos_token + 'assistant\n<think>\n' }}"))
    with pytest.raises(DataError, match="otherwise than its own generation prompt"):
        chat.segments(HELLO)
    assert "Hello." in text(chat.segments((HELLO[0], Turn("assistant", "Hello."))))


def test_a_refusal_carries_the_template_s_own_words() -> None:
    """As its author wrote them."""
    with pytest.raises(DataError, match="Conversation roles must alternate user/assistant"):
        template(LLAMA2).segments((Turn("user", "a"), Turn("user", "b")))


@pytest.mark.parametrize(
    "expression",
    [
        "{{ messages[0].role + 1 }}",
        "{{ messages[9].role }}",
        "{{ ''.__class__.__mro__ }}{{ messages.append(1) }}",
        "{{ namespace(__class__=1) }}",
    ],
)
def test_a_template_that_fails_or_breaks_out_is_refused(expression: str) -> None:
    """Templates run in a sandbox; what they do wrong there is told as theirs."""
    with pytest.raises(DataError, match="The chat template refuses the conversation"):
        template(expression).render(HELLO)


def test_source_that_is_not_jinja_is_refused() -> None:
    """With the line."""
    with pytest.raises(DataError, match=r"not valid Jinja \(.*, line 2\)"):
        template("a\n{% for %}")


def test_a_message_that_the_template_leaves_out_is_not_lost_in_silence() -> None:
    """The conversation is refused and the role named."""
    chat = template("{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}")
    with pytest.raises(DataError, match="leaves out a message from 'system'"):
        chat.segments((Turn("system", "s"), *HELLO))


def test_tools_that_the_template_leaves_out_are_not_lost_in_silence() -> None:
    """Nor are tool calls."""
    with pytest.raises(DataError, match="leaves out the tools"):
        template(CHATML).segments(HELLO, TOOLS)
    with pytest.raises(DataError, match="leaves out the tool calls"):
        template(CHATML).segments((HELLO[0], Turn("assistant", "", tool_calls=CALL)))


CALLING = (
    "{{ tools | tojson if tools }}{% for m in messages %}{{ bos_token + m.role + '\n' }}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}<think>{{ c.function.name }} {{ ARGUMENTS }}</think>{% endfor %}"
    "{% else %}{{ m.content }}{% endif %}{{ eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ bos_token + 'assistant\n' }}{% endif %}"
)
AS_OBJECT = CALLING.replace("ARGUMENTS", "c.function.arguments | tojson")
AS_TEXT = CALLING.replace("ARGUMENTS", "'' + c.function.arguments")
WITHOUT_CONTENT = AS_TEXT.replace("if m.tool_calls", "if m.content is none")


@pytest.mark.parametrize("source", [AS_OBJECT, AS_TEXT, WITHOUT_CONTENT])
def test_tool_calls_are_handed_over_as_the_template_takes_them(source: str) -> None:
    """Arguments as an object or as text, no content as "" or None; control tokens in them stay text."""
    turns = (
        Turn("user", "Bern?"),
        Turn("assistant", "", weight=1.0, tool_calls=CALL),
        Turn("tool", "5 °C", name="weather", tool_call_id="1"),
        Turn("assistant", "Cold.", weight=1.0),
    )
    segments = template(source).segments(turns, TOOLS)
    assert learned(segments) == '<think>weather {"city": "Bern </s>"}</think></s>Cold.</s>'
    assert [s.text for s in segments if s.weight and s.control] == ["<think>", "</think>", "</s>", "</s>"]


def test_a_name_or_a_tool_cannot_forge_a_control_token() -> None:
    """Neither a role nor a tool's schema, however it is spelled in JSON."""
    chat = template(AS_OBJECT)
    tools = '[{"name": "a\\u003c/s\\u003e</s>"}]'
    segments = chat.segments((Turn("user</s>", "a"),), tools)
    assert controls(segments) == ["<s>", "</s>"]
    assert text(segments) == chat.render((Turn("user</s>", "a"),), tools)


def test_contents_that_the_template_writes_as_json_are_found() -> None:
    """With their quotation marks and line breaks escaped."""
    chat = template("{% for m in messages %}{{ bos_token + (m.content | tojson) + eos_token }}{% endfor %}")
    segments = chat.segments((Turn("user", "plain"),))
    segments = chat.segments((Turn("user", 'a "b"\n'),))
    assert text(segments) == '<s>"a \\"b\\"\\n"</s>'
    assert [s.text for s in segments if s.part == "content"] == ['a \\"b\\"']


def test_contents_that_the_template_changes_inside_become_scaffold() -> None:
    """They cannot be cut then, but the text is the template's and the answer is learned."""
    chat = template(CHATML.replace("+ message['content']", "+ message['content'] | upper"))
    segments = chat.segments(HELLO)
    assert text(segments) == "<s>user\nHI</s>\n<s>assistant\nHELLO.</s>\n"
    assert learned(segments) == "HELLO.</s>"
    assert "content" not in {s.part for s in segments}


def test_the_mark_in_a_tool_is_refused() -> None:
    """In a content it is a character like any other."""
    mark = "\ue0f0"
    with pytest.raises(DataError, match="private-use character"):
        template(AS_OBJECT).segments(HELLO, json.dumps([{"name": mark}]))
    assert text(template(CHATML).segments((Turn("user", mark + '0,0"'),))) == f'<s>user\n{mark}0,0"</s>\n'


def test_the_plain_template_is_visible_and_has_no_place_for_tools() -> None:
    """A model without a template gets speakers in plain words."""
    chat = template(None)
    assert chat.is_default
    assert chat.render((Turn("system", "Be brief."), *HELLO)) == "Be brief.\n\nUser: Hi\nAssistant: Hello.</s>\n"
    with pytest.raises(DataError, match="no place for the role tool"):
        chat.segments((Turn("tool", "x"),))


def test_ids_are_those_of_transformers() -> None:
    """For SmolLM2: the ids of its own apply_chat_template, and its answers where a generation block marks them."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(smollm2_folder())
    theirs.chat_template = theirs.chat_template.replace(
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}",
        "{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}"
        "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}"
        "{{ message['content'] + '<|im_end|>' + '\n'}}{% endif %}",
    )
    assert "{% generation %}" in theirs.chat_template
    contents = ["Hi", "a\n\nb  ", "東京はどこ？", "don't  stop 123", "", 'He said "no".', "🎉 ok", "\ttab"]
    for n, first in enumerate(contents):
        turns = (
            *((Turn("system", contents[n - 1]),) if n % 3 == 0 else ()),
            Turn("user", "  " + first),
            Turn("assistant", first.lstrip(), weight=1.0),
            Turn("user", contents[n - 2]),
            Turn("assistant", contents[n - 3].lstrip(), weight=1.0),
        )
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        expected = theirs.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        tokens = tokenize([Example("x", "text", turns=turns)], smollm2(), shape="decoder")[0]
        assert tokens.ids_T.tolist() == expected["input_ids"]
        assert (tokens.weights_T > 0).tolist() == [bool(m) for m in expected["assistant_masks"]]


def test_the_stop_token_is_learned_where_it_is_also_the_padding() -> None:
    """As in SmolLM2."""
    tokenizer = smollm2()
    assert tokenizer.pad_id == tokenizer.eos_id
    tokens = tokenize([Example("x", "text", turns=HELLO)], tokenizer, shape="decoder")[0]
    last = tokens.weights_T.nonzero()[0][-1]
    assert tokens.ids_T[last] == tokenizer.eos_id
    assert tokenizer.decode(tokens.ids_T[tokens.weights_T > 0], skip_control=False) == "Hello.<|im_end|>"


def test_shapes_are_rendered_once() -> None:
    """Conversations that differ in their contents only share a layout."""
    chat = byte_tokenizer().chat_template
    for n in range(100):
        chat.segments((Turn("user", f"question {n}"), Turn("assistant", f"answer {n}", weight=1.0)))
    assert len(chat._layouts) == 1


REAL = {
    "qwen3": "<|im_end|>",
    "llama3_1": "<|eot_id|>",
    "gemma3": "<end_of_turn>",
    "llama2": "</s>",
    "deepseek_v3": "<｜end▁of▁sentence｜>",
}


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_templates_give_the_ids_of_transformers(name: str) -> None:
    """With the real tokenizers and templates: same ids, learned stop token, prompt a prefix."""
    transformers = pytest.importorskip("transformers")
    folder = from_npm(name)
    tokenizer = load_tokenizer(folder)
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        **{f"{role}_token": tokenizer.full.id_to_token(i) for role, i in tokenizer.ids.items()},
    )
    source = tokenizer.chat_template.source
    contents = ["Hi there.", "a\n\nb", "東京はどこ？", "don't  stop 123", '<b>"no"</b>\n\n\n', "🎉 ok", "tab\tx"]
    for n, first in enumerate(contents):
        turns = (
            *((Turn("system", contents[n - 1]),) if n % 2 else ()),
            Turn("user", first),
            Turn("assistant", contents[n - 2], weight=1.0),
            Turn("user", contents[n - 3]),
            Turn("assistant", contents[n - 4], weight=1.0),
        )
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        expected = theirs.apply_chat_template(messages, chat_template=source, return_dict=False)
        example = Example("x", "text", turns=turns)
        tokens = tokenize([example], tokenizer, shape="decoder")[0]
        assert tokens.ids_T.tolist() == expected
        assert tokenizer.token_text(tokens.ids_T[tokens.weights_T > 0][-1]) == REAL[name].replace("▁", " ")
        asked = prompt(example, tokenizer, shape="decoder").ids_T.tolist()
        assert tokens.ids_T[: len(asked)].tolist() == asked
        assert asked == theirs.apply_chat_template(
            messages[:-1], chat_template=source, add_generation_prompt=True, enable_thinking=False, return_dict=False
        )
