"""Data sets on the Hugging Face Hub: ``hf://owner/name[@revision][/path]``.

Files are read where they lie, through ``huggingface_hub``'s file system. A data set that has no file of a layout we
read is taken from the Hub's own conversion to Parquet, which exists for every public one.
"""

import io
import re
from collections.abc import Callable
from typing import Any, TypeVar

from formtune.errors import DataError

SCHEME = "hf://"
READABLE = re.compile(r"\.(csv|tsv|jsonl?|ndjson|parquet|txt)(\.(gz|bz2|zst))?$", re.IGNORECASE)
_CONVERTED = "refs/convert/parquet"
_ADDRESS = re.compile(
    r"hf://(?:datasets/)?(?P<name>[^/@]+/[^/@]+)(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<path>.+))?"
)
_GLOB = re.compile(r"[*?\[]")
_SPLIT = re.compile(r"(?<![a-z])(train|validation|valid|dev|test)(?![a-z])", re.IGNORECASE)
_Result = TypeVar("_Result")


def is_hub(path: str) -> bool:
    """Say whether a path is an address on the Hub."""
    return path.startswith(SCHEME)


def hub_files(address: str) -> list[str]:
    """List the files that an address on the Hub stands for: one file, a glob, a folder, or a whole data set.

    Raises:
        DataError: when the Hub cannot be reached, there is no such data set, it holds no file that can be read, or
            there are several splits or folders and the address names none.
    """
    files = pick_files(_file_system(), address)
    if len(files) > 1 and not re.search(_GLOB, address):
        paths = [_parse(file)["path"] or "" for file in files]
        _check_one(
            address, files, what="splits", names={match[1].lower() for path in paths if (match := _SPLIT.search(path))}
        )
        _check_one(address, files, what="folders", names={path.rpartition("/")[0] for path in paths})
    return files


def pick_files(system: Any, address: str) -> list[str]:
    """List the readable files under an address, through any fsspec file system."""
    parts = _parse(address)
    root = _root(address)
    found = _ask(lambda: _find(system, root, parts["path"]), address)
    if not found and not parts["revision"] and not parts["path"]:
        root = f"datasets/{parts['name']}@{_CONVERTED}"
        found = _ask(lambda: _find(system, root, None), address)
    if not found:
        raise DataError(
            "There is no file here that can be read.", "Name a csv, tsv, json, jsonl, parquet or text file.", at=address
        )
    return [SCHEME + file.removeprefix("datasets/") for file in found]


def open_hub(address: str) -> io.RawIOBase:
    """Open one file on the Hub for reading bytes."""
    parts = _parse(address)
    system = _file_system()
    opened: io.RawIOBase = _ask(lambda: system.open(f"{_root(address)}/{parts['path']}", "rb"), address)
    return opened


def _check_one(address: str, files: list[str], *, what: str, names: set[str]) -> None:
    """Refuse to read things as one that are not: splits, languages, configurations."""
    if len(names) > 1:
        raise DataError(
            f"There are several {what}: {', '.join(sorted(names))}.",
            f"Name the files of one, like {files[0]}.",
            at=address,
        )


def _find(system: Any, root: str, path: str | None) -> list[str]:
    if path and re.search(_GLOB, path):
        return sorted(system.glob(f"{root}/{path}"))
    target = f"{root}/{path}" if path else root
    if path and system.isfile(target):
        return [target]
    return sorted(file for file in system.find(target) if READABLE.search(file))


def _parse(address: str) -> dict[str, str | None]:
    match = _ADDRESS.fullmatch(address.rstrip("/"))
    if not match:
        raise DataError("This is not an address on the Hub.", "Write hf://owner/name[@revision][/path].", at=address)
    return match.groupdict()


def _root(address: str) -> str:
    parts = _parse(address)
    revision = f"@{parts['revision']}" if parts["revision"] else ""
    return f"datasets/{parts['name']}{revision}"


def _file_system() -> Any:
    from huggingface_hub import HfFileSystem  # half a second to import, for those who use it

    return HfFileSystem()


def _ask(question: Callable[[], _Result], address: str) -> _Result:
    """Ask the Hub something; its errors become ours."""
    try:
        return question()
    except FileNotFoundError as error:
        raise DataError(
            "There is no such data set or file on the Hub, or it needs a login.",
            "Check the name; for a private one run: hf auth login.",
            at=address,
        ) from error
    except _network_errors() as error:
        raise DataError(
            f"The Hub cannot be reached ({error}).", "Check the network, or give local files.", at=address
        ) from error


def _network_errors() -> tuple[type[BaseException], ...]:
    from huggingface_hub.errors import HfHubHTTPError

    # Which HTTP library lies below differs between versions of huggingface_hub; this error derives from its base.
    return (OSError, *HfHubHTTPError.__bases__)
