"""Device strings and seeds: where a computation runs, and how to repeat it."""

import contextlib
import functools
import importlib
import logging
import numbers
import random
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import did_you_mean
from .engines import keras_backend, load_framework
from .errors import DeviceError, ParameterError

__all__ = ["Device", "resolve", "seeded", "visible"]

log = logging.getLogger("pipelines")

_FORM = re.compile(r"auto|cpu|gpu(:[0-9]+(,[0-9]+)*)?")
_FORMS = '"auto", "cpu", "gpu", "gpu:1" or "gpu:0,1"'


@dataclass(frozen=True)
class Device:
    """One or several places to compute on, as one engine sees them.

    Parameters
    ----------
    engine : str
        "keras" or "torch".
    kind : str
        "cpu" or "gpu"; Apple's and Intel's accelerators count as "gpu".
    indices : tuple of int
        The numbers of the GPUs, as the engine counts those it sees; empty for the CPU.
    name : str
        The engine's own word for it, such as "cuda:0" or "gpu:0"; several are joined by commas.

    Examples
    --------
    >>> device = Device("keras", "gpu", (0, 1), "gpu:0,gpu:1")
    >>> str(device)
    'gpu:0,1'
    """

    engine: str
    kind: str
    indices: tuple[int, ...]
    name: str

    def __str__(self) -> str:
        return f"gpu:{','.join(map(str, self.indices))}" if self.kind == "gpu" else "cpu"

    def scope(self) -> AbstractContextManager[Any]:
        """Return a context in which models are made, trained and used on this device.

        Several GPUs share each batch through `tf.distribute.MirroredStrategy`; the model must then be made inside.

        Raises
        ------
        DeviceError
            For several GPUs where the engine computes with anything but TensorFlow.

        Examples
        --------
        >>> with resolve("cpu", "torch").scope():
        ...     pass
        """
        if len(self.indices) < 2:
            if self.engine == "keras":
                return load_framework("keras").device(self.name)
            torch = load_framework("torch")
            there = torch.get_default_device() == torch.device(self.name)
            return contextlib.nullcontext() if there else torch.device(self.name)  # within one, each call of PyTorch takes longer
        framework = _computes_with(self.engine)
        if framework != "tensorflow":
            raise DeviceError(
                f'device="{self}" names several GPUs, which one process can only share with Keras on TensorFlow; the '
                f'{self.engine} engine computes with {framework} here. Name one GPU: "gpu:{self.indices[0]}".'
            )
        return _mirrored(self.name).scope()


def resolve(device: str, engine: str) -> Device:
    """Turn a device string into the Device an engine is to use.

    Parameters
    ----------
    device : str
        "cpu"; "gpu" (the first), "gpu:1", "gpu:0,1"; or "auto": the first GPU, else the CPU with a line in the log.
    engine : str
        "keras" or "torch".

    Returns
    -------
    device : Device

    Raises
    ------
    ParameterError
        If the string has no such form, with the one probably meant.
    DeviceError
        If a GPU is asked for by name and the engine does not see it.

    Examples
    --------
    >>> resolve("cpu", "torch")
    Device(engine='torch', kind='cpu', indices=(), name='cpu')
    """
    indices = _parse(device)
    if device == "cpu":
        return _cpu(engine)
    gpus = {gpu.indices[0]: gpu for gpu in visible(engine) if gpu.kind == "gpu"}
    if device == "auto":
        return next(iter(gpus.values())) if gpus else _fall_back(engine)
    if not gpus.keys() >= set(indices):
        seen = ", ".join(["cpu", *map(str, gpus.values())])
        raise DeviceError(
            f'device="{device}" was asked for, but the {engine} engine (computing with {_computes_with(engine)}) sees '
            f'only: {seen}. Use one of these or device="auto"; `pipelines doctor` helps to find a GPU missing here.'
        )
    return Device(engine, "gpu", indices, ",".join(gpus[i].name for i in indices))


def visible(engine: str) -> list[Device]:
    """List the devices an engine sees, one by one: the CPU first.

    Examples
    --------
    >>> visible("torch")[0].kind
    'cpu'
    """
    names = _gpu_names(_computes_with(engine))
    return [_cpu(engine), *(Device(engine, "gpu", (i,), name) for i, name in enumerate(names))]


@contextlib.contextmanager
def seeded(seed: int, engine: str) -> Iterator[None]:
    """Make what happens inside repeatable, and leave the caller's random numbers as they were.

    Inside, Python's `random`, NumPy's global generator and the framework's are seeded; afterwards the first two, and
    PyTorch's, go on where they had stopped. TensorFlow and Keras have no way to read their global seed, so that it
    stays the one set here.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.
    engine : str
        "keras" or "torch".

    Raises
    ------
    ParameterError
        If the seed is no such integer.

    Examples
    --------
    >>> with seeded(0, "torch"):
    ...     first = random.random()
    >>> with seeded(0, "torch"):
    ...     assert random.random() == first
    """
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**32:
        raise ParameterError(f"seed must be an integer from 0 to 4294967295 (2**32 - 1), but received {seed!r}.")
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with _torch_generators() if _computes_with(engine) == "torch" else contextlib.nullcontext():
            _seed(int(seed), engine)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


def _parse(device: str) -> tuple[int, ...]:
    """Return the GPU numbers a device string names: (0,) for "gpu"."""
    if not isinstance(device, str):
        raise ParameterError(f"device must be a string, {_FORMS}, but received {device!r}, a {type(device).__name__}.")
    if not _FORM.fullmatch(device):
        raise ParameterError(f"device={device!r} is not known.{_meant(device)} It is one of {_FORMS}.")
    _, _, numbers_ = device.partition(":")
    indices = tuple(map(int, numbers_.split(","))) if numbers_ else (0,)
    if len(set(indices)) < len(indices):
        raise ParameterError(f"device={device!r} names a GPU twice. Name each one once, as in {_FORMS}.")
    return indices


def _meant(device: str) -> str:
    """Translate how other libraries write it: "cuda:1", "CUDA", "mps", "gpu1"."""
    plain = re.sub(r"cuda|mps|xpu|hip|rocm", "gpu", re.sub(r"\s", "", device.lower()))
    plain = re.sub(r"^/?(device:)?gpu:?(?=\d)", "gpu:", plain).replace(",gpu:", ",")
    return f" Did you mean {plain!r}?" if _FORM.fullmatch(plain) else did_you_mean(device, ["auto", "cpu", "gpu"])


def _cpu(engine: str) -> Device:
    _computes_with(engine)  # refuses the name of no engine
    return Device(engine, "cpu", (), "cpu")


@functools.cache  # says so once a process, not at each predict
def _fall_back(engine: str) -> Device:
    framework = _computes_with(engine)
    log.info('device="auto": the %s engine (computing with %s) sees no GPU; using the CPU.', engine, framework)
    return _cpu(engine)


def _computes_with(engine: str) -> str:
    if engine not in ("keras", "torch"):
        raise ParameterError(f"There is no engine {engine!r}.{did_you_mean(engine, ['keras', 'torch'])}")
    return keras_backend() if engine == "keras" else "torch"


def _gpu_names(framework: str) -> list[str]:
    if framework == "tensorflow":
        count = len(load_framework("tensorflow").config.get_visible_devices("GPU"))
        return [f"gpu:{i}" for i in range(count)]
    if framework == "torch":
        accelerator = load_framework("torch").accelerator
        if not accelerator.is_available():
            return []
        kind = accelerator.current_accelerator().type  # "cuda", also for AMD; "mps"; "xpu"
        return [f"{kind}:{i}" for i in range(accelerator.device_count())]
    if framework == "jax":
        load_framework("keras")  # reports a missing jax
        devices = importlib.import_module("jax").devices()
        return [f"gpu:{i}" for i, _ in enumerate(d for d in devices if d.platform != "cpu")]
    return []  # Keras on numpy or OpenVINO


@functools.cache  # Keras refuses variables of two strategies in one model
def _mirrored(names: str) -> Any:
    return load_framework("tensorflow").distribute.MirroredStrategy(names.split(","))


def _seed(seed: int, engine: str) -> None:
    if engine == "keras":
        load_framework("keras").utils.set_random_seed(seed)
        return
    random.seed(seed)
    np.random.seed(seed)
    load_framework("torch").manual_seed(seed)


def _torch_generators() -> AbstractContextManager[None]:
    """Keep the state of PyTorch's generators; those of GPUs only once in use, as asking for it starts CUDA."""
    torch = load_framework("torch")
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    return torch.random.fork_rng(devices=list(gpus))
