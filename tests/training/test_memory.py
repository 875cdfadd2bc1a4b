"""What the allocator does with freed memory."""

import platform
import subprocess
import sys

import pytest

MEASURE_KEPT = """
from pathlib import Path
import torch
from sgear.training.processes import keep_freed_memory
if {keeps}:
    assert keep_freed_memory()
def resident():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])
before = resident()
tensors = [torch.ones(16 * 2**20) for _ in range(2)]
del tensors
print((resident() - before) / 2**20)
"""


def kept_megabytes(*, keeps: bool) -> float:
    code = MEASURE_KEPT.format(keeps=keeps)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_freed_memory_stays_with_the_process_when_asked_to():
    # Two blocks of 64 MB are freed; a few pages beside them are the interpreter's.
    assert kept_megabytes(keeps=False) < 16
    assert kept_megabytes(keeps=True) > 100
