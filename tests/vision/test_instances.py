"""Instances: the pieces of each class, numbered over all classes."""

import numpy as np
import pytest

from vision.instances import label


def flooded(mask, background):
    """Number pieces by walking from pixel to pixel, the slow and plain way."""
    numbers = np.zeros(mask.shape, int)
    count = 0
    for value in sorted(set(mask.ravel().tolist()) - {background}):
        for start in zip(*np.nonzero(mask == value), strict=True):
            if numbers[start]:
                continue
            count += 1
            waiting = [start]
            while waiting:
                row, column = waiting.pop()
                if not (0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]):
                    continue
                if numbers[row, column] or mask[row, column] != value:
                    continue
                numbers[row, column] = count
                waiting += [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return numbers


@pytest.mark.parametrize("background", [0, 2, None])
@pytest.mark.parametrize("seed", range(3))
def test_pieces_are_those_of_a_walk_from_pixel_to_pixel(seed, background):
    mask = np.random.default_rng(seed).choice([0, 2, 7], (17, 23), p=[0.7, 0.15, 0.15])
    numbers, instances = label(mask, background)
    np.testing.assert_array_equal(numbers, flooded(mask, background))
    assert [piece.number for piece in instances] == list(range(1, numbers.max() + 1))


def test_each_instance_says_its_class_pixels_and_box():
    mask = np.random.default_rng(0).choice([0, 3, 9], (20, 30), p=[0.8, 0.1, 0.1])
    numbers, instances = label(mask)
    for piece in instances:
        here = numbers == piece.number
        assert set(mask[here].tolist()) == {piece.label}
        assert here.sum() == piece.pixels
        rows, columns = np.nonzero(here)
        assert piece.box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


def test_small_pieces_are_left_out_and_numbers_have_no_gap():
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [2, 2, 0, 1]])
    numbers, instances = label(mask, smallest=2)
    assert numbers.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [2, 2, 0, 0]]
    assert [piece.label for piece in instances] == [1, 2]


def test_background_alone_has_no_instance():
    numbers, instances = label(np.zeros((4, 5), np.uint8))
    assert not numbers.any()
    assert instances == []
