"""Tables of patients: what kind each column is, what is left out, and the numbers that networks and trees learn from."""

import datetime
import math
import numbers
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines import checks
from pipelines.errors import DataError, ParameterError

__all__ = ["Encoder", "check_missing", "learn", "learn_kinds", "read", "unseen"]

_MOST_LEVELS = 50  # of a category; more are names, addresses or free text
_FEWEST = 2  # patients with a level that is kept: what one alone has is neither learned nor stored
_ROW_NUMBERS = 20  # whole numbers without a gap in so many rows count the rows
_ID = re.compile(r"(?i:(?:^|[\W_])(?:id|mrn|ssn|uuid)(?:$|[\W_]))|[a-z]I[Dd]$")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([ T].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_WITHOUT = "Leave the column out, or turn it into a number such as an age or the days since another date."

Columns = dict[str, dict[str, Any]]


# ---------------------------------------------------------------- reading
def read(X: Any, missing: Mapping[str, Sequence[Any]] | None, columns: Columns | None = None) -> pd.DataFrame:
    """Bring a table to one form: numbers as floats with NaN, categories as texts with None.

    Parameters
    ----------
    X : DataFrame, sequence of dict, or ndarray (n, d)
        One row a patient.
    missing : mapping of str to sequence, optional
        Values of a column that stand for missing ones.
    columns : dict, optional
        The columns as `learn_kinds` found them; by default all columns, of whatever kind they are.

    Returns
    -------
    DataFrame
        With one row a patient, counted from 0.

    Raises
    ------
    DataError
        If a row is no record, a column is missing or of another kind, or a cell is a date, infinite, or no value at all.

    Examples
    --------
    >>> read([{"age": 63, "sex": "m"}, {"age": 0, "sex": None}], {"age": [0]})["age"].tolist()
    [63.0, nan]
    """
    frame = _frame(X)
    check_missing(missing, frame.columns if columns is None else None)
    names = list(frame.columns) if columns is None else list(columns)
    for name in names:
        if name not in frame.columns:
            raise DataError(f"X has no column {name!r}, which the model learned from.{checks.did_you_mean(name, frame.columns)}")
    found = {}
    for name in names:
        facts = {} if columns is None else columns[name]
        found[name] = _cells(frame[name], name, (missing or {}).get(name, ()), facts.get("kind"))
        _refuse_numbers(found[name], name, facts.get("levels", ()))
    return pd.DataFrame(found)


def check_missing(missing: Any, names: Sequence[str] | None = None) -> None:
    """Raise ParameterError unless `missing` maps names of columns to lists of values."""
    if missing is None:
        return
    if not isinstance(missing, Mapping) or not all(isinstance(values, (list, tuple)) for values in missing.values()):
        raise ParameterError(f"missing must name columns with lists of values, as in {{'glucose': [0]}}, but is {missing!r}.")
    known = list(missing if names is None else names)
    for name in missing:
        if name not in known:
            raise ParameterError(f"missing names the column {name!r}, which X has not.{checks.did_you_mean(name, known)}")


def _frame(X: Any) -> pd.DataFrame:
    if isinstance(X, pd.DataFrame):
        frame = X.reset_index(drop=True)
    elif isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "biuf":
        frame = pd.DataFrame(X)
    else:
        rows = list(X)
        for i, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise DataError(f"Row {i} is {row!r}, no record. Expected a DataFrame, dicts such as {{'age': 63}}, or an array.")
        frame = pd.DataFrame(rows, dtype=object)
    frame.columns = pd.Index([str(name) for name in frame.columns], dtype=object)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"X has several columns called {twice[0]!r}. Give each a name of its own.")
    return frame


def _cells(column: pd.Series, name: str, marks: Sequence[Any], kind: str | None) -> np.ndarray:
    """Return a column as floats or as texts; `kind` is what training found, or None to find it."""
    if column.dtype.kind in "mM" or isinstance(column.dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)):
        raise DataError(f"The column {name!r} holds dates or times, {str(column.iloc[0])!r} for one. {_WITHOUT}")
    coded = isinstance(column.dtype, pd.CategoricalDtype)
    if kind != "category" and pd.api.types.is_numeric_dtype(column.dtype):
        return _numbers(column.to_numpy(dtype=np.float64, na_value=np.nan), name, marks)
    known = {_text(mark) for mark in marks}
    texts = [_text(cell, row, name) for row, cell in enumerate(column.tolist())]
    cells = [None if text in known else text for text in texts]
    values = [None if cell is None else _number(cell) for cell in cells]
    odd = [row for row, (cell, value) in enumerate(zip(cells, values, strict=True)) if cell is not None and value is None]
    if kind is None:
        kind = "category" if odd or coded else "number"
        _refuse_dates(cells, odd, name)
        _refuse_mixture(column, odd, name)
    if kind == "number":
        if odd:
            raise DataError(f"Row {odd[0]} has {cells[odd[0]]!r} in the column {name!r}, which held numbers in training.")
        return _numbers(np.array(values, dtype=np.float64), name, marks)
    return np.array(cells, dtype=object)


def _numbers(values: np.ndarray, name: str, marks: Sequence[Any]) -> np.ndarray:
    known = [_number(text) for text in map(_text, marks) if text is not None]
    values = np.where(np.isin(values, [mark for mark in known if mark is not None]), np.nan, values)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(f"Row {infinite[0]} has an infinite value in the column {name!r}. Write it as missing, or as a number.")
    return values


def _text(cell: Any, row: int = 0, name: str = "") -> str | None:
    """Return one way to write a cell, the same for 1, 1.0 and "1"; None where it is missing."""
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)):
        raise DataError(f"Row {row} has a date or time in the column {name!r}: {str(cell)!r}. {_WITHOUT}")
    if isinstance(cell, (bool, np.bool)):
        return str(int(cell))
    if isinstance(cell, numbers.Real):
        value = float(cell)
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(cell, str):
        return cell.strip() or None
    raise DataError(f"Row {row} has a {type(cell).__name__} in the column {name!r}: {cell!r}. Expected a number or a text.")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _refuse_dates(cells: Sequence[str | None], odd: Sequence[int], name: str) -> None:
    if odd and all(_DATE.fullmatch(cell) for cell in cells if cell is not None):
        raise DataError(f"The column {name!r} holds dates, {cells[odd[0]]!r} for one. {_WITHOUT}")


def _refuse_mixture(column: pd.Series, odd: Sequence[int], name: str) -> None:
    """Refuse numbers beside texts that are none: mostly such a text stands for a missing value."""
    first = next((row for row, cell in enumerate(column) if isinstance(cell, numbers.Real) and not pd.isna(cell)), None)
    if not odd or first is None or isinstance(column.dtype, pd.CategoricalDtype):
        return
    text = str(column.iloc[odd[0]])
    raise DataError(
        f"The column {name!r} mixes numbers and text: row {first} has {column.iloc[first]!r}, row {odd[0]} has {text!r}. If that "
        f"stands for a missing value, say so: missing={{{name!r}: [{text!r}]}}. Otherwise write all of them as text."
    )


def _refuse_numbers(cells: np.ndarray, name: str, levels: Sequence[str]) -> None:
    """Refuse numbers alone where training had words alone: another coding, all of which would count as missing."""
    there = [cell for cell in cells.tolist() if cell is not None] if levels else []
    if there and not any(_number(level) is not None for level in levels) and all(_number(cell) is not None for cell in there):
        raise DataError(
            f"The column {name!r} holds numbers, {there[0]} for one, but held texts such as {levels[0]!r} in training."
        )


# ---------------------------------------------------------------- learning
def learn_kinds(frame: pd.DataFrame, codes: Sequence[str] | None = None) -> tuple[Columns, list[str]]:
    """Decide which columns of `read` are numbers or categories, and which are left out.

    Parameters
    ----------
    frame : DataFrame
        As `read` returns it.
    codes : sequence of str, optional
        Columns whose numbers are codes, and so categories.

    Returns
    -------
    columns, notes : dict and list of str
        The kind of each column that is kept, and a sentence for each that is not.

    Raises
    ------
    DataError, ParameterError
        If no column is left, or `codes` names one that is not there.

    Examples
    --------
    >>> table = read([{"patient_id": f"P{i}", "age": 60 + i % 3} for i in range(6)], None)
    >>> learn_kinds(table)
    ({'age': {'kind': 'number'}}, ["The column 'patient_id' has a different value in every row; it is left out."])
    """
    for name in codes or ():
        if name not in frame.columns:
            raise ParameterError(f"codes names the column {name!r}, which X has not.{checks.did_you_mean(name, frame.columns)}")
    columns: Columns = {}
    notes = []
    for name in frame.columns:
        kind = "number" if frame[name].dtype.kind == "f" and name not in (codes or ()) else "category"
        why = _useless(frame[name].dropna(), name, len(frame), kind)
        if why:
            notes.append(f"The column {name!r} {why}; it is left out.")
        else:
            columns[name] = {"kind": kind}
        notes += _suspicion(frame[name].dropna(), name)
    if not columns:
        raise DataError(f"X has no column to learn from. {' '.join(notes)}")
    return columns, notes


def _useless(there: pd.Series, name: str, rows: int, kind: str) -> str | None:
    """Say why a column is left out, or None."""
    if there.empty:
        return "is empty"
    different = there.nunique()
    if different == 1 and len(there) == rows:
        return "has the same value in every row"
    whole = kind == "category" or bool((there == there.round()).all())
    if different == rows and rows > 1 and (kind == "category" or (whole and (_ID.search(name) or _counts(there)))):
        return "has a different value in every row"
    if whole and different > 2 and _ID.search(name):
        return "tells patients apart, by its name"
    if kind == "category" and different > min(_MOST_LEVELS, len(there) / 2):
        return f"has {different} different texts in {len(there)} rows, too many for categories"
    return None


def _suspicion(there: pd.Series, name: str) -> list[str]:
    """Point at a single text among numbers that are written as texts."""
    odd = {cell for cell in there.tolist() if isinstance(cell, str) and _number(cell) is None}
    if len(odd) != 1 or there.nunique() < 3:
        return []
    (text,) = odd
    return [
        f"All values of the column {name!r} are numbers but {text!r}. If that stands for a missing value, say so: "
        f"missing={{{name!r}: [{text!r}]}}."
    ]


def _counts(there: pd.Series) -> bool:
    """Whether numbers that are all different are those of the rows."""
    return len(there) >= _ROW_NUMBERS and there.max() - there.min() == len(there) - 1


def learn(frame: pd.DataFrame, columns: Columns, groups: Sequence[str] | None = None) -> tuple[Columns, list[str]]:
    """Learn a category's levels, and a number's median and scale, from the rows to learn from.

    The scale is the distance of the quartiles in standard deviations of a normal distribution, which a few extreme values do not
    change.

    Parameters
    ----------
    frame : DataFrame
        As `read` returns it.
    columns : dict
        The kinds, as `learn_kinds` returns them.
    groups : sequence of str, optional
        Each row's patient; levels that one patient alone has, or without groups one row, are not kept.

    Returns
    -------
    columns, notes : dict and list of str
        The columns that something is known of, and a sentence for each other one.

    Examples
    --------
    >>> learn(pd.DataFrame({"sex": list("mfmfx")}), {"sex": {"kind": "category"}})
    ({'sex': {'kind': 'category', 'levels': ['f', 'm']}}, [])
    """
    learned: Columns = {}
    notes = []
    for name, facts in columns.items():
        if facts["kind"] == "number":
            learned[name] = {"kind": "number", **_spread(frame[name].to_numpy(dtype=np.float64))}
            continue
        owners = range(len(frame)) if groups is None else groups
        pairs = set(zip(_as_texts(frame[name]), owners, strict=True))
        counts = Counter(level for level, _ in pairs if level is not None)
        levels = sorted(level for level, count in counts.items() if count >= _FEWEST)
        if levels:
            learned[name] = {"kind": "category", "levels": levels}
        else:
            notes.append(f"The column {name!r} has no value that two patients share; it is left out.")
    if not learned:
        raise DataError(f"X has no column to learn from. {' '.join(notes)}")
    return learned, notes


def _spread(values: np.ndarray) -> dict[str, Any]:
    there = values[~np.isnan(values)]
    if not len(there):  # all of them are in the validation part
        return {"median": 0.0, "scale": 1.0, "gaps": True}
    low, middle, high = np.quantile(there, (0.25, 0.5, 0.75)).tolist()
    scale = (high - low) / 1.349 or float(there.std()) or 1.0
    return {"median": middle, "scale": scale, "gaps": len(there) < len(values)}


def _as_texts(column: pd.Series) -> list[str | None]:
    return [_text(cell) for cell in column.tolist()]


def unseen(frame: pd.DataFrame, columns: Columns) -> dict[str, int]:
    """Count the values of each category that no two training rows had, and so count as missing.

    Examples
    --------
    >>> unseen(pd.DataFrame({"sex": ["m", "x", None]}), {"sex": {"kind": "category", "levels": ["f", "m"]}})
    {'sex': 1}
    """
    counts = {}
    for name, facts in columns.items():
        if facts["kind"] == "category":
            counts[name] = sum(text is not None and text not in facts["levels"] for text in _as_texts(frame[name]))
    return {name: count for name, count in counts.items() if count}


# ---------------------------------------------------------------- encoding
class Encoder:
    """Turn tables that `read` returned into arrays.

    Parameters
    ----------
    columns : dict
        As `learn` returned them.

    Examples
    --------
    >>> columns = {"sex": {"kind": "category", "levels": ["f", "m"]}, "age": {"kind": "number", "median": 60, "scale": 10}}
    >>> Encoder(columns).one_hot(pd.DataFrame({"sex": ["m", None], "age": [70.0, np.nan]})).tolist()
    [[70.0, 0.0, 1.0], [nan, nan, nan]]
    """

    def __init__(self, columns: Columns) -> None:
        self.numbers = {name: facts for name, facts in columns.items() if facts["kind"] == "number"}
        self.levels = {name: facts["levels"] for name, facts in columns.items() if facts["kind"] == "category"}

    def one_hot(self, frame: pd.DataFrame) -> np.ndarray:
        """Return numbers as they are, then a column a level; NaN where the cell is missing, float32 (n, d)."""
        parts = [self._raw(frame)]
        for levels, codes in zip(self.levels.values(), self.codes(frame).T, strict=True):
            hot = np.eye(len(levels) + 1)[codes][:, 1:]
            hot[codes == 0] = np.nan
            parts.append(hot)
        return np.hstack(parts).astype(np.float32)

    def scaled(self, frame: pd.DataFrame) -> np.ndarray:
        """Return numbers around zero, softly limited to 3 either way; NaN where missing, float32 (n, d)."""
        medians = np.array([facts["median"] for facts in self.numbers.values()])
        scales = np.array([facts["scale"] for facts in self.numbers.values()])
        values = (self._raw(frame) - medians) / scales
        return (values / np.sqrt(1 + (values / 3) ** 2)).astype(np.float32)

    def codes(self, frame: pd.DataFrame) -> np.ndarray:
        """Return each category's level, counted from 1; 0 where it is missing or unknown, int64 (n, c)."""
        found = np.zeros((len(frame), len(self.levels)), dtype=np.int64)
        for j, (name, levels) in enumerate(self.levels.items()):
            place = {level: code for code, level in enumerate(levels, 1)}
            found[:, j] = [place.get(text, 0) for text in _as_texts(frame[name])]
        return found

    def linear(self, frame: pd.DataFrame) -> np.ndarray:
        """Return what a logistic regression takes: no NaN, with columns that say where a number was missing."""
        scaled = self.scaled(frame)
        gaps = [j for j, facts in enumerate(self.numbers.values()) if facts["gaps"]]
        hot = [np.eye(len(levels) + 1)[codes] for levels, codes in zip(self.levels.values(), self.codes(frame).T, strict=True)]
        return np.hstack([np.nan_to_num(scaled), np.isnan(scaled[:, gaps]), *hot])

    def _raw(self, frame: pd.DataFrame) -> np.ndarray:
        return frame[list(self.numbers)].to_numpy(dtype=np.float64).reshape(len(frame), len(self.numbers))
