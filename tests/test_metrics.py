"""Metrics of predictions against references, compared with scikit-learn, seqeval, sacrebleu and by hand."""

import hypothesis.strategies as st
import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from sklearn import metrics as sk

from elman.data.table import Table
from elman.metrics.answer_accuracy import accuracies, most_frequent
from elman.metrics.captions import CaptionScores
from elman.metrics.classification import confusion_matrix, macro_f1
from elman.metrics.metric import METRICS, evaluate
from elman.metrics.tagging import entity_f1, tag_accuracy
from elman.metrics.translation import TranslationScores, group_references

some = settings(deadline=None, derandomize=True, database=None, max_examples=60)
LABELS = ["a", "b", "c", "never"]
pairs = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30)


@some
@given(pairs)
def test_classification_is_that_of_scikit_learn(rows):
    predictions, references = map(list, zip(*rows, strict=True))
    matrix = confusion_matrix(predictions, references, LABELS)
    assert matrix.tolist() == sk.confusion_matrix(references, predictions, labels=LABELS).tolist()
    expected = sk.f1_score(references, predictions, average="macro", zero_division=0)
    assert macro_f1(matrix) == pytest.approx(expected)
    found = evaluate("classify", predictions, references, LABELS)
    assert found.keys() == {"accuracy", "macro_f1", "confusion"}
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(references, predictions))
    assert found["confusion"] == matrix.tolist()


TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
tags = st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=6), min_size=1,
                max_size=6)  # fmt: skip


def entities(sentence):
    """Type, start and end of each entity, by hand: one starts with B-, or with I- after another type or O."""
    found, kind, start = set(), None, 0
    for index, tag in enumerate([*sentence, "O"]):
        prefix, _, new = tag.partition("-")
        if kind is not None and (prefix != "I" or new != kind):
            found.add((kind, start, index))
            kind = None
        if kind is None and prefix != "O":
            kind, start = new, index
    return found


@some
@given(tags)
def test_entities_are_counted_once_each(sentences):
    predictions = [[pair[0] for pair in sentence] for sentence in sentences]
    references = [[pair[1] for pair in sentence] for sentence in sentences]
    common = sum(len(entities(a) & entities(b)) for a, b in zip(predictions, references, strict=True))
    total = sum(len(entities(each)) for each in predictions + references)
    assert entity_f1(predictions, references) == pytest.approx(2 * common / total if total else 0)
    flat = [pair for sentence in sentences for pair in sentence]
    assert tag_accuracy(predictions, references) == pytest.approx(np.mean([a == b for a, b in flat]))
    found = evaluate("tag", predictions, references, TAGS)
    assert found.keys() == {"accuracy", "entity_f1"}
    assert evaluate("tag", predictions, references, ["X", "Y"]).keys() == {"accuracy"}


def test_without_seqeval_the_value_names_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "seqeval.metrics", None)
    assert evaluate("tag", [["O"]], [["O"]], TAGS)["entity_f1"] == "needs seqeval: pip install 'elman[tag]'"


def test_translations_are_scored_against_all_their_references():
    sources, targets = ["x", "y", "x"], ["the cat sat on the mat", "a dog ran far away", "a cat sat on a mat"]
    references = group_references(sources, targets)
    assert references == {"x": [targets[0], targets[2]], "y": [targets[1]]}
    predictions = {"x": "the cat sat on a mat", "y": "a dog ran far away"}
    found = evaluate("translate", list(predictions.values()), list(references.values()))
    streams = [[targets[0], targets[1]], [targets[2], None]]
    assert found["bleu"] == sacrebleu.corpus_bleu(list(predictions.values()), streams).score
    assert found["chrf"] == sacrebleu.corpus_chrf(list(predictions.values()), streams).score
    assert (found["exact"], found["sources"]) == (0.5, 2)
    assert all("version:" in signature for signature in found["signatures"])
    scores = TranslationScores(predictions, references)
    assert scores.bleu(["y"]) == pytest.approx(100)
    assert scores.sentence("x") == sacrebleu.sentence_chrf(predictions["x"], references["x"]).score


class Truth:
    """An image whose ground truth is known."""

    def __init__(self, name, truth):
        self.name, self.truth = name, truth

    def is_true(self, caption):
        return self.truth


def test_captions_are_scored_by_pair_and_by_truth():
    images = [Truth("a", True), Truth("b", False), Truth("a", True), Truth("c", None)]
    captions = ["one dog runs here", "a cat is there", "the dog is here", "some fish swim"]
    rows = Table("t", {"image": images, "caption": captions, "pair": ["seen", "unseen", "seen", "seen"]}, [1, 2, 3, 4])
    scores = CaptionScores(rows, {0: "one dog is here", 1: "a cat is there"})
    found = scores.metrics()
    assert found.keys() == {"bleu1", "bleu2", "bleu3", "bleu4", "cider", "true", "by_pair", "images"}
    assert (found["true"], found["images"]) == (0.5, 2)
    assert found["by_pair"]["unseen"]["bleu4"] == pytest.approx(100)
    assert found["by_pair"]["unseen"]["cider"] == pytest.approx(10)
    assert found["cider"] == pytest.approx(np.mean([scores.cider(row) for row in (0, 1)]))
    assert "true" not in CaptionScores(rows, {3: "fish"}).metrics()


def test_accuracies_are_compared_with_the_most_frequent_answer():
    answers, kinds = ["yes", "no", "yes", "two", "three", "three"], ["is", "is", "is", "count", "count", "count"]
    priors = most_frequent(answers, kinds)
    assert priors == {"": "yes", "is": "yes", "count": "three"}
    assert most_frequent(answers) == {"": "yes"}
    found = accuracies({"accuracy": ["yes"] * 3, "image_only": ["no"] * 3}, answers[:3], "yes")
    assert found == {
        "accuracy": pytest.approx(2 / 3),
        "image_only": pytest.approx(1 / 3),
        "prior": pytest.approx(2 / 3),
    }


def test_every_metric_is_found_by_its_file():
    assert {"classification", "tagging", "translation"} <= set(METRICS.names())
    assert evaluate("a kind without metrics", ["a"], ["a"]) == {}
