"""The PyTorch engine's cost over a bare training loop: the same network, batches, optimizer, clipping and schedule in both.

Run `python -m benchmarks.engine [name …]`; the names are the functions in `BENCHMARKS`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines import device, engines
from pipelines.data import Batches

from .common import in_turns, run

SEGMENTS, VALUES, UNITS, HORIZON = 15, 48, 128, 24
EPOCHS, LR, CLIP = 2, 1e-3, 1.0


def _network() -> Any:
    torch = engines.load_framework("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(VALUES, UNITS, batch_first=True)
            self.head = torch.nn.Linear(UNITS, HORIZON)

        def forward(self, inputs: Any) -> Any:
            return self.head(self.lstm(inputs)[0][:, -1])

    torch.manual_seed(0)
    return Net()


def _bare(model: Any, batches: Batches) -> None:
    """Train as briefly as it can be written, with everything the engine does to the weights."""
    torch = engines.load_framework("torch")
    steps = EPOCHS * len(batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0, fused=True)
    warm = max(1, round(steps / 10))
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 25, 1, warm)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warm, LR / 100)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], [warm])
    model.train()
    for epoch in range(EPOCHS):
        batches.start_epoch(epoch)
        total = 0.0
        for i in range(len(batches)):
            inputs, targets = batches[i]
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(torch.from_numpy(inputs)), torch.from_numpy(targets))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total += loss.item()


def _ours(model: Any, batches: Batches) -> None:
    torch = engines.load_framework("torch")
    engines.engine("torch").train(
        model,
        batches,
        valid=None,
        judge=dict,
        loss=torch.nn.functional.mse_loss,
        epochs=EPOCHS,
        lr=LR,
        clip=CLIP,
        device=device.resolve("cpu", "torch"),
    )


def _compared(sequences: int, steps: int, runs: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    n = sequences * steps
    X = rng.normal(size=(n, SEGMENTS, VALUES)).astype(np.float32)
    y = X.mean(axis=1)[:, :HORIZON].copy()

    def turn(loop: Callable[[Any, Batches], None]) -> Callable[[], None]:
        return lambda: loop(_network(), Batches(lambda rows: X[rows], n, sequences, targets=y, seed=0))

    ours, theirs = turn(_ours), turn(_bare)
    ours(), theirs()  # the first call of each loads code
    figures = in_turns(ours, theirs, runs)
    return {**figures, "their_step_ms": round(1000 * figures["theirs_s"] / (EPOCHS * steps), 2)}


def large_steps() -> dict[str, Any]:
    """Batches of 448 sequences, 30 to 50 ms a step on two cores."""
    return _compared(64 * 7, 15, 9)


def small_steps() -> dict[str, Any]:
    """Batches of 32 sequences, about 3 ms a step, where whatever a loop does besides shows most."""
    return _compared(32, 100, 15)


BENCHMARKS = {function.__name__: function for function in (large_steps, small_steps)}

if __name__ == "__main__":
    run(BENCHMARKS)
