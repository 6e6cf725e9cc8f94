"""Files before they are read: whether they can be opened, what they are by their first bytes, whether they fit into memory."""

import contextlib
import gzip
import logging
import os
import stat
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import DataError

__all__ = ["KINDS", "check", "check_memory", "check_readable", "hushed", "memory", "size", "sniff", "unknown"]

KINDS = "NIfTI (.nii, .nii.gz), DICOM (a file, or a folder with one series), PNG, JPEG, TIFF or a NumPy array (.npy)"
"""What can be read, for error messages."""

_LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of containers, by version
_HEAD = 540  # bytes of the longer NIfTI header, the longest beginning that is looked at
_PICTURES = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"BM",
    b"GIF8",
    b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
)
_LOCK = threading.Lock()
_LEVELS: dict[str, tuple[int, int]] = {}  # of logs that are silent now: the level before, and for how many
_TOLD = {
    b"NRRD": "NRRD",
    b"ObjectType": "MetaImage",
    b"PK": "a zip archive",
    b"\x89HDF": "HDF5 (MINC 2)",
    b"CDF": "NetCDF (MINC 1)",
    b"%PDF": "PDF",
}


def check(path: Path) -> None:
    """Raise DataError, in a sentence, unless `path` is a file with something in it, or a folder, that may be read.

    Examples
    --------
    >>> check(Path("no/such/scan.nii.gz"))
    Traceback (most recent call last):
    pipelines.errors.DataError: no/such/scan.nii.gz does not exist. Check the path.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path} does not exist. Check the path.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        raise DataError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', error)}. Check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        check_readable(path)
        return
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is a device or a pipe, not a file. Save what it gives as a file first.")
    if status.st_size == 0:
        raise DataError(f"{path} is an empty file. Leave it out, or get it again.")
    check_readable(path)


def sniff(path: Path) -> str:
    """Tell what a file is by its first bytes, whatever it is called.

    Returns
    -------
    str
        "nifti", "nifti.gz", "dicom", "picture", "npy", or "" for anything else.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if head[:2] == b"\x1f\x8b":
        return "nifti.gz" if _is_nifti(_unzipped(path)) else ""
    if _is_nifti(head):
        return "nifti"
    if _is_dicom(head):
        return "dicom"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    return "picture" if head.startswith(_PICTURES) or head[8:12] == b"WEBP" else ""


def unknown(path: Path) -> DataError:
    """Return the error for a file that is nothing we read, with what it seems to be."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if head[:2] == b"\x1f\x8b":
        return DataError(
            f"{path} is a gzip file with no NIfTI scan in it, or damaged. Unpack it, or get it again. Expected {KINDS}."
        )
    if head[344:347] == b"ni1" or head[4:7] == b"ni2":
        return DataError(f"{path} is one half of a NIfTI pair (.hdr and .img). Save it as one .nii.gz file.")
    told = next((what for start, what in _TOLD.items() if head.startswith(start)), "")
    is_what = f"is {told}, which is not read" if told else "is of no known format"
    return DataError(f"{path} {is_what}. Expected {KINDS}.")


def size(path: Path) -> int:
    """Return the bytes a file has."""
    return os.stat(path).st_size


def check_memory(name: str, shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse, before anything is allocated, an array larger than the machine's memory.

    Examples
    --------
    >>> check_memory("scan.nii", (30000, 30000, 30000), 8)
    Traceback (most recent call last):
    pipelines.errors.DataError: scan.nii announces 30000 x 30000 x 30000 voxels, 201166 GiB, more than this machine's memory. ...
    """
    count = itemsize
    for extent in shape:
        count *= int(extent)  # Python's own integers: no overflow
    if count > memory():
        voxels = " x ".join(map(str, shape))
        raise DataError(
            f"{name} announces {voxels} voxels, {count / 2**30:.0f} GiB, more than this machine's memory. "
            "Its header is damaged, or it must be cut or resampled elsewhere first."
        )


@contextlib.contextmanager
def hushed(name: str) -> Iterator[None]:
    """Keep a library's log silent while it reads: what it writes there quotes the texts of files, names of patients among them.

    Examples
    --------
    >>> with hushed("PIL"):
    ...     logging.getLogger("PIL.TiffImagePlugin").isEnabledFor(logging.ERROR)
    False
    """
    log = logging.getLogger(name)
    with _LOCK:
        before, count = _LEVELS.get(name, (log.level, 0))
        _LEVELS[name] = before, count + 1
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        with _LOCK:
            before, count = _LEVELS.pop(name)
            if count > 1:  # other threads are still reading
                _LEVELS[name] = before, count - 1
            else:
                log.setLevel(before)


def memory() -> int:
    """Return the bytes of memory this machine has, or the container on it."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows does not tell
        return 2**36
    for file in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # there is none, or it says "max"
            found = min(found, int(file.read_text()))
    return found


def check_readable(path: Path) -> None:
    """Raise DataError unless this user may open a file, or look into a folder."""
    try:
        with os.scandir(path) if path.is_dir() else open(path, "rb"):
            pass
    except PermissionError as error:
        raise DataError(f"{path} may not be read by this user. Change its permissions.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the disk or the network.") from error


def _unzipped(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            return file.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return b""


def _is_nifti(head: bytes) -> bool:
    return head[344:347] == b"n+1" or head[4:7] == b"n+2"


def _is_dicom(head: bytes) -> bool:
    """Tell a DICOM file, also one without the preamble: then it begins with an element of group 2 or 8."""
    if head[128:132] == b"DICM":
        return True
    element = (
        head[2:4] if head[:2] in (b"\x02\0", b"\x08\0") else head[3:1:-1] if head[:2] in (b"\0\x02", b"\0\x08") else b"\xff\xff"
    )
    if int.from_bytes(element, "little") > 0x70:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or int.from_bytes(head[4:8], "little") < 1024
