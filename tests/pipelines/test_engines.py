"""Conduct every engine owes its tasks: best weights, early stopping, interruption, checkpoints, fair batches.

The suite runs over the table `ENGINES`; a new engine is one more row.
"""

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from pipelines import engines
from pipelines.data import Batches
from pipelines.device import resolve, seeded
from pipelines.errors import DataError, FormatError

from ..conftest import ROOT

N, BATCH = 22, 4  # the last batch is smaller
TOLERANCE = 1e-6  # resumed against uninterrupted weights, CPU


@dataclass(frozen=True)
class Engine:
    """What the suite must know to use an engine: four inputs, two scores, with dropout, so that randomness shows."""

    network: Callable[[], Any]
    loss: Callable[[], Any]
    weights: Callable[[Any], list[np.ndarray]]
    identity: Callable[[], Any]  # a network that returns its inputs
    spied: Callable[[list[int]], Any]  # a network and a loss that notes the targets it is given


def keras_network():
    keras = engines.load_framework("keras")
    layers = [keras.Input((4,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
    return keras.Sequential(layers)


def keras_identity():
    keras = engines.load_framework("keras")
    inputs = keras.Input((1,))
    return keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))


def keras_loss():
    return engines.load_framework("keras").losses.SparseCategoricalCrossentropy(from_logits=True)


def keras_spied(met):
    keras = engines.load_framework("keras")
    import tensorflow as tf

    class Spy(keras.losses.Loss):
        def call(self, y_true, y_pred):
            tf.py_function(lambda ids: met.extend(ids.numpy().ravel().astype(int).tolist()), [y_true], [])
            return keras.ops.mean(keras.ops.square(y_pred), axis=-1)

    inputs = keras.Input((1,))
    return keras.Model(inputs, keras.layers.Dense(1)(inputs)), Spy()


def torch_network():
    nn = engines.load_framework("torch").nn
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))


def torch_loss():
    return engines.load_framework("torch").nn.functional.cross_entropy


def torch_weights(model):
    return [tensor.numpy().copy() for tensor in model.state_dict().values()]


def torch_identity():
    return engines.load_framework("torch").nn.Identity()


def torch_spied(met):
    def loss(outputs, targets):
        met.extend(targets.tolist())
        return outputs.square().mean()

    return engines.load_framework("torch").nn.Linear(1, 1), loss


ENGINES = {
    "keras": Engine(keras_network, keras_loss, lambda model: model.get_weights(), keras_identity, keras_spied),
    "torch": Engine(torch_network, torch_loss, torch_weights, torch_identity, torch_spied),
}


@pytest.fixture(params=sorted(ENGINES))
def name(request):
    return request.param


def problem():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, 4)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(np.int64)


def batches_of(X, y, *, train=True, workers=1, read=None):
    return Batches(read or (lambda rows: X[rows]), len(X), BATCH, targets=y, seed=0 if train else None, workers=workers)


def network(name):
    with seeded(0, name):
        return ENGINES[name].network()


def weights(name, model):
    return ENGINES[name].weights(model)


def train(name, model, batches, *, valid=None, epochs=4, lr=0.05, **options):
    device = resolve("cpu", name)
    with seeded(0, name):
        return engines.engine(name).train(
            model, batches, valid=valid, judge=judge, loss=ENGINES[name].loss(), epochs=epochs, lr=lr, device=device, **options
        )


def judge(outputs, targets):
    return {"val_loss": float(-log_softmax(outputs, axis=1)[np.arange(len(targets)), targets].mean())}


def contrary_validation(X, y):
    """The better the training goes, the worse this gets: the first epoch is the best one."""
    return batches_of(X, 1 - y, train=False)


def assert_same(found, expected, tolerance=0.0):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


# --- learning ---------------------------------------------------------------------------------------------------------


def test_history_has_one_record_an_epoch_and_the_loss_falls(name):
    X, y = problem()
    told = []
    history = train(name, network(name), batches_of(X, y), valid=batches_of(X, y, train=False), epochs=8, on_epoch=told.append)
    assert [record["epoch"] for record in history] == list(range(1, 9))
    assert told == history
    assert all({"loss", "val_loss", "seconds"} <= record.keys() for record in history)
    assert history[-1]["val_loss"] < history[0]["val_loss"]


def test_steps_are_told_one_by_one(name):
    X, y = problem()
    steps = []
    train(name, network(name), batches_of(X, y), epochs=2, on_step=lambda epoch, step: steps.append((epoch, step)))
    assert steps == [(epoch, step) for epoch in (0, 1) for step in range(6)]


def test_best_epochs_weights_are_kept(name):
    X, y = problem()
    model, seen = network(name), []
    history = train(
        name, model, batches_of(X, y), valid=contrary_validation(X, y), on_epoch=lambda record: seen.append(weights(name, model))
    )
    best = int(np.argmin([record["val_loss"] for record in history]))
    assert best < len(history) - 1
    assert_same(weights(name, model), seen[best])


def test_last_epochs_weights_are_kept_without_validation(name):
    X, y = problem()
    model, seen = network(name), []
    train(name, model, batches_of(X, y), epochs=3, on_epoch=lambda record: seen.append(weights(name, model)))
    assert_same(weights(name, model), seen[-1])


def test_early_stopping_waits_for_patience_epochs(name):
    X, y = problem()
    history = train(name, network(name), batches_of(X, y), valid=contrary_validation(X, y), epochs=20, patience=2)
    losses = [record["val_loss"] for record in history]
    assert len(history) == int(np.argmin(losses)) + 1 + 2 < 20


def test_one_seed_gives_one_result_and_another_seed_another(name):
    X, y = problem()
    results = []
    for seed in (5, 5, 6):
        model = network(name)
        train(name, model, batches_of(X, y), epochs=2, seed=seed)
        results.append(weights(name, model))
    assert_same(results[0], results[1])
    assert any(not np.array_equal(a, b) for a, b in zip(results[0], results[2], strict=True))


# --- batches ----------------------------------------------------------------------------------------------------------


def epochs_as_trained(name, workers, epochs=4):
    """Return, epoch by epoch, the sample ids in the order in which the training steps met them."""
    met: list[int] = []
    model, loss = ENGINES[name].spied(met)
    ids = np.arange(N)
    feed = batches_of(ids[:, None].astype(np.float32), ids, workers=workers)
    device = resolve("cpu", name)
    engines.engine(name).train(model, feed, valid=None, judge=judge, loss=loss, epochs=epochs, lr=1e-3, device=device)
    return [met[i : i + N] for i in range(0, len(met), N)]


@pytest.mark.parametrize("workers", [1, 4])
def test_every_sample_is_seen_once_an_epoch_in_an_order_of_its_own(name, workers):
    epochs = epochs_as_trained(name, workers)
    assert len(epochs) == 4
    assert all(sorted(epoch) == list(range(N)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("workers", [1, 4])
def test_the_order_depends_on_the_seed_alone(name, workers):
    expected = [Batches(lambda rows: rows, N, BATCH, seed=0) for _ in range(4)]
    for epoch, batches in enumerate(expected):
        batches.start_epoch(epoch)
    assert epochs_as_trained(name, workers) == [batches.order.tolist() for batches in expected]


ON_TORCH = """
import numpy as np
from pipelines import engines
from pipelines.device import resolve
from tests.pipelines.test_engines import N, batches_of, judge
keras = engines.load_framework("keras")
met = []

class Spy(keras.losses.Loss):
    def call(self, y_true, y_pred):
        met.extend(y_true.detach().numpy().ravel().astype(int).tolist())
        return keras.ops.mean(keras.ops.square(y_pred), axis=-1)

inputs = keras.Input((1,))
model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
ids = np.arange(N)
feed = batches_of(ids[:, None].astype(np.float32), ids, workers=4)
device = resolve("cpu", "keras")
engines.engine("keras").train(model, feed, valid=None, judge=judge, loss=Spy(), epochs=4, lr=1e-3, device=device)
met = met[len(met) % N :]  # Keras looks at one batch to build the network
print([sorted(met[i : i + N]) == list(range(N)) for i in range(0, len(met), N)])
"""


def test_keras_steps_are_those_of_its_own_adamw(monkeypatch):
    from pipelines.engines import keras_optimizers

    def learned():
        model = network("keras")
        train("keras", model, batches_of(*problem()), epochs=3, lr=0.01, weight_decay=0.5)
        return model.get_weights()

    ours = learned()
    monkeypatch.setattr(keras_optimizers, "_FusedAdamW", keras_optimizers.keras.optimizers.AdamW)
    for mine, its in zip(ours, learned(), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-5)


@pytest.mark.slow
def test_every_sample_is_seen_once_an_epoch_by_keras_on_torch_too(run_python):
    done = run_python(ON_TORCH, env={"KERAS_BACKEND": "torch"})
    assert done.stdout.strip() == "[True, True, True, True]", done.stderr


@pytest.mark.parametrize("workers", [1, 4])
def test_infer_gives_one_row_a_sample_in_order(name, workers):
    X = np.arange(N, dtype=np.float32)[:, None]
    found = engines.engine(name).infer(
        ENGINES[name].identity(), batches_of(X, None, train=False, workers=workers), device=resolve("cpu", name)
    )
    assert np.array_equal(found, X)


# --- numbers that are none --------------------------------------------------------------------------------------------


def poisoned_from(epoch, X, y):
    """Training batches that hold NaN from an epoch on."""
    batches = batches_of(X, y)
    batches.read = lambda rows: X[rows] * (np.float32("nan") if batches.epoch >= epoch else 1)
    start = batches.start_epoch

    def start_epoch(now):
        batches.epoch = now
        start(now)

    batches.start_epoch = start_epoch
    start_epoch(0)
    return batches


@pytest.mark.parametrize("validated", [True, False])
def test_loss_that_is_no_number_at_once_is_an_error(name, validated):
    X, y = problem()
    valid = batches_of(X, y, train=False) if validated else None
    with pytest.raises(DataError, match=r"loss became nan in epoch 1\. Try a smaller lr"):
        train(name, network(name), poisoned_from(0, X, y), valid=valid)


@pytest.mark.parametrize("validated", [True, False])
def test_loss_that_is_no_number_later_keeps_the_best_epoch(name, validated):
    X, y = problem()
    model, seen = network(name), []
    valid = batches_of(X, y, train=False) if validated else None
    history = train(
        name, model, poisoned_from(2, X, y), valid=valid, epochs=6, on_epoch=lambda record: seen.append(weights(name, model))
    )
    assert [record["epoch"] for record in history] == [1, 2]
    assert history[-1]["diverged"] is True
    assert all(np.isfinite(w).all() for w in weights(name, model))
    assert any(all(np.array_equal(a, b) for a, b in zip(weights(name, model), one, strict=True)) for one in seen)


# --- interruption -----------------------------------------------------------------------------------------------------


def interrupt_at(epoch, step):
    def on_step(now, batch):
        if (now, batch) == (epoch, step):
            raise KeyboardInterrupt

    return on_step


def test_interruption_keeps_the_best_finished_epoch(name):
    X, y = problem()
    model, seen = network(name), []
    history = train(
        name,
        model,
        batches_of(X, y),
        valid=contrary_validation(X, y),
        epochs=9,
        on_step=interrupt_at(2, 3),
        on_epoch=lambda record: seen.append(weights(name, model)),
    )
    assert [record["epoch"] for record in history] == [1, 2]
    assert [record.get("interrupted") for record in history] == [None, True]
    assert_same(weights(name, model), seen[int(np.argmin([record["val_loss"] for record in history]))])


def test_interruption_before_anything_was_learned_goes_through(name):
    X, y = problem()
    with pytest.raises(KeyboardInterrupt):
        train(name, network(name), batches_of(X, y), on_step=interrupt_at(0, 2))


def test_training_can_start_again_after_an_interruption(name):
    X, y = problem()
    interrupted, fresh = network(name), network(name)
    train(name, interrupted, batches_of(X, y, workers=3), epochs=9, on_step=interrupt_at(1, 1))
    train(name, fresh, batches_of(X, y), epochs=2)
    again = network(name)
    train(name, again, batches_of(X, y, workers=3), epochs=2)
    assert_same(weights(name, again), weights(name, fresh), TOLERANCE)


# --- checkpoints ------------------------------------------------------------------------------------------------------


class PowerCutError(Exception):
    """Stands for the end of the process, within the test's own."""


def cut_after(epochs):
    def on_epoch(record):
        if record["epoch"] == epochs:
            raise PowerCutError

    return on_epoch


def checkpointed(name, path, *, on_epoch=None, workers=1, fingerprint="same", epochs=5):
    """Train with checkpoints on a case with validation, and return the history and the weights."""
    X, y = problem()
    model = network(name)
    history = train(
        name,
        model,
        batches_of(X, y, workers=workers),
        valid=batches_of(X, y, train=False),
        epochs=epochs,
        on_epoch=on_epoch,
        resume=path,
        fingerprint=fingerprint,
    )
    return history, weights(name, model)


def figures(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


@pytest.mark.parametrize("workers", [1, 3])
def test_resumed_training_ends_like_an_uninterrupted_one(name, tmp_path, workers):
    whole, expected = checkpointed(name, None, workers=workers)
    for epochs in (1, 3):
        with pytest.raises(PowerCutError):
            checkpointed(name, tmp_path / f"{epochs}.npz", on_epoch=cut_after(epochs), workers=workers)
        np.random.seed(123)  # the state of a later process is another one
        steps = []
        history, found = checkpointed(name, tmp_path / f"{epochs}.npz", on_epoch=steps.append, workers=workers)
        assert [record["epoch"] for record in steps] == list(range(epochs + 1, 6))
        assert_same(found, expected, TOLERANCE)
        for one, other in zip(figures(history), figures(whole), strict=True):
            assert one == pytest.approx(other, abs=1e-5)


def test_resuming_what_is_finished_trains_no_further(name, tmp_path):
    history, expected = checkpointed(name, tmp_path / "c.npz")
    again, found = checkpointed(name, tmp_path / "c.npz", on_epoch=cut_after(1))
    assert again == history
    assert_same(found, expected)


def test_early_stopped_training_stays_stopped(name, tmp_path):
    X, y = problem()

    def run(told):
        return train(
            name,
            network(name),
            batches_of(X, y),
            valid=contrary_validation(X, y),
            epochs=20,
            patience=2,
            on_epoch=told.append,
            resume=tmp_path / "c.npz",
        )

    first, second = [], []
    history = run(first)
    assert run(second) == history == first
    assert second == []


def test_interrupted_training_goes_on_from_its_checkpoint(name, tmp_path):
    X, y = problem()
    whole = network(name)
    train(name, whole, batches_of(X, y), epochs=4)
    part = network(name)
    history = train(name, part, batches_of(X, y), epochs=4, on_step=interrupt_at(2, 1), resume=tmp_path / "c.npz")
    assert history[-1]["interrupted"]
    rest = network(name)
    history = train(name, rest, batches_of(X, y), epochs=4, resume=tmp_path / "c.npz")
    assert len(history) == 4
    assert not any("interrupted" in record for record in history)
    assert_same(weights(name, rest), weights(name, whole), TOLERANCE)


def test_checkpoint_of_other_parameters_or_data_is_refused(name, tmp_path):
    checkpointed(name, tmp_path / "c.npz", epochs=1)
    before = (tmp_path / "c.npz").read_bytes()
    with pytest.raises(DataError, match=r"other parameters or data\. Delete it"):
        checkpointed(name, tmp_path / "c.npz", fingerprint="another")
    assert (tmp_path / "c.npz").read_bytes() == before


def without_state(path):
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files if key != "state"}
    np.savez(path, **arrays)


def with_a_weight_missing(path):
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files if key != "weight1"}
    np.savez(path, **arrays)


def with_weights_of_another_network(path):
    with np.load(path) as stored:
        arrays = {key: np.zeros((3, 3), np.float32) if key.startswith("weight") else stored[key] for key in stored.files}
    np.savez(path, **arrays)


def with_a_state_of_another_kind(path):
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files}
    np.savez(path, **{**arrays, "state": np.array(json.dumps([1, 2]))})


def with_a_state_that_is_incomplete(path):
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files}
    np.savez(path, **{**arrays, "state": np.array(json.dumps({"fingerprint": "same"}))})


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no archive at all"),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"NUMPY", b"MUMPY")),
        without_state,
        with_a_weight_missing,
        with_weights_of_another_network,
        with_a_state_of_another_kind,
        with_a_state_that_is_incomplete,
    ],
    ids=[
        "empty",
        "text",
        "cut end",
        "half",
        "no arrays",
        "no state",
        "weight missing",
        "other weights",
        "other state",
        "part state",
    ],
)
def test_damaged_checkpoint_is_refused_with_a_sentence(name, tmp_path, damage):
    path = tmp_path / "c.npz"
    checkpointed(name, path, epochs=1)
    damage(path)
    with pytest.raises(FormatError, match=r"is damaged.*Delete it to start anew"):
        checkpointed(name, path, epochs=1)


def test_checkpoint_with_a_pickle_runs_nothing(name, tmp_path):
    path, mark = tmp_path / "c.npz", tmp_path / "ran"
    np.savez(path, state=np.array([Bomb(mark)], dtype=object))
    with pytest.raises(FormatError, match="damaged"):
        checkpointed(name, path)
    assert not mark.exists()


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_bomb_does_go_off_where_pickle_is_allowed(tmp_path):
    np.save(tmp_path / "b.npy", np.array([Bomb(tmp_path / "ran")], dtype=object))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        np.load(tmp_path / "b.npy", allow_pickle=True)
    assert (tmp_path / "ran").exists()


def test_unwritable_checkpoint_folder_is_found_before_the_first_step(name, tmp_path):
    (tmp_path / "file").write_text("in the way")
    X, y = problem()
    steps = []
    with pytest.raises(DataError, match=r"cannot be written.*another resume folder"):
        train(
            name,
            network(name),
            batches_of(X, y),
            on_step=lambda *at: steps.append(at),
            resume=tmp_path / "file" / "sub" / "c.npz",
        )
    assert steps == []


def test_disk_full_at_a_checkpoint_leaves_the_earlier_one(name, tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    with pytest.raises(PowerCutError):
        checkpointed(name, path, on_epoch=cut_after(2))
    before = path.read_bytes()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match="No space left"):
        checkpointed(name, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["c.npz"]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from tests.pipelines import test_engines as suite

def on_epoch(record):
    print(record["epoch"], flush=True)

history, weights = suite.checkpointed({name!r}, Path(sys.argv[1]), on_epoch=on_epoch, workers=3, epochs={epochs})
np.savez(sys.argv[2], *weights)
"""


@pytest.mark.slow
def test_training_killed_by_the_system_ends_like_an_uninterrupted_one(name, tmp_path):
    epochs = 40
    _, expected = checkpointed(name, None, epochs=epochs)
    command = [sys.executable, "-c", KILLED.format(name=name, epochs=epochs), str(tmp_path / "c.npz"), str(tmp_path / "w.npz")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as process:
        for line in process.stdout:
            if int(line) == 7:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "w.npz").exists()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 7
    with np.load(tmp_path / "w.npz") as stored:
        assert_same([stored[f"arr_{i}"] for i in range(len(expected))], expected, TOLERANCE)


# --- weights on disk --------------------------------------------------------------------------------------------------


def test_weights_come_back_as_they_were(name, tmp_path):
    engine = engines.engine(name)
    model, other = network(name), ENGINES[name].network()
    engine.save_weights(model, tmp_path / "w")
    engine.load_weights(other, tmp_path / "w")
    assert_same(weights(name, other), weights(name, model))


def test_weights_of_another_network_are_refused(name, tmp_path):
    engine = engines.engine(name)
    engine.save_weights(ENGINES[name].identity(), tmp_path / "w")
    model = network(name)
    before = weights(name, model)
    with pytest.raises(FormatError, match="do not fit"):
        engine.load_weights(model, tmp_path / "w")
    assert_same(weights(name, model), before)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_cut_off_weights_are_refused(name, tmp_path, share):
    engine = engines.engine(name)
    engine.save_weights(network(name), tmp_path / "w")
    whole = (tmp_path / "w").read_bytes()
    (tmp_path / "w").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FormatError, match="no readable weights file"):
        engine.load_weights(network(name), tmp_path / "w")


def test_full_disk_while_writing_weights_is_an_os_error(name, run_python, tmp_path):
    code = f"""
import resource
from pathlib import Path
from pipelines import engines
from tests.pipelines.test_engines import network
model = network({name!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
try:
    engines.engine({name!r}).save_weights(model, Path({str(tmp_path / "w")!r}))
except OSError as error:
    print("refused:", error)
"""
    done = run_python(code)
    assert done.stdout.startswith("refused:"), done.stderr
