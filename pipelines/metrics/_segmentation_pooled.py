"""The segmentation report of all pixels together, as papers on street scenes have it: what is counted, metrics, tables, notes."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipelines.metrics._segmentation_boundaries import boundary_f1
from pipelines.metrics._segmentation_masks import Masks
from pipelines.metrics._segmentation_measures import dice, iou, pair_counts, ratio
from pipelines.metrics._segmentation_sums import defined_mean, group_rows, model_rows

__all__ = [
    "Counts",
    "baseline_table",
    "case_table",
    "class_table",
    "count",
    "error_table",
    "group_table",
    "notes",
    "weighted_scores",
]

_WORST = 100  # rows in the table of errors
_SHOWN = 10  # classes named in a sentence


@dataclass(frozen=True, eq=False)
class Counts:
    """One model on ``n`` cases by ``k`` classes.

    Parameters
    ----------
    both, true, said : ndarray of int, shape (n, k)
        Voxels that are of the class in truth and prediction, in truth, in the prediction.
    boundary : ndarray of float, shape (n, k)
        F1 of the boundary; ``nan`` where neither mask has one.
    confusion : ndarray of int, shape (k, k)
        Voxels of all cases: rows true, columns predicted.
    structures : tuple of int
        Classes that count in the means.
    """

    both: np.ndarray
    true: np.ndarray
    said: np.ndarray
    boundary: np.ndarray
    confusion: np.ndarray
    structures: tuple[int, ...]

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.true)

    @cached_property
    def right(self) -> np.ndarray:
        """Voxels of the right class, case by case."""
        return self.both.sum(axis=1)

    @cached_property
    def voxels(self) -> np.ndarray:
        """Voxels that count, case by case."""
        return self.true.sum(axis=1)

    @cached_property
    def boundary_by_case(self) -> np.ndarray:
        """Mean over the structures that a case has in truth or prediction."""
        return defined_mean(self.boundary[:, list(self.structures)].T)


def count(masks: Masks, models: Sequence[tuple[str, Any]], share: float) -> list[Counts]:
    """Count what models say, fetching every mask once.

    Parameters
    ----------
    masks : Masks
        The truth.
    models : sequence of (str, sequence of masks or int)
        Name and masks of each model, or one label that it says everywhere.
    share : float
        How near a boundary counts as met, as a share of the diagonal.

    Returns
    -------
    list of Counts
        One per model.

    Raises
    ------
    DataError
        Naming the first case that cannot be used.
    """
    k = len(masks.classes)
    rows: list[list[list[np.ndarray]]] = [[] for _ in models]
    totals = [np.zeros((k, k), dtype=np.int64) for _ in models]
    for i in range(masks.n):
        case = masks.case(i, models)
        for row, total, said in zip(rows, totals, case.said, strict=True):
            pairs = pair_counts(case.truth, said, k)
            total += pairs
            row.append([pairs.diagonal(), pairs.sum(axis=1), pairs.sum(axis=0), boundary_f1(case.truth, said, k, share)])
    found = []
    for row, total in zip(rows, totals, strict=True):
        both, true, said, boundary = (np.array(each) for each in zip(*row, strict=True))
        found.append(Counts(both, true, said, boundary, total, masks.structures))
    return found


def weighted_scores(counts: Counts, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return every metric for many weights at once.

    Parameters
    ----------
    counts : Counts
        What was counted in ``n`` cases.
    weights : ndarray of shape (n, b)
        How often each case counts.

    Returns
    -------
    dict of str to ndarray of shape (b,)
        ``nan`` where undefined.
    """
    weights = weights.astype(float)
    both, true, said = (each.T.astype(float) @ weights for each in (counts.both, counts.true, counts.said))
    overlaps = iou(both, true, said)
    which, voxels = list(counts.structures), true.sum(axis=0)
    known = ~np.isnan(counts.boundary_by_case)
    return {
        "mean_iou": defined_mean(overlaps[which]),
        "mean_dice": defined_mean(dice(both, true, said)[which]),
        "pixel_accuracy": ratio(both.sum(axis=0), voxels),
        "frequency_weighted_iou": ratio((true * np.nan_to_num(overlaps)).sum(axis=0), voxels),
        "boundary_f1": ratio(np.where(known, counts.boundary_by_case, 0) @ weights, known.astype(float) @ weights),
    }


# ---------------------------------------------------------------- tables
def baseline_table(ours: Counts, others: Mapping[str, Counts]) -> pd.DataFrame:
    """Put this model above simple ones."""
    return model_rows(weighted_scores, ours, others)


def class_table(counts: Counts, masks: Masks) -> pd.DataFrame:
    """Sum over all cases, class by class."""
    both, true, said = (each.sum(axis=0) for each in (counts.both, counts.true, counts.said))
    columns = {
        "iou": iou(both, true, said),
        "dice": dice(both, true, said),
        "precision": ratio(both, said),
        "recall": ratio(both, true),
        "boundary_f1": defined_mean(counts.boundary),
        "share": ratio(true, np.full(len(true), true.sum())),
        "cases": (counts.true > 0).sum(axis=0),
    }
    return pd.DataFrame(columns, index=pd.Index(masks.classes, name="class"))


def case_table(counts: Counts) -> pd.DataFrame:
    """List every case, the one with the largest share of wrong voxels first."""
    which = list(counts.structures)
    both, true, said = (each[:, which] for each in (counts.both, counts.true, counts.said))
    frame = pd.DataFrame(
        {
            "sample": np.arange(counts.n),
            "pixel_accuracy": ratio(counts.right, counts.voxels),
            "mean_iou": defined_mean(iou(both, true, said).T),
            "boundary_f1": counts.boundary_by_case,
        }
    )
    frame = frame.sort_values("pixel_accuracy", kind="stable")
    return frame.set_index(pd.RangeIndex(1, len(frame) + 1, name="rank"))


def error_table(counts: Counts, masks: Masks) -> pd.DataFrame:
    """List the cases and structures with the most wrong voxels."""
    which = list(counts.structures)
    both, true, said = (each[:, which] for each in (counts.both, counts.true, counts.said))
    wrong = (true + said - 2 * both).ravel()
    worst = np.argsort(-wrong, kind="stable")[: min(_WORST, np.count_nonzero(wrong))]
    rows: dict[str, Any] = {
        "sample": worst // len(which),
        "structure": [masks.names[at % len(which)] for at in worst.tolist()],
        "dice": dice(both, true, said).ravel()[worst],
        "iou": iou(both, true, said).ravel()[worst],
        "false_positive": (said - both).ravel()[worst],
        "false_negative": (true - both).ravel()[worst],
    }
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(worst) + 1, name="rank"))


def group_table(counts: Counts, columns: list[tuple[list[Hashable], np.ndarray]]) -> pd.DataFrame:
    """Sum over the cases of each group, column of groups after column."""
    return group_rows(weighted_scores, counts, columns)


# ---------------------------------------------------------------- notes
def notes(counts: Counts, masks: Masks, share: float) -> list[str]:
    """Say what the figures are of, and which classes they leave out."""
    found = [
        "Figures are of the pixels of all images together; boundary F1 is a mean over images, and counts as met what is within "
        f"{100 * share:g} % of the image's diagonal."
    ]
    if masks.background is not None:
        found.append(f"The means over classes leave {masks.classes[masks.background]!r} out, which is the background.")
    true, said = counts.true.sum(axis=0), counts.said.sum(axis=0)
    if not true.any():
        return [*found, "Every pixel is ignored, so nothing is defined."]
    if nowhere := _named(masks, (true == 0) & (said == 0)):
        found.append(f"No image has {nowhere} in truth or prediction: undefined there, and the means leave it out.")
    if untrue := _named(masks, (true == 0) & (said > 0)):
        found.append(f"No true mask has {untrue}, but predictions do: IoU and Dice are 0 there.")
    return found


def _named(masks: Masks, which: np.ndarray) -> str:
    names = [repr(name) for name, chosen in zip(masks.classes, which, strict=True) if chosen]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
