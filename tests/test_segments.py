"""Metrics of segments, against the definitions of Lea et al. 2017 computed in another way."""

from functools import cache

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from elman.metrics.metric import evaluate
from elman.metrics.segments import edit_distance, edit_score, frame_accuracy, segment_f1

some = settings(deadline=None, derandomize=True, database=None, max_examples=80)
labels = st.sampled_from(["a", "b", "c", ""])
clip = st.lists(st.tuples(labels, labels), min_size=1, max_size=25)
clips = st.lists(clip.map(lambda rows: tuple(map(list, zip(*rows, strict=True)))), min_size=1, max_size=3)


def pieces(frames):
    """Sets of frame numbers by segment, with labels; by a scan."""
    found, previous = [], None
    for number, label in enumerate(frames):
        if label != previous:
            found.append((label, set()))
        found[-1][1].add(number)
        previous = label
    return [(label, numbers) for label, numbers in found if label]


@some
@given(clips, st.sampled_from([0.1, 0.25, 0.5]))
def test_f1_counts_each_predicted_segment_once(pairs, overlap):
    true_positives = false_positives = false_negatives = 0
    for predicted, reference in pairs:
        truth = pieces(reference)
        hits = np.zeros(len(truth))
        for label, numbers in pieces(predicted):
            # IoU of hulls, as MS-TCN computes it: intersection may be negative; other labels count 0
            scores = [
                (min(max(numbers), max(other)) - max(min(numbers), min(other)) + 1)
                / (max(max(numbers), max(other)) - min(min(numbers), min(other)) + 1)
                * (label == name)
                for name, other in truth
            ]
            best = int(np.argmax(scores)) if scores else -1
            if scores and scores[best] >= overlap and not hits[best]:
                true_positives += 1
                hits[best] = 1
            else:
                false_positives += 1
        false_negatives += len(truth) - int(hits.sum())
    total = 2 * true_positives + false_positives + false_negatives
    expected = 2 * true_positives / total if total else 1.0
    assert segment_f1(*zip(*pairs, strict=True), overlap) == pytest.approx(expected)


@some
@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_the_edit_distance_is_that_of_its_recursion(a, b):
    @cache
    def distance(i, j):
        if not i or not j:
            return i + j
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    assert edit_distance(a, b) == distance(len(a), len(b))


def test_values_by_hand():
    reference, predicted = list("aaaabbbb") + [""] * 2, list("aaabbbbb") + ["", "c"]
    assert frame_accuracy([predicted], [reference]) == pytest.approx(0.8)
    assert edit_score([predicted], [reference]) == pytest.approx(1 - 1 / 3)  # a b c against a b
    assert segment_f1([predicted], [reference], 0.5) == pytest.approx(2 * 2 / (3 + 2))  # IoU 3/4 and 4/5
    assert segment_f1([predicted], [reference], 0.78) == pytest.approx(2 * 1 / (3 + 2))
    assert edit_score([list("aabb"), list("aab")], [list("aabb"), list("aaa")]) == pytest.approx((1 + 0.5) / 2)


@some
@given(clips)
def test_a_perfect_prediction_has_all_metrics_1_and_none_is_out_of_range(pairs):
    predicted, reference = zip(*pairs, strict=True)
    names = ["accuracy", "edit", "f1_10", "f1_25", "f1_50"]
    assert evaluate("video", reference, reference) == dict.fromkeys(names, 1.0)
    assert all(0 <= value <= 1 for value in evaluate("video", predicted, reference).values())
