"""Masks that do not lie on their images: by how much, and images moved to where their masks are.

Images made smaller by means and masks by picking pixels differ by up to half a pixel, as do tools that count from a pixel's
corner and from its middle. A network that sees crops turned and mirrored cannot learn that, for each time its masks lie off by
another way, and it blurs all edges instead.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["FARTHEST", "displacement", "moved", "taps"]

FARTHEST = 1.0  # pixels; what is farther off was not brought to one size in two ways, but is some other mistake
_LEAST = 0.1  # pixels that are worth moving
_SURE = 3.0  # standard errors that a displacement must have
_FEWEST, _IMAGES = 5, 48  # images that it is measured in
_SIDE = 160  # pixels a side of the part of each that is looked at
_EDGES = 20  # pixels at edges that a part must have
_REACH = 4  # pixels that masks are moved to and fro
_STEP = 0.02  # pixels
_RANK = 1e-6  # of the largest eigenvalue: less is no colour of its own, as in grey images stored as colours
_ROUNDS = 2
_BESIDE = 2  # pixels that `taps` looks at on either side
_TOGETHER = 256  # rows that are moved at once, since a large image should not be there several times


def displacement(images: Sequence[np.ndarray], masks: Sequence[np.ndarray], k: int, *, seed: int = 0) -> tuple[float, float]:
    """Return how far behind its place in the image a mask shows it: what is at `i + by` in the image is at `i` in the mask.

    Parameters
    ----------
    images : sequence of ndarray, (height, width, channels)
        All images, values 0–255.
    masks : sequence of ndarray of int, (height, width)
        Positions of classes; `k` and more are not looked at.
    k : int
        Number of classes.
    seed : int
        Of which images are looked at, and which part of them.

    Returns
    -------
    (rows, columns) : pair of float
        0 in a direction in which it is less than three standard errors, and both if they are less than a tenth of a pixel.

    Notes
    -----
    In each image classes are explained by the colour of single pixels, by least squares. Its mask's edges are moved to where that
    changes most across them, between whole pixels by a spline: the correlation of gradients [1]_. The displacement is the mean
    over the images, whose differences tell its standard error. It is measured again in images moved by what was found, as a
    spline sees edges nearer to whole pixels than they are.

    References
    ----------
    .. [1] Argyriou, Vlachos (2003), "Sub-pixel motion estimation using gradient cross-correlation",
       doi:10.1109/ISSPA.2003.1224856.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> fine = [np.kron(rng.integers(0, 2, (9, 9)), np.full((16, 16), 255)) for _ in range(8)]
    >>> images = [each.reshape(48, 3, 48, 3).mean(axis=(1, 3))[..., None] for each in fine]  # means of 3 x 3 pixels
    >>> masks = [each[2::3, 1::3] // 255 for each in fine]  # of which the last row was picked
    >>> [round(by, 1) for by in displacement(images, masks, 2)]
    [0.3, 0.0]
    """
    rng = np.random.default_rng(seed)
    pairs = [_part(images[i], masks[i], rng) for i in np.sort(rng.permutation(len(images))[:_IMAGES])]
    total = np.zeros(2)
    for _ in range(_ROUNDS):
        step = _step([(moved(image, (total[0], total[1])), mask) for image, mask in pairs], k)
        total += step
        if not step.any() or np.abs(total).max() > FARTHEST:
            break
    return (float(total[0]), float(total[1])) if np.hypot(*total) >= _LEAST else (0.0, 0.0)


def moved(image: np.ndarray, by: tuple[float, float]) -> np.ndarray:
    """Return an image that shows at `i` what was at `i + by`, as float32; what lies beyond it is as its last pixels are.

    Parameters
    ----------
    image : ndarray, (height, width, channels)
        Values 0–255.
    by : (rows, columns)
        Pixels, at most one.

    Examples
    --------
    >>> moved(np.array([[[0], [100], [200], [200]]]), (0, 1))[0, :, 0].tolist()
    [100.0, 200.0, 200.0, 200.0]
    """
    from scipy import ndimage

    found = np.empty(image.shape, np.float32)
    for start in range(0, len(image), _TOGETHER):
        first = max(0, start - _BESIDE)
        part = image[first : start + _TOGETHER + _BESIDE].astype(np.float32)
        for axis in (0, 1):
            if by[axis]:
                part = ndimage.correlate1d(part, taps(by[axis]), axis=axis, mode="nearest")
        found[start : start + _TOGETHER] = part[start - first :][:_TOGETHER].clip(0, 255)
    return found


def taps(by: float) -> np.ndarray:
    """Return the weights of the five pixels around one, whose sum is the value so many pixels on, at most one.

    They are those of cubic convolution (Keys, 1981, "Cubic convolution interpolation for digital image processing",
    doi:10.1109/TASSP.1981.1163711).

    Examples
    --------
    >>> taps(0.0).tolist(), taps(0.5).tolist()
    ([0.0, 0.0, 1.0, 0.0, 0.0], [0.0, -0.0625, 0.5625, 0.5625, -0.0625])
    """
    away = np.abs(by - np.arange(-2, 3))
    near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    return np.where(away <= 1, near, np.where(away < 2, far, 0.0))


def _part(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut out what is looked at."""
    corner = [int(rng.integers(side - _SIDE + 1)) if side > _SIDE else 0 for side in mask.shape]
    rows, columns = (slice(at, at + _SIDE) for at in corner)
    return image[rows, columns], mask[rows, columns]


def _step(pairs: list[tuple[np.ndarray, np.ndarray]], k: int) -> np.ndarray:
    """Return how far masks are off, (rows, columns), as far as that is no chance."""
    found = [_peak(surface) for image, mask in pairs if (surface := _changes(image, mask, k)) is not None]
    known = np.array([peak for peak in found if peak is not None])
    if len(known) < _FEWEST:
        return np.zeros(2)
    mean, error = known.mean(axis=0), known.std(axis=0, ddof=1) / np.sqrt(len(known))
    return np.where(np.abs(mean) > _SURE * error, mean, 0.0)


def _changes(image: np.ndarray, mask: np.ndarray, k: int) -> np.ndarray | None:
    """Return how much what colours say changes across the mask's edges, moved to each of some places; None for too few edges."""
    if (mask >= k).all():
        return None
    said = _said(image, mask, k)
    inner = np.zeros(mask.shape, dtype=bool)
    inner[_REACH : -_REACH - 1, _REACH : -_REACH - 1] = True
    moves = np.arange(-_REACH, _REACH + 1)
    total, edges = np.zeros((len(moves), len(moves))), 0
    for axis in (0, 1):
        behind = np.roll(mask, -1, axis)
        at = np.flatnonzero(inner & (mask != behind) & (mask < k) & (behind < k))[:, None, None]
        change, places = np.roll(said, -1, axis) - said, k * (at + mask.shape[1] * moves[:, None] + moves)
        total += (change.take(places + behind.take(at)) - change.take(places + mask.take(at))).sum(axis=0)
        edges += len(at)
    return total if edges >= _EDGES else None


def _said(image: np.ndarray, mask: np.ndarray, k: int) -> np.ndarray:
    """Return what the colour of each pixel says of its class, by least squares: (height, width, k)."""
    colours = image.reshape(-1, image.shape[2]) / np.float32(255)
    one, other = np.triu_indices(colours.shape[1])
    terms = np.concatenate([colours, colours[:, one] * colours[:, other]], axis=1)
    terms -= terms.mean(axis=0)
    known, classes = terms[mask.ravel() < k], mask[mask < k]
    truth = (classes[:, None] == np.arange(k)).astype(np.float32)
    weights = np.linalg.pinv(known.T @ known, rcond=_RANK, hermitian=True) @ (known.T @ (truth - truth.mean(axis=0)))
    return (terms @ weights).reshape(*mask.shape, k)


def _peak(surface: np.ndarray) -> np.ndarray | None:
    """Return where a surface over whole pixels is highest, between them by a spline; None at its ends."""
    from scipy.interpolate import RectBivariateSpline

    reach = np.arange(-_REACH, _REACH + 1)
    places = np.arange(-_REACH + 1, _REACH - 1 + _STEP / 2, _STEP)
    values = RectBivariateSpline(reach, reach, surface, kx=4, ky=4)(places, places)
    found = np.array(np.unravel_index(values.argmax(), values.shape))
    return None if (found % (len(places) - 1) == 0).any() else places[found]
