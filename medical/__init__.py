"""Pipelines for medical scans; `pipelines.available()` lists the tasks there are so far."""
