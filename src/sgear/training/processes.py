"""Several processes of one run, as `torchrun` and `accelerate launch` start them."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Return whether this is the one process that prints, and writes what all of them share."""
    return int(os.environ.get("RANK", "0")) == 0


def launcher() -> list[str]:
    """Return the words of a command that start this program, in as many processes as there are now."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ["sgear"]
    return ["torchrun", "--nproc_per_node", os.environ["LOCAL_WORLD_SIZE"], "-m", "sgear.cli.main"]
