"""A folder with a file for each class, with a folder for each class, or with images alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from elman.data.content import Content, content, read_file
from elman.data.formats.arrays import sequence
from elman.data.formats.format import Format, ImageColumn, RawTable, ReadContext, register
from elman.data.image_file import SUFFIXES
from elman.data.video_file import SUFFIXES as VIDEO_SUFFIXES
from elman.data.wav_file import SUFFIX as SOUND
from elman.errors import UserError

ARRAY, IMAGE, FILE = ".npy", "image", "file"


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files and the folders directly in a folder, without hidden ones."""
    visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [path for path in visible if path.is_file()], [path for path in visible if path.is_dir()]


def _has_files(folder: Content, encoding: str) -> bool:
    return folder.is_folder and [bool(entries) for entries in _entries(folder.path)] == [True, False]


def _has_folders(folder: Content, encoding: str) -> bool:
    return folder.is_folder and [bool(entries) for entries in _entries(folder.path)] == [False, True]


def _has_images(folder: Content, encoding: str) -> bool:
    if not folder.is_folder:
        return False
    files, folders = _entries(folder.path)
    return bool(files) and not folders and all(_column(path) == IMAGE for path in files)


def _read_images(folder: Content, context: ReadContext) -> RawTable:
    """Every image is a row. Other files are skipped, and counted."""
    files, _ = _entries(_path(folder))
    names = [path.name for path in files if _column(path) == IMAGE]
    if not names:
        raise UserError(f"the folder {folder.name} has no images: `format` images reads a folder of them")
    if len(names) < len(files):
        context.notes.append(f"{folder.name}: {len(files) - len(names)} files that are not images were not read")
    return RawTable({IMAGE: names}, list(range(1, len(names) + 1)), [], ImageColumn(IMAGE, (".",)))


def _read_files(folder: Content, context: ReadContext) -> RawTable:
    """Every line of a file is a row; the class is the file's name without its suffix."""
    files, folders = _entries(_path(folder))
    if not files:
        raise UserError(f"the folder {folder.name} has no files: `format` files reads a file for each class")
    if folders:
        context.notes.append(f"{folder.name}: {len(folders)} folders in it were not read")
    rows = RawTable({"label": [], "text": []}, [])
    for path in files:
        part = content(str(path))
        lines = context.lines(part)
        rows.columns["label"] += [part.path.stem] * len(lines)
        rows.columns["text"] += [line.strip() for _, line in lines]
        rows.numbers.extend(number for number, _ in lines)
        rows.files.extend([part.name] * len(lines))
    return rows


def _read_folders(folder: Content, context: ReadContext) -> RawTable:
    """Every file below the folder of a class is a row: a text, an array in an .npy, an image, a video or a sound."""
    files, folders = _entries(_path(folder))
    found = [(path, below.name) for below in folders for path in _files_below(below)]
    if not found:
        raise UserError(
            f"the folder {folder.name} has no folders with files: `format` folders reads a folder for each class"
        )
    if files:
        context.notes.append(f"{folder.name}: {len(files)} files next to the folders were not read")
    first = {_column(path): path for path, _ in reversed(found)}
    if len(first) > 1:
        kinds = " and ".join(f"{kind}s" for kind in sorted(first))
        named = ", ".join(str(first[kind]) for kind in sorted(first))
        raise UserError(f"{folder.name} has {kinds} ({named}): expected one kind only")
    (column,) = first
    values = [READERS[column](path, folder, context) for path, _ in found]
    images = ImageColumn(column, (".",)) if column == IMAGE else None
    columns = {"label": [label for _, label in found], column: values}
    return RawTable(columns, [1] * len(found), [str(path) for path, _ in found], images)


def _column(path: Path) -> str:
    """The column of a file's content, by its suffix."""
    suffix = path.suffix.lower()
    names = {ARRAY: "array"} | dict.fromkeys(SUFFIXES, IMAGE) | dict.fromkeys((*VIDEO_SUFFIXES, SOUND), FILE)
    return names.get(suffix, "text")


READERS: dict[str, Callable[[Path, Content, ReadContext], Any]] = {
    "array": lambda path, folder, context: sequence(Content(str(path), path, _bytes(path))),
    IMAGE: lambda path, folder, context: path.relative_to(folder.path).as_posix(),
    FILE: lambda path, folder, context: path.relative_to(folder.path).as_posix(),
    "text": lambda path, folder, context: Content(str(path), path, _bytes(path)).text(context.encoding).strip(),
}


def _path(folder: Content) -> Path:
    if not folder.is_folder:
        raise UserError(f"{folder.name} is not a folder: `format` files and `format` folders read one")
    return folder.path


def _files_below(folder: Path) -> list[Path]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _bytes(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


IMAGES = register(Format("images", "a folder of images", _read_images, detects=_has_images, priority=79))
FILES = register(Format("files", "a file for each class, a line a row", _read_files, detects=_has_files, priority=80))
FOLDERS = register(
    Format("folders", "a folder for each class, a file a row", _read_folders, detects=_has_folders, priority=81)
)
