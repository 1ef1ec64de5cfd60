"""LLaMA-Factory's ``dataset_info.json``: where a data set lies, and which columns and roles mean what.

``dataset_info.json#NAME`` stands for the data set of that name. Its rows get the names that the dialects know; a column
that the descriptor does not mention means nothing to it, even under a known name, and goes aside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from formtune.dialects import alpaca, plain, sharegpt
from formtune.dialects.columns import Object
from formtune.errors import DataError, SettingError, unknown
from formtune.records import LeftOut
from formtune.sources import Row, expand, normalize, value_of

FILE = "dataset_info.json"
_PLACES = ("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_UNREAD = ("subset", "split", "folder")  # parts of a data set on the Hub, which an address names by their files
# What the descriptor calls a column or a tag, and what the dialects call it.
_COLUMNS = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "messages": "conversations",
    **{name: name for name in ("history", "system", "tools", "chosen", "rejected", "kto_tag")},
}
_KEYS = {"role_tag": "from", "content_tag": "value"}
_DEFAULTS = {"prompt": "instruction", "query": "input", "response": "output"}
_USUAL_TAGS = {
    "sharegpt": {"role_tag": "from", "content_tag": "value"},
    "openai": {"role_tag": "role", "content_tag": "content"},
}
_ROLES = {
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a described data set are laid out.

    Attributes:
        name: of the data set.
        dialect: that its rows are in once they are renamed; None where that is left to recognition.
        columns: theirs → ours.
        reserved: names of columns that would mean something to the dialect.
        keys: of a turn, theirs → ours.
        roles: of a turn, theirs → ours.
        note: what of the descriptor is not done, for the user; or empty.
    """

    name: str
    dialect: str | None
    columns: Mapping[str, str]
    reserved: frozenset[str]
    keys: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def renamed(self, row: Row) -> Row:
        """Give a row's columns, and its turns' keys and roles, the names that the dialects know."""
        if not isinstance(row.value, dict):
            return row
        value = _renamed(row.value, self.columns, self.reserved)
        turns = {name: self._turns(value[name]) for name in ("conversations", "chosen", "rejected") if name in value}
        return msgspec.structs.replace(row, value=value | turns)

    def _turns(self, found: object) -> object:
        if isinstance(found, list):
            return [self._turn(turn) for turn in found]
        return self._turn(found)

    def _turn(self, found: object) -> object:
        if not isinstance(found, dict) or not self.keys:
            return found
        turn = _renamed(found, self.keys, frozenset(_KEYS.values()))
        said = turn.get("from")
        return turn | {"from": self.roles.get(said, said)} if isinstance(said, str) else turn


@dataclass(frozen=True, slots=True)
class Described:
    """The files that paths stand for, and the layouts that descriptors give some of them."""

    files: list[str]
    layouts: Mapping[str, Layout]

    @property
    def dialect(self) -> str | None:
        """Name the dialect that all files are in, as far as descriptors say."""
        dialects = {self.layouts[file].dialect if file in self.layouts else None for file in self.files}
        return dialects.pop() if len(dialects) == 1 else None

    @property
    def names(self) -> frozenset[str]:
        """Give the normalized names of the columns that descriptors mention."""
        return frozenset(normalize(name) for layout in self.layouts.values() for name in layout.columns)

    @property
    def why(self) -> str:
        """Say what descriptors have said, for the user; or nothing."""
        return "".join(f"; described as {layout.name!r}{layout.note}" for layout in self.layouts.values())

    def renamed(self, row: Row | LeftOut) -> Row | LeftOut:
        """Give a row of a described file the names that the dialects know."""
        layout = self.layouts.get(row.origin.file) if isinstance(row, Row) else None
        return layout.renamed(row) if layout and isinstance(row, Row) else row


def look_up(paths: Sequence[str]) -> Described:
    """Look up what paths stand for: data sets in descriptors, or themselves.

    Raises:
        DataError: when a descriptor is not JSON, or a file is missing.
        SettingError: when a descriptor has no such data set, or several and none is named, or the data lie where they
            cannot be read.
    """
    places = [place_of(path) for path in paths]
    files = [expand([file]) for file, _ in places]
    layouts = {file: layout for found, (_, layout) in zip(files, places, strict=True) if layout for file in found}
    return Described(list(dict.fromkeys(file for found in files for file in found)), layouts)


def place_of(path: str) -> tuple[str, Layout | None]:
    """Look up where the data lie that a path stands for, and their layout, if a descriptor gives one."""
    file, _, name = path.rpartition("#") if "#" in path and not Path(path).exists() else (path, "", "")
    if not Path(file).is_file() or (not name and Path(file).name != FILE):
        return path, None
    entries = _entries(file)
    if entries is None:
        return path, None
    if not name and len(entries) > 1:
        raise SettingError(
            f"It describes {len(entries)} data sets.", f"Name one, for instance {file}#{next(iter(entries))}.", at=file
        )
    name = name or next(iter(entries))
    if name not in entries:
        raise unknown("data set", name, list(entries), at=file)
    return _place(entries[name], f"{file}#{name}"), _layout(name, entries[name])


def _entries(file: str) -> dict[str, Object] | None:
    """Read a descriptor; None where the file is something else."""
    try:
        found = value_of(Path(file).read_bytes())
    except msgspec.DecodeError as error:
        raise DataError(f"The descriptor is not JSON ({error}).", "Correct it.", at=file) from error
    if not isinstance(found, dict) or not found:
        return None
    is_descriptor = all(isinstance(entry, dict) and any(name in entry for name in _PLACES) for entry in found.values())
    return found if is_descriptor else None


def _place(entry: Object, at: str) -> str:
    """Say where a data set lies; the Hub goes before a file, as in LLaMA-Factory."""
    hub, file = entry.get("hf_hub_url"), entry.get("file_name")
    parts = [name for name in _UNREAD if entry.get(name)]
    if isinstance(hub, str) and not parts:
        return f"hf://{hub}"
    if isinstance(hub, str):
        problem = f"It is a part of {hub!r} on the Hub, by {' and '.join(parts)}."
        raise SettingError(problem, f"Name its files, like hf://{hub}/PATH.", at=at)
    if isinstance(file, str):
        return str(Path(at.rpartition("#")[0]).parent / file)
    place = next(name for name in _PLACES if name in entry)
    raise SettingError(f"It lies at a {place!r}, where nothing is read.", "Download it, and name its files.", at=at)


def _layout(name: str, entry: Object) -> Layout:
    """Understand the description of a data set.

    Raises:
        SettingError: when there is no such formatting.
    """
    columns, tags = _texts(entry.get("columns")), _texts(entry.get("tags"))
    n_samples = entry.get("num_samples")
    note = f"; all rows are read, not {n_samples} ('num_samples')" if n_samples else ""
    is_judged = bool(entry.get("ranking")) or "kto_tag" in columns
    formatting = str(entry.get("formatting", "alpaca"))
    if formatting not in ("alpaca", *_USUAL_TAGS):
        raise unknown("formatting", formatting, ["alpaca", *_USUAL_TAGS], at=f"{FILE}#{name}")
    if formatting == "alpaca":
        if set(columns) == {"prompt"}:
            return Layout(name, plain.NAME, {columns["prompt"]: "text"}, plain.NAMES, note=note)
        given = _ours(columns or _DEFAULTS, _COLUMNS)
        return Layout(name, None if is_judged else alpaca.NAME, given, alpaca.NAMES, note=note)
    return Layout(
        name,
        None if is_judged else sharegpt.NAME,
        _ours(columns or {"messages": "conversations"}, _COLUMNS),
        sharegpt.NAMES,
        keys=_ours(_USUAL_TAGS[formatting] | tags, _KEYS),
        roles=_ours(tags, _ROLES),
        note=note,
    )


def _texts(found: object) -> dict[str, str]:
    items = found.items() if isinstance(found, dict) else ()
    return {key: value for key, value in items if isinstance(value, str)}


def _ours(given: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Turn the descriptor's names for things into theirs → ours."""
    return {theirs: names[thing] for thing, theirs in given.items() if thing in names}


def _renamed(value: Object, names: Mapping[str, str], reserved: frozenset[str]) -> Object:
    """Rename keys; one that is not described but has a name of ours goes aside under a name that means nothing."""
    known = reserved | set(names.values())
    return {names.get(key) or (f"{key} (not described)" if key in known else key): one for key, one in value.items()}
