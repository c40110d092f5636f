"""Images that are files: every format and mode comes back as it was painted, and what is damaged is named."""

import io
import os
import struct
import sys
import typing
import zipfile
import zlib
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from elman.data import split, table, table_reader
from elman.data.column_inference import infer_columns
from elman.data.filesystem import Archive, Folder, open_folder
from elman.data.image import LazyImage
from elman.data.image_file import ImageFile
from elman.data.table import Table
from elman.data.table_reader import TableOptions
from elman.errors import UserError
from user_errors import fails

some = settings(deadline=None, derandomize=True, database=None, max_examples=80,
                suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
WIDE, HIGH = 48, 32
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "GIF": {}, "WEBP": {"lossless": True}}


def painted():
    """(32, 48, 3) of four colours, none of its turns like another."""
    values = np.zeros((HIGH, WIDE, 3), np.uint8)
    values[:16, :16], values[:16, 16:] = (200, 30, 40), (20, 180, 60)
    values[16:, :32], values[16:, 32:] = (10, 60, 220), (250, 240, 10)
    return values


def coded(image, kind, **how):
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def put(where, data, name="x.png"):
    path = Path(where, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return ImageFile(name, Folder(str(where)), name)


def in_zip(where, data, name="deep/x.png"):
    with zipfile.ZipFile(Path(where, "x.zip"), "w") as archive:
        archive.writestr(name, data)
    return ImageFile(name, Archive(str(Path(where, "x.zip"))), name)


def rgb(image):
    image = image.image()
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


# formats and modes


@pytest.mark.parametrize("holder", [put, in_zip])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_colours_come_back(tmp_path, kind, holder):
    image = holder(tmp_path, coded(Image.fromarray(painted()), kind, **LOSSLESS[kind]))
    image.check()
    assert (rgb(image) == painted()).all()


def test_jpeg_and_jpeg_in_cmyk(tmp_path):
    image = Image.fromarray(painted())
    assert abs(rgb(put(tmp_path, coded(image, "JPEG", quality=100, subsampling=0))) - painted()).max() <= 4
    inks = 255 - painted().astype(int)  # without black, an ink is what a colour lacks
    four = Image.fromarray(np.dstack([inks, np.zeros_like(inks[..., :1])]).astype(np.uint8), "CMYK")
    for kind, how in (("JPEG", {"quality": 100}), ("TIFF", {})):
        assert abs(rgb(put(tmp_path, coded(four, kind, **how))) - painted()).max() <= 6


def test_grey_of_1_8_and_16_bits(tmp_path):
    ramp = np.linspace(0, 255, WIDE * HIGH).reshape(HIGH, WIDE).astype(np.uint8)
    grey = np.repeat(ramp[..., None], 3, 2)
    for kind in ("PNG", "BMP", "TIFF", "JPEG"):
        how = {"quality": 100} if kind == "JPEG" else {}
        assert abs(rgb(put(tmp_path, coded(Image.fromarray(ramp), kind, **how))) - grey).max() <= 2 * bool(how)
    values = np.random.default_rng(0).integers(0, 2**16, (HIGH, WIDE), np.uint16)
    wanted = np.round(values[..., None] / 65535 * 255)
    deep = Image.fromarray(values)
    assert deep.mode == "I;16"
    for kind, how in (("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})):
        assert (rgb(put(tmp_path, coded(deep, kind, **how))) == wanted).all()
    for order in (b"II", b"MM"):
        assert (rgb(put(tmp_path, tiff16(values, order))) == wanted).all()
    bits = Image.fromarray(ramp > 127)
    for kind in ("PNG", "TIFF"):
        assert (rgb(put(tmp_path, coded(bits, kind))) == 255 * (grey > 127)).all()


def tiff16(values, order):
    """A TIFF of 16 bits, as its specification has it: a header, eight tags, the values."""
    end = "<" if order == b"II" else ">"
    tags = [(256, 3, values.shape[1]), (257, 3, values.shape[0]), (258, 3, 16), (259, 3, 1), (262, 3, 1),
            (273, 4, 8 + 2 + 8 * 12 + 4), (278, 3, values.shape[0]), (279, 4, values.nbytes)]  # fmt: skip
    found = order + struct.pack(end + "HIH", 42, 8, len(tags))
    for tag, kind, value in tags:
        found += struct.pack(end + "HHI", tag, kind, 1)
        found += struct.pack(end + "HH", value, 0) if kind == 3 else struct.pack(end + "I", value)
    return found + struct.pack(end + "I", 0) + values.astype(end + "u2").tobytes()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_values_of_32_bits_are_refused(tmp_path, mode):
    values = np.full((4, 4), 2**20, np.float32 if mode == "F" else np.int32)
    fails(put(tmp_path, coded(Image.fromarray(values), "TIFF")).image, "x.png", "more than 16 bits")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_images_are_composed_on_white(tmp_path, kind):
    alpha = np.linspace(0, 255, WIDE * HIGH).reshape(HIGH, WIDE, 1).astype(np.uint8)
    image = Image.fromarray(np.dstack([painted(), alpha]))
    how = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    share = alpha / 255
    wanted = painted() * share + 255 * (1 - share)
    assert abs(rgb(put(tmp_path, coded(image, kind, **how))) - wanted).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_and_its_transparent_colour(tmp_path, kind):
    places = np.arange(WIDE * HIGH).reshape(HIGH, WIDE) % 3
    colours = np.array([[200, 30, 40], [20, 180, 60], [10, 60, 220]], np.uint8)
    image = Image.fromarray(places.astype(np.uint8), "L")
    image = image.convert("P")
    image.putdata(places.ravel().tolist())
    image.putpalette(colours.tobytes())
    assert (rgb(put(tmp_path, coded(image, kind))) == colours[places]).all()
    wanted = colours.copy()
    wanted[1] = 255
    assert (rgb(put(tmp_path, coded(image, kind, transparency=1))) == wanted[places]).all()


def test_grey_with_alpha_and_a_transparent_grey(tmp_path):
    ramp = np.arange(WIDE * HIGH, dtype=np.uint8).reshape(HIGH, WIDE)
    both = Image.merge("LA", [Image.fromarray(ramp), Image.fromarray(np.where(ramp > 99, 255, 0).astype(np.uint8))])
    wanted = np.repeat(np.where(ramp > 99, ramp, 255)[..., None], 3, 2)
    assert (rgb(put(tmp_path, coded(both, "PNG"))) == wanted).all()
    wanted = np.repeat(np.where(ramp == 7, 255, ramp)[..., None], 3, 2)
    assert (rgb(put(tmp_path, coded(Image.fromarray(ramp), "PNG", transparency=7))) == wanted).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first(tmp_path, kind):
    others = [Image.new("RGB", (WIDE, HIGH), colour) for colour in ("black", "white")]
    how = {"lossless": True} if kind == "WEBP" else {}
    data = coded(Image.fromarray(painted()), kind, save_all=True, append_images=others, **how)
    assert (rgb(put(tmp_path, data)) == painted()).all()


UPRIGHT = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: np.rot90(a, 2), 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_are_upright(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    image = put(tmp_path, coded(Image.fromarray(painted()), kind, exif=exif, **how))
    wanted = UPRIGHT[orientation](painted())
    got = rgb(image)
    assert got.shape == wanted.shape
    assert abs(got - wanted).max() <= (4 if kind == "JPEG" else 0)
    assert image.image().getexif().get(0x0112, 1) == 1  # nobody turns it again


def test_a_damaged_exif_turns_nothing(tmp_path):
    data = coded(Image.fromarray(painted()), "PNG")
    junk = b"eXIf" + b"MM\0*\0\0\0\x08\xff\xff\x01\x12"
    chunk = struct.pack(">I", len(junk) - 4) + junk + struct.pack(">I", zlib.crc32(junk))
    assert (rgb(put(tmp_path, data[:33] + chunk + data[33:])) == painted()).all()


# what cannot be read


@pytest.mark.parametrize("holder", [put, in_zip])
@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG"])
def test_a_truncated_image_is_named(tmp_path, kind, holder):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = coded(Image.fromarray(noise), kind)
    image = holder(tmp_path, data[: int(len(data) * 0.6)], "cut.png")
    fails(image.image, "cut.png", "cannot be read")


@pytest.mark.parametrize("holder", [put, in_zip])
def test_what_is_no_image_is_named(tmp_path, holder):
    for call in ("check", "image"):
        fails(getattr(holder(tmp_path, b"a text, no image\n", "t.png"), call), "t.png is not an image", "JPEG, PNG")
        fails(getattr(holder(tmp_path, b"", "e.png"), call), "e.png is empty")
        postscript = holder(tmp_path, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "p.png")
        fails(getattr(postscript, call), "not an image")


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "f.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name, why in [("f.png", "is a folder"), ("none.png", "does not exist"), ("pipe.png", "is not a regular file"),
                      ("x" * 400 + ".png", "cannot read"), ("a\0b.png", "cannot read")]:  # fmt: skip
        fails(ImageFile(name, Folder(str(tmp_path)), name).check, why)
    zipped = in_zip(tmp_path, b"x")
    fails(ImageFile("none.png", zipped.folder, "none.png").check, "x.zip:none.png does not exist")


def header(wide, high):
    """A PNG of that size with next to no data."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 20_000, 2**31 - 1])
@pytest.mark.parametrize("call", ["check", "image"])
def test_a_image_of_absurd_size_is_refused_by_its_head(tmp_path, side, call):
    fails(getattr(put(tmp_path, header(side, side)), call), "x.png", f"{side * side:,} pixels", "89,478,485")


def test_heic_needs_its_library(tmp_path, monkeypatch):
    data = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + b"\0" * 40
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    fails(put(tmp_path, data, "x.heic").check, "x.heic is HEIC", "pip install 'elman[heic]'")


@some
@given(st.sampled_from([*LOSSLESS, "JPEG"]), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=5))
def test_damage_is_decoded_or_named(tmp_path_factory, kind, changes):
    data = bytearray(coded(Image.fromarray(painted()), kind))
    for place_, value in changes:
        data[int(place_ * len(data))] = value
    image = put(tmp_path_factory.mktemp("d"), bytes(data))
    try:
        result = f"x.png {image.image().mode}"
    except UserError as error:
        result = str(error)
    assert "x.png" in result
    assert "\n" not in result


# folders


def test_a_zip_is_opened_once_until_it_changes(tmp_path, monkeypatch):
    opened, real = [], zipfile.ZipFile.__init__
    data = coded(Image.fromarray(painted()), "PNG")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for number in range(9):
            archive.writestr(f"train/{number}.png", data)
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda self, *a, **b: (opened.append(a), real(self, *a, **b))[1])
    here = open_folder(str(tmp_path / "x.zip")).folder("train")
    for number in range(9):
        assert (rgb(ImageFile("n", here, f"{number}.png")) == painted()).all()
    assert len(opened) == 1
    changed = in_zip(tmp_path, coded(Image.new("RGB", (1, 1)), "PNG"), "train/0.png")
    assert rgb(changed).shape == (1, 1, 3)


def test_a_member_behind_a_damaged_directory_or_a_password(tmp_path):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK\x03\x04 nothing")
    fails(ImageFile("a", Archive(str(bad)), "a.png").check, "bad.zip cannot be unpacked")
    image = in_zip(tmp_path, coded(Image.fromarray(painted()), "PNG"))
    data = bytearray(Path(image.folder.zip).read_bytes())
    data[6] |= 1  # the member's head and the directory say that it is encrypted
    data[data.index(b"PK\x01\x02") + 8] |= 1
    Path(image.folder.zip).write_bytes(data)
    fails(image.image, "deep/x.png cannot be unpacked")


def test_folders_are_relative_to_each_other(tmp_path):
    put(tmp_path, b"1", "a/b/c.txt")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "a/b/c.txt", "a/b/c.txt")
    for root, mark in ((open_folder(str(tmp_path)), "/"), (open_folder(str(tmp_path / "z.zip")), ":")):
        there = root.folder("a/x").folder("../b")
        assert there.exists("c.txt")
        assert not there.exists("d.txt")
        assert not there.exists(".")
        assert there.location("c.txt").endswith(f"{mark}a/b/c.txt")
        with there.open("c.txt") as file:
            assert file.read() == b"1"
    assert open_folder(str(tmp_path / "z.zip:a/b")).exists("c.txt")
    fails(lambda: open_folder(str(tmp_path / "none")), "neither a folder nor a zip")


# as values of a table


def album(where, count=6):
    rows = ["file,caption"]
    for number in range(count):
        put(where, coded(Image.new("RGB", (3, 2), (number, 0, 0)), "PNG"), f"in/{number}.png")
        rows.append(f"in/{number}.png,image number {number}")
    (where / "t.csv").write_text("\n".join(rows))
    return str(where / "t.csv")


def read(*paths, **options):
    return table_reader.read(list(map(str, paths)), TableOptions(**options))


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "zip"])
def test_a_column_of_names_becomes_images(tmp_path, form):
    path, names = album(tmp_path), [f"in/{number}.png" for number in range(6)]
    if form == "tsv":
        path = tmp_path / "t.tsv"
        path.write_text(Path(tmp_path, "t.csv").read_text().replace(",", "\t"))
    if form == "jsonl":
        path = tmp_path / "t.jsonl"
        path.write_text("\n".join(f'{{"file": "./{name}", "caption": "c"}}' for name in names))
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
            for name in ["t.csv", *names]:
                archive.write(tmp_path / name, f"set/{name}")
        path = f"{tmp_path / 't.zip'}:set/t.csv"
    got = read(path)
    assert list(map(str, got.columns["file"])) == names
    assert [rgb(image)[0, 0, 0] for image in got.columns["file"]] == list(range(6))
    assert any("column file names 6 images, in " in note for note in got.notes)


def test_text_that_is_no_name_of_a_image_stays_text(tmp_path):
    for name, values in {"a": ["see x.png", "see it"], "b": ["http://a.b/x.jpg"] * 2, "c": ["1", "2"]}.items():
        path = tmp_path / f"{name}.csv"
        path.write_text("v,w\n" + "".join(f"{value},t\n" for value in values))
        assert read(path).columns["v"] == values
    (tmp_path / "n.csv").write_text("v,w\n,t\n,u\n")
    assert read(tmp_path / "n.csv").columns["v"] == ["", ""]


def test_an_image_that_is_missing_or_bad_is_reported_with_its_row(tmp_path):
    path = album(tmp_path)
    (tmp_path / "in/2.png").unlink()
    (tmp_path / "in/4.png").write_text("no image")
    fails(lambda: read(path), "t.csv row 4 has an image", str(tmp_path / "in/2.png"), "`skip_bad`")
    got = read(path, skip_bad=True)
    assert [str(name) for name in got.columns["file"]] == [f"in/{number}.png" for number in (0, 1, 3, 5)]
    assert got.columns["caption"] == [f"image number {number}" for number in (0, 1, 3, 5)]
    assert got.numbers == [2, 3, 5, 7]
    assert any("2 bad rows skipped, the first: " in note for note in got.notes)
    for number in range(6):
        (tmp_path / f"in/{number}.png").unlink(missing_ok=True)
    fails(lambda: read(path, skip_bad=True), "t.csv row 2", "in/0.png", str(tmp_path / "images/in"), "`images`")


def test_a_name_that_is_missing_is_missing(tmp_path):
    path = album(tmp_path)
    Path(path).write_text(Path(path).read_text().replace("in/3.png", " "))
    got = read(path)
    assert got.columns["file"][3] is None
    fails(lambda: table.complete(got, ["file"], False), "row 5 has no file")
    assert len(table.complete(got, ["file"], True)) == 5


def test_the_option_images_is_their_folder(tmp_path):
    path = Path(album(tmp_path))
    (tmp_path / "other").mkdir()
    moved = path.rename(tmp_path / "other/t.csv")
    moved.write_text(moved.read_text().replace("in/", ""))
    fails(lambda: read(moved), "0.png", "`images`")
    assert len(read(moved, images=str(tmp_path / "in"))) == 6
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.write(tmp_path / "in/0.png", "deep/0.png")
    assert len(read(moved, images=f"{tmp_path / 'p.zip'}:deep", skip_bad=True)) == 1
    fails(lambda: read(moved, images=str(tmp_path / "none")), "neither a folder nor a zip")
    (tmp_path / "plain.csv").write_text("a,b\nc,d\n")
    fails(lambda: read(tmp_path / "plain.csv", images=str(tmp_path)), "no column of", "names images")
    fails(lambda: read("builtin:dates", images=str(tmp_path)), "`images`", "built-in")


def test_whole_paths_are_known_by_their_path_in_the_folder(tmp_path):
    path = Path(album(tmp_path / "set"))
    path.write_text(path.read_text().replace("in/", f"{tmp_path}/set/in/"))
    assert str(read(path).columns["file"][1]) == "in/1.png"
    elsewhere = tmp_path / "t.csv"
    elsewhere.write_text(path.read_text())
    assert str(read(elsewhere).columns["file"][1]) == "set/in/1.png"
    (tmp_path / "deep").mkdir()
    got = read(elsewhere.rename(tmp_path / "deep/t.csv"))
    assert any("identified by their whole path" in note for note in got.notes)


def test_folders_of_images(tmp_path):
    for name in ("cat/1.png", "cat/deep/2.PNG", "dog/1.jpg"):
        put(tmp_path, coded(Image.new("RGB", (2, 2)), "PNG"), f"pets/{name}")
    got = read(tmp_path / "pets")
    assert got.columns["label"] == ["cat", "cat", "dog"]
    assert list(map(str, got.columns["image"])) == ["cat/1.png", "cat/deep/2.PNG", "dog/1.jpg"]
    assert rgb(got.columns["image"][1]).shape == (2, 2, 3)
    put(tmp_path, b"a text", "pets/dog/x.txt")
    fails(lambda: read(tmp_path / "pets"), "images and texts", "1.png", "x.txt", "one kind only")
    (tmp_path / "pets/dog/x.txt").rename(tmp_path / "pets/dog/3.png")
    fails(lambda: read(tmp_path / "pets"), "3.png row 1 has an image that cannot be used")


def test_nothing_is_decoded_or_held_open_when_a_table_is_read(tmp_path):
    path = album(tmp_path)
    whole = (tmp_path / "in/1.png").read_bytes()
    (tmp_path / "in/1.png").write_bytes(whole[:-24] + whole[-12:])  # its end is there
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    got = read(path)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before
    fails(got.columns["file"][1].image, "in/1.png")


class Painting(LazyImage):
    """One that is not a regular file."""

    def __init__(self, name):
        self.name = name

    def image(self):
        return Image.new("RGB", (1, 1))


def of(**columns):
    return Table("t", columns, list(range(1, 1 + len(next(iter(columns.values()))))))


def test_images_are_distinguished_by_their_names(tmp_path):
    names = [f"{number}.png" for number in range(200)]
    rows = of(image=[Painting(name) for name in names], text=["t"] * 200)
    assert len(table.complete(rows, ["image"], False)) == 200
    twice = of(image=[Painting(name) for name in names * 2], text=["t"] * 400)
    assert len(table.deduplicated(twice, ["image", "text"])) == 200
    options = TableOptions(valid="0.3", test="0.2")
    images, words = (split.split(each, "image", options) for each in (twice, of(image=names * 2, text=["t"] * 400)))
    for part in ("train", "valid", "test"):  # on the side on which a text of that name is
        assert list(map(str, images[part].columns["image"])) == words[part].columns["image"]
        assert images[part].columns["image"]


def test_the_key_of_a_table_depends_on_names_and_sizes(tmp_path):
    path = album(tmp_path)
    key = table.key(read(path))
    assert table.key(read(path)) == key
    moved = tmp_path / "moved"
    album(moved)
    assert table.key(read(moved / "t.csv")) == key  # no folder of the machine is in it
    with (tmp_path / "in/3.png").open("ab") as file:
        file.write(b"more")
    assert table.key(read(path)) != key
    assert table.key(of(a=[Painting("x")])) != table.key(of(a=["x"])) != table.key(of(a=[None]))


def test_a_column_of_images_is_found_for_its_role_and_taken_for_no_text(tmp_path):
    got = read(album(tmp_path))
    assert infer_columns(got, {"image": None, "caption": None}, "x") == {"image": "file", "caption": "caption"}
    assert infer_columns(got.renamed({"file": "p", "caption": "q"}), {"text": None}, "x") == {"text": "q"}
    two = of(a=[Painting("1")], b=[Painting("2")])
    fails(lambda: infer_columns(two, {"image": None}, "elman train"), "`image_column` a or `image_column` b", "a='1'")


def test_every_suffix_is_of_a_format_that_is_tried(tmp_path):
    from elman.data.image_file import FORMATS, SUFFIXES

    known = Image.registered_extensions()
    assert {known[suffix] for suffix in SUFFIXES if suffix != ".heic"} == set(FORMATS)
    assert set(typing.get_type_hints(TableOptions)) >= {"images"}
