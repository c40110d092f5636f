"""A text on disk as an array of tokens: encoded once, memory-mapped, kept by its content."""

import codecs
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import takewhile
from operator import itemgetter
from pathlib import Path

import numpy as np

from elman.data.content import encoding_name, likely, similar
from elman.data.encoded import Corpus as Corpus
from elman.data.encoded import keep
from elman.data.encoded import reopen as reopen
from elman.errors import UserError
from elman.files import STANDARD_INPUT
from elman.tokenizers.registry import KINDS, Log, Tokenizer, Unit, Unknown
from elman.tokenizers.word import seam

CHUNK = 1 << 22  # bytes read at once


def read(
    paths: list[str],
    unit: Unit = "char",
    encoding: str = "utf-8",
    pattern: str = "**/*",
    vocabulary: int | None = None,
    lower: bool = False,
    train: float = 1.0,
) -> Corpus:
    """The corpus of some files, of the files in a folder that match a pattern, or of standard input (`/dev/stdin`).

    Files follow each other in the order given, those of a folder in the order of their names. In a folder, a file that
    does not decode is left out and counted in the notes; one that was named is an error that says where and what to do.

    - vocabulary: how many tokens are learnt, where they are; None for a usual number
    - lower: in lower case
    - train: share of the characters, from the beginning, from which tokens are learnt, where they are
    """
    kind = KINDS[unit]
    kind.check(vocabulary, lower)
    if not paths:
        raise UserError("no text was given: name a file, a folder, or - for standard input")
    if STANDARD_INPUT in paths:
        return _from_input(paths, lambda copy: read([copy], unit, encoding, pattern, vocabulary, lower, train))
    encoding = encoding_name(kind.reads(encoding))
    files, notes = _collect(paths, encoding, pattern)
    how = f"1 {unit} {encoding}" + " lower" * lower + f" {vocabulary} {train:.9g}" * kind.learnt
    key = _key(files, how)
    text = reopen(key)
    if text is None:
        parts = partial(_parts, files, encoding, kind, _first(files, encoding, train) if kind.learnt else sys.maxsize)
        if not any(part for _, part in parts()):
            raise UserError(f"{files[0]} has 0 {kind.unit}s: at least 2 are needed")
        tokens = kind.of_parts((part for _, part in takewhile(itemgetter(0), parts())), vocabulary, lower)
        rare = "seen once or never" if vocabulary is None else f"not among the {vocabulary:,} that come most often"
        text = keep(key, tokens, ((trained, tokens.array(part, "replace")) for trained, part in parts()), rare)
    _enough(text.ids, text.tokens, paths[0])
    return replace(text, notes=notes + text.notes, paths=paths)


def read_with(
    tokens: Tokenizer, path: str, encoding: str = "utf-8", unknown: Unknown = "error", log: Log = lambda line: None
) -> np.ndarray:
    """The tokens of another text, in memory, as a trained model knows them. What it never saw is an error, is left out
    (`skip`) or put as the nearest that it knows (`replace`), and told."""
    encoding = encoding_name(tokens.reads(encoding))
    files, _ = _collect([path], encoding, "**/*")
    parts = _parts(files, encoding, type(tokens), sys.maxsize)
    told = list[str]()
    ids = np.concatenate([np.zeros(0, np.int32), *(tokens.array(part, unknown, told.append) for _, part in parts)])
    for line in dict.fromkeys(told):
        log(line)
    return _enough(ids, tokens, path)


def _enough(ids: np.ndarray, tokens: Tokenizer, path: str) -> np.ndarray:
    if len(ids) < 2:
        raise UserError(f"{path} has {len(ids)} {tokens.unit}{'' if len(ids) == 1 else 's'}: at least 2 are needed")
    return ids


def _from_input(paths: list[str], read_copy: Callable[[str], Corpus]) -> Corpus:
    if paths != [STANDARD_INPUT]:
        raise UserError("- (standard input) cannot be mixed with files")
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("- reads standard input, but nothing is piped in: try `cat file.txt | elman train lm -`")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "standard input"
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, CHUNK)
        try:
            return read_copy(str(copy))
        except UserError as error:
            raise UserError(str(error).replace(str(copy), "standard input")) from None


def _collect(paths: list[str], encoding: str, pattern: str) -> tuple[list[Path], list[str]]:
    """The files that are meant, and lines to log."""
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
                raise UserError(f"{path} does not exist{similar(path)}")
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
    advice = f"pass --encoding {likely(_head(path))}, or --tokens byte to read raw bytes"
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


def _key(files: list[Path], how: str) -> str:
    """A name for the content and how it is read."""
    digest = hashlib.blake2b(how.encode(), digest_size=16)
    for path in files:
        size = hashlib.blake2b(digest_size=16)
        for block in _blocks(path):
            size.update(block)
        digest.update(size.digest())
    return digest.hexdigest()


def _first(files: list[Path], encoding: str, share: float) -> int:
    """How many characters are that share of all."""
    if share >= 1:
        return sys.maxsize
    return int(share * sum(len(text) for path in files for text in _texts(path, encoding)))


def _parts(files: list[Path], encoding: str, kind: type[Tokenizer], first: int) -> Iterator[tuple[bool, str]]:
    """The text in parts that are encoded one by one, and whether each belongs to the training part: to the first so
    many characters, or to a few fewer, so that no word is cut. A word ends with its file."""
    done = 0
    for path in files:
        for text in kind.parts(_texts(path, encoding)):
            cut = min(len(text), max(0, first - done))
            done += len(text)
            if cut < len(text):
                cut = seam(text[:cut]) or cut
            if cut:
                yield True, text[:cut]
            if cut < len(text):
                yield False, text[cut:]
