"""Words and pieces of words as tokens: what they are made of, that a text comes back, and what is unknown."""

import codecs
import hashlib
import json
import re
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import elman
from elman.data import corpus, corpus_cache
from elman.errors import UserError
from elman.inspect.activations import spell
from elman.tasks.lm import LM, LMOptions
from elman.tokenizers import registry
from elman.tokenizers.boundary import at_boundaries, last_boundary
from elman.tokenizers.bpe import BPETokenizer
from elman.tokenizers.char import CharTokenizer
from elman.tokenizers.tokenizer import lowercase
from elman.tokenizers.word import WordTokenizer
from elman.training.trained_model import load

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=100, suppress_health_check=busy)
few = settings(some, max_examples=25)

TEXT = (
    "The cat sat on the mat, and the dog sat on the log.\n\n  “Don’t!” said the cat; the well-known dog didn't.\n"
    "Была ночь.\tनमस्ते दुनिया, 漢字 e\u0301te\u0301 \U0001f600 3.14\r\n"
) * 3
whole_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)  # any of Unicode but halves of a character
english = st.text("ab' -’.\n\t\u0301é漢1_\U0001f600", max_size=40)
texts = whole_text | english
pieces_of_text = st.lists(english, max_size=6)
BPE = BPETokenizer.of_chunks([TEXT], 400)


def words(text):
    """The words by hand: one character after another."""
    found, at = [], 0

    def of_word(char):
        return char.isalnum() or char == "_"

    def mark(char):
        return unicodedata.category(char)[0] == "M" or char in "\u200c\u200d"

    while at < len(text):
        end = at + (text[at] == " " and at + 1 < len(text) and not text[at + 1].isspace())
        letter = of_word(text[end])
        end += 1
        while letter and end < len(text):
            joined = text[end] in "'’-" and end + 1 < len(text) and of_word(text[end + 1])
            if not (joined or of_word(text[end]) or mark(text[end])):
                break
            end += 1 + joined
        found.append(text[at:end])
        at = end
    return found


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The cat  sat.", ["The", " cat", " ", " sat", "."]),
        ("don't re-enter it’s", ["don't", " re-enter", " it’s"]),
        ("'tis -- a-", ["'", "tis", " -", "-", " a", "-"]),
        ("a\n b\r\n", ["a", "\n", " b", "\r", "\n"]),
        ("é e\u0301te\u0301 नमस्ते", ["é", " e\u0301te\u0301", " नमस्ते"]),
        ("3.14 x_1", ["3", ".", "14", " x_1"]),
        (" ", [" "]),
        ("", []),
    ],
)
def test_a_word_has_the_space_before_it(text, pieces):
    assert WordTokenizer.split(text) == words(text) == pieces


@some
@given(texts)
def test_words_are_those_found_character_by_character(text):
    assert WordTokenizer.split(text) == words(text)


@some
@given(texts)
def test_a_text_of_known_words_comes_back(text):
    tokens = WordTokenizer.of_chunks([text], 10_000)
    ids = tokens.encode(text)
    assert tokens.decode(ids) == text
    assert "".join(map(tokens.decoder(), ids)) == text
    assert 0 not in ids
    assert tokens.array(text).tolist() == ids


# where a text may be cut


@some
@given(texts, st.integers(0, 40))
def test_at_a_boundary_a_text_may_be_cut(text, end):
    at = last_boundary(text[:end])
    assert WordTokenizer.split(text[:at]) + WordTokenizer.split(text[at:]) == WordTokenizer.split(text)
    assert BPE.encode(text[:at]) + BPE.encode(text[at:]) == BPE.encode(text)


def test_a_boundary_is_the_last_there_is():
    assert last_boundary("one two three") == 7
    assert last_boundary("one two\nthree ") == 13
    assert last_boundary("one two \n") == 7
    assert last_boundary("one") == last_boundary(" one") == last_boundary("\n\n") == 0


@some
@given(pieces_of_text)
def test_a_text_read_in_pieces_has_the_words_of_the_whole(pieces):
    text, parts = "".join(pieces), list(at_boundaries(pieces))
    assert "".join(parts) == text
    assert [word for part in parts for word in WordTokenizer.split(part)] == words(text)
    assert [token for part in parts for token in BPE.encode(part)] == BPE.encode(text)


def test_what_is_read_is_handed_on_before_the_text_ends():
    read = []

    def source():
        for text in ("some wor", "ds and mo", "re"):
            read.append(text)
            yield text

    assert next(at_boundaries(source())) == "some"
    assert read == ["some wor"]


# which words


@some
@given(english, st.integers(1, 6))
def test_the_words_that_come_most_often_are_tokens(text, size):
    counts = Counter(words(text))
    tokens = WordTokenizer.of_chunks([text], size)
    unknown, *known = tokens.vocabulary
    assert (unknown, len(known)) == ("<unk>", min(size, len(counts)))
    left = [count for word, count in counts.items() if word not in known]
    assert not left or max(left) <= min(counts[word] for word in known)
    assert [counts[word] for word in known] == sorted((counts[word] for word in known), reverse=True)


def test_without_a_size_a_word_must_come_twice():
    assert WordTokenizer.of_chunks([" a b a", " c c c"]).vocabulary == ["<unk>", " c", " a"]
    assert WordTokenizer.of_chunks([" a b", " a c"]).vocabulary == ["<unk>", " a"]  # just half of the text
    assert WordTokenizer.of_chunks([" a b", " a c d"]).vocabulary == ["<unk>", " a", " b", " c", " d"]  # too little
    assert WordTokenizer.of_chunks([]).vocabulary == ["<unk>"]


def test_the_first_word_of_a_text_is_the_same_word_as_elsewhere():
    for kind in (WordTokenizer, BPETokenizer):
        tokens = kind.of_texts(["low high low", "low", "", "high low"] * 9)
        assert len({tuple(row.tolist()) for row in tokens.encode_all(["low low", "low"])[:1]}) == 1
        [twice, once, none] = tokens.encode_all(["low low", "low", ""])
        assert twice.tolist() == once.tolist() * 2
        assert tokens.decode(twice) == " low low"
        assert none.tolist() == []
        assert {row.dtype for row in (twice, once, none)} == {np.dtype(np.int32)}


# unknown words


def known(*words, **options):
    return WordTokenizer(["<unk>", *words], **options)


def test_unknown_words_are_an_error_that_names_some():
    with pytest.raises(UserError) as raised:
        known("a").encode("a b b c")
    rest = "remove it, or pass `unknown` skip or replace"
    assert str(raised.value) == f"not in the vocabulary of the model: ' b', ' c'; {rest}"
    with pytest.raises(UserError, match=r"' b', ' c', ' d', ' e', ' f' and 2 more; remove"):
        known("a").encode("a b c d e f g h")
    with pytest.raises(UserError, match=f": '{'x' * 40}'; remove"):
        known("a").encode("x" * 10_000)


def test_unknown_words_are_skipped_or_replaced_and_logged_in_one_line():
    lines, tokens = [], known(" a", " b")
    assert tokens.encode(" a x b x", "skip", lines.append) == [1, 2]
    assert tokens.encode(" a x b x", "replace", lines.append) == [1, 0, 2, 0]
    assert tokens.decode([1, 0]) == " a<unk>"
    assert lines == [
        "skipped: ' x', not in the vocabulary of the model",
        "replaced by <unk>: ' x', not in the vocabulary of the model",
    ]
    assert tokens.encode(" a b", "error", lines.append) == [1, 2]
    assert len(lines) == 2


def test_what_is_unknown_in_many_texts_is_logged_once_with_their_number():
    for tokens, unknown in ((known(" a"), "' b', ' c'"), (CharTokenizer("a "), "'b' (U+0062), 'c' (U+0063)")):
        lines = []
        rows = tokens.encode_all(["a", "a b", "b c", "a a"], "skip", lines.append)
        assert [tokens.decode(row) for row in rows] == [tokens.lead + "a", *rows_without(tokens)]
        assert lines == [f"skipped: {unknown}, in 2 of 4 texts, not in the vocabulary of the model"]
        with pytest.raises(UserError, match="in 1 of 2 texts; remove it"):
            tokens.encode_all(["a", "b"])


def rows_without(tokens):
    """What is left of "a b", "b c" and "a a" where only a, and the blank, is known."""
    return [" a", "", " a a"] if tokens.lead else ["a ", " ", "a a"]


def test_the_unknown_word_cannot_be_written():
    with pytest.raises(UserError, match="'<', '>', 'unk'"):
        known("a").encode("<unk>")


@few
@given(st.lists(english, max_size=5), st.sampled_from(sorted(registry.names())))
def test_many_texts_are_encoded_as_each_alone(rows, kind):
    tokens = registry.find(kind).of_texts([TEXT])
    found = tokens.encode_all(rows, "replace")
    led = [tokens.lead + row if row else "" for row in rows]
    assert [row.tolist() for row in found] == [tokens.encode(row, "replace") for row in led]


# pieces of words


def split(text):
    """A text of ASCII as GPT-2 splits it, before any merge."""
    shape = r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
    return Counter(tuple(bytes([byte]) for byte in piece.encode()) for piece in re.findall(shape, text))


def pairs(counts):
    return sum((Counter({pair: 0}) + Counter({pair: n}) for word, n in counts.items()
                for pair in pairwise(word)), Counter())  # fmt: skip


def merged(word, pair):
    out, at = [], 0
    while at < len(word):
        both = word[at : at + 2] == pair
        out.append(b"".join(pair) if both else word[at])
        at += 1 + both
    return tuple(out)


ASCII = "".join(char for char in TEXT if char.isascii())


def test_pieces_are_learned_by_merging_the_pair_that_comes_most_often():
    tokens = BPETokenizer.of_chunks([ASCII], 300)
    assert len(tokens) == 300
    counts = split(ASCII)
    for token in range(256, 300):
        text, found = tokens.decode([token]).encode(), pairs(counts)
        [pair] = [pair for pair in found if b"".join(pair) == text and found[pair] == max(found.values())]
        merges = Counter()
        for word, count in counts.items():
            merges[merged(word, pair)] += count
        counts = merges
    encoded = sum(count * len(word) for word, count in counts.items())
    assert len(tokens.encode(ASCII)) == encoded
    assert Counter(tokens.encode(ASCII)) == Counter(
        {tokens.encode(run.decode())[0]: n for run, n in sum((Counter({run: count}) for word, count in counts.items()
                                                              for run in word), Counter()).items()}
    )  # fmt: skip


def test_a_pair_that_comes_once_is_not_merged():
    assert len(BPETokenizer.of_chunks(["abcdefg"])) == 256
    assert len(BPETokenizer.of_chunks(["ab ab"])) == 257


@some
@given(texts)
def test_every_text_comes_back_from_pieces(text):
    ids = BPE.encode(text)
    assert BPE.decode(ids) == text
    assert "".join(map(BPE.decoder(), ids)) == text


def test_a_character_is_written_with_its_last_byte():
    tokens = BPETokenizer.of_chunks(["漢 a"])
    ids, decode = tokens.encode("漢a"), tokens.decoder()
    assert [decode(token) for token in ids] == ["", "", "漢", "a"]
    assert tokens.decode(ids[:2]) == "\ufffd"
    first, second = tokens.decoder(), tokens.decoder()
    assert (first(ids[0]), second(ids[-1])) == ("", "a")  # each has a memory of its own


def test_every_byte_is_a_piece():
    assert sorted(codecs.latin_1_encode(chr(i))[0] for i in range(256)) == sorted(
        run for run in BPE._bytes if len(run) == 1
    )


def test_half_a_character_of_a_command_line_is_put_as_a_sign():
    assert BPE.decode(BPE.encode("caf\udce9")) == "caf?"


def test_a_text_has_the_same_pieces_however_much_the_library_is_given_at_once(monkeypatch):
    found = BPE.encode(TEXT)
    monkeypatch.setattr("elman.tokenizers.bpe.CHUNK", 7)
    assert BPE.array(TEXT).tolist() == found
    assert BPETokenizer.of_chunks([TEXT], 400).to_json() == BPE.to_json()


def test_pieces_are_the_same_however_the_text_is_handed_over():
    chunks = at_boundaries(TEXT[at : at + 5] for at in range(0, len(TEXT), 5))
    assert BPETokenizer.of_chunks(chunks, 400).model == BPE.model


# all kinds


@pytest.mark.parametrize("kind", sorted(registry.names()))
@pytest.mark.parametrize("lower", [False, True])
def test_tokens_are_the_same_after_a_round_through_a_file(kind, lower):
    tokens = registry.find(kind).of_texts([TEXT], None, lower and kind != "byte")
    again = registry.from_json(json.loads(json.dumps(tokens.to_json())))
    assert type(again) is type(tokens)
    assert len(again) == len(tokens)
    assert again.to_json() == tokens.to_json()
    assert again.encode(TEXT, "replace") == tokens.encode(TEXT, "replace")


def stored_bpe(**model):
    return {"kind": "bpe", "model": BPE.model | model}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "must be an object with a `kind`"),
        ([], "must be an object with a `kind`"),
        ({}, "must be an object with a `kind`"),
        ({"kind": 3}, "must be an object with a `kind`"),
        ({"kind": "chra"}, "unknown tokenizer 'chra': did you mean 'char'?"),
        ({"kind": "runs/x/evil.py:Evil"}, "unknown tokenizer"),
        ({"kind": "byte", "file": "x"}, "has an unknown field 'file'"),
        ({"kind": "char"}, "lacks the field vocabulary"),
        ({"kind": "char", "vocabulary": "aa"}, "must be a string without repetition"),
        ({"kind": "char", "vocabulary": ["a"]}, "must be a string without repetition"),
        ({"kind": "char", "vocabulary": "a", "lower": 1}, "lower of a stored tokenizer must be true or false"),
        ({"kind": "word", "vocabulary": "abc"}, "must be a list of strings"),
        ({"kind": "word", "vocabulary": ["a"]}, "must start with <unk>"),
        ({"kind": "word", "vocabulary": ["<unk>", "a", "a"]}, "has a symbol twice"),
        ({"kind": "word", "vocabulary": ["<unk>", ""]}, "has a symbol that is empty"),
        ({"kind": "word", "vocabulary": ["<unk>", 1]}, "must be a list of strings"),
        ({"kind": "word", "vocabulary": ["<unk>", ["a"]]}, "must be a list of strings"),
        ({"kind": "bpe", "model": "/etc/passwd"}, "must have a vocab, an object, and merges"),
        ({"kind": "bpe", "model": {"vocab": {}}}, "must have a vocab, an object, and merges"),
        (stored_bpe(vocab={"a": 0}), "must have every byte"),
        (stored_bpe(vocab=BPE.model["vocab"] | {"漢": 400}), "nothing but sequences of bytes"),
        (stored_bpe(vocab=BPE.model["vocab"] | {"a": 399}), "the ids from 0 on, each once"),
        (stored_bpe(vocab=BPE.model["vocab"] | {"a": True}), "the ids from 0 on, each once"),
        (stored_bpe(vocab=BPE.model["vocab"] | {"a": 10**30}), "the ids from 0 on, each once"),
        (stored_bpe(merges=[["a", "z"]]), "merges of a stored bpe tokenizer must be pairs"),
        (stored_bpe(merges=[["a"]]), "merges of a stored bpe tokenizer must be pairs"),
        (stored_bpe(merges=[[1, 2]]), "merges of a stored bpe tokenizer must be pairs"),
        (stored_bpe(merges={}), "merges of a stored bpe tokenizer must be pairs"),
    ],
)
def test_a_stored_tokenizer_is_checked(value, message):
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        registry.from_json(value)
    assert "\n" not in str(raised.value)


def test_a_stored_vocabulary_has_at_most_a_million_symbols(monkeypatch):
    monkeypatch.setattr("elman.tokenizers.stored.MAX_SYMBOLS", 3)
    with pytest.raises(UserError, match="has 4 symbols: at most 3 are allowed"):
        registry.from_json({"kind": "word", "vocabulary": ["<unk>", "a", "b", "c"]})
    assert len(registry.from_json({"kind": "word", "vocabulary": ["<unk>", "a", "b"]})) == 3


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@some
@given(st.sampled_from(["char", "byte", "word", "bpe"]), st.dictionaries(
    st.sampled_from(["vocabulary", "lower", "model", "x"]), json_like | st.fixed_dictionaries(
        {"vocab": json_like | st.just(BPE.model["vocab"]), "merges": json_like})))  # fmt: skip
def test_whatever_is_stored_is_a_tokenizer_or_a_user_error(kind, fields):
    tokens = message = None
    try:
        tokens = registry.from_json({"kind": kind} | fields)
    except UserError as error:
        message = str(error)
    assert (tokens is None) != (message is None)
    assert "\n" not in (message or "")
    assert tokens is None or registry.from_json(tokens.to_json()).to_json() == tokens.to_json()


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_a_text_may_be_read_in_lower_case(kind):
    tokens = registry.find(kind).of_texts(["The THE the CAT cat"] * 2, lower=True)
    ids = tokens.encode(" tHe Cat")
    assert tokens.decode(ids) == " the cat"
    assert tokens.array(" tHe Cat").tolist() == ids
    [row] = tokens.encode_all(["tHe Cat"])
    assert tokens.decode(row).strip() == "the cat"
    assert len(tokens) < len(registry.find(kind).of_texts(["The THE the CAT cat"] * 2))


@some
@given(st.text(max_size=20), st.text(max_size=20))
def test_lower_case_does_not_depend_on_where_a_text_is_cut(one, two):
    assert lowercase(one) + lowercase(two) == lowercase(one + two) == lowercase(lowercase(one + two))
    if "Σ" not in one:
        assert lowercase(one) == one.lower()


def test_no_character_in_lower_case_depends_on_its_neighbours():
    assert lowercase("ΟΔΟΣ Σ") == "οδοσ σ"


@pytest.mark.parametrize(
    ("kind", "size", "lower", "message"),
    [
        ("char", 50, False, "`vocab_size` 50 goes with `tokens` bpe or word: with char, every character is a token"),
        ("byte", 50, False, "`vocab_size` 50 goes with `tokens` bpe or word: with byte, every byte is a token"),
        ("bpe", 255, False, "`vocab_size` 255 is too small for `tokens` bpe: 256 or more"),
        ("word", 0, False, "`vocab_size` 0 is too small for `tokens` word: 1 or more"),
        ("byte", None, True, "`lower` goes with `tokens` bpe, char or word: a byte has no lower case"),
    ],
)
def test_what_tokens_cannot_be_is_a_user_error(tmp_path, kind, size, lower, message):
    with pytest.raises(UserError) as raised:
        registry.find(kind).of_texts(["text"], size, lower)
    assert str(raised.value) == message
    (tmp_path / "text.txt").write_text("text")
    for _ in range(2):  # also where the text is in the cache
        with pytest.raises(UserError, match=re.escape(message)):
            corpus.read([str(tmp_path / "text.txt")], kind, vocab_size=size, lower=lower)
        if kind in ("char", "byte"):
            corpus.read([str(tmp_path / "text.txt")], kind)


# texts on disk


def put(where, content, name="text.txt"):
    (where / name).write_bytes(content.encode())
    return str(where / name)


def rest_of(read):
    return read.tokens.decode(read.ids[read.train :].tolist())


@few
@given(english, st.integers(1, 9), st.floats(0.1, 1), st.sampled_from(["word", "bpe"]))
def test_a_text_is_encoded_as_a_whole_however_it_is_read(text, size, share, unit):
    text = text.replace("\ufeff", "") + " ab ab\nab"
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "CHUNK", size)
        patch.setenv("ELMAN_CACHE", folder)
        read = corpus.read([put(Path(folder), text)], unit, train=share, vocab_size=10_000)
        tokens, ids = read.tokens, read.ids.tolist()
        again = corpus.read([put(Path(folder), text)], unit, train=share, vocab_size=10_000)
        assert corpus.read_with(tokens, put(Path(folder), text), unknown="replace").tolist() == tokens.encode(
            text, "replace"
        )
    assert read.train is not None
    first = tokens.decode(ids[: read.train])
    assert text.startswith(first)
    rest = text[len(first) :]
    assert tokens.encode(first) + tokens.encode(rest, "replace") == ids
    assert len(first) <= int(share * len(text))
    assert "\n" not in text[len(first) + 1 : int(share * len(text)) - 1] or " " not in first.strip()
    assert type(tokens).of_chunks([first], 10_000).to_json() == tokens.to_json()
    assert (again.ids.tolist(), again.train, again.notes) == (ids, read.train, read.notes)


@pytest.mark.parametrize("unit", ["word", "bpe"])
def test_tokens_are_learned_from_the_training_split_alone(tmp_path, unit):
    read = corpus.read([put(tmp_path, "the cat sat " * 30 + "zyzzyva " * 45)], unit, train=0.5, vocab_size=300)
    assert "zyzzyva" in rest_of(read) or unit == "word"
    assert not any("zy" in read.tokens.decode([token]) for token in range(len(read.tokens)))
    assert read.tokens.decode(read.ids[: read.train].tolist()) == "the cat sat " * 29 + "the cat sat"
    assert " cat" in [read.tokens.decode([token]) for token in range(len(read.tokens))]


def test_all_characters_of_a_text_are_known_in_every_split(tmp_path):
    read = corpus.read([put(tmp_path, "abcdefgh")], train=0.5)
    assert (len(read.tokens), read.train, read.notes) == (8, None, [])


def test_a_text_without_a_boundary_is_cut_where_the_training_split_ends(tmp_path):
    read = corpus.read([put(tmp_path, "ab" * 50)], "bpe", train=0.9)
    assert rest_of(read) == "ab" * 5


def test_a_word_ends_with_its_file(tmp_path):
    paths = [put(tmp_path, text, name) for name, text in (("a", "one two"), ("b", "two one"))]
    read = corpus.read(paths, "word", vocab_size=9)
    assert [read.tokens.decode([token]) for token in read.ids.tolist()] == ["one", " two", "two", " one"]


def test_the_unknown_words_of_a_text_are_counted(tmp_path):
    first, rest = " a" * 50 + " b" * 48 + " once twice", " a" * 90 + " new" * 10
    path, share = put(tmp_path, first + rest), (len(first) + 1.5) / len(first + rest)
    read = corpus.read([path], "word", train=share)
    assert read.train == 100
    [note] = read.notes
    counted = "2.0% of the words of the training split and 10.0% of the rest are <unk>"
    assert note == f"{counted}: not at least two times in training"
    assert corpus.read([path], "word", train=share).notes == corpus_cache.load(read.key).notes == [note]
    assert corpus.read([str(tmp_path)], "word", train=share).notes == [f"{tmp_path}: 1 files", note]
    [note] = corpus.read([path], "word", vocab_size=1).notes
    assert note == "30.0% of the words of the training split are <unk>: not among the 1 most frequent in training"
    assert corpus.read([path], "word", vocab_size=9).notes == []


def test_texts_that_are_read_in_another_way_have_another_key(tmp_path):
    path = put(tmp_path, TEXT)
    ways = [{}, {"lower": True}, {"tokens": "byte"}, {"tokens": "word"}, {"tokens": "bpe"},
            {"tokens": "word", "lower": True}, {"tokens": "word", "vocab_size": 20},
            {"tokens": "bpe", "vocab_size": 300}, {"tokens": "word", "train": 0.9},
            {"tokens": "bpe", "train": 0.9}]  # fmt: skip
    assert len({corpus.read([path], **way).key for way in ways}) == len(ways)
    assert corpus.read([path], train=0.9).key == corpus.read([path]).key


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_the_key_of_characters_and_bytes_is_as_it_was(tmp_path, unit):
    digest = hashlib.blake2b(f"1 {unit} {'utf-8' if unit == 'char' else 'iso8859-1'}".encode(), digest_size=16)
    digest.update(hashlib.blake2b(TEXT.encode(), digest_size=16).digest())
    assert corpus.read([put(tmp_path, TEXT)], unit).key == digest.hexdigest()


def test_another_text_is_read_with_the_words_of_a_model(tmp_path):
    tokens = known("a", " b", " c")
    path = put(tmp_path, "a x b c c")
    with pytest.raises(UserError, match="not in the vocabulary of the model: ' x'; remove it"):
        corpus.read_with(tokens, path)
    assert corpus.read_with(tokens, path, unknown="skip").tolist() == [1, 2, 3, 3]
    assert corpus.read_with(tokens, path, unknown="replace").tolist() == [1, 0, 2, 3, 3]


def test_a_text_of_one_word_is_reported_with_what_is_needed(tmp_path):
    with pytest.raises(UserError, match="has 1 word: at least 2 are needed"):
        corpus.read([put(tmp_path, "word")], "word")
    with pytest.raises(UserError, match="has 0 words: at least 2 are needed"):
        corpus.read([put(tmp_path, "\ufeff")], "word")


# a language model of them

WORDS = " ".join(["the cat sat on the mat and the dog ran to the log ."] * 60)


def prepared(path, **options):
    return LM().prepare([path], LMOptions(**options))


def test_the_splits_of_a_text_are_cut_where_the_learned_part_ends(tmp_path):
    path = put(tmp_path, WORDS)
    read = corpus.read([path], "word", train=1 - 0.2 - 0.1)
    data = prepared(path, tokens="word", valid=0.2, test=0.1)
    assert data.train.ids.tolist() == read.ids[: read.train].tolist()
    assert [*data.valid.ids, *data.test.ids] == read.ids[read.train :].tolist()
    assert len(data.test.ids) == (len(read.ids) - read.train) // 3
    data = prepared(path, tokens="word", valid=0.0, test=0.2)
    assert data.valid is None
    assert len(data.train.ids) + len(data.test.ids) == len(read.ids)
    data = prepared(path, tokens="word", valid=0.0)
    assert len(data.train.ids) == len(read.ids)
    assert (data.valid, data.test) == (None, None)


def test_characters_are_cut_by_their_number(tmp_path):
    data = prepared(put(tmp_path, "ab" * 500), valid=0.1, test=0.2)
    assert [len(part.ids) for part in (data.train, data.valid, data.test)] == [700, 100, 200]


def test_splits_that_leave_nothing_to_train_on_are_a_user_error(tmp_path):
    for tokens in ("char", "word"):
        with pytest.raises(UserError, match="leave nothing to train on"):
            prepared(put(tmp_path, WORDS), tokens=tokens, valid=0.5, test=0.5)


def test_samples_begin_with_a_token_that_can_be_read_again(tmp_path):
    assert prepared(put(tmp_path, "unseen " + WORDS), tokens="word").spec.seed_text == " the"
    assert prepared(put(tmp_path, "漢" + "ab " * 200), tokens="bpe").spec.seed_text.isascii()
    assert prepared(put(tmp_path, "漢" + "ab " * 200)).spec.seed_text == "漢"
    assert prepared(put(tmp_path, "é" + "ab " * 200), tokens="byte").spec.seed_text == "a"


@pytest.mark.parametrize("tokens", ["word", "bpe"])
def test_a_model_of_words_is_trained_goes_on_and_writes(tmp_path, tokens):
    tiny = {"hidden": 8, "batch_size": 4, "seq_len": 8, "tokens": tokens, "valid": 0.2}
    model = elman.train("lm", put(tmp_path, WORDS), out=tmp_path / "run", steps=3, **tiny)
    written = model.sample("", 50)
    assert tokens == "bpe" or set(written.replace("<unk>", " ").split()) <= set(WORDS.split())
    assert model.tokenizer.encode(written, "replace")
    again = load(tmp_path / "run")
    assert again.tokenizer.to_json() == model.tokenizer.to_json()
    assert len(again.tokenizer) == again.model.head.out_features
    source = again.source("valid")
    text, token_of = spell(again.tokenizer, source.ids)
    assert WORDS.endswith(text)
    assert len(token_of) == len(text)
    assert token_of[-1] == len(source.ids) - 1
    other = again.task.source(again.spec, [put(tmp_path, " the dog sat", "other.txt")], None)
    assert again.tokenizer.decode(other.ids) == " the dog sat"
    elman.train("lm", resume=tmp_path / "run", steps=2)
    put(tmp_path, WORDS.replace("dog", "fox"))
    with pytest.raises(UserError, match=r"text\.txt now has other tokens than the run was trained with"):
        again.source("valid")
