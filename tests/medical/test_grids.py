"""Grids: turning moves values and places together, the way back is exact, resampling keeps what is linear."""

import itertools

import numpy as np
import pytest
from nibabel.testing import data_path

from medical import volumes
from medical.grids import Volume, check_affine, on_grid, resampled, same_grid, to_orientation
from pipelines.errors import DataError, ParameterError

from .making import affine

CODES = [
    "".join(code)
    for order in itertools.permutations(("RL", "AP", "SI"))
    for code in itertools.product(*order)
]  # fmt: skip


def scan(shape=(5, 6, 7), matrix=None, dtype=np.int16):
    """A volume whose values are all different."""
    return Volume(np.arange(np.prod(shape)).reshape(shape).astype(dtype), affine() if matrix is None else matrix, "3d")


def linear(volume):
    """The values of a linear function of the place in the patient, in the volume's voxels."""
    indices = np.indices((*volume.shape, 1)[:3]).reshape(3, -1)
    x, y, z = (volume.affine[:3, :3] @ indices) + volume.affine[:3, 3:]
    return (0.5 * x - 2 * y + 0.25 * z + 3).reshape(volume.shape).astype(np.float32)


# --- turning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("oblique", [False, True])
def test_every_orientation_and_back(code, oblique):
    volume = scan(matrix=affine(oblique=oblique, flips=(-1, 1, -1)))
    turned = to_orientation(volume, code)
    assert turned.orientation == code
    place = np.argwhere(turned.array == volume.array[1, 2, 3])[0]
    assert np.allclose(turned.affine @ [*place, 1], volume.affine @ [1, 2, 3, 1])
    back = on_grid(turned, volume)
    assert np.array_equal(back.array, volume.array)
    assert np.array_equal(back.affine, volume.affine)
    assert back.array.dtype == volume.array.dtype
    assert turned.array.flags.c_contiguous


def test_channels_turn_with_their_voxels():
    volume = scan()
    stacked = volume.with_array(np.stack([volume.array, -volume.array], axis=-1))
    turned = to_orientation(stacked, "SLP")
    assert np.array_equal(turned.array[..., 1], -turned.array[..., 0])
    assert turned.channels == 2
    assert np.array_equal(on_grid(turned, volume).array, stacked.array)


@pytest.mark.parametrize(("code", "wanted"), [("RAS", "RSA"), ("SRA", "SRA"), ("LPI", "LIA")])
def test_pictures_keep_the_axis_across_last(code, wanted):
    coronal = np.array([[0, -0.5, 0, 3], [0, 0, 4, 1], [-0.7, 0, 0, 2], [0, 0, 0, 1.0]])  # rows to I, columns to L
    volume = Volume(np.arange(12).reshape(3, 4), coronal, "2d")
    assert volume.orientation == "ILA"
    turned = to_orientation(volume, code)
    assert turned.orientation == wanted
    place = np.argwhere(turned.array == volume.array[2, 1])[0]
    assert np.allclose(turned.affine @ [*place, 0, 1], volume.affine @ [2, 1, 0, 1])
    assert np.array_equal(on_grid(turned, volume).array, volume.array)


def test_what_is_not_placed_is_not_turned():
    volume = Volume(np.zeros((3, 4)), np.eye(4), "2d", placed=False)
    assert to_orientation(volume, "LPI") is volume


@pytest.mark.parametrize("code", ["RA", "RLS", "ras", "RAX", "RRS", None, ""])
def test_impossible_orientations(code):
    with pytest.raises(ParameterError, match="no orientation"):
        to_orientation(scan(), code)


# --- resampling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("spacing", [0.5, (1.4, 1.8, 5.0), (0.3, 2.0, 1.0)])
@pytest.mark.parametrize("oblique", [False, True])
def test_linear_functions_are_reproduced(spacing, order, oblique):
    volume = scan((16, 17, 18), affine(oblique=oblique, flips=(-1, -1, 1)))
    volume = volume.with_array(linear(volume))
    new = resampled(volume, spacing, order)
    assert np.allclose(new.spacing, np.broadcast_to(spacing, 3))
    margin = tuple(
        slice(int(np.ceil(4 * old / step)), -int(np.ceil(4 * old / step)))
        for old, step in zip(volume.spacing, new.spacing, strict=True)
    )
    assert np.allclose(new.array[margin], linear(new)[margin], atol=1e-3 if order == 1 else 0.05)


@pytest.mark.parametrize("shape", [(10, 11, 12), (7, 7, 7), (1, 5, 2)])
def test_the_middle_stays(shape):
    volume = scan(shape)
    new = resampled(volume, (1.1, 0.4, 3.3), 0)
    middles = [v.affine @ [*((np.array(v.shape) - 1) / 2), 1] for v in (volume, new)]
    assert np.allclose(*middles)
    assert np.abs(np.array(new.shape) * new.spacing - np.array(shape) * volume.spacing).max() <= 3.3


@pytest.mark.parametrize("spacing", [(0.35, 0.45, 1.25), (0.7, 0.3, 2.5)])
def test_labels_resampled_finer_come_back_exactly(spacing):
    labels = np.random.default_rng(0).integers(0, 5, (9, 8, 7)).astype(np.uint8)
    mask = Volume(labels, affine(oblique=True), "3d")
    fine = resampled(to_orientation(mask, "ASL"), np.array(spacing)[[1, 2, 0]], 0)
    back = on_grid(fine, mask, 0)
    assert np.array_equal(back.array, labels)
    assert back.array.dtype == np.uint8
    assert np.array_equal(back.affine, mask.affine)


def test_smooth_scans_come_back_nearly():
    grid = np.meshgrid(*(np.linspace(0, 3, n) for n in (20, 22, 24)), indexing="ij")
    volume = Volume(np.sin(grid[0]) * np.cos(grid[1]) + grid[2], affine(oblique=True), "3d")
    back = on_grid(resampled(volume, 1.0, 3), volume, 3)
    assert np.abs(back.array - volume.array).max() < 0.05


def test_resampling_agrees_with_nibabel():
    import nibabel as nib
    from nibabel.processing import resample_from_to  # after nibabel itself, whose optional packages it asks for

    volume = volumes.read(f"{data_path}/anatomical.nii")
    target = to_orientation(resampled(volume, (3, 2.5, 4)), "PSR")
    theirs = resample_from_to(
        nib.Nifti1Image(volume.array.astype(np.float32), volume.affine), (target.shape, target.affine), order=1
    )
    inside = tuple(slice(1, -1) for _ in range(3))
    assert np.allclose(theirs.get_fdata()[inside], target.array[inside], atol=0.05)


def test_types_of_resampled_values():
    volume = scan(dtype=np.uint16)
    assert resampled(volume, 1.0, 0).array.dtype == np.uint16
    assert resampled(volume, 1.0, 1).array.dtype == np.float32
    assert resampled(volume.with_array(volume.array > 3), 1.0, 0).array.dtype == bool
    assert resampled(volume.with_array(volume.array.astype(np.float16)), 1.0, 0).array.dtype == np.float16


def test_a_crop_returns_to_its_place_with_the_rest_filled():
    volume = scan((10, 11, 12), affine(oblique=True))
    shift = np.eye(4)
    shift[:3, 3] = (2, 3, 4)
    crop = Volume(volume.array[2:8, 3:9, 4:10], volume.affine @ shift, "3d")
    back = on_grid(crop, volume, 0, fill=-1).array
    inside = np.zeros(volume.shape, bool)
    inside[2:8, 3:9, 4:10] = True
    assert np.array_equal(back[inside], volume.array[inside])
    assert (back[~inside] == -1).all()


def test_probabilities_return_channel_by_channel():
    volume = scan((8, 8, 8), affine(flips=(-1, 1, 1)))
    maps = volume.with_array(np.stack([linear(volume), -linear(volume)], axis=-1))
    back = on_grid(resampled(maps, 0.4), volume)
    assert back.array.shape == (8, 8, 8, 2)
    assert np.allclose(back.array[2:-2, 2:-2, 2:-2, 1], -linear(volume)[2:-2, 2:-2, 2:-2], atol=0.01)


def test_pictures_are_resampled_too():
    volume = Volume(np.arange(64.0).reshape(8, 8), np.diag([0.5, 0.25, 1, 1]), "2d", placed=False)
    new = resampled(volume, (1.0, 0.25))
    assert (new.shape, new.spacing) == ((4, 8), (1.0, 0.25))
    assert np.allclose(on_grid(new, volume).array[2:-2], volume.array[2:-2])


@pytest.mark.parametrize("spacing", [0, -1, (1, 2), (1, 2, np.nan), "a", None, (1, 1, np.inf)])
def test_impossible_spacings(spacing):
    with pytest.raises(ParameterError, match=r"spacing=.* is no spacing"):
        resampled(scan(), spacing)


def test_a_spacing_that_fills_the_memory():
    with pytest.raises(DataError, match="more than this machine's memory"):
        resampled(scan(), 1e-6)


@pytest.mark.parametrize("order", [-1, 6, 1.5, True])
def test_impossible_orders(order):
    with pytest.raises(ParameterError, match="order"):
        resampled(scan(), 1.0, order)


def test_grids_that_cannot_be_compared():
    flat = Volume(np.zeros((4, 4)), np.eye(4), "2d")
    with pytest.raises(DataError, match="kind 2d"):
        on_grid(flat, scan())
    with pytest.raises(DataError, match="not placed"):
        on_grid(Volume(np.zeros((4, 4, 4)), np.eye(4), "3d", placed=False), scan())
    with pytest.raises(DataError, match="different planes"):
        on_grid(flat, Volume(np.zeros((4, 4)), affine(oblique=True), "2d"))


# --- comparing --------------------------------------------------------------------------------------------------------


def test_same_grid():
    volume = scan()
    assert same_grid(volume, scan(matrix=volume.affine + 1e-5))
    assert not same_grid(volume, scan(matrix=affine(origin=(-20, 31.6, 7.25))))
    assert not same_grid(volume, scan((5, 6, 8)))
    assert same_grid(volume, Volume(volume.array, np.eye(4), "3d", placed=False))
    slightly_turned = volume.affine.copy()
    slightly_turned[1, 0] += 0.01  # at the far corner it adds up
    assert not same_grid(volume, scan(matrix=slightly_turned))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.diag([1, 1, 0, 1]), "1 x 1 x 0 mm"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "span no space"),
        (np.full((4, 4), np.nan), "NaN or infinite"),
        (np.ones((4, 4)), "last row"),
        (np.diag([np.inf, 1, 1, 1]), "NaN or infinite"),
        (np.eye(3), r"shape \(3, 3\)"),
        ("affine", "no matrix"),
    ],
)
def test_impossible_affines(matrix, message):
    with pytest.raises(DataError, match=message):
        check_affine("scan.nii", matrix)


def test_with_array_checks_the_grid():
    with pytest.raises(DataError, match=r"Expected \(5, 6, 7\)"):
        scan().with_array(np.zeros((5, 6, 8)))


def test_a_volume_is_frozen_and_shows_no_values():
    volume = scan()
    with pytest.raises(AttributeError):
        volume.kind = "2d"
    assert repr(volume) == "Volume(3d, 5 x 6 x 7, int16, 0.7 x 0.9 x 2.5 mm, RAS)"
