"""What every domain shares: the `Pipeline` contract, data readers, metrics, reports and saved folders.

Importing this package loads neither TensorFlow nor PyTorch; its names are resolved on first use (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import data, metrics
    from .base import Pipeline, load
    from .errors import DataError, DeviceError, FormatError, ParameterError
    from .registry import available, create
    from .report import Report, compare

__version__ = "0.1.0"

_HOME = {
    "Pipeline": "base", "load": "base",
    "DataError": "errors", "DeviceError": "errors", "FormatError": "errors", "ParameterError": "errors",
    "available": "registry", "create": "registry",
    "Report": "report", "compare": "report",
    "data": "", "metrics": "",
}  # fmt: skip

__all__ = [
    "DataError", "DeviceError", "FormatError", "ParameterError", "Pipeline", "Report",
    "available", "compare", "create", "data", "load", "metrics",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _HOME[name]:
        return importlib.import_module(f".{name}", __name__)
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
