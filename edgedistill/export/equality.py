"""What of a float16 file stays in float32 because a comparison for equality reads it."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

Operator = TypeVar("Operator", bound=Hashable)


def is_compared(operator: Operator, readers: Callable[[Operator], Iterable[Operator]], compares: Callable[[Operator], bool]) -> bool:
    """Whether `operator` is a comparison for equality, or one reads what it gives before another layer with weights does.

    Values that differ in float32 are often equal in float16. A gate of the local maxima, x == max_pool(x), would then let through two
    values where the program has one.
    readers: what reads an operator's values, but for layers with weights. compares: whether an operator compares numbers for equality.
    """
    behind, seen = [operator], {operator}
    while behind:
        reached = behind.pop()
        if compares(reached):
            return True
        new = set(readers(reached)) - seen
        behind += new
        seen |= new
    return False
