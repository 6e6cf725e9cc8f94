"""Parts of a network that stay as they are in fine-tuning, and low-rank additions that learn instead."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.engines import load_framework

torch: Any = load_framework("torch")
nn: Any = torch.nn

__all__ = ["frozen"]

_RANK = 8


def frozen(network: Any, freeze: str | None) -> Callable[[], None]:
    """Keep parts of a network from learning, and return what undoes it; adapters are added to the weights then."""
    if freeze is None:
        return lambda: None
    kept = network.encoder if freeze == "encoder" else network
    kept.requires_grad_(False)
    adapted = list(_adapted(network)) if freeze == "adapters" else []

    def undo() -> None:
        for linear in adapted:
            nn.utils.parametrize.remove_parametrizations(linear, "weight", leave_parametrized=True)
        network.requires_grad_(True)

    return undo


def _adapted(network: Any) -> Iterator[Any]:
    """Add low-rank adapters to the attentions of a network, and yield what they were added to."""
    for block in [*network.encoder.blocks, *network.decoder.blocks]:
        for attention in (block.attn, block.cross_attn):
            for linear in () if attention is None else (attention.query, attention.value, attention.out):
                nn.utils.parametrize.register_parametrization(linear, "weight", _LowRank(*linear.weight.shape).to(linear.weight))
                yield linear


class _LowRank(nn.Module):
    """A weight and a learned matrix of low rank, which begins as nothing.

    References
    ----------
    .. [1] Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(_RANK, columns) / math.sqrt(columns))
        self.up = nn.Parameter(torch.zeros(rows, _RANK))

    def forward(self, weight: Any) -> Any:
        """Return the weight with the learned matrix added."""
        return weight + self.up @ self.down
