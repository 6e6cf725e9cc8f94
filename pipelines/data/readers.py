"""Four readers: a folder of classes, pairs of files, a table, time series."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..errors import DataError

__all__ = ["files", "folder", "pairs", "series", "table"]

_CLUTTER = {"thumbs.db", "desktop.ini"}
_TABLES: dict[str, Callable[..., pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".tsv": lambda path: pd.read_csv(path, sep="\t"),
    ".json": pd.read_json,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".parquet": pd.read_parquet,
}


def folder(path: str | os.PathLike[str], suffixes: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """Read a folder with one sub-folder per class.

    Parameters
    ----------
    path : path
        The folder. Every file below a sub-folder is a sample of the class named like the sub-folder; hidden files are left out.
    suffixes : sequence of str, optional
        Keep only files that end so, for instance `(".jpg", ".png")`.

    Returns
    -------
    X, y : lists of str
        Paths and class names, sorted.

    Raises
    ------
    DataError
        If the folder is missing, has no sub-folders, or holds no file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (root / name).mkdir(); _ = (root / name / "1.jpg").write_bytes(b"")
    >>> folder(root)[1]
    ['cat', 'dog']
    """
    root = _existing_folder(path)
    classes = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(f"{root} has no sub-folders. Expected one sub-folder per class, each with that class's files.")
    found = [(str(file), c.name) for c in classes for file in _files(c, suffixes)]
    if not found:
        wanted = f"ending in {', '.join(suffixes)} " if suffixes else ""
        raise DataError(f"No file {wanted}was found in the {len(classes)} sub-folders of {root}.")
    return [x for x, _ in found], [y for _, y in found]


def pairs(inputs: str | os.PathLike[str], targets: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """Match the files of two folders by stem: `images/7.jpg` with `masks/7.png`.

    Parameters
    ----------
    inputs, targets : path
        The two folders, searched with their sub-folders.

    Returns
    -------
    X, y : lists of str
        Parallel paths, sorted by stem.

    Raises
    ------
    DataError
        If a folder is missing, a stem occurs twice, or a file has no partner; the message lists them.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("image/7.jpg", "mask/7.png"):
    ...     (root / name).parent.mkdir(); _ = (root / name).write_bytes(b"")
    >>> [pathlib.Path(x).name for x in sum(pairs(root / "image", root / "mask"), [])]
    ['7.jpg', '7.png']
    """
    left, right = (_by_stem(_existing_folder(path)) for path in (inputs, targets))
    lonely = sorted(left.keys() ^ right.keys())
    if lonely:
        shown = ", ".join(str(left.get(stem) or right.get(stem)) for stem in lonely[:5])
        raise DataError(
            f"{len(lonely)} files have no partner with the same stem in the other folder: {shown}"
            f"{', …' if len(lonely) > 5 else ''}. Add the missing files or move these away."
        )
    if not left:
        raise DataError(f"{inputs} and {targets} hold no files to match.")
    stems = sorted(left)
    return [str(left[s]) for s in stems], [str(right[s]) for s in stems]


def table(path: str | os.PathLike[str], *, x: str | Sequence[str], y: str | None = None) -> tuple[Any, list[Any] | None]:
    r"""Read samples and labels from a CSV, TSV, JSON, JSON-lines or Parquet file.

    Parameters
    ----------
    path : path
        The file; its ending says the format.
    x : str or sequence of str
        The column with the samples, or several columns. Cells that are paths relative to the file's folder are completed.
    y : str, optional
        The column with the labels.

    Returns
    -------
    X : list or DataFrame
        A list for one column, a DataFrame for several.
    y : list or None
        The labels.

    Raises
    ------
    DataError
        If the file is missing, empty or unreadable, or a column is not in it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "texts.csv"
    >>> _ = path.write_text("text,label\ngood,1\nbad,0\n")
    >>> table(path, x="text", y="label")
    (['good', 'bad'], [1, 0])
    """
    frame = _read_table(Path(path))
    for name in [x] if isinstance(x, str) else list(x):
        _column(frame, name, path)
    targets = None if y is None else _column(frame, y, path).tolist()
    if not isinstance(x, str):
        return frame[list(x)], targets
    return [_beside(Path(path).parent, cell) for cell in frame[x].tolist()], targets


def series(path: str | os.PathLike[str], *, time: str, value: str | Sequence[str] | None = None) -> tuple[pd.DataFrame, None]:
    r"""Read time series from a table: one row a time, one column a variable.

    Parameters
    ----------
    path : path
        A file as in `table`.
    time : str
        The column with the time stamps, dates or years; it becomes the index, sorted as in the file.
    value : str or sequence of str, optional
        The columns with the values, and with the names of the series where there are several; all others by default.

    Returns
    -------
    X, y : DataFrame, None
        The values with a DatetimeIndex; series have no separate labels.

    Raises
    ------
    DataError
        If the file or a column is missing, or a time stamp cannot be read; the message names the row.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "load.csv"
    >>> _ = path.write_text("day,load\n2024-01-01,3.5\n2024-01-02,4.0\n")
    >>> series(path, time="day", value="load")[0]["load"].tolist()
    [3.5, 4.0]
    """
    frame = _read_table(Path(path))
    stamps = _column(frame, time, path)
    index = _times(stamps, path)
    if value is None:
        value = [name for name in frame.columns if name != time]
    names = [value] if isinstance(value, str) else list(value)
    values = pd.DataFrame({name: _column(frame, name, path).to_numpy() for name in names})
    return values.set_index(index), None


def files(path: str | os.PathLike[str]) -> list[str]:
    """Return the paths of all files below a folder, hidden ones left out, sorted."""
    return [str(file) for file in _files(_existing_folder(path))]


def _existing_folder(path: str | os.PathLike[str]) -> Path:
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"The folder {root} {'is a file' if root.exists() else 'does not exist'}. Check the path.")
    return root


def _files(root: Path, suffixes: Sequence[str] | None = None) -> list[Path]:
    """Return the files below `root`, hidden ones and desktop clutter left out."""

    def wanted(file: Path) -> bool:
        inside = file.relative_to(root).parts
        if any(part.startswith(".") for part in inside) or file.name.lower() in _CLUTTER:
            return False
        return file.is_file() and (suffixes is None or file.suffix.lower() in {s.lower() for s in suffixes})

    return sorted(filter(wanted, root.rglob("*")))


def _by_stem(root: Path) -> dict[str, Path]:
    files = _files(root)
    stems = {file.stem: file for file in files}
    if len(stems) < len(files):
        twice = [stem for stem, count in Counter(f.stem for f in files).items() if count > 1]
        raise DataError(f"Several files in {root} share the stem {twice[0]!r}; each stem may occur once.")
    return stems


def _read_table(path: Path) -> pd.DataFrame:
    if path.suffix.lower() not in _TABLES:
        raise DataError(f"{path} is no table this reader knows; expected a file ending in {', '.join(_TABLES)}.")
    if not path.is_file():
        raise DataError(f"The file {path} does not exist. Check the path.")
    try:
        frame = _TABLES[path.suffix.lower()](path)
    except (ValueError, OSError, UnicodeError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}") from error
    if frame.empty:
        raise DataError(f"{path} holds no rows.")
    return frame


def _column(frame: pd.DataFrame, name: str, path: str | os.PathLike[str]) -> pd.Series:
    if name not in frame.columns:
        raise DataError(f"{path} has no column {name!r}.{checks.did_you_mean(name, frame.columns)}")
    return frame[name]


def _times(stamps: pd.Series, path: str | os.PathLike[str]) -> pd.DatetimeIndex:
    """Read dates, or years; other numbers are refused, as pandas would take them for nanoseconds since 1970."""
    name = stamps.name
    years = stamps.dtype.kind in "iu" and bool(stamps.between(1000, 9999).all())
    if stamps.dtype.kind in "biuf" and not years:
        raise DataError(
            f"The column {name!r} of {path} holds numbers, {stamps.iloc[0]} for one; expected dates such as 2024-12-31, or years."
        )
    try:
        parsed = pd.to_datetime(stamps.astype(str), format="%Y") if years else pd.to_datetime(stamps, errors="coerce")
    except ValueError as error:  # several offsets from UTC
        raise DataError(f"The column {name!r} of {path} cannot be read as time: {error}") from error
    if parsed.isna().any():
        row = int(np.flatnonzero(parsed.isna())[0])
        raise DataError(f"Row {row} of {path} has no readable time in column {name!r}: {stamps.iloc[row]!r}.")
    return pd.DatetimeIndex(parsed, name=name)


def _beside(root: Path, cell: Any) -> Any:
    """Complete a path that is relative to the table's folder; leave every other cell alone."""
    if not isinstance(cell, str) or len(cell) > 1000 or "\n" in cell or "\0" in cell:
        return cell
    return str(root / cell) if not os.path.exists(cell) and (root / cell).is_file() else cell
