"""A stream says of each row what the scorer says of the whole series."""

import numpy as np
import pytest

from timeseries.scaling import gaps_filled
from timeseries.scoring import Scorer
from timeseries.streaming import Stream
from timeseries.views import Forecast, NearestWindow, Reconstruction, WindowPCA

RNG = np.random.default_rng(0)
TRAIN = np.sin(np.arange(300)[:, None] / [3, 5]) + RNG.normal(0, 0.1, (300, 2))


def scorer(*names):
    views = {
        "flat": Reconstruction(lambda windows: windows * 0, 13),
        "last": Forecast(lambda contexts: contexts[..., -3:], 12, 3),
        "shape": WindowPCA.fit([TRAIN], 30, shape=True),
        "nearest": NearestWindow.fit([TRAIN], 50),
        "second nearest": NearestWindow.fit([TRAIN], 20),
    }
    found = Scorer({name: views[name] for name in names}, online=True)
    found.settle([TRAIN])
    return found


EACH = [("flat",), ("last",), ("shape",), ("nearest",)]


@pytest.mark.parametrize("names", [*EACH, ("flat", "last", "shape", "nearest", "second nearest")], ids=str)
def test_rows_one_by_one_are_scored_like_the_whole_series(names):
    asked = np.sin(np.arange(120)[:, None] / [3, 7]) + RNG.normal(0, 0.1, (120, 2))
    asked[60] += 5
    judge = scorer(*names)
    stream = Stream(judge)
    one_by_one = [stream.update(row) for row in asked]
    whole = judge.score(asked)
    assert np.isnan(whole).sum() == min(view.window for view in judge.views.values()) - 1
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-9)
    assert max(one_by_one[60:70]) > 2 * np.nanmax(one_by_one[:60])


def test_gaps_are_filled_from_the_past_and_rows_without_a_value_have_no_score():
    asked = TRAIN.copy()[:90]
    asked[:2] = asked[40] = asked[55:58] = np.nan
    asked[70:75, 1] = asked[5:8, 0] = np.nan
    judge = scorer("flat", "shape")
    stream = Stream(judge)
    found = [stream.update(row) for row in asked]
    expected = np.where(np.isnan(asked).all(axis=1), np.nan, judge.score(gaps_filled(asked, past=True)))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.isnan(found)[[40, 55, 57]].all()
    assert np.isfinite(found[70:75]).all()


def test_no_more_rows_are_kept_than_the_longest_window_needs():
    stream = Stream(scorer("flat", "shape"))
    for row in TRAIN:
        stream.update(row)
    assert len(stream.latest) == 30


def test_a_stream_does_not_keep_or_change_the_users_row():
    stream, row = Stream(scorer("flat")), np.array([1.0, np.nan])
    stream.update(row)
    row[:] = 100
    assert stream.latest[0].tolist() == [1, 0]
