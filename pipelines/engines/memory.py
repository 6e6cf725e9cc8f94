"""What a network frees at one step is kept for the next; fetched anew from the system, it can take as long as the arithmetic.

glibc, the C library of most Linux systems, gives blocks of some MiB back as soon as they are freed, and the system clears every
page of them when it hands them out again: networks whose maps are that large do this at each layer of each step.
"""

import contextlib
import ctypes
import functools
import os
import platform
import threading
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["freed_memory_kept"]

# parameters of mallopt, as malloc.h and mallopt(3) have them
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}  # no block is mapped for itself, nothing is given back
# the values glibc ends up with by itself in a program with large blocks, for it goes on with fixed ones once any was set
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}
_LOCK = threading.Lock()
_LONG = 1.0  # seconds
_holders, _since = 0, 0.0


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep memory that is freed in this process, until the block ends; then what is unused goes back to the system.

    After less than a second up to 64 MiB at the end of the heap stay, as usual, and the rest goes with the next large block that
    is freed: looking through all of it would take longer than a short prediction. Blocks may lie within each other, and in
    several threads. It does nothing where there is no glibc, or where `GLIBC_TUNABLES` or a variable such as
    `MALLOC_MMAP_MAX_` says how memory is to be had.

    Examples
    --------
    >>> with freed_memory_kept():
    ...     pass  # one large array after the other
    """
    library = _glibc()
    if library is None or any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        yield
        return
    _hold(library, 1)
    try:
        yield
    finally:
        _hold(library, -1)


def _hold(library: Any, change: int) -> None:
    """Count who wants memory kept; the first one sets the limits, and the last one resets them."""
    global _holders, _since
    with _LOCK:
        before, _holders = _holders, _holders + change
        if not before:
            _since = time.monotonic()
            _set(library, _KEPT)
        elif not _holders:
            _set(library, _USUAL)
            if time.monotonic() - _since > _LONG:
                library.malloc_trim(0)


def _set(library: Any, limits: dict[int, int]) -> None:
    for parameter, value in limits.items():
        library.mallopt(parameter, value)


@functools.cache
def _glibc() -> Any:
    """Return the C library of this process if it is glibc."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
