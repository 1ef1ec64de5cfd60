"""The whole path, top to bottom: from a labelled file to a verdict, a model and an answer.

Only this module, :mod:`formtune.planning` and the command line know the recipe; every stage takes plain arguments.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from formtune import dialects, formats, inspection, processes
from formtune.dialects.writing import check_apart
from formtune.errors import DataError, SettingError
from formtune.examples import Task
from formtune.inspection import tally
from formtune.interrupts import Heed, unheeded
from formtune.mending import Mender, mend_file, not_lines
from formtune.planning import (
    check_alone,
    check_both,
    check_foretellable,
    check_one_rate,
    check_own,
    check_prior,
    formats_of,
    length_of,
    meant_for,
    metric_of,
    models_of,
    parted,
    parts_of,
    paths_of,
    plan_of,
    read,
    search_of,
    splits_of,
    task_of,
)
from formtune.progress import Event, Progress, silent
from formtune.provenance import input_digests, local_files, split_digests
from formtune.quarantine import write_quarantine
from formtune.recipe import Recipe, make_recipe
from formtune.records import LeftOut
from formtune.shards import MANIFEST, check_place, staged, sweep
from formtune.sources import expand
from formtune.splits import Splits, has_answer

if TYPE_CHECKING:
    from formtune.arms import Readied
    from formtune.checks import Asked, Audit
    from formtune.results import Compared, Result
    from formtune.runs import OpenRun
    from formtune.trials import Plan


def formats_matrix() -> "Result":
    """List every format over every kind of record, with the shapes of model it serves, or why it does not.

    Under ``about``: what each format is, its loss, when it wins and loses, its source and what it adds.
    """
    from formtune.results import Result

    facts = ("summary", "formula", "wins", "loses", "source", "adds")
    about = {name: {fact: getattr(one, fact) for fact in facts} for name, one in formats.FORMATS.items()}
    return Result({"formats": [asdict(row) for row in formats.matrix()], "about": about})


def inspect(
    recipe: Recipe, *, quarantine: str | None = None, fix: str | None = None, record: int | None = None
) -> "Result":
    """Say what the recipe's data are: dialect, kinds, counts, lengths, balance of labels, samples.

    Args:
        recipe: data, or one prepared folder.
        quarantine: path of a file to write the rows to that were left out.
        fix: path of a file to write the data to, with the rows repaired that can be; then that file is looked at.
        record: of a prepared folder, the sequence that is shown first, from 1.
    """
    from formtune.results import Result

    paths, mended = paths_of(recipe), []
    if len(paths) == 1 and (Path(paths[0]) / MANIFEST).is_file():
        from formtune.prepared_inspection import inspect_prepared

        for flag, given in (("--quarantine", quarantine), ("--fix", fix)):
            if given is not None:
                raise SettingError("This is of files, and a folder is given.", "Give the data.", at=flag)
        return inspect_prepared(paths[0], first=1 if record is None else record)
    if record is not None:
        raise SettingError("Sequences are shown of prepared folders.", "Use formtune preview.", at="--record")
    if fix is not None:
        mended = mend_file(_only_one(expand(paths)), fix).told()
        paths = [fix]
    reading = read(recipe, paths)
    found = inspection.inspect(reading)
    if quarantine is not None:
        write_quarantine(reading.left_out, quarantine, encoding=recipe.data.encoding)
        found["quarantine"] = quarantine
    if fix is not None:
        found |= {"mended": mended, "fixed": fix}
    return Result(found)


def _only_one(paths: Sequence[str]) -> str:
    if len(paths) > 1:
        raise SettingError(f"{len(paths)} files are given.", "Mend one at a time.", at="--fix")
    return paths[0]


def check(recipe: Recipe, asked: "Asked | None" = None, *, progress: Progress = silent) -> "Audit":
    """Look for what spoils training and tests, record by record and between parts; works without torch.

    Where the data are to be fixed, what is found is what is left then; places are those in the data as they were given.

    Args:
        recipe: data, and the formats and the model that they are meant for, where there are any.
        asked: what they are held against, which checks are run, what is written.
        progress: told of each check.
    """
    from formtune import checks
    from formtune.checks.fixing import fixed
    from formtune.checks.writing import written

    asked = asked or checks.Asked()
    codes = checks.codes_of(asked.only, asked.skip)
    mender = Mender() if asked.fix and "FT200" in codes else None
    _check_own_files(recipe, asked)
    readings = parts_of(recipe, mend=mender)
    fix = None
    if asked.fix is not None:
        ((name, reading),) = readings.items()
        fix = fixed(reading, codes, mended=mender.mended if mender else {})
        readings = {name: fix.reading}
    others = {path: read(recipe, [path]) for path in asked.against}
    records = {name: reading.records for name, reading in readings.items()}
    context = checks.Context(
        parts=records,
        left_out=[one for reading in (*readings.values(), *others.values()) for one in reading.left_out],
        against={path: reading.records for path, reading in others.items()},
        **meant_for(recipe, [record for part in records.values() for record in part]),
        max_length=recipe.model.max_length,
        seed=recipe.seed,
    )
    outcomes = checks.check(context, only=asked.only, skip=asked.skip, progress=progress)
    n_records = {name: len(part) for name, part in (records | dict(context.against)).items()}
    data = recipe.data
    named = {"train": data.train, "dev": data.dev, "test": data.test} if data.train else {"data": data.paths}
    if asked.quarantine is not None:
        left_out = [one for reading in readings.values() for one in reading.left_out]
        write_quarantine(left_out, asked.quarantine, encoding=data.encoding)
    return written(checks.Audit(outcomes, n_records), asked, readings, paths=named, fix=fix)


def _check_own_files(recipe: Recipe, asked: "Asked") -> None:
    """Refuse to write several files as one, over one that is read, or one over the other."""
    data = recipe.data
    named = list(local_files(data.named))
    for flag, path in (("--fix", asked.fix), ("--redact", asked.redact)):
        if path is not None and sum(map(bool, (data.train, data.dev, data.test))) > 1:
            raise SettingError("One file at a time is written.", "Give DATA instead of --train.", at=flag)
        if path is not None:
            check_apart(named, path, at=flag)
    if asked.quarantine is not None:
        check_apart([*named, *filter(None, (asked.fix, asked.redact))], asked.quarantine, at="--quarantine")


def split(recipe: Recipe) -> "Result":
    """Part the records and write ``train``, ``dev`` and ``test`` in the dialect that they came in."""
    from formtune.results import Result

    out = out_of(recipe, "split")
    parts, dialect = splits_of(recipe)
    named = {"train": parts.train, "dev": parts.dev, "test": parts.test}
    ending = {"squad": ".json", "aligned": "", "labelled-lines": ".txt"}.get(dialect, ".jsonl")
    facts = {name: len(records) for name, records in named.items()}
    left_out = list(parts.left_out)
    manifest = {"kind": "split", **facts, **_origins(recipe, parts), "dialect": dialect, "recipe": recipe.to_dict()}
    with staged(out, {**manifest, "left_out": tally(parts.left_out)}) as staging:
        for name, records in named.items():
            left_out += dialects.write(records, dialect, str(staging / f"{name}{ending}")) if records else []
    return Result({**facts, "dialect": dialect, "left_out": tally(left_out), "out": str(out)})


def convert(
    recipe: Recipe, *, to: str | None, strict: bool = False, fix: bool = False, quarantine: str | None = None
) -> "Result":
    """Write the recipe's data in another dialect, and say what it cannot carry.

    Rows in are rows kept, repaired and left out; what is lost of rows that go on is told beside, as ``parts_lost``.

    Args:
        recipe: data, and ``out``: the file to write.
        to: the dialect.
        strict: write nothing where anything would be lost.
        fix: repair the rows that leave no doubt.
        quarantine: path of a file to write the rows to that were left out.
    """
    from formtune.conversion import LOST
    from formtune.conversion import convert as converted
    from formtune.results import Result

    if to is None:
        raise SettingError(
            "Nothing says what the records become.", f"Choose from: {', '.join(dialects.DIALECTS)}.", at="--to"
        )
    if recipe.out is None:
        raise SettingError("Nothing says where the records go.", "Give a file, as -o train.jsonl.", at="--out")
    read_from = list(local_files(recipe.data.named))
    if fix:
        check_apart(read_from, recipe.out, at="--out")
    if quarantine is not None:
        check_apart([recipe.out, *read_from], quarantine, at="--quarantine")
    mender = Mender() if fix else None
    reading = read(recipe, paths_of(recipe), mend=mender)
    if mender is not None and not mender.n_lines:
        raise not_lines()
    repaired = mender.mended if mender else ()
    written = converted(reading.records, to, Path(recipe.out), strict=strict, repaired=repaired)
    left_out = [*reading.left_out, *written.left_out]
    if quarantine is not None:
        write_quarantine(left_out, quarantine, encoding=recipe.data.encoding)
    paths = [str(path) for path in written.paths]
    return Result(
        {
            "dialect": reading.dialect,
            "to": to,
            "rows_in": reading.n_rows,
            "kept": written.n_kept - written.n_repaired,
            "repaired": written.n_repaired,
            "left_out": tally(one for one in left_out if not one.kept),
            "parts_lost": tally(one for one in left_out if one.kept),
            "cannot_carry": written.cannot_carry,
            "added": written.added,
            "out": [path for path in paths if not path.endswith(LOST)],
            "lost": next((path for path in paths if path.endswith(LOST)), None),
            **({"quarantine": quarantine} if quarantine else {}),
            **({"mended": mender.told()} if mender else {}),
        }
    )


def _origins(recipe: Recipe, parts: Splits) -> dict[str, dict[str, str]]:
    """Say what a result was made of: digests of the files, and of the records of each part."""
    return {"inputs": input_digests(recipe.data.named), "splits": split_digests(parts)}


def out_of(recipe: Recipe, kind: str) -> Path:
    """Give the folder that the results go to, once it is sure that they can.

    Raises:
        SettingError: where the place cannot be written.
    """
    return check_place(recipe.out or f"out/{kind}")


def preview(recipe: Recipe, *, record: int = 1, out: str | None = None, peer: str | None = None) -> "Result":
    """Show one record as the model sees it: text, and each token with its part and weight; works without torch.

    Args:
        recipe: data, one format or several, and a model (the byte tokenizer where none is named).
        record: which, from 1.
        out: path of an HTML page to write.
        peer: another trainer, to show beside them what that would learn by default.
    """
    from formtune.peer_rules import peer_rule
    from formtune.showing import previewed

    if peer:
        peer_rule(peer)  # a name that is none is told before anything is read
    reading = read(recipe, paths_of(recipe))
    records = reading.records
    if not 1 <= record <= len(records):
        raise SettingError(f"There is no record {record}.", f"Choose from 1 to {len(records)}.", at="--record")
    answered = [one for one in records if has_answer(one)]
    task = task_of(recipe, answered or records)
    model = recipe.models[0] if recipe.models else None
    found = previewed(
        records[record - 1],
        formats_of(recipe),
        task,
        model=model,
        max_length=recipe.model.max_length,
        out=out,
        peer=peer,
    )
    return replace(found, values={**found.values, "left_out": tally(reading.left_out)})


def prepare(recipe: Recipe, *, fresh: bool = False, progress: Progress = silent) -> "Result":
    """Turn the training records into shards of tokens with loss weights, and pack them; works without torch.

    Records are held back for choosing and testing only where the recipe says how many. What was stopped goes on, and
    shards of an older preparation at the same place stay where their slices and all that decides on them are the same.

    Args:
        recipe: every setting.
        fresh: make every shard anew.
        progress: told of each slice.
    """
    from formtune.preparation import prepared
    from formtune.results import Result

    return Result(prepared(recipe, out_of(recipe, "prepared"), fresh=fresh, progress=progress))


def mix(recipe: Recipe) -> "Result":
    """Mix the prepared folders that the data name into one, which shares their shards; works without torch."""
    from formtune.mixtures import mixed
    from formtune.results import Result

    return Result(mixed(recipe, out_of(recipe, "mixture")))


def export(folder: str, *, to: str | None, packed: bool = False, out: str | None = None) -> "Result":
    """Write the sequences of a prepared folder, or of a mixture, as another trainer reads them; works without torch.

    Args:
        folder: the folder.
        to: the trainer.
        packed: write rows of several sequences, where the trainer can keep them apart.
        out: folder to write; ``out/export`` where it is not given.
    """
    from formtune.prepared_export import exported
    from formtune.results import Result

    return Result(exported(folder, to=to, packed=packed, out=check_place(out or "out/export")))


def _one_arm(recipe: Recipe) -> "tuple[Readied, Splits, Task]":
    from formtune.arms import make_arms, ready
    from formtune.preparation import taken_up

    if recipe.data.prepared is not None:
        return taken_up(recipe)
    parts, _ = splits_of(recipe)
    task = task_of(recipe, parts.train)
    chosen, models = formats_of(recipe), models_of(recipe)
    if len(chosen) > 1 or len(models) > 1:
        raise SettingError("This takes one format and one model.", "Name one of each, or use compare.", at="--format")
    arms, _ = make_arms(chosen, models, task)
    return ready(arms[0], parts, task, length=length_of(recipe)), parts, task


def train(recipe: Recipe, *, fresh: bool = False, progress: Progress = silent, heed: Heed = unheeded) -> "Result":
    """Fine-tune one model on one format, score it once on the test records, and write the run.

    Checkpoints are kept beside the run's folder until the run is whole. Where there are some of the same training, it
    goes on from the newest. Where a launcher started several processes, each calls this and gets the same result; the
    main one writes.

    Args:
        recipe: every setting.
        fresh: begin anew, whatever is kept.
        progress: told of what goes on.
        heed: tells, while the model is trained, of signals that ask to stop.
    """
    from formtune.preparation import with_prepared

    recipe = with_prepared(recipe)
    check_own(recipe)
    if recipe.training.engine == "ray":
        return _train_on_ray(recipe, fresh=fresh, progress=progress)
    return _train_here(recipe, fresh=fresh, progress=progress, heed=heed)


def _train_here(recipe: Recipe, *, fresh: bool, progress: Progress, heed: Heed) -> "Result":
    from formtune.checkpoints import Keeping, claimed
    from formtune.tracking import check_trackers
    from formtune.training_job import train_one

    processes.start()
    processes.from_main(lambda: check_trackers(recipe.training.trackers))
    progress = progress if processes.is_main() else silent
    out = processes.from_main(lambda: out_of(recipe, "run"))
    readied, parts, plan = processes.alike(lambda: _one_training(recipe))
    processes.check_same(split_digests(parts), what="records")
    facts = {
        "recipe": recipe.to_dict(),
        **_origins(recipe, parts),
        "left_out": tally([*parts.left_out, *readied.left_out]),
    }
    kept, trackers = kept_beside(out), recipe.training.trackers
    keeping = Keeping(folder=kept, every=recipe.training.save_every, n_kept=recipe.training.keep, heed=heed)
    with processes.held_by_main(lambda: claimed(kept, fresh=fresh)):
        return train_one(readied, plan, facts=facts, keeping=keeping, progress=progress, out=out, trackers=trackers)


def _one_training(recipe: Recipe) -> "tuple[Readied, Splits, Plan]":
    readied, parts, task = _one_arm(recipe)
    check_one_rate(recipe, "compare tries several")
    check_prior([readied], recipe)
    return readied, parts, plan_of(recipe, task, readied)


def kept_beside(out: Path) -> Path:
    """Name the folder in which unfinished work is kept until what it leads to is whole."""
    return out.parent / f"{out.name}.checkpoints"


def train_forecast(recipe: Recipe, *, progress: Progress = silent) -> "Result":
    """Foretell what :func:`train` will compute, hold and take; trains and writes nothing."""
    from formtune.forecast import foretold_training
    from formtune.preparation import with_prepared
    from formtune.results import Result
    from formtune.tracking import check_trackers

    recipe = with_prepared(recipe)
    check_foretellable(recipe)
    check_own(recipe)
    check_trackers(recipe.training.trackers)
    readied, parts, plan = _one_training(recipe)
    found = foretold_training(readied, plan, progress=progress)
    return Result({**found.to_dict(), "left_out": tally([*parts.left_out, *readied.left_out])})


def tune(recipe: Recipe, *, progress: Progress = silent) -> "Result":
    """Search for settings that do well on the dev records, and score the best run once on the test records."""
    from formtune.preparation import with_prepared
    from formtune.recipe.searching import space_of
    from formtune.tuning import tuned

    recipe = with_prepared(recipe)
    check_alone(recipe, "A search")
    out, space = out_of(recipe, "tuning"), space_of(recipe)
    readied, parts, task = _one_arm(recipe)
    if not readied.dev.tokens:
        raise SettingError("A search needs records to choose on, and there are none.", "Ask for some.", at="--n-dev")
    check_one_rate(recipe, "tune searches training.learning_rate")
    check_prior([readied], recipe)
    metric = metric_of(recipe.training.metric or recipe.comparison.metric, task, at="training.metric")
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"metric": metric.name})})
    origins = _origins(recipe, parts)
    facts = {"recipe": recipe.to_dict(), **origins, "left_out": tally([*parts.left_out, *readied.left_out])}
    search = search_of(recipe, space, task=task, readied=readied, records=origins["splits"])
    return tuned(readied, plan_of(recipe, task, readied), search, facts=facts, out=out, progress=progress)


def _train_on_ray(recipe: Recipe, *, fresh: bool, progress: Progress) -> "Result":
    """Let workers of a Ray cluster do the same, each a process of one training, and fetch what they wrote."""
    from formtune.ray_engine import Job, run_on_ray

    out = out_of(recipe, "run").absolute()
    work = partial(_train_in_worker, recipe.to_dict(), fresh)
    return run_on_ray(Job(work, out=out, n_workers=recipe.training.workers or 1), progress=progress)


def _train_in_worker(values: dict[str, object], fresh: bool, out: Path, progress: Progress) -> "Result":  # noqa: PLR0917
    recipe = make_recipe({**values, "out": str(out)})
    return _train_here(recipe, fresh=fresh, progress=progress, heed=unheeded)


def evaluate(run: str, recipe: Recipe) -> "Result":
    """Score a run on answered records."""
    from formtune.results import Result
    from formtune.runs import open_run
    from formtune.training_job import fitted, scored

    reading = read(recipe, paths_of(recipe))
    records = [r for r in reading.records if has_answer(r)]
    if not records:
        raise DataError("No record has an answer to score against.", "Give labelled records.", at=paths_of(recipe)[0])
    opened, generate = _asked_to_write(open_run(run), recipe), recipe.comparison.generate
    kept, unfit = opened.answerable([fitted(opened.task, r) for r in records], generate=generate)
    values = scored(opened, kept, generate=generate)
    without = [LeftOut("no answer to score against", at=r.origin) for r in reading.records if not has_answer(r)]
    return Result({**values, "run": run, "left_out": tally([*reading.left_out, *without, *unfit])})


def cache(*, clear: bool = False) -> "Result":
    """List what is kept of frozen bottoms, last used first; or remove what no process uses.

    Args:
        clear: remove it; what is listed then is what stays.
    """
    from formtune.results import Result
    from formtune.state_folder import cleared, kept, states_folder

    root = states_folder()
    removed, stays = cleared(root) if clear else ([], kept(root))
    return Result(
        {
            "folder": str(root),
            "size_mb": round(sum(one.size_bytes for one in stays) / 1e6, 1),
            "removed_mb": round(sum(one.size_bytes for one in removed) / 1e6, 1),
            "kept": [one.to_dict() for one in stays],
        }
    )


def _asked_to_write(opened: "OpenRun", recipe: Recipe) -> "OpenRun":
    """Let answers be as long as the recipe says, where it does; else as long as in training."""
    if "max_new_tokens" not in recipe.comparison.model_fields_set:
        return opened
    return replace(opened, max_new_tokens=recipe.comparison.max_new_tokens)


def predict(run: str, questions: Sequence[str] | Recipe) -> "Result":
    """Answer texts, or the records of a recipe's data, with a run; answers that the data hold are not looked at."""
    from formtune.results import Result
    from formtune.runs import open_run
    from formtune.training_job import asked, fitted

    left_out: list[LeftOut] = []
    if isinstance(questions, Recipe):
        recipe, reading = questions, read(questions, paths_of(questions))
        opened, left_out = _asked_to_write(open_run(run), recipe), reading.left_out
        records = [fitted(opened.task, r) for r in reading.records]
    else:
        recipe, opened = Recipe(), open_run(run)
        records = [asked(opened.task, text) for text in questions]
    generate = recipe.comparison.generate
    records, unfit = opened.answerable([formats.unanswered(r) for r in records], generate=generate)
    answers = opened.predict(records, generate=generate)
    keys = ("id", "answer", "confidence", "valid", *(("generated",) if generate else ()))
    rows = [{key: getattr(a, key) for key in keys} for a in answers]
    return Result({"predictions": rows, "n": len(rows), "left_out": tally([*left_out, *unfit])})


def compare(
    recipe: Recipe,
    *,
    reading: dialects.Reading | None = None,
    command: str = "formtune compare -c recipe.yaml",
    fresh: bool = False,
    progress: Progress = silent,
) -> "Compared":
    """Compare formats (and models) fairly and say which to use, or that it does not matter: the main job.

    Arms that are done are kept beside the comparison's folder until it is whole.

    Args:
        recipe: every setting.
        reading: records that were read already, instead of reading the recipe's data.
        command: what repeats it, for the report.
        fresh: begin anew, whatever is kept.
        progress: told of what goes on.
    """
    return _compared([(recipe, reading)], command=command, fresh=fresh, progress=progress)[0]


def compare_together(
    recipes: Sequence[Recipe], *, command: str, fresh: bool = False, progress: Progress = silent
) -> "list[Compared]":
    """Do several comparisons whose arms are trained at the same time: processors that one has no use for serve another.

    Args:
        recipes: of each; the first one says how many arms are trained at the same time.
        command: what repeats them, for the reports.
        fresh: begin anew, whatever is kept.
        progress: told of what goes on; stages begin with the name of their comparison's folder.
    """
    return _compared([(recipe, None) for recipe in recipes], command=command, fresh=fresh, progress=progress)


def _compared(
    asked: "Sequence[tuple[Recipe, dialects.Reading | None]]", *, command: str, fresh: bool, progress: Progress
) -> "list[Compared]":
    from formtune.checkpoints import claimed, remove
    from formtune.crew import crew_for
    from formtune.kept_arms import Roster, arms_done
    from formtune.reporting import Contest, concluded

    for recipe, _ in asked:
        check_alone(recipe, "A comparison")
    outs = [out_of(recipe, "comparison") for recipe, _ in asked]
    made = [_all_arms(recipe, reading, progress=progress) for recipe, reading in asked]
    rosters = [
        Roster(title=out.name, arms=arms, plan=plan, folder=kept_beside(out))
        for out, (arms, plan, _) in zip(outs, made, strict=True)
    ]
    crew = crew_for([(arm, one.plan) for one in rosters for arm in one.arms], asked=asked[0][0].comparison.arms_at_once)
    contests = [
        Contest(
            recipe=recipe,
            plan=plan,
            crew=crew,
            parts=lists.parts,
            lost=lists.lost,
            refused=lists.refused,
            command=command,
            out=out,
        )
        for (recipe, _), (_, plan, lists), out in zip(asked, made, outs, strict=True)
    ]
    with ExitStack() as stack:
        for roster, out in zip(rosters, outs, strict=True):
            stack.enter_context(claimed(roster.folder, fresh=fresh))
            sweep(out.parent, name=out.name)
        found = []
        for contest, roster, runs in zip(
            contests, rosters, arms_done(rosters, crew=crew, progress=progress), strict=True
        ):
            found.append(concluded(contest, runs))
            remove(roster.folder)
    return found


def compare_forecast(recipe: Recipe, *, progress: Progress = silent) -> "Result":
    """Foretell what :func:`compare` will compute, hold and take, arm by arm; trains and writes nothing."""
    from formtune.crew import crew_for
    from formtune.forecast import foretold_arm, together_told, with_threads
    from formtune.results import Result

    check_alone(recipe, "A comparison")
    check_foretellable(recipe)
    readied, plan, lists = _all_arms(recipe, None, progress=progress)
    crew = crew_for([(one, plan) for one in readied], asked=recipe.comparison.arms_at_once)
    with with_threads(crew.n_threads):
        found = [foretold_arm(one, plan, progress=progress) for one in readied]
    return Result(
        {**together_told(found, n_workers=crew.n_workers), "left_out": tally([*lists.parts.left_out, *lists.lost])}
    )


class _Lists(NamedTuple):
    """What a comparison is made of beside its arms: records by split, those that are lost, and formats that do not fit."""

    parts: Splits
    lost: list[LeftOut]
    refused: dict[str, str]


def _all_arms(
    recipe: Recipe, reading: dialects.Reading | None, *, progress: Progress
) -> "tuple[list[Readied], Plan, _Lists]":
    from formtune.arms import check_comparable, make_arms, ready, shared

    parts = splits_of(recipe)[0] if reading is None else parted(reading, recipe)
    check_both(parts)
    task = task_of(recipe, parts.train)
    arms, refused = make_arms(formats_of(recipe), models_of(recipe), task)
    if len(arms) < 2:
        reasons = " ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise SettingError(
            f"A comparison needs two arms. {reasons}".rstrip(), "Name more formats or models.", at="--formats"
        )
    progress(Event("records become examples and tokens"))
    readied, lost = shared([ready(arm, parts, task, length=length_of(recipe)) for arm in arms])
    plan = plan_of(recipe, task, readied[0])
    check_prior(readied, recipe)
    check_comparable(readied, plan.metric.needs, metric=plan.metric.name)
    return readied, plan, _Lists(parts, lost, refused)
