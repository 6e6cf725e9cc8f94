"""Demos of the image pipelines, on real images that are on every machine with the project installed."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines import data

from .classification import ImageClassifier
from .segmentation import ImageSegmenter

__all__ = ["compose", "digits", "scenes"]

_SIDE = 64  # pixels of a scene
_SCALES = (2, 3)  # how many times a digit of 8 x 8 pixels is enlarged
_TRIES = 12  # places that are looked at for another digit in a scene
_INK = 6  # of 16: so dark a pixel belongs to the digit
_SCENES, _TEST_SCENES = 240, 60
_SHOWN = 5  # test scenes that are written to files
_EPOCHS = 16


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
    X, X_test, y, y_test = _split_digits()
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


def scenes(out: Path) -> tuple[ImageSegmenter, Any, Any, list[str]]:
    """Image segmentation: which digit each pixel belongs to, in scenes of several of scikit-learn's digits on a noisy ground.

    The digits are real, the scenes are composed. Those of the test scenes are in no training scene.

    Parameters
    ----------
    out : path
        An existing folder; five test scenes are written to `scenes/` in it as PNG files, and their masks to `masks/`.

    Returns
    -------
    model, X_test, y_test, inputs : tuple
        The fitted segmenter, the test scenes and their masks, and what to give to `pipelines predict`: the five scenes, whose
        masks go to `predicted/`.
    """
    images, test_images, labels, test_labels = _split_digits()
    X, y = compose(images, labels, _SCENES, seed=0)
    X_test, y_test = compose(test_images, test_labels, _TEST_SCENES, seed=1)
    names = {"ground": 0, **{f"digit {label}": label + 1 for label in range(10)}}
    model = ImageSegmenter(classes=names, epochs=_EPOCHS).fit(X, y)
    files = []
    for folder, pictures in (("scenes", X_test), ("masks", y_test)):
        (out / folder).mkdir(exist_ok=True)
        for i, picture in enumerate(pictures[:_SHOWN]):
            files.append(out / folder / f"scene-{i}.png")
            Image.fromarray(picture).save(files[-1])
    return model, X_test, y_test, [*map(str, files[:_SHOWN]), "--out", str(out / "predicted")]


def compose(images: np.ndarray, labels: np.ndarray, n: int, *, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Put digits at random places on noisy grounds, none over another.

    Parameters
    ----------
    images : ndarray, (m, 8, 8)
        Digits, ink from 0 to 16.
    labels : ndarray, (m,)
        Which digits they are.
    n : int
        How many scenes.
    seed : int
        Of what is drawn.

    Returns
    -------
    scenes, masks : lists of ndarray of uint8, (64, 64)
        Grey values; and 0 for the ground, 1 for a pixel of a zero, 2 of a one, and so on.

    Examples
    --------
    >>> (scene,), (mask,) = compose(np.full((1, 8, 8), 16.0), np.array([7]), 1, seed=0)
    >>> scene.shape, np.unique(mask).tolist()
    ((64, 64), [0, 8])
    """
    rng = np.random.default_rng(seed)
    made = [_scene(images, labels, rng) for _ in range(n)]
    return [scene for scene, _ in made], [mask for _, mask in made]


def _split_digits() -> Any:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return data.split(bunch.images, bunch.target, test=0.25, seed=0)


def _scene(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    from scipy import ndimage

    ink, mask = np.zeros((_SIDE, _SIDE)), np.zeros((_SIDE, _SIDE), np.uint8)
    taken = np.zeros((_SIDE, _SIDE), bool)
    for _ in range(_TRIES):
        which, scale = int(rng.integers(len(images))), int(rng.choice(_SCALES))
        side = 8 * scale
        row, column = rng.integers(0, _SIDE - side + 1, 2)
        box = slice(row, row + side), slice(column, column + side)
        if taken[box].any():
            continue
        taken[box] = True
        ink[box] = ndimage.zoom(images[which], scale, order=1, mode="nearest", grid_mode=True)
        mask[box][ink[box] >= _INK] = labels[which] + 1
    ground = ndimage.gaussian_filter(rng.normal(0, 1, (_SIDE, _SIDE)), 3) * 150 + rng.uniform(50, 110)
    light = ground + ink / 16 * rng.uniform(90, 140) + rng.normal(0, 15, (_SIDE, _SIDE))
    return np.rint(light.clip(0, 255)).astype(np.uint8), mask
