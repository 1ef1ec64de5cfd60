"""Chat: turns in the model's own chat template.

**What it is.** A user turn asks (instruction, choices, then the text, so that a text too long loses its own end and
not the choices), the assistant turn answers. The model's template lays the turns out, so that training text and
serving text are the same. Every assistant turn of a conversation is learned, unless the data gives it another weight
(0 unlearns it). So may stretches of it have weights of their own; its end token then keeps the turn's. Reasoning is
learned with its turn where the template shows it, which for earlier turns many do not.

**Loss.** L = -sum_{turns k} w_k sum_t log p(y_kt | all turns before k, y_k,<t), over each learned turn and the token
that ends it.

**Wins** on models that were tuned as assistants, and where the result is to be served as one. **Loses** on base
models, which have no template, and on short labelled texts, where the template can be longer than the record. Tuning
in the template that guards a model can wear the guard down (Lyu et al. 2024).

**Source.** Ouyang et al. 2022 (InstructGPT), section 3.5, step 1.
"""

from formtune.errors import DataError
from formtune.examples import Cell, Example, Format, Shape, Task, Turn
from formtune.formats.dialogue import answer_weight, is_open, last_answer
from formtune.formats.layout import (
    NO_DECODER,
    PREFERENCE,
    Goal,
    choices,
    content,
    expect,
    flat_text,
    goal,
    label_list,
    named_inputs,
    scaffold,
)
from formtune.formats.wording import pair_instruction, wording
from formtune.records import Conversation, Labelled, Message, Pair, Question, Record

DECODER: dict[Shape, str | None] = {
    "encoder": NO_DECODER,
    "decoder": None,
    "encoder-decoder": "Encoder-decoder models come without a chat template.",
}


def labelled(record: Record, task: Task, _shape: Shape) -> Example:
    """Ask for the label in a user turn, learn the label word as the assistant's."""
    record = expect(record, Labelled)
    request = [scaffold(task.instruction + "\n"), label_list(task), scaffold("\n\n"), *named_inputs(record, task)]
    return _exchange(record.id, flat_text(request), goal(record, task))


def question(record: Record, task: Task, _shape: Shape) -> Example:
    """Ask the question in a user turn, learn the answer as the assistant's."""
    record = expect(record, Question)
    words = wording(task)
    asked = [scaffold(f"{task.instruction}\n\n{words.question}{words.colon}"), content(record.question)]
    context = [scaffold(f"\n\n{words.context}{words.colon}"), content(record.context)] if record.context else []
    return _exchange(record.id, flat_text([*asked, *choices(record, task), *context]), goal(record, task))


def pair(record: Record, task: Task, _shape: Shape) -> Example:
    """Ask for the target in a user turn, learn it as the assistant's."""
    record = expect(record, Pair)
    return _exchange(record.id, f"{pair_instruction(record, task)}\n\n{record.source}", goal(record, task))


def _exchange(record_id: str, request: str, goal: Goal) -> Example:
    answer = () if goal.text is None else (Turn("assistant", goal.text, weight=1.0),)
    return Example(
        id=record_id,
        output="words" if goal.words else "text",
        turns=(Turn("user", request), *answer),
        candidates=goal.words,
        gold=goal.gold,
        references=goal.references,
    )


def conversation(record: Record, task: Task, _shape: Shape) -> Example:
    """Pass the turns on as they are; assistant turns are learned.

    An answer that is there says itself whether it reasons; one that is asked for is to reason where the trained ones do.
    """
    record = expect(record, Conversation)
    before, last = last_answer(record)
    messages = before if is_open(last) else (*before, last)
    return Example(
        id=record.id,
        output="text",
        turns=tuple(_turn(message, record) for message in messages),
        tools=record.tools,
        reasons=task.reasons if is_open(last) else bool(last.thinking),
        references=(last.content,) if last.content else (),
    )


def _turn(message: Message, record: Conversation) -> Turn:
    is_answer = message.role == "assistant"
    weight = (
        answer_weight(message) if is_answer else message.weight or max((s.weight for s in message.spans), default=0.0)
    )
    if weight and not is_answer:
        raise DataError(
            f"A message from {message.role!r} has the loss weight {weight}, and only the assistant's are learned.",
            "Remove the weight, or set it to 0.",
            at=record.origin,
        )
    return Turn(
        role=message.role,
        content=message.content,
        weight=weight,
        tool_calls=message.tool_calls,
        name=message.name,
        tool_call_id=message.tool_call_id,
        thinking=message.thinking or None,
        spans=message.spans if is_answer else (),
    )


FORMAT = Format(
    name="chat",
    summary="Turns in the model's own chat template; the assistant's turns are learned.",
    formula="L = -sum_k w_k sum_t log p(y_kt | turns before k, y_k,<t), over learned turns and their end tokens",
    wins="Models tuned as assistants, and results that are served as one.",
    loses="Base models, which have no template, and short texts, where the template is longer than the record.",
    source="Ouyang et al. 2022 (InstructGPT), section 3.5",
    adds=("label names", "task description"),
    cells={
        "labelled": Cell(labelled, DECODER),
        "question": Cell(question, DECODER),
        "pair": Cell(pair, DECODER),
        "conversation": Cell(conversation, DECODER),
        "plain": "Plain text has no speakers.",
        "preference": PREFERENCE,
    },
)
