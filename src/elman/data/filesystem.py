"""A folder of files: on disk, or in a zip.

`zipfile.Path` and fsspec have this too, but neither resolves `..`, keeps a zip open in each worker process, names a
member as the user does (`x.zip:member`), or gives one kind of error for what is damaged.
"""

import os
import posixpath
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import IO

from elman.errors import UserError

ARCHIVE = ".zip:"  # between a zip and its member
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)  # or password protected
MAX_OPEN = 8  # zips that are kept open


class Filesystem(ABC):
    """A folder. Paths are relative to it, with `/` between their components."""

    @abstractmethod
    def folder(self, path: str) -> "Filesystem":
        """Another folder relative to this one; `..` goes up."""

    @abstractmethod
    def location(self, path: str) -> str:
        """The path under which the user finds a file or folder."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names of what is directly in it, sorted."""

    @abstractmethod
    def size(self, path: str) -> int:
        """The bytes of a file. UserError where it is missing or not a regular file."""

    @abstractmethod
    def version(self, path: str) -> int:
        """A number that changes when the file is written again."""

    @abstractmethod
    def open(self, path: str) -> IO[bytes]:
        """The file, open for reading. UserError where that fails."""

    @abstractmethod
    def tail(self, path: str, count: int) -> bytes | None:
        """The last `count` bytes of a file; None where the whole file would have to be read for them."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        try:
            return self.size(path) >= 0
        except UserError:
            return False


@dataclass(frozen=True)
class Folder(Filesystem):
    """A folder on disk."""

    root: str

    def folder(self, path: str) -> Filesystem:
        return Folder(self.location(path))

    def location(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))

    def names(self) -> list[str]:
        try:
            return sorted(os.listdir(self.root))
        except OSError as error:
            raise _cannot_read(self.root, error) from None

    def size(self, path: str) -> int:
        return self._stat(path).st_size

    def version(self, path: str) -> int:
        return self._stat(path).st_mtime_ns

    def _stat(self, path: str) -> os.stat_result:
        name = self.location(path)
        try:
            found = os.stat(name)
        except FileNotFoundError:
            raise UserError(f"{name} does not exist") from None
        except (OSError, ValueError) as error:  # a name that is too long or has a zero byte
            raise _cannot_read(name, error) from None
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{name} is a folder" if stat.S_ISDIR(found.st_mode) else f"{name} is not a regular file")
        return found

    def open(self, path: str) -> IO[bytes]:
        self.size(path)  # a pipe or a device could be read without end
        try:
            return open(self.location(path), "rb")
        except OSError as error:
            raise _cannot_read(self.location(path), error) from None

    def tail(self, path: str, count: int) -> bytes:
        with self.open(path) as file:
            file.seek(max(0, self.size(path) - count))
            return file.read()


@dataclass(frozen=True)
class Archive(Filesystem):
    """A folder in a zip; the zip itself where `inside` is empty."""

    zip: str
    inside: str = ""

    def folder(self, path: str) -> Filesystem:
        return Archive(self.zip, self._member(path))

    def location(self, path: str) -> str:
        member = self._member(path)
        return f"{self.zip}:{member}" if member else self.zip

    def names(self) -> list[str]:
        start = f"{self._member('')}/".removeprefix("/")
        inside = (name.removeprefix(start) for name in self.members() if name.startswith(start))
        return sorted({name.partition("/")[0] for name in inside})

    def size(self, path: str) -> int:
        return self._info(path).file_size

    def version(self, path: str) -> int:
        return self._info(path).CRC

    def open(self, path: str) -> IO[bytes]:
        info = self._info(path)
        try:
            return _open_zip(self.zip).open(info)
        except (*DAMAGED, OSError) as error:
            raise UserError(f"{self.location(path)} cannot be unpacked: {error}") from None

    def tail(self, path: str, count: int) -> None:
        return None

    def members(self) -> list[str]:
        """The names of all files in the zip."""
        return [info.filename for info in _open_zip(self.zip).infolist() if not info.is_dir()]

    def _info(self, path: str) -> zipfile.ZipInfo:
        try:
            return _open_zip(self.zip).getinfo(self._member(path))
        except KeyError:
            raise UserError(f"{self.location(path)} does not exist") from None

    def _member(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.inside, path)).removeprefix(".").removeprefix("/")


def _open_zip(path: str) -> zipfile.ZipFile:
    """The zip, its directory read once as long as it does not change."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is not a regular file")
        # processes would share their position in the file
        return _cached_zip(path, found.st_mtime_ns, found.st_size, os.getpid())
    except OSError as error:
        raise _cannot_read(path, error) from None
    except DAMAGED as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from None


@lru_cache(maxsize=MAX_OPEN)
def _cached_zip(path: str, modified: int, size: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _cannot_read(name: str, error: OSError | ValueError) -> UserError:
    return UserError(f"cannot read {name[:200]}: {getattr(error, 'strerror', None) or error}")


def open_folder(name: str) -> Filesystem:
    """The folder of that name: on disk, a zip, or `x.zip:folder` in one."""
    archive, mark, inside = name.partition(ARCHIVE)
    if os.path.isdir(name):
        return Folder(name)
    if mark or name.endswith(".zip"):
        found = Archive(f"{archive}.zip" if mark else name, inside.strip("/"))
        found.members()
        return found
    raise UserError(f"{name} is neither a folder nor a zip")
