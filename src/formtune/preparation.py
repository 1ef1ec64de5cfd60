"""Preparation as the recipe asks for it: what is read, by whom it is done, and what is said of it.

Files are read slice by slice where their dialect can be and nothing is drawn: memory then does not grow with the data.
Else all records are read first. Either way the same records become the same sequences.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from formtune.arms import PreparedPart, Readied, make_arms, ready
from formtune.beside import beside
from formtune.dialects.streaming import Plan, records_of
from formtune.dialects.streaming import plan as plan_reading
from formtune.encoder_proofs import drawn
from formtune.engines import ENGINES, Run
from formtune.errors import DataError, SettingError
from formtune.examples import Task
from formtune.formats.tasks import N_LANGUAGE_RECORDS
from formtune.planning import (
    columns_of,
    formats_of,
    length_of,
    models_of,
    paths_of,
    read,
    splits_of,
    task_of,
    template_options_of,
)
from formtune.prepared import COUNTED, PreparedTokens, being_made, gather, open_prepared
from formtune.preparing import (
    SLICE_BYTES,
    Made,
    Order,
    files_beside_weights,
    lots_of,
    make_records,
    make_slice,
    order_digest,
    preparer_of,
    witnesses_in,
)
from formtune.progress import Event, Progress
from formtune.provenance import input_digests, split_digests
from formtune.recipe import Recipe
from formtune.records import Conversation, LeftOut, Plain, Record, answer_text, input_text
from formtune.side_by_side import Job
from formtune.sources import Slice
from formtune.sources.hub import is_hub
from formtune.splits import Splits, has_answer
from formtune.tallies import accounted, merged_tallies
from formtune.template_options import check_used

WORTH_A_PROOF_BYTES = 8_000_000  # the reference encodes that in half of the seconds that a first proof takes
_SAMPLED = 128  # records whose texts a tokenizer library is compared on


@dataclass(frozen=True, slots=True)
class Source:
    """What is prepared: slices, or records where it cannot be read slice by slice.

    Attributes:
        dialect: of the data.
        files: every file, in order.
        plan: how slices are read, without the list of them, or None.
        slices: each with the number of its file.
        records: where there are no slices.
        left_out: rows and records that do not go on, where there are no slices.
        witnesses: records that say of the whole data set what a format must know.
        splits: digests of the records of each part, where some are held back.
    """

    dialect: str
    files: tuple[str, ...]
    plan: Plan | None = None
    slices: Sequence[Slice] = ()
    records: Sequence[Record] = ()
    left_out: Sequence[LeftOut] = ()
    witnesses: Sequence[Record] = ()
    splits: Mapping[str, str] = field(default_factory=dict)


def prepared(recipe: Recipe, out: Path, *, fresh: bool, progress: Progress, run: Run | None = None) -> dict[str, Any]:
    """Turn the training records into shards at ``out``, with what was counted.

    Args:
        recipe: data, one format, one model, and how it is done.
        out: the folder.
        fresh: use no shard that is there.
        progress: told of each slice.
        run: of an engine that was started already, and is used for several preparations; None starts the recipe's.

    Returns:
        What ``--json`` prints.
    """
    asked = recipe.preparation
    engine = ENGINES[asked.engine](asked.workers, asked.address) if run is None else nullcontext(run)
    with being_made(out, fresh=fresh) as folder:
        with engine as started:
            source = _source(recipe, started, progress)
            task = task_of(recipe, source.witnesses)
            order = _order(recipe, source, task, folder=folder)
            preparer = preparer_of(order)  # so that what is wrong with the model is said before work begins
            first = preparer.first_of(source.witnesses)
            check_used(order.template_options, is_rendered=bool(first.turns))
            jobs = _jobs(order, source)
            inputs = beside(partial(input_digests, recipe.data.named))
            made = list(chain.from_iterable(started(jobs, _paced(progress, len(jobs)))))
        # Workers have given back their memory when all lengths are looked at together.
        if source.left_out:
            made = [*made, Made("", _unread(source.left_out))]
        _check_something_left(made, order.format)
        choices = {follows: choice.to_dict() for follows, choice in preparer.tokenizer.engines.choices.items()}
        manifest = {
            "inputs": inputs.result(),
            "sources": list(source.files),
            "splits": source.splits,
            "dialect": source.dialect,
            "order": order_digest(order),
            "task": asdict(task),
            "output": first.output,
            "tokenizer": {"digest": preparer.tokenizer.digest, "libraries": choices},
            "template": None
            if preparer.tokenizer.chat_template.is_default
            else preparer.tokenizer.chat_template.source,
            "template_options": asdict(order.template_options),
            "engine": asked.engine,
            "recipe": recipe.to_dict(),
        }
        facts = gather(
            out, made, folder, packing=asked.packing, capacity=asked.pack_tokens or preparer.capacity, manifest=manifest
        )
    return {**facts, "engine": asked.engine, "out": str(out)}


def taken_up(recipe: Recipe) -> tuple[Readied, Splits, Task]:
    """Take training records that were prepared, and read those to choose and test on as the prepared ones were.

    Whether records of these also stand among the prepared ones cannot be seen from tokens: ``check --against`` tells.

    Raises:
        DataError: where there is no prepared folder, or it is damaged.
        SettingError: where format, model or sizes do not go with what was prepared.
    """
    data = recipe.data
    folder = open_prepared(data.prepared or "")
    if data.n_train or data.n_dev or data.n_test:
        raise SettingError(
            "Nothing is drawn from prepared data.", "Give --dev and --test, and leave sizes out.", at="--prepared"
        )
    readings = [read(recipe, paths) if paths else None for paths in (data.dev, data.test)]
    dev, test = ([r for r in reading.records if has_answer(r)] if reading else [] for reading in readings)
    left_out = [one for reading in readings if reading for one in reading.left_out]
    own = folder.manifest["task"]
    if own is None and not (dev or test):
        own = folder.manifest["tasks"][0]
    # Of a mixture of several tasks, the records to choose and test on say which one counts.
    task = task_of(recipe, [*dev, *test]) if own is None else msgspec.convert(own, Task)
    arms, _ = make_arms(formats_of(recipe), models_of(recipe), task)
    given = PreparedPart(PreparedTokens(folder), folder.manifest["output"])
    parts = Splits([], dev, test, left_out)
    options = template_options_of(recipe)
    return (
        ready(arms[0], parts, task, length=length_of(recipe), template_options=options, prepared=given),
        parts,
        task,
    )


def _source(recipe: Recipe, run: Run, progress: Progress) -> Source:
    """Find out how the data can be read, and read as much of them as a format must know."""
    data = recipe.data
    if data.n_train or data.n_dev or data.n_test or data.dev or data.test:
        unasked = {size: 0 for size in ("n_dev", "n_test") if getattr(data, size) is None}
        parts, dialect = splits_of(recipe.model_copy(update={"data": data.model_copy(update=unasked)}))
        return replace(_held(parts.train, parts.left_out, dialect), splits=split_digests(parts))
    paths = data.train or paths_of(recipe)
    plan = plan_reading(
        paths,
        dialect=data.dialect,
        columns=columns_of(recipe),
        encoding=data.encoding,
        header=data.header,
        slice_bytes=SLICE_BYTES,
    )
    if plan.reason is not None:
        reading = read(recipe, paths)
        return _held(reading.records, reading.left_out, reading.dialect)
    found = list(islice(_answered(plan), N_LANGUAGE_RECORDS))
    slices, plan = plan.slices, replace(plan, slices=())  # which every job has with it
    if not isinstance(next(iter(found), None), Conversation | Plain | None):
        told = _told(plan)
        jobs = [Job(f"{part.path}:{part.first_line}", partial(witnesses_in, plan, told, part)) for part in slices]
        found += chain.from_iterable(run(jobs, progress))
    files = dict.fromkeys(part.path for part in slices)
    return Source(plan.dialect, tuple(files), plan=plan, slices=slices, witnesses=found)


def _held(records: Sequence[Record], left_out: Sequence[LeftOut], dialect: str) -> Source:
    """Prepare records that are all in memory."""
    files = dict.fromkeys(record.origin.file for record in records if record.origin)
    answered = [record for record in records if has_answer(record)]
    return Source(dialect, tuple(files), records=records, left_out=left_out, witnesses=answered)


def _answered(plan: Plan) -> Iterator[Record]:
    """Give the records that have an answer, from the beginning on."""
    for part in plan.slices:
        for batch in records_of(plan, part):
            yield from (row for row in batch if not isinstance(row, LeftOut) and has_answer(row))


def _order(recipe: Recipe, source: Source, task: Task, *, folder: Path) -> Order:
    chosen, models = formats_of(recipe), models_of(recipe)
    if len(chosen) > 1 or len(models) > 1:
        raise SettingError("This takes one format and one model.", "Name one of each, or use compare.", at="--format")
    return Order(
        format=chosen[0].name,
        template=chosen[0].template,
        place=recipe.formats[0] if chosen[0].template is not None else None,
        model=models[0],
        model_files=files_beside_weights(models[0]),
        task=task,
        max_length=recipe.model.max_length,
        pack_tokens=recipe.preparation.pack_tokens,
        template_options=template_options_of(recipe),
        reading="" if source.plan is None else _told(source.plan),
        plan=source.plan,
        files=source.files,
        folder=folder,
        sample=tuple(drawn(_sample(source.witnesses))) if _n_bytes(source) >= WORTH_A_PROOF_BYTES else (),
    )


def _told(plan: Plan) -> str:
    """Say as text all of a plan that decides what a slice's records are."""
    given = plan.given
    layouts = {path: asdict(layout) for path, layout in given.described.layouts.items()}
    told = [plan.dialect, asdict(plan.columns), plan.group, given.encoding, given.header, layouts]
    return json.dumps([*told, sorted(given.known_names)], sort_keys=True, default=sorted)


def _n_bytes(source: Source) -> float:
    """Say how much text there is, about; of what is not here nobody knows."""
    if source.plan is None:
        return sum(len(input_text(record)) + len(answer_text(record)) for record in source.records)
    return math.inf if any(map(is_hub, source.files)) else sum(Path(file).stat().st_size for file in source.files)


def _sample(records: Sequence[Record]) -> list[str]:
    """Give texts of the data at hand, from all over what was read."""
    chosen = records[:: max(1, len(records) // _SAMPLED)]
    return [text for record in chosen for text in (input_text(record), answer_text(record)) if text]


def _jobs(order: Order, source: Source) -> list[Job]:
    if source.plan is None:
        return [Job("records", partial(make_records, order, lot)) for lot in lots_of(source.records)]
    number_of = {name: number for number, name in enumerate(source.files)}
    return [
        Job(f"{part.path}:{part.first_line}", partial(make_slice, order, part, number_of[part.path]))
        for part in source.slices
    ]


def _check_something_left(made: Sequence[Made], name: str) -> None:
    """Refuse to write a folder without a sequence; say the commonest reason.

    Raises:
        DataError: where there is none.
    """
    if any(one.facts["records"] for one in made):
        return
    left_out = merged_tallies(one.facts["left_out"] for one in made)
    told = f"; {left_out[0]['rows']} of them: {left_out[0]['reason']}" if left_out else ""
    raise DataError(
        f"No record can be used in the format {name}{told}.",
        "Mend the records, choose another format, or raise model.max_length or preparation.pack_tokens.",
        at=next(iter(left_out[0]["places"]), None) if left_out else None,
    )


def _unread(left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """Count rows that were left out before any lot was made."""
    nothing = dict.fromkeys(COUNTED, 0)
    return {**nothing, "rows": sum(not one.kept for one in left_out), **accounted(left_out)}


def _paced(progress: Progress, n_slices: int) -> Progress:
    """Tell of each slice how many there are, and of all that is done the time since it was told last."""
    done, last_s = 0, time.monotonic()

    def tell(event: Event) -> None:
        nonlocal done, last_s
        now_s = time.monotonic()
        done += event.step or 0
        progress(replace(event, step=done, steps=n_slices, seconds=max(now_s - last_s, 1e-9), lane=0))
        last_s = now_s

    return tell
