"""ImageSegmenter: images and masks of every kind, what is ignored, what is refused, and what comes back."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import pipelines
from pipelines import DataError, ParameterError
from pipelines.cli import main
from vision import ImageClassifier, ImageSegmenter, segmenter_networks, tiles

SIZES = [(20, 24), (33, 18), (40, 52), (24, 24)]
COLOURS = {"grass": (0, 128, 0), "disc": (200, 0, 0)}
TINY = {"architecture": "fcn", "image_size": 32, "epochs": 2, "batch_size": 8, "verbose": 0}  # the quickest to trace


@pytest.fixture(scope="module", autouse=True)
def small_network():
    """Make our own encoder of three levels instead of four; the contract's tests take all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter_networks, "_WIDTHS", (8, 16, 32))
        yield


def discs(n=12, *, colour=True, seed=0):
    """Draw red discs on green noise, in images of several sizes, with masks of them."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for i in range(n):
        shape = SIZES[i % len(SIZES)]
        middle = [rng.uniform(6, side - 6) for side in shape]
        mask = (np.hypot(*(np.indices(shape) - np.reshape(middle, (2, 1, 1)))) < 5).astype(np.uint8)
        noise = rng.integers(0, 60, (*shape, 3), dtype=np.uint8)
        image = noise + np.where(mask[:, :, None] > 0, (150, 0, 0), (0, 100, 0)).astype(np.uint8)
        X.append(image if colour else image[:, :, 0])
        y.append(mask)
    return X, y


@pytest.fixture(scope="module")
def fitted():
    """A model that has learned a little, of numbers 3 and 7, 9 being ignored."""
    X, y = discs(24)
    y = [np.where(mask > 0, 7, 3) for mask in y]
    for mask in y:
        mask[:2] = 9
    return ImageSegmenter(**{**TINY, "architecture": "unet", "epochs": 8}, ignore_label=9).fit(X, y)


def fit(X, y, **params):
    return ImageSegmenter(**{**TINY, **params}).fit(X, y)


# --- results ----------------------------------------------------------------------------------------------------------


def test_masks_come_back_in_their_labels_at_the_size_of_each_image(fitted):
    X, y = discs(8, seed=1)
    found = fitted.predict(X)
    assert [mask.shape for mask in found] == [image.shape[:2] for image in X]
    assert set(np.unique(np.concatenate([mask.ravel() for mask in found]))) <= {3, 7}
    assert fitted.labels_.tolist() == [3, 7]
    truth = [np.where(mask > 0, 7, 3) for mask in y]
    assert np.mean([np.mean(a == b) for a, b in zip(found, truth, strict=True)]) > 0.9


def test_probabilities_sum_to_one_and_agree_with_the_masks(fitted):
    X, _ = discs(5, seed=1)
    for maps, mask in zip(fitted.predict_proba(X), fitted.predict(X), strict=True):
        assert maps.dtype == np.float32
        np.testing.assert_allclose(maps.sum(axis=-1), 1, atol=1e-5)
        np.testing.assert_array_equal(fitted.labels_[maps.argmax(axis=-1)], mask)


def test_images_of_other_sizes_between_them_change_nothing(fitted):
    X, _ = discs(8, seed=1)
    together = fitted.predict_proba(X)
    for i, image in enumerate(X):
        np.testing.assert_allclose(fitted.predict_proba([image])[0], together[i], atol=1e-5)


def test_large_images_are_predicted_in_tiles_that_equal_the_whole(fitted, monkeypatch):
    image = np.random.default_rng(0).integers(0, 160, (290, 330, 3), dtype=np.uint8)
    whole = fitted.predict_proba([image])[0]
    cover = tiles.tiles
    monkeypatch.setattr(tiles, "tiles", lambda shape, multiple, **_: cover(shape, multiple, tile=272, margin=128))
    assert len(tiles.tiles((290, 330), 4)) > 4
    np.testing.assert_allclose(fitted.predict_proba([image])[0], whole, atol=1e-4)


def test_instances_are_numbered_pieces(fitted):
    X, _ = discs(4, seed=2)
    for mask, numbers in zip(fitted.predict(X), fitted.predict(X, instances=True), strict=True):
        assert numbers.shape == mask.shape
        assert len(np.unique(numbers)) == numbers.max() + (numbers.min() == 0)
        for number in np.unique(numbers[numbers > 0]):
            assert len(np.unique(mask[numbers == number])) == 1


def views(image):
    """Return an image mirrored; upside down; with rows as columns."""
    return image[:, ::-1], image[::-1], image.swapaxes(0, 1)


@pytest.mark.parametrize(("augment", "alike"), [("shift", 0), ("photo", 1), ("micrograph", 3)])
def test_predictions_are_means_over_the_views_of_training(fitted, monkeypatch, augment, alike):
    X = [image[:16, :16] for image in discs(3, seed=1)[0]]  # nothing is padded, and on one side only
    plain = fitted.predict_proba(X)
    monkeypatch.setattr(fitted, "augment_", augment)
    monkeypatch.setattr(fitted, "test_flips", True)
    found = fitted.predict_proba(X)
    assert all(np.array_equal(a, b) for a, b in zip(found, plain, strict=True)) == (alike == 0)
    seen = zip(*(fitted.predict_proba(list(way)) for way in zip(*map(views, X), strict=True)), strict=True)
    for one, others in zip(found, seen, strict=True):
        same = [np.allclose(view, other, atol=1e-4) for view, other in zip(views(one), others, strict=True)]
        assert same == [at < alike for at in range(3)]


# --- masks that are off their images ----------------------------------------------------------------------------------


def picked(n=8, *, row, column, seed=0):
    """Make images smaller by means, and masks by picking one of three rows and columns."""
    rng = np.random.default_rng(seed)
    fine = [np.kron(rng.random((9, 9)) < 0.4, np.ones((16, 16))) for _ in range(n)]
    images = [each.reshape(48, 3, 48, 3).mean(axis=(1, 3)) for each in fine]
    return [np.uint8(180 * each + rng.integers(0, 40, each.shape)) for each in images], [
        each[row::3, column::3].astype(np.uint8) for each in fine
    ]


@pytest.mark.slow
def test_masks_that_are_off_are_met_where_they_are(tmp_path):
    model = fit(*picked(row=2, column=0))
    np.testing.assert_allclose(model.displacement_, (1 / 3, -1 / 3), atol=0.1)
    assert any(note.startswith("Masks lie 0.3") and "above" in note and "right of" in note for note in model.notes_)
    X, y = picked(4, row=2, column=0, seed=1)
    loaded = pipelines.load(model.save(tmp_path / "model"))
    for one, other in zip(model.predict_proba(X), loaded.predict_proba(X), strict=True):
        np.testing.assert_array_equal(one, other)
    report = model.evaluate(X, y)
    assert any(note.startswith("Masks lie 0.3") for note in report.notes)
    assert model.fit(*picked(row=1, column=1)).displacement_ == [0, 0]


def test_what_the_network_sees_is_moved_and_nothing_else(fitted):
    X, _ = discs(3, seed=1)
    moved = [np.pad(image, ((0, 1), (0, 0), (0, 0)), mode="edge")[1:] for image in X]  # by a whole pixel
    expected = fitted.predict_proba(moved)
    fitted.displacement_ = [1.0, 0.0]
    try:
        for flips in (False, True):
            fitted.test_flips = flips
            if not flips:
                for one, other in zip(fitted.predict_proba(X), expected, strict=True):
                    np.testing.assert_allclose(one, other, atol=1e-5)
            assert [mask.shape for mask in fitted.predict(X)] == [image.shape[:2] for image in X]
    finally:
        fitted.displacement_, fitted.test_flips = [0.0, 0.0], False


def test_masks_far_off_are_pointed_out_and_left_alone():
    X, y = picked(row=1, column=1)
    model = fit([np.roll(image, 2, axis=0) for image in X], [mask.astype(np.uint8) for mask in y])
    assert model.displacement_ == [0, 0]
    assert any("Masks seem to lie" in note and "above" in note for note in model.notes_)


# --- what is ignored --------------------------------------------------------------------------------------------------


def test_ignored_pixels_count_in_no_figure(fitted):
    X, y = discs(6, seed=1)
    truth = [np.where(mask > 0, 7, 3) for mask in y]
    found = fitted.predict(X)
    spoiled = [np.where(mask == said, mask, 9) for mask, said in zip(truth, found, strict=True)]  # every mistake is ignored
    report = fitted.evaluate(X, spoiled)
    assert report.metrics["pixel_accuracy"] == 1
    assert report.metrics["mean_iou"] == 1
    assert fitted.score(X, spoiled) == 1
    assert fitted.evaluate(X, truth).metrics["pixel_accuracy"] < 1
    assert fitted.class_prior_.sum() == pytest.approx(1)


def test_score_is_the_headline(fitted):
    X, y = discs(6, seed=3)
    truth = [np.where(mask > 0, 7, 3) for mask in y]
    report = fitted.evaluate(X, truth)
    assert report.headline == "mean_iou"
    assert fitted.score(X, truth) == pytest.approx(report.metrics["mean_iou"])
    assert list(report.tables["classes"].index) == ["3", "7"]
    assert {"all 3", "random forest"} <= set(report.tables["baselines"].index)
    assert report.examples
    assert all(example.image.startswith(b"\x89PNG") for example in report.examples)


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """Two folders of pictures; masks are painted."""
    X, y = discs(8)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    palette = np.array(list(COLOURS.values()), np.uint8)
    for i, (image, mask) in enumerate(zip(X, y, strict=True)):
        Image.fromarray(image).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray(palette[mask]).save(tmp_path / "masks" / f"{i}.png")
    return tmp_path


def test_colours_are_read_and_written(folders):
    X, y = pipelines.data.pairs(folders / "images", folders / "masks")
    model = fit(X, y, classes=COLOURS)
    assert model.classes_.tolist() == ["grass", "disc"]
    (file, *_) = model.save_masks(X[:2], folders / "written")
    drawn = np.asarray(Image.open(file))
    assert {tuple(colour) for colour in drawn.reshape(-1, 3).tolist()} <= set(COLOURS.values())
    np.testing.assert_array_equal(np.array(list(COLOURS.values()))[model.predict(X[:1])[0]], drawn)


def test_a_colour_can_be_ignored(folders):
    X, y = pipelines.data.pairs(folders / "images", folders / "masks")
    first = np.array(Image.open(y[0]))
    first[:3] = (1, 2, 3)
    Image.fromarray(first).save(y[0])
    with pytest.raises(DataError, match=r"mask of sample 0 .*\(1, 2, 3\).*nearest"):
        fit(X, y, classes=COLOURS)
    model = fit(X, y, classes=COLOURS, ignore_label=[1, 2, 3])
    assert model.labels_.tolist() == [0, 1]
    model.save(folders / "model")
    assert pipelines.load(folders / "model").classes_.tolist() == ["grass", "disc"]


@pytest.mark.slow
def test_binary_and_palette_masks_keep_their_numbers(tmp_path):
    X, y = discs(8, colour=False)
    files = []
    for i, mask in enumerate(y):
        picture = Image.fromarray(mask, mode="P") if i % 2 else Image.fromarray(mask)
        if i % 2:
            picture.putpalette([0, 0, 0, 255, 255, 255])
        picture.save(tmp_path / f"{i}.png")
        files.append(str(tmp_path / f"{i}.png"))
    assert fit(X, files).labels_.tolist() == [0, 1]
    assert fit(X, [mask.astype(bool) for mask in y]).labels_.tolist() == [0, 1]
    assert fit(X, [255 * mask for mask in y], classes={"rest": 0, "disc": 255}).classes_.tolist() == ["rest", "disc"]


# --- choices ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_augmentation_is_chosen_by_the_images():
    X, y = discs(6)
    grey = [image[:, :, 0] for image in X]
    assert fit(X, y, epochs=1).augment_ == "photo"
    model = fit(grey, y, epochs=1)
    assert (model.augment_, model.channels_) == ("micrograph", 1)
    assert any("micrograph" in note for note in model.notes_)
    three = [np.where(np.arange(mask.shape[1]) < 3, 2, mask) for mask in y]
    assert fit(grey, three, epochs=1).augment_ == "shift"


def test_crops_default_to_the_median_size_and_epochs_to_few_pixels():
    X, y = discs(4)
    model = fit(X, y, image_size=None, epochs=1)
    assert model.image_size_ == [32, 24]
    assert model._epochs(pipelines.tasks.segmentation.Each(lambda i: y[i], 4)) == 1
    model.epochs = None
    assert model._epochs(pipelines.tasks.segmentation.Each(lambda i: y[i], 4)) == 100
    model.image_size_ = [512, 256]  # sixteen crops an epoch, 2.1 million pixels
    assert model._epochs(pipelines.tasks.segmentation.Each(lambda i: y[i], 4)) == 48


def test_class_weights():
    X, y = discs(6)
    model = fit(X, y, epochs=1, class_weight="balanced")
    weights = model._class_weights()
    assert weights @ model.class_prior_ == pytest.approx(1)
    assert weights[1] > weights[0]
    model.class_weight = {"1": 3}
    assert model._class_weights().tolist() == [1, 3]
    with pytest.raises(ParameterError, match=r"class_weight names the class 'dsic'\. Did you mean 'disc'"):
        fit(X, y, classes={"grass": 0, "disc": 1}, class_weight={"dsic": 2})


@pytest.mark.slow
@pytest.mark.parametrize(
    "params", [{"architecture": "fcn"}, {"architecture": "deeplab-v3-plus"}, {"architecture": "unet", "loss": "focal"}]
)
def test_other_networks_and_losses_learn(params):
    X, y = discs(16)
    model = fit(X, y, epochs=4, **params)
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]


@pytest.mark.slow
def test_a_fit_goes_on_where_it_stopped(tmp_path):
    X, y = discs(8)
    whole = fit(X, y, epochs=3)
    with pytest.raises(RuntimeError, match="power cut"):
        _interrupted(X, y, tmp_path)
    again = ImageSegmenter(**{**TINY, "epochs": 3}).fit(X, y, resume=tmp_path)
    np.testing.assert_allclose(again.predict_proba(X)[0], whole.predict_proba(X)[0], atol=1e-5)


def _interrupted(X, y, folder):
    """Break off after the second epoch."""
    model = ImageSegmenter(**{**TINY, "epochs": 3})
    judge, seen = ImageSegmenter._judge, []

    class Broken(ImageSegmenter):
        def _judge(self, outputs, truth):
            seen.append(1)
            if len(seen) == 3:
                raise RuntimeError("power cut")
            return judge(self, outputs, truth)

    Broken(**model.get_params()).fit(X, y, resume=folder)


@pytest.mark.slow
def test_networks_from_scratch_learn_with_muon_and_saved_ones_with_adamw(fitted, tmp_path, monkeypatch):
    from pipelines.engines import keras_optimizers

    asked, made = [], keras_optimizers.optimizer
    monkeypatch.setattr(keras_optimizers, "optimizer", lambda *options: (asked.append(options[-1]), made(*options))[1])
    X, y = discs(8)
    model = fit(X, y, epochs=1)
    kernels = [w for w in model.model_.weights if len(w.shape) == 4 and w.shape[-1] != len(model.classes_)]
    assert 0 < len(asked[0]) <= len(kernels)
    assert {id(kernel) for kernel in asked[0]} <= {id(kernel) for kernel in kernels}
    fit(X, y, weights=str(fitted.save(tmp_path / "model")), architecture="unet", epochs=2)
    assert [len(each) for each in asked[1:]] == [0, 0]


# --- given weights ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_saved_segmenter_is_a_start(fitted, tmp_path):
    folder = fitted.save(tmp_path / "model")
    X, y = discs(8)
    three = [np.where(np.arange(mask.shape[1]) < 3, 2, mask) for mask in y]
    model = fit(X, three, weights=str(folder), epochs=4)
    assert [record["stage"] for record in model.history_] == ["decoder", "all", "all", "all"]
    assert [record["epoch"] for record in model.history_] == [1, 2, 3, 4]
    assert any("starts from" in note for note in model.notes_)
    with pytest.raises(DataError, match="trained on images of 3 channel"):
        fit([image[:, :, 0] for image in X], y, weights=str(folder))


@pytest.mark.slow
def test_a_saved_classifier_and_a_file_of_weights_are_starts(tmp_path):
    from vision.networks import keras

    X, y = discs(8)
    backbone = "mobilenet-v3-small"
    images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    classifier = ImageClassifier(backbone=backbone, image_size=32, epochs=1, verbose=0).fit(images, [0, 1] * 4)
    folder = classifier.save(tmp_path / "classifier")
    model = ImageSegmenter(**TINY, backbone=backbone, weights=str(folder))
    model.fit(X, y)
    assert model.history_[0]["stage"] == "decoder"
    plain = keras.applications.MobileNetV3Small(include_top=False, weights=None)
    plain.save_weights(tmp_path / "plain.weights.h5")
    fit(X, y, backbone=backbone, weights=str(tmp_path / "plain.weights.h5"))
    with pytest.raises(DataError, match="does not hold weights for 'mobilenet-v2'"):
        fit(X, y, backbone="mobilenet-v2", weights=str(tmp_path / "plain.weights.h5"))


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_mask_of_another_size_is_named():
    X, y = discs(6)
    y[4] = y[4][:, :-3]
    with pytest.raises(DataError, match="mask of sample 4 has 21 x 20 pixels, but its image has 24 x 20"):
        fit(X, y)


def test_labels_outside_the_table_are_named():
    X, y = discs(6)
    y[3] = 5 * y[3]
    with pytest.raises(DataError, match="mask of sample 3 holds labels that are none: 5"):
        fit(X, y, classes={"grass": 0, "disc": 1})


@pytest.mark.parametrize(("value", "said"), [(0, "class '0' alone"), (1, "class '1' alone"), (9, "is to be ignored")])
def test_masks_of_one_class_are_refused(value, said):
    X, y = discs(5)
    with pytest.raises(DataError, match=said):
        fit(X, [np.full_like(mask, value) for mask in y], ignore_label=9)
    with pytest.raises(DataError, match=said):
        fit(X, [np.full_like(mask, value) for mask in y], ignore_label=9, classes={"0": 0, "1": 1})


def test_a_class_no_mask_has_is_noted():
    X, y = discs(5)
    model = fit(X, y, epochs=1, classes={"grass": 0, "disc": 1, "moon": 2})
    assert any("moon" in note for note in model.notes_)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"architecture": "u-net"}, "Did you mean 'unet'"),
        ({"backbone": "small-cnn"}, "backbone"),
        ({"weights": "imagenet"}, "Name the application"),
        ({"backbone": "resnet50", "weights": "nowhere"}, "nowhere"),
        ({"image_size": 42}, r"42 is no multiple of 8\. Take 48"),
        ({"image_size": [32, 32, 32]}, "image_size"),
        ({"ignore_label": -1}, "ignore_label"),
        ({"classes": {"road": (1, 2, 3), "sky": (1, 2, 3)}}, "road"),
        ({"classes": {"road": 1, "sky": 1}}, "classes"),
        ({"loss": "hinge"}, "loss"),
        ({"class_weight": "even"}, "class_weight"),
        ({"augment": "flip"}, "augment"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(params, said):
    X, y = discs(5)
    with pytest.raises(ParameterError, match=said):
        fit(X, y, **{"epochs": 1, **params})


def test_masks_for_arrays_have_no_names(fitted, tmp_path):
    with pytest.raises(DataError, match="Sample 0 has no name"):
        fitted.save_masks(discs(2)[0], tmp_path)
    with pytest.raises(DataError, match="would both become"):
        fitted.save_masks(["a/1.png", "b/1.jpg"], tmp_path)


# --- the command line -------------------------------------------------------------------------------------------------


def test_two_folders_on_the_command_line(folders, capsys):
    model, images, masks = (str(folders / name) for name in ("model", "images", "masks"))
    options = ["--image-size", "32", "--epochs", "1", "--verbose", "0", "--classes", json.dumps(COLOURS)]
    assert main(["fit", "image-segmentation", "--data", images, "--masks", masks, "--out", model, *options]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["headline"] == "mean_iou"
    assert main(["evaluate", model, "--data", images, "--masks", masks]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 8
    assert main(["predict", model, images, "--out", str(folders / "out")]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 8
    with Image.open(rows[0]["file"]) as drawn:
        assert drawn.mode == "RGB"
    (folders / "masks" / "7.png").unlink()
    assert main(["evaluate", model, "--data", images, "--masks", masks]) == 1
    assert "7.png" in capsys.readouterr().err
    assert main(["evaluate", model, "--data", images]) == 2
    assert "--masks FOLDER" in capsys.readouterr().err


@pytest.mark.slow
def test_a_table_on_the_command_line(folders, capsys):
    rows = [{"image": f"images/{i}.png", "mask": f"masks/{i}.png", "site": f"site {i % 2}"} for i in range(8)]
    table = folders / "table.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    columns = ["--x", "image", "--y", "mask"]
    options = ["--image-size", "32", "--epochs", "1", "--verbose", "0", "--classes", json.dumps(COLOURS), "--test", "0"]
    model = str(folders / "model")
    assert main(["fit", "image-segmentation", "--data", str(table), *columns, "--out", model, *options]) == 0
    capsys.readouterr()
    assert main(["evaluate", model, "--data", str(table), *columns, "--group", "site"]) == 0
    assert "groups" in json.loads(capsys.readouterr().out)["tables"]
    assert main(["evaluate", model, "--data", str(table), *columns, "--masks", "masks"]) == 2
    assert "Leave --masks out" in capsys.readouterr().err
