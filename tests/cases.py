"""One tiny case per registered task; the contract suite runs every check on each of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """What the contract suite needs to know of a task."""

    params: dict[str, Any]  # small: a fit takes seconds
    data: Callable[[], tuple[Any, Any]]
    unreadable: Any  # a sample that cannot be decoded
    unknown: Any = None  # a label that is not in the data
    grid: dict[str, list[Any]] = field(default_factory=dict)  # for GridSearchCV


@cache
def _digits() -> tuple[list[np.ndarray], list[str]]:
    from sklearn.datasets import load_digits

    bunch = load_digits(n_class=3)
    return list(bunch.images[:90]), [f"digit {label}" for label in bunch.target[:90]]


CASES = {
    "image-classification": Case(
        params={"epochs": 2, "batch_size": 16, "verbose": 0},
        data=_digits,
        unreadable="no-such-file.png",
        unknown="digit 9",
        grid={"epochs": [1, 2]},
    ),
}
