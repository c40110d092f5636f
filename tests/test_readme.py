"""Every command and every Python block of the README and the docs is run."""

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elman import Cell, Recurrent
from elman.cells.trace import trace
from films import film
from forked import Elman
from idx_files import idx

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "".join(f"Once upon a time there were {number} ways to count to {number}.\n" for number in range(300))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every line of a page's shell blocks that runs elman."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return list(dict.fromkeys(re.sub(r"\s+#.*", "", line) for line in lines if "elman " in line))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all files that the pages name."""
    for name in ("mine.txt", "book.txt", "a.txt", "b.txt", "latin.txt", "program.bin"):
        (tmp_path / name).write_text(TEXT)
    rows = [f"I {verb} film {n},{label}\n" for n in range(40) for verb, label in (("love", "good"), ("hate", "bad"))]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "".join(rows))
    (tmp_path / "other.csv").write_text("text,label\n" + "".join(rows))
    (tmp_path / "new.csv").write_text("text\na film I love\n")
    sentences = [f"Ada B-PER\nsaw{n} O\nRome B-LOC\n\nrain{n} O\nfell O\n\n" for n in range(40)]
    (tmp_path / "news.conll").write_text("".join(sentences))
    (tmp_path / "names").mkdir()
    for language, stem in (("Greek", "Alex"), ("Welsh", "Rhys")):
        (tmp_path / "names" / f"{language}.txt").write_text("".join(f"{stem}{n}\n" for n in range(60)))
    pairs = [f"number {n}\tnombre {n}\n" for n in range(80)]
    (tmp_path / "pairs.txt").write_text("".join(pairs))
    album(tmp_path)
    digits(tmp_path / "mnist")
    videos(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.md").write_text(TEXT)
    subprocess.run(["gzip", "--keep", "book.txt"], cwd=tmp_path, check=True)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def album(home: Path) -> None:
    """Photographs in a folder for each class, their captions as COCO has them, and one more."""
    images, captions = list[dict](), list[dict]()
    for number in range(40):
        colour = ("red", "blue")[number % 2]
        (home / "photos" / colour).mkdir(parents=True, exist_ok=True)
        name = f"{colour}/{number}.jpg"
        Image.new("RGB", (40, 30), colour).save(home / "photos" / name)
        images.append({"id": number, "file_name": name})
        captions.append({"id": number, "image_id": number, "caption": f"a {colour} photograph"})
    (home / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    Image.new("RGB", (40, 30), "red").save(home / "photo.jpg")


def digits(folder: Path) -> None:
    """IDX files with images of two labels."""
    folder.mkdir()
    for name, count in (("train", 40), ("t10k", 10)):
        labels = np.arange(count, dtype=np.uint8) % 2
        images = np.broadcast_to(200 * labels[:, None, None], (count, 8, 8))
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))


def videos(home: Path) -> None:
    """A film, and a table of the spans of some others."""
    rows = ["file,start,end,label"]
    for name in ("film", *(f"clip{number}" for number in range(12))):
        film(home / f"{name}.mp4", [40] * 10 + [200] * 10, codec="mpeg4")
        if name != "film":
            rows += [f"{name}.mp4,0,1,first", f"{name}.mp4,1,2,second"]
    (home / "spans.csv").write_text("\n".join(rows) + "\n")


def run(elman: Elman, line: str) -> None:
    """Runs a line in this Python, for a moment instead of minutes; one without other programs in a forked process."""
    line = re.sub(r"--for \S+", "--for 0.2s", line)
    line = re.sub(r"builtin:(scene\w+|clip\w+)", r"\g<0>:count=100", line)
    if "train" in line or "compare" in line:
        line += " --no-preview" if "--resume" not in line else ""
        line += " --hidden 16" if "--resume" not in line and "--hidden" not in line else ""
        line += " --precision float32" if "--resume" not in line else ""  # with kernels that other tests need too
        line += "" if "--for" in line else " --steps 3"
    if "elman inspect" in line and "--length" not in line:
        line = line.replace("elman inspect", "elman inspect --length 500")
    if re.fullmatch(r"elman [^|<>&;$`]*", line):
        done = elman(*shlex.split(line)[1:], cwd=Path.cwd())
        assert done.code == 0, f"{line}\n{done.out}\n{done.err}"
        return
    verbs = "train|sample|predict|inspect|compare|eval|list|doctor"
    line = re.sub(rf"\belman (?={verbs})", f"{shlex.quote(sys.executable)} -m elman ", line)
    found = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True)
    assert found.returncode == 0, f"{line}\n{found.stdout}\n{found.stderr}"


README, *DOCS = (page for page in PAGES if commands(page))
# the kernels of all cells, which takes a minute, or the time of one; several trainings
TAKES_LONG = ("elman doctor", "elman compare")


@pytest.mark.parametrize(
    "page",
    [README, *(pytest.param(page, marks=pytest.mark.slow) for page in DOCS)],
    ids=lambda page: page.stem,
)
def test_the_commands_of_a_page_run(forked: Elman, folder: Path, page: Path) -> None:
    python = blocks(ROOT / "docs" / "looking-inside.md", "python")
    (folder / "mine.py").write_text(next(block for block in python if block.startswith("def vowel")))
    lines = commands(page)
    made = {word for line in lines for word in re.findall(r"runs/\S+|RUN", line)} - {"runs/classify-reviews"}
    if made:
        for name in ("mine", "book"):
            run(forked, f"elman train lm {name}.txt --out runs/lm-{name}")
    if not any(line.startswith("elman train classify reviews.csv") for line in lines):
        run(forked, "elman train classify reviews.csv")
    for line in lines:
        if not line.startswith(TAKES_LONG):
            run(forked, line.replace("RUN", "runs/lm-mine"))


@pytest.mark.slow
def test_the_commands_that_take_long_run(forked: Elman, folder: Path) -> None:
    lines = [line for page in PAGES for line in commands(page) if line.startswith(TAKES_LONG)]
    assert "elman doctor" in lines
    for line in dict.fromkeys(lines):
        run(forked, line)


def test_the_python_of_the_readme_runs(forked: Elman, folder: Path) -> None:
    cell, session = blocks(ROOT / "README.md", "python")
    (folder / "cell.py").write_text(cell)
    source = (ROOT / "examples" / "leaky_gru.py").read_text()
    assert cell.strip().split("\n\n\n")[1] in source, "the cell of the README is the one in examples/"
    run(forked, "elman train classify reviews.csv")
    setup = "import torch\nx, lengths = torch.randn(3, 7, 64), torch.tensor([7, 0, 2])\n"
    setup += "reset = torch.zeros(3, 7, dtype=torch.bool)\n"
    session = session.replace('for_="60s"', "steps=3, hidden=16, out='runs/lm-mine'")
    code = setup + session + "\nassert recorded['1.f'].shape == (1, 100, 16)\nassert y.shape == (3, 7, 512)\n"
    done = forked(program=code, cwd=folder)
    assert done.code == 0, done.err


def test_the_python_of_the_page_on_tables_runs(forked: Elman, folder: Path) -> None:
    [code] = blocks(ROOT / "docs" / "tables.md", "python")
    code = code.replace('for_="30s"', "steps=3, hidden=8")
    done = forked(program=code, cwd=folder)
    assert done.code == 0, done.err


def cells_of_the_page() -> list[type[Cell]]:
    """The cells of the blocks of docs/own-cells.md."""
    found = []
    for code in blocks(ROOT / "docs" / "own-cells.md", "python"):
        names: dict[str, Any] = {}
        exec(code, names)
        found += [value for value in names.values() if inspect.isclass(value) and issubclass(value, Cell)]
    return [kind for kind in found if kind is not Cell]


def test_the_cells_of_the_page_on_own_cells_can_be_traced() -> None:
    kinds = cells_of_the_page()
    assert len(kinds) == len(blocks(ROOT / "docs" / "own-cells.md", "python"))
    for kind in kinds:
        assert trace(kind(6, 8)).ops


@pytest.mark.slow
def test_the_cells_of_the_page_on_own_cells_have_kernels_that_equal_the_loop() -> None:
    for kind in cells_of_the_page():
        layer, x, outputs = Recurrent(6, 8, kind), torch.randn(3, 5, 6), []
        for layer.backend in ("fused", "loop"):
            torch.manual_seed(1)
            outputs.append(layer(x)[0])
        torch.testing.assert_close(*outputs)


def test_the_example_of_python_runs(forked: Elman, folder: Path) -> None:
    code = (ROOT / "examples" / "train.py").read_text().replace('for_="30s"', "steps=3")
    done = forked("mine.txt", program=code, cwd=folder)
    assert done.code == 0, done.err
    assert "forget gate" in done.out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_changelog_has_the_version() -> None:
    import elman

    assert f"## {elman.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_reference_of_the_options_is_the_one_of_the_source(forked: Elman) -> None:
    # in a process of its own: this one may have imported a task of a test
    done = forked(module="elman.cli.reference", cwd=ROOT)
    assert done.code == 0, done.err
    assert (ROOT / "docs" / "options.md").read_text("utf-8") == done.out, "make reference writes it"
