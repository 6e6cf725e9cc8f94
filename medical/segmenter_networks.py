"""Networks that give every voxel a class: MONAI's, in 2-D and 3-D, as deep as the patch allows."""

from collections.abc import Sequence
from typing import Any

from pipelines.engines import load_framework

__all__ = ["NETWORKS", "build", "levels", "multiple"]

NETWORKS = ("subpixel-unet", "unet", "dynunet", "segresnet", "attention-unet", "swin-unetr")
_SMALLEST = 4  # voxels that the deepest level keeps along an axis
_DEEPEST = 4  # times that a patch is halved
_WIDEST = 256


def levels(patch: Sequence[int], spacing: Sequence[float]) -> list[list[int]]:
    """Return by what each level divides each axis, in the manner of nnU-Net [1]_: coarse axes later, short ones less often.

    Parameters
    ----------
    patch : sequence of int
        Voxels along each axis.
    spacing : sequence of float
        Millimetres from voxel to voxel.

    Returns
    -------
    list of list of int
        1 or 2 for each axis, a row a level.

    References
    ----------
    .. [1] Isensee et al. (2021), "nnU-Net", Nature Methods 18, doi:10.1038/s41592-020-01008-z.

    Examples
    --------
    >>> levels([40, 56, 40], [1, 1, 1])
    [[2, 2, 2], [2, 2, 2], [2, 2, 2]]
    >>> levels([64, 64, 12], [1, 1, 5])
    [[2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 1]]
    """
    sides, steps = list(map(float, patch)), list(map(float, spacing))
    found: list[list[int]] = []
    while len(found) < _DEEPEST:
        finest = min(steps)
        halved = [2 if side >= 2 * _SMALLEST and step < 2 * finest else 1 for side, step in zip(sides, steps, strict=True)]
        if 2 not in halved:
            break
        sides = [side / by for side, by in zip(sides, halved, strict=True)]
        steps = [step * by for step, by in zip(steps, halved, strict=True)]
        found.append(halved)
    return found or [[2] * len(sides)]


def multiple(network: str, strides: Sequence[Sequence[int]]) -> list[int]:
    """Return what the sides of a patch must be multiples of.

    Examples
    --------
    >>> multiple("unet", [[2, 2, 1], [2, 2, 2]])
    [4, 4, 2]
    """
    axes = len(strides[0])
    if network == "swin-unetr":
        return [32] * axes
    if network == "segresnet":
        return [2 ** len(strides)] * axes
    found = [1] * axes
    for row in strides:
        found = [side * by for side, by in zip(found, row, strict=True)]
    return found


def build(name: str, *, axes: int, channels: int, classes: int, strides: Sequence[Sequence[int]], width: int) -> Any:
    """Make a network that takes `(b, channels, *patch)` and returns scores `(b, classes, *patch)`.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    axes : int
        2 or 3.
    channels, classes : int
        Of the scan, and of the masks, background included.
    strides : sequence of sequence of int
        As `levels` returns them.
    width : int
        Filters of the first level; each level has twice as many as the one before. SegResNet takes the nearest multiple of 8,
        Swin UNETR of 12.

    Returns
    -------
    torch.nn.Module
        With random weights.

    Notes
    -----
    The sub-pixel U-Net is MONAI's but for its end, `medical.subpixel.SubpixelScores`, where MONAI's own has a residual block of
    the patch's full size, which takes a quarter of a step and does not do better. Its units are leaky, as those of nnU-Net.

    Examples
    --------
    >>> import torch
    >>> network = build("subpixel-unet", axes=2, channels=1, classes=3, strides=[[2, 2], [2, 2]], width=8)
    >>> network(torch.zeros(1, 1, 16, 16)).shape
    torch.Size([1, 3, 16, 16])
    """
    nets = load_framework("monai").networks.nets
    from .subpixel import SubpixelScores

    widths = [min(_WIDEST, width * 2**level) for level in range(len(strides) + 1)]
    rows = [list(row) for row in strides]
    common = {"spatial_dims": axes, "in_channels": channels, "out_channels": classes}
    norm = ("instance", {"affine": True})  # batches are small
    if name == "unet":
        return nets.UNet(**common, channels=widths, strides=rows, num_res_units=2, norm=norm)
    if name == "subpixel-unet":
        leaky = ("LeakyReLU", {"negative_slope": 0.01, "inplace": True})
        network = nets.UNet(**common, channels=widths, strides=rows, num_res_units=2, norm=norm, act=leaky)
        deeper = widths[0] if len(rows) > 1 else widths[1]
        network.model[-1] = SubpixelScores(widths[0] + deeper, classes, rows[0])
        return network
    if name == "dynunet":
        if len(rows) == 1:  # it will not have fewer than two
            rows, widths = [*rows, [1] * axes], [*widths, widths[-1]]
        first = [[1] * axes, *rows]
        return nets.DynUNet(
            **common,
            kernel_size=[[3] * axes] * len(first),
            strides=first,
            upsample_kernel_size=rows,
            filters=widths,
            norm_name=norm,
            res_block=True,
        )
    if name == "segresnet":
        down = [1, *[2] * len(rows)]
        filters = 8 * max(1, round(width / 8))  # it normalises groups of eight
        return nets.SegResNet(**common, init_filters=filters, blocks_down=down, blocks_up=[1] * len(rows))
    if name == "attention-unet":
        return nets.AttentionUnet(**common, channels=widths, strides=rows)
    return nets.SwinUNETR(**common, feature_size=12 * max(1, round(width / 12)))
