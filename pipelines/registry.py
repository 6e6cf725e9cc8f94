"""Task name -> class, as strings; the import happens on first use."""

import importlib
from typing import Any

from .checks import did_you_mean
from .errors import ParameterError

__all__ = ["DEMOS", "TASKS", "available", "create", "demo", "pipeline_class"]

TASKS = {
    "anomaly-detection": "timeseries.anomaly:AnomalyDetector",
    "forecasting": "timeseries.forecasting:Forecaster",
    "image-classification": "vision.classification:ImageClassifier",
    "image-segmentation": "vision.segmentation:ImageSegmenter",
    "scan-classification": "medical.classification:ScanClassifier",
    "scan-segmentation": "medical.segmentation:ScanSegmenter",
    "record-classification": "medical.records:RecordClassifier",
    "speech-transcription": "speech.transcription:SpeechTranscriber",
    "text-classification": "nlp.classification:TextClassifier",
}

DEMOS = {
    "digits": "vision.demo:digits",
    "scenes": "vision.demo:scenes",
    "docstrings": "nlp.demo:docstrings",
    "commands": "speech.demo:commands",
    "template": "medical.demo:template",
    "co2": "timeseries.demo:co2",
    "faults": "timeseries.demo:faults",
}


def available() -> list[str]:
    """Return the names of the tasks there is a pipeline for.

    Examples
    --------
    >>> "image-classification" in available()
    True
    """
    return sorted(TASKS)


def pipeline_class(task: str) -> Any:
    """Return the class behind a task name.

    Raises
    ------
    ParameterError
        If the name is unknown, with the closest known one.
    """
    return _find(task, TASKS, "task")


def create(task: str, **params: Any) -> Any:
    """Make the pipeline of a task; the parameters are its constructor's.

    Examples
    --------
    >>> create("image-classification", epochs=3).epochs
    3
    """
    return pipeline_class(task)(**params)


def demo(name: str) -> Any:
    """Return a demo: a function of the output folder, described by its docstring."""
    return _find(name, DEMOS, "demo")


def _find(name: str, table: dict[str, str], what: str) -> Any:
    if name not in table:
        raise ParameterError(f"There is no {what} {name!r}.{did_you_mean(name, table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
