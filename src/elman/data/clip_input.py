"""Clips by the name that a user gives."""

from pathlib import Path

from elman.data import feature_file, wav_file
from elman.data.clip import LazyClip
from elman.data.content import similar
from elman.data.feature_file import FeatureFile
from elman.data.frame_folder import FrameFolder
from elman.data.moving import PREFIX, MovingClip
from elman.data.video_file import VideoFile
from elman.data.wav_file import WavFile
from elman.errors import UserError


def open_clip(name: str, folder: Path = Path()) -> LazyClip:
    """A video file, a folder of frames, features in an .npy, a WAV, or a generated clip by its description. A file is
    searched in `folder`, then in this one."""
    if name.startswith(PREFIX):
        return MovingClip.parse(name)
    path = next((each for each in (folder / name, Path(name)) if each.exists()), None)
    if path is None:
        raise UserError(f"{folder / name} does not exist{similar(folder / name)}")
    if path.is_dir():
        return FrameFolder(name, path)
    if not path.is_file():
        raise UserError(f"{path} is not a regular file")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty: it has no frames")
    suffix = path.suffix.lower()
    return {feature_file.SUFFIX: FeatureFile, wav_file.SUFFIX: WavFile}.get(suffix, VideoFile)(name, path)
