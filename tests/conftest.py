"""Fixtures every test can use, and the skip of tests that need the developers' data sets."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the tests state what a CPU does
if "PYTEST_XDIST_WORKER" in os.environ:  # PyTorch's threads spin while they wait: several processes would hold each other up
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# a suite started in the background ignores Ctrl-C, and so would the processes in which tests press it
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Skip what needs the shared data sets where they are not there."""
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(pytest.mark.skip(reason=f"the developers' data sets are not at {SHARED}"))


@pytest.fixture
def run_python():
    """Run Python code in a fresh process, away from the checkout, and return the finished process."""

    def run(code, *, cwd=None, env=None, timeout=300):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=environment, timeout=timeout, check=False
        )

    return run
