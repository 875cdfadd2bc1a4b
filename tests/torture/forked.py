"""Commands in processes of their own that begin at once: forked from a server that has loaded everything."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["sgear.cli.main", "sgear.cli.experiment", "sgear.cli.feature_commands"])


def start(words: Sequence[object], log: Path, *, clock_s: float = 0.0, **environment: str) -> BaseProcess:
    """Start `sgear` with the words of a command.

    Args:
        words: The command without `sgear`.
        log: What it prints is added to this file.
        clock_s: How far its clock is off, in seconds.
        environment: Variables that it sees.
    """
    process = _CONTEXT.Process(target=_run, args=([*map(str, words)], log, clock_s, environment))
    process.start()
    return process


def finish(process: BaseProcess, *, timeout_s: float) -> int:
    """Wait for a process, and return its exit code; the negative number of a signal that killed it.

    Raises:
        TimeoutError: If it goes on for longer; it is killed then.
    """
    process.join(timeout_s)
    if process.is_alive():
        process.kill()
        process.join()
        raise TimeoutError(f"process {process.pid} did not end within {timeout_s:g} s")
    assert process.exitcode is not None
    return process.exitcode


def _run(words: list[str], log: Path, clock_s: float, environment: dict[str, str]) -> None:
    import time

    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if clock_s:
        true_s = time.time
        time.time = lambda: true_s() + clock_s
    from sgear.cli.main import main

    sys.argv = ["sgear", *words]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        # The server's threads and clean-ups are none of this process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
