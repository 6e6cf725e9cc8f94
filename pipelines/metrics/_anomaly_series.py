"""What `metrics.anomaly` works on: one series as a model sees it, and all series as all models do."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pipelines.metrics._forecast_answers import MODEL
from pipelines.metrics.events import Events, match

__all__ = ["MODEL", "Detections", "Series"]


@dataclass(frozen=True, eq=False)
class Series:
    """One series: what was true and what one model said.

    Parameters
    ----------
    name : hashable
        How the report calls it.
    truth : ndarray of bool, shape (T,)
        Whether each point is anomalous.
    score : ndarray of float, shape (T,)
        Larger is stranger; ``nan`` is a point that cannot be scored.
    threshold : float or None
        Above it is an alarm.
    period : int
        Width of the widest buffer of the volume under the surface.
    times : pandas.Index or None
        Time of each point.
    values : ndarray of float, shape (T, C), or None
        The raw series, for the drawing.
    """

    name: Hashable
    truth: np.ndarray
    score: np.ndarray
    threshold: float | None
    period: int
    times: pd.Index | None = None
    values: np.ndarray | None = None

    @cached_property
    def scored(self) -> np.ndarray:
        """Whether each point has a score."""
        return ~np.isnan(self.score)

    @cached_property
    def alarm(self) -> np.ndarray:
        """Whether each point raises an alarm."""
        return self.score > (np.inf if self.threshold is None else self.threshold)

    @cached_property
    def events(self) -> Events:
        """The true events beside the alarms."""
        return match(self.truth, self.alarm, self.scored)

    @property
    def early(self) -> int:
        """Number of true events that an alarm had begun before."""
        start = self.events.true[0]
        return int((self.alarm[start] & self.alarm[np.maximum(start - 1, 0)] & (start > 0)).sum())

    @property
    def clocked(self) -> bool:
        """Whether the times are such that a difference of two is a duration."""
        return isinstance(self.times, pd.DatetimeIndex | pd.TimedeltaIndex)

    @property
    def days(self) -> float:
        """Time that was watched: from the first to the end of the last point, but for the share that has no score."""
        if self.times is None or len(self.times) < 2:
            return 0.0
        step = pd.Series(self.times).diff().median()
        return float((self.times[-1] - self.times[0] + step) / pd.Timedelta(days=1)) * float(self.scored.mean())


@dataclass(frozen=True, eq=False)
class Detections:
    """What was true in every series, and what every model said.

    Parameters
    ----------
    models : dict of str to tuple of Series
        `MODEL` first, then the baselines.
    many : bool
        Whether several series were given, be it a list of one.
    groups : tuple of (list, ndarray of int, shape (S,)) or None
        Distinct names, and which of them each series has.
    columns : tuple
        Names of the raw series' variables.
    remarks : tuple of str
        What a reader must know about the baselines.
    """

    models: dict[str, tuple[Series, ...]]
    many: bool
    groups: tuple[list[Hashable], np.ndarray] | None
    columns: tuple[Hashable, ...]
    remarks: tuple[str, ...]

    @property
    def ours(self) -> tuple[Series, ...]:
        """The series with the scores of the model itself."""
        return self.models[MODEL]

    @property
    def n(self) -> int:
        """Number of points that have a score."""
        return int(sum(series.scored.sum() for series in self.ours))

    @property
    def decided(self) -> bool:
        """Whether there is a threshold."""
        return self.ours[0].threshold is not None

    @property
    def clocked(self) -> bool:
        """Whether all series have times that tell how long they are."""
        return all(series.clocked for series in self.ours)
