"""Files: written whole or not at all, and read only where they are regular files of a bounded size."""

import hashlib
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from elman import schema
from elman.errors import UserError

STANDARD_INPUT = "/dev/stdin"
SCHEMES = ("hub:", "builtin:", "cache:")  # of names of data that are no paths
# a link is an error, and a FIFO that no process feeds does not block; both flags are unknown to Windows
_REGULAR = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def cache_folder() -> Path:
    """Where encoded data and compiled kernels are kept: `ELMAN_CACHE`, or the user's cache folder."""
    own = os.environ.get("ELMAN_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elman"


def state_folder() -> Path:
    """Where elman records what was made on this machine: `ELMAN_STATE`, or the user's state folder. Nothing in it is
    ever evicted."""
    if own := os.environ.get("ELMAN_STATE"):
        return Path(own)
    if home := os.environ.get("XDG_STATE_HOME"):
        return Path(home) / "elman"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "elman"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "elman"
    return Path.home() / ".local" / "state" / "elman"


def absolute(name: str) -> str:
    """An absolute path; a name such as hub:owner/data or builtin:dates is no path and stays as it is."""
    return name if name.startswith(SCHEMES) else str(Path(name).absolute())


def unused(path: Path, suffixes: Iterable[str]) -> Path:
    """The path, with a number where a file of that name, with any of the suffixes, exists."""
    tried, number = path, 2
    while any(tried.with_suffix(suffix).exists() for suffix in suffixes):
        tried, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return tried


def open_regular(path: Path, root: Path) -> BinaryIO:
    """Opens a regular file below the folder `root` for reading. Raises a UserError where the file is missing, is
    anything else (a device, a FIFO), or where a link stands on the way from `root` to it."""
    try:
        _check_links(path, root)
        return _regular(os.open(path, os.O_RDONLY | _REGULAR), path, "rb")
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def read(path: Path, root: Path, most: int) -> bytes:
    """The content of a regular file below the folder `root`, of at most `most` bytes."""
    with open_regular(path, root) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UserError(f"{path} is too large: {size:,} bytes, where {most:,} are allowed")
        return file.read(most)


def append(path: Path, root: Path, line: str) -> None:
    """Appends a line to a regular file below the folder `root`, which is made where it is missing."""
    try:
        _check_links(path.parent, root)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _REGULAR, 0o666)
        with _regular(descriptor, path, "ab") as file:
            file.write(f"{line}\n".encode())
    except OSError as error:
        raise cannot_write(path, error) from error


def write(path: Path, content: bytes, root: Path | None = None) -> None:
    """Writes aside, then renames: `path` holds either what it held or all of the content. Where `root` is given, no
    folder between it and `path` may be a link."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        if root is not None:
            _check_links(path.parent, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # gone if all went well; otherwise the error above is the one to report
            aside.unlink()


def replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Replaces a folder by one with these files. Killed at any moment it leaves the old folder, the new one, or the
    old one under the name from which `recover_folder` restores it."""
    new, old = folder.with_name(f".{folder.name}.new.{secrets.token_hex(8)}"), _old(folder)
    try:
        _remove_unfinished(folder)
        new.mkdir(parents=True)
        for name, content in contents.items():
            write(new / name, content)
        recover_folder(folder)
        if os.path.lexists(folder):
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)  # gone if all went well


def recover_folder(folder: Path) -> None:
    """Restores what a `replace_folder` that was killed between its two renames had moved away."""
    old = _old(folder)
    try:
        if not os.path.lexists(old):
            return
        if old.is_symlink() or not old.is_dir():
            old.unlink()
        elif folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error for a disk that is full or read only."""
    return UserError(f"cannot write {path}: {error.strerror or error}; what was there before is intact")


def seal(value: Mapping[str, Any]) -> bytes:
    """JSON with a digest of itself, which `unseal` compares: it finds damage, not forgery."""
    body = dict(value)
    # the name of a file may hold bytes that are no text; JSON has the same escape for them as Python
    return json.dumps(body | {"digest": digest(body)}, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")


def unseal(path: Path, root: Path | None = None) -> dict[str, Any]:
    """Reads what `seal` gave, from a regular file below `root`. A file that is missing, cut short or altered is a
    UserError that names it."""
    value = schema.parse(read(path, root or path.parent, schema.MAX_BYTES), str(path))
    if not isinstance(value, dict) or "digest" not in value:
        raise UserError(f"{path} is damaged: it is not whole JSON with a digest")
    if value.pop("digest") != digest(value):
        raise UserError(f"{path} was altered: its digest does not fit its contents")
    return value


def digest(value: Mapping[str, Any]) -> str:
    """32 hexadecimal digits that name a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _remove_unfinished(folder: Path) -> None:
    """Removes the new folders of replacements that were killed."""
    for path in folder.parent.glob(f".{folder.name}.new.*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def _check_links(path: Path, root: Path) -> None:
    """Raises a UserError where a part of the path below the root is a link, or leads out of it."""
    for part in (path, *path.parents):
        if part == root:
            return
        if part.name == ".." or part == part.parent:
            break
        if part.is_symlink():
            raise UserError(f"{part} is a link: a run folder holds regular files only")
    raise UserError(f"{path} does not lie in {root}")


def _regular(descriptor: int, path: Path, mode: Any) -> BinaryIO:
    """The file of a descriptor, which is closed where it is no regular file."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, mode)
    os.close(descriptor)
    raise UserError(f"{path} is no regular file: a run folder holds regular files only")
