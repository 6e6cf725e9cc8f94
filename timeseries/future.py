"""Reading what is known in advance of the rows to forecast, such as tomorrow's prices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.checks import did_you_mean
from pipelines.errors import DataError

from .long_frames import ids_of, time_of
from .reading import as_array, kind_of
from .series import Form, Name, Series, future_index, plain_name, time_zone
from .stamps import in_zone, to_zone
from .tables import Columns, Table, Wanted, check_names, check_size, check_there, check_values, listed, plural
from .values import frame_floats

__all__ = ["read_future"]


def read_future(future: Any, form: Form, series: Sequence[Series], horizon: int) -> list[np.ndarray]:
    """Read the columns known in advance for the `horizon` rows after each series.

    Parameters
    ----------
    future : DataFrame, array, list, dict or None
        In the kind of the series: one DataFrame or array, or a dict, a list or a long DataFrame of as many as there are
        series. Rows after the first `horizon` are left out.
    form : Form
        That of the series.
    series : sequence of Series
        Those to continue.
    horizon : int
        Rows needed.

    Returns
    -------
    list of ndarray
        (horizon, known columns) of each series; no columns where none are known.

    Raises
    ------
    DataError
        If rows, columns or series are missing, stamps are not the next ones, or a value is not finite.

    Examples
    --------
    >>> from timeseries.reading import read
    >>> X = pd.DataFrame({"load": [1.0, 2, 3], "price": [5.0, 5, 6]}, pd.date_range("2024-01-01", periods=3, freq="D"))
    >>> series, form, _ = read(X, known=["price"])
    >>> read_future(pd.DataFrame({"price": [7.0]}, pd.to_datetime(["2024-01-04"])), form, series, 1)
    [array([[7.]])]
    """
    if not form.known:
        if future is not None:
            raise DataError("The model was fitted without columns known in advance, so it takes no `future`; leave it out.")
        return [np.empty((horizon, 0)) for _ in series]
    if future is None:
        raise DataError(
            f"The model was fitted with columns known in advance, {listed(form.known)}, so it needs them for the next {horizon} "
            f"rows: future={_future_hint(form)}."
        )
    samples = _future_samples(future, form, series)
    return [_future_values(sample, who, one, form, horizon) for (who, sample), one in zip(samples, series, strict=True)]


def _future_hint(form: Form) -> str:
    what = (
        f"a DataFrame with {listed(form.known)}, indexed by time"
        if form.entry == "frame"
        else f"an array (horizon, {len(form.known)})"
    )
    if form.container == "long":
        return f"a long DataFrame with {form.series_id!r}, the time and {listed(form.known)}"
    several = {"one": "", "list": "a list with one entry a series: ", "block": "an array or a list, one entry a series: "}
    return several.get(form.container, "a dict of the same names: ") + what


def _future_samples(future: Any, form: Form, series: Sequence[Series]) -> list[tuple[str, Any]]:
    """Return a title and what was given for each series."""
    if form.container == "long" and isinstance(future, pd.DataFrame):
        return _future_long(future, form, series)
    if form.container == "one":
        return [("future", future)]
    if isinstance(future, Mapping):
        given = {plain_name(name): sample for name, sample in future.items()}
        for one in series:
            if one.name not in given:
                raise DataError(f"future has no entry for series {one.name!r}.{did_you_mean(one.name, given)}")
        return [(f"The future of series {one.name!r}", given[one.name]) for one in series]
    if isinstance(future, pd.DataFrame) or not hasattr(future, "__len__") or isinstance(future, (str, bytes)):
        raise DataError(
            f"There are {len(series)} series, so future must be {_future_hint(form)}; received a {type(future).__name__}."
        )
    if len(future) != len(series):
        entries = "1 entry" if len(future) == 1 else f"{len(future)} entries"
        raise DataError(f"There are {len(series)} series, but future has {entries}.")
    return [(f"The future of series {i if one.name is None else repr(one.name)}", future[i]) for i, one in enumerate(series)]


def _future_long(future: pd.DataFrame, form: Form, series: Sequence[Series]) -> list[tuple[str, Any]]:
    assert form.series_id is not None
    if form.series_id not in future.columns:
        raise DataError(
            f"future has no column {form.series_id!r} to name its series.{did_you_mean(form.series_id, future.columns)}"
        )
    check_size(future.shape, "future")
    codes, names = ids_of(future, form.series_id)
    index, time, _ = time_of(future, form.series_id, Wanted(form.variables, form.known, None))
    body = future.drop(columns=[form.series_id] if time is None else [form.series_id, time])
    body = body.reset_index(drop=True) if index is None else body.set_axis(index, axis=0)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    given = {plain_name(name): order[starts[i] : starts[i + 1]] for i, name in enumerate(names)}
    for one in series:
        if one.name not in given:
            raise DataError(f"future has no rows of series {one.name!r}.{did_you_mean(one.name, given)}")
    return [(f"The future of series {one.name!r}", body.iloc[given[one.name]]) for one in series]


def _future_values(sample: Any, who: str, series: Series, form: Form, horizon: int) -> np.ndarray:
    """Return the first `horizon` rows of the known columns of one series."""
    kind = kind_of(sample, who)
    if kind == "frame":
        frame, names = sample, _known_names(sample, form, who)
    else:
        frame = sample.to_frame(form.known[0]) if kind == "series" else pd.DataFrame(as_array(sample, who))
        names = tuple(frame.columns)
    if len(names) != len(form.known):
        raise DataError(f"{who} has {plural(len(names), 'column')}, but known in advance are {listed(form.known)}.")
    index = frame.index if kind in ("frame", "series") else None
    if index is not None:
        _check_next(index, who, series, min(horizon, len(frame)))
    if len(frame) < horizon:
        raise DataError(
            f"{who} has {plural(len(frame), 'row')}, but the horizon is {horizon}. Give the known columns for each of its rows."
        )
    values = frame_floats(frame.iloc[:horizon], names, lambda row: who)
    table = Table(who, None, np.empty((1, 0)), values, None if index is None else index[:horizon])
    check_values(table, Columns((), (), form.known))
    return values


def _known_names(frame: pd.DataFrame, form: Form, who: str) -> tuple[Name, ...]:
    check_names(frame, who)
    if not form.named and frame.shape[1] == len(form.known):
        return tuple(frame.columns)
    check_there(form.known, list(frame.columns), who)
    return form.known


def _check_next(index: pd.Index, who: str, series: Series, rows: int) -> None:
    """Raise unless the stamps are the next ones after the series; rows counted from 0 pass where there is no time."""
    if rows == 0:
        return
    expected = future_index(series, rows)
    counted = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
    if expected is None or (isinstance(expected, pd.RangeIndex) and counted):
        return
    if type(index) is not type(expected) and not (expected.dtype.kind == "i" and index.dtype.kind == "i"):
        raise DataError(
            f"{who} must be indexed by time, from {expected[0]} to {expected[-1]}, but its index is a {type(index).__name__}."
        )
    zone, due = time_zone(index), time_zone(expected)
    if zone != due:
        raise DataError(f"{who} {in_zone(zone)}, but the series {in_zone(due)}. {to_zone(zone, due)}")
    if isinstance(index, pd.PeriodIndex) and index.dtype != expected.dtype:
        raise DataError(f"{who} has periods of {index.freqstr!r}, but the series has periods of {expected.freqstr!r}.")
    wrong = np.flatnonzero(np.asarray(index[:rows] != expected))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{who} has {index[row]} in row {row}, but {expected[row]} is next after the series. Give exactly the next stamps."
        )
