"""The content of a path given by the user: a file, a compressed file, a member of a zip, standard input or a folder."""

import codecs
import gzip
import io
import json
import re
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from elman.data.filesystem import ARCHIVE, DAMAGED, Archive, Filesystem, Folder
from elman.errors import UserError, nearest, unknown
from elman.files import STANDARD_INPUT

DOCUMENT = re.compile(r"\ufeff?\s*(\{|\[\s*\[)")  # the start of JSON that is not a list of records
BLOCK = 16 << 20  # bytes read at once
MAX_BYTES = 8 << 30  # of a file, unpacked: it is held in memory


@dataclass(frozen=True)
class Content:
    """What a path holds.

    - name: for messages
    - path: has the suffix and stem of the content
    - data: the bytes; None for a folder, and for a zip of which no member was named
    - archive: the zip that it is, or is in
    """

    name: str
    path: Path
    data: bytes | None
    archive: Path | None = None
    _documents: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def folder(self) -> Filesystem:
        """The folder that it is, or is in."""
        if self.archive is None:
            return Folder(str(self.path if self.data is None else self.path.parent))
        return Archive(str(self.archive), "" if self.data is None else self.path.parent.as_posix())

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder on disk."""
        return self.data is None and self.archive is None

    def raw(self) -> bytes:
        """The bytes. UserError for a folder or a zip with several members."""
        if self.data is None and self.archive is not None:
            members = Archive(str(self.archive)).members()
            listed = ", ".join(members[:8]) + (", ..." if len(members) > 8 else "")
            raise UserError(f"{self.name} has {len(members)} members ({listed}): name one, as in {self.name}:MEMBER")
        if self.data is None:
            raise UserError(f"{self.name} is a folder: `format` files reads a file for each class, "
                            "`format` folders a folder for each class")  # fmt: skip
        return self.data

    def text(self, encoding: str) -> str:
        """The text, without a byte-order mark of UTF-8. UserError where it is in another encoding."""
        data = self.raw()
        guess = likely_encoding(data)
        advice = f"pass `encoding` {guess}"
        zero = f"{self.name} is binary, not text: it has a zero byte at offset {data.find(0)}"
        binary = 0 in data and guess != "utf-16"
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            where = f"byte 0x{data[error.start]:02x} at offset {error.start}"
            message = zero if binary else f"{self.name} is not {encoding}: {where}; {advice}"
            raise UserError(message) from None
        except UnicodeError as error:  # UTF-16 without a byte-order mark, for example
            raise UserError(f"{self.name} is not {encoding}: {error}; {advice}") from None
        if "\0" in text:
            raise UserError(zero)
        return text.removeprefix("\ufeff")

    def lines(self, encoding: str) -> list[str]:
        """The lines of the text: they end with LF, CR LF or CR, not at other separators of Unicode."""
        text = self.text(encoding).replace("\r\n", "\n").replace("\r", "\n")
        return text.rstrip("\n").split("\n")

    def document(self, encoding: str) -> Any:
        """The content as one JSON document, parsed once; None where it is none, or a list of records."""
        if encoding not in self._documents:
            self._documents[encoding] = self._parse(encoding)
        return self._documents[encoding]

    def _parse(self, encoding: str) -> Any:
        if self.data is None or not DOCUMENT.match(self.data[:64].decode(encoding, "ignore")):
            return None
        try:
            return json.loads(self.text(encoding))
        except (ValueError, RecursionError, UserError):
            return None


def encoding_name(name: str) -> str:
    """The canonical name of an encoding."""
    try:
        b"".decode(name)  # refuses codecs that are not of text
        return codecs.lookup(name).name
    except (LookupError, UnicodeError):
        raise UserError(f"unknown encoding '{name}': try utf-8, latin-1, cp1252, utf-16, shift_jis or euc-kr") from None


def likely_encoding(head: bytes) -> str:
    """The encoding to suggest for a text with this head that is not in the given one."""
    return "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin-1"


def similar(path: Path) -> str:
    """The end of a message about a missing file: the most similar name in its folder."""
    near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
    return f": did you mean {path.with_name(near)}?" if near else ""


def content(name: str) -> Content:
    """The content of a path, whole in memory. `x.zip:member` is in a zip; a file with the suffix .gz is unpacked."""
    if not name:
        raise UserError("the name of a table is empty")
    if name == STANDARD_INPUT:
        return _not_empty(Content("standard input", Path("standard input"), _read_input()))
    try:
        archive, mark, member = name.partition(ARCHIVE)
        if mark and not Path(name).exists():
            return _not_empty(_gunzip(_member(Path(f"{archive}.zip"), member)))
        path = Path(name)
        if path.is_dir():
            return Content(name, path, None)
        if path.suffix == ".zip":
            return _not_empty(_gunzip(_member(path, None)))
        return _not_empty(_gunzip(Content(name, path, read_file(path))))
    except OSError as error:
        raise UserError(f"cannot read {name[:80]}: {error.strerror or error}") from error


def read_file(path: Path) -> bytes:
    """The bytes of a regular file. UserError where it is missing, something else, or too large."""
    with _existing(path).open("rb") as file:
        return _read(file, str(path))


def _read(file: IO[bytes], name: str) -> bytes:
    blocks, size = list[bytes](), 0
    while block := file.read(BLOCK):
        blocks.append(block)
        size += len(block)
        if size > MAX_BYTES:
            raise UserError(f"{name} is too large: a table may have {MAX_BYTES / 2**30:g} GB, unpacked")
    return b"".join(blocks)


def _not_empty(found: Content) -> Content:
    if found.data is not None and not found.data:
        raise UserError(f"{found.name} is empty: a table has at least one row")
    return found


def _read_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("- reads standard input, but nothing is piped in: name a file, or put `cat file.csv |` before")
    return _read(sys.stdin.buffer, "standard input")


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path} does not exist{similar(path)}")
    if not path.is_file():
        raise UserError(f"{path} is neither a file nor a folder: pipe it in, and give - as its name")
    return path


def _member(path: Path, wanted: str | None) -> Content:
    """A member of a zip; the only one when none is named, else the zip as a whole. Members whose name starts with _ or
    . do not count."""
    archive = Archive(str(_existing(path)))
    members = archive.members()
    if wanted is None:
        visible = [m for m in members if not any(part.startswith(("_", ".")) for part in Path(m).parts)]
        if len(visible) != 1:
            return Content(str(path), path, None, path)
        wanted = visible[0]
    if wanted not in members:
        raise unknown(f"member of {path}", wanted, members)
    try:
        with archive.open(wanted) as file:
            return Content(f"{path}:{wanted}", Path(wanted), _read(file, f"{path}:{wanted}"), path)
    except DAMAGED as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from None


def _gunzip(found: Content) -> Content:
    if found.path.suffix != ".gz" or found.data is None:
        return found
    try:
        with gzip.open(io.BytesIO(found.data)) as file:
            return Content(found.name, found.path.with_suffix(""), _read(file, found.name), found.archive)  # type: ignore[arg-type]
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{found.name} cannot be unpacked: {error}") from None
