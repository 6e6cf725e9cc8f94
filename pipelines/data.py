"""Four readers that return plain `(X, y)`, a split that does not leak, and `Batches`, the only data class.

There is no dataset object: samples are any indexable sequence, so scikit-learn's own tools work on them as they are.
"""

import hashlib
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import checks
from .errors import DataError

__all__ = [
    "Batches",
    "duplicated",
    "files",
    "fingerprints",
    "folder",
    "pairs",
    "prefetch",
    "series",
    "split",
    "stratified",
    "table",
]

_CLUTTER = {"thumbs.db", "desktop.ini"}
_TABLES: dict[str, Callable[..., pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".tsv": lambda path: pd.read_csv(path, sep="\t"),
    ".json": pd.read_json,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".parquet": pd.read_parquet,
}


# ---------------------------------------------------------------- readers
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
    """Read samples and labels from a CSV, TSV, JSON, JSON-lines or Parquet file.

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
    >>> _ = path.write_text("text,label\\ngood,1\\nbad,0\\n")
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


def series(path: str | os.PathLike[str], *, time: str, value: str | Sequence[str]) -> tuple[pd.DataFrame, None]:
    """Read time series from a table: one row a time, one column a variable.

    Parameters
    ----------
    path : path
        A file as in `table`.
    time : str
        The column with the time stamps; it becomes the index, sorted as in the file.
    value : str or sequence of str
        The columns with the values.

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
    >>> _ = path.write_text("day,load\\n2024-01-01,3.5\\n2024-01-02,4.0\\n")
    >>> series(path, time="day", value="load")[0]["load"].tolist()
    [3.5, 4.0]
    """
    frame = _read_table(Path(path))
    stamps = _column(frame, time, path)
    parsed = pd.to_datetime(stamps, errors="coerce")
    if parsed.isna().any():
        row = int(np.flatnonzero(parsed.isna())[0])
        raise DataError(f"Row {row} of {path} has no readable time in column {time!r}: {stamps.iloc[row]!r}.")
    names = [value] if isinstance(value, str) else list(value)
    values = pd.DataFrame({name: _column(frame, name, path).to_numpy() for name in names})
    return values.set_index(pd.DatetimeIndex(parsed, name=time)), None


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


def _beside(root: Path, cell: Any) -> Any:
    """Complete a path that is relative to the table's folder; leave every other cell alone."""
    if not isinstance(cell, str) or len(cell) > 1000 or "\n" in cell or "\0" in cell:
        return cell
    return str(root / cell) if not os.path.exists(cell) and (root / cell).is_file() else cell


# ---------------------------------------------------------------- split
def split(
    X: Any, y: Any = None, *, test: float = 0.2, groups: Any = None, ordered: bool = False, seed: int = 0
) -> tuple[Any, Any, Any, Any]:
    """Split samples into a training and a test part without leaking one into the other.

    Classes keep their proportions, a class with a single sample stays in the training part, exact duplicates (files of the same
    bytes, equal arrays or texts) stay on one side, and so does every group.

    Parameters
    ----------
    X : sequence
        Samples.
    y : sequence, optional
        Labels.
    test : float
        Share of the test part, between 0 and 1.
    groups : sequence, optional
        One name a sample (a patient, a speaker); all samples of a group stay on one side.
    ordered : bool
        True takes the last samples as the test part and shuffles nothing: for time.
    seed : int
        Seed of the shuffling.

    Returns
    -------
    X, X_test, y, y_test : tuple
        The parts, in kind; the labels are None where `y` is None.

    Raises
    ------
    DataError
        If lengths differ, `groups` has one group only, or a part would be empty.

    Examples
    --------
    >>> X, X_test, y, y_test = split(["a", "b", "c", "d"], [0, 1, 0, 1], test=0.5)
    >>> len(X), sorted(y_test)
    (2, [0, 1])
    """
    from sklearn.utils import _safe_indexing

    checks.samples(X, y)
    checks.number("test", test, 0, 1)
    n, n_test = len(X), round(len(X) * test)
    if n_test in (0, n):
        raise DataError(f"test={test} of {n} samples leaves one part empty. Choose another share or give more samples.")
    if ordered:
        if groups is not None:
            raise DataError("ordered=True and groups cannot be combined: split each group's series by itself.")
        chosen = np.arange(n) >= n - n_test
    else:
        chosen = _grouped(X, y, groups, test, seed) if groups is not None else stratified(X, _strata(y, n), n_test, seed)
    train, held = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    halves = [_safe_indexing(X, train), _safe_indexing(X, held)]
    halves += [None, None] if y is None else [_safe_indexing(y, train), _safe_indexing(y, held)]
    return halves[0], halves[1], halves[2], halves[3]


def stratified(X: Any, labels: Sequence[Any], n_test: int, seed: int) -> np.ndarray:
    """Choose about `n_test` samples, class by class in proportion, duplicates together, never all of a class; return a mask."""
    keys, n = fingerprints(X), len(X)
    members: dict[Any, list[int]] = {}
    for i in np.random.default_rng(seed).permutation(n):
        members.setdefault(keys[i], []).append(int(i))
    totals, taken = Counter(labels), Counter[Any]()
    chosen = np.zeros(n, dtype=bool)
    # each class its share rounded down, then classes in random order one more, then whatever still fits
    for limit in (lambda count: count * n_test // n, lambda count: -(-count * n_test // n), lambda count: count):
        for twins in members.values():
            stratum = labels[twins[0]]
            room = min(limit(totals[stratum]), totals[stratum] - 1) - taken[stratum]
            if not chosen[twins[0]] and len(twins) <= min(room, n_test - taken.total()):
                chosen[twins] = True
                taken[stratum] += len(twins)
    if not chosen.any():  # every set of copies is larger than the test part asked for
        spare = [twins for twins in members.values() if totals[labels[twins[0]]] > len(twins)]
        if not spare:
            raise DataError("No test part can be split off: each class has one sample only, or copies of one. Give more samples.")
        chosen[min(spare, key=len)] = True
    return chosen


def _strata(y: Any, n: int) -> list[Any]:
    """Labels to stratify by; one stratum where `y` is missing, multi-label, or not a label at all."""
    if y is None or getattr(y, "ndim", 1) != 1:
        return [0] * n
    labels = [v.item() if isinstance(v, np.generic) else v for v in y]
    if not all(isinstance(v, (str, int, bool)) for v in labels):
        return [0] * n
    singles = sum(count == 1 for count in Counter(labels).values())
    return labels if singles <= n // 2 else [0] * n  # mostly unique: transcripts or measurements rather than classes


def _grouped(X: Any, y: Any, groups: Any, test: float, seed: int) -> np.ndarray:
    from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

    n = len(X)
    if len(groups) != n:
        raise DataError(f"groups must have one entry a sample, but has {len(groups)} for {n} samples.")
    names, ids = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if len(names) < 2:
        raise DataError(f"groups names one group only, {names[0]!r}, so no other could be the test part.")
    ids = _joined(ids, X)
    count = int(ids.max()) + 1
    if count < 2:
        raise DataError("Copies of the same samples tie all groups together, so no part of them could be the test part.")
    folds, labels = round(1 / test), _strata(y, n)
    sizes = Counter(labels)
    if 2 <= folds <= min(count, max(sizes.values())) and len(sizes) > 1:
        _, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class rarer than the folds is in one of them, as it must be
            _, held = next(splitter.split(codes, codes, ids))
    else:
        n_test = min(max(round(count * test), 1), count - 1)
        _, held = next(GroupShuffleSplit(1, test_size=n_test, random_state=seed).split(ids, groups=ids))
    chosen = np.zeros(n, dtype=bool)
    chosen[held] = True
    return chosen


def _joined(ids: np.ndarray, X: Any) -> np.ndarray:
    """Make one group of those that share a duplicate, counted from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place: dict[bytes, int] = {}
    codes = [place.setdefault(key, len(place)) for key in fingerprints(X)]
    nodes = int(ids.max()) + 1 + len(place)
    edges = coo_array((np.ones(len(ids)), (ids, int(ids.max()) + 1 + np.array(codes))), shape=(nodes, nodes))
    return connected_components(edges, directed=False)[1][ids]


# ---------------------------------------------------------------- duplicates
def duplicated(X: Any, among: Any) -> np.ndarray:
    """Tell which samples of `X` are exact copies of one in `among`: equal arrays, equal texts, files of equal bytes.

    Examples
    --------
    >>> duplicated(["a", "b"], ["b", "c"]).tolist()
    [False, True]
    """
    known = set(fingerprints(among))
    return np.array([key in known for key in fingerprints(X)], dtype=bool)


def fingerprints(X: Any) -> list[bytes]:
    """Return a digest of each sample's content: that of the file where it is a path to one.

    Raises
    ------
    DataError
        If a file cannot be read; the message names it.
    """
    rows = X.itertuples(index=False) if isinstance(X, pd.DataFrame) else X
    keys = []
    for i, sample in enumerate(rows):
        try:
            keys.append(_fingerprint(sample))
        except OSError as error:
            raise DataError(f"Sample {i} ({sample}) cannot be read: {error}.") from error
    return keys


def _fingerprint(sample: Any) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(sample, (str, os.PathLike)) and len(str(sample)) < 4096 and os.path.isfile(sample):
        with open(sample, "rb") as file:
            digest.update(file.read())
    elif hasattr(sample, "tobytes"):  # arrays and PIL images
        digest.update(f"{getattr(sample, 'shape', getattr(sample, 'size', ''))}".encode())
        digest.update((sample.convert("RGBA") if getattr(sample, "mode", "") == "P" else sample).tobytes())
    else:
        digest.update(repr(sample).encode("utf-8", "surrogatepass"))
    return digest.digest()


# ---------------------------------------------------------------- batches
class Batches:
    """Samples a batch at a time, in numpy: `len(batches)`, and `batches[i] -> (inputs, targets)`.

    Parameters
    ----------
    read : callable
        Takes an array of sample indices and returns their inputs, stacked.
    n : int
        Number of samples.
    batch_size : int
        Samples a batch; the last batch holds what is left.
    targets : ndarray, optional
        One row a sample.
    seed : int, optional
        Shuffle with this seed, anew at every `start_epoch`; None keeps the order.
    workers : int
        How many batches are worth reading at once: 1 for arrays in memory, more where files are decoded.

    Examples
    --------
    >>> batches = Batches(lambda rows: rows * 10, 3, 2)
    >>> batches[1][0].tolist(), len(batches)
    ([20], 2)
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], Any],
        n: int,
        batch_size: int,
        *,
        targets: np.ndarray | None = None,
        seed: int | None = None,
        workers: int = 1,
    ) -> None:
        self.read, self.n, self.batch_size = read, n, batch_size
        self.targets, self.seed, self.workers = targets, seed, workers
        self.order = np.arange(n)
        self.start_epoch(0)

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __getitem__(self, i: int) -> tuple[Any, np.ndarray | None]:
        if not 0 <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        rows = self.order[i * self.batch_size : (i + 1) * self.batch_size]
        return self.read(rows), None if self.targets is None else self.targets[rows]

    def start_epoch(self, epoch: int) -> None:
        """Shuffle for `epoch`; the order depends on the seed and the epoch alone, so a resumed run goes on alike."""
        if self.seed is not None:
            self.order = np.random.default_rng([self.seed, epoch]).permutation(self.n)


def prefetch(batches: Batches) -> Iterator[Any]:
    """Yield the inputs of each batch in order, reading up to `batches.workers` ahead in threads.

    Examples
    --------
    >>> [inputs.tolist() for inputs in prefetch(Batches(lambda rows: rows, 3, 2))]
    [[0, 1], [2]]
    """
    if batches.workers < 2 or len(batches) < 2:
        for i in range(len(batches)):
            yield batches[i][0]
        return
    with ThreadPoolExecutor(batches.workers, thread_name_prefix="prefetch") as pool:
        waiting = deque(pool.submit(batches.__getitem__, i) for i in range(min(batches.workers + 1, len(batches))))
        try:
            for i in range(len(batches)):
                inputs = waiting.popleft().result()[0]
                if i + batches.workers + 1 < len(batches):
                    waiting.append(pool.submit(batches.__getitem__, i + batches.workers + 1))
                yield inputs
        finally:
            for future in waiting:
                future.cancel()
