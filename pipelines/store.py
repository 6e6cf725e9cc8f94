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

__all__ = ["FORMAT", "read", "versions", "write"]

FORMAT = 1
MANIFEST = "pipeline.json"
FILES = ("state.npz", "weights.safetensors", "report.json")
_CARRIERS = {".keras", ".h5", ".hdf5", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".npy", ".npz", ".py", ".pyc", ".so"}
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
    _check_target(target)
    temporary = None
    try:
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


def _check_target(target: Path) -> None:
    if target.exists() and not (target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()))):
        what = "a folder with other things in it" if target.is_dir() else "a file"
        raise DataError(f"{target} is {what}, not a saved pipeline, and is left alone. Choose a new folder.")


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
    (folder / MANIFEST).write_text(json.dumps(whole, indent=1), encoding="utf-8")
    for name in (*hashes, MANIFEST):
        with open(folder / name, "rb") as file:
            os.fsync(file.fileno())
    os.chmod(folder, 0o755 & ~_umask())


def _replace(new: Path, target: Path) -> None:
    """Put `new` at `target`; a kill between the two renames leaves the earlier pipeline beside it as `.NAME.old-…`."""
    for _ in range(5):  # another process may save to the same place at the same time
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
            with contextlib.suppress(FileNotFoundError):
                os.rename(target, old)
        try:
            os.rename(new, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            continue
        for stale in target.parent.glob(f".{target.name}.old-*"):
            shutil.rmtree(stale, ignore_errors=True)
        return
    raise OSError(errno.EBUSY, "another process keeps saving to the same folder")


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
    _warn_of_drift(manifest.get("versions", {}), folder)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8")) if "report.json" in hashes else None
    return manifest, _read_arrays(folder / "state.npz"), folder / "weights.safetensors", report


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.is_file():
        lost = sorted(folder.parent.glob(f".{folder.name}.old-*/{MANIFEST}"))
        hint = f" A save was cut off here; the earlier pipeline is in {lost[-1].parent}." if lost else " Check the path."
        raise FormatError(f"{folder} is no saved pipeline: it has no {MANIFEST}.{hint}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        number, complete = manifest["format"], {"task", "params", "facts", "files"} <= manifest.keys()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(f"{file} is damaged ({error}), so nothing was loaded. Save the pipeline again.") from error
    if not isinstance(number, int) or not complete:
        raise FormatError(f"{file} is incomplete, so nothing was loaded. Save the pipeline again.")
    if number > FORMAT:
        raise FormatError(
            f"{folder} was written in format {number}, but this version of domain-pipelines reads up to {FORMAT}. "
            "Upgrade: pip install -U domain-pipelines"
        )
    return manifest


def _checked_files(folder: Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> hash, after refusing names, links and stray files that a saved pipeline never has."""
    hashes = manifest["files"]
    if not isinstance(hashes, dict) or not {"state.npz", "weights.safetensors"} <= hashes.keys():
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
        with zipfile.ZipFile(file) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise FormatError(f"{file} is compressed, which a saved pipeline never is; nothing was loaded.")
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{file} cannot be read without running code or is damaged ({error}); nothing was loaded.") from error


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
@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write; it takes the place of `path` in one step when the block ends well."""
    temporary = path.with_name(f".{path.name}.new-{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
