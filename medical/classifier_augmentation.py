"""Training scans moved, turned, scaled, made brighter and noisier: whole batches at once, on the device they are on."""

import math
from typing import Any

from pipelines.engines import load_framework

torch: Any = load_framework("torch", extra="medical")

__all__ = ["Augmentation"]


class Augmentation:
    """Change each scan of a batch a little, differently; from PyTorch's random numbers, which `train` seeds for each epoch.

    Parameters
    ----------
    flip : bool
        Also mirror half of the scans along each axis. Left and right differ in medicine, so that this is to be asked for.
    strength : float
        How far all changes go; 1 is usual.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> Augmentation()(torch.zeros(2, 1, 8, 8, 8)).shape
    torch.Size([2, 1, 8, 8, 8])
    """

    shift, turn, zoom, stretch = 0.08, 12.0, 0.12, 0.05  # shares of a side, degrees, shares
    gain, offset, gamma, noise = 0.2, 0.2, 0.3, 0.1  # offset and noise in deviations

    def __init__(self, *, flip: bool = False, strength: float = 1.0) -> None:
        self.flip, self.strength = flip, strength

    def __call__(self, scans: Any) -> Any:
        """Return changed scans (n, channels, …)."""
        return self._shown_otherwise(self._moved(scans))

    def _moved(self, scans: Any) -> Any:
        n, axes = len(scans), scans.ndim - 2
        device = scans.device
        steps = self.strength * (2 * torch.rand(n, axes, device=device) - 1)
        scales = 1 + self.strength * self.zoom * (2 * torch.rand(n, 1, device=device) - 1)
        scales = scales * (1 + self.strength * self.stretch * (2 * torch.rand(n, axes, device=device) - 1))
        sides = torch.tensor(scans.shape[:1:-1], dtype=torch.float32, device=device)  # x first, as grid_sample counts
        matrix = self._turns(n, axes, device) * scales[:, None, :]
        if self.flip:
            matrix = matrix * (1 - 2 * (torch.rand(n, 1, axes, device=device) < 0.5).float())
        matrix = matrix * sides / sides[:, None]  # turns are turns in voxels, whatever the sides
        grid = torch.nn.functional.affine_grid(
            torch.cat([matrix, (2 * self.shift * steps)[:, :, None]], dim=2), list(scans.shape), align_corners=False
        )
        mode = "bicubic" if axes == 2 else "bilinear"  # which blurs, as scans to predict are not; volumes have nothing else
        return torch.nn.functional.grid_sample(scans, grid, mode=mode, padding_mode="border", align_corners=False)

    def _turns(self, n: int, axes: int, device: Any) -> Any:
        """Return a rotation for each scan: in the plane, or about each of the three axes."""
        matrix = torch.eye(axes, device=device).expand(n, axes, axes)
        for first, second in ((0, 1),) if axes == 2 else ((0, 1), (0, 2), (1, 2)):
            angles = self.strength * math.radians(self.turn) * (2 * torch.rand(n, device=device) - 1) / math.sqrt(axes - 1)
            turned = torch.eye(axes, device=device).repeat(n, 1, 1)
            turned[:, first, first] = turned[:, second, second] = angles.cos()
            turned[:, first, second], turned[:, second, first] = -angles.sin(), angles.sin()
            matrix = matrix @ turned
        return matrix

    def _shown_otherwise(self, scans: Any) -> Any:
        n, ones = len(scans), (1,) * (scans.ndim - 1)

        def drawn(spread: float) -> Any:
            return (self.strength * spread * (2 * torch.rand(n, device=scans.device) - 1)).view(n, *ones)

        low, high = scans.flatten(1).amin(1).view(n, *ones), scans.flatten(1).amax(1).view(n, *ones)
        width = (high - low).clamp_min(1e-6)
        bent = ((scans - low) / width).clamp(0, 1) ** drawn(self.gamma).exp() * width + low
        bent = bent * (1 + drawn(self.gain)) + drawn(self.offset)
        return bent + drawn(self.noise).abs() * torch.randn_like(scans)
