"""DICOM: values as pydicom's with rescale, slices by position, everything that is no volume named, nothing about the patient."""

import logging
import traceback
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from medical import pixels, volumes
from pipelines.errors import DataError, ParameterError

from ..conftest import SHARED
from . import making

SAMPLES = SHARED / "medical" / "dicom_samples"
TESTS = Path(pydicom.__file__).parent / "data" / "test_files"


def voxels(shape=(7, 5, 6), dtype=np.int16):
    return np.random.default_rng(0).integers(0, 1000, shape).astype(dtype)


def expected(path):
    """Pydicom's values with rescale applied, with the axes of a Volume."""
    header = pydicom.dcmread(path)
    values = pydicom.pixels.apply_modality_lut(header.pixel_array, header)
    return np.moveaxis(values, 0, 2).swapaxes(0, 1) if int(header.get("NumberOfFrames") or 1) > 1 else values


# --- one file ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # pydicom's own, of which `read` is free (see below)
@pytest.mark.parametrize(
    "name",
    [
        "CT_small", "MR_small", "MR_small_RLE", "MR_small_bigendian", "MR_small_implicit", "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless", "JPEG2000", "693_J2KI", "JPEGLSNearLossless_16", "SC_rgb_jpeg_gdcm",
        "SC_rgb_dcmtk_+eb+cy+s2", "SC_rgb_rle_16bit_2frame", "SC_ybr_full_422_uncompressed", "examples_ybr_color",
        "image_dfl", "rtdose", "rtdose_rle",
        "liver_1frame", "ExplVR_BigEnd", "examples_overlay",
    ],
)  # fmt: skip
def test_values_are_those_of_pydicom(name):
    path = get_testdata_file(f"{name}.dcm", download=False)
    volume = volumes.read(path)
    assert np.array_equal(volume.array, expected(path))
    assert volume.array.dtype.isnative


def test_no_file_of_pydicom_raises_anything_but_dataerror():
    paths = sorted(p for p in TESTS.rglob("*") if p.is_file() and "TINY_ALPHA" not in p.parts)
    assert sum(making.read_or_refused(path) for path in paths) > 80


def test_a_slice_is_a_placed_picture(tmp_path):
    pixels = voxels((4, 6, 1))[:, :, 0]
    path = making.dicom(
        tmp_path / "a.dcm", pixels, position=(10, 20, 30), SliceThickness=3, WindowCenter=[40, 80], WindowWidth=[400, 1500]
    )
    volume = volumes.read(path)
    assert np.array_equal(volume.array, pixels)
    assert (volume.kind, volume.spacing, volume.orientation, volume.modality) == ("2d", (0.5, 0.8), "PLS", "CT")
    assert volume.window == (40, 400)
    assert np.allclose(volume.affine @ [2, 3, 0, 1], [-10 - 3 * 0.8, -20 - 2 * 0.5, 30, 1])  # row 2, column 3, in RAS


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, 0, np.uint16), (1, -1024, np.int16), (1, 60000, np.int32), (2, -1024, np.float32), (0.5, 0.25, np.float32)],
)
def test_rescale_keeps_whole_numbers_whole(tmp_path, slope, intercept, dtype):
    pixels = np.array([[0, 1, 4095], [40000 if intercept < 0 and slope == 1 else 7, 2, 3]], np.uint16)
    pixels[1, 0] = min(pixels[1, 0], 32767 + 1024)
    volume = volumes.read(making.dicom(tmp_path / "a.dcm", pixels, RescaleSlope=slope, RescaleIntercept=intercept))
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array, pixels.astype(float) * slope + intercept)


def test_rescale_of_the_widest_integers_is_exact(tmp_path):
    pixels = np.array([[0, 65535]], np.uint16)
    volume = volumes.read(making.dicom(tmp_path / "a.dcm", pixels, RescaleSlope=1, RescaleIntercept=-32768))
    assert volume.array.tolist() == [[-32768, 32767]]
    assert volume.array.dtype == np.int16


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint16, 12), (np.uint8, 8), (np.int16, 16)])
def test_monochrome1_is_inverted_and_its_window_with_it(tmp_path, dtype, bits):
    pixels = np.array([[0, 1], [100, 25]], dtype)
    fields = {"RescaleSlope": 2, "RescaleIntercept": -10, "WindowCenter": 40, "WindowWidth": 20}
    plain = volumes.read(making.dicom(tmp_path / "a.dcm", pixels, bits=bits, **fields))
    inverted = volumes.read(
        making.dicom(tmp_path / "b.dcm", pixels, bits=bits, PhotometricInterpretation="MONOCHROME1", **fields)
    )
    top = -1 if dtype == np.int16 else 2**bits - 1
    assert np.array_equal(inverted.array, (top - pixels.astype(float)) * 2 - 10)
    shown = volumes.windowed(plain.array, *plain.window)
    assert np.allclose(volumes.windowed(inverted.array, *inverted.window), 1 - shown, atol=1e-4)
    assert "inverted" in inverted.notes[0]


def test_monochrome1_with_more_than_its_bits_does_not_wrap(tmp_path):
    pixels = np.array([[0, 5000]], np.uint16)
    array = volumes.read(making.dicom(tmp_path / "a.dcm", pixels, bits=12, PhotometricInterpretation="MONOCHROME1")).array
    assert array[0, 0] > array[0, 1] >= 0


def test_palettes_become_colours_and_grey_folds_them():
    path = get_testdata_file("examples_palette.dcm", download=False)
    volume = volumes.read(path)
    header = pydicom.dcmread(path)
    assert np.array_equal(volume.array, pydicom.pixels.apply_color_lut(header.pixel_array, header))
    assert volumes.grey(volume).array.shape == (350, 800)


def test_a_modality_table_is_applied(tmp_path):
    item = pydicom.Dataset()
    item.LUTDescriptor, item.ModalityLUTType, item.LUTData = [4, 0, 16], "US", [10, 20, 300, 4000]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    pixels = np.array([[0, 1], [2, 3]], np.uint8)
    volume = volumes.read(making.dicom(tmp_path / "a.dcm", pixels, ModalityLUTSequence=[item]))
    assert volume.array.tolist() == [[10, 20], [300, 4000]]


def test_pictures_without_position_say_so(tmp_path):
    pixels = voxels((4, 6, 1))[:, :, 0]
    volume = volumes.read(making.dicom(tmp_path / "a.dcm", pixels, position=None, orientation=None, spacing=None))
    assert (volume.placed, volume.orientation, volume.spacing) == (False, "", (1, 1))
    volume = volumes.read(
        making.dicom(tmp_path / "b.dcm", pixels, position=None, orientation=None, spacing=None, ImagerPixelSpacing=[0.1, 0.2])
    )
    assert volume.spacing == (0.1, 0.2)
    assert "detector" in volume.notes[0]


def test_a_file_without_preamble_and_syntax_is_read(tmp_path):
    pixels = voxels((4, 6, 1))[:, :, 0]
    whole = making.dicom(tmp_path / "a.dcm", pixels).read_bytes()
    start = whole.index(b"\x08\x00\x16\x00UI")  # behind the preamble and the meta header
    (tmp_path / "b").write_bytes(whole[start:])
    assert np.array_equal(volumes.read(tmp_path / "b").array, pixels)


# --- many frames ------------------------------------------------------------------------------------------------------


def test_enhanced_frames_are_sorted_and_rescaled_one_by_one(tmp_path):
    pixels = voxels((3, 4, 6), np.uint16)
    groups = making.functional_groups([((1, 2, 8), 1, 0), ((1, 2, 4), 2, 5), ((1, 2, 6), 0.5, 0)])
    path = making.dicom(tmp_path / "a.dcm", pixels, position=None, orientation=None, spacing=None, **groups)
    volume = volumes.read(path)
    wanted = [pixels[1].T * 2.0 + 5, pixels[2].T * 0.5, pixels[0].T]
    assert np.array_equal(volume.array, np.stack(wanted, axis=2))
    assert np.allclose(volume.affine, [[-0.8, 0, 0, -1], [0, -0.5, 0, -2], [0, 0, 2, 4], [0, 0, 0, 1]])
    assert volume.window == (40, 400)


def test_enhanced_frames_at_one_place_are_refused(tmp_path):
    groups = making.functional_groups([((0, 0, 0), 1, 0), ((0, 0, 0), 1, 0), ((0, 0, 2), 1, 0)])
    path = making.dicom(tmp_path / "a.dcm", voxels((3, 4, 6)), position=None, orientation=None, spacing=None, **groups)
    with pytest.raises(DataError, match=r"1 slices at the place of another, at 0\.00 mm \(a\.dcm, frame 1 and a\.dcm, frame 2\)"):
        volumes.read(path)


def test_frames_without_places_are_taken_in_their_order(tmp_path):
    pixels = voxels((3, 4, 6))
    volume = volumes.read(making.dicom(tmp_path / "a.dcm", pixels, position=None, orientation=None, SpacingBetweenSlices=4))
    assert np.array_equal(volume.array, pixels.transpose(2, 1, 0))
    assert (volume.placed, volume.spacing) == (False, (0.8, 0.5, 4.0))
    assert "may be moments" in volume.notes[0]


def test_a_dose_lies_where_its_offsets_say():
    path = get_testdata_file("rtdose.dcm", download=False)
    header, volume = pydicom.dcmread(path), volumes.read(path)
    x, y, z = header.ImagePositionPatient
    assert np.allclose(volume.affine @ [0, 0, 14, 1], [-x, -y, z + header.GridFrameOffsetVector[14], 1])
    assert "1e-06" in volume.notes[0]


def test_segmentations_of_several_structures_are_refused(tmp_path):
    path = making.dicom(tmp_path / "a.dcm", voxels((3, 4, 6)), SegmentSequence=[pydicom.Dataset(), pydicom.Dataset()])
    with pytest.raises(DataError, match="segmentation of 2 structures"):
        volumes.read(path)


# --- a series ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (-1, 1, 1)])
def test_series_are_sorted_by_position_and_placed(tmp_path, oblique, flips):
    array, matrix = voxels(), making.affine(oblique=oblique, flips=flips)
    making.series(tmp_path / "s", array, matrix=matrix)
    volume = volumes.read(tmp_path / "s")
    backwards = np.linalg.det(matrix[:3, :3]) < 0  # then slices sorted along their normal run the other way
    assert np.array_equal(volume.array, array[:, :, ::-1] if backwards else array)
    ends = [[0, 0, 5 if backwards else 0, 1], [6, 4, 0 if backwards else 5, 1]]
    assert np.allclose(volume.affine @ [0, 0, 0, 1], matrix @ ends[0], atol=1e-6)
    assert np.allclose(volume.affine @ [6, 4, 5, 1], matrix @ ends[1], atol=1e-6)
    assert volume.modality == "CT"


def test_a_list_of_files_is_a_series(tmp_path):
    paths = making.series(tmp_path / "s", voxels())
    assert volumes.read(paths[::-1]).shape == (7, 5, 6)


def test_slices_with_their_own_slopes(tmp_path):
    array = voxels()
    paths = making.series(tmp_path / "s", array)
    for k, path in enumerate(paths):
        header = making.reread(path)
        header.RescaleSlope, header.RescaleIntercept = k + 1, -k
        header.save_as(path)
    assert np.array_equal(volumes.read(tmp_path / "s").array, array * np.arange(1.0, 7.0) - np.arange(6.0))


@pytest.mark.parametrize(("left_out", "named"), [([2], r"5\.00"), ([1, 2, 4], r"2\.50, 5\.00, 10\.00"), ([1], r"2\.50")])
def test_missing_slices_are_named(tmp_path, left_out, named):
    paths = making.series(tmp_path / "s", voxels((4, 4, 6)), matrix=making.affine(origin=(0, 0, 0)))
    for k in left_out:
        paths[k].unlink()
    with pytest.raises(DataError, match=rf"lacks {len(left_out)} slices, at {named} mm"):
        volumes.read(tmp_path / "s")


def test_a_missing_slice_of_three_is_found(tmp_path):
    making.series(tmp_path / "s", voxels((4, 4, 3)), gaps=[0, 2, 3], matrix=making.affine(origin=(0, 0, 0)))
    with pytest.raises(DataError, match=r"lacks 1 slices, at 2\.50 mm"):
        volumes.read(tmp_path / "s")


def test_double_slices_are_named(tmp_path):
    paths = making.series(tmp_path / "s", voxels((4, 4, 4)), matrix=making.affine(origin=(0, 0, 0)))
    (tmp_path / "s" / "copy.dcm").write_bytes(paths[1].read_bytes())
    with pytest.raises(DataError, match=r"1 slices at the place of another, at 2\.50 mm \(010\.dcm and copy\.dcm\)"):
        volumes.read(tmp_path / "s")


def test_uneven_slices_are_refused(tmp_path):
    making.series(tmp_path / "s", voxels((4, 4, 5)), gaps=[0, 1, 2, 3.4, 4.4])
    with pytest.raises(DataError, match=r"uneven distances: mostly 2\.5 mm, but 3\.5 mm"):
        volumes.read(tmp_path / "s")


def test_positions_may_be_rounded(tmp_path):
    making.series(tmp_path / "s", voxels((4, 4, 5)), gaps=[0, 1.004, 1.996, 3.01, 4])
    assert volumes.read(tmp_path / "s").shape == (4, 4, 5)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"pixels": np.zeros((9, 7), np.int16)}, "size"),
        ({"orientation": (1, 0, 0, 0, 0, -1)}, "orientation"),
        ({"spacing": (0.5, 0.5)}, "spacing"),
        ({"position": None}, "whether they have a position"),
        ({"pixels": np.zeros((5, 7, 3), np.uint8)}, "colours"),
    ],
)
def test_mixed_slices_are_refused(tmp_path, fields, what):
    making.series(tmp_path / "s", voxels())
    fields = {"pixels": np.zeros((5, 7), np.int16), "position": (0, 0, 50), "spacing": (0.9, 0.7), **fields}
    if "orientation" not in fields:
        fields["orientation"] = (-1, 0, 0, 0, -1, 0)  # making.affine() is RAS
    making.dicom(tmp_path / "s" / "odd.dcm", fields.pop("pixels"), **fields)
    with pytest.raises(DataError, match=rf"differ in {what}.*odd\.dcm"):
        volumes.read(tmp_path / "s")


def test_shifted_slices_are_refused_and_a_tilted_gantry_is_told(tmp_path):
    lps = (1, 0, 0, 0, 1, 0)
    for k in range(5):
        making.dicom(tmp_path / f"{k}.dcm", voxels((4, 4, 1))[:, :, 0], position=(0, 0.6 * k, 2 * k), orientation=lps)
    volume = volumes.read(tmp_path)
    assert "16.7 degrees" in volume.notes[0]
    assert np.allclose(volume.affine[:3, 2], [0, -0.6, 2])
    making.dicom(tmp_path / "2.dcm", voxels((4, 4, 1))[:, :, 0], position=(0, 3, 4), orientation=lps)
    with pytest.raises(DataError, match="shifted against each other"):
        volumes.read(tmp_path)


def test_views_of_an_x_ray_are_no_volume(tmp_path):
    for k in range(2):
        making.dicom(tmp_path / f"{k}.dcm", voxels((4, 4, 1))[:, :, 0], position=None, orientation=None)
    with pytest.raises(DataError, match=r"2 images .* do not say where they lie .* Read them one by one"):
        volumes.read(tmp_path)


def test_several_series_are_listed_and_one_is_chosen(tmp_path):
    making.series(tmp_path / "a", voxels(), series="1.2.3")
    making.series(tmp_path / "b", voxels((7, 5, 4)), series="1.2.4", Modality="MR")
    with pytest.raises(DataError, match=r"holds 2 series.*1\.2\.3: 6 files, CT, 7 x 5 pixels; 1\.2\.4: 4 files, MR"):
        volumes.read(tmp_path)
    assert volumes.read(tmp_path, series="1.2.4").shape == (7, 5, 4)
    with pytest.raises(DataError, match=r"no series '1\.2\.5'"):
        volumes.read(tmp_path, series="1.2.5")
    with pytest.raises(ParameterError, match="folder"):
        volumes.read(np.zeros((4, 4)), series="1.2.3")


def test_what_is_no_image_is_left_out_with_a_note(tmp_path):
    making.series(tmp_path, voxels())
    making.dicom(tmp_path / "report.dcm", None, Modality="SR")
    (tmp_path / "plan.dcm").write_bytes(Path(get_testdata_file("rtplan.dcm", download=False)).read_bytes())
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / ".hidden").write_text("")
    notes = " ".join(volumes.read(tmp_path).notes)
    assert "1 files that are no DICOM" in notes
    assert "1 RTPLAN, 1 SR" in notes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "empty folder"),
        ({"a.txt": b"text"}, "holds no DICOM image. 1 files that are no DICOM were left out"),
        ({"a.dcm": b""}, "called like a DICOM file, but is none"),
        ({"a.dcm": b"\0" * 500}, "called like a DICOM file, but is none"),
    ],
)
def test_folders_without_a_series(tmp_path, files, message):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        volumes.read(tmp_path)


def test_a_series_of_one_slice_is_a_picture(tmp_path):
    making.series(tmp_path, voxels((7, 5, 1)))
    assert volumes.read(tmp_path).kind == "2d"


# --- bad files --------------------------------------------------------------------------------------------------------


def test_pixels_cut_off(tmp_path):
    data = making.dicom(tmp_path / "a.dcm", voxels((4, 6, 1))[:, :, 0]).read_bytes()
    (tmp_path / "a.dcm").write_bytes(data[:-10])
    with pytest.raises(DataError, match=r"a\.dcm .*cut off"):
        volumes.read(tmp_path / "a.dcm")


def test_every_cut_gives_a_sentence(tmp_path):
    data = making.dicom(tmp_path / "a.dcm", voxels((4, 6, 1))[:, :, 0]).read_bytes()
    for end in range(1, len(data) - 1, 7):
        (tmp_path / "a.dcm").write_bytes(data[:end])
        with pytest.raises(DataError, match=r"a\.dcm"):
            volumes.read(tmp_path / "a.dcm")


def test_flipped_bytes_never_raise_anything_else(tmp_path):
    data = making.dicom(tmp_path / "a.dcm", voxels((4, 6, 1))[:, :, 0]).read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for place in generator.integers(132, len(data), 3):
            damaged[place] = generator.integers(256)
        (tmp_path / "a.dcm").write_bytes(bytes(damaged))
        making.read_or_refused(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"PixelSpacing": [0, 0.5]}, r"size 0 x 0\.5 mm"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "damaged ImageOrientationPatient"),
        ({"ImagePositionPatient": [1, 2]}, "damaged ImagePositionPatient"),
        ({"NumberOfFrames": 2**30}, "how many frames"),
        ({"NumberOfFrames": 2**20}, "more than it has bytes"),
        ({"Rows": 65535, "Columns": 65535, "NumberOfFrames": 1000}, "more than this machine's memory"),
    ],
)
def test_broken_headers(tmp_path, fields, message):
    path = making.dicom(tmp_path / "a.dcm", voxels((4, 6, 1))[:, :, 0], **fields)
    with pytest.raises(DataError, match=message):
        volumes.read(path)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("JPGExtended", "pylibjpeg pylibjpeg-libjpeg"), ("SC_rgb_jpeg_gdcm", "python-gdcm"),
        ("MR_small_jpeg_ls_lossless", "pyjpegls"),
        ("693_J2KI", "pylibjpeg pylibjpeg-openjpeg"), ("SC_rgb_dcmtk_+eb+cr", "pillow"),
    ],
)  # fmt: skip
def test_missing_packages_are_named(name, package, monkeypatch):
    monkeypatch.setattr(pixels, "_available", lambda *_: ())
    with pytest.raises(DataError, match=rf"{name[:4]}.* is compressed as JPEG.*pip install {package}$"):
        volumes.read(get_testdata_file(f"{name}.dcm", download=False))


def test_twelve_bits_are_beyond_pillow(monkeypatch):
    monkeypatch.setattr(pixels, "_available", lambda *_: ("pillow",))
    with pytest.raises(DataError, match="pip install pylibjpeg pylibjpeg-libjpeg"):
        volumes.read(get_testdata_file("JPGExtended.dcm", download=False))


def test_films_are_refused(tmp_path):
    path = making.dicom(tmp_path / "a.dcm", voxels((4, 6, 1))[:, :, 0])
    header = making.reread(path)
    header.PixelData = pydicom.encaps.encapsulate([b"\0" * 20])
    header["PixelData"].VR, header["PixelData"].is_undefined_length = "OB", True
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    header.save_as(path)
    with pytest.raises(DataError, match=r"compressed as MPEG2 .* Convert it first"):
        volumes.read(path)


# --- lossless JPEG: GDCM ends the process where it does not like what it reads ----------------------------------------


def test_sixteen_bits_without_loss(tmp_path):
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm, which packs the picture, is not installed")
    source = get_testdata_file("MR_small.dcm", download=False)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(source)
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert making.reread(tmp_path / "a.dcm").file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(volumes.read(tmp_path / "a.dcm").array, volumes.read(source).array)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (17, 0x36),  # the colour space of four colours: GDCM ends with SIGABRT
        (22, 165),  # bits of a sample: with SIGSEGV
        (24, 1), (26, 9), (27, 2), (0, 0), (19, 0xC0), (19, 0xDA), (29, 0x22), (31, 0x52),
    ],
)  # fmt: skip
def test_damaged_lossless_pictures_are_refused_before_they_are_decoded(place, value):
    header = pydicom.dcmread(get_testdata_file("SC_rgb_jpeg_gdcm.dcm", download=False))
    (stream,) = pydicom.encaps.generate_frames(header.PixelData, number_of_frames=1)
    assert pixels._is_sound(stream, 8, 100, 100, 3)
    damaged = bytearray(stream)
    damaged[place] = value
    assert not pixels._is_sound(bytes(damaged), 8, 100, 100, 3)
    assert not any(pixels._is_sound(stream[:end], 8, 100, 100, 3) for end in range(60))


def test_a_damaged_lossless_file_is_named(tmp_path):
    data = bytearray(Path(get_testdata_file("SC_rgb_jpeg_gdcm.dcm", download=False)).read_bytes())
    data[data.index(b"Adobe") + 11] = 0x36
    (tmp_path / "a.dcm").write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"a\.dcm has pixels that cannot be decoded .* JPEG picture is damaged"):
        volumes.read(tmp_path / "a.dcm")


# --- patients ---------------------------------------------------------------------------------------------------------


def test_nothing_about_the_patient_is_kept_or_told(tmp_path, caplog, capfd, recwarn):
    caplog.set_level(logging.DEBUG)
    told = []
    paths = making.series(tmp_path / "s", voxels(), PatientBirthDate=making.PLANTED[:8])
    for path in paths:  # values pydicom warns of, and quotes
        path.write_bytes(path.read_bytes().replace(b"1.2.3\0", b"1..2.3"))
    for source in (tmp_path / "s", paths[0]):
        volume = volumes.read(source)
        told += [repr(volume), repr(vars(volume)), str(volume.notes)]
        target = volumes.write_mask(np.zeros(volume.shape, bool), volume, tmp_path / "mask.nii")
        told.append(target.read_bytes().decode("latin1"))
    making.dicom(tmp_path / "s" / "second.dcm", voxels((5, 5, 1))[:, :, 0], series="1.2.9")
    told += [_story(tmp_path / "s"), _story(tmp_path / "s", series=making.PLANTED[:2])]
    for fields in ({"Modality": making.PLANTED.upper() + "^X", "Rows": None}, {"PixelSpacing": [1, -1]}, {"NumberOfFrames": 99}):
        told.append(_story(making.dicom(tmp_path / "bad.dcm", voxels((5, 5, 1))[:, :, 0], **fields)))
    text = b"WindowCenter".join([(tmp_path / "bad.dcm").read_bytes()])
    (tmp_path / "cut.dcm").write_bytes(text[: text.index(making.PLANTED.encode()) + 5])
    told.append(_story(tmp_path / "cut.dcm"))
    told += [caplog.text, *capfd.readouterr(), *(str(w.message) for w in recwarn)]
    assert making.PLANTED.lower() not in "\n".join(told).lower()


def _story(source, **options):
    try:
        volumes.read(source, **options)
    except DataError:
        return traceback.format_exc()
    raise AssertionError(source)


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.dcm")), ids=lambda path: path.name)
def test_samples_read_as_pydicom_reads_them_or_are_refused(path):
    told = {"rtplan": "treatment plan", "rtstruct": "contours", "reportsi": "structured report", "waveform_ecg": "a waveform"}
    if path.stem in told:
        with pytest.raises(DataError, match=told[path.stem]):
            volumes.read(path)
        return
    assert np.array_equal(volumes.read(path).array, expected(path))


@pytest.mark.shared_data
def test_the_abdomen_has_its_organs_where_the_labels_are():
    folder = SHARED / "medical" / "ct_abdomen"
    scan = volumes.read(folder / "dicom_series")
    mask = volumes.read_mask(folder / "dicom_series_labels.nii.gz")
    assert (scan.shape, scan.orientation, mask.orientation) == ((512, 512, 8), "LPS", "LAS")
    assert np.allclose(scan.spacing, (0.9765625, 0.9765625, 2))
    on_scan = volumes.on_grid(mask, scan, order=0)
    assert np.array_equal(on_scan.array, mask.array[:, ::-1])  # moved, not interpolated
    liver, air = scan.array[on_scan.array == 5], scan.array[on_scan.array == 0]
    assert 50 < liver.mean() < 130  # Hounsfield units, with contrast
    assert liver.std() < 60
    assert air.mean() < -500
    with pytest.raises(DataError, match="another grid"):
        volumes.read_mask(folder / "dicom_series_labels.nii.gz", like=scan)
