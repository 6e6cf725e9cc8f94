"""Reading time series: frames, arrays, lists and dicts become float arrays on a regular grid, and results go out in kind.

What can be repaired safely is repaired and noted (missing time stamps become empty rows); what cannot raises a DataError that
names the series, the stamp and the row. Nothing of the user's is modified, and arrays are used where they lie, without a copy.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from pipelines.checks import did_you_mean
from pipelines.errors import DataError

from .frequency import Grid, calendar, calendar_names, dense, describe, family, find, infer, usual

__all__ = ["Form", "Series", "calendar", "calendar_names", "future_index", "infer", "read", "read_future"]

Name = str | int
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty")
_DATE = re.compile(r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2})|\d{4}-\d{2})(\D|$)")


# ---------------------------------------------------------------- what others work with
@dataclass(frozen=True, eq=False)
class Series:
    """One series on a regular grid.

    Parameters
    ----------
    name : str, int or None
        The key of a dict, the id in a long frame, otherwise None.
    values : ndarray
        (T, variables), floats, NaN where a value is missing; the user's own memory where nothing had to be repaired.
    index : DatetimeIndex, PeriodIndex, RangeIndex or None
        The regular stamps; None for arrays.
    known : ndarray or None
        (T, known columns), floats, all finite; None where no columns are known in advance.
    freq : str or None
        The frequency of the stamps as pandas writes it; None where there is no time.
    """

    name: Name | None
    values: np.ndarray
    index: pd.Index | None = None
    known: np.ndarray | None = None
    freq: str | None = None

    def tail(self, rows: int) -> "Series":
        """Return the last `rows` rows as views."""
        start = max(len(self.values) - rows, 0)
        index = None if self.index is None else self.index[start:]
        known = None if self.known is None else self.known[start:]
        return dataclasses.replace(self, values=self.values[start:], index=index, known=known)

    def facts(self) -> dict[str, Any]:
        """Return what is not an array as plain JSON values, for `from_facts`."""
        return {"name": self.name, "freq": self.freq, "index": None if self.index is None else _index_facts(self.index)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], values: np.ndarray, known: np.ndarray | None = None) -> "Series":
        """Return a series with an index as long as `values` that ends where the one did whose `facts` these are.

        Examples
        --------
        >>> series = read(pd.Series([1.0, 2.0, 4.0], pd.date_range("2024-01-31", periods=3, freq="ME")))[0][0]
        >>> Series.from_facts(series.facts(), np.zeros((2, 1))).index.strftime("%d %b").tolist()
        ['29 Feb', '31 Mar']
        """
        index = None if facts["index"] is None else _index_from(facts["index"], facts["freq"], len(values))
        return cls(facts["name"], values, index, known, facts["freq"])


@dataclass(frozen=True)
class Form:
    """How input looked, so that results go out in kind and later input can be compared with it.

    Parameters
    ----------
    container : {"one", "list", "dict", "block", "long"}
        One series or how several came.
    entry : {"flat", "table", "series", "frame"}
        What a series was: values `(T,)`, an array `(T, C)`, a pandas Series, a DataFrame.
    columns : tuple of str or int
        The columns used, in the order of the input; the positions where they have no names.
    variables, known, ignored : tuple of str or int
        Those to forecast, those known in advance, and those not used.
    labels : tuple of str, int or None
        The name of each pandas Series.
    index : {"time", "period", "row", None}
        The kind of index.
    freq : str or None
        The frequency, as pandas writes it; None where there is no time.
    tz : str or None
        The time zone.
    series_id, time : str, int or None
        The columns with the ids and the time stamps of a long frame; `time` is None where the index holds them.
    """

    container: str
    entry: str
    columns: tuple[Name, ...]
    variables: tuple[Name, ...]
    known: tuple[Name, ...] = ()
    ignored: tuple[Name, ...] = ()
    labels: tuple[Name | None, ...] = ()
    index: str | None = None
    freq: str | None = None
    tz: str | None = None
    series_id: Name | None = None
    time: Name | None = None

    @property
    def named(self) -> bool:
        """Whether columns go by name rather than by position."""
        return self.entry == "frame"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "Form":
        """Return the form whose `to_dict` this was.

        Examples
        --------
        >>> form = read(np.zeros((5, 2)))[1]
        >>> Form.from_dict(form.to_dict()) == form
        True
        """
        plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
        return cls(**plain)

    def wrap(
        self,
        forecasts: Sequence[np.ndarray],
        series: Sequence[Series],
        quantiles: Mapping[float, Sequence[np.ndarray]] | None = None,
    ) -> Any:
        """Return forecasts in the kind of the input.

        Parameters
        ----------
        forecasts : sequence of ndarray
            (horizon, variables) of each series.
        series : sequence of Series
            Those continued, in the same order.
        quantiles : dict, optional
            Level to such a sequence. Frames get columns such as "load_q0.1" after each variable, arrays one more axis: the
            forecast, then the levels from low to high.

        Returns
        -------
        Series, DataFrame, ndarray, list or dict
            As the input was; indices continue.

        Examples
        --------
        >>> load = pd.Series([1.0, 2.0, 3.0], pd.date_range("2024-01-01", periods=3, freq="D"), name="load")
        >>> series, form, _ = read(load)
        >>> form.wrap([np.array([[4.0], [5.0]])], series)
        2024-01-04    4.0
        2024-01-05    5.0
        Freq: D, Name: load, dtype: float64
        """
        levels = sorted(quantiles or {})
        layers = [forecasts, *(quantiles[level] for level in levels)] if quantiles else [forecasts]
        blocks = [np.stack([np.asarray(layer[i], dtype=np.float64) for layer in layers], 2) for i in range(len(series))]
        if self.container == "long":
            return self._long(blocks, series, levels)
        out = [self._entry(block, one, i, levels) for i, (block, one) in enumerate(zip(blocks, series, strict=True))]
        if self.container == "one":
            return out[0]
        if self.container == "block":
            return np.stack(out)
        return out if self.container == "list" else dict(zip([one.name for one in series], out, strict=True))

    def _entry(self, block: np.ndarray, series: Series, place: int, levels: Sequence[float]) -> Any:
        if self.entry == "flat":
            return block[:, 0] if levels else block[:, 0, 0]
        if self.entry == "table":
            return block if levels else block[:, :, 0]
        index = future_index(series, len(block))
        if self.entry == "frame":
            return self._frame(block, index, levels)
        label = self.labels[place]
        if not levels:
            return pd.Series(block[:, 0, 0], index, name=label)
        return pd.DataFrame(block[:, 0], index, columns=_with_levels(["value" if label is None else label], levels))

    def _frame(self, block: np.ndarray, index: pd.Index | None, levels: Sequence[float]) -> pd.DataFrame:
        names = [name for name in self.columns if name in self.variables]  # the order of the input, not that of fit
        block = block[:, [self.variables.index(name) for name in names]]
        return pd.DataFrame(block.reshape(len(block), -1), index, columns=_with_levels(names, levels))

    def _long(self, blocks: Sequence[np.ndarray], series: Sequence[Series], levels: Sequence[float]) -> pd.DataFrame:
        frame = self._frame(np.concatenate(blocks), None, levels)
        sizes = [len(block) for block in blocks]
        if self.index is not None:
            stamps = [future_index(one, size) for one, size in zip(series, sizes, strict=True)]
            times = pd.Index(stamps[0]).append(stamps[1:])
            if self.time is None:
                frame.index = times
            else:
                frame.insert(0, self.time, times, allow_duplicates=True)
        ids = pd.Index([one.name for one in series])
        frame.insert(0, self.series_id, ids.repeat(sizes), allow_duplicates=True)
        return frame


def future_index(series: Series, horizon: int) -> pd.Index | None:
    """Return the `horizon` stamps that follow a series; None where it has no index.

    Examples
    --------
    >>> series = read(pd.Series([1.0, 2.0, 4.0], pd.date_range("2024-01-31", periods=3, freq="ME")))[0][0]
    >>> future_index(series, 2)
    DatetimeIndex(['2024-04-30', '2024-05-31'], dtype='datetime64[us]', freq='ME')
    """
    index = series.index
    if index is None:
        return None
    index = _grid(index, series.freq).at(index, np.arange(len(index), len(index) + horizon))
    if not isinstance(index, pd.DatetimeIndex):
        return index
    try:
        return pd.DatetimeIndex(index, freq=getattr(series.index, "freq", None) or series.freq)
    except ValueError:  # a day without midnight, where clocks change then
        return index


def _grid(index: pd.Index, freq: str | None) -> Grid:
    """Return the grid of a regular index."""
    if isinstance(index, pd.DatetimeIndex):
        grid = Grid.parse(freq or "")
        if grid is None:
            raise DataError(f"A series with a DatetimeIndex needs a frequency, but its freq is {freq!r}.")
        return grid
    if isinstance(index, pd.PeriodIndex):
        count = re.match(r"\d*", freq or "")
        return Grid("period", int(count[0] or 1) if count and freq else index.freq.n)
    return Grid("row", index.step)


def _with_levels(names: Sequence[Name], levels: Sequence[float]) -> list[Name]:
    return [column for name in names for column in (name, *(f"{name}_q{level:g}" for level in levels))]


def _index_facts(index: pd.Index) -> dict[str, Any]:
    facts = {"kind": _index_kind(index), "name": _plain_name(index.name) if isinstance(index.name, (str, int)) else None}
    if isinstance(index, pd.DatetimeIndex):
        return facts | {"last": index[-1].isoformat(), "unit": index.unit, "tz": _tz(index)}
    if isinstance(index, pd.PeriodIndex):
        return facts | {"last": int(index.asi8[-1]), "freq": index.freqstr}
    return facts | {"last": int(index[-1]), "step": int(index.step)}


def _index_from(facts: Mapping[str, Any], freq: str | None, rows: int) -> pd.Index:
    back = np.arange(1 - rows, 1)
    if facts["kind"] == "row":
        start = facts["last"] - facts["step"] * (rows - 1)
        return pd.RangeIndex(start, start + facts["step"] * rows, facts["step"], name=facts["name"])
    if facts["kind"] == "period":
        last = pd.PeriodIndex.from_ordinals([facts["last"]], freq=facts["freq"], name=facts["name"])
    else:
        last = pd.DatetimeIndex([facts["last"]], name=facts["name"]).as_unit(facts["unit"])
        last = last if facts["tz"] is None else last.tz_convert(facts["tz"])
    return _grid(last, freq).at(last, back)


# ---------------------------------------------------------------- reading
@dataclass(frozen=True)
class _Columns:
    """Which columns of a table are used, and how."""

    columns: tuple[Name, ...]
    variables: tuple[Name, ...]
    known: tuple[Name, ...] = ()
    ignored: tuple[Name, ...] = ()


@dataclass(frozen=True, eq=False)
class _Table:
    """One series as it came, before its stamps were looked at."""

    who: str
    name: Name | None
    values: np.ndarray
    known: np.ndarray | None
    index: pd.Index | None
    label: Name | None = None
    rows: np.ndarray | None = None  # where the rows stood in a long frame

    def place(self, i: int) -> str:
        """Name a row by its number in the user's data."""
        return f"row {i if self.rows is None else int(self.rows[i])}"

    def row(self, i: int) -> str:
        """Name a row by its stamp, too, where it has one."""
        if not isinstance(self.index, (pd.DatetimeIndex, pd.PeriodIndex)):
            return self.place(i)
        return f"{self.place(i)} ({self.index[i]})"


def read(
    X: Any,
    *,
    variables: Sequence[Name] | None = None,
    known: Sequence[Name] | None = None,
    series_id: Name | None = None,
    like: Form | None = None,
) -> tuple[list[Series], Form, list[str]]:
    """Read time series of any kind as float arrays on regular grids.

    Parameters
    ----------
    X : DataFrame, Series, array, list or dict
        One series: a DataFrame (one column a variable) or a Series, with a DatetimeIndex, a PeriodIndex or rows counted from
        0; an array `(T,)` or `(T, variables)`; a list of numbers. Several: an array `(n, T, variables)`, a list or a dict of
        those, of any lengths, or a long DataFrame with a column `series_id`.
    variables : sequence of str or int, optional
        The columns to forecast, by position in an array; None takes all numeric ones that are not in `known`.
    known : sequence of str or int, optional
        The columns known in advance, such as a price or a holiday.
    series_id : str or int, optional
        The column of a long DataFrame that names the series.
    like : Form, optional
        That of the data a model was fitted on; the columns, the time zone and the frequency must then agree with it, and the
        columns are taken from it, and `series_id` where it is not given.

    Returns
    -------
    series : list of Series
        In the order of the input.
    form : Form
        How the input looked.
    notes : list of str
        What was repaired or left out, a sentence each.

    Raises
    ------
    DataError
        For time stamps that are missing too often, unsorted, doubled or irregular, values that are no finite numbers, and
        columns that do not fit; the message names the series, the row and what to do.

    Examples
    --------
    >>> days = pd.date_range("2024-01-01", periods=6, freq="D")
    >>> series, form, notes = read(pd.Series(np.arange(6.0), days, name="load").drop(days[2]))
    >>> series[0].values.ravel().tolist(), form.freq
    ([0.0, 1.0, nan, 3.0, 4.0, 5.0], 'D')
    >>> print(notes[0])
    1 missing time stamp was inserted as an empty row: 2024-01-03 00:00:00.
    """
    series_id = like.series_id if like is not None and series_id is None else series_id
    wanted = _Wanted(_names(variables, "variables"), _names(known, "known"), like)
    if _is_long(X, series_id, like):
        assert series_id is not None
        tables, columns, time, notes = _read_long(X, series_id, wanted)
        container, entry = "long", "frame"
    else:
        container, entry, tables, columns = _read_parts(X, wanted)
        series_id, time, notes = None, None, []
    notes += _ignored_note(columns, wanted)
    _check_kinds(tables, like)
    series, freq, repairs = _regular(tables, like)
    notes += repairs + _missing_notes(tables, columns, container)
    index = tables[0].index
    form = Form(
        container=container,
        entry=entry,
        columns=columns.columns,
        variables=columns.variables,
        known=columns.known,
        ignored=columns.ignored,
        labels=tuple(table.label for table in tables) if entry == "series" else (),
        index=None if index is None else _index_kind(index),
        freq=freq,
        tz=_tz(index),
        series_id=series_id,
        time=time,
    )
    return series, form, notes


@dataclass(frozen=True)
class _Wanted:
    """What was asked for: columns by name, or those of a fitted form."""

    variables: tuple[Name, ...] | None
    known: tuple[Name, ...] | None
    like: Form | None


def _names(names: Sequence[Name] | None, what: str) -> tuple[Name, ...] | None:
    if names is None:
        return None
    if isinstance(names, (str, int, np.integer)):
        raise DataError(f"{what} must be a list of column names, but received {names!r}. Write {what}=[{names!r}].")
    plain = tuple(_plain_name(name) for name in names)
    if len(set(plain)) < len(plain):
        raise DataError(f"{what} names a column twice: {list(plain)}.")
    if not plain and what == "variables":
        raise DataError("variables is empty, so there is nothing to forecast. Name a column, or leave it None for all.")
    return plain


def _plain_name(name: Any) -> Any:
    return name.item() if isinstance(name, np.generic) else name


def _is_long(X: Any, series_id: Name | None, like: Form | None) -> bool:
    if series_id is None:
        return False
    if isinstance(X, pd.DataFrame):
        if series_id in X.columns:
            return True
        if like is None:
            raise DataError(f"X has no column {series_id!r} to name its series.{did_you_mean(series_id, X.columns)}")
    if like is None:
        raise DataError(f"series_id={series_id!r} names a column of a long DataFrame, but X is a {type(X).__name__}.")
    return False


def _ignored_note(columns: _Columns, wanted: _Wanted) -> list[str]:
    if not columns.ignored:
        return []
    shown = _listed(columns.ignored)
    why = "not used by the fitted model" if wanted.like is not None else "neither in variables nor in known"
    return [f"{_count(len(columns.ignored), 'column')} {why} and left out: {shown}."]


def _listed(names: Sequence[Any], most: int = 8) -> str:
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


# ---------------------------------------------------------------- kinds of input
def _read_parts(X: Any, wanted: _Wanted) -> tuple[str, str, list[_Table], _Columns]:
    container, parts = _parts(X)
    kinds = [_kind(sample, who) for _, who, sample in parts]
    other = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        raise DataError(
            f"{parts[0][1]} is {_KINDS[kinds[0]]} and {_lower(parts[other][1])} is {_KINDS[kinds[other]]}. "
            "Give all series as one kind."
        )
    columns: _Columns | None = None
    tables = []
    for name, who, sample in parts:
        columns, table = _table(name, who, sample, kinds[0], wanted, columns)
        tables.append(table)
    assert columns is not None
    if len({table.label for table in tables}) > 1:
        columns = _Columns(("value",), ("value",))  # Series of different names: one variable all the same
    return container, kinds[0], tables, columns


_KINDS = {
    "frame": "a DataFrame",
    "series": "a pandas Series",
    "flat": "a list of numbers or an array (T,)",
    "table": "an array (T, variables)",
}


def _lower(who: str) -> str:
    return who[0].lower() + who[1:] if who.startswith("Series") else who


def _parts(X: Any) -> tuple[str, list[tuple[Name | None, str, Any]]]:
    """Take several series apart; return how they came, and a name, a title and the sample of each."""
    if isinstance(X, Mapping):
        if not X:
            raise DataError("X is an empty dict: there is no series in it.")
        return "dict", [(_series_name(name), f"Series {_plain_name(name)!r}", sample) for name, sample in X.items()]
    if isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1 and len(X) > 0):
        if len(X) == 0:
            raise DataError("X is empty: there is no series in it.")
        if _is_number(X[0]):
            return "one", [(None, "X", X)]
        return "list", [(None, f"Series {i}", sample) for i, sample in enumerate(X)]
    if isinstance(X, (pd.DataFrame, pd.Series)) or not hasattr(X, "__array__"):
        return "one", [(None, "X", X)]
    if getattr(X, "ndim", 0) != 3:
        return "one", [(None, "X", X)]
    block = _as_array(X, "X")
    if 0 in block.shape:
        raise DataError(f"X is an array of shape {block.shape}: there is no value in it.")
    return "block", [(None, f"Series {i}", table) for i, table in enumerate(block)]


def _is_number(value: Any) -> bool:
    return value is None or value is pd.NA or isinstance(value, (Real, Decimal, np.bool))


def _series_name(name: Any) -> Name:
    plain = _plain_name(name)
    if not isinstance(plain, (str, int)):
        raise DataError(f"Series are named by texts or whole numbers, but one is named {plain!r}. Write str(name) instead.")
    return plain


def _kind(sample: Any, who: str) -> str:
    if isinstance(sample, pd.DataFrame):
        return "frame"
    if isinstance(sample, pd.Series):
        return "series"
    if type(sample).__module__.split(".")[0] in ("polars", "pyarrow"):
        raise DataError(f"{who} is a {type(sample).__module__.split('.')[0]} object. Pass it as pandas: X.to_pandas().")
    if isinstance(sample, (list, tuple)):
        if not sample:
            raise DataError(f"{who} has no rows.")
        nested = isinstance(sample[0], (list, tuple, np.ndarray)) and np.ndim(sample[0]) == 1
        if nested or _is_number(sample[0]):
            return "table" if nested else "flat"
    elif hasattr(sample, "__array__") and not isinstance(sample, (pd.Index, np.generic)):
        ndim = getattr(sample, "ndim", -1)
        if ndim in (1, 2):
            return "flat" if ndim == 1 else "table"
        many = " Several series are an array (n, T, variables) or a list of arrays." if ndim > 2 else ""
        raise DataError(f"{who} is an array of {ndim} dimensions; expected (T,) or (T, variables).{many}")
    shown = f", {sample!r}" if isinstance(sample, (str, bytes, int, float)) and len(repr(sample)) < 60 else ""
    loop = hasattr(sample, "__iter__") and not isinstance(sample, (str, bytes, Mapping))
    raise DataError(
        f"{who} is no time series but of type {type(sample).__name__}{shown}. Expected a DataFrame or a Series indexed by time, "
        f"an array (T,) or (T, variables), or a list of numbers.{' Turn it into a list first: list(X).' if loop else ''}"
    )


def _table(
    name: Name | None, who: str, sample: Any, kind: str, wanted: _Wanted, first: _Columns | None
) -> tuple[_Columns, _Table]:
    if kind == "frame":
        return _frame_table(name, who, sample, wanted, first)
    if kind == "series":
        return _series_table(name, who, sample, wanted, first)
    array = _as_array(sample, who)
    array = array[:, None] if array.ndim == 1 else array
    _check_size(array.shape, who)
    columns = first or _positional(array.shape[1], wanted, who)
    if array.shape[1] != len(columns.columns) + len(columns.ignored):
        raise DataError(
            f"{who} has {_count(array.shape[1], 'column')}, but series 0 has {len(columns.columns) + len(columns.ignored)}."
        )
    values, known = (_array_floats(array, part, who) for part in (columns.variables, columns.known))
    table = _Table(who, name, values, known if columns.known else None, None)
    _check_values(table, columns)
    return columns, table


def _as_array(sample: Any, who: str) -> np.ndarray:
    try:
        if isinstance(sample, np.ma.MaskedArray):
            sample = np.ma.filled(sample.astype(np.float64), np.nan)
        array = np.asarray(sample)
        if array.dtype.kind not in "biufO":
            array = np.asarray(sample, dtype=object)
    except Exception as error:  # ragged lists, tensors on a device
        raise DataError(f"{who} cannot be read as an array: {str(error).rstrip('.')}.") from error
    return array


def _check_size(shape: tuple[int, ...], who: str) -> None:
    if shape[0] == 0:
        raise DataError(f"{who} has no rows.")
    if shape[1] == 0:
        raise DataError(f"{who} has no columns.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _frame_table(
    name: Name | None, who: str, frame: pd.DataFrame, wanted: _Wanted, first: _Columns | None
) -> tuple[_Columns, _Table]:
    _check_size(frame.shape, who)
    index = _checked_index(frame.index, who)
    if _index_kind(index) == "row":
        _check_time_is_index(frame, who)
    columns, values, known = _columns_of(frame, who, wanted, first, lambda row: who)
    table = _Table(who, name, values, known, index)
    _check_index(table)
    _check_values(table, columns)
    return columns, table


def _series_table(
    name: Name | None, who: str, column: pd.Series, wanted: _Wanted, first: _Columns | None
) -> tuple[_Columns, _Table]:
    _check_size((len(column), 1), who)
    label = _plain_name(column.name)
    label = label if isinstance(label, (str, int)) else None
    columns = first or _labelled(label, wanted, who)
    index = _checked_index(column.index, who)
    values = _column_floats(column, "value" if label is None else label, lambda row: who)[:, None]
    table = _Table(who, name, values, None, index, label)
    _check_index(table)
    _check_values(table, _Columns((), (label if label is not None else "value",)))
    return columns, table


def _check_time_is_index(frame: pd.DataFrame, who: str) -> None:
    """Raise if a column looks like the time that should be the index."""
    for name, dtype in frame.dtypes.items():
        if dtype.kind in "biufc":
            continue
        column = frame[name]
        if dtype.kind == "M" or isinstance(dtype, pd.PeriodDtype) or _looks_like_dates(column):
            raise DataError(
                f"{who} has its time in the column {name!r}, not in the index. Make it the index: "
                f"df.index = pd.to_datetime(df.pop({name!r})), or read the file with data.series(path, time={name!r}, value=…)."
            )


def _looks_like_dates(column: Any) -> bool:
    if not isinstance(column, pd.Series) or not (column.dtype == object or isinstance(column.dtype, pd.StringDtype)):
        return False
    value = column.iloc[0]
    return hasattr(value, "year") or (isinstance(value, str) and bool(_DATE.match(value)))


# ---------------------------------------------------------------- long frames
def _read_long(frame: pd.DataFrame, series_id: Name, wanted: _Wanted) -> tuple[list[_Table], _Columns, Name | None, list[str]]:
    _check_size(frame.shape, "X")
    _check_names(frame, "X")
    codes, names = _ids(frame, series_id)
    index, time, notes = _long_time(frame, series_id, wanted)
    ids = [_series_name(name) for name in names]
    body = frame.drop(columns=[series_id] if time is None else [series_id, time])
    columns, values, known = _columns_of(body, "X", wanted, None, lambda row: f"Series {ids[codes[row]]!r}")
    order = None
    if (np.diff(codes) < 0).any():
        order = np.argsort(codes, kind="stable")
        values, codes = values[order], codes[order]
        known = None if known is None else known[order]
        index = None if index is None else index[order]
    ends = [*np.flatnonzero(np.diff(codes)) + 1, len(codes)]
    rows = np.arange(len(codes)) if order is None else order
    tables, start = [], 0
    for name, end in zip(ids, ends, strict=True):
        part = slice(start, int(end))
        tables.append(
            _Table(
                f"Series {name!r}",
                name,
                values[part],
                None if known is None else known[part],
                None if index is None else index[part],
                None,
                rows[part],
            )
        )
        start = int(end)
    for table in tables:
        _check_index(table)
        _check_values(table, columns)
    return tables, columns, time, notes


def _ids(frame: pd.DataFrame, series_id: Name) -> tuple[np.ndarray, Any]:
    codes, names = pd.factorize(frame[series_id])
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(f"Row {row} names no series: its {series_id!r} is missing. Drop such rows or give them a name.")
    return codes, names


def _long_time(frame: pd.DataFrame, series_id: Name, wanted: _Wanted) -> tuple[pd.Index | None, Name | None, list[str]]:
    """Find the time of a long frame: its index, its only datetime column, or its only column of ISO 8601 texts."""
    if isinstance(frame.index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return frame.index, None, []
    taken = {series_id, *(wanted.variables or ()), *(wanted.known or ())}
    free = [name for name in frame.columns if name not in taken]
    times = [name for name in free if frame[name].dtype.kind == "M" or isinstance(frame[name].dtype, pd.PeriodDtype)]
    if wanted.like is not None and wanted.like.time in times:
        times = [wanted.like.time]
    if len(times) > 1:
        raise DataError(
            f"X has several columns with time stamps: {_listed(times)}. Set the right one: df.set_index({times[0]!r})."
        )
    if times:
        column = frame[times[0]]
        index = pd.PeriodIndex(column) if isinstance(column.dtype, pd.PeriodDtype) else pd.DatetimeIndex(column)
        return index, times[0], []
    texts = [name for name in free if _looks_like_dates(frame[name])]
    if len(texts) > 1:
        raise DataError(
            f"X has several columns that look like time: {_listed(texts)}. Set the right one: "
            f"df.index = pd.to_datetime(df.pop({texts[0]!r}))."
        )
    if texts:
        note = f"The time stamps were read from the texts in the column {texts[0]!r}."
        return _texts_as_time(frame[texts[0]], texts[0]), texts[0], [note]
    return None, None, []


def _texts_as_time(column: pd.Series, name: Name) -> pd.DatetimeIndex:
    """Read ISO 8601 texts, the only ones whose order of day and month is certain."""
    first = column.iloc[0]
    iso = hasattr(first, "year") or re.match(r"\d{4}-\d\d", first)
    try:
        parsed = pd.to_datetime(column, format="ISO8601", errors="coerce") if iso else None
    except ValueError:  # several offsets from UTC
        parsed = None
    if parsed is None or parsed.dtype.kind != "M":
        raise DataError(
            f"The column {name!r} looks like time, {first!r} for one, but is not plainly ISO 8601 (2024-12-31). Say how to read "
            f"it: df[{name!r}] = pd.to_datetime(df[{name!r}], dayfirst=…, or format=…, or utc=True)."
        )
    if parsed.isna().any():
        row = int(np.flatnonzero(parsed.isna())[0])
        raise DataError(f"Row {row} has no readable time in the column {name!r}: {column.iloc[row]!r}.")
    return pd.DatetimeIndex(parsed)


# ---------------------------------------------------------------- columns
def _check_names(frame: pd.DataFrame, who: str) -> None:
    if frame.columns.nlevels > 1:
        raise DataError(
            f"{who} has column names of {frame.columns.nlevels} levels. Flatten them: df.columns = df.columns.map('_'.join)."
        )
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{who} has the column {twice!r} twice. Drop one: df.loc[:, ~df.columns.duplicated()].")
    for name in frame.columns:
        if not isinstance(name, (str, int, np.integer)):
            raise DataError(f"{who} has a column named {name!r}; names must be texts or whole numbers. Rename it: str(name).")


def _columns_of(
    frame: pd.DataFrame, who: str, wanted: _Wanted, first: _Columns | None, titled: Callable[[int], str]
) -> tuple[_Columns, np.ndarray, np.ndarray | None]:
    """Choose the columns of a frame and return them as floats."""
    _check_names(frame, who)
    columns = _chosen(frame, who, wanted) if first is None else _same_columns(frame, first, who)
    values = _frame_floats(frame, columns.variables, titled)
    known = _frame_floats(frame, columns.known, titled) if columns.known else None
    return first or columns, values, known


def _chosen(frame: pd.DataFrame, who: str, wanted: _Wanted) -> _Columns:
    names = [_plain_name(name) for name in frame.columns]
    if wanted.like is not None:
        return _named_like(frame, names, wanted.like, who)
    known = wanted.known or ()
    _check_there([*known, *(wanted.variables or ())], names, who)
    if wanted.variables is not None:
        variables = wanted.variables
        _check_apart(variables, known)
    else:
        rest = [name for name in names if name not in known]
        others = [name for name in rest if not _is_numeric(frame[name])]
        if others:
            value = frame[others[0]].iloc[0]
            raise DataError(
                f"{who} has {_count(len(others), 'column')} that cannot be forecast as numbers: {_listed(others)} (row 0 of "
                f"{others[0]!r} holds {value!r}). Name those to forecast, variables=[…], or drop the others; if one names the "
                f"series that each row belongs to, say so: series_id={others[0]!r}."
            )
        variables = tuple(rest)
    if not variables:
        raise DataError(f"{who} has no column to forecast: all of {_listed(names)} are known in advance.")
    used = {*variables, *known}
    ignored = tuple(name for name in names if name not in used)
    return _Columns(tuple(name for name in names if name in used), variables, known, ignored)


def _check_there(wanted: Sequence[Name], names: Sequence[Name], who: str) -> None:
    for name in wanted:
        if name not in names:
            raise DataError(f"{who} has no column {name!r}.{did_you_mean(name, names)}")


def _check_apart(variables: Sequence[Name], known: Sequence[Name]) -> None:
    both = [name for name in variables if name in known]
    if both:
        raise DataError(f"The column {both[0]!r} is both in variables and in known; what is known in advance needs no forecast.")


def _is_numeric(column: pd.Series) -> bool:
    kind = column.dtype.kind
    if kind != "O" or isinstance(column.dtype, pd.StringDtype):
        return kind in "biuf"
    if column.dtype != object:
        return bool(pd.api.types.is_numeric_dtype(column.dtype))
    found = pd.api.types.infer_dtype(column, skipna=True)
    return found in _NUMBERS or found.startswith("mixed")  # a text among numbers is named by its row later


def _named_like(frame: pd.DataFrame, names: list[Name], like: Form, who: str) -> _Columns:
    """Choose the columns a model was fitted on: by name where it knows names, otherwise by position."""
    if not like.named and not (like.entry == "series" and like.labels and set(like.labels) == {like.variables[0]}):
        return _by_position(names, like, who)
    _check_there(like.columns, names, who)
    extra = [name for name in names if name not in like.columns]
    new = [name for name in extra if name not in like.ignored]
    if new:
        raise DataError(
            f"{who} has {_count(len(new), 'column')} the model was not fitted on: {_listed(new)}. It knows "
            f"{_listed(like.columns)}; pass these only: X[{list(like.columns)[:8]}]."
        )
    return _Columns(tuple(name for name in names if name in like.columns), like.variables, like.known, tuple(extra))


def _by_position(names: list[Name], like: Form, who: str) -> _Columns:
    """Choose columns by their place among those of the fitted data."""
    by_name = like.entry in ("frame", "series")
    fitted = like.columns if by_name else sorted((*like.columns, *like.ignored), key=int)
    places = {name: i for i, name in enumerate(fitted)}
    if len(names) != len(places):
        columns = f" ({_listed(like.columns)}, in this order)" if like.named else ""
        raise DataError(
            f"{who} has {_count(len(names), 'column')}, but the model was fitted on {_count(len(places), 'column')}{columns}."
        )
    variables, known, ignored = (
        tuple(names[places[name]] for name in part if name in places) for part in (like.variables, like.known, like.ignored)
    )
    used = {*variables, *known}
    return _Columns(tuple(name for name in names if name in used), variables, known, ignored)


def _same_columns(frame: pd.DataFrame, first: _Columns, who: str) -> _Columns:
    """Check that a further frame has the columns of the first one."""
    names = list(frame.columns)
    _check_there(first.columns, names, who)
    new = [name for name in names if name not in first.columns and name not in first.ignored]
    if new:
        count = _count(len(new), "column")
        raise DataError(f"{who} has {count} that the first series has not: {_listed(new)}. Give all series the same columns.")
    return first


def _positional(count: int, wanted: _Wanted, who: str) -> _Columns:
    """Choose the columns of an array."""
    names: list[Name] = list(range(count))
    if wanted.like is not None:
        return _by_position(names, wanted.like, who)
    known = wanted.known or ()
    for name in [*known, *(wanted.variables or ())]:
        if name not in names:
            raise DataError(f"{who} is an array with the columns 0 to {count - 1}; there is no column {name!r}.")
    variables = wanted.variables if wanted.variables is not None else tuple(name for name in names if name not in known)
    _check_apart(variables, known)
    if not variables:
        raise DataError(f"{who} has no column to forecast: all are known in advance.")
    used = {*variables, *known}
    return _Columns(tuple(n for n in names if n in used), variables, known, tuple(n for n in names if n not in used))


def _labelled(label: Name | None, wanted: _Wanted, who: str) -> _Columns:
    """Choose the only column of a pandas Series."""
    name: Name = 0 if label is None else label
    like = wanted.like
    if like is None:
        if wanted.known:
            raise DataError(
                f"{who} is a pandas Series, so it has no column {wanted.known[0]!r} known in advance. Pass a DataFrame."
            )
        if wanted.variables is not None and wanted.variables != (name,):
            raise DataError(f"{who} is a pandas Series named {label!r}, but variables={list(wanted.variables)}.")
        return _Columns((name,), (name,))
    if len(like.columns) != 1 or like.known or (like.entry == "table" and like.ignored):
        count = _count(len(like.columns), "column")
        raise DataError(
            f"{who} is one pandas Series, but the model was fitted on {count}: {_listed(like.columns)}. "
            "Pass a DataFrame or an array with all of them."
        )
    if like.named and isinstance(label, str) and label != like.columns[0]:
        raise DataError(
            f"{who} is a Series named {label!r}, but the model was fitted on {like.columns[0]!r}. Rename it: X.rename(…)."
        )
    return _Columns((name,), (name,))


# ---------------------------------------------------------------- values
def _frame_floats(frame: pd.DataFrame, names: Sequence[Name], titled: Callable[[int], str]) -> np.ndarray:
    """Return columns as `(rows, columns)` floats: the frame's own memory where it holds floats in one piece."""
    places = frame.columns.get_indexer(list(names))
    whole = np.array_equal(places, np.arange(places[0], places[0] + len(places)))
    chosen = frame.iloc[:, places[0] : places[0] + len(places)] if whole else frame.iloc[:, places]
    kinds = set(chosen.dtypes)
    if len(kinds) == 1 and isinstance(dtype := kinds.pop(), np.dtype) and dtype.kind in "biuf":
        return _floats(chosen.to_numpy())
    values = np.empty(chosen.shape)
    for i, name in enumerate(names):
        values[:, i] = _column_floats(chosen.iloc[:, i], name, titled)
    return values


def _array_floats(array: np.ndarray, places: Sequence[Name], who: str) -> np.ndarray:
    if not places:
        return np.empty((len(array), 0))
    first = int(places[0])
    if tuple(places) == tuple(range(first, first + len(places))):
        chosen = array[:, first : first + len(places)]
    else:
        chosen = array[:, [int(place) for place in places]]
    if chosen.dtype != object:
        return _floats(chosen)
    columns = [_column_floats(pd.Series(chosen[:, i]), place, lambda row: who) for i, place in enumerate(places)]
    return np.stack(columns, axis=1)


def _floats(array: np.ndarray) -> np.ndarray:
    """Return float32 and float64 as they are, all other numbers as float64."""
    if array.dtype in (np.float32, np.float64) and array.dtype.isnative:
        return array
    return array.astype(np.float32 if array.dtype in (np.float16, ">f4") else np.float64)


def _column_floats(column: pd.Series, name: Name, titled: Callable[[int], str]) -> np.ndarray:
    """Return one column of whatever dtype as floats.

    Raises
    ------
    DataError
        Naming the first value that is no number, or the dtype.
    """
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return _floats(column.to_numpy())
    if pd.api.types.is_object_dtype(dtype):
        return _object_floats(column, name, titled)
    if pd.api.types.is_numeric_dtype(dtype) and dtype.kind in "biuf":  # pandas' nullable types, pyarrow's, sparse ones
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    value = column.iloc[0]
    hint = f" If these are numbers, convert them: df[{name!r}] = pd.to_numeric(df[{name!r}])." if isinstance(value, str) else ""
    raise DataError(f"{titled(0)} has the dtype {dtype} in column {name!r}, {value!r} in row 0; expected real numbers.{hint}")


def _object_floats(column: pd.Series, name: Name, titled: Callable[[int], str]) -> np.ndarray:
    if pd.api.types.infer_dtype(column, skipna=True) not in _NUMBERS:
        for row, value in enumerate(column):
            if not _is_number(value):
                hint = f" Convert texts with pd.to_numeric(df[{name!r}])." if isinstance(value, str) else ""
                raise DataError(f"{titled(row)} holds {value!r} in row {row}, column {name!r}; expected a number.{hint}")
    try:
        return np.array([np.nan if value is None or value is pd.NA else float(value) for value in column], dtype=np.float64)
    except (OverflowError, ValueError) as error:
        raise DataError(f"{titled(0)} holds a number in column {name!r} that no float can hold: {error}.") from error


def _check_values(table: _Table, columns: _Columns) -> None:
    """Raise for infinite values, for columns without any value, and for gaps in what should be known."""
    for array, names, whole in ((table.values, columns.variables, False), (table.known, columns.known, True)):
        if array is None or _sums_up(array):
            continue
        bad = ~np.isfinite(array) if whole else np.isinf(array)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = array[row, column]
            what = (
                "every value known in advance must be finite" if whole else "expected a finite number, or NaN where it is missing"
            )
            raise DataError(f"{table.who} holds {value} in {table.row(row)}, column {names[column]!r}; {what}.")
        empty = np.isnan(array).all(axis=0)
        if empty.any():
            name = names[int(np.flatnonzero(empty)[0])]
            raise DataError(
                f"{table.who} has no value at all in column {name!r}: every row is NaN. Drop it, or name the variables."
            )


def _sums_up(array: np.ndarray) -> bool:
    """Tell quickly and without further memory whether all values are surely finite."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum()))


def _missing_notes(tables: Sequence[_Table], columns: _Columns, container: str) -> list[str]:
    """Count the NaN values of each variable over all series."""
    counts = np.zeros(len(columns.variables), dtype=np.int64)
    touched = 0
    for table in tables:
        if not _sums_up(table.values):
            missing = np.isnan(table.values).sum(axis=0)
            counts += missing
            touched += bool(missing.any())
    if not touched:
        return []
    shown = ", ".join(f"{columns.variables[i]!r} {counts[i]}" for i in np.flatnonzero(counts)[:8])
    more = f" and {(counts > 0).sum() - 8} more" if (counts > 0).sum() > 8 else ""
    where = "" if container == "one" else f" in {touched} of {len(tables)} series"
    total = _count(int(counts.sum()), "missing value")
    return [f"{total} (NaN){where} {'is' if counts.sum() == 1 else 'are'} filled from earlier ones: {shown}{more}."]


# ---------------------------------------------------------------- time
def _index_kind(index: pd.Index) -> str:
    if isinstance(index, pd.DatetimeIndex):
        return "time"
    return "period" if isinstance(index, pd.PeriodIndex) else "row"


def _tz(index: pd.Index | None) -> str | None:
    zone = getattr(index, "tz", None)
    if zone is None:
        return None
    file = getattr(zone, "_filename", None)  # dateutil's zones do not print as names
    return str(zone) if file is None else "dateutil/" + str(file).split("zoneinfo/")[-1]


def _checked_index(index: pd.Index, who: str) -> pd.Index:
    """Return an index of a kind that can be regular."""
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return index
    if isinstance(index, pd.MultiIndex):
        names = [name for name in index.names if name is not None] or ["…"]
        raise DataError(
            f"{who} has an index of {index.nlevels} levels, {list(index.names)}. Pass a long frame, df.reset_index(), and name "
            f"the column of the series: series_id={names[0]!r}."
        )
    if index.dtype.kind in "iu":
        return index
    first = index[0]
    if isinstance(first, str) or hasattr(first, "year"):
        kind = type(first).__name__
        raise DataError(
            f"{who} has an index of {kind} values, {first!r} for one. Read them: df.index = pd.to_datetime(df.index)."
        )
    raise DataError(
        f"{who} has an index of the dtype {index.dtype}; expected a DatetimeIndex, a PeriodIndex or whole numbers. "
        "Use df.reset_index(drop=True) if the rows simply follow each other."
    )


def _stamps(index: pd.Index) -> np.ndarray:
    return index.asi8 if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)) else index.to_numpy()


def _check_index(table: _Table) -> None:
    """Raise unless the stamps are there, sorted, and each only once."""
    index = table.index
    if index is None or (isinstance(index, pd.RangeIndex) and index.step > 0):
        return
    stamps = _stamps(index)
    steps = np.diff(stamps)
    if index.dtype.kind not in "iu" and bool(index.hasnans):
        here = table.place(int(np.flatnonzero(index.isna())[0]))
        raise DataError(f"{table.who} has no time stamp (NaT) in {here}. Drop such rows: df[df.index.notna()].")
    if (steps > 0).all():
        return
    row = int(np.flatnonzero(steps <= 0)[0]) + 1
    here, hint = table.place(row), _clocks(index, row) or _several(table)
    if steps[row - 1] == 0:
        raise DataError(f"{table.who} has the time stamp {index[row]} twice, the second time in {here}. {_keep_one(table)}{hint}")
    sort = "df.sort_index()" if table.rows is None or index.name is None else f"df.sort_values({index.name!r})"
    raise DataError(
        f"{table.who} is not sorted by time: {index[row]} in {here} comes after {index[row - 1]}. Sort it: {sort}.{hint}"
    )


def _keep_one(table: _Table) -> str:
    if table.rows is not None:
        return "Keep one row of each series and time, with df.drop_duplicates, or average them, with df.groupby."
    return "Keep one of each, df[~df.index.duplicated()], or average them, df.groupby(level=0).mean()."


def _clocks(index: pd.Index, row: int) -> str:
    """Hint at daylight saving where local clock times repeat an hour on a Sunday night."""
    if not isinstance(index, pd.DatetimeIndex) or index.tz is not None or index[row].weekday() != 6 or index[row].hour > 3:
        return ""
    return " If clocks went back then, give the local time its zone: df.tz_localize('Europe/…', ambiguous='infer')."


def _check_kinds(tables: Sequence[_Table], like: Form | None) -> None:
    """Raise unless all series have one kind of index and one time zone, those of the fitted data if both have time."""
    first = tables[0].index
    for table in tables[1:]:
        if (table.index is None) != (first is None) or (first is not None and _index_kind(table.index) != _index_kind(first)):
            kinds = [type(t.index).__name__ for t in (tables[0], table)]
            raise DataError(
                f"{tables[0].who} has a {kinds[0]} and {_lower(table.who)} a {kinds[1]}. Give all series one kind of index."
            )
        if getattr(table.index, "tz", None) is not getattr(first, "tz", None) and _tz(table.index) != _tz(first):
            raise DataError(
                f"{tables[0].who} {_in_zone(_tz(first))} and {_lower(table.who)} {_in_zone(_tz(table.index))}. "
                f"{_to_zone(_tz(table.index), _tz(first))}"
            )
    if like is not None and like.index == "time" and isinstance(first, pd.DatetimeIndex) and _tz(first) != like.tz:
        raise DataError(
            f"{tables[0].who} {_in_zone(_tz(first))}, but the model was fitted on data that {_in_zone(like.tz)}. "
            f"{_to_zone(_tz(first), like.tz)}"
        )


def _several(table: _Table) -> str:
    """Hint at a long frame whose column of names was not named."""
    if table.who != "X" or table.index is None or table.index.is_unique:
        return ""
    return " If the rows belong to several series, name the column that tells them apart: series_id=…."


def _in_zone(zone: str | None) -> str:
    return "has time stamps without a time zone" if zone is None else f"has time stamps in the zone {zone!r}"


def _to_zone(zone: str | None, target: str | None) -> str:
    if zone is None:
        return f"Give it one: df.tz_localize({target!r})."
    return "Drop it: df.tz_localize(None)." if target is None else f"Convert it: df.tz_convert({target!r})."


def _regular(tables: Sequence[_Table], like: Form | None) -> tuple[list[Series], str | None, list[str]]:
    """Place every series on a regular grid; return them, their frequency, and notes of what was inserted."""
    index = tables[0].index
    if index is None:
        return [Series(table.name, table.values, None, table.known) for table in tables], None, []
    hint = like.freq if like is not None and like.index == _index_kind(index) == "time" else None
    longest = max(tables, key=lambda table: len(table.values))
    reference = _grid_of(longest, [hint])
    assert longest.index is not None
    freq = None if reference.unit == "row" else reference.text(longest.index)
    if freq is not None and like is not None and like.freq is not None and family(freq) != family(like.freq):
        raise DataError(f"{longest.who} is {describe(freq)}, but the model was fitted on data that is {describe(like.freq)}.")
    placed: list[Series] = []
    repaired: list[tuple[_Table, Series, np.ndarray]] = []
    seen: tuple[_Table, Series] | None = None
    for table in tables:
        if seen is not None and _same_stamps(table, seen[0]):
            series = Series(table.name, table.values, table.index, table.known, seen[1].freq)
        else:
            series, places = _place(table, longest, freq, [freq, hint])
            if len(series.values) > len(table.values):
                repaired.append((table, series, places))
            else:
                seen = table, series
        placed.append(series)
    return placed, freq, _inserted_note(repaired, len(tables))


def _same_stamps(table: _Table, other: _Table) -> bool:
    """Tell whether two series have equal stamps, as they mostly do: then one look is enough."""
    if table.index is other.index:
        return True
    one, two = table.index, other.index
    if one is None or two is None or len(one) != len(two) or one.dtype != two.dtype or isinstance(one, pd.RangeIndex):
        return False
    return bool(np.array_equal(_stamps(one), _stamps(two)))


def _place(table: _Table, longest: _Table, freq: str | None, hints: Sequence[str | None]) -> tuple[Series, np.ndarray]:
    index = table.index
    assert index is not None
    grid = _grid_of(table, hints)
    text = None if grid.unit == "row" else grid.text(index[:1])
    if text is not None and freq is not None and family(text) != family(freq):
        raise DataError(
            f"{longest.who} is {describe(freq)}, but {_lower(table.who)} is {describe(text)}. "
            "Bring all series to one frequency with df.resample(…), or fit one model for each."
        )
    places = grid.places(index)
    assert places is not None
    rows = int(places[-1]) + 1
    if rows == len(index):
        even = index if grid.unit != "row" or isinstance(index, pd.RangeIndex) else grid.at(index, places)
        return Series(table.name, table.values, even, table.known, text), places
    values = np.full((rows, table.values.shape[1]), np.nan, dtype=table.values.dtype)
    values[places] = table.values
    known = table.known
    if known is not None:  # inserted rows repeat the last known value
        known = known[np.repeat(np.arange(len(places)), np.diff(places, append=rows))]
    return Series(table.name, values, grid.at(index, np.arange(rows)), known, text), places


def _grid_of(table: _Table, hints: Sequence[str | None]) -> Grid:
    """Return the grid of a series: that of the others or of the fitted data where it fits, otherwise its own."""
    index = table.index
    assert index is not None
    expected = [grid for hint in hints if hint and isinstance(index, pd.DatetimeIndex) and (grid := Grid.parse(hint))]
    for grid in expected:
        places = grid.places(index)
        if places is not None and int(places[-1]) + 1 == len(index):
            return grid
    own = find(index)
    if own is not None:
        return own
    for grid in expected:
        if dense(grid.places(index)):
            return grid
    raise DataError(_irregular(table, expected[0].text(index) if expected else None))


def _inserted_note(repaired: Sequence[tuple[_Table, Series, np.ndarray]], of: int) -> list[str]:
    if not repaired:
        return []
    count = sum(len(series.values) - len(table.values) for table, series, _ in repaired)
    table, series, places = repaired[0]
    assert series.index is not None
    first = series.index[int(np.flatnonzero(places != np.arange(len(places)))[0])]
    where = f" in {len(repaired)} of {of} series" if of > 1 else ""
    which = f"the first is {first}" if count > 1 else f"{first}"
    which += f" in {_lower(table.who)}" if of > 1 else ""
    was = "was inserted as an empty row" if count == 1 else "were inserted as empty rows"
    known = "; columns known in advance repeat their last value there" if table.known is not None else ""
    return [f"{_count(count, 'missing time stamp')} {was}{where}: {which}{known}."]


def _irregular(table: _Table, expected: str | None) -> str:
    """Say where the stamps leave the grid they seem to be on, and what to do."""
    index = table.index
    assert index is not None
    if len(index) < 3 and isinstance(index, pd.DatetimeIndex):
        count = _count(len(index), "time stamp")
        if expected is not None:
            return f"{table.who} has {count} from {index[0]}, not {describe(expected)} as the other data is."
        return (
            f"{table.who} has {count}, too few to tell how often values come. Give at least 3, or name the frequency: "
            "df.asfreq('D')."
        )
    steps = np.diff(_stamps(index))
    step = usual(steps)
    off = np.flatnonzero(steps % step)
    row = int(off[0] if len(off) else np.flatnonzero(steps != step)[0]) + 1
    if len(off):
        gap, common = _span(index, int(steps[row - 1])), _span(index, step)
        what = f"{index[row]} in {table.place(row)} comes {gap} after the one before, while {common} is usual"
    else:
        total = int(steps.sum()) // step + 1
        what = f"{total - len(index)} of {total} are missing at steps of {_span(index, step)}, the first after {index[row - 1]}"
    return f"{table.who} has irregular time stamps: {what}. {_regular_hint(index)}"


def _span(index: pd.Index, step: int) -> str:
    if isinstance(index, pd.DatetimeIndex):
        days, time = str(pd.Timedelta(step, index.unit)).split(" days ")
        return time if days == "0" else f"{_count(int(days), 'day')}{'' if time == '00:00:00' else ' ' + time}"
    return f"{_count(step, 'period')} of {index.freqstr!r}" if isinstance(index, pd.PeriodIndex) else f"{step}"


def _regular_hint(index: pd.Index) -> str:
    if not isinstance(index, pd.DatetimeIndex):
        return "Use df.reset_index(drop=True) if the rows simply follow each other."
    months = pd.DatetimeIndex(index).tz_localize(None).to_numpy().astype("M8[M]").astype(np.int64)
    if len(index) > 2 and (np.diff(months) == 1).all():
        return "If there is one value a month, say so: df.index = df.index.to_period('M')."
    seconds = float(np.median(np.diff(index.asi8))) * pd.Timedelta(1, index.unit).total_seconds()
    sizes = {"1D": 86400, "1h": 3600, "15min": 900, "5min": 300, "1min": 60, "1s": 1}
    freq = next((name for name, size in sizes.items() if seconds >= 0.9 * size), "100ms")
    return f"Bring it to a regular step first, for example df.resample({freq!r}).mean()."


# ---------------------------------------------------------------- the future
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
            f"The model was fitted with columns known in advance, {_listed(form.known)}, so it needs them for the next {horizon} "
            f"rows: future={_future_hint(form)}."
        )
    samples = _future_samples(future, form, series)
    return [_future_values(sample, who, one, form, horizon) for (who, sample), one in zip(samples, series, strict=True)]


def _future_hint(form: Form) -> str:
    what = (
        f"a DataFrame with {_listed(form.known)}, indexed by time"
        if form.entry == "frame"
        else f"an array (horizon, {len(form.known)})"
    )
    if form.container == "long":
        return f"a long DataFrame with {form.series_id!r}, the time and {_listed(form.known)}"
    several = {"one": "", "list": "a list with one entry a series: ", "block": "an array or a list, one entry a series: "}
    return several.get(form.container, "a dict of the same names: ") + what


def _future_samples(future: Any, form: Form, series: Sequence[Series]) -> list[tuple[str, Any]]:
    """Return a title and what was given for each series."""
    if form.container == "long" and isinstance(future, pd.DataFrame):
        return _future_long(future, form, series)
    if form.container == "one":
        return [("future", future)]
    if isinstance(future, Mapping):
        given = {_plain_name(name): sample for name, sample in future.items()}
        for one in series:
            if one.name not in given:
                raise DataError(f"future has no entry for series {one.name!r}.{did_you_mean(one.name, given)}")
        return [(f"The future of series {one.name!r}", given[one.name]) for one in series]
    if isinstance(future, pd.DataFrame) or not hasattr(future, "__len__") or isinstance(future, (str, bytes)):
        raise DataError(
            f"There are {len(series)} series, so future must be {_future_hint(form)}; received a {type(future).__name__}."
        )
    if len(future) != len(series):
        raise DataError(
            f"There are {len(series)} series, but future has {_count(len(future), 'entry').replace('entrys', 'entries')}."
        )
    return [(f"The future of series {i if one.name is None else repr(one.name)}", future[i]) for i, one in enumerate(series)]


def _future_long(future: pd.DataFrame, form: Form, series: Sequence[Series]) -> list[tuple[str, Any]]:
    assert form.series_id is not None
    if form.series_id not in future.columns:
        raise DataError(
            f"future has no column {form.series_id!r} to name its series.{did_you_mean(form.series_id, future.columns)}"
        )
    _check_size(future.shape, "future")
    codes, names = _ids(future, form.series_id)
    index, time, _ = _long_time(future, form.series_id, _Wanted(form.variables, form.known, None))
    body = future.drop(columns=[form.series_id] if time is None else [form.series_id, time])
    body = body.reset_index(drop=True) if index is None else body.set_axis(index, axis=0)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    given = {_plain_name(name): order[starts[i] : starts[i + 1]] for i, name in enumerate(names)}
    for one in series:
        if one.name not in given:
            raise DataError(f"future has no rows of series {one.name!r}.{did_you_mean(one.name, given)}")
    return [(f"The future of series {one.name!r}", body.iloc[given[one.name]]) for one in series]


def _future_values(sample: Any, who: str, series: Series, form: Form, horizon: int) -> np.ndarray:
    """Return the first `horizon` rows of the known columns of one series."""
    kind = _kind(sample, who)
    if kind in ("frame", "series"):
        index = sample.index
        names = form.known if kind == "series" else _known_names(sample, form, who)
        frame = sample.to_frame(form.known[0]) if kind == "series" else sample
        _check_known_count(frame.shape[1] if kind == "series" else len(names), form, who)
        array = None
    else:
        index, array = None, _as_array(sample, who)
        array = array[:, None] if array.ndim == 1 else array
        _check_known_count(array.shape[1], form, who)
    rows = len(sample)
    if index is not None:
        _check_next(index, who, series, min(horizon, rows))
    if rows < horizon:
        raise DataError(
            f"{who} has {_count(rows, 'row')}, but the horizon is {horizon}. Give the known columns for each of its rows."
        )
    if array is not None:
        values = _array_floats(array[:horizon], tuple(range(len(form.known))), who)
    else:
        values = _frame_floats(frame.iloc[:horizon], names, lambda row: who)
    known = tuple(form.known)
    _check_values(
        _Table(who, None, np.zeros((1, 0)), values, None if index is None else index[:horizon]), _Columns((), (), known)
    )
    return values


def _known_names(frame: pd.DataFrame, form: Form, who: str) -> tuple[Name, ...]:
    _check_names(frame, who)
    if not form.named and frame.shape[1] == len(form.known):
        return tuple(frame.columns)
    _check_there(form.known, list(frame.columns), who)
    return form.known


def _check_known_count(count: int, form: Form, who: str) -> None:
    if count != len(form.known):
        raise DataError(f"{who} has {_count(count, 'column')}, but known in advance are {_listed(form.known)}.")


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
    if _tz(index) != _tz(expected):
        raise DataError(
            f"{who} {_in_zone(_tz(index))}, but the series {_in_zone(_tz(expected))}. {_to_zone(_tz(index), _tz(expected))}"
        )
    if isinstance(index, pd.PeriodIndex) and index.dtype != expected.dtype:
        raise DataError(f"{who} has periods of {index.freqstr!r}, but the series has periods of {expected.freqstr!r}.")
    wrong = np.flatnonzero(np.asarray(index[:rows] != expected))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{who} has {index[row]} in row {row}, but {expected[row]} is next after the series. Give exactly the next stamps."
        )
