"""The names for use from Python: load data, compare formats, open a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from formtune.dialects import Columns, Reading, read
from formtune.inspection import inspect
from formtune.recipe import make_recipe
from formtune.records import Record

if TYPE_CHECKING:
    from formtune.prepared import PreparedFolder
    from formtune.results import Compared
    from formtune.runs import OpenRun


@dataclass(frozen=True, slots=True)
class Data:
    """Records that were read, with where they came from and what was left out.

    Attributes:
        reading: records, what was left out, the dialect and how it was recognized.
        paths: the files.
    """

    reading: Reading
    paths: tuple[str, ...]

    @property
    def records(self) -> Sequence[Record]:
        """The records, in the files' order."""
        return self.reading.records

    def __len__(self) -> int:
        """Count the records."""
        return len(self.reading.records)

    def __repr__(self) -> str:
        """Say what the data are in a line."""
        return f"Data({len(self)} records of {', '.join(self.paths)}, dialect {self.reading.dialect})"

    def inspect(self) -> dict[str, object]:
        """Say what the data are: kinds, counts, lengths, balance of labels, samples."""
        return inspect(self.reading)


def load(
    *paths: str | Path, dialect: str | None = None, encoding: str | None = None, columns: Columns = Columns()
) -> Data:
    """Read labelled data from files.

    Args:
        paths: files, globs, ``hf://`` names.
        dialect: how they are laid out, where it is not recognized.
        encoding: their text encoding, where it is not recognized.
        columns: which column holds what, where it is not recognized.

    Raises:
        DataError: where a file cannot be read or not be recognized.
    """
    names = tuple(str(path) for path in paths)
    return Data(read(names, dialect=dialect, columns=columns, encoding=encoding), names)


def compare(
    data: Data | str | Path,
    *,
    formats: Sequence[str],
    model: str | Sequence[str],
    out: str | Path | None = None,
    settings: Mapping[str, object] | None = None,
) -> "Compared":
    """Compare formats fairly and say which to use, or that it does not matter.

    Args:
        data: what :func:`load` gave, or a path.
        formats: names of formats, or paths of templates.
        model: name of a model, or several.
        out: folder that the results go to.
        settings: any further settings, nested as in a recipe: ``{"training": {"epochs": 2}}``.

    Raises:
        SettingError: where a setting cannot be used.
        DataError: where the data cannot.
    """
    from formtune import pipeline

    loaded = data if isinstance(data, Data) else load(data)
    models = (model,) if isinstance(model, str) else tuple(model)
    given: dict[str, object] = {"formats": tuple(formats), "models": models, **(settings or {})}
    own = given.get("data")
    given["data"] = {**(own if isinstance(own, Mapping) else {}), "paths": loaded.paths}
    recipe = make_recipe({**given, **({"out": str(out)} if out else {})})
    return pipeline.compare(recipe, reading=loaded.reading, command="formtune.compare(...)")


def open_prepared(folder: str | Path) -> "PreparedFolder":
    """Open what ``formtune prepare`` or ``formtune mix`` wrote: sequences as arrays, and which of them share a row."""
    from formtune.prepared import open_prepared as opened

    return opened(folder)


def open_run(folder: str | Path) -> "OpenRun":
    """Load a finished run to answer with it."""
    from formtune.runs import open_run as opened

    return opened(folder)
