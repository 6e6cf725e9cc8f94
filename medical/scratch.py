"""Arrays that need not fit into memory: beyond a number of bytes they are files of a temporary folder, mapped from there."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from pipelines.errors import DataError

__all__ = ["Arrays", "Scratch"]


class Scratch:
    """Room for large arrays: so many bytes of memory, and beyond them a temporary folder, which is removed at the end.

    Parameters
    ----------
    room : int
        Bytes of memory.

    Attributes
    ----------
    held, written : int
        Bytes that are in memory, and in the folder.
    folder : tempfile.TemporaryDirectory or None
        None as long as memory is enough. Others than this user may not look into it.

    Examples
    --------
    >>> with Scratch(room=100) as scratch:
    ...     arrays = Arrays(scratch, [np.zeros(20, np.uint8), np.ones(90, np.uint8)])
    ...     len(arrays), arrays[1].sum(), scratch.held, scratch.written
    (2, np.uint64(90), 20, 90)
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.held = self.written = 0
        self.folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.folder is not None:
            self.folder.cleanup()

    def put(self, array: np.ndarray) -> np.ndarray | Path:
        """Return the array, or the file that it was written to."""
        if array.nbytes <= self.room - self.held:
            self.held += array.nbytes
            return array
        try:
            if self.folder is None:
                self.folder = tempfile.TemporaryDirectory(prefix="pipelines-")
            handle, name = tempfile.mkstemp(".npy", dir=self.folder.name)
            with os.fdopen(handle, "wb") as file:
                np.save(file, array, allow_pickle=False)
        except OSError as error:
            place = tempfile.tempdir if self.folder is None else self.folder.name
            raise DataError(
                f"The scans do not fit into memory, and could not be written to {place}: {error.strerror or error}. Set the "
                "environment variable TMPDIR to a folder on a disk with more room."
            ) from error
        self.written += array.nbytes
        return Path(name)


class Arrays(Sequence[np.ndarray]):
    """Arrays in a `Scratch`; one that is in a file is mapped whenever it is asked for, so that only what is looked at is read.

    Examples
    --------
    >>> with Scratch(room=0) as scratch:
    ...     arrays = Arrays(scratch, [np.zeros(3)])
    ...     arrays[0][1:] = 5  # written to the file
    ...     arrays[0].tolist()
    [0.0, 5.0, 5.0]
    """

    def __init__(self, scratch: Scratch, arrays: Iterable[np.ndarray] = ()) -> None:
        self.scratch = scratch
        self.places = [scratch.put(array) for array in arrays]

    def append(self, array: np.ndarray) -> None:
        """Add an array."""
        self.places.append(self.scratch.put(array))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]
        place = self.places[i]
        # not kept, since pages that were looked at count as memory in use for as long as their map is there
        return place if isinstance(place, np.ndarray) else np.load(place, mmap_mode="r+", allow_pickle=False)
