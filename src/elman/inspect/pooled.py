"""What the pooling of a classifier selects: the weight of each token in the pooled vector."""

import numpy as np

from elman.inspect.blocks import Block, Heading, Table
from elman.inspect.display import token_label
from elman.inspect.panel import Panel
from elman.inspect.prefix_predictions import PrefixPredictions, spread

LEAST, LISTED = 5, 15  # occurrences of a token in the table, and tokens of it


def pooled(prefixes: PrefixPredictions) -> Panel | None:
    """Rows painted by the weight of each token in the pooled vector; None for a pooling whose weights are the same in
    all rows, and for rows that are no texts."""
    answers, meaning = prefixes.here.answers, prefixes.here.network.pool.meaning
    if prefixes.tokenizer is None or not meaning:
        return None
    weights = [answer.attention.weights[0] for answer in answers if answer.attention is not None]
    blocks, rows = list[Block](), []
    for name, group in prefixes.shown().items():
        blocks.append(Heading(name))
        for each in group:
            of_row = weights[each.row]
            notes = [f"{value:.1%} {meaning}" for value in of_row]
            blocks.append(spread(each, "pooled", prefixes.title(each), of_row / of_row.max(), notes, heat=True))
            rows.append({"tokens": each.pieces, "weights": of_row})
    tokens, highest, uniform = _tokens(prefixes, weights)
    if tokens:
        head = [prefixes.unit, "occurrences", "mean weight", "relative to uniform"]
        blocks += [
            Heading(f"Largest weights of {prefixes.unit}s with {LEAST} occurrences or more"),
            Table(head, tokens),
        ]
    summary = (
        f"Each {prefixes.unit} is painted by its weight in the pooled vector, relative to the largest of its row. The "
        f"largest weight is {highest:.0%} on average; a uniform weight would be {uniform:.0%}."
    )
    metrics = {"largest": highest, "uniform": uniform, "rows": rows, "tokens": tokens}
    return Panel("pooled", "Pooling weights", summary, metrics, blocks)


def _tokens(prefixes: PrefixPredictions, weights: list[np.ndarray]) -> tuple[list[list], float, float]:
    """The tokens with the largest weights over all rows: occurrences, mean weight, and that relative to uniform; and
    over the rows the mean of the largest weight, and of a uniform one."""
    found, highest, uniform = dict[str, list[tuple[float, float]]](), [], []
    for each in prefixes.rows:
        of_row = weights[each.row]
        highest.append(float(of_row.max()))
        uniform.append(1 / len(of_row))
        for piece, weight in zip(each.pieces or (), of_row.tolist(), strict=True):
            found.setdefault(piece.strip() or piece, []).append((weight, weight * len(of_row)))
    means = {piece: np.mean(values, 0) for piece, values in found.items() if len(values) >= LEAST}
    best = sorted(means, key=lambda piece: -means[piece][1])[:LISTED]
    rows = [[token_label(piece, 40), len(found[piece]), *map(float, means[piece])] for piece in best]
    return rows, float(np.mean(highest)), float(np.mean(uniform))
