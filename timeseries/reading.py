"""Reading time series: frames, arrays, lists and dicts become float arrays on a regular grid.

What can be repaired safely is repaired and noted (missing time stamps become empty rows); what cannot raises a DataError that
names the series, the stamp and the row. Nothing of the user's is modified, and arrays are used where they lie, without a copy.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.checks import did_you_mean
from pipelines.errors import DataError

from .long_frames import read_long
from .series import Form, Name, Series, index_kind, plain_name, time_zone
from .stamps import check_index, check_kinds, check_time_is_index, checked_index, regular
from .tables import (
    Columns,
    Table,
    Wanted,
    array_columns,
    check_size,
    check_values,
    frame_columns,
    ignored_note,
    lowered,
    missing_notes,
    plural,
    series_columns,
    series_name,
)  # fmt: skip
from .values import array_floats, column_floats, is_number

__all__ = ["as_array", "kind_of", "read"]

_KINDS = {
    "frame": "a DataFrame",
    "series": "a pandas Series",
    "flat": "a list of numbers or an array (T,)",
    "table": "an array (T, variables)",
}


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
    wanted = Wanted.of(variables, known, like)
    if _is_long(X, series_id, like):
        assert series_id is not None
        tables, columns, time, notes = read_long(X, series_id, wanted)
        container, entry = "long", "frame"
    else:
        container, entry, tables, columns = _read_parts(X, wanted)
        series_id, time, notes = None, None, []
    notes += ignored_note(columns, wanted)
    check_kinds(tables, like)
    series, freq, repairs = regular(tables, like)
    notes += repairs + missing_notes(tables, columns, container)
    index = tables[0].index
    form = Form(
        container=container,
        entry=entry,
        columns=columns.columns,
        variables=columns.variables,
        known=columns.known,
        ignored=columns.ignored,
        labels=tuple(table.label for table in tables) if entry == "series" else (),
        index=None if index is None else index_kind(index),
        freq=freq,
        tz=time_zone(index),
        series_id=series_id,
        time=time,
    )
    return series, form, notes


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


def _read_parts(X: Any, wanted: Wanted) -> tuple[str, str, list[Table], Columns]:
    container, parts = _parts(X)
    kinds = [kind_of(sample, who) for _, who, sample in parts]
    other = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        raise DataError(
            f"{parts[0][1]} is {_KINDS[kinds[0]]} and {lowered(parts[other][1])} is {_KINDS[kinds[other]]}. "
            "Give all series as one kind."
        )
    columns: Columns | None = None
    tables = []
    for name, who, sample in parts:
        columns, table = _table(name, who, sample, kinds[0], wanted, columns)
        tables.append(table)
    assert columns is not None
    if len({table.label for table in tables}) > 1:
        columns = Columns(("value",), ("value",))  # Series of different names: one variable all the same
    return container, kinds[0], tables, columns


def _parts(X: Any) -> tuple[str, list[tuple[Name | None, str, Any]]]:
    """Take several series apart; return how they came, and a name, a title and the sample of each."""
    if isinstance(X, Mapping):
        if not X:
            raise DataError("X is an empty dict: there is no series in it.")
        return "dict", [(series_name(name), f"Series {plain_name(name)!r}", sample) for name, sample in X.items()]
    if isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1 and len(X) > 0):
        if len(X) == 0:
            raise DataError("X is empty: there is no series in it.")
        if is_number(X[0]):
            return "one", [(None, "X", X)]
        return "list", [(None, f"Series {i}", sample) for i, sample in enumerate(X)]
    if not hasattr(X, "__array__") or getattr(X, "ndim", 0) != 3:
        return "one", [(None, "X", X)]
    block = as_array(X, "X")
    if 0 in block.shape:
        raise DataError(f"X is an array of shape {block.shape}: there is no value in it.")
    return "block", [(None, f"Series {i}", table) for i, table in enumerate(block)]


def kind_of(sample: Any, who: str) -> str:
    """Return which of `_KINDS` one series is."""
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
        if nested or is_number(sample[0]):
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


def _table(name: Name | None, who: str, sample: Any, kind: str, wanted: Wanted, first: Columns | None) -> tuple[Columns, Table]:
    if kind == "frame":
        return _frame_table(name, who, sample, wanted, first)
    if kind == "series":
        return _series_table(name, who, sample, wanted, first)
    array = as_array(sample, who)
    array = array[:, None] if array.ndim == 1 else array
    check_size(array.shape, who)
    columns = first or array_columns(array.shape[1], wanted, who)
    if array.shape[1] != len(columns.columns) + len(columns.ignored):
        raise DataError(
            f"{who} has {plural(array.shape[1], 'column')}, but series 0 has {len(columns.columns) + len(columns.ignored)}."
        )
    values, known = (array_floats(array, part, who) for part in (columns.variables, columns.known))
    table = Table(who, name, values, known if columns.known else None, None)
    check_values(table, columns)
    return columns, table


def as_array(sample: Any, who: str) -> np.ndarray:
    """Return an array of numbers or objects."""
    try:
        if isinstance(sample, np.ma.MaskedArray):
            sample = np.ma.filled(sample.astype(np.float64), np.nan)
        array = np.asarray(sample)
        if array.dtype.kind not in "biufO":
            array = np.asarray(sample, dtype=object)
    except Exception as error:  # ragged lists, tensors on a device
        raise DataError(f"{who} cannot be read as an array: {str(error).rstrip('.')}.") from error
    return array


def _frame_table(
    name: Name | None, who: str, frame: pd.DataFrame, wanted: Wanted, first: Columns | None
) -> tuple[Columns, Table]:
    check_size(frame.shape, who)
    index = checked_index(frame.index, who)
    if index_kind(index) == "row":
        check_time_is_index(frame, who)
    columns, values, known = frame_columns(frame, who, wanted, first, lambda row: who)
    table = Table(who, name, values, known, index)
    check_index(table)
    check_values(table, columns)
    return columns, table


def _series_table(name: Name | None, who: str, column: pd.Series, wanted: Wanted, first: Columns | None) -> tuple[Columns, Table]:
    check_size((len(column), 1), who)
    label = plain_name(column.name)
    label = label if isinstance(label, (str, int)) else None
    columns = first or series_columns(label, wanted, who)
    index = checked_index(column.index, who)
    values = column_floats(column, "value" if label is None else label, lambda row: who)[:, None]
    table = Table(who, name, values, None, index, label)
    check_index(table)
    check_values(table, Columns((), (label if label is not None else "value",)))
    return columns, table
