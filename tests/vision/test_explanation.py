"""Heat maps of images: right where the truth is known, in each image's size, checked, drawn, and refused in sentences."""

import numpy as np
import pytest
from PIL import Image

from pipelines import DataError, ParameterError, engines
from vision import ImageClassifier, ImageSegmenter, attribution, networks, segmenter_networks, tiles
from vision.explanation import METHODS

SIDE = 32
QUICK = {"epochs": 12, "batch_size": 16, "verbose": 0, "device": "cpu"}


def spots(n=96, seed=0, shape=(SIDE, SIDE)):
    """Noise, half of it with a bright spot somewhere; labels, and the middles of the spots."""
    rng = np.random.default_rng(seed)
    X, y, middles = [], [], []
    for i in range(n):
        image = rng.normal(100, 15, shape)
        corner = rng.integers(2, np.array(shape) - 8)
        if i % 2:
            image[corner[0] : corner[0] + 5, corner[1] : corner[1] + 5] += 120
        X.append(image.clip(0, 255).astype(np.uint8))
        y.append("spot" if i % 2 else "nothing")
        middles.append(corner + 2)
    return X, y, middles


@pytest.fixture(scope="module")
def fitted():
    X, y, _ = spots()
    return ImageClassifier(**QUICK).fit(X, y)


@pytest.fixture(scope="module")
def segmenter():
    X, _, middles = spots(48)
    masks = [np.zeros((SIDE, SIDE), np.uint8) for _ in X]
    for i, mask in enumerate(masks):
        if i % 2:
            mask[middles[i][0] - 2 : middles[i][0] + 3, middles[i][1] - 2 : middles[i][1] + 3] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter_networks, "_WIDTHS", (8, 16, 32))
        yield ImageSegmenter(**{**QUICK, "batch_size": 4}, classes={"ground": 0, "spot": 1}).fit(X, masks)


def distance(one, middle):
    """How far the hottest pixel is from a place, in pixels along the longer way."""
    return np.abs(np.array(np.unravel_index(one.heat.argmax(), one.heat.shape)) - middle).max()


# --- the methods, where the truth is known -----------------------------------------------------------------------------


def vjp():
    return engines.engine("keras").vjp


def linear_network(weights):
    """Return a network whose two scores are weighted sums of pixels."""
    keras = attribution.keras
    inputs = keras.Input((*weights.shape[:2], 1))
    layer = keras.layers.Dense(2)
    network = keras.Model(inputs, layer(keras.layers.Flatten()(inputs)))
    layer.set_weights([weights.reshape(-1, 2), np.zeros(2, np.float32)])
    return network


def test_integrated_gradients_of_a_linear_network_are_weight_times_distance_from_grey():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 5, 2)).astype(np.float32)
    pixels = rng.uniform(0, 255, (3, 6, 5, 1)).astype(np.float32)
    asked = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    found = attribution.integrated(linear_network(weights), vjp(), pixels, asked)
    expected = (pixels - pixels.mean(axis=(1, 2), keepdims=True))[..., 0] * np.moveaxis(weights, 2, 0)[[0, 1, 1]]
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-3, atol=1e-2)


def test_integrated_gradients_add_up_to_the_score_less_that_of_a_grey_image(fitted):
    pixels = np.stack(spots(6, seed=3)[0])[..., None].astype(np.float32)
    asked = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0, 1]]
    found = attribution.integrated(fitted.model_, vjp(), pixels, asked).sum(axis=(1, 2, 3))
    scores, grey = (
        (fitted.model_.predict_on_batch(x) * asked).sum(axis=1)
        for x in (pixels, np.broadcast_to(attribution.grey(pixels), pixels.shape).copy())
    )
    np.testing.assert_allclose(found, scores - grey, rtol=0.1, atol=0.3)


def test_occlusion_is_the_fall_of_the_score_under_a_box():
    pixels = np.full((1, 16, 16, 1), 100, np.float32)
    pixels[0, :2, :2] = 200  # 4 of 256 pixels: grey is 101.5625

    def measured(read, shape):
        i, box = np.unravel_index(np.arange(np.prod(shape)), shape)
        return read(i, box)[:, :2, :2, 0].sum(axis=(1, 2)).reshape(shape)

    found = attribution.occluded(measured, pixels)
    fall = 4 * (200 - 101.5625)
    assert found[0, 0, 0] == pytest.approx(
        (fall + 3 * fall / 2 + 2 * fall / 4 * 0) / 4, rel=0.5
    )  # boxes that cover all or a part
    assert found[0, 0, 0] == found.max()
    np.testing.assert_allclose(found[0, 4:, 4:], 0, atol=1e-3)
    assert pixels[0, 0, 0, 0] == 200  # the image itself is left as it was


@pytest.mark.parametrize("backbone", ["small-cnn", "lenet5", "mobilenet-v2", pytest.param("vgg16", marks=pytest.mark.slow)])
def test_halves_of_a_classifier_are_the_whole(backbone):
    network = networks.build(backbone, (SIDE, SIDE), 3, 4)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    front, back = attribution.halves(network)
    beside, maps = front(pixels)
    assert min(maps.shape[1:3]) >= 7
    np.testing.assert_allclose(back(beside, maps), network(pixels, training=False), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", sorted(segmenter_networks.ARCHITECTURES))
def test_halves_of_a_segmenter_are_the_whole(architecture):
    network = segmenter_networks.build(architecture, None, 1, 3)
    pixels = np.random.default_rng(0).uniform(0, 255, (1, SIDE, SIDE, 1)).astype(np.float32)
    front, back = attribution.halves(network)
    beside, maps = front(pixels)
    assert maps.shape[1:3] == (2, 2)  # the coarsest of the encoder
    np.testing.assert_allclose(back(beside, maps), network(pixels, training=False), rtol=1e-4, atol=1e-4)


# --- classifiers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_heat_is_at_the_spot_and_faithful(fitted, method):
    X, _, middles = spots(20 if method == "grad-cam" else 10, seed=1)
    found = fitted.explain(X[1::2], method, target="spot")
    assert np.mean([distance(one, middle) <= 5 for one, middle in zip(found, middles[1::2], strict=True)]) >= 0.8
    assert np.mean([one.faithful for one in found]) >= 0.9
    assert np.mean([one.insertion - one.random_insertion for one in found]) > 0
    assert {one.label for one in found} == {"spot"}
    assert {one.method for one in found} == {method}


def test_label_and_probability_are_those_of_the_pipeline(fitted):
    X, _, _ = spots(8, seed=2)
    proba = fitted.predict_proba(X)
    found = fitted.explain(X)
    assert [one.label for one in found] == [one.prediction for one in found] == fitted.predict(X).tolist()
    np.testing.assert_allclose([one.probability for one in found], proba.max(axis=1), atol=1e-5)
    other = fitted.explain(X, target="nothing", check=False)
    np.testing.assert_allclose([one.probability for one in other], proba[:, 0], atol=1e-5)


def test_curves_begin_and_end_with_the_image_and_with_grey(fitted):
    X, _, _ = spots(4, seed=2)
    grey = [np.full((SIDE, SIDE), image.mean(), np.float32) for image in X]
    for one, image in zip(fitted.explain(X, target="spot"), grey, strict=True):
        whole, nothing = one.probability, fitted.predict_proba([image])[0, 1]
        for name in ("deletion", "random_deletion"):
            np.testing.assert_allclose(one.curves[name].iloc[[0, -1]], [whole, nothing], atol=0.02)
        for name in ("insertion", "random_insertion"):
            np.testing.assert_allclose(one.curves[name].iloc[[0, -1]], [nothing, whole], atol=0.02)
        assert one.curves.index.tolist() == pytest.approx(np.linspace(0, 1, 11))
        assert one.deletion == pytest.approx(np.trapezoid(one.curves["deletion"], one.curves.index))


def test_heat_has_the_size_of_each_image(fitted):
    X = [spots(2, shape=shape)[0][1] for shape in ((32, 32), (48, 64), (96, 40))]
    found = fitted.explain(X, check=False)
    assert [one.heat.shape for one in found] == [(32, 32), (48, 64), (96, 40)]
    for one in found:
        assert one.heat.min() >= 0
        assert one.heat.max() == pytest.approx(1, abs=0.2)


def test_pictures_on_their_side_are_explained_upright(fitted, tmp_path):
    image, _, middles = (part[1] for part in spots(2, shape=(32, 48)))
    stored = Image.fromarray(np.rot90(image).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to look at it
    stored.save(tmp_path / "side.png", exif=exif)
    (found,) = fitted.explain([tmp_path / "side.png"], target="spot", check=False)
    (upright,) = fitted.explain([image], target="spot", check=False)
    assert found.heat.shape == (32, 48)
    np.testing.assert_allclose(found.heat, upright.heat, atol=1e-5)
    assert distance(found, middles) <= 6


def test_without_the_check_there_are_no_curves_and_nothing_is_called_faithful(fitted):
    (found,) = fitted.explain(spots(2)[0][1:], check=False)
    assert len(found.curves) == 0
    assert np.isnan([found.deletion, found.random_deletion, found.insertion, found.random_insertion]).all()
    assert not found.faithful
    assert "not checked" in repr(found)


def test_one_by_one_is_all_together_and_twice_the_same(fitted):
    X, _, _ = spots(5, seed=4)
    together = fitted.explain(X)
    for one, alone in zip(together, [fitted.explain([image])[0] for image in X], strict=True):
        np.testing.assert_allclose(one.heat, alone.heat, atol=1e-4)
        np.testing.assert_allclose(one.curves, alone.curves, atol=1e-4)


def test_several_labels_are_explained_by_the_name_of_one():
    X, y, _ = spots(48)
    y = np.array([[label == "spot", label == "nothing"] for label in y]).astype(int)
    model = ImageClassifier(**{**QUICK, "epochs": 2}).fit(X, y)
    (found,) = model.explain(X[1:2], target=1, check=False)
    assert found.label == 1
    assert found.probability == pytest.approx(model.predict_proba(X[1:2])[0, 1], abs=1e-5)
    assert found.prediction == tuple(np.flatnonzero(model.predict(X[1:2])[0]))


def test_the_network_is_left_as_it_was(fitted):
    before, X = [weight.copy() for weight in fitted.model_.get_weights()], spots(2)[0]
    proba = fitted.predict_proba(X)
    for method in METHODS:
        fitted.explain(X, method, check=False)
    assert all((old == new).all() for old, new in zip(before, fitted.model_.get_weights(), strict=True))
    np.testing.assert_array_equal(proba, fitted.predict_proba(X))


# --- segmenters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["grad-cam", *(pytest.param(method, marks=pytest.mark.slow) for method in METHODS[1:])])
def test_heat_of_a_mask_is_near_the_thing(segmenter, method):
    X, _, middles = spots(12 if method == "grad-cam" else 6, seed=5)
    found = segmenter.explain(X[1::2], method, target="spot", check=method == "grad-cam")
    assert np.mean([distance(one, middle) <= 8 for one, middle in zip(found, middles[1::2], strict=True)]) >= 0.6
    assert {one.label for one in found} == {"spot"}
    assert found[0].prediction == ("ground", "spot")
    assert len(found[0].curves) == (11 if method == "grad-cam" else 0)


def test_the_class_that_most_pixels_have_is_explained_by_itself(segmenter):
    X = spots(2)[0]
    for one, proba in zip(segmenter.explain(X, check=False), segmenter.predict_proba(X), strict=True):
        assert one.label == "ground"
        assert one.probability == pytest.approx(proba[..., 0][proba.argmax(axis=-1) == 0].mean(), abs=0.01)


def test_heat_of_a_mask_has_the_size_of_each_image(segmenter):
    X = [spots(2, shape=shape)[0][1] for shape in ((32, 32), (45, 50))]
    assert [one.heat.shape for one in segmenter.explain(X, check=False)] == [(32, 32), (45, 50)]


def test_images_that_are_predicted_in_tiles_are_refused(segmenter):
    with pytest.raises(DataError, match=rf"Sample 1 has 20 x {tiles.TILE + 1} pixels.* at most {tiles.TILE} a side.*Cut out"):
        segmenter.explain([np.zeros((20, 20), np.uint8), np.zeros((20, tiles.TILE + 1), np.uint8)], check=False)


# --- pictures and refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [False, True])
def test_a_heat_map_is_saved_beside_its_image(fitted, tmp_path, colour):
    image = spots(2)[0][1]
    (found,) = fitted.explain([np.stack([image] * 3, axis=-1) if colour else image], check=False)
    path = found.save(tmp_path / "why.png")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    coloured = (np.ptp(pixels, axis=2) > 60).any(axis=0)  # the image is grey, and the heat is not
    assert not coloured[: len(coloured) * 2 // 5].any()
    assert coloured[len(coloured) // 2 :].any()


def test_what_cannot_be_saved_is_told(fitted, tmp_path):
    Image.fromarray(spots(2)[0][1]).save(tmp_path / "spot.png")
    (found,) = fitted.explain([str(tmp_path / "spot.png")], check=False)
    with pytest.raises(ParameterError, match=r"'why\.gif' has no ending.*\.png"):
        found.save("why.gif")
    with pytest.raises(DataError, match=r"why\.png"):
        found.save(tmp_path / "nowhere" / "why.png")
    (tmp_path / "spot.png").unlink()
    with pytest.raises(DataError, match=r"The image to draw the heat over, .*spot\.png"):
        found.save(tmp_path / "why.png")
    assert not (tmp_path / "why.png").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "grad_cam"}, r"method='grad_cam'.*grad-cam"),
        ({"target": "spots"}, r"target='spots' is no label.*Did you mean 'spot'"),
        ({"check": "yes"}, r"check='yes'"),
    ],
)
def test_wrong_options_are_told(fitted, options, said):
    with pytest.raises(ParameterError, match=said):
        fitted.explain(spots(2)[0], **options)


def test_an_unreadable_image_is_named(fitted, segmenter):
    for model in (fitted, segmenter):
        with pytest.raises(DataError, match=r"no-such-file\.png"):
            model.explain([spots(2)[0][0], "no-such-file.png"])
