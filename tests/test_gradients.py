"""Loss and every parameter's gradient are those of the textbook's padded batch, for every family.

The reference is the model's own forward pass over rows padded to one length, with attention as transformers writes it
out, and cross-entropy at the places that are asked: nothing of ours but the examples.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from token_examples import answering, tokens
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from formtune.freezing import trained
from formtune.loading import Options, load_model, tiny
from formtune.models import Model
from formtune.objective import Objective
from formtune.tokens import Tokens
from formtune.updates import TrainSettings, factors_of

FAMILIES = ("bert", "gpt2", "llama", "qwen3", "t5", "xlnet")
WITHIN = 1e-5
FLOOR = 1e-3  # of the longest gradient: a key's bias has none, and what is computed of it is rounding


def paragraphs(model: Model, *, length: int = 24) -> list[Tokens]:
    """Seven examples of several lengths: two paragraphs with three questions each, and one that stands alone."""
    chance = np.random.default_rng(1)
    top = min(250, model.tokenizer.n_vocabulary)

    def drawn(n: int) -> list[int]:
        return [int(i) for i in chance.integers(8, top, n)]

    make = answering if model.shape == "encoder-decoder" and not model.class_head else tokens
    texts = [drawn(length), drawn(length // 2 + 8)]
    prompts = [text + drawn(2 + k) for text in texts for k in range(3)] + [drawn(5)]
    return [make(prompt, drawn(1 + k % 3), id=str(k)) for k, prompt in enumerate(prompts)]


def rows_of(pieces: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pad on the right: ids and a mask of what counts."""
    ids = pad_sequence([torch.from_numpy(piece).long() for piece in pieces], batch_first=True)
    mask = pad_sequence([torch.ones(len(piece), dtype=torch.long) for piece in pieces], batch_first=True)
    return ids, mask


def reference_scores(model: Model, update: Sequence[Tokens]) -> Tensor:
    """Score the vocabulary at every place of every padded row, as the family's own forward pass does."""
    ids, mask = rows_of([one.ids_T for one in update])
    if model.shape == "encoder-decoder":
        targets, target_mask = rows_of([one.decoder.ids_T for one in update if one.decoder])
        scores: Tensor = model.module(
            input_ids=ids, attention_mask=mask, decoder_input_ids=targets, decoder_attention_mask=target_mask
        ).logits
        return scores
    if model.family == "xlnet":
        return left_to_right(model, ids)
    return model.module(input_ids=ids, attention_mask=mask).logits


def left_to_right(model: Model, ids: Tensor) -> Tensor:
    """Ask XLNet for each place from those before it (Yang et al. 2019, section 2.3, in the order of the text)."""
    length = ids.shape[1]
    hidden = torch.ones(length, length).triu().expand(len(ids), -1, -1)  # 1: row i does not see column j
    wanted = torch.eye(length).expand(len(ids), -1, -1)
    scores: Tensor = model.module(
        input_ids=ids, perm_mask=hidden.contiguous(), target_mapping=wanted.contiguous()
    ).logits
    return torch.cat([scores[:, 1:], scores[:, :1]], 1)  # place t asks for what stands at t + 1


def reference(model: Model, update: Sequence[Tokens]) -> tuple[float, Mapping[str, Tensor]]:
    """Compute the mean over examples of their mean over learned tokens, and its gradients."""
    model.module.set_attn_implementation("eager")
    losses = []
    for one, scores_TV in zip(update, reference_scores(model, update), strict=True):
        side = one.decoder or one
        places = np.flatnonzero(side.weights_T > 0)
        asked = torch.from_numpy(side.labels_T[places]).long()
        losses.append(F.cross_entropy(scores_TV[places - int(model.causal)], asked))
    loss = torch.stack(losses).mean()
    loss.backward()
    return float(loss.detach()), taken(model)


def ours(model: Model, update: list[Tokens], **asked: bool) -> tuple[float, Mapping[str, Tensor]]:
    """Compute the same as it is trained."""
    objective = Objective(model, label_smoothing=0.0, **asked)
    loss = objective(update, factors_of(update, TrainSettings(steps=1)))[0]
    loss.backward()
    return float(loss.detach()), taken(model)


def taken(model: Model) -> dict[str, Tensor]:
    """Take the gradients away."""
    found = {name: p.grad.clone() for name, p in trained(model).items() if p.grad is not None}
    model.module.zero_grad()
    return found


def apart(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """Give the largest relative difference of a parameter's gradient, by its length."""
    least = FLOOR * max(float(grad.norm()) for grad in wanted.values())
    return max(float((found[name] - grad).norm()) / max(float(grad.norm()), least) for name, grad in wanted.items())


@pytest.mark.parametrize("recomputes", [False, True], ids=["", "recomputed"])
@pytest.mark.parametrize("shares", [False, True], ids=["apart", "shared"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_is_that_of_the_padded_batch(family: str, shares: bool, recomputes: bool) -> None:
    """Beginnings shared or not, blocks computed twice or not."""
    model = tiny(family, output="mask" if family == "bert" else "text")
    update = paragraphs(model)
    loss, found = ours(model, update, shares=shares, recomputes=recomputes)
    wanted_loss, wanted = reference(model, update)

    assert loss == pytest.approx(wanted_loss, rel=WITHIN)
    assert found.keys() == wanted.keys()
    assert apart(found, wanted) <= WITHIN


def test_smollm2_gets_the_gradient_of_the_padded_batch() -> None:
    """A real model, with what its examples share computed once."""
    model = load_model("smollm2-135m", output="text")
    text = "The river Tay rises on Ben Lui and runs through Perth to the sea; salmon come up it in spring.\n"
    asked = {"Where does it rise?": " On Ben Lui.", "Which town is on it?": " Perth.", "And fish?": " Salmon."}
    encode = model.tokenizer.full.encode
    update = [
        tokens(encode(text + question).ids, encode(answer).ids, id=question) for question, answer in asked.items()
    ]
    loss, found = ours(model, update)
    wanted_loss, wanted = reference(model, update)

    assert loss == pytest.approx(wanted_loss, rel=WITHIN)
    assert (
        apart(found, wanted) <= 2 * WITHIN
    )  # through thirty blocks; 0.6 to 1.2 of WITHIN, by the kernels of a processor


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_the_gradient_points_the_same_way(family: str) -> None:
    """Eight bits of mantissa: the loss within 2 %, the whole gradient within 5 % of its length."""
    output = "mask" if family == "bert" else "text"
    exact, rounded = (tiny(family, output=output, options=Options(precision=p)) for p in ("float32", "bfloat16"))
    wanted_loss, wanted = ours(exact, paragraphs(exact))
    loss, found = ours(rounded, paragraphs(rounded))

    assert loss == pytest.approx(wanted_loss, rel=0.02)
    whole, other = (torch.cat([grads[name].flatten() for name in wanted]) for grads in (wanted, found))
    assert float((other - whole).norm() / whole.norm()) < 0.05
