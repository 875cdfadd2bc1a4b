"""An LMDB file, open read-only, once per process.

LMDB allows a process one handle per file and none to survive a fork. So handles are found again by path, and a process
that was forked opens its own. Nothing is locked and nothing written: published features are often shared.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

from sgear.errors import FeatureError


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
        if not file.is_file():
            inside = sorted(each.name for each in file.parent.glob("*"))[:5]
            raise FeatureError(f"{file}: no such LMDB (the folder holds {inside}); give the folder with data.mdb")
        try:
            # Read-ahead would fetch whole stretches of a file of which a window needs fifteen pages.
            self.lmdb = lmdb.open(str(file), subdir=False, readonly=True, lock=False, readahead=False, create=False)
        except lmdb.Error as err:
            raise FeatureError(f"{file}: cannot be opened as LMDB ({err}); copy it again") from err
        self.error = lmdb.Error
        self.page_bytes = self.lmdb.stat()["psize"]
        # Reading a page behind the end of the file would kill the process.
        needed, found = (self.lmdb.info()["last_pgno"] + 1) * self.page_bytes, file.stat().st_size
        if found < needed:
            raise FeatureError(
                f"{file}: truncated, {found} of {needed} bytes are there; copy it again (if the original is as long, "
                "its last pages were given back: copy it with 'mdb_copy -c')"
            )

    def __del__(self) -> None:
        # A forked copy holds no lock and has nothing to write, so closing it concerns this process alone.
        if "lmdb" in self.__dict__:
            self.lmdb.close()


# LMDB's own rule: a process must not open one file twice. Entries live as long as somebody reads.
_environments: WeakValueDictionary[str, _Environment] = WeakValueDictionary()


class LmdbHandle:
    """A path that opens itself when it is read; it may be pickled."""

    def __init__(self, path: Path) -> None:
        self.file = path / "data.mdb" if path.is_dir() else path
        self._environment: _Environment | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"file": self.file, "_environment": None}

    @contextmanager
    def begin(self) -> Iterator[Any]:
        """Give a transaction; values are buffers that end with it.

        Nothing is locked, so a transaction should be short: one that is open while others write may see pages that
        were used again.

        Raises:
            FeatureError: If the file is missing or damaged, or lmdb is not installed.
        """
        environment = self.environment
        transaction = environment.lmdb.begin(buffers=True)
        try:
            yield transaction
        except environment.error as err:
            raise FeatureError(f"{self.file}: cannot be read ({err}); it is damaged: copy it again") from err
        finally:
            transaction.abort()

    @property
    def environment(self) -> _Environment:
        """The handle of this process, opened where it is not."""
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
