"""Ctrl-C and SIGTERM: the first ends the work in good order, the second at once. Batch systems warn with USR1, USR2."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
"""What SLURM sends before the time of a job is over, or when it is preempted."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *_WARNINGS)
_GRACE_S = 20


class Stopped(BaseException):
    """This process was asked to end. No `Exception`, so that nothing that handles errors takes it for one.

    Args:
        number: Number of the signal.

    Attributes:
        command: Words of the command that goes on; empty for the one that was stopped.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number
        self.command: list[str] = []


class _Asked:
    """What came so far: the first signal, and whether it waits for the end of a step."""

    number = 0
    is_delayed = False


@contextmanager
def listening() -> Iterator[None]:
    """Answer the signals within a block; before and after, and in other threads than the main one, Python does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Asked.number, _Asked.is_delayed = 0, False
    before = {number: signal.signal(number, _answer) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        # What was asked of this block is not asked of a later one in the same process.
        _Asked.number = 0


@contextmanager
def delayed(*, is_delayed: bool = True) -> Iterator[None]:
    """Let a first signal wait within a block, which calls `raise_if_asked` between its steps.

    Raises:
        Stopped: In place of an error after a signal, which may be of a helper that was told to end, too.
    """
    outer, _Asked.is_delayed = _Asked.is_delayed, is_delayed
    try:
        yield
    except Exception as err:
        if _Asked.number:
            raise Stopped(_Asked.number) from err
        raise
    finally:
        _Asked.is_delayed = outer


def is_asked() -> bool:
    """Return whether a signal waits."""
    return bool(_Asked.number)


def asked_number() -> int:
    """Return the signal that waits; SIGTERM where another process of the run got it."""
    return _Asked.number or signal.SIGTERM


def raise_if_asked() -> None:
    """End the work if a signal waits.

    Raises:
        Stopped: If one does.
    """
    if _Asked.number:
        raise Stopped(_Asked.number)


def serve_to_the_end(worker: int) -> None:
    """Let a loader's worker leave signals to the process that it serves, which ends it when its step is done.

    Ctrl-C reaches all processes of a terminal, and batch systems send SIGTERM to all of a job.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_GRACE_S))


def _answer(number: int, frame: FrameType | None) -> None:
    if _Asked.number in _WARNINGS or (_Asked.number and number in _WARNINGS):
        # A warning is followed by others as a matter of course; the work is ending already.
        return
    if _Asked.number:
        if sys.stdout.isatty():
            # A progress bar hides the cursor, and will not bring it back.
            os.write(sys.stdout.fileno(), b"\x1b[?25h\n")
        os._exit(128 + number)
    _Asked.number = number
    if not _Asked.is_delayed:
        raise Stopped(number)
    os.write(2, b"\nstopping after this step; once more stops at once\n")
