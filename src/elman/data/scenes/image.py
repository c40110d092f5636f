"""The picture of a scene, which knows what is true of it."""

from dataclasses import dataclass

from PIL import Image

from elman.data.image import Box, LazyImage
from elman.data.scenes.scene import SIDE, Scene
from elman.data.scenes.truth import holds, named


@dataclass(frozen=True)
class SceneImage(LazyImage):
    """The picture of the scene of this name."""

    name: str

    def image(self) -> Image.Image:
        return Scene.parse(self.name).draw()

    def small(self, most: int) -> Image.Image:
        return Scene.parse(self.name).draw(most)

    def holds(self, caption: str) -> bool:
        return holds(caption, Scene.parse(self.name))

    def boxes(self, caption: str) -> list[tuple[int, Box]]:
        found = named(caption, Scene.parse(self.name))
        return [(word, (thing.box[0] / SIDE, thing.box[1] / SIDE, thing.box[2] / SIDE, thing.box[3] / SIDE))
                for word, thing in found]  # fmt: skip

    def __str__(self) -> str:
        return self.name
