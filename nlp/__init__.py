"""Pipelines for texts; `pipelines.available()` lists the tasks there are so far."""
