"""Slices in their places: whether they are of one kind, sorted along their normal; the missing, double, uneven named."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import DataError

from .grids import check_affine

__all__ = ["Plane", "arranged", "as_ras", "check_alike"]

_ONE_PLACE = 1e-3  # millimetres within which two slices lie at the same place
_UNEVEN = 0.05  # how much the gaps between slices may differ, relative to them
_TILT = 0.5  # degrees by which slices may be shifted without a word


@dataclasses.dataclass(frozen=True)
class Plane:
    """One slice: where it comes from, its size, where it lies (in DICOM's LPS millimetres), and how its values are meant."""

    name: str
    size: tuple[int, int]  # rows, columns
    colours: tuple[int, str]  # samples per pixel, photometric interpretation
    position: np.ndarray | None = None
    orientation: np.ndarray | None = None  # along a row, down a column
    spacing: tuple[float, float] | None = None  # from row to row, from column to column
    thickness: float | None = None
    rescale: tuple[float, float] = (1.0, 0.0)
    window: tuple[float, float] | None = None


def check_alike(name: str, planes: list[Plane]) -> None:
    """Refuse slices that are not of one kind, and name those that are fewer."""
    for what, key in _KEYS.items():
        groups: dict[Any, list[Plane]] = {}
        for plane in planes:
            groups.setdefault(key(plane), []).append(plane)
        if len(groups) > 1:
            told = "; ".join(
                f"{_shown(value)} in {len(group)}" for value, group in sorted(groups.items(), key=lambda item: -len(item[1]))[:4]
            )
            odd = min(groups.values(), key=len)
            raise DataError(
                f"{name} mixes slices that differ in {what}: {told}. They are no one volume. Take the others away, for instance "
                f"{odd[0].name}."
            )
    if planes[0].position is None or planes[0].orientation is None:
        raise DataError(
            f"{name} has {len(planes)} images of one series that do not say where they lie (ImagePositionPatient, "
            "ImageOrientationPatient), "
            "as views of an X-ray do not. Read them one by one."
        )
    if planes[0].spacing is None:
        raise DataError(f"{name} has slices without PixelSpacing. Expected it in a series of slices. Export the original series.")


_KEYS: dict[str, Callable[[Plane], Any]] = {
    "size (rows, columns)": lambda plane: plane.size,
    "colours": lambda plane: plane.colours,
    "whether they have a position": lambda plane: plane.position is not None,
    "orientation": lambda plane: None if plane.orientation is None else tuple((np.round(plane.orientation, 2) + 0.0).tolist()),
    "spacing": lambda plane: None if plane.spacing is None else tuple(float(f"{step:.3g}") for step in plane.spacing),
}


def _shown(value: Any) -> str:
    return (
        "(" + ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value) + ")"
        if isinstance(value, tuple)
        else str(value)
    )


def arranged(name: str, planes: list[Plane]) -> tuple[list[int], np.ndarray, list[str]]:
    """Sort slices along their normal; return the order, the affine in RAS, and notes."""
    along, down = np.split(np.asarray(planes[0].orientation), 2)
    normal = np.cross(along, down)
    positions = np.array([plane.position for plane in planes])
    places = positions @ normal
    order = [int(k) for k in np.argsort(places, kind="stable")]
    places, positions = places[order], positions[order]
    _check_gaps(name, places, [planes[k].name for k in order])
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    straight = positions[0] + np.arange(len(planes))[:, None] * step
    spacing = planes[0].spacing or (1.0, 1.0)
    if np.abs(positions - straight).max() > max(_UNEVEN * np.linalg.norm(step), 0.1 * min(spacing)):
        raise DataError(
            f"{name} has slices that are shifted against each other, off one line. They are no one volume: export them anew."
        )
    affine = np.column_stack([along * spacing[1], down * spacing[0], step, positions[0]])
    tilt = math.degrees(math.acos(min(1.0, float(step @ normal / np.linalg.norm(step)))))
    notes = [f"The slices are shifted by {tilt:.1f} degrees (tilted gantry); the affine says so."] if tilt > _TILT else []
    return order, check_affine(name, as_ras(affine)), notes


def _check_gaps(name: str, places: np.ndarray, names: list[str]) -> None:
    """Refuse slices that are double, missing or uneven, with their places in millimetres along the normal."""
    gaps = np.diff(places)
    double = np.flatnonzero(gaps < _ONE_PLACE)
    if double.size:
        told = ", ".join(f"{places[k]:.2f} mm ({Path(names[k]).name} and {Path(names[k + 1]).name})" for k in double[:5])
        raise DataError(
            f"{name} has {double.size} slices at the place of another, at {told}{', …' if double.size > 5 else ''}. They are "
            "copies, or "
            "several times, echoes or directions in one series. Expected one slice per place: take out those that are meant."
        )
    base = float(np.sort(gaps)[(gaps.size - 1) // 2])  # the smaller middle one: of two gaps, the larger misses a slice
    if (np.abs(gaps - base) <= _UNEVEN * base).all():
        return
    for step in (base, base / 2, base / 3):  # so many may be missing that no two neighbours are left
        counts = np.rint(gaps / step).astype(int)
        if (np.abs(gaps - counts * step) <= _UNEVEN * step).all():
            missing = [places[k] + step * m for k in np.flatnonzero(counts > 1) for m in range(1, counts[k])]
            told = ", ".join(f"{place:.2f}" for place in missing[:10]) + (", …" if len(missing) > 10 else "")
            raise DataError(
                f"{name} lacks {len(missing)} slices, at {told} mm along the normal of the slices: {len(places)} are there, "
                f"{step:.4g} mm apart. Get the missing files, or cut the series so that it has no hole."
            )
    k = int(np.argmax(np.abs(gaps - base)))
    raise DataError(
        f"{name} has slices at uneven distances: mostly {base:.4g} mm, but {gaps[k]:.4g} mm between {places[k]:.2f} and "
        f"{places[k + 1]:.2f} mm. "
        "Expected even ones. Resample the series elsewhere, or take the part that is even."
    )


def as_ras(columns: np.ndarray) -> np.ndarray:
    """Return the affine in RAS of the four columns `(3, 4)` of one in DICOM's LPS."""
    return np.vstack([np.diag([-1.0, -1.0, 1.0]) @ columns, [0, 0, 0, 1]]) + 0.0  # no minus zeros
