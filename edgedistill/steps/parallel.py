"""Several pieces of work at once, with progress."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edgedistill import child
from edgedistill.progress import track

_PARALLEL = 2
Result = TypeVar("Result")


def parallel(description: str, items: list[str], work: Callable[[str], Result]) -> list[Result]:
    """What `work` returns for each item, two at a time, with progress; the first failure is raised when all have ended.

    An interrupt ends the children of those that are at work, and starts no other.
    """
    with ThreadPoolExecutor(_PARALLEL) as pool, track(description, len(items)) as progress:

        def do(item: str) -> Result:
            result = work(item)
            progress.advance(1, last=item)
            return result

        futures = [pool.submit(do, item) for item in items]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            child.end_all()
            pool.shutdown(cancel_futures=True)
            child.may_start()
            raise
