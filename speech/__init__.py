"""Pipelines for speech. Importing this package loads neither PyTorch nor Whisper; names are resolved on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .transcription import SpeechTranscriber

__all__ = ["SpeechTranscriber"]


def __getattr__(name: str) -> Any:
    if name == "SpeechTranscriber":
        from .transcription import SpeechTranscriber

        return SpeechTranscriber
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
