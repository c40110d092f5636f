"""The report of a language model: recordings, painted text and files, for a small model of a small program."""

import html
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import elman
from elman.cells.registry import shipped
from elman.cells.tap import hold, record
from elman.inspect import page, painting, terminal
from elman.inspect.activations import Activations, spell
from elman.inspect.blocks import Block, Heading, MarkedWords, PaintedText, Sentence, Table, Verbatim
from elman.inspect.curves import columns, curves
from elman.inspect.expectation import bits
from elman.inspect.gates import gates
from elman.inspect.live import with_values
from elman.inspect.panel import Panel
from elman.inspect.png_files import png_files
from elman.inspect.recording import read
from elman.inspect.report import side_by_side
from elman.inspect.report_json import plain
from elman.inspect.report_options import ReportOptions
from elman.tasks.task import Reading
from elman.tokenizers.byte import ByteTokenizer
from elman.tokenizers.char import CharTokenizer
from fitting import fitting
from outline import Outline

PROGRAM = '''
def name_{n}(first, second={n}):
    """Adds {n} to its argument."""
    # a remark, about {n}
    if first > {n}:
        return [first + second, "some text {n}"]
    return {{"key": first}}

'''
NASTY = "<b>&amp;</b>\x1b[31m '\" \x00 한 \ud800 \U0001f600 {{ 1 }}"


pytestmark = pytest.mark.usefixtures("short_inspection")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "program.py").write_text("".join(PROGRAM.format(n=number) for number in range(150)))
    return elman.train("lm", folder / "program.py", steps=60, hidden=24, batch_size=8, seq_len=32, layers=2,
                       precision="float32", device="cpu", out=folder / "run")  # fmt: skip


@pytest.fixture(scope="module")
def report(model, short_inspection):
    return elman.report(model, length=2000)


@pytest.fixture(scope="module")
def saved(report, tmp_path_factory):
    """The folder of the saved report."""
    folder = tmp_path_factory.mktemp("saved")
    report.save(folder)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another text in the same language."""
    path = tmp_path_factory.mktemp("other") / "other.txt"
    path.write_text("".join(PROGRAM.format(n=n) for n in range(150, 180)))
    return str(path)


def encoded(model, text):
    return np.array(model.tokenizer.encode(text))


# recordings


def test_a_recording_has_the_values_of_single_steps(model, monkeypatch):
    monkeypatch.setattr("elman.inspect.recording.CHUNK", 7)
    ids = encoded(model, PROGRAM[:40].replace("{n}", "1"))
    found = read(model.model, ids)
    with torch.no_grad():
        stepper, states, log = model.task.stepper(model.model), [], []
        state = stepper.begin({"input": torch.zeros(1, 1)})
        for token in ids:
            logits, state = stepper.step(torch.tensor([token]), state)
            states.append(state[1][1][0])
            log.append(logits[0].log_softmax(-1))
    np.testing.assert_allclose(found.values["2.c"], torch.stack(states), atol=2e-3, rtol=1e-3)  # float16
    expected = [-log[t][ids[t + 1]].item() for t in range(len(ids) - 1)]
    assert np.isnan(found.nats[0])
    np.testing.assert_allclose(found.nats[1:], expected, atol=1e-4)
    best = torch.stack(log).topk(5, -1)
    np.testing.assert_allclose(found.probabilities, best.values.exp(), atol=1e-5)
    assert (found.top == best.indices.numpy()).mean() > 0.98  # but for ties


def test_a_large_recording_is_on_the_disk(model, monkeypatch):
    ids = encoded(model, "def name")
    inside = read(model.model, ids)
    monkeypatch.setattr("elman.inspect.recording.IN_MEMORY", 100)
    outside = read(model.model, ids)
    assert all(isinstance(value, np.memmap) for value in outside.values.values())
    for address, value in inside.values.items():
        np.testing.assert_array_equal(value, outside.values[address])


def test_only_wanted_values_are_recorded(model):
    found = read(model.model, encoded(model, "def"), lambda address: address == "1.f")
    assert list(found.values) == ["1.f"]


def test_the_characters_of_bytes_end_with_their_last_byte():
    text = "añ한b"
    ids = np.array(ByteTokenizer().encode(text))
    found, token_of = spell(ByteTokenizer(), ids)
    assert found == text
    assert token_of.tolist() == [0, 2, 5, 6]
    assert bits(np.log(2) * np.ones(len(ids)), token_of).tolist() == pytest.approx([1, 2, 3, 1])
    assert spell(CharTokenizer("ab"), np.array([0, 1, 1]))[1].tolist() == [0, 1, 2]


def test_the_values_of_a_unit_are_the_recorded_ones(model):
    here = Activations(model, ReportOptions(length=300))
    ids = torch.from_numpy(here.ids.astype(np.int64))[None]
    with torch.no_grad(), record() as values:
        model.model.recurrent(model.model.embedding(ids))
    for unit, address in (("2.c.5", "2.c"), ("1.i.3", "1.i")):
        expected = values[address][0, :, int(unit.rpartition(".")[2])]
        np.testing.assert_allclose(here.unit(unit), expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("prompt", ["", "def "])
def test_values_during_generation_are_those_of_the_generated_text(model, prompt):
    with record() as values:
        given = model.task.prompt(model.spec, prompt, (), Reading()).tokens
        pieces = (piece for (piece,) in model.stream(prompt, 150, seed=3))
        found = list(with_values(pieces, values, "1.c.7", len(given)))
    text = "".join(piece for piece, _ in found)
    assert text == model.sample(prompt, 150, seed=3)
    ids = np.array([*given, *model.tokenizer.encode(text)])
    expected = read(model.model, ids).values["1.c"][len(given) :, 7]
    np.testing.assert_allclose([value for _, value in found][:-1], expected[:-1], atol=2e-3, rtol=1e-3)
    assert found[-1][1] == 0.0


def test_a_held_unit_changes_the_generated_text(model):
    free = model.sample("", 200, seed=1)
    with hold({"2.h.3": 5.0}):
        assert model.sample("", 200, seed=1) != free
    assert model.sample("", 200, seed=1) == free


@pytest.mark.parametrize("name", shipped())
def test_every_gate_of_a_shipped_cell_names_its_effect(name):
    found = gates(elman.Recurrent(2, 4, fitting(name, 4)).cells[0])
    assert all(effect != "open" or gate.startswith("t") for gate, effect in found.items())  # rhn: any number of t


def test_the_gates_of_a_user_cell_are_found():
    path = Path(__file__).parent.parent / "examples/leaky_gru.py"
    assert set(gates(elman.Recurrent(2, 3, f"{path}:LeakyGRU").cells[0])) == {"r", "z"}


def test_predictions_are_what_the_loss_is_of(model):
    batch = model.task.source(model.spec, model.run.data_paths(), "valid").batch(0, 0)
    with torch.no_grad():
        loss = model.model.eval().loss(batch)
        logits, _ = model.model.logits(batch["input"])
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch["target"].flatten(), reduction="sum", ignore_index=-100
    )
    assert float(nats) == pytest.approx(float(loss.sums["loss"]), rel=1e-5)


# files


def test_a_report_is_one_page_without_external_links(report, saved):
    text = (saved / "report.html").read_text("utf-8")
    outline = Outline(text)
    assert outline.open == []
    assert all(link.startswith(("#", "data:")) for link in outline.links), outline.links
    assert "http" not in re.sub(r'xmlns[:\w]*="[^"]*"|http://www.w3.org/\S+|https?://\S+(?=["<])', "", text)
    assert len(text) < 5e6
    names = {panel.name for panel in report.panels}
    assert names >= {"units", "expectation", "strip", "gates", "gradient", "curves", "markov"}
    ids = [attributes.get("id") for tag, attributes in outline.tags if tag == "section"]
    assert ids == [panel.name for panel in report.panels]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)


def test_metrics_are_json_and_images_open(saved):
    metrics = json.loads((saved / "report.json").read_text("utf-8"))
    assert metrics["units"]["units"][0] == "1.h.0"
    found = metrics["units"]["properties"]
    assert {"string", "comment"} <= found.keys()
    assert len(found["string"]["all"]) == len(metrics["units"]["units"]) == 2 * 2 * 24
    files = list((saved / "report").glob("*.png"))
    for file in files:
        image = Image.open(file)
        image.load()
        assert min(image.size) > 40
    assert len(files) > 5
    assert {"units.png", "surprise.png", "gradient.png"} <= {file.name for file in files}


def test_a_report_replaces_the_one_before(report, tmp_path):
    small = report["expectation"]
    small.save(tmp_path)
    (tmp_path / "report" / "old.png").write_bytes(b"")
    small.save(tmp_path)
    assert not (tmp_path / "report" / "old.png").exists()


def test_a_report_shows_itself_and_each_panel_in_a_notebook(report):
    for shown in (report["units"], report["curves"]):
        outline = Outline(shown._repr_html_())
        assert outline.open == []
        assert "html" not in {tag for tag, _ in outline.tags}
    with pytest.raises(KeyError, match="no panel unit: there are units"):
        report["unit"]


def test_a_report_without_text_has_no_line_of_it(model):
    report = elman.report(model, length=600, no_text=True)
    text = page.page(report.title, report.panels) + json.dumps(report.metrics)
    for line in {line.strip() for line in PROGRAM.splitlines() if len(line.strip()) > 8}:
        assert line.partition("{")[0].strip()[:14] not in text, line
    shown = [block for panel in report.panels for block in (*panel.blocks, *panel.attachments)]
    assert not any(isinstance(block, PaintedText | Verbatim) for block in shown)


# blocks and renderers


class Unknown(Block):
    """A block that no renderer knows."""


def blocks():
    return [Heading(NASTY), Sentence(NASTY), Sentence(NASTY, small=True), Table([NASTY], [[NASTY], [1.5]]),
            PaintedText("x", NASTY, NASTY, np.zeros(len(NASTY)), [NASTY] * len(NASTY)),
            MarkedWords([(NASTY, ""), (NASTY, NASTY)]), Verbatim(NASTY, NASTY)]  # fmt: skip


def test_text_of_every_block_is_escaped_and_without_control_characters():
    text = page.page(NASTY, [Panel("p", NASTY, NASTY, {}, blocks())])
    outline = Outline(text.encode("utf-8").decode())
    assert outline.open == []
    assert "b" not in {tag for tag, _ in outline.tags}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", text)
    assert outline.text.count("<b>&amp;</b>\ufffd[31m") == 17
    notes = next(attributes["data-notes"] for _, attributes in outline.tags if "data-notes" in attributes)
    assert len(json.loads(notes)) == len(NASTY)


def test_numbers_of_a_table_are_formatted():
    text = page.fragment("t", [Panel("p", "t", "s", {}, [Table(["a"], [[1.25], [float("nan")], [12345], ["x"]])])])
    assert re.findall(r'<td class="number">(.*?)</td>', text) == ["1.250", "", "12,345"]


def test_images_of_a_table_are_part_of_the_page():
    text = page.fragment("t", [Panel("p", "t", "s", {}, [Table([""], [[Image.new("RGB", (41, 20))]])])])
    [(_, attributes)] = [each for each in Outline(text).tags if each[0] == "img"]
    assert attributes["src"].startswith("data:image/jpeg;base64,")
    assert (attributes["width"], attributes["height"]) == ("21", "10")


def test_painted_text_keeps_every_character():
    text = "\n a\tb\n{% x %} é"
    fragment = page.fragment("t", [Panel("p", "t", "s", {}, [PaintedText("x", "", text, np.zeros(len(text)))])])
    [found] = re.findall(r"<pre[^>]*>\n(.*?)</pre>", fragment, re.DOTALL)
    assert html.unescape(found) == text


def test_painted_texts_of_one_name_are_one_image():
    each = PaintedText("x", "title", "some text\n" * 3, np.zeros(30))
    one, two = (png_files(Panel("p", "t", "s", {}, [each] * count)) for count in (1, 2))
    assert list(one) == list(two) == ["x.png"]
    heights = [Image.open(io.BytesIO(found["x.png"])).height for found in (one, two)]
    assert heights[1] > 1.5 * heights[0]
    assert list(png_files(Panel("p", "t", "s", {}, [Sentence("a")], [each]))) == ["x.png"]  # an attachment


def test_the_terminal_has_a_line_for_each_panel_without_control_characters(report):
    assert [line.plain.partition(":")[0] for line in terminal.lines(report.panels)] == [
        panel.title for panel in report.panels
    ]
    [line] = terminal.lines([Panel("p", NASTY, "[red]a[/red]")])
    assert "\x1b" not in line.plain
    assert line.plain.endswith("[red]a[/red]")
    assert not line.spans


def test_painting_the_terminal_keeps_every_character_and_no_other_control():
    text = "if a:\n\treturn '\x1b[2J한'"
    painted = terminal.paint(text, np.linspace(-1, 1, len(text)))
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == text.replace("\x1b", "\ufffd")


def test_scaling_keeps_signs_and_maps_gates_to_the_whole_range():
    assert painting.scaled(np.array([0.0, 0.5, 1.0]), gate=True).tolist() == [-1, 0, 1]
    assert np.abs(painting.scaled(np.array([-0.1, 0.1]))).max() < 0.25  # hardly changes
    assert painting.scaled(np.array([-34.0, -4.0] * 50))[:2].tolist() == [-1, 1]  # low and high, whatever the sign
    assert painting.scaled(np.array([])).tolist() == []


@pytest.mark.parametrize("text", ["", "x" * 10_000, "한국어 텍스트\n" * 30, "\t\n\n\r\n"])
def test_any_text_makes_an_image(text):
    Image.open(io.BytesIO(painting.png([("a heading", text, np.zeros(len(text)))]))).load()


def test_characters_without_a_font_are_found():
    assert painting.uncovered("if a: é € α\n\t\0") == []
    rare = "\U00012345x\U00020000"  # a cuneiform sign, and a rare Chinese one
    best = painting._covered(painting.font_file(rare))
    assert painting.uncovered(rare) == [char for char in rare if char != "x" and char not in best]


def test_plain_values_are_json_without_nan():
    found = plain({"a": np.array([1.0, np.nan]), 2: (np.float32(1.5), np.int64(3)), "c": float("inf")})
    assert json.loads(json.dumps(found, allow_nan=False)) == {"a": [1.0, None], "2": [1.5, 3], "c": None}


# curves


def test_curves_are_those_of_the_log(model, tmp_path):
    log = columns(model.run)
    lines = [json.loads(line) for line in (model.path / "log.jsonl").read_text().splitlines()]
    assert log["loss"].tolist() == [line["loss"] for line in lines if not line.get("end")]
    shutil.copytree(model.path, tmp_path / "copy")
    both = side_by_side([model.path, tmp_path / "copy"])
    assert both.panels[0].name == "curves"
    assert "lowest validation loss" in both.panels[0].summary
    run = type(model.run)(tmp_path, model.run.config)
    (tmp_path / "log.jsonl").write_text("{}\nnot json\n")
    with pytest.raises(elman.UserError, match=r"log\.jsonl"):
        columns(run)
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(elman.UserError, match="no line"):
        curves([run])


# options


def test_another_text_and_a_property_of_the_user(model, other):
    def vowel(text):
        """a vowel"""
        return [char in "aeiou" for char in text]

    found = next(iter(elman.report(model, text=other, properties=[vowel], language="python", no_text=True).panels))
    found = found.metrics["properties"]
    assert found["vowel"]["meaning"] == "a vowel"
    assert found["vowel"]["probe"] > 0.95  # it is the last input


def test_a_property_that_cannot_be_scored_is_logged(model):
    def same(text):
        return [1.0] * len(text)

    lines = []
    elman.report(model, length=400, properties=[same], no_text=True, log=lines.append)
    assert any("the property same is not scored" in line for line in lines)


def test_one_unit_is_a_report_of_its_own(model):
    found = elman.report(model, unit="1.c.7", length=300)
    [panel] = found.panels
    assert panel.name == "unit-1.c.7"
    [block] = panel.blocks
    assert len(block.text) == len(block.values) == 300
    assert "\x1b" in terminal.painted(panel, 50)
    with pytest.raises(elman.UserError, match=r"1\.x|unit"):
        elman.report(model, unit="1.x.7")


def test_a_run_without_its_log_and_its_text_is_inspected_on_another(model, other, tmp_path):
    (tmp_path / "bare").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "bare" / name).write_bytes((model.path / name).read_bytes())
    bare, lines = elman.load(tmp_path / "bare"), []
    object.__setattr__(bare.run, "trusted", lambda: False)  # as if made on another machine
    found = elman.report(bare, text=other, length=1000, no_text=True, log=lines.append)
    names = [panel.name for panel in found.panels]
    assert "units" in names
    assert not {"curves", "markov"} & set(names)
    assert sum("log.jsonl" in line or "not made on this machine" in line for line in lines) == 2
    with pytest.raises(elman.UserError, match="not made on this machine: name its data with `text`"):
        elman.report(bare)


def test_data_that_has_changed_since_training_is_an_error(model, tmp_path):
    run = elman.load(model.path)
    text = Path(run.run.config.paths[0])
    kept = text.read_text()
    text.write_text(kept.replace("def", "fed"))
    try:
        with pytest.raises(elman.UserError, match=r"has changed since|now has other tokens"):
            elman.report(run, length=400)
    finally:
        text.write_text(kept)


def test_a_run_of_a_task_without_a_report_has_its_curves(model, monkeypatch):
    monkeypatch.setattr(type(model.task), "kind", "forecast")
    assert [panel.name for panel in elman.report(model).panels] == ["curves"]
    with pytest.raises(elman.UserError, match="a run of 'forecast', reads no text: leave out `text`"):
        elman.report(model, text="some.txt")


def test_an_unknown_option_is_an_error_with_the_nearest(model):
    with pytest.raises(elman.UserError, match="unknown option 'txt': did you mean 'text'"):
        elman.report(model, txt="a")
