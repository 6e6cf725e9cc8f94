"""NIfTI files, with nibabel: the header is judged before anything is allocated, and its free texts are never looked at.

Headers may hold names of patients: in their comments, and in extensions that are whole DICOM headers. They are not read here, and
what is written begins with an empty header.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.errors import DataError

from . import files
from .grids import Volume, affine_of, check_affine

__all__ = ["encode", "read"]

_SHRINK = 1100  # gzip makes nothing smaller than this many times
_UNITS = {"meter": 1000.0, "micron": 0.001}  # in millimetres


def read(path: Path) -> Volume:
    """Read a NIfTI file of two or three dimensions, packed or not.

    Parameters
    ----------
    path : Path
        The file; its content counts, not its ending.

    Returns
    -------
    Volume
        Values as stored, whole numbers exactly; float32 where the header scales them. The sform places it, or the qform where
        there is none; without either it is not placed.

    Raises
    ------
    DataError
        If the file is damaged or cut off, has more than three dimensions, or holds complex numbers or colours.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.nii.gz")
    >>> _ = path.write_bytes(encode(Volume(np.ones((4, 3, 2), np.uint8), np.diag([-1.0, 1.0, 2.0, 1.0]), "3d"), packed=True))
    >>> read(path)
    Volume(3d, 4 x 3 x 2, uint8, 1 x 1 x 2 mm, LAS)
    """
    name = str(path)
    with _opened(path) as file, _guarded(name):
        header = _header(name, file)
        shape, dtype = _shape(name, header), _dtype(name, header)
        files.check_memory(name, shape, max(dtype.itemsize, 4))
        offset = _offset(name, header)
        _check_size(path, offset, shape, dtype)
        array = load_framework("nibabel").volumeutils.array_from_file(shape, dtype, file, offset, mmap=False)
        file.read(1)  # at the end of a packed file its checksum is compared
    array = _scaled(name, array, header)
    affine, placed, notes = _placed(name, header)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return Volume(array, affine, "2d" if array.ndim == 2 else "3d", placed=placed, notes=tuple(notes))


def encode(volume: Volume, *, packed: bool) -> bytes:
    """Return a NIfTI file of a volume, with nothing in its header but type and geometry; the same volume gives the same bytes."""
    nib = load_framework("nibabel")
    array = volume.array[:, :, None] if volume.axes == 2 else volume.array
    kind = nib.Nifti1Image if max(array.shape) < 2**15 else nib.Nifti2Image
    image = kind(array, volume.affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    straight = np.allclose(*_cosines(volume.affine), atol=1e-6)
    image.set_sform(volume.affine, code=int(volume.placed))
    image.set_qform(
        volume.affine, code=int(volume.placed and straight)
    )  # a quaternion cannot lean, as a tilted gantry makes slices do
    data: bytes = image.to_bytes()
    return gzip.compress(data, 6, mtime=0) if packed else data


def _cosines(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return axes.T @ axes, np.eye(3)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        if not packed:
            yield plain
            return
        with gzip.GzipFile(fileobj=plain) as file:
            yield file  # type: ignore[misc]


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except EOFError as error:
        raise DataError(f"{name} is cut off: its data end too early. Get it again.") from error
    except (OSError, zlib.error) as error:
        raise DataError(f"{name} is damaged or cut off: its data cannot be unpacked. Get it again.") from error


# ---------------------------------------------------------------- the header
def _header(name: str, file: IO[bytes]) -> Any:
    """Return the header by itself: extensions behind it are not read, and nibabel's repairs, which it would print, are ours."""
    nib = load_framework("nibabel")
    head = file.read(540)
    kind = nib.nifti2.Nifti2PairHeader if head[4:7] == b"n+2" else nib.nifti1.Nifti1PairHeader
    length = kind.template_dtype.itemsize
    if len(head) < length:
        raise DataError(f"{name} is cut off: it has {len(head)} bytes, less than the header of a NIfTI file. Get it again.")
    try:
        header = kind(head[:length], check=False)
        if int(header["sizeof_hdr"]) != length:
            raise ValueError(f"its header says to be {int(header['sizeof_hdr'])} bytes long")
    except Exception as error:  # nibabel raises HeaderDataError, NumPy ValueError and others
        raise _damaged(name, error) from error
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # NIfTI: "if pixdim[0] = 0 (unset), take 1"
    return header


def _damaged(name: str, error: object) -> DataError:
    return DataError(
        f"{name} has a damaged NIfTI header: {str(error).rstrip('.')}. Get it again, or convert the original data again."
    )


def _shape(name: str, header: Any) -> tuple[int, ...]:
    count = int(header["dim"][0])
    extents = [int(n) for n in header["dim"][1 : count + 1]]
    if not 1 <= count <= 7 or min(extents) < 1:
        raise _damaged(name, f"its dimensions are {extents or count}")
    while len(extents) > 2 and extents[-1] == 1:
        extents.pop()
    if len(extents) > 3:
        shown = " x ".join(map(str, extents))
        raise DataError(
            f"{name} has {len(extents)} dimensions, {shown}: several times, measurements or directions in one file. Expected 2 "
            "or 3. "
            "Take one of them out, for instance: nibabel.load(path).slicer[..., 0].to_filename(new)."
        )
    if len(extents) < 2:
        raise DataError(f"{name} has 1 dimension, {extents[0]}. Expected a scan of 2 or 3.")
    return tuple(extents)


def _dtype(name: str, header: Any) -> np.dtype:
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception as error:  # an unknown code
        raise _damaged(name, error) from error
    if dtype.kind not in "iuf":
        what = "colours" if dtype.fields else "complex numbers" if dtype.kind == "c" else f"the type {dtype}"
        raise DataError(
            f"{name} holds {what}. Expected one real number per voxel. Save the part that is meant (one channel, or the "
            "magnitude)."
        )
    return dtype


def _offset(name: str, header: Any) -> int:
    lowest, offset = header.template_dtype.itemsize + 4, float(header["vox_offset"])
    if offset == 0:
        return lowest
    if not lowest <= offset < 2**31:  # a NaN compares to False
        raise _damaged(name, f"its data should begin at byte {offset:g}")
    return int(offset)


def _check_size(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse a file that cannot hold what its header announces, before room is made for it."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    needed, there = offset + int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize, files.size(path)
    if needed > there * (_SHRINK if packed else 1):
        shown = " x ".join(map(str, shape))
        raise DataError(
            f"{path} is cut off or damaged: {shown} voxels need {needed:,} bytes, but it has {there:,}. Get it again."
        )


def _scaled(name: str, array: np.ndarray, header: Any) -> np.ndarray:
    try:
        slope, inter = header.get_slope_inter()
    except Exception as error:
        raise _damaged(name, error) from error
    if array.dtype.itemsize > 8:  # a long double, which few can calculate with
        array = array.astype(np.float64)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if slope is None or (slope, inter) == (1, 0):
        return native
    with np.errstate(over="ignore", invalid="ignore"):  # infinite values are refused later
        return (native * np.float64(slope) + np.float64(inter)).astype(np.float32)


# ---------------------------------------------------------------- where it lies
def _placed(name: str, header: Any) -> tuple[np.ndarray, bool, list[str]]:
    """Return the affine in millimetres, whether the file says where the axes point, and notes."""
    scale, notes = _millimetres(header)
    try:
        sform = header.get_sform(coded=True)[0]
        qform = header.get_qform(coded=True)[0]
    except Exception as error:  # a quaternion that is none
        if int(header["sform_code"]) <= 0:
            raise _damaged(name, error) from error
        sform, qform = header.get_sform(), None
    affine = sform if sform is not None else qform
    if affine is None:
        notes.append("The file does not say where the axes point in the patient (sform and qform are not set).")
        return check_affine(name, affine_of((_zooms(header) * scale).tolist())), False, notes
    affine = check_affine(name, np.diag([scale, scale, scale, 1.0]) @ _with_depth(affine, header))
    if sform is not None and qform is not None:
        notes += _conflict(affine, np.diag([scale, scale, scale, 1.0]) @ qform, header)
    return affine, True, notes


def _with_depth(affine: np.ndarray, header: Any) -> np.ndarray:
    """Give the affine of a picture the axis across, of which some files say that it has no length."""
    if int(header["dim"][0]) > 2 or affine[:3, 2].any():
        return affine
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    return np.column_stack([affine[:, :2], [*(normal / (np.linalg.norm(normal) or 1.0)), 0], affine[:, 3]])


def _zooms(header: Any) -> np.ndarray:
    zooms = np.array(header["pixdim"][1:4], dtype=float)
    zooms[int(header["dim"][0]) :] = 1  # of a picture, the third is not set
    return zooms


def _millimetres(header: Any) -> tuple[float, list[str]]:
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:  # a code NIfTI does not know
        unit = "unknown"
    if unit not in _UNITS:
        return 1.0, []
    return _UNITS[unit], [f"The file gives lengths in the unit {unit}; they were turned into millimetres."]


def _conflict(sform: np.ndarray, qform: np.ndarray, header: Any) -> list[str]:
    if not np.isfinite(qform).all():
        return []
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.maximum(np.array(header["dim"][1:4], dtype=float), 1) - 1
    apart = np.linalg.norm(corners @ (sform - qform).T, axis=1).max()
    if apart <= 0.1 * np.linalg.norm(sform[:3, :3], axis=0).min():
        return []
    return [f"The file places the scan twice, up to {apart:.3g} mm apart (sform and qform); the sform is used."]
