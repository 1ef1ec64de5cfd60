"""What goes wrong around a command, as place, problem and remedy: slips of typing, missing extras, the disk."""

import errno
import os
import tempfile
from collections.abc import Mapping

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from formtune.errors import DataError, FormtuneError, MissingExtra, SettingError, unknown

# Top-level module → the extra that brings it. The light install has none of them.
EXTRAS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "accelerate",
            "gguf",
            "optuna",
            "peft",
            "sacrebleu",
            "safetensors",
            "scipy",
            "torch",
            "transformers",
        ),
        "train",
    ),
    **dict.fromkeys(("fastapi", "uvicorn"), "serve"),
}
_KINDS: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "true or false"}


def of_import(error: ModuleNotFoundError) -> FormtuneError:
    """Name the extra that is missing.

    Raises:
        ModuleNotFoundError: the error itself, where no extra brings the module: then it is a bug of ours.
    """
    package = (error.name or "").split(".")[0]
    if package not in EXTRAS:
        raise error
    return MissingExtra(package, EXTRAS[package])


def of_system(error: OSError) -> FormtuneError:
    """Tell what the operating system refused.

    Raises:
        OSError: the error itself, where it names no file: then it is a bug of ours, unless a disk is full.
    """
    if error.filename is None and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
    ):  # of a file without a name, as those on the way are
        remedy = "Make room there and where the result goes, or let TMPDIR name another folder for files on the way."
        return SettingError(f"{os.strerror(error.errno)}.", remedy, at=tempfile.gettempdir())
    if error.filename is None or error.strerror is None:
        raise error
    return DataError(f"{error.strerror}.", "Check the path, its permissions and the space left.", at=error.filename)


def of_typing(error: CycloptsError) -> FormtuneError:
    """Tell what was typed wrongly."""
    command = " ".join(("formtune", *(error.command_chain or ())))
    see = f"See: {command} --help."
    match error:
        case UnknownOptionError():
            return unknown("option", error.token.keyword or error.token.value, _options(error), at=command)
        case UnknownCommandError(unused_tokens=[name, *_]) if error.app:
            return unknown("command", name, [known for known in error.app if known[0] != "-"], at="formtune")
        case CoercionError(token=token) if token:
            wanted = _KINDS.get(error.target_type or str, "a value that fits")
            return SettingError(f"{token.value!r} cannot be used here.", f"Give {wanted}.", at=token.keyword or command)
        case UnusedCliTokensError(unused_tokens=[first, *_]):
            return SettingError(f"{first!r} is more than this command takes.", see, at=command)
        case MissingArgumentError() if error.argument:
            return SettingError(f"{error.argument.name} is missing.", see, at=command)
    return SettingError(str(error), see, at=command)


def _options(error: UnknownOptionError) -> list[str]:
    names = [name for argument in error.argument_collection for name in argument.names if name.startswith("--")]
    return [*names, "--help"]
