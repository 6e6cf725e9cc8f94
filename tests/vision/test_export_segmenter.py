"""Exports of segmenters: images of any size, mirrored inside, say the same in a process of their own."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pipelines import load
from pipelines.errors import DataError
from vision import ImageSegmenter, export, segmenter_networks, tiles

from .test_export import ALONE, NAMES

SIZES = [(32, 32), (32, 32), (41, 50), (17, 90)]
QUICK = {"image_size": 32, "epochs": 1, "batch_size": 4, "verbose": 0, "device": "cpu"}


def discs(n=8):
    rng = np.random.default_rng(0)
    X, y = [], []
    for i in range(n):
        shape = SIZES[i % len(SIZES)]
        mask = (np.hypot(*(np.indices(shape) - np.reshape([rng.uniform(6, side - 6) for side in shape], (2, 1, 1)))) < 5) * 1
        X.append((120 * mask[:, :, None] + rng.integers(0, 60, (*shape, 3))).astype(np.uint8))
        y.append(mask.astype(np.uint8))
    return X, y


@pytest.fixture(scope="module")
def small_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter_networks, "_WIDTHS", (8, 16, 32))
        yield


@pytest.fixture(scope="module")
def model(small_network):
    X, y = discs()
    return ImageSegmenter(**QUICK, classes={"grass": 0, "disc": 1}).fit(X, y)


# the classifier's test takes every form, and what writes them is the same
@pytest.mark.parametrize(
    "form", ["onnx", *(pytest.param(form, marks=pytest.mark.slow) for form in export.FORMATS if form != "onnx")]
)
def test_says_the_same_in_a_process_of_its_own(model, form, tmp_path):
    X, _ = discs()
    done = model.export(tmp_path / NAMES[form], samples=X)
    assert (done.format, done.images) == (form, 6 + len(X))
    assert done.difference <= 1e-4
    settings = json.loads(done.settings.read_text())
    assert (settings["task"], settings["labels"], settings["numbers"]) == ("image-segmentation", ["grass", "disc"], [0, 1])
    assert settings["input"]["shape"] == [None, None, None, 3]
    np.save(tmp_path / "x.npy", X[2][None].astype(np.float32))
    words = [sys.executable, "-c", ALONE, str(done.path), form, str(tmp_path / "x.npy"), str(tmp_path / "found.npy")]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy")[0], model.predict_proba(X[2:3])[0], atol=1e-4)


@pytest.mark.parametrize(
    "form", ["onnx", *(pytest.param(form, marks=pytest.mark.slow) for form in export.FORMATS if form != "onnx")]
)
def test_images_are_moved_inside(model, form, tmp_path, monkeypatch):
    X, _ = discs()
    plain = model.predict_proba(X[2:3])[0]
    monkeypatch.setattr(model, "displacement_", [0.3, -0.4])
    assert np.abs(model.predict_proba(X[2:3])[0] - plain).max() > 1e-3
    assert model.export(tmp_path / NAMES[form], samples=X).difference <= 1e-4


@pytest.mark.slow
def test_mirrored_predictions_are_inside(small_network, tmp_path):
    X, y = discs()
    flipped = ImageSegmenter(**QUICK, augment="micrograph", test_flips=True).fit(X, y)
    plain = flipped.predict_proba(X[2:3])[0]
    flipped.test_flips = False
    assert np.abs(flipped.predict_proba(X[2:3])[0] - plain).max() > 1e-3
    flipped.test_flips = True
    assert flipped.export(tmp_path / "discs.onnx", samples=X).difference <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("params", [{"architecture": "fcn"}, {"architecture": "deeplab-v3-plus"}, {"backbone": "mobilenet"}])
def test_other_networks(small_network, params, tmp_path):
    X, y = discs()
    made = ImageSegmenter(**QUICK, **params).fit(X, y)
    for name in NAMES.values():
        assert made.export(tmp_path / name, samples=X).difference <= 1e-4


@pytest.mark.slow
def test_colours_are_told(small_network, tmp_path):
    X, y = discs()
    palette = np.array([(0, 128, 0), (200, 0, 0), (9, 9, 9)], np.uint8)
    painted = [palette[mask] for mask in y]
    for mask in painted:
        mask[:2] = palette[2]
    colours = {"grass": (0, 128, 0), "disc": (200, 0, 0)}
    made = ImageSegmenter(**QUICK, classes=colours, ignore_label=[9, 9, 9]).fit(X, painted)
    again = load(made.save(tmp_path / "model"), device="cpu")
    settings = json.loads(again.export(tmp_path / "discs.onnx").settings.read_text())
    assert settings["colours"] == [[0, 128, 0], [200, 0, 0]]


def test_samples_that_are_predicted_in_tiles_are_refused(model, tmp_path):
    with pytest.raises(DataError, match=rf"Image 1 of samples has 20 x {tiles.TILE + 6} pixels.*in tiles, an export whole"):
        model.export(tmp_path / "a.onnx", samples=[np.zeros((20, 20, 3), np.uint8), np.zeros((20, tiles.TILE + 6, 3), np.uint8)])
    assert not list(tmp_path.iterdir())


def test_what_says_something_else_is_not_left_behind(model, tmp_path, monkeypatch):
    needs, write, read = export._WAYS["onnx"]

    def altered(path):
        run = read(path)
        return lambda pixels: run(pixels) + np.float32([2e-4, 0])

    monkeypatch.setitem(export._WAYS, "onnx", (needs, write, altered))
    with pytest.raises(DataError, match=r"image 0 differs by 0\.0002, but at most 0\.0001"):
        model.export(tmp_path / "discs.onnx")
    assert not list(tmp_path.iterdir())
