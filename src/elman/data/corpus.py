"""A text on disk as an array of token ids: encoded once, cached by its content, mapped into memory."""

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

from elman.data.content import encoding_name, likely_encoding, similar
from elman.data.corpus_cache import PREFIX, load, save
from elman.data.corpus_cache import Corpus as Corpus
from elman.errors import UserError
from elman.files import STANDARD_INPUT
from elman.log import Log, discard
from elman.tokenizers import registry
from elman.tokenizers.boundary import last_boundary
from elman.tokenizers.tokenizer import Tokenizer, Unknown

CHUNK = 1 << 22  # bytes read at once


def read(
    paths: list[str],
    tokens: str = "char",
    encoding: str = "utf-8",
    pattern: str = "**/*",
    vocab_size: int | None = None,
    lower: bool = False,
    train: float = 1.0,
) -> Corpus:
    """The corpus of files, of the files in folders that match a pattern, of standard input (`/dev/stdin`), or one that
    is in the cache (`cache:KEY`), which is how standard input is found again.

    Files are concatenated in the order given, those of a folder in the order of their names. A file of a folder that
    cannot be decoded is skipped and counted in the notes; for a file that was named it is a UserError.

    - tokens: kind of tokenizer
    - vocab_size: size of a learned vocabulary, None for the default
    - lower: lowercase the text
    - train: share of the characters, from the start, from which a vocabulary is learned
    """
    kind = registry.find(tokens)
    kind.check(vocab_size, lower)
    if not paths:
        raise UserError("no text was given: name a file, a folder, or - for standard input")
    if any(path.startswith(PREFIX) for path in paths):
        return _from_cache(paths)
    if STANDARD_INPUT in paths:
        return _from_input(paths, lambda copy: read([copy], tokens, encoding, pattern, vocab_size, lower, train))
    encoding = encoding_name(kind.file_encoding(encoding))
    files, notes = _collect(paths, encoding, pattern)
    settings = f"1 {tokens} {encoding}" + " lower" * lower + f" {vocab_size} {train:.9g}" * kind.learned
    key = _key(files, settings)
    corpus = load(key)
    if corpus is None:
        chars = _leading_chars(files, encoding, train) if kind.learned else sys.maxsize
        chunks = partial(_chunks, files, encoding, kind, chars)
        if not any(chunk for _, chunk in chunks()):
            raise UserError(f"{files[0]} has 0 {kind.unit}s: at least 2 are needed")
        tokenizer = kind.of_chunks((chunk for _, chunk in takewhile(itemgetter(0), chunks())), vocab_size, lower)
        common = "at least two times" if vocab_size is None else f"among the {vocab_size:,} most frequent"
        blocks = ((is_train, tokenizer.array(chunk, "replace")) for is_train, chunk in chunks())
        corpus = save(key, tokenizer, blocks, f"not {common} in training")
    _check_length(corpus.ids, corpus.tokens, paths[0])
    return replace(corpus, paths=list(paths), notes=notes + corpus.notes)


def read_with(
    tokens: Tokenizer, path: str, encoding: str = "utf-8", unknown: Unknown = "error", log: Log = discard
) -> np.ndarray:
    """The token ids (N,) of another text, in memory, by the tokenizer of a trained model. Unknown symbols raise, or are
    skipped or replaced and logged."""
    encoding = encoding_name(tokens.file_encoding(encoding))
    files, _ = _collect([path], encoding, "**/*")
    chunks = _chunks(files, encoding, type(tokens), sys.maxsize)
    lines = list[str]()
    ids = np.concatenate([np.zeros(0, np.int32), *(tokens.array(chunk, unknown, lines.append) for _, chunk in chunks)])
    for line in dict.fromkeys(lines):
        log(line)
    return _check_length(ids, tokens, path)


def _check_length(ids: np.ndarray, tokens: Tokenizer, path: str) -> np.ndarray:
    if len(ids) < 2:
        raise UserError(f"{path} has {len(ids)} {tokens.unit}{'' if len(ids) == 1 else 's'}: at least 2 are needed")
    return ids


def _from_cache(paths: list[str]) -> Corpus:
    if len(paths) > 1:
        raise UserError(f"a text of the cache, {PREFIX}KEY, cannot be mixed with files")
    corpus = load(paths[0].removeprefix(PREFIX))
    if corpus is None:
        raise UserError(f"{paths[0]} is not in the cache any more: it was read from standard input, so name its file")
    return corpus


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
            corpus = read_copy(str(copy))
        except UserError as error:
            raise UserError(str(error).replace(str(copy), "standard input")) from None
    return replace(corpus, paths=[PREFIX + corpus.key])


def _collect(paths: list[str], encoding: str, pattern: str) -> tuple[list[Path], list[str]]:
    """The files under these paths, and lines to log."""
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
        raise UserError(f"`pattern` '{pattern}' is not a pattern of files such as '**/*.txt': {error}") from None
    good = [path for path in found if _decodes(path, encoding)]
    if not good:
        raise UserError(f"the folder {folder} has no {encoding} file that matches '{pattern}' ({len(found)} match)")
    skipped = f", {len(found) - len(good)} skipped that are not {encoding}" if len(good) < len(found) else ""
    return good, f"{folder}: {len(good)} files{skipped}"


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
    """The text of a file, block by block, without a byte-order mark of UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)()
    done = len(codecs.BOM_UTF8) if encoding == "utf-8" and _head(path) == codecs.BOM_UTF8 else 0
    start = done  # of the bytes that are being decoded
    advice = f"pass `encoding` {likely_encoding(_head(path))}, or `tokens` byte to read raw bytes"
    try:
        for block in _blocks(path, done):
            start, done = done - len(decoder.getstate()[0]), done + len(block)
            yield decoder.decode(block)
        start = done - len(decoder.getstate()[0])
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        where = f"byte 0x{error.object[error.start]:02x} at offset {start + error.start}"
        raise UserError(f"{path} is not {encoding}: {where}; {advice}") from None
    except UnicodeError as error:  # UTF-16 without a byte-order mark, for example
        raise UserError(f"{path} is not {encoding}: {error}; {advice}") from None


def _head(path: Path) -> bytes:
    """The first three bytes."""
    with path.open("rb") as file:
        return file.read(3)


def _key(files: list[Path], settings: str) -> str:
    """The digest of the settings and the content of files."""
    digest = hashlib.blake2b(settings.encode(), digest_size=16)
    for path in files:
        content = hashlib.blake2b(digest_size=16)
        for block in _blocks(path):
            content.update(block)
        digest.update(content.digest())
    return digest.hexdigest()


def _leading_chars(files: list[Path], encoding: str, share: float) -> int:
    """The number of characters in a share of all."""
    if share >= 1:
        return sys.maxsize
    return int(share * sum(len(text) for path in files for text in _texts(path, encoding)))


def _chunks(files: list[Path], encoding: str, kind: type[Tokenizer], chars: int) -> Iterator[tuple[bool, str]]:
    """The text in chunks that are encoded separately, each with whether it belongs to the training split: the first
    `chars` characters, or a few less, so that no word is cut. A word ends with its file."""
    done = 0
    for path in files:
        for text in kind.chunks(_texts(path, encoding)):
            cut = min(len(text), max(0, chars - done))
            done += len(text)
            if cut < len(text):
                cut = last_boundary(text[:cut]) or cut
            if cut:
                yield True, text[:cut]
            if cut < len(text):
                yield False, text[cut:]
