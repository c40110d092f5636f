"""Options of the tasks: one without effect in the chosen variant is an error of one line, and so is an unknown word."""

import csv

import numpy as np
import pytest
from PIL import Image

from elman.errors import UserError
from elman.training.api import train

TINY = {"hidden": 4, "batch_size": 4, "steps": 1, "precision": "float32", "device": "cpu", "preview": False,
        "backend": "loop"}  # fmt: skip
ALL = {"valid": "0", "test": "0"}

WITHOUT_EFFECT = [
    ("text", "classify", {"residual": True}, "`residual` has no effect with `layers` 1"),
    ("text", "classify", {"image_size": 32}, "`image_size` has no effect: the inputs of"),
    ("arrays", "classify", {"lower": True}, "`lower` has no effect: the inputs of"),
    ("arrays", "classify", {"tokens": "char"}, "`tokens` has no effect: the inputs of"),
    ("arrays", "classify", {"vocab_size": 9}, "`vocab_size` has no effect: the inputs of"),
    ("arrays", "classify", {"embedding": 9}, "`embedding` has no effect: the inputs of"),
    ("arrays", "classify", {"image_size": 9}, "`image_size` has no effect: the inputs of"),
    ("images", "classify", {"lower": True}, "are images; leave it out"),
    ("images", "classify", {"embedding": 8}, "are images; leave it out"),
    ("images", "classify", {"max_length": 8}, "are images; leave it out"),
    ("text", "classify", {"tokens": "char", "vocab_size": 9}, "`vocab_size` 9"),
    ("text", "classify", {"tokens": "byte", "lower": True}, "`lower` goes with"),
    ("text", "generate", {"feed": "nothing", "embedding": 8}, "`embedding` 8 has no effect with `feed` nothing"),
    ("pairs", "translate", {"attention": "none", "input_feeding": True}, "`input_feeding` has no effect"),
    ("pairs", "translate", {"attention": "additive", "input_feeding": True}, "`input_feeding` has no effect"),
    ("pairs", "translate", {"tokens": "byte", "lower": True}, "`lower` goes with"),
    ("lines", "lm", {"tokens": "byte", "lower": True}, "`lower` goes with"),
    ("lines", "lm", {"residual": True, "layers": 1}, "`residual` has no effect with `layers` 1"),
]
UNKNOWN = [
    ("text", "classify", {"pooling": "maks"}, "did you mean 'max'"),
    ("text", "classify", {"tokens": "wrod"}, "did you mean 'word'"),
    ("text", "tag", {"spelling": 0}, "`spelling` 0 must be a number above 0"),
    ("text", "generate", {"feed": "tokens"}, "did you mean 'token'"),
    ("pairs", "translate", {"attention": "luong"}, "general"),
    ("pairs", "translate", {"teacher_forcing": 0.0}, "`teacher_forcing` 0.0 must be above 0 and at most 1"),
    ("pairs", "translate", {"label_smoothing": 1.0}, "`label_smoothing` 1.0 must be from 0 up to, not including, 1"),
    ("lines", "lm", {"seq_length": 3}, "did you mean 'seq_len'"),
    ("text", "classify", {"cell": "lsmt"}, "did you mean 'lstm'"),
]
VALID = [
    ("text", "classify", {"residual": True, "layers": 2, "lower": True, "tokens": "word", "vocab_size": 5}),
    ("arrays", "classify", {"max_length": 2}),
    ("images", "classify", {"image_size": 8}),
    ("text", "generate", {"feed": "token", "embedding": 8}),
    ("pairs", "translate", {"attention": "dot", "input_feeding": True}),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small data sets by name."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    with (folder / "text.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("text", "label"), *((f"some words number {n % 9}", "ab"[n % 2]) for n in range(20))]
        )
    np.savez(folder / "arrays.npz", x=rng.normal(size=(20, 5, 2)), y=np.arange(20) % 2)
    for label in "ab":
        (folder / "images" / label).mkdir(parents=True)
        for n in range(4):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / "images" / label / f"{n}.png")
    (folder / "pairs.tsv").write_text("source\ttarget\n" + "".join(f"abc {n}\txyz {n}\n" for n in range(20)))
    (folder / "lines.txt").write_text("to be or not to be, that is the question. " * 20)
    return {"text": folder / "text.csv", "arrays": folder / "arrays.npz", "images": folder / "images",
            "pairs": folder / "pairs.tsv", "lines": folder / "lines.txt"}  # fmt: skip


def fit(data, name, kind, out, options):
    splits = {} if kind == "lm" else ALL
    return train(kind, data[name], out=out, **TINY | splits | options)


@pytest.mark.parametrize(("name", "kind", "options", "words"), WITHOUT_EFFECT + UNKNOWN)
def test_an_option_without_effect_or_an_unknown_word_is_an_error(data, tmp_path, name, kind, options, words):
    with pytest.raises(UserError) as raised:
        fit(data, name, kind, tmp_path / "run", options)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "kind", "options"), VALID)
def test_the_same_options_are_accepted_where_they_have_an_effect(data, tmp_path, name, kind, options):
    assert fit(data, name, kind, tmp_path / "run", options).run.summary()["steps"] == 1
