"""A segmentation network while it learns: patches in training, whole scans by sliding windows when it is judged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.tasks.segmentation import counted

from .averaging import Averaged
from .sliding_window import windowed_scores

torch: Any = load_framework("torch")

__all__ = ["Trainee"]

_DECAY = 0.995  # of the average of weights: some two hundred steps


class Trainee(Averaged):
    """A segmentation network while it learns, beside the running average of its weights.

    In training it returns scores of patches beside their masks, which `loss` takes; in evaluation the counts of each whole scan,
    see `pipelines.tasks.segmentation.counted`, by the average.

    Parameters
    ----------
    network : torch.nn.Module
        Takes patches, returns scores; it is trained.
    patch : sequence of int
        Voxels along each axis.
    classes : int
        Background included.

    Examples
    --------
    >>> trainee = Trainee(torch.nn.Conv2d(1, 2, 1), [4, 4], 2).eval()
    >>> trainee({"image": torch.zeros(1, 1, 6, 6), "mask": torch.zeros(1, 6, 6)}).shape
    torch.Size([1, 2, 3])
    """

    def __init__(self, network: Any, patch: Sequence[int], classes: int) -> None:
        super().__init__(network, _DECAY)
        self.patch, self.classes = list(patch), classes
        monai = load_framework("monai")
        # over the batch, so that a structure that a patch lacks counts as little as it should
        self.criterion = monai.losses.DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)

    def forward(self, inputs: dict[str, Any]) -> Any:
        """Return scores and masks of patches; or the counts of whole scans."""
        if self.training:
            return super().forward(inputs["image"]), inputs["mask"]
        return torch.stack([self._judged(*pair) for pair in zip(inputs["image"], inputs["mask"], strict=True)])

    def loss(self, outputs: Any, _: Any) -> Any:
        """Return Dice loss and cross-entropy, in equal parts."""
        scores, masks = outputs
        return self.criterion(scores, masks[:, None])

    def _judged(self, image: Any, mask: Any) -> Any:
        slabs = [part.argmax(dim=0) for _, part in windowed_scores(self.average, image, self.patch)]
        said = torch.cat(slabs).cpu().numpy().astype(np.int64)
        return torch.from_numpy(counted(mask.cpu().numpy(), said, self.classes))
