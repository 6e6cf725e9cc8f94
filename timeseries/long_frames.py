"""Long frames: many series one below the other, told apart by a column with their names."""

from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import DataError

from .series import Name
from .stamps import check_index, looks_like_dates, texts_as_time
from .tables import Columns, Table, Wanted, check_names, check_size, check_values, frame_columns, listed, series_name

__all__ = ["ids_of", "read_long", "time_of"]


def read_long(frame: pd.DataFrame, series_id: Name, wanted: Wanted) -> tuple[list[Table], Columns, Name | None, list[str]]:
    """Take a long frame apart; return the series, their columns, the column of the time, and notes."""
    check_size(frame.shape, "X")
    check_names(frame, "X")
    codes, names = ids_of(frame, series_id)
    index, time, notes = time_of(frame, series_id, wanted)
    ids = [series_name(name) for name in names]
    body = frame.drop(columns=[series_id] if time is None else [series_id, time])
    columns, values, known = frame_columns(body, "X", wanted, None, lambda row: f"Series {ids[codes[row]]!r}")
    rows = np.arange(len(codes))
    if (np.diff(codes) < 0).any():  # otherwise the parts are views
        rows = np.argsort(codes, kind="stable")
        values, codes = values[rows], codes[rows]
        known = None if known is None else known[rows]
        index = None if index is None else index[rows]
    tables = []
    for name, start, end in zip(ids, *_bounds(codes), strict=True):
        part = slice(start, end)
        table = Table(
            f"Series {name!r}",
            name,
            values[part],
            None if known is None else known[part],
            None if index is None else index[part],
            rows=rows[part],
        )
        check_index(table)
        check_values(table, columns)
        tables.append(table)
    return tables, columns, time, notes


def _bounds(codes: np.ndarray) -> tuple[list[int], list[int]]:
    """Return where each series starts and ends in sorted codes."""
    changes = (np.flatnonzero(np.diff(codes)) + 1).tolist()
    return [0, *changes], [*changes, len(codes)]


def ids_of(frame: pd.DataFrame, series_id: Name) -> tuple[np.ndarray, Any]:
    """Return which series each row belongs to, as a number, and their names."""
    codes, names = pd.factorize(frame[series_id])
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(f"Row {row} names no series: its {series_id!r} is missing. Drop such rows or give them a name.")
    return codes, names


def time_of(frame: pd.DataFrame, series_id: Name, wanted: Wanted) -> tuple[pd.Index | None, Name | None, list[str]]:
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
            f"X has several columns with time stamps: {listed(times)}. Set the right one: df.set_index({times[0]!r})."
        )
    if times:
        column = frame[times[0]]
        index = pd.PeriodIndex(column) if isinstance(column.dtype, pd.PeriodDtype) else pd.DatetimeIndex(column)
        return index, times[0], []
    texts = [name for name in free if looks_like_dates(frame[name])]
    if len(texts) > 1:
        raise DataError(
            f"X has several columns that look like time: {listed(texts)}. Set the right one: "
            f"df.index = pd.to_datetime(df.pop({texts[0]!r}))."
        )
    if texts:
        note = f"The time stamps were read from the texts in the column {texts[0]!r}."
        return texts_as_time(frame[texts[0]], texts[0]), texts[0], [note]
    return None, None, []
