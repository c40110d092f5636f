"""Damaged images: found when the table is read where that costs little, all of them when they are to be skipped, and
told in a line where one is met in training."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from torch.testing import assert_close

from elman.data import table_reader
from elman.data.rows import Rows
from elman.data.table_reader import TableOptions
from elman.errors import UserError
from elman.training.api import load, train
from elman.training.run import Run
from test_images import coded, fails, header, in_zip, put

TINY = {"hidden": 8, "embedding": 8, "batch_size": 4, "image_size": 16, "steps": 30, "warmup": 0,
        "precision": "float32", "device": "cpu", "preview": False, "backend": "native", "valid": "0",
        "test": "0"}  # fmt: skip


def noise(kind, **how):
    return coded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), kind, **how)


def flipped(data):
    """Sixteen bytes in the middle are others."""
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0x55 for byte in data[middle : middle + 16]) + data[middle + 16 :]


JPEG, PNG = noise("JPEG"), noise("PNG")
SEEN_AT_ONCE = {
    "a JPEG that was cut off": JPEG[: len(JPEG) * 6 // 10],
    "a JPEG that lacks a little": JPEG[:-40],
    "a PNG that was cut off": PNG[: len(PNG) * 6 // 10],
    "nothing": b"",
    "a text": b"no image\n",
    "a bomb": header(60_000, 60_000),
}
SEEN_WHEN_DECODED = {
    "a PNG with other bytes in the middle": flipped(PNG),
    "a GIF that was cut off": noise("GIF")[:-900],
}
GOOD = {"jpeg": JPEG, "png": PNG, "a JPEG with more behind it": JPEG + bytes(100), "gif": noise("GIF")}


def album(where, count=12, **files):
    """A table of so many captions of images, and its images; those of `files` have the given content."""
    rows = ["image,caption"]
    for number in range(count):
        put(where, coded(Image.new("RGB", (3, 2), (20 * number, 0, 0)), "PNG"), f"{number}.jpg")
        rows.append(f"{number}.jpg,there is the number {'abcdefghijkl'[number]}")
    for name, data in files.items():
        put(where, data, f"{name.strip('n')}.jpg")
    (where / "t.csv").write_text("\n".join(rows))
    return str(where / "t.csv")


def read(path, **options):
    return table_reader.read([str(path)], TableOptions(**options))


@pytest.mark.parametrize("damage", SEEN_AT_ONCE)
def test_what_was_cut_off_is_a_bad_row(tmp_path, damage):
    path = album(tmp_path, n3=SEEN_AT_ONCE[damage])
    fails(lambda: read(path), "t.csv row 5 has an image", str(tmp_path / "3.jpg"), "`skip_bad`")


@pytest.mark.parametrize("damage", SEEN_WHEN_DECODED)
def test_what_shows_only_when_it_is_decoded_is_not_searched_for(tmp_path, damage):
    image = read(album(tmp_path, n3=SEEN_WHEN_DECODED[damage])).columns["image"][3]
    fails(image.image, "3.jpg", "cannot be read as an image")


def test_all_that_are_damaged_are_skipped_at_once(tmp_path):
    damaged = list((SEEN_AT_ONCE | SEEN_WHEN_DECODED).values())
    got = read(album(tmp_path, **{f"n{number}": data for number, data in enumerate(damaged)}), skip_bad=True)
    assert [str(image) for image in got.columns["image"]] == [f"{n}.jpg" for n in range(len(damaged), 12)]
    assert any(f"{len(damaged)} bad rows skipped, the first: " in note for note in got.notes)
    for image in got.columns["image"]:
        image.image()


@pytest.mark.parametrize("good", GOOD)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_what_is_whole_stays(tmp_path, good, skip_bad):
    assert len(read(album(tmp_path, n3=GOOD[good]), skip_bad=skip_bad)) == 12


@pytest.mark.parametrize("whole", [False, True])
def test_a_zip_is_not_unpacked_for_the_ends_of_its_images(tmp_path, whole):
    image = in_zip(tmp_path, SEEN_AT_ONCE["a JPEG that was cut off"])
    if whole:
        fails(lambda: image.check(whole=True), "deep/x.png cannot be read")
    else:
        image.check()


@pytest.mark.parametrize("workers", [0, 1])
def test_one_that_is_met_in_training_ends_it_and_the_weights_are_kept(tmp_path, workers, elman):
    path = album(tmp_path)
    read(path)
    options = TINY | {"workers": workers, "steps": 200}
    (tmp_path / "5.jpg").write_bytes(flipped(PNG))
    with pytest.raises(UserError) as raised:
        train("caption", path, out=tmp_path / "run", **options)
    message = str(raised.value)
    assert "\n" not in message
    assert str(tmp_path / "5.jpg") in message
    assert re.search("skip.bad", message)
    assert str(tmp_path / "run") in message
    assert raised.value.code == 2
    assert Run.open(tmp_path / "run").load_resume().progress.step <= 3
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if name != "preview"]
    code, _, err = elman("train", "caption", path, "--out", tmp_path / "again", "--no-preview", *words)
    assert code == 2
    assert err.splitlines()[-1].startswith(f"elman: {tmp_path / '5.jpg'} cannot be read as an image")
    train("caption", path, out=tmp_path / "without", **TINY, skip_bad=True)
    assert json.loads((tmp_path / "without" / "summary.json").read_text())["steps"] == 30


def test_the_weights_of_the_moment_are_kept(tmp_path, monkeypatch):
    """One of the third batch is damaged, before the first validation."""
    path, seen, real = album(tmp_path), [], Rows.take
    monkeypatch.setattr(Rows, "take", lambda self, chosen: seen.append(chosen.tolist()) or real(self, chosen))
    options = TINY | {"steps": 2000, "workers": 0}
    train("caption", path, out=tmp_path / "whole", **options | {"steps": 2})
    (tmp_path / f"{next(row for row in range(12) if row not in sum(seen[:2], []))}.jpg").write_bytes(flipped(PNG))
    with pytest.raises(UserError, match="cannot be read"):
        train("caption", path, out=tmp_path / "run", **options)
    saved = Run.open(tmp_path / "run").load_resume()
    assert saved.progress.step == 2
    assert saved.progress.best_step == 0
    assert_close(dict(load(tmp_path / "run").model.state_dict()), saved.model, rtol=0, atol=0)
