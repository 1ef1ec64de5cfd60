"""Writes the pages of the reference that are made from the code and the golden files; ``--check`` finds stale ones."""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from formtune.checks import CHECKS
from formtune.dialects import DIALECTS
from formtune.faults import FAULTS
from formtune.formats import FORMATS
from formtune.recipe import Recipe, places
from formtune.recipe.settings import section_of

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Made by `make docs`. Do not edit: change the code or the golden file it is made from. -->\n"


def main(*, check: bool) -> int:
    """Write every page, or tell which ones differ from what would be written."""
    pages = {
        "checks.md": checks_page(),
        "cli.md": cli_page(),
        "dialects.md": dialects_page(),
        "faults.md": faults_page(),
        "formats.md": formats_page(),
        "recipe.md": recipe_page(),
    }
    pages["recipe.schema.json"] = (GOLDEN / "cli" / "recipe.schema.json").read_text(encoding="utf-8")
    stale = [name for name, text in pages.items() if _old(REFERENCE / name) != text]
    if check and stale:
        print(f"docs/reference: {', '.join(stale)} are stale. Run: make docs.", file=sys.stderr)
        return 2
    REFERENCE.mkdir(exist_ok=True)
    for name in stale:
        (REFERENCE / name).write_text(pages[name], encoding="utf-8")
        print(f"docs/reference/{name}")
    return 0


def cli_page() -> str:
    """Lay the help of every command on one page."""
    names = ["formtune", *sorted(path.stem for path in (GOLDEN / "cli").glob("*.txt") if path.stem not in _NO_HELP)]
    parts = [f"## {_title(name)}\n\n```text\n{_golden('cli', name)}```\n" for name in dict.fromkeys(names)]
    errors = f"## What is told when something is wrong\n\n```text\n{_golden('cli', 'errors').rstrip()}\n```\n"
    return "\n".join((MADE, "# The command line\n", *parts, errors))


def recipe_page() -> str:
    """List every setting with its default and what it is for."""
    lines = ["| setting | default | what it is |", "| --- | --- | --- |"]
    for place in places():
        default, description = _setting(place)
        lines.append(f"| `{place}` | {default} | {description} |")
    intro = (
        "A recipe is YAML. `formtune recipe > recipe.yaml` writes one, `-c recipe.yaml` takes one in every command,\n"
    )
    intro += "`--set PLACE=VALUE` changes any setting, and [recipe.schema.json](recipe.schema.json) is for editors.\n"
    return "\n".join((MADE, "# The recipe\n", intro, *lines, ""))


def dialects_page() -> str:
    """List the layouts of files, with what each needs to be recognized."""
    lines = ["| dialect | what it is | what it needs |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {dialect.SUMMARY} | {dialect.NEEDS} |" for name, dialect in DIALECTS.items()]
    return "\n".join((MADE, "# The dialects\n", *lines, ""))


def faults_page() -> str:
    """List what can be wrong with a row, by its code."""
    intro = (
        "Rows that cannot be used are left out, counted, and named with their places: `formtune inspect DATA` lists"
        " them.\nEach kind of fault has a code that stays the same. What differs from row to row stands in braces.\n"
    )
    lines = ["| code | rows are left out with | what is expected | what to do |", "| --- | --- | --- | --- |"]
    lines += [
        "| "
        + " | ".join(text.replace("|", "\\|") for text in (f"`{one.code}`", one.reason, one.expected, one.remedy))
        + " |"
        for one in FAULTS
    ]
    return "\n".join((MADE, "# Faults of rows\n", intro, *lines, ""))


def checks_page() -> str:
    """Say of each check what it finds, how, and what it cannot find, with its codes."""
    intro = "`formtune check DATA` runs them all; `--only` and `--skip` take names and codes. What each cannot find is said too.\n"
    return "\n".join((MADE, "# The checks\n", intro, *_checks()))


def _checks() -> Iterator[str]:
    for name, module in CHECKS.items():
        text = inspect.cleandoc(module.__doc__ or "")
        yield f"## {name}\n\n{_code_style(text)}\n"
        yield "| code | severity | what is wrong | what to do |\n| --- | --- | --- | --- |"
        rows = [f"| {rule.code} | {rule.severity} | {rule.summary} | {rule.remedy} |" for rule in module.RULES]
        yield "\n".join(rows) + "\n"


def _code_style(text: str) -> str:
    """Turn the marks of docstrings into those of Markdown."""
    return re.sub(r":data:`(\w+)`", r"`\1`", text).replace("``", "`")


def formats_page() -> str:
    """Show each format: what it is, when it wins and loses, and records as models see them."""
    return "\n".join((MADE, "# The formats\n", *_formats()))


def _formats() -> Iterator[str]:
    for name, chosen in FORMATS.items():
        yield f"## {name}\n\n{chosen.summary}\n"
        yield f"- loss: {chosen.formula}\n- wins: {chosen.wins}\n- loses: {chosen.loses}\n- source: {chosen.source}\n"
        for path in sorted((GOLDEN / "formats").glob(f"{name}*.txt")):
            yield f"```text\n{path.read_text(encoding='utf-8').rstrip()}\n```\n"


def _setting(place: str) -> tuple[str, str]:
    section: object = Recipe
    for name in place.split("."):
        assert isinstance(section, type)
        assert issubclass(section, Recipe.__base__)
        field = section.model_fields[name]
        section = section_of(field.annotation)
    default = field.default
    shown = "" if default in (None, (), {}) else f"`{default}`"
    return shown, " ".join((field.description or "").replace("``", "`").split()).replace("|", "\\|")


_NO_HELP = ("errors", "results")


def _title(name: str) -> str:
    return name if name == "formtune" else f"formtune {name}"


def _golden(folder: str, name: str) -> str:
    return (GOLDEN / folder / f"{name}.txt").read_text(encoding="utf-8")


def _old(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
