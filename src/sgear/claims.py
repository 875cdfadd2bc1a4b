"""Which worker does which video: claim files, for processes and machines that share a folder.

A claim is made exclusively, so of two workers that want a video one gets it. The claim of a worker that died is
followed by one of the next generation, made exclusively again: a worker never removes what another one may hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from sgear.files import create_exclusively

_SUFFIX = ".claim"


@dataclass(frozen=True)
class Claim:
    """A video that this worker does. `path` is its claim file."""

    path: Path

    def beat(self) -> None:
        """Show workers on other machines that this one is still at it."""
        # It is gone where another worker took this one for dead and has finished; then both have the same result.
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path)

    def release(self) -> None:
        """Give the video up, finished or not."""
        name, generation = _split(self.path)
        for path in self.path.parent.glob(f"{name}.*{_SUFFIX}"):
            if _split(path)[0] == name and _split(path)[1] <= generation:
                path.unlink(missing_ok=True)


class Claims:
    """Claims of the videos of one corpus.

    Args:
        folder: Where claim files lie; shared by all workers.
        stale_s: The worker of another machine counts as dead when its claim is not refreshed for so many seconds.
    """

    def __init__(self, folder: Path, *, stale_s: float) -> None:
        self.folder = folder
        self.stale_s = stale_s

    def take(self, name: str) -> Claim | None:
        """Claim a video, or return None where a live worker holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        held = [path for path in self.folder.glob(f"{name}.*{_SUFFIX}") if _split(path)[0] == name]
        newest = max(held, key=lambda path: _split(path)[1], default=None)
        if newest is not None and self._is_alive(newest):
            return None
        generation = 0 if newest is None else _split(newest)[1] + 1
        path = self.folder / f"{name}.{generation}{_SUFFIX}"
        owner = {"host": _host(), "pid": os.getpid(), "start": _process_start(os.getpid())}
        try:
            create_exclusively(path, json.dumps(owner))
        except FileExistsError:
            return None
        except FileNotFoundError:
            # A worker that ended meanwhile has tidied the empty folder away.
            return self.take(name)
        return Claim(path)

    def _is_alive(self, path: Path) -> bool:
        try:
            owner = json.loads(path.read_text(encoding="utf-8"))
            age_s = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return False
        if owner["host"] == _host():
            return _process_start(owner["pid"]) == owner["start"] != ""
        return age_s < self.stale_s


def _split(path: Path) -> tuple[str, int]:
    name, _, generation = path.name.removesuffix(_SUFFIX).rpartition(".")
    return name, int(generation) if generation.isdigit() else -1


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
        return "alive"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    is_dead = fields[0] in "ZX"
    return "" if is_dead else fields[19]
