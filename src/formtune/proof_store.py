"""Proofs on disk: what came of comparing a library with the reference, by the digest of all that it depends on.

A file is whole or absent; one that cannot be read is as good as absent.
"""

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from formtune.model_files import cache_folder

_CPU = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of comparing a library with the reference.

    Attributes:
        digest: SHA-256 of what it depends on: encoder, library, versions, probes, processor.
        library: what was compared.
        version: of it.
        reason: why it is not used, as a clause; empty where it holds.
        disputed: characters that it takes for others, mostly by another version of Unicode; the reference keeps the texts
            that hold one.
    """

    digest: str
    library: str
    version: str
    reason: str = ""
    disputed: str = ""


def _place(digest: str) -> Path:
    return cache_folder() / "encoders" / f"{digest}.json"


def kept(digest: str) -> Proof | None:
    """Read a proof that was kept; None where there is none, or none that can be read."""
    try:
        found = msgspec.json.decode(_place(digest).read_bytes(), type=Proof)
    except (OSError, ValueError, msgspec.DecodeError):
        return None
    return found if found.digest == digest else None


def keep(proof: Proof) -> None:
    """Write a proof, whole or not at all; where nothing can be written it is proved anew the next time."""
    path = _place(proof.digest)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(proof))
        part.replace(path)


def processor() -> str:
    """Name what decides which code of an engine runs: the kind of processor, and what it can do."""
    try:
        with _CPU.open(encoding="utf-8") as file:
            able = next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:  # another system than Linux
        able = ""
    return f"{platform.machine()} {able}"
