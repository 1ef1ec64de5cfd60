"""Artefacts on disk: whole or absent, each with a manifest that says what it is made of.

A folder is staged beside its place, its files are forced to disk, the manifest comes last, and one rename makes it
appear. A folder with a manifest is whole; one without does not exist. Digests are checked on reading. No pickle.
"""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from formtune.errors import DataError, SettingError
from formtune.model_files import read_json

MANIFEST = "manifest.json"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PART, _GONE = ".part", ".gone"
_NAMES = {"prepared": "preparation", "exported": "export", "tuning": "search", "study": "search"}  # else as it is
_READ_AS = {"mixture": "prepared"}
_REPLACES = {"tuning": "study"}
VERSIONED = (
    "formtune",
    "numpy",
    "pyarrow",
    "tokenizers",
    "gigatoken",
    "splintr-rs",
    "torch",
    "transformers",
    "accelerate",
    "peft",
)


@contextmanager
def staged(
    folder: str | Path,
    manifest: dict[str, Any],
    *,
    growing: Sequence[str] = (),
    known: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Path]:
    """Give a temporary folder to write into; it takes its place, with its manifest, when the block ends well.

    Args:
        folder: where it will stand; an older artefact of the same kind there is replaced, anything else is not.
        manifest: what is written to ``manifest.json``, with ``files`` (name → SHA-256) and ``versions`` added; it may
            still be filled inside the block.
        growing: names of files that move over from the older artefact: logs that are written on to, and so have no
            digest.
        known: digests of files that are known, by name.

    Raises:
        SettingError: where the place cannot be written, has no room left, or holds something else.
    """
    target = _followed(Path(folder))
    staging = _staging(target, manifest.get("kind"))
    try:
        with room_at(target):
            yield staging
            _seal(staging, manifest, known)
            for name in growing:
                shutil.copy2(target / name, staging / name)
                _sync(staging / name)
            _put(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def room_at(place: Path) -> Iterator[None]:
    """Tell whoever writes somewhere that no room is left there.

    Raises:
        SettingError: where that is so.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise SettingError(
            f"It cannot be written ({error.strerror}).", "Make room there, or give a folder elsewhere.", at=place
        ) from error


def _put(staging: Path, target: Path) -> None:
    """Let a folder take its place; what stood there is renamed first, so that no half of it is ever seen."""
    gone = _hidden(target, _GONE)
    if target.exists():
        target.rename(gone)
    staging.rename(target)
    _sync(target.parent)
    shutil.rmtree(gone, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove an artefact: absent at once, by one rename, and then its files."""
    gone = _hidden(folder, _GONE)
    folder.rename(gone)
    shutil.rmtree(gone)


def sweep(parent: str | Path, *, name: str | None = None) -> None:
    """Remove what processes that were killed left of writing artefacts; call it where none can be writing now.

    Args:
        parent: the folder that the artefacts stand in.
        name: of the one artefact that is meant; None for all of the folder.
    """
    for left in Path(parent).iterdir():
        hidden = re.fullmatch(r"\.(.+)\.\d+(\.part|\.gone)", left.name)
        if hidden and name in (None, hidden.group(1)):
            shutil.rmtree(left)


def _hidden(target: Path, ending: str) -> Path:
    return target.parent / f".{target.name}.{os.getpid()}{ending}"


def check_place(folder: str | Path, *, kind: str | None = None) -> Path:
    """Try whether an artefact can be written at a place, before the work that leads to it.

    Args:
        folder: the place.
        kind: of the artefact; None where an older one of any kind may be there.

    Returns:
        The place; of a link what it leads to.

    Raises:
        SettingError: as :func:`staged`.
    """
    target = _followed(Path(folder))
    _staging(target, kind).rmdir()
    return target


def _followed(place: Path) -> Path:
    """Go where a link leads: what it leads to is replaced, which may be another disk's, and not the link."""
    return place.resolve() if place.is_symlink() else place


def _staging(target: Path, kind: str | None) -> Path:
    _refuse_others(target, kind)
    staging = _hidden(target, _PART)
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
    except OSError as error:
        raise SettingError(
            f"{str(target)!r} cannot be written ({error.strerror or error}).",
            "Give a folder that you may write to.",
            at="--out",
        ) from error
    return staging


def _refuse_others(target: Path, kind: str | None) -> None:
    """Refuse a place that holds what is not ours, or an artefact that was made of other work."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    found = _kind_at(target)
    if found is None:
        raise SettingError(
            f"{str(target)!r} is there already and was not written by formtune.",
            "Give another folder, or remove it.",
            at="--out",
        )
    if kind is not None and found not in (kind, _REPLACES.get(kind)):
        raise SettingError(
            f"{str(target)!r} holds {_a(found)}, which would be lost.", "Give another folder, or remove it.", at="--out"
        )


def _kind_at(target: Path) -> str | None:
    """Say what kind of artefact stands at a place; None where none does."""
    try:
        manifest = read_json(target / MANIFEST)
    except (DataError, OSError):
        return None
    kind = manifest.get("kind")
    return kind if isinstance(kind, str) and "files" in manifest else None


def _noun(kind: object) -> str:
    return _NAMES.get(str(kind), str(kind))


def _a(kind: object) -> str:
    """Name a kind, as in "an export"."""
    noun = _noun(kind)
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def _seal(staging: Path, manifest: dict[str, Any], known: Mapping[str, str]) -> None:
    files = {str(p.relative_to(staging)): p for p in sorted(staging.rglob("*")) if p.is_file()}
    whole = {
        **manifest,
        "files": {name: known.get(name) or _digest(p) for name, p in files.items()},
        "versions": versions(),
    }
    for path in files.values():
        _sync(path)
    path = staging / MANIFEST
    path.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    _sync(path)
    _sync(staging)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Name the versions that decide what comes out; packages that are not installed are left away."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_manifest(folder: str | Path, *, kind: str, with_files: bool = True) -> dict[str, Any]:
    """Read and check the manifest of an artefact.

    Args:
        folder: the artefact.
        kind: what it must be: ``"run"``, ``"comparison"``, ``"prepared"`` (which a mixture is too), ``"split"`` ...
        with_files: whether the files are held against their digests too.

    Raises:
        DataError: where it is not there, is something else or damaged, or a file differs from its digest.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise DataError(_lacking(Path(folder), kind), f"Give the folder of a finished {_noun(kind)}.", at=folder)
    manifest = read_json(path)
    found = str(manifest.get("kind"))
    if _READ_AS.get(found, found) != kind:
        raise DataError(f"This is {_a(found)}, not {_a(kind)}.", f"Give the folder of {_a(kind)}.", at=folder)
    if not isinstance(manifest.get("files"), dict):
        raise DataError("The entry 'files' is missing or damaged.", f"Make the {_noun(kind)} again.", at=path)
    for name, digest in manifest["files"].items() if with_files else ():
        file = Path(folder) / name
        if not file.is_file() or _digest(file) != digest:
            raise DataError(
                "The file is not what was written (its digest differs).", "Make the artefact again.", at=file
            )
    return manifest


def _lacking(folder: Path, kind: str) -> str:
    if folder.is_dir():
        return f"There is no {_noun(kind)} here: {MANIFEST} is missing."
    return "This is a file." if folder.is_file() else "There is no such folder."


def digest_of(value: object) -> str:
    """Digest a plain value by its JSON text: SHA-256 in hex."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
