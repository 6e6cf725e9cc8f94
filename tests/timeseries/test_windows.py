"""Windows are views of the series, placed where they should be; gaps are filled from the context alone."""

import numpy as np
import pandas as pd
import pytest

from timeseries.windows import Drawn, Targets, Windows, filled

A = np.arange(20.0)[:, None]
MANY = [A, A[:3] + 100, A[:7] * 2 + 200, np.zeros((0, 1)), A[:5] + 300]


@pytest.mark.parametrize("stride", [1, 2, 3, 7, 50])
@pytest.mark.parametrize(("lookback", "horizon"), [(3, 2), (1, 1), (5, 0), (3, 4), (30, 2)])
def test_every_window_is_where_it_should_be(lookback, horizon, stride):
    for values in ([A], MANY):
        windows = Windows(values, lookback, horizon, stride)
        expected = [
            (s, start)
            for s, series in enumerate(values)
            for start in range(0, len(series) - lookback - horizon + 1, stride)
        ]  # fmt: skip
        assert len(windows) == len(expected)
        if not expected:
            continue
        rows = np.arange(len(windows))
        assert list(zip(*(part.tolist() for part in windows.places(rows)), strict=True)) == expected
        contexts = windows.contexts(rows)
        assert contexts.shape == (len(expected), 1, lookback)
        for (s, start), context in zip(expected, contexts, strict=True):
            assert np.array_equal(context[0], values[s][start : start + lookback, 0])
        if horizon:
            truth = windows.truth(rows)
            assert all(
                np.array_equal(one[0], values[s][start + lookback : start + lookback + horizon, 0])
                for (s, start), one in zip(expected, truth, strict=True)
            )


def test_windows_in_any_order_and_more_than_once():
    windows = Windows(MANY, 2, 1)
    rows = np.array([len(windows) - 1, 0, 0, 18, 17])
    whole = windows.contexts(np.arange(len(windows)))
    assert np.array_equal(windows.contexts(rows), whole[rows])
    assert np.array_equal(windows.truth(rows), windows.truth(np.arange(len(windows)))[rows])


def test_no_series_or_no_room_is_no_window():
    assert len(Windows([], 3, 2)) == 0
    assert len(Windows([A[:4]], 3, 2)) == 0
    assert len(Windows([A[:5]], 3, 2)) == 1


def test_windows_hold_the_series_themselves():
    values = [np.zeros((1000, 2)), np.zeros((500, 2), np.float32)]
    windows = Windows(values, 100, 10)
    assert all(windows.values[i] is one for i, one in enumerate(values))
    whole = Windows(values[:1], 100, 10)
    contexts = whole.contexts(np.array([3]))
    contexts[:] = 1  # what is given out is a copy
    assert not values[0].any()


def test_progress_goes_from_the_first_window_of_each_series_to_its_last():
    windows = Windows([A, A[:5], A[:7]], 3, 2, stride=2)
    progress = windows.progress(np.arange(len(windows)))
    series, _ = windows.places(np.arange(len(windows)))
    assert progress[series == 0].tolist() == pytest.approx(np.linspace(0, 1, 8).tolist())
    assert progress[series == 1].tolist() == [0]
    assert progress[series == 2].tolist() == [0, 1]


def test_rows_of_tables_go_with_their_windows():
    tables = [np.arange(len(one) + 2)[:, None] + 1000.0 * i for i, one in enumerate(MANY)]
    windows = Windows(MANY, 3, 1)
    rows = np.arange(len(windows))
    found = windows.rows(tables, rows, 6)
    for i, (s, start) in enumerate(zip(*windows.places(rows), strict=True)):
        assert np.array_equal(found[i], tables[s][start : start + 6])


# --- units ------------------------------------------------------------------------------------------------------------


def test_given_units_belong_to_the_series():
    windows = Windows([A, A], 3, 1, scale=np.array([[2.0], [5.0]]))
    rows = np.array([0, len(windows) - 1])
    last, unit = windows.units(rows, windows.contexts(rows))
    assert last.ravel().tolist() == [2, 18]
    assert unit.ravel().tolist() == [2, 5]
    x, y = windows.normalised(rows)
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_allclose(x, [[[-1, -0.5, 0]], [[-0.4, -0.2, 0]]], rtol=1e-6)
    assert y.ravel().tolist() == [0.5, pytest.approx(0.2)]


@pytest.mark.parametrize("period", [1, 2, 4, 100])
def test_own_units_are_the_error_of_the_seasonal_naive_forecast(period):
    X = np.random.default_rng(0).normal(size=(30, 2)) * [1, 1000]
    windows = Windows([X], 8, 2, period=period)
    rows = np.arange(len(windows))
    _, unit = windows.units(rows, windows.contexts(rows))
    lag = period if period < 8 else 1  # a season that the context does not hold
    for i in rows:
        context = X[i : i + 8]
        np.testing.assert_allclose(unit[i, :, 0], np.abs(context[lag:] - context[:-lag]).mean(axis=0))


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e12])
def test_normalised_windows_do_not_depend_on_level_or_size(size):
    X = np.random.default_rng(0).normal(size=(30, 1))
    one, other = (Windows([part], 8, 2).normalised(np.arange(21)) for part in (X, size * X))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("context", [np.zeros(8), np.full(8, 5.0), np.full(8, 0.1), np.arange(8) % 2 * 1e-13 + 7])
def test_a_context_at_rest_has_a_unit_that_keeps_numbers_sensible(context):
    windows = Windows([np.append(context, context[-1] + 1)[:, None]], 8, 1, period=2)
    x, y = windows.normalised(np.array([0]))
    assert np.isfinite(x).all()
    assert y[0, 0, 0] == pytest.approx(1000 / context.max() if context.any() else 1, rel=1e-3)


def test_a_context_of_one_row_has_the_unit_of_its_level():
    windows = Windows([np.array([[500.0], [501.0]])], 1, 1, period=12)
    assert windows.normalised(np.array([0]))[1].item() == 2  # in thousandths of 500


# --- gaps -------------------------------------------------------------------------------------------------------------


def test_gaps_are_filled_as_pandas_does():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3, 12))
    X[rng.random(X.shape) < 0.4] = np.nan
    X[3, 1] = np.nan
    frame = pd.DataFrame(X.reshape(-1, 12).T)
    expected = frame.interpolate(limit_direction="both").fillna(0).to_numpy().T.reshape(X.shape)
    before = X.copy()
    np.testing.assert_allclose(filled(X), expected, atol=1e-12)
    np.testing.assert_array_equal(X, before)


def test_what_fills_a_context_does_not_come_from_after_it():
    X = np.arange(20.0)[:, None]
    X[8:12] = np.nan
    windows = Windows([X], 10, 3)
    assert windows.contexts(np.array([0]))[0, 0, 8:].tolist() == [7, 7]
    assert windows.contexts(np.array([3]))[0, 0].tolist() == list(range(3, 13))
    X[12:] = 1e9
    assert windows.contexts(np.array([0]))[0, 0, 8:].tolist() == [7, 7]
    assert np.isnan(windows.truth(np.array([0]))[0, 0, :2]).all()


def test_truth_is_never_filled():
    X = np.where(np.arange(12) % 3 == 0, np.nan, 1.0)[:, None]
    windows = Windows([X], 4, 4, scale=np.ones((1, 1)))
    rows = np.arange(len(windows))
    truth = windows.truth(rows)
    assert np.isnan(truth).sum() == sum(np.isnan(X[i + 4 : i + 8]).sum() for i in rows)
    assert np.isnan(windows.normalised(rows)[1]).sum() == np.isnan(truth).sum()
    assert not np.isnan(windows.normalised(rows)[0]).any()


# --- targets ----------------------------------------------------------------------------------------------------------


def test_targets_are_the_normalised_truth_by_index_slice_or_mask():
    windows = Windows([A**2, A[:9] ** 3], 3, 2)
    whole = windows.normalised(np.arange(len(windows)))[1]
    for stride in (1, 2, 5):
        targets = Targets(windows, stride)
        assert np.array_equal(targets[:], whole[::stride])
        assert np.array_equal(targets[1:3], whole[::stride][1:3])
        assert np.array_equal(targets[np.array([2, 0])], whole[::stride][[2, 0]])


@pytest.mark.parametrize("horizon", [0, 2])
def test_windows_drawn_by_number_begin_again_after_the_last(horizon):
    windows = Windows([A**2, A[:9] ** 3], 3, horizon)
    drawn, count = Drawn(windows), len(windows)
    rows = np.array([0, count - 1, count, 3 * count + 2, 1])
    contexts, truth = windows.contexts(rows % count), windows.truth(rows % count)
    assert np.array_equal(drawn.contexts(rows), contexts)
    assert drawn.contexts(rows).dtype == drawn[rows].dtype == np.float32
    assert np.array_equal(drawn[rows], truth if horizon else contexts)
