"""Scans as samples: a sequence of sources, read one at a time, with errors that name the sample."""

import os
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from pipelines.errors import DataError

from . import volumes
from .grids import Volume

__all__ = ["each", "kept", "kind_of", "named", "one"]

Kind = Literal["2d", "3d"]


def one(X: Any, i: int, kind: Kind | None = None) -> Volume:
    """Read sample `i`, of one channel for each colour it has.

    Parameters
    ----------
    X : sequence
        What `volumes.read` takes, one a sample.
    i : int
        Which.
    kind : "2d" or "3d", optional
        What it must be.

    Returns
    -------
    Volume
        As `volumes.read` gives it.

    Raises
    ------
    DataError
        If it cannot be read, is of the other kind, or has one value everywhere; the sample is named.

    Examples
    --------
    >>> one([np.eye(4), np.zeros((4, 4))], 1)
    Traceback (most recent call last):
    pipelines.errors.DataError: Sample 1 (array) has the value 0.0 everywhere, so there is nothing to see in it. Leave it out.
    """
    found = named(X, i, lambda: volumes.read(X[i], kind=kind))
    if found.array.min() == found.array.max():
        raise DataError(
            f"Sample {i} {_told(X[i])} has the value {found.array.flat[0]} everywhere, so there is nothing to see in it. "
            "Leave it out."
        )
    return found


def each(X: Any, kind: Kind | None = None) -> Iterator[Volume]:
    """Read all samples, one at a time, see `one`.

    Examples
    --------
    >>> [scan.shape for scan in each([np.eye(4), np.eye(5)])]
    [(4, 4), (5, 5)]
    """
    return (one(X, i, kind) for i in range(len(X)))


def named(X: Any, i: int, read: Callable[[], Any], what: str = "Sample") -> Any:
    """Return what `read` returns; its DataError is told as one of sample `i`.

    Examples
    --------
    >>> named(["a.nii"], 0, lambda: volumes.read("a.nii"))
    Traceback (most recent call last):
    pipelines.errors.DataError: Sample 0 (a.nii) cannot be used. ...
    """
    try:
        return read()
    except DataError as error:
        raise DataError(f"{what} {i} {_told(X[i])} cannot be used. {error}") from error


def kind_of(X: Any) -> Kind:
    """Say whether samples are pictures or volumes, by the first of them.

    Examples
    --------
    >>> kind_of(np.zeros((5, 8, 8, 8)) + np.arange(8))
    '3d'
    """
    return one(X, 0).kind


def kept(X: Any, read: Iterator[Volume], room: int) -> Any:
    """Read all scans and return them as they were read, if they fit into so many bytes; or else `X`, each of it read once.

    Examples
    --------
    >>> X = [np.eye(4), np.eye(5)]
    >>> kept(X, each(X), 2**20), kept(X, each(X), 8) is X
    ([Volume(2d, 4 x 4, float64, 1 x 1 mm), Volume(2d, 5 x 5, float64, 1 x 1 mm)], True)
    """
    found: list[Volume] | None = []
    for scan in read:
        room -= scan.array.nbytes
        if room < 0:
            found = None
        elif found is not None:
            found.append(scan)
    return X if found is None else found


def _told(source: Any) -> str:
    """Describe a source without what is in it: its path, or its type; of a list of files the first."""
    if isinstance(source, (str, os.PathLike)):
        return f"({os.fspath(source)})"
    if isinstance(source, (list, tuple)) and source and isinstance(source[0], (str, os.PathLike)):
        return f"({len(source)} files, {os.fspath(source[0])} for one)"
    return "(array)" if isinstance(source, np.ndarray) else f"({type(source).__name__})"
