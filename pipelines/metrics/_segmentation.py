"""The segmentation report: overlap and surface distances by structure with intervals, baselines, groups and the worst cases."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines import checks
from pipelines.bootstrap import affordable, intervals
from pipelines.metrics._answers import group_columns
from pipelines.metrics._segmentation_masks import Masks, check_masks, check_sequence
from pipelines.metrics._segmentation_measures import Measures, measure, ratio
from pipelines.report import BELOW_BASELINE, Report

__all__ = ["segmentation"]

_MODEL = "this model"
_BY_CASE = ("dice", "iou", "hd95", "surface_dice", "volume_error")
_COMPARED = ["dice", "iou", "hd95", "surface_dice", "pixel_accuracy"]
_BOOTSTRAP_BUDGET = 400_000_000  # resamples x cases x structures
_WORST = 100  # rows in the table of errors
_MOST_ROWS = 500  # in the table of cases


def segmentation(
    y_true: Any,
    y_pred: Any,
    classes: Sequence[Hashable],
    *,
    background: Hashable | None = ...,
    ignore: int | None = None,
    spacing: Any = None,
    tolerance: float = 1.0,
    groups: Any = None,
    clusters: Sequence[int] | None = None,
    baselines: Mapping[str, Any] | None = None,
    seed: int = 0,
    n_bootstrap: int = 1000,
    context: Mapping[str, Any] | None = None,
) -> Report:
    """Report how good predicted masks are, from anybody's arrays.

    Dice, IoU, distances and volumes are measured in each case for each structure; a metric is the mean over structures of the
    mean over the cases in which it is defined. Where neither mask has a structure the case does not count for it; where only one
    has it, Dice, IoU and surface Dice are 0, and HD95 is undefined. Intervals of 95 % come from a bootstrap over cases, or over
    clusters of them.

    Parameters
    ----------
    y_true, y_pred : sequence of array-like
        Masks of whole numbers, 2-D or 3-D; fetched one at a time, by number. Shapes may differ from case to case.
    classes : sequence
        Names: the number v in a mask is `classes[v]`.
    background : Hashable or None
        The class that is no structure; by default the first, None for none.
    ignore : int, optional
        Number in `y_true` of voxels that count nowhere.
    spacing : sequence of float, or one such per case, optional
        Millimetres from voxel to voxel along each axis; without it distances are in voxels.
    tolerance : float
        Distance within which a surface counts as found by surface Dice [2]_, in the unit of the spacing.
    groups : sequence, DataFrame or mapping of sequences, optional
        A group for each case, or several columns of such (site, sex, age); the report then has a row a group.
    clusters : sequence of int, optional
        Cases that belong together, such as those of a patient: they are drawn together for the intervals.
    baselines : mapping of str to sequence of masks, optional
        What simple models say of the same cases. Default: the background everywhere.
    seed : int
        Seed of the bootstrap.
    n_bootstrap : int
        Number of resamples.
    context : mapping, optional
        Facts to keep with the numbers; ``tolerance``, ``n_bootstrap`` and ``seed`` are added.

    Returns
    -------
    Report
        Headline ``dice``. Metrics ``dice``, ``iou``, ``hd95`` (95th percentile of the surface distances, the larger of both
        directions [1]_), ``surface_dice``, ``volume_error`` (share of the true volume, without its sign), and of all voxels
        together ``pixel_accuracy``, ``iou_pooled``, ``frequency_weighted_iou``. Tables ``headline``, ``baselines``,
        ``structures``, ``cases``, ``groups`` and ``errors``.

    Raises
    ------
    DataError
        If an argument cannot be used; the message names the first case.

    References
    ----------
    .. [1] A. A. Taha and A. Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 15, 2015,
           doi:10.1186/s12880-015-0068-x.
    .. [2] S. Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", JMIR 23(7), 2021,
           doi:10.2196/26151.

    Examples
    --------
    >>> truth, said = np.zeros((2, 6, 6), dtype=int)
    >>> truth[2:4, 1:5], said[2:4, 1:4] = 1, 1
    >>> report = segmentation([truth], [said], ["background", "heart"])
    >>> {name: round(report.metrics[name], 3) for name in ("dice", "hd95", "surface_dice")}
    {'dice': 0.857, 'hd95': 1.0, 'surface_dice': 1.0}
    """
    checks.number("tolerance", tolerance, 0)
    masks = check_masks(y_true, classes, background, ignore, spacing)
    others: dict[str, Any] = dict(baselines) if baselines is not None else {_nothing(masks): masks.background or 0}
    models = [("y_pred", check_sequence(y_pred, "y_pred", masks.n))]
    for name, said in others.items():
        where = f"baselines[{name!r}]"
        models.append((where, said if isinstance(said, int) else check_sequence(said, where, masks.n)))
    ours, *theirs = measure(masks, models, tolerance)
    n_bootstrap, cut = affordable(n_bootstrap, masks.n * len(masks.structures), _BOOTSTRAP_BUDGET)
    found = {name: float(values[0]) for name, values in _metrics(ours, np.ones((masks.n, 1))).items()} | _pooled(ours, masks)
    table = _baseline_table(found, dict(zip(others, theirs, strict=True)), masks)
    spread = intervals(lambda w: _metrics(ours, w), masks.n, n_bootstrap=n_bootstrap, seed=seed, clusters=clusters)
    tables = {"headline": _headline_table(found, spread), "baselines": table, "structures": _structure_table(ours, masks)}
    cases = _case_table(ours, masks)
    tables["cases"] = cases.head(_MOST_ROWS).reset_index(drop=True)
    if groups is not None:
        tables["groups"] = _group_table(ours, group_columns(groups, masks.n))
    tables["errors"] = _errors(cases)
    return Report(
        task="segmentation",
        headline="dice",
        metrics=found,
        tables=tables,
        curves={},
        n=masks.n,
        notes=(*_baseline_notes(table, baselines), *_notes(ours, masks, tolerance), *_cut_note(cases), *cut),
        context={**(context or {}), "tolerance": tolerance, "n_bootstrap": n_bootstrap, "seed": seed},
    )


# ---------------------------------------------------------------- numbers
def _metrics(measures: Measures, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return each metric for each column of weights: the mean over structures of the weighted mean over cases."""
    found = {}
    for name in _BY_CASE:
        values = getattr(measures, name)
        known = np.isfinite(values)
        sums, counts = np.where(known, values, 0).T @ weights, known.T.astype(float) @ weights
        found[name] = _mean(ratio(sums, counts))
    found["pixel_accuracy"] = ratio(measures.right @ weights, measures.voxels @ weights)
    return found


def _mean(rows: np.ndarray) -> np.ndarray:
    """Return the mean of the rows that are numbers, column by column; nan where none is."""
    known = np.isfinite(rows)
    return ratio(np.where(known, rows, 0).sum(axis=0), known.sum(axis=0))


def _pooled(measures: Measures, masks: Masks) -> dict[str, float]:
    both, true, said = measures.confusion.diagonal(), measures.confusion.sum(axis=1), measures.confusion.sum(axis=0)
    iou = ratio(both, true + said - both)
    present = true > 0
    weighted = float((iou[present] * true[present]).sum() / true.sum()) if true.sum() else float("nan")
    return {"iou_pooled": float(_mean(iou[list(masks.structures)][:, None])[0]), "frequency_weighted_iou": weighted}


# ---------------------------------------------------------------- tables
def _headline_table(found: Mapping[str, float], spread: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    unknown = (np.nan, np.nan)
    low, high = zip(*(spread.get(name, unknown) if value == value else unknown for name, value in found.items()), strict=True)
    index = pd.Index(list(found), name="metric")
    return pd.DataFrame({"value": list(found.values()), "low": low, "high": high}, index=index)


def _baseline_table(found: Mapping[str, float], others: Mapping[str, Measures], masks: Masks) -> pd.DataFrame:
    rows = {_MODEL: found}
    for name, measures in others.items():
        rows[name] = {key: float(values[0]) for key, values in _metrics(measures, np.ones((masks.n, 1))).items()}
    frame = pd.DataFrame([[row[name] for name in _COMPARED] for row in rows.values()], columns=_COMPARED)
    return frame.set_index(pd.Index(list(rows), name="model"))


def _structure_table(measures: Measures, masks: Masks) -> pd.DataFrame:
    rows = []
    for j in range(len(masks.structures)):
        dice = measures.dice[:, j][np.isfinite(measures.dice[:, j])]
        middle, low = np.quantile(dice, [0.5, 0.05]) if len(dice) else (np.nan, np.nan)
        means = {name: _mean(getattr(measures, name)[:, j, None])[0] for name in (*_BY_CASE, "volume_bias")}
        with_it = int((measures.true[:, j] > 0).sum())
        rows.append({"dice": means.pop("dice"), "dice_median": middle, "dice_5_percent": low, **means, "cases": with_it})
    return pd.DataFrame(rows, index=pd.Index(masks.names, name="structure"))


def _case_table(measures: Measures, masks: Masks) -> pd.DataFrame:
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
            "false_positive": (measures.said - measures.both).ravel(),
            "false_negative": (measures.true - measures.both).ravel(),
        }
    )
    return frame[frame["dice"].notna()].sort_values("dice", kind="stable")


def _errors(cases: pd.DataFrame) -> pd.DataFrame:
    wrong = cases[cases["dice"] < 1].head(_WORST)
    columns = ["sample", "structure", "dice", "hd95", "false_positive", "false_negative"]
    return wrong[columns].set_index(pd.RangeIndex(1, len(wrong) + 1, name="rank"))


def _group_table(measures: Measures, columns: list[tuple[list[Hashable], np.ndarray]]) -> pd.DataFrame:
    parts = []
    for names, numbers in columns:
        member = (numbers[:, None] == np.arange(len(names))).astype(float)
        found = _metrics(measures, member)
        rows = {"n": member.sum(axis=0).astype(int)} | {name: found[name] for name in _COMPARED}
        parts.append(pd.DataFrame(rows, index=pd.Index(names, name="group")))
    return pd.concat(parts)


# ---------------------------------------------------------------- notes
def _nothing(masks: Masks) -> str:
    return f"all {masks.classes[masks.background or 0]}"


def _baseline_notes(table: pd.DataFrame, baselines: Any) -> list[str]:
    ours, notes = table["dice"].iloc[0], []
    for name, theirs in table["dice"].iloc[1:].items():
        if ours <= theirs:
            relation = "is lower than" if ours < theirs else "is no better than"
            notes.append(f"{BELOW_BASELINE}: dice {ours:.4f} {relation} the {theirs:.4f} of {str(name)!r}.")
    return notes if baselines is not None else [*notes, f"No baseline was given; {table.index[1]!r} stands for one."]


def _notes(measures: Measures, masks: Masks, tolerance: float) -> list[str]:
    unit = "voxels" if masks.spacing is None else "mm"
    notes = [f"Distances are in {unit}; surface Dice counts a surface within {tolerance:g} {unit} as found."]
    for j, name in enumerate(masks.names):
        true, said = measures.true[:, j] > 0, measures.said[:, j] > 0
        neither, one = int((~true & ~said).sum()), int((true ^ said).sum())
        if neither:
            notes.append(
                f"In {neither} of {measures.n} cases neither truth nor prediction has {name!r}; they do not count for it."
            )
        if one:
            notes.append(
                f"In {one} of {measures.n} cases only one of truth and prediction has {name!r}: Dice, IoU and surface Dice are 0 "
                "there, and HD95 and its mean leave them out."
            )
        if not true.any():
            notes.append(f"No case has {name!r}, so its volume error is undefined.")
    return notes


def _cut_note(cases: pd.DataFrame) -> list[str]:
    if len(cases) <= _MOST_ROWS:
        return []
    return [f"The table of cases holds the {_MOST_ROWS} worst of {len(cases)} rows."]
