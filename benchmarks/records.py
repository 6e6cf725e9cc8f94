"""Disease prediction from records: both models beside scikit-learn's logistic regression and its boosted trees as they come.

Run `python -m benchmarks.records [name …]`; the names are those of `BENCHMARKS`. Five stratified folds, three times; means over
all fifteen test folds, with the standard deviation of the differences from logistic regression, fold by fold.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from medical import RecordClassifier

from .common import SHARED, run

DATA = SHARED / "medical"
METRICS = ("roc_auc", "accuracy", "log_loss")
Table = tuple[pd.DataFrame, np.ndarray, list[str]]


# ---------------------------------------------------------------- data
def heart() -> Table:
    """Return Cleveland's patients, whether they have a heart disease, and the columns that are codes."""
    frame = pd.read_csv(DATA / "heart_cleveland" / "heart_cleveland.csv")
    return frame.drop(columns="num"), (frame["num"] > 0).to_numpy(), ["cp", "restecg", "thal"]


def pima() -> Table:
    """Return the Pima women, zeros that mean missing as missing, and whether they got diabetes."""
    frame = pd.read_csv(DATA / "pima_diabetes" / "pima_diabetes.csv")
    X = frame.drop(columns="outcome")
    unmeasured = ["glucose", "blood_pressure", "skin_thickness", "insulin", "bmi"]
    return X.assign(**{name: X[name].mask(X[name] == 0) for name in unmeasured}), (frame["outcome"] == 1).to_numpy(), []


# ---------------------------------------------------------------- models
def ours(model: str, codes: list[str], seed: int) -> Any:
    """Return a pipeline of this library with its defaults."""
    return RecordClassifier(model=model, codes=codes, seed=seed, verbose=0)


def logistic(codes: list[str], seed: int) -> Any:
    """Return a logistic regression behind imputation, scaling and dummy variables."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    dummies = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    encoded = make_column_transformer((dummies, codes), remainder=numbers)
    return make_pipeline(encoded, LogisticRegression(max_iter=1000, random_state=seed))


def boosted(codes: list[str], seed: int) -> Any:
    """Return scikit-learn's boosted trees with their defaults."""
    return HistGradientBoostingClassifier(categorical_features=codes or None, random_state=seed)


MODELS: dict[str, Callable[[list[str], int], Any]] = {
    "boosting": partial(ours, "boosting"),
    "network": partial(ours, "network"),
    "scikit-learn logistic regression": logistic,
    "scikit-learn boosting, defaults": boosted,
}


# ---------------------------------------------------------------- how good
def compared(table: Callable[[], Table]) -> dict[str, Any]:
    """Judge all models on the same folds."""
    X, y, codes = table()
    found: dict[str, list[list[float]]] = {name: [] for name in MODELS}
    seconds = dict.fromkeys(MODELS, 0.0)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0)
    for seed, (train, test) in enumerate(folds.split(X, y)):
        for name, make in MODELS.items():
            started = time.perf_counter()
            proba = make(codes, seed).fit(X.iloc[train], y[train]).predict_proba(X.iloc[test])[:, 1]
            seconds[name] += time.perf_counter() - started
            truth = y[test]
            found[name].append([roc_auc_score(truth, proba), accuracy_score(truth, proba > 0.5), log_loss(truth, proba)])
    usual = np.array(found["scikit-learn logistic regression"])
    rows = {}
    for name, figures in found.items():
        means, differences = np.mean(figures, axis=0), np.array(figures) - usual
        rows[name] = {
            **{metric: round(float(value), 4) for metric, value in zip(METRICS, means, strict=True)},
            "better_auc_than_logistic_regression": f"{int((differences[:, 0] > 0).sum())} of {len(figures)} folds",
            "std_of_auc_difference": round(float(differences[:, 0].std()), 4),
            "seconds_a_fold": round(seconds[name] / len(figures), 2),
        }
    return {"rows": len(X), "columns": X.shape[1], "ill": round(float(y.mean()), 3), "models": rows}


BENCHMARKS: dict[str, Callable[[], Any]] = {"heart": partial(compared, heart), "pima": partial(compared, pima)}

if __name__ == "__main__":
    run(BENCHMARKS)
