"""Demos of the image pipelines, on real images that are on every machine with the project installed."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines import data

from .classification import ImageClassifier

__all__ = ["digits"]


def digits(out: Path) -> tuple[ImageClassifier, Any, Any, list[str]]:
    """Image classification: the 1,797 handwritten digits of scikit-learn, 8 x 8 pixels, three quarters to learn from.

    Parameters
    ----------
    out : path
        An existing folder; ten test digits are written to `samples/` in it as PNG files.

    Returns
    -------
    model, X_test, y_test, files : tuple
        The fitted classifier, the held-out images and labels, and the paths of the ten samples.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    X, X_test, y, y_test = data.split(bunch.images, bunch.target, test=0.25, seed=0)
    model = ImageClassifier().fit(X, y)
    folder = out / "samples"
    folder.mkdir(exist_ok=True)
    files = []
    for label in range(10):
        image = X_test[int(np.flatnonzero(y_test == label)[0])]
        file = folder / f"digit-{label}.png"
        Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(file)
        files.append(str(file))
    return model, X_test, y_test, files
