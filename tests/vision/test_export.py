"""Exports: what is written says the same as the pipeline, in a process of its own too, or nothing is left behind."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pipelines import load
from pipelines.errors import DataError, ParameterError
from vision import ImageClassifier, export

DIGITS = load_digits(n_class=3)
IMAGES = (DIGITS.images * 15.9).astype(np.uint8)
ALONE = """
import json, sys
import numpy as np
path, form, pixels, out = sys.argv[1:]
x = np.load(pixels)
if form == "onnx":
    import onnxruntime
    found = onnxruntime.InferenceSession(path).run(["probabilities"], {"pixels": x})[0]
elif form == "tflite":
    from ai_edge_litert.interpreter import Interpreter
    found = Interpreter(path).get_signature_runner()(pixels=x)["probabilities"]
else:
    import tensorflow as tf
    loaded = tf.saved_model.load(path)
    found = loaded.signatures["serving_default"](pixels=tf.constant(x))["probabilities"].numpy()
assert "vision" not in sys.modules and "keras" not in sys.modules or form == "saved-model"
np.save(out, found)
"""


def fitted(**params):
    options = {"backbone": "lenet5", "image_size": 28, "epochs": 1, "verbose": 0, "device": "cpu"} | params
    return ImageClassifier(**options).fit(IMAGES[:100], DIGITS.target[:100])


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture(scope="module")
def several():
    labels = np.column_stack([DIGITS.target[:100] == 0, DIGITS.target[:100] > 0]).astype(int)
    return ImageClassifier(backbone="lenet5", image_size=28, epochs=1, verbose=0, device="cpu").fit(IMAGES[:100], labels)


NAMES = {"saved-model": "digits", "onnx": "digits.onnx", "tflite": "digits.tflite"}


@pytest.mark.parametrize("form", export.FORMATS)
def test_says_the_same_in_a_process_of_its_own(model, form, tmp_path):
    done = model.export(tmp_path / NAMES[form], samples=IMAGES[100:130])
    assert (done.format, done.images, done.tolerance) == (form, 35, 1e-4)
    assert done.difference <= 1e-4
    settings = json.loads(done.settings.read_text())
    _, height, width, channels = settings["input"]["shape"]
    pixels = [np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)) for image in IMAGES[100:130]]
    np.save(tmp_path / "x.npy", np.array(pixels, np.float32).reshape(-1, height, width, channels))
    words = [sys.executable, "-c", ALONE, str(done.path), form, str(tmp_path / "x.npy"), str(tmp_path / "found.npy")]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, model.predict_proba(IMAGES[100:130]), atol=1e-4)
    labels = np.array(settings["labels"])[found.argmax(axis=1)]
    assert (labels == model.predict(IMAGES[100:130])).all()


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_temperature_and_several_labels_are_inside(several, form, tmp_path):
    several.temperature_ = 3.0
    done = several.export(tmp_path / NAMES[form])
    settings = json.loads(done.settings.read_text())
    assert settings["temperature"] == {"value": 3.0, "included": True}
    assert settings["several_labels"]
    assert settings["thresholds"] == several.threshold_.tolist()
    assert settings["labels"] == [0, 1]


def test_saved_then_loaded_then_exported(model, tmp_path):
    again = load(model.save(tmp_path / "model"), device="cpu")
    assert again.export(tmp_path / "digits.onnx").difference <= 1e-4


@pytest.mark.slow
def test_backbone_of_keras_applications(tmp_path):
    """Its scaling of pixels is a layer of ours, and its depthwise convolutions are the usual stumbling block."""
    colour = np.repeat(IMAGES[:60, :, :, None], 3, axis=3)
    options = {"backbone": "mobilenet-v2", "image_size": 32, "epochs": 1, "verbose": 0, "device": "cpu"}
    model = ImageClassifier(**options).fit(colour, DIGITS.target[:60], valid=0)
    for name in NAMES.values():
        assert model.export(tmp_path / name, samples=colour[:5]).difference <= 1e-4


def test_images_of_more_than_eight_bits(tmp_path):
    deep = (DIGITS.images[:60] * 4000).astype(np.uint16)
    options = {"backbone": "lenet5", "image_size": 28, "epochs": 1, "verbose": 0, "device": "cpu"}
    model = ImageClassifier(**options).fit(deep, DIGITS.target[:60])
    done = model.export(tmp_path / "deep.onnx", samples=deep[:5])
    told = json.loads(done.settings.read_text())["reading"]["value_range"]
    assert told == {"of_images_with_more_than_8_bits": model.value_range_, "mapped_to": [0, 255]}
    assert done.difference <= 1e-4


@pytest.mark.parametrize("form", export.FORMATS)
def test_what_says_something_else_is_not_left_behind(model, form, tmp_path, monkeypatch):
    needs, write, read = export._WAYS[form]

    def altered(path):
        run = read(path)
        return lambda pixels: run(pixels) + np.float32([2e-4, 0, 0])

    monkeypatch.setitem(export._WAYS, form, (needs, write, altered))
    with pytest.raises(DataError, match=r"image \d differs by 0\.0002, but at most 0\.0001"):
        model.export(tmp_path / NAMES[form])
    assert not list(tmp_path.iterdir())


def test_not_a_number_is_no_agreement(model, tmp_path, monkeypatch):
    needs, write, read = export._WAYS["onnx"]
    monkeypatch.setitem(export._WAYS, "onnx", (needs, write, lambda path: lambda pixels: read(path)(pixels) * np.nan))
    with pytest.raises(DataError, match="differs by nan"):
        model.export(tmp_path / "digits.onnx")
    assert not list(tmp_path.iterdir())


def test_other_decisions_are_an_error(model, tmp_path, monkeypatch):
    decide = iter([np.array([0]), np.array([1])])
    monkeypatch.setattr(model, "decide", lambda proba: next(decide), raising=False)
    with pytest.raises(DataError, match="takes image 0 for 0, the pipeline for 1"):
        model.export(tmp_path / "digits.onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_a_sentence(model, tmp_path, monkeypatch):
    def fail(network, path):
        raise ValueError("no such\noperation")

    monkeypatch.setitem(export._WAYS, "tflite", (("tensorflow",), fail, export._read_tflite))
    with pytest.raises(DataError, match=r"'lenet5' cannot be written as 'tflite' .*\(ValueError: no such operation\)"):
        model.export(tmp_path / "digits.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["saved-model", "onnx"])
def test_an_earlier_export_is_replaced_and_anything_else_left_alone(model, form, tmp_path):
    target = tmp_path / NAMES[form]
    settings = model.export(target).settings
    before = settings.stat().st_ino
    model.export(target)
    assert settings.stat().st_ino != before
    kept = {path.name for path in tmp_path.iterdir()}
    settings.write_text("{}")
    with pytest.raises(DataError, match="is not an earlier export"):
        model.export(target)
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert settings.read_text() == "{}"


def test_a_folder_with_other_things_is_left_alone(model, tmp_path):
    done = model.export(tmp_path / "digits")
    (done.path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not an earlier export"):
        model.export(tmp_path / "digits")
    with pytest.raises(DataError, match="is not an earlier export"):
        model.export(done.path.rename(tmp_path / "digits.onnx"))
    assert (tmp_path / "digits.onnx" / "notes.txt").read_text() == "mine"


def test_formats_and_endings(model, tmp_path):
    with pytest.raises(ParameterError, match="format='onx' is not known"):
        model.export(tmp_path / "a.onnx", format="onx")
    for name, form in (("a.pb", None), ("a.tflite", "onnx"), ("a", "tflite")):
        with pytest.raises(ParameterError, match="does not end as an export"):
            model.export(tmp_path / name, format=form)
    with pytest.raises(DataError, match="does not exist; create it"):
        model.export(tmp_path / "nowhere" / "a.onnx")
    assert export._form(tmp_path / "digits.v2", "saved-model") == "saved-model"


def test_another_backend_is_told_where_to_go(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "keras_backend", lambda: "torch")
    with pytest.raises(DataError, match="KERAS_BACKEND=tensorflow"):
        model.export(tmp_path / "a.onnx")


def test_nothing_is_written_to_the_screen(model, tmp_path, capfd):
    for name in NAMES.values():
        model.export(tmp_path / name)
    assert capfd.readouterr() == ("", "")
