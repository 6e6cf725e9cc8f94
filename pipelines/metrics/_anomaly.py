"""The anomaly-detection report: ranking, alarms, events and delays with intervals and baselines from plain arrays."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, chi2

from pipelines.bootstrap import Statistics, affordable, block_length, intervals
from pipelines.metrics._anomaly_answers import check_anomalies
from pipelines.metrics._anomaly_curves import curves
from pipelines.metrics._anomaly_notes import notes
from pipelines.metrics._anomaly_series import MODEL, Detections, Series
from pipelines.metrics._anomaly_sums import Points, ratios, tally
from pipelines.metrics._anomaly_tables import tables
from pipelines.report import Example, Report

__all__ = ["anomaly"]

_HEADLINE = "vus_pr"
_BOOTSTRAP_BUDGET = 100_000_000  # resamples x points, see `Points.cost`; about ten seconds on one core
_ENOUGH = 5  # series, or events found, to say how much they differ
_DIFFERENCE = "difference"

Sums = Mapping[str, float]
Spread = dict[str, tuple[float, float]]


def anomaly(
    y_true: Any,
    scores: Any,
    *,
    threshold: float | Sequence[float] | Mapping[Hashable, float] | None = None,
    period: int | Sequence[int] | Mapping[Hashable, int] = 1,
    baselines: Mapping[str, Any] | None = None,
    thresholds: Mapping[str, Any] | None = None,
    names: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | Mapping[Hashable, Hashable] | None = None,
    times: Any = None,
    values: Any = None,
    columns: Sequence[Hashable] | None = None,
    point_adjust: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
    context: Mapping[str, Any] | None = None,
    examples: Iterable[Example] = (),
) -> Report:
    """Report how good anomaly scores are, and the alarms they raise, from anybody's arrays.

    Labels judge and choose nothing: alarms are raised where a score exceeds the threshold that was given, and no F1 over
    all thresholds is shown. An event is a maximal run of anomalous points; alarm events are runs of alarms. One alarm
    without end touches every event and is never false, so read figures of events beside the ``precision`` of points.

    The 95 % intervals of ``vus_pr`` to ``f1`` come from a bootstrap of series; where these are fewer than five, of blocks
    of neighbouring points, as long as the period and the longest event (at most half of a series). Those of
    ``event_recall`` and ``event_precision`` are Wilson's [4]_, that of the false alarms is exact for a Poisson count, and
    that of ``delay`` comes from a bootstrap of the events found, where these are five or more; all of these take events
    for independent, and are too narrow where they come in clusters.

    Parameters
    ----------
    y_true : array-like of shape (T,), or list or mapping of such
        1 for an anomalous point, 0 for any other; one series, or many.
    scores : like ``y_true``
        Larger is stranger. ``nan`` is a point that cannot be scored: it is left out of every figure.
    threshold : float, or one a series, optional
        A score above it is an alarm. Without it, what needs alarms is ``nan``.
    period : int, or one a series
        Width of the widest buffer around events in ``vus_pr`` and ``vus_roc``, at most the rows of the series; the TSB-AD
        benchmark [2]_ takes the period of the series.
    baselines : mapping of str to array-like, optional
        What simple models say about the same points, each like ``scores``. Default: random scores, and one score for
        every point.
    thresholds : mapping of str to float, or to one a series, optional
        Thresholds of the baselines.
    names : sequence, optional
        Names of the series of a list; a mapping has them as its keys.
    groups : sequence with one entry a series, optional
        A group for each series, say its data set; the report then has a row per group.
    times : sequence of shape (T,), or list or mapping of such, optional
        Time of each point, rising. Where these are dates, false alarms are counted per day.
    values : array-like of shape (T,) or (T, C), or list or mapping of such, optional
        The series themselves, drawn above their scores.
    columns : sequence of length C, optional
        Names of the variables in ``values``.
    point_adjust : bool
        Whether to add the point-adjusted F1, which flatters: random scores reach high values [3]_.
    n_bootstrap : int
        Number of resamples; fewer are drawn where points are very many, and a note says so.
    seed : int
        Seed of the bootstrap and of the random scores.
    context : mapping, optional
        Facts to keep with the numbers (parameters, device, versions); ``threshold``, ``period``, ``n_bootstrap``, ``seed``
        and ``block_length`` (in points; none where series are resampled) are added.
    examples : iterable of Example, optional
        Samples worth looking at, kept in the report.

    Returns
    -------
    Report
        Headline ``vus_pr``. Metrics ``vus_pr`` and ``vus_roc`` (volume under the surface [1]_, equal to the figures of
        TSB-AD's package), ``pr_auc`` (average precision) and ``roc_auc``, all means over the series with both kinds of
        points; ``precision``, ``recall`` and ``f1`` of points, ``event_recall`` (share of true events that an alarm touches),
        ``event_precision`` (share of alarm events that touch a true one), ``false_alarms_per_day`` or
        ``false_alarms_per_1000`` points (alarm events that touch no true one) and ``delay`` (mean rows from the start of a
        found event to its first alarm), all pooled over the series. Tables ``headline``, ``baselines``, ``series`` and
        ``groups`` (for several), and ``events``; curves ``series`` and ``pr``.

    Raises
    ------
    DataError
        If an argument cannot be used; the message names the series and the row.

    References
    ----------
    .. [1] J. Paparrizos et al., "Volume Under the Surface: A New Accuracy Evaluation Measure for Time-Series Anomaly
           Detection", PVLDB 15(11), 2022, https://doi.org/10.14778/3551793.3551830
    .. [2] Q. Liu and J. Paparrizos, "The Elephant in the Room: Towards A Reliable Time-Series Anomaly Detection
           Benchmark", NeurIPS 2024, https://github.com/TheDatumOrg/TSB-AD
    .. [3] S. Kim et al., "Towards a Rigorous Evaluation of Time-Series Anomaly Detection", AAAI 2022,
           https://arxiv.org/abs/2109.05257
    .. [4] E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
           Statistical Association 22(158), 1927, https://doi.org/10.1080/01621459.1927.10502953

    Examples
    --------
    >>> truth = [0, 0, 1, 1, 1, 0, 0, 0]
    >>> report = anomaly(truth, [0.1, 0.2, 0.3, 0.9, 0.8, 0.4, 0.7, 0.1], threshold=0.6, period=2)
    >>> report.metrics["event_recall"], report.metrics["delay"], report.metrics["event_precision"]
    (1.0, 1.0, 0.5)
    >>> report.tables["events"]["kind"].tolist()
    ['found', 'false alarm']
    """
    detections = check_anomalies(
        y_true, scores, threshold=threshold, period=period, baselines=baselines, thresholds=thresholds, names=names,
        groups=groups, times=times, values=values, columns=columns, seed=seed,
    )  # fmt: skip
    sums = {name: [tally(series) for series in each] for name, each in detections.models.items()}
    found = _metrics(_total(sums[MODEL]), clocked=detections.clocked, point_adjust=point_adjust)
    best = max([name for name in sums if name != MODEL], key=lambda name: float(ratios(_total(sums[name]))[_HEADLINE]))
    spread, block, cut = _spread(detections, sums, best, n_bootstrap=n_bootstrap, seed=seed)
    flat = [name for name in found if name in spread and spread[name][0] == spread[name][1]]
    spread = {name: ends for name, ends in spread.items() if name not in flat}
    spread |= _event_spread(detections, _total(sums[MODEL]), n_bootstrap=n_bootstrap, seed=seed)
    made = tables(detections, sums, found, spread)
    said = notes(detections, sums[MODEL], found, made["baselines"], spread.get(_DIFFERENCE), point_adjust=point_adjust)
    settings = _settings(detections) | {"n_bootstrap": n_bootstrap, "seed": seed, "block_length": block}
    return Report(
        task="anomaly-detection",
        headline=_HEADLINE,
        metrics=found,
        tables=made,
        curves=curves(detections, sums[MODEL]),
        n=detections.n,
        notes=(*said, *_flat_notes([name for name in flat if name not in spread]), *cut),
        context={**(context or {}), **settings},
        examples=tuple(examples),
    )


def _total(sums: Iterable[Sums]) -> dict[str, float]:
    sums = list(sums)
    return {name: sum(each[name] for each in sums) for name in sums[0]}


def _metrics(total: Sums, *, clocked: bool, point_adjust: bool) -> dict[str, float]:
    found = {name: float(value) for name, value in ratios(total).items()}
    del found["false_alarms_per_1000" if clocked else "false_alarms_per_day"]
    if not point_adjust:
        del found["f1_point_adjusted"]
    return found


def _settings(detections: Detections) -> dict[str, Any]:
    thresholds, periods = ([series.threshold for series in detections.ours], [series.period for series in detections.ours])
    same = len(set(thresholds)) == len(set(periods)) == 1
    return {"threshold": thresholds[0], "period": periods[0]} if same else {"threshold": thresholds, "period": periods}


def _spread(
    detections: Detections, sums: Mapping[str, Sequence[Sums]], best: str, *, n_bootstrap: int, seed: int
) -> tuple[Spread, int | None, list[str]]:
    """Intervals of the metrics and of the difference to the best baseline, the length of the blocks, and a note."""
    count = len(detections.ours)
    if count >= _ENOUGH:
        n_bootstrap, cut = affordable(n_bootstrap, count, _BOOTSTRAP_BUDGET)
        statistics = _compared(_over_series(sums[MODEL]), _over_series(sums[best]))
        return intervals(statistics, count, n_bootstrap=n_bootstrap, seed=seed), None, cut
    points = {name: [Points(series) for series in detections.models[name]] for name in (MODEL, best)}
    sizes = [len(each) for each in points[MODEL]]
    n_bootstrap, cut = affordable(
        n_bootstrap, round(sum(each.cost for both in points.values() for each in both)), _BOOTSTRAP_BUDGET
    )
    block = block_length(sum(sizes) // count, _dependence(detections.ours))
    statistics = _compared(*(_over_points(each, sizes) for each in points.values()))
    numbers = np.repeat(np.arange(count), sizes)
    return intervals(statistics, sum(sizes), n_bootstrap=n_bootstrap, seed=seed, block=block, groups=numbers), block, cut


def _dependence(ours: Iterable[Series]) -> int:
    longest = [int((stops - starts).max(initial=1)) for starts, stops in (series.events.true for series in ours)]
    return max(*longest, *(series.period for series in ours))


def _over_series(sums: Sequence[Sums]) -> Statistics:
    stacked = {name: np.array([each[name] for each in sums]) for name in sums[0]}
    return lambda weights: ratios({name: values @ weights for name, values in stacked.items()})


def _over_points(points: Sequence[Points], sizes: Sequence[int]) -> Statistics:
    edges = np.cumsum(sizes)[:-1]

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        parts = [each(part) for each, part in zip(points, np.split(weights, edges), strict=True)]
        return ratios({name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]})

    return statistics


def _compared(ours: Statistics, theirs: Statistics) -> Statistics:
    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = ours(weights)
        return found | {_DIFFERENCE: found[_HEADLINE] - theirs(weights)[_HEADLINE]}

    return statistics


def _event_spread(detections: Detections, total: Sums, *, n_bootstrap: int, seed: int) -> Spread:
    if not n_bootstrap or not detections.decided:
        return {}
    false, alarms = total["false_alarms"], total["alarms"]
    counted = _poisson(false)
    found = {"event_recall": _wilson(total["found"], total["events"]), "event_precision": _wilson(alarms - false, alarms)}
    for unit, whole in (("day", total["days"]), ("1000", total["thousands"])):
        found[f"false_alarms_per_{unit}"] = (counted[0] / whole, counted[1] / whole) if whole else (np.nan, np.nan)
    delays = np.concatenate([series.events.delay[series.events.found] for series in detections.ours])
    if len(delays) < _ENOUGH:
        return found | {"delay": (np.nan, np.nan)}
    return found | intervals(lambda w: {"delay": delays @ w / w.sum(axis=0)}, len(delays), n_bootstrap=n_bootstrap, seed=seed)


def _flat_notes(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    verb = "is" if len(names) == 1 else "are"
    return [f"{', '.join(names)} {verb} the same in every resample, which says nothing about the spread: no interval there."]


def _wilson(part: float, whole: float) -> tuple[float, float]:
    if not whole:
        return np.nan, np.nan
    low, high = binomtest(int(part), int(whole)).proportion_ci(method="wilson")
    return float(low), float(high)


def _poisson(count: float) -> tuple[float, float]:
    """Exact 95 % interval of the mean of which `count` was counted (Garwood 1936)."""
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return float(low), float(chi2.ppf(0.975, 2 * count + 2) / 2)
