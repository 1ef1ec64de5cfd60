"""Which call a tool's answer belongs to, where the data does not say it: some layouts name the function in every answer.

An answer with an id belongs to the call of that id. The others belong to the calls of the last message with any, in
order, if they are as many as the calls that no id answers; with fewer or more of them nobody can say which is which.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from formtune.dialects.calls import Call, calls_of
from formtune.records import Message


def with_names(messages: Sequence[Message]) -> list[Message]:
    """Give the answers of tools the names of the functions that were called, where they have none and it is sure."""
    return [
        msgspec.structs.replace(message, name=call.name) if call and message.name is None else message
        for message, call in zip(messages, calls_answered(messages), strict=True)
    ]


def calls_answered(messages: Sequence[Message]) -> list[Call | None]:
    """Find the call that each message answers; None where it is no answer, or nobody can say to which call."""
    found: list[Call | None] = [None] * len(messages)
    by_id: dict[str, Call] = {}
    for calls, places in _exchanges(messages):
        by_id |= _by_id(calls)
        for place in places:
            found[place] = by_id.get(messages[place].tool_call_id or "")
        answered = {messages[place].tool_call_id for place in places if found[place]}
        waiting = [call for call in calls if call.id is None or call.id not in answered]
        late = [place for place in places if not found[place]]
        pairs = list(zip(late, waiting, strict=False))
        if len(late) == len(waiting) and all(_can_answer(messages[place], call) for place, call in pairs):
            for place, call in pairs:
                found[place] = call
    return found


def _exchanges(messages: Sequence[Message]) -> Iterator[tuple[list[Call], list[int]]]:
    """Give the calls of each message with any, and the places of the answers before the next such message."""
    calls: list[Call] = []
    places: list[int] = []
    for place, message in enumerate(messages):
        if message.tool_calls:
            yield calls, places
            calls, places = calls_of(message.tool_calls) or [], []
        elif message.role == "tool":
            places.append(place)
    yield calls, places


def _by_id(calls: Sequence[Call]) -> dict[str, Call]:
    """Key calls by their ids; an id that stands twice tells nothing."""
    counts = Counter(call.id for call in calls)
    return {call.id: call for call in calls if call.id is not None and counts[call.id] == 1}


def _can_answer(message: Message, call: Call) -> bool:
    """Say whether nothing that an answer says of itself speaks against its being the answer to a call."""
    return message.name in (None, call.name) and (message.tool_call_id is None or call.id is None)
