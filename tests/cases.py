"""One tiny case per registered task; the contract suite runs every check on each of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Case:
    """What the contract suite needs to know of a task."""

    params: dict[str, Any]  # small: a fit takes seconds
    data: Callable[[], tuple[Any, Any]]  # X, and y or None
    unreadable: Any  # a sample that cannot be decoded
    unknown: Any = None  # what can be no label of a sample; None where there are no labels
    unknown_said: str = ""  # what the message says of it as sample 1
    sample: str = "sample"  # what messages call a sample
    no_input: str = "sequence"  # what messages say of an X that is none at all
    judged: Callable[[Any], int] = len  # how many results a report counts
    grid: dict[str, list[Any]] = field(default_factory=dict)  # for GridSearchCV


@cache
def _digits() -> tuple[list[np.ndarray], list[str]]:
    from sklearn.datasets import load_digits

    bunch = load_digits(n_class=3)
    return list(bunch.images[:90]), [f"digit {label}" for label in bunch.target[:90]]


@cache
def _sea_temperatures() -> tuple[list[pd.Series], None]:
    """Cut the 61 years of monthly sea temperatures off Peru into twelve series."""
    from statsmodels.datasets import elnino

    years = elnino.load_pandas().data.set_index("YEAR")
    months = pd.Series(years.to_numpy().ravel(), pd.date_range("1950-01-01", periods=years.size, freq="MS"))
    return [months[start : start + 61] for start in range(0, len(months), 61)], None


@cache
def _marked_sea_temperatures() -> tuple[list[pd.Series], list[np.ndarray]]:
    """Mark the warmest and the coldest month of each of those series."""
    series, _ = _sea_temperatures()
    return series, [((one == one.max()) | (one == one.min())).to_numpy() for one in series]


@cache
def _docstrings() -> tuple[list[str], list[str]]:
    """Take the first lines of what NumPy and pandas say of their own functions."""
    texts, labels = [], []
    for package in (np, pd):
        lines = [(getattr(package, name).__doc__ or "").strip().partition("\n")[0] for name in sorted(dir(package))]
        found = [line for line in lines if line.endswith(".")][:40]
        texts, labels = texts + found, labels + [package.__name__] * len(found)
    return texts, labels


@cache
def _spoken_words() -> tuple[list[np.ndarray], list[str]]:
    """Speak two words in ten robot voices, slowly and quickly: of two even a poor network is sure enough to be believed."""
    from speech.synthesis import speak

    voices = ("en", "en-us", "en+f2", "en+f3", "en+m3", "en+m5", "en-us+f4", "en-us+m1", "en-gb-scotland", "en-gb-x-rp")
    said = [(word, voice, rate) for voice in voices for rate in (140, 190) for word in ("yes", "no")]
    return [speak(word, voice=voice, rate=rate) for word, voice, rate in said], [word for word, *_ in said]


@cache
def _tumours() -> tuple[list[dict[str, Any]], list[str]]:
    """Take measures of tumours, one of them in words, with gaps."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data.iloc[:90, :4]
    sizes = pd.cut(frame["mean area"], [0, 500, 900, 9000], labels=["small", "middle", "large"]).astype(object)
    frame = frame.assign(
        **{"mean area": sizes.where(frame.index % 7 > 0), "mean texture": frame["mean texture"].where(frame.index % 5 > 0)}
    )
    return frame.to_dict("records"), bunch.target_names[bunch.target[:90]].tolist()


@cache
def _discs() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw bright discs on noise, with masks of them."""
    rng, places = np.random.default_rng(0), np.indices((20, 24))
    middles = rng.uniform(6, 14, (24, 2))
    masks = [(np.hypot(*(places - middle[:, None, None])) < 4).astype(np.uint8) for middle in middles]
    return [mask + rng.normal(0, 0.2, mask.shape) for mask in masks], masks


CASES = {
    "anomaly-detection": Case(
        params={"window": 12, "units": 8, "epochs": 1, "batch_size": 8, "verbose": 0},
        data=_marked_sea_temperatures,
        unreadable="no-such-file.csv",
        unknown=np.full(61, 2),
        unknown_said="Label 0 of Series 1 is 2",
        sample="series",
        no_input="is no time series",
        judged=lambda X: sum(map(len, X)),
        grid={"epochs": [1, 2]},
    ),
    "forecasting": Case(
        params={"horizon": 4, "lookback": 12, "units": 8, "epochs": 2, "batch_size": 16, "verbose": 0},
        data=_sea_temperatures,
        unreadable="no-such-file.csv",
        sample="series",
        no_input="is no time series",
        judged=lambda X: sum(len(series) - 12 - 4 + 1 for series in X),
        grid={"epochs": [1, 2]},
    ),
    "image-classification": Case(
        params={"epochs": 2, "batch_size": 16, "verbose": 0},
        data=_digits,
        unreadable="no-such-file.png",
        unknown="digit 9",
        unknown_said="sample 1, 'digit 9', was never seen",
        grid={"epochs": [1, 2]},
    ),
    "image-segmentation": Case(
        params={"architecture": "fcn", "image_size": 32, "epochs": 2, "batch_size": 8, "verbose": 0},  # the quickest to trace
        data=_discs,
        unreadable="no-such-file.png",
        unknown=np.full((20, 24), 7),
        unknown_said="mask of sample 1 holds labels that are none: 7",
        grid={"epochs": [1, 2]},
    ),
    "record-classification": Case(
        params={"epochs": 2, "verbose": 0},
        data=_tumours,
        unreadable="17.99;10.38;122.8",
        unknown="unsure",
        unknown_said="sample 1, 'unsure', was never seen",
        sample="row",
        grid={"epochs": [1, 2]},
    ),
    "scan-classification": Case(
        params={"epochs": 2, "batch_size": 16, "verbose": 0},
        data=_digits,
        unreadable="no-such-file.nii.gz",
        unknown="digit 9",
        unknown_said="sample 1, 'digit 9', was never seen",
        grid={"epochs": [1, 2]},
    ),
    "scan-segmentation": Case(
        params={"epochs": 1, "width": 4, "patch": [16, 16], "batch_size": 8, "verbose": 0},
        data=_discs,
        unreadable="no-such-file.nii.gz",
        unknown=np.full((20, 24), 7),
        unknown_said="mask of sample 1 holds labels that are none: 7",
        grid={"epochs": [1, 2]},
    ),
    "speech-transcription": Case(
        params={"weights": None, "units": 48, "layers": 1, "epochs": 2, "lr": 8e-3, "batch_size": 8, "verbose": 0},
        data=_spoken_words,
        unreadable="no-such-file.wav",
        unknown=7,
        unknown_said="The text of sample 1 is '7'",
        grid={"epochs": [1, 2]},
    ),
    "text-classification": Case(
        params={"epochs": 2, "batch_size": 16, "verbose": 0},
        data=_docstrings,
        unreadable=b"NumPy",
        unknown="scipy",
        unknown_said="sample 1, 'scipy', was never seen",
        grid={"epochs": [1, 2]},
    ),
}
