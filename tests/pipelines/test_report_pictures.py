"""Pictures of masks and heat maps: readable by anybody, the same bytes each time, the proportions of the patient."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipelines import DataError, report_pictures
from pipelines.metrics import classification
from pipelines.report import Example
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


def test_noise_in_colours_is_small_too():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    mask = np.zeros((300, 300), int)
    mask[100:200, 50:90] = 1
    for png in (overlay(noise, mask, mask, names=["background", "bone"]), heat(noise, noise[..., 0])):
        assert len(png) < 100_000


def test_a_small_structure_keeps_its_colour():
    mask = np.zeros((400, 400), int)
    mask[200:203, 100:103] = 3
    drawn = opened(overlay(np.random.default_rng(0).normal(size=mask.shape), mask, mask * 0, names="abcd")).astype(int)
    green = (drawn[..., 1] > drawn[..., 0] + 60) & (drawn[..., 1] > drawn[..., 2] + 40)
    assert green[: drawn.shape[0] * 3 // 4, : drawn.shape[1] // 2].any()  # in the left picture, above the legend
    assert not green[: drawn.shape[0] * 3 // 4, drawn.shape[1] // 2 :].any()


def test_where_every_pixel_has_a_class_no_line_hides_a_neighbour():
    truth = 1 + np.zeros((60, 60), int)
    truth[:, ::6] = truth[:, 1::6] = 2  # thinner than a line is
    drawn = opened(overlay(np.full(truth.shape, 128.0), truth, truth, names=["", "cell", "membrane"])).astype(int)
    blue = (drawn[..., 2] > drawn[..., 0] + 40).mean()
    orange = (drawn[..., 0] > drawn[..., 2] + 40).mean()
    assert 0.3 < blue / orange < 0.7


def test_every_name_of_a_legend_has_a_colour_of_its_own():
    assert len({report_pictures._colour_of(v) for v in range(1, report_pictures._MOST_NAMES + 1)}) == report_pictures._MOST_NAMES


def test_names_are_drawn_as_they_are():
    for name in ("_hidden", "a $b$ $", "肝臓"):
        png = overlay(IMAGE, MASK, MASK, names=["background", name])
        assert png != overlay(IMAGE, MASK, MASK, names=["background", "bone"])


def test_values_that_are_no_numbers_are_drawn_as_black():
    image, warm = IMAGE.copy(), IMAGE.copy()
    image[0, :5], warm[3, 3] = np.nan, np.nan
    assert heat(image, warm).startswith(b"\x89PNG")
    assert overlay(np.full_like(image, np.nan), MASK, MASK, names="ab").startswith(b"\x89PNG")


def test_large_pictures_get_room_in_the_html_report_and_small_ones_do_not():
    report = classification([0, 1], [0.1, 0.9])
    small = io.BytesIO()
    Image.new("L", (64, 64)).save(small, "png")
    pages = [
        replace(report, examples=(Example("one", image=png),))._repr_html_()
        for png in (overlay(IMAGE, MASK, MASK, names="ab"), small.getvalue())
    ]
    assert ['class="dp-examples dp-texts"' in page for page in pages] == [True, False]


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
    with pytest.raises(DataError, match=r"this one has shape \(30, 40, 5\)"):
        heat(np.zeros((30, 40, 5)), IMAGE)
    with pytest.raises(DataError, match=r"The masks hold \[1\], but there are names for 0 to 0"):
        overlay(IMAGE, MASK, MASK, names=["background"])
