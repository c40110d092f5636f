"""Pictures by what a user types."""

import os

from elman.data.picture import Picture
from elman.data.picture_file import PictureFile
from elman.data.place import ARCHIVE, Folder, place
from elman.data.scenes.picture import ScenePicture
from elman.data.scenes.scene import NAME, Scene


def picture(text: str) -> Picture:
    """A file, `x.zip:member`, or a scene in its own words. One that is not there, or is none, is a UserError."""
    if text.startswith(NAME):
        return ScenePicture(str(Scene.parse(text)))
    zipped, mark, member = text.rpartition(ARCHIVE)
    found = PictureFile(member, place(f"{zipped}.zip"), member) if mark else PictureFile(text, Folder("."), text)
    found.check()
    return found


def again(picture: Picture) -> str:
    """What such a picture is found by again, from any folder of this machine."""
    return os.path.abspath(picture.where) if isinstance(picture, PictureFile) else picture.name
