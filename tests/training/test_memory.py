"""What the allocator does with freed memory."""

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import torch
from sgear.training.memory import keep_freed_memory
if {keeps}:
    assert keep_freed_memory()
for _ in range(2):
    torch.ones(16 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(16 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def num_faults(*, keeps: bool) -> int:
    code = COUNT_FAULTS.format(keeps=keeps)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_kept_memory_is_used_again_without_asking_the_system():
    # 64 MB are 16,384 pages of 4 kB, or 32 large ones.
    assert num_faults(keeps=True) < 8 < num_faults(keeps=False)
