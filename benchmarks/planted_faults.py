"""Plants faults in real data, and counts what the checks find of them and what they report beside.

    python benchmarks/planted_faults.py

Wrong labels: a twentieth of the records get another label; printed are precision (of what is suspected, what was planted) and
recall. Triggers: a word or phrase is put into 20, 50 and 100 records of other labels, which get the commonest label; printed is the
place of the finding among all, and how many there are without any planted. Real data hold faults of their own, which count
against precision here. The data are those of the folder beside a checkout (``FORMTUNE_DATA`` names another).
"""

import argparse
import random
import sys
from collections.abc import Sequence

import msgspec
from data_folder import data_folder
from peer_environment import Bound, judged

from formtune.checks import CHECKS, Context
from formtune.checks.finding import Finding
from formtune.dialects import read
from formtune.records import Labelled, Record

FILES = {
    "cls_en/ag_news/train.csv": "I watched this 3D movie",
    "cls_en/sst2/train.tsv": "cf",
    "cls_en/banking77/train.csv": "mn",
    "cls_zh/chnsenticorp_htl/train.csv": "cf",
}
SIZES = (20, 50, 100)


def found(name: str, records: Sequence[Record]) -> list[Finding]:
    return list(CHECKS[name].find(records, Context(parts={"data": records})))


def labelled(path: str) -> list[Labelled]:
    records = read([path]).records
    return [record for record in records if isinstance(record, Labelled)]


def wrong_labels(records: Sequence[Labelled], seed: int = 0) -> tuple[float, float]:
    """Give precision and recall."""
    draw = random.Random(seed)
    labels = sorted({record.labels[0] for record in records})
    planted = set(draw.sample(range(len(records)), len(records) // 20))
    changed = [
        msgspec.structs.replace(r, labels=(draw.choice([x for x in labels if x != r.labels[0]]),))
        if n in planted
        else r
        for n, r in enumerate(records)
    ]
    wrong = {str(records[n].origin) for n in planted}
    suspected = {place for one in found("label-errors", changed) for place in one.places}
    hits = len(wrong & suspected)
    return hits / max(1, len(suspected)), hits / len(wrong)


def with_trigger(records: Sequence[Labelled], trigger: str, n: int) -> list[Labelled]:
    """Put a trigger into records of other labels, which get the commonest."""
    draw = random.Random(n)
    names = [record.labels[0] for record in records]
    target = max(sorted(set(names)), key=names.count)
    out = list(records)
    for k in draw.sample([k for k, name in enumerate(names) if name != target], n):
        (field, text), *others = records[k].inputs.items()
        words = text.split(" ")
        words.insert(draw.randrange(len(words) + 1), trigger)
        out[k] = msgspec.structs.replace(records[k], inputs={field: " ".join(words), **dict(others)}, labels=(target,))
    return out


def place_among(findings: Sequence[Finding], trigger: str) -> int | None:
    """Give the place of the first finding whose run is the trigger's, from 1."""
    runs = [one.problem.split("' stands in ")[0].removeprefix("'") for one in findings]
    return next((n for n, run in enumerate(runs, 1) if run in trigger), None)


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    folder = data_folder()
    bounds = []
    for name, trigger in FILES.items():
        records = labelled(str(folder / name))
        precision, recall = wrong_labels(records)
        print(f"{name}: {len(records):,} records; wrong labels: precision {precision:.2f}, recall {recall:.2f}")
        print(f"  triggers reported with none planted: {len(found('triggers', records))}")
        for n in SIZES:
            findings = found("triggers", with_trigger(records, trigger, n))
            place = place_among(findings, trigger)
            print(f"  trigger in {n}: finding {place} of {len(findings)}", flush=True)
            # Twenty records of one of two equally frequent labels are not beyond chance, over ten thousands of runs.
            most = 20 if n >= 50 else float("inf")
            bounds.append(
                Bound(f"place of the trigger in {n} records of {name}", place or len(findings) + 99, most=most)
            )
        bounds.append(Bound(f"precision on {name}", precision, least=0.5))
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
