"""Weights to start from: a saved pipeline, a checkpoint or a MONAI bundle; nothing in them is ever run."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import registry, store
from pipelines.base import load
from pipelines.engines import load_framework
from pipelines.errors import DataError, FormatError, ParameterError

__all__ = ["matching", "saved", "start", "tensors"]

_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
_NESTED = ("state_dict", "model_state_dict", "model", "network", "net", "weights")  # where checkpoints keep the weights
_FEWEST = 0.1  # share of the layers below which a match is by chance
# what wrappers put before names
_PREFIXES = ("module.", "_orig_mod.", "_model.", "model.", "network.", "net.", "backbone.", "encoder.")


def saved(weights: str, task: str) -> dict[str, Any] | None:
    """Return parameters and facts of a saved pipeline, as its folder has them; None where `weights` is something else.

    Raises
    ------
    DataError
        If it is a pipeline for another task.

    Examples
    --------
    >>> saved("somewhere/model.pt", "scan-segmentation") is None
    True
    """
    if not (Path(weights) / store.MANIFEST).is_file():
        return None
    manifest = store.read(weights)[0]
    if manifest["task"] != task:
        raise DataError(f"{weights} holds a pipeline for {manifest['task']}. {_wanted(task)}.")
    return {**manifest["params"], **manifest["facts"]}


def tensors(weights: str, task: str) -> dict[str, Any]:
    """Read weights by name.

    Parameters
    ----------
    weights : str
        A saved pipeline, a checkpoint or a bundle.
    task : str
        Which pipelines count.

    Returns
    -------
    dict of str to torch.Tensor
        On the processor.

    Raises
    ------
    DataError
        If the file cannot be read as plain tensors; nothing in it is run.
    ParameterError
        If there is no such file.

    Examples
    --------
    >>> tensors("nowhere.pt", "scan-segmentation")
    Traceback (most recent call last):
    pipelines.errors.ParameterError: weights='nowhere.pt' is not there. Expected the folder of a saved ScanSegmenter, ...
    """
    path = Path(weights)
    if not path.exists():
        raise ParameterError(f"weights={weights!r} is not there. {_wanted(task)}.")
    if saved(weights, task) is not None:
        return dict(load(path, device="cpu").model_.state_dict())
    file = _file(path)
    if file is None:
        raise ParameterError(f"weights={weights!r} holds no weights. {_wanted(task)}.")
    found = _read(file)
    if not found:
        raise DataError(f"{file} holds no tensors with names. {_wanted(task)}.")
    return found


def start(network: Any, weights: str, task: str) -> str:
    """Copy the weights whose names and shapes match into a network, and say how many there were.

    Parameters
    ----------
    network : torch.nn.Module
        It is changed; weights that find no match, such as those of the last layer for other classes, stay as they are.
    weights, task : str
        As for `tensors`.

    Returns
    -------
    str
        A sentence for the report.

    Raises
    ------
    DataError
        If fewer than a tenth of the layers match.

    Examples
    --------
    >>> import tempfile, torch
    >>> file = f"{tempfile.mkdtemp()}/two.pt"
    >>> torch.save(torch.nn.Linear(3, 2).state_dict(), file)
    >>> start(torch.nn.Linear(3, 2), file, "scan-segmentation")
    'The network started from two.pt: 2 of its 2 weights were taken from there.'
    """
    stored, own = tensors(weights, task), network.state_dict()
    found = matching(stored, own)
    fitting, layers = (sum(value.ndim > 1 for value in part.values()) for part in (found, own))
    if fitting < _FEWEST * layers:
        raise DataError(
            f"The weights in {weights} fit {fitting} of the network's {layers} layers: there is for example {_shown(stored)}, "
            f"in the network {_shown(own)}. Choose the network they were made for, and its parameters."
        )
    network.load_state_dict(found, strict=False)
    rest = sorted(own.keys() - found.keys())
    left = f"; the others begin at random, {', '.join(rest[:3])}{' and more' if len(rest) > 3 else ''}" if rest else ""
    return f"The network started from {Path(weights).name}: {len(found)} of its {len(own)} weights were taken from there{left}."


def matching(stored: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights that match by name and shape, with that of the prefixes before names that fits most.

    Examples
    --------
    >>> import numpy as np
    >>> matching({"module.a": np.ones(2), "module.b": np.ones(3)}, {"a": np.zeros(2), "b": np.zeros(4)})
    {'a': array([1., 1.])}
    """

    def found(prefix: str) -> dict[str, Any]:
        short = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
        return {name: value for name, value in short.items() if name in own and value.shape == own[name].shape}

    return max((found(prefix) for prefix in ("", *_PREFIXES)), key=len)


def _wanted(task: str) -> str:
    name = registry.TASKS[task].partition(":")[2]
    return (
        f"Expected the folder of a saved {name}, a file of weights (.safetensors, .pt, .pth) or the folder of a MONAI bundle "
        "with models/model.pt"
    )


def _file(path: Path) -> Path | None:
    """Return the file that a path leads to, which in a bundle lies in `models`."""
    if path.is_file() and path.suffix.lower() in _SUFFIXES:
        return path
    inside = [path / "models" / f"model{suffix}" for suffix in (".safetensors", ".pt")] if path.is_dir() else []
    return next((file for file in inside if file.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    """Read a file's tensors by name; what is no plain file of tensors is refused, and nothing in it is run."""
    torch = load_framework("torch", extra="medical")
    if path.suffix.lower() == ".safetensors":
        load_file = load_framework("safetensors.torch", extra="medical").load_file

        from pipelines.engines.conduct import reading

        try:
            with reading(path):
                return dict(load_file(path))
        except FormatError as error:
            raise DataError(str(error)) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PyTorch says of files it then refuses
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise DataError(
            f"{path} is damaged, or holds more than tensors, which could run code; nothing in it was run. Save the weights alone "
            "where the file can be trusted: torch.save(network.state_dict(), path)."
        ) from error
    return _named(found)


def _named(found: Any) -> dict[str, Any]:
    """Find the tensors by name, which checkpoints keep beside the number of the epoch and the like."""
    torch = load_framework("torch", extra="medical")
    for _ in range(3):
        if not isinstance(found, Mapping):
            break
        held = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
        if held:
            return held
        found = next((found[name] for name in _NESTED if name in found), None)
    return {}


def _shown(weights: Mapping[str, Any]) -> str:
    names = [name for name, value in weights.items() if value.ndim][:3]
    return ", ".join(f"{name} {tuple(weights[name].shape)}" for name in names)
