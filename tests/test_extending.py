"""The examples of docs/extending.md work: as a file of the package, and as a module of the user's own."""

import re
import sys
from pathlib import Path

import pytest
import torch

import elman.cells
import elman.data.builtin
import elman.data.formats
import elman.metrics
import elman.tokenizers
from elman.cells.cell import Cell
from elman.cells.shipped import registered
from elman.data import corpus, table_reader
from elman.data.builtin import DATASETS, generate
from elman.data.formats.format import FORMATS
from elman.data.table_reader import TableOptions
from elman.errors import UserError
from elman.metrics.metric import METRICS, evaluate
from elman.options import check
from elman.recurrent.layer import Recurrent
from elman.registry import Registry
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions
from elman.tokenizers.tokenizer import TOKENIZERS
from elman.user_file import run_file

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
PACKAGES = {"leaky.py": elman.cells, "whitespace.py": elman.tokenizers, "fasta.py": elman.data.formats,
            "balanced_accuracy.py": elman.metrics, "sums.py": elman.data.builtin}  # fmt: skip


@pytest.fixture(params=["part of the package", "a module of one's own"])
def example(request, tmp_path, monkeypatch):
    """A function that makes an example available, and is undone after the test."""
    for found in (TOKENIZERS, FORMATS, METRICS, DATASETS):
        monkeypatch.setattr(found, "_found", found.all())
    monkeypatch.setattr(Cell, "registered", dict(registered()))

    def add(name):
        path, package = tmp_path / name, PACKAGES[name]
        path.write_text(EXAMPLES[name])
        if request.param == "part of the package":
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        else:
            run_file(path, "example")

    yield add
    for name, package in PACKAGES.items():
        sys.modules.pop(f"{package.__name__}.{name.removesuffix('.py')}", None)


def test_there_is_an_example_of_each():
    assert EXAMPLES.keys() == PACKAGES.keys()


def test_a_cell(example):
    example("leaky.py")
    torch.manual_seed(0)
    layer, x = Recurrent(3, 4, "leaky", backend="loop"), torch.randn(2, 5, 3)
    y, _ = layer(x)
    w, u, b = (getattr(layer.cells[0], name) for name in ("W", "U_h", "b"))
    h = torch.zeros(2, 4)
    for step in range(5):
        h = 0.7 * h + 0.3 * torch.tanh(x[:, step] @ w.T + h @ u.T + b)
    torch.testing.assert_close(y[:, -1], h)


def test_a_tokenizer(example, tmp_path):
    with pytest.raises(UserError, match="`tokens` 'whitespace' must be one of bpe, byte, char, word"):
        check(TokenizerOptions(tokens="whitespace"))
    example("whitespace.py")
    check(TokenizerOptions(tokens="whitespace"))
    (tmp_path / "text.txt").write_text("one, two, one, two.\nthree " * 9)
    read = corpus.read([str(tmp_path / "text.txt")], "whitespace", vocab_size=100)
    assert read.tokens.decode(read.ids.tolist()) == "one, two, one, two.\nthree " * 9
    assert " two," in [read.tokens.decode([token]) for token in range(len(read.tokens))]
    stored = read.tokens.to_json()
    assert stored["kind"] == "whitespace"
    assert registry.from_json(stored).encode(" one, two.") == read.tokens.encode(" one, two.")


def test_a_format(example, tmp_path):
    example("fasta.py")
    (tmp_path / "x.fasta").write_text(">up\nAC\nGT\n\n>down\nTTT\n")
    (tmp_path / "x.txt").write_text((tmp_path / "x.fasta").read_text())
    for name, options in (("x.fasta", {}), ("x.txt", {}), ("x.txt", {"format": "fasta"})):
        check(TableOptions(**options))
        read = table_reader.read([str(tmp_path / name)], TableOptions(**options))
        assert read.columns == {"label": ["up", "down"], "text": ["ACGT", "TTT"]}
        assert (read.format, read.numbers) == ("fasta", [1, 5])
        assert "read as sequences in FASTA, 2 rows" in read.notes[0]
    (tmp_path / "bad.fasta").write_text("AC\n>up\nGT\n")
    with pytest.raises(UserError, match=r"bad\.fasta row 1 is before the first line that starts with >; `skip_bad`"):
        table_reader.read([str(tmp_path / "bad.fasta")], TableOptions())
    assert len(table_reader.read([str(tmp_path / "bad.fasta")], TableOptions(skip_bad=True))) == 1


def test_a_metric(example):
    example("balanced_accuracy.py")
    found = evaluate("classify", ["a", "a", "a", "b"], ["a", "a", "b", "b"], ["a", "b"])
    assert found["balanced_accuracy"] == (1 + 0.5) / 2
    assert found["accuracy"] == 0.75
    assert evaluate("vqa", ["a"], ["a"], ["a"]) == {"balanced_accuracy": 1}
    assert "balanced_accuracy" not in evaluate("tag", [["O"]], [["O"]], ["O"])


def test_a_data_set(example):
    example("sums.py")
    found = generate("builtin:sums:count=20,digits=3,seed=1")
    assert len(set(found["source"])) == 20
    for source, target in zip(found["source"], found["target"], strict=True):
        a, b = source.split("+")
        assert int(a) + int(b) == int(target)
    with pytest.raises(UserError, match="digits must be from 1 to 9, as in digits=2"):
        generate("builtin:sums:digits=10")
    assert len(table_reader.read(["builtin:sums:count=20"], TableOptions())) == 20


def test_a_name_that_is_not_registered_is_told_with_the_nearest():
    with pytest.raises(UserError, match="unknown metric 'clasification': did you mean 'classification'"):
        METRICS.find("clasification")
    own: Registry[int] = Registry("number", "elman.metrics")
    assert own.add("one", 1) == own.find("one") == own.all()["one"] == 1
    own.add("one", 2)
    assert own.find("one") == 2
