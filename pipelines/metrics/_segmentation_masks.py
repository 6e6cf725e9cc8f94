"""The arguments of `metrics.segmentation`, checked case by case, since all masks together may not fit into memory."""

import numbers
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np
import pandas as pd

from pipelines import checks
from pipelines.errors import DataError

__all__ = ["Case", "Masks", "check_masks", "check_sequence"]

_SHOWN = 10  # names and labels in a sentence


@dataclass(frozen=True, eq=False)
class Case:
    """One true mask and what models say of it, in a layout of their own: label ``v`` is ``v + 1``, and 0 counts nowhere.

    Parameters
    ----------
    truth : ndarray of int32, 2-D or 3-D
        The true mask.
    said : tuple of ndarray of int32, each of the same shape
        A mask a model.
    spacing : tuple of float
        Millimetres per axis, or 1.
    """

    truth: np.ndarray
    said: tuple[np.ndarray, ...]
    spacing: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Masks:
    """True masks, fetched one at a time.

    Parameters
    ----------
    y_true : sequence of array-like
        The true masks.
    classes : tuple
        Names; ``classes[v]`` is what a mask says with ``v``.
    structures : tuple of int
        Numbers of the classes that count in the means: all but the background.
    ignore : int or None
        Value in ``y_true`` of voxels that count nowhere.
    spacing : list of tuple of float, or None
        Millimetres per axis of each case.
    """

    y_true: Any
    classes: tuple[Hashable, ...]
    structures: tuple[int, ...]
    ignore: int | None
    spacing: list[tuple[float, ...]] | None

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.y_true)

    @property
    def names(self) -> tuple[Hashable, ...]:
        """Names of the structures."""
        return tuple(self.classes[v] for v in self.structures)

    @property
    def background(self) -> int | None:
        """Number of the class that is no structure."""
        return next((v for v in range(len(self.classes)) if v not in self.structures), None)

    def case(self, i: int, models: Sequence[tuple[str, Any]]) -> Case:
        """Fetch a case; of each model its name and its masks, or one label that it says everywhere."""
        name = f"y_true[{i}]"
        mask = _mask(self.y_true[i], name)
        counts = np.ones(mask.shape, dtype=bool) if self.ignore is None else mask != self.ignore
        self._refuse_unknown(mask, counts, name)
        said = tuple(self._said(masks, i, f"{model}[{i}]", counts) for model, masks in models)
        return Case(_shifted(mask, counts), said, self._spacing(i, mask.ndim))

    def _said(self, masks: Any, i: int, name: str, counts: np.ndarray) -> np.ndarray:
        if isinstance(masks, int):
            return np.where(counts, np.int32(masks + 1), np.int32(0))
        mask = _mask(masks[i], name)
        if mask.shape != counts.shape:
            raise DataError(f"{name} has shape {mask.shape}, but y_true[{i}] has shape {counts.shape}; they must be equal.")
        self._refuse_unknown(mask, counts, name)
        return _shifted(mask, counts)

    def _refuse_unknown(self, mask: np.ndarray, counts: np.ndarray, name: str) -> None:
        k = len(self.classes)
        if mask.min() >= 0 and mask.max() < k:
            return
        wrong = np.unique(mask[((mask < 0) | (mask >= k)) & counts]).tolist()
        if wrong:
            known = ", ".join(f"{v} = {each!r}" for v, each in enumerate(self.classes[:_SHOWN])) + (", …" if k > _SHOWN else "")
            hint = "" if self.ignore is not None else f" To leave such voxels out, pass ignore={wrong[-1]:.0f}."
            what = "label" if len(wrong) == 1 else "labels"
            shown = ", ".join(f"{label:.0f}" for label in wrong[:_SHOWN]) + (", …" if len(wrong) > _SHOWN else "")
            raise DataError(f"{name} holds the {what} {shown}, but the {k} classes are {known}.{hint}")

    def _spacing(self, i: int, ndim: int) -> tuple[float, ...]:
        if self.spacing is None:
            return (1.0,) * ndim
        if len(self.spacing[i]) != ndim:
            raise DataError(
                f"The spacing of case {i} is {self.spacing[i]}, but y_true[{i}] has {ndim} axes; give millimetres for each axis."
            )
        return self.spacing[i]


def check_masks(y_true: Any, classes: Any, background: Any, ignore: Any, spacing: Any) -> Masks:
    """Check the arguments of `metrics.segmentation` that describe the masks; the masks themselves are checked when fetched.

    Parameters
    ----------
    y_true : sequence of array-like
        The true masks.
    classes : sequence
        Names of the classes.
    background : Hashable, None or ...
        The class that is no structure; ``...`` stands for the first.
    ignore : int or None
        Value of voxels that count nowhere.
    spacing : sequence of float, sequence of those, or None
        Millimetres per axis.

    Returns
    -------
    Masks
        The same, checked.

    Raises
    ------
    DataError
        If one of them cannot be used.

    Examples
    --------
    >>> masks = check_masks([[[0, 1], [1, 255]]], ["none", "heart"], ..., 255, None)
    >>> masks.names
    ('heart',)
    >>> masks.case(0, [("y_pred", [[[0, 1], [0, 0]]])]).truth.tolist()
    [[1, 2], [2, 0]]
    """
    y_true = check_sequence(y_true, "y_true")
    if not len(y_true):
        raise DataError("y_true is empty: there is nothing to evaluate.")
    names = _names(classes)
    if ignore is not None and (isinstance(ignore, bool) or not isinstance(ignore, numbers.Integral)):
        raise DataError(f"ignore must be the whole number that stands for such voxels in y_true, not {ignore!r}.")
    structures = _structures(names, background)
    return Masks(y_true, names, structures, None if ignore is None else int(ignore), _spacings(spacing, len(y_true)))


def check_sequence(masks: Any, name: str, n: int | None = None) -> Any:
    """Return a sequence of masks that answers ``len`` and ``[i]``, of ``n`` masks where that is given."""
    if isinstance(masks, pd.Series):
        masks = masks.tolist()  # whose [i] would be a label of the index
    if isinstance(masks, str | bytes | dict) or not (hasattr(masks, "__len__") and hasattr(masks, "__getitem__")):
        raise DataError(f"{name} must be a sequence of masks, not {type(masks).__name__}.")
    if n is not None and len(masks) != n:
        raise DataError(f"y_true has {n} masks, but {name} has {len(masks)}; they must describe the same cases.")
    return masks


def _names(classes: Any) -> tuple[Hashable, ...]:
    if isinstance(classes, str) or not hasattr(classes, "__len__"):
        raise DataError(f"classes must be a sequence with the name of each label, not {classes!r}.")
    names = tuple(classes)
    if not names:
        raise DataError("classes is empty; give the name of each label, classes[v] for the label v.")
    if len(set(names)) != len(names):
        raise DataError(f"classes names {next(each for each in names if names.count(each) > 1)!r} more than once.")
    return names


def _structures(names: tuple[Hashable, ...], background: Any) -> tuple[int, ...]:
    if background is None:
        return tuple(range(len(names)))
    if isinstance(background, EllipsisType):
        background = names[0]
    if background not in names:
        raise DataError(f"background={background!r} is not one of the classes.{checks.did_you_mean(background, names)}")
    if len(names) == 1:
        raise DataError(f"The only class, {names[0]!r}, is the background; name a structure too, or pass background=None.")
    return tuple(v for v, name in enumerate(names) if name != background)


def _mask(values: Any, name: str) -> np.ndarray:
    try:
        mask = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be read as an array of labels ({error}).") from error
    if mask.dtype.kind not in "biuf":
        raise DataError(f"{name} must hold whole numbers, but its dtype is {mask.dtype}.")
    if mask.ndim not in (2, 3):
        raise DataError(f"{name} has {mask.ndim} dimensions; expected 2 or 3. A single mask goes into a list: [mask].")
    if not mask.size:
        raise DataError(f"{name} is empty: its shape is {mask.shape}.")
    if mask.dtype.kind == "f":
        _refuse_fractions(mask, name)
    return mask


def _refuse_fractions(mask: np.ndarray, name: str) -> None:
    broken = ~(np.isfinite(mask) & (mask == np.floor(mask)))
    if broken.any():
        where = np.argwhere(broken)[0].tolist()
        raise DataError(
            f"{name}{where} is {mask[tuple(where)]}, no whole number ({broken.sum()} voxels are none); "
            "expected labels. Decide probabilities first, as with argmax over the classes."
        )


def _shifted(mask: np.ndarray, counts: np.ndarray) -> np.ndarray:
    # One order of axes for all, since masks from NIfTI files come in the other one.
    moved = mask.astype(np.int32, order="C")
    moved += 1
    moved[~counts] = 0
    return moved


def _spacings(spacing: Any, n: int) -> list[tuple[float, ...]] | None:
    if spacing is None:
        return None
    values = spacing.tolist() if hasattr(spacing, "tolist") else spacing
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise DataError(f"spacing must be millimetres per axis, such as (1.0, 1.0, 2.5), or those of each case; not {spacing!r}.")
    if all(isinstance(each, numbers.Real) for each in values):
        return [_millimetres(values, "spacing")] * n
    if len(values) != n:
        raise DataError(f"spacing has {len(values)} entries, but there are {n} cases; give one for all, or one per case.")
    return [_millimetres(each, f"spacing[{i}]") for i, each in enumerate(values)]


def _millimetres(values: Any, name: str) -> tuple[float, ...]:
    try:
        sizes = tuple(float(each) for each in values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be millimetres per axis, such as (1.0, 1.0, 2.5), not {values!r}.") from error
    if not all(np.isfinite(size) and size > 0 for size in sizes) or len(sizes) not in (2, 3):
        raise DataError(f"{name} must be 2 or 3 sizes of more than 0 millimetres, one per axis; not {sizes}.")
    return sizes
