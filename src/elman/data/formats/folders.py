"""A folder with a file a class, or with a folder a class."""

from pathlib import Path

from elman.data.content import Content, content
from elman.data.formats.arrays import sequence
from elman.data.formats.format import Form, How, Images, Rows
from elman.data.image_file import SUFFIXES
from elman.errors import UserError

ARRAY, IMAGE = ".npy", "image"


def form_of(folder: Content) -> Form:
    """Which of the two a folder is, by what stands in it."""
    files, folders = _inside(folder.path)
    if files and folders:
        raise UserError(
            f"{folder.name} holds {len(files)} files and {len(folders)} folders: say --format files for a file a class, "
            "or --format folders for a folder a class"
        )
    if not files and not folders:
        raise UserError(f"the folder {folder.name} is empty: expected a file a class, or a folder a class")
    return FILES if files else FOLDERS


def _inside(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files and the folders directly in a folder, hidden ones left out."""
    seen = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [path for path in seen if path.is_file()], [path for path in seen if path.is_dir()]


def _files(folder: Content, how: How) -> Rows:
    """Every line of a file is a row; the class is the file's name without its ending."""
    files, folders = _inside(_folder(folder))
    if not files:
        raise UserError(f"the folder {folder.name} holds no files: --format files reads a file a class")
    if folders:
        how.notes.append(f"{folder.name}: {len(folders)} folders in it were not read")
    rows = Rows({"label": [], "text": []}, [])
    for path in files:
        part = content(str(path))
        lines = how.lines(part)
        rows.columns["label"] += [part.path.stem] * len(lines)
        rows.columns["text"] += [line.strip() for _, line in lines]
        rows.numbers.extend(number for number, _ in lines)
        rows.files.extend([part.name] * len(lines))
    return rows


def _folders(folder: Content, how: How) -> Rows:
    """Every file below a folder of a class is a row: a text, an array in an .npy, or a picture."""
    files, folders = _inside(_folder(folder))
    found = [(path, below.name) for below in folders for path in _below(below)]
    if not found:
        raise UserError(
            f"the folder {folder.name} holds no folders with files: --format folders reads a folder a class"
        )
    if files:
        how.notes.append(f"{folder.name}: {len(files)} files beside the folders were not read")
    first = {_kind(path): path for path, _ in reversed(found)}
    if len(first) > 1:
        kinds = " and ".join(f"{kind}s" for kind in sorted(first))
        named = ", ".join(str(first[kind]) for kind in sorted(first))
        raise UserError(f"{folder.name} holds {kinds} ({named}): expected one kind only")
    (kind,) = first
    paths = [path for path, _ in found]
    columns = {"label": [label for _, label in found], kind: [READ[kind](path, folder, how) for path in paths]}
    images = Images(kind, (".",)) if kind == IMAGE else None
    return Rows(columns, [1] * len(found), list(map(str, paths)), images)


def _kind(path: Path) -> str:
    """What is in a file, by its suffix: also the name of the column."""
    suffix = path.suffix.lower()
    return "array" if suffix == ARRAY else IMAGE if suffix in SUFFIXES else "text"


READ = {
    "array": lambda path, folder, how: sequence(Content(str(path), path, _bytes(path))),
    IMAGE: lambda path, folder, how: path.relative_to(folder.path).as_posix(),
    "text": lambda path, folder, how: Content(str(path), path, _bytes(path)).text(how.encoding).strip(),
}


def _folder(folder: Content) -> Path:
    if folder.data is not None or folder.archive is not None:
        raise UserError(f"{folder.name} is no folder: --format files and --format folders read one")
    return folder.path


def _below(folder: Path) -> list[Path]:
    seen = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in seen if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


FILES = Form("files", "a file a class, a line a row", _files, folder=True)
FOLDERS = Form("folders", "a folder a class, a file a row", _folders, folder=True)
