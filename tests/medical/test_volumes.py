"""Reading and writing scans: values and geometry exact, masks back on their grid, a sentence for everything that is no scan."""

import gzip
import io
import logging
import os
import struct
import sys
import traceback
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.testing import data_path
from PIL import Image, PngImagePlugin

from medical import files, volumes
from medical.grids import Volume
from pipelines.errors import DataError, ParameterError

from ..conftest import SHARED
from . import making
from .making import PLANTED, affine

TYPES = (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64)


def values(shape=(6, 5, 4), dtype=np.int16):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def zipped(path, data):
    path.write_bytes(gzip.compress(data))
    return path


# --- NIfTI ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_values_of_every_type_are_exact(tmp_path, dtype, ending):
    array = values(dtype=dtype)
    array.flat[0] = np.iinfo(dtype).max if array.dtype.kind in "iu" else 1e30
    nib.Nifti1Image(array, affine(oblique=True), dtype=dtype).to_filename(tmp_path / f"a.{ending}")
    volume = volumes.read(tmp_path / f"a.{ending}")
    assert np.array_equal(volume.array, array)
    assert volume.array.dtype == dtype
    assert np.allclose(volume.affine, affine(oblique=True), atol=1e-5)


def test_big_endian_and_second_version(tmp_path):
    array = values()
    image = nib.Nifti1Image(array, affine())
    nib.Nifti1Image(array, affine(), image.header.as_byteswapped(">" if sys.byteorder == "little" else "<")).to_filename(
        tmp_path / "a.nii"
    )
    nib.Nifti2Image(array, affine()).to_filename(tmp_path / "b.nii")
    for name in ("a.nii", "b.nii"):
        volume = volumes.read(tmp_path / name)
        assert np.array_equal(volume.array, array)
        assert volume.array.dtype.isnative
        assert volume.orientation == "RAS"


def test_scaled_values_are_those_of_nibabel(tmp_path):
    path = making.nifti(tmp_path / "a.nii", values(), scl_slope=0.25, scl_inter=-1024)
    volume = volumes.read(path)
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, nib.load(path).get_fdata())


@pytest.mark.parametrize("fields", [{"scl_slope": 0, "scl_inter": 5}, {"scl_slope": np.nan}, {"scl_slope": 1, "scl_inter": 0}])
def test_labels_without_scaling_stay_labels(tmp_path, fields):
    volume = volumes.read(making.nifti(tmp_path / "a.nii", values(dtype=np.uint8), **fields))
    assert volume.array.dtype == np.uint8


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 1, 1)])
def test_flat_files_are_pictures(tmp_path, shape):
    array = values(shape)
    nib.Nifti1Image(array, affine()).to_filename(tmp_path / "a.nii")
    volume = volumes.read(tmp_path / "a.nii")
    assert (volume.kind, volume.shape) == ("2d", (6, 5))
    assert np.array_equal(volume.array, array.reshape(6, 5))
    assert volume.placed


def test_a_picture_whose_third_axis_has_no_length(tmp_path):
    path = making.nifti(tmp_path / "a.nii", values((6, 5)), sform_code=0, qform_code=1, pixdim=[1, 0.5, 0.25, 0, 0, 0, 0, 0])
    assert volumes.read(path).spacing == (0.5, 0.25)


def test_a_fourth_dimension_of_one_is_none_and_of_more_is_refused(tmp_path):
    nib.Nifti1Image(values((6, 5, 4, 1)), np.eye(4)).to_filename(tmp_path / "a.nii")
    assert volumes.read(tmp_path / "a.nii").shape == (6, 5, 4)
    with pytest.raises(DataError, match=r"functional\.nii has 4 dimensions, 17 x 21 x 3 x 20: .*slicer"):
        volumes.read(Path(data_path, "functional.nii"))


def test_sform_and_qform(tmp_path):
    image = nib.Nifti1Image(values(), affine())
    image.set_qform(affine(origin=(0, 0, 0)), code=1)
    image.to_filename(tmp_path / "a.nii")
    volume = volumes.read(tmp_path / "a.nii")
    assert np.allclose(volume.affine, affine(), atol=1e-5)
    assert "sform is used" in volume.notes[0]
    image.set_sform(None, code=0)
    image.to_filename(tmp_path / "b.nii")
    volume = volumes.read(tmp_path / "b.nii")
    assert np.allclose(volume.affine, affine(origin=(0, 0, 0)), atol=1e-5)
    assert volume.notes == ()


def test_neither_form_means_not_placed(tmp_path):
    path = making.nifti(tmp_path / "a.nii", values(), sform_code=0, qform_code=0, pixdim=[0, 2, 3, 4, 0, 0, 0, 0])
    volume = volumes.read(path)
    assert (volume.placed, volume.spacing, volume.orientation) == (False, (2, 3, 4), "")
    assert "not set" in volume.notes[0]
    again = volumes.read(volumes.write_mask(volume.array, volume, tmp_path / "m.nii"))
    assert (again.placed, again.spacing) == (False, (2, 3, 4))


def test_lengths_are_brought_to_millimetres(tmp_path):
    image = nib.Nifti1Image(values(), np.diag([500.0, 500, 2000, 1]))
    image.header.set_xyzt_units("micron")
    image.to_filename(tmp_path / "a.nii")
    volume = volumes.read(tmp_path / "a.nii")
    assert np.allclose(volume.spacing, (0.5, 0.5, 2))
    assert "micron" in volume.notes[0]


def test_the_ending_does_not_matter(tmp_path):
    nib.Nifti1Image(values(), affine()).to_filename(tmp_path / "a.nii.gz")
    (tmp_path / "a.dcm").write_bytes((tmp_path / "a.nii.gz").read_bytes())
    assert volumes.read(tmp_path / "a.dcm").shape == (6, 5, 4)
    (tmp_path / "a.nii").write_bytes((tmp_path / "a.nii.gz").read_bytes())
    assert volumes.read(tmp_path / "a.nii").shape == (6, 5, 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "more than this machine's memory"),
        ({"dim": [3, 60, 50, 40, 1, 1, 1, 1]}, "cut off or damaged: 60 x 50 x 40 voxels need 240,352 bytes, but it has 592"),
        ({"dim": [3, -6, 5, 4, 1, 1, 1, 1]}, "its dimensions are"),
        ({"dim": [9, 6, 5, 4, 1, 1, 1, 1]}, "damaged NIfTI header"),
        ({"dim": [0, 6, 5, 4, 1, 1, 1, 1]}, "damaged NIfTI header"),
        ({"dim": [1, 6, 1, 1, 1, 1, 1, 1]}, "1 dimension"),
        ({"dim": [5, 2, 2, 2, 3, 5, 1, 1]}, "5 dimensions"),
        ({"datatype": 1792}, "complex numbers"),
        ({"datatype": 128}, "colours"),
        ({"datatype": 77}, "damaged NIfTI header"),
        ({"vox_offset": np.nan}, "begin at byte nan"),
        ({"vox_offset": 40}, "begin at byte 40"),
        ({"scl_slope": 1, "scl_inter": np.inf}, "damaged NIfTI header"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "NaN or infinite"),
        ({"srow_x": [0, 0, 0, 0]}, "span no space"),
        ({"sform_code": 0, "qform_code": 1, "pixdim": [1, 1, 0, 1, 0, 0, 0, 0]}, "1 x 0 x 1 mm"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [1, 1, 0, 1, 0, 0, 0, 0]}, "1 x 0 x 1 mm"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 5}, "damaged NIfTI header"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, "NaN|damaged"),
    ],
)
def test_broken_headers(tmp_path, fields, message):
    path = making.nifti(tmp_path / "a.nii", values(), **fields)
    for source in (path, zipped(tmp_path / "a.nii.gz", path.read_bytes())):
        if "592" in message and source != path:
            message = "cut off"
        with pytest.raises(DataError, match=rf"a\.nii.*({message})"):
            volumes.read(source)


def test_a_broken_qform_beside_a_good_sform_does_no_harm(tmp_path):
    path = making.nifti(tmp_path / "a.nii", values(), affine(), qform_code=1, quatern_b=5)
    assert volumes.read(path).orientation == "RAS"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers(tmp_path, bad):
    array = values(dtype=np.float32)
    array[1, 2, 3] = array[2, 2, 2] = bad
    nib.Nifti1Image(array, affine()).to_filename(tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=rf"holds {bad} at \(1, 2, 3\), and 2 such values"):
        volumes.read(tmp_path / "a.nii.gz")


def test_every_cut_gives_a_sentence(tmp_path):
    nib.Nifti1Image(values((9, 9, 9)), affine()).to_filename(tmp_path / "a.nii.gz")
    nib.Nifti1Image(values((3, 3, 3)), affine()).to_filename(tmp_path / "b.nii")
    for name in ("a.nii.gz", "b.nii"):
        data = (tmp_path / name).read_bytes()
        for end in range(1, len(data), 3):
            (tmp_path / f"cut-{name}").write_bytes(data[:end])
            with pytest.raises(DataError, match="cut-"):
                volumes.read(tmp_path / f"cut-{name}")


def test_damaged_gzip_is_found_by_its_checksum(tmp_path):
    data = bytearray(gzip.compress(making.nifti(tmp_path / "a.nii", values()).read_bytes(), 0))
    data[-30] ^= 1  # in a voxel, not in the structure of the packing
    (tmp_path / "a.nii.gz").write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged or cut off"):
        volumes.read(tmp_path / "a.nii.gz")


def test_flipped_bytes_never_raise_anything_else(tmp_path):
    data = making.nifti(tmp_path / "a.nii", values((3, 3, 3)), affine()).read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(data)
        for place in generator.integers(0, 360, 3):
            damaged[place] = generator.integers(256)
        (tmp_path / "a.nii").write_bytes(bytes(damaged))
        assert making.read_or_refused(tmp_path / "a.nii") is not None


def test_a_gzip_bomb_is_refused_before_it_goes_off(tmp_path):
    header = making.nifti(tmp_path / "a.nii", values(), dim=[3, 4000, 4000, 4000, 1, 1, 1, 1]).read_bytes()
    with pytest.raises(DataError, match=r"need|memory"):
        volumes.read(zipped(tmp_path / "a.nii.gz", header + b"\0" * 2**20))


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "jpg"])
def test_grey_pictures(tmp_path, ending):
    array = np.tile(np.arange(0, 250, 10, dtype=np.uint8), (20, 1))
    Image.fromarray(array).save(tmp_path / f"a.{ending}")
    volume = volumes.read(tmp_path / f"a.{ending}")
    assert (volume.kind, volume.shape, volume.channels, volume.placed) == ("2d", (20, 25), 1, False)
    assert np.abs(volume.array.astype(int) - array).max() <= (4 if ending == "jpg" else 0)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_kept(tmp_path, ending):
    array = np.array([[0, 300], [40000, 65535]], np.uint16)
    Image.fromarray(array).save(tmp_path / f"a.{ending}")
    volume = volumes.read(tmp_path / f"a.{ending}")
    assert np.array_equal(volume.array, array)
    assert volume.array.dtype == np.uint16


def test_colours_are_kept_and_can_be_folded(tmp_path):
    array = np.zeros((4, 5, 3), np.uint8)
    array[..., 0], array[..., 1] = 200, 100
    Image.fromarray(array).save(tmp_path / "a.png")
    volume = volumes.read(tmp_path / "a.png")
    assert np.array_equal(volume.array, array)
    grey = volumes.grey(volume)
    assert (grey.channels, grey.array.dtype) == (1, np.uint8)
    assert (grey.array == round(0.299 * 200 + 0.587 * 100)).all()
    assert volumes.grey(grey) is grey
    with pytest.raises(DataError, match="2 channels"):
        volumes.grey(volume.with_array(array[..., :2]))


def test_one_bit_pictures_are_zero_and_one(tmp_path):
    Image.fromarray(np.eye(4, dtype=bool)).save(tmp_path / "a.png")
    assert np.array_equal(volumes.read(tmp_path / "a.png").array, np.eye(4))


def test_palettes_are_colours_in_scans_and_labels_in_masks(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 90])
    image.save(tmp_path / "a.png")
    assert volumes.read(tmp_path / "a.png").array[0, 1].tolist() == [200, 0, 0]
    assert volumes.read_mask(tmp_path / "a.png").array.tolist() == [[0, 1], [2, 1]]


def test_transparency_and_turning(tmp_path):
    array = np.full((3, 4, 4), 80, np.uint8)
    array[0, 0, 3], array[1:, :, 3] = 0, 255
    Image.fromarray(array).save(tmp_path / "a.png")
    volume = volumes.read(tmp_path / "a.png")
    assert volume.array[0, 0].tolist() == [0, 0, 0]
    assert volume.array[2, 2].tolist() == [80, 80, 80]
    assert "laid on black" in " ".join(volume.notes)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(array[..., :3]).save(tmp_path / "b.png", exif=exif)
    assert volumes.read(tmp_path / "b.png").shape == (4, 3)


def test_pages_are_slices(tmp_path):
    pages = [Image.fromarray(np.full((4, 6), k, np.uint16)) for k in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    volume = volumes.read(tmp_path / "a.tif")
    assert (volume.kind, volume.shape) == ("3d", (6, 4, 3))
    assert volume.array[0, 0].tolist() == [0, 1, 2]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=[Image.new("L", (4, 4))])
    with pytest.raises(DataError, match=r"b\.tif has pages of different kinds"):
        volumes.read(tmp_path / "b.tif")
    Image.new("L", (4, 4)).save(tmp_path / "c.gif", save_all=True, append_images=[Image.new("L", (4, 4), 9)])
    with pytest.raises(DataError, match=r"c\.gif is an animation of 2 pictures"):
        volumes.read(tmp_path / "c.gif")


def test_open_pictures_are_taken():
    assert volumes.read(Image.new("L", (4, 3), 7)).array.tolist() == [[7] * 4] * 3


def test_damaged_and_huge_pictures(tmp_path, monkeypatch):
    Image.fromarray(values((40, 40), np.uint8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for end in range(1, len(data) - 16, 11):
        (tmp_path / "b.png").write_bytes(data[:end])
        with pytest.raises(DataError, match=r"b\.png"):
            volumes.read(tmp_path / "b.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="decompression bombs"):
        volumes.read(tmp_path / "a.png")


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_arrays_alone_with_spacing_and_with_an_affine():
    array = values()
    assert volumes.read(array).spacing == (1, 1, 1)
    assert "1 mm is assumed" in volumes.read(array).notes[0]
    volume = volumes.read((array, (1, 2, 3)))
    assert (volume.spacing, volume.placed) == ((1, 2, 3), False)
    volume = volumes.read({"array": array, "affine": affine(oblique=True), "modality": "MR"})
    assert np.array_equal(volume.affine, affine(oblique=True))
    assert (volume.placed, volume.modality) == (True, "MR")
    assert volumes.read({"array": array[:, :, 0], "spacing": 0.5}).spacing == (0.5, 0.5)
    assert volumes.read(volume) is volume


def test_the_third_axis_of_an_array():
    colours = values((20, 20, 3), np.uint8)
    assert volumes.read(colours).kind == "2d"
    assert volumes.read(colours, kind="3d").kind == "3d"
    assert volumes.read(colours.astype(np.int16)).kind == "3d"
    assert volumes.read(colours.astype(np.float32), kind="2d").channels == 3
    assert volumes.read(values((6, 5, 1))).kind == "2d"
    assert volumes.read(values((6, 5, 4, 1))).shape == (6, 5, 4)
    assert volumes.read_mask(colours, like=volumes.read(colours.astype(np.int16))).kind == "3d"


def test_tensors_lists_and_booleans():
    import torch

    assert volumes.read(torch.zeros(4, 3)).shape == (4, 3)
    assert volumes.read([[1, 2], [3, 4]]).array.tolist() == [[1, 2], [3, 4]]
    assert volumes.read(np.eye(3, dtype=bool)).array.dtype == np.uint8
    assert volumes.read(values().astype(">i2")).array.dtype.isnative


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((2, 2, 2, 2)), "4 dimensions"),
        (np.zeros(4), "1 dimensions"),
        (np.zeros((4, 0)), "empty"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.array([["a"]]), "<U1"),
        (np.full((3, 3), np.nan), r"nan at \(0, 0\), and 9"),
        (None, "NoneType"),
        (7, "a int"),
        ([[1, 2], [3]], "cannot be read"),
        ({"spacing": 1}, "is no scan"),
        ({"array": np.zeros((2, 2)), "space": 1}, "is no scan"),
        ((np.zeros((2, 2)), (1, 0)), "above 0"),
        ((np.zeros((2, 2)), (1, 2, 3)), "Expected 2 numbers"),
        ((np.zeros((2, 2)), "wide"), "Expected 2 numbers"),
        ({"array": np.zeros((2, 2, 2)), "affine": np.zeros((4, 4))}, "last row"),
        ({"array": np.zeros((2, 2, 2)), "affine": np.eye(4), "spacing": (1, 1, 2)}, "Give one of them"),
    ],
)
def test_what_is_no_array_of_a_scan(source, message):
    with pytest.raises(DataError, match=message):
        volumes.read(source)


def test_the_kind_that_must_be(tmp_path):
    nib.Nifti1Image(values(), affine()).to_filename(tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"a\.nii has 3 dimensions: .* Expected 2"):
        volumes.read(tmp_path / "a.nii", kind="2d")
    with pytest.raises(ParameterError, match="kind='4d'"):
        volumes.read(tmp_path / "a.nii", kind="4d")


# --- files ------------------------------------------------------------------------------------------------------------


def test_numpy_files_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", values())
    assert volumes.read(tmp_path / "a.npy").shape == (6, 5, 4)
    np.save(tmp_path / "b.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"b\.npy is no NumPy file of numbers"):
        volumes.read(tmp_path / "b.npy")
    (tmp_path / "c.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-5])
    with pytest.raises(DataError, match=r"c\.npy is no NumPy file of numbers, or cut off"):
        volumes.read(tmp_path / "c.npy")
    np.save(tmp_path / "d.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"d\.npy: The array has 1 dimensions"):
        volumes.read(tmp_path / "d.npy")
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6, 10)})
    (tmp_path / "e.npy").write_bytes(stream.getvalue())
    with pytest.raises(DataError, match=r"e\.npy"):
        volumes.read(tmp_path / "e.npy")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.nii.gz", b"", "empty file"),
        ("a.nii", b"not a scan", "no known format"),
        ("a.nii.gz", gzip.compress(b"hello", mtime=0), "gzip file with no NIfTI"),  # the test's name holds these bytes: no clock
        ("a.nii.gz", b"\x1f\x8b\x08\x00garbage", "gzip file with no NIfTI"),
        ("a.zip", b"PK\x03\x04", "a zip archive"),
        ("a.nrrd", b"NRRD0004\n", "is NRRD"),
        ("a.mha", b"ObjectType = Image\n", "is MetaImage"),
        ("a.hdr", b"\0" * 344 + b"ni1\0" + b"\0" * 200, "one half of a NIfTI pair"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "no known format"),
    ],
)
def test_files_that_are_no_scans(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{name} is (an )?.*{message}|{message}"):
        volumes.read(tmp_path / name)


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(DataError, match=r"none\.nii does not exist"):
        volumes.read(tmp_path / "none.nii")
    with pytest.raises(DataError, match="cannot be read"):
        volumes.read("a\0b.nii")
    with pytest.raises(DataError, match="empty folder"):
        volumes.read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="device or a pipe"):
        volumes.read(tmp_path / "pipe")


def test_unreadable_files(tmp_path, monkeypatch):
    path = making.nifti(tmp_path / "a.nii", values())

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "open", refuse, raising=False)  # for root, permissions mean nothing
    with pytest.raises(DataError, match=r"a\.nii may not be read by this user"):
        volumes.read(path)


def test_missing_packages_are_named(run_python):
    code = "import sys; sys.modules['nibabel'] = None\nfrom medical import volumes\nvolumes.read('{}')"
    done = run_python(code.format(Path(data_path, "anatomical.nii")))
    assert 'pip install "domain-pipelines[medical]"' in done.stderr


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, 1)])
def test_masks_go_back_onto_their_grid(tmp_path, ending, oblique, flips):
    nib.Nifti1Image(values(dtype=np.float32), affine(oblique=oblique, flips=flips)).to_filename(tmp_path / "scan.nii.gz")
    scan = volumes.read(tmp_path / "scan.nii.gz")
    labels = values(dtype=np.uint8)
    path = volumes.write_mask(labels, tmp_path / "scan.nii.gz", tmp_path / f"mask{ending}")
    image, original = nib.load(path), nib.load(tmp_path / "scan.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), labels)
    assert image.shape == original.shape
    assert np.array_equal(image.affine, original.affine)
    assert np.allclose(image.get_qform(), original.get_qform(), atol=1e-4)
    again = volumes.read_mask(path, like=scan)
    assert np.array_equal(again.array, labels)
    assert again.notes == ()


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("code", ["RAS", "LPS", "SAR"])
def test_masks_of_a_series_made_elsewhere_come_back(tmp_path, oblique, code):
    making.series(tmp_path / "s", values((8, 7, 6)), matrix=making.affine(oblique=oblique, flips=(-1, -1, 1)))
    scan = volumes.read(tmp_path / "s")
    truth = scan.with_array((scan.array > 50).astype(np.uint8))
    worked_on = volumes.to_orientation(truth, code)
    path = volumes.write_mask(volumes.on_grid(worked_on, scan, 0), tmp_path / "s", tmp_path / "mask.nii.gz")
    again = volumes.read_mask(path, like=scan)
    assert np.array_equal(again.array, truth.array)
    assert np.allclose(again.affine, scan.affine, atol=1e-4)


def test_a_leaning_grid_is_written_and_read(tmp_path):
    leaning = affine()
    leaning[1, 2] = 0.8
    scan = Volume(values(), leaning, "3d")
    again = volumes.read_mask(volumes.write_mask(values(), scan, tmp_path / "m.nii.gz"), like=scan)
    assert again.notes == ()
    assert np.array_equal(again.array, values())


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        ([0, 1], np.uint8),
        ([0, 255], np.uint8),
        ([-1, 3], np.int16),
        ([0, 256], np.int16),
        ([0, 40000], np.uint16),
        ([0, 70000], np.int32),
    ],
)
def test_labels_are_stored_in_the_smallest_type(tmp_path, labels, dtype):
    scan = volumes.read(np.zeros((2, 2)))
    array = np.array([labels, labels], np.int64)
    again = volumes.read_mask(volumes.write_mask(array, scan, tmp_path / "m.nii"), like=scan)
    assert again.array.dtype == dtype
    assert np.array_equal(again.array, array)


@pytest.mark.parametrize("high", [1, 255, 4000, 65535])
def test_masks_of_pictures_as_png(tmp_path, high):
    scan = volumes.read(values((5, 6), np.uint8))
    mask = np.zeros((5, 6), np.int32)
    mask[2, 3] = high
    again = volumes.read_mask(volumes.write_mask(mask, scan, tmp_path / "m.png"), like=scan)
    assert np.array_equal(again.array, mask)


def test_masks_are_bytes_for_bytes_the_same_and_hold_no_name(tmp_path):
    scan = volumes.read(Path(data_path, "anatomical.nii"))
    first, second = (volumes.write_mask(scan.array > 50, scan, tmp_path / f"{name}.nii.gz") for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["one.nii.gz", "two.nii.gz"]


def test_masks_that_do_not_fit(tmp_path):
    scan = Volume(values(), affine(), "3d")
    target = tmp_path / "m.nii.gz"
    with pytest.raises(DataError, match=r"shape \(6, 5\)\. Expected \(6, 5, 4\)"):
        volumes.write_mask(np.zeros((6, 5)), scan, target)
    with pytest.raises(DataError, match=r"0\.5 at \(0, 0, 0\)"):
        volumes.write_mask(np.full((6, 5, 4), 0.5), scan, target)
    with pytest.raises(DataError, match="another grid"):
        volumes.write_mask(volumes.to_orientation(scan, "LPI"), scan, target)
    with pytest.raises(DataError, match="within 32 bits"):
        volumes.write_mask(np.full((6, 5, 4), 2**40), scan, target)
    with pytest.raises(ParameterError, match=r"Expected \.nii\.gz"):
        volumes.write_mask(values(), scan, tmp_path / "m.jpg")
    with pytest.raises(ParameterError, match="3 dimensions"):
        volumes.write_mask(values(), scan, tmp_path / "m.png")
    with pytest.raises(DataError, match="PNG holds 0 to 65535"):
        volumes.write_mask(np.array([[-1]]), np.zeros((1, 1)), tmp_path / "m.png")
    with pytest.raises(DataError, match="no folder"):
        volumes.write_mask(values(), scan, tmp_path / "none" / "m.nii")
    assert os.listdir(tmp_path) == []


def test_reading_masks(tmp_path):
    scan = Volume(values(), affine(), "3d")
    nib.Nifti1Image(values(dtype=np.float32), affine()).to_filename(tmp_path / "a.nii")
    assert volumes.read_mask(tmp_path / "a.nii", like=scan).array.dtype == np.uint8
    nib.Nifti1Image(values(dtype=np.float32) + np.float32(0.25), affine()).to_filename(tmp_path / "b.nii")
    with pytest.raises(DataError, match=r"b\.nii is no mask: it holds .* 120 values in all that are not whole"):
        volumes.read_mask(tmp_path / "b.nii")
    nib.Nifti1Image(values(dtype=np.uint8), affine(origin=(0, 0, 0))).to_filename(tmp_path / "c.nii")
    with pytest.raises(
        DataError, match=r"c\.nii lies on another grid .* shape \(6, 5, 4\), affine \[0\.7 0 0 0;.*the scan has .*-20"
    ):
        volumes.read_mask(tmp_path / "c.nii", like=scan)
    with pytest.raises(DataError, match="3 channels"):
        volumes.read_mask(values((20, 20, 3), np.uint8))


# --- windows ----------------------------------------------------------------------------------------------------------


def test_windows():
    array = np.array([-32768, -160, 40, 239, 240, 32767], np.int16)
    assert np.allclose(volumes.windowed(array, 40, 400), [0, 0, 0.5, 399 / 400, 1, 1])
    assert volumes.windowed(array, 40, 400).dtype == np.float32
    assert array[0] == -32768
    for width in (0, -1, np.nan, "wide"):
        with pytest.raises(ParameterError, match="width"):
            volumes.windowed(array, 40, width)


# --- patients ---------------------------------------------------------------------------------------------------------


def test_nothing_about_the_patient_is_kept_or_told(tmp_path, caplog, capfd, recwarn):
    caplog.set_level(logging.DEBUG)
    image = nib.Nifti1Image(values(), affine())
    image.header["descrip"], image.header["db_name"], image.header["aux_file"] = (PLANTED.encode(),) * 3
    image.header["intent_name"] = PLANTED.encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", PLANTED.encode()))
    image.header.extensions.append(nib.nifti1.Nifti1DicomExtension(2, making.planted()))
    image.to_filename(tmp_path / "a.nii.gz")
    raw = gzip.decompress((tmp_path / "a.nii.gz").read_bytes())
    (tmp_path / "cut.nii").write_bytes(raw[:-7])
    (tmp_path / "bad.nii").write_bytes(raw[:40] + struct.pack("<h", 99) + raw[42:])
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", PLANTED)
    Image.new("L", (30, 30)).save(tmp_path / "a.png", pnginfo=text)
    Image.new("L", (30, 30)).save(tmp_path / "a.tif", description=PLANTED)
    Image.new("L", (30, 30)).save(tmp_path / "a.jpg", comment=PLANTED.encode())
    caplog.clear()  # Pillow told what it wrote
    told = []
    for name in ("a.nii.gz", "a.png", "a.tif", "a.jpg"):
        volume = volumes.read(tmp_path / name)
        assert PLANTED.encode() in (raw if name == "a.nii.gz" else (tmp_path / name).read_bytes())
        told += [repr(volume), repr(vars(volume))]
        told.append(volumes.write_mask(np.zeros(volume.shape, bool), volume, tmp_path / "m.nii").read_bytes().decode("latin1"))
        (tmp_path / f"cut-{name}").write_bytes((tmp_path / name).read_bytes()[:-20])
    for name in ("cut.nii", "bad.nii", "cut-a.nii.gz", "cut-a.png", "cut-a.tif", "cut-a.jpg"):
        try:
            volumes.read(tmp_path / name)
        except DataError:
            told.append(traceback.format_exc())
    told += [caplog.text, *capfd.readouterr(), *(str(w.message) for w in recwarn)]
    assert len(told) > 14
    assert PLANTED not in "\n".join(told)


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["anatomical.nii", "standard.nii.gz", "reoriented_anat_moved.nii"])
def test_files_of_nibabel(name):
    image, volume = nib.load(Path(data_path, name)), volumes.read(Path(data_path, name))
    assert np.array_equal(volume.array, image.get_fdata())
    assert np.allclose(volume.affine, image.affine)
    assert volume.orientation == "".join(nib.aff2axcodes(image.affine))


def test_the_template_of_nilearn():
    datasets = pytest.importorskip("nilearn.datasets", reason="nilearn, which brings the MNI template, is not installed")
    folder = Path(datasets.__file__).parent / "data"
    found = sorted(folder.glob("mni_icbm152_*_converted.nii.gz"))
    scans = [volumes.read(path) for path in found]
    assert len(scans) == 3
    assert all(volumes.same_grid(scan, scans[0]) for scan in scans)
    assert (scans[0].shape, scans[0].orientation) == ((197, 233, 189), "RAS")


@pytest.mark.shared_data
def test_hippocampi_come_back_from_any_grid(tmp_path):
    folder = SHARED / "medical" / "hippocampus_mri"
    for path in sorted((folder / "images").iterdir()):
        scan = volumes.read(path)
        mask = volumes.read_mask(folder / "labels" / path.name, like=scan)
        assert set(np.unique(mask.array)) == {0, 1, 2}
        worked_on = volumes.resampled(volumes.to_orientation(mask, "SPL"), 0.5, 0)
        written = volumes.write_mask(volumes.on_grid(worked_on, mask, 0), path, tmp_path / "m.nii.gz")
        image, original = nib.load(written), nib.load(path)
        assert np.array_equal(np.asarray(image.dataobj), mask.array)
        assert np.array_equal(image.affine, original.affine)


@pytest.mark.shared_data
def test_the_abdomen_and_its_labels_lie_on_one_grid():
    folder = SHARED / "medical" / "ct_abdomen"
    scan = volumes.read(folder / "ct.nii.gz")
    mask = volumes.read_mask(folder / "ct_labels.nii.gz", like=scan)
    assert mask.array.dtype == np.uint8
    assert scan.array.min() >= -1100
    back = volumes.on_grid(volumes.resampled(scan, 1.5), scan)
    assert np.abs(back.array - scan.array).mean() < 0.1 * scan.array.std()
