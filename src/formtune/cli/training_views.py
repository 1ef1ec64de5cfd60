"""What a training came to, or will come to, as it is printed for people."""

from typing import TYPE_CHECKING

from formtune.cli.printing import Made, Values, put_grid, put_line, said

if TYPE_CHECKING:
    from rich.console import Console


def training(console: "Console", made: Made) -> None:
    """Show what a training came to: its best update, the test, what it took and spared, where it lies."""
    values = made.to_dict()
    best = dict(values["best"])
    run, unit = values["run"], _unit(values)
    lines = {
        "best": f"update {best.pop('step')} of {values['steps']}{_after(best)}",
        "test": said(values["metrics"]),
        "written": said(values.get("written")),
        "invalid": said(values["invalid"]) if values.get("invalid") else "",
        "trained": f"{values['parameters_trained']:,} weights on {values['learned_tokens']:,} {unit}",
        "time": f"{_time(values['total_seconds'])}, of it {_time(values['seconds'])} for the updates: "
        f"{values['learned_tokens_per_second']:,.0f} {unit} a second",
        "computed": _computed(values),
        "memory": _memory(values["peak_mb"]),
        "run": run,
        "picture": f"{run}/trace.svg",
    }
    put_grid(console, {name: line for name, line in lines.items() if line and line != "–"})


def forecast(console: "Console", made: Made) -> None:
    """Show what a training, or a comparison arm by arm, will come to, and what that was measured on."""
    values = made.to_dict()
    for arm in values.get("arms", ()):
        put_line(console, arm["arm"], "bold")
        _foretold(console, arm)
        put_line(console, "")
    if "arms" in values:
        put_line(console, "together", "bold")
    _foretold(console, values)


def _foretold(console: "Console", values: Values) -> None:
    machine, measured = values["machine"], values.get("calibration")
    per_update_s = values["seconds"] / max(1, values["updates"])
    n_arms = values.get("arms_at_once", 1)
    lines = {
        "updates": f"{values['updates']:,}, each {_time(per_update_s)}",
        "tokens": f"{values['tokens']:,}, with {values['learned_tokens']:,} {_unit(values)}",
        "computed": _computed(values) if "saved" in values else f"{values['computed_tokens']:,.0f} tokens",
        "operations": f"{values['flops'] / 1e12:,.3g} TFLOP forward and backward",
        "memory": _memory(values["peak_mb"]),
        "time": f"{_time(values['total_seconds'])}: updates {_time(values['seconds'])}, "
        f"looks at dev {_time(values['look_seconds'])}, answers {_time(values['answer_seconds'])}, "
        f"loading {_time(values['load_seconds'])}",
        "machine": f"{machine['device']}, {machine['threads']} threads, {machine['precision']}"
        + (f", {n_arms} arms at a time" if n_arms > 1 else ""),
    }
    if measured:
        lines["measured"] = (
            f"{measured['updates']} updates of {measured['tokens']:,} tokens in {_time(measured['seconds'])}: "
            f"{measured['flops_per_second'] / 1e9:,.3g} GFLOP a second, and "
            f"{_time(measured['seconds_of_every_update'])} for every update"
        )
    put_grid(console, lines)


def _after(best: Values) -> str:
    return f", dev: {said(best)}" if best else ""


def _unit(values: Values) -> str:
    """Name what is learned: a class head learns a class of each example, and no token."""
    return "learned tokens" if values.get("saved", {}).get("logits", 0) is not None else "learned examples"


def _time(seconds: float) -> str:
    from formtune.reports import quantities

    return quantities.seconds(seconds)


def _memory(megabytes: float) -> str:
    """Say the most memory that was held; nothing where the kernel did not tell."""
    return f"{megabytes / 1024:.2f} GB at its peak" if megabytes else ""


def _computed(values: Values) -> str:
    """Say how much was computed of what padding computes, and where the rest went."""
    names = {"packing": "no padding", "prefixes": "shared beginnings", "trunk": "frozen trunk"}
    parts = [f"{names[name]} {100 * values['saved'][name]:.0f} %" for name in names if values["saved"][name] >= 0.005]
    spared = f" ({', '.join(parts)} less)" if parts else ""
    logits = values["saved"]["logits"]
    scores = "" if logits is None else f"; vocabulary scored at {100 * (1 - logits):.0f} % of the places"
    return f"{100 * values['computed_share']:.0f} % of the padded tokens{spared}{scores}"
