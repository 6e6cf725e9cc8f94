"""Volumes and the grids they lie on: turned, resampled, and brought back, with nibabel and SciPy.

An affine takes the indices of a voxel to millimetres in the patient, growing to the right, to the front and to the head ("RAS"):
the convention of NIfTI, nibabel and MONAI; DICOM's is the opposite in the first two. A volume of which nothing says where it lies
in the patient (a PNG file, an array) is not `placed`: its affine knows the spacing only, and nothing turns it.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from pipelines import checks
from pipelines.engines import load_framework
from pipelines.errors import DataError, ParameterError

from . import files

__all__ = ["Volume", "affine_of", "check_affine", "on_grid", "resampled", "same_grid", "to_orientation"]

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_SLACK = 1e-3  # voxels by which positions may differ and still be one


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Volume:
    """A scan with its geometry; nothing in it says whose it is.

    Attributes
    ----------
    array : ndarray
        "3d": `(i, j, k)`, as NIfTI stores it; from DICOM `(columns, rows, slices)`. "2d": `(rows, columns)`, as a picture is
        looked at; from NIfTI as stored. Colour comes last, `(…, 3)`.
    affine : ndarray, (4, 4)
        Takes `(i, j, k, 1)` to millimetres, RAS+; for "2d" the third axis is the one across the picture.
    kind : "2d" or "3d"
        The number of axes in space.
    placed : bool
        Whether the source says where it lies in the patient.
    modality : str
        DICOM's short name ("CT", "MR", "CR", …), "" where the source does not tell.
    window : (float, float), optional
        Centre and width to look at it with, where the source recommends some.
    notes : tuple of str
        What was done or noticed while reading, in sentences.

    Examples
    --------
    >>> Volume(np.zeros((4, 3, 2), np.int16), np.diag([1.0, 1.0, 2.5, 1.0]), "3d", modality="CT")
    Volume(3d, 4 x 3 x 2, int16, 1 x 1 x 2.5 mm, RAS, CT)
    """

    array: np.ndarray
    affine: np.ndarray
    kind: Literal["2d", "3d"]
    placed: bool = True
    modality: str = ""
    window: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def axes(self) -> int:
        """The number of axes in space, 2 or 3."""
        return int(self.kind[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """The voxels along each axis in space."""
        return self.array.shape[: self.axes]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.array.ndim == self.axes else self.array.shape[-1]

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres from voxel to voxel along each axis in space; 1 where the source does not tell."""
        return tuple(float(step) for step in np.linalg.norm(self.affine[:3, : self.axes], axis=0))

    @property
    def orientation(self) -> str:
        """Where the three axes of the affine point to, such as "RAS"; "" where the volume is not placed."""
        return "".join(load_framework("nibabel").aff2axcodes(self.affine)) if self.placed else ""

    def tobytes(self) -> bytes:
        """Return the values as bytes, by which copies of a scan are found."""
        return self.array.tobytes()

    def with_array(self, array: np.ndarray) -> "Volume":
        """Return a volume with other values, or channels, on the same grid.

        Raises
        ------
        DataError
            If the array does not lie on this grid.

        Examples
        --------
        >>> Volume(np.zeros((4, 3)), np.eye(4), "2d", placed=False).with_array(np.ones((4, 3, 2))).channels
        2
        """
        if array.shape[: self.axes] != self.shape or array.ndim > self.axes + 1:
            raise DataError(
                f"The array has the shape {array.shape}. Expected {self.shape}, as the volume has, with or without channels."
            )
        return dataclasses.replace(self, array=array)

    def __repr__(self) -> str:
        spacing = " x ".join(f"{step:.4g}" for step in self.spacing) + " mm"
        facts = [
            self.kind,
            " x ".join(map(str, self.array.shape)),
            str(self.array.dtype),
            spacing,
            self.orientation,
            self.modality,
        ]
        return f"Volume({', '.join(filter(None, facts))})"


def affine_of(spacing: Sequence[float]) -> np.ndarray:
    """Return the affine of a volume that is not placed: its spacing and nothing else.

    Examples
    --------
    >>> affine_of([0.5, 2.0]).diagonal().tolist()
    [0.5, 2.0, 1.0, 1.0]
    """
    return np.diag([*map(float, spacing), *[1.0] * (4 - len(spacing))])


def check_affine(name: str, affine: Any) -> np.ndarray:
    """Return an affine as float64 `(4, 4)`; DataError unless it is one that can be inverted.

    Examples
    --------
    >>> check_affine("a.nii", np.diag([1, 0, 1, 1]))
    Traceback (most recent call last):
    pipelines.errors.DataError: a.nii has an affine with voxels of the size 1 x 0 x 1 mm, which span no space. ...
    """
    try:
        matrix = np.asarray(affine, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} has an affine that is no matrix of numbers. Expected 4 x 4 numbers.") from error
    if matrix.shape == (4, 4) and not np.isfinite(matrix).all():
        raise DataError(f"{name} has an affine with NaN or infinite numbers. Write it anew, or convert the original data again.")
    if matrix.shape != (4, 4) or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise DataError(f"{name} has an affine of the shape {matrix.shape}. Expected (4, 4) with a last row of 0, 0, 0, 1.")
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    if sizes.min() <= 0 or sizes.max() > 1e6 or abs(np.linalg.det(matrix[:3, :3] / np.where(sizes > 0, sizes, 1))) < 1e-3:
        shown = " x ".join(f"{size:.3g}" for size in sizes)
        raise DataError(
            f"{name} has an affine with voxels of the size {shown} mm, which span no space. "
            "Write it anew, or convert the original data again."
        )
    return matrix


def same_grid(one: Volume, other: Volume) -> bool:
    """Tell whether the voxels of two volumes lie at the same places, to a hundredth of a voxel.

    Where one of them is not placed, only the numbers of voxels are compared.

    Examples
    --------
    >>> scan = Volume(np.zeros((4, 3, 2)), np.eye(4), "3d")
    >>> same_grid(scan, to_orientation(scan, "LAS"))
    False
    """
    if one.kind != other.kind or one.shape != other.shape:
        return False
    if not (one.placed and other.placed):
        return True
    corners = np.array([(*corner, *(0, 1)[one.axes - 2 :]) for corner in _corners(one.shape)], dtype=float)
    apart = np.abs(corners @ (one.affine - other.affine).T).max()
    return bool(apart <= 0.01 * min(*one.spacing, *other.spacing))


# ---------------------------------------------------------------- turning
def to_orientation(volume: Volume, code: str = "RAS") -> Volume:
    """Reorder and flip the axes until they point as `code` says; no value changes. `on_grid` is the way back.

    Parameters
    ----------
    volume : Volume
        A volume that is not placed is returned as it is, since nothing says where its axes point.
    code : str
        Three letters of R or L, A or P, S or I. The two axes of a "2d" volume come in the order these have, and the one across
        stays last.

    Returns
    -------
    Volume
        The same voxels at the same places.

    Raises
    ------
    ParameterError
        If `code` is no orientation.

    Examples
    --------
    >>> flipped = Volume(np.arange(6).reshape(3, 2, 1), np.diag([-1.0, 1.0, 1.0, 1.0]), "3d")
    >>> to_orientation(flipped, "RAS").array[:, 0, 0].tolist(), flipped.array[:, 0, 0].tolist()
    ([4, 2, 0], [0, 2, 4])
    """
    _check_code(code)
    if not volume.placed:
        return volume
    nib = load_framework("nibabel")
    start, asked = nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(code)
    places = [int(np.argwhere(asked[:, 0] == world)[0, 0]) for world in start[:, 0]]
    flips = start[:, 1] * asked[places, 1]
    if volume.axes == 2:
        places = [int(places[0] > places[1]), int(places[1] > places[0]), 2]
        flips[2] = 1
    turn = np.column_stack([places, flips])
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, (*volume.shape, 1)[:3])
    return dataclasses.replace(volume, array=_turned(volume.array, turn[: volume.axes]), affine=affine)


def _check_code(code: str) -> None:
    letters = {letter: _OPPOSITE[letter] for letter in str(code) if letter in _OPPOSITE}
    if len(str(code)) != 3 or len(letters) != 3 or set(letters) & set(letters.values()):
        raise ParameterError(
            f'There is no orientation {code!r}. Expected one of R or L, one of A or P and one of S or I, such as "RAS".'
        )


def _turned(array: np.ndarray, turn: np.ndarray) -> np.ndarray:
    turned: np.ndarray = load_framework("nibabel").orientations.apply_orientation(array, turn)
    return np.ascontiguousarray(turned)  # PyTorch takes no negative strides


# ---------------------------------------------------------------- resampling
def resampled(volume: Volume, spacing: float | Sequence[float], order: int = 1) -> Volume:
    """Interpolate a volume at another spacing; its axes and its middle stay. `on_grid` is the way back.

    Parameters
    ----------
    volume : Volume
        What to resample, each channel by itself.
    spacing : float, or one per axis
        The millimetres from voxel to voxel; exactly these, so that the outermost voxels may reach half a voxel more or less far.
    order : int
        Of the spline, 0 to 5: 0 takes the nearest value and keeps the type, as labels need it; 1 is linear; 3 is cubic. Nothing
        is smoothed before it is made coarser.

    Returns
    -------
    Volume
        float32 for an order above 0.

    Raises
    ------
    ParameterError
        If spacing or order are impossible.

    Examples
    --------
    >>> scan = Volume(np.arange(8.0).reshape(8, 1, 1), np.diag([1.0, 1.0, 1.0, 1.0]), "3d")
    >>> coarse = resampled(scan, [2, 1, 1])
    >>> coarse.array.ravel().tolist(), coarse.affine[0].tolist()
    ([0.5, 2.5, 4.5, 6.5], [2.0, 0.0, 0.0, 0.5])
    """
    steps = _checked_spacing(spacing, volume.axes)
    ratio = steps / np.array(volume.spacing)
    shape = tuple(max(1, round(n / r)) for n, r in zip(volume.shape, ratio, strict=True))
    files.check_memory("The resampled volume", shape, 4 * volume.channels)
    change = np.eye(4)
    for axis, (n, new, r) in enumerate(zip(volume.shape, shape, ratio, strict=True)):
        change[axis, axis], change[axis, 3] = r, (n - 1) / 2 - r * (new - 1) / 2
    array = _interpolated(volume, change, shape, order)
    return dataclasses.replace(volume, array=array, affine=volume.affine @ change)


def on_grid(volume: Volume, like: Volume, order: int = 1, fill: float = 0) -> Volume:
    """Bring a volume onto the grid of another: the way back from `to_orientation`, `resampled` and cropping.

    Where the grids differ by the order and direction of axes only, values are moved, not interpolated: the result is exact.

    Parameters
    ----------
    volume : Volume
        A mask, or probabilities with one channel per class.
    like : Volume
        The volume whose grid, shape and affine, the result has.
    order : int
        As in `resampled`: 0 for labels.
    fill : float
        The value of voxels that lie outside `volume`.

    Returns
    -------
    Volume
        The values of `volume` on the grid of `like`.

    Raises
    ------
    DataError
        If one is "2d" and the other "3d", one is placed and the other is not, or two pictures lie in different planes.

    Examples
    --------
    >>> scan = Volume(np.arange(12).reshape(3, 2, 2), np.diag([-1.0, 1.0, 3.0, 1.0]), "3d")
    >>> np.array_equal(on_grid(to_orientation(scan, "PSL"), scan).array, scan.array)
    True
    """
    _check_comparable(volume, like)
    change = np.linalg.solve(volume.affine, like.affine)
    turn = _as_turn(change[: volume.axes], volume.shape, like.shape)
    array = _interpolated(volume, change, like.shape, order, fill) if turn is None else _turned(volume.array, turn)
    return dataclasses.replace(volume, array=array, affine=like.affine)


def _check_comparable(volume: Volume, like: Volume) -> None:
    if volume.kind != like.kind or volume.placed != like.placed:
        placed = {True: "placed in the patient", False: "not placed"}
        raise DataError(
            f"A volume of the kind {volume.kind}, {placed[volume.placed]}, cannot be brought onto a grid of the kind "
            f"{like.kind}, "
            f"{placed[like.placed]}. Take the grid of the scan that the volume was made from."
        )
    if volume.axes == 2:
        across = np.linalg.solve(volume.affine, like.affine)[2]
        if max(abs(across @ (*corner, 0, 1)) for corner in _corners(like.shape)) > 0.5:
            raise DataError("The two pictures lie in different planes of the patient. Take the grid of the same slice.")


def _as_turn(change: np.ndarray, shape: tuple[int, ...], target: tuple[int, ...]) -> np.ndarray | None:
    """Return a change of indices as nibabel's orientation (axis, flip), or None where it is more than reordering and flipping."""
    axes = len(shape)
    whole = np.rint(change[:, :axes])
    if (np.abs(change[:, :axes] - whole) * target).max() > _SLACK or not (np.abs(whole).sum(axis=1) == 1).all():
        return None
    places = np.abs(whole).argmax(axis=1)
    flips = whole[np.arange(axes), places]
    starts = np.where(flips < 0, np.array(shape) - 1, 0)
    fits = sorted(places) == list(range(axes)) and all(target[place] == n for place, n in zip(places, shape, strict=True))
    return np.column_stack([places, flips]) if fits and np.abs(change[:, 3] - starts).max() <= _SLACK else None


def _interpolated(volume: Volume, change: np.ndarray, shape: tuple[int, ...], order: int, fill: float = 0) -> np.ndarray:
    """Interpolate at the places `change` gives the new indices; up to half a voxel past the edge, the edge's value counts."""
    checks.number("order", order, 0, 5, integer=True)
    axes, array = volume.axes, volume.array
    dtype = array.dtype if order == 0 else np.dtype(np.float32)
    kind = {"|b1": np.uint8, "<f2": np.float32}.get(dtype.str, dtype)  # what SciPy cannot work with
    work = array.astype(kind, copy=False)
    matrix, offset = change[:axes, :axes], change[:axes, 3]
    outside = _outside(matrix, offset, volume.shape, shape)
    result = np.empty(shape + array.shape[axes:], dtype=work.dtype)
    for channel in np.ndindex(array.shape[axes:]):
        _transform(work[(..., *channel)], matrix, offset, result[(..., *channel)], order)
    if outside is not None:
        result[outside] = fill
    return result.astype(dtype, copy=False)


def _transform(array: np.ndarray, matrix: np.ndarray, offset: np.ndarray, output: np.ndarray, order: int) -> None:
    from scipy import ndimage  # comes with scikit-learn; here, since `import medical` does without it

    straight = np.count_nonzero(matrix - np.diag(matrix.diagonal())) == 0
    ndimage.affine_transform(
        array, matrix.diagonal() if straight else matrix, offset, output.shape, output, order=order, mode="nearest"
    )  # with the diagonal alone it is much quicker


def _outside(matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, ...], target: tuple[int, ...]) -> np.ndarray | None:
    """Tell which of the new voxels lie more than half a voxel outside; None where none does."""
    ends = np.array(list(_corners(target))) @ matrix.T + offset
    reach = np.array(shape) - 0.5 + _SLACK
    if (ends > -0.5 - _SLACK).all() and (ends < reach).all():
        return None
    outside = np.zeros(target, dtype=bool)
    indices = np.ogrid[tuple(slice(n) for n in target)]
    for row, start, end in zip(matrix, offset, reach, strict=True):
        place = start + sum(step * index for step, index in zip(row, indices, strict=True))
        outside |= (place < -0.5 - _SLACK) | (place > end)
    return outside


def _corners(shape: tuple[int, ...]) -> itertools.product:
    return itertools.product(*((0, n - 1) for n in shape))


def _checked_spacing(spacing: float | Sequence[float], axes: int) -> np.ndarray:
    try:
        steps = np.broadcast_to(np.asarray(spacing, dtype=float), axes)
    except (TypeError, ValueError):
        steps = np.zeros(axes)
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise ParameterError(f"spacing={spacing!r} is no spacing. Expected millimetres above 0, one number or {axes}.")
    return steps
