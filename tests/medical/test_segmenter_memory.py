"""Segmentations larger than memory: what they take is said beforehand, files stand in for it, and nothing else changes."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from medical import ScanSegmenter, files, patches, segmentation, volumes
from medical.scratch import Arrays, Scratch
from pipelines import DataError

SMALL = {"width": 4, "epochs": 1, "batch_size": 4, "verbose": 0}


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The place of temporary folders, which must be empty afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert not list(tmp_path.glob("pipelines-*"))


@pytest.fixture
def no_room(monkeypatch):
    monkeypatch.setattr(segmentation, "_SHARE", 10**15)


def pictures(n=6, side=24):
    """Squares at several places in noise, with masks."""
    rng = np.random.default_rng(0)
    masks = [np.pad(np.ones((8, 8), np.uint8), ((at, side - 8 - at), (8, side - 16))) for at in range(1, 1 + 2 * n, 2)]
    return [(mask + rng.normal(0, 0.1, mask.shape)).astype(np.float32) for mask in masks], masks


# ---------------------------------------------------------------- room
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_what_has_no_room_is_in_files_until_the_end(temporary, error):
    given = [np.arange(6.0), np.arange(8, dtype=np.uint8).reshape(2, 4), np.arange(100)]

    def work():
        with Scratch(room=100) as scratch:
            arrays = Arrays(scratch, given)
            assert [type(array) for array in arrays] == [np.ndarray, np.ndarray, np.memmap]
            assert all(np.array_equal(one, other) and one.dtype == other.dtype for one, other in zip(arrays, given, strict=True))
            assert (scratch.held, scratch.written) == (56, 800)
            (folder,) = temporary.glob("pipelines-*")
            assert folder.stat().st_mode & 0o077 == 0  # patients' scans are nobody else's
            if error:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(error):
            work()


def test_a_place_that_cannot_be_written_to_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with Scratch(room=0) as scratch, pytest.raises(DataError, match=r"could not be written to .*nowhere.*TMPDIR"):
        scratch.put(np.arange(3))


# ---------------------------------------------------------------- training
def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(files, "_LIMITS", (limit, tmp_path / "nowhere"))
    whole = files.memory()
    for said, expected in (("max", whole), (str(2**20), 2**20), (str(2**62), whole)):
        limit.write_text(f"{said}\n")
        assert files.memory() == expected


def test_training_from_files_equals_training_from_memory(temporary, monkeypatch, capsys):
    X, y = pictures()
    whole = ScanSegmenter(**SMALL).fit(X, y)
    monkeypatch.setattr(segmentation, "_SHARE", 10**15)
    model = ScanSegmenter(**{**SMALL, "verbose": 1}).fit(X, y)
    said = capsys.readouterr().err
    assert f"partly in {temporary}" in said
    assert [r["loss"] for r in model.history_] == [r["loss"] for r in whole.history_]
    assert [r["val_dice"] for r in model.history_] == [r["val_dice"] for r in whole.history_]
    assert np.array_equal(model.predict_proba(X)[0], whole.predict_proba(X)[0])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_files_are_removed_when_training_fails(temporary, no_room, monkeypatch, error):
    def failing(*_):
        assert list(temporary.glob("pipelines-*"))
        raise error

    monkeypatch.setattr(segmentation.simple_segmenters, "brightness", failing)
    with pytest.raises(error):
        ScanSegmenter(**SMALL).fit(*pictures())


def test_every_mask_is_read_once_in_a_fit(monkeypatch):
    X, y = pictures()
    read = []
    monkeypatch.setattr(
        volumes, "read_mask", lambda mask, like, real=volumes.read_mask: read.append(id(mask)) or real(mask, like)
    )
    ScanSegmenter(**SMALL).fit(X, y)
    assert sorted(read) == sorted(map(id, y))


@pytest.mark.parametrize(("shape", "patch"), [((40, 31, 22), (12, 14, 16)), ((60, 44), (24, 16)), ((9, 8, 30), (16, 16, 8))])
@pytest.mark.parametrize("augment", ["none", "flip"])
def test_masks_are_cut_as_if_all_of_them_had_been_looked_at(monkeypatch, shape, patch, augment):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 4, shape).astype(np.uint8)
    cut = patches.Cutter([mask[None].astype(np.float32)], [mask], patch, [1.0] * len(shape), augment=augment, seed=0)
    parts = cut(np.arange(20))["mask"]
    monkeypatch.setattr(patches, "_reached", lambda mask, grid: mask.astype(np.float32))
    assert np.array_equal(parts, cut(np.arange(20))["mask"])


# ---------------------------------------------------------------- prediction
def test_maps_in_files_are_the_same_maps(temporary, monkeypatch, capsys):
    X, y = pictures()
    model = ScanSegmenter(**SMALL, spacing=1.3).fit(X, y)
    masks, maps = model.predict(X), model.predict_proba(X)
    monkeypatch.setattr(segmentation, "_SHARE", 10**15)
    monkeypatch.setattr(segmentation, "_LARGE", 0)
    model.set_params(verbose=1)
    assert all(np.array_equal(one, other) for one, other in zip(model.predict(X), masks, strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(model.predict_proba(X), maps, strict=True))
    assert f"predicting 24 x 24 voxels, 2 classes, about 1 MiB in all, and 1 MiB in {temporary}" in capsys.readouterr().err


def test_small_predictions_are_not_talked_about(capsys):
    X, y = pictures()
    model = ScanSegmenter(**{**SMALL, "verbose": 1}).fit(X, y)
    capsys.readouterr()
    model.predict(X)
    assert capsys.readouterr().err == ""


MEASURED = """
import contextlib, io, json, pathlib, re, sys
import numpy as np
from medical import ScanSegmenter, segmentation
from pipelines.engines import load_framework

segmentation._PER_EPOCH, segmentation._LARGE = 4, 0
X, y, large = json.loads(sys.argv[1])

def memory(name):
    return 1024 * int(re.search(name + ":[^0-9]*([0-9]+) kB", pathlib.Path("/proc/self/status").read_text()).group(1))

def said_and_taken(work):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        work()
    number, unit = re.search("about ([0-9.]+) (MiB|GiB) in all", said.getvalue()).groups()
    return float(number) * {"MiB": 2**20, "GiB": 2**30}[unit], memory("VmHWM") - before

small = [np.random.default_rng(i).normal(size=(8, 8, 8)) for i in range(2)]
classes = {str(k): k for k in range(1, 12)}
model = ScanSegmenter(epochs=1, width=4, verbose=0, classes=classes).fit(small, [np.eye(8, dtype=int)[None].repeat(8, 0)] * 2)
model.model_ = load_framework("torch").nn.Conv3d(1, 12, 1)  # what counts here is what is around the network
model.plan_["patch"] = [32, 32, 32]
model.set_params(verbose=1)
before, found = memory("VmRSS"), {}
segmentation._SHARE = 10**15
found["prediction from files"] = said_and_taken(lambda: model.predict([large]))
segmentation._SHARE = 4
found["prediction"] = said_and_taken(lambda: model.predict([large]))
found["training"] = said_and_taken(lambda: ScanSegmenter(epochs=1, patch=[64, 64, 48]).fit(X, y, valid=0.0))
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process by itself")
def test_what_is_said_is_what_is_taken_within_a_factor_of_two(tmp_path):
    rng = np.random.default_rng(0)
    scan = rng.normal(size=(64, 64, 48)).astype(np.float32)
    np.save(tmp_path / "scan.npy", scan)
    np.save(tmp_path / "mask.npy", (scan > 2).astype(np.uint8))
    np.save(tmp_path / "large.npy", rng.normal(size=(160, 112, 112)).astype(np.float32))
    given = [[str(tmp_path / "scan.npy")] * 3, [str(tmp_path / "mask.npy")] * 3, str(tmp_path / "large.npy")]
    command = [sys.executable, "-c", MEASURED, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name, (said, taken) in found.items():
        assert 0.5 < said / taken < 2, (name, found)
    maps = 12 * 4 * 160 * 112 * 112
    assert found["prediction"][1] - found["prediction from files"][1] > maps / 2
