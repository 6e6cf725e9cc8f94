"""The networks of the forecaster, in PyTorch: an LSTM or GRU over segments, and the textbook one over single steps."""

import math
from typing import Any

from pipelines.engines import load_framework

torch: Any = load_framework("torch", extra="timeseries")
nn: Any = torch.nn

__all__ = ["NextSegment", "PinballLoss", "SegmentAutoencoder", "SegmentRNN", "StackedRNN"]

_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class SegmentRNN(nn.Module):
    """A recurrent network that walks over segments instead of steps, and decodes all segments of the horizon at once [1]_.

    Each variable is a sequence of its own. Its context is cut into segments, each embedded linearly; the network's last state
    is then met by one query a horizon segment, made of the embeddings of the segment's position, of the variable and of the
    series, and each answer is mapped to the segment's steps.

    Parameters
    ----------
    lookback, horizon : int
        Steps of context, and steps to forecast.
    segment : int
        Steps of a segment.
    units : int
        Size of the embedding and of the state.
    cell : str
        "lstm" or "gru".
    variables, known, series : int
        Number of variables, of columns known in advance, and of series with an embedding of their own (0 for none).
    levels : int
        Numbers forecast at each step: one, or one a quantile.
    dropout : float
        Before the last layer.

    References
    ----------
    .. [1] S. Lin et al., "SegRNN: Segment Recurrent Neural Network for Long-Term Time Series Forecasting", arXiv:2308.11200.

    Examples
    --------
    >>> net = SegmentRNN(lookback=6, horizon=4, segment=3, units=8, cell="lstm", variables=2)
    >>> net({"values": torch.zeros(5, 2, 6)}).shape
    torch.Size([5, 2, 4, 1])
    """

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        segment: int,
        units: int,
        cell: str,
        variables: int,
        known: int = 0,
        series: int = 0,
        levels: int = 1,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.lookback, self.horizon, self.segment, self.levels = lookback, horizon, segment, levels
        self.queries = math.ceil(horizon / segment)
        self.before = -lookback % segment  # steps put in front to fill the first segment
        self.embed = nn.Linear(segment, units)
        self.rnn = _CELLS[cell](units, units, batch_first=True)
        self.position = nn.Parameter(torch.randn(self.queries, units // 2))
        self.variable = nn.Parameter(torch.randn(variables, units - units // 2))
        self.known: Any = nn.Linear(segment * known, units) if known else None
        self.series: Any = nn.Embedding(series, units, padding_idx=0) if series else None
        if self.series is not None:
            nn.init.zeros_(self.series.weight)
        self.dropout = nn.Dropout(dropout)
        self.answer = nn.Linear(units, segment * levels)

    def forward(self, inputs: dict[str, Any]) -> Any:
        """Return the forecasts (n, variables, horizon, levels) from `values` (n, variables, lookback) and what else is known."""
        values = inputs["values"]
        n, variables, _ = values.shape
        whole = nn.functional.pad(values, (self.before, 0), mode="replicate")
        embedded = self.embed(whole.unflatten(2, (-1, self.segment)))
        queries = torch.cat(
            [self.position.expand(variables, -1, -1), self.variable[:, None].expand(-1, self.queries, -1)], dim=-1
        ).expand(n, -1, -1, -1)
        if self.known is not None:
            past, future = self._known(inputs["known"])
            embedded, queries = embedded + past[:, None], queries + future[:, None]
        if self.series is not None:
            queries = queries + self.series(inputs["series"])[:, None, None]
        _, state = self.rnn(torch.relu(embedded).flatten(0, 1))
        answers, _ = self.rnn(queries.flatten(0, 2)[:, None], self._repeated(state))
        steps = self.answer(self.dropout(answers[:, 0])).view(n, variables, self.queries * self.segment, self.levels)
        return steps[:, :, : self.horizon]

    def _known(self, known: Any) -> tuple[Any, Any]:
        """Embed what is known in advance (n, lookback + horizon, k), segment by segment, for the past and the future."""
        after = self.queries * self.segment - self.horizon
        whole = nn.functional.pad(known, (0, 0, self.before, after)).unflatten(1, (-1, self.segment)).flatten(2)
        embedded = self.known(whole)
        return embedded.split([whole.shape[1] - self.queries, self.queries], dim=1)

    def _repeated(self, state: Any) -> Any:
        if isinstance(state, tuple):
            return tuple(part.repeat_interleave(self.queries, 1) for part in state)
        return state.repeat_interleave(self.queries, 1)


class StackedRNN(nn.Module):
    """The textbook network: two recurrent layers over all steps and variables, and a linear map from the last state.

    Parameters
    ----------
    lookback, horizon, units, cell, variables, known, levels, dropout
        As in `SegmentRNN`.

    Examples
    --------
    >>> net = StackedRNN(lookback=6, horizon=4, units=8, cell="gru", variables=2)
    >>> net({"values": torch.zeros(5, 2, 6)}).shape
    torch.Size([5, 2, 4, 1])
    """

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        units: int,
        cell: str,
        variables: int,
        known: int = 0,
        levels: int = 1,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.shape = (variables, horizon, levels)
        self.lookback = lookback
        self.rnn = _CELLS[cell](variables + known, units, num_layers=2, dropout=dropout, batch_first=True)
        self.answer = nn.Linear(units + horizon * known, variables * horizon * levels)

    def forward(self, inputs: dict[str, Any]) -> Any:
        """Return the forecasts (n, variables, horizon, levels) from `values` (n, variables, lookback) and what else is known."""
        steps = inputs["values"].transpose(1, 2)
        known = inputs.get("known")
        if known is not None:
            steps = torch.cat([steps, known[:, : self.lookback]], dim=2)
        last = self.rnn(steps)[0][:, -1]
        if known is not None:
            last = torch.cat([last, known[:, self.lookback :].flatten(1)], dim=1)
        return self.answer(last).view(-1, *self.shape)


class PinballLoss(nn.Module):
    """Twice the mean quantile loss over what was observed; with the level 0.5 alone, the mean absolute error.

    Parameters
    ----------
    levels : sequence of float
        The quantile of each of the network's last outputs.

    Examples
    --------
    >>> PinballLoss([0.5])(torch.zeros(1, 1, 2, 1), torch.tensor([[[3.0, float("nan")]]]))
    tensor(3.)
    """

    def __init__(self, levels: Any) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(list(levels), dtype=torch.float32), persistent=False)

    def forward(self, outputs: Any, targets: Any) -> Any:
        """Return the loss of outputs (n, variables, horizon, levels) beside targets (n, variables, horizon)."""
        error = targets.unsqueeze(-1) - outputs
        seen = ~torch.isnan(error)
        error = torch.where(seen, error, 0.0)
        levels = self.levels.to(error.device)
        return 2 * torch.maximum(levels * error, (levels - 1) * error).sum() / seen.sum().clamp(min=1)


class SegmentAutoencoder(nn.Module):
    """An LSTM that reads a window segment by segment into a short code, and another that writes it again from the code [1]_.

    The decoder sees the code and the position of the segment alone, so whatever it writes went through the code.

    Parameters
    ----------
    variables, segment, segments : int
        Number of variables, steps of a segment, and segments of a window.
    units, code : int
        Size of the LSTMs' states, and of the code.

    References
    ----------
    .. [1] P. Malhotra et al., "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection", arXiv:1607.00148; by segments
       as in S. Lin et al., "SegRNN", arXiv:2308.11200.

    Examples
    --------
    >>> net = SegmentAutoencoder(variables=2, segment=3, segments=4)
    >>> net(torch.zeros(5, 2, 12)).shape
    torch.Size([5, 2, 12])
    """

    def __init__(self, *, variables: int, segment: int, segments: int, units: int = 48, code: int = 8) -> None:
        super().__init__()
        self.variables, self.segment, self.segments = variables, segment, segments
        step, half, place = variables * segment, max(1, units // 2), max(1, units // 3)
        self.embed = nn.Linear(step, half)
        self.encoder = nn.LSTM(half, units, batch_first=True)
        self.code = nn.Linear(units, code)
        self.position = nn.Parameter(0.1 * torch.randn(segments, place))
        self.decoder = nn.LSTM(code + place, units, batch_first=True)
        self.answer = nn.Linear(units, step)

    def forward(self, windows: Any) -> Any:
        """Return the windows (n, variables, segments x segment) as the code remembers them."""
        n = len(windows)
        parts = windows.unflatten(2, (self.segments, self.segment)).transpose(1, 2).flatten(2)
        _, (state, _) = self.encoder(self.embed(parts))
        code = self.code(state[0])[:, None].expand(-1, self.segments, -1)
        written, _ = self.decoder(torch.cat([code, self.position.expand(n, -1, -1)], dim=-1))
        parts = self.answer(written).unflatten(2, (self.variables, self.segment))
        return parts.transpose(1, 2).flatten(2)


class NextSegment(nn.Module):
    """The forecaster's network for the segment that follows a window, with differences to the window's last value inside.

    Parameters
    ----------
    variables, segment, segments : int
        Number of variables, steps of a segment, and segments of a window.
    units : int
        Size of the LSTM's state.

    Examples
    --------
    >>> NextSegment(variables=2, segment=3, segments=4, units=8)(torch.zeros(5, 2, 12)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, *, variables: int, segment: int, segments: int, units: int) -> None:
        super().__init__()
        self.network = SegmentRNN(
            lookback=segment * segments, horizon=segment, segment=segment, units=units, cell="lstm", variables=variables
        )

    def forward(self, windows: Any) -> Any:
        """Return the steps (n, variables, segment) to come after windows (n, variables, segments x segment)."""
        last = windows[..., -1:]
        return self.network({"values": windows - last})[..., 0] + last
