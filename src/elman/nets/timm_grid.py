"""An image as a grid of features, by a pretrained model of the timm library (Wightman 2019)."""

import hashlib
import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import torch
from torch import Tensor

from elman.errors import UserError, nearest
from elman.nets.grid import Encoder, with_coordinates
from elman.options import Bound, PositiveFloat

# a name of timm's own registry: no scheme, so nothing of another address or folder
Name = Annotated[
    str, Bound("the name of a timm model", lambda name: re.fullmatch(r"\w{1,100}(\.\w{1,100})?", name) is not None)
]
Version = Annotated[str, Bound("a version", lambda version: re.fullmatch(r"[\w.+!-]{1,40}", version) is not None)]


@dataclass(frozen=True)
class TimmModel:
    """A model of timm's registry, as a run stores it. Its weights are those of the run where it was fine-tuned, else
    those of the registry; no address and no path of weights is stored.

    - name: of architecture and weights, resnet18.a1_in1k
    - version: of the library that made it
    - fixed_size: whether the size of the images is an argument of the constructor
    - mean, std: of the pixels from 0 to 1, by which images are normalised
    """

    name: Name
    version: Version
    fixed_size: bool
    mean: tuple[float, float, float]
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class TimmGrid(Encoder):
    """pixels (B, 3, S, S), 0 to 255, give a grid: the features of the model's last layer at each position."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: TimmModel, size: int, pretrained: bool = False):
        """size: S. With `pretrained` it has the weights of timm's registry, else random ones."""
        super().__init__()
        library = timm(model.name)
        _check(model.name)
        fixed = {"img_size": size} if model.fixed_size else {}
        phrase, end = f"timm:{model.name} cannot be built for images of {size} pixels per side", ""
        if pretrained:
            phrase = f"the weights of timm:{model.name} cannot be fetched"
            end = "; they are needed once, while online"
        with _failing(phrase, end):
            overlay = _cached(library, model.name) if pretrained else None
            with torch.random.fork_rng(devices=[]):  # leaves the random numbers of everything else unchanged
                self.model = library.create_model(
                    model.name, pretrained=pretrained, pretrained_cfg_overlay=overlay, **fixed
                )
            self.model.reset_classifier(0)
        for name, values in (("mean", model.mean), ("std", model.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.size = self.model.num_features + 2

    def grid(self, pixels: Tensor) -> Tensor:
        """pixels (B, 3, S, S) give the features at each position, (B, L, D - 2)."""
        found = self.model.forward_features((pixels / 255 - self.mean) / self.std)
        if found.dim() == 4 and getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return found.flatten(1, 2)
        if found.dim() == 4:
            return found.flatten(2).transpose(1, 2)
        return found[:, getattr(self.model, "num_prefix_tokens", 0) :]

    def forward(self, pixels: Tensor) -> Tensor:
        return with_coordinates(self.grid(pixels))

    def digest(self) -> str:
        """32 hexadecimal digits that name the weights."""
        digest = hashlib.blake2b(digest_size=16)
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def timm(name: str) -> Any:
    """The library, for a model of that name."""
    try:
        with _quiet():
            return import_module("timm")
    except ImportError:
        raise UserError(f"timm:{name} needs timm: pip install 'elman[timm]'") from None
    except RuntimeError as error:  # a torchvision that was made for another torch
        raise UserError(f"timm:{name} needs timm, which is installed but does not start: {_line(error)}; "
                        "torchvision must be the one made for this torch") from None  # fmt: skip


def describe(name: str, size: int | None) -> tuple[TimmModel, int]:
    """The model of a name, and its image size in pixels per side: `size`, or that of its training. A name that is not
    of timm's registry, or has no pretrained weights, is a UserError."""
    library = timm(name)
    _check(name)
    with _failing(f"timm:{name} cannot be used"), torch.random.fork_rng(devices=[]):
        about = library.create_model(name).pretrained_cfg
        full = f"{about['architecture']}.{about['tag']}" if about.get("tag") else name
        mean, std = (tuple(float(value) for value in about[key]) for key in ("mean", "std"))
        model = TimmModel(full, library.__version__, bool(about.get("fixed_input_size")), mean, std)  # type: ignore[arg-type]
    if size is not None:
        shape(TimmGrid(model, size), size, name)  # before anything is fetched
    return model, size or int(about["input_size"][-1])


@torch.inference_mode()
def shape(model: TimmGrid, size: int, name: str) -> tuple[int, int]:
    """L and D of the features of a model. One that gives no square grid is a UserError."""
    model.eval()
    with _failing(f"timm:{name} does not take images of {size} pixels per side"):
        grid = model.grid(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=model.mean.device))
    positions, features = grid.shape[1:] if grid.dim() == 3 else (0, 0)
    if features != model.size - 2 or not positions or math.isqrt(positions) ** 2 != positions:
        raise UserError(f"timm:{name} gives no square grid of features, which is needed here: choose another model")
    return positions, features


def _check(name: str) -> None:
    """Raises where a name is not of timm's registry or has no pretrained weights."""
    library, (architecture, _, tag) = timm(name), name.partition(".")
    if architecture not in library.list_models():
        near = nearest(architecture, library.list_models(), cutoff=0.0)
        raise UserError(f"unknown model of timm '{name}': did you mean '{near}'?")
    if not library.is_model_pretrained(architecture):
        near = nearest(architecture, {each.partition(".")[0] for each in library.list_pretrained()}, cutoff=0.0)
        raise UserError(f"there are no pretrained weights of timm:{name}; the nearest model that has some is '{near}'")
    known = library.list_pretrained(f"{architecture}.*")
    if tag and name not in known:
        raise UserError(f"unknown weights of timm '{name}': did you mean '{nearest(name, known, cutoff=0.0)}'?")


def _cached(library: Any, name: str) -> dict[str, Any] | None:
    """The file of the registry's weights if it was fetched before: the Hub is then not queried for a newer one."""
    about = library.get_pretrained_cfg(name)
    where, file = about.hf_hub_id, about.hf_hub_filename or "model.safetensors"
    if not where or about.source or about.custom_load:
        return None
    repository, _, revision = where.partition("@")
    path = import_module("huggingface_hub").try_to_load_from_cache(repository, file, revision=revision or None)
    return {"file": path} if isinstance(path, str) else None


@contextmanager
def _failing(phrase: str, end: str = "") -> Iterator[None]:
    """What fails inside is a UserError: the phrase, the reason, and the end of the line."""
    try:
        with _quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # the errors of the library, its models and the network have no common class
        raise UserError(f"{phrase}: {_line(error)}{end}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own lines of log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _line(error: Exception) -> str:
    """The first sentence of an error."""
    return " ".join(str(error).split()).split(". ")[0][:200] or type(error).__name__
