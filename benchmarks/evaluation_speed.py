"""Evaluation of SmolLM2-135M: scores of label words and greedy answers, here against transformers one by one.

    python benchmarks/evaluation_speed.py [--records 100] [--naive-records 20] [--prompts 200] [--new-tokens 32]

The 77 label words of Banking77 are scored behind each text: here the text is computed once and the words behind it as a
trie, by naive code in a forward pass for each word. Greedy answers to instructions are written here side by side, by
transformers prompt after prompt. Both sides get the same token ids and compute in float32, each in a process of its own;
ours is timed in bfloat16 besides. It ends with 1 where a promise is missed: words 10 times sooner per record, with scores
equal to 0.001; answers 4 times sooner, all identical but for ties (two tokens whose scores differ by less than 0.001).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_folder import data_folder
from peer_environment import Bound, judged, told_by

from formtune import dialects
from formtune.examples import Example, Task
from formtune.formats import cell, infer_task, named, unanswered
from formtune.label_words import plan_words
from formtune.loading import Options, load_model
from formtune.model_files import resolve
from formtune.models import Model
from formtune.scoring import score_words
from formtune.tokens import Tokens, prompts

MODEL = "smollm2-135m"
PEER = Path(__file__).parent / "peers" / "transformers_answers.py"
WORDS, ANSWERS = 10.0, 4.0  # times sooner
MOST_DIFFERENCE = 1e-3  # of log-likelihoods in nats, and of the scores of two tokens that are tied


def word_tokens(model: Model, n_records: int) -> list[Tokens]:
    """Ask for the intent of texts of Banking77, evenly drawn from all intents."""
    data = data_folder() / "cls_en/banking77"
    task = infer_task(dialects.read([str(data / "train.csv")]).records)
    records = dialects.read([str(data / "test.csv")]).records
    drawn = [records[i] for i in np.linspace(0, len(records) - 1, n_records).astype(int)]
    present = cell(named("seq2seq"), task, "decoder").present
    return prompts([present(record, task, "decoder") for record in drawn], model.tokenizer, shape="decoder")


def answer_tokens(model: Model, n_prompts: int) -> list[Tokens]:
    """Ask what instructions ask."""
    records = dialects.read([str(data_folder() / "instruct/llamafactory_demo/alpaca_en_demo.json")]).records
    task = Task("conversation")
    present = cell(named("chat"), task, "decoder").present
    examples: list[Example] = [present(unanswered(record), task, "decoder") for record in records[:n_prompts]]
    return prompts(examples, model.tokenizer, shape="decoder")


def stop_ids(model: Model) -> list[int]:
    """List the ids that end an answer."""
    return sorted(model.tokenizer.stop_ids)


def asked_of_both(asked: argparse.Namespace) -> dict[str, Any]:
    """Give the token ids that both sides get."""
    model = load_model(MODEL, output="words")
    words = word_tokens(model, asked.records)
    return {
        "words": [{"prompt": t.ids_T.tolist(), "candidates": [c.tolist() for c in t.candidates]} for t in words],
        "prompts": [t.ids_T.tolist() for t in answer_tokens(model, asked.prompts)],
        "stop_ids": stop_ids(model),
        "max_new_tokens": asked.new_tokens,
    }


def ours(path: str, what: str, precision: str) -> dict[str, Any]:
    """Answer what is asked here."""
    asked = json.loads(Path(path).read_text(encoding="utf-8"))
    model = load_model(MODEL, output="words", options=Options(precision=precision))
    limits = {"max_new_tokens": asked["max_new_tokens"], "stop_ids": asked["stop_ids"]}
    model.generate(asked["prompts"][:1], **(limits | {"max_new_tokens": 1}))  # the first pass sets kernels up
    start = time.perf_counter()
    if what == "answers":
        return {"found": model.generate(asked["prompts"], **limits), "seconds": time.perf_counter() - start}
    candidates = [np.array(ids) for ids in asked["words"][0]["candidates"]]
    plan = plan_words(candidates, [str(n) for n in range(len(candidates))], stop_id=None)
    texts = [np.array(record["prompt"]) for record in asked["words"]]
    with model.inference():
        scored = score_words(model, texts, [plan] * len(texts), tokens_per_batch=4096)
    return {"found": [one.scores_K.tolist() for one in scored], "seconds": time.perf_counter() - start}


def words_compared(asked: dict[str, Any], path: Path, *, n_naive: int) -> list[Bound]:
    """Score the words both ways, the naive way of a few records only."""
    few = path.with_name("few.json")
    few.write_text(json.dumps(asked | {"words": asked["words"][:n_naive]}), encoding="utf-8")
    theirs = told("transformers, a pass for each word", [sys.executable, PEER, resolve(MODEL), few, "words"], n_naive)
    expected_NK = np.array(theirs["found"])
    found = []
    for precision in ("float32", "bfloat16"):
        command = [sys.executable, __file__, "--ours", path, "words", precision]
        mine = told(f"formtune, {precision}", command, len(asked["words"]))
        scores_NK = np.array(mine["found"])[:n_naive]
        times = (theirs["seconds"] / n_naive) / (mine["seconds"] / len(asked["words"]))
        difference = float(np.abs(scores_NK - expected_NK).max())
        same = int((scores_NK.argmax(1) == expected_NK.argmax(1)).sum())
        print(
            f"    {times:.1f} times sooner a record; scores differ by at most {difference:.1e}, {same} of {n_naive} choices equal"
        )
        if precision == "float32":
            found = [
                Bound("words: times sooner a record", times, least=WORDS),
                Bound("words: largest difference of a score", difference, most=MOST_DIFFERENCE),
            ]
    return found


def answers_compared(asked: dict[str, Any], path: Path) -> list[Bound]:
    """Write the answers both ways."""
    n_prompts = len(asked["prompts"])
    theirs = told(
        "transformers, prompt after prompt", [sys.executable, PEER, resolve(MODEL), path, "answers"], n_prompts
    )
    found = []
    for precision in ("float32", "bfloat16"):
        command = [sys.executable, __file__, "--ours", path, "answers", precision]
        mine = told(f"formtune, {precision}", command, n_prompts)
        times = theirs["seconds"] / mine["seconds"]
        pairs = list(zip(asked["prompts"], theirs["found"], mine["found"], strict=True))
        other = [pair for pair in pairs if pair[1] != pair[2]]
        print(f"    {times:.1f} times sooner; {n_prompts - len(other)} of {n_prompts} answers identical")
        if precision == "float32":
            found = [
                Bound("answers: times sooner", times, least=ANSWERS),
                Bound("answers that differ and are no ties", n_unlike(other, asked["stop_ids"]), most=0),
            ]
    return found


def n_unlike(pairs: Sequence[tuple[list[int], list[int], list[int]]], stops: Sequence[int]) -> int:
    """Count the pairs of answers that part at tokens which the model does not hold equally likely."""
    if not pairs:
        return 0
    model = load_model(MODEL, output="text")
    n_found = 0
    for prompt, one, other in pairs:
        shared = next(
            (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        with model.inference(), model.attending("sdpa"):
            scores_V = model.module(torch.tensor([prompt + one[:shared]])).logits[0, -1]
        best = [scores_V[ids[shared]] if shared < len(ids) else scores_V[list(stops)].max() for ids in (one, other)]
        n_found += bool((best[0] - best[1]).abs() >= MOST_DIFFERENCE)
    return n_found


def told(name: str, command: Sequence[object], n: int) -> dict[str, Any]:
    """Measure one way in a process of its own, and print its line of the table."""
    found = told_by(command)
    print(f"  {name:<36} {found['seconds']:7.1f} s for {n}, {n / found['seconds']:6.2f} a second", flush=True)
    return found


def main() -> int:
    """Measure both; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100)
    parser.add_argument("--naive-records", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--ours", nargs=3, metavar=("PATH", "WHAT", "PRECISION"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        print(json.dumps(ours(*asked.ours)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asked.json"
        both = asked_of_both(asked)
        path.write_text(json.dumps(both), encoding="utf-8")
        print(f"{len(both['words'][0]['candidates'])} label words behind texts of Banking77:")
        bounds = words_compared(both, path, n_naive=min(asked.naive_records, asked.records))
        print(f"greedy answers of at most {asked.new_tokens} tokens:")
        bounds += answers_compared(both, path)
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
