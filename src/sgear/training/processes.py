"""Processes of a run: which one writes, what is said when another is gone, and how each keeps freed memory."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from sgear.errors import RunError


def is_main_process() -> bool:
    """Return whether this is the one process that prints, and writes what all of them share."""
    return int(os.environ.get("RANK", "0")) == 0


def launcher() -> list[str]:
    """Return the words of a command that start this program, in as many processes as there are now."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ["sgear"]
    return ["sgear", "launch", "--nproc", os.environ["LOCAL_WORLD_SIZE"]]


# Its errors have no class of their own.
_WORDS_OF_GLOO = ("gloo", "pair closure")


@contextmanager
def others_answer() -> Iterator[None]:
    """Turn what fails between processes into one message.

    Raises:
        RunError: If another process is gone or silent.
    """
    try:
        yield
    except RuntimeError as err:
        # Here: --help needs this module, and not torch.
        from torch.distributed import DistError  # noqa: PLC0415

        if not isinstance(err, DistError) and not any(words in str(err) for words in _WORDS_OF_GLOO):
            raise
        reason = " ".join(str(err).split()).partition("pair.cc:")[2].partition("] ")[2].partition(". ")[0] or str(err)
        raise RunError(
            f"another process of this run ended, or gave no answer for runtime.timeout_s ({reason[:200]}). What went "
            "wrong stands in its own output; go on with runtime.resume=true"
        ) from err


_MMAP_MAX, _TRIM_THRESHOLD = -4, -1


def keep_freed_memory() -> bool:
    """Let the allocator of this process reuse what is freed, instead of returning it to the system.

    The process then stays as large as it ever was; what it computes does not change.

    Returns:
        Whether the allocator follows: glibc does, other C libraries are left alone.

    Source:
        mallopt(3) of Linux: M_MMAP_MAX and M_TRIM_THRESHOLD.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
