"""Calibration on other samples, and answers withheld: no more of those given are wrong than was asked, with a guarantee."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from medical import RecordClassifier
from pipelines import load, metrics
from pipelines.base import Pipeline
from pipelines.cli import main
from pipelines.errors import DataError, ParameterError
from pipelines.metrics._answers import check_answers
from pipelines.metrics._selective import Selection
from pipelines.tasks import ClassifierMixin
from pipelines.tasks.abstention import DOUBT, confidence_limit, refusal
from vision import ImageClassifier


class Scored(ClassifierMixin, Pipeline):
    """A classifier whose samples are the network's outputs."""

    task, engine, reader = "scored", "torch", "folder"

    def __init__(self, *, class_weight=None, batch_size=1, seed=0, verbose=0):
        self.class_weight, self.batch_size, self.seed, self.verbose = class_weight, batch_size, seed, verbose

    def _outputs(self, X):
        self._ready()
        return np.asarray(X)


def scored(classes, *, multilabel=False):
    model = Scored()
    model.model_, model.notes_ = object(), []
    model.classes_, model.multilabel_ = np.array(classes), multilabel
    model._learn(None, np.eye(len(classes))[:, :] if multilabel else np.arange(len(classes)))
    return model


def drawn(random, n, k=3, noise=0.0):
    """Scores, and labels that come true as the scores say, but for a share that is wrong whatever they say."""
    scores = random.normal(size=(n, k)) * 3
    y = (softmax(scores, axis=1).cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    return scores, np.where(random.random(n) < noise, random.integers(0, k, n), y)


@pytest.fixture(scope="module")
def many():
    """Enough to know the true share of wrong answers above any confidence."""
    return drawn(np.random.default_rng(1), 200_000)


# ---------------------------------------------------------------- the guarantee
@pytest.mark.parametrize(("n", "risk"), [(150, 0.1), (600, 0.05)])
def test_true_risk_is_kept_but_for_the_doubt(many, n, risk):
    proba, truth = softmax(many[0], axis=1), many[1]
    confidence, wrong = proba.max(axis=1), proba.argmax(axis=1) != truth
    random = np.random.default_rng(2)
    found, naive, answered = [], [], []
    for _ in range(200):
        rows = random.integers(0, len(truth), n)
        limit = confidence_limit(confidence[rows], ~wrong[rows], risk)
        if limit is not None:
            found.append(wrong[confidence > limit].mean())
            answered.append((confidence > limit).mean())
        sure = rows[np.argsort(-confidence[rows])]
        seen = np.flatnonzero(np.cumsum(wrong[sure]) / np.arange(1, n + 1) <= risk)
        naive.append(wrong[confidence >= confidence[sure[seen[-1]]]].mean() if len(seen) else 0.0)
    assert (np.array(found) > risk).sum() / 200 <= DOUBT
    assert (np.array(naive) > risk).mean() > 0.3  # what the same samples seem to allow
    assert np.mean(answered) > 0.3


def test_digits_are_wrong_no_more_often_than_asked():
    X, y = load_digits(return_X_y=True)
    X_train, X_rest, y_train, y_rest = train_test_split(X, y, train_size=120, random_state=0, stratify=y)
    scores = LogisticRegression(max_iter=500).fit(X_train / 16, y_train).decision_function(X_rest / 16)
    model, shares = scored(range(10)), []
    for seed in range(60):
        S, S_test, held, truth = train_test_split(scores, y_rest, train_size=600, random_state=seed)
        said = model.calibrate(S, held).predict(S_test, abstain=0.05)
        given = np.array([label is not None for label in said])
        shares.append((given.mean(), np.mean(said[given] != truth[given])))
    answered, wrong = np.array(shares).T
    assert np.mean(model.predict(scores) != y_rest) > 0.08
    assert answered.min() > 0.4
    assert wrong.mean() < 0.05
    assert np.mean(wrong > 0.05) <= 2 * DOUBT  # the test part has a spread of its own


def test_all_answers_where_the_risk_is_large():
    assert confidence_limit(np.linspace(0.5, 1, 100), np.arange(100) % 10 > 0, 0.3) == 0.0


def test_one_wrong_label_among_the_surest_does_not_end_it():
    confidence = np.linspace(1, 0.5, 1000)
    right = confidence > 0.6
    right[3] = False
    assert 0.55 < confidence_limit(confidence, right, 0.05) < 0.65


def test_equally_sure_answers_are_all_given_or_none():
    confidence = np.repeat([1.0, 0.9], [100, 300])
    limit = confidence_limit(confidence, np.repeat([True, False], [100, 300]), 0.05)
    assert limit == 0.9
    assert confidence_limit(np.ones(100), np.arange(100) < 80, 0.05) is None


def test_more_doubt_gives_more_answers():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 500)
    right = random.random(500) < confidence
    assert confidence_limit(confidence, right, 0.15, doubt=0.3) < confidence_limit(confidence, right, 0.15, doubt=0.01)


# ---------------------------------------------------------------- what cannot be guaranteed
def test_too_few_samples_say_what_they_can_do():
    model = scored(["no", "yes"])
    model.calibrate(np.eye(2)[np.arange(40) % 2] * np.linspace(1, 9, 40)[:, None], np.array(["no", "yes"])[np.arange(40) % 2])
    with pytest.raises(DataError, match=r"0\.05 wrong answers cannot be guaranteed with 40 samples") as caught:
        model.predict(np.eye(2), abstain=0.05)
    told = str(caught.value)
    assert "the least that can be is 0.073. About 59 like them would be enough" in told
    assert "calibrate(X, y)" in told
    assert model.predict(np.eye(2) * 9, abstain=0.073).tolist() == ["no", "yes"]
    limit = confidence_limit(np.linspace(0.5, 1, 60), np.ones(60, dtype=bool), 0.05)
    assert limit == 0.0


def test_a_model_that_is_wrong_where_it_is_sure_is_beyond_help():
    told = refusal(np.linspace(0.9, 1, 300), np.arange(300) % 2 == 0, 0.05)
    assert "hardly be enough, as even the surest answers are wrong more often" in told


def test_without_validation_part_calibrate_comes_first():
    model = scored([0, 1])
    with pytest.raises(DataError, match="Call calibrate"):
        model.predict(np.eye(2), abstain=0.1)


@pytest.mark.parametrize("abstain", [0, 1, -0.1, "0.1", True, float("nan")])
def test_a_share_that_is_none_is_refused(abstain):
    with pytest.raises(ParameterError, match=r"abstain must be a number from 1e-06 to 0\.99"):
        scored([0, 1]).predict(np.eye(2), abstain=abstain)


def test_several_labels_are_refused():
    model = scored(["a", "b"], multilabel=True)
    model.calibrate(np.eye(2)[np.arange(80) % 2] * 6 - 3, np.eye(2)[np.arange(80) % 2])
    assert not hasattr(model, "calibration_")
    with pytest.raises(ParameterError, match="one label a sample"):
        model.predict(np.eye(2), abstain=0.1)


# ---------------------------------------------------------------- calibrate
def test_calibrate_finds_the_temperature_and_forgets_the_old_report():
    scores, y = drawn(np.random.default_rng(0), 4000)
    model = scored([0, 1, 2])
    model.report_ = object()
    assert model.calibrate(scores * 4, y) is model
    assert model.temperature_ == pytest.approx(4, rel=0.1)
    assert not hasattr(model, "report_")
    model.calibrate(scores[:500], y[:500]).calibrate(scores[:500], y[:500])
    assert model.temperature_ == pytest.approx(1, rel=0.15)
    assert model.notes_.count("Calibrated after the fit, on 500 other samples.") == 1
    assert model.calibration_.shape == (500, 2)
    assert (np.diff(model.calibration_[:, 0]) <= 0).all()
    assert set(model.calibration_[:, 1]) == {0.0, 1.0}


def test_calibrate_chooses_thresholds_of_several_labels_anew():
    random = np.random.default_rng(0)
    model = scored(["a", "b"], multilabel=True)
    y = (random.random((300, 2)) < 0.3).astype(int)
    low = model.calibrate(y * 4 - 4.0 + random.normal(size=(300, 2)), y).threshold_
    y[:, 1] = 0
    high = model.calibrate(y * 4 + 1.0 + random.normal(size=(300, 2)), y).threshold_
    assert low[0] < 0.5 < high[0]
    assert high[1] == 0.5  # no sample has it, so that there is nothing to choose by


def test_a_calibration_that_fails_changes_nothing():
    scores, y = drawn(np.random.default_rng(0), 100)
    model = scored([0, 1, 2]).calibrate(scores, y)
    before = dict(model.__dict__)
    for X, labels in ((scores, y[:50]), (scores, np.where(y == 0, 7, y)), ([], [])):
        with pytest.raises(DataError):
            model.calibrate(X, labels)
    assert model.__dict__ == before


# ---------------------------------------------------------------- the report
def test_report_says_how_many_are_answered(many):
    scores, y = many[0][:3000], many[1][:3000]
    model = scored([0, 1, 2]).calibrate(scores[:1500], y[:1500])
    proba = model.predict_proba(scores[1500:])
    report = metrics.classification(y[1500:], proba, [0, 1, 2], limits=model._limits(), n_bootstrap=100)
    table = report.tables["abstention"]
    assert list(table.index.unique()) == ["at most 5 % wrong", "at most 10 % wrong"]
    for name, abstain in (("at most 5 % wrong", 0.05), ("at most 10 % wrong", 0.1)):
        said = model.predict(scores[1500:], abstain=abstain)
        given = np.array([label is not None for label in said])
        rows = table.loc[name].set_index("measure")
        assert rows.loc["answered", "value"] == pytest.approx(given.mean())
        assert rows.loc["wrong", "value"] == pytest.approx(np.mean(said[given] != y[1500:][given]))
        assert (rows["low"] <= rows["value"]).all()
        assert (rows["value"] <= rows["high"]).all()
    sure = proba.max(axis=1) >= 0.9
    right = 100 * np.mean(proba.argmax(axis=1)[sure] == y[1500:][sure])
    assert f"Of the {sure.sum():,} answers given with 90 % confidence or more, {right:.1f} % were right." in report.notes
    assert "risk coverage" in report._render(".html")


def test_area_under_risk_and_coverage_by_its_definition():
    random = np.random.default_rng(0)
    proba = random.dirichlet(np.ones(3), 60).round(1)  # with ties
    proba[:, 0] = 1 - proba[:, 1:].sum(axis=1)
    y = random.integers(0, 3, 60)
    selection = Selection(check_answers(y, proba, [0, 1, 2], None))
    sure, wrong = proba.max(axis=1), proba.argmax(axis=1) != y
    by_hand = np.mean([wrong[sure >= limit].mean() for limit in sure])
    assert selection.area(np.ones((60, 1)))[0] == pytest.approx(by_hand)
    curve = selection.curve()
    assert curve["answered"].iloc[-1] == 1
    assert curve["wrong"].iloc[-1] == pytest.approx(wrong.mean())
    times = random.integers(0, 4, 60)
    repeated = Selection(check_answers(np.repeat(y, times), np.repeat(proba, times, axis=0), [0, 1, 2], None))
    expected = repeated.area(np.ones((times.sum(), 1)))
    np.testing.assert_allclose(selection.area(times[:, None].astype(float)), expected)


def test_limits_are_checked():
    for limits, told in (({"a": 1.5}, "threshold"), ([0.5], "mapping")):
        with pytest.raises(DataError, match=told):
            metrics.classification([0, 1], [0.2, 0.9], limits=limits)
    with pytest.raises(DataError, match="several labels"):
        metrics.classification(np.eye(2), np.eye(2), limits={"a": 0.5})


# ---------------------------------------------------------------- real pipelines
def test_images_calibrated_after_loading(tmp_path, capsys):
    X, y = load_digits(n_class=3, return_X_y=True)
    X = X.reshape(-1, 8, 8)
    options = {"backbone": "lenet5", "image_size": 28, "epochs": 3, "verbose": 0, "device": "cpu"}
    model = load(ImageClassifier(**options).fit(X[:200], y[:200], valid=0).save(tmp_path / "model"), device="cpu")
    with pytest.raises(DataError, match="Call calibrate"):
        model.predict(X[:2], abstain=0.1)
    weights, params = [w.copy() for w in model.model_.get_weights()], model.get_params()
    plain = model.predict(X[400:])
    assert model.calibrate(X[200:400], y[200:400]) is model
    assert all(map(np.array_equal, weights, model.model_.get_weights()))
    assert model.get_params() == params
    np.testing.assert_array_equal(model.predict(X[400:]), plain)
    said = model.predict(X[400:], abstain=0.1)
    assert said.dtype == object
    assert {type(label) for label in said} <= {int, type(None)}
    given = np.array([label is not None for label in said])
    assert (said[given] == plain[given]).all()
    again = load(model.save(tmp_path / "model"), device="cpu")
    assert again.predict(X[400:], abstain=0.1).tolist() == said.tolist()
    assert "abstention" in again.evaluate(X[400:], y[400:]).tables
    again.calibration_[:, 0] = 1.0  # the surest of all: nobody is as sure
    again.calibration_[-100:] = [0.9999999, 0.0]
    again.save(tmp_path / "model")
    from PIL import Image

    Image.fromarray((X[0] * 15).astype(np.uint8)).save(tmp_path / "digit.png")
    words = ["predict", str(tmp_path / "model"), str(tmp_path / "digit.png"), "--device", "cpu", "--abstain", "0.1"]
    assert main(words) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["prediction"] is None
    assert set(row["proba"]) == {"0", "1", "2"}


def test_records_judged_in_folds():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    options = {"epochs": 40, "folds": 3, "verbose": 0, "device": "cpu"}
    model = RecordClassifier(**options).fit(X[:400], y[:400])
    assert len(model.calibration_) == 400
    said = pd.Series(model.predict(X[400:], abstain=0.1))
    given = said.notna()
    assert given.mean() > 0.8
    assert (said[given] != y[400:].to_numpy()[given]).mean() <= 0.1
