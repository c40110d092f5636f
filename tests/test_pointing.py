"""The pointing game: how much of the attention is on the object that a word names."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import elman
from elman.data.scenes.image import SceneImage
from elman.metrics.pointing import Pointing, coverage, pointing, pointing_metrics
from elman.tasks.answer import Answer, Attention
from elman.tasks.conditional_generation import shifted
from elman.tasks.loss import Context


def test_a_position_counts_as_far_as_a_box_covers_it():
    # a grid of 4 by 4; the box is one position and a half wide, and a half of one high
    cover = coverage([(0.25, 0.5, 0.625, 0.625)], 4).reshape(4, 4)
    expected = np.zeros((4, 4))
    expected[2, 1], expected[2, 2] = 0.5, 0.25
    assert_allclose(cover, expected, atol=1e-12)
    assert_allclose(coverage([(0, 0, 1, 1), (0, 0, 0.5, 0.5)], 4), 1)  # twice is not more than all


fraction = st.floats(0, 1)


@given(st.tuples(fraction, fraction, fraction, fraction), st.integers(1, 9))
def test_the_mean_coverage_is_the_area_of_a_box(corners, side):
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    cover = coverage([(left, top, right, bottom)], side)
    assert cover.mean() == pytest.approx((right - left) * (bottom - top), abs=1e-9)
    assert cover.min() >= 0
    assert cover.max() <= 1


def test_attention_is_scored_when_the_last_word_of_a_noun_is_generated():
    tokens = [" two", " red", " stars", " above", " a", " dog", ".", " ", " now"]
    weights = np.full((9, 4), 0.25)
    weights[2], weights[5] = [0.7, 0.1, 0.1, 0.1], [0, 0, 0.25, 0.75]  # at "stars" and at "dog"
    weights[8] = [0.1, 0.9, 0, 0]
    boxes = [(2, (0, 0, 0.5, 0.5)), (2, (0.5, 0, 1, 0.25)), (5, (0.5, 0.5, 0.75, 1.0)), (6, (0.5, 0, 1, 0.5))]
    stars, dog, now = pointing(weights, tokens, boxes)
    assert stars == Pointing("stars", pytest.approx(0.7 + 0.1 / 2), pytest.approx(1.5 / 4), True)
    assert dog == Pointing("dog", pytest.approx(0.75 / 2), pytest.approx(0.5 / 4), False)  # 0.75 is its edge
    assert now == Pointing("now", pytest.approx(0.9), pytest.approx(0.25), True)
    found = pointing_metrics([stars, dog, now])
    named = [found[name] for name in ("attention", "attention_uniform", "attention_hits")]
    assert_allclose(named, [(0.75 + 0.375 + 0.9) / 3, (0.375 + 0.125 + 0.25) / 3, 2 / 3])
    assert len(found) == 3
    assert pointing_metrics([]) == {}
    assert pointing(np.full((9, 6), 1 / 6), tokens, boxes) == []  # not a square


def test_a_scene_knows_the_boxes_of_the_objects_that_a_caption_names():
    image = SceneImage("scene: large red star 16,32; small blue circle 48,32; small blue square 48,50")
    assert image.boxes("a large red star left of a blue circle") == [
        (3, (7 / 64, 23 / 64, 25 / 64, 41 / 64)), (8, (43 / 64, 27 / 64, 53 / 64, 37 / 64))
    ]  # fmt: skip
    assert [word for word, _ in image.boxes("there are two blue objects")] == [4, 4]
    assert image.boxes("a green star among three objects")[0][0] == 5  # only objects of the image
    assert image.boxes("no caption") == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small captioner, by its options, trained when it is first needed."""
    found = {}

    def get(**options):
        key = str(options)
        if key not in found:
            found[key] = elman.train(
                "caption", "builtin:scenes:count=60", out=tmp_path_factory.mktemp("caption") / "run", steps=3,
                hidden=12, embedding=8, precision="float32", device="cpu", preview=False, batch_size=32, workers=0,
                **options,
            )  # fmt: skip
        return found[key]

    return get


def with_references(model, source):
    """Reference captions as answers, with the attention of the model when they are fed to it."""
    network, vocabulary, found = model.model.eval(), model.spec.tokenizer, {}
    for row in range(0, len(source.table), 2):
        caption = source.table.columns["caption"][row]
        ids = torch.tensor([vocabulary.encode(vocabulary.with_lead(caption), "replace")])
        with torch.no_grad():
            batch = {name: value[:1] for name, value in source.take(np.array([row])).items()}
            _, decoded = network.decode(shifted(ids, network.boundary), network.begin(batch), Context())
        queries = tuple(vocabulary.split(vocabulary.with_lead(caption)))
        weights = decoded["weights"][0].numpy() if "weights" in decoded else None
        attention = None if weights is None else Attention(weights, queries, source.table.columns["image"][row])
        found[row] = Answer(row, {"caption": caption}, attention)
    return found


@pytest.mark.parametrize("decoder", ["soft", "hard"])
def test_the_metrics_of_a_captioner_are_those_of_single_pixels(trained, decoder):
    model = trained(decoder=decoder)
    source = model.task.source(model.spec, model.run.data_paths(), "test")
    answers, expected = with_references(model, source), []
    found = model.task.metrics(source.table, answers, model.spec)
    for row, answer in answers.items():
        nouns = {}
        for word, box in source.table.columns["image"][row].boxes(answer["caption"]):
            nouns.setdefault(word, []).append(box)
        for word, boxes in nouns.items():
            pixels = np.zeros((64, 64))
            for left, top, right, bottom in np.array(boxes) * 64:
                pixels[int(top) : int(bottom), int(left) : int(right)] = 1
            cover = pixels.reshape(8, 8, 8, 8).mean((1, 3)).ravel()
            expected.append(float(answer.attention.weights[word] @ cover))
    assert len(expected) > 5
    assert found["attention"] == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("options", [{"decoder": "plain"}, {"tokens": "char"}])
def test_there_is_no_such_metric_without_attention_or_words(trained, options):
    model = trained(**options)
    source = model.task.source(model.spec, model.run.data_paths(), "valid")
    assert "attention" not in model.task.metrics(source.table, with_references(model, source), model.spec)
