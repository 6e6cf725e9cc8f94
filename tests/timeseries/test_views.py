"""The views of a window: beside scikit-learn and straightforward loops."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from timeseries.views import Forecast, NearestWindow, Reconstruction, WindowPCA

RNG = np.random.default_rng(0)
ROWS = np.arange(400)[:, None]
WAVES = np.sin(ROWS / [3, 5]) + RNG.normal(0, 0.2, (400, 2))


def cut(series, window, first=None):
    """Return windows (n, C, window) that begin at the rows `first`, by default at all."""
    first = range(len(series) - window + 1) if first is None else first
    return np.stack([series[start : start + window].T for start in first])


def test_an_autoencoder_is_wrong_by_what_it_writes():
    windows = cut(WAVES, 8)
    view = Reconstruction(lambda given: given + np.arange(8), 8)
    np.testing.assert_allclose(view.errors(windows), np.broadcast_to(np.arange(8.0) ** 2, windows.shape))
    assert (view.window, view.judged) == (8, 8)


def test_a_forecaster_is_wrong_by_what_comes():
    windows = cut(WAVES, 8)
    seen = []
    view = Forecast(lambda contexts: seen.append(contexts) or contexts[..., -3:], 5, 3)
    np.testing.assert_allclose(view.errors(windows), (windows[..., 5:] - windows[..., 2:5]) ** 2)
    np.testing.assert_array_equal(seen[0], windows[..., :5])
    assert (view.window, view.judged) == (8, 3)


# --- the main shapes --------------------------------------------------------------------------------------------------


def scaled(windows):
    return (windows - windows.mean(axis=2, keepdims=True)) / windows.std(axis=2, keepdims=True)


@pytest.mark.parametrize("shape", [True, False], ids=["shape", "level"])
@pytest.mark.parametrize("rows", [400, 60], ids=["more windows", "more values"])
def test_the_main_shapes_are_those_of_scikit_learn(rows, shape):
    series = WAVES[:rows]
    windows = cut(series, 25)
    assert (len(windows) > 50) == (rows == 400)
    view = WindowPCA.fit([series], 25, shape=shape)
    seen = (scaled(windows) if shape else windows).reshape(len(windows), -1)
    peer = PCA(0.9, svd_solver="full").fit(seen)
    assert view.axes.shape == (50, peer.n_components_)
    np.testing.assert_allclose(np.abs(np.sum(view.axes.T * peer.components_, axis=1)), 1, atol=1e-6)
    asked = cut(WAVES[::-1] * 2, 25)
    flat = (scaled(asked) if shape else asked).reshape(len(asked), -1)
    expected = (flat - peer.inverse_transform(peer.transform(flat))) ** 2
    np.testing.assert_allclose(view.errors(asked).reshape(len(asked), -1), expected, rtol=1e-6, atol=1e-9)


def test_level_and_size_count_only_where_asked():
    moved = cut(WAVES, 25) * 3 + 7
    shape, level = (WindowPCA.fit([WAVES], 25, shape=shape) for shape in (True, False))
    np.testing.assert_allclose(shape.errors(moved), shape.errors(cut(WAVES, 25)), atol=1e-9)
    assert level.errors(moved).mean() > 10 * level.errors(cut(WAVES, 25)).mean()


def test_a_standstill_has_no_shape():
    still = WindowPCA.fit([np.full((200, 1), 0.1)], 20, shape=True)
    assert still.axes.shape == (20, 0)
    noise = RNG.normal(0, 1e-6, (5, 1, 20))
    assert still.errors(noise).max() < 1e-6
    assert still.errors(np.eye(20)[:5, None]).max() > 1


def test_windows_of_several_series_and_of_long_ones_are_looked_at():
    many = WindowPCA.fit([WAVES[:100], WAVES[200:205], WAVES[250:]], 25, shape=False)
    windows = np.concatenate([cut(WAVES[:100], 25), cut(WAVES[250:], 25)]).reshape(-1, 50)
    np.testing.assert_allclose(many.mean.ravel(), windows.mean(axis=0))
    long = np.sin(np.arange(30_000)[:, None] / 7)
    assert len(NearestWindow.fit([long], 20).known) <= 1000
    assert NearestWindow.fit([long], 20).places[:, 0].max() == 0


# --- the nearest window -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("barring", [False, True])
def test_the_nearest_window_is_that_of_a_loop(barring):
    series = [WAVES[:150], WAVES[150:260]]
    view = NearestWindow.fit(series, 12)
    first = np.array([0, 3, 50, 98])
    asked = cut(series[1], 12, first)
    barred = view.overlapping(1, first) if barring else None
    found = view.errors(asked, barred)
    for i, start in enumerate(first):
        allowed = [
            known
            for known, (which, row) in zip(view.known, view.places, strict=True)
            if not (barring and which == 1 and abs(row - start) < 12)
        ]
        nearest = min(allowed, key=lambda known: ((asked[i] - known) ** 2).sum())
        np.testing.assert_allclose(found[i], (asked[i] - nearest) ** 2)
    assert (found.sum(axis=(1, 2)) > 0).all() == barring


def test_known_windows_are_where_they_say():
    series = [WAVES[:40], WAVES[100:105], WAVES[200:250]]
    view = NearestWindow.fit(series, 12)
    for known, (which, row) in zip(view.known, view.places, strict=True):
        np.testing.assert_array_equal(known, series[which][row : row + 12].T)
    assert set(view.places[:, 0]) == {0, 2}


def test_a_window_is_never_left_without_a_known_one():
    view = NearestWindow.fit([WAVES[:13]], 12)
    assert len(view.known) == 2
    assert not view.overlapping(0, np.array([0, 1])).any()
    assert view.overlapping(1, np.array([0, 1])).tolist() == [[False, False]] * 2
    assert np.isfinite(view.errors(cut(WAVES[:13], 12), view.overlapping(0, np.array([0, 1])))).all()
