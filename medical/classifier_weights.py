"""Weights to start from: a saved pipeline, a checkpoint or a MONAI bundle; nothing in them is ever run."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import store
from pipelines.base import load
from pipelines.engines import load_framework
from pipelines.errors import DataError, FormatError, ParameterError

__all__ = ["network_of", "start"]

_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
_NESTED = ("state_dict", "model_state_dict", "model", "network", "net", "weights")  # where checkpoints keep the weights
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.", "backbone.", "encoder.")  # what wrappers put before names
_WANTED = (
    "Expected the folder of a saved ScanClassifier, a file of weights (.safetensors, .pt, .pth) or the folder of a MONAI bundle "
    "with models/model.pt"
)


def network_of(weights: str) -> str | None:
    """Return the name of the network that a saved `ScanClassifier` has; None where `weights` is something else.

    Examples
    --------
    >>> network_of("somewhere/model.pt") is None
    True
    """
    if not (Path(weights) / store.MANIFEST).is_file():
        return None
    manifest = store.read(weights)[0]
    if manifest["task"] != "scan-classification":
        raise DataError(f"{weights} holds a pipeline for {manifest['task']}. {_WANTED}.")
    return str(manifest["facts"]["plan_"]["network"])


def start(network: Any, weights: str) -> str:
    """Copy the weights whose names and shapes match into a network, and say how many there were.

    Parameters
    ----------
    network : torch.nn.Module
        It is changed; weights that find no match, such as those of the last layer for other classes, stay as they are.
    weights : str
        A saved pipeline, a checkpoint or a bundle.

    Returns
    -------
    str
        A sentence for the report.

    Raises
    ------
    DataError
        If the file cannot be read as plain tensors, or none of its weights matches.
    ParameterError
        If there is no such file.

    Examples
    --------
    >>> start(None, "nowhere.pt")
    Traceback (most recent call last):
    pipelines.errors.ParameterError: weights='nowhere.pt' is not there. ...
    """
    path = Path(weights)
    if not path.exists():
        raise ParameterError(f"weights={weights!r} is not there. {_WANTED}.")
    if path.is_dir() and network_of(weights) is not None:
        stored = load(path, device="cpu").model_.state_dict()
    else:
        stored = _tensors(_file(path))
    own = network.state_dict()
    matching = _matching(stored, own)
    if not matching:
        raise DataError(
            f"None of the weights in {path} fits the network: it has for example {_shown(stored)}, the network {_shown(own)}. "
            "Choose the network they were made for."
        )
    network.load_state_dict(matching, strict=False)
    rest = sorted(own.keys() - matching.keys())
    left = f"; the others begin at random, {', '.join(rest[:3])}{' and more' if len(rest) > 3 else ''}" if rest else ""
    return f"The network started from {path.name}: {len(matching)} of its {len(own)} weights were taken from there{left}."


def _file(path: Path) -> Path:
    if path.is_file() and path.suffix.lower() in _SUFFIXES:
        return path
    inside = [path / "models" / f"model{suffix}" for suffix in (".safetensors", ".pt")] if path.is_dir() else []
    found = next((file for file in inside if file.is_file()), None)
    if found is None:
        raise ParameterError(f"weights={str(path)!r} holds no weights. {_WANTED}.")
    return found


def _tensors(path: Path) -> dict[str, Any]:
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
    return _named(found, path)


def _named(found: Any, path: Path) -> dict[str, Any]:
    """Find the tensors by name, which checkpoints keep beside the number of the epoch and the like."""
    torch = load_framework("torch", extra="medical")
    for _ in range(3):
        if not isinstance(found, Mapping):
            break
        tensors = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
        if tensors:
            return tensors
        found = next((found[name] for name in _NESTED if name in found), None)
    raise DataError(f"{path} holds no tensors with names. {_WANTED}.")


def _matching(stored: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights that match by name and shape, with that of the prefixes before names that fits most."""

    def found(prefix: str) -> dict[str, Any]:
        short = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
        return {name: value for name, value in short.items() if name in own and value.shape == own[name].shape}

    return max((found(prefix) for prefix in ("", *_PREFIXES)), key=len)


def _shown(weights: Mapping[str, Any]) -> str:
    names = [name for name, value in weights.items() if value.ndim][:3]
    return ", ".join(f"{name} {tuple(weights[name].shape)}" for name in names)
