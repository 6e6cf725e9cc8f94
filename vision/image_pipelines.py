"""What all pipelines on images have: heat maps of what the network looked at, and exports for other programs."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .explanation import Explanation
    from .export import Exported

__all__ = ["ImagePipelineMixin"]


class ImagePipelineMixin:
    """`explain` and `export`, the same for a classifier and a segmenter."""

    def explain(self, X: Any, method: str = "grad-cam", target: Any = None, *, check: bool = True) -> "list[Explanation]":
        """Show what in each image speaks for its label, or for a class where a mask has it; see `vision.explanation.explain`.

        Parameters
        ----------
        X : sequence
            Images; for masks of at most 1,024 pixels a side.
        method : str
            `"grad-cam"`; `"integrated-gradients"`, which is finer and many times slower; or `"occlusion"`.
        target : label, optional
            What to explain for all of them, of masks the name of a class; by default each image's most probable label, or the one
            that most of its pixels have.
        check : bool
            Also test whether what is hot counts for more than other places, which takes 132 predictions an image.

        Returns
        -------
        list of Explanation
            A heat map in the size of each image, with its `deletion` and `insertion`; `save("why.png")`.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> from vision import ImageClassifier, ImageSegmenter
        >>> digits = load_digits(n_class=2)
        >>> model = ImageClassifier(epochs=1, verbose=0).fit(digits.images, digits.target)
        >>> model.explain(digits.images[:1])[0].heat.shape
        (8, 8)
        >>> y = [np.pad(np.ones((8, 8), np.uint8), ((at, 16 - at), (8, 8))) for at in (2, 5, 8, 11)]
        >>> X = [200 * mask for mask in y]
        >>> model = ImageSegmenter(epochs=1, verbose=0).fit(X, y)
        >>> model.explain(X[:1], target="1", check=False)[0].heat.shape
        (24, 24)
        """
        from . import explanation

        self._ready()  # type: ignore[attr-defined]
        images = self._inspect(self._samples(X)[0])  # type: ignore[attr-defined]
        return explanation.explain(self, images, method, target, check=check)

    def export(self, path: str | os.PathLike[str], *, format: str | None = None, samples: Any = None) -> "Exported":
        """Write the network for other programs, from pixels to probabilities, and prove that it says the same.

        Parameters
        ----------
        path : path
            A file that ends in `.onnx` or `.tflite`, or a folder for a TensorFlow SavedModel; labels and the rest go beside it.
        format : str, optional
            `"saved-model"`, `"onnx"` or `"tflite"`; by default what the path's ending says.
        samples : sequence, optional
            Images to compare on, besides a few of our own; for masks of at most 1,024 pixels a side, as larger ones are predicted
            in tiles.

        Returns
        -------
        Exported
            The paths, and the largest difference of two probabilities, which is at most 1e-4; see `vision.export.export`.

        Examples
        --------
        >>> pipelines.load("model/").export("digits.onnx").difference  # doctest: +SKIP
        1.2e-07
        """
        from . import export

        self._ready()  # type: ignore[attr-defined]
        return export.export(self, path, format, samples)
