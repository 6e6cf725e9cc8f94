"""The networks that classify scans, the running average of their weights, and changed training scans."""

import pytest
import torch

from medical.classification import NETWORKS as NAMES
from medical.classifier_augmentation import Augmentation
from medical.classifier_networks import NETWORKS, SmallCNN, Trainee, build, bytes_needed, size_for
from pipelines.device import seeded


def test_the_class_knows_every_network_by_name():
    assert set(NAMES) == {"auto", *NETWORKS}


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_scores_and_gradients(name, axes, channels):
    size = size_for(name, axes, [20, 33, 27][:axes])
    with seeded(0, "torch"):
        network = build(name, axes, channels, 3, size)
    scores = network.eval()(torch.zeros(2, channels, *size))
    assert scores.shape == (2, 3)
    scores.sum().backward()
    assert any(parameter.grad is not None for parameter in network.parameters())
    fixed, each = bytes_needed(name, axes, channels, 3, size)
    assert fixed >= 4 * sum(parameter.numel() for parameter in network.parameters())
    assert each > 0


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (28, 28), (5, 200), (130, 128)])
def test_the_small_network_takes_any_size(size):
    assert SmallCNN(2, 1, 2, size)(torch.zeros(2, 1, *size)).shape == (2, 2)


def test_memory_is_estimated_by_what_layers_give():
    _, each = bytes_needed("small-cnn", 2, 1, 2, [28, 28])
    maps = 24 * 28 * 28 * 6 + 48 * 14 * 14 * 6 + 96 * 7 * 7 * 6  # convolution, normalisation and rectifier, twice a block
    assert each == pytest.approx(8 * maps, rel=0.01)


def test_the_average_follows_the_network():
    network = torch.nn.Linear(1, 1, bias=False)
    trained = Trainee(network, decay=0.5)
    torch.nn.init.constant_(network.weight, 1.0)
    torch.nn.init.constant_(trained.average.weight, 0.0)
    trained.train()
    weights = []
    for _ in range(20):
        trained(torch.zeros(2, 1))
        weights.append(float(trained.average.weight))
    assert weights == sorted(weights)
    assert weights[-1] == pytest.approx(1, abs=1e-3)
    trained.eval()
    assert float(trained(torch.ones(1, 1))) == pytest.approx(float(trained.average.weight))


def test_a_batch_of_one_can_be_trained_on():
    network = build("densenet121", 2, 1, 2, [32, 32])
    trained = Trainee(network).train()
    assert trained(torch.randn(1, 1, 32, 32)).shape == (1, 2)


# ---------------------------------------------------------------- changed training scans
def changed(scans, **options):
    with seeded(3, "torch"):
        return Augmentation(**options)(scans)


def test_changes_come_from_the_seed_and_differ_from_scan_to_scan():
    scans = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(2, 1, 1, 1)
    torch.testing.assert_close(changed(scans), changed(scans), rtol=0, atol=0)
    assert not torch.equal(*changed(scans))
    torch.testing.assert_close(changed(scans, strength=0.0), scans, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(8, 20), (6, 8, 20)])
def test_a_turn_keeps_lengths_whatever_the_sides(shape):
    augmentation = Augmentation()
    augmentation.shift = augmentation.zoom = augmentation.stretch = 0.0
    augmentation.turn = 90.0
    middle = [slice(side // 2 - 1, side // 2 + 1) for side in shape]
    scans = torch.zeros(16, 1, *shape)
    scans[(slice(None), slice(None), *middle)] = 1.0
    with seeded(0, "torch"):
        moved = augmentation._moved(scans)
    mass = moved.flatten(1).sum(1) / 2 ** len(shape)
    assert (mass - 1).abs().max() < 0.35  # a small cube in the middle stays a small cube


def test_mirroring_only_when_asked():
    half = torch.zeros(64, 1, 16, 16)
    half[:, :, :, :4] = 10.0
    left = changed(half)[:, 0, :, :8].mean((1, 2)) > changed(half)[:, 0, :, 8:].mean((1, 2))
    assert left.all()
    flipped = changed(half, flip=True)
    left = flipped[:, 0, :, :8].mean((1, 2)) > flipped[:, 0, :, 8:].mean((1, 2))
    assert 16 < int(left.sum()) < 48
