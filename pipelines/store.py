"""A saved pipeline is a folder: readable JSON, plain arrays, weights; written at once or not at all, read without pickle.

===================  ==========================================================================
`pipeline.json`      format number, task, parameters, scalar facts, versions, SHA-256 of each file
`state.npz`          array facts, read with `allow_pickle=False`
`weights.safetensors`  the network's variables; the network itself is built by the library's own code
`report.json`        the last evaluation's report, where there is one
===================  ==========================================================================

Nothing in the folder names code: the task is looked up in the registry, so a folder can neither run nor fetch anything.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError, FormatError

__all__ = ["FORMAT", "check_target", "read", "replacing", "versions", "write", "write_bytes"]

FORMAT = 1
MANIFEST = "pipeline.json"
_LEFT_ALONE = "not a saved pipeline, and is left alone. Choose a new folder."
FILES = ("state.npz", "weights.safetensors", "report.json")
_CARRIERS = {".keras", ".h5", ".hdf5", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".npy", ".npz", ".py", ".pyc", ".so"}
_CLUTTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what desktops leave in every folder they show
_SHAPE = {"format": int, "task": str, "params": dict, "facts": dict, "versions": dict, "files": dict}
_PACKAGES = ("domain-pipelines", "numpy", "scikit-learn", "keras", "tensorflow", "torch", "transformers", "monai")


def versions() -> dict[str, str]:
    """Return the installed versions of the packages a result can depend on.

    Examples
    --------
    >>> "numpy" in versions()
    True
    """
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


# ---------------------------------------------------------------- writing
def write(
    path: str | os.PathLike[str],
    manifest: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    write_weights: Callable[[Path], None],
    report: Mapping[str, Any] | None = None,
) -> Path:
    """Write a folder beside its final place, then move it there in one step.

    Parameters
    ----------
    path : path
        The folder; an earlier saved pipeline there is replaced, anything else is left alone and refused.
    manifest : mapping
        What `pipeline.json` holds besides format, versions and hashes.
    arrays : mapping of str to ndarray
        Array facts; object arrays are refused.
    write_weights : callable
        Writes the weights to the file it is given.
    report : mapping, optional
        A report's `to_dict()`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        If the place is taken by something else, cannot be written, or the disk is full; an earlier pipeline stays as it was.
    """
    target = Path(path).absolute()
    temporary = None
    try:
        check_target(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
        _write_files(temporary, manifest, arrays, write_weights, report)
        _replace(temporary, target)
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
        raise DataError(
            f"The pipeline could not be saved to {target}: {why}. Nothing was changed there; free or choose another place."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def check_target(path: str | os.PathLike[str]) -> None:
    """Refuse a place where anything but a saved pipeline is, since saving replaces the whole folder.

    Raises
    ------
    DataError
        If there is a file, a link, or a folder with other things in it.
    """
    target = Path(path)
    if target.is_symlink() or target.is_file():
        raise DataError(f"{target} is a {'link' if target.is_symlink() else 'file'}, {_LEFT_ALONE}")
    if not target.is_dir():
        return
    try:
        names = {entry.name for entry in target.iterdir()} - _CLUTTER
    except FileNotFoundError:  # another process has just moved it away
        return
    others = sorted(names - {MANIFEST, *FILES}) if MANIFEST in names else sorted(names)
    if others:
        raise DataError(f"{target} is a folder with other things in it ({others[0]}), {_LEFT_ALONE}")


def _write_files(
    folder: Path,
    manifest: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    write_weights: Callable[[Path], None],
    report: Mapping[str, Any] | None,
) -> None:
    for name, value in arrays.items():
        if np.asarray(value).dtype.hasobject:
            raise TypeError(f"The learned fact {name!r} is an object array, which only pickle could store.")
    np.savez(folder / "state.npz", **dict(arrays))  # type: ignore[arg-type]
    write_weights(folder / "weights.safetensors")
    if report is not None:
        (folder / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    hashes = {name: _sha256(folder / name) for name in FILES if (folder / name).exists()}
    whole = {"format": FORMAT, **manifest, "versions": versions(), "files": hashes}
    (folder / MANIFEST).write_text(json.dumps(whole, indent=1, default=_json), encoding="utf-8")
    mask = _umask()
    for name in (*hashes, MANIFEST):
        os.chmod(folder / name, 0o666 & ~mask)  # as any file the user writes; safetensors and mkdtemp are stricter
        with open(folder / name, "rb") as file:
            os.fsync(file.fileno())
    os.chmod(folder, 0o777 & ~mask)


def _json(value: Any) -> Any:
    """Write numpy's numbers, as parameter searches hand them over, and paths as the plain values they stand for."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"A {type(value).__name__} cannot be stored in {MANIFEST}: {value!r}.")


def _replace(new: Path, target: Path) -> None:
    """Put `new` at `target`; a kill between the two renames leaves the earlier pipeline beside it as `.NAME.old-…`."""
    for _ in range(20):  # another process may save to the same place at the same time
        old = _move_away(target)
        try:
            os.rename(new, target)
        except OSError as error:
            if old is not None:
                with contextlib.suppress(OSError):
                    os.rename(old, target)
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            continue
        for stale in target.parent.glob(f".{target.name}.old-*"):
            shutil.rmtree(stale, ignore_errors=True)
        return
    raise OSError(errno.EBUSY, "another process keeps saving to the same folder")


def _move_away(target: Path) -> Path | None:
    """Rename the folder at `target`, where there is one, and return its new name."""
    if not target.exists():
        return None
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    try:
        os.rename(target, old)
    except OSError as error:
        with contextlib.suppress(OSError):
            old.rmdir()
        if isinstance(error, FileNotFoundError):
            return None
        raise
    return old


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# ---------------------------------------------------------------- reading
def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray], Path, dict[str, Any] | None]:
    """Read and verify a saved folder.

    Parameters
    ----------
    path : path
        The folder.

    Returns
    -------
    manifest, arrays, weights, report : tuple
        The checked `pipeline.json`, the array facts, the path of the verified weights file, and the stored report or None.

    Raises
    ------
    FormatError
        If a file is missing, altered, unsafe or unexpected, or the format is newer than this library.
    """
    folder = Path(path).absolute()
    manifest = _read_manifest(folder)
    hashes = _checked_files(folder, manifest)
    for name, expected in hashes.items():
        if _sha256(folder / name) != expected:
            raise FormatError(f"{folder / name} was changed after it was saved (its SHA-256 differs), so nothing was loaded.")
    _warn_of_drift(manifest["versions"], folder)
    report = _read_json(folder / "report.json") if "report.json" in hashes else None
    return manifest, _read_arrays(folder / "state.npz"), folder / "weights.safetensors", report


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.is_file():
        lost = sorted(folder.parent.glob(f".{folder.name}.old-*/{MANIFEST}"))
        hint = f" A save was cut off here; the earlier pipeline is in {lost[-1].parent}." if lost else " Check the path."
        raise FormatError(f"{folder} is no saved pipeline: it has no {MANIFEST}.{hint}")
    manifest = _read_json(file)
    number = manifest.get("format") if isinstance(manifest, dict) else None
    if type(number) is int and number > FORMAT:
        raise FormatError(
            f"{folder} was written in format {number}, but this version of domain-pipelines reads up to {FORMAT}. "
            "Upgrade: pip install -U domain-pipelines"
        )
    whole = isinstance(manifest, dict) and all(type(manifest.get(name)) is kind for name, kind in _SHAPE.items())
    if not whole or number != FORMAT or not all(isinstance(version, str) for version in manifest["versions"].values()):
        raise FormatError(f"{file} is incomplete, so nothing was loaded. Save the pipeline again.")
    return manifest


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{file} is damaged ({error}), so nothing was loaded. Save the pipeline again.") from error


def _checked_files(folder: Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> hash, after refusing names, links and stray files that a saved pipeline never has."""
    hashes = manifest["files"]
    if not {"state.npz", "weights.safetensors"} <= hashes.keys():
        raise FormatError(f"{folder / MANIFEST} does not list the files of a saved pipeline, so nothing was loaded.")
    for name in hashes:
        if name not in FILES:
            raise FormatError(f"{folder / MANIFEST} names the file {name!r}, which no saved pipeline has; nothing was loaded.")
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise FormatError(f"{folder / name} is missing or a link that leads elsewhere, so nothing was loaded.")
    for stray in sorted(folder.iterdir()):
        if stray.name not in hashes and stray.suffix.lower() in _CARRIERS:
            raise FormatError(
                f"{stray} does not belong to a saved pipeline and could carry code, so nothing was loaded. Remove it to go on."
            )
    return hashes


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        with open(file, "rb") as stream:
            _check_archive(zipfile.ZipFile(stream).infolist(), file)
            with np.load(stream, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
    except FormatError:
        raise
    except Exception as error:  # zipfile and numpy raise nearly anything for damaged files, MemoryError among them
        raise FormatError(f"{file} cannot be read without running code or is damaged ({error}); nothing was loaded.") from error


def _check_archive(members: list[zipfile.ZipInfo], file: Path) -> None:
    """Refuse what would unpack to more than the file itself holds."""
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise FormatError(f"{file} is compressed, which a saved pipeline never is; nothing was loaded.")
    if sum(member.file_size for member in members) > file.stat().st_size:
        raise FormatError(f"{file} claims to hold more than its own size, as no saved pipeline does; nothing was loaded.")


def _warn_of_drift(saved: Mapping[str, str], folder: Path) -> None:
    now = versions()
    drifted = [f"{name} {was} -> {now[name]}" for name, was in saved.items() if name in now and _minor(was) != _minor(now[name])]
    if drifted:
        warnings.warn(
            f"{folder} was saved with other versions ({', '.join(drifted)}); check its predictions.", UserWarning, stacklevel=4
        )


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ---------------------------------------------------------------- single files
def write_bytes(target: Path, content: bytes) -> None:
    """Write a file in one step; DataError if its folder is none, or it cannot be written."""
    if not target.parent.is_dir():
        raise DataError(f"{target.parent} is no folder, so that {target.name} cannot be written there. Make it first.")
    try:
        with replacing(target) as new:
            new.write_bytes(content)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror}. Choose another place.") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write; it takes the place of `path` in one step when the block ends well."""
    temporary = path.with_name(f".{path.name}.new-{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
