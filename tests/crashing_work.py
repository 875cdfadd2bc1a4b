"""Work for `run_jobs` that other processes can import."""

import os
import signal
import threading
import time


class TwoPartError(Exception):
    """An error that does not unpickle: its constructor takes more than its message."""

    def __init__(self, place, reason):
        super().__init__(f"{place}: {reason}")


def double(job, tell):
    """Return twice the job; -1 ends the process, -2 kills it, -3 to -5 raise, -6 returns what does not pickle."""
    tell(float(job))
    if job == -1:
        os._exit(7)
    if job == -2:
        os.kill(os.getpid(), signal.SIGKILL)
    if job == -3:
        raise ValueError("wrong job")
    if job == -4:
        raise TwoPartError("here", "two parts")
    if job == -5:
        raise ValueError("holds a lock", threading.Lock())
    if job == -6:
        return threading.Lock()
    return 2 * job


def leave_a_mark(path, tell):
    """Write a file, and remove it when the process is asked to end."""
    try:
        # Within: the signal may come as soon as the file is there.
        path.touch()
        tell(0.0)
        time.sleep(60)
    finally:
        path.unlink(missing_ok=True)
