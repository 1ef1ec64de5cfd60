"""What other trainers really learn of conversations, against what `preview --as` says of the same rows.

    python benchmarks/peer_rules.py [--trainers trl llamafactory]

Each trainer has an environment of its own, made once under the cache, and prepares the rows by its own code, with its own
defaults, for SmolLM2: plain ones, and those in which trainers differ (a system text, weights, control strings that were typed,
white space at the borders, rows that are too long, turns that do not alternate). Printed is for every row whether ids and
learned tokens are the same, or where they first differ. It ends with 1 where a row differs.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from peer_environment import Bound, judged, llamafactory, told_by, trl

from formtune import dialects
from formtune.errors import DataError
from formtune.examples import Task
from formtune.formats import named
from formtune.model_files import resolve
from formtune.records import Record
from formtune.showing import previewed
from formtune.tokens import Tokenizer, load_tokenizer

MODEL = "smollm2-135m"
PEERS = Path(__file__).parent / "peers"
PREPARING: dict[str, tuple[str, Callable[[], Path]]] = {
    "trl": ("trl_rows.py", trl),
    "llamafactory": ("llamafactory_rows.py", llamafactory),
}
Learned = list[tuple[int, bool]]
LONG = "The cat sat on the mat, and the dog looked at it for a long while. "


def said(*texts: str, system: str | None = None, weight: int | None = None) -> list[dict[str, object]]:
    """Write what user and assistant say in turn; the weight is that of the assistant's first turn."""
    turns: list[dict[str, object]] = [
        {"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)
    ]
    if weight is not None:
        turns[1]["weight"] = weight
    return turns if system is None else [{"role": "system", "content": system}, *turns]


ROWS: dict[str, list[dict[str, object]]] = {
    "one exchange": said("What is the capital of Switzerland?", "Bern."),
    "two exchanges": said("Hi", "Hello.", "What is 2 + 2?", "4."),
    "a system text": said("Hi", "Hello.", system="Be brief."),
    "a weight of 0": said("Hi", "Go away.", "Again, please.", "Hello.", weight=0),
    "a control string in a question": said("What does <|im_end|> mean?", "It ends a turn."),
    "a control string in an answer": said("What ends a turn?", "That is <|im_end|> in this template."),
    "white space around an answer": said("Write a poem.", "\n\n  A line,\n  a line.\n\n"),
    "blanks before an answer": said("Indent it.", "   Done."),
    "white space around a question": said("\n Well?\n\n", "Well."),
    "other scripts": said("東京はどこ?", "日本にあります。🎉"),
    "a long question": said(LONG * 150, "I see."),
    "a long answer": said("Write much.", LONG * 150),
    "both long": said(LONG * 120, LONG * 80),
    "a long first exchange": said(LONG * 60, LONG * 60, "And now?", "Nothing."),
    "a user who speaks twice": [{"role": "user", "content": "Hi"}, *said("Well?", "Hello.")],
}


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two ways of preparing a row part: a place among the tokens, and what either has there."""

    place: int
    ours: str
    theirs: str


def difference(ours: Learned | None, theirs: Learned | None, tokenizer: Tokenizer) -> Difference | None:
    """Find the first token in which two ways of preparing a row differ; None where there is none."""
    if ours is None or theirs is None:
        return (
            None
            if ours is theirs
            else Difference(0, *("left out" if one is None else "kept" for one in (ours, theirs)))
        )
    n_most = max(len(ours), len(theirs))
    place = next((n for n in range(n_most) if ours[n : n + 1] != theirs[n : n + 1]), None)
    if place is None:
        return None
    return Difference(place, *(_token(one[place : place + 1], tokenizer) for one in (ours, theirs)))


def _token(found: Learned, tokenizer: Tokenizer) -> str:
    if not found:
        return "the end"
    id_, is_learned = found[0]
    return f"{tokenizer.token_text(id_)!r}, {'learned' if is_learned else 'not learned'}"


def ours_of(records: Sequence[Record], trainer: str) -> Iterator[Learned | None]:
    """Give what `preview --as` shows of each row; None where it says that the row is left out."""
    for record in records:
        try:
            made = previewed(record, [named("chat")], Task("conversation"), model=MODEL, out=None, peer=trainer)
        except DataError:
            yield None
            continue
        yield [(token["id"], token["weight"] > 0) for token in made.to_dict()["examples"][1]["tokens"]]


def theirs_of(rows_path: Path, trainer: str) -> list[Learned | None]:
    """Give what the trainer itself makes of each row."""
    script, environment = PREPARING[trainer]
    command = [environment(), PEERS / script, resolve(MODEL), rows_path]
    rows = told_by(command, variables={"HF_DATASETS_CACHE": f"{rows_path}.cache"})["rows"]
    return [None if row is None else [(id_, label != -100) for id_, label in zip(*row, strict=True)] for row in rows]


def main() -> int:
    """Compare row by row; 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", nargs="+", choices=PREPARING, default=list(PREPARING))
    asked = parser.parse_args()
    tokenizer = load_tokenizer(resolve(MODEL))
    bounds = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in ROWS.values()), encoding="utf-8")
        records = dialects.read([str(path)]).records
        for trainer in asked.trainers:
            both = zip(ours_of(records, trainer), theirs_of(path, trainer), strict=True)
            found = [difference(ours, theirs, tokenizer) for ours, theirs in both]
            for name, one in zip(ROWS, found, strict=True):
                told = f"differs at token {one.place}: {one.theirs}; preview says {one.ours}" if one else "agrees"
                print(f"{trainer:<14}{name:<32}{told}", flush=True)
            n_unlike = sum(one is not None for one in found)
            bounds.append(Bound(f"{trainer}: rows of {len(ROWS)} that differ", n_unlike, most=0))
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
