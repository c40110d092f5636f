"""Clips of a shape or a digit that changes how it moves, and how it moves in each span."""

from typing import Annotated, Any

from elman.data.builtin import Columns, builtin
from elman.data.moving import ACTIONS, FPS, MovingClip
from elman.data.rng import Rng
from elman.options import Bound, CountInt, PositiveInt

Frames = Annotated[int, Bound("from 2 to 100,000", lambda value: 2 <= value <= 100_000)]
LARGEST = 10**9  # of the seed of a clip


def splits(count: int) -> list[str]:
    """The split of each of `count` clips: a tenth for validation, and another for testing."""
    tenth = count // 10
    return ["train"] * (count - 2 * tenth) + ["valid"] * tenth + ["test"] * tenth


@builtin("clips", "a shape that moves, grows or rotates -> which, in each span of the clip", "video")
def rows(seed: CountInt = 0, count: PositiveInt = 2_000, frames: Frames = 64) -> Columns:
    """`count` clips of so many frames; a row for each span."""
    rng = Rng(seed)
    found: dict[str, list[Any]] = {name: [] for name in ("file", "start", "end", "label", "split")}
    for split in splits(count):
        clip = MovingClip(rng.below(LARGEST), frames)
        for begin, end, action in clip.spans:
            row = (clip, f"{begin / FPS:.2f}", f"{end / FPS:.2f}", action, split)
            for column, value in zip(found.values(), row, strict=True):
                column.append(value)
    return found


@builtin("clip_labels", "a shape that moves, grows or rotates -> which, one label a clip", "video")
def labels(seed: CountInt = 0, count: PositiveInt = 10_000, frames: Frames = 9) -> Columns:
    """`count` clips of so many frames with one action each."""
    rng, names = Rng(seed), list(ACTIONS)
    clips = [MovingClip(rng.below(LARGEST), frames, rng.choice(names)) for _ in range(count)]
    return {"file": clips, "label": [clip.action for clip in clips], "split": splits(count)}
