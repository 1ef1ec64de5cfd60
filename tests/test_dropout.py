"""Dropout that is drawn sixteen bits at a time."""

import pytest
import torch
from torch import nn

from formtune.dropout import QuickDropout, dropped, quicken


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_asked_share_is_dropped_and_the_mean_stays(rate: float) -> None:
    """Over a million entries, within five standard deviations."""
    torch.manual_seed(0)
    found = dropped(torch.ones(1001, 999), rate)

    spread = 5 * (rate * (1 - rate) / found.numel()) ** 0.5
    assert float((found == 0).float().mean()) == pytest.approx(rate, abs=spread)
    assert float(found.mean()) == pytest.approx(1.0, abs=spread / (1 - rate))


def test_neighbors_are_dropped_independently() -> None:
    """Each place's chance is its own: four of them come from one drawn word."""
    torch.manual_seed(0)
    gone = (dropped(torch.ones(400_000), 0.25) == 0).float().view(-1, 4)

    both = float((gone[:, 0] * gone[:, 1]).mean())
    assert both == pytest.approx(0.25**2, abs=0.004)


def test_a_gradient_goes_where_the_value_stayed() -> None:
    """And is scaled alike."""
    torch.manual_seed(0)
    values = torch.ones(1000, requires_grad=True)
    found = dropped(values, 0.3)
    found.sum().backward()

    assert values.grad is not None
    assert torch.equal(values.grad, found.detach())


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_none_or_all(rate: float) -> None:
    """The ends of the range are exact."""
    assert torch.equal(dropped(torch.ones(10), rate), torch.full((10,), 1.0 - rate))


def test_plain_dropout_is_replaced_everywhere_inside() -> None:
    """Nested too; what is no plain dropout stays, and evaluation drops nothing."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.5), nn.Dropout1d(0.5)))
    quicken(module)

    inner = module[1]
    assert isinstance(inner, nn.Sequential)
    assert [type(one) for one in inner] == [QuickDropout, nn.Dropout1d]
    module.eval()
    assert torch.equal(inner(torch.ones(1, 3)), torch.ones(1, 3))
