"""Several pieces of work at once, with progress."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edgedistill.progress import track

_PARALLEL = 2
Result = TypeVar("Result")


def parallel(description: str, items: list[str], work: Callable[[str], Result]) -> list[Result]:
    """What `work` returns for each item, two at a time, with progress; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(_PARALLEL) as pool, track(description, len(items)) as progress:

        def do(item: str) -> Result:
            result = work(item)
            progress.advance(1, last=item)
            return result

        return [future.result() for future in [pool.submit(do, item) for item in items]]
