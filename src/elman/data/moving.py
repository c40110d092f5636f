"""Generated clips: a shape or a digit that moves, grows or rotates. A single frame does not show which."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from elman.data.clip import Frame, LazyClip, resampled
from elman.data.rng import Rng
from elman.errors import UserError

PREFIX = "clip:"
FPS = 25
SIZE = 24  # pixels per side
SPEED, TURN, GROWTH = 1.5, 20.0, 1.08  # a frame: pixels, degrees, and the factor
RADIUS = (3.5, 9.0)  # pixels, of the smallest and the largest
SHORTEST, LONGEST = 5, 16  # frames of a span
THICK = 0.9  # half of the width of a line, in pixels
# per frame: to the right, down, clockwise; and whether the radius grows or shrinks
ACTIONS: dict[str, tuple[float, float, float, float]] = {
    "left": (-SPEED, 0, 0, 1), "right": (SPEED, 0, 0, 1), "up": (0, -SPEED, 0, 1), "down": (0, SPEED, 0, 1),
    "growing": (0, 0, 0, GROWTH), "shrinking": (0, 0, 0, 1 / GROWTH),
    "clockwise": (0, 0, TURN, 1), "anticlockwise": (0, 0, -TURN, 1), "still": (0, 0, 0, 1),
}  # fmt: skip
# lines through points in a square from -1 to 1
SHAPES = [
    [(-0.9, 0.8), (0.9, 0.8), (0.0, -0.9), (-0.9, 0.8)],
    [(-0.7, -0.7), (0.7, -0.7), (0.7, 0.7), (-0.7, 0.7), (-0.7, -0.7)],
    [(-0.6, -0.9), (-0.6, 0.9), (0.7, 0.9)],
    [(-0.8, 0.2), (0.0, -0.9), (0.8, 0.2), (0.0, -0.9), (0.0, 0.9)],
    [(-0.5, 0.9), (-0.5, -0.9), (0.8, -0.4), (-0.5, 0.1)],
]
# the segments of a digit: top, upper right, lower right, bottom, lower left, upper left, middle
CORNERS = [(-0.5, -0.9), (0.5, -0.9), (0.5, 0.0), (0.5, 0.9), (-0.5, 0.9), (-0.5, 0.0)]
SEGMENTS = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (5, 2)]
DIGITS = ("012345", "12", "01643", "01623", "5612", "05623", "056234", "012", "0123456", "012356")

GRID = np.stack(np.meshgrid(*[np.arange(SIZE) + 0.5] * 2), -1).reshape(-1, 2).astype(np.float32)  # centres of pixels
ROOM = 8  # frames for which a clip of one action has room at its start; a longer one starts again elsewhere

Lines = np.ndarray  # (K, 2, 2): the two ends of each


@dataclass(frozen=True)
class Pose:
    """Centre in pixels, angle in degrees, radius in pixels."""

    x: float
    y: float
    angle: float
    radius: float

    def after(self, action: str) -> "Pose":
        """The pose a frame later."""
        right, down, turn, factor = ACTIONS[action]
        return Pose(self.x + right, self.y + down, self.angle + turn, self.radius * factor)

    @property
    def inside(self) -> bool:
        """Whether all of it is in the image, and it is neither too small nor too large."""
        near = min(self.x, self.y, SIZE - self.x, SIZE - self.y)
        return near >= self.radius and RADIUS[0] <= self.radius <= RADIUS[1]

    def room(self, action: str) -> int:
        """Frames for which it can go on like that, at most `LONGEST`."""
        pose, frames = self.after(action), 0
        while pose.inside and frames < LONGEST:
            pose, frames = pose.after(action), frames + 1
        return frames


@dataclass(frozen=True)
class MovingClip(LazyClip):
    """`clip:SEED:FRAMES`, whose actions change; or `clip:SEED:FRAMES:ACTION`, with a single one. 25 frames a second,
    24 x 24 pixels, grey."""

    seed: int
    count: int
    action: str | None = None

    @classmethod
    def parse(cls, name: str) -> Self:
        """The clip of a description."""
        seed, _, rest = name.removeprefix(PREFIX).partition(":")
        count, _, action = rest.partition(":")
        valid = seed.isdecimal() and count.isdecimal() and 0 < int(count) <= 10**7 and action in ("", *ACTIONS)
        if not valid:
            raise UserError(f"{name[:80]} describes no clip: write clip:SEED:FRAMES, or clip:SEED:FRAMES:ACTION, the "
                            f"action being one of {', '.join(ACTIONS)}")  # fmt: skip
        return cls(int(seed), int(count), action or None)

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{PREFIX}{self.seed}:{self.count}" + (f":{self.action}" if self.action else "")

    @property
    def spans(self) -> list[tuple[int, int, str]]:
        """First frame, frame after the last, and action. That of a frame is how it differs from the one before."""
        found, begin = list[tuple[int, int, str]](), 0
        for action, poses in self._spans(self._draws()[2]):
            found.append((begin, begin + len(poses), action))
            begin += len(poses)
        return found

    def frames(self, fps: float | None) -> Iterator[Frame]:
        lines, level, rng = self._draws()
        poses = (pose for _, span in self._spans(rng) for pose in span)
        found = (Frame(index / FPS, image(lines, pose, level)) for index, pose in enumerate(poses))
        return found if fps is None else resampled(found, fps)

    def _draws(self) -> tuple[Lines, float, Rng]:
        """The lines of what moves, its level of grey, and the generator of how it moves."""
        rng = Rng(self.seed)
        number = rng.below(2 * len(SHAPES))  # as many shapes as digits
        lines = strokes(number) if number < len(SHAPES) else digit(rng.below(len(DIGITS)))
        return lines, 140 + 115 * rng.uniform(), rng

    def _spans(self, rng: Rng) -> Iterator[tuple[str, list[Pose]]]:
        """Each span: its action, and the poses of its frames."""
        left, before = self.count, ""
        pose = start(rng, self.action, min(self.count, LONGEST + 1) - 1)
        poses = [pose]  # the first frame belongs to the first span
        while left > 0:
            able = [self.action] if self.action else [
                name for name in ACTIONS if name != before and pose.room(name) >= SHORTEST
            ]  # fmt: skip
            action = rng.choice(able)
            assert action is not None
            length = min(left - len(poses), pose.room(action))
            if not self.action:
                length = min(length, rng.between(SHORTEST, LONGEST))
            for _ in range(length):
                pose = pose.after(action)
                poses.append(pose)
            yield action, poses
            left -= len(poses)
            before, poses = action, []
            if self.action and left:  # there is no room left: it starts again elsewhere
                pose = start(rng, self.action, min(left, LONGEST + 1) - 1)
                poses = [pose]


def start(rng: Rng, action: str | None, frames: int) -> Pose:
    """A random pose with room for that many frames of an action."""
    while True:
        radius = RADIUS[0] + (RADIUS[1] - RADIUS[0]) * rng.uniform()
        x, y = (radius + (SIZE - 2 * radius) * rng.uniform() for _ in range(2))
        pose = Pose(x, y, 360 * rng.uniform(), radius)
        if pose.inside and (action is None or pose.room(action) >= min(frames, ROOM)):
            return pose


def strokes(shape: int) -> Lines:
    """The lines of a shape."""
    points = np.array(SHAPES[shape])
    return np.stack((points[:-1], points[1:]), 1)


def digit(value: int) -> Lines:
    """The lines of a digit, in seven segments."""
    return np.array([[CORNERS[end] for end in SEGMENTS[int(segment)]] for segment in DIGITS[value]])


def image(lines: Lines, pose: Pose, level: float) -> Image.Image:
    """Lines in a pose, anti-aliased: a pixel has the level where it is nearer to a line than `THICK`."""
    cos, sin = math.cos(math.radians(pose.angle)), math.sin(math.radians(pose.angle))
    rotation = np.array([[cos, sin], [-sin, cos]])
    ends = pose.radius / math.sqrt(2) * lines @ rotation + (pose.x, pose.y)
    ends = ends.astype(np.float32)
    begins, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    # |g - b - s a|^2 for each pixel g and line from b along a, expanded: products of matrices (S S, K)
    size, across = (along**2).sum(-1), GRID @ along.T - (begins * along).sum(-1)
    fraction = (across / size).clip(0, 1)
    squared = (GRID**2).sum(-1)[:, None] - 2 * GRID @ begins.T + (begins**2).sum(-1)
    squared += fraction * (fraction * size - 2 * across)
    distance = np.sqrt(squared.min(-1).clip(0))
    values = level * (THICK + 0.5 - distance).clip(0, 1)
    return Image.fromarray(np.rint(values).astype(np.uint8).reshape(SIZE, SIZE))
