"""The table of backbones against Keras Applications itself, and what is built from it."""

import inspect
import urllib.error

import numpy as np
import pytest

from pipelines.engines import load_framework
from vision import networks
from vision.networks import BACKBONES

keras = load_framework("keras")
APPLICATIONS = sorted(name for name, row in BACKBONES.items() if row.application)
SMALL = ["mobilenet-v3-small", "mobilenet", "efficientnet-v2-b0"]  # quick to build
FAMILIES = ["vgg16", "resnet50", "resnet50-v2", "mobilenet-v2", "densenet121", "inception-v3", "xception", "nasnet-mobile"]
FAMILIES += ["efficientnet-b0", "convnext-tiny"]  # their larger siblings are the same code, and take minutes to build


def module_of(backbone):
    """Return the module of keras.applications with the backbone's own `preprocess_input`."""
    function = getattr(keras.applications, BACKBONES[backbone].application)
    name = inspect.getmodule(function).__name__.rpartition(".")[2]
    return getattr(keras.applications, name)


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


# --- the table --------------------------------------------------------------------------------------------------------


def test_names_are_plain_and_lead_to_existing_applications():
    for name, row in BACKBONES.items():
        assert name == name.lower().replace("_", "-")
        assert row.minimum <= row.usual
        assert row.application is None or callable(getattr(keras.applications, row.application))
    functions = [row.application for row in BACKBONES.values() if row.application]
    assert len(functions) == len(set(functions))


def test_no_application_of_keras_is_left_out():
    classes = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {row.application for row in BACKBONES.values()} - {None} == classes


@pytest.mark.parametrize("backbone", APPLICATIONS)
def test_scaling_is_the_applications_own(backbone):
    row = BACKBONES[backbone]
    x = pixels(2, 5, 5, 3)
    expected = np.asarray(module_of(backbone).preprocess_input(x.copy()))
    found = np.asarray(networks.ImagenetScaling(row.scaling)(x)) if row.scaling else x
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("backbone", [name for name in APPLICATIONS if not name.startswith("mobilenet-v3")])
def test_smaller_images_than_the_minimum_are_refused_by_keras(backbone):
    row = BACKBONES[backbone]
    make = getattr(keras.applications, row.application)
    with pytest.raises(ValueError, match=f"at least {row.minimum}x{row.minimum}"):
        make(include_top=False, weights=None, input_shape=(row.minimum - 1, row.minimum - 1, 3))


@pytest.mark.parametrize("backbone", ["mobilenet-v3-small", "mobilenet-v3-large"])
def test_smaller_images_than_the_minimum_are_refused_by_mobilenet_v3(backbone):
    with pytest.raises(ValueError, match="32x32"):
        getattr(keras.applications, BACKBONES[backbone].application)(include_top=False, weights=None, input_shape=(31, 31, 3))


@pytest.mark.parametrize(
    "backbone",
    [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES)],
)
def test_every_application_is_built_at_its_minimum_and_asks_for_its_own_weights(backbone, monkeypatch):
    side = BACKBONES[backbone].minimum
    model = networks.build(backbone, (side, side), 3, 4)
    inner = model.get_layer("backbone").get_layer("application")
    assert model.output_shape == (None, 4)
    assert inner.output_shape[-1] == model.get_layer("head").input_shape[-1]
    scales_inside = any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in inner.layers)
    assert scales_inside == (BACKBONES[backbone].scaling is None)
    del model, inner
    asked = []

    def get_file(name, origin, **options):
        asked.append((name, origin))
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with pytest.raises(urllib.error.URLError):
        networks.pretrained_features(backbone, (224, 224) if side <= 224 else (side, side))
    keras.backend.clear_session()
    ((name, origin),) = asked
    assert "application" not in name
    assert "applications/" in origin or "deep-learning-models" in origin
    assert "top" in name


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "shapes", "expected"),
    [
        ("small-cnn", [(8, 8)] * 3, (8, 8)),
        ("small-cnn", [(2, 2)], (4, 4)),
        ("small-cnn", [(1, 1000)], (4, 96)),
        ("small-cnn", [(480, 640)], (72, 96)),
        ("small-cnn", [(10, 20), (30, 40), (50, 60)], (30, 40)),
        ("lenet5", [(8, 8)], (28, 28)),
        ("lenet5", [(300, 300)], (32, 32)),
        ("xception", [(10, 10)], (71, 71)),
        ("resnet50", [(100, 200)], (150, 150)),
        ("nasnet-large", [(1000, 1000)], (331, 331)),
    ],
)
def test_size_is_the_median_within_what_the_backbone_takes(backbone, shapes, expected):
    assert networks.default_size(backbone, shapes) == expected


# --- networks of our own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["small-cnn", "lenet5"])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_networks_take_every_size_from_their_minimum_on(backbone, channels):
    least = BACKBONES[backbone].minimum
    for size in ((least, least), (least, least + 9), (33, 47)):
        model = networks.build(backbone, size, channels, 3)
        logits = np.asarray(model(pixels(2, *size, channels), training=False))
        assert logits.shape == (2, 3)
        assert np.isfinite(logits).all()


def test_dropout_and_augmentation_rest_outside_training():
    model = networks.build("small-cnn", (8, 8), 3, 2)
    x = pixels(4, 8, 8, 3)
    plain = np.asarray(model(x, training=False))
    for photo in (True, False):
        wrapped = networks.augmented(model, photo=photo)
        np.testing.assert_allclose(np.asarray(wrapped(x, training=False)), plain, atol=1e-5)
        assert {w.path for w in wrapped.weights} == {w.path for w in model.weights}  # nothing of its own to be saved


@pytest.mark.parametrize("photo", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_differ_from_each_other_and_keep_shape_and_range(photo, channels):
    keras.utils.set_random_seed(0)
    x = np.repeat(pixels(1, 12, 10, channels), 6, axis=0)
    found = np.asarray(networks.RandomView(photo=photo)(x, training=True))
    assert found.shape == x.shape
    assert found.min() >= -1e-3
    assert found.max() <= 255.001
    assert len({image.tobytes() for image in found}) == 6


def test_only_photographs_are_mirrored():
    keras.utils.set_random_seed(0)
    x = np.zeros((200, 16, 16, 1), np.float32)
    x[:, :, :8] = 200.0  # bright on the left
    mirrored = {}
    for photo in (True, False):
        found = np.asarray(networks.RandomView(photo=photo)(x, training=True))
        mirrored[photo] = (found[:, :, :8].mean(axis=(1, 2, 3)) < found[:, :, 8:].mean(axis=(1, 2, 3))).mean()
    assert 0.3 < mirrored[True] < 0.7
    assert mirrored[False] == 0


def test_augmented_images_stay_close_to_the_original():
    keras.utils.set_random_seed(0)
    rows, columns = np.mgrid[0:32, 0:32]
    blob = 255 * np.exp(-((rows - 15.5) ** 2 + (columns - 15.5) ** 2) / 50)
    x = np.repeat(blob[None, :, :, None].astype(np.float32), 100, axis=0)
    found = np.asarray(networks.RandomView(photo=False)(x, training=True))[..., 0]
    weight = found.sum(axis=(1, 2))
    centre = (found * rows).sum(axis=(1, 2)) / weight, (found * columns).sum(axis=(1, 2)) / weight
    assert np.abs(np.mean(centre) - 15.5) < 0.5  # on average where it was
    assert max(np.abs(c - 15.5).max() for c in centre) <= 32 * networks.RandomView.SHIFT + 1
    assert np.ptp(centre[0]) > 2
