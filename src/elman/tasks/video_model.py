"""The network of a model of clips, and the same one frame after another."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.source import Batch
from elman.nets.attention import at_least_float32
from elman.nets.pooling import POOLING, Pooling
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.state import State
from elman.recurrent.stepper import Stepper
from elman.recurrent.truncation import unroll
from elman.tasks.loss import Context, Loss
from elman.tasks.model import Model
from elman.tasks.video_spec import VideoSpec


class VideoModel(Model):
    """Each frame as a vector, `Recurrent` over time, linear head, cross-entropy at each frame or, after pooling, for
    each clip."""

    def __init__(self, spec: VideoSpec):
        super().__init__(spec)
        options, self.dropout = spec.options, spec.dropout
        self.frames, size = spec.input.network(spec.embedding)
        self.recurrent = options.recurrent(size, spec.hidden, spec.dropout, bidirectional=options.bidirectional)
        self.pool: Pooling | None = None
        if not spec.per_frame:
            self.pool = POOLING[options.pooling](self.recurrent.output_size, self.recurrent.directions)
        self.head = nn.Linear(self.recurrent.output_size, len(spec.labels))

    def load_pretrained(self) -> None:
        self.spec.input.load_pretrained(self.frames)

    def describe(self) -> str:
        per = "frame" if self.pool is None else f"clip, {self.spec.options.pooling} pooling"
        return f"{super().describe()}, one label a {per}, dropout {self.dropout:g}"

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, T, ...) as vectors (B, T, E)."""
        return self.frames(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def padded(self, batch: Batch) -> Tensor:
        """The vectors (B, T, E) of clips, from their frames one after another; see `clip_fields.joined`."""
        lengths, at = batch["input_lengths"], batch["input_at"]
        vectors = self.frames(batch["input"])
        steps = batch["input_steps"]
        out = vectors.new_zeros(len(lengths) * steps, vectors.shape[-1])
        return out.index_copy(0, at, vectors).unflatten(0, (len(lengths), steps))

    def classify(self, y: Tensor) -> Tensor:
        """Logits (..., K) from outputs, or pooled ones, (..., D H)."""
        return at_least_float32(self.head(drop(y, self.dropout, self.training)))

    def clip_logits(self, batch: Batch) -> Tensor:
        """The logits (B, K) of clips."""
        assert self.pool is not None
        x, lengths = drop(self.padded(batch), self.dropout, self.training), batch["input_lengths"]
        return self.classify(self.pool(self.recurrent(x, lengths=lengths)[0], lengths))

    def frame_logits(self, batch: Batch, state: State = None) -> tuple[Tensor, State]:
        """The logits (B, T, K) of the frames of clips, and the state after the last of each."""
        y, state = self.recurrent(self.padded(batch), state, batch["input_lengths"])
        return self.classify(y), state

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """Mean cross-entropy, in nats, over the frames of the mask, or over clips.

        - per frame: input (B, T, ...); target, mask, reset (B, T); cuts and carry, see `Windows`
        - per clip: input (N, ...), input_lengths (B,), input_at (N,), see `clip_fields.joined`; target (B,)
        """
        target, carried = batch["target"], None
        if self.pool is not None:
            logits, mask = self.clip_logits(batch), torch.ones_like(target, dtype=torch.bool)
        else:
            x = drop(self.encode(batch["input"]), self.dropout, self.training)
            y, carried = unroll(self.recurrent, x, state, batch["cuts"], batch["carry"], batch["reset"])
            logits, mask = self.classify(y), batch["mask"]
        nats = F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view_as(target) * mask
        correct, count = ((logits.argmax(-1) == target) & mask).sum(), mask.sum()
        return Loss(nats.sum() / count, count, {"loss": nats.sum(), "correct": correct}, carried)

    def stepper(self) -> "VideoStepper":
        """The model, one frame at a time. UserError for a bidirectional one."""
        return VideoStepper(self)


class VideoStepper(Stepper):
    """A model of clips one frame at a time: x (B, ...), what its input gives of a frame, gives logits (B, K)."""

    def __init__(self, model: VideoModel):
        super().__init__()
        self.model, self.layer = model, model.recurrent.stepper()

    def begin(self, inputs: int | Tensor) -> State:
        """The state before the first frame, for a batch size, or for the batch of a tensor (B, ...)."""
        return self.layer.begin(inputs)

    def step(self, x: Tensor | None, state: State) -> tuple[Tensor, State]:
        assert x is not None
        y, state = self.layer.step(self.model.frames(x), state)
        return self.model.classify(y), state
