"""A text on disk as an array of tokens: encoded once, memory-mapped, kept by its content."""

import codecs
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from elman.data.tokens import KINDS, Tokens, from_config, narrowest
from elman.errors import UserError, nearest
from elman.files import STANDARD_INPUT, cache_folder, cannot_write, write

Unit = Literal["char", "byte"]
CHUNK = 1 << 22  # bytes read at once


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
    encoding = KINDS[unit].reads(encoding)
    _check_encoding(encoding)
    files, notes = _collect([Path(path) for path in paths], encoding, pattern)
    key = _key(files, unit, encoding)
    ids, tokens = _stored(key) or _encode(files, key, unit, encoding)
    if len(ids) < 2:
        raise UserError(f"{paths[0]} has {len(ids)} {tokens.unit}s: at least 2 are needed")
    return Corpus(ids, tokens, key, notes)


def reopen(key: str) -> Corpus | None:
    """The corpus of that content, if it is still in the cache."""
    stored = _stored(key)
    return stored and Corpus(*stored, key)


def read_with(tokens: Tokens, path: str, encoding: str = "utf-8") -> np.ndarray:
    """The tokens of another text, in memory, as a trained model knows them; a character it never saw is an error."""
    files, _ = _collect([Path(path)], tokens.reads(encoding), "**/*")
    table, pieces = tokens.table(), list[np.ndarray]()
    for points in _points(files, tokens.reads(encoding)):
        pieces.append(table[points])
        strange = points[pieces[-1] < 0]
        if len(strange):
            tokens.encode("".join(map(chr, np.unique(strange))))  # names them in its error
    return np.concatenate(pieces)


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


def _check_encoding(encoding: str) -> None:
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise UserError(
            f"unknown encoding '{encoding}': try utf-8, latin-1, cp1252, utf-16, shift_jis or euc-kr"
        ) from None


def _collect(paths: list[Path], encoding: str, pattern: str) -> tuple[list[Path], list[str]]:
    files, notes = list[Path](), list[str]()
    for path in paths:
        if path.is_dir():
            found = [p for p in sorted(path.glob(pattern)) if p.is_file() and not _hidden(p.relative_to(path))]
            good = [p for p in found if _decodes(p, encoding)]
            if not good:
                raise UserError(
                    f"the folder {path} has no {encoding} file that matches '{pattern}' ({len(found)} match)"
                )
            left_out = f", {len(found) - len(good)} left out that are not {encoding}" if len(good) < len(found) else ""
            notes.append(f"{path}: {len(good)} files{left_out}")
            files += good
        elif not path.exists():
            raise UserError(f"{path} does not exist{_similar(path)}")
        elif path.stat().st_size == 0:
            raise UserError(f"{path} is empty: at least 2 characters are needed")
        else:
            files.append(path)
    return files, notes


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


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(CHUNK):
                yield block
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _texts(path: Path, encoding: str) -> Iterator[str]:
    """The text of a file, piece by piece. A byte-order mark of UTF-8 is no text."""
    marked = codecs.lookup(encoding).name == "utf-8"
    decoder = codecs.getincrementaldecoder("utf-8-sig" if marked else encoding)()
    done = start = 0  # bytes read; where the bytes that are being decoded start
    try:
        for block in _blocks(path):
            start, done = done - len(decoder.getstate()[0]), done + len(block)
            yield decoder.decode(block)
        start = done - len(decoder.getstate()[0])
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not {encoding}: byte 0x{error.object[error.start]:02x} at offset {start + error.start}; "
            f"pass --encoding {_likely(path)}, or --tokens byte to read raw bytes"
        ) from None


def _likely(path: Path) -> str:
    head = next(_blocks(path))[:2]
    return "utf-16" if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin-1"


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
    home = _home(key)
    try:
        about = json.loads(home.with_suffix(".json").read_text("utf-8"))
        # as a plain array: a step of `np.memmap` costs more than the read
        ids = np.memmap(home.with_suffix(".ids"), np.dtype(about["dtype"]), "r").view(np.ndarray)
    except (OSError, ValueError, KeyError):
        return None
    return (ids, from_config(about["tokens"])) if len(ids) == about["length"] else None


def _encode(files: list[Path], key: str, unit: Unit, encoding: str) -> tuple[np.ndarray, Tokens]:
    """Two passes: which characters there are, then their numbers."""
    home = _home(key)
    aside = home.with_suffix(f".{os.getpid()}")
    seen = np.zeros(sys.maxunicode + 1, bool)
    for points in _points(files, encoding):
        seen[points] = True
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
        aside.unlink(missing_ok=True)
    stored = _stored(key)
    if stored is None:
        raise UserError(f"the encoded text {home}.ids could not be read back")
    return stored


def _points(files: list[Path], encoding: str) -> Iterator[np.ndarray]:
    """The code points of the files, piece by piece."""
    for path in files:
        for text in _texts(path, encoding):
            yield np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
