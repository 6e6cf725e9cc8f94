"""Saved folders: written at once or not at all, read without running anything that lies in them."""

import errno
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from sklearn.datasets import load_digits

import pipelines
from pipelines import DataError, FormatError, store

from ..conftest import ROOT

MANIFEST = {"task": "image-classification", "params": {}, "facts": {}}


def write(path, number=0, **options):
    """Save a small folder whose parts all tell the same number."""
    arrays = {"values_": np.full(1000, number)}
    manifest = {**MANIFEST, "facts": {"number_": number}}
    return store.write(path, manifest, arrays, lambda file: file.write_bytes(b"%d" % number), **options)


def number_in(path):
    """Return the number a folder holds, after checking that all its parts agree."""
    manifest, arrays, weights, _ = store.read(path)
    number = manifest["facts"]["number_"]
    assert (arrays["values_"] == number).all()
    assert weights.read_bytes() == b"%d" % number
    return number


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


# --- what is written --------------------------------------------------------------------------------------------------


def test_parts_come_back_as_they_were(tmp_path):
    arrays = {"classes_": np.array(["é", "猫"]), "empty_": np.zeros((0, 3), np.float32), "flag_": np.array(True)}
    manifest = {**MANIFEST, "facts": {"notes_": ["süß"], "nothing_": None}}
    folder = store.write(tmp_path / "deep" / "er" / "m", manifest, arrays, lambda p: p.write_bytes(b"w"), {"a": 1})
    found, back, weights, report = store.read(folder)
    assert found["facts"] == manifest["facts"]
    assert found["format"] == store.FORMAT
    assert found["versions"]["numpy"] == np.__version__
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[k], arrays[k]) and back[k].dtype == arrays[k].dtype for k in arrays)
    assert (weights.read_bytes(), report) == (b"w", {"a": 1})


def test_folder_holds_exactly_its_files_and_nothing_is_left_beside_it(tmp_path):
    write(tmp_path / "m", report={"a": 1})
    assert os.listdir(tmp_path) == ["m"]
    assert sorted(os.listdir(tmp_path / "m")) == ["pipeline.json", "report.json", "state.npz", "weights.safetensors"]


def test_saving_again_replaces_the_whole_folder(tmp_path):
    write(tmp_path / "m", 1, report={"a": 1})
    write(tmp_path / "m", 2)
    assert number_in(tmp_path / "m") == 2
    assert os.listdir(tmp_path) == ["m"]
    assert store.read(tmp_path / "m")[3] is None


def test_an_empty_folder_may_be_saved_to(tmp_path):
    (tmp_path / "m").mkdir()
    write(tmp_path / "m", 1)
    assert number_in(tmp_path / "m") == 1


def test_files_get_the_rights_other_files_get(tmp_path):
    (tmp_path / "plain").write_text("")
    (tmp_path / "folder").mkdir()
    write(tmp_path / "m")
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "folder").stat().st_mode
    for file in (tmp_path / "m").iterdir():
        assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_relative_path_and_link_to_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert write("m", 1) == tmp_path / "m"
    os.symlink("m", "link")
    assert number_in("link") == 1


def test_object_arrays_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match="odd_"):
        store.write(tmp_path / "m", MANIFEST, {"odd_": np.array([{}])}, lambda p: p.write_bytes(b""))
    assert os.listdir(tmp_path) == []


def test_numpy_scalars_and_paths_among_the_parameters_are_written_plainly(tmp_path):
    params = {"epochs": np.int64(3), "lr": np.float64(0.5), "weights": tmp_path / "w.h5", "freeze": np.bool_(True)}
    folder = store.write(tmp_path / "m", {**MANIFEST, "params": params}, {}, lambda p: p.write_bytes(b""))
    assert store.read(folder)[0]["params"] == {"epochs": 3, "lr": 0.5, "weights": str(tmp_path / "w.h5"), "freeze": True}


# --- places that are taken or cannot be written -----------------------------------------------------------------------


def with_a_file(path):
    path.write_text("mine")


def with_other_things(path):
    path.mkdir()
    (path / "photo.jpg").write_text("mine")


def with_somebodys_own_pipeline_json(path):
    path.mkdir()
    (path / "pipeline.json").write_text("{}")
    (path / "thesis.txt").write_text("mine")


def with_a_model_and_more(path):
    write(path, 1)
    (path / "thesis.txt").write_text("mine")


def with_a_model_and_a_folder(path):
    write(path, 1)
    (path / "photos").mkdir()


@pytest.mark.parametrize(
    "occupy",
    [
        with_a_file,
        with_other_things,
        with_somebodys_own_pipeline_json,
        with_a_model_and_more,
        with_a_model_and_a_folder,
    ],
)
def test_other_peoples_things_are_never_replaced(tmp_path, occupy):
    occupy(tmp_path / "m")
    before = {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}
    with pytest.raises(DataError, match=r"left alone\. Choose a new folder"):
        write(tmp_path / "m", 2)
    assert {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")} == before


def test_desktop_clutter_does_not_stop_a_replacement(tmp_path):
    write(tmp_path / "m", 1)
    (tmp_path / "m" / ".DS_Store").write_text("")
    write(tmp_path / "m", 2)
    assert number_in(tmp_path / "m") == 2


@pytest.mark.parametrize("path", ["file/m", "file/deep/m", "x" * 300, "x" * 250], ids=["below", "deep", "long", "nearly long"])
def test_places_that_cannot_be_written_are_named(tmp_path, path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="could not be saved to"):
        write(tmp_path / path)
    assert os.listdir(tmp_path) == ["file"]


def test_link_to_a_saved_folder_is_not_half_replaced(tmp_path):
    write(tmp_path / "m", 1)
    os.symlink(tmp_path / "m", tmp_path / "link")
    with pytest.raises(DataError):
        write(tmp_path / "link", 2)
    assert number_in(tmp_path / "m") == number_in(tmp_path / "link") == 1
    assert sorted(os.listdir(tmp_path)) == ["link", "m"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("place", ["savez", "weights", "rename"])
def test_failing_write_leaves_the_earlier_pipeline(tmp_path, monkeypatch, code, place):
    write(tmp_path / "m", 1)

    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    if place == "savez":
        monkeypatch.setattr(np, "savez", fail)
    if place == "rename":
        monkeypatch.setattr(os, "rename", fail)
    why = "the disk is full" if code in (errno.ENOSPC, errno.EDQUOT) else os.strerror(code)
    with pytest.raises(DataError, match=rf"could not be saved.*{why}.*Nothing was changed"):
        store.write(tmp_path / "m", MANIFEST, {}, fail if place == "weights" else lambda p: p.write_bytes(b""))
    monkeypatch.undo()
    assert number_in(tmp_path / "m") == 1
    assert os.listdir(tmp_path) == ["m"]


def test_rename_that_fails_half_way_brings_the_earlier_pipeline_back(tmp_path, monkeypatch):
    write(tmp_path / "m", 1)
    rename = os.rename

    def fail_for_the_new_one(source, target):
        if ".new-" in str(source):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    with pytest.raises(DataError, match="Nothing was changed"):
        write(tmp_path / "m", 2)
    monkeypatch.undo()
    assert number_in(tmp_path / "m") == 1
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_anything_raised_while_writing_leaves_the_earlier_pipeline(tmp_path, error):
    write(tmp_path / "m", 1)

    def fail(file):
        file.write_bytes(b"half")
        raise error

    with pytest.raises(error):
        store.write(tmp_path / "m", MANIFEST, {}, fail)
    assert number_in(tmp_path / "m") == 1
    assert os.listdir(tmp_path) == ["m"]


# --- the end of the process in the middle, and two at once ------------------------------------------------------------

SAVE_FOR_EVER = """
import itertools, sys
from tests.pipelines.test_store import write
for number in itertools.count(int(sys.argv[2])):
    write(sys.argv[1], number)
    if number % 20 == 0:
        print(number, flush=True)
    if len(sys.argv) > 3 and number == int(sys.argv[3]):
        break
"""


def saving(*arguments):
    command = [sys.executable, "-c", SAVE_FOR_EVER, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.slow
def test_process_killed_while_saving_leaves_a_whole_pipeline_or_none(tmp_path):
    rng = np.random.default_rng()
    for _ in range(8):
        with saving(tmp_path / "m", 0) as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        if (tmp_path / "m").exists():
            assert number_in(tmp_path / "m") >= 0
        else:
            kept = list(tmp_path.glob(".m.old-*"))
            assert any(number_in(path) >= 0 for path in kept if any(path.iterdir()))
            with pytest.raises(FormatError, match=r"A save was cut off here; the earlier pipeline is in .*\.m\.old-"):
                store.read(tmp_path / "m")
    write(tmp_path / "m", 7)
    assert number_in(tmp_path / "m") == 7


@pytest.mark.slow
def test_two_processes_that_save_to_one_place_leave_one_whole_pipeline(tmp_path):
    with saving(tmp_path / "m", 0, 150) as one, saving(tmp_path / "m", 1000, 1150) as other:
        one.communicate()
        other.communicate()
    assert (one.returncode, other.returncode) == (0, 0)
    assert number_in(tmp_path / "m") in (150, 1150)
    assert os.listdir(tmp_path) == ["m"]


# --- booby traps ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    from vision import ImageClassifier

    X, y = load_digits(n_class=2, return_X_y=True)
    model = ImageClassifier(epochs=1, verbose=0).fit(X[:24].reshape(-1, 8, 8), y[:24])
    model.evaluate(X[:10].reshape(-1, 8, 8), y[:10])
    return model.save(tmp_path_factory.mktemp("original") / "m")


@pytest.fixture
def folder(original, tmp_path):
    """Copy of a real saved pipeline, free to be tampered with."""
    return shutil.copytree(original, tmp_path / "m")


def edit(folder, **changes):
    """Change the manifest, and let the hashes fit whatever the files hold now."""
    manifest = json.loads((folder / "pipeline.json").read_text())
    manifest["files"] = {name: store._sha256(folder / name) for name in manifest["files"]}
    (folder / "pipeline.json").write_text(json.dumps({**manifest, **changes}))


def replace_state(folder, **arrays):
    with np.load(folder / "state.npz") as stored:
        kept = {name: stored[name] for name in stored.files}
    np.savez(folder / "state.npz", **{**kept, **arrays})
    edit(folder)


def assert_refused(folder, match, *, mark=None):
    with pytest.raises(FormatError, match=match) as caught:
        pipelines.load(folder)
    assert str(caught.value).endswith((".", "domain-pipelines"))
    assert mark is None or not mark.exists()


def test_the_untouched_copy_loads(folder):
    assert pipelines.load(folder).classes_.tolist() == [0, 1]


def test_pickle_in_the_arrays_does_not_run(folder, tmp_path):
    replace_state(folder, classes_=np.array([Bomb(tmp_path / "ran"), 1], dtype=object))
    assert_refused(folder, "without running code", mark=tmp_path / "ran")


def test_pickle_in_place_of_the_arrays_does_not_run(folder, tmp_path):
    (folder / "state.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    edit(folder)
    assert_refused(folder, "without running code", mark=tmp_path / "ran")


def test_pickle_in_place_of_the_weights_does_not_run(folder, tmp_path):
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    edit(folder)
    assert_refused(folder, "no readable weights file", mark=tmp_path / "ran")


def test_the_bomb_is_a_real_one(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_network_with_a_lambda_layer_does_not_run(folder, tmp_path):
    from pipelines.engines import load_framework

    keras = load_framework("keras")
    mark = str(tmp_path / "ran")
    inputs = keras.Input((2,))
    network = keras.Model(inputs, keras.layers.Lambda(lambda x: (open(mark, "w").close(), x)[1])(inputs))
    os.unlink(mark)  # building the trap sets it off
    network.save(folder / "model.keras")
    assert_refused(folder, r"model\.keras does not belong.*could carry code", mark=tmp_path / "ran")


@pytest.mark.parametrize("name", ["w.pkl", "a.joblib", "x.pt", "x.h5", "sitecustomize.py", "x.NPY", "model.KERAS"])
def test_stray_files_that_could_carry_code_are_refused(folder, name):
    (folder / name).write_bytes(b"")
    assert_refused(folder, "could carry code")


def test_harmless_stray_files_are_let_be(folder):
    (folder / "README.md").write_text("about this model")
    pipelines.load(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "sub/state.npz", "..", "", "state.npz\0", "pipeline.json"])
def test_names_that_lead_elsewhere_are_refused(folder, name):
    manifest = json.loads((folder / "pipeline.json").read_text())
    edit(folder, files={**manifest["files"], name: "0" * 64})
    assert_refused(folder, "which no saved pipeline has")


@pytest.mark.parametrize("name", ["weights.safetensors", "state.npz", "report.json"])
def test_links_are_refused(folder, tmp_path, name):
    shutil.move(folder / name, tmp_path / name)
    os.symlink(tmp_path / name, folder / name)
    assert_refused(folder, "a link that leads elsewhere")


@pytest.mark.parametrize("name", ["weights.safetensors", "state.npz", "report.json"])
@pytest.mark.parametrize("how", ["changed", "cut", "missing", "folder", "pipe"])
def test_altered_files_are_refused(folder, name, how):
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    if how == "changed":
        (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    if how == "cut":
        (folder / name).write_bytes(whole[: len(whole) // 2])
    if how == "folder":
        (folder / name).mkdir()
    if how == "pipe":
        os.mkfifo(folder / name)
    assert_refused(folder, "SHA-256 differs" if how in ("changed", "cut") else "is missing")


def test_newer_format_says_to_upgrade(folder):
    edit(folder, format=store.FORMAT + 1)
    assert_refused(folder, r"written in format 2.*pip install -U")


@pytest.mark.parametrize("name", ["predict", "_build", "__class__", "model_", "device_", "report_", "_engine", "classes"])
def test_facts_that_are_none_a_pipeline_learns_are_refused(folder, name):
    manifest = json.loads((folder / "pipeline.json").read_text())
    edit(folder, facts={**manifest["facts"], name: "trap"})
    assert_refused(folder, f"saved fact '{name}'")


@pytest.mark.parametrize(
    "params",
    [{"epoch": 1}, {"backbone": "no-such"}, {"self": 1}, {"batch_size": "many"}, {"batch_size": 0}, [1], "x", None],
    ids=str,
)
def test_parameters_that_do_not_fit_are_refused(folder, params):
    manifest = json.loads((folder / "pipeline.json").read_text())
    edit(folder, params={**manifest["params"], **params} if isinstance(params, dict) else params)
    assert_refused(folder, "does not fit|incomplete|damaged")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "1"},
        {"format": None},
        {"format": True},
        {"format": -3},
        {"task": ["image-classification"]},
        {"task": None},
        {"facts": [1]},
        {"facts": "x"},
        {"facts": {"image_size_": "large"}},
        {"facts": {}},
        {"versions": [1]},
        {"versions": {"numpy": 3}},
        {"versions": None},
        {"files": ["state.npz", "weights.safetensors"]},
        {"files": {"state.npz": 1, "weights.safetensors": None}},
        {"files": None},
    ],
    ids=str,
)
def test_manifest_of_another_shape_is_refused_with_a_sentence(folder, changes):
    edit(folder, **changes)
    assert_refused(folder, str(folder.name))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe\x00", b"[" * 100_000, b'{"format": 1}', b'{"format": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut", "list", "null", "number", "binary", "deep", "bare", "huge number"],
)
def test_damaged_manifest_is_refused_with_a_sentence(folder, content):
    (folder / "pipeline.json").write_bytes(content)
    assert_refused(folder, "damaged|incomplete")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"task": 1}', "[" * 100_000], ids=["empty", "list", "bare", "part", "deep"])
def test_damaged_report_is_refused_with_a_sentence(folder, content):
    (folder / "report.json").write_text(content)
    edit(folder)
    assert_refused(folder, "report")


@pytest.mark.parametrize("path", ["nowhere", "file", "empty"])
def test_what_is_no_saved_pipeline_is_named(tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / path, r"is no saved pipeline.*Check the path")


# --- archives made to hurt --------------------------------------------------------------------------------------------


def npy(shape, data=b"", descr="<f8"):
    """Return a .npy file whose header claims what it likes."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}}}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def with_archive(folder, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(folder / "state.npz", "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    edit(folder)


def test_zip_bomb_is_refused_unopened(folder):
    with_archive(folder, {"classes_.npy": npy((10**8,), b"\0" * 10**7)}, zipfile.ZIP_DEFLATED)
    assert (folder / "state.npz").stat().st_size < 10**5
    assert_refused(folder, "is compressed, which a saved pipeline never is")


@pytest.mark.parametrize("shape", [(10**13,), (10**6, 10**6), (2**62, 8), (-5,), (3.5,), "x"], ids=str)
def test_arrays_that_claim_more_than_they_hold_are_refused(folder, shape):
    with_archive(folder, {"classes_.npy": npy(shape, b"\0" * 16)})
    assert_refused(folder, "damaged|does not fit")


def test_many_times_the_same_bytes_are_refused(folder):
    """A "bomb" of overlapping members: each entry of the directory points to the same data."""
    with_archive(folder, {f"a{i:04d}_.npy": b"" for i in range(50)})
    raw = bytearray((folder / "state.npz").read_bytes())
    data = npy((10**6,), b"\0" * (8 * 10**6))
    first = bytes(raw[: 30 + len("a0000_.npy")])
    directory = raw[raw.find(b"PK\x01\x02") : raw.rfind(b"PK\x05\x06")]
    entries = []
    for i in range(50):
        entry = bytearray(directory[i * 56 : (i + 1) * 56])
        struct.pack_into("<III", entry, 16, zipfile.crc32(data), len(data), len(data))
        struct.pack_into("<I", entry, 42, 0)
        entry[46:56] = b"a0000_.npy"
        entries.append(bytes(entry))
    body = first + data
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 50, 50, 56 * 50, len(body), 0)
    (folder / "state.npz").write_bytes(body + b"".join(entries) + end)
    edit(folder)
    assert_refused(folder, "state")


def encrypted(raw):
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.find(mark) + offset] |= 1
    return raw


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-10],
        lambda raw: b"",
        lambda raw: b"PK\x05\x06" + b"\0" * 18,
        lambda raw: raw.replace(b"NUMPY", b"MUMPY"),
        lambda raw: raw.replace(b"'descr': '<", b"'descr': '!"),
        encrypted,
    ],
    ids=["half", "cut", "empty", "no_members", "no_arrays", "odd_type", "encrypted"],
)
def test_damaged_archive_is_refused_with_a_sentence(folder, damage):
    (folder / "state.npz").write_bytes(damage(bytearray((folder / "state.npz").read_bytes())))
    edit(folder)
    assert_refused(folder, "state|does not fit")


def test_noise_in_the_archive_is_refused_with_a_sentence_or_read(folder):
    whole = (folder / "state.npz").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        noisy = bytearray(whole)
        for at in rng.integers(0, len(whole), 4):
            noisy[at] = rng.integers(0, 256)
        (folder / "state.npz").write_bytes(noisy)
        edit(folder)
        try:
            store.read(folder)
        except FormatError:
            refused += 1
    assert refused > 100


def test_weights_of_another_shape_are_refused(folder):
    replace_state(folder, classes_=np.array([0, 1, 2]))
    assert_refused(folder, "do not fit the network")


# --- drift ------------------------------------------------------------------------------------------------------------


def test_other_versions_are_warned_of_and_their_patches_are_not(tmp_path, monkeypatch):
    major, minor, *_ = np.__version__.split(".")
    monkeypatch.setattr(store, "versions", lambda: {"numpy": "0.1.2", "gone": "1.0"})
    write(tmp_path / "old")
    monkeypatch.setattr(store, "versions", lambda: {"numpy": f"{major}.{minor}.999"})
    write(tmp_path / "patch", 1)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"saved with other versions \(numpy 0\.1\.2 -> "):
        store.read(tmp_path / "old")
    assert number_in(tmp_path / "patch") == 1  # a warning would fail the test
