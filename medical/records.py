"""`RecordClassifier`: from tables of patients, with gaps and columns of every kind, to diseases, probabilities and a report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.special import expit, log_softmax, softmax

from pipelines import baselines, checks, data
from pipelines.base import Pipeline
from pipelines.errors import DataError, ParameterError
from pipelines.progress import Progress, say
from pipelines.report import Report
from pipelines.tasks import ClassifierMixin

from . import boosting, columns
from .notes import RESEARCH
from .patients import judged

__all__ = ["RecordClassifier"]

MODELS = ("boosting", "network")

_ROUNDS, _EPOCHS = 500, 60  # the most, where `epochs` is None
_SHARE = 0.3  # of the columns that a split of a tree chooses among
_SLOWER = 25  # the network's learning rate is so much smaller than that of boosting
_EMBEDDING = 8  # numbers that stand for a column in the network
_DECAY = 0.05  # of its weights
_FEWEST = 20  # rows; from fewer none is held out
_SHOWN = 50  # rounds between two lines of progress

_PRIVATE = "A saved model holds no records, but names of columns, and of categories that at least two patients share."

Rows = tuple[pd.DataFrame, np.ndarray]
Part = tuple[Rows, Rows | None]


class RecordClassifier(ClassifierMixin, Pipeline):
    """Predict diseases from patients' records: numbers, categories and gaps, with boosted trees or a neural network.

    Several models learn, each from all but one fold of the rows; their mean predicts. What each says of the rows it has not seen
    chooses the number of rounds or epochs, and makes the scores probabilities. For research; not a medical device.

    Parameters
    ----------
    model : str
        `"boosting"`: small trees, one after the other [1]_, in a second; or `"network"`: embeddings of all columns and a
        multilayer perceptron [2]_, which takes some seconds, and also several labels a patient.
    missing : dict of str to list, optional
        Values of a column that stand for missing ones, such as `{"glucose": [0], "thal": ["?"]}`. Empty cells, NaN, None and
        `pd.NA` are missing in any case.
    codes : list of str, optional
        Columns whose numbers are codes (kinds of chest pain, wards), and so categories.
    class_weight : "balanced" or dict, optional
        Weight of each class in the loss.
    folds : int
        Models, and folds that one of them each does not learn from. 1 trains one model, and holds a tenth out. Where `fit` is
        given `valid`, that judges one model, too.
    leaves : int
        Leaves of a tree; more suit tables with many thousand rows.
    units : int
        Size of the network's two hidden layers.
    dropout : float
        Share of the network's units that are switched off in training.
    epochs : int, optional
        The most rounds of boosting, 500 by default, or epochs of the network, 60 by default; the best of them by the rows held
        out is kept.
    batch_size : int
        Rows a step of the network; of boosting in prediction alone.
    lr : float
        How much each tree counts; the network's highest learning rate is a twenty-fifth of it.
    seed : int
        Of everything random; the same seed gives the same model on a CPU.
    device : str
        `"auto"`, `"cpu"`, `"gpu"` or `"gpu:1"`. Trees grow on the processor.
    verbose : int
        0 writes nothing.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted.
    columns_ : dict
        What is learned from: each column's kind, `"number"` with median and scale, or `"category"` with its levels.
    model_ : torch.nn.Module
        The trees as plain arrays, or the networks.
    rounds_, members_, size_ : int, int, dict
        Rounds of boosting that are kept; models that `model_` is the mean of; sizes of the trees' arrays.
    history_ : list of dict
        One record a round, with the means over all folds, or one an epoch of each network, with its `fold`.

    Notes
    -----
    Samples are the rows of a DataFrame, dicts, or the rows of a numeric array. Texts that all read as numbers are numbers, and
    so are booleans. Left out, with a note, are columns that are empty, the same in all rows, or different in each, as names and
    identifiers are, those called an id, and texts of more than 50 kinds. A category that fewer than two training rows have, or
    fewer than two of the `groups` where `fit` is given patients as such and makes folds, counts as missing and is not stored: a
    saved model holds no text of a single patient. It does hold medians and thresholds, each between the numbers of two patients.
    Boosting takes seconds, and so ignores `resume`.

    References
    ----------
    .. [1] Friedman (2001), "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics 29(5); grown on
       histograms by scikit-learn's `HistGradientBoostingClassifier`.
    .. [2] Gorishniy, Rubachev, Babenko (2022), "On Embeddings for Numerical Features in Tabular Deep Learning",
       arXiv:2203.05556.

    Examples
    --------
    >>> ages, cough = [30, 35, 40, 62, 70, 75] * 8, ["no", None, "yes", "yes", "yes", "no"] * 8
    >>> X = pd.DataFrame({"age": ages, "cough": cough})
    >>> model = RecordClassifier(verbose=0).fit(X, ["ill" if age > 50 else "well" for age in ages])
    >>> model.predict([{"age": 33, "cough": None}, {"age": 71, "cough": "yes"}])
    array(['well', 'ill'], dtype='<U4')
    """

    task: ClassVar[str] = "record-classification"
    engine: ClassVar[str] = "torch"
    reader: ClassVar[str] = "records"

    columns_: columns.Columns
    _names: list[str] | None = None  # of the groups, while it learns

    def __init__(
        self,
        *,
        model: str = "boosting",
        missing: dict[str, list[Any]] | None = None,
        codes: list[str] | None = None,
        class_weight: str | dict[str, float] | None = None,
        folds: int = 5,
        leaves: int = 4,
        units: int = 64,
        dropout: float = 0.3,
        epochs: int | None = None,
        batch_size: int = 32,
        lr: float = 0.05,
        seed: int = 0,
        device: str = "auto",
        verbose: int = 1,
    ) -> None:
        self.model = model
        self.missing = missing
        self.codes = codes
        self.class_weight = class_weight
        self.folds = folds
        self.leaves = leaves
        self.units = units
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def evaluate(self, X: Any, y: Any = None, *, groups: Any = None, patients: Any = None) -> Report:
        """Compare predictions with the truth.

        Parameters
        ----------
        X, y : sequences
            Records and their true labels, not used in `fit`.
        groups : sequence, DataFrame or dict, optional
            One name a record, or several columns of such names (hospital, sex, age group); the report gets a row a group.
        patients : sequence, optional
            One name a record: intervals are by patients, and none may have been among the `groups` of `fit`.

        Returns
        -------
        Report
            See `pipelines.metrics.classification`, with a logistic regression on the same columns among the baselines.

        Raises
        ------
        DataError
            If records or labels cannot be used, or a patient was learned from; the message names the first.
        """
        return judged(self, X, y, groups, patients)

    def feature_importance(self, X: Any, y: Any, *, repeats: int = 5) -> pd.DataFrame:
        """Say what the model looks at: how much the area under the ROC curve falls when a column is shuffled [1]_.

        Of two columns that say the same, neither may seem important. It says nothing of causes.

        Parameters
        ----------
        X, y : sequences
            Records and their true labels, better not those of `fit`.
        repeats : int
            How often each column is shuffled.

        Returns
        -------
        DataFrame
            A row a column, the most important first: `importance`, the mean fall of the area (with more than two classes, of the
            mean over the classes), and `std`, its standard deviation.

        Raises
        ------
        DataError
            If there is no class that some records have and others have not.

        References
        ----------
        .. [1] Breiman (2001), "Random Forests", Machine Learning 45(1).

        Examples
        --------
        >>> ages, wards = [30, 35, 40, 62, 70, 75] * 8, list("aabb") * 12
        >>> X, y = pd.DataFrame({"age": ages, "ward": wards}), [age > 50 for age in ages]
        >>> RecordClassifier(verbose=0).fit(X, y).feature_importance(X, y).index.tolist()
        ['age', 'ward']
        """
        self._ready()
        checks.number("repeats", repeats, 1, integer=True)
        X, y = self._samples(X, y)
        frame, truth = self._inspect(X), self._present(self._targets(y))
        if not (np.ptp(truth, axis=0) > 0).any():
            raise DataError("All records have the same label, so no column can tell them apart. Give records of several classes.")
        whole, rng = self._area(frame, truth), np.random.default_rng(self.seed)
        found = {}
        for name in frame.columns:
            shuffled = [frame[name].to_numpy()[rng.permutation(len(frame))] for _ in range(repeats)]
            found[name] = [whole - self._area(frame.assign(**{name: cells}), truth) for cells in shuffled]
        table = pd.DataFrame(
            {
                "importance": {name: np.mean(falls) for name, falls in found.items()},
                "std": {n: np.std(f) for n, f in found.items()},
            }
        )
        return table.sort_values("importance", ascending=False, kind="stable").rename_axis("column")

    # ---------------------------------------------------------------- the three a pipeline supplies
    def _build(self) -> Any:
        from . import record_networks as networks

        if self.model == "boosting":
            return networks.TreeEnsemble(**self.size_, classes=len(self.classes_))
        encoder = self._encoder
        sizes: dict[str, Any] = {
            "embedding": _EMBEDDING,
            "units": self.units,
            "dropout": self.dropout,
            "classes": len(self.classes_),
        }
        levels = [len(known) for known in encoder.levels.values()]
        members = [networks.RecordNetwork(numbers=len(encoder.numbers), levels=levels, **sizes) for _ in range(self.members_)]
        return networks.Ensemble(members)

    def _batches(self, X: Any, y: np.ndarray | None = None, *, train: bool = False) -> data.Batches:
        seed = self.seed if train else None
        if self.model == "boosting":
            cells = self._encoder.one_hot(X)
            return data.Batches(lambda rows: cells[rows], len(X), self.batch_size, targets=y, seed=seed)
        numbers, codes = self._encoder.scaled(X), self._encoder.codes(X)
        return data.Batches(
            lambda rows: {"numbers": numbers[rows], "codes": codes[rows]}, len(X), self.batch_size, targets=y, seed=seed
        )

    # ---------------------------------------------------------------- reading
    @property
    def _encoder(self) -> columns.Encoder:
        return columns.Encoder(self.columns_)

    def _check(self) -> None:
        super()._check()
        checks.choice("model", self.model, MODELS)
        columns.check_missing(self.missing)
        if self.codes is not None and (isinstance(self.codes, str) or not all(isinstance(name, str) for name in self.codes)):
            raise ParameterError(f"codes must be a list of columns, as in ['ward'], but is {self.codes!r}.")
        checks.number("folds", self.folds, 1, 100, integer=True)
        checks.number("leaves", self.leaves, 2, 10_000, integer=True)
        checks.number("units", self.units, 1, integer=True)
        checks.number("dropout", self.dropout, 0, 0.95)

    def _samples(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        if isinstance(X, Mapping):
            raise DataError(
                "X must be a sequence of records, but received a dict. One record goes into a list, [X]; a dict of columns "
                "becomes a table: pandas.DataFrame(X)."
            )
        return checks.samples(X, y)

    def _inspect(self, X: Any, *, train: bool = False) -> pd.DataFrame:
        if not train:
            return columns.read(X, self.missing, self.columns_)
        frame = columns.read(X, self.missing)
        self.columns_, notes = columns.learn_kinds(frame, self.codes)
        self.notes_ += [RESEARCH, _PRIVATE, *notes]
        return frame[list(self.columns_)]

    # ---------------------------------------------------------------- folds
    def _hold_groups_out(self, X: Any, y: Any, groups: Any, valid: Any) -> tuple[Any, Any, Any]:
        if valid is not None or self.folds == 1:
            return super()._hold_groups_out(X, y, groups, valid)
        self._names = checks.groups(groups, len(X))
        self.groups_ = frozenset(self._names)
        return X, y, None

    def _hold_out(self, X: Any, y: Any, valid: Any) -> tuple[Any, np.ndarray, Any]:
        """Split a validation part off, or, where none is asked for, make the folds and keep all rows."""
        in_folds = valid is None and self.folds > 1
        X, codes, valid = super()._hold_out(X, y, 0.0 if in_folds else valid)
        if self.model == "boosting" and self.multilabel_:
            raise ParameterError("model='boosting' is for one label a patient, but y has several. Choose model='network'.")
        self._held = self._made_folds(X, codes) if in_folds else []
        return X, codes, valid

    def _made_folds(self, X: pd.DataFrame, codes: np.ndarray) -> list[np.ndarray]:
        """Return the rows of each fold: copies and groups are in one, and classes in proportion."""
        left = np.arange(len(X))
        groups = None if self._names is None else np.array(self._names)
        count = self.folds if groups is None else min(self.folds, len(set(groups.tolist())))
        if len(X) < _FEWEST or count < 2:
            why = f"{len(X)} rows" if count > 1 else "one group"
            self._note(f"Nothing was held out: {why} cannot be split, so all rounds are kept, and probabilities may be too sure.")
            return []
        found = []
        try:
            for parts in range(count, 1, -1):
                y = pd.DataFrame(codes[left], left) if codes.ndim == 2 else pd.Series(codes[left], left)
                names = None if groups is None else groups[left]
                _, _, rest, held = data.split(X.iloc[left], y, test=1 / parts, groups=names, seed=self.seed)
                found.append(held.index.to_numpy())
                left = rest.index.to_numpy()
        except DataError as error:  # copies tie what is left together
            self._note(f"{len(found) + 1} folds instead of {count}. {error}")
        return [held for held in [*found, left] if self._can_do_without(held, codes)]

    def _can_do_without(self, held: np.ndarray, codes: np.ndarray) -> bool:
        """Whether without a fold there are still rows of two classes; several labels a patient need none of each."""
        rest = np.delete(codes, held, axis=0)
        return len(rest) > 0 and (codes.ndim == 2 or len(np.unique(rest)) > 1)

    def _learn(self, X: pd.DataFrame, y: np.ndarray) -> None:
        super()._learn(X, y)
        self.columns_, notes = columns.learn(X, self.columns_, self._names)
        self.notes_ += notes
        self.members_, self.rounds_ = max(1, len(self._held)), 0
        self.size_ = {"nodes": 0, "trees": 0, "depth": 0}

    # ---------------------------------------------------------------- training
    def _train(self, X: pd.DataFrame, y: np.ndarray, valid: Any, resume: Path | None) -> list[dict[str, Any]]:
        say(f"training {self.model} on {len(X)} rows and {len(self.columns_)} columns, {self.device_.name}", self.verbose)
        self.baseline_coef_, self.baseline_intercept_ = baselines.fit_linear(
            self._encoder.linear(X), y, len(self.classes_), weights=self._class_weights()
        )
        parts: list[Part] = [((X, y), valid)]
        if self._held:
            rests = [np.delete(np.arange(len(X)), held) for held in self._held]
            parts = [((X.iloc[rest], y[rest]), (X.iloc[held], y[held])) for rest, held in zip(rests, self._held, strict=True)]
        if self.model == "boosting":
            history, outputs = self._boost(parts)
        else:
            history, outputs = self._train_networks(parts, resume)
        if outputs:
            truth = [held[1] for _, held in parts if held is not None][: len(outputs)]
            self._calibrate_on(np.concatenate(outputs), np.concatenate(truth))
        return history

    def _boost(self, parts: Sequence[Part]) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """Grow a model a part, keep the rounds that are best for all of them, and take the trees out into the network."""
        rounds, weights, encode = self.epochs or _ROUNDS, self._class_weights(), self._encoder.one_hot
        train = [(encode(X), y) for (X, y), _ in parts]
        held = [(encode(part[0]), part[1]) for _, part in parts if part is not None]
        options: dict[str, Any] = {"rounds": rounds, "lr": self.lr, "leaves": self.leaves, "columns": _SHARE}
        members = [boosting.grow(X, y, weights, **options, seed=self.seed + i) for i, (X, y) in enumerate(train)]
        history: list[dict[str, Any]] = []
        outputs: list[np.ndarray] = []
        for loss, accuracy, _ in self._stages(members, train):
            history.append({"epoch": len(history) + 1, "loss": loss, "accuracy": accuracy})
        self.rounds_, best = rounds, np.inf
        for record, (loss, accuracy, scores) in zip(history, self._stages(members, held) if held else (), strict=bool(held)):
            record.update(val_loss=loss, val_accuracy=accuracy)
            if loss < best:
                best, self.rounds_, outputs = loss, record["epoch"], scores
        if held and self.rounds_ == rounds:
            self._note(f"The last of {rounds} rounds was the best for the rows held out: more epochs may be better.")
        self._plant(*boosting.arrays(members, self.rounds_))
        progress = Progress(rounds, 1, verbose=self.verbose)
        for record in history:
            if record["epoch"] % _SHOWN == 0 or record["epoch"] in (1, rounds):
                progress.epoch(record)
        return history, outputs

    def _stages(
        self, members: Sequence[boosting.Boosted], parts: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[float, float, list[np.ndarray]]]:
        """Yield loss, accuracy and the scores after each round, each member on its own part."""
        y, weights = np.concatenate([labels for _, labels in parts]), self._class_weights()
        for stages in zip(*(member.staged(X) for member, (X, _) in zip(members, parts, strict=True)), strict=True):
            scores = np.concatenate(stages)
            losses = -log_softmax(scores, axis=1)[np.arange(len(y)), y]
            loss, accuracy = np.average(losses, weights=weights[y]), np.mean(np.argmax(scores, axis=1) == y)
            yield float(loss), float(accuracy), list(stages)

    def _plant(self, arrays: dict[str, np.ndarray], depth: int) -> None:
        """Make the network anew, as large as the trees are, and put them in."""
        self.size_ = {"nodes": len(arrays["value"]), "trees": len(arrays["root"]), "depth": depth}
        self.model_ = self._build()
        self.model_.fill(arrays)

    def _train_networks(self, parts: Sequence[Part], resume: Path | None) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """Train a network a part, one after the other; after Ctrl-C those that have begun are kept."""
        history: list[dict[str, Any]] = []
        outputs: list[np.ndarray] = []
        for fold, (member, (train, held)) in enumerate(zip(self.model_.members, parts, strict=True), 1):
            say(f"fold {fold} of {len(parts)}", self.verbose)
            try:
                records = self._train_network(member, train, held, None if resume is None else resume / f"fold{fold}.npz")
            except KeyboardInterrupt:  # in the first epoch
                if not history:
                    raise
                history[-1]["interrupted"] = True
                self.members_ = fold - 1
                break
            history += [{**record, "epoch": len(history) + record["epoch"], "fold": fold} for record in records]
            self.members_ = fold
            if held is not None:
                outputs.append(self._engine.infer(member, self._batches(held[0]), device=self.device_))
            if history[-1].get("interrupted"):
                break
        self.model_.members = self.model_.members[: self.members_]
        return history, outputs

    def _train_network(self, member: Any, train: Rows, held: Rows | None, resume: Path | None) -> list[dict[str, Any]]:
        from pipelines.engines import losses

        epochs, batches = self.epochs or _EPOCHS, self._batches(*train, train=True)
        with Progress(epochs, len(batches), verbose=self.verbose) as progress:
            return self._engine.train(
                member,
                batches,
                valid=None if held is None else self._batches(*held),
                judge=self._judge,
                loss=losses.ClassWeightedLoss(self._class_weights(), self.multilabel_),
                epochs=epochs,
                lr=self.lr / _SLOWER,
                device=self.device_,
                on_epoch=progress.epoch,
                on_step=progress.step if progress.live else None,
                weight_decay=_DECAY,
                patience=max(5, epochs // 4),
                seed=self.seed,
                resume=resume,
                fingerprint="" if resume is None else self._fingerprint(train, *([] if held is None else [held])),
            )

    def _fingerprint(self, *parts: Rows) -> str:
        """Identify parameters, rows and labels, so that a checkpoint is never continued with others."""
        return self._fingerprint_of([self.classes_.tolist(), self.columns_], *parts)

    # ---------------------------------------------------------------- outputs
    def _present(self, codes: np.ndarray) -> np.ndarray:
        """Return an indicator (n, k) of the classes."""
        return codes if self.multilabel_ else np.eye(len(self.classes_))[codes]

    def _area(self, frame: pd.DataFrame, truth: np.ndarray) -> float:
        """Return the area under the ROC curve, the mean over the classes that some rows have and others have not."""
        from sklearn.metrics import roc_auc_score

        proba = self._proba(self._infer(frame))
        both = np.flatnonzero(np.ptp(truth, axis=0) > 0)
        return float(np.mean([roc_auc_score(truth[:, k], proba[:, k]) for k in both]))

    def _baselines(self, X: Any) -> dict[str, np.ndarray]:
        cells = self._encoder.linear(X)
        scores = baselines.linear_scores(cells, self.baseline_coef_, self.baseline_intercept_)
        proba = expit(scores) if self.multilabel_ else softmax(scores, axis=1)
        return {**super()._baselines(X), "logistic regression": proba}

    def _report(self, X: Any, y: np.ndarray, outputs: np.ndarray, groups: Any, context: dict[str, Any], **more: Any) -> Report:
        report = super()._report(X, y, outputs, groups, context, **more)
        said = [
            f"{count} values of the column {name!r} were had by fewer than two training rows, and count as missing."
            for name, count in columns.unseen(X, self.columns_).items()
        ]
        return replace(report, notes=(*report.notes, *said))
