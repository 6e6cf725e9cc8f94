"""The contract every pipeline keeps: fit, predict, evaluate, score, save, load."""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from . import checks, engines, registry, store
from . import device as devices
from .data import Batches, fingerprints, split
from .errors import DataError, FormatError
from .report import Report

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Pipeline", "load"]

_NOT_SAVED = {"model_", "device_", "report_", "groups_"}  # names of patients and speakers stay in memory
_FEWEST_GROUPS = 4  # that a validation part is split off from


class Pipeline(BaseEstimator):
    """Raw samples in, predictions and a report out; the base of every task.

    A subclass supplies `__init__`, `_build` and `_batches`; a task mixin says what the network's outputs mean.
    There is no constructor here: parameters are keyword-only, plain JSON types, stored unchanged.

    Attributes
    ----------
    task, engine, reader : str
        The task's name, who computes ("keras" or "torch"), and the reader of `pipelines.data` its samples come from.
    pretrained : bool
        True where `predict` works before `fit`.
    model_ : object
        The network, after `fit` or `load`.
    history_ : list of dict
        One dict an epoch.
    notes_ : list of str
        What `fit` noticed or decided; every report repeats it.
    groups_ : frozenset of str
        The names that `fit` was given as `groups`; never saved.
    """

    task: ClassVar[str]
    engine: ClassVar[str]
    reader: ClassVar[str]
    pretrained: ClassVar[bool] = False

    notes_: list[str]
    epochs: int | None
    batch_size: int
    lr: float
    seed: int
    device: str
    verbose: int

    def __new__(cls, *args: Any, **params: Any) -> Self:
        """Refuse unknown parameter names with the one that was probably meant."""
        checks.parameter_names(cls, args, params)
        return super().__new__(cls)

    def __init_subclass__(cls, **options: Any) -> None:
        """Let `help()` show the constructor of a new pipeline, not the check in `__new__`."""
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__signature__ = checks.signature(cls)

    # ---------------------------------------------------------------- public
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        groups: Any = None,
        valid: Any = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Learn from samples; a call that fails leaves an earlier fit as it was.

        Parameters
        ----------
        X : sequence
            Samples.
        y : sequence, optional
            One label or target a sample.
        groups : sequence, optional
            One name a sample (its patient, its speaker): the samples of a group are all learned from, or all judge.
        valid : pair `(X, y)`, triple `(X, y, groups)` or float, optional
            Validation samples, or the share to split off (0 for none); 0.1 by default, without duplicates or groups torn apart.
        resume : path, optional
            A folder for checkpoints: every epoch is kept there, and the same call after a crash goes on from the last one.

        Returns
        -------
        Self
            The fitted pipeline.

        Raises
        ------
        DataError
            If samples or labels cannot be used, or a group is on both sides; the message names the first of them.
        DeviceError
            If the device asked for is not there.
        """
        X, y = self._samples(X, y)
        fresh = clone(self)
        fresh.notes_ = []
        if groups is not None:
            X, y, valid = fresh._hold_groups_out(X, y, groups, valid)
        started = time.perf_counter()
        fresh._fit(X, y, valid, None if resume is None else Path(resume))
        fresh.fit_seconds_ = time.perf_counter() - started
        for name in _learned(self):
            delattr(self, name)
        self.__dict__.update({name: getattr(fresh, name) for name in _learned(fresh)})
        return self

    def predict(self, X: Any) -> Any:
        """Predict one result a sample, in the order of `X`."""
        return self._decide(self._outputs(X))

    def evaluate(self, X: Any, y: Any = None, *, groups: Any = None) -> Report:
        """Compare predictions with the truth.

        Parameters
        ----------
        X, y : sequences
            Samples and their true labels or targets, not used in `fit`.
        groups : sequence, optional
            One name a sample; the report gets a row a group.

        Returns
        -------
        Report
            Metrics with intervals, tables, curves and the rows of the simple baselines.
        """
        self._ready()
        X, y = self._samples(X, y)
        y = self._targets(y)
        started = time.perf_counter()
        outputs = self._outputs(X)
        report = self._report(X, y, outputs, groups, self._context(time.perf_counter() - started))
        self.report_ = report
        return report

    def score(self, X: Any, y: Any = None) -> float:
        """Return the headline metric, larger is better, as scikit-learn's tools expect."""
        raise NotImplementedError("a task mixin defines the score")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the pipeline to a folder, at once or not at all.

        Parameters
        ----------
        path : path
            The folder. A saved pipeline there is replaced.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        DataError
            If the folder holds other things, cannot be written, or the disk is full.
        """
        self._ready()
        facts = {name: getattr(self, name) for name in _learned(self) if name not in _NOT_SAVED}
        arrays = {name: value for name, value in facts.items() if isinstance(value, np.ndarray)}
        manifest = {
            "task": self.task,
            "params": self.get_params(deep=False),
            "facts": {name: value for name, value in facts.items() if name not in arrays},
        }
        report = getattr(self, "report_", None)
        return store.write(
            path,
            manifest,
            arrays,
            lambda file: self._engine.save_weights(self.model_, file),
            report.to_dict() if report else None,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Self:
        """Read a saved folder; nothing in it is executed.

        Parameters
        ----------
        path : path
            A folder written by `save`.
        device : str
            Where to compute from now on; the saved device is forgotten.

        Returns
        -------
        Self
            The pipeline, ready to predict.

        Raises
        ------
        FormatError
            If the folder is damaged, altered, unsafe, of another task, or newer than this library.
        """
        manifest, arrays, weights, report = store.read(path)
        if manifest["task"] != cls.task:
            raise FormatError(f"{path} holds a pipeline for {manifest['task']!r}, not {cls.task!r}. Use pipelines.load.")
        return cls._restore(manifest, arrays, weights, report, device)

    # ---------------------------------------------------------------- what a domain supplies
    def _build(self) -> Any:
        """Make the network from parameters and learned facts; used by fit and load."""
        raise NotImplementedError

    def _batches(self, X: Any, y: Any = None, *, train: bool = False) -> Batches:
        """Turn raw samples into numpy batches, lazily."""
        raise NotImplementedError

    def _check(self) -> None:
        """Check parameter values; called at the start of fit, so that the constructor does no work."""
        self._check_use()
        if self.epochs is not None:
            checks.number("epochs", self.epochs, 1, integer=True)
        checks.number("lr", self.lr, 1e-12, 1e3)

    def _check_use(self) -> None:
        """Check the values of parameters that count after `fit`, too, as `set_params` may have changed them since."""
        checks.number("batch_size", self.batch_size, 1, integer=True)
        checks.number("verbose", self.verbose, 0, integer=True)

    def _samples(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        """Check the outer form of what a user passes; tasks whose input is no sequence of samples say what theirs is."""
        return checks.samples(X, y)

    def _inspect(self, X: Any, *, train: bool = False) -> Any:
        """Check every sample before work starts; in training also learn how to read them. May return a quicker form of `X`."""
        return X

    # ---------------------------------------------------------------- what a task mixin supplies
    def _targets(self, y: Any) -> Any:
        """Check true labels or targets against what was learned, and return them in their comparable form."""
        raise NotImplementedError

    def _hold_groups_out(self, X: Any, y: Any, groups: Any, valid: Any) -> tuple[Any, Any, Any]:
        """Split whole groups off, or see that those of a given validation part are others."""
        names = checks.groups(groups, len(X))
        self.groups_ = frozenset(names)
        if isinstance(valid, (tuple, list)):
            if len(valid) == 3:
                self._check_groups_apart(checks.groups(valid[2], len(valid[0]), "The third part of valid"), "the validation part")
            return X, y, tuple(valid[:2])
        share = 0.1 if valid is None else valid
        checks.number("valid", share, 0, 0.9)
        if not share:
            return X, y, 0.0
        if len(self.groups_) < _FEWEST_GROUPS:
            self.notes_.append(f"No validation part: {len(self.groups_)} groups are too few to split.")
            return X, y, 0.0
        X, X_valid, y, y_valid = split(X, y, test=share, groups=names, seed=self.seed)
        return X, y, (X_valid, y_valid)

    def _check_groups_apart(self, names: Sequence[str], part: str) -> None:
        for i, name in enumerate(names):
            if name in getattr(self, "groups_", ()):
                raise DataError(
                    f"The group {name!r} of sample {i} of {part} is in the training part, too, so that the figures would be too "
                    "good. Keep each group (patient, speaker) on one side: data.split(X, y, groups=groups)."
                )

    def _clusters(self, patients: Any, n: int) -> list[str] | None:
        """Return the patient of each sample that is judged, none of whom may have been learned from."""
        if patients is None:
            return None
        names = checks.groups(patients, n, "patients")
        self._check_groups_apart(names, "X")
        return names

    def _hold_out(self, X: Any, y: Any, valid: Any) -> tuple[Any, Any, Any]:
        """Return the training part `X, y` and the validation pair or None."""
        raise NotImplementedError

    def _learn(self, X: Any, y: Any) -> None:
        """Set the facts learned from the training part alone."""
        raise NotImplementedError

    def _train(self, X: Any, y: Any, valid: Any, resume: Path | None) -> list[dict[str, Any]]:
        """Train `model_` and return the history."""
        raise NotImplementedError

    def _decide(self, outputs: np.ndarray) -> Any:
        """Turn the network's outputs into predictions."""
        raise NotImplementedError

    def _report(self, X: Any, y: Any, outputs: np.ndarray, groups: Any, context: dict[str, Any]) -> Report:
        raise NotImplementedError

    # ---------------------------------------------------------------- shared machinery
    @property
    def _engine(self) -> "ModuleType":
        return engines.engine(self.engine)

    def _ready(self) -> None:
        """See that there is a network; a `pretrained` pipeline makes its own where `fit` has not been called."""
        check_is_fitted(self, "model_")
        self._check_use()

    @classmethod
    def _resolve(cls, device: str) -> devices.Device:
        """Resolve a device; a framework that is missing is named with the extra of the task's domain."""
        engines.load_framework(cls.engine, extra=registry.TASKS.get(cls.task, "").partition(".")[0] or None)
        return devices.resolve(device, cls.engine)

    def _fit(self, X: Any, y: Any, valid: Any, resume: Path | None) -> None:
        self._check()
        self.device_ = self._resolve(self.device)
        with devices.seeded(self.seed, self.engine), self.device_.scope():
            X = self._inspect(X, train=True)
            X, y, valid = self._hold_out(X, y, valid)
            self._learn(X, y)
            self.model_ = self._build()
            self.history_ = self._train(X, y, valid, resume)
        if not self.history_:  # there was nothing to train
            return
        done = f"after {len(self.history_)} epoch{'s' if len(self.history_) > 1 else ''}"
        if self.history_[-1].get("interrupted"):
            self._warn(f"Training was interrupted {done}; the best weights so far are kept.")
        if self.history_[-1].get("diverged"):
            self._warn(f"The loss was no longer a number {done}; the best weights before are kept. Try a smaller lr.")

    def _digest(self, facts: Any) -> Any:
        """Begin the hash that says what a checkpoint was made from: with the parameters that matter, and plain facts."""
        params = {name: value for name, value in self.get_params().items() if name not in ("device", "verbose")}
        return hashlib.sha256(json.dumps([params, facts], sort_keys=True, default=str).encode())

    def _fingerprint_of(self, facts: Any, *parts: tuple[Any, np.ndarray]) -> str:
        """Identify parameters, facts, samples and labels, so that a checkpoint is never continued with others."""
        digest = self._digest(facts)
        for X, y in parts:
            digest.update(b"".join(fingerprints(X)) + y.tobytes())
        return str(digest.hexdigest())

    def _warn(self, note: str) -> None:
        self.notes_.append(note)
        warnings.warn(note, UserWarning, stacklevel=4)

    def _outputs(self, X: Any) -> np.ndarray:
        self._ready()
        X, _ = self._samples(X)
        return self._infer(self._inspect(X))

    def _infer(self, X: Any) -> np.ndarray:
        return self._engine.infer(self.model_, self._batches(X), device=self.device_)

    def _context(self, seconds: float) -> dict[str, Any]:
        return {
            "parameters": self.get_params(deep=False),
            "device": self.device_.name,
            "predict_seconds": round(seconds, 3),
            "fit_seconds": round(self.fit_seconds_, 3),
            "versions": store.versions(),
        }

    @classmethod
    def _restore(cls, manifest: dict[str, Any], arrays: dict[str, np.ndarray], weights: Path, report: Any, where: str) -> Self:
        device = cls._resolve(where)  # a device that is not there is no fault of the folder
        try:
            self = cls(**{**manifest["params"], "device": where})
            self.device_ = device
            self._check()
            for name, value in {**manifest["facts"], **arrays}.items():
                if not name.endswith("_") or name.startswith("_") or hasattr(cls, name) or name in _NOT_SAVED:
                    raise FormatError(f"The saved fact {name!r} is none a pipeline learns; nothing was loaded.")
                setattr(self, name, value)
            with devices.seeded(0, cls.engine), self.device_.scope():
                model = self._build()
                self._engine.load_weights(model, weights)
        except FormatError:
            raise
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise FormatError(
                f"{weights.parent} does not fit this version of {cls.__name__} ({error}); nothing was loaded."
            ) from error
        self.model_ = model
        if report is not None:
            self.report_ = Report.from_dict(report)
        return self


def load(path: str | os.PathLike[str], *, device: str = "auto") -> Any:
    """Load a saved pipeline of any task.

    Parameters
    ----------
    path : path
        A folder written by `save`.
    device : str
        `"auto"`, `"cpu"`, `"gpu"` or `"gpu:1"`.

    Returns
    -------
    Pipeline
        Of the class the folder's task names in the registry.

    Raises
    ------
    FormatError
        If the folder is damaged, altered, unsafe or newer than this library.

    Examples
    --------
    >>> from pipelines import load
    >>> load("photos-model/").predict(["new.jpg"])  # doctest: +SKIP
    array(['cat'], dtype='<U3')
    """
    manifest, arrays, weights, report = store.read(path)
    if manifest["task"] not in registry.TASKS:
        raise FormatError(f"{path} holds a pipeline for the task {manifest['task']!r}, which this version does not know.")
    return registry.pipeline_class(manifest["task"])._restore(manifest, arrays, weights, report, device)


def _learned(estimator: Pipeline) -> list[str]:
    """Return the names of what `fit` learned: public attributes that end in an underscore."""
    return [name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")]
