"""Pipelines for texts. Importing this package loads neither PyTorch nor transformers; names are resolved on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classification import TextClassifier

__all__ = ["TextClassifier"]


def __getattr__(name: str) -> Any:
    if name == "TextClassifier":
        from .classification import TextClassifier

        return TextClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
