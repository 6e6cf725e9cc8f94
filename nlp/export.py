"""A text classifier as an ONNX file with its tokenizer beside it, and the proof that it says the same."""

import contextlib
import copy
import io
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from pipelines.engines import load_framework
from pipelines.errors import DataError
from pipelines.progress import hushed, say

from .texts import Text, plain
from .tokens import Tokenizer

__all__ = ["TOLERANCE", "Exported", "export"]

TOLERANCE = 1e-4
"""The most by which a probability from the exported file may differ."""

_FORMAT = "domain-pipelines text classifier"
_TOKENIZER, _SETTINGS = "tokenizer.json", "model.json"
_ONE_FILE = 1_800_000_000  # bytes of weights; an ONNX file ends at 2 GB, and larger ones have their weights beside them
_LONG = 512  # as windows are by themselves
_TEXTS = (
    "A short text.",
    "",
    "Line one,\nline two: 3.14 % of it — and “quotes”.",
    "Ünïcödé, 中文, עברית, العربية, 😀👍🏽",
)


@dataclass(frozen=True)
class Exported:
    """What an export wrote, and how well it says the same as the pipeline.

    Parameters
    ----------
    model, tokenizer, settings : Path
        The ONNX file, the tokenizer in the format of the `tokenizers` library, and labels and the rest as JSON.
    texts : int
        Texts on which both were compared.
    difference, tolerance : float
        The largest difference of two probabilities that was seen, and that would have been let through.
    """

    model: Path
    tokenizer: Path
    settings: Path
    texts: int
    difference: float
    tolerance: float = TOLERANCE

    def __fspath__(self) -> str:
        return str(self.model)


def export(pipeline: Any, path: str | os.PathLike[str], samples: Sequence[Text] = ()) -> Exported:
    """Write a text classifier as ONNX, with all it takes to use it elsewhere, and compare it with the pipeline.

    Three files are written into one folder: the network; `tokenizer.json`, which cuts texts as the pipeline does (windows of
    long texts are its `overflowing`; only `"head+tail"` is left to the reader); and `model.json` with labels, thresholds, the
    token that fills up, and how windows become one answer. The network takes `input_ids` and `attention_mask` (int64, any
    number of windows of any length), and `token_type_ids` for pairs where it tells them apart. It gives `probabilities`
    (windows, classes) with the temperature in them, which for a text of one window is what `predict_proba` says; and `scores`,
    whose mean over a text's windows, through softmax (several labels: the logistic function), is it for any text.

    Parameters
    ----------
    pipeline : TextClassifier
        A fitted one.
    path : path
        A file that ends in `.onnx`, in a folder that exists. An earlier export there is replaced.
    samples : sequence, optional
        Texts, or pairs of them, to compare on, besides five of our own.

    Returns
    -------
    Exported

    Raises
    ------
    DataError
        If the place cannot be used, the network cannot be written as ONNX, or the file's probabilities differ by more than 1e-4;
        nothing is left behind then.
    ImportError
        If onnx, onnxscript or onnxruntime is missing, with the pip line.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        load_framework(name)
    target = Path(path).absolute()
    texts = [*_own_texts(pipeline), *samples]
    try:
        _check_place(target)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.stem}.new-", dir=target.parent))
        try:
            _write(pipeline, folder / target.name)
            difference = _compare(folder / target.name, texts, pipeline.predict_proba(texts))
            _note(folder / _SETTINGS, {"texts": len(texts), "largest_difference": difference, "tolerance": TOLERANCE})
            for file in sorted(folder.iterdir(), key=lambda file: file.name == _SETTINGS):  # last what says that all is there
                os.replace(file, target.parent / file.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise DataError(f"The export cannot be written to {str(target)!r}: {error.strerror or error}.") from error
    say(f"{target.name} says the same as the pipeline on {len(texts)} texts, within {difference:.1e}", pipeline.verbose)
    return Exported(target, target.parent / _TOKENIZER, target.parent / _SETTINGS, len(texts), difference)


def _own_texts(pipeline: Any) -> list[Text]:
    """Return a few texts of every kind, one of them longer than a window."""
    texts = [*_TEXTS, "A longer text, which goes on " + "and on " * min(pipeline.max_length_, _LONG)]
    return list(zip(texts, texts[::-1], strict=True)) if pipeline.pairs_ else list(texts)


# ---------------------------------------------------------------- the place
def _check_place(target: Path) -> None:
    folder = target.parent
    if target.suffix != ".onnx":
        raise DataError(f"An export is a file that ends in .onnx, which {target.name!r} does not.")
    if not folder.is_dir():
        raise DataError(f"The folder {str(folder)!r} does not exist; create it before exporting {target.name!r}.")
    if target.is_dir():
        raise DataError(f"{str(target)!r} is a folder. Expected the name of a file, such as {str(target / 'model.onnx')!r}.")
    taken = [name for name in (_TOKENIZER, _SETTINGS) if (folder / name).exists()]
    if taken and _owner(folder) not in (target.name, None):
        raise DataError(f"{folder} holds the export {_owner(folder)!r} already, with its tokenizer. Choose a folder of its own.")
    if taken and _owner(folder) is None:
        raise DataError(f"{folder} has a {taken[0]} of something else, which is left alone. Choose a folder of its own.")


def _owner(folder: Path) -> str | None:
    """Return the name of the ONNX file that the settings in a folder belong to, None where they are not ours."""
    with contextlib.suppress(OSError, ValueError):
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        if isinstance(settings, dict) and settings.get("format") == _FORMAT:
            return str(settings.get("onnx"))
    return None


# ---------------------------------------------------------------- writing
def _write(pipeline: Any, file: Path) -> None:
    from . import onnx_network

    network = onnx_network.Probabilities(copy.deepcopy(pipeline.model_).cpu(), pipeline.temperature_, pipeline.multilabel_)
    inputs = onnx_network.inputs(network, pairs=pipeline.pairs_)
    with _quiet():
        try:
            load_framework("torch").onnx.export(
                network.eval(),
                tuple(inputs.values()),
                file,
                input_names=list(inputs),
                output_names=["scores", "probabilities"],
                dynamic_shapes=tuple({0: "windows", 1: "length"} for _ in inputs),
                dynamo=True,
                external_data=sum(tensor.nbytes for tensor in network.state_dict().values()) > _ONE_FILE,
                verbose=False,
            )
        except OSError:
            raise
        except Exception as error:  # whatever the exporter raises for an operation it does not know
            reason = " ".join(str(error).split())[:300]
            kind = pipeline.config_.get("model_type")
            raise DataError(
                f"An encoder of the kind {kind!r} cannot be written as ONNX by this version of PyTorch "
                f"({type(error).__name__}: {reason}). Use another encoder, or pipeline.save."
            ) from error
    _write_tokenizer(pipeline._tokenizer, file.with_name(_TOKENIZER))
    settings = json.dumps(_settings(pipeline, file.name, list(inputs)), indent=1, ensure_ascii=False)
    file.with_name(_SETTINGS).write_text(settings, encoding="utf-8")


def _write_tokenizer(tokenizer: Tokenizer, file: Path) -> None:
    library = tokenizer._library
    library.enable_padding(pad_id=tokenizer.pad, pad_token=library.id_to_token(tokenizer.pad))
    file.write_text(library.to_str(pretty=False), encoding="utf-8")


def _settings(pipeline: Any, name: str, inputs: list[str]) -> dict[str, Any]:
    then = "logistic" if pipeline.multilabel_ else "softmax"
    return {
        "format": _FORMAT,
        "onnx": name,
        "tokenizer": _TOKENIZER,
        "inputs": inputs,
        "outputs": ["scores", "probabilities"],
        "labels": pipeline.classes_.tolist(),
        "several_labels": pipeline.multilabel_,
        "thresholds": pipeline.threshold_.tolist() if pipeline.multilabel_ else None,
        "temperature": {"value": pipeline.temperature_, "included": True},
        "pairs": pipeline.pairs_,
        "max_length": pipeline.max_length_,
        "long_texts": pipeline.long_texts,
        "windows": {"mean_of": "scores", "then": then},
        "pad_id": pipeline.pad_,
    }


def _note(file: Path, proof: dict[str, Any]) -> None:
    settings = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**settings, "compared": proof}, indent=1, ensure_ascii=False), encoding="utf-8")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's log, progress and advice to developers of PyTorch off the screen."""
    silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with hushed("torch.onnx", "torch.export", "onnxscript", "onnx_ir"), warnings.catch_warnings(), silent[0], silent[1]:
        warnings.simplefilter("ignore")
        yield


# ---------------------------------------------------------------- the proof: from the files alone
def _compare(file: Path, texts: Sequence[Text], expected: np.ndarray) -> float:
    """Return the largest difference of probabilities, of texts alone and of all together."""
    runtime = load_framework("onnxruntime")
    settings = json.loads(file.with_name(_SETTINGS).read_text(encoding="utf-8"))
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    windows = _windows(file.with_name(_TOKENIZER), settings, texts)
    alone = np.concatenate([_probabilities(session, settings, [each]) for each in windows])
    together = _probabilities(session, settings, windows)
    difference = float(max(np.abs(found - expected).max() for found in (alone, together)))
    if not difference <= TOLERANCE:
        i = int(np.abs(together - expected).max(axis=1).argmax())
        raise DataError(
            f"The exported network does not say the same as the pipeline: a probability differs by {difference:.2g} (for "
            f"{plain(str(texts[i]))[:60]!r}), but at most {TOLERANCE:g} is let through. The file was removed; please report this."
        )
    return difference


def _windows(tokenizer: Path, settings: dict[str, Any], texts: Sequence[Text]) -> list[list[Any]]:
    """Return the windows of each text as the tokenizer beside the network gives them."""
    stored = tokenizer.read_text(encoding="utf-8")
    if settings["long_texts"] == "head+tail":  # what the tokenizer cannot do by itself
        ours = Tokenizer(stored, settings["max_length"], "head+tail", settings["pad_id"])
        return [windows for windows, _ in ours.windows(texts)]
    library = load_framework("tokenizers").Tokenizer.from_str(stored)
    clean = map(plain, texts)
    firsts = [library.encode(*((text,) if isinstance(text, str) else text)) for text in clean]
    return [[first, *first.overflowing] if settings["long_texts"] == "window" else [first] for first in firsts]


def _probabilities(session: Any, settings: dict[str, Any], texts: Sequence[list[Any]]) -> np.ndarray:
    """Return what the file says of texts, computed all at once."""
    windows = [window for text in texts for window in text]
    length = max(map(len, windows))
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    fill = {"input_ids": settings["pad_id"]}
    feed = {
        name: np.array(
            [[*getattr(window, columns[name]), *[fill.get(name, 0)] * (length - len(window))] for window in windows],
            dtype=np.int64,
        )
        for name in settings["inputs"]
    }
    scores, probabilities = session.run(["scores", "probabilities"], feed)
    if len(windows) == len(texts):
        return probabilities
    firsts = np.cumsum([0, *map(len, texts[:-1])])
    means = np.add.reduceat(scores, firsts, axis=0) / np.array([[len(text)] for text in texts])
    return expit(means) if settings["several_labels"] else softmax(means, axis=1)
