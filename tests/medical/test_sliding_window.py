"""Overlapping windows: MONAI's results, in slabs, whatever the size of the scan."""

import itertools

import numpy as np
import pytest

from medical.sliding_window import starts, windowed_scores
from pipelines.engines import load_framework

monai = load_framework("monai")
torch = load_framework("torch")


def joined(*args, **options):
    parts = list(windowed_scores(*args, **options))
    assert [start for start, _ in parts] == np.cumsum([0, *(part.shape[1] for _, part in parts)])[:-1].tolist()
    return torch.cat([part for _, part in parts], dim=1)


def network(axes):
    torch.manual_seed(0)
    kind = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[axes]
    return kind(1, 3, 3, padding=1).eval()


def both(shape, window, batch_size, overlap):
    """Return our scores of a random scan, and MONAI's."""
    image, net = torch.randn(1, *shape), network(len(shape))
    options = {"overlap": overlap, "mode": "gaussian", "padding_mode": "replicate"}
    with torch.no_grad():
        theirs = monai.inferers.sliding_window_inference(image[None], window, batch_size, net, **options)[0]
        return joined(net, image, window, batch_size=batch_size, overlap=overlap), theirs


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((40, 24, 32), (16, 16, 16)),
        ((41, 30, 37), (16, 12, 16)),
        ((10, 20, 40), (16, 16, 16)),
        ((48, 40), (16, 8)),
        ((50, 9), (15, 11)),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_equals_monai(shape, window, batch_size):
    torch.testing.assert_close(*both(shape, window, batch_size, 0.5), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6, 0.9])  # slabs move on by all their rows, by most, by few
def test_equals_monai_however_much_windows_overlap(overlap):
    torch.testing.assert_close(*both((37, 22), (12, 10), 4, overlap), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5, 30), (30, 5), (3, 4), (16, 16), (17, 33)])
def test_what_a_network_says_of_each_voxel_alone_comes_out_unchanged(shape):
    image = torch.randn(1, *shape)
    torch.testing.assert_close(joined(lambda x: x * 2 + 1, image, (16, 16)), image * 2 + 1, atol=1e-5, rtol=1e-5)


def test_flips_are_means_over_all_ways():
    image, net = torch.randn(1, 8, 8), network(2)
    with torch.no_grad():
        ways = [axes for n in range(3) for axes in itertools.combinations((1, 2), n)]
        expected = sum(net(image.flip(axes)[None])[0].flip(axes) for axes in ways) / 4
        torch.testing.assert_close(joined(net, image, (8, 8), flips=(0, 1)), expected, atol=1e-5, rtol=1e-5)


def test_windows_cover_all_and_overlap_enough():
    for extent, window, overlap in itertools.product((1, 7, 40, 41, 100), (4, 40), (0.0, 0.25, 0.5)):
        found = starts(extent, window, overlap)
        assert found[0] == 0
        assert found[-1] == max(0, extent - window)
        assert all(b - a <= max(1, np.ceil(window * (1 - overlap))) for a, b in itertools.pairwise(found))


def test_memory_is_a_slabs_not_the_scans():
    largest = max(part.shape[1] for _, part in windowed_scores(lambda x: x, torch.zeros(1, 400, 8), (8, 8)))
    assert largest <= 8
