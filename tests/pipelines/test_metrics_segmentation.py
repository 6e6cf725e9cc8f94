"""The segmentation report: MONAI's figures, empty masks, groups, clusters and bad input."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from pipelines import DataError, metrics
from pipelines.engines import load_framework
from pipelines.metrics import _segmentation
from pipelines.metrics._segmentation_masks import check_masks
from pipelines.metrics._segmentation_measures import measure
from pipelines.metrics._segmentation_sums import weighted_scores
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
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.5, 3.0), (0.7, 1.4)])
@pytest.mark.parametrize("tolerance", [2.0, 1.4])  # 1.4: exactly two voxels of 0.7 mm
@pytest.mark.parametrize("seed", range(3))
def test_figures_are_monais(seed, tolerance, spacing):
    monai = load_framework("monai").metrics
    truth, said = blobs(seed, (20, 18, 16)[: len(spacing)])
    report = metrics.segmentation([truth], [said], CLASSES, spacing=spacing, tolerance=tolerance, n_bootstrap=0)
    table = report.tables["structures"]
    pred, true = tensors(truth, said)
    plain = {"include_background": False}
    dice = monai.compute_dice(pred, true, **plain)[0]
    hd95 = monai.compute_hausdorff_distance(pred, true, percentile=95, spacing=spacing, **plain)[0]
    surface = monai.compute_surface_dice(pred, true, [tolerance] * 2, spacing=spacing, **plain)[0]
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


def test_weights_are_how_often_a_case_counts():
    pairs = [blobs(seed, (12, 12)) for seed in range(4)]
    truth, said = ([pair[k] for pair in pairs] for k in (0, 1))
    truth[1], said[1] = truth[1] * 0, said[1] * 0
    drawn = [0, 1, 1, 3]
    masks = check_masks(truth, CLASSES, ..., None, None)
    (measures,) = measure(masks, [("y_pred", said)], 1.0)
    found = weighted_scores(measures, np.bincount(drawn, minlength=4)[:, None])
    again = metrics.segmentation([truth[i] for i in drawn], [said[i] for i in drawn], CLASSES, n_bootstrap=0).metrics
    assert {name: values[0] for name, values in found.items()} == pytest.approx(again)


def test_every_metric_has_an_interval_but_not_from_one_case_or_patient():
    pairs = [blobs(seed, (12, 12)) for seed in range(4)]
    truth, said = ([pair[k] for pair in pairs] for k in (0, 1))
    table = metrics.segmentation(truth, said, CLASSES, n_bootstrap=50).tables["headline"]
    assert (table["low"] < table["high"]).all()
    for report, who in (
        (metrics.segmentation(truth[:1], said[:1], CLASSES), "one case only"),
        (metrics.segmentation(truth, said, CLASSES, clusters=["anna"] * 4), "one cluster of cases only"),
    ):
        assert report.tables["headline"][["low", "high"]].isna().all(axis=None)
        assert who in " ".join(report.notes)


def test_masks_are_fetched_once_and_one_at_a_time():
    class Lazy:
        def __init__(self, masks):
            self.masks, self.fetched = masks, []

        def __len__(self):
            return len(self.masks)

        def __getitem__(self, i):
            self.fetched.append(i)
            return self.masks[i]

    pairs = [blobs(seed, (10 + seed, 12)) for seed in range(3)]  # of shapes that differ
    truth, said = (Lazy([pair[k] for pair in pairs]) for k in (0, 1))
    metrics.segmentation(truth, said, CLASSES, n_bootstrap=0)
    assert truth.fetched == said.fetched == [0, 1, 2]


def test_a_street_scene_counts_every_class_and_is_compared_with_the_most_frequent():
    truth, said = np.array([[0, 1, 1, 1, 1, 2]]), np.array([[1, 1, 1, 1, 2, 2]])
    report = metrics.segmentation([truth], [said], ["sky", "road", "car"], background=None, n_bootstrap=0)
    assert report.headline == "dice"
    assert report.metrics["iou_pooled"] == pytest.approx(np.mean([0, 3 / 5, 1 / 2]))
    assert report.metrics["frequency_weighted_iou"] == pytest.approx((4 * 3 / 5 + 1 / 2) / 6)
    assert report.tables["baselines"].loc["all road", "pixel_accuracy"] == pytest.approx(4 / 6)
    assert any(note.startswith(BELOW_BASELINE) and "pixel_accuracy" in note for note in report.notes)
    assert report.context["background"] is None


def test_volumes_are_in_millilitres_squares_or_voxels():
    solid, flat = np.zeros((6, 6, 6), int), np.zeros((6, 6), int)
    solid[:2, :5, :2], flat[:2, :5] = 1, 1
    names = ["background", "line"]
    for mask, spacing, volume, unit in (
        (solid, (5, 2, 1), 0.2, "ml"),
        (flat, (0.5, 2), 10, "mm²"),
        (solid, None, 20, "voxels"),
        (flat, None, 10, "pixels"),
    ):
        report = metrics.segmentation([mask], [mask], names, spacing=spacing, n_bootstrap=0)
        assert report.tables["cases"]["volume"].tolist() == [pytest.approx(volume)]
        assert report.context["volumes"] == unit
    assert metrics.segmentation([flat], [flat[:, ::-1].T], names, n_bootstrap=0).metrics["volume_error"] == 0
    assert metrics.segmentation([flat], [flat * 0], names, n_bootstrap=0).tables["structures"]["volume_bias"].tolist() == [-1]


def test_the_table_of_cases_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(_segmentation, "_MOST_ROWS", 3)
    pairs = [blobs(seed, (12, 12)) for seed in range(3)]
    report = metrics.segmentation([t for t, _ in pairs], [s for _, s in pairs], CLASSES, n_bootstrap=0)
    kept = report.tables["cases"]["dice"]
    assert len(kept) == 3
    assert kept.max() <= report.tables["structures"]["dice"].max()
    assert kept.is_monotonic_increasing
    assert any("3 worst of 6 rows" in note for note in report.notes)


def test_no_mistake_and_nothing_to_find_are_said():
    some = np.eye(6, dtype=int)
    right = metrics.segmentation([some] * 3, [some] * 3, ["background", "line"])
    assert any("No mistake in 3 cases" in note for note in right.notes)
    assert len(right.errors()) == 0
    nothing = metrics.segmentation([some], [some], CLASSES, n_bootstrap=0)
    assert np.isnan(nothing.tables["structures"].loc["core", "dice"])
    assert any("No case has 'core' in truth or prediction" in note for note in nothing.notes)
    ignored = metrics.segmentation([some * 0 + 9], [some], ["background", "line"], ignore=9)
    assert np.isnan(list(ignored.metrics.values())).all()
    assert any("Every voxel is ignored" in note for note in ignored.notes)


def test_a_group_without_any_structure_is_undefined_and_said():
    some = np.eye(6, dtype=int)
    report = metrics.segmentation(
        [some, some * 0], [some, some * 0], ["background", "line"], groups=["ill", "well"], n_bootstrap=0
    )
    assert report.tables["groups"]["dice"].isna().tolist() == [False, True]
    assert any("No mask of the groups 'well' has a structure" in note for note in report.notes)


def test_masks_that_are_empty_are_said():
    empty, some = np.zeros((6, 6), int), np.eye(6, dtype=int)
    report = metrics.segmentation([empty, empty, some, some], [empty, some, empty, some], ["background", "line"], n_bootstrap=0)
    assert report.metrics["dice"] == pytest.approx(1 / 3)
    assert report.metrics["hd95"] == 0
    notes = " ".join(report.notes)
    assert "neither truth nor prediction has the structure, so they do not count for it: 'line' in 1 of 4." in notes
    assert "only one of truth and prediction has the structure: 'line' in 2 of 4." in notes


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
        ({"y_pred": [np.full((2, 2), np.nan)]}, r"y_pred\[0\]\[0, 0\] is nan"),
        ({"y_pred": [np.full((2, 2), "a")]}, "whole numbers, but its dtype"),
        ({"y_pred": np.eye(2)}, "y_pred has 2"),
        ({"y_true": [np.zeros(4, int)]}, "1 dimensions; expected 2 or 3"),
        ({"y_true": [np.zeros((2, 0), int)]}, "is empty"),
        ({"y_true": "masks"}, "sequence of masks"),
        ({"y_true": [np.zeros((2, 2), int), np.zeros((2, 2, 2), int)], "y_pred": [np.zeros((2, 2), int)] * 2}, "shape"),
        ({"y_true": (two := [np.zeros((2, 2), int), np.zeros((2, 2, 2), int)]), "y_pred": two}, "pictures and volumes apart"),
        ({"classes": ["line", "line"]}, "more than once"),
        ({"classes": ["line"]}, "is the background"),
        ({"classes": []}, "classes is empty"),
        ({"ignore": 0.5}, "whole number that stands for"),
        ({"spacing": "1 mm"}, "millimetres per axis"),
        ({"spacing": [(1.0, 1.0)] * 2}, "spacing has 2 entries"),
        ({"spacing": [(1.0, None)]}, r"spacing\[0\] must be millimetres"),
        ({"tolerance": -1}, "tolerance must be"),
        ({"baselines": {"far": 9}}, r"baselines\['far'\] is the label 9"),
        ({"baselines": {"few": []}}, r"baselines\['few'\] has 0"),
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
    page = report.save(tmp_path / "report.html").read_text()
    assert "Distances are in mm" in page
    assert page.count("<svg") == 2  # Dice by case, and the confusion matrix
    assert [axes.get_title() for axes in report.plot().axes] == ["dice by case", "confusion"]
    row = page[page.index(">hd95</th>") :].partition("</tr>")[0]
    assert "dp-bar" not in row  # millimetres are no share


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 2, (2, 300, 4, 4))
    report = metrics.segmentation(truth, said, ["background", "line"], n_bootstrap=0)
    curve, dice = report.curves["dice_by_case"], report.tables["cases"]["dice"]
    assert len(curve) == 100
    assert (curve["dice"].iloc[0], curve["dice"].iloc[-1]) == (dice.min(), dice.max())
    assert curve["share"].iloc[-1] == 1
