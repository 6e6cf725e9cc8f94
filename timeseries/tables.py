"""A series as it came, before its stamps were looked at, and the choice of its columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.checks import did_you_mean
from pipelines.errors import DataError

from .series import Form, Name, plain_name
from .values import frame_floats, is_numeric, sums_up

__all__ = [
    "Columns", "Table", "Wanted", "array_columns", "check_names", "check_size", "check_there", "check_values", "frame_columns",
    "ignored_note", "listed", "lowered", "missing_notes", "plural", "series_columns", "series_name",
]  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are used, and how."""

    columns: tuple[Name, ...]
    variables: tuple[Name, ...]
    known: tuple[Name, ...] = ()
    ignored: tuple[Name, ...] = ()

    @classmethod
    def among(cls, names: Sequence[Name], variables: tuple[Name, ...], known: tuple[Name, ...]) -> "Columns":
        """Return the columns used in the order of `names`; all others are ignored."""
        used = {*variables, *known}
        return cls(
            tuple(name for name in names if name in used), variables, known, tuple(name for name in names if name not in used)
        )


@dataclass(frozen=True, eq=False)
class Table:
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


@dataclass(frozen=True)
class Wanted:
    """What was asked for: columns by name, or those of a fitted form."""

    variables: tuple[Name, ...] | None
    known: tuple[Name, ...] | None
    like: Form | None

    @classmethod
    def of(cls, variables: Sequence[Name] | None, known: Sequence[Name] | None, like: Form | None) -> "Wanted":
        """Check the names that a user gave."""
        return cls(_names(variables, "variables"), _names(known, "known"), like)


def _names(names: Sequence[Name] | None, what: str) -> tuple[Name, ...] | None:
    if names is None:
        return None
    if isinstance(names, (str, int, np.integer)):
        raise DataError(f"{what} must be a list of column names, but received {names!r}. Write {what}=[{names!r}].")
    plain = tuple(plain_name(name) for name in names)
    if len(set(plain)) < len(plain):
        raise DataError(f"{what} names a column twice: {list(plain)}.")
    if not plain and what == "variables":
        raise DataError("variables is empty, so there is nothing to forecast. Name a column, or leave it None for all.")
    return plain


# ---------------------------------------------------------------- checks and words
def series_name(name: Any) -> Name:
    """Check the name of a series."""
    plain = plain_name(name)
    if not isinstance(plain, (str, int)):
        raise DataError(f"Series are named by texts or whole numbers, but one is named {plain!r}. Write str(name) instead.")
    return plain


def check_size(shape: tuple[int, ...], who: str) -> None:
    """Raise unless there are rows and columns."""
    if shape[0] == 0:
        raise DataError(f"{who} has no rows.")
    if shape[1] == 0:
        raise DataError(f"{who} has no columns.")


def plural(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[Any], most: int = 8) -> str:
    """Write names as a list in a sentence, the first few of many."""
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def lowered(who: str) -> str:
    """Write a title such as "Series 3" within a sentence."""
    return who[0].lower() + who[1:] if who.startswith("Series") else who


def check_values(table: Table, columns: Columns) -> None:
    """Raise for infinite values, for columns without any value, and for gaps in what should be known."""
    for array, names, whole in ((table.values, columns.variables, False), (table.known, columns.known, True)):
        if array is None or sums_up(array):
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


def missing_notes(tables: Sequence[Table], columns: Columns, container: str) -> list[str]:
    """Count the NaN values of each variable over all series."""
    counts = np.zeros(len(columns.variables), dtype=np.int64)
    touched = 0
    for table in tables:
        if not sums_up(table.values):
            missing = np.isnan(table.values).sum(axis=0)
            counts += missing
            touched += bool(missing.any())
    if not touched:
        return []
    shown = ", ".join(f"{columns.variables[i]!r} {counts[i]}" for i in np.flatnonzero(counts)[:8])
    more = f" and {(counts > 0).sum() - 8} more" if (counts > 0).sum() > 8 else ""
    where = "" if container == "one" else f" in {touched} of {len(tables)} series"
    total = plural(int(counts.sum()), "missing value")
    return [f"{total} (NaN){where} {'is' if counts.sum() == 1 else 'are'} filled in: {shown}{more}."]


def ignored_note(columns: Columns, wanted: Wanted) -> list[str]:
    """Name the columns that are left out."""
    if not columns.ignored:
        return []
    shown = listed(columns.ignored)
    why = "not used by the fitted model" if wanted.like is not None else "neither in variables nor in known"
    return [f"{plural(len(columns.ignored), 'column')} {why} and left out: {shown}."]


# ---------------------------------------------------------------- the choice of columns
def check_names(frame: pd.DataFrame, who: str) -> None:
    """Raise unless the columns have plain names, each only once."""
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


def frame_columns(
    frame: pd.DataFrame, who: str, wanted: Wanted, first: Columns | None, titled: Callable[[int], str]
) -> tuple[Columns, np.ndarray, np.ndarray | None]:
    """Choose the columns of a frame and return them as floats."""
    check_names(frame, who)
    columns = _chosen(frame, who, wanted) if first is None else _same_columns(frame, first, who)
    values = frame_floats(frame, columns.variables, titled)
    known = frame_floats(frame, columns.known, titled) if columns.known else None
    return first or columns, values, known


def _chosen(frame: pd.DataFrame, who: str, wanted: Wanted) -> Columns:
    names = [plain_name(name) for name in frame.columns]
    if wanted.like is not None:
        return _named_like(frame, names, wanted.like, who)
    known = wanted.known or ()
    check_there([*known, *(wanted.variables or ())], names, who)
    if wanted.variables is None:
        others = [name for name in names if name not in known and not is_numeric(frame[name])]
        if others:
            value = frame[others[0]].iloc[0]
            raise DataError(
                f"{who} has {plural(len(others), 'column')} that cannot be forecast as numbers: {listed(others)} (row 0 of "
                f"{others[0]!r} holds {value!r}). Name those to forecast, variables=[…], or drop the others; if one names the "
                f"series that each row belongs to, say so: series_id={others[0]!r}."
            )
    return _as_wanted(names, wanted, who)


def _as_wanted(names: Sequence[Name], wanted: Wanted, who: str) -> Columns:
    known = wanted.known or ()
    variables = tuple(name for name in names if name not in known) if wanted.variables is None else wanted.variables
    both = [name for name in variables if name in known]
    if both:
        raise DataError(f"The column {both[0]!r} is both in variables and in known; what is known in advance needs no forecast.")
    if not variables:
        raise DataError(f"{who} has no column to forecast: all of {listed(names)} are known in advance.")
    return Columns.among(names, variables, known)


def check_there(wanted: Sequence[Name], names: Sequence[Name], who: str) -> None:
    """Raise for the first column that is not there."""
    for name in wanted:
        if name not in names:
            raise DataError(f"{who} has no column {name!r}.{did_you_mean(name, names)}")


def _named_like(frame: pd.DataFrame, names: list[Name], like: Form, who: str) -> Columns:
    """Choose the columns a model was fitted on: by name where it knows names, otherwise by position."""
    if not like.named and not (like.entry == "series" and like.labels and set(like.labels) == {like.variables[0]}):
        return _by_position(names, like, who)
    check_there(like.columns, names, who)
    extra = [name for name in names if name not in like.columns]
    new = [name for name in extra if name not in like.ignored]
    if new:
        raise DataError(
            f"{who} has {plural(len(new), 'column')} the model was not fitted on: {listed(new)}. It knows "
            f"{listed(like.columns)}; pass these only: X[{list(like.columns)[:8]}]."
        )
    return Columns(tuple(name for name in names if name in like.columns), like.variables, like.known, tuple(extra))


def _by_position(names: list[Name], like: Form, who: str) -> Columns:
    """Choose columns by their place among those of the fitted data."""
    by_name = like.entry in ("frame", "series")
    fitted = like.columns if by_name else sorted((*like.columns, *like.ignored), key=int)
    places = {name: i for i, name in enumerate(fitted)}
    if len(names) != len(places):
        columns = f" ({listed(like.columns)}, in this order)" if like.named else ""
        raise DataError(
            f"{who} has {plural(len(names), 'column')}, but the model was fitted on {plural(len(places), 'column')}{columns}."
        )
    variables, known = (tuple(names[places[name]] for name in part) for part in (like.variables, like.known))
    return Columns.among(names, variables, known)


def _same_columns(frame: pd.DataFrame, first: Columns, who: str) -> Columns:
    """Check that a further frame has the columns of the first one."""
    names = list(frame.columns)
    check_there(first.columns, names, who)
    new = [name for name in names if name not in first.columns and name not in first.ignored]
    if new:
        count = plural(len(new), "column")
        raise DataError(f"{who} has {count} that the first series has not: {listed(new)}. Give all series the same columns.")
    return first


def array_columns(count: int, wanted: Wanted, who: str) -> Columns:
    """Choose the columns of an array."""
    names: list[Name] = list(range(count))
    if wanted.like is not None:
        return _by_position(names, wanted.like, who)
    for name in [*(wanted.known or ()), *(wanted.variables or ())]:
        if name not in names:
            raise DataError(f"{who} is an array with the columns 0 to {count - 1}; there is no column {name!r}.")
    return _as_wanted(names, wanted, who)


def series_columns(label: Name | None, wanted: Wanted, who: str) -> Columns:
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
        return Columns((name,), (name,))
    if len(like.columns) != 1 or like.known or (like.entry == "table" and like.ignored):
        count = plural(len(like.columns), "column")
        raise DataError(
            f"{who} is one pandas Series, but the model was fitted on {count}: {listed(like.columns)}. "
            "Pass a DataFrame or an array with all of them."
        )
    if like.named and isinstance(label, str) and label != like.columns[0]:
        raise DataError(
            f"{who} is a Series named {label!r}, but the model was fitted on {like.columns[0]!r}. Rename it: X.rename(…)."
        )
    return Columns((name,), (name,))
