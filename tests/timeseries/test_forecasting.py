"""`Forecaster`: no look into the future, every window counted, results in kind, what is refused, and what survives."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error

import pipelines
from pipelines import DataError, ParameterError
from pipelines.engines import load_framework
from timeseries import Forecaster, forecasting

from ..conftest import ROOT

QUICK = {"horizon": 4, "lookback": 12, "units": 8, "epochs": 2, "batch_size": 32, "device": "cpu", "verbose": 0}
BAND = [0.1, 0.9]
L, H, T = 12, 4, 200
WAVE = np.sin(np.arange(T) / 3) + np.random.default_rng(0).normal(0, 0.1, T)
PAIR = np.stack([WAVE, np.cumsum(np.random.default_rng(1).normal(0, 1, T))], axis=1)
DAYS = pd.date_range("2024-01-01", periods=T, freq="D")
NEXT = pd.date_range(DAYS[-1], periods=H + 1, freq="D")[1:]


def make(**params):
    return Forecaster(**{**QUICK, **params})


def frame(index=DAYS):
    return pd.DataFrame({"load": WAVE, "price": PAIR[:, 1]}, index)


def shop():
    """Sales that follow a promotion known in advance."""
    promo = (np.random.default_rng(2).random(T) < 0.3).astype(float)
    return pd.DataFrame({"sales": WAVE + 3 * promo, "promo": promo, "note": np.arange(T)}, DAYS)


@functools.cache
def sea():
    """Monthly sea temperatures off Peru, 1950 to 2010."""
    from statsmodels.datasets import elnino

    years = elnino.load_pandas().data.set_index("YEAR")
    stamps = pd.date_range("1950-01-01", periods=years.size, freq="MS")
    return pd.Series(years.to_numpy().ravel(), stamps, name="sea")


@pytest.fixture(scope="module")
def banded():
    """A model with intervals."""
    return make(quantiles=BAND).fit(PAIR)


@pytest.fixture(scope="module")
def on_frame():
    return make(lookback=21).fit(frame())  # three weeks show the weekday by themselves: no calendar


@pytest.fixture(scope="module")
def selling():
    return make(known=["promo"], variables=["sales"], quantiles=BAND).fit(shop())


@pytest.fixture(scope="module")
def family():
    return make(quantiles=BAND).fit({"a": WAVE, "b": PAIR[:, 1], 3: WAVE[:150] + 5})


def backtest(model, X, stride=1):
    """Return what `evaluate` gives to the metrics: the forecast first, then the quantiles, (n, horizon, C, 1 + levels)."""
    found = model._backtest(model._inspect(X), stride, None)
    return np.stack([found["y_pred"], *(found["quantiles"] or {}).values()], axis=-1), found


def flat(forecast):
    """Return forecasts of any kind as one vector."""
    if isinstance(forecast, dict):
        forecast = list(forecast.values())
    parts = forecast if isinstance(forecast, list) else [forecast]
    return np.concatenate([np.asarray(part, dtype=float).ravel() for part in parts])


# --- no look into the future ------------------------------------------------------------------------------------------

NETWORKS = {
    "segments": {},
    "stacked": {"architecture": "stacked", "cell": "gru"},
    "intervals": {"quantiles": BAND},
    "odd segments": {"segment": 5, "quantiles": [0.7]},
    "one row": {"lookback": 1},
}


@pytest.mark.parametrize("future", [np.nan, 1e6, 0.0], ids=["missing", "huge", "zero"])
@pytest.mark.parametrize("name", NETWORKS)
def test_forecasts_do_not_move_when_the_future_does(name, future):
    model = make(**NETWORKS[name]).fit(PAIR)
    before, _ = backtest(model, PAIR)
    for t in (60, 121, T - 1):
        changed = PAIR.copy()
        changed[t:] = future
        after, _ = backtest(model, changed)
        past = t - model.lookback_ + 1  # windows whose context ends before row t
        np.testing.assert_allclose(after[:past], before[:past], rtol=1e-6)
        if future == 1e6 and past + model.horizon < len(after):
            assert not np.allclose(after[past:], before[past:], rtol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_backtest_equals_predict_from_everything_before(name):
    model = make(**NETWORKS[name]).fit(PAIR)
    forecasts, _ = backtest(model, PAIR)
    for window in (0, 1, 57, len(forecasts) - 1):
        alone = model.predict(PAIR[: window + model.lookback_])
        np.testing.assert_allclose(alone.reshape(forecasts[window].shape), forecasts[window], rtol=1e-5, atol=1e-6)


def test_backtest_equals_predict_with_calendar_and_what_is_known(selling):
    X = shop()
    assert selling.calendar_ == ["weekday"]
    forecasts, found = backtest(selling, X)
    for window in (0, 33, len(forecasts) - 1):
        origin = window + L
        alone = selling.predict(X[:origin], future=X[["promo"]][origin:])
        np.testing.assert_allclose(alone.to_numpy(), forecasts[window, :, 0], rtol=1e-5, atol=1e-6)
        assert alone.index[0] == found["times"][window]


def test_known_columns_beyond_the_horizon_change_nothing(selling):
    X, t = shop(), 100
    before, _ = backtest(selling, X)
    X.iloc[t:, :] = 7.0
    after, _ = backtest(selling, X)
    past = t - L - H + 1  # windows whose last target comes before row t
    np.testing.assert_allclose(after[:past], before[:past], rtol=1e-6)
    assert not np.allclose(after[past : past + H], before[past : past + H])  # what is known of the horizon counts


def test_intervals_know_only_settled_forecasts(banded):
    before, _ = backtest(banded, PAIR)
    t = 100
    changed = PAIR.copy()
    changed[t:] += 50
    after, _ = backtest(banded, changed)
    np.testing.assert_allclose(after[: t - L + 1], before[: t - L + 1], rtol=1e-6)
    widths = (after - before)[t:, :, :, 2]
    assert np.abs(widths).max() > 0


FACTS = ["lookback_", "segment_", "period_", "calendar_", "scale_", "naive_error_", "known_center_", "known_scale_"]
FACTS += ["known_columns_", "names_", "linear_penalty_"]


@pytest.mark.parametrize("value", [1e3, -5.0])
def test_nothing_that_prepares_data_is_learned_from_the_validation_part(value):
    params = {"known": ["promo"], "variables": ["sales"], "lookback": "auto", "valid": 0.2}
    share = params.pop("valid")
    one = make(**params).fit(shop(), valid=share)
    changed = shop()
    changed.iloc[-40:] = value
    other = make(**params).fit(changed, valid=share)
    for name in FACTS:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    changed.iloc[-41:] = value
    assert not np.array_equal(make(**params).fit(changed, valid=share).scale_, one.scale_)


def test_nothing_at_all_that_prepares_data_is_learned_from_a_given_validation_part():
    one, other = (make(quantiles=BAND).fit(WAVE[:150], valid=valid) for valid in (WAVE[100:], 1000 - 7 * WAVE[100:]))
    for name in [*FACTS, "linear_", "tail_"]:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert not np.array_equal(one.shift_, other.shift_)


def test_given_validation_may_be_a_pair_with_none():
    one, other = (make().fit(WAVE[:150], valid=valid) for valid in (WAVE[100:], (WAVE[100:], None)))
    assert np.array_equal(one.predict(), other.predict())


@pytest.mark.parametrize("gap", [1, 3, 8])
def test_a_gap_before_the_origin_is_filled_from_the_past_alone(banded, gap):
    t = 90
    holey = PAIR.copy()
    holey[t - gap : t + 3] = np.nan  # straddles the origin
    held = PAIR[:t].copy()
    held[t - gap :] = held[t - gap - 1]  # the last value that was seen
    np.testing.assert_allclose(banded.predict(holey[:t])[..., 0], banded.predict(held)[..., 0], rtol=1e-6)
    forecasts, _ = backtest(banded, holey)
    np.testing.assert_allclose(forecasts[t - L, ..., 0], banded.predict(held)[..., 0], rtol=1e-5)


def test_predict_goes_on_from_the_end_of_the_training_series():
    X = sea()
    model = make(lookback=24, horizon=6).fit(X)
    assert model.calendar_ == ["month_of_year"]
    pd.testing.assert_series_equal(model.predict(), model.predict(X), rtol=1e-6)
    assert model.predict().index[0] == pd.Timestamp("2011-01-01")


def test_predict_needs_no_more_than_the_lookback(on_frame):
    np.testing.assert_allclose(on_frame.predict(frame()[-21:]), on_frame.predict(frame()), rtol=1e-6)


# --- evaluate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 3, 50, 1000])
def test_every_window_counts(banded, stride):
    report = banded.evaluate(PAIR, stride=stride)
    assert report.n == (T - L - H) // stride + 1
    assert report.context["stride"] == stride
    assert banded.evaluate(PAIR[: L + H]).n == 1


def test_strides_take_every_so_many_windows():
    model = make().fit(PAIR)
    whole, _ = backtest(model, PAIR)
    for stride in (2, 7, 90):
        np.testing.assert_allclose(backtest(model, PAIR, stride)[0], whole[::stride], rtol=1e-5)


def test_numbers_are_those_of_numpy_and_scikit_learn(banded):
    report = banded.evaluate(PAIR)
    forecasts, found = backtest(banded, PAIR)
    truth = np.stack([PAIR[i + L : i + L + H] for i in range(T - L - H + 1)])
    assert np.array_equal(found["y_true"], truth)
    said = forecasts[..., 0]
    assert report.metrics["mae"] == pytest.approx(mean_absolute_error(truth.ravel(), said.ravel()))
    assert report.metrics["mse"] == pytest.approx(mean_squared_error(truth.ravel(), said.ravel()))
    train = PAIR[: T - max(round(0.1 * T), H)]
    unit = np.abs(train[banded.period_ :] - train[: -banded.period_]).mean(axis=0)
    np.testing.assert_allclose(banded.naive_error_[0], unit)
    assert report.metrics["mase"] == pytest.approx((np.abs(truth - said) / unit).mean())
    inside = (forecasts[..., 1] <= truth) & (truth <= forecasts[..., 2])
    assert report.metrics["coverage_80"] == pytest.approx(inside.mean())
    steps = report.tables["horizon"]["mae"]
    np.testing.assert_allclose(steps, np.abs(truth - said).mean(axis=(0, 2)))
    assert banded.score(PAIR) == pytest.approx(-report.metrics["mase"])


def test_baselines_are_computed_on_the_same_windows():
    X = np.tile([1.0, 2.0, 4.0, 3.0, 0.0, 1.0, 5.0], 30) + np.random.default_rng(0).normal(0, 0.1, 210)
    model = make(lookback=21).fit(X)
    assert model.period_ == 7
    table = model.evaluate(X).tables["baselines"]["mae"]
    windows = np.lib.stride_tricks.sliding_window_view(X, 21 + H)
    context, truth = windows[:, :21], windows[:, 21:]
    steps = np.arange(1, H + 1)
    expected = {
        "last value": context[:, -1:] + 0 * steps,
        "drift": context[:, -1:] + (context[:, -1:] - context[:, :1]) / 20 * steps,
        "seasonal naive (7)": windows[:, 14 : 14 + H],
        "linear map": context[:, -1:] + (context - context[:, -1:]) @ model.linear_,
    }
    for name, said in expected.items():
        assert table[name] == pytest.approx(np.abs(truth - said).mean(), rel=1e-5), name
    assert set(table.index) == {"this model", *expected}


def test_truth_that_nobody_observed_is_not_counted(banded):
    holey = PAIR.copy()
    holey[150] = np.nan
    report = banded.evaluate(holey)
    forecasts, found = backtest(banded, holey)
    seen = ~np.isnan(found["y_true"])
    assert (~seen).sum() == 2 * H
    error = np.abs(found["y_true"] - forecasts[..., 0])[seen]
    assert report.metrics["mae"] == pytest.approx(error.mean())
    assert np.isfinite(forecasts).all()
    assert any("not observed" in note for note in report.notes)


def test_series_of_any_length_are_judged_and_short_ones_have_no_window(family):
    X = {"a": WAVE, "b": PAIR[:30, 1], 3: WAVE[: L + H - 1], "new": WAVE[: L + H] + 9}
    report = family.evaluate(X)
    assert report.n == (T - L - H + 1) + (30 - L - H + 1) + 0 + 1
    rows = report.tables["groups"]["n"]
    assert {name: rows[name] for name in rows.index} == {"a": T - L - H + 1, "b": 30 - L - H + 1, "new": 1}
    alone, _ = backtest(family, {"b": PAIR[:30, 1]})
    together, _ = backtest(family, X)
    np.testing.assert_allclose(together[T - L - H + 1 :][: len(alone)], alone, rtol=1e-5)


@pytest.mark.parametrize("groups", [["x", "y"], ("x", "y"), np.array(["x", "y"]), pd.Series(["x", "y"], index=[7, 8])], ids=repr)
def test_groups_name_the_series(groups):
    model = make().fit([WAVE, PAIR[:, 1]])
    table = model.evaluate([WAVE, PAIR[:, 1]], groups=groups).tables["groups"]
    assert table.index.tolist() == ["x", "y"]
    assert model.evaluate([WAVE, WAVE]).tables["groups"].index.tolist() == ["series 0", "series 1"]


def test_evaluate_repeats_what_was_repaired_and_decided():
    X = frame().drop(DAYS[50])
    model = make().fit(X)
    notes = model.evaluate(X).notes
    assert any("1 missing time stamp was inserted" in note for note in notes)
    assert any("The forecast is " in note for note in notes)


def test_examples_and_times_name_the_first_step(on_frame):
    _, found = backtest(on_frame, frame())
    assert (found["times"][0], found["times"][-1]) == (DAYS[21], DAYS[-H])


def test_weekly_co2_with_its_gaps_is_forecast():
    from statsmodels.datasets import co2

    X = co2.load_pandas().data["co2"][:700]
    assert X.isna().sum() > 20
    model = make(lookback=104, horizon=8, quantiles=BAND).fit(X[:600])
    assert any("missing values (NaN) are filled" in note for note in model.notes_)
    report = model.evaluate(X[496:])
    assert report.n == 204 - 104 - 8 + 1
    assert report.metrics["mae"] < report.tables["baselines"].loc["last value", "mae"]
    found = model.predict(X[:600])
    assert found.index.equals(X.index[600:608])
    assert found.columns.tolist() == ["co2", "co2_q0.1", "co2_q0.9"]
    assert np.isfinite(found.to_numpy()).all()


def test_yearly_sunspots_are_forecast():
    from statsmodels.datasets import sunspots

    years = sunspots.load_pandas().data["SUNACTIVITY"]
    X = years.set_axis(pd.period_range("1700", periods=len(years), freq="Y"))
    model = make(lookback=44, horizon=11, epochs=10).fit(X[:-60])
    assert model.calendar_ == []
    report = model.evaluate(X[-104:])
    assert report.metrics["mae"] < report.tables["baselines"].loc["last value", "mae"]
    assert model.predict().index[0] == pd.Period("1949", "Y")


# --- results in kind --------------------------------------------------------------------------------------------------


def long_frame():
    table = pd.DataFrame({"store": np.repeat(["x", "y"], T), "day": np.tile(DAYS, 2), "sales": np.concatenate([WAVE, WAVE + 5])})
    return table.sort_values("day", kind="stable", ignore_index=True)


KINDS = {
    "list": (WAVE.tolist(), {}),
    "flat": (WAVE, {}),
    "float32": (WAVE.astype(np.float32), {}),
    "column": (WAVE[:, None], {}),
    "table": (PAIR, {}),
    "block": (np.stack([PAIR, PAIR + 1]), {}),
    "series": (pd.Series(WAVE, DAYS, name="load"), {}),
    "series of rows": (pd.Series(WAVE), {}),
    "frame": (frame(), {}),
    "months": (frame(pd.date_range("2000-01-31", periods=T, freq="ME")), {}),
    "periods": (frame(pd.period_range("2000-01", periods=T, freq="M")), {}),
    "hours with a zone": (frame(pd.date_range("2024-03-25", periods=T, freq="h", tz="Europe/Paris")), {}),
    "business days": (frame(pd.bdate_range("2024-01-01", periods=T)), {}),
    "list of arrays": ([WAVE, WAVE[:100] + 1], {}),
    "dict of frames": ({"x": frame(), 7: frame(DAYS + pd.Timedelta(days=3))}, {}),
    "long": (long_frame(), {"series_id": "store"}),
}


def shapes(forecast):
    if isinstance(forecast, dict):
        return {name: shapes(one) for name, one in forecast.items()}
    if isinstance(forecast, list):
        return [shapes(one) for one in forecast]
    kind = type(forecast).__name__
    if isinstance(forecast, pd.DataFrame):
        return kind, forecast.shape, tuple(forecast.columns), forecast.index.dtype
    return kind, forecast.shape


@pytest.mark.parametrize("quantiles", [None, [0.9, 0.1]], ids=["point", "band"])
@pytest.mark.parametrize("kind", KINDS)
def test_forecasts_come_in_the_kind_of_the_series(kind, quantiles):
    X, params = KINDS[kind]
    model = make(quantiles=quantiles, epochs=1, **params).fit(X)
    first, again = model.predict(), model.predict(X)
    assert shapes(first) == shapes(again)
    bands = 1 if quantiles is None else 3
    assert np.isfinite(flat(again)).all() if kind != "long" else True
    if bands == 1 and kind != "long":
        np.testing.assert_allclose(flat(first), flat(again), rtol=1e-4, atol=1e-5)
    expected = {
        "list": (H,) if bands == 1 else (H, 3),
        "flat": (H,) if bands == 1 else (H, 3),
        "column": (H, 1) if bands == 1 else (H, 1, 3),
        "table": (H, 2) if bands == 1 else (H, 2, 3),
        "block": (2, H, 2) if bands == 1 else (2, H, 2, 3),
        "frame": (H, 2 * bands),
    }
    if kind in expected:
        assert again.shape == expected[kind]
    if isinstance(again, (pd.Series, pd.DataFrame)) and kind != "long":
        whole = X.index.append(again.index)
        assert whole.is_unique
        assert whole.is_monotonic_increasing
        assert whole.dtype == X.index.dtype
    if kind == "frame":
        names = ["load", "price"] if bands == 1 else ["load", "load_q0.1", "load_q0.9", "price", "price_q0.1", "price_q0.9"]
        assert again.columns.tolist() == names
        assert again.index.equals(NEXT)
    if kind == "long":
        assert again["store"].tolist() == ["x"] * H + ["y"] * H
        assert again["day"].tolist() == [*NEXT, *NEXT]
        assert np.isfinite(again.filter(like="sales").to_numpy()).all()
    json.dumps([model.form_, model.tail_facts_, model.names_, model.notes_, model.history_])


def test_one_model_serves_every_kind_of_the_same_width(on_frame):
    expected = on_frame.predict(frame()).to_numpy()
    X = frame()
    for given in (
        X.to_numpy(),
        X[["price", "load"]],
        X.reset_index(drop=True),
        X.astype(np.float32),
        {"z": X},
        [X.to_numpy()] * 2,
    ):
        found = on_frame.predict(given)
        if isinstance(given, pd.DataFrame) and given.columns[0] == "price":
            assert found.columns.tolist() == ["price", "load"]
            found = found[["load", "price"]]
        found = next(iter(found.values())) if isinstance(found, dict) else found[1] if isinstance(found, list) else found
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-4)


def test_columns_in_another_order_are_evaluated_alike(on_frame):
    one, other = on_frame.evaluate(frame()), on_frame.evaluate(frame()[["price", "load"]])
    assert one.metrics == pytest.approx(other.metrics)


def test_series_not_seen_in_fit_are_forecast(family):
    found = family.predict({"new": WAVE, "a": WAVE})
    assert list(found) == ["new", "a"]
    assert not np.allclose(found["new"], found["a"], rtol=1e-9) or family.blend_.get("network", 0) == 0
    assert (
        family._inputs(family._windows([WAVE[:, None]]), [np.zeros((T, 0))], family._inspect({"new": WAVE}))[0][0]["series"].max()
        == 0
    )
    assert family.predict([WAVE])[0].shape == (H, 3)


def test_calendar_needs_time_stamps(selling):
    with pytest.raises(DataError, match="uses the calendar, so it needs them here"):
        selling.predict(shop()[["sales", "promo"]].reset_index(drop=True), future=np.zeros((H, 1)))


# --- what is known, and variables --------------------------------------------------------------------------------------


def test_a_promotion_known_in_advance_moves_the_forecast():
    promo = (np.random.default_rng(2).random(600) < 0.3).astype(float)
    X = np.stack([3 * promo + np.random.default_rng(3).normal(0, 0.1, 600), promo], axis=1)
    model = make(known=[1], epochs=15, units=16, horizon=2, lr=0.01).fit(X)
    assert model.blend_["network"] > 0.9
    none, both = (model.predict(future=np.full((2, 1), value)) for value in (0.0, 1.0))
    assert none.shape == (2, 1)
    assert (both - none > 2).all()
    assert model.evaluate(X).metrics["mae"] < model.evaluate(X).tables["baselines"]["mae"].iloc[1:].min() / 2


def test_future_in_every_kind(selling):
    future = pd.DataFrame({"promo": [0.0, 1.0, 0.0, 1.0]}, NEXT)
    expected = selling.predict(future=future)
    assert expected.columns.tolist() == ["sales", "sales_q0.1", "sales_q0.9"]
    longer = pd.concat([future, future.set_index(NEXT + pd.Timedelta(days=H))])
    for given in (future["promo"], future.to_numpy(), future.to_numpy().tolist(), longer):
        pd.testing.assert_frame_equal(selling.predict(future=given), expected)


@pytest.mark.parametrize(
    ("future", "message"),
    [
        (None, r"needs them for the next 4 rows: future=a DataFrame with 'promo', indexed by time"),
        (pd.DataFrame({"promo": [0.0] * 3}, NEXT[:3]), "future has 3 rows, but the horizon is 4"),
        (pd.DataFrame({"promo": [0.0] * 4}, DAYS[:4]), "is next after the series"),
        (pd.DataFrame({"promotion": [0.0] * 4, "x": [0.0] * 4}, NEXT), "no column 'promo'"),
        (pd.DataFrame({"promo": [0.0, np.nan, 0.0, 0.0]}, NEXT), "must be finite"),
        (np.zeros((4, 2)), "future has 2 columns"),
    ],
    ids=str,
)
def test_future_that_cannot_be_used_is_refused(selling, future, message):
    with pytest.raises(DataError, match=message):
        selling.predict(future=future)


def test_future_is_refused_where_nothing_is_known(on_frame):
    with pytest.raises(DataError, match="fitted without columns known in advance"):
        on_frame.predict(future=np.zeros((H, 1)))


def test_variables_choose_what_is_forecast():
    X = shop()
    model = make(variables=["note"]).fit(X)
    assert model.predict().columns.tolist() == ["note"]
    assert any("2 columns neither in variables nor in known" in note for note in model.notes_)
    pd.testing.assert_frame_equal(model.predict(X[["note"]]), model.predict(X))
    positions = make(variables=[1]).fit(PAIR)
    np.testing.assert_allclose(positions.predict(), positions.predict(PAIR), rtol=1e-5)
    assert positions.predict().shape == (H, 1)


@pytest.mark.parametrize(
    "params",
    [
        {"lookback": 1},
        {"horizon": 1},
        {"lookback": 1, "horizon": 1, "quantiles": BAND},
        {"units": 7},
        {"units": 2, "cell": "gru"},
        {"segment": 1},
        {"segment": 5},
        {"segment": 500},
        {"lookback": 13, "segment": 5, "horizon": 11},
        {"architecture": "stacked", "segment": 3},
        {"architecture": "stacked", "cell": "gru", "units": 3, "quantiles": [0.5], "known": [1]},
        {"quantiles": (0.2, 0.8)},
        {"quantiles": [0.9]},
        {"quantiles": [0.5]},
        {"quantiles": [0.9, 0.5, 0.25]},
        {"lookback": np.int64(9), "horizon": np.int32(3), "batch_size": np.int64(8), "quantiles": [np.float64(0.3)]},
        {"lookback": "auto", "segment": "auto", "epochs": 1},
        {"batch_size": 1000},
    ],
    ids=str,
)
def test_every_shape_of_network_fits_forecasts_and_is_saved(params, tmp_path):
    model = make(**{"epochs": 1, **params}).fit(PAIR[:80])
    future = np.zeros((model.horizon, 1)) if model.known else None
    expected = model.predict(PAIR[:60], future=future)
    assert np.isfinite(expected).all()
    variables = 1 if model.known else 2
    assert expected.shape[:2] == (model.horizon, variables)
    if model.quantiles:
        levels = sorted(model.quantiles)
        assert expected.shape[2] == 1 + len(levels)
        assert (np.diff(expected[..., 1:], axis=2) >= 0).all()
        low, high = ([1 + i for i, q in enumerate(levels) if keep(q)] for keep in (lambda q: q <= 0.5, lambda q: q >= 0.5))
        assert (expected[..., low] <= expected[..., :1]).all()
        assert (expected[..., high] >= expected[..., :1]).all()
    loaded = pipelines.load(model.save(tmp_path / "m"), device="cpu")
    np.testing.assert_allclose(loaded.predict(PAIR[:60], future=future), expected, rtol=1e-6)
    assert json.loads((tmp_path / "m" / "pipeline.json").read_text())["params"]["horizon"] == model.horizon


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"horizon": 0}, "horizon must be an integer of at least 1, but received 0"),
        ({"horizon": -3}, "horizon must be"),
        ({"horizon": 2.5}, "horizon must be an integer"),
        ({"horizon": True}, "horizon must be"),
        ({"lookback": 0}, "lookback must be an integer of at least 1"),
        ({"lookback": "long"}, "lookback must be an integer"),
        ({"lookback": None}, "lookback must be"),
        ({"segment": 0}, "segment must be"),
        ({"units": 1}, "units must be an integer of at least 2"),
        ({"cell": "rnn"}, "cell='rnn' is not known"),
        ({"architecture": "segments"}, "Did you mean 'segment'"),
        ({"quantiles": [0.1, 1.0]}, "quantiles must be a number"),
        ({"quantiles": [0]}, "quantiles must be a number"),
        ({"quantiles": [0.1, float("nan")]}, "quantiles must be a number"),
        ({"quantiles": ["0.1"]}, "quantiles must be a number"),
        ({"quantiles": [0.1, 0.1]}, "names a level twice"),
        ({"quantiles": []}, r"must be a list such as \[0.1, 0.9\]"),
        ({"quantiles": 0.9}, r"must be a list such as \[0.1, 0.9\]"),
        ({"quantiles": np.array([0.1])}, r"must be a list such as \[0.1, 0.9\]"),
        ({"variables": "load"}, r"variables must be a list of columns, but received 'load'. Write \['load'\]"),
        ({"known": "load"}, "known must be a list"),
        ({"epochs": 0}, "epochs must be"),
    ],
    ids=str,
)
def test_parameters_that_cannot_be_used_are_refused_by_fit(params, message):
    with pytest.raises(ParameterError, match=message):
        make(**params).fit(frame())


def swapped(index=DAYS):
    return frame(index[[0, 2, 1, *range(3, T)]])


BAD_SERIES = {
    "short": (WAVE[:15], r"The series has 15 rows to learn from, but lookback \+ horizon are 12 \+ 4"),
    "one row": (WAVE[:1], r"has 1 rows? to learn from, but lookback \+ horizon are 12 \+ 4"),
    "short in a dict": ({"x": WAVE, "y": WAVE[:9]}, r"Series 'y' has 9 rows to learn from, but lookback \+ horizon are 12 \+ 4"),
    "one row in a list": ([WAVE, WAVE[:1]], r"Series 1 has 1 rows? to learn from"),
    "empty dict": ({}, "empty dict"),
    "empty list": ([], "X is empty"),
    "column without values": (np.stack([WAVE, np.full(T, np.nan)], axis=1), "no value at all in column 1"),
    "infinite": (np.where(np.arange(T) == 7, np.inf, WAVE), "inf in row 7"),
    "copy of a stamp": (frame(DAYS[[0, 0, *range(2, T)]]), r"2024-01-01 00:00:00 twice, the second time in row 1"),
    "unsorted": (swapped(), "not sorted by time: 2024-01-02 .* in row 2 comes after"),
    "irregular": (frame(DAYS + pd.to_timedelta(np.arange(T) ** 2, "min")), "irregular time stamps"),
    "two frequencies": ({"x": frame(), "y": frame(pd.date_range("2024", periods=T, freq="h"))}, "one frequency"),
    "texts": (frame().astype(object).replace({"load": {WAVE[3]: "high"}}), "'high' in row 3, column 'load'"),
    "text column": (frame().assign(city="Rome"), "cannot be forecast as numbers: 'city'"),
    "table of complex": (WAVE.astype(complex), "expected a number|real numbers|cannot be read"),
    "path": ("series.csv", "is no time series but of type str"),
    "time in a column": (frame().rename_axis("day").reset_index(), "time in the column 'day'"),
    "4 dimensions": (np.zeros((2, 2, 50, 2)), "4 dimensions"),
}


@pytest.mark.parametrize("name", BAD_SERIES)
def test_series_that_cannot_be_used_are_refused_before_training(name, monkeypatch):
    monkeypatch.setattr(Forecaster, "_train", None)
    X, message = BAD_SERIES[name]
    with pytest.raises(DataError, match=message):
        make().fit(X)


def test_series_too_short_for_the_automatic_lookback_is_refused():
    for rows in (1, 2, 5):
        with pytest.raises(DataError, match=rf"has {rows} rows to learn from, but lookback \+ horizon are 1 \+ 4"):
            make(lookback="auto").fit(WAVE[:rows])
    assert make(lookback="auto").fit(WAVE[:7]).predict().shape == (H,)


@pytest.mark.parametrize(
    ("valid", "error", "message"),
    [
        (-0.1, ParameterError, "valid must be a number from 0 to 0.9"),
        (1.0, ParameterError, "valid must be"),
        (float("nan"), ParameterError, "valid must be"),
        (True, DataError, "is no time series but of type bool"),
        ("half", DataError, "is no time series but of type str"),
        (WAVE[:9], DataError, "expected a DataFrame|DataFrame|columns|column"),
        (PAIR[: L + H - 1], DataError, r"No series of the validation part has lookback \+ horizon = 12 \+ 4 rows"),
        (PAIR[:, :1], DataError, "1 column"),
        (np.where(np.arange(60)[:, None] < 12, PAIR[:60], np.nan), DataError, "Nothing was observed in the validation part"),
        (pd.DataFrame({"x": WAVE, "y": WAVE}), DataError, "no column 'load'"),
    ],
    ids=repr,
)
def test_validation_that_cannot_be_used_is_refused(valid, error, message):
    with pytest.raises(error, match=message):
        make().fit(frame().reset_index(drop=True), valid=valid)


def test_calls_that_cannot_be_answered_are_refused(banded, family):
    for use in (banded.fit, banded.evaluate, banded.score):
        with pytest.raises(DataError, match="takes no y"):
            use(PAIR, PAIR)
    with pytest.raises(DataError, match=r"The series has 11 rows, but a forecast needs the last 12 before it \(lookback\)"):
        banded.predict(PAIR[:11])
    with pytest.raises(DataError, match=r"Series 'b' has 5 rows, but a forecast needs the last 12"):
        family.predict({"a": WAVE, "b": WAVE[:5]})
    with pytest.raises(DataError, match=r"the longest has 15 rows, but lookback \+ horizon are 12 \+ 4"):
        banded.evaluate(PAIR[:15])
    for stride in (0, -1, 1.5, True, "2"):
        with pytest.raises(ParameterError, match="stride must be an integer of at least 1"):
            banded.evaluate(PAIR, stride=stride)
    for groups in (["a"], "ab", ["a"] * 4, 5, {"x": 1}, [None] * 2):
        with pytest.raises(DataError, match="groups"):
            family.evaluate({"a": WAVE, "b": WAVE}, groups=groups)
    for X in ({}, [], np.zeros(0)):
        with pytest.raises(DataError, match=r"empty|no rows"):
            banded.predict(X)
    with pytest.raises(DataError, match="every one is nan"):
        banded.evaluate(np.where(np.arange(T)[:, None] < L, PAIR, np.nan))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (frame()[["load"]], "no column 'price'"),
        (frame().assign(more=1.0), "1 column the model was not fitted on: 'more'"),
        (frame().rename(columns={"price": "prize"}), "Did you mean 'prize'|no column 'price'"),
        (frame(pd.date_range("2024", periods=T, freq="h")), "hourly .* fitted on data that is daily"),
        (frame(DAYS.tz_localize("UTC")), "time zone"),
        (WAVE, "1 column, but the model was fitted on 2 columns"),
        (pd.Series(WAVE, DAYS), "is one pandas Series, but the model was fitted on 2 columns"),
        (np.zeros((T, 3)), "3 columns"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_series_that_do_not_fit_the_training_series_are_refused(on_frame, X, message):
    for use in (on_frame.predict, on_frame.evaluate, on_frame.score):
        with pytest.raises(DataError, match=message):
            use(X)


def test_an_earlier_fit_survives_a_failed_one(monkeypatch):
    model = make(quantiles=BAND).fit(PAIR)
    expected, facts = model.predict(), json.dumps([model.form_, model.history_, model.blend_])
    with pytest.raises(DataError):
        model.fit({"x": WAVE, "y": WAVE[:3]})
    with pytest.raises(DataError):
        model.fit(WAVE, valid=PAIR)
    model.lr = float("nan")
    with pytest.raises(ParameterError):
        model.fit(WAVE)
    assert np.array_equal(model.predict(), expected)
    assert json.dumps([model.form_, model.history_, model.blend_]) == facts


# --- strange series ---------------------------------------------------------------------------------------------------

VALID = round(0.1 * T)
STRANGE = {
    "zeros": (np.zeros(T), None),
    "constant": (np.full(T, 0.1), None),
    "constant variable": (np.stack([WAVE, np.full(T, 0.1)], axis=1), None),
    "huge": (WAVE * 1e12, None),
    "huge offset": (WAVE + 1e12, None),
    "huge float32": ((WAVE * 1e15).astype(np.float32), None),
    "tiny": (WAVE * 1e-12, None),
    "tiny float32": ((WAVE * 1e-15).astype(np.float32), None),
    "mixed sizes": (np.stack([WAVE * 1e12, WAVE * 1e-12], axis=1), None),
    "series of mixed sizes": ({"a": WAVE * 1e12, "b": np.zeros(T), "c": WAVE * 1e-12}, None),
    "level shift": (WAVE, np.concatenate([WAVE, WAVE + 1e9, WAVE - 1e9])),
    "zeros, then alive": (np.zeros(T), np.concatenate([np.zeros(T), 100 * WAVE])),
    "constant, then alive": (np.full(T, 0.1), np.concatenate([np.zeros(T), 100 * WAVE])),
    "alive in the validation part": (np.concatenate([np.full(T - VALID, 0.1), 1000 + 50 * WAVE[:VALID]]), None),
    "dead in the validation part": (np.concatenate([WAVE[: T - VALID], np.full(VALID, np.nan)]), None),
    "one dead in the validation part": (np.where((np.arange(T) >= T - VALID)[:, None] & [[False, True]], np.nan, PAIR), None),
    "one without a past": (np.where((np.arange(T) < T - VALID)[:, None] & [[False, True]], np.nan, PAIR), None),
    "mostly missing": (np.where(np.arange(T) % 5 == 0, WAVE, np.nan), None),
    "two values": (np.where(np.isin(np.arange(T), (30, 185)), 1.0, np.nan), None),
    "on and off": ((WAVE > 0.5).astype(bool), None),
    "spikes": (np.where(np.arange(T) % 50 == 0, 1e6, WAVE), None),
    "steps": (np.repeat(np.arange(10.0), 20), None),
    "whole numbers": (np.arange(T) % 7, None),
}


DRAWN = ("zeros", "huge", "tiny", "level shift", "zeros, then alive")


@pytest.mark.parametrize("many", [False, True], ids=["alone", "beside another"])
@pytest.mark.parametrize("name", STRANGE)
def test_strange_series_are_forecast_without_a_warning(name, many, tmp_path):
    X, test = STRANGE[name]
    test = X if test is None else test
    if many and not isinstance(X, dict):
        wave = WAVE if np.ndim(X) == 1 else PAIR
        X, test = [X, wave], [test, wave]
    model = make(quantiles=BAND).fit(X)
    assert np.isfinite(flat(model.predict())).all()
    assert np.isfinite(flat(model.predict(test))).all()
    report = model.evaluate(test)
    assert np.isfinite(report.metrics["mae"])
    assert sum(model.blend_.values()) == pytest.approx(1)
    assert all(np.isfinite(record["loss"]) for record in model.history_)
    assert np.isfinite(model.shift_).all()
    model.save(tmp_path / "m")
    report.save(tmp_path / "r.json")
    if not many and name in DRAWN:
        report.save(tmp_path / "r.html")


def test_a_constant_series_stays_constant():
    assert make(quantiles=BAND).fit(np.full(T, 0.1)).predict()[:, 0] == pytest.approx(0.1)


# --- the blend and intervals -------------------------------------------------------------------------------------------


def test_a_line_is_continued():
    X = 3 + 0.5 * np.arange(400.0)
    found = make(lookback=24, epochs=1).fit(X).predict()
    np.testing.assert_allclose(found, 3 + 0.5 * np.arange(400, 400 + H), atol=0.05)


def test_a_linear_series_is_forecast_almost_exactly():
    X = np.sin(np.arange(600) * 2 * np.pi / 20) + 0.5 * np.sin(np.arange(600) * 2 * np.pi / 7.3)
    model = make(lookback=40, horizon=8).fit(X[:500])
    assert model.blend_["linear map"] > 0.95
    assert np.abs(model.predict() - X[500:508]).max() < 0.05


def test_a_random_walk_is_not_forecast_better_than_by_its_last_value():
    X = np.cumsum(np.random.default_rng(6).normal(size=1200))
    model = make(horizon=6).fit(X[:800])
    report = model.evaluate(X[800 - L :])
    assert any("BELOW BASELINE" in note or "Not distinguishable" in note for note in report.notes)
    assert report.metrics["mae"] < 1.1 * report.tables["baselines"].loc["last value", "mae"]


def test_short_series_are_learned_on_top_of_the_linear_map():
    """A network that says nothing gives the map's forecast; with long series, and in the textbook network, it gives its own."""
    torch = load_framework("torch")

    def silenced(X, **params):
        model = make(**params).fit(X, valid=0)
        with torch.no_grad():
            for weights in model.model_.parameters():
                weights.zero_()
        return model, model._backtested(model._inspect(X), model._windows([X[:, None]]))

    model, (said, _, simple, _) = silenced(WAVE)
    assert model.on_linear_map_
    assert np.allclose(said[..., 0], simple["linear map"])
    for X, params in ((np.tile(WAVE, 11), {}), (WAVE, {"architecture": "stacked"})):
        model, (said, _, simple, _) = silenced(X, **params)
        assert not model.on_linear_map_
        assert np.allclose(said[..., 0], simple["last value"])


def test_without_a_validation_part_nothing_is_mixed_or_shifted():
    model = make(quantiles=BAND).fit(PAIR, valid=0)
    assert model.blend_ == {"network": 1.0}
    assert not model.shift_.any()
    assert "val_loss" not in model.history_[-1]
    assert model.predict().shape == (H, 2, 3)


def test_validation_share_may_be_a_number_of_numpys():
    one, other = (make().fit(WAVE, valid=valid) for valid in (0.25, np.float32(0.25)))
    assert np.array_equal(one.predict(), other.predict())
    assert make().fit(WAVE, valid=np.int64(0)).blend_ == {"network": 1.0}


def test_series_too_short_to_split_are_used_whole_and_it_is_said():
    model = make().fit(WAVE[:22])
    assert any("No validation part: the series are too short to split" in note for note in model.notes_)
    assert model.blend_ == {"network": 1.0}


def test_validation_shifts_quantiles_and_mixes_forecasts(banded):
    assert banded.shift_.shape == (2, H, 3)
    assert banded.shift_[..., [0, 2]].any()
    assert not banded.shift_[..., 1].any()
    assert sum(banded.blend_.values()) == pytest.approx(1)
    assert min(banded.blend_.values()) >= 0.01
    assert set(banded.blend_) <= {"network", "last value", "drift", "linear map", f"seasonal naive ({banded.period_})"}


@pytest.mark.parametrize("seed", range(3))
def test_quantiles_never_cross(seed):
    X = np.random.default_rng(seed).standard_t(2, (300, 2))
    model = make(quantiles=[0.05, 0.3, 0.4, 0.6, 0.95], epochs=1, seed=seed, lr=0.05).fit(X[:200])
    for stride in (1, 5, 40):
        found = model._backtest(model._inspect(X), stride, None)
        levels = np.stack([found["quantiles"][q] for q in sorted(found["quantiles"])], axis=-1)
        assert (np.diff(levels, axis=-1) >= 0).all()
        assert (levels[..., 2] <= found["y_pred"]).all()
        assert (levels[..., 3] >= found["y_pred"]).all()


def test_intervals_cover_what_they_say():
    rng = np.random.default_rng(7)
    X, spread = np.zeros(6000), 1 + 0.8 * np.sin(np.arange(6000) / 200)
    for t in range(1, 6000):
        X[t] = 0.8 * X[t - 1] + spread[t] * rng.normal()
    model = make(quantiles=BAND, lookback=24, horizon=8, epochs=8, lr=5e-3).fit(X[:3000])
    report = model.evaluate(X[3000:])
    assert abs(report.metrics["coverage_80"] - 0.8) < 0.06
    width = np.diff(backtest(model, X[3000:])[0][:, 0, 0, 1:], axis=-1)[:, 0]
    assert np.corrcoef(width, spread[3000 + 24 : 3000 + 24 + len(width)])[0, 1] > 0.3  # wide where it is noisy


@pytest.mark.parametrize("stride", [1, 4, 24, 300])
def test_intervals_are_as_wide_at_any_stride(stride):
    X = np.random.default_rng(0).normal(size=6000)
    model = make(quantiles=BAND, epochs=1).fit(X[:1000])
    report = model.evaluate(X, stride=stride)
    assert 0.6 < report.metrics["coverage_80"] < 0.95
    assert report.metrics["width_80"] < 6


def test_intervals_find_back_after_a_standstill():
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(size=500), np.zeros(5000), rng.normal(size=1000)])
    model = make(quantiles=BAND, epochs=1).fit(rng.normal(size=1000))
    forecasts, _ = backtest(model, X)
    width = (forecasts[..., 2] - forecasts[..., 1])[:, 0, 0]
    assert width[5400] < width[400] / 30
    assert width[6000] > width[400] / 2


# --- one seed, interruption, resuming ----------------------------------------------------------------------------------


def test_one_seed_gives_one_model_and_leaves_other_random_numbers_alone():
    torch = load_framework("torch")
    params = {"quantiles": BAND, "epochs": 3}
    first = make(**params).fit({"a": WAVE, "b": WAVE + 1}, valid=0)
    np.random.seed(3)
    torch.manual_seed(3)
    expected = np.random.random(3), torch.rand(3).tolist()
    np.random.seed(3)
    torch.manual_seed(3)
    again = make(**params).fit({"a": WAVE, "b": WAVE + 1}, valid=0)
    again.predict()
    again.evaluate({"a": WAVE})
    assert np.array_equal(np.random.random(3), expected[0])
    assert torch.rand(3).tolist() == expected[1]
    assert np.array_equal(flat(first.predict()), flat(again.predict()))
    drop = [[{k: v for k, v in record.items() if k != "seconds"} for record in model.history_] for model in (first, again)]
    assert drop[0] == drop[1]
    other = make(**params, seed=1).fit({"a": WAVE, "b": WAVE + 1}, valid=0)
    assert not np.allclose(flat(other.predict()), flat(first.predict()))


class PowerCutError(Exception):
    """Stands for the end of the process."""


def interrupt(monkeypatch, after, error=PowerCutError):
    """Let an error fall into the fit when so many epochs have ended."""
    ended = []

    class Interrupting(forecasting.Progress):
        def epoch(self, record):
            ended.append(record)
            if len(ended) == after:
                raise error

    monkeypatch.setattr(forecasting, "Progress", Interrupting)


def same_history(one, other):
    assert len(one.history_) == len(other.history_)
    for a, b in zip(one.history_, other.history_, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == pytest.approx({k: v for k, v in b.items() if k != "seconds"})


@pytest.mark.parametrize("after", [1, 2, 3])
def test_resumed_fit_ends_like_an_uninterrupted_one(monkeypatch, tmp_path, after):
    params = {"quantiles": BAND, "epochs": 3}
    whole = make(**params).fit(PAIR)
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(PowerCutError):
            make(**params).fit(PAIR, resume=tmp_path)
    resumed = make(**params).fit(PAIR, resume=tmp_path)
    same_history(resumed, whole)
    np.testing.assert_allclose(resumed.predict(PAIR), whole.predict(PAIR), rtol=1e-6)
    again = make(**params, device="auto").fit(PAIR, resume=str(tmp_path))
    np.testing.assert_allclose(again.predict(PAIR), whole.predict(PAIR), rtol=1e-6)


def other_wave():
    changed = PAIR.copy()
    changed[3, 0] += 1e-3
    return changed


@pytest.mark.parametrize(
    ("X", "params", "valid"),
    [
        (PAIR, {"lr": 0.5}, None),
        (PAIR, {"seed": 9}, None),
        (PAIR, {"quantiles": BAND}, None),
        (PAIR, {}, 0.2),
        (PAIR, {}, 0),
        (other_wave(), {}, None),
        (PAIR.astype(np.float32), {}, None),
        (PAIR[:, ::-1], {}, None),
        (pd.DataFrame(PAIR, DAYS), {}, None),
        ([PAIR[:100], PAIR[100:]], {}, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, (list, pd.DataFrame, np.ndarray)) else str(value),
)
def test_checkpoint_of_another_fit_is_refused(X, params, valid, checkpoints):
    with pytest.raises(DataError, match="other parameters or data"):
        make(**params).fit(X, valid=valid, resume=checkpoints)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints")
    make().fit(PAIR, resume=path)
    return path


def test_checkpoint_of_other_days_or_other_names_is_refused(tmp_path):
    X = pd.DataFrame({"load": WAVE}, DAYS)
    make().fit(X, resume=tmp_path / "days")
    with pytest.raises(DataError, match="other parameters or data"):
        make().fit(X.set_index(DAYS + pd.Timedelta(days=3)), resume=tmp_path / "days")
    make().fit({"a": WAVE, "b": WAVE + 1}, resume=tmp_path / "names")
    with pytest.raises(DataError, match="other parameters or data"):
        make().fit({"a": WAVE, "c": WAVE + 1}, resume=tmp_path / "names")


def test_ctrl_c_keeps_the_best_weights_and_warns(monkeypatch, tmp_path):
    interrupt(monkeypatch, 2, KeyboardInterrupt)
    model = make(epochs=50, quantiles=BAND)
    with pytest.warns(UserWarning, match=r"interrupted after 2 epochs; the best weights so far are kept"):
        model.fit(PAIR)
    assert model.history_[-1]["interrupted"]
    assert any("interrupted" in note for note in model.evaluate(PAIR).notes)
    assert model.blend_ != {}
    loaded = pipelines.load(model.save(tmp_path / "m"), device="cpu")
    np.testing.assert_allclose(loaded.predict(PAIR), model.predict(PAIR), rtol=1e-6)


FITTING = """
import sys
import numpy as np
from tests.timeseries.test_forecasting import PAIR, make
model = make(epochs=int(sys.argv[1]), quantiles=[0.1, 0.9], verbose=1).fit(PAIR, resume=sys.argv[2])
np.savez(sys.argv[3], predicted=model.predict(PAIR), loss=[record["loss"] for record in model.history_])
"""


def fitting(*arguments):
    """Start a fit in a process of its own."""
    command = [sys.executable, "-c", FITTING, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_fit_killed_by_the_system_ends_like_an_uninterrupted_one(tmp_path):
    with fitting(12, tmp_path / "one", tmp_path / "one.npz") as process:
        for line in process.stderr:
            if line.startswith("epoch 3/"):
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    for name in ("one", "whole"):
        with fitting(12, tmp_path / name, tmp_path / f"{name}.npz") as process:
            _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "whole.npz") as whole:
        np.testing.assert_allclose(one["loss"], whole["loss"], rtol=1e-6)
        np.testing.assert_allclose(one["predicted"], whole["predicted"], rtol=1e-5)


# --- the user's data ----------------------------------------------------------------------------------------------------


def test_the_users_series_are_never_changed():
    gone = frame().drop(DAYS[50])
    gone.iloc[30, 0] = np.nan
    given = {"frame": gone, "dict": {"x": gone, "y": frame()}, "array": PAIR.copy()}
    copies = {"frame": gone.copy(), "dict": {"x": gone.copy(), "y": frame()}, "array": PAIR.copy()}
    for name, X in given.items():
        model = make(quantiles=BAND).fit(X)
        model.predict(X)
        model.evaluate(X)
        same = X.equals(copies[name]) if name == "frame" else np.array_equal(X, copies[name]) if name == "array" else None
        assert same is None or same
    assert all(given["dict"][name].equals(copies["dict"][name]) for name in "xy")


def test_read_only_series_are_as_good():
    locked = PAIR.copy()
    locked.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make(quantiles=BAND).fit(locked)
        found = model.predict(locked)
        model.evaluate(locked)
    assert np.array_equal(found, make(quantiles=BAND).fit(PAIR).predict(PAIR))


def test_series_are_read_where_they_lie():
    big = np.random.default_rng(0).normal(size=(3000, 3))
    model = make()
    model.notes_ = []
    X, _, valid = model._hold_out(model._inspect(big, train=True), None, None)
    for panel in (X, valid):
        assert np.shares_memory(panel.values[0], big)
    model._learn(X, None)
    windows = model._windows(X.values)
    assert np.shares_memory(windows.values[0], big)
    assert len(windows) == 2700 - L - H + 1
    batches = model._batches(X, train=True)
    inputs, targets = batches[0]
    assert inputs["values"].shape == (32, 3, L)
    assert targets.shape == (32, 3, H)
    assert inputs["values"].dtype == targets.dtype == np.float32


def test_an_epoch_draws_from_very_many_windows_and_validation_takes_a_part():
    model = make()
    model.notes_ = []
    X, _, valid = model._hold_out(model._inspect(np.random.default_rng(0).normal(size=60_000), train=True), None, None)
    model._learn(X, None)
    train, judged = model._batches(X, train=True), model._batches(valid)
    assert len(train) == 125
    assert train.n == 54_000 - L - H + 1
    first = train.order.copy()
    train.start_epoch(1)
    assert not np.array_equal(train.order, first)
    assert judged.n <= 4000
    assert len(judged.targets[:]) == judged.n
    last = judged.order[-1:]
    np.testing.assert_allclose(judged.targets[last], judged.targets[:][-1:])


# --- many series --------------------------------------------------------------------------------------------------------


def test_many_series_learn_together():
    rng = np.random.default_rng(0)
    X = {f"s{i}": 10.0 ** (i % 7) * (np.sin(np.arange(100) / 2 + i) + 0.05 * rng.normal(size=100)) for i in range(200)}
    model = make(horizon=4, batch_size=128, lr=1e-2).fit(X)
    assert model.scale_ is None
    assert len(model.names_) == len(model.tail_facts_) == 200
    assert model.tail_.shape == (200, L, 1)
    assert model.naive_error_.shape == (200, 1)
    assert model.model_.series.weight.shape == (201, 8)
    report = model.evaluate(X, stride=20)
    assert report.n == 200 * 5
    assert report.metrics["mase"] < 0.5
    found = model.predict()
    assert list(found) == list(X)
    assert found["s6"].shape == (4,)


def test_series_of_a_stacked_network_have_no_embedding():
    model = make(architecture="stacked").fit({"a": WAVE, "b": WAVE + 1})
    assert "series" not in model._batches(model._inspect({"a": WAVE}))[0][0]
    assert list(model.predict()) == ["a", "b"]


def test_a_series_alone_equals_the_series_among_others(family):
    together = family.predict({"b": PAIR[:, 1], "a": WAVE})
    np.testing.assert_allclose(together["a"], family.predict({"a": WAVE})["a"], rtol=1e-5)
    np.testing.assert_allclose(together["a"][:, 0], family.predict()["a"][:, 0], rtol=1e-5)


# --- saving -------------------------------------------------------------------------------------------------------------


def test_saved_forecaster_goes_on_alike_in_a_fresh_process(selling, family, on_frame, tmp_path, run_python):
    future = pd.DataFrame({"promo": [0.0, 1.0, 0.0, 1.0]}, NEXT)
    months = make(lookback=24, horizon=6).fit(sea().to_period("M"))
    expected = {"selling": selling.predict(future=future), "on_frame": on_frame.predict(), "months": months.predict()}
    for name, model in {"selling": selling, "family": family, "on_frame": on_frame, "months": months}.items():
        model.save(tmp_path / name)
    code = f"""
import numpy as np, pandas as pd, pipelines
load = lambda name: pipelines.load({str(tmp_path)!r} + "/" + name, device="cpu")
selling = load("selling")
future = pd.DataFrame({{"promo": [0.0, 1.0, 0.0, 1.0]}}, pd.date_range({str(NEXT[0])!r}, periods=4, freq="D"))
selling.predict(future=future).to_pickle({str(tmp_path / "selling.pkl")!r})
load("on_frame").predict().to_pickle({str(tmp_path / "on_frame.pkl")!r})
load("months").predict().to_pickle({str(tmp_path / "months.pkl")!r})
found = load("family").predict()
assert list(found) == ["a", "b", 3], list(found)
np.savez({str(tmp_path / "family.npz")!r}, *found.values())
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    for name, frame_or_series in expected.items():
        found = pd.read_pickle(tmp_path / f"{name}.pkl")
        same = pd.testing.assert_series_equal if isinstance(found, pd.Series) else pd.testing.assert_frame_equal
        same(found, frame_or_series, rtol=1e-6)
    with np.load(tmp_path / "family.npz") as found:
        np.testing.assert_allclose(np.stack([found[name] for name in found.files]), np.stack(list(family.predict().values())))


def test_loaded_forecaster_is_the_same(family, tmp_path):
    family.evaluate({"a": WAVE})
    loaded = Forecaster.load(family.save(tmp_path / "m"), device="cpu")
    assert {k: v for k, v in loaded.get_params().items() if k != "device"} == {
        k: v for k, v in family.get_params().items() if k != "device"
    }
    assert (loaded.history_, loaded.notes_, loaded.blend_) == (family.history_, family.notes_, family.blend_)
    X = {"a": WAVE, 3: WAVE, "3": WAVE}
    one, other = loaded.evaluate(X), family.evaluate(X)
    assert one.metrics == pytest.approx(other.metrics, nan_ok=True)
    assert one.tables["groups"].index.tolist() == other.tables["groups"].index.tolist()
    assert pipelines.load(loaded.save(tmp_path / "again")).fit(WAVE).predict().shape == (H, 3)


def test_manifest_is_small_and_readable(tmp_path):
    model = make(quantiles=BAND, lookback=100, horizon=20).fit(pd.DataFrame({"load": np.tile(WAVE, 5)}))
    text = (model.save(tmp_path / "m") / "pipeline.json").read_text()
    facts = json.loads(text)["facts"]

    def longest(value):
        if isinstance(value, dict):
            return max(map(longest, value.values()), default=0)
        return max([len(value), *map(longest, value)]) if isinstance(value, list) else 0

    assert longest({k: v for k, v in facts.items() if k != "history_"}) < 20
    assert not re.search(r"(\s+-?\d+\.\d+,){20}", text)
    assert facts["tail_facts_"] == [{"name": None, "freq": None, "index": {"kind": "row", "name": None, "last": 999, "step": 1}}]


def test_a_backtest_with_numbers_of_numpys_is_saved(tmp_path):
    model = make(horizon=np.int64(3), seed=np.int64(1), quantiles=[np.float64(0.9)]).fit(PAIR)
    model.evaluate(PAIR, stride=np.int64(5))
    loaded = pipelines.load(model.save(tmp_path / "m"), device="cpu")
    assert loaded.report_.context["stride"] == 5
    np.testing.assert_allclose(loaded.predict(), model.predict())


def test_a_model_says_what_it_is(banded):
    assert banded.evaluate(PAIR).context["parameters"] == banded.get_params()
    assert banded.history_[0]["epoch"] == 1
    assert {"loss", "val_loss", "seconds"} <= set(banded.history_[0])
