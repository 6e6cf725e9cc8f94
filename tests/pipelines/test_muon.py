"""Muon beside PyTorch's own, and what it does to matrices."""

import numpy as np
import pytest

from pipelines.engines import load_framework
from pipelines.engines.muon import Muon

torch = load_framework("torch")

SHAPES = [(6, 6), (6, 6), (4, 16), (16, 4)]


def matrices(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def test_steps_are_those_of_pytorchs_own():
    ours, theirs = matrices(), matrices()
    options = {"lr": 0.02, "weight_decay": 0.1}
    mine = Muon(ours, **options)
    other = torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **options)
    for step in range(4):
        for one, two, gradient in zip(ours, theirs, matrices(seed=step + 1), strict=True):
            one.grad, two.grad = gradient.detach().clone(), gradient.detach().clone()
        mine.step()
        other.step()
    for one, two, before in zip(ours, theirs, matrices(), strict=True):
        moved = (two - before).norm()
        assert (one - two).norm() < 0.02 * moved  # theirs is in bfloat16


@pytest.mark.parametrize("shape", [(12, 12), (8, 24), (24, 8)])
def test_updates_have_singular_values_near_one(shape):
    weight = torch.nn.Parameter(torch.zeros(shape))
    rng = np.random.default_rng(0)
    weight.grad = torch.from_numpy((rng.normal(size=shape) * np.geomspace(0.1, 1, shape[1])).astype(np.float32))
    Muon([weight], lr=1.0).step()
    values = torch.linalg.svdvals(weight.detach()) / (0.2 * max(shape) ** 0.5)
    assert values.min() > 0.5
    assert values.max() < 1.3
    assert torch.linalg.svdvals(weight.grad).max() > 5 * torch.linalg.svdvals(weight.grad).min()


def test_weights_without_a_gradient_stay():
    first, second = matrices()[:2]
    first.grad = torch.ones_like(first)
    before = second.detach().clone()
    Muon([first, second], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(second, before)
