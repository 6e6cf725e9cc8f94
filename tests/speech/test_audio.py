"""Reading audio: every usual kind of file and array, its level, its exact length, and what is said where there is none."""

import os
import struct
import time
import tracemalloc
import wave
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.engines import load_framework
from pipelines.errors import DataError, ParameterError
from speech import audio
from speech.audio import SAMPLE_RATE, blocks, read, resampled

from ..conftest import SHARED

FORMATS = [  # file, codec, rate; how many samples more than were written, of a coder that does not say
    ("a.wav", "pcm_s16le", 16_000),
    ("a.wav", "pcm_s16le", 8_000),
    ("a.wav", "pcm_s16le", 96_000),
    ("a.wav", "pcm_u8", 16_000),
    ("a.wav", "pcm_s24le", 44_100),
    ("a.wav", "pcm_f32le", 22_050),
    ("a.wav", "pcm_f64le", 11_025),
    ("a.aiff", "pcm_s16be", 16_000),
    ("a.flac", "flac", 44_100),
    ("a.mp3", "libmp3lame", 44_100),
    ("a.mp3", "libmp3lame", 16_000),
    ("a.ogg", "libopus", 48_000),
    ("a.webm", "libopus", 48_000),
    ("a.m4a", "aac", 44_100),
    ("a.m4a", "alac", 16_000),
]


def tone(rate, seconds=1.5, frequency=440.0):
    """Return a tone at half the full scale, (samples,), with a click in the middle."""
    samples = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)
    return samples.astype(np.float32)


def write(path, samples, rate, codec="pcm_s16le", *, pictures=False, late=0.0):
    """Encode samples (samples,) or (samples, channels) to a file, with black pictures from the beginning if wanted."""
    av = load_framework("av")
    samples = samples.reshape(len(samples), -1).astype(np.float32)
    layout = {1: "mono", 2: "stereo", 8: "7.1", 16: "hexadecagonal"}[samples.shape[1]]
    with av.open(str(path), "w") as container:
        video = _pictures(container, late + len(samples) / rate) if pictures else None
        track = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(late * rate)
        if video:
            container.mux(video())
        container.mux(track.encode(frame))
        container.mux(track.encode())
    return path


def _pictures(container, seconds):
    av = load_framework("av")
    track = container.add_stream("mpeg4", rate=25)
    track.width = track.height = 32
    track.pix_fmt = "yuv420p"

    def packets():
        found = []
        for i in range(int(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            found += track.encode(frame)
        return found + track.encode()

    return packets


def level(samples):
    return float(np.sqrt(np.mean(np.square(samples[1000:-1000], dtype=float))))


# ---------------------------------------------------------------- files
@pytest.mark.parametrize(("name", "codec", "rate"), FORMATS, ids=lambda value: str(value))
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(tmp_path, name, codec, rate, channels):
    seconds = 1.5 + 123 / rate  # no whole number of frames of any coder
    source = tone(rate, seconds)
    path = write(tmp_path / name, source if channels == 1 else np.stack([source, 0.5 * source], axis=1), rate, codec)
    samples = read(path)
    assert samples.dtype == np.float32
    assert samples.shape == (int(len(source) * SAMPLE_RATE / rate + 0.5),)
    loudness = (1 if channels == 1 else 0.75) * (0.95 if codec == "libmp3lame" else 1)  # LAME makes it softer itself
    assert level(samples) == pytest.approx(0.5 * loudness / np.sqrt(2), rel=0.03)
    expected = tone(SAMPLE_RATE, seconds + 1)[: len(samples)] * loudness  # no delay, not even of a sample
    limit = 0.01 if codec.startswith(("pcm_s", "pcm_f", "flac", "alac")) else 0.06
    assert np.abs(samples - expected)[500:-500].max() < limit


def test_loudness_of_stereo(tmp_path):
    both = np.stack([tone(16_000)] * 2, axis=1)  # what PyAV's own layout="mono" makes 1.41 times too loud
    assert level(read(write(tmp_path / "a.wav", both, 16_000))) == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "codec", "channels"),
    [("a.wav", "pcm_s16le", 8), ("a.flac", "flac", 8), ("a.m4a", "aac", 8), ("a.opus", "libopus", 8), ("a.wav", "pcm_f32le", 16)],
)
def test_many_channels(tmp_path, name, codec, channels):
    samples = np.zeros((48_000, channels), dtype=np.float32)
    samples[:, 1] = tone(48_000, 1)
    found = read(write(tmp_path / name, samples, 48_000, codec))
    assert len(found) == 16_000
    assert level(found) == pytest.approx(0.5 / channels / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_video(tmp_path, name):
    samples = read(write(tmp_path / name, tone(16_000), 16_000, "aac", pictures=True))
    assert len(samples) == pytest.approx(24_000, abs=1024)  # Matroska does not tell what fills up the last frame
    assert level(samples) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_sound_that_starts_after_the_pictures(tmp_path):
    samples = read(write(tmp_path / "a.mkv", tone(48_000), 48_000, "libopus", pictures=True, late=0.75))
    begin = int(np.argmax(np.abs(samples) > 0.1))
    assert begin == pytest.approx(0.75 * 16_000, abs=160)
    assert not samples[: begin - 800].any()
    assert len(samples) == pytest.approx(2.25 * 16_000, abs=400)


def test_cover_pictures_are_no_video(tmp_path):
    av = load_framework("av")
    plain, path = write(tmp_path / "a.mp3", tone(44_100), 44_100, "libmp3lame"), tmp_path / "b.mp3"
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        cover = target.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 16
        cover.pix_fmt, cover.disposition = "yuvj420p", av.stream.Disposition.attached_pic
        target.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), dtype=np.uint8), "rgb24")))
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
    assert np.array_equal(read(path), read(plain))


def test_paths(tmp_path):
    path = write(tmp_path / "a b#ü%20?.wav", tone(16_000, 0.1), 16_000)
    assert len(read(path)) == len(read(str(path))) == 1600


def test_name_with_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("http:")
    write(tmp_path / "http:" / "a.flac", tone(16_000, 0.1), 16_000, "flac")
    assert len(read("http://a.flac")) == 1600  # a file called so, not the network


def test_several_sound_tracks(tmp_path):
    av = load_framework("av")
    with av.open(str(tmp_path / "a.mka"), "w") as container:
        tracks = [container.add_stream("flac", rate=16_000, layout="mono") for _ in range(2)]
        for track, frequency in zip(tracks, (300.0, 900.0), strict=True):
            frame = av.AudioFrame.from_ndarray(tone(16_000, 1, frequency)[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
            container.mux(track.encode(frame) + track.encode())
    assert int(np.argmax(np.abs(np.fft.rfft(read(tmp_path / "a.mka"))))) == 300


@pytest.mark.filterwarnings("ignore:.*is damaged or cut off:UserWarning")  # the head of the second part, to libav
def test_rate_that_changes_within_a_file(tmp_path):
    parts = [write(tmp_path / f"{rate}.mp3", tone(rate, 1), rate, "libmp3lame") for rate in (44_100, 22_050)]
    (tmp_path / "a.mp3").write_bytes(b"".join(part.read_bytes() for part in parts))
    samples = read(tmp_path / "a.mp3")
    assert len(samples) == pytest.approx(32_000, abs=2500)
    assert level(samples[2000:14_000]) == pytest.approx(level(samples[-12_000:-2000]), rel=0.05)


def test_both_ways_to_read_a_wav_agree(tmp_path, monkeypatch):
    for rate, channels in ((8_000, 1), (16_000, 1), (44_100, 2)):
        path = write(tmp_path / "a.wav", np.stack([tone(rate)] * channels, axis=1), rate)
        quick = read(path)
        with monkeypatch.context() as patch:
            patch.setattr(audio, "_plain_wav", lambda path: None)
            assert np.array_equal(read(path), quick)


def test_short_wav_files_are_read_quickly(tmp_path):
    path = write(tmp_path / "a.wav", tone(8_000, 0.5), 8_000)
    read(path)
    start = time.process_time()
    for _ in range(50):
        read(path)
    assert (time.process_time() - start) / 50 < 0.002  # a tenth of a millisecond on an idle machine


def test_no_threads_are_started(tmp_path, monkeypatch):
    """PyAV's own resampler starts two, and takes ten times as long for a short clip, a hundred times on a busy machine."""
    av = load_framework("av")
    monkeypatch.setattr(av, "AudioResampler", None)
    assert len(read(write(tmp_path / "a.wav", tone(8_000, 0.5), 8_000))) == 8000


def test_resampling_is_that_of_pyav():
    av = load_framework("av")
    for rate in (8_000, 44_100, 96_000):
        frame = av.AudioFrame.from_ndarray(tone(rate)[None], "fltp", "mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler("fltp", "mono", SAMPLE_RATE)
        expected = np.concatenate([part.to_ndarray()[0] for part in resampler.resample(frame) + resampler.resample(None)])
        found = resampled(tone(rate), rate)
        assert abs(len(found) - len(expected)) <= 1
        assert np.array_equal(found[:23_999], expected[:23_999])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_threads(tmp_path, name):
    path = write(tmp_path / name, tone(44_100), 44_100, {"a.wav": "pcm_s16le", "a.flac": "flac", "a.mp3": "libmp3lame"}[name])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, [path] * 16))
    assert all(np.array_equal(samples, found[0]) for samples in found)


@pytest.mark.filterwarnings("ignore:.*is damaged or cut off:UserWarning")
def test_nothing_is_printed(tmp_path, capfd):
    path = write(tmp_path / "a.mp3", tone(44_100), 44_100, "libmp3lame")
    path.write_bytes(path.read_bytes()[:9000] + b"\0" * 2000 + path.read_bytes()[9000:-3000])
    read(path)
    (tmp_path / "b.mp3").write_bytes(b"no sound" * 500)
    with pytest.raises(DataError):
        read(tmp_path / "b.mp3")
    assert capfd.readouterr() == ("", "")


@pytest.mark.shared_data
def test_real_recordings():
    folder = SHARED / "speech"
    speech = read(folder / "asr_clips" / "audio" / "jfk.flac")
    assert len(speech) == 176_000
    assert 0.3 < np.abs(speech).max() <= 1
    digit = folder / "fsdd" / "recordings" / "0_george_0.wav"
    with wave.open(str(digit)) as file:
        assert len(read(digit)) == 2 * file.getnframes()


# ---------------------------------------------------------------- blocks
@pytest.mark.parametrize("seconds", [0.01, 0.37, 1, 100])
def test_blocks_are_the_whole(tmp_path, seconds):
    path = write(tmp_path / "a.mp3", tone(44_100, 3), 44_100, "libmp3lame")
    found = list(blocks(path, seconds))
    assert {len(block) for block in found[:-1]} <= {round(seconds * SAMPLE_RATE)}
    assert 0 < len(found[-1]) <= round(seconds * SAMPLE_RATE)
    assert np.array_equal(np.concatenate(found), read(path))


def test_blocks_of_an_array():
    samples = tone(44_100, 20)
    assert np.array_equal(np.concatenate(list(blocks((samples, 44_100), 0.9))), read((samples, 44_100)))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_blocks_of_no_length(seconds):
    with pytest.raises(ParameterError, match="seconds must be a positive number"):
        blocks(np.zeros(100), seconds)


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.mp3", "libmp3lame")])
def test_an_hour_needs_little_memory(tmp_path, name, codec):
    av = load_framework("av")
    rate, path = 16_000, tmp_path / name
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=rate, layout="mono")
        track.bit_rate = 32_000
        minute = np.tile(tone(rate, 1), 60)[None]
        for i in range(60 if codec == "pcm_s16le" else 15):  # an hour, a quarter of an hour
            frame = av.AudioFrame.from_ndarray(minute, "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, i * minute.size, Fraction(1, rate)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    heard = sum(map(len, blocks(path, 10)))  # once without the tracer, which is slow
    assert heard == (60 if codec == "pcm_s16le" else 15) * minute.size
    tracemalloc.start()
    try:
        for i, _ in enumerate(blocks(path, 10)):
            if i == 30:
                break
        assert tracemalloc.get_traced_memory()[1] < 15e6  # the hour is 230 MB
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- arrays
@pytest.mark.parametrize(
    ("kind", "full"),
    [("uint8", 128), ("int8", 128), ("int16", 2**15), ("int32", 2**31), ("float16", 1), ("float32", 1), ("float64", 1)],
)
def test_scales(kind, full):
    source = tone(16_000, 0.2)
    array = (source * full + (128 if kind == "uint8" else 0)).astype(kind)
    assert np.abs(read(array) - source).max() < 0.01
    assert read(array).dtype == np.float32


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 12_345, 192_000])
@pytest.mark.parametrize("n", [2000, 44_101])
def test_lengths(rate, n):
    assert len(resampled(np.zeros(n, dtype=np.float32), rate)) == int(n * SAMPLE_RATE / rate + 0.5)


@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_a_few_samples(n):
    assert len(read((np.full(n, 0.5, dtype=np.float32), 8_000))) == 2 * n
    assert len(read((np.full(n, 0.5, dtype=np.float32), 96_000))) == max(1, round(n / 6))


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_resampling_does_not_shift(rate):
    impulse = np.zeros(rate, dtype=np.float32)
    impulse[rate // 2] = 1
    assert int(np.argmax(resampled(impulse, rate))) == 8000


def test_sources():
    samples = tone(8_000)
    expected = read((samples, 8_000))
    torch = load_framework("torch")
    decoder = SimpleNamespace(
        get_all_samples=lambda: SimpleNamespace(data=torch.from_numpy(np.stack([samples, samples])), sample_rate=8_000)
    )
    for source in (
        (samples, 8000.0),
        [samples, np.int64(8_000)],
        (samples.tolist(), 8_000),
        (torch.from_numpy(samples), 8_000),
        {"array": samples, "sampling_rate": 8_000, "path": None},
        {"array": samples.tolist(), "sampling_rate": 8_000},
        decoder,
    ):
        assert np.allclose(read(source), expected, atol=1e-6)
    assert np.allclose(read((np.stack([samples, 0 * samples], axis=1), 8_000)), expected / 2, atol=1e-6)


def test_dicts_that_are_not_decoded(tmp_path):
    path = write(tmp_path / "a.flac", tone(16_000), 16_000, "flac")
    assert np.array_equal(read({"path": str(path), "bytes": None}), read(path))
    assert np.array_equal(read({"path": "elsewhere.flac", "bytes": path.read_bytes()}), read(path))


def test_source_is_not_changed():
    source = np.array([0.5, 1.2, -1.2], dtype=np.float32)
    samples = read(source)
    assert samples.tolist() == [0.5, 1.0, -1.0]  # a little too loud: clipped
    samples[:] = 0
    assert source.tolist() == pytest.approx([0.5, 1.2, -1.2])
    assert read(np.array([0, 2**15 - 1, -(2**15)], dtype=np.int16)).min() == -1


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.zeros(0, dtype=np.float32), r"holds no samples: its shape is \(0,\)"),
        (np.zeros((0, 2)), "holds no samples"),
        ([], "holds no samples"),
        (np.array([0, np.nan, 0]), r"nan at 0.000 s \(sample 1\)"),
        (np.array([0.0] * 16_000 + [-np.inf]), r"-inf at 1.000 s \(sample 16000\)"),
        (np.array([0.0, 1e300]), "inf"),
        (np.array([1j]), "an array of complex128"),
        (np.array([True, False]), "an array of bool"),
        (np.array([None, 1.0]), "an array of object"),
        (["a.wav", "b.wav"], "an array of <U5"),
        ([[0.0], [0.0, 1.0]], "A list cannot be read as audio"),
        (np.zeros(10, dtype=np.int64), "int64, whose full scale is unknown"),
        ([1, 2, 3], "int64, whose full scale is unknown"),
        (np.zeros(10, dtype=np.uint16), "uint16, whose full scale is unknown"),
        (np.zeros((2, 16_000)), r"looks like \(channels, samples\).*pass array.T"),
        (np.zeros((3, 20, 2)), "one clip at a time"),
        (np.zeros((200, 80)), "80 channels"),
        (1000 * tone(16_000), "values up to 500.*Divide them by their full scale"),
        (5, "of the type int"),
        (None, "of the type NoneType"),
        (b"RIFF", "of the type bytes"),
        ((tone(16_000), 0), "The sample rate is 0"),
        ((tone(16_000), -16_000), "The sample rate is -16000"),
        ((tone(16_000), 16), "The sample rate is 16. Expected samples a second"),
        ((tone(16_000), float("nan")), "The sample rate is nan"),
        ((tone(16_000), 16_000.5), "The sample rate is 16000.5"),
        ((tone(16_000), True), "The sample rate is True"),
        ((tone(16_000), None), "The sample rate is None"),
        ((tone(16_000), "16000"), "The sample rate is '16000'"),
        ({"array": [0.0]}, r'needs "array" and "sampling_rate", but has \[\'array\'\]'),
        ({}, "but has"),
        ("", "does not exist"),
        ("nowhere.wav", "nowhere.wav does not exist. Check the path"),
        ("a\0b.wav", "cannot be read: embedded null"),
        ("https://example.org/a.mp3", "https://example.org/a.mp3 is an address on the network"),
        ("/dev/zero", "/dev/zero is a device"),
    ],
    ids=lambda value: None if isinstance(value, str) else "source",
)
def test_bad_sources(source, said):
    with pytest.raises(DataError, match=said):
        read(source)
    with pytest.raises(DataError, match=said):
        list(blocks(source, 1))


def test_bad_files(tmp_path):
    picture = tmp_path / "video.mp4"
    av = load_framework("av")
    with av.open(str(picture), "w") as container:
        container.mux(_pictures(container, 1)())
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound\n" * 50)
    (tmp_path / "text.txt").write_text("no sound\n" * 50)
    (tmp_path / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(30_000))
    (tmp_path / "nothing.wav").write_bytes(_wav(b"", 16_000))
    (tmp_path / "rate.wav").write_bytes(_wav(b"\0" * 100, 0))
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    for name, said in {
        "": "is a folder, not an audio file",
        "missing.wav": "does not exist",
        "empty.wav": "is an empty file",
        "video.mp4": "holds no sound",
        "text.wav": "cannot be read as audio",
        "text.txt": "holds no sound|cannot be read as audio",
        "noise.mp3": "cannot be read as audio|is damaged",
        "nothing.wav": "holds no samples",
        "rate.wav": "cannot be read as audio|is damaged",
        "list.m3u8": "cannot be read as audio",  # and nothing is looked for on the network
    }.items():
        with pytest.raises(DataError, match=said) as error:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert str(error.value).endswith(".")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_file_that_may_not_be_read(tmp_path):
    path = write(tmp_path / "a.wav", tone(16_000), 16_000)
    path.chmod(0)
    with pytest.raises(DataError, match="may not be read by this user"):
        read(path)


def _wav(data, rate, size=None, riff=None):
    """Return a WAV file of 16 bits, whose header may say another size."""
    size = len(data) if size is None else size
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16) + struct.pack("<4sI", b"data", size)
    return struct.pack("<4sI4s", b"RIFF", 36 + size if riff is None else riff, b"WAVE") + head + data


def test_header_of_six_hours_on_a_short_file(tmp_path):
    data = (tone(16_000) * 2**15).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(_wav(data, 16_000, size=6 * 3600 * 32_000))
    tracemalloc.start()
    try:
        with pytest.warns(UserWarning, match=r"a.wav is damaged or cut off: 1.5 seconds could be read, and are used"):
            samples = read(tmp_path / "a.wav")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert len(samples) == 24_000


@pytest.mark.parametrize("size", [0, 2**32 - 1])
def test_wav_from_a_pipe_says_no_length(tmp_path, size):
    data = (tone(16_000) * 2**15).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(_wav(data, 16_000, size=size, riff=size))
    assert len(read(tmp_path / "a.wav")) == 24_000  # no warning


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.webm", "libopus")]
)
def test_cut_off(tmp_path, name, codec):
    """What is there is given, with a warning."""
    path = write(tmp_path / name, tone(48_000, 4), 48_000, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.warns(UserWarning, match=rf"{name} is damaged or cut off: [12].\d( of 4.0)? seconds could be read"):
        samples = read(path)
    assert 1.5 < len(samples) / SAMPLE_RATE < 2.6
    assert level(samples) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_cut_off_without_its_table_of_contents(tmp_path):
    path = write(tmp_path / "a.m4a", tone(16_000, 4), 16_000, "aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(DataError, match=r"a\.m4a is damaged or cut off: it lacks its table of contents"):
        read(path)


def test_damage_in_the_middle(tmp_path):
    path = write(tmp_path / "a.flac", tone(44_100, 4), 44_100, "flac")
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = b"\xaa" * third
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="a.flac is damaged or cut off"):
        samples = read(path)
    assert 2 < len(samples) / SAMPLE_RATE < 3.5


def test_floats_of_another_scale_in_a_file(tmp_path):
    path = write(tmp_path / "a.wav", 20_000 * tone(16_000), 16_000, "pcm_f32le")
    with pytest.raises(DataError, match=r"a.wav has values up to 1\d* ?.*Divide|a.wav has values up to"):
        read(path)


def test_nan_in_a_file(tmp_path):
    samples = tone(16_000)
    samples[20_000] = np.nan
    path = write(tmp_path / "a.wav", samples, 16_000, "pcm_f32le")
    with pytest.raises(DataError, match=r"a.wav holds nan at 1.250 s \(sample 20000\)"):
        read(path)


def test_import_loads_nothing(run_python):
    done = run_python("import speech.audio, sys; print([m for m in ('av', 'torch', 'numba') if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr
