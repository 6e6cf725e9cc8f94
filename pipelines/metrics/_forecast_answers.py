"""The arguments of `metrics.forecasting`, checked and brought into one layout without copying the arrays."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import DataError
from pipelines.metrics._answers import check_groups

__all__ = ["LAST_VALUE", "MODEL", "Forecasts", "check_forecasts", "chunks", "numeric_array"]

MODEL = "this model"
LAST_VALUE = "last value"
_CHUNK = 200_000  # values looked at together: a few arrays of that size stay in a processor's cache
_RESERVED = ("step", "mae", "mse", "rmse", "mape", "smape", "mase", "bias", MODEL)


@dataclass(frozen=True, eq=False)
class Forecasts:
    """What came and what was forecast: ``n`` windows of ``h`` steps of ``c`` variables, as views of the given arrays.

    Parameters
    ----------
    truth, forecast : ndarray, shape (n, h, c)
        Any numeric dtype; ``nan`` in the truth is a value nobody observed.
    variables : tuple
        The ``c`` names.
    quantiles : dict of float to ndarray, shape (n, h, c)
        Level to forecast, in rising order of the levels.
    pairs : dict of str to (float, float)
        ``"80"`` (percent) to the levels at the ends of that interval, in rising order.
    scale : ndarray, shape (1, c) or (n, c), or None
        Denominator of the scaled error.
    baselines : dict of str to ndarray, shape (n, h, c)
        Name to forecast.
    groups : tuple of (list, ndarray of int, shape (n,)) or None
        Distinct names, and which of them each window has.
    times : pandas.Index or None
        Time of each window's first step.
    contexts : ndarray, shape (n, L, c), or None
        What came before each window.
    remarks : tuple of str
        What a reader must know about the baselines.
    """

    truth: np.ndarray
    forecast: np.ndarray
    variables: tuple[Hashable, ...]
    quantiles: dict[float, np.ndarray]
    pairs: dict[str, tuple[float, float]]
    scale: np.ndarray | None
    baselines: dict[str, np.ndarray]
    groups: tuple[list[Hashable], np.ndarray] | None
    times: pd.Index | None
    contexts: np.ndarray | None
    remarks: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of windows."""
        return len(self.truth)

    @property
    def horizon(self) -> int:
        """Number of steps of a window."""
        return self.truth.shape[1]


def check_forecasts(
    y_true: Any,
    y_pred: Any,
    variables: Any = None,
    *,
    quantiles: Any = None,
    scale: Any = None,
    baselines: Any = None,
    groups: Any = None,
    times: Any = None,
    contexts: Any = None,
) -> Forecasts:
    """Check the arguments of `metrics.forecasting` and put them into one layout.

    Parameters
    ----------
    y_true, y_pred, variables, quantiles, scale, baselines, groups, times, contexts
        As described there.

    Returns
    -------
    Forecasts
        The same, checked.

    Raises
    ------
    DataError
        Naming the first window, step and variable that cannot be used.

    Examples
    --------
    >>> found = check_forecasts([[1.0, 2.0]], [[1.5, 2.5]], quantiles={0.9: [[2.0, 3.0]], 0.1: [[1.0, 2.0]]})
    >>> found.truth.shape, found.variables, found.pairs
    ((1, 2, 1), ('value',), {'80': (0.1, 0.9)})
    """
    truth = _windows(y_true, "y_true")
    shape = np.shape(y_true)
    names = _check_variables(variables, truth.shape[2])
    if not _any_observed(truth, names):
        raise DataError("y_true holds no observed value (every one is nan): there is nothing to evaluate.")
    forecast = _like(y_pred, "y_pred", shape, names)
    levels = _check_quantiles(quantiles, shape, names)
    history = _check_contexts(contexts, truth.shape)
    others, remarks = _check_baselines(baselines, shape, names, history)
    return Forecasts(
        truth=truth,
        forecast=forecast,
        variables=names,
        quantiles=levels,
        pairs=_pairs(list(levels)),
        scale=_check_scale(scale, len(truth), names),
        baselines=others,
        groups=None if groups is None else check_groups(groups, len(truth)),
        times=_check_times(times, len(truth)),
        contexts=history,
        remarks=remarks,
    )


def chunks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of windows whose values are few enough to be worked on at once."""
    size = max(1, _CHUNK // max(1, shape[1] * shape[2]))
    for start in range(0, shape[0], size):
        yield slice(start, min(start + size, shape[0]))


def numeric_array(values: Any, name: str) -> np.ndarray:
    """Read anything array-like as an array of numbers, copying only where it must.

    Parameters
    ----------
    values : array-like
        A missing value of pandas or of a masked array becomes ``nan``.
    name : str
        What messages call it.

    Raises
    ------
    DataError
        If it holds anything but numbers, or rows of different lengths.

    Examples
    --------
    >>> numeric_array(pd.Series([1, None], dtype="Int64"), "scores")
    array([ 1., nan])
    """
    try:
        if isinstance(values, pd.DataFrame) or (isinstance(values, pd.Series) and not isinstance(values.dtype, np.dtype)):
            values = values.to_numpy(dtype=float, na_value=np.nan)
        elif isinstance(values, np.ma.MaskedArray):
            values = np.ma.filled(values.astype(float), np.nan)
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = array.astype(float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be read as an array of numbers ({error}).") from error
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} has the dtype {array.dtype}; expected numbers.")
    return array


def _windows(values: Any, name: str) -> np.ndarray:
    array = numeric_array(values, name)
    if array.ndim not in (2, 3):
        raise DataError(
            f"{name} has shape {array.shape}; expected (windows, steps) or (windows, steps, variables). "
            "A single forecast of several steps is y[None, :]."
        )
    if not array.size:
        raise DataError(f"{name} is empty (shape {array.shape}): there is nothing to evaluate.")
    return array if array.ndim == 3 else array[:, :, None]


def _like(values: Any, name: str, shape: tuple[int, ...], variables: tuple[Hashable, ...]) -> np.ndarray:
    array = numeric_array(values, name)
    if array.shape != shape:
        raise DataError(f"{name} has shape {array.shape}, but y_true has shape {shape}; they must be equal.")
    array = array if array.ndim == 3 else array[:, :, None]
    for part in chunks(array.shape):
        if not np.isfinite(array[part]).all():
            _refuse(array, ~np.isfinite(array[part]), part.start, name, variables, "every forecast must be a finite number")
    return array


def _any_observed(truth: np.ndarray, variables: tuple[Hashable, ...]) -> bool:
    seen = False
    for part in chunks(truth.shape):
        if np.isinf(truth[part]).any():
            expected = "give nan for a value that was not observed"
            _refuse(truth, np.isinf(truth[part]), part.start, "y_true", variables, expected)
        seen = seen or not np.isnan(truth[part]).all()
    return seen


def _refuse(array: np.ndarray, bad: np.ndarray, start: int, name: str, variables: tuple[Hashable, ...], expected: str) -> None:
    window, step, variable = (int(i) for i in np.argwhere(bad)[0])
    value = array[start + window, step, variable]
    raise DataError(
        f"{name} is {value} in window {start + window}, step {step + 1} of {array.shape[1]}, "
        f"variable {variables[variable]!r}; {expected}."
    )


def _check_variables(variables: Any, c: int) -> tuple[Hashable, ...]:
    if variables is None:
        return ("value",) if c == 1 else tuple(range(c))
    if isinstance(variables, str) or not hasattr(variables, "__iter__"):
        raise DataError(f"variables must be a sequence of names, not {variables!r}.")
    names = tuple(variables.tolist() if hasattr(variables, "tolist") else variables)
    if len(names) != c:
        raise DataError(f"variables has {len(names)} names, but y_true has {c} variables; give one name each, in order.")
    if len(set(names)) != c:
        raise DataError(f"variables names {next(name for name in names if names.count(name) > 1)!r} more than once.")
    return names


def _check_quantiles(quantiles: Any, shape: tuple[int, ...], variables: tuple[Hashable, ...]) -> dict[float, np.ndarray]:
    if quantiles is None:
        return {}
    if not isinstance(quantiles, Mapping):
        raise DataError("quantiles must be a mapping from levels to arrays, as in {0.1: low, 0.9: high}.")
    for level in quantiles:
        if isinstance(level, bool) or not isinstance(level, int | float | np.number) or not 0 < level < 1:
            raise DataError(f"The quantile level {level!r} is not a number between 0 and 1 (both excluded).")
    levels = sorted(quantiles)
    return {float(q): _like(quantiles[q], f"quantiles[{float(q):g}]", shape, variables) for q in levels}


def _pairs(levels: list[float]) -> dict[str, tuple[float, float]]:
    """Intervals between the levels that are symmetric around one half, the narrowest first."""
    found = {}
    for low in reversed([level for level in levels if level < 0.5]):
        high = [level for level in levels if abs(level - (1 - low)) < 1e-6]
        if high:
            found[f"{round(100 * (1 - 2 * low), 4):g}"] = (low, high[0])
    return found


def _check_scale(scale: Any, n: int, variables: tuple[Hashable, ...]) -> np.ndarray | None:
    if scale is None:
        return None
    array, c = numeric_array(scale, "scale").astype(float), len(variables)
    if array.shape not in ((c,), (n, c)) and not (c == 1 and array.shape in ((), (n,))):
        raise DataError(f"scale has shape {array.shape}; expected {(c,)}, one number a variable, or {(n, c)}, one a window too.")
    array = array.reshape(-1, c)
    bad = np.argwhere((array < 0) | np.isinf(array))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"The scale of variable {variables[column]!r} is {array[row, column]}; "
            "expected a mean absolute error, a finite number of 0 or more."
        )
    return array


def _check_contexts(contexts: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if contexts is None:
        return None
    array = numeric_array(contexts, "contexts")
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[0] != shape[0] or array.shape[2] != shape[2] or not array.shape[1]:
        raise DataError(
            f"contexts has shape {np.shape(contexts)}; expected {shape[0]} windows of one or more earlier steps "
            f"of {shape[2]} {'variable' if shape[2] == 1 else 'variables'}."
        )
    return array


def _check_baselines(
    baselines: Any, shape: tuple[int, ...], variables: tuple[Hashable, ...], contexts: np.ndarray | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    if baselines is not None and not isinstance(baselines, Mapping):
        raise DataError("baselines must be a mapping from names to arrays, as in {'last value': repeated}.")
    if not baselines:
        return _default_baseline(shape, contexts)
    taken = [name for name in baselines if str(name) in _RESERVED or str(name).startswith("coverage_")]
    if taken:
        raise DataError(f"A baseline cannot be called {taken[0]!r}, which is a name the report uses itself.")
    return {str(name): _like(values, f"baselines[{name!r}]", shape, variables) for name, values in baselines.items()}, ()


def _default_baseline(shape: tuple[int, ...], contexts: np.ndarray | None) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    if contexts is None:
        return {}, ("No baseline was given, so nothing here says whether a simple forecast would do as well.",)
    last = _last_observed(contexts)
    if not np.isfinite(last).all():
        return {}, (f"No baseline was given, and {LAST_VALUE!r} is undefined: a context holds no observed value.",)
    repeated = np.broadcast_to(last[:, None, :], (*shape[:2], last.shape[1]))
    return {LAST_VALUE: repeated}, (f"No baseline was given; {LAST_VALUE!r} repeats the last value before each window.",)


def _last_observed(contexts: np.ndarray) -> np.ndarray:
    last = contexts[:, -1].astype(float)
    for window, variable in np.argwhere(np.isnan(last)):
        seen = contexts[window, :, variable]
        seen = seen[~np.isnan(seen)]
        last[window, variable] = seen[-1] if len(seen) else np.nan
    return last


def _check_times(times: Any, n: int) -> pd.Index | None:
    if times is None:
        return None
    if isinstance(times, str) or not hasattr(times, "__iter__"):
        raise DataError(f"times must be a sequence, not {times!r}.")
    try:
        index = pd.Index(times)
    except (TypeError, ValueError) as error:
        raise DataError(f"times cannot be read as one time a window ({error}).") from error
    if len(index) != n:
        raise DataError(f"times has {len(index)} entries, but there are {n} windows; give the time of each window's first step.")
    return index
