"""Reading of tables: every format comes back as it was written, columns are inferred, splits are disjoint."""

import csv
import gzip
import hashlib
import io
import json
import os
import random
import sys
import types
import typing
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from elman.data import content, split, table, table_reader
from elman.data.column_inference import infer_columns
from elman.data.formats.format import FORMATS
from elman.data.table import Table
from elman.data.table_reader import TableOptions, format_names
from elman.errors import UserError
from elman.files import STANDARD_INPUT
from elman.options import check

some = settings(deadline=None, derandomize=True, database=None, max_examples=60,
                suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
words = st.text("abcdeé汉", min_size=1, max_size=4)
REVIEWS = "id,review,label\n" + "".join(f"{n},the film number {n} was seen,{'ny'[n % 2]}\n" for n in range(40))


def put(where, content, name="x.csv", encoding="utf-8"):
    path = Path(where, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return str(path)


def read(*paths, **options):
    return table_reader.read(list(paths), TableOptions(**options))


def fails(text, *paths, **options):
    with pytest.raises(UserError, match=text) as raised:
        read(*paths, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def of(**columns):
    return Table("t.csv", columns, list(range(1, 1 + len(next(iter(columns.values()))))))


# formats


@some
@given(st.lists(st.lists(cells, min_size=3, max_size=3).filter(any), min_size=1, max_size=6), st.sampled_from(",;"))
def test_cells_of_csv_come_back_quotes_and_newlines_included(rows, delimiter):
    with TemporaryDirectory() as here:
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter).writerows([["a", "b", "c"], *rows])
        got = read(put(here, out.getvalue()))
    assert [list(row) for row in zip(*got.columns.values(), strict=True)] == rows
    assert list(got.columns) == ["a", "b", "c"]
    assert got.numbers == list(range(2, len(rows) + 2))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tsv_has_a_header_and_pairs_have_none(tmp_path, end):
    text = f"a\tb{end}1\t2{end}"
    assert read(put(tmp_path, text, "x.tsv")).columns == {"a": ["1"], "b": ["2"]}
    assert read(put(tmp_path, text, "x.txt")).columns == {"1": ["a", "1"], "2": ["b", "2"]}
    assert read(put(tmp_path, text, "x.txt"), header=True).columns == {"a": ["1"], "b": ["2"]}
    assert read(put(tmp_path, text, "x.tsv"), header=False).columns == {"1": ["a", "1"], "2": ["b", "2"]}


def test_quotes_of_a_tsv_that_do_not_pair_are_text(tmp_path):
    got = read(put(tmp_path, 'text\tlabel\n"so good" they said\t1\n"never\t0\n', "x.tsv"))
    assert got.columns["text"] == ['"so good" they said', '"never']
    assert "part of the text" in " ".join(got.notes)
    assert read(put(tmp_path, 'text\tlabel\n"a\tb"\t1\n', "x.tsv")).columns["text"] == ["a\tb"]


def test_a_row_with_another_number_of_cells_is_named_or_skipped(tmp_path):
    path = put(tmp_path, "a,b\n1,2\n3\n4,5\n6,7,8\n")
    assert "row 3 has 1 cells, not 2; `skip_bad`" in fails("cells", path)
    got = read(path, skip_bad=True)
    assert got.columns == {"a": ["1", "4"], "b": ["2", "5"]}
    assert got.numbers == [2, 4]
    assert any("2 bad rows skipped, the first: " in note for note in got.notes)
    fails("row 2 is malformed", put(tmp_path, 'a,b\n"1,2\n3,4\n', "open.csv"))
    fails("2 columns named 'a'", put(tmp_path, "a,a\n1,2\n", "twice.csv"))


def test_blank_lines_are_skipped_and_counted(tmp_path):
    got = read(put(tmp_path, "a,b\n\n1,2\n\n3,4\n\n"))
    assert got.numbers == [3, 5]
    assert any("2 blank lines skipped" in note for note in got.notes)


LABELS = ["0", "1", "DESC:def"]


@some
@given(st.lists(st.tuples(st.sampled_from(LABELS), st.lists(words, min_size=1)), min_size=1, max_size=9), st.booleans())
def test_lines_behind_their_label(rows, prefix):
    text = "".join(("__label__" if prefix else "") + label + " " + " ".join(said) + "\n" for label, said in rows)
    with TemporaryDirectory() as here:
        got = read(put(here, text, "x.txt"), format="labelled")
    assert got.columns == {"label": [label for label, _ in rows], "text": [" ".join(said) for _, said in rows]}


def test_labels_are_known_by_being_few(tmp_path):
    lines = [f"{n % 3} question number {n}\n" for n in range(15)]
    got = read(put(tmp_path, "".join(lines), "x.all"))
    assert f"read as {FORMATS.all()['labelled'].phrase}, 15 rows" in got.notes[0]
    assert list(read(put(tmp_path, "".join(lines[:14]), "y.all")).columns) == ["text"]  # 14 / 3 < 5 a label
    many = "".join(f"{n % 51} question\n" for n in range(51 * 5))
    assert list(read(put(tmp_path, many, "z.all")).columns) == ["text"]
    names = "".join(f"{name}\n" for name in ["Ann", "Bo"] * 20)  # nothing behind the words
    assert read(put(tmp_path, names, "n.txt")).columns == {"text": ["Ann", "Bo"] * 20}
    spaced = read(put(tmp_path, "  1   two  words \n0\ttab\n", "s.txt"), format="labelled")
    assert spaced.columns == {"label": ["1", "0"], "text": ["two  words", "tab"]}
    fails("row 1 has more than one label", put(tmp_path, "__label__a __label__b text\n", "w.txt"))


def test_only_line_ends_separate_lines(tmp_path):
    """Other line separators of Unicode are common in Latin-1 texts."""
    text = "".join(f"{n % 2} a\x85b\x0bc\u00a0d\r\n" for n in range(10))
    got = read(put(tmp_path, text, "x.txt", "latin-1"), encoding="latin-1")
    assert got.columns["text"] == ["a\x85b\x0bc\u00a0d"] * 10


@some
@given(st.lists(st.fixed_dictionaries({"text": cells, "label": st.none() | cells, "w": st.lists(words)}), min_size=1,
                max_size=5), st.booleans())  # fmt: skip
def test_json_comes_back_as_lines_and_as_a_list(records, lines):
    text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records, indent=1)
    with TemporaryDirectory() as here:
        for name in ("x.jsonl", "x.json", "x.dat"):
            got = read(put(here, text, name))
            for column in ("text", "label", "w"):
                assert got.columns[column] == [record[column] for record in records]


def test_json_values_are_texts_or_lists_of_texts(tmp_path):
    lines = ['{"a": 1, "b": {"c": true, "d": [1, "x", null]}}', '{"e": [[1]], "a": 1.5}']
    got = read(put(tmp_path, "\n".join(lines), "x.jsonl"))
    assert got.columns == {
        "a": ["1", "1.5"], "b.c": ["true", None], "b.d": [["1", "x", ""], None], "e": [None, "[[1]]"],
    }  # fmt: skip
    path = put(tmp_path, '{"a": 1}\n{"a": \n[1]\n{"a": 2}', "bad.jsonl")
    fails("row 2 is not JSON", path)
    assert read(path, skip_bad=True).numbers == [1, 4]
    fails("not a JSON list", put(tmp_path, '[{"a": 1}', "y.json"))


CONLL = """-DOCSTART- -X- O

# sent_id = 1
EU NNP B-ORG
# NN O
call NN O

Peter NNP B-PER

"""


def test_sentences_with_a_word_a_line(tmp_path):
    for name in ("x.conll", "x.txt"):
        got = read(put(tmp_path, CONLL, name))
        assert got.columns == {
            "words": [["EU", "#", "call"], ["Peter"]], "2": [["NNP", "NN", "NN"], ["NNP"]],
            "tags": [["B-ORG", "O", "O"], ["B-PER"]],
        }  # fmt: skip
        assert got.numbers == [4, 8]
    bad = put(tmp_path, CONLL.replace("call NN O", "call NN"), "x.conll")
    assert "line 6 has 2 columns, not 3" in fails("line 6", bad)
    assert read(bad, skip_bad=True).columns["words"] == [["Peter"]]
    tabs = "#rnn\tO\nnew york\tB\n"
    assert read(put(tmp_path, tabs, "y.conll")).columns == {"words": [["#rnn", "new york"]], "tags": [["O", "B"]]}
    assert list(read(put(tmp_path, "one\ntwo\n", "z.conll")).columns) == ["words"]


def test_conllu_drops_ranges_and_words_that_are_not_there(tmp_path):
    rows = [("1-2", "don't", "_"), ("1", "do", "AUX"), ("2", "n't", "PART"), ("2.1", "go", "VERB")]
    line = "{}\t{}\tlemma\t{}\tx\t_\t0\troot\t_\t_\n"
    text = "# text = don't\n" + "".join(line.format(*row) for row in rows) + "\n"
    got = read(put(tmp_path, text, "x.conllu"))
    assert (got.columns["words"], got.columns["tags"]) == ([["do", "n't"]], [["AUX", "PART"]])
    assert len(got.columns) == 10
    fails("has 2 columns", put(tmp_path, "a b\n", "y.conllu"))


def test_a_file_a_class(tmp_path):
    put(tmp_path, "Khoury\n\nNahas\n", "names/Arabic.txt")
    put(tmp_path, "Ang", "names/Chinese.txt")
    put(tmp_path, "x", "names/.hidden")
    got = read(str(tmp_path / "names"))
    assert got.columns == {"label": ["Arabic", "Arabic", "Chinese"], "text": ["Khoury", "Nahas", "Ang"]}
    assert got.where(1).endswith("Arabic.txt row 3")
    put(tmp_path, "x", "names/more/x.txt")
    fails("pass `format` files", str(tmp_path / "names"))
    assert len(read(str(tmp_path / "names"), format="files")) == 3


def test_a_folder_a_class(tmp_path):
    for name, text in [("pos/2.txt", "good\nfilm\n"), ("neg/1.txt", "bad"), ("neg/deep/1.txt", "")]:
        put(tmp_path, text, f"imdb/{name}")
    got = read(str(tmp_path / "imdb"))
    assert got.columns == {"label": ["neg", "neg", "pos"], "text": ["bad", "", "good\nfilm"]}
    with pytest.raises(UserError, match=r"1\.txt row 1 has no text"):
        table.complete(got, ["text"], False)
    put(tmp_path, b"\x89PNG\0\xff", "imdb/pos/3.dat")
    fails("3.dat is binary", str(tmp_path / "imdb"))
    (tmp_path / "empty").mkdir()
    fails("empty", str(tmp_path / "empty"))
    (tmp_path / "empty" / "one").mkdir()
    fails("no folders with files", str(tmp_path / "empty"))


def saved(value):
    out = io.BytesIO()
    np.save(out, value)
    return out.getvalue()


def zipped(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def test_folders_of_arrays(tmp_path):
    put(tmp_path, saved(np.arange(3)), "g/up/1.npy")
    put(tmp_path, saved(np.arange(6.0).reshape(3, 2)), "g/down/1.npy")
    got = read(str(tmp_path / "g"))
    assert got.columns["label"] == ["down", "up"]
    assert [value.shape for value in got.columns["array"]] == [(3, 2), (3, 1)]
    assert got.columns["array"][0].tolist() == [[0, 1], [2, 3], [4, 5]]
    for value in (np.zeros((1, 2, 3)), np.zeros((3, 0)), np.array(["a"])):
        put(tmp_path, saved(value), "g/up/1.npy")
        fails(r"expected numbers of shape \(T,\) or \(T, F\)", str(tmp_path / "g"))
    put(tmp_path, saved(np.array([{}])), "g/up/1.npy")  # would have to be unpickled
    fails("without Python objects", str(tmp_path / "g"))
    put(tmp_path, "a text", "g/up/1.txt")
    fails("one kind only", str(tmp_path / "g"))


@pytest.mark.parametrize("features", [None, 1, 3])
def test_arrays_in_a_file(tmp_path, features):
    x = np.random.default_rng(0).normal(size=(4, 5, features) if features else (4, 5)).astype(np.float32)
    lengths = np.array([5, 0, 2, 3])
    got = read(put(tmp_path, zipped(x=x, y=np.array([1.0, 2.0, 2.5, 1.0]), lengths=lengths), "x.npz"))
    assert got.columns["label"] == ["1", "2", "2.5", "1"]
    for row, value in enumerate(got.columns["array"]):
        assert value.shape == (lengths[row], features or 1)
        assert value.ravel().tolist() == x[row, : lengths[row]].ravel().tolist()


def test_arrays_that_do_not_fit_are_reported(tmp_path):
    x, y = np.zeros((4, 5)), np.zeros(4, int)
    wrong = [{"x": x}, {"x": x, "y": y[1:]}, {"x": x[0], "y": y}, {"X": x, "y": y}, {"x": x.astype(str), "y": y},
             {"x": x, "y": y, "lengths": y + 6}, {"x": x, "y": y, "lengths": y - 1}]  # fmt: skip
    for arrays in wrong:
        assert "expected x (N, T, F)" in fails(" has ", put(tmp_path, zipped(**arrays), "x.npz"))
    fails("NumPy", put(tmp_path, b"PK no zip", "x.npz"))
    fails("one array", put(tmp_path, saved(x), "x.npz"))


# the library datasets


def test_without_the_library_the_message_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    fails(r"needs pyarrow: pip install 'elman\[tables\]'", put(tmp_path, b"PAR1", "x.parquet"))
    fails(r"needs the datasets library: pip install 'elman\[hub\]'", "hub:owner/name")


class Names:
    """A replacement of ClassLabel."""

    def int2str(self, number):
        return ["neg", "pos"][number]


class Rows(dict):
    """A replacement of a Dataset."""

    features: typing.ClassVar = {"text": None, "label": Names(), "tags": SimpleNamespace(feature=Names())}
    column_names: typing.ClassVar = ["text", "label", "tags"]

    def __getitem__(self, key):
        return dict(self)

    def __len__(self):
        return len(self.get("text", []))


def library(monkeypatch, splits):
    """A library that has this data set, and records what is requested."""
    asked = []

    def load_dataset(*arguments):
        asked.append(arguments)
        if splits is None:
            raise RuntimeError("no such\ndata set")
        return splits

    fake = types.ModuleType("datasets")
    fake.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return asked


def test_a_data_set_of_the_hub(monkeypatch):
    def part(*texts):
        return Rows(text=list(texts), label=[1] * len(texts), tags=[[0, 1]] * len(texts))

    splits = {"train": part(*map(str, range(50))), "validation": part("v"), "unsupervised": part("u", "w")}
    splits["train"]["label"] = [0, -1] * 25
    asked = library(monkeypatch, splits)
    got = read("hub:owner/name:config")
    assert asked == [("owner/name", "config")]
    assert set(got.columns["split"]) == {"train", "validation"}
    assert got.columns["label"] == ["neg", None] * 25 + ["pos"]
    assert got.columns["tags"][0] == ["neg", "pos"]
    assert any("2 rows of its split 'unsupervised' were skipped" in note for note in got.notes)
    parts = split.split(got, "text", TableOptions())
    assert parts["valid"].columns["text"] == ["v"]
    assert len(parts["test"]) + len(parts["train"]) == 50
    assert any("split by column split" in note for note in parts["train"].notes)
    library(monkeypatch, None)
    fails("cannot read hub:a/b: no such data set", "hub:a/b")


def test_parquet(tmp_path):
    datasets, parquet = pytest.importorskip("datasets"), pytest.importorskip("pyarrow.parquet")
    features = datasets.Features(
        {"text": datasets.Value("string"), "n": datasets.Value("int64"), "label": datasets.ClassLabel(names=["a", "b"])}
        | {"tags": datasets.Sequence(datasets.ClassLabel(names=["O", "P"])), "both": {"en": datasets.Value("string")}}
    )
    columns = {"text": ["x", None], "n": [1, 2], "label": [1, 0], "tags": [[1, 0], []], "both": [{"en": "y"}] * 2}
    data = datasets.Dataset.from_dict(columns, features)
    out = io.BytesIO()
    parquet.write_table(data.data.table, out)
    assert read(put(tmp_path, out.getvalue(), "x.parquet")).columns == {
        "text": ["x", None], "n": ["1", "2"], "label": ["b", "a"], "tags": [["P", "O"], []], "both.en": ["y", "y"],
    }  # fmt: skip
    fails("not a valid Parquet file", put(tmp_path, out.getvalue()[:-9], "y.parquet"))


# where bytes come from, and how they are characters


def archive(where, members, name="x.zip"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for member, text in members.items():
            file.writestr(member, text)
    return put(where, out.getvalue(), name)


def test_compressed_files_and_members(tmp_path):
    plain = read(put(tmp_path, REVIEWS)).columns
    assert read(put(tmp_path, gzip.compress(REVIEWS.encode()), "x.csv.gz")).columns == plain
    path = archive(tmp_path, {"_about.txt": "text", "in/x.csv": REVIEWS})
    got = read(path)
    assert got.columns == read(f"{path}:in/x.csv").columns == plain
    assert got.name == f"{path}:in/x.csv"
    assert "did you mean 'in/x.csv'" in fails("unknown member", f"{path}:in/y.csv")
    two = archive(tmp_path, {"a.csv": REVIEWS, "b.csv.gz": gzip.compress(REVIEWS.encode())}, "two.zip")
    assert "(a.csv, b.csv.gz)" in fails("name one", two)
    assert read(f"{two}:b.csv.gz").columns == plain
    fails("cannot be unpacked", put(tmp_path, b"no zip", "y.zip"))
    fails("cannot be unpacked", put(tmp_path, gzip.compress(REVIEWS.encode())[:-9], "y.csv.gz"))


@pytest.mark.parametrize("kind", ["csv", "gz", "zip", "input", "npy"])
def test_what_is_larger_than_the_bound_is_refused_while_it_is_read(tmp_path, monkeypatch, kind):
    """Also where it is small before it is unpacked."""
    monkeypatch.setattr(content, "BLOCK", 1000)
    monkeypatch.setattr(content, "MAX_BYTES", 50_000)
    much = b"a,b\n" + b"1,2\n" * 100_000
    if kind == "input":
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(much)))
    path = {
        "csv": lambda: put(tmp_path, much), "gz": lambda: put(tmp_path, gzip.compress(much), "x.csv.gz"),
        "zip": lambda: archive(tmp_path, {"x.csv": much}), "input": lambda: STANDARD_INPUT,
        "npy": lambda: str(Path(put(tmp_path, saved(np.zeros(9_000)), "g/up/1.npy")).parents[1]),
    }[kind]()  # fmt: skip
    fails("is too large: a table may have", path)


def header(shape, dtype="<f8", version=b"\x01\x00"):
    """The head of an .npy that claims this shape and dtype."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(118) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        header((10**15,)) + bytes(64), header((10**12,), "|O") + bytes(64), header((8,), "|O") + bytes(64),
        header((9,)) + bytes(64), header((7,)) + bytes(64), header((-8,)) + bytes(64), header((2**62, 4)) + bytes(64),
        header((0, 10**18)) + bytes(64), header((8,), version=b"\x09\x00") + bytes(64), header((8,), "|S0") + bytes(64),
        b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUM", b"text",
    ],
)  # fmt: skip
def test_an_array_must_have_the_size_in_its_header(tmp_path, data):
    """The header is compared with the size of the file before memory is allocated."""
    put(tmp_path, data, "g/up/1.npy")
    fails("is not a file of NumPy arrays without Python objects", str(tmp_path / "g"))
    packed = archive(tmp_path, {"x.npy": data, "y.npy": saved(np.zeros(4))}, "x.npz")
    fails("is not a file of NumPy arrays without Python objects", packed)


@pytest.mark.parametrize("array", [np.zeros(0), np.asfortranarray(np.arange(6.0).reshape(3, 2)), np.arange(3) > 1])
def test_arrays_of_every_layout(tmp_path, array):
    put(tmp_path, saved(array), "g/up/1.npy")
    [found] = read(str(tmp_path / "g")).columns["array"]
    assert np.array_equal(found, array.reshape(len(array), -1 if array.size else 1))
    assert found.flags.writeable


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe.csv", "pipe.zip", "link.csv"])
def test_only_regular_files_are_read(tmp_path, path):
    if path.startswith("pipe"):
        os.mkfifo(tmp_path / path)
    if path.startswith("link"):
        (tmp_path / path).symlink_to("/dev/zero")
    name = str(tmp_path / path)
    fails("is neither a file nor a folder", name)


def test_standard_input(monkeypatch):
    def pipe(content):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(content)))

    pipe(REVIEWS.encode())
    assert len(read(STANDARD_INPUT)) == 40
    pipe(b"")
    fails("standard input is empty", STANDARD_INPUT)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    fails("nothing is piped in", STANDARD_INPUT)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "shift_jis"])
def test_encodings(tmp_path, encoding):
    text = "aé,b\n1,2\n" if encoding != "shift_jis" else "日本,b\n1,2\n"
    path = put(tmp_path, text, "x.csv", encoding)
    given = "utf-8" if encoding == "utf-8-sig" else encoding
    assert list(read(path, encoding=given).columns) == text.split("\n", 1)[0].split(",")


def test_bytes_that_are_no_text(tmp_path):
    path = put(tmp_path, b"text,label\nd\xe9j\xe0 vu,1\n")
    assert fails("byte 0xe9 at offset 12", path).endswith(
        "is not utf-8: byte 0xe9 at offset 12; pass `encoding` latin-1"
    )
    assert read(path, encoding="latin-1").columns["text"] == ["déjà vu"]
    fails("pass `encoding` utf-16", put(tmp_path, "a,b\n1,2\n", "y.csv", "utf-16"))
    fails("binary, not text", put(tmp_path, b"\x7fELF\0\0", "z.csv"))
    fails("unknown encoding 'utf-9'", path, encoding="utf-9")


def test_what_is_not_there(tmp_path):
    put(tmp_path, REVIEWS, "reviews.csv")
    assert str(tmp_path / "reviews.csv") in fails("did you mean", str(tmp_path / "review.csv"))
    fails("is empty", put(tmp_path, "", "empty.csv"))
    fails("has no rows", put(tmp_path, "a,b\n", "head.csv"))
    fails("no table was given")
    fails("name of a table is empty", "")
    fails("is a folder", str(tmp_path), format="csv")
    fails("is not a folder", str(tmp_path / "reviews.csv"), format="folders")
    fails("`no_header` is for csv, tsv and pairs", put(tmp_path, '{"a": 1}', "x.jsonl"), header=False)


def test_several_files_follow_each_other(tmp_path):
    one, two = put(tmp_path, "a,b\n1,2\n", "1.csv"), put(tmp_path, "b,a\n3,4\n5,\n", "2.csv")
    got = read(one, two)
    assert got.columns == {"a": ["1", "4", ""], "b": ["2", "3", "5"]}
    with pytest.raises(UserError, match=r"2\.csv row 3 has no a; `skip_bad`"):
        table.complete(got, ["a"], False)
    assert "2.csv row 3" in got.take([2]).where(0)
    fails("columns a, c, but", one, put(tmp_path, "a,c\n1,2\n", "3.csv"))


def test_every_format_is_a_choice():
    assert set(format_names()) == {"auto", *FORMATS.all()}
    for name in format_names():
        check(TableOptions(format=name))
    with pytest.raises(UserError, match=r"'cvs' must be one of .*: did you mean 'csv'"):
        check(TableOptions(format="cvs"))


# rows that lack something, and rows that repeat


def test_rows_without_a_value_are_an_error_or_counted():
    values = ["a", None, "", " \t", "b"]
    got = of(text=values, tags=[["x"], ["x"], ["x"], ["x"], []], note=[None] * 5)
    with pytest.raises(UserError, match=r"t\.csv row 2 has no text; `skip_bad` skips such rows"):
        table.complete(got, ["text"], False)
    kept = table.complete(got, ["text"], True)
    assert (kept.columns["text"], kept.numbers) == (["a", "b"], [1, 5])
    assert "4 bad rows" in table.complete(got, ["text", "tags"], True).notes[0]
    with pytest.raises(UserError, match="did you mean 'text'"):
        table.complete(got, ["txt"], False)
    holes = of(array=[np.ones((2, 1)), np.array([[1.0], [np.nan]]), np.ones((0, 1))])
    assert table.complete(holes, ["array"], True).numbers == [1]


rows_ = st.lists(st.tuples(st.sampled_from(["a", "s", "", "1:s"]), st.sampled_from(["", "s", "s1:"])), max_size=12)


@some
@given(rows_)
def test_identical_rows_once(rows):
    got = Table("t", {"a": [a for a, _ in rows], "b": [b for _, b in rows]}, list(range(len(rows))))
    kept = table.deduplicated(got, ["a", "b"])
    assert list(zip(kept.columns["a"], kept.columns["b"], strict=True)) == list(dict.fromkeys(rows))
    assert (len(kept) < len(got)) == bool(kept.notes)
    assert table.deduplicated(got, ["a"]).columns["a"] == list(dict.fromkeys(a for a, _ in rows))


def test_different_contents_have_different_keys():
    shapes = [np.zeros((2, 3)), np.zeros((3, 2)), np.zeros((2, 3), np.float32)]
    tables = [
        of(a=["x", "y"]), of(a=["xy", ""]), of(a=["x"]), of(a=["y", "x"]), of(b=["x", "y"]), of(a=[["x"]]),
        of(a=["x", "sy"]), of(a=["xs", "y"]),
        of(a=[None, ""]), of(a=["", None]), of(a=["x"], b=["y"]), *(of(a=[value]) for value in shapes),
    ]  # fmt: skip
    keys = [table.key(each) for each in tables]
    assert len(set(keys)) == len(keys)
    assert table.key(of(a=["x"]), of(a=["y"])) != table.key(of(a=["x", "y"]))
    assert table.key(tables[0]) == table.key(Table("other", {"a": ["x", "y"]}, [5, 6], ["note"]))


# which column plays which role


def chosen(got, **wanted):
    return infer_columns(got, wanted, "elman train x t.csv")


def unchosen(match, got, **wanted):
    with pytest.raises(UserError, match=match) as raised:
        chosen(got, **wanted)
    return str(raised.value)


LONG = [f"a long text of row {n} with many words" for n in range(9)]


def test_columns_are_inferred_from_their_values():
    stars, one = [str(n % 3) for n in range(9)], ["same"] * 9
    got = of(id=[f"{n}" for n in range(9)], stars=stars, body=LONG, one=one, split=["train", "test", "dev"] * 3)
    assert chosen(got, text=None, label=None) == {"text": "body", "label": "stars"}
    assert chosen(got, label=None, text=None) == {"label": "stars", "text": "body"}
    assert chosen(got, text=None, label="id") == {"text": "body", "label": "id"}
    assert chosen(of(label=LONG, text=["x"] * 9), text=None, label=None) == {"text": "text", "label": "label"}
    unchosen("did you mean 'body'", got, text="bdy")
    unchosen("no column of t.csv can be the label", of(body=LONG), text=None, label=None)
    lists = of(words=[["a", "b"], ["c", "d"]], ner=[["O", "P"], ["O", "O"]])
    assert chosen(lists, words=None, tags=None) == {"words": "words", "tags": "ner"}
    arrays = of(array=[np.zeros((4, 2))] * 4, label=["a", "b"] * 2)
    assert chosen(arrays, text=None, label=None) == {"text": "array", "label": "label"}


def test_similar_columns_are_an_error_with_rows_of_them():
    got = of(title=[text[:-4] for text in LONG], body=LONG, n=["0", "1", "1"] * 3)
    message = unchosen("`text_column` title", got, text=None, label="n")
    assert "`text_column` body or `text_column` title? Row 1: body='a long" in message
    assert message.count("Row ") == 3
    assert message.endswith("elman train x t.csv --label-column n --text-column body")
    shorter = of(title=[text[: len(text) * 2 // 3] for text in LONG], body=LONG)
    assert chosen(shorter, text=None) == {"text": "body"}
    unchosen("`label_column` a", of(a=["0", "1"] * 3, b=["x", "y"] * 3, text=LONG[:6]), text=None, label=None)
    long = unchosen("Row 1", of(a=["x" * 500] * 2, b=["y" * 500] * 2), text=None)
    assert len(long) < 400


def test_two_free_columns_are_source_and_target_in_order():
    assert chosen(of(a=["x"], b=["longer"]), source=None, target=None) == {"source": "a", "target": "b"}
    assert chosen(of(a=["x"], b=["longer"]), source="b", target=None) == {"source": "b", "target": "a"}
    message = unchosen("`source_column`", of(a=["x"], b=["longer"], c=["licence"]), source=None, target=None)
    assert message.endswith("elman train x t.csv --source-column a --target-column b")


# splits


def sizes(parts):
    return {name: len(part) for name, part in parts.items()}


def place(text):
    """Where in [0, 1) a text falls, by long division of the digest's bytes."""
    return sum(byte / 256 ** (n + 1) for n, byte in enumerate(hashlib.blake2b(text.encode(), digest_size=6).digest()))


@some
@given(st.lists(cells, min_size=1, max_size=30), st.sampled_from(["0", "0.2", ".4"]), st.sampled_from(["0", "0.3"]),
       st.randoms(use_true_random=False))  # fmt: skip
def test_no_text_is_on_two_sides_and_order_does_not_matter(texts, valid, test, random):
    texts = [*texts, *texts[:3], *map(str, range(20))]
    options = TableOptions(valid=valid, test=test)
    parts = split.split(of(text=texts), "text", options)
    assert sorted(number for part in parts.values() for number in part.numbers) == list(range(1, len(texts) + 1))
    for name, part in parts.items():
        for text in part.columns["text"]:
            where = place(text)
            side = "test" if where < float(test) else "valid" if where < float(test) + float(valid) else "train"
            assert side == name
    mixed = list(range(len(texts)))
    random.shuffle(mixed)
    again = split.split(of(text=texts).take(mixed), "text", options)
    assert {name: sorted(part.numbers) for name, part in again.items()} == {n: p.numbers for n, p in parts.items()}


def test_shares_are_about_met():
    parts = split.split(of(text=[str(n) for n in range(4000)]), "text", TableOptions(valid="0.2", test="0.1"))
    assert list(parts) == ["train", "valid", "test"]
    assert abs(len(parts["valid"]) - 800) < 110
    assert abs(len(parts["test"]) - 400) < 80


@pytest.mark.parametrize("kind", ["lists", "arrays"])
def test_values_that_are_not_texts_are_split_too(kind):
    random_ = random.Random(0)
    values = [[str(random_.random())] * 2 for _ in range(60)] * 2
    got = of(x=values if kind == "lists" else [np.array(value, float)[:, None] for value in values])
    sides = {}
    for name, part in split.split(got, "x", TableOptions(valid="0.3", test="0.3")).items():
        for value in part.columns["x"]:
            assert sides.setdefault(str(value), name) == name
    assert set(sides.values()) == {"train", "valid", "test"}


def test_a_column_defines_the_splits():
    words_ = ["train", "Validation", "test", "val", "dev", "valid", "training"]
    got = of(text=list("abcdefg"), part=words_)
    parts = split.split(got, "text", TableOptions(split="part"))
    assert {name: part.columns["text"] for name, part in parts.items()} == {
        "train": ["a", "g"], "valid": ["b", "d", "e", "f"], "test": ["c"],
    }  # fmt: skip
    for column in ("part", "prt"):
        wrong = of(text=["a", "b"], part=["train", "tets"])
        with pytest.raises(UserError, match=r"row 2 'tets': did you mean 'test'|'prt': did you mean 'part'"):
            split.split(wrong, "text", TableOptions(split=column))
    own = of(text=["a", "b", "a"], split=["train", "test", "test"])
    parts = split.split(own, "text", TableOptions(valid="0"))
    assert sizes(parts) == {"train": 1, "valid": 0, "test": 2}
    assert any("1 of 2 rows of the test split are also in the training split" in note for note in parts["train"].notes)
    other = of(text=["a", "b"], split=["left", "right"])  # a column of another meaning
    assert sizes(split.split(other, "text", TableOptions(valid="0", test="0")))["train"] == 2


def test_files_are_splits(tmp_path):
    lines = [f"{n % 2} text number {n}" for n in range(60)]
    got = read(put(tmp_path, "\n".join(lines), "train.txt"))
    held = put(tmp_path, "0 text number 4\n1 new\n1 newer\n", "held.txt")  # too few rows to log the form by
    parts = split.split(got, "text", TableOptions(test=held, valid="0.2"), {"text": "text", "label": "label"})
    assert parts["test"].columns == {"label": ["0", "1", "1"], "text": ["text number 4", "new", "newer"]}
    assert len(parts["train"]) + len(parts["valid"]) == 60
    assert all(place(text) < 0.2 for text in parts["valid"].columns["text"])
    with_it = "text number 4" in parts["train"].columns["text"]
    assert any("1 of 3 rows of the test split" in note for note in parts["train"].notes) == with_it
    assert with_it
    both = split.split(got, "text", TableOptions(test=held, valid=held))
    assert sizes(both) == {"train": 60, "valid": 3, "test": 3}
    lacking = put(tmp_path, "0 a\n1\n", "lacking.txt")
    with pytest.raises(UserError, match=r"lacking.txt row 2 has no text"):
        split.split(got, "text", TableOptions(test=lacking))
    named = of(text=["a", "b"], split=["train", "test"])
    with pytest.raises(UserError, match="already has the rows of test"):
        split.split(named, "text", TableOptions(test=held))


@pytest.mark.parametrize(
    ("valid", "test", "message"),
    [("1.5", "0", r"`valid` 1\.5 must be from 0"), ("-0.1", "0", "`valid`"), ("nan", "0", "`valid`"),
     ("0.6", "0.4", "below 1"), ("0.1", "tset.txt", "neither a fraction such as 0.1 nor a file: .*test.txt"),
     ("0,1", "0", "`valid` 0,1 is neither"), ("", "0", "neither"), ("x" * 5000, "0", "neither")],
)  # fmt: skip
def test_shares_that_are_none(tmp_path, monkeypatch, valid, test, message):
    put(tmp_path, "x", "test.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        split.split(of(text=["a"]), "text", TableOptions(valid=valid, test=test))


def test_something_must_be_left_to_train_on():
    text = next(str(n) for n in range(100) if place(str(n)) < 0.5)
    with pytest.raises(UserError, match=r"left to train on \(valid 0, test 1\)"):
        split.split(of(text=[text]), "text", TableOptions(test="0.5"))
