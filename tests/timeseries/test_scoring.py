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


def error_of(view, by_row, online, newest):
    """Return the one error of a window."""
    if newest or (online and not isinstance(view, WindowPCA | NearestWindow)):
        return by_row[-max(1, round(len(by_row) / 4)) :].max()
    return by_row.mean() if online or isinstance(view, NearestWindow) else by_row.max()


def by_loop(view, values, online, *, newest=False, own=None):
    """Return what one part of a view says of each row, window by window."""
    rows, every = len(values), step(view)
    first = list(range(0, rows - view.window + 1, every))
    if not online and first[-1] < rows - view.window:
        first.append(rows - view.window)
    errors = []
    for start in first:
        more = {} if own is None else {"barred": view.overlapping(own, np.array([start]))}
        by_row = view.errors(values[start : start + view.window].T[None], **more)[0].mean(axis=0)
        errors.append(error_of(view, by_row, online, newest))
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


def in_units(name, online, newest=False):
    """Return roots of the errors of one part of a view, in the unit of the training part."""
    view = VIEWS[name]
    own = by_loop(view, TRAIN, online, newest=newest, own=0 if isinstance(view, NearestWindow) else None)
    return np.sqrt(by_loop(view, ASKED, online, newest=newest) / np.nanquantile(own, 0.99))


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("name", VIEWS)
def test_a_score_is_what_a_loop_over_windows_gives(name, online):
    expected = in_units(name, online)
    if online and name in ("shape", "nearest"):
        expected = np.fmax(expected, in_units(name, online, newest=True))
    np.testing.assert_allclose(make(name, online=online).score(ASKED), expected, rtol=1e-7)


@pytest.mark.parametrize("online", [False, True])
def test_a_score_is_the_mean_over_the_views_that_say_something(online):
    scorer = make(online=online)
    parts = [make(name, online=online).score(ASKED) for name in VIEWS]
    expected = [np.nan if np.isnan(row).all() else np.nanmean(row) for row in zip(*parts, strict=True)]
    np.testing.assert_allclose(scorer.score(ASKED), expected)
    assert np.isnan(scorer.score(ASKED)).sum() == (23 if online else 0)
    assert np.isnan(make("last").score(ASKED)).sum() == 24  # the first context
    assert np.isnan(scorer.score(ASKED[:23])).all()
    assert not np.isnan(make().score(ASKED[:24])).any()  # one view is enough


def test_of_views_of_one_kind_the_one_counts_that_finds_more():
    views = {"short": WindowPCA.fit([TRAIN], 20, shape=False), "long": WindowPCA.fit([TRAIN], 60, shape=False)}
    asked = ASKED.copy()
    asked[100:103] += 0.8  # short, and slight but lasting: either is seen better in one of the windows
    asked[180:240] += 0.15
    alone = []
    for name, view in views.items():
        scorer = Scorer({name: view}, online=True)
        scorer.settle([TRAIN])
        alone.append(scorer.score(asked))
    both = Scorer(views, online=True)
    both.settle([TRAIN])
    np.testing.assert_allclose(both.score(asked), np.fmax(*alone))
    assert (alone[0] > alone[1]).any()
    assert (alone[1] > alone[0]).any()


def test_units_are_what_all_but_a_hundredth_of_the_training_part_stay_below():
    for name in VIEWS:
        scorer = make(name, online=True)
        (own,) = scorer.settle([TRAIN])
        for part in scorer.parts(name):
            alone = Scorer({name: VIEWS[name]}, True, {each.name: np.inf for each in scorer.parts(name)})
            alone.units[part.name] = scorer.units[part.name]
            assert (alone.scores(own) > 1).mean() == pytest.approx(0.01, abs=0.01)
    scorer = make("nearest", online=True)
    assert np.nanmax(scorer.score(TRAIN)) < 0.8  # each window finds itself


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
    scorer = make(online=online)
    found = scorer.least(scorer.look(strange))
    usual = np.nanquantile(found, 0.9)
    high = np.flatnonzero(np.nan_to_num(found) > 3 * usual)
    assert {122} <= set(high) <= set(range(115, 131))
    score = make(online=online).score(strange)
    assert (np.nan_to_num(score) > np.nanmax(score) / 4).sum() > 2 * len(high)
