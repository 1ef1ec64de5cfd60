"""Recipes as YAML files, read without the traps of YAML 1.1."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from formtune.errors import DataError

# YAML 1.2's core schema. PyYAML reads 1.1, in which the label `no` is False, `12:30` is 750 and `007` is 7; here
# they stay text, and 1e-5 is a number.
_CORE = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", "-+.0123456789"),
    ("merge", r"<<", "<"),
)
_Resolvers = dict[str, list[tuple[str, re.Pattern[str]]]]


def _resolvers(*, over: _Resolvers | None = None) -> _Resolvers:
    """Lay out the core schema as PyYAML keeps it: by the first character of a value ("" is the empty one)."""
    table: _Resolvers = {first: list(rules) for first, rules in (over or {}).items()}
    for kind, pattern, firsts in _CORE:
        for first in firsts:
            rule = (f"tag:yaml.org,2002:{kind}", re.compile(f"^(?:{pattern})$"))
            table.setdefault("" if first == "\0" else first, []).append(rule)
    return table


class _Loader(yaml.SafeLoader):
    """Reads the core schema, and refuses a key that stands twice; YAML itself would take the last in silence."""

    yaml_implicit_resolvers = _resolvers()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                problem = f"the key {key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""

    yaml_implicit_resolvers = _resolvers(over=yaml.SafeDumper.yaml_implicit_resolvers)


def read(path: str | Path) -> dict[str, Any]:
    """Read the settings of a YAML file as they stand there, unchecked.

    Raises:
        DataError: where it cannot be read, is not YAML, or holds something else than settings.
    """
    try:
        settings = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise DataError(f"The recipe cannot be read: {error.strerror}.", "Check the path.", at=path) from error
    except UnicodeDecodeError as error:
        raise DataError("The recipe is not UTF-8 text.", "Save it as UTF-8.", at=path) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        remedy = "Write settings as `key: value`, indented by spaces."
        raise DataError(f"This is not YAML: {error.problem}.", remedy, at=f"{path}:{line}") from error
    except yaml.YAMLError as error:
        raise DataError(
            "This is not YAML: it holds characters that no text has.", "Check the path.", at=path
        ) from error
    if settings is not None and not isinstance(settings, dict):
        raise DataError("A recipe is a mapping of settings.", "Begin with `data:`.", at=path)
    return settings or {}


def write(settings: Mapping[str, object]) -> str:
    """Write settings as YAML that :func:`read` reads back to the same."""
    return yaml.dump(dict(settings), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def value(text: str) -> object:
    """Read one value as it would be read in a file.

    >>> [value(text) for text in ("3", "1e-5", "true", "[a, b]", "null", "no")]
    [3, 1e-05, True, ['a', 'b'], None, 'no']
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError:
        return text
