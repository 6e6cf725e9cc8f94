"""The predictions a classifier was surest of and wrong with."""

from typing import Any

import numpy as np
import pandas as pd

from pipelines.metrics._answers import Answers

__all__ = ["mistakes"]

_MOST = 100


def mistakes(answers: Answers) -> pd.DataFrame:
    """List the wrong predictions, at most 100, those first that the model was surest of.

    Parameters
    ----------
    answers : Answers
        What was true, said and decided.

    Returns
    -------
    DataFrame
        Columns `sample` (its number), `truth`, `prediction` and `confidence`, the probability of what was said. Multi-label: a
        row a label that is wrongly there or missing, with its name in `label`, and `truth` and `prediction` say which.

    Examples
    --------
    >>> from pipelines.metrics._answers import check_answers
    >>> found = mistakes(check_answers(["cat", "dog", "dog"], [0.8, 0.9, 0.4], ["cat", "dog"], None))
    >>> found.loc[1].to_dict()
    {'sample': 0, 'truth': 'cat', 'prediction': 'dog', 'confidence': 0.8}
    >>> found["sample"].tolist()
    [0, 2]
    """
    sample, label = np.nonzero(answers.decided & ~answers.truth if not answers.multilabel else answers.decided != answers.truth)
    given = answers.decided[sample, label]
    sure = np.where(given, answers.proba[sample, label], 1 - answers.proba[sample, label]).astype(float)
    first = np.argsort(-sure, kind="stable")[:_MOST]
    sample, label, given = sample[first], label[first], given[first]
    said = _of_labels(answers, label, given) if answers.multilabel else _of_classes(answers, sample, label)
    index = pd.Index(list(range(1, len(first) + 1)), name="rank")
    return pd.DataFrame({"sample": sample, **said, "confidence": sure[first]}, index=index)


def _of_classes(answers: Answers, sample: np.ndarray, said: np.ndarray) -> dict[str, list[Any]]:
    true = answers.truth[sample].argmax(axis=1)
    return {"truth": [answers.classes[k] for k in true], "prediction": [answers.classes[k] for k in said]}


def _of_labels(answers: Answers, label: np.ndarray, given: np.ndarray) -> dict[str, list[Any]]:
    truth = np.where(given, "absent", "present").tolist()
    prediction = np.where(given, "present", "absent").tolist()
    return {"label": [answers.classes[k] for k in label], "truth": truth, "prediction": prediction}
