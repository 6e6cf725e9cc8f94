"""Values of any dtype become float arrays, without a copy where they are floats; what is no number is named by its row."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import DataError

from .series import Name

__all__ = ["array_floats", "column_floats", "frame_floats", "is_number", "is_numeric", "sums_up"]

_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty")


def frame_floats(frame: pd.DataFrame, names: Sequence[Name], titled: Callable[[int], str]) -> np.ndarray:
    """Return columns as `(rows, columns)` floats: the frame's own memory where it holds floats in one piece."""
    places = frame.columns.get_indexer(list(names))
    whole = np.array_equal(places, np.arange(places[0], places[0] + len(places)))
    chosen = frame.iloc[:, places[0] : places[0] + len(places)] if whole else frame.iloc[:, places]
    kinds = set(chosen.dtypes)
    if len(kinds) == 1 and isinstance(dtype := kinds.pop(), np.dtype) and dtype.kind in "biuf":
        return _floats(chosen.to_numpy())
    values = np.empty(chosen.shape)
    for i, name in enumerate(names):
        values[:, i] = column_floats(chosen.iloc[:, i], name, titled)
    return values


def array_floats(array: np.ndarray, places: Sequence[Name], who: str) -> np.ndarray:
    """Return columns of an array as floats: a view where it holds floats and they lie side by side."""
    if not places:
        return np.empty((len(array), 0))
    first = int(places[0])
    if tuple(places) == tuple(range(first, first + len(places))):
        chosen = array[:, first : first + len(places)]
    else:
        chosen = array[:, [int(place) for place in places]]
    if chosen.dtype != object:
        return _floats(chosen)
    columns = [column_floats(pd.Series(chosen[:, i]), place, lambda row: who) for i, place in enumerate(places)]
    return np.stack(columns, axis=1)


def _floats(array: np.ndarray) -> np.ndarray:
    """Return float32 and float64 as they are, all other numbers as float64."""
    if array.dtype in (np.float32, np.float64) and array.dtype.isnative:
        return array
    return array.astype(np.float32 if array.dtype in (np.float16, ">f4") else np.float64)


def column_floats(column: pd.Series, name: Name, titled: Callable[[int], str]) -> np.ndarray:
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
            if not is_number(value):
                hint = f" Convert texts with pd.to_numeric(df[{name!r}])." if isinstance(value, str) else ""
                raise DataError(f"{titled(row)} holds {value!r} in row {row}, column {name!r}; expected a number.{hint}")
    try:
        return np.array([np.nan if value is None or value is pd.NA else float(value) for value in column], dtype=np.float64)
    except (OverflowError, ValueError) as error:
        raise DataError(f"{titled(0)} holds a number in column {name!r} that no float can hold: {error}.") from error


def sums_up(array: np.ndarray) -> bool:
    """Tell quickly and without further memory whether all values are surely finite."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum()))


def is_number(value: Any) -> bool:
    """Tell a number, or the mark of a missing one, from anything else."""
    return value is None or value is pd.NA or isinstance(value, (Real, Decimal, np.bool))


def is_numeric(column: pd.Series) -> bool:
    """Tell a column that can be read as numbers from one of texts, dates or classes."""
    kind = column.dtype.kind
    if kind != "O" or isinstance(column.dtype, pd.StringDtype):
        return kind in "biuf"
    if column.dtype != object:
        return bool(pd.api.types.is_numeric_dtype(column.dtype))
    found = pd.api.types.infer_dtype(column, skipna=True)
    return found in _NUMBERS or found.startswith("mixed")  # a text among numbers is named by its row later
