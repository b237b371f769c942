"""Runs asynchronous work in a thread of its own, and gives its results to a plain loop one by one."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass
class _Ended:
    error: BaseException | None


class Hand(Generic[Item]):
    """Where the work puts its results."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[tuple[Item, asyncio.Event | None] | _Ended] = queue.SimpleQueue()

    async def give(self, item: Item) -> None:
        """Hand `item` over, and wait until the loop asks for the next one: then it is recorded."""
        taken = asyncio.Event()
        self.items.put((item, taken))
        await taken.wait()

    def leave(self, item: Item) -> None:
        """Hand `item` over without waiting, as work does that is cancelled."""
        self.items.put((item, None))


def results(work: Callable[[Hand[Item]], Awaitable[None]]) -> Generator[Item]:
    """The items that `work` gives, in a loop of the calling thread. What `work` raises is raised after its last item.

    KeyboardInterrupt, here or thrown into the generator by the loop, cancels the work; the loop still gets all that the work had, and
    leaves, then it is raised again. A second one waits for nothing.
    """
    hand = Hand[Item]()
    loop = asyncio.new_event_loop()
    task = loop.create_task(_ending(work, hand))
    thread = threading.Thread(target=_run, args=(loop, task, hand), name="answers", daemon=True)
    thread.start()
    interrupted: KeyboardInterrupt | None = None
    ended: _Ended | None = None
    try:
        while ended is None:
            try:
                got = hand.items.get()
                if isinstance(got, _Ended):
                    ended = got
                    continue
                item, taken = got
                yield item
                if taken is not None:
                    loop.call_soon_threadsafe(taken.set)
            except KeyboardInterrupt as error:
                if interrupted is not None:
                    raise
                interrupted = error
                loop.call_soon_threadsafe(task.cancel)
    finally:
        if ended is None:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
    if interrupted is not None:
        raise interrupted
    if ended.error is not None:
        raise ended.error


async def _ending(work: Callable[[Hand[Item]], Awaitable[None]], hand: Hand[Item]) -> None:
    await work(hand)


def _run(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]", hand: Hand[Item]) -> None:
    error: BaseException | None = None
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        pass
    except BaseException as raised:
        error = raised
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        hand.items.put(_Ended(error))
