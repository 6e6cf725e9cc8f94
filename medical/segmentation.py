"""`ScanSegmenter`: from scans and masks to masks on the original grid, and a report on them."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pipelines import checks, data
from pipelines.base import Pipeline
from pipelines.engines.memory import freed_memory_kept
from pipelines.errors import DataError, ParameterError
from pipelines.progress import Progress, say
from pipelines.tasks import SegmenterMixin
from pipelines.tasks.segmentation import Each, mask_files

from . import files, intensities, scans, segmenter_memory, simple_segmenters, volumes
from .grids import Volume
from .notes import RESEARCH
from .scratch import Arrays, Scratch
from .segmentation_plan import Facts, patch_for, spacing_for
from .segmenter_networks import NETWORKS, multiple

__all__ = ["ScanSegmenter"]

_AUGMENT = ("auto", "none", "flip")
_KEPT = 2 * 2**30  # bytes of scans that are kept in memory as they were read, if the machine has four times as much
_SHARE = 4  # of the machine's memory, one part in so many for scans as the plan has them, and for the maps of a prediction
_LARGE = 2**30  # bytes of a prediction that is said to be large
_LEVELS = 6  # the most that a network whose weights are given is looked for with
_TUNED = 0.2  # share of the learning rate where weights are given
_PER_EPOCH = 64  # patches an epoch
_EPOCHS = 80


class ScanSegmenter(SegmenterMixin, Pipeline):
    """Segment medical scans with a U-Net and its relatives, in 2-D or 3-D, trained from few scans.

    Parameters
    ----------
    network : str
        `"subpixel-unet"`, `"unet"`, `"dynunet"`, `"segresnet"`, `"attention-unet"` or `"swin-unetr"`, all of them MONAI's; the
        first is a U-Net with a quicker end, see `medical.segmenter_networks.build`. `"auto"` takes that of the saved pipeline in
        `weights`, otherwise the first.
    weights : str, optional
        Where to start from: None (from scratch), the folder of a saved `ScanSegmenter`, a file of weights of the same network
        (`.safetensors`, `.pt`, `.pth`), or the folder of a MONAI bundle. What matches by name and shape is taken, the last layer
        only where the classes are as many; the network gets as many levels as the weights have. Nothing in a file is run.
    classes : dict, optional
        Names and numbers of the structures, such as `{"liver": 1, "tumour": 2}`; masks with others are refused. By default the
        numbers in the training masks.
    spacing : float or list of float, optional
        Millimetres to which all scans are brought; by default the median of the training scans.
    patch : list of int, optional
        Voxels that the network sees at once; by default chosen by size and spacing of the scans.
    intensity : str
        `"window"`, `"range"`, `"z-score"` or `"auto"`, see `medical.intensities.learn`.
    augment : str
        `"auto"` turns, scales, bends and changes the light a little; `"flip"` also turns scans round, left and right included;
        `"none"`.
    width : int
        Filters of the first level; each level has twice as many as the one before.
    test_flips : bool
        Also predict scans turned round along each axis, and take the mean: four or eight times the work.
    largest_only : bool
        Keep of each structure the largest connected piece alone.
    epochs : int, optional
        Rounds of 64 patches; None takes 80.
    batch_size : int
        Patches a step.
    lr : float
        Highest learning rate. With `weights` it is a fifth of that.
    seed : int
        Of everything random; the same seed gives the same model on a CPU.
    device : str
        `"auto"`, `"cpu"`, `"gpu"` or `"gpu:1"`.
    verbose : int
        0 writes nothing.

    Attributes
    ----------
    plan_ : dict
        What was found out about the scans, and decided: network, kind, channels, spacing, patch, strides, intensity.
    labels_, classes_ : ndarray
        The numbers that masks hold, 0 among them, and their names.
    atlas_ : ndarray, (k, …)
        Share of the training masks that have each class at each place of a coarse grid: the baseline "mean shape".
    otsu_ : dict
        Whether structures are brighter than Otsu's threshold [2]_, and which is the most frequent: the baseline of that name.
    history_ : list of dict
        One record an epoch, with the Dice of the validation part.

    Notes
    -----
    Samples are whatever `medical.volumes.read` takes: NIfTI, DICOM files and series, pictures, arrays with their spacing. Masks
    are read likewise, and must lie on the grid of their scan. The plan follows nnU-Net [1]_, for minutes on a processor.

    Scans as the plan has them, and the maps of classes in a prediction, may take a quarter of the memory each. What is more goes
    to a temporary folder (its place is set by the environment variable TMPDIR) that others may not read, and that is removed
    afterwards; results are the same to the last digit.

    References
    ----------
    .. [1] Isensee, Jaeger, Kohl, Petersen, Maier-Hein (2021), "nnU-Net: a self-configuring method for deep learning-based
       biomedical image segmentation", Nature Methods 18, doi:10.1038/s41592-020-01008-z.
    .. [2] Otsu (1979), "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man, and
       Cybernetics 9(1), doi:10.1109/TSMC.1979.4310076.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> masks = [np.pad(np.ones((8, 8), np.uint8), ((at, 16 - at), (8, 8))) for at in (2, 5, 8, 11)]
    >>> X = [mask + rng.normal(0, 0.1, mask.shape) for mask in masks]
    >>> model = ScanSegmenter(epochs=1, width=8, verbose=0).fit(X, masks, valid=0.0)
    >>> model.predict(X)[0].shape
    (24, 24)
    """

    task: ClassVar[str] = "scan-segmentation"
    engine: ClassVar[str] = "torch"
    reader: ClassVar[str] = "masked-scans"

    plan_: dict[str, Any]

    def __init__(
        self,
        *,
        network: str = "auto",
        weights: str | None = None,
        classes: dict[str, int] | None = None,
        spacing: float | list[float] | None = None,
        patch: list[int] | None = None,
        intensity: str = "auto",
        augment: str = "auto",
        width: int = 16,
        test_flips: bool = False,
        largest_only: bool = False,
        epochs: int | None = None,
        batch_size: int = 2,
        lr: float = 3e-3,
        seed: int = 0,
        device: str = "auto",
        verbose: int = 1,
    ) -> None:
        self.network = network
        self.weights = weights
        self.classes = classes
        self.spacing = spacing
        self.patch = patch
        self.intensity = intensity
        self.augment = augment
        self.width = width
        self.test_flips = test_flips
        self.largest_only = largest_only
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """Predict probabilities.

        Parameters
        ----------
        X : sequence
            Scans.

        Returns
        -------
        list of ndarray, (…, k)
            For each scan, on its own grid, one channel a class in the order of `classes_`, last; float32, they sum to one.
        """
        self._ready()
        X = self._inspect(self._samples(X)[0])
        return [self._predicted(scan, _probabilities, proba=True) for scan in scans.each(X, self.plan_["kind"])]

    def save_masks(self, X: Any, folder: str | os.PathLike[str]) -> list[Path]:
        """Predict masks, and write each on the grid of its scan.

        Parameters
        ----------
        X : sequence of paths
            Scans.
        folder : path
            Where to; it is made if it is not there. Files are named after the scans, `.nii.gz` for volumes and `.png` for
            pictures.

        Returns
        -------
        list of Path
            The files, in the order of `X`.

        Raises
        ------
        DataError
            If two scans have one name, or a file cannot be written.
        """
        self._ready()
        X, _ = self._samples(X)
        ending = ".png" if self.plan_["kind"] == "2d" else ".nii.gz"
        instead = "Use predict, and volumes.write_mask."
        files = mask_files(X, Path(folder), lambda path: path.name.split(".")[0] + ending, instead)
        Path(folder).mkdir(parents=True, exist_ok=True)
        for scan, mask, file in zip(X, self.predict(X), files, strict=True):
            volumes.write_mask(mask, scan, file)
        return files

    # ---------------------------------------------------------------- reading
    def _check(self) -> None:
        super()._check()
        checks.choice("network", self.network, ("auto", *NETWORKS))
        checks.choice("intensity", self.intensity, intensities.SCHEMES)
        checks.choice("augment", self.augment, _AUGMENT)
        checks.number("width", self.width, 1, integer=True)

    def _check_use(self) -> None:
        super()._check_use()
        checks.choice("test_flips", self.test_flips, (True, False))
        checks.choice("largest_only", self.largest_only, (True, False))

    def _inspect(self, X: Any, *, train: bool = False) -> Any:
        """Read every scan once; they are kept as read where there is room."""
        if train:
            first = scans.one(X, 0)
            self.plan_ = {"network": self._network(first.kind), "kind": first.kind, "channels": first.channels}
        return scans.kept(X, self._alike(X), min(_KEPT, files.memory() // _SHARE))

    def _network(self, kind: str) -> str:
        """Return the name of the network, where it is to be chosen that of the saved pipeline to start from."""
        from . import weights

        if self.weights is None:
            return NETWORKS[0] if self.network == "auto" else self.network
        found = weights.saved(self.weights, self.task)
        if found is None:
            if self.network == "auto":
                raise ParameterError(f"weights={self.weights!r} does not say which network it is for. Name it with network=…")
            weights.tensors(self.weights, self.task)  # what cannot be read is told before the scans are
            return self.network
        network, width, its_kind = str(found["plan_"]["network"]), found["width"], found["plan_"]["kind"]
        if self.network not in ("auto", network):
            raise DataError(f"{self.weights} holds the network {network!r}, but network={self.network!r} was asked for.")
        if self.width != width:
            raise ParameterError(
                f"{self.weights} holds a network of width={width}, but this is width={self.width}. Set width={width}."
            )
        if kind != its_kind:
            raise DataError(f"{self.weights} holds a network for scans of the kind {its_kind}, but these are {kind}.")
        return network

    def _alike(self, X: Any) -> Iterator[Volume]:
        """Yield the scans, each of which must have the channels of the first training scan."""
        for i, scan in enumerate(scans.each(X, self.plan_["kind"])):
            if scan.channels != self.plan_["channels"]:
                raise DataError(
                    f"Sample {i} has {scan.channels} channels, but {self.plan_['channels']} were expected, as the first training "
                    "scan has. Turn colours to grey with medical.volumes.grey, or leave the sample out."
                )
            yield scan

    def _read_mask(self, X: Any, y: Any, i: int) -> np.ndarray:
        scan = scans.one(X, i)
        mask: Volume = scans.named(y, i, lambda: volumes.read_mask(y[i], scan), "The mask of sample")
        return mask.array

    def _turned(self, scan: Volume) -> Volume:
        """Let the axes of a volume whose place in the patient is known point to the right, to the front and to the head."""
        return volumes.to_orientation(scan) if scan.placed and scan.kind == "3d" else scan

    def _prepared(self, scan: Volume) -> Volume:
        """Bring a scan to the orientation, spacing and values of the plan."""
        turned = self._turned(scan)
        turned = turned.with_array(intensities.apply(self.plan_["intensity"], turned.array))
        if np.allclose(turned.spacing, self.plan_["spacing"], rtol=0.01):
            return turned
        return volumes.resampled(turned, self.plan_["spacing"])

    def _learn(self, X: Any, y: Any) -> None:
        super()._learn(X, y)
        facts = Facts()
        for i, scan in enumerate(scans.each(X, self.plan_["kind"])):
            turned = self._turned(scan)
            facts.shapes.append(turned.shape)
            facts.spacings.append(turned.spacing)
            facts.modalities.append(scan.modality)
            facts.values.append(intensities.values(scan.array, y[i], self.seed + i))
        axes = len(facts.shapes[0])
        spacing = spacing_for(facts) if self.spacing is None else _per_axis("spacing", self.spacing, axes)
        network = self.plan_["network"]
        patch, strides = patch_for(network, facts, spacing)
        if self.weights is not None:
            strides = self._strides_of_weights(strides)
            patch = [math.ceil(side / by) * by for side, by in zip(patch, multiple(network, strides), strict=True)]
        if self.patch is not None:
            patch = _asked_patch(self.patch, network, strides, axes)
        scheme = intensities.learn(facts.values, facts.modalities, self.intensity)
        self.plan_ = {**self.plan_, "spacing": spacing, "patch": patch, "strides": strides, "intensity": scheme}
        shape = " x ".join(map(str, patch))
        self._note(f"Plan: patches of {shape} voxels of {' x '.join(f'{s:.3g}' for s in spacing)} mm, {scheme['scheme']} values.")
        self._note(RESEARCH)

    def _strides_of_weights(self, strides: list[list[int]]) -> list[list[int]]:
        """Return the strides of the saved pipeline to start from; for a file, as many levels as most of its weights fit."""
        from . import weights

        assert self.weights is not None
        found = weights.saved(self.weights, self.task)
        if found is not None:
            return [list(row) for row in found["plan_"]["strides"]]
        stored = weights.tensors(self.weights, self.task)
        longest = [*strides, *[[2] * len(strides[0])] * _LEVELS][:_LEVELS]
        depths = [strides, *(longest[:levels] for levels in range(2, _LEVELS + 1))]
        return max(depths, key=lambda rows: len(weights.matching(stored, self._built(rows).state_dict())))

    # ---------------------------------------------------------------- training
    def _build(self) -> Any:
        return self._built(self.plan_["strides"])

    def _built(self, strides: list[list[int]]) -> Any:
        from . import segmenter_networks

        return segmenter_networks.build(
            self.plan_["network"],
            axes=len(strides[0]),
            channels=self.plan_["channels"],
            classes=len(self.labels_),
            strides=strides,
            width=self.width,
        )

    def _train(self, X: Any, y: Any, valid: Any, resume: Path | None) -> list[dict[str, Any]]:
        if self.weights is not None:
            from . import weights

            self._note(weights.start(self.model_, self.weights, self.task))
        with self._scratch() as scratch:
            scanned = self._training_arrays(X, y, scratch)
            judged = None if valid is None else self._training_arrays(valid[0], valid[1], scratch)
            self.atlas_ = simple_segmenters.atlas(scanned[1], len(self.labels_))
            self.otsu_ = simple_segmenters.brightness(*scanned)
            self._tell([X] if valid is None else [X, valid[0]], scanned, judged)
            return self._trained(scanned, judged, resume, "" if resume is None else self._fingerprint(X, y))

    def _trained(
        self, scanned: tuple[Arrays, Arrays], judged: tuple[Arrays, Arrays] | None, resume: Path | None, fingerprint: str
    ) -> list[dict[str, Any]]:
        from . import patches
        from .segmenter_training import Trainee

        epochs = self.epochs or _EPOCHS
        cutter = patches.Cutter(*scanned, self.plan_["patch"], self.plan_["spacing"], augment=self.augment, seed=self.seed)
        ahead = 1 if self.device_.kind == "cpu" else 2  # on a CPU, cutting beside it makes its convolutions wait
        batches = patches.training_batches(
            cutter, epochs=epochs, per_epoch=_PER_EPOCH, batch_size=self.batch_size, seed=self.seed, workers=ahead
        )
        trainee = Trainee(self.model_, self.plan_["patch"], len(self.labels_))
        with Progress(epochs, len(batches), verbose=self.verbose) as progress:
            history = self._engine.train(
                trainee,
                batches,
                valid=None if judged is None else patches.validation_batches(*judged),
                judge=self._judge,
                loss=trainee.loss,
                epochs=epochs,
                lr=self.lr * (_TUNED if self.weights else 1),
                device=self.device_,
                on_epoch=progress.epoch,
                on_step=progress.step if progress.live else None,
                weight_decay=0.01,
                precision=self._engine.quickest_precision(self.device_.kind),
                seed=self.seed,
                resume=None if resume is None else resume / "training.npz",
                fingerprint=fingerprint,
            )
        self.model_.load_state_dict(trainee.average.state_dict())
        return history

    def _training_arrays(self, X: Any, y: Any, scratch: Scratch) -> tuple[Arrays, Arrays]:
        """Return scans `(c, *shape)` and masks `(*shape)` as the plan has them, in memory as long as there is room."""
        arrays, masks = Arrays(scratch), Arrays(scratch)
        for i, scan in enumerate(scans.each(X, self.plan_["kind"])):
            prepared = self._prepared(scan)
            arrays.append(_channels_first(prepared))
            masks.append(volumes.on_grid(scan.with_array(y[i]), prepared, order=0).array)
        return arrays, masks

    def _scratch(self) -> Scratch:
        return Scratch(files.memory() // _SHARE)

    def _tell(self, kept: list[Any], scanned: tuple[Arrays, Arrays], judged: tuple[Arrays, Arrays] | None) -> None:
        """Say what will be done and how much memory it takes, before it is done."""
        plan, k, scratch = self.plan_, len(self.labels_), scanned[0].scratch
        steps = segmenter_memory.training(self.model_, plan["channels"], k, plan["patch"], self.batch_size)
        whole = [segmenter_memory.validation(mask.shape, k, plan["patch"]) for mask in (judged[1] if judged else ())]
        read = sum(
            segmenter_memory.scan_and_mask(scan) for X in kept if isinstance(X, list) for scan in X if isinstance(scan, Volume)
        )
        where = "kept in memory" if scratch.folder is None else f"partly in {scratch.folder.name}, as the memory is too small"
        shape = " x ".join(map(str, plan["patch"]))
        say(
            f"training {plan['network']} on {len(scanned[0])} scans, {where}; patches of {shape}, {self.batch_size} at a time, "
            f"about {segmenter_memory.amount(read + scratch.held + max(steps, *whole, 0))} in all, {self.device_.name}",
            self.verbose,
        )

    def _fingerprint(self, X: Any, y: Any) -> str:
        digest = self._digest([self.plan_, self.labels_.tolist()])
        digest.update(b"".join(data.fingerprints(X)) + b"".join(data.fingerprints(y)))
        return str(digest.hexdigest())

    # ---------------------------------------------------------------- predicting
    def _infer(self, X: Any) -> Any:
        decide = _largest if self.largest_only else _codes
        return [self._predicted(scan, decide) for scan in scans.each(X, self.plan_["kind"])]

    @freed_memory_kept()
    def _predicted(
        self, scan: Volume, decide: Callable[[Volume, Iterator[np.ndarray], int], np.ndarray], proba: bool = False
    ) -> np.ndarray:
        """Return what `decide` makes of the maps of classes, on the grid of a scan."""
        with self._scratch() as scratch:
            prepared = self._prepared(scan)
            maps = Arrays(scratch, (np.zeros(prepared.shape, np.float32) for _ in self.labels_))
            self._tell_large(scan, prepared, scratch, proba)
            self._fill(maps, prepared)
            each = (volumes.on_grid(prepared.with_array(array), scan).array for array in maps)
            return decide(scan, each, len(maps))

    def _fill(self, maps: Arrays, prepared: Volume) -> None:
        """Write the probabilities of each class on the grid of the plan."""
        from pipelines.engines import load_framework

        from .sliding_window import windowed_scores

        torch = load_framework("torch")
        patch = self.plan_["patch"]
        flips = range(len(patch)) if self.test_flips else ()
        with self.device_.scope(), torch.inference_mode():
            network = self.model_.to(self.device_.name).eval()
            image = torch.from_numpy(_channels_first(prepared)).to(self.device_.name)
            for start, part in windowed_scores(network, image, patch, batch_size=self.batch_size, flips=flips):
                for k, rows in enumerate(part.softmax(dim=0).cpu().numpy()):
                    maps[k][start : start + len(rows)] = rows

    def _tell_large(self, scan: Volume, prepared: Volume, scratch: Scratch, proba: bool) -> None:
        """Say how much memory a prediction takes, where that is much, before it begins."""
        plan, k = self.plan_, len(self.labels_)
        needed = segmenter_memory.prediction(scan, prepared.shape, k, plan["patch"], maps=scratch.held, proba=proba)
        if needed + scratch.written < _LARGE:
            return
        needed += segmenter_memory.window(self.model_, plan["channels"], plan["patch"], self.batch_size)
        where = "" if scratch.folder is None else f", and {segmenter_memory.amount(scratch.written)} in {scratch.folder.name}"
        shape = " x ".join(map(str, scan.shape))
        say(f"predicting {shape} voxels, {k} classes, about {segmenter_memory.amount(needed)} in all{where}", self.verbose)

    # ---------------------------------------------------------------- report
    def _spacings(self, X: Any) -> list[tuple[float, ...]]:
        return [scan.spacing for scan in scans.each(X, self.plan_["kind"])]

    def _baseline_masks(self, X: Any) -> dict[str, Sequence[np.ndarray]]:
        def mean_shape(i: int) -> np.ndarray:
            scan = scans.one(X, i)
            turned = self._turned(scan)
            codes = simple_segmenters.from_atlas(self.atlas_, turned.shape)
            return volumes.on_grid(turned.with_array(codes), scan, order=0).array

        def otsu(i: int) -> np.ndarray:
            return simple_segmenters.from_brightness(volumes.grey(scans.one(X, i)).array, self.otsu_)

        return {
            "mean shape": Each(mean_shape, len(X)),
            "Otsu's threshold": Each(otsu, len(X)),
        }

    def _picture(self, X: Any, truth: np.ndarray, said: np.ndarray, i: int) -> bytes | None:
        """Draw the slice with the most mistakes."""
        from pipelines.report_pictures import overlay

        scan = scans.one(X, i)
        image, spacing = scan.array, scan.spacing
        if scan.kind == "3d":
            axis = max(range(3), key=lambda a: (round(spacing[a], 3), -truth.shape[a]))  # the picture is as large as can be
            others = tuple(a for a in range(3) if a != axis)
            at = int(np.argmax((truth != said).sum(axis=others)))
            image, truth, said = (np.take(array, at, axis=axis) for array in (image, truth, said))
            spacing = tuple(spacing[a] for a in others)
        return overlay(image, truth, said, names=self.classes_.tolist(), spacing=spacing)


def _channels_first(scan: Volume) -> np.ndarray:
    array = scan.array[None] if scan.array.ndim == scan.axes else np.moveaxis(scan.array, -1, 0)
    return np.ascontiguousarray(array, dtype=np.float32)


def _codes(scan: Volume, maps: Iterator[np.ndarray], k: int) -> np.ndarray:
    """Return the positions of the likeliest classes, class by class, as memory would not hold all maps at once."""
    codes = np.zeros(scan.shape, np.uint8 if k <= 256 else np.int32)
    best = next(maps).copy()
    for label, chance in enumerate(maps, 1):
        codes[chance > best] = label
        np.maximum(best, chance, out=best)
    return codes


def _largest(scan: Volume, maps: Iterator[np.ndarray], k: int) -> np.ndarray:
    """Keep of each structure its largest connected piece."""
    from scipy import ndimage

    codes = _codes(scan, maps, k)
    kept = np.zeros_like(codes)
    for label in range(1, k):
        pieces, count = ndimage.label(codes == label)
        if count:
            kept[pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])] = label
    return kept


def _probabilities(scan: Volume, maps: Iterator[np.ndarray], k: int) -> np.ndarray:
    """Return the maps, made to sum to one."""
    found = np.empty((*scan.shape, k), np.float32)
    for label, chance in enumerate(maps):
        found[..., label] = chance
    total = found.sum(axis=-1, keepdims=True)
    outside = total[..., 0] <= 0  # beyond the resampled scan, by less than a voxel
    found[outside, 0], total[outside] = 1, 1
    found /= total
    return found


def _per_axis(name: str, value: Any, axes: int) -> list[float]:
    steps = list(value) if isinstance(value, (list, tuple)) else [value] * axes
    if len(steps) != axes:
        raise ParameterError(f"{name} must be one number, or {axes}, one an axis, but received {value!r}.")
    for step in steps:
        checks.number(name, step, 1e-6)
    return [float(step) for step in steps]


def _asked_patch(patch: Sequence[int], network: str, strides: Sequence[Sequence[int]], axes: int) -> list[int]:
    from . import segmenter_networks

    if len(patch) != axes:
        raise ParameterError(f"patch must have {axes} numbers, one an axis, but received {patch!r}.")
    for side, whole in zip(patch, segmenter_networks.multiple(network, strides), strict=True):
        checks.number("patch", side, 1, integer=True)
        if side % whole:
            raise ParameterError(
                f"patch={list(patch)!r} does not fit {network!r} here: {side} is no multiple of {whole}. Take "
                f"{whole * math.ceil(side / whole)}."
            )
    if network == "swin-unetr" and max(patch) == 32:
        raise ParameterError(f"patch={list(patch)!r} is too small for 'swin-unetr', which needs 64 along one axis at least.")
    return list(patch)
