"""Anomaly detection: VUS-PR on NAB and SMAP/MSL beside simple detectors and PyOD's autoencoder, alarms, time and memory.

Run `python -m benchmarks.anomalies [name …]`; the names are the functions in `BENCHMARKS`.
`PEERS_PYTHON` is the Python of PyOD, which has an environment of its own (`peers-anomalies.txt`).

NAB: the first 15 % of each series are learned from, as its rules allow without labels, and the whole series is judged. SMAP/MSL:
official parts. The buffer of VUS-PR is what TSB-AD takes: the lag of the highest peak of the autocorrelation of what is judged.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import metrics

from .common import SHARED, run

DATA = SHARED / "timeseries"
ROOT = Path(__file__).parent.parent
PEERS_PYTHON = os.environ.get("PEERS_PYTHON", "/tmp/peers/bin/python")
SEEDS = (0, 1, 2)
PROBATION = 0.15
Sample = tuple[str, np.ndarray, np.ndarray, np.ndarray]
"""Name, training part, what is judged, and its labels."""


# ---------------------------------------------------------------- data
def read_nab() -> Iterator[Sample]:
    """Yield the 16 series with the windows that NAB counts as anomalies."""
    windows = json.loads((DATA / "nab" / "combined_windows.json").read_text())
    for name in sorted(windows):
        frame = pd.read_csv(DATA / "nab" / "data" / name, parse_dates=["timestamp"])
        truth = np.zeros(len(frame), bool)
        for start, end in windows[name]:
            truth |= frame["timestamp"].between(start, end).to_numpy()
        values = frame["value"].to_numpy(np.float64)[:, None]
        yield name.partition("/")[2], values[: int(PROBATION * len(values))], values, truth


def read_smap_msl(channels: slice) -> Iterator[Sample]:
    """Yield the eight telemetry channels, or with `slice(None)` the commands beside them, too."""
    for name in sorted(pd.read_csv(DATA / "smap_msl" / "channels.csv")["channel"]):
        with np.load(DATA / "smap_msl" / f"{name}.npz") as parts:
            train, test = (parts[part][:, channels].astype(np.float64) for part in ("train", "test"))
            yield name, train, test, parts["test_label"].ravel().astype(bool)


def buffer_of(values: np.ndarray, low: int = 3, high: int = 300, otherwise: int = 125) -> int:
    """Return the width TSB-AD gives the buffer of VUS: `find_length_rank(values[:, 0], rank=1)`."""
    column = values[:20_000, 0] - values[:20_000, 0].mean()
    whole = np.correlate(column, column, "full")[len(column) - 1 :][: 400 + 1]
    lags = whole[low:] / (whole[0] or 1.0)
    peaks = np.flatnonzero((lags[1:-1] > lags[:-2]) & (lags[1:-1] > lags[2:])) + 1
    best = int(peaks[np.argmax(lags[peaks])]) if len(peaks) else 0
    return best + low if low <= best <= high else otherwise


SETS = {
    "nab": read_nab,
    "smap_msl": lambda: read_smap_msl(slice(0, 1)),
    "smap_msl_all": lambda: read_smap_msl(slice(None)),
}


# ---------------------------------------------------------------- how good
def _judged(name: str, seeds: tuple[int, ...] = SEEDS, **params: Any) -> dict[str, Any]:
    """Fit and judge every series of a set, seed by seed; figures are means over series, or of all rows together (pooled)."""
    by_seed = [_one_seed(name, seed, params) for seed in seeds]
    vus = {one: statistics.mean(each["vus_pr"][one] for each in by_seed) for one in by_seed[0]["vus_pr"]}
    return {
        "vus_pr": {one: round(value, 4) for one, value in sorted(vus.items(), key=lambda item: -item[1])},
        "vus_pr of each seed": [round(each["vus_pr"]["this model"], 4) for each in by_seed],
        **{key: [each[key] for each in by_seed] for key in ("f1", "pooled", "seconds per 10,000 rows, mean and most")},
        "series, seed 0": by_seed[0]["series"],
    }


def _one_seed(name: str, seed: int, params: dict[str, Any]) -> dict[str, Any]:
    from timeseries import AnomalyDetector

    vus, f1, seconds, series = defaultdict(list), [], [], {}
    parts: dict[str, list[Any]] = {"y_true": [], "scores": [], "threshold": []}
    for title, train, test, truth in SETS[name]():
        started = time.perf_counter()
        model = AnomalyDetector(seed=seed, verbose=0, **params).fit(train)
        score = model.score_samples(test)
        seconds.append((time.perf_counter() - started) * 10_000 / max(len(test), 10_000))
        found = model._judged(model._inspect(test), [score], truth)  # as `evaluate`, but for the buffer
        found["period"] = min(buffer_of(test), len(test))
        report = metrics.anomaly(**found, threshold=model.threshold_, n_bootstrap=0)
        table = report.tables["baselines"]
        for row, value in table["vus_pr"].items():
            vus[str(row)].append(float(value))
        figure = 0.0 if np.isnan(report.metrics["f1"]) else report.metrics["f1"]  # no alarm at all: nothing found
        f1.append(figure)
        series[title] = {"vus_pr": round(vus["this model"][-1], 3), "f1": round(figure, 3), "windows": model.windows_}
        for key, value in (("y_true", truth), ("scores", score), ("threshold", model.threshold_)):
            parts[key].append(value)
    pooled = metrics.anomaly(**parts, n_bootstrap=0).metrics
    kept = ("precision", "recall", "f1", "event_recall", "false_alarms_per_1000", "delay")
    return {
        "vus_pr": {row: statistics.mean(values) for row, values in vus.items()},
        "f1": round(statistics.mean(f1), 4),
        "pooled": {key: round(pooled[key], 4) for key in kept},
        "seconds per 10,000 rows, mean and most": [round(statistics.mean(seconds), 2), round(max(seconds), 2)],
        "series": series,
    }


def nab() -> dict[str, Any]:
    """NAB, 16 series."""
    return _judged("nab")


def smap_msl() -> dict[str, Any]:
    """SMAP and MSL, the telemetry channel of eight."""
    return _judged("smap_msl")


def smap_msl_all() -> dict[str, Any]:
    """SMAP and MSL with all 25 or 55 channels, most of which are commands."""
    return _judged("smap_msl_all", seeds=(0,))


def online() -> dict[str, Any]:
    """Both with the past alone, for model and simple detectors."""
    return {name: _judged(name, online=True) for name in ("nab", "smap_msl")}


def methods() -> dict[str, Any]:
    """Each method alone."""
    return {
        f"{method}, {name}": _judged(name, seeds=(0,), method=method)["vus_pr"]["this model"]
        for method in ("lstm-autoencoder", "pca", "lstm-forecaster")
        for name in ("nab", "smap_msl")
    }


# ---------------------------------------------------------------- another library
def peers() -> dict[str, Any]:
    """PyOD's autoencoder with its defaults on windows of the same length, averaged and smoothed over rows as ours are."""
    found = {}
    for name in ("nab", "smap_msl"):
        values, seconds = zip(*(_peer_scores(*sample) for sample in SETS[name]()), strict=True)
        found[name] = {"vus_pr": round(statistics.mean(values), 4), "seconds": round(sum(seconds), 1)}
    return found


def _peer_scores(title: str, train: np.ndarray, test: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    from timeseries import overlap, planning

    period = planning.period_of([train])
    window = min(max(24, period) if period > 1 else 125, len(train) // 3)
    first = overlap.starts(len(test), window, overlap.step(window))
    center, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)

    def windows(values: np.ndarray, places: np.ndarray) -> np.ndarray:
        cut = np.lib.stride_tricks.sliding_window_view((values - center) / scale, window, axis=0)[places]
        return cut.reshape(len(places), -1)

    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/in.npz", train=windows(train, np.arange(len(train) - window + 1)), test=windows(test, first))
        done = subprocess.run(
            [PEERS_PYTHON, str(Path(__file__).parent / "anomalies_peers.py"), folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"PyOD failed on {title}:\n{done.stderr[-3000:]}")
        errors, seconds = np.load(f"{folder}/out.npy"), json.loads(done.stdout.splitlines()[-1])
    score = overlap.by_row(errors, first, window, len(test), judged=window, online=False)
    report = metrics.anomaly(truth, score, period=min(buffer_of(test), len(test)), n_bootstrap=0)
    return report.metrics["vus_pr"], seconds


# ---------------------------------------------------------------- cost
def cost(rows: int = 10_000) -> dict[str, Any]:
    """Fit and score 10,000 rows of one variable; 1,000,000 rows are then scored, in a process whose memory is looked at."""
    from timeseries import AnomalyDetector

    series = _noisy_wave(rows)
    AnomalyDetector(verbose=0).fit(series[:500])  # loads the frameworks
    started = time.perf_counter()
    AnomalyDetector(verbose=0).fit(series).score_samples(series)
    seconds = time.perf_counter() - started
    code = "import json; from benchmarks import anomalies; print(json.dumps(anomalies.score_many({})))"
    found = {"fit and score, s": round(seconds, 2), "rows": rows}
    for many in (100_000, 1_000_000):
        done = subprocess.run([sys.executable, "-c", code.format(many)], capture_output=True, text=True, cwd=ROOT, check=True)
        found[f"{many:,} rows scored"] = json.loads(done.stdout.splitlines()[-1])
    return found


def score_many(rows: int) -> dict[str, float]:
    """Fit on 10,000 rows, score many, and return the seconds and the peak memory of the process beyond the series itself."""
    from timeseries import AnomalyDetector

    series = _noisy_wave(rows)
    model = AnomalyDetector(verbose=0).fit(series[:10_000])
    started = time.perf_counter()
    model.score_samples(series)
    seconds = time.perf_counter() - started
    return {"s": round(seconds, 1), "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}


def _noisy_wave(rows: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.sin(np.arange(rows) * 2 * np.pi / 50) + rng.normal(0, 0.1, rows)


BENCHMARKS = {function.__name__: function for function in (nab, smap_msl, smap_msl_all, online, methods, peers, cost)}

if __name__ == "__main__":
    run(BENCHMARKS)
