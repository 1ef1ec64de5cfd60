"""What long work tells: how fast it goes, how long it takes, how it is drawn and written."""

from dataclasses import replace

import pytest
from rich.console import Console
from rich.progress import Progress

from formtune.cli.progress import Drawing, Lines, _bars
from formtune.progress import Event, Pace

UPDATE = Event("seed 0", steps=10, loss=0.5, n_learned=30, seconds=0.1, n_computed=31.0, n_padded=100)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def after(clock: Clock, passed_s: float, step: int, **more: object) -> Event:
    """Let time pass, then tell of an update."""
    clock.now_s += passed_s
    return replace(UPDATE, step=step, **more)  # type: ignore[arg-type]


class TestPace:
    """Speeds of the last updates, and the time left with the looks that are still to come."""

    def test_the_time_left_is_that_of_updates_and_looks(self) -> None:
        """Eight updates of 0.1 s, and two looks of 2 s."""
        clock = Clock()
        pace = Pace(clock)
        pace.see(after(clock, 0.1, 1))
        assert pace.left_s == pytest.approx(0.9)
        pace.see(after(clock, 2.1, 2, shown={"loss": 0.5}, looks_left=2))
        assert pace.left_s == pytest.approx(0.8 + 4.0)

    def test_recent_updates_count_most(self) -> None:
        """An epoch whose trunk is replayed says more of the next than the one that computed it."""
        clock = Clock()
        pace = Pace(clock)
        for step in range(50):
            pace.see(after(clock, 1.0, step, seconds=1.0, steps=200))
        for step in range(50, 100):
            pace.see(after(clock, 0.1, step, seconds=0.1, steps=200))
        assert pace.left_s == pytest.approx(101 * 0.1, rel=1.0)
        assert pace.left_s is not None and pace.left_s < 101 * 0.2
        assert pace.learned_per_s is not None and 150 < pace.learned_per_s < 300

    def test_shares_are_of_all_updates(self) -> None:
        """31 of 100 places, then none of 100."""
        pace = Pace(Clock())
        for computed in (31.0, 0.0):
            pace.see(replace(UPDATE, n_computed=computed))
        assert pace.computed_share == pytest.approx(0.155)

    def test_before_an_update_nothing_is_known(self) -> None:
        """Not even where a stage has no steps."""
        pace = Pace(Clock())
        pace.see(Event("reading"))
        assert (pace.left_s, pace.learned_per_s, pace.computed_share) == (None, None, None)


class TestLines:
    """Without a terminal."""

    def test_progress_is_a_line_per_stage_and_look(self) -> None:
        """So that a log stays readable."""
        clock, lines = Clock(), list[str]()
        draw = Lines(lines.append, clock)
        draw(Event("reading"))
        for step in range(1, 4):
            shown = {"loss": 0.4, "accuracy": 0.75} if step == 3 else None
            draw(after(clock, 0.1, step, shown=shown, memory_bytes=3 << 29))
        told = "loss 0.500, 300 learned/s, computed 31 % of the padded tokens"
        assert lines == [
            "reading\n",
            "seed 0\n",
            f"  step 3/10: {told}, 1.5 GB, 0:01 left; dev: loss 0.400, accuracy 0.750\n",
        ]

    def test_long_work_without_looks_is_told_of_now_and_then(self) -> None:
        """Every half minute."""
        clock, lines = Clock(), list[str]()
        draw = Lines(lines.append, clock)
        for step in range(1, 10):
            draw(after(clock, 10.0, step, seconds=10.0))
        assert [line.split(":")[0] for line in lines] == ["seed 0\n", "  step 4/10", "  step 7/10"]

    def test_stages_at_the_same_time_say_their_names_in_turn(self) -> None:
        """So that a line says whose it is; each has its own speed."""
        clock, lines = Clock(), list[str]()
        draw = Lines(lines.append, clock)
        for step in (1, 2):
            for lane in (0, 1):
                draw(after(clock, 0.1, step, stage=f"arm {lane}", lane=lane, seconds=0.1 + lane, shown={"loss": 0.4}))
        assert [line.split(",")[0].strip() for line in lines] == [
            *("arm 0", "step 1/10: loss 0.500", "arm 1", "step 1/10: loss 0.500"),
            *("arm 0", "step 2/10: loss 0.500", "arm 1", "step 2/10: loss 0.500"),
        ]
        assert "300 learned/s" in lines[5] and "27 learned/s" in lines[7]


class TestDrawing:
    """On a terminal."""

    def test_stages_at_the_same_time_have_a_bar_each(self) -> None:
        """One that ends leaves the other's clock running, and each has its line below."""
        clock = Clock()
        with Progress(console=Console(quiet=True), auto_refresh=False) as bars:
            draw = Drawing(bars, clock)
            for lane in (0, 1):
                draw(after(clock, 0.1, 2, stage=f"arm {lane}", lane=lane))
            draw(after(clock, 0.1, 1, stage="arm 2", lane=0))
            assert [(task.description, task.finished) for task in bars.tasks] == [
                ("arm 0", True),
                ("arm 1", False),
                ("arm 2", False),
            ]
            assert [bool(task.fields["told"]) for task in bars.tasks] == [False, True, True]

    def test_a_bar_ends_when_the_next_begins(self) -> None:
        """Patience may end a stage before its last step."""
        clock = Clock()
        with Progress(console=Console(quiet=True), auto_refresh=False) as bars:
            draw = Drawing(bars, clock)
            draw(after(clock, 0.1, 2))
            draw(replace(UPDATE, stage="seed 1", step=1, shown={"accuracy": 1.0}))
            assert [(task.description, task.completed, task.finished) for task in bars.tasks] == [
                ("seed 0", 2, True),
                ("seed 1", 1, False),
            ]
            assert [task.fields["look"] for task in bars.tasks] == ["", "dev: accuracy 1.000"]
            assert [task.fields["left"] for task in bars.tasks] == ["0:00", "0:01 left"]
            assert [bool(task.fields["told"]) for task in bars.tasks] == [False, True]

    def test_what_has_no_steps_is_a_line_above_the_bars(self) -> None:
        """A long sentence would leave no room for them."""
        console = Console(width=60, color_system=None, force_terminal=False, record=True)
        with Progress(console=console, auto_refresh=False) as bars:
            Drawing(bars)(Event("minilm-l6: float32 [is chosen]"))
            assert not bars.tasks
        assert "minilm-l6: float32 [is chosen]" in console.export_text()

    def test_a_line_below_the_bars_tells_of_the_current_stage(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is cut where the terminal is narrow, and never broken."""
        monkeypatch.setenv("COLUMNS", "60")
        with _bars() as bars:
            Drawing(bars)(replace(UPDATE, step=1, shown={"accuracy": 1.0}))
            console = Console(width=60, color_system=None)
            with console.capture() as shown:
                console.print(bars.get_renderable())
        lines = shown.get().splitlines()
        assert len(lines) == 2
        assert lines[1].startswith("  loss 0.500  300 learned/s  computed 31 % of the padded")
