"""What holds for the project as a whole: what is imported when, what is pinned, what the pages say."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from formtune.cli import problems
from formtune.cli.commands import make_app
from formtune.formats import custom_format

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("torch", "transformers", "accelerate", "peft", "fastapi", "scipy", "sklearn")
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_data_half_imports_nothing_heavy() -> None:
    """Every module of it, the pipeline and the command line work where no torch is."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))"
    walk = "import light_install, importlib; [importlib.import_module(m) for m in light_install.data_half()]"
    done = python(f"{hidden}; sys.path.insert(0, {str(ROOT / 'tests')!r}); {walk}")
    assert done.returncode == 0, done.stderr


def test_help_imports_neither_torch_nor_the_recipe() -> None:
    """That is why it comes at once."""
    done = python(
        "import sys; from formtune.cli import run; run(['--help'])\n"
        f"print([name for name in (*{HEAVY!r}, 'pydantic', 'numpy', 'pyarrow') if name in sys.modules])"
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_help_answers_in_half_a_second() -> None:
    """The best of five, on a machine that does other things as well."""
    times_s = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([Path(sys.executable).parent / "formtune", "--help"], capture_output=True, check=True)
        times_s.append(time.perf_counter() - start)
    assert min(times_s) < 0.5


def test_every_extra_that_an_error_names_brings_the_package() -> None:
    """The pip line of a missing extra leads somewhere."""
    extras = PROJECT["project"]["optional-dependencies"]
    for module, extra in problems.EXTRAS.items():
        names = [re.split(r"[><=\[]", requirement)[0] for requirement in extras[extra]]
        assert module in names, module


def test_no_error_asks_for_a_package_that_nothing_imports() -> None:
    """What is for later work can be missing without harm; `hf://` needs the light install alone."""
    sources = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", sources, flags=re.MULTILINE)) | {"gguf"}  # by transformers
    assert set(problems.EXTRAS) - imported == set()
    assert "datasets" not in imported


def test_constraints_hold_names_and_versions_only() -> None:
    """Any package index serves, so none is named."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert "torch==2.13.0" in lines


def test_every_dependency_is_pinned_and_has_its_line_in_the_decision() -> None:
    """A dependency is added by saying what it does for us."""
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    decided = (ROOT / "docs/decisions/0005-dependencies.md").read_text()
    for requirement in PROJECT["project"]["dependencies"]:
        name = re.split(r"[><=]", requirement)[0]
        assert {name, name.replace("-", "_")} & pinned, name
        assert f"| {name} |" in decided, name


def test_links_between_pages_lead_somewhere() -> None:
    """A relative link names a file that is there."""
    for page in PAGES:
        text = (ROOT / page).read_text()
        for link in re.findall(r"\]\((?!https?://|mailto:|#)([^)#]+)", text):
            assert (ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}"


def _blocks(language: str) -> list[str]:
    """Give the code blocks of all pages in one language."""
    return [
        block
        for page in PAGES
        for block in re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    ]


def _commands() -> list[str]:
    lines = [line.strip() for block in _blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    launched = [re.sub(r"^(torchrun|accelerate launch|srun) .* -m formtune ", "formtune ", line) for line in lines]
    return [line for line in launched if line.startswith("formtune ")]


@pytest.mark.parametrize("command", _commands())
def test_every_command_in_the_docs_is_one(command: str) -> None:
    """The pages show no flag that does not exist."""
    only = re.split(r" [>|] ", command)[0]
    make_app().parse_args(shlex.split(only, comments=True)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("template", _blocks("jinja"))
def test_every_template_in_the_docs_is_one(template: str) -> None:
    """It says what is learned, and asks for fields that exist."""
    assert custom_format(template, "page").cells


@pytest.mark.slow
@pytest.mark.parametrize("code", [block for block in _blocks("python") if "import formtune" in block])
def test_every_python_block_of_the_docs_runs(code: str, tmp_path: Path) -> None:
    """On a small file of the name that it asks for; what needs a running server is tried with the server's tests."""
    moods = ("A warm and funny film", "fresh"), ("Two hours that felt like four", "rotten")
    rows = [f"{text} number {n}.,{label}" for n in range(40) for text, label in moods]
    (tmp_path / "reviews.csv").write_text("\n".join(("text,label", *rows)))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a benchmark by its name, as the folder's own scripts import one another."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


def test_a_benchmark_fails_outside_its_bounds(benchmark: Callable[[str], ModuleType]) -> None:
    """The figures that it states are those that it judges by."""
    few = benchmark("few_shot_ag_news")
    assert [bool(few.faults(mean)) for mean in (69.9, 70.0, 86.0, 86.1, float("nan"))] == [
        True,
        False,
        False,
        True,
        True,
    ]

    controls = benchmark("controls")
    gains = {"a@m": (-6.0, 9.0), "b@m": (4.9, 8.0)}
    assert controls.faults(gains, n_different=4, n_repetitions=40) == []
    assert controls.faults({"c@m": (5.1, 8.0), "d@m": (-9.0, -5.1), **gains}, n_different=5, n_repetitions=40) == [
        "c@m gains +5.1 to +8.0 points on chance where there is nothing to learn",
        "d@m gains -9.0 to -5.1 points on chance where there is nothing to learn",
        "one format under two names is called different in 5 of 40",
    ]


def test_a_benchmark_fails_with_a_comparison_of_its_own(tmp_path: Path) -> None:
    """Here none finds its files."""
    script = str(ROOT / "benchmarks" / "real_data.py")
    environment = {**os.environ, "FORMTUNE_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script, "trec"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "failed: trec\n")
    assert "TREC.train" in done.stdout


def test_the_readme_is_short() -> None:
    """Two hundred lines at most."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
