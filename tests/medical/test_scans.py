"""Scans as samples: read one at a time, named by their number, of one kind."""

import numpy as np
import pytest

from medical import scans
from pipelines import DataError

from . import making


def test_samples_of_every_form(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    path = making.nifti(tmp_path / "a.nii", array)
    folder = tmp_path / "series"
    files = making.series(folder, array.astype(np.int16))
    X = [array, path, str(path), folder, files, {"array": array, "spacing": [1, 1, 2]}, (array, [1, 1, 2])]
    for i, scan in enumerate(scans.each(X, "3d")):
        assert scan.shape == (3, 4, 5), i


def test_an_array_of_samples_is_a_sequence_of_them():
    X = np.random.default_rng(0).normal(size=(4, 6, 7))
    assert scans.kind_of(X) == "2d"
    assert [scan.shape for scan in scans.each(X)] == [(6, 7)] * 4


def test_errors_name_the_sample_and_its_path_alone(tmp_path):
    path = making.dicom(tmp_path / "empty.dcm", None)
    for source, told in ((path, str(path)), ([path, path], f"2 files, {path} for one"), (np.full((4, 4), np.nan), "array")):
        with pytest.raises(DataError) as error:
            scans.one([np.eye(4), source], 1)
        assert f"Sample 1 ({told}) cannot be used." in str(error.value)
        assert making.PLANTED not in str(error.value)


def test_a_scan_of_one_value_shows_nothing():
    with pytest.raises(DataError, match=r"Sample 1 \(array\) has the value 7 everywhere"):
        scans.one([np.eye(4), np.full((4, 4), 7)], 1)


def test_two_kinds_are_not_mixed():
    X = [np.eye(4), np.arange(64.0).reshape(4, 4, 4)]
    with pytest.raises(DataError, match=r"Sample 1 .*Expected 2"):
        list(scans.each(X, "2d"))
    list(scans.each(X[1:], "3d"))


def test_only_errors_of_the_data_are_renamed():
    def broken():
        raise RuntimeError("a mistake of ours")

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        scans.named(["a"], 0, broken)
