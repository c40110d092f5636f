"""Files that hold many images: IDX, arrays, a folder; and the shape in which a network takes them."""

import gzip
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from elman.data.array_image import array_images
from elman.data.filesystem import Archive, Folder
from elman.data.image_file import ImageFile
from elman.data.image_shape import choose_shape
from elman.data.pixels import Pixels
from elman.data.table_reader import TableOptions, read
from elman.inspect.animation import gif
from idx_files import idx
from user_errors import fails


def draw(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def mnist(folder, names=("train", "t10k"), compress=gzip.compress, suffix=".gz"):
    """Images and labels of each split, as they are distributed."""
    made = {}
    for seed, name in enumerate(names):
        images, labels = draw(5 + seed, 7, 7, seed=seed), draw(5 + seed, seed=9 + seed) % 10
        (folder / f"{name}-images-idx3-ubyte{suffix}").write_bytes(compress(idx(images)))
        (folder / f"{name}-labels-idx1-ubyte{suffix}").write_bytes(compress(idx(labels)))
        made[name] = images, labels
    return made


@pytest.mark.parametrize("compressed", [True, False])
def test_a_folder_of_idx_files_has_images_labels_and_splits(tmp_path, compressed):
    made = mnist(tmp_path, **({} if compressed else {"compress": lambda data: data, "suffix": ""}))
    rows = read([str(tmp_path)], TableOptions())
    assert rows.columns["split"] == ["test"] * 6 + ["train"] * 5
    for begin, name in ((6, "train"), (0, "t10k")):
        images, labels = made[name]
        for number in range(len(images)):
            assert (rows.columns["image"][begin + number].values == images[number]).all()
            assert rows.columns["label"][begin + number] == str(labels[number])
    assert rows.where(6).endswith("row 1")
    assert "train-images" in rows.where(6)


def test_one_idx_file_finds_its_labels_or_has_none(tmp_path):
    made = mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    rows = read([str(path)], TableOptions())
    assert rows.columns["label"] == [str(label) for label in made["t10k"][1]]
    assert "split" not in rows.columns
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert list(read([str(path)], TableOptions()).columns) == ["image"]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("images-idx3", "labels-idx1"):
            archive.write(tmp_path / f"train-{name}-ubyte.gz", f"train-{name}-ubyte.gz")
    assert len(read([str(tmp_path / "all.zip")], TableOptions()).columns["label"]) == 5


IMAGES = idx(draw(3, 4, 4))
WRONG_IDX = {
    "magic": (b"\0\0\x0d\x03" + IMAGES[4:], "starts with 00 00 0d 03: an IDX file of unsigned bytes starts with"),
    "text": (b"<!DOCTYPE html>", "starts with 3c 21 44 4f"),
    "short": (IMAGES[:-1], "has 63 bytes: an IDX file of (3, 4, 4) has 64"),
    "long": (IMAGES + b"\0", "has 65 bytes: an IDX file of (3, 4, 4) has 64"),
    "head": (IMAGES[:9], "has 9 bytes: an IDX file of 3 dimensions has"),
    "huge": (b"\0\0\x08\x03" + b"\xff" * 12, "has 16 bytes"),
    "labels": (idx(draw(5)), "has (5,): IDX images are"),
    "five channels": (idx(draw(2, 3, 3, 5)), "has (2, 3, 3, 5): IDX images are"),
}


@pytest.mark.parametrize("kind", WRONG_IDX)
def test_a_wrong_idx_file_is_named(tmp_path, kind):
    data, message = WRONG_IDX[kind]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    fails(lambda: read([str(path)], TableOptions()), message)


def test_labels_of_another_length_are_refused(tmp_path):
    mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(draw(4))))
    fails(lambda: read([str(tmp_path)], TableOptions()), "has (4,), but ", "train-images", " has 5 images")


@pytest.mark.parametrize("channels", [(), (3,)])
def test_images_in_arrays(tmp_path, channels):
    train, test, labels = draw(5, 6, 6, *channels), draw(2, 6, 6, *channels), np.arange(5)
    np.savez(tmp_path / "keras.npz", x_train=train, y_train=labels[:, None], x_test=test, y_test=labels[:2])
    rows = read([str(tmp_path / "keras.npz")], TableOptions())
    assert rows.columns["split"] == ["train"] * 5 + ["test"] * 2
    assert rows.columns["label"] == list("0123401")
    assert (np.stack([image.values for image in rows.columns["image"]]) == np.concatenate((train, test))).all()
    np.savez(tmp_path / "plain.npz", images=train)
    assert list(read([str(tmp_path / "plain.npz")], TableOptions()).columns) == ["image"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 4, 4))}, "has images (2, 4, 4) float64: images are"),
        ({"images": np.zeros((4, 4), np.uint8)}, "has images (4, 4) uint8: images are"),
        ({"images": np.zeros((2, 4, 4, 2), np.uint8)}, "has images (2, 4, 4, 2)"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, "has images (0, 4, 4)"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3)}, "has 2 images, but labels (3,)"),
        ({"images": np.array([[[None]]])}, "Python objects"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    fails(lambda: read([str(tmp_path / "x.npz")], TableOptions()), message)


def test_a_folder_of_images_is_a_table_of_them(tmp_path):
    for name in ("b.png", "a.jpg"):
        Image.fromarray(draw(8, 8, 3)).save(tmp_path / name)
    rows = read([str(tmp_path)], TableOptions())
    assert [image.name for image in rows.columns["image"]] == ["a.jpg", "b.png"]
    (tmp_path / "notes.md").write_text("x")
    rows = read([str(tmp_path)], TableOptions(format="images"))
    assert len(rows) == 2
    assert any("1 files that are not images were not read" in note for note in rows.notes)


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    fails(
        lambda: read([str(tmp_path)], TableOptions(format="images")),
        "has no images: `format` images reads a folder of them",
    )


def test_names_of_a_folder_and_of_a_zip_are_what_is_directly_in_it(tmp_path):
    for name in ("a", "in/b", "in/deep/c"):
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).write_text(name)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a", "in/b", "in/deep/c"):
            archive.writestr(name, name)
    for root in (Folder(str(tmp_path / "x")), Archive(str(tmp_path / "x.zip"))):
        assert root.names() == ["a", "in"]
        assert root.folder("in").names() == ["b", "deep"]
    fails(lambda: Folder(str(tmp_path / "missing")).names(), "cannot read", "missing")


MODES = {"1": 1, "L": 1, "LA": 1, "I;16": 1, "P": 3, "RGB": 3, "RGBA": 3, "CMYK": 3}


@pytest.mark.parametrize("mode", MODES)
def test_the_shape_of_a_file_is_that_of_its_pixels(tmp_path, mode):
    source = Image.fromarray(draw(5, 9, 3)).convert("L") if mode == "I;16" else Image.fromarray(draw(5, 9, 3))
    name = f"x.{'tif' if mode == 'CMYK' else 'png'}"
    source.convert(mode).save(tmp_path / name)
    image = ImageFile(name, Folder(str(tmp_path)), name)
    assert image.shape == (5, 9, MODES[mode])
    assert image.image().size == (9, 5)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(draw(5, 9, 3)).save(tmp_path / "t.jpg", exif=turned)
    assert ImageFile("t.jpg", Folder(str(tmp_path)), "t.jpg").shape == (9, 5, 3)


def test_pixels_of_arrays_are_their_values(tmp_path):
    grey, colour = draw(4, 6, 6), draw(4, 6, 6, 3, seed=1)
    found = Pixels(array_images("x", grey), 6, print, 1).take("image", np.array([2, 0, 2]))
    assert (found["image"][found["image_of"]].numpy() == grey[[2, 0, 2]][:, None]).all()
    found = Pixels(array_images("x", colour), 6, print).take("image", np.array([1]))
    assert (found["image"][0].numpy().transpose(1, 2, 0) == colour[1]).all()
    # grey as colour has three equal channels; colour as grey is the luma of ITU-R 601
    for images, channels, wanted in (
        (grey, 3, np.repeat(grey[0][None], 3, 0)),
        (colour, 1, (colour[0] @ np.array([0.299, 0.587, 0.114]))[None]),
    ):
        assert np.abs(array_images("x", images)[0].pixels(6, channels) - wanted).max() <= 1
    assert array_images("x", grey)[0].pixels(3, 1).shape == (1, 3, 3)


def test_images_of_one_square_size_keep_it():
    same = array_images("x", draw(3, 28, 28))
    assert vars(choose_shape(same, None)) == {"image_size": 28, "channels": 1, "note": None}
    chosen = choose_shape(same, 20)
    assert (chosen.image_size, chosen.note) == (20, "images of 28 x 28 pixels are resized to 20 x 20")
    mixed = choose_shape(same + array_images("y", draw(1, 9, 30, 3)), None)
    assert (mixed.image_size, mixed.channels) == (64, 3)
    assert mixed.note == "images of 2 sizes, 30 x 9 to 28 x 28 pixels are resized to 64 x 64"


def test_stamps_change_with_the_pixels():
    values = draw(2, 3, 3)
    first, second = array_images("x", values)
    values = values.copy()
    values[0, 0, 0] ^= 1
    again = array_images("x", values)
    assert first.stamp != second.stamp
    assert first.stamp != again[0].stamp
    assert second.stamp == again[1].stamp


def test_a_gif_has_all_frames_in_their_colours():
    frames = [np.full((8, 10, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    with Image.open(io.BytesIO(gif(frames, 0.2))) as image:
        assert image.n_frames == 3
        assert image.size == (10, 8)
        assert image.info["loop"] == 0
        for number, frame in enumerate(frames):
            image.seek(number)
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - frame).max() <= 4
            assert image.info["duration"] == (800 if number == 2 else 200)
