"""Pure functions from what was true and what was said to a `Report`, one per task; no pipeline needed."""

from pipelines.metrics._anomaly import anomaly
from pipelines.metrics._classification import classification
from pipelines.metrics._forecasting import forecasting
from pipelines.metrics._segmentation import segmentation
from pipelines.metrics._transcription import transcription

__all__ = ["anomaly", "classification", "forecasting", "segmentation", "transcription"]
