"""What conversations of one shape look like, and how contents and loss weights are put into it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice, pairwise
from operator import itemgetter

from formtune.errors import DataError
from formtune.examples import Control, Part, Segment, Turn, shares
from formtune.marking import Chunk, Chunks, Run


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of the rendered text, and the turn whose answer it belongs to; ``control`` as in :class:`Segment`."""

    text: str = ""
    control: Control | None = None
    chunk: Chunk | None = None
    answer: int | None = None

    def said(self, chunks: Sequence[Chunks]) -> str:
        """Give its characters, from the chunks of every turn."""
        return self.chunk.text(chunks) if self.chunk else self.text


@dataclass(frozen=True, slots=True)
class Answer:
    """Where an answer stands in a marked text; ``stops`` tells whether a control token ends it."""

    turn: int
    start: int
    end: int
    stops: bool


@dataclass(slots=True)
class Layout:
    """What conversations of one shape look like.

    Attributes:
        pieces: in order.
        unlearnable: turns whose answer does not begin as their generation prompt does.
        trusted: False once a conversation of this shape turned out to be rendered otherwise.
    """

    pieces: tuple[Piece, ...]
    unlearnable: frozenset[int]
    trusted: bool = True

    def text(self, chunks: Sequence[Chunks]) -> str:
        """Write the conversation that has these chunks, without any stop token of ours."""
        return "".join(piece.said(chunks) for piece in self.pieces)

    def fill(self, turns: Sequence[Turn], chunks: Sequence[Chunks]) -> Iterator[Segment]:
        """Put contents and weights into it.

        Raises:
            DataError: where a turn that is learned begins otherwise than it will be asked for, or where a content whose
                stretches have weights of their own is rewritten.
        """
        if any(turns[n].is_learned for n in self.unlearnable):
            raise DataError(
                "The chat template begins an answer otherwise than its own generation prompt does.",
                "For answers that hold their reasoning in the text set the template option enable_thinking to true, or "
                "give the reasoning in a field of its own.",
            )
        last = max((n for n, turn in enumerate(turns) if turn.role != "assistant"), default=0)
        weights = {
            n: iter(_weights(turn, [piece for piece in self.pieces if piece.answer == n], chunks))
            for n, turn in enumerate(turns)
            if turn.spans and turn.is_learned
        }
        for piece in self.pieces:
            chunk, control = piece.chunk, piece.control
            text = chunk.text(chunks) if chunk else piece.text
            weight = 0.0 if piece.answer is None else turns[piece.answer].weight
            if not text and control != "boundary" and not (control == "stop" and weight > 0):
                continue
            part: Part = "target" if weight > 0 else "scaffold"
            if weight <= 0 and chunk and turns[chunk.turn].role != "system":
                part = "content"
            # Only the content of the last message is cut from its end.
            segment = Segment(text, part, weight, control, "end" if chunk and chunk.turn == last else "start")
            if text and piece.answer in weights:
                yield from _cut(segment, weights[piece.answer])
            else:
                yield segment


def _cut(segment: Segment, weights: Iterator[float]) -> Iterator[Segment]:
    """Part a segment where the weight of its characters changes."""
    weighed = zip(segment.text, islice(weights, len(segment.text)), strict=True)
    for weight, characters in groupby(weighed, key=itemgetter(1)):
        yield replace(segment, text="".join(character for character, _ in characters), weight=weight)


def _weights(turn: Turn, pieces: Sequence[Piece], chunks: Sequence[Chunks]) -> list[float]:
    """Say what each character of an answer weighs: those of the content by its stretches, the others as the turn does.

    Raises:
        DataError: where the content does not stand in the answer as it is, but for outer white space.
    """
    texts = [piece.said(chunks) for piece in pieces]
    text = "".join(texts)
    bare = turn.content.strip()
    n_before = turn.content.find(bare)
    marked = [n for n, piece in enumerate(pieces) if piece.chunk and not piece.chunk.is_thinking]
    place = len("".join(texts[: marked[0]])) - turn.content.find(texts[marked[0]]) if marked else 0
    start = text.find(bare, max(place, 0))
    if start < 0:
        raise DataError(
            "The chat template changes a content that gives loss weights to stretches of its text.",
            "Take the weights of the stretches out, or use another model.",
        )
    own = [share * turn.weight for stretch, share in shares(turn.content, turn.spans) for _ in stretch]
    if start >= n_before and text.startswith(turn.content, start - n_before):
        start -= n_before
    else:
        own = own[n_before : n_before + len(bare)]
    return [*[turn.weight] * start, *own, *[turn.weight] * (len(text) - start - len(own))]


def pieces_of(runs: Sequence[Run], answers: Sequence[Answer], *, n_turns: int) -> Iterator[Piece]:
    """Cut runs at the borders of answers, and say of each piece whose answer it is."""
    cuts = sorted({place for answer in answers for place in (answer.start, answer.end)})
    # Only the conversation's last turn gets a stop token of ours: elsewhere the template's text goes on.
    unended = {a.end: a.turn for a in answers if not a.stops and a.turn == n_turns - 1}
    at_end = [Run(runs[-1].end, runs[-1].end)] if runs else []
    for run in [*chain.from_iterable(_parts(run, cuts) for run in runs), *at_end]:
        if run.start in unended:
            yield Piece(control="stop", answer=unended[run.start])
        if run.start in cuts:
            yield Piece(control="boundary")
        answer = next((a.turn for a in answers if a.start <= run.start < a.end), None)
        yield Piece(run.text, "token" if run.is_control else None, run.chunk, answer)


def _parts(run: Run, cuts: Sequence[int]) -> Iterator[Run]:
    """Part plain text at the cuts inside it; other runs have none."""
    places = [run.start, *(cut for cut in cuts if run.start < cut < run.end), run.end]
    if len(places) == 2:
        yield run
        return
    for start, end in pairwise(places):
        yield Run(start, end, run.text[start - run.start : end - run.start])
