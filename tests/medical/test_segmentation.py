"""`ScanSegmenter`: masks on the original grid, plans from the data, every network, and input that cannot be used."""

import json

import numpy as np
import pytest

import pipelines
from medical import ScanSegmenter, segmentation, volumes
from pipelines import DataError, ParameterError
from pipelines.engines import load_framework

from .making import affine, nifti

nib = load_framework("nibabel")
SMALL = {"width": 4, "epochs": 1, "batch_size": 4, "verbose": 0}


def ball(rng, shape=(20, 18, 14)):
    """A bright ball with a dark core in noise, and its mask with the labels 2 and 5."""
    middle = rng.uniform(0.35, 0.65, 3) * shape
    distance = np.sqrt(sum(((grid - m) ** 2) for grid, m in zip(np.indices(shape), middle, strict=True)))
    mask = np.where(distance < 2.5, 5, np.where(distance < 5, 2, 0)).astype(np.uint8)
    return (np.array([0.0, 0, 3, 0, 0, 1.5])[mask] + rng.normal(0, 0.3, shape)).astype(np.float32), mask


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Ten NIfTI files of balls in several orientations, with masks, as paths."""
    folder, rng = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    X, y = [], []
    for i in range(10):
        image, mask = ball(rng)
        matrix = affine(flips=[(1, 1, 1), (-1, 1, 1), (1, -1, -1)][i % 3], spacing=(1.0, 1.0, 1.5))
        X.append(str(nifti(folder / f"scan{i}.nii", image, matrix)))
        y.append(str(nifti(folder / f"mask{i}.nii", mask, matrix)))
    return X, y


@pytest.fixture(scope="module")
def model(scans):
    X, y = scans
    return ScanSegmenter(classes={"shell": 2, "core": 5}, width=8, epochs=12, verbose=0).fit(X[:8], y[:8])


def test_learns_and_predicts_labels_on_the_original_grid(model, scans):
    X, y = scans
    for source, truth, said in zip(X[8:], y[8:], model.predict(X[8:]), strict=True):
        mask = volumes.read_mask(truth).array
        assert said.shape == mask.shape
        assert set(np.unique(said)) <= {0, 2, 5}
        assert (2 * ((said > 0) & (mask > 0)).sum()) / ((said > 0).sum() + (mask > 0).sum()) > 0.8, source


def test_probabilities_are_maps_that_sum_to_one_and_agree_with_the_masks(model, scans):
    (maps,), (said,) = model.predict_proba(scans[0][8:9]), model.predict(scans[0][8:9])
    assert maps.shape == (*said.shape, 3)
    np.testing.assert_allclose(maps.sum(axis=-1), 1, atol=1e-5)
    assert (model.labels_[maps.argmax(axis=-1)] == said).mean() > 0.999


def test_report_has_structures_baselines_and_pictures(model, scans):
    report = model.evaluate(scans[0][8:], scans[1][8:], patients=["p", "q"], groups={"site": ["A", "B"]})
    assert report.tables["structures"].index.tolist() == ["shell", "core"]
    assert report.tables["baselines"].index.tolist() == ["this model", "background", "mean shape", "Otsu's threshold"]
    assert report.tables["groups"].index.tolist() == ["site: A", "site: B"]
    assert any("not a medical device" in note for note in report.notes)
    assert all(example.image.startswith(b"\x89PNG") for example in report.examples)
    assert report.examples
    assert report.metrics["dice"] == pytest.approx(model.score(scans[0][8:], scans[1][8:]), abs=1e-9)


def test_masks_are_written_on_the_grid_of_their_scans(model, scans, tmp_path):
    files = model.save_masks(scans[0][8:], tmp_path / "masks")
    for file, source, said in zip(files, scans[0][8:], model.predict(scans[0][8:]), strict=True):
        written = nib.load(file)
        np.testing.assert_allclose(written.affine, nib.load(source).affine, atol=1e-4)
        assert np.array_equal(np.asarray(written.dataobj), said)
    with pytest.raises(DataError, match="would both become"):
        model.save_masks([scans[0][8]] * 2, tmp_path)
    with pytest.raises(DataError, match="Sample 0 has no name"):
        model.save_masks([np.zeros((20, 18, 14)) + np.arange(14)], tmp_path)


def test_saved_and_loaded_it_predicts_the_same(model, scans, tmp_path):
    loaded = pipelines.load(model.save(tmp_path / "model"))
    assert all(np.array_equal(a, b) for a, b in zip(loaded.predict(scans[0][8:]), model.predict(scans[0][8:]), strict=True))
    assert loaded.plan_ == json.loads(json.dumps(model.plan_))


def test_a_scan_turned_round_is_segmented_alike(model, scans, tmp_path):
    scan = volumes.read(scans[0][8])
    turned = volumes.to_orientation(scan, "LPS")
    (one,), (other,) = model.predict([scan]), model.predict([turned])
    assert np.array_equal(volumes.to_orientation(scan.with_array(one), "LPS").array, other)


def test_the_plan_is_made_from_the_scans(model):
    assert model.plan_["kind"] == "3d"
    np.testing.assert_allclose(model.plan_["spacing"], [1, 1, 1.5], atol=1e-5)
    assert all(side % 2 == 0 for side in model.plan_["patch"])
    assert any(note.startswith("Plan: patches of") for note in model.notes_)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["unet", "dynunet", "segresnet", "attention-unet", "swin-unetr"])
@pytest.mark.parametrize("axes", [2, 3])
def test_every_network_fits_in_every_dimension(network, axes, monkeypatch):
    monkeypatch.setattr(segmentation, "_PER_EPOCH", 4)
    rng = np.random.default_rng(1)
    pairs = [ball(rng) for _ in range(4)]
    X, y = ([pair[k] if axes == 3 else pair[k][:, :, 7] for pair in pairs] for k in (0, 1))
    model = ScanSegmenter(network=network, **{**SMALL, "width": 4}).fit(X, y, valid=0.0)
    assert model.predict(X[:1])[0].shape == X[0].shape


def test_options_of_prediction(model, scans):
    plain = model.predict(scans[0][8:9])[0]
    try:
        model.set_params(test_flips=True, largest_only=True)
        said = model.predict(scans[0][8:9])[0]
    finally:
        model.set_params(test_flips=False, largest_only=False)
    from scipy.ndimage import label

    assert all(label(said == k)[1] <= 1 for k in (2, 5))
    assert (said == plain).mean() > 0.9


def test_a_volume_smaller_than_the_patch_and_another_spacing_are_taken(model):
    rng = np.random.default_rng(3)
    small = rng.normal(size=(9, 8, 5)).astype(np.float32)
    assert model.predict([(small, [1, 1, 1.5])])[0].shape == small.shape
    assert model.predict([(small, [2, 2, 3])])[0].shape == small.shape


def test_patients_learned_from_cannot_judge(scans):
    X, y = scans
    names = [f"patient {i // 2}" for i in range(8)]
    model = ScanSegmenter(**SMALL).fit(X[:8], y[:8], groups=names)
    with pytest.raises(DataError, match="'patient 3' of sample 1"):
        model.evaluate(X[8:], y[8:], patients=["patient 9", "patient 3"])


def fit_with(scans, **change):
    return ScanSegmenter(**{**SMALL, **change}).fit(*scans)


def test_masks_that_cannot_be_used_are_named(scans, model):
    X, y = scans
    arrays = [volumes.read_mask(mask).array for mask in y]
    wrong = {
        "mask of sample 2 .*another grid": [*y[:2], arrays[2][:5], *y[3:]],
        "mask of sample 0 ": [arrays[0] + 0.5, *y[1:]],
        "No mask in y marks anything": [array * 0 for array in arrays],
        "no-such-mask": ["no-such-mask.nii", *y[1:]],
    }
    for said, masks in wrong.items():
        with pytest.raises(DataError, match=said):
            fit_with((X, masks))
    with pytest.raises(DataError, match="mask of sample 0 holds labels that are none: 5"):
        fit_with(scans, classes={"shell": 2})
    with pytest.raises(DataError, match="y is missing"):
        fit_with((X, None))


def test_scans_that_cannot_be_used_are_named(model, scans):
    good = scans[0][8]
    nan = np.zeros((8, 8, 8), np.float32)
    nan[2, 3, 4] = np.nan
    for bad, said in (
        (nan, "nan"),
        (np.ones((8, 8, 8)), "value 1.0 everywhere"),
        (np.eye(8), "Expected 3"),
        (np.zeros((4, 4, 4, 2)), "4 dimensions"),
        ("no-such-scan.nii.gz", "no-such-scan"),
    ):
        with pytest.raises(DataError, match=f"Sample 1 .*{said}"):
            model.predict([good, bad])


def test_colours_where_grey_was_learned_are_refused():
    rng = np.random.default_rng(0)
    X = [rng.integers(0, 255, (16, 16), dtype=np.uint8) for _ in range(4)]
    model = ScanSegmenter(**SMALL).fit(X, [np.eye(16, dtype=int)] * 4, valid=0.0)
    with pytest.raises(DataError, match="Sample 0 has 3 channels, but 1 were expected"):
        model.predict([rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": "u-net"}, "Did you mean 'unet'"),
        ({"classes": {"a": 1, "b": 1}}, "classes must name"),
        ({"spacing": [1.0, 2.0]}, "spacing must be one number, or 3"),
        ({"patch": [16, 16, 15]}, "is no multiple of"),
        ({"network": "swin-unetr", "patch": [32, 32, 32]}, "too small for 'swin-unetr'"),
        ({"intensity": "ct"}, "intensity"),
        ({"augment": "all"}, "augment"),
    ],
)
def test_impossible_parameters_are_refused(scans, change, said):
    with pytest.raises(ParameterError, match=said):
        fit_with(scans, **change)


def test_a_resumed_fit_ends_as_one_in_one_go(scans, tmp_path):
    X, y = scans
    options = {**SMALL, "epochs": 2}
    whole = ScanSegmenter(**options).fit(X, y)
    ScanSegmenter(**options).fit(X, y, resume=tmp_path)
    again = ScanSegmenter(**options).fit(X, y, resume=tmp_path)
    assert [record["val_dice"] for record in again.history_] == [record["val_dice"] for record in whole.history_]
    assert np.array_equal(again.predict(X[:1])[0], whole.predict(X[:1])[0])
