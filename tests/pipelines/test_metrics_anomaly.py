"""metrics.anomaly: numbers equal scikit-learn's or a hand's, labels choose nothing, and what is undefined is said."""

import json
import math
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk

from pipelines import metrics
from pipelines.errors import DataError
from pipelines.metrics.events import match, peaks, runs
from pipelines.report import Example, Report

NAN = float("nan")
RANKED = ["vus_pr", "vus_roc", "pr_auc", "roc_auc"]
DECIDED = ["precision", "recall", "f1", "event_recall", "event_precision", "false_alarms_per_1000", "delay"]


def sample(n=400, *, seed=0, events=((40, 60), (150, 155), (300, 330)), lift=1.0):
    """Labels with a few events, and noisy scores that are higher inside."""
    truth = np.zeros(n, dtype=int)
    for start, stop in events:
        truth[start:stop] = 1
    return truth, np.random.default_rng(seed).normal(size=n) + lift * truth


def samples(count=6, n=400):
    pairs = [sample(n, seed=i, lift=0.3 * i) for i in range(count)]
    return [truth for truth, _ in pairs], [score for _, score in pairs]


def report_of(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return metrics.anomaly(*args, **{"n_bootstrap": 0, **options})


def said(report, *parts):
    return any(all(part in note for part in parts) for note in report.notes)


# --- points -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [8, 1, 0])
def test_points_equal_scikit_learn(decimals):
    truth, score = sample()
    score = score.round(decimals)
    found = report_of(truth, score, threshold=1.0).metrics
    alarm = score > 1.0
    expected = {
        "pr_auc": sk.average_precision_score(truth, score),
        "roc_auc": sk.roc_auc_score(truth, score),
        "precision": sk.precision_score(truth, alarm),
        "recall": sk.recall_score(truth, alarm),
        "f1": sk.f1_score(truth, alarm),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_the_headline_is_the_volume_by_the_period():
    truth, score = sample()
    report = report_of(truth, score, period=20)
    assert report.headline == "vus_pr"
    assert report.task == "anomaly-detection"
    assert list(report.metrics) == [*RANKED, *DECIDED]
    # by TSB_AD 1.5, see test_metrics_vus.py
    truth, score = np.arange(300) % 9 < 2, (np.arange(300) * 7919 % 1013) / 1013
    report = report_of(truth, score + 0.2 * truth, period=100)
    assert (report.metrics["vus_roc"], report.metrics["vus_pr"]) == pytest.approx((0.984321, 0.968853), abs=1e-6)


def test_an_alarm_is_above_the_threshold():
    found = report_of([0, 1, 1], [0.5, 0.5, 0.6], threshold=0.5).metrics
    assert (found["precision"], found["recall"]) == (1.0, 0.5)


@pytest.mark.parametrize("kind", [bool, np.int8, float, "Int64", "boolean", list, pd.Series])
def test_labels_and_scores_of_any_kind(kind):
    truth, score = sample()
    expected = report_of(truth, score, threshold=1.0)
    if kind is list:
        truth, score = truth.tolist(), score.tolist()
    elif isinstance(kind, str):
        truth, score = pd.Series(truth).astype(kind), pd.Series(score).astype("Float64")
    else:
        truth = pd.Series(truth) if kind is pd.Series else truth.astype(kind)
    assert report_of(truth, score, threshold=1.0) == expected


def test_arguments_are_left_unchanged():
    truth, score = sample()
    score[3] = NAN
    before = truth.copy(), score.copy()
    report_of(truth, score, threshold=1.0, values=score, baselines={"b": score[::-1]}, n_bootstrap=5)
    np.testing.assert_array_equal(truth, before[0])
    np.testing.assert_array_equal(score, before[1])


# --- events -----------------------------------------------------------------------------------------------------------


def marks(text):
    return np.array([character == "#" for character in text])


def test_runs():
    for text, expected in (("..##.#", [(2, 4), (5, 6)]), ("##", [(0, 2)]), ("..", []), ("", []), ("#.#", [(0, 1), (2, 3)])):
        assert list(zip(*(edge.tolist() for edge in runs(marks(text))), strict=True)) == expected


def test_events_by_hand():
    truth = marks("..####....###....##.##....")
    alarm = marks(".##......#......#..#..#.#.")
    events = match(truth, alarm, np.ones(26, dtype=bool))
    assert np.nan_to_num(events.delay, nan=-1).tolist() == [0, -1, -1, -1]  # the first alarm began before its event
    assert events.false.tolist() == [False, True, True, True, True, True]
    found = report_of(truth, alarm.astype(float), threshold=0.5).metrics
    assert found["event_recall"] == 1 / 4
    assert found["event_precision"] == 1 / 6
    assert found["false_alarms_per_1000"] == pytest.approx(5 / 26 * 1000)
    assert found["delay"] == 0


def test_delays_by_hand():
    truth = marks("####..####..####..####")
    alarm = marks("..#....###....##......")
    report = report_of(truth, alarm.astype(float), threshold=0.5)
    assert report.metrics["event_recall"] == 3 / 4
    assert report.metrics["delay"] == (2 + 1 + 2) / 3
    table = report.tables["events"]
    assert list(table.columns) == ["kind", "start", "end", "rows", "delay", "peak_score"]
    assert table["kind"].tolist() == ["found"] * 3 + ["missed"]
    assert table["start"].tolist() == [0, 6, 12, 18]
    assert table["end"].tolist() == [3, 9, 15, 21]
    assert table["delay"].tolist()[:3] == [2, 1, 2]
    assert table["peak_score"].tolist() == [1, 1, 1, 0]


def test_one_alarm_over_two_events_is_one_alarm():
    report = report_of(marks(".##.##..."), marks(".#####.#.").astype(float), threshold=0.5)
    assert report.metrics["event_recall"] == 1
    assert report.metrics["event_precision"] == 1 / 2


def test_peaks_leave_out_points_without_a_score():
    assert np.isnan(peaks(np.array([NAN, NAN, 1.0]), (np.array([0]), np.array([2])))).all()
    assert peaks(np.array([2.0, NAN, 5.0]), (np.array([0, 2]), np.array([2, 3]))).tolist() == [2, 5]


def test_false_alarms_are_listed_by_how_far_they_exceed_the_threshold():
    truth, score = np.zeros(100, dtype=int), np.zeros(100)
    truth[50] = 1
    score[1:91:3] = np.arange(1, 31)
    report = report_of(truth, score, threshold=0.5)
    table = report.tables["events"]
    false = table[table["kind"] == "false alarm"]
    assert false["peak_score"].tolist() == list(range(30, 10, -1))
    assert said(report, "Of 30 false alarms the table holds the 20")


def test_dates_count_false_alarms_by_the_day_and_delays_in_time():
    truth, alarm = marks("..####....####......"), marks("....##..#..###...#..")
    times = pd.date_range("2024-03-01", periods=20, freq="h")
    for given in (times, times.tz_localize("Europe/Vienna"), times.to_period("h"), times - times[0], list(times)):
        report = report_of(truth, alarm.astype(float), threshold=0.5, times=given)
        assert report.metrics["false_alarms_per_day"] == pytest.approx(2 / (20 / 24))
        assert "false_alarms_per_1000" not in report.metrics
        assert said(report, "mean delay of 1.5000 rows is 01:30:00")
    report = report_of(truth, alarm.astype(float), threshold=0.5, times=times)
    assert report.tables["events"]["start"].tolist()[:3] == ["2024-03-01 02:00", "2024-03-01 10:00", "2024-03-01 08:00"]
    assert "false_alarms_per_day" in report.tables["baselines"]


def test_times_that_are_numbers_name_the_rows():
    truth, alarm = marks("..####.."), marks("...#...#")
    report = report_of(truth, alarm.astype(float), threshold=0.5, times=np.arange(8) * 0.5)
    assert report.tables["events"]["start"].tolist() == [1.0, 3.5]
    assert report.metrics["false_alarms_per_1000"] == 125


def test_very_many_events_are_cut_in_the_table():
    truth = np.arange(3000) % 3 == 0
    report = report_of(truth, truth.astype(float), threshold=0.5)
    assert len(report.tables["events"]) == 500
    assert said(report, "Of 1,000 true events the table holds the first 500")


# --- point adjustment -------------------------------------------------------------------------------------------------


def test_point_adjustment_is_there_only_when_asked_for():
    truth, score = sample()
    assert "adjusted" not in json.dumps(report_of(truth, score, threshold=1.0).to_dict())
    report = report_of(truth, score, threshold=1.0, point_adjust=True)
    adjusted = (score > 1).copy()
    for start, stop in zip(*runs(truth == 1), strict=True):
        adjusted[start:stop] |= (score[start:stop] > 1).any()
    assert report.metrics["f1_point_adjusted"] == pytest.approx(sk.f1_score(truth, adjusted))
    assert report.metrics["f1_point_adjusted"] > report.metrics["f1"]
    assert said(report, "f1_point_adjusted flatters", "https://arxiv.org/abs/2109.05257", "here 'random score' has")


# --- what has no score or is undefined --------------------------------------------------------------------------------


def test_points_without_a_score_are_left_out_of_every_figure():
    truth, score = sample()
    holes = np.random.default_rng(1).random(400) < 0.2
    holes[150:155] = True  # the whole second event
    holed = np.where(holes, NAN, score)
    report = report_of(truth, holed, threshold=1.0, period=10)
    kept = report_of(truth[~holes], score[~holes], threshold=1.0, period=10)
    for name in [*RANKED, "precision", "recall", "f1"]:
        assert report.metrics[name] == kept.metrics[name]
    assert report.n == (~holes).sum()
    assert len(report.tables["events"].query("kind != 'false alarm'")) == 2
    assert said(report, f"{holes.sum()} of 400 points could not be scored", "all points of 1 true event")
    assert report.metrics["false_alarms_per_1000"] == pytest.approx(_false_alarms(truth, holed) / (~holes).sum() * 1000)


def _false_alarms(truth, score):
    starts, stops = runs(np.nan_to_num(score, nan=-9) > 1)
    return sum(not truth[start:stop].any() for start, stop in zip(starts, stops, strict=True))


def test_a_delay_counts_from_the_start_of_the_event_even_where_that_has_no_score():
    report = report_of(marks("..####.."), [0, 0, NAN, NAN, 1, 0, 0, 0], threshold=0.5)
    assert report.metrics["delay"] == 2


@pytest.mark.parametrize(("label", "word"), [(0, "no point"), (1, "every point")])
def test_labels_of_one_kind_leave_the_ranking_undefined(label, word):
    score = np.random.default_rng(0).random(50)
    report = report_of(np.full(50, label), score, threshold=0.9, n_bootstrap=20)
    assert all(math.isnan(report.metrics[name]) for name in RANKED)
    assert said(report, "vus_pr, vus_roc, pr_auc and roc_auc are undefined", word)
    assert not said(report, "BELOW BASELINE")
    assert report.metrics["false_alarms_per_1000"] == (_false_alarms(np.zeros(50), score * 1.1111111) * 20 if not label else 0)
    assert report.tables["headline"].loc["false_alarms_per_1000"].notna().all()
    assert math.isnan(report.metrics["event_recall"]) == (label == 0)


def test_without_a_threshold_nothing_is_decided():
    report = report_of(*sample(), point_adjust=True, n_bootstrap=20)
    assert all(math.isnan(report.metrics[name]) for name in [*DECIDED, "f1_point_adjusted"])
    assert all(report.metrics[name] > 0 for name in RANKED)
    assert report.tables["baselines"][["precision", "f1", "event_recall"]].isna().all(axis=None)
    assert report.tables["events"]["kind"].tolist() == ["event"] * 3
    assert said(report, "No threshold was given", "never chosen here, from the labels")


def test_no_alarm_at_all():
    report = report_of(*sample(), threshold=math.inf, n_bootstrap=20)
    assert math.isnan(report.metrics["precision"])
    assert (report.metrics["recall"], report.metrics["f1"], report.metrics["event_recall"]) == (0, 0, 0)
    assert report.metrics["false_alarms_per_1000"] == 0
    assert report.tables["headline"].loc["false_alarms_per_1000", "high"] == pytest.approx(3.689 / 0.4, rel=1e-3)
    assert said(report, "No score exceeds the threshold")


def test_events_all_missed():
    report = report_of(marks("..##...."), marks("......#.").astype(float), threshold=0.5)
    assert math.isnan(report.metrics["delay"])
    assert said(report, "No true event was found")


def test_a_single_row():
    report = report_of([0], [1.0], threshold=0.5, times=[pd.Timestamp("2024-01-01")], n_bootstrap=5)
    assert math.isnan(report.metrics["false_alarms_per_day"])
    assert report.n == 1


# --- baselines --------------------------------------------------------------------------------------------------------


def test_default_baselines_know_nothing():
    truth, score = sample(n=4000)
    report = report_of(truth, score, threshold=1.5)
    table = report.tables["baselines"]
    share = truth.mean()
    assert list(table.index) == ["this model", "random score", "always alarm"]
    assert table.loc["always alarm", ["pr_auc", "roc_auc", "precision", "recall"]].tolist() == pytest.approx(
        [share, 0.5, share, 1]
    )
    assert table.loc["random score", "pr_auc"] < 3 * share
    assert table.loc["this model"].to_dict() == pytest.approx({name: report.metrics[name] for name in table.columns})
    assert said(report, "No baseline was given", "'random score'", "'always alarm'")
    assert not said(report, "BELOW")


def test_the_random_score_alarms_as_often_and_by_the_seed():
    truth = np.ones(20_000, dtype=int)
    score = np.random.default_rng(5).normal(size=20_000)
    recalls = [report_of(truth, score, threshold=1.0, seed=seed).tables["baselines"]["recall"] for seed in (0, 0, 1)]
    assert recalls[0]["random score"] == pytest.approx(recalls[0]["this model"], abs=0.01)
    assert recalls[0].equals(recalls[1])
    assert not recalls[0].equals(recalls[2])


def test_given_baselines_have_rows_and_thresholds():
    truth, score = sample()
    other = score[::-1].copy()
    report = report_of(
        truth, score, threshold=1.0, baselines={"other": other, "bare": other}, thresholds={"other": 0.2}, period=7
    )
    table = report.tables["baselines"]
    assert list(table.index) == ["this model", "other", "bare"]
    alone = report_of(truth, other, threshold=0.2, period=7)
    assert table.loc["other"].to_dict() == pytest.approx({name: alone.metrics[name] for name in table.columns})
    assert table.loc["bare", ["precision", "event_recall"]].isna().all()
    assert table.loc["bare", "vus_pr"] == alone.metrics["vus_pr"]
    assert not said(report, "No baseline")


def test_below_baseline_is_said_first():
    truth, score = sample()
    report = report_of(truth, score, threshold=1.0, baselines={"good": truth + score / 9, "bad": -score}, n_bootstrap=50)
    assert report.notes[0].startswith("BELOW BASELINE: vus_pr ")
    assert "is lower than" in report.notes[0]
    assert report.notes[0].endswith("of 'good'.")
    assert sum(note.startswith("BELOW") for note in report.notes) == 1
    assert str(report).splitlines()[2].startswith("!! BELOW BASELINE")
    assert not said(report, "distinguishable")


def test_equal_to_the_baseline_is_a_loss_too():
    truth, score = sample()
    assert "is no better than" in report_of(truth, score, baselines={"same": score}).notes[0]


@pytest.mark.parametrize("count", [1, 8])
def test_a_difference_within_the_noise_is_said(count):
    truth = samples(count)[0]
    noise, twin = ([np.random.default_rng(seed + i).normal(size=400) for i in range(count)] for seed in (100, 200))
    report = report_of(truth, noise, baselines={"twin": twin}, n_bootstrap=300)
    assert said(report, "Not distinguishable from the best baseline 'twin'", "vus_pr")
    clear = report_of(truth, [label + score / 9 for label, score in zip(truth, noise, strict=True)], baselines={"twin": twin},
                      n_bootstrap=300)  # fmt: skip
    assert not said(clear, "distinguishable")


def test_where_a_baseline_has_no_score_it_counts_as_its_lowest():
    truth, score = sample()
    other = score.copy()
    other[:30] = NAN
    score[390:] = NAN
    filled = np.where(np.isnan(other), np.nanmin(other), other)
    report = report_of(truth, score, baselines={"other": other})
    same = report_of(truth, score, baselines={"other": filled})
    pd.testing.assert_frame_equal(report.tables["baselines"], same.tables["baselines"])
    assert said(report, "'other' has no score at 30 points")
    empty = report_of(truth, score, baselines={"none": score * NAN})
    assert empty.tables["baselines"].loc["none", "roc_auc"] == 0.5


# --- many series ------------------------------------------------------------------------------------------------------


def test_ranking_is_a_mean_over_series_and_decisions_are_pooled():
    truth, score = samples(3)
    truth.append(np.zeros(50, dtype=int))
    score.append(np.linspace(0, 3, 50))
    report = report_of(truth, score, threshold=1.0, period=[5, 10, 20, 30], names=["a", "b", "c", "calm"])
    alone = [report_of(*pair, threshold=1.0, period=p).metrics for *pair, p in zip(truth, score, [5, 10, 20, 30], strict=True)]
    for name in RANKED:
        assert report.metrics[name] == pytest.approx(np.mean([each[name] for each in alone[:3]]))
    every = np.concatenate(truth), np.concatenate(score) > 1
    assert report.metrics["f1"] == pytest.approx(sk.f1_score(*every))
    assert report.metrics["precision"] == pytest.approx(sk.precision_score(*every))
    table = report.tables["series"]
    assert list(table.index) == ["a", "b", "c", "calm"]
    assert list(table.columns) == [
        "n", "events", "vus_pr", "precision", "recall", "f1", "event_recall", "false_alarms_per_1000",
    ]  # fmt: skip
    for name, metric in (("b", alone[1]), ("calm", alone[3])):
        for column in table.columns[2:]:
            assert table.loc[name, column] == pytest.approx(metric[column], nan_ok=True)
    assert table["events"].tolist() == [3, 3, 3, 0]
    assert said(report, "leave out the series whose scored points are all of one kind: 'calm'")
    assert report.tables["events"]["series"].isin(["a", "b", "c", "calm"]).all()
    assert report.context["period"] == [5, 10, 20, 30]


def test_mappings_are_put_in_order_by_name():
    truth, score = samples(3)
    keys = ["x", "y", "z"]
    times = [pd.date_range("2024-01-01", periods=400, freq="min")] * 3
    limits = [0.5, 1.0, 1.5]
    listed = report_of(truth, score, threshold=limits, names=keys, times=times, groups=["g", "h", "g"], values=score)
    given = [dict(zip(keys, part, strict=True)) for part in (truth, score, limits, times, ["g", "h", "g"], score)]
    back = [dict(reversed(part.items())) for part in given[1:]]
    named = report_of(given[0], back[0], threshold=back[1], times=back[2], groups=back[3], values=back[4])
    assert named == listed
    assert listed.context["threshold"] == limits


def test_groups_pool_their_series():
    truth, score = samples(4)
    report = report_of(truth, score, threshold=1.0, groups=["left", "right", "left", "left"])
    table = report.tables["groups"]
    left = report_of([truth[i] for i in (0, 2, 3)], [score[i] for i in (0, 2, 3)], threshold=1.0).metrics
    assert table.loc["left", "series"] == 3
    assert table.loc["left", "events"] == 9
    for column in table.columns[2:]:
        assert table.loc["left", column] == pytest.approx(left[column])


def test_a_list_of_one_is_many():
    truth, score = sample()
    report = report_of([truth], [score], threshold=1.0)
    assert len(report.tables["series"]) == 1
    assert report.metrics == report_of(truth, score, threshold=1.0).metrics
    assert "series" not in report_of(truth, score).tables


def test_a_series_without_any_score():
    truth, score = samples(2)
    score[1] = score[1] * NAN
    report = report_of(truth, score, threshold=1.0, n_bootstrap=20)
    assert report.metrics["vus_pr"] == report.tables["series"].loc[0, "vus_pr"]
    assert report.tables["series"].loc[1, "n"] == 0
    assert said(report, "400 of 800 points could not be scored", "3 true events")


# --- intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_metric_has_an_interval_around_it(count):
    truth, score = samples(count, n=1000)
    if count == 1:
        truth, score = sample(n=1000, events=[(start, start + 10) for start in range(20, 1000, 100)], lift=1.5)
    table = report_of(truth, score, threshold=1.5, period=10, n_bootstrap=200).tables["headline"]
    assert list(table.index) == [*RANKED, *DECIDED]
    if count == 3:  # in which three events are found, too few delays to say how they vary
        assert math.isnan(table.loc["delay", "low"])
        table = table.drop("delay")
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_events_have_the_intervals_of_shares_and_counts():
    truth, alarm = marks("##..##..##..##....................."), marks("#...#...#.........#..#.............")
    table = report_of(truth, alarm.astype(float), threshold=0.5, n_bootstrap=50).tables["headline"]
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(3, 4, method="wilson")
    assert table.loc["event_recall", ["low", "high"]].tolist() == pytest.approx([low, high])
    low, high = proportion_confint(3, 5, method="wilson")
    assert table.loc["event_precision", ["low", "high"]].tolist() == pytest.approx([low, high])
    # Garwood's interval of a count of 2, as in every table of it
    assert table.loc["false_alarms_per_1000", ["low", "high"]].tolist() == pytest.approx(
        [0.2422 / 0.035, 7.2247 / 0.035], rel=1e-3
    )
    assert table.loc["delay", ["low", "high"]].isna().all()  # three delays are too few


def test_intervals_of_points_take_neighbours_together():
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.random(100) < 0.3, 20)
    score = np.repeat(rng.normal(size=100), 20) + truth
    widths = []
    for order in (np.arange(2000), rng.permutation(2000)):
        low, high = (
            report_of(truth[order], score[order], threshold=0.5, n_bootstrap=300)
            .tables["headline"]
            .loc["roc_auc", ["low", "high"]]
        )
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def test_what_no_resample_changes_has_no_interval():
    truth = sample()[0]
    report = report_of(truth, truth.astype(float), threshold=0.5, n_bootstrap=50)
    assert report.tables["headline"].loc[["pr_auc", "roc_auc", "f1"], ["low", "high"]].isna().all(axis=None)
    assert said(report, "pr_auc, roc_auc, precision, recall, f1 are the same in every resample")
    assert report.tables["headline"].loc["event_recall", "low"] == pytest.approx(0.4385, abs=1e-3)


def test_the_seed_decides_the_intervals():
    truth, score = sample()
    tables = [report_of(truth, score, seed=seed, n_bootstrap=50).tables["headline"] for seed in (0, 0, 1)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


def test_context_and_examples_pass_through():
    example = Example("look")
    report = report_of(*sample(), period=9, context={"device": "cpu"}, examples=[example], n_bootstrap=3, seed=7)
    settings = {"threshold": None, "period": 9, "n_bootstrap": 3, "seed": 7, "block_length": 30}
    assert report.context == {"device": "cpu", **settings}
    assert report.examples == (example,)
    assert report.n == 400
    assert report_of(*samples(6), n_bootstrap=3).context["block_length"] is None


def test_fewer_resamples_for_many_points_are_said(monkeypatch):
    monkeypatch.setattr("pipelines.metrics._anomaly._BOOTSTRAP_BUDGET", 200_000)
    report = report_of(*sample(), n_bootstrap=1000)
    assert said(report, "resamples, not 1000")


def test_few_events_make_rough_intervals():
    assert said(report_of(*sample()), "only 3 true events")
    assert not said(report_of(*samples(7)), "rough")


def test_a_period_of_one_is_said():
    assert said(report_of(*sample()), "period is 1")
    assert not said(report_of(*sample(), period=12), "period is 1")


@pytest.mark.slow
def test_a_long_series_takes_seconds():
    truth, score = sample(n=100_000, events=[(start, start + 100) for start in range(500, 100_000, 2000)])
    started = time.perf_counter()
    report_of(truth, score, threshold=2.0, period=100, n_bootstrap=1000)
    assert time.perf_counter() - started < 60


# --- pictures and files -----------------------------------------------------------------------------------------------


def full_report(count=6, n=400, c=3, **options):
    truth, score = samples(count, n)
    score[0][3:9] = NAN
    names = ["$x_1$ and $", '<b>&"', "_hidden", "line\nbreak", "猫", "last"][:count]
    given = {
        "threshold": 1.0,
        "period": 12,
        "names": names,
        "groups": ["ab"[i % 2] for i in range(count)],
        "times": [pd.date_range("2020-01-01", periods=n, freq="h")] * count,
        "values": [np.random.default_rng(0).normal(size=(n, c)) for _ in range(count)],
        "columns": ["$\\nonsense$", "_b", '<i>&"', "d", "e", "f", "g"][:c],
        "n_bootstrap": 30,
    }
    return report_of(truth, score, **given | options)


def test_four_series_are_drawn_from_the_worst_to_the_best():
    frame = full_report().curves["series"]
    labels = list(dict.fromkeys(frame["label"]))
    assert len(labels) == 4
    values = [float(label.rpartition(" ")[2]) for label in labels]
    assert values == sorted(values)
    assert all("VUS-PR" in label for label in labels)
    assert list(frame.columns[:7]) == ["label", "time", "score", "threshold", "true", "found", "alarm"]
    assert list(frame.columns[7:]) == ["value $\\nonsense$", "value _b", 'value <i>&"']
    assert pd.api.types.is_datetime64_dtype(frame["time"])


def test_a_long_series_is_thinned_but_keeps_its_peaks_and_events():
    n = 100_000
    truth, score, value = np.zeros(n, dtype=int), np.random.default_rng(0).random(n), np.zeros(n)
    truth[70_001], score[12_345], value[54_321], value[65_432] = 1, 9.0, 7.0, -7.0
    frame = report_of(truth, score, threshold=5.0, values=value).curves["series"]
    assert len(frame) <= 2000
    assert frame["score"].max() == 9
    assert frame.loc[frame["alarm"], "time"].tolist() == [12_345]
    assert (frame["value"].min(), frame["value"].max()) == (-7, 7)
    event = frame[frame["true"]]
    assert event["time"].min() - 300 < 70_001 < event["time"].max() + 300
    assert not event["found"].any()


def test_of_many_variables_the_strangest_are_drawn():
    truth, score = sample()
    values = np.random.default_rng(0).normal(size=(400, 9)).clip(-2, 2)
    values[int(score.argmax()), [1, 8]] = 40
    frame = report_of(truth, score, values=values, columns=list("abcdefghi")).curves["series"]
    shown = [name for name in frame.columns if name.startswith("value")]
    assert len(shown) == 5
    assert {"value b", "value i"} <= set(shown)


def test_the_precision_recall_curve_is_scikit_learns():
    truth, score = sample()
    report = report_of(truth, score)
    frame = report.curves["pr"]
    assert list(dict.fromkeys(frame["class"])) == ["this model", "random score", "always alarm"]
    ours = frame[frame["class"] == "this model"]
    area = -(np.diff(ours["recall"]) * ours["precision"].to_numpy()[:-1]).sum()
    assert area == pytest.approx(report.metrics["pr_auc"])
    assert full_report().curves["pr"]["class"].nunique() == 4


def test_json_round_trip():
    for report in (full_report(), report_of(*sample(), n_bootstrap=5), full_report(2)):
        again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
        assert again == report
        for mine, other in ((report.tables, again.tables), (report.curves, again.curves)):
            assert list(mine) == list(other)
            for name in mine:
                pd.testing.assert_frame_equal(mine[name], other[name])


@pytest.mark.slow
def test_every_file_and_picture(tmp_path):
    report = full_report()
    for suffix in (".json", ".html", ".md", ".csv"):
        assert report.save(tmp_path / f"r{suffix}").stat().st_size > 200
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert page.count('<svg class="dp-wide"') == 4
    assert "&lt;b&gt;&amp;&quot;" in page
    for text in ("true event, found", "alarm in an event", "alarm outside", "threshold", "score"):
        assert f">{text}<" in page
    figure = report.plot()
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 5
    assert sum(title.startswith("series: ") for title in titles) == 4
    assert [len(axes.child_axes) for axes in figure.axes] == [2, 2, 2, 2, 0]
    figure.savefig(tmp_path / "r.png")


def test_the_drawing_shows_what_was_found_and_missed():
    truth, alarm = marks("..####....####......"), marks("....##..#...........")
    report = report_of(truth, alarm.astype(float), threshold=0.5)
    (panel,) = report.plot().axes[0].child_axes
    names = [text.get_text() for text in panel.get_legend().get_texts()]
    assert names == ["score", "threshold", "alarm in an event", "alarm outside", "true event, found", "true event, missed"]
    assert [patch.get_x() for patch in panel.patches] == [2, 10]
    assert [patch.get_x() + patch.get_width() for patch in panel.patches] == [5, 13]
    (panel,) = report_of(truth, alarm.astype(float)).plot().axes[0].child_axes
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["score", "true event"]


def test_text_fits_a_terminal():
    for line in str(full_report()).splitlines():
        assert len(line) <= 100
        assert line.isprintable()


@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("threshold", [None, 0.5, math.inf])
def test_every_shape_is_drawn_and_written(n, threshold, tmp_path):
    score = np.linspace(-1, 1, n)
    for truth, values in ((np.zeros(n), None), (np.ones(n), score), (score > 0.4, np.column_stack([score, score * NAN]))):
        report = report_of(truth, score, threshold=threshold, values=values, n_bootstrap=10, point_adjust=True)
        report.save(tmp_path / "r.html")
        assert str(report)
        assert Report.from_dict(report.to_dict()) == report


def test_bars_are_for_shares_alone():
    page = report_of(*sample(lift=9), threshold=4.0, n_bootstrap=20)._repr_html_()
    rows = dict(row.split("</th>", 1) for row in page.split('<th scope="row">')[1:] if "</th>" in row)
    assert "dp-bar" in rows["event_recall"]
    assert "dp-bar" not in rows["false_alarms_per_1000"]
    assert "dp-bar" not in rows["delay"]


# --- bad arguments ----------------------------------------------------------------------------------------------------

Y, S = np.array([0, 1, 1, 0, 0]), np.arange(5.0)
T = pd.date_range("2024-01-01", periods=5)
TWO = ([Y, Y], [S, S])
NAMED = ({"a": Y, "b": Y}, {"a": S, "b": S})

BAD = {
    "empty": (([], []), {}, "y_true is empty"),
    "no series": (({}, {}), {}, "y_true is empty"),
    "an empty series": (([Y, []], [S, S]), {}, "y_true of series 1 is empty"),
    "labels of three kinds": (([0, 1, 2], [1, 2, 3]), {}, "y_true is 2 in row 2; expected 1 for an anomalous point"),
    "labels nan": (([0, NAN], [1, 2]), {}, "y_true is nan in row 1"),
    "labels text": ((["a", "b"], [1, 2]), {}, "y_true has the dtype <U1; expected numbers"),
    "labels of two dimensions": ((Y[:, None], S), {}, r"y_true has shape \(5, 1\); expected one value a row.*a list"),
    "labels scalar": ((1, 2), {}, r"y_true has shape \(\)"),
    "scores text": ((Y, list("abcde")), {}, "scores has the dtype <U1"),
    "scores of two dimensions": ((Y, S[:, None]), {}, r"scores has shape \(5, 1\)"),
    "scores length": ((Y, S[:3]), {}, "scores has 3 rows, but y_true has 5"),
    "scores length of a series": ((NAMED[0], {"a": S, "b": S[:2]}), {}, "scores of series 'b' has 2 rows, but y_true has 5"),
    "scores inf": ((Y, [0, 1, np.inf, 0, 0]), {}, "scores is inf in row 2; give nan for a point that cannot be scored"),
    "scores nan": ((Y, S * NAN), {}, "scores holds no number"),
    "scores no list": ((TWO[0], S), {}, "scores must be a list with one array a series, as y_true is, not a ndarray"),
    "scores no mapping": ((NAMED[0], TWO[1]), {}, "scores must be a mapping with the same keys, as y_true is, not a list"),
    "scores mapping": ((TWO[0], NAMED[1]), {}, "scores must be a list with one array a series"),
    "scores too few": ((TWO[0], [S]), {}, "scores has 1 entries, but there are 2 series in y_true"),
    "scores without a series": ((NAMED[0], {"a": S}), {}, "scores has no entry for the series 'b'"),
    "scores with another series": ((NAMED[0], {**NAMED[1], "c": S}), {}, "scores names the unknown series 'c'"),
    "threshold nan": ((Y, S), {"threshold": NAN}, "threshold is nan; expected a number, above which a score is an alarm"),
    "threshold text": ((Y, S), {"threshold": "1"}, "threshold is '1'; expected a number"),
    "threshold bool": ((Y, S), {"threshold": True}, "threshold is True"),
    "threshold of a series": (TWO, {"threshold": [1.0, None]}, "threshold of series 1 is None"),
    "thresholds too many": (TWO, {"threshold": [1.0, 2.0, 3.0]}, "threshold has 3 entries, but there are 2 series"),
    "period zero": ((Y, S), {"period": 0}, "period is 0; expected a whole number of rows, 1 or more"),
    "period fraction": ((Y, S), {"period": 2.5}, "period is 2.5"),
    "period long": ((Y, S), {"period": 6}, "period is 6, but y_true has only 5 rows"),
    "period of a series": (NAMED, {"period": {"a": 1}}, "period has no entry for the series 'b'"),
    "names length": (TWO, {"names": ["a"]}, "names has 1 entries, but there are 2 series"),
    "names twice": (TWO, {"names": ["a", "a"]}, "names holds 'a' more than once"),
    "names text": (TWO, {"names": "ab"}, "names must be a sequence with one name a series, not 'ab'"),
    "names beside keys": (NAMED, {"names": ["a", "b"]}, "leave names away"),
    "groups": (TWO, {"groups": ["a"]}, "groups has 1 entries, but there are 2 series"),
    "times length": ((Y, S), {"times": T[:3]}, "times has 3 entries, but y_true has 5 rows"),
    "times unsorted": ((Y, S), {"times": T[[0, 2, 1, 3, 4]]}, "times goes back in row 2, from 2024-01-03 00:00:00 to 2024-01-02"),
    "times of a series": (NAMED, {"times": {"a": T, "b": T[::-1]}}, "times of series 'b' goes back in row 1"),
    "times missing": ((Y, S), {"times": [*T[:4], pd.NaT]}, "times is missing in row 4"),
    "times text": ((Y, S), {"times": list("abcde")}, "times has the dtype str; .*pandas.to_datetime"),
    "times no sequence": ((Y, S), {"times": "2024"}, "times must be a sequence, not '2024'"),
    "times table": ((Y, S), {"times": np.ones((5, 2))}, "times cannot be read as one time a row"),
    "values length": ((Y, S), {"values": S[:4]}, r"values has shape \(4,\); expected 5 rows"),
    "values of three dimensions": ((Y, S), {"values": np.ones((5, 1, 1))}, r"values has shape \(5, 1, 1\)"),
    "values without columns": ((Y, S), {"values": np.ones((5, 0))}, r"values has shape \(5, 0\)"),
    "values of two widths": (TWO, {"values": [S, np.ones((5, 2))]}, "values has 1 columns in one series and 2 in another"),
    "columns": ((Y, S), {"values": S, "columns": ["a", "b"]}, "columns must be a sequence of 1 names"),
    "columns text": ((Y, S), {"values": S, "columns": "a"}, "columns must be a sequence of 1 names"),
    "baselines list": ((Y, S), {"baselines": [S]}, "baselines must be a mapping"),
    "baseline length": ((Y, S), {"baselines": {"m": S[:2]}}, r"baselines\['m'\] has 2 rows"),
    "baseline inf": ((Y, S), {"baselines": {"m": [np.inf] * 5}}, r"baselines\['m'\] is inf in row 0"),
    "baseline name": ((Y, S), {"baselines": {"this model": S}}, "cannot be called 'this model'"),
    "thresholds": ((Y, S), {"thresholds": 3}, "thresholds must be a mapping"),
    "thresholds name": ((Y, S), {"baselines": {"m": S}, "thresholds": {"n": 1}}, "thresholds names 'n'"),
    "thresholds nan": ((Y, S), {"baselines": {"m": S}, "thresholds": {"m": NAN}}, r"thresholds\['m'\] is nan"),
    "resamples": ((Y, S), {"n_bootstrap": -1}, "0 or more; not -1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused_with_a_sentence(case):
    args, options, message = BAD[case]
    with pytest.raises(DataError, match=message):
        metrics.anomaly(*args, **options)


def test_alarms_that_began_before_an_event_are_said_to_have():
    truth = [0, 0, 1, 1, 0, 0, 1, 1, 0]
    notes = metrics.anomaly(truth, [0, 1, 1, 0, 0, 0, 1, 1, 0], threshold=0.5, period=2).notes
    assert "Alarms had begun before 1 true event, whose delay counts as 0." in notes
    notes = metrics.anomaly(truth, [0, 0, 1, 0, 0, 0, 0, 1, 0], threshold=0.5, period=2).notes
    assert not any("had begun before" in note for note in notes)
