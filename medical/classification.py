"""`ScanClassifier`: from medical scans, pictures or volumes, to classes, probabilities and a report."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from pipelines import baselines, checks, data
from pipelines.base import Pipeline
from pipelines.errors import DataError, ParameterError
from pipelines.progress import Progress, say
from pipelines.report import Report
from pipelines.tasks import ClassifierMixin

from . import intensities, operating, scans
from .notes import RESEARCH
from .patients import judged

if TYPE_CHECKING:
    from .explanation import Explanation

__all__ = ["ScanClassifier"]

NETWORKS = ("auto", "small-cnn", "densenet121", "resnet10", "resnet18", "resnet50", "efficientnet-b0", "seresnet50", "vit")
AUGMENT = ("auto", "none", "flip")
_READERS = 4  # threads that read scans which do not fit into memory
_THUMBNAIL = {2: 16, 3: 8}  # longest side of what the logistic-regression baseline sees
_BASELINE_SCANS = 5000
_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 2200, 15, 60
_PATIENT = 200  # steps without a better validation loss that are always waited for: few scans are noisy
_TUNED = 0.2  # share of the learning rate where weights are given


class ScanClassifier(ClassifierMixin, Pipeline):
    """Classify medical scans, pictures or volumes, with a convolutional network or a transformer.

    For research; not a medical device.

    Parameters
    ----------
    network : str
        `"small-cnn"`, good from scratch on few or small scans, or one of MONAI's: `"densenet121"`, `"resnet10"`, `"resnet18"`,
        `"resnet50"`, `"efficientnet-b0"`, `"seresnet50"`, `"vit"`; in two or three dimensions, as the scans are. `"auto"` takes
        that of the saved pipeline in `weights`, otherwise the small one.
    weights : str, optional
        Where to start from: None (from scratch), the folder of a saved `ScanClassifier`, a file of weights of the same network
        (`.safetensors`, `.pt`, `.pth`), or the folder of a MONAI bundle. What matches by name and shape is taken, the last layer
        only where the classes are as many; nothing in a file is run.
    size : int or list of int, optional
        Voxels along each axis that scans are brought to; by default what nine in ten training scans need, pictures their median,
        up to 128 pixels or 64 voxels a side for the small network, and 224 or 96 for the others.
    spacing : float or list of float, optional
        Volumes only: millimetres from voxel to voxel along each axis; by default the training scans' median, coarser where that
        would be too many voxels.
    intensity : str
        `"window"` (CT: the same limits for all), `"range"` (the same scale for all), `"z-score"` (each scan by itself), or
        `"auto"`, see `medical.intensities.learn`.
    augment : str
        `"auto"` moves, turns and scales training scans a little, and changes contrast, brightness and noise; `"flip"` also
        mirrors them, which is never done unasked, since left and right differ; `"none"`.
    class_weight : "balanced" or dict, optional
        Weight of each class in the loss.
    epochs : int, optional
        The most epochs; training stops earlier when the validation loss no longer falls. None takes as many as make about 2,200
        steps, from 15 to 60.
    batch_size : int
        Scans a step; where so many would take more than 2 GiB, they go through the network a few at a time.
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
    classes_ : ndarray
        The labels, sorted. Of two, the second is the positive one.
    kind_ : str
        "2d" or "3d".
    plan_ : dict
        What is done to each scan, made from the training scans: `kind`, `orientation`, `spacing`, `scaled_to`, `size`,
        `channels`, `colours`, `intensity`, `network`, `batch_size`; see `medical.classifier_input.learn`.
    operating_points_ : dict
        Thresholds chosen on the validation part, one for two classes, a list for several labels: the smallest that kept a
        specificity of 0.80, 0.90 and 0.95, and that with the largest sum of sensitivity and specificity (Youden). Reports say
        what they come to; `predict` takes the likelier class. Empty without a validation part.
    model_ : torch.nn.Module
        The network; its weights are a running average over the steps of training.
    history_ : list of dict
        One record an epoch.

    Notes
    -----
    A sample is what `medical.volumes.read` takes: the path of a NIfTI, DICOM or picture file, a folder with a DICOM series, an
    array, with its spacing or affine where it has some. All samples are pictures, or all are volumes. Labels are text, whole
    numbers or booleans; a 2-D 0/1 indicator or a list of label sets means several findings a scan. Give `fit` the patients as
    `groups`, and `evaluate` as `patients`: they are kept apart, and are never saved. Volumes that say where they lie in the
    patient are turned to RAS. Grey pictures stored as colours count as grey; where some scans have colours and others none, all
    are turned to grey, with a note.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits(n_class=2)
    >>> model = ScanClassifier(epochs=4, verbose=0).fit(digits.images, digits.target)
    >>> model.predict(digits.images[:4])
    array([0, 1, 0, 1])
    """

    task: ClassVar[str] = "scan-classification"
    engine: ClassVar[str] = "torch"
    reader: ClassVar[str] = "scans"

    def __init__(
        self,
        *,
        network: str = "auto",
        weights: str | None = None,
        size: int | list[int] | None = None,
        spacing: float | list[float] | None = None,
        intensity: str = "auto",
        augment: str = "auto",
        class_weight: str | dict[str, float] | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        lr: float = 2e-3,
        seed: int = 0,
        device: str = "auto",
        verbose: int = 1,
    ) -> None:
        self.network = network
        self.weights = weights
        self.size = size
        self.spacing = spacing
        self.intensity = intensity
        self.augment = augment
        self.class_weight = class_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def evaluate(self, X: Any, y: Any = None, *, groups: Any = None, patients: Any = None) -> Report:
        """Compare predictions with the truth.

        Parameters
        ----------
        X, y : sequences
            Scans and their true labels, not used in `fit`.
        groups : sequence, DataFrame or dict, optional
            One name a sample, or several columns of such names (site, sex, age group); the report gets a row a group.
        patients : sequence, optional
            One name a sample: intervals are by patients, and none may have been among the `groups` of `fit`.

        Returns
        -------
        Report
            See `pipelines.metrics.classification`, with simple baselines and the surest mistakes.

        Raises
        ------
        DataError
            If scans or labels cannot be used, or a patient was learned from; the message names the first.
        """
        self._ready()
        return judged(self, X, y, groups, patients, operating=self.operating_points_)

    def explain(self, X: Any, method: str = "grad-cam", target: Any = None) -> "list[Explanation]":
        """Show what in each scan speaks for its label; see `medical.explanation.explain`.

        Parameters
        ----------
        X : sequence
            Scans.
        method : str
            `"grad-cam"`, or `"occlusion"`, which is slower and works for every network.
        target : label, optional
            What to explain for all of them; by default each scan's most probable label.

        Returns
        -------
        list of Explanation
            A heat map on the grid of each scan; `save("why.png")`, or `save("why.nii.gz")` beside a volume.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits(n_class=2)
        >>> model = ScanClassifier(epochs=1, verbose=0).fit(digits.images, digits.target)
        >>> model.explain(digits.images[:1])[0].heat.shape
        (8, 8)
        """
        from . import explanation

        self._ready()
        return explanation.explain(self, checks.samples(X)[0], method, target)

    # ---------------------------------------------------------------- the three a pipeline supplies
    def _build(self) -> Any:
        from . import classifier_networks as networks

        plan = self.plan_
        return networks.build(plan["network"], int(plan["kind"][0]), plan["channels"], len(self.classes_), plan["size"])

    def _batches(self, X: Any, y: np.ndarray | None = None, *, train: bool = False) -> data.Batches:
        from . import classifier_input

        size = self.plan_["batch_size"] if train else min(self.batch_size, self.plan_["batch_size"])
        workers = 1 if isinstance(X, classifier_input.Prepared) else _READERS
        read = classifier_input.Batch(X, self.plan_)
        batches = data.Batches(read, len(X), size, targets=y, seed=self.seed if train else None, workers=workers)
        batches.together = min(batches.together, 4 * self.plan_["batch_size"])
        return batches

    # ---------------------------------------------------------------- reading
    def _check(self) -> None:
        super()._check()
        checks.choice("network", self.network, NETWORKS)
        checks.choice("intensity", self.intensity, intensities.SCHEMES)
        checks.choice("augment", self.augment, AUGMENT)
        for name, value, low in (("size", self.size, 1), ("spacing", self.spacing, 1e-3)):
            for part in value if isinstance(value, (list, tuple)) else () if value is None else (value,):
                checks.number(name, part, low, 10_000, integer=name == "size")

    def _inspect(self, X: Any, *, train: bool = False) -> Any:
        from . import classifier_input

        if not train:
            return classifier_input.prepared(X, self.plan_) if hasattr(self, "plan_") else classifier_input.kept(X, self.kind_)
        self._note(RESEARCH)
        say(f"reading {len(X)} scans", self.verbose)
        self.kind_: Literal["2d", "3d"] = scans.kind_of(X)
        return classifier_input.kept(X, self.kind_)

    def _learn(self, X: Any, y: np.ndarray) -> None:
        from . import classifier_input

        super()._learn(X, y)
        self.operating_points_: dict[str, Any] = {}
        axes = int(self.kind_[0])
        if axes == 2 and self.spacing is not None:
            raise ParameterError("spacing is for volumes, but the scans are pictures. Leave it out, or choose their size.")
        self.plan_, notes = classifier_input.learn(
            X,
            self.kind_,
            self._network(),
            len(self.classes_),
            size=_one_each("size", self.size, axes),
            spacing=_one_each("spacing", self.spacing, axes),
            intensity=self.intensity,
            batch_size=self.batch_size,
            seed=self.seed,
        )
        self.notes_ += [*notes, classifier_input.described(self.plan_)]

    def _network(self) -> str:
        """Return the name of the network, where it is to be chosen that of the saved pipeline to start from."""
        from . import weights

        found = None if self.weights is None else weights.saved(self.weights, self.task)
        saved = None if found is None else str(found["plan_"]["network"])
        if self.network == "auto":
            if self.weights is not None and saved is None:
                raise ParameterError(f"weights={self.weights!r} does not say which network it is for. Name it with network=…")
            return saved or "small-cnn"
        if saved not in (None, self.network):
            raise DataError(f"{self.weights} holds the network {saved!r}, but network={self.network!r} was asked for.")
        return self.network

    # ---------------------------------------------------------------- training
    def _train(self, X: Any, y: np.ndarray, valid: Any, resume: Path | None) -> list[dict[str, Any]]:
        from pipelines.engines import losses

        from . import classifier_augmentation, classifier_input, classifier_networks, weights

        fingerprint = "" if resume is None else self._fingerprint((X, y), *([] if valid is None else [valid]))
        X = classifier_input.prepared(X, self.plan_)
        valid = None if valid is None else (classifier_input.prepared(valid[0], self.plan_), valid[1])
        self._fit_baseline(X, y)
        if self.weights is not None:
            self._note(weights.start(self.model_, self.weights, self.task))
        self._tell(X)
        augment = None if self.augment == "none" else classifier_augmentation.Augmentation(flip=self.augment == "flip")
        trained = classifier_networks.Trainee(self.model_, augment)
        batches = self._batches(X, y, train=True)
        steps = math.ceil(len(X) / self.batch_size)
        epochs = self.epochs or min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, math.ceil(_STEPS / steps)))
        by_class = self._class_weights()
        by_class = by_class if self.multilabel_ else by_class / by_class.mean()
        with Progress(epochs, len(batches), verbose=self.verbose) as progress:
            history = self._engine.train(
                trained,
                batches,
                valid=None if valid is None else self._batches(*valid),
                judge=self._judge,
                loss=losses.ClassWeightedLoss(by_class, self.multilabel_),
                epochs=epochs,
                lr=self.lr * (_TUNED if self.weights else 1),
                device=self.device_,
                on_epoch=progress.epoch,
                on_step=progress.step if progress.live else None,
                weight_decay=0.01,
                patience=max(5, epochs // 3, math.ceil(_PATIENT / steps)),
                accumulate=math.ceil(self.batch_size / batches.batch_size),
                seed=self.seed,
                resume=None if resume is None else resume / "training.npz",
                fingerprint=fingerprint,
            )
        self.model_.load_state_dict(trained.average.state_dict())
        if valid is None:
            self._note("Without a validation part no operating points were chosen.")
        else:
            self._calibrate(valid)
        return history

    def _tell(self, X: Any) -> None:
        """Say what will be done and how much memory it takes, before it is done."""
        from . import classifier_input, classifier_networks

        plan = self.plan_
        axes, kept = int(plan["kind"][0]), isinstance(X, classifier_input.Prepared)
        fixed, each = classifier_networks.bytes_needed(plan["network"], axes, plan["channels"], len(self.classes_), plan["size"])
        peak = fixed + each * plan["batch_size"] + (X.arrays.nbytes if kept else 0)
        where = "kept in memory" if kept else "too many for the memory, so that each is read anew every epoch"
        say(classifier_input.described(plan), self.verbose)
        say(
            f"training {plan['network']} on {len(X)} scans, {where}; {plan['batch_size']} at a time, "
            f"about {peak / 2**30:.1f} GiB in all, {self.device_.name}",
            self.verbose,
        )

    def _calibrate_on(self, outputs: np.ndarray, y: np.ndarray) -> None:
        super()._calibrate_on(outputs, y)
        if not self.multilabel_ and len(self.classes_) > 2:
            return
        self.operating_points_, notes = operating.choose(self._proba(outputs), y, self.classes_.tolist())
        self.notes_ += notes

    def _fingerprint(self, *parts: tuple[Any, np.ndarray]) -> str:
        """Identify parameters, scans and labels, so that a checkpoint is never continued with others."""
        return self._fingerprint_of([self.classes_.tolist(), self.plan_], *parts)

    # ---------------------------------------------------------------- baseline and pictures
    def _fit_baseline(self, X: Any, y: np.ndarray) -> None:
        """Fit a logistic regression on thumbnails, to be reported beside the network."""
        rows = np.sort(np.random.default_rng(self.seed).permutation(len(X))[:_BASELINE_SCANS])
        small = self._thumbnails(X, rows)
        self.baseline_coef_, self.baseline_intercept_ = baselines.fit_linear(
            small, y[rows], len(self.classes_), weights=self._class_weights()
        )

    def _thumbnails(self, X: Any, rows: np.ndarray) -> np.ndarray:
        """Return flat thumbnails, in portions."""
        from . import classifier_input

        read = classifier_input.Batch(X, self.plan_)
        size = [min(_THUMBNAIL[int(self.kind_[0])], side) for side in self.plan_["size"]]
        return np.concatenate([_shrunk(read(part), size) for part in np.array_split(rows, math.ceil(len(rows) / 64))])

    def _baselines(self, X: Any) -> dict[str, np.ndarray]:
        small = self._thumbnails(X, np.arange(len(X)))
        scores = baselines.linear_scores(small, self.baseline_coef_, self.baseline_intercept_)
        return {**super()._baselines(X), "logistic regression": self._proba(scores)}

    def _picture(self, X: Any, i: int) -> bytes | None:
        from . import classifier_input, explanation

        return explanation.picture(self, classifier_input.Batch(X, self.plan_)(np.array([i]))[0])


def _one_each(name: str, value: Any, axes: int) -> list[Any] | None:
    """Return one number an axis."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        return [value] * axes
    if len(value) != axes:
        raise ParameterError(f"{name}={value!r} has {len(value)} numbers, but the scans have {axes} dimensions.")
    return list(value)


def _shrunk(scans: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Average scans `(n, channels, …)` over blocks, and lay them flat."""
    for axis, count in enumerate(size, 2):
        ends = np.linspace(0, scans.shape[axis], count + 1).round().astype(int)
        sums = np.add.reduceat(scans, ends[:-1], axis=axis)
        scans = sums / np.diff(ends).reshape(-1, *[1] * (scans.ndim - axis - 1))
    return scans.reshape(len(scans), -1)
