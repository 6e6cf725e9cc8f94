"""`AnomalyDetector`: faults are found, nothing looks ahead or at labels, thresholds, robust fits, and what survives."""

import functools
import json
import pickle

import numpy as np
import pandas as pd
import pytest

import pipelines
from pipelines import DataError, ParameterError
from pipelines.engines import load_framework
from timeseries import AnomalyDetector, anomaly
from timeseries.views import WindowPCA

QUICK = {"window": 24, "units": 8, "epochs": 1, "device": "cpu", "verbose": 0}
METHODS = ["auto", "lstm-autoencoder", "lstm-forecaster", "pca"]
NARROW = 30  # rows: how far the ends of an event may lie from those of the fault
REACH = 250  # rows: what smoothing and the longest window of these tests smear at most
T = 400


def make(**params):
    return AnomalyDetector(**{**QUICK, **params})


def wave(rows=T, seed=0, period=20):
    return np.sin(np.arange(rows) * 2 * np.pi / period) + np.random.default_rng(seed).normal(0, 0.05, rows)


def three(rows=T, seed=0):
    """Three channels of a machine."""
    time, noise = np.arange(rows)[:, None], np.random.default_rng(seed).normal(0, 0.05, (rows, 3))
    values = np.concatenate([np.sin(time * 2 * np.pi / 20), np.cos(time * 2 * np.pi / 20), np.sin(time * 2 * np.pi / 10)], axis=1)
    return pd.DataFrame(values + noise, pd.date_range("2024-01-01", periods=rows, freq="h"), ["speed", "load", "heat"])


WAVE, PAIR = wave(), np.stack([wave(), wave(seed=1, period=12)], axis=1)
HOURS = pd.date_range("2024-01-01", periods=T, freq="h")


def flat(results):
    """Return results of any kind as one vector."""
    parts = list(results.values()) if isinstance(results, dict) else results if isinstance(results, list) else [results]
    return np.concatenate([np.asarray(part, dtype=float).ravel() for part in parts])


def same(one, other, rtol=0.0):
    np.testing.assert_allclose(flat(one), flat(other), rtol=rtol, atol=1e-6 if rtol else 0)


def quiet(record):
    return {key: value for key, value in record.items() if key != "seconds"}


# --- faults -----------------------------------------------------------------------------------------------------------

START, STOP = 700, 760


def spike(values):
    values[START] += 8


def standstill(values):
    values[START:STOP] = values[START]


def shift(values):
    values[START:STOP] += 3


def other_period(values):
    values[START:STOP] = np.sin(np.arange(STOP - START) * 2 * np.pi / 7)


def noise(values):
    values[START:STOP] += np.random.default_rng(5).normal(0, 1.5, STOP - START)


def drift(values):
    values[START:STOP] += np.linspace(0, 5, STOP - START)


FAULTS = [spike, standstill, shift, other_period, noise, drift]


@functools.cache
def watching(method, online):
    return make(method=method, online=online, epochs=3, units=16).fit(wave(1000))


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found_where_it_is_and_nothing_elsewhere(method, online, fault):
    model, values = watching(method, online), wave(1500, seed=1)
    calm = model.predict(values)
    assert calm[24:-24].mean() <= (0 if method == "auto" and not online else 0.01)  # at the ends few windows cover a row
    fault(values)
    events = model.events(values)
    known = [bool(calm[start : end + 1].any()) for start, end in zip(events["start"], events["end"], strict=True)]
    events = events[~np.array(known, dtype=bool) & (events["end"] < len(values) - 24)]
    last = START if fault is spike else STOP - 1
    near = REACH if online or method == "pca" else NARROW  # of a shift the shape has its two edges alone
    assert ((events["start"] <= last + 12) & (events["end"] >= START)).any()
    assert (events["start"] > START - (1 if online else near)).all()  # where online, never before it begins
    assert (events["end"] < last + near).all()
    assert START - REACH < np.nanargmax(model.score_samples(values)) < last + REACH
    rows = np.concatenate([np.arange(event["start"], event["end"] + 1) for _, event in events.iterrows()])
    alarms = set(np.flatnonzero(model.predict(values)))
    assert set(rows) <= alarms
    assert not online or alarms - set(rows) <= set(np.flatnonzero(calm))


@functools.cache
def watching_three(method, online):
    return make(method=method, online=online, epochs=4, units=16).fit(three(1000))


@pytest.mark.parametrize(
    ("method", "online"),
    [(method, online) for method in METHODS for online in (False, True) if (method, online) != ("lstm-forecaster", True)],
)
@pytest.mark.parametrize("channel", ["speed", "load", "heat"])
@pytest.mark.parametrize("fault", [spike, shift], ids=lambda fault: fault.__name__)
def test_the_channel_to_blame_comes_first(method, online, channel, fault):
    X = three(1500, seed=1)
    values = X[channel].to_numpy().copy()
    fault(values)
    X[channel] = values
    events = watching_three(method, online).events(X)
    strongest = events.loc[events["score"].idxmax()]
    assert strongest["variables"][0] == channel
    assert X.index[START] - pd.Timedelta(hours=REACH) < strongest["peak"] < X.index[STOP] + pd.Timedelta(hours=REACH)


def test_years_unlike_all_others_are_found_in_real_data():
    from statsmodels.datasets import elnino

    years = elnino.load_pandas().data.set_index("YEAR")
    stamps = pd.date_range("1950-01-01", periods=years.size, freq="MS")
    sea = pd.Series(years.to_numpy().ravel(), stamps, name="sea")
    model = make(window="auto", method="pca", online=True).fit(sea[:"1980"])
    assert (model.period_, model.windows_["level"]) == (12, 24)
    assert model.score_samples(sea).index.equals(sea.index)
    found = model.events(sea).groupby(lambda row: model.events(sea)["start"][row].year)["score"].max()
    assert {1983, 1997} <= set(found.nlargest(3).index)  # the two great El Niños


def test_weekly_co2_with_its_gaps_and_its_trend_is_scored():
    from statsmodels.datasets import co2

    X = co2.load_pandas().data["co2"][:900]
    assert X.isna().sum() > 20
    model = make(window=52, method="pca").fit(X[:700])
    score = model.score_samples(X)
    assert score.isna().equals(X.isna())
    assert not model.predict(X)[X.isna()].any()
    assert any("missing values (NaN)" in note for note in model.notes_)


# --- no look ahead, and none at labels --------------------------------------------------------------------------------


def holey():
    """Two channels with a fault, gaps in one, rows without any value, and gaps before the first value."""
    X = PAIR.copy()
    X[200] += 9
    X[100] = X[300:303] = np.nan
    X[150:160, 0] = X[0:3, 1] = np.nan
    return X


@pytest.fixture(scope="module", params=METHODS)
def following(request):
    return make(method=request.param, online=True, window=13).fit(PAIR)


@pytest.mark.parametrize("future", [np.nan, 1e6, 0.0], ids=["missing", "huge", "zero"])
def test_where_online_scores_do_not_move_when_the_future_does(following, future):
    X = holey()
    whole = following.score_samples(X)
    assert np.isnan(whole[100])
    assert np.isfinite(whole[150:160]).all()
    for row in (30, 101, 155, 201, 399):
        same(following.score_samples(X[:row]), whole[:row], rtol=1e-5)
        changed = X.copy()
        changed[row:] = future
        if np.isfinite(changed).any(axis=0).all():
            same(following.score_samples(changed)[:row], whole[:row], rtol=1e-5)
            assert not np.array_equal(following.score_samples(changed)[row:], whole[row:], equal_nan=True)


def test_rows_one_by_one_are_scored_like_the_whole_series(following, tmp_path):
    X = holey()
    whole = following.score_samples(X)
    following.restart()
    same([following.update(row) for row in X], whole, rtol=1e-4)
    following.restart()
    same(np.concatenate([following.update(X[:50]), following.update(X[50:51]), following.update(X[51:])]), whole, rtol=1e-4)
    loaded = pipelines.load(following.save(tmp_path / "m"), device="cpu")
    same([loaded.update(row) for row in X], whole, rtol=1e-4)


@pytest.mark.parametrize("method", ["auto", "pca", "lstm-autoencoder"])
@pytest.mark.parametrize(("rows", "windows"), [(400, [24, 100]), (240, [24, 80]), (60, [20])], ids=str)
def test_where_online_two_windows_are_looked_at_and_no_row_is_judged_by_what_follows(method, rows, windows, tmp_path):
    model = make(method=method, online=True, window="auto").fit(wave(rows))
    assert sorted({model.windows_["level"], model.windows_["second level"]}) == windows
    assert windows[-1] <= model.windows_["autoencoder"] < windows[-1] + 12
    views = {"auto": 1 + 2 * len(windows), "pca": len(windows), "lstm-autoencoder": 1}[method]
    assert len(model._scorer.views) == views
    X = wave(300, seed=1)
    X[200] += 5
    whole = model.score_samples(X)
    assert np.isnan(whole).sum() == min(view.window for view in model._scorer.views.values()) - 1
    same(model.score_samples(X[:210]), whole[:210], rtol=1e-5)
    same([model.update(value) for value in X], whole, rtol=1e-4)
    same(pipelines.load(model.save(tmp_path / "m"), device="cpu").score_samples(X), whole, rtol=1e-5)


def test_a_window_of_ones_own_is_the_only_one():
    model = make(online=True, window=24).fit(WAVE)
    assert {view.window for view in model._scorer.views.values()} == {24}


@pytest.mark.parametrize(
    ("name", "value"),
    [("method", "pca"), ("online", False), ("window", 30), ("units", 9), ("variables", ["a"]), ("series_id", "id")],
)
def test_a_model_whose_parameters_were_changed_after_the_fit_asks_for_another_one(name, value, tmp_path):
    model = make(online=True).fit(WAVE)
    before, expected = getattr(model, name), model.score_samples(WAVE)
    model.update(1.0)
    model.set_params(**{name: value})
    for use in (model.predict, model.score_samples, model.events, model.update, lambda X: model.evaluate(X, np.arange(T) == 9)):
        with pytest.raises(ParameterError) as caught:
            use(WAVE)
        assert f"{name} was {before!r} when the model was fitted, but is {value!r} now. Fit again, or set" in str(caught.value)
    with pytest.raises(ParameterError, match="Fit again"):
        model.save(tmp_path / "m")
    model.set_params(**{name: before, "verbose": 0, "device": "cpu", "contamination": 0.1})
    same(model.score_samples(WAVE), expected)


@pytest.mark.parametrize("online", [False, True])
def test_each_window_is_looked_at_once(online, monkeypatch):
    seen = []
    looked = WindowPCA.errors
    monkeypatch.setattr(WindowPCA, "errors", lambda view, windows: seen.append(len(windows)) or looked(view, windows))
    model = make(method="pca", online=online).fit(WAVE, valid=0)
    window, step = (24, 2) if online else (48, 4)
    assert sum(seen) == (T - window) // step + 1
    seen.clear()
    broken = WAVE.copy()
    broken[200:230] += 5
    events = model.events(broken)
    behind = len(events) * (1 if online else (48 + 25) // 4 + 1)  # those that tell the variables to blame
    assert (T - window) // step + 1 < sum(seen) <= (T - window) // step + 1 + behind


def test_several_series_are_followed_at_once_each_in_its_own_scale():
    X = {"a": WAVE, "b": 100 * wave(seed=3)[:200] + 7, "new": wave(seed=4)[:150]}
    model = make(online=True).fit({"a": X["a"], "b": X["b"]})
    found = {name: [] for name in X}
    with pytest.warns(UserWarning, match="fit saw no series 'new', only 'a', 'b': it is scaled by all of them together"):
        found["new"].append(model.update(X["new"][0], series="new"))
    for row in range(T):  # said once, not with every row: a warning would be an error here
        for name, values in X.items():
            if len(found[name]) <= row < len(values):
                found[name].append(model.update(values[row], series=name))
    same(found, model.score_samples(X), rtol=1e-4)
    model.restart()
    assert np.isnan(model.update(X["a"][0], series="a"))
    assert np.isnan(model.update(1.0))


def test_what_was_followed_is_forgotten_after_another_fit_and_survives_a_pickle():
    model = make(online=True).fit(WAVE)
    for value in WAVE[:90]:
        model.update(value)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.update(3.0) == model.update(3.0) > 0
    model.fit(100 * WAVE + 5)
    same([model.update(value) for value in 100 * WAVE[:90] + 5], model.score_samples(100 * WAVE[:90] + 5), rtol=1e-4)


def test_a_row_may_come_in_any_kind_with_its_variables_in_any_order():
    X = three(300)
    model = make(online=True, method="pca").fit(X)
    whole = model.score_samples(X)
    ways = [
        lambda i: model.update(X.to_numpy()[i]),
        lambda i: model.update(X.iloc[i].to_dict()),
        lambda i: model.update(X.iloc[i][["heat", "speed", "load"]]),
        lambda i: model.update(list(X.iloc[i])),
        lambda i: model.update(X[["load", "heat", "speed"]].iloc[i : i + 1])[0],
    ]
    same([ways[i % len(ways)](i) for i in range(300)], whole, rtol=1e-4)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1.0, 2.0, 3.0], r"must hold 2 values, for \[0, 1\], but received the shape \(3,\)"),
        (1.0, r"the shape \(\)"),
        (np.zeros((2, 3)), r"the shape \(2, 3\)"),
        (np.zeros((1, 2, 1)), r"the shape \(1, 2, 1\)"),
        (["a", "b"], "must hold numbers"),
        ([1.0, np.inf], "infinite"),
        ({0: 1.0}, "The row has no 1"),
        (pd.Series([1.0], index=[1]), "The row has no 0"),
    ],
    ids=str,
)
def test_rows_that_cannot_be_used_are_refused_and_cost_nothing(row, message):
    model = pair_online()
    model.restart()
    expected = model.score_samples(PAIR[:60])
    same(model.update(PAIR[:30]), expected[:30], rtol=1e-4)
    with pytest.raises(DataError, match=message):
        model.update(row)
    same(model.update(PAIR[30:60]), expected[30:], rtol=1e-4)


@functools.cache
def pair_online():
    return make(online=True, method="pca").fit(PAIR)


def test_update_needs_a_model_that_looks_at_the_past_alone():
    with pytest.raises(ParameterError, match=r"AnomalyDetector\(online=True\)"):
        make(method="pca").fit(WAVE).update(1.0)


def test_labels_in_fit_change_nothing():
    one, other = make().fit(WAVE), make().fit(WAVE, np.arange(T) % 2)
    same(one.score_samples(WAVE), other.score_samples(WAVE))
    assert one.threshold_ == other.threshold_
    assert [quiet(record) for record in one.history_] == [quiet(record) for record in other.history_]
    same(make().fit(WAVE, valid=(wave(seed=2), np.ones(T))).held_scores_, make().fit(WAVE, valid=wave(seed=2)).held_scores_)


def test_labels_in_evaluate_change_nothing(clean):
    limit, scores = clean.threshold_, clean.score_samples(WAVE)
    for y in (np.zeros(T), np.ones(T), np.arange(T) % 3 == 0):
        clean.evaluate(WAVE, y)
        clean.score(WAVE, y)
        assert clean.threshold_ == limit
        same(clean.score_samples(WAVE), scores)


# --- the threshold ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clean():
    return make().fit(WAVE)


def test_the_threshold_is_found_anew_for_other_shares_and_comes_back(clean):
    first = clean.threshold_
    found = [clean.calibrate(share) for share in (None, 1e-9, 0.01, 0.1, 0.5)]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)
    assert clean.threshold_ == found[-1]
    assert clean.calibrate() == first == clean.threshold_


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_contamination_is_a_share_calibrated_from_the_start(clean, share):
    model = make(contamination=share).fit(WAVE)
    assert model.threshold_ == clean.calibrate(share)
    clean.calibrate()
    alarms = make(contamination=share, method="pca", online=True).fit(wave(3000)).predict(wave(3000, seed=1)).mean()
    assert share / 4 < alarms < share * 4


@pytest.mark.parametrize("share", [0, 0.6, -0.1, True, "0.1", float("nan")])
def test_shares_that_are_none_are_refused(clean, share):
    before = clean.threshold_
    with pytest.raises(ParameterError, match=r"contamination must be a number from 1e-09 to 0\.5"):
        clean.calibrate(share)
    assert clean.threshold_ == before


def test_a_threshold_may_be_set_and_is_saved(tmp_path):
    model = make(method="pca").fit(WAVE)
    model.threshold_ = 0.5
    loaded = pipelines.load(model.save(tmp_path / "m"), device="cpu")
    assert loaded.threshold_ == 0.5
    assert np.array_equal(loaded.predict(WAVE), (model.score_samples(WAVE) > 0.5).astype(int))
    assert loaded.predict(WAVE).any()
    assert loaded.calibrate() == make(method="pca").fit(WAVE).threshold_


def test_the_threshold_comes_from_what_is_held_out():
    whole, none, more, given = (make().fit(WAVE, valid=valid) for valid in (None, 0, 0.4, wave(900, seed=2)))
    for other in (none, more, given):
        same(other.score_samples(WAVE), whole.score_samples(WAVE))  # the model itself learns from all of it
        same(other.own_scores_, whole.own_scores_)
    assert [len(model.held_scores_) for model in (whole, none, more, given)] == [100, 0, 160, 900]
    assert len({model.threshold_ for model in (whole, none, more, given)}) == 4
    assert none.threshold_ == pytest.approx(1.1 * none.own_scores_[-1])
    same(given.held_scores_, np.sort(given.score_samples(wave(900, seed=2))))


def test_given_normal_data_may_be_of_another_kind(clean):
    given = wave(200, seed=2)
    expected = make().fit(WAVE, valid=given).threshold_
    for valid in (given.tolist(), given[:, None], [given], {"x": given}, pd.Series(given)):
        assert make().fit(WAVE, valid=valid).threshold_ == expected


def test_of_series_of_any_length_the_held_out_ends_are_scored_with_windows_as_long():
    model = make().fit([wave(1000), wave(300, seed=1)])
    assert len(model.held_scores_) == 250 + 75
    assert model.windows_["nearest"] == 96
    assert 0.5 < np.median(model.held_scores_) / np.median(model.own_scores_) < 2


# --- training data with anomalies -------------------------------------------------------------------------------------


def spoiled():
    """Two gross faults in a wave."""
    values = wave(1500)
    values[400:406], values[900:930] = 9, -5
    return values


@functools.cache
def unspoiled(method, online):
    return make(method=method, online=online).fit(wave(1500))


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_few_anomalies_in_the_training_series_do_no_harm(method, online):
    model = make(method=method, online=online).fit(spoiled())
    (note,) = [note for note in model.notes_ if "stand out from the rest" in note]
    count = int(note.split()[0])
    assert note.startswith(f"{count} rows of the training series ({count / 1500:.1%}) stand out from the rest and were left out")
    assert 6 <= count < 100
    values = wave(800, seed=1)
    assert not model.predict(values).any()
    values[300:306], values[600:630] = 9, -5
    events = model.events(values)
    for start, stop in ((300, 306), (600, 630)):
        assert ((events["start"] < stop) & (events["end"] >= start)).any()


# not PCA online: it looks at windows as they are, and a gross spike among them becomes one of their main shapes
@pytest.mark.parametrize(("method", "online"), [("auto", False), ("auto", True), ("pca", False)])
def test_scores_are_those_of_a_fit_to_clean_data(method, online):
    model, values = make(method=method, online=online).fit(spoiled()), wave(800, seed=1)
    ratio = model.score_samples(values) / unspoiled(method, online).score_samples(values)
    assert 0.8 < np.nanmedian(ratio) < 1.25
    assert 0.8 < model.threshold_ / unspoiled(method, online).threshold_ < 1.25


@pytest.mark.parametrize("method", METHODS)
def test_an_absurd_value_of_the_sensor_flattens_nothing(method):
    values = wave(1500)
    values[777] = 1e9
    model, plain, asked = make(method=method, window="auto").fit(values), unspoiled(method, False), wave(800, seed=1)
    assert model.period_ == 20
    np.testing.assert_allclose(model.scale_, plain.scale_, rtol=0.01)
    assert 0.8 < np.nanmedian(model.score_samples(asked) / plain.score_samples(asked)) < 1.25
    asked[300:360] += 3
    flagged = model.predict(asked)[300:360]
    assert flagged[:12].all() if method == "lstm-forecaster" else flagged.all()  # within a shift every forecast is right


def test_clean_data_is_kept_whole():
    for method in METHODS:
        model = unspoiled(method, False)
        assert not any("stand out" in note for note in model.notes_)
        assert sum(model.training_rows_) == 1500


@pytest.mark.parametrize("method", ["lstm-autoencoder", "lstm-forecaster"])
def test_where_too_little_would_be_left_everything_is_kept_and_it_is_said(method):
    values = wave(72)
    values[36] = 30
    model = make(method=method).fit(values)
    (note,) = [note for note in model.notes_ if "stand out from the rest" in note]
    assert note.endswith("but stayed in the fit: without them, too little would be left to learn from.")
    assert sum(model.training_rows_) == 72


def test_what_is_left_of_the_training_series_is_what_the_simple_detectors_get():
    model = make(method="pca").fit(spoiled())
    left = np.split(model.training_, np.cumsum(model.training_rows_)[:-1])
    assert 1400 < sum(map(len, left)) < 1500
    assert max(np.abs(part).max() for part in left) < 2.5


# --- saved and loaded -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_saved_model_says_the_same(method, online, tmp_path):
    X = {"a": PAIR, "b": 100 * PAIR[:300, ::-1] + 4}
    model = make(method=method, online=online).fit(X, valid=0)
    loaded = pipelines.load(model.save(tmp_path / "m"), device="cpu")
    same(loaded.score_samples(X), model.score_samples(X), rtol=1e-6)
    same(loaded.predict(X), model.predict(X))
    fault = {"a": PAIR + 3 * (np.arange(T) // 50 == 5)[:, None]}
    pd.testing.assert_frame_equal(loaded.events(fault), model.events(fault))
    assert len(loaded.events(fault)) > 0
    assert loaded.calibrate(0.05) == model.calibrate(0.05)
    assert not [file for file in (tmp_path / "m").iterdir() if file.suffix not in (".json", ".npz", ".safetensors")]
    with np.load(tmp_path / "m" / "state.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "fi" for name in arrays)


def test_a_saved_model_says_the_same_in_a_fresh_process(tmp_path, run_python):
    X = three()
    X.iloc[200:230, 1] += 3
    model = make(online=True).fit(three())
    model.evaluate(X, np.arange(T) // 30 == 7)
    model.save(tmp_path / "m")
    code = f"""
import sys, numpy as np, pipelines
sys.modules["pickle"].loads = sys.modules["pickle"].load = None  # any unpickling would fail
from tests.timeseries.test_anomaly import three
model, X = pipelines.load({str(tmp_path / "m")!r}, device="cpu"), three()
X.iloc[200:230, 1] += 3
events = model.events(X)
np.savez({str(tmp_path / "found.npz")!r}, score=model.score_samples(X), update=[model.update(row) for row in X.to_numpy()])
assert events["variables"].iloc[0] == ["load"], events
assert model.report_.metrics and model.threshold_ == {model.threshold_!r}
"""
    done = run_python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["score"], model.score_samples(X), rtol=1e-6)
        np.testing.assert_allclose(found["update"], model.score_samples(X), rtol=1e-4)


def test_pca_needs_no_training(tmp_path, capfd):
    model = make(method="pca", verbose=1).fit(WAVE)
    model.evaluate(WAVE, np.arange(T) > 380)
    assert model.history_ == []
    assert not list(model.model_.parameters())
    loaded = pipelines.load(model.save(tmp_path / "m"), device="cpu")
    same(loaded.score_samples(WAVE), model.score_samples(WAVE))
    assert loaded.fit(WAVE).threshold_ == model.threshold_
    assert capfd.readouterr() == ("", "")


def test_a_forecaster_says_nothing_of_its_first_context():
    for online in (False, True):
        model = make(method="lstm-forecaster", online=online).fit(WAVE, valid=0)
        missing = np.flatnonzero(np.isnan(model.score_samples(WAVE)))
        assert missing.tolist() == list(range(25 if online else 24))
        assert not model.predict(WAVE)[:24].any()


# --- one seed, interruption, resuming ---------------------------------------------------------------------------------


def test_one_seed_gives_one_model_and_leaves_other_random_numbers_alone():
    torch = load_framework("torch")
    first = make().fit(spoiled())
    np.random.seed(3)
    torch.manual_seed(3)
    expected = np.random.random(3), torch.rand(3).tolist()
    np.random.seed(3)
    torch.manual_seed(3)
    again = make().fit(spoiled())
    again.evaluate(spoiled(), np.arange(1500) // 6 == 100)
    again.events(spoiled())
    assert np.array_equal(np.random.random(3), expected[0])
    assert torch.rand(3).tolist() == expected[1]
    same(again.score_samples(WAVE), first.score_samples(WAVE))
    assert again.threshold_ == first.threshold_
    other = make(seed=1).fit(spoiled())
    assert not np.allclose(other.score_samples(WAVE), first.score_samples(WAVE), rtol=1e-4)


class PowerCutError(Exception):
    """Stands for the end of the process."""


def interrupt(monkeypatch, after, error=PowerCutError):
    """Let an error fall into the fit when so many epochs have ended, in whichever of its trainings."""
    ended = []

    class Interrupting(anomaly.Progress):
        def epoch(self, record):
            ended.append(record)
            if len(ended) == after:
                raise error

    monkeypatch.setattr(anomaly, "Progress", Interrupting)


@functools.cache
def uninterrupted(method):
    model = make(method=method, epochs=2).fit(spoiled())
    assert any("stand out" in note for note in model.notes_)
    return model


@pytest.mark.parametrize(("method", "after"), [*(("auto", after) for after in range(1, 7)), ("lstm-forecaster", 2)])
def test_resumed_fit_ends_like_an_uninterrupted_one(monkeypatch, tmp_path, method, after):
    """There are three trainings of two epochs: the first, again without what stood out, and without the held-out end."""
    whole = uninterrupted(method)
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(PowerCutError):
            make(method=method, epochs=2).fit(spoiled(), resume=tmp_path)
    resumed = make(method=method, epochs=2).fit(spoiled(), resume=tmp_path)
    assert resumed.threshold_ == pytest.approx(whole.threshold_, rel=1e-6)
    same(resumed.score_samples(WAVE), whole.score_samples(WAVE), rtol=1e-5)
    assert [quiet(record) for record in resumed.history_] == [pytest.approx(quiet(record)) for record in whole.history_]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints")
    make().fit(PAIR, resume=path)
    return path


@pytest.mark.parametrize(
    ("X", "params", "valid"),
    [
        (PAIR, {"lr": 0.5}, None),
        (PAIR, {"seed": 9}, None),
        (PAIR, {"method": "lstm-autoencoder"}, None),
        (PAIR, {"window": 12}, None),
        (PAIR, {"online": True}, None),
        (PAIR, {}, 0.4),
        (np.where(np.arange(2 * T).reshape(T, 2) == 3, 0.5, PAIR), {}, None),
        (PAIR[:, ::-1], {}, None),
        (pd.DataFrame(PAIR, HOURS), {}, None),
        ([PAIR[:200], PAIR[200:]], {}, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, (list, pd.DataFrame, np.ndarray)) else str(value),
)
def test_checkpoint_of_another_fit_is_refused(X, params, valid, checkpoints):
    with pytest.raises(DataError, match="other parameters or data"):
        make(**params).fit(X, valid=valid, resume=checkpoints)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_ctrl_c_keeps_what_was_learned_and_says_so(monkeypatch, tmp_path, after):
    interrupt(monkeypatch, after, KeyboardInterrupt)
    said = r"interrupted after \d epochs?; the best weights so far are kept" if after < 3 else "for the threshold, ended early"
    model = make(epochs=2)
    with pytest.warns(UserWarning, match=said):
        model.fit(WAVE)
    assert bool(model.history_[-1].get("interrupted")) == (after < 3)
    assert np.isfinite(model.score_samples(WAVE)).all()
    assert any("interrupted" in note or "ended early" in note for note in model.evaluate(WAVE, np.arange(T) > 390).notes)
    loaded = pipelines.load(model.save(tmp_path / "m"), device="cpu")
    same(loaded.score_samples(WAVE), model.score_samples(WAVE), rtol=1e-6)


def test_an_earlier_fit_survives_a_failed_one(monkeypatch):
    model = make().fit(PAIR)
    expected, facts = model.score_samples(PAIR), json.dumps([model.form_, model.history_, model.threshold_])
    with pytest.raises(DataError):
        model.fit({"x": WAVE, "y": WAVE[:3]})
    interrupt(monkeypatch, 1)
    with pytest.raises(PowerCutError):
        model.fit(WAVE)
    model.lr = float("nan")
    with pytest.raises(ParameterError):
        model.fit(WAVE)
    same(model.score_samples(PAIR), expected)
    assert json.dumps([model.form_, model.history_, model.threshold_]) == facts
