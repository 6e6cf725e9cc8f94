"""Volume under the surface: ROC and precision-recall areas that forgive an alarm for being a little early or late.

Points near a true event count as partly anomalous, the more the nearer, and the areas under the curves are averaged over
all widths of that buffer. The numbers are those of TSB-AD's package, whose loops over widths, thresholds and events
become a matrix product here: a point matters only by its distance to the events and the first threshold it reaches.
"""

import numpy as np
from scipy.sparse import csr_array

from pipelines.metrics.events import Runs, runs

__all__ = ["Volume"]

_HELD = 50_000  # numbers in one array: a few such arrays stay in a processor's cache


class Volume:
    """VUS-ROC and VUS-PR [1]_ of one series as a function of sample weights, as TSB-AD [2]_ computes them.

    With all weights one, both equal ``generate_curve(label, score, window, version="opt", thre=250)`` of its package.
    In a weighting, an event counts as much as its points do on average.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
        Whether each point is anomalous; neither all nor none.
    score : ndarray, shape (n,)
        Larger is stranger.
    window : int
        Widest buffer: half of it lies before each event, half behind. The benchmark takes the period of the series.
    thresholds : int
        Thresholds, at equally spaced ranks of the scores.

    References
    ----------
    .. [1] J. Paparrizos et al., "Volume Under the Surface: A New Accuracy Evaluation Measure for Time-Series Anomaly
           Detection", PVLDB 15(11), 2022, https://doi.org/10.14778/3551793.3551830
    .. [2] Q. Liu and J. Paparrizos, "The Elephant in the Room: Towards A Reliable Time-Series Anomaly Detection
           Benchmark", NeurIPS 2024, https://github.com/TheDatumOrg/TSB-AD

    Examples
    --------
    >>> truth = np.array([False, False, True, True, False, False])
    >>> volume = Volume(truth, np.array([0.1, 0.85, 0.9, 0.3, 0.2, 0.4]), window=2)
    >>> [round(float(value[0]), 4) for value in volume(np.ones((6, 1)))]
    [0.7979, 0.7927]
    """

    def __init__(self, truth: np.ndarray, score: np.ndarray, window: int, thresholds: int = 250) -> None:
        level = _levels(score, thresholds)
        events, half = runs(truth), window // 2
        nearest, second = _distances(len(truth), events, half + 1)
        # What the areas need of a point is its cell (two distances) and its level. Event points have distance 0 and so
        # the first cell.
        cells, cell = np.unique(nearest * (half + 2) + second, return_inverse=True)
        self._share = _shares(np.arange(window + 1), cells // (half + 2), cells % (half + 2))
        self._thresholds = thresholds
        self._points = _indicator(cell * thresholds + level, np.arange(len(truth)), len(cells) * thresholds, len(truth))
        self._events = _event_means(events, len(truth))
        self._reached = _reached(level, events, half, thresholds)

    @property
    def size(self) -> int:
        """Multiplications of one weighting."""
        return self._share.size * self._thresholds

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """VUS-ROC and VUS-PR ``(b,)`` for weights ``(n, b)``; ``nan`` where a weighting leaves a side empty."""
        weights = np.asarray(weights, dtype=float)
        size = max(1, _HELD // (self._points.shape[0] + self._reached.shape[0]))
        parts = [self._areas(weights[:, start : start + size]) for start in range(0, weights.shape[1], size)]
        roc, pr = np.concatenate(parts, axis=1)
        return roc, pr

    def _areas(self, weights: np.ndarray) -> np.ndarray:
        b, k = weights.shape[1], self._thresholds
        counts = (self._points @ weights).reshape(-1, k, b)
        existence = np.cumsum((self._reached @ (self._events @ weights)).reshape(-1, k, b), axis=1)
        said, inside = counts.sum(axis=0).cumsum(axis=0), counts[0].cumsum(axis=0)
        points, positives = said[-1], inside[-1]
        counts, size, found = counts.reshape(len(counts), -1), max(1, _HELD // (k * b)), np.zeros((2, b))
        with np.errstate(divide="ignore", invalid="ignore"):  # undefined weightings are taken out at the end
            existence /= existence[:, -1:]
            for start in range(0, len(self._share), size):
                share = self._share[start : start + size]
                hits = np.cumsum((share @ counts).reshape(-1, k, b), axis=1)
                positive = positives + (hits - inside) / 2  # the buffer counts by half of what was found in it
                recall = np.minimum(hits / positive, 1.0)
                recall *= existence[np.arange(start, start + len(share)) // 2]
                false = (said - hits) / (points - positive)
                found += _trapezoids(false, recall), _steps(recall, hits / np.where(said > 0, said, 1.0))
        defined = (positives > 0) & (positives < points)
        return np.where(defined, found / len(self._share), np.nan)


def _levels(score: np.ndarray, thresholds: int) -> np.ndarray:
    """Return the number of the first threshold, from the highest, that each score reaches."""
    falling = -np.sort(-score)
    chosen = falling[np.linspace(0, len(score) - 1, thresholds).astype(int)]
    return np.searchsorted(-chosen, -score, side="left")


def _distances(n: int, events: Runs, far: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each point's distances to the nearest and the second nearest event, at most `far`; (0, far) inside one."""
    starts, stops = events
    starts = np.concatenate([starts, [n + far] * 2])
    ends = np.concatenate([[-1 - far] * 2, stops - 1])
    at = np.arange(n)
    passed = np.searchsorted(stops, at, side="right")
    each = np.stack([at - ends[passed + 1], at - ends[passed], starts[passed] - at, starts[passed + 1] - at])
    nearest, second = np.minimum(np.partition(each, 1, axis=0)[:2], far)
    inside = nearest <= 0
    return np.where(inside, 0, nearest), np.where(inside, far, second)


def _shares(windows: np.ndarray, nearest: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how anomalous the points of each cell count for each width ``(windows, cells)``.

    An event adds at least ``sqrt(1/2)`` where its buffer reaches, so two of them add up to more than the most, 1.
    """
    reach = windows[:, None] // 2
    one = np.sqrt(np.maximum(1 - nearest / np.maximum(windows[:, None], 1), 0))
    return np.where(second <= reach, 1.0, np.where(nearest <= reach, one, 0.0))


def _reached(level: np.ndarray, events: Runs, half: int, thresholds: int) -> csr_array:
    """Matrix ``((half + 1) * thresholds, events)`` that adds up the events by the level at which they are found.

    Events whose buffers meet are one, found when any of its points is; as one, they weigh as much as one.
    """
    starts, stops = events
    n, count = len(level), len(starts)
    first = np.minimum.reduceat(np.append(level, thresholds), np.column_stack(events).ravel())[::2]
    rows, values = [], []
    for reach in range(half + 1):
        first = np.minimum(first, level[np.maximum(starts - reach, 0)])
        first = np.minimum(first, level[np.minimum(stops - 1 + reach, n - 1)])
        begins = np.flatnonzero(np.append(True, stops[:-1] - 1 + reach < starts[1:] - reach))
        sizes = np.diff(np.append(begins, count))
        rows.append(reach * thresholds + np.repeat(np.minimum.reduceat(first, begins), sizes))
        values.append(np.repeat(1 / sizes, sizes))
    shape = ((half + 1) * thresholds, count)
    return csr_array((np.concatenate(values), (np.concatenate(rows), np.tile(np.arange(count), half + 1))), shape=shape)


def _event_means(events: Runs, n: int) -> csr_array:
    """Matrix ``(events, n)`` whose product with weights is each event's mean weight."""
    lengths = events[1] - events[0]
    number = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return csr_array((1 / lengths[number], (number, events[0][number] + within)), shape=(len(lengths), n))


def _indicator(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> csr_array:
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(height, width))


def _trapezoids(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Areas ``(b,)`` under curves ``(windows, k, b)`` from (0, 0) to (1, 1), added up over the windows."""
    ends = x[:, 0] * y[:, 0] + (1 - x[:, -1]) * (1 + y[:, -1])
    return (ends.sum(axis=0) + np.einsum("wkb,wkb->b", np.diff(x, axis=1), y[:, 1:] + y[:, :-1])) / 2


def _steps(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Areas ``(b,)`` under step curves ``(windows, k, b)``, added up over the windows."""
    return np.einsum("wkb,wkb->b", np.diff(recall, axis=1, prepend=0.0), precision)
