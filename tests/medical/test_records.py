import json

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import pipelines
from medical import RecordClassifier, boosting, columns
from pipelines import DataError, ParameterError

from ..conftest import SHARED


def patients(n=240, seed=0):
    """Make patients of whom age and smoking tell who is ill, with gaps in every column."""
    rng = np.random.default_rng(seed)
    age, smoker, weight = rng.normal(60, 12, n), rng.choice(["no", "yes", "quit"], n), rng.normal(80, 10, n)
    ill = (age - 60) / 12 + 1.5 * (smoker == "yes") + rng.normal(0, 0.5, n) > 0.5
    frame = pd.DataFrame({"age": age, "smoker": smoker, "weight": weight, "ward": rng.integers(1, 4, n)})
    for name in ("age", "smoker", "weight"):
        frame[name] = frame[name].where(rng.random(n) > 0.1)
    return frame, np.where(ill, "ill", "well")


def make(model="boosting", **params):
    quick = {"epochs": 40} if model == "boosting" else {"epochs": 30, "folds": 2, "units": 32}
    return RecordClassifier(**{"model": model, "codes": ["ward"], "verbose": 0, **quick, **params})


@pytest.fixture(scope="module", params=["boosting", "network"])
def fitted(request):
    return make(request.param).fit(*patients())


# --- what it learns ---------------------------------------------------------------------------------------------------


def test_it_learns_and_says_how_sure_it_is(fitted):
    X, y = patients(400, seed=1)
    report = fitted.evaluate(X, y)
    assert report.metrics["accuracy"] > 0.75
    assert report.metrics["ece"] < 0.12
    rows = report.tables["baselines"].index.tolist()
    assert "majority class" in rows
    assert "logistic regression" in rows
    assert "For research; not a medical device." in report.notes


def test_a_saved_model_says_the_same_and_names_nobody(fitted, tmp_path):
    X, y = patients()
    X = X.assign(patient=[f"Secret{i}" for i in range(len(X))], doctor=["Lonely", *["Often"] * 100, *["Rare"] * (len(X) - 101)])
    groups = [f"Hidden{i // 2}" for i in range(len(X))]
    model = make(fitted.model).fit(X, y, groups=groups)
    model.evaluate(X, y, patients=[f"Unknown{i}" for i in range(len(X))])
    folder = model.save(tmp_path / "m")
    assert np.array_equal(pipelines.load(folder).predict_proba(X), model.predict_proba(X))
    stored = b"".join(file.read_bytes() for file in folder.iterdir())
    for name in (b"Secret", b"Hidden", b"Unknown", b"Lonely"):
        assert name not in stored
    assert b"Often" in stored


def test_feature_importance_finds_what_matters(fitted):
    X, y = patients(300, seed=1)
    found = fitted.feature_importance(X, y)
    assert found.index[0] == "age"
    assert set(found.index[:2]) == {"age", "smoker"}
    assert found.loc["age", "importance"] > 0.1
    assert found["importance"][["weight", "ward"]].abs().max() < 0.05
    pd.testing.assert_frame_equal(found, fitted.feature_importance(X, y))
    with pytest.raises(DataError, match="same label"):
        fitted.feature_importance(X[:3], ["ill"] * 3)


def test_trees_as_arrays_say_what_scikit_learn_says():
    X, y = patients()
    for labels in (y, np.where(X["weight"].fillna(0) > 85, "heavy", y)):  # two classes, and three
        model = make(folds=1).fit(X, labels, valid=0.0)
        cells, codes = model._encoder.one_hot(model._inspect(X)), model._targets(labels)
        peer = HistGradientBoostingClassifier(
            max_iter=40, learning_rate=0.05, max_leaf_nodes=4, min_samples_leaf=10, l2_regularization=1.0, max_features=0.3,
            early_stopping=False, random_state=0,
        ).fit(cells, codes)  # fmt: skip
        assert np.isnan(cells).any()
        assert model.temperature_ == 1
        np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(cells), atol=1e-6)


def test_a_mean_of_trees_is_the_mean_of_what_scikit_learn_says():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((300, 3)) < 0.2, np.nan, rng.normal(size=(300, 3))).astype(np.float32)
    y = (np.nan_to_num(X) @ [1, 2, 0] > 0).astype(int)
    members = [boosting.grow(X[i::2], y[i::2], np.ones(2), rounds=30, lr=0.1, leaves=8, columns=1.0, seed=i) for i in range(2)]
    from medical import record_networks as networks

    arrays, depth = boosting.arrays(members, 20)
    net = networks.TreeEnsemble(nodes=len(arrays["value"]), trees=len(arrays["root"]), depth=depth, classes=2)
    net.fill(arrays)
    stages = [list(member.staged(X))[19] for member in members]
    np.testing.assert_allclose(net(networks.torch.from_numpy(X)).numpy(), np.mean(stages, axis=0), atol=1e-5)
    assert stages[0][:, 1] == pytest.approx(list(members[0].model.staged_decision_function(X))[19])


def test_a_class_that_one_fold_lacks_is_still_learned():
    X, y = patients(60)
    y = y.astype(object)
    y[:2] = "odd"
    for model in ("boosting", "network"):
        fit = make(model, folds=2).fit(X, y)
        proba = fit.predict_proba(X)
        assert proba.shape == (60, 3)
        assert np.isfinite(proba).all()
        assert fit.members_ == 2


def test_history_has_a_record_a_round_and_the_best_round_is_kept():
    model = make(epochs=150, lr=0.3).fit(*patients())
    assert [record["epoch"] for record in model.history_] == list(range(1, 151))
    losses = [record["val_loss"] for record in model.history_]
    assert model.rounds_ == int(np.argmin(losses)) + 1 < 150
    assert len(model.model_.root) == 5 * model.rounds_
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]


def test_networks_train_fold_by_fold():
    model = make("network", folds=3, epochs=3).fit(*patients())
    assert [record["fold"] for record in model.history_] == [1] * 3 + [2] * 3 + [3] * 3
    assert len(model.model_.members) == model.members_ == 3


def test_ctrl_c_keeps_the_networks_there_are(monkeypatch, tmp_path):
    model = make("network", folds=3)
    trained = RecordClassifier._train_network
    calls = []

    def interrupted(self, *rest):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return trained(self, *rest)

    monkeypatch.setattr(RecordClassifier, "_train_network", interrupted)
    X, y = patients()
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert len(model.model_.members) == model.members_ == 1
    assert np.array_equal(pipelines.load(model.save(tmp_path / "m")).predict_proba(X), model.predict_proba(X))


def test_a_network_goes_on_from_its_checkpoints(tmp_path):
    X, y = patients(100)
    one = make("network", epochs=3).fit(X, y, resume=tmp_path / "kept")
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == ["fold1.npz", "fold2.npz"]
    again = make("network", epochs=3).fit(X, y, resume=tmp_path / "kept")
    assert np.array_equal(one.predict_proba(X), again.predict_proba(X))
    with pytest.raises(DataError):
        make("network", epochs=3).fit(X, y[::-1], resume=tmp_path / "kept")


def test_it_says_where_more_rounds_may_be_better():
    notes = make(epochs=3).fit(*patients()).notes_
    assert any("The last of 3 rounds" in note for note in notes)


# --- folds, groups, labels --------------------------------------------------------------------------------------------


def test_folds_keep_groups_and_copies_together():
    X, y = patients(80)
    X = pd.concat([X, X], ignore_index=True)
    y = np.concatenate([y, y])
    groups = np.arange(160) % 80 // 2
    for given in (None, groups):
        model = make()
        model._names = None if given is None else [str(name) for name in given]
        model.notes_, model.classes_, model.multilabel_ = [], np.unique(y), False
        frame = model._inspect(X, train=True)
        held = model._made_folds(frame, model._targets(y))
        assert sorted(np.concatenate(held)) == list(range(160))
        assert len(held) == 5
        for rows in held:
            inside = set(groups[rows]) if given is not None else set(rows % 80)
            outside = np.delete(np.arange(160), rows)
            assert not inside & (set(groups[outside]) if given is not None else set(outside % 80))


def test_patients_of_the_training_are_refused_in_evaluation():
    X, y = patients(100)
    model = make().fit(X, y, groups=[f"P{i // 2}" for i in range(100)])
    with pytest.raises(DataError, match="'P3'"):
        model.evaluate(X[:10], y[:10], patients=["P3"] * 10)
    assert model.evaluate(X[:10], y[:10], patients=["Q3"] * 5 + ["Q4"] * 5).n == 10


def test_a_given_validation_part_judges_one_model():
    X, y = patients()
    model = make().fit(X[:180], y[:180], valid=(X[180:], y[180:]))
    assert model.members_ == 1
    best = model.history_[model.rounds_ - 1]
    assert best["val_accuracy"] == pytest.approx(model.score(X[180:], y[180:]))
    assert model.temperature_ != 1
    groups = np.arange(240) // 2
    assert make(folds=1).fit(X, y, groups=groups).members_ == 1


def test_so_few_rows_are_not_split():
    X, _ = patients(15)
    model = make(codes=None).fit(X, np.resize(["ill", "well"], 15))
    assert model.members_ == 1
    assert any("Nothing was held out" in note for note in model.notes_)
    assert "val_loss" not in model.history_[0]


def test_one_group_cannot_be_split():
    X, y = patients(60)
    model = make().fit(X, y, groups=["one"] * 60)
    assert any("one group cannot be split" in note for note in model.notes_)


def test_several_labels_are_for_the_network():
    X, y = patients()
    both = np.column_stack([y == "ill", X["weight"].fillna(80) > 80]).astype(int)
    with pytest.raises(ParameterError, match="Choose model='network'"):
        make().fit(X, both)
    model = make("network", epochs=25).fit(X, both)
    assert model.predict(X).shape == (240, 2)
    proba = model.predict_proba(X)
    assert min(roc_auc_score(both[:, k], proba[:, k]) for k in range(2)) > 0.8
    assert model.feature_importance(X, both).index[0] in ("age", "weight")
    assert "logistic regression" in model.evaluate(X, both).tables["baselines"].index


def test_class_weights_move_the_decision():
    X, y = patients()
    for name in ("boosting", "network"):
        often = [np.mean(make(name, class_weight=w).fit(X, y).predict(X) == "ill") for w in (None, {"ill": 8.0})]
        assert often[1] > often[0] + 0.1


# --- columns ----------------------------------------------------------------------------------------------------------


def test_useless_columns_are_left_out_with_a_note():
    X, y = patients(100)
    rng = np.random.default_rng(0)
    X = X.assign(
        patient_id=[f"P{i // 2}" for i in range(100)],
        name=[f"name {i}" for i in range(100)],
        row=range(7, 107),
        site="A",
        empty=None,
        story=[f"text {i}" for i in rng.integers(0, 80, 100)],
    )
    model = make().fit(X, y)
    assert list(model.columns_) == ["age", "smoker", "weight", "ward"]
    said = "\n".join(model.notes_)
    for start in (
        "'patient_id' tells patients apart", "'name' has a different value in every row", "'row' has a different value",
        "'site' has the same value", "'empty' is empty", "'story' has",
    ):  # fmt: skip
        assert f"The column {start}" in said
    kept = X[list(model.columns_)]
    assert np.array_equal(model.predict_proba(kept), model.predict_proba(X))
    with pytest.raises(DataError, match="no column to learn from"):
        make(codes=None).fit(X[["name", "site"]], y)


def test_what_tells_patients_apart_is_not_learned_where_they_are_named():
    X, y = patients(120)
    name = [f"Nora{i // 3}" for i in range(120)]
    hospital = ["A", "B"] * 60
    hospital[:3] = ["Alone"] * 3
    model = make().fit(X.assign(called=name, hospital=hospital), y, groups=name)
    assert model.columns_["hospital"]["levels"] == ["A", "B"]
    assert "called" not in model.columns_
    assert "The column 'called' has no value that two patients share; it is left out." in model.notes_
    with pytest.raises(DataError, match="no value that two patients share"):
        make(codes=None).fit(pd.DataFrame({"called": name}), y, groups=name)


def test_missing_marks_and_every_way_to_be_missing():
    frame = pd.DataFrame({
        "glucose": pd.array([0, 120, None, 95], dtype="Int64"),
        "thal": ["3", "?", None, "7"],
        "fit": [True, None, False, pd.NA],
        "sex": pd.Categorical(["m", None, "f", "m"]),
        "kind": [" a", "", "a", "b"],
    })  # fmt: skip
    found = columns.read(frame, {"glucose": ["0"], "thal": ["?"]})
    np.testing.assert_array_equal(found["glucose"], [np.nan, 120, np.nan, 95])
    np.testing.assert_array_equal(found["thal"], [3, np.nan, np.nan, 7])
    np.testing.assert_array_equal(found["fit"], [1, np.nan, 0, np.nan])
    assert found["sex"].isna().tolist() == [False, True, False, False]
    assert found["kind"].dropna().tolist() == ["a", "a", "b"]


def test_a_mark_among_numbers_in_quotes_is_pointed_at():
    X, y = patients(100)
    X["vessels"] = [*"0123" * 24, *"????"]
    model = make().fit(X, y)
    assert any("are numbers but '?'" in note and "missing={'vessels': ['?']}" in note for note in model.notes_)
    model = make(missing={"vessels": ["?"]}).fit(X, y)
    assert model.columns_["vessels"]["kind"] == "number"
    assert not any("'?'" in note for note in model.notes_)


def test_codes_are_the_same_however_they_are_written():
    X, y = patients()
    model = make().fit(X, y)
    assert model.columns_["ward"] == {"kind": "category", "levels": ["1", "2", "3"]}
    expected = model.predict_proba(X)
    for kind in (float, str, "category"):
        assert np.array_equal(model.predict_proba(X.assign(ward=X["ward"].astype(kind))), expected)
    assert np.array_equal(model.predict_proba(X.to_dict("records")), expected)
    assert np.array_equal(model.predict_proba(X[X.columns[::-1]].set_index("age", drop=False)), expected)


def test_unseen_categories_count_as_missing_and_are_counted(fitted):
    X, y = patients()
    strange, gone = X.assign(smoker="pipe"), X.assign(smoker=None)
    assert np.array_equal(fitted.predict_proba(strange), fitted.predict_proba(gone))
    notes = fitted.evaluate(strange, y).notes
    assert any(note.startswith("240 values of the column 'smoker'") for note in notes)
    assert not any("values of the column" in note for note in fitted.evaluate(X, y).notes)


def test_arrays_have_numbered_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    model = make(codes=None).fit(X, X[:, 1] > 0)
    assert list(model.columns_) == ["0", "1", "2"]
    assert model.predict(X[:4]).dtype == bool
    assert model.feature_importance(X, X[:, 1] > 0).index[0] == "1"


def wrong(**cells):
    X, _ = patients(40)
    return X.assign(**cells)


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (wrong(age=[np.inf, *[1.0] * 39]), "Row 0 has an infinite value in the column 'age'"),
        (wrong(day=pd.date_range("2024-01-01", periods=40)), "'day' holds dates or times"),
        (wrong(day=["2024-01-05"] * 39 + [None]), "'day' holds dates, '2024-01-05'"),
        (wrong(age=[1.0] * 39 + ["?"]), "row 39 has '\\?'. If that stands for a missing value, say so: missing="),
        (wrong(scan=[[1, 2]] * 40), "Row 0 has a list in the column 'scan'"),
        (pd.concat([wrong(), wrong()[["age"]]], axis=1), "several columns called 'age'"),
        ([{"age": 3}, 7], "Row 1 is 7, no record"),
        ({"age": [1, 2]}, "a dict of columns becomes a table"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(X, said):
    with pytest.raises(DataError, match=said):
        make(codes=None).fit(X, ["ill", "well"] * (len(X) // 2) if len(X) > 1 else ["ill"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda X: X.rename(columns={"smoker": "smokes"}),
            "no column 'smoker', which the model learned from. Did you mean 'smokes'",
        ),
        (lambda X: X.assign(age="old"), "Row 0 has 'old' in the column 'age', which held numbers"),
        (lambda X: X.assign(smoker=1), "'smoker' holds numbers, 1 for one, but held texts such as 'no'"),
        (lambda X: X.assign(age=[-np.inf, *[1.0] * 239]), "Row 0 has an infinite value"),
    ],
)
def test_tables_unlike_those_of_the_training_are_refused(fitted, change, said):
    with pytest.raises(DataError, match=said):
        fitted.predict(change(patients()[0]))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"model": "boost"}, "Did you mean 'boosting'"),
        ({"missing": {"agee": [0]}}, "Did you mean 'age'"),
        ({"missing": {"age": 0}}, "must name columns with lists"),
        ({"missing": [0]}, "must name columns with lists"),
        ({"codes": ["wards"]}, "Did you mean 'ward'"),
        ({"codes": "ward"}, "codes must be a list"),
        ({"folds": 0}, "folds"),
        ({"leaves": 1}, "leaves"),
        ({"units": 0}, "units"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_impossible_parameters_are_refused(params, said):
    with pytest.raises(ParameterError, match=said):
        make(**params).fit(*patients(40))


def test_a_saved_model_holds_plain_facts(fitted, tmp_path):
    facts = json.loads((fitted.save(tmp_path / "m") / "pipeline.json").read_text())["facts"]
    assert facts["columns_"]["smoker"]["levels"] == ["no", "quit", "yes"]
    assert "groups_" not in facts


# --- real patients ----------------------------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize("model", ["boosting", "network"])
def test_heart_disease_is_told(model):
    frame = pd.read_csv(SHARED / "medical" / "heart_cleveland" / "heart_cleveland.csv")
    y = (frame.pop("num") > 0).map({True: "disease", False: "none"}).tolist()
    X, X_test, y, y_test = pipelines.data.split(frame, y, test=0.3, seed=0)
    report = RecordClassifier(model=model, codes=["cp", "thal", "restecg"], verbose=0).fit(X, y).evaluate(X_test, y_test)
    assert report.metrics["roc_auc"] > 0.85
    assert report.metrics["log_loss"] < 0.55  # 0.69 without looking
