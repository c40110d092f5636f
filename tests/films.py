"""Small films, sounds and features."""

import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def film(
    path: Path, levels: Sequence[int], times: Sequence[float] | None = None, codec: str = "ffv1", size: int = 32
) -> Path:
    """A film of grey frames of these levels, 10 a second or at these times in seconds. FFV1 has no loss."""
    times = [index / 10 for index in range(len(levels))] if times is None else times
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1000 if codec == "ffv1" else 10)
        stream.width, stream.height = size, size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = MILLISECOND if codec == "ffv1" else Fraction(1, 10)
        for level, time in zip(levels, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), level, np.uint8), "rgb24").reformat(
                format="yuv420p"
            )
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def moving(path: Path, frames: int, seed: int = 0, codec: str = "mjpeg") -> Path:
    """A film of noise, which does not compress."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10 if codec == "mjpeg" else 25)
        stream.width, stream.height = 64, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 2  # a frame has as many slices: otherwise as the machine has cores
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (64, 64, 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return path


def sound(path: Path, samples: np.ndarray, sampling_rate: int = 8000, width: int = 2) -> Path:
    """A WAV of samples (N,) or (N, channels) from -1 to 1."""
    samples = samples.reshape(len(samples), -1)
    whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64) + (128 if width == 1 else 0)
    data = whole.astype("<i8").reshape(-1, 1).view(np.uint8)[:, :width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(sampling_rate)
        file.writeframes(data.tobytes())
    return path
