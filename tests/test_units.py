"""Scores of units: against scikit-learn and SciPy, against counted pairs, and for planted units."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from elman.inspect.properties import Property
from elman.inspect.units import areas, correlations, find, names, ranks

some = settings(deadline=None, derandomize=True, database=None, max_examples=100)
halves = st.integers(-16, 16).map(lambda number: number / 4)


def area(values, labels):
    """The probability that a value where the label holds is the larger one; a tie counts half."""
    pairs = [(a > b) + (a == b) / 2 for a, one in zip(values, labels, strict=True) if one
             for b, other in zip(values, labels, strict=True) if not other]  # fmt: skip
    return sum(pairs) / len(pairs)


@some
@given(st.lists(st.tuples(halves, halves, st.booleans()), min_size=2, max_size=30))
def test_areas_are_those_of_scikit_learn_and_of_counted_pairs(rows):
    values = np.array([row[:2] for row in rows], np.float16)
    labels = np.array([row[2] for row in rows])
    if labels.all() or not labels.any():
        return
    found = areas(ranks(values), labels[:, None])[0]
    np.testing.assert_allclose(found, [area(values[:, unit], labels) for unit in (0, 1)], atol=1e-6)
    np.testing.assert_allclose(found, [roc_auc_score(labels, values[:, unit]) for unit in (0, 1)], atol=1e-6)


@some
@given(st.lists(st.tuples(halves, halves), min_size=3, max_size=30))
def test_correlations_are_those_of_spearman(rows):
    values = np.array([row[:1] for row in rows], np.float16)
    target = np.array([row[1] for row in rows], np.float32)
    if len(set(values[:, 0])) < 2 or len(set(target)) < 2:
        return
    found = correlations(ranks(values), target[:, None])[0, 0]
    assert found == pytest.approx(spearmanr(values[:, 0], target).statistic, abs=1e-5)


def test_ranks_are_in_the_order_of_the_numbers_with_signs_and_ties():
    values = np.array([[-2.0], [0.0], [-0.5], [3.0], [0.0], [1e-7]], np.float16)
    np.testing.assert_allclose(ranks(values)[:, 0] * 5, [0, 2.5, 1, 5, 2.5, 4])


def stream(length=4000, units=6, seed=0):
    """A property that holds for spans of a text, and units that do not depend on it."""
    rng = np.random.default_rng(seed)
    label = np.cumsum(rng.random(length) < 0.05) % 2 == 1
    return rng, label, rng.normal(size=(length, units)).astype(np.float16)


def known(length):
    return np.ones(length, bool)


def test_a_planted_unit_is_found_with_its_sign_and_shifted_labels_are_at_one_half():
    rng, label, units = stream()
    units[:, 4] = 0.5 * rng.normal(size=len(label)) - label
    count = np.cumsum(label).astype(np.float32) % 100
    units[:, 2] = count + rng.normal(size=len(label))
    truths = [Property("label", "x", label, known(len(label))), Property("count", "y", count, known(len(label)))]
    found = {each.property.name: each for each in find({"1.h": units[:, :3], "2.h": units[:, 3:]}, truths)}
    assert (found["label"].unit, found["label"].sign) == ("2.h.1", -1)
    assert found["label"].score > 0.85
    assert (found["count"].unit, found["count"].sign) == ("1.h.2", 1)
    assert found["count"].score > 0.95
    assert abs(found["label"].shuffled - 0.5) < 0.1
    assert found["label"].all[4] == pytest.approx(1 - found["label"].score, abs=0.05)  # without its sign


def test_a_unit_is_chosen_on_one_half_and_scored_on_the_other():
    _, label, units = stream()
    units[: len(label) // 2, 0] = label[: len(label) // 2]  # informed of the first half only
    (found,) = find({"1.h": units}, [Property("label", "x", label, known(len(label)))])
    assert found.unit == "1.h.0"
    assert abs(found.score - 0.5) < 0.05


def test_a_probe_finds_a_property_distributed_over_units():
    rng, label, units = stream()
    units[:] = rng.normal(size=units.shape)
    units[:, 0] = label - units[:, 1:].astype(np.float32).sum(1)  # only their sum is informed
    (found,) = find({"1.h": units}, [Property("label", "x", label, known(len(label)))])
    assert found.probe > 0.99
    assert found.score < 0.75


def test_unknown_steps_do_not_count():
    _, label, units = stream()
    units[:, 3] = label
    where = np.ones(len(label), bool)
    where[1000:3000] = False
    units[1000:3000, 3] = ~label[1000:3000]
    (found,) = find({"1.h": units}, [Property("label", "x", label, where)])
    assert found.score == pytest.approx(1)


def test_a_property_that_is_too_rare_in_a_half_is_left_out():
    _, label, units = stream()
    rare = np.zeros(len(label), bool)
    rare[:100:2] = True
    assert find({"1.h": units}, [Property("rare", "x", rare, known(len(label)))]) == []


def test_units_are_named_in_the_order_of_the_columns():
    assert names({"1.h": np.zeros((3, 2)), "1.c": np.zeros((3, 1))}) == ["1.h.0", "1.h.1", "1.c.0"]
