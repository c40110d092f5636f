"""A clip that is a WAV file: frames of its log-mel spectrogram."""

import math
import wave
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from elman.data.clip import Frame
from elman.data.video_file import FileClip
from elman.errors import UserError

SUFFIX = ".wav"
BANDS = 40  # of the mel scale
FRAMES = 100.0  # a second
SECONDS = 0.025  # of the window of a frame
BLOCK = 256  # frames that are computed at once
SILENCE = 1e-6  # power that is added before the logarithm, for samples from -1 to 1


class WavFile(FileClip):
    """Frames of the logarithm of the power in 40 bands of the mel scale, in Hann windows of 25 ms; 100 a second unless
    `fps` is given. Channels are averaged."""

    @property
    def sampling_rate(self) -> int:
        with self._file() as file:
            return file.getframerate()

    def frames(self, fps: float | None) -> Iterator[Frame]:
        with self._file() as file:
            sampling_rate = file.getframerate()
            hop, window = max(1, round(sampling_rate / (fps or FRAMES))), max(2, round(sampling_rate * SECONDS))
            filters = mel_filters(BANDS, 2 ** math.ceil(math.log2(window)), sampling_rate)
            index, rest = 0, np.zeros(0, np.float32)
            while len(read := _samples(file, BLOCK * hop)):
                rest = np.concatenate((rest, read))
                found = log_mel(rest, window, hop, filters)
                for value in found:
                    yield Frame(index * hop / sampling_rate, value)
                    index += 1
                rest = rest[len(found) * hop :]
        if index == 0:
            raise UserError(f"{self.path} has no frames: it is shorter than {1000 * SECONDS:g} ms")

    @contextmanager
    def _file(self) -> Iterator[wave.Wave_read]:
        try:
            with wave.open(str(self.path), "rb") as file:
                yield file
        except (wave.Error, EOFError) as error:
            reason = str(error) or "it ends in its header"
            raise UserError(f"{self.path} cannot be read as a WAV of integer samples: {reason}") from None


def _samples(file: wave.Wave_read, count: int) -> np.ndarray:
    """The next samples, mean of the channels, from -1 to 1."""
    width, channels = file.getsampwidth(), file.getnchannels()
    data = file.readframes(count)
    data = data[: len(data) // (width * channels) * width * channels]
    if width == 1:
        values = np.frombuffer(data, np.uint8).astype(np.float32) - 128
    else:  # little endian; the sign is in the last byte
        padded = np.zeros((len(data) // width, 4), np.uint8)
        padded[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
        values = padded.view("<i4")[:, 0].astype(np.float32) / 256 ** (4 - width)
    return values.reshape(-1, channels).mean(1) / 2 ** (8 * width - 1)


def log_mel(samples: np.ndarray, window: int, hop: int, filters: np.ndarray) -> np.ndarray:
    """log(mel power) (T, M) of samples (N,), in windows of that many samples, `hop` apart; filters (F, M)."""
    if len(samples) < window:
        return np.zeros((0, filters.shape[1]), np.float32)
    size = 2 * (len(filters) - 1)
    starts = range(0, len(samples) - window + 1, hop)
    pieces = torch.from_numpy(np.stack([samples[start : start + window] for start in starts]))
    power = torch.fft.rfft(pieces * torch.hann_window(window), size).abs().square() / window
    return torch.log(power @ torch.from_numpy(filters) + SILENCE).numpy()


def mel_filters(bands: int, size: int, sampling_rate: int) -> np.ndarray:
    """Triangular filters (size / 2 + 1, bands) float32 with peaks of 1, evenly spaced on the mel scale from 0 to half
    of the sampling rate: mel(f) = 2595 log10(1 + f / 700) (O'Shaughnessy 1987)."""
    top = 2595 * math.log10(1 + sampling_rate / 2 / 700)
    peaks = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, sampling_rate / 2, size // 2 + 1)[:, None]
    rising = (frequencies - peaks[:-2]) / (peaks[1:-1] - peaks[:-2])
    falling = (peaks[2:] - frequencies) / (peaks[2:] - peaks[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
