"""`AnomalyDetector.evaluate`: numbers as `metrics.anomaly` has them, the simple detectors beside, notes, names and times."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from pipelines import DataError, metrics
from pipelines.metrics.events import runs

from .test_anomaly import HOURS, T, make, three, wave

SIMPLE = ["random score", "moving z-score", "isolation forest", "k-means", "Sub-PCA", "PCA, two windows"]
WAVE = wave()


def faulty(rows=T, start=200, seed=1):
    """A wave with a fault of 30 rows, and its labels."""
    values, truth = wave(rows, seed), np.zeros(rows, dtype=bool)
    truth[start : start + 30] = True
    return values + 3 * truth, truth


X, Y = faulty()


@pytest.fixture(scope="module")
def model():
    return make().fit(WAVE)


@pytest.fixture(scope="module")
def family():
    return make(method="pca").fit({"a": WAVE, "b": 100 * WAVE[:300]})


@pytest.mark.parametrize(
    ("method", "online"),
    [("auto", False), ("auto", True), ("lstm-forecaster", True), ("lstm-autoencoder", False), ("pca", False)],
)
def test_numbers_are_those_of_scikit_learn_and_of_the_metrics(method, online):
    model = make(method=method, online=online).fit(WAVE)
    report = model.evaluate(X, Y)
    score, alarm = model.score_samples(X), model.predict(X)
    seen = ~np.isnan(score)
    assert report.n == seen.sum()
    found = report.metrics
    assert found["pr_auc"] == pytest.approx(average_precision_score(Y[seen], score[seen]))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(Y[seen], score[seen]))
    for name, peer in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert found[name] == pytest.approx(peer(Y[seen], alarm[seen])), name
    plain = metrics.anomaly(Y, score, threshold=model.threshold_, period=20, n_bootstrap=0)
    assert found == pytest.approx(plain.metrics, nan_ok=True)
    assert model.score(X, Y) == found["vus_pr"] == found[report.headline]
    assert report.task == "anomaly-detection"


def test_the_simple_detectors_always_run(model):
    table = model.evaluate(X, Y).tables["baselines"]
    assert table.index.tolist() == ["this model", *SIMPLE]
    assert np.isfinite(table[["vus_pr", "roc_auc"]].to_numpy()).all()
    assert table.loc["random score", "vus_pr"] < 0.35
    assert not table.loc["random score", "recall"]  # its threshold is out of reach
    assert table.loc["Sub-PCA", "recall"] > 0


def test_a_score_alone_runs_no_simple_detector(model, monkeypatch):
    monkeypatch.setattr("timeseries.simple_detectors.all_of", None)
    assert 0 < model.score(X, Y) <= 1


def test_events_and_delays(model):
    report = model.evaluate(X, Y)
    assert report.metrics["event_recall"] == 1
    assert report.tables["events"]["kind"].tolist() == ["found"]
    online = make(online=True).fit(WAVE)
    report = online.evaluate(X, Y)
    alarm = online.predict(X).astype(bool)
    assert report.metrics["delay"] == np.flatnonzero(alarm & Y)[0] - 200 <= 4
    touching = [Y[start:stop].any() for start, stop in zip(*runs(alarm), strict=True)]
    assert report.metrics["event_precision"] == pytest.approx(np.mean(touching))


def test_false_alarms_are_counted_a_day_where_there_is_time():
    series = pd.Series(X, HOURS)
    model = make(method="pca").fit(pd.Series(WAVE, HOURS))
    model.threshold_ = float(np.sort(model.score_samples(series))[-200])
    report = model.evaluate(series, ~Y)
    false = int((report.tables["events"]["kind"] == "false alarm").sum())
    assert report.metrics["false_alarms_per_day"] == pytest.approx(false / (T / 24))
    nothing = model.evaluate(series, np.arange(T) == 0)
    false = int((nothing.tables["events"]["kind"] == "false alarm").sum())
    assert false > 0
    assert nothing.metrics["false_alarms_per_day"] == pytest.approx(false / (T / 24))
    assert "false_alarms_per_1000" not in report.metrics
    assert nothing.tables["events"]["start"].iloc[0] in ("2024-01-01 00:00", "2024-01-01", "2024-01-01 00:00:00")
    plain = make(method="pca").fit(WAVE).evaluate(X, Y)
    assert "false_alarms_per_1000" in plain.metrics


def test_gaps_are_left_out_and_missing_stamps_do_not_appear():
    series = pd.Series(X, HOURS)
    series.iloc[[50, 51, 210]] = np.nan
    gone = series.drop(HOURS[[100, 220]])
    labels = pd.Series(Y, HOURS)[gone.index]
    model = make().fit(pd.Series(WAVE, HOURS))
    report = model.evaluate(gone, labels)
    assert report.n == T - 2 - 3
    assert any("2 missing time stamps were inserted" in note for note in report.notes)
    assert any("3 of 398 points could not be scored" in note for note in report.notes)
    score = model.score_samples(gone)
    assert score.index.equals(gone.index)
    seen = score.notna()
    assert report.metrics["pr_auc"] == pytest.approx(average_precision_score(labels[seen], score[seen]))
    assert report.metrics["event_recall"] == 1
    events = model.events(gone)
    assert events["rows"].sum() <= model.predict(gone).sum()
    assert events["start"].tolist()[1:] == [HOURS[211]]  # parted by a row without a value, not by a missing stamp


def test_notes_repeat_what_fit_found_out():
    spoiled = wave(1500)
    spoiled[700] = 50
    model = make(method="pca").fit(spoiled)
    assert any("stand out from the rest" in note for note in model.evaluate(X, Y).notes)


def test_one_series_is_no_family(model):
    report = model.evaluate(X, Y)
    assert "series" not in report.tables
    assert "series" not in report.tables["events"]
    assert "series" in model.evaluate([X], [Y]).tables


def test_series_go_by_their_names(family):
    both = {"a": X, "b": 100 * X[:300]}
    truth = {"b": Y[:300], "a": Y}
    report = family.evaluate(both, truth)
    assert report.tables["series"].index.tolist() == ["a", "b"]
    assert report.tables["series"]["n"].tolist() == [T, 300]
    assert family.evaluate({"a": X}, {"a": Y}).tables["series"].index.tolist() == ["a"]
    assert family.evaluate(list(both.values()), [Y, Y[:300]]).tables["series"].index.tolist() == ["series 0", "series 1"]
    assert report.metrics["vus_pr"] == pytest.approx(report.tables["series"]["vus_pr"].mean())


@pytest.mark.parametrize("groups", [["x", "y"], ("x", "y"), pd.Series(["x", "y"], index=[7, 8])], ids=repr)
def test_groups_name_the_series(family, groups):
    report = family.evaluate({"a": X, "b": 100 * X[:300]}, {"a": Y, "b": Y[:300]}, groups=groups)
    assert report.tables["groups"].index.tolist() == ["x", "y"]


def test_a_long_frame_is_judged_row_by_row():
    table = pd.DataFrame({"id": ["q"] * T + ["p"] * T, "day": [*HOURS, *HOURS], "v": np.concatenate([X, 10 * WAVE])})
    table["true"] = np.concatenate([Y, np.zeros(T)])
    table = table.sample(frac=1, random_state=0).sort_values("day", kind="stable")
    truth = table.pop("true")
    model = make(method="pca", series_id="id", online=True).fit(table)
    report = model.evaluate(table, truth)
    assert report.tables["series"]["events"].to_dict() == {table["id"].iloc[0]: int(table["id"].iloc[0] == "q")} | {
        table["id"].iloc[1]: int(table["id"].iloc[1] == "q")
    }
    q = (table["id"] == "q").to_numpy()
    score = model.score_samples(table)
    seen = score.notna().to_numpy() & q
    assert report.metrics["roc_auc"] == pytest.approx(roc_auc_score(truth[seen], score[seen]))


def test_point_adjustment_comes_when_asked_for_with_a_warning(model):
    assert "f1_point_adjusted" not in model.evaluate(X, Y).metrics
    report = model.evaluate(X, Y, point_adjust=True)
    assert report.metrics["f1_point_adjusted"] >= report.metrics["f1"]
    assert any("f1_point_adjusted flatters" in note for note in report.notes)


@pytest.mark.parametrize(("labels", "said"), [(np.zeros(T), "no point"), (np.ones(T), "every point")], ids=["all 0", "all 1"])
def test_labels_of_one_kind_leave_the_ranking_undefined_and_it_is_said(model, labels, said):
    report = model.evaluate(X, labels)
    assert np.isnan([report.metrics[name] for name in ("vus_pr", "vus_roc", "pr_auc", "roc_auc")]).all()
    assert any(f"are undefined: {said} that has a score is anomalous" in note for note in report.notes)
    assert np.isnan(model.score(X, labels))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y is missing"),
        (Y[:-1], "X has 400 and y has 399 entries"),
        (np.stack([Y, Y], axis=1), r"have the shape \(400, 2\)"),
        (Y * 2, "Label 200 of X is 2"),
        ({"a": Y}, "X has 400 and y has 1 entries"),
        (1, r"have the shape \(\)"),
    ],
    ids=["none", "shorter", "two columns", "twos", "dict", "number"],
)
def test_labels_that_do_not_fit_are_refused(model, y, message):
    for use in (model.evaluate, model.score):
        with pytest.raises(DataError, match=message):
            use(X, y)


def test_labels_of_other_stamps_or_other_names_are_refused(family):
    frame, model = three(), make(method="pca").fit(three())
    with pytest.raises(DataError, match="Row 0 of y is of 2024-01-01 01:00:00, but that of X is of 2024-01-01 00:00:00"):
        model.evaluate(frame, pd.Series(Y, frame.index + pd.Timedelta(hours=1)))
    with pytest.raises(DataError, match="y and X name different series: 'b' is only in X"):
        family.evaluate({"a": X, "b": X}, {"a": Y, "c": Y})


def test_the_report_is_drawn_and_saved(model, tmp_path):
    report = model.evaluate(X, Y)
    assert len(report.curves["series"]) == T
    for name in ("r.json", "r.html"):
        report.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert "Sub-PCA" in str(report)
