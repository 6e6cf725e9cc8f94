"""The metrics of a segmentation, for any weights of the cases: all of them, the members of a group, or many resamples at once."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipelines.metrics._segmentation_measures import Measures, iou, ratio

__all__ = ["BY_CASE", "by_structure", "defined_mean", "group_rows", "model_rows", "scores", "weighted_scores"]

Weigh = Callable[[Any, np.ndarray], dict[str, np.ndarray]]  # `weighted_scores` of one kind of report

_MODEL = "this model"

BY_CASE = ("dice", "iou", "hd95", "surface_dice", "volume_error")
"""What is measured in each case, and averaged."""


def scores(weigh: Weigh, measured: Any) -> dict[str, float]:
    """Return every metric with each case counted once."""
    return {name: float(values[0]) for name, values in weigh(measured, np.ones((measured.n, 1))).items()}


def model_rows(weigh: Weigh, ours: Any, others: Mapping[str, Any]) -> pd.DataFrame:
    """Put this model above simple ones."""
    index = pd.Index([_MODEL, *others], name="model")
    return pd.DataFrame([scores(weigh, measured) for measured in (ours, *others.values())], index=index)


def group_rows(weigh: Weigh, measured: Any, columns: list[tuple[list[Hashable], np.ndarray]]) -> pd.DataFrame:
    """Take the cases of each group alone, column of groups after column."""
    parts = []
    for names, numbers in columns:
        member = numbers[:, None] == np.arange(len(names))
        rows = {"n": member.sum(axis=0)} | weigh(measured, member)
        parts.append(pd.DataFrame(rows, index=pd.Index(names, name="group")))
    return pd.concat(parts)


def weighted_scores(measures: Measures, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return every metric for many weights at once.

    Parameters
    ----------
    measures : Measures
        What was measured in ``n`` cases.
    weights : ndarray of shape (n, b)
        How often each case counts.

    Returns
    -------
    dict of str to ndarray of shape (b,)
        Means over structures of means over cases, and what all voxels together give; ``nan`` where undefined.
    """
    weights = weights.astype(float)
    found = {name: defined_mean(by_structure(getattr(measures, name), weights)) for name in BY_CASE}
    return found | _pooled(measures, weights)


def by_structure(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean over the cases in which a value is defined: from (n, s) values, (s, b) means."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).T @ weights, defined.T.astype(float) @ weights)


def defined_mean(rows: np.ndarray) -> np.ndarray:
    """Return the mean of the rows that are defined, column by column; nan where none is."""
    defined = ~np.isnan(rows)
    return ratio(np.where(defined, rows, 0.0).sum(axis=0), defined.sum(axis=0))


def _pooled(measures: Measures, weights: np.ndarray) -> dict[str, np.ndarray]:
    right, voxels = (counts.astype(float) @ weights for counts in (measures.right, measures.voxels))
    both, true, said = (counts.T.astype(float) @ weights for counts in (measures.both, measures.true, measures.said))
    overlaps = iou(both, true, said)
    # All voxels that are of no structure are of the background, so its own counts are what is left over.
    rest = [whole - part.sum(axis=0) for whole, part in ((right, both), (voxels, true), (voxels, said))]
    shares = np.vstack([true, rest[1]]) * np.nan_to_num(np.vstack([overlaps, iou(*rest)]))
    return {
        "pixel_accuracy": ratio(right, voxels),
        "iou_pooled": defined_mean(overlaps),
        "frequency_weighted_iou": ratio(shares.sum(axis=0), voxels),
    }
