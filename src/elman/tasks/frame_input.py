"""How the frames of clips are read and encoded, as a Spec stores it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Self

import numpy as np
import torch
from PIL import Image
from torch import nn

from elman.data.clip import Frame, LazyClip, first_frame
from elman.data.features import MAX_FLOAT16, FeatureExtractor
from elman.data.footage import Decoding, Footage, decode
from elman.data.image import LazyImage, to_pixels
from elman.data.image_shape import SIZE, choose_shape
from elman.errors import UserError
from elman.log import Log
from elman.nets.frame_vector import SIDE, ImageVector, SinglePosition, Standardized, pooled
from elman.options import PositiveInt, at_most, changed
from elman.tasks.row_input import moments
from elman.tasks.vision import MLP_NAME, RESIDUAL, SHALLOW, AnyEncoder, choose

OPENED = 100  # clips whose first frames decide size and channels
SMALL = 32  # pixels per side, up to which a shallow encoder is chosen
WITHOUT_EFFECT = ("encoder", "fine_tune", "image_size", "embedding")  # on frames that are no images
Width = Annotated[PositiveInt, at_most(1_000_000)]


class FrameInput(ABC):
    """How frames become what the network takes of each."""

    @abstractmethod
    def decoding(self, fps: float | None) -> Decoding:
        """From the frames of a clip to arrays."""

    @abstractmethod
    def network(self, size: int) -> tuple[nn.Module, int]:
        """What encodes frames (N, ...) as vectors (N, E), and E; `size` is the one to choose where that is free."""

    def load_pretrained(self, network: Any) -> None:  # noqa: B027 - most have none
        """Loads pretrained weights into a new network, where there are any."""

    def check(self, clip: LazyClip) -> None:  # noqa: B027 - most have nothing to check
        """Refuses a clip that differs from those of training before it is decoded."""

    def footage(self, clips: Sequence[LazyClip], fps: float | None, log: Log) -> Footage:
        """The frames of some clips as arrays."""
        for clip in clips:
            self.check(clip)
        return decode(clips, self.decoding(fps), log)


@dataclass(frozen=True, eq=False)
class FrameImage(LazyImage):
    """A frame as an image by itself."""

    name: str
    frame: Frame

    def image(self) -> Image.Image:
        assert isinstance(self.frame.value, Image.Image)
        return self.frame.value

    @property
    def shape(self) -> tuple[int, int, int]:
        image = self.image()
        return image.height, image.width, 1 if image.mode == "L" else 3


@dataclass(frozen=True)
class ImageFrames(FrameInput):
    """Frames that are images."""

    encoder: AnyEncoder

    @classmethod
    def choose(cls, clips: Sequence[LazyClip], options: Any, log: Log) -> Self:
        """The encoder that the options name. Square frames of at most 64 pixels per side keep their size where all
        clips have the same."""
        some = np.unique(np.linspace(0, len(clips) - 1, OPENED).astype(int))
        images = [FrameImage(str(clips[index]), first_frame(clips[index], options.fps)) for index in some]
        for image in images:
            if not isinstance(image.frame.value, Image.Image):
                raise UserError(f"{image.name} has vectors of features, {images[0].name} has images: expected one kind")
        size = choose_shape(images, options.image_size, SIZE).image_size
        name = options.encoder or (SHALLOW if size <= SMALL else RESIDUAL)
        own = name.partition(":")[0] in (RESIDUAL, SHALLOW, MLP_NAME)
        encoder = choose(replace(options, encoder=name, image_size=size if own else options.image_size), images)
        if encoder.positions == 1 and options.embedding is not None:
            raise UserError(f"`embedding` has no effect: the encoder {name} gives one vector, which is not projected")
        note = choose_shape(images, encoder.image_size).note
        if note is not None:
            log(note)
        return cls(encoder)

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        return self.encoder.extractor()

    def decoding(self, fps: float | None) -> Decoding:
        size = self.encoder.image_size
        if not self.encoder.frozen:
            return Decoding(self._pixels, (self.encoder.input_channels, size, size), np.uint8, "pixels", fps)
        positions, features = self._extractor.shape
        shape = min(positions, SIDE**2), features
        return Decoding(self._features, shape, np.float16, f"{self._extractor.key} pooled", fps)

    def _pixels(self, clip: LazyClip, frame: Frame) -> np.ndarray:
        if not isinstance(frame.value, Image.Image):
            raise UserError(f"{clip} has vectors of {len(frame.value)} features: the model was trained on images")
        return to_pixels(frame.value, self.encoder.image_size, self.encoder.input_channels)

    def _features(self, clip: LazyClip, frame: Frame) -> np.ndarray:
        grid = torch.from_numpy(self._extractor.extract(self._pixels(clip, frame)))
        return pooled(grid[None])[0].clamp(-float(MAX_FLOAT16), float(MAX_FLOAT16)).half().numpy()

    def network(self, size: int) -> tuple[nn.Module, int]:
        encoder = self.encoder.network()
        made = SinglePosition(encoder) if self.encoder.positions == 1 else ImageVector(encoder, size)
        return made, made.size

    def load_pretrained(self, network: Any) -> None:
        self.encoder.load_pretrained(network.encoder)


@dataclass(frozen=True)
class VectorFrames(FrameInput):
    """Frames that are vectors, standardised by the mean and the deviation (F,) of the training split.

    - sampling_rate: that of the sounds, None for features
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    sampling_rate: Annotated[PositiveInt, at_most(10_000_000)] | None

    @classmethod
    def choose(cls, clips: Sequence[LazyClip], options: Any, log: Log) -> Self:
        """Mean and deviation over all frames of some clips. A UserError where an option has no effect on them."""
        for name in changed(options):
            if name in WITHOUT_EFFECT:
                raise UserError(f"`{name}` has no effect: the frames of {clips[0]} are no images; leave it out")
        width = len(np.asarray(first_frame(clips[0], options.fps).value))
        raw = cls((0.0,) * width, (1.0,) * width, clips[0].sampling_rate)
        mean, deviation = moments(raw.footage(clips, options.fps, log).frames)
        return cls(mean, deviation, raw.sampling_rate)

    def check(self, clip: LazyClip) -> None:
        if clip.sampling_rate != self.sampling_rate:
            found, trained = (f"{count:,} samples per second" if count else "no samples of a sound"
                              for count in (clip.sampling_rate, self.sampling_rate))  # fmt: skip
            raise UserError(f"{clip} has {found}: the others have {trained}; resample it")

    def decoding(self, fps: float | None) -> Decoding:
        return Decoding(self._vector, (len(self.mean),), np.float32, None, fps)

    def _vector(self, clip: LazyClip, frame: Frame) -> np.ndarray:
        width = len(self.mean)
        if not isinstance(frame.value, np.ndarray):
            raise UserError(f"{clip} has images: the model was trained on vectors of {width} features")
        if frame.value.shape != (width,):
            raise UserError(f"{clip} has {len(frame.value):,} features a frame: the model takes {width:,}")
        return frame.value

    def network(self, size: int) -> tuple[nn.Module, int]:
        return Standardized(self.mean, self.deviation), len(self.mean)
