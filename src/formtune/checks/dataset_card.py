"""A dataset card: the front matter that the Hugging Face Hub reads, and what was measured; what is not known is said to be so."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from formtune.checks.described import Described, relative
from formtune.errors import SettingError

LANGUAGES: Mapping[str, str] = {
    "English": "en", "German": "de", "French": "fr", "Spanish": "es", "Italian": "it", "Portuguese": "pt", "Dutch": "nl",
    "Chinese": "zh", "Japanese": "ja", "Korean": "ko", "Greek": "el", "Hebrew": "he", "Thai": "th", "Tamil": "ta", "Bengali": "bn",
}  # fmt: skip
TASKS: Mapping[str, str] = {
    "labelled": "text-classification",
    "question": "question-answering",
    "conversation": "text-generation",
    "plain": "text-generation",
}  # pairs are translations, summaries or corrections, which is not measured
NOT_KNOWN = (
    "its license, and whether you may use it for your purpose",
    "who wrote and who labelled it, when, how and why",
    "whether the people in it have consented",
    "what it leaves out, and whom it represents badly",
)
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_WRITTEN_BY = "Written by `formtune check --card`"
_SPLITS = {"data": "train", "dev": "validation"}
N_LABELS = 50


def check_card(path: str) -> None:
    """Refuse to write over a file that is no card of ours: ``README.md`` is what the Hub wants, and what much else is called.

    Raises:
        SettingError: where there is such a file.
    """
    out = Path(path)
    if out.is_file() and _WRITTEN_BY.encode() not in out.read_bytes():
        raise SettingError("Another file stands there.", "Name a new one, or take that one away.", at="--card")


def card_of(data: Described, folder: Path) -> str:
    """Write a card as Markdown, for a folder from which its files are seen."""
    front = yaml.safe_dump(_front_matter(data, folder), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(_sections(data, folder)) + "\n"


def _front_matter(data: Described, folder: Path) -> dict[str, Any]:
    codes = [LANGUAGES[language] for language in data.languages if language in LANGUAGES]
    tasks = list(dict.fromkeys(TASKS[kind] for kind in data.kinds if kind in TASKS))
    size = next((name for limit, name in _SIZES if data.n_records < limit), "n>10M")
    files: dict[str, list[str]] = {}
    for file in data.files:
        files.setdefault(_SPLITS.get(file.part, file.part), []).append(relative(file.path, folder))
    named = [{"split": split, "path": paths if len(paths) > 1 else paths[0]} for split, paths in files.items()]
    matter = {
        "pretty_name": data.name,
        "license": "unknown",
        "language": codes,
        "task_categories": tasks,
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": named}] if named else [],
    }
    return {key: value for key, value in matter.items() if value}


def _sections(data: Described, folder: Path) -> Iterator[str]:
    yield f"# {data.name}"
    yield (f"{_WRITTEN_BY}: everything below was measured on the files. It does not say where they come from.")
    yield "## Records\n\n" + _table(
        ("part", "records", "kinds", "characters, median (95 %)", "rows left out"),
        [
            (
                part,
                f"{facts['records']:,}",
                ", ".join(facts["kinds"]),
                _length(facts["lengths"]["characters"]),
                f"{sum(entry['rows'] for entry in facts['left_out']):,}",
            )
            for part, facts in data.facts.items()
        ],
    )
    if data.languages:
        yield f"Languages, as far as scripts and small words tell: {', '.join(data.languages)}."
    if data.labels:
        shown = list(data.labels.items())[:N_LABELS]
        more = f"\n\nand {len(data.labels) - len(shown)} more" if len(shown) < len(data.labels) else ""
        total = sum(data.labels.values())
        rows = [(label, f"{n:,}", f"{100 * n / total:.1f} %") for label, n in shown]
        yield "## Labels\n\n" + _table(("label", "records", "share"), rows) + more
    yield "## Files\n\n" + _table(
        ("file", "part", "bytes", "SHA-256"),
        [(relative(file.path, folder), file.part, f"{file.size_bytes:,}", f"`{file.sha256}`") for file in data.files],
    )
    yield "## What checks found\n\n" + _findings(data)
    yield "## Not known\n\n" + "\n".join(f"- {what}" for what in NOT_KNOWN)


def _findings(data: Described) -> str:
    values = data.audit.to_dict()
    rows = [(one["code"], one["severity"], one["problem"], f"{one['rows']:,}") for one in values["findings"]]
    silent = [row["check"] for row in values["checks"] if not row["findings"] and row["not_checked"] is None]
    unasked = [f"{row['check']} ({row['not_checked']})" for row in values["checks"] if row["not_checked"]]
    lines = [_table(("code", "severity", "finding", "records"), rows) if rows else "Nothing."]
    lines += [f"Nothing was found by: {', '.join(silent)}."] if silent else []
    lines += [f"Not checked: {'; '.join(unasked)}."] if unasked else []
    return "\n\n".join(lines)


def _length(quantiles: Mapping[str, int]) -> str:
    return f"{quantiles['median']:,} ({quantiles['q95']:,})" if quantiles else "–"


def _table(names: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [names, tuple("---" for _ in names), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """Keep a text of the data from ending its cell, its line, or being read as HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
