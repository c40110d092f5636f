"""The words for the parts of a table."""

SPLIT = "split"  # the column that says it where none is named
PARTS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test",
}  # fmt: skip
