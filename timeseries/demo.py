"""Demos of the forecasting pipeline, on real series that come with statsmodels."""

from pathlib import Path
from typing import Any

import pandas as pd

from pipelines import data

from .forecasting import Forecaster

__all__ = ["co2", "read_co2"]


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
