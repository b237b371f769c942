"""What a power meter on the host can do."""

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
    """A power meter that this machine reads while a device works: started before, stopped after, in whatever thread or process it needs."""

    def start(self) -> None:
        """Begin to sample. Raises DeviceFailed with what to do when the meter is not there."""

    def stop(self) -> Samples:
        """End sampling and return all samples. Raises DeviceFailed when the meter failed meanwhile."""
