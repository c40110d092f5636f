"""Trained models of questions: what can be learned is learned and nothing else, and a run is resumed exactly."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from elman.data import table_reader
from elman.data.table import Table
from elman.errors import UserError
from elman.nets.fusion import FUSIONS
from elman.training import loop
from elman.training.api import load, train
from runs import RecordingReporter, assert_same, interrupt_after, measure, source, summary
from test_caption_runs import CAPTIONS, album

TINY = {"hidden": 32, "embedding": 24, "batch_size": 8, "image_size": 16, "lr": 0.01, "warmup": 5, "dropout": 0.0,
        "preview": False, "precision": "float32", "device": "cpu", "backend": "native"}  # fmt: skip
ALL = {"valid": "0", "test": "0"}
SLOW = sorted(FUSIONS.keys() - {"stacked"})
fusions = pytest.mark.parametrize("fusion", ["stacked", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])


def questions(folder):
    """Two about each of eight images."""
    path = album(folder)
    found = ["image,question,answer,kind"]
    for number, words in enumerate(CAPTIONS):
        _, size, colour, _ = words.split()
        large = "yes" if size == "large" else "no"
        found += [f"{number}.png,what colour is it?,{colour},colour", f"{number}.png,is it large?,{large},size"]
    path.write_text("\n".join(found))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return questions(tmp_path_factory.mktemp("questions"))


@fusions
def test_a_few_answers_are_overfitted(trained, path, fusion):
    metrics = measure(load(trained("vqa", path, **TINY, **ALL, fusion=fusion, steps=120)), "train")
    assert metrics["accuracy"] == 1.0
    assert metrics["by_kind"]["colour"]["accuracy"] == metrics["by_kind"]["size"]["accuracy"] == 1.0
    assert metrics["prior"] == 0.25
    assert metrics["by_kind"]["colour"]["prior"] == metrics["by_kind"]["size"]["prior"] == 0.5
    assert metrics["question_only"] <= 0.5  # each question has either answer equally often
    assert metrics["image_only"] <= 0.5


@fusions
def test_shuffled_answers_are_not_predicted(tmp_path, fusion, monkeypatch):
    real = table_reader.read

    def shuffled(*arguments, **options) -> Table:
        found = real(*arguments, **options)
        answers = list(found.columns["answer"])
        random.Random(3).shuffle(answers)
        return replace(found, columns=found.columns | {"answer": answers})

    monkeypatch.setattr(table_reader, "read", shuffled)
    options = TINY | {"hidden": 16, "batch_size": 64, "steps": 25, "lr": 0.004, "eval_every": 5, "fusion": fusion}
    model = train("vqa", "builtin:scene_questions:count=250", out=tmp_path / "run", **options)
    counts = Counter(source(model, "test").table.columns["answer"])
    total = counts.total()
    most = max(counts.values()) / total
    entropy = -sum(n / total * math.log(n / total) for n in counts.values())
    assert measure(model, "test")["accuracy"] < most + 4 * math.sqrt(most * (1 - most) / total)
    assert summary(tmp_path / "run")["val_loss"] > entropy - 0.35


def test_a_resumed_run_equals_an_unbroken_one(tmp_path, path):
    options = TINY | {"batch_size": 3, "steps": 9, "eval_every": 3, "dropout": 0.3, "valid": "0.3", "test": "0"}
    train("vqa", path, out=tmp_path / "unbroken", **options, workers=1)
    with interrupt_after(2), pytest.raises(loop.Interrupted):
        train("vqa", path, out=tmp_path / "run", **options, workers=0)
    train("vqa", resume=tmp_path / "run", workers=1)
    assert_same(tmp_path / "run", tmp_path / "unbroken", "vqa")


@pytest.mark.parametrize(("column", "before"), [("question", "what colour is it?"), ("answer", "red")])
def test_an_empty_question_or_answer_is_a_bad_row(tmp_path, column, before):
    path = questions(tmp_path)
    path.write_text(path.read_text().replace(f",{before},", ", ,", 1))
    with pytest.raises(UserError, match=rf"t\.csv row 2 has no {column}; .*skip.bad"):
        train("vqa", path, out=tmp_path / "run", **TINY, **ALL, steps=1)
    model = train("vqa", path, out=tmp_path / "run", **TINY, **ALL, steps=1, skip_bad=True)
    assert len(source(model, "train").table) == 15


def test_a_validation_split_without_an_answer_that_can_be_predicted_is_not_used(tmp_path):
    path, held_out, reporter = questions(tmp_path), tmp_path / "held.csv", RecordingReporter()
    held_out.write_text("image,question,answer,kind\n0.png,what colour is it?,teal,colour\n")
    options = TINY | {"valid": str(held_out), "test": "0", "steps": 4}
    train("vqa", path, out=tmp_path / "run", **options, reporter=reporter)
    assert summary(tmp_path / "run")["val_loss"] is None
    assert any("none of its answers can be predicted" in line for line in reporter.lines)


def test_a_question_without_a_known_word_is_an_error_that_shows_one_of_training(trained, path):
    model = load(trained("vqa", path, **TINY, **ALL, fusion="stacked", steps=120))
    image = source(model, "train").table.columns["image"][0]
    rows = Table("the input", {"image": [image], "question": ["xyzzy plugh?"]}, [1])
    with pytest.raises(UserError, match="'xyzzy', 'plugh'; ask as in 'what colour is it\\?'"):
        model.predict(rows)


def test_a_preview_has_the_first_validation_questions(tmp_path, path):
    reporter = RecordingReporter()
    options = TINY | {"valid": "0.5", "test": "0", "steps": 2, "preview": True, "batch_size": 16}
    model = train("vqa", path, out=tmp_path / "run", reporter=reporter, **options)
    assert reporter.previews
    for preview in reporter.previews:
        lines = [line.split(" → ") for line in preview.split("\n")]
        assert len(lines) == 3
        assert {question for question, _ in lines} <= {"what colour is it?", "is it large?"}
        assert {answer for _, answer in lines} <= set(model.spec.answers.labels)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fusion": "product", "next_word": 0.5}, "`next_word` 0.5 has no effect with `fusion` product"),
        ({"fusion": "concatenated", "next_word": 1.0}, "`next_word` 1.0 has no effect with `fusion` concatenated"),
        ({"tokens": "byte", "lower": True}, "`lower` has no effect with `tokens` byte"),
        ({"fusion": "stakced"}, "did you mean 'stacked'"),
        ({"answers": 0}, "`answers` 0 must be a number above 0"),
    ],
)
def test_an_option_without_effect_or_an_unknown_word_is_an_error(tmp_path, path, options, words):
    with pytest.raises(UserError) as raised:
        train("vqa", path, out=tmp_path / "run", **TINY | options, steps=1)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_questions_may_be_bytes(tmp_path, path):
    """Which have no lower case, although that is the default."""
    model = train("vqa", path, out=tmp_path / "run", **TINY, **ALL, tokens="byte", steps=1)
    assert model.spec.tokenizer.kind == "byte"
