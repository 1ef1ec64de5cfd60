"""Conversations whose turns are out of order, empty, or of unknown roles.

What a chat template makes of them differs from model to model: some refuse, some join turns, some lose them. Whether a
turn answers the one before it in substance is not looked at.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from formtune.checks.blanks import is_blank
from formtune.checks.finding import Context, Finding, NotChecked, Rule, counted, found
from formtune.checks.tools import calls_in
from formtune.records import Conversation, Message, Record

TWO_IN_A_ROW = Rule(
    "FT213",
    "warning",
    "Two turns of one role follow one another.",
    "Join them into one turn, or give the answer that is missing between them.",
)
UNANSWERED = Rule(
    "FT214",
    "warning",
    "A conversation ends before the assistant has answered.",
    "Add the answer, or cut the last turn; nothing is learned from it.",
)
LATE_SYSTEM = Rule(
    "FT215",
    "warning",
    "A system message stands after the beginning.",
    "Put it first; many templates refuse it anywhere else.",
)
EMPTY = Rule(
    "FT216",
    "warning",
    "A turn of the assistant is empty.",
    "Write the answer, or remove the turn; as it is, a model learns to say nothing.",
)
NO_ASSISTANT = Rule(
    "FT217",
    "error",
    "A conversation has no turn of the assistant, so there is nothing to learn.",
    "Add an answer, or remove the conversation.",
)
UNKNOWN_ROLE = Rule(
    "FT218",
    "warning",
    "A message has a role that chat templates do not know.",
    "Name it system, user, assistant or tool.",
)
LOST_RESULT = Rule(
    "FT219",
    "warning",
    "The result of a tool answers no call before it.",
    "Add the call with the same id, or remove the result.",
)
RULES = (TWO_IN_A_ROW, UNANSWERED, LATE_SYSTEM, EMPTY, NO_ASSISTANT, UNKNOWN_ROLE, LOST_RESULT)
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", "ipython", "environment"})
_SYSTEM = frozenset({"system", "developer"})
_RESULTS = frozenset({"tool", "function", "ipython"})


def find(records: Sequence[Record], _context: Context) -> Iterator[Finding]:
    """Go through the turns of every conversation."""
    talks = [record for record in records if isinstance(record, Conversation)]
    if not talks:
        raise NotChecked("no record is a conversation")
    wrong: dict[str, list[Record]] = {rule.code: [] for rule in RULES}
    for talk in talks:
        for rule in _faults(talk.messages):
            wrong[rule.code].append(talk)
    for rule in RULES:
        n = len(wrong[rule.code])
        yield from found(rule, wrong[rule.code], f"{counted(n, 'conversation')}: {_lower(rule.summary)}")


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _faults(messages: Sequence[Message]) -> Iterator[Rule]:
    """Say which rules a conversation breaks, each once."""
    roles = [message.role for message in messages]
    if "assistant" not in roles:
        yield NO_ASSISTANT
    elif roles[-1] != "assistant":
        yield UNANSWERED
    if any(a == b and a in {"user", "assistant"} for a, b in pairwise(roles)):
        yield TWO_IN_A_ROW
    if any(b in _SYSTEM and a not in _SYSTEM for a, b in pairwise(roles)):
        yield LATE_SYSTEM
    if any(m.role == "assistant" and not (m.tool_calls or m.parts) and is_blank(m.content) for m in messages):
        yield EMPTY
    if set(roles) - ROLES:
        yield UNKNOWN_ROLE
    if _has_lost_result(messages):
        yield LOST_RESULT


def _has_lost_result(messages: Sequence[Message]) -> bool:
    """Look for a result before any call, or with an id that no call has."""
    ids: set[str] = set()
    called = False
    for message in messages:
        if message.role in _RESULTS and (
            not called or (ids and message.tool_call_id and message.tool_call_id not in ids)
        ):
            return True
        if message.tool_calls:
            called = True
            ids |= {call.id for call in calls_in(message) if call.id}
        elif message.role == "assistant" and message.content.strip():
            called = called or _writes_a_call(message.content)
    return False


def _writes_a_call(text: str) -> bool:
    """Say whether a turn calls a function in its text, as data do that have no place for calls."""
    return any(mark in text for mark in ("<tool_call>", "<functioncall>", "Action:", '"arguments"', "[TOOL_CALLS]"))
