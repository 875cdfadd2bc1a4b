"""Which worker does which video, and which process trains which run: claim files in a folder that all share.

A claim is made exclusively, so of two workers that want a video one gets it. The claim of a worker that died is
followed by one of the next generation, made exclusively again: a worker never removes what another one may hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgear.files import create_exclusively, partial_path

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

    def is_held(self) -> bool:
        """Return whether no other worker took this one for dead and went on in its place."""
        name, generation = _split(self.path)
        return self.path.exists() and all(_split(path)[1] <= generation for path in _claims(self.path.parent, name))

    @contextlib.contextmanager
    def kept_fresh(self, every_s: float) -> Iterator[Claim]:
        """Beat beside the work of a block, and release the claim at its end."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(every_s):
                # A disk on the net that does not answer now may answer the next time.
                with contextlib.suppress(OSError):
                    self.beat()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()
            self.release()

    def release(self) -> None:
        """Give the video up, finished or not."""
        name, generation = _split(self.path)
        for path in _claims(self.path.parent, name):
            if _split(path)[1] <= generation:
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
        newest = self._newest(name)
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

    def holder(self, name: str) -> str:
        """Return in words who holds a video."""
        path = self._newest(name)
        owner = {} if path is None else _owner(path)
        return f"process {owner['pid']} on {owner['host'].split()[0]}" if owner else "another process"

    def _newest(self, name: str) -> Path | None:
        return max(_claims(self.folder, name), key=lambda path: _split(path)[1], default=None)

    def _is_alive(self, path: Path) -> bool:
        owner = _owner(path)
        if owner and owner["host"] == _host():
            return _process_start(owner["pid"]) == owner["start"] != ""
        try:
            return self._now_s() - path.stat().st_mtime < self.stale_s
        except FileNotFoundError:
            return False

    def _now_s(self) -> float:
        """Return the time by the clock that dates the claims: that of the disk, which may not be this machine's."""
        probe = partial_path(self.folder / "now")
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()


def _claims(folder: Path, name: str) -> list[Path]:
    """Return the claims of one name; none where the folder is gone. A name may hold what is special in patterns."""
    with contextlib.suppress(FileNotFoundError):
        return [path for path in folder.iterdir() if path.suffix == _SUFFIX and _split(path)[0] == name]
    return []


def _owner(path: Path) -> dict[str, Any]:
    """Return host, pid and start of a process; nothing where the file is gone or damaged."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(owner, dict) and isinstance(owner.get("host"), str) and isinstance(owner.get("pid"), int)
    return owner if is_whole and owner["host"] and isinstance(owner.get("start"), str) else {}


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
