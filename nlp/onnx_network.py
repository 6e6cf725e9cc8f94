"""The network of a text classifier in the form in which it is written as ONNX."""

from typing import Any

from pipelines.engines import load_framework

from .networks import BiLSTM, TextNetwork

torch: Any = load_framework("torch", extra="nlp")
nn: Any = torch.nn

__all__ = ["Probabilities", "inputs"]


class Probabilities(nn.Module):
    """A `TextNetwork` that takes tensors by position and returns scores and probabilities.

    Parameters
    ----------
    network : TextNetwork
        On the CPU; its parts go into this one.
    temperature : float
        What scores are divided by.
    multilabel : bool
        Whether several labels can be true at once.
    """

    def __init__(self, network: TextNetwork, temperature: float, multilabel: bool) -> None:
        super().__init__()
        if isinstance(network.encoder, BiLSTM):
            network.encoder = _OnnxLSTM(network.encoder)
        self.network, self.temperature, self.multilabel = network, temperature, multilabel

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> tuple[Any, Any]:
        """Return scores (windows, classes), and what they mean as probabilities."""
        more = {} if token_type_ids is None else {"second": token_type_ids}
        scores = self.network({"ids": input_ids, "mask": attention_mask, **more}) / self.temperature
        return scores, scores.sigmoid() if self.multilabel else scores.softmax(1)


class _OnnxLSTM(nn.Module):
    """A `BiLSTM` by ONNX's own operation for it: PyTorch would write out every step, for texts of one length only."""

    pairs = False

    def __init__(self, encoder: BiLSTM) -> None:
        super().__init__()
        self.embed, self.units = encoder.embed, encoder.rnn.hidden_size
        found = {name: self._ordered(value) for name, value in encoder.rnn.state_dict().items()}
        inner, outer, ahead, behind = "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"
        directions = ("", "_reverse")
        self.register_buffer("inner", torch.stack([found[inner + way] for way in directions]))
        self.register_buffer("outer", torch.stack([found[outer + way] for way in directions]))
        self.register_buffer("bias", torch.stack([torch.cat([found[ahead + way], found[behind + way]]) for way in directions]))

    def forward(self, ids: Any, mask: Any) -> Any:
        """Return the outputs of both directions (n, length, units)."""
        windows, length = ids.shape
        states = torch.onnx.ops.symbolic(
            "LSTM",
            (self.embed(ids).transpose(0, 1), self.inner, self.outer, self.bias, mask.sum(1).int()),
            {"direction": "bidirectional", "hidden_size": self.units},
            dtype=self.inner.dtype,
            shape=(length, 2, windows, self.units),
        )
        return states.permute(2, 0, 1, 3).flatten(2)

    @staticmethod
    def _ordered(weights: Any) -> Any:
        """Bring the gates into ONNX's order: input, output, forget, cell."""
        gates = weights.chunk(4)  # input, forget, cell, output
        return torch.cat([gates[0], gates[3], gates[1], gates[2]])


def inputs(network: Probabilities, *, pairs: bool) -> dict[str, Any]:
    """Return examples of what the network takes: two windows of different length."""
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    found = {"input_ids": torch.ones_like(mask), "attention_mask": mask}
    if pairs and network.network.encoder.pairs:
        found["token_type_ids"] = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 1, 0, 0]])
    return found
