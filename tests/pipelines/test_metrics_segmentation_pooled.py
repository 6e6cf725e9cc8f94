"""The segmentation report of all pixels together: scikit-learn's figures, boundaries, what is ignored, and bad input."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from pipelines import DataError, metrics
from pipelines.metrics._segmentation_boundaries import boundary_f1, edges
from pipelines.report import BELOW_BASELINE, Report

CLASSES = ["sky", "road", "car"]
STREET = {"background": None, "pooled": True}


def streets(n=4, shape=(24, 30)):
    """Masks of three classes, and others not far from them."""
    truth, said = [], []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        field = gaussian_filter(rng.normal(size=shape), 2)
        other = field + 0.3 * gaussian_filter(rng.normal(size=shape), 1)
        for masks, each in ((truth, field), (said, other)):
            masks.append(np.digitize(each / each.std(), [0.0, 1.0]))
    return truth, said


def flat(masks):
    return np.concatenate([mask.ravel() for mask in masks])


@pytest.mark.parametrize("ignore", [None, 2])
def test_figures_of_pixels_are_scikit_learns(ignore):
    from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score, recall_score

    truth, said = streets()
    if ignore is not None:
        truth = [np.where(mask == 2, 255, mask) for mask in truth]
    report = metrics.segmentation(truth, said, CLASSES, **STREET, ignore=None if ignore is None else 255, n_bootstrap=0)
    y, p = flat(truth), flat(said)
    y, p = y[y != 255], p[y != 255]
    found, table = report.metrics, report.tables["classes"]
    options = {"labels": [0, 1, 2], "zero_division": 0}
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(y, p))
    assert found["mean_iou"] == pytest.approx(jaccard_score(y, p, average="macro", **options))
    assert found["frequency_weighted_iou"] == pytest.approx(jaccard_score(y, p, average="weighted", **options))
    assert found["mean_dice"] == pytest.approx(f1_score(y, p, average="macro", **options))
    for column, figure in (("iou", jaccard_score), ("dice", f1_score), ("precision", precision_score), ("recall", recall_score)):
        np.testing.assert_allclose(table[column].fillna(0), figure(y, p, average=None, **options))
    assert table["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float32])
@pytest.mark.parametrize("pooled", [False, True])
def test_what_is_ignored_is_so_in_arrays_of_every_type(pooled, kind):
    truth, said = (np.array(rows, kind) for rows in ([[0, 1, 2, 255]], [[0, 1, 1, 2]]))
    report = metrics.segmentation([truth], [said], CLASSES, background=None, pooled=pooled, ignore=255, n_bootstrap=0)
    assert report.metrics["pixel_accuracy"] == pytest.approx(2 / 3)
    assert report.tables["confusion"].to_numpy().tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_headline_order_and_round_trip():
    truth, said = streets()
    report = metrics.segmentation(truth, said, CLASSES, **STREET, n_bootstrap=50)
    assert report.headline == "mean_iou"
    names = ["mean_iou", "mean_dice", "pixel_accuracy", "frequency_weighted_iou", "boundary_f1"]
    assert list(report.metrics) == names
    assert report.tables["headline"].index.tolist() == names
    assert (report.tables["headline"]["low"] < report.tables["headline"]["value"]).all()
    assert Report.from_dict(report.to_dict()) == report
    assert "mean_iou" in str(report)
    page = report._repr_html_()
    assert page.index("mean_iou") < page.index("pixel_accuracy") < page.index("boundary_f1")


def test_a_background_is_left_out_of_the_means_alone():
    truth, said = streets()
    every = metrics.segmentation(truth, said, CLASSES, **STREET, n_bootstrap=0)
    things = metrics.segmentation(truth, said, CLASSES, pooled=True, n_bootstrap=0)
    pd.testing.assert_frame_equal(every.tables["classes"], things.tables["classes"])
    assert things.metrics["mean_iou"] == pytest.approx(every.tables["classes"]["iou"][1:].mean())
    assert every.metrics["mean_iou"] == pytest.approx(every.tables["classes"]["iou"].mean())
    for name in ("pixel_accuracy", "frequency_weighted_iou"):
        assert every.metrics[name] == things.metrics[name]
    assert any("'sky' out, which is the background" in note for note in things.notes)
    assert things.tables["baselines"].loc["all sky", "mean_iou"] == 0


def test_weights_are_how_often_a_case_counts():
    from pipelines.metrics._segmentation_masks import check_masks
    from pipelines.metrics._segmentation_pooled import count, weighted_scores

    truth, said = streets()
    truth[1], said[1] = truth[1] * 0, said[1] * 0  # no boundary at all
    drawn = [0, 1, 1, 3]
    (counts,) = count(check_masks(truth, CLASSES, None, None, None), [("y_pred", said)], 0.01)
    found = weighted_scores(counts, np.bincount(drawn, minlength=4)[:, None])
    options = {**STREET, "boundary_tolerance": 0.01, "n_bootstrap": 0}
    again = metrics.segmentation([truth[i] for i in drawn], [said[i] for i in drawn], CLASSES, **options).metrics
    assert {name: values[0] for name, values in found.items()} == pytest.approx(again)


# --- boundaries -------------------------------------------------------------------------------------------------------


def slow_boundary_f1(truth, said, k, share):
    """Compare every pixel of a boundary with every one of the other, class by class."""

    def boundary(mask, label):
        points = []
        for row, column in zip(*np.nonzero(mask == label), strict=True):
            for i, j in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                inside = 0 <= i < mask.shape[0] and 0 <= j < mask.shape[1]
                if inside and mask[i, j] not in (0, label):
                    points.append((row, column))
                    break
        return np.array(points).reshape(-1, 2)

    reach = share * np.hypot(*truth.shape)
    found = []
    for label in range(1, k + 1):
        one, other = boundary(truth, label), boundary(said, label)
        if not len(one) or not len(other):
            found.append(0.0 if len(one) or len(other) else np.nan)
            continue
        near = np.hypot(*(one[:, None] - other[None]).transpose(2, 0, 1)) <= reach
        recall, precision = near.any(axis=1).mean(), near.any(axis=0).mean()
        found.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return found


@pytest.mark.parametrize("share", [0.0, 0.0075, 0.03, 0.06, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_boundary_f1_is_what_comparing_all_pixels_gives(seed, share):
    truth, said = (masks[seed] + 1 for masks in streets(3))
    truth[:5, :8] = said[:5, :8] = 0  # counts nowhere
    said[said == 3] = 2 if seed == 2 else 3  # a class that is never said
    np.testing.assert_allclose(boundary_f1(truth, said, 4, share), slow_boundary_f1(truth, said, 4, share))


def test_the_edges_of_the_image_and_of_what_is_ignored_are_no_boundary():
    mask = np.ones((5, 6), int)
    assert not edges(mask).any()
    mask[2:, 2] = 0
    assert not edges(mask).any()
    assert np.isnan(boundary_f1(mask, mask, 2, 0.1)).all()
    mask[0, 5] = 2
    assert edges(mask).sum() == 3


def test_boundary_f1_is_the_mean_over_images_of_the_mean_over_the_classes_they_have():
    truth, said = streets(3)
    truth[0], said[0] = truth[0].clip(0, 1), said[0].clip(0, 1)  # no car
    report = metrics.segmentation(truth, said, CLASSES, **STREET, boundary_tolerance=0.05, n_bootstrap=0)
    each = np.array([slow_boundary_f1(t + 1, s + 1, 3, 0.05) for t, s in zip(truth, said, strict=True)])
    assert np.isnan(each[0, 2])
    assert report.metrics["boundary_f1"] == pytest.approx(np.nanmean(np.nanmean(each, axis=1)))
    np.testing.assert_allclose(report.tables["classes"]["boundary_f1"], np.nanmean(each, axis=0))
    assert any("within 5 % of the image's diagonal" in note for note in report.notes)


# --- tables and notes -------------------------------------------------------------------------------------------------


def test_cases_and_errors_are_the_worst_first():
    truth, said = streets()
    report = metrics.segmentation(truth, said, CLASSES, **STREET, n_bootstrap=0)
    cases = report.tables["cases"]
    worst = cases.iloc[0]
    share = [(t == s).mean() for t, s in zip(truth, said, strict=True)]
    assert worst["sample"] == np.argmin(share)
    assert worst["pixel_accuracy"] == pytest.approx(min(share))
    errors = report.errors()
    wrong = errors["false_positive"] + errors["false_negative"]
    assert wrong.is_monotonic_decreasing
    sample, code = errors["sample"].iloc[0], CLASSES.index(errors["structure"].iloc[0])
    assert errors["false_negative"].iloc[0] == ((truth[sample] == code) & (said[sample] != code)).sum()
    assert wrong.sum() == 2 * sum((t != s).sum() for t, s in zip(truth, said, strict=True))
    assert len(metrics.segmentation(truth, truth, CLASSES, **STREET, n_bootstrap=0).errors()) == 0


def test_groups_and_clusters():
    truth, said = streets()
    report = metrics.segmentation(truth, said, CLASSES, **STREET, groups=["day", "day", "dusk", "dusk"], n_bootstrap=0)
    alone = metrics.segmentation(truth[:2], said[:2], CLASSES, **STREET, n_bootstrap=0)
    assert report.tables["groups"].loc["day"].drop("n").to_dict() == pytest.approx(alone.metrics)
    clustered = metrics.segmentation(truth, said, CLASSES, **STREET, clusters=[0, 0, 1, 1])
    assert any("draw 2 clusters" in note for note in clustered.notes)


def test_classes_that_are_nowhere_or_in_predictions_alone_are_said():
    truth, said = np.zeros((2, 6, 6), int)
    said[0, 0], truth[3:] = 2, 1
    report = metrics.segmentation([truth], [said], [*CLASSES, "bus"], **STREET, n_bootstrap=0)
    notes = " ".join(report.notes)
    assert "No image has 'bus' in truth or prediction" in notes
    assert "No true mask has 'car', but predictions do" in notes
    assert np.isnan(report.tables["classes"].loc["bus", "iou"])
    assert report.metrics["mean_iou"] == pytest.approx(report.tables["classes"]["iou"][:3].mean())


def test_a_simple_model_that_is_not_beaten_is_said_first():
    truth, said = np.zeros((2, 6, 6), int)
    truth[0, 0], said[:] = 1, 2
    report = metrics.segmentation([truth], [said], CLASSES, **STREET, n_bootstrap=0)
    assert [note.split(" is ")[0] for note in report.notes[:2]] == [
        f"{BELOW_BASELINE}: mean_iou 0.0000",
        f"{BELOW_BASELINE}: pixel_accuracy 0.0000",
    ]
    assert report.tables["baselines"].index.tolist() == ["this model", "all sky"]


def test_who_is_right_everywhere_has_all_of_everything():
    truth, _ = streets()
    report = metrics.segmentation(truth, truth, CLASSES, **STREET)
    assert set(report.metrics.values()) == {1.0}
    assert any("No mistake in 4 cases" in note for note in report.notes)


def test_everything_ignored_is_undefined_and_said():
    mask = np.full((4, 4), 9)
    report = metrics.segmentation([mask], [mask * 0], CLASSES, **STREET, ignore=9, n_bootstrap=0)
    assert np.isnan(list(report.metrics.values())).all()
    assert any("Every pixel is ignored" in note for note in report.notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spacing": (1.0, 1.0)}, "spacing is for distances"),
        ({"boundary_tolerance": -0.1}, "boundary_tolerance must be a number from 0 to 1"),
        ({"boundary_tolerance": 2}, "boundary_tolerance must be a number from 0 to 1"),
        ({"y_pred": [np.zeros((3, 3), int)]}, r"shape \(3, 3\)"),
        ({"y_pred": [np.full((2, 2), 9)]}, "label 9"),
    ],
)
def test_bad_input_is_told(change, said):
    plain = {"y_true": [np.zeros((2, 2), int)], "y_pred": [np.eye(2, dtype=int)], "classes": ["sky", "road"], **STREET}
    with pytest.raises(DataError, match=said):
        metrics.segmentation(**{**plain, **change})
