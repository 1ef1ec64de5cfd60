"""Label words and answers by transformers alone, as naive code does it: one forward pass a word, one prompt at a time.

python transformers_answers.py MODEL ASKED.json {words|answers}

Prints one JSON object: seconds, and log-likelihoods or the ids that were written.
"""

import json
import pathlib
import sys
import time

import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig


def main(folder: str, asked_path: str, *, what: str) -> None:
    """Answer what is asked, and print it with the time it took."""
    transformers.utils.logging.set_verbosity_error()
    asked = json.loads(pathlib.Path(asked_path).read_text(encoding="utf-8"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config = GenerationConfig()
    with torch.inference_mode():
        model(torch.tensor([asked["prompts"][0]]))  # the first pass sets kernels up
        start = time.perf_counter()
        found = scored(model, asked["words"]) if what == "words" else written(model, asked)
    print(json.dumps({"seconds": time.perf_counter() - start, "found": found}))


def scored(model: torch.nn.Module, records: list) -> list:
    """Run prompt and word once for every word, and add up the log-probabilities of the word's tokens."""
    found = []
    for record in records:
        prompt = record["prompt"]
        scores = []
        for word in record["candidates"]:
            logits = model(torch.tensor([prompt + word]), use_cache=False).logits[0, len(prompt) - 1 : -1]
            logs = torch.log_softmax(logits, -1)
            scores.append(logs[range(len(word)), word].sum().item())
        found.append(scores)
    return found


def written(model: torch.nn.Module, asked: dict) -> list:
    """Write a greedy answer to every prompt."""
    stop_ids = asked["stop_ids"]
    settings = {"max_new_tokens": asked["max_new_tokens"], "do_sample": False}
    found = []
    for prompt in asked["prompts"]:
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        out = model.generate(ids, attention_mask=mask, eos_token_id=stop_ids, pad_token_id=stop_ids[0], **settings)
        new = out[0, len(prompt) :].tolist()
        found.append(new[:-1] if new[-1] in stop_ids else new)
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], what=sys.argv[3])
