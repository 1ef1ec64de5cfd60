"""What the limits of the sandbox cost: rendering with them, against Jinja's sandbox alone as transformers has it.

    python benchmarks/template_limits.py [--turns 8] [--conversations 200] [--rounds 7] [--most 1.05]

Every template under ``tests/chat_templates`` renders the same conversations in both, in turn. Printed are the ratios of
the fastest rounds, by processor time, and their geometric mean, which may be ``--most``. Where the texts differ it fails.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from formtune.sandbox import environment, rendered

TEMPLATES = Path(__file__).parents[1] / "tests" / "chat_templates"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "enable_thinking": False}
Talk = list[dict[str, Any]]


def plain() -> jinja2.Environment:
    """Make the environment of transformers: our own filters and names, and no account of anything."""
    ours = environment()
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    made.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    for name in ("raise_exception", "strftime_now", "namespace"):
        made.globals[name] = ours.globals[name]
    return made


def talks(n_talks: int, n_turns: int) -> list[Talk]:
    """Make conversations in which user and assistant take turns, of some hundred characters each."""
    return [
        [
            {
                "role": ("user", "assistant")[turn % 2],
                "content": f"Turn {turn} of {n}. " + "Some words follow. " * (n % 20),
            }
            for turn in range(n_turns)
        ]
        for n in range(n_talks)
    ]


def fastest_s(renders: tuple[Callable[[Talk], str], ...], conversations: list[Talk], rounds: int) -> list[float]:
    """Time some ways to render, by turns, and give the fastest round of each."""
    best = [math.inf] * len(renders)
    for _ in range(rounds):
        for n, render in enumerate(renders):
            begun = time.process_time()
            for messages in conversations:
                render(messages)
            best[n] = min(best[n], time.process_time() - begun)
    return best


def ways(source: str) -> tuple[Callable[[Talk], str], ...]:
    """Give the ways to render: with limits, and without."""
    bare = source.replace("generation %}", "if true %}").replace("endif true %}", "endif %}")
    limited, free = environment().from_string(bare), plain().from_string(bare)
    own = {**TOKENS, "tools": None, "documents": None, "add_generation_prompt": False}
    return (
        lambda messages: rendered(limited, {**own, "messages": messages}),
        lambda messages: free.render({**own, "messages": messages}),
    )


def main() -> int:
    """Measure every template."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--most", type=float, default=1.05)
    asked = parser.parse_args()
    conversations, ratios = talks(asked.conversations, asked.turns), []
    for path in sorted(TEMPLATES.glob("*.jinja")):
        renders = ways(path.read_text(encoding="utf-8"))
        if any(renders[0](messages) != renders[1](messages) for messages in conversations):
            print(f"{path.stem}: the texts differ", file=sys.stderr)
            return 1
        limited_s, free_s = fastest_s(renders, conversations, asked.rounds)
        ratios.append(limited_s / free_s)
        microseconds = limited_s / len(conversations) * 1e6
        print(
            f"{path.stem:10} {microseconds:7.0f} µs a conversation, {ratios[-1]:.2f} times without limits", flush=True
        )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"{'all':10} {mean:.2f} times without limits, at most {asked.most:g}")
    return int(mean > asked.most)


if __name__ == "__main__":
    sys.exit(main())
