"""The progress bar and the log line: what is written where, and when nothing is."""

import io
import logging

import pytest

from pipelines import progress
from pipelines.progress import Progress, say


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves on by one second each time it is read."""
    times = iter(range(10_000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(times)))


def run(stream, *, verbose=1, epochs=2, steps=4, first=0):
    with Progress(epochs, steps, verbose=verbose, stream=stream) as bar:
        for epoch in range(first, epochs):
            for step in range(steps):
                bar.step(epoch, step)
            bar.epoch({"epoch": epoch + 1, "loss": 0.123456, "seconds": 1.5, "interrupted": True})


def test_file_gets_one_line_an_epoch_and_no_bar(clock):
    stream = io.StringIO()
    run(stream)
    assert stream.getvalue() == "epoch 1/2  loss 0.1235  seconds 1.5\nepoch 2/2  loss 0.1235  seconds 1.5\n"


def test_terminal_gets_a_bar_that_fills_and_is_wiped(clock):
    stream = Terminal()
    run(stream)
    frames = stream.getvalue().split("\r\x1b[K")
    bars = [frame for frame in frames if "left" in frame]
    assert [bar.count("█") for bar in bars] == [6, 12, 18, 24] * 2
    assert all(bar.count("█") + bar.count("░") == 24 for bar in bars)
    assert stream.getvalue().endswith("\r\x1b[K")


def test_time_left_shrinks_to_nothing(clock):
    stream = Terminal()
    run(stream, epochs=1)
    left = [frame.split()[-2] for frame in stream.getvalue().split("\r\x1b[K") if "left" in frame]
    assert left[-1] == "0:00"
    assert left == sorted(left, reverse=True)


def test_resumed_run_judges_the_speed_by_its_own_steps(clock):
    whole, resumed = Terminal(), Terminal()
    run(whole, epochs=1, steps=4)
    run(resumed, epochs=101, steps=4, first=100)
    first_left = [stream.getvalue().split("left")[0].split()[-1] for stream in (whole, resumed)]
    assert first_left[0] == first_left[1]


def test_bar_is_drawn_at_most_ten_times_a_second(monkeypatch):
    times = iter(i / 1000 for i in range(10_000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    stream = Terminal()
    run(stream, epochs=1, steps=1000)
    assert stream.getvalue().count("left") <= 11


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_nothing_is_written_at_verbose_0(stream):
    run(stream, verbose=0)
    say("hello", 0, stream)
    assert stream.getvalue() == ""


def test_bar_is_wiped_after_an_error_too():
    stream = Terminal()
    with pytest.raises(RuntimeError), Progress(1, 1, stream=stream):
        raise RuntimeError
    assert stream.getvalue() == "\r\x1b[K"


def test_lines_reach_the_log_whatever_verbose_says(caplog):
    with caplog.at_level(logging.INFO, logger="pipelines"):
        say("reading 3 images", 0)
        run(io.StringIO(), verbose=0, epochs=1)
    assert caplog.messages == ["reading 3 images", "epoch 1/1  loss 0.1235  seconds 1.5"]


def test_standard_error_is_where_it_goes(capsys):
    say("reading", 1)
    run(None, epochs=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["reading", "epoch 1/1  loss 0.1235  seconds 1.5"]


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3600, "1:00:00"), (7325, "2:02:05")])
def test_clock(seconds, text):
    assert progress._clock(seconds) == text
