"""`ScanClassifier`: pictures and volumes, plans, patients, operating points, weights to start from, and bad input."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import pipelines
from medical import ScanClassifier, classifier_input, volumes
from medical.notes import RESEARCH
from pipelines import DataError, ParameterError
from pipelines.metrics import _operating

from . import making

QUICK = {"epochs": 3, "batch_size": 8, "verbose": 0}


def digits(classes=2, most=80):
    bunch = load_digits(n_class=classes)
    return list((bunch.images[:most] * 15).astype(np.uint8)), [f"digit {label}" for label in bunch.target[:most]]


def bodies(n=24, seed=0):
    """Volumes with a ball or a box somewhere in them, their labels, and an affine each: flipped, of other spacing, shifted."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for i in range(n):
        shape = rng.integers(14, 19, 3)
        where = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) - shape / 2 - rng.uniform(-1, 1, 3)
        ball = i % 2 == 0
        inside = (where**2).sum(-1) < 16 if ball else (np.abs(where) < [2, 6, 2]).all(-1)
        array = (100 + 200 * inside + rng.normal(0, 5, shape)).astype(np.int16)
        flips = rng.choice([-1.0, 1.0], 3)
        X.append({"array": array, "affine": np.diag([*(flips * [1, 1, 2.0]), 1.0])})
        y.append("ball" if ball else "box")
    return X, y


@pytest.fixture(scope="module")
def fitted():
    X, y = digits()
    return ScanClassifier(**{**QUICK, "epochs": 8}).fit(X, y)


@pytest.fixture(scope="module")
def fitted_volumes():
    return ScanClassifier(**{**QUICK, "epochs": 10, "lr": 5e-3}).fit(*bodies())


# ---------------------------------------------------------------- pictures and volumes
def test_pictures_are_learned(fitted):
    X, y = digits(most=200)
    assert fitted.kind_ == "2d"
    assert fitted.score(X[80:], y[80:]) > 0.95
    assert fitted.plan_["size"] == [8, 8]
    assert fitted.plan_["intensity"]["scheme"] == "range"


def test_volumes_are_learned_whatever_their_orientation_and_spacing(fitted_volumes):
    assert fitted_volumes.kind_ == "3d"
    assert fitted_volumes.plan_["orientation"] == "RAS"
    assert fitted_volumes.plan_["spacing"] == [1.0, 1.0, 2.0]
    X, y = bodies(seed=1)
    assert fitted_volumes.score(X, y) > 0.9


def test_files_and_arrays_give_the_same(fitted_volumes, tmp_path):
    X, _ = bodies(4)
    paths = [making.nifti(tmp_path / f"{i}.nii", scan["array"], scan["affine"]) for i, scan in enumerate(X)]
    np.testing.assert_allclose(fitted_volumes.predict_proba(list(map(str, paths))), fitted_volumes.predict_proba(X), atol=1e-5)


def test_a_turned_volume_is_the_same_volume(fitted_volumes):
    X, _ = bodies(3)
    scans = [volumes.read(scan) for scan in X]
    turned = [volumes.to_orientation(scan, "PIL") for scan in scans]
    np.testing.assert_allclose(fitted_volumes.predict_proba(turned), fitted_volumes.predict_proba(scans), atol=1e-5)


def test_a_volume_smaller_than_the_plan_is_filled_up(fitted_volumes):
    (scan, *_), _ = bodies(1)
    small = {"array": scan["array"][4:-4, 4:-4, 4:-4], "affine": scan["affine"]}
    fitted = classifier_input.fitted(volumes.read(small), fitted_volumes.plan_)
    assert list(fitted.shape) == fitted_volumes.plan_["size"]
    assert fitted.array[0, 0, 0] == fitted.array.min()
    assert len(fitted_volumes.predict([small])) == 1


def test_dicom_pictures(tmp_path):
    X, y = digits(most=40)
    paths = [str(making.dicom(tmp_path / f"{i}.dcm", x, position=None, orientation=None, Modality="CR")) for i, x in enumerate(X)]
    model = ScanClassifier(**QUICK).fit(paths, y)
    assert model.predict(paths).shape == (40,)


def test_scans_that_do_not_fit_into_memory_are_read_anew(monkeypatch):
    X, y = digits(most=40)
    X = [X[i].tolist() for i in range(40)]  # lists, so that nothing is an array already
    expected = ScanClassifier(**QUICK).fit(X, y).predict_proba(X)
    monkeypatch.setattr("medical.files.memory", lambda: 64)
    model = ScanClassifier(**QUICK).fit(X, y)
    assert isinstance(classifier_input.prepared(X, model.plan_), list)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_a_large_scan_goes_through_the_network_a_few_at_a_time():
    plan = classifier_input.learn(
        [np.random.default_rng(i).normal(size=(96, 96, 96)) for i in range(2)], "3d", "densenet121", 2,
        size=None, spacing=None, intensity="auto", batch_size=32, seed=0,
    )[0]  # fmt: skip
    assert plan["batch_size"] < 32


def test_one_plan_for_pictures_of_several_sizes():
    rng = np.random.default_rng(0)
    X = [rng.integers(0, 255, (int(h), int(h * 1.5)), dtype=np.uint8) for h in rng.integers(150, 300, 24)]
    model = ScanClassifier(**{**QUICK, "epochs": 1}).fit(X, [0, 1] * 12)
    assert model.plan_["size"][1] == 128
    assert abs(model.plan_["size"][0] - 85) <= 1


def test_size_and_spacing_as_asked():
    X, y = bodies(8)
    model = ScanClassifier(**{**QUICK, "epochs": 1}, size=[12, 10, 8], spacing=2.0).fit(X, y)
    assert model.plan_["size"] == [12, 10, 8]
    assert model.plan_["spacing"] == [2.0, 2.0, 2.0]
    with pytest.raises(ParameterError, match="size=\\[8, 8\\] has 2 numbers, but the scans have 3 dimensions"):
        ScanClassifier(**QUICK, size=[8, 8]).fit(X, y)
    with pytest.raises(ParameterError, match="spacing is for volumes"):
        ScanClassifier(**QUICK, spacing=1.0).fit(*digits())


def test_verbose_says_the_plan_and_the_memory(capsys):
    ScanClassifier(**{**QUICK, "epochs": 1, "verbose": 1}).fit(*digits(most=30))
    said = capsys.readouterr().err
    assert "brought to 8 x 8 pixels" in said
    assert "GiB in all" in said


# ---------------------------------------------------------------- colours
def colours(grey):
    return np.stack([grey] * 3, axis=-1)


def test_grey_pictures_stored_as_colours_are_grey(fitted):
    X, _ = digits()
    np.testing.assert_allclose(fitted.predict_proba([colours(x) for x in X]), fitted.predict_proba(X), atol=1e-5)


def test_true_colours_are_kept_and_grey_is_then_refused():
    X, y = digits(most=40)
    red = [colours(x) * np.array([1, 0, 0], np.uint8) for x in X]
    model = ScanClassifier(**QUICK).fit(red, y)
    assert model.plan_["channels"] == 3
    with pytest.raises(DataError, match="Sample 1 has no colours"):
        model.predict([red[0], X[1]])


def test_colours_where_grey_was_trained_are_refused(fitted):
    X, _ = digits()
    with pytest.raises(DataError, match="Sample 1 has colours, but the training scans were grey"):
        fitted.predict([X[0], colours(X[1]) * np.array([1, 0, 1], np.uint8)])


def test_grey_among_colours_turns_all_to_grey_with_a_note():
    X, y = digits(most=40)
    mixed = [x if i % 2 else colours(x) * np.array([1, 0, 1], np.uint8) for i, x in enumerate(X)]
    model = ScanClassifier(**QUICK).fit(mixed, y)
    assert model.plan_["channels"] == 1
    assert any("all were turned to grey" in note for note in model.notes_)
    assert len(model.predict(mixed)) == 40


# ---------------------------------------------------------------- labels, losses, determinism
def test_several_findings_a_scan():
    X, y = digits(4, 120)
    table = pd.DataFrame({"odd": [int(label[-1]) % 2 for label in y], "large": [int(label[-1] > "1") for label in y]})
    model = ScanClassifier(**{**QUICK, "epochs": 12, "lr": 5e-3}).fit(X, table)
    report = model.evaluate(X, table)
    assert model.multilabel_
    assert report.metrics["f1_macro"] > 0.9
    assert len(model.operating_points_["Youden"]) == 2
    assert "odd: Youden" in report.tables["operating points"].index


def test_class_weights_move_the_decision():
    X, y = digits(most=60)
    X = [np.random.default_rng(i).integers(0, 255, (8, 8), dtype=np.uint8) for i in range(60)]  # nothing to see: weights decide
    plain = ScanClassifier(**QUICK, class_weight={"digit 1": 0.05}).fit(X, y).predict_proba(X)[:, 1].mean()
    heavy = ScanClassifier(**QUICK, class_weight={"digit 1": 20.0}).fit(X, y).predict_proba(X)[:, 1].mean()
    assert heavy > plain + 0.3


def test_flips_only_when_asked_change_the_result():
    X, y = digits(most=40)
    proba = {augment: ScanClassifier(**QUICK, augment=augment).fit(X, y).predict_proba(X) for augment in ("auto", "flip", "none")}
    assert not np.array_equal(proba["auto"], proba["flip"])
    assert not np.array_equal(proba["auto"], proba["none"])


def test_resumed_training_ends_where_it_would_have_ended(tmp_path, monkeypatch):
    X, y = digits(most=40)
    whole = ScanClassifier(**QUICK).fit(X, y).predict_proba(X)
    step, calls = pipelines.engines.engine("torch")._Steps.epoch, []

    def stop_after_two(self, epoch):
        calls.append(epoch)
        if len(calls) == 3:
            raise RuntimeError("power cut")
        return step(self, epoch)

    monkeypatch.setattr(pipelines.engines.engine("torch")._Steps, "epoch", stop_after_two)
    with pytest.raises(RuntimeError, match="power cut"):
        ScanClassifier(**QUICK).fit(X, y, resume=tmp_path)
    resumed = ScanClassifier(**QUICK).fit(X, y, resume=tmp_path)
    assert calls == [0, 1, 2, 2]
    np.testing.assert_array_equal(resumed.predict_proba(X), whole)


# ---------------------------------------------------------------- reports, patients, operating points
def test_report_and_notes_say_what_this_is_not(fitted):
    X, y = digits()
    assert RESEARCH in fitted.notes_
    assert RESEARCH in fitted.evaluate(X, y).notes


def test_report_has_baselines_groups_and_operating_points(fitted):
    X, y = digits()
    sites = ["A" if i % 3 else "B" for i in range(len(X))]
    report = fitted.evaluate(X, y, groups={"site": sites, "sex": ["f", "m"] * 40})
    assert list(report.tables["baselines"].index) == ["this model", "majority class", "logistic regression"]
    assert list(report.tables["groups"].index) == ["site: A", "site: B", "sex: f", "sex: m"]
    table = report.tables["operating points"]
    assert set(table.index) == {"specificity 0.80", "specificity 0.90", "specificity 0.95", "Youden"}
    assert set(table["measure"]) == set(_operating.MEASURES)


def test_operating_points_are_chosen_on_the_validation_part():
    X, y = digits(most=200)
    model = ScanClassifier(**QUICK).fit(X[:150], y[:150], valid=(X[150:], y[150:]))
    proba = model.predict_proba(X[150:])[:, 1]
    negative = proba[np.array(y[150:]) == "digit 0"]
    for wanted in (0.8, 0.9, 0.95):
        assert np.mean(negative < model.operating_points_[f"specificity {wanted:.2f}"]) >= wanted


def test_without_a_validation_part_there_are_no_operating_points():
    X, y = digits(most=40)
    model = ScanClassifier(**QUICK).fit(X, y, valid=0.0)
    assert "operating points" not in model.evaluate(X, y).tables
    assert any("no operating points" in note for note in model.notes_)


def test_three_classes_have_no_operating_points():
    X, y = digits(3, 60)
    model = ScanClassifier(**QUICK).fit(X, y)
    assert model.operating_points_ == {}
    assert "operating points" not in model.evaluate(X, y).tables


def test_intervals_by_patients_are_wider_and_training_patients_are_refused():
    X, y = digits(most=160)
    names = [f"Nightingale {i // 8}" for i in range(160)]
    model = ScanClassifier(**QUICK).fit(X[:80], y[:80], groups=names[:80])
    X_test, y_test = X[80:], [("digit 0", "digit 1")[(i // 8) % 2] for i in range(80)]  # labels of whole patients, mostly wrong
    by_scan = model.evaluate(X_test, y_test).tables["headline"].loc["accuracy"]
    report = model.evaluate(X_test, y_test, patients=names[80:])
    by_patient = report.tables["headline"].loc["accuracy"]
    assert by_patient["value"] == by_scan["value"]
    assert any("resampling 10 clusters (patients)" in note for note in report.notes)
    with pytest.raises(DataError, match="The group 'Nightingale 3' of sample 0 of X is in the training part"):
        model.evaluate(X[24:], y[24:], patients=names[24:])
    with pytest.raises(DataError, match="patients has no name for sample 1"):
        model.evaluate(X[80:82], y[80:82], patients=["a", None])
    with pytest.raises(DataError, match="groups has no name for sample 2"):
        ScanClassifier(**QUICK).fit(X, y, groups=[*names[:2], "", *names[3:]])


def test_nothing_of_patients_is_saved_reported_or_said(tmp_path, capsys):
    X, y = digits(most=60)
    paths = [str(making.dicom(tmp_path / f"{making.PLANTED}-{i}.dcm", x)) for i, x in enumerate(X)]
    names = [f"{making.PLANTED} {i // 4}" for i in range(60)]
    model = ScanClassifier(**{**QUICK, "verbose": 1}).fit(paths[:40], y[:40], groups=names[:40])
    report = model.evaluate(paths[40:], ["digit 0"] * 20, patients=names[40:])  # half of it wrong, so that mistakes are shown
    assert report.examples
    folder = model.save(tmp_path / "model")
    report.save(tmp_path / "report.html")
    kept = [*folder.iterdir(), tmp_path / "report.html"]
    assert not any(making.PLANTED.encode() in file.read_bytes() for file in kept)
    assert making.PLANTED not in "".join(capsys.readouterr())


# ---------------------------------------------------------------- weights to start from
def test_going_on_from_a_saved_pipeline_replaces_the_last_layer(fitted, tmp_path):
    folder = str(fitted.save(tmp_path / "model"))
    X, y = digits(3, 60)
    model = ScanClassifier(**QUICK, weights=folder).fit(X, y)
    assert model.plan_["network"] == "small-cnn"
    note = next(note for note in model.notes_ if note.startswith("The network started from"))
    assert "of its" in note
    assert "head.weight" in note
    with pytest.raises(DataError, match="holds the network 'small-cnn', but network='resnet10'"):
        ScanClassifier(**QUICK, weights=folder, network="resnet10").fit(X, y)


@pytest.mark.parametrize("form", ["state", "nested", "wrapped", "safetensors", "bundle"])
def test_checkpoints_are_taken_up(tmp_path, form):
    import torch
    from monai.networks.nets import resnet10
    from safetensors.torch import save_file

    state = resnet10(spatial_dims=2, n_input_channels=1, num_classes=5).state_dict()
    path = tmp_path / {"safetensors": "w.safetensors", "bundle": "models/model.pt"}.get(form, "w.pt")
    path.parent.mkdir(exist_ok=True)
    if form == "safetensors":
        save_file(state, path)
    else:
        nested = {"epoch": 3, "state_dict": state} if form == "nested" else state
        torch.save({f"module.{name}": value for name, value in state.items()} if form == "wrapped" else nested, path)
    X, y = digits(most=24)
    weights = str(tmp_path if form == "bundle" else path)
    model = ScanClassifier(**{**QUICK, "epochs": 1, "lr": 1e-9}, network="resnet10", weights=weights, size=32).fit(X, y)
    note = next(note for note in model.notes_ if note.startswith("The network started from"))
    assert f"{len(state) - 2} of its {len(state)} weights" in note  # all but the last layer, which has two classes
    found = model.model_.state_dict()["layer1.0.conv1.weight"]
    torch.testing.assert_close(found, state["layer1.0.conv1.weight"], atol=1e-5, rtol=0)


def test_weights_of_another_network_are_refused_with_names_of_both(tmp_path):
    import torch

    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"for example weight \(2, 3\).* in the network features\."):
        ScanClassifier(**QUICK, network="small-cnn", weights=str(tmp_path / "w.pt")).fit(*digits(most=24))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_booby_trapped_file_is_refused_and_not_run(tmp_path, writer):
    import torch

    file, sprung = tmp_path / "w.pt", tmp_path / "sprung"
    if writer == "torch":
        torch.save({"state_dict": making.Trap(sprung)}, file)
    else:
        file.write_bytes(pickle.dumps(making.Trap(sprung)))
    with pytest.raises(DataError, match="nothing in it was run"):
        ScanClassifier(**QUICK, network="small-cnn", weights=str(file)).fit(*digits(most=24))
    assert not sprung.exists()


def test_weights_that_are_not_there_or_nameless(tmp_path):
    with pytest.raises(ParameterError, match="is not there"):
        ScanClassifier(**QUICK, network="small-cnn", weights=str(tmp_path / "no.pt")).fit(*digits(most=24))
    with pytest.raises(ParameterError, match="Name it with network"):
        ScanClassifier(**QUICK, weights=str(tmp_path / "no.pt")).fit(*digits(most=24))
    with pytest.raises(ParameterError, match="holds no weights"):
        ScanClassifier(**QUICK, network="small-cnn", weights=str(tmp_path)).fit(*digits(most=24))
    (tmp_path / "damaged.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="no readable weights file"):
        ScanClassifier(**QUICK, network="small-cnn", weights=str(tmp_path / "damaged.safetensors")).fit(*digits(most=24))


# ---------------------------------------------------------------- bad input
def damaged(tmp_path, what):
    X, y = bodies(8)
    if what == "four dimensions":
        return [*X[:3], np.random.default_rng(0).normal(size=(4, 4, 4, 2)), *X[4:]], y, "Sample 3 .*dimensions"
    if what == "a picture among volumes":
        return [*X[:3], np.eye(8), *X[4:]], y, "Sample 3 .*Expected 3"
    if what == "not a number":
        array = X[3]["array"].astype(np.float32)
        array[2, 3, 4] = np.nan
        return [*X[:3], array, *X[4:]], y, r"Sample 3 .*nan at \(2, 3, 4\)"
    if what == "one value":
        return [*X[:3], np.full((8, 8, 8), 7), *X[4:]], y, "Sample 3 .*the value 7 everywhere"
    if what == "one class":
        return X, ["box"] * 8, "one class only, 'box'"
    if what == "truncated":
        import gzip

        path = making.nifti(tmp_path / "a.nii", X[3]["array"], X[3]["affine"])
        short = tmp_path / "a.nii.gz"
        short.write_bytes(gzip.compress(path.read_bytes())[:-400])
        return [*X[:3], str(short), *X[4:]], y, "Sample 3 .*a.nii.gz"
    path = making.dicom(tmp_path / "empty.dcm", None)
    return [*X[:3], str(path), *X[4:]], y, "Sample 3 .*empty.dcm"


@pytest.mark.parametrize(
    "what",
    ["four dimensions", "a picture among volumes", "not a number", "one value", "one class", "truncated", "no pixels"],
)
def test_bad_input_is_named(tmp_path, what):
    X, y, said = damaged(tmp_path, what)
    with pytest.raises(DataError, match=said):
        ScanClassifier(**QUICK).fit(X, y)


def test_bad_input_to_a_fitted_pipeline(fitted, fitted_volumes):
    with pytest.raises(DataError, match=r"Sample 0 .*Expected 2"):
        fitted.predict(bodies(1)[0])
    with pytest.raises(DataError, match=r"Sample 0 .*Expected 3"):
        fitted_volumes.predict([np.eye(8)])
    with pytest.raises(DataError, match="sample 0, 'digit 7', was never seen"):
        fitted.evaluate(digits()[0][:2], ["digit 7", "digit 0"])


# ---------------------------------------------------------------- the command line
def test_command_line(tmp_path, capsys):
    from pipelines.cli import main

    X, y = digits(most=60)
    for i, x in enumerate(X):
        Image.fromarray(x).save(tmp_path / f"{i}.png")
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(60)], "finding": y, "patient": [f"p{i // 4}" for i in range(60)]})
    table.to_csv(tmp_path / "scans.csv", index=False)
    columns = ["--data", str(tmp_path / "scans.csv"), "--x", "path", "--y", "finding", "--group", "patient"]
    out = str(tmp_path / "model")
    options = ["--epochs", "2", "--verbose", "0", "--size", "8,8"]
    assert main(["fit", "scan-classification", *columns, "--out", out, *options]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["task"] == "scan-classification"
    assert main(["evaluate", out, *columns]) == 0
    report = json.loads(capsys.readouterr().out)
    assert any("15 clusters (patients)" in note for note in report["notes"])
    assert "groups" not in report["tables"]
    assert main(["predict", out, "--data", str(tmp_path / "scans.csv"), "--x", "path"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 60
    assert main(["predict", out, str(tmp_path / "3.png")]) == 0
    assert json.loads(capsys.readouterr().out)[0]["prediction"] in ("digit 0", "digit 1")
