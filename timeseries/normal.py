"""What of a training series is normal: all rows but those that stand out from the rest."""

from collections.abc import Sequence

import numpy as np

from pipelines.metrics.events import runs

from . import overlap
from .scoring import Scorer, step

__all__ = ["normal_part"]

_STRANGE = 6.0  # times what nine tenths of the training rows stay below, each by its least strange window: not normal


def normal_part(
    series: Sequence[np.ndarray], least: Sequence[np.ndarray], scorer: Scorer
) -> tuple[list[np.ndarray] | None, str | None]:
    """Return what is left of series without the rows that stand out of them.

    Parameters
    ----------
    series : sequence of ndarray, (T, C)
        The training series.
    least : sequence of ndarray, (T,)
        What the least strange window says of each row.
    scorer : Scorer
        What said so.

    Returns
    -------
    pieces : list of ndarray, (t, C), or None
        None where no row stands out, or too little would be left to learn from.
    note : str or None
        What was done, and why; None where no row stands out.

    Examples
    --------
    >>> from .views import Reconstruction
    >>> scorer = Scorer({"zero": Reconstruction(lambda windows: windows * 0, 2)}, online=False)
    >>> series = np.where(np.arange(50) == 20, 30.0, 1.0)[:, None]
    >>> least = [scorer.least(looked) for looked in scorer.settle([series])]
    >>> pieces, note = normal_part([series], least, scorer)
    >>> [len(piece) for piece in pieces], note
    ([19, 28], '3 rows of the training series (6.0%) stand out from the rest and were left out of the fit.')
    """
    limit = _STRANGE * float(np.nanquantile(np.concatenate(least), 0.9))
    reach, longest = (max(map(rows, scorer.views.values())) for rows in (step, lambda view: view.window))
    strange = [overlap.widened(np.nan_to_num(each) > limit, reach) for each in least]  # its edges are hardly strange
    count, rows = int(np.concatenate(strange).sum()), sum(map(len, series))
    if not count:
        return None, None
    pieces = [
        values[start:stop]
        for values, odd in zip(series, strange, strict=True)
        for start, stop in zip(*runs(~odd), strict=True)
        if stop - start > longest
    ]
    left = sum(map(len, pieces))
    stand = f"{count} rows of the training series ({count / rows:.1%}) stand out from the rest"
    if left < max(rows / 2, 3 * longest):
        return None, f"{stand}, but stayed in the fit: without them, too little would be left to learn from."
    short = f", with {rows - left - count} between them" if rows - left > count else ""
    return pieces, f"{stand} and were left out of the fit{short}."
