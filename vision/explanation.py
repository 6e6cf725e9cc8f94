"""Where in an image the network looked: heat maps in the image's own size, with a check that they mean something."""

import dataclasses
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import checks, data, store
from pipelines.errors import DataError, ParameterError

from . import attribution, crops, images, tiles

__all__ = ["Explanation", "explain"]

METHODS = ("grad-cam", "integrated-gradients", "occlusion")
_SHARES = np.linspace(0, 1, 11)  # of the pixels that are changed to test a heat map
_ELSEWHERE = 5  # other places where as much is changed
_PIXELS, _IMAGES = 2**18, 1024  # that go through the network at once, at most: with gradients asked for, it keeps all its maps


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What in one image speaks for a label.

    Parameters
    ----------
    heat : ndarray, (height, width)
        From 0 to 1 in the size of the image, upright as its EXIF tag has it; 1 where most speaks for the label, and all 0 where
        nothing does.
    label : str, int or bool
        What is explained.
    probability : float
        The label's, as `predict_proba` has it; of a mask the mean over the pixels that are explained.
    prediction : str, int, bool or tuple
        What `predict` says of the image; of several labels, or of a mask, those that are present.
    method : str
        "grad-cam", "integrated-gradients" or "occlusion".
    curves : DataFrame
        The label's probability while a growing share of the pixels, the index, is changed, the hottest first [1]_: in `deletion`
        they turn grey, and in `insertion` they come back to an image all grey. `random_deletion` and `random_insertion` are the
        same for the heat map moved to other places, on average. No rows where the check was not asked for. `curves.plot()` draws
        them.
    sample : path, PIL image or array
        The image.

    References
    ----------
    .. [1] Petsiuk, Das, Saenko (2018), "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC,
       arXiv:1806.07421.

    Examples
    --------
    >>> curves = pd.DataFrame({"deletion": [0.9, 0.1], "random_deletion": [0.9, 0.3],
    ...                        "insertion": [0.1, 0.9], "random_insertion": [0.1, 0.7]}, index=[0.0, 1.0])
    >>> found = Explanation(np.eye(4), "ant", 0.9, "ant", "grad-cam", curves, np.eye(4))
    >>> found
    Explanation(ant, probability 0.900, grad-cam, deletion 0.500, elsewhere 0.600, insertion 0.500, elsewhere 0.400)
    >>> found.faithful
    True
    """

    heat: np.ndarray
    label: Any
    probability: float
    prediction: Any
    method: str
    curves: pd.DataFrame
    sample: Any

    @property
    def deletion(self) -> float:
        """Area under the label's probability while the hottest pixels turn grey: small where they matter; `nan` unchecked."""
        return self._area("deletion")

    @property
    def random_deletion(self) -> float:
        """The same for the heat map moved to other places, on average."""
        return self._area("random_deletion")

    @property
    def insertion(self) -> float:
        """Area under the label's probability while the hottest pixels come back: large where they suffice; `nan` unchecked."""
        return self._area("insertion")

    @property
    def random_insertion(self) -> float:
        """The same for the heat map moved to other places, on average."""
        return self._area("random_insertion")

    @property
    def faithful(self) -> bool:
        """Whether it was checked that without what is hot the probability falls sooner than without other places."""
        return bool(self.heat.any()) and self.deletion < self.random_deletion

    def __repr__(self) -> str:
        checked = (
            f"deletion {self.deletion:.3f}, elsewhere {self.random_deletion:.3f}, "
            f"insertion {self.insertion:.3f}, elsewhere {self.random_insertion:.3f}"
        )
        end = checked if len(self.curves) else "not checked"
        return f"Explanation({self.label}, probability {self.probability:.3f}, {self.method}, {end})"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a picture of the image, and beside it the same with the heat laid over it.

        Parameters
        ----------
        path : path
            A file that ends in `.png`.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        DataError
            If it cannot be written, or the image is no longer where it was.
        ParameterError
            If the ending is another.
        """
        target = Path(path)
        if target.suffix.lower() != ".png":
            raise ParameterError(f"path={str(target)!r} has no ending a heat map can be written as. Expected .png.")
        store.write_bytes(target, self._drawn())
        return target

    def _drawn(self) -> bytes:
        try:
            image = images.decode(self.sample)
        except DataError as error:
            raise DataError(f"The image to draw the heat over, {self.sample}, {error}.") from error
        draw: Callable[..., bytes] = importlib.import_module("pipelines.report_pictures").heat
        return draw(image[..., 0] if image.shape[2] == 1 else image, self.heat)

    def _area(self, name: str) -> float:
        return float(np.trapezoid(self.curves[name], self.curves.index)) if len(self.curves) else float("nan")


def explain(pipeline: Any, X: Any, method: str = "grad-cam", target: Any = None, *, check: bool = True) -> list[Explanation]:
    """Show where in each image the network looked.

    `"grad-cam"` looks at the coarsest map of the network that still knows where things are, at the cost of about two
    predictions; `"integrated-gradients"` is as fine as the pixels and costs some two hundred; `"occlusion"` covers up to 290
    boxes one after the other, and needs no gradients. See `vision.attribution`.

    What is explained is the label's score (logit); of a mask the mean over the pixels that are taken for the label, or over all
    where none is. A hot place need not be of that label: it is what the network looked at.

    The check turns the hottest pixels grey first, and as many in the same form at other places, see `Explanation.curves`. It
    costs 132 predictions an image.

    Parameters
    ----------
    pipeline : ImageClassifier or ImageSegmenter
        A fitted one.
    X : list or ndarray
        Images, as `images.check` returns them.
    method : str
        "grad-cam", "integrated-gradients" or "occlusion".
    target : label, optional
        What to explain for all of them; by default each image's most probable label, or the one that most of its pixels have.
    check : bool
        False leaves the check out.

    Returns
    -------
    list of Explanation

    Raises
    ------
    DataError
        If an image cannot be used; it is named.
    ParameterError
        If there is no such method or label.
    """
    checks.choice("method", method, METHODS)
    checks.choice("check", check, (True, False))
    code = None if target is None else checks.target_code(pipeline.classes_, target)
    look = (_Looker if hasattr(pipeline, "multilabel_") else _MaskLooker)(pipeline, method)
    return [one for rows in look.portions(X) for one in look.at(X, rows, code, check)]


class _Looker:
    """Looks into the network of a classifier."""

    def __init__(self, pipeline: Any, method: str) -> None:
        self.pipeline, self.method, self.network = pipeline, method, pipeline.model_
        if method == "grad-cam":
            self.halves = attribution.halves(self.network)

    def at(self, X: Any, rows: np.ndarray, code: int | None, check: bool) -> Iterator[Explanation]:
        pixels = self.pixels(X, rows)
        with self.pipeline.device_.scope():
            outputs, explained = self.look(pixels)
            codes, asked = self.ask(outputs, code)
            heat = _heat(explained(asked), pixels.shape[1:3])
        proba = self.proba(outputs)
        curves = self.curves(pixels, heat, asked) if check else [_curves(np.empty((0, 4)))] * len(rows)
        for k, i in enumerate(rows.tolist()):
            yield Explanation(
                self.in_size(heat[k], images.size_of(X[i], i)),
                self.pipeline.classes_[codes[k]].item(),
                float((proba[k] * asked[k]).sum()),
                self.said(proba[k]),
                self.method,
                curves[k],
                X[i],
            )

    # ---------------------------------------------------------------- what segmenters do in another way
    def portions(self, X: Any) -> list[np.ndarray]:
        height, width = self.pipeline.image_size_
        return np.array_split(np.arange(len(X)), -(-len(X) // _together(height, width)))

    def pixels(self, X: Any, rows: np.ndarray) -> np.ndarray:
        return self.pipeline._reader(X, rows)

    def ask(self, outputs: np.ndarray, code: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the label of each image that is explained, and what its outputs are multiplied by."""
        codes = outputs.argmax(axis=1) if code is None else np.full(len(outputs), code)
        return codes, np.eye(outputs.shape[1], dtype=np.float32)[codes]

    def proba(self, outputs: np.ndarray) -> np.ndarray:
        return self.pipeline._proba(outputs)

    def said(self, proba: np.ndarray) -> Any:
        said = self.pipeline.decide(proba[None])[0]
        return tuple(self.pipeline.classes_[said == 1].tolist()) if self.pipeline.multilabel_ else said.item()

    def in_size(self, heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return heat if heat.shape == size else images.resize(heat[..., None], size)[..., 0].clip(0, 1)

    # ---------------------------------------------------------------- heat
    def outputs(self, pixels: np.ndarray) -> np.ndarray:
        batches = data.Batches(lambda rows: pixels[rows], len(pixels), len(pixels))
        return self.pipeline._engine.infer(self.network, batches, device=self.pipeline.device_)

    def look(self, pixels: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """Return the network's outputs, and what tells from what is asked of them how much each place adds to it."""
        vjp = self.pipeline._engine.vjp
        if self.method == "grad-cam":
            return attribution.grad_cam(self.halves, vjp, pixels)

        def explained(asked: np.ndarray) -> np.ndarray:
            if self.method == "integrated-gradients":
                return attribution.integrated(self.network, vjp, pixels, asked).sum(axis=-1)
            together = _together(*pixels.shape[1:3])
            return attribution.occluded(
                lambda read, shape: self.measured(read, shape, asked=asked, turned=np.asarray, together=together), pixels
            )

        return self.outputs(pixels), explained

    def measured(
        self,
        read: Callable[..., np.ndarray],
        shape: tuple[int, ...],
        asked: np.ndarray,
        turned: Callable[[np.ndarray], np.ndarray],
        together: int,
    ) -> np.ndarray:
        """Return what is asked of the outputs, `turned` into something else, for images changed in `shape[1:]` ways."""
        found, total = [], int(np.prod(shape))
        for start in range(0, total, together):
            image, *change = np.unravel_index(np.arange(start, min(start + together, total)), shape)
            product = turned(self.outputs(read(image, *change))) * asked[image]
            found.append(product.reshape(len(image), -1).sum(axis=1))
        return np.concatenate(found).reshape(shape)

    # ---------------------------------------------------------------- check
    def curves(self, pixels: np.ndarray, heat: np.ndarray, asked: np.ndarray) -> list[pd.DataFrame]:
        """Measure the label's probability while pixels are changed, the hottest first; see `Explanation.curves`."""
        size, rng = heat.shape[1:], np.random.default_rng(0)
        shifts = [[0, 0], *([int(rng.integers(1, max(2, side))) for side in size] for _ in range(_ELSEWHERE))]
        ranks = np.stack([_ranks(np.roll(heat, shift, axis=(1, 2))) for shift in shifts], axis=1)
        plain = attribution.grey(pixels)

        def read(image: np.ndarray, place: np.ndarray, inserted: np.ndarray, step: np.ndarray) -> np.ndarray:
            hot = ranks[image, place] < np.rint(_SHARES[step] * heat[0].size)[:, None, None]
            return np.where((hot ^ (inserted == 1)[:, None, None])[..., None], plain[image], pixels[image])

        found = self.measured(read, (len(pixels), len(shifts), 2, len(_SHARES)), asked, self.proba, _together(*size))
        own, elsewhere = found[:, 0], found[:, 1:].mean(axis=1)
        return [_curves(np.concatenate(pair).T) for pair in zip(own, elsewhere, strict=True)]


class _MaskLooker(_Looker):
    """Looks into the network of a segmenter, at one image after the other, for they differ in size."""

    def portions(self, X: Any) -> list[np.ndarray]:
        return list(np.arange(len(X))[:, None])

    def pixels(self, X: Any, rows: np.ndarray) -> np.ndarray:
        """Return one image, mirrored at its lower and right end up to the next size the network takes."""
        from .segmenter_networks import multiple

        image = self.pipeline._reader(X, int(rows[0])).astype(np.float32)
        if max(image.shape[:2]) > tiles.TILE:
            raise DataError(
                f"Sample {rows[0]} has {image.shape[0]} x {image.shape[1]} pixels, but masks are explained of images of at most "
                f"{tiles.TILE} a side, which are predicted whole. Cut out the part in question."
            )
        whole = multiple(self.pipeline.backbone)
        down, right = (crops.reflected(0, -(-side // whole) * whole, side) for side in image.shape[:2])
        return image[down[:, None], right][None]

    def ask(self, outputs: np.ndarray, code: int | None) -> tuple[np.ndarray, np.ndarray]:
        codes, k = outputs.argmax(axis=-1), outputs.shape[-1]
        code = int(np.bincount(codes.ravel(), minlength=k).argmax()) if code is None else code
        there = codes == code if (codes == code).any() else np.ones_like(codes, dtype=bool)
        return np.array([code]), (there[..., None] * np.eye(k)[code] / there.sum()).astype(np.float32)

    def proba(self, outputs: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        return softmax(outputs, axis=-1)

    def said(self, proba: np.ndarray) -> Any:
        return tuple(self.pipeline.classes_[np.unique(proba.argmax(axis=-1))].tolist())

    def in_size(self, heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return heat[: size[0], : size[1]]


def _together(height: int, width: int) -> int:
    return max(1, min(_IMAGES, _PIXELS // (height * width)))


def _heat(found: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return what places add to the score as heat from 0 to 1, in this size; what speaks against it is 0."""
    found = attribution.enlarged(found.clip(0), size)
    most = found.max(axis=(1, 2), keepdims=True)
    return found / np.where(most > 0, most, 1)


def _ranks(heat: np.ndarray) -> np.ndarray:
    """Return each pixel's place in its image from the hottest, 0, to the coldest; where they are equal at random."""
    flat = heat.reshape(len(heat), -1)
    chance = np.broadcast_to(np.random.default_rng(1).random(flat.shape[1]), flat.shape)
    order = np.lexsort((chance, -flat), axis=1)
    return np.argsort(order, axis=1).reshape(heat.shape)


def _curves(values: np.ndarray) -> pd.DataFrame:
    names = ["deletion", "insertion", "random_deletion", "random_insertion"]
    return pd.DataFrame(values, columns=names, index=pd.Index(_SHARES[: len(values)], name="share"))
