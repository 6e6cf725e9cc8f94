"""The Keras engine: `train`, `infer`, `vjp`, `save_weights`, `load_weights` for networks in Keras, on any of its backends.

`train` wraps `keras.Model.fit` and adds what every task needs around it: a schedule, early stopping with the best weights kept,
checkpoints that survive `kill -9`, and an interruption that keeps what was learned.
"""

import contextlib
import functools
import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Ahead, Batches, gathered, prefetch
from ..device import Device
from ..errors import ParameterError
from . import keras_optimizers, load_framework
from .conduct import Course, reading, unfit, writing
from .memory import freed_memory_kept

keras: Any = load_framework("keras")

__all__ = ["infer", "load_weights", "save_weights", "train", "vjp"]


@freed_memory_kept()
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
    matrices: Sequence[Any] = (),
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
    matrices : sequence of keras.Variable
        Weights of inner layers that Muon trains instead, at the same learning rate; a convolution's kernel counts as a matrix
        with a column for each filter.

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
        optimizer = keras_optimizers.optimizer(lr, epochs * len(batches), weight_decay, warmup, matrices)
        trainer.compile(optimizer=optimizer, loss=loss, metrics=list(metrics))
        trainer.jit_compile = False  # compiling by XLA takes longer than it saves on networks of this size
        trainer.optimizer.build(trainer.trainable_variables)  # else TensorFlow traces a step twice: first to make variables
        course = Course(
            _Learner(trainer),
            judged=None if valid is None else lambda: judge(infer(trainer, valid, device=device), valid.targets),
            patience=patience,
            on_epoch=on_epoch,
            file=resume,
            fingerprint=fingerprint,
        )
        first = course.restore()
        loop = _Loop(course, batches, seed)
        try:
            if first < epochs and not course.finished:
                trainer.fit(
                    _Feed(batches),
                    epochs=epochs,
                    initial_epoch=first,
                    callbacks=[loop, _Steps(on_step)] if on_step else [loop],
                    shuffle=False,  # `Batches` do, the same way after a resume; Keras would by the global random state
                    verbose=0,
                )
        except KeyboardInterrupt as interrupt:
            course.interrupted(interrupt)
        course.keep_best()
    return course.history


@freed_memory_kept()
def infer(model: Any, batches: Batches, *, device: Device) -> np.ndarray:
    """Return the network's outputs for all batches, one row a sample, reading the next batches meanwhile."""
    model.jit_compile = False
    with device.scope(), _tracing_expected():
        outputs = [np.asarray(model.predict_on_batch(inputs)) for inputs in gathered(map(itemgetter(0), prefetch(batches)))]
    return np.concatenate(outputs)


def vjp(function: Callable[[Any], Any], inputs: Any) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Call a function, so that gradients can be asked for afterwards; Keras has no word for it that all its backends know.

    Parameters
    ----------
    function : callable
        From a tensor to a tensor.
    inputs : ndarray or tensor
        Where.

    Returns
    -------
    outputs : ndarray
        What the function returns.
    pull : callable
        Once: from weights in the outputs' shape to the gradient, in the inputs' shape, of the outputs' weighted sum (the
        vector-Jacobian product, as in JAX).

    Raises
    ------
    ParameterError
        On a backend without gradients.

    Examples
    --------
    >>> outputs, pull = vjp(lambda x: x**2, np.array([1.0, 2.0]))
    >>> outputs, pull(np.array([1.0, 10.0]))
    (array([1., 4.], dtype=float32), array([ 2., 40.], dtype=float32))
    """
    backend, x = keras.backend.backend(), keras.ops.convert_to_tensor(inputs, dtype=keras.backend.floatx())
    pull: Callable[[Any], Any]
    if backend == "tensorflow":
        with load_framework("tensorflow").GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            outputs = function(x)
        pull = functools.partial(tape.gradient, outputs, x)
    elif backend == "torch":
        x = x.detach().requires_grad_()
        outputs = function(x)
        pull = functools.partial(load_framework("torch").autograd.grad, outputs, x)
    elif backend == "jax":
        outputs, pull = importlib.import_module("jax").vjp(function, x)
    else:
        raise ParameterError(f"Keras computes no gradients on {backend}. Set KERAS_BACKEND to tensorflow, torch or jax.")

    def pulled(weights: np.ndarray) -> np.ndarray:
        found = pull(keras.ops.convert_to_tensor(weights, dtype=outputs.dtype))
        return keras.ops.convert_to_numpy(found[0] if isinstance(found, tuple) else found)

    return keras.ops.convert_to_numpy(outputs), pulled


def save_weights(model: Any, path: Path) -> None:
    """Write the network's weights as safetensors, in their order."""
    from safetensors.numpy import save_file

    arrays = {f"{i:04d} {w.path}": np.ascontiguousarray(w.numpy()) for i, w in enumerate(model.weights)}
    with writing():
        save_file(arrays, path)


def load_weights(model: Any, path: Path) -> None:
    """Read weights written by `save_weights` into a network of the same shape.

    Raises
    ------
    FormatError
        If the file is damaged or made for another network.
    """
    from safetensors.numpy import load_file

    with reading(path):
        stored = load_file(path)
    values = [stored[key] for key in sorted(stored)]
    shapes = [tuple(w.shape) for w in model.weights]
    if [value.shape for value in values] != shapes:
        raise unfit(path, len(values), len(shapes))
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


class _Feed(keras.utils.PyDataset):
    """`Batches` as Keras wants them, read ahead in threads.

    Keras' own threads are not used: on its torch and jax backends they deliver the batches read before an epoch began in that
    epoch, so that some samples are seen twice and others never.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.ahead = Ahead(batches)

    def __len__(self) -> int:
        return len(self.ahead)

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        return self.ahead[i]


class _Learner:
    """The network and its optimizer as arrays."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.get_weights, self.set_weights = model.get_weights, model.set_weights

    def get_optimizer(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self.model.optimizer.variables]

    def set_optimizer(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self.model.optimizer.variables, values, strict=True):
            variable.assign(value)


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
    """Tells the course of the training, shared with the other engine, of Keras' epochs, and Keras of its end."""

    def __init__(self, course: Course, batches: Batches, seed: int) -> None:
        super().__init__()
        self.course, self.batches, self.seed = course, batches, seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.course.start_epoch()
        self.batches.start_epoch(epoch)
        states = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        for i, state in enumerate(states):  # randomness depends on seed and epoch alone, so a resumed run goes on alike
            state.assign(np.random.default_rng([self.seed, epoch, i]).integers(0, 2**31, size=2, dtype=np.uint32))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.course.end_epoch(epoch, {name: float(value) for name, value in (logs or {}).items()})
        self.model.stop_training = self.course.finished
