"""Keeps requests and tokens below a number each minute."""

import time


class Pace:
    """Spreads an allowance evenly over time, so that no minute has more than that; without a limit nothing waits."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60.0 / per_minute if per_minute else 0.0
        self._free_from = 0.0

    def reserve(self, amount: float) -> float:
        """Take `amount` of the allowance; returns the seconds to wait before it is used."""
        now = time.monotonic()
        start = max(now, self._free_from)
        self._free_from = start + amount * self._seconds_each
        return start - now

    def correct(self, difference: float) -> None:
        """Take `difference` more, or give it back where it is negative, once the real amount is known."""
        self._free_from += difference * self._seconds_each
