"""What the model expected: the text by surprise, its hardest lines, and one short string step by step."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from elman.inspect import painting
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.panel import Panel, escape, table
from elman.inspect.recording import Recording

SHOWN = 2500  # characters of the painted text
FULL = 8.0  # bits at which the colour is strongest
HARD, SHORTEST = 10, 12  # lines that are named, and characters a line must have


def bits(nats: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Bits of each character (N,) from those of the tokens (T,), `place` being the token that completes it."""
    total = np.cumsum(np.nan_to_num(nats)) / math.log(2)
    return np.diff(total[place], prepend=0.0)


def expectation(text: str, place: np.ndarray, seen: Recording, spell: Callable[[int], str]) -> Panel:
    """The text (N,) that was read, painted by surprise. `place` (N,) is the token of the recording that completes a
    character, `spell` a token as one sees it."""
    hard = bits(seen.nats, place)
    mean = float(np.nanmean(seen.nats)) / math.log(2)
    rows = _hardest(text, hard)
    shown = text[:SHOWN]
    notes = [_note(char, hard[i], seen, int(place[i]), spell) for i, char in enumerate(shown)]
    body = painting.page(shown, np.clip(hard[: len(shown)] / FULL, 0, 1), notes, heat=True)
    body += "<h3>The hardest lines</h3>" + table(["bits a character", "line"], [[each, line] for each, line in rows])
    picture = painting.picture(
        [("surprise: white 0, orange 8 bits", shown[:1500], np.clip(hard[:1500] / FULL, 0, 1))], True
    )
    return Panel(
        "expectation", "What the model expected",
        f"The deeper the orange, the less a character was expected; {mean:.2f} bits a token on average over "
        f"{len(seen):,} tokens. Under the pointer: its bits, and the five likeliest tokens in its place.",
        {"bits_per_token": mean, "tokens": len(seen), "hardest_lines": [{"bits": b, "line": line} for b, line in rows]},
        {"surprise": picture}, body,
    )  # fmt: skip


def _note(char: str, hard: float, seen: Recording, token: int, spell: Callable[[int], str]) -> str:
    if token == 0:
        return f"{visible(char)}  the first: nothing was expected yet"
    likely, chances = seen.likely[token - 1], seen.chances[token - 1]
    options = "\n".join(f"{visible(spell(int(i))):>4} {p:6.1%}" for i, p in zip(likely, chances, strict=True))
    return f"{visible(char)}  {hard:.2f} bits; expected:\n{options}"


def visible(piece: str) -> str:
    """A token as one sees it: blanks, ends of lines and what is no character get a sign."""
    signs = {"\n": "⏎", "\t": "⇥", " ": "␣"}
    return "".join(signs.get(c, c if c.isprintable() else "\ufffd") for c in piece)


def _hardest(text: str, hard: np.ndarray) -> list[tuple[float, str]]:
    """The lines with the most bits a character."""
    found, begin = [], 0
    for line in text.splitlines(keepends=True):
        end = begin + len(line)
        if len(line.strip()) >= SHORTEST:
            found.append((float(hard[begin:end].mean()), line.rstrip("\r\n")[:160]))
        begin = end
    return sorted(found, reverse=True)[:HARD]


@styled
def strip(text: str, seen: Recording, logits: np.ndarray, spell: Callable[[int], str]) -> Panel:
    """A short string as the lecture draws it: input, state, logits, softmax, chosen. `logits` (T, V) are those after
    each token of `seen`."""
    steps, few = len(seen), seen.likely.shape[1]
    state = next(iter(seen.values.values())).astype(np.float32)
    units = np.sort(np.argsort(-state.var(0))[: min(24, state.shape[1])])
    figure, grid = axes(max(5.0, 1.7 * steps), 6.0, 3, 1, height_ratios=(2.2, 1, 1.6))
    above, middle, below = grid[:, 0]
    above.imshow(state[:, units].T, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    above.set_ylabel(f"state: the {len(units)} units\nthat change most")
    best = np.take_along_axis(logits, seen.likely, 1)
    chosen = [int(i) for i in seen.ids[1:]]
    for t in range(steps):
        names = [visible(spell(int(i))) for i in seen.likely[t]]
        right = [t < len(chosen) and int(i) == chosen[t] for i in seen.likely[t]]
        colours = [COLOURS[2] if good else COLOURS[9] for good in right]
        places = t + (np.arange(few) - (few - 1) / 2) * 0.17
        middle.bar(places, best[t], 0.15, color=colours)
        below.bar(places, seen.chances[t], 0.15, color=colours)
        for place, name, chance in zip(places, names, seen.chances[t], strict=True):
            below.text(place, chance + 0.01, literal(name), ha="center", fontsize=8)
    middle.set_ylabel("logits")
    below.set_ylabel("softmax")
    below.set_ylim(0, 1.25 * float(seen.chances.max()))
    below.set_xticks(range(steps), [f"reads {literal(visible(spell(int(i))))}" for i in seen.ids])
    for each in (above, middle):
        each.set_xticks([])
    for each in (above, middle, below):
        each.set_xlim(-0.5, steps - 0.5)
        each.grid(False)
    rows = [
        [visible(spell(int(seen.ids[t]))), visible(spell(int(seen.likely[t, 0]))), float(seen.chances[t, 0]),
         visible(spell(chosen[t])) if t < len(chosen) else "",
         float(math.exp(-seen.nats[t + 1])) if t < len(chosen) else math.nan]
        for t in range(steps)
    ]  # fmt: skip
    return Panel(
        "strip", "One string, step by step",
        f"The model reads “{visible(text)}” from its initial state: what goes in, the state, the logits of the "
        "likeliest tokens, their softmax; green is the token that comes next.",
        {"text": text, "steps": [dict(zip(("input", "expected", "probability", "next", "probability_of_next"), row,
                                          strict=True)) for row in rows]},
        {"strip": figure}, table(["input", "expected", "probability", "next", "its probability"], rows),
    )  # fmt: skip


def escaped(lines: Sequence[str]) -> str:
    """Text as it is."""
    return "<pre>\n" + escape("\n".join(lines)) + "</pre>"
