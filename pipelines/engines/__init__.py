"""The gate: every framework import of the library goes through `load_framework`, in an order that cannot abort.

TensorFlow and triton (which openai-whisper installs and PyTorch imports at its first optimiser step, MONAI and
transformers' models at import) carry an LLVM each. Loaded as TensorFlow, then triton, the second one registers an
option the first one has ("registered more than once") and the process dies with SIGABRT, without a traceback; the
other way round both work. So, where triton is installed:

- TensorFlow is not loaded yet: triton's library is loaded first, before whatever was asked for;
- TensorFlow came first (the user's script imported it): triton is hidden, `sys.modules["triton"] = None`. PyTorch,
  transformers, MONAI and Whisper go on without it; what they use it for on a GPU (`torch.compile`, Whisper's word
  timestamps at full speed) is not to be had in that process.

What no gate can help, since the process dies before the library is asked for anything: a script that by itself
imports `tensorflow` (or `keras` on TensorFlow) before any pipeline of ours has been used and then, still by itself,
imports `monai` or `triton`, a model class of `transformers` (`from transformers import BertModel`), or steps a
`torch.optim` optimiser. Cure: use a pipeline first, or `import triton` on the first line.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ..checks import did_you_mean
from ..errors import ParameterError
from ..progress import hushed

__all__ = ["EXTRAS", "PACKAGES", "engine", "keras_backend", "load_framework", "quiet_transformers", "usable_cores"]

log = logging.getLogger("pipelines")

#: Framework -> the extra of `domain-pipelines` that installs it, unless the caller names its own.
EXTRAS = {
    "tensorflow": "vision", "keras": "vision",
    "torch": "nlp", "transformers": "nlp", "accelerate": "nlp", "safetensors": "nlp",
    "safetensors.torch": "nlp", "tokenizers": "nlp", "captum": "nlp",
    "onnx": "export", "onnxscript": "export", "onnxruntime": "export",
    "tf2onnx": "export", "ai_edge_litert.interpreter": "export",
    "whisper": "speech", "av": "speech", "silero_vad": "speech", "jiwer": "speech",
    "espeakng_loader": "synthesis", "ctranslate2": "ctranslate2", "faster_whisper": "dev",
    "monai": "medical", "nibabel": "medical", "pydicom": "medical", "PIL": "medical",
}  # fmt: skip

_ENGINES = ("keras", "torch")
_ON_TORCH = (
    "transformers", "accelerate", "safetensors.torch", "captum", "whisper", "silero_vad", "ctranslate2", "faster_whisper",
    "monai",
)  # fmt: skip
#: Import name -> pip name, where they differ.
PACKAGES = {
    "safetensors.torch": "safetensors", "whisper": "openai-whisper", "silero_vad": "silero-vad",
    "espeakng_loader": "espeakng-loader", "ai_edge_litert.interpreter": "ai-edge-litert",
    "faster_whisper": "faster-whisper", "PIL": "pillow",
}  # fmt: skip

# What TensorFlow 2.21 writes while it is loaded, before it reads TF_CPP_MIN_LOG_LEVEL; 303 is "no NVIDIA driver here".
_NOISE = (
    r"I\d{4} .*\.cc:\d+\] |\d{4}-\d\d-\d\d .*: I |WARNING: All log messages before absl|"
    r"To enable the following instructions|E\d{4} .*cuInit: .*\(303\)"
)
_FILTER = """
import re, sys
noise = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not noise.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""

# Rounds a thread of PyTorch waits for work before it sleeps, read when PyTorch is loaded. By itself it is 300,000, so that on a
# machine with other work threads mostly keep each other from working: a fit of 11 s took 136 s. With 2,000 a machine with nothing
# else to do is as quick as before.
_SPINS = "2000"

# Whether TensorFlow computes with oneDNN, read when it is loaded; by itself only on processors with VNNI. On others, too, oneDNN
# trains a U-Net 1.3 to 1.5 times as quickly, and predicts with a MobileNet twice as quickly; an LSTM trains 4 to 8 % slower.
_ONEDNN = "1"

_lock = threading.RLock()  # reentrant: keras loads its backend, transformers loads torch
_settled: set[str] = set()


def load_framework(name: str, *, extra: str | None = None) -> ModuleType:
    """Import a framework safely, and return it.

    Cheap and harmless to repeat; call it at each use, so that what the user imported meanwhile is seen.

    Parameters
    ----------
    name : str
        "tensorflow", "keras", "torch", "transformers", "accelerate", "safetensors", "safetensors.torch",
        "tokenizers", "captum", "onnx", "onnxscript", "onnxruntime", "tf2onnx", "ai_edge_litert.interpreter",
        "whisper", "av", "silero_vad", "espeakng_loader", "jiwer", "faster_whisper", "ctranslate2", "monai",
        "nibabel", "pydicom" or "PIL".
    extra : str, optional
        The extra an error message tells to install, such as "timeseries"; the framework's usual one by default.

    Returns
    -------
    module : module
        The framework. TensorFlow has memory growth, quiet logs and at most `usable_cores` threads, except for what
        the user has set; Keras has its backend loaded the same way. PyTorch keeps its number of threads, whatever
        silero_vad sets when it is imported.

    Raises
    ------
    ImportError
        If the package is missing, with the pip line; or if it is there but broken, with the cause.
    ParameterError
        If the library uses no framework of that name.

    Examples
    --------
    >>> load_framework("safetensors").__name__
    'safetensors'
    """
    if name not in EXTRAS:
        raise ParameterError(f"There is no framework {name!r}.{did_you_mean(name, EXTRAS)}")
    with _lock:
        _settle_triton()
        if name == "tensorflow":
            return _load_tensorflow(extra)
        if name == "torch":
            return _load_torch(extra)
        if name == "keras":
            _load_keras_backend(extra)
        elif name == "tf2onnx":
            _load_tensorflow(extra)
        elif name in _ON_TORCH:
            torch = _load_torch(extra or EXTRAS[name])
            return _import_silero(torch, extra) if name == "silero_vad" else _import(name, extra)
        return _import(name, extra)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep the progress bars, advice and repeated attempts of transformers off the screen; what matters of them is said by us."""
    bars = load_framework("transformers").utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with hushed("transformers", "huggingface_hub"):
            yield
    finally:
        if shown:
            bars.enable_progress_bar()


def engine(name: str) -> ModuleType:
    """Return the engine module "keras" or "torch", importing it and so its framework.

    Raises
    ------
    ParameterError
        If there is no such engine.
    """
    if name not in _ENGINES:
        raise ParameterError(f"There is no engine {name!r}.{did_you_mean(name, _ENGINES)}")
    return importlib.import_module(f"{__name__}.{name}")


def keras_backend() -> str:
    """Return the name of the backend Keras runs on, or will run on, without importing anything.

    The user's choice counts, in Keras's own order (Keras already imported, `KERAS_BACKEND`, `keras.json`); where
    there is none, the first installed of tensorflow, torch and jax.

    Examples
    --------
    >>> keras_backend() in ("tensorflow", "torch", "jax", "numpy", "openvino")
    True
    """
    if sys.modules.get("keras"):
        return str(sys.modules["keras"].config.backend())
    chosen = os.environ.get("KERAS_BACKEND") or _backend_on_file()
    if chosen:
        return chosen
    return next(filter(_installed, ("tensorflow", "torch", "jax")), "tensorflow")


def usable_cores() -> int:
    """Return the number of cores this process may use: affinity mask and container quota counted in.

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    from joblib import cpu_count  # comes with scikit-learn; here, since `import pipelines` does without it

    return int(cpu_count())


def _settle_triton() -> None:
    """Get triton's LLVM in before TensorFlow's, or keep it out where TensorFlow's is there already."""
    if "triton._C.libtriton" in sys.modules or not _installed("triton"):
        return
    if sys.modules.get("tensorflow"):
        _hide_triton()
        log.info("TensorFlow was imported first, so triton is hidden in this process: both together would abort it.")
        return
    try:
        importlib.import_module("triton._C.libtriton")
    except Exception as error:
        _hide_triton()  # or PyTorch tries again later, perhaps after TensorFlow
        log.warning("triton cannot be loaded and is hidden in this process: %s: %s", type(error).__name__, error)


def _installed(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None  # None: hidden, by this gate or by the user
    return importlib.util.find_spec(name) is not None


def _hide_triton() -> None:
    sys.modules["triton"] = None  # type: ignore[assignment]  # Python's own mark for "do not import this"


def _load_tensorflow(extra: str | None) -> ModuleType:
    if "tensorflow" in _settled:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", _ONEDNN)
    with _quiet_stderr():
        tf = _import("tensorflow", extra)
        _grow_memory(tf)
    _limit_tensorflow(tf)
    _settled.add("tensorflow")
    return tf


def _load_torch(extra: str | None) -> ModuleType:
    fresh = "torch" not in sys.modules
    if fresh and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    torch = _import("torch", extra)
    if fresh:  # a user who imported torch may have set its threads, which it does not tell
        _limit_torch(torch)
    return torch


def _import_silero(torch: Any, extra: str | None) -> ModuleType:
    """Import silero_vad, which sets PyTorch to one thread for the whole process, and set it back."""
    if "silero_vad" in sys.modules:
        return _import("silero_vad", extra)
    threads = torch.get_num_threads()
    try:
        return _import("silero_vad", extra)
    finally:
        torch.set_num_threads(threads)


def _load_keras_backend(extra: str | None) -> None:
    backend = keras_backend()
    if "keras" not in sys.modules and backend not in (os.environ.get("KERAS_BACKEND"), "tensorflow"):
        os.environ["KERAS_BACKEND"] = backend  # also over a keras.json that says tensorflow, see _backend_on_file
        log.info("Keras runs on %s (set KERAS_BACKEND to choose another backend).", backend)
    if backend == "tensorflow":
        _load_tensorflow(extra)
    elif backend == "torch":
        _load_torch(None)  # the vision extra brings TensorFlow, not torch


def _backend_on_file() -> str | None:
    """Return the backend `keras.json` asks for; None for "tensorflow" where that is not installed.

    Keras writes the file itself at its first import, with "tensorflow" whatever is installed: no choice of anybody's.
    """
    home = os.path.expanduser("~")
    folder = os.environ.get("KERAS_HOME") or os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    try:
        backend = json.loads(Path(os.path.expanduser(folder), "keras.json").read_text()).get("backend")
    except (OSError, ValueError, AttributeError):  # Keras, too, goes on without a file it cannot read
        return None
    return None if backend == "tensorflow" and not _installed("tensorflow") else backend


def _import(name: str, extra: str | None) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in (name, name.partition(".")[0]):
            raise ImportError(_missing(name, extra or EXTRAS[name]), name=name) from None
        cause: Exception = error
    except Exception as error:  # a library that cannot be loaded raises OSError, an ABI clash AttributeError, …
        cause = error
    raise ImportError(_broken(name, cause), name=name) from cause


def _missing(name: str, extra: str) -> str:
    return f'{name} is needed here, but it is not installed. Install it with: pip install "domain-pipelines[{extra}]"'


def _broken(name: str, cause: Exception) -> str:
    package = PACKAGES.get(name, name)
    try:
        version = importlib.metadata.version(package) + " "
    except importlib.metadata.PackageNotFoundError:
        version = ""
    reason = str(cause).strip().partition("\n")[0]
    return (
        f"{name} {version}is installed, but importing it failed with {type(cause).__name__}: {reason}. "
        f"The installation is broken; repair it with: pip install --force-reinstall {package}. "
        "`pipelines doctor` checks the rest."
    )


def _grow_memory(tf: Any) -> None:
    """Let TensorFlow take GPU memory as it needs it, instead of all of it at the first operation."""
    for gpu in tf.config.list_physical_devices("GPU"):
        if "TF_FORCE_GPU_ALLOW_GROWTH" in os.environ:
            return
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError) as error:  # in use already, or divided into logical devices by the user
            log.info("TensorFlow keeps the memory setting of %s: %s", gpu.name, error)


def _limit_tensorflow(tf: Any) -> None:
    """Give TensorFlow the usable cores: by itself it sees the affinity mask, not a container's quota."""
    config = tf.config.threading
    for variable, get, put in (
        ("TF_NUM_INTRAOP_THREADS", config.get_intra_op_parallelism_threads, config.set_intra_op_parallelism_threads),
        ("TF_NUM_INTEROP_THREADS", config.get_inter_op_parallelism_threads, config.set_inter_op_parallelism_threads),
    ):
        if variable in os.environ or get():  # 0: nobody has set it
            continue
        try:
            put(usable_cores())
        except RuntimeError as error:
            log.info("TensorFlow keeps its number of threads: %s", error)


def _limit_torch(torch: Any) -> None:
    if not {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys() and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop TensorFlow's notices from the standard error stream, unless the user asked for them with level "0".

    A process of its own does the sifting: the last words of an abort inside TensorFlow must still come through.
    """
    sieve = _sieve() if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") != "0" else None
    if sieve is None or sieve.stdin is None:
        yield
        return
    kept = os.dup(2)
    os.dup2(sieve.stdin.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        sieve.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a child of TensorFlow's may hold the other end: leave it
            sieve.wait(timeout=2)


def _sieve() -> "subprocess.Popen[bytes] | None":
    if getattr(sys, "frozen", False):  # a bundled application: sys.executable would start it a second time
        return None
    command = [sys.executable, "-I", "-S", "-c", _FILTER, _NOISE]
    try:
        os.fstat(2)
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:  # no standard error stream, or no process to be had: noisy, but working
        log.debug("TensorFlow's notices are not filtered: %s", error)
        return None
