"""Images by what a user types."""

import os

from elman.data.filesystem import ARCHIVE, Folder, place
from elman.data.image import LazyImage
from elman.data.image_file import ImageFile
from elman.data.scenes.image import SceneImage
from elman.data.scenes.scene import NAME, Scene


def picture(text: str) -> LazyImage:
    """A file, `x.zip:member`, or a scene in its own words. One that is not there, or is none, is a UserError."""
    if text.startswith(NAME):
        return SceneImage(str(Scene.parse(text)))
    zipped, mark, member = text.rpartition(ARCHIVE)
    found = ImageFile(member, place(f"{zipped}.zip"), member) if mark else ImageFile(text, Folder("."), text)
    found.check()
    return found


def again(picture: LazyImage) -> str:
    """What such a picture is found by again, from any folder of this machine."""
    return os.path.abspath(picture.where) if isinstance(picture, ImageFile) else picture.name
