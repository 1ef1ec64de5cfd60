"""Questions of the Berkeley Function Calling Leaderboard: turns of messages, and the functions that may be called.

What is right stands in a file beside, under the question's id: for each argument the values that count, the empty text
where it may be left out. Given together, both are read as one conversation, in which every argument has the first of its
values; all of them stay aside. Without that file these are conversations to be answered. Patil et al. 2025.
"""

from collections.abc import Iterator, Sequence

import msgspec

from formtune.dialects.calls import Call, calls_of, calls_text, unwrapped
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, with_rest
from formtune.dialects.conversations import as_row, is_messages, json_text, messages_in
from formtune.errors import DataError
from formtune.records import Conversation, LeftOut, Message, Record
from formtune.sources import Row, text_of, value_of

NAME = "bfcl"
SUMMARY = (
    "Questions of the Berkeley Function Calling Leaderboard, with the functions and, from a file beside, the answers."
)
NEEDS = "'question' as a list of lists of messages; the file with 'ground_truth' beside it"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"question", "function", "ground_truth"})

_TRUTH = "ground_truth"
_OMITTED = ""  # among the values that count: the argument may be left out


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for questions that are turns of messages; answers beside them are no other rows.

    Raises:
        DataError: when there are answers alone.
    """
    asked = [value for value in objects(rows) if not _is_answer(value)]
    if rows and not asked and len(objects(rows)) == len(rows):
        raise DataError(
            "The file holds answers without their questions.",
            "Give the file of the questions too.",
            at=rows[0].origin.file,
        )
    fitting = sum(_are_turns(value.get("question")) for value in asked)
    if fitting * 2 <= len(asked):
        return None
    beside = "; answers in a file beside" if len(asked) < len(objects(rows)) else ""
    return Evidence(1.0, f"'question' as turns of messages in {fitting} of {len(asked)} rows{beside}", columns)


def answered(rows: Sequence[Row | LeftOut]) -> list[Row | LeftOut]:
    """Give every question the answer with its id; an answer to no question is left out."""
    answers = {_id(row.value): row.value for row in rows if isinstance(row, Row) and _is_answer(row.value)}
    open_ids = {_id(row.value) for row in rows if isinstance(row, Row) and _is_open(row.value)} - {None}
    found: list[Row | LeftOut] = []
    for row in rows:
        if isinstance(row, LeftOut) or not isinstance(row.value, dict):
            found.append(row)
        elif _is_answer(row.value):
            name = _id(row.value)
            if name not in open_ids or answers[name] is not row.value:
                found.append(LeftOut("an answer without a question of its own", row.origin, detail=name))
        else:
            truth = answers.get(_id(row.value)) if _id(row.value) in open_ids else None
            beside = {_TRUTH: truth[_TRUTH]} if isinstance(truth, dict) and _is_open(row.value) else {}
            found.append(msgspec.structs.replace(row, value={**row.value, **beside}) if beside else row)
    return found


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the turns as one conversation, the functions as its tools, and the first of the right answers."""
    value = as_object(row)
    turns = value.get("question")
    if not _are_turns(turns):
        raise RowFault("a question that is not turns of messages", type(turns).__name__)
    assert isinstance(turns, list)
    calls = _calls(value[_TRUTH]) if value.get(_TRUTH) is not None else []
    answer = [Message("assistant", "", tool_calls=calls_text(calls))] if calls else []
    is_whole = bool(calls) and _truth(calls) == value[_TRUTH]
    yield Conversation(
        messages=(*messages_in(part for turn in turns for part in turn), *answer),
        tools=json_text(value.get("function"), "functions"),
        origin=row.origin,
        extra=rest(value, {"question", "function", *((_TRUTH,) if is_whole else ())}),
    )


def write(record: Record) -> Object | None:
    """Write a turn for each user message, and calls that answer the last; None where anything else is answered."""
    if not isinstance(record, Conversation) or not record.messages:
        return None
    last = record.messages[-1]
    is_answered = last.role == "assistant" and not last.content and not last.parts and bool(last.tool_calls)
    asked = record.messages[:-1] if is_answered else record.messages
    if not asked or asked[-1].role != "user" or not {one.role for one in asked} <= {"system", "user"}:
        return None
    aside = value_of(record.extra).get(_TRUTH) if record.extra else None
    truth = _written_truth(last.tool_calls, aside) if is_answered else {}
    if truth is None:
        return None
    tools = unwrapped(record.tools)
    functions = {"function": msgspec.Raw(tools.encode())} if tools else {}
    reserved = (_TRUTH,) if aside and not is_answered else ()  # it would be read as the answer
    return with_rest({"question": _turns(asked), **functions, **truth}, record.extra, reserved)


def _written_truth(tool_calls: str | None, aside: object) -> Object | None:
    """Give the right answers as they stand aside, or else as these calls alone; None where they cannot be said so."""
    try:
        calls = [_bare(call) for call in calls_of(tool_calls) or ()]
    except msgspec.DecodeError:
        return None
    return next(({_TRUTH: truth} for truth in (aside, _truth(calls)) if calls and _means(truth, calls)), None)


def _means(truth: object, calls: Sequence[Call]) -> bool:
    try:
        return _calls(truth) == calls
    except RowFault:
        return False


def _are_turns(found: object) -> bool:
    return isinstance(found, list) and bool(found) and all(map(is_messages, found))


def _is_answer(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"id", _TRUTH}


def _is_open(value: object) -> bool:
    return isinstance(value, dict) and _TRUTH not in value


def _id(value: object) -> str | None:
    found = value.get("id") if isinstance(value, dict) else None
    return None if found is None else str(found)


def _turns(messages: Sequence[Message]) -> list[list[Object]]:
    turns: list[list[Object]] = [[]]
    for place, message in enumerate(messages, 1):
        turns[-1].append(as_row(message))
        if message.role == "user" and place < len(messages):
            turns.append([])
    return turns


def _calls(truth: object) -> list[Call]:
    """Read right answers as calls.

    Raises:
        RowFault: when they are something else, as those of several turns are.
    """
    found = truth if isinstance(truth, list) else [None]
    calls = []
    for one in found:
        match one:
            case dict() if len(one) == 1 and all(_are_options(arguments) for arguments in one.values()):
                ((name, arguments),) = one.items()
                calls.append(Call(name, text_of(_first(arguments))))
            case _:
                raise RowFault("a ground truth that is not calls with values that count", path=_TRUTH, found=truth)
    return calls


def _are_options(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(values, list) and values for values in found.values())


def _first(found: object) -> object:
    """Take the first of the values that count, of an object's keys too; what may be left out first is left out."""
    if isinstance(found, list):
        return [_first(one) for one in found]
    if not isinstance(found, dict):
        return found
    firsts = {name: values[0] if isinstance(values, list) and values else values for name, values in found.items()}
    return {name: _first(value) for name, value in firsts.items() if value != _OMITTED}


def _bare(call: Call) -> Call:
    """Give a call as reading right answers gives it: without an id, and its arguments without white space between."""
    return Call(call.name, text_of(value_of(call.arguments)))


def _truth(calls: Sequence[Call]) -> list[Object]:
    """Write calls as right answers, of which each argument has one value that counts."""
    return [{call.name: _only(value_of(call.arguments))} for call in calls]


def _only(found: object) -> object:
    if isinstance(found, list):
        return [_only(one) for one in found]
    return {name: [_only(value)] for name, value in found.items()} if isinstance(found, dict) else found
