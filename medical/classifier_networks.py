"""The table of networks that classify scans, in two and three dimensions: our small one, and MONAI's."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.engines import load_framework

from .averaging import Averaged

torch: Any = load_framework("torch", extra="medical")
nn: Any = torch.nn

__all__ = ["NETWORKS", "Network", "SmallCNN", "Trainee", "bytes_needed", "build", "size_for"]

_WIDTHS = {2: (24, 48, 96, 144, 192), 3: (16, 32, 64, 96, 128)}  # of the small network's blocks


class SmallCNN(nn.Module):
    """Blocks of two convolutions each, halved in size from block to block, and the mean and maximum over what is left.

    Parameters
    ----------
    axes, channels, outputs : int
        2 or 3; channels of the scans; number of scores.
    size : sequence of int
        What scans are brought to: three blocks up to 32 voxels a side, one more for each doubling, up to five.
    dropout : float
        Before the last layer.

    Examples
    --------
    >>> SmallCNN(2, 1, 5, [28, 28])(torch.zeros(4, 1, 28, 28)).shape
    torch.Size([4, 5])
    """

    def __init__(self, axes: int, channels: int, outputs: int, size: Sequence[int], *, dropout: float = 0.3) -> None:
        super().__init__()
        widths = _WIDTHS[axes][: min(5, max(3, math.ceil(math.log2(max(size))) - 2))]
        blocks: list[Any] = []
        for before, width in zip((channels, *widths), widths, strict=False):
            blocks.append(_Block(axes, before, width, halved=bool(blocks)))
        self.features = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * widths[-1], outputs)

    def forward(self, scans: Any) -> Any:
        """Return scores (n, outputs) of scans (n, channels, …)."""
        found = self.features(scans).flatten(2)
        return self.head(self.dropout(torch.cat([found.mean(2), found.amax(2)], dim=1)))


class _Block(nn.Module):
    """Two convolutions, each normalised; before them the maximum of neighbours, along the axes that are long enough."""

    def __init__(self, axes: int, before: int, width: int, *, halved: bool) -> None:
        super().__init__()
        self.axes, self.halved = axes, halved
        convolution = (nn.Conv2d, nn.Conv3d)[axes - 2]
        normalisation = (nn.BatchNorm2d, nn.BatchNorm3d)[axes - 2]
        layers: list[Any] = []
        for channels in (before, width):
            layers += [convolution(channels, width, 3, padding=1, bias=False), normalisation(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, scans: Any) -> Any:
        if self.halved:
            steps = [2 if side > 3 else 1 for side in scans.shape[2:]]
            scans = (nn.functional.max_pool2d, nn.functional.max_pool3d)[self.axes - 2](scans, steps)
        return self.layers(scans)


# ---------------------------------------------------------------- the table
@dataclass(frozen=True)
class Network:
    """One row of the table.

    Parameters
    ----------
    make : callable
        Takes axes, channels, outputs and size, and returns a network from scans to scores.
    smallest : int
        The shortest side it takes.
    longest : (int, int)
        Side, in two and three dimensions, to which larger scans are brought unless `size` says otherwise.
    layer : str
        The last layer that still knows where things are, which Grad-CAM looks at; "" where there is none.
    """

    make: Callable[[int, int, int, Sequence[int]], Any]
    smallest: int
    longest: tuple[int, int]
    layer: str


def _densenet(axes: int, channels: int, outputs: int, size: Sequence[int]) -> Any:
    return _nets().DenseNet121(spatial_dims=axes, in_channels=channels, out_channels=outputs)


def _resnet(name: str) -> Callable[[int, int, int, Sequence[int]], Any]:
    def make(axes: int, channels: int, outputs: int, size: Sequence[int]) -> Any:
        return getattr(_nets(), name)(spatial_dims=axes, n_input_channels=channels, num_classes=outputs)

    return make


def _efficientnet(axes: int, channels: int, outputs: int, size: Sequence[int]) -> Any:
    return _nets().EfficientNetBN(
        "efficientnet-b0", pretrained=False, spatial_dims=axes, in_channels=channels, num_classes=outputs
    )


def _seresnet(axes: int, channels: int, outputs: int, size: Sequence[int]) -> Any:
    return _nets().SEResNet50(spatial_dims=axes, in_channels=channels, num_classes=outputs)


def _vit(axes: int, channels: int, outputs: int, size: Sequence[int]) -> Any:
    vit: Any = _nets().ViT

    class Scores(vit):
        """MONAI's returns the hidden states beside the scores; a subclass keeps the weights' names."""

        def forward(self, scans: Any) -> Any:
            return super().forward(scans)[0]

    return Scores(
        in_channels=channels,
        img_size=tuple(size),
        patch_size=_patch(axes, size),
        hidden_size=192,
        mlp_dim=384,
        num_layers=6,
        num_heads=3,
        classification=True,
        num_classes=outputs,
        dropout_rate=0.1,
        spatial_dims=axes,
        post_activation=None,
    )


def _patch(axes: int, size: Sequence[int]) -> int:
    """Return the side of a transformer's patches: there are up to about two hundred."""
    side = 2
    while math.prod(-(-n // side) for n in size) > 256:
        side *= 2
    return side


NETWORKS: dict[str, Network] = {
    "small-cnn": Network(lambda axes, channels, outputs, size: SmallCNN(axes, channels, outputs, size), 4, (128, 64), "features"),
    "densenet121": Network(_densenet, 32, (224, 96), "class_layers.relu"),
    **{name: Network(_resnet(name), 32, (224, 96), "layer4") for name in ("resnet10", "resnet18", "resnet50")},
    "efficientnet-b0": Network(_efficientnet, 32, (224, 96), "_bn1"),
    "seresnet50": Network(_seresnet, 32, (224, 96), "layer4"),
    "vit": Network(_vit, 8, (224, 96), ""),
}


def build(name: str, axes: int, channels: int, outputs: int, size: Sequence[int]) -> Any:
    """Return a network with random weights, from scans (n, channels, …) to scores (n, outputs).

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    axes, channels, outputs : int
        2 or 3; 1 or 3; number of scores.
    size : sequence of int
        Voxels of a scan along each axis.

    Examples
    --------
    >>> build("vit", 2, 1, 2, [28, 28])(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 2])
    """
    return NETWORKS[name].make(axes, channels, outputs, size)


def size_for(name: str, axes: int, wanted: Sequence[int]) -> list[int]:
    """Return the size nearest to the one wanted that a network takes; never a smaller one.

    Examples
    --------
    >>> size_for("densenet121", 2, [28, 40]), size_for("vit", 2, [30, 30]), size_for("small-cnn", 2, [28, 28])
    ([32, 40], [30, 30], [28, 28])
    """
    size = [max(NETWORKS[name].smallest, int(side)) for side in wanted]
    if name != "vit":
        return size
    patch = _patch(axes, size)
    return [-(-side // patch) * patch for side in size]


def bytes_needed(name: str, axes: int, channels: int, outputs: int, size: Sequence[int]) -> tuple[int, int]:
    """Return what training takes of memory: by the network and its optimizer, and more by each scan of a batch.

    It is counted on a network without values: weights, gradients and two averages; what each layer gives, and its gradient.

    Examples
    --------
    >>> fixed, each = bytes_needed("small-cnn", 2, 1, 2, [28, 28])
    >>> fixed < 10 * 2**20, each < 3 * 2**20
    (True, True)
    """
    with torch.device("meta"):
        network = build(name, axes, channels, outputs, size).eval()
        given: list[int] = []
        leaves = [module for module in network.modules() if not list(module.children())]
        for module in leaves:
            module.register_forward_hook(lambda _, __, output: given.append(_numbers(output)))
        with torch.no_grad():
            network(torch.zeros(1, channels, *size))
    weights = sum(tensor.numel() for tensor in network.state_dict().values())
    return 4 * 5 * weights, 4 * 2 * sum(given)


def _numbers(output: Any) -> int:
    return output.numel() if hasattr(output, "numel") else sum(map(_numbers, output))


def _nets() -> Any:
    return load_framework("monai", extra="medical").networks.nets


# ---------------------------------------------------------------- training
class Trainee(Averaged):
    """A classification network while it learns, beside the running average of its weights.

    Parameters
    ----------
    network : torch.nn.Module
        It is trained.
    augment : callable, optional
        Changes a batch of scans in training.
    decay : float
        See `Averaged`.

    Examples
    --------
    >>> Trainee(torch.nn.Linear(3, 2)).train()(torch.zeros(1, 3)).shape
    torch.Size([1, 2])
    """

    def __init__(self, network: Any, augment: Callable[[Any], Any] | None = None, decay: float = 0.99) -> None:
        super().__init__(network, decay)
        self.augment = augment

    def forward(self, scans: Any) -> Any:
        """Return scores."""
        if not self.training:
            return super().forward(scans)
        if len(scans) == 1:  # statistics of a batch need two, if only the same one changed in two ways
            return self._changed(torch.cat([scans, scans])).mean(0, keepdim=True)
        return self._changed(scans)

    def _changed(self, scans: Any) -> Any:
        return super().forward(self.augment(scans) if self.augment else scans)
