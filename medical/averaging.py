"""The running average of a network's weights, which does better on few scans than the last ones."""

import copy
from typing import Any

from pipelines.engines import load_framework

torch: Any = load_framework("torch", extra="medical")

__all__ = ["Averaged"]


class Averaged(torch.nn.Module):
    """A network in training beside the running average of its weights, which is what counts in the end [1]_.

    In training mode its outputs are those of the network, in evaluation mode those of the average.

    Parameters
    ----------
    network : torch.nn.Module
        It is trained; its weights are not touched otherwise.
    decay : float
        How much of the average is kept at each step, once there have been enough of them.

    References
    ----------
    .. [1] Izmailov, Podoprikhin, Garipov, Vetrov, Wilson (2018), "Averaging Weights Leads to Wider Optima and Better
       Generalization", arXiv:1803.05407; with the exponential weights of Polyak averaging, as in Tarvainen and Valpola (2017),
       arXiv:1703.01780.

    Examples
    --------
    >>> trained = Averaged(torch.nn.Linear(1, 1, bias=False)).eval()
    >>> with torch.no_grad():
    ...     bool((trained(torch.ones(1, 1)) == trained.average.weight).all())
    True
    """

    def __init__(self, network: Any, decay: float = 0.99) -> None:
        super().__init__()
        self.network, self.decay = network, decay
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> "Averaged":
        """Switch the network; the average is never in training, but takes over the last step when training ends."""
        if self.training and not mode:
            self._follow()
        super().train(mode)
        self.average.eval()
        return self

    def forward(self, inputs: Any) -> Any:
        """Return scores."""
        if not self.training:
            return self.average(inputs)
        self._follow()
        return self.network(inputs)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the network as the last step left it."""
        self.steps += 1
        share = 1 - min(self.decay, float(self.steps) / (10 + float(self.steps)))
        for mine, its in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(its, share)
            else:
                mine.copy_(its)
