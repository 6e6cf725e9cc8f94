"""What each place in an image adds to a score: Grad-CAM, integrated gradients and occlusion, in Keras on any backend.

A score is the sum of the network's outputs, each times what is asked of it: 1 for a label's logit and 0 for the others.
Gradients come from the engine's `vjp`.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pipelines.engines import load_framework

keras: Any = load_framework("keras")

__all__ = ["Halves", "enlarged", "grad_cam", "grey", "halves", "integrated", "occluded"]

VJP = Callable[[Callable[[Any], Any], Any], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]
Halves = tuple[Callable[[Any], tuple[Any, Any]], Callable[[Any, Any], Any]]

_LEAST = 7  # positions a side of a map that says where something is, as the networks have that Grad-CAM was made for
_STEPS = 64  # from grey to the image
_BOXES = 8  # along a side, that occlusion covers one after the other


def grad_cam(parts: Halves, vjp: VJP, pixels: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Weight each position and channel of a map by the gradient of the score, and add the channels up.

    Grad-CAM [1]_ weights by a channel's mean gradient, which is right where the network goes on with the channels' means. After
    maxima or a flattened map it lights what never counted; element by element [2]_ it does not, and for means it is the same.

    Parameters
    ----------
    parts : Halves
        As `halves` returns them.
    vjp : callable
        The engine's.
    pixels : ndarray, (n, height, width, channels)
        Images, values 0–255.

    Returns
    -------
    outputs : ndarray
        The network's.
    explained : callable
        Once: from what is asked, in the outputs' shape, to `(n, rows, columns)`, on the positions of the map.

    References
    ----------
    .. [1] Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra (2017), "Grad-CAM: Visual Explanations from Deep Networks via
       Gradient-based Localization", ICCV, arXiv:1610.02391.
    .. [2] Draelos, Carin (2020), "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
       arXiv:2011.08891.
    """
    front, back = parts
    beside, maps = front(pixels)
    outputs, pull = vjp(lambda x: back(beside, x), maps)
    return outputs, lambda asked: (keras.ops.convert_to_numpy(maps) * pull(asked)).sum(axis=-1)


def integrated(network: Any, vjp: VJP, pixels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Add up the score's gradients on the way from an image all grey to the image, 64 steps, each in its middle.

    Parameters
    ----------
    network : keras.Model
        From pixels to outputs.
    vjp, pixels
        As for `grad_cam`.
    asked : ndarray
        In the shape of the network's outputs.

    Returns
    -------
    ndarray, (n, height, width, channels)
        What each value adds; together the score of the image less that of the grey one, but for the size of the steps.

    References
    ----------
    .. [1] Sundararajan, Taly, Yan (2017), "Axiomatic Attribution for Deep Networks", ICML, arXiv:1703.01365.
    """
    plain = grey(pixels)
    slopes = np.zeros_like(pixels)
    for k in range(_STEPS):
        between = plain + (k + 0.5) / _STEPS * (pixels - plain)
        _, pull = vjp(lambda x: network(x, training=False), between)
        slopes += pull(asked)
    return (pixels - plain) * slopes / _STEPS


def occluded(measured: Callable[..., np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """Return how far the score falls where a box is covered with grey, the mean over the boxes that cover a pixel.

    Parameters
    ----------
    measured : callable
        Takes a function that makes changed images, of the images' numbers and those of the changes, and the shape `(n, changes)`;
        returns the scores in that shape.
    pixels : ndarray, (n, height, width, channels)
        Images, values 0–255.

    Returns
    -------
    ndarray, (n, height, width)

    References
    ----------
    .. [1] Zeiler, Fergus (2014), "Visualizing and Understanding Convolutional Networks", ECCV, arXiv:1311.2901.
    """
    boxes, plain = list(_boxes(*pixels.shape[1:3])), grey(pixels)

    def read(i: np.ndarray, box: np.ndarray) -> np.ndarray:
        changed = pixels[i]
        for image, covered, k in zip(changed, plain[i], box, strict=True):
            if k:  # before the first box there is none
                image[boxes[k - 1]] = covered[0, 0]
        return changed

    scores = measured(read, (len(pixels), 1 + len(boxes)))
    total, times = np.zeros(pixels.shape[:3]), np.zeros(pixels.shape[1:3])
    for k, box in enumerate(boxes):
        total[:, *box] += (scores[:, 0] - scores[:, 1 + k])[:, None, None]
        times[box] += 1
    return total / times


def enlarged(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return maps `(n, rows, columns)` as float32 in another size, bilinearly.

    Examples
    --------
    >>> enlarged(np.array([[[0, 1]]]), (1, 4)).tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    values = maps[..., None].astype(np.float32)
    return keras.ops.convert_to_numpy(keras.ops.image.resize(values, size, "bilinear"))[..., 0]


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return images `(n, 1, 1, channels)` of each one's mean colour alone."""
    return pixels.mean(axis=(1, 2), keepdims=True)


def halves(network: Any) -> Halves:
    """Split a network at the coarsest map that still knows where things are.

    That has at least seven positions a side, or half as many as a small image has pixels; in a network with an encoder and a
    decoder it is the last one of the encoder, as in Seg-Grad-CAM [1]_.

    Returns
    -------
    front, back : callable
        From pixels to what goes past the map and the map; and from these two to the network's outputs.

    References
    ----------
    .. [1] Vinogradova, Dibrov, Myers (2020), "Towards Interpretable Semantic Segmentation via Gradient-Weighted Class Activation
       Mapping", AAAI, arXiv:2002.11434.
    """
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    if len(layers[0].outputs if isinstance(layers[0], keras.Model) else ()) > 1:
        return _around_decoder(layers)
    parts = list(_chain(network))
    least = [min(_LEAST, -(-side // 2)) for side in network.input_shape[1:3]]
    maps = [(k, layer.output) for k, part in enumerate(parts) for layer in getattr(part, "layers", ()) if _fits(layer, least)]
    coarsest = min(_positions(x) for _, x in maps)
    k, chosen = [(k, x) for k, x in maps if _positions(x) == coarsest][-1]
    whole = parts[k]
    begin = whole.inputs[0]  # `input` of a Sequential within a network is that network's
    first, second = keras.Model(begin, chosen), keras.Model([begin, chosen], whole.outputs[0])

    def front(pixels: Any) -> tuple[Any, Any]:
        seen = _through(parts[:k], keras.ops.convert_to_tensor(pixels))
        return seen, first(seen, training=False)

    return front, lambda seen, x: _through(parts[k + 1 :], second([seen, x], training=False))


def _around_decoder(layers: list[Any]) -> Halves:
    def front(pixels: Any) -> tuple[Any, Any]:
        *finer, coarsest = layers[0](keras.ops.convert_to_tensor(pixels), training=False)
        return finer, coarsest

    return front, lambda finer, x: _through(layers[1:], [*finer, x])


def _chain(network: Any) -> Iterator[Any]:
    """Yield what a network is a chain of; networks within it that are chains with others in them are taken apart, too."""
    if not any(isinstance(layer, keras.Model) for layer in network.layers):
        yield network
        return
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _chain(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def _through(parts: list[Any], x: Any) -> Any:
    return functools.reduce(lambda x, part: part(x, training=False) if isinstance(part, keras.Model) else part(x), parts, x)


def _fits(layer: Any, least: list[int]) -> bool:
    shape = layer.output.shape
    return len(shape) == 4 and all(side >= few for side, few in zip(shape[1:3], least, strict=True))


def _positions(x: Any) -> int:
    return int(x.shape[1] * x.shape[2])


def _boxes(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield boxes that overlap by half and cover everything."""
    tall, wide = (max(2, -(-side // _BOXES)) for side in (height, width))
    for top in range(-(tall // 2), height, tall // 2):
        for left in range(-(wide // 2), width, wide // 2):
            yield slice(max(0, top), top + tall), slice(max(0, left), left + wide)
