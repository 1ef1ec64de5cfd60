"""The first half of the path, from files to tokens: what is asked of data before any model learns; works without torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from formtune import dialects, formats, inspection
from formtune.dialects.files import check_apart
from formtune.errors import SettingError
from formtune.mending import SHOWN_CHARACTERS, Mender, mend_file, not_lines
from formtune.planning import (
    formats_of,
    meant_for,
    parts_of,
    paths_of,
    read,
    splits_of,
    survey,
    task_of,
    template_options_of,
)
from formtune.progress import Event, Progress, silent
from formtune.provenance import input_digests, local_files, split_digests
from formtune.quarantine import Quarantine, write_quarantine
from formtune.recipe import Recipe
from formtune.records import LeftOut, Record
from formtune.shards import MANIFEST, check_place, staged
from formtune.sources import expand
from formtune.splits import Splits, has_answer
from formtune.tallies import accounted

if TYPE_CHECKING:
    from formtune.checks import Asked, Audit
    from formtune.results import Result


def formats_matrix() -> "Result":
    """List every format over every kind of record, with the shapes of model it serves, or why it does not.

    Under ``about``: what each format is, its loss, when it wins and loses, its source and what it adds.
    """
    from formtune.results import Result

    facts = ("summary", "formula", "wins", "loses", "source", "adds")
    about = {name: {fact: getattr(one, fact) for fact in facts} for name, one in formats.FORMATS.items()}
    return Result({"formats": [asdict(row) for row in formats.matrix()], "about": about})


def dialects_table() -> "Result":
    """List every dialect: what it is, and what must be there, or be named, for it to be read."""
    from formtune.results import Result

    known = dialects.DIALECTS.items()
    return Result({"dialects": [{"dialect": name, "what": one.SUMMARY, "needs": one.NEEDS} for name, one in known]})


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

    paths, mended = paths_of(recipe), dict[str, object]()
    folders = [path for path in paths if (Path(path) / MANIFEST).is_file()]
    if folders:
        from formtune.prepared_inspection import inspect_prepared

        _check_folder(folders[0], alone=len(paths) == 1, written={"--quarantine": quarantine, "--fix": fix})
        return inspect_prepared(folders[0], first=1 if record is None else record)
    if record is not None:
        raise SettingError("Sequences are shown of prepared folders.", "Use formtune preview.", at="--record")
    if quarantine is not None:
        check_apart(local_files(recipe.data.named), quarantine, at="--quarantine")
    if fix is not None:
        mended = mend_file(_only_one(expand(paths)), fix).told()
        paths = [fix]
    with Quarantine(quarantine, encoding=recipe.data.encoding) as aside:
        stream = survey(recipe, paths).stream()
        facts = inspection.facts_of(_records(stream, aside))
        found = inspection.told(
            facts,
            dialect=stream.dialect,
            evidence=stream.told(),
            left_out=aside.gone.told(),
            parts_lost=aside.parts.told(),
        )
        found |= aside.write()
    if fix is not None:
        found |= {**mended, "fixed": fix}
    return Result(found)


def _records(stream: dialects.Stream, aside: Quarantine) -> Iterator[Record]:
    """Give the records of a stream, and put aside what is none."""
    for item in stream.each():
        if isinstance(item, LeftOut):
            aside.append(item)
        else:
            yield item


def _check_folder(folder: str, *, alone: bool, written: Mapping[str, str | None]) -> None:
    if not alone:
        raise SettingError("A prepared folder is looked at alone.", "Give one at a time.", at=folder)
    for flag, given in written.items():
        if given is not None:
            raise SettingError("This is of files, and a folder is given.", "Give the data.", at=flag)


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
    from formtune.checks.figures import figures
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
    audit = checks.Audit(outcomes, n_records, figures(context, {outcome.check for outcome in outcomes}))
    return written(audit, asked, readings, paths=named, fix=fix)


def _check_own_files(recipe: Recipe, asked: "Asked") -> None:
    """Refuse to write several files as one, over one that is read, or one over the other."""
    from formtune.checks.dataset_card import check_card

    data = recipe.data
    named = list(local_files(data.named))
    for flag, path in (("--fix", asked.fix), ("--redact", asked.redact)):
        if path is not None and sum(map(bool, (data.train, data.dev, data.test))) > 1:
            raise SettingError("One file at a time is written.", "Give DATA instead of --train.", at=flag)
        if path is not None:
            check_apart(named, path, at=flag)
    if asked.card is not None:
        check_card(asked.card)
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
    manifest = {"kind": "split", **facts, **origins_of(recipe, parts), "dialect": dialect, "recipe": recipe.to_dict()}
    with staged(out, {**manifest, **accounted(parts.left_out)}) as staging:
        for name, records in named.items():
            left_out += dialects.write(records, dialect, str(staging / f"{name}{ending}")) if records else []
    return Result({**facts, "dialect": dialect, **accounted(left_out), "out": str(out)})


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
    from formtune.conversion import LOST, check_place
    from formtune.conversion import convert as converted
    from formtune.results import Result

    if to is None:
        raise SettingError(
            "Nothing says what the records become.", f"Choose from: {', '.join(dialects.DIALECTS)}.", at="--to"
        )
    if recipe.out is None:
        raise SettingError("Nothing says where the records go.", "Give a file, as -o train.jsonl.", at="--out")
    read_from = list(local_files(recipe.data.named))
    check_apart(read_from, recipe.out, at="--out")  # what the dialect cannot carry would be gone from the data
    if quarantine is not None:
        check_apart([recipe.out, *read_from], quarantine, at="--quarantine")
    check_place(to, Path(recipe.out))
    with Quarantine(quarantine, encoding=recipe.data.encoding) as aside:
        stream, mender = _repaired(recipe) if fix else (survey(recipe, paths_of(recipe)).stream(), None)
        written = converted(
            _records(stream, aside),
            to,
            Path(recipe.out),
            strict=strict,
            repaired=() if mender is None else mender,
            left_out=aside,
        )
        quarantined = aside.write()
    paths = [str(path) for path in written.paths]
    return Result(
        {
            "dialect": stream.dialect,
            "to": to,
            "rows_in": stream.n_rows,
            "kept": written.n_kept - written.n_repaired,
            "repaired": written.n_repaired,
            "left_out": aside.gone.told(),
            "parts_lost": aside.parts.told(),
            "cannot_carry": written.cannot_carry,
            "added": written.added,
            "out": [path for path in paths if not path.endswith(LOST)],
            "lost": next((path for path in paths if path.endswith(LOST)), None),
            **quarantined,
            **(mender.told() if mender is not None else {}),
        }
    )


def _repaired(recipe: Recipe) -> tuple[dialects.Stream, Mender]:
    """Read the recipe's data with the rows repaired that can be, and say who does it on the way.

    Raises:
        SettingError: where there are no lines to repair.
    """
    looking = Mender(most_characters=0)
    looked_at = survey(recipe, paths_of(recipe), mend=looking)
    # Where all rows are held, they are repaired before the first of them comes, and all must be remembered.
    mender = Mender(most_characters=SHOWN_CHARACTERS if looked_at.plan.reason is None else None)
    stream = looked_at.stream(mend=mender)
    if not (mender.n_lines or looking.n_lines):
        raise not_lines()
    return stream, mender


def origins_of(recipe: Recipe, parts: Splits) -> dict[str, dict[str, str]]:
    """Say what a result was made of: digests of the files, and of the records of each part."""
    return {"inputs": input_digests(recipe.data.named), "splits": split_digests(parts)}


def out_of(recipe: Recipe, kind: str) -> Path:
    """Give the folder that the results go to, once it is sure that they can.

    Args:
        recipe: with the folder; ``out/`` and the kind where it names none.
        kind: of the results; those of another are not written over.

    Raises:
        SettingError: where the place cannot be written, or holds something else.
    """
    return check_place(recipe.out or f"out/{kind}", kind=kind)


def preview(recipe: Recipe, *, record: int = 1, out: str | None = None, peers: Sequence[str] = ()) -> "Result":
    """Show one record as the model sees it: text, and each token with its part and weight; works without torch.

    Args:
        recipe: data, one format or several, and a model (the byte tokenizer where none is named).
        record: which, from 1.
        out: path of an HTML page to write.
        peers: other trainers, to show beside them what each would learn by default.
    """
    from formtune.peer_rules import peer_rule
    from formtune.showing import previewed

    for peer in peers:
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
        template_options=template_options_of(recipe),
        out=out,
        peers=peers,
        dialect=reading.dialect,
    )
    return replace(found, values={**found.values, **accounted(reading.left_out)})


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

    out = out_of(recipe, "prepared")
    try:
        return Result(prepared(recipe, out, fresh=fresh, progress=progress))
    except KeyboardInterrupt:
        progress(Event("stopped; the same command goes on with the shards that are done"))
        raise


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

    return Result(exported(folder, to=to, packed=packed, out=check_place(out or "out/export", kind="exported")))
