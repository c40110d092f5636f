"""Memory that was freed, returned to the system."""

import ctypes
import time
from collections.abc import Callable

EVERY = 10.0  # seconds; pages that are needed again cost time


def _malloc_trim() -> Callable[[int], int] | None:
    """The function of glibc; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None


class FreedMemory:
    """Gives free pages back, every EVERY seconds. Batches of ever other shapes leave the heap of glibc in pieces:
    without this a translation model grows to three times its size within ten minutes, and goes on growing."""

    def __init__(self):
        self._trim, self._next = _malloc_trim(), 0.0

    def release(self) -> None:
        """Gives free pages back, if it is time."""
        now = time.monotonic()
        if self._trim is not None and now >= self._next:
            self._trim(0)
            self._next = now + EVERY
