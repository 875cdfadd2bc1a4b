"""An LMDB file, open read-only, once per process.

LMDB allows a process one handle per file and none to survive a fork. So handles are found again by path, and a
process that was forked opens its own. Nothing is locked and nothing written: published features are often shared.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Protocol, runtime_checkable
from weakref import WeakValueDictionary

from sgear.errors import FeatureError
from sgear.features.lmdb_pages import LmdbPages


@runtime_checkable
class Transaction(Protocol):
    """What is used of `lmdb.Transaction`."""

    def get(self, key: bytes) -> Any:
        """Return the value of a key, or None."""
        ...

    def cursor(self) -> Any:
        """Return a cursor."""
        ...


def import_lmdb() -> ModuleType:
    """Return the lmdb module.

    Raises:
        FeatureError: If it is not installed; says how to.
    """
    try:
        return importlib.import_module("lmdb")
    except ModuleNotFoundError as err:
        raise FeatureError("LMDB features need the package lmdb; install it with: pip install 'sgear[lmdb]'") from err


class _Environment:
    """The handle of one process."""

    def __init__(self, file: Path) -> None:
        lmdb = import_lmdb()
        self.pid = os.getpid()
        self.file = file
        if not file.is_file():
            inside = sorted(each.name for each in file.parent.glob("*"))[:5]
            raise FeatureError(f"{file}: no such LMDB (the folder holds {inside}); give the folder with data.mdb")
        try:
            # Read-ahead would fetch whole stretches of a file of which a window needs fifteen pages.
            self.lmdb = lmdb.open(str(file), subdir=False, readonly=True, lock=False, readahead=False, create=False)
        except lmdb.Error as err:
            raise FeatureError(f"{file}: cannot be opened as LMDB ({err}); copy it again") from err
        self.error = lmdb.Error
        self.pages = LmdbPages(file)
        # Reading a page behind the end of the file would kill the process.
        self.pages.require_length()

    def __del__(self) -> None:
        # A forked copy holds no lock and has nothing to write, so closing it concerns this process alone.
        for part in ("lmdb", "pages"):
            if part in self.__dict__:
                getattr(self, part).close()


class Reading:
    """A transaction in a `with` statement; what goes wrong in it becomes a `FeatureError`.

    Args:
        environment: The handle of this process.
    """

    def __init__(self, environment: _Environment) -> None:
        self._environment = environment
        self._transaction = environment.lmdb.begin(buffers=True)

    def __enter__(self) -> Transaction:
        return self._transaction

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transaction.abort()
        if isinstance(err, self._environment.error):
            raise FeatureError(
                f"{self._environment.file}: cannot be read ({err}); it is damaged: copy it again"
            ) from err


# LMDB's own rule: a process must not open one file twice. Entries live as long as somebody reads.
_environments: WeakValueDictionary[str, _Environment] = WeakValueDictionary()


class LmdbHandle:
    """A path that opens itself when it is read; it may be pickled.

    Args:
        path: Folder with `data.mdb`, or the file itself.
    """

    def __init__(self, path: Path) -> None:
        self.file = path / "data.mdb" if path.is_dir() else path
        self._environment: _Environment | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"file": self.file, "_environment": None}

    def begin(self) -> Reading:
        """Start to read; values are buffers that end with the transaction.

        Nothing is locked, so a transaction should be short: one that is open while others write may see pages that
        were used again. Before the first step to a key, `pages.require_sound` should have seen the way to it.

        Raises:
            FeatureError: If the file is missing, damaged, or lmdb is not installed.
        """
        return Reading(self._open())

    @property
    def pages(self) -> LmdbPages:
        """The pages of the file, to look at before LMDB follows them."""
        return self._open().pages

    @property
    def num_entries(self) -> int:
        """Number of entries."""
        return self._open().lmdb.stat()["entries"]

    def _open(self) -> _Environment:
        current = self._environment
        if current is None or current.pid != os.getpid():
            name = os.path.realpath(self.file)
            current = _environments.get(name)
            if current is not None and current.pid != os.getpid():
                current.lmdb.close()
                current = None
            if current is None:
                current = _environments[name] = _Environment(self.file)
            self._environment = current
        return current
