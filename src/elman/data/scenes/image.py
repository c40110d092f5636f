"""The image of a scene, with its ground truth."""

from dataclasses import dataclass

from PIL import Image

from elman.data.image import Box, LazyImage
from elman.data.scenes.scene import SIDE, Scene
from elman.data.scenes.truth import is_true, mentioned


@dataclass(frozen=True)
class SceneImage(LazyImage):
    """The image of the scene of this name."""

    name: str

    def image(self) -> Image.Image:
        return Scene.parse(self.name).draw()

    def thumbnail(self, size: int) -> Image.Image:
        return Scene.parse(self.name).draw(size)

    def is_true(self, caption: str) -> bool:
        return is_true(caption, Scene.parse(self.name))

    def boxes(self, caption: str) -> list[tuple[int, Box]]:
        found = mentioned(caption, Scene.parse(self.name))
        return [(word, (thing.box[0] / SIDE, thing.box[1] / SIDE, thing.box[2] / SIDE, thing.box[3] / SIDE))
                for word, thing in found]  # fmt: skip
