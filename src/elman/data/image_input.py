"""Images by the name that a user gives."""

from elman.data.filesystem import ARCHIVE, Folder, open_folder
from elman.data.image import LazyImage
from elman.data.image_file import ImageFile
from elman.data.scenes.image import SceneImage
from elman.data.scenes.scene import NAME, Scene


def open_image(text: str) -> LazyImage:
    """A file, `x.zip:member`, or a scene by its description. UserError where it is missing or not an image."""
    if text.startswith(NAME):
        return SceneImage(str(Scene.parse(text)))
    archive, mark, member = text.rpartition(ARCHIVE)
    found = ImageFile(member, open_folder(f"{archive}.zip"), member) if mark else ImageFile(text, Folder("."), text)
    found.check()
    return found
