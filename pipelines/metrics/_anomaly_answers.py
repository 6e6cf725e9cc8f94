"""The arguments of `metrics.anomaly`, checked and brought into one layout, and the default baselines."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import DataError
from pipelines.metrics._anomaly_series import MODEL, Detections, Series
from pipelines.metrics._answers import check_groups
from pipelines.metrics._forecast_answers import numeric_array

__all__ = ["ALWAYS", "RANDOM", "check_anomalies"]

RANDOM = "random score"
ALWAYS = "always alarm"


def check_anomalies(
    y_true: Any,
    scores: Any,
    *,
    threshold: Any = None,
    period: Any = 1,
    baselines: Any = None,
    thresholds: Any = None,
    names: Any = None,
    groups: Any = None,
    times: Any = None,
    values: Any = None,
    columns: Any = None,
    seed: int = 0,
) -> Detections:
    """Check the arguments of `metrics.anomaly` and put them into one layout.

    Parameters
    ----------
    y_true, scores, threshold, period, baselines, thresholds, names, groups, times, values, columns, seed
        As described there.

    Returns
    -------
    Detections
        The same, checked, with the default baselines where none were given.

    Raises
    ------
    DataError
        Naming the argument, the series and the row that cannot be used.

    Examples
    --------
    >>> found = check_anomalies({"a": [0, 1], "b": [0, 0]}, {"a": [0.1, 0.9], "b": [0.2, 0.3]}, threshold=0.5)
    >>> [(series.name, series.alarm.tolist()) for series in found.ours]
    [('a', [False, True]), ('b', [False, False])]
    """
    layout = _Layout(y_true, names)
    truth = [_labels(part, where) for part, where in layout.each(y_true, "y_true")]
    sizes = [len(part) for part in truth]
    limits = _thresholds(layout, threshold, "threshold")
    periods = layout.one_each(period, "period", _period)
    for name, size, width in zip(layout.names, sizes, periods, strict=True):
        if width > size:
            raise DataError(f"period is {width}, but {layout.where('y_true', name)} has only {size} rows.")
    shown, columns = _values(layout, values, columns, sizes)
    given = zip(
        layout.names, truth, _scores(layout, scores, "scores", sizes), limits, periods, _times(layout, times, sizes), shown,
        strict=True,
    )  # fmt: skip
    ours = tuple(Series(*parts) for parts in given)
    if not any(series.scored.any() for series in ours):
        raise DataError("scores holds no number (every one is nan): there is nothing to evaluate.")
    others, remarks = _baselines(layout, ours, baselines, thresholds, seed)
    return Detections(
        models={MODEL: ours} | others,
        many=layout.many,
        groups=None if groups is None else check_groups(layout.one_each(groups, "groups", _as_it_is), len(ours)),
        columns=columns,
        remarks=remarks,
    )


class _Layout:
    """How many series there are, and how they are called."""

    def __init__(self, y_true: Any, names: Any) -> None:
        self.by_name = isinstance(y_true, Mapping)
        self.many = self.by_name or (isinstance(y_true, list | tuple) and len(y_true) > 0 and _is_array(y_true[0]))
        if self.by_name and names is not None:
            raise DataError("y_true is a mapping, whose keys name the series; leave names away.")
        count = len(y_true) if self.many else 1
        if not count:
            raise DataError("y_true is empty: there is nothing to evaluate.")
        self.names = list(y_true) if self.by_name else _names(names, count)

    def where(self, argument: str, name: Hashable) -> str:
        """Return what messages call one series of an argument."""
        return f"{argument} of series {name!r}" if self.many else argument

    def each(self, given: Any, argument: str) -> list[tuple[Any, str]]:
        """Return the part of every series, and what messages call it."""
        if not self.many:
            return [(given, argument)]
        if self.by_name != isinstance(given, Mapping) or not isinstance(given, Mapping | list | tuple):
            kind = "mapping with the same keys" if self.by_name else "list with one array a series"
            raise DataError(f"{argument} must be a {kind}, as y_true is, not a {type(given).__name__}.")
        return [
            (part, self.where(argument, name)) for part, name in zip(self._in_order(given, argument), self.names, strict=True)
        ]

    def one_each(self, given: Any, argument: str, check: Any) -> list[Any]:
        """Return one checked value a series, where one for all of them or one each was given."""
        if isinstance(given, Mapping):
            parts = self._in_order(given, argument)
        elif isinstance(given, str) or not isinstance(given, Iterable):
            parts = [given] * len(self.names)
        else:
            parts = self._in_order(list(given), argument)
        return [check(part, self.where(argument, name)) for part, name in zip(parts, self.names, strict=True)]

    def _in_order(self, given: Mapping[Any, Any] | Sequence[Any], argument: str) -> list[Any]:
        if isinstance(given, Mapping):
            missing = [name for name in self.names if name not in given]
            unknown = [name for name in given if name not in self.names]
            if missing or unknown:
                wrong = f"has no entry for the series {missing[0]!r}" if missing else f"names the unknown series {unknown[0]!r}"
                raise DataError(f"{argument} {wrong}; give one for each of y_true.")
            return [given[name] for name in self.names]
        if len(given) != len(self.names):
            raise DataError(f"{argument} has {len(given)} entries, but there are {len(self.names)} series in y_true.")
        return list(given)


def _is_array(value: Any) -> bool:
    return isinstance(value, list | tuple) or getattr(value, "ndim", 0) > 0


def _names(names: Any, count: int) -> list[Hashable]:
    if names is None:
        return list(range(count))
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise DataError(f"names must be a sequence with one name a series, not {names!r}.")
    found = names.tolist() if hasattr(names, "tolist") else list(names)
    if len(found) != count:
        raise DataError(f"names has {len(found)} entries, but there are {count} series in y_true.")
    if len(set(found)) != count:
        raise DataError(f"names holds {next(name for name in found if found.count(name) > 1)!r} more than once.")
    return found


def _column(given: Any, where: str) -> np.ndarray:
    array = numeric_array(given, where)
    if array.ndim != 1:
        raise DataError(
            f"{where} has shape {array.shape}; expected one value a row, (T,). Several series are a list or a mapping of arrays."
        )
    if not len(array):
        raise DataError(f"{where} is empty: there is nothing to evaluate.")
    return array


def _labels(given: Any, where: str) -> np.ndarray:
    array = _column(given, where)
    bad = np.flatnonzero((array != 0) & (array != 1))
    if len(bad):
        raise DataError(f"{where} is {array[bad[0]]} in row {bad[0]}; expected 1 for an anomalous point and 0 for any other.")
    return array == 1


def _scores(layout: _Layout, given: Any, argument: str, sizes: list[int]) -> list[np.ndarray]:
    found = []
    for (part, where), size in zip(layout.each(given, argument), sizes, strict=True):
        array = _column(part, where).astype(float)
        if len(array) != size:
            raise DataError(f"{where} has {len(array)} rows, but y_true has {size}; they must be equal.")
        bad = np.flatnonzero(np.isinf(array))
        if len(bad):
            raise DataError(f"{where} is {array[bad[0]]} in row {bad[0]}; give nan for a point that cannot be scored.")
        found.append(array)
    return found


def _thresholds(layout: _Layout, given: Any, argument: str) -> list[float | None]:
    return layout.one_each(given, argument, _as_it_is if given is None else _limit)


def _limit(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or np.isnan(value):
        raise DataError(f"{where} is {value!r}; expected a number, above which a score is an alarm.")
    return float(value)


def _period(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise DataError(f"{where} is {value!r}; expected a whole number of rows, 1 or more.")
    return int(value)


def _as_it_is(value: Any, where: str) -> Any:
    return value


def _times(layout: _Layout, given: Any, sizes: list[int]) -> list[pd.Index | None]:
    if given is None:
        return [None] * len(sizes)
    parts = zip(layout.each(given, "times"), sizes, strict=True)
    return [_index(part, where, size) for (part, where), size in parts]


def _index(given: Any, where: str, size: int) -> pd.Index:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise DataError(f"{where} must be a sequence, not {given!r}.")
    try:
        index = pd.Index(given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} cannot be read as one time a row ({error}).") from error
    index = index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index
    if len(index) != size:
        raise DataError(f"{where} has {len(index)} entries, but y_true has {size} rows; give one time a row.")
    if not (isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) or pd.api.types.is_numeric_dtype(index.dtype)):
        raise DataError(
            f"{where} has the dtype {index.dtype}; give dates or numbers, text for example as pandas.to_datetime(times)."
        )
    if index.hasnans:
        raise DataError(f"{where} is missing in row {np.flatnonzero(index.isna())[0]}.")
    back = np.flatnonzero(index[1:] < index[:-1])
    if len(back):
        row = back[0] + 1
        raise DataError(f"{where} goes back in row {row}, from {index[row - 1]} to {index[row]}; sort the rows by time.")
    return index


def _values(layout: _Layout, given: Any, columns: Any, sizes: list[int]) -> tuple[list[np.ndarray | None], tuple[Hashable, ...]]:
    if given is None:
        return [None] * len(sizes), ()
    found: list[np.ndarray | None] = []
    widths = set()
    for (part, where), size in zip(layout.each(given, "values"), sizes, strict=True):
        array = numeric_array(part, where).astype(float)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or len(array) != size or not array.shape[1]:
            raise DataError(f"{where} has shape {np.shape(part)}; expected {size} rows as in y_true, (T,) or (T, C).")
        widths.add(array.shape[1])
        found.append(np.where(np.isinf(array), np.nan, array))  # which cannot be drawn
    if len(widths) > 1:
        raise DataError(f"values has {min(widths)} columns in one series and {max(widths)} in another; they must be equal.")
    width = widths.pop()
    named = range(width) if columns is None else columns
    if isinstance(named, str) or not isinstance(named, Iterable) or len(tuple(named)) != width:
        raise DataError(f"columns must be a sequence of {width} names, one a column of values, not {columns!r}.")
    return found, tuple(named)


def _baselines(
    layout: _Layout, ours: tuple[Series, ...], given: Any, thresholds: Any, seed: int
) -> tuple[dict[str, tuple[Series, ...]], tuple[str, ...]]:
    for argument, mapping in (("baselines", given), ("thresholds", thresholds)):
        if mapping is not None and not isinstance(mapping, Mapping):
            raise DataError(f"{argument} must be a mapping from names of simple models, as in {{'pca': …}}.")
    if unknown := [name for name in thresholds or {} if name not in (given or {})]:
        raise DataError(f"thresholds names {unknown[0]!r}, which is none of the baselines.")
    if not given:
        return _default_baselines(ours, seed)
    found, remarks = {}, []
    for name, said in given.items():
        if str(name) == MODEL:
            raise DataError(f"A baseline cannot be called {MODEL!r}, which is a name the report uses itself.")
        argument = f"baselines[{name!r}]"
        scores = _scores(layout, said, argument, [len(series.truth) for series in ours])
        limits = _thresholds(layout, (thresholds or {}).get(name), f"thresholds[{name!r}]")
        filled = [_filled(score, series.scored) for score, series in zip(scores, ours, strict=True)]
        parts = zip(ours, filled, limits, strict=True)
        found[str(name)] = tuple(replace(series, score=score, threshold=limit) for series, score, limit in parts)
        if gaps := sum(int((np.isnan(score) & series.scored).sum()) for score, series in zip(scores, ours, strict=True)):
            remarks.append(
                f"{str(name)!r} has no score at {gaps:,} points that this model scores; they count as its lowest score."
            )
    return found, tuple(remarks)


def _filled(score: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the scores at the points the model itself can score, with the lowest where there is none."""
    lowest = np.nan if np.isnan(score).all() else np.nanmin(score)
    return np.where(wanted, np.where(np.isnan(score), np.nan_to_num(lowest), score), np.nan)


def _default_baselines(ours: tuple[Series, ...], seed: int) -> tuple[dict[str, tuple[Series, ...]], tuple[str, ...]]:
    rng = np.random.default_rng(seed)
    drawn = tuple(_random(series, rng) for series in ours)
    flat = tuple(replace(each, score=np.where(each.scored, 0.0, np.nan), threshold=_if(each, -1.0)) for each in ours)
    often = " and alarms at about as many points as this model" if ours[0].threshold is not None else ""
    remark = (
        f"No baseline was given; {RANDOM!r} knows nothing{often}, and {ALWAYS!r} gives every point one score, so that its "
        "pr_auc is the share of anomalous points."
    )
    return {RANDOM: drawn, ALWAYS: flat}, (remark,)


def _random(series: Series, rng: np.random.Generator) -> Series:
    """Return the series with random scores, of which as many are alarms as the model raises."""
    score = np.where(series.scored, rng.random(len(series.score)), np.nan)
    share = series.alarm.sum() / max(1, series.scored.sum())
    return replace(series, score=score, threshold=_if(series, 1 - float(share)))


def _if(series: Series, threshold: float) -> float | None:
    return None if series.threshold is None else threshold
