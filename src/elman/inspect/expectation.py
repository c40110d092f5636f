"""What a language model expects: the surprise of each character, the lines of highest surprise, and one short text step
by step."""

import math
from collections.abc import Callable

import numpy as np

from elman.inspect.blocks import Chart, Heading, PaintedText, Table
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.display import visible
from elman.inspect.panel import Panel
from elman.inspect.recording import Recording

SHOWN = 2500  # characters of the painted text
FULL = 8.0  # bits of the strongest colour
HARD, SHORTEST = 10, 12  # lines listed, and characters of a line at least
UNITS = 24  # of the state, drawn


def bits(nats: np.ndarray, token_of: np.ndarray) -> np.ndarray:
    """Bits of each character (N,) from nats of the tokens (T,); `token_of` (N,): the token that completes it."""
    total = np.cumsum(np.nan_to_num(nats)) / math.log(2)
    return np.diff(total[token_of], prepend=0.0)


def expectation(text: str, token_of: np.ndarray, recording: Recording, spell: Callable[[int], str]) -> Panel:
    """A text (N,) painted by surprise. `token_of` (N,): the token of the recording that completes each character;
    `spell`: the text of a token."""
    surprise = bits(recording.nats, token_of)
    mean = float(np.nanmean(recording.nats)) / math.log(2)
    lines = _hardest(text, surprise)
    shown = text[:SHOWN]
    notes = [_note(char, surprise[i], recording, int(token_of[i]), spell) for i, char in enumerate(shown)]
    values = np.clip(surprise[: len(shown)] / FULL, 0, 1)
    return Panel(
        "expectation", "Surprise",
        f"The cross-entropy is {mean:.2f} bits per token over {len(recording):,} tokens. The deeper the orange, the "
        f"less probable the character (white 0, full colour {FULL:g} bits). The pointer shows its bits and the five "
        "most probable tokens in its position.",
        {"bits_per_token": mean, "tokens": len(recording),
         "hardest_lines": [{"bits": each, "line": line} for each, line in lines]},
        [PaintedText("surprise", "", shown, values, notes, heat=True),
         Heading("The lines of highest surprise"), Table(["bits per character", "line"], lines)],
    )  # fmt: skip


def _note(char: str, surprise: float, recording: Recording, token: int, spell: Callable[[int], str]) -> str:
    if token == 0:
        return f"{visible(char)}  the first token has no prediction"
    best = zip(recording.top[token - 1], recording.probabilities[token - 1], strict=True)
    predicted = "\n".join(f"{visible(spell(int(i))):>4} {p:6.1%}" for i, p in best)
    return f"{visible(char)}  {surprise:.2f} bits; predicted:\n{predicted}"


def _hardest(text: str, surprise: np.ndarray) -> list[tuple[float, str]]:
    """The lines with the most bits per character."""
    found, begin = [], 0
    for line in text.splitlines(keepends=True):
        end = begin + len(line)
        if len(line.strip()) >= SHORTEST:
            found.append((float(surprise[begin:end].mean()), line.rstrip("\r\n")[:160]))
        begin = end
    return sorted(found, reverse=True)[:HARD]


@styled
def step_by_step(text: str, recording: Recording, logits: np.ndarray, spell: Callable[[int], str]) -> Panel:
    """A short text: input, state, logits, softmax and prediction of each step. `logits` (T, V): after each token of the
    recording, which has the states of one layer."""
    steps, few = len(recording), recording.top.shape[1]
    state = next(iter(recording.values.values())).astype(np.float32)
    units = np.sort(np.argsort(-state.var(0))[: min(UNITS, state.shape[1])])
    figure, grid = axes(max(5.0, 1.7 * steps), 6.0, 3, 1, height_ratios=(2.2, 1, 1.6))
    above, middle, below = grid[:, 0]
    above.imshow(state[:, units].T, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    above.set_ylabel(f"state: the {len(units)} units\nof highest variance")
    best = np.take_along_axis(logits, recording.top, 1)
    following = [int(i) for i in recording.ids[1:]]
    for t in range(steps):
        names = [visible(spell(int(i))) for i in recording.top[t]]
        correct = [t < len(following) and int(i) == following[t] for i in recording.top[t]]
        colours = [COLOURS[2] if good else COLOURS[9] for good in correct]
        positions = t + (np.arange(few) - (few - 1) / 2) * 0.17
        middle.bar(positions, best[t], 0.15, color=colours)
        below.bar(positions, recording.probabilities[t], 0.15, color=colours)
        for position, name, probability in zip(positions, names, recording.probabilities[t], strict=True):
            below.text(position, probability + 0.01, literal(name), ha="center", fontsize=8)
    middle.set_ylabel("logits")
    below.set_ylabel("softmax")
    below.set_ylim(0, 1.25 * float(recording.probabilities.max()))
    below.set_xticks(range(steps), [f"input {literal(visible(spell(int(i))))}" for i in recording.ids])
    for each in (above, middle):
        each.set_xticks([])
    for each in (above, middle, below):
        each.set_xlim(-0.5, steps - 0.5)
        each.grid(False)
    rows = [_step(t, recording, following, spell) for t in range(steps)]
    return Panel(
        "strip", "One text, step by step",
        f"The input is “{visible(text)}”, from the initial state. Below each other: the state, the logits of the most "
        "probable tokens, their softmax; the next token is green.",
        {"text": text, "steps": [dict(zip(("input", "predicted", "probability", "next", "probability_of_next"), row,
                                          strict=True)) for row in rows]},
        [Chart("strip", figure), Table(["input", "predicted", "probability", "next", "its probability"], rows)],
    )  # fmt: skip


def _step(t: int, recording: Recording, following: list[int], spell: Callable[[int], str]) -> list[str | float]:
    """One step: input, prediction and its probability, the next token and its probability."""
    row = [visible(spell(int(recording.ids[t]))), visible(spell(int(recording.top[t, 0]))),
           float(recording.probabilities[t, 0])]  # fmt: skip
    if t == len(following):
        return [*row, "", math.nan]
    return [*row, visible(spell(following[t])), math.exp(-recording.nats[t + 1])]
