"""Clips: films by their time stamps, folders of frames, features, spectrograms; spans of labels; stored frames."""

import itertools
import math
import os
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from elman.data import footage as footage_module
from elman.data.clip import Frame, resampled
from elman.data.clip_input import open_clip
from elman.data.footage import Decoding, decode
from elman.data.frame_folder import natural
from elman.data.label_spans import Span, Spans, runs
from elman.data.moving import ACTIONS, SIZE, MovingClip
from elman.data.wav_file import BANDS, mel_filters
from films import film, moving, sound
from user_errors import fails

some = settings(deadline=None, derandomize=True, database=None, max_examples=80)


def levels(frames):
    """The times and the mean levels of frames."""
    found = [(frame.time, float(np.asarray(frame.value, np.float32).mean())) for frame in frames]
    return [time for time, _ in found], [level for _, level in found]


# films


def test_a_film_has_its_frames_in_order_at_their_own_times(tmp_path):
    path = film(tmp_path / "a.mkv", [20, 90, 160, 230], [0, 0.1, 0.5, 0.6])
    times, found = levels(open_clip(str(path)).frames(None))
    assert times == pytest.approx([0, 0.1, 0.5, 0.6], abs=1e-3)
    assert found == pytest.approx([20, 90, 160, 230], abs=2)


def test_times_count_from_the_first_frame(tmp_path):
    path = film(tmp_path / "a.mkv", [20, 90, 160], [2.0, 2.1, 2.3])
    assert levels(open_clip(str(path)).frames(None))[0] == pytest.approx([0, 0.1, 0.3], abs=1e-3)


def test_a_film_of_a_varying_frame_rate_is_resampled_by_time_stamps(tmp_path):
    path = film(tmp_path / "a.mkv", [20, 90, 160, 230], [0, 0.1, 0.5, 0.6])
    times, found = levels(open_clip(str(path)).frames(10))
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert found == pytest.approx([20, 90, 90, 90, 90, 160, 230], abs=2)


@some
@given(st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True), st.sampled_from([1, 7, 10, 24, 30]))
def test_resampling_shows_at_each_time_the_last_frame_that_has_begun(ticks, fps):
    times = [tick / 100 for tick in sorted(ticks)]
    times = [time - times[0] for time in times]
    frames = [Frame(time, np.array([number])) for number, time in enumerate(times)]
    found = list(resampled(frames, fps))
    expected = [k / fps for k in range(1000) if k / fps <= times[-1] + 1e-6]
    assert [frame.time for frame in found] == pytest.approx(expected)
    for frame in found:
        assert frame.value[0] == max(number for number, time in enumerate(times) if time <= frame.time + 1e-6)


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_lossy_films_are_decoded_too(tmp_path, codec):
    times, found = levels(open_clip(str(film(tmp_path / "a.avi", [40] * 5 + [200] * 5, codec=codec))).frames(None))
    assert np.diff(times) == pytest.approx(0.1, abs=0.01)
    assert found == pytest.approx([40] * 5 + [200] * 5, abs=12)


def test_what_is_no_film_or_has_no_frames_is_an_error_of_one_line(tmp_path):
    (tmp_path / "text.mp4").write_text("no film at all\n" * 50)
    fails(lambda: list(open_clip(str(tmp_path / "text.mp4")).frames(None)), "text.mp4 cannot be decoded as a video: ")
    (tmp_path / "empty.mp4").touch()
    fails(lambda: open_clip(str(tmp_path / "empty.mp4")), "empty.mp4 is empty: it has no frames")
    fails(lambda: open_clip(str(tmp_path / "text.mp3")), "text.mp3 does not exist")


@pytest.mark.parametrize(
    ("name", "words"),
    [("half.mkv", ["half.mkv is truncated: ", " s of 4.00 s could be read, ", " frames"]),
     ("half.avi", ["half.avi cannot be decoded as a video after frame ", " s): "])],
)  # fmt: skip
def test_a_truncated_film_is_an_error_that_names_how_much_was_read(tmp_path, name, words):
    path = tmp_path / name
    data = moving(path, 40).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    read = list[float]()
    line = fails(lambda: read.extend(frame.time for frame in open_clip(str(path)).frames(None)), *words)
    assert 10 < len(read) < 30
    assert str(len(read)) in line


def test_a_damaged_frame_is_an_error_that_names_it(tmp_path):
    path = moving(tmp_path / "a.mpg", 50, codec="mpeg2video")
    assert len(list(open_clip(str(path)).frames(None))) == 50
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(data)
    read = list[float]()
    line = fails(lambda: read.extend(frame.time for frame in open_clip(str(path)).frames(None)), "a.mpg is damaged: ")
    assert 10 < len(read) < 40
    assert f"frame {len(read) + 1} (" in line


def test_without_pyav_the_line_names_the_package(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mkv", [1, 2])
    monkeypatch.setitem(sys.modules, "av", None)
    fails(
        lambda: list(open_clip(str(path)).frames(None)), "a.mkv is a video and needs PyAV: pip install 'elman[video]'"
    )


# frames, features, sounds


def test_the_frames_of_a_folder_are_in_natural_order(tmp_path):
    for number in (10, 9, 1, 2):
        Image.new("L", (8, 8), number).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    times, found = levels(open_clip(str(tmp_path)).frames(5))
    assert (times, found) == (pytest.approx([0, 0.2, 0.4, 0.6]), [1, 2, 9, 10])
    assert sorted(["a10b2", "a9b10", "a9b9", "a10"], key=natural) == ["a9b9", "a9b10", "a10", "a10b2"]


def test_a_folder_without_frames_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("not a frame")
    fails(lambda: list(open_clip(str(tmp_path)).frames(None)), "has no frames: expected images, one for each")


def test_features_are_a_frame_a_row(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 3))
    np.save(tmp_path / "a.npy", values)
    frames = list(open_clip(str(tmp_path / "a.npy")).frames(2))
    assert [frame.time for frame in frames] == [0, 0.5, 1, 1.5, 2]
    assert np.stack([frame.value for frame in frames]) == pytest.approx(values)


@pytest.mark.parametrize("value", [np.zeros(4), np.zeros((0, 4)), np.full((2, 2), np.nan), np.array([["a"]])])
def test_features_of_another_shape_or_type_are_an_error(tmp_path, value):
    np.save(tmp_path / "a.npy", value)
    fails(lambda: list(open_clip(str(tmp_path / "a.npy")).frames(None)), "a.npy")


def test_features_with_python_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    fails(lambda: list(open_clip(str(tmp_path / "a.npy")).frames(None)), "without Python objects")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_spectrogram_is_that_of_its_definition(tmp_path, width, channels):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.8, 0.8, (3000, channels))
    path = sound(tmp_path / "a.wav", samples, 8000, width)
    frames = list(open_clip(str(path)).frames(None))
    mono, window, hop, filters = samples.mean(1), 200, 80, mel_filters(BANDS, 256, 8000)
    assert len(frames) == 1 + (3000 - window) // hop
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    for k in (0, 7, len(frames) - 1):
        piece = mono[k * hop : k * hop + window] * hann
        bins = np.arange(129)[:, None] * np.arange(window) / 256
        power = np.abs((piece * np.exp(-2j * np.pi * bins)).sum(1)) ** 2 / window
        expected = np.log(power @ filters + 1e-6)
        assert frames[k].time == pytest.approx(k / 100)
        assert frames[k].value == pytest.approx(expected, abs=0.05 if width == 1 else 0.01)


def test_blocks_of_a_long_sound_join_without_a_seam(tmp_path, monkeypatch):
    path = sound(tmp_path / "a.wav", np.random.default_rng(0).uniform(-1, 1, 30_000))
    whole = [frame.value for frame in open_clip(str(path)).frames(None)]
    monkeypatch.setattr("elman.data.wav_file.BLOCK", 3)
    pieces = list(open_clip(str(path)).frames(None))
    assert np.stack([frame.value for frame in pieces]) == pytest.approx(np.stack(whole), abs=1e-4)
    assert [frame.time for frame in pieces] == pytest.approx(np.arange(len(whole)) / 100)


def test_a_mel_filter_has_its_peak_at_its_frequency():
    filters, top = mel_filters(10, 4096, 16_000), 2595 * math.log10(1 + 8000 / 700)
    peaks = 700 * (10 ** (np.arange(1, 11) * top / 11 / 2595) - 1)
    assert filters.argmax(0) * 8000 / 2048 == pytest.approx(peaks, abs=4)
    assert filters.max() <= 1
    assert filters.min() == 0


def test_a_sound_that_is_no_wav_or_too_short_is_an_error(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF no wave")
    fails(lambda: list(open_clip(str(tmp_path / "a.wav")).frames(None)), "cannot be read as a WAV of integer samples")
    sound(tmp_path / "b.wav", np.zeros(20))
    fails(
        lambda: list(open_clip(str(tmp_path / "b.wav")).frames(None)), "b.wav has no frames: it is shorter than 25 ms"
    )


# generated clips


@some
@given(st.integers(0, 10**6), st.integers(2, 60))
def test_a_generated_clip_has_spans_that_cover_it_and_change(seed, count):
    clip = MovingClip(seed, count)
    spans = clip.spans
    assert [begin for begin, *_ in spans] == [0, *(end for _, end, _ in spans[:-1])]
    assert spans[-1][1] == count
    assert all(first[2] != second[2] for first, second in itertools.pairwise(spans))
    assert MovingClip.parse(clip.name) == clip


def test_a_generated_clip_moves_as_its_spans_name_it():
    """The centre of mass, and the mean distance from it, of each frame against the one before."""
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1)
    checked = set()
    for seed in range(40):
        clip = MovingClip(seed, 40)
        mass = [np.asarray(frame.value, float) for frame in clip.frames(None)]
        centres = [(image[..., None] * grid).sum((0, 1)) / image.sum() for image in mass]
        sizes = [np.sqrt((image * ((grid - c) ** 2).sum(-1)).sum() / image.sum())
                 for image, c in zip(mass, centres, strict=True)]  # fmt: skip
        for begin, end, action in clip.spans:
            first, last = max(begin - 1, 0), end - 1
            if last <= first:
                continue
            (x, y), grown = (centres[last] - centres[first]) / (last - first), sizes[last] / sizes[first]
            right, down, turn, factor = ACTIONS[action]
            if turn == 0 and factor == 1:
                assert (x, y) == pytest.approx((right, down), abs=0.25), action
            if turn == 0:
                assert grown == pytest.approx(factor ** (last - first), rel=0.3), action
            checked.add(action)
    assert checked == set(ACTIONS)


def test_a_clip_of_one_action_has_it_from_the_first_frame_to_the_last():
    for action in ACTIONS:
        assert MovingClip(3, 9, action).spans == [(0, 9, action)]
    fails(lambda: open_clip("clip:3:9:fly"), "clip:3:9:fly describes no clip", "left, right")


# spans


def spans(*triples):
    return Spans.of([Span.parse(str(a), str(b), label, f"t row {k}") for k, (a, b, label) in enumerate(triples, 1)])


@some
@given(st.lists(st.sampled_from(["x", "y", ""]), min_size=1, max_size=30))
def test_labels_of_frames_survive_a_round_trip_through_spans(labels):
    times = np.arange(len(labels)) * 0.04
    found = spans(*((begin * 0.04, end * 0.04, label) for begin, end, label in runs(labels) if label))
    assert found.at(times, len(labels) * 0.04, "") == labels


def test_a_gap_has_the_label_of_the_background():
    assert spans((0.2, 0.4, "x"), (0.5, 0.6, "y")).at(np.arange(8) / 10, 0.8, "-") == list("--xx-y--")


def test_spans_that_overlap_or_lie_outside_are_errors_that_name_the_row():
    fails(lambda: spans((0, 2, "x"), (3, 4, "z"), (1, 2.5, "y")), "t row 3 has a span, 1.00 to 2.50 s, that overlaps",
          "t row 1, 0.00 to 2.00 s")  # fmt: skip
    fails(lambda: spans((0, 2, "x")).at(np.arange(10) / 10, 1.0, "-"), "t row 1 has a span, 0.00 to 2.00 s, that lies "
          "outside of its clip, which ends at 1.00 s")  # fmt: skip
    for start, end in ((2, 1), (1, 1), (-1, 1)):
        fails(lambda start=start, end=end: spans((start, end, "x")), "t row 1 has a span from", "must start at 0")
    fails(lambda: spans(("soon", 1, "x")), "t row 1 has the start 'soon': expected a number of seconds")


# frames that are kept


def pixels(clip, frame):
    return np.asarray(frame.value.convert("L").resize((4, 4)))[None]


HOW = Decoding(pixels, (1, 4, 4), np.uint8, "test", None)


@pytest.fixture
def films(tmp_path, monkeypatch):
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(footage_module, "_LAST", [])
    return [open_clip(str(film(tmp_path / f"{k}.mkv", range(30, 30 + 10 * k, 10)))) for k in (3, 5, 1)]


def test_footage_has_the_frames_of_all_clips_in_order(films):
    found = decode(films, HOW, print)
    assert found.starts.tolist() == [0, 3, 8, 9]
    assert found.frames[:, 0, 0, 0].tolist() == pytest.approx([30, 40, 50, 30, 40, 50, 60, 70, 30], abs=2)
    assert found.times[found.of_clip(1)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert [found.end(k) for k in range(3)] == pytest.approx([0.3, 0.5, 0.04])


def test_large_footage_is_decoded_once_and_then_mapped(films, monkeypatch, tmp_path):
    in_memory = decode(films, HOW, print)
    monkeypatch.setattr(footage_module, "MAX_MEMORY", 20)
    monkeypatch.setattr(footage_module, "BLOCK", 2)
    for _ in range(2):
        footage_module._LAST.clear()
        found = decode(films, HOW, print)
        assert np.array_equal(found.frames, in_memory.frames)
        assert np.array_equal(found.times, in_memory.times)
        assert np.array_equal(found.starts, in_memory.starts)
        monkeypatch.setattr(type(films[0]), "frames", None)  # the second time nothing is decoded
    assert len(list((tmp_path / "cache" / "frames").iterdir())) == 1


def test_a_film_that_has_changed_is_decoded_again(films, monkeypatch, tmp_path):
    monkeypatch.setattr(footage_module, "MAX_MEMORY", 20)
    decode(films, HOW, print)
    film(tmp_path / "3.mkv", [200, 210, 220])
    os.utime(tmp_path / "3.mkv", ns=(1, 1))
    assert decode(films, HOW, print).frames[0, 0, 0, 0] == pytest.approx(200, abs=2)
