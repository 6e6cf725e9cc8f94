"""Heat maps: on the grid of the scan, where the finding is, faithful, and leaving the network alone."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medical import ScanClassifier, volumes
from pipelines import DataError, ParameterError

from . import making

QUICK = {"epochs": 20, "batch_size": 8, "verbose": 0}


def spots(n=64, side=24, seed=0, axes=2):
    """Noise, half of it with a bright spot somewhere; labels and where the spots are."""
    rng = np.random.default_rng(seed)
    X, y, where = [], [], []
    for i in range(n):
        array = rng.normal(100, 10, [side] * axes)
        corner = rng.integers(2, side - 6, axes)
        if i % 2:
            array[tuple(slice(c, c + 4) for c in corner)] += 100
        X.append(array.clip(0, 255).astype(np.uint8))
        y.append("spot" if i % 2 else "nothing")
        where.append(corner + 1.5)
    return X, y, where


@pytest.fixture(scope="module")
def fitted():
    return ScanClassifier(**QUICK).fit(*spots()[:2])


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_heat_is_where_the_finding_is_and_faithful(fitted, method):
    X, _, where = spots(20, seed=1)
    found = fitted.explain(X[1::2], method, target="spot")
    near = [np.abs(np.array(np.unravel_index(one.heat.argmax(), one.heat.shape)) - place).max() < 6
            for one, place in zip(found, where[1::2], strict=True)]  # fmt: skip
    assert np.mean(near) >= 0.8
    assert np.mean([one.drop for one in found]) > np.mean([one.random_drop for one in found]) + 0.1
    assert found[0].faithful
    assert found[0].prediction == "spot"
    assert found[0].heat.max() == pytest.approx(1, abs=0.3)
    assert found[0].heat.min() >= 0


def test_probability_and_label_are_those_of_the_pipeline(fitted):
    X, _, _ = spots(4, seed=2)
    proba = fitted.predict_proba(X)
    found = fitted.explain(X)
    assert [one.label for one in found] == fitted.predict(X).tolist()
    np.testing.assert_allclose([one.probability for one in found], proba.max(axis=1), atol=1e-3)


def test_heat_lies_on_the_grid_of_a_picture_of_another_size(fitted):
    big = np.kron(spots(2)[0][1], np.ones((3, 2), np.uint8))
    (found,) = fitted.explain([big])
    assert found.heat.shape == big.shape


def test_the_network_is_left_as_it_was(fitted):
    before = {name: value.clone() for name, value in fitted.model_.state_dict().items()}
    fitted.explain(spots(2)[0])
    for module in fitted.model_.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
    assert not fitted.model_.training
    assert all((value == before[name]).all() for name, value in fitted.model_.state_dict().items())
    assert all(parameter.grad is None for parameter in fitted.model_.parameters())


def test_volumes_are_explained_on_their_own_grid_and_saved(tmp_path):
    X, y, where = spots(24, side=12, axes=3)
    matrix = making.affine(flips=(-1, 1, 1), spacing=(1, 1, 1))
    scans = [{"array": array, "affine": matrix} for array in X]
    model = ScanClassifier(**QUICK).fit(scans, y)
    path = making.nifti(tmp_path / "scan.nii", X[1], matrix)
    (found,) = model.explain([str(path)], target="spot")
    assert found.heat.shape == X[1].shape
    file = found.save(tmp_path / "heat.nii.gz")
    stored = nib.load(file)
    np.testing.assert_allclose(stored.affine, matrix, atol=1e-4)
    np.testing.assert_allclose(np.asarray(stored.dataobj), found.heat, atol=1e-6)
    assert volumes.same_grid(volumes.read(file), volumes.read(path))
    with Image.open(found.save(tmp_path / "heat.png")) as image:
        assert min(image.size) > 50
    assert np.abs(np.array(np.unravel_index(found.heat.argmax(), found.heat.shape)) - where[1]).max() < 6


def test_an_explanation_of_several_findings():
    X, y, _ = spots(40)
    table = np.array([[label == "spot", i % 3 == 0] for i, label in enumerate(y)], dtype=int)
    model = ScanClassifier(**QUICK).fit(X, table)
    (found,) = model.explain(X[1:2], target=0)
    assert found.label == 0
    assert isinstance(found.prediction, tuple)


def test_a_transformer_is_explained_by_occlusion():
    X, y, _ = spots(24, side=16)
    model = ScanClassifier(**{**QUICK, "epochs": 1}, network="vit").fit(X, y)
    with pytest.raises(ParameterError, match="Use 'occlusion'"):
        model.explain(X[:1])
    assert model.explain(X[:1], "occlusion")[0].heat.shape == (16, 16)
    assert model.evaluate(X, y).n == 24  # the mistakes are shown without heat


def test_what_cannot_be_explained(fitted, tmp_path):
    X, _, _ = spots(2)
    with pytest.raises(ParameterError, match=r"method='gradcam' is not known. Did you mean 'grad-cam'"):
        fitted.explain(X, "gradcam")
    with pytest.raises(ParameterError, match=r"target='spots' is no label of this pipeline. Did you mean 'spot'"):
        fitted.explain(X, target="spots")
    with pytest.raises(DataError, match="Sample 1 "):
        fitted.explain([X[0], "no-such-file.png"])
    (found,) = fitted.explain(X[:1])
    with pytest.raises(ParameterError, match="no ending"):
        found.save(tmp_path / "heat.jpg")
    with pytest.raises(DataError, match="is no folder"):
        found.save(tmp_path / "no" / "heat.png")
    assert "grad-cam" in repr(found)
