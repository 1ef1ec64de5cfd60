"""Charts place values where they belong, and are well-formed whatever the words in them."""

import math
import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports_samples import styleless

from formtune.reports import (
    ArmRow,
    Bin,
    Calibration,
    Confusion,
    CurvePoint,
    PairRow,
    Scale,
    training_picture,
)
from formtune.reports.charts import MOST_POINTS, Box, Series, heat_map, panel, reliability, thinned
from formtune.reports.intervals import arm_strip, arms_axis, axis_strip, pair_strip, pairs_axis
from formtune.reports.pictures import smoothed
from formtune.reports.svg import ticks

ACCURACY = Scale("accuracy")
numbers = st.floats(-1e6, 1e6)


@given(low=numbers, high=numbers)
def test_ticks_cover_the_range_in_even_steps(low: float, high: float) -> None:
    """Every value between low and high lies between the first tick and the last."""
    low, high = min(low, high), max(low, high)
    marks = ticks(low, high)
    room = 1e-6 * max(1.0, abs(low), abs(high))
    assert marks[0] <= low + room
    assert marks[-1] >= high - room
    assert 2 <= len(marks) <= 9


def test_an_interval_is_drawn_over_its_ticks() -> None:
    """From 70 to 90, the mean of 80 stands in the middle and the interval on either side of it."""
    arm = ArmRow("chat", 80.0, 72.0, 88.0, {0: 79.0, 1: 81.0})
    axis = arms_axis([arm])
    strip = arm_strip(arm, ACCURACY, axis=axis, css="arm-1")
    assert (axis.values[0], axis.values[-1]) == (70.0, 90.0)
    assert '<circle cx="50%" cy="50%" r="5.5" class="mean"><title>chat: 80.0</title></circle>' in strip
    assert '<line x1="13.2%" y1="50%" x2="86.8%" y2="50%" class="bar"/>' in strip
    assert strip.count('class="ring"') == 2
    assert list(re.findall(r">(\d+)<", axis_strip(axis))) == ["70", "75", "80", "85", "90"]


def test_a_baseline_is_drawn_only_where_it_is_in_sight() -> None:
    """An axis is never stretched to a baseline far away."""
    arm = ArmRow("chat", 80.0, 72.0, 88.0)
    axis = arms_axis([arm])
    assert "baseline" in arm_strip(arm, ACCURACY, axis=axis, css="arm-1", baseline=75.0)
    assert "baseline" not in arm_strip(arm, ACCURACY, axis=axis, css="arm-1", baseline=20.0)


def test_the_margin_is_shaded_around_zero() -> None:
    """Zero lies in the middle of the band, and on the axis even where every difference is far from it."""
    pair = PairRow("a", "b", 8.0, 6.0, 10.0, significant=True)
    axis = pairs_axis([pair], 1.0)
    strip = pair_strip(pair, ACCURACY, axis=axis, margin=1.0)
    band = re.search(r'<rect x="([\d.]+)%" y="0" width="([\d.]+)%"', strip)
    zero = re.search(r'<line x1="([\d.]+)%"[^>]*class="zero"', strip)
    assert band is not None
    assert zero is not None
    assert float(zero[1]) == pytest.approx(float(band[1]) + float(band[2]) / 2, abs=0.02)
    assert 'class="apart"' in strip


@pytest.mark.parametrize(
    ("significant", "equivalent", "css"), [(True, True, "equal"), (False, True, "equal"), (False, False, "open")]
)
def test_the_kind_of_mark_says_what_was_found(significant: bool, equivalent: bool, css: str) -> None:
    """What lies within the margin looks alike, significant or not."""
    pair = PairRow("a", "b", 0.1, -0.2, 0.4, significant=significant, equivalent=equivalent)
    assert f'<g class="{css}">' in pair_strip(pair, ACCURACY, axis=pairs_axis([pair], 1.0), margin=1.0)


def test_many_points_are_drawn_as_means_over_neighbors() -> None:
    """300 points become 150, each the mean of two; what is not finite is passed over."""
    points = [(float(k), float(k)) for k in range(300)]
    assert thinned(points)[:2] == [(0.5, 0.5), (2.5, 2.5)]
    assert len(thinned(points)) == 150
    assert thinned([(1.0, math.nan), (2.0, 1.0), (3.0, math.inf)]) == [(2.0, 1.0)]


def test_the_kept_checkpoint_has_the_dot() -> None:
    """The dot stands at the point nearest to the update whose weights were kept."""
    svg = panel(
        [Series([(1.0, 0.0), (5.0, 1.0), (9.0, 0.5)], "arm-1", "seed 0", marked=5.0)], "loss", box=Box(), last_x=10.0
    )
    assert svg.count("<circle") == 1
    assert '<circle cx="186" cy="10" ' in svg


def test_a_curve_without_points_is_an_empty_frame() -> None:
    """A panel with nothing to draw is still a picture."""
    assert ET.fromstring(panel([Series([], "arm-1", "seed 0")], "loss", box=Box())).get("role") == "img"


@given(
    label=st.text(max_size=40),
    counts=st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3),
)
def test_a_heat_map_has_a_cell_for_every_count_that_is_not_zero(label: str, counts: list[list[int]]) -> None:
    """Whatever the labels say, the picture is well-formed; empty cells are not drawn."""
    root = ET.fromstring(heat_map(Confusion("chat", [label, "b", "c"], counts)))
    assert len(root.findall("rect")) == 1 + sum(n > 0 for row in counts for n in row)


def test_a_heat_map_is_as_strong_as_the_share_of_the_row() -> None:
    """5 of 10 is half way between the faintest cell and a full one; right and wrong differ in kind."""
    svg = heat_map(Confusion("chat", ["a", "b"], [[5, 5], [0, 4]]))
    assert re.findall(r'class="(hit|miss)" fill-opacity="([\d.]+)"', svg) == [
        ("hit", "0.59"),
        ("miss", "0.59"),
        ("hit", "1"),
    ]


def test_perfect_calibration_lies_on_the_diagonal() -> None:
    """A bin of 50 % confidence that is right half the time stands in the middle; empty bins are not drawn."""
    svg = reliability(Calibration("chat", [Bin(0, 50, 0, 0.0, 0.0), Bin(50, 100, 9, 50.0, 50.0)], 0.0), "arm-1")
    assert re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg) == [("154", "136")]
    assert svg.count('class="share') == 1


def test_a_training_picture_reads_as_its_golden_file(golden: Callable[[str, str], None]) -> None:
    """Loss above, the metric on the dev records below, over the same updates."""
    points = [CurvePoint(1, 2.0), CurvePoint(2, 1.0, 60.0), CurvePoint(3, 0.8), CurvePoint(4, 0.5, 80.0)]
    svg = training_picture(
        points,
        title="classification on <tiny>",
        dev_losses=[(2.0, 1.2), (4.0, 0.9)],
        metric="macro_f1",
        best_step=4,
    )
    golden("reports/training.svg", styleless(svg))


@pytest.mark.parametrize("n_updates", [1, 20, 21, 10_000])
def test_a_training_picture_holds_any_number_of_updates(n_updates: int) -> None:
    """One line of few losses; of many a faint one, thinned, and a smooth one over it."""
    points = [CurvePoint(step, 1.0 + step % 2) for step in range(1, n_updates + 1)]
    svg = training_picture(points, dev_losses=[(n_updates, 1.0)], best_step=n_updates)
    lines = re.findall(r'<polyline points="([^"]*)" class="curve ([^"]*)"', svg)
    assert [css for _, css in lines] == ["arm-1", "arm-2"] if n_updates <= 20 else ["arm-1 faint", "arm-1", "arm-2"]
    assert all(len(places.split()) <= MOST_POINTS for places, _ in lines)
    assert f"kept: update {n_updates:,}, 1.00" in svg


def test_a_smooth_line_begins_and_ends_where_the_points_do() -> None:
    """Its ends have no neighbors on one side; in between every point is a mean over as many on either side."""
    points = [(float(k), float(k % 2)) for k in range(100)]
    means = smoothed(points)
    assert (means[0], means[-1]) == (points[0], points[-1])
    assert all(abs(y - 0.5) < 0.1 for _, y in means[4:-4])


@pytest.mark.parametrize("points", [[], [CurvePoint(1, math.nan)], [CurvePoint(1, 0.5, 70.0)]])
def test_a_training_picture_stands_alone(points: list[CurvePoint]) -> None:
    """It is XML, carries its style sheet and asks for nothing, however short the training was."""
    svg = training_picture(points, metric="accuracy")
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.find("{http://www.w3.org/2000/svg}style") is not None
    assert not re.search(r"href|url\(|@import|<script", svg)
