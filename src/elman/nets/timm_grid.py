"""A picture as a grid of vectors, by a model of the timm library (Wightman 2019)."""

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elman.errors import UserError, nearest
from elman.nets.grid import Encoder, with_coordinates

LOCAL = "local-dir:"  # before the folder of a model that is not of the library
# what is kept of what timm knows of pretrained weights: where they are, and how pictures are given
KEPT = (
    "architecture", "tag", "source", "file", "url", "hf_hub_id", "hf_hub_filename", "custom_load", "num_classes",
    "label_offset", "classifier", "first_conv", "global_pool", "input_size", "fixed_input_size", "mean", "std",
)  # fmt: skip


class TimmGrid(Encoder):
    """pixels (B, 3, S, S), 0 to 255, give a grid: what the model's last layer finds at each place."""

    mean: Tensor
    std: Tensor

    def __init__(self, settings: dict[str, Any], size: int, pretrained: bool = False):
        """settings: of `described`; size: S. With `pretrained` it has timm's weights, else random ones."""
        super().__init__()
        name, known, arguments = settings["name"], settings["pretrained_cfg"], settings["arguments"]
        fixed = {"img_size": size} if known.get("fixed_input_size") else {}
        phrase, end = f"timm:{name} cannot be made for pictures of {size} pixels to a side", ""
        if pretrained:
            phrase = f"the weights of timm:{name} cannot be fetched"
            end = "" if name.startswith(LOCAL) else "; they are needed once, while online"
        with _failing(phrase, end):
            library, found = timm(name), _cached(known) if pretrained else {}
            with torch.random.fork_rng(devices=[]):  # the draws of others stay what they are without this model
                self.model = library.create_model(
                    known["architecture"], pretrained, known | found, **(arguments | fixed)
                )
            self.model.reset_classifier(0)
            for which in ("mean", "std"):
                self.register_buffer(which, torch.tensor(known[which]).view(3, 1, 1), persistent=False)
        self.size = self.model.num_features + 2

    def grid(self, pixels: Tensor) -> Tensor:
        """pixels (B, 3, S, S) give what the model finds at each place, (B, L, D - 2)."""
        found = self.model.forward_features((pixels / 255 - self.mean) / self.std)
        if found.dim() == 4 and getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return found.flatten(1, 2)
        if found.dim() == 4:
            return found.flatten(2).transpose(1, 2)
        return found[:, getattr(self.model, "num_prefix_tokens", 0) :]

    def forward(self, pixels: Tensor) -> Tensor:
        return with_coordinates(self.grid(pixels))

    def digest(self) -> str:
        """What tells these weights from any others."""
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
        raise UserError(f"timm:{name} needs timm, which is here but does not start: {_line(error)}; "
                        "torchvision must be the one made for this torch") from None  # fmt: skip


def described(name: str, size: int | None) -> tuple[dict[str, Any], int]:
    """How a model of a name is made, as JSON, and the pixels to a side that it is given: `size`, or what it was made
    for. A name that is none, or that has no pretrained weights, is a UserError."""
    if name.startswith(LOCAL):
        name = LOCAL + str(Path(name.removeprefix(LOCAL)).expanduser().absolute())
    elif ":" not in name:
        _check(name)
    with _failing(f"timm:{name} cannot be used"), torch.random.fork_rng(devices=[]):
        model = timm(name).create_model(name)
        known = {key: value for key, value in model.pretrained_cfg.items() if key in KEPT}
        arguments = dict(getattr(model, "pretrained_model_args", {}))
    full = f"{known['architecture']}.{known['tag']}" if ":" not in name and known.get("tag") else name
    settings = json.loads(json.dumps({"name": full, "pretrained_cfg": known, "arguments": arguments}))
    if size is not None:
        shape(TimmGrid(settings, size), size, name)  # before anything is fetched
    return settings, size or int(known["input_size"][-1])


@torch.inference_mode()
def shape(model: TimmGrid, size: int, name: str) -> tuple[int, int]:
    """L and D of what a model finds. One that finds no grid is a UserError."""
    model.eval()
    with _failing(f"timm:{name} cannot see pictures of {size} pixels to a side"):
        grid = model.grid(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=model.mean.device))
    places, numbers = grid.shape[1:] if grid.dim() == 3 else (0, 0)
    if numbers != model.size - 2 or not places or math.isqrt(places) ** 2 != places:
        raise UserError(f"timm:{name} gives no square grid of vectors, which is needed here: choose another model")
    return places, numbers


def _check(name: str) -> None:
    models, (architecture, _, tag) = timm(name), name.partition(".")
    if not models.is_model(architecture):
        near = nearest(architecture, models.list_models(), cutoff=0.0)
        raise UserError(f"unknown model of timm '{name}': did you mean '{near}'?")
    if not models.is_model_pretrained(architecture):
        near = nearest(architecture, {each.partition(".")[0] for each in models.list_pretrained()}, cutoff=0.0)
        raise UserError(f"there are no pretrained weights of timm:{name}; the nearest model that has some is '{near}'")
    known = models.list_pretrained(f"{architecture}.*")
    if tag and name not in known:
        raise UserError(f"unknown weights of timm '{name}': did you mean '{nearest(name, known, cutoff=0.0)}'?")


def _cached(known: dict[str, Any]) -> dict[str, Any]:
    """The file of the weights if it was fetched before: then nobody is asked whether there is a newer one."""
    where, file = known.get("hf_hub_id"), known.get("hf_hub_filename") or "model.safetensors"
    if not where or known.get("source") or known.get("custom_load"):
        return {}
    repository, _, revision = where.partition("@")
    path = import_module("huggingface_hub").try_to_load_from_cache(repository, file, revision=revision or None)
    return {"file": path} if isinstance(path, str) else {}


@contextmanager
def _failing(phrase: str, end: str = "") -> Iterator[None]:
    """What goes wrong inside is a UserError: the phrase, why, and the end of the line."""
    try:
        with _quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # what the library, its models and the network raise has no common kind
        raise UserError(f"{phrase}: {_line(error)}{end}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own lines: what matters of them is told."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _line(error: Exception) -> str:
    """The first sentence of an error."""
    return " ".join(str(error).split()).split(". ")[0][:200] or type(error).__name__
