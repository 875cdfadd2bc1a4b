"""What a process of a run says when another one is gone, or does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributed import DistError

from sgear.errors import RunError

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
        if not isinstance(err, DistError) and not any(words in str(err) for words in _WORDS_OF_GLOO):
            raise
        reason = " ".join(str(err).split()).partition("pair.cc:")[2].partition("] ")[2].partition(". ")[0] or str(err)
        raise RunError(
            f"another process of this run ended, or gave no answer for runtime.timeout_s ({reason[:200]}). What went "
            "wrong stands in its own output; go on with runtime.resume=true"
        ) from err
