"""metrics.forecasting: numbers equal scikit-learn's or a hand's, and what is undefined is said."""

import json
import math
import time
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from numpy.lib.stride_tricks import sliding_window_view

from pipelines import metrics
from pipelines.errors import DataError
from pipelines.metrics import _forecast_answers
from pipelines.report import Example, Report

NAN = float("nan")


def sample(n=60, h=5, c=3, *, seed=0, noise=1.0):
    """Windows of sines with a level, and forecasts of them."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)[:, None] + np.arange(h)
    truth = 5 + np.sin(t[:, :, None] / np.arange(2, c + 2)) * 3 + rng.normal(size=(n, h, c)) * 0.2
    forecast = truth + rng.normal(size=truth.shape) * noise
    return (truth, forecast) if c > 1 else (truth[:, :, 0], forecast[:, :, 0])


def report_of(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return metrics.forecasting(*args, **{"n_bootstrap": 0, **options})


def said(report, *parts):
    return any(all(part in note for part in parts) for note in report.notes)


def by_scikit_learn(truth, forecast):
    y, f = np.ravel(truth), np.ravel(forecast)
    mse = sk.mean_squared_error(y, f)
    return {
        "mae": sk.mean_absolute_error(y, f),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mape": 100 * sk.mean_absolute_percentage_error(y, f),
    }


# --- point values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_errors_equal_scikit_learn(c, dtype):
    truth, forecast = (part.astype(dtype) for part in sample(c=c))
    found = report_of(truth, forecast).metrics
    expected = by_scikit_learn(truth.astype(float), forecast.astype(float))
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert found["bias"] == pytest.approx((forecast.astype(float) - truth.astype(float)).mean())


def test_quantile_loss_equals_scikit_learn():
    truth, forecast = sample()
    quantiles = {q: forecast + shift for q, shift in [(0.9, 1.1), (0.1, -1.2), (0.5, 0.1), (0.05, -2.0)]}
    losses = [sk.mean_pinball_loss(truth.ravel(), values.ravel(), alpha=q) for q, values in quantiles.items()]
    assert report_of(truth, forecast, quantiles=quantiles).metrics["quantile_loss"] == pytest.approx(np.mean(losses))


def test_values_by_hand():
    truth = [[1.0, 2.0, 0.0], [4.0, -2.0, 8.0]]
    forecast = [[2.0, 2.0, 0.0], [2.0, 2.0, 6.0]]
    found = report_of(truth, forecast, scale=[2.0]).metrics
    assert found["mae"] == 9 / 6
    assert found["mse"] == 25 / 6
    assert found["mape"] == pytest.approx(100 * (1 + 0 + 0.5 + 2 + 0.25) / 5)
    assert found["smape"] == pytest.approx(200 * (1 / 3 + 0 + 0 + 2 / 6 + 4 / 4 + 2 / 14) / 6)  # 0/0 counts as 0
    assert found["mase"] == 9 / 6 / 2
    assert found["bias"] == (1 - 2 + 4 - 2) / 6


def test_scaled_error_by_variable_and_by_window():
    truth, forecast = np.zeros((2, 2, 2)), np.full((2, 2, 2), [3.0, 10.0])
    assert report_of(truth, forecast, scale=[1.0, 5.0]).metrics["mase"] == (3 + 2) / 2
    report = report_of(truth, forecast, scale=[[1.0, 5.0], [3.0, 20.0]])
    assert report.metrics["mase"] == (3 + 2 + 1 + 0.5) / 4
    assert report.tables["variables"]["mase"].tolist() == [2.0, 1.25]
    assert report.headline == "mase"


def test_scaled_error_of_the_naive_forecast_on_its_training_series_is_one():
    series = np.random.default_rng(0).normal(size=200).cumsum()
    scale = np.abs(np.diff(series)).mean()
    report = report_of(series[1:, None], series[:-1, None], scale=[scale])
    assert report.metrics["mase"] == pytest.approx(1)


def test_without_a_scale_the_headline_is_mae():
    report = report_of(*sample())
    assert report.headline == "mae"
    assert "mase" not in report.metrics
    assert "mase" not in report.tables["horizon"]


def test_intervals_are_counted():
    truth = np.array([[1.0, 5.0], [2.0, 3.0]])
    high = truth + np.array([[1.0, -0.5], [0.0, 2.0]])
    quantiles = {0.1: truth - 1, 0.9: high, 0.025: truth - 2, 0.975: truth + 2, 0.3: truth}
    report = report_of(truth, truth, quantiles=quantiles)
    assert report.metrics["coverage_80"] == 0.75  # both ends belong to an interval
    assert report.metrics["width_80"] == pytest.approx((2 + 0.5 + 1 + 3) / 4)
    assert report.metrics["coverage_95"] == 1
    assert report.metrics["width_95"] == 4
    table = report.tables["intervals"]
    assert list(table.index) == ["80 %", "95 %"]
    assert table["nominal"].tolist() == pytest.approx([0.8, 0.95])
    assert report.tables["horizon"]["coverage_80"].tolist() == [1.0, 0.5]
    assert report.curves["coverage"]["coverage"].tolist() == [0.75, 1.0]
    assert not said(report, "interval holds")  # both are five points off, and that is not more than five


@pytest.mark.parametrize(("half", "sentence"), [(50, "holds 100.0 % of the true values: it is too wide"), (0, "too narrow")])
def test_a_coverage_that_is_far_off_is_said(half, sentence):
    truth, forecast = sample()
    report = report_of(truth, forecast, quantiles={0.25: forecast - half, 0.75: forecast + half})
    assert said(report, "50 % interval", sentence)
    assert "coverage" not in report.curves  # one point is no curve


def test_crossing_quantiles_are_counted():
    truth, forecast = sample(n=10, h=2, c=1)
    low, high = forecast - 1, forecast + 1
    low[3, 1], low[4, 0] = 99.0, 99.0
    report = report_of(truth, forecast, quantiles={0.9: high, 0.1: low})
    assert said(report, "cross at 2 of 20 values")


def test_levels_without_a_partner_give_no_interval():
    truth, forecast = sample()
    report = report_of(truth, forecast, quantiles={0.1: forecast, 0.8: forecast})
    assert not any(name.startswith("coverage") for name in report.metrics)
    assert "intervals" not in report.tables
    assert said(report, "No two quantile levels are symmetric")


# --- forms of the arguments -------------------------------------------------------------------------------------------


def test_two_and_three_dimensions_agree():
    truth, forecast = sample(c=1)
    flat, deep = report_of(truth, forecast), report_of(truth[:, :, None], forecast[:, :, None])
    assert flat == deep
    assert "variables" not in flat.tables


def test_lists_frames_and_masked_arrays():
    truth, forecast = sample(n=6, h=2, c=1)
    truth[1, 1] = np.nan
    expected = report_of(truth, forecast).metrics
    masked = np.ma.masked_invalid(truth)
    masked.data[1, 1] = 999
    frame = pd.DataFrame(truth).astype("Float64")
    for form in (truth.tolist(), pd.DataFrame(truth), frame, masked):
        assert report_of(form, pd.DataFrame(forecast)).metrics == pytest.approx(expected)


def test_whole_numbers():
    assert report_of([[1, 2]], [[2, 4]]).metrics["mae"] == 1.5


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_chunks_do_not_matter(chunk, monkeypatch):
    truth, forecast = sample()
    truth[5, 2, 1] = np.nan
    options = {"scale": np.random.default_rng(1).random((60, 3)) + 0.5, "quantiles": {0.1: forecast - 1, 0.9: forecast + 1}}
    options["baselines"] = {"other": forecast[::-1]}
    whole = report_of(truth, forecast, **options)
    monkeypatch.setattr(_forecast_answers, "_CHUNK", chunk)
    pieces = report_of(truth, forecast, **options)
    assert pieces.metrics == pytest.approx(whole.metrics)
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(pieces.tables[name], table)


def test_arguments_are_left_unchanged():
    truth, forecast = sample()
    truth[0, 0, 0] = np.nan
    before = truth.copy(), forecast.copy()
    report_of(truth, forecast, contexts=truth[:, :2], n_bootstrap=5)
    np.testing.assert_array_equal(truth, before[0])
    np.testing.assert_array_equal(forecast, before[1])


def test_a_strided_view_is_never_copied_as_a_whole():
    series = np.random.default_rng(0).normal(size=(6000, 1)).astype(np.float32)
    windows = sliding_window_view(series, 500 + 4, axis=0).transpose(0, 2, 1)
    contexts, truth = windows[:, :500], windows[:, 500:]  # 11 MB if copied
    tracemalloc.start()
    report = report_of(truth, truth, contexts=contexts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000
    assert report.tables["baselines"].loc["last value", "mae"] > 0.5


# --- what was not observed or is undefined ----------------------------------------------------------------------------


def test_values_nobody_observed_are_left_out_of_every_figure():
    rng = np.random.default_rng(2)
    truth, forecast = sample(n=40, h=4, c=2)
    low, high, other = forecast - 1, forecast + 1, forecast + rng.normal(size=forecast.shape)
    gone = rng.random(truth.shape) < 0.3
    gone[7] = True
    holed = np.where(gone, np.nan, truth)
    report = report_of(holed, forecast, scale=[2.0, 2.0], quantiles={0.1: low, 0.9: high}, baselines={"other": other})
    kept = ~gone
    found, expected = report.metrics, by_scikit_learn(truth[kept], forecast[kept])
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["mase"] == pytest.approx(expected["mae"] / 2)
    assert found["smape"] == pytest.approx((200 * np.abs(truth - forecast) / (np.abs(truth) + np.abs(forecast)))[kept].mean())
    assert found["bias"] == pytest.approx((forecast - truth)[kept].mean())
    assert found["coverage_80"] == pytest.approx(((low <= truth) & (truth <= high))[kept].mean())
    assert found["width_80"] == pytest.approx(2)
    loss = [sk.mean_pinball_loss(truth[kept], values[kept], alpha=q) for q, values in ((0.1, low), (0.9, high))]
    assert found["quantile_loss"] == pytest.approx(np.mean(loss))
    theirs = report.tables["baselines"].loc["other"]
    assert theirs["mae"] == pytest.approx(sk.mean_absolute_error(truth[kept], other[kept]))
    for step in range(4):
        row, part = report.tables["horizon"].loc[step + 1], kept[:, step]
        assert row["mae"] == pytest.approx(np.abs(truth - forecast)[:, step][part].mean())
        assert row["other"] == pytest.approx(np.abs(truth - other)[:, step][part].mean())
    assert said(report, f"{gone.sum()} of 320 true values were not observed", "all of 1 of 40 windows")


def test_a_step_and_a_variable_never_observed():
    truth, forecast = sample(n=8, h=3, c=2)
    truth[:, 1] = np.nan
    truth[:, :, 0] = np.nan
    report = report_of(truth, forecast, ["a", "b"], n_bootstrap=20)
    assert math.isnan(report.tables["horizon"].loc[2, "mae"])
    assert report.tables["variables"].loc["a"].isna().all()
    assert np.isfinite(report.metrics["mae"])
    assert set(report.curves["forecast"]["variable"]) == {"b"}


def test_percentages_leave_out_zeros_and_say_so():
    report = report_of([[0.0, 2.0], [0.0, 4.0]], [[1.0, 3.0], [1.0, 5.0]])
    assert report.metrics["mape"] == pytest.approx(100 * (0.5 + 0.25) / 2)
    assert said(report, "mape leaves out 2 of 4 true values, which are 0")


def test_percentages_of_zeros_alone_are_undefined():
    report = report_of([[0.0, NAN], [0.0, 0.0]], [[1.0, 3.0], [0.0, 5.0]], n_bootstrap=30)
    assert math.isnan(report.metrics["mape"])
    assert report.tables["headline"].loc["mape"].isna().all()
    assert report.metrics["smape"] == pytest.approx(400 / 3)
    assert said(report, "mape is undefined: every true value is 0")


@pytest.mark.parametrize("bad", [0.0, NAN])
def test_a_constant_training_series_leaves_the_scaled_error_undefined_for_it(bad):
    truth, forecast = sample(c=2)
    report = report_of(truth, forecast, ["a", "b"], scale=[bad, 0.5])
    assert report.headline == "mase"
    assert report.metrics["mase"] == pytest.approx(np.abs(truth - forecast)[:, :, 1].mean() / 0.5)
    assert math.isnan(report.tables["variables"].loc["a", "mase"])
    assert said(report, "mase leaves out 'a'", "constant in training")


def test_constant_training_series_everywhere_make_mae_the_headline():
    truth, forecast = sample(c=2)
    report = report_of(truth, forecast, scale=[0.0, 0.0], n_bootstrap=20, baselines={"other": forecast + 1})
    assert report.headline == "mae"
    assert math.isnan(report.metrics["mase"])
    assert said(report, "mase is undefined")


def test_windows_of_constant_series_are_counted():
    truth, forecast = sample(n=4, c=1)
    report = report_of(truth, forecast, scale=[[1.0], [0.0], [NAN], [2.0]])
    size = np.abs(truth - forecast)
    assert report.metrics["mase"] == pytest.approx((size[0].mean() + size[3].mean() / 2) / 2)
    assert said(report, "mase leaves out 2 of 4 windows")


def test_variables_of_different_sizes_are_said():
    truth, forecast = sample(c=2)
    assert not said(report_of(truth, forecast), "dominated")
    report = report_of(truth * [1, 1000], forecast * [1, 1000], ["small", "large"])
    assert said(report, "'large'", "'small'", "dominated by the large ones")


def test_one_window_has_no_interval():
    report = report_of([[1.0, 2.0, 4.0]], [[2.0, 2.0, 2.0]], n_bootstrap=50, contexts=[[0.0]])
    assert report.tables["headline"][["low", "high"]].isna().all(axis=None)
    assert said(report, "One window alone")
    assert set(report.curves["forecast"]["label"]) == {"the only window, window 0"}


def test_huge_errors_are_no_warning():
    assert report_of([[1.0]], [[1e200]]).metrics["mse"] == math.inf


# --- baselines --------------------------------------------------------------------------------------------------------


def test_baselines_have_rows_and_columns():
    truth, forecast = sample()
    other = sample(seed=5)[1]
    report = report_of(truth, forecast, baselines={"other": other, "flat": np.full_like(truth, 5)}, scale=[1.0, 2.0, 3.0])
    table = report.tables["baselines"]
    assert list(table.index) == ["this model", "other", "flat"]
    assert list(table.columns) == ["mae", "mse", "rmse", "smape", "mase"]
    assert table.loc["other", "rmse"] == pytest.approx(by_scikit_learn(truth, other)["rmse"])
    assert table.loc["other"].to_dict() == pytest.approx({name: report_of(truth, other, scale=[1.0, 2.0, 3.0]).metrics[name]
                                                          for name in table.columns})  # fmt: skip
    assert {"other", "flat"} <= set(report.tables["horizon"].columns)
    assert list(report.curves["horizon"].columns) == ["step", "this model", "other", "flat"]


@pytest.mark.parametrize("scale", [None, [1.0, 2.0, 3.0]])
def test_below_baseline_is_said_first(scale):
    truth, forecast = sample()
    report = report_of(truth, forecast, scale=scale, baselines={"good": truth + 0.1, "bad": truth + 9})
    headline = "mae" if scale is None else "mase"
    assert report.notes[0].startswith(f"BELOW BASELINE: {headline} ")
    assert report.notes[0].endswith("of 'good'.")
    assert "is higher than" in report.notes[0]
    assert sum(note.startswith("BELOW") for note in report.notes) == 1
    assert str(report).splitlines()[2].startswith("!! BELOW BASELINE")


def test_equal_to_the_baseline_is_a_loss_too():
    truth, forecast = sample()
    report = report_of(truth, forecast, baselines={"same": forecast})
    assert "is no better than" in report.notes[0]
    assert len([note for note in report.notes if note.startswith("BELOW")]) == 1


def test_large_misses_lose_by_the_squares():
    truth = np.zeros((50, 2))
    forecast = np.zeros((50, 2))
    forecast[0] = 20.0  # mae 0.4, mse 8
    report = report_of(truth, forecast, baselines={"steady": truth + 1})
    assert report.notes[0].startswith("BELOW BASELINE: mse 8.0000 is higher than the 1.0000 of 'steady'")


def test_above_the_baseline_says_nothing():
    truth, forecast = sample()
    report = report_of(truth, forecast, baselines={"flat": truth + 9}, n_bootstrap=50)
    assert not said(report, "BELOW")
    assert not said(report, "distinguishable")


def test_a_difference_within_the_noise_is_said():
    truth = sample(n=200)[0]
    rng = np.random.default_rng(3)
    ours, theirs = (truth + rng.normal(size=truth.shape) for _ in range(2))
    report = report_of(truth, ours, baselines={"twin": theirs, "far": truth + 9}, n_bootstrap=300)
    assert said(report, "Not distinguishable from the best baseline 'twin'", "mae")
    clear = report_of(truth, ours, baselines={"twin": truth + (ours - truth) * 1.05}, n_bootstrap=300)
    assert not said(clear, "distinguishable")  # the same windows are compared, so a small difference is clear


def test_the_last_value_of_the_contexts_is_the_default_baseline():
    truth, forecast = sample(c=2)
    contexts = np.random.default_rng(0).normal(size=(60, 8, 2))
    report = report_of(truth, forecast, contexts=contexts)
    expected = sk.mean_absolute_error(truth.ravel(), np.repeat(contexts[:, -1:], 5, axis=1).ravel())
    assert report.tables["baselines"].loc["last value", "mae"] == pytest.approx(expected)
    assert said(report, "No baseline was given; 'last value'")


def test_the_last_observed_value_counts():
    report = report_of([[1.0], [1.0]], [[1.0], [1.0]], contexts=[[3.0, 5.0, NAN], [2.0, NAN, NAN]])
    assert report.tables["baselines"].loc["last value", "mae"] == 2.5
    empty = report_of([[1.0], [1.0]], [[1.0], [1.0]], contexts=[[3.0, NAN], [NAN, NAN]])
    assert "baselines" not in empty.tables
    assert said(empty, "'last value' is undefined")


def test_no_baseline_is_made_up():
    report = report_of(*sample())
    assert "baselines" not in report.tables
    assert said(report, "No baseline was given, so nothing here says")


def test_given_baselines_replace_the_default_one():
    truth, forecast = sample(c=1)
    report = report_of(truth, forecast, baselines={"mean": truth + 1}, contexts=truth)
    assert list(report.tables["baselines"].index) == ["this model", "mean"]
    assert not said(report, "No baseline")


# --- steps, variables, groups -----------------------------------------------------------------------------------------


def test_steps_and_variables_equal_scikit_learn_on_each_part():
    truth, forecast = sample()
    report = report_of(truth, forecast, ["x", "y", "z"])
    horizon, variables = report.tables["horizon"], report.tables["variables"]
    assert list(horizon.index) == [1, 2, 3, 4, 5]
    assert horizon.index.name == "step"
    for step in range(5):
        expected = by_scikit_learn(truth[:, step], forecast[:, step])
        assert horizon.loc[step + 1, ["mae", "rmse"]].to_dict() == pytest.approx({k: expected[k] for k in ("mae", "rmse")})
    for j, name in enumerate("xyz"):
        expected = by_scikit_learn(truth[:, :, j], forecast[:, :, j])
        assert variables.loc[name, list(expected)].to_dict() == pytest.approx(expected)


def test_a_long_horizon_is_whole_in_the_table_and_cut_in_the_text():
    truth, forecast = sample(n=4, h=720, c=1)
    report = report_of(truth, forecast)
    assert len(report.tables["horizon"]) == 720
    assert "… and 700 more" in str(report)
    assert max(map(len, str(report).splitlines())) <= 100


def test_groups_equal_scikit_learn_on_each_part():
    truth, forecast = sample()
    groups = np.where(np.arange(60) % 3 == 0, "left", "right")
    table = report_of(truth, forecast, groups=groups, scale=[1.0, 1.0, 1.0]).tables["groups"]
    assert list(table.columns) == ["n", "mae", "rmse", "smape", "mase"]
    for name, row in table.iterrows():
        part = groups == name
        expected = by_scikit_learn(truth[part], forecast[part])
        assert row["n"] == part.sum()
        assert row["rmse"] == pytest.approx(expected["rmse"])
        assert row["mase"] == pytest.approx(expected["mae"])


def test_many_groups_show_the_worst_and_the_best():
    truth = np.zeros((100, 2))
    forecast = np.arange(100.0)[:, None] * [1, 1]
    report = report_of(truth, forecast, groups=[f"s{i}" for i in range(100)])
    wanted = [*range(99, 84, -1), *range(14, -1, -1)]
    assert list(report.tables["groups"].index) == [f"s{i}" for i in wanted]
    assert said(report, "Of 100 groups", "15 each")


def test_intervals_of_groups_hold_blocks_together():
    level = np.repeat(np.random.default_rng(0).normal(size=12) ** 2 + 1, 10)
    truth, forecast = np.zeros((120, 10)), level[:, None] * np.ones(10)
    widths = []
    for groups in (np.repeat(np.arange(12), 10), np.arange(120)):
        low, high = report_of(truth, forecast, groups=groups, n_bootstrap=500).tables["headline"].loc["mae", ["low", "high"]]
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


# --- intervals of the metrics -----------------------------------------------------------------------------------------


def test_every_metric_has_an_interval_around_it():
    truth, forecast = sample(n=300)
    quantiles = {0.1: forecast - 1.3, 0.9: forecast + 1.3}
    table = report_of(truth, forecast, quantiles=quantiles, scale=[1.0, 1.0, 1.0], n_bootstrap=300).tables["headline"]
    assert list(table.index) == [
        "mae", "mse", "rmse", "mape", "smape", "mase", "bias", "quantile_loss", "coverage_80", "width_80",
    ]  # fmt: skip
    assert ((table["low"] <= table["value"] + 1e-9) & (table["value"] <= table["high"] + 1e-9)).all()
    assert (table["low"] < table["high"]).drop("width_80").all()


def test_overlapping_windows_do_not_pass_for_independent_ones():
    noise = np.random.default_rng(0).normal(size=1000 + 23)
    truth = sliding_window_view(noise, 24)  # each value is in 24 windows
    low, high = report_of(truth, np.zeros_like(truth), n_bootstrap=500).tables["headline"].loc["mae", ["low", "high"]]
    exact = 3.92 * np.abs(noise).std() / math.sqrt(len(noise))  # of the values themselves
    assert 0.7 < (high - low) / exact < 1.3


def test_the_seed_decides_the_intervals():
    truth, forecast = sample()
    tables = [report_of(truth, forecast, seed=seed, n_bootstrap=50).tables["headline"] for seed in (0, 0, 1)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


def test_few_windows_make_rough_intervals():
    assert said(report_of(*sample(n=20, h=12)), "intervals are rough")
    assert not said(report_of(*sample(n=400, h=12)), "rough")
    assert not said(report_of(*sample(n=60, h=12), groups=range(60)), "rough")


def test_context_and_examples_pass_through():
    example = Example("look")
    report = report_of(*sample(), context={"device": "cpu"}, examples=[example], n_bootstrap=3, seed=7)
    assert report.context == {"device": "cpu", "n_bootstrap": 3, "seed": 7, "block_length": 5}
    assert report.examples == (example,)
    assert report.n == 60


def test_fewer_resamples_for_many_windows_are_said(monkeypatch):
    monkeypatch.setattr("pipelines.metrics._forecasting._BOOTSTRAP_BUDGET", 60 * 150)
    report = report_of(*sample(), n_bootstrap=1000)
    assert report.context["n_bootstrap"] == 150
    assert said(report, "150 resamples")


@pytest.mark.slow
def test_many_windows_take_seconds():
    truth = np.random.default_rng(0).normal(size=(100_000, 24)).astype(np.float32)
    started = time.perf_counter()
    report_of(truth, truth * 0.9, baselines={"zero": truth * 0}, n_bootstrap=1000)
    assert time.perf_counter() - started < 30


# --- pictures and files -----------------------------------------------------------------------------------------------


def full_report(n=60, h=5, c=3, **options):
    truth, forecast = sample(n=n, h=h, c=c)
    truth[3, 1] = np.nan
    quantiles = {q: forecast + z for q, z in [(0.1, -1.3), (0.9, 1.3), (0.025, -2), (0.975, 2), (0.5, 0)]}
    given = {
        "quantiles": quantiles,
        "scale": np.ones(c),
        "baselines": {"$x_1$ and $": forecast + 2, '<b>&"': forecast * 0},
        "groups": ["ab"[i % 2] for i in range(n)],
        "times": pd.date_range("2020-01-01", periods=n, freq="h"),
        "contexts": np.concatenate([forecast[:, :4], forecast], axis=1) + 0.5,
        "n_bootstrap": 30,
    }
    return report_of(truth, forecast, **given | options)


def test_three_windows_are_drawn_of_one_variable():
    report = full_report()
    frame = report.curves["forecast"]
    assert list(frame.columns) == [
        "label", "window", "variable", "step", "truth", "forecast", "low", "high", "nominal",
    ]  # fmt: skip
    assert frame["window"].nunique() == 3
    assert frame["variable"].nunique() == 1
    assert frame["step"].min() == -8
    assert frame["step"].max() == 5
    assert frame.loc[frame["step"] <= 0, ["forecast", "low", "high"]].isna().all(axis=None)
    assert frame["nominal"].unique().tolist() == pytest.approx([0.95])
    assert all("2020-01-0" in label for label in frame["label"])


def test_the_drawn_windows_have_the_errors_they_are_drawn_for():
    truth, forecast = np.zeros((101, 3)), np.arange(101.0)[:, None] * np.ones(3)
    shuffled = np.random.default_rng(0).permutation(101)
    frame = report_of(truth, forecast[shuffled]).curves["forecast"]
    errors = {label.split(",")[0]: part["forecast"].iloc[0] for label, part in frame.groupby("label")}
    assert errors == {"worst": 100, "median error": 50, "best tenth": 10}


def test_json_round_trip():
    report = full_report()
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again == report
    for mine, other in ((report.tables, again.tables), (report.curves, again.curves)):
        assert list(mine) == list(other)
        for name in mine:
            pd.testing.assert_frame_equal(mine[name], other[name])


def test_every_file_and_picture(tmp_path):
    report = full_report()
    for suffix in (".json", ".html", ".md", ".csv"):
        assert report.save(tmp_path / f"r{suffix}").stat().st_size > 200
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert "&lt;b&gt;&amp;&quot;" in page
    assert "2020-01-0" in page
    titles = [axes.get_title() for axes in report.plot().axes if axes.get_title()]
    assert titles[:2] == ["horizon", "coverage"]
    assert [title.split(",")[0] for title in titles[2:]] == ["forecast: best tenth", "forecast: median error", "forecast: worst"]


def test_bars_are_for_shares_alone():
    truth, forecast = sample(noise=0.1)
    page = report_of(truth, forecast, quantiles={0.1: forecast - 1, 0.9: forecast + 1}, n_bootstrap=20)._repr_html_()
    assert page.count('class="dp-bar"') == 1  # the coverage; an error of 0.1 is no tenth of anything


@pytest.mark.parametrize(("n", "h", "c"), [(1, 1, 1), (2, 1, 1), (3, 2, 2), (40, 1, 2), (5, 40, 1), (30, 3, 40)])
def test_every_shape_is_drawn_and_written(n, h, c, tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(n, h, c))
    for contexts in (None, rng.normal(size=(n, 3, c))):
        report = report_of(truth, truth + 1, contexts=contexts, n_bootstrap=10, quantiles={0.1: truth - 2, 0.9: truth + 2})
        report.save(tmp_path / "r.html")
        assert str(report)
        assert Report.from_dict(report.to_dict()) == report


# --- bad arguments ----------------------------------------------------------------------------------------------------

Y = np.ones((3, 4))
Y3 = np.ones((3, 4, 2))


def holed(value, shape=(3, 4), at=(2, 1)):
    array = np.ones(shape)
    array[at] = value
    return array


BAD = {
    "empty": (([], []), {}, r"y_true has shape \(0,\)"),
    "no windows": ((np.ones((0, 3)), np.ones((0, 3))), {}, r"y_true is empty \(shape \(0, 3\)\)"),
    "no steps": ((np.ones((3, 0)), np.ones((3, 0))), {}, "y_true is empty"),
    "one dimension": (([1.0, 2.0], [1.0, 2.0]), {}, r"expected \(windows, steps\).*y\[None, :\]"),
    "four dimensions": ((np.ones((1, 1, 1, 1)),) * 2, {}, r"y_true has shape \(1, 1, 1, 1\)"),
    "shapes": ((Y, np.ones((3, 5))), {}, r"y_pred has shape \(3, 5\), but y_true has shape \(3, 4\)"),
    "2-d and 3-d": ((Y, Y[:, :, None]), {}, r"y_pred has shape \(3, 4, 1\)"),
    "nan": ((Y, holed(np.nan)), {}, r"y_pred is nan in window 2, step 2 of 4, variable 'value'; every forecast"),
    "inf": ((Y3, holed(-np.inf, (3, 4, 2), (0, 3, 1))), {"variables": ["a", "b"]}, "-inf in window 0, step 4 of 4, variable 'b'"),
    "infinite truth": ((holed(np.inf), Y), {}, "y_true is inf in window 2, step 2 of 4, variable 'value'; give nan"),
    "nothing observed": ((Y * np.nan, Y), {}, "no observed value"),
    "text": (([["a", "b"]], [["a", "b"]]), {}, "y_true has the dtype <U1; expected numbers"),
    "text objects": ((Y, np.full((3, 4), "x", object)), {}, "y_pred cannot be read as an array of numbers"),
    "ragged": (([[1.0], [1.0, 2.0]], Y), {}, "y_true cannot be read"),
    "complex": ((Y * 1j, Y), {}, "dtype complex128"),
    "times as values": ((np.full((3, 4), np.datetime64("2020-01-01")), Y), {}, "dtype datetime64"),
    "too few names": ((Y3, Y3), {"variables": ["a"]}, "variables has 1 names, but y_true has 2 variables"),
    "names twice": ((Y3, Y3), {"variables": ["a", "a"]}, "variables names 'a' more than once"),
    "names text": ((Y3, Y3), {"variables": "ab"}, "variables must be a sequence of names, not 'ab'"),
    "level": ((Y, Y), {"quantiles": {1.0: Y}}, "quantile level 1.0 is not a number between 0 and 1"),
    "level zero": ((Y, Y), {"quantiles": {0: Y}}, "quantile level 0 is not"),
    "level nan": ((Y, Y), {"quantiles": {NAN: Y}}, "quantile level nan is not"),
    "level text": ((Y, Y), {"quantiles": {"0.1": Y}}, "quantile level '0.1' is not"),
    "level percent": ((Y, Y), {"quantiles": {90: Y}}, "quantile level 90 is not"),
    "quantiles list": ((Y, Y), {"quantiles": [Y]}, "quantiles must be a mapping"),
    "quantile shape": ((Y, Y), {"quantiles": {0.1: Y[:, :2]}}, r"quantiles\[0.1\] has shape \(3, 2\)"),
    "quantile nan": ((Y, Y), {"quantiles": {0.1: holed(np.nan)}}, r"quantiles\[0.1\] is nan in window 2"),
    "scale shape": ((Y3, Y3), {"scale": [1.0, 1.0, 1.0]}, r"scale has shape \(3,\); expected \(2,\).*\(3, 2\)"),
    "scale negative": ((Y3, Y3), {"scale": [1.0, -2.0]}, "scale of variable 1 is -2.0"),
    "scale inf": ((Y3, Y3), {"scale": [np.inf, 1.0]}, "scale of variable 0 is inf"),
    "scale text": ((Y, Y), {"scale": ["x"]}, "scale has the dtype"),
    "baselines list": ((Y, Y), {"baselines": [Y]}, "baselines must be a mapping"),
    "baseline shape": ((Y, Y), {"baselines": {"m": Y[:2]}}, r"baselines\['m'\] has shape \(2, 4\)"),
    "baseline nan": ((Y, Y), {"baselines": {"m": holed(np.nan)}}, r"baselines\['m'\] is nan in window 2"),
    "baseline name": ((Y, Y), {"baselines": {"this model": Y}}, "cannot be called 'this model'"),
    "baseline metric": ((Y, Y), {"baselines": {"coverage_80": Y}}, "cannot be called 'coverage_80'"),
    "groups": ((Y, Y), {"groups": ["a"]}, "groups has 1 entries, but there are 3"),
    "times": ((Y, Y), {"times": [1, 2]}, "times has 2 entries, but there are 3 windows"),
    "times text": ((Y, Y), {"times": "2020"}, "times must be a sequence, not '2020'"),
    "times table": ((Y, Y), {"times": Y}, "times cannot be read as one time a window"),
    "contexts windows": ((Y, Y), {"contexts": Y[:2]}, r"contexts has shape \(2, 4\); expected 3 windows"),
    "contexts variables": ((Y3, Y3), {"contexts": Y}, r"contexts has shape \(3, 4\).*2 variables"),
    "contexts empty": ((Y, Y), {"contexts": Y[:, :0]}, "one or more earlier steps"),
    "contexts text": ((Y, Y), {"contexts": [["a"]] * 3}, "contexts has the dtype"),
    "resamples": ((Y, Y), {"n_bootstrap": -1}, "0 or more; not -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused_with_a_sentence(case):
    args, options, message = BAD[case]
    with pytest.raises(DataError, match=message):
        metrics.forecasting(*args, **options)


def test_the_window_named_is_right_beyond_the_first_chunk(monkeypatch):
    monkeypatch.setattr(_forecast_answers, "_CHUNK", 4)
    with pytest.raises(DataError, match="y_pred is nan in window 2, step 2 of 4"):
        metrics.forecasting(Y, holed(np.nan))
