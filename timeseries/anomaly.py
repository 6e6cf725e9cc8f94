"""`AnomalyDetector`: from time series of any kind to scores, alarms and events, learned from normal data."""

import numbers
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pipelines import checks, data
from pipelines.base import Pipeline
from pipelines.errors import DataError, ParameterError
from pipelines.progress import Progress, say
from pipelines.tasks import DetectorMixin

from . import planning, simple_detectors, thresholds
from .events import found_events, narrowed
from .labels import read_labels
from .normal import normal_part
from .panel import Panel
from .reading import read
from .scaling import gaps_filled, robust_center
from .scoring import Looked, Scorer
from .series import Form
from .streaming import Stream, read_rows
from .tables import listed
from .views import Forecast, NearestWindow, Reconstruction, View, WindowPCA
from .windows import Drawn, Windows

__all__ = ["AnomalyDetector"]

METHODS = ("auto", "lstm-autoencoder", "lstm-forecaster", "pca")
_LEAST_WINDOW, _NO_PERIOD = 24, 125  # rows of a window, and those where no period was found
_SECOND = {"second level": "level", "second nearest": "nearest"}  # views in another window, and those they stand beside
_HELD = 0.25  # of each series, its end, for the threshold
_EPOCHS, _STEPS_AN_EPOCH = 4, 75
_CLIP = 20.0  # spreads; a value further away is no stranger
_STANDS_OUT = 1.5  # times what 99 % of the training rows stay below, in the same way: where in an alarm the event is
_MOST_KEPT = 2_000_000  # values of the training part, for the simple detectors
_FITTED_WITH = ("method", "window", "online", "variables", "series_id", "units")  # parameters that what was learned depends on


class AnomalyDetector(DetectorMixin, Pipeline):
    """Detect anomalies in time series by an LSTM autoencoder and two simpler views of the same windows.

    Parameters
    ----------
    method : str
        "auto" takes the mean of three views: what an LSTM autoencoder cannot write again, what the main shapes of windows leave,
        and how far the nearest training window is. "lstm-autoencoder" and "pca" take one of them alone, "lstm-forecaster" the
        error of a forecast of the next rows, as textbooks do.
    window : int or "auto"
        Rows of the autoencoder's window, rounded up to whole segments, twelve at most; "auto" takes the period of the series, at
        least 24, and 125 where there is none. The shapes are looked at in two such windows, the nearest one in four; but a third
        of the shortest series is the most, for the autoencoder before it is rounded up. Where `online`, both are looked at in one
        such window and with "auto" also in one of 100 rows; the autoencoder's is the longer of the two.
    online : bool
        Whether a row is judged by the latest windows before it alone. Otherwise by all windows that cover it, and smoothed over
        the 25 rows around it, so also by what comes after: right for looking back, not for alarms at once.
    contamination : float, optional
        The share of rows of normal data that may raise an alarm; none by default.
    variables : list, optional
        The columns to look at; all numeric ones by default.
    series_id : str, optional
        The column that names the series in a long DataFrame of many.
    units : int
        Size of the LSTMs' states.
    epochs : int, optional
        Epochs of 75 steps; 4 by default.
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
    threshold_ : float
        A score above it raises an alarm. It may be set, or found anew with `calibrate`; no label ever moves it.
    period_ : int
        Rows of the period found in the training part; 1 where there is none.
    windows_ : dict
        Rows of each view's window.
    model_ : torch.nn.Module
        The network; empty with "pca".
    history_ : list of dict
        One record an epoch.

    Notes
    -----
    Series are a DataFrame with one column a variable and time stamps as its index, a pandas Series, an array `(T,)` or `(T, C)`,
    a long DataFrame with `series_id`, or a list or dict of such. Scores come in the same kind, one a row. Missing stamps and
    values are repaired and counted in `notes_`; a row without any value has no score.

    `fit` takes normal data. A few anomalies in it do no harm: rows that stand out from it are left out of a second fit, and
    counted in `notes_`. Labels, if `fit` gets any, are not looked at. Series in a dict or a long DataFrame are scaled each by
    itself; those in a list, and new ones, by all of the training series together.

    Every window of the series is looked at by each view: an LSTM autoencoder over segments [1]_, a PCA of windows [2]_ of which
    only the shape counts (where `online`, their level, too), and the nearest training window. A view's error is averaged over
    the windows that cover a row and divided by what 99 % of the training part stay below; the score is the mean of the square
    roots. Where `online`, a row has the errors of the latest windows, of whole ones and of their newest quarter (for the network
    that alone), and of each view the highest of them counts: short faults stand out in the one, lasting ones in the other. The
    threshold lies a tenth above the highest score to be expected of normal data: between those of the training part,
    and those of its end by a second fit without it. `fit(…, valid=series)` takes normal data of one's own for that, and
    `valid=0` none.

    References
    ----------
    .. [1] P. Malhotra et al., "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection", arXiv:1607.00148.
    .. [2] Q. Liu and J. Paparrizos, "The Elephant in the Room: Towards A Reliable Time-Series Anomaly Detection Benchmark",
       NeurIPS 2024, where it beats most networks.

    Examples
    --------
    >>> wave = np.sin(np.arange(1000) / 5)
    >>> model = AnomalyDetector(epochs=1, verbose=0).fit(wave)
    >>> broken = wave[:400].copy()
    >>> broken[200:230] = 0
    >>> model.events(broken)["rows"].tolist() != []
    True
    """

    task: ClassVar[str] = "anomaly-detection"
    engine: ClassVar[str] = "torch"
    reader: ClassVar[str] = "monitored-series"

    def __init__(
        self,
        *,
        method: str = "auto",
        window: int | str = "auto",
        online: bool = False,
        contamination: float | None = None,
        variables: list[str] | None = None,
        series_id: str | None = None,
        units: int = 48,
        epochs: int | None = None,
        batch_size: int = 64,
        lr: float = 3e-3,
        seed: int = 0,
        device: str = "auto",
        verbose: int = 1,
    ) -> None:
        self.method = method
        self.window = window
        self.online = online
        self.contamination = contamination
        self.variables = variables
        self.series_id = series_id
        self.units = units
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    # ---------------------------------------------------------------- public
    def events(self, X: Any) -> pd.DataFrame:
        """List the alarms as events, with the variables to blame.

        Parameters
        ----------
        X : series
            In a kind that `fit` takes.

        Returns
        -------
        DataFrame
            A row an event: `series` (where there are several), `start`, `end` (its last row), `rows`, `peak`, `score` (at the
            peak) and `variables`, a list, first the one most to blame.

        Notes
        -----
        An alarm reaches as far as the windows that hold something strange. The event in it are the rows that even the least
        strange of the windows around them finds strange; where online, it is the alarm as it was raised.
        """
        self._ready()
        panel = self._inspect(X)
        scorer = self._scorer
        values = self._filled(panel)
        looked = [scorer.look(each) for each in values]
        scores = self._on_grid(panel, looked, scorer)
        alarms = [np.nan_to_num(score, nan=-np.inf) > self.threshold_ for score in scores]
        if not self.online:
            reach = min(view.window for view in scorer.views.values())
            alarms = [
                narrowed(alarm, scorer.least(each) > self.least_, reach) if alarm.any() else alarm
                for alarm, each in zip(alarms, looked, strict=True)
            ]
        return found_events(panel, alarms, scores, values, scorer)

    def calibrate(self, contamination: float | None = None) -> float:
        """Set the threshold for another share of false alarms, from the normal data that `fit` saw.

        Parameters
        ----------
        contamination : float, optional
            The share of rows of normal data that may raise an alarm. None leaves room of a tenth above all scores.

        Returns
        -------
        float
            The new `threshold_`.
        """
        self._ready()
        if contamination is not None:
            checks.number("contamination", contamination, 1e-9, 0.5)
        self.threshold_ = thresholds.threshold(self.own_scores_, self.held_scores_, contamination)
        return self.threshold_

    def update(self, x: Any, *, series: Any = None) -> Any:
        """Score the next row, or rows, of a series as they come: what `score_samples` would say with `online=True`.

        Parameters
        ----------
        x : number, array (C,) or (k, C), dict, Series or DataFrame
            The values of one row, or of k rows; NaN where one is missing, and a row of NaN where a time stamp is.
        series : str, int, optional
            Which series it is, where several are followed at once. One that `fit` saw under this name is scaled as there; a new
            one by all of the training series together, as everywhere, with a warning in case its name was mistyped.

        Returns
        -------
        float or ndarray
            One score a row; NaN until there are enough rows for a window. Compare with `threshold_`.

        Raises
        ------
        ParameterError
            If the model was not made with `online=True`, or parameters were changed since `fit`.
        """
        self._ready()
        self._check_unchanged()
        if not self.online:
            raise ParameterError("update() needs a model that looks at the past alone: AnomalyDetector(online=True).")
        rows, stream = read_rows(x, Form.from_dict(self.form_).variables), self._stream(series)
        center, scale = self._place(series)
        found = [stream.update(np.clip((row - center) / scale, -_CLIP, _CLIP)) for row in rows]
        return np.array(found) if np.ndim(x) == 2 else found[0]

    def restart(self) -> None:
        """Forget the rows that `update` was given: the next one is the first of a series."""
        self.__dict__.pop("_followed", None)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the detector to a folder, as every pipeline is; not where parameters were changed since `fit`."""
        self._ready()
        self._check_unchanged()
        return super().save(path)

    # ---------------------------------------------------------------- reading
    def _check(self) -> None:
        super()._check()
        checks.choice("method", self.method, METHODS)
        if self.window != "auto":
            checks.number("window", self.window, 2, integer=True)
        if not isinstance(self.online, (bool, np.bool_)):
            raise ParameterError(f"online must be True or False, but received {self.online!r}.")
        if self.contamination is not None:
            checks.number("contamination", self.contamination, 1e-9, 0.5)
        checks.number("units", self.units, 3, integer=True)
        if self.variables is not None and not isinstance(self.variables, (list, tuple)):
            raise ParameterError(f"variables must be a list of columns, but received {self.variables!r}.")

    def _check_unchanged(self) -> None:
        """Refuse to go on with a parameter that is no longer the one what was learned depends on."""
        for name, value in self.fitted_with_.items():
            if getattr(self, name) != value:
                raise ParameterError(
                    f"{name} was {value!r} when the model was fitted, but is {getattr(self, name)!r} now. Fit again, or set it "
                    f"back: set_params({name}={value!r})."
                )

    def _inspect(self, X: Any, *, train: bool = False) -> Panel:
        if not train:
            self._check_unchanged()
        like = None if train else Form.from_dict(self.form_)
        panel = Panel(*read(X, variables=self.variables, series_id=self.series_id, like=like))
        if train:
            self.form_: dict[str, Any] = panel.form.to_dict()
            self.fitted_with_ = {name: getattr(self, name) for name in _FITTED_WITH}
            self.notes_ += [f"In the training series: {note}" for note in panel.notes]
        return panel

    def _stream(self, series: Any) -> Stream:
        """Return what `update` knows of a series; what it knew under an earlier fit is forgotten."""
        model, streams = self.__dict__.get("_followed", (None, {}))
        if model is not self.model_:
            streams = {}
            self._followed = self.model_, streams
        if series not in streams:
            if series is not None and self.names_ and series not in self.names_:
                said = f"fit saw no series {series!r}, only {listed(self.names_)}: it is scaled by all of them together."
                warnings.warn(said, UserWarning, stacklevel=3)
            streams[series] = Stream(self._scorer)
        return streams[series]

    # ---------------------------------------------------------------- learning
    def _hold_out(self, X: Panel, y: Any, valid: Any) -> tuple[Panel, None, float | Panel]:
        """Leave the training part whole: what is held out of the second fit is a share of it, or series of their own."""
        if valid is None or (isinstance(valid, numbers.Real) and not isinstance(valid, bool)):
            share = _HELD if valid is None else float(valid)
            checks.number("valid", share, 0, 0.9)
            return X, None, share
        return X, None, self._inspect(valid[0] if isinstance(valid, tuple) and len(valid) == 2 else valid)

    def _learn(self, X: Panel, y: Any) -> None:
        rows, needed = min(X.lengths), planning.LEAST_ROWS if self.window == "auto" else 3 * int(self.window)
        if rows < needed:
            raise DataError(
                f"{X.named(int(np.argmin(X.lengths)))} has {rows} rows to learn from, but at least {needed}, three windows, are "
                "needed. Give a longer series, or choose a smaller window."
            )
        names = [one.name for one in X.series]
        self.names_ = [] if None in names else names
        found = [robust_center(values) for values in X.values] if self.names_ else []
        found.append(robust_center(np.concatenate(X.values)))  # the last row is for a series not known by name
        self.center_, self.scale_ = (np.stack(part) for part in zip(*found, strict=True))
        seen = [np.where(np.abs(values) < _CLIP, values, np.nan) for values in self._scaled(X)]  # absurd values hide a period
        self.period_ = planning.period_of(seen)
        self.windows_ = self._windows_for(rows)

    @property
    def _window(self) -> int:
        """Rows of a window, before it is made shorter for short series."""
        if self.window != "auto":
            return int(self.window)
        return max(_LEAST_WINDOW, self.period_) if self.period_ > 1 else _NO_PERIOD

    def _windows_for(self, rows: int) -> dict[str, int]:
        """Return the rows of each view's window for a shortest series of so many."""
        if not self.online:
            return planning.windows_for(self._window, rows)
        return planning.online_windows_for(self._window, rows, planning.SECOND_WINDOW if self.window == "auto" else self._window)

    def _build(self) -> Any:
        return self._network(self.windows_)

    def _network(self, windows: Mapping[str, int]) -> Any:
        from . import networks

        form = Form.from_dict(self.form_)
        common = {"variables": len(form.variables), "units": self.units}
        if "forecaster" in self._names:
            segment = planning.segment_of(windows["forecaster"])
            return networks.NextSegment(segment=segment, segments=windows["forecaster"] // segment, **common)
        if "autoencoder" in self._names:
            segment = planning.segment_of(windows["autoencoder"])
            return networks.SegmentAutoencoder(segment=segment, segments=windows["autoencoder"] // segment, **common)
        return networks.nn.Module()

    def _train(self, X: Panel, y: Any, valid: float | Panel, resume: Path | None) -> list[dict[str, Any]]:
        series = [gaps_filled(values, past=False) for values in self._scaled(X)]
        history, scorer = self._views(series, self.windows_, self.model_, resume)
        looked = scorer.settle(series)
        least = [scorer.least(each) for each in looked]
        self.least_ = _STANDS_OUT * float(np.nanquantile(np.concatenate(least), 0.99))
        normal, note = normal_part(series, least, scorer)
        self.notes_ += [note] if note else []
        if normal is not None:
            series, self.model_ = normal, self._build()
            history, scorer = self._views(series, self.windows_, self.model_, None if resume is None else resume / "again")
            looked = scorer.settle(series)
        self._keep(scorer, series)
        self.own_scores_ = thresholds.summary(np.concatenate([scorer.scores(each) for each in looked]))
        held = self._held(series, valid, None if resume is None else resume / "held")
        self.held_scores_ = thresholds.summary(np.concatenate([np.zeros(0), *held]))
        self.calibrate(self.contamination)
        return history

    def _views(
        self, series: Sequence[np.ndarray], windows: Mapping[str, int], model: Any, resume: Path | None
    ) -> tuple[list[dict[str, Any]], Scorer]:
        """Train the network and fit the other views on scaled series."""
        history: list[dict[str, Any]] = []
        views: dict[str, View] = {}
        for name in self._names:
            if name in ("nearest", "second nearest"):
                views[name] = NearestWindow.fit(series, windows[name])
            elif name in ("shape", "level", "second level"):
                views[name] = WindowPCA.fit(series, windows[name], shape=name == "shape")
            else:
                history = self._train_network(series, windows[name], model, resume)
                views[name] = self._network_view(windows[name], model)
        return history, Scorer(views, bool(self.online))

    def _network_view(self, window: int, model: Any) -> View:
        infer = partial(self._outputs_of, model)
        if "forecaster" in self._names:
            return Forecast(infer, window, planning.segment_of(window))
        return Reconstruction(infer, window)

    def _outputs_of(self, model: Any, windows: np.ndarray) -> np.ndarray:
        whole = windows.astype(np.float32)
        batches = data.Batches(lambda rows: whole[rows], len(whole), max(self.batch_size, 256))
        return self._engine.infer(model, batches, device=self.device_)

    def _train_network(self, series: Sequence[np.ndarray], window: int, model: Any, resume: Path | None) -> list[dict[str, Any]]:
        from . import networks

        ahead = planning.segment_of(window) if "forecaster" in self._names else 0
        windows = Windows(series, window, ahead)
        drawn = Drawn(windows)
        most = _STEPS_AN_EPOCH * self.batch_size
        batches = data.Batches(drawn.contexts, max(len(windows), most), self.batch_size, targets=drawn, seed=self.seed, draw=most)
        say(f"training on {len(windows)} windows of {window} rows, {self.device_.name}", self.verbose)
        digest = self._digest(self.form_)
        for values in series if resume is not None else ():
            digest.update(np.ascontiguousarray(values).tobytes())
        epochs = self.epochs or _EPOCHS
        with Progress(epochs, len(batches), verbose=self.verbose) as progress:
            found: list[dict[str, Any]] = self._engine.train(
                model,
                batches,
                valid=None,
                judge=lambda outputs, targets: {},  # nobody validates
                loss=networks.nn.SmoothL1Loss(),
                epochs=epochs,
                lr=self.lr,
                device=self.device_,
                on_epoch=progress.epoch,
                on_step=progress.step if progress.live else None,
                seed=self.seed,
                resume=None if resume is None else resume / "detector.npz",
                fingerprint=digest.hexdigest(),
            )
        return found

    def _held(self, series: Sequence[np.ndarray], valid: float | Panel, resume: Path | None) -> list[np.ndarray]:
        """Return the scores of normal data that were held out of a fit."""
        if isinstance(valid, Panel):
            found = self._scores(valid)
            if all(np.isnan(score).all() for score in found):
                raise DataError(
                    f"The series of the validation part have {max(valid.lengths)} rows at most, fewer than a window, "
                    f"{min(view.window for view in self._scorer.views.values())}, so no threshold can be found with them."
                )
            return found
        heads = [values[: len(values) - round(valid * len(values))] for values in series]
        rows = max(len(values) for values in heads)
        if not valid:
            return []
        if rows < planning.LEAST_ROWS:
            self.notes_.append("No part was held out for the threshold: the series are too short. It may be too low.")
            return []
        most = self._windows_for(rows)
        windows = {name: min(window, most[name]) for name, window in self.windows_.items()}
        history, scorer = self._views(heads, windows, self._network(windows), resume)
        scorer.settle(heads)
        if any(history[-1].get(what) for what in ("interrupted", "diverged") if history):
            self._warn("The second fit, for the threshold, ended early: the threshold may be too high.")
        return [scorer.score(values)[len(head) :] for values, head in zip(series, heads, strict=True)]

    def _keep(self, scorer: Scorer, series: Sequence[np.ndarray]) -> None:
        """Keep as facts what `_scorer` makes the views from, and the end of the training series for the simple detectors."""
        self.units_ = scorer.units
        for name, view in scorer.views.items():
            if isinstance(view, WindowPCA) and name in _SECOND:
                self.second_pca_mean_, self.second_pca_axes_ = view.mean, view.axes
            elif isinstance(view, WindowPCA):
                self.pca_mean_, self.pca_axes_ = view.mean, view.axes
            elif isinstance(view, NearestWindow) and name in _SECOND:
                self.second_known_windows_, self.second_known_places_ = view.known, view.places
            elif isinstance(view, NearestWindow):
                self.known_windows_, self.known_places_ = view.known, view.places
        rows = max(planning.LEAST_ROWS, _MOST_KEPT // series[0].shape[1] // len(series))
        kept = [values[-rows:] for values in series]
        self.training_, self.training_rows_ = np.concatenate(kept), [len(values) for values in kept]

    # ---------------------------------------------------------------- scores
    @property
    def _names(self) -> list[str]:
        """The views, by method."""
        pca = "level" if self.online else "shape"  # a z-score hides the level of what is newest
        names = {
            "auto": ["autoencoder", pca, "nearest"],
            "lstm-autoencoder": ["autoencoder"],
            "lstm-forecaster": ["forecaster"],
            "pca": [pca],
        }[self.method]
        second = [name for name, beside in _SECOND.items() if self.online and beside in names]
        return names + [name for name in second if self.windows_[name] != self.windows_[_SECOND[name]]]

    @property
    def _scorer(self) -> Scorer:
        return Scorer({name: self._kept_view(name) for name in self._names}, bool(self.online), self.units_)

    def _kept_view(self, name: str) -> View:
        match name:
            case "shape" | "level":
                return WindowPCA(self.pca_mean_, self.pca_axes_, name == "shape")
            case "second level":
                return WindowPCA(self.second_pca_mean_, self.second_pca_axes_, False)
            case "nearest":
                return NearestWindow(self.known_windows_, self.known_places_)
            case "second nearest":
                return NearestWindow(self.second_known_windows_, self.second_known_places_)
        return self._network_view(self.windows_[name], self.model_)

    def _place(self, name: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return center and scale of a series: its own where it was fitted on, otherwise those of all together."""
        row = self.names_.index(name) if name in self.names_ else -1
        return self.center_[row], self.scale_[row]

    def _scaled(self, panel: Panel) -> list[np.ndarray]:
        """Return the series in units of their spread, (T, C), with gaps left as they are."""
        places = [self._place(one.name) for one in panel.series]
        return [
            np.clip((one.values - center) / scale, -_CLIP, _CLIP)
            for one, (center, scale) in zip(panel.series, places, strict=True)
        ]

    def _scores(self, panel: Panel) -> list[np.ndarray]:
        """Return one score for each row the user gave, NaN where nothing was observed."""
        scorer = self._scorer
        scores = self._on_grid(panel, [scorer.look(each) for each in self._filled(panel)], scorer)
        return [one.given(score) for one, score in zip(panel.series, scores, strict=True)]

    def _filled(self, panel: Panel) -> list[np.ndarray]:
        """Return the scaled series without gaps."""
        return [gaps_filled(values, past=bool(self.online)) for values in self._scaled(panel)]

    def _on_grid(self, panel: Panel, looked: Sequence[Looked], scorer: Scorer) -> list[np.ndarray]:
        """Return one score a row of the grid from what the views found, NaN where nothing was observed."""
        least = min(view.window for view in scorer.views.values())
        short = [i for i, rows in enumerate(panel.lengths) if rows < least]
        if short:
            who, rows = panel.named(short[0]), panel.lengths[short[0]]
            more = f" So do {len(short) - 1} more series." if len(short) > 1 else ""
            said = f"{who} has {rows} rows, fewer than the {least} of a window: it gets no score and no alarm.{more}"
            warnings.warn(said, UserWarning, stacklevel=4)
        return [
            np.where(np.isnan(one.values).all(axis=1), np.nan, scorer.scores(each))
            for one, each in zip(panel.series, looked, strict=True)
        ]

    def _per_row(self, results: Sequence[np.ndarray], panel: Panel, X: Any, name: str) -> Any:
        return panel.form.per_row(results, panel.series, getattr(X, "index", None), name)

    def _marked(self, panel: Panel, scores: Sequence[np.ndarray], y: Any) -> dict[str, Any]:
        """Return the arguments of `metrics.anomaly` but for those about the simple detectors."""
        truth = read_labels(y, panel)
        alone = panel.form.container == "one"
        period = self.period_ if self.period_ > 1 else _NO_PERIOD
        stamps = [one.given(one.index) for one in panel.series]
        return {
            "y_true": _parts(truth, panel),
            "scores": _parts(scores, panel),
            "period": [max(1, min(period, len(one))) for one in truth],
            "names": None if alone else [f"series {i}" if one.name is None else one.name for i, one in enumerate(panel.series)],
            "times": None if any(one is None for one in stamps) else _parts(stamps, panel),
            "values": _parts([one.given(one.values) for one in panel.series], panel),
            "columns": [str(name) for name in panel.form.variables],
        }

    @property
    def _threshold_note(self) -> str:
        """Say where the threshold lies beside the scores of normal data."""
        above = f"{np.mean(self.own_scores_ > self.threshold_):.2%} of the training rows score higher"
        if len(self.held_scores_):
            above += f", and {np.mean(self.held_scores_ > self.threshold_):.2%} of those held out of a second fit"
        return f"Alarms are raised above {self.threshold_:.3g}: {above}. No label was looked at."

    def _judged(self, panel: Panel, scores: Sequence[np.ndarray], y: Any) -> dict[str, Any]:
        """Return the arguments of `metrics.anomaly`."""
        found = self._marked(panel, scores, y)
        ends = np.cumsum(self.training_rows_)[:-1]
        simple, limits = simple_detectors.all_of(
            np.split(self.training_, ends), self._filled(panel), self._window, online=bool(self.online), seed=self.seed
        )
        given = {name: [one.given(score) for one, score in zip(panel.series, each, strict=True)] for name, each in simple.items()}
        return {**found, "baselines": {name: _parts(each, panel) for name, each in given.items()}, "thresholds": limits}


def _parts(each: Sequence[Any], panel: Panel) -> Any:
    """Return what belongs to a series alone where it came alone, and a list otherwise."""
    return each[0] if panel.form.container == "one" else list(each)
