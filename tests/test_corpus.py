"""Texts on disk as tokens: all of a text comes back, the cache is keyed by content, and mistakes are reported in one
line."""

import codecs
import io
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from elman.data import cache, corpus, corpus_cache
from elman.errors import UserError
from elman.files import STANDARD_INPUT
from elman.tokenizers import registry
from elman.tokenizers.byte import ByteTokenizer
from elman.tokenizers.char import CharTokenizer
from elman.tokenizers.registry import token_dtype

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=60, suppress_health_check=busy)
# characters of 1, 2, 3 and 4 bytes in UTF-8; the last two also of 2 units in UTF-16
SCRIPTS = "Hello, world\n\tПривет שלום नमस्ते 汉字 ひらがな 한국어 e\u0301 \U0001f600\U00020000"
EDGES = SCRIPTS + "\0\x7f\x80\xff\u0100\u07ff\u0800\ud7ff\ue000\ufeff\uffff\U00010000\U0010ffff"
chunks = st.integers(1, 9)
pieces_of_utf8 = st.lists(st.text(alphabet=SCRIPTS, max_size=4).map(str.encode) | st.binary(max_size=3), max_size=6)


@contextmanager
def read_by(size):
    """Files are read so many bytes at once, so that a small one has many chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "CHUNK", size)
        yield


@contextmanager
def folder():
    """For tests that run many times: a folder each."""
    with TemporaryDirectory() as name:
        yield Path(name)


def put(where, content, name="text.txt"):
    path = where / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def text_of(paths, **options):
    """The text of the tokens."""
    read = corpus.read([paths] if isinstance(paths, str) else paths, **options)
    return read.tokens.decode(read.ids.tolist())


def stored():
    """The files of the cache; a new one of the same name has another number."""
    home = Path(os.environ["ELMAN_CACHE"], "corpora")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in home.iterdir()}


def fails(text, *arguments, **options):
    with pytest.raises(UserError, match=text) as raised:
        corpus.read(*arguments, **options)
    return str(raised.value)


# every text comes back


@some
@given(st.text(min_size=2, max_size=60) | st.text(EDGES, min_size=2, max_size=60), chunks)
def test_a_text_comes_back_character_by_character_however_it_is_cut(text, size):
    expected = text.removeprefix("\ufeff")  # a byte-order mark, where a file begins with it
    assume(len(expected) > 1)
    with folder() as here, read_by(size):
        read = corpus.read([put(here, text)])
    assert read.tokens.decode(read.ids.tolist()) == expected
    assert len(read.ids) == len(expected)
    assert read.tokens.encode(expected) == read.ids.tolist()


@some
@given(st.binary(min_size=2, max_size=60), chunks)
def test_bytes_come_back_as_they_are(content, size):
    with folder() as here, read_by(size):
        read = corpus.read([put(here, content)], "byte")
    assert bytes(read.ids.tolist()) == content
    assert isinstance(read.tokens, ByteTokenizer)


ENCODINGS = {
    "latin-1": "".join(map(chr, range(256))),
    "utf-16": EDGES,
    "utf-16-le": EDGES,
    "utf-32": EDGES,
    "utf-8-sig": EDGES,
    "shift_jis": "ひらがなカタカナ日本語、。ｱｲｳabc\n",
    "euc-kr": "한국어 abc\n",
    "cp1252": "déjà vu – €\r\n",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_text_in_another_encoding_comes_back_however_it_is_cut(encoding):
    @settings(some, max_examples=25)
    @given(st.text(ENCODINGS[encoding], min_size=2, max_size=40), chunks)
    def check(text, size):
        with folder() as here, read_by(size):
            assert text_of(put(here, text.encode(encoding)), encoding=encoding) == text

    check()


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "utf8", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_text(tmp_path, encoding):
    codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    assert "ab".encode(codec) != "ab".encode(encoding) or codec == encoding
    assert text_of(put(tmp_path, "ab".encode(codec)), encoding=encoding) == "ab"


def test_each_of_several_files_may_begin_with_a_byte_order_mark(tmp_path):
    paths = [put(tmp_path, codecs.BOM_UTF8 + letter, letter.decode()) for letter in (b"a", b"b")]
    assert text_of(paths) == "ab"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_a_byte_order_mark_inside_the_text_is_kept(tmp_path, size):
    with read_by(size):
        assert text_of(put(tmp_path, "a\ufeffb")) == "a\ufeffb"
        assert text_of(put(tmp_path, "abc\ufeff")) == "abc\ufeff"
        assert text_of(put(tmp_path, "\ufeff\ufeff\ufeffa")) == "\ufeff\ufeffa"


def test_bytes_keep_a_byte_order_mark(tmp_path):
    assert bytes(corpus.read([put(tmp_path, codecs.BOM_UTF8)], "byte").ids.tolist()) == codecs.BOM_UTF8


def test_ends_of_lines_are_kept_as_they_are(tmp_path):
    assert text_of(put(tmp_path, "a\r\nb\nc\rd\u2028")) == "a\r\nb\nc\rd\u2028"


def test_nothing_is_normalised(tmp_path):
    assert text_of(put(tmp_path, "\u00e9e\u0301ﬁ\u0000")) == "\u00e9e\u0301ﬁ\u0000"


def test_bytes_need_no_encoding(tmp_path):
    path = put(tmp_path, b"\xff\xfe\x00")
    assert corpus.read([path], "byte", encoding="utf-8").ids.tolist() == [255, 254, 0]
    assert corpus.read([path], "byte", encoding="ascii").key == corpus.read([path], "byte").key


# which files


def test_several_files_follow_each_other_in_the_order_given(tmp_path):
    paths = [put(tmp_path, content, name) for name, content in (("b", "1st "), ("a", "2nd "), ("c", "3rd"))]
    assert text_of(paths) == "1st 2nd 3rd"


def test_one_file_may_be_in_the_text_twice(tmp_path):
    path = put(tmp_path, "ab")
    assert text_of([path, path]) == "abab"


def test_a_character_cannot_begin_in_one_file_and_end_in_the_next(tmp_path):
    paths = [put(tmp_path, content, name) for name, content in (("a", b"ab\xc3"), ("b", b"\xa9cd"))]
    fails(f"{paths[0]} is not utf-8: byte 0xc3 at offset 2", paths)


def test_the_files_of_a_folder_follow_each_other_in_the_order_of_their_names(tmp_path):
    for name in ("c", "a", "b/2", "b/1"):
        put(tmp_path, f"{name} ", name)
    read = corpus.read([str(tmp_path)])
    assert read.tokens.decode(read.ids.tolist()) == "a b/1 b/2 c "
    assert read.notes == [f"{tmp_path}: 4 files"]


def test_a_pattern_selects_files_of_a_folder(tmp_path):
    for name in ("a.txt", "b.md", "deep/c.txt"):
        put(tmp_path, f"{name} ", name)
    assert text_of(str(tmp_path), pattern="**/*.txt") == "a.txt deep/c.txt "
    assert text_of(str(tmp_path), pattern="*.txt") == "a.txt "
    assert text_of(str(tmp_path), pattern="*") == "a.txt b.md "


def test_hidden_files_and_the_files_of_hidden_folders_are_skipped(tmp_path):
    for name in ("visible", ".hidden", ".git/config", "deep/.hidden"):
        put(tmp_path / ".above", f"{name} ", name)
    assert text_of(str(tmp_path / ".above")) == "visible "  # what is above the folder does not matter
    assert text_of(str(tmp_path / ".above" / ".hidden")) == ".hidden "  # nor is a file skipped that was named


def test_files_of_a_folder_that_do_not_decode_are_skipped_and_counted(tmp_path):
    put(tmp_path, "one ", "1")
    put(tmp_path, b"\xff\xd8\xff\xe0", "picture.jpg")
    put(tmp_path, b"cut short: \xe6\xbc", "2")
    put(tmp_path, "two ", "3")
    read = corpus.read([str(tmp_path)])
    assert read.tokens.decode(read.ids.tolist()) == "one two "
    assert read.notes == [f"{tmp_path}: 2 files, 2 skipped that are not utf-8"]
    assert len(corpus.read([str(tmp_path)], "byte").ids) == 8 + 4 + 13  # a byte is a byte


def test_an_empty_file_of_a_folder_does_not_matter(tmp_path):
    put(tmp_path, "", "a")
    put(tmp_path, "text", "b")
    assert text_of(str(tmp_path)) == "text"


def test_folders_and_files_can_be_mixed(tmp_path):
    for name in ("folder/b", "folder/a", "c"):
        put(tmp_path, f"{name} ", name)
    assert text_of([str(tmp_path / "c"), str(tmp_path / "folder")]) == "c folder/a folder/b "


# standard input


class Piped:
    """A replacement of standard input."""

    def __init__(self, content, terminal=False):
        self.buffer, self.terminal = io.BytesIO(content), terminal

    def isatty(self):
        return self.terminal


def test_standard_input_is_read_like_a_file_of_the_same_content(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(SCRIPTS.encode()))
    piped = corpus.read([STANDARD_INPUT])
    assert piped.tokens.decode(piped.ids.tolist()) == SCRIPTS
    assert piped.key == corpus.read([put(tmp_path, SCRIPTS)]).key


def test_standard_input_is_found_again_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(SCRIPTS.encode()))
    piped = corpus.read([STANDARD_INPUT], "word", vocab_size=3)
    assert piped.paths == [f"cache:{piped.key}"]
    again = corpus.read(piped.paths)
    assert (again.ids.tolist(), again.key, again.paths) == (piped.ids.tolist(), piped.key, piped.paths)
    assert again.tokens.to_json() == piped.tokens.to_json()
    path = put(tmp_path, SCRIPTS)
    assert corpus.read([path], "word", vocab_size=3).paths == [path]
    fails("a text of the cache, cache:KEY, cannot be mixed with files", [*piped.paths, path])
    fails("cache:0{32} is not in the cache any more: .* name its file", ["cache:" + "0" * 32])


@pytest.mark.parametrize(
    "key", ["", "../" * 4 + "etc/passwd", "0" * 31, "0" * 33, "G" * 32, "0" * 31 + "/", "A" * 32, None, 7]
)
def test_a_key_is_32_hexadecimal_digits(key):
    with pytest.raises(UserError, match="must be a key of 32 hexadecimal digits"):
        corpus_cache.load(key)
    if isinstance(key, str):
        fails("must be a key of 32 hexadecimal digits", [f"cache:{key}"])


def planted(path, kind, tmp_path):
    """Replaces a file by something that is not a regular file."""
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        outside = {"link": put(tmp_path, path.with_suffix(".old").read_bytes(), "outside"), "device": "/dev/zero"}
        path.symlink_to(outside[kind])


@pytest.mark.parametrize("suffix", [".ids", ".json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "device"])
def test_only_regular_files_of_the_cache_are_read(tmp_path, kind, suffix):
    read = corpus.read([put(tmp_path, SCRIPTS)])
    path = Path(os.environ["ELMAN_CACHE"], "corpora", read.key).with_suffix(suffix)
    path.with_suffix(".old").write_bytes(path.read_bytes())
    planted(path, kind, tmp_path)
    assert corpus_cache.load(read.key) is None
    if kind != "folder":
        assert text_of(put(tmp_path, SCRIPTS)) == SCRIPTS  # written again
        assert path.is_file()
        assert not path.is_symlink()


@pytest.mark.parametrize(
    "stored",
    [
        {"length": -1}, {"length": 10**15}, {"length": "4"}, {"length": True}, {"train": -1}, {"train": 10**9},
        {"notes": "text"}, {"notes": [1]}, {"tokens": {"kind": "/etc/evil.py:Evil"}}, {"tokens": []},
        {"tokens": {"kind": "char", "vocabulary": ["a"]}}, {"tokens": {"kind": "char"}},
        {"tokens": {"kind": "byte", "path": "/etc/passwd"}}, {"tokens": {"kind": ["char"]}},
    ],
)  # fmt: skip
def test_a_stored_description_is_checked(tmp_path, stored):
    read = corpus.read([put(tmp_path, SCRIPTS)])
    path = Path(os.environ["ELMAN_CACHE"], "corpora", read.key).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | stored))
    assert corpus_cache.load(read.key) is None
    assert text_of(put(tmp_path, SCRIPTS)) == SCRIPTS


@pytest.mark.parametrize("dtype", ["O", "float64", "int32", "<U4"])
def test_only_unsigned_integers_and_half_floats_are_mapped(tmp_path, dtype):
    path = Path(put(tmp_path, bytes(64)))
    with pytest.raises(ValueError, match="dtype"):
        cache.map_arrays(path, (dtype, (4,)))
    with pytest.raises(OSError, match="does not have"):
        cache.map_arrays(path, ("uint16", (31,)))
    assert cache.map_arrays(path, ("uint16", (4, 4)), ("uint32", (8,)))[0].shape == (4, 4)


def test_standard_input_has_the_encoding_and_the_tokens_of_the_options(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(b"caf\xe9"))
    assert text_of(STANDARD_INPUT, encoding="latin-1") == "café"
    monkeypatch.setattr(sys, "stdin", Piped(b"caf\xe9"))
    assert corpus.read([STANDARD_INPUT], "byte").ids.tolist() == list(b"caf\xe9")


def test_a_pipe_is_read_to_its_end():
    code = f"from elman.data.corpus import read; read_ = read([{STANDARD_INPUT!r}]); print(len(read_.ids), read_.key)"
    piped = subprocess.run([sys.executable, "-c", code], input=b"ab\r\n" * 50_000, capture_output=True)
    assert piped.returncode == 0, piped.stderr
    length, key = piped.stdout.split()
    assert int(length) == 200_000
    again = corpus_cache.load(key.decode())  # it went into the cache that this process reads too
    assert again is not None
    assert again.tokens.decode(again.ids.tolist()) == "ab\r\n" * 50_000


def test_standard_input_is_reported_with_what_is_wrong_with_it(tmp_path, monkeypatch):
    fails("cannot be mixed with files", [STANDARD_INPUT, put(tmp_path, "text")])
    fails("cannot be mixed with files", [STANDARD_INPUT, STANDARD_INPUT])
    monkeypatch.setattr(sys, "stdin", Piped(b"", terminal=True))
    fails(r"nothing is piped in: try `cat file.txt \| elman train lm -`", [STANDARD_INPUT])
    monkeypatch.setattr(sys, "stdin", None)  # as in a program without a console
    fails("nothing is piped in", [STANDARD_INPUT])
    monkeypatch.setattr(sys, "stdin", Piped(b""))
    fails("standard input is empty", [STANDARD_INPUT])
    monkeypatch.setattr(sys, "stdin", Piped(b"ab\xff"))
    fails("standard input is not utf-8: byte 0xff at offset 2", [STANDARD_INPUT])


# the cache


def test_a_copy_under_another_name_is_not_encoded_again(tmp_path):
    first = corpus.read([put(tmp_path, SCRIPTS, "a")])
    before = stored()
    second = corpus.read([put(tmp_path, SCRIPTS, "b")])
    assert second.key == first.key
    assert stored() == before
    assert second.ids.tolist() == first.ids.tolist()
    assert second.tokens.to_json() == first.tokens.to_json()


def test_another_content_is_another_text(tmp_path):
    key = corpus.read([put(tmp_path, "abc")]).key
    assert corpus.read([put(tmp_path, "abd")]).key != key
    assert text_of(put(tmp_path, "abd")) == "abd"


def test_another_encoding_unit_or_order_is_another_text(tmp_path):
    a, b = put(tmp_path, "caf\u00e9", "a"), put(tmp_path, "th\u00e9", "b")
    keys = [
        corpus.read([a]).key,
        corpus.read([a], encoding="latin-1").key,
        corpus.read([a], "byte").key,
        corpus.read([a, b]).key,
        corpus.read([b, a]).key,
        corpus.read([put(tmp_path, "caf\u00e9th\u00e9", "c")]).key,
    ]
    assert len(set(keys)) == len(keys)
    assert text_of(a, encoding="latin-1") == "cafÃ©"


def test_a_text_is_opened_again_by_its_key(tmp_path):
    read = corpus.read([put(tmp_path, SCRIPTS)])
    again = corpus_cache.load(read.key)
    assert again is not None
    assert again.key == read.key
    assert again.tokens.decode(again.ids.tolist()) == SCRIPTS
    assert corpus_cache.load("0" * 32) is None


DAMAGE = {
    "ids cut short": (".ids", lambda content: content[:-2]),
    "ids of half a token": (".ids", lambda content: content[:-1]),
    "ids that are empty": (".ids", lambda content: b""),
    "ids that are longer": (".ids", lambda content: content + b"\0\0"),
    "ids that are missing": (".ids", None),
    "description cut short": (".json", lambda content: content[:-1]),
    "description that is empty": (".json", lambda content: b""),
    "description of nothing": (".json", lambda content: b"{}"),
    "description that is no UTF-8": (".json", lambda content: b"\xff" + content),
    "description that is missing": (".json", None),
    "description of another kind": (".json", lambda content: b"null"),
    "description without its tokens": (".json", lambda content: content.replace(b"tokens", b"tokfns")),
    "description of an unknown type": (".json", lambda content: content.replace(b'"char"', b'"chra"')),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_text_whose_copy_in_the_cache_is_damaged_is_encoded_again(tmp_path, damage):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    suffix, change = DAMAGE[damage]
    path = put(tmp_path, text)
    [victim] = Path(os.environ["ELMAN_CACHE"]).glob(f"corpora/{corpus.read([path]).key}{suffix}")
    content = victim.read_bytes()
    victim.unlink()  # the text that was read before keeps the old file
    if change is not None:
        assert change(content) != content
        victim.write_bytes(change(content))
    assert text_of(path) == text
    assert victim.read_bytes() == content


def test_nothing_but_the_encoded_text_is_left_in_the_cache(tmp_path):
    key = corpus.read([put(tmp_path, SCRIPTS)]).key
    assert sorted(stored()) == [f"{key}.ids", f"{key}.json"]


def test_the_tokens_of_a_text_cannot_be_changed(tmp_path):
    read = corpus.read([put(tmp_path, "abc")])
    with pytest.raises(ValueError, match="read-only"):
        read.ids[0] = 1
    assert type(read.ids) is np.ndarray


@pytest.mark.parametrize(
    ("characters", "kind"), [(2, np.uint8), (256, np.uint8), (257, np.uint16), (70_000, np.uint32)]
)
def test_tokens_are_stored_in_the_smallest_type_that_holds_them(tmp_path, characters, kind):
    text = "".join(map(chr, [*range(0x20, 0xD800), *range(0x10000, 0x20000)][:characters]))
    read = corpus.read([put(tmp_path, text)])
    assert read.ids.dtype == token_dtype(characters) == kind
    assert len(read.tokens) == characters
    assert read.ids.tolist() == list(range(characters))  # in the order of their code points
    [file] = Path(os.environ["ELMAN_CACHE"]).glob("corpora/*.ids")
    assert file.stat().st_size == characters * np.dtype(kind).itemsize


FULL_DISK = """
import resource, signal, sys
from elman.data.corpus import read
from elman.errors import UserError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is then an error, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    read(sys.argv[1:])
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
def test_a_disk_without_room_for_the_encoded_text_is_a_user_error(tmp_path):
    path = put(tmp_path, "text " * 1000)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"cannot write {os.environ['ELMAN_CACHE']}.*\.ids: .*\n", done.stdout)
    assert stored() == {}
    assert text_of(path) == "text " * 1000


def test_a_cache_that_is_no_folder_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setenv("ELMAN_CACHE", put(tmp_path, "a file", "cache"))
    fails(f"cannot write {tmp_path / 'cache'}", [put(tmp_path, "text")])


# what a mistake is told


def test_a_file_that_does_not_exist_is_reported_with_the_nearest_name(tmp_path):
    put(tmp_path, "text", "shakespeare.txt")
    fails(f"{tmp_path}/shakespear.txt does not exist: did you mean {tmp_path}/shakespeare.txt",
          [str(tmp_path / "shakespear.txt")])  # fmt: skip
    assert fails("does not exist", [str(tmp_path / "zzz")]) == f"{tmp_path}/zzz does not exist"
    assert fails("does not exist", [str(tmp_path / "no" / "folder")]) == f"{tmp_path}/no/folder does not exist"


def test_a_text_given_instead_of_a_file_is_too_long_a_name():
    fails("File name too long", ["To be, or not to be, that is the question. " * 10])


def test_an_empty_file_is_reported_with_what_is_needed(tmp_path):
    path = put(tmp_path, "")
    assert fails("empty", [path]) == f"{path} is empty: at least 2 characters are needed"


@pytest.mark.parametrize(("content", "unit", "found"), [("é", "char", "1 character"), (b"a", "byte", "1 byte")])
def test_a_text_of_one_token_is_reported_with_what_is_needed(tmp_path, content, unit, found):
    path = put(tmp_path, content)
    fails(rf"^{path} has {found}s?: at least 2 are needed$", [path], unit)


@pytest.mark.parametrize("content", [codecs.BOM_UTF8, codecs.BOM_UTF8[:2]])
def test_a_file_without_a_character_is_reported_with_what_is_needed(tmp_path, content):
    fails(r"at least 2|not utf-8", [put(tmp_path, content)])


def test_a_folder_of_empty_files_is_reported_with_what_is_needed(tmp_path):
    put(tmp_path, b"", "a")
    fails("at least 2", [str(tmp_path)])


def test_no_text_at_all_is_reported_with_what_to_name():
    fails("no text was given: name a file, a folder, or - for standard input", [])


@some
@given(pieces_of_utf8, chunks)
def test_a_text_that_is_not_utf8_is_reported_with_the_byte_and_its_offset(pieces, size):
    content = b"ab" + b"".join(pieces) + b"\xff"
    with pytest.raises(UnicodeDecodeError) as raised:
        content.decode("utf-8")
    where = raised.value.start
    with folder() as here, read_by(size):
        path = put(here, content)
        fails(rf"^{re.escape(path)} is not utf-8: byte 0x{content[where]:02x} at offset {where}; ", [path])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 100])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xc3(", b"\xe6\xbc", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\x80"])
def test_an_offset_counts_bytes_also_after_characters_of_several_bytes(tmp_path, bad, size):
    before = "aé漢\U0001f600".encode()
    with read_by(size):
        fails(f"byte 0x{bad[0]:02x} at offset {len(before)};", [put(tmp_path, before + bad)])
        fails(f"byte 0x{bad[0]:02x} at offset {len(before)};", [put(tmp_path, before + bad + b"abc")])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
def test_an_offset_counts_a_byte_order_mark(tmp_path, size):
    with read_by(size):
        fails("byte 0xff at offset 6;", [put(tmp_path, codecs.BOM_UTF8 + b"abc\xffdef")])
        fails("byte 0xc3 at offset 4;", [put(tmp_path, codecs.BOM_UTF8 + b"a\xc3")])


def test_an_offset_is_right_in_other_encodings(tmp_path):
    fails("is not ascii: byte 0xe9 at offset 3;", [put(tmp_path, b"caf\xe9")], encoding="ascii")
    content = "日本".encode("shift_jis")
    with read_by(1):
        fails("is not shift_jis: byte 0xfd at offset 4;", [put(tmp_path, content + b"\xfda")], encoding="shift_jis")
        fails("is not utf-16: byte 0x61 at offset 6;", [put(tmp_path, "ab".encode("utf-16") + b"a")], encoding="utf-16")


def test_a_text_that_does_not_decode_is_reported_with_what_to_pass(tmp_path):
    path = put(tmp_path, b"caf\xe9 and more")
    assert fails("not utf-8", [path]).endswith("; pass `encoding` latin-1, or `tokens` byte to read raw bytes")
    for mark in ("utf-16-le", "utf-16-be"):
        path = put(tmp_path, ("\ufeff" + "text").encode(mark))
        assert "pass `encoding` utf-16, or" in fails("not utf-8: byte 0xf[ef] at offset 0", [path])
        assert text_of(path, encoding="utf-16") == "text"


def test_a_text_without_the_mark_that_its_encoding_requires_is_a_user_error(tmp_path):
    fails("is not utf-16", [put(tmp_path, b"plain text")], encoding="utf-16")


def test_an_unknown_encoding_is_reported_with_some_that_are_known(tmp_path):
    lines = fails("^unknown encoding 'utf-9': try ", [put(tmp_path, "text")], encoding="utf-9")
    for encoding in lines.partition("try ")[2].replace(" or ", ", ").split(", "):
        codecs.lookup(encoding.strip())


def test_a_folder_with_nothing_to_read_is_reported_with_the_pattern(tmp_path):
    put(tmp_path, b"\xff", "a.bin")
    put(tmp_path, b"\xff", "b.bin")
    assert fails("has no", [str(tmp_path)], pattern="*.txt") == (
        f"the folder {tmp_path} has no utf-8 file that matches '*.txt' (0 match)"
    )
    fails(r"has no utf-8 file that matches '\*\*/\*' \(2 match\)", [str(tmp_path)])


@pytest.mark.parametrize("pattern", ["**.txt", "/abs/*.txt", ""])
def test_a_pattern_that_means_nothing_is_a_user_error(tmp_path, pattern):
    put(tmp_path, "text", "below/a.md")
    fails(re.escape(f"'{pattern}'"), [str(tmp_path)], pattern=pattern)


# another text, as a model knows it


def test_another_text_is_read_with_the_tokens_of_a_model(tmp_path):
    tokens = CharTokenizer("dcba\n")
    with read_by(2):
        ids = corpus.read_with(tokens, put(tmp_path, "abba\ncd"))
    assert ids.tolist() == [3, 2, 2, 3, 4, 1, 0]


def test_another_text_has_the_encoding_of_the_options(tmp_path):
    path = put(tmp_path, b"\xe9a\xe9")
    assert corpus.read_with(CharTokenizer("aé"), path, "latin-1").tolist() == [1, 0, 1]
    assert corpus.read_with(ByteTokenizer(), path).tolist() == [0xE9, 0x61, 0xE9]
    with pytest.raises(UserError, match="byte 0xe9 at offset 0"):
        corpus.read_with(CharTokenizer("aé"), path)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_character_that_is_not_in_the_vocabulary_is_named(tmp_path, size):
    path = put(tmp_path, "aba\U0001f600bé")
    with read_by(size), pytest.raises(UserError, match=r"not in the vocabulary of the model: .*U\+(1F600|00E9)"):
        corpus.read_with(CharTokenizer("ab"), path)


@pytest.mark.parametrize("size", [1, 100])
def test_a_character_that_is_skipped_is_logged_once(tmp_path, size):
    lines = []
    with read_by(size):
        ids = corpus.read_with(CharTokenizer("ab"), put(tmp_path, "aébéa"), "utf-8", "skip", lines.append)
    assert (ids.tolist(), lines) == ([0, 1, 0], ["skipped: 'é' (U+00E9), not in the vocabulary of the model"])


def test_a_character_that_was_replaced_once_is_still_unknown():
    tokens = CharTokenizer("ab")
    assert tokens.array("aéb", "replace").tolist() == [0, 0, 1]
    assert tokens.array("aéb", "skip").tolist() == [0, 1]
    with pytest.raises(UserError, match=r"of the model: 'é' \(U\+00E9\);"):
        tokens.array("aéb")


def test_another_text_may_be_a_folder_and_must_be_there(tmp_path):
    for name in "ab":
        put(tmp_path, name, name)
    assert corpus.read_with(CharTokenizer("ba"), str(tmp_path)).tolist() == [1, 0]
    with pytest.raises(UserError, match="does not exist"):
        corpus.read_with(CharTokenizer("ba"), str(tmp_path / "c"))


def test_another_text_is_not_kept(tmp_path):
    corpus.read_with(CharTokenizer("ab"), put(tmp_path, "ab"))
    assert not Path(os.environ["ELMAN_CACHE"], "corpora").exists()


# tokens


def encode(text, vocabulary, unknown):
    """The text that is left of a text, and the lines logged."""
    lines, tokens = [], CharTokenizer(vocabulary)
    return tokens.decode(tokens.encode(text, unknown, lines.append)), lines


def test_the_tokens_of_a_known_text_need_nothing_unknown():
    for unknown in ("error", "skip", "replace"):
        assert encode("abba", "ba", unknown) == ("abba", [])


def test_unknown_characters_are_an_error_that_names_them():
    with pytest.raises(UserError) as raised:
        CharTokenizer("ab").encode("a\u00e9\U0001f600a\u00e9")
    assert str(raised.value) == (
        "not in the vocabulary of the model: 'é' (U+00E9), '\U0001f600' (U+1F600); remove it, or pass "
        "`unknown` skip or replace"
    )


def test_of_many_unknown_characters_some_are_named_and_the_rest_counted():
    with pytest.raises(UserError, match=r"'b' .*'c' .*'d' .*'e' .*'f' \(U\+0066\) and 3 more;"):
        CharTokenizer("a").encode("ihgfedcba")


def test_unknown_characters_can_be_skipped():
    text, lines = encode("aébñc", "abc", "skip")
    assert text == "abc"
    assert lines == ["skipped: 'é' (U+00E9), 'ñ' (U+00F1), not in the vocabulary of the model"]
    assert encode("xyz", "abc", "skip")[0] == ""


@pytest.mark.parametrize(
    ("unknown", "vocabulary", "known"),
    [
        ("é", "ea ", "e"),  # without its accent
        ("é", "EA ", "E"),  # without its accent, in the other case
        ("É", "Eé ", "E"),  # rather another accent than another case
        ("É", "aé ", "é"),
        ("A", "ab ", "a"),
        ("b", "AB ", "B"),
        ("ﬁ", "if ", "f"),  # a ligature: its first letter
        ("２", "12 ", "2"),
        ("ß", "sS ", " "),  # has no single letter in the other case
        ("\U0001f600", "ab ", " "),
        ("\U0001f600", "ab \ufffd", "\ufffd"),
        ("\U0001f600", "ab", "a"),  # there is not even a space
    ],
)
def test_an_unknown_character_can_be_replaced_by_the_nearest(unknown, vocabulary, known):
    text, [line] = encode(f"{unknown}{unknown}", vocabulary, "replace")
    assert text == known * 2
    assert line == f"replaced: {unknown!r} (U+{ord(unknown):04X}), not in the vocabulary of the model"


@some
@given(st.text(), st.text(min_size=1))
def test_whatever_is_written_is_replaced_character_by_character(text, vocabulary):
    vocabulary = "".join(dict.fromkeys(vocabulary))
    replaced, lines = encode(text, vocabulary, "replace")
    assert len(replaced) == len(text)
    assert all(new == old or old not in vocabulary for new, old in zip(replaced, text, strict=True))
    assert encode(text, vocabulary, "skip")[0] == "".join(char for char in text if char in vocabulary)
    assert len(lines) == (not set(text) <= set(vocabulary))


def test_every_token_of_characters_is_written_at_once():
    decode = CharTokenizer("a漢\U0001f600").decoder()
    assert [decode(token) for token in (2, 0, 1)] == ["\U0001f600", "a", "漢"]


@some
@given(st.text())
def test_a_character_of_several_bytes_is_written_with_its_last(text):
    tokens = ByteTokenizer()
    decode, written = tokens.decoder(), []
    for char in text:
        *first, last = tokens.encode(char)
        assert [decode(token) for token in first] == [""] * len(first)
        written.append(decode(last))
    assert "".join(written) == text
    assert tokens.decode(tokens.encode(text)) == text


def test_bytes_that_are_no_character_are_written_as_a_sign():
    decode = ByteTokenizer().decoder()
    assert "".join(decode(token) for token in b"a\xffb\xe6\xbcc\xe6\xbc\xa2") == "a\ufffdb\ufffdc漢"
    assert ByteTokenizer().decode(b"a\xffb") == "a\ufffdb"


def test_each_decoder_of_bytes_has_a_memory_of_its_own():
    first, second = ByteTokenizer().decoder(), ByteTokenizer().decoder()
    assert (first(0xC3), second(0xC3), first(0xA9), second(0xA8)) == ("", "", "é", "è")


def test_a_name_that_is_not_utf8_is_encoded_as_its_bytes():
    assert ByteTokenizer().encode(os.fsdecode(b"caf\xe9")) == list(b"caf\xe9")  # as it comes from a command line


@pytest.mark.parametrize(
    "tokens", [CharTokenizer("Helo,"), CharTokenizer("\U0001f600é\0"), CharTokenizer("oeh", True), ByteTokenizer()]
)
def test_tokens_are_the_same_after_a_round_through_a_run_folder(tokens):
    again = registry.from_json(tokens.to_json())
    assert type(again) is type(tokens)
    assert len(again) == len(tokens)
    assert again.to_json() == tokens.to_json()
    text = "\0é" + SCRIPTS[:5]
    assert again.array(text, "skip").tolist() == tokens.array(text, "skip").tolist()


def test_all_characters_of_many_texts_are_tokens():
    assert CharTokenizer.of_texts(["ba", "", "\U0001f600a"]).vocabulary == "ab\U0001f600"
    assert CharTokenizer.of_texts(iter(["bA", "É"]), lower=True).vocabulary == "abé"
