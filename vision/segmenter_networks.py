"""Networks that say of every pixel what it is, and their loss: pixels 0–255 in, class scores (logits) out, on any Keras backend.

An encoder makes features that are coarser and coarser, a decoder brings them back to the image's size. All layers are
convolutions, so that images of any size go through whose sides are multiples of `multiple`.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.engines import load_framework

from .networks import BACKBONES, ImagenetScaling

keras: Any = load_framework("keras")

__all__ = ["ARCHITECTURES", "ENCODERS", "Decided", "SegmentationLoss", "build", "kernels", "multiple"]

ENCODERS = tuple(name for name, row in BACKBONES.items() if row.application and not name.startswith("nasnet"))
"""The Keras applications that can be a backbone here; NASNet is made for images of one size."""

# filters of our own encoder, one number a level, from half of the image's size on; each level sees half the size of the one
# before. A level of the whole size took half of the time and made nothing better
_WIDTHS = (32, 64, 128, 256)
_ASPP, _LOW = 128, 48  # filters of DeepLab's pyramid, and of the fine features that join it
_RATES = (6, 12, 18)  # at a sixteenth of the image's size
_DICE = 3.0  # times the cross-entropy counts the Dice loss, whose values are smaller
_FOCUS = 2.0  # exponent of the focal loss
_PROBED = 256  # pixels a side of the image with which an application's strides are found out


def multiple(backbone: str | None) -> int:
    """Return what the sides of images must be multiples of.

    Examples
    --------
    >>> multiple(None), multiple("resnet50")
    (16, 32)
    """
    return 2 ** len(_WIDTHS) if backbone is None else 32


def build(architecture: str, backbone: str | None, channels: int, classes: int) -> Any:
    """Make a network of two layers, `backbone` (pixels to features of several sizes) and `decoder` (features to logits).

    Parameters
    ----------
    architecture : str
        `"unet"` [1]_, `"fcn"` [2]_ or `"deeplab-v3-plus"` [3]_.
    backbone : str, optional
        One of `ENCODERS`, which are Keras applications; None is our own encoder of residual blocks [4]_, which begins at half of
        the image's size.
    channels : int
        1 or 3; an application needs 3.
    classes : int
        Number of classes.

    Returns
    -------
    keras.Model
        From `(n, height, width, channels)`, values 0–255, to logits `(n, height, width, classes)`.

    Notes
    -----
    DeepLab's pyramid is without the mean over the whole image, so that a tile of an image is seen as the image would be.

    The U-Net's decoder ends at the encoder's finest size, and writes from there the scores of each pixel by itself [5]_; the
    others enlarge scores bilinearly.

    References
    ----------
    .. [1] Ronneberger, Fischer, Brox (2015), "U-Net: convolutional networks for biomedical image segmentation",
       doi:10.1007/978-3-319-24574-4_28.
    .. [2] Long, Shelhamer, Darrell (2015), "Fully convolutional networks for semantic segmentation",
       doi:10.1109/CVPR.2015.7298965.
    .. [3] Chen, Zhu, Papandreou, Schroff, Adam (2018), "Encoder-decoder with atrous separable convolution for semantic image
       segmentation", doi:10.1007/978-3-030-01234-2_49.
    .. [4] He, Zhang, Ren, Sun (2016), "Deep residual learning for image recognition", doi:10.1109/CVPR.2016.90.
    .. [5] Shi, Caballero, Huszár, Totz, Aitken, Bishop, Rueckert, Wang (2016), "Real-time single image and video super-resolution
       using an efficient sub-pixel convolutional neural network", doi:10.1109/CVPR.2016.207.

    Examples
    --------
    >>> build("unet", None, 1, 3).output_shape
    (None, None, None, 3)
    """
    encoder, strides = _own_encoder(channels) if backbone is None else _application_encoder(backbone)
    inputs = keras.Input((None, None, channels), name="pixels")
    features = [keras.Input(feature.shape[1:]) for feature in encoder.outputs]
    decoder = keras.Model(features, ARCHITECTURES[architecture](features, strides, classes), name="decoder")
    return keras.Model(inputs, decoder(encoder(inputs)), name=architecture)


def kernels(network: Any) -> list[Any]:
    """Return the weights of all convolutions inside a network on our own encoder: all but those that give scores.

    Examples
    --------
    >>> {len(kernel.shape) for kernel in kernels(build("unet", None, 1, 3))}
    {4}
    """
    parts = [layer for name in ("backbone", "decoder") for layer in network.get_layer(name).layers]
    return [layer.kernel for layer in parts if isinstance(layer, keras.layers.Conv2D) and not layer.use_bias]


# ---------------------------------------------------------------- encoders
def _own_encoder(channels: int) -> tuple[Any, list[int]]:
    """Make residual blocks at four sizes; return the model and what its outputs' sizes are a fraction of."""
    layers = keras.layers
    inputs = keras.Input((None, None, channels))
    x = SpaceToDepth(2)(layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    outputs = []
    for level, width in enumerate(_WIDTHS):
        x = _residual(layers.MaxPooling2D(2)(x) if level else x, width)
        outputs.append(x)
    return keras.Model(inputs, outputs, name="backbone"), [2 ** (level + 1) for level in range(len(_WIDTHS))]


def _application_encoder(backbone: str) -> tuple[Any, list[int]]:
    """Return the last features of each size of a Keras application, and what its outputs' sizes are a fraction of."""
    row = BACKBONES[backbone]
    make = getattr(keras.applications, str(row.application))
    probe = make(include_top=False, weights=None, input_shape=(_PROBED, _PROBED, 3))
    places = _last_of_each_stride(probe)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input_shape.*undefined")  # it speaks of weights that are not loaded
        application = make(include_top=False, weights=None, input_shape=(None, None, 3))
    taps = [application.layers[at].output for at, _ in places.values()]
    inner = keras.Model(application.inputs, taps, name="application")
    x = inputs = keras.Input((None, None, 3))
    if row.scaling:
        x = ImagenetScaling(row.scaling)(x)
    features = [_filled(feature, lacks) for feature, (_, lacks) in zip(inner(x), places.values(), strict=True)]
    return keras.Model(inputs, features, name="backbone"), list(places)


def _last_of_each_stride(probe: Any) -> dict[int, tuple[int, int]]:
    """Return for each fraction of the image's size its last layer that is no mere border, and how many pixels it lacks a side.

    Convolutions without padding lack some, as many for every image whose sides are multiples of 32.
    """
    found: dict[int, tuple[int, int]] = {}
    for at, layer in enumerate(probe.layers):
        shape: tuple[Any, ...] = getattr(layer.output, "shape", ())
        if len(shape) != 4 or isinstance(layer, keras.layers.ZeroPadding2D) or shape[1] < 2:
            continue
        stride = 2 ** round(math.log2(_PROBED / shape[1]))
        found[stride] = at, _PROBED // stride - shape[1]
    return {stride: found[stride] for stride in (2, 4, 8, 16, 32) if stride in found}


def _filled(x: Any, lacks: int) -> Any:
    """Put zeros around features that lack some pixels a side, or cut off what is too much."""
    sides = (abs(lacks) // 2, abs(lacks) - abs(lacks) // 2)
    if not lacks:
        return x
    return (keras.layers.ZeroPadding2D if lacks > 0 else keras.layers.Cropping2D)((sides, sides))(x)


# ---------------------------------------------------------------- decoders
def _unet(features: Sequence[Any], strides: Sequence[int], classes: int) -> Any:
    """Double the size level by level, each time beside the encoder's features of that size."""
    x = features[-1]
    for skip, stride, coarser in zip(features[-2::-1], strides[-2::-1], strides[:0:-1], strict=True):
        width = _width(stride)
        x = Enlarged(coarser // stride, smooth=False)(_convolved(x, width, 1))
        x = _residual(keras.layers.Concatenate()([x, skip]), width)
    return DepthToSpace(strides[0])(_scores(x, classes * strides[0] ** 2))


def _fcn(features: Sequence[Any], strides: Sequence[int], classes: int) -> Any:
    """Add the scores of the three coarsest features, from the coarsest on."""
    total, size = None, strides[-1]
    for feature, stride in list(zip(features, strides, strict=True))[:-4:-1]:
        scores = _scores(_residual(feature, min(_width(stride), 2 * _ASPP)), classes)
        total = scores if total is None else keras.layers.Add()([Enlarged(size // stride)(total), scores])
        size = stride
    return Enlarged(size)(total)


def _deeplab(features: Sequence[Any], strides: Sequence[int], classes: int) -> Any:
    """Look at the coarsest features at several rates, and join the result with those of a quarter of the image's size."""
    layers = keras.layers
    x, stride = features[-1], strides[-1]
    rates = [max(1, rate * 16 // stride) for rate in _RATES]
    branches = [_convolved(x, _ASPP, 1), *(_convolved(x, _ASPP, 3, rate) for rate in rates)]
    x = _convolved(layers.Concatenate()(branches), _ASPP, 1)
    x = layers.Concatenate()([Enlarged(stride // 4)(x), _convolved(features[list(strides).index(4)], _LOW, 1)])
    return Enlarged(4)(_scores(_residual(x, _ASPP), classes))


ARCHITECTURES = {"unet": _unet, "fcn": _fcn, "deeplab-v3-plus": _deeplab}


# ---------------------------------------------------------------- layers
def _convolved(x: Any, width: int, kernel: int, rate: int = 1, *, activation: bool = True) -> Any:
    layers = keras.layers
    options: dict[str, Any] = {"use_bias": False, "kernel_initializer": "he_normal"}
    x = layers.Conv2D(width, kernel, padding="same", **options)(x) if rate == 1 else Dilated(rate, width, kernel, **options)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x) if activation else x


def _residual(x: Any, width: int) -> Any:
    """Add two convolutions to what comes in, brought to their width."""
    beside = x if x.shape[-1] == width else _convolved(x, width, 1, activation=False)
    x = _convolved(_convolved(x, width, 3), width, 3, activation=False)
    return keras.layers.ReLU()(keras.layers.Add()([beside, x]))


def _scores(x: Any, classes: int) -> Any:
    return keras.layers.Conv2D(classes, 1, dtype="float32")(x)


def _width(stride: int) -> int:
    return _WIDTHS[min(int(math.log2(stride)), len(_WIDTHS)) - 1]


class Dilated(keras.layers.Conv2D):
    """A convolution of pixels that lie `rate` apart, zeros around; of an odd kernel.

    Keras' own makes TensorFlow 2.21 fail on an image as wide as the one before and of another height, or the other way round.
    """

    def __init__(self, rate: int, filters: int, kernel: int, **options: Any) -> None:
        super().__init__(filters, kernel, padding="valid", **options)
        self.rate = rate

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape, whose height and width are known only later."""
        return (input_shape[0], None, None, self.filters)

    def call(self, x: Any) -> Any:
        """Convolve each of the `rate` x `rate` images of every so many pixels by itself."""
        ops, rate, reach = keras.ops, self.rate, self.kernel_size[0] // 2
        n, height, width, channels = ops.shape(x)
        tall, wide = ((side + rate - 1) // rate for side in (height, width))
        around = [(reach * rate, (few + reach) * rate - side) for few, side in ((tall, height), (wide, width))]
        x = ops.pad(x, [(0, 0), *around, (0, 0)])
        x = ops.reshape(x, (n, tall + 2 * reach, rate, wide + 2 * reach, rate, channels))
        x = ops.reshape(ops.transpose(x, (0, 2, 4, 1, 3, 5)), (n * rate * rate, tall + 2 * reach, wide + 2 * reach, channels))
        x = ops.reshape(super().call(x), (n, rate, rate, tall, wide, self.filters))
        x = ops.reshape(ops.transpose(x, (0, 3, 1, 4, 2, 5)), (n, tall * rate, wide * rate, self.filters))
        return x[:, :height, :width]


class SpaceToDepth(keras.layers.Layer):
    """The values of each square of so many pixels a side, one after the other in one pixel."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape, whose height and width are known only later."""
        return (input_shape[0], None, None, input_shape[3] * self.side**2)

    def call(self, x: Any) -> Any:
        """Rearrange the values."""
        ops, side = keras.ops, self.side
        n, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (n, height // side, side, width // side, side, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (n, height // side, width // side, side * side * channels))


class DepthToSpace(keras.layers.Layer):
    """Squares of so many pixels a side, from the values of one pixel; what `SpaceToDepth` does, undone."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape, whose height and width are known only later."""
        return (input_shape[0], None, None, input_shape[3] // self.side**2)

    def call(self, x: Any) -> Any:
        """Rearrange the values."""
        ops, side = keras.ops, self.side
        n, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (n, height, width, side, side, channels // side**2))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (n, height * side, width * side, channels // side**2))


class Enlarged(keras.layers.Layer):
    """Features at so many times their size, bilinearly or as they are.

    Keras' own bilinear layer needs to know the size beforehand, and what its other one makes cannot be written as TFLite.
    """

    def __init__(self, times: int, *, smooth: bool = True) -> None:
        super().__init__()
        self.times, self.smooth = times, smooth

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape, whose height and width are known only later."""
        return (input_shape[0], None, None, input_shape[3])

    def call(self, x: Any) -> Any:
        """Return the features doubled as often as it takes."""
        for _ in range(int(math.log2(self.times))):
            x = _doubled(_doubled(x, 1, self.smooth), 2, self.smooth)
        return x


def _doubled(x: Any, axis: int, smooth: bool) -> Any:
    """Put two values in the place of each, equal ones, or a quarter of the way to either neighbour."""
    ops = keras.ops
    n, height, width, channels = ops.shape(x)
    pair = [x, x]
    if smooth:
        before = ops.concatenate([x[:, :1], x[:, :-1]] if axis == 1 else [x[:, :, :1], x[:, :, :-1]], axis=axis)
        behind = ops.concatenate([x[:, 1:], x[:, -1:]] if axis == 1 else [x[:, :, 1:], x[:, :, -1:]], axis=axis)
        pair = [0.25 * before + 0.75 * x, 0.75 * x + 0.25 * behind]
    pair = ops.stack(pair, axis=axis + 1)
    return ops.reshape(pair, (n, 2 * height, width, channels) if axis == 1 else (n, height, 2 * width, channels))


class Decided(keras.layers.Layer):
    """Scores in training; else the numbers of the likeliest classes, as a validation part's scores might not fit into memory."""

    def call(self, scores: Any, training: bool = False) -> Any:
        """Return scores, or numbers `(n, height, width, 1)`."""
        if training:
            return scores
        ops = keras.ops
        return ops.cast(ops.argmax(scores, axis=-1, keepdims=True), "uint8" if scores.shape[-1] <= 256 else "int32")


# ---------------------------------------------------------------- loss
class SegmentationLoss(keras.losses.Loss):
    """Cross-entropy of logits and three times the Dice loss over the batch; or the focal loss alone.

    Parameters
    ----------
    weights : ndarray, (k,)
        Of each class in the cross-entropy.
    kind : str
        `"dice"`: with the Dice loss [1]_, the mean over the classes that the batch has; `"focal"`: what is nearly right counts
        little [2]_.

    Notes
    -----
    Pixels whose target is `k`, one more than the last class, count nowhere.

    References
    ----------
    .. [1] Milletari, Navab, Ahmadi (2016), "V-Net: fully convolutional neural networks for volumetric medical image
       segmentation", doi:10.1109/3DV.2016.79.
    .. [2] Lin, Goyal, Girshick, He, Dollár (2017), "Focal loss for dense object detection", doi:10.1109/ICCV.2017.324.

    Examples
    --------
    >>> loss = SegmentationLoss(np.ones(2), "dice")
    >>> right = np.array([[[[9.0, -9.0], [-9.0, 9.0]]]], dtype=np.float32)
    >>> [round(float(loss(np.array([[codes]]), right)), 2) for codes in ([0, 1], [0, 2], [1, 0])]
    [0.0, 0.0, 20.0]
    """

    def __init__(self, weights: np.ndarray, kind: str) -> None:
        super().__init__(name="loss")
        self.weights, self.kind = np.asarray(weights, dtype=np.float32), kind

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of a batch: targets `(n, height, width)`, logits `(n, height, width, k)`."""
        ops, k = keras.ops, len(self.weights)
        truth = ops.one_hot(ops.cast(y_true, "int32"), k + 1, dtype=y_pred.dtype)[..., :k]
        log_chance = ops.log_softmax(y_pred, axis=-1)
        weighted = truth * ops.convert_to_tensor(self.weights)
        mass = ops.maximum(ops.sum(weighted), 1.0)
        if self.kind == "focal":
            return -ops.sum(weighted * (1 - ops.exp(log_chance)) ** _FOCUS * log_chance) / mass
        entropy = -ops.sum(weighted * log_chance) / mass
        return entropy + _DICE * self._dice_loss(truth, ops.exp(log_chance))

    def _dice_loss(self, truth: Any, chance: Any) -> Any:
        ops, pixels = keras.ops, (0, 1, 2)
        counted = ops.sum(truth, axis=-1, keepdims=True)
        both, true, said = (ops.sum(part, axis=pixels) for part in (truth * chance, truth, chance * counted))
        there = ops.cast(true > 0, chance.dtype)
        dice = (2 * both + 1) / (true + said + 1)
        return 1 - ops.sum(dice * there) / ops.maximum(ops.sum(there), 1.0)
