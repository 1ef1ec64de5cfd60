"""Mixtures as the recipe asks for them: prepared folders become one, whose shards are theirs and whose packs are its own.

No token is copied: a shard stands in both folders (by a hard link where the file system has them), and what is met how
often is said by ``drawn.arrow`` and ``packs.arrow`` alone.

Shape letters: N sequences of one source, M of all sources, S sides (two for an encoder-decoder).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from formtune.errors import DataError, SettingError
from formtune.mixing import Mixture, capped, mix, shares
from formtune.packing import Packs
from formtune.prepared import (
    DRAWN,
    MIXTURE,
    PACKS,
    PreparedFolder,
    held_place,
    link,
    open_prepared,
    packed,
    packing_facts,
    read_files,
    write_drawn,
    write_packs,
)
from formtune.recipe import Recipe
from formtune.shard_files import read_shard
from formtune.shards import digest_of, staged
from formtune.template_options import TemplateOptions

_MOST = 2**31 - 1  # sequences that packing can number
Number = TypeVar("Number", bound=float | None)
_FOLDERS = "Give folders that formtune prepare wrote."


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A prepared folder that is mixed, with what must be known of its sequences.

    Attributes:
        named: as the user named it.
        opened: the folder.
        sides_NS: int64, tokens of each sequence, on each side.
        learned_N: int64, those of them that are learned.
        weight: see :mod:`formtune.mixing`.
        cap: likewise.
    """

    named: str
    opened: PreparedFolder
    sides_NS: np.ndarray
    learned_N: np.ndarray
    weight: float
    cap: int | None

    def sizes(self, by: str) -> np.ndarray:
        """Give what each sequence counts: int64, N."""
        if by == "rows":
            return np.ones(len(self.learned_N), dtype=np.int64)
        return self.learned_N if by == "learned" else self.sides_NS.sum(axis=1)


def mixed(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Mix the prepared folders that the recipe's data name into one at ``out``.

    Returns:
        What ``--json`` prints.

    Raises:
        SettingError: where the settings do not fit the folders.
        DataError: where a folder cannot be mixed, or not with the others.
    """
    sources = _sources(recipe)
    mixture, total = _drawn(recipe, sources)
    facts, packs = _packed(recipe, sources, mixture)
    made_of = _manifest(recipe, sources)
    facts = {"by": recipe.mixing.by, "total": total, "output": made_of["output"], **facts}
    # In a manifest "sources" are files, which the shards count.
    manifest = {"kind": MIXTURE, **facts, "mixed": facts["sources"], **made_of}
    with held_place(out), staged(out, manifest) as staging:
        for source, files in _files(sources):
            for own, file in files.items():
                link(source.opened.folder / own, staging / file)
        write_drawn(staging / DRAWN, mixture.numbers_D)
        write_packs(staging / PACKS, packs)
    return {**facts, "digest": digest_of(read_files(out)), "out": str(out)}


def _drawn(recipe: Recipe, sources: Sequence[Source]) -> tuple[Mixture, int]:
    """Draw from the sources as the recipe says; give the total that was drawn for, too."""
    asked = recipe.mixing
    sizes = [source.sizes(asked.by) for source in sources]
    amounts = [int(sizes_N.sum()) for sizes_N in sizes]
    for source, amount in zip(sources, amounts, strict=True):
        if not amount:
            raise DataError("Of its sequences no token is learned.", "Count by tokens or rows.", at=source.named)
    caps = [source.cap for source in sources]
    total = asked.total or sum(capped(amounts, caps))
    weights = [source.weight for source in sources]
    shares_S = shares(amounts, weights=weights, caps=caps, temperature=asked.temperature)
    n_drawn = sum(len(s) * share * total / n for s, share, n in zip(sizes, shares_S, amounts, strict=True))
    if n_drawn > _MOST:
        raise SettingError(
            f"{n_drawn:,.0f} sequences would be drawn, and {_MOST:,} can be counted.", "Lower it.", at="--total"
        )
    mixture = mix(sizes, shares_S, total=total, seed=recipe.seed)
    if not len(mixture.numbers_D):
        raise SettingError("Not half a sequence would be drawn of any folder.", "Raise it.", at="--total")
    return mixture, total


def _sources(recipe: Recipe) -> list[Source]:
    """Open and measure what is mixed, once it is sure that it goes together."""
    folders = _opened(recipe.data.paths)
    n_folders = len(folders)
    weights = _one_each("--weights", recipe.mixing.weights or (1.0,) * n_folders, n_folders)
    given: tuple[int | None, ...] = recipe.mixing.cap or (None,)
    caps = _one_each("--cap", given * n_folders if len(given) == 1 else given, n_folders)
    _check_alike(folders)
    sources = [
        Source(name, opened, *_measured(opened), weight=weight, cap=cap)
        for (name, opened), weight, cap in zip(folders.items(), weights, caps, strict=True)
    ]
    for source in sources[1:]:
        if source.sides_NS.shape[1] != sources[0].sides_NS.shape[1]:
            raise DataError(
                f"One of it and {sources[0].named!r} holds sequences of an encoder-decoder, and the other does not.",
                "Prepare both for the same model.",
                at=source.named,
            )
    return sources


def _one_each(flag: str, numbers: Sequence[Number], n_folders: int) -> Sequence[Number]:
    if len(numbers) != n_folders:
        raise SettingError(
            f"There are {len(numbers)} numbers for {n_folders} folders.",
            "Give one for each folder, in their order.",
            at=flag,
        )
    return numbers


def _opened(paths: Sequence[str]) -> dict[str, PreparedFolder]:
    """Open what is mixed, by the names that the user gave."""
    if not paths:
        raise SettingError("There is nothing to mix.", _FOLDERS, at="DATA")
    first_at: dict[Path, str] = {}
    for name in paths:
        path = Path(name).resolve()
        if path in first_at:
            raise SettingError(
                f"This is the same folder as {first_at[path]!r}.", "Name it once, with a larger weight.", at=name
            )
        first_at[path] = name
    return {name: _open(name) for name in paths}


def _open(name: str) -> PreparedFolder:
    if not Path(name).is_dir():
        is_there = Path(name).is_file() or name == "-" or "://" in name
        raise DataError(
            "Prepared folders are mixed, and this is a file of data." if is_there else "There is no such folder.",
            f"Prepare it first: formtune prepare {name} --format FORMAT --model MODEL -o FOLDER."
            if is_there
            else _FOLDERS,
            at=name,
        )
    opened = open_prepared(name)
    if DRAWN in read_files(Path(name)):
        own = ", ".join(source["folder"] for source in opened.manifest["mixed"])
        raise DataError(
            "This is a mixture, which would be drawn from anew.", f"Mix what it is made of: {own}.", at=name
        )
    return opened


def _check_alike(folders: Mapping[str, PreparedFolder]) -> None:
    """Refuse folders that one model could not learn together, and what stands in two of them."""
    (first, own), *others = ((name, opened.manifest) for name, opened in folders.items())
    for name, manifest in others:
        problems = {
            f"It was prepared with another chat template than {first!r}.": manifest["template"] != own["template"],
            f"It was prepared with other template options than {first!r}.": _ids(manifest) != _ids(own)
            and _template_told(manifest) != _template_told(own),
            # Whose digest has the template and its options in it, and so comes after.
            f"It was prepared with another tokenizer than {first!r}.": _ids(manifest) != _ids(own),
            f"Its answers are read off otherwise than those of {first!r}.": not _goes_with(manifest, own),
        }
        for problem, is_so in problems.items():
            if is_so:
                raise DataError(problem, "Prepare both for the same model, in formats alike.", at=name)
    holder: dict[str, str] = {}
    for name, opened in folders.items():
        for shard in opened.manifest["shards"]:
            other = holder.setdefault(shard["name"], name)
            if other != name:
                raise DataError(
                    f"It holds sequences that {other!r} holds too ({shard['file']}).",
                    "Prepare each file once, and give what counts more a larger weight.",
                    at=name,
                )


def _template_told(manifest: Mapping[str, Any]) -> TemplateOptions:
    return TemplateOptions(**manifest.get("template_options", {}))


def _ids(manifest: Mapping[str, Any]) -> str:
    return str(manifest["tokenizer"]["digest"])


def _goes_with(manifest: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether answers are read off alike: texts beside label words, and numbers of the same classes."""
    outputs = {manifest["output"], other["output"]}
    if outputs == {"head"}:
        return bool(manifest["task"]["labels"] == other["task"]["labels"])
    return len(outputs) == 1 or outputs == {"text", "words"}


def _measured(opened: PreparedFolder) -> tuple[np.ndarray, np.ndarray]:
    """Give the tokens of each sequence, and those that are learned."""
    sides, learned = [], []
    for shard in opened.manifest["shards"]:
        leaf = read_shard(opened.folder / shard["file"]).leaf  # and not kept: only lengths are
        both = [leaf.sheet] if leaf.decoder is None else [leaf.sheet, leaf.decoder]
        sides.append(np.stack([sheet.lengths for sheet in both], axis=1))
        learned.append(leaf.target.n_learned())
    return np.concatenate(sides), np.concatenate(learned)


def _packed(recipe: Recipe, sources: Sequence[Source], mixture: Mixture) -> tuple[dict[str, Any], Packs]:
    """Let the drawn sequences share rows, and count them."""
    asked = recipe.preparation
    sides_MS = np.concatenate([source.sides_NS for source in sources])
    longest = int(sides_MS.max())
    capacity = asked.pack_tokens or max(source.opened.manifest["capacity"] for source in sources)
    if capacity < longest:
        raise SettingError(
            f"The longest sequence has {longest} tokens, and a row would have {capacity}.",
            f"Give {longest} or more, or prepare the data with --max-length {capacity}.",
            at="--pack-tokens",
        )
    found = packed(sides_MS[mixture.numbers_D], asked.packing, capacity)
    packs = Packs(mixture.numbers_D[found.sequences_N], found.ends_P)
    told = list(_told(sources, mixture))
    counts = {name: sum(one[name] for one in told) for name in ("sequences", "records", "tokens", "learned_tokens")}
    facts = {
        **counts,
        **packing_facts(packs, asked.packing, capacity=capacity, n_tokens=counts["tokens"], n_sides=sides_MS.shape[1]),
        "sources": told,
        "left_out": _not_drawn(sources, mixture),
    }
    return facts, packs


def _told(sources: Sequence[Source], mixture: Mixture) -> Iterator[dict[str, Any]]:
    """Say of each source what was asked and what is met: of sequences, tokens and learned tokens every time that it is."""
    for number, (source, counts_N) in enumerate(_counts(sources, mixture)):
        n_drawn = int(counts_N.sum())
        yield {
            "folder": source.named,
            "digest": digest_of(source.opened.manifest["files"]),
            "weight": source.weight,
            "cap": source.cap,
            "share_asked": round(float(mixture.asked_S[number]), 6),
            "share": round(float(mixture.reached_S[number]), 6),
            "sequences": n_drawn,
            "records": int(np.count_nonzero(counts_N)),
            "tokens": int(counts_N @ source.sizes("tokens")),
            "learned_tokens": int(counts_N @ source.learned_N),
            "times_seen": round(n_drawn / len(counts_N), 4),
        }


def _counts(sources: Sequence[Source], mixture: Mixture) -> Iterator[tuple[Source, np.ndarray]]:
    """Give each source with how often each of its sequences is met."""
    ends = np.cumsum([len(source.learned_N) for source in sources])
    return zip(sources, np.split(mixture.counts_M, ends[:-1]), strict=True)


def _not_drawn(sources: Sequence[Source], mixture: Mixture) -> list[dict[str, Any]]:
    """Count the sequences of each source that are never met."""
    missing = {source.named: int(np.count_nonzero(counts_N == 0)) for source, counts_N in _counts(sources, mixture)}
    return [
        {"code": None, "reason": f"not drawn from {name}: less is asked for", "rows": n_sequences, "places": []}
        for name, n_sequences in missing.items()
        if n_sequences
    ]


def _libraries(sources: Sequence[Source]) -> dict[str, Any]:
    """Say which tokenizer libraries encoded, by source where these differ."""
    own = {source.named: source.opened.manifest["tokenizer"]["libraries"] for source in sources}
    first: dict[str, Any] = next(iter(own.values()))
    if all(libraries == first for libraries in own.values()):
        return first
    return {f"{name}, {follows}": choice for name, libraries in own.items() for follows, choice in libraries.items()}


def _files(sources: Sequence[Source]) -> Iterator[tuple[Source, dict[str, str]]]:
    """Give each source with the names of its shards: there, and in the mixture."""
    n_before = 0
    for source in sources:
        own = [shard["file"] for shard in source.opened.manifest["shards"]]
        yield source, {file: f"shard-{n_before + number:05}.arrow" for number, file in enumerate(own)}
        n_before += len(own)


def _manifest(recipe: Recipe, sources: Sequence[Source]) -> dict[str, Any]:
    """Say what the mixture was made of, in the places where a prepared folder says it."""
    manifests = [source.opened.manifest for source in sources]
    tasks = [manifest["task"] for manifest in manifests]
    shards: list[dict[str, Any]] = []
    files: list[str] = []
    for source, named in _files(sources):
        own = source.opened.manifest
        shards += [
            {**shard, "file": named[shard["file"]], "first_source": len(files) + shard.get("first_source", 0)}
            for shard in own["shards"]
        ]
        files += own["sources"]
    models, formats = ([*dict.fromkeys(n for m in manifests for n in m["recipe"][k])] for k in ("models", "formats"))
    return {
        "shards": shards,
        "sources": files,
        "inputs": {name: digest for manifest in manifests for name, digest in manifest["inputs"].items()},
        "dialect": ", ".join(dict.fromkeys(manifest["dialect"] for manifest in manifests)),
        "task": tasks[0] if all(task == tasks[0] for task in tasks) else None,
        "tasks": tasks,
        "output": "text" if any(manifest["output"] == "text" for manifest in manifests) else manifests[0]["output"],
        "tokenizer": {"digest": _ids(manifests[0]), "libraries": _libraries(sources)},
        "template": manifests[0]["template"],
        "template_options": asdict(_template_told(manifests[0])),
        # Models and formats are those of the sources, as whoever reads the folder looks for them here.
        "recipe": {**recipe.to_dict(), "models": models, "formats": formats},
    }
