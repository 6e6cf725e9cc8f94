"""The networks of the record classifier, in PyTorch: trees as arrays, and perceptrons on embedded columns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.engines import load_framework

torch: Any = load_framework("torch", extra="medical")
nn: Any = torch.nn

__all__ = ["Ensemble", "RecordNetwork", "TreeEnsemble"]

_SIGMA = 0.1  # spread of the first frequencies
_FREQUENCIES = 12


class TreeEnsemble(nn.Module):
    """Decision trees that all samples walk down together; their leaves' values add up to scores.

    Parameters
    ----------
    nodes, trees, depth, classes : int
        Nodes and trees in all, the most steps from a root to a leaf, and scores a sample. All values are zero until `fill`.

    Examples
    --------
    >>> model = TreeEnsemble(nodes=3, trees=1, depth=1, classes=2)
    >>> model.fill({"left": np.array([1, 1, 2]), "right": np.array([2, 1, 2]), "value": np.float32([0, -1, 1]), "output": [1]})
    >>> model(torch.tensor([[-5.0], [5.0]])).tolist()
    [[0.0, -1.0], [0.0, 1.0]]
    """

    def __init__(self, *, nodes: int, trees: int, depth: int, classes: int) -> None:
        super().__init__()
        self.depth = depth
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(nodes, dtype=torch.int64))
        self.register_buffer("missing_left", torch.zeros(nodes, dtype=torch.bool))
        for name, size in (("threshold", nodes), ("value", nodes), ("start", classes)):
            self.register_buffer(name, torch.zeros(size))
        for name in ("root", "output"):
            self.register_buffer(name, torch.zeros(trees, dtype=torch.int64))

    def fill(self, arrays: Mapping[str, Any]) -> None:
        """Take the arrays of `medical.boosting.arrays`."""
        for name, values in arrays.items():
            getattr(self, name).copy_(torch.as_tensor(np.asarray(values)))

    def forward(self, X: Any) -> Any:
        """Return scores (n, classes) of inputs (n, d), NaN where missing."""
        place = self.root.expand(len(X), -1)
        for _ in range(self.depth):
            values = X.gather(1, self.feature[place])
            left = torch.where(values.isnan(), self.missing_left[place], values <= self.threshold[place])
            place = torch.where(left, self.left[place], self.right[place])
        scores = self.start.repeat(len(X), 1)
        return scores.index_add(1, self.output, self.value[place])


class RecordNetwork(nn.Module):
    """A multilayer perceptron on embeddings of all columns.

    A number x becomes (x, cos(2π c_1 x + b_1), …) with learned frequencies, then a layer of its own [1]_; a category has a vector
    a level. A missing value has a learned vector, too.

    Parameters
    ----------
    numbers : int
        Columns of numbers.
    levels : sequence of int
        Levels of each category.
    classes : int
        Scores a sample.
    embedding, units : int
        Size of a column's vector and of the two hidden layers.
    dropout : float
        After each hidden layer.

    References
    ----------
    .. [1] Gorishniy, Rubachev, Babenko (2022), "On Embeddings for Numerical Features in Tabular Deep Learning",
       arXiv:2203.05556; with x itself and one phase a frequency as in Holzmüller, Grinsztajn, Steinwart (2024), "Better by
       Default", arXiv:2407.04491.

    Examples
    --------
    >>> net = RecordNetwork(numbers=2, levels=[3], classes=2, embedding=4, units=8, dropout=0.0)
    >>> net({"numbers": torch.tensor([[0.5, math.nan]]), "codes": torch.tensor([[0]])}).shape
    torch.Size([1, 2])
    """

    def __init__(self, *, numbers: int, levels: Sequence[int], classes: int, embedding: int, units: int, dropout: float) -> None:
        super().__init__()
        self.frequency = nn.Parameter(_SIGMA * torch.randn(numbers, _FREQUENCIES))
        self.phase = nn.Parameter(2 * math.pi * torch.rand(numbers, _FREQUENCIES))
        self.weight = nn.Parameter(torch.randn(numbers, _FREQUENCIES + 1, embedding) / math.sqrt(_FREQUENCIES + 1))
        self.bias = nn.Parameter(torch.zeros(numbers, embedding))
        self.gap = nn.Parameter(torch.zeros(numbers, embedding))
        self.categories = nn.ModuleList(nn.Embedding(count + 1, embedding) for count in levels)
        for table in self.categories:
            nn.init.normal_(table.weight, std=0.5)
        width = (numbers + len(levels)) * embedding
        self.hidden = nn.Sequential(
            nn.Linear(width, units), nn.SiLU(), nn.Dropout(dropout), nn.Linear(units, units), nn.SiLU(), nn.Dropout(dropout)
        )
        self.head = nn.Linear(units, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: dict[str, Any]) -> Any:
        """Return scores (n, classes) of scaled `numbers` (n, d), NaN where missing, and `codes` (n, c), 0 where missing."""
        x, gaps = inputs["numbers"].nan_to_num().unsqueeze(-1), inputs["numbers"].isnan().unsqueeze(-1)
        waves = torch.cat([x, torch.cos(2 * math.pi * self.frequency * x + self.phase)], -1)
        numbers = torch.einsum("njf,jfe->nje", waves, self.weight) + self.bias
        numbers = torch.where(gaps, self.gap, numbers)
        codes = [table(column) for table, column in zip(self.categories, inputs["codes"].unbind(1), strict=True)]
        return self.head(self.hidden(torch.cat([numbers.flatten(1), *codes], 1)))


class Ensemble(nn.Module):
    """The mean of several networks' scores.

    Examples
    --------
    >>> Ensemble([nn.Identity(), nn.Identity()])(torch.ones(1)).tolist()
    [1.0]
    """

    def __init__(self, members: Sequence[Any]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Any) -> Any:
        """Return the mean over members."""
        return torch.stack([member(inputs) for member in self.members]).mean(0)
