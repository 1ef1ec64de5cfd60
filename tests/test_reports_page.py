"""The report is one page that asks for nothing, escapes everything and leaves out what it has no data for."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_samples import Page, bare, shown, small, styleless

from formtune.reports import (
    Answer,
    ArmRow,
    Confusion,
    Curve,
    CurvePoint,
    Disagreement,
    LeftOutRow,
    PairRow,
    Repeat,
    ReportData,
    Scale,
    Shown,
    ShownExample,
    ShownToken,
    preview_html,
    report_html,
    summary_html,
    write_report,
)
from formtune.reports.views import finding, marked, mistakes, oriented, rates, turned_round

HOSTILE = "</style></title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7 * 7 }}\x00\x1b\ud800"


def hostile() -> ReportData:
    """Put hostile text wherever a report takes text."""
    return ReportData(
        title=HOSTILE,
        verdict=f"{HOSTILE} is best",
        outcome="better",
        scale=Scale(HOSTILE),
        arms=[ArmRow(HOSTILE, 1.0, by_seed={0: 1.0}, note=HOSTILE), ArmRow(f"{HOSTILE}@{HOSTILE}", 2.0)],
        pairs=[PairRow(HOSTILE, f"{HOSTILE}@{HOSTILE}", 1.0, 0.0, 2.0)],
        advice=[HOSTILE],
        facts=[(HOSTILE, HOSTILE)],
        curves=[Curve(HOSTILE, 0, [CurvePoint(1, 1.0, 1.0)])],
        dev_metric=Scale(HOSTILE),
        confusions=[Confusion(HOSTILE, [HOSTILE, "b"], [[1, 1], [1, 1]])],
        shown=Shown(
            HOSTILE, [(HOSTILE, HOSTILE)], [ShownExample(HOSTILE, [ShownToken(HOSTILE, 1, "target", 1.0, HOSTILE)])]
        ),
        disagreements=[Disagreement(HOSTILE, HOSTILE * 9, HOSTILE, [Answer(HOSTILE, HOSTILE, False)])],
        left_out=[LeftOutRow(HOSTILE, 1, [HOSTILE])],
        repeat=Repeat(HOSTILE, HOSTILE, [0], [(HOSTILE, HOSTILE)], [(HOSTILE, HOSTILE)]),
    )


PAGES: dict[str, Callable[[], str]] = {
    "small": lambda: report_html(small()),
    "bare": lambda: report_html(bare()),
    "hostile": lambda: report_html(hostile()),
    "preview": lambda: preview_html(shown()),
    "summary": lambda: summary_html(small()),
}


def test_a_small_report_reads_as_its_golden_file(golden: Callable[[str, str], None]) -> None:
    """The page of a report with every part, without its style sheet."""
    golden("reports/small.html", styleless(report_html(small())))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_from_outside(name: str) -> None:
    """No address but places in the page itself, no script, nothing that a style sheet would load."""
    html = PAGES[name]()
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {tag for tag, _ in page.tags}
    assert all(address.startswith("#") for address in page.attributes("href"))
    assert not page.attributes("src") + page.attributes("action") + page.attributes("srcset")
    style = "".join(re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)) + "".join(page.attributes("style"))
    assert not re.search(r"url\(|@import|@font-face|https?:", style)


@pytest.mark.parametrize("name", ["small", "bare", "hostile", "preview"])
def test_a_page_forbids_the_browser_to_load_anything(name: str) -> None:
    """The content security policy allows the page's own style sheet, and no script at all."""
    policies = [a["content"] for tag, a in Page(PAGES[name]()).tags if tag == "meta" and "http-equiv" in a]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


@pytest.mark.parametrize("name", PAGES)
def test_every_tag_is_closed_where_it_should_be(name: str) -> None:
    """Text from data never opens or closes a tag."""
    assert Page(PAGES[name]()).open_tags == []


def test_hostile_text_stays_text() -> None:
    """No handler, no element and no template expression comes out of data; control characters become pictures."""
    html = report_html(hostile())
    page = Page(html)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text()
    assert "{{ 7 * 7 }}" in page.text()
    assert "\N{SYMBOL FOR NULL}\N{SYMBOL FOR ESCAPE}\N{REPLACEMENT CHARACTER}" in page.text()
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", html)


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_in_a_page_is_well_formed(name: str) -> None:
    """Each SVG is XML, and says in words what it shows or stands beside words that do."""
    pictures = re.findall(r"<svg.*?</svg>", PAGES[name](), flags=re.DOTALL)
    assert pictures or name == "preview"
    for picture in pictures:
        root = ET.fromstring(picture)
        assert root.get("aria-label") or root.get("aria-hidden") == "true"


@settings(max_examples=15)
@given(text=st.text(max_size=30))
def test_any_text_makes_a_whole_page(text: str) -> None:
    """Whatever stands in a record, the page is whole and can be written as UTF-8."""
    data = replace(
        bare(), title=text, verdict=text, disagreements=[Disagreement(text, text, text, [Answer("chat", text, True)])]
    )
    html = report_html(data)
    assert Page(html).open_tags == []
    html.encode("utf-8")


def test_headings_come_in_order_and_anchors_lead_somewhere() -> None:
    """One h1, no level skipped, no id twice, and every link of the contents has its place."""
    page = Page(report_html(small()))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in page.attributes("href")} <= set(ids)


def test_header_cells_say_what_they_head() -> None:
    """Every header cell has a scope."""
    html = report_html(small())
    assert not re.findall(r"<th(?![^>]*scope)( [^>]*)?>", html)


def test_the_verdict_stands_before_everything_else() -> None:
    """The sentence with the numbers is the first heading; after it comes the table of contents."""
    text = Page(report_html(small())).text()
    assert text.index("is better than chat by 4.1") < text.index("Scores and costs") < text.index("Differences")


def test_what_there_is_no_data_for_has_no_section() -> None:
    """A report of one arm shows its score, and neither empty plots nor a verdict between arms."""
    page = Page(report_html(bare()))
    assert [attrs["id"] for tag, attrs in page.tags if tag == "section"] == ["arms"]
    assert "Not decided" not in page.text()
    assert "Cost" not in page.text().replace("Scores and costs", "")


@pytest.mark.parametrize(
    "part", ["pairs", "curves", "confusions", "calibrations", "shown", "disagreements", "left_out", "repeat"]
)
def test_any_part_may_be_missing(part: str) -> None:
    """A report without one of its parts is a whole page."""
    empty = None if part in ("shown", "repeat") else ()
    assert Page(report_html(replace(small(), **{part: empty}))).open_tags == []


def test_numbers_that_are_no_numbers_are_dashes() -> None:
    """A diverged run shows a dash, and its curve ends where its loss does."""
    nan, inf = float("nan"), float("inf")
    arm = ArmRow("chat", nan, nan, inf, {0: nan})
    curve = Curve("chat", 0, [CurvePoint(1, 2.0), CurvePoint(2, inf), CurvePoint(3, nan, nan)])
    html = report_html(replace(bare(), arms=[arm], curves=[curve]))
    assert not re.search(r"\b(nan|inf)\b", styleless(html))
    assert '<td class="number mean">–</td>' in html


def test_lower_is_better_is_said() -> None:
    """Of a loss the page says that less is better, and shows it with three digits."""
    arms = [ArmRow("chat", 0.31, 0.27, 0.36), ArmRow("masked_lm", 0.52)]
    pairs = [PairRow("chat", "masked_lm", 0.21, 0.16, 0.26, significant=True)]
    text = Page(report_html(replace(bare(), scale=Scale("log_loss", False, "plain"), arms=arms, pairs=pairs))).text()
    assert "lower is better" in text
    assert "less is better" in text
    assert "+0.210" in text
    assert "points" not in text


def test_a_pair_reads_the_same_from_either_side() -> None:
    """Turning a pair round, with its difference, changes nothing on the page."""
    data = small()
    assert report_html(replace(data, pairs=[turned_round(pair) for pair in data.pairs])) == report_html(data)


def test_the_better_arm_stands_first_in_every_pair() -> None:
    """chat is 4.1 points behind, so the pair reads: classification over chat, +4.1."""
    pair = oriented(small())[0]
    assert (pair.a, pair.b, pair.difference, pair.low, pair.high) == ("classification@minilm-l6", "chat", 4.1, 2.0, 6.3)


@pytest.mark.parametrize(
    ("significant", "equivalent", "words"),
    [
        (True, False, "better"),
        (True, True, "better, by less than the margin"),
        (False, True, "equivalent"),
        (False, False, "not decided"),
    ],
)
def test_a_finding_is_said_in_words(significant: bool, equivalent: bool, words: str) -> None:
    """The four things that test and margin can say together."""
    assert finding(PairRow("a", "b", 1.0, 0.0, 2.0, significant=significant, equivalent=equivalent)) == words


def test_arms_are_marked_in_a_sentence_but_not_inside_other_names() -> None:
    """The longest name is taken, and a word that only contains one is left alone."""
    html = marked("chat@x beats chat; chatty <b>", ["chat", "chat@x"])
    assert html.count('class="arm"') == 2
    assert "; chatty &lt;b&gt;" in html


def test_rates_of_classes_count_an_invalid_answer_against_recall() -> None:
    """8 of 10 records of a, one of them unanswered; 3 of 5 of b; 8 of 10 answers a were right."""
    a, b = rates(Confusion("chat", ["a", "b"], [[8, 1], [2, 3]], [1, 0]))
    assert (a.recall, a.precision, a.f1) == (0.8, 0.8, 0.8)
    assert (b.recall, b.precision, b.f1) == (0.6, 0.75, 2 * 3 / 9)


def test_the_most_frequent_mistakes_come_first() -> None:
    """Wrong labels and missing answers are both mistakes."""
    found = mistakes(Confusion("chat", ["a", "b"], [[8, 1], [2, 3]], [5, 0]))
    assert [(m.gold, m.answered, m.n) for m in found] == [("a", "(no valid answer)", 5), ("b", "a", 2), ("a", "b", 1)]


def test_many_classes_are_a_heat_map_with_every_label() -> None:
    """Thirteen classes are drawn, not tabled; each label stands beside its row with its number."""
    labels = [f"intent {k}" for k in range(13)]
    counts = [[9 if row == column else 0 for column in range(13)] for row in range(13)]
    html = report_html(replace(bare(), confusions=[Confusion("chat", labels, counts)]))
    assert "All 13 classes" in html
    assert all(f">intent {k}  {k + 1}</text>" in html for k in range(13))


def test_a_long_text_can_be_opened_whole() -> None:
    """The first 260 characters are shown; the whole text is there."""
    text = "这家酒店的位置非常好。" * 60
    html = report_html(small(text))
    assert text in html
    assert f"{text[:260]}…" in html


def test_a_learned_token_shows_its_weight_and_what_its_slot_asks_for() -> None:
    """The strongest weight of an example is full color; a mask slot names what fills it."""
    html = preview_html(shown())
    assert (
        '<span class="t target learned" style="--w:1.0" title="id 812, target, weight 1"><i>·</i>positive</span>'
        in html
    )
    assert (
        '<span class="t control learned" style="--w:0.5" title="id 2, control, weight 0.5">&lt;|end|&gt;</span>' in html
    )
    assert '[MASK]<span class="asks"> → great</span>' in html


def test_a_report_is_written_whole_under_its_name(tmp_path: Path) -> None:
    """The folder is made, the file is the page, and nothing else is left there."""
    write_report(small(), tmp_path / "out" / "report.html")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == report_html(small())


def test_the_same_data_gives_the_same_page() -> None:
    """Nothing on the page depends on the hour or on chance."""
    assert report_html(small()) == report_html(small())


def _themes() -> list[dict[str, str]]:
    """Read the colors of the light and of the dark theme from the style sheets."""
    light: dict[str, str] = {}
    dark: dict[str, str] = {}
    for name in ("charts.css", "report.css"):
        style = files("formtune.reports").joinpath(f"templates/{name}").read_text(encoding="utf-8")
        blocks = re.findall(r"\.ft \{(.*?)\}", style, flags=re.DOTALL)
        light |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[0]))
        dark |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[1]))
    return [light, {**light, **dark}]


def _contrast(one: str, other: str) -> float:
    def luminance(color: str) -> float:
        parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dim, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("theme", _themes(), ids=["light", "dark"])
def test_words_and_marks_can_be_told_from_their_ground(theme: dict[str, str]) -> None:
    """Text has a contrast of 4.5 to 1 and marks one of 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11), in both themes."""
    for ground in ("paper", "card"):
        assert all(_contrast(theme[ink], theme[ground]) >= 4.5 for ink in ("ink", "muted", "accent", "right", "wrong"))
        assert all(_contrast(theme[f"arm-{k}"], theme[ground]) >= 3 for k in range(1, 9))
    fills = ("learned", "control", "cell-hit", "cell-miss", "right-soft", "wrong-soft", "band")
    assert all(_contrast(theme["ink"], theme[fill]) >= 4.5 for fill in fills)
    assert _contrast(theme["right"], theme["right-soft"]) >= 4.5
    assert _contrast(theme["wrong"], theme["wrong-soft"]) >= 4.5


def test_bytes_that_spell_a_character_stand_together() -> None:
    """A reader sees the character, and each of its tokens in a box of its own."""
    tokens = [ShownToken("<0xE8><0xB7>", 5, "content"), ShownToken("<0x9D>", 6, "content")]
    html = preview_html(Shown("a.csv:2", [], [ShownExample("chat", tokens)]))
    assert '<span class="bytes"><b>距</b>' in html
    assert re.findall(r'title="id (\d)[^>]*>(.*?)</span>', html) == [("5", "E8<i>·</i>B7"), ("6", "9D")]


def test_every_figure_follows_the_order_of_the_arms() -> None:
    """Curves given for the second arm first are still drawn best arm first."""
    data = small()
    turned = replace(data, curves=list(reversed(data.curves)), confusions=list(reversed(data.confusions)))
    text = Page(report_html(turned)).text()
    learned = text[
        text.index("How they learned", text.index("Differences Each")) : text.index("One record as the model")
    ]
    assert re.findall(r"classification@minilm-l6|chat", learned)[:2] == ["classification@minilm-l6", "chat"]
