"""Mixing of prepared folders: shards are shared, packs are the mixture's own, and what does not go together is refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from prepared_folders import conversations, model_folder, prepared, three

from formtune import pipeline
from formtune.errors import FormtuneError
from formtune.prepared import PreparedTokens, held_place, open_prepared
from formtune.prepared_training import with_prepared
from formtune.recipe import make_recipe
from formtune.results import Result


def mixed(
    folders: Sequence[Path], out: Path, *, seed: int = 0, pack_tokens: int | None = None, **mixing: object
) -> Result:
    """Mix folders."""
    settings = {"data": {"paths": list(map(str, folders))}, "mixing": mixing, "seed": seed, "out": str(out)}
    return pipeline.mix(make_recipe({**settings, "preparation": {"pack_tokens": pack_tokens}}))


def refused(folders: Sequence[Path], out: Path, **mixing: object) -> str:
    """Give what is told where folders cannot be mixed; nothing is written."""
    with pytest.raises(FormtuneError) as error:
        mixed(folders, out, **mixing)
    assert not out.exists()
    return str(error.value)


def test_shards_are_those_of_the_sources(tmp_path: Path) -> None:
    """One file under two names, and every sequence with the place of its record."""
    sources = three(tmp_path)
    found = mixed(sources, tmp_path / "m")
    opened = open_prepared(tmp_path / "m")

    own = [source / "shard-00000.arrow" for source in sources]
    there = [tmp_path / "m" / shard["file"] for shard in opened.manifest["shards"]]
    assert [path.stat().st_ino for path in there] == [path.stat().st_ino for path in own]
    places = sorted(opened.place(number) for number in range(len(opened)))
    assert places == sorted(
        f"{tmp_path / name}.jsonl:{n + 1}" for name, k in (("a", 40), ("b", 10), ("c", 4)) for n in range(k)
    )
    assert (found["sequences"], found["records"], found["left_out"]) == (54, 54, [])


def test_files_are_copied_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network disks."""

    def none(*_paths: object) -> None:
        raise OSError("no links here")

    sources = three(tmp_path)
    monkeypatch.setattr("os.link", none)
    mixed(sources, tmp_path / "m")
    assert (tmp_path / "m" / "shard-00001.arrow").read_bytes() == (sources[1] / "shard-00000.arrow").read_bytes()


@pytest.mark.parametrize("by", ["tokens", "learned", "rows"])
def test_shares_are_reached_up_to_a_sequence(by: str, tmp_path: Path) -> None:
    """Whatever is counted; what is told is what stands in the folder."""
    found = mixed(
        three(tmp_path), tmp_path / "m", by=by, weights="1,2,4", temperature=3, total=3000 if by != "rows" else 60
    )
    opened = open_prepared(tmp_path / "m")
    drawn = [opened.tokens(number) for number in opened.drawn_D.tolist()]
    tokens = [len(one.ids_T) for one in drawn]
    learned = [int((one.weights_T > 0).sum()) for one in drawn]
    sizes = {"tokens": tokens, "learned": learned, "rows": [1] * len(drawn)}[by]

    assert (found["tokens"], found["learned_tokens"]) == (sum(tokens), sum(learned))
    for name, source in zip("abc", found["sources"], strict=True):
        own = [size for size, one in zip(sizes, drawn, strict=True) if f"{name}.jsonl" in one.id]
        assert source["sequences"] == len(own)
        assert source["share"] == pytest.approx(sum(own) / sum(sizes), abs=1e-6)
        assert abs(sum(own) - source["share_asked"] * found["total"]) <= max(sizes)
    assert found["sources"][2]["times_seen"] > 1


def test_packs_hold_what_is_drawn_as_often_as_it_is(tmp_path: Path) -> None:
    """And no more tokens than fit."""
    mixed(three(tmp_path), tmp_path / "m", temperature=1e6, pack_tokens=128)
    opened = open_prepared(tmp_path / "m")
    lengths = [len(opened.tokens(number).ids_T) for number in range(len(opened))]

    assert sorted(opened.packs.sequences_N.tolist()) == sorted(opened.drawn_D.tolist())
    assert np.bincount(opened.drawn_D).max() > 1
    assert max(sum(lengths[n] for n in opened.packs[pack]) for pack in range(len(opened.packs))) <= 128


def test_the_same_mixture_has_the_same_digest(tmp_path: Path) -> None:
    """Another seed or another order of the folders has another."""
    sources = three(tmp_path)
    asked = [(sources, 0), (sources, 0), (sources, 1), (sources[::-1], 0)]
    digests = [mixed(folders, tmp_path / "m", seed=seed, total=500)["digest"] for folders, seed in asked]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_what_killed_processes_left_of_a_mixture_is_removed(tmp_path: Path) -> None:
    """The folder that was being put in its place, and the lock; that of another mixture stays."""
    sources = three(tmp_path)
    for name in (".m.71.part", ".m.72.gone", ".other.71.part", "m.shards"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    (tmp_path / "m.shards" / ".0-0.arrow.ab.part").touch()  # of a preparation that was to stand there
    mixed(sources, tmp_path / "m")
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert left == {"a", "b", "c", "m", "model", ".other.71.part"}


def test_two_processes_do_not_mix_to_one_place(tmp_path: Path) -> None:
    """Neither removes what the other is writing."""
    sources = three(tmp_path)
    with held_place(tmp_path / "m"):
        assert "Another process writes here." in refused(sources, tmp_path / "m")


def test_a_cap_holds_a_large_source_down(tmp_path: Path) -> None:
    """One number for all, and the total follows from it; what is not met is told, and is no fault."""
    found = mixed(three(tmp_path), tmp_path / "m", by="rows", cap=10)
    assert [source["sequences"] for source in found["sources"]] == [10, 10, 4]
    assert found["left_out"] == [
        {"code": None, "reason": f"not drawn from {tmp_path / 'a'}: less is asked for", "rows": 30, "places": []}
    ]


def test_the_manifest_says_what_was_mixed(tmp_path: Path) -> None:
    """Sources, settings, and the model that the tokens are for."""
    sources = three(tmp_path)
    found = mixed(sources, tmp_path / "m", weights=[2, 1, 1])
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())

    assert manifest["mixed"] == found["sources"]
    assert [source["folder"] for source in manifest["mixed"]] == list(map(str, sources))
    assert manifest["recipe"]["mixing"]["weights"] == [2.0, 1.0, 1.0]
    assert manifest["recipe"]["models"] == [str(tmp_path / "model")]
    assert manifest["recipe"]["formats"] == ["chat"]
    assert set(manifest["inputs"]) == {str(tmp_path / f"{name}.jsonl") for name in "abc"}


def test_what_is_no_prepared_folder_is_refused(tmp_path: Path) -> None:
    """With what to do."""
    a, *_ = three(tmp_path)
    out = tmp_path / "m"
    data = tmp_path / "a.jsonl"
    assert refused([data, a], out) == (
        f"{data}: Prepared folders are mixed, and this is a file of data. "
        f"Prepare it first: formtune prepare {data} --format FORMAT --model MODEL -o FOLDER."
    )
    assert refused([a, tmp_path / "gone"], out).startswith(f"{tmp_path / 'gone'}: There is no such folder.")
    assert "There is no preparation here" in refused([a, tmp_path / "model"], out)
    assert refused([], out) == "DATA: There is nothing to mix. Give folders that formtune prepare wrote."


def test_a_source_is_named_once(tmp_path: Path) -> None:
    """By whatever path, and what it holds stands in no other."""
    a, b, _ = three(tmp_path)
    out = tmp_path / "m"
    assert "Name it once, with a larger weight." in refused([a, b, tmp_path / "b" / ".." / "a"], out)
    again = prepared(tmp_path / "again", tmp_path / "a.jsonl", model=tmp_path / "model", packing="none")
    assert f"It holds sequences that {str(a)!r} holds too (shard-00000.arrow)." in refused([a, again], out)
    with pytest.raises(FormtuneError, match="holds a preparation, which would be lost"):
        mixed([a, b], a)
    assert open_prepared(a).manifest["recipe"]["mixing"]["weights"] == []


def test_a_mixture_is_not_mixed(tmp_path: Path) -> None:
    """Its shares would be lost."""
    a, b, c = three(tmp_path)
    mixed([a, b], tmp_path / "ab")
    assert f"Mix what it is made of: {a}, {b}." in refused([tmp_path / "ab", c], tmp_path / "m")


def _other_tokenizer(folder: Path) -> tuple[Path, str]:
    model = model_folder(folder)
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": "<sep>"}))
    return model, "chat"


def _other_template(folder: Path) -> tuple[Path, str]:
    spoken = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}"
    return model_folder(folder, template=spoken), "seq2seq"


def _other_shape(folder: Path) -> tuple[Path, str]:
    return model_folder(folder, kind="t5"), "seq2seq"


OTHERS: dict[str, Callable[[Path], tuple[Path, str]]] = {
    "It was prepared with another tokenizer than": _other_tokenizer,
    "It was prepared with another chat template than": _other_template,
    "holds sequences of an encoder-decoder, and the other does not": _other_shape,
}


@pytest.mark.parametrize("problem", OTHERS)
def test_what_no_model_could_learn_together_is_refused(problem: str, tmp_path: Path) -> None:
    """Other ids, another side."""
    a, *_ = three(tmp_path)
    model, format_ = OTHERS[problem](tmp_path / "other-model")
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps({"source": f"text {n}", "target": "yes"}) + "\n" for n in range(4)))
    told = refused([a, prepared(tmp_path / "other", data, model=model, format_=format_)], tmp_path / "m")
    assert problem in told
    assert "Prepare both for the same model" in told


def test_numbers_of_other_classes_are_not_mixed(tmp_path: Path) -> None:
    """The same number would be another class."""
    data, model = tmp_path / "labels.csv", model_folder(tmp_path / "model", kind="bert")
    data.write_text("text,label\nlovely,good\ndull,bad\n")
    classes = prepared(tmp_path / "classes", data, model=model, format_="classification")
    data.write_text("text,label\nlovely,warm\ndull,cold\n")
    others = prepared(tmp_path / "others", data, model=model, format_="classification")
    assert "Its answers are read off otherwise" in refused([classes, others], tmp_path / "m")
    data.write_text("text,label\nfine,good\nlong,bad\n")
    same = prepared(tmp_path / "same", data, model=model, format_="classification")
    assert mixed([classes, same], tmp_path / "m", by="rows")["sequences"] == 4
    assert open_prepared(tmp_path / "m").manifest["task"]["labels"] == ["bad", "good"]


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Each by its flag."""
    a, b, _ = three(tmp_path)
    out = tmp_path / "m"
    assert refused([a, b], out, weights="1,2,3").startswith("--weights: There are 3 numbers for 2 folders.")
    assert refused([a, b], out, cap="1,2,3").startswith("--cap: There are 3 numbers for 2 folders.")
    assert refused([a, b], out, weights="1,0").startswith("mixing.weights: '0' cannot be used here.")
    assert refused([a, b], out, total=10**15).startswith("--total: ")
    assert refused([a, b], out, total=1) == "--total: Not half a sequence would be drawn of any folder. Raise it."
    longest = max(len(open_prepared(a).tokens(n).ids_T) for n in range(40))
    told = refused([a, b], out, pack_tokens=20)
    assert told == (
        f"--pack-tokens: The longest sequence has {longest} tokens, and a row would have 20. "
        f"Give {longest} or more, or prepare the data with --max-length 20."
    )


def test_label_words_and_free_texts_are_learned_together(tmp_path: Path) -> None:
    """Both are tokens; the mixture is of several tasks, and read off as text."""
    data, model = tmp_path / "labels.csv", model_folder(tmp_path / "model")
    data.write_text("text,label\nlovely,good\ndull,bad\n")
    words = prepared(tmp_path / "words", data, model=model, format_="seq2seq")
    talks = prepared(tmp_path / "talks", conversations(tmp_path / "a.jsonl", ["why?"]), model=model)
    mixed([words, talks], tmp_path / "m")
    manifest = open_prepared(tmp_path / "m").manifest

    assert (manifest["output"], manifest["task"]) == ("text", None)
    assert [task["kind"] for task in manifest["tasks"]] == ["labelled", "conversation"]
    assert manifest["recipe"]["formats"] == ["seq2seq", "chat"]


def test_a_training_takes_what_was_drawn(tmp_path: Path) -> None:
    """As often as it was, in that order; of several formats one must be named for other records."""
    folders = three(tmp_path)
    mixed(folders, tmp_path / "m", temperature=1e6)
    opened = open_prepared(tmp_path / "m")
    given = PreparedTokens(opened)

    assert len(given) == len(opened.drawn_D) == len(list(given))
    for place, number in zip(given, opened.drawn_D.tolist(), strict=True):
        assert given[place].id == place
        assert given[place].ids_T.tolist() == opened.tokens(number).ids_T.tolist()
    assert "-1" not in given
    assert str(len(given)) not in given

    other = conversations(tmp_path / "other.jsonl", ["what?"])
    lines = prepared(tmp_path / "lines", other, model=tmp_path / "model", format_="instruction")
    mixed([*folders, lines], tmp_path / "both")
    asked = make_recipe({"data": {"prepared": str(tmp_path / "both")}})
    with pytest.raises(FormtuneError, match="--format: The data are a mixture that was prepared for chat, instruction"):
        with_prepared(asked)
    assert with_prepared(asked.model_copy(update={"formats": ("chat",)})).formats == ("chat",)
