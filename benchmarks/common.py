"""What the benchmarks share: the machine's description, timing in turns, and where the developers' data sets are."""

import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

from pipelines import store
from pipelines.engines import usable_cores

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def machine() -> dict[str, Any]:
    """Describe where and when the figures were taken."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
        "versions": store.versions(),
    }


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any], runs: int = 5) -> dict[str, Any]:
    """Time both in turn, A B A B, so that a drifting machine slows both; a ratio is the median of the pairs' ratios.

    Processor time is given beside wall time: on a shared machine it is the steadier figure.
    """
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(runs)]
    ratios = [a[0] / b[0] for a, b in pairs]
    return {
        "ours_s": round(statistics.median(a[0] for a, _ in pairs), 3),
        "theirs_s": round(statistics.median(b[0] for _, b in pairs), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "processor_ratio": round(statistics.median(a[1] / b[1] for a, b in pairs), 3),
        "runs": runs,
    }


class Apart:
    """A function that runs, and is timed, in a process of its own, where its threads and ours do not share one pool.

    Parameters
    ----------
    make : callable
        Called there with `args`, returns the function.
    """

    def __init__(self, make: Callable[..., Callable[[], Any]], *args: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin, initargs=(make, args))

    def __call__(self) -> Any:
        """Return what the function returns."""
        return self._process.submit(_run_function).result()

    def seconds(self) -> tuple[float, float]:
        """Run it; return wall and processor time."""
        return self._process.submit(_time_function).result()


def peak_memory() -> float:
    """Return the peak resident memory in bytes; `getrusage` would count the parent's too, until the program was replaced."""
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))


def run(benchmarks: Mapping[str, Callable[[], Any]]) -> None:
    """Run the benchmarks named on the command line, or all, and print their figures as JSON."""
    chosen = sys.argv[1:] or list(benchmarks)
    results: dict[str, Any] = {"machine": machine()}
    for name in chosen:
        sys.stderr.write(f"{name} …\n")
        results[name] = benchmarks[name]()
    print(json.dumps(results, indent=1))


_function: Callable[[], Any]  # in the process of an `Apart`


def _begin(make: Callable[..., Callable[[], Any]], args: tuple[Any, ...]) -> None:
    global _function
    _function = make(*args)


def _run_function() -> Any:
    return _function()


def _time_function() -> tuple[float, float]:
    return _seconds(_function)


def _seconds(action: Callable[[], Any]) -> tuple[float, float]:
    if isinstance(action, Apart):
        return action.seconds()
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
