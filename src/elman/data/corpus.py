"""A text on disk as an array of tokens: encoded once, memory-mapped, kept by its content."""

import codecs
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from elman.data.tokens import KINDS, Tokens, Unknown, from_config, narrowest
from elman.errors import UserError, nearest
from elman.files import STANDARD_INPUT, cache_folder, cannot_write, write

Unit = Literal["char", "byte"]
CHUNK = 1 << 22  # bytes read at once
LEFT_OUT = -2


@dataclass(frozen=True)
class Corpus:
    """The tokens of a text: `ids` is a read-only memory map; `key` names the content; `notes` are lines to tell."""

    ids: np.ndarray
    tokens: Tokens
    key: str
    notes: list[str] = field(default_factory=list)


def read(paths: list[str], unit: Unit = "char", encoding: str = "utf-8", pattern: str = "**/*") -> Corpus:
    """The corpus of some files, of the files in a folder that match a pattern, or of standard input (`/dev/stdin`).

    Files follow each other in the order given, those of a folder in the order of their names. In a folder, a file that
    does not decode is left out and counted in the notes; one that was named is an error that says where and what to do.
    """
    if not paths:
        raise UserError("no text was given: name a file, a folder, or - for standard input")
    if STANDARD_INPUT in paths:
        return _from_input(paths, unit, encoding)
    encoding = _encoding(KINDS[unit].reads(encoding))
    files, notes = _collect(paths, encoding, pattern)
    key = _key(files, unit, encoding)
    ids, tokens = _stored(key) or _encode(files, key, unit, encoding)
    return Corpus(_enough(ids, tokens, paths[0]), tokens, key, notes)


def reopen(key: str) -> Corpus | None:
    """The corpus of that content, if it is still in the cache."""
    stored = _stored(key)
    return stored and Corpus(*stored, key)


def read_with(tokens: Tokens, path: str, encoding: str = "utf-8", unknown: Unknown = "error") -> np.ndarray:
    """The tokens of another text, in memory, as a trained model knows them. A character that it never saw is an error,
    is left out (`skip`) or put as the nearest known one (`replace`)."""
    encoding = _encoding(tokens.reads(encoding))
    files, _ = _collect([path], encoding, "**/*")
    table, pieces = tokens.table(), list[np.ndarray]()
    for points in _points(files, encoding):
        for point in np.unique(points[table[points] < 0]).tolist():
            # an error that names it, nothing, or the token to put
            table[point] = next(iter(tokens.encode(chr(point), unknown)), LEFT_OUT)
        ids = table[points]
        pieces.append(ids[ids != LEFT_OUT])
    ids = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
    return _enough(ids, tokens, path)


def _enough(ids: np.ndarray, tokens: Tokens, path: str) -> np.ndarray:
    if len(ids) < 2:
        raise UserError(f"{path} has {len(ids)} {tokens.unit}{'' if len(ids) == 1 else 's'}: at least 2 are needed")
    return ids


def _from_input(paths: list[str], unit: Unit, encoding: str) -> Corpus:
    if paths != [STANDARD_INPUT]:
        raise UserError("- (standard input) cannot be mixed with files")
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("- reads standard input, but nothing is piped in: try `cat file.txt | elman train lm -`")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "standard input"
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, CHUNK)
        try:
            return read([str(copy)], unit, encoding)
        except UserError as error:
            raise UserError(str(error).replace(str(copy), "standard input")) from None


def _encoding(name: str) -> str:
    """The encoding's one name among its spellings."""
    try:
        b"".decode(name)  # also refuses codecs that are not of text
        return codecs.lookup(name).name
    except (LookupError, UnicodeError):
        raise UserError(f"unknown encoding '{name}': try utf-8, latin-1, cp1252, utf-16, shift_jis or euc-kr") from None


def _collect(paths: list[str], encoding: str, pattern: str) -> tuple[list[Path], list[str]]:
    """The files that are meant, and lines to tell."""
    files, notes = list[Path](), list[str]()
    for name in paths:
        path = Path(name)
        try:
            if not name:
                raise UserError("the name of a text is empty")
            if path.is_dir():
                found, note = _in_folder(path, encoding, pattern)
                files, notes = files + found, [*notes, note]
            elif not path.exists():
                raise UserError(f"{path} does not exist{_similar(path)}")
            elif not path.is_file():
                raise UserError(f"{path} is neither a file nor a folder: pipe it in, and give - as its name")
            elif path.stat().st_size == 0:
                raise UserError(f"{path} is empty: at least 2 characters are needed")
            else:
                files.append(path)
        except OSError as error:
            raise UserError(f"cannot read {name[:80]}: {error.strerror}") from error
    return files, notes


def _in_folder(folder: Path, encoding: str, pattern: str) -> tuple[list[Path], str]:
    try:
        found = [p for p in sorted(folder.glob(pattern)) if p.is_file() and not _hidden(p.relative_to(folder))]
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"--pattern '{pattern}' is no pattern of files, such as '**/*.txt': {error}") from None
    good = [path for path in found if _decodes(path, encoding)]
    if not good:
        raise UserError(f"the folder {folder} has no {encoding} file that matches '{pattern}' ({len(found)} match)")
    left_out = f", {len(found) - len(good)} left out that are not {encoding}" if len(good) < len(found) else ""
    return good, f"{folder}: {len(good)} files{left_out}"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _similar(path: Path) -> str:
    near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
    return f": did you mean {path.with_name(near)}?" if near else ""


def _decodes(path: Path, encoding: str) -> bool:
    try:
        for _ in _texts(path, encoding):
            pass
    except UserError:
        return False
    return True


def _blocks(path: Path, skip: int = 0) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(skip)
            while block := file.read(CHUNK):
                yield block
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _texts(path: Path, encoding: str) -> Iterator[str]:
    """The text of a file, piece by piece. A byte-order mark of UTF-8 is no text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    done = len(codecs.BOM_UTF8) if encoding == "utf-8" and _head(path) == codecs.BOM_UTF8 else 0
    start = done  # of the bytes that are being decoded
    advice = f"pass --encoding {_likely(path)}, or --tokens byte to read raw bytes"
    try:
        for block in _blocks(path, done):
            start, done = done - len(decoder.getstate()[0]), done + len(block)
            yield decoder.decode(block)
        start = done - len(decoder.getstate()[0])
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        where = f"byte 0x{error.object[error.start]:02x} at offset {start + error.start}"
        raise UserError(f"{path} is not {encoding}: {where}; {advice}") from None
    except UnicodeError as error:  # UTF-16 without a byte-order mark, for one
        raise UserError(f"{path} is not {encoding}: {error}; {advice}") from None


def _head(path: Path) -> bytes:
    """The first three bytes."""
    with path.open("rb") as file:
        return file.read(3)


def _likely(path: Path) -> str:
    return "utf-16" if _head(path)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin-1"


def _key(files: list[Path], unit: Unit, encoding: str) -> str:
    """A name for the content and how it is read."""
    digest = hashlib.blake2b(f"1 {unit} {encoding}".encode(), digest_size=16)
    for path in files:
        size = hashlib.blake2b(digest_size=16)
        for block in _blocks(path):
            size.update(block)
        digest.update(size.digest())
    return digest.hexdigest()


def _home(key: str) -> Path:
    return cache_folder() / "corpora" / key


def _stored(key: str) -> tuple[np.ndarray, Tokens] | None:
    """What is in the cache; None when it is not there, or not whole."""
    home = _home(key)
    try:
        about = json.loads(home.with_suffix(".json").read_text("utf-8"))
        # as a plain array: a step of `np.memmap` costs more than the read
        ids = np.memmap(home.with_suffix(".ids"), np.dtype(about["dtype"]), "r").view(np.ndarray)
        return (ids, from_config(about["tokens"])) if len(ids) == about["length"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _encode(files: list[Path], key: str, unit: Unit, encoding: str) -> tuple[np.ndarray, Tokens]:
    """Two passes: which characters there are, then their numbers."""
    home = _home(key)
    aside = home.with_suffix(f".{os.getpid()}")
    seen = np.zeros(sys.maxunicode + 1, bool)
    for points in _points(files, encoding):
        seen[points] = True
    if not seen.any():
        raise UserError(f"{files[0]} has 0 {KINDS[unit].unit}s: at least 2 are needed")
    tokens = KINDS[unit].of(seen.nonzero()[0])
    dtype, length = narrowest(len(tokens)), 0
    table = tokens.table().astype(dtype)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as out:
            for points in _points(files, encoding):
                out.write(table[points].tobytes())
                length += len(points)
        aside.replace(home.with_suffix(".ids"))
        about = {"dtype": str(dtype), "length": length, "tokens": tokens.to_config()}
        write(home.with_suffix(".json"), json.dumps(about).encode())
    except OSError as error:
        raise cannot_write(home.with_suffix(".ids"), error) from error
    finally:
        with suppress(OSError):  # it is gone when all went well, and what went wrong is told above
            aside.unlink()
    stored = _stored(key)
    if stored is None:
        raise UserError(f"the encoded text {home}.ids could not be read back")
    return stored


def _points(files: list[Path], encoding: str) -> Iterator[np.ndarray]:
    """The code points of the files, piece by piece."""
    for path in files:
        for text in _texts(path, encoding):
            yield np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
