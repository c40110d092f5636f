"""Quality of images that are painted in steps, beside a variational autoencoder; run by quality.py."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import elman as elman_package
from command import elman, evaluated
from command import summary as read_summary
from elman.tasks.draw import Draw, DrawModel, DrawSpec, Steps, gaussian_kl
from elman.tasks.model import Model
from elman.training.device import find_precision
from elman.training.evaluate import evaluate

HEAD = [
    "| model | bound, nats | reconstruction | KL divergence | epochs | images/s | parameters |",
    "|---" * 7 + "|",
]


class VaeModel(DrawModel):
    """Encoder and decoder of two layers of units with tanh each, and one latent vector (Kingma & Welling 2014)."""

    def __init__(self, spec: DrawSpec):
        Model.__init__(self, spec)
        pixels, hidden, latent = spec.channels * spec.image_size**2, spec.hidden, spec.options.latent_size
        self.encoder = _perceptron(pixels, hidden, 2 * latent)
        self.decoder = _perceptron(latent, hidden, pixels)
        self.start = nn.Parameter(torch.zeros(spec.channels, spec.image_size, spec.image_size))

    def describe(self) -> str:
        return f"{self.spec.hidden} units, latent {self.spec.options.latent_size}"

    def reconstruct(self, x: Tensor, noise: Tensor) -> Steps:
        mean, log_deviation = self.encoder(x.flatten(1)).float().chunk(2, 1)
        steps = self.generate((mean + log_deviation.exp() * noise[0])[None])
        return Steps(steps.canvases, [], [], gaussian_kl(mean, log_deviation)[None], steps.latents)

    def generate(self, latents: Tensor) -> Steps:
        change = self.decoder(latents[0]).float().view(-1, *self.start.shape)
        return Steps([self.canvas(len(change)) + change], [], [], None, latents)


class Vae(Draw, kind="plain-vae", summary="images, by a variational autoencoder"):
    """The data, the options and the loss of draw."""

    Model = VaeModel


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
                         nn.Linear(hidden, outputs))  # fmt: skip


def draw(path: Path, span: str) -> list[str]:
    """The bound of the test split, and that of the autoencoder in the same time; one seed."""
    with tempfile.TemporaryDirectory() as folder:
        sizes: dict[str, Any] = {"time_steps": 1, "hidden": 500, "latent_size": 50}
        trained = elman_package.train(Vae, path, for_=span, out=Path(folder) / "vae", preview=False, lr=0.001, **sizes)
        source = trained.source("test")
        assert source is not None
        found = evaluate(trained.model, source, find_precision("float32", trained.device))
        line = _line("variational autoencoder, 500 units", found.means, read_summary(trained.path))
    return _table(path, span, [_trained(path, span), line])


def with_attention(path: Path, span: str) -> list[str]:
    """The bound of the test split with attention; one seed."""
    return _table(path, span, [_trained(path, span, "--attention")])


def _trained(path: Path, span: str, *words: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        elman("train", "draw", path, "--for", span, "--out", run, "--no-preview", *words)
        return _line(f"`{' '.join(('draw', *words))}`", evaluated(run, "--split", "test"), read_summary(run))


def _table(path: Path, span: str, lines: list[str]) -> list[str]:
    return [
        f"`elman train draw {path.name} --for {span}`, then `elman eval RUN --split test`: pixels binarized by "
        "sampling, one seed",
        "",
        *HEAD,
        *lines,
    ]


def _line(name: str, found: dict[str, Any], summary: dict[str, Any]) -> str:
    values = [f"{found[part]:.2f}" for part in ("loss", "reconstruction", "kl")]
    values += [f"{summary['epochs']:.1f}", f"{summary['units_per_s']:,.0f}", f"{summary['parameters']:,}"]
    return "| " + " | ".join([name, *values]) + " |"
