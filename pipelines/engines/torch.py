"""The PyTorch engine: `train`, `infer`, `save_weights`, `load_weights` for networks written in PyTorch.

`train` is one plain loop. In several processes, as `torchrun` or `accelerate launch` start them, Hugging Face Accelerate finds
each its device and lets them agree; in one process nothing of it is used, as it costs 11 to 20 % of a step of 3 ms.
"""

import contextlib
import functools
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..data import Batches, gathered, prefetch
from ..device import Device, seeded
from . import load_framework
from .conduct import Course, reading, unfit, writing
from .memory import freed_memory_kept
from .torch_muon import Muon
from .torch_threads import threads_kept

torch: Any = load_framework("torch")

_LOOK_EVERY = 20  # steps on a GPU between two looks at the loss: each look waits until the GPU has caught up
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW remembers of each parameter; Muon has the second only

__all__ = ["infer", "load_weights", "quickest_precision", "save_weights", "train"]


@freed_memory_kept()
def train(
    model: Any,
    batches: Batches,
    *,
    valid: Batches | None,
    judge: Callable[[np.ndarray, Any], dict[str, float]],
    loss: Callable[[Any, Any], Any],
    epochs: int,
    lr: float,
    device: Device,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    weight_decay: float = 0.0,
    warmup: float = 0.1,
    patience: int | None = None,
    clip: float | None = 1.0,
    accumulate: int = 1,
    precision: str = "full",
    seed: int = 0,
    resume: Path | None = None,
    fingerprint: str = "",
    parameters: Sequence[dict[str, Any]] | None = None,
    matrices: Sequence[Any] = (),
) -> list[dict[str, Any]]:
    """Train a network with AdamW, a warm-up and a cosine decay, and leave the best epoch's weights in it, in evaluation mode.

    Several processes take the batches in turn, and add up their gradients at each step: two of them train as one with
    `accumulate` doubled.

    Parameters
    ----------
    model : torch.nn.Module
        The network, called with the inputs of a batch: a tensor, or a tuple or dict of them, as `batches` hold arrays. It is
        trained in place.
    batches, valid : Batches
        Training and validation batches. Without `valid` the last epoch counts as the best. float64 becomes float32, whole numbers
        become int64 (inputs of uint8 stay).
    judge : callable
        Takes the outputs and targets of the validation part and returns figures for the record; the epoch with the smallest
        `val_loss` is the best.
    loss : callable
        Of the network's outputs and targets, the mean over a batch's samples, such as `torch.nn.functional.cross_entropy`.
    epochs : int
        The most epochs.
    lr : float
        Highest learning rate, reached after the share `warmup` of all steps.
    device : Device
        Where to compute; in several processes each has the device of its number.
    on_epoch, on_step : callable, optional
        Told the record of each epoch, and epoch and number of each batch; of several processes the first one tells.
    weight_decay : float
        AdamW's; biases, the weights of normalisations and whatever else has one dimension are left out.
    patience : int, optional
        Stop after so many epochs without a better validation loss.
    clip : float or None
        The largest norm of a step's gradient; None for any.
    accumulate : int
        Batches that make one step; the gradient is the mean over all their samples.
    precision : str
        "full"; "bf16" or "fp16" for mixed precision. Validation is in full precision, as `infer` is.
    seed : int
        Seeds dropout and the like, epoch by epoch; the caller's random numbers go on as if nothing had happened.
    resume : path, optional
        The checkpoint file to write every epoch, and to go on from where it exists.
    fingerprint : str
        What the checkpoint must have been made from.
    parameters : list of dict, optional
        AdamW's parameter groups, each with "params" and what it has of its own, such as a smaller "lr"; all by default.
    matrices : sequence of Parameter
        Weights of inner layers, of two dimensions, that Muon trains instead, at the same learning rate.

    Returns
    -------
    list of dict
        One record an epoch: `epoch`, `loss`, `val_loss`, `seconds`. The last one has `interrupted` after Ctrl-C, and `diverged`
        where the loss was no longer a number in the epoch after it.

    Raises
    ------
    DataError
        If the loss is not finite before any epoch was good, or the checkpoint was made from other data or parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from pipelines.data import Batches
    >>> from pipelines.device import resolve
    >>> X = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> batches = Batches(lambda rows: X[rows], 32, 8, targets=2 * X, seed=0)
    >>> options = {"valid": None, "judge": None, "loss": torch.nn.functional.mse_loss, "device": resolve("cpu", "torch")}
    >>> history = train(torch.nn.Linear(1, 1), batches, epochs=5, lr=0.3, **options)
    >>> history[-1]["loss"] < history[0]["loss"]
    True
    """
    checks.choice("precision", precision, ("full", *_HALF))
    team = _Team(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else _Alone(device)
    with team.scope():
        model.to(team.place)
        team.share(_state(model).values())
        optimizers = _optimizers(model, parameters, matrices, lr, weight_decay, team.place)
        learner = _Learner(model, optimizers, precision, clip)
        steps = _Steps(learner, batches, loss, team, accumulate=accumulate, epochs=epochs, warmup=warmup, on_step=on_step)
        course = Course(
            learner,
            judged=None if valid is None else lambda: judge(_validated(model, valid, team.place), valid.targets),
            patience=patience,
            on_epoch=on_epoch if team.rank == 0 else None,
            file=resume,
            fingerprint=fingerprint,
            once=team.once,
        )
        first = course.restore()
        try:
            _run(range(first, epochs), course, steps, seed)
        except KeyboardInterrupt as interrupt:
            course.interrupted(interrupt)
        finally:
            learner.forget_gradients()
            model.eval()
        course.keep_best()
    return course.history


@freed_memory_kept()
def infer(model: Any, batches: Batches, *, device: Device, precision: str = "full") -> np.ndarray:
    """Return the network's outputs for all batches, one row a sample, reading the next batches meanwhile.

    `precision` is "full", or "bf16" or "fp16" for mixed precision, where outputs may depend on how samples are batched.

    Examples
    --------
    >>> from pipelines.device import resolve
    >>> batches = Batches(lambda rows: rows[:, None], 3, 2)
    >>> infer(torch.nn.Identity(), batches, device=resolve("cpu", "torch")).tolist()
    [[0], [1], [2]]
    """
    place = _place(device)
    with device.scope():
        model.to(place)  # out here: weights moved in inference mode could not be trained any more
        with torch.inference_mode(), _autocast(place, precision):
            return _outputs(model, batches, place)


@functools.cache  # once a process: two fits in it must not differ
def quickest_precision(kind: str) -> str:
    """Return "bf16" where this machine trains a layer of a Transformer clearly quicker in it, by a measurement, else "full".

    Parameters
    ----------
    kind : str
        "cpu" or "gpu".

    Examples
    --------
    >>> quickest_precision("cpu") in ("bf16", "full")
    True
    """
    if kind != "cpu":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False) else "full"
    layer, inputs = torch.nn.Sequential(torch.nn.Linear(384, 1536), torch.nn.Linear(1536, 384)), torch.zeros(256, 384)

    def seconds(precision: str) -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = layer(inputs).sum()
        loss.backward()
        return time.perf_counter() - started

    with threads_kept():
        torch.set_num_threads(1)  # several would wait for each other on a busy machine, and that would be what is measured
        full, half = (min(seconds(precision) for _ in range(6)) for precision in ("full", "bf16"))
    return "bf16" if half < 0.75 * full else "full"  # where it is close it is not worth the digits


def save_weights(model: Any, path: Path) -> None:
    """Write the network's weights and buffers as safetensors, by name; what two names share is written once."""
    from safetensors.torch import save_file

    tensors = {name: tensor.cpu().contiguous() for name, tensor in _state(model).items()}
    with writing():
        save_file(tensors, path)


def load_weights(model: Any, path: Path) -> None:
    """Read weights written by `save_weights` into a network of the same shape.

    Raises
    ------
    FormatError
        If the file is damaged or made for another network; the network is as it was.
    """
    from safetensors.torch import load_file

    with reading(path):
        stored = load_file(path)
    state = _state(model)
    if {name: value.shape for name, value in stored.items()} != {name: tensor.shape for name, tensor in state.items()}:
        raise unfit(path, len(stored), len(state))
    for name, tensor in state.items():
        tensor.copy_(stored[name])


# ---------------------------------------------------------------- the loop
def _run(epochs: range, course: Course, steps: "_Steps", seed: int) -> None:
    team = steps.team
    for epoch in epochs:
        if course.finished:
            break
        course.start_epoch()
        with seeded(_epoch_seed(seed, epoch, team.rank), "torch"):  # by the epoch, so that a resumed run goes on alike
            loss = steps.epoch(epoch)
        team.share(steps.learner.model.buffers())  # each process has seen other batches, and the first one validates
        course.end_epoch(epoch, {"loss": loss})


def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


class _Steps:
    """The steps of an epoch: batches forward and backward, then an update of the weights by the mean over all their samples."""

    def __init__(
        self,
        learner: "_Learner",
        batches: Batches,
        loss: Callable[[Any, Any], Any],
        team: "_Alone",
        *,
        accumulate: int,
        epochs: int,
        warmup: float,
        on_step: Callable[[int, int], None] | None,
    ) -> None:
        self.learner, self.batches, self.loss, self.team = learner, batches, loss, team
        self.together = accumulate * team.count  # batches that make one step
        self.count = -(-len(batches) // self.together)
        self.schedule = _schedule(epochs * self.count, warmup)
        self.on_step = on_step if team.rank == 0 else None

    def epoch(self, epoch: int) -> float:
        """Take all steps and return the mean loss; or stop in the middle where it is no number any more, and return that."""
        self.batches.start_epoch(epoch)
        self.learner.model.train()
        mean = _Mean(1 if self.team.place.type == "cpu" else _LOOK_EVERY)
        share = range(self.team.rank, len(self.batches), self.team.count)
        with contextlib.closing(prefetch(self.batches, share)) as stream:
            for step in range(self.count):
                mean.add(*self._gradients(stream, epoch, step))
                if not mean.finite:
                    break
                self.learner.update(self.schedule(epoch * self.count + step))
        loss = mean.value()
        return loss if self.learner.finite() or not math.isfinite(loss) else math.nan

    def _gradients(self, stream: Iterator[Any], epoch: int, step: int) -> tuple[Any, int]:
        """Leave the gradients of one step in the parameters, and return its loss and number of samples."""
        first = step * self.together
        last = min(first + self.together, len(self.batches))
        samples, losses = self._samples(first, last), []
        self.learner.forget_gradients()
        for i in range(first + self.team.rank, last, self.team.count):
            losses.append(self._backward(next(stream), self._samples(i, i + 1) / samples))
            if self.on_step:
                self.on_step(epoch, i)
        return self.team.summed(losses, self.learner.parameters), samples

    def _samples(self, first: int, last: int) -> int:
        size = self.batches.batch_size
        return min(last * size, len(self.batches.order)) - first * size

    def _backward(self, batch: tuple[Any, Any], weight: float) -> Any:
        """Add a batch's gradients to the step's, and return its loss; both by its share of the step's samples."""
        inputs, targets = _tensors(batch[0], self.team.place), _tensors(batch[1], self.team.place, labels=True)
        with _autocast(self.team.place, self.learner.precision):
            loss = self.loss(self.learner.model(inputs), targets)
        if weight != 1:
            loss = loss * weight
        self.learner.scaler.scale(loss).backward()
        return loss.detach()


class _Mean:
    """The mean loss over the samples of an epoch, looked at every so many steps."""

    def __init__(self, every: int) -> None:
        self.every, self.sum, self.samples, self.finite = every, 0.0, 0, True
        self.unseen: list[tuple[Any, int]] = []

    def add(self, loss: Any, samples: int) -> None:
        self.unseen.append((loss, samples))
        if len(self.unseen) >= self.every:
            self._look()

    def value(self) -> float:
        """Return the mean; or the first loss that was no number."""
        self._look()
        return self.sum / self.samples if self.finite else self.sum

    def _look(self) -> None:
        if not self.unseen or not self.finite:
            return
        losses = [loss for loss, _ in self.unseen]
        values = torch.stack(losses).tolist() if len(losses) > 1 else [losses[0].item()]
        for value, (_, samples) in zip(values, self.unseen, strict=True):
            if not math.isfinite(value):
                self.sum, self.finite = value, False
                return
            self.sum, self.samples = self.sum + value * samples, self.samples + samples
        self.unseen = []


def _schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Return the learning rate's factor at a step: from 1/25 up to 1 in a straight line, then down to 1 % in half a cosine."""
    warm = max(1, round(steps * warmup))
    rest = max(1, steps - warm)

    def factor(step: int) -> float:
        if step < warm:
            return (1 + 24 * step / warm) / 25
        return 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, (step - warm) / rest))) / 2

    return factor


def _optimizers(
    model: Any,
    parameters: Sequence[dict[str, Any]] | None,
    matrices: Sequence[Any],
    lr: float,
    weight_decay: float,
    place: Any,
) -> list[Any]:
    """Return AdamW, and Muon where it has something to train."""
    matrices = [matrix for matrix in matrices if matrix.requires_grad]
    muons = {id(matrix) for matrix in matrices}
    undecayed = _undecayed(model) if weight_decay or parameters else set()  # one group is one call a step less
    groups: list[dict[str, Any]] = []
    for given in parameters or [{"params": model.parameters()}]:
        trained = [parameter for parameter in given["params"] if parameter.requires_grad and id(parameter) not in muons]
        decayed = [parameter for parameter in trained if id(parameter) not in undecayed]
        others = [parameter for parameter in trained if id(parameter) in undecayed]
        groups += [{**given, "params": decayed}] if decayed else []
        groups += [{**given, "params": others, "weight_decay": 0.0}] if others else []
    fused = place.type in ("cpu", "cuda") and all(p.is_floating_point() for group in groups for p in group["params"])
    optimizers = [torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=fused)]
    if matrices:
        optimizers.append(Muon(matrices, lr=lr, weight_decay=weight_decay))
    for group in itertools.chain.from_iterable(optimizer.param_groups for optimizer in optimizers):
        group["initial_lr"] = group["lr"]
    return optimizers


def _undecayed(model: Any) -> set[int]:
    """Return the identities of biases, normalisations' weights and other parameters of one dimension."""
    norms = (torch.nn.LayerNorm, torch.nn.RMSNorm)  # the ones whose weights may have several dimensions
    found = {id(p) for module in model.modules() if isinstance(module, norms) for p in module.parameters()}
    return found | {id(p) for name, p in model.named_parameters() if p.ndim < 2 or name.endswith("bias")}


def _autocast(place: Any, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context of a forward pass, which is what mixed precision is about."""
    return torch.autocast(place.type, _HALF[precision]) if precision in _HALF else contextlib.nullcontext()


# ---------------------------------------------------------------- outputs
def _validated(model: Any, valid: Batches, place: Any) -> np.ndarray:
    with torch.no_grad():  # what a network computes once and keeps must serve in training again: no inference mode
        return _outputs(model, valid, place)


def _outputs(model: Any, batches: Batches, place: Any) -> np.ndarray:
    model.eval()
    inputs = gathered(map(itemgetter(0), prefetch(batches)), batches.together)
    return np.concatenate([_numpy(model(_tensors(part, place))) for part in inputs])


def _numpy(outputs: Any) -> np.ndarray:
    return (outputs.float() if outputs.dtype in _HALF.values() else outputs).cpu().numpy()


# ---------------------------------------------------------------- numpy and tensors
def _tensors(data: Any, place: Any, *, labels: bool = False) -> Any:
    """Turn an array, or a tuple or dict of them, into tensors on the device."""
    if data is None:
        return None
    if isinstance(data, dict):
        return {name: _tensors(value, place, labels=labels) for name, value in data.items()}
    if isinstance(data, tuple | list):
        return tuple(_tensors(value, place, labels=labels) for value in data)
    tensor = torch.from_numpy(np.require(data, _kind(data.dtype, labels), ("C", "W")))  # PyTorch warns of what is read-only
    if place.type == "cuda":  # the copy runs beside the computation
        return tensor.pin_memory().to(place, non_blocking=True)
    return tensor.to(place)


def _kind(dtype: np.dtype, labels: bool) -> np.dtype:
    """Return the type to compute with: weights are float32, and losses and embeddings take labels as int64."""
    if dtype == np.float64:
        return np.dtype(np.float32)
    return np.dtype(np.int64) if dtype.kind in "iu" and (labels or dtype != np.uint8) else dtype


def _state(model: Any) -> dict[str, Any]:
    """Return the weights and buffers by name, those that several names share under the first one."""
    found: dict[Any, tuple[str, Any]] = {}
    for name, tensor in model.state_dict().items():
        found.setdefault((tensor.data_ptr(), tensor.shape), (name, tensor))
    return dict(found.values())


def _array(tensor: Any) -> np.ndarray:
    """Copy a tensor into an array; NumPy has no bfloat16, so that its bits are kept as whole numbers."""
    copy = tensor.detach().to("cpu", copy=True)
    return (copy.view(torch.int16) if copy.dtype is torch.bfloat16 else copy).numpy()


def _as_tensor(array: np.ndarray, like: Any) -> Any:
    """Undo `_array`; ValueError where the shape is not that of `like`."""
    half = like.dtype is torch.bfloat16
    array = array.view(np.int16) if half else array
    if array.shape != tuple(like.shape):
        raise ValueError(f"an array of the shape {array.shape} where {tuple(like.shape)} is needed")
    return torch.from_numpy(array).view(torch.bfloat16) if half else torch.from_numpy(array)


class _Learner:
    """The network and its optimizers, and both as arrays, as checkpoints and the best epoch's weights are kept."""

    def __init__(self, model: Any, optimizers: list[Any], precision: str, clip: float | None) -> None:
        self.model, self.optimizers, self.clip, self.precision = model, optimizers, clip, precision
        self.parameters = [parameter for optimizer in optimizers for parameter in _trained(optimizer)]
        self.scaler = torch.amp.GradScaler(self.parameters[0].device.type, enabled=precision == "fp16")

    def update(self, factor: float) -> None:
        """Take one step along the gradients, with `factor` times the highest learning rate."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            self.scaler.unscale_(optimizer)  # does nothing but for fp16, as the two below
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()

    def forget_gradients(self) -> None:
        """Free the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def finite(self) -> bool:
        """Say whether all weights are numbers: the gradient of a loss that is one may be none."""
        return bool(torch.stack([parameter.isfinite().all() for parameter in self.parameters]).all())

    def get_weights(self) -> list[np.ndarray]:
        return [_array(tensor) for tensor in _state(self.model).values()]

    def set_weights(self, values: list[np.ndarray]) -> None:
        pairs = list(zip(_state(self.model).values(), values, strict=True))
        for tensor, value in [(tensor, _as_tensor(value, tensor)) for tensor, value in pairs]:
            tensor.copy_(value)

    def get_optimizer(self) -> list[np.ndarray]:
        """Return three arrays a parameter, empty where it has none of them, and the state of fp16's scaler."""
        arrays: list[np.ndarray] = []
        for optimizer in self.optimizers:
            states = (optimizer.state.get(parameter, {}) for parameter in _trained(optimizer))
            arrays += [_array(state[name]) if name in state else np.empty(0) for state in states for name in _MOMENTS]
        state = self.scaler.state_dict()
        return [*arrays, np.array([state["scale"], state["_growth_tracker"]] if state else [])]

    def set_optimizer(self, values: list[np.ndarray]) -> None:
        *moments, scale = values
        rows = zip(*[iter(moments)] * len(_MOMENTS), strict=True)
        for optimizer in self.optimizers:
            states = {}
            for i, parameter in enumerate(_trained(optimizer)):
                step, *averages = next(rows)
                known = {"step": torch.tensor(float(step))} if step.size else {}
                known |= {
                    name: _as_tensor(average, parameter)
                    for name, average in zip(_MOMENTS[1:], averages, strict=True)
                    if average.size
                }
                if known:
                    states[i] = known
            optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
        if self.scaler.is_enabled():
            factor, growth = scale.tolist()
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": factor, "_growth_tracker": int(growth)})


def _trained(optimizer: Any) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


# ---------------------------------------------------------------- one process or several
def _place(device: Device) -> Any:
    return torch.device(device.name.partition(",")[0])  # `scope` refuses several GPUs with a sentence, this would without


class _Alone:
    """One process: it takes every batch, and there is nobody to agree with."""

    rank, count = 0, 1

    def __init__(self, device: Device) -> None:
        self.device, self.place = device, _place(device)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which new tensors are on this process' device."""
        return self.device.scope()

    def share(self, tensors: Any) -> None:
        """Give all processes the first one's tensors."""

    def once(self, action: Callable[[], Any]) -> Any:
        """Do something in the first process, and give all its result or its error."""
        return action()

    def summed(self, losses: list[Any], parameters: list[Any]) -> Any:
        """Add up a step's losses and gradients, those of all processes."""
        return sum(losses)


class _Team(_Alone):
    """One of several processes, as `torchrun` or `accelerate launch` start them; Accelerate knows devices and connections."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        load_framework("accelerate")
        from accelerate import PartialState, utils

        state = PartialState(cpu=device.kind == "cpu")
        self.rank, self.count, self.place, self.utils = state.process_index, state.num_processes, state.device, utils

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        self.device.scope()  # refuses several GPUs: each process has its own one
        return torch.device(self.place)

    def share(self, tensors: Any) -> None:
        for tensor in tensors:
            self.utils.broadcast(tensor.detach())

    def once(self, action: Callable[[], Any]) -> Any:
        outcome: list[Any] = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = action()
            except Exception as error:  # handed on, or the others would wait for ever
                outcome[1] = error
        self.utils.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def summed(self, losses: list[Any], parameters: list[Any]) -> Any:
        """Add up; a process for which no batch was left adds zeros, so that nobody waits for it."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        parts = [sum(losses, torch.zeros(1)), *(parameter.grad.flatten() for parameter in parameters)]
        loss, *gradients = self.utils.reduce(torch.cat(parts), "sum").split([len(part) for part in parts])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad.copy_(gradient.view_as(parameter))
        return loss[0]
