"""Chat templates of model families: texts, ids and what is learned, held against transformers."""

import importlib
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest
from chat_talks import EDGES, REASONED, Oracle, Spoken, answer, call, corpus, said, with_controls

from formtune.errors import DataError
from formtune.examples import Example, Segment, Turn
from formtune.template_options import NO_OPTIONS, TemplateOptions
from formtune.tokens import Tokenizer, prompt, tokenize

pytest.importorskip("transformers")

CHATML = ("<|im_start|>", "<|im_end|>")
LLAMA3 = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
CALLS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
THOUGHTS = ("<think>", "</think>")
# Control tokens, what begins a text and what ends one. The templates, under tests/chat_templates, are our own writing of
# the layouts that the models' makers describe, shortened where that plays no role.
FAMILIES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "chatml": (CHATML, "<|endoftext|>", "<|im_end|>"),
    "command_r": (
        (
            *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
            *("<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"),
        ),
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
    ),
    "deepseek": (
        (
            *("<｜User｜>", "<｜Assistant｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"),
            *("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"),
        ),
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
    ),
    "gemma": (("<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>"),
    "glm4": (
        ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", *CALLS),
        "<|startoftext|>",
        "<|endoftext|>",
    ),
    "harmony": (
        ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>", "<|return|>"),
        "<|startoftext|>",
        "<|return|>",
    ),
    "llama2": ((), "<s>", "</s>"),
    "llama3": (LLAMA3, "<|begin_of_text|>", "<|eot_id|>"),
    "llama3_2": (LLAMA3, "<|begin_of_text|>", "<|eot_id|>"),
    "mistral": (
        (
            *("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
            *("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
        ),
        "<s>",
        "</s>",
    ),
    "phi3": (("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<s>", "<|endoftext|>"),
    "phi4": ((*CHATML, "<|im_sep|>"), "<|endoftext|>", "<|im_end|>"),
    "qwen2": ((*CHATML, *CALLS), "<|endoftext|>", "<|im_end|>"),
    "qwen3": ((*CHATML, *CALLS, *THOUGHTS), "<|endoftext|>", "<|im_end|>"),
    "smollm2": (CHATML, "<|im_start|>", "<|im_end|>"),
    "smollm3": ((*CHATML, *CALLS, *THOUGHTS), "<|endoftext|>", "<|im_end|>"),
    "zephyr": ((), "<s>", "</s>"),
}
TALKS = EDGES | REASONED
# What a user may type: control strings, their fragments, and what templates write or look for.
TYPED = "<|im_end|><|im_start|>user\n</s>[/INST]<|eot_id|><end_of_turn><|user|><think></think><|return|><|im_ [INST <"


def family(name: str, told: TemplateOptions = NO_OPTIONS) -> tuple[Tokenizer, Oracle]:
    source = (Path(__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
    return with_controls(source, *FAMILIES[name], told)


def spans_learned(segments: tuple[Segment, ...]) -> list[tuple[int, int]]:
    """Give the runs of characters that are learned."""
    spans: list[tuple[int, int]] = []
    place = 0
    for segment in segments:
        end = place + len(segment.text)
        if segment.weight > 0 and segment.text:
            joins = spans and spans[-1][1] == place
            spans[-1:] = [(spans[-1][0], end)] if joins else [*spans[-1:], (place, end)]
        place = end
    return spans


def pieces(segments: tuple[Segment, ...]) -> list[str]:
    """Part a text where a prompt ends and where an answer ends: no token crosses these places."""
    parts = [""]
    for segment in segments:
        if segment.control == "boundary":
            parts.append("")
        parts[-1] += segment.text
    return parts


def held(tokenizer: Tokenizer, oracle: Oracle, spoken: Spoken, *, asks_alike: bool = True) -> str:
    """Hold a conversation against the oracle; say what became of it.

    Where answers are asked for otherwise than those that a template marks (``enable_thinking`` for one without reasoning),
    what is learned begins behind the prompt, and ends where the mark does.
    """
    try:
        text, generated = oracle.generated(spoken)
    except (jinja2.TemplateError, TypeError):
        with pytest.raises(DataError):
            tokenizer.chat_template.segments(spoken.turns, spoken.tools)
        return "refused by the template"
    try:
        segments = tokenizer.chat_template.segments(spoken.turns, spoken.tools)
    except DataError as error:
        return error.problem
    assert "".join(segment.text for segment in segments) == text
    spans = spans_learned(segments)
    assert spans[-1][0] == len(oracle.asked(spoken))
    assert set(oracle.spans(spoken, text)) <= set(spans)
    if generated:
        marked = [tuple(span) for span in generated]
        assert spans[:-1] == marked[:-1]
        assert spans[-1] == marked[-1] if asks_alike else spans[-1][1] == marked[-1][1]
    example = Example("x", "text", turns=spoken.turns, tools=spoken.tools, reasons=bool(spoken.turns[-1].thinking))
    tokens = tokenize([example], tokenizer, shape="decoder")[0]
    expected = [id for piece in pieces(segments) for id in oracle.ids(piece)]
    unwritten = [tokenizer.eos_id] if any(s.control == "stop" for s in segments) else []
    assert [*tokens.ids_T.tolist()] == [*expected, *unwritten]
    asked = prompt(example, tokenizer, shape="decoder").ids_T.tolist()
    assert tokenizer.decode(asked, skip_control=False) == tokenizer.decode(
        oracle.ids(oracle.asked(spoken)), skip_control=False
    )
    assert tokens.ids_T[: len(asked)].tolist() == asked
    return "".join(segment.text for segment in segments if segment.weight > 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_texts_ids_and_answers_are_those_of_transformers(name: str, golden: Callable[[str, str], None]) -> None:
    """Same text, same ids on either side of a prompt's end, learned what the template marks, prompt a beginning.

    The golden file shows what is learned of each conversation, or why there is nothing.
    """
    tokenizer, oracle = family(name)
    found = {talk: held(tokenizer, oracle, spoken) for talk, spoken in TALKS.items()}
    told = "".join(f"{talk}\n    {text!r}\n" for talk, text in found.items())
    golden(f"chat_templates/{name}.txt", told)


@pytest.mark.parametrize("name", FAMILIES)
def test_without_its_marks_a_template_says_the_same(name: str) -> None:
    """Prompts and contents alone tell what is learned, of most conversations (all hold it to that, above)."""
    _, oracle = family(name)
    told = [spoken for spoken in EDGES.values() if not spoken.tools and spoken.turns[0].role != "system"]
    n_told = sum(bool(oracle.spans(spoken, oracle.generated(spoken)[0])) for spoken in told)
    assert n_told >= 5


def test_all_templates_but_one_mark_answers() -> None:
    """GLM's turns end with the beginning of the next, which no mark could hold."""
    assert {name for name in FAMILIES if "endgeneration" not in family(name)[1].source} == {"glm4"}


def test_every_template_is_tested() -> None:
    """None lies there unread."""
    assert {path.stem for path in (Path(__file__).parent / "chat_templates").iterdir()} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_typed_makes_no_control_token(name: str) -> None:
    """As many as with harmless contents, wherever control strings and their fragments are typed."""
    tokenizer, oracle = family(name)
    harmless = Spoken((Turn("user", "a"), answer("b"), Turn("user", "c"), answer("d")))
    typed = Spoken((Turn("user", TYPED), answer("b" + TYPED), Turn("user", "c " + TYPED), answer("d " + TYPED)))
    both = [tokenize([Example("x", "text", turns=s.turns)], tokenizer, shape="decoder")[0] for s in (harmless, typed)]
    ids = [[i for i in one.ids_T.tolist() if i in tokenizer.control_ids] for one in both]
    assert ids[0] == ids[1]
    assert "".join(s.text for s in tokenizer.chat_template.segments(typed.turns)) == oracle.generated(typed)[0]


def test_control_strings_in_calls_and_results_stay_text() -> None:
    """Also where the template writes them as JSON."""
    tokenizer, _ = family("harmony")
    called, result = call("weather", {"city": "Bern<|call|>"}), Turn("tool", "5<|end|>", tool_call_id="call00001")
    spoken = Spoken((Turn("user", "Bern?"), answer("", tool_calls=called), result, answer("Cold.")))
    segments = tokenizer.chat_template.segments(spoken.turns)
    assert [s.text for s in segments if s.control == "token"].count("<|call|>") == 1
    assert "Bern<|call|>" in "".join(s.text for s in segments)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_sample_of_real_conversations(name: str, shared: Path) -> None:
    """Every fiftieth of the instruction data: the same, or refused for what the template has no place for."""
    real(name, list(corpus(shared))[::50])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_all_real_conversations(name: str, shared: Path) -> None:
    """All of them."""
    real(name, list(corpus(shared)))


def real(name: str, conversations: list[Spoken]) -> None:
    tokenizer, oracle = family(name)
    refusals: Counter[str] = Counter()
    for spoken in conversations:
        if not any(text in content for content in map(str, spoken.turns) for text in tokenizer.controls):
            found = held(tokenizer, oracle, spoken)
            refusals[found] += found.startswith(("The chat template", "refused"))
    kinds = {re.sub(r"'\w+'", "…", refusal) for refusal, count in refusals.items() if count}
    assert kinds <= {
        "refused by the template",
        "The chat template leaves out a message from ….",
        "The chat template leaves out the tools.",
        "The chat template leaves out the tool calls.",
        "The chat template leaves out the reasoning of a message.",
    }
    assert sum(refusals.values()) < len(conversations) / 2


def test_a_call_s_arguments_are_what_the_template_writes() -> None:
    """Mistral's as JSON in a list, DeepSeek's as text behind a token of its own."""
    turns = (Turn("user", "Bern?"), answer("", tool_calls=call("weather", {"city": "Bern"})))
    learned = {
        name: "".join(s.text for s in family(name)[0].chat_template.segments(turns) if s.weight > 0)
        for name in ("mistral", "deepseek")
    }
    assert learned == {
        "mistral": '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Bern"}, "id": "call00001"}]</s>',
        "deepseek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>"
        '{"city": "Bern"}<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>',
    }


_LIKE_A_CONTROL = re.compile(
    r"""<[|｜][^|｜<>\s]+[|｜]>|<\|?[a-z_"]+\|>|<\|[a-z_"]+\|?>|</?(?:tool|start|end|arg)_\w+>|</?think>|<bos>|<sop>"""
)
# Of the templates that a release of TRL ships, those that read pictures, or that ask for an answer otherwise than they
# show it, are for nobody to train text with.
_NOT_TRAINABLE = re.compile(r"llava|idefics|smolvlm|deepseek")


@pytest.mark.network
@pytest.mark.slow
def test_the_templates_that_trl_ships_give_the_text_and_ids_of_transformers(tmp_path: Path) -> None:
    """The makers' own templates of some seventy models."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path), "trl==1.16.0"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"trl cannot be fetched: {done.stderr.strip()[-200:]}")
    learned = 0
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = [n for n in wheel.namelist() if n.endswith(".jinja") and not _NOT_TRAINABLE.search(n)]
        for name in names:
            # Theirs mark more than an answer (its line end, its prompt); what they mark is not compared.
            source = re.sub(r"\{%-?\s*(?:end)?generation\s*-?%\}", "", wheel.read(name).decode())
            controls = tuple(sorted(set(_LIKE_A_CONTROL.findall(source))))
            eos = "<|im_end|>" if "<|im_end|>" in controls else "<|endoftext|>"
            tokenizer, oracle = with_controls(source, controls, "<bos>", eos)
            found = [held(tokenizer, oracle, spoken) for spoken in TALKS.values()]
            learned += sum(not text.startswith(("The chat template", "refused")) for text in found)
    assert len(names) > 50
    assert learned > 10 * len(names)


def test_a_conversation_may_be_said_at_once() -> None:
    """A question that is the whole conversation has an answer that is asked for."""
    tokenizer, oracle = family("chatml")
    spoken = said("Hi", "Hello.")
    assert oracle.asked(spoken) == tokenizer.chat_template.render(spoken.turns[:1], add_generation_prompt=True)


def test_nothing_that_is_typed_becomes_a_control_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over seven tokenizers, thousands of conversations full of control strings and their fragments: not one.

    As text that is encoded as a whole, nearly all of them gain some. ``benchmarks/control_tokens.py`` draws many more.
    """
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    bench = importlib.import_module("control_tokens")
    kinds = bench.kinds()
    assert len(kinds) >= 5
    for kind in kinds:
        counts = bench.counted(kind, 500, seed=1)
        assert counts.wrong == 0
        assert counts.refused < 100
        assert counts.parsed > 400


TOLD = (
    ("qwen3", TemplateOptions({"enable_thinking": True}), "<|im_start|>assistant\n"),
    ("qwen3", TemplateOptions({"enable_thinking": False}), "<think>\n\n</think>\n\n"),
    ("smollm3", TemplateOptions({"enable_thinking": True}), "Today Date: 01 January 2026\nReasoning Mode: /think\n"),
    (
        "smollm3",
        TemplateOptions({"enable_thinking": False}, "2031-12-24"),
        "24 December 2031\nReasoning Mode: /no_think\n",
    ),
    ("harmony", TemplateOptions({"reasoning_effort": "high"}, "2025-08-05"), "2025-08-05\n\nReasoning: high\n"),
    ("harmony", TemplateOptions({"model_identity": "You are Ada.", "builtin_tools": ["python"]}), "You are Ada.\n"),
    ("llama3_2", TemplateOptions({"date_string": "26 Jul 2024"}), "Today Date: 26 Jul 2024\n"),
    ("llama3_2", TemplateOptions({"tools_in_user_message": False}, "2024-12-01"), "Today Date: 01 Dec 2024\n"),
)


@pytest.mark.parametrize(("name", "told", "shown"), TOLD)
def test_options_are_as_transformers_keywords(name: str, told: TemplateOptions, shown: str) -> None:
    """Same text, same ids, learned from the prompt's end to the turn's; nothing is refused but what would be misled."""
    tokenizer, oracle = family(name, told)
    prompt_ = tokenizer.chat_template.render(TALKS["one exchange"].turns[:1], add_generation_prompt=True)
    assert shown in prompt_
    found = [held(tokenizer, oracle, spoken, asks_alike=False) for spoken in TALKS.values()]
    refused = {text for text in found if text.startswith(("The chat template", "refused"))}
    assert refused <= {
        "refused by the template",
        "The chat template leaves out the reasoning of a message.",
        "The chat template begins an answer otherwise than its own generation prompt does.",
    }
    assert sum(text in refused for text in found) <= 7
