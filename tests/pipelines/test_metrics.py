"""metrics.classification: every number equals scikit-learn's on the same arrays."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from pipelines import bootstrap, metrics
from pipelines.errors import DataError
from pipelines.metrics._answers import check_answers
from pipelines.metrics._scores import scores
from pipelines.metrics._weighted import WeightedScores
from pipelines.report import Example, Report


def softmax(scores):
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def sample(n=300, k=4, *, seed=0, decimals=None):
    """Labels and probabilities that know something about them; few decimals give many ties."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    proba = softmax(rng.normal(size=(n, k)) + 1.2 * np.eye(k)[y])
    if decimals is not None:
        proba = np.maximum(proba.round(decimals), 0.0)
        proba[:, -1] = np.maximum(1 - proba[:, :-1].sum(axis=1), 0)
        proba /= proba.sum(axis=1, keepdims=True)
    return y, proba


def labels_sample(n=200, k=3, *, seed=0, decimals=None):
    """A multi-label indicator and independent probabilities."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, k)) < [0.2, 0.5, 0.7][:k]).astype(int)
    proba = 1 / (1 + np.exp(-(rng.normal(size=(n, k)) + 1.5 * y - 0.8)))
    return y, proba if decimals is None else proba.round(decimals)


def shared(y, pred, **options):
    """The metrics of scikit-learn that single- and multi-label problems have in common."""
    found = {"accuracy": sk.accuracy_score(y, pred, **options)}
    for average in ("macro", "weighted"):
        for name in ("precision", "recall", "f1"):
            score = getattr(sk, f"{name}_score")
            found[f"{name}_{average}"] = score(y, pred, average=average, zero_division=0, **options)
    return found


def by_scikit_learn(y, proba, pred=None, **options):
    """Every single-label metric by scikit-learn, on class numbers."""
    k = proba.shape[1]
    pred = proba.argmax(axis=1) if pred is None else pred
    found = shared(y, pred, **options)
    found["balanced_accuracy"] = sk.balanced_accuracy_score(y, pred, **options)
    found["mcc"] = sk.matthews_corrcoef(y, pred, **options)
    found["log_loss"] = sk.log_loss(y, proba, labels=range(k), **options)
    found["brier"] = sk.brier_score_loss(y, proba, labels=range(k), **options)
    if k == 2:
        for name in ("precision", "recall", "f1"):
            found[name] = getattr(sk, f"{name}_score")(y, pred, pos_label=1, zero_division=0, **options)
        found["roc_auc"] = sk.roc_auc_score(y, proba[:, 1], **options)
        found["pr_auc"] = sk.average_precision_score(y, proba[:, 1], **options)
    else:
        indicator = np.eye(k, dtype=int)[y]
        found["roc_auc"] = sk.roc_auc_score(indicator, proba, average="macro", **options)
        found["pr_auc"] = sk.average_precision_score(indicator, proba, average="macro", **options)
    return found


def labels_by_scikit_learn(y, proba, pred, **options):
    """Every multi-label metric by scikit-learn."""
    columns = range(y.shape[1])
    found = shared(y, pred, **options)
    found["f1_micro"] = sk.f1_score(y, pred, average="micro", **options)
    found["hamming_loss"] = sk.hamming_loss(y, pred, **options)
    found["roc_auc"] = sk.roc_auc_score(y, proba, average="macro", **options)
    found["pr_auc"] = sk.average_precision_score(y, proba, average="macro", **options)
    found["log_loss"] = np.mean([sk.log_loss(y[:, j], proba[:, j], labels=[0, 1], **options) for j in columns])
    found["brier"] = np.mean([sk.brier_score_loss(y[:, j], proba[:, j], **options) for j in columns])
    return found


def assert_same(found, expected, rtol=1e-9):
    assert set(expected) <= set(found)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=1e-12, err_msg=name)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.25, stratify=y, random_state=0)
    return y_test, LogisticRegression(max_iter=300).fit(X, y).predict_proba(X_test)


# --- point values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("decimals", [None, 1])
def test_single_label_equals_scikit_learn(k, decimals):
    y, proba = sample(k=k, decimals=decimals)
    assert_same(metrics.classification(y, proba, n_bootstrap=0).metrics, by_scikit_learn(y, proba))


def test_digits_equal_scikit_learn(digits):
    y, proba = digits
    report = metrics.classification(y, proba, n_bootstrap=0)
    expected = by_scikit_learn(y, proba)
    assert_same(report.metrics, expected)
    assert expected["roc_auc"] == pytest.approx(sk.roc_auc_score(y, proba, multi_class="ovr"))
    np.testing.assert_array_equal(report.tables["confusion"], sk.confusion_matrix(y, proba.argmax(axis=1)))


def test_float32_equals_scikit_learn_on_float32():
    y, proba = sample(k=3)
    proba = proba.astype(np.float32)
    proba[0] = np.eye(3)[(y[0] + 1) % 3]  # certain and wrong: the clipping depends on the dtype
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = by_scikit_learn(y, proba)
    found = metrics.classification(y, proba, n_bootstrap=0).metrics
    assert_same(found, expected, rtol=1e-6)
    assert_same(WeightedScores(check_answers(y, proba, None, None))(np.ones((300, 1))), found, rtol=1e-5)


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("threshold", [None, 0.3, [0.2, 0.5, 0.8]])
def test_multi_label_equals_scikit_learn(decimals, threshold):
    y, proba = labels_sample(decimals=decimals)
    pred = (proba >= (0.5 if threshold is None else np.asarray(threshold))).astype(int)
    report = metrics.classification(y, proba, ["a", "b", "c"], threshold=threshold, n_bootstrap=0)
    assert_same(report.metrics, labels_by_scikit_learn(y, proba, pred))
    assert report.headline == "f1_macro"
    assert "balanced_accuracy" not in report.metrics
    assert "confusion" not in report.tables
    limits = np.broadcast_to(0.5 if threshold is None else threshold, 3).tolist()
    assert report.context["threshold"] == limits == report.tables["classes"]["threshold"].tolist()


def test_per_class_table_equals_scikit_learn(digits):
    y, proba = digits
    table = metrics.classification(y, proba, n_bootstrap=0).tables["classes"]
    expected = sk.precision_recall_fscore_support(y, proba.argmax(axis=1))
    for name, values in zip(["precision", "recall", "f1", "support"], expected, strict=True):
        np.testing.assert_allclose(table[name], values)
    for j in range(10):
        assert table.loc[j, "roc_auc"] == pytest.approx(sk.roc_auc_score(y == j, proba[:, j]))
        assert table.loc[j, "pr_auc"] == pytest.approx(sk.average_precision_score(y == j, proba[:, j]))


def test_calibration_error_by_its_definition():
    y, proba = sample(k=3)
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == y
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        total += abs(right[inside].sum() - confidence[inside].sum()) / len(y)
    report = metrics.classification(y, proba, n_bootstrap=0)
    assert report.metrics["ece"] == pytest.approx(total)
    assert report.curves["reliability"]["count"].sum() == len(y)


def test_calibration_error_of_labels_is_their_mean():
    y, proba = labels_sample()
    each = []
    for j in range(3):
        pair = np.column_stack([1 - proba[:, j], proba[:, j]])
        bins = np.ceil(proba[:, j] * 15).clip(1)
        gaps = [abs((y[bins == b, j] - pair[bins == b, 1]).sum()) for b in range(1, 16)]
        each.append(sum(gaps) / len(y))
    assert metrics.classification(y, proba, n_bootstrap=0).metrics["ece"] == pytest.approx(np.mean(each))


# --- forms of the arguments -------------------------------------------------------------------------------------------


def test_three_forms_of_two_classes_agree():
    y, proba = sample(k=2)
    reports = [metrics.classification(y, form, n_bootstrap=50) for form in (proba, proba[:, 1], proba[:, 1:])]
    assert reports[0].metrics == pytest.approx(reports[1].metrics)
    assert reports[1] == reports[2]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["no", "yes"], ("no", "yes")), ([False, True], (False, True)), ([3, 7], (3, 7)), ([7, 3], (3, 7))],
)
def test_labels_of_any_type(labels, expected):
    y = [labels[0], labels[1], labels[1]]
    report = metrics.classification(y, [0.1, 0.9, 0.8], n_bootstrap=0)
    assert tuple(report.tables["classes"].index) == expected


def test_pandas_categories_and_order_of_classes():
    y = pd.Series(["dog", "cat", "cat"], index=[7, 8, 9], dtype="category")
    frame = pd.DataFrame({"dog": [0.9, 0.2, 0.1], "cat": [0.1, 0.8, 0.9]})
    report = metrics.classification(y, frame, classes=["dog", "cat"], n_bootstrap=0)
    assert report.metrics["accuracy"] == 1
    assert report.tables["confusion"].loc["cat", "cat"] == 2


def test_mixed_labels_stay_what_they_are():
    report = metrics.classification([1, "other", 1], [0.2, 0.9, 0.1], classes=[1, "other"], n_bootstrap=0)
    assert report.metrics["accuracy"] == 1


def test_arguments_are_left_unchanged():
    y, proba = sample(n=20, k=2)
    before = y.copy(), proba.copy()
    metrics.classification(y, proba, n_bootstrap=5)
    np.testing.assert_array_equal(y, before[0])
    np.testing.assert_array_equal(proba, before[1])


# --- thresholds -------------------------------------------------------------------------------------------------------


def test_threshold_moves_the_decision():
    y, proba = sample(k=2)
    report = metrics.classification(y, proba, threshold=0.3, n_bootstrap=0)
    assert_same(report.metrics, by_scikit_learn(y, proba, (proba[:, 1] >= 0.3).astype(int)))
    assert report.context["threshold"] == 0.3


def test_a_tie_goes_to_the_first_class_unless_a_threshold_is_given():
    default = metrics.classification(["a", "b"], [0.5, 0.9], n_bootstrap=0)
    explicit = metrics.classification(["a", "b"], [0.5, 0.9], threshold=0.5, n_bootstrap=0)
    assert default.context["threshold"] == "argmax"
    assert default.metrics["accuracy"] == 1
    assert explicit.context["threshold"] == 0.5
    assert explicit.metrics["accuracy"] == 0.5


# --- what is undefined ------------------------------------------------------------------------------------------------


def quiet_report(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return metrics.classification(*args, **options)


def test_absent_class_is_left_out_of_the_averages_and_named():
    y, proba = sample(k=3)
    keep = y != 2
    y, proba = y[keep], proba[keep]
    report = quiet_report(np.array(["a", "b"])[y], proba, ["a", "b", "c"], n_bootstrap=100)
    table = report.tables["classes"]
    assert math.isnan(table.loc["c", "roc_auc"])
    assert math.isnan(table.loc["c", "pr_auc"])
    each = [sk.roc_auc_score(y == j, proba[:, j]) for j in (0, 1)]
    assert report.metrics["roc_auc"] == pytest.approx(np.mean(each))
    assert_same(report.metrics, {**shared(y, proba.argmax(axis=1))})
    assert any("No sample of 'c'" in note for note in report.notes)
    assert "c" not in set(report.curves["roc"]["class"])


@pytest.mark.parametrize("only", ["a", "b"])
def test_one_class_leaves_roc_auc_undefined_with_a_note(only):
    report = quiet_report([only] * 4, [0.1, 0.9, 0.6, 0.2], ["a", "b"], n_bootstrap=20)
    row = report.tables["headline"].loc["roc_auc"]
    assert row.isna().all()
    assert any("ROC-AUC" in note and "undefined" in note for note in report.notes)
    assert len(report.curves["roc"]) == 0


def test_a_class_never_predicted_counts_as_zero_and_is_named():
    report = quiet_report(["a", "b", "c"], [[0.9, 0.1, 0], [0.1, 0.9, 0], [0.6, 0.4, 0]], n_bootstrap=20)
    assert report.tables["classes"].loc["c", "precision"] == 0
    assert any("Never predicted: 'c'" in note for note in report.notes)


def test_labels_without_positives_are_named():
    y, proba = labels_sample(n=30)
    y[:, 1] = 0
    report = quiet_report(y, proba, ["a", "b", "c"], n_bootstrap=20)
    assert_same(report.metrics, shared(y, (proba >= 0.5).astype(int)))
    assert any("No sample of 'b'" in note for note in report.notes)
    assert report.metrics["roc_auc"] == pytest.approx(sk.roc_auc_score(y[:, [0, 2]], proba[:, [0, 2]]))


def test_one_sample():
    report = quiet_report(["a"], [0.2], ["a", "b"], n_bootstrap=10)
    assert report.n == 1
    assert report.metrics["accuracy"] == 1


def test_no_mistake_is_not_sold_as_certainty():
    report = metrics.classification(["a", "b"] * 20, [0.1, 0.9] * 20)
    assert any("No mistake in 40 samples" in note and "0.9278" in note for note in report.notes)


# --- weights: the form behind intervals and groups --------------------------------------------------------------------

PROBLEMS = {
    "binary": sample(n=60, k=2),
    "binary, ties": sample(n=60, k=2, decimals=1),
    "three classes": sample(n=60, k=3),
    "three classes, ties": sample(n=60, k=3, decimals=1),
    "labels": labels_sample(n=60),
    "labels, ties": labels_sample(n=60, decimals=1),
}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    y, proba = PROBLEMS[request.param]
    return y, proba, check_answers(y, proba, None, None)


def expected_on(y, proba, **options):
    if y.ndim == 2:
        return labels_by_scikit_learn(y, proba, (proba >= 0.5).astype(int), **options)
    return by_scikit_learn(y, proba, **options)


def test_weights_of_one_give_the_point_values(problem):
    y, _, answers = problem
    found = WeightedScores(answers)(np.ones((len(y), 2)))
    point = scores(answers)
    assert set(found) == set(point)
    for column in (0, 1):
        assert_same({name: values[column] for name, values in found.items()}, point)


def test_any_weights_equal_scikit_learn(problem):
    y, proba, answers = problem
    weights = np.random.default_rng(1).random((len(y), 5)) + 0.01
    found = WeightedScores(answers)(weights)
    for column in range(5):
        expected = expected_on(y, proba, sample_weight=weights[:, column])
        assert_same({name: values[column] for name, values in found.items()}, expected)


def test_a_resample_equals_scikit_learn_on_the_drawn_samples(problem):
    y, proba, answers = problem
    (counts,) = bootstrap.resamples(len(y), 20, seed=3)
    found = WeightedScores(answers)(counts)
    for column in range(20):
        drawn = np.repeat(np.arange(len(y)), counts[:, column].astype(int))
        expected = expected_on(y[drawn], proba[drawn])
        assert_same({name: values[column] for name, values in found.items()}, expected)


def test_a_weighting_without_a_class_is_undefined_not_zero():
    y, proba = sample(n=40, k=2)
    weights = np.column_stack([np.ones(40), y == 1, y == 0])
    found = WeightedScores(check_answers(y, proba, None, None))(weights)
    assert np.isnan(found["roc_auc"]).tolist() == [False, True, True]
    assert np.isnan(found["pr_auc"]).tolist() == [False, False, True]
    assert found["balanced_accuracy"][1] == pytest.approx(sk.recall_score(y, proba.argmax(axis=1)))


# --- intervals --------------------------------------------------------------------------------------------------------


def test_every_metric_has_an_interval_around_it(digits):
    table = metrics.classification(*digits).tables["headline"]
    assert table.notna().all(axis=None)
    inside = (table["low"] <= table["value"]) & (table["value"] <= table["high"])
    assert inside.drop("ece").all()  # resampling shifts the calibration error upwards


def test_intervals_narrow_with_more_samples():
    widths = []
    for n in (100, 1600):
        table = metrics.classification(*sample(n=n), n_bootstrap=300).tables["headline"]
        widths.append(table["high"] - table["low"])
    ratio = (widths[0] / widths[1]).drop("ece")
    assert ((ratio > 2) & (ratio < 8)).all()  # about 4, the root of 16


def test_accuracy_interval_agrees_with_the_normal_approximation():
    y, proba = sample(n=900)
    report = metrics.classification(y, proba, n_bootstrap=2000)
    value, low, high = report.tables["headline"].loc["accuracy"]
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(value * (1 - value) / 900), rel=0.1)


def test_the_seed_decides_the_intervals():
    y, proba = sample()
    tables = [metrics.classification(y, proba, seed=seed, n_bootstrap=100).tables["headline"] for seed in (0, 0, 1)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])
    pd.testing.assert_series_equal(tables[0]["value"], tables[2]["value"])


def test_blocks_do_not_change_the_intervals(monkeypatch):
    y, proba = sample(n=50)
    whole = metrics.classification(y, proba, n_bootstrap=40).tables["headline"]
    monkeypatch.setattr(bootstrap, "_BLOCK", 350)
    pd.testing.assert_frame_equal(metrics.classification(y, proba, n_bootstrap=40).tables["headline"], whole)


def test_without_resamples_there_are_no_intervals():
    report = metrics.classification(*sample(), n_bootstrap=0)
    assert report.tables["headline"][["low", "high"]].isna().all(axis=None)
    assert report.context["n_bootstrap"] == 0


def test_fewer_resamples_for_many_samples_are_said(monkeypatch):
    monkeypatch.setattr("pipelines.metrics._classification._BOOTSTRAP_BUDGET", 300 * 4 * 150)
    report = metrics.classification(*sample())
    assert report.context["n_bootstrap"] == 150
    assert any("150 resamples" in note for note in report.notes)


def test_resamples_draw_n_each():
    blocks = list(bootstrap.resamples(7, 30, seed=0))
    assert sum(block.shape[1] for block in blocks) == 30
    assert all((block.sum(axis=0) == 7).all() for block in blocks)


# --- baselines, groups, curves ----------------------------------------------------------------------------------------


def test_baselines_have_rows_by_the_default_rule():
    y, proba = sample(k=2)
    other = sample(k=2, seed=5)[1]
    table = metrics.classification(y, proba, threshold=0.9, baselines={"coin": other}, n_bootstrap=0).tables["baselines"]
    assert list(table.index) == ["this model", "coin"]
    assert list(table.columns) == ["accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "log_loss"]
    assert_same(by_scikit_learn(y, other), table.loc["coin"].to_dict())


def test_default_baseline_is_labelled_as_knowing_the_labels():
    y, proba = sample(k=3)
    report = metrics.classification(y, proba, n_bootstrap=0)
    row = report.tables["baselines"].loc["constant (test prevalence)"]
    assert row["accuracy"] == np.bincount(y).max() / len(y)
    assert row["roc_auc"] == 0.5
    assert any("these very labels" in note for note in report.notes)


def test_below_baseline_is_said_first():
    y, proba = sample(k=3)
    report = metrics.classification(y, 1 / 3 + 0 * proba, baselines={"good": proba}, n_bootstrap=0)
    loud = [note for note in report.notes if note.startswith("BELOW BASELINE")]
    assert report.notes[: len(loud)] == tuple(loud)
    assert ["accuracy" in loud[0], "roc_auc" in loud[1], "'good'" in loud[0]] == [True] * 3
    assert "is lower than" in loud[0]


def test_equal_to_the_baseline_is_a_loss_too():
    y, proba = sample(k=3)
    report = metrics.classification(y, proba, baselines={"same": proba}, n_bootstrap=0)
    assert "is no better than" in report.notes[0]


def test_above_the_baseline_says_nothing():
    y, proba = sample(k=3)
    report = metrics.classification(y, proba, baselines={"flat": np.full_like(proba, 1 / 3)}, n_bootstrap=0)
    assert not any("BELOW" in note for note in report.notes)


@pytest.mark.parametrize("make", [lambda: sample(k=3), lambda: sample(k=2), labels_sample])
def test_groups_equal_scikit_learn_on_each_part(make):
    y, proba = make()
    groups = np.where(np.arange(len(y)) % 3 == 0, "left", "right")
    table = metrics.classification(y, proba, groups=groups, n_bootstrap=0).tables["groups"]
    assert list(table.index) == ["left", "right"]
    for name, row in table.iterrows():
        part = groups == name
        assert row["n"] == part.sum()
        expected = expected_on(y[part], proba[part])
        assert_same(row.to_dict(), {metric: expected[metric] for metric in table.columns.drop("n")})


@pytest.mark.parametrize("form", [dict, pd.DataFrame])
def test_groups_in_several_columns_are_rows_one_after_the_other(form):
    y, proba = sample(k=2)
    site, sex = np.where(np.arange(300) % 3 == 0, "A", "B"), np.where(np.arange(300) < 100, "f", "m")
    table = metrics.classification(y, proba, groups=form({"site": site, "sex": sex}), n_bootstrap=0).tables["groups"]
    assert list(table.index) == ["site: A", "site: B", "sex: f", "sex: m"]
    for name, column in (("site", site), ("sex", sex)):
        alone = metrics.classification(y, proba, groups=column, n_bootstrap=0).tables["groups"]
        part = table[[row.startswith(name) for row in table.index]]
        np.testing.assert_array_equal(part.to_numpy(), alone.to_numpy())


def test_clusters_widen_the_intervals_where_their_samples_are_alike():
    y, proba = sample(n=40, k=2)
    y, proba, clusters = np.repeat(y, 10), np.repeat(proba, 10, axis=0), np.repeat([f"p{i}" for i in range(40)], 10)
    alone = metrics.classification(y, proba, seed=3).tables["headline"]
    report = metrics.classification(y, proba, clusters=clusters, seed=3)
    together = report.tables["headline"]
    assert (together["value"] == alone["value"]).all()
    width = (together["high"] - together["low"]) / (alone["high"] - alone["low"])
    assert 2.5 < width["accuracy"] < 4  # the root of ten
    assert any("resampling 40 clusters (patients)" in note for note in report.notes)
    one_each = metrics.classification(y[::10], proba[::10], seed=3).tables["headline"]
    np.testing.assert_allclose(together, one_each, atol=0.05)


def test_a_single_cluster_has_no_intervals():
    y, proba = sample(n=40, k=2)
    report = metrics.classification(y, proba, clusters=["p"] * 40)
    assert report.tables["headline"][["low", "high"]].isna().all().all()
    assert any("one cluster" in note for note in report.notes)


def test_no_mistake_counts_by_clusters():
    report = metrics.classification([0, 1] * 10, [0.0, 1.0] * 10, clusters=np.arange(20) // 4)
    assert any(f"an accuracy below {0.05 ** (1 / 5):.4f}" in note for note in report.notes)


def test_operating_points_equal_scikit_learn():
    y, proba = sample(k=2)
    table = metrics.classification(y, proba, operating={"low": 0.3, "high": [0.8]}).tables["operating points"]
    assert set(table.index) == {"low", "high"}
    for name, threshold in (("low", 0.3), ("high", 0.8)):
        said, rows = proba[:, 1] >= threshold, table.loc[name].set_index("measure")
        assert (rows["threshold"] == threshold).all()
        assert rows.loc["sensitivity", "value"] == pytest.approx(sk.recall_score(y, said))
        assert rows.loc["specificity", "value"] == pytest.approx(sk.recall_score(y, said, pos_label=0))
        assert rows.loc["ppv", "value"] == pytest.approx(sk.precision_score(y, said))
        assert rows.loc["npv", "value"] == pytest.approx(sk.precision_score(y, said, pos_label=0))
        assert (rows["low"] < rows["value"]).all()
        assert (rows["value"] < rows["high"]).all()


def test_operating_points_of_several_labels_and_of_a_saved_report():
    y, proba = labels_sample()
    report = metrics.classification(y, proba, ["a", "b", "c"], operating={"sharp": [0.2, 0.5, 0.9]})
    table = report.tables["operating points"]
    for j, (name, threshold) in enumerate({"a: sharp": 0.2, "b: sharp": 0.5, "c: sharp": 0.9}.items()):
        found = table.loc[name].set_index("measure")["value"]
        assert found["sensitivity"] == pytest.approx(sk.recall_score(y[:, j], proba[:, j] >= threshold))
    assert Report.from_dict(report.to_dict()) == report
    assert "sensitivity" in str(report)


def test_operating_points_are_undefined_where_there_is_nothing_to_divide_by():
    report = quiet_report([1, 1, 1], [0.2, 0.9, 0.8], classes=[0, 1], operating={"half": 0.5})
    rows = report.tables["operating points"].set_index("measure")
    assert rows.loc["sensitivity", "value"] == pytest.approx(2 / 3)
    assert rows.loc["specificity"].drop("threshold").isna().all()
    assert rows.loc["npv", "value"] == 0


def test_many_groups_in_blocks(monkeypatch):
    y, proba = sample(n=60, k=2)
    whole = metrics.classification(y, proba, groups=list(range(20)) * 3, n_bootstrap=0).tables["groups"]
    monkeypatch.setattr("pipelines.metrics._classification._GROUP_BLOCK", 60 * 7)
    blocks = metrics.classification(y, proba, groups=list(range(20)) * 3, n_bootstrap=0).tables["groups"]
    pd.testing.assert_frame_equal(whole, blocks)


def test_a_group_with_one_class_is_undefined_and_named():
    y, proba = sample(n=40, k=2)
    report = quiet_report(y, proba, groups=["mixed" if i % 2 else f"only {y[i]}" for i in range(40)], n_bootstrap=0)
    table = report.tables["groups"]
    assert math.isnan(table.loc["only 0", "roc_auc"])
    assert table.loc["mixed", "roc_auc"] > 0.5
    assert any("'only 0', 'only 1'" in note for note in report.notes)


def test_roc_and_pr_curves_are_scikit_learns():
    y, proba = sample(k=2)
    report = metrics.classification(np.array(["no", "yes"])[y], proba, n_bootstrap=0)
    roc, pr = report.curves["roc"], report.curves["pr"]
    fpr, tpr, threshold = sk.roc_curve(y, proba[:, 1])
    np.testing.assert_allclose(roc[["fpr", "tpr", "threshold"]], np.column_stack([fpr, tpr, threshold]))
    precision, recall, _ = sk.precision_recall_curve(y, proba[:, 1], drop_intermediate=True)
    np.testing.assert_allclose(pr[["recall", "precision"]], np.column_stack([recall, precision]))
    assert set(roc["class"]) == {"yes"}


def test_curves_are_thinned_with_their_ends():
    report = metrics.classification(*sample(n=5000, k=3), n_bootstrap=0)
    for name, ends in [("roc", [(0, 0), (1, 1)]), ("pr", [(1, 1 / 3), (0, 1)])]:
        x, y = report.curves[name].columns[1:3]
        for label, curve in report.curves[name].groupby("class"):
            assert len(curve) <= 500
            if label != "macro average":
                first_and_last = curve[[x, y]].iloc[[0, -1]].to_numpy()
                np.testing.assert_allclose(first_and_last, ends, atol=0.02)


def test_two_hundred_classes():
    y, proba = sample(n=400, k=200)
    report = quiet_report(y, proba, list(range(200)), n_bootstrap=20)
    assert len(report.tables["classes"]) == 200
    assert len(report.curves["roc"]) < 15_000


def test_context_and_examples_pass_through():
    example = Example("a mistake")
    report = metrics.classification(*sample(), context={"device": "cpu"}, examples=[example], n_bootstrap=3, seed=7)
    assert report.context == {"device": "cpu", "threshold": "argmax", "n_bootstrap": 3, "seed": 7}
    assert report.examples == (example,)


# --- bad arguments ----------------------------------------------------------------------------------------------------

GOOD = [[0.7, 0.3], [0.2, 0.8]]
BAD = {
    "lengths": ((["a", "b", "a"], GOOD), {}, r"y_true has 3 samples, but proba has 2"),
    "empty": (([], []), {}, "y_true is empty"),
    "nan": ((["a", "b"], [[0.7, 0.3], [np.nan, 1]]), {}, r"proba\[1, 0\] is nan"),
    "inf": ((["a", "b"], [[0.7, 0.3], [0, np.inf]]), {}, r"proba\[1, 1\] is inf"),
    "outside": ((["a", "b"], [[1.7, -0.7], [0.2, 0.8]]), {}, r"proba\[0, 0\] is 1.7"),
    "sums": ((["a", "b"], [[0.7, 0.3], [0.2, 0.7]]), {}, r"proba\[1\] sums to 0.9000, not 1 \(1 of 2 rows"),
    "text": ((["a", "b"], [["x", "y"], ["z", "w"]]), {}, "cannot be read as an array of probabilities"),
    "complex": ((["a", "b"], [1j, 2j]), {}, "cannot be read as an array of probabilities"),
    "ragged proba": ((["a", "b"], [[0.2, 0.8], [1.0]]), {}, "cannot be read"),
    "3-d proba": ((["a", "b"], np.full((2, 2, 2), 0.5)), {}, "proba has 3 dimensions"),
    "3-d labels": ((np.zeros((2, 2, 2)), GOOD), {}, "y_true has 3 dimensions"),
    "0-d labels": (("a", GOOD), {}, "y_true has 0 dimensions"),
    "column labels": (([[0], [1]], GOOD), {}, r"y_true has shape \(2, 1\)"),
    "ragged labels": (([["a"], ["a", "b"]], GOOD), {}, "rows of different lengths"),
    "unknown label": ((["cat", "dgo"], GOOD), {"classes": ["cat", "dog"]}, r"y_true\[1\] is 'dgo'.*mean 'dog'"),
    "unknown number": (([0, 5], GOOD), {"classes": [0, 1]}, r"y_true\[1\] is 5, which is not one of the 2 classes"),
    "missing label": ((["a", None], GOOD), {"classes": ["a", "b"]}, r"y_true\[1\] is None"),
    "classes": ((["a", "b"], GOOD), {"classes": ["a"]}, "classes has 1 distinct names, but proba has 2 columns"),
    "guessed classes": ((["a", "a"], GOOD), {}, "y_true has 1 distinct names, but proba has 2 columns; pass classes="),
    "same class twice": ((["a", "a"], GOOD), {"classes": ["a", "a"]}, "names 'a' more than once"),
    "unsortable": ((["a", 1], GOOD), {}, "cannot be sorted; pass classes="),
    "threshold range": ((["a", "b"], GOOD), {"threshold": 1.5}, "between 0 and 1, not 1.5"),
    "threshold nan": ((["a", "b"], GOOD), {"threshold": float("nan")}, "between 0 and 1"),
    "threshold text": ((["a", "b"], GOOD), {"threshold": "high"}, "number between 0 and 1, not 'high'"),
    "threshold list": ((["a", "b"], GOOD), {"threshold": [0.5, 0.5]}, r"threshold has shape \(2,\)"),
    "threshold of many": (([0, 1, 2], np.eye(3)), {"threshold": 0.5}, "no meaning with 3 classes"),
    "threshold count": (([[0, 1]], [[0.1, 0.9]]), {"threshold": [0.1, 0.2, 0.3]}, "expected one number or 2"),
    "indicator shape": (
        ([[0, 1]], [[0.1, 0.2, 0.3]]),
        {},
        r"indicator of shape \(1, 2\), but proba has shape \(1, 3\)",
    ),
    "indicator of one column": (([[0, 1]], [0.1]), {}, "proba has one dimension"),
    "indicator values": (([[0, 1], [2, 0]], GOOD), {}, r"y_true\[1, 0\] is .*2.*only 0 and 1"),
    "groups length": ((["a", "b"], GOOD), {"groups": ["x"]}, "groups has 1 entries, but there are 2"),
    "groups missing": ((["a", "b"], GOOD), {"groups": ["x", None]}, r"groups\[1\] is None"),
    "groups nan": ((["a", "b"], GOOD), {"groups": [1.0, float("nan")]}, r"groups\[1\] is nan"),
    "groups no column": ((["a", "b"], GOOD), {"groups": {}}, "groups has no columns"),
    "groups column": ((["a", "b"], GOOD), {"groups": {"sex": ["f", None]}}, r"groups\['sex'\]\[1\] is None"),
    "clusters length": ((["a", "b"], GOOD), {"clusters": ["p"]}, "clusters has 1 entries, but there are 2"),
    "clusters missing": ((["a", "b"], GOOD), {"clusters": ["p", None]}, r"clusters\[1\] is None"),
    "operating range": ((["a", "b"], GOOD), {"operating": {"x": 2.0}}, "between 0 and 1, not 2.0"),
    "operating kind": ((["a", "b"], GOOD), {"operating": [0.5]}, "operating must be a mapping"),
    "operating of many": (([0, 1, 2], np.eye(3)), {"operating": {"x": 0.5}}, "operating has no meaning with 3 classes"),
    "baseline length": ((["a", "b"], GOOD), {"baselines": {"m": GOOD[:1]}}, r"baselines\['m'\] has 1"),
    "baseline shape": ((["a", "b"], GOOD), {"baselines": {"m": np.full((2, 4), 0.25)}}, r"baselines\['m'\] has shape"),
    "groups scalar": ((["a", "b"], GOOD), {"groups": 5}, "groups must be a sequence, not 5"),
    "classes text": ((["a", "b"], GOOD), {"classes": "ab"}, "classes must be a sequence, not 'ab'"),
    "label sets": ((pd.Series([["a"], ["a", "b"]]), GOOD), {}, r"y_true\[0\] is \['a'\], a collection"),
    "guessed nan": (([0.0, float("nan")], GOOD), {}, r"y_true\[1\] is nan"),
    "pandas NA": ((pd.Series([0, None], dtype="Int64"), GOOD), {}, r"y_true\[1\] is <NA>"),
    "resamples": ((["a", "b"], GOOD), {"n_bootstrap": -1}, "0 or more; not -1"),
    "half resamples": ((["a", "b"], GOOD), {"n_bootstrap": 1.5}, "whole number"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused_with_a_sentence(case):
    args, options, message = BAD[case]
    with pytest.raises(DataError, match=message):
        metrics.classification(*args, **options)


def test_single_precision_overshoot_is_accepted():
    assert metrics.classification(["a", "b"], [0.0, 1.0000001], n_bootstrap=0).metrics["accuracy"] == 1


def test_importing_loads_no_framework_and_no_drawing():
    code = (
        "import sys, pipelines.metrics, pipelines.report;"
        "sys.exit(any(m in sys.modules for m in ['torch', 'tensorflow', 'keras', 'transformers', 'matplotlib']))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
