"""Labels of clips: windows, whole clips and single frames agree; tables of every kind; the one line of a mistake."""

import csv
import itertools
import json
import weakref
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from elman.data.clip import Frame, LazyClip
from elman.data.clip_fields import joined
from elman.data.moving import MovingClip
from elman.data.table import Table
from elman.inspect.labelled_clips import LabelledClips
from elman.inspect.report_options import ReportOptions
from elman.inspect.video import changes_panel
from elman.tasks.span_stream import predicted_spans
from elman.tasks.video import Video, frame_probabilities
from elman.tasks.video_model import VideoModel
from elman.tasks.video_spec import VideoOptions
from elman.training.api import load, train
from films import film, sound
from runs import assert_same, interrupt_after, measure, source
from user_errors import fails

TINY = {"hidden": 8, "batch_size": 3, "precision": "float32", "device": "cpu", "preview": False}
CLIPS, LABELS = "builtin:clips:count=20,frames=40", "builtin:clip_labels:count=60,frames=5"
ALL = {"valid": "0", "test": "0"}
OWN_CELL = """
import torch
from elman import Cell

class NoMemory(Cell):
    gates = ("h",)

    def step(self, x, h):
        return (torch.tanh(x.h),)
"""


def prepared(paths, **options):
    """A random model, and its data."""
    named = [str(path) for path in ([paths] if isinstance(paths, str) or not isinstance(paths, list) else paths)]
    data = Video().prepare(named, VideoOptions(**{"hidden": 8, "batch_size": 3, **options}))
    torch.manual_seed(1)
    model = VideoModel(data.spec).eval()
    for each in model.modules():
        if isinstance(each, torch.nn.BatchNorm2d):  # random, so that evaluation differs from training
            torch.nn.init.uniform_(each.running_var, 0.5, 2)
    return model, data


def features(folder, count=6, frames=12, width=3, labels="ab"):
    """Features whose first column tells the label, in a folder with a table; a label for each half of a clip."""
    rng = np.random.default_rng(0)
    rows = ["file,start,end,label"]
    for number in range(count):
        values = rng.normal(size=(frames + number, width))
        values[:5, 0] += 3
        np.save(folder / f"{number}.npy", values)
        rows += [f"{number}.npy,0,0.5,{labels[0]}", f"{number}.npy,0.5,{(frames + number) / 10},{labels[1]}"]
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder / "labels.csv"


# the network


def test_the_gradient_is_that_of_finite_differences(tmp_path):
    model, data = prepared(features(tmp_path, 2, frames=6), fps=10.0, batch_size=1, seq_len=40, dropout=0.0, **ALL)
    batch = data.train.batch(0, 0)
    model.double()
    batch["input"] = batch["input"].double()
    weights = dict(model.named_parameters())
    names = ["head.weight", "recurrent.cells.0.W"]

    def loss(*values):
        return torch.func.functional_call(model, weights | dict(zip(names, values, strict=True)), (batch,)).mean

    values = tuple(weights[name].detach().clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(loss, values, atol=1e-6)


def test_frames_one_at_a_time_have_the_probabilities_of_whole_clips():
    model, data = prepared(CLIPS, layers=2)
    footage = data.valid.footage
    for probabilities, index in frame_probabilities(model, footage, range(len(footage))):
        stepper, state = model.stepper(), None
        for value, expected in zip(footage.frames[footage.of_clip(index)], probabilities, strict=True):
            x = torch.from_numpy(value)[None]
            logits, state = stepper(x, stepper.begin(1) if state is None else state)
            assert_close(logits[0].softmax(-1), torch.from_numpy(expected))


@torch.no_grad()
def test_clips_in_chunks_and_together_have_the_probabilities_of_each_alone(monkeypatch, tmp_path):
    model, data = prepared(features(tmp_path), fps=10.0, **ALL)
    footage = data.train.footage
    alone = {}
    for index in range(len(footage)):
        batch = joined("input", [footage.frames[footage.of_clip(index)]])
        alone[index] = model.frame_logits(batch)[0][0].softmax(-1)
    monkeypatch.setattr("elman.tasks.video.CHUNK", 5)
    monkeypatch.setattr("elman.tasks.video.CLIPS", 4)
    for probabilities, index in frame_probabilities(model, footage, range(len(footage))):
        assert_close(torch.from_numpy(probabilities), alone.pop(index))
    assert not alone


@pytest.mark.parametrize("bptt", [None, 3, 11])
@torch.no_grad()
def test_windows_carry_the_state_and_reset_it_at_every_clip(bptt, tmp_path):
    """The loss of an epoch of windows, in rows that begin with a clip, is that of the clips alone."""
    model, data = prepared(features(tmp_path, 3, frames=12), fps=10.0, batch_size=1, seq_len=7, bptt=bptt, **ALL)
    total, count, state = 0.0, 0, None
    for index in range(len(data.train)):
        loss = model.loss(data.train.batch(0, index), state)
        total, count, state = total + float(loss.sums["loss"]), count + int(loss.count), loss.state
    footage, target = data.train.footage, torch.from_numpy(data.train.target)
    expected = 0.0
    for index in range(len(footage)):
        part = footage.of_clip(index)
        logits = model.frame_logits(joined("input", [footage.frames[part]]))[0][0]
        expected += float(torch.nn.functional.cross_entropy(logits, target[part], reduction="sum"))
    assert count == len(target)
    assert total == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_the_label_of_a_clip_depends_on_none_of_those_beside_it():
    model, data = prepared(LABELS, pooling="attention", bidirectional=True)
    field = data.valid.fields["input"]
    batch = data.valid.take(np.arange(4))
    together = model.clip_logits(batch)
    for row in range(4):
        assert_close(model.clip_logits(data.valid.take(np.array([row])))[0], together[row])
    assert field.take("input", np.array([1]))["input"].shape[0] == 5


# streams


class Counted(LazyClip):
    """A clip without end, that counts how many of its frames are alive."""

    name = "endless"

    def __init__(self):
        self.alive = weakref.WeakSet()
        self.most = 0

    def frames(self, fps):
        rng = np.random.default_rng(0)
        for index in itertools.count():
            frame = Frame(index / 10, rng.normal(size=3).astype(np.float32))
            self.alive.add(frame)
            self.most = max(self.most, len(self.alive))
            yield frame


def test_spans_come_while_a_clip_without_end_is_read_of_which_few_frames_are_in_memory(tmp_path):
    model, _ = prepared(features(tmp_path), fps=10.0, **ALL)
    clip = Counted()
    answers = Video().predict(model, Table("the input", {"file": [clip]}, [1]), print)
    spans = [next(answers) for _ in range(60)]
    assert all(first["end"] == second["start"] for first, second in itertools.pairwise(spans))
    assert clip.most <= 3


def test_a_predicted_span_has_the_mean_probability_of_its_label():
    steps = [(0.0, [0.9, 0.1]), (0.1, [0.6, 0.4]), (0.2, [0.2, 0.8]), (0.3, [0.7, 0.3])]
    found = list(predicted_spans(((time, np.array(each)) for time, each in steps), ("a", "b")))
    assert [(span.label, span.start, span.end, span.frames) for span in found] == [
        ("a", 0.0, 0.2, 2), ("b", 0.2, 0.3, 1), ("a", 0.3, pytest.approx(0.4), 1)]  # fmt: skip
    assert [span.probability for span in found] == pytest.approx([0.75, 0.8, 0.7])
    assert list(predicted_spans([], ("a", "b"))) == []


# data


def test_a_table_of_spans_a_table_of_files_and_folders_by_class_are_read(tmp_path):
    for number, label in enumerate("aabb"):
        (tmp_path / "classes" / label).mkdir(parents=True, exist_ok=True)
        film(tmp_path / "classes" / label / f"{number}.mkv", [10 * number, 200] * 3, size=16)
    rows = [f"classes/{label}/{number}.mkv" for number, label in enumerate("aabb")]
    (tmp_path / "spans.csv").write_text("file,start,end,label\n" + "".join(f"{row},0.2,0.4,x\n" for row in rows))
    (tmp_path / "files.csv").write_text("file,label\n" + "".join(f"{row},{row[8]}\n" for row in rows))
    _, data = prepared(tmp_path / "spans.csv", **ALL)
    assert data.spec.labels.labels == ("background", "x")
    assert data.train.target.tolist() == [0, 0, 1, 1, 0, 0] * 4
    for path in (tmp_path / "files.csv", tmp_path / "classes"):
        _, data = prepared(path, **ALL)
        assert not data.spec.per_frame
        assert data.train.fields["target"].tolist() == [0, 0, 1, 1]
        _, data = prepared(path, per="frame", **ALL)
        assert data.train.target.tolist() == [0] * 12 + [1] * 12
        assert data.spec.input.encoder.image_size == 16


def test_folders_of_frames_by_class_are_a_clip_each(tmp_path):
    for label, clip, number in itertools.product("ab", "xy", range(3)):
        (tmp_path / label / clip).mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 40 * number).save(tmp_path / label / clip / f"{number}.png")
    _, data = prepared(tmp_path, **ALL)
    assert np.diff(data.train.fields["input"].footage.starts).tolist() == [3, 3, 3, 3]
    assert data.spec.input.encoder.channels == 1


def test_a_split_never_divides_a_clip():
    _, data = prepared("builtin:clips:count=30,frames=60")
    names = [{str(clip) for clip in each.table.columns["file"]} for each in (data.train, data.valid, data.test)]
    assert [len(each) for each in names] == [24, 3, 3]
    assert not (names[0] & names[1] | names[0] & names[2] | names[1] & names[2])


def test_mistakes_of_tables_are_errors_of_one_line(tmp_path):
    path = features(tmp_path)
    lines = path.read_text().splitlines()

    def changed(*rows, **options):
        (tmp_path / "bad.csv").write_text("\n".join([*lines, *rows]))
        return lambda: prepared(tmp_path / "bad.csv", fps=10.0, **ALL | options)

    fails(changed("0.npy,0.4,0.6,a"), "bad.csv row 14 has a span, 0.40 to 0.60 s, that overlaps", "bad.csv row 2")
    fails(changed("5.npy,2,3,a"), "bad.csv row 14 has a span, 2.00 to 3.00 s, that lies outside of its clip")
    fails(changed("9.npy,0,1,a"), "bad.csv row 14: ", "9.npy does not exist")
    fails(changed("5.npy,now,3,a"), "bad.csv row 14 has the start 'now': expected a number of seconds")
    fails(lambda: prepared(path, **ALL), "have no time stamps", "pass `fps`")
    fails(lambda: prepared(path, image_size=9, fps=10.0, **ALL), "`image_size` has no effect: the frames of ")
    fails(changed(per="clip"), "`per` clip: ", " has spans, several labels a clip: leave it out")
    np.save(tmp_path / "7.npy", np.zeros((5, 4)))
    fails(changed("7.npy,0,0.5,a"), "7.npy has 4 features a frame: the model takes 3")
    (tmp_path / "files.csv").write_text("file,label\n0.npy,a\n1.npy,b\n0.npy,b\n")
    fails(lambda: prepared(tmp_path / "files.csv", **ALL), "files.csv row 4 has a second label of 0.npy, after row 2")
    (tmp_path / "files.csv").write_text("file,label\n0.npy,a\n1.npy,a\n")
    fails(lambda: prepared(tmp_path / "files.csv", **ALL), "has one class only, 'a'")


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (CLIPS, {"pooling": "mean"}, "`pooling` mean has no effect with `per` frame"),
        (CLIPS, {"bidirectional": True}, "`bidirectional` has no effect with `per` frame"),
        (CLIPS, {"encoder": "shalow"}, "unknown encoder 'shalow': it is residual, shallow, mlp, or timm:NAME"),
        (CLIPS, {"max_length": 9}, "`max_length` 9 has no effect with `per` frame"),
        (LABELS, {"seq_len": 9}, "`seq_len` 9 has no effect with `per` clip"),
        (LABELS, {"bptt": 9}, "`bptt` 9 has no effect with `per` clip"),
        (LABELS, {"background": "none"}, "`background` none has no effect with `per` clip"),
        (LABELS, {"fine_tune": True}, "`fine_tune` is for `encoder` timm:NAME"),
        (LABELS, {"encoder": "mlp", "embedding": 8}, "`embedding` has no effect: the encoder mlp gives one vector"),
    ],
)
def test_an_option_without_effect_is_an_error(data, options, words):
    fails(lambda: prepared(data, **options), words)


def test_sounds_of_another_sampling_rate_are_refused(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, 4000)
    for name, rate in (("a", 8000), ("b", 8000), ("c", 16_000)):
        sound(tmp_path / f"{name}.wav", noise, rate)
    (tmp_path / "t.csv").write_text("file,label\na.wav,x\nb.wav,y\n")
    model, _ = prepared(tmp_path / "t.csv", **ALL)
    assert model.recurrent.input_size == 40
    fails(lambda: list(Video().predict(model, Table("t", {"file": [str(tmp_path / "c.wav")]}, [1]), print)),
          "c.wav has 16,000 samples per second: the others have 8,000 samples per second; resample it")  # fmt: skip


# runs


@pytest.fixture(scope="module")
def frames_run(tmp_path_factory):
    return train("video", CLIPS, out=tmp_path_factory.mktemp("video") / "frames", steps=4, seq_len=8, **TINY).path


@pytest.fixture(scope="module")
def clips_run(tmp_path_factory):
    return train("video", LABELS, out=tmp_path_factory.mktemp("video") / "clips", steps=4, **TINY).path


def test_the_command_line_prints_the_spans_of_clips(elman, frames_run, tmp_path):
    done = elman("predict", frames_run, "clip:3:30", "clip:4:12")
    rows = list(csv.reader(done.out.splitlines(), delimiter="\t"))
    assert done.code == 0
    for name, end in (("clip:3:30", 1.2), ("clip:4:12", 0.48)):
        spans = [(float(start), float(stop)) for file, start, stop, *_ in rows if file == name]
        assert (spans[0][0], spans[-1][1]) == (0, end)
        assert all(first[1] == second[0] for first, second in itertools.pairwise(spans))
    lines = [json.loads(line) for line in elman("predict", frames_run, "clip:3:30", "--json").out.splitlines()]
    assert [f"{each['start']:.2f}" for each in lines] == [start for file, start, *_ in rows if file == "clip:3:30"]
    (tmp_path / "clips.csv").write_text("file,speaker\nclip:3:30,x\nclip:4:12,y\nclip:3:30,z\n")
    done = elman("predict", frames_run, "--file", tmp_path / "clips.csv", "--out", tmp_path / "spans.csv")
    with (tmp_path / "spans.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["label"] for row in table] == [row[3] for row in rows]
    assert {row["speaker"] for row in table} == {"x", "y"}


def test_the_command_line_prints_the_label_of_clips(elman, clips_run):
    done = elman("predict", clips_run, "clip:3:9:left", "clip:4:9:up")
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[0] for row in rows] == ["clip:3:9:left", "clip:4:9:up"]
    assert all(float(probability) > 1 / 9 for *_, probability in rows)


@pytest.mark.parametrize("name", ["frames", "clips"])
def test_eval_and_the_summary_have_the_metrics(elman, name, frames_run, clips_run):
    run = {"frames": frames_run, "clips": clips_run}[name]
    found = json.loads(elman("eval", run, "--json", "--split", "test").out)
    expected = {"frames": {"accuracy", "edit", "f1_10", "f1_25", "f1_50"}, "clips": {"accuracy", "macro_f1"}}[name]
    assert expected <= found.keys()
    if name == "clips":  # windows may begin within a clip
        assert found["accuracy"] == pytest.approx(found["correct"])
    summary = json.loads((run / "summary.json").read_text())
    assert expected <= summary["val_metrics"].keys()


def test_the_report_of_frames_has_its_panels_and_images(elman, frames_run, tmp_path):
    done = elman("inspect", frames_run, "--out", tmp_path)
    assert done.code == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report)[:7] == ["time-lines", "confusion", "changes", "wrong", "units", "gates", "gradient"]
    found = load(frames_run)
    expected = measure(found)
    assert {name: report["time-lines"][name] for name in expected} == pytest.approx(expected, rel=1e-4)
    counts = np.array(report["confusion"]["counts"])
    assert counts.trace() / counts.sum() == pytest.approx(expected["accuracy"])
    for clip in report["time-lines"]["clips"]:
        spans = MovingClip.parse(clip["clip"]).spans
        assert clip["true"] == [
            [pytest.approx(begin / 25), pytest.approx(end / 25), name] for begin, end, name in spans
        ]
    images = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"time-line-1.png", "wrong-1.png", "changes.png", "confusion.png", "gradient.png"} <= images
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_the_accuracy_near_changes_is_that_of_a_count(frames_run):
    here = LabelledClips(load(frames_run), ReportOptions())
    panel = changes_panel(here)
    right, total = Counter(), Counter()
    for clip in here.chosen:
        target, predicted = here.target(clip).tolist(), here.predictions[clip].tolist()
        for change in range(1, len(target)):
            for frame in range(len(target)):
                if target[change] != target[change - 1] and abs(frame - change) <= 10:
                    total[frame - change] += 1
                    right[frame - change] += target[frame] == predicted[frame]
    expected = [right[distance] / total[distance] for distance in range(-10, 11)]
    assert panel.metrics["accuracy"] == pytest.approx(np.array(expected))


def test_the_report_of_clips_and_of_features_has_its_panels(elman, clips_run, tmp_path):
    assert elman("inspect", clips_run, "--out", tmp_path / "clips").code == 0
    report = json.loads((tmp_path / "clips" / "report.json").read_text())
    assert list(report)[:3] == ["confusion", "hardest", "gates"]
    (tmp_path / "data").mkdir()
    train(
        "video", features(tmp_path / "data", 8), out=tmp_path / "run", fps=10.0, steps=2, valid="0.3", test="0", **TINY
    )
    assert elman("inspect", tmp_path / "run").code == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert "wrong" not in report  # frames that are no images
    assert "gradient" in report


def test_a_file_that_is_no_clip_is_one_line_and_exit_code_2(elman, frames_run, tmp_path):
    (tmp_path / "text.mp4").write_text("no film " * 20)
    np.save(tmp_path / "x.npy", np.zeros((4, 7)))
    (tmp_path / "empty").mkdir()
    for path, words in (
        (tmp_path / "text.mp4", "text.mp4 cannot be decoded as a video"),
        (tmp_path / "x.npy", "x.npy has vectors of 7 features: the model was trained on images"),
        (tmp_path / "empty", "empty has no frames: expected images, one for each"),
        (tmp_path / "none.mp4", "none.mp4 does not exist"),
    ):
        done = elman("predict", frames_run, path)
        assert (done.code, done.out) == (2, "")
        assert words in done.err.splitlines()[-1]


def test_a_run_that_was_interrupted_is_resumed_exactly(tmp_path):
    options = {"steps": 6, "seq_len": 8, "eval_every": 2} | TINY
    train("video", CLIPS, out=tmp_path / "unbroken", **options)
    with interrupt_after(3), pytest.raises(Exception, match="resume"):
        train("video", CLIPS, out=tmp_path / "broken", **options)
    train("video", CLIPS, resume=tmp_path / "broken")
    assert_same(tmp_path / "broken", tmp_path / "unbroken", "video")


def test_a_cell_of_the_users_own_runs_and_can_predict(tmp_path):
    (tmp_path / "cell.py").write_text(OWN_CELL)
    trained = train("video", CLIPS, out=tmp_path / "run", steps=2, cell=f"{tmp_path}/cell.py:NoMemory", **TINY)
    frames = [frame.value for frame in MovingClip(5, 12).frames(None)]
    assert len(frames) == 12
    answers = list(load(tmp_path / "run").predict(["clip:5:12"]))
    assert answers[-1]["end"] == pytest.approx(0.48)
    assert not any("U" in name and each.numel() for name, each in trained.model.recurrent.named_parameters())


@pytest.mark.slow
def test_what_can_be_learned_is_learned(tmp_path):
    trained = train("video", features(tmp_path, 12), out=tmp_path / "run", fps=10.0, epochs=60, **ALL, **TINY)
    assert measure(trained, "train")["accuracy"] > 0.9
    assert source(trained, "train") is not None
