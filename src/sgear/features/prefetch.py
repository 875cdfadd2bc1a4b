"""Make the next items in one background thread while the present one is used."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")
_LOOK_S = 0.1


@dataclass(frozen=True)
class _Made(Generic[Item]):
    """An item, or how the thread ended: by an error, or at the end of the items."""

    item: Item | None = None
    error: BaseException | None = None
    is_end: bool = False


def prefetched(items: Generator[Item, None, None], *, depth: int = 2) -> Generator[Item, None, None]:
    """Yield the items of a generator, up to `depth` of which are made ahead.

    The generator runs, and is closed, in the thread alone. An error in it is raised here. When the caller closes
    this generator, the thread ends, too.

    Args:
        items: Makes the items.
        depth: Finished items that may wait. >= 1.
    """
    made: Queue[_Made[Item]] = Queue(maxsize=depth)
    is_stopped = threading.Event()

    def put(what: _Made[Item]) -> None:
        while not is_stopped.is_set():
            try:
                made.put(what, timeout=_LOOK_S)
            except Full:
                continue
            return

    def work() -> None:
        try:
            with closing(items):
                for item in items:
                    put(_Made(item))
                    if is_stopped.is_set():
                        return
        except BaseException as err:
            # The thread that reads raises it.
            put(_Made(error=err))
        else:
            put(_Made(is_end=True))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            got = made.get()
            if got.error is not None:
                raise got.error
            if got.is_end:
                return
            assert got.item is not None, "the thread puts items, an error or the end"
            yield got.item
    finally:
        is_stopped.set()
        thread.join()
        while True:
            try:
                made.get_nowait()
            except Empty:
                break
