"""Darts and NeuralForecast on the same rows as ours. Run by their own Python, as it imports nothing of ours.

See `benchmarks/peers-timeseries.txt` for that environment. `python timeseries_peers.py job.json` reads a job: `peer` (a name
in `PEERS`), `data` (an .npz file with `train` and `test`, both (rows, variables), float32, in the units to be judged in;
`test` begins with `lookback` rows of context), `lookback`, `horizon`, `epochs`, `batch_size`, `steps` (the most batches of an
epoch, None for no limit), `lr` and `units` (None is the library's default), `seed`, `threads` (None leaves it to the
library), `warm_up` (fit and predict a little first, as the first fit of a process is slower) and `predict` (without it only
`fit` is timed). One JSON object goes to stdout, everything else to stderr, and what the libraries write lies in a temporary
folder.

What is timed: `fit` alone, not the import, and not the conversion of arrays to a library's own class. No library validates,
logs or keeps checkpoints, and `steps` in the result are those that were taken.

- Darts sees the series as one of all variables, in float32, which its guide recommends for speed. Its LSTM is `BlockRNNModel`
  with one layer, its default; `DLinearModel` is as it comes. Lightning's `limit_train_batches` keeps an epoch to `steps`
  batches.
- NeuralForecast counts optimizer steps (`max_steps`), not epochs, and a step draws `windows_batch_size` windows of one
  variable at random from all series of a batch. Here each variable is a series, all of them are in each batch,
  `windows_batch_size` is `batch_size` x variables, and `max_steps` is the number of steps that `epochs` make: as many steps
  as Darts and ours take, with as many sequences in each. What differs: windows are drawn anew for every step, so that an
  epoch misses some and repeats others, and windows whose truth runs over the end of the series are drawn too, their missing
  part masked, as is its default.

The whole test part is forecast by each library's own backtest (`historical_forecasts`, `cross_validation(use_fitted=True)`)
with stride 1, no window dropped, without training again. `check` is the largest difference, over the first, middle and last
window, from what `predict` says given the context alone.
"""

import json
import logging
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

Job = dict[str, Any]
TRAINER = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
WARM_ROWS = 40  # windows of the fit that warms up


def steps_an_epoch(job: Job, rows: int) -> int:
    """Return the batches of an epoch."""
    return min(math.ceil((rows - job["lookback"] - job["horizon"] + 1) / job["batch_size"]), job["steps"] or sys.maxsize)


# ---------------------------------------------------------------- the peers: fit -> backtest and predict
class Darts:
    """A model of Darts; `build` makes it from common arguments."""

    def __init__(self, job: Job, build: Callable[[Job, dict[str, Any]], Any]) -> None:
        self.job, self.build = job, build

    def prepare(self, values: np.ndarray) -> Any:
        """Return the series as the library wants it."""
        from darts import TimeSeries

        return TimeSeries.from_values(values)

    def fit(self, series: Any) -> None:
        """Train on a series that was prepared."""
        job = self.job
        common = {
            "input_chunk_length": job["lookback"],
            "output_chunk_length": job["horizon"],
            "n_epochs": job["epochs"],
            "batch_size": job["batch_size"],
            "random_state": job["seed"],
            "pl_trainer_kwargs": {**TRAINER, "limit_train_batches": steps_an_epoch(job, len(series))},
        }
        if job["lr"] is not None:
            common["optimizer_kwargs"] = {"lr": job["lr"]}
        self.model = self.build(job, common)
        self.model.fit(series)
        self.steps = self.model.trainer.global_step

    def backtest(self, series: Any) -> np.ndarray:
        """Forecast from every place, (windows, horizon, variables)."""
        found = self.model.historical_forecasts(
            series,
            start=self.job["lookback"],
            start_format="position",
            forecast_horizon=self.job["horizon"],
            stride=1,
            retrain=False,
            last_points_only=False,
            show_warnings=False,
        )
        return np.stack([one.values(copy=False) for one in found])

    def predict(self, context: np.ndarray) -> np.ndarray:
        """Forecast what follows one context, (horizon, variables)."""
        return self.model.predict(self.job["horizon"], series=self.prepare(context), show_warnings=False).values()

    def settings(self) -> dict[str, Any]:
        """Return what was done, for the record."""
        return {"steps": self.steps, "windows_a_step": self.job["batch_size"], "variables_a_window": "all"}


def darts_lstm(job: Job, common: dict[str, Any]) -> Any:
    """Build `BlockRNNModel`, the LSTM that forecasts a block at once."""
    from darts.models import BlockRNNModel

    size = {} if job["units"] is None else {"hidden_dim": job["units"]}
    return BlockRNNModel(model="LSTM", **size, **common)


def darts_dlinear(job: Job, common: dict[str, Any]) -> Any:
    """Build `DLinearModel`; it has no size to choose."""
    from darts.models import DLinearModel

    return DLinearModel(**common)


class NeuralForecastLSTM:
    """The LSTM of NeuralForecast: two layers, and each variable a series of its own."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def prepare(self, values: np.ndarray) -> Any:
        """Return the long frame the library wants."""
        import pandas as pd

        rows, variables = values.shape
        return pd.DataFrame(
            {
                "unique_id": np.repeat(np.arange(variables), rows),
                "ds": np.tile(np.arange(rows), variables),
                "y": values.T.reshape(-1),
            }
        )

    def fit(self, frame: Any) -> None:
        """Train on a frame that was prepared."""
        from neuralforecast import NeuralForecast
        from neuralforecast.models import LSTM

        job, variables = self.job, frame["unique_id"].nunique()
        chosen = {} if job["lr"] is None else {"learning_rate": job["lr"]}
        if job["units"] is not None:
            chosen |= {"encoder_hidden_size": job["units"], "decoder_hidden_size": job["units"]}
        model = LSTM(
            h=job["horizon"],
            input_size=job["lookback"],
            max_steps=job["epochs"] * steps_an_epoch(job, len(frame) // variables),
            batch_size=variables,
            windows_batch_size=job["batch_size"] * variables,
            random_seed=job["seed"],
            **chosen,
            **TRAINER,
        )
        self.model = NeuralForecast(models=[model], freq=1)
        self.model.fit(frame)
        fitted = self.model.models[0]
        self.steps, self.windows = len(fitted.train_trajectories), fitted.windows_batch_size

    def backtest(self, frame: Any) -> np.ndarray:
        """Forecast from every place, (windows, horizon, variables)."""
        variables = frame["unique_id"].nunique()
        ahead = len(frame) // variables - self.job["lookback"]
        found = self.model.cross_validation(frame, n_windows=None, test_size=ahead, step_size=1, use_fitted=True)
        found = found.sort_values(["unique_id", "cutoff", "ds"])
        return found["LSTM"].to_numpy().reshape(variables, -1, self.job["horizon"]).transpose(1, 2, 0)

    def predict(self, context: np.ndarray) -> np.ndarray:
        """Forecast what follows one context, (horizon, variables)."""
        found = self.model.predict(self.prepare(context)).sort_values(["unique_id", "ds"])
        return found["LSTM"].to_numpy().reshape(context.shape[1], -1).T

    def settings(self) -> dict[str, Any]:
        """Return what was done, for the record."""
        return {"steps": self.steps, "windows_a_step": self.windows, "variables_a_window": "one"}


PEERS: dict[str, Callable[[Job], Any]] = {
    "darts_lstm": lambda job: Darts(job, darts_lstm),
    "darts_dlinear": lambda job: Darts(job, darts_dlinear),
    "neuralforecast_lstm": NeuralForecastLSTM,
}


# ---------------------------------------------------------------- one job
def measure(job: Job) -> dict[str, Any]:
    """Fit, backtest and check one peer."""
    import torch

    if job["threads"] is not None:
        torch.set_num_threads(job["threads"])
    lookback, horizon = job["lookback"], job["horizon"]
    with np.load(job["data"]) as arrays:
        train, test = arrays["train"], arrays["test"]
    if job["warm_up"]:
        few = lookback + horizon + WARM_ROWS - 1
        warm = PEERS[job["peer"]]({**job, "epochs": 1})
        warm.fit(warm.prepare(train[:few]))
        warm.backtest(warm.prepare(test[:few]))
    peer = PEERS[job["peer"]](job)
    series = peer.prepare(train)
    fit_s, fit_processor_s = _seconds(lambda: peer.fit(series))
    result = {"fit_s": round(fit_s, 3), "fit_processor_s": round(fit_processor_s, 3)}
    result |= {**peer.settings(), "threads": torch.get_num_threads()}
    if job["predict"]:
        series, found = peer.prepare(test), {}
        result["predict_s"] = round(_seconds(lambda: found.update(all=peer.backtest(series)))[0], 3)
        truth = np.lib.stride_tricks.sliding_window_view(test[lookback:], horizon, axis=0).swapaxes(1, 2)
        forecast = found["all"]
        if forecast.shape != truth.shape:
            raise ValueError(f"{job['peer']} forecast {forecast.shape}, but the windows are {truth.shape}")
        places = sorted({0, len(truth) // 2, len(truth) - 1})
        apart = [np.abs(peer.predict(test[i : i + lookback]) - forecast[i]).max() for i in places]
        error = forecast.astype(np.float64) - truth
        result |= {"mse": round(float((error**2).mean()), 5), "mae": round(float(np.abs(error).mean()), 5)}
        result |= {"windows": len(truth), "check": float(f"{max(apart):.2g}")}
    library = "neuralforecast" if job["peer"].startswith("neuralforecast") else "darts"
    result["versions"] = {name: version(name) for name in (library, "torch", "pytorch-lightning", "numpy")}
    return result


def _seconds(action: Callable[[], Any]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Read the job, keep stdout for the result alone, and work in a temporary folder."""
    with open(sys.argv[1]) as file:
        job = json.load(file)
    job["data"] = os.path.abspath(job["data"])
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning", "lightning_fabric", "darts"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        result = measure(job)
        os.chdir("/")
    print(json.dumps(result), file=answer, flush=True)


if __name__ == "__main__":
    main()
