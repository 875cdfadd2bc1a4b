"""Files that appear whole or not at all, also for workers on several machines that share a folder."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import unicodedata
import uuid
from pathlib import Path

from sgear.errors import SgearError, WriteError

_PARTIAL = ".partial"
# These turn the order of what follows around, and with it what a reader believes to see.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# Soft hyphen, blanks and joiners of no width, marks of direction, invisible operators, byte order mark.
_UNSEEN = _BIDI | frozenset("\u00ad\u061c\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff")


def partial_path(path: Path) -> Path:
    """Return a name beside `path` for a file that is being written; workers on two machines never share one."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_PARTIAL}")


def leftover_partials(path: Path) -> list[Path]:
    """Return the half-written files that stopped workers left beside `path`."""
    begin = f".{path.name}."
    if not path.parent.is_dir():
        return []
    names = [name for name in os.listdir(path.parent) if name.startswith(begin) and name.endswith(_PARTIAL)]
    return [path.parent / name for name in names if "." not in name[len(begin) : -len(_PARTIAL)]]


def create_exclusively(path: Path, text: str) -> None:
    """Make a file with a content at once.

    Raises:
        FileExistsError: If there is one; it is left as it is.
    """
    partial = partial_path(path)
    partial.write_text(text, encoding="utf-8")
    try:
        # Unlike a rename, a link never replaces what another worker made meanwhile.
        os.link(partial, path)
    finally:
        partial.unlink()


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


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it, whole or not at all.

    Raises:
        WriteError: If it cannot be written; nothing is left then.
    """
    require_writable(path)
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as err:
        raise WriteError(
            f"{path}: cannot be written ({err.strerror}); free space there or choose another place"
        ) from err
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def replace_durably(partial: Path, path: Path) -> None:
    """Give a finished file its name, after its content has reached the disk."""
    for step in (partial, path.parent):
        descriptor = os.open(step, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if step == partial:
            partial.replace(path)
