"""Conversations for chat templates, made by hand and read from real data, and an oracle to hold formtune against."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from tokenizer_folders import smollm2_folder
from tokenizers import AddedToken
from tokenizers import Tokenizer as Raw

from formtune.examples import Turn
from formtune.template_options import NO_OPTIONS, TemplateOptions
from formtune.tokens import Tokenizer

TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tell the weather.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string", "description": "Where."}},
                    "required": ["city"],
                },
            },
        }
    ]
)


@dataclass(frozen=True)
class Spoken:
    """A conversation: its turns and its tools."""

    turns: tuple[Turn, ...]
    tools: str | None = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Give what the oracle reads."""
        return [_message(turn) for turn in self.turns]


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.tool_calls:
        message["tool_calls"] = json.loads(turn.tool_calls)
    if turn.thinking:
        message |= {"reasoning_content": turn.thinking, "thinking": turn.thinking}
    named = {"name": turn.name, "tool_call_id": turn.tool_call_id}
    return message | {key: value for key, value in named.items() if value}


def said(*contents: str, system: str | None = None) -> Spoken:
    """Make a conversation in which user and assistant take turns."""
    turns = [Turn("user", content) if n % 2 == 0 else answer(content) for n, content in enumerate(contents)]
    return Spoken((*((Turn("system", system),) if system is not None else ()), *turns))


def answer(content: str, **fields: Any) -> Turn:
    """Make a learned turn."""
    return Turn("assistant", content, weight=1.0, **fields)


def call(name: str, arguments: Mapping[str, object]) -> str:
    """Write a tool call."""
    function = {"name": name, "arguments": arguments}
    return json.dumps([{"id": "call00001", "type": "function", "function": function}], ensure_ascii=False)


_CALLED = (
    Turn("user", "Is it warm in Bern?"),
    answer("", tool_calls=call("weather", {"city": "Bern"})),
    Turn("tool", '{"celsius": 5}', name="weather", tool_call_id="call00001"),
    answer("No, 5 °C."),
)
EDGES = {
    "one exchange": said("Hi", "Hello."),
    "three exchanges": said("Hi", "Hello.", "東京はどこ？", "日本。", "🎉", 'He said "no".'),
    "system": said("Hi", "Hello.", "More", "Sure.", system="Be brief."),
    "white space": said("  Hi\n", "Hello.\n\n", "\tMore  ", "Sure.  "),
    "white space first": said("Hi", "\n\n Hello.", "More", " Sure."),
    "empty question": said("", "Hello."),
    "empty answer": said("Hi", "", "More", "Sure."),
    "only white space": said(" \n", "Hello."),
    "empty system": said("Hi", "Hello.", system=""),
    "words of templates": said("user", "assistant", "system", "tool"),
    "tools": Spoken(_CALLED, TOOLS),
    "tools, then talk": Spoken((*_CALLED, Turn("user", "Thanks."), answer("You are welcome.")), TOOLS),
    "tools and system": Spoken((Turn("system", "Be brief."), *_CALLED), TOOLS),
    "a call is the answer": Spoken(_CALLED[:2], TOOLS),
    "tools that are not called": replace(said("Hi", "Hello."), tools=TOOLS),
}
REASONED = {
    "reasoning": Spoken((Turn("user", "2+2?"), answer("4.", thinking="Two and two."))),
    "reasoning in every turn": Spoken(
        (
            Turn("user", "2+2?"),
            answer("4.", thinking="Two and two."),
            Turn("user", "3+3?"),
            answer("6.", thinking="Three\n\nand three."),
        )
    ),
    "reasoning in the first turn only": Spoken(
        (Turn("user", "2+2?"), answer("4.", thinking="Two and two."), Turn("user", "3+3?"), answer("6."))
    ),
    "reasoning before a call": Spoken(
        (_CALLED[0], replace(_CALLED[1], thinking="I must ask."), _CALLED[2], replace(_CALLED[3], thinking="Cold.")),
        TOOLS,
    ),
}


def corpus(shared: Path) -> Iterator[Spoken]:
    """Read every conversation of the real instruction data."""
    folder = shared / "instruct"
    for path in (
        *sorted((folder / "dolly_3k_messages").glob("*.jsonl")),
        folder / "dialects_misc" / "openai_toy_chat_fine_tuning.jsonl",
        folder / "llamafactory_demo" / "v1_sft_demo.jsonl",
        folder / "llamafactory_demo" / "reason_tool_use_demo_50.jsonl",
    ):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield Spoken(tuple(_turns(row["messages"])), _tools(row.get("tools")))
    demo = folder / "llamafactory_demo"
    for path in (
        demo / "glaive_toolcall_en_demo.json",
        demo / "glaive_toolcall_zh_demo.json",
        folder / "dialects_misc" / "sharegpt_fastchat_dummy.json",
    ):
        for row in json.loads(path.read_text(encoding="utf-8")):
            yield Spoken(tuple(_from_sharegpt(row["conversations"])), _tools(row.get("tools")))


def _tools(found: object) -> str | None:
    schemas = json.loads(found) if isinstance(found, str) and found else found
    if not schemas:
        return None
    assert isinstance(schemas, list)
    return json.dumps([one if "function" in one else {"type": "function", "function": one} for one in schemas])


def _turns(messages: Sequence[dict[str, Any]]) -> Iterator[Turn]:
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "value": content}] if isinstance(content, str) else content
        by_type = {
            kind: [p["value"] for p in parts if p["type"] == kind] for kind in ("text", "reasoning", "tool_call")
        }
        calls = [json.loads(value) for value in by_type["tool_call"]]
        yield Turn(
            message["role"],
            "".join(by_type["text"]),
            weight=1.0 if message["role"] == "assistant" else 0.0,
            thinking="".join(by_type["reasoning"]) or None,
            tool_calls=json.dumps([{"type": "function", "function": one} for one in calls]) if calls else None,
        )


def _from_sharegpt(conversation: Sequence[dict[str, str]]) -> Iterator[Turn]:
    for said_ in conversation:
        match said_["from"]:
            case "gpt":
                yield answer(said_["value"])
            case "function_call":
                function = json.loads(said_["value"])
                yield answer("", tool_calls=json.dumps([{"id": "call00001", "type": "function", "function": function}]))
            case "observation":
                yield Turn("tool", said_["value"], tool_call_id="call00001")
            case role:
                yield Turn({"human": "user"}.get(role, role), said_["value"])


@dataclass(frozen=True)
class Oracle:
    """transformers with the same vocabulary and template."""

    theirs: Any
    source: str
    told: TemplateOptions = NO_OPTIONS

    def generated(self, spoken: Spoken) -> tuple[str, list[tuple[int, int]]]:
        """Render as transformers does, with the characters that the template marks as the assistant's.

        Raises:
            jinja2.TemplateError: where the template refuses the conversation.
        """
        from transformers.utils.chat_template_utils import render_jinja_template

        with self._dated():
            texts, spans = render_jinja_template(
                [spoken.messages],
                tools=_schemas(spoken),
                chat_template=self.source,
                return_assistant_tokens_mask="{% generation %}" in self.source or "{%- generation %}" in self.source,
                **self.options(spoken),
                **self.theirs.special_tokens_map,
            )
        return texts[0], spans[0] if spans else []

    def asked(self, spoken: Spoken) -> str:
        """Render the prompt of the last answer."""
        before = Spoken(spoken.turns[:-1], spoken.tools)
        with self._dated():
            return str(
                self.theirs.apply_chat_template(
                    before.messages,
                    chat_template=self.source,
                    tools=_schemas(spoken),
                    tokenize=False,
                    add_generation_prompt=True,
                    **self.options(spoken),
                )
            )

    def spans(self, spoken: Spoken, text: str) -> list[tuple[int, int]]:
        """Say what is learned without any marks: from the end of a turn's prompt to the token behind its content, or to the end.

        Told of turns only whose prompt the text begins with, and whose content stands in it once.
        """
        found = []
        for n, turn in enumerate(spoken.turns):
            bare = turn.content.strip()
            if turn.role != "assistant" or turn.tool_calls or not bare or text.count(bare) != 1:
                continue
            try:
                start = (
                    len(asked)
                    if text.startswith(asked := self.asked(replace(spoken, turns=spoken.turns[: n + 1])))
                    else -1
                )
            except (jinja2.TemplateError, TypeError):
                continue
            stop = self._controls.search(text, text.index(bare) + len(bare))
            if 0 <= start <= text.index(bare) and (stop or turn is spoken.turns[-1]):
                found.append((start, stop.end() if stop else len(text)))
        return found

    @property
    def _controls(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self.theirs.get_added_vocab(), key=len, reverse=True))))

    def ids(self, text: str) -> list[int]:
        """Encode a text, control tokens and all."""
        return list(self.theirs(text, add_special_tokens=False)["input_ids"])

    def options(self, spoken: Spoken) -> dict[str, Any]:
        """Ask for reasoning where the last answer has some, unless it is told otherwise."""
        return {"enable_thinking": bool(spoken.turns[-1].thinking), **self.told.variables}

    @contextmanager
    def _dated(self) -> Iterator[None]:
        """Let it be the day that the template is told."""
        from transformers.utils import chat_template_utils

        day = datetime.fromisoformat(self.told.date)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(chat_template_utils, "datetime", SimpleNamespace(now=lambda: day))
            yield


def _schemas(spoken: Spoken) -> Any:
    return json.loads(spoken.tools) if spoken.tools else None


@cache
def with_controls(
    source: str, controls: tuple[str, ...], bos: str, eos: str, told: TemplateOptions = NO_OPTIONS
) -> tuple[Tokenizer, Oracle]:
    """Give SmolLM2's vocabulary control tokens of another model and its template, as ours and as transformers'."""
    transformers = pytest.importorskip("transformers")
    raw = Raw.from_file(str(smollm2_folder() / "tokenizer.json"))
    raw.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in (*controls, bos, eos)])
    roles = {"bos_token": bos, "eos_token": eos}
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **roles)
    ours = Tokenizer(raw.to_str().encode(), roles, template=source, template_options=told)
    return ours, Oracle(theirs, source, told)
