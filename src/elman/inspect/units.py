"""Scores of units for properties of the text, such as being inside a string.

Binary properties are scored by the area under the ROC curve (AUC; 0.5 for an uninformed unit), numeric ones by the rank
correlation of Spearman. A unit is chosen on the first half of a text and scored on the second. Baselines are the best
unit of an untrained network, chosen in the same way, and the best for labels shifted along the text; a linear probe
over all units finds what is distributed over them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from elman.inspect.properties import Property

RIDGE = 0.01  # of the probe, for standardised units
FEW = 20  # steps of the rarer class of a property, in each half: with fewer a score means nothing


@dataclass(frozen=True)
class Found:
    """The best unit for a property.

    - score: AUC or rank correlation on the second half; sign: -1 where the unit is low when the property holds
    - shuffled: the score for shifted labels; probe: that of the linear probe
    - all: the score of every unit, mean of both halves
    """

    property: Property
    unit: str
    sign: int
    score: float
    shuffled: float
    probe: float
    all: np.ndarray


def names(values: Mapping[str, np.ndarray]) -> list[str]:
    """Every unit of every address, `1.c.137`, in the order of the columns of `concatenated`."""
    return [f"{address}.{unit}" for address, value in values.items() for unit in range(value.shape[1])]


def concatenated(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The values of all addresses, (T, all units)."""
    return np.concatenate(list(values.values()), 1)


def ranks(values: np.ndarray) -> np.ndarray:
    """The ranks (T, U) of each column of float16 values (T, U), from 0 to 1; ties have their mean rank."""
    found = np.empty(values.shape[::-1], np.float32)
    for unit, column in enumerate(np.ascontiguousarray(values.astype(np.float16, copy=False).T)):
        bits = column.view(np.int16).astype(np.int64)
        # the bits of a float as an integer are in order for positive floats, in reverse order for negative ones
        key = np.where(bits >= 0, bits + 0x8000, -bits - 1)
        counts = np.bincount(key, minlength=1 << 16)
        found[unit] = ((np.cumsum(counts) - (counts + 1) / 2) / max(1, len(values) - 1))[key]
    return found.T


def areas(ranked: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The area under the ROC curve (K, U) of every unit (T, U ranks) for every label (T, K bool): the probability that
    the unit is higher at a step where the label holds than at one where it does not."""
    ones = labels.sum(0)[:, None].astype(np.float64)
    zeros = len(labels) - ones
    total = (labels.T.astype(np.float32) @ ranked).astype(np.float64) * (len(labels) - 1)
    return (total - ones * (ones - 1) / 2) / np.maximum(ones * zeros, 1)


def correlations(ranked: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The rank correlation (K, U) of every unit (T, U ranks) with every target (T, K)."""
    units, truth = _standard(ranked), _standard(np.stack([_numeric_ranks(column) for column in targets.T], 1))
    return (truth.T @ units).astype(np.float64) / len(ranked)


def _numeric_ranks(values: np.ndarray) -> np.ndarray:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[index].astype(np.float32)


def _standard(values: np.ndarray) -> np.ndarray:
    """Each column with mean 0 and deviation 1; a constant one is 0."""
    deviation = values.std(0, dtype=np.float64)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0).astype(np.float32)
    return (values - values.mean(0, dtype=np.float64).astype(np.float32)) * scale


def score(ranked: np.ndarray, truth: Property, rows: np.ndarray) -> np.ndarray:
    """The score (U,) of every unit (T, U ranks) for a property at these steps."""
    labels = truth.values[rows][:, None]
    return (areas if truth.binary else correlations)(ranked, labels)[0]


def find(values: Mapping[str, np.ndarray], truths: Sequence[Property], seed: int = 0) -> list[Found]:
    """The best unit for each property. `values`: (T, H) by address. A property with too few steps of a class in one of
    the halves is left out."""
    units, labels = concatenated(values), names(values)
    rng = np.random.default_rng(seed)
    found: list[Found] = []
    for group in _same_known(truths):
        rows = np.flatnonzero(group[0].known)
        halves = np.array_split(rows, 2)
        group = [truth for truth in group if all(_enough(truth, half) for half in halves)]
        if not group:
            continue
        first, second = (ranks(units[half]) for half in halves)
        probes = _probe(units[halves[0]], units[halves[1]], group, halves)
        for truth, probe in zip(group, probes, strict=True):
            middle = 0.5 if truth.binary else 0.0
            best, sign, reached = _best(first, second, truth, halves, middle)
            shifted = [np.roll(half, int(rng.integers(len(half) // 4, 3 * len(half) // 4))) for half in halves]
            shuffled = _best(first, second, truth, shifted, middle)[2]
            every = (score(first, truth, halves[0]) + score(second, truth, halves[1])) / 2
            found.append(Found(truth, labels[best], sign, reached, shuffled, probe, every))
    return found


def _same_known(truths: Sequence[Property]) -> list[list[Property]]:
    """Properties by the steps at which they are known: those of a group use the same ranks."""
    groups: dict[bytes, list[Property]] = {}
    for truth in truths:
        groups.setdefault(truth.known.tobytes(), []).append(truth)
    return list(groups.values())


def _enough(truth: Property, rows: np.ndarray) -> bool:
    here = truth.values[rows]
    if truth.binary:
        return FEW <= here.sum() <= len(here) - FEW
    return len(here) >= 2 * FEW and len(np.unique(here)) > 1


def _best(
    first: np.ndarray, second: np.ndarray, truth: Property, halves: Sequence[np.ndarray], middle: float
) -> tuple[int, int, float]:
    """The unit with the best score on the first half, its sign, and its score, in that direction, on the second."""
    chosen = score(first, truth, halves[0]) - middle
    unit = int(np.abs(chosen).argmax())
    sign = -1 if chosen[unit] < 0 else 1
    return unit, sign, float(middle + sign * (score(second[:, [unit]], truth, halves[1])[0] - middle))


def _probe(
    first: np.ndarray, second: np.ndarray, truths: Sequence[Property], halves: Sequence[np.ndarray]
) -> list[float]:
    """The scores on the second half of a linear probe (ridge regression on all units) fitted on the first."""
    mean = first.mean(0, dtype=np.float64).astype(np.float32)
    scale = 1 / np.maximum(first.std(0, dtype=np.float64), 1e-3).astype(np.float32)
    fit, test = ((half.astype(np.float32) - mean) * scale for half in (first, second))
    targets = np.stack([_target(truth, halves[0]) for truth in truths], 1)
    gram = fit.T @ fit + RIDGE * len(fit) * np.eye(fit.shape[1], dtype=np.float32)
    predicted = test @ np.linalg.solve(gram, fit.T @ targets)
    return [float(score(ranks_of(predicted[:, [k]]), truth, halves[1])[0]) for k, truth in enumerate(truths)]


def ranks_of(values: np.ndarray) -> np.ndarray:
    """As `ranks`, for a few columns of any numbers."""
    return np.stack([_numeric_ranks(column) for column in values.T], 1) / max(1, len(values) - 1)


def _target(truth: Property, rows: np.ndarray) -> np.ndarray:
    return _standard((truth.values[rows] if truth.binary else _numeric_ranks(truth.values[rows])).astype(np.float32))
