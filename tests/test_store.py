"""Arrays that are kept: each is made once, and what is taken is what was made, whatever happened to the file."""

import errno
import multiprocessing
import os
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from elman.data import pixels
from elman.data.filesystem import Folder
from elman.data.image import LazyImage, to_pixels
from elman.data.image_file import ImageFile
from elman.data.pixels import Pixels
from elman.data.store import Store

COUNT, SHAPE = 7, (3, 5)
some = settings(deadline=None, derandomize=True, database=None, max_examples=60)
orders = st.lists(st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=6), max_size=8)


def array(number):
    return np.random.default_rng(number).normal(size=SHAPE).astype(np.float16)


class FieldMaker:
    """Makes the arrays, and counts them."""

    def __init__(self):
        self.counts = Counter()

    def __call__(self, numbers):
        self.counts.update(numbers.tolist())
        return np.stack([array(number) for number in numbers])


def holds(store, make, numbers=range(COUNT)):
    assert np.array_equal(store.take(np.array(numbers), make), np.stack([array(number) for number in numbers]))


@some
@given(orders, st.booleans())
def test_arrays_are_as_computed_and_computed_once(tmp_path_factory, asked, in_memory):
    path = None if in_memory else tmp_path_factory.mktemp("store") / "x"
    make, stores = FieldMaker(), [Store(COUNT, SHAPE, np.float16, path)] * 2
    if path is not None:
        stores[1] = Store(COUNT, SHAPE, np.float16, path)  # another process, as far as it can log
    for turn, numbers in enumerate(asked):
        holds(stores[turn % 2], make, numbers)
    assert set(make.counts) == {number for numbers in asked for number in numbers}
    assert set(make.counts.values()) <= {1}


@pytest.mark.parametrize("damage", [b"", b"x" * 10, b"x" * 10_000])
def test_a_file_of_another_size_is_made_again(tmp_path, damage):
    (tmp_path / "x").write_bytes(damage)
    make = FieldMaker()
    holds(Store(COUNT, SHAPE, np.float16, tmp_path / "x"), make)
    assert make.counts == Counter(range(COUNT))
    holds(Store(COUNT, SHAPE, np.float16, tmp_path / "x"), make)
    assert make.counts == Counter(range(COUNT))


@pytest.mark.parametrize("written", [0, 1])
def test_an_array_that_was_half_written_is_made_anew_and_no_other(tmp_path, written):
    path, size = tmp_path / "x", array(0).nbytes
    holds(Store(COUNT, SHAPE, np.float16, path), FieldMaker())
    data = bytearray(path.read_bytes())
    data[2 * size + 4 : 3 * size] = bytes(size - 4) if written else b"\xff" * (size - 4)
    path.write_bytes(data)
    make, store = FieldMaker(), Store(COUNT, SHAPE, np.float16, path)
    holds(store, make)
    holds(store, make)
    assert make.counts == {2: 1}
    holds(Store(COUNT, SHAPE, np.float16, path), make)
    assert make.counts == {2: 1}


def test_an_array_of_zeros_is_made_once(tmp_path):
    calls = []
    for _ in range(2):
        found = Store(2, SHAPE, np.uint8, tmp_path / "x").take(
            np.array([1]), lambda numbers: (calls.append(numbers), np.zeros((1, *SHAPE), np.uint8))[1]
        )
        assert not found.any()
    assert len(calls) == 1


def asks(path, seed):
    """What another process does: takes arrays in an order of its own, each several times."""
    make, store = FieldMaker(), Store(COUNT, SHAPE, np.float16, path)
    for numbers in np.random.default_rng(seed).integers(0, COUNT, (50, 4)):
        holds(store, make, numbers)
    return make.counts


def test_several_processes_share_a_file(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        counts = pool.starmap(asks, [(tmp_path / "x", seed) for seed in range(4)])
    assert all(set(each.values()) <= {1} for each in counts)
    make = FieldMaker()
    holds(Store(COUNT, SHAPE, np.float16, tmp_path / "x"), make)
    assert not make.counts


# pixels


class Painted(LazyImage):
    """A image that counts how often it is decoded."""

    def __init__(self, name, colour=(10, 20, 30), origin="here"):
        self.name, self.colour, self._origin, self.decoded = name, colour, origin, 0

    @property
    def origin(self):
        return self._origin and f"{self._origin} {self.name}"

    def image(self):
        self.decoded += 1
        return Image.new("RGB", (9, 6), self.colour)


def take(field, rows):
    """What a batch has of each of the rows."""
    found = field.take("image", np.array(rows))
    assert len(found["image"]) == len(set(field.indices[rows].tolist())), "each image once"
    return found["image"][found["image_of"]].numpy()


def test_pixels_are_those_of_the_image():
    values = np.zeros((40, 80, 3), np.uint8)
    values[:20, :40], values[:20, 40:] = (200, 30, 40), (20, 180, 60)
    values[20:, :40], values[20:, 40:] = (10, 60, 220), (250, 240, 10)
    found = to_pixels(Image.fromarray(values), 8)
    assert found.shape == (3, 8, 8)
    assert found.dtype == np.uint8
    for row, column in ((1, 1), (1, 6), (6, 1), (6, 6)):
        assert found[:, row, column].tolist() == values[5 * row, 10 * column].tolist()


@pytest.mark.parametrize("small", [0, pixels.MAX_MEMORY])
def test_a_image_is_decoded_once(monkeypatch, own_cache, small):
    monkeypatch.setattr(pixels, "MAX_MEMORY", small)
    images, lines = [Painted(str(number), (number, 0, 0)) for number in range(4)], []
    rows = [*images, Painted("2", (2, 0, 0))]  # by its name an image of before
    field = Pixels(rows, 8, lines.append)
    assert field.workers == 1
    for batch in ([0, 1, 1], [4, 2, 0], [3, 3, 3]):
        found = take(field, batch)
        assert found.shape == (3, 3, 8, 8)
        assert found[:, 0, 0, 0].tolist() == [images[number if number < 4 else 2].colour[0] for number in batch]
    assert take(field.select(np.array([3, 1])), [0])[0, 0, 0, 0] == 3
    # the fifth stands for the third
    assert [image.decoded for image in rows] == [1, 1, 0, 1, 1]
    files = list((own_cache / "pixels").glob("*")) if small == 0 else []
    assert [str(file) in line for file, line in zip(files, lines, strict=True)] == [True] * (small == 0)
    again = [Painted(str(number), (number, 0, 0)) for number in range(4)]
    take(Pixels(again, 8, lines.append), [0, 1, 2, 3])
    assert [image.decoded for image in again] == [0 if small == 0 else 1] * 4


def test_what_is_drawn_is_not_kept(own_cache):
    image = Painted("x", origin=None)
    field = Pixels([image, image], 8, print)
    assert field.workers == 0
    take(field, [0, 1])
    take(field, [1])
    assert image.decoded == 2
    assert not (own_cache / "pixels").exists()


def test_a_file_that_was_changed_is_decoded_again(monkeypatch, tmp_path):
    monkeypatch.setattr(pixels, "MAX_MEMORY", 0)

    def colour(value):
        Image.new("RGB", (8, 8), (value, 0, 0)).save(tmp_path / "x.bmp")  # of the same size, whatever its colour
        image = ImageFile("x.bmp", Folder(str(tmp_path)), "x.bmp")
        return int(take(Pixels([image], 8, lambda line: None), [0])[0, 0, 0, 0])

    assert colour(5) == 5
    os.utime(tmp_path / "x.bmp", (1, 1))
    assert colour(200) == 200


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot log a full disk beforehand")
def test_a_full_disk_is_logged_and_training_continues(monkeypatch, own_cache):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixels, "MAX_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    image, lines = Painted("x"), []
    field = Pixels([image], 8, lines.append)
    for _ in range(2):
        assert take(field, [0])[0, :, 0, 0].tolist() == [10, 20, 30]
    assert image.decoded == 2
    (line,) = lines
    assert all(word in line for word in ("No space left on device", "ELMAN_CACHE", "1 images", str(own_cache)))
    assert not list(Path(own_cache, "pixels").iterdir())
