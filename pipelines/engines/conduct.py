"""What every engine does between epochs: records, the best weights, early stopping, checkpoints, weights on disk."""

import contextlib
import errno
import json
import math
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import DataError, FormatError
from ..store import replacing

__all__ = ["Course", "Learner", "reading", "unfit", "writing"]


class Learner(Protocol):
    """A network and its optimizer as arrays, in an order that is always the same."""

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all weights, the statistics a network keeps among them."""

    def set_weights(self, values: list[np.ndarray]) -> None:
        """Put weights back; ValueError where they do not fit."""

    def get_optimizer(self) -> list[np.ndarray]:
        """Return copies of what the optimizer remembers."""

    def set_optimizer(self, values: list[np.ndarray]) -> None:
        """Put the optimizer's memory back; ValueError where it does not fit."""


def _here(action: Callable[[], Any]) -> Any:
    return action()


class Course:
    """The course of a training, epoch by epoch: what an engine tells it, and what it decides.

    Parameters
    ----------
    learner : Learner
        The network and its optimizer.
    judged : callable, optional
        Returns figures of the validation part; the epoch with the smallest `val_loss` is the best. Without it the last one is.
    patience : int, optional
        Finish after so many epochs without a better one.
    on_epoch : callable, optional
        Told the record of each epoch.
    file : path, optional
        The checkpoint to write every epoch, and to go on from where it exists.
    fingerprint : str
        What the checkpoint must have been made from.
    once : callable, optional
        Runs an action in one of several processes and gives all of them its result, or its error.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        judged: Callable[[], dict[str, float]] | None,
        patience: int | None,
        on_epoch: Callable[[dict[str, Any]], None] | None,
        file: Path | None,
        fingerprint: str,
        once: Callable[[Callable[[], Any]], Any] = _here,
    ) -> None:
        self.learner, self.judged, self.patience, self.tell_epoch = learner, judged, patience, on_epoch
        self.file, self.fingerprint, self.once = file, fingerprint, once
        self.history: list[dict[str, Any]] = []
        self.best: list[np.ndarray] | None = None
        self.best_loss, self.best_epoch = math.inf, 0
        self.finished = False

    def start_epoch(self) -> None:
        """Begin to count the seconds."""
        self.started = time.perf_counter()

    def end_epoch(self, epoch: int, figures: dict[str, float]) -> None:
        """Judge, record and keep the epoch (counted from 0), unless its loss is no number; see whether it was the last one."""
        if not math.isfinite(figures["loss"]):
            self._stop_diverged(epoch, figures["loss"])
            return
        record = {"epoch": epoch + 1, **figures, **(self.once(self.judged) if self.judged else {})}
        record["seconds"] = round(time.perf_counter() - self.started, 3)
        self.history.append(record)
        value = record.get("val_loss", -math.inf)
        if value < self.best_loss or not self.judged:
            self.best, self.best_loss, self.best_epoch = self.learner.get_weights(), value, epoch + 1
        elif self.patience is not None and epoch + 1 - self.best_epoch >= self.patience:
            self.finished = True
        if self.file is not None:
            self.once(lambda: self._checkpoint(epoch + 1))
        if self.tell_epoch:
            self.tell_epoch(record)

    def interrupted(self, interrupt: KeyboardInterrupt) -> None:
        """Note Ctrl-C in the history, or let it through where nothing was learned yet that could be kept."""
        if not self.history:
            raise interrupt
        self.history[-1]["interrupted"] = True

    def keep_best(self) -> None:
        """Put the best epoch's weights back into the network."""
        if self.best is not None:
            self.learner.set_weights(self.best)

    def _stop_diverged(self, epoch: int, value: float) -> None:
        if self.best is None:
            raise DataError(
                f"The loss became {value} in epoch {epoch + 1}. Try a smaller lr, and look for extreme values in the data."
            )
        self.history[-1]["diverged"] = True
        self.finished = True

    # ---------------------------------------------------------------- checkpoints
    def _checkpoint(self, epochs_done: int) -> None:
        state = {
            "epoch": epochs_done,
            "history": self.history,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "finished": self.finished,
            "fingerprint": self.fingerprint,
        }
        arrays = {f"weight{i}": value for i, value in enumerate(self.learner.get_weights())}
        arrays |= {f"best{i}": value for i, value in enumerate(self.best or [])}
        arrays |= {f"optimizer{i}": value for i, value in enumerate(self.learner.get_optimizer())}
        assert self.file is not None
        try:
            with replacing(self.file) as temporary, open(temporary, "wb") as stream:
                np.savez(stream, **{"state": np.array(json.dumps(state)), **arrays})  # type: ignore[arg-type]
        except OSError as error:
            raise DataError(f"The checkpoint {self.file} cannot be written: {error}. Choose another resume folder.") from error

    def restore(self) -> int:
        """Go back to the last finished epoch, where there is a checkpoint, and return how many epochs are done."""
        if self.file is None:
            return 0
        stored = self.once(self._read)
        if stored is None:
            return 0
        with self._damage_named():
            return self._go_back(*stored)

    def _read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        assert self.file is not None
        _check_writable(self.file)
        if not self.file.exists():
            return None
        with self._damage_named():
            with open(self.file, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            state = json.loads(str(arrays.pop("state")))
            if state["fingerprint"] == self.fingerprint:
                return state, arrays
        raise DataError(
            f"The checkpoint {self.file} belongs to a fit with other parameters or data. "
            "Delete it to start anew, or pass another resume folder."
        )

    @contextlib.contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FormatError(f"The checkpoint {self.file} is damaged: {error}. Delete it to start anew.") from error

    def _go_back(self, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
        self.history, self.finished = list(state["history"]), bool(state["finished"])
        self.best_loss, self.best_epoch = state["best_loss"], state["best_epoch"]
        self.best = _numbered(arrays, "best") or None
        self.learner.set_weights(_numbered(arrays, "weight"))
        self.learner.set_optimizer(_numbered(arrays, "optimizer"))
        return int(state["epoch"])


def _check_writable(file: Path) -> None:
    """Find out before the first epoch, not after it, that checkpoints cannot be kept."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise DataError(f"The checkpoint {file} cannot be written: {error}. Choose another resume folder.") from error


def _numbered(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.startswith(name) for key in arrays)
    return [arrays[f"{name}{i}"] for i in range(count)]


# ---------------------------------------------------------------- weights on disk
@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Turn safetensors' own error, for a full disk for one, into the OSError it is."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        full = "os error 28" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a damaged weights file into a FormatError."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is no readable weights file: {error}. Nothing was loaded.") from error


def unfit(path: Path, found: int, expected: int) -> FormatError:
    """Return the error for the weights of another network."""
    return FormatError(f"{path} holds {found} weights that do not fit the network's {expected}; nothing was loaded.")
