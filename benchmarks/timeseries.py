"""Forecasting: error on real series beside simple forecasts and published figures, cost beside other libraries, and memory.

Run `python -m benchmarks.timeseries [name …]`; the names are the functions in `BENCHMARKS`. The environment variable `FORECASTER`
holds parameters of every `Forecaster` below, as JSON such as `{"lr": 0.001}`; they are printed with the figures, and give way to
what a benchmark sets itself.
`PEERS_PYTHON` is the Python of Darts and NeuralForecast, which have an environment of their own (`peers-timeseries.txt`).
"""

import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.report import BELOW_BASELINE, Report

from .common import SHARED, peak_memory, run

DATA = SHARED / "timeseries"
ROOT = Path(__file__).parent.parent
PEERS_PYTHON = os.environ.get("PEERS_PYTHON", "/tmp/peers/bin/python")
PEERS = {"darts_lstm": 3, "darts_dlinear": 3, "neuralforecast_lstm": 1}  # pairs of runs; the last takes many minutes each
SETTINGS: dict[str, Any] = json.loads(os.environ.get("FORECASTER", "{}"))

HORIZONS = (96, 192, 336, 720)
TRAIN, VALID, TEST = 8640, 11520, 14400  # rows of ETTh1 at which its parts end
LONGEST_LOOKBACK = 720  # of lookback="auto", by the class's documentation; its own `lookback_` is only known after fit
STEPS_AN_EPOCH = 125  # the most of an epoch, by the class's documentation; the peers are kept to it too
ASKED = {96: 0.370, 192: 0.405, 336: 0.435, 720: 0.450}
# Scaled MSE, corrected: every window of the test part counts. The published scripts first left out the last, incomplete batch.
PUBLISHED = {
    "PatchTST": {96: 0.385, 192: 0.413, 336: 0.440, 720: 0.456},
    "DLinear": {96: 0.384, 192: 0.443, 336: 0.446, 720: 0.504},
}


# ---------------------------------------------------------------- data
def read_etth1() -> pd.DataFrame:
    """Return the rows of ETTh1 that the usual protocol uses, scaled by its training part."""
    frame = pd.read_csv(DATA / "etth1" / "ETTh1.csv", index_col="date", parse_dates=True)[:TEST]
    return _scaled(frame, TRAIN)


def read_m4_hourly() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the official train and test part of M4's 414 hourly series."""

    def part(name: str) -> dict[str, np.ndarray]:
        table = pd.read_csv(DATA / "m4_hourly" / f"{name}.csv", index_col="series_id")["values"]
        return {key: np.array(text.split(), dtype=float) for key, text in table.items()}

    return part("train"), part("test")


def read_pm25() -> pd.DataFrame:
    """Return two years of hourly air quality in Beijing, its gaps left as they are, with the weather beside it."""
    frame = pd.read_csv(DATA / "beijing_pm25" / "beijing_pm25_2010_2011.csv", index_col="No")
    return frame.set_index(pd.to_datetime(frame[["year", "month", "day", "hour"]]))


def read_sp500() -> pd.DataFrame:
    """Return the daily close of the S&P 500 on every working day, NaN on holidays, so that rows are steps of time."""
    return pd.read_csv(DATA / "sp500_daily" / "sp500_daily.csv", index_col="date", parse_dates=True)[["close"]].asfreq("B")


def read_passengers() -> pd.DataFrame:
    """Return the monthly air passengers."""
    return pd.read_csv(DATA / "air_passengers" / "air_passengers.csv", index_col="Date", parse_dates=True).astype(float)


def read_thousand(n: int = 1000, rows: int = 500) -> dict[str, np.ndarray]:
    """Cut `n` series of 500 rows from M4 hourly (the two ends of each) and from ETTh1: real, but for time and memory only."""
    train, _ = read_m4_hourly()
    ends = [part for one in train.values() for part in (one[:rows], one[-rows:])]
    loads = read_etth1().to_numpy()
    cuts = [loads[start : start + rows, c] for start in range(0, len(loads) - rows, rows) for c in range(loads.shape[1])]
    found = ends + cuts
    chosen = np.random.default_rng(0).permutation(len(found))[:n]
    return {f"series {i}": found[i] for i in chosen}


def _scaled(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    return (frame - frame[:rows].mean()) / frame[:rows].std(ddof=0)


# ---------------------------------------------------------------- our side
def _forecaster(**params: Any) -> Any:
    from timeseries import Forecaster

    return Forecaster(**{"verbose": 0, **SETTINGS, **params})


def _figures(model: Any, report: Report) -> dict[str, Any]:
    """Return the errors beside those of every simple forecast, and where the model loses to one."""
    table = report.tables["baselines"].drop(index="this model")
    compared = [name for name in ("mae", "mse", "smape", "mase") if name in report.metrics]
    weak = (BELOW_BASELINE, "Not distinguishable")
    return {
        **{name: _short(report.metrics[name]) for name in compared},
        "baselines": {str(name): {key: _short(row[key]) for key in compared if key in row} for name, row in table.iterrows()},
        "below": [note for note in report.notes if note.startswith(weak)],
        "windows": report.n,
        "lookback": model.lookback_,
        "epochs": len(model.history_),
        "fit_s": round(model.fit_seconds_, 1),
        "settings": SETTINGS,
    }


def _judged(frame: pd.DataFrame, train: int, valid: int, test: int, **params: Any) -> dict[str, Any]:
    """Fit on the rows before `train`, stop by those before `valid`, and judge all those after, up to `test`.

    Where `valid` equals `train` the model takes its own validation part. The context before the validation part has the longest
    lookback; with a shorter one its first windows hold truth from the training part.
    """
    model = _forecaster(**params)
    held = None if valid == train else frame[max(0, train - LONGEST_LOOKBACK) : valid]
    model.fit(frame[:train], valid=held)
    rows = frame[valid - model.lookback_ : test]
    figures = _figures(model, model.evaluate(rows))
    alone = copy.copy(model)
    alone.blend_ = {"network": 1.0}
    return {**figures, "blend": model.blend_, "network alone": {"mse": _short(alone.evaluate(rows).metrics["mse"])}}


def _short(value: float) -> float:
    return float(f"{value:.5g}")


# ---------------------------------------------------------------- error
def etth1(horizons: Sequence[int] = HORIZONS, seeds: Sequence[int] = (0,)) -> dict[str, Any]:
    """ETTh1, the usual protocol, one set of defaults for all horizons; every window of the test part counts."""
    frame, found = read_etth1(), {}
    for horizon in horizons:
        for seed in seeds:
            figures = _judged(frame, TRAIN, VALID, TEST, horizon=horizon, seed=seed)
            simple = {name: row["mse"] for name, row in figures.pop("baselines").items()}
            beside = {"asked": ASKED.get(horizon), **{name: row.get(horizon) for name, row in PUBLISHED.items()}}
            found[f"{horizon}, seed {seed}"] = {**figures, "mse_of": {**beside, **simple}}
    return found


def etth1_seeds(seeds: Sequence[int] = (0, 1, 2)) -> dict[str, Any]:
    """ETTh1 at horizon 96, seeds 0 to 2."""
    rows = list(etth1((96,), seeds).values())
    return {"mean_mse": _short(statistics.mean(row["mse"] for row in rows)), "mse": [row["mse"] for row in rows], "seeds": rows}


def tables(names: Sequence[str] = ("exchange_rate", "m4_hourly", "pm25", "sp500_5", "sp500_20", "passengers")) -> dict[str, Any]:
    """Defaults beside every simple forecast on small public sets."""
    return {name: TABLES[name]() for name in names}


def _exchange_rate() -> dict[str, Any]:
    """Eight exchange rates, 70 / 10 / 20 %, horizon 96, scaled by the training part."""
    frame = pd.read_csv(DATA / "exchange_rate" / "exchange_rate.csv")
    train, test = int(0.7 * len(frame)), int(0.2 * len(frame))
    return _judged(_scaled(frame, train), train, len(frame) - test, len(frame), horizon=96)


def _m4_hourly() -> dict[str, Any]:
    """M4 hourly, official parts: one forecast a series, from the end of its training part.

    `official` has sMAPE and MASE as the competition defines them, MASE's unit being the error of the seasonal naive forecast (24)
    over the whole training part; the mean over series is that over values, as each has 48. Published sMAPE: winner 9.33, Theta
    18.14, Naive2 18.38, seasonal naive 13.91.
    """
    train, test = read_m4_hourly()
    model = _forecaster(horizon=48).fit(train)
    whole = {name: np.concatenate([train[name][-model.lookback_ :], test[name]]) for name in test}
    forecast = model.predict()
    naive = {name: np.tile(one[-24:], 2) for name, one in train.items()}
    return {
        **_figures(model, model.evaluate(whole, stride=48)),
        "official": {name: _m4_scores(train, test, said) for name, said in (("ours", forecast), ("seasonal naive", naive))},
    }


def _m4_scores(train: dict[str, np.ndarray], test: dict[str, np.ndarray], said: dict[str, np.ndarray]) -> dict[str, float]:
    smape, mase = [], []
    for name, truth in test.items():
        error = np.abs(truth - said[name])
        smape.append(np.mean(200 * error / (np.abs(truth) + np.abs(said[name]))))
        mase.append(error.mean() / np.abs(train[name][24:] - train[name][:-24]).mean())
    return {"smape": _short(statistics.mean(smape)), "mase": _short(statistics.mean(mase))}


def _pm25() -> dict[str, Any]:
    """PM2.5 with gaps, horizon 24, last fifth held out; the weather to come is not known, so it is no input."""
    return _last_fifth(read_pm25(), horizon=24, variables=["pm2.5"])


def _passengers() -> dict[str, Any]:
    """Air passengers, horizon 12, last 36 months held out."""
    frame = read_passengers()
    return _judged(frame, len(frame) - 36, len(frame) - 36, len(frame), horizon=12)


def _last_fifth(frame: pd.DataFrame, **params: Any) -> dict[str, Any]:
    cut = round(0.8 * len(frame))
    return _judged(frame, cut, cut, len(frame), **params)


TABLES: dict[str, Callable[[], dict[str, Any]]] = {
    "exchange_rate": _exchange_rate,
    "m4_hourly": _m4_hourly,
    "pm25": _pm25,
    "sp500_5": lambda: _last_fifth(read_sp500(), horizon=5),
    "sp500_20": lambda: _last_fifth(read_sp500(), horizon=20),
    "passengers": _passengers,
}


def coverage(horizon: int = 96) -> dict[str, Any]:
    """ETTh1: share of true values inside the 80 and 95 % intervals and their mean width, with and without the conformal step."""
    frame = read_etth1()
    model = _forecaster(horizon=horizon, quantiles=[0.025, 0.1, 0.9, 0.975])
    model.fit(frame[:TRAIN], valid=frame[TRAIN - LONGEST_LOOKBACK : VALID])
    plain = copy.copy(model)
    plain.shift_ = np.zeros_like(model.shift_)
    test = frame[VALID - model.lookback_ : TEST]
    found = {"from single contexts": _covered(model, test, horizon)}
    for name, one in (("as it is", model), ("without the conformal shift", plain)):
        report = one.evaluate(test)
        wanted = {key: value for key, value in report.metrics.items() if key.startswith(("coverage_", "width_"))}
        found[name] = {key: _short(value) for key, value in (wanted | {"mse": report.metrics["mse"]}).items()}
        found[name]["notes"] = [note for note in report.notes if "interval holds" in note]
    return {**found, "fit_s": round(model.fit_seconds_, 1), "epochs": len(model.history_), "settings": SETTINGS}


def _covered(model: Any, test: pd.DataFrame, horizon: int, every: int = 14) -> dict[str, float]:
    """Return the coverage of forecasts that know their context alone, so that no forecast before them has settled."""
    starts = range(0, len(test) - model.lookback_ - horizon + 1, every)
    said = model.predict({str(i): test[i : i + model.lookback_] for i in starts})
    inside: dict[str, list[float]] = {"coverage_80": [], "coverage_95": []}
    for i in starts:
        truth = test[i + model.lookback_ : i + model.lookback_ + horizon]
        for name, low, high in (("coverage_80", 0.1, 0.9), ("coverage_95", 0.025, 0.975)):
            for column in test:
                band = said[str(i)]
                held = (truth[column] >= band[f"{column}_q{low}"]) & (truth[column] <= band[f"{column}_q{high}"])
                inside[name].append(float(held.mean()))
    return {name: _short(statistics.mean(shares)) for name, shares in inside.items()}


# ---------------------------------------------------------------- cost beside other libraries
def peers(
    lookback: int = 336,
    horizon: int = 96,
    epochs: int = 2,
    batch_size: int = 64,
    units: int | None = 128,
    runs: Mapping[str, int] = PEERS,
    rows: tuple[int, int, int] = (TRAIN, VALID, TEST),
) -> dict[str, Any]:
    """ETTh1, `fit` beside Darts and NeuralForecast: same rows, lookback, horizon, epochs, steps and batches; nobody validates.

    Ours and a peer take turns; each run of a peer is a process of its own that fits a little first. Arrays go to all, so none
    knows the time of day. `units` is ours, and NeuralForecast's default; Darts' is 25, and None leaves it to each peer. Rates of
    learning, losses and normalisation are each library's defaults. `evaluate_s` and `predict_s` both cover every window of the
    test part, but ours also makes the simple forecasts and the report with its bootstrap.
    """
    if not Path(PEERS_PYTHON).exists():
        missing = (
            f"{PEERS_PYTHON} is not there. Make it: python3.11 -m venv /tmp/peers && /tmp/peers/bin/python -m pip install -r "
        )
        return {
            "left out": missing + "benchmarks/peers-timeseries.txt; or set PEERS_PYTHON to the python of such an environment."
        }
    values = read_etth1().to_numpy(np.float32)
    train, test = values[: rows[0]], values[rows[1] - lookback : rows[2]]
    common = {"lookback": lookback, "epochs": epochs, "batch_size": batch_size}
    size = {} if units is None else {"units": units}

    def ours(part: np.ndarray = train, **params: Any) -> Any:
        return _forecaster(horizon=horizon, **{**common, **size, **params}).fit(part, valid=0)

    ours(train[: lookback + horizon + 40], epochs=1)  # the first fit of a process is slower
    started = time.perf_counter()
    model = ours()
    report = model.evaluate(test)
    evaluate_s = time.perf_counter() - started - model.fit_seconds_
    job = {**common, "horizon": horizon, "units": units, "steps": STEPS_AN_EPOCH, "lr": None, "seed": 0, "threads": None}
    found = {name: _in_turns_with_process({**job, "peer": name}, train, test, ours, pairs) for name, pairs in runs.items()}
    for figures in found.values():
        figures["mse_ratio"] = _short(report.metrics["mse"] / figures["mse"])
    return {
        "job": job,
        "ours": {**_figures(model, report), "evaluate_s": round(evaluate_s, 2), "threads": _threads()},
        **found,
    }


def _in_turns_with_process(
    job: dict[str, Any], train: np.ndarray, test: np.ndarray, ours: Callable[[], Any], runs: int
) -> dict[str, Any]:
    """Time our fit and a peer's in turn; the ratio is the median of the pairs' ratios, ours over theirs."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        data, order = Path(folder, "data.npz"), Path(folder, "job.json")
        np.savez(data, train=train, test=test)
        last: dict[str, Any] = {}
        for i in range(runs):
            wall, processor = time.perf_counter(), time.process_time()
            ours()
            mine = time.perf_counter() - wall, time.process_time() - processor
            order.write_text(json.dumps({**job, "data": str(data), "warm_up": True, "predict": i == 0}))
            theirs = _process([PEERS_PYTHON, str(Path(__file__).with_name("timeseries_peers.py")), str(order)])
            pairs.append((*mine, theirs.pop("fit_s"), theirs.pop("fit_processor_s")))
            last = theirs | last
    ratios = [pair[0] / pair[2] for pair in pairs]
    return {
        "ours_s": round(statistics.median(pair[0] for pair in pairs), 2),
        "theirs_s": round(statistics.median(pair[2] for pair in pairs), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "processor_ratio": round(statistics.median(pair[1] / pair[3] for pair in pairs), 3),
        "runs": runs,
        **last,
    }


def _threads() -> int:
    from pipelines.engines import load_framework

    return int(load_framework("torch").get_num_threads())


# ---------------------------------------------------------------- memory
def many(sizes: Sequence[int] = (250, 1000), rows: int = 500) -> dict[str, Any]:
    """Series of 500 rows fitted together, each size in a fresh process: time, and peak memory beside that of a tiny fit."""
    found = {str(n): _process([sys.executable, "-c", _code(f"fit_many({n}, {rows})")]) for n in sizes}
    peaks = [one["peak_mib"] for one in found.values()]
    return {**found, "growth_mib": round(peaks[-1] - peaks[0], 1), "settings": SETTINGS}


def fit_many(n: int, rows: int) -> dict[str, Any]:
    """Fit `n` series together and go on from their ends; meant for a fresh process."""
    panel = read_thousand(n, rows)
    _tiny_fit()
    before = peak_memory()
    model = _forecaster(horizon=24).fit(panel)
    started = time.perf_counter()
    forecast = model.predict()
    return {
        "series": len(forecast),
        "data_mib": _mib(sum(one.nbytes for one in panel.values())),
        "before_mib": _mib(before),
        "peak_mib": _mib(peak_memory()),
        "fit_s": round(model.fit_seconds_, 1),
        "epochs": len(model.history_),
        "predict_s": round(time.perf_counter() - started, 2),
    }


def windows_memory(rows: int = 1_000_000, variables: int = 7) -> dict[str, Any]:
    """Memory beyond the data, as a multiple of it, for an array of float64: reading 100 batches of windows, and a whole fit.

    `traced` is what Python and numpy allocate (`tracemalloc`), `resident` is what the process grows by at its peak, which counts
    PyTorch's memory too.
    """
    return {
        "data_mib": _mib(8 * rows * variables),
        **{
            f"{name}_{kind}": _process([sys.executable, "-c", _code(f"extra_memory({name!r}, {kind!r}, {rows}, {variables})")])
            for name in ("windows", "fit")
            for kind in ("traced", "resident")
        },
    }


def extra_memory(what: str, kind: str, rows: int, variables: int) -> dict[str, Any]:
    """Measure the peak of one action beyond the data; meant for a fresh process."""
    _tiny_fit()
    values = np.random.default_rng(0).normal(size=(rows, variables))
    action = {"windows": _read_batches, "fit": _fit_once}[what]
    if kind == "traced":
        tracemalloc.start()
        action(values)
        extra = tracemalloc.get_traced_memory()[1]
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = peak_memory()
        action(values)
        extra = peak_memory() - before
    return {"extra_mib": _mib(extra), "times_data": round(extra / values.nbytes, 3)}


def _read_batches(values: np.ndarray, batches: int = 100, batch_size: int = 64) -> None:
    from pipelines.data import Batches
    from timeseries.windows import Windows

    windows = Windows([values], 336, 96)
    feed = Batches(windows.normalised, len(windows), batch_size, seed=0, draw=batches * batch_size)
    feed.start_epoch(0)
    for i in range(len(feed)):
        feed[i]


def _fit_once(values: np.ndarray) -> None:
    _forecaster(lookback=336, horizon=96, epochs=1).fit(values, valid=0)


def _tiny_fit() -> None:
    """Load what a fit loads, so that it is not counted."""
    _forecaster(horizon=4, lookback=8, epochs=1).fit(np.sin(np.arange(60.0)))


def _mib(size: float) -> float:
    return round(size / 2**20, 1)


def _code(call: str) -> str:
    return f"import json; from benchmarks import timeseries; print(json.dumps(timeseries.{call}))"


def _process(command: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------- the engine
def engine() -> dict[str, Any]:
    """Time the training loop beside a bare one, see `benchmarks.engine`."""
    from . import engine as loops

    return {name: function() for name, function in loops.BENCHMARKS.items()}


BENCHMARKS = {
    function.__name__: function for function in (etth1, etth1_seeds, tables, coverage, peers, many, windows_memory, engine)
}

if __name__ == "__main__":
    run(BENCHMARKS)
