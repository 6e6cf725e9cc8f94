"""Scores of a series whose rows come one by one."""

from collections import deque

import numpy as np

from .scoring import Scorer, step

__all__ = ["Stream"]


class Stream:
    """The latest rows of a series, and what the views last said of them.

    Parameters
    ----------
    scorer : Scorer
        Of a detector that looks at the past alone.

    Examples
    --------
    >>> from .views import Reconstruction
    >>> stream = Stream(Scorer({"zero": Reconstruction(lambda windows: windows * 0, 2)}, online=True, units={"zero": 1.0}))
    >>> [stream.update(np.array([value])) for value in (1.0, 1.0, 2.0)]
    [nan, 1.0, 2.0]
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.rows = scorer, 0
        self.latest: deque[np.ndarray] = deque(maxlen=max(view.window for view in scorer.views.values()))
        self.parts: dict[str, float] = {}

    def update(self, row: np.ndarray) -> float:
        """Take the next row, (C,), scaled, NaN where it is missing, and return its score."""
        before = self.latest[-1] if self.latest else np.zeros_like(row)
        self.latest.append(np.where(np.isnan(row), before, row))
        self.rows += 1
        for name, view in self.scorer.views.items():
            if self.rows >= view.window and (self.rows - view.window) % step(view) == 0:
                window = np.stack(list(self.latest)[-view.window :])
                ((_, errors),) = self.scorer.errors(view, window, np.zeros(1, dtype=int))
                self.parts[name] = float(np.sqrt(self.scorer.whole(view, errors)[0] / self.scorer.units[name]))
        unseen = not self.parts or bool(np.isnan(row).all())
        return float("nan") if unseen else float(np.mean(list(self.parts.values())))
