"""`Forecaster`: from time series of any kind to what comes next, with intervals and an honest backtest."""

import json
import numbers
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pipelines import checks, data
from pipelines.base import Pipeline
from pipelines.errors import DataError, ParameterError
from pipelines.progress import Progress, say
from pipelines.tasks import ForecasterMixin

from . import baselines, blending, intervals, planning
from .frequency import calendar, lasting_cycles, seasons
from .future import read_future
from .panel import Panel
from .reading import read
from .series import Form, Series, future_index
from .windows import Targets, Windows

__all__ = ["Forecaster"]

ARCHITECTURES, CELLS = ("segment", "stacked"), ("lstm", "gru")
_MOST_VALIDATED = 4000  # windows
_MOST_SETTLED = 2000  # windows of the history whose forecasts, settled meanwhile, set the width of the next one's intervals
_TOGETHER = 512  # windows turned into numbers at once in a backtest


class Forecaster(ForecasterMixin, Pipeline):
    """Forecast time series with a segment-wise LSTM.

    Parameters
    ----------
    horizon : int
        Rows to forecast.
    lookback : int or "auto"
        Rows of context a forecast is made from; "auto" takes a third of the shortest series, at most 720, in whole periods.
    variables : list, optional
        The columns to forecast; all numeric ones that are not in `known` by default.
    known : list, optional
        Columns known in advance, such as a price or a holiday. Where there are time stamps, the hour, the day of the week, the
        time of the year and the like are added by themselves.
    series_id : str, optional
        The column that names the series in a long DataFrame of many.
    quantiles : list of float, optional
        Quantiles to forecast beside the median, such as `[0.1, 0.9]` for a band that holds 80 % of what comes.
    architecture : str
        "segment" walks over segments of the context and decodes the whole horizon at once; "stacked" is the textbook network of
        two layers over single steps.
    cell : str
        "lstm" or "gru".
    units : int
        Size of the network's state.
    segment : int or "auto"
        Rows of a segment; "auto" makes 6 to 15 of the context, in whole periods where it can.
    epochs : int, optional
        The most epochs, of at most 125 steps; training stops earlier when the validation loss no longer falls. None takes as many
        as see every window eight times, but make 1,000 to 4,000 steps.
    batch_size : int
        Windows a step.
    lr : float
        Highest learning rate.
    seed : int
        Of everything random; the same seed gives the same model on a CPU.
    device : str
        `"auto"`, `"cpu"`, `"gpu"` or `"gpu:1"`.
    verbose : int
        0 writes nothing.

    Attributes
    ----------
    lookback_, segment_, period_ : int
        What was chosen; the period is the season found in the training part, 1 where there is none.
    form_ : dict
        How the training series looked: names, frequency, time zone.
    model_ : torch.nn.Module
        The network.
    history_ : list of dict
        One record an epoch.

    Notes
    -----
    Series are a DataFrame with one column a variable and time stamps as its index, a pandas Series, an array `(T,)` or `(T, C)`,
    a long DataFrame with `series_id`, or a list or dict of such. Forecasts come in the same kind. Missing stamps and values are
    repaired and counted in `notes_`.

    The network, after [1]_, sees each context as differences to its last value: in units of the variable's spread in training,
    or, with many series, of the context's own seasonal changes. Every number that prepares data comes from the training part;
    what fills a gap comes from the context alone. The loss is the mean absolute error, or the quantile loss where `quantiles`
    are asked for. Where series have less than 2,000 rows, the network learns what a linear map leaves open.

    The validation part, the last tenth of each series by default, then decides how much of the forecast is the network's and how
    much that of the simple methods every report shows, and what quantiles need to be shifted by [2]_. In use, intervals grow and
    shrink with the share of the truth that they missed lately. `fit(…, valid=series)` takes a validation part of one's own, with
    the rows before it in front as context; `valid=0` takes none, and the forecast is then the network's alone.

    References
    ----------
    .. [1] S. Lin et al., "SegRNN: Segment Recurrent Neural Network for Long-Term Time Series Forecasting", arXiv:2308.11200.
    .. [2] Y. Romano, E. Patterson, E. Candès, "Conformalized Quantile Regression", NeurIPS 2019; arXiv:1905.03222.

    Examples
    --------
    >>> t = np.arange(300.0)
    >>> model = Forecaster(horizon=12, epochs=3, verbose=0).fit(np.sin(t / 4))
    >>> model.predict().shape
    (12,)
    """

    task: ClassVar[str] = "forecasting"
    engine: ClassVar[str] = "torch"
    reader: ClassVar[str] = "series"

    def __init__(
        self,
        *,
        horizon: int = 24,
        lookback: int | str = "auto",
        variables: list[str] | None = None,
        known: list[str] | None = None,
        series_id: str | None = None,
        quantiles: list[float] | None = None,
        architecture: str = "segment",
        cell: str = "lstm",
        units: int = 128,
        segment: int | str = "auto",
        epochs: int | None = None,
        batch_size: int = 64,
        lr: float = 2e-3,
        seed: int = 0,
        device: str = "auto",
        verbose: int = 1,
    ) -> None:
        self.horizon = horizon
        self.lookback = lookback
        self.variables = variables
        self.known = known
        self.series_id = series_id
        self.quantiles = quantiles
        self.architecture = architecture
        self.cell = cell
        self.units = units
        self.segment = segment
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def predict(self, history: Any = None, *, future: Any = None) -> Any:
        """Forecast the next `horizon` rows.

        Parameters
        ----------
        history : series, optional
            What lies before the forecast, at least `lookback_` rows of each series; by default the end of the training series.
            Rows before that, if they came after the training series, are of use to intervals: their width then follows how well
            the latest forecasts would have done. Without time stamps all rows count as later ones: leave those of `fit` out.
        future : DataFrame, array, list or dict, optional
            The columns in `known` for the rows to forecast.

        Returns
        -------
        Series, DataFrame, ndarray, list or dict
            In the kind of `history`: the index goes on, columns keep their names. With `quantiles`, frames have a column such as
            "load_q0.9" for each after the variable's own, and arrays a last axis with the median first.

        Raises
        ------
        DataError
            If the history is too short or does not fit the training series.
        """
        self._ready()
        panel = self._inspect(history) if history is not None else self._tail()
        for i, rows in enumerate(panel.lengths):
            if rows < self.lookback_:
                raise DataError(
                    f"{panel.named(i)} has {rows} rows, but a forecast needs the last {self.lookback_} before it "
                    "(lookback). Pass a longer history, or fit with a smaller lookback."
                )
        ahead = read_future(future, panel.form, panel.series, self.horizon)
        tails = panel.tail(self.lookback_)
        tables = [self._known(one, after) for one, after in zip(tails.series, ahead, strict=True)]
        windows = self._windows(tails.values, horizon=0)
        outputs = self._engine.infer(self.model_, self._inputs(windows, tables, panel), device=self.device_)
        steps, _ = self._forecasts(windows, np.arange(len(windows)), outputs)
        steps = steps.transpose(0, 2, 1, 3)
        point = list(steps[..., self._median])
        if self.quantiles is None:
            return panel.form.wrap(point, panel.series)
        steps = intervals.widened(steps, self._widths(panel)[:, None], self._levels)
        bands = {level: list(steps[..., self._levels.index(level)]) for level in sorted(self.quantiles)}
        return panel.form.wrap(point, panel.series, bands)

    def _widths(self, panel: Panel) -> np.ndarray:
        """Return the factors, as logarithms, that forecasts settled within the history call for, (series, C, levels)."""
        widths = np.zeros((len(panel), len(self._form.variables), len(self._levels)))
        rows = [min(new, self.horizon + _MOST_SETTLED) for new in self._unseen(panel)]
        chosen = [i for i, new in enumerate(rows) if new >= self.horizon and len(panel.series[i].values) >= self.lookback_ + new]
        if chosen:
            recent = Panel([panel.series[i].tail(self.lookback_ + rows[i]) for i in chosen], panel.form)
            widths[chosen] = self._backtested(recent, self._windows(recent.values))[3]
        return widths

    def _unseen(self, panel: Panel) -> list[int]:
        """Return how many rows of each series, after a first context, `fit` has not seen: it knows those it has too well."""
        trained = {one.name: one.index for one in self._tail().series}
        return [self._after(one, trained.get(one.name)) for one in panel.series]

    def _after(self, series: Series, trained: pd.Index | None) -> int:
        after, index = len(series.values) - self.lookback_, series.index
        if index is None or trained is None or self._form.freq is None or type(index) is not type(trained):
            return after  # a new series, or no time stamps to tell
        return min(after, int((index > trained[-1]).sum()))

    # ---------------------------------------------------------------- the three a pipeline supplies
    def _build(self) -> Any:
        from . import networks

        common = {
            "lookback": self.lookback_,
            "horizon": self.horizon,
            "units": self.units,
            "cell": self.cell,
            "variables": len(self._form.variables),
            "known": self.known_columns_,
            "levels": len(self._levels),
        }
        if self.architecture == "stacked":
            return networks.StackedRNN(**common)
        series = len(self.names_) + 1 if len(self.names_) > 1 else 0
        return networks.SegmentRNN(segment=self.segment_, series=series, **common)

    def _batches(self, X: Panel, y: Any = None, *, train: bool = False) -> data.Batches:
        windows = self._windows(X.values)
        tables = [self._known(one) for one in X.series]
        stride = 1 if train else max(1, -(-len(windows) // _MOST_VALIDATED))
        targets = Targets(windows, stride, self.linear_ if self.on_linear_map_ else None)
        return self._inputs(windows, tables, X, targets=targets if train else targets[:], train=train, stride=stride)

    def _inputs(
        self,
        windows: Windows,
        tables: Sequence[np.ndarray],
        panel: Panel,
        *,
        targets: Any = None,
        train: bool = False,
        stride: int = 1,
    ) -> data.Batches:
        ids = np.array([self._ids.get(one.name, 0) for one in panel.series])

        def read_inputs(rows: np.ndarray) -> dict[str, np.ndarray]:
            rows = rows * stride
            inputs = {"values": windows.relative(rows)[0].astype(np.float32)}
            if self.known_columns_:
                inputs["known"] = windows.rows(tables, rows, self.lookback_ + self.horizon)
            if self._ids:
                inputs["series"] = ids[windows.places(rows)[0]]
            return inputs

        return data.Batches(
            read_inputs,
            -(-len(windows) // stride),
            self.batch_size,
            targets=targets,
            seed=self.seed if train else None,
            draw=planning.STEPS_AN_EPOCH * self.batch_size,
        )

    # ---------------------------------------------------------------- reading
    def _check(self) -> None:
        super()._check()
        checks.number("horizon", self.horizon, 1, integer=True)
        for name in ("lookback", "segment"):
            if getattr(self, name) != "auto":
                checks.number(name, getattr(self, name), 1, integer=True)
        checks.number("units", self.units, 2, integer=True)
        checks.choice("architecture", self.architecture, ARCHITECTURES)
        checks.choice("cell", self.cell, CELLS)
        if self.quantiles is not None:
            if not isinstance(self.quantiles, (list, tuple)) or not self.quantiles:
                raise ParameterError(f"quantiles must be a list such as [0.1, 0.9], but received {self.quantiles!r}.")
            for level in self.quantiles:
                checks.number("quantiles", level, 1e-6, 1 - 1e-6)
            if len(set(self.quantiles)) < len(self.quantiles):
                raise ParameterError(f"quantiles names a level twice: {self.quantiles!r}.")
        for name in ("variables", "known"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (list, tuple)):
                raise ParameterError(f"{name} must be a list of columns, but received {value!r}. Write [{value!r}].")

    def _inspect(self, X: Any, *, train: bool = False) -> Panel:
        like = None if train else self._form
        panel = Panel(*read(X, variables=self.variables, known=self.known, series_id=self.series_id, like=like))
        if train:
            self.form_ = panel.form.to_dict()
            self.notes_ += [f"In the training series: {note}" for note in panel.notes]
        return panel

    @property
    def _form(self) -> Form:
        return Form.from_dict(self.form_)

    @property
    def _levels(self) -> list[float]:
        """The quantiles the network forecasts; the median, which is the forecast itself, is always among them."""
        return sorted({0.5, *(self.quantiles or ())})

    @property
    def _median(self) -> int:
        return self._levels.index(0.5)

    @property
    def _ids(self) -> dict[Any, int]:
        """Numbers of the series with an embedding of their own; 0 is for any other."""
        return (
            {name: i for i, name in enumerate(self.names_, 1)} if self.architecture == "segment" and len(self.names_) > 1 else {}
        )

    def _windows(self, values: Sequence[np.ndarray], *, horizon: int | None = None, stride: int = 1) -> Windows:
        scale = None if self.scale_ is None else np.broadcast_to(self.scale_, (len(values), self.scale_.shape[1]))
        return Windows(values, self.lookback_, self.horizon if horizon is None else horizon, stride, scale, self.period_)

    def _known(self, series: Series, after: np.ndarray | None = None) -> np.ndarray:
        """Return what is known in advance of each row of a series, and of those to forecast, where `after` has their columns."""
        given, index = series.known, series.index
        if after is not None:
            given = None if given is None else np.concatenate([given, after])
            ahead = future_index(series, self.horizon)
            index = None if index is None else index.append(ahead)
        rows = len(series.values) + (0 if after is None else self.horizon)
        parts = [np.zeros((rows, 0), np.float32)]
        if self.calendar_:
            if not isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
                raise DataError("The model was fitted with time stamps and uses the calendar, so it needs them here, too.")
            parts.append(calendar(index, self._form.freq, self.calendar_))
        if given is not None:
            parts.append(((given - self.known_center_) / self.known_scale_).astype(np.float32))
        return np.concatenate(parts, axis=1)

    # ---------------------------------------------------------------- learning
    def _hold_out(self, X: Panel, y: Any, valid: Any) -> tuple[Panel, None, Panel | None]:
        """Take the end of each series away as the validation part; it keeps `lookback_` rows before it as context."""
        self.shift_ = np.zeros((len(self._form.variables), self.horizon, len(self._levels)))
        if valid is not None and (isinstance(valid, bool) or not isinstance(valid, numbers.Real)):
            self._plan(X)
            self._keep_tail(X)
            valid = valid[0] if isinstance(valid, tuple) and len(valid) == 2 and valid[1] is None else valid
            return X, None, self._inspect(valid)
        share = 0.1 if valid is None else float(valid)
        checks.number("valid", share, 0, 0.9)
        held = [max(round(rows * share), self.horizon) if share else 0 for rows in X.lengths]
        shortest = min(rows - less for rows, less in zip(X.lengths, held, strict=True))
        enough = shortest >= 3 * self.horizon + (0 if self.lookback == "auto" else int(self.lookback))
        if share and not (enough and any(np.isfinite(one[-rows:]).any() for one, rows in zip(X.values, held, strict=True))):
            why = "nothing was observed at the end of the series" if enough else "the series are too short to split"
            self.notes_.append(f"No validation part: {why}, so the last epoch's weights are kept.")
            share, held = 0, [0] * len(X)
        train = X.without_end(held)
        self._plan(train)
        self._keep_tail(X)
        return train, None, X.end(held, self.lookback_) if share else None

    def _plan(self, X: Panel) -> None:
        """Choose period, lookback, segment and calendar from the training part."""
        shortest = int(np.argmin(X.lengths))
        rows = X.lengths[shortest]
        self.period_ = baselines.find_period(X.values, seasons(self._form.freq))
        auto = planning.lookback_for(rows, self.horizon, self.period_)
        self.lookback_ = auto if self.lookback == "auto" else int(self.lookback)
        if self.lookback_ < 1 or rows < self.lookback_ + self.horizon:
            raise DataError(
                f"{X.named(shortest)} has {rows} rows to learn from, but lookback + horizon are {max(self.lookback_, 1)} + "
                f"{self.horizon}. Give a longer series, or choose a smaller lookback or horizon."
            )
        self.segment_ = (
            planning.segment_for(self.lookback_, self.period_)
            if self.segment == "auto"
            else min(int(self.segment), self.lookback_)
        )
        self.on_linear_map_ = self.architecture == "segment" and planning.on_linear_map(rows)
        self.calendar_ = []
        if self._form.freq is not None and X.index is not None:
            context, training = (_days(X.index, rows) for rows in (self.lookback_, len(X.index)))
            self.calendar_ = lasting_cycles(self._form.freq, context, training)

    def _learn(self, X: Panel, y: Any) -> None:
        names = [one.name for one in X.series]
        self.names_ = [] if None in names else names
        self.scale_ = baselines.spread(X.values[0])[None] if len(X) == 1 else None
        self.naive_error_ = np.stack([baselines.naive_error(one, self.period_) for one in X.values])
        known = [one.known for one in X.series if one.known is not None]
        columns = len(self._form.known)
        self.known_center_ = np.concatenate(known).mean(axis=0) if known else np.zeros(columns)
        self.known_scale_ = baselines.spread(np.concatenate(known)) if known else np.ones(columns)
        self.known_columns_ = self._known(X.series[0].tail(1)).shape[1]
        self.linear_, self.linear_penalty_ = baselines.fit_linear_map(self._windows(X.values), self.seed)
        self.blend_ = {"network": 1.0}

    def _train(self, X: Panel, y: Any, valid: Panel | None, resume: Path | None) -> list[dict[str, Any]]:
        from .networks import PinballLoss

        batches = self._batches(X, train=True)
        valid_set = None if valid is None else self._batches(valid)
        if valid_set is not None and not valid_set.n:
            needed = f"lookback + horizon = {self.lookback_} + {self.horizon} rows"
            raise DataError(f"No series of the validation part has {needed}. Put the rows before it in front, as context.")
        if valid_set is not None and np.isnan(valid_set.targets).all():
            raise DataError(f"Nothing was observed in the validation part after its first {self.lookback_} rows. Give others.")
        epochs = self.epochs or planning.epochs_for(batches.n, self.batch_size)
        say(f"training on {batches.n} windows of {self.lookback_} + {self.horizon} rows, {self.device_.name}", self.verbose)
        fingerprint = "" if resume is None else self._fingerprint(X, valid)
        with Progress(epochs, len(batches), verbose=self.verbose) as progress:
            history = self._engine.train(
                self.model_,
                batches,
                valid=valid_set,
                judge=self._judge,
                loss=PinballLoss(self._levels),
                epochs=epochs,
                lr=self.lr,
                device=self.device_,
                on_epoch=progress.epoch,
                on_step=progress.step if progress.live else None,
                patience=max(3, epochs // 4),
                seed=self.seed,
                resume=None if resume is None else resume / "forecaster.npz",
                fingerprint=fingerprint,
            )
        if valid is not None and valid_set is not None:
            self._settle(valid, valid_set)
        return history

    def _settle(self, valid: Panel, valid_set: data.Batches) -> None:
        """Learn from the validation part what the network leaves open: its share in the forecast, and the width of intervals."""
        simple = self._simple(np.concatenate([valid_set[i][0]["values"] for i in range(len(valid_set))]))
        outputs = self._whole(self._engine.infer(self.model_, valid_set, device=self.device_), simple)
        truth = valid_set.targets + simple["linear map"] if self.on_linear_map_ else valid_set.targets
        apart = truth.shape[1] * sum(max(1.0, (rows - self.lookback_) / self.horizon) for rows in valid.lengths)
        self.blend_ = blending.weights({"network": outputs[..., self._median], **simple}, truth, self.seed, apart)
        shares = ", ".join(f"{share:.0%} {name}" for name, share in self.blend_.items())
        self.notes_.append(f"The forecast is {shares}, chosen on the validation part.")
        if self.quantiles is not None:
            self.shift_ = intervals.shifts(self._blended(outputs, simple), truth, self._levels)
        if valid.whole is not None:  # the closed form is quick: let it have the latest rows, too
            self.linear_, _ = baselines.fit_linear_map(self._windows(valid.whole.values), self.seed, self.linear_penalty_)

    def _judge(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        error = np.abs(targets - outputs[..., self._median])
        return {"val_loss": intervals.pinball(outputs, targets, self._levels), "val_mae": float(np.nanmean(error))}

    def _fingerprint(self, *panels: Panel | None) -> str:
        """Identify parameters and series, so that a checkpoint is never continued with others."""
        digest = self._digest(self.form_)
        for one in (one for panel in panels if panel is not None for one in panel.series):
            digest.update(json.dumps([one.facts(), one.values.shape]).encode())
            digest.update(np.ascontiguousarray(one.values).tobytes())
            digest.update(b"" if one.known is None else np.ascontiguousarray(one.known).tobytes())
        return digest.hexdigest()

    # ---------------------------------------------------------------- the end of the training series
    def _keep_tail(self, X: Panel) -> None:
        """Keep the end of each training series, from which `predict()` goes on."""
        tails = [one.tail(self.lookback_) for one in X.series]
        self.tail_facts_ = [one.facts() for one in tails]
        self.tail_ = np.stack([one.values for one in tails]).astype(np.float64)
        if tails[0].known is not None:
            self.tail_known_ = np.stack([one.known for one in tails if one.known is not None])

    def _tail(self) -> Panel:
        known = self.tail_known_ if self._form.known else [None] * len(self.tail_)
        rows = zip(self.tail_facts_, self.tail_, known, strict=True)
        return Panel([Series.from_facts(facts, values, given) for facts, values, given in rows], self._form)

    # ---------------------------------------------------------------- outputs
    def _forecasts(self, windows: Windows, rows: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Turn outputs into values (n, C, horizon, levels), and give the simple forecasts (n, C, horizon) beside them."""
        contexts, last, unit = windows.relative(rows)
        simple = self._simple(contexts)
        levels = self._blended(self._whole(outputs, simple), simple)
        if self.quantiles is not None:
            levels = intervals.ordered(levels + self.shift_, self._median)
        return levels * unit[..., None] + last[..., None], {name: said * unit + last for name, said in simple.items()}

    def _simple(self, contexts: np.ndarray) -> dict[str, np.ndarray]:
        return baselines.all_of(contexts, self.horizon, self.period_, self.linear_)

    def _whole(self, outputs: np.ndarray, simple: dict[str, np.ndarray]) -> np.ndarray:
        """Return the network's forecasts from its outputs: what it adds to the linear map, or all of it."""
        outputs = outputs.astype(np.float64)
        return outputs + simple["linear map"][..., None] if self.on_linear_map_ else outputs

    def _blended(self, outputs: np.ndarray, simple: dict[str, np.ndarray]) -> np.ndarray:
        """Mix the network's median with the simple forecasts; its quantiles move along."""
        if list(self.blend_) == ["network"]:
            return outputs
        median = outputs[..., self._median]
        return outputs + (blending.blended({"network": median, **simple}, self.blend_) - median)[..., None]

    def _backtest(self, panel: Panel, stride: int, groups: Any) -> dict[str, Any]:
        """Forecast from every window, and return what `metrics.forecasting` takes."""
        windows = self._windows(panel.values, stride=stride)
        if not len(windows):
            raise DataError(
                f"No series has room for a forecast: the longest has {max(panel.lengths)} rows, but lookback + horizon are "
                f"{self.lookback_} + {self.horizon}. Put the rows before it in front, as context."
            )
        forecasts, truth, simple, _ = self._backtested(panel, windows)
        series, first = windows.places(np.arange(len(windows)))
        return {
            "y_true": truth,
            "y_pred": forecasts[..., self._median],
            "variables": list(panel.form.variables),
            "quantiles": {q: forecasts[..., self._levels.index(q)] for q in self.quantiles} if self.quantiles else None,
            "scale": self._naive_errors(panel)[series],
            "baselines": simple,
            "groups": self._groups(panel, groups, series),
            "times": self._times(panel, series, first + self.lookback_),
        }

    def _backtested(
        self, panel: Panel, windows: Windows
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray | None]:
        """Return forecasts (n, horizon, C, levels), truth and simple forecasts (n, horizon, C), and the widths that follow."""
        tables = [self._known(one) for one in panel.series]
        outputs = self._engine.infer(self.model_, self._inputs(windows, tables, panel), device=self.device_)
        n, variables, horizon, levels = outputs.shape
        forecasts, truth = np.empty((n, horizon, variables, levels)), np.empty((n, horizon, variables))
        simple: dict[str, np.ndarray] = {}
        for start in range(0, n, _TOGETHER):
            rows = np.arange(start, min(start + _TOGETHER, n))
            steps, beside = self._forecasts(windows, rows, outputs[rows])
            forecasts[rows], truth[rows] = steps.swapaxes(1, 2), windows.truth(rows).swapaxes(1, 2)
            for name, said in beside.items():
                simple.setdefault(name, np.empty_like(truth))[rows] = said.swapaxes(1, 2)
        if self.quantiles is None:
            return forecasts, truth, simple, None
        series, first = windows.places(np.arange(n))
        seen = np.array(panel.lengths) - self._unseen(panel)
        fresh = first + self.lookback_ >= seen[series]
        forecasts, widths = intervals.adapted(forecasts, truth, self._levels, series, windows.stride, fresh)
        return forecasts, truth, simple, widths

    def _naive_errors(self, panel: Panel) -> np.ndarray:
        """Return the unit of MASE of each series: that of its training part, or of its first context where it is new."""
        if len(panel) == 1 and len(self.naive_error_) == 1:
            return self.naive_error_
        known = dict(zip(self.names_, self.naive_error_, strict=False))
        return np.stack(
            [
                known[one.name] if one.name in known else baselines.naive_error(one.values[: self.lookback_], self.period_)
                for one in panel.series
            ]
        )

    def _groups(self, panel: Panel, groups: Any, series: np.ndarray) -> Any:
        if groups is not None:
            named = isinstance(groups, Iterable) and not isinstance(groups, (str, bytes, Mapping))
            given = list(groups) if named else []
            if len(given) != len(panel):
                raise DataError(f"groups must have one name a series ({len(panel)}), but received {groups!r}.")
            return [given[i] for i in series]
        names = [one.name if one.name is not None else f"series {i}" for i, one in enumerate(panel.series)]
        return [names[i] for i in series] if len(panel) > 1 else None

    def _times(self, panel: Panel, series: np.ndarray, rows: np.ndarray) -> Any:
        """Return the stamp, or the row, of each window's first forecast."""
        if any(one.index is None for one in panel.series):
            return rows.tolist()
        return [panel.series[s].index[row] for s, row in zip(series, rows, strict=True)]


def _days(index: pd.Index, rows: int) -> float:
    """Return how long the first `rows` rows last."""
    ends = index[[0, rows - 1]]
    stamps = ends.to_timestamp() if isinstance(ends, pd.PeriodIndex) else ends
    return (stamps[1] - stamps[0]) / pd.Timedelta(days=1)
