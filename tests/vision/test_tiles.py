"""Tiles against whole images, and crops of images and masks that stay together."""

import tracemalloc

import numpy as np
import pytest

from vision import tiles
from vision.crops import AUGMENT, Crops, Places, reflected


def blurred(pixels):
    """Look 16 pixels far in each direction, zeros beyond the ends, as a convolution does."""
    from scipy import ndimage

    return ndimage.uniform_filter(pixels.astype(np.float64), (1, 33, 33, 1), mode="constant")


def drawn(shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


# --- tiles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 64), (65, 200), (300, 31), (257, 129), (1, 1), (96, 97)])
def test_what_is_kept_covers_an_image_once(shape):
    count = np.zeros(shape, int)
    for tile in tiles.tiles(shape, 16, tile=96, margin=16):
        (top, bottom), (left, right) = tile.kept
        count[top:bottom, left:right] += 1
        for (seen, kept), extent in zip(zip(tile.seen, tile.kept, strict=True), shape, strict=True):
            assert seen[0] % 16 == seen[1] % 16 == 0
            assert seen[1] - seen[0] <= 96
            assert seen[0] == 0 or kept[0] - seen[0] >= 16
            assert seen[1] >= extent or seen[1] - kept[1] >= 16
    assert (count == 1).all()


@pytest.mark.parametrize("shape", [(200, 150), (96, 300), (97, 33)])
def test_tiles_equal_the_whole_where_the_margin_is_as_wide_as_the_view(shape):
    images = drawn((2, *shape, 3))
    found = np.full((2, *shape, 3), np.nan)
    for (rows, columns), scores in tiles.scores(blurred, images, 16, tile=96, margin=16):
        found[:, rows, columns] = scores
    whole = np.full(found.shape, np.nan)
    for (rows, columns), scores in tiles.scores(blurred, images, 16, tile=4096, margin=16):
        whole[:, rows, columns] = scores
    np.testing.assert_allclose(found, whole, atol=1e-9)


def test_a_small_image_is_seen_as_a_whole_with_its_mirror_image_beyond():
    seen = []
    parts = list(tiles.scores(lambda pixels: seen.append(pixels) or pixels, drawn((1, 3, 20, 1)), 16))
    assert [pixels.shape for pixels in seen] == [(1, 16, 32, 1)]
    assert seen[0].dtype == np.float32
    np.testing.assert_array_equal(seen[0][0, 3:6], seen[0][0, 2::-1])
    assert parts[0][1].shape == (1, 3, 20, 1)


def test_memory_does_not_grow_with_the_image():
    def most(side):
        images = np.zeros((1, side, side, 1), np.uint8)
        tracemalloc.start()
        for _ in tiles.scores(lambda pixels: pixels, images, 16, tile=128, margin=16):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert most(1200) < 1.5 * most(300)


# --- crops ------------------------------------------------------------------------------------------------------------


def marked(shape=(70, 90)):
    """Return an image that shows its mask: bright where the mask is 1."""
    places = np.indices(shape)
    mask = ((places[0] - 30) ** 2 + (places[1] - 40) ** 2 < 400).astype(np.uint8)
    return (200 * mask[:, :, None]).repeat(3, axis=2), mask


@pytest.mark.parametrize("augment", AUGMENT)
def test_image_and_mask_are_changed_together(augment):
    image, mask = marked()
    crops = Crops([image], [mask], (64, 64), augment=augment, seed=0)
    numbers = np.arange(40)
    pixels, masks = crops(numbers)[..., 0], crops[numbers]
    assert pixels.dtype == np.float32
    assert set(np.unique(masks)) == {0, 1}  # no label in between
    middle = (pixels.max(axis=(1, 2)) + pixels.min(axis=(1, 2)))[:, None, None] / 2
    agree = (pixels > middle) == masks
    assert agree.mean() > 0.985  # all but the border, where bilinear and nearest differ


@pytest.mark.parametrize("augment", AUGMENT)
def test_the_number_decides_the_crop(augment):
    image, mask = marked()
    made = [Crops([image], [mask], (32, 48), augment=augment, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (crops(np.array([3, 5])) for crops in made)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(made[0](np.array([5]))[0], first[1])
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_without_augmentation_crops_are_parts_of_the_image():
    image, mask = drawn((50, 60, 1)), drawn((50, 60))
    crops = Crops([image], [mask], (16, 32), augment="none", seed=0)
    windows = np.lib.stride_tricks.sliding_window_view(mask, (16, 32))
    for pixels, part in zip(crops(np.arange(8)), crops[np.arange(8)], strict=True):
        assert (windows == part).all(axis=(2, 3)).any()
        top, left = np.argwhere((windows == part).all(axis=(2, 3)))[0]
        np.testing.assert_array_equal(pixels, image[top : top + 16, left : left + 32])


@pytest.mark.parametrize(
    ("augment", "expected"), [("shift", (False, False)), ("photo", (True, False)), ("micrograph", (True, True))]
)
def test_only_micrographs_are_turned_far_and_shifts_are_not_mirrored(augment, expected):
    mask = np.zeros((64, 64), np.uint8)
    mask[30:34, 26:30], mask[30:34, 34:38] = 1, 2  # from 1 to 2 it goes to the right
    crops = Crops([mask[:, :, None]], [mask], (64, 64), augment=augment, seed=0)[np.arange(40)]
    down, right = np.array([np.argwhere(crop == 2).mean(axis=0) - np.argwhere(crop == 1).mean(axis=0) for crop in crops]).T
    assert ((right < 0).any(), (abs(down) > abs(right)).any()) == expected


@pytest.mark.parametrize(("augment", "expected"), [("shift", False), ("photo", False), ("micrograph", True)])
def test_only_micrographs_get_noise_and_another_gamma(augment, expected):
    """On a ramp from left to right: noise breaks its rise, and gamma its straightness."""
    ramp = np.tile(np.linspace(60, 180, 64, dtype=np.float32), (64, 1))[:, :, None]
    crops = Crops([ramp], [np.zeros((64, 64), np.uint8)], (64, 64), augment=augment, seed=0)(np.arange(40))[..., 0]
    assert 0 <= crops.min() < crops.max() <= 255
    inner = crops[:, 16:48, 16:48]
    rough = np.abs(np.diff(inner, 2, axis=1)).max(axis=(1, 2)) > 1
    assert rough.any() == expected
    along = inner - inner.mean(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[-15.5:16, -15.5:16]
    slopes = [(along * axis).sum(axis=(1, 2)) / (axis**2).sum() for axis in (y, x)]
    bent = np.abs(along - slopes[0][:, None, None] * y - slopes[1][:, None, None] * x).max(axis=(1, 2))[~rough] > 2
    assert bent.any() == expected


def test_every_image_is_cropped_and_large_numbers_of_classes_stay_whole():
    images, masks = [drawn((20, 20, 1)) for _ in range(3)], [np.full((20, 20), 300 * i, np.int32) for i in range(3)]
    crops = Crops(images, masks, (16, 16), augment="micrograph", seed=0)
    assert set(np.unique(crops[np.arange(9)])) == {0, 300, 600}


def test_floats_keep_their_precision():
    image = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20, 1)
    crop = Crops([image], [np.zeros((20, 20), np.uint8)], (16, 16), augment="none", seed=0)(np.array([0]))
    assert len(np.unique(crop)) == 256


def test_places_cover_images_of_any_size_and_ignore_what_is_beyond():
    images, masks = [drawn((20, 33, 1)), drawn((16, 16, 1))], [drawn((20, 33)) % 3, drawn((16, 16)) % 3]
    places = Places(images, masks, (16, 16), ignored=9)
    assert len(places) == 2 * 3 + 1
    found = places[np.arange(len(places))]
    assert (found != 9).sum() == 20 * 33 + 16 * 16
    np.testing.assert_array_equal(places(np.array([6]))[0], images[1])
    np.testing.assert_array_equal(places(np.array([5]))[0, :4, 0], images[0][16:, 32])


@pytest.mark.parametrize(("start", "stop", "extent"), [(0, 5, 5), (-7, 12, 3), (-1, 3, 1)])
def test_reflection_is_numpys_symmetric_padding(start, stop, extent):
    padded = np.pad(np.arange(extent), (max(0, -start), max(0, stop - extent)), mode="symmetric")
    np.testing.assert_array_equal(reflected(start, stop, extent), padded)
