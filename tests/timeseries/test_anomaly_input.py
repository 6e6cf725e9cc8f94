"""`AnomalyDetector`: every kind of series in, results in kind out; what is refused, and what strange series lead to."""

import json

import numpy as np
import pandas as pd
import pytest

from pipelines import DataError, ParameterError
from timeseries import AnomalyDetector

from .test_anomaly import HOURS, METHODS, PAIR, WAVE, T, flat, make, same, wave


def frame(index=HOURS):
    return pd.DataFrame({"load": PAIR[:, 0], "price": PAIR[:, 1]}, index)


def long_frame(order="shuffled"):
    """Two series, their rows in turn, the first days one after the other in any order."""
    table = pd.DataFrame({"store": ["x"] * T + ["y"] * T, "day": [*HOURS, *HOURS], "sales": np.concatenate([WAVE, 5 * WAVE + 5])})
    table = table.drop(table.index[[50, T + 70, T + 71]])
    if order == "shuffled":
        table = table.sample(frac=1, random_state=0)
    return table.sort_values("day", kind="stable")


KINDS = {
    "list": (WAVE.tolist(), {}),
    "flat": (WAVE, {}),
    "float32": (WAVE.astype(np.float32), {}),
    "column": (WAVE[:, None], {}),
    "table": (PAIR, {}),
    "block": (np.stack([PAIR, PAIR + 1]), {}),
    "series": (pd.Series(WAVE, HOURS, name="load"), {}),
    "series of rows": (pd.Series(WAVE), {}),
    "rows from 5": (pd.Series(WAVE, pd.RangeIndex(5, 5 + T)), {}),
    "frame": (frame(), {}),
    "gaps": (frame().drop(HOURS[[7, 100, 101, 399]]), {}),
    "months": (frame(pd.date_range("1990-01-31", periods=T, freq="ME")), {}),
    "periods": (frame(pd.period_range("1990-01", periods=T, freq="M")), {}),
    "hours with a zone": (frame(pd.date_range("2024-03-25", periods=T, freq="h", tz="Europe/Paris")), {}),
    "list of arrays": ([WAVE, WAVE[:100] + 1], {}),
    "list of series": ([pd.Series(WAVE, HOURS), pd.Series(WAVE, HOURS).drop(HOURS[9])], {}),
    "dict of frames": ({"x": frame(), 7: frame(HOURS + pd.Timedelta(days=3))[:200].drop(HOURS[80])}, {}),
    "long": (long_frame(), {"series_id": "store"}),
    "long by time": (long_frame().set_index("day"), {"series_id": "store"}),
}


def alike(found, X, kind):
    """Check that results have the kind, length and order of the series."""
    if isinstance(X, dict):
        assert list(found) == list(X)
        for name, one in X.items():
            alike(found[name], one, kind)
    elif isinstance(X, list) and not isinstance(X[0], float):
        assert isinstance(found, list)
        for one, each in zip(found, X, strict=True):
            alike(one, each, kind)
    elif isinstance(X, (pd.Series, pd.DataFrame)):
        assert isinstance(found, pd.Series)
        assert found.name == kind
        assert found.index.equals(X.index)
        assert found.index.dtype == X.index.dtype
    else:
        assert isinstance(found, np.ndarray)
        assert found.shape == np.shape(X)[: 2 if np.ndim(X) == 3 else 1]


@pytest.mark.parametrize("kind", KINDS)
def test_results_come_in_the_kind_of_the_series(kind):
    X, params = KINDS[kind]
    model = make(method="pca", **params).fit(X)
    scores, alarms = model.score_samples(X), model.predict(X)
    alike(scores, X, "score")
    alike(alarms, X, "anomaly")
    assert np.isfinite(flat(scores)).all()
    assert set(flat(alarms)) <= {0, 1}
    first = alarms[0] if isinstance(alarms, list) else next(iter(alarms.values())) if isinstance(alarms, dict) else alarms
    assert first.dtype == np.int64
    model.threshold_ = -1.0
    rows = model.events(X)["rows"].sum()
    assert rows == len(flat(alarms)) == flat(model.predict(X)).sum()
    json.dumps([model.form_, model.names_, model.notes_, model.history_])


def test_rows_of_series_in_turn_are_scored_as_if_they_were_apart():
    model = make(method="pca", series_id="store").fit(long_frame())
    table = long_frame(order=None).sort_values("day", kind="stable")
    for X in (long_frame(), table, table.set_index("day")):
        found = model.score_samples(X)
        apart = model.score_samples({name: table[table["store"] == name].set_index("day")[["sales"]] for name in ("x", "y")})
        for name in ("x", "y"):
            same(found[(X["store"] == name).to_numpy()], apart[name])


def test_several_series_are_scored_as_each_alone():
    several = [WAVE, PAIR[:90, 1], wave(seed=5)[:300]]
    for method in ("auto", "lstm-forecaster"):
        model = make(method=method).fit(WAVE)
        same(model.score_samples(several), [model.score_samples(one) for one in several], rtol=1e-5)


def test_one_model_serves_every_kind_of_the_same_width():
    X = frame()
    model = make().fit(X)
    expected = model.score_samples(X)
    for given in (
        X.to_numpy(),
        X.to_numpy().tolist() and [X.to_numpy()],
        X[["price", "load"]],
        X.reset_index(drop=True),
        {"z": X},
    ):
        same(model.score_samples(given), expected, rtol=1e-6)
    swapped = X[["price", "load"]]
    model.threshold_ = 0.0
    blamed = model.events(swapped)["variables"].iloc[0]
    assert blamed == model.events(X)["variables"].iloc[0]


def test_missing_values_are_repaired_and_rows_without_any_have_no_score():
    X = PAIR.copy()
    X[[0, 100, 399]] = np.nan
    X[150:160, 0] = X[3:20, 1] = np.nan
    for method in METHODS:
        model = make(method=method).fit(PAIR)
        scores, alarms = model.score_samples(X), model.predict(X)
        missing = set(np.flatnonzero(np.isnan(scores)))
        assert {0, 100, 399} <= missing
        assert missing <= {100, 399, *range(24 if method == "lstm-forecaster" else 1)}
        assert not alarms[[0, 100, 399]].any()
    fitted = make().fit(X)
    assert any("missing values (NaN)" in note for note in fitted.notes_)
    assert np.isfinite(fitted.threshold_)


def test_variables_choose_what_is_looked_at():
    X = frame().assign(note=np.arange(T), city="Rome")
    model = make(method="pca", variables=["price"]).fit(X)
    same(model.score_samples(X[["price"]]), model.score_samples(X))
    assert any("left out" in note for note in model.notes_)
    positions = make(method="pca", variables=[1]).fit(PAIR)
    same(positions.score_samples(PAIR), model.score_samples(X))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "lstm"}, "method='lstm' is not known. Choose one of|Did you mean"),
        ({"method": None}, "method=None is not known"),
        ({"window": 1}, "window must be an integer of at least 2, but received 1"),
        ({"window": 2.5}, "window must be an integer"),
        ({"window": True}, "window must be an integer"),
        ({"window": "long"}, "window must be an integer"),
        ({"window": None}, "window must be"),
        ({"online": "yes"}, "online must be True or False, but received 'yes'"),
        ({"online": 1}, "online must be True or False"),
        ({"contamination": 0}, "contamination must be a number"),
        ({"contamination": 0.6}, "contamination must be a number"),
        ({"contamination": True}, "contamination must be a number"),
        ({"contamination": "0.1"}, "contamination must be a number"),
        ({"contamination": float("nan")}, "contamination must be a number"),
        ({"units": 2}, "units must be an integer of at least 3"),
        ({"units": True}, "units must be"),
        ({"variables": "load"}, "variables must be a list of columns, but received 'load'"),
        ({"epochs": 0}, "epochs must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"lr": 0}, "lr must be"),
    ],
    ids=str,
)
def test_parameters_that_cannot_be_used_are_refused_by_fit(params, message):
    with pytest.raises(ParameterError, match=message):
        make(**params).fit(frame())


BAD_SERIES = {
    "short": (WAVE[:71], "The series has 71 rows to learn from, but at least 72, three windows, are needed"),
    "one row": (WAVE[:1], "has 1 rows to learn from, but at least 72"),
    "short in a dict": ({"x": WAVE, "y": WAVE[:30]}, "Series 'y' has 30 rows to learn from, but at least 72"),
    "short in a list": ([WAVE, WAVE[:30]], "Series 1 has 30 rows"),
    "empty dict": ({}, "empty dict"),
    "empty list": ([], "X is empty"),
    "channel without values": (np.stack([WAVE, np.full(T, np.nan)], axis=1), "no value at all in column 1"),
    "no value at all": (np.full(T, np.nan), "no value at all in column 0"),
    "infinite": (np.where(np.arange(T) == 7, np.inf, WAVE), "inf in row 7"),
    "copy of a stamp": (frame(HOURS[[0, 0, *range(2, T)]]), "2024-01-01 00:00:00 twice, the second time in row 1"),
    "unsorted": (frame(HOURS[[0, 2, 1, *range(3, T)]]), "not sorted by time: 2024-01-01 01:00:00 .*in row 2 comes after"),
    "irregular": (frame(HOURS + pd.to_timedelta(np.arange(T) ** 2, "min")), "irregular time stamps"),
    "texts": (np.array([*map(str, WAVE[:-1]), "high"], dtype=object)[:, None], "'high' in row 399|number"),
    "path": ("series.csv", "is no time series but of type str"),
    "time in a column": (frame().rename_axis("day").reset_index(), "time in the column 'day'"),
    "4 dimensions": (np.zeros((2, 2, 50, 2)), "4 dimensions"),
}


@pytest.mark.parametrize("name", BAD_SERIES)
def test_series_that_cannot_be_used_are_refused_before_training(name, monkeypatch):
    monkeypatch.setattr(AnomalyDetector, "_train", None)
    X, message = BAD_SERIES[name]
    with pytest.raises(DataError, match=message):
        make().fit(X)


def test_three_windows_are_enough_and_a_window_chosen_by_itself_needs_twelve_rows():
    for method in METHODS:
        assert np.isfinite(make(method=method, units=3).fit(WAVE[:72]).threshold_)
        short = make(method=method, window="auto").fit(WAVE[:12])
        assert short.windows_["autoencoder"] == 4
        assert np.isfinite(short.threshold_)
    assert any("No part was held out for the threshold" in note for note in short.notes_)
    with pytest.raises(DataError, match="has 11 rows to learn from, but at least 12, three windows, are needed"):
        make(window="auto").fit(WAVE[:11])


@pytest.mark.parametrize("window", [2, 3, 12, 13, 25, 133])
@pytest.mark.parametrize("method", METHODS)
def test_any_window_fits(method, window):
    model = make(method=method, window=window, units=3).fit(WAVE)
    score = model.score_samples(WAVE)
    assert np.isnan(score).sum() == (model.windows_["forecaster"] if method == "lstm-forecaster" else 0)
    assert np.nanmax(score) > 0


@pytest.mark.parametrize(
    ("valid", "error", "message"),
    [
        (-0.1, ParameterError, "valid must be a number from 0 to 0.9"),
        (1.0, ParameterError, "valid must be"),
        (float("nan"), ParameterError, "valid must be"),
        (True, DataError, "is no time series but of type bool"),
        ("half", DataError, "is no time series but of type str"),
        (WAVE, DataError, "1 column"),
        (np.zeros((0, 2)), DataError, "no rows"),
    ],
    ids=["negative", "one", "nan", "bool", "text", "one column", "no rows"],
)
def test_validation_that_cannot_be_used_is_refused(valid, error, message):
    with pytest.raises(error, match=message):
        make().fit(PAIR, valid=valid)


@pytest.mark.filterwarnings("ignore:The series has 10 rows")
def test_normal_data_too_short_to_be_scored_is_refused():
    with pytest.raises(DataError, match="have 10 rows at most, fewer than a window, 48, so no threshold can be found with them"):
        make(method="pca").fit(WAVE, valid=WAVE[:10])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (frame()[["load"]], "no column 'price'"),
        (frame().assign(more=1.0), "1 column the model was not fitted on: 'more'"),
        (frame(pd.date_range("2024", periods=T, freq="D")), "daily .* fitted on data that is hourly|hourly|daily"),
        (frame(HOURS.tz_localize("UTC")), "time zone"),
        (WAVE, "1 column, but the model was fitted on 2 columns"),
        (pd.Series(WAVE, HOURS), "is one pandas Series, but the model was fitted on 2 columns"),
        (np.zeros((T, 3)), "3 columns"),
        (frame().iloc[::-1], "not sorted by time"),
        (np.where(np.arange(T)[:, None] == 9, -np.inf, PAIR), "-inf in row 9"),
        ({}, "empty dict"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_series_that_do_not_fit_the_training_series_are_refused(on_frame, X, message):
    for use in (on_frame.predict, on_frame.score_samples, on_frame.events, on_frame.evaluate):
        with pytest.raises(DataError, match=message):
            use(*([X, np.zeros(len(X))] if use == on_frame.evaluate else [X]))


@pytest.fixture(scope="module")
def on_frame():
    return make(method="pca").fit(frame())


def test_a_series_shorter_than_a_window_has_no_score_and_that_is_said(on_frame):
    with pytest.warns(UserWarning, match="The series has 40 rows, fewer than the 48 of a window: it gets no score and no alarm"):
        assert np.isnan(on_frame.score_samples(frame()[:40])).all()
    with pytest.warns(UserWarning, match=r"Series 'b' has 5 rows, fewer than the 48 .* So do 1 more series\."):
        found = on_frame.predict({"a": frame(), "b": frame()[:5], "c": frame()[:5]})
    assert [len(one) for one in found.values()] == [T, 5, 5]
    with pytest.warns(UserWarning, match="no score"), pytest.raises(DataError, match="every one is nan"):
        on_frame.evaluate(frame()[:40], np.zeros(40))
    assert np.isfinite(on_frame.score_samples(frame()[:48])).all()


# --- strange series ---------------------------------------------------------------------------------------------------

STRANGE = {
    "zeros": (np.zeros(T), None),
    "constant": (np.full(T, 0.1), None),
    "constant channel": (np.stack([WAVE, np.full(T, 0.3)], axis=1), None),
    "huge": (WAVE * 1e12, None),
    "huge offset": (WAVE + 1e9, None),
    "tiny": (WAVE * 1e-12, None),
    "mixed sizes": (np.stack([WAVE * 1e12, WAVE * 1e-12], axis=1), None),
    "series of mixed sizes": ({"a": WAVE * 1e12, "b": np.zeros(T), "c": WAVE * 1e-12}, None),
    "far from what was learned": (WAVE, np.concatenate([WAVE, WAVE + 1e9, WAVE - 1e9])),
    "trend": (WAVE + np.linspace(0, 30, T), WAVE + np.linspace(30, 90, T)),
    "zeros, then alive": (np.zeros(T), np.concatenate([np.zeros(T), 100 * WAVE])),
    "mostly missing": (np.where(np.arange(T) % 5 == 0, WAVE, np.nan), None),
    "two values": (np.where(np.isin(np.arange(T), (30, 185)), 1.0, np.nan), None),
    "on and off": ((WAVE > 0.5).astype(bool), None),
    "spikes": (np.where(np.arange(T) % 50 == 0, 1e6, WAVE), None),
    "rarely on": (np.where(np.arange(T) % 97 == 0, 1.0, 0.0), None),
    "steps": (np.repeat(np.arange(10.0), 40), None),
    "whole numbers": (np.arange(T) % 7, None),
    "noise": (np.random.default_rng(0).normal(size=T), None),
    "random walk": (np.cumsum(np.random.default_rng(0).normal(size=T)), None),
}


REPORTED = ("zeros", "constant channel", "series of mixed sizes", "zeros, then alive", "two values", "rarely on")


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("name", STRANGE)
def test_strange_series_are_scored_without_a_warning(name, online, tmp_path):
    X, test = STRANGE[name]
    test = X if test is None else test
    model = make(online=online).fit(X)
    assert np.isfinite(model.threshold_)
    assert model.threshold_ >= 0
    scores = flat(model.score_samples(test))
    assert not np.isinf(scores).any()
    assert np.isfinite(scores).any()
    assert np.isfinite(model.calibrate(0.01))
    model.calibrate()
    y = {key: np.arange(T) > 380 for key in X} if isinstance(X, dict) else np.arange(len(test)) > 380
    if online or name not in REPORTED:
        assert np.isfinite(model.score(test, y)) == (name != "two values")
        return
    report = model.evaluate(test, y)
    assert np.isfinite(report.metrics["vus_pr"]) == (name != "two values")  # both of them are normal
    model.save(tmp_path / "m")
    report.save(tmp_path / "r.json")


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize(("method", "value"), [*((method, 0.1) for method in METHODS), ("pca", 0.0), ("pca", 1e9)])
def test_a_change_of_what_was_constant_is_found(method, value, online):
    model = make(method=method, online=online).fit(np.full(1000, value))
    rest = np.full(800, value)
    assert not model.predict(rest)[96:].any()  # where online, the first rows are judged by the view with the shortest window
    assert np.nanmax(model.score_samples(rest)[96:]) <= model.threshold_
    rest[400:430] += max(1.0, 0.1 * value)
    assert model.predict(rest)[402:430].any()
    assert not model.predict(rest)[96:150].any()


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e12])
def test_sizes_and_levels_do_not_matter(size):
    model, other = make().fit(WAVE), make().fit(size * WAVE + 3 * size)
    assert other.threshold_ == pytest.approx(model.threshold_, rel=1e-3)
    same(other.score_samples(size * wave(seed=3) + 3 * size), model.score_samples(wave(seed=3)), rtol=1e-2)


def test_what_goes_on_beyond_all_that_was_learned_stays_strange():
    trend = WAVE + np.linspace(0, 10, T)
    model = make(online=True).fit(trend)
    assert model.predict(WAVE + 40)[30:].all()
    assert model.predict(WAVE + 1e9)[30:].all()


@pytest.mark.slow
def test_the_users_series_are_never_changed():
    gone = frame().drop(HOURS[50])
    gone.iloc[30, 0] = np.nan
    array = PAIR.copy()
    array[9, 1] = np.nan
    kept, before = gone.copy(), array.copy()
    for X in (gone, array, {"x": gone, "y": frame()}):
        model = make(online=True).fit(X)
        model.score_samples(X)
        model.events(X)
        model.evaluate(
            X, {"x": np.arange(399) > 380, "y": np.arange(T) > 380} if isinstance(X, dict) else np.arange(len(X)) > 380
        )
    for row in array[:40]:
        model.update(row, series="x")
    pd.testing.assert_frame_equal(gone, kept)
    np.testing.assert_array_equal(array, before)
