"""Reading masks: every accepted kind becomes the same numbers, and what cannot be read exactly is refused by name."""

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import DataError, ParameterError
from vision import masks
from vision.masks import read

COLOURS = {"road": (128, 64, 128), "sky": (70, 130, 180), "car": (0, 0, 142)}
TABLE = np.array(list(COLOURS.values()), np.uint8)


def numbers(height=6, width=9, k=3, seed=0):
    return np.random.default_rng(seed).integers(0, k, (height, width)).astype(np.uint8)


def palette(mask, colours=TABLE):
    image = Image.fromarray(mask).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(np.ascontiguousarray(colours).tobytes())
    return image


def saved(tmp_path, image, name="m.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64, ">i4"])
def test_arrays_are_the_mask_itself(kind):
    mask = numbers()
    for source in (mask.astype(kind), mask.astype(kind)[:, :, None]):
        found = read(source, 0, size=(6, 9))
        np.testing.assert_array_equal(found, mask)
        assert found.dtype.kind in "iu"


def test_booleans_are_0_and_1():
    mask = numbers(k=2).astype(bool)
    np.testing.assert_array_equal(read(mask, 0), mask)
    assert read(mask, 0).dtype == np.uint8


def test_an_array_of_numbers_is_one_even_where_there_is_a_table():
    mask = numbers()
    np.testing.assert_array_equal(read(mask, 0, COLOURS), mask)


def test_files_hold_their_numbers_however_they_are_opened(tmp_path):
    mask = numbers()
    kinds = {
        "grey": Image.fromarray(mask),
        "palette": palette(mask),
        "palette with a transparent colour": palette(mask),
        "grey with alpha": Image.merge("LA", [Image.fromarray(mask), Image.new("L", (9, 6), 255)]),
        "16 bits": Image.fromarray(mask.astype(np.uint16)),
    }
    for name, image in kinds.items():
        options = {"transparency": 0} if "transparent" in name else {}
        path = saved(tmp_path, image, f"{name}.png", **options)
        with Image.open(path) as opened:
            for source in (path, str(path), opened, image):
                np.testing.assert_array_equal(read(source, 0, size=(6, 9)), mask, err_msg=name)


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "gif"])
def test_the_kind_of_file_does_not_matter_if_it_loses_nothing(tmp_path, ending):
    mask = numbers()
    np.testing.assert_array_equal(read(saved(tmp_path, palette(mask), f"m.{ending}"), 0), mask)


def test_wide_numbers_are_kept(tmp_path):
    wide = numbers().astype(np.uint16) * 20_000
    np.testing.assert_array_equal(read(saved(tmp_path, Image.fromarray(wide)), 0), wide)
    wider = numbers().astype(np.int32) * 1_000_000
    np.testing.assert_array_equal(read(saved(tmp_path, Image.fromarray(wider), "m.tif"), 0), wider)
    floats = Image.fromarray(numbers().astype(np.float32))
    np.testing.assert_array_equal(read(saved(tmp_path, floats, "f.tif"), 0), numbers())


def test_black_and_white_keeps_its_numbers(tmp_path):
    mask = numbers(k=2)
    grey = saved(tmp_path, Image.fromarray(mask * np.uint8(255)), "grey.png")
    bit = saved(tmp_path, Image.fromarray(mask.astype(bool)), "bit.png")
    np.testing.assert_array_equal(read(grey, 0), mask * np.uint8(255))
    np.testing.assert_array_equal(read(bit, 0), mask)


def test_a_mask_is_turned_as_its_picture_asks_for(tmp_path):
    mask = numbers()
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(np.rot90(mask, 1))), exif=exif)
    np.testing.assert_array_equal(read(path, 0, size=(6, 9)), mask)


# --- colours ----------------------------------------------------------------------------------------------------------


def test_colours_become_their_places_in_the_table(tmp_path):
    mask = numbers()
    colour = TABLE[mask]
    alpha = np.concatenate([colour, np.full((6, 9, 1), 255, np.uint8)], axis=2)
    shuffled = [2, 0, 1]  # the numbers of a palette are of no account where there is a table
    sources = [
        colour,
        colour.astype(np.int64),
        alpha,
        Image.fromarray(colour),
        saved(tmp_path, Image.fromarray(colour), "rgb.png"),
        saved(tmp_path, Image.fromarray(alpha), "rgba.png"),
        saved(tmp_path, palette(mask), "palette.png"),
        saved(tmp_path, palette(np.argsort(shuffled)[mask].astype(np.uint8), TABLE[shuffled]), "shuffled.png"),
    ]
    for source in sources:
        found = read(source, 0, COLOURS, (6, 9))
        np.testing.assert_array_equal(found, mask)
        assert found.dtype == np.uint8


def test_grey_is_a_colour_where_there_is_a_table(tmp_path):
    mask = numbers(k=2)
    table = {"cell": (255, 255, 255), "none": (0, 0, 0)}
    for image in (Image.fromarray(mask * np.uint8(255)), Image.fromarray(mask.astype(bool))):
        np.testing.assert_array_equal(read(saved(tmp_path, image), 0, table), 1 - mask)


def test_a_table_of_many_classes_is_read():
    codes = np.arange(300)
    many = {f"class {v}": (v % 256, v // 256, 7) for v in codes.tolist()}
    picture = np.array(list(many.values()), np.uint8)[::-1].reshape(20, 15, 3)
    np.testing.assert_array_equal(read(picture, 0, many).ravel(), codes[::-1])


def test_a_colour_that_is_not_in_the_table_is_told_with_the_nearest():
    colour = TABLE[numbers()]
    colour[2, 3:5] = (72, 131, 178)
    colour[5, 8] = (1, 2, 3)
    with pytest.raises(
        DataError,
        match=r"The mask of sample 4 has 2 pixels of the colour \(72, 131, 178\), the first at row 2, column 3, but no class has "
        r"it; the nearest is \(70, 130, 180\), 'sky'. 1 other colour is not in the table, too\.$",
    ):
        read(colour, 4, COLOURS)


def test_blended_colours_get_a_hint():
    colour = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    with pytest.raises(DataError, match=r"has 1 pixel .* other colours are not in the table, too \(was the mask resized"):
        read(colour, 0, COLOURS)


def test_a_table_that_does_not_fit_a_palette_or_grey_values_can_be_left_out(tmp_path):
    other = palette(numbers(), np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8))
    with pytest.raises(
        DataError, match=r"of the colour .* Leave the colour table out to take the numbers of its palette instead\.$"
    ):
        read(saved(tmp_path, other), 0, COLOURS)
    with pytest.raises(DataError, match=r"of the colour \(\d, \d, \d\).* take the numbers of grey values instead\.$"):
        read(Image.fromarray(numbers()), 0, COLOURS)


def test_colours_without_a_table_are_listed():
    for source in (TABLE[numbers()], Image.fromarray(TABLE[numbers()])):
        with pytest.raises(DataError, match=r"has 3 colours \(\(0, 0, 142\), .*\), and nothing says what they stand for"):
            read(source, 0)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "array"])
def test_transparent_pixels_are_refused(tmp_path, kind):
    rgba = np.concatenate([TABLE[numbers()], np.full((6, 9, 1), 255, np.uint8)], axis=2)
    rgba[1, 2, 3], rgba[4, 0, 3] = 0, 100
    table: dict | None = COLOURS
    if kind == "palette":
        source = saved(tmp_path, palette(numbers()), transparency=0)
    elif kind == "LA":
        source, table = Image.fromarray(rgba).convert("LA"), None
    else:
        source = rgba if kind == "array" else Image.fromarray(rgba)
    count = int((numbers() == 0).sum()) if kind == "palette" else 2
    with pytest.raises(DataError, match=rf"has {count} pixels that are transparent, the first at row \d, column \d"):
        read(source, 0, table)


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ({}, "A colour table names a colour each class"),
        ([(0, 0, 0)], "A colour table names a colour each class"),
        ({"road": 7}, "The colour of 'road' must be three whole numbers"),
        ({"road": (1, 2)}, "must be three whole numbers from 0 to 255"),
        ({"road": (1, 2, 256)}, "must be three whole numbers"),
        ({"road": (1, -2, 3)}, "must be three whole numbers"),
        ({"road": (0.5, 0.5, 0.5)}, "must be three whole numbers"),
        ({"road": "#804080"}, "must be three whole numbers"),
        ({"road": (1, 2, 3), "sky": [1, 2, 3]}, r"The colour \(1, 2, 3\) stands for 'road' and 'sky'"),
    ],
)
def test_a_table_that_is_none_is_refused(colours, message):
    with pytest.raises(ParameterError, match=message):
        masks.colour_table(colours)


# --- masks that cannot be used ----------------------------------------------------------------------------------------


def test_another_size_than_the_images_is_told():
    with pytest.raises(
        DataError, match=r"The mask of sample 7 has 9 x 6 pixels, but its image has 12 x 6; each pixel needs its own\."
    ):
        read(numbers(), 7, size=(6, 12))
    with pytest.raises(DataError, match="turned by the orientation in its EXIF data"):
        read(numbers(), 7, size=(9, 6))


ARRAYS = {
    "halves": (np.array([[0.0, 1.0], [0.5, 0.25]]), "has 2 pixels of no whole number, the first 0.5, at row 1, column 0"),
    "not a number": (np.array([[0.0, np.nan]]), "has 1 pixel of no whole number, the first nan, at row 0, column 1"),
    "infinite": (np.array([[np.inf, 0.0]]), "has 1 pixel of no whole number, the first inf"),
    "beyond all numbers": (np.array([[1e300, 0.0]]), "has 1 pixel of no whole number"),
    "negative": (np.array([[0, -1, -3]]), "has 2 pixels below 0, the first -1, at row 0, column 1"),
    "negative floats": (np.array([[0.0, -100.0]]), "has 1 pixel below 0, the first -100"),
    "complex": (np.zeros((2, 2), complex), "has the dtype complex128"),
    "objects": (np.array([[{}, {}]]), "has the dtype object"),
    "one dimension": (np.zeros(4, int), "is an array of 1 dimensions"),
    "four dimensions": (np.zeros((1, 2, 2, 3), int), "is an array of 4 dimensions"),
    "no height": (np.zeros((0, 4), int), "has no pixels"),
    "a map a class": (np.zeros((8, 9, 5), int), r"has 5 channels .*mask\.argmax"),
    "channels first": (np.zeros((1, 8, 9), int), r"has 9 channels \(shape \(1, 8, 9\)\); expected one number a pixel"),
    "colours of floats": (np.full((4, 4, 3), 0.5), r"has colours from 0\.5 to 0\.5 \(float64\)"),
    "colours beyond bytes": (np.full((4, 4, 3), 300), "has colours from 300 to 300"),
    "none": (None, "is of type NoneType"),
    "list": ([[0, 1]], "is of type list; expected a path, a PIL image or an array"),
}


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_bad_arrays_are_named_with_their_index(name):
    source, message = ARRAYS[name]
    with pytest.raises(DataError, match=rf"^The mask of sample 3 {message}.*\.$"):
        read(source, 3)


def test_bad_files_are_named(tmp_path):
    path = saved(tmp_path, Image.fromarray(numbers(60, 90)), "whole.png")
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:-300])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no mask")
    Image.fromarray(numbers(60, 90)).save(tmp_path / "lossy.png", "JPEG")
    frames = [Image.fromarray(numbers(seed=seed)) for seed in range(2)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (3, 3)).save(tmp_path / "print.tif")
    for name, message in {
        "cut.png": "cannot be decoded: .*truncated",
        "empty.png": "is an empty file",
        "text.png": "is no image Pillow can read",
        "nowhere.png": "does not exist",
        ".": "is a folder",
        "lossy.png": "is a JPEG file, which changes numbers",
        "film.gif": "holds 2 pictures",
        "print.tif": "has the mode CMYK",
    }.items():
        with pytest.raises(DataError, match=message) as caught:
            read(tmp_path / name, 5)
        assert str(caught.value).startswith(f"The mask of sample 5 ({tmp_path / name}) ")
        assert str(caught.value).endswith(".")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("ending", ["png", "gif", "bmp", "tif"])
def test_noise_in_a_file_is_a_data_error_or_a_mask(tmp_path, ending):
    whole = saved(tmp_path, palette(numbers(32, 32)), f"m.{ending}").read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / f"noisy.{ending}"
    refused = []
    for _ in range(150):
        noisy = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 300), 3):
            noisy[at] = rng.integers(0, 256)
        path.write_bytes(noisy)
        for colours in (None, COLOURS):
            try:
                found = read(path, 0, colours)
            except DataError as error:
                refused.append(str(error))
            else:
                assert found.ndim == 2
                assert found.min() >= 0
    assert refused
    assert all(message.startswith(f"The mask of sample 0 ({path}) ") for message in refused)
