"""Networks for masks: any width, and as few levels as a patch has."""

import pytest

from medical import segmenter_networks
from pipelines.engines import load_framework


# Swin UNETR takes patches of 32 or more
@pytest.mark.parametrize("name", [name for name in segmenter_networks.NETWORKS if name != "swin-unetr"])
@pytest.mark.parametrize("width", [3, 12])
def test_any_width_and_a_single_level_will_do(name, width):
    torch = load_framework("torch")
    network = segmenter_networks.build(name, axes=2, channels=1, classes=3, strides=[[2, 2]], width=width)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3, 8, 8)
