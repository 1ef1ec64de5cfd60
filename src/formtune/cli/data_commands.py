"""The commands that look at data and make something of them: each calls one function of the pipeline and prints what came out."""

import sys
from functools import partial
from typing import Annotated

from cyclopts import Parameter

from formtune.cli import audits, prepared_views, show
from formtune.cli.flags import (
    GROUPS,
    Common,
    Data,
    FileFlags,
    FormatFlags,
    MixFlags,
    ModelFlags,
    OutFlags,
    PackFlags,
    PrepareFlags,
    ReadFlags,
    RecipeFlags,
    SeedFlags,
    SplitFlags,
    named,
    recipe_of,
)
from formtune.cli.progress import drawn

_PREPARED = Parameter(name="DIR", help="Folders that formtune prepare wrote.")


def formats(*, common: Common = Common()) -> int:
    """Show which format takes which kind of record, for which shape of model, and when it wins."""
    from formtune import pipeline

    return show.result(pipeline.formats_matrix(), show.formats, common)


def dialects(*, common: Common = Common()) -> int:
    """List the layouts of files that are read and written, and what each needs."""
    from formtune import pipeline

    return show.result(pipeline.dialects_table(), show.dialects, common)


def inspect(
    *data: Data,
    quarantine: str | None = None,
    fix: str | None = None,
    record: int | None = None,
    read: ReadFlags = ReadFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Say what a file is: its dialect, kinds of record, counts, lengths, balance of labels, samples; or a prepared folder.

    Args:
        quarantine: File to write the rows to that are left out: code, place, what was found, the line as it is.
        fix: File to write JSON lines to, with the rows repaired that leave no doubt; shows the changes, then looks at it.
        record: Of a prepared folder, the sequence to show first, from 1.
    """
    from formtune import pipeline

    recipe = recipe_of(data, settings, read)
    found = pipeline.inspect(recipe, quarantine=quarantine, fix=fix, record=record)
    return show.result(found, prepared_views.prepared if "packs" in found.values else show.inspection, common)


def convert(
    *data: Data,
    to: str | None = None,
    fix: bool = False,
    quarantine: str | None = None,
    read: ReadFlags = ReadFlags(),
    out: OutFlags = OutFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Write records in another dialect, with an account of what it cannot carry; with --strict nothing is lost.

    Args:
        to: Dialect that the records become.
        fix: Repair the rows of JSON lines that leave no doubt on the way; shows the changes.
        quarantine: File to write the rows to that are left out: code, place, what was found, the line as it is.
    """
    from formtune import pipeline

    recipe = recipe_of(data, settings, read, out)
    made = pipeline.convert(recipe, to=to, strict=common.strict, fix=fix, quarantine=quarantine)
    return show.result(made, show.conversion, common)


def check(
    *data: Data,
    against: Annotated[tuple[str, ...], Parameter(name="--against", group=GROUPS["Data"])] = (),
    only: Annotated[tuple[str, ...], Parameter(name="--only", group=GROUPS["Checks"])] = (),
    skip: Annotated[tuple[str, ...], Parameter(name="--skip", group=GROUPS["Checks"])] = (),
    fail_on: Annotated[str, Parameter(name="--fail-on", group=GROUPS["Checks"])] = "error",
    fix: Annotated[str | None, Parameter(name="--fix", group=GROUPS["Recipe and output"])] = None,
    quarantine: Annotated[str | None, Parameter(name="--quarantine", group=GROUPS["Recipe and output"])] = None,
    redact: Annotated[str | None, Parameter(name="--redact", group=GROUPS["Recipe and output"])] = None,
    card: Annotated[str | None, Parameter(name="--card", group=GROUPS["Recipe and output"])] = None,
    croissant: Annotated[str | None, Parameter(name="--croissant", group=GROUPS["Recipe and output"])] = None,
    layout: Annotated[str | None, Parameter(name="--format", group=GROUPS["Recipe and output"])] = None,
    out: Annotated[str | None, Parameter(name=("--out", "-o"), group=GROUPS["Recipe and output"])] = None,
    read: ReadFlags = ReadFlags(),
    parts: FileFlags = FileFlags(),
    form: ModelFlags = ModelFlags(),
    settings: RecipeFlags = RecipeFlags(),
    json: Annotated[bool, Parameter(name="--json", group=GROUPS["Recipe and output"])] = False,
    quiet: Annotated[bool, Parameter(name="--quiet", group=GROUPS["Recipe and output"])] = False,
) -> int:
    """Look for what spoils training and tests: duplicates, leaks, conflicts, broken turns, personal data and more.

    Args:
        against: File whose records must not stand in the data: a test set, a benchmark; one flag for each.
        only: Checks or codes to run, with commas, instead of all.
        skip: Checks or codes to pass over, with commas.
        fail_on: Least severity that ends with exit code 2: error, warning, note or none.
        fix: File to write the data to, with rows repaired and repetitions taken out; what is found then is what is left.
        quarantine: File to write the rows to that are no records: code, place, what was found, the line as it is.
        redact: File to write the data to, with placeholders for personal data and secrets.
        card: File to write a dataset card to, for the Hugging Face Hub.
        croissant: File to write a description in Croissant to, for search engines and loaders.
        layout: How findings are told: table, json, sarif or html; by the ending of --out where not given.
        out: File that they are written to.
        json: Print one JSON object and nothing else.
        quiet: Print only errors.
    """
    from formtune import pipeline
    from formtune.checks import Asked
    from formtune.checks.layouts import layout_for

    audits.check_severity(fail_on)
    chosen = layout_for(layout, out)
    recipe = recipe_of(data, settings, read, parts, form)
    asked = Asked(
        against=against,
        only=named(only),
        skip=named(skip),
        fix=fix,
        quarantine=quarantine,
        redact=redact,
        card=card,
        croissant=croissant,
    )
    # Most checks take a moment: where nobody watches, a line for each says nothing.
    with drawn(Common(quiet=quiet or json or not sys.stderr.isatty())) as progress:
        audit = pipeline.check(recipe, asked, progress=progress)
    audits.delivered(audit, chosen, out=out, json=json, quiet=quiet)
    return audits.exit_code(audit, fail_on)


def split(
    *data: Data,
    read: ReadFlags = ReadFlags(),
    parts: SplitFlags = SplitFlags(),
    out: OutFlags = OutFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Part records into train, dev and test: stratified, groups together, no duplicate across."""
    from formtune import pipeline

    return show.result(pipeline.split(recipe_of(data, settings, read, parts, out)), show.numbers, common)


def preview(
    *data: Data,
    record: int = 1,
    peers: Annotated[tuple[str, ...], Parameter(name="--as")] = (),
    ids: bool = False,
    read: ReadFlags = ReadFlags(),
    form: FormatFlags = FormatFlags(),
    out: OutFlags = OutFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Show what the model sees of one record: its tokens, colored by what is learned.

    Args:
        record: Which one, from 1.
        peers: Show beside it what other trainers would learn by default: trl, llamafactory, axolotl or swift; several with
            commas.
        ids: Write a line for each token: its id, its weight, and why it is learned or not.
    """
    from formtune import pipeline

    recipe = recipe_of(data, settings, read, form)
    found = pipeline.preview(recipe, record=record, out=out.out, peers=named(peers))
    return show.result(found, partial(show.preview, with_ids=ids), common)


def prepare(
    *data: Data,
    fresh: bool = False,
    read: ReadFlags = ReadFlags(),
    parts: SplitFlags = SplitFlags(),
    form: FormatFlags = FormatFlags(),
    making: PrepareFlags = PrepareFlags(),
    out: OutFlags = OutFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Turn records into shards of tokens with loss weights; what was stopped goes on, and what is the same stays.

    Args:
        fresh: Make every shard anew.
    """
    from formtune import pipeline

    recipe = recipe_of(data, settings, read, parts, form, making, out)
    with drawn(common) as progress:
        found = pipeline.prepare(recipe, fresh=fresh, progress=progress)
    return show.result(found, prepared_views.preparation, common)


def mix(
    *folders: Annotated[str, _PREPARED],
    mixing: MixFlags = MixFlags(),
    drawn: SeedFlags = SeedFlags(),
    packing: PackFlags = PackFlags(),
    out: OutFlags = OutFlags(),
    settings: RecipeFlags = RecipeFlags(),
    common: Common = Common(),
) -> int:
    """Mix prepared folders into one: of each a share by weight, size, cap and temperature; no token is copied."""
    from formtune import pipeline

    recipe = recipe_of(folders, settings, mixing, drawn, packing, out)
    return show.result(pipeline.mix(recipe), prepared_views.mixture, common)


def export(
    folder: Annotated[str, Parameter(name="DIR", help="Folder that formtune prepare or mix wrote.")],
    /,
    *,
    to: str | None = None,
    packed: bool = False,
    out: OutFlags = OutFlags(),
    common: Common = Common(),
) -> int:
    """Write prepared sequences as another trainer reads them: the same tokens, with what is learned as labels.

    Args:
        to: Trainer: trl, axolotl or llamafactory.
        packed: Write the rows of the packs, where the trainer can keep their sequences apart.
    """
    from formtune import pipeline

    return show.result(pipeline.export(folder, to=to, packed=packed, out=out.out), prepared_views.exported, common)
