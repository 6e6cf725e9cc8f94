"""Patches: decided by their number alone, image and mask moved together, half of them around structures."""

import numpy as np
import pytest

from medical.patches import Cutter, training_batches


def cutter(augment="auto", seed=0, shape=(30, 24, 20), patch=(12, 12, 12)):
    mask = np.zeros(shape, np.uint8)
    mask[4:9, 4:9, 4:9] = 1
    scan = mask[None].astype(np.float32)
    return Cutter([scan], [mask], patch, [1.0, 1.0, 2.0], augment=augment, seed=seed)


def test_a_number_decides_what_its_patch_is():
    one, other = cutter()(np.array([3, 4])), cutter()(np.array([4, 3]))
    for name in ("image", "mask"):
        assert np.array_equal(one[name], other[name][::-1])
    assert not np.array_equal(one["image"][0], one["image"][1])
    assert not np.array_equal(cutter(seed=1)(np.array([3]))["image"][0], one["image"][0])


@pytest.mark.parametrize("augment", ["none", "auto", "flip"])
def test_image_and_mask_stay_together(augment):
    found = cutter(augment)(np.arange(40))
    inside, outside = found["mask"] == 1, found["mask"] == 0
    with_structure = inside.any(axis=(1, 2, 3))
    assert with_structure.mean() > 0.5  # half of them lie around it, others meet it by chance
    for image, mask in zip(found["image"][with_structure, 0], found["mask"][with_structure], strict=True):
        assert image[mask == 1].mean() > image[mask == 0].mean() + 0.4
    assert outside.any()


def test_without_augmentation_values_are_the_scans():
    found = cutter("none")(np.arange(10))
    assert set(np.unique(found["mask"])) <= {0, 1}
    np.testing.assert_allclose(found["image"].min(), 0, atol=1e-6)


def test_a_scan_smaller_than_the_patch_is_filled_up():
    found = cutter("none", shape=(10, 10, 10), patch=(16, 16, 16))(np.arange(4))
    assert found["mask"].shape == (4, 16, 16, 16)
    assert (found["mask"] == 1).sum(axis=(1, 2, 3)).tolist() == pytest.approx([125] * 4, abs=40)


def test_epochs_have_other_patches():
    batches = training_batches(cutter(), epochs=3, per_epoch=8, batch_size=4, seed=0)
    first = batches[0][0]["image"]
    batches.start_epoch(1)
    assert not np.array_equal(batches[0][0]["image"], first)
    batches.start_epoch(0)
    assert np.array_equal(batches[0][0]["image"], first)
