"""Who works on what, so that processes that share a folder do nothing twice.

`FileLock` is the system's own lock of a file: it ends with its process, however that ends. A run needs more: it is
held over machines whose disk may have no such locks. `RunLock` is a file beside the run that says who writes it,
refreshed by a heartbeat. That of a dead process is followed by a file of the next generation, made exclusively again:
so of two processes that want a run one gets it, and neither removes what another may hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgear.files import create_exclusively, partial_path

_SUFFIX = ".lock"
_HEARTBEAT_S = 30.0
STALE_S = 900.0
"""A process on another machine counts as dead when its lock was not refreshed for so many seconds."""


class FileLock:
    """A lock that this process holds until `release` or its own end; made by `take`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor

    @classmethod
    def take(cls, path: Path) -> FileLock | None:
        """Lock a file, which is made for that; None where another process holds it.

        On a disk without locks everybody gets it: results that appear whole may then be made twice.
        """
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                # A process that ended meanwhile has tidied the empty folder away.
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError:
                return cls(path, descriptor)
            # Its holder may have removed the file between opening and locking.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    return cls(path, descriptor)
            os.close(descriptor)

    @classmethod
    def tidy(cls, folder: Path) -> None:
        """Remove the files that killed processes left in a folder of locks."""
        for path in folder.glob(f"*{_SUFFIX}"):
            if (lock := cls.take(path)) is not None:
                lock.release()

    def release(self) -> None:
        """Give the lock up and remove its file, and the folder of locks if it was the last."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True)
class RunLock:
    """The lock of one run, held by this process; made by `take`."""

    path: Path
    generation: int

    @classmethod
    def take(cls, run: Path) -> RunLock | None:
        """Lock a run, or return None where a live process holds it."""
        run.parent.mkdir(parents=True, exist_ok=True)
        newest = max(_generations(run), default=-1)
        if newest >= 0 and _is_alive(_file_of(run, newest)):
            return None
        lock = cls(run, newest + 1)
        owner = {"host": _host(), "pid": os.getpid(), "start": _process_start(os.getpid())}
        try:
            create_exclusively(lock._file, json.dumps(owner))
        except FileExistsError:
            return None
        return lock

    @property
    def _file(self) -> Path:
        return _file_of(self.path, self.generation)

    def is_held(self) -> bool:
        """Return whether no other process took this one for dead and went on in its place."""
        return max(_generations(self.path), default=-1) == self.generation

    @contextlib.contextmanager
    def kept_fresh(self) -> Iterator[None]:
        """Show beside the work of a block that this process lives, and release the lock at its end."""
        over = threading.Event()

        def refresh() -> None:
            while not over.wait(_HEARTBEAT_S):
                # It is gone where another process took this one for dead; a disk on the net may answer the next time.
                with contextlib.suppress(OSError):
                    os.utime(self._file)

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            for generation in _generations(self.path):
                if generation <= self.generation:
                    _file_of(self.path, generation).unlink(missing_ok=True)


def holder_of(run: Path) -> str:
    """Return in words which process holds a run."""
    owner = _owner(_file_of(run, max(_generations(run), default=0)))
    return f"process {owner['pid']} on {owner['host'].split()[0]}" if owner else "another process"


def _file_of(run: Path, generation: int) -> Path:
    # Beside the folder: there it outlives the folder of a run that is deleted while it is written.
    return run.with_name(f".{run.name}.{generation}{_SUFFIX}")


def _generations(run: Path) -> list[int]:
    """Return the generations of the locks of a run; a name may hold what is special in patterns."""
    begin = f".{run.name}."
    names = os.listdir(run.parent) if run.parent.is_dir() else []
    middles = [name[len(begin) : -len(_SUFFIX)] for name in names if name.startswith(begin) and name.endswith(_SUFFIX)]
    return [int(middle) for middle in middles if middle.isdigit()]


def _is_alive(file: Path) -> bool:
    owner = _owner(file)
    if owner and owner["host"] == _host():
        return _process_start(owner["pid"]) == owner["start"] != ""
    # By the clock that dates the locks: that of the disk, which may not be this machine's.
    probe = partial_path(file)
    probe.touch()
    try:
        return probe.stat().st_mtime - file.stat().st_mtime < STALE_S
    except FileNotFoundError:
        return False
    finally:
        probe.unlink()


def _owner(path: Path) -> dict[str, Any]:
    """Return host, pid and start of a process; nothing where the file is gone or damaged."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(owner, dict) and isinstance(owner.get("host"), str) and isinstance(owner.get("pid"), int)
    return owner if is_whole and owner["host"] and isinstance(owner.get("start"), str) else {}


def _host() -> str:
    """Return a name of the machine that no other one has, as process ids mean something within one alone."""
    # Containers of one machine may share its name but not its process ids. The first of these bears the same number on
    # every machine, and machines may have one name, too: the mark of the running kernel tells them apart.
    namespace, boot = Path("/proc/self/ns/pid"), Path("/proc/sys/kernel/random/boot_id")
    parts = [socket.gethostname(), os.readlink(namespace) if namespace.exists() else ""]
    parts.append(boot.read_text(encoding="utf-8").strip() if boot.exists() else "")
    return " ".join(filter(None, parts))


def _process_start(pid: int) -> str:
    """Return a mark of a live process that a later process of the same id does not share; empty where it is dead."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            # It is of another user.
            return "alive"
        return "alive"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    is_dead = fields[0] in "ZX"
    return "" if is_dead else fields[19]
