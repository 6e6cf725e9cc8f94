"""What an image segmenter starts from: ImageNet weights, a file of weights, or a saved pipeline."""

from pathlib import Path
from typing import Any

from pipelines.base import load
from pipelines.errors import DataError, ParameterError

from . import networks

__all__ = ["start"]


def start(network: Any, weights: str, *, architecture: str, backbone: str | None, channels: int) -> str:
    """Put given weights into a network of `vision.segmenter_networks.build`.

    Parameters
    ----------
    network : keras.Model
        The network.
    weights : str
        `"imagenet"`, a `.h5` file of the application without its top, or the folder of a saved pipeline of images.
    architecture, backbone, channels : str, str or None, int
        What the network was built with.

    Returns
    -------
    str
        A sentence on what was taken.

    Raises
    ------
    DataError
        If the weights cannot be had, or are for another network.
    ParameterError
        If there is nothing of that name.
    """
    encoder = network.get_layer("backbone")
    path = Path(weights)
    if path.is_dir():
        return _from_pipeline(network, path, architecture, backbone, channels)
    if weights == "imagenet":
        size = networks.BACKBONES[str(backbone)].usual
        encoder.set_weights(networks.imagenet_weights(str(backbone), (size, size)))
        return f"The backbone starts from the ImageNet weights of {backbone!r}."
    if path.suffix != ".h5" or not path.is_file():
        raise ParameterError(
            f"weights={weights!r} is not None, 'imagenet', an existing .h5 file or the folder of a saved pipeline."
        )
    inner = encoder.get_layer("application")
    networks.load_application(networks.keras.Model(inner.inputs, inner.outputs[-1]), path, str(backbone))
    return f"The backbone starts from {path.name}."


def _from_pipeline(network: Any, path: Path, architecture: str, backbone: str | None, channels: int) -> str:
    source = load(path, device="cpu")
    if source.task not in ("image-classification", "image-segmentation"):
        raise DataError(f"{path} holds a pipeline for {source.task}; expected one of images.")
    if source.backbone != backbone:
        raise DataError(f"{path} holds {source.task} with the backbone {source.backbone!r}; expected {backbone!r}.")
    if source.channels_ != channels:
        raise DataError(f"{path} was trained on images of {source.channels_} channel(s), these have {channels}.")
    network.get_layer("backbone").set_weights(source.model_.get_layer("backbone").get_weights())
    if getattr(source, "architecture", None) != architecture:
        return f"The backbone starts from that of {path.name}."
    decoder = network.get_layer("decoder")
    pairs = zip(decoder.get_weights(), source.model_.get_layer("decoder").get_weights(), strict=True)
    decoder.set_weights([theirs if theirs.shape == ours.shape else ours for ours, theirs in pairs])
    return f"The network starts from that of {path.name}."
