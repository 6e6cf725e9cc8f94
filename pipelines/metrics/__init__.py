"""Pure functions from what was true and what was said to a `Report`, one per task; no pipeline needed."""

from pipelines.metrics._classification import classification

__all__ = ["classification"]
