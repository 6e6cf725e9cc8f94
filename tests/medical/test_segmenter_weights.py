"""Weights that `ScanSegmenter` starts from: saved pipelines, checkpoints, bundles, and files that are none or do not fit."""

import pickle

import numpy as np
import pytest

from medical import ScanClassifier, ScanSegmenter
from medical.segmenter_networks import build
from pipelines import DataError, ParameterError, engines
from pipelines.engines import load_framework

from . import making

torch = load_framework("torch")
SMALL = {"width": 4, "epochs": 1, "batch_size": 4, "verbose": 0}
STILL = {**SMALL, "lr": 1e-9}  # so that weights stay as they were taken over


def pictures(n=4, side=24, labels=(1,)):
    """Squares in noise, with masks."""
    rng = np.random.default_rng(0)
    masks = []
    for i in range(n):
        mask = np.zeros((side, side), np.uint8)
        for k, label in enumerate(labels):
            mask[2 + i : 10 + i, 8 * k : 8 * k + 6] = label
        masks.append(mask)
    return [(mask + rng.normal(0, 0.1, mask.shape)).astype(np.float32) for mask in masks], masks


def fit(**options):
    return ScanSegmenter(**{**STILL, **options}).fit(*pictures(), valid=0.0)


def started(model):
    return next(note for note in model.notes_ if note.startswith("The network started from"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved pipeline that is none of the defaults in network and depth."""
    model = ScanSegmenter(network="dynunet", **SMALL).fit(*pictures(side=64), valid=0.0)
    return model, str(model.save(tmp_path_factory.mktemp("saved") / "model"))


def test_a_saved_pipeline_gives_network_depth_and_weights(saved):
    first, folder = saved
    model = fit(weights=folder)
    assert model.plan_["network"] == "dynunet"
    assert model.plan_["strides"] == first.plan_["strides"] != ScanSegmenter(**SMALL).fit(*pictures(), valid=0.0).plan_["strides"]
    assert all(side % 2 ** len(first.plan_["strides"]) == 0 for side in model.plan_["patch"])
    state = model.model_.state_dict()
    assert f"{len(state)} of its {len(state)} weights" in started(model)
    for name, value in first.model_.state_dict().items():
        torch.testing.assert_close(state[name], value, atol=1e-6, rtol=0)


def test_other_classes_get_a_new_last_layer(saved):
    model = ScanSegmenter(**STILL, weights=saved[1]).fit(*pictures(labels=(1, 2)), valid=0.0)
    assert "begin at random, output_block.conv" in started(model)
    assert model.predict_proba(pictures()[0])[0].shape == (24, 24, 3)


def test_a_pipeline_started_from_weights_can_be_saved_without_them(saved, tmp_path):
    X, _ = pictures()
    torch.save(saved[0].model_.state_dict(), tmp_path / "w.pt")
    model = fit(network="dynunet", weights=str(tmp_path / "w.pt"))
    folder = model.save(tmp_path / "model")
    (tmp_path / "w.pt").unlink()
    assert np.array_equal(ScanSegmenter.load(folder).predict(X)[0], model.predict(X)[0])


def test_a_saved_pipeline_that_is_another_is_refused(saved, tmp_path):
    with pytest.raises(DataError, match="holds the network 'dynunet', but network='unet' was asked for"):
        fit(weights=saved[1], network="unet")
    with pytest.raises(ParameterError, match="holds a network of width=4, but this is width=8"):
        fit(weights=saved[1], width=8)
    X = np.random.default_rng(0).normal(size=(2, 8, 8, 8))
    with pytest.raises(DataError, match="holds a network for scans of the kind 2d, but these are 3d"):
        ScanSegmenter(**STILL, weights=saved[1]).fit(X, (X > 0).astype(int))
    digits = np.random.default_rng(0).integers(0, 255, (8, 8, 8), dtype=np.uint8)
    folder = ScanClassifier(epochs=1, verbose=0).fit(digits, [0, 1] * 4).save(tmp_path / "classifier")
    with pytest.raises(DataError, match=r"holds a pipeline for scan-classification.* a saved ScanSegmenter"):
        fit(weights=str(folder))


@pytest.mark.parametrize("form", ["state", "nested", "wrapped", "safetensors", "bundle"])
def test_checkpoints_and_bundles_are_taken_up_as_deep_as_they_are(tmp_path, form):
    deep = [[2, 2]] * 4
    assert len(fit().plan_["strides"]) < len(deep)
    state = build("unet", axes=2, channels=1, classes=7, strides=deep, width=4).state_dict()
    path = tmp_path / {"safetensors": "w.safetensors", "bundle": "models/model.pt"}.get(form, "w.pt")
    path.parent.mkdir(exist_ok=True)
    if form == "safetensors":
        load_framework("safetensors.torch").save_file(state, path)
    else:
        nested = {"epoch": 3, "state_dict": state} if form == "nested" else state
        torch.save({f"module.{name}": value for name, value in state.items()} if form == "wrapped" else nested, path)
    model = fit(network="unet", weights=str(tmp_path if form == "bundle" else path))
    found = model.model_.state_dict()
    fitting = [name for name in state if state[name].shape == found[name].shape]
    assert len(state) - len(fitting) == 6  # of the two convolutions that end in classes, and the normalisation between them
    assert f"{len(fitting)} of its {len(found)} weights were taken from there; the others begin at random" in started(model)
    for name in fitting:
        torch.testing.assert_close(found[name], state[name], atol=1e-6, rtol=0)


def test_learning_from_weights_is_slower(tmp_path, monkeypatch):
    torch.save(fit().model_.state_dict(), tmp_path / "w.pt")
    rates = []
    engine = engines.engine("torch")
    monkeypatch.setattr(
        engine, "train", lambda *_, lr, real=engine.train, **options: rates.append(lr) or real(*_, lr=lr, **options)
    )
    fit(lr=1e-3)
    fit(lr=1e-3, network="unet", weights=str(tmp_path / "w.pt"))
    assert rates == [1e-3, pytest.approx(2e-4)]


# ---------------------------------------------------------------- what cannot be used
def test_weights_that_fit_nothing_are_refused_with_names_of_both(tmp_path):
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(
        DataError,
        match=r"fit 0 of the network's \d+ layers: there is for example weight \(2, 3\), bias \(2,\), in the network model\.0",
    ):
        fit(network="unet", weights=str(tmp_path / "w.pt"))


def test_a_wider_network_does_not_fit_by_its_last_layer(tmp_path):
    torch.save(build("unet", axes=2, channels=1, classes=2, strides=[[2, 2]] * 3, width=6).state_dict(), tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"fit 1 of the network's \d+ layers: .* \(6, 1, 3, 3\).* \(4, 1, 3, 3\)"):
        fit(network="unet", weights=str(tmp_path / "w.pt"))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_booby_trapped_file_is_refused_and_not_run(tmp_path, writer):
    file, sprung = tmp_path / "w.pt", tmp_path / "sprung"
    if writer == "torch":
        torch.save({"state_dict": making.Trap(sprung)}, file)
    else:
        file.write_bytes(pickle.dumps(making.Trap(sprung)))
    with pytest.raises(DataError, match="nothing in it was run"):
        fit(network="unet", weights=str(file))
    assert not sprung.exists()


def test_weights_that_are_not_there_are_told_before_scans_are_read(tmp_path):
    X = [pictures()[0][0], "no-such-scan.nii"]
    for weights, said in (("no.pt", "is not there"), (str(tmp_path), "holds no weights")):
        with pytest.raises(ParameterError, match=said):
            ScanSegmenter(**SMALL, network="unet", weights=weights).fit(X, X)
    with pytest.raises(ParameterError, match="Name it with network"):
        ScanSegmenter(**SMALL, weights="no.pt").fit(X, X)
