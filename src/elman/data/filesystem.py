"""Where files stand beside each other: a folder on disk, or one in a zip."""

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

ARCHIVE = ".zip:"  # stands between a zip and its member
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)  # or behind a password
OPEN = 8  # zips that are held open


class Filesystem(ABC):
    """A folder. Paths are as seen from it, with `/` between their parts."""

    @abstractmethod
    def to(self, folder: str) -> "Filesystem":
        """Another folder as seen from here; `..` goes up."""

    @abstractmethod
    def where(self, path: str) -> str:
        """The name of a file, or of a folder, under which the user finds it."""

    @abstractmethod
    def size(self, path: str) -> int:
        """The bytes of a file; a UserError where there is none."""

    @abstractmethod
    def changed(self, path: str) -> int:
        """A number that is another after the file was written anew."""

    @abstractmethod
    def open(self, path: str) -> IO[bytes]:
        """The file, to be read. A UserError where that cannot be."""

    @abstractmethod
    def end(self, path: str, count: int) -> bytes | None:
        """The last `count` bytes of a file; None where all of it would have to be read for them."""

    def has(self, path: str) -> bool:
        try:
            return self.size(path) >= 0
        except UserError:
            return False


@dataclass(frozen=True)
class Folder(Filesystem):
    root: str

    def to(self, folder: str) -> Filesystem:
        return Folder(self.where(folder))

    def where(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))

    def size(self, path: str) -> int:
        return self._stat(path).st_size

    def changed(self, path: str) -> int:
        return self._stat(path).st_mtime_ns

    def _stat(self, path: str) -> os.stat_result:
        name = self.where(path)
        try:
            found = os.stat(name)
        except FileNotFoundError:
            raise UserError(f"{name} does not exist") from None
        except (OSError, ValueError) as error:  # too long a name, one with a zero byte
            raise _unread(name, error) from None
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{name} is {'a folder' if stat.S_ISDIR(found.st_mode) else 'no file'}")
        return found

    def open(self, path: str) -> IO[bytes]:
        self.size(path)  # what is no file might never end
        try:
            return open(self.where(path), "rb")
        except OSError as error:
            raise _unread(self.where(path), error) from None

    def end(self, path: str, count: int) -> bytes:
        with self.open(path) as file:
            file.seek(max(0, self.size(path) - count))
            return file.read()


@dataclass(frozen=True)
class Archive(Filesystem):
    """A folder in a zip; the zip itself where `inside` is empty."""

    zip: str
    inside: str = ""

    def to(self, folder: str) -> Filesystem:
        return Archive(self.zip, self._member(folder))

    def where(self, path: str) -> str:
        member = self._member(path)
        return f"{self.zip}:{member}" if member else self.zip

    def size(self, path: str) -> int:
        return self._info(path).file_size

    def changed(self, path: str) -> int:
        return self._info(path).CRC

    def open(self, path: str) -> IO[bytes]:
        info = self._info(path)
        try:
            return _opened(self.zip).open(info)
        except (*DAMAGED, OSError) as error:
            raise UserError(f"{self.where(path)} cannot be unpacked: {error}") from None

    def end(self, path: str, count: int) -> None:
        return None

    def members(self) -> list[str]:
        """The names of all files in the zip."""
        return [info.filename for info in _opened(self.zip).infolist() if not info.is_dir()]

    def _info(self, path: str) -> zipfile.ZipInfo:
        try:
            return _opened(self.zip).getinfo(self._member(path))
        except KeyError:
            raise UserError(f"{self.where(path)} does not exist") from None

    def _member(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.inside, path)).removeprefix(".").removeprefix("/")


def _opened(path: str) -> zipfile.ZipFile:
    """The zip, its directory read once as long as it does not change."""
    try:
        found = os.stat(path)
        return _held(path, found.st_mtime_ns, found.st_size, os.getpid())  # processes would share their position in it
    except OSError as error:
        raise _unread(path, error) from None
    except DAMAGED as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from None


@lru_cache(maxsize=OPEN)
def _held(path: str, changed: int, size: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _unread(name: str, error: OSError | ValueError) -> UserError:
    return UserError(f"cannot read {name[:200]}: {getattr(error, 'strerror', None) or error}")


def place(name: str) -> Filesystem:
    """The folder of that name: on disk, a zip, or `x.zip:folder` in one."""
    archive, mark, inside = name.partition(ARCHIVE)
    if os.path.isdir(name):
        return Folder(name)
    if mark or name.endswith(".zip"):
        found = Archive(f"{archive}.zip" if mark else name, inside.strip("/"))
        found.members()
        return found
    raise UserError(f"{name} is neither a folder nor a zip")
