"""Files that appear whole or not at all, also for workers on several machines that share a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import stat
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from sgear.errors import SgearError, WriteError

PARTIAL = ".partial"
# What file systems without hard links say: FAT, some network disks.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
# These turn the order of what follows around, and with it what a reader believes to see.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# Soft hyphen, blanks and joiners of no width, marks of direction, invisible operators, byte order mark.
_UNSEEN = _BIDI | frozenset("\u00ad\u061c\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff")


def partial_path(path: Path) -> Path:
    """Return a name beside `path` for a file that is being written; workers on two machines never share one."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")


def leftover_partials(path: Path) -> list[Path]:
    """Return the half-written files that stopped workers left beside `path`."""
    begin = f".{path.name}."
    if not path.parent.is_dir():
        return []
    names = [name for name in os.listdir(path.parent) if name.startswith(begin) and name.endswith(PARTIAL)]
    return [path.parent / name for name in names if "." not in name[len(begin) : -len(PARTIAL)]]


def drop_leftovers(path: Path) -> None:
    """Remove the half-written files that killed processes left beside `path`; those of live ones are locked."""
    for leftover in leftover_partials(path):
        with contextlib.suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


@contextlib.contextmanager
def _own_partial(path: Path) -> Iterator[Path]:
    """Make a file to write to beside `path`, locked while this process lives, and remove what is left of it."""
    drop_leftovers(path)
    partial = partial_path(path)
    with partial.open("xb") as file:
        # Some disks have no locks; what is left on them stays.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield partial
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def create_exclusively(path: Path, text: str) -> None:
    """Make a file with a content at once.

    Raises:
        FileExistsError: If there is one; it is left as it is.
    """
    with _own_partial(path) as partial:
        partial.write_text(text, encoding="utf-8")
        try:
            # Unlike a rename, a link never replaces what another worker made meanwhile.
            os.link(partial, path)
        except OSError as err:
            if err.errno not in _NO_LINKS:
                raise
            with path.open("x", encoding="utf-8") as file:
                file.write(text)


class HoldsDescriptor:
    """Owns the descriptor of an open file, and closes it when it goes itself."""

    _descriptor = -1

    def close(self) -> None:
        """Close the file; reading is then an error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __del__(self) -> None:
        self.close()


def require_regular_file(path: Path, error: type[SgearError] = SgearError, remedy: str = "") -> None:
    """Check that `path` is a plain file: to be asked before it is opened, since a pipe hangs and a device never ends.

    Args:
        path: File that a user named; links are followed.
        error: What to raise.
        remedy: Sentence that says what to do. Default: one that goes with the reason.

    Raises:
        SgearError: Of the kind `error`, if there is no such file, or it is a folder, pipe, device or socket.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        end = f". {remedy}" if remedy else "; check the name"
        raise error(f"{visible(str(path))}: {reason[:1].lower()}{reason[1:]}{end}") from err
    if stat.S_ISDIR(mode):
        end = f". {remedy}" if remedy else "; name the file in it"
        raise error(f"{visible(str(path))}: is a folder, expected a file{end}")
    if not stat.S_ISREG(mode):
        raise error(f"{visible(str(path))}: is no regular file (a pipe, device or socket); write its content to a file")


def quoted(word: str | Path) -> str:
    """Return a path or name as it is typed on a command line: a message may then be copied."""
    return shlex.quote(str(word))


def plain(text: str) -> str:
    """Return `text` composed (Unicode NFC), every blank a space, without characters that cannot be seen.

    Names that look equal are then equal. Joiners stay, since they change what is seen of Persian, Hindi and emoji.
    """
    if text.isascii():
        return text
    composed = unicodedata.normalize("NFC", text)
    return "".join(" " if unicodedata.category(char) == "Zs" else char for char in composed if char not in _UNSEEN)


def state_of(path: Path) -> tuple[int, int]:
    """Return bytes and time of change (ns) of a file or folder; zeros where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def require_unchanged(path: Path, before: tuple[int, int], error: type[SgearError]) -> None:
    """Check that a file is still the one that it was, so that what was read of it is of one file.

    Args:
        path: File or folder.
        before: What `state_of` said of it at the beginning.
        error: What to raise.

    Raises:
        SgearError: Of the kind `error`, if it changed or was replaced.
    """
    if state_of(path) != before:
        raise error(f"{visible(str(path))}: was changed or replaced while it was in use; start again with the new file")


def visible(text: str) -> str:
    """Return `text` with control characters written out as Python does, so that they never act on a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if (char not in "\n\t" and unicodedata.category(char) in {"Cc", "Cs"}) or char in _BIDI
        else char
        for char in text
    )


def require_writable(path: Path) -> None:
    """Check that a file can be made at `path`: to be asked before the work whose result it will hold.

    Raises:
        WriteError: If there is a folder of that name, or its own folder cannot be made or written into.
    """
    # Unlike those of Path, these take a name that no file can have for one that is not there.
    if os.path.isdir(path):
        raise WriteError(f"{path}: is a folder, expected the name of a file; add one, e.g. {path / 'NAME'}")
    folder = path.absolute().parent
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    if not os.path.isdir(folder):
        raise WriteError(f"{path}: cannot be written, since {folder} is no folder; choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"{path}: cannot be written, since the folder {folder} is read-only for you; choose another")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to; what was written there then takes the place of `path`: whole and on the disk, or never.

    Makes the folders above it.

    Raises:
        WriteError: If it cannot be written; nothing is left then, and an earlier file of that name is as it was.
    """
    require_writable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _own_partial(path) as partial:
            mode = partial.stat().st_mode
            yield partial
            # The writer of tensor files shuts everybody else out.
            partial.chmod(mode)
            replace_durably(partial, path)
    except (OSError, SafetensorError) as err:
        raise unwritable(path, err) from err


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it, whole or not at all.

    Raises:
        WriteError: If it cannot be written; nothing is left then.
    """
    with replacing(path) as partial:
        partial.write_bytes(content)


def unwritable(path: Path, err: Exception) -> WriteError:
    """Return what to tell the user about an error of writing `path`."""
    reason = getattr(err, "strerror", None) or str(err)
    return WriteError(f"{path}: cannot be written ({reason}); free space there or choose another place")


def replace_durably(partial: Path, path: Path) -> None:
    """Give a finished file or folder its name, after its content has reached the disk."""
    flush(partial)
    partial.replace(path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as err:
        # Some file systems keep no names to wait for.
        if not path.is_dir() or err.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
