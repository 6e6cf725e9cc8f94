"""The segmentation report: MONAI's figures, empty masks, groups, clusters and bad input."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from pipelines import DataError, metrics
from pipelines.engines import load_framework
from pipelines.report import BELOW_BASELINE, Report

CLASSES = ["background", "ring", "core"]


def blobs(seed, shape=(20, 18, 16)):
    """Two structures with rough surfaces, and another pair not far from them."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=shape), 2)
    other = field + 0.3 * gaussian_filter(rng.normal(size=shape), 1)
    return [np.digitize(each / each.std(), [0.3, 1.0]) for each in (field, other)]


def tensors(truth, said):
    torch = load_framework("torch")
    return (torch.nn.functional.one_hot(torch.from_numpy(m), 3).movedim(-1, 0)[None].float() for m in (said, truth))


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")  # MONAI's, of its own function
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.5, 3.0)])
@pytest.mark.parametrize("seed", range(3))
def test_figures_are_monais(seed, spacing):
    measure = load_framework("monai").metrics
    truth, said = blobs(seed)
    table = metrics.segmentation([truth], [said], CLASSES, spacing=spacing, tolerance=2.0, n_bootstrap=0).tables["structures"]
    pred, true = tensors(truth, said)
    plain = {"include_background": False}
    dice = measure.compute_dice(pred, true, **plain)[0]
    hd95 = measure.compute_hausdorff_distance(pred, true, percentile=95, spacing=spacing, **plain)[0]
    surface = measure.compute_surface_dice(pred, true, [2.0, 2.0], spacing=spacing, **plain)[0]
    np.testing.assert_allclose(table["dice"], dice, rtol=1e-6)
    np.testing.assert_allclose(table["hd95"], hd95, rtol=1e-5)
    np.testing.assert_allclose(table["surface_dice"], surface, rtol=1e-5)


def test_figures_are_means_over_structures_of_means_over_cases():
    pairs = [blobs(seed, (12, 12)) for seed in range(4)]
    report = metrics.segmentation([t for t, _ in pairs], [s for _, s in pairs], CLASSES, n_bootstrap=50)
    by_structure = report.tables["cases"].groupby("structure")["dice"].mean()
    assert report.metrics["dice"] == pytest.approx(by_structure.mean())
    low, high = report.tables["headline"].loc["dice", ["low", "high"]]
    assert low < report.metrics["dice"] < high
    assert report.headline == "dice"
    assert Report.from_dict(report.to_dict()) == report


def test_pooled_figures_count_all_voxels_together():
    from sklearn.metrics import jaccard_score

    pairs = [blobs(seed, (12, 14)) for seed in range(3)]
    truth, said = ([pair[k] for pair in pairs] for k in (0, 1))
    found = metrics.segmentation(truth, said, CLASSES, n_bootstrap=0).metrics
    flat = [np.concatenate([m.ravel() for m in masks]) for masks in (truth, said)]
    assert found["iou_pooled"] == pytest.approx(jaccard_score(*flat, labels=[1, 2], average="macro"))
    assert found["frequency_weighted_iou"] == pytest.approx(jaccard_score(*flat, average="weighted"))
    assert found["pixel_accuracy"] == pytest.approx((flat[0] == flat[1]).mean())


def test_masks_that_are_empty_are_said():
    empty, some = np.zeros((6, 6), int), np.eye(6, dtype=int)
    report = metrics.segmentation([empty, empty, some, some], [empty, some, empty, some], ["background", "line"], n_bootstrap=0)
    assert report.metrics["dice"] == pytest.approx(1 / 3)
    assert report.metrics["hd95"] == 0
    notes = " ".join(report.notes)
    assert "In 1 of 4 cases neither truth nor prediction has 'line'" in notes
    assert "In 2 of 4 cases only one of truth and prediction has 'line'" in notes


def test_what_is_ignored_counts_nowhere():
    truth, said = np.array([[0, 1, 255], [0, 1, 255]]), np.array([[0, 1, 1], [0, 1, 0]])
    assert metrics.segmentation([truth], [said], CLASSES[:2], ignore=255, n_bootstrap=0).metrics["pixel_accuracy"] == 1
    with pytest.raises(DataError, match=r"y_true\[0\] holds the label 255"):
        metrics.segmentation([truth], [said], CLASSES[:2])


def test_groups_in_several_columns_and_patients_as_clusters():
    pairs = [blobs(seed, (12, 12)) for seed in range(6)]
    truth, said = ([pair[k] for pair in pairs] for k in (0, 1))
    groups = pd.DataFrame({"site": list("AABBBB"), "sex": list("fmfmfm")})
    by_case = metrics.segmentation(truth, said, CLASSES, groups=groups)
    assert by_case.tables["groups"].index.tolist() == ["site: A", "site: B", "sex: f", "sex: m"]
    alone = metrics.segmentation(truth[:2], said[:2], CLASSES, n_bootstrap=0)
    assert by_case.tables["groups"].loc["site: A", "dice"] == pytest.approx(alone.metrics["dice"])
    by_patient = metrics.segmentation(truth, said, CLASSES, clusters=[0, 0, 0, 1, 1, 1])
    assert by_patient.metrics == by_case.metrics
    assert not by_patient.tables["headline"].equals(by_case.tables["headline"])


def test_a_better_baseline_is_said_first():
    truth, said = blobs(0, (12, 12))
    report = metrics.segmentation([truth], [said], CLASSES, baselines={"oracle": [truth]}, n_bootstrap=0)
    assert report.tables["baselines"]["dice"].tolist() == [report.metrics["dice"], 1.0]
    assert report.notes[0].startswith(BELOW_BASELINE)
    assert "No baseline was given" in " ".join(metrics.segmentation([truth], [said], CLASSES, n_bootstrap=0).notes)


def test_errors_are_the_worst_first():
    pairs = [blobs(seed, (12, 12)) for seed in range(4)]
    errors = metrics.segmentation([t for t, _ in pairs], [s for _, s in pairs], CLASSES, n_bootstrap=0).errors()
    assert errors["dice"].is_monotonic_increasing
    truth, said = pairs[errors["sample"].iloc[0]]
    code = CLASSES.index(errors["structure"].iloc[0])
    assert errors["false_negative"].iloc[0] == ((truth == code) & (said != code)).sum()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y_pred": []}, "y_pred has 0"),
        ({"y_pred": [np.zeros((3, 3), int)]}, r"shape \(3, 3\)"),
        ({"y_pred": [np.full((2, 2), 0.5)]}, "no whole number"),
        ({"y_pred": [np.full((2, 2), 9)]}, "label 9"),
        ({"y_true": [], "y_pred": []}, "empty"),
        ({"spacing": (1.0, -1.0)}, "more than 0"),
        ({"spacing": (1.0, 1.0, 1.0)}, "2 axes"),
        ({"background": "core"}, "not one of the classes"),
        ({"clusters": [1, 2]}, "clusters has 2"),
        ({"groups": ["a", "b"]}, "groups has 2"),
    ],
)
def test_bad_input_is_told(change, said):
    plain = {"y_true": [np.zeros((2, 2), int)], "y_pred": [np.eye(2, dtype=int)], "classes": ["background", "line"]}
    with pytest.raises(DataError, match=said):
        metrics.segmentation(**{**plain, **change})


def test_the_report_prints_and_draws(tmp_path):
    truth, said = blobs(1)
    report = metrics.segmentation([truth], [said], CLASSES, spacing=(1, 1, 2))
    assert "structures" in str(report)
    assert "Distances are in mm" in report.save(tmp_path / "report.html").read_text()
