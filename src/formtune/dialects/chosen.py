"""A prompt with a chosen and a rejected answer, as the dialects that hold them as texts or as lists of messages share them.

Without a prompt, both answers begin with it. Read too: answers that repeat the prompt (binarized UltraFeedback), a prompt
under ``messages`` (axolotl), and one that is a text of turns as in HH-RLHF.
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from formtune.dialects.columns import Columns, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import json_text
from formtune.dialects.layouts import tools_row
from formtune.dialects.preferences import Side, answer, parted, prompt_of, side
from formtune.records import Message, Preference, Record
from formtune.sources import Row

NAMES = frozenset({"prompt", "messages", "chosen", "rejected", "tools"})
_SIDES = ("prompt", "chosen", "rejected")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the prompt and both answers."""
    value = as_object(row)
    prompt, chosen, rejected = _sides(value)
    yield Preference(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, {_prompt_name(value), "chosen", "rejected", "tools"}),
    )


def row_of(record: Preference, sides: Sequence[object]) -> Object:
    """Put the three sides as they are written into a row, with the tools and what stands beside."""
    row = dict(zip(_SIDES, sides, strict=True))
    return with_rest({**row, **tools_row(record.tools)}, record.extra)


def has_messages(value: Object) -> bool:
    """Say whether one of the sides is messages, so that a trainer lays them out by a chat template."""
    return any(isinstance(value.get(name), (list, dict)) for name in (_prompt_name(value), *_SIDES))


def fits(value: Object) -> bool:
    """Say whether a row has both answers."""
    return all(isinstance(value.get(name), (str, list, dict)) for name in ("chosen", "rejected"))


def _prompt_name(value: Object) -> str:
    return "messages" if isinstance(value.get("messages"), list) and value.get("prompt") is None else "prompt"


def _sides(value: Object) -> tuple[Side, Side, Side]:
    """Give the prompt and both answers; what both answers begin with is, or belongs to, the prompt.

    Raises:
        RowFault: when an answer is empty, or no answer.
    """
    found = value.get(_prompt_name(value))
    if found is None and isinstance(value.get("chosen"), str) and isinstance(value.get("rejected"), str):
        return _parted_texts(str(value["chosen"]), str(value["rejected"]))
    prompt = prompt_of(found) if isinstance(found, str) else side(found, "user")
    chosen, rejected = answer(value.get("chosen")), answer(value.get("rejected"))
    if found is not None and chosen[0].role in ("assistant", "tool") and rejected[0].role in ("assistant", "tool"):
        return prompt, chosen, rejected
    both, *answers = parted(chosen, rejected)
    said = [message.content for message in both]
    is_repeated = all(message.content in said for message in prompt)
    return both if is_repeated else (*prompt, *both), answers[0], answers[1]


def _parted_texts(chosen: str, rejected: str) -> tuple[Side, Side, Side]:
    """Part two texts behind the last white space of what both begin with, as TRL does."""
    n_equal = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(chosen, rejected, strict=False)))
    place = max((place for place in range(n_equal) if chosen[place].isspace()), default=-1) + 1
    asked, answers = chosen[:place], (chosen[place:], rejected[place:])
    if not all(text.strip() for text in answers):
        raise RowFault("an empty answer")
    prompt = (Message("user", asked),) if asked.strip() else ()
    return prompt, (Message("assistant", answers[0]),), (Message("assistant", answers[1]),)
