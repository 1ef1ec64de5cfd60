"""Preparing: the same shards whoever makes them, resumed, reused, and counted to the last row."""

import errno
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_folder

from formtune import pipeline, preparation, preparing
from formtune.dialects import read
from formtune.errors import DataError, FormtuneError, SettingError
from formtune.prepared import open_prepared
from formtune.progress import Event, silent
from formtune.recipe import Recipe, make_recipe
from formtune.tallies import merged_tallies


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files into slices of a few rows."""
    monkeypatch.setattr(preparation, "SLICE_BYTES", 3000)
    monkeypatch.setattr(preparing, "LOT_RECORDS", 16)


def talks(path: Path, n_rows: int = 100, *, first: int = 0) -> Path:
    """Write conversations, of which one in ten has no answer and one no JSON."""
    rows = []
    for n in range(first, first + n_rows):
        turns = [
            {"role": "user", "content": f"What is {n} and {n}?"},
            {"role": "assistant", "content": f"It is {2 * n}."},
        ]
        row = json.dumps({"messages": turns[:1] if n % 10 == 3 else turns})
        rows.append(row[:-3] if n % 10 == 7 else row)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def recipe_for(out: Path, *paths: Path, **changed: Any) -> Recipe:
    """Ask for the chat format of a tiny Llama."""
    data = changed.pop("data", {"paths": [str(path) for path in paths]})
    settings = {"data": data, "formats": "chat", "models": tiny_folder("llama"), "out": str(out)}
    return make_recipe({**settings, **changed})


def told(out: Path) -> dict[str, str]:
    """Give the digests of all that a prepared folder holds."""
    files: dict[str, str] = json.loads((out / "manifest.json").read_text())["files"]
    return files


def made_from_now_on(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """List the shards that are made, and not found, as they come."""
    made: list[Path] = []
    written = preparing._written

    def seen(order: preparing.Order, rows: Any, path: Path, **more: Any) -> preparing.Made:
        made.append(path)
        return written(order, rows, path, **more)

    monkeypatch.setattr(preparing, "_written", seen)
    return made


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    """Rows in are sequences and what is left out, with reasons and first places."""
    found = pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl")))

    assert found["rows"] == 100
    assert found["records"] + sum(one["rows"] for one in found["left_out"]) == 100
    assert {one["reason"]: one["rows"] for one in found["left_out"]} == {"not valid JSON": 10, "no answer": 10}
    assert found["left_out"][0]["places"][0].startswith(f"{tmp_path}/a.jsonl:")
    prepared = open_prepared(tmp_path / "out")
    tokens = [prepared.tokens(n) for n in range(len(prepared))]
    assert len(tokens) == found["records"]
    assert sum(len(one.ids_T) for one in tokens) == found["tokens"]
    assert sum(int((one.weights_T > 0).sum()) for one in tokens) == found["learned_tokens"]
    assert [one.id.rpartition(":")[2] for one in tokens[:4]] == ["1", "2", "3", "5"]


@pytest.mark.parametrize("packing", ["best-fit", "in-order", "none"])
def test_packs_hold_every_sequence_once(packing: str, tmp_path: Path) -> None:
    """And never more tokens than fit."""
    asked = {"packing": packing, "pack_tokens": 200}
    found = pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl"), preparation=asked))
    prepared = open_prepared(tmp_path / "out")
    packs = [prepared.packs[n] for n in range(len(prepared.packs))]

    assert sorted(np.concatenate(packs).tolist()) == list(range(found["records"]))
    assert all(sum(len(prepared.tokens(int(n)).ids_T) for n in pack) <= 200 for pack in packs)
    assert len(packs) == found["packs"]


@pytest.mark.parametrize("n_workers", [2, 3])
def test_any_number_of_workers_makes_the_same_bytes(n_workers: int, tmp_path: Path) -> None:
    """Processes of this machine, however the slices fall to them."""
    data = talks(tmp_path / "a.jsonl", 300)
    alone = pipeline.prepare(recipe_for(tmp_path / "one", data))
    several = pipeline.prepare(recipe_for(tmp_path / "several", data, preparation={"workers": n_workers}))

    assert several["digest"] == alone["digest"]
    assert told(tmp_path / "several") == told(tmp_path / "one")


def test_records_that_are_held_in_memory_make_the_same_sequences(tmp_path: Path) -> None:
    """Standard input, say, is read as a whole."""
    data = talks(tmp_path / "a.jsonl")
    sliced = pipeline.prepare(recipe_for(tmp_path / "sliced", data))
    command = [sys.executable, "-m", "formtune", "prepare", "-", "--format", "chat", "--model", tiny_folder("llama")]
    with data.open("rb") as file:
        done = subprocess.run(
            [*command, "-o", str(tmp_path / "held"), "--json"], stdin=file, capture_output=True, check=True
        )
    held = json.loads(done.stdout)
    first, second = open_prepared(tmp_path / "sliced"), open_prepared(tmp_path / "held")

    keys = ("rows", "records", "tokens", "learned_tokens", "packs")
    assert {key: held[key] for key in keys} == {key: sliced[key] for key in keys}
    assert all(np.array_equal(first.tokens(n).ids_T, second.tokens(n).ids_T) for n in range(len(first)))


def test_only_the_shards_of_what_changed_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two files one is edited; the other's shards are the very files that were there."""
    files = [talks(tmp_path / "a.jsonl"), talks(tmp_path / "b.jsonl", first=500)]
    pipeline.prepare(recipe_for(tmp_path / "out", *files))
    before = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("shard-*")}
    text = files[1].read_text().replace("What is 500", "Who is 500")
    files[1].write_text(text)
    made = made_from_now_on(monkeypatch)
    pipeline.prepare(recipe_for(tmp_path / "out", *files))
    after = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("shard-*")}

    assert len(made) == 1
    assert len(set(before.items()) & set(after.items())) == len(before) - 1


@pytest.mark.parametrize(
    "changed", [{"model": {"max_length": 40}}, {"formats": "completion"}, {"preparation": {"pack_tokens": 64}}]
)
def test_nothing_of_another_recipe_is_used(
    changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Length and format decide what a shard holds; so every shard is made again."""
    data = talks(tmp_path / "a.jsonl")
    first = pipeline.prepare(recipe_for(tmp_path / "out", data))
    made = made_from_now_on(monkeypatch)
    second = pipeline.prepare(recipe_for(tmp_path / "out", data, **changed))

    assert second["digest"] != first["digest"]
    assert len(made) == len(list((tmp_path / "out").glob("shard-*")))


def test_other_packing_makes_no_shard_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which sequences share a row is decided when all are there."""
    data = talks(tmp_path / "a.jsonl")
    pipeline.prepare(recipe_for(tmp_path / "out", data))
    monkeypatch.setattr(preparing, "_written", None)
    found = pipeline.prepare(recipe_for(tmp_path / "out", data, preparation={"packing": "none"}))

    assert found["packs"] == found["records"]


def test_fresh_uses_nothing_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every shard is made anew, and comes out the same."""
    data = talks(tmp_path / "a.jsonl")
    first = pipeline.prepare(recipe_for(tmp_path / "out", data))
    made = made_from_now_on(monkeypatch)
    again = pipeline.prepare(recipe_for(tmp_path / "out", data), fresh=True)

    assert again["digest"] == first["digest"]
    assert len(made) == len(list((tmp_path / "out").glob("shard-*")))


@pytest.mark.parametrize("wait_s", [0.6, 1.2, 2.0])
def test_what_was_killed_goes_on_to_the_same_end(wait_s: float, tmp_path: Path) -> None:
    """Nothing half is left where the result stands, and shards that were done are kept."""
    data = talks(tmp_path / "a.jsonl", 4000)
    whole = pipeline.prepare(recipe_for(tmp_path / "whole", data))
    program = (
        "import sys\nfrom formtune import pipeline, preparation\nfrom formtune.recipe import make_recipe\nimport json\n"
        "preparation.SLICE_BYTES = 3000\npipeline.prepare(make_recipe(json.loads(sys.argv[1])))\n"
    )
    settings = recipe_for(tmp_path / "out", data, preparation={"workers": 2}).to_dict()
    process = subprocess.Popen([sys.executable, "-c", program, json.dumps(settings)], process_group=0)
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists() or told(tmp_path / "out") == told(tmp_path / "whole")
    found = pipeline.prepare(recipe_for(tmp_path / "out", data))

    assert found["digest"] == whole["digest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "out", "whole"]


def test_what_a_killed_process_left_of_its_last_step_is_removed(tmp_path: Path) -> None:
    """A folder that was being put in its place; that of another preparation stays."""
    for name in (".out.71.part", ".other.71.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shard-00000.arrow").write_bytes(b"half")
    pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl", 20)))

    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.71.part", "a.jsonl", "out"]


def test_who_stops_it_is_told_that_it_can_go_on(tmp_path: Path) -> None:
    """With the shards that are done, which stay."""
    told: list[str] = []

    def stop(event: Event) -> None:
        told.append(event.stage)
        if event.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl")), progress=stop)
    assert told[-1] == "stopped; the same command goes on with the shards that are done"
    assert list((tmp_path / "out.shards").glob("*.arrow"))


def test_what_is_damaged_of_an_older_preparation_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One flipped byte costs one shard, and nobody has to know of it."""
    first = pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl")))
    shards = sorted((tmp_path / "out").glob("shard-*"))
    content = bytearray(shards[1].read_bytes())
    content[len(content) // 2] ^= 1
    shards[1].write_bytes(content)
    shards[2].unlink()
    made = made_from_now_on(monkeypatch)

    assert pipeline.prepare(recipe_for(tmp_path / "out", tmp_path / "a.jsonl"))["digest"] == first["digest"]
    assert len(made) == 2 < len(shards)


def test_a_file_more_leaves_the_shards_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stands among them; and each sequence knows its file."""
    b = talks(tmp_path / "b.jsonl")
    pipeline.prepare(recipe_for(tmp_path / "out", b))
    n_before = len(list((tmp_path / "out").glob("shard-*")))
    a = talks(tmp_path / "a.jsonl", 20, first=500)
    made = made_from_now_on(monkeypatch)
    pipeline.prepare(recipe_for(tmp_path / "out", a, b))

    assert len(list((tmp_path / "out").glob("shard-*"))) == n_before + len(made)
    prepared = open_prepared(tmp_path / "out")
    files = [prepared.place(n).rpartition(":")[0] for n in range(len(prepared))]
    assert files == sorted(files)
    assert set(files) == {str(a), str(b)}


def test_a_file_twice_under_two_names_is_told_by_both(tmp_path: Path) -> None:
    """Where its rows were left out as well."""
    a, b = (talks(tmp_path / name, 20) for name in ("a.jsonl", "b.jsonl"))
    found = pipeline.prepare(recipe_for(tmp_path / "out", a, b))
    places = [place for one in found["left_out"] for place in one["places"]]
    assert {place.partition(".jsonl:")[0] for place in places} == {str(tmp_path / "a"), str(tmp_path / "b")}


def test_tokens_are_no_rows(tmp_path: Path) -> None:
    """What was prepared is not prepared again."""
    pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl")))
    with pytest.raises(DataError, match="This is a prepared folder"):
        pipeline.prepare(recipe_for(tmp_path / "again", tmp_path / "out"))


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves no half of a file."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingError, match="No space left"):
        pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl")))
    assert not list(tmp_path.rglob("*.arrow"))
    assert not list(tmp_path.rglob("*.part"))


def test_a_row_may_be_longer_than_the_model_reads(tmp_path: Path) -> None:
    """Since sequences that share it do not see one another."""
    data = talks(tmp_path / "a.jsonl")
    own = pipeline.prepare(recipe_for(tmp_path / "own", data))
    longer = pipeline.prepare(recipe_for(tmp_path / "longer", data, preparation={"pack_tokens": 4 * own["capacity"]}))
    assert (longer["tokens"], longer["truncated"]) == (own["tokens"], own["truncated"])
    assert longer["packs"] < own["packs"]


def test_a_preparation_that_was_refused_leaves_nothing(tmp_path: Path) -> None:
    """Where no shard was made there is nothing to go on with."""
    with pytest.raises(FormtuneError):
        pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl"), formats="classification"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_file_that_cannot_be_cut_becomes_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed file is one slice, of any size; its lots are as small as others, and the sequences the same."""
    data = talks(tmp_path / "a.jsonl", 3000)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(data.read_bytes()))
    monkeypatch.setattr(preparing, "SLICE_BYTES", 200)
    first = pipeline.prepare(recipe_for(tmp_path / "one", data))
    second = pipeline.prepare(recipe_for(tmp_path / "two", tmp_path / "b.jsonl.gz"))
    one, two = open_prepared(tmp_path / "one"), open_prepared(tmp_path / "two")

    assert len(list((tmp_path / "two").glob("shard-*"))) > 1
    assert first["tokens"] == second["tokens"]
    assert all(np.array_equal(one.tokens(n).ids_T, two.tokens(n).ids_T) for n in range(len(one)))
    monkeypatch.setattr(preparing, "_written", None)  # nothing is made again
    assert pipeline.prepare(recipe_for(tmp_path / "two", tmp_path / "b.jsonl.gz"))["digest"] == second["digest"]


def test_two_processes_do_not_prepare_to_one_place(tmp_path: Path) -> None:
    """The second is told so, and the first goes on."""
    from formtune.prepared import being_made

    with being_made(tmp_path / "out"), pytest.raises(SettingError, match="Another process writes here"):
        pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl")))


def test_a_task_is_known_from_all_slices(tmp_path: Path) -> None:
    """A label that stands in the last row only is a class all the same, and classes are numbered as in a training."""
    path = tmp_path / "a.jsonl"
    rows = [{"text": f"a film, number {n}", "label": "bad" if n % 2 else "good"} for n in range(200)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "so", "label": "awful"}]))
    pipeline.prepare(recipe_for(tmp_path / "out", path, formats="classification", models=tiny_folder("bert")))
    prepared = open_prepared(tmp_path / "out")

    assert [prepared.tokens(n).gold for n in (0, 1, 200)] == [2, 1, 0]


def test_parts_that_are_drawn_are_kept_apart(tmp_path: Path) -> None:
    """Records held back for choosing and testing are not among those that are prepared."""
    data = {"paths": [str(talks(tmp_path / "a.jsonl"))], "n_dev": 10, "n_test": 20}
    found = pipeline.prepare(recipe_for(tmp_path / "out", data=data))

    assert found["records"] == 80 - 30


def test_progress_tells_of_each_slice(tmp_path: Path) -> None:
    """With rows and bytes, and how many slices there are."""
    events: list[Event] = []
    pipeline.prepare(recipe_for(tmp_path / "out", data := talks(tmp_path / "a.jsonl")), progress=events.append)
    told = [event for event in events if event.steps]
    slices = [event for event in told if event.n_bytes]

    assert [event.step for event in slices] == list(range(1, len(slices) + 1))
    assert {event.steps for event in told} == {len(slices)}
    assert sum(event.n_rows for event in told) == 100
    assert sum(event.n_bytes for event in told) == data.stat().st_size


def test_progress_goes_on_where_records_are_held_in_memory(tmp_path: Path) -> None:
    """There are no bytes of a file to tell of, but lots that are done."""
    events: list[Event] = []
    data = {"paths": [str(talks(tmp_path / "a.jsonl"))], "n_dev": 10}
    pipeline.prepare(recipe_for(tmp_path / "out", data=data), progress=events.append)

    assert [event.step for event in events] == [1, 2, 3, 4, 5]
    assert {event.steps for event in events} == {5}


def test_a_model_that_changed_makes_other_shards_in_the_same_process(tmp_path: Path) -> None:
    """What was loaded for the folder as it was is not used for the folder as it is."""
    model = tmp_path / "model"
    shutil.copytree(tiny_folder("llama"), model)
    data = talks(tmp_path / "a.jsonl")
    before = pipeline.prepare(recipe_for(tmp_path / "out", data, models=str(model)))
    config = json.loads((model / "tokenizer_config.json").read_text())
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}{% endfor %}"
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    after = pipeline.prepare(recipe_for(tmp_path / "out", data, models=str(model)))

    assert after["tokens"] != before["tokens"]


def test_records_of_other_files_are_another_lot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard names files by their numbers, so one more before them makes them others."""
    orders: list[preparing.Order] = []
    digest = preparing.order_digest
    monkeypatch.setattr(preparing, "order_digest", lambda order: orders.append(order) or digest(order))
    data = talks(tmp_path / "b.jsonl", 20)
    pipeline.prepare(recipe_for(tmp_path / "out", data={"paths": [str(data)], "n_dev": 2}))
    records = read([str(data)]).records[:3]
    names = {
        preparing.make_records(replace(orders[0], files=files, folder=tmp_path), records, progress=silent)[0].name
        for files in ((str(data),), ("a.jsonl", str(data)))
    }

    assert len(names) == 2


def test_where_nothing_is_left_the_commonest_reason_is_told(tmp_path: Path) -> None:
    """An empty folder would tell nobody anything."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "why"}, {"role": "assistant", "content": ""}]}\n' * 3)

    with pytest.raises(
        DataError, match="No record can be used in the format chat; 3 of them: nothing in it is learned"
    ):
        pipeline.prepare(recipe_for(tmp_path / "out", path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"preparation": {"address": "auto"}}, "preparation.address"),
        ({"formats": "chat,completion"}, "--format"),
        ({"models": "nowhere/at-all"}, "--model"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changed: dict[str, Any], place: str, tmp_path: Path) -> None:
    """With their place."""
    with pytest.raises(FormtuneError) as caught:
        pipeline.prepare(recipe_for(tmp_path / "out", talks(tmp_path / "a.jsonl"), **changed))

    assert str(caught.value).startswith(place)


def test_tallies_add_up() -> None:
    """Rows are added, first places kept, the most frequent reason stands first."""
    first = [{"code": None, "reason": "a", "rows": 2, "places": ["x:1", "x:2"]}]
    second = [
        {"code": None, "reason": "b", "rows": 9, "places": ["y:1"]},
        {"code": None, "reason": "a", "rows": 1, "places": ["z:1"]},
    ]

    assert merged_tallies([first, second]) == [
        {"code": None, "reason": "b", "rows": 9, "places": ["y:1"]},
        {"code": None, "reason": "a", "rows": 3, "places": ["x:1", "x:2", "z:1"]},
    ]


def test_a_training_takes_what_was_prepared(tmp_path: Path) -> None:
    """The same weights come out as from the records themselves, and the run says what it was of."""
    data = talks(tmp_path / "a.jsonl", 40)
    test = talks(tmp_path / "test.jsonl", 10, first=900)
    asked = {"training": {"steps": 3, "batch_size": 4}, "model": {"precision": "float32", "cache_trunk": False}}
    own = {"train": [str(data)], "test": [str(test)], "n_dev": 0}
    from_records = pipeline.train(recipe_for(tmp_path / "records", data=own, **asked))
    pipeline.prepare(recipe_for(tmp_path / "prepared", data))
    given = {
        "data": {"prepared": str(tmp_path / "prepared"), "test": [str(test)]},
        "out": str(tmp_path / "run"),
        **asked,
    }
    from_tokens = pipeline.train(make_recipe(given))

    assert from_tokens["metrics"] == pytest.approx(from_records["metrics"], rel=0.2)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["recipe"]["formats"] == ["chat"]
    assert manifest["recipe"]["models"] == [tiny_folder("llama")]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"formats": "completion"}, "--format: The data were prepared for chat"),
        ({"data": {"n_dev": 3}}, "--prepared: Nothing is drawn from prepared data"),
        ({"data": {"train": ["x.jsonl"]}}, "There are both prepared and other training records"),
        ({"data": {"prepared": "nowhere"}}, "nowhere: There is no such folder"),
    ],
)
def test_what_does_not_go_with_prepared_data_is_refused(changed: dict[str, Any], problem: str, tmp_path: Path) -> None:
    """Another format, sizes, other records; a folder that is none."""
    pipeline.prepare(recipe_for(tmp_path / "prepared", talks(tmp_path / "a.jsonl", 20)))
    data = {"prepared": str(tmp_path / "prepared"), **changed.pop("data", {})}

    with pytest.raises(FormtuneError) as caught:
        pipeline.train(make_recipe({"data": data, "out": str(tmp_path / "run"), **changed}))
    assert problem in str(caught.value)


def test_prepared_data_are_not_compared(tmp_path: Path) -> None:
    """They are of one format; a comparison is of several."""
    pipeline.prepare(recipe_for(tmp_path / "prepared", talks(tmp_path / "a.jsonl", 20)))
    data = {"prepared": str(tmp_path / "prepared")}

    with pytest.raises(SettingError, match="which train and tune take"):
        pipeline.compare(make_recipe({"data": data, "formats": "chat", "models": tiny_folder("llama")}))


def test_rows_that_lost_a_part_are_told_apart_from_those_left_out(tmp_path: Path) -> None:
    """So that rows are sequences and what is left out, and nothing twice."""
    twice = '{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"id":1,"id":2}'
    path = talks(tmp_path / "a.jsonl", 20)
    path.write_text(path.read_text() + f"{twice}\n")
    found = pipeline.prepare(recipe_for(tmp_path / "out", path))

    assert [(one["code"], one["rows"]) for one in found["parts_lost"]] == [("FT116", 1)]
    assert found["records"] + sum(one["rows"] for one in found["left_out"]) == found["rows"] == 21
