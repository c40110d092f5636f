"""Which words a classifier's pooling takes the verdict from: where attention looks, or what wins the maximum."""

import html
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from elman.cells.tap import record
from elman.inspect import painting
from elman.inspect.panel import Panel, table
from elman.inspect.predictions import seen
from elman.inspect.prefix_predictions import PrefixPredictions, spread
from elman.tasks.classify import Classify

SEVERAL, NAMED = 5, 15  # times that a word must come to be in the table, and words in it


@torch.inference_mode()
def attended(task: Classify, row: Tensor) -> Tensor:
    """The weights (T,) of the attention over one row (T,)."""
    with record() as seen:
        task.eval().logits(row[None], torch.tensor([len(row)]))
    return seen["attention"][0]


@torch.inference_mode()
def won(task: Classify, row: Tensor) -> Tensor:
    """The share (T,) of all units whose highest output over one row (T,) is at each step."""
    y, _ = task.eval().recurrent(task.lookup(row[None]), lengths=torch.tensor([len(row)]))
    units = y.shape[-1]
    return torch.bincount(y[0].argmax(0), minlength=len(row)).float() / units


# by pooling: how a word's part is found, the title, and what a part is
PARTS: dict[str, tuple[Callable[[Classify, Tensor], Tensor], str, str]] = {
    "attention": (attended, "Where the attention looks", "of the attention"),
    "max": (won, "Which {unit}s win the pooling", "of the units have their highest output here"),
}


def pooled(running: PrefixPredictions) -> Panel | None:
    """Rows painted by each word's part in the pooled vector; None for a pooling in which all words, or only the last,
    have one."""
    pooling = running.task.config()["pooling"]
    if pooling not in PARTS:
        return None
    find, title, what = PARTS[pooling]
    device = running.here.model.device

    def parts(row: int) -> np.ndarray:
        return find(running.task, torch.from_numpy(running.inputs[row]).to(device)).float().cpu().numpy()

    pictures, body, figures = [], "", []
    for name, rows in running.shown().items():
        body += f"<h3>{name}</h3>"
        for each in rows:
            share = parts(each.row)
            notes = [f"{value:.1%} {what}" for value in share]
            text, shades, told = spread(each, share / share.max(), notes)
            pictures.append((running.heading(each), text, shades))
            body += html.escape(running.heading(each))
            body += f'<div dir="auto">{painting.page(text, shades, told, heat=True)}</div>'
            figures.append({"tokens": each.pieces, "parts": share})
    words, highest, even = _words(running, parts)
    head = [running.unit, "times", "part, mean", "in even parts"]
    if words:
        body += f"<h3>With the largest part, of those that come {SEVERAL} times or more</h3>" + table(head, words)
    says = (
        f"The deeper the orange, the larger the part of a {running.unit}, beside the largest of its row. On average "
        f"the largest has {highest:.0%}; an even part would be {even:.0%}."
    )
    numbers = {"largest": highest, "even": even, "rows": figures, "words": words}
    return Panel("pooled", title.format(unit=running.unit), says, numbers,
                 {"pooled": painting.picture(pictures, heat=True)}, body)  # fmt: skip


def _words(running: PrefixPredictions, parts: Callable[[int], np.ndarray]) -> tuple[list[list], float, float]:
    """The words with the largest part over all rows that are followed: how often they come, their mean part, and how
    many even parts that is; and over the rows the mean of the largest part, and of an even one."""
    found, highest, even = dict[str, list[tuple[float, float]]](), [], []
    for each in running.many:
        share = parts(each.row)
        highest.append(float(share.max()))
        even.append(1 / len(share))
        for piece, part in zip(each.pieces or (), share.tolist(), strict=True):
            found.setdefault(piece.strip() or piece, []).append((part, part * len(share)))
    means = {piece: np.mean(values, 0) for piece, values in found.items() if len(values) >= SEVERAL}
    best = sorted(means, key=lambda piece: -means[piece][1])[:NAMED]
    rows = [[seen(piece, 40), len(found[piece]), *map(float, means[piece])] for piece in best]
    return rows, float(np.mean(highest)), float(np.mean(even))
