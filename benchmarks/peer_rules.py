"""What other trainers really learn of rows, against what `preview --as` says of the same rows.

    python benchmarks/peer_rules.py [--trainers trl llamafactory axolotl swift]

Each trainer has an environment of its own, made once under the cache, and prepares the rows by its own code, with its own
defaults, for SmolLM2: plain ones, and those in which trainers differ (system texts, weights under the keys of several tools,
control strings that were typed, white space at the borders, rows that are too long, turns that do not alternate or are empty);
some of them once more for a tokenizer whose end of text is not what ends a turn, and rows of the other layouts that a trainer
documents as its own. Printed is for every row whether ids and learned
tokens are the same, or where they first differ. It ends with 1 where a row differs.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peer_environment import Bound, axolotl, judged, llamafactory, swift, told_by, trl

from formtune import dialects
from formtune.errors import DataError
from formtune.formats import infer_task, named
from formtune.model_files import resolve
from formtune.showing import previewed
from formtune.tokens import Tokenizer, load_tokenizer

MODEL = "smollm2-135m"
PEERS = Path(__file__).parent / "peers"
PREPARING: dict[str, tuple[str, Callable[[], Path]]] = {
    "trl": ("trl_rows.py", trl),
    "llamafactory": ("llamafactory_rows.py", llamafactory),
    "axolotl": ("axolotl_rows.py", axolotl),
    "swift": ("swift_rows.py", swift),
}
Learned = list[tuple[int, bool]]
Messages = list[dict[str, object]]
LONG = "The cat sat on the mat, and the dog looked at it for a long while. "


def said(*texts: str, system: str | None = None, marks: Mapping[int, Mapping[str, object]] | None = None) -> Messages:
    """Write what user and assistant say in turn; marks are further keys of a turn, by its number."""
    turns: Messages = [
        {"role": ("user", "assistant")[place % 2], "content": text, **(marks or {}).get(place, {})}
        for place, text in enumerate(texts)
    ]
    return turns if system is None else [{"role": "system", "content": system}, *turns]


def two(*, first: Mapping[str, object], last: Mapping[str, object]) -> Messages:
    """Write two exchanges whose answers have further keys."""
    return said("Hi", "Go away.", "Again, please.", "Hello.", marks={1: first, 3: last})


def twice(*more: dict[str, object], first: Mapping[str, object], second: Mapping[str, object]) -> Messages:
    """Write an assistant who speaks twice, with further keys, and what is said then."""
    return [*said("Hi", "Hello.", marks={1: first}), {"role": "assistant", "content": "Well?", **second}, *more]


DETAIL = {"train_detail": [{"begin_offset": 3, "end_offset": 5, "train": True}]}
ROWS: dict[str, Messages] = {
    "one exchange": said("What is the capital of Switzerland?", "Bern."),
    "two exchanges": said("Hi", "Hello.", "What is 2 + 2?", "4."),
    "a system text": said("Hi", "Hello.", system="Be brief."),
    "a system text later": [*said("Hi", "Hello."), *said("And now?", "So.", system="Be brief.")],
    "a weight of 0": two(first={"weight": 0}, last={}),
    "a last weight of 0": two(first={}, last={"weight": 0}),
    "loss: false": two(first={"loss": False}, last={}),
    "loss: false at the end": two(first={}, last={"loss": False}),
    "loss_scale: 0": two(first={"loss_scale": 0.0}, last={}),
    "loss_scale: 0.5": two(first={"loss_scale": 0.5}, last={}),
    "train: false": two(first={"train": False}, last={}),
    "train_detail": said("6 * 7?", "So 42.", marks={1: DETAIL}),
    "a control string in a question": said("What does <|im_end|> mean?", "It ends a turn."),
    "a control string in an answer": said("What ends a turn?", "That is <|im_end|> in this template."),
    "a control string behind an answer": said("What ends a turn?", "This: <|im_end|>"),
    "the same in an earlier answer": said("What ends a turn?", "This: <|im_end|>", "Really?", "Yes."),
    "white space around an answer": said("Write a poem.", "\n\n  A line,\n  a line.\n\n"),
    "blanks before an answer": said("Indent it.", "   Done."),
    "white space around a question": said("\n Well?\n\n", "Well."),
    "an empty answer": said("Hi", "", "Again, please.", "Hello."),
    "a blank answer": said("Hi", " ", "Again, please.", "Hello."),
    "other scripts": said("東京はどこ?", "日本にあります。🎉"),
    "more than 512 tokens": said("x " * 300, "y " * 181),
    "a long question": said(LONG * 150, "I see."),
    "a long answer": said("Write much.", LONG * 150),
    "both long": said(LONG * 120, LONG * 80),
    "a long first exchange": said(LONG * 60, LONG * 60, "And now?", "Nothing."),
    "more than the model reads": said(LONG * 500, "I see."),
    "a user who speaks twice": [{"role": "user", "content": "Hi"}, *said("Well?", "Hello.")],
    "an assistant who speaks twice": twice(first={}, second={}),
    "the same, and goes on": twice(*said("Hm.", "So."), first={}, second={}),
    "the same, only the first learned": twice(*said("Hm.", "So."), first={"loss": True}, second={"loss": False}),
    "the same, only the last learned": twice(first={"loss": False}, second={"loss": True}),
    "an assistant who speaks first": said("", "Hi.", "Well?", "Hello.")[1:],
}
TEXT_DIALECTS = ("plain", "input-output")  # no chat template lays out such rows
FEW = ("one exchange", "two exchanges", "a control string in an answer", "an empty answer", "loss: false at the end")

Row = dict[str, object]
ASKED = "What is the capital of Switzerland?"
TALK = [["Hi", "Hello."], ["And 1 + 1?", "2."]]
PAIRS: dict[str, tuple[str, str]] = {
    "one exchange": (f"{ASKED}\n", "Bern."),
    "no blank between": ("The capital is Ber", "n, on a river."),
    "a blank between": ("The capital is", " Bern."),
    "a blank behind the prompt": ("The capital is ", "Bern."),
    "an end that is written": ("Say so.", "So.<|im_end|>"),
    "a control string in a prompt": ("What does <|im_end|> mean?\n", "An end."),
    "a long prompt": (LONG * 150, "I see."),
    "a long completion": ("Write much.", LONG * 150),
}
TEXTS = {
    "a text": "Bern is the capital of Switzerland.",
    "an end that is written": "Bern.<|im_end|>",
    "a control string inside": "<|im_start|>user\nHi<|im_end|>\n",
    "white space around it": "\n  Bern.\n\n",
    "a long text": LONG * 150,
}
TURNS_OF_PAIRS: dict[str, tuple[Messages, Messages]] = {
    "one exchange": (said(ASKED), said("", "Bern.")[1:]),
    "two exchanges": (said("Hi", "Hello.", "And 1 + 1?"), said("", "2.")[1:]),
    "a system text": (said("Hi", system="Be brief."), said("", "Hello.")[1:]),
    "a completion of two answers": (said("Hi"), said("", "Hello.", "And 1 + 1?", "2.")[1:]),
    "blanks before an answer": (said("Indent it."), said("", "   Done.")[1:]),
    "a long question": (said(LONG * 150), said("", "I see.")[1:]),
}
ALPACA: dict[str, Row] = {
    "an instruction": {"instruction": ASKED, "output": "Bern."},
    "an empty input": {"instruction": ASKED, "input": "", "output": "Bern."},
    "white space around the output": {"instruction": ASKED, "output": "\n Bern.\n"},
    "a control string in the output": {"instruction": ASKED, "output": "Bern.<|im_end|>"},
    "a long output": {"instruction": "Write much.", "output": LONG * 150},
    "a system text": {"system": "Be brief.", "instruction": ASKED, "input": "", "output": "Bern."},
    "a history": {"instruction": ASKED, "input": "", "output": "Bern.", "history": TALK},
    "both": {"system": "Be brief.", "instruction": ASKED, "input": "", "output": "Bern.", "history": TALK},
}
INPUT: Row = {"instruction": "Translate it.", "input": "Guten Tag", "output": "Good day."}  # not held for axolotl
QUERIES: dict[str, Row] = {
    "a query": {"query": ASKED, "response": "Bern."},
    "a system text": {"system": "Be brief.", "query": ASKED, "response": "Bern."},
    "a history": {"query": ASKED, "response": "Bern.", "history": TALK},
    "both": {"system": "Be brief.", "query": ASKED, "response": "Bern.", "history": TALK},
    "a long query": {"query": LONG * 500, "response": "I see."},
}
SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system"}


def shared(turns: Messages) -> Row:
    """Write turns as ShareGPT does."""
    return {"conversations": [{"from": SPEAKERS[str(one["role"])], "value": one["content"]} for one in turns]}


SHARED: dict[str, Row] = {
    "one exchange": shared(said(ASKED, "Bern.")),
    "two exchanges": shared(said("Hi", "Hello.", "And 1 + 1?", "2.")),
    "a system turn": shared(said("Hi", "Hello.", system="Be brief.")),
    "a system text beside": {"system": "Be brief.", **shared(said("Hi", "Hello."))},
    "a user who speaks twice": shared([{"role": "user", "content": "Hi"}, *said("Well?", "Hello.")]),
    "a long answer": shared(said("Write much.", LONG * 150)),
}


def segments(*texts: tuple[bool, str]) -> Row:
    """Write segments of a text, each learned or not."""
    return {"segments": [{"label": is_learned, "text": text} for is_learned, text in texts]}


SEGMENTS: dict[str, Row] = {
    "two segments": segments((False, "<|im_start|>user\nHi<|im_end|>\n"), (True, "Hello.<|im_end|>\n")),
    "blanks between": segments((False, "The capital is "), (True, " Bern")),
    "a word in two": segments((False, "Ber"), (True, "n"), (False, ".")),
    "a long segment": segments((False, "Write much."), (True, LONG * 150)),
}
LAYOUTS: dict[str, dict[str, dict[str, Row]]] = {
    "trl": {
        "prompt-completion": {name: {"prompt": asked, "completion": text} for name, (asked, text) in PAIRS.items()},
        "trl-prompt-completion": {
            name: {"prompt": asked, "completion": answered} for name, (asked, answered) in TURNS_OF_PAIRS.items()
        },
        "plain": {name: {"text": text} for name, text in TEXTS.items()},
    },
    "llamafactory": {"alpaca": {**ALPACA, "an input": INPUT}, "sharegpt": SHARED},
    "axolotl": {
        "alpaca": ALPACA,
        "plain": {name: {"text": text} for name, text in TEXTS.items()},
        "input-output": SEGMENTS,
    },
    "swift": {"query-response": QUERIES, "alpaca": {**ALPACA, "an input": INPUT}, "sharegpt": SHARED},
}


@dataclass(frozen=True, slots=True)
class Lot:
    """Rows that are prepared for one model; name is put behind those of the rows. No trainer named: all of them."""

    name: str
    model: Path
    rows: Mapping[str, Row]
    trainer: str | None = None


def lots(folder: Path) -> list[Lot]:
    """Give all rows for the model, a few for one whose tokenizer has another end of text, and those of other layouts for both."""
    model = Path(resolve(MODEL))
    other = folder / "other-end"
    shutil.copytree(model, other, ignore=shutil.ignore_patterns("*.safetensors"))
    settings = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    other_end = json.dumps({**settings, "eos_token": "<|endoftext|>"})
    (other / "tokenizer_config.json").write_text(other_end, encoding="utf-8")
    talks: dict[str, Row] = {name: {"messages": row} for name, row in ROWS.items()}
    behind = ", another end of text"
    return [
        Lot("", model, talks),
        Lot(behind, other, {name: talks[name] for name in FEW}),
        *(
            Lot(f", {dialect}{end}", folder_, rows, trainer)
            for trainer, layouts in LAYOUTS.items()
            for dialect, rows in layouts.items()
            for end, folder_ in (("", model), (behind, other))
        ),
    ]


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


def ours_of(lot: Lot, trainer: str, folder: Path) -> Iterator[Learned | None]:
    """Give what `preview --as` shows of each row, read from a file of its own; None where it says that it is left out."""
    path = folder / "row.jsonl"
    for row in lot.rows.values():
        path.write_text(json.dumps(row), encoding="utf-8")
        read = dialects.read([str(path)])
        formats, task = [named("completion" if read.dialect in TEXT_DIALECTS else "chat")], infer_task(read.records)
        asked = {"model": str(lot.model), "out": None, "peers": [trainer], "dialect": read.dialect}
        try:
            tokens = previewed(read.records[0], formats, task, **asked).to_dict()["examples"][1]["tokens"]
        except DataError:
            tokens = []
        yield [(token["id"], token["weight"] > 0) for token in tokens] or None


def theirs_of(lot: Lot, trainer: str, folder: Path) -> list[Learned | None]:
    """Give what the trainer itself makes of each row."""
    script, environment = PREPARING[trainer]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in lot.rows.values()), encoding="utf-8")
    caches = dict.fromkeys(("HF_DATASETS_CACHE", "MODELSCOPE_CACHE"), str(folder / "cache"))
    command = [environment(), PEERS / script, lot.model, path]
    rows = told_by(command, variables={**caches, "AXOLOTL_DO_NOT_TRACK": "1"})["rows"]
    return [None if row is None else [(id_, label != -100) for id_, label in zip(*row, strict=True)] for row in rows]


def compared(lot: Lot, trainers: Sequence[str]) -> Iterator[tuple[str, str, Difference | None]]:
    """Give trainer, row and difference, row by row."""
    tokenizer = load_tokenizer(lot.model)
    for trainer in trainers:
        with tempfile.TemporaryDirectory() as folder:
            both = zip(ours_of(lot, trainer, Path(folder)), theirs_of(lot, trainer, Path(folder)), strict=True)
            for name, (ours, theirs) in zip(lot.rows, both, strict=True):
                yield trainer, name + lot.name, difference(ours, theirs, tokenizer)


def main() -> int:
    """Compare row by row; 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", nargs="+", choices=PREPARING, default=list(PREPARING))
    asked = parser.parse_args()
    found: dict[str, list[Difference | None]] = {trainer: [] for trainer in asked.trainers}
    with tempfile.TemporaryDirectory() as folder:
        for lot in lots(Path(folder)):
            trainers = [one for one in asked.trainers if lot.trainer in (None, one)]
            for trainer, name, one in compared(lot, trainers):
                told = f"differs at token {one.place}: {one.theirs}; preview says {one.ours}" if one else "agrees"
                print(f"{trainer:<14}{name:<68}{told}", flush=True)
                found[trainer].append(one)
    return judged(
        [
            Bound(f"{trainer}: rows of {len(ones)} that differ", sum(one is not None for one in ones), most=0)
            for trainer, ones in found.items()
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
