"""What examples share at the beginning is computed once, and the gradient is that of examples apart."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from token_examples import tokens

from formtune import objective
from formtune.batches import Batch, collate
from formtune.freezing import trained
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.objective import Objective
from formtune.tokens import Tokens
from formtune.weaving import Asked, asked_of, woven


def paths(batch: Batch) -> list[tuple[int, ...]]:
    """The ids along the path of each segment that ends one."""
    found = []
    for segment in range(batch.n_segments):
        ids = [batch.ids_T[batch.starts_S[s] : batch.ends_S[s]] for s in batch.path(segment)]
        found.append(tuple(np.concatenate(ids).tolist()))
    return found


def questions(n_paragraphs: int = 2, n_questions: int = 3, *, length: int = 20) -> list[Tokens]:
    """Examples of which several begin with one paragraph."""
    return [
        tokens([10 + p] * length + [30 + q, 40 + p], [50 + q, 60 + p], id=f"{p}{q}")
        for p in range(n_paragraphs)
        for q in range(n_questions)
    ]


def test_a_shared_beginning_stands_once() -> None:
    """Each paragraph is a segment, its questions are its children, and positions go on."""
    batch, asked = woven(questions(), np.ones(6, dtype=np.float32))

    assert batch.n_tokens == 2 * 20 + 6 * 4
    assert batch.parents_S.tolist() == [-1, 0, 0, 0, -1, 4, 4, 4]
    assert batch.positions_T[20:24].tolist() == [20, 21, 22, 23]
    assert asked.weights_N.tolist() == [1.0] * 12


def test_short_beginnings_are_not_worth_a_segment() -> None:
    """A beginning-of-text token alone would cost more than it saves."""
    batch, _ = woven(questions(length=5), np.ones(6, dtype=np.float32))

    assert batch.parents_S.tolist() == [-1] * 6


def test_nested_beginnings_are_nested_segments() -> None:
    """A system prompt, then a paragraph, then a question; and an example that ends where another goes on."""
    system, paragraph = [1] * 20, [2] * 20
    examples = [
        tokens([*system, *paragraph, 3], [4], id="a"),
        tokens([*system, *paragraph, 5], [6], id="b"),
        tokens([*system, 7], [8], id="c"),
        tokens(system[:-1], [1], id="d"),
    ]
    batch, asked = woven(examples, np.ones(4, dtype=np.float32))

    assert batch.parents_S.tolist() == [-1, 0, 1, 1, 0]
    assert batch.n_tokens == 20 + 20 + 2 + 2 + 2
    assert sorted(zip(asked.places_N.tolist(), asked.labels_N.tolist(), strict=True)) == [
        (18, 1),
        (40, 4),
        (42, 6),
        (44, 8),
    ]


def test_equal_questions_of_one_place_are_asked_once_with_their_weights_added() -> None:
    """The same example twice is one example that counts twice."""
    one = tokens([1] * 20, [2, 3], id="a")
    batch, asked = woven([one, one], np.array([0.25, 0.5], dtype=np.float32))

    assert batch.n_tokens == 22
    assert asked.weights_N.tolist() == [0.75, 0.75]


def gradients(model: Model, batch: Batch, asked: Asked) -> torch.Tensor:
    """The gradient of every parameter for what is asked of a batch."""
    model.module.zero_grad()
    Objective(model, label_smoothing=0.1)._of_tokens(model.hidden(batch), asked).backward()
    return torch.cat([p.grad.flatten() for p in trained(model).values() if p.grad is not None])


@pytest.mark.parametrize("freeze", ["none", "all-but-top-1"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_sharing_changes_no_gradient(family: str, freeze: str) -> None:
    """Relative to the largest entry within 1e-5, with the trunk kept or not."""
    model = tiny(family, options=Options(freeze=freeze))
    examples, factors = questions(), np.linspace(0.1, 0.6, 6, dtype=np.float32)
    apart = collate(examples, causal=True)

    wanted = gradients(model, apart, asked_of(apart, factors))
    found = gradients(model, *woven(examples, factors))

    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_scores_in_chunks_give_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a few rows of the vocabulary are whole at a time."""
    model = tiny("llama")
    batch, asked = woven(questions(), np.ones(6, dtype=np.float32))
    whole = gradients(model, batch, asked)
    monkeypatch.setitem(objective.N_ROWS, "cpu", 5)
    chunked = gradients(model, batch, asked)

    assert (chunked - whole).abs().max() <= 1e-5 * whole.abs().max()


TOKENS = st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=9), min_size=1, max_size=8)


@settings(deadline=None, max_examples=150)
@given(TOKENS, st.integers(1, 3))
def test_every_example_is_a_path_and_asks_what_it_asked(rows: list[list[int]], shortest: int) -> None:
    """Whatever is shared: the same paths, and the same sum of weights for each path and token."""
    examples = [tokens(row[:-1], row[-1:], id=str(i)) for i, row in enumerate(rows)]
    factors = np.arange(1, len(rows) + 1, dtype=np.float32)
    batch, asked = woven(examples, factors, shortest=shortest)
    ends = {}
    for segment, path in enumerate(paths(batch)):
        first = len(path) - int(batch.ends_S[segment] - batch.starts_S[segment])
        ends |= {int(batch.starts_S[segment]) + i - first: path[: i + 1] for i in range(first, len(path))}

    assert {tuple(row) for row in rows} <= set(ends.values())
    wanted: dict[tuple[tuple[int, ...], int], float] = {}
    for row, factor in zip(rows, factors, strict=True):
        key = (tuple(row[:-1]), row[-1])
        wanted[key] = wanted.get(key, 0.0) + float(factor)
    found: dict[tuple[tuple[int, ...], int], float] = {}
    for place, label, weight in zip(asked.places_N, asked.labels_N, asked.weights_N, strict=True):
        key = (ends[int(place)], int(label))
        found[key] = found.get(key, 0.0) + float(weight)
    assert found == pytest.approx(wanted)
