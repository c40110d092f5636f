"""Images in an .npz: `images`, and perhaps `labels`; or, as Keras has them, x_train, y_train, x_test, y_test."""

import io
import zipfile
from typing import Any

import numpy as np

from elman.data.array_image import are_images, array_images
from elman.data.content import Content
from elman.data.formats.arrays import load_arrays, to_label
from elman.data.formats.format import Format, RawTable, ReadContext, register
from elman.data.split_names import SPLIT
from elman.errors import UserError

# the names of images and labels, and their split
NAMES = {("images", "labels"): "", ("x_train", "y_train"): "train", ("x_test", "y_test"): "test"}
EXPECTED = "images are (N, H, W) or (N, H, W, 3) uint8, and their labels (N,)"


def _detects(found: Content, encoding: str) -> bool:
    if found.data is None or found.path.suffix.lower() != ".npz":
        return False
    try:
        names = zipfile.ZipFile(io.BytesIO(found.data)).namelist()
    except zipfile.BadZipFile:
        return False
    return any(f"{images}.npy" in names for images, _ in NAMES)


def _read(found: Content, context: ReadContext) -> RawTable:
    arrays = load_arrays(found)
    images, labels, splits = list[Any](), list[str](), list[str]()
    for (name, name_of_labels), split in NAMES.items():
        if name not in arrays:
            continue
        values, of_values = np.asarray(arrays[name]), arrays.get(name_of_labels)
        _check(found, name, values)
        images += array_images(f"{found.path.stem} {name}", values)
        splits += [split] * len(values)
        if of_values is not None and of_values.shape not in ((len(values),), (len(values), 1)):
            raise UserError(
                f"{found.name} has {len(values):,} {name}, but {name_of_labels} {of_values.shape}: {EXPECTED}"
            )
        labels += [""] * len(values) if of_values is None else map(to_label, of_values.ravel().tolist())
    return RawTable(image_columns(images, labels, splits), list(range(1, len(images) + 1)))


def image_columns(images: list[Any], labels: list[str], splits: list[str]) -> dict[str, list[Any]]:
    """The columns of images: labels where there are any, splits where there are several and every image is in one."""
    columns = {"image": images} | ({"label": labels} if any(labels) else {})
    return columns | ({SPLIT: splits} if len(set(splits)) > 1 and all(splits) else {})


def _check(found: Content, name: str, values: np.ndarray) -> None:
    if values.dtype != np.uint8 or not are_images(values) or not values.size:
        raise UserError(f"{found.name} has {name} {values.shape} {values.dtype}: {EXPECTED}")


IMAGE_ARRAYS = register(Format("image-arrays", "images in arrays", _read, detects=_detects, priority=16))
