"""The table of backbones, and networks built from it: pixels 0–255 in, class scores (logits) out. Keras only, any backend."""

import contextlib
import functools
import math
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.errors import DataError

keras: Any = load_framework("keras")

__all__ = [
    "BACKBONES",
    "Backbone",
    "ClassWeightedLoss",
    "augmented",
    "build",
    "default_size",
    "freeze_statistics",
    "imagenet_weights",
    "load_application",
    "pretrained_features",
]


@dataclass(frozen=True)
class Backbone:
    """One row of the table: how Keras Applications calls it, how its pixels are scaled, and its image sizes."""

    application: str | None
    scaling: str | None
    minimum: int
    usual: int


def _family(names: dict[str, tuple[str, int]], scaling: str | None, minimum: int = 32) -> dict[str, Backbone]:
    return {name: Backbone(application, scaling, minimum, usual) for name, (application, usual) in names.items()}


# `scaling` is the mode of keras.applications.imagenet_utils.preprocess_input; None where the network scales inside.
BACKBONES: dict[str, Backbone] = {
    "small-cnn": Backbone(None, None, 4, 96),
    "lenet5": Backbone(None, None, 28, 32),
    **_family({"vgg16": ("VGG16", 224), "vgg19": ("VGG19", 224)}, "caffe"),
    **_family({f"resnet{n}": (f"ResNet{n}", 224) for n in (50, 101, 152)}, "caffe"),
    **_family({f"resnet{n}-v2": (f"ResNet{n}V2", 224) for n in (50, 101, 152)}, "tf"),
    **_family({"mobilenet": ("MobileNet", 224), "mobilenet-v2": ("MobileNetV2", 224)}, "tf"),
    **_family({f"mobilenet-v3-{s}": (f"MobileNetV3{s.title()}", 224) for s in ("small", "large")}, None),
    **_family({f"densenet{n}": (f"DenseNet{n}", 224) for n in (121, 169, 201)}, "torch"),
    **_family({"inception-v3": ("InceptionV3", 299), "inception-resnet-v2": ("InceptionResNetV2", 299)}, "tf", 75),
    **_family({"xception": ("Xception", 299)}, "tf", 71),
    **_family({"nasnet-mobile": ("NASNetMobile", 224), "nasnet-large": ("NASNetLarge", 331)}, "tf"),
    **_family(
        {f"efficientnet-b{n}": (f"EfficientNetB{n}", s) for n, s in enumerate((224, 240, 260, 300, 380, 456, 528, 600))}, None
    ),
    **_family({f"efficientnet-v2-b{n}": (f"EfficientNetV2B{n}", s) for n, s in enumerate((224, 240, 260, 300))}, None),
    **_family({f"efficientnet-v2-{s}": (f"EfficientNetV2{s.upper()}", n) for s, n in (("s", 384), ("m", 480), ("l", 480))}, None),
    **_family({f"convnext-{s}": (f"ConvNeXt{s.title()}", 224) for s in ("tiny", "small", "base", "large")}, None),
    **_family({"convnext-xlarge": ("ConvNeXtXLarge", 224)}, None),
}


def default_size(backbone: str, shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Choose an image size: the images' median, no smaller than the backbone can take and no larger than it usually gets.

    Examples
    --------
    >>> default_size("small-cnn", [(28, 28), (28, 28)])
    (28, 28)
    >>> default_size("small-cnn", [(480, 640)])
    (72, 96)
    """
    row = BACKBONES[backbone]
    median = np.median(np.asarray(shapes, dtype=float), axis=0)
    if row.application or backbone == "lenet5":  # square, as they were designed
        side = int(np.clip(round(float(median.mean())), row.minimum, row.usual))
        return side, side
    shrink = min(1.0, row.usual / median.max())
    height, width = (max(row.minimum, round(float(side) * shrink)) for side in median)
    return height, width


def build(backbone: str, size: tuple[int, int], channels: int, outputs: int) -> Any:
    """Make a network of two layers, `backbone` (pixels to features) and `head` (features to logits).

    Parameters
    ----------
    backbone : str
        A name in `BACKBONES`.
    size : (height, width)
        Of the images.
    channels : int
        1 or 3.
    outputs : int
        Number of classes.

    Returns
    -------
    keras.Model
        From `(n, height, width, channels)`, values 0–255, to logits `(n, outputs)`.
    """
    features = _FROM_SCRATCH[backbone](size, channels) if backbone in _FROM_SCRATCH else _application(backbone, size)
    inputs = keras.Input((*size, channels), name="pixels")
    width = features.output_shape[-1]
    head = keras.Sequential(
        [keras.Input((width,)), keras.layers.Dropout(0.2), keras.layers.Dense(outputs, name="logits")], name="head"
    )
    return keras.Model(inputs, head(features(inputs)), name=backbone)


def _small_cnn(size: tuple[int, int], channels: int) -> Any:
    """Up to four stages of two 3 x 3 convolutions, as many as the image size allows; large images are shrunk first."""
    layers = keras.layers
    pool = functools.partial(layers.MaxPooling2D, 2, padding="same")

    def convolved(x: Any, filters: int, kernel: int = 3, strides: int = 1) -> Any:
        x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    inputs = keras.Input((*size, channels))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    if min(size) >= 64:  # photographs: a coarse look is enough, and sixteen times cheaper
        x = pool()(convolved(x, 32, kernel=5, strides=2))
    for stage, filters in enumerate((32, 64, 128, 128)):
        x = convolved(convolved(x, filters), filters)
        if stage == 3 or min(x.shape[1:3]) < 8:  # four positions a side are left to average over
            break
        x = pool()(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    return keras.Model(inputs, x, name="backbone")


def _lenet5(size: tuple[int, int], channels: int) -> Any:
    """LeNet-5 (LeCun et al., 1998, doi:10.1109/5.726791) with its subsampling as average pooling."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((*size, channels)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(6, 5, padding="same" if min(size) < 32 else "valid", activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh"),
        ],
        name="backbone",
    )


_FROM_SCRATCH = {"small-cnn": _small_cnn, "lenet5": _lenet5}


def _application(backbone: str, size: tuple[int, int], weights: str | None = None) -> Any:
    row = BACKBONES[backbone]
    make = getattr(keras.applications, str(row.application))
    inner = make(include_top=False, weights=weights, input_shape=(*size, 3), pooling="avg")
    inner.name = "application"  # not at its making: several applications look their weights' file up by their name
    x = inputs = keras.Input((*size, 3))
    if row.scaling:
        x = ImagenetScaling(row.scaling)(x)
    return keras.Model(inputs, inner(x), name="backbone")


def augmented(model: Any, *, photo: bool) -> Any:
    """Put random changes before a network, active in training only: a small turn, zoom and shift.

    With `photo` also mirrored left to right, and with changed contrast and brightness.
    """
    inputs = keras.Input(model.input_shape[1:])
    return keras.Model(inputs, model(RandomView(photo=photo)(inputs)))


class RandomView(keras.layers.Layer):
    """Turn, zoom, shift and mirror each image in one resampling, several times cheaper than Keras' layers one by one."""

    TURN, ZOOM, SHIFT = math.radians(10), 0.1, 0.1
    CONTRAST, BRIGHTNESS = 0.2, 25.5

    def __init__(self, *, photo: bool, **options: Any) -> None:
        super().__init__(**options)
        self.photo = photo
        self.seed_generator = keras.random.SeedGenerator()

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        ops = keras.ops
        draws = keras.random.uniform((ops.shape(x)[0], 7), -1.0, 1.0, seed=self.seed_generator)
        turn, zoom, right, down, mirror, contrast, brightness = (draws[:, i] for i in range(7))
        x = ops.image.affine_transform(
            x, self._transform(x.shape[1:3], turn, zoom, right, down, mirror), interpolation="bilinear", fill_mode="nearest"
        )
        if not self.photo:
            return x
        column = (-1, 1, 1, 1)
        grey = ops.mean(x, axis=(1, 2, 3), keepdims=True)
        x = (x - grey) * ops.reshape(1 + self.CONTRAST * contrast, column) + grey
        return ops.clip(x + ops.reshape(self.BRIGHTNESS * brightness, column), 0, 255)

    def _transform(self, size: tuple[int, int], turn: Any, zoom: Any, right: Any, down: Any, mirror: Any) -> Any:
        """Return the eight numbers a row that map output to input positions, about the image's centre."""
        ops = keras.ops
        height, width = size
        x0, y0 = (width - 1) / 2, (height - 1) / 2
        scale = ops.exp(zoom * math.log1p(self.ZOOM))
        cosine, sine = scale * ops.cos(turn * self.TURN), scale * ops.sin(turn * self.TURN)
        side = ops.where(mirror < 0, -1.0, 1.0) if self.photo else 1.0
        a, b, c, d = cosine * side, sine, -sine * side, cosine
        across = right * (self.SHIFT * width) + x0 - a * x0 - b * y0
        along = down * (self.SHIFT * height) + y0 - c * x0 - d * y0
        zero = ops.zeros_like(across)
        return ops.stack([a, b, across, c, d, along, zero, zero], axis=-1)


def pretrained_features(backbone: str, size: tuple[int, int]) -> Any:
    """Return the backbone with its ImageNet weights, from Keras' cache or, where it is not there, from the network."""
    return _application(backbone, size, weights="imagenet")


def imagenet_weights(backbone: str, size: tuple[int, int]) -> list[np.ndarray]:
    """Return the ImageNet weights of a backbone, see `pretrained_features`; DataError if they cannot be had."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints a download's progress
            return list(pretrained_features(backbone, size).get_weights())
    except Exception as error:  # keras.utils.get_file raises a bare Exception when a download fails
        place = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "models")
        raise DataError(
            f"The ImageNet weights of {backbone!r} are neither in Keras' cache nor could they be fetched: {error}. "
            f"Put that file into {place}/, or pass weights='path/to/file.h5'."
        ) from error


def load_application(application: Any, path: Path, backbone: str) -> None:
    """Read the weights of a Keras application from a file; DataError if they are of another one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Skipping nested container")  # Keras would go on with what it has
        try:
            application.load_weights(path)
        except (ValueError, OSError, KeyError, UserWarning) as error:
            raise DataError(f"{path} does not hold weights for {backbone!r} without its top: {error}") from error


def freeze_statistics(model: Any) -> None:
    """Keep the pretrained batch statistics of a network while the rest is tuned; small batches would spoil them."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


@keras.saving.register_keras_serializable("domain-pipelines")
class ImagenetScaling(keras.layers.Layer):
    """Scale pixels 0–255 the way a Keras application was trained: mode "caffe", "tf" or "torch"."""

    def __init__(self, mode: str, **options: Any) -> None:
        super().__init__(**options)
        self.mode = mode

    def call(self, x: Any) -> Any:
        return keras.applications.imagenet_utils.preprocess_input(x, mode=self.mode)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


class ClassWeightedLoss(keras.losses.Loss):
    """Cross-entropy of logits, each class (multi-label: each present label) counting by its weight."""

    def __init__(self, weights: np.ndarray, multilabel: bool) -> None:
        super().__init__(name="loss")
        self.weights, self.multilabel = np.asarray(weights, dtype=np.float32), multilabel

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return each sample's loss."""
        ops, weights = keras.ops, keras.ops.convert_to_tensor(self.weights)
        if self.multilabel:
            y = ops.cast(y_true, y_pred.dtype)
            each = ops.binary_crossentropy(y, y_pred, from_logits=True) * (1 + y * (weights - 1))
            return ops.mean(each, axis=-1)
        codes = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        return ops.sparse_categorical_crossentropy(codes, y_pred, from_logits=True) * ops.take(weights, codes)
