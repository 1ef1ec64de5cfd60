"""A small file of each dialect of conversations, and the records that each can hold."""

import msgspec
from hypothesis import strategies as st

from formtune.records import Conversation, Message, Record, Span

FILES: dict[str, dict[str, str]] = {
    "prompt-response": {"pr.jsonl": '{"prompt": "Who sang?", "response": "She did.", "id": 1}\n'},
    "query-response": {
        "qr.jsonl": '{"system": "Be brief.", "query": "And 2 + 3?", "response": "5", "history": [["1 + 1?", "2"]]}\n'
        '{"query": "Sing.", "response": "La."}\n'
    },
    "open-orca": {
        "orca.jsonl": '{"id": "niv.1", "system_prompt": "Be brief.", "question": "1 + 1?", "response": "2"}\n'
        '{"id": "niv.2", "system_prompt": "", "question": "Sing.", "response": "La."}\n'
    },
    "firefly": {"firefly.jsonl": '{"kind": "NLI", "input": "前提：雨。", "target": "是"}\n'},
    "stepwise": {
        "steps.jsonl": '{"prompt": "1 + 2 + 3?", "completions": ["1 + 2 is 3.", "3 + 3 is 7."], "labels": [true, false]}\n'
    },
    "openai-functions": {
        "functions.jsonl": '{"messages": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": null,'
        ' "function_call": {"name": "weather", "arguments": "{\\"at\\": \\"Bern\\"}"}}, {"role": "function", "name":'
        ' "weather", "content": "Sun"}, {"role": "assistant", "content": "Sunny."}], "functions": [{"name": "weather",'
        ' "parameters": {}}]}\n'
    },
    "swift": {
        "swift.jsonl": '{"messages": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "I look.",'
        ' "loss": false}, {"role": "tool_call", "content": "{\\"name\\": \\"weather\\", \\"arguments\\": {\\"at\\":'
        ' \\"Bern\\"}}", "loss": false}, {"role": "tool_response", "content": "Sun"}, {"role": "assistant", "content":'
        ' "Sunny.", "loss_scale": 0.5}], "tools": "[{\\"type\\": \\"function\\"}]"}\n'
    },
    "axolotl": {
        "axolotl.jsonl": '{"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "Hm: 2", '
        '"train_detail": [{"begin_offset": 0, "end_offset": 3, "train": false}]}, {"role": "assistant", "content":'
        ' "Is it?", "train": false}, {"role": "assistant", "content": [{"type": "text", "text": "Well,", "train": false},'
        ' {"type": "text", "text": " yes.", "train": true}]}]}\n'
    },
    "torchtune": {
        "torchtune.jsonl": '{"messages": [{"role": "user", "content": "1 + 1?", "masked": true}, {"role": "assistant",'
        ' "content": "print(1 + 1)", "masked": false, "ipython": true, "eot": false}, {"role": "ipython", "content": "2",'
        ' "masked": true}]}\n'
    },
    "llamafactory-v1": {
        "v1.jsonl": '{"messages": [{"role": "user", "content": [{"type": "text", "value": "Weather?"}], "loss_weight": 0.0},'
        ' {"role": "assistant", "content": [{"type": "reasoning", "value": "I look."}, {"type": "tool_call", "value":'
        ' "{\\"name\\": \\"weather\\", \\"arguments\\": {\\"at\\": \\"Bern\\"}}"}], "loss_weight": 0.5}]}\n'
    },
    "sharegpt": {
        "sharegpt.json": '[\n{"id": "a", "conversations": [{"from": "human", "value": "Weather?"},\n'
        ' {"from": "function_call", "value": "{\\"name\\": \\"weather\\", \\"arguments\\": {\\"at\\": \\"Bern\\"}}"},\n'
        ' {"from": "observation", "value": "Sun"}, {"from": "chatgpt", "value": "Sunny.", "weight": 0}],\n'
        ' "system": "Be brief.", "tools": "[{\\"name\\": \\"weather\\"}]"}\n]\n'
    },
    "nemo": {
        "nemo.jsonl": '{"system": "Be brief.", "mask": "User", "type": "TEXT_TO_VALUE", "conversations": [{"from": "User",'
        ' "value": "1 + 1?"}, {"from": "Assistant", "value": "2", "label": "quality:4"}]}\n'
    },
    "chatglm": {
        "chatglm.jsonl": '{"tools": [{"name": "weather"}], "conversations": [{"role": "user", "content": "Weather?"},'
        ' {"role": "assistant", "content": "I look."}, {"role": "tool", "name": "weather", "parameters": {"at": "Bern"},'
        ' "observation": "Sun"}, {"role": "assistant", "content": "Sunny."}]}\n'
    },
    "human-assistant": {
        "firefly_sft.jsonl": '{"conversation_id": 1, "category": "Brainstorming", "system": "Be brief.", "conversation":'
        ' [{"human": "1 + 1?", "assistant": "2"}, {"human": "Sure?", "assistant": "Yes."}]}\n'
    },
    "xtuner": {
        "xtuner.jsonl": '{"conversation": [{"system": "Be brief.", "input": "1 + 1?", "output": "2", "output_with_loss":'
        ' false}, {"input": "Sure?", "output": "Yes.", "need_eos_token": true}]}\n'
        '{"conversation": [{"input": "", "output": "All of it is learned."}]}\n'
    },
    "lima": {"lima.jsonl": '{"conversations": ["1 + 1?", "2"], "source": "stackexchange"}\n'},
    "ultrachat": {"ultrachat.jsonl": '{"id": "0", "data": ["1 + 1?", "2", "Sure?", "Yes."]}\n'},
    "moss": {
        "moss.json": '[\n{"conversation_id": 1, "meta_instruction": "Be brief.", "num_turns": 1, "chat": {"turn_1": {\n'
        ' "Human": "<|Human|>: Who sang?<eoh>\\n", "Inner Thoughts": "<|Inner Thoughts|>: I look.<eot>\\n",\n'
        ' "Commands": "<|Commands|>: Search(\\"who sang\\")<eoc>\\n", "Tool Responses": "<|Results|>: She<eor>\\n",\n'
        ' "MOSS": "<|MOSS|>: She did.<eom>\\n"}}}\n]\n'
    },
    "input-output": {
        "segments.jsonl": '{"segments": [{"label": true, "text": "<s>Hello\\n"}, {"label": true, "text": "hi there!. "},'
        ' {"label": false, "text": "goodbye "}, {"label": true, "text": "farewell</s>"}]}\n'
    },
}
# Layouts that the files above do not show.
MORE: dict[str, list[object]] = {
    "sharegpt": [{"conversations": [{"role": "user", "value": "Hi"}, {"role": "model", "value": "Hello"}]}],
    "chatglm": [{"conversations": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}],
    "swift": [{"messages": [{"role": "tool_call", "content": '{"name": "f"}'}, {"role": "tool", "content": "1"}]}],
    "moss": [{"chat": {"turn_1": {"Human": "Hi", "MOSS": "Hello"}}}],
}

words = st.text(min_size=1, max_size=12).filter(str.strip)
texts = st.text(max_size=9)
extras = st.none() | st.dictionaries(
    st.sampled_from(["idx", "note"]), st.integers(-99, 99) | words | st.lists(words), min_size=1
).map(lambda value: msgspec.json.encode(value).decode())
tools = st.none() | st.lists(words, min_size=1, max_size=2).map(
    lambda names: msgspec.json.encode([{"type": "function", "function": {"name": name}} for name in names]).decode()
)
flags = st.sampled_from([None, 0.0, 1.0])
factors = st.sampled_from([None, 0.0, 0.25, 1.0])


def call_lists(*, max_size: int = 2, arguments: st.SearchStrategy[str] = texts) -> st.SearchStrategy[str | None]:
    """Give JSON texts of tool calls without ids, or none."""
    values = st.dictionaries(words, words | st.integers(), max_size=2)
    text = arguments | values.map(lambda value: msgspec.json.encode(value).decode())
    calls = st.fixed_dictionaries({"name": words}, optional={"arguments": text})
    return st.none() | st.lists(calls, min_size=1, max_size=max_size).map(
        lambda found: msgspec.json.encode([{"type": "function", "function": call} for call in found]).decode()
    )


def joins(talk: Conversation) -> bool:
    """Say whether a call in a turn of its own would be read as part of what the assistant said before it."""
    both = zip(talk.messages, talk.messages[1:], strict=False)
    return any(
        one.role == two.role == "assistant" and one.weight == two.weight and two.tool_calls and not two.content
        for one, two in both
    )


def talks(
    *,
    roles: tuple[str, ...] = ("system", "user", "assistant", "tool"),
    content: st.SearchStrategy[str] = texts,
    weight: st.SearchStrategy[float | None] = flags,
    tool_calls: st.SearchStrategy[str | None] = st.none(),
    given_tools: st.SearchStrategy[str | None] = st.none(),
    **fields: st.SearchStrategy[object],
) -> st.SearchStrategy[Conversation]:
    """Give conversations of messages in any order; only the assistant calls tools."""
    said = st.builds(Message, st.sampled_from(roles), content, weight=weight, extra=extras, **fields)
    calling = st.builds(Message, st.just("assistant"), content, weight=weight, tool_calls=tool_calls, **fields)
    messages = st.lists(said | calling, min_size=1, max_size=5).map(tuple)
    return st.builds(Conversation, messages=messages, tools=given_tools, extra=extras)


@st.composite
def dialogues(
    draw: st.DrawFn, max_turns: int = 6, *, has_system: bool = True, has_answer: bool = False
) -> Conversation:
    """A system text or none, then user and assistant in turn."""
    n_turns = draw(st.integers(1, max_turns))
    n_turns += n_turns % 2 if has_answer else 0
    said = [Message(("user", "assistant")[place % 2], draw(words)) for place in range(n_turns)]
    system = [Message("system", draw(words))] if has_system and draw(st.booleans()) else []
    return Conversation(messages=(*system, *said), extra=draw(extras))


@st.composite
def masked(draw: st.DrawFn) -> Conversation:
    """A conversation that gives no weights, or learns from all but the assistant."""
    talk = draw(talks(roles=("user", "assistant"), weight=st.none()))
    if draw(st.booleans()):
        return talk
    weighted = (msgspec.structs.replace(one, weight=float(one.role != "assistant")) for one in talk.messages)
    return msgspec.structs.replace(talk, messages=tuple(weighted))


@st.composite
def results(draw: st.DrawFn) -> Conversation:
    """A conversation in which every call of the assistant is one, and is answered at once."""
    messages: list[Message] = []
    for text in draw(st.lists(words, min_size=1, max_size=4)):
        messages += [Message("user", text), Message("assistant", draw(words), extra=draw(extras))]
        if draw(st.booleans()):
            call = {"type": "function", "function": {"name": draw(words), "arguments": '{"at":1}'}}
            messages += [Message("assistant", draw(words), tool_calls=msgspec.json.encode([call]).decode())]
            messages += [Message("tool", draw(texts), extra=draw(extras))]
    return Conversation(messages=tuple(messages), tools=draw(tools), extra=draw(extras))


@st.composite
def divided(draw: st.DrawFn, between: str = "") -> Message:
    """An answer in stretches, each learned or not, with something or nothing between them."""
    pieces = draw(st.lists(words, min_size=1, max_size=4))
    starts = [sum(len(piece) + len(between) for piece in pieces[:place]) for place in range(len(pieces))]
    spans = [
        Span(start, start + len(piece), draw(st.sampled_from([0.0, 1.0])))
        for start, piece in zip(starts, pieces, strict=True)
    ]
    return Message("assistant", between.join(pieces), spans=tuple(spans))


@st.composite
def moss_talks(draw: st.DrawFn) -> Conversation:
    """Turns of a question, perhaps a command with its result, and an answer."""
    said = words.filter(lambda text: text != "None")
    thoughts = st.none() | said
    messages = [Message("system", draw(words))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message("user", draw(texts)))
        is_command = draw(st.booleans())
        if is_command:
            messages.append(Message("assistant", draw(said), thinking=draw(thoughts), extra='{"role":"Commands"}'))
            messages.append(Message("tool", draw(said)))
        messages.append(Message("assistant", draw(texts), thinking=None if is_command else draw(thoughts)))
    return Conversation(messages=tuple(messages), extra=draw(extras))


HELD: dict[str, st.SearchStrategy[Record]] = {
    "prompt-response": dialogues(2, has_system=False),
    "query-response": dialogues(),
    "open-orca": dialogues(2),
    "firefly": dialogues(2, has_system=False),
    "stepwise": st.builds(
        lambda prompt, answer, extra: Conversation(messages=(Message("user", prompt), answer), extra=extra),
        words,
        divided("\n"),
        extras,
    ),
    "openai-functions": talks(
        tool_calls=call_lists(max_size=1), given_tools=tools, name=st.none() | words, thinking=st.none() | texts
    ),
    "swift": talks(weight=factors, tool_calls=call_lists(), given_tools=tools).filter(lambda talk: not joins(talk)),
    "axolotl": st.builds(
        lambda talk, answer: msgspec.structs.replace(talk, messages=(*talk.messages, answer)),
        talks(
            tool_calls=call_lists(),
            given_tools=tools,
            name=st.none() | words,
            tool_call_id=st.none() | words,
            thinking=st.none() | texts,
        ),
        divided(" "),
    ),
    "torchtune": talks(),
    "llamafactory-v1": talks(weight=factors, tool_calls=call_lists(), given_tools=tools, thinking=st.none() | texts),
    "sharegpt": talks(tool_calls=call_lists(), given_tools=tools).filter(lambda talk: not joins(talk)),
    "nemo": masked(),
    "chatglm": results(),
    "human-assistant": dialogues(),
    "xtuner": st.builds(
        Conversation,
        messages=st.lists(
            st.builds(Message, st.sampled_from(["system", "user"]), words)
            | st.builds(Message, st.just("assistant"), texts, weight=flags, extra=extras),
            min_size=1,
            max_size=5,
        ).map(tuple),
        extra=extras,
    ),
    "lima": dialogues(has_system=False),
    "ultrachat": dialogues(has_system=False),
    "moss": moss_talks(),
    "input-output": st.builds(lambda answer, extra: Conversation(messages=(answer,), extra=extra), divided(), extras),
}
