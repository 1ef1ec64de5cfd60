"""What every test shares: no network but loopback, one thread, golden files, and the folder of real data."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports torch or a hub client, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent
collect_ignore = ["jobs_on_ray.py", "two_nodes.py"]  # programs of their own, which need Ray
GOLDEN = Path(__file__).parent / "golden"

# In CI the same examples every time; elsewhere new ones are looked for. A slow machine is no failure.
settings.register_profile("formtune", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("formtune")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes golden files."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew, then read the diff")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that are marked so reach the network, and mark those that need the folder of real data."""
    for item in items:
        if item.get_closest_marker("network"):
            item.add_marker(pytest.mark.enable_socket)
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test keep states in a folder of its own; models that were unpacked once are those of the user's cache."""
    from formtune.model_files import cache_folder

    models = cache_folder() / "models"
    models.mkdir(parents=True, exist_ok=True)
    folder = tmp_path_factory.mktemp("cache")
    (folder / "models").symlink_to(models, target_is_directory=True)
    monkeypatch.setenv("FORMTUNE_CACHE", str(folder))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with a file under ``tests/golden/``; ``--update-golden`` writes the file."""
    update = request.config.getoption("--update-golden")

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing: run pytest --update-golden and read it"
        assert text == path.read_text(encoding="utf-8"), f"differs from {path}: if it is right, run --update-golden"

    return compare


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of real data sets that stands beside a checkout, or skip the test."""
    places = [ROOT.parent / "shared" / "data", ROOT / "shared" / "data"]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        pytest.skip("the folder of real data sets is not beside this checkout")
    return found
