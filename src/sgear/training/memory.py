"""Keep freed memory for the next step.

The C library returns large blocks to the system as soon as they are freed. A training step on a CPU frees every
gradient and asks for it again, page by page, which costs more than the optimiser does.
"""

from __future__ import annotations

import ctypes
import platform

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
