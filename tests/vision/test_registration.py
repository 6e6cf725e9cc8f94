"""Masks that are off their images: by how much, and images moved to where they are."""

import numpy as np
import pytest

from vision import registration


def scenes(n=8, side=60, noise=0.1, seed=0):
    """Make blocks three times as fine as asked, whose edges are anywhere within three pixels."""
    rng = np.random.default_rng(seed)
    coarse = [rng.random((side // 5, side // 5)) < 0.5 for _ in range(n)]
    return [
        np.kron(each, np.ones((16, 16)))[: 3 * side, : 3 * side] + rng.normal(0, noise, (3 * side, 3 * side)) for each in coarse
    ]


def means(fine):
    return [255 * each.reshape(len(each) // 3, 3, -1, 3).mean(axis=(1, 3))[..., None].clip(0, 1) for each in fine]


def picked(fine, row, column):
    return [(each[row::3, column::3] > 0.5).astype(int) for each in fine]


@pytest.mark.parametrize(("row", "column"), [(0, 1), (1, 1), (2, 0), (1, 2)])
def test_what_picked_pixels_are_off_is_found(row, column):
    fine = scenes()
    found = registration.displacement(means(fine), picked(fine, row, column), 2)
    np.testing.assert_allclose(found, ((row - 1) / 3, (column - 1) / 3), atol=0.1)


def test_moved_images_lie_where_their_masks_do():
    fine = scenes()
    images, masks = means(fine), picked(fine, 2, 0)
    by = registration.displacement(images, masks, 2)
    assert np.hypot(*by) > 0.3
    there = [registration.moved(image, by) for image in images]
    assert np.hypot(*registration.displacement(there, masks, 2)) < 0.1


def test_what_cannot_be_told_from_chance_is_nothing():
    rng = np.random.default_rng(0)
    noise = [255 * rng.random((40, 40, 1)) for _ in range(30)]
    masks = [rng.integers(0, 2, (40, 40)) for _ in range(30)]
    assert registration.displacement(noise, masks, 2) == (0, 0)
    fine = scenes(4)  # too few to know how much chance there is
    assert registration.displacement(means(fine), picked(fine, 2, 2), 2) == (0, 0)


def test_small_and_empty_images_are_left_out():
    fine = scenes(8)
    images, masks = means(fine), picked(fine, 2, 1)
    images += [np.ones((5, 5, 1)), np.ones((40, 40, 1)), np.ones((40, 40, 1))]
    masks += [np.ones((5, 5), int), np.zeros((40, 40), int), np.full((40, 40), 2)]  # the last is ignored
    np.testing.assert_allclose(registration.displacement(images, masks, 2), (1 / 3, 0), atol=0.1)


def test_the_same_seed_looks_at_the_same_parts_of_large_images():
    fine = scenes(6, side=240)
    images, masks = means(fine), picked(fine, 2, 1)
    once, again = (registration.displacement(images, masks, 2, seed=3) for _ in range(2))
    assert once == again
    np.testing.assert_allclose(once, (1 / 3, 0), atol=0.1)


@pytest.mark.parametrize("by", [-1.0, -0.4, 0.0, 0.25, 1.0])
def test_moving_keeps_slopes_and_means(by):
    assert registration.taps(by).sum() == pytest.approx(1)
    slope = np.arange(20.0)[:, None, None] + np.zeros((20, 9, 2))
    moved = registration.moved(slope, (by, 0.0))
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved[3:-3], slope[3:-3] + by, atol=1e-5)


def test_moving_there_and_back_keeps_smooth_images():
    rows, columns = np.mgrid[:40, :50]
    image = (128 + 100 * np.sin(rows / 6) * np.cos(columns / 5))[..., None]
    back = registration.moved(registration.moved(image, (0.3, -0.6)), (-0.3, 0.6))
    np.testing.assert_allclose(back[4:-4, 4:-4], image[4:-4, 4:-4], atol=0.6)
    assert registration.moved(np.array([[[0.0], [255.0], [0.0], [255.0]]]), (0, 0.5)).max() <= 255


def test_a_large_image_is_moved_in_parts_as_it_would_be_whole():
    image = np.random.default_rng(0).integers(0, 256, (registration._TOGETHER + 40, 12, 1), np.uint8)
    upper, lower = image[: registration._TOGETHER], image[registration._TOGETHER - 20 :]
    whole = registration.moved(image, (0.3, -0.4))
    np.testing.assert_array_equal(whole[:200], registration.moved(upper, (0.3, -0.4))[:200])
    np.testing.assert_array_equal(whole[-40:], registration.moved(lower, (0.3, -0.4))[-40:])
