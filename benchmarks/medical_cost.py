"""Segmentation's cost beside MONAI's own building blocks: training with the same network, patches and steps, and sliding windows.

Run `python -m benchmarks.medical_cost [name …]`; the names are the functions in `BENCHMARKS`. Reads `../shared/data/medical`.

Their side is what MONAI's tutorials make, at its quickest in one process: scans in a `CacheDataset`, padded, the places of their
structures known, tensors without metadata; `RandCropByPosNegLabeld`, `RandAffined` and changes of the light as ours are. Each of
an epoch's 64 patches comes from a scan drawn anew, and two make a batch, as with ours. Ours bend half of the patches and average
the weights besides. Both compute in full precision. Preparing the scans is not timed.
"""

import json
import math
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import device, engines

from .common import SHARED, in_turns, peak_memory, run

ROOT = Path(__file__).parent.parent
EPOCHS, PER_EPOCH, BATCH, LR, DECAY, CLIP = 2, 64, 2, 3e-3, 0.01, 1.0
CLASSES, WIDTH, OVERLAP = 3, 16, 0.5  # background, anterior, posterior; the others as `ScanSegmenter` has them


# ---------------------------------------------------------------- training
def loop(runs: int = 5) -> dict[str, Any]:
    """Both sides learn from the same patches, cut beforehand: what differs is the loop alone."""
    from medical import patches

    cutter, patch = _cutter(*_scans("train"))
    stored = cutter(np.arange(EPOCHS * PER_EPOCH))

    def batches() -> Any:
        def read(rows: np.ndarray) -> dict[str, np.ndarray]:
            return {name: array[rows] for name, array in stored.items()}

        return patches.training_batches(read, epochs=EPOCHS, per_epoch=PER_EPOCH, batch_size=BATCH, seed=0)

    def theirs() -> Any:
        torch, found = engines.load_framework("torch"), batches()
        for epoch in range(EPOCHS):
            found.start_epoch(epoch)
            parts = (found[i][0] for i in range(len(found)))
            yield ({"image": torch.from_numpy(part["image"]), "mask": torch.from_numpy(part["mask"])[:, None]} for part in parts)

    return _compared(lambda: _ours(batches(), patch), lambda: _bare(theirs(), patch), runs)


def training(runs: int = 5) -> dict[str, Any]:
    """Each side cuts, turns and re-lights its own patches."""
    return _trained(runs, "auto")


def training_unaugmented(runs: int = 5) -> dict[str, Any]:
    """Each side only cuts its patches."""
    return _trained(runs, "none")


def validated_training(runs: int = 5) -> dict[str, Any]:
    """Each side also judges its network after every epoch, on eight whole scans."""
    return _trained(runs, "auto", _scans("test"))


def patches_alone(runs: int = 9) -> dict[str, Any]:
    """Cut, turn and re-light the patches of as many epochs, without a network."""
    scans = _scans("train")
    cutter, patch = _cutter(*scans)
    loader = _loader(*scans, patch)

    def ours() -> None:
        for first in range(0, EPOCHS * PER_EPOCH, BATCH):
            cutter(np.arange(first, first + BATCH))

    def theirs() -> None:
        for _ in range(EPOCHS):
            deque(_plain(loader), maxlen=0)

    return _compared(ours, theirs, runs)


def _trained(runs: int, augment: str, judged: Any = None) -> dict[str, Any]:
    from medical import patches

    scans = _scans("train")
    cutter, patch = _cutter(*scans, augment)
    loader = _loader(*scans, patch, augment)

    def ours() -> None:
        batches = patches.training_batches(cutter, epochs=EPOCHS, per_epoch=PER_EPOCH, batch_size=BATCH, seed=0)
        _ours(batches, patch, None if judged is None else patches.validation_batches(*judged))

    def theirs() -> None:
        _bare((_plain(loader) for _ in range(EPOCHS)), patch, judged)

    return _compared(ours, theirs, runs)


def _ours(batches: Any, patch: list[int], valid: Any = None) -> None:
    from medical.segmenter_training import Trainee

    trainee = Trainee(_network(patch), patch, CLASSES)
    engines.engine("torch").train(
        trainee,
        batches,
        valid=valid,
        judge=lambda counts, _: {"val_loss": -float(counts.mean())},
        loss=trainee.loss,
        epochs=EPOCHS,
        lr=LR,
        weight_decay=DECAY,
        clip=CLIP,
        device=device.resolve("cpu", "torch"),
    )


def _bare(epochs: Iterable[Iterable[dict[str, Any]]], patch: list[int], judged: Any = None) -> None:
    """Train as briefly as it can be written, with everything the engine does to the weights."""
    torch, monai = engines.load_framework("torch"), engines.load_framework("monai")
    network, steps = _network(patch), EPOCHS * PER_EPOCH // BATCH
    criterion = monai.losses.DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=DECAY, fused=True)
    schedule = monai.optimizers.WarmupCosineSchedule(optimizer, warmup_steps=steps // 10, t_total=steps)
    metric = monai.metrics.DiceMetric(include_background=False)
    for batches in epochs:
        network.train()
        total = 0.0
        for batch in batches:
            optimizer.zero_grad()
            loss = criterion(network(batch["image"]), batch["mask"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total += loss.item()
        if judged is not None:
            network.eval()
            with torch.no_grad():
                for scan, mask in zip(*judged, strict=True):
                    scores = _monai_windows(network, torch.from_numpy(scan), patch)
                    codes = [torch.from_numpy(mask)[None], scores.argmax(dim=1)]
                    metric(*(monai.networks.one_hot(code[:, None], CLASSES) for code in codes[::-1]))
            metric.aggregate().item()
            metric.reset()


def _scans(part: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return prepared scans `(1, *shape)` and masks `(*shape)` of a part of the hippocampus data."""
    transforms = engines.load_framework("monai").transforms
    folder = SHARED / "medical" / "hippocampus_mri"
    table = pd.read_csv(folder / "cases.csv").query("split == @part")
    prepare = transforms.Compose(
        [
            transforms.LoadImaged(("image", "label"), reader="NibabelReader", ensure_channel_first=True),
            transforms.Orientationd(("image", "label"), axcodes="RAS", labels=None),
            transforms.NormalizeIntensityd("image"),
        ]
    )
    found = [prepare({name: folder / row[name] for name in ("image", "label")}) for row in table.to_dict("records")]
    return (
        [np.ascontiguousarray(item["image"].numpy(), np.float32) for item in found],
        [np.ascontiguousarray(item["label"].numpy()[0], np.uint8) for item in found],
    )


def _cutter(scans: list[np.ndarray], masks: list[np.ndarray], augment: str = "auto") -> tuple[Any, list[int]]:
    """Return our cutter, and the patch that the plan of such scans has."""
    from medical.patches import Cutter
    from medical.segmentation_plan import Facts, patch_for

    spacing = (1.0, 1.0, 1.0)
    patch, _ = patch_for("subpixel-unet", Facts([mask.shape for mask in masks], [spacing] * len(masks)), spacing)
    return Cutter(scans, masks, patch, spacing, augment=augment, seed=0), patch


def _loader(scans: list[np.ndarray], masks: list[np.ndarray], patch: list[int], augment: str = "auto") -> Any:
    """Return MONAI's loader of one epoch's patches."""
    torch, monai = engines.load_framework("torch"), engines.load_framework("monai")
    both, t = ("image", "mask"), monai.transforms
    steps = [
        t.SpatialPadd("image", patch, mode="edge"),
        t.SpatialPadd("mask", patch),
        t.EnsureTyped(both, track_meta=False),
        t.FgBgToIndicesd("mask", fg_postfix="_fg", bg_postfix="_bg"),  # the last that is cached, as what follows is random
        t.RandCropByPosNegLabeld(both, "mask", patch, fg_indices_key="mask_fg", bg_indices_key="mask_bg"),
    ]
    if augment == "auto":
        turns, zooms = [math.radians(20)] * len(patch), [0.2] * len(patch)
        modes = {"mode": ("bilinear", "nearest"), "padding_mode": ("border", "zeros")}
        steps += [
            t.RandAffined(both, prob=1, rotate_range=turns, scale_range=zooms, **modes),
            t.RandScaleIntensityd("image", 0.25, prob=1),
            t.RandShiftIntensityd("image", 0.1, prob=1),
            t.RandAdjustContrastd("image", prob=0.3, gamma=(0.67, 1.5)),
            t.RandGaussianNoised("image", prob=0.3, std=0.2),
        ]
    items = [{"image": scan, "mask": mask[None]} for scan, mask in zip(scans, masks, strict=True)]
    cached = monai.data.CacheDataset(items, t.Compose([*steps, t.SelectItemsd(both)]), progress=False)
    sampler = torch.utils.data.RandomSampler(cached, replacement=True, num_samples=PER_EPOCH)
    return monai.data.DataLoader(cached, batch_size=BATCH, sampler=sampler, num_workers=0)


def _plain(loader: Any) -> Iterator[dict[str, Any]]:
    """Yield batches without metadata, which slow down every operation: the quickest that MONAI can be."""
    monai = engines.load_framework("monai")
    monai.data.set_track_meta(False)
    try:
        yield from loader
    finally:
        monai.data.set_track_meta(True)


def _network(patch: list[int]) -> Any:
    from medical import segmenter_networks

    engines.load_framework("torch").manual_seed(0)
    axes = len(patch)
    strides = segmenter_networks.levels(patch, [1.0] * axes)
    return segmenter_networks.build("subpixel-unet", axes=axes, channels=1, classes=CLASSES, strides=strides, width=WIDTH)


# ---------------------------------------------------------------- sliding windows
def windows_3d(runs: int = 9) -> dict[str, Any]:
    """Go over a volume of 128 x 160 x 128 voxels in windows of 48 x 48 x 48."""
    return _windows((128, 160, 128), [48, 48, 48], runs)


def windows_2d(runs: int = 9) -> dict[str, Any]:
    """Go over a picture of 1024 x 1024 pixels in windows of 192 x 192."""
    return _windows((1024, 1024), [192, 192], runs)


def windows_alone(runs: int = 15) -> dict[str, Any]:
    """Go over both with a network that does next to nothing: what windows cost by themselves."""
    return {
        "volume": _windows((128, 160, 128), [48, 48, 48], runs, _three),
        "picture": _windows((1024, 1024), [192, 192], runs, _three),
    }


def windows_memory() -> dict[str, Any]:
    """Find the classes of 384 x 384 x 256 voxels by next to no network: by how much the peak memory of a process grows."""
    code = "from benchmarks import medical_cost; print(medical_cost.peak({!r}))"

    def peak(side: str) -> int:
        done = subprocess.run([sys.executable, "-c", code.format(side)], capture_output=True, text=True, cwd=ROOT, check=True)
        return int(json.loads(done.stdout.splitlines()[-1]))

    return {f"{side}_mib": peak(side) for side in ("ours", "theirs")}


def peak(side: str) -> int:
    """Return by how many MiB the peak memory of this process grows, by our side or theirs."""
    torch = engines.load_framework("torch")
    engines.load_framework("monai")

    def ours(image: Any) -> Any:
        from medical.sliding_window import windowed_scores

        codes = torch.empty(image.shape[1:], dtype=torch.uint8)
        for start, part in windowed_scores(_three, image, window):
            codes[start : start + part.shape[1]] = part.argmax(dim=0)
        return codes

    def theirs(image: Any) -> Any:
        return _monai_windows(_three, image, window)[0].argmax(dim=0).to(torch.uint8)

    window, find = [48, 48, 48], {"ours": ours, "theirs": theirs}[side]
    with torch.inference_mode():
        find(torch.zeros(1, *window))  # loads code
        image = torch.rand(1, 384, 384, 256)
        before = peak_memory()
        find(image)
    return round((peak_memory() - before) / 2**20)


def _three(batch: Any) -> Any:
    return engines.load_framework("torch").cat([batch, -batch, 2 * batch], dim=1)


def _windows(shape: tuple[int, ...], window: list[int], runs: int, network: Any = None) -> dict[str, Any]:
    from medical.sliding_window import windowed_scores

    torch = engines.load_framework("torch")
    net = network or _network(window).eval()
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32))

    def ours() -> Any:
        with torch.inference_mode():
            parts = windowed_scores(net, image, window, overlap=OVERLAP, batch_size=BATCH)
            return torch.cat([part for _, part in parts], dim=1)

    def theirs() -> Any:
        with torch.inference_mode():
            return _monai_windows(net, image, window)[0]

    difference = (ours() - theirs()).abs().max().item()
    return {**in_turns(ours, theirs, runs), "largest_difference": float(f"{difference:.1e}")}


def _monai_windows(network: Any, image: Any, window: list[int]) -> Any:
    inferers = engines.load_framework("monai").inferers
    options = {"overlap": OVERLAP, "mode": "gaussian", "padding_mode": "replicate"}
    return inferers.sliding_window_inference(image[None], window, BATCH, network, **options)


def _compared(ours: Callable[[], None], theirs: Callable[[], None], runs: int) -> dict[str, Any]:
    ours(), theirs()  # the first call of each loads code
    figures = in_turns(ours, theirs, runs)
    steps = EPOCHS * PER_EPOCH // BATCH
    return {**figures, "their_step_ms": round(1000 * figures["theirs_s"] / steps, 1)}


BENCHMARKS: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (
        loop,
        patches_alone,
        training,
        training_unaugmented,
        validated_training,
        windows_3d,
        windows_2d,
        windows_alone,
        windows_memory,
    )
}

if __name__ == "__main__":
    run(BENCHMARKS)
