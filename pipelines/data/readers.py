"""Seven readers: a folder of classes, pairs of files, a table, texts, recordings, records, time series."""

import csv
import functools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..errors import DataError, ParameterError

__all__ = [
    "AUDIO_SUFFIXES",
    "files",
    "folder",
    "is_table",
    "pairs",
    "read_text",
    "recordings",
    "records",
    "series",
    "table",
    "texts",
]

AUDIO_SUFFIXES = (
    ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".avi", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mkv", ".mov",
    ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".opus", ".ts", ".wav", ".wave", ".webm", ".wma", ".wmv",
)  # fmt: skip
"""Endings of files that can hold speech, in lower case."""

_CURE = "Save it as UTF-8, for instance with: iconv -f latin1 -t utf-8."
_CLUTTER = {"thumbs.db", "desktop.ini"}
# Names of columns with recordings and with what is said in them, as LibriSpeech's kin, Common Voice, NeMo and the Hub call them.
_AUDIO_COLUMNS = ("audio", "file", "path", "filename", "file_name", "audio_path", "audio_file", "audio_filepath", "wav")
_TEXT_COLUMNS = ("text", "transcript", "transcription", "sentence")
# What keeps a text a text: "NA" and "None" are words, 007 is no number; an empty cell is missing all the same.
_AS_WRITTEN = {"keep_default_na": False, "na_values": [""], "low_memory": False}
_ENCLOSED = re.compile(r'(?m)(?:^|(?<=\t))"[^"]*+(?:""[^"]*+)*+"(?=\t|\r?$)')  # a whole cell of a TSV file in quotes


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


def table(path: str | os.PathLike[str], *, x: str | Sequence[str], y: str | Sequence[str] | None = None) -> tuple[Any, Any]:
    r"""Read samples and labels from a CSV, TSV, JSON, JSON-lines or Parquet file.

    Parameters
    ----------
    path : path
        The file; its ending says the format.
    x : str or sequence of str
        The column with the samples, or several columns. Cells that are paths relative to the file's folder are completed; `texts`
        leaves them alone.
    y : str or sequence of str, optional
        The column with the labels, or several columns of 0 and 1, one a label.

    Returns
    -------
    X : list or DataFrame
        A list for one column, a DataFrame for several.
    y : list, DataFrame or None
        The labels, likewise.

    Raises
    ------
    DataError
        If the file is missing, empty or unreadable, or a column is not in it.

    Notes
    -----
    Quotes in a TSV file enclose cells, as spreadsheets write them, only if all of them do. Where they do not, or where the lines
    alone are rows of one width, they are characters like any other, so that none can swallow lines.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "houses.csv"
    >>> _ = path.write_text("rooms,label\n3,1\n2,0\n")
    >>> table(path, x="rooms", y="label")
    ([3, 2], [1, 0])
    """
    frame = _read_table(Path(path))
    X, targets = _columns(frame, x, path), None if y is None else _columns(frame, y, path)
    return [_beside(Path(path).parent, cell) for cell in X] if isinstance(x, str) else X, targets


def texts(
    path: str | os.PathLike[str], *, x: str | Sequence[str] | None = None, y: str | Sequence[str] | None = None
) -> tuple[list[Any], Any]:
    r"""Read texts, or pairs of texts, from a table, or from a folder with one sub-folder per class.

    Parameters
    ----------
    path : path
        A file as in `table`, or a folder as in `folder`, each of whose files is one text in UTF-8.
    x : str or sequence of str, optional
        A table's column with the texts, or two columns with pairs of texts. Cells stay as they are written: "NA" is a word, 007
        no number, and no text becomes a path, even if a file is called like it.
    y : str or sequence of str, optional
        A table's column with the labels, or several columns of 0 and 1, one a label.

    Returns
    -------
    X : list of str, or of pairs of str
        The texts.
    y : list, DataFrame or None
        The labels; those of a folder are the names of the sub-folders.

    Raises
    ------
    DataError
        If something is missing or unreadable: a file, a column, a row's text or label; the message names it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "reviews.csv"
    >>> _ = path.write_text("title,review,label\nNA,good,1\n007,bad,0\n")
    >>> texts(path, x="review", y="label")
    (['good', 'bad'], [1, 0])
    >>> texts(path, x=["title", "review"])
    ([('NA', 'good'), ('007', 'bad')], None)
    """
    if os.path.isdir(path):
        if x is not None or y is not None:
            raise ParameterError(f"{path} is a folder, whose texts and labels are no columns. Leave x and y out.")
        files, classes = folder(path)
        return [read_text(file) for file in files], classes
    names = [x] if isinstance(x, str) else list(x or ())
    if len(names) not in (1, 2):
        raise ParameterError(f"{path} is read as a table: x must be the column with the texts, or two for pairs, but is {x!r}.")
    frame = _read_table(Path(path), names)
    found = [_cells(frame, name, path) for name in names]
    if y is not None:
        _check_labels(frame, [y] if isinstance(y, str) else y, path)
    X: list[Any] = found[0] if len(found) == 1 else list(zip(*found, strict=True))
    return X, None if y is None else _columns(frame, y, path)


def recordings(path: str | os.PathLike[str], *, audio: str | None = None, text: str | None = None) -> tuple[list[str], Any]:
    r"""Read the paths of recordings and what is said in them, from a table or a folder.

    Parameters
    ----------
    path : path
        A file as in `table`, with a row a recording; or a folder, all of whose audio and video files are meant, each with what is
        said in it beside it: `7.flac` and `7.txt`.
    audio : str, optional
        A table's column with the paths, from the table's folder or its sub-folder `clips`; by default the one called audio, file,
        path, filename or the like.
    text : str, optional
        A table's column with the texts, which stay as they are written: "007" and "NA" are words. An empty cell means that nobody
        speaks. By default the one called text, transcript, sentence or the like.

    Returns
    -------
    X : list of str
        Paths of the recordings.
    y : list of str or None
        What is said in each; None where there is no such column or file.

    Raises
    ------
    DataError
        If something is missing or unreadable: a file, a column, a row's path or text; the message names it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (root / "1.wav").write_bytes(b""), (root / "clips.csv").write_text("file,text\n1.wav,007\n1.wav,\n")
    >>> X, y = recordings(root / "clips.csv")
    >>> [pathlib.Path(x).name for x in X], y
    (['1.wav', '1.wav'], ['007', ''])
    """
    if os.path.isdir(path):
        if audio is not None or text is not None:
            raise ParameterError(f"{path} is a folder, whose recordings and texts are no columns. Leave audio and text out.")
        return _recorded(Path(path))
    written = [*([audio] if audio else _AUDIO_COLUMNS), *([text] if text else _TEXT_COLUMNS)]
    frame = _read_table(Path(path), written)
    heard, said = audio or _found(frame, _AUDIO_COLUMNS), text or _found(frame, _TEXT_COLUMNS)
    if heard is None:
        known = ", ".join(map(repr, frame.columns[:20]))
        raise DataError(
            f"None of the columns of {path} is called audio, file or path: name that with the recordings, one of {known}."
        )
    if {heard, said} - {*written, None}:  # called "Text", say
        frame = _read_table(Path(path), [heard, said] if said else [heard])
    X = [_recording(Path(path), row, cell) for row, cell in enumerate(_cells(frame, heard, path, "path"))]
    if said is None:
        return X, None
    if Path(path).suffix.lower() in (".csv", ".tsv"):  # where an empty text looks like a missing one
        frame = frame.assign(**{said: _column(frame, said, path).fillna("")})
    return X, _cells(frame, said, path)


def records(
    path: str | os.PathLike[str], *, y: str | Sequence[str] | None = None, x: Sequence[str] | None = None
) -> tuple[pd.DataFrame, Any]:
    r"""Read records, such as patients, and their labels from a table: one row a record, columns of every kind.

    Parameters
    ----------
    path : path
        A file as in `table`. Empty cells are missing values, and so are NA, null and the like.
    y : str or sequence of str, optional
        The column with the labels, or several columns of 0 and 1, one a label.
    x : sequence of str, optional
        The columns of the records; all others by default.

    Returns
    -------
    X : DataFrame
        The records, with all columns but the labels.
    y : list, DataFrame or None
        The labels.

    Raises
    ------
    DataError
        If the file or a column is missing, a label is, or a column is both.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "patients.csv"
    >>> _ = path.write_text("age,sex,ill\n63,m,1\n41,,0\n")
    >>> X, y = records(path, y="ill")
    >>> X.columns.tolist(), y
    (['age', 'sex'], [1, 0])
    """
    frame = _read_table(Path(path))
    labels = [y] if isinstance(y, str) else list(y or ())
    _check_labels(frame, labels, path)
    names = [name for name in frame.columns if name not in labels] if x is None else list(x)
    both = [name for name in names if name in labels]
    if both or not names:
        what = f"the column {both[0]!r} holds labels" if both else "there is no column besides the labels"
        raise DataError(f"Records cannot be read from {path}: {what}. Name other columns.")
    return _columns(frame, names, path), None if y is None else _columns(frame, y, path)


def _found(frame: pd.DataFrame, known: Sequence[str]) -> str | None:
    """Return the column that is called one of the known names, the first of them that there is."""
    lower = {str(name).strip().lower(): name for name in reversed(list(frame.columns))}
    return next((lower[name] for name in known if name in lower), None)


def _recording(table: Path, row: int, cell: str) -> str:
    """Complete a path that is relative to the table's folder."""
    for file in (table.parent / cell, table.parent / "clips" / cell, Path(cell)):
        if len(cell) < 1000 and "\0" not in cell and file.is_file():
            return str(file)
    raise DataError(f"The recording of row {row} of {table}, {cell!r}, does not exist; paths are meant from {table.parent}.")


def _recorded(root: Path) -> tuple[list[str], Any]:
    """Return the recordings below a folder, with the texts beside them if there are any."""
    found = _files(root, AUDIO_SUFFIXES)
    if not found:
        raise DataError(f"{root} holds no recording, which is a file ending in .wav, .flac, .mp3, .m4a, .mp4 or the like.")
    beside = [file.with_suffix(".txt") for file in found]
    lonely = [file for file, text in zip(found, beside, strict=True) if not text.is_file()]
    if len(lonely) == len(found):
        return list(map(str, found)), None
    if lonely:
        raise DataError(
            f"{len(lonely)} of {len(found)} recordings in {root} have no text beside them, {lonely[0].name} for one. Write what "
            f"is said into {lonely[0].with_suffix('.txt').name}; an empty file says that nobody speaks."
        )
    return list(map(str, found)), [" ".join(read_text(text).split()) for text in beside]


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a file that is one text.

    Raises
    ------
    DataError
        If there is no such file, or it is not in UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}. {_CURE}") from error
    except OSError as error:
        raise DataError(f"The text {path} cannot be read: {error.strerror}. Check the path.") from error


def is_table(path: str | os.PathLike[str]) -> bool:
    """Tell by its ending whether a file is one that `table` reads.

    Examples
    --------
    >>> is_table("reviews.CSV"), is_table("review.txt")
    (True, False)
    """
    return Path(path).suffix.lower() in _TABLES


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


def files(path: str | os.PathLike[str], suffixes: Sequence[str] | None = None) -> list[str]:
    """Return the paths of all files below a folder, or of those with certain endings, hidden ones left out, sorted."""
    return [str(file) for file in _files(_existing_folder(path), suffixes)]


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


def _read_table(path: Path, written: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table; columns of texts as they are written, and no label beside them as missing for being called "NA"."""
    if not is_table(path):
        raise DataError(f"{path} is no table this reader knows; expected a file ending in {', '.join(_TABLES)}.")
    if not path.is_file():
        raise DataError(f"The file {path} does not exist. Check the path.")
    try:
        frame = _TABLES[path.suffix.lower()](path, written)
    except DataError:
        raise
    except (ValueError, OSError, UnicodeError) as error:  # pandas' parser errors are ValueErrors
        cure = f" {_CURE}" if isinstance(error, UnicodeError) else ""
        raise DataError(f"{path} cannot be read as {path.suffix[1:].upper()}: {str(error).rstrip('.')}.{cure}") from error
    if frame.empty:
        raise DataError(f"{path} holds no rows.")
    return frame


def _read_csv(path: Path, written: Sequence[str], **options: Any) -> pd.DataFrame:
    if not written:
        return pd.read_csv(path, **options)
    frame = pd.read_csv(path, dtype=dict.fromkeys(written, str), **_AS_WRITTEN, **options)
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for names of the rows
        raise DataError(
            f"The rows of {path} have more cells than its header has names. Enclose texts that hold a separator in quotes, or "
            "give every column a name."
        )
    return frame


def _read_tsv(path: Path, written: Sequence[str]) -> pd.DataFrame:
    return _read_csv(path, written, sep="\t", quoting=csv.QUOTE_MINIMAL if _encloses(path) else csv.QUOTE_NONE)


def _read_json(path: Path, written: Sequence[str], lines: bool = False) -> pd.DataFrame:
    if not written:
        return pd.read_json(path, lines=lines)
    text = read_text(path)  # pandas' reader makes dates and numbers of what looks like them
    return pd.DataFrame([json.loads(line) for line in text.split("\n") if line.strip()] if lines else json.loads(text))


def _read_parquet(path: Path, written: Sequence[str]) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise ImportError(f"{path} needs pyarrow to be read. Install it with: pip install pyarrow") from error


_TABLES: dict[str, Callable[[Path, Sequence[str]], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".json": _read_json,
    ".jsonl": functools.partial(_read_json, lines=True),
    ".parquet": _read_parquet,
}


def _encloses(path: Path) -> bool:
    """Tell whether quotes enclose cells in a TSV file: if all of them do, and if its lines are no rows of one width without."""
    content = path.read_bytes()
    if b'"' not in content:
        return False
    text = content.decode("utf-8", "replace")
    apart = _ENCLOSED.sub("x", text)
    if '"' in apart:
        return False
    lines, rows = ([line.count("\t") for line in part.split("\n")[1:] if line.strip("\r")] for part in (text, apart))
    return len(set(rows)) < 2 and (len(rows) == len(lines) or len(set(lines)) > 1)


def _column(frame: pd.DataFrame, name: str, path: str | os.PathLike[str]) -> pd.Series:
    if name not in frame.columns:
        raise DataError(f"{path} has no column {name!r}.{checks.did_you_mean(name, frame.columns)}")
    return frame[name]


def _columns(frame: pd.DataFrame, names: str | Sequence[str], path: str | os.PathLike[str]) -> Any:
    """Return a column as a list, several as a DataFrame."""
    if isinstance(names, str):
        return _column(frame, names, path).tolist()
    return pd.DataFrame({name: _column(frame, name, path) for name in names})


def _cells(frame: pd.DataFrame, name: str, path: str | os.PathLike[str], kind: str = "text") -> list[str]:
    """Return a column of texts; the first cell that is none is named by its row."""
    cells = _column(frame, name, path).tolist()
    for row, cell in enumerate(cells):
        if not isinstance(cell, str):
            what = "is empty" if np.ndim(cell) == 0 and pd.isna(cell) else f"is {cell!r}, a {type(cell).__name__}"
            raise DataError(
                f"The {kind} of row {row} of {path}, in the column {name!r}, {what}. Drop the row, or give it a {kind}."
            )
    return cells


def _check_labels(frame: pd.DataFrame, names: Sequence[str], path: str | os.PathLike[str]) -> None:
    for name in names:
        missing = np.flatnonzero(_column(frame, name, path).isna())
        if len(missing):
            raise DataError(f"Row {missing[0]} of {path} has no label in the column {name!r}. Drop the row, or give it one.")


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
