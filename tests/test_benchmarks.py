"""The benchmarks compare like with like, and fail where what they promise is missed."""

import importlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tiny_models import tiny_folder

from formtune.dialects import read
from formtune.label_words import plan_words
from formtune.loading import Options, load_model, tiny
from formtune.machine import raise_thresholds
from formtune.peer_rules import PEER_RULES
from formtune.scoring import score_words
from formtune.tokens import CONTENT, Tokens, byte_tokenizer
from formtune.training import train

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HELPERS = {"data_folder", "peer_environment", "real_rows"}
SCRIPTS = sorted({path.stem for path in BENCHMARKS.glob("*.py")} - HELPERS)
PROMPTS = [[40, 41, 42], [50], [60, 61]]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a benchmark, or what runs in a peer's process, by its name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(BENCHMARKS / "peers")
    return importlib.import_module


def test_a_missed_bound_is_told_and_fails(benchmark, capsys):
    peers = benchmark("peer_environment")
    met = peers.Bound("times sooner", 3.25, least=3.0)
    missed = peers.Bound("share of memory", 0.61, most=0.6)
    unknown = peers.Bound("difference", math.nan, most=1.0)

    assert peers.judged([met]) == 0
    assert peers.judged([met, missed, unknown]) == 1
    told = capsys.readouterr()
    assert told.out == "met     times sooner: 3.25, at least 3\n" * 2
    assert told.err == "missed  share of memory: 0.61, at most 0.6\nmissed  difference: nan, at most 1\n"


def test_a_peer_that_fails_ends_the_benchmark_with_its_words(benchmark):
    with pytest.raises(SystemExit, match="no such trainer"):
        benchmark("peer_environment").told_by(["sh", "-c", "echo no such trainer >&2; exit 3"])


def test_a_peer_may_get_our_allocator_settings(benchmark):
    """Those that the process sets for itself."""
    ask = ["sh", "-c", 'echo starting; echo "[\\"$MALLOC_MMAP_THRESHOLD_\\", \\"$MALLOC_TRIM_THRESHOLD_\\"]"']
    peers = benchmark("peer_environment")
    granted: list[int] = []
    raise_thresholds(lambda _parameter, size_bytes: not granted.append(size_bytes))

    assert peers.told_by(ask, allocator=True) == [str(size_bytes) for size_bytes in granted]
    assert peers.told_by(ask) == ["", ""]


def test_a_peer_gets_as_many_cores_as_it_may_use(benchmark):
    """And this process keeps its own."""
    peers, before = benchmark("peer_environment"), os.sched_getaffinity(0)

    assert peers.told_by(["nproc"], n_cores=1) == 1
    assert os.sched_getaffinity(0) == before


def test_training_is_judged_against_trl_in_the_same_order(benchmark):
    """Seconds, memory, losses and learned tokens, each in its precision."""
    speed = benchmark("training_speed")
    one = {"real_tokens": 90, "computed_tokens": 90, "updates": 2}
    mine = speed.Measured(seconds=10, peak_mb=600, learned_tokens=40, loss=2.0, **one)
    slower = speed.Measured(seconds=30, peak_mb=1000, learned_tokens=40, loss=2.01, **one)
    other = speed.Measured(seconds=41, peak_mb=900, learned_tokens=41, loss=2.5, **one)
    own = {"float32": mine, "bfloat16": mine}
    peers = {("padded", "float32"): slower, ("packed", "float32"): slower, ("padded", "bfloat16"): other}

    found = speed.bounds(own, peers)

    assert [(bound.what, bound.met) for bound in found] == [
        ("times sooner than TRL padded, float32", True),
        ("times sooner than TRL packed, float32", True),
        ("times sooner than TRL padded, bfloat16", True),
        ("share of TRL's memory, float32", True),
        ("difference of the loss, float32", True),
        ("difference in learned tokens, float32", True),
        ("share of TRL's memory, bfloat16", False),
        ("difference of the loss, bfloat16", False),
        ("difference in learned tokens, bfloat16", False),
    ]


@pytest.mark.parametrize(
    ("seconds", "losses", "met"),
    [(40, [2.0, 1.0], [True, True, True]), (39, [2.0, 1.01], [False, False, True]), (40, [1.5], [True, True, False])],
)
def test_a_frozen_bottom_is_judged_against_trainer(benchmark, seconds, losses, met):
    """Four times sooner, with the same loss after as many updates."""
    frozen = benchmark("frozen_trunk")
    mine = frozen.Measured(seconds=10, peak_mb=1, losses=[2.0, 1.0], disk_mb=1)
    peer = frozen.Measured(seconds=seconds, peak_mb=1, losses=losses, disk_mb=0)

    assert [bound.met for bound in frozen.bounds(frozen.CASES["blocks"], "float32", mine=mine, peer=peer)] == met
    assert [case.goal for case in frozen.CASES.values()] == [4, 15]


def test_what_trainers_learn_is_compared_token_by_token(benchmark):
    """The first difference is told: another token, another share in the loss, an end, a row left out."""
    rules, tokenizer = benchmark("peer_rules"), byte_tokenizer()
    hi, stop = tokenizer.full.encode("Hi").ids[0], tokenizer.eos_id
    row = [(hi, False), (stop, True)]

    assert rules.difference(row, list(row), tokenizer) is None
    assert rules.difference(None, None, tokenizer) is None
    assert rules.difference(row, [(hi, True), (stop, True)], tokenizer) == rules.Difference(
        0, "'H', not learned", "'H', learned"
    )
    assert rules.difference(row, row[:1], tokenizer) == rules.Difference(1, "'</s>', learned", "the end")
    assert rules.difference(None, row, tokenizer) == rules.Difference(0, "left out", "kept")


def test_rows_for_trainers_are_read_by_the_keys_that_they_hold(benchmark, tmp_path):
    """A trainer reads the loss weights of its own dialect; the other rows say nothing of a tool."""
    dialects = {"loss": "swift", "loss_scale": "swift", "train": "axolotl", "train_detail": "axolotl"}
    path = tmp_path / "row.jsonl"
    for row in benchmark("peer_rules").ROWS.values():
        path.write_text(json.dumps({"messages": row}), encoding="utf-8")
        keys = {key for message in row for key in message} & set(dialects)
        assert read([str(path)]).dialect == (dialects[keys.pop()] if keys else "messages")


def test_rows_of_other_layouts_are_read_as_such(benchmark, tmp_path):
    """So that the rule that is held for each is that of its layout."""
    path = tmp_path / "row.jsonl"
    for trainer, layouts in benchmark("peer_rules").LAYOUTS.items():
        assert set(layouts) == set(PEER_RULES[trainer].layouts)
        for dialect, rows in layouts.items():
            for row in rows.values():
                path.write_text(json.dumps(row), encoding="utf-8")
                assert read([str(path)]).dialect == dialect


def test_a_row_that_a_trainer_leaves_out_is_seen(benchmark, tmp_path, capsys):
    """Each stands in a file of its own."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('"ä"\n"b"\n', encoding="utf-8")
    benchmark("row_files").tell(
        str(rows), lambda file: None if json.loads(file.read_text(encoding="utf-8")) == "ä" else [[1], [-100]]
    )
    assert json.loads(capsys.readouterr().out) == {"rows": [None, [[1], [-100]]]}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_says_what_it_does_before_it_does_it(benchmark, name, capsys, monkeypatch):
    """Everything that it imports is there, and its first words name the command that runs it."""
    script = benchmark(name)
    monkeypatch.setattr("sys.argv", [name, "--help"])

    with pytest.raises(SystemExit, match="0"):
        script.main()
    assert f"python benchmarks/{name}.py" in capsys.readouterr().out


def test_templates_are_timed_at_the_same_work(benchmark, capsys, monkeypatch):
    """Both ways write the same text, of every template; a ratio beyond the bound fails."""
    limits = benchmark("template_limits")
    for most, code in (("1000", 0), ("0", 1)):
        few = ["--conversations", "2", "--turns", "4", "--rounds", "1", "--most", most]
        monkeypatch.setattr("sys.argv", ["template_limits", *few])
        assert limits.main() == code
    assert "llama3_2" in capsys.readouterr().out


def test_benchmarks_go_on_where_one_fails(tmp_path):
    """`make bench` runs every script but what they import, and fails at the end."""
    (tmp_path / "benchmarks").mkdir()
    for name, code in {"a": 1, "b": 0, **dict.fromkeys(HELPERS, 3)}.items():
        (tmp_path / "benchmarks" / f"{name}.py").write_text(f"print('ran {name}'); raise SystemExit({code})")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    make = ["make", "-f", str(BENCHMARKS.parent / "Makefile"), "bench", f"BIN={tmp_path / 'bin'}", "INSTALLED="]
    done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert [line for line in done.stdout.splitlines() if line.startswith("ran")] == ["ran a", "ran b"]
    assert "out of bounds: benchmarks/a.py\n" in done.stderr


def test_sharing_is_judged_against_apart_and_packed(benchmark):
    sharing = benchmark("sharing")
    shared = {"seconds": 10, "losses": [2.0, 1.0], "learned_tokens": 7}
    apart = {"seconds": 31, "losses": [2.0, 1.00001], "learned_tokens": 7}
    packed = {"seconds": 59, "learned_tokens": 7}

    assert [bound.met for bound in sharing.bounds(shared, apart, packed, exact=True)] == [True, False, True, True]
    assert len(sharing.bounds(shared, apart, packed, exact=False)) == 3


def test_naive_scores_and_answers_are_ours(benchmark):
    """What the peer's process computes for label words and answers is what ours does."""
    peer, model = benchmark("transformers_answers"), tiny("llama", output="words")
    words = [np.array(ids) for ids in ([5, 6, 7], [5, 8], [9])]
    plan = plan_words(words, ["a", "b", "c"], stop_id=None)
    asked = [{"prompt": prompt, "candidates": [ids.tolist() for ids in words]} for prompt in PROMPTS]
    with model.inference():
        scored = score_words(model, list(map(np.array, PROMPTS)), [plan] * 3, tokens_per_batch=100)
    answers = model.generate(PROMPTS, max_new_tokens=4, stop_ids=[2])

    with torch.inference_mode(), model.attending("sdpa"):
        np.testing.assert_allclose([s.scores_K for s in scored], peer.scored(model.module, asked), atol=1e-4)
        settings = {"prompts": PROMPTS, "stop_ids": [2], "max_new_tokens": 4}
        assert peer.written(model.module, settings) == answers


def test_prepared_rows_are_held_against_those_of_transformers(benchmark, tmp_path, monkeypatch):
    """In any order; a row is unlike where one id is, or what is learned of it."""
    speed = benchmark("preparation_speed")
    rows = {"ids": np.array([5, 6, 7, 5, 8], np.int32), "learned": np.array([0, 1, 1, 0, 1], bool), "ends": [2, 3, 5]}
    monkeypatch.setattr(speed, "told_by", lambda command: np.savez(command[-1], **rows))
    job = speed.Job(list, "chat", str(tiny_folder("llama")))

    def n_unlike(*prepared: tuple[list[int], list[float]]) -> int:
        arrays = [(np.array(ids, np.int32), np.array(weights, np.float32)) for ids, weights in prepared]
        monkeypatch.setattr(speed, "sequences", lambda _out: arrays)
        return speed.n_unlike(job, tmp_path / "rows.jsonl", tmp_path)

    assert n_unlike(([5, 8], [0, 1]), ([5, 6], [0, 1]), ([7], [1])) == 0
    assert n_unlike(([5, 8], [1, 1]), ([5, 6], [0, 1]), ([7], [1])) == 1
    assert n_unlike(([5, 8], [0, 1]), ([5, 6], [0, 1])) == 1


@pytest.mark.slow
def test_real_rows_stand_once_and_end_with_an_answer(benchmark, shared, monkeypatch):
    """The same rows every time, from many sets."""
    monkeypatch.setenv("FORMTUNE_DATA", str(shared))
    rows = benchmark("real_rows")
    talks, texts = rows.conversations(50_000), rows.labelled_texts(50_000)

    assert len({json.dumps(row) for row in talks}) == len({row["text"] for row in texts}) == 50_000
    assert {row["messages"][-1]["role"] for row in talks} == {"assistant"}
    assert rows.conversations(100) == talks[:100]


def test_answers_that_part_at_a_tie_are_alike(benchmark, monkeypatch):
    """Where two tokens are equally likely either may be written; where they are not, one is wrong."""
    evaluation, model = benchmark("evaluation_speed"), tiny("llama")
    with torch.no_grad():
        model.module.lm_head.weight[11] = model.module.lm_head.weight[12]
    monkeypatch.setattr(evaluation, "load_model", lambda *_args, **_options: model)

    assert evaluation.n_unlike([], [2]) == 0
    assert (
        evaluation.n_unlike([([40, 41], [5, 11], [5, 12]), ([40, 41], [5, 13], [5, 12]), ([40], [5], [5, 9])], [2]) == 2
    )


def test_the_trainer_learns_what_we_learn(benchmark, tmp_path, capsys, monkeypatch):
    """Same rows, same head, no dropout: the mean loss of the epoch is ours."""
    speed, peer = benchmark("classification_speed"), benchmark("trainer_classify")
    model = load_model(tiny_folder("bert"), output="head", n_classes=2, options=Options(pooling="mean"))
    for part in model.module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    model.class_head.dropout.p = 0.0
    tokens = [row(n) for n in range(20)]
    monkeypatch.setattr(speed, "prepared", lambda *_asked: (model, tokens))
    speed.written("any", 20, tmp_path / "rows.json")
    peer.main(tiny_folder("bert"), str(tmp_path / "rows.json"), order="sequential", dropout=0.0)
    theirs = json.loads(capsys.readouterr().out.splitlines()[-1])
    trained = train(model, tokens, settings=speed.settings(20))

    assert theirs["loss"] == pytest.approx(np.mean([point.loss for point in trained.trace]), rel=1e-4)
    assert theirs["computed_tokens"] >= trained.n_tokens == sum(len(t.ids_T) for t in tokens)


def row(n: int) -> Tokens:
    """Make an example of a length and a class of its own."""
    ids_T = np.arange(30, 33 + n % 5, dtype=np.int32)
    return Tokens(
        id=str(n),
        ids_T=ids_T,
        labels_T=ids_T,
        weights_T=np.zeros(len(ids_T), dtype=np.float32),
        parts_T=np.full(len(ids_T), CONTENT, dtype=np.uint8),
        types_T=np.zeros(len(ids_T), dtype=np.uint8),
        cuts_T=np.ones(len(ids_T), dtype=np.uint8),
        gold=n % 2,
    )
