"""Checks between parts and files: leaks at five levels, stretches of a benchmark, and records that are nearly the same."""

from collections import Counter
from pathlib import Path

import pytest

from formtune.checks import CHECKS, Context
from formtune.checks.finding import Finding, NotChecked
from formtune.dialects import read
from formtune.records import Labelled, Origin, Record, identified

LONG = "the quick brown fox jumps over the lazy dog while nine old sailors watch from the harbor wall at dawn"


def rows(file: str, *texts: tuple[str, str] | tuple[str, str, str]) -> list[Record]:
    return identified(
        Labelled(
            origin=Origin(file, n), inputs={"text": text}, labels=(label,), group=group[0] if group else None
        )
        for n, (text, label, *group) in enumerate(texts, 1)
    )  # fmt: skip


def found(name: str, **parts: list[Record]) -> list[Finding]:
    against = {key: part for key, part in parts.items() if key not in {"data", "train", "dev", "test"}}
    own = {key: part for key, part in parts.items() if key not in against}
    context = Context(parts=own, against=against)
    return list(CHECKS[name].find(context.records, context))


TRAIN = rows(
    "train", ("A film.", "x"), ("Two films!", "x"), ("three", "x"), (LONG, "x"), ("four", "x", "g"), ("five", "y", "h")
)


def test_a_leak_is_told_at_its_strongest_level() -> None:
    """Each record of the test once."""
    changed = LONG.replace("nine", "ten")
    test = rows(
        "test", ("A film.", "x"), ("two FILMS", "x"), ("Three", "y"), (changed, "x"), ("six", "x", "g"), ("seven", "x")
    )
    findings = found("leakage", train=TRAIN, test=test)
    assert {one.rule.code: one.places for one in findings} == {
        "FT231": ("test:1",), "FT232": ("test:2",), "FT233": ("test:3",), "FT234": ("test:4",), "FT235": ("test:5",)
    }  # fmt: skip
    assert findings[0].problem == "1 record of 6 of test also stands in train, exactly."
    assert findings[0].details == ("test:1 = train:1",)


def test_every_two_parts_and_every_file_are_held_against_each_other() -> None:
    """Train and dev against what must not be known; files against each part."""
    one = rows("one", ("A film.", "x"))
    findings = found("leakage", train=one, dev=one, test=one, bench=one)
    sides = Counter(finding.problem.split(" of ", 2)[2] for finding in findings)
    assert sides == dict.fromkeys(
        (f"{b} also stands in {a}, exactly." for a, b in
         [("train", "dev"), ("train", "test"), ("dev", "test"), ("train", "bench"), ("dev", "bench"), ("test", "bench")]), 1
    )  # fmt: skip


def test_one_part_alone_has_no_leaks() -> None:
    """There is nothing to hold it against."""
    for name in ("leakage", "contamination"):
        with pytest.raises(NotChecked, match="--against"):
            found(name, data=TRAIN)


def test_a_stretch_of_a_benchmark_is_found_in_longer_text() -> None:
    """Whatever stands around it, and however its lines are broken; the evidence is shown."""
    quoted = "\n".join(LONG.title().split())
    data = rows("data", (f"He wrote: {quoted}. And more of his own.", "x"), ("nothing of it", "x"))
    benchmark = rows("bench", (LONG, "y"), ("short and not looked at", "y"))
    (one,) = found("contamination", data=data, bench=benchmark)
    assert one.places == ("bench:1",)
    assert one.details[0].startswith("bench:1 in data:1, 100 % of it: 'brown fox jumps")


def test_twelve_words_are_no_stretch() -> None:
    """Thirteen are."""
    words = LONG.split()
    for n, expected in ((12, 0), (13, 1)):
        data = rows("data", (" ".join(words[:n]) + " and then the story goes on in other words", "x"))
        assert len(found("contamination", data=data, bench=rows("bench", (LONG, "y")))) == expected


def test_chinese_stretches_count_characters() -> None:
    """Thirty of them."""
    text = "这条河发源于山区向北流经四个城镇最后注入大海两岸的居民世世代代以捕鱼和种植水稻为生每年春天都举行盛大的节日"
    (one,) = found("contamination", data=rows("data", (f"据说，{text[:40]}。", "x")), bench=rows("bench", (text, "y")))
    assert one.places == ("bench:1",)
    assert found("contamination", data=rows("data", (text[:25], "x")), bench=rows("bench", (text, "y"))) == []


def test_near_duplicates_are_clusters_whose_first_stays() -> None:
    """Exact repetitions are the business of another check."""
    a, b, c = LONG, LONG.replace("nine", "ten"), LONG.replace("nine", "six")
    (one,) = found("near-duplicates", data=rows("d", (a, "x"), ("else", "x"), (b, "x"), (a.upper(), "x"), (c, "x")))
    assert one.places == ("d:3", "d:5")
    assert one.problem == "2 records are nearly the same as an earlier one."


def test_real_news_leak_from_test_into_train(shared: Path) -> None:
    """AG News holds stories of several agencies: the same but for trifles, and nearly the same."""
    files = {
        part: read([str(shared / "cls_en" / "ag_news" / f"{part}.csv")]).records for part in ("train", "valid", "test")
    }
    findings = found("leakage", train=files["train"], dev=files["valid"], test=files["test"])
    codes = Counter(one.rule.code for one in findings)
    assert codes == {"FT232": 1, "FT234": 2}
    (one,) = [one for one in findings if one.rule.code == "FT232"]
    assert one.details[0].endswith("test.csv:745 = " + str(shared / "cls_en" / "ag_news" / "train.csv:3352"))
    assert found("contamination", train=files["train"], test=files["test"])[0].rule.code == "FT236"


def test_questions_about_one_passage_are_not_near_duplicates(shared: Path) -> None:
    """XQuAD has 890 questions about 180 passages in this file, and two that are asked twice in other words."""
    records = read([str(shared / "qa" / "xquad" / "en.train.json")]).records
    (one,) = found("near-duplicates", data=records)
    assert len(one.places) == 2
