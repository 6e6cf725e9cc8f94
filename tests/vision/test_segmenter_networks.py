"""Segmentation networks: their parts, any size of image, tiles that equal the whole, and the loss."""

import numpy as np
import pytest

from pipelines.engines import load_framework
from vision import segmenter_networks, tiles
from vision.networks import BACKBONES
from vision.segmenter_networks import (
    ARCHITECTURES,
    ENCODERS,
    Decided,
    DepthToSpace,
    Dilated,
    Enlarged,
    SegmentationLoss,
    SpaceToDepth,
)

keras = load_framework("keras")
SMALL = ["mobilenet-v3-small", "efficientnet-v2-b0"]  # quick to build
FAMILIES = ["vgg16", "resnet50", "resnet50-v2", "mobilenet", "mobilenet-v2", "densenet121", "inception-v3", "xception"]
FAMILIES += ["inception-resnet-v2", "efficientnet-b0", "convnext-tiny"]


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def settled(network):
    """Give a fresh network the statistics of batches, as training does, so that its scores are of usual size."""
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if "moving_mean" in weight.path:
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return network


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_have_the_size_of_the_image(architecture, channels):
    network = segmenter_networks.build(architecture, None, channels, 5)
    for size in ((16, 16), (48, 80)):
        assert network(pixels(2, *size, channels)).shape == (2, *size, 5)
    assert {layer.name for layer in network.layers} >= {"backbone", "decoder"}


@pytest.mark.parametrize("backbone", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES)])
def test_every_family_of_applications_is_a_backbone(backbone):
    for architecture in ARCHITECTURES if backbone in SMALL else ("unet",):
        network = segmenter_networks.build(architecture, backbone, 3, 4)
        assert network(pixels(1, 96, 128, 3)).shape == (1, 96, 128, 4)


def test_space_to_depth_and_back():
    images = pixels(2, 6, 4, 3)
    deep = keras.ops.convert_to_numpy(SpaceToDepth(2)(images))
    np.testing.assert_array_equal(deep[:, 1, 0], images[:, 2:4, :2].reshape(2, 12))
    np.testing.assert_array_equal(DepthToSpace(2)(deep), images)


@pytest.mark.parametrize("backbone", SMALL)
def test_a_backbone_gives_features_of_every_size(backbone):
    encoder = segmenter_networks.build("unet", backbone, 3, 2).get_layer("backbone")
    found = [tuple(feature.shape[1:3]) for feature in encoder(pixels(1, 64, 128, 3))]
    assert found == [(32, 64), (16, 32), (8, 16), (4, 8), (2, 4)]


@pytest.mark.parametrize("backbone", SMALL)
def test_the_last_features_are_the_applications_output(backbone):
    encoder = segmenter_networks.build("unet", backbone, 3, 2).get_layer("backbone")
    whole = getattr(keras.applications, BACKBONES[backbone].application)(
        include_top=False, weights=None, input_shape=(64, 64, 3), pooling=None
    )
    whole.set_weights(encoder.get_weights())
    x = pixels(1, 64, 64, 3)
    assert BACKBONES[backbone].scaling is None
    np.testing.assert_allclose(np.asarray(encoder(x)[-1]), np.asarray(whole(x)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", ["unet", "fcn"])
def test_tiles_equal_the_whole_image(architecture):
    network = settled(segmenter_networks.build(architecture, None, 1, 3))
    image = pixels(1, 400, 368, 1).astype(np.uint8)
    whole = np.asarray(network(image.astype(np.float32)))
    for (rows, columns), scores in tiles.scores(lambda x: np.asarray(network(x)), image, 16, tile=336, margin=128):
        np.testing.assert_allclose(scores, whole[:, rows, columns], atol=1e-4 * np.abs(whole).max())


def test_a_margin_that_is_too_small_shows():
    network = settled(segmenter_networks.build("unet", None, 1, 3))
    image = pixels(1, 160, 160, 1).astype(np.uint8)
    whole = np.asarray(network(image.astype(np.float32)))
    apart = [
        np.abs(scores - whole[:, rows, columns]).max()
        for (rows, columns), scores in tiles.scores(lambda x: np.asarray(network(x)), image, 16, tile=96, margin=0)
    ]
    assert max(apart) > 1e-2 * np.abs(whole).max()


@pytest.mark.slow
def test_all_applications_but_those_of_one_size_are_encoders():
    left_out = {name for name, row in BACKBONES.items() if row.application} - set(ENCODERS)
    assert left_out == {"nasnet-mobile", "nasnet-large"}
    with pytest.raises((ValueError, IndexError)):
        segmenter_networks.build("unet", "nasnet-mobile", 3, 2)


@pytest.mark.parametrize("rate", [2, 6, 18])
@pytest.mark.parametrize("size", [(3, 2), (7, 40), (18, 12)])
def test_a_dilated_convolution_is_that_of_keras(rate, size):
    x = pixels(2, *size, 3) / 255
    ours, plain = Dilated(rate, 4, 3), keras.layers.Conv2D(4, 3, padding="same", dilation_rate=rate)
    plain.build(x.shape)
    ours(x)
    ours.set_weights(plain.get_weights())
    np.testing.assert_allclose(np.asarray(ours(x)), np.asarray(plain(x)), atol=1e-5)


def test_images_as_wide_as_the_one_before_and_of_another_height():
    network = settled(segmenter_networks.build("deeplab-v3-plus", None, 1, 2))
    for size in ((32, 32), (48, 32), (48, 64)):
        x = pixels(1, *size, 1)
        np.testing.assert_allclose(network.predict_on_batch(x), np.asarray(network(x)), atol=1e-3)


def test_enlarging_keeps_values_or_is_bilinear():
    x = pixels(1, 3, 2, 1)
    np.testing.assert_array_equal(np.asarray(Enlarged(4, smooth=False)(x)), x.repeat(4, axis=1).repeat(4, axis=2))
    expected = np.asarray(keras.ops.image.resize(x, (6, 4), "bilinear"))
    np.testing.assert_allclose(np.asarray(Enlarged(2)(x)), expected, rtol=1e-5)


def test_decided_is_scores_in_training_and_numbers_otherwise():
    scores = np.array([[[[0.1, 0.9], [0.8, 0.2]]]], np.float32)
    np.testing.assert_array_equal(np.asarray(Decided()(scores, training=True)), scores)
    found = np.asarray(Decided()(scores))
    assert found.dtype == np.uint8
    assert found.tolist() == [[[[1], [0]]]]


# --- loss -------------------------------------------------------------------------------------------------------------


def by_hand(truth, logits, weights, kind):
    """Return the loss by plain numpy, pixel by pixel."""
    k = len(weights)
    known = truth < k
    codes, scores = truth[known], logits[known].astype(np.float64)
    chance = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    right = chance[np.arange(len(codes)), codes]
    mass = weights[codes].sum()
    if kind == "focal":
        return -(weights[codes] * (1 - right) ** 2 * np.log(right)).sum() / mass
    dice = [
        (2 * chance[codes == v, v].sum() + 1) / ((codes == v).sum() + chance[:, v].sum() + 1)
        for v in range(k)
        if (codes == v).any()
    ]
    return -(weights[codes] * np.log(right)).sum() / mass + 3 * (1 - np.mean(dice))


@pytest.mark.parametrize("kind", ["dice", "focal"])
def test_loss_equals_its_formula(kind):
    rng = np.random.default_rng(0)
    truth, logits = rng.integers(0, 4, (2, 6, 5)), rng.normal(0, 2, (2, 6, 5, 4)).astype(np.float32)
    truth[truth == 2] = 4  # ignored, and a class that is nowhere
    weights = np.array([1.0, 0.5, 1.0, 3.0])
    found = float(SegmentationLoss(weights, kind)(truth, logits))
    assert found == pytest.approx(by_hand(truth, logits, weights, kind), rel=1e-5)


@pytest.mark.parametrize("kind", ["dice", "focal"])
def test_ignored_pixels_change_nothing(kind):
    rng = np.random.default_rng(0)
    truth, logits = rng.integers(0, 3, (1, 6, 6)), rng.normal(0, 2, (1, 6, 6, 3)).astype(np.float32)
    truth[:, :3] = 3
    loss = SegmentationLoss(np.ones(3), kind)
    before = float(loss(truth, logits))
    logits[:, :3] += 5 * rng.normal(size=(1, 3, 6, 3)).astype(np.float32)
    assert float(loss(truth, logits)) == pytest.approx(before, rel=1e-6)
    assert np.isfinite(float(loss(np.full_like(truth, 3), logits)))  # nothing but ignored pixels
