"""Commands in processes of their own that begin at once: forked from a server that has loaded everything."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["sgear.cli.main", "sgear.cli.runs", "sgear.cli.feature_commands"])
_STARTED: list[BaseProcess] = []


@dataclass(frozen=True)
class Clock:
    """A clock that is set while a command runs.

    Args:
        offset_s: How far it is off from then on, in seconds.
        after_s: When it is set, in seconds after the start.
    """

    offset_s: float = 0.0
    after_s: float = 0.0


def start(words: Sequence[object], log: Path, *, clock: Clock | None = None, **environment: str) -> BaseProcess:
    """Start `sgear` with the words of a command, in a session of its own.

    Args:
        words: The command without `sgear`.
        log: What it prints is added to this file, which is there at once.
        clock: What its clock says. Default: the truth.
        environment: Variables that it sees.
    """
    log.touch()
    process = _CONTEXT.Process(target=_run, args=([*map(str, words)], log, clock or Clock(), environment))
    process.start()
    _STARTED.append(process)
    return process


def finish(process: BaseProcess, *, timeout_s: float) -> int:
    """Wait for a process, and return its exit code; the negative number of a signal that killed it.

    Raises:
        TimeoutError: If it goes on for longer; it is killed then.
    """
    process.join(timeout_s)
    if process.is_alive():
        kill(process, whole_session=True)
        raise TimeoutError(f"process {process.pid} did not end within {timeout_s:g} s")
    assert process.exitcode is not None
    return process.exitcode


def kill(process: BaseProcess, *, whole_session: bool) -> None:
    """Kill a process with SIGKILL, alone or with all that it started."""
    assert process.pid is not None
    if whole_session:
        # It may be so young that it has no session yet.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def kill_all() -> None:
    """Kill all that is left of the commands."""
    for process in _STARTED:
        if process.is_alive():
            kill(process, whole_session=True)


def survivors(process: BaseProcess, *, timeout_s: float) -> list[int]:
    """Return the processes that a command started and that still live, after waiting for their end."""
    deadline_s = time.monotonic() + timeout_s
    while (pids := _session(process.pid)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return pids


def _session(leader: int | None) -> list[int]:
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = path.read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                pids.append(int(path.parent.name))
    return pids


def _run(words: list[str], log: Path, clock: Clock, environment: dict[str, str]) -> None:
    os.setsid()
    # Otherwise its own processes would come from such a server, too, unlike those of a command on a terminal.
    multiprocessing.set_start_method(os.environ.get("TORTURE_METHOD"), force=True)
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    _set(clock)
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


def _set(clock: Clock) -> None:
    true_s, true_ns, set_s = time.time, time.time_ns, time.monotonic() + clock.after_s

    def offset_s() -> float:
        return clock.offset_s if time.monotonic() >= set_s else 0.0

    if clock.offset_s:
        time.time = lambda: true_s() + offset_s()
        time.time_ns = lambda: true_ns() + int(1e9 * offset_s())
