"""A segmentation network while it learns: patches in training, whole scans by sliding windows when it is judged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.tasks.segmentation import counted

from .sliding_window import windowed_scores

torch: Any = load_framework("torch")

__all__ = ["Trainee"]


class Trainee(torch.nn.Module):
    """A network with what `pipelines.engines.torch.train` needs of it.

    In training it returns scores of patches beside their masks, which `loss` takes; in evaluation the counts of each whole scan,
    see `pipelines.tasks.segmentation.counted`.

    Parameters
    ----------
    network : torch.nn.Module
        Takes patches, returns scores.
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
        super().__init__()
        self.network, self.patch, self.classes = network, list(patch), classes
        monai = load_framework("monai")
        # over the batch, so that a structure that a patch lacks counts as little as it should
        self.criterion = monai.losses.DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)

    def forward(self, inputs: dict[str, Any]) -> Any:
        """Return scores and masks of patches; or the counts of whole scans."""
        if self.training:
            return self.network(inputs["image"]), inputs["mask"]
        return torch.stack([self._judged(*pair) for pair in zip(inputs["image"], inputs["mask"], strict=True)])

    def loss(self, outputs: Any, _: Any) -> Any:
        """Return Dice loss and cross-entropy, in equal parts."""
        scores, masks = outputs
        return self.criterion(scores, masks[:, None])

    def _judged(self, image: Any, mask: Any) -> Any:
        slabs = [part.argmax(dim=0) for _, part in windowed_scores(self.network, image, self.patch)]
        said = torch.cat(slabs).cpu().numpy().astype(np.int64)
        return torch.from_numpy(counted(mask.cpu().numpy(), said, self.classes))
