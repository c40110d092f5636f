"""The picture of a scene, which knows what is true of it."""

from dataclasses import dataclass

from PIL import Image

from elman.data.picture import Picture
from elman.data.scenes.scene import Scene
from elman.data.scenes.truth import holds


@dataclass(frozen=True)
class ScenePicture(Picture):
    """The picture of the scene of this name."""

    name: str

    def image(self) -> Image.Image:
        return Scene.parse(self.name).draw()

    def holds(self, caption: str) -> bool:
        return holds(caption, Scene.parse(self.name))

    def __str__(self) -> str:
        return self.name
