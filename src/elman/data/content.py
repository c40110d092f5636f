"""What a name given by the user holds: a file, a compressed one, a member of a zip, standard input or a folder."""

import codecs
import gzip
import json
import re
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elman.data.filesystem import ARCHIVE, DAMAGED, Archive, Filesystem, Folder
from elman.errors import UserError, nearest, unknown
from elman.files import STANDARD_INPUT

DOCUMENT = re.compile(r"\ufeff?\s*(\{|\[\s*\[)")  # how JSON begins that is no list of records


@dataclass(frozen=True)
class Content:
    """`name` is for messages; `path` has the suffix and the stem of what is read; `data` is None for a folder, and for
    a zip of which no member was named. `archive` is the zip that it is, or stands in."""

    name: str
    path: Path
    data: bytes | None
    archive: Path | None = None
    _documents: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def place(self) -> Filesystem:
        """The folder that it is, or stands in."""
        if self.archive is None:
            return Folder(str(self.path if self.data is None else self.path.parent))
        return Archive(str(self.archive), "" if self.data is None else self.path.parent.as_posix())

    def raw(self) -> bytes:
        if self.data is None and self.archive is not None:
            members = Archive(str(self.archive)).members()
            listed = ", ".join(members[:8]) + (", ..." if len(members) > 8 else "")
            raise UserError(f"{self.name} has {len(members)} members ({listed}): name one, as in {self.name}:MEMBER")
        if self.data is None:
            raise UserError(
                f"{self.name} is a folder: --format files reads a file a class, --format folders a folder a class"
            )
        return self.data

    def text(self, encoding: str) -> str:
        """The characters, without a byte-order mark of UTF-8; a UserError where they are in another encoding."""
        data = self.raw()
        guess = likely(data)
        advice = f"pass --encoding {guess}"
        zero = f"{self.name} is binary, not text: it has a zero byte at offset {data.find(0)}"
        binary = 0 in data and guess != "utf-16"
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            where = f"byte 0x{data[error.start]:02x} at offset {error.start}"
            message = zero if binary else f"{self.name} is not {encoding}: {where}; {advice}"
            raise UserError(message) from None
        except UnicodeError as error:  # UTF-16 without a byte-order mark, for one
            raise UserError(f"{self.name} is not {encoding}: {error}; {advice}") from None
        if "\0" in text:
            raise UserError(zero)
        return text.removeprefix("\ufeff")

    def lines(self, encoding: str) -> list[str]:
        """The text's lines, however they end. Only line ends part them: no other sign that Unicode counts as one."""
        text = self.text(encoding).replace("\r\n", "\n").replace("\r", "\n")
        return text.rstrip("\n").split("\n")

    def document(self, encoding: str) -> Any:
        """The JSON that it is as a whole, parsed once; None where it is none, or a list of records."""
        if encoding not in self._documents:
            self._documents[encoding] = self._parsed(encoding)
        return self._documents[encoding]

    def _parsed(self, encoding: str) -> Any:
        if self.data is None or not DOCUMENT.match(self.data[:64].decode(encoding, "ignore")):
            return None
        try:
            return json.loads(self.text(encoding))
        except (ValueError, RecursionError, UserError):
            return None


def encoding_name(name: str) -> str:
    """The encoding's one name among its spellings."""
    try:
        b"".decode(name)  # also refuses codecs that are not of text
        return codecs.lookup(name).name
    except (LookupError, UnicodeError):
        raise UserError(f"unknown encoding '{name}': try utf-8, latin-1, cp1252, utf-16, shift_jis or euc-kr") from None


def likely(head: bytes) -> str:
    """The encoding of a text that begins so and is not what it was said to be."""
    return "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin-1"


def similar(path: Path) -> str:
    """The end of a message about a file that does not exist: the name most like it in its folder."""
    near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
    return f": did you mean {path.with_name(near)}?" if near else ""


def content(name: str) -> Content:
    """What stands under that name, whole in memory. `x.zip:member` is in a zip; what ends in .gz is unpacked."""
    if not name:
        raise UserError("the name of a table is empty")
    if name == STANDARD_INPUT:
        return _some(Content("standard input", Path("standard input"), _input()))
    try:
        archive, mark, member = name.partition(ARCHIVE)
        if mark and not Path(name).exists():
            return _some(_unpacked(_member(Path(f"{archive}.zip"), member)))
        path = Path(name)
        if path.is_dir():
            return Content(name, path, None)
        if path.suffix == ".zip":
            return _some(_unpacked(_member(path, None)))
        return _some(_unpacked(Content(name, path, _bytes(path))))
    except OSError as error:
        raise UserError(f"cannot read {name[:80]}: {error.strerror or error}") from error


def _some(found: Content) -> Content:
    if found.data is not None and not found.data:
        raise UserError(f"{found.name} is empty: a table has at least one row")
    return found


def _input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("- reads standard input, but nothing is piped in: name a file, or put `cat file.csv |` before")
    return sys.stdin.buffer.read()


def _bytes(path: Path) -> bytes:
    return _there(path).read_bytes()


def _there(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path} does not exist{similar(path)}")
    if not path.is_file():
        raise UserError(f"{path} is neither a file nor a folder: pipe it in, and give - as its name")
    return path


def _member(path: Path, wanted: str | None) -> Content:
    """A member of a zip; the only one when none is named, else the zip as a whole. Those whose name begins with _ or .
    are not counted."""
    archive = Archive(str(_there(path)))
    members = archive.members()
    if wanted is None:
        fit = [m for m in members if not any(part.startswith(("_", ".")) for part in Path(m).parts)]
        if len(fit) != 1:
            return Content(str(path), path, None, path)
        wanted = fit[0]
    if wanted not in members:
        raise unknown(f"member of {path}", wanted, members)
    try:
        with archive.open(wanted) as file:
            return Content(f"{path}:{wanted}", Path(wanted), file.read(), path)
    except DAMAGED as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from None


def _unpacked(found: Content) -> Content:
    if found.path.suffix != ".gz" or found.data is None:
        return found
    try:
        return Content(found.name, found.path.with_suffix(""), gzip.decompress(found.data), found.archive)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{found.name} cannot be unpacked: {error}") from None
