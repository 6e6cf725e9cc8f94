"""Muon beside PyTorch's own, in both engines, and what it does to matrices."""

import numpy as np
import pytest

from pipelines.engines import load_framework
from pipelines.engines.torch_muon import Muon

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


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("shape", [(6, 4), (3, 3, 2, 5)])
def test_keras_takes_the_steps_of_pytorch(fused, shape):
    from pipelines.engines import keras_optimizers

    keras = keras_optimizers.keras
    kind = keras_optimizers._FusedAdamWAndMuon if fused else keras_optimizers._AdamWAndMuon
    plain = keras_optimizers._FusedAdamW if fused else keras.optimizers.AdamW
    rng, options = np.random.default_rng(0), {"learning_rate": 0.02, "weight_decay": 0.1}
    start, gradients = rng.normal(size=shape).astype(np.float32), rng.normal(size=(4, *shape)).astype(np.float32)
    matrix, other, expected = (keras.Variable(start) for _ in range(3))
    weight = torch.nn.Parameter(torch.tensor(start).reshape(-1, shape[-1]))
    both, adamw, muon = kind([matrix], **options), plain(**options), Muon([weight], lr=0.02, weight_decay=0.1)
    for gradient in gradients:
        both.apply([gradient, gradient], [matrix, other])
        adamw.apply([gradient], [expected])
        weight.grad = torch.from_numpy(gradient).reshape(-1, shape[-1])
        muon.step()
    np.testing.assert_allclose(np.asarray(matrix).reshape(-1, shape[-1]), weight.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(np.asarray(other), np.asarray(expected), atol=1e-6)
