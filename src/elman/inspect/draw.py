"""The report of a model that paints images in steps: samples, reconstructions, canvases and windows over time, what
each step costs and gains, and gradient flow."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from elman.data.rows import Rows
from elman.data.source import to
from elman.errors import UserError
from elman.inspect.blocks import Chart, Table
from elman.inspect.canvas import enlarged, factor_of, marked
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.curves import columns, training
from elman.inspect.flow import chart as flow_chart
from elman.inspect.flow import flow, steps_of
from elman.inspect.held_out import held_out
from elman.inspect.panel import Panel
from elman.inspect.report_options import ReportOptions
from elman.tasks.capabilities import Painting
from elman.tasks.draw import bernoulli_nats, boxes, pixels
from elman.tasks.loss import Context
from elman.training.trained_model import TrainedModel, seeded

TAKES = ("text", "length")
IMAGES = 500  # that are reconstructed by default
SAMPLES, PAIRED, OVER_TIME = 64, 16, 8  # images: generated, beside their reconstructions, with all their canvases
ENLARGED = 4
FLOWING = 64  # images whose gradients are measured
PARTS = ("reconstruction", "kl")
READ, WRITTEN = (60, 130, 230), (230, 60, 40)


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    here = Reconstructions(model, options)
    yield samples_panel(model.paint(SAMPLES, options.seed))
    yield reconstructions_panel(here)
    yield canvases_panel(here)
    yield kl_panel(here)
    yield gradient_panel(here)
    if model.run.read_log():
        yield parts_panel(model)
    yield from training(model.run, options.log)


class Reconstructions:
    """Held-out images, and the steps in which the model paints them again."""

    def __init__(self, model: TrainedModel, options: ReportOptions):
        self.network: Any = model.model
        source = held_out(model, options)
        if not isinstance(source, Rows):
            raise UserError(f"{options.text or model.path} has no images")
        chosen = np.random.default_rng(options.seed).permutation(len(source.table))[: options.length or IMAGES]
        options.log(f"{len(chosen):,} of {len(source.table):,} images are reconstructed")
        context = Context(progress=1.0, generator=seeded(options.seed))
        self.network.eval()
        with torch.no_grad():
            self.x = self.network.images(to(source.take(chosen), model.device), context)
            self.steps = self.network.reconstruct(self.x, self.network.noise(len(chosen), context))

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def nats(self) -> np.ndarray:
        """The reconstruction (T,), were the canvas after each step the last; the mean over the images."""
        return np.array([float(bernoulli_nats(canvas, self.x).mean()) for canvas in self.steps.canvases])

    @cached_property
    def kl(self) -> np.ndarray:
        """The KL divergence (T,) of each step, the mean over the images."""
        return self.steps.kl.mean(1).cpu().numpy()

    @property
    def parts(self) -> str:
        """The mean bound of the images, and its parts."""
        nats, kl = self.nats[-1], self.kl.sum()
        return f"{nats + kl:.2f} nats an image: reconstruction {nats:.2f}, KL divergence {kl:.2f}"

    def inputs(self, count: int) -> np.ndarray:
        """The pixels of the first images."""
        return pixels(self.x[:count])

    def canvases(self, count: int) -> np.ndarray:
        """The canvases of the first images, (T, N, ...) pixels."""
        return np.stack([pixels(canvas[:count].sigmoid()) for canvas in self.steps.canvases])


@styled
def image_chart(rows: list[tuple[str, np.ndarray]], headings: list[str] | None = None) -> Figure:
    """Rows of images (N, H, W, 3) under each other, each row with its name, each column with its heading."""
    count = max(len(images) for _, images in rows)
    side = 10.0 / max(count, 6) if count > 1 else 6.0
    figure, grid = axes(side * count + 0.9, side * len(rows) + 0.3, len(rows), count)
    grid = np.array(grid).reshape(len(rows), count)
    for (name, images), line in zip(rows, grid, strict=True):
        for number, axis in enumerate(line):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            axis.grid(False)
            if number < len(images):
                axis.imshow(images[number], interpolation="nearest")
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for axis, heading in zip(grid[0], headings or [], strict=False):
        axis.set_title(heading)
    return figure


def samples_panel(painting: Painting) -> Panel:
    """A sheet of samples, and some of them over time."""
    count = painting.canvases.shape[1]
    factor = factor_of(count, painting.canvases.shape[2])
    sheet = enlarged(painting.images.sheet()[None], factor)
    summary = (
        f"{count} images, generated from random latent vectors of the prior; below, {OVER_TIME} of them over time."
    )
    over_time = [("", _marked(painting.canvases[:, n], painting.windows, n, WRITTEN)) for n in range(OVER_TIME)]
    return Panel("samples", "Samples", summary, {"count": count}, [
        Chart("samples", image_chart([("", sheet)])),
        Chart("samples_over_time", image_chart(over_time, _headings(len(painting.canvases))))])  # fmt: skip


def reconstructions_panel(here: Reconstructions) -> Panel:
    """Inputs and their reconstructions."""
    count = min(PAIRED, len(here))
    painted = here.canvases(count)[-1]
    summary = f"{len(here):,} held-out images, {here.parts}. Above the image, below its reconstruction."
    metrics = {"images": len(here), "bound": here.nats[-1] + here.kl.sum(), "reconstruction": here.nats[-1],
               "kl": here.kl.sum()}  # fmt: skip
    rows = [("image", enlarged(here.inputs(count), ENLARGED)), ("painted", enlarged(painted, ENLARGED))]
    return Panel("reconstructions", "Reconstructions", summary, metrics, [Chart("reconstructions", image_chart(rows))])


def canvases_panel(here: Reconstructions) -> Panel:
    """The canvas of some images after each step, with the window that was written; and what was read from the image."""
    count, written, read = min(OVER_TIME, len(here)), boxes(here.steps.written), boxes(here.steps.read)
    canvases, inputs = here.canvases(count), here.inputs(count)
    rows = [("", _marked(canvases[:, n], written, n, WRITTEN)) for n in range(count)]
    charts = [Chart("canvases", image_chart(rows, _headings(len(canvases))))]
    summary, metrics = f"The canvas of {count} held-out images after each step", dict[str, Any]()
    if read is None or written is None:
        return Panel("canvases", "Canvases over time", f"{summary}.", metrics, charts)
    reads = [("", _marked(np.stack([inputs[n]] * len(canvases)), read, n, READ)) for n in range(count)]
    charts.append(Chart("windows", image_chart(reads, _headings(len(canvases)))))
    widths = {
        name: np.stack([each[..., 2] - each[..., 0]]).mean((0, 2))
        for name, each in (("read", read), ("written", written))
    }
    summary += (f", the window that it writes to in red; below, the window that it reads from, in blue. The mean width "
                f"of what is read goes from {widths['read'][0]:.1f} to {widths['read'][-1]:.1f} pixels, of what is "
                f"written from {widths['written'][0]:.1f} to {widths['written'][-1]:.1f}.")  # fmt: skip
    return Panel("canvases", "Canvases over time", summary, {"widths": widths}, charts)


@styled
def kl_panel(here: Reconstructions) -> Panel:
    """What each step costs, in KL divergence, and what it gains, in reconstruction."""
    nats, kl = here.nats, here.kl
    start = float(bernoulli_nats(here.network.canvas(len(here)), here.x).mean().detach())
    gains = -np.diff(nats, prepend=start)
    figure, grid = axes(10.0, 3.2, 1, 2)
    costs, bound = grid[0]
    step = np.arange(1, len(kl) + 1)
    costs.bar(step - 0.2, kl, 0.4, label="KL divergence", color=COLOURS[0])
    costs.bar(step + 0.2, gains, 0.4, label="gain in reconstruction", color=COLOURS[1])
    costs.set(xlabel="step", ylabel="nats an image", yscale="symlog")
    bound.plot(step, nats + kl.cumsum(), label="bound, were it the last step", color=COLOURS[2])
    bound.plot(step, nats, label="reconstruction", color=COLOURS[1])
    bound.plot(step, kl.cumsum(), label="KL divergence so far", color=COLOURS[0])
    bound.set(xlabel="step", ylabel="nats an image")
    for axis in (costs, bound):
        axis.set_xticks(step if len(step) <= 16 else step[:: len(step) // 8])
        axis.legend(ncols=1)
    most, best = int(kl.argmax()), int((gains - kl).argmax())
    summary = f"The KL divergence is highest at step {most + 1}: {kl[most]:.2f} nats of {kl.sum():.2f}. "
    summary += f"Step {best + 1} pays most: it gains {gains[best]:.1f} nats in reconstruction for {kl[best]:.2f}."
    rows = [[number, *values] for number, values in enumerate(np.stack((kl, gains, nats), 1).tolist(), 1)]
    table = Table(["step", "KL divergence", "gain", "reconstruction after it"], rows)
    metrics = {"kl": kl, "gain": gains, "reconstruction": nats}
    return Panel("steps", "What each step costs and gains", summary, metrics, [Chart("steps", figure), table])


def gradient_panel(here: Reconstructions) -> Panel:
    """The gradient of the reconstruction with respect to the states of the decoder at earlier steps."""
    count = min(FLOWING, len(here))
    latents, x = here.steps.latents[:, :count].transpose(0, 1), here.x[:count]
    before = here.steps.canvases[-2][:count] if len(here.steps.canvases) > 1 else here.network.canvas(count)
    found = flow(here.network.decoder, latents, lambda y: bernoulli_nats(before + here.network.write(y)[0].float(), x))
    lives = {address: found.half_life(address) for address in found.states}
    longest, measured = found.longest, len(latents[0])
    summary = (f"Through the decoder alone, the gradient of what the last step paints with respect to {longest} halves "
               f"in {steps_of(lives[longest], measured)} steps, of {measured}. The canvas, a sum over all steps, "
               "carries it back further.")  # fmt: skip
    rows = [[name, steps_of(lives[name], measured), f"{norms[-1]:.1e}"] for name, norms in found.states.items()]
    table = Table(["state", "half-life, steps", f"relative norm after {measured - 1} steps"], rows)
    metrics = {"states": found.states, "half_life": lives}
    return Panel("gradient", "Gradient flow", summary, metrics, [Chart("gradient", flow_chart(found.states)), table])


@styled
def parts_panel(model: TrainedModel) -> Panel:
    """The two parts of the bound over the training."""
    log = columns(model.run)
    figure, grid = axes(10.0, 3.0, 1, 2)
    for axis, part in zip(grid[0], PARTS, strict=True):
        axis.plot(log["seconds"], log[part], color=COLOURS[0], alpha=0.55, linewidth=1, label="training")
        validated = ~np.isnan(log[f"val_{part}"]) if f"val_{part}" in log else np.zeros(0, bool)
        if validated.any():
            axis.plot(log["seconds"][validated], log[f"val_{part}"][validated], color=COLOURS[0], label="validation")
        axis.set(title=f"{part}, nats an image", xlabel="seconds")
        axis.legend()
    summary = "The bound is their sum: a better reconstruction is paid for with more information in the latent vectors."
    return Panel("parts", "Reconstruction and KL divergence", summary, {}, [Chart("parts", figure)])


def _marked(images: np.ndarray, windows: np.ndarray | None, number: int, color: tuple[int, ...]) -> np.ndarray:
    """One image at all steps, with its windows of (T, N, 4)."""
    return marked(images, None if windows is None else windows[:, number], ENLARGED, color)


def _headings(steps: int) -> list[str]:
    return [str(step) for step in range(1, steps + 1)]
