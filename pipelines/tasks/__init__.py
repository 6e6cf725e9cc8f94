"""Task mixins, one module a task: what a network's outputs mean, how truth is checked, and how results are scored."""

from .anomaly import DetectorMixin
from .classification import ClassifierMixin
from .forecasting import ForecasterMixin
from .segmentation import SegmenterMixin
from .transcription import TranscriberMixin

__all__ = ["ClassifierMixin", "DetectorMixin", "ForecasterMixin", "SegmenterMixin", "TranscriberMixin"]
