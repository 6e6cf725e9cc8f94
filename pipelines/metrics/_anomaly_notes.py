"""What a reader of an anomaly report must know, in sentences."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd

from pipelines.metrics._anomaly_answers import RANDOM
from pipelines.metrics._anomaly_series import MODEL, Detections
from pipelines.metrics._anomaly_tables import MOST_EVENTS, MOST_FALSE
from pipelines.report import BELOW_BASELINE
from pipelines.report_text import number

__all__ = ["notes"]

_HEADLINE = "vus_pr"
_FEW_EVENTS = 20  # with so many, the 95 % intervals of simulated series held the true value in 80 to 97 % of the cases


def notes(
    detections: Detections,
    ours: Sequence[Mapping[str, float]],
    found: Mapping[str, float],
    baselines: pd.DataFrame,
    difference: tuple[float, float] | None,
    *,
    point_adjust: bool,
) -> list[str]:
    """Return the sentences, those about lost comparisons first.

    Parameters
    ----------
    detections : Detections
        The checked arguments.
    ours : sequence of mapping
        What `tally` says about each series.
    found : mapping of str to float
        Metrics of the model itself.
    baselines : DataFrame
        Metrics by model, the model itself in the first row.
    difference : (float, float) or None
        95 % interval of this model's headline minus that of the best baseline.
    point_adjust : bool
        Whether the point-adjusted F1 was asked for.
    """
    return [
        *_baseline_notes(baselines[_HEADLINE]),
        *_distinction_notes(baselines[_HEADLINE], difference),
        *(_adjustment_notes(baselines) if point_adjust else []),
        *detections.remarks,
        *_score_notes(detections),
        *_label_notes(detections, ours),
        *_threshold_notes(detections, ours),
        *_delay_notes(detections, found),
        *_event_notes(detections, ours),
    ]


def _baseline_notes(values: pd.Series) -> list[str]:
    lost, mine = [], values[MODEL]
    for name, theirs in values.drop(MODEL).items():
        if mine <= theirs:
            relation = "is lower than" if mine < theirs else "is no better than"
            lost.append(f"{BELOW_BASELINE}: {_HEADLINE} {number(mine)} {relation} the {number(theirs)} of {str(name)!r}.")
    return lost


def _distinction_notes(values: pd.Series, difference: tuple[float, float] | None) -> list[str]:
    if difference is None or not difference[0] <= 0 <= difference[1]:
        return []
    best = values.drop(MODEL).idxmax()
    return [
        f"Not distinguishable from the best baseline {best!r}: the difference in {_HEADLINE} is "
        f"{number(values[MODEL] - values[best])}, with a 95 % interval from {number(difference[0])} to {number(difference[1])}."
    ]


def _adjustment_notes(baselines: pd.DataFrame) -> list[str]:
    values = baselines["f1_point_adjusted"]
    chance = f"; here {RANDOM!r} has {number(values[RANDOM])}" if RANDOM in values and values[RANDOM] == values[RANDOM] else ""
    return [
        "f1_point_adjusted flatters: it counts every point of an event as found once one of them is, so that random scores "
        f"reach high values (Kim et al., AAAI 2022, https://arxiv.org/abs/2109.05257){chance}. Compare models by {_HEADLINE}."
    ]


def _score_notes(detections: Detections) -> list[str]:
    points = sum(len(series.score) for series in detections.ours)
    if points == detections.n:
        return []
    unseen = sum(series.events.unseen for series in detections.ours)
    events = "" if not unseen else f", among them all points of {_counted(unseen, 'true event')}"
    return [f"{points - detections.n:,} of {points:,} points could not be scored (nan) and are left out of every figure{events}."]


def _label_notes(detections: Detections, ours: Sequence[Mapping[str, float]]) -> list[str]:
    undefined = [i for i, each in enumerate(ours) if not each["ranked"]]
    if len(undefined) == len(ours):
        kinds = {"no" if not each["true"] else "every" for each in ours}
        kind = f"{kinds.pop()} point that has a score is anomalous" if len(kinds) == 1 else "no series has both kinds of points"
        return [f"vus_pr, vus_roc, pr_auc and roc_auc are undefined: {kind}."]
    if not undefined:
        return []
    names = _listed([detections.ours[i].name for i in undefined])
    return [f"vus_pr, vus_roc, pr_auc and roc_auc leave out the series whose scored points are all of one kind: {names}."]


def _threshold_notes(detections: Detections, ours: Sequence[Mapping[str, float]]) -> list[str]:
    if not detections.decided:
        return [
            "No threshold was given, so everything that needs alarms is undefined: precision, recall, F1, events, false alarms "
            "and delay. Choose one on normal data; it is never chosen here, from the labels."
        ]
    if not sum(each["said"] for each in ours):
        return ["No score exceeds the threshold: precision, event_precision and delay are undefined."]
    if sum(each["events"] for each in ours) and not sum(each["found"] for each in ours):
        return ["No true event was found: delay is undefined."]
    return []


def _delay_notes(detections: Detections, found: Mapping[str, float]) -> list[str]:
    if np.isnan(found["delay"]):
        return []
    early = sum(series.early for series in detections.ours)
    said = [f"Alarms had begun before {_counted(early, 'true event')}, whose delay counts as 0."] if early else []
    if not detections.clocked or not found["delay"]:
        return said
    late = [
        series.times[start + int(delay)] - series.times[start]  # type: ignore[index]
        for series in detections.ours
        for start, delay in zip(series.events.true[0], series.events.delay, strict=True)
        if delay == delay
    ]
    mean = pd.Series(late).mean().round("s")
    return [*said, f"The mean delay of {number(found['delay'])} rows is {str(mean).removeprefix('0 days ')} of time."]


def _event_notes(detections: Detections, ours: Sequence[Mapping[str, float]]) -> list[str]:
    said, events = [], int(sum(each["events"] for each in ours))
    if 0 < events < _FEW_EVENTS:
        said.append(f"There {'is' if events == 1 else 'are'} only {_counted(events, 'true event')}: every interval is rough.")
    if all(series.period == 1 for series in detections.ours):
        said.append("period is 1, so vus_pr and vus_roc have no buffer around the events; give the period of the series.")
    if events > MOST_EVENTS:
        said.append(f"Of {events:,} true events the table holds the first {MOST_EVENTS}.")
    false = int(sum(each.get("false_alarms", 0) for each in ours))
    if false > MOST_FALSE:
        said.append(f"Of {false:,} false alarms the table holds the {MOST_FALSE} that exceed their threshold most.")
    return said


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _listed(names: list[Hashable]) -> str:
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
