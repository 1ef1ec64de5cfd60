"""Reports for the tests: a whole small one, and what they are checked with."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from formtune.reports import (
    Answer,
    ArmRow,
    Bin,
    Calibration,
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
)

VOID = {"meta", "br", "wbr", "hr", "img", "input", "link"}
DRAWN = {"circle", "line", "rect", "polyline"}


def shown(text: str = "Warm <i>and</i> funny") -> Shown:
    """Show one record in two formats: a class head, and words after a chat template."""
    read = ShownToken(text, 17, "content")
    head = ShownExample(
        "classification@minilm-l6",
        [ShownToken("[CLS]", 101, "control"), read, ShownToken("[SEP]", 102, "control")],
        read_off="read off a class head over 2 labels",
        answer="positive",
    )
    words = ShownExample(
        "chat",
        [
            ShownToken("<|user|>", 1, "control"),
            ShownToken("\n", 10, "scaffold"),
            read,
            ShownToken(" positive", 812, "target", 1.0),
            ShownToken("<|end|>", 2, "control", 0.5),
        ],
        read_off="written freely",
    )
    slot = ShownExample("masked_lm", [read, ShownToken("[MASK]", 103, "target", 1.0, "great")])
    return Shown("reviews.csv:812", [("text", text), ("label", "positive")], [head, words, slot])


def small(text: str = 'Not bad <script>alert(1)</script> & "quoted"') -> ReportData:
    """Make a report that has every part, over two arms and two seeds."""
    first, second = "classification@minilm-l6", "chat"
    points = [CurvePoint(1, 0.9), CurvePoint(2, 0.5, 70.0), CurvePoint(3, 0.4), CurvePoint(4, 0.3, 82.0)]
    return ReportData(
        title="film reviews",
        verdict="classification@minilm-l6 is better than chat by 4.1 points (95 % interval 2.0 to 6.3).",
        outcome="better",
        scale=Scale("accuracy"),
        arms=[
            ArmRow(first, 82.3, 79.5, 85.0, {0: 81.0, 1: 83.6}, None, 21_000_000, 412_345, 42.3, 44.2, 2.31),
            ArmRow(second, 78.2, 75.1, 81.0, {0: 77.9, 1: 78.5}, 0.012, 4_718_592, 1_834_211, 95.1, 71.0, 1200.0),
        ],
        pairs=[PairRow(second, first, -4.1, -6.3, -2.0, 0.0004, significant=True)],
        advice=["Take classification@minilm-l6."],
        facts=[("Data", "reviews.csv, 492 records")],
        margin=1.0,
        minimum_detectable=3.1,
        baseline=51.3,
        curves=[Curve(arm, seed, points, best_step=4) for arm in (first, second) for seed in (0, 1)],
        confusions=[
            Confusion(first, ["negative", "positive"], [[42.5, 7.5], [9, 41]]),
            Confusion(second, ["negative", "positive"], [[38, 10], [9, 40]], [2, 1]),
        ],
        calibrations=[Calibration(first, [Bin(80, 90, 30, 85.0, 80.0), Bin(90, 100, 70, 96.0, 91.0)], 5.0)],
        shown=shown(),
        disagreements=[
            Disagreement(
                "reviews.csv:7",
                text,
                "positive",
                [Answer(first, "positive", True, 0.91), Answer(second, "a good film", False, None, valid=False)],
            )
        ],
        n_disagreements=31,
        left_out=[LeftOutRow("duplicate of a test record", 14, ["reviews.csv:88", "reviews.csv:91"])],
        repeat=Repeat(
            "formtune compare reviews.csv --formats classification,chat",
            "formats: [classification, chat]\n",
            [0, 1],
            [("formtune", "0.1.0")],
            [("reviews.csv", "9f2c41d8a4b2c1e7")],
        ),
    )


def bare() -> ReportData:
    """Make a report with one arm and nothing else."""
    return ReportData("one run", "82.0 % right.", "undecided", Scale("accuracy"), [ArmRow("chat", 82.0)])


@dataclass
class Page(HTMLParser):
    """What an HTML page is made of."""

    html: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and tag not in DRAWN:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in DRAWN:
            return
        assert self.open_tags, f"</{tag}> closes nothing"
        assert self.open_tags.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def attributes(self, name: str) -> list[str]:
        """List the values of an attribute."""
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]

    def text(self) -> str:
        """Give all text, white space made single."""
        return re.sub(r"\s+", " ", "".join(self.words))


def styleless(page: str) -> str:
    """Cut the style sheet out of a page, to be read by a person."""
    return re.sub(r"<style>.*?</style>", "<style>...</style>", page, flags=re.DOTALL)
