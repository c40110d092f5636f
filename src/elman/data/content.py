"""What a name given by the user holds: a file, a compressed one, a member of a zip, standard input or a folder."""

import codecs
import gzip
import io
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from elman.errors import UserError, nearest, unknown
from elman.files import STANDARD_INPUT

ARCHIVE = ".zip:"  # stands between a zip and its member


@dataclass(frozen=True)
class Content:
    """`name` is for messages; `path` has the suffix and the stem of what is read; `data` is None for a folder."""

    name: str
    path: Path
    data: bytes | None

    def raw(self) -> bytes:
        if self.data is None:
            raise UserError(
                f"{self.name} is a folder: --form files reads a file a class, --form folders a folder a class"
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
    if not found.data:
        raise UserError(f"{found.name} is empty: a table has at least one row")
    return found


def _input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("- reads standard input, but nothing is piped in: name a file, or put `cat file.csv |` before")
    return sys.stdin.buffer.read()


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise UserError(f"{path} does not exist{similar(path)}")
    if not path.is_file():
        raise UserError(f"{path} is neither a file nor a folder: pipe it in, and give - as its name")
    return path.read_bytes()


def _member(path: Path, wanted: str | None) -> Content:
    """A member of a zip; the only one when none is named. Those whose name begins with _ or . are not counted."""
    try:
        with zipfile.ZipFile(io.BytesIO(_bytes(path))) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
            if wanted is None:
                fit = [m for m in members if not any(part.startswith(("_", ".")) for part in Path(m).parts)]
                if len(fit) != 1:
                    listed = ", ".join(members[:8]) + (", ..." if len(members) > 8 else "")
                    raise UserError(f"{path} has {len(members)} members ({listed}): name one, as in {path}:MEMBER")
                wanted = fit[0]
            if wanted not in members:
                raise unknown(f"member of {path}", wanted, members)
            return Content(f"{path}:{wanted}", Path(wanted), archive.read(wanted))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from None  # no zip, damaged, or behind a password


def _unpacked(found: Content) -> Content:
    if found.path.suffix != ".gz":
        return found
    try:
        return Content(found.name, found.path.with_suffix(""), gzip.decompress(found.raw()))
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{found.name} cannot be unpacked: {error}") from None
