"""The report of a language model."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from elman.cells.cell import Cell
from elman.errors import UserError
from elman.inspect import flow as gradient
from elman.inspect.activations import Activations
from elman.inspect.curves import training
from elman.inspect.expectation import expectation, step_by_step
from elman.inspect.gates import saturation
from elman.inspect.interventions import held_units
from elman.inspect.learned import scores, unit_panel, units_panel
from elman.inspect.live import check_unit
from elman.inspect.markov import Texts, markov
from elman.inspect.panel import Panel
from elman.inspect.recording import read
from elman.inspect.report_options import ReportOptions
from elman.tokenizers.tokenizer import Tokenizer
from elman.training.trained_model import TrainedModel

TAKES = ("text", "language", "length", "unit", "unknown", "properties")
STEPS, ROWS = 150, 24  # of gradient flow
JACOBIANS = 4
EXAMPLE = "hello"


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report, the slow ones last; with `unit` the panel of that unit."""
    if options.unit is not None:
        for layer in model.model.layers():
            check_unit(layer, options.unit)
        yield unit_panel(Activations(model, options), options.unit)
        return
    here = Activations(model, options)
    found = scores(here)
    yield units_panel(here, *found)
    if not options.no_text:
        yield expectation(here.text, here.token_of, here.recording, _spell(here.tokenizer))
        yield example_panel(here)
        if (held := held_units(here, found[0])) is not None:
            yield held
    if (gates := saturation(here.gates, here.recording.values)) is not None:
        yield gates
    yield gradient_panel(here)
    yield from training(model.run, options.log)
    if here.train is not None:
        texts = Texts(here.train, here.ids, len(here.tokenizer), here.tokenizer.decode, here.language)
        yield markov(model, texts, options.seed)


LARGEST_JACOBIAN = 2048  # rows


def _spell(tokenizer: Tokenizer) -> Callable[[int], str]:
    return lambda token: tokenizer.decode([token])


def example_panel(here: Activations) -> Panel:
    """A short text step by step: "hello" where the model knows its letters, otherwise the beginning of the text."""
    try:
        ids = here.tokenizer.encode(EXAMPLE)
    except UserError:
        ids = here.ids[:5].tolist()
    outputs = f"1.{here.layer.cells[0].states[0]}"  # type: ignore[union-attr]
    recording = read(here.network, np.array(ids), lambda address: address == outputs)
    with torch.no_grad():
        logits = here.network.logits(torch.tensor([ids], device=here.network.device))[0][0].float().cpu().numpy()
    return step_by_step(here.tokenizer.decode(ids), recording, logits, _spell(here.tokenizer))


def gradient_panel(here: Activations) -> Panel:
    """Gradient flow over pieces of the text, from the model's own loss at their last step."""
    options = here.model.spec.options
    flow = text_flow(here.network, here.ids)
    return gradient.panel(here.layer, flow, jacobians(here), options.bptt or options.seq_len)


def text_flow(network: Any, ids: np.ndarray) -> gradient.Flow:
    """Gradient flow over pieces of a text, from the loss of the token after each.

    network: has `recurrent`, `embedding` and `head`.
    """
    steps = min(STEPS, len(ids) // 4)
    starts = np.linspace(0, len(ids) - steps - 1, ROWS).astype(int)
    tokens = torch.from_numpy(ids[starts[:, None] + np.arange(steps + 1)].astype(np.int64)).to(network.device)
    x, target = network.embedding(tokens[:, :-1]).detach(), tokens[:, -1]
    return gradient.flow(network.recurrent, x, lambda h: F.cross_entropy(network.head(h), target, reduction="none"))


def jacobians(here: Activations) -> dict[str, list[gradient.Spectrum]]:
    """The Jacobians of the step of each layer, at some positions of the text; not those of states so large, as memory
    matrices are, that their eigenvalues take minutes."""
    found: dict[str, list[gradient.Spectrum]] = {}
    device = here.network.device

    def state(number: int, position: int) -> list[torch.Tensor]:
        names = here.layer.cells[number].states  # type: ignore[union-attr]
        values = (here.states[f"{number + 1}.{name}"][position].astype(np.float32) for name in names)  # type: ignore[union-attr]
        return [torch.from_numpy(value).to(device) for value in values]

    for position in np.linspace(0, len(here.ids) - 2, JACOBIANS + 2).astype(int)[1:-1]:
        x = here.network.embedding(torch.tensor(int(here.ids[position + 1]), device=device)).detach()
        for number, cell in enumerate(here.layer.cells):
            assert isinstance(cell, Cell)
            before = state(number, position)
            if sum(cell.state_sizes) <= LARGEST_JACOBIAN:
                spectrum = gradient.Spectrum.of(gradient.jacobian(cell, x, before))
                found.setdefault(str(number + 1), []).append(spectrum)
            with torch.no_grad():
                output = cell.result(cell.step(cell.inputs(x[None]), *(value[None] for value in before)))[0][0]
            x = x + output if here.layer.residual and number else output
    return found
