"""The progress bar and the logger: the only place of the library that writes to the screen."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Self, TextIO

__all__ = ["Progress", "hushed", "log", "say"]

log = logging.getLogger("pipelines")


def say(message: str, verbose: int, stream: TextIO | None = None) -> None:
    """Write one line to the standard error stream, unless `verbose` is 0; the log gets it in any case."""
    log.info(message)
    if verbose:
        print(message, file=stream or sys.stderr, flush=True)


@contextlib.contextmanager
def hushed(*names: str) -> Iterator[None]:
    """Keep what other libraries log, under these names, off the screen; what matters of it is said by us."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Progress:
    """One line an epoch: a bar with the time left while it runs, the epoch's figures when it ends.

    Parameters
    ----------
    epochs, steps : int
        Epochs in all, and batches an epoch.
    verbose : int
        0 writes nothing; 1 the bar and a line an epoch. The bar itself is drawn only on a terminal.
    stream : file, optional
        Where to write; the standard error stream by default.

    Examples
    --------
    >>> with Progress(1, 2, verbose=0) as progress:
    ...     progress.step(0, 0)
    ...     progress.epoch({"epoch": 1, "loss": 0.5})
    """

    def __init__(self, epochs: int, steps: int, *, verbose: int = 1, stream: TextIO | None = None) -> None:
        self.epochs, self.steps, self.verbose = epochs, steps, verbose
        self.stream = stream or sys.stderr
        self.live = bool(verbose) and self.stream.isatty()
        self.started = time.monotonic()
        self.begun_at: int | None = None
        self.drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def step(self, epoch: int, step: int) -> None:
        """Redraw the bar after batch `step` of `epoch` (both counted from 0), at most ten times a second."""
        done = epoch * self.steps + step + 1
        if self.begun_at is None:  # a resumed run starts in the middle
            self.begun_at = done - 1
        now = time.monotonic()
        if not self.live or now - self.drawn < 0.1:
            return
        self.drawn = now
        rate = (now - self.started) / (done - self.begun_at)
        left = rate * (self.epochs * self.steps - done)
        filled = round(24 * (step + 1) / self.steps)
        bar = "█" * filled + "░" * (24 - filled)
        self.stream.write(f"\r\x1b[Kepoch {epoch + 1}/{self.epochs} {bar} {_clock(left)} left")
        self.stream.flush()

    def epoch(self, record: Mapping[str, object]) -> None:
        """Write the epoch's line, for instance `epoch 3/20  loss 0.213  val_loss 0.190`."""
        figures = "  ".join(f"{k} {v:.4g}" for k, v in record.items() if isinstance(v, float))
        line = f"epoch {record['epoch']}/{self.epochs}  {figures}"
        log.info(line)
        if self.verbose:
            self.stream.write(("\r\x1b[K" if self.live else "") + line + "\n")
            self.stream.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
