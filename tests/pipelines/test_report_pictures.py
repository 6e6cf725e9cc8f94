"""Pictures of masks and heat maps: readable by anybody, the same bytes each time, the proportions of the patient."""

import io

import numpy as np
import pytest
from PIL import Image

from pipelines import DataError
from pipelines.report_pictures import heat, overlay

IMAGE = np.add.outer(np.arange(30.0), np.arange(40.0))
MASK = np.zeros((30, 40), int)
MASK[8:20, 10:30] = 1


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_masks_are_drawn_in_colour_over_grey():
    plain = opened(overlay(IMAGE, MASK * 0, MASK * 0, names=["background", "bone"])).astype(int)
    drawn = opened(overlay(IMAGE, MASK, MASK * 0, names=["background", "bone"])).astype(int)
    coloured = [(np.ptp(picture, axis=2) > 20).mean() for picture in (plain, drawn)]
    assert coloured[0] < 0.001
    assert coloured[1] > 0.02


def test_pictures_are_the_same_each_time_and_small():
    for draw in (lambda: overlay(IMAGE, MASK, MASK, names=["background", "bone"]), lambda: heat(IMAGE, IMAGE**2)):
        png = draw()
        assert png == draw()
        assert len(png) < 100_000


def test_voxels_keep_their_proportions():
    flat, tall = (opened(heat(IMAGE, IMAGE, spacing=spacing)).shape for spacing in ((1, 1), (4, 1)))
    assert tall[0] / tall[1] > flat[0] / flat[1]


def test_a_constant_image_and_map_can_be_drawn():
    assert heat(np.ones((5, 5)), np.zeros((5, 5))).startswith(b"\x89PNG")
    assert overlay(np.ones((5, 5)), np.ones((5, 5), int), np.zeros((5, 5), int), names="ab").startswith(b"\x89PNG")


def test_sizes_that_differ_are_refused():
    with pytest.raises(DataError, match="cannot be drawn"):
        overlay(IMAGE, MASK[:5], MASK, names=["background", "bone"])
    with pytest.raises(DataError, match="cannot be drawn"):
        heat(IMAGE, IMAGE[:5])
