"""The commands that train and answer, and all of them put together: each calls one function of the pipeline and prints it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from formtune.cli import show, training_views
from formtune.cli.data_commands import check, convert, dialects, export, formats, inspect, mix, prepare, preview, split
from formtune.cli.flags import (
    DATA,
    GROUPS,
    Common,
    CompareFlags,
    Data,
    EngineFlags,
    FormatFlags,
    OutFlags,
    PreparedFlags,
    ReadFlags,
    RecipeFlags,
    SplitFlags,
    TrainFlags,
    TuneFlags,
    recipe_of,
)
from formtune.cli.progress import drawn, stoppable

_RUN = Parameter(name="RUN", help="Folder of a run.")
_DRY_RUN = Parameter(
    name="--dry-run",
    group=GROUPS["Recipe and output"],
    help="Say what it will compute, hold and take, from a few seconds of measuring; train and write nothing.",
)
DryRun = Annotated[bool, _DRY_RUN]
Run = Annotated[str, _RUN]


def train(
    *data: Data,
    fresh: bool = False,
    read: ReadFlags = ReadFlags(),
    parts: SplitFlags = SplitFlags(),
    made: PreparedFlags = PreparedFlags(),
    form: FormatFlags = FormatFlags(),
    learning: TrainFlags = TrainFlags(),
    engine: EngineFlags = EngineFlags(),
    out: OutFlags = OutFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
    dry_run: DryRun = False,
) -> int:
    """Fine-tune one model on one format; what was stopped goes on.

    Args:
        fresh: Begin anew, whatever is kept of a training that was stopped.
    """
    from formtune import pipeline

    recipe = recipe_of(data, settings, read, parts, made, form, learning, engine, out)
    if dry_run:
        with drawn(common) as progress:
            forecast = pipeline.train_forecast(recipe, progress=progress)
        return show.result(forecast, training_views.forecast, common)
    with drawn(common) as progress:
        result = pipeline.train(recipe, fresh=fresh, progress=progress, heed=stoppable(common))
    return show.result(result, training_views.training, common)


def tune(
    *data: Data,
    read: ReadFlags = ReadFlags(),
    parts: SplitFlags = SplitFlags(),
    made: PreparedFlags = PreparedFlags(),
    form: FormatFlags = FormatFlags(),
    learning: TrainFlags = TrainFlags(),
    searched: TuneFlags = TuneFlags(),
    out: OutFlags = OutFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Search for good settings; the same command goes on with a search that stopped."""
    from formtune import pipeline

    recipe = recipe_of(data, settings, read, parts, made, form, learning, searched, out)
    with drawn(common) as progress:
        result = pipeline.tune(recipe, progress=progress)
    return show.result(result, show.tuning, common)


def evaluate(
    run: Run,
    /,
    *data: Data,
    read: ReadFlags = ReadFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Score a run on records."""
    from formtune import pipeline

    return show.result(pipeline.evaluate(run, recipe_of(data, settings, read)), show.evaluation, common)


def compare(
    *data: Data,
    fresh: bool = False,
    read: ReadFlags = ReadFlags(),
    parts: SplitFlags = SplitFlags(),
    form: FormatFlags = FormatFlags(),
    learning: TrainFlags = TrainFlags(),
    against: CompareFlags = CompareFlags(),
    out: OutFlags = OutFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
    dry_run: DryRun = False,
) -> int:
    """Compare formats fairly and say which to use, or that it does not matter: the main job.

    Args:
        fresh: Begin anew, whatever is kept of a comparison that was stopped.
    """
    from formtune import pipeline

    recipe = recipe_of(data, settings, read, parts, form, learning, against, out)
    if dry_run:
        with drawn(common) as progress:
            forecast = pipeline.compare_forecast(recipe, progress=progress)
        return show.result(forecast, training_views.forecast, common)
    with drawn(common) as progress:
        result = pipeline.compare(recipe, fresh=fresh, progress=progress)
    return show.result(result, show.comparison, common)


def predict(
    run: Run,
    /,
    *texts: Annotated[str, Parameter(name="TEXT", help="Sentences to answer; or give --data.")],
    data: Annotated[tuple[str, ...], Parameter(name="--data", help=DATA.help)] = (),
    read: ReadFlags = ReadFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Answer new texts with a run."""
    from formtune.errors import SettingError

    if bool(texts) == bool(data or settings.recipe):
        raise SettingError("There must be either texts or data to answer.", "Give TEXT, or --data FILE.", at="TEXT")
    from formtune import pipeline

    questions = texts or recipe_of(data, settings, read)
    return show.result(pipeline.predict(run, questions), show.predictions, common)


def serve(
    run: Run,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key_file: str | None = None,
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Answer over HTTP, in the way of OpenAI's API.

    Args:
        host: Address to listen on; any but this machine's own needs a key.
        port: Port to listen on; 0 takes any free one.
        api_key_file: File with the key that clients must send; else FORMTUNE_API_KEY.
        json: Print one JSON object, with run and URL, once the address is taken, and nothing else.
        quiet: Write only errors; no line for a request.
    """
    from formtune import serving

    def listening(url: str) -> None:
        if json:
            show.plain_json({"run": run, "url": url})
            sys.stdout.flush()

    notice = serving.Notice(quiet=quiet, listening=listening)
    serving.serve(run, host=host, port=port, api_key_file=api_key_file, notice=notice)
    return 0


def demo(
    text: Annotated[str | None, Parameter(name="TEXT", help="A sentence of yours for the winner to judge.")] = None,
    /,
    *,
    out: OutFlags = OutFlags(),
    common: Common = Common(),
) -> int:
    """Do the main job on real data and real models, on a CPU, in minutes."""
    from formtune.demonstration import demonstrate

    with drawn(common) as progress:
        result = demonstrate(text, out=Path(out.out or "out/demo"), progress=progress)
    return show.result(result, show.comparison, common)


def recipe(
    *data: Data,
    schema: bool = False,
    read: ReadFlags = ReadFlags(),
    parts: SplitFlags = SplitFlags(),
    form: FormatFlags = FormatFlags(),
    learning: TrainFlags = TrainFlags(),
    engine: EngineFlags = EngineFlags(),
    searched: TuneFlags = TuneFlags(),
    against: CompareFlags = CompareFlags(),
    out: OutFlags = OutFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Print every setting as YAML, with what the flags say: the beginning of a recipe.

    Args:
        schema: Print the JSON Schema instead, for editors that check YAML.
    """
    import formtune.recipe as recipes

    if schema:
        return show.plain_json(recipes.schema())
    made = recipe_of(data, settings, read, parts, form, learning, engine, searched, against, out)
    return show.plain_json(made.to_dict()) if common.json else show.plain_text(made.to_yaml())


def cache(*, clear: bool = False, common: Common = Common()) -> int:
    """Show what is kept on disk of frozen models' computations, or remove it.

    Args:
        clear: Remove everything that no process uses.
    """
    from formtune import pipeline

    return show.result(pipeline.cache(clear=clear), show.kept, common)


_SECTIONS: Mapping[str, Sequence[Callable[..., int]]] = {
    "Look at data": (formats, dialects, inspect, check, convert, split, preview, prepare, mix, export),
    "Train and compare": (compare, train, tune, evaluate, demo),
    "Answer": (predict, serve),
    "Settings": (recipe, cache),
}


def make_app() -> App:
    """Put the commands together."""
    app = App(
        name="formtune",
        help="Choose the format of supervised fine-tuning data by evidence.",
        help_format="plaintext",
        version=_version,
        default_parameter=Parameter(negative=(), show_default=False),
    )
    for order, (title, commands) in enumerate(_SECTIONS.items()):
        group = Group(title, sort_key=order)
        for command in commands:
            app.command(command, group=group)
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("formtune")
