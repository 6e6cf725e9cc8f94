"""What is installed, what works, what is missing: frameworks are tried in other processes, so that none can stop us."""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .device import visible
from .engines import EXTRAS, PACKAGES, keras_backend, load_framework, usable_cores
from .registry import TASKS

__all__ = ["describe", "diagnose"]

_SECONDS = 60  # for one check; the first import of everything, from a cold disk, may take most of it
_NEEDS = {  # as in pyproject.toml
    "vision": ("keras", "PIL", "safetensors"),  # and Keras's backend
    "nlp": ("torch", "transformers", "tokenizers", "accelerate", "safetensors", "captum"),
    "speech": ("torch", "accelerate", "whisper", "av", "silero_vad", "jiwer", "safetensors"),
    "medical": ("torch", "accelerate", "monai", "nibabel", "pydicom", "PIL"),
    "timeseries": ("torch", "accelerate", "safetensors"),
}
_IMAGES = {"jpeg": "jpg", "png": "zlib", "webp": "webp", "avif": "avif", "tiff": "libtiff", "jpeg2000": "jpg_2000"}
_SOUNDS = {"mp3": "mp3", "aac": "aac", "flac": "flac", "vorbis": "vorbis", "opus": "opus", "wav": "pcm_s16le"}


def diagnose() -> dict[str, Any]:
    """Examine the installation: about 15 seconds where all is well, more where the culprit must be found.

    All frameworks are loaded in one process, as by a script that uses all domains, with a training step of Keras and
    of PyTorch. What did not answer there is tried again alone.

    Returns
    -------
    diagnosis : dict
        Plain JSON values under "python", "platform", "cores", "memory", "gpu_driver", "frameworks", "devices",
        "codecs", "extras" (what each still needs, with the pip line) and "together" (TensorFlow and PyTorch in one
        process). `describe` turns it into text.

    Examples
    --------
    >>> sorted(diagnose()["extras"])  # doctest: +SKIP
    ['medical', 'nlp', 'speech', 'timeseries', 'vision']
    """
    names = [name for name in EXTRAS if _version(name)]
    with ThreadPoolExecutor(2) as pool:  # two at a time: each check keeps a core or two busy
        codecs = pool.submit(_ask, "codecs")
        together = _ask("frameworks", *names)
        answers = {name: answer for name, answer in together.pop("answers", {}).items() if not answer["error"]}
        alone = {name: pool.submit(_ask, "frameworks", name) for name in names if name not in answers}
    answers |= {name: _alone(name, answer.result()) for name, answer in alone.items()}
    frameworks = {name: _framework(name, answers.get(name)) for name in EXTRAS}
    return {
        **_machine(),
        "frameworks": frameworks,
        "devices": {name: found.pop("devices") for name, found in frameworks.items() if "devices" in found},
        "codecs": codecs.result(),
        "extras": {extra: _extra(extra, frameworks) for extra in _NEEDS},
        "together": {"works": together["error"] is None, "frameworks": names, **together},
    }


def describe(diagnosis: dict[str, Any]) -> str:
    """Turn a diagnosis into text for a terminal.

    Parameters
    ----------
    diagnosis : dict
        What `diagnose` returned.

    Returns
    -------
    text : str
    """
    sections = [
        ("Machine", _describe_machine(diagnosis)),
        ("Frameworks", [_describe_framework(name, found) for name, found in diagnosis["frameworks"].items()]),
        ("Devices", _describe_devices(diagnosis)),
        ("Codecs", _describe_codecs(diagnosis["codecs"])),
        ("Tasks", [_describe_extra(extra, found) for extra, found in diagnosis["extras"].items()]),
        ("All in one process", _describe_together(diagnosis["together"])),
    ]
    return "\n\n".join("\n  ".join([title, *lines]) for title, lines in sections)


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cores": {"usable": usable_cores(), "all": os.cpu_count()},
        "memory": _memory(),
        "gpu_driver": _gpu_driver(),
    }


def _memory() -> float | None:
    """Return the machine's memory in GiB, where the system tells."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _gpu_driver() -> list[str] | None:
    """Return the GPUs NVIDIA's own tool lists, whatever the frameworks see; None without that tool."""
    if not shutil.which("nvidia-smi"):
        return None
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=15)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"nvidia-smi failed: {error}"]
    return (answer.stdout or answer.stderr).strip().splitlines()


def _version(name: str) -> str | None:
    """Return a package's version without importing it, None where it is not installed."""
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(PACKAGES.get(name, name))
    except importlib.metadata.PackageNotFoundError:  # on the path, but not put there by pip
        return "unknown"


def _framework(name: str, answer: dict[str, Any] | None) -> dict[str, Any]:
    """Sum up what is known of a framework; `answer` is None where it is not installed."""
    error = answer["error"] if answer else None
    return {
        "installed": answer is not None,
        "version": _version(name),
        "works": answer is not None and error is None,
        "error": error,
        **(answer or {}),
    }


def _alone(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Return a framework's own answer, or how its process ended where it gave none."""
    return answer.get("answers", {}).get(name) or {"error": answer["error"]}


def _extra(extra: str, frameworks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Say what an extra's tasks still need; the pip line only helps with what is missing, not with what is broken."""
    backend = [keras_backend()] if extra == "vision" else []
    needs = [*_NEEDS[extra], *backend]
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    broken = [name for name in needs if name in frameworks and frameworks[name]["error"]]
    besides = "".join(f" {name}" for name in backend if name in missing and name != "tensorflow")
    return {
        "tasks": sorted(task for task, home in TASKS.items() if home.partition(".")[0] == extra),
        "ready": not missing and not broken,
        "missing": missing,
        "broken": broken,
        "install": f'pip install "domain-pipelines[{extra}]"{besides}' if missing else None,
    }


def _ask(check: str, *arguments: str) -> dict[str, Any]:
    """Run one of `_CHECKS` in a process of its own and return its answer, or {"error": …} where it has none."""
    started = time.monotonic()
    code = "import sys; from pipelines.doctor import _answer; _answer(*sys.argv[1:])"
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", code, check, *arguments],  # -P: no file of the current folder gets in
            capture_output=True, text=True, errors="replace", timeout=_SECONDS, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {_SECONDS} seconds", "exit_code": None, "seconds": float(_SECONDS)}
    answer = _last_line(child.stdout)
    if not answer or child.returncode:
        answer["error"] = _ending(child)
    return {"error": None, **answer, "exit_code": child.returncode, "seconds": round(time.monotonic() - started, 1)}


def _answer(check: str, *arguments: str) -> None:
    """Write a check's answer as the last line of the standard output: what `_ask` runs in the child."""
    answer = _CHECKS[check](*arguments)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


def _last_line(text: str) -> dict[str, Any]:
    lines = text.strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _ending(child: "subprocess.CompletedProcess[str]") -> str:
    """Say how a process without an answer ended: its signal or exit code, and its last words."""
    code = child.returncode
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    words = child.stderr.strip().splitlines()
    return f"{how}: {words[-1][:300]}" if words else how


def _check_frameworks(*names: str) -> dict[str, Any]:
    """Try frameworks in this process, one after the other, going on after an error."""
    answers = {name: _try(name) for name in names}
    failed = [name for name in names if answers[name]["error"]]
    return {"answers": answers, "error": f"{', '.join(failed)}: {answers[failed[0]]['error']}" if failed else None}


def _try(name: str) -> dict[str, Any]:
    started = time.monotonic()
    try:
        module = load_framework(name)
        _TRAINS.get(name, list)()
        facts = _facts(name, module)
    except Exception as error:  # whatever a broken framework raises is the finding
        return {"error": f"{type(error).__name__}: {error}"}
    return {"error": None, "seconds": round(time.monotonic() - started, 1), **facts}


def _facts(name: str, module: Any) -> dict[str, Any]:
    """Return what is worth knowing of one framework beyond its version."""
    if name == "tensorflow":
        return {"built_for": module.sysconfig.get_build_info().get("cuda_version")}
    devices = [str(device) for device in visible(name)] if name in _TRAINS else []
    if name == "torch":
        return {"built_for": module.version.cuda or module.version.hip, "devices": devices}
    return {"backend": keras_backend(), "devices": devices} if name == "keras" else {}


def _check_codecs() -> dict[str, Any]:
    return {"image": _image_codecs(), "audio": _audio_codecs(), "ffmpeg": shutil.which("ffmpeg")}


def _image_codecs() -> dict[str, bool] | None:
    if importlib.util.find_spec("PIL") is None:
        return None
    from PIL import features

    return {name: bool(features.check(feature)) for name, feature in _IMAGES.items()}


def _audio_codecs() -> dict[str, bool] | None:
    if importlib.util.find_spec("av") is None:
        return None
    available = importlib.import_module("av.codec").codecs_available
    return {name: codec in available for name, codec in _SOUNDS.items()}


def _train_keras() -> None:
    keras = load_framework("keras")
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    zeros = keras.ops.zeros
    model.fit(zeros((8, 4)), zeros((8, 1)), verbose=0)


def _train_torch() -> None:
    torch = load_framework("torch")
    model = torch.nn.LSTM(4, 8)
    optimiser = torch.optim.AdamW(model.parameters())
    output, _ = model(torch.zeros(5, 2, 4))
    output.sum().backward()
    optimiser.step()  # imports triton, where there is one


_TRAINS: dict[str, Callable[[], None]] = {"keras": _train_keras, "torch": _train_torch}
_CHECKS: dict[str, Callable[..., dict[str, Any]]] = {
    "frameworks": _check_frameworks,
    "codecs": _check_codecs,
}


def _describe_machine(diagnosis: dict[str, Any]) -> list[str]:
    cores, memory, driver = diagnosis["cores"], diagnosis["memory"], diagnosis["gpu_driver"]
    return [
        f"Python {diagnosis['python']} ({diagnosis['executable']})",
        diagnosis["platform"],
        f"{cores['usable']} usable cores of {cores['all']}, memory: {f'{memory} GiB' if memory else 'unknown'}",
        *(driver if driver is not None else ["no NVIDIA driver (nvidia-smi) found"]),
    ]


def _describe_framework(name: str, found: dict[str, Any]) -> str:
    if not found["installed"]:
        return f'{name:13} missing: pip install "domain-pipelines[{EXTRAS[name]}]"'
    if found["error"]:
        return f"{name:13} {found['version']:13} BROKEN: {found['error']}"
    backend = f", on {found['backend']}" if "backend" in found else ""
    return f"{name:13} {found['version']:13} works{backend}"


def _describe_devices(diagnosis: dict[str, Any]) -> list[str]:
    frameworks, lines = diagnosis["frameworks"], []
    for engine, devices in diagnosis["devices"].items():
        library = frameworks["keras"].get("backend", "keras") if engine == "keras" else "torch"
        built = frameworks.get(library, {}).get("built_for", "")
        note = {"": "", None: f" ({library} is a CPU-only build)"}.get(built, f" ({library} is built for CUDA {built})")
        lines.append(f"{engine:13} {', '.join(devices) or 'unknown'}{note}")
    if diagnosis["gpu_driver"] and not any("gpu" in d for devices in diagnosis["devices"].values() for d in devices):
        lines.append("There is a GPU driver, but no framework sees a GPU: install the builds made for it.")
    return lines


def _describe_codecs(codecs: dict[str, Any]) -> list[str]:
    if codecs.get("error"):
        return [codecs["error"]]
    return [
        f"images        {_yes_no(codecs['image'], 'Pillow')}",
        f"audio         {_yes_no(codecs['audio'], 'av')}; ffmpeg: {codecs['ffmpeg'] or 'no'}",
    ]


def _yes_no(found: dict[str, bool] | None, package: str) -> str:
    if found is None:
        return f"{package} is not installed"
    there, absent = [n for n, ok in found.items() if ok], [n for n, ok in found.items() if not ok]
    return ", ".join(there) + (f" (not: {', '.join(absent)})" if absent else "")


def _describe_extra(extra: str, found: dict[str, Any]) -> str:
    title = f"{extra:13} {', '.join(found['tasks']) or 'no tasks yet'}: "
    if found["ready"]:
        return title + "ready"
    parts = [f"missing {', '.join(found['missing'])}: {found['install']}"] if found["missing"] else []
    return title + "; ".join(parts + [f"{name} is broken, see above" for name in found["broken"]])


def _describe_together(found: dict[str, Any]) -> list[str]:
    if found["works"]:
        return [f"works: {', '.join(found['frameworks']) or 'nothing to load'}, in {found['seconds']} s"]
    return [f"DOES NOT WORK: {found['error']}", "Those that work above can be used in separate processes."]
