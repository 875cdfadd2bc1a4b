"""Errors of the operating system about files that users named -> one message with a remedy.

Whatever else goes wrong is a mistake of the program, which keeps its traceback: so an error without a file in it, and
an error about a file of the installed packages.
"""

from __future__ import annotations

import errno
import os
import sysconfig
from pathlib import Path

import sgear

_ELSEWHERE = "choose another place"
_REMEDIES = {
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENOTDIR: ("a part of this path is a file and no folder", _ELSEWHERE),
    errno.EISDIR: ("is a folder, expected a file", "add the name of a file"),
    errno.EEXIST: ("is there already", "choose another name, or delete it"),
    errno.EACCES: ("you may not read or write it", f"ask for the permission, or {_ELSEWHERE}"),
    errno.EPERM: ("you may not do this here", f"ask for the permission, or {_ELSEWHERE}"),
    errno.EROFS: ("its file system is read-only", _ELSEWHERE),
    errno.ENAMETOOLONG: ("the name is too long", "shorten it"),
    errno.ELOOP: ("a link that leads to itself", "check the path"),
}
_FULL = (errno.ENOSPC, errno.EDQUOT)


def file_message(err: OSError) -> str | None:
    """Return what to tell the user about an error of the operating system.

    Args:
        err: The error.

    Returns:
        `FILE: reason; remedy`, or None for an error that is no user's.
    """
    # A rename has two files; the second is the one that was asked for.
    name = err.filename if err.filename2 is None else err.filename2
    if err.errno in _FULL:
        place = "" if name is None else f"{os.fsdecode(name)}: "
        return f"{place}no space left on the disk; free some, or {_ELSEWHERE}"
    if not isinstance(name, str | bytes | os.PathLike) or err.errno not in _REMEDIES:
        return None
    path = Path(os.fsdecode(name))
    if _is_installed(path):
        return None
    reason, remedy = _REMEDIES[err.errno]
    return f"{path}: {reason}; {remedy}"


def _is_installed(path: Path) -> bool:
    folders = [Path(sgear.__file__).parent, *map(Path, (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")))]
    return any(path.absolute().is_relative_to(folder.resolve()) for folder in folders)
