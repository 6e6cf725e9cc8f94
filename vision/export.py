"""A classifier or segmenter as SavedModel, ONNX or TFLite, from pixels to probabilities, and the proof that they agree."""

import contextlib
import io
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import checks, store
from pipelines.engines import keras_backend, load_framework
from pipelines.errors import DataError, ParameterError
from pipelines.progress import hushed, say

from .exported_networks import INPUT, OUTPUT, ExportedClassifier, ExportedSegmenter, Run

__all__ = ["FORMATS", "TOLERANCE", "Exported", "export"]

FORMATS = ("saved-model", "onnx", "tflite")
TOLERANCE = 1e-4
"""The most by which an exported probability may differ."""

_MARK = "domain-pipelines"
_SETTINGS = "model.json"  # in the folder of a SavedModel; the name of a file is put before it
_SUFFIXES = {"": "saved-model", ".onnx": "onnx", ".tflite": "tflite"}
_SUBJECTS = {"image-classification": ExportedClassifier, "image-segmentation": ExportedSegmenter}


@dataclass(frozen=True)
class Exported:
    """What an export wrote, and how well it says the same as the pipeline.

    Parameters
    ----------
    path, settings : Path
        The file, or the folder of a SavedModel; and labels, size and the rest as JSON.
    format : str
        "saved-model", "onnx" or "tflite".
    images : int
        Images on which both were compared; the labels that images get were the same.
    difference, tolerance : float
        The largest difference of two probabilities that was seen, and that would have been let through.

    Examples
    --------
    >>> os.fspath(Exported(Path("digits.onnx"), Path("digits.onnx.model.json"), "onnx", 6, 0.0))
    'digits.onnx'
    """

    path: Path
    settings: Path
    format: str
    images: int
    difference: float
    tolerance: float = TOLERANCE

    def __fspath__(self) -> str:
        return str(self.path)


def export(pipeline: Any, path: str | os.PathLike[str], format: str | None = None, samples: Any = None) -> Exported:
    """Write a classifier or segmenter for other programs, run what was written, and compare it with the pipeline.

    What is written takes `pixels`, float32 from 0 to 255 of the shape (images, height, width, channels) with any number of
    images, and gives `probabilities` as `predict_proba` does, (images, classes) or (images, height, width, classes). The scaling
    of pixels is inside; so are a classifier's temperature, and the mirroring of a segmenter's images up to a size that the
    network takes. Decoding and a classifier's resizing cannot be; the JSON beside the file, or in the folder, says how they are
    done, and has labels, sizes, channels, the range of values of images with more than eight bits, and several labels'
    thresholds.

    Parameters
    ----------
    pipeline : ImageClassifier or ImageSegmenter
        A fitted one.
    path : path
        A file that ends in `.onnx` or `.tflite`, or a folder for a SavedModel. An earlier export there is replaced, anything else
        is left alone.
    format : str, optional
        `"saved-model"`, `"onnx"` or `"tflite"`; by default what the path's ending says.
    samples : sequence, optional
        Images to compare on, besides five of our own.

    Returns
    -------
    Exported

    Raises
    ------
    ParameterError
        If the format is not known, or the path ends otherwise.
    DataError
        If the place cannot be used, the network cannot be written in that format, or a probability differs by more than 1e-4 or a
        label of an image at all; nothing is left behind then.
    ImportError
        If a package is missing, with the pip line.

    Notes
    -----
    A SavedModel is written by Keras, TFLite by TensorFlow's converter, and ONNX by tf2onnx; they are read back by TensorFlow,
    LiteRT (`ai-edge-litert`) and ONNX Runtime.
    """
    target = Path(path).absolute()
    form = _form(target, format)
    needs, write, read = _WAYS[form]
    if keras_backend() != "tensorflow":
        raise DataError(
            f"Keras runs on {keras_backend()} here, but exports are written by TensorFlow. Save the pipeline, load it in a "
            "process with KERAS_BACKEND=tensorflow, and export it there."
        )
    for name in needs:
        load_framework(name, extra="vision" if name == "tensorflow" else None)
    subject = _SUBJECTS[pipeline.task](pipeline)
    try:
        _check_place(target, form)
        with _beside(target) as new:
            _written(subject, new, form, write)
            images, difference = _compare(subject, read(new), samples, form)
            done = Exported(target, _settings_of(target, form), form, images, difference)
            _note(_settings_of(new, form), _facts(subject, done, new))
    except OSError as error:
        raise DataError(f"The export cannot be written to {str(target)!r}: {error.strerror or error}.") from error
    say(f"{target.name} says the same as the pipeline on {images} images, within {difference:.1e}", pipeline.verbose)
    return done


def _form(target: Path, asked: str | None) -> str:
    """Return the format; the path has to end as that format does."""
    if asked is not None:
        checks.choice("format", asked, FORMATS)
    meant = _SUFFIXES.get(target.suffix.lower())
    if meant is None and asked == "saved-model":
        return asked  # a folder may have a dot in its name
    if meant is None or asked not in (None, meant):
        wanted = "one of " + ", ".join(FORMATS) if asked is None else f"{asked!r}"
        raise ParameterError(
            f"{target.name!r} does not end as an export as {wanted} does. Expected .onnx, .tflite, or the name of a folder for a "
            "SavedModel."
        )
    return meant


# ---------------------------------------------------------------- the place
def _settings_of(path: Path, form: str) -> Path:
    return path / _SETTINGS if form == "saved-model" else path.with_name(f"{path.name}.{_SETTINGS}")


def _check_place(target: Path, form: str) -> None:
    if not target.parent.is_dir():
        raise DataError(f"The folder {str(target.parent)!r} does not exist; create it before exporting {target.name!r}.")
    folder, settings = form == "saved-model", _settings_of(target, form)
    there = target.is_symlink() or settings.exists() or (any(target.iterdir()) if target.is_dir() else target.exists())
    if (there and not _is_ours(target, settings)) or (target.exists() and target.is_dir() != folder):
        raise DataError(
            f"{target} is not an earlier export as {form!r}, and is left alone. Choose another {'folder' if folder else 'file'}."
        )


def _is_ours(target: Path, settings: Path) -> bool:
    """Whether an export wrote what is there, and nothing else is in its folder."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(settings.read_text(encoding="utf-8"))
        if target.is_symlink() or not isinstance(found, dict) or found.get("made_by") != _MARK:
            return False
        return not target.is_dir() or {entry.name for entry in target.iterdir()} <= {_SETTINGS, *map(str, found["files"])}
    return False


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give a path beside the final one to write to; what is there, settings last, takes its place if the block ends well."""
    home = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    old = home / "old"
    try:
        yield home / target.name
        if target.is_dir():
            os.rename(target, old)
        for entry in sorted(home.iterdir(), key=lambda entry: len(entry.name)):
            if entry != old:
                os.replace(entry, target.parent / entry.name)
    except OSError:
        if old.exists() and not target.exists():
            os.rename(old, target)
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _note(settings: Path, facts: dict[str, Any]) -> None:
    settings.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def _facts(subject: Any, done: Exported, new: Path) -> dict[str, Any]:
    """Return what a program has to know to use the file, and how well it says the same."""
    return {
        "made_by": _MARK,
        "task": subject.pipeline.task,
        "format": done.format,
        "files": sorted(entry.name for entry in new.iterdir()) if new.is_dir() else [done.path.name],
        **subject.facts(),
        "compared": {"images": done.images, "largest_difference": done.difference, "tolerance": done.tolerance},
        "versions": store.versions(),
    }


# ---------------------------------------------------------------- writing
def _written(subject: Any, new: Path, form: str, write: Callable[[Any, Path], None]) -> None:
    network = subject.network()
    network(subject.own_images()[0][None].astype(np.float32))  # Keras exports to ONNX only what was called once
    with _quiet():
        try:
            write(network, new)
        except OSError:
            raise
        except Exception as error:  # whatever the converters raise for an operation they do not know
            reason = " ".join(str(error).split())[:300]
            raise DataError(
                f"The backbone {subject.pipeline.backbone!r} cannot be written as {form!r} by these versions of TensorFlow and "
                f"its converters ({type(error).__name__}: {reason}). Choose another format, or pipeline.save."
            ) from error


def _write_saved_model(network: Any, folder: Path) -> None:
    network.export(folder, format="tf_saved_model", verbose=False)


def _write_onnx(network: Any, file: Path) -> None:
    network.export(file, format="onnx", verbose=False)


def _write_tflite(network: Any, file: Path) -> None:
    network.export(file, format="litert", verbose=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converters' log, progress and warnings off the screen."""
    silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with hushed("tensorflow", "tf2onnx", "absl"), warnings.catch_warnings(), silent[0], silent[1]:
        warnings.simplefilter("ignore")
        yield


# ---------------------------------------------------------------- the proof: from the files alone
def _read_saved_model(folder: Path) -> Run:
    tensorflow: Any = load_framework("tensorflow")
    loaded = tensorflow.saved_model.load(str(folder))
    serve = loaded.signatures["serving_default"]

    def run(pixels: np.ndarray) -> np.ndarray:
        assert loaded is not None  # the signature alone does not keep the variables alive
        return serve(**{INPUT: tensorflow.constant(pixels)})[OUTPUT].numpy()

    return run


def _read_onnx(file: Path) -> Run:
    session = load_framework("onnxruntime").InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([OUTPUT], {INPUT: pixels})[0]


def _read_tflite(file: Path) -> Run:
    library: Any = load_framework("ai_edge_litert.interpreter")
    kernels = library.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # the default ones announce themselves on the screen
    serve = library.Interpreter(str(file), experimental_op_resolver_type=kernels).get_signature_runner("serving_default")
    return lambda pixels: serve(**{INPUT: pixels})[OUTPUT]


def _compare(subject: Any, run: Run, samples: Any, form: str) -> tuple[int, float]:
    """Return how many images were compared, and the largest difference of their probabilities."""
    ours = subject.own_images()
    parts = [(ours, 1), (ours, len(ours)), *([] if samples is None else [(samples, subject.pipeline.batch_size)])]
    difference = max(_compare_part(subject, run, X, size, form) for X, size in parts)
    return len(ours) + (0 if samples is None else len(samples)), difference


def _compare_part(subject: Any, run: Run, X: Any, size: int, form: str) -> float:
    """Return the largest difference of probabilities, `size` images at a time."""
    largest = 0.0
    for first, found, expected in subject.answers(run, X, size):
        differences = np.abs(found - expected).reshape(len(found), -1).max(axis=1)
        worst = int(np.argmax(np.nan_to_num(differences, nan=np.inf)))
        if not differences[worst] <= TOLERANCE:
            raise DataError(
                f"The export as {form!r} does not say the same as the pipeline: a probability of image {first + worst} differs "
                f"by {differences[worst]:.2g}, but at most {TOLERANCE:g} is let through. Nothing was left behind; please report "
                "this."
            )
        subject.check_decisions(first, found, expected, form)
        largest = max(largest, float(differences.max()))
    return largest


_WAYS: dict[str, tuple[tuple[str, ...], Callable[[Any, Path], None], Callable[[Path], Run]]] = {
    "saved-model": (("tensorflow",), _write_saved_model, _read_saved_model),
    "onnx": (("tensorflow", "onnx", "tf2onnx", "onnxruntime"), _write_onnx, _read_onnx),
    "tflite": (("tensorflow", "ai_edge_litert.interpreter"), _write_tflite, _read_tflite),
}
