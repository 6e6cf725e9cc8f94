"""`ImageClassifier`: what goes in, what comes out, what is refused, and what survives."""

import errno
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import expit

import pipelines
from pipelines import DataError, ParameterError
from pipelines.engines import load_framework
from vision import ImageClassifier, classification, images

from ..conftest import ROOT

QUICK = {"epochs": 1, "batch_size": 8, "verbose": 0, "augment": "none"}
SIZE = (12, 10)


def photo(i, size=SIZE):
    """A noisy picture, red for even and blue for odd numbers."""
    pixels = np.random.default_rng(i).integers(0, 60, (*size, 3), dtype=np.uint8)
    pixels[:, :, 0 if i % 2 == 0 else 2] += 180
    return pixels


def word(i):
    return "red" if i % 2 == 0 else "blue"


X24, Y24 = [photo(i) for i in range(24)], [word(i) for i in range(24)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The pictures as PNG files, in one folder a class."""
    root = tmp_path_factory.mktemp("photos")
    for i, (pixels, label) in enumerate(zip(X24, Y24, strict=True)):
        (root / label).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / label / f"{i:02d}.png")
    return root


@pytest.fixture(scope="module")
def model(folder):
    return ImageClassifier(**{**QUICK, "epochs": 3}).fit(*pipelines.data.folder(folder))


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("saved") / "m")


def learned_labels(y, share=0.0):
    """Run what `fit` does to labels, without training."""
    model = ImageClassifier(**QUICK)
    model.notes_ = []
    X = [photo(i) for i in range(len(y))]
    return model, *model._hold_out(X, y, share)


# --- samples ----------------------------------------------------------------------------------------------------------


def test_every_kind_of_sample_is_predicted_alike(model, folder):
    path = folder / "red" / "00.png"
    pixels = X24[0]
    with Image.open(path) as opened:
        X = [str(path), path, opened, Image.fromarray(pixels), pixels, pixels.astype(np.int64), pixels.astype(np.float64)]
        X += [np.dstack([pixels, np.full(SIZE, 255, np.uint8)])]
        proba = model.predict_proba(X)
    assert np.abs(proba - proba[0]).max() < 1e-6


def test_every_kind_of_sequence_is_predicted_alike(model, folder):
    paths = sorted(map(str, folder.rglob("*.png")))[:6]
    arrays = [images.decode(path) for path in paths]
    expected = model.predict_proba(paths)
    for X in (
        tuple(paths),
        np.array(paths),
        np.array(paths, dtype=object),
        pd.Series(paths, index=range(10, 16)),
        pd.DataFrame({"path": paths})["path"],
        arrays,
        np.stack(arrays),
        pd.Series(arrays),
    ):
        np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-6)


def test_grey_palette_and_cmyk_pictures_of_other_sizes_are_predicted(model, tmp_path):
    image = Image.fromarray(photo(0, (33, 21)))
    X = [image.convert(mode) for mode in ("L", "1", "P", "CMYK", "RGBA", "LA")]
    X += [photo(0, (5, 40)), photo(0)[:, :, :1], photo(0)[:, :, 0], np.zeros((3, 3), bool)]
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    proba = model.predict_proba([*X, tmp_path / "turned.jpg"])
    assert proba.shape == (11, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_predictions_are_labels_in_order(model, folder):
    X, y = pipelines.data.folder(folder)
    predicted = model.predict(X)
    assert predicted.tolist() == y
    assert predicted.dtype.kind == "U"
    assert model.predict(X[:1]).shape == (1,)
    assert model.score(X, y) == 1.0


@pytest.mark.parametrize("kind", ["n,H,W float", "n,H,W,C uint16", "mixed sizes"])
def test_fit_takes_arrays_and_mixed_sizes(kind):
    grey = np.stack([photo(i)[:, :, 0] for i in range(24)])
    X = {
        "n,H,W float": grey / 255,
        "n,H,W,C uint16": np.stack(X24).astype(np.uint16) * 200,
        "mixed sizes": [photo(i, (8 + i % 4, 16)) for i in range(24)],
    }[kind]
    model = ImageClassifier(**QUICK).fit(X, Y24)
    expected = {
        "n,H,W float": ([12, 10], 1, [0, 1]),
        "n,H,W,C uint16": ([12, 10], 3, [0, 239 * 200]),
        "mixed sizes": ([10, 16], 3, [0, 255]),
    }
    size, channels, values = expected[kind]
    assert (model.image_size_, model.channels_) == (size, channels)
    assert model.value_range_ == pytest.approx(values, abs=200)
    assert model.predict_proba(X[:5]).shape == (5, 2)


def test_image_size_is_taken_as_given(folder):
    X, y = pipelines.data.folder(folder)
    model = ImageClassifier(image_size=[8, 16], **QUICK).fit(X, y)
    assert model.image_size_ == [8, 16]
    assert model.model_.input_shape == (None, 8, 16, 3)


@pytest.mark.slow
def test_more_images_than_the_cache_holds_give_the_same_model(folder, monkeypatch):
    X, y = pipelines.data.folder(folder)
    whole = ImageClassifier(**QUICK).fit(X, y)
    monkeypatch.setattr(images, "CACHE_BYTES", 1000)
    read_again = ImageClassifier(**QUICK).fit(X, y)
    np.testing.assert_allclose(read_again.predict_proba(X), whole.predict_proba(X), atol=1e-5)


def test_embed_gives_what_the_last_layer_sees(model):
    features = model.embed(X24[:5])
    assert features.shape == (5, model.model_.get_layer("backbone").output_shape[-1])
    np.testing.assert_allclose(model.embed(X24[:1])[0], features[0], atol=1e-5)
    logits = np.asarray(model.model_.get_layer("head")(features, training=False))
    np.testing.assert_allclose(logits.argmax(axis=1), model.predict_proba(X24[:5]).argmax(axis=1))


@pytest.mark.slow
def test_memory_of_predict_does_not_grow_with_the_number_of_paths(saved, folder, run_python):
    code = f"""
import gc, itertools, resource, tracemalloc
from pathlib import Path
import pipelines
from vision import images

read, calls = images.open_file, itertools.count()

def collecting(path):  # Pillow leaves small cycles, which count only once the collector has had its turn
    if next(calls) % 500 == 0:
        gc.collect()
    return read(path)

images.open_file = collecting
model = pipelines.load({str(saved)!r})
files = sorted(map(str, Path({str(folder)!r}).rglob("*.png")))
peaks, resident = [], []
for count in (2000, 2000, 8000):
    X = (files * (count // len(files) + 1))[:count]
    tracemalloc.start()
    proba = model.predict_proba(X)
    peaks.append(tracemalloc.get_traced_memory()[1] - proba.nbytes)
    tracemalloc.stop()
    resident.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks, *resident)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    _, few, many, _, few_resident, many_resident = map(int, done.stdout.split())
    results = 6000 * 2 * 8  # bytes of the probabilities of the additional paths
    assert many - few < 12 * results
    assert (many_resident - few_resident) * 1024 < 30 * 2**20


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([3, 1, 3], [1, 3]),
        ([True, False, True], [False, True]),
        (np.array([2, 1, 2], np.uint8), [1, 2]),
        (np.array(["b", "a", "b"]), ["a", "b"]),
        (np.array(["b", "a", "b"], dtype=object), ["a", "b"]),
        (pd.Series(["b", "a", "b"], index=[7, 8, 9]), ["a", "b"]),
        (pd.Series(["b", "a", "b"], dtype="category"), ["a", "b"]),
        (pd.Series([True, False, True], dtype="boolean"), [False, True]),
        ([1.0, 0.0, 1.0], [0.0, 1.0]),
        (("猫", "犬", "猫"), ["犬", "猫"]),
        (["", "a", ""], ["", "a"]),
    ],
    ids=str,
)
def test_labels_come_back_in_their_kind(labels, classes):
    model, _, codes, valid = learned_labels(labels)
    assert model.classes_.tolist() == classes
    assert [type(label) for label in model.classes_.tolist()] == [type(label) for label in classes]
    assert valid is None
    assert model.decide(np.eye(2)[codes]).tolist() == list(labels)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "a", "a"], r"one class only, 'a' \(3 samples\)"),
        ([1, 1, 1], "one class only, 1"),
        (["a", 1, "b"], "mixes text and numbers: sample 0 has 'a', sample 1 has 1"),
        (["a", None, "b"], "label of sample 1 is missing"),
        ([0.0, float("nan"), 1.0], "label of sample 1 is missing"),
        (pd.Series(["a", None, "b"], dtype="string"), "label of sample 1 is missing"),
        ([0.5, 1.0, 2.0], "label of sample 0 is 0.5, a measurement rather than a class"),
        ([0, object(), 1], "label of sample 1 is <object"),
        (None, "y is missing"),
        (np.zeros((3, 2, 2)), "y has 3 dimensions"),
        (np.array([[1], [0], [1]]), "several labels a sample need at least two"),
        (np.array([[1, 0], [2, 0], [0, 1]]), r"y\[1, 0\] is .*2.*; a label indicator holds only 0 and 1"),
        (np.array([[1, 0], [np.nan, 0], [0, 1]]), "a label indicator holds only 0 and 1"),
        ([{"a"}, {"a"}, set()], "several labels a sample need at least two"),
        ([{"a", 1}, {"b"}, set()], "mixes? text and numbers"),
        ([{"a"}, {None}, {"b"}], "sample 1 .*missing|sample 1 is missing"),
        ([[0, 1, 1], [1, 0, 0], [0, 0, 1]], r"np\.array\(y\)"),
        ([[0, 1], [1, 0], [1, 1]], r"np\.array\(y\)"),
    ],
)
def test_labels_that_cannot_be_used_are_named(y, message):
    with pytest.raises(DataError, match=message):
        learned_labels(y if y is not None else None) if y is not None else ImageClassifier(**QUICK).fit(X24, None)


@pytest.mark.parametrize(
    "y",
    [
        np.array([[1, 0], [0, 0], [1, 1]]),
        np.array([[True, False], [False, False], [True, True]]),
        pd.DataFrame({"a": [1, 0, 1], "b": [0, 0, 1]}),
        [{"a"}, set(), {"a", "b"}],
        [["a"], [], ["a", "b"]],
        [("a",), (), ("b", "a")],
        [frozenset("a"), frozenset(), frozenset("ab")],
        pd.Series([{"a"}, set(), {"b", "a"}]),
    ],
    ids=lambda y: type(y).__name__,
)
def test_several_labels_a_sample_in_every_form(y):
    model, _, codes, _ = learned_labels(y)
    assert model.multilabel_
    assert codes.tolist() == [[1, 0], [0, 0], [1, 1]]
    assert model.classes_.tolist() == ([0, 1] if isinstance(y, np.ndarray) else ["a", "b"])


def test_indicator_table_with_its_columns_in_another_order_is_refused():
    table = pd.DataFrame({"a": [1, 0, 1], "b": [0, 0, 1]})
    model, *_ = learned_labels(table)
    assert model._targets(table).tolist() == [[1, 0], [0, 0], [1, 1]]
    for other in (table[["b", "a"]], table.rename(columns={"a": "c"})):
        with pytest.raises(DataError, match=r"expected \['a', 'b'\], in that order"):
            model._targets(other)


def test_label_never_seen_is_named_at_evaluate(model):
    with pytest.raises(DataError, match=r"label of sample 1, 'rad', was never seen in training\. Did you mean 'red'\?"):
        model.evaluate(X24[:2], ["red", "rad"])
    with pytest.raises(DataError, match="y is missing"):
        model.evaluate(X24[:2])
    with pytest.raises(DataError, match="fitted with one label a sample"):
        model.evaluate(X24[:2], np.eye(2))


def test_class_with_a_single_sample_is_trained_on_and_said():
    y = [*Y24[:23], "green"]
    model, X, codes, valid = learned_labels(y, share=0.2)
    assert "Classes with a single sample are not in the validation part: green." in model.notes_
    assert (model.classes_[codes] == "green").sum() == 1
    assert "green" not in model.classes_[valid[1]]
    assert len(X) + len(valid[0]) == 24


def test_every_class_is_in_the_training_part_however_small():
    y = [f"single {i}" for i in range(30)] + ["pair"] * 2
    for share in (0.1, 0.3):
        model, _, codes, _ = learned_labels(y, share)
        assert set(codes) == set(range(len(model.classes_)))


def test_pictures_that_are_all_copies_are_trained_on_without_validation():
    X = [np.zeros((8, 8), np.uint8)] * 15 + [np.full((8, 8), 255, np.uint8)] * 15
    model = ImageClassifier(**QUICK).fit(X, [0] * 15 + [1] * 15)
    assert any("No validation part" in note for note in model.notes_)


def test_few_samples_are_trained_on_without_validation_and_it_is_said():
    model, X, _, valid = learned_labels(Y24[:19], share=0.1)
    assert valid is None
    assert len(X) == 19
    assert model.notes_ == ["No validation part: 19 samples are too few to split, so the last epoch's weights are kept."]


@pytest.mark.parametrize("valid", ["half", (X24[:2],), True, 1.5, -0.1, (X24[:2], ["red"]), (X24[:2], ["red", "green"])])
def test_validation_that_cannot_be_used_is_refused(valid):
    with pytest.raises(DataError, match=r"valid|never seen|X has 2 and y has 1"):
        ImageClassifier(**QUICK).fit(X24, Y24, valid=valid)


def test_validation_samples_are_checked_before_training():
    with pytest.raises(DataError, match=r"Sample 1 .*does not exist"):
        ImageClassifier(**QUICK).fit(X24, Y24, valid=([X24[0], "nowhere.png"], ["red", "blue"]))


# --- several labels ---------------------------------------------------------------------------------------------------


def several(i):
    """Return a picture and its labels: bright on the left, bright on the right, both, or none."""
    pixels = np.random.default_rng(i).integers(0, 40, (8, 8), dtype=np.uint8)
    labels = {name for bit, name in enumerate(("left", "right")) if i >> bit & 1}
    pixels[:, :4] += 200 * ("left" in labels)
    pixels[:, 4:] += 200 * ("right" in labels)
    return pixels, labels


@pytest.fixture(scope="module")
def multilabel():
    X, y = zip(*[several(i) for i in range(80)], strict=True)
    return ImageClassifier(**{**QUICK, "epochs": 8}).fit(list(X), list(y), valid=0.25)


def test_several_labels_are_predicted_as_an_indicator(multilabel):
    X, y = zip(*[several(i) for i in range(100, 120)], strict=True)
    proba, predicted = multilabel.predict_proba(X), multilabel.predict(X)
    assert multilabel.classes_.tolist() == ["left", "right"]
    assert proba.shape == predicted.shape == (20, 2)
    assert np.array_equal(predicted, proba >= multilabel.threshold_)
    assert predicted.dtype.kind == "i"
    assert ((multilabel.threshold_ > 0) & (multilabel.threshold_ < 1)).all()
    report = multilabel.evaluate(X, list(y))
    assert report.n == 20
    assert multilabel.score(X, y) == multilabel.score(X, np.array([["left" in s, "right" in s] for s in y]))
    with pytest.raises(DataError, match="fitted with several labels"):
        multilabel.evaluate(X, ["left"] * 20)
    with pytest.raises(DataError, match="'up' of sample 3 was never seen"):
        multilabel.evaluate(X, [*y[:3], {"up"}, *y[4:]])
    with pytest.raises(DataError, match="3 label columns, but training had 2"):
        multilabel.evaluate(X, np.zeros((20, 3)))


def test_several_labels_survive_saving(multilabel, tmp_path):
    X = [several(i)[0] for i in range(10)]
    loaded = pipelines.load(multilabel.save(tmp_path / "m"))
    np.testing.assert_allclose(loaded.predict_proba(X), multilabel.predict_proba(X), atol=1e-6)
    assert np.array_equal(loaded.predict(X), multilabel.predict(X))
    assert np.array_equal(loaded.threshold_, multilabel.threshold_)


# --- class weights ----------------------------------------------------------------------------------------------------


def weights_of(y, class_weight):
    model, X, codes, _ = learned_labels(y)
    model._learn(X, codes)
    model.class_weight = class_weight
    return model._class_weights()


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    y = ["a"] * 6 + ["b"] * 3 + ["c"]
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=y)
    np.testing.assert_allclose(weights_of(y, "balanced"), expected)
    np.testing.assert_allclose(weights_of(y, None), 1)
    np.testing.assert_allclose(weights_of([{"a"}, {"b"}, {"b"}, {"b", "a"}], "balanced"), [1, 1 / 3])


def test_weights_by_label_name_or_number():
    assert weights_of(["a", "b", "a"], {"b": 5}).tolist() == [1, 5]
    assert weights_of([0, 1, 0], {1: 5}).tolist() == [1, 5]
    assert weights_of([0, 1, 0], {"1": 5}).tolist() == [1, 5]


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"rad": 2}, "class_weight names the class 'rad'. Did you mean 'red'"),
        ({"red": -1}, "at least 0"),
        ({"red": "much"}, "must be a number"),
        ("balance", "Did you mean 'balanced'"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_by_fit(class_weight, message):
    with pytest.raises(ParameterError, match=message):
        ImageClassifier(class_weight=class_weight, **QUICK).fit(X24, Y24)


def test_weights_reach_the_loss():
    from vision import networks

    logits, y = np.array([[2.0, -1.0], [0.5, 0.3]], np.float32), np.array([0, 1])
    each = -np.log([expit(3.0), expit(-0.2)])
    loss = networks.ClassWeightedLoss(np.array([1.0, 10.0]), multilabel=False)
    assert float(loss(y[:, None], logits)) == pytest.approx((each * [1, 10]).mean(), rel=1e-5)
    loss = networks.ClassWeightedLoss(np.array([1.0, 10.0]), multilabel=True)
    target = np.array([[1, 0], [0, 1]], np.float32)
    cost = -np.log(np.where(target == 1, expit(logits), 1 - expit(logits))) * [[1, 1], [1, 10]]
    assert float(loss(target, logits)) == pytest.approx(cost.mean(), rel=1e-5)


def test_numbers_from_numpy_are_as_good_as_pythons(tmp_path):
    model = ImageClassifier(**{**QUICK, "epochs": np.int64(1), "lr": np.float32(1e-3), "seed": np.int64(3)})
    loaded = pipelines.load(model.fit(X24, Y24).save(tmp_path / "m"))
    assert (loaded.epochs, loaded.seed) == (1, 3)


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone": "resnet5"}, "Did you mean 'resnet50'"),
        ({"augment": "photos"}, "Did you mean 'photo'"),
        ({"augment": None}, "augment=None is not known"),
        ({"freeze": 1}, "freeze=1 is not known"),
        ({"freeze": True}, "freeze=True would train on random features"),
        ({"image_size": 3}, "needs images of at least 4 x 4 pixels"),
        ({"image_size": 0}, "image_size must be an integer of at least 1|from 1 to 10000"),
        ({"image_size": [8]}, r"image_size must be a side or \(height, width\)"),
        ({"image_size": [8, 8, 3]}, r"image_size must be a side or \(height, width\)"),
        ({"image_size": "large"}, "image_size must be"),
        ({"image_size": 8.5}, "image_size must be"),
        ({"image_size": [8, "x"]}, "image_size must be an integer"),
        ({"image_size": True}, "image_size must be"),
        ({"weights": "imagenet"}, "'small-cnn' has no ImageNet weights"),
        ({"weights": "nowhere.h5"}, "not None, 'imagenet', an existing .h5 file or the folder"),
        ({"weights": 3}, "weights=3"),
        ({"backbone": "inception-v3", "image_size": 74}, "needs images of at least 75 x 75 pixels, but image_size=74"),
        ({"backbone": "lenet5", "image_size": [32, 27]}, "needs images of at least 28 x 28"),
        ({"class_weight": [1, 2]}, "class_weight"),
    ],
    ids=str,
)
def test_parameters_that_cannot_be_used_are_refused_by_fit(params, message):
    model = ImageClassifier(**{**QUICK, **params})
    with pytest.raises(ParameterError, match=message):
        model.fit(X24, Y24)


def test_constructor_typo_gets_a_suggestion():
    with pytest.raises(ParameterError, match=r"ImageClassifier has no parameter 'backbon'\. Did you mean 'backbone'\?"):
        ImageClassifier(backbon="lenet5")


@pytest.mark.parametrize(
    ("channels", "classes", "kind"),
    [
        (3, ["cat", "dog"], "photo"),
        (1, ["cat", "dog"], "shift"),
        (3, ["0", "1"], "shift"),
        (3, [0, 10], "shift"),
        (3, ["a", "b"], "shift"),
        (3, ["é", "b"], "shift"),
        (3, ["a", "cat"], "photo"),
    ],
)
def test_automatic_augmentation_mirrors_photographs_only(channels, classes, kind):
    model = ImageClassifier()
    model.notes_, model.channels_, model.classes_ = [], channels, np.array(classes)
    assert model._auto_augment() == kind
    assert model.notes_[0].startswith(f'augment="auto" chose "{kind}"')


# --- bad input, before any training -----------------------------------------------------------------------------------


@pytest.fixture
def no_training(monkeypatch):
    """Fail if training starts."""

    def train(*arguments, **options):
        raise AssertionError("training started")

    monkeypatch.setattr(ImageClassifier, "_stage", train)


def bad_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


def truncated_jpeg(tmp_path):
    Image.fromarray(photo(0, (64, 64))).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    return bad_file(tmp_path, "cut.jpg", whole[: len(whole) // 2])


def bomb(tmp_path):
    from .test_images import png_of

    return bad_file(tmp_path, "bomb.png", png_of(60_000, 60_000))


BAD_SAMPLES = {
    "truncated JPEG": (truncated_jpeg, "cut.jpg"),
    "empty file": (lambda tmp: bad_file(tmp, "empty.jpg", b""), r"empty\.jpg.*is an empty file"),
    "text named png": (lambda tmp: bad_file(tmp, "text.png", b"hello"), r"text\.png.*is no image"),
    "missing file": (lambda tmp: tmp / "gone.png", r"gone\.png.*does not exist"),
    "folder": (lambda tmp: tmp, "is a folder"),
    "zero-sized image": (lambda tmp: Image.new("RGB", (0, 0)), "has no pixels"),
    "zero-sized array": (lambda tmp: np.zeros((0, 4, 3)), "has no pixels"),
    "decompression bomb": (bomb, r"bomb\.png.*decompression bomb"),
    "not a number": (lambda tmp: np.full((4, 4), np.nan), "has the value nan"),
    "infinite": (lambda tmp: np.full((4, 4), np.inf), "has the value inf"),
    "complex": (lambda tmp: np.zeros((4, 4), complex), "dtype complex128"),
    "object": (lambda tmp: np.full((4, 4), None), "dtype object"),
    "one dimension": (lambda tmp: np.zeros(16), "1 dimensions"),
    "five dimensions": (lambda tmp: np.zeros((1, 1, 4, 4, 3)), "5 dimensions"),
    "two channels": (lambda tmp: np.zeros((4, 4, 2)), "2 channels"),
    "no sample at all": (lambda tmp: None, "NoneType"),
}


@pytest.mark.parametrize("name", sorted(BAD_SAMPLES))
def test_bad_sample_is_named_before_training_and_in_every_use(name, model, tmp_path, no_training):
    make, message = BAD_SAMPLES[name]
    X = [*X24[:5], make(tmp_path), *X24[6:]]
    uses = [lambda: ImageClassifier(**QUICK).fit(X, Y24), lambda: model.evaluate(X, Y24), lambda: model.score(X, Y24)]
    uses += [lambda: model.predict(X), lambda: model.predict_proba(X), lambda: model.embed(X)]
    for use in uses:
        with pytest.raises(DataError, match=rf"Sample 5 .*{message}"):
            use()


BAD_CALLS = {
    "lengths differ": (lambda tmp: (X24, Y24[:-1]), "X has 24 and y has 23"),
    "empty X": (lambda tmp: ([], []), "X is empty"),
    "one class only": (lambda tmp: (X24, ["red"] * 24), "one class only, 'red'"),
    "no labels": (lambda tmp: (X24, None), "y is missing"),
    "one path": (lambda tmp: ("photo.jpg", ["red"]), "Pass it as a list"),
    "labels in a set": (lambda tmp: (X24[:2], {"red", "blue"}), "y must be a sequence"),
    "flat rows": (lambda tmp: (np.zeros((24, 64)), Y24), r"expected \(n, H, W\)"),
    "a table": (lambda tmp: (pd.DataFrame({"path": ["a.png"], "size": [1]}), ["red"]), "column"),
    "complex array": (lambda tmp: (np.zeros((24, 8, 8), complex), Y24), "dtype complex128"),
    "array with nan": (lambda tmp: (np.full((24, 8, 8), np.nan), Y24), "Sample 0 has the value nan"),
}


@pytest.mark.parametrize("name", sorted(BAD_CALLS))
def test_bad_call_of_fit_is_explained_before_training(name, tmp_path, no_training):
    make, message = BAD_CALLS[name]
    with pytest.raises(DataError, match=message):
        ImageClassifier(**QUICK).fit(*make(tmp_path))


@pytest.mark.parametrize("make", [lambda tmp: tmp / "gone", lambda tmp: tmp])
def test_missing_folder_and_folder_without_images_are_named(make, tmp_path):
    with pytest.raises(DataError, match=re.escape(str(make(tmp_path)))):
        pipelines.data.folder(make(tmp_path))


def test_backbone_that_needs_larger_images_brings_small_ones_to_its_size():
    from vision import networks

    assert networks.default_size("inception-v3", [(20, 30)]) == (75, 75)
    assert networks.default_size("lenet5", [(8, 8)]) == (28, 28)
    assert networks.default_size("resnet50", [(1000, 2000)]) == (224, 224)


# --- saving -----------------------------------------------------------------------------------------------------------


def test_full_disk_while_saving_is_said_and_harmless(model, saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(model._engine, "save_weights", full)
    with pytest.raises(DataError, match=r"the disk is full\. Nothing was changed there"):
        model.save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_really_full_disk_while_saving_is_a_data_error(saved, tmp_path, run_python):
    code = f"""
import resource, pipelines
model = pipelines.load({str(saved)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    model.save({str(tmp_path / "m")!r})
except pipelines.DataError as error:
    print("refused:", error)
"""
    done = run_python(code)
    assert done.stdout.startswith("refused: The pipeline could not be saved"), done.stderr
    assert os.listdir(tmp_path) == []


def test_unwritable_place_is_named(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"could not be saved to .*file/m"):
        model.save(tmp_path / "file" / "m")


def test_loaded_pipeline_is_the_same_and_goes_on_like_the_first(model, saved, folder, tmp_path):
    X, y = pipelines.data.folder(folder)
    loaded = ImageClassifier.load(saved)
    assert loaded.get_params() == model.get_params()
    assert (loaded.history_, loaded.notes_) == (model.history_, model.notes_)
    np.testing.assert_allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(loaded.embed(X[:3]), model.embed(X[:3]), atol=1e-5)
    one, other = loaded.evaluate(X, y), model.evaluate(X, y)
    assert one.metrics == pytest.approx(other.metrics, nan_ok=True, abs=1e-5)
    again = pipelines.load(loaded.save(tmp_path / "again"))
    assert again.report_ == one
    assert again.fit(X, y).predict(X).shape == (24,)


# --- pretrained weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_frozen_backbone_from_a_saved_pipeline_is_kept_as_it_was(model, saved, kind, tmp_path):
    tuned = ImageClassifier(**QUICK, weights=kind(saved), freeze=True).fit(X24, ["warm" if w == "red" else "cold" for w in Y24])
    for one, other in zip(
        tuned.model_.get_layer("backbone").get_weights(), model.model_.get_layer("backbone").get_weights(), strict=True
    ):
        assert np.array_equal(one, other)
    np.testing.assert_allclose(tuned.embed(X24[:3]), model.embed(X24[:3]), atol=1e-5)
    assert tuned.classes_.tolist() == ["cold", "warm"]
    loaded = pipelines.load(tuned.save(tmp_path / "m"))
    np.testing.assert_allclose(loaded.predict_proba(X24), tuned.predict_proba(X24), atol=1e-6)


def test_features_of_a_frozen_backbone_are_computed_once(saved, monkeypatch):
    engine = pipelines.engines.engine("keras")
    sizes, infer = [], engine.infer

    def counting(network, batches, **options):
        sizes.append((network.name, batches.n))
        return infer(network, batches, **options)

    monkeypatch.setattr(engine, "infer", counting)
    ImageClassifier(**{**QUICK, "epochs": 4}, weights=str(saved), freeze=True).fit(X24, Y24)
    assert sorted(n for name, n in sizes if name == "backbone") == [2, 22]


def test_fine_tuning_changes_the_backbone_but_not_its_statistics(model, saved, tmp_path):
    tuned = ImageClassifier(**QUICK, weights=str(saved)).fit(X24, Y24)
    pairs = zip(tuned.model_.get_layer("backbone").weights, model.model_.get_layer("backbone").weights, strict=True)
    changed = {one.path.rpartition("/")[2]: not np.array_equal(one.numpy(), other.numpy()) for one, other in pairs}
    assert changed["kernel"]
    assert not changed["moving_mean"]
    assert not changed["moving_variance"]
    loaded = pipelines.load(tuned.save(tmp_path / "m"))
    np.testing.assert_allclose(loaded.predict_proba(X24), tuned.predict_proba(X24), atol=1e-6)


def test_pipeline_with_another_backbone_or_other_channels_is_refused(saved):
    with pytest.raises(DataError, match="with another backbone; expected 'lenet5'"):
        ImageClassifier(**QUICK, backbone="lenet5", weights=str(saved)).fit(X24, Y24)
    with pytest.raises(DataError, match=r"was trained on images of 3 channel\(s\), these have 1"):
        ImageClassifier(**QUICK, weights=str(saved)).fit([x[:, :, 0] for x in X24], Y24)


def test_pipeline_whose_backbone_depends_on_the_size_is_refused_with_a_sentence(tmp_path):
    small = ImageClassifier(**QUICK, backbone="lenet5", image_size=28).fit(X24, Y24).save(tmp_path / "m")
    with pytest.raises(DataError, match="image_size"):
        ImageClassifier(**QUICK, backbone="lenet5", image_size=40, weights=str(small)).fit(X24, Y24)


def test_folder_that_is_no_pipeline_is_refused_as_weights(tmp_path):
    with pytest.raises(ValueError, match="is no saved pipeline"):
        ImageClassifier(**QUICK, weights=str(tmp_path)).fit(X24, Y24)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipping nested container", "ignore:__array__ implementation")  # of Keras, on a mismatch
def test_weights_come_from_a_local_file(tmp_path):
    keras = load_framework("keras")
    application = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    application.save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "bad.h5").write_bytes(b"no weights")
    params = {**QUICK, "backbone": "mobilenet", "image_size": 32, "freeze": True}
    tuned = ImageClassifier(**params, weights=str(tmp_path / "w.weights.h5")).fit(X24, Y24)
    inner = tuned.model_.get_layer("backbone").get_layer("application")
    assert all(np.array_equal(a, b) for a, b in zip(inner.get_weights(), application.get_weights(), strict=True))
    with pytest.raises(DataError, match="does not hold weights for 'mobilenet' without its top"):
        ImageClassifier(**params, weights=str(tmp_path / "bad.h5")).fit(X24, Y24)
    with pytest.raises(DataError, match="does not hold weights for 'mobilenet-v2'"):
        ImageClassifier(**{**params, "backbone": "mobilenet-v2"}, weights=str(tmp_path / "w.weights.h5")).fit(X24, Y24)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "file"),
    [
        ("mobilenet-v3-small", "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"),
        ("efficientnet-v2-b0", "efficientnetv2-b0_notop.h5"),
    ],
)
def test_imagenet_weights_that_are_not_here_are_named_with_their_place(backbone, file, tmp_path, run_python):
    code = f"""
import urllib.error, numpy as np
from pipelines import DataError
from pipelines.engines import load_framework
from vision import ImageClassifier
load_framework("keras")
from keras.src.utils import file_utils

def no_network(*arguments, **options):
    raise urllib.error.URLError("no network")

file_utils.urlretrieve = no_network
X = np.zeros((4, 32, 32, 3), np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None, None]
try:
    ImageClassifier(backbone={backbone!r}, weights="imagenet", epochs=1, verbose=0).fit(X, [0, 1, 0, 1])
except DataError as error:
    print(error)
"""
    done = run_python(code, env={"KERAS_HOME": str(tmp_path)})
    assert file in done.stdout, done.stdout + done.stderr
    assert f"{tmp_path}/models" in done.stdout
    assert "Put that file into" in done.stdout


# --- interruption and resuming ----------------------------------------------------------------------------------------


def interrupt(monkeypatch, stage, epoch, error=KeyboardInterrupt):
    """Let Ctrl-C, or another error, fall into the second step of an epoch of a stage, both counted from 0."""
    stages = []

    class Interrupting(classification.Progress):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            stages.append(self)
            self.live = True  # watched, as on a terminal

        def step(self, now, step):
            if (len(stages) - 1, now, step) == (stage, epoch, 1):
                raise error

    monkeypatch.setattr(classification, "Progress", Interrupting)


def test_interrupted_fit_keeps_what_was_learned_and_says_so(monkeypatch, tmp_path):
    interrupt(monkeypatch, stage=0, epoch=1)
    model = ImageClassifier(**{**QUICK, "epochs": 9})
    with pytest.warns(UserWarning, match="interrupted after 1 .*the best weights so far are kept"):
        fit_through_interruption(model)
    assert len(model.history_) == 1
    report = model.evaluate(X24, Y24)
    assert any("interrupted after 1 " in note for note in report.notes)
    loaded = pipelines.load(model.save(tmp_path / "m"))
    assert np.array_equal(loaded.predict(X24), model.predict(X24))


def test_interruption_in_the_first_epoch_leaves_the_earlier_fit(monkeypatch, folder):
    model = ImageClassifier(**QUICK).fit(X24, Y24)
    expected = model.predict_proba(X24)
    interrupt(monkeypatch, stage=0, epoch=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X24, [f"not {w}" for w in Y24])
    assert np.array_equal(model.predict_proba(X24), expected)
    assert model.classes_.tolist() == ["blue", "red"]


def test_interruption_at_the_start_of_fine_tuning_keeps_the_trained_head(monkeypatch, model, saved):
    interrupt(monkeypatch, stage=1, epoch=0)
    with pytest.warns(UserWarning, match="interrupted"):
        tuned = fit_through_interruption(ImageClassifier(**QUICK, weights=str(saved)))
    assert tuned.history_[-1]["interrupted"]
    np.testing.assert_allclose(tuned.embed(X24), model.embed(X24), atol=1e-5)  # as before the broken-off epoch
    assert tuned.predict(X24).shape == (24,)


def fit_through_interruption(model):
    """Fit; an interruption that comes through is a failure of the test, not the end of the tests."""
    try:
        return model.fit(X24, Y24)
    except KeyboardInterrupt:
        pytest.fail("the interruption came through")


def test_diverged_fit_keeps_the_best_epoch_and_says_so(monkeypatch):
    engine = pipelines.engines.engine("keras")
    train = engine.train

    def diverging(*arguments, **options):
        history = train(*arguments, **options)
        history[-1]["diverged"] = True
        return history

    monkeypatch.setattr(engine, "train", diverging)
    with pytest.warns(UserWarning, match="loss .*smaller lr"):
        model = ImageClassifier(**QUICK).fit(X24, Y24)
    assert any("smaller lr" in note for note in model.notes_)


class PowerCutError(Exception):
    """Stands for the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "epoch"), [(0, 1), (1, 1)])
def test_resumed_fine_tuning_ends_like_an_uninterrupted_one(monkeypatch, saved, tmp_path, stage, epoch):
    params = {**QUICK, "epochs": 2, "augment": "photo", "weights": str(saved)}
    whole = ImageClassifier(**params).fit(X24, Y24)
    with monkeypatch.context() as patch:
        interrupt(patch, stage, epoch, PowerCutError)
        with pytest.raises(PowerCutError):
            ImageClassifier(**params).fit(X24, Y24, resume=tmp_path / "checkpoints")
    resumed = ImageClassifier(**params).fit(X24, Y24, resume=tmp_path / "checkpoints")
    for one, other in zip(resumed.model_.get_weights(), whole.model_.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert resumed.history_[-1]["loss"] == pytest.approx(whole.history_[-1]["loss"], abs=1e-6)


OTHER_FITS = {
    "another rate": ({"lr": 0.5}, X24, Y24),
    "another seed": ({"seed": 5}, X24, Y24),
    "other labels": ({}, X24, [*Y24[1:], Y24[0]]),
    "other pictures": ({}, [255 - x for x in X24], Y24),
    "one other picture": ({}, [*X24[:-1], X24[-1] + np.uint8(1)], Y24),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints")
    ImageClassifier(**QUICK).fit(X24, Y24, resume=path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OTHER_FITS))
def test_checkpoint_of_another_fit_is_refused(name, checkpoints):
    params, X, y = OTHER_FITS[name]
    with pytest.raises(DataError, match="other parameters or data"):
        ImageClassifier(**{**QUICK, **params}).fit(X, y, resume=checkpoints)


def test_checkpoint_serves_on_another_device_and_more_talkative(checkpoints, monkeypatch):
    interrupt(monkeypatch, 0, 0, PowerCutError)  # any step would fail
    ImageClassifier(**{**QUICK, "verbose": 1, "device": "cpu"}).fit(X24, Y24, resume=checkpoints)


def test_checkpoint_notices_a_file_that_changed(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "photos")
    X, y = pipelines.data.folder(tmp_path / "photos")
    monkeypatch.setattr(images, "CACHE_BYTES", 1000)  # paths stay paths
    ImageClassifier(**QUICK).fit(X, y, resume=tmp_path / "c")
    ImageClassifier(**QUICK).fit(X, y, resume=tmp_path / "c")
    Image.fromarray(photo(99)).save(X[7])
    with pytest.raises(DataError, match="other parameters or data"):
        ImageClassifier(**QUICK).fit(X, y, resume=tmp_path / "c")


FITTING = """
import sys
import numpy as np
from tests.vision.test_classification import X24, Y24, QUICK
from vision import ImageClassifier

model = ImageClassifier(**{**QUICK, "epochs": int(sys.argv[1]), "verbose": 1, "augment": "photo"})
model.fit(X24, Y24, resume=sys.argv[2] if len(sys.argv) > 2 else None)
print(len(model.history_), model.history_[-1].get("interrupted"), model.predict(X24).shape, flush=True)
if len(sys.argv) > 3:
    np.savez(sys.argv[3], *model.model_.get_weights())
"""


def fitting(*arguments):
    """Start a fit in a process of its own."""
    command = [sys.executable, "-c", FITTING, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_epoch(process, epoch):
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(f"epoch {epoch}/"):
            return
    pytest.fail("".join(lines))


@pytest.mark.slow
def test_real_ctrl_c_keeps_the_best_weights_and_warns():
    with fitting(2000) as process:
        wait_for_epoch(process, 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert re.fullmatch(r"\d+ True \(24,\)\n", out)
    assert "UserWarning: Training was interrupted after" in err


@pytest.mark.slow
def test_fit_killed_by_the_system_ends_like_an_uninterrupted_one(tmp_path):
    with fitting(20, tmp_path / "one", tmp_path / "one.npz") as process:
        wait_for_epoch(process, 3)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    for name in ("one", "whole"):
        with fitting(20, tmp_path / name, tmp_path / f"{name}.npz") as process:
            _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert (name == "one") != ("epoch 1/20" in err)
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "whole.npz") as whole:
        for key in whole.files:
            np.testing.assert_allclose(one[key], whole[key], rtol=0, atol=1e-5)


# --- reports ----------------------------------------------------------------------------------------------------------


def test_report_has_the_pixels_baseline_and_pictures_of_mistakes(model, folder, tmp_path):
    X, y = pipelines.data.folder(folder)
    wrong = ["blue" if label == "red" else "red" for label in y]
    report = model.evaluate(X, wrong)
    assert {"majority class", "logistic regression"} <= set(report.tables["baselines"].index)
    assert len(report.examples) == 12
    assert all(images.decode(Image.open(io.BytesIO(example.image))).shape[2] == 3 for example in report.examples)
    assert all("taken for" in example.caption for example in report.examples)
    report.save(tmp_path / "r.html")
    assert "data:image/png" in (tmp_path / "r.html").read_text()


def test_report_has_a_row_a_group(model):
    report = model.evaluate(X24, Y24, groups=["a", "b", "c"] * 8)
    assert any({"a", "b", "c"} <= set(map(str, table.index)) for table in report.tables.values())
    with pytest.raises(DataError, match="groups"):
        model.evaluate(X24, Y24, groups=["a"])


def test_history_and_parameters_are_plain_json(model):
    json.dumps([model.history_, model.notes_, model.get_params()])
    assert [record["epoch"] for record in model.history_] == [1, 2, 3]


def test_fit_raises_no_warning_of_its_own():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImageClassifier(**QUICK, class_weight="balanced").fit(X24, Y24).evaluate(X24, Y24)
