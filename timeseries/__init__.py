"""Pipelines for time series. Importing this package loads no framework; names are resolved on first use."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .anomaly import AnomalyDetector
    from .forecasting import Forecaster

__all__ = ["AnomalyDetector", "Forecaster"]

_HOMES = {"AnomalyDetector": "anomaly", "Forecaster": "forecasting"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
