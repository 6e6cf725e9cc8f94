"""What only the PyTorch engine has; the conduct it shares with the other one is in test_engines.py."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from pipelines import engines
from pipelines.data import Batches
from pipelines.device import Device, resolve, seeded
from pipelines.errors import DataError, DeviceError, FormatError, ParameterError

from ..conftest import ROOT

torch = engines.load_framework("torch")
engine = engines.engine("torch")
functional = torch.nn.functional

N, LR = 22, 0.05
CPU = resolve("cpu", "torch")


def problem():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, 4)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(np.int64)


def batches_of(X, y, size=4, *, seed=0, workers=1):
    return Batches(lambda rows: X[rows], len(X), size, targets=y, seed=seed, workers=workers)


def judge(outputs, targets):
    return {"val_loss": float(functional.cross_entropy(torch.from_numpy(outputs), torch.from_numpy(targets)))}


def net(*, dropout=0.0):
    nn = torch.nn
    with seeded(0, "torch"):
        return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))


def train(model, batches, *, valid=None, epochs=4, lr=LR, loss=functional.cross_entropy, **options):
    options = {"judge": judge, "device": CPU, **options}
    return engine.train(model, batches, valid=valid, loss=loss, epochs=epochs, lr=lr, **options)


def weights(model):
    return [tensor.numpy().copy() for tensor in model.state_dict().values()]


def assert_same(found, expected, tolerance=0.0):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def apart(found, expected):
    return max(float(abs(one - other).max()) for one, other in zip(found, expected, strict=True))


@pytest.fixture
def watched():
    """Note what the optimizer finds at each step: its groups' options, and the norm of all gradients."""
    steps = []

    def look(optimizer, args, kwargs):
        groups = [{**group, "params": list(group["params"])} for group in optimizer.param_groups]
        gradients = [p.grad.flatten() for group in groups for p in group["params"] if p.grad is not None]
        steps.append((groups, float(torch.cat(gradients).norm())))

    from torch.optim.optimizer import register_optimizer_step_pre_hook

    handle = register_optimizer_step_pre_hook(look)
    yield steps
    handle.remove()


# --- steps ------------------------------------------------------------------------------------------------------------


def test_accumulated_batches_equal_one_big_batch():
    X, y = problem()  # batches of 4 4 4 | 4 4 2 samples against 12 | 10
    small, big, apart_ = net(), net(), net()
    one = train(small, batches_of(X, y, 4), accumulate=3)
    other = train(big, batches_of(X, y, 12))
    train(apart_, batches_of(X, y, 4))
    assert_same(weights(small), weights(big), 1e-5)
    assert [record["loss"] for record in one] == pytest.approx([record["loss"] for record in other], abs=1e-5)
    assert apart(weights(apart_), weights(big)) > 1e-3


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 6), (2, 3), (4, 2), (6, 1), (99, 1)])
def test_an_incomplete_last_group_still_steps(watched, accumulate, steps):
    X, y = problem()
    train(net(), batches_of(X, y), epochs=2, accumulate=accumulate)
    assert len(watched) == 2 * steps


def test_gradients_are_clipped(watched):
    X, y = problem()
    train(net(), batches_of(100 * X, y), epochs=1, clip=0.01)
    assert all(norm <= 0.0101 for _, norm in watched)
    watched.clear()
    train(net(), batches_of(100 * X, y), epochs=1, clip=None)
    assert max(norm for _, norm in watched) > 0.1


def test_learning_rate_rises_in_a_line_and_falls_in_a_cosine(watched):
    X, y = problem()
    train(net(), batches_of(X, y), epochs=7, lr=1.0, warmup=0.1, loss=lambda out, y: functional.cross_entropy(0.01 * out, y))
    rates = [groups[0]["lr"] for groups, _ in watched]
    assert len(rates) == 42  # 4 of them to warm up
    assert rates[:5] == pytest.approx([0.04, 0.28, 0.52, 0.76, 1.0])
    assert rates[4 + 19] == pytest.approx(0.01 + 0.99 / 2)
    assert rates[-1] == pytest.approx(0.01, abs=0.005)
    assert rates[4:] == sorted(rates[4:], reverse=True)


@pytest.mark.slow
def test_learning_rates_are_those_of_the_keras_engine():
    from pipelines.engines import keras_optimizers

    expected = keras_optimizers.optimizer(0.3, 50, 0.0, 0.2)._learning_rate
    factor = engine._schedule(50, 0.2)
    assert [0.3 * factor(step) for step in range(50)] == pytest.approx([float(expected(step)) for step in range(50)], rel=1e-4)


def test_biases_and_normalisations_are_not_decayed(watched):
    model = torch.nn.Sequential(torch.nn.Unflatten(1, (2, 2)), torch.nn.LayerNorm((2, 2)), torch.nn.Flatten(), net())
    X, y = problem()
    train(model, batches_of(X, y), epochs=1, weight_decay=0.5)
    decays = {id(p): group["weight_decay"] for group in watched[0][0] for p in group["params"]}
    names = {name: decays[id(p)] for name, p in model.named_parameters()}
    assert {name for name, decay in names.items() if decay} == {"3.0.weight", "3.4.weight"}
    assert set(names.values()) == {0.0, 0.5}


def test_groups_keep_their_own_rate_under_the_schedule(watched):
    model = net()
    X, y = problem()
    groups = [{"params": model[0].parameters(), "lr": 0.001}, {"params": model[4].parameters(), "weight_decay": 0.3}]
    before = model[1].weight.detach().clone()
    train(model, batches_of(X, y), epochs=1, lr=0.1, weight_decay=0.2, parameters=groups)
    for found, _ in watched:
        rates = [group["lr"] for group in found]
        assert rates == pytest.approx([rates[-1] / 100, rates[-1] / 100, rates[-1], rates[-1]])
    assert [group["weight_decay"] for group in watched[0][0]] == [0.2, 0.0, 0.3, 0.0]
    assert torch.equal(model[1].weight, before)  # in no group


def test_matrices_learn_with_muon_at_the_same_rate_and_the_rest_with_adamw(watched):
    X, y = problem()
    model = net()
    first, last = model[0].weight, model[4].weight
    last.requires_grad_(False)
    train(model, batches_of(X, y), epochs=1, weight_decay=0.2, matrices=[first, last])
    for (adamw, _), (muon, _) in zip(watched[::2], watched[1::2], strict=True):
        assert [[id(p) for p in group["params"]] for group in muon] == [[id(first)]]
        others = {id(p) for p in model.parameters()} - {id(first), id(last)}
        assert {id(p) for group in adamw for p in group["params"]} == others
        assert {group["lr"] for group in adamw + muon} == {muon[0]["lr"]}
        assert muon[0]["weight_decay"] == 0.2


def test_frozen_parameters_stay(watched):
    model = net()
    model[0].requires_grad_(False)
    before, X, y = weights(model[0]), *problem()
    train(model, batches_of(X, y), weight_decay=0.5)
    assert_same(weights(model[0]), before)
    assert apart(weights(model), weights(net())) > 1e-3


# --- precision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_nearly_the_same(precision):
    X, y = problem()
    kinds = {"full": set(), precision: set()}
    results = {}
    for chosen, seen in kinds.items():
        model = net()
        model[4].register_forward_hook(lambda module, inputs, outputs, seen=seen: seen.add(outputs.dtype))
        history = train(model, batches_of(X, y), epochs=8, precision=chosen)
        results[chosen] = history[-1]["loss"]
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert kinds["full"] == {torch.float32}
    assert kinds[precision] == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert results[precision] == pytest.approx(results["full"], abs=0.05)
    assert results[precision] != results["full"]
    assert results[precision] < 0.45


def test_unknown_precision_is_refused():
    with pytest.raises(ParameterError, match=r"precision.*'half'"):
        train(net(), batches_of(*problem()), precision="half")


@pytest.mark.parametrize("kind", ["fp16", "weights in bf16", "unused parameters", "Muon"])
def test_resumed_training_ends_alike(kind, tmp_path):
    X, y = problem()

    def run(path, stop=None):
        model = net(dropout=0.5)
        if kind == "weights in bf16":
            model = torch.nn.Sequential(Cast(torch.bfloat16), model.bfloat16(), Cast(torch.float32))
        if kind == "unused parameters":
            model.register_parameter("unused", torch.nn.Parameter(torch.ones(3, 3)))

        def on_epoch(record):
            if record["epoch"] == stop:
                raise RuntimeError("power cut")

        precision = "fp16" if kind == "fp16" else "full"
        options = {"valid": batches_of(X, y, seed=None), "epochs": 5, "precision": precision}
        matrices = [layer.weight for layer in model if isinstance(layer, torch.nn.Linear)] if kind == "Muon" else []
        train(model, batches_of(X, y), resume=path, on_epoch=on_epoch, matrices=matrices, **options)
        return [w.float().numpy() for w in model.state_dict().values()]

    expected = run(None)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "c.npz", stop=2)
    assert_same(run(tmp_path / "c.npz"), expected)


class Cast(torch.nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, inputs):
        return inputs.to(self.dtype)


# --- inputs and targets -----------------------------------------------------------------------------------------------


class Sum(torch.nn.Module):
    """A linear layer on inputs in two parts, and note of what they were."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second, self.linear = first, second, torch.nn.Linear(4, 2)
        self.seen = set()

    def forward(self, inputs):
        self.seen.add((type(inputs), inputs[self.first].dtype, inputs[self.second].dtype))
        return self.linear(inputs[self.first] + inputs[self.second])


@pytest.mark.parametrize(("keys", "kind"), [((0, 1), tuple), (("a", "b"), dict)])
@pytest.mark.parametrize("workers", [1, 3])
def test_inputs_in_parts(keys, kind, workers):
    X, y = problem()

    def read(rows):
        parts = X[rows].astype(np.float64), np.tile(rows[:, None] % 2, 4).astype(np.int32)
        return parts if kind is tuple else dict(zip(keys, parts, strict=True))

    with seeded(0, "torch"):
        model = Sum(*keys)
    batches = Batches(read, N, 4, targets=y, seed=0, workers=workers)
    history = train(model, batches, valid=batches, epochs=12, judge=lambda out, y: {"val_loss": 0.0})
    assert history[-1]["loss"] < history[0]["loss"]
    assert model.seen == {(kind, torch.float32, torch.int64)}
    found = engine.infer(model, Batches(read, N, 4, workers=workers), device=CPU)
    whole = X + np.arange(N)[:, None] % 2
    expected = whole @ model.linear.weight.detach().numpy().T + model.linear.bias.detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint16, np.int64])
def test_labels_of_any_whole_number(dtype):
    X, y = problem()

    def loss(outputs, targets):
        assert targets.dtype == torch.int64
        return functional.cross_entropy(outputs, targets)

    found = train(net(), batches_of(X, y.astype(dtype)), epochs=2, loss=loss)
    assert found[-1]["loss"] == train(net(), batches_of(X, y), epochs=2)[-1]["loss"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_as_numpy_gives_them(dtype):
    X, y = problem()
    X, y = X.astype(dtype), (2.0 * y)[:, None]
    X.flags.writeable = False
    X = X[:, ::-1] if dtype is np.float64 else X
    model = torch.nn.Linear(4, 1)
    history = train(model, Batches(lambda rows: X, N, N, targets=y), loss=functional.mse_loss, lr=0.3)
    assert history[-1]["loss"] < history[0]["loss"]


def test_outputs_are_float32_and_the_network_can_be_trained_afterwards():
    X, y = problem()
    model = torch.nn.Sequential(net(), Cast(torch.bfloat16))
    model.train()
    found = engine.infer(model, batches_of(X, y, seed=None), device=CPU)
    assert found.dtype == np.float32
    assert not model.training
    train(model, batches_of(X, y), epochs=1, loss=lambda out, y: functional.cross_entropy(out.float(), y))


# --- weights ----------------------------------------------------------------------------------------------------------


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
        self.second.weight = self.first.weight

    def forward(self, inputs):
        return self.head(self.second(self.first(inputs).tanh()).tanh())


def test_tied_weights_stay_tied(tmp_path):
    X, y = problem()
    model, other = Tied(), Tied()
    train(model, batches_of(X, y), valid=batches_of(X, y, seed=None), resume=tmp_path / "c.npz")
    engine.save_weights(model, tmp_path / "w")
    engine.load_weights(other, tmp_path / "w")
    assert other.second.weight is other.first.weight
    assert_same(weights(other), weights(model))
    from safetensors.numpy import load_file

    assert sorted(load_file(tmp_path / "w")) == ["first.bias", "first.weight", "head.bias", "head.weight", "second.bias"]


def test_batch_norm_statistics_belong_to_the_best_weights(tmp_path):
    X, y = problem()
    with seeded(0, "torch"):
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
    seen = []
    history = train(
        model, batches_of(X, y), valid=batches_of(X, 1 - y, seed=None), on_epoch=lambda record: seen.append(weights(model))
    )
    best = int(np.argmin([record["val_loss"] for record in history]))
    assert best < len(history) - 1
    assert len(weights(model)) == 9
    assert_same(weights(model), seen[best])
    assert apart(seen[best][4:6], seen[-1][4:6]) > 1e-3
    engine.save_weights(model, tmp_path / "w")
    other = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
    engine.load_weights(other, tmp_path / "w")
    assert_same(weights(other), seen[best])


def test_weights_that_fit_in_part_leave_the_network_untouched(tmp_path):
    other = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), *[torch.nn.Identity()] * 2, torch.nn.Linear(8, 3))
    engine.save_weights(other, tmp_path / "w")
    model = net()
    before = weights(model)
    with pytest.raises(FormatError, match="holds 6 weights that do not fit the network's 6; nothing was loaded"):
        engine.load_weights(model, tmp_path / "w")
    assert_same(weights(model), before)


# --- numbers that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_no_number_stops_within_the_epoch(watched, value):
    X, y = problem()
    steps = []

    def loss(outputs, targets):
        result = functional.cross_entropy(outputs, targets)
        return result * float(value) if len(steps) == 2 else result

    model = net()
    with pytest.raises(DataError, match=rf"The loss became {value} in epoch 1\. Try a smaller lr"):
        train(model, batches_of(X, y), loss=loss, on_step=lambda epoch, step: steps.append(step))
    assert steps == [0, 1, 2]
    assert len(watched) == 2  # the weights have not met it
    assert all(np.isfinite(w).all() for w in weights(model))


def test_a_gradient_that_is_no_number_is_noticed_in_its_epoch():
    X, y = problem()
    model = net()

    def loss(outputs, targets):  # the root has no slope at zero
        return functional.cross_entropy(outputs, targets) + (0 * model[0].weight).norm().square().sqrt()

    with pytest.raises(DataError, match=r"The loss became nan in epoch 1\."):
        train(model, batches_of(X, y, N), loss=loss)


def test_losses_are_looked_at_every_so_many_steps_and_at_the_end():
    mean = engine._Mean(20)
    for step in range(19):
        mean.add(torch.tensor(float("nan") if step == 3 else 1.0), 2)
        assert mean.finite  # no look yet: on a GPU it would wait
    mean.add(torch.tensor(1.0), 2)
    assert not mean.finite
    assert np.isnan(mean.value())
    rest = engine._Mean(20)
    rest.add(torch.tensor(1.0), 3)
    rest.add(torch.tensor(2.0), 1)
    assert rest.value() == 1.25


# --- surroundings -----------------------------------------------------------------------------------------------------


def test_the_callers_random_numbers_go_on_as_if_nothing_had_happened():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(net(dropout=0.5), batches_of(*problem()), epochs=2)
    assert torch.equal(torch.rand(3), expected)


def test_network_is_left_in_evaluation_mode():
    X, y = problem()
    modes = []

    def loss(outputs, targets):
        modes.append(model.training)
        return functional.cross_entropy(outputs, targets)

    def interrupt(epoch, step):
        if (epoch, step) == (1, 2):
            raise KeyboardInterrupt

    for on_step in (None, interrupt):
        model = net()
        train(model, batches_of(X, y), valid=batches_of(X, y, seed=None), loss=loss, on_step=on_step)
        assert not model.training
        assert all(p.grad is None for p in model.parameters())
    assert set(modes) == {True}


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_devices_by_name(name):
    X, y = problem()
    device = resolve(name, "torch")
    model = net()
    train(model, batches_of(X, y), device=device, epochs=1)
    assert engine.infer(model, batches_of(X, y, seed=None), device=device).shape == (N, 2)


def test_several_gpus_in_one_process_are_refused():
    with pytest.raises(DeviceError, match=r'device="gpu:0,1" names several GPUs'):
        train(net(), batches_of(*problem()), device=Device("torch", "gpu", (0, 1), "meta,meta"))


# --- several processes ------------------------------------------------------------------------------------------------

RANK = """
import json, os, sys
from pathlib import Path
import numpy as np
from tests.pipelines import test_torch_engine as suite
case = json.loads(sys.argv[1])
folder, rank = Path(case.pop("folder")), os.environ["RANK"]
try:
    history, weights = suite.shared(folder / f"{rank}-checkpoint.npz", **case)
except suite.DataError as error:
    print("refused:", error)
else:
    np.savez(folder / f"{rank}.npz", *weights)
    print(json.dumps(history))
suite.torch.distributed.barrier()
sys.stdout.flush()
os._exit(0)  # all is done: gloo's threads can abort a process while its interpreter shuts down
"""


def shared(path, *, n, accumulate=1, contrary=False, poisoned=None, on_epoch=None):
    """Train on `n` samples in batches of 4; the case of the tests with two processes, and what one process makes of it."""
    X, y = problem()
    X, y = X[:n], y[:n]
    if poisoned is not None:
        X[poisoned] = np.nan
    model = net()
    with seeded(int(os.environ.get("RANK", "0")), "torch"):
        torch.nn.init.normal_(model[0].bias)  # another start in each process: the first one's counts
    valid = batches_of(X, 1 - y if contrary else y, seed=None)
    options = {"patience": 2, "resume": path, "epochs": 20 if contrary else 4, "on_epoch": on_epoch}
    history = train(model, batches_of(X, y, seed=None), valid=valid, accumulate=accumulate, **options)
    return history, weights(model)


def in_two_processes(folder, **case):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RANK, json.dumps({"folder": str(folder), **case})]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "PYTHONPATH": str(ROOT), "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        for rank in "01"
    ]
    try:
        done = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], done
    return [out for out, _ in done]


def figures(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [{"n": 22}, {"n": 18}, {"n": 22, "accumulate": 2}, {"n": 22, "contrary": True}],
    ids=["even", "uneven end", "accumulated", "early stop"],
)
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path, case):
    whole, expected = shared(None, **{**case, "accumulate": 2 * case.get("accumulate", 1)})
    histories = [json.loads(out) for out in in_two_processes(tmp_path, **case)]
    for rank, history in enumerate(histories):
        assert len(history) == len(whole)
        for one, other in zip(figures(history), figures(whole), strict=True):
            assert one == pytest.approx(other, abs=1e-5)
        with np.load(tmp_path / f"{rank}.npz") as stored:
            assert_same([stored[f"arr_{i}"] for i in range(len(expected))], expected, 1e-5)
    with np.load(tmp_path / "0-checkpoint.npz") as stored:
        assert json.loads(str(stored["state"]))["epoch"] == len(whole)
    assert not (tmp_path / "1-checkpoint.npz").exists()


@pytest.mark.slow
def test_two_processes_go_on_from_the_checkpoint_of_one(tmp_path):
    whole, expected = shared(None, n=18, accumulate=2)

    def cut(record):
        if record["epoch"] == 2:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        shared(tmp_path / "0-checkpoint.npz", n=18, accumulate=2, on_epoch=cut)
    for out in in_two_processes(tmp_path, n=18):
        for one, other in zip(figures(json.loads(out)), figures(whole), strict=True):
            assert one == pytest.approx(other, abs=1e-5)
    for rank in (0, 1):
        with np.load(tmp_path / f"{rank}.npz") as stored:
            assert_same([stored[f"arr_{i}"] for i in range(len(expected))], expected, 1e-5)


@pytest.mark.slow
def test_a_number_that_is_none_in_one_process_stops_both(tmp_path):
    told = in_two_processes(tmp_path, n=22, poisoned=5)  # in the second batch, which is the second process'
    assert all(out.startswith("refused: The loss became nan in epoch 1.") for out in told)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loss_of_a_drawn_part_is_the_mean_over_its_samples(accumulate):
    X, y = problem()
    batches = Batches(lambda rows: X[rows], N, 4, targets=y, seed=0, draw=6)  # a batch of four and one of two
    model = torch.nn.Linear(4, 2)
    options = {"valid": None, "judge": judge, "loss": functional.cross_entropy, "device": CPU, "accumulate": accumulate}
    history = engine.train(model, batches, epochs=1, lr=1e-9, **options)
    rows = batches.order
    assert len(rows) == 6
    expected = functional.cross_entropy(model(torch.from_numpy(X[rows])), torch.from_numpy(y[rows])).item()
    assert history[0]["loss"] == pytest.approx(expected, abs=1e-5)
