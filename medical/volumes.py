"""Scans from files and arrays, with their geometry; masks written back onto the grid they belong to.

One `read` for NIfTI, DICOM, pictures and arrays gives a `Volume`: values, affine, spacing, orientation, nothing of the patient.
`to_orientation` and `resampled` bring volumes to one form, `on_grid` takes masks the way back, `write_mask` saves them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipelines import checks
from pipelines.errors import DataError, ParameterError
from pipelines.store import replacing

from . import dicom, files, nifti, pictures
from .grids import Volume, affine_of, check_affine, on_grid, resampled, same_grid, to_orientation

__all__ = ["Volume", "grey", "on_grid", "read", "read_mask", "resampled", "same_grid", "to_orientation", "windowed", "write_mask"]

_SOURCES = (
    "Expected a path, a list of the DICOM files of one series, an array of 2 or 3 dimensions, a pair (array, spacing), "
    'or a dict {"array": …, "spacing": …} or {"array": …, "affine": …}'
)
_LABELS = (np.uint8, np.int16, np.uint16, np.int32)
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as Pillow does


def read(source: Any, *, series: str | None = None, kind: Literal["2d", "3d"] | None = None) -> Volume:
    """Read a scan.

    Parameters
    ----------
    source : path, list of paths, array, pair or dict
        A NIfTI file; a DICOM file of one or many frames; a folder, or a list of files, with a DICOM series; PNG, JPEG or TIFF; a
        NumPy file (.npy). What a file holds counts, not its ending. An array is `(rows, columns)`, `(rows, columns, 3)` of bytes,
        which are colours, or `(i, j, k)`; alone, with its spacing in millimetres as a pair, or in a dict with "array", "spacing"
        or "affine" (4 x 4, RAS+) and "modality". A `Volume` is returned as it is.
    series : str, optional
        The UID of the series to take from a folder with several.
    kind : "2d" or "3d", optional
        What it must be, or DataError; for an array, what its third axis is: colours or slices.

    Returns
    -------
    Volume
        Values in the units of the file: whole numbers stay whole, CT is in Hounsfield units, MONOCHROME1 is inverted, colours
        are kept.

    Raises
    ------
    DataError
        If the source cannot be read, or holds NaN or infinite values; the message names the file and says what to do.

    Notes
    -----
    Slices of DICOM are sorted by position along their normal. Missing, double and uneven ones are errors. What was done in
    passing is told in `Volume.notes`.

    Examples
    --------
    >>> read((np.zeros((64, 48, 20), np.float32), [1, 1, 2.5]))
    Volume(3d, 64 x 48 x 20, float32, 1 x 1 x 2.5 mm)
    >>> from nibabel.testing import data_path
    >>> read(Path(data_path, "anatomical.nii"))
    Volume(3d, 33 x 41 x 25, int16, 2 x 2 x 2 mm, LAS)
    """
    if kind is not None:
        checks.choice("kind", kind, ("2d", "3d"))
    name, volume = _read(source, series, kind, indices=False)
    if kind is not None and volume.kind != kind:
        raise DataError(f"{name} has {volume.axes} dimensions: {volume!r}. Expected {kind[0]}.")
    _check_finite(name, volume.array)
    return volume


def read_mask(source: Any, like: Volume | None = None) -> Volume:
    """Read a mask: whole numbers, one channel, on the grid of its scan.

    Parameters
    ----------
    source : as for `read`
        Of a picture with a palette, the numbers of the colours are the labels.
    like : Volume, optional
        The scan whose mask it is.

    Returns
    -------
    Volume
        Whole numbers exactly as stored; floats that are whole become the smallest whole type.

    Raises
    ------
    DataError
        If it holds colours or broken numbers, or lies on another grid than `like`; both grids are told.

    Examples
    --------
    >>> read_mask(np.eye(3)).array.dtype
    dtype('uint8')
    """
    name, mask = _read(source, None, None if like is None else like.kind, indices=True)
    if mask.channels != 1:
        raise DataError(
            f"{name} has {mask.channels} channels. Expected a mask with one whole number per voxel. Save it with labels as "
            "values."
        )
    mask = mask.with_array(_as_labels(name, mask.array))
    if like is not None and not same_grid(mask, like):
        raise DataError(
            f"{name} lies on another grid than its scan: {_grid(mask)}; the scan has {_grid(like)}. "
            "Resample the mask onto the scan (on_grid(mask, scan, order=0)), or find the scan it was drawn on."
        )
    return mask


def write_mask(mask: Any, like: Any, path: str | os.PathLike[str]) -> Path:
    """Write a mask on the grid of the scan it belongs to.

    Parameters
    ----------
    mask : array or Volume
        Whole numbers, or booleans, in the shape of the scan; a Volume must lie on its grid (see `on_grid`).
    like : Volume, or what `read` takes
        The scan.
    path : path
        Where to: `.nii.gz` or `.nii`; `.png` for a picture, which keeps no geometry.

    Returns
    -------
    Path
        The file, with the labels exactly and nothing else in it than they and the geometry.

    Raises
    ------
    DataError
        If the mask has another shape or grid, or holds anything but whole numbers.
    ParameterError
        If the ending is another.

    Examples
    --------
    >>> import tempfile
    >>> scan = Volume(np.zeros((4, 3, 2)), np.diag([-1.0, 1.0, 2.0, 1.0]), "3d")
    >>> read(write_mask(scan.array > 1, scan, Path(tempfile.mkdtemp(), "mask.nii.gz")))
    Volume(3d, 4 x 3 x 2, uint8, 1 x 1 x 2 mm, LAS)
    """
    target = Path(path)
    grid = read(like)
    array = _on_the_grid_of(mask, grid)
    data = _encoded(target, grid, array)
    if not target.parent.is_dir():
        raise DataError(f"{target.parent} is no folder, so that {target.name} cannot be written there. Make it first.")
    try:
        with replacing(target) as new:
            new.write_bytes(data)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror}. Choose another place, or change its permissions."
        ) from error
    return target


def windowed(array: np.ndarray, center: float, width: float) -> np.ndarray:
    """Map the values of a window to 0–1, and what lies outside to its ends (DICOM PS3.3 C.11.2.1.3.2, LINEAR_EXACT).

    Parameters
    ----------
    array : ndarray
        Values of a scan, for instance in Hounsfield units.
    center, width : float
        The window, for instance 40 and 400 for the abdomen; `Volume.window` has what the file recommends.

    Returns
    -------
    ndarray
        float32 from 0 to 1.

    Raises
    ------
    ParameterError
        If the width is not above 0.

    Examples
    --------
    >>> windowed(np.array([-1000, -160, 40, 240, 3000]), 40, 400).tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    checks.number("center", center, -np.inf)
    checks.number("width", width, float(np.finfo(np.float32).tiny))
    values = np.subtract(array, np.float32(center - width / 2), dtype=np.float32)
    values /= np.float32(width)
    return np.clip(values, 0, 1, out=values)


def grey(volume: Volume) -> Volume:
    """Return a volume of one channel: colours by their brightness (ITU-R 601), anything else as it is.

    Examples
    --------
    >>> grey(read(np.full((4, 4, 3), 7, np.uint8))).array[0].tolist()
    [7, 7, 7, 7]
    """
    if volume.channels == 1:
        return volume if volume.array.ndim == volume.axes else volume.with_array(volume.array[..., 0])
    if volume.channels != 3:
        raise DataError(f"The volume has {volume.channels} channels, which are no colours. Expected 1 or 3.")
    bright = volume.array @ _LUMA
    whole = volume.array.dtype.kind in "iu"
    return volume.with_array(np.rint(bright).astype(volume.array.dtype) if whole else bright.astype(np.float32))


# ---------------------------------------------------------------- sources
def _read(source: Any, series: str | None, kind: str | None, *, indices: bool) -> tuple[str, Volume]:
    """Return what to call a source in messages, and what it holds."""
    folder = isinstance(source, (str, os.PathLike)) and Path(source).is_dir()
    if series is not None and not folder and not isinstance(source, list):
        raise ParameterError(
            f"series={series!r} chooses from a folder or a list of DICOM files. Leave it out for any other source."
        )
    if isinstance(source, Volume):
        return "The volume", source
    if isinstance(source, (str, os.PathLike)):
        return str(source), _from_path(Path(source), series, indices)
    if isinstance(source, (list, tuple)) and source and all(isinstance(part, (str, os.PathLike)) for part in source):
        paths = [Path(part) for part in source]
        for path in paths:
            files.check(path)
        name = f"The list of {len(paths)} files"
        return name, dicom.read_series(paths, name, series)
    if hasattr(source, "getexif"):  # a picture that Pillow has opened
        return "The picture", pictures.from_pillow(source, indices=indices)
    return "The array", _from_array(source, kind)


def _from_path(path: Path, series: str | None, indices: bool) -> Volume:
    files.check(path)
    if path.is_dir():
        return _from_folder(path, series)
    found = files.sniff(path)
    if found in ("nifti", "nifti.gz"):
        return nifti.read(path)
    if found == "dicom":
        return dicom.read(path)
    if found == "picture":
        return pictures.read(path, indices=indices)
    if found == "npy":
        return _from_numpy(path)
    raise files.unknown(path)


def _from_folder(folder: Path, series: str | None) -> Volume:
    paths = []
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        paths += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    if not paths:
        raise DataError(f"{folder} is an empty folder. Expected the DICOM files of one series.")
    for path in paths:
        files.check_readable(path)
    return dicom.read_series(paths, str(folder), series)


def _from_numpy(path: Path) -> Volume:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:  # objects, which are never unpickled; a header or data cut off
        raise DataError(
            f"{path} is no NumPy file of numbers, or cut off: {str(error).partition(chr(10))[0].rstrip('.')}. Save it anew."
        ) from error
    try:
        return _from_array(np.array(mapped), None)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _from_array(source: Any, kind: str | None) -> Volume:
    parts = dict(source) if isinstance(source, Mapping) else {"array": source}
    if isinstance(source, (tuple, list)) and len(source) == 2 and np.ndim(source[0]) > 1:
        parts = {"array": source[0], "spacing": source[1]}
    unknown = parts.keys() - {"array", "spacing", "affine", "modality"}
    if unknown or "array" not in parts:
        raise DataError(f"A dict with {sorted(map(str, parts))} is no scan. {_SOURCES}.")
    array, found, notes = _checked_array(parts["array"], kind)
    affine, placed, more = _array_affine(parts, int(found[0]))
    return Volume(array, affine, found, placed, str(parts.get("modality") or ""), None, (*notes, *more))


def _checked_array(source: Any, kind: str | None) -> tuple[np.ndarray, Literal["2d", "3d"], list[str]]:
    try:
        array = np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a GPU or with gradients
        raise DataError(
            f"A {type(source).__name__} cannot be read as a scan: {str(error).partition(chr(10))[0]}. {_SOURCES}."
        ) from error
    if array.dtype.kind not in "buif" or array.ndim == 0:
        what = f"an array of the type {array.dtype}" if array.ndim else f"a {type(source).__name__}"
        raise DataError(f"The source is {what}. {_SOURCES}, of real numbers.")
    if 0 in array.shape:
        raise DataError(f"The array is empty: its shape is {array.shape}. {_SOURCES}.")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    colour = (
        array.ndim == 3
        and array.shape[2] == 3
        and kind != "3d"
        and (kind == "2d" or (array.dtype == np.uint8 and min(array.shape[:2]) > 3))
    )
    if colour:
        return array, "2d", ["The third axis of the array was taken as colours."] if kind is None else []
    if array.ndim == 3 and array.shape[2] == 1 and kind != "3d":
        array = array[:, :, 0]
    if array.ndim not in (2, 3):
        raise DataError(f"The array has {array.ndim} dimensions, shape {array.shape}. {_SOURCES}.")
    return array, "2d" if array.ndim == 2 else "3d", []


def _array_affine(parts: Mapping[str, Any], axes: int) -> tuple[np.ndarray, bool, list[str]]:
    spacing, affine = parts.get("spacing"), parts.get("affine")
    if affine is not None:
        matrix = check_affine("The array", affine)
        stated = np.linalg.norm(matrix[:3, :axes], axis=0)
        if spacing is not None and not np.allclose(np.broadcast_to(spacing, axes), stated, rtol=1e-3):
            raise DataError(
                f"The array has the spacing {spacing}, but an affine with {tuple(stated.tolist())}. Give one of them."
            )
        return matrix, True, []
    if spacing is None:
        return affine_of([1] * axes), False, ["The array came without spacing; 1 mm is assumed."]
    try:
        steps = np.asarray(spacing, dtype=float)
    except (TypeError, ValueError):
        steps = np.zeros(0)
    if steps.shape not in ((), (axes,)) or not (np.isfinite(steps) & (steps > 0)).all():
        raise DataError(f"The array has the spacing {spacing!r}. Expected {axes} numbers of millimetres above 0.")
    return affine_of(np.broadcast_to(steps, axes).tolist()), False, []


def _check_finite(name: str, array: np.ndarray) -> None:
    if array.dtype.kind != "f":
        return
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), array.shape))
        raise DataError(
            f"{name} holds {array[where]} at {where}, and {array.size - np.count_nonzero(finite)} such values in all. Expected "
            "finite ones. "
            "Where they stand for background, replace them: numpy.nan_to_num(array)."
        )


# ---------------------------------------------------------------- masks
def _as_labels(name: str, array: np.ndarray) -> np.ndarray:
    """Return whole numbers as they are, and floats as the smallest whole type, if they are whole."""
    if array.dtype.kind in "iu":
        return array
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype.kind != "f":
        raise DataError(f"{name} is of the type {array.dtype}. Expected whole numbers.")
    _check_finite(name, array)
    broken = array != np.rint(array)
    if broken.any():
        where = tuple(int(i) for i in np.argwhere(broken)[0])
        raise DataError(
            f"{name} is no mask: it holds {array[where]:g} at {where}, and {np.count_nonzero(broken)} values in all that are "
            "not whole. "
            "Expected labels. Was it resampled with interpolation, or is it a map of probabilities?"
        )
    return _smallest(name, array)


def _smallest(name: str, array: np.ndarray) -> np.ndarray:
    low, high = int(array.min()), int(array.max())
    for kind in _LABELS:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    raise DataError(f"{name} holds labels from {low} to {high}. Expected them within 32 bits. Number them anew.")


def _on_the_grid_of(mask: Any, grid: Volume) -> np.ndarray:
    if isinstance(mask, Volume) and not same_grid(mask, grid):
        raise DataError(
            f"The mask lies on another grid, {_grid(mask)}, than the scan, {_grid(grid)}. Bring it there with on_grid(mask, "
            "scan, order=0)."
        )
    array = np.asarray(mask.array if isinstance(mask, Volume) else mask)
    if array.shape != grid.shape:
        raise DataError(
            f"The mask has the shape {array.shape}. Expected {grid.shape}, the scan's. Bring it there with on_grid(mask, scan, "
            "order=0)."
        )
    return _smallest("The mask", _as_labels("The mask", array))


def _encoded(target: Path, grid: Volume, array: np.ndarray) -> bytes:
    name = target.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return nifti.encode(grid.with_array(array), packed=name.endswith(".gz"))
    if not name.endswith(".png"):
        raise ParameterError(
            f"path={str(target)!r} has no ending a mask can be written as. Expected .nii.gz, .nii, or .png for a picture."
        )
    if grid.axes != 2:
        raise ParameterError(f"path={str(target)!r} ends in .png, but the scan has {grid.axes} dimensions. Expected .nii.gz.")
    if array.dtype == np.int16 and array.min() >= 0:
        array = array.astype(np.uint16)
    if array.dtype not in (np.uint8, np.uint16):
        raise DataError(f"The mask has labels from {array.min()} to {array.max()}, but PNG holds 0 to 65535. Save it as .nii.gz.")
    return pictures.encode(array)


def _grid(volume: Volume) -> str:
    rows = "; ".join(" ".join(f"{x:.4g}" for x in row) for row in volume.affine[:3])
    return f"shape {volume.shape}, affine [{rows}]" if volume.placed else f"shape {volume.shape}, not placed"
