"""Tables and curves of the segmentation report."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipelines.metrics._segmentation_masks import Masks
from pipelines.metrics._segmentation_measures import Measures
from pipelines.metrics._segmentation_pooled import Counts
from pipelines.metrics._segmentation_sums import BY_CASE, by_structure, group_rows, model_rows, weighted_scores

__all__ = [
    "baseline_table",
    "case_table",
    "confusion_table",
    "dice_by_case",
    "error_table",
    "group_table",
    "headline_table",
    "structure_table",
]

_COMPARED = ["dice", "iou", "hd95", "surface_dice", "pixel_accuracy"]
_WORST = 100  # rows in the table of errors
_POINTS = 100  # of a curve


def headline_table(found: Mapping[str, float], spread: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Put metrics beside the ends of their intervals."""
    unknown = (np.nan, np.nan)
    low, high = zip(*(spread.get(name, unknown) if value == value else unknown for name, value in found.items()), strict=True)
    index = pd.Index(list(found), name="metric")
    return pd.DataFrame({"value": list(found.values()), "low": low, "high": high}, index=index)


def baseline_table(ours: Measures, others: Mapping[str, Measures]) -> pd.DataFrame:
    """Put this model above simple ones."""
    return model_rows(weighted_scores, ours, others)[_COMPARED]


def structure_table(measures: Measures, masks: Masks) -> pd.DataFrame:
    """Average over cases, structure by structure."""
    every = np.ones((measures.n, 1))
    found = {name: by_structure(getattr(measures, name), every)[:, 0] for name in (*BY_CASE, "volume_bias")}
    middle, low = zip(*(_quantiles(dice) for dice in measures.dice.T), strict=True)
    columns = {"dice": found.pop("dice"), "dice_median": middle, "dice_5_percent": low, **found}
    columns["cases"] = (measures.true > 0).sum(axis=0)
    return pd.DataFrame(columns, index=pd.Index(masks.names, name="structure"))


def confusion_table(measures: Measures | Counts, masks: Masks) -> pd.DataFrame:
    """Count the voxels of all cases by what they are and what they were taken for."""
    rows, columns = (pd.Index(masks.classes, name=name) for name in ("true", "predicted"))
    return pd.DataFrame(measures.confusion, index=rows, columns=columns)


def case_table(measures: Measures, masks: Masks) -> pd.DataFrame:
    """List every case and structure that one of the masks has, the worst first."""
    n, s = measures.true.shape
    sizes = np.repeat(measures.voxel_size, s)
    frame = pd.DataFrame(
        {
            "sample": np.repeat(np.arange(n), s),
            "structure": list(masks.names) * n,
            **{name: getattr(measures, name).ravel() for name in ("dice", "iou", "hd95", "surface_dice")},
            "volume": measures.true.ravel() * sizes,
            "predicted_volume": measures.said.ravel() * sizes,
            "volume_bias": measures.volume_bias.ravel(),
        }
    )
    found = frame.iloc[_worst_first(measures)]
    return found.set_index(pd.RangeIndex(1, len(found) + 1, name="rank"))


def error_table(measures: Measures, masks: Masks) -> pd.DataFrame:
    """List the worst cases and structures, of equal Dice those with more wrong voxels first."""
    s = len(masks.structures)
    worst = [at for at in _worst_first(measures) if measures.dice.flat[at] < 1][:_WORST]
    rows: dict[str, Any] = {
        "sample": np.array(worst, dtype=int) // s,
        "structure": [masks.names[at % s] for at in worst],
        "dice": measures.dice.ravel()[worst],
        "hd95": measures.hd95.ravel()[worst],
        "false_positive": (measures.said - measures.both).ravel()[worst],
        "false_negative": (measures.true - measures.both).ravel()[worst],
    }
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(worst) + 1, name="rank"))


def group_table(measures: Measures, columns: list[tuple[list[Hashable], np.ndarray]]) -> pd.DataFrame:
    """Average over the cases of each group, column of groups after column."""
    return group_rows(weighted_scores, measures, columns)[["n", *_COMPARED]]


def dice_by_case(measures: Measures, masks: Masks) -> pd.DataFrame:
    """Sort the Dice of each structure, so that a curve shows in how large a share of the cases it is how low."""
    parts = []
    for name, dice in zip(masks.names, measures.dice.T, strict=True):
        ordered = np.sort(dice[~np.isnan(dice)])
        share = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        kept = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), _POINTS)).round().astype(int))
        parts.append(pd.DataFrame({"class": [name] * len(kept), "share": share[kept], "dice": ordered[kept]}))
    return pd.concat(parts, ignore_index=True)


def _quantiles(dice: np.ndarray) -> tuple[float, float]:
    known = dice[~np.isnan(dice)]
    middle, low = np.quantile(known, [0.5, 0.05]) if len(known) else (np.nan, np.nan)
    return float(middle), float(low)


def _worst_first(measures: Measures) -> list[int]:
    """Return the positions in the flattened (n, s) that have a Dice, from the lowest, then from the most wrong voxels."""
    wrong = measures.true + measures.said - 2 * measures.both
    order = np.lexsort((-wrong.ravel(), measures.dice.ravel()))
    return order[: np.count_nonzero(~np.isnan(measures.dice))].tolist()  # nan is sorted to the end
