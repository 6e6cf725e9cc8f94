"""Where in a scan the network looked: heat maps on the scan's own grid, with a check that they mean something."""

import copy
import dataclasses
import functools
import importlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import checks, store
from pipelines.engines import load_framework
from pipelines.errors import ParameterError

from . import classifier_input, classifier_networks, nifti, volumes
from .grids import Volume, affine_of

__all__ = ["Explanation", "explain", "picture"]

METHODS = ("grad-cam", "occlusion")
_HOTTEST = 0.1  # share of the voxels that is blurred away to test a map
_SHIFTS = 8  # other places where as much is blurred away
_BLUR = 0.15  # of a side, the deviation of the blur
_BOXES = 8  # along a side, that occlusion covers one after the other


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What in one scan speaks for a label.

    Parameters
    ----------
    heat : ndarray
        From 0 to 1 in the shape of the scan, 1 where most speaks for the label; all 0 where nothing does.
    label : str, int or bool
        What is explained.
    probability : float
        The label's, as `predict_proba` has it.
    prediction : str, int, bool or tuple
        What `predict` says of the scan; of several labels those that are present.
    method : str
        "grad-cam" or "occlusion".
    drop : float
        How far the probability falls when the hottest tenth of what the network sees is blurred away.
    random_drop : float
        The same for as much at other places, on average: a map that means something has a `drop` clearly above it.
    scan : Volume
        The scan, with its geometry.

    Examples
    --------
    >>> scan = Volume(np.eye(4), np.eye(4), "2d", placed=False)
    >>> Explanation(np.eye(4), "finding", 0.9, "finding", "grad-cam", 0.4, 0.1, scan)
    Explanation(finding, probability 0.900, grad-cam, drop 0.400, elsewhere 0.100)
    """

    heat: np.ndarray
    label: Any
    probability: float
    prediction: Any
    method: str
    drop: float
    random_drop: float
    scan: Volume

    @property
    def faithful(self) -> bool:
        """Whether what is hot counts for more than other places do."""
        return self.drop > self.random_drop

    def __repr__(self) -> str:
        return (
            f"Explanation({self.label}, probability {self.probability:.3f}, {self.method}, drop {self.drop:.3f}, "
            f"elsewhere {self.random_drop:.3f})"
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the heat map.

        Parameters
        ----------
        path : path
            `.png`: the scan with the heat laid over it, of a volume the slice along the last axis with most of it. `.nii.gz` or
            `.nii`: the heat on the grid of the scan, to be laid over it in a viewer.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        DataError
            If it cannot be written.
        ParameterError
            If the ending is another.
        """
        target = Path(path)
        store.write_bytes(target, self._encoded(target))
        return target

    def _encoded(self, target: Path) -> bytes:
        name = target.name.lower()
        if name.endswith((".nii", ".nii.gz")):
            return nifti.encode(self.scan.with_array(self.heat.astype(np.float32)), packed=name.endswith(".gz"))
        if name.endswith(".png"):
            return _overlaid(self.scan, self.heat)
        raise ParameterError(f"path={str(target)!r} has no ending a heat map can be written as. Expected .png, .nii.gz or .nii.")


def explain(pipeline: Any, X: Any, method: str = "grad-cam", target: Any = None) -> list[Explanation]:
    """Show where in each scan the network looked.

    Grad-CAM [1]_ weights the last layer that knows where things are by the gradients of the label's score; occlusion [2]_ covers
    one part of the scan after the other and sees how far the label's log-odds fall. Both are MONAI's. The network is not touched:
    a copy of it is looked into.

    Parameters
    ----------
    pipeline : ScanClassifier
        A fitted one.
    X : sequence
        Scans.
    method : str
        "grad-cam" or "occlusion".
    target : label, optional
        What to explain for all of them; by default each scan's most probable label.

    Returns
    -------
    list of Explanation

    Raises
    ------
    DataError
        If a scan cannot be used; it is named.
    ParameterError
        If there is no such method or label, or a transformer is asked for Grad-CAM.

    References
    ----------
    .. [1] Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra (2017), "Grad-CAM: Visual Explanations from Deep Networks via
       Gradient-based Localization", ICCV, arXiv:1610.02391.
    .. [2] Zeiler, Fergus (2014), "Visualizing and Understanding Convolutional Networks", ECCV, arXiv:1311.2901.
    """
    checks.choice("method", method, METHODS)
    code = None if target is None else checks.target_code(pipeline.classes_, target)
    look = _Looker(pipeline, method)
    return [look.at(classifier_input.one(X, i, pipeline.plan_), code) for i in range(len(X))]


def picture(pipeline: Any, scan: np.ndarray) -> bytes:
    """Return a PNG of a scan `(channels, …)` as the network sees it, with the heat of its likeliest label where that is quick."""
    axes = scan.ndim - 1
    spacing = pipeline.plan_["spacing"] or [1.0] * axes
    values = np.moveaxis(scan, 0, -1)
    array = values[..., 0] if len(scan) == 1 else values
    shown = Volume(array, affine_of(spacing), pipeline.kind_, placed=bool(pipeline.plan_["orientation"]))
    layer = classifier_networks.NETWORKS[pipeline.plan_["network"]].layer
    heat = _Looker(pipeline, "grad-cam").heat(scan[None], None) if layer else np.zeros(scan.shape[1:])
    return _overlaid(shown, heat)


class _Looker:
    """Looks into a copy of a pipeline's network, on the device it is on."""

    def __init__(self, pipeline: Any, method: str) -> None:
        self.torch: Any = load_framework("torch", extra="medical")
        load_framework("monai", extra="medical")
        self.visualize: Any = importlib.import_module("monai.visualize")
        self.pipeline, self.method = pipeline, method
        self.layer = classifier_networks.NETWORKS[pipeline.plan_["network"]].layer
        if method == "grad-cam" and not self.layer:
            raise ParameterError("method='grad-cam' is for convolutional networks, and a transformer is none. Use 'occlusion'.")
        self.network = copy.deepcopy(pipeline.model_).eval()
        self.place = next(self.network.parameters()).device

    def at(self, scan: Volume, code: int | None) -> Explanation:
        pipeline = self.pipeline
        fitted = classifier_input.fitted(scan, pipeline.plan_)
        seen = np.moveaxis(fitted.array.reshape(*fitted.shape, -1), -1, 0)[None].astype(np.float32)
        proba = self.proba(seen)[0]
        code = int(proba.argmax()) if code is None else code
        heat = self.heat(seen, code)
        drop, elsewhere = self._drops(seen, heat, code)
        back = volumes.on_grid(dataclasses.replace(fitted, array=heat), scan).array.clip(0, 1)
        said = pipeline.decide(proba[None])[0]
        labels = pipeline.classes_.tolist()
        present = tuple(name for name, there in zip(labels, np.atleast_1d(said), strict=False) if there)
        prediction = present if pipeline.multilabel_ else said.item()
        return Explanation(back, labels[code], float(proba[code]), prediction, self.method, drop, elsewhere, scan)

    def proba(self, seen: np.ndarray) -> np.ndarray:
        with self.torch.no_grad():
            return self.pipeline._proba(self.network(self._tensor(seen)).cpu().numpy())

    def heat(self, seen: np.ndarray, code: int | None) -> np.ndarray:
        """Return the heat of a scan `(1, channels, …)`, from 0 to 1, on the grid the network sees."""
        code = int(self.proba(seen)[0].argmax()) if code is None else code
        found = np.maximum(self._cam(seen, code) if self.method == "grad-cam" else self._occluded(seen, code), 0)
        return found / found.max() if found.max() > 0 else found

    def _tensor(self, seen: np.ndarray) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(seen, dtype=np.float32)).to(self.place)

    def _cam(self, seen: np.ndarray, code: int) -> np.ndarray:
        cam = self.visualize.GradCAM(copy.deepcopy(self.network), self.layer, postprocessing=lambda found: found)
        return cam(self._tensor(seen).requires_grad_(), class_idx=code).detach().cpu().numpy()[0, 0]

    def _occluded(self, seen: np.ndarray, code: int) -> np.ndarray:
        """Return how far the label's log-odds fall where a box is covered, the mean over the boxes that cover a voxel.

        The probability itself hardly moves where the network is sure.
        """
        box = [max(1, -(-side // _BOXES)) for side in seen.shape[2:]]
        look = self.visualize.OcclusionSensitivity(
            self.network,
            box,
            n_batch=16,
            verbose=False,
            mode="mean_img",
            overlap=0.5,
            activate=functools.partial(self._odds, code),
        )
        with self.torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using a non-tuple sequence")  # of MONAI 1.6, which PyTorch 2.13 still takes
            covered = np.asarray(look(self._tensor(seen))[0].cpu())[0, 0]
            whole = float(self._odds(code, self.network(self._tensor(seen)))[0, 0])
        return whole - covered

    def _odds(self, code: int, scores: Any) -> Any:
        """Return the log-odds of a label, (n, 1)."""
        one = scores[:, [code]] / self.pipeline.temperature_
        if self.pipeline.multilabel_:
            return one
        others = [k for k in range(scores.shape[1]) if k != code]
        return one - self.torch.logsumexp(scores[:, others] / self.pipeline.temperature_, dim=1, keepdim=True)

    def _drops(self, seen: np.ndarray, heat: np.ndarray, code: int) -> tuple[float, float]:
        """Blur the hottest tenth away, and as much of the same form at other places; return how far the probability falls."""
        from scipy import ndimage  # comes with scikit-learn; here, since `import medical` does without it

        if not heat.any():
            return 0.0, 0.0
        blurred = ndimage.gaussian_filter(seen, [0, 0, *(_BLUR * side for side in seen.shape[2:])], mode="nearest")
        hot = np.zeros(heat.size, dtype=bool)
        hot[np.argsort(-heat, axis=None, kind="stable")[: max(1, round(_HOTTEST * heat.size))]] = True
        rng = np.random.default_rng(0)
        shifts = [[0] * heat.ndim, *([int(rng.integers(1, max(2, side))) for side in heat.shape] for _ in range(_SHIFTS))]
        masks = [np.roll(hot.reshape(heat.shape), shift, axis=tuple(range(heat.ndim))) for shift in shifts]
        falls = [self.proba(seen)[0][code] - self.proba(np.where(mask, blurred, seen))[0][code] for mask in masks]
        return float(falls[0]), float(np.mean(falls[1:]))


def _overlaid(scan: Volume, heat: np.ndarray) -> bytes:
    """Return a PNG: the scan, of a volume the slice along the last axis with most heat, and the heat over it."""
    drawn: Callable[..., bytes] = importlib.import_module("pipelines.report_pictures").heat
    scan = volumes.grey(scan)
    if scan.axes == 2:
        return drawn(scan.array, heat, spacing=scan.spacing)
    scan, warm = (volumes.to_orientation(one, "LPS") for one in (scan, scan.with_array(heat)))  # as radiologists look at slices
    k = int(warm.array.sum(axis=(0, 1)).argmax()) if heat.any() else heat.shape[2] // 2
    return drawn(scan.array[:, :, k].T, warm.array[:, :, k].T, spacing=scan.spacing[1::-1])
