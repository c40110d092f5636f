"""Units against properties of the text: which one knows that it is inside a string?

Binary properties are scored by the area under the curve (0.5 is chance, 1 a unit that never errs), numeric ones by
rank correlation. A unit is chosen on the first half of a text and scored on the second; beside it stand the best unit
of an untrained network, chosen the same way, and the best for labels moved along the text, so that chance is seen; and
a linear probe over all units, for what is known but spread out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from elman.inspect.properties import Property

RIDGE = 0.01  # of the probe, for standardised units
FEW = 20  # in each half, of the rarer class of a property: with fewer nothing can be said


@dataclass(frozen=True)
class Found:
    """How well one property is known. `score` is an area under the curve or a rank correlation on the second half;
    `sign` -1 where the unit is low when the property holds; `all` has every unit's, the mean of both halves."""

    property: Property
    unit: str
    sign: int
    score: float
    shuffled: float
    probe: float
    all: np.ndarray


def names(values: Mapping[str, np.ndarray]) -> list[str]:
    """Every unit of every place, `1.c.137`, in the order of the columns that `side_by_side` makes."""
    return [f"{place}.{unit}" for place, value in values.items() for unit in range(value.shape[1])]


def side_by_side(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The places' values next to each other, (T, all units)."""
    return np.concatenate(list(values.values()), 1)


def ranks(values: np.ndarray) -> np.ndarray:
    """The ranks (T, U) of each column of float16 values (T, U), from 0 to 1, ties sharing their middle."""
    found = np.empty(values.shape[::-1], np.float32)
    for unit, column in enumerate(np.ascontiguousarray(values.astype(np.float16, copy=False).T)):
        bits = column.view(np.int16).astype(np.int64)
        # the bits of a float, read as a number, are in order for positive ones and in reverse for negative ones
        key = np.where(bits >= 0, bits + 0x8000, -bits - 1)
        counts = np.bincount(key, minlength=1 << 16)
        found[unit] = ((np.cumsum(counts) - (counts + 1) / 2) / max(1, len(values) - 1))[key]
    return found.T


def areas(ranked: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The area under the curve (K, U) of every unit (T, U ranks) for every label (T, K bool): the probability that the
    unit is higher at a step where the label holds than at one where it does not."""
    ones = labels.sum(0)[:, None].astype(np.float64)
    zeros = len(labels) - ones
    total = (labels.T.astype(np.float32) @ ranked).astype(np.float64) * (len(labels) - 1)
    return (total - ones * (ones - 1) / 2) / np.maximum(ones * zeros, 1)


def correlations(ranked: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The rank correlation (K, U) of every unit (T, U ranks) with every target (T, K)."""
    units, truth = _standard(ranked), _standard(np.stack([_numeric_ranks(column) for column in targets.T], 1))
    return (truth.T @ units).astype(np.float64) / len(ranked)


def _numeric_ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place].astype(np.float32)


def _standard(values: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1, a column at a time; one that never changes is all 0."""
    deviation = values.std(0, dtype=np.float64)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0).astype(np.float32)
    return (values - values.mean(0, dtype=np.float64).astype(np.float32)) * scale


def score(ranked: np.ndarray, truth: Property, rows: np.ndarray) -> np.ndarray:
    """The score (U,) of every unit's ranks (T, U) for what a property says at these rows."""
    labels = truth.values[rows][:, None]
    return (areas if truth.binary else correlations)(ranked, labels)[0]


def find(values: Mapping[str, np.ndarray], truths: Sequence[Property], seed: int = 0) -> list[Found]:
    """The best unit for each property. `values`: by place, (T, H). A property of which a half has too little is left
    out."""
    units, labels = side_by_side(values), names(values)
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
            moved = [np.roll(half, int(rng.integers(len(half) // 4, 3 * len(half) // 4))) for half in halves]
            shuffled = _best(first, second, truth, moved, middle)[2]
            every = (score(first, truth, halves[0]) + score(second, truth, halves[1])) / 2
            found.append(Found(truth, labels[best], sign, reached, shuffled, probe, every))
    return found


def _same_known(truths: Sequence[Property]) -> list[list[Property]]:
    """Properties known at the same steps share their ranks."""
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
    """The unit that is best on the first half, its sign, and its score, counted in that direction, on the second."""
    chosen = score(first, truth, halves[0]) - middle
    unit = int(np.abs(chosen).argmax())
    sign = -1 if chosen[unit] < 0 else 1
    return unit, sign, float(middle + sign * (score(second[:, [unit]], truth, halves[1])[0] - middle))


def _probe(
    first: np.ndarray, second: np.ndarray, truths: Sequence[Property], halves: Sequence[np.ndarray]
) -> list[float]:
    """The scores of a linear probe (ridge regression on all units), fitted on the first half, on the second."""
    mean = first.mean(0, dtype=np.float64).astype(np.float32)
    scale = 1 / np.maximum(first.std(0, dtype=np.float64), 1e-3).astype(np.float32)
    fit, test = ((half.astype(np.float32) - mean) * scale for half in (first, second))
    targets = np.stack([_target(truth, halves[0]) for truth in truths], 1)
    gram = fit.T @ fit + RIDGE * len(fit) * np.eye(fit.shape[1], dtype=np.float32)
    told = test @ np.linalg.solve(gram, fit.T @ targets)
    return [float(score(ranks_of(told[:, [k]]), truth, halves[1])[0]) for k, truth in enumerate(truths)]


def ranks_of(values: np.ndarray) -> np.ndarray:
    """As `ranks`, for few columns of any numbers."""
    return np.stack([_numeric_ranks(column) for column in values.T], 1) / max(1, len(values) - 1)


def _target(truth: Property, rows: np.ndarray) -> np.ndarray:
    return _standard((truth.values[rows] if truth.binary else _numeric_ranks(truth.values[rows])).astype(np.float32))
