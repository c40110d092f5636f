"""Specifications as JSON: what config.json stores is all that a model is built from."""

import json

import numpy as np
import pytest
import torch

import elman
import specs
from elman.data.rows import padded
from elman.data.windows import IGNORED
from elman.schema import from_json, to_json
from elman.tasks.task import find
from elman.tasks.translate import TranslateOptions
from elman.tokenizers.bpe import BPETokenizer
from models import language_model


class Leaky(elman.Cell):
    """A cell of a user, which a run stores as its graph."""

    gates = ("n",)
    start = {"p_leak": 0.3}

    def step(self, x, h):
        return (torch.tanh(x.n + self.recur("n", of=h).n) + self.p_leak * h,)


RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.integers(0, 256, (3, 3, 32, 32)).astype(np.uint8))
TOKENS, LENGTHS = padded([RNG.integers(0, 5, size) for size in (4, 1, 3)])
TARGETS, _ = padded([RNG.integers(0, 4, size) for size in (2, 4, 3)], IGNORED)
CLASSES = torch.tensor([2, 0, 1])
WITH_IMAGES = {"image": IMAGES, "image_of": torch.arange(3)}
TEXT = {"input": TOKENS, "input_lengths": LENGTHS, "target": CLASSES}
CHARACTERS = torch.randint(1, 6, (3, 4, 16), generator=torch.Generator().manual_seed(0))
COLUMNS = {"country": ("Italy", "Japan", "Ελλάδα"), "year": ("1990", "2000")}

CASES = {
    "classify": (specs.classify(pooling="attention", class_weights=(0.1, 1 / 3, 2.7)), TEXT),
    "classify-arrays": (specs.classify(features=2), TEXT | {"input": torch.randn(3, 4, 2)}),
    "tag": (specs.tag(), {"input": TOKENS, "input_lengths": LENGTHS, "characters": CHARACTERS,
                          "target": TOKENS.where(torch.arange(4) < LENGTHS[:, None], IGNORED) % 4}),
    "generate": (specs.generate(COLUMNS), {"label": CLASSES, "label2": CLASSES % 2, "target": TARGETS}),
    "translate": (specs.translate(attention="additive", cell="gru", layers=2, residual=True),
                  {"source": TOKENS, "source_lengths": LENGTHS, "target": TARGETS}),
    "translate-own-cell": (specs.translate(cell=Leaky),
                           {"source": TOKENS, "source_lengths": LENGTHS, "target": TARGETS}),
    "caption": (specs.caption(decoder="soft", image_size=32), WITH_IMAGES | {"target": TARGETS}),
    "caption-hard": (specs.caption(decoder="hard", image_size=32, cell="lstm:forget_bias=0"),
                     WITH_IMAGES | {"target": TARGETS}),
    "vqa": (specs.vqa(), WITH_IMAGES | {"question": TOKENS, "question_lengths": LENGTHS, "target": CLASSES}),
    "lm": (language_model(5, 4, 6, "rhn:depth=2", backend="loop").spec,
           {"input": TOKENS, "target": TOKENS.long(), "cuts": (), "carry": 4, "reset": torch.zeros(3, 4)}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_specification_read_from_its_json_gives_a_model_with_equal_outputs(case):
    spec, batch = CASES[case]
    stored = json.dumps(to_json(spec))
    read = from_json(type(spec), json.loads(stored), "config.json", "spec")
    assert json.dumps(to_json(read)) == stored
    kind = case.partition("-")[0]
    first, second = (specs.build(kind, each, seed=seed) for each, seed in ((spec, 0), (read, 1)))
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        ours, theirs = first.loss(batch), second.loss(batch)
    assert torch.equal(ours.mean, theirs.mean)
    assert {name: float(value) for name, value in ours.sums.items()} == {
        name: float(value) for name, value in theirs.sums.items()
    }
    assert first.describe() == second.describe()


@pytest.mark.parametrize("case", CASES)
def test_the_same_seed_and_specification_give_the_same_weights(case):
    spec, _ = CASES[case]
    read = from_json(type(spec), json.loads(json.dumps(to_json(spec))), "config.json", "spec")
    first, second = (specs.build(case.partition("-")[0], each, seed=3).state_dict() for each in (spec, read))
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_specification_of_data_is_read_again(tmp_path):
    """With a tokenizer that is learned, and options that are left to the task."""
    (tmp_path / "t.tsv").write_text("source\ttarget\n" + "".join(f"ab {n}\txy «{n}»\n" for n in range(40)))
    options = TranslateOptions(tokens="bpe", vocab_size=270, valid="0", test="0")
    spec = find("translate").prepare([str(tmp_path / "t.tsv")], options).spec
    read = from_json(type(spec), json.loads(json.dumps(to_json(spec))), "config.json", "spec")
    assert isinstance(read.target, BPETokenizer)
    assert read.target.encode("xy «3»") == spec.target.encode("xy «3»")
    assert read.options == spec.options
    assert read.options.hidden is None
    assert read.hidden == 256
