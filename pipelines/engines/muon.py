"""The arithmetic of Muon, by which the weights of a network's inner layers learn in fewer steps than by AdamW; of any framework.

AdamW's steps follow the few loudest directions of a matrix. Muon's follow the orthogonal matrix next to the average gradient, so
that all directions learn at the same pace [1]_. It takes AdamW's learning rate and weight decay [2]_, and is for the weights
inside a network: embeddings, and what gives the answers, stay with AdamW.

References
----------
.. [1] Jordan (2024), "Muon: An optimizer for hidden layers in neural networks", https://kellerjordan.github.io/posts/muon/.
.. [2] Liu, Su et al. (2025), "Muon is Scalable for LLM Training", arXiv:2502.16982, section 2.2.
"""

from collections.abc import Callable
from typing import Any

__all__ = ["MOMENTUM", "orthogonal", "step_size"]

MOMENTUM = 0.95
"""Share of the average that stays at each step."""

_LIKE_ADAMW = 0.2  # the root mean square of AdamW's steps
_QUINTIC = (3.4445, -4.7750, 2.0315)  # of Newton and Schulz: these bring singular values near 1 in five rounds
_ROUNDS = 5


def orthogonal(x: Any, *, transposed: Callable[[Any], Any], length: Callable[[Any], Any]) -> Any:
    """Bring the singular values of matrices near 1.

    Parameters
    ----------
    x : tensor, (…, rows, columns)
        Of any framework whose tensors know `@`.
    transposed : callable
        Swaps a tensor's last two axes.
    length : callable
        Returns the roots of the sums of squares over these, (…, 1, 1).

    Returns
    -------
    tensor, (…, rows, columns)
        Most singular values are between 0.7 and 1.2; those under a hundredth of the largest one stay smaller.

    Examples
    --------
    >>> import numpy as np
    >>> turned = orthogonal(np.diag([9.0, 1.0]), transposed=np.transpose, length=np.linalg.norm)
    >>> turned.diagonal().round(2)
    array([0.7 , 0.75])
    """
    a, b, c = _QUINTIC
    tall = x.shape[-2] > x.shape[-1]
    x = transposed(x) if tall else x
    x = x / (length(x) + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ transposed(x)
        x = a * x + (b * square + c * (square @ square)) @ x
    return transposed(x) if tall else x


def step_size(rows: int, columns: int) -> float:
    """Return what an orthogonal matrix is to be multiplied by to be as large as AdamW's step.

    Examples
    --------
    >>> step_size(100, 25)
    2.0
    """
    return float(_LIKE_ADAMW * max(rows, columns) ** 0.5)
