"""The same in a terminal: tokens with what is learned marked, and the arms of a comparison in a few lines."""

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from formtune.reports import quantities
from formtune.reports.characters import grouped, hexadecimal
from formtune.reports.data import ArmRow, ReportData, Scale, ShownExample, ShownToken
from formtune.reports.intervals import Axis, arms_axis
from formtune.reports.svg import Span, clean
from formtune.reports.views import reasons

STYLES = {"scaffold": "dim", "content": "", "target": "yellow", "control": "magenta"}
LEARNED = "bold black on bright_yellow"
PLOT_WIDTH = 28


def console_tokens(tokens: Sequence[ShownToken]) -> Text:
    """Write tokens for a terminal: bars between them, learned ones bright and, without colors too, in ⟦brackets⟧.

    Control characters are shown as pictures, so that no text from data can steer the terminal.
    """
    text = Text()
    learning = fresh_line = False
    for token, words in _with_words(tokens):
        learned = token.weight > 0
        if learned != learning:
            text.append("⟦" if learned else "⟧", "yellow")
        elif len(text) and not fresh_line:
            text.append("│", "dim cyan")
        text.append(words, LEARNED if learned else STYLES[token.part])
        learning, fresh_line = learned, token.text.endswith("\n")
    return text.append("⟧", "yellow") if learning else text


def console_ids(tokens: Sequence[ShownToken]) -> Table:
    """Write a line for each token: its place, id, text, part, weight, and why it is learned or not."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("place", "id", "token", "part", "weight", "why"):
        side: Literal["left", "right"] = "right" if name in ("place", "id", "weight") else "left"
        table.add_column(name, justify=side, no_wrap=name != "why")
    for place, (token, words) in enumerate(_with_words(tokens)):
        said = Text(words.replace("↵\n", "↵").replace(" ", "·"), LEARNED if token.weight > 0 else STYLES[token.part])
        table.add_row(str(place), str(token.id), said, token.part, f"{token.weight:g}", Text(clean(token.why), "dim"))
    return table


def console_example(example: ShownExample, *, with_ids: bool = False) -> Group:
    """Write one example for a terminal: what it is, its tokens, and how its answer is read off.

    Args:
        example: one record in one format.
        with_ids: write a line for each token, with its id and weight.
    """
    write = console_ids if with_ids else console_tokens
    both = [*example.tokens, *example.decoder]
    n_learned = sum(token.weight > 0 for token in both)
    head = Text.assemble((clean(example.arm), "bold"), f"  {len(both)} tokens, {n_learned} learned")
    if example.n_cut:
        head.append(
            f", {example.n_cut} cut to fit" if example.tokens else f"; dropped with all its {example.n_cut} tokens"
        )
    if example.read_off:
        head.append(f"; answer {clean(example.read_off)}")
    if example.answer:
        head.append(f": {clean(example.answer)}")
    rows: list[RenderableType] = [head, write(example.tokens)]
    rows += [Text("decoder", "dim"), write(example.decoder)] if example.decoder else []
    rows += [Text(f"  {line}", "dim") for line in (*reasons(both), *map(clean, example.notes))]
    return Group(*rows)


@dataclass(frozen=True, slots=True)
class Fitting:
    """The first of some tables that a terminal is wide enough for; the last where it is for none."""

    tables: Sequence[Table]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose by the terminal's width."""
        unbounded = options.update(max_width=sys.maxsize)
        widths = (Measurement.get(console, unbounded, table).maximum for table in self.tables)
        fitting = (table for table, width in zip(self.tables, widths, strict=True) if width <= options.max_width)
        yield next(fitting, self.tables[-1])


def console_table(data: ReportData) -> Fitting:
    """Write the arms of a comparison as a table, with their intervals drawn over one axis.

    Where the terminal is too narrow for all of it, the drawings go, then the costs; names and means stay.
    """
    return Fitting([_table(data, parts) for parts in (("plot", "costs"), ("costs",), ())])


def _table(data: ReportData, parts: Collection[str]) -> Table:
    axis = arms_axis(data.arms)
    generated = any(arm.invalid is not None for arm in data.arms)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("arm", overflow="fold")
    table.add_column(quantities.spaced(data.scale.name), justify="right", no_wrap=True)
    table.add_column(f"{data.confidence * 100:g} % interval", justify="right", no_wrap=True)
    if "plot" in parts:
        table.add_column(_ends_of(axis), no_wrap=True, width=PLOT_WIDTH)
    costs = ("parameters", "training", "per answer") if "costs" in parts else ()
    written = any(arm.written is not None for arm in data.arms)
    for name in ("invalid",) * generated + ("written",) * written + costs:
        table.add_column(name, justify="right", no_wrap=True)
    for arm in data.arms:
        plot = [_plot(arm, axis)] if "plot" in parts else []
        free = [quantities.percent(arm.invalid)] * generated + [quantities.score(data.scale, arm.written)] * written
        table.add_row(*_scores(arm, data.scale), *plot, *free, *(_costs(arm) if costs else ()))
    return table


def console_text(data: ReportData) -> str:
    """Write the verdict and the arms as plain lines, as wide as they need to be."""
    width = max((len(arm.name) for arm in data.arms), default=0)
    lines = [clean(data.verdict)]
    for arm in data.arms:
        ends = _ends(arm, data.scale)
        lines.append(f"  {clean(arm.name):<{width}}  {quantities.score(data.scale, arm.mean):>6}  {ends}".rstrip())
    return "\n".join(lines)


def _with_words(tokens: Sequence[ShownToken]) -> Iterator[tuple[ShownToken, str]]:
    """Give each token with what is written for it; the first of several that spell a character names it."""
    for group in grouped(tokens):
        if not group.text:
            yield group.tokens[0], _shown(group.tokens[0])
        for k, token in enumerate(group.tokens if group.text else ()):
            yield token, (clean(group.text) + " " if k == 0 else "") + hexadecimal(token.text)


def _shown(token: ShownToken) -> str:
    text = clean(token.text).replace("\r", "␍").replace("\n", "↵\n")
    asks = clean(token.asks).replace("\n", "↵")
    return f"{text} → {asks}" if asks else text


def _scores(arm: ArmRow, scale: Scale) -> tuple[Text, ...]:
    return (
        Text(clean(arm.name), "bold"),
        Text(quantities.score(scale, arm.mean), "bold"),
        Text(_ends(arm, scale)),
    )


def _costs(arm: ArmRow) -> tuple[str, ...]:
    return (
        quantities.count(arm.parameters_trained),
        quantities.seconds(arm.training_s),
        quantities.milliseconds(arm.ms_per_answer),
    )


def _ends(arm: ArmRow, scale: Scale) -> str:
    return quantities.interval(quantities.score(scale, arm.low), quantities.score(scale, arm.high))


def _ends_of(axis: Axis) -> str:
    """Write the two ends of the axis over the column of plots."""
    low, high = (quantities.signed(f"{v:g}") for v in (axis.values[0], axis.values[-1]))
    return f"{low}{high:>{PLOT_WIDTH - len(low)}}"


def _plot(arm: ArmRow, axis: Axis) -> Text:
    """Draw an interval with characters: ``──●──``."""
    place = Span(axis.values[0], axis.values[-1], 0, PLOT_WIDTH - 1)
    marks = [" "] * PLOT_WIDTH
    if quantities.known(arm.low) and quantities.known(arm.high):
        for k in range(round(place(arm.low)), round(place(arm.high)) + 1):
            marks[k] = "─"
    if quantities.known(arm.mean):
        marks[round(place(arm.mean))] = "●"
    return Text("".join(marks), "cyan")
