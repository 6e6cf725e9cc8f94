"""The random forest on pixels is scikit-learn's, in plain arrays."""

import io

import numpy as np
import pytest

from vision import simple_segmenters
from vision.simple_segmenters import features, forest, from_forest, proba_from_forest


def scenes(n=3, channels=3, shape=(40, 52), seed=0):
    """Noisy pictures of a bright sky, a dark ground and a disc whose brightness is a mixture of both."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    images, masks = [], []
    for _ in range(n):
        mask = (rows > shape[0] * 0.5).astype(int)
        centre = rng.integers(10, 30, 2)
        mask[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 40] = 2
        means = np.array([[200, 210, 250], [90, 70, 60], [140, 130, 150]])[:, :channels]
        images.append((means[mask] + rng.normal(0, 25, (*shape, channels))).clip(0, 255).astype(np.uint8))
        masks.append(mask)
    return images, masks


def sklearns(images, masks, seed, ignore=None):
    from sklearn.ensemble import RandomForestClassifier

    X, y = simple_segmenters._drawn(images, masks, ignore, seed)
    options = {"max_depth": simple_segmenters._DEPTH, "min_samples_leaf": simple_segmenters._LEAF}
    return RandomForestClassifier(simple_segmenters._TREES, random_state=seed, **options).fit(X, y)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_the_arrays_say_exactly_what_scikit_learn_says(channels, seed, monkeypatch):
    monkeypatch.setattr(simple_segmenters, "_BLOCK", 777)  # a picture has several blocks, and the last is shorter
    images, masks = scenes(4, channels, seed=seed)
    arrays = forest(images[:3], masks[:3], 3, seed=seed)
    expected = sklearns(images[:3], masks[:3], seed).predict_proba(features(images[3])).reshape(40, 52, 3)
    np.testing.assert_array_equal(proba_from_forest(arrays, images[3]), expected)
    np.testing.assert_array_equal(from_forest(arrays, images[3]), expected.argmax(axis=2))
    assert (from_forest(arrays, images[3]) == masks[3]).mean() > 0.9


def test_arrays_survive_a_file_without_pickle():
    images, masks = scenes()
    arrays = forest(images, masks, 3)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as kept:
        again = {name: kept[name] for name in kept.files}
    np.testing.assert_array_equal(from_forest(again, images[0]), from_forest(arrays, images[0]))


def test_one_seed_gives_one_forest():
    images, masks = scenes()
    one, same, other = (forest(images, masks, 3, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not all(np.array_equal(one[name], other[name]) for name in one)


def test_pixels_that_are_ignored_are_not_learned_from():
    images, masks = scenes()
    hidden = [np.where(mask == 2, 3, mask) for mask in masks]
    arrays = forest(images, hidden, 3, ignore=3)
    assert not arrays["shares"][:, 2].any()
    assert set(np.unique(from_forest(arrays, images[0])).tolist()) == {0, 1}
    nothing = np.full_like(masks[0], 3)  # of a picture without anything to learn none is drawn
    assert forest(images, [*hidden[:2], nothing], 3, ignore=3)["root"].shape == arrays["root"].shape


def test_a_class_without_pixels_has_no_share_and_one_class_alone_has_all():
    images, masks = scenes()
    assert proba_from_forest(forest(images, masks, 5), images[0])[..., 3:].max() == 0
    alone = forest(images, [mask * 0 + 1 for mask in masks], 3)
    assert (from_forest(alone, images[0]) == 1).all()


def test_floats_and_bytes_are_one_picture():
    images, masks = scenes()
    arrays = forest(images, masks, 3)
    np.testing.assert_array_equal(from_forest(arrays, images[0]), from_forest(arrays, images[0].astype(np.float32)))


def test_place_runs_from_corner_to_corner_in_pictures_of_any_size():
    for shape in ((1, 1), (1, 7), (30, 50)):
        place = features(np.zeros((*shape, 3), np.uint8))[:, -2:].reshape(*shape, 2)
        assert place[0, 0].tolist() == [0, 0]
        assert place[-1, -1].tolist() == [255 * (side > 1) for side in shape[::-1]]


def test_smoothed_colour_is_a_mean_around_the_pixel():
    image = np.zeros((21, 21, 1), np.uint8)
    image[10, 10] = 225
    smooth = features(image)[:, 1].reshape(21, 21)
    assert smooth[9:12, 9:12].tolist() == [[25] * 3] * 3
    assert smooth.sum() == 225
