"""Reading images: every accepted kind becomes the right pixels, every other is named."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import DataError
from vision import images
from vision.images import Reader


def picture(height=12, width=8, channels=3):
    """A smooth picture, so that JPEG changes it little."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [rows * 200 / height, columns * 200 / width, (rows + columns) * 100 / (height + width)]
    return np.stack(planes[:channels], axis=2).astype(np.uint8)


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return str(tmp_path / name)


def learned(X, size=None, channels=None):
    return images.learn(X, size, channels, lambda shapes: shapes[0])


# --- decoding: one picture, many ways to write it ---------------------------------------------------------------------


def test_path_like_path_pil_image_and_array_are_one():
    found = [images.decode(sample) for sample in (Image.fromarray(picture()), picture(), picture()[::1])]
    assert all(np.array_equal(image, picture()) for image in found)


@pytest.mark.parametrize(("name", "options"), [("p.png", {}), ("p.bmp", {}), ("p.tif", {}), ("p.webp", {"lossless": True})])
def test_lossless_files_are_exact(tmp_path, name, options):
    path = saved(tmp_path, Image.fromarray(picture()), name, **options)
    assert np.array_equal(images.decode(path), picture())
    assert np.array_equal(images.decode(tmp_path / name), picture())


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "RGBX", "RGBa"]
)
def test_every_mode_of_pillow_becomes_grey_or_colour(mode):
    if mode in ("PA", "RGBa", "LA"):
        image = Image.new({"PA": "PA", "RGBa": "RGBa", "LA": "LA"}[mode], (4, 3))
    elif mode == "I;16":
        image = Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000)
    else:
        image = Image.fromarray(picture(3, 4)).convert(mode)
    found = images.decode(image)
    assert found.shape == (3, 4, 1 if mode in ("1", "L", "I", "F", "I;16") else 3)
    assert found.dtype == (np.float32 if mode in ("I", "F", "I;16") else np.uint8)


def test_colours_survive_palette_and_cmyk(tmp_path):
    red = Image.new("RGB", (8, 8), (200, 10, 20))
    assert images.decode(red.convert("P"))[0, 0].tolist() == [204, 0, 0]  # the nearest colour of Pillow's own palette
    assert np.abs(images.decode(red.quantize(4))[0, 0].astype(int) - (200, 10, 20)).max() <= 4
    path = saved(tmp_path, red.convert("CMYK"), "c.jpg", quality=100)
    assert np.abs(images.decode(path)[0, 0].astype(int) - (200, 10, 20)).max() <= 12


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "palette with table", "grey with key", "array", "float array"])
def test_transparent_pixels_are_white_and_others_keep_their_colour(tmp_path, kind):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0] = (255, 0, 0, 255) if kind not in ("LA", "grey with key") else (100, 100, 100, 255)
    image = Image.fromarray(rgba)
    if kind == "LA":
        sample = image.convert("LA")
    elif kind.startswith("palette"):
        indexed = Image.fromarray(np.array([[0, 0], [1, 1]], np.uint8), "L")
        indexed = indexed.convert("P")
        indexed.putpalette([255, 0, 0, 0, 0, 0])
        clear = 1 if kind == "palette" else b"\xff\x00"
        sample = saved(tmp_path, indexed, "p.png", transparency=clear)
    elif kind == "grey with key":
        grey = Image.fromarray(np.array([[100, 100], [7, 7]], np.uint8))
        sample = saved(tmp_path, grey, "g.png", transparency=7)
    elif kind == "float array":
        sample = rgba.astype(np.float32) / 255
    else:
        sample = rgba if kind == "array" else image
    found = images.decode(sample).astype(float) * (255 if kind == "float array" else 1)
    assert (found[1] == 255).all()
    expected = (100, 100, 100)[: found.shape[2]] if kind in ("LA", "grey with key") else (255, 0, 0)
    assert np.array_equal(found[0, 0], expected)


def test_half_transparent_pixels_are_mixed_with_white():
    rgba = np.full((1, 1, 4), (0, 0, 0, 128), np.uint8)
    for sample in (rgba, Image.fromarray(rgba)):
        assert np.abs(images.decode(sample)[0, 0].astype(int) - 127).max() <= 1
    assert images.decode(rgba / np.float32(255))[0, 0] == pytest.approx([0.498] * 3, abs=1e-3)
    assert images.decode(rgba.astype(np.uint16) * 257)[0, 0] == pytest.approx([127 * 257] * 3, abs=300)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_pictures_are_turned_upright(tmp_path, orientation, ending):
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    upright = picture(24, 16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    options = {"quality": 100, "subsampling": 0} if ending == "jpg" else {"lossless": True} if ending == "webp" else {}
    path = saved(tmp_path, stored, f"p.{ending}", exif=exif, **options)
    assert np.abs(images.decode(path).astype(int) - upright).max() <= (8 if ending == "jpg" else 0)
    assert images._shape(path) == upright.shape


def exif_with_orientation(kind, content):
    """EXIF data whose only entry is an orientation of any type: 2 text, 3 short, 7 bytes, 12 double."""
    size = {2: 1, 3: 2, 7: 1, 12: 8}[kind]
    entry = struct.pack("<HHI", 0x0112, kind, len(content) // size)
    value = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack("<I", 26)
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + value + b"\0\0\0\0" + (content if len(content) > 4 else b"")


@pytest.mark.parametrize(
    ("kind", "content"), [(2, b"up\0"), (7, b"\x00\x06"), (3, b"\x63\0"), (3, b"\0\0"), (3, b"\6\0\6\0\6\0"), (12, b"\xff" * 8)]
)
@pytest.mark.filterwarnings("ignore:Metadata Warning")
def test_nonsense_for_an_orientation_is_let_be(tmp_path, kind, content):
    path = saved(tmp_path, Image.fromarray(picture(12, 8)), "p.jpg", exif=exif_with_orientation(kind, content))
    with Image.open(path) as image:
        assert 0x0112 in image.getexif()
    assert images.decode(path).size == 12 * 8 * 3
    learned([path, path])


@pytest.mark.parametrize("big", [False, True], ids=["II", "MM"])
def test_sixteen_bit_files_keep_their_values(tmp_path, big):
    values = (np.arange(96, dtype=np.uint16).reshape(12, 8) * 600).astype(">u2" if big else "<u2")
    if big:
        path = tmp_path / "p.pgm"
        path.write_bytes(b"P5 8 12 65535\n" + values.tobytes())
    else:
        path = saved(tmp_path, Image.fromarray(values), "p.png")
    found = images.decode(path)
    assert found.dtype == np.float32
    assert np.array_equal(found[:, :, 0], values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float16, np.float32, np.float64, ">f4", ">u2"])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3)])
def test_arrays_of_every_kind_keep_their_values(dtype, shape):
    array = (np.arange(np.prod(shape)).reshape(shape) % 50).astype(dtype)
    found = images.decode(array)
    assert found.dtype == (np.uint8 if dtype is np.uint8 else np.float32)
    assert np.array_equal(found, array.reshape(5, 4, -1))


def test_booleans_are_black_and_white():
    assert images.decode(np.array([[True, False]])).ravel().tolist() == [255, 0]


def test_first_frame_of_a_moving_picture_is_read(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "m.gif", save_all=True, append_images=frames[1:])
    assert images.decode(path)[0, 0].tolist() == [255, 0, 0] or images.decode(path)[0, 0][0] > 250


def test_large_jpeg_read_small_is_close_to_the_whole_one(tmp_path):
    path = saved(tmp_path, Image.fromarray(picture(800, 400)), "p.jpg", quality=95)
    small = images.load(path, 0, (100, 50), 3).astype(int)
    whole = images.resize(images.decode(path), (100, 50)).astype(int)
    assert small.shape == (100, 50, 3)
    assert np.abs(small - whole).max() <= 6
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(np.rot90(picture(800, 400), 1).copy()), "t.jpg", quality=95, exif=exif)
    assert np.abs(images.load(path, 0, (100, 50), 3).astype(int) - whole).max() <= 6


# --- resizing and converting ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_keeps_dtype_mean_and_channels(dtype, channels):
    image = picture(40, 30, channels).astype(dtype)
    small = images.resize(image, (8, 6))
    assert (small.shape, small.dtype) == ((8, 6, channels), dtype)
    assert small.mean() == pytest.approx(image.mean(), abs=2)
    assert images.resize(image, (40, 30)).tolist() == image.tolist()


def test_grey_becomes_colour_and_colour_grey():
    grey, colour = picture(channels=1), picture()
    assert np.array_equal(images.load(grey, 0, (12, 8), 3), np.repeat(grey, 3, axis=2))
    found = images.load(colour, 0, (12, 8), 1)
    expected = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.abs(found[:, :, 0].astype(int) - expected).max() <= 1


def test_png_shows_the_picture():
    for image in (picture(), picture(channels=1)):
        assert np.array_equal(images.decode(Image.open(io.BytesIO(images.png(image)))), image)
    wide = images.decode(Image.open(io.BytesIO(images.png(np.linspace(300, 900, 12, dtype=np.float32).reshape(3, 4, 1)))))
    assert (wide.min(), wide.max()) == (0, 255)
    flat = images.decode(Image.open(io.BytesIO(images.png(np.full((2, 2, 1), 7.0, np.float32)))))
    assert np.ptp(flat) == 0


# --- the reader that is learned ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, (0, 1)),
        (0.2, 0.7, (0, 1)),
        (-0.5, 0.5, (-1, 1)),
        (0, 255, (0, 255)),
        (3, 200, (0, 255)),
        (0, 16, (0, 16)),
        (300, 41000, (300, 41000)),
        (-1000, 3000, (-1000, 3000)),
        (np.inf, -np.inf, (0, 255)),
        (0, 0, (0, 1)),
        (5, 5, (5, 6)),
    ],
)
def test_scale_of_the_values_is_recognised(low, high, expected):
    assert images._range(low, high) == expected


def test_reader_learns_size_channels_and_range():
    X = [picture(10, 8), picture(20, 16, 1)]
    decoded, reader = learned(X, (6, 4))
    assert reader == Reader((6, 4), 3, (0.0, 255.0))
    assert decoded.shape == (2, 6, 4, 3)
    assert decoded.dtype == np.uint8
    _, reader = learned([picture(10, 8, 1)] * 2)
    assert reader == Reader((10, 8), 1, (0.0, 255.0))
    _, reader = learned([np.full((4, 4), v, np.uint16) for v in (100, 60000)])
    assert reader.values == (100.0, 60000.0)


def test_same_picture_gives_the_same_pixels_however_it_comes(tmp_path):
    path = saved(tmp_path, Image.fromarray(picture()), "p.png")
    kinds = [path, tmp_path / "p.png", Image.open(path), picture(), picture().astype(np.int64), picture().astype(float)]
    reader = Reader((6, 4), 3)
    expected = reader([kinds[0]], np.array([0]))
    assert expected.dtype == np.float32
    for X in (kinds, [picture()] * 6, np.stack([picture()] * 6), np.stack([picture().astype(np.float32)] * 6)):
        found = reader(images.check(X), np.arange(6))
        assert np.abs(found - expected).max() <= 1  # uint8 is rounded when it is resized


def test_arrays_and_lists_of_arrays_are_read_alike():
    rng = np.random.default_rng(0)
    for X in (
        rng.integers(0, 255, (5, 6, 6), dtype=np.uint8),
        rng.random((5, 6, 6)),
        rng.random((5, 6, 6, 4)),
        rng.integers(0, 60000, (5, 6, 6, 3)).astype(np.uint16),
        rng.random((5, 6, 6)) > 0.5,
        rng.random((5, 6, 6)).astype(">f8"),
    ):
        one, reader = learned(X)
        other, reader_of_list = learned(list(X))
        assert reader == reader_of_list
        rows = np.arange(5)
        np.testing.assert_array_equal(reader(one, rows), reader(other, rows))
        np.testing.assert_array_equal(reader(images.check(X), rows), reader(images.check(list(X)), rows))


def test_more_images_than_the_cache_holds_are_read_when_needed(monkeypatch):
    X = [picture() for _ in range(4)]
    monkeypatch.setattr(images, "CACHE_BYTES", 2 * picture().nbytes)
    decoded, reader = learned(X)
    assert decoded is X
    monkeypatch.setattr(images, "CACHE_BYTES", 4 * picture().nbytes)
    again, same = learned(X)
    assert isinstance(again, np.ndarray)
    assert same == reader


def test_pixels_run_from_0_to_255():
    for values, array in (
        ((0.0, 1.0), np.linspace(0, 1, 9)),
        ((-1.0, 1.0), np.linspace(-1, 1, 9)),
        ((0, 65535), np.arange(9) * 8191.875),
    ):
        found = Reader((3, 3), 1, values)(array.reshape(1, 3, 3, 1).astype(np.float32), np.array([0]))
        assert (found.min(), found.max()) == pytest.approx((0, 255))
        assert found.dtype == np.float32


def test_images_in_other_units_than_in_training_are_refused():
    unit, byte = np.array([[[0.0], [1.0]]], np.float32), np.array([[[0.0], [200.0]]], np.float32)
    for values, wrong in (((0.0, 1.0), byte), ((0.0, 255.0), unit)):
        X = np.stack([np.zeros_like(wrong), wrong])
        message = f"Sample 1 has values from 0 to {wrong.max():g}, but the training images had 0 to {values[1]:g}"
        with pytest.raises(DataError, match=message):
            Reader((1, 2), 1, values)(X, np.array([0, 1]))
        with pytest.raises(DataError, match="Sample 1 has values"):
            Reader((1, 2), 1, values)(list(X), np.array([0, 1]))


def test_lazy_image_used_for_many_samples_is_read_by_all_threads(tmp_path):
    path = saved(tmp_path, Image.fromarray(picture(64, 64)), "p.png")
    for _ in range(5):
        with Image.open(path) as image:
            X = [image] * 32
            images.check(X)
            decoded, _ = learned(X)
            assert (decoded == picture(64, 64)).all()


# --- samples that cannot be used --------------------------------------------------------------------------------------


def png_of(width, height):
    """A PNG file that claims a size and holds next to nothing."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def whole_jpeg():
    stream = io.BytesIO()
    Image.fromarray(picture(64, 64)).save(stream, "JPEG")
    return stream.getvalue()


FILES = {
    "truncated.jpg": (whole_jpeg()[:600], "truncated|cannot be decoded"),
    "header only.jpg": (whole_jpeg()[:20], "cannot be decoded|no image"),
    "empty.png": (b"", "is an empty file"),
    "text.png": (b"this is no picture", "is no image Pillow can read"),
    "zero.png": (png_of(0, 5), "no pixels|no image|cannot be decoded"),
    "large.png": (png_of(12_000, 10_000), "guards against decompression bombs"),
    "huge.png": (png_of(60_000, 60_000), "decompression bomb"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", sorted(FILES))
def test_bad_files_are_named_with_their_index(tmp_path, name):
    content, message = FILES[name]
    (tmp_path / name).write_bytes(content)
    good = saved(tmp_path, Image.fromarray(picture()), "good.png")
    for use in (images.check, learned):
        with pytest.raises(DataError, match=message) as caught:
            use([good, good, str(tmp_path / name), good])
        assert str(caught.value).startswith(f"Sample 2 ({tmp_path / name}) ")
        assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("path", "message"), [("nowhere.png", "does not exist"), (".", "is a folder"), ("a\0b", "cannot be decoded")]
)
def test_bad_paths_are_named(tmp_path, path, message):
    for use in (images.check, learned):
        with pytest.raises(DataError, match=rf"Sample 0 .*{message}"):
            use([tmp_path / path])


ARRAYS = {
    "not a number": (np.array([[0.0, np.nan], [1, 1]]), r"has the value nan at position \(0, 1, 0\)"),
    "infinite": (np.array([[0.0, 1], [np.inf, 1]]), "has the value inf"),
    "beyond float32": (np.array([[0.0, 1e300]]), "has the value inf"),
    "complex": (np.zeros((2, 2), complex), "has the dtype complex128"),
    "object": (np.array([[{}, {}]]), "has the dtype object"),
    "text": (np.array([["a", "b"]]), "has the dtype <U1"),
    "dates": (np.zeros((2, 2), "M8[s]"), "has the dtype datetime64"),
    "one dimension": (np.zeros(4), "is an array of 1 dimensions"),
    "four dimensions": (np.zeros((1, 2, 2, 3)), "is an array of 4 dimensions"),
    "no dimension": (np.float64(3), "is an array of 0 dimensions|is of type"),
    "no height": (np.zeros((0, 4)), "has no pixels"),
    "no channel": (np.zeros((4, 4, 0)), "has no pixels"),
    "channels first": (np.zeros((3, 8, 8)), r"has 8 channels .*np\.moveaxis"),
    "two channels": (np.zeros((8, 8, 2)), "has 2 channels"),
    "none": (None, "is of type NoneType"),
    "number": (3, "is of type int"),
    "bytes": (b"photo", "is of type bytes"),
    "list": ([[1, 2], [3, 4]], "is of type list; expected a path, a PIL image or an array"),
    "empty image": (Image.new("L", (0, 3)), "has no pixels: its size is 0 x 3"),
}


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_bad_samples_are_named_with_their_index(name):
    sample, message = ARRAYS[name]
    for use in (images.check, learned):
        with pytest.raises(DataError, match=rf"Sample 1 {message}"):
            use([picture(), sample, picture()])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.full((3, 4, 4), np.nan), "Sample 0 has the value nan"),
        (np.stack([np.zeros((4, 4)), np.full((4, 4), np.inf)]), "Sample 1 has the value inf"),
        (np.full((2, 4, 4), 1e300), "has the value inf"),
        (np.zeros((2, 4, 4), complex), "Every image of X has the dtype complex128"),
        (np.zeros((2, 4, 4), object), "Every image of X has the dtype object"),
        (np.zeros((2, 4, 4, 2)), "Every image of X has 2 channels"),
        (np.zeros((2, 3, 8, 8)), r"np\.moveaxis"),
        (np.zeros((2, 0, 4)), "Every image of X has no pixels"),
        (np.zeros((8, 8)), r"expected \(n, H, W\).*Pass one image as a list"),
        (np.zeros((1, 64)), "Reshape the rows to images first"),
        (np.zeros((2, 2, 4, 4, 3)), "is an array of shape"),
        (np.zeros((32, 32, 3)), r"looks like one colour image.*\[image\]"),
    ],
    ids=lambda value: str(value.shape) if isinstance(value, np.ndarray) else "",
)
def test_bad_arrays_of_images_are_refused(X, message):
    for use in (images.check, learned):
        with pytest.raises(DataError, match=message):
            use(X)


def test_several_bad_files_are_counted_and_the_first_five_shown(tmp_path):
    X = [tmp_path / f"{i}.png" for i in range(8)]
    with pytest.raises(
        DataError, match=r"8 of 8 samples cannot be used:\n  Sample 0 .*\n.*\n.*\n.*\n  Sample 4 .*\n  … and 3 more"
    ):
        images.check(X)


def test_table_is_refused_with_the_column_as_advice():
    import pandas as pd

    for use in (images.check, learned):
        with pytest.raises(DataError, match=r"column"):
            use(pd.DataFrame({"path": ["a.png"], "size": [1]}))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp", "tif", "webp", "ico", "ppm", "tga"])
def test_noise_in_a_file_is_a_data_error_or_a_picture(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    options = {"exif": exif} if ending in ("jpg", "png", "tif", "webp") else {}
    saved(tmp_path, Image.fromarray(picture(32, 32)), f"p.{ending}", **options)
    whole = (tmp_path / f"p.{ending}").read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / f"noisy.{ending}"
    found = []
    for _ in range(150):
        noisy = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 300), 3):
            noisy[at] = rng.integers(0, 256)
        path.write_bytes(noisy)
        for use in (images.check, learned):
            try:
                use([path])
            except DataError as error:
                found.append(str(error))
    assert found
    assert all(message.startswith(f"Sample 0 ({path}) ") for message in found)
