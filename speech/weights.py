"""Whisper's weights: by name, from an openai file, from a Hugging Face folder or from a saved pipeline. Nothing is unpickled."""

import base64
import gzip
import hashlib
import json
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import checks, store
from pipelines.engines import load_framework
from pipelines.errors import DataError, FormatError, ParameterError
from pipelines.progress import hushed, log

torch: Any = load_framework("torch")
_whisper: Any = load_framework("whisper")

__all__ = ["FACTS", "MARK", "NOTE", "with_rows", "DIMS", "EMBEDDING", "Checkpoint", "load", "openai_name", "transformers_name"]

DIMS = (
    *("n_mels", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer"),
    *("n_vocab", "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer"),
)
"""The dimensions of a Whisper, as openai-whisper names them."""

_TASK = "speech-transcription"
FACTS = ("context", "language", "timestamps", "longest", "limits", "written")
_PATIENCE = 10  # seconds without a byte from the network
_CHUNK = 1 << 20
_LARGEST = 1 << 20  # of any dimension; Whisper's largest is 51,866
_VOCABULARIES = (51864, 51865, 51866)  # English only, multilingual, large-v3 and turbo
EMBEDDING = "decoder.token_embedding.weight"
NOTE, MARK = "export.json", "domain-pipelines speech export"  # what an export of ours leaves beside the weights
_FIRST = "encoder.conv1.weight"

# openai-whisper's part of a weight's name, and that of transformers; applied in this order, either way
_NAMES = (
    *((".blocks.", ".layers."), (".mlp.0.", ".fc1."), (".mlp.2.", ".fc2."), (".mlp_ln.", ".final_layer_norm.")),
    *((".cross_attn_ln.", ".encoder_attn_layer_norm."), (".attn_ln.", ".self_attn_layer_norm.")),
    *((".cross_attn.", ".encoder_attn."), (".attn.", ".self_attn.")),
    *((".query.", ".q_proj."), (".key.", ".k_proj."), (".value.", ".v_proj."), (".out.", ".out_proj.")),
    *(("encoder.ln_post.", "encoder.layer_norm."), ("decoder.ln.", "decoder.layer_norm.")),
    *((".token_embedding.", ".embed_tokens."), (".positional_embedding", ".embed_positions.weight")),
)


@dataclass(frozen=True)
class Checkpoint:
    """A Whisper's weights and all it takes to use them.

    Attributes
    ----------
    dims : dict of str to int
        Dimensions as openai-whisper names them; `n_vocab` counts all tokens, whatever is kept.
    state : dict of str to Tensor
        Weights by openai-whisper's names, float32, on the CPU.
    heads : list of [layer, head], optional
        The decoder's heads that follow the audio, for word times; None where they are not known.
    kept : ndarray of int64, optional
        Ids of the tokens with a row of their own, where the others share one more row at the end.
    facts : dict
        Of a saved pipeline or an export of one, by the names of its learned facts without the underscore: `context`, `language`,
        `timestamps`, `longest`, `limits` and `written`, as far as there are such; empty for all else.
    """

    dims: dict[str, int]
    state: dict[str, Any]
    heads: list[list[int]] | None
    kept: np.ndarray | None
    facts: dict[str, Any]


def load(weights: str | os.PathLike[str]) -> Checkpoint:
    """Read the weights of a Whisper.

    Parameters
    ----------
    weights : str or path
        One of these:

        - a name that openai-whisper knows, such as `"tiny"` or `"base.en"`. Its file is taken from openai-whisper's own cache,
          and fetched into it where it is not there;
        - a `.pt` file as openai-whisper has them;
        - the folder of a Whisper of the transformers library: `config.json` and `model.safetensors`;
        - the folder of a saved `SpeechTranscriber`.

    Returns
    -------
    Checkpoint

    Raises
    ------
    ParameterError
        If there is no such name.
    DataError
        If a file is missing, damaged, unsafe, not a Whisper's, or cannot be fetched.
    FormatError
        If a saved pipeline is damaged or altered.

    Examples
    --------
    >>> load("tinny")
    Traceback (most recent call last):
    ...
    pipelines.errors.ParameterError: openai-whisper has no model 'tinny'. Did you mean 'tiny'?
    """
    if not isinstance(weights, (str, os.PathLike)) or not os.fspath(weights):
        raise ParameterError(
            f"weights must be the name of a Whisper such as 'tiny', a .pt file or a folder, but received {weights!r}."
        )
    if weights in _whisper._MODELS:
        return _named(str(weights))
    path = Path(weights)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _openai(path)
    raise _unknown(os.fspath(weights))


def with_rows(rows: Any, kept: np.ndarray, wanted: np.ndarray) -> Any:
    """Return an embedding with a row for each token wanted, and one that all others share; new ones begin as that.

    Examples
    --------
    >>> with_rows(torch.tensor([[1.0], [2.0], [9.0]]), np.array([5, 7]), np.array([5, 6, 7])).flatten().tolist()
    [1.0, 9.0, 2.0, 9.0]
    """
    place = {int(token): row for row, token in enumerate(kept)}
    return rows[[*(place.get(int(token), len(kept)) for token in wanted), len(kept)]].clone()


def transformers_name(name: str) -> str:
    """Return what transformers calls one of openai-whisper's weights.

    Examples
    --------
    >>> transformers_name("decoder.blocks.0.cross_attn.query.weight")
    'model.decoder.layers.0.encoder_attn.q_proj.weight'
    """
    for ours, theirs in _NAMES:
        name = name.replace(ours, theirs)
    return "model." + name


def openai_name(name: str) -> str:
    """Return what openai-whisper calls one of transformers' weights.

    Examples
    --------
    >>> openai_name("model.decoder.layers.0.encoder_attn.q_proj.weight")
    'decoder.blocks.0.cross_attn.query.weight'
    """
    name = name.removeprefix("model.")
    for ours, theirs in _NAMES:
        name = name.replace(theirs, ours)
    return name


# ---------------------------------------------------------------- by name
def _named(name: str) -> Checkpoint:
    found = _openai(_cached(name))
    return Checkpoint(found.dims, found.state, _known_heads(name), None, {})


def _cached(name: str) -> Path:
    """Return the file of a model in openai-whisper's cache, fetched where it is missing or damaged."""
    url = _whisper._MODELS[name]
    digest, base = url.split("/")[-2:]
    folder = Path(os.getenv("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"
    file, state = folder / base, "not in openai-whisper's cache"
    if file.is_file():
        if _sha256(file) == digest:
            return file
        state = "damaged in openai-whisper's cache (another SHA-256)"
    try:
        _fetch(url, file, digest)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DataError(
            f"The weights of {name!r} are {state}, and could not be fetched: {reason}. Without a network, get {url} elsewhere "
            f"and put it to {file} (SHA-256 {digest}), or pass the file itself: weights='path/to/{base}'."
        ) from error
    return file


def _fetch(url: str, file: Path, digest: str) -> None:
    """Put a file into the cache at once or not at all; openai-whisper itself waits for ever and leaves half a file behind."""
    log.info("Fetching %s to %s.", url, file)
    with urllib.request.urlopen(url, timeout=_PATIENCE) as source:
        file.parent.mkdir(parents=True, exist_ok=True)
        with store.replacing(file) as temporary:
            with open(temporary, "wb") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
            if _sha256(temporary) != digest:
                raise ValueError("what came is not the file (another SHA-256)")


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unknown(text: str) -> DataError:
    """Say what a text that is neither a name nor a place may have been meant for."""
    names = list(_whisper._MODELS)
    if text.startswith("openai/whisper-"):
        known = text.removeprefix("openai/whisper-")
        cure = f"weights={known!r}" if known in names else "a name of openai-whisper, such as weights='tiny'"
        return ParameterError(f"Nothing is fetched from the Hugging Face hub, but received weights={text!r}. Write {cure}.")
    if text.startswith((".", "~")) or os.sep in text or "/" in text or text.endswith((".pt", ".safetensors", ".bin")):
        return DataError(
            f"weights={text!r} looks like a path, but there is nothing. Check it, or give a name, such as 'tiny'; a model of the "
            "Hugging Face hub must be downloaded into a folder first."
        )
    return ParameterError(f"openai-whisper has no model {text!r}.{checks.did_you_mean(text, names)}")


# ---------------------------------------------------------------- a file of openai-whisper
def _openai(file: Path) -> Checkpoint:
    found = _unpacked(file)
    if not isinstance(found, dict) or not {"dims", "model_state_dict"} <= found.keys():
        holds = f"a dictionary of {_listed(found)}" if isinstance(found, dict) else f"a {type(found).__name__}"
        raise DataError(
            f"{file} holds {holds}, which is no Whisper. Expected a file of openai-whisper, with 'dims' and 'model_state_dict'."
        )
    dims, state = found["dims"], found["model_state_dict"]
    if not isinstance(dims, dict) or set(dims) != set(DIMS):
        raise DataError(f"{file} has other dimensions than a Whisper. Expected {', '.join(DIMS)}; received {_listed(dims)}.")
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"The 'model_state_dict' of {file} is no dictionary of tensors, so it is no Whisper.")
    if sum(value.numel() * value.element_size() for value in state.values()) > file.stat().st_size:
        raise DataError(f"{file} claims to hold more than its own size, as no Whisper does; nothing was loaded.")
    checked = _checked(dims, dict(state), None, file)
    heads = found["alignment_heads"] if "alignment_heads" in found else _guessed_heads(file.stem, dims)
    return Checkpoint({name: dims[name] for name in DIMS}, checked, _within(heads, dims), None, _told(found))


def _told(note: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an export of ours tells of its network, and nothing of any other file."""
    facts = note.get("facts") if note.get("made_by") == MARK else None
    return {name: facts[name] for name in FACTS if name in facts} if isinstance(facts, dict) else {}


def _unpacked(file: Path) -> Any:
    """Read tensors and plain values; whatever else a pickle holds is refused before it is run."""
    if file.suffix == ".safetensors":
        raise DataError(f"{file} is one file of a Hugging Face model. Pass its folder, which holds config.json, too.")
    if not file.stat().st_size:
        raise DataError(f"{file} is empty. Get it again.")
    try:
        with warnings.catch_warnings(), hushed("torch"):
            warnings.simplefilter("ignore")  # TorchScript archives and old formats are refused by us
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, KeyError, …: any, for a file of something else
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(
            f"{file} is damaged, or no file of openai-whisper; nothing in it was run. Expected tensors and dimensions only, as "
            f"torch.save(dict(dims=..., model_state_dict=...)) writes them. PyTorch says: {reason}"
        ) from error


# ---------------------------------------------------------------- folders
def _folder(folder: Path) -> Checkpoint:
    names = {entry.name for entry in folder.iterdir()}
    if store.MANIFEST in names:
        return _saved(folder)
    if "adapter_config.json" in names:
        raise DataError(f"{folder} holds an adapter only. Merge it into its Whisper first, with model.merge_and_unload().")
    if "config.json" not in names:
        files = sorted(name for name in names if name.endswith(".pt"))
        cure = f" Pass the file: weights={str(folder / files[0])!r}." if files else ""
        raise DataError(f"{folder} has no config.json, so it is no Whisper of the transformers library.{cure}")
    return _transformers(folder, names)


def _saved(folder: Path) -> Checkpoint:
    manifest, arrays, file, _ = store.read(folder)
    if manifest["task"] != _TASK:
        raise DataError(f"{folder} holds a pipeline for {manifest['task']}. Expected a saved SpeechTranscriber.")
    facts = {**manifest["facts"], **arrays}
    dims, kept = facts.get("dims_"), facts.get("kept_")
    if not isinstance(dims, dict) or set(dims) != set(DIMS):
        raise FormatError(f"{folder} does not say how large its network is, so nothing was loaded. Save the pipeline again.")
    state = _tensors(file)
    prefix = next((name.removesuffix(_FIRST) for name in state if name.endswith(_FIRST)), "")
    state = {name.removeprefix(prefix): value for name, value in state.items()}
    told = {name: facts[f"{name}_"] for name in FACTS if f"{name}_" in facts}
    checked = _checked(dims, state, kept, folder)
    return Checkpoint({name: dims[name] for name in DIMS}, checked, _within(facts.get("heads_"), dims), kept, told)


def _transformers(folder: Path, names: set[str]) -> Checkpoint:
    config = _json(folder / "config.json")
    kind = config.get("model_type")
    if kind is None and "model.bin" in names:
        raise DataError(f"{folder} is a model of CTranslate2, which cannot be trained. Pass what it was made from.")
    if kind != "whisper":
        raise DataError(f'{folder} holds a {kind!r} model. Expected a Whisper: config.json with "model_type": "whisper".')
    state = _untied({openai_name(name): value for name, value in _sharded(folder, names).items()}, folder)
    dims = _measured(state, config, folder)
    _check_kind(config, dims, folder)
    checked = _checked(dims, state, None, folder)
    heads = _json(folder / "generation_config.json").get("alignment_heads") if "generation_config.json" in names else None
    return Checkpoint(dims, checked, _within(heads, dims), None, _told(_json(folder / NOTE)) if NOTE in names else {})


def _sharded(folder: Path, names: set[str]) -> dict[str, Any]:
    """Return all tensors of a folder: one file, or as many as its index names."""
    if "model.safetensors" in names:
        return _tensors(folder / "model.safetensors")
    if "model.safetensors.index.json" in names:
        weights = _json(folder / "model.safetensors.index.json").get("weight_map")
        files = sorted(set(map(str, weights.values()))) if isinstance(weights, dict) else []
        missing = [file for file in files if file not in names]
        if missing or not files:
            raise DataError(f"{folder} lacks {missing[0] if missing else 'all files of its index'}. Copy the whole model.")
        return {name: value for file in files for name, value in _tensors(folder / file).items()}
    pickled = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")))
    if not pickled:
        raise DataError(f"{folder} has no weights. Expected model.safetensors.")
    raise DataError(
        f"{folder} has only {pickled[0]}, which can run code when it is read. Expected model.safetensors. Turn it into that on a "
        "machine where you trust it: WhisperForConditionalGeneration.from_pretrained(folder).save_pretrained(new_folder)."
    )


def _tensors(file: Path) -> dict[str, Any]:
    library = load_framework("safetensors.torch", extra="speech")
    try:
        return dict(library.load_file(file))
    except Exception as error:  # SafetensorError, OSError, ValueError: any, for a damaged file
        raise DataError(f"{file} is damaged, or no safetensors file: {' '.join(str(error).split())[:200]}") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{file} holds a {type(found).__name__}. Expected a dictionary.")
    return found


def _untied(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Leave out the output layer, which in a Whisper is the embedding once more."""
    output = state.pop("proj_out.weight", None)
    embedding = state.get(EMBEDDING)
    if output is not None and embedding is not None and not torch.equal(output, embedding):
        raise DataError(f"{folder} has an output layer (proj_out) other than its embedding, which openai-whisper cannot compute.")
    return state


def _measured(state: dict[str, Any], config: dict[str, Any], folder: Path) -> dict[str, int]:
    """Return the dimensions, as far as they can be from the weights themselves."""
    wanted = ("encoder.conv1.weight", "encoder.positional_embedding", EMBEDDING, "decoder.positional_embedding")
    for name in wanted:
        if name not in state or state[name].ndim != (3 if name == _FIRST else 2):
            raise DataError(f"{folder} lacks the weights {transformers_name(name)!r} of a Whisper. Copy the whole model.")
    first, hearing, words, positions = (tuple(state[name].shape) for name in wanted)
    heads = [config.get(f"{part}_attention_heads") for part in ("encoder", "decoder")]
    layers = [
        len({name.split(".")[2] for name in state if name.startswith(f"{part}.blocks.")}) for part in ("encoder", "decoder")
    ]
    values = first[1], hearing[0], hearing[1], heads[0], layers[0], words[0], positions[0], words[1], heads[1], layers[1]
    return dict(zip(DIMS, values, strict=True))


def _check_kind(config: dict[str, Any], dims: dict[str, int], folder: Path) -> None:
    """Refuse what the transformers library can vary and openai-whisper cannot."""
    usual = {"activation_function": "gelu", "scale_embedding": False}
    usual |= {f"{part}_ffn_dim": 4 * dims["n_audio_state"] for part in ("encoder", "decoder")}
    for name, value in usual.items():
        if config.get(name, value) != value:
            raise DataError(f"{folder} is no usual Whisper: its config.json has {name}={config[name]!r}. Expected {value!r}.")


# ---------------------------------------------------------------- checks
def _checked(dims: dict[str, Any], state: dict[str, Any], kept: np.ndarray | None, place: Path) -> dict[str, Any]:
    """Return the weights in single precision after a look at every name and shape."""
    _check_dims(dims, len(state), place)
    rows = dims["n_vocab"] if kept is None else _check_kept(kept, dims, place) + 1
    expected = _shapes({**dims, "n_vocab": rows})
    missing, surplus = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or surplus:
        name, what = (missing[0], "lacks") if missing else (surplus[0], "has the unknown")
        raise DataError(f"{place} does not fit its dimensions: it {what} weights {name!r}. Expected a whole Whisper and no more.")
    for name, shape in expected.items():
        found = tuple(state[name].shape)
        if found != shape or not state[name].is_floating_point():
            kind = str(state[name].dtype).removeprefix("torch.")
            raise DataError(
                f"{place} does not fit its dimensions: {name!r} is {kind} {found}. Expected floating-point numbers {shape}."
            )
    return {name: state[name].detach().to(torch.float32).contiguous() for name in expected}


def _check_dims(dims: dict[str, Any], weights: int, place: Path) -> None:
    for name in DIMS:
        most = weights if name.endswith("layer") else _LARGEST
        if type(dims[name]) is not int or not 1 <= dims[name] <= most:
            raise DataError(f"{place} has {name}={dims[name]!r}. Expected a whole number from 1 to {most}, as Whispers have.")
    if dims["n_vocab"] not in _VOCABULARIES:
        raise DataError(
            f"{place} writes {dims['n_vocab']} tokens, which are none of Whisper's own vocabularies: "
            f"{', '.join(map(str, _VOCABULARIES))}. A model with tokens added cannot be used."
        )
    if dims["n_mels"] not in (80, 128) or dims["n_audio_ctx"] != 1500:
        raise DataError(
            f"{place} hears {dims['n_mels']} mel bands in {dims['n_audio_ctx']} steps. Expected 80 or 128 in 1500, 30 s of sound."
        )
    units = dims["n_audio_state"]
    if dims["n_text_state"] != units or units % dims["n_audio_head"] or units % dims["n_text_head"] or units % 2:
        raise DataError(
            f"{place} has {units} units in the encoder and {dims['n_text_state']} in the decoder, with {dims['n_audio_head']} "
            f"and {dims['n_text_head']} heads. Expected one even number of units, which the heads divide."
        )


def _check_kept(kept: np.ndarray, dims: dict[str, int], place: Path) -> int:
    """Return how many tokens have a row of their own."""
    whole = isinstance(kept, np.ndarray) and kept.ndim == 1 and kept.dtype.kind == "i" and len(kept) > 0
    if not whole or kept[0] < 0 or kept[-1] >= dims["n_vocab"] or (np.diff(kept) <= 0).any():
        raise FormatError(f"{place} does not say which tokens its network knows, so nothing was loaded. Save the pipeline again.")
    return len(kept)


def _shapes(dims: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every weight, from openai-whisper's own classes and without their memory."""
    model, values = _whisper.model, [dims[name] for name in DIMS]
    with torch.device("meta"):
        parts = {"encoder": model.AudioEncoder(*values[:5]), "decoder": model.TextDecoder(*values[5:])}
    return {f"{part}.{name}": tuple(value.shape) for part, net in parts.items() for name, value in net.state_dict().items()}


def _listed(names: Any) -> str:
    """Return the first few keys of a dictionary, or the kind of anything else."""
    if not isinstance(names, Mapping):
        return f"a {type(names).__name__}"
    return ", ".join(str(name)[:40] for name in list(names)[:10]) or "nothing"


# ---------------------------------------------------------------- heads that follow the audio
def _known_heads(name: str) -> list[list[int]]:
    """Return the heads that OpenAI found to follow the audio in one of its models."""
    mask = _mask(name)
    layers = {24: 4, 48: 6, 144: 12, 384: 24, 640: 32, 80: 4}[len(mask)]
    return np.argwhere(mask.reshape(layers, -1)).tolist()


def _mask(name: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b85decode(_whisper._ALIGNMENT_HEADS[name])), dtype=bool)


def _guessed_heads(stem: str, dims: dict[str, int]) -> list[list[int]] | None:
    """Return the heads of the one model of OpenAI's that has these dimensions, or of the one the file is named after.

    Fine-tuning leaves a model's heads what they are. `large-v1` and `large-v2` differ in nothing but their heads.
    """
    alike = [name for name in _whisper._ALIGNMENT_HEADS if _alike(name, dims)]
    if stem in alike:
        return _known_heads(stem)
    kinds = {_whisper._ALIGNMENT_HEADS[name] for name in alike}
    return _known_heads(alike[0]) if len(kinds) == 1 else None


def _alike(name: str, dims: dict[str, int]) -> bool:
    kind = 51864 if name.endswith(".en") else 51866 if name in ("large", "large-v3", "large-v3-turbo", "turbo") else 51865
    heads = dims["n_text_head"]
    same = len(_mask(name)) == dims["n_text_layer"] * heads and dims["n_vocab"] == kind
    return same and dims["n_text_state"] == 64 * heads and dims["n_audio_head"] == heads


def _within(heads: Any, dims: dict[str, int]) -> list[list[int]] | None:
    """Return heads that the decoder has; a list copied from another model is none."""
    pairs = heads if isinstance(heads, list) else []
    most = dims["n_text_layer"], dims["n_text_head"]
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(type(i) is int for i in pair):
            return None
        if not all(0 <= i < end for i, end in zip(pair, most, strict=True)):
            return None
    return [list(pair) for pair in pairs] or None
