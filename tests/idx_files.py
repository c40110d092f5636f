"""IDX files, as of MNIST."""

import struct

import numpy as np


def idx(values: np.ndarray) -> bytes:
    """The bytes of an IDX file, one number after the other."""
    head = bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", size) for size in values.shape)
    return head + bytes(int(value) for value in values.ravel())
