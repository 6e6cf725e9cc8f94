"""Device strings, what they resolve to, where Keras and PyTorch then compute, and seeds that leave no trace."""

import logging
import random

import numpy as np
import pytest

from pipelines import device as module
from pipelines.device import Device, resolve, seeded, visible
from pipelines.errors import DeviceError, ParameterError

from .test_gate import run

ENGINES = ["torch", pytest.param("keras", marks=pytest.mark.slow)]


@pytest.fixture
def gpus(monkeypatch):
    """Let an engine see two GPUs."""
    monkeypatch.setattr(module, "_gpu_names", lambda framework: ["cuda:0", "cuda:1"])


@pytest.fixture
def no_gpus(monkeypatch):
    monkeypatch.setattr(module, "_gpu_names", lambda framework: [])
    module._fall_back.cache_clear()


# Strings


@pytest.mark.parametrize(
    ("text", "kind", "indices", "name"),
    [
        ("cpu", "cpu", (), "cpu"),
        ("auto", "gpu", (0,), "cuda:0"),
        ("gpu", "gpu", (0,), "cuda:0"),
        ("gpu:1", "gpu", (1,), "cuda:1"),
        ("gpu:0,1", "gpu", (0, 1), "cuda:0,cuda:1"),
        ("gpu:1,0", "gpu", (1, 0), "cuda:1,cuda:0"),
    ],
)
def test_resolve(gpus, text, kind, indices, name):
    assert resolve(text, "torch") == Device("torch", kind, indices, name)


@pytest.mark.parametrize("text", ["cpu", "gpu:0", "gpu:0,1"])
def test_text_round_trip(gpus, text):
    assert str(resolve(text, "torch")) == text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("cuda", "gpu"),
        ("cuda:0", "gpu:0"),
        ("CUDA:1", "gpu:1"),
        ("mps", "gpu"),
        ("mps:0", "gpu:0"),
        ("GPU", "gpu"),
        ("CPU", "cpu"),
        ("Auto", "auto"),
        ("gpu0", "gpu:0"),
        ("gpu:0, 1", "gpu:0,1"),
        ("cuda:0,cuda:1", "gpu:0,1"),
        ("/device:GPU:0", "gpu:0"),
        ("gqu", "gpu"),
    ],
)
def test_other_spellings_are_understood_but_refused(text, meant):
    with pytest.raises(ParameterError, match=f"is not known. Did you mean '{meant}'"):
        resolve(text, "torch")


@pytest.mark.parametrize("text", ["", "tpu:x", "gpu:", "gpu:-1", "gpu:1.5", "gpu:0,", "cpu:0,1", "gpu:0;1", "gpu\n"])
def test_impossible_strings(text):
    with pytest.raises(ParameterError, match='"auto", "cpu", "gpu", "gpu:1" or "gpu:0,1"'):
        resolve(text, "torch")


@pytest.mark.parametrize("value", [0, None, ["gpu:0"], b"cpu"])
def test_no_string(value):
    with pytest.raises(ParameterError, match="device must be a string"):
        resolve(value, "torch")


def test_a_gpu_twice():
    with pytest.raises(ParameterError, match="names a GPU twice"):
        resolve("gpu:1,1", "torch")


def test_unknown_engine():
    with pytest.raises(ParameterError, match="no engine 'jax'"):
        visible("jax")
    with pytest.raises(ParameterError, match="no engine 'tensorflow'"):
        resolve("cpu", "tensorflow")


# GPUs that are not there


@pytest.mark.parametrize("text", ["gpu", "gpu:0", "gpu:0,1"])
def test_explicit_gpu_without_gpu(no_gpus, text):
    with pytest.raises(DeviceError, match=r"the torch engine \(computing with torch\) sees only: cpu\. .*`pipelines doctor`"):
        resolve(text, "torch")


@pytest.mark.parametrize("text", ["gpu:2", "gpu:0,2"])
def test_explicit_gpu_beyond_the_last(gpus, text):
    with pytest.raises(DeviceError, match="sees only: cpu, gpu:0, gpu:1"):
        resolve(text, "torch")


def test_auto_falls_back_with_one_line(no_gpus, caplog):
    with caplog.at_level(logging.INFO, "pipelines"):
        assert {str(resolve("auto", "torch")) for _ in range(3)} == {"cpu"}
    assert [record.message for record in caplog.records] == [
        'device="auto": the torch engine (computing with torch) sees no GPU; using the CPU.'
    ]


def test_cpu_asks_nobody(monkeypatch):
    monkeypatch.setattr(module, "_gpu_names", None)
    assert resolve("cpu", "torch").kind == "cpu"


@pytest.mark.parametrize("engine", ENGINES)
def test_visible_begins_with_the_cpu(engine):
    devices = visible(engine)
    assert devices[0] == Device(engine, "cpu", (), "cpu")
    assert [device.indices for device in devices[1:]] == [(i,) for i in range(len(devices) - 1)]


# Scopes


def test_scope_of_torch():
    torch = pytest.importorskip("torch")
    with resolve("cpu", "torch").scope():
        assert torch.zeros(1).device.type == "cpu"
    with Device("torch", "gpu", (0,), "meta").scope():  # a device every machine has
        assert torch.zeros(1).device.type == "meta"


def test_several_gpus_need_tensorflow(gpus):
    with pytest.raises(DeviceError, match=r'the torch engine computes with torch here\. Name one GPU: "gpu:0"'):
        resolve("gpu:0,1", "torch").scope()


@pytest.mark.slow
def test_scope_of_keras():
    code = """
from pipelines.device import Device, resolve
from pipelines.engines import load_framework
tf, keras = load_framework("tensorflow"), load_framework("keras")
cpu, half = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])
with Device("keras", "cpu", (), "cpu:1").scope():
    print(keras.ops.ones(1).device[-5:])
with resolve("cpu", "keras").scope():
    print(keras.ops.ones(1).device[-5:])
"""
    assert run(code, KERAS_BACKEND="tensorflow").stdout == "CPU:1\nCPU:0\n"


@pytest.mark.slow
def test_several_devices_share_a_batch():
    """Two halves of the CPU stand for two GPUs: the same weights as on one device, from the same data."""
    code = """
import numpy as np
from pipelines import device
from pipelines.engines import load_framework
tf, keras = load_framework("tensorflow"), load_framework("keras")
cpu, half = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])

class Batches(keras.utils.PyDataset):
    def __len__(self): return 4
    def __getitem__(self, i):
        x = np.random.default_rng(i).normal(size=(8, 6, 6, 1)).astype("float32")
        return x, (x.mean((1, 2, 3)) > 0).astype("int32")

def train(place):
    with device.seeded(0, "keras"), place.scope():
        model = keras.Sequential([keras.layers.Input((6, 6, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(),
                                  keras.layers.Dense(2, activation="softmax")])
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        model.fit(Batches(), epochs=2, shuffle=False, verbose=0)
        return model.predict(Batches(), verbose=0), type(model.weights[0].value).__name__

one, kind = train(device.resolve("cpu", "keras"))
both = device.Device("keras", "gpu", (0, 1), "cpu:0,cpu:1")
two, mirrored = train(both)
again, _ = train(both)
print(kind, mirrored, float(np.abs(one - two).max()) < 1e-5, float(np.abs(two - again).max()) < 1e-6)
"""
    done = run(code, KERAS_BACKEND="tensorflow")
    assert done.stdout == "ResourceVariable MirroredVariable True True\n", done.stderr[-2000:]


@pytest.mark.slow
def test_scope_of_keras_on_torch():
    code = """
from pipelines.device import Device, resolve, visible
from pipelines.engines import load_framework
with resolve("cpu", "keras").scope():
    print(load_framework("keras").ops.ones(1).device, visible("keras")[0])
try: Device("keras", "gpu", (0, 1), "cuda:0,cuda:1").scope()
except Exception as error: print(type(error).__name__, "the keras engine computes with torch" in str(error))
"""
    assert run(code, KERAS_BACKEND="torch").stdout == "cpu cpu\nDeviceError True\n"


# Seeds


def draw(engine):
    if engine == "torch":
        return random.random(), np.random.rand(), float(pytest.importorskip("torch").rand(1))
    keras = pytest.importorskip("keras")
    return random.random(), np.random.rand(), float(keras.random.uniform((1,))[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_seeded_repeats_and_leaves_no_trace(engine):
    random.seed(1), np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1), np.random.seed(1)
    with seeded(7, engine):
        first = draw(engine)
    assert (random.random(), np.random.rand()) == expected
    with seeded(7, engine):
        assert draw(engine) == first
    with seeded(8, engine):
        assert draw(engine) != first


def test_seeded_gives_back_after_an_error_and_keeps_torch():
    torch = pytest.importorskip("torch")
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with pytest.raises(TypeError), seeded(3, "torch"):
        draw("torch") + 1
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


@pytest.mark.parametrize("seed", [0, 2**32 - 1, np.int64(5), np.uint32(5)])
def test_seeds_at_the_edge(seed):
    with seeded(seed, "torch"):
        pass


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None, "0", float("nan")])
def test_impossible_seeds(seed):
    with pytest.raises(ParameterError, match="seed must be an integer from 0 to 4294967295"), seeded(seed, "torch"):
        pass
