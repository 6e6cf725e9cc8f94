"""Classification: labels of every kind, probabilities, decisions and their report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit, log_softmax, softmax
from sklearn.utils import _safe_indexing

from .. import checks, data, metrics
from ..errors import DataError, ParameterError
from ..report import Example, Report
from .abstention import confidence_limit, refusal

__all__ = ["ClassifierMixin", "best_temperature", "is_multilabel"]

_RISKS = (0.01, 0.05, 0.1)  # at which a report says how many samples would be answered
_SHOWN = 12  # mistakes with picture or text in the HTML report
_LONGEST = 2000  # letters of a text that a report keeps: with a hundred long documents it must still be a small file


class ClassifierMixin:
    """Classes and probabilities; labels in two dimensions, or sets of labels, mean that several classes can be true at once.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted, in the kind they came in; the columns of every probability.
    multilabel_ : bool
        True where a sample can have several labels or none.
    class_prior_ : ndarray
        Share of each class in the training part; the "majority class" baseline predicts it.
    temperature_ : float
        What the network's scores are divided by before they become probabilities, chosen on the validation part so that a
        probability of 0.8 is right in 80 % of cases [1]_; 1 without a validation part.
    threshold_ : ndarray
        Multi-label only: the probability from which each label counts as present, chosen on the validation part.
    calibration_ : ndarray, (n, 2)
        One label a sample: the confidence of the answers to the validation part, or to the samples of the last `calibrate`, the
        surest first, and 1 where the answer was right. What `abstain` is worked out from; not there without such samples.

    References
    ----------
    .. [1] Berta, Holzmüller, Jordan, Bach (2025), "Rethinking Early Stopping: Refine, Then Calibrate", arXiv:2501.19195: the
       best epoch is the one with the smallest validation loss *after* the temperature is fitted.
    """

    def predict(self, X: Any, *, abstain: float | None = None) -> np.ndarray:
        """Predict one label a sample, in the order of `X`, or nothing where the model would rather not say.

        Parameters
        ----------
        X : sequence
            Samples.
        abstain : float, optional
            The largest share of wrong answers, say 0.05. The least sure samples then get None instead of a label, so that of the
            answers that are given no more are wrong; with 95 % probability over the samples the model was calibrated on. Only
            for one label a sample. Strictly, the guarantee needs `calibrate`: the validation part also chose the best epoch.

        Returns
        -------
        ndarray
            Labels in the kind they came in; with `abstain` of dtype object. Several labels: a 0/1 indicator.

        Raises
        ------
        DataError
            If so small a share cannot be guaranteed, with the one that can be and how many samples it would take; or if there
            was no validation part.

        Notes
        -----
        Selective classification with guaranteed risk (Geifman and El-Yaniv, 2017, arXiv:1705.08500), see
        `pipelines.tasks.abstention`. It holds for samples like those of the calibration, which have to be independent of each
        other (one scan a patient), and in the mean over all answers, not for each class.

        Examples
        --------
        >>> model.calibrate(X_held, y_held).predict(X, abstain=0.05)  # doctest: +SKIP
        array(['cat', None, 'dog'], dtype=object)
        """
        if abstain is None:
            return super().predict(X)  # type: ignore[misc]
        self._limit(abstain)  # before the work
        return self.decide(self.predict_proba(X), abstain=abstain)

    def calibrate(self, X: Any, y: Any) -> Self:
        """Fit anew what makes scores probabilities and decisions; the network stays as it is.

        Parameters
        ----------
        X, y : sequences
            Samples that were not learned from, and their labels, such as those the model will meet.

        Returns
        -------
        Self
            The pipeline with another `temperature_` [2]_, several labels' `threshold_`, and `calibration_`. An earlier report is
            of other probabilities, and dropped.

        Raises
        ------
        DataError
            If samples or labels cannot be used; the message names the first of them.

        References
        ----------
        .. [2] C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599

        Examples
        --------
        >>> pipelines.load("photos-model/").calibrate(X_held, y_held).save("photos-model/")  # doctest: +SKIP
        """
        self._ready()  # type: ignore[attr-defined]
        X, y = self._samples(X, y)  # type: ignore[attr-defined]
        y = self._targets(y)
        self._calibrate_on(self._outputs(X), y)  # type: ignore[attr-defined]
        self._note(f"Calibrated after the fit, on {len(y)} other samples.")
        self.notes_[:] = dict.fromkeys(self.notes_)  # type: ignore[attr-defined]  # what is noticed again is said once
        self.__dict__.pop("report_", None)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities.

        Parameters
        ----------
        X : sequence
            Samples.

        Returns
        -------
        ndarray, (n, k)
            One column a class, in the order of `classes_`. Rows sum to one, unless the task is multi-label.
        """
        return self._proba(self._outputs(X))  # type: ignore[attr-defined]

    def decide(self, proba: np.ndarray, *, abstain: float | None = None) -> np.ndarray:
        """Turn probabilities into predictions: the likeliest class, or, with several labels, those at their threshold.

        Parameters
        ----------
        proba : ndarray, (n, k)
            As `predict_proba` returns them.
        abstain : float, optional
            As in `predict`.

        Returns
        -------
        ndarray
            What `predict` returns for the same samples.
        """
        if abstain is not None:
            said = self.classes_[np.argmax(proba, axis=1)].astype(object)
            said[proba.max(axis=1) <= self._limit(abstain)] = None
            return said
        if self.multilabel_:
            return (proba >= self.threshold_).astype(np.int64)
        return self.classes_[np.argmax(proba, axis=1)]

    def _limit(self, risk: float) -> float:
        """Return the confidence above which answers are given."""
        self._ready()  # type: ignore[attr-defined]
        checks.number("abstain", risk, 1e-6, 0.99)
        if self.multilabel_:
            raise ParameterError(
                "abstain is for one label a sample, but these have several, each of which can be right or wrong. Leave it out, "
                "and withhold labels by their probability: predict_proba(X)."
            )
        if not hasattr(self, "calibration_"):
            raise DataError(
                "abstain needs to know how often the model is right, but there was no validation part to learn it from. Call "
                "calibrate(X, y) first, with samples that were not learned from."
            )
        sure, right = self.calibration_.T
        limit = confidence_limit(sure, right, risk)
        if limit is None:
            cure = "Call calibrate(X, y) with more samples that were not learned from, or choose a larger abstain."
            raise DataError(f"{refusal(sure, right, risk)} {cure}")
        return limit

    def score(self, X: Any, y: Any = None) -> float:
        """Return the accuracy (multi-label: macro F1), as scikit-learn's tools expect."""
        from sklearn.metrics import f1_score

        self._ready()  # type: ignore[attr-defined]
        X, y = checks.samples(X, y)
        codes = self._targets(y)
        predicted = self.predict(X)
        if self.multilabel_:
            return float(f1_score(codes, predicted, average="macro", zero_division=0))
        return float(np.mean(predicted == self.classes_[codes]))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags()
        tags.target_tags.required = True
        return tags

    # ---------------------------------------------------------------- labels
    def _hold_out(self, X: Any, y: Any, valid: Any) -> tuple[Any, np.ndarray, Any]:
        """Learn the classes, encode the labels, and split the validation part off."""
        self.multilabel_ = is_multilabel(y)
        self.classes_ = _indicator_classes(y) if self.multilabel_ else _classes(y)
        codes = self._targets(y)
        if checks.is_share(valid):
            return self._split_off(X, codes, 0.1 if valid is None else float(valid))
        X_valid, y_valid = checks.samples(*valid)
        y_valid = self._targets(y_valid)
        return X, codes, (self._inspect(X_valid), y_valid)  # type: ignore[attr-defined]

    def _split_off(self, X: Any, codes: np.ndarray, share: float) -> tuple[Any, np.ndarray, Any]:
        checks.number("valid", share, 0, 0.9)
        counts = Counter(codes.tolist()) if codes.ndim == 1 else Counter()
        single = [self.classes_[code].item() for code, count in counts.items() if count == 1]
        if single:
            self._note(f"Classes with a single sample are not in the validation part: {', '.join(map(str, single[:5]))}.")
        if not share or len(X) < 20 or len(X) * share < 1:
            if share:
                self._note(f"No validation part: {len(X)} samples are too few to split, so the last epoch's weights are kept.")
            return X, codes, None
        labels = codes.tolist() if codes.ndim == 1 else [0] * len(X)
        try:
            held = data.stratified(X, labels, round(len(X) * share), self.seed)  # type: ignore[attr-defined]
        except DataError as error:
            self._note(f"No validation part, so the last epoch's weights are kept. {error}")
            return X, codes, None
        train, valid = np.flatnonzero(~held), np.flatnonzero(held)
        return _safe_indexing(X, train), codes[train], (_safe_indexing(X, valid), codes[valid])

    def _note(self, sentence: str) -> None:
        self.notes_.append(sentence)  # type: ignore[attr-defined]

    def _targets(self, y: Any) -> np.ndarray:
        """Encode labels as positions in `classes_`, or as a 0/1 indicator; unknown labels are named."""
        if y is None:
            raise DataError("y is missing: give one label a sample.")
        if is_multilabel(y) != self.multilabel_:
            was = "several labels a sample" if self.multilabel_ else "one label a sample"
            raise DataError(f"The pipeline was fitted with {was}; y must come in the same form.")
        if self.multilabel_:
            return _indicator(y, self.classes_)
        return _codes(_plain_labels(y), self.classes_)

    # ---------------------------------------------------------------- outputs
    def _learn(self, X: Any, y: np.ndarray) -> None:
        counts = y.sum(axis=0) if self.multilabel_ else np.bincount(y, minlength=len(self.classes_))
        self.class_prior_ = counts / len(y)
        self._note_imbalance(counts)
        self.temperature_ = 1.0
        if self.multilabel_:
            self.threshold_ = np.full(len(self.classes_), 0.5)

    def _note_imbalance(self, counts: np.ndarray) -> None:
        most, least = int(np.argmax(counts)), int(np.argmin(counts))
        if self.multilabel_ or self.class_weight is not None or counts[most] < 3 * counts[least]:  # type: ignore[attr-defined]
            return
        self._note(
            f"Classes are uneven: {self.classes_[most].item()!r} has {counts[most]} samples to learn from, "
            f"{self.classes_[least].item()!r} has {counts[least]}. class_weight='balanced' makes them count alike."
        )

    def _judge(self, outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Measure validation outputs as they will be used, with the temperature fitted."""
        loss, _ = best_temperature(outputs, y, self._class_weights())
        predicted = outputs >= 0 if self.multilabel_ else np.argmax(outputs, axis=1)
        return {"val_loss": loss, "val_accuracy": float(np.mean(predicted == y))}

    def _class_weights(self) -> np.ndarray:
        """Return each class's weight in the loss, as the parameter `class_weight` asks."""
        asked = self.class_weight  # type: ignore[attr-defined]
        if asked is None:
            return np.ones(len(self.classes_))
        if isinstance(asked, str):
            checks.choice("class_weight", asked, ("balanced",))
            prior = np.clip(self.class_prior_, 1e-12, None)
            return (1 - prior) / prior if self.multilabel_ else 1 / (len(prior) * prior)
        return checks.named_weights(asked, self.classes_)

    def _calibrate(self, valid: Any) -> None:
        """Fit what makes scores probabilities and probabilities decisions, on the validation part."""
        X, y = valid
        self._calibrate_on(self._infer(X), y)  # type: ignore[attr-defined]

    def _calibrate_on(self, outputs: np.ndarray, y: np.ndarray) -> None:
        """Fit the temperature, and several labels' thresholds, on what the network says of samples it has not learned from."""
        _, self.temperature_ = best_temperature(outputs, y, self._class_weights())
        proba = self._proba(outputs)
        if self.multilabel_:
            self.threshold_ = np.full(len(self.classes_), 0.5)
            self._learn_threshold(proba, y)
            return
        told = np.column_stack([proba.max(axis=1), proba.argmax(axis=1) == y])
        self.calibration_ = told[np.argsort(-told[:, 0], kind="stable")]

    def _learn_threshold(self, proba: np.ndarray, y: np.ndarray) -> None:
        """Choose each label's threshold where its F1 on the validation part is best; 0.5 where a label is absent there."""
        from sklearn.metrics import precision_recall_curve

        for k in np.flatnonzero((y.sum(axis=0) > 0) & (y.sum(axis=0) < len(y))):
            precision, recall, cuts = precision_recall_curve(y[:, k], proba[:, k])
            f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
            best = int(np.argmax(f1[:-1]))
            below = cuts[best - 1] if best else 0.0
            self.threshold_[k] = (below + cuts[best]) / 2  # midway between two scores, not on one

    def _proba(self, outputs: np.ndarray) -> np.ndarray:
        logits = outputs.astype(np.float64) / self.temperature_
        return expit(logits) if self.multilabel_ else softmax(logits, axis=1)

    def _decide(self, outputs: np.ndarray) -> np.ndarray:
        return self.decide(self._proba(outputs))

    def _report(self, X: Any, y: np.ndarray, outputs: np.ndarray, groups: Any, context: dict[str, Any], **more: Any) -> Report:
        """Make the report; `more` are further arguments of `metrics.classification`."""
        report = metrics.classification(
            y if self.multilabel_ else self.classes_[y],
            self._proba(outputs),
            self.classes_.tolist(),
            threshold=self.threshold_.tolist() if self.multilabel_ else None,
            groups=groups,
            limits=self._limits(),
            baselines=self._baselines(X),
            seed=self.seed,  # type: ignore[attr-defined]
            context=context,
            **more,
        )
        errors = self._with_texts(report.errors(), X)
        return replace(
            report,
            task=self.task,  # type: ignore[attr-defined]
            tables={**report.tables, "errors": errors},
            notes=(*report.notes, *self.notes_),  # type: ignore[attr-defined]
            examples=tuple(self._example(X, mistake) for mistake in errors.head(_SHOWN).itertuples()),
        )

    def _limits(self) -> dict[str, float]:
        """Return from which confidence on answers are given at a few risks, as far as these can be guaranteed."""
        if not hasattr(self, "calibration_"):
            return {}
        sure, right = self.calibration_.T
        found = {f"at most {100 * risk:g} % wrong": confidence_limit(sure, right, risk) for risk in _RISKS}
        return {name: limit for name, limit in found.items() if limit is not None}

    def _baselines(self, X: Any) -> dict[str, np.ndarray]:
        """Return what simple models say of the same samples; a domain adds its own."""
        return {"majority class": np.tile(self.class_prior_, (len(X), 1))}

    def _with_texts(self, errors: pd.DataFrame, X: Any) -> pd.DataFrame:
        if self._passage(X, 0) is None:
            return errors
        errors.insert(1, "text", [_kept(self._passage(X, i) or "") for i in errors["sample"].tolist()])
        return errors

    def _example(self, X: Any, mistake: Any) -> Example:
        return Example(_caption(mistake), image=self._picture(X, mistake.sample), text=getattr(mistake, "text", None))

    def _picture(self, X: Any, i: int) -> bytes | None:
        """Return a PNG of sample `i` where the samples are images."""
        return None

    def _passage(self, X: Any, i: int) -> str | None:
        """Return sample `i` where the samples are texts."""
        return None


def best_temperature(outputs: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Find the temperature with the smallest cross-entropy.

    Its logarithm is believed beforehand to be zero, give or take one half: otherwise a few samples that are all right would
    call for infinite certainty.

    Parameters
    ----------
    outputs : ndarray, (n, k)
        Scores (logits).
    y : ndarray, (n,) or (n, k)
        Class codes, or a 0/1 indicator.
    weights : ndarray, (k,)
        Weight of each class, or of each present label.

    Returns
    -------
    loss, temperature : float
        The weighted mean cross-entropy at the best temperature between 1/20 and 20, and that temperature.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 4000)
    >>> right = np.where(rng.random(4000) < 0.9, y, 1 - y)  # nine in ten are right: a score of log 9 says so, 10 boasts
    >>> round(best_temperature(np.eye(2)[right] * 10.0, y, np.ones(2))[1], 1)
    4.4
    """
    from scipy.optimize import minimize_scalar

    logits, rows = outputs.astype(np.float64), np.arange(len(y))
    share = 1 + y * (weights - 1) if y.ndim == 2 else weights[y]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        each = np.logaddexp(0, scaled) - y * scaled if y.ndim == 2 else -log_softmax(scaled, axis=1)[rows, y]
        return float(np.average(each, weights=share))

    def doubted(log_temperature: float) -> float:
        return loss(log_temperature) + (log_temperature / 0.5) ** 2 / (2 * len(y))

    best = minimize_scalar(doubted, bounds=(-np.log(20), np.log(20)), method="bounded", options={"xatol": 1e-3})
    return loss(best.x), float(np.exp(best.x))


def _caption(mistake: Any) -> str:
    """Say what happened in one row of the table of errors."""
    sure = f"({mistake.confidence:.0%} sure)"
    if hasattr(mistake, "label"):
        done = "wrongly given" if mistake.prediction == "present" else "missed"
        return f"sample {mistake.sample}: {mistake.label} {done} {sure}"
    return f"sample {mistake.sample}: {mistake.truth} taken for {mistake.prediction} {sure}"


def _kept(text: str) -> str:
    """Keep the begin of a long text, and no half characters (lone surrogates), which go into no file."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return short.encode("utf-8", "replace").decode("utf-8")


# ---------------------------------------------------------------- labels in their many forms
def is_multilabel(y: Any) -> bool:
    """Tell a 2-D indicator or a list of label sets from one label a sample."""
    if getattr(y, "ndim", 1) != 1:
        return y.ndim == 2
    return y is not None and len(y) > 0 and all(isinstance(v, (set, frozenset, list, tuple, np.ndarray)) for v in y)


def _plain_labels(y: Any) -> list[Any]:
    """Return labels as plain str, int, bool or whole floats; name the first that is none of these."""
    if getattr(y, "ndim", 1) != 1:
        raise DataError(f"y has {y.ndim} dimensions; expected one label a sample, or a 2-D 0/1 indicator.")
    labels = [v.item() if isinstance(v, np.generic) else v for v in y]
    for i, label in enumerate(labels):
        if isinstance(label, float) and not label.is_integer():
            what = "missing" if label != label else f"{label!r}, a measurement rather than a class"
            raise DataError(f"The label of sample {i} is {what}. Expected text, whole numbers or booleans.")
        if not isinstance(label, (str, int, float)):
            what = "missing" if label is None or label is pd.NA else f"{label!r}"
            raise DataError(f"The label of sample {i} is {what}. Expected text, whole numbers or booleans.")
    return labels


def _classes(y: Any) -> np.ndarray:
    if y is None:
        raise DataError("y is missing: give one label a sample.")
    labels = _plain_labels(y)
    kinds = {"text" if isinstance(v, str) else "number" for v in labels}
    if len(kinds) > 1:
        odd = next(i for i, v in enumerate(labels) if isinstance(v, str) != isinstance(labels[0], str))
        raise DataError(f"y mixes text and numbers: sample 0 has {labels[0]!r}, sample {odd} has {labels[odd]!r}.")
    classes = np.array(sorted(set(labels)))
    checks.one_of_each(np.asarray(labels), classes)
    return classes


def _codes(labels: Sequence[Any], classes: np.ndarray) -> np.ndarray:
    position = {label: i for i, label in enumerate(classes.tolist())}
    for i, label in enumerate(labels):
        if label not in position:
            raise DataError(
                f"The label of sample {i}, {label!r}, was never seen in training.{checks.did_you_mean(label, position)}"
            )
    return np.array([position[label] for label in labels], dtype=np.int64)


def _indicator_classes(y: Any) -> np.ndarray:
    if getattr(y, "ndim", 1) == 2:
        names = y.columns.tolist() if hasattr(y, "columns") else range(y.shape[1])
        classes = np.array(list(names))
    else:
        _check_label_sets(y)
        classes = np.array(sorted({label for labels in y for label in labels}))
    if len(classes) < 2:
        raise DataError(f"y has {len(classes)} label column(s) or names; several labels a sample need at least two.")
    return classes


def _check_label_sets(y: Any) -> None:
    """Refuse labels that are none, and an indicator written as nested lists, which would read as sets of the labels 0 and 1."""
    rows = [list(labels) for labels in y]
    for i, labels in enumerate(rows):
        for label in labels:
            if not isinstance(label, (str, int, np.integer, np.bool)):
                raise DataError(
                    f"A label of sample {i} is {label!r}, missing or no label. Expected text, whole numbers or booleans."
                )
    if len({isinstance(label, str) for labels in rows for label in labels}) > 1:
        raise DataError("y mixes text and numbers among its labels. Write all of them as text.")
    binary = all(label in (0, 1) for labels in rows for label in labels)
    if binary and len(rows[0]) > 1 and {len(labels) for labels in rows} == {len(rows[0])}:
        raise DataError(
            "y looks like a 0/1 indicator in nested lists, not like lists of labels. Pass it as an array: np.array(y)."
        )


def _indicator(y: Any, classes: np.ndarray) -> np.ndarray:
    if getattr(y, "ndim", 1) == 2:
        table = np.asarray(y)
        if table.shape[1] != len(classes):
            raise DataError(f"y has {table.shape[1]} label columns, but training had {len(classes)}.")
        if hasattr(y, "columns") and list(map(str, y.columns)) != list(map(str, classes)):
            raise DataError(f"y has the label columns {list(y.columns)}; expected {classes.tolist()}, in that order.")
        odd = np.argwhere(~np.isin(table, (0, 1)))
        if len(odd):
            i, k = (int(v) for v in odd[0])
            raise DataError(f"y[{i}, {k}] is {table[i, k]!r}; a label indicator holds only 0 and 1.")
        return table.astype(np.float32)
    table = np.zeros((len(y), len(classes)), dtype=np.float32)
    position = {label: k for k, label in enumerate(classes.tolist())}
    for i, labels in enumerate(y):
        for label in labels:
            if label not in position:
                raise DataError(
                    f"The label {label!r} of sample {i} was never seen in training.{checks.did_you_mean(label, position)}"
                )
            table[i, position[label]] = 1
    return table
