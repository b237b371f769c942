"""The interface of a power meter on the host."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Samples:
    """Power over time: float64 [N] each; host_s is the host's monotonic clock in seconds, ascending."""

    host_s: np.ndarray
    watts: np.ndarray
    source: str


class Meter(Protocol):
    """A power meter that this machine reads while a device works. It may use threads or processes of its own."""

    def start(self) -> None:
        """Begin to sample. Raises DeviceFailed, which says what to do, if the meter is missing."""

    def stop(self) -> Samples:
        """End sampling and return all samples. Raises DeviceFailed if the meter failed in the meantime."""
