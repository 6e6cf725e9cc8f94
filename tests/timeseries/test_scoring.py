"""From windows to one score a row: beside loops, in batches of any size, and without the future where online."""

import numpy as np
import pytest

from timeseries import scoring
from timeseries.scoring import Scorer, step
from timeseries.views import Forecast, NearestWindow, Reconstruction, WindowPCA

RNG = np.random.default_rng(0)
TRAIN = np.sin(np.arange(300)[:, None] / [3, 5]) + RNG.normal(0, 0.1, (300, 2))
ASKED = np.sin(np.arange(260)[:, None] / [3, 5]) + RNG.normal(0, 0.1, (260, 2))
VIEWS = {
    "flat": Reconstruction(lambda windows: windows * 0, 24),
    "last": Forecast(lambda contexts: contexts[..., -3:], 24, 3),
    "shape": WindowPCA.fit([TRAIN], 40, shape=True),
    "nearest": NearestWindow.fit([TRAIN], 50),
}


def make(*names, online=False):
    scorer = Scorer({name: VIEWS[name] for name in names or VIEWS}, online)
    scorer.settle([TRAIN])
    return scorer


def by_loop(view, values, online):
    """Return a view's trace, window by window."""
    rows, every = len(values), step(view)
    first = list(range(0, rows - view.window + 1, every))
    if not online and first[-1] < rows - view.window:
        first.append(rows - view.window)
    errors = []
    for start in first:
        error = view.errors(values[start : start + view.window].T[None])[0].mean(axis=0)
        if isinstance(view, NearestWindow) or (online and isinstance(view, WindowPCA)):
            errors.append(error.mean())
        else:
            errors.append(error[-max(1, round(view.judged / 4)) :].max() if online else error.max())
    found = np.full(rows, np.nan)
    for row in range(rows):
        if online:
            over = [error for error, start in zip(errors, first, strict=True) if start + view.window - 1 <= row][-1:]
        else:
            spans = zip(errors, first, strict=True)
            over = [error for error, start in spans if start + view.window - view.judged <= row < start + view.window]
        found[row] = np.mean(over) if over else np.nan
    if online:
        return found
    around = [found[max(0, row - 12) : row + 13] for row in range(rows)]
    return np.array([np.nan if np.isnan(value) else np.nanmean(each) for value, each in zip(found, around, strict=True)])


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("name", VIEWS)
def test_a_trace_is_what_a_loop_over_windows_gives(name, online):
    found = make(name, online=online).trace(name, ASKED)
    np.testing.assert_allclose(found, by_loop(VIEWS[name], ASKED, online), rtol=1e-7)


@pytest.mark.parametrize("online", [False, True])
def test_a_score_is_the_mean_over_the_views_that_say_something(online):
    scorer = make(online=online)
    parts = {name: np.sqrt(scorer.trace(name, ASKED) / scorer.units[name]) for name in VIEWS}
    expected = [np.nan if np.isnan(row).all() else np.nanmean(row) for row in zip(*parts.values(), strict=True)]
    np.testing.assert_allclose(scorer.score(ASKED), expected)
    assert np.isnan(scorer.score(ASKED)).sum() == (23 if online else 0)
    assert np.isnan(make("last").score(ASKED)).sum() == 24  # the first context
    assert np.isnan(scorer.score(ASKED[:23])).all()
    assert not np.isnan(make().score(ASKED[:24])).any()  # one view is enough


def test_units_are_what_all_but_a_hundredth_of_the_training_part_stay_below():
    scorer = make("flat", "shape", online=True)
    for name, unit in scorer.units.items():
        assert (scorer.trace(name, TRAIN) > unit).mean() == pytest.approx(0.01, abs=0.01)
    nearest = make("nearest", online=True)
    own = nearest.trace("nearest", TRAIN, own=0)
    assert nearest.units["nearest"] == pytest.approx(np.nanquantile(own, 0.99))
    assert np.nanmax(nearest.trace("nearest", TRAIN)) < 0.5 * nearest.units["nearest"]  # each window finds itself


def test_a_training_part_without_errors_has_a_unit():
    scorer = Scorer({"flat": VIEWS["flat"]}, online=True)
    scorer.settle([np.zeros((50, 2))])
    assert scorer.units["flat"] > 0
    assert np.nanmax(scorer.score(np.zeros((50, 2)))) == 0
    scorer.settle([np.zeros((5, 2))])  # no window at all
    assert scorer.units["flat"] > 0


@pytest.mark.parametrize("online", [False, True])
def test_how_many_windows_are_looked_at_at_once_does_not_matter(online, monkeypatch):
    expected = make(online=online).score(ASKED)
    monkeypatch.setattr(scoring, "_VALUES_TOGETHER", 300)
    np.testing.assert_allclose(make(online=online).score(ASKED), expected, rtol=1e-9)


@pytest.mark.parametrize("rows", [24, 60, 100, 259])
def test_where_online_the_future_moves_nothing(rows):
    scorer = make(online=True)
    whole = scorer.score(ASKED)
    np.testing.assert_allclose(scorer.score(ASKED[:rows]), whole[:rows], rtol=1e-9)
    changed = ASKED.copy()
    changed[rows:] = 9
    np.testing.assert_allclose(scorer.score(changed)[:rows], whole[:rows], rtol=1e-9)
    assert not np.allclose(make().score(changed)[rows - 20 : rows], make().score(ASKED)[rows - 20 : rows])


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("name", VIEWS)
def test_windows_behind_a_score_are_those_it_moves_with(name, online):
    scorer, view = make(name, online=online), VIEWS[name]
    before = scorer.score(ASKED)
    for row in (30, 77, 78, 150, 259):
        first = scorer.behind(view, row, len(ASKED))
        if np.isnan(before[row]):
            assert not len(first)
            continue
        behind = np.zeros(len(ASKED), dtype=bool)
        for start in first:
            behind[start : start + view.window] = True
        changed = np.where(behind[:, None], ASKED, 9.0)
        assert scorer.score(changed)[row] == pytest.approx(before[row], rel=1e-6)
        changed = np.where(behind[:, None], ASKED + 9 * RNG.random(ASKED.shape), ASKED)
        assert scorer.score(changed)[row] != pytest.approx(before[row], rel=1e-3)


@pytest.mark.parametrize("online", [False, True])
def test_the_least_strange_window_tells_strange_rows_from_their_neighbours(online):
    strange = ASKED.copy()
    strange[120:125] += 8
    found = make(online=online).least(strange)
    usual = np.nanquantile(found, 0.9)
    high = np.flatnonzero(np.nan_to_num(found) > 3 * usual)
    assert {122} <= set(high) <= set(range(115, 131))
    score = make(online=online).score(strange)
    assert (np.nan_to_num(score) > np.nanmax(score) / 2).sum() > 2 * len(high)
