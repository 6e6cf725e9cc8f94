"""The doctor: right about what is missing, broken or dead, and never harmed by it."""

import importlib.util
import json
import sys
import tomllib
from pathlib import Path

import pytest

from pipelines import doctor
from pipelines.doctor import describe, diagnose
from pipelines.engines import EXTRAS, PACKAGES

from .test_gate import fake

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(monkeypatch, tmp_path):
    """A folder in front of the path, here and in the processes the doctor starts."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def only(monkeypatch):
    """Let the doctor look for some frameworks only, so that a test takes seconds."""

    def keep(*names):
        monkeypatch.setattr(doctor, "EXTRAS", {name: EXTRAS.get(name, "nlp") for name in names})
        monkeypatch.setattr(doctor, "_NEEDS", {"nlp": names})

    return keep


@pytest.mark.slow
def test_everything():
    diagnosis = diagnose()
    assert json.loads(json.dumps(diagnosis)) == diagnosis
    for name, found in diagnosis["frameworks"].items():
        assert found["installed"] == (importlib.util.find_spec(name) is not None)
        assert found["works"] or not found["installed"], found["error"]
    assert diagnosis["together"]["works"], diagnosis["together"]["error"]
    assert diagnosis["together"]["seconds"] < 60
    assert diagnosis["extras"]["vision"]["tasks"][0] == "image-classification"
    assert diagnosis["devices"]["keras"][0] == "cpu"
    assert diagnosis["codecs"]["image"]["jpeg"]
    text = describe(diagnosis)
    assert "tensorflow" in text
    assert "works: " in text


def test_missing(only, monkeypatch):
    only("safetensors", "whisper")
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name == "safetensors" else None)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "whisper" else find(name))
    diagnosis = diagnose()
    assert diagnosis["frameworks"]["whisper"] == {"installed": False, "version": None, "works": False, "error": None}
    assert diagnosis["extras"]["nlp"]["missing"] == ["whisper"]
    assert diagnosis["extras"]["nlp"]["install"] == 'pip install "domain-pipelines[nlp]"'
    assert 'whisper       missing: pip install "domain-pipelines[speech]"' in describe(diagnosis)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ImportError('libcudart.so.12: cannot open shared object file')", "libcudart.so.12: cannot open"),
        ("import os; os.write(2, b'LLVM ERROR: twice'); os.abort()", "killed by SIGABRT: LLVM ERROR: twice"),
        ("import sys; sys.exit(3)", "exit code 3"),
    ],
    ids=["import-error", "abort", "exit"],
)
def test_broken(path, only, code, said):
    only("safetensors", "torch")
    fake(path, "torch", code)
    diagnosis = diagnose()
    assert diagnosis["frameworks"]["safetensors"]["works"]  # the other one is not blamed
    assert said in diagnosis["frameworks"]["torch"]["error"]
    assert diagnosis["extras"]["nlp"]["broken"] == ["torch"]
    assert not diagnosis["extras"]["nlp"]["ready"]
    assert not diagnosis["together"]["works"]
    text = describe(diagnosis)
    assert "BROKEN" in text
    assert "torch is broken, see above" in text
    assert "DOES NOT WORK" in text


def test_clash(path, only):
    """Two frameworks that work alone and kill each other."""
    only("safetensors", "accelerate")
    fake(path, "torch", "def get_num_threads(): return 1")
    fake(path, "accelerate", "import os, sys\nif 'safetensors' in sys.modules: os.abort()\n__version__ = '1'")
    diagnosis = diagnose()
    assert all(found["works"] for found in diagnosis["frameworks"].values())
    assert diagnosis["extras"]["nlp"]["ready"]
    assert not diagnosis["together"]["works"]
    assert "killed by SIGABRT" in describe(diagnosis)


def test_death_at_exit_counts(path, only):
    only("safetensors")
    fake(path, "safetensors", "import atexit, os; atexit.register(os._exit, 9)")
    assert "exit code 9" in diagnose()["together"]["error"]


def test_silence_has_an_end(path, only, monkeypatch):
    only("safetensors")
    fake(path, "safetensors", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "_SECONDS", 2)
    assert diagnose()["frameworks"]["safetensors"]["error"] == "no answer within 2 seconds"


def test_noise_on_standard_output_does_no_harm(path, only):
    only("safetensors")
    fake(path, "safetensors", "print('hello', end='')")
    assert diagnose()["frameworks"]["safetensors"]["works"]


def test_files_of_the_current_folder_do_no_harm(tmp_path, only, monkeypatch):
    only("safetensors")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert diagnose()["frameworks"]["safetensors"]["works"]


@pytest.fixture
def without_av():
    """Forget PyAV for a test, and afterwards what was imported in its place: other tests need the real one."""
    real = {name: sys.modules.pop(name) for name in _modules_of("av")}
    yield
    for name in _modules_of("av"):
        del sys.modules[name]
    sys.modules.update(real)


def _modules_of(package):
    return [name for name in sys.modules if name.partition(".")[0] == package]


def test_audio_codecs(without_av, path):
    fake(path, "av")
    (path / "av" / "codec.py").write_text("codecs_available = {'mp3', 'flac'}")
    codecs = doctor._check_codecs()["audio"]
    assert codecs == {"mp3": True, "aac": False, "flac": True, "vorbis": False, "opus": False, "wav": False}
    assert doctor._yes_no(codecs, "av") == "mp3, flac (not: aac, vorbis, opus, wav)"


def test_other_backend_of_keras(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jax" else find(name))
    monkeypatch.setattr(doctor, "keras_backend", lambda: "jax")
    extra = doctor._extra("vision", {})
    assert (extra["missing"], extra["install"]) == (["jax"], 'pip install "domain-pipelines[vision]" jax')


def test_needs_are_those_of_the_project():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {name: PACKAGES.get(name, name) for name in EXTRAS} | {"PIL": "pillow"}
    for extra, names in doctor._NEEDS.items():
        asked = {line.partition(">=")[0] for line in extras[extra]} & set(packages.values())
        assert {packages[name] for name in names} == asked - {"tensorflow"}
    for framework, extra in EXTRAS.items():
        assert any(line.startswith(packages[framework] + ">=") for line in extras[extra])
