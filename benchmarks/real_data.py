"""Compare formats on five real data sets, a few hundred records each: a verdict and a report for every one.

    python benchmarks/real_data.py [NAME ...]

About twenty minutes on two cores. The folder of the data sets is FORMTUNE_DATA. It ends with 1 where a comparison fails.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from data_folder import data_folder

SMOLLM2 = ["--model", "smollm2-135m", "--freeze", "all-but-top-6", "--set", "model.precision=bfloat16"]
BUDGET = ["--batch-size", "8", "--seeds", "3", "--learning-rate", "3e-4", "--set", "training.head_learning_rate=1e-3"]
FREE = ["--set", "comparison.max_new_tokens=24"]


def comparisons(data: Path) -> dict[str, list[str]]:
    """Give the arguments of each comparison by its name."""
    trec, hotels, xquad = data / "cls_en/trec", data / "cls_zh/chnsenticorp_htl", data / "qa/xquad"
    pairs = data / "seq2seq/multi30k_en_de"
    words = "task.words={ABBR: abbreviation, DESC: description, ENTY: entity, HUM: human, LOC: location, NUM: number}"
    return {
        "trec": [
            *["--train", f"{trec}/TREC.train", "--test", f"{trec}/TREC.test", "--encoding", "latin-1"],
            *["--formats", "classification,masked_lm", "--model", "minilm-l6", "--epochs", "4", "--set", words],
            *["--n-train", "160", "--n-dev", "48", "--n-test", "400"],
        ],
        "hotels": [
            *["--train", f"{hotels}/train.csv", "--dev", f"{hotels}/valid.csv", "--test", f"{hotels}/test.csv"],
            *["--formats", "classification,masked_lm,generative_qa", *SMOLLM2, "--set", "model.max_length=160"],
            *["--n-train", "64", "--n-dev", "32", "--n-test", "160", "--epochs", "2"],
            *["--set", "task.words={'0': 差, '1': 好}"],
        ],
        **{
            f"xquad_{language}": [
                *["--train", f"{xquad}/{language}.train.json", "--dev", f"{xquad}/{language}.valid.json"],
                *["--test", f"{xquad}/{language}.test.json", "--formats", "generative_qa,seq2seq", *SMOLLM2, *FREE],
                *[
                    "--n-train",
                    "64",
                    "--n-dev",
                    "16",
                    "--n-test",
                    "60",
                    "--epochs",
                    "2",
                    "--set",
                    "model.max_length=384",
                ],
            ]
            for language in ("en", "zh")
        },
        "multi30k": [
            *["--source", f"{pairs}/train.en.gz", "--target", f"{pairs}/train.de.gz"],
            *["--formats", "seq2seq,instruction", *SMOLLM2, *FREE],
            *["--n-train", "128", "--n-dev", "32", "--n-test", "64", "--epochs", "2"],
        ],
    }


def main() -> int:
    """Run the comparisons that are named, or all; 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(comparisons(Path())))
    names: list[str] = parser.parse_args().names
    if strangers := set(names) - set(comparisons(Path())):
        parser.error(f"there is no {', '.join(sorted(strangers))}; choose from {', '.join(comparisons(Path()))}")
    asked, failed = comparisons(data_folder()), []
    for name in names or list(asked):
        start = time.perf_counter()
        out = ["--out", f"out/real_data/{name}", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-m", "formtune", "compare", *BUDGET, *asked[name], *out, "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        found = json.loads(done.stdout) if done.returncode == 0 else None
        if found is None:
            failed.append(name)
        print(
            f"{name}: {found['verdict'] if found else done.stderr}  [{time.perf_counter() - start:.0f} s]", flush=True
        )
        for arm, values in (found["formats"] if found else {}).items():
            print(f"    {arm:<20} {values['mean']:6.1f}  ({values['low']:.1f} to {values['high']:.1f})", flush=True)

    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
