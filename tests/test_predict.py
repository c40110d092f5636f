"""`elman predict`: rows that are typed, piped in or in files, and the one line of a mistake."""

import csv
import io
import itertools
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from elman.training.api import load
from runs import measure, source
from test_classify import SMALL, fit, ordered, table, waves


def cells(path, delimiter=","):
    """The rows of a CSV file, by column."""
    return list(csv.DictReader(io.StringIO(path.read_text()), delimiter=delimiter))


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """Runs of several kinds, and files to predict. No test changes it."""
    folder = tmp_path_factory.mktemp("predict")
    shutil.copytree(trained("classify", table(folder / "t.csv", ordered(300)), **SMALL | {"steps": 80}), folder / "run")
    shutil.copytree(folder / "run", folder / "runs/film")
    tagged = [(f"the dog{number} runs", "D N V") for number in range(40)]
    fit(table(folder / "tags.csv", tagged, ("words", "tags")), folder / "tagger", "tag", steps=3, spelling=8)
    (folder / "text.txt").write_text("the cat sat on a mat and saw two dogs run by, " * 20)
    fit(folder / "text.txt", folder / "lm", "lm", steps=3, batch_size=4, seq_len=8)
    np.savez(folder / "x.npz", **dict(zip("xy", waves()[:2], strict=True)))
    fit(folder / "x.npz", folder / "waves", embedding=None, steps=3)
    texts = ["good and bad", "  ", "bad then so good", "good bad", "", "bad good"]
    table(folder / "holes.csv", [(str(row), text) for row, text in enumerate(texts)], ("id", "text"))
    table(folder / "one.csv", [(text, "praise") for text, _ in ordered(30)])
    table(folder / "wrong.csv", [*ordered(10), ("good", "great")])
    table(folder / "gap.csv", [*ordered(10), ("", "praise"), ("good", "")])
    table(folder / "uneven.csv", [*tagged, ("a dog runs off", "D N V")], ("words", "tags"))
    (folder / "latin.csv").write_bytes("text,label\nun café,praise\nnon,blame\n".encode("latin-1"))
    (folder / "lists.jsonl").write_text("".join(f'{{"a": ["good", "x{row}"], "b": "x{row}"}}\n' for row in range(30)))
    (folder / "latin.txt").write_bytes("good\ncafé\n".encode("latin-1"))
    (folder / "texts.txt").write_text("good and bad\nbad so good\n")
    (folder / "file").write_text("not a folder")
    return folder


def test_arguments_lines_and_files_get_the_same_answers(elman, folder):
    texts = (folder / "texts.txt").read_text().splitlines()
    expected = list(load(folder / "run").predict(texts))
    lines = [f"{each['label']}\t{each['probability']:.3f}" for each in expected]
    for arguments in (texts, [], ["--file", folder / "texts.txt"]):
        done = elman("predict", folder / "run", *arguments, stdin=folder / "texts.txt")
        assert (done.code, done.out.splitlines()) == (0, lines)
    done = elman("predict", folder / "run", *texts, "--json")
    for line, answer in zip(done.out.splitlines(), expected, strict=True):
        assert json.loads(line)["probabilities"] == pytest.approx(answer["probabilities"])


def test_standard_input_is_divided_at_line_ends_only(elman, folder, tmp_path):
    (tmp_path / "in.txt").write_bytes("good\x0bbad\u2028so\r\nbad good\n".encode())
    done = elman("predict", folder / "run", stdin=tmp_path / "in.txt")
    assert len(done.out.splitlines()) == 2
    done = elman("predict", folder / "run", "--encoding", "latin-1", stdin=folder / "latin.txt")
    assert len(done.out.splitlines()) == 2


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_file_is_answered_row_by_row(elman, folder, tmp_path, suffix):
    out = tmp_path / f"new/o{suffix}"
    done = elman("predict", folder / "run", "--file", folder / "holes.csv", "--skip-bad", "-o", out)
    assert done.code == 0, done.err
    assert re.search(r"2 bad rows .*the first: .*holes.csv row 3", done.err)
    rows = json_lines(out) if suffix == ".jsonl" else cells(out, ",\t"[suffix == ".tsv"])
    inputs = cells(folder / "holes.csv")
    assert [(row["id"], row["text"]) for row in rows] == [(row["id"], row["text"]) for row in inputs]
    answers = load(folder / "run").predict([row["text"] for row in inputs if row["text"].strip()])
    for row in rows:
        if row["text"].strip():
            answer = next(answers)
            assert row["label"] == answer["label"]
            assert float(row["probability"]) == pytest.approx(answer["probability"], abs=1e-6)
        else:
            assert row["label"] in ("", None)
    printed = elman("predict", folder / "run", "--file", folder / "holes.csv", "--skip-bad").out.splitlines()
    assert [bool(line) for line in printed] == [bool(row["text"].strip()) for row in inputs]


def test_answers_are_added_to_the_columns_of_a_file(elman, folder, tmp_path):
    files = [folder / "t.csv", tmp_path / "a.csv", tmp_path / "b.csv"]
    for before, after in itertools.pairwise(files):
        assert elman("predict", folder / "run", "--file", before, "-o", after).code == 0
    rows = cells(files[2])
    answers = ["label", "predicted_label", "probability", "predicted_predicted_label", "predicted_probability"]
    assert list(rows[0]) == ["text", *answers]
    assert [row["label"] for row in rows] == [label for _, label in ordered(300)]
    assert all(row["predicted_label"] == row["predicted_predicted_label"] for row in rows)
    assert all(float(row["probability"]) >= 0.5 for row in rows)


def test_each_file_of_a_folder_gets_its_own_answer(elman, folder, tmp_path):
    texts = {"a/1.txt": "good so bad", "a/2.txt": "bad so good", "b/1.txt": "good bad", "b/2.txt": "bad bad good"}
    for name, text in texts.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    done = elman("predict", folder / "run", "--file", tmp_path / "in")
    expected = [answer["label"] for answer in load(folder / "run").predict(list(texts.values()))]
    assert [line.split("\t")[0] for line in done.out.splitlines()] == expected
    assert len(set(expected)) == 2


def test_a_folder_of_arrays_is_learned_and_predicted(elman, tmp_path):
    x, y, lengths = waves(features=1)
    for number, (values, label, length) in enumerate(zip(x[..., 0], y, lengths, strict=True)):
        (tmp_path / f"data/class{label}").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"data/class{label}/{number:03}.npy", values[:length])
    fitted = fit(tmp_path / "data", tmp_path / "run", embedding=None, steps=60, valid="0.2")
    assert measure(fitted)["accuracy"] > 0.85
    done = elman("predict", tmp_path / "run", "--file", tmp_path / "data", "-o", tmp_path / "o.jsonl")
    assert done.code == 0, done.err
    rows = json_lines(tmp_path / "o.jsonl")
    answers = fitted.predict([np.array(row["array"], np.float32) for row in rows])
    assert [row["predicted_label"] for row in rows] == [answer["label"] for answer in answers]
    assert len({row["predicted_label"] for row in rows}) == 2
    # an array is a cell of a CSV as JSON, and no cell is truncated
    assert elman("predict", tmp_path / "run", "--file", tmp_path / "data", "-o", tmp_path / "o.csv").code == 0
    assert [json.loads(row["array"]) for row in cells(tmp_path / "o.csv")] == [row["array"] for row in rows]


def test_longer_rows_are_truncated_and_reported(elman, folder, tmp_path):
    fitted = fit(folder / "t.csv", tmp_path / "run", steps=2, max_length=4)
    done = elman("predict", tmp_path / "run", "good and then so bad", "bad")
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    assert "1 of 2 rows are longer than --max-length 4 and were truncated" in done.err
    long, short = fitted.predict(["good and then so bad and it", "good and then so"])
    assert long.values == short.values
    assert all(len(value) <= 4 for value in source(fitted, "train").values("input"))


MISTAKES = [
    ("train classify t.csv --out new --text-column texd", "'texd'; did you mean; 'text'"),
    ("train classify t.csv --out new --label-column labels", "'labels'; did you mean; 'label'"),
    ("train classify gap.csv --out new", "gap.csv row 12; no text; --skip-bad"),
    ("train classify latin.csv --out new", "latin.csv; utf-8; 0xe9; offset 17; --encoding latin-1"),
    ("train classify one.csv --out new", "one.csv; one class; 'praise'; two"),
    ("train classify t.csv --out new --test wrong.csv", "wrong.csv row 12; 'great'; blame; praise"),
    ("train classify lists.jsonl --out new --text-column a --label-column b", "lists.jsonl row; a list of words"),
    ("train classify lists.jsonl --out new --text-column b --label-column a", "lists.jsonl row; a list of words"),
    ("train tag uneven.csv --out new", "uneven.csv row 42; 4 words; 3 tags"),
    ("train tag tags.csv --out new --tags-column tag", "'tag'; did you mean; 'tags'"),
    ("train classify t.csv --out new --pooling most", "most; max"),
    ("predict run ''", "the input row 1; no text"),
    ("predict run good ' '", "the input row 2; no text"),
    ("predict run --file holes.csv", "holes.csv row 3; no text; --skip-bad"),
    ("predict run --file holes.csv --column texd", "'texd'; did you mean; 'text'"),
    ("predict run --file tags.csv", "tags.csv; 'text'; tags, words"),
    ("predict run --file latin.csv", "latin.csv; offset 17; --encoding latin-1"),
    ("predict run --file nowhere.csv", "nowhere.csv; does not exist"),
    ("predict run --file x.npz --column array", "x.npz row 1; an array; trained on texts"),
    ("predict waves good", "the input row 1; a text; trained on arrays"),
    ("predict run good --file t.csv", "--file; good; exclude"),
    ("predict run good -o o.csv", "--out; --file"),
    ("predict run --file t.csv -o o.txt", "o.txt; .csv, .tsv or .jsonl"),
    ("predict run --file t.csv -o file/o.csv", "cannot write; file/o.csv"),
    ("predict run --file t.csv --encoding utf-99", "utf-99; utf-8"),
    ("predict run good --beam 3", "--beam; no effect; classify model does not decode"),
    ("predict runs/flim good", "runs/flim; did you mean; runs/film"),
    ("predict t.csv good", "t.csv; not a run"),
    ("predict lm good", "lm; elman sample"),
    ("predict run", "standard input is empty"),
    ("eval run --reset 4", "--reset; language models; classify"),
    ("eval run --text wrong.csv", "wrong.csv row 12; 'great'"),
    ("eval run --text lists.jsonl", "lists.jsonl; 'text'; a, b"),
    ("sample run", "elman predict"),
]


@pytest.mark.parametrize(("typed", "words"), MISTAKES, ids=[typed for typed, _ in MISTAKES])
def test_a_mistake_is_one_line_and_changes_nothing(elman, folder, tmp_path, monkeypatch, typed, words):
    here = Path(shutil.copytree(folder, tmp_path / "here"))
    monkeypatch.chdir(here)
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    done = elman(*shlex.split(typed))
    assert (done.code, done.out) == (2, ""), done.err
    [line] = [line for line in done.err.splitlines() if "read as" not in line and "names the columns" not in line]
    assert "Traceback" not in line
    for word in words.split("; "):
        assert word in line, (word, line)
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


def test_standard_input_that_cannot_be_decoded_is_an_error(elman, folder):
    done = elman("predict", folder / "run", stdin=folder / "latin.txt")
    assert (done.code, done.out) == (2, "")
    assert "standard input is not utf-8: byte 0xe9 at offset 8" in done.err
