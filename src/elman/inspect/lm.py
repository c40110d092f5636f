"""The report of a language model."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional as F

from elman.cells.cell import Cell
from elman.errors import UserError
from elman.inspect import flow as gradient
from elman.inspect.activations import Activations
from elman.inspect.curves import training
from elman.inspect.expectation import expectation, strip
from elman.inspect.gates import saturation
from elman.inspect.interventions import hold_panel
from elman.inspect.learned import scores, units_panel
from elman.inspect.look import Look
from elman.inspect.markov import Texts, markov
from elman.inspect.panel import Panel
from elman.inspect.recording import listen
from elman.tasks.lm import LM
from elman.tokenizers.tokenizer import Tokenizer
from elman.training.trained_model import Model

TAKES = ("text", "language", "length", "unknown", "own")
STEPS, ROWS = 150, 24  # of gradient flow
JACOBIANS = 4
STRIP = "hello"


def panels(model: Model, look: Look) -> Iterator[Panel]:
    """Every panel of the report, one after another, the slow ones last."""
    here = Activations(model, look)
    found = scores(here)
    yield units_panel(here, *found)
    if not look.quiet:
        yield expectation(here.text, here.place, here.seen, _spell(here.tokens))
        yield strip_panel(here)
        if (held := hold_panel(here, found[0])) is not None:
            yield held
    if (gates := saturation(here.gates, here.seen.values)) is not None:
        yield gates
    yield gradient_panel(here)
    yield from training(model.run, look.log)
    if here.train is not None:
        spell = here.tokens.decode
        yield markov(model, Texts(here.train, here.ids, len(here.tokens), spell, here.language), look.seed)


def _spell(tokens: Tokenizer) -> Callable[[int], str]:
    return lambda token: tokens.decode([token])


def strip_panel(here: Activations) -> Panel:
    """ "hello", where the model knows its letters; otherwise the beginning of the text."""
    try:
        ids = here.tokens.encode(STRIP)
    except UserError:
        ids = here.ids[:5].tolist()
    outputs = f"1.{here.layer.cells[0].states[0]}"  # type: ignore[union-attr]
    seen = listen(here.task, np.array(ids), lambda place: place == outputs)
    with torch.no_grad():
        device = here.task.head.weight.device
        logits = here.task.logits(torch.tensor([ids], device=device))[0][0].float().cpu().numpy()
    return strip(here.tokens.decode(ids), seen, logits, _spell(here.tokens))


def gradient_panel(here: Activations) -> Panel:
    """Gradient flow over pieces of the text, with the model's own loss at their last step."""
    options = here.model.config["options"]
    return gradient.panel(
        here.layer, text_flow(here.task, here.ids), jacobians(here), options["back"] or options["window"]
    )


def text_flow(task: LM, ids: np.ndarray) -> gradient.Flow:
    """Gradient flow over pieces of a text, of the loss of the token behind each."""
    device, steps = task.head.weight.device, min(STEPS, len(ids) // 4)
    starts = np.linspace(0, len(ids) - steps - 1, ROWS).astype(int)
    tokens = torch.from_numpy(ids[starts[:, None] + np.arange(steps + 1)].astype(np.int64)).to(device)
    x, target = task.lookup(tokens[:, :-1]).detach(), tokens[:, -1]
    return gradient.flow(task.recurrent, x, lambda h: F.cross_entropy(task.head(h), target, reduction="none"))


def jacobians(here: Activations) -> dict[str, list[gradient.Stretching]]:
    """How the step of each layer stretches its state, at some places of the text."""
    found: dict[str, list[gradient.Stretching]] = {}
    device = here.task.head.weight.device

    def state(number: int, place: int) -> list[torch.Tensor]:
        names = here.layer.cells[number].states  # type: ignore[union-attr]
        values = (here.states[f"{number + 1}.{name}"][place].astype(np.float32) for name in names)  # type: ignore[union-attr]
        return [torch.from_numpy(value).to(device) for value in values]

    for place in np.linspace(0, len(here.ids) - 2, JACOBIANS + 2).astype(int)[1:-1]:
        x = here.task.lookup(torch.tensor(int(here.ids[place + 1]), device=device)).detach()
        for number, cell in enumerate(here.layer.cells):
            assert isinstance(cell, Cell)
            stretched = gradient.Stretching.of(gradient.jacobian(cell, x, state(number, place)))
            found.setdefault(str(number + 1), []).append(stretched)
            output = state(number, place + 1)[0]
            x = x + output if here.layer.residual and number else output
    return found
