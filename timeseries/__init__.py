"""Pipelines for time series. Importing this package loads no framework; names are resolved on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .forecasting import Forecaster

__all__ = ["Forecaster"]


def __getattr__(name: str) -> Any:
    if name == "Forecaster":
        from .forecasting import Forecaster

        return Forecaster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
