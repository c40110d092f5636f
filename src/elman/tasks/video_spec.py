"""The options and the specification of a model of clips."""

from dataclasses import dataclass
from typing import Annotated, Literal

from elman.nets.pooling import POOLING
from elman.options import Choices, OnlyWith, PositiveFloat, PositiveInt, at_most
from elman.tasks.frame_input import ImageFrames, VectorFrames
from elman.tasks.labels import LabelEncoder
from elman.tasks.tables import TableSpec, TableTaskOptions
from elman.tasks.vision import ImageSize

FRAME, CLIP = "frame", "clip"


@dataclass(frozen=True)
class VideoOptions(TableTaskOptions):
    """Options of the data and the network. None: chosen from the data."""

    encoder: str | None = None
    """The image encoder: shallow, residual, mlp, or timm:NAME, a model of the timm library with pretrained weights.
    Default: shallow for frames of at most 32 pixels per side, else residual."""
    fine_tune: bool = False
    """Train a timm encoder further, instead of freezing it."""
    image_size: ImageSize | None = None
    """Pixels per side to which frames are resized. Default: their own where all are squares of the same size, at most
    64; else 64, for timm that of pretraining."""
    embedding: PositiveInt | None = None
    """Size to which the mean of the features of an image is projected; hidden when not given."""
    layers: Annotated[PositiveInt, at_most(100)] = 2
    """Recurrent layers on top of each other: of two, the second can compare a frame with what the first remembers."""
    batch_size: PositiveInt = 16
    """Clips per batch, or parallel streams of frames."""
    per: Literal["frame", "clip"] | None = None
    """What has a label: each frame, or a clip. Default: each frame where the table has spans."""
    file_column: str | None = None
    """The column of the files; the one named file when there is one."""
    label_column: str | None = None
    """The column of the labels; the one named label when there is one."""
    start_column: str | None = None
    """The column of the starts of spans, in seconds; the one named start when there is one."""
    end_column: str | None = None
    """The column of the ends of spans, in seconds; the one named end when there is one."""
    fps: PositiveFloat | None = None
    """Frames per second: videos are resampled to so many, and frames without time stamps have so many. Default: videos
    keep the time stamps of all their frames, WAV files have 100."""
    background: Annotated[str, OnlyWith("per", FRAME)] = "background"
    """The label of frames outside of all spans."""
    seq_len: Annotated[PositiveInt, OnlyWith("per", FRAME)] = 32
    """Frames forward per update (k1 of truncated back-propagation)."""
    bptt: Annotated[PositiveInt | None, OnlyWith("per", FRAME)] = None
    """Frames the gradient goes back (k2); seq_len when not given."""
    max_length: Annotated[PositiveInt, at_most(100_000), OnlyWith("per", CLIP)] = 400
    """Frames of a clip; longer clips are truncated, and counted."""
    pooling: Annotated[str, Choices(lambda: POOLING), OnlyWith("per", CLIP)] = "max"
    """How the outputs of all frames become one vector: last, mean, max or attention."""
    bidirectional: Annotated[bool, OnlyWith("per", CLIP)] = False
    """Read each clip backwards too."""


@dataclass(frozen=True, kw_only=True)
class VideoSpec(TableSpec):
    """embedding: size of the projected features of an image; input: how frames are encoded; labels: the classes;
    per_frame: whether each frame has one."""

    options: VideoOptions
    embedding: PositiveInt
    input: ImageFrames | VectorFrames
    labels: LabelEncoder
    per_frame: bool
