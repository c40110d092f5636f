"""The report: what is recorded, what is painted, what is written; on a small model of a small program."""

import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import elman
from elman.cells.shipped import shipped
from elman.cells.tap import hold, record
from elman.inspect import painting
from elman.inspect.activations import Activations, Look, spelled
from elman.inspect.curves import curves, read
from elman.inspect.expectation import bits
from elman.inspect.gates import gates
from elman.inspect.live import valued
from elman.inspect.look import look, side_by_side
from elman.inspect.panel import plain, table
from elman.inspect.recording import listen
from elman.tasks.lm import LM
from elman.tokenizers.byte import ByteTokenizer
from elman.tokenizers.char import CharTokenizer

PROGRAM = '''
def name_{n}(first, second={n}):
    """Adds {n} to what it is given."""
    # a remark, about {n}
    if first > {n}:
        return [first + second, "some text {n}"]
    return {{"key": first}}

'''


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "program.py").write_text("".join(PROGRAM.format(n=number) for number in range(150)))
    return elman.train("lm", folder / "program.py", steps=60, hidden=24, batch_size=8, seq_len=32, layers=2,
                       precision="float32", device="cpu", out=folder / "run")  # fmt: skip


@pytest.fixture(scope="module")
def report(model):
    return look(model, length=2500)


def test_a_recording_is_what_single_steps_give(model, monkeypatch):
    monkeypatch.setattr("elman.inspect.recording.CHUNK", 7)
    ids = np.array(model.tokens.encode(PROGRAM[:40].replace("{n}", "1")))
    seen = listen(model.task, ids)
    with torch.no_grad():
        stepper, states, log = model.task.stepper(), [], []
        state = stepper.begin({"input": torch.zeros(1, 1)})
        for token in ids:
            logits, state = stepper.step(torch.tensor([token]), state)
            states.append(state[1][1][0])
            log.append(logits[0].log_softmax(-1))
    np.testing.assert_allclose(seen.values["2.c"], torch.stack(states), atol=2e-3, rtol=1e-3)  # float16
    expected = [-log[t][ids[t + 1]].item() for t in range(len(ids) - 1)]
    assert np.isnan(seen.nats[0])
    np.testing.assert_allclose(seen.nats[1:], expected, atol=1e-4)
    best = torch.stack(log).topk(5, -1)
    np.testing.assert_allclose(seen.chances, best.values.exp(), atol=1e-5)
    assert (seen.likely == best.indices.numpy()).mean() > 0.98  # but for ties


def test_a_large_recording_lies_on_the_disk(model, monkeypatch):
    ids = np.array(model.tokens.encode("def name"))
    inside = listen(model.task, ids)
    monkeypatch.setattr("elman.inspect.recording.IN_MEMORY", 100)
    outside = listen(model.task, ids)
    assert all(isinstance(value, np.memmap) for value in outside.values.values())
    for place, value in inside.values.items():
        np.testing.assert_array_equal(value, outside.values[place])


def test_only_what_is_wanted_is_kept(model):
    seen = listen(model.task, np.array(model.tokens.encode("def")), lambda place: place == "1.f")
    assert list(seen.values) == ["1.f"]


def test_bytes_are_spelled_as_characters_with_their_last_byte():
    text = "añ한b"
    ids = np.array(ByteTokenizer().encode(text))
    found, place = spelled(ByteTokenizer(), ids)
    assert found == text
    assert place.tolist() == [0, 2, 5, 6]
    assert bits(np.log(2) * np.ones(len(ids)), place).tolist() == pytest.approx([1, 2, 3, 1])
    assert spelled(CharTokenizer("ab"), np.array([0, 1, 1]))[1].tolist() == [0, 1, 2]


class Outline(html.parser.HTMLParser):
    """What a page is made of; raises nothing for what is not closed, so that is counted."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.links, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "link", "br", "path", "use", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "use"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "script" not in self.open:
            self.text += data


def test_a_report_is_one_page_that_asks_for_nothing_else(report, tmp_path):
    page = report.save(tmp_path / "out")
    text = page.read_text("utf-8")
    outline = Outline(text)
    assert outline.open == []
    assert all(link.startswith(("#", "data:")) for link in outline.links), outline.links
    assert "http" not in re.sub(r'xmlns[:\w]*="[^"]*"|http://www.w3.org/\S+|https?://\S+(?=["<])', "", text)
    assert len(text) < 5e6
    names = {panel.name for panel in report.panels}
    assert names >= {"units", "expectation", "strip", "gates", "gradient", "curves", "markov"}
    ids = [attributes.get("id") for tag, attributes in outline.tags if tag == "section"]
    assert ids == [panel.name for panel in report.panels]


def test_every_figure_is_json_and_every_picture_opens(report, tmp_path):
    report.save(tmp_path)
    figures = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert figures["units"]["units"][0] == "1.h.0"
    found = figures["units"]["properties"]
    assert {"string", "comment"} <= found.keys()
    assert len(found["string"]["all"]) == len(figures["units"]["units"]) == 2 * 2 * 24
    for file in (tmp_path / "report").glob("*.png"):
        image = Image.open(file)
        image.load()
        assert min(image.size) > 40
    assert len(list((tmp_path / "report").glob("*.png"))) > 5


def test_a_report_replaces_the_one_before(report, tmp_path):
    report.save(tmp_path)
    (tmp_path / "report" / "old.png").write_bytes(b"")
    report.save(tmp_path)
    assert not (tmp_path / "report" / "old.png").exists()


def test_a_report_without_text_holds_no_line_of_it(model, tmp_path):
    quiet = look(model, length=2500, quiet=True)
    page = quiet.save(tmp_path).read_text("utf-8") + (tmp_path / "report.json").read_text("utf-8")
    for line in {line.strip() for line in PROGRAM.splitlines() if len(line.strip()) > 8}:
        assert line.partition("{")[0].strip()[:14] not in page, line
    assert not list((tmp_path / "report").glob("unit*"))


def test_a_report_shows_itself_in_a_notebook(report):
    assert Outline(report._repr_html_()).open == []
    assert Outline(report.panels[0]._repr_html_()).open == []


def test_another_text_and_a_property_of_ones_own(model, tmp_path):
    (tmp_path / "other.txt").write_text("".join(PROGRAM.format(n=n) for n in range(150, 180)))

    def vowel(text):
        """a vowel"""
        return [char in "aeiou" for char in text]

    found = (
        look(model, text=str(tmp_path / "other.txt"), own=[vowel], language="python").panels[0].figures["properties"]
    )
    assert found["vowel"]["meaning"] == "a vowel"
    assert found["vowel"]["probe"] > 0.95  # it is what has just been read


def test_the_values_of_a_unit_are_those_of_the_record(model):
    here = Activations(model, Look(length=300))
    with torch.no_grad(), record() as seen:
        model.task.recurrent(model.task.lookup(torch.from_numpy(here.ids.astype(np.int64))[None]))
    for unit, place in (("2.c.5", "2.c"), ("1.i.3", "1.i")):
        expected = seen[place][0, :, int(unit.rpartition(".")[2])]
        np.testing.assert_allclose(here.unit(unit), expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("prompt", ["", "def "])
def test_what_is_painted_while_writing_has_the_values_of_what_was_written(model, prompt):
    with record() as seen:
        _, given, _ = model.task.opening(model.config["data"], prompt, (), "error", print)
        pieces = (piece for (piece,) in model.stream(prompt, 150, seed=3))
        found = list(valued(pieces, seen, "1.c.7", len(given)))
    text = "".join(piece for piece, _ in found)
    assert text == model.sample(prompt, 150, seed=3)
    ids = np.array([*given, *model.tokens.encode(text)])
    expected = listen(model.task, ids).values["1.c"][len(given) :, 7]
    np.testing.assert_allclose([value for _, value in found][:-1], expected[:-1], atol=2e-3, rtol=1e-3)
    assert found[-1][1] == 0.0


def test_a_held_unit_changes_what_is_written(model):
    free = model.sample("", 200, seed=1)
    with hold({"2.h.3": 5.0}):
        assert model.sample("", 200, seed=1) != free
    assert model.sample("", 200, seed=1) == free


@pytest.mark.parametrize("name", shipped())
def test_what_a_gate_does_at_one_is_said_in_a_word(name):
    found = gates(elman.Recurrent(2, 3, name).cells[0])
    assert all(word != "open" or place.startswith("t") for place, word in found.items())  # rhn has any number of t


def test_a_gate_is_found_in_a_cell_of_ones_own(tmp_path):
    found = gates(elman.Recurrent(2, 3, str(Path(__file__).parent.parent / "examples/leaky_gru.py:LeakyGRU")).cells[0])
    assert set(found) == {"r", "z"}


def test_curves_are_those_of_the_log_and_several_runs_lie_over_each_other(model, tmp_path):
    log = read(model.path / "log.jsonl")
    lines = [json.loads(line) for line in (model.path / "log.jsonl").read_text().splitlines()]
    assert log["loss"].tolist() == [line["loss"] for line in lines if not line.get("end")]
    both = side_by_side([model.path, model.path])
    assert both.panels[0].name == "curves"
    (tmp_path / "log.jsonl").write_text("{}\nnot json\n")
    with pytest.raises(elman.UserError, match="damaged"):
        read(tmp_path / "log.jsonl")
    with pytest.raises(elman.UserError, match="no line"):
        curves([type(model.run)(tmp_path / "nothing", {})]) if (tmp_path / "nothing").mkdir() else (
            (tmp_path / "nothing/log.jsonl").write_text(""),
            curves([type(model.run)(tmp_path / "nothing", {})]),
        )


def test_scaling_keeps_signs_and_gates_go_from_blue_to_red():
    assert painting.scaled(np.array([0.0, 0.5, 1.0]), gate=True).tolist() == [-1, 0, 1]
    assert np.abs(painting.scaled(np.array([-0.1, 0.1]))).max() < 0.25  # what hardly moves is pale
    assert painting.scaled(np.array([-34.0, -4.0] * 50))[:2].tolist() == [-1, 1]  # low and high, whatever the sign
    assert painting.scaled(np.array([])).tolist() == []


def test_the_terminal_gets_every_character_and_no_other_control():
    text = "if a:\n\treturn '\x1b[2J한'"
    painted = painting.terminal(text, np.linspace(-1, 1, len(text)))
    bare = re.sub(r"\x1b\[[\d;]*m", "", painted)
    assert bare == text.replace("\x1b", "\ufffd")


def test_a_painted_page_keeps_the_text_whatever_is_in_it():
    text = "<b>&amp;</b>\r\n\x00 한 \ud800 \U0001f600\n"
    outline = Outline(painting.page(text, np.zeros(len(text))))
    assert outline.text.removeprefix("\n") == text.replace("\r", "\ufffd").replace("\x00", "\ufffd").replace(
        "\ud800", "\ufffd"
    )


@pytest.mark.parametrize("text", ["", "x" * 10_000, "한국어 텍스트\n" * 30, "\t\n\n\r\n"])
def test_any_text_makes_a_picture(text):
    Image.open(__import__("io").BytesIO(painting.picture([("a heading", text, np.zeros(len(text)))]))).load()


def test_what_no_font_has_is_known():
    assert painting.uncovered("if a: é € α\n\t\0") == []
    rare = "\U00012345x\U00020000"  # a cuneiform sign, and a rare Chinese one
    best = painting._covered(painting.font_file(rare))
    assert painting.uncovered(rare) == [char for char in rare if char != "x" and char not in best]


def test_plain_is_json_without_nan():
    found = plain({"a": np.array([1.0, np.nan]), 2: (np.float32(1.5), np.int64(3)), "c": float("inf")})
    assert json.loads(json.dumps(found, allow_nan=False)) == {"a": [1.0, None], "2": [1.5, 3], "c": None}


def test_predicting_is_what_the_loss_is_of(model):
    source = model.task.source(model.config, "valid", None, None)
    batch = source.batch(0, 0)
    with torch.no_grad():
        _, _, sums = model.task.loss(batch)
        logits, _ = model.task.logits(batch["input"])
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch["target"].flatten(), reduction="sum", ignore_index=-100
    )
    assert float(nats) == pytest.approx(float(sums["nats"]), rel=1e-5)
    assert isinstance(model.task, LM)


def test_a_run_without_its_log_and_its_text_is_looked_into_on_another(model, tmp_path):
    (tmp_path / "other.txt").write_text("".join(PROGRAM.format(n=n) for n in range(150, 180)))
    (tmp_path / "bare").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "bare" / name).write_bytes((model.path / name).read_bytes())
    bare, told = elman.load(tmp_path / "bare"), []
    bare.config["data"] |= {"paths": [str(tmp_path / "gone.txt")], "key": "0"}
    names = [panel.name for panel in look(bare, text=str(tmp_path / "other.txt"), log=told.append).panels]
    assert "units" in names
    assert not {"curves", "markov"} & set(names)
    assert sum("log.jsonl" in line or "gone.txt" in line for line in told) == 2


def test_a_run_of_a_task_that_reads_no_text_shows_its_training(model, monkeypatch):
    monkeypatch.setattr(type(model.task), "kind", "draw")
    assert [panel.name for panel in look(model).panels] == ["curves"]
    with pytest.raises(elman.UserError, match="run of 'draw', which reads no text: leave out --text"):
        look(model, text="some.txt")


def test_what_is_wrong_with_an_option_is_said_in_python_too(model):
    with pytest.raises(elman.UserError, match="unknown option 'txt': did you mean 'text'"):
        look(model, txt="a")


def test_a_property_that_cannot_be_scored_is_told(model):
    def same(text):
        return [1.0] * len(text)

    told = []
    look(model, length=400, own=[same], quiet=True, log=told.append)
    assert any("the property same is not scored" in line for line in told)


def test_no_control_character_reaches_a_page(report):
    assert table(["a"], [["x\x00y\x1f\ud800"]]).count("\ufffd") == 3
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", report.page())
