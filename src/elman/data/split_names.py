"""The names of the splits of a table."""

SPLIT = "split"  # the column with the split of each row, where none is named
SPLITS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test",
}  # fmt: skip
