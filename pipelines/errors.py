"""The errors a user can meet; each message says what happened, what was expected, what was received and what to do."""

__all__ = ["DataError", "DeviceError", "FormatError", "ParameterError"]


class DataError(ValueError):
    """The samples, labels or files given cannot be used; the message names the sample's index and file."""


class ParameterError(DataError, TypeError):
    """A parameter has an unknown name or an impossible value."""


class DeviceError(RuntimeError):
    """The device asked for is not there; the message lists the visible ones."""


class FormatError(ValueError):
    """A saved folder is incomplete, altered, unsafe, or written by a newer version."""
