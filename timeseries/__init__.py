"""Pipelines for time series; `pipelines.available()` lists the tasks there are so far."""
