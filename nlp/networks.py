"""From tokens to scores: an encoder, its outputs pooled over the tokens, and a linear layer."""

from typing import Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.engines.losses import ClassWeightedLoss

from . import weights
from .tokens import MARKS

torch: Any = load_framework("torch", extra="nlp")
nn: Any = torch.nn

__all__ = ["BiLSTM", "TextNetwork", "Vectors", "WindowLoss", "build", "layerwise", "positions", "set_head", "set_words"]


class TextNetwork(nn.Module):
    """Scores of texts, or rather of windows of them.

    Parameters
    ----------
    encoder : torch.nn.Module
        From `ids` and `mask` (n, length), and `second` for pairs, to vectors (n, length, units).
    units, classes : int
        Width of the vectors; number of scores.
    pooling : str
        `"mean"` over the tokens of a window, or `"mean+max"`: the largest ones beside it.
    dropout : float
        Before the last layer.
    normalised : bool
        Bring pooled vectors to length one.
    unknown : float
        Share of the tokens that training takes for unknown ones, so that no single one is relied on; the vocabulary must be a
        learned one.
    """

    def __init__(
        self,
        encoder: Any,
        units: int,
        classes: int,
        *,
        pooling: str = "mean",
        dropout: float = 0.1,
        normalised: bool = False,
        unknown: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.pooling, self.normalised, self.unknown = encoder, pooling, normalised, unknown
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(units * len(pooling.split("+")), classes)

    def forward(self, inputs: dict[str, Any]) -> Any:
        """Return scores (n, classes)."""
        return self.head(self.dropout(self.vectors(inputs)))

    def vectors(self, inputs: dict[str, Any]) -> Any:
        """Return the pooled vectors of each window (n, units, or twice as many)."""
        if self.training and self.unknown:
            ids = inputs["ids"]
            chosen = (torch.rand(ids.shape, device=ids.device) < self.unknown) & (ids >= len(MARKS))
            inputs = {**inputs, "ids": ids.masked_fill(chosen, MARKS.index("[UNK]"))}
        states = self.encoder(**inputs)
        mask = inputs["mask"].to(states.dtype).unsqueeze(-1)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        pooled = mean if self.pooling == "mean" else torch.cat([mean, (states - 1e4 * (1 - mask)).amax(1)], dim=1)
        return nn.functional.normalize(pooled, dim=1) if self.normalised else pooled


class Vectors(nn.Module):
    """The part of a `TextNetwork` before its last layer."""

    def __init__(self, network: TextNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: dict[str, Any]) -> Any:
        """Return vectors (n, units)."""
        return self.network.vectors(inputs)


class Pretrained(nn.Module):
    """An encoder of the transformers library behind the names used here."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # not used here
        self.model = model
        self.pairs = getattr(model.config, "type_vocab_size", 0) > 1  # RoBERTa tells the texts of a pair by marks alone

    def forward(self, ids: Any, mask: Any, second: Any = None) -> Any:
        """Return the last layer's vectors (n, length, units)."""
        more = {"token_type_ids": second} if second is not None and self.pairs else {}
        return self.model(input_ids=ids, attention_mask=mask, **more).last_hidden_state


class BiLSTM(nn.Module):
    """The textbook's encoder: word vectors, then an LSTM in both directions.

    Parameters
    ----------
    vocabulary, units : int
        Number of tokens; width of the word vectors and of the outputs of each direction.
    dropout : float
        Of the word vectors.

    References
    ----------
    .. [1] Graves, Schmidhuber (2005), "Framewise phoneme classification with bidirectional LSTM", Neural Networks 18.
    """

    def __init__(self, vocabulary: int, units: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, units, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.rnn = nn.LSTM(units, units, batch_first=True, bidirectional=True)

    def forward(self, ids: Any, mask: Any, second: Any = None) -> Any:
        """Return the outputs of both directions (n, length, 2 units)."""
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(self.embed(ids)), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=ids.shape[1])
        return states


class WindowLoss(ClassWeightedLoss):
    """`ClassWeightedLoss` for windows of texts, each counting by its share of its text."""

    def __call__(self, scores: Any, targets: tuple[Any, Any]) -> Any:
        """Return the mean over the windows, of labels and the windows' shares."""
        y, shares = targets
        return (self.each(scores, y) * shares).mean()


def build(config: dict[str, Any], head: dict[str, Any], classes: int) -> TextNetwork:
    """Make the network from the configuration of its encoder and what follows it, with random weights."""
    encoder: Any
    if config["model_type"] == "bi-lstm":
        encoder = BiLSTM(config["vocab_size"], config["hidden_size"], config["dropout"])
        return TextNetwork(encoder, 2 * config["hidden_size"], classes, **head)
    encoder = Pretrained(weights.configured(config))
    return TextNetwork(encoder, encoder.model.config.hidden_size, classes, **head)


def set_words(network: TextNetwork, vectors: np.ndarray) -> None:
    """Begin with these vectors of the vocabulary's tokens (size, units)."""
    encoder = network.encoder
    table = encoder.embed if isinstance(encoder, BiLSTM) else encoder.model.get_input_embeddings()
    with torch.no_grad():
        table.weight.copy_(torch.as_tensor(vectors))
    nn.init.normal_(network.head.weight, std=0.02)
    nn.init.zeros_(network.head.bias)


def positions(config: dict[str, Any]) -> int | None:
    """Return how many tokens a window can have in the network of a configuration; None for any number."""
    most = config.get("max_position_embeddings")
    if config["model_type"] == "bi-lstm" or not most or most < 1:
        return None
    with torch.device("meta"):  # no weights are made
        table = getattr(getattr(weights.configured(config), "embeddings", None), "position_embeddings", None)
    before = getattr(table, "padding_idx", None)  # RoBERTa counts from behind the token that fills up
    return int(most) if before is None else int(most) - before - 1


def set_head(network: TextNetwork, coef: np.ndarray, intercept: np.ndarray) -> None:
    """Put a regression into the last layer."""
    with torch.no_grad():
        network.head.weight.copy_(torch.as_tensor(coef))
        network.head.bias.copy_(torch.as_tensor(intercept))


def layerwise(network: TextNetwork, lr: float, decay: float) -> list[dict[str, Any]]:
    """Return parameter groups for AdamW: the last layer learns at `lr`, each one below at `decay` of the one above.

    References
    ----------
    .. [1] Howard, Ruder (2018), "Universal Language Model Fine-tuning for Text Classification", arXiv:1801.06146.
    """
    model = network.encoder.model
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == model.config.num_hidden_layers]
    layers = list(stacks[0]) if stacks else []  # an encoder whose layers share their weights has none: all learn alike
    groups: list[dict[str, Any]] = [{"params": list(network.head.parameters()), "lr": lr}]
    seen = {id(parameter) for parameter in network.head.parameters()}
    for above, layer in enumerate(reversed(layers)):
        groups.append({"params": list(layer.parameters()), "lr": lr * decay**above})
        seen |= {id(parameter) for parameter in layer.parameters()}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in seen]
    return [*groups, {"params": rest, "lr": lr * decay ** len(layers)}]
