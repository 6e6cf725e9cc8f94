"""Values of scans as a network sees them: the scheme that is chosen, and what it does."""

import numpy as np
import pytest

from medical import intensities
from pipelines import ParameterError


def learned(arrays, modalities=(), asked="auto"):
    return intensities.learn([intensities.values(array) for array in arrays], modalities, asked)


def ct(seed=0):
    array = np.random.default_rng(seed).normal(40, 30, (12, 12, 12)).round().astype(np.int16)
    array[0] = -1024
    return array


def test_ct_is_known_by_its_modality_or_its_air():
    assert learned([ct()])["scheme"] == "window"
    assert learned([ct().astype(np.float32)])["scheme"] == "window"  # whole numbers that were stored as floats
    assert learned([np.random.default_rng(0).normal(size=(8, 8))], ["CT"])["scheme"] == "window"


def test_bytes_are_pictures_and_the_rest_is_standardised_by_itself():
    rng = np.random.default_rng(0)
    picture, slices = rng.integers(0, 256, (8, 8), dtype=np.uint8), rng.normal(300, 40, (8, 8, 8))
    assert learned([picture, picture])["scheme"] == "range"
    assert learned([slices])["scheme"] == "z-score"
    assert learned([picture, slices])["scheme"] == "z-score"


def test_a_window_is_the_same_for_all_and_clips():
    scheme = learned([ct(0), ct(1)])
    drawn = np.concatenate([ct(0).ravel(), ct(1).ravel()])
    assert scheme["low"], scheme["high"] == np.percentile(drawn, [0.5, 99.5])
    seen = intensities.apply(scheme, np.array([-5000, scheme["low"], scheme["mean"], scheme["high"], 5000]))
    assert seen[0] == seen[1]
    assert seen[3] == seen[4]
    assert seen[2] == pytest.approx(0, abs=1e-4)
    assert seen.dtype == np.float32


def test_a_range_keeps_the_order_and_does_not_clip():
    scheme = learned([np.arange(100, dtype=np.uint8).reshape(10, 10)])
    seen = intensities.apply(scheme, np.array([0, 50, 99, 200]))
    assert (np.diff(seen) > 0).all()
    assert seen[:3].mean() == pytest.approx(0, abs=0.05)


def test_a_z_score_forgets_gain_and_offset():
    array = np.random.default_rng(0).normal(size=(9, 9, 9))
    seen = intensities.apply({"scheme": "z-score"}, array)
    np.testing.assert_allclose(intensities.apply({"scheme": "z-score"}, 7 * array + 100), seen, atol=1e-4)
    assert seen.mean() == pytest.approx(0, abs=1e-5)
    assert seen.std() == pytest.approx(1, abs=1e-5)


def test_a_large_background_does_not_count():
    head = np.zeros((20, 20, 20))
    head[5:15, 5:15, 5:15] = np.random.default_rng(0).normal(100, 10, (10, 10, 10))
    seen = intensities.apply({"scheme": "z-score"}, head)[5:15, 5:15, 5:15]
    assert seen.mean() == pytest.approx(0, abs=1e-4)
    assert seen.std() == pytest.approx(1, abs=1e-4)


def test_values_come_from_under_the_mask_and_are_few():
    array = np.arange(100_000).reshape(100, 1000)
    mask = array > 99_000
    assert intensities.values(array, mask)["drawn"].min() > 99_000
    assert len(intensities.values(array)["drawn"]) == 20_000
    np.testing.assert_array_equal(intensities.values(array, seed=1)["drawn"], intensities.values(array, seed=1)["drawn"])
    assert intensities.values(array, np.zeros_like(array))["least"] == 0  # a mask that marks nothing is none


def test_what_is_asked_for_is_done():
    assert learned([ct()], asked="z-score") == {"scheme": "z-score"}
    with pytest.raises(ParameterError, match=r"intensity='zscore' is not known. Did you mean 'z-score'"):
        learned([ct()], asked="zscore")
