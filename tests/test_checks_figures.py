"""What an audit draws: lengths against the model's window, labels and languages by part."""

from collections.abc import Mapping, Sequence
from typing import Any

from formtune.checks import Audit, Context
from formtune.checks.figures import N_SHARES, figures
from formtune.checks.measures import Measured
from formtune.records import Labelled, Plain, Record
from formtune.reports.audits import audit_html
from formtune.reports.figures import histogram, shares

ALL = {"lengths", "balance", "languages"}


def labelled(text: str, label: str) -> Record:
    return Labelled(id=text, inputs={"text": text}, labels=(label,))


def by_title(parts: Mapping[str, Sequence[Record]], ran: set[str]) -> dict[str, dict[str, Any]]:
    return {one["title"]: one for one in figures(Context(parts=parts), ran)}


def test_labels_and_languages_are_counted_by_part() -> None:
    """The most frequent of all parts first; a part without one counts zero."""
    german = "Das ist der Film, den ich nicht gesehen habe, und ich will ihn auch nicht sehen."
    parts = {"train": [labelled("a", "x"), labelled("b", "x")], "test": [labelled(german, "y")]}
    found = by_title(parts, ALL)
    assert found["Labels"]["rows"] == [
        {"name": "x", "counts": {"train": 2, "test": 0}},
        {"name": "y", "counts": {"train": 0, "test": 1}},
    ]
    assert found["Languages"]["rows"] == [
        {"name": "too short to tell", "counts": {"train": 2, "test": 0}},
        {"name": "German", "counts": {"train": 0, "test": 1}},
    ]


def test_every_record_stands_in_one_bin() -> None:
    """Far outliers share the last one, and are counted apart."""
    records = [Plain(id=str(n), text="x" * n) for n in range(1, 200)] + [Plain(id="far", text="x" * 10_000)]
    (found,) = figures(Context(parts={"data": records}), {"lengths"})
    bins = found["bins"]
    assert sum(n for _, _, n in bins) == 200
    assert [end for _, end, _ in bins[:-1]] == [first for first, _, _ in bins[1:]]
    assert (bins[0][0], found["unit"], found["window"], found["n_beyond"]) == (0, "characters", None, 1)
    assert bins[-1][1] < 300


def test_a_window_that_is_near_is_in_the_picture() -> None:
    """So that what is cut is seen to be; one that is far away would leave nothing else to see."""
    for window, is_shown in ((64, True), (8192, False)):
        context = Context(parts={"data": []})
        context.__dict__["measured"] = [Measured("tokens", [10, 20, 60], format="chat", window=window)]
        (found,) = figures(context, {"lengths"})
        assert found["title"] == "Tokens of a record, as chat"
        assert (f"the model takes {window:,}" in histogram(found)) is is_shown


def test_what_no_check_looked_at_is_not_drawn() -> None:
    """A check that is skipped has no figure, nor have data without labels a figure of labels."""
    parts = {"data": [Plain(id="a", text="one")]}
    assert set(by_title(parts, ALL)) == {"Characters of a record", "Languages"}
    assert by_title({"data": [labelled("a", "x")]}, {"duplicates"}) == {}


def test_long_lists_of_labels_end_with_their_number() -> None:
    """And each name is what the data say, harmless in a page."""
    records = [labelled(str(n), f"<b>{n}") for n in range(N_SHARES + 3)]
    found = by_title({"data": records}, {"balance"})["Labels"]
    assert (len(found["rows"]), found["n_more"]) == (N_SHARES, 3)
    drawn = shares(found)
    assert "and 3 more" in drawn
    assert drawn.count("<rect") == N_SHARES
    both = by_title({"train": records[:1], "test": records[1:2]}, {"balance"})["Labels"]
    assert shares(both).count("<rect") == 2  # and none for a part in which a label does not stand
    assert "<b>" not in drawn


def test_the_page_shows_them_above_the_findings() -> None:
    """Each is an image with words for those who do not see it."""
    found = figures(Context(parts={"data": [labelled("a film", "x"), labelled("a play", "y")]}), ALL)
    page = audit_html(Audit([], {"data": 2}, found).to_dict())
    assert page.count('role="img"') == len(found) == 3
    assert 'aria-label="Labels: x 1, y 1"' in page
