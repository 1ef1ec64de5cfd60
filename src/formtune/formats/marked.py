"""An example as a line of text in which a person sees what is learned."""

from formtune.examples import Example, Segment, Turn

CONTROLS = {"separator": "⟨separator⟩", "stop": "⟨stop⟩"}


def marked(example: Example) -> str:
    """Write an example with its learned text between ``«`` and ``»``.

    Controls stand in ``⟨ ⟩``; a mask slot shows what fills it. Turns are shown before the model's own template.

    >>> marked(Example("1", "words", (Segment("Fine. It was", "content"), Segment(" good", "target", 1.0))))
    'Fine. It was« good»'
    """
    parts = [_turn(turn) for turn in example.turns] or [_segment(segment) for segment in example.segments]
    return "".join(parts).replace("»«", "")


def _segment(segment: Segment) -> str:
    if segment.control == "mask":
        return f"⟨mask:{_learned(segment.text, segment.weight)}⟩"
    text = segment.text if segment.control is None else CONTROLS.get(segment.control, segment.text)
    return _learned(text, segment.weight)


def _turn(turn: Turn) -> str:
    calls = f"⟨tool calls: {turn.tool_calls}⟩" if turn.tool_calls else ""
    return f"⟨{turn.role}⟩\n{_learned(turn.content + calls + CONTROLS['stop'], turn.weight)}\n"


def _learned(text: str, weight: float) -> str:
    return f"«{text}»" if weight > 0 and text else text
