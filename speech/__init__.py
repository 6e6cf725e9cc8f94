"""Pipelines for speech; `pipelines.available()` lists the tasks there are so far."""
