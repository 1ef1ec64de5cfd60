"""In a terminal the same is shown: what is learned is marked without colors too, and no text can steer the terminal."""

import io
from collections.abc import Callable

from reports_samples import bare, shown, small
from rich.console import Console, RenderableType

from formtune.reports import ShownExample, ShownToken, console_example, console_table, console_text, console_tokens
from formtune.reports.terminal import console_ids


def printed(*shown_ones: RenderableType, width: int = 140) -> str:
    """Print without colors, as into a file."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for one in shown_ones:
        console.print(one)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_examples_and_arms_read_as_their_golden_file(golden: Callable[[str, str], None]) -> None:
    """Learned tokens stand in brackets, arms in a table with their intervals drawn."""
    text = printed(*(console_example(example) for example in shown().examples), console_table(small()))
    golden("reports/terminal.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def test_no_text_steers_the_terminal() -> None:
    """An escape sequence in a token or a name is shown as pictures of its characters."""
    tokens = [ShownToken("\x1b[31mred\x07", 1, "content", asks="\x1b]0;x")]
    text = printed(
        console_tokens(tokens), console_example(ShownExample("\x1b[2J", tokens, read_off="\x1b", answer="\x1b"))
    )
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "␛[31mred␇" in text


def test_rich_markup_in_data_is_only_text() -> None:
    """Square brackets are shown as they stand."""
    assert "[bold]no[/bold]" in printed(console_tokens([ShownToken("[bold]no[/bold]", 1, "content")]))


def test_learned_tokens_that_touch_share_their_brackets() -> None:
    """Brackets open before the first learned token and close after the last."""
    tokens = [ShownToken("a", 1, "content"), ShownToken("b", 2, "target", 1.0), ShownToken("c", 3, "control", 1.0)]
    assert printed(console_tokens(tokens)) == "a⟦b│c⟧\n"


def test_a_comparison_as_text_is_the_verdict_and_a_line_an_arm() -> None:
    """What ``print(result)`` shows."""
    assert console_text(small()).splitlines() == [
        "classification@minilm-l6 is better than chat by 4.1 points (95 % interval 2.0 to 6.3).",
        "  classification@minilm-l6    82.3  79.5 to 85.0",
        "  chat                        78.2  75.1 to 81.0",
    ]


def test_a_narrow_terminal_shows_names_and_means_before_drawings_and_costs() -> None:
    """What does not fit goes from the right end of what matters, and nothing is cut short."""
    assert printed(console_table(small()), width=100).splitlines()[0].split() == [
        *("arm", "accuracy", "95", "%", "interval", "invalid", "parameters", "training", "per", "answer")
    ]
    narrow = printed(console_table(small()), width=60).splitlines()
    assert [line.split() for line in narrow[1:]] == [
        ["classification@minilm-l6", "82.3", "79.5", "to", "85.0", "–"],
        ["chat", "78.2", "75.1", "to", "81.0", "1.2", "%"],
    ]


def test_one_arm_without_interval_or_cost_has_a_table() -> None:
    """What is not known is a dash."""
    assert "82.0" in printed(console_table(bare()))
    assert "–" in printed(console_table(bare()))


def test_bytes_that_spell_a_character_are_shown_with_it() -> None:
    """Three byte tokens stand behind their character; bytes that end within one stand alone."""
    tokens = [ShownToken(text, 1, "content") for text in ("<0xE8>", "<0xB7>", "<0x9D>", "!", "<0xE8>")]
    assert printed(console_tokens(tokens)) == "距 E8│B7│9D│!│<0xE8>\n"


def test_each_token_has_a_line_with_its_id_and_weight() -> None:
    """And with why it is learned or not; a line break stays in its line, and colors are not needed to tell it."""
    tokens = [
        ShownToken("A\n", 7, "content", why="given to the model"),
        ShownToken(" fine", 12, "target", weight=0.5, why="what the model has to produce"),
    ]
    lines = [line.split() for line in printed(console_ids(tokens)).splitlines()]
    assert lines == [
        ["place", "id", "token", "part", "weight", "why"],
        ["0", "7", "A↵", "content", "0", "given", "to", "the", "model"],
        ["1", "12", "·fine", "target", "0.5", "what", "the", "model", "has", "to", "produce"],
    ]
    assert "·fine" in printed(console_example(ShownExample("chat", tokens), with_ids=True))
    assert "\x1b" not in printed(console_ids([ShownToken("\x1b[2J", 1, "content", why="\x1b")]))
