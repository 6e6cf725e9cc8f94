"""Demos of the time-series pipelines, on real series that come with statsmodels."""

from pathlib import Path
from typing import Any

import pandas as pd

from pipelines import data

from .anomaly import AnomalyDetector
from .faults import inject
from .forecasting import Forecaster

__all__ = ["co2", "faults", "read_co2"]

# Weeks and size of each fault, chosen before any detector had seen them.
_FAULTS = {
    "spike": (2, 3.0),
    "level-shift": (30, 1.5),
    "drift": (52, 2.0),
    "flat-line": (26, 1.0),
    "noise": (26, 1.0),
    "changed-period": (52, 2.0),
}
_FIRST = 420  # week of the test part in which each of them begins, near its middle


def co2(out: Path) -> tuple[Forecaster, Any, None, list[str]]:
    """Forecasting: 2,284 weeks of carbon dioxide in the air above Mauna Loa, with gaps, a year ahead and with a band.

    Parameters
    ----------
    out : path
        An existing folder; the end of the series is written to `history.csv` in it.

    Returns
    -------
    model, X_test, None, inputs : tuple
        The fitted forecaster, the held-out fifth after the context it needs, no labels, and what to give to `pipelines predict`.
    """
    X = read_co2()
    train, test, _, _ = data.split(X, test=0.2)
    model = Forecaster(horizon=52, quantiles=[0.1, 0.9]).fit(train)
    history = out / "history.csv"
    X.tail(2 * model.lookback_).to_csv(history, index_label="week")
    return model, pd.concat([train.tail(model.lookback_), test]), None, [str(history), "--time", "week"]


def faults(out: Path) -> tuple[AnomalyDetector, pd.DataFrame, pd.Series, list[str]]:
    """Anomaly detection: the season of that carbon dioxide, learned until 1984, then seven copies, six with a fault put in.

    What is watched is each week's value less the mean of the year before it. The faults are none of the measurements':
    `timeseries.faults` puts one into each copy of the last two fifths, and the copy "none" shows what is raised without any. An
    alarm there counts as false, also that of 1998, when the rise after El Niño was larger than in any year before.

    Parameters
    ----------
    out : path
        An existing folder; the copies are written to `broken.csv` in it, with their labels.

    Returns
    -------
    model, X_test, y_test, inputs : tuple
        The fitted detector, the copies in one long table, 1 for each week in a fault and 0 elsewhere, and what to give to
        `pipelines predict`.
    """
    X = read_co2()
    season = (X - X.rolling(52, min_periods=26).mean().shift())[52:].assign(fault="none")
    train, test, _, _ = data.split(season, test=0.4)
    model = AnomalyDetector(series_id="fault").fit(train)
    copies = [test.assign(label=0)]
    for kind, (length, size) in _FAULTS.items():
        broken, label = inject(test["co2"], kind, _FIRST, length, size=size)
        copies.append(test.assign(co2=broken, fault=kind, label=label))
    table, file = pd.concat(copies), out / "broken.csv"
    table.to_csv(file, index_label="week")
    return model, table.drop(columns="label"), table["label"], [str(file), "--time", "week", "--events"]


def read_co2() -> pd.DataFrame:
    """Return weekly carbon dioxide at Mauna Loa, parts per million, from March 1958 to December 2001; 59 weeks are missing.

    Raises
    ------
    ImportError
        If statsmodels, which brings the data, is not installed.
    """
    try:
        from statsmodels.datasets import co2 as mauna_loa
    except ImportError as error:
        raise ImportError("This demo's data comes with statsmodels. Install it with: pip install statsmodels") from error
    return mauna_loa.load_pandas().data
