"""Trained captioners: a few images are overfitted, a run is resumed exactly, and attention points at objects."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from elman.errors import UserError
from elman.metrics.pointing import pointing
from elman.options import build, check
from elman.tasks.caption import Caption, CaptionOptions
from elman.training import loop
from elman.training.api import load, train
from elman.training.run import Run
from runs import RecordingReporter, assert_same, interrupt_after, measure, source

CAPTIONS = [f"a {size} {colour} {shape}" for size in ("small", "large") for colour in ("red", "blue")
            for shape in ("circle", "square")]  # fmt: skip
TINY = {"hidden": 32, "embedding": 24, "batch_size": 8, "image_size": 16, "lr": 0.01, "warmup": 5, "dropout": 0.0,
        "preview": False, "precision": "float32", "device": "cpu", "backend": "native", "valid": "0",
        "test": "0"}  # fmt: skip
DECODERS = [{"decoder": "soft"}, {"decoder": "hard"},
            *({"decoder": "plain", "image_enters": way} for way in ("add", "state", "first"))]  # fmt: skip


def album(folder):
    """A table of eight images and their captions."""
    for number, words in enumerate(CAPTIONS):
        image = Image.new("RGB", (16, 16), "white")
        radius, pen = (7 if "large" in words else 3), ImageDraw.Draw(image)
        draw = pen.ellipse if "circle" in words else pen.rectangle
        draw((8 - radius, 8 - radius, 7 + radius, 7 + radius), "red" if "red" in words else "blue")
        image.save(folder / f"{number}.png")
    rows = [f"{number}.png,{words}" for number, words in enumerate(CAPTIONS)]
    (folder / "t.csv").write_text("\n".join(["image,caption", *rows]))
    return folder / "t.csv"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return album(tmp_path_factory.mktemp("album"))


@pytest.mark.parametrize(
    "decoder",
    [pytest.param(each, marks=[] if each["decoder"] == "soft" else [pytest.mark.slow], id="-".join(each.values()))
     for each in DECODERS],
)  # fmt: skip
def test_a_few_images_are_overfitted(trained, images, decoder):
    model = load(trained("caption", images, **TINY, **decoder, steps=70))
    rows = source(model, "train")
    found = {answer.row: answer for answer in model.task.answers(model.model, rows)}
    assert [found[row]["caption"] for row in range(8)] == CAPTIONS
    for row, answer in found.items():
        assert (answer.attention is None) == (decoder["decoder"] == "plain")
        assert answer.attention is None or answer.attention.keys is rows.table.columns["image"][row]
    assert measure(model, "train")["bleu4"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("decoder", "orders"),
    [
        pytest.param(DECODERS[0], (0,), id="soft"),
        pytest.param(DECODERS[1], (1,), id="hard"),
        pytest.param(DECODERS[3], (0, 1), id="plain", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_equals_an_unbroken_one_with_and_without_workers(tmp_path, images, decoder, orders):
    options = TINY | decoder | {"batch_size": 3, "steps": 9, "eval_every": 3, "dropout": 0.3, "valid": "0.3"}
    train("caption", images, out=tmp_path / "unbroken", **options, workers=0)
    train("caption", images, out=tmp_path / "ahead", **options, workers=1)
    assert_same(tmp_path / "ahead", tmp_path / "unbroken", "another process")
    for workers in orders:
        run = tmp_path / f"run{workers}"
        with interrupt_after(2), pytest.raises(loop.Interrupted):
            train("caption", images, out=run, **options, workers=workers)
        with interrupt_after(3), pytest.raises(loop.Interrupted):
            train("caption", resume=run, workers=1 - workers)
        train("caption", resume=run, workers=workers)
        assert_same(run, tmp_path / "unbroken", f"{workers} workers")


def test_the_baseline_of_the_reward_is_stored(tmp_path, images):
    model = train("caption", images, out=tmp_path / "run", **TINY, decoder="hard", steps=6)
    baseline = float(model.model.decoder.reinforce.baseline)
    assert -5 < baseline < -0.05
    assert float(load(tmp_path / "run").model.decoder.reinforce.baseline) == baseline
    stored = Run.open(tmp_path / "run").load_resume().model["decoder.reinforce.baseline"]
    assert float(stored) == baseline


def test_an_empty_caption_is_a_bad_row(tmp_path):
    path = album(tmp_path)
    path.write_text(path.read_text().replace(CAPTIONS[2], "  "))
    with pytest.raises(UserError, match=r"t\.csv row 4 has no caption; .*skip.bad"):
        train("caption", path, out=tmp_path / "run", **TINY, steps=1)
    model = train("caption", path, out=tmp_path / "run", **TINY, steps=1, skip_bad=True)
    assert len(source(model, "train").table) == 7


def test_a_preview_has_a_reference_and_the_generated_caption_of_each_image(tmp_path, images):
    reporter = RecordingReporter()
    options = TINY | {"valid": "0.5", "steps": 2, "preview": True}
    model = train("caption", images, out=tmp_path / "run", reporter=reporter, **options)
    known = set(source(model).table.columns["caption"])
    assert reporter.previews
    for preview in reporter.previews:
        lines = [line.split(" → ") for line in preview.split("\n")]
        assert len(lines) == 3
        assert len({reference for reference, _ in lines}) == 3
        for reference, _ in lines:
            assert any(_matches(reference, caption) for caption in known)


def _matches(text, caption):
    """Whether a text is a caption but for words that are read as the unknown one."""
    words = zip(text.replace("<unk>", " <unk>").split(), caption.split(), strict=True)
    return all(word in (other, "<unk>") for word, other in words)


def test_attention_metrics_are_of_the_attention_of_the_answers(trained):
    """Of images that know the boxes of their objects."""
    options = TINY | {"steps": 3, "image_size": 32, "batch_size": 16, "valid": "0.2"}
    model = load(trained("caption", "builtin:scenes:count=60", **options))
    rows, found = source(model).table, []
    answers = {}
    for answer in model.task.answers(model.model, source(model)):
        answers[rows.columns["image"][answer.row].name] = answer
    for answer in answers.values():
        boxes = rows.columns["image"][answer.row].boxes(answer["caption"])
        if boxes:
            found += pointing(answer.attention.weights, answer.attention.queries, boxes)
    metrics = measure(model)
    assert metrics["images"] == len(answers)
    assert {"bleu1", "bleu2", "bleu3", "bleu4", "cider"} <= set(metrics)
    if found:
        assert metrics["attention"] == pytest.approx(np.mean([each.share for each in found]))


# options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decoder": "soft", "image_enters": "state"}, "`image_enters` state has no effect with `decoder` soft"),
        ({"decoder": "hard", "image_enters": "add"}, "`image_enters` add has no effect with `decoder` hard"),
        ({"decoder": "hard", "coverage": 1.0}, "`coverage` 1.0 has no effect with `decoder` hard"),
        ({"decoder": "plain", "coverage": 0.0}, "`coverage` 0.0 has no effect with `decoder` plain"),
        ({"decoder": "soft", "reinforce_weight": 0.1}, "`reinforce_weight` 0.1 has no effect with `decoder` soft"),
        ({"decoder": "plain", "entropy": 0.1}, "`entropy` 0.1 has no effect with `decoder` plain"),
        ({"decoder": "soff"}, "did you mean 'soft'"),
        ({"encoder": "residual", "fine_tune": True}, "`fine_tune`"),
        ({"encoder": "vgg"}, "unknown encoder 'vgg'"),
        ({"tokens": "byte", "lower": True}, "`lower`"),
        ({"tokens": "char", "vocab_size": 10}, "`vocab_size`"),
    ],
)
def test_an_option_without_effect_or_an_unknown_word_is_an_error(tmp_path, images, options, words):
    with pytest.raises(UserError) as raised:
        train("caption", images, out=tmp_path / "run", **TINY | {"image_size": 16} | options, steps=1)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_options_choose_the_sizes(images):
    task, none = Caption(), {"valid": "0", "test": "0"}
    specs = [task.prepare([str(images)], CaptionOptions(decoder=decoder, **none)).spec for decoder in ("soft", "hard")]
    assert [(spec.hidden, spec.embedding, spec.dropout, spec.entropy) for spec in specs] == [
        (256, 128, 0.1, 0.0), (256, 128, 0.1, 0.002)
    ]  # fmt: skip
    chosen = build(CaptionOptions, {"hidden": 10, "entropy": 0.3, "image_size": 24} | none)
    check(chosen)
    spec = task.prepare([str(images)], chosen).spec
    assert (spec.hidden, spec.embedding, spec.entropy, spec.encoder.image_size) == (10, 5, 0.3, 24)
    assert spec.tokenizer.kind == "word"
