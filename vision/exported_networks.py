"""What is exported of a classifier and of a segmenter: the network from pixels to probabilities, and facts about it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pipelines import checks
from pipelines.engines import load_framework
from pipelines.errors import DataError

from . import masks, registration, tiles

keras: Any = load_framework("keras")

__all__ = ["INPUT", "OUTPUT", "ExportedClassifier", "ExportedSegmenter", "Run"]

INPUT, OUTPUT = "pixels", "probabilities"

Run = Callable[[np.ndarray], np.ndarray]


class ExportedClassifier:
    """An `ImageClassifier` as it is exported.

    Parameters
    ----------
    pipeline : ImageClassifier
        A fitted one.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def network(self) -> Any:
        """Return the network from `pixels` to `probabilities`."""
        inputs = keras.Input(self.pipeline.model_.input_shape[1:], name=INPUT)
        found = Probabilities(self.pipeline.temperature_, self.pipeline.multilabel_)(self.pipeline.model_(inputs))
        return keras.Model(inputs, {OUTPUT: found})

    def facts(self) -> dict[str, Any]:
        """Return what a program has to know to use it."""
        pipeline, labels = self.pipeline, self.pipeline.classes_.tolist()
        shape = [None, *pipeline.image_size_, pipeline.channels_]
        return {
            "input": {"name": INPUT, "dtype": "float32", "shape": shape, "values": [0, 255]},
            "output": {"name": OUTPUT, "dtype": "float32", "shape": [None, len(labels)]},
            "labels": labels,
            "several_labels": pipeline.multilabel_,
            "thresholds": pipeline.threshold_.tolist() if pipeline.multilabel_ else None,
            "temperature": {"value": pipeline.temperature_, "included": True},
            "reading": {**_reading(pipeline), "resized": "to input height and width, bilinear and smoothed, as Pillow does"},
        }

    def own_images(self) -> list[np.ndarray]:
        """Return a few images of every kind."""
        return _images((*self.pipeline.image_size_, self.pipeline.channels_))

    def answers(self, run: Run, X: Any, size: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield the number of a first image, and what the export and the pipeline say from there on, `size` images at a time."""
        expected = self.pipeline.predict_proba(X)
        images, rows = self.pipeline._inspect(checks.samples(X)[0]), np.arange(len(X))
        read = self.pipeline._reader
        yield 0, np.concatenate([run(read(images, rows[i : i + size])) for i in range(0, len(X), size)]), expected

    def check_decisions(self, first: int, found: np.ndarray, expected: np.ndarray, form: str) -> None:
        """Raise DataError where an image gets another label."""
        said, decided = (self.pipeline.decide(proba) for proba in (found, expected))
        if (said != decided).any():
            i = int(np.argmax((said != decided).reshape(len(said), -1).any(axis=1)))
            raise DataError(
                f"The export as {form!r} takes image {first + i} for {said[i].tolist()!r}, the pipeline for "
                f"{decided[i].tolist()!r}, as their probabilities are nearly equal. Nothing was left behind; leave this image "
                "out of samples."
            )


class ExportedSegmenter:
    """An `ImageSegmenter` as it is exported: for images of any size, which go through whole.

    Parameters
    ----------
    pipeline : ImageSegmenter
        A fitted one.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def network(self) -> Any:
        """Return the network from `pixels` to `probabilities`."""
        from .segmenter_networks import multiple

        pipeline = self.pipeline
        inputs = keras.Input((None, None, pipeline.channels_), name=INPUT)
        moved = Moved(pipeline.displacement_)(inputs) if any(pipeline.displacement_) else inputs
        padded = Padded(multiple(pipeline.backbone))(moved)
        total = pipeline.model_(padded)
        for across, axes in pipeline._views:
            mirrored = keras.layers.Lambda(lambda x, axes=axes: keras.ops.flip(x, axes), output_shape=_same)
            turned = keras.layers.Permute((2, 1, 3) if across else (1, 2, 3))
            total = total + turned(mirrored(pipeline.model_(mirrored(turned(padded)))))
        found = Probabilities(1 + len(pipeline._views), multilabel=False)(Cropped()([total, inputs]))  # of the mean
        return keras.Model(inputs, {OUTPUT: found})

    def facts(self) -> dict[str, Any]:
        """Return what a program has to know to use it."""
        pipeline, labels = self.pipeline, self.pipeline.classes_.tolist()
        return {
            "input": {"name": INPUT, "dtype": "float32", "shape": [None, None, None, pipeline.channels_], "values": [0, 255]},
            "output": {"name": OUTPUT, "dtype": "float32", "shape": [None, None, None, len(labels)]},
            "labels": labels,
            "numbers": pipeline.labels_.tolist(),
            "colours": None if pipeline._colours is None else masks.colour_table(pipeline._colours)[pipeline.labels_].tolist(),
            "reading": {
                **_reading(pipeline),
                "resized": "not; images of any size are mirrored inside up to what the network takes",
            },
        }

    def own_images(self) -> list[np.ndarray]:
        """Return a few images of every kind, one of them of a size that the network does not take by itself."""
        height, width = self.pipeline.image_size_
        channels = self.pipeline.channels_
        return [*_images((height, width, channels)), _images((height + 5, width - 3, channels))[-1]]

    def answers(self, run: Run, X: Any, size: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield each image's number, and what the export and the pipeline say of it; DataError where it is predicted in tiles."""
        images = self.pipeline._inspect(self.pipeline._samples(X)[0])
        read = replace(self.pipeline._reader, displacement=(0.0, 0.0))  # the network moves them
        for i in range(len(images)):
            pixels = read(images, i).astype(np.float32)[None]
            if max(pixels.shape[1:3]) > tiles.TILE:
                raise DataError(
                    f"Image {i} of samples has {pixels.shape[1]} x {pixels.shape[2]} pixels. The pipeline predicts images of "
                    f"more than {tiles.TILE} a side in tiles, an export whole; leave it out of samples."
                )
            yield i, run(pixels), np.stack(self.pipeline.predict_proba([images[i]]))

    def check_decisions(self, first: int, found: np.ndarray, expected: np.ndarray, form: str) -> None:
        """Let pass what the tolerance lets pass: of a million pixels some are as good as equally likely in two classes."""


def _reading(pipeline: Any) -> dict[str, Any]:
    return {
        "colour": "RGB" if pipeline.channels_ == 3 else "grey",
        "turned_upright": "by EXIF",
        "transparency": "on white",
        "value_range": {"of_images_with_more_than_8_bits": pipeline.value_range_, "mapped_to": [0, 255]},
    }


def _images(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Return images that are black, white, a slope, and noise twice."""
    random = np.random.default_rng(0)
    slope = np.broadcast_to(np.linspace(0, 255, shape[1])[None, :, None], shape)
    found = [np.zeros(shape), np.full(shape, 255), slope, *random.integers(0, 256, (2, *shape))]
    return [image.astype(np.uint8) for image in found]


# ---------------------------------------------------------------- layers
class Probabilities(keras.layers.Layer):
    """Class scores to probabilities, at the temperature that was learned."""

    def __init__(self, temperature: float, multilabel: bool) -> None:
        super().__init__(name=OUTPUT)
        self.temperature, self.multilabel = temperature, multilabel

    def call(self, scores: Any) -> Any:
        cooled = scores / self.temperature
        return keras.ops.sigmoid(cooled) if self.multilabel else keras.ops.softmax(cooled, axis=-1)


class Moved(keras.layers.Layer):
    """Images moved by so many rows and columns, as `registration.moved` does it."""

    def __init__(self, by: list[float]) -> None:
        super().__init__()
        self.taps = [registration.taps(each).tolist() for each in by]

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape, whose height and width are known only later."""
        return _same(input_shape)

    def call(self, x: Any) -> Any:
        """Return the moved images."""
        ops = keras.ops
        for axis, taps in enumerate(self.taps, start=1):
            extent = ops.shape(x)[axis]
            around = [ops.clip(ops.arange(extent) + at, 0, extent - 1) for at in range(-2, 3)]
            x = sum(weight * ops.take(x, places, axis=axis) for weight, places in zip(taps, around, strict=True) if weight)
        return ops.clip(x, 0, 255)


class Padded(keras.layers.Layer):
    """Images mirrored at their lower and right ends up to the next multiple a side, as `crops.reflected` does it."""

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape, whose height and width are known only later."""
        return _same(input_shape)

    def call(self, x: Any) -> Any:
        """Return the larger images."""
        ops = keras.ops
        for axis in (1, 2):
            extent = ops.shape(x)[axis]
            up = extent + self.multiple - 1  # ONNX rounds negative numbers the other way than Python does
            places = ops.arange(up // self.multiple * self.multiple) % (2 * extent)
            x = ops.take(x, ops.where(places < extent, places, 2 * extent - 1 - places), axis=axis)
        return x


class Cropped(keras.layers.Layer):
    """The upper left part of maps, in the size of the images that come with them."""

    def compute_output_shape(self, input_shape: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return the shape, whose height and width are known only later."""
        return _same(input_shape[0])

    def call(self, parts: list[Any]) -> Any:
        """Return the smaller maps."""
        maps, images = parts
        _, height, width, _ = keras.ops.shape(images)
        return maps[:, :height, :width]


def _same(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    return (shape[0], None, None, shape[3])
