"""The Keras engine: `train`, `infer`, `save_weights`, `load_weights` for networks written in Keras, on any of its backends.

`train` wraps `keras.Model.fit` and adds what every task needs around it: a schedule, early stopping with the best weights kept,
checkpoints that survive `kill -9`, and an interruption that keeps what was learned.
"""

import contextlib
import errno
import json
import logging
import math
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Batches, prefetch
from ..device import Device
from ..errors import DataError, FormatError
from ..store import replacing
from . import load_framework

keras: Any = load_framework("keras")

_SAMPLES_TOGETHER, _BYTES_TOGETHER = 256, 16 * 2**20  # of inputs that go through the network at once in `infer`

__all__ = ["infer", "load_weights", "save_weights", "train"]


def train(
    model: Any,
    batches: Batches,
    *,
    valid: Batches | None,
    judge: Callable[[np.ndarray, Any], dict[str, float]],
    loss: Any,
    epochs: int,
    lr: float,
    device: Device,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    metrics: Sequence[Any] = (),
    weight_decay: float = 0.0,
    warmup: float = 0.1,
    patience: int | None = None,
    seed: int = 0,
    resume: Path | None = None,
    fingerprint: str = "",
) -> list[dict[str, Any]]:
    """Train a network with AdamW, a warm-up and a cosine decay, and leave the best epoch's weights in it.

    Parameters
    ----------
    model : keras.Model
        The network; it is trained in place and stays uncompiled.
    batches, valid : Batches
        Training and validation batches. Without `valid` the last epoch counts as the best.
    judge : callable
        Takes the outputs and targets of the validation part and returns figures for the record; the epoch with the smallest
        `val_loss` is the best.
    loss : keras loss
        Of targets and the network's outputs.
    epochs : int
        The most epochs.
    lr : float
        Highest learning rate, reached after the share `warmup` of all steps.
    device : Device
        Where to compute.
    on_epoch, on_step : callable, optional
        Told the record of each epoch, and epoch and step of each batch.
    metrics : sequence of keras metrics
        Measured beside the loss.
    weight_decay : float
        AdamW's.
    patience : int, optional
        Stop after so many epochs without a better validation loss.
    seed : int
        Seeds dropout and augmentation, epoch by epoch.
    resume : path, optional
        The checkpoint file to write every epoch, and to go on from where it exists.
    fingerprint : str
        What the checkpoint must have been made from.

    Returns
    -------
    list of dict
        One record an epoch: `epoch`, `loss`, `val_loss`, metrics, `seconds`. The last one has `interrupted` after Ctrl-C.

    Raises
    ------
    DataError
        If the loss is not finite before any epoch was good, or the checkpoint was made from other data or parameters.
    """
    with device.scope():
        trainer = keras.Model(model.inputs, model.outputs)  # the optimizer's state stays out of what is saved
        trainer.compile(optimizer=_optimizer(lr, epochs * len(batches), weight_decay, warmup), loss=loss, metrics=list(metrics))
        trainer.jit_compile = False  # compiling by XLA takes longer than it saves on networks of this size
        loop = _Loop(
            batches,
            None if valid is None else _Judged(valid, judge, device),
            patience,
            seed,
            on_epoch,
            resume,
            fingerprint,
        )
        loop.set_model(trainer)
        first = loop.restore()
        try:
            if first < epochs and not loop.finished:
                trainer.fit(
                    _Feed(batches),
                    epochs=epochs,
                    initial_epoch=first,
                    callbacks=[loop, _Steps(on_step)] if on_step else [loop],
                    shuffle=False,  # `Batches` do, the same way after a resume; Keras would by the global random state
                    verbose=0,
                )
        except KeyboardInterrupt:
            if not loop.history:  # nothing learned yet: there is nothing to keep
                raise
            loop.history[-1]["interrupted"] = True
        loop.keep_best()
    return loop.history


def infer(model: Any, batches: Batches, *, device: Device) -> np.ndarray:
    """Return the network's outputs for all batches, one row a sample, reading the next batches meanwhile."""
    model.jit_compile = False
    with device.scope(), _tracing_expected():
        outputs = [np.asarray(model.predict_on_batch(inputs)) for inputs in _gathered(prefetch(batches))]
    return np.concatenate(outputs)


def _gathered(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Join small batches, to 256 samples or 16 MB: without gradients to keep there is room, and it is up to 1.7 times quicker."""
    waiting: list[np.ndarray] = []
    for inputs in batches:
        waiting.append(inputs)
        samples, size = sum(map(len, waiting)), sum(part.nbytes for part in waiting)
        if samples + len(inputs) > _SAMPLES_TOGETHER or size + inputs.nbytes > _BYTES_TOGETHER:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def save_weights(model: Any, path: Path) -> None:
    """Write the network's weights as safetensors, in their order."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = {f"{i:04d} {w.path}": np.ascontiguousarray(w.numpy()) for i, w in enumerate(model.weights)}
    try:
        save_file(arrays, path)
    except SafetensorError as error:  # a full disk, for one
        full = "os error 28" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def load_weights(model: Any, path: Path) -> None:
    """Read weights written by `save_weights` into a network of the same shape.

    Raises
    ------
    FormatError
        If the file is damaged or made for another network.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is no readable weights file: {error}. Nothing was loaded.") from error
    values = [stored[key] for key in sorted(stored)]
    shapes = [tuple(w.shape) for w in model.weights]
    if [value.shape for value in values] != shapes:
        raise FormatError(f"{path} holds {len(values)} weights that do not fit the network's {len(shapes)}; nothing was loaded.")
    model.set_weights(values)


@contextlib.contextmanager
def _tracing_expected() -> Iterator[None]:
    """Drop TensorFlow's warning of frequent tracing: each network is traced for its first two batch sizes, as it must."""

    def keep(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _optimizer(lr: float, steps: int, weight_decay: float, warmup: float) -> Any:
    warm = max(1, round(steps * warmup))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=lr / 25, decay_steps=max(1, steps - warm), alpha=0.01, warmup_target=lr, warmup_steps=warm
    )
    optimizer = keras.optimizers.AdamW(learning_rate=schedule, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


class _Feed(keras.utils.PyDataset):
    """`Batches` as Keras wants them, read ahead in threads.

    Keras' own threads are not used: on its torch and jax backends they deliver the batches read before an epoch began in that
    epoch, so that some samples are seen twice and others never.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches, self.order = batches, batches.order
        self.pool = ThreadPoolExecutor(batches.workers, thread_name_prefix="feed") if batches.workers > 1 else None
        self.waiting: dict[int, Future[Any]] = {}

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        if self.pool is None:
            return self.batches[i]
        if self.order is not self.batches.order:  # a new epoch: what was read for the last one is of no use
            self.order, self.waiting = self.batches.order, {}
        for k in range(i, min(i + self.batches.workers + 1, len(self))):
            if k not in self.waiting:
                self.waiting[k] = self.pool.submit(self.batches.__getitem__, k)
        return self.waiting.pop(i).result()


class _Judged:
    """The validation part, judged by what the task makes of the network's outputs."""

    def __init__(self, valid: Batches, judge: Callable[[np.ndarray, Any], dict[str, float]], device: Device) -> None:
        self.valid, self.judge, self.device = valid, judge, device

    def __call__(self, model: Any) -> dict[str, float]:
        return self.judge(infer(model, self.valid, device=self.device), self.valid.targets)


class _Steps(keras.callbacks.Callback):
    """Tells of every batch; a callback of its own, as Keras waits for each batch's figures once anybody listens."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        super().__init__()
        self.tell = tell

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.tell(self.epoch, batch)


class _Loop(keras.callbacks.Callback):
    """What happens between epochs: shuffling, records, the best weights, early stopping, checkpoints."""

    def __init__(
        self,
        batches: Batches,
        judged: "_Judged | None",
        patience: int | None,
        seed: int,
        on_epoch: Callable[[dict[str, Any]], None] | None,
        resume: Path | None,
        fingerprint: str,
    ) -> None:
        super().__init__()
        self.batches, self.judged, self.patience, self.seed = batches, judged, patience, seed
        self.tell_epoch = on_epoch
        self.file, self.fingerprint = resume, fingerprint
        self.history: list[dict[str, Any]] = []
        self.best: list[np.ndarray] | None = None
        self.best_loss, self.best_epoch = math.inf, 0
        self.finished = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch, self.started = epoch, time.perf_counter()
        self.batches.start_epoch(epoch)
        states = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        for i, state in enumerate(states):  # randomness depends on seed and epoch alone, so a resumed run goes on alike
            state.assign(np.random.default_rng([self.seed, epoch, i]).integers(0, 2**31, size=2, dtype=np.uint32))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        record = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        if not math.isfinite(record["loss"]):
            self._stop_diverged(epoch, record["loss"])
            return
        record |= self.judged(self.model) if self.judged else {}
        record["seconds"] = round(time.perf_counter() - self.started, 3)
        self.history.append(record)
        value = record.get("val_loss", -math.inf)
        if value < self.best_loss or not self.judged:
            self.best, self.best_loss, self.best_epoch = self.model.get_weights(), value, epoch + 1
        elif self.patience is not None and epoch + 1 - self.best_epoch >= self.patience:
            self.finished = self.model.stop_training = True
        if self.file is not None:
            self._checkpoint(epoch + 1)
        if self.tell_epoch:
            self.tell_epoch(record)

    def _stop_diverged(self, epoch: int, value: float) -> None:
        if self.best is None:
            raise DataError(
                f"The loss became {value} in epoch {epoch + 1}. Try a smaller lr, and look for extreme values in the data."
            )
        self.history[-1]["diverged"] = True
        self.finished = self.model.stop_training = True

    def keep_best(self) -> None:
        """Put the best epoch's weights back into the network."""
        if self.best is not None:
            self.model.set_weights(self.best)

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
        arrays = {f"weight{i}": value for i, value in enumerate(self.model.get_weights())}
        arrays |= {f"best{i}": value for i, value in enumerate(self.best or [])}
        arrays |= {f"optimizer{i}": v.numpy() for i, v in enumerate(self.model.optimizer.variables)}
        assert self.file is not None
        try:
            with replacing(self.file) as temporary, open(temporary, "wb") as stream:
                np.savez(stream, state=np.array(json.dumps(state)), **arrays)
        except OSError as error:
            raise DataError(f"The checkpoint {self.file} cannot be written: {error}. Choose another resume folder.") from error

    def restore(self) -> int:
        """Go back to the last finished epoch, where there is a checkpoint, and return how many epochs are done."""
        if self.file is None:
            return 0
        _check_writable(self.file)
        if not self.file.exists():
            return 0
        try:
            with open(self.file, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            state = json.loads(str(arrays.pop("state")))
            if state["fingerprint"] == self.fingerprint:
                return self._go_back(state, arrays)
        except (ValueError, TypeError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FormatError(f"The checkpoint {self.file} is damaged: {error}. Delete it to start anew.") from error
        raise DataError(
            f"The checkpoint {self.file} belongs to a fit with other parameters or data. "
            "Delete it to start anew, or pass another resume folder."
        )

    def _go_back(self, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
        self.history, self.finished = list(state["history"]), bool(state["finished"])
        self.best_loss, self.best_epoch = state["best_loss"], state["best_epoch"]
        self.best = _numbered(arrays, "best") or None
        self.model.optimizer.build(self.model.trainable_variables)
        self.model.set_weights(_numbered(arrays, "weight"))
        for variable, value in zip(self.model.optimizer.variables, _numbered(arrays, "optimizer"), strict=True):
            variable.assign(value)
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
