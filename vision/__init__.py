"""Pipelines for images. Importing this package loads neither TensorFlow nor Keras; names are resolved on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classification import ImageClassifier
    from .segmentation import ImageSegmenter

__all__ = ["ImageClassifier", "ImageSegmenter"]


def __getattr__(name: str) -> Any:
    if name == "ImageClassifier":
        from .classification import ImageClassifier

        return ImageClassifier
    if name == "ImageSegmenter":
        from .segmentation import ImageSegmenter

        return ImageSegmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
