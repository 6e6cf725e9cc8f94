"""The gate: whatever the order in which frameworks are asked for, the process lives; each order in one of its own."""

import importlib.util
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import engines
from pipelines.errors import ParameterError

ROOT = Path(__file__).parents[2]

# Stand-ins for the domains: what each loads, through the gate, and one small real step with it.
DOMAINS = """
import sys
from pipelines.engines import load_framework

def vision():
    keras = load_framework("keras")
    model = keras.Sequential([keras.layers.Input((6, 6, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(),
                              keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(keras.ops.zeros((8, 6, 6, 1)), keras.ops.zeros((8, 1)), verbose=0)

def nlp():
    transformers, torch = load_framework("transformers"), load_framework("torch")
    sizes = dict(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    step(transformers.BertModel(transformers.BertConfig(**sizes)), torch.zeros((1, 4), dtype=torch.long))

def speech():
    load_framework("whisper")
    from whisper.model import ModelDimensions, Whisper
    torch = load_framework("torch")
    model = Whisper(ModelDimensions(80, 4, 8, 2, 1, 9, 4, 8, 2, 1))
    step(model, torch.zeros((1, 80, 8)), torch.zeros((1, 3), dtype=torch.long))

def medical():
    load_framework("monai")
    from monai.networks.nets import UNet
    step(UNet(2, 1, 2, channels=(4, 8), strides=(2,)), load_framework("torch").zeros((1, 1, 8, 8)))

def timeseries():
    torch = load_framework("torch", extra="timeseries")
    step(torch.nn.LSTM(4, 8), torch.zeros(5, 2, 4))

def step(model, *inputs):
    torch = load_framework("torch")
    optimiser = torch.optim.AdamW(model.parameters())
    output = model(*inputs)
    output = output[0] if isinstance(output, tuple) else getattr(output, "last_hidden_state", output)
    output.sum().backward()
    optimiser.step()
"""
NAMES = ("vision", "nlp", "speech", "medical", "timeseries")
ROTATIONS = [NAMES[i:] + NAMES[:i] for i in range(5)]
ROTATIONS += [NAMES[::-1]]
LSTM_STEP = """
import torch
model = torch.nn.LSTM(4, 8)
optimiser = torch.optim.AdamW(model.parameters())
model(torch.zeros(5, 2, 4))[0].sum().backward()
optimiser.step()
"""
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed, so nothing can clash with TensorFlow"
)
slow = pytest.mark.slow


def run(code, *, path=None, **environment):
    """Run code in a process of its own; a variable given as None is taken out of the environment."""
    env = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")}
    env["PYTHONPATH"] = os.pathsep.join(map(str, filter(None, (path, ROOT))))
    env = {k: v for k, v in {**env, **environment}.items() if v is not None}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=env)


def use(order, before="", **environment):
    """Use the domains in this order, after what the user did before; return the finished process, which lived."""
    calls = "\n".join(f"{name}()" for name in order)
    done = run(f"{before}\n{DOMAINS}\n{calls}\nprint('alive', 'tensorflow' in sys.modules)", **environment)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout.startswith("alive")
    return done


def fake(folder, name, code=""):
    """Put a package of that name on the path, in front of the real one."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    return folder


# Orders


@pytest.mark.parametrize("order", [pytest.param(o, marks=[slow] if i else []) for i, o in enumerate(ROTATIONS)], ids="-".join)
def test_all_domains(order):
    assert use(order).stderr == ""  # quiet, too


@slow
@pytest.mark.parametrize("pair", [p for p in itertools.permutations(NAMES, 2) if "vision" in p], ids="-".join)
def test_vision_and_one_other(pair):  # the others load no TensorFlow: nothing to clash with
    use(pair)


@pytest.mark.parametrize(
    "first",
    [
        "import tensorflow",
        pytest.param("import tensorflow; tensorflow.ones(3) + 1", marks=slow, id="tensorflow-in-use"),
        pytest.param("import torch", marks=slow),
        pytest.param(LSTM_STEP, marks=slow, id="torch-step"),
        pytest.param("import torch, tensorflow", marks=slow),
        pytest.param("import transformers", marks=slow),
        pytest.param("from transformers import BertModel", marks=slow),
        pytest.param("import whisper", marks=slow),
        pytest.param("import whisper, tensorflow", marks=slow),
        pytest.param("import monai", marks=slow),
        pytest.param("import keras", marks=slow),
        pytest.param("import triton", marks=[slow, needs_triton]),
    ],
)
def test_user_came_first(first):
    use(NAMES[::-1], first)


@slow
@pytest.mark.parametrize("first", ["import tensorflow", "import torch, tensorflow", "import torch"])
def test_user_came_first_and_vision_second(first):
    use(NAMES, first)


@slow
@pytest.mark.parametrize("name", ["nlp", "timeseries", "speech"])
def test_user_imports_tensorflow_between_two_steps(name):
    code = f"{DOMAINS}\n{name}()\nimport tensorflow\n{name}()\nmedical()\nimport monai\nprint('alive')"
    done = run(code)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr[-2000:]


@slow
@needs_triton
@pytest.mark.parametrize(
    "code",
    [
        "import tensorflow, monai",
        "import torch, tensorflow, monai",
        "import whisper, tensorflow, monai",
        "import tensorflow, triton",
        "import keras\nfrom transformers import BertModel",
        "import tensorflow\n" + LSTM_STEP,
    ],
    ids=["tf-monai", "torch-tf-monai", "whisper-tf-monai", "tf-triton", "keras-bert", "tf-lstm"],
)
def test_without_the_gate_the_process_dies(code):
    """The negative control: should this fail with newer versions, the gate may have become superfluous."""
    done = run(code, KERAS_BACKEND="tensorflow")
    assert done.returncode == -6
    assert "registered more than once" in done.stderr


@slow
def test_keras_on_torch_loads_no_tensorflow():
    done = use(NAMES, KERAS_BACKEND="torch")
    assert done.stdout == "alive False\n"


# Cost


def test_importing_loads_nothing():
    code = """
import sys, pipelines, pipelines.engines, pipelines.device, pipelines.doctor
print({"tensorflow", "keras", "torch", "transformers", "whisper", "monai", "triton", "jax"} & sys.modules.keys())
"""
    assert run(code).stdout == "set()\n"


def test_repeating_is_cheap(tmp_path):
    fake(tmp_path, "torch", "def get_num_threads(): return 1")
    code = """
import time
from pipelines.engines import load_framework
load_framework("torch")
start = time.perf_counter()
for _ in range(1000): load_framework("torch")
print(time.perf_counter() - start)
"""
    assert float(run(code, path=tmp_path).stdout) < 0.5  # half a millisecond each


# What the user has set


SETTINGS = """
import os
from pipelines.engines import load_framework
tf, torch = load_framework("tensorflow"), load_framework("torch")
threads = tf.config.threading
print(threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads(), torch.get_num_threads(),
      os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


def test_defaults():
    cores = engines.usable_cores()
    intra, inter, torch, level = run(SETTINGS, OMP_NUM_THREADS=None, MKL_NUM_THREADS=None).stdout.split()
    assert (int(intra), int(inter), level) == (cores, cores, "2")
    assert 1 <= int(torch) <= cores


def test_user_settings_stay():
    mine = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_NUM_INTRAOP_THREADS": "5", "TF_NUM_INTEROP_THREADS": "6", "OMP_NUM_THREADS": "1"}
    done = run(f"{SETTINGS}\nprint([os.environ[name] for name in {list(mine)}])", **mine)
    assert done.stdout == f"0 0 1 0\n{list(mine.values())}\n"  # 0: TensorFlow reads the variables itself
    assert "\nI0000 " in done.stderr  # level "0" asks for the notices, whichever this processor gives rise to


@pytest.mark.parametrize(
    ("before", "variable", "expected"),
    [("", None, f"set {engines.usable_cores()}\n"), ("", "64", ""), ("import torch", None, "")],
    ids=["nobody-set-it", "variable", "imported-by-the-user"],
)
def test_torch_threads(tmp_path, before, variable, expected):
    fake(tmp_path, "torch", "def get_num_threads(): return 4096\ndef set_num_threads(n): print('set', n)")
    code = f"{before}\nfrom pipelines.engines import load_framework; load_framework('torch')"
    assert run(code, path=tmp_path, OMP_NUM_THREADS=variable, MKL_NUM_THREADS=None).stdout == expected


@pytest.mark.parametrize(
    ("mine", "expected"),
    [({}, "2000 None"), ({"GOMP_SPINCOUNT": "7"}, "7 None"), ({"OMP_WAIT_POLICY": "active"}, "None active")],
    ids=["nobody-set-it", "count", "policy"],
)
def test_threads_of_torch_do_not_wait_spinning(tmp_path, mine, expected):
    fake(tmp_path, "torch", "import os; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))")
    code = "from pipelines.engines import load_framework; load_framework('torch')"
    settings = {"GOMP_SPINCOUNT": None, "OMP_WAIT_POLICY": None, "OMP_NUM_THREADS": "1", **mine}
    assert run(code, path=tmp_path, **settings).stdout == f"{expected}\n"


@pytest.mark.parametrize(("mine", "expected"), [(None, "1\n"), ("0", "0\n")], ids=["nobody-set-it", "user"])
def test_tensorflow_computes_with_onednn(tmp_path, mine, expected):
    fake(tmp_path, "tensorflow", "import os; print(os.environ['TF_ENABLE_ONEDNN_OPTS']); raise ImportError('enough')")
    code = "from pipelines.engines import load_framework\ntry: load_framework('tensorflow')\nexcept ImportError: pass"
    assert run(code, path=tmp_path, TF_ENABLE_ONEDNN_OPTS=mine).stdout == expected


@slow
def test_user_calls_stay():
    mine = """
import tensorflow as tf, torch
tf.config.threading.set_intra_op_parallelism_threads(3)
torch.set_num_threads(1)
tf.ones(3) + 1  # from here on nothing can be set
"""
    assert run(mine + SETTINGS).stdout.split() == ["3", "0", "1", "2"]


def gpu_module(count=2, error=""):
    """Write a stand-in for tensorflow on a machine with GPUs, which says what is set."""
    return f"""
class GPU:
    name = "GPU"
class threading:
    get_intra_op_parallelism_threads = get_inter_op_parallelism_threads = staticmethod(lambda: 0)
    set_intra_op_parallelism_threads = set_inter_op_parallelism_threads = staticmethod(lambda n: None)
class experimental:
    @staticmethod
    def set_memory_growth(gpu, on):
        {f'raise RuntimeError("{error}")' if error else "print(gpu.name, on)"}
class config:
    list_physical_devices = staticmethod(lambda kind: [GPU()] * {count})
config.threading, config.experimental = threading, experimental
"""


LOAD_TWICE = """
import logging
logging.basicConfig(level="INFO", format="%(message)s")
from pipelines.engines import load_framework
load_framework("tensorflow")
load_framework("tensorflow")
"""


def test_memory_growth_on_every_gpu(tmp_path):
    done = run(LOAD_TWICE, path=fake(tmp_path, "tensorflow", gpu_module()))
    assert (done.returncode, done.stdout) == (0, "GPU True\nGPU True\n")  # once for each


def test_memory_growth_is_the_users(tmp_path):
    done = run(LOAD_TWICE, path=fake(tmp_path, "tensorflow", gpu_module()), TF_FORCE_GPU_ALLOW_GROWTH="false")
    assert (done.returncode, done.stdout) == (0, "")


def test_gpu_already_in_use_is_logged(tmp_path):
    done = run(LOAD_TWICE, path=fake(tmp_path, "tensorflow", gpu_module(1, "already initialized")))
    assert done.returncode == 0
    assert "TensorFlow keeps the memory setting of GPU: already initialized" in done.stderr


def test_last_words_of_an_abort_come_through(tmp_path):
    code = r"""
import os
os.write(2, b"I0000 00:00:1795170108.286017   10650 port.cc:153] oneDNN custom operations are on.\n")
os.write(2, b"F0000 this processor has no AVX\n")
os.abort()
"""
    started = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", "from pipelines.engines import load_framework as f; f('tensorflow')"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": f"{fake(tmp_path, 'tensorflow', code)}:{ROOT}"},
    ) as process:  # fmt: skip
        assert process.communicate(timeout=60)[1] == "F0000 this processor has no AVX\n"
    assert process.returncode == -6
    assert time.monotonic() - started < 30


# Keras's backend


def backend(path, code="", **environment):
    done = run(f"{code}\nfrom pipelines.engines import keras_backend; print(keras_backend())", path=path, **environment)
    return done.stdout.strip()


def hide(*names):
    return "import sys\n" + "\n".join(f"sys.modules[{name!r}] = None" for name in names)


@pytest.mark.parametrize(
    ("hidden", "on_file", "variable", "expected"),
    [
        ((), None, None, "tensorflow"),
        ((), None, "torch", "torch"),
        ((), "torch", None, "torch"),
        ((), "torch", "jax", "jax"),
        (("tensorflow",), None, None, "torch"),
        (("tensorflow",), "tensorflow", None, "torch"),  # Keras itself wrote that file, at its first import
        (("tensorflow",), "jax", None, "jax"),
        (("tensorflow",), None, "tensorflow", "tensorflow"),
        (("tensorflow", "torch", "jax"), None, None, "tensorflow"),
    ],
)
def test_keras_backend(tmp_path, hidden, on_file, variable, expected):
    if on_file:
        (tmp_path / "keras.json").write_text(f'{{"backend": "{on_file}"}}')
    assert backend(None, hide(*hidden), KERAS_HOME=str(tmp_path), KERAS_BACKEND=variable) == expected


def test_keras_already_imported_decides(tmp_path):
    fake(tmp_path, "keras", "class config:\n    backend = staticmethod(lambda: 'jax')")
    assert backend(tmp_path, "import keras") == "jax"


def test_choosing_a_backend_is_said(tmp_path):
    fake(tmp_path, "keras")
    fake(tmp_path, "torch", "def get_num_threads(): return 1")
    code = f"""{hide("tensorflow")}
import logging, os
logging.basicConfig(level="INFO", format="%(message)s")
from pipelines.engines import load_framework
load_framework("keras")
print(os.environ["KERAS_BACKEND"])
"""
    done = run(code, path=tmp_path, KERAS_HOME=str(tmp_path))
    assert done.stdout == "torch\n"
    assert done.stderr == "Keras runs on torch (set KERAS_BACKEND to choose another backend).\n"


# Errors


def error_of(call, code="", path=None, **environment):
    code = f"{code}\nfrom pipelines.engines import load_framework\ntry: load_framework({call})\n"
    code += "except ImportError as error: print(error.name, '|', error, '|', repr(error.__cause__))"
    return run(code, path=path, **environment).stdout.strip()


@pytest.mark.parametrize(
    ("call", "missing", "extra"),
    [
        ("'tensorflow'", "tensorflow", "vision"),
        ("'keras'", "tensorflow", "vision"),
        ("'torch'", "torch", "nlp"),
        ("'torch', extra='timeseries'", "torch", "timeseries"),
        ("'transformers'", "torch", "nlp"),
        ("'whisper'", "torch", "speech"),
        ("'monai'", "torch", "medical"),
        ("'monai', extra='vision'", "torch", "vision"),
        ("'safetensors'", "safetensors", "nlp"),
    ],
)
def test_missing_package(tmp_path, call, missing, extra):
    said = error_of(
        call, hide("tensorflow", "torch", "safetensors", "triton"), KERAS_HOME=str(tmp_path), KERAS_BACKEND="tensorflow"
    )
    line = f'pip install "domain-pipelines[{extra}]"'
    assert said == f"{missing} | {missing} is needed here, but it is not installed. Install it with: {line} | None"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import no_such_dependency", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("raise ImportError('libcudart.so.12: cannot open shared object file')", "ImportError: libcudart.so.12: cannot open"),
        ("raise OSError('libtorch.so: undefined symbol')", "OSError: libtorch.so: undefined symbol"),
        ("raise AttributeError('_ARRAY_API not found')", "AttributeError: _ARRAY_API not found"),
    ],
)
def test_broken_package_is_not_called_missing(tmp_path, code, cause):
    said = error_of("'torch'", path=fake(tmp_path, "torch", code))
    assert "is installed, but importing it failed with " + cause in said
    assert "pip install --force-reinstall torch" in said
    assert "not installed" not in said
    assert "| None" not in said  # the cause is chained


def test_broken_triton_is_hidden(tmp_path):
    fake(tmp_path, "triton", "raise OSError('no such file: libtriton.so')")
    fake(tmp_path, "torch", "def get_num_threads(): return 1")
    done = run("from pipelines.engines import load_framework; load_framework('torch')\nimport triton", path=tmp_path)
    assert done.stderr.startswith("triton cannot be loaded and is hidden in this process: OSError: no such file")
    assert "ModuleNotFoundError" in done.stderr


def test_unknown_names():
    with pytest.raises(ParameterError, match=r"no framework 'pytorch'\. Did you mean 'torch'"):
        engines.load_framework("pytorch")
    with pytest.raises(ParameterError, match=r"no engine 'jax'\. Choose one of: 'keras', 'torch'"):
        engines.engine("jax")


def test_engine_is_a_module():
    assert engines.engine("keras").__name__ == "pipelines.engines.keras"


def test_threads_get_the_same_module(tmp_path):
    fake(tmp_path, "torch", "import time; time.sleep(0.3); done = True\ndef get_num_threads(): return 1")
    code = """
from concurrent.futures import ThreadPoolExecutor
from pipelines.engines import load_framework
with ThreadPoolExecutor(8) as pool:
    print({module.done for module in pool.map(load_framework, ["torch"] * 8)})
"""
    assert run(code, path=tmp_path).stdout == "{True}\n"
