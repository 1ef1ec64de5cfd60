"""Examples and laws of the dialects of vendors, tools, preferences and tasks, for the tests of every dialect."""

import msgspec
from hypothesis import strategies as st

from formtune.records import Conversation, Labelled, Message, Pair, Plain, Preference, Question, Record

FILES: dict[str, dict[str, str]] = {
    "gemini": {
        "gemini.jsonl": '{"systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]}, "contents": [{"role":'
        ' "user", "parts": [{"text": "Weather?"}]}, {"role": "model", "parts": [{"text": "I look.", "thought": true},'
        ' {"functionCall": {"name": "weather", "args": {"at": "Bern"}}}]}, {"role": "user", "parts":'
        ' [{"functionResponse": {"name": "weather", "response": {"output": "Sun"}}}]}, {"role": "model", "parts":'
        ' [{"text": "Sunny."}]}], "tools": [{"functionDeclarations": [{"name": "weather"}]}]}\n'
    },
    "bedrock": {
        "bedrock.jsonl": '{"schemaVersion": "bedrock-conversation-2024", "system": [{"text": "Be brief."}], "messages":'
        ' [{"role": "user", "content": [{"text": "Hi"}]}, {"role": "assistant", "content": [{"text": "Hello"}]}]}\n'
    },
    "anthropic": {
        "claude.jsonl": '{"system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant",'
        ' "content": "Hello"}]}\n'
    },
    "cohere": {
        "cohere.jsonl": '{"messages": [{"role": "System", "content": "Be brief."}, {"role": "User", "content": "Hi"},'
        ' {"role": "Chatbot", "content": "Hello"}]}\n'
    },
    "mistral": {
        "mistral.jsonl": '{"messages": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "",'
        ' "tool_calls": [{"id": "VvvODy9mT", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},'
        ' {"role": "tool", "tool_call_id": "VvvODy9mT", "content": "Sun"}, {"role": "assistant", "content": "Sunny.",'
        ' "weight": 1}], "tools": [{"type": "function"}]}\n'
    },
    "xlam": {
        "xlam.json": '[{"id": 7, "query": "Weather in Bern?", "tools": "[{\\"name\\": \\"weather\\"}]",'
        ' "answers": "[{\\"name\\": \\"weather\\", \\"arguments\\": {\\"at\\": \\"Bern\\"}}]"}]\n'
    },
    "bfcl": {
        "BFCL.json": '{"id": "simple_0", "question": [[{"role": "user", "content": "Weather in Bern?"}]], "function":'
        ' [{"name": "weather", "parameters": {"type": "dict"}}]}\n',
        "possible_answer.BFCL.json": '{"id": "simple_0", "ground_truth": [{"weather": {"at": ["Bern", "Berne"], "unit":'
        ' ["", "C"]}}]}\n',
    },
    "mt-bench": {
        "question.jsonl": '{"question_id": 81, "category": "writing", "turns": ["Name a color.", "Another."]}\n'
        '{"question_id": 101, "category": "math", "turns": ["1 + 1?", "Doubled?"], "reference": ["2", "4"]}\n'
    },
    "glaive": {
        "glaive.json": '[{"system": "SYSTEM: You may use these functions -\\n{\\n \\"name\\": \\"weather\\"}\\n", "chat": "USER:'
        ' Weather in Bern?\\n\\n\\nASSISTANT: <functioncall> {\\"name\\": \\"weather\\", \\"arguments\\": \'{\\"at\\":'
        ' \\"Bern\\"}\'} <|endoftext|>\\n\\n\\nFUNCTION RESPONSE: {\\"sky\\": \\"blue\\"}\\n\\n\\nASSISTANT: Sunny.'
        ' <|endoftext|>\\n\\n\\n"}]\n'
    },
    "oasst": {
        "trees.jsonl": '{"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": {"message_id": "t", "text":'
        ' "Hi", "role": "prompter", "lang": "en", "replies": [{"message_id": "a", "parent_id": "t", "text": "Hello", "role":'
        ' "assistant", "rank": 0, "replies": []}, {"message_id": "b", "parent_id": "t", "text": "What?", "role":'
        ' "assistant", "rank": 1, "replies": [{"message_id": "c", "parent_id": "b", "text": "Bye", "role": "prompter",'
        ' "replies": []}]}]}}\n'
    },
    "preference": {"trl.jsonl": '{"prompt": "Sky?", "chosen": "Blue.", "rejected": "Green.", "score_chosen": 9.5}\n'},
    "trl-preference": {
        "conversational.jsonl": '{"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"role": "assistant", "content": "Hello"}],'
        ' "rejected": [{"role": "assistant", "content": "What?"}]}\n'
    },
    "ranking": {
        "ranking.json": '[{"instruction": "Translate.", "input": "Hund", "chosen": "dog", "rejected": "cat", "system": "Be brief.",'
        ' "history": [["Hi", "Hello"]]}]\n'
    },
    "argilla": {
        "argilla.jsonl": '{"system": "Be brief.", "instruction": "Sky?", "chosen_response": "Blue.", "rejected_response":'
        ' "Green."}\n'
    },
    "orca-pairs": {
        "orca.jsonl": '{"system": "", "question": "Sky?", "chosen": "Blue.", "rejected": "Green."}\n'
        '{"system": "Be brief.", "question": "Sea?", "chosen": "Blue.", "rejected": "Red."}\n'
    },
    "sharegpt-ranking": {
        "dpo.json": '[{"conversations": [{"from": "human", "value": "Sky?"}], "chosen": {"from": "gpt", "value": "Blue."},'
        ' "rejected": {"from": "gpt", "value": "Green."}, "system": "Be brief."}]\n'
    },
    "openai-preference": {
        "dpo.jsonl": '{"input": {"messages": [{"role": "user", "content": "Sky?"}], "tools": [], "parallel_tool_calls": true},'
        ' "preferred_output": [{"role": "assistant", "content": "Blue."}], "non_preferred_output": [{"role": "assistant",'
        ' "content": "Green."}]}\n'
    },
    "swift-preference": {
        "swift.jsonl": '{"messages": [{"role": "user", "content": "Sky?"}, {"role": "assistant", "content": "Blue."}],'
        ' "rejected_response": "Green."}\n'
        '{"messages": [{"role": "user", "content": "Sea?"}, {"role": "assistant", "content": "Blue."}],'
        ' "rejected_messages": [{"role": "user", "content": "Sea?"}, {"role": "assistant", "content": "Red."}]}\n'
    },
    "axolotl-preference": {
        "axolotl.jsonl": '{"messages": [{"role": "user", "content": "Sky?"}], "chosen": {"role": "assistant", "content": "Blue."},'
        ' "rejected": {"role": "assistant", "content": "Green."}}\n'
    },
    "chosen-messages": {
        "v1.jsonl": '{"chosen_messages": [{"role": "user", "content": [{"type": "text", "value": "Sky?"}], "loss_weight": 0.0},'
        ' {"role": "assistant", "content": [{"type": "text", "value": "Blue."}], "loss_weight": 1.0}], "rejected_messages":'
        ' [{"role": "user", "content": [{"type": "text", "value": "Sky?"}], "loss_weight": 0.0}, {"role": "assistant",'
        ' "content": [{"type": "text", "value": "Green."}], "loss_weight": 1.0}]}\n'
    },
    "hh-rlhf": {
        "hh.jsonl": '{"chosen": "\\n\\nHuman: Sky?\\n\\nAssistant: Blue.", "rejected": "\\n\\nHuman: Sky?\\n\\nAssistant: Green."}\n'
    },
    "embedding": {
        "triples.jsonl": '{"anchor": "A cup.", "positive": "A mug.", "negative": "A car.", "n": 1}\n'
        '{"anchor": "A car.", "positive": "A van."}\n'
    },
    "swift-classification": {
        "classes.jsonl": '{"messages": [{"role": "user", "content": "Loud fun."}], "label": 1}\n'
        '{"messages": [{"role": "user", "content": "Dull."}], "label": [0, 2]}\n'
        '{"messages": [{"role": "user", "content": "Fair."}], "label": 0.5}\n'
    },
    "instruction-response": {"oa.jsonl": '{"INSTRUCTION": "Name a color.", "RESPONSE": "Blue.", "SOURCE": "x"}\n'},
    "prompt-only": {"prompts.jsonl": '{"prompt": "The sky is", "level": 3}\n'},
    "trl-prompt-only": {
        "prompts.jsonl": '{"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Sky?"}]}\n'
    },
    "lmflow": {
        "lmflow.json": '{"type": "conversation", "instances": [\n {"conversation_id": 1, "system": "Be brief.", "messages":'
        ' [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}]}\n'
    },
    "nectar": {
        "nectar.jsonl": '{"prompt": "\\n\\nHuman: Sky?\\n\\nAssistant: ", "answers": [{"answer": "Green.", "model": "b", "rank": 2.0},'
        ' {"answer": "Blue.", "model": "a", "rank": 1.0}, {"answer": "Red.", "model": "c", "rank": 3.0}], "turns": 1}\n'
    },
    "ultrafeedback": {
        "ultrafeedback.jsonl": '{"source": "made", "instruction": "Sky?", "models": ["a", "b", "c"], "completions": [{"model":'
        ' "a", "response": "Green.", "annotations": {"honesty": {"Rating": "1"}, "helpfulness": {"Rating": "N/A"}}},'
        ' {"model": "b", "response": "Blue.", "annotations": {"honesty": {"Rating": "5"}, "helpfulness": {"Rating": "4",'
        ' "Rationale": "It is."}}}, {"model": "c", "response": "Grey.", "annotations": {"honesty": {"Rating": "3"}}}]}\n'
    },
    "shp": {
        "shp.jsonl": '{"history": "Sky?", "human_ref_A": "Green.", "human_ref_B": "Blue.", "labels": 0, "score_A": 1, "score_B": 9}\n'
        '{"history": "Sea?", "human_ref_A": "Blue.", "human_ref_B": "Red.", "labels": 1, "score_A": 9, "score_B": 1}\n'
    },
    "kto": {
        "kto.jsonl": '{"prompt": "Sky?", "completion": "Blue.", "label": true}\n'
        '{"prompt": "Sky?", "completion": "Green.", "label": false}\n'
    },
    "trl-kto": {
        "kto.jsonl": '{"prompt": [{"role": "user", "content": "Sky?"}], "completion": [{"role": "assistant", "content":'
        ' "Blue."}], "label": true}\n'
    },
    "alpaca-kto": {
        "kto.json": '[{"instruction": "Translate.", "input": "Hund", "output": "dog", "kto_tag": true, "system": "Be'
        ' brief.", "history": [["Hi", "Hello"]]}]\n'
    },
    "kto-messages": {
        "kto.json": '[{"messages": [{"role": "user", "content": "Sky?"}, {"role": "assistant", "content": "Blue."}], "label":'
        " true}]\n"
    },
    "blimp": {
        "blimp.jsonl": '{"sentence_good": "Ann has left.", "sentence_bad": "Ann have left.", "UID": "agreement"}\n'
        '{"sentence_good": "They have left.", "sentence_bad": "They has left.", "UID": "agreement"}\n'
    },
    "piqa": {
        "valid.jsonl": '{"goal": "Dry a cup.", "sol1": "Use a cloth.", "sol2": "Use a hose."}\n'
        '{"goal": "Fill a cup.", "sol1": "Use a cloth.", "sol2": "Use a tap."}\n',
        "valid-labels.lst": "0\n1\n",
    },
    "winogrande": {
        "winogrande.jsonl": '{"qID": "1", "sentence": "The cup fell off the shelf because _ was wet.", "option1": "the cup",'
        ' "option2": "the shelf", "answer": "2"}\n'
    },
    "mistral-classifier": {
        "classifier.jsonl": '{"text": "A fine film.", "labels": {"label": "good"}, "n": 1}\n'
        '{"messages": [{"role": "user", "content": "Dull."}], "labels": {"label": ["bad", "short"]}}\n'
    },
    "natural-instructions": {
        "task001.json": '{"Categories": ["Coloring"], "Definition": ["Name the color."],\n "Instances": [\n'
        '  {"id": "1-a", "input": "sky", "output": ["blue", "azure"]},\n  {"id": "1-b", "input": "grass", "output":'
        ' ["green"]}]}\n'
    },
    "flan": {"flan.jsonl": '{"inputs": "sst2 sentence: loud fun", "targets": "positive", "task": "sst2"}\n'},
    "p3": {
        "p3.jsonl": '{"inputs": [3, 1], "targets": [4, 1], "inputs_pretokenized": "Is it good?\\nloud fun",'
        ' "targets_pretokenized": "yes", "answer_choices": ["no", "yes"]}\n'
    },
}

# Layouts that the files above do not show.
MORE: dict[str, list[object]] = {
    "instruction-response": [
        {"role_1": "Chemist", "message_1": "Explain it.", "message_2": "So.", "topic": "x"},
        {"message_1": "And this?", "message_2": "Thus."},
    ],
    "lmflow": [
        {"type": "text2text", "instances": [{"input": "a", "output": "b"}]},
        {"type": "text_only", "instances": [{"text": "c"}, {"text": "d", "n": 1}]},
    ],
    "gemini": [{"messages": [{"role": "user", "content": "a"}, {"role": "model", "content": "b"}]}],
    "oasst": [
        {"message_id": "t", "parent_id": None, "text": "a", "role": "prompter"},
        {"message_id": "u", "parent_id": "t", "text": "b", "role": "assistant"},
    ],
    "preference": [{"chosen": "The sky is blue.", "rejected": "The sky is green."}],
    "orca-pairs": [{"question": "q?", "response_j": "a", "response_k": "b"}],
    "swift-preference": [{"query": "q", "response": "a", "rejected_response": "b"}],
    "alpaca-kto": [{"instruction": "q", "input": "", "output": "a", "label": True}],
    "trl-preference": [
        {
            "prompt": "q",
            "chosen": [{"role": "assistant", "content": "a"}],
            "rejected": [{"role": "assistant", "content": "b"}],
        }
    ],
    "bfcl": [
        {
            "question": [[{"role": "user", "content": "q"}]],
            "ground_truth": [{"f": {"a": [{"b": [1, 2]}], "c": [[]]}}, {"g": {}}],
        }
    ],
    "piqa": [{"goal": "g", "sol1": "a", "sol2": "b", "label": 1}, {"goal": "g", "sol1": "a", "sol2": "b", "label": -1}],
    "winogrande": [
        {
            "context_options": ["I saw the dog and the dog", "I saw the dog and the dog house"],
            "continuation": ".",
            "gold": 1,
        }
    ],
    "mistral-classifier": [
        {"text": "a", "labels": {"mood": "good", "topic": ["x", "y"]}},
        {"text": "b", "labels": {"topic": []}},
    ],
    "kto-messages": [
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": False}
    ],
}

words = st.text(min_size=1, max_size=20).filter(str.strip)
said = st.text(max_size=9)
extras = st.none() | st.dictionaries(st.sampled_from(["idx", "note"]), st.integers(-99, 99) | words, min_size=1).map(
    lambda value: msgspec.json.encode(value).decode()
)
arguments = st.dictionaries(words, words | st.integers(-9, 9), max_size=2).map(
    lambda value: msgspec.json.encode(value).decode()
)
schemas = st.lists(st.fixed_dictionaries({"name": words}), min_size=1, max_size=2)
tools = st.none() | schemas.map(
    lambda value: msgspec.json.encode([{"type": "function", "function": one} for one in value]).decode()
)
bare_tools = st.none() | schemas.map(lambda value: msgspec.json.encode(value).decode())


def calls(
    ids: st.SearchStrategy[str | None], names: st.SearchStrategy[str] = words, *, n_calls: int = 2
) -> st.SearchStrategy[str]:
    """One call of a tool or more, as a message holds them."""

    def written(found: list[tuple[str | None, str, str]]) -> str:
        heads = [{} if name is None else {"id": name} for name, _, _ in found]
        functions = [{"name": name, "arguments": text} for _, name, text in found]
        both = zip(heads, functions, strict=True)
        return msgspec.json.encode([{**head, "type": "function", "function": one} for head, one in both]).decode()

    return st.lists(st.tuples(ids, names, arguments), min_size=1, max_size=n_calls).map(written)


def message(role: str, content: st.SearchStrategy[str] = said) -> st.SearchStrategy[Message]:
    """A message that only says something."""
    return st.builds(Message, st.just(role), content)


@st.composite
def in_turn(
    draw: st.DrawFn, content: st.SearchStrategy[str] = said, *, has_system: bool | None = None, has_extra: bool = True
) -> Conversation:
    """A system text or none, then user and assistant in turn, the assistant last."""
    n_pairs = draw(st.integers(1, 3))
    turns = [draw(message(role, content)) for _ in range(n_pairs) for role in ("user", "assistant")]
    with_system = draw(st.booleans()) if has_system is None else has_system
    system = [draw(message("system", words))] if with_system else []
    return Conversation(messages=(*system, *turns), extra=draw(extras) if has_extra else None)


gemini_messages = st.one_of(
    message("user"),
    st.builds(Message, st.just("assistant"), said, thinking=st.none() | said, extra=extras),
    st.builds(Message, st.just("assistant"), said, tool_calls=calls(st.none() | words)),
    st.builds(Message, st.just("tool"), said | arguments, name=words, tool_call_id=st.none() | words),
)


@st.composite
def gemini(draw: st.DrawFn) -> Conversation:
    """Messages in any order behind a system text or none, with calls and answers of tools."""
    system = draw(st.lists(message("system", words), max_size=1))
    body = draw(st.lists(gemini_messages, min_size=1, max_size=5))
    return Conversation(messages=(*system, *body), tools=draw(tools), extra=draw(extras))


@st.composite
def mistral(draw: st.DrawFn) -> Conversation:
    """A call of a tool with an id of nine characters, its answer, and a last word with a weight or none."""
    nine = draw(st.from_regex("[a-zA-Z0-9]{9}", fullmatch=True))
    called = Message("assistant", "", tool_calls=draw(calls(st.just(nine))))
    last = Message("assistant", draw(said), weight=draw(st.sampled_from([None, 0.0, 1.0])))
    answered = Message("tool", draw(said), tool_call_id=nine)
    return Conversation(messages=(draw(message("user")), called, answered, last), tools=draw(tools), extra=draw(extras))


@st.composite
def requests(draw: st.DrawFn) -> Conversation:
    """A request, perhaps with calls that answer it."""
    answer = draw(st.none() | calls(st.none()))
    answers = [Message("assistant", "", tool_calls=answer)] if answer else []
    messages = (draw(message("user", words)), *answers)
    return Conversation(messages=messages, tools=draw(bare_tools), extra=draw(extras))


plain_words = st.text("abcdefghij .,?!äß", min_size=1, max_size=20).map(str.strip).filter(bool)


@st.composite
def glaive(draw: st.DrawFn) -> Conversation:
    """A system text, a request, a call with its answer, and what is said of it."""
    name = st.text("abc_", min_size=1, max_size=5)
    called = Message("assistant", draw(st.just("") | plain_words), tool_calls=draw(calls(st.none(), name, n_calls=1)))
    lead = (draw(message("system", plain_words)), draw(message("user", plain_words)))
    answered = (called, draw(message("tool", plain_words)))
    last = draw(message("assistant", plain_words))
    body = draw(st.sampled_from([(last,), (*answered, last)]))
    return Conversation(messages=(*lead, *body), tools=draw(bare_tools), extra=draw(extras))


@st.composite
def oasst(draw: st.DrawFn) -> Conversation:
    """A way down a tree whose messages have their ids."""
    ids = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    parents: list[dict[str, str]] = [{}, *({"parent_id": name} for name in ids)]
    asides = [
        msgspec.json.encode({"message_id": name, **parent}).decode() for name, parent in zip(ids, parents, strict=False)
    ]
    roles = [("user", "assistant")[place % 2] for place in range(len(ids))]
    messages = [Message(role, draw(said), extra=aside) for role, aside in zip(roles, asides, strict=True)]
    return Conversation(messages=tuple(messages), extra=draw(extras))


@st.composite
def preferences(
    draw: st.DrawFn,
    *,
    prompt: st.SearchStrategy[tuple[Message, ...]],
    answer: st.SearchStrategy[Message],
    n_sides: int = 2,
    has_tools: bool = False,
) -> Preference:
    """A prompt with two answers that differ, or with one that is judged."""
    first, second = draw(st.lists(answer, min_size=2, max_size=2, unique=True))
    sides = [(first,), (second,)] if n_sides == 2 else draw(st.sampled_from([[(first,), ()], [(), (first,)]]))
    return Preference(
        prompt=draw(prompt),
        chosen=sides[0],
        rejected=sides[1],
        tools=draw(tools) if has_tools else None,
        extra=draw(extras),
    )


@st.composite
def two_choices(draw: st.DrawFn, asked: st.SearchStrategy[str]) -> Question:
    """A question with two choices, answered by one of them or not at all."""
    both = tuple(draw(st.lists(words, min_size=2, max_size=2, unique=True)))
    answers = draw(st.sampled_from([(), *((text,) for text in both)]))
    return Question(question=draw(asked), choices=both, answers=answers, extra=draw(extras))


numbered = st.dictionaries(st.sampled_from(["category"]), words).map(
    lambda value: msgspec.json.encode({"question_id": 1, **value}).decode()
)
questions = st.one_of(
    in_turn(words, has_system=False).map(lambda record: record.messages),
    st.lists(message("user", words), min_size=1, max_size=3).map(tuple),
)


@st.composite
def answerable(draw: st.DrawFn) -> Conversation:
    """Requests, of which the last is perhaps answered by calls."""
    before = draw(st.lists(message("user") | message("system"), max_size=3))
    called = draw(st.none() | calls(st.none()))
    answers = [Message("assistant", "", tool_calls=called)] if called else []
    messages = (*before, Message("user", "last"), *answers)
    return Conversation(messages=messages, tools=draw(bare_tools), extra=draw(extras))


texts = message("assistant", words)
turning = st.one_of(
    texts,
    st.builds(Message, st.just("assistant"), said, tool_calls=calls(words), weight=st.sampled_from([None, 0.0, 1.0])),
)
asked = in_turn(words).map(lambda record: (*record.messages[:-1],))
short = st.one_of(st.tuples(message("user", words)), st.tuples(message("system", words), message("user", words)))
valued = st.one_of(texts, st.builds(Message, st.just("assistant"), st.just(""), tool_calls=calls(st.none())))
HELD: dict[str, st.SearchStrategy[Record]] = {
    "gemini": gemini(),
    "bedrock": in_turn(has_extra=False),
    "anthropic": in_turn(words, has_system=True, has_extra=False),
    "cohere": in_turn(),
    "mistral": mistral(),
    "xlam": requests(),
    "bfcl": answerable(),
    "mt-bench": st.builds(Conversation, messages=questions, extra=numbered),
    "blimp": preferences(prompt=st.just(()), answer=texts),
    "ultrafeedback": preferences(prompt=st.tuples(message("user", words)), answer=texts),
    "piqa": two_choices(words),
    "winogrande": two_choices(words.map(lambda text: f"{text.replace('_', '')}_.")),
    "mistral-classifier": st.builds(
        Labelled,
        inputs=st.fixed_dictionaries({"text": words}),
        labels=st.lists(words.map(str.strip), max_size=2, unique=True).map(tuple),
        extra=extras,
    ),
    "glaive": glaive(),
    "oasst": oasst(),
    "preference": preferences(
        prompt=st.just(()) | st.tuples(message("user", plain_words)), answer=texts, has_tools=True
    ),
    "trl-preference": preferences(prompt=st.just(()) | asked, answer=turning, has_tools=True),
    "ranking": preferences(prompt=asked, answer=texts),
    "argilla": preferences(prompt=short, answer=texts),
    "orca-pairs": preferences(prompt=short, answer=texts),
    "sharegpt-ranking": preferences(prompt=asked, answer=valued, has_tools=True),
    "openai-preference": preferences(prompt=asked, answer=turning, has_tools=True),
    "swift-preference": preferences(prompt=asked, answer=turning, has_tools=True),
    "axolotl-preference": preferences(prompt=asked, answer=turning, has_tools=True),
    "chosen-messages": preferences(prompt=asked, answer=turning, has_tools=True),
    "hh-rlhf": preferences(
        prompt=in_turn(plain_words, has_system=False).map(lambda record: record.messages[:-1]),
        answer=message("assistant"),
    ),
    "embedding": st.builds(Pair, source=words, targets=st.tuples(words), extra=extras)
    | preferences(prompt=st.tuples(message("user", words)), answer=texts),
    "swift-classification": st.builds(
        Labelled,
        inputs=st.fixed_dictionaries({"text": words}),
        labels=st.lists(st.integers(0, 99).map(str) | st.just("0.5"), min_size=1, max_size=2, unique=True).map(tuple),
        extra=extras,
    ),
    "instruction-response": in_turn(words, has_system=False).map(
        lambda record: msgspec.structs.replace(record, messages=record.messages[:2])
    ),
    "prompt-only": st.builds(Conversation, messages=st.tuples(message("user", words)), tools=tools, extra=extras),
    "trl-prompt-only": in_turn().map(lambda record: msgspec.structs.replace(record, messages=record.messages[:-1])),
    "lmflow": st.one_of(
        st.builds(Pair, source=words, targets=st.tuples(words), extra=extras),
        st.builds(Plain, text=words, extra=extras),
        in_turn(),
    ),
    "nectar": preferences(prompt=st.tuples(message("user", plain_words)), answer=texts),
    "shp": preferences(prompt=st.tuples(message("user", words)), answer=texts),
    "kto": preferences(prompt=st.just(()) | st.tuples(message("user", words)), answer=texts, n_sides=1, has_tools=True),
    "trl-kto": preferences(prompt=st.just(()) | asked, answer=turning, n_sides=1, has_tools=True),
    "alpaca-kto": preferences(prompt=asked, answer=texts, n_sides=1),
    "kto-messages": preferences(prompt=asked, answer=turning, n_sides=1, has_tools=True),
    "natural-instructions": in_turn(words, has_system=True).map(
        lambda record: msgspec.structs.replace(record, messages=record.messages[:3])
    ),
    "flan": st.builds(Pair, source=words, targets=st.lists(words, max_size=1).map(tuple), extra=extras),
    "p3": st.builds(Pair, source=words, targets=st.lists(words, max_size=1).map(tuple), extra=extras),
}
