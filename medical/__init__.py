"""Pipelines for medical scans and records. Importing this package loads no framework; names are resolved on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classification import ScanClassifier
    from .records import RecordClassifier
    from .segmentation import ScanSegmenter

__all__ = ["RecordClassifier", "ScanClassifier", "ScanSegmenter"]


def __getattr__(name: str) -> Any:
    if name == "RecordClassifier":
        from .records import RecordClassifier

        return RecordClassifier
    if name == "ScanClassifier":
        from .classification import ScanClassifier

        return ScanClassifier
    if name == "ScanSegmenter":
        from .segmentation import ScanSegmenter

        return ScanSegmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
