"""Memory that is freed stays with the process as long as it was asked for, and goes back then."""

import os
import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")

FAULTS = """
import contextlib, resource, threading
from pipelines.engines import memory

def faults(kept):
    def work():
        for _ in range(12):
            b"x" * (40 << 20)  # 10,240 pages
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with memory.freed_memory_kept() if kept else contextlib.nullcontext():
        work()
        with memory.freed_memory_kept() if kept else contextlib.nullcontext():
            work()
        work()
        memory._since -= 10  # a long block
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10240

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", FAULTS + code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.split()]


def test_pages_are_had_once_instead_of_every_time():
    without, kept, again = run("print(faults(False), faults(True), faults(False))")
    assert without > 30
    assert kept < 3
    assert again > 30  # what lay around is not kept afterwards


def test_memory_goes_back_in_the_end():
    before, within, after = run("""
print(resident())
with memory.freed_memory_kept():
    blocks = [b"x" * (40 << 20) for _ in range(10)]
    del blocks
    print(resident())
    memory._since -= 10  # a long block
print(resident())
""")
    assert within > before + 300
    assert after < before + 80


def test_an_error_within_ends_it_and_threads_may_share_it():
    (found,) = run("""
import time
def hold():
    with memory.freed_memory_kept():
        time.sleep(0.2)
threads = [threading.Thread(target=hold) for _ in range(4)]
[thread.start() for thread in threads]
with contextlib.suppress(ValueError):
    with memory.freed_memory_kept():
        raise ValueError
[thread.join() for thread in threads]
assert memory._holders == 0
print(faults(False))
""")
    assert found > 30


@pytest.mark.parametrize("variable", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_user_has_set_is_left_alone(variable):
    value = "glibc.malloc.mmap_threshold=1048576" if variable == "GLIBC_TUNABLES" else "1048576"
    (found,) = run("print(faults(True))", **{variable: value})
    assert found > 30
