"""A split that does not leak: classes in proportion, copies and groups on one side, time in order."""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..errors import DataError

__all__ = ["duplicated", "fingerprints", "split", "stratified"]


def split(
    X: Any, y: Any = None, *, test: float = 0.2, groups: Any = None, ordered: bool | None = None, seed: int = 0
) -> tuple[Any, Any, Any, Any]:
    """Split samples into a training and a test part without leaking one into the other.

    Classes keep their proportions, a class with a single sample stays in the training part, exact duplicates (files of the same
    bytes, equal arrays or texts) stay on one side, and so does every group. A time series is cut in two, its end being the test.

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
    ordered : bool, optional
        True takes the last samples as the test part and shuffles nothing: for time. None does so for a time series, which is a
        Series or a DataFrame with a DatetimeIndex or a PeriodIndex and no `y`.
    seed : int
        Seed of the shuffling.

    Returns
    -------
    X, X_test, y, y_test : tuple
        The parts, in kind; the labels are None where `y` is None.

    Raises
    ------
    DataError
        If lengths differ, `groups` has one group only, a part would be empty, or a time series would be shuffled or
        is not sorted.

    Examples
    --------
    >>> X, X_test, y, y_test = split(["a", "b", "c", "d"], [0, 1, 0, 1], test=0.5)
    >>> len(X), sorted(y_test)
    (2, [0, 1])
    >>> load = pd.Series([3.0, 4.0, 5.0, 4.0], pd.date_range("2024-01-01", periods=4, freq="D"))
    >>> split(load, test=0.25)[1].index.strftime("%d %b").tolist()
    ['04 Jan']
    """
    from sklearn.utils import _safe_indexing

    checks.samples(X, y)
    checks.number("test", test, 0, 1)
    n, n_test = len(X), round(len(X) * test)
    if n_test in (0, n):
        raise DataError(f"test={test} of {n} samples leaves one part empty. Choose another share or give more samples.")
    if _in_order(X, y, groups, ordered):
        chosen = np.arange(n) >= n - n_test
    else:
        chosen = _grouped(X, y, groups, test, seed) if groups is not None else stratified(X, _strata(y, n), n_test, seed)
    train, held = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    halves = [_safe_indexing(X, train), _safe_indexing(X, held)]
    halves += [None, None] if y is None else [_safe_indexing(y, train), _safe_indexing(y, held)]
    return halves[0], halves[1], halves[2], halves[3]


def _in_order(X: Any, y: Any, groups: Any, ordered: bool | None) -> bool:
    """Tell whether the end is the test part, as it must be for a time series."""
    series = isinstance(X, (pd.Series, pd.DataFrame)) and isinstance(X.index, (pd.DatetimeIndex, pd.PeriodIndex)) and y is None
    if series and ordered is not None and not ordered:
        raise DataError(
            "ordered=False would shuffle a time series, and a shuffled split of a series lets the future into training. Leave "
            "`ordered` out, or drop the time if the rows are independent: X.reset_index(drop=True)."
        )
    if ordered and groups is not None:
        raise DataError("ordered=True and groups cannot be combined: split each group's series by itself.")
    if series and ordered is None and groups is None and not X.index.is_monotonic_increasing:
        raise DataError(
            "X is not sorted by time, so its last rows are not its future. Sort it first: X.sort_index(); where it holds several "
            "series one below the other, split each of them."
        )
    return bool(ordered) or (series and groups is None)


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
    share, labels = Fraction(test).limit_denominator(10), _strata(y, n)  # 0.4 is two folds of five
    folds = share.denominator
    sizes = Counter(labels)
    if 2 <= folds <= min(count, max(sizes.values())) and len(sizes) > 1:
        _, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class rarer than the folds is in one of them, as it must be
            parts = [held for _, held in splitter.split(codes, codes, ids)]
        held = np.concatenate(parts[: share.numerator])
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
    elif hasattr(sample, "tobytes"):  # arrays, scans and PIL images
        digest.update(f"{getattr(sample, 'shape', getattr(sample, 'size', ''))}".encode())
        digest.update((sample.convert("RGBA") if getattr(sample, "mode", "") == "P" else sample).tobytes())
    elif isinstance(sample, (list, tuple, dict)):  # an array with its rate or spacing, the files of a scan, a pair of texts
        for part in sample.items() if isinstance(sample, dict) else sample:
            digest.update(_fingerprint(part))
    else:
        digest.update(repr(sample).encode("utf-8", "surrogatepass"))
    return digest.digest()
