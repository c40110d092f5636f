"""What tasks share that see pictures: how a picture becomes a grid of vectors.

An encoder is described in JSON: `name`, `size` in pixels to a side, and what else it needs to be made again.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from cyclopts import Parameter
from torch import nn

from elman.data.features import FeatureExtractor, Features
from elman.data.image import LazyImage
from elman.data.pixels import Pixels
from elman.data.rows import Field
from elman.errors import UserError
from elman.log import Log
from elman.nets import grid as where
from elman.nets import timm_grid
from elman.nets.residual import Residual
from elman.nets.timm_grid import TimmGrid
from elman.options import PositiveInt
from elman.tasks.tables import TableTaskOptions

RESIDUAL = "residual"
USUAL: dict[str, Any] = {"name": RESIDUAL, "size": 64}


@Parameter(name="*")
@dataclass(frozen=True)
class VisionOptions(TableTaskOptions):
    """How pictures are read."""

    image_column: str | None = None
    """The column of the pictures; the one that has some when not given."""
    encoder: str = RESIDUAL
    """What sees the pictures. residual: a small network of our own, trained with the task; timm:NAME: a model of the
    timm library with pretrained weights."""
    fine_tune: bool = False
    """Train a timm encoder further, instead of keeping it as it is."""
    image_size: PositiveInt | None = None
    """Pixels to a side: every picture is brought to this size. 64 for residual, what it was made for otherwise."""


class Kind(ABC):
    """A kind of encoder. The second word of its name, behind a colon, is its own affair."""

    @abstractmethod
    def asked(self, options: VisionOptions) -> dict[str, Any]:
        """The encoder that is asked for, as JSON."""

    @abstractmethod
    def field(self, pictures: Sequence[LazyImage], config: dict[str, Any], log: Log) -> Field:
        """What the network is given of each picture."""

    @abstractmethod
    def network(self, config: dict[str, Any]) -> where.Encoder:
        """Gives a grid (B, L, D) of what `field` has in a batch; `size` is D."""

    @abstractmethod
    def begin(self, network: nn.Module, config: dict[str, Any]) -> None:
        """Gives a new network what it knows before it is trained."""


class Own(Kind):
    """`Residual`, from pixels."""

    def asked(self, options: VisionOptions) -> dict[str, Any]:
        if options.encoder != RESIDUAL:
            raise _unknown(options.encoder)
        if options.fine_tune:
            raise UserError("--fine-tune is for --encoder timm:NAME: residual is always trained")
        return {"name": RESIDUAL, "size": options.image_size or USUAL["size"]}

    def field(self, pictures: Sequence[LazyImage], config: dict[str, Any], log: Log) -> Field:
        return Pixels(pictures, config["size"], log)

    def network(self, config: dict[str, Any]) -> where.Encoder:
        return Residual()

    def begin(self, network: nn.Module, config: dict[str, Any]) -> None:
        pass  # it learns all of it


class Timm(Kind):
    """A model of the timm library: a part of the task that is trained with it, or outside of it and never changed,
    where what it finds in each picture is kept."""

    def asked(self, options: VisionOptions) -> dict[str, Any]:
        name = options.encoder.partition(":")[2]
        if not name:
            raise _unknown(options.encoder)
        settings, size = timm_grid.described(name, options.image_size)
        config = {"name": options.encoder, "size": size, "fine_tune": options.fine_tune, "settings": settings}
        model = TimmGrid(settings, size) if options.fine_tune else _pretrained(json.dumps(settings), size)
        grid = timm_grid.shape(model, size, name)
        return config | {"grid": list(grid)} | ({} if options.fine_tune else {"weights": model.digest()})

    def field(self, pictures: Sequence[LazyImage], config: dict[str, Any], log: Log) -> Field:
        if config["fine_tune"]:
            return Pixels(pictures, config["size"], log)
        return Features(pictures, _finder(config), log)

    def network(self, config: dict[str, Any]) -> where.Encoder:
        if config["fine_tune"]:
            return TimmGrid(config["settings"], config["size"])
        return where.Placed(config["grid"][1])

    def begin(self, network: nn.Module, config: dict[str, Any]) -> None:
        if config["fine_tune"]:
            network.load_state_dict(TimmGrid(config["settings"], config["size"], pretrained=True).state_dict())


ENCODERS: dict[str, Kind] = {RESIDUAL: Own(), "timm": Timm()}


def asked(options: VisionOptions) -> dict[str, Any]:
    """The encoder that is asked for, as JSON."""
    return _kind(options.encoder).asked(options)


def seen(pictures: Sequence[LazyImage], config: dict[str, Any], log: Log) -> Field:
    """What the encoder is given of each picture. `config` is that of the data."""
    return _kind(config["encoder"]["name"]).field(pictures, config["encoder"], log)


def encoder(config: dict[str, Any]) -> where.Encoder:
    """The network of an encoder, which is about to be given its weights; see `Kind.network`."""
    return _kind(config["name"]).network(config)


def begin(network: nn.Module, config: dict[str, Any]) -> None:
    """Gives the network of an encoder what it knows before training."""
    _kind(config["name"]).begin(network, config)


def _kind(name: str) -> Kind:
    word = name.partition(":")[0]
    if word not in ENCODERS:
        raise _unknown(name)
    return ENCODERS[word]


def _unknown(name: str) -> UserError:
    return UserError(f"unknown encoder '{name}': it is {RESIDUAL}, or timm:NAME, such as timm:resnet18")


@cache
def _pretrained(settings: str, size: int) -> TimmGrid:
    """A model that stays as it is, made once a process."""
    device = "cuda" if torch.cuda.is_available() and torch.utils.data.get_worker_info() is None else "cpu"
    return TimmGrid(json.loads(settings), size, pretrained=True).to(device).eval().requires_grad_(False)


def _finder(config: dict[str, Any]) -> FeatureExtractor:
    name, size, settings = config["name"], config["size"], config["settings"]

    @cache
    def model() -> TimmGrid:
        found = _pretrained(json.dumps(settings), size)
        if found.digest() != config["weights"]:
            raise UserError(f"the weights of {name} are not those that this model was trained with: it would see "
                            "something else in every picture")  # fmt: skip
        return found

    @torch.inference_mode()
    def find(pixels: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(pixels)[None].to(model().mean.device)
        return model().grid(given)[0].float().cpu().numpy()

    told = settings["pretrained_cfg"]
    key = (
        settings["name"],
        size,
        config["weights"],
        told["mean"],
        told["std"],
        timm_grid.timm(settings["name"]).__version__,
    )
    return FeatureExtractor(name, json.dumps(key), size, tuple(config["grid"]), find)
