"""Argument checks whose errors are sentences: what happened, what was expected, what was received, what to do."""

import difflib
import inspect
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .errors import DataError, ParameterError

__all__ = [
    "choice",
    "did_you_mean",
    "groups",
    "is_share",
    "named_weights",
    "number",
    "one_of_each",
    "parameter_names",
    "samples",
    "signature",
    "target_code",
]


def did_you_mean(name: object, options: Iterable[object]) -> str:
    """Return `" Did you mean 'x'?"` for the closest option, or the list of options where none is close.

    Examples
    --------
    >>> did_you_mean("epoch", ["epochs", "lr"])
    " Did you mean 'epochs'?"
    """
    known = [str(option) for option in options]
    close = difflib.get_close_matches(str(name), known, n=1)
    if close:
        return f" Did you mean {close[0]!r}?"
    shown = ", ".join(map(repr, known[:20])) + (", …" if len(known) > 20 else "")
    return f" Choose one of: {shown}." if known else ""


def parameter_names(cls: type, positional: Sequence[object], names: Iterable[str]) -> None:
    """Check the arguments of a constructor by name, before Python's own terse TypeError.

    Raises
    ------
    ParameterError
        For a positional argument or an unknown name, with the closest known one.
    """
    known = list(signature(cls).parameters)
    if positional:
        raise ParameterError(
            f"{cls.__name__} takes its parameters by name only, but received the value {positional[0]!r} without one. "
            f"Write for example {cls.__name__}({known[0]}={positional[0]!r})."
        )
    for name in names:
        if name not in known:
            raise ParameterError(f"{cls.__name__} has no parameter {name!r}.{did_you_mean(name, known)}")


def signature(cls: type) -> inspect.Signature:
    """Return the signature of a class as its constructor states it, without `self`."""
    whole = inspect.signature(cls.__init__)  # type: ignore[misc]
    return whole.replace(parameters=[p for name, p in whole.parameters.items() if name != "self"])


def choice(name: str, value: object, options: Iterable[object]) -> None:
    """Raise ParameterError unless `value` is one of `options`."""
    options = list(options)
    if not any(value is option or (type(value) is type(option) and value == option) for option in options):
        raise ParameterError(f"{name}={value!r} is not known.{did_you_mean(value, options)}")


def number(name: str, value: Any, low: float, high: float = float("inf"), *, integer: bool = False) -> None:
    """Raise ParameterError unless `value` is a finite number (an integer, where asked) with low <= value <= high."""
    kind = numbers.Integral if integer else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:  # type: ignore[operator]
        what = "an integer" if integer else "a number"
        span = f"of at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise ParameterError(f"{name} must be {what} {span}, but received {value!r}.")
    if not np.isfinite(float(value)):
        raise ParameterError(f"{name} must be finite, but received {value!r}.")


def target_code(classes: np.ndarray, target: Any) -> int:
    """Return the position among `classes` of the label that is to be explained; ParameterError if it is none of them.

    Examples
    --------
    >>> target_code(np.array(["ant", "bee"]), "bee")
    1
    """
    labels = classes.tolist()
    target = target.item() if isinstance(target, np.generic) else target
    if target not in labels:
        raise ParameterError(f"target={target!r} is no label of this pipeline.{did_you_mean(target, labels)}")
    return int(labels.index(target))


def named_weights(class_weight: Any, classes: np.ndarray) -> np.ndarray:
    """Return the weight of each class that a dict names, and 1 for the others; ParameterError where it is no such dict.

    Examples
    --------
    >>> named_weights({"bee": 3}, np.array(["ant", "bee"])).tolist()
    [1.0, 3.0]
    """
    if not isinstance(class_weight, dict):
        raise ParameterError(f"class_weight must be None, 'balanced' or a dict of weights, but received {class_weight!r}.")
    found = np.ones(len(classes))
    known = {str(label): i for i, label in enumerate(classes.tolist())}
    for label, weight in class_weight.items():
        if str(label) not in known:
            raise ParameterError(f"class_weight names the class {label!r}.{did_you_mean(label, known)}")
        number(f"class_weight[{label!r}]", weight, 0)
        found[known[str(label)]] = weight
    return found


def samples(X: Any, y: Any = None) -> tuple[Any, Any]:
    """Check that `X` is a non-empty sequence of samples and `y`, where given, is parallel to it.

    Parameters
    ----------
    X : sequence
        List, tuple, array, pandas Series or DataFrame with one entry a sample.
    y : sequence, optional
        One label or target a sample.

    Returns
    -------
    X, y : tuple
        `X` as a list, an array or a DataFrame, whichever keeps the samples as they are; `y` unchanged.

    Raises
    ------
    DataError
        If `X` is no sequence, is empty, or differs from `y` in length.

    Examples
    --------
    >>> samples(("a.png", "b.png"), [0, 1])
    (['a.png', 'b.png'], [0, 1])
    """
    if isinstance(X, (str, bytes)) or hasattr(X, "__fspath__"):
        raise DataError(f"X must be a sequence of samples, but received one path or text, {X!r}. Pass it as a list: [X].")
    if isinstance(X, (dict, set, frozenset)) or not (hasattr(X, "__len__") and hasattr(X, "__getitem__")):
        raise DataError(
            f"X must be a sequence of samples (a list, an array, a pandas column), but received a {type(X).__name__}. "
            "Turn it into a list first: list(X)."
        )
    if getattr(X, "ndim", 1) == 0:
        raise DataError("X must hold one entry a sample, but received an array without dimensions.")
    if len(X) == 0:
        raise DataError("X is empty: there is no sample to work on. Pass at least one.")
    if y is not None:
        if isinstance(y, (str, bytes, dict, set, frozenset)) or not hasattr(y, "__len__"):
            raise DataError(f"y must be a sequence parallel to X, but received {y!r}.")
        if len(X) != len(y):
            raise DataError(f"X and y must have one entry a sample each, but X has {len(X)} and y has {len(y)}.")
    return _plain(X), y


def is_share(valid: Any) -> bool:
    """Tell whether the `valid` of a fit is a share to split off, None for the usual one, or a pair; ParameterError if neither.

    Examples
    --------
    >>> is_share(0.2), is_share(None), is_share((["a.png"], [1]))
    (True, True, False)
    """
    if valid is None or (isinstance(valid, (int, float)) and not isinstance(valid, bool)):
        return True
    if not (isinstance(valid, (tuple, list)) and len(valid) == 2):
        raise ParameterError(f"valid must be a pair (X, y) or a share from 0 to 1, but received {valid!r}.")
    return False


def groups(names: Any, n: int, what: str = "groups") -> list[str]:
    """Return the names of groups as texts, one a sample; DataError where one is missing or their number is another.

    Examples
    --------
    >>> groups(np.array([7, 7, 8]), 3)
    ['7', '7', '8']
    """
    if isinstance(names, (str, bytes, dict, set, frozenset)) or not hasattr(names, "__len__") or getattr(names, "ndim", 1) != 1:
        raise DataError(f"{what} must be a sequence with one name a sample, but received a {type(names).__name__}.")
    if len(names) != n:
        raise DataError(f"{what} must have one name a sample, but has {len(names)} for {n} samples.")
    found = [name.item() if isinstance(name, np.generic) else name for name in names]
    for i, name in enumerate(found):
        if str(name).strip() == "" or (not isinstance(name, str) and str(name) in ("None", "nan", "<NA>", "NaT")):
            raise DataError(f"{what} has no name for sample {i}: {name!r}. Give each sample one, its patient or speaker.")
    return [str(name) for name in found]


def _plain(X: Any) -> Any:
    """Drop the pandas index and the array around objects and texts; numeric arrays and frames stay what they are."""
    if isinstance(X, np.ndarray):
        return list(X) if X.ndim == 1 and X.dtype.kind in "OUT" else X  # objects, and texts such as paths
    if getattr(X, "ndim", None) == 2 and hasattr(X, "columns"):
        return X
    return list(X)


def one_of_each(y: np.ndarray, classes: np.ndarray) -> None:
    """Raise DataError unless the labels name at least two classes."""
    if len(classes) < 2:
        raise DataError(
            f"y names one class only, {classes[0].item()!r} ({len(y)} samples), so there is nothing to tell apart. "
            "Give samples of at least two classes."
        )
