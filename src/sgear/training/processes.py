"""Several processes of one run, as `torchrun` and `accelerate launch` start them."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Return whether this is the one process that prints, and writes what all of them share."""
    return int(os.environ.get("RANK", "0")) == 0
